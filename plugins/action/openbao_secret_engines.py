# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads the login's password and those of database connections from files, encrypted ones too, and passes them on."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ..plugin_utils._secret_files import SecretReader
from .openbao_policies import ActionModule as PoliciesAction


def _filled(reader: SecretReader, raw: t.Any, item: str) -> t.Any:
    """Return a connection with the password in place of the file that ``password_file`` names."""
    if not isinstance(raw, Mapping) or not raw.get("password_file") or raw.get("password"):
        return raw  # the module says what is wrong with it
    result = {k: v for k, v in raw.items() if k != "password_file"}
    result["password"] = reader.file(str(raw["password_file"]), item=f"{item}.password_file").rstrip("\n")
    return result


class ActionModule(PoliciesAction):
    """Files become values, nothing else changes."""

    def fill(self, reader: SecretReader, args: dict[str, t.Any]) -> dict[str, t.Any]:
        args = super().fill(reader, args)
        engines = args.get("engines")
        if not isinstance(engines, (list, tuple)):
            return args
        filled = []
        for number, raw in enumerate(engines):
            engine = raw
            database = engine.get("database") if isinstance(engine, Mapping) else None
            connections = database.get("connections") if isinstance(database, Mapping) else None
            if isinstance(database, Mapping) and isinstance(connections, (list, tuple)):
                where = f"engines[{number}].database.connections"
                listed = [_filled(reader, c, f"{where}[{i}]") for i, c in enumerate(connections)]
                engine = {**engine, "database": {**database, "connections": listed}}
            filled.append(engine)
        return {**args, "engines": filled}
