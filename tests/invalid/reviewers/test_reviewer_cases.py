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
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers import model

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())
#: Rules that other files of the package use too, with their cases elsewhere.
OF_FIELDS = {"duration"}
GOOD = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def arguments(case: dict[str, t.Any]) -> dict[str, t.Any]:
    given = {k: v for k, v in case.items() if k not in ("case", "rule", "item", "server", "ca")}
    given["clusters"] = [{"name": "a", "kubeconfig": "k", **c} for c in case.get("clusters", [{}])]
    return given


def take(case: dict[str, t.Any]) -> None:
    _settings, clusters = model.parse(arguments(case))
    ca = GOOD if case.get("ca") == "good" else str(case["ca"])
    model.check_together([model.completed(c, server=case["server"], ca_pem=ca) for c in clusters])


@pytest.mark.parametrize("case", CASES, ids=[c["case"] for c in CASES])
def test_the_expected_error(case: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        take(case)
    error = caught.value
    assert error.rule == case["rule"], str(error)
    assert case["item"] in error.item, str(error)
    assert error.fix
    assert "hunter2" not in str(error)


def test_every_rule_has_a_case() -> None:
    text = inspect.getsource(model)
    rules = set(re.findall(r'rule="([a-z0-9-]+)"', text))
    rules |= set(re.findall(r'_LABEL, f"[^"]+", "([a-z-]+)"', text)) | set(
        re.findall(r'_NAME, f"[^"]+", "([a-z-]+)"', text)
    )
    assert rules | OF_FIELDS <= {c["rule"] for c in CASES}
    assert {c["rule"] for c in CASES} <= set(re.findall(r'"([a-z0-9-]+)"', text)) | OF_FIELDS


def test_cases_have_names_of_their_own() -> None:
    assert len({c["case"] for c in CASES}) == len(CASES)


def test_the_smallest_declaration_is_accepted() -> None:
    settings, [cluster] = model.parse({"clusters": [{"name": "a", "kubeconfig": "k"}]})
    assert (cluster.mount, cluster.audience, cluster.policy) == ("kubernetes-a", "openbao-a", "tenant-a")
    assert settings.renew_below == pytest.approx(1 / 3)
    assert cluster.access == model.Access()
