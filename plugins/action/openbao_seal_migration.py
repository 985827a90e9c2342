# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads the login, the seal's credential and the shares on the controller for openbao_seal_migration, in memory."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ..module_utils._core.errors import InvalidInput
from ..plugin_utils._secret_files import SecretReader
from .openbao_unseal import ActionModule as UnsealAction

#: Option with a path -> option that takes the content, inside of another option.
LOGIN: t.Final = {"password_file": "password", "token_path": "token"}
SEAL: t.Final = {"credential_file": "credential"}


class ActionModule(UnsealAction):
    """Asks for and decrypts no share that the node does not want: looks at it first."""

    def work(self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        args = _within(reader, args, "login", LOGIN)
        if (args.get("do") or "plan") == "plan":
            args = _within(reader, args, "seal", SEAL)
        if self._task.check_mode or args.get("do") != "migrate":
            return self.module(args, task_vars)
        look = self.module(args, task_vars, check=True)
        if look.get("failed"):
            return look
        if not look.get("shares_needed"):
            return self.module({**args, "holders": []}, task_vars)
        entries = [dict(h) if isinstance(h, Mapping) else h for h in args.get("holders") or []]
        filled = [self._filled(reader, i, e) if isinstance(e, dict) else e for i, e in enumerate(entries)]
        return self.module({**args, "holders": filled}, task_vars)


def _within(reader: SecretReader, args: dict[str, t.Any], option: str, files: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Return *args* with the contents of the files that *option* names in place of their paths."""
    values = args.get(option)
    if not isinstance(values, Mapping):
        return args  # the module says what is wrong with it
    found = dict(values)
    for source, target in files.items():
        path = found.pop(source, None)
        if not path:
            continue
        item = f"{option}.{source}"
        if found.get(target):
            raise InvalidInput(
                f"both {source} and {target} are given.", item=item, rule="one-source", fix="give one of the two."
            )
        found[target] = reader.file(str(path), item=item).strip()
    return {**args, option: found}
