# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads declarations of tenants from a list, a folder, or a Git repository; decides nothing."""

from __future__ import annotations

import os
import typing as t
from collections.abc import Mapping

from .._core.encrypt import Program
from .._core.errors import InvalidInput, check
from .._core.module import ArgumentSpec
from .._core.redact import Secret
from .._kube.model import DEFAULT_LABEL_DOMAIN
from . import git

#: Options of a Git repository, in any module.
REPOSITORY: t.Final = {
    "url": {"type": "str", "required": True},
    "branch": {"type": "str", "default": "main"},
    "username": {"type": "str", "default": "git"},
    "token": {"type": "str", "no_log": True},
    "token_file": {"type": "path", "no_log": False},
    "ssh_key": {"type": "str", "no_log": True},
    "ssh_key_file": {"type": "path", "no_log": False},
    "known_hosts": {"type": "str", "default": ""},
    "ca_cert": {"type": "path"},
}

#: Options of the modules about tenants; documented in the fragment ``_tenants``.
SPEC: t.Final = ArgumentSpec(
    options={
        "cluster": {"type": "str", "required": True},
        "known_clusters": {"type": "list", "elements": "str", "default": []},
        "platform": {"type": "dict", "default": {}},
        "declarations": {"type": "list", "elements": "dict"},
        "directory": {"type": "path"},
        "repository": {
            "type": "dict",
            "options": {**REPOSITORY, "directory": {"type": "str", "default": ""}},
        },
        "openbao": {
            "type": "dict",
            "options": {
                "server": {"type": "str", "required": True},
                "mount": {"type": "str"},
                "audience": {"type": "str"},
                "ca_bundle": {"type": "str"},
                "kv_mount": {"type": "str", "default": "kv"},
                "kv_prefix": {"type": "str", "default": "tenants"},
                "per_tenant": {"type": "bool", "default": False},
            },
        },
        "tiers": {"type": "dict", "default": {"base": "default"}},
        "flux_namespace": {"type": "str", "default": "flux-system"},
        "label_domain": {"type": "str", "default": DEFAULT_LABEL_DOMAIN},
    },
    mutually_exclusive=(("declarations", "directory", "repository"),),
    required_one_of=(("declarations", "directory", "repository"),),
)


def remote(given: Mapping[str, t.Any], item: str) -> git.Remote:
    """Return the repository that options name.

    :raises InvalidInput: rule ``secret-file`` where a file was not read for us.
    """
    for name in ("token", "ssh_key"):
        check(
            given.get(name) or not given.get(f"{name}_file"),
            "was not read.",
            item=f"{item}.{name}_file",
            rule="secret-file",
            fix="run the module as hackspace.infra.tenants, so that its action reads the file.",
        )
    return git.Remote(
        url=given["url"],
        branch=given["branch"],
        username=given["username"],
        token=Secret(given["token"]) if given.get("token") else None,
        ssh_key=Secret(given["ssh_key"]) if given.get("ssh_key") else None,
        known_hosts=given["known_hosts"],
        ca_cert=given.get("ca_cert"),
    ).checked(item)


def read(params: Mapping[str, t.Any], program: Program) -> tuple[dict[str, t.Any], str]:
    """Return what was declared by the name of its file, and the revision if it comes from Git.

    :raises InvalidInput: rules ``directory-missing``, and those of Git.
    """
    if params["declarations"] is not None:
        return {f"declarations[{index}]": dict(one) for index, one in enumerate(params["declarations"])}, ""
    if params["repository"] is not None:
        given = params["repository"]
        with git.Repository(program, remote(given, "repository"), item="repository") as copy:
            revision = copy.fetch()
            directory = given["directory"]
            folder = os.path.join(copy.tree, directory)
            check(
                os.path.isdir(folder) and not os.path.relpath(folder, copy.tree).startswith(".."),
                f"there is no folder {directory} on branch {given['branch']}.",
                item="repository.directory",
                rule="directory-missing",
                fix="correct the name.",
            )
            return dict(git.texts_in(folder, (".yaml", ".yml"), "repository")), revision
    folder = params["directory"]
    if not os.path.isdir(folder):
        raise InvalidInput(
            f"{folder} is not a folder.",
            item="directory",
            rule="directory-missing",
            fix="give the folder with the declarations, on the controller.",
        )
    return dict(git.texts_in(folder, (".yaml", ".yml"), "directory")), ""
