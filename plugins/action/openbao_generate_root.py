# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads unseal shares, passwords and tokens on the controller for the module openbao_generate_root, in memory."""

from __future__ import annotations

import typing as t

from ..plugin_utils._secret_files import SecretReader
from .openbao_init import with_admin_password
from .openbao_unseal import ActionModule as UnsealAction


class ActionModule(UnsealAction):
    """Asks for and decrypts no share that is not needed: asks the server first."""

    secret_files: t.ClassVar[dict[str, str]] = {"password_file": "password", "token_path": "token"}

    def work(self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        args = with_admin_password(reader, self._login(reader, args))
        look = self.module(args, task_vars, check=True)
        if self._task.check_mode or look.get("failed"):
            return look
        if look.get("required"):
            entries = [dict(entry) for entry in args.get("holders") or []]
            args = {**args, "holders": [self._filled(reader, i, entry) for i, entry in enumerate(entries)]}
        return self.module(args, task_vars)

    def _login(self, reader: SecretReader, args: dict[str, t.Any]) -> dict[str, t.Any]:
        """Fill in the secrets of the connection."""
        return super(UnsealAction, self).fill(reader, args)
