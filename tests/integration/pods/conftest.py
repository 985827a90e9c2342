# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab for all tests of pods."""

from __future__ import annotations

import typing as t

import pytest

from lab.api import Lab


@pytest.fixture(scope="package")
def pods_lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    """Three OpenBao servers, initialised, and a cluster in which they are pods."""
    lab = Lab("pods", tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["openbao", "core-infra", "openbao-pods"], init=True)
        yield lab
    finally:
        lab.down(wipe=True)
