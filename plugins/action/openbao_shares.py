# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads shares on the controller for the module openbao_shares, in memory."""

from __future__ import annotations

import typing as t

from ..plugin_utils._secret_files import SecretReader
from .openbao_unseal import ActionModule as UnsealAction


class ActionModule(UnsealAction):
    """Reads what the holders named give; a report needs no share."""

    def work(self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        entries = [dict(entry) for entry in args.get("holders") or []]
        if self._task.check_mode or args.get("do", "report") == "report":
            return self.module({**args, "holders": entries}, task_vars)
        filled = [self._filled(reader, index, entry) for index, entry in enumerate(entries)]
        return self.module({**args, "holders": filled}, task_vars)
