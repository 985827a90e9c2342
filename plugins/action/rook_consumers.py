# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads the login to OpenBao and the kubeconfigs from files, encrypted ones too, and passes them on in memory."""

from __future__ import annotations

from .jwt_reviewer import ActionModule as JoinedAction


class ActionModule(JoinedAction):
    """Files become values, in check mode too."""
