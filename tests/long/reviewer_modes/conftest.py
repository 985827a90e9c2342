# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same lab as for the short tests."""

from __future__ import annotations

from tests.integration.reviewer_modes.conftest import proxies, site, tenant

__all__ = ["proxies", "site", "tenant"]
