# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every broken argument of flux_wait and flux_action gives its one expected error, and every rule has a case."""

from __future__ import annotations

import inspect
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._flux import action, wait
from ansible_collections.hackspace.infra.plugins.modules import flux_action, flux_wait

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())
RIGHT = [{"kind": "Kustomization", "namespace": "a", "name": "b"}]
#: Rules about what is found in a cluster; tests/integration/flux has them.
LIVE = {
    "flux-kind-missing",
    "flux-suspended",
    "flux-absent",
    "flux-failed",
    "flux-suspended-in-git",
}


def attempt(case: dict[str, t.Any]) -> None:
    targets = wait.parse(case.get("objects", RIGHT))
    flux_wait.seconds({"timeout": 1, "grace": 1, **case}, "timeout", "grace")
    chosen = case.get("action", "kick")
    action.Request(chosen, targets, force=case.get("force", False), reset=case.get("reset", False)).checked()


def test_what_the_cases_change_is_right_without_the_change() -> None:
    for chosen in action.ACTIONS:
        attempt({"action": chosen})
    attempt({"force": True, "reset": True, "objects": [{"kind": "HelmRelease", "namespace": "a", "name": "b"}]})


@pytest.mark.parametrize("case", CASES, ids=[c["case"] for c in CASES])
def test_the_expected_error(case: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        attempt(case)
    assert (caught.value.rule, caught.value.item) == (case["rule"], case["item"])
    assert caught.value.fix


def test_every_rule_has_a_case() -> None:
    source = "".join(inspect.getsource(module) for module in (wait, action, flux_wait, flux_action))
    rules = set(re.findall(r'rule="([a-z-]+)"', source)) - LIVE
    assert rules == {case["rule"] for case in CASES}
