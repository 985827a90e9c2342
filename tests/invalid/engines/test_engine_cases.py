# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every broken content of an engine gives the one error that is expected of it, and every rule has a case."""

from __future__ import annotations

import inspect
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import (
    certificates,
    database_plan,
    engine_entries,
    engine_plan,
    fields,
    pki_plan,
    transit_plan,
)

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())

#: Rules that need a server's state or a certificate; their tests are in tests/integration/engines and
#: tests/unit/openbao_engines.
OF_STATE = {
    "ca-expired",
    "ca-kind",
    "ca-other-certificate",
    "ca-other-name",
    "ca-outlives-signer",
    "ca-ttl-above-signer",
    "certificate-expired",
    "certificate-name",
    "certificate-not-ca",
    "certificate-other-key",
    "certificate-without-key",
    "connection-unknown",
    "data-loss",
    "issuer-no-default",
    "issuer-unknown",
    "moment-ahead",
    "python-package",
    "role-not-allowed",
    "role-unknown",
    "signer-unknown",
}


def engines(case: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    if "list" in case:
        return list(case["list"])
    option = next(name for name in engine_plan.CONTENTS if name in case)
    return [{"path": "e", "type": engine_plan.CONTENTS[option], option: case[option]}]


@pytest.mark.parametrize("case", CASES, ids=[c["case"] for c in CASES])
def test_the_expected_error(case: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        engine_plan.parse(engines(case))
    error = caught.value
    assert error.rule == case["rule"], str(error)
    assert case["item"] in error.item, str(error)
    assert error.fix
    assert "hunter2" not in str(error)


def test_every_rule_has_a_case() -> None:
    rules: set[str] = set()
    for module in (certificates, database_plan, engine_entries, pki_plan, transit_plan):
        rules |= set(re.findall(r'rule="([a-z0-9-]+)"', inspect.getsource(module)))
    of_fields = set(re.findall(r'rule="([a-z0-9-]+)"', inspect.getsource(fields)))
    assert rules - OF_STATE == {c["rule"] for c in CASES} - (of_fields - rules)


def test_cases_have_names_of_their_own() -> None:
    assert len({c["case"] for c in CASES}) == len(CASES)
