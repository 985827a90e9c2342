# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads the token or key of the repository from a file, encrypted ones too, and passes it to the module in memory."""

from __future__ import annotations

from .tenants import ActionModule as TenantsAction


class ActionModule(TenantsAction):
    """Files become values, nothing else changes."""
