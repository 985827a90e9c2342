# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every broken list gives the one error that is expected of it, and every rule has a case."""

from __future__ import annotations

import inspect
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import (
    engine_plan,
    fields,
    hcl,
    identity_plan,
    mount_model,
    policy_plan,
)

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())

#: Rules that need a server's state; their tests are in tests/integration/config and tests/unit/openbao_config.
OF_STATE = {
    "data-loss",
    "field-unknown-to-server",
    "fixed-field",
    "foreign",
    "group-twice",
    "kv-downgrade",
    "kv-upgrade",
}


def _groups(raw: list[dict[str, t.Any]]) -> None:
    identity_plan.plan(identity_plan.Present(), identity_plan.parse(raw))


PARSERS: dict[str, t.Callable[[list[dict[str, t.Any]]], t.Any]] = {
    "policies": policy_plan.parse,
    "mounts": mount_model.parse,
    "engines": engine_plan.parse,
    "groups": _groups,
}


@pytest.mark.parametrize("case", CASES, ids=[c["case"] for c in CASES])
def test_the_expected_error(case: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        PARSERS[case["of"]](case["list"])
    error = caught.value
    assert error.rule == case["rule"], str(error)
    assert case["item"] in error.item, str(error)
    assert error.fix
    assert "hunter2" not in str(error)


def test_every_rule_has_a_case() -> None:
    rules: set[str] = set()
    for module in (engine_plan, fields, hcl, identity_plan, mount_model, policy_plan):
        rules |= set(re.findall(r'rule="([a-z0-9-]+)"', inspect.getsource(module)))
    assert rules - OF_STATE == {c["rule"] for c in CASES}


def test_cases_have_names_of_their_own() -> None:
    assert len({c["case"] for c in CASES}) == len(CASES)
