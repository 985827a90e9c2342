# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every broken declaration gives the one finding that is expected, every rule has a case, and the schema agrees."""

from __future__ import annotations

import copy
import inspect
import json
import re
import typing as t
from pathlib import Path

import jsonschema
import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._core import shape
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._kube import manifests
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import (
    findings,
    model,
    profile,
    schema,
)
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import parse as parse_table

HERE = Path(__file__).parent
CASES = yaml.safe_load((HERE / "cases.yml").read_text())
PUBLISHED = json.loads((HERE.parents[2] / "docs" / "tenant.schema.json").read_text())

ALICE: dict[str, t.Any] = {
    "version": 1,
    "name": "alice",
    "owner": {"contact": "alice@example.org"},
    "clusters": ["member-prod"],
    "access": [{"group": "tenant-alice", "role": "operator"}],
    "source": {
        "url": "https://git.example.org/alice/k8s",
        "ref": {"branch": "main"},
        "path": "./deploy",
        "auth": {"type": "token", "path": "git"},
    },
    "domains": [{"name": "cal.alice.example.org", "auth": "app", "reason": "the proxy checks a token"}],
    "data": [{"name": "calendar", "storage_class": "ceph-block", "retention_days": 30}],
}
PLATFORM: dict[str, t.Any] = {
    "namespace_tiers": [
        {"name": "4-aux", "ceiling": {"pods": "20"}},
        {"name": "3-edge", "approval": True},
    ],
    "git": {"allow": ["https://git.example.org/", "ssh://git@git.example.org/"]},
    "domains": {"self_service": ["{tenant}.example.org", "*.members.example.org"], "reserved": ["login.example.org"]},
    "storage_classes": ["ceph-block"],
    "minimum_retention_days": 14,
    "ingress": {"authentication": {"example.org/login": "yes"}},
}


def over(base: t.Any, change: t.Any) -> t.Any:
    """Return *base* with *change* over it; nothing takes a key out."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return copy.deepcopy(change)
    made = copy.deepcopy(base)
    for key, value in change.items():
        if value is None:
            made.pop(key, None)
        elif key == "authentication":
            made[key] = value
        else:
            made[key] = over(made.get(key), value)
    return made


def other(file: str, change: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return another tenant that is right but for *change*."""
    name = Path(file).stem
    base = {"version": 1, "name": name, "owner": {"contact": "b@example.org"}, "clusters": ["member-prod"]}
    if "domains" not in change and "source" not in change:
        base |= {"source": {"url": f"https://git.example.org/{name}/k8s"}}
    return t.cast(dict[str, t.Any], over(base, change))


def texts(case: dict[str, t.Any]) -> dict[str, str]:
    """Return the files of a case."""
    own = case.get("file", "alice.yaml") if "others" not in case else "alice.yaml"
    own = "alice.yaml" if own == "platform_tenants" else own
    made = {own: case.get("text") or yaml.safe_dump(over(ALICE, case.get("alice", {})))}
    for file, change in case.get("others", {}).items():
        made[file] = yaml.safe_dump(other(file, change))
    return made


def judged(case: dict[str, t.Any]) -> findings.Judged:
    return findings.judge(
        texts(case),
        profile.parse(over(PLATFORM, case.get("platform", {}))),
        clusters=["member-prod", "member-dev"],
        table=parse_table(case["table"]) if "table" in case else None,
        today="2026-11-22",
        known=["alice"],
    )


def test_what_the_cases_change_is_right_without_the_change() -> None:
    found = judged({"others": {"bob.yaml": {}}})
    assert found.findings == ()
    assert [one.name for one in found.sound] == ["alice", "bob"]


@pytest.mark.parametrize("case", [c for c in CASES if "profile" not in c], ids=lambda c: str(c["case"]))
def test_the_expected_finding(case: dict[str, t.Any]) -> None:
    result = judged(case)
    [one] = [one for one in result.findings if one.rule not in case.get("also", [])]
    assert one.rule == case["rule"], one
    assert one.file == case.get("file", "alice.yaml")
    assert one.path == case["path"], one
    assert one.level == case.get("level", "error")
    assert one.message.strip()
    assert len(one.fix) > 6
    # whoever is wrong stays as it is; the others go on
    name = Path(one.file).stem
    assert (name in result.broken) == (one.level == "error" and bool(one.tenant))
    assert all(each.name != name for each in result.sound) or one.level == "warning"
    if "others" in case and name != "alice":
        assert "alice" in {each.name for each in result.sound}


@pytest.mark.parametrize("case", [c for c in CASES if "profile" in c], ids=lambda c: str(c["case"]))
def test_the_expected_error_of_the_platform(case: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        profile.parse(case["profile"])
    assert caught.value.rule == case["rule"]
    assert caught.value.item == f"platform_tenants: {case['path']}"
    assert caught.value.fix


def test_every_rule_has_a_case() -> None:
    cases = {case["rule"] for case in CASES}
    assert set(findings.RULES) <= cases
    text = inspect.getsource(shape) + inspect.getsource(model) + inspect.getsource(schema)
    shapes = set(re.findall(r'(?:rule=|"x-rule": )"([a-z-]+)"', text))
    shapes |= set(re.findall(r'self\._fail\(\s*\w+,\s*"([a-z-]+)"', text))
    shapes |= {one["x-rule"] for one in _all(dict(schema.TENANT)) if "x-rule" in one}
    assert len(shapes) > 20
    assert shapes - {"too-large"} <= cases


def _all(value: t.Any) -> t.Iterator[dict[str, t.Any]]:
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from _all(one)
    elif isinstance(value, list):
        for one in value:
            yield from _all(one)


@pytest.mark.parametrize("case", [c for c in CASES if "profile" not in c], ids=lambda c: str(c["case"]))
def test_schema_and_parser_agree(case: dict[str, t.Any]) -> None:
    for file, text in texts(case).items():
        try:
            value = manifests.load(text.encode(), file)[0].body
        except InvalidInput:
            continue
        try:
            model.parse(value, file)
        except InvalidInput:
            right = False
        else:
            right = True
        if case["case"] == "alias_without_end":
            # stands for ever more of itself
            continue
        assert jsonschema.Draft202012Validator(PUBLISHED).is_valid(value) is right


def test_enough_cases_and_names_are_unique() -> None:
    names = [case["case"] for case in CASES]
    assert len(names) == len(set(names))
    assert len(names) >= 40
