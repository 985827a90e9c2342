# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads the kubeconfig of the pods from a file, an encrypted one too, and passes it to the module in memory."""

from __future__ import annotations

import typing as t

from ..plugin_utils._pod_kubeconfig import with_pods
from ..plugin_utils._secret_files import SecretFilesAction, SecretReader


class ActionModule(SecretFilesAction):
    """For ``pods: {kubeconfig}``, in check mode too. Without pods there is nothing secret, and nothing is demanded."""

    def check_safe(self) -> None:
        if self._task.args.get("pods"):
            super().check_safe()

    def work(self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        return self.module(with_pods(reader, args), task_vars)
