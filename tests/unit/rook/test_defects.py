# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of Rook's defects in the documentation names all of them, and tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DEFECTS = [*(f"X{number}" for number in range(1, 19)), *(f"I{number}" for number in range(1, 11))]


def test_every_defect_has_a_test_that_there_is() -> None:
    rows = re.findall(
        r"^\| ([XI]\d+) \| .*? \| (.*) \|$", (ROOT / "docs" / "ceph_consumers.md").read_text(encoding="utf-8"), re.M
    )
    assert [name for name, _tests in rows] == DEFECTS
    for name, tests in rows:
        named = re.findall(r"`([\w/]+\.\w+)::(\w+)`", tests)
        assert named, name
        for file, test in named:
            text = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert f"def {test}(" in text or f"- case: {test}\n" in text, (name, test)
