# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is in a holder's kit, apart from the wheels. No share, no key, no login: a kit may lie about."""

from __future__ import annotations

import hashlib
import os
import typing as t

from .._core.errors import InvalidInput, check

#: What ansible-core and openbao_unseal import. pyrage decrypts age files and is left out where it is not installed.
PACKAGES: t.Final = (
    "ansible-core",
    "certifi",
    "charset-normalizer",
    "idna",
    "jinja2",
    "markupsafe",
    "packaging",
    "pyyaml",
    "requests",
    "resolvelib",
    "urllib3",
)
OPTIONAL_PACKAGES: t.Final = ("pyrage",)

SUMS: t.Final = "SHA256SUMS"

#: Where the collection lies in the kit.
COLLECTION: t.Final = "collection/ansible_collections/hackspace/infra"

_PLUGINS: t.Final = ("action/openbao_unseal.py", "modules/openbao_unseal.py", "modules/openbao_seal_info.py")
_FOLDERS: t.Final = ("plugins/module_utils", "plugins/plugin_utils", "plugins/doc_fragments")
_SINGLE: t.Final = ("galaxy.yml", "meta/runtime.yml", "LICENSE")

#: The unsealing of pods imports these; a kit reaches servers by their addresses only, and so needs no more of them.
_CORE: t.Final = "collection/ansible_collections/kubernetes/core/plugins/module_utils"
_STANDINS: t.Final = {
    f"{_CORE}/args_common.py": b"# Stands in for kubernetes.core, which this kit does not need.\nAUTH_ARG_SPEC = {}\n",
    f"{_CORE}/k8s/client.py": b"# Stands in for kubernetes.core, which this kit does not need.\n",
}

GUIDE: t.Final = """\
How to unseal OpenBao with this folder. You need Python 3.11 or newer, your share, and a way to the servers.

1. Unpack:            tar xzf {name}.tar.gz && cd {name}
2. Look:              ./unseal --status
3. Unseal:            ./unseal YOURNAME          (asks for your share; what you type or paste is not shown)
   with an age file:  ./unseal YOURNAME --age-file ../YOURNAME.age --identity ../IDENTITYFILE
   with a PGP file:   ./unseal YOURNAME --pgp-file ../YOURNAME.asc
4. The last lines say who is still needed. {threshold} of {count} holders are: {holders}.
5. Servers: {nodes}.
6. "This kit was changed": do not use it, ask for a new one. Your share is not in here; keep it elsewhere.
"""


def executable(program: bytes) -> bytes:
    """Return the Python *program* with a first line that starts it."""
    return program if program.startswith(b"#!") else b"#!/usr/bin/env python3\n" + program


def collection_files(folder: str) -> dict[str, bytes]:
    """Return the files of the collection that a kit has, by their path in the kit.

    :raises InvalidInput: ``collection``; the folder is not the collection's.
    """
    names = [f"plugins/{name}" for name in _PLUGINS]
    for place in _FOLDERS:
        for root, folders, files in os.walk(os.path.join(folder, place)):
            folders[:] = sorted(f for f in folders if f != "__pycache__")
            names += [os.path.relpath(os.path.join(root, f), folder) for f in sorted(files) if f.endswith(".py")]
    found: dict[str, bytes] = dict(_STANDINS)
    for name in [*names, *(n for n in _SINGLE if os.path.isfile(os.path.join(folder, n)))]:
        try:
            with open(os.path.join(folder, name), "rb") as handle:
                found[f"{COLLECTION}/{name}"] = handle.read()
        except OSError as error:
            raise InvalidInput(
                f"{folder} is not the folder of the collection ({name}: {error.strerror}).",
                item="collection_dir",
                rule="collection",
                fix="give the folder that has plugins/ and galaxy.yml.",
            ) from None
    return found


def guide(name: str, nodes: t.Sequence[t.Mapping[str, t.Any]], holders: t.Sequence[str], threshold: int) -> str:
    """Return the text of the README."""
    return GUIDE.format(
        name=name,
        threshold=threshold,
        count=len(holders),
        holders=", ".join(holders),
        nodes=", ".join(f"{n['name']} {n['url']}" for n in nodes),
    )


def check_people(holders: t.Sequence[str], threshold: int) -> None:
    """Raise unless the guide can say who is needed.

    :raises InvalidInput: ``no-holders``, ``threshold-above-shares``.
    """
    check(bool(holders), "is empty.", item="holders", rule="no-holders", fix="name the holders.")
    check(
        1 <= threshold <= len(holders),
        f"{threshold} is not between 1 and the {len(holders)} holders.",
        item="threshold",
        rule="threshold-above-shares",
        fix="give the number of shares that unseal a node.",
    )


def sums(files: t.Mapping[str, bytes]) -> bytes:
    """Return the content of SHA256SUMS, as sha256sum -c reads it."""
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()) if name != SUMS]
    return "".join(lines).encode()


def mark(files: t.Mapping[str, bytes], wheels: t.Sequence[str], targets: t.Any) -> str:
    """Return a fingerprint of everything that the kit is made from."""
    found = hashlib.sha256(sums(files))
    found.update(repr((sorted(wheels), targets)).encode())
    return found.hexdigest()
