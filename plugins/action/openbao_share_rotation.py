# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads shares, passwords and tokens on the controller for the module openbao_share_rotation, in memory."""

from __future__ import annotations

import typing as t

from ansible.utils.display import Display

from ..module_utils._core.errors import HackspaceError
from ..plugin_utils._secret_files import SecretReader
from .openbao_unseal import ActionModule as UnsealAction

#: Which shares each phase wants.
_OPTION: t.Final = {"shares": "current_holders", "verify": "new_holders", "prove": "new_holders"}


class ActionModule(UnsealAction):
    """Asks for and decrypts no share that is not needed: asks the server first."""

    secret_files: t.ClassVar[dict[str, str]] = {"password_file": "password", "token_path": "token"}

    def work(self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        args = super(UnsealAction, self).fill(reader, args)
        look = self.module(args, task_vars, check=True)
        if self._task.check_mode or look.get("failed"):
            return look
        option = _OPTION.get(str(look.get("phase")), "")
        filled = {**args, "current_holders": [], "new_holders": []}
        if option and look.get("missing"):
            done = set(look.get("given") or [])
            people = [dict(e) for e in args.get(option) or [] if not (isinstance(e, dict) and e.get("name") in done)]
            filled[option] = self._read(reader, people, int(look["missing"]), new=option == "new_holders")
        return self.module(filled, task_vars)

    def _read(
        self, reader: SecretReader, people: list[dict[str, t.Any]], needed: int, *, new: bool
    ) -> list[dict[str, t.Any]]:
        """Read as many shares as are needed, and say of which generation the one is that cannot be read."""
        if new and any(set(entry) <= {"name"} for entry in people[:needed]):
            Display().display("The NEW unseal shares are wanted now, from the files in generations/.")
        try:
            return [self._filled(reader, index, entry) for index, entry in enumerate(people[:needed])]
        except HackspaceError as error:
            if new:
                error.fix = f"{error.fix} The NEW share is wanted here, from its file in generations/."
            raise
