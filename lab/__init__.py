# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A laboratory of real servers on loopback: OpenBao on raft and Kubernetes clusters."""

from __future__ import annotations
