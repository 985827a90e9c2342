# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads Git credentials and the age key from files, encrypted ones too, and passes them to the module in memory."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ..module_utils._core.errors import InvalidInput
from ..plugin_utils._secret_files import SecretFilesAction, SecretReader

_AUTH: t.Final = ("identity", "password", "bearer_token", "private_key")


class ActionModule(SecretFilesAction):
    """Files become what they hold, in check mode too: the credentials are compared with those of the cluster."""

    secret_files: t.ClassVar[dict[str, str]] = {"age_key_file": "age_key"}

    def work(self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        return self.module(self.fill(reader, args), task_vars)

    def fill(self, reader: SecretReader, args: dict[str, t.Any]) -> dict[str, t.Any]:
        args = super().fill(reader, {name: value for name, value in args.items() if value is not None})
        if isinstance(args.get("git_auth"), Mapping):
            args["git_auth"] = _filled(reader, dict(args["git_auth"]))
        return args


def _filled(reader: SecretReader, auth: dict[str, t.Any]) -> dict[str, t.Any]:
    for name in _AUTH:
        path = auth.pop(f"{name}_file", None)
        if not path:
            continue
        item = f"git_auth.{name}_file"
        if auth.get(name):
            raise InvalidInput(f"both {name} and {name}_file are given.", item=item, rule="one-source", fix="give one.")
        auth[name] = reader.file(str(path), item=item).rstrip("\n")
    return auth
