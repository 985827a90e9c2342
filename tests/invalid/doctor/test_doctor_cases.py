# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every wrong input of the doctor gives the one error that is expected of it, and every rule has a case."""

from __future__ import annotations

import inspect
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers import doctor

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())


def parse(arguments: t.Mapping[str, t.Any]) -> None:
    doctor.check_seconds({"request_timeout": 2.0, "budget": 4.5, **arguments})
    doctor.parse_tenants(arguments.get("tenants") or [], ["prod"])


@pytest.mark.parametrize("case", CASES, ids=[c["case"] for c in CASES])
def test_the_expected_error(case: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(case)
    error = caught.value
    assert error.rule == case["rule"], str(error)
    assert error.item == case["item"]
    assert error.fix


def test_what_is_right_passes() -> None:
    parse({"tenants": [{"cluster": "prod", "namespace": "4-aux-a", "service_account": "eso.v1", "secret": "db/main"}]})


def test_every_rule_has_a_case() -> None:
    source = inspect.getsource(doctor)
    rules = set(re.findall(r'rule="([a-z0-9-]+)"', source)) | set(
        re.findall(r'(?:_LABEL|_SUBDOMAIN|_PATH), "(\S+)"', source)
    )
    assert rules == {c["rule"] for c in CASES}


def test_cases_have_names_of_their_own() -> None:
    assert len({c["case"] for c in CASES}) == len(CASES)
