# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every wrong consumer gives the one finding that is expected of it, and every rule has a case."""

from __future__ import annotations

import copy
import inspect
import re
import typing as t
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._rook import facts, findings, model, schema

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())
FSID = "2f1c6d2a-8a5f-4f0e-9a35-3c1d6f7b8e90"
CEPH: dict[str, t.Any] = {"fsid": FSID, "monitors": ["192.0.2.11", "192.0.2.12"]}
CONSUMERS: tuple[dict[str, t.Any], ...] = (
    {"cluster": "member-prod", "block": [{"storage_class": "block", "pool": "vm-prod"}]},
    {"cluster": "member-test", "block": [{"storage_class": "block", "pool": "vm-prod"}]},
)
CLUSTERS = ["member-prod", "member-test", "a-cluster-with-a-name-of-more-than-thirty-letters"]
FACTS: dict[str, t.Any] = {
    "fsid": FSID,
    "version": "19.2.6",
    "insecure": [],
    "unreachable": [],
    "monitors": [
        {"name": "a", "v1": "192.0.2.11:6789", "v2": "192.0.2.11:3300"},
        {"name": "b", "v1": "192.0.2.12:6789", "v2": "192.0.2.12:3300"},
    ],
    "pools": {
        "vm-prod": {"applications": ["rbd"]},
        "vm-test": {"applications": ["rbd"]},
        "cold": {"erasure": True, "overwrites": True},
        "cold2": {"erasure": True, "overwrites": True},
        "stiff": {"erasure": True},
        "cephfs_data": {"applications": ["cephfs"]},
    },
    "filesystems": {"cephfs": {"metadata_pool": "cephfs_metadata", "data_pools": ["cephfs_data"]}},
}


def laid(base: Mapping[str, t.Any], over: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """One mapping over another; nothing takes a key away."""
    return {key: value for key, value in {**copy.deepcopy(dict(base)), **over}.items() if value is not None}


def found_in(case: Mapping[str, t.Any]) -> list[findings.Finding]:
    consumers = [laid(one, case.get(name) or {}) for one, name in zip(CONSUMERS, ("first", "second"), strict=True)]
    # the monitors of the inventory are those that Ceph has, unless the case is about them
    given = laid({"consumers": consumers, **CEPH}, case.get("ceph") or {})
    known = laid(FACTS, case.get("facts") or {})
    if "monitors" in (case.get("facts") or {}):
        given["monitors"] = [(one.get("v2") or one["v1"]).rpartition(":")[0] for one in known["monitors"]]
    return findings.judge(given, facts.parse(known), clusters=CLUSTERS)[1]


def test_what_the_cases_change_is_right_without_the_change() -> None:
    assert found_in({}) == []


@pytest.mark.parametrize("case", CASES, ids=[one["case"] for one in CASES])
def test_the_expected_finding(case: dict[str, t.Any]) -> None:
    level = case.get("level", "error")
    found = found_in(case)
    mine = [one for one in found if one.rule == case["rule"]]
    assert mine, found
    assert case["item"] in mine[0].item, mine
    assert mine[0].level == level
    assert mine[0].fix
    expected = 1 + len(case.get("also", ()))
    errors = [one for one in found if one.level == "error"]
    assert len(errors) == (expected if level == "error" else 0), errors
    if errors:
        with pytest.raises(InvalidInput) as caught:
            findings.refuse(found)
        assert caught.value.rule == case["rule"]


def test_several_errors_are_one_that_names_them_all() -> None:
    found = found_in({"first": {"cluster": "nowhere", "block": []}})
    with pytest.raises(InvalidInput) as caught:
        findings.refuse(found)
    assert caught.value.rule == "several"
    assert {one["rule"] for one in caught.value.data["findings"]} == {"cluster-unknown", "consumer-empty"}


def _rules(value: t.Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "x-rule" in value:
            yield str(value["x-rule"])
        for inner in value.values():
            yield from _rules(inner)


def test_every_rule_has_a_case() -> None:
    cases = {one["case"]: one["rule"] for one in CASES}
    assert set(findings.RULES) <= set(cases.values())
    shapes = {*_rules(schema.CEPH), *_rules(schema.CONSUMER)}
    assert len(shapes) > 12
    assert shapes <= set(cases.values())
    judged = inspect.getsource(findings).partition("def judge(")[2]
    named = set(re.findall(r'"((?:[a-z0-9]+-)+[a-z0-9]+)"', judged))
    assert named - {"client-generation-name"} == {rule for rule in findings.RULES if "-" in rule}
    assert len(cases) == len(CASES)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"monitors": []}, "monitors-none"),
        ({"monitors": [{"name": "a"}]}, "monitor-address"),
        ({"monitors": [{"name": "a", "v1": "pve1:6789"}]}, "monitor-address"),
        ({"pool": {}}, "unknown-key"),
        ([], "type"),
    ],
)
def test_facts_that_are_none(given: t.Any, rule: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        facts.parse(given)
    assert caught.value.rule == rule


def test_a_consumer_that_nobody_declares() -> None:
    with pytest.raises(InvalidInput) as caught:
        model.parse({"consumers": [*CONSUMERS]}).named("other")
    assert caught.value.rule == "consumer-unknown"
    assert "member-prod" in caught.value.fix
