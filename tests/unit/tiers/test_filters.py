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


def test_what_the_api_server_fills_in_is_no_finding() -> None:
    limits = {"defaultRequest": {"cpu": None}, "min": {"cpu": "50m"}}
    assert tier_findings({"base": "default", "tiers": [{"name": "4-aux", "limit_range": limits}]}) == []
    limits = {"max": {"memory": "4Gi"}, "min": {"memory": "64Mi"}, "maxLimitRequestRatio": {"memory": 8}}
    assert tier_findings({"base": "default", "tiers": [{"name": "4-aux", "limit_range": limits}]}) == []


def test_a_risk_that_was_accepted_is_no_finding_when_it_is_applied() -> None:
    table = {"base": "default", "failure_policy": "Fail", "accept_deadlock_risk": True}
    [ours] = [one for one in tier_policies(table)["objects"] if one["kind"] == "MutatingPolicy"]
    assert tier_findings(table, policies=[ours]) == []
    other = {**ours, "metadata": {"name": "other"}}
    assert [one["id"] for one in tier_findings(table, policies=[other])] == ["pods-fail"]
    assert [one["id"] for one in tier_findings(BASE, policies=[ours])] == ["pods-fail"]


def test_what_is_not_made_somewhere_has_one_owner() -> None:
    def owned(space: str, **labels: str) -> list[dict[str, str]]:
        meta = {"name": "tier-quota", "namespace": space, "labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}
        quota = {"kind": "ResourceQuota", "metadata": meta}
        return tier_findings(
            BASE, objects=[{"kind": "Namespace", "metadata": {"name": space, "labels": labels}}, quota]
        )

    assert [one["id"] for one in owned("4-aux-wiki")] == ["two-owners"]
    assert owned("4-aux-wiki", **{"resource-governance/custom-quota": "true"}) == []
    assert owned("kube-system") == []


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
