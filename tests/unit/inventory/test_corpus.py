# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each broken inventory of the corpus has exactly the one finding that it names, and each rule has a case."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._graph.inventory_model import (
    RULES,
    FileFact,
    Finding,
    Inventory,
    all_texts,
    findings,
    secret_kind,
)

CORPUS = sorted((pathlib.Path(__file__).parents[2] / "invalid" / "inventory").glob("*.yml"))


def load(path: pathlib.Path) -> dict[str, t.Any]:
    case: dict[str, t.Any] = yaml.safe_load(path.read_text())
    return case


def check(case: t.Mapping[str, t.Any]) -> tuple[Inventory, list[Finding]]:
    inventory = Inventory(case["variables"], case.get("hosts", {}), case.get("groups", []))
    if "files" not in case:
        return inventory, findings(inventory)
    modes = {name: int(mode, 8) for name, mode in case["files"].items()}
    return inventory, findings(inventory, lambda name: FileFact(name in modes, modes.get(name, 0)))


def test_there_are_cases() -> None:
    assert len(CORPUS) >= 30


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.stem)
def test_one_expected_finding(path: pathlib.Path) -> None:
    case = load(path)
    inventory, found = check(case)
    assert [{k: f.as_dict()[k] for k in ("item", "id", "severity")} for f in found] == [case["expect"]]
    assert found[0].message
    assert found[0].fix
    for _other, key, text in all_texts(inventory):
        if secret_kind(key, text):
            assert text not in str(found[0].as_dict()), "a finding repeats the value"


def test_every_rule_has_a_case() -> None:
    assert {load(p)["expect"]["id"] for p in CORPUS} == set(RULES)


def test_all_findings_at_once_and_sorted() -> None:
    variables: dict[str, t.Any] = {}
    expected = set()
    for path in CORPUS:
        case = load(path)
        if set(case["variables"]) & set(variables) or case.get("hosts") or case.get("files"):
            continue
        variables.update(case["variables"])
        expected.add((case["expect"]["item"], case["expect"]["id"]))
    found = findings(Inventory(variables, {}))
    assert len(expected) > 3
    assert expected <= {(f.path, f.rule) for f in found}
    assert found == sorted(found)
