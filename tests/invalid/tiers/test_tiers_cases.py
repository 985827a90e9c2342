# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every broken table of namespace tiers gives the one finding that is expected of it, and every rule has a case."""

from __future__ import annotations

import inspect
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import findings, model
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.policies import Backends

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())


def found(case: dict[str, t.Any]) -> list[findings.Finding]:
    given = case.get("target", {})
    policies = [dict(one) for one in given.get("policies", [])]
    for one in policies:
        if "many_conditions" in one:
            one["spec"] = {"matchConditions": [{"name": f"c{i}"} for i in range(one.pop("many_conditions"))]}
    target = findings.Target(
        backends=Backends(**given.get("backends", {})),
        kubernetes=tuple(given.get("kubernetes", ())),
        kyverno=tuple(given.get("kyverno", ())),
        objects=tuple(given.get("objects", ())),
        policies=tuple(policies),
        strict=given.get("strict", False),
    )
    return findings.judge(case.get("raw", {"base": "default", **case.get("table", {})}), target)


def test_what_the_cases_change_is_right_without_the_change() -> None:
    assert found({}) == []
    assert found({"raw": {"base": "service_levels"}}) == []


@pytest.mark.parametrize("case", CASES, ids=[c["case"] for c in CASES])
def test_the_expected_finding(case: dict[str, t.Any]) -> None:
    all_found = [one.as_dict() for one in found(case)]
    [one] = [one for one in all_found if one["id"] not in case.get("also", [])]
    assert one["id"] == case["rule"], one
    assert one["severity"] == case.get("severity", "error"), one
    assert one["tier"] == case.get("tier", ""), one
    assert one["field"] == case.get("field", one["field"]), one
    assert one["field"] in one["message"]
    assert one["tier"] in one["message"]
    assert len(one["fix"]) > 10


def test_every_rule_has_a_case() -> None:
    cases = {case["rule"] for case in CASES}
    assert set(findings.RULES) <= cases
    shape = set(re.findall(r'rule="([a-z-]+)"', inspect.getsource(model)))
    assert len(shape) > 10
    assert shape <= cases


def test_names_are_unique() -> None:
    names = [case["case"] for case in CASES]
    assert len(names) == len(set(names))
