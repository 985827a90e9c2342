# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads kubeconfigs from files, encrypted ones too, and passes them to the module in memory."""

from __future__ import annotations

from .jwt_reviewer import ActionModule as JoinedAction


class ActionModule(JoinedAction):
    """Kubeconfigs become what they hold, in check mode too."""
