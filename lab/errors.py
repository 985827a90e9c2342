# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab raises."""

from __future__ import annotations


class LabError(Exception):
    """Something a person can act on; the message says what and, where known, how."""


class Cancelled(LabError):
    """The work was interrupted; what has started keeps running and the next command takes it over."""
