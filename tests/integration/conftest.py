# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of all integration tests: labs, and nodes as module arguments."""

from __future__ import annotations

import re
import typing as t

import pytest

from lab.api import Lab


def lab_name(text: str) -> str:
    """Return a name for a lab made of a test module's name."""
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")[-40:]


@pytest.fixture(scope="module")
def openbao_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    """Three OpenBao servers, initialised and unsealed, of this test module's own."""
    lab = Lab(lab_name(request.module.__name__), tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["openbao"], init=True)
        yield lab
    finally:
        lab.down(wipe=True)


@pytest.fixture(scope="module")
def blank_openbao_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    """Three OpenBao servers that nobody has initialised."""
    lab = Lab(lab_name(f"{request.module.__name__}-blank"), tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["openbao"])
        yield lab
    finally:
        lab.down(wipe=True)
