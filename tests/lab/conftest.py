# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab for all tests of the lab that need servers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from lab.api import Lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Everything, with OpenBao initialised and unsealed."""
    mine = Lab("tests", tmp_path_factory.mktemp("labs"), print)
    try:
        mine.up(init=True)
        yield mine
    finally:
        mine.down(wipe=True)
