# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every broken declaration of components gives the one error that is expected of it, and every rule has a case."""

from __future__ import annotations

import hashlib
import inspect
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._clients import sources
from ansible_collections.hackspace.infra.plugins.module_utils._components import model, openbao
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())
PINNED = hashlib.sha256(b"").hexdigest()
RIGHT = {"name": "app", "manifests": [{"path": "/a.yaml", "sha256": PINNED}]}
SETTINGS = {"image": f"quay.io/openbao/openbao:2.4.4@sha256:{PINNED}"}
#: Those need a server or files: tests/unit/components and tests/integration/components have them.
ELSEWHERE = {"source-size", "source-status", "source-redirects", "manifest-sha256"}


def over(right: dict[str, t.Any], change: dict[str, t.Any]) -> dict[str, t.Any]:
    return {key: value for key, value in {**right, **change}.items() if value is not None}


def attempt(case: dict[str, t.Any]) -> None:
    if "settings" in case or "openbao" in case:
        openbao.parse(case.get("settings") or over(SETTINGS, case["openbao"]))
    elif {"url", "sha256", "path"} & set(case):
        entry = {"url": case.get("url"), "path": case.get("path"), "sha256": case.get("sha256", PINNED)}
        sources.read_manifests([entry], timeout=1)
    else:
        model.parse(case.get("components") or [over(RIGHT, case.get("component", {}))])


def test_what_the_cases_change_is_right_without_the_change() -> None:
    attempt({})
    attempt({"openbao": {}})


@pytest.mark.parametrize("case", CASES, ids=[c["case"] for c in CASES])
def test_the_expected_error(case: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        attempt(case)
    error = caught.value
    assert error.rule == case["rule"], str(error)
    assert error.item == case["item"], str(error)
    assert error.fix
    assert "hunter2" not in str(error)


def test_every_rule_has_a_case() -> None:
    source = "".join(inspect.getsource(module) for module in (model, openbao, sources))
    rules = set(re.findall(r'rule="([a-z0-9-]+)"', source)) - ELSEWHERE
    assert len(rules) > 20
    assert rules <= {case["rule"] for case in CASES}


def test_names_are_unique() -> None:
    names = [case["case"] for case in CASES]
    assert len(names) == len(set(names))
