# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters tier_table, tier_of, tier_findings and tier_policies."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hackspace.infra.plugins.filter.tier_findings import tier_findings
from ansible_collections.hackspace.infra.plugins.filter.tier_of import tier_of
from ansible_collections.hackspace.infra.plugins.filter.tier_policies import tier_policies
from ansible_collections.hackspace.infra.plugins.filter.tier_table import tier_table

BASE = {"base": "default"}


def test_tier_table_fills_in_the_base() -> None:
    shown = tier_table({"base": "default", "tiers": [{"name": "4-aux", "quota": {"hard": {"pods": 40}}}]})
    assert "base" not in shown
    assert shown["tiers"][4]["quota"]["hard"]["pods"] == 40
    assert shown["tiers"][4]["quota"]["hard"]["requests.cpu"] == "2"
    assert tier_table(shown) == shown
    assert tier_table(BASE)["tiers"][4]["quota"]["hard"]["pods"] == "20", "the shipped table stays as it was"


def test_tier_of_one_and_many() -> None:
    assert tier_of("4-aux-wiki", BASE)["tier"] == "4-aux"
    many = tier_of([{"metadata": {"name": "web", "labels": {"tier": "3-edge"}}}, "kyverno"], BASE)
    assert [one["tier"] for one in many] == ["3-edge", ""]


def test_tier_findings() -> None:
    assert tier_findings(BASE, kyverno_version="1.19.1", kubernetes_version="v1.36.3") == []
    [one] = tier_findings(BASE, limits="kyverno", kyverno_version="1.18", strict=True)
    assert one["severity"] == "error"
    with pytest.raises(AnsibleFilterError, match="is no version"):
        tier_findings(BASE, kyverno_version="latest")


def test_tier_policies_refuses_a_wrong_table_and_names_all_that_is_wrong() -> None:
    wrong = {
        "base": "default",
        "tiers": [{"name": "4-aux", "quota": {"hard": {"limits.cpu": 4}}, "prefixes": ["4-aux"]}],
    }
    with pytest.raises(AnsibleFilterError) as caught:
        tier_policies(wrong)
    assert "namespace tier 4-aux, quota.hard.limits.cpu" in str(caught.value)
    assert "prefix-form" in str(caught.value)


def test_tier_policies() -> None:
    result = tier_policies(BASE, limits="static", pods="native", guards="native", namespaces=["4-aux-wiki"])
    assert {one["kind"] for one in result["objects"]} == {
        "LimitRange",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "PriorityClass",
        "ResourceQuota",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
    older = tier_policies(BASE, kyverno_version="1.18.0")
    assert any("1.18.0 deletes" in one for one in older["warnings"])


@pytest.mark.parametrize("name", [tier_table, tier_findings, tier_policies])
def test_what_is_no_table(name: object) -> None:
    assert callable(name)
    if name is tier_findings:
        assert tier_findings("gold")[0]["id"] == "type"
        return
    with pytest.raises(AnsibleFilterError, match="is no mapping"):
        name("gold")
