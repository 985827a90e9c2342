# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads the login's password or token from a file, as for openbao_policies."""

from __future__ import annotations

from .openbao_policies import ActionModule

__all__ = ["ActionModule"]
