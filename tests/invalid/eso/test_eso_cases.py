# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every broken declaration gives the one error that is expected of it, and every rule has a case."""

from __future__ import annotations

import inspect
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._clients import cluster_targets
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._eso import model, sync_plan

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())
RIGHT = {
    "server": "https://openbao.example.org:8200",
    "mount": "kubernetes-member-prod",
    "audience": "openbao-member-prod",
}


def attempt(case: dict[str, t.Any]) -> None:
    if "clusters" in case:
        cluster_targets.targets(case["clusters"])
    elif "selection" in case:
        given = case["selection"]
        sync_plan.selection("not_ready", given.get("labels"), given.get("namespaces"))
    else:
        model.parse(case.get("namespaces", ["4-aux-alice"]), {**RIGHT, **case.get("stores", {})})


def test_what_the_cases_change_is_right_without_the_change() -> None:
    attempt({})
    attempt({"clusters": [{"name": "member-prod", "kubeconfig": "a"}]})
    attempt({"selection": {"namespaces": ["4-aux-alice"], "labels": "team=web"}})


@pytest.mark.parametrize("case", CASES, ids=[c["case"] for c in CASES])
def test_the_expected_error(case: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        attempt(case)
    error = caught.value
    assert error.rule == case["rule"], str(error)
    assert case["item"] in error.item, str(error)
    assert error.fix
    assert "hunter2" not in str(error)


def test_every_rule_has_a_case() -> None:
    source = "".join(inspect.getsource(module) for module in (model, sync_plan, cluster_targets))
    rules = set(re.findall(r'rule="([a-z-]+)"', source)) - {"not-ready"}
    assert len(rules) > 20
    assert rules <= {case["rule"] for case in CASES}


def test_names_are_unique() -> None:
    names = [case["case"] for case in CASES]
    assert len(names) == len(set(names))
