# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads the administrators' password on the controller and passes it to the module openbao_init in memory."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ..module_utils._core.errors import InvalidInput
from ..plugin_utils._secret_files import SecretFilesAction, SecretReader


class ActionModule(SecretFilesAction):
    """The password is read in check mode too: what is checked includes that it can be read."""

    def work(self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        return self.module(with_admin_password(reader, args), task_vars)


def with_admin_password(reader: SecretReader, args: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return *args* with the content of C(admin.password_file) as C(admin.password)."""
    admin = args.get("admin")
    if not isinstance(admin, Mapping) or admin.get("password_file") is None:
        return args
    if admin.get("password") is not None:
        raise InvalidInput(
            "both password_file and password are given.",
            item="admin.password_file",
            rule="one-source",
            fix="give one of the two.",
        )
    password = reader.file(str(admin["password_file"]), item="admin.password_file").rstrip("\n")
    rest = {key: value for key, value in admin.items() if key != "password_file"}
    return {**args, "admin": {**rest, "password": password}}
