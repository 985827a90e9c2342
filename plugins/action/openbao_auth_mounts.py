# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads client secrets and passwords from files, encrypted ones too, and passes them to the module in memory."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ..plugin_utils._secret_files import SecretReader
from .openbao_policies import ActionModule as PoliciesAction


def _filled(reader: SecretReader, raw: t.Any, name: str, item: str) -> t.Any:
    """Return *raw* with the option *name* in place of the file that ``<name>_file`` names."""
    file = f"{name}_file"
    if not isinstance(raw, Mapping) or not raw.get(file) or raw.get(name):
        return raw  # the module says what is wrong with it
    result = {k: v for k, v in raw.items() if k != file}
    result[name] = reader.file(str(raw[file]), item=f"{item}.{file}").rstrip("\n")
    return result


class ActionModule(PoliciesAction):
    """Files become values, nothing else changes."""

    def fill(self, reader: SecretReader, args: dict[str, t.Any]) -> dict[str, t.Any]:
        args = super().fill(reader, args)
        mounts = args.get("mounts")
        if not isinstance(mounts, (list, tuple)):
            return args
        filled = []
        for number, raw in enumerate(mounts):
            mount = _filled(reader, raw, "oidc_client_secret", f"mounts[{number}]")
            users = mount.get("users") if isinstance(mount, Mapping) else None
            if isinstance(users, (list, tuple)):
                where = f"mounts[{number}].users"
                mount = {
                    **mount,
                    "users": [_filled(reader, u, "password", f"{where}[{i}]") for i, u in enumerate(users)],
                }
            filled.append(mount)
        return {**args, "mounts": filled}
