# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads the login's password or token from a file, an encrypted one too, and passes it to the module in memory."""

from __future__ import annotations

import typing as t

from ..plugin_utils._secret_files import SecretFilesAction, SecretReader


class ActionModule(SecretFilesAction):
    """The same for all modules that configure OpenBao. They log in in check mode too."""

    secret_files: t.ClassVar[dict[str, str]] = {"password_file": "password", "token_path": "token"}

    def work(self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        return self.module(self.fill(reader, args), task_vars)
