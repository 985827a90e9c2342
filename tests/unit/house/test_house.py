# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tree keeps the rules of the house."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.house.rules import RULES

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("rule", RULES)
def test_tree_keeps_rule(rule: str) -> None:
    findings = RULES[rule](ROOT)
    assert not findings, "\n".join([f"{len(findings)} breaches of {rule}:", *findings])
