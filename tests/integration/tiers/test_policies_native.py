# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Static limits and native policies, on a cluster that has no Kyverno."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import parse
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.tables import shipped

from tests.integration.tiers.conftest import ADMIN, PLATFORM, TENANT, Cluster, Object, compiled

BACKENDS = {"limits": "static", "pods": "native", "guards": "native"}
TABLE: t.Final[Object] = {"base": "default"}
TIERS = [tier["name"] for tier in shipped("default")["tiers"]]
HOLD = "infra.hackspace.org/tier-hold"
CONTAINERS: t.Final[Object] = {
    "containers": [
        {"name": "app", "image": "example.com/app:1", "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}}},
        {"name": "helper", "image": "example.com/helper:1"},
    ]
}


def render(cluster: Cluster) -> list[Object]:
    """Compile the table for the namespaces that are there, as a play would."""
    return compiled(TABLE, cluster.get("/api/v1/namespaces")["items"], **BACKENDS)


def tier_namespaces(cluster: Cluster) -> dict[str, str]:
    """Make one namespace by name for each namespace tier, and one that has none."""
    made = {tier: f"{tier}-app" for tier in TIERS} | {"untiered": "somewhere"}
    for name in made.values():
        assert cluster.namespace(name).status == 201
    return made


def one_of_each(cluster: Cluster, namespace: str, tier: str) -> None:
    """Exactly one LimitRange and one ResourceQuota, with what the table says of the namespace tier."""
    wanted = parse(TABLE).tier(tier)
    found = cluster.limits(namespace)
    assert [one["spec"] for one in found["limitranges"]] == ([wanted.limits.spec()] if wanted.limits else [])
    hard = [one["spec"]["hard"] for one in found["resourcequotas"]]
    assert hard == ([dict(wanted.quota.hard)] if wanted.quota else [])


@pytest.fixture(scope="module")
def tiers(plain: Cluster) -> dict[str, str]:
    """The table in force, and a namespace of every namespace tier."""
    made = tier_namespaces(plain)
    plain.apply(render(plain))
    plain.ready_for_pods(made.values())
    plain.hand_over(*made.values())
    plain.settled()
    return made


def test_namespaces_are_made_changed_and_deleted(plain: Cluster, tiers: dict[str, str]) -> None:
    for tier, name in tiers.items():
        one_of_each(plain, name, tier)
    again = plain.apply(render(plain))
    assert not again["changed"]

    # Another namespace tier, by a platform group; the limits follow with the next run, and nothing is left over.
    assert plain.label("somewhere", PLATFORM, tier="3-edge").status == 200
    assert plain.label("3-edge-app", PLATFORM, **{"resource-governance/custom-quota": "true"}).status == 200
    assert plain.call(render(plain), check=True, prune=True, prune_max_percent=100)["changed"]
    plain.apply(render(plain))
    one_of_each(plain, "somewhere", "3-edge")
    assert plain.limits("3-edge-app")["resourcequotas"] == []
    assert len(plain.limits("3-edge-app")["limitranges"]) == 1
    assert plain.label("somewhere", PLATFORM, tier=None).status == 200
    plain.apply(render(plain))
    one_of_each(plain, "somewhere", "untiered")

    assert plain.label("3-edge-app", PLATFORM, **{"resource-governance/custom-quota": None}).status == 200
    assert plain.namespace("4-aux-short").status == 201
    plain.apply(render(plain))
    one_of_each(plain, "4-aux-short", "4-aux")
    plain.remove(["4-aux-short"])
    again = plain.apply(render(plain))
    assert not any("4-aux-short" in str(one) for one in render(plain))
    for tier, name in tiers.items():
        one_of_each(plain, name, tier)


def test_pods_get_class_defaults_and_dns(plain: Cluster, tiers: dict[str, str]) -> None:
    table = parse(TABLE)
    for name, namespace in tiers.items():
        tier = table.tier(name)
        answer = plain.pod(namespace, CONTAINERS, dry=False)
        assert answer.status == 201, answer.body
        spec = answer.body["spec"]
        if tier.priority:
            assert (spec["priorityClassName"], spec["priority"]) == (tier.priority.name, tier.priority.value)
            assert spec["preemptionPolicy"] == tier.priority.preemption
        else:
            assert "priorityClassName" not in spec
        app, helper = (one["resources"] for one in spec["containers"])
        assert tier.limits
        if tier.pods.ndots is None:
            assert "dnsConfig" not in spec
            assert app["limits"]["cpu"] == "100m"
        else:
            assert spec["dnsConfig"]["options"] == [{"name": "ndots", "value": "2"}]
            # The limit that was taken away isn't put back; what the API server had made a request of stays.
            assert app == {"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}}
        assert helper["limits"] == {"memory": tier.limits.default["memory"]}
        assert helper["requests"] == dict(tier.limits.default_request)


def test_a_tenant_stays_below(plain: Cluster, tiers: dict[str, str]) -> None:
    for namespace in ("4-aux-app", "3-edge-app", "somewhere"):
        answer = plain.pod(namespace, {"priorityClassName": "tier-0-core"}, TENANT)
        assert (answer.status, "not allowed" in answer.message) == (403, True), answer.body
        assert plain.pod(namespace, None, TENANT).status == 201
    for labels in (
        {"tier": "0-core"},
        {"resource-governance/custom-quota": "true"},
        {"resource-governance/custom-limitrange": "true"},
    ):
        answer = plain.label("4-aux-app", TENANT, **labels)
        assert (answer.status, "only platform groups" in answer.message) == (403, True), answer.body
    hold = {"metadata": {"annotations": {HOLD: "2030-01-01"}}}
    assert plain.patch("/api/v1/namespaces/4-aux-app", hold, TENANT).status == 403
    assert plain.label("4-aux-app", TENANT, team="blue").status == 200
    # What is self-service may be made; what is above may not, neither by name nor by label.
    assert plain.namespace("4-aux-mine", TENANT).status == 201
    assert plain.namespace("0-core-mine", TENANT).status == 403
    assert plain.namespace("mine", TENANT, tier="0-core").status == 403
    answer = plain.namespace("0-core-mine", PLATFORM, tier="4-aux")
    assert (answer.status, "different namespace tiers" in answer.message) == (403, True), answer.body
    # A hold is for platform groups; then nothing is put in and nothing is refused.
    assert plain.patch("/api/v1/namespaces/4-aux-app", hold, PLATFORM).status == 200

    answer = plain.pod("4-aux-app", {"priorityClassName": "tier-0-core"}, ADMIN)
    assert (answer.status, "dnsConfig" in answer.body.get("spec", {})) == (201, False), answer.body
    release = {"metadata": {"annotations": {HOLD: None}}}
    assert plain.patch("/api/v1/namespaces/4-aux-app", release, PLATFORM).status == 200


def test_the_limit_is_at_the_32nd_container(plain: Cluster, tiers: dict[str, str]) -> None:
    limits = {"limits": {"cpu": "1m", "memory": "16Mi"}}
    many = [{"name": f"c{number}", "image": "example.com/app:1", "resources": limits} for number in range(33)]
    answer = plain.pod(tiers["0-core"], {"containers": many})
    left = [one["name"] for one in answer.body["spec"]["containers"] if "cpu" in one["resources"].get("limits", {})]
    assert left == ["c32"]
