#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_holder_kit
version_added: 0.1.0
short_description: Make a folder with which a holder unseals OpenBao without anything else
description:
  - Puts the unsealing part of this collection, the Python packages it needs, the servers' addresses and their CA
    into one
    folder and one archive, with a program C(unseal) and a short guide. No share, key or login is in it.
  - A holder needs Python 3.11 or newer and a way to the servers; nothing is installed and nothing else is asked.
  - The packages are of the versions that run this module, and are downloaded by C(pip) when the kit is made.
extends_documentation_fragment:
  - hackspace.infra._attributes
attributes:
  check_mode:
    details: Downloads and writes nothing.
  idempotent:
    details: A kit that is whole and made from the same things is left as it is; nothing is downloaded then.
requirements:
  - pip, and a way to a package index or O(find_links)
options:
  path:
    description: Folder to make; the archive is C(<path>.tar.gz). The folder above it must exist.
    type: path
    required: true
  nodes:
    description: Every server by its own address.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name for messages.
        type: str
        required: true
      url:
        description: C(https://address:port) without a path. An IP address works while DNS is down.
        type: str
        required: true
      tls_server_name:
        description: Name to expect in the server's certificate, if it is not the host of O(nodes[].url).
        type: str
  ca_cert:
    description: PEM file with the CA that signed the servers' certificates. The system's store of each holder by
      default.
    type: path
  holders:
    description: Names of everybody who holds a share.
    type: list
    elements: str
    required: true
  threshold:
    description: Number of shares that unseal a node.
    type: int
    required: true
  collection_dir:
    description: Folder of this collection.
    type: path
    required: true
  program:
    description: The Python program to put into the kit as C(unseal), which the C(python3) in the holder's C(PATH) runs.
    type: path
    required: true
  targets:
    description:
      - Other machines that the kit is to work on, besides those like the controller.
      - Some packages are compiled for one kind of machine and one version of Python.
    type: list
    elements: dict
    default: []
    suboptions:
      python_version:
        description: Version of Python, C(3.12).
        type: str
        required: true
      platforms:
        description: Names of the platform, as C(pip download --platform) takes them (C(manylinux2014_x86_64)).
        type: list
        elements: str
        required: true
  find_links:
    description: Folder with wheels to use in the place of a package index.
    type: path
seealso:
  - module: hackspace.infra.openbao_unseal
author:
  - hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Make the kit
  hackspace.infra.openbao_holder_kit:
    path: /srv/kit/unseal-openbao
    nodes:
      - {name: openbao-0, url: "https://192.0.2.10:8200", tls_server_name: openbao-0.example.org}
      - {name: openbao-1, url: "https://192.0.2.11:8200", tls_server_name: openbao-1.example.org}
      - {name: openbao-2, url: "https://192.0.2.12:8200", tls_server_name: openbao-2.example.org}
    ca_cert: /etc/ssl/site-ca.pem
    holders: [ada, bob, cyd]
    threshold: 2
    collection_dir: /srv/platform
    program: /srv/platform/roles/openbao_shares/files/unseal.py
    targets:
      - {python_version: "3.12", platforms: [manylinux2014_x86_64]}
      - {python_version: "3.13", platforms: [macosx_11_0_arm64]}
"""

RETURN = r"""
path:
  description: The folder.
  returned: success
  type: str
archive:
  description: The archive.
  returned: success
  type: str
sha256:
  description: Checksum of the archive, to be told to the holders by another way; empty in check mode if it is not
    made.
  returned: success
  type: str
packages:
  description: The Python packages and their versions.
  returned: success
  type: list
  elements: str
changes:
  description: What was made, or would be in check mode.
  returned: success
  type: list
  elements: dict
"""

import gzip
import hashlib
import importlib.metadata
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_seal import SEAL_SPEC
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    ArgumentSpec,
    plan_result,
    program,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Change, Plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import kit
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import parse_nodes

SPEC = ArgumentSpec(
    options={
        "path": {"type": "path", "required": True},
        "nodes": SEAL_SPEC.options["nodes"],
        "ca_cert": {"type": "path"},
        "holders": {"type": "list", "elements": "str", "required": True},
        "threshold": {"type": "int", "required": True},
        "collection_dir": {"type": "path", "required": True},
        "program": {"type": "path", "required": True},
        "targets": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "python_version": {"type": "str", "required": True},
                "platforms": {"type": "list", "elements": "str", "required": True},
            },
        },
        "find_links": {"type": "path"},
    }
)


def main(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    params: dict[str, t.Any] = dict(module.params)
    path = os.path.abspath(params["path"])
    parse_nodes(params["nodes"])
    kit.check_people(params["holders"], params["threshold"])
    if not os.path.isdir(os.path.dirname(path)):
        raise InvalidInput(
            f"{os.path.dirname(path)} is not there.", item="path", rule="folder-missing", fix="make the folder first."
        )
    packages = _packages()
    files = _files(params, os.path.basename(path))
    wanted = kit.mark(files, packages, params["targets"])
    files["kit.json"] = _settings(params, wanted)
    archive = f"{path}.tar.gz"
    plan = Plan()
    if _present(path, archive) == wanted:
        plan.unchanged = 1
    else:
        there = os.path.lexists(path)
        if there and not os.path.isfile(os.path.join(path, kit.SUMS)):
            raise InvalidInput(
                f"{path} exists and is no kit; it is never overwritten.",
                item="path",
                rule="path-exists",
                fix="give another name, or move it away.",
            )
        plan.add(
            Change(
                "holder's kit",
                path,
                "update" if there else "create",
                before={} if there else None,
                after={"packages": packages, "nodes": [n["name"] for n in params["nodes"]]},
                public=frozenset({"packages", "nodes"}),
            )
        )
        if not module.check_mode:
            _make(module, params, path, files, packages)
    digest = _sha256(archive) if os.path.isfile(archive) and not (module.check_mode and plan.changed) else ""
    return plan_result(module, plan, path=path, archive=archive, sha256=digest, packages=packages)


def _packages() -> list[str]:
    """Return the packages with the versions that run this module."""
    found = []
    for name in (*kit.PACKAGES, *kit.OPTIONAL_PACKAGES):
        try:
            found.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            if name in kit.PACKAGES and name != "resolvelib":
                raise HackspaceError(
                    f"the Python package {name} is missing on the controller.",
                    item=name,
                    rule="python-package",
                    fix="pip install -r requirements.txt in the environment that runs Ansible.",
                ) from None
    return found


def _files(params: t.Mapping[str, t.Any], name: str) -> dict[str, bytes]:
    """Return the files of the kit but for the wheels and what depends on them."""
    files = kit.collection_files(params["collection_dir"])
    for option, target in (("program", "unseal"), ("ca_cert", "ca.pem")):
        if not params[option]:
            continue
        try:
            with open(params[option], "rb") as handle:
                files[target] = kit.executable(handle.read()) if option == "program" else handle.read()
        except OSError as error:
            raise InvalidInput(
                f"{params[option]} cannot be read ({error.strerror}).",
                item=option,
                rule="file-missing",
                fix="give an existing file.",
            ) from None
        if b"PRIVATE KEY" in files[target]:
            raise InvalidInput(
                f"{params[option]} has a private key in it.",
                item=option,
                rule="private-key",
                fix="give the file with the certificate of the authority only.",
            )
    files["README.txt"] = kit.guide(name, params["nodes"], params["holders"], params["threshold"]).encode()
    files["kit.json"] = _settings(params, "")
    return files


def _settings(params: t.Mapping[str, t.Any], mark: str) -> bytes:
    nodes = [{k: v for k, v in node.items() if v} for node in params["nodes"]]
    data = {
        "nodes": nodes,
        "ca_cert": "ca.pem" if params["ca_cert"] else "",
        "holders": params["holders"],
        "made_from": mark,
    }
    return (json.dumps(data, indent=2) + "\n").encode()


def _present(path: str, archive: str) -> str:
    """Return what the present kit was made from; empty if it is not there or not whole."""
    try:
        with open(os.path.join(path, kit.SUMS), "rb") as handle:
            listed = handle.read()
        if kit.sums(_tree(path)) != listed or not os.path.isfile(archive):
            return ""
        with open(os.path.join(path, "kit.json"), encoding="utf-8") as handle:
            return str(json.load(handle).get("made_from"))
    except (OSError, ValueError, AttributeError):
        return ""


def _tree(path: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for root, _folders, names in os.walk(path):
        for name in names:
            full = os.path.join(root, name)
            with open(full, "rb") as handle:
                found[os.path.relpath(full, path)] = handle.read()
    return found


def _make(
    module: AnsibleModule, params: t.Mapping[str, t.Any], path: str, files: dict[str, bytes], packages: list[str]
) -> None:
    """Make the kit beside its place, then put it there."""
    work = tempfile.mkdtemp(prefix=f".{os.path.basename(path)}.", dir=os.path.dirname(path))
    try:
        wheels = os.path.join(work, "wheels")
        os.mkdir(wheels)
        _download(module, params, wheels, packages)
        for name, data in files.items():
            full = os.path.join(work, name)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as handle:
                handle.write(data)
            os.chmod(full, 0o755 if name == "unseal" else 0o644)
        content = _tree(work)
        with open(os.path.join(work, kit.SUMS), "wb") as handle:
            handle.write(kit.sums(content))
        os.chmod(work, 0o755)  # noqa: S103 (nothing secret in it; holders read it)
        content[kit.SUMS] = kit.sums(content)
        _pack(f"{path}.tar.gz", os.path.basename(path), content)
        if os.path.isdir(path):
            shutil.rmtree(path)
        os.rename(work, path)
    except OSError as error:
        raise HackspaceError(
            f"the kit cannot be written ({error.strerror}).", item="path", rule="file-write", fix="make room."
        ) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _download(module: AnsibleModule, params: t.Mapping[str, t.Any], folder: str, packages: list[str]) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", folder]
    if params["find_links"]:
        command += ["--no-index", "--find-links", params["find_links"]]
    for target in [None, *params["targets"]]:
        more = []
        if target:
            more = ["--implementation", "cp", "--python-version", target["python_version"]]
            more += [word for name in target["platforms"] for word in ("--platform", name)]
        code, _output, errors = program(module)([*command, *more, *packages], b"")
        if code != 0:
            said = errors.decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
            where = (
                f"Python {target['python_version']} on {', '.join(target['platforms'])}" if target else "this machine"
            )
            raise HackspaceError(
                f"pip cannot download the packages for {where} ({said[-1][:200]}).",
                item="targets" if target else "pip",
                rule="pip-download",
                fix="check the way to the package index, or give find_links with the wheels.",
            )


def _pack(archive: str, name: str, files: t.Mapping[str, bytes]) -> None:
    """Write the archive; the same files give the same bytes."""
    part = f"{archive}.part"
    with (
        open(part, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path, data in sorted(files.items()):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size, entry.mode = len(data), 0o755 if path == "unseal" else 0o644
            tar.addfile(entry, io.BytesIO(data))
    os.replace(part, archive)


def _sha256(path: str) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


if __name__ == "__main__":
    run(SPEC, main)
