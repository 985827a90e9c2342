# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site of tests/integration/shares."""

from __future__ import annotations

from tests.integration.shares.conftest import living_site, shares_lab, site

__all__ = ["living_site", "shares_lab", "site"]
