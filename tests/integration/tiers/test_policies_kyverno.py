# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits, pods and guards by Kyverno, and its processes taken away."""

from __future__ import annotations

import itertools
import typing as t
from collections.abc import Iterator

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import parse
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.tables import shipped

from tests.integration.tiers.conftest import ENGINE, PLATFORM, REFUSED, TENANT, Cluster, Object, compiled, wait_for

ALL: t.Final[Object] = {"limits": "kyverno", "pods": "kyverno", "guards": "kyverno"}
TABLE: t.Final[Object] = {"base": "default"}
TIERS = [tier["name"] for tier in shipped("default")["tiers"]]
QUOTA, LIMITS = "resource-governance/custom-quota", "resource-governance/custom-limitrange"
HOLD = "infra.hackspace.org/tier-hold"
PROCESSES = (f"{ENGINE}-kyverno", f"{ENGINE}-kyverno-background")


def as_wanted(cluster: Cluster, namespace: str, tier: str, *, limits: bool = True, quota: bool = True) -> bool:
    """Exactly one LimitRange and one ResourceQuota as the table says, or none of a kind."""
    wanted = parse(TABLE).tier(tier)
    found = cluster.limits(namespace)
    specs = [wanted.limits.spec()] if limits and wanted.limits else []
    hard = [dict(wanted.quota.hard)] if quota and wanted.quota else []
    return (
        [one["spec"] for one in found["limitranges"]],
        [one["spec"]["hard"] for one in found["resourcequotas"]],
    ) == (
        specs,
        hard,
    )


def gets(cluster: Cluster, namespace: str, tier: str, **kinds: bool) -> None:
    """Wait until Kyverno has done its work."""
    wait_for(f"{namespace} as {tier}", lambda: as_wanted(cluster, namespace, tier, **kinds))


@pytest.fixture(scope="module")
def tiers(engine: Cluster) -> dict[str, str]:
    """The table in force, and a namespace of every namespace tier."""
    engine.apply(compiled(TABLE, **ALL))
    engine.settled()
    made = {tier: f"{tier}-app" for tier in TIERS} | {"untiered": "somewhere"}
    for name in made.values():
        assert engine.namespace(name).status == 201
    for tier, name in made.items():
        gets(engine, name, tier)
    engine.ready_for_pods(made.values())
    engine.hand_over(*made.values())
    return made


@pytest.fixture
def back(engine: Cluster) -> Iterator[None]:
    """Kyverno runs again afterwards."""
    yield
    engine.lab.start(*PROCESSES)
    wait_for("pods are changed", lambda: "dnsConfig" in engine.pod("tests-probe").body.get("spec", {}))


def test_every_combination_passes_the_dry_run_of_the_servers(engine: Cluster, tiers: dict[str, str]) -> None:
    namespaces = engine.get("/api/v1/namespaces")["items"]
    for limits, pods, guards in itertools.product(("static", "kyverno"), ("native", "kyverno"), ("native", "kyverno")):
        objects = compiled(TABLE, namespaces, limits=limits, pods=pods, guards=guards)
        result = engine.call(objects, check=True, adopt=True, force_conflicts=True)
        assert not result.get("failed"), (limits, pods, guards, result.get("msg"))


def test_it_changes_nothing_the_second_time(engine: Cluster, tiers: dict[str, str]) -> None:
    assert not engine.apply(compiled(TABLE, **ALL))["changed"]


def test_namespaces_are_changed_and_deleted(engine: Cluster, tiers: dict[str, str]) -> None:
    # There and back, as whoever is late in Kyverno must not have the last word. Kyverno 1.19 takes its own change of a
    # LimitRange for somebody else's and reverts it; its next pass over all namespaces puts that right.
    for tier in ("3-edge", "0-core", "untiered", "4-aux"):
        label = None if tier == "untiered" else tier
        assert engine.label("somewhere", PLATFORM, tier=label).status == 200
        gets(engine, "somewhere", tier)
    assert engine.label("somewhere", PLATFORM, tier=None).status == 200
    gets(engine, "somewhere", "untiered")
    # A change that is none to the table does not touch what was generated.
    before = [one["metadata"]["uid"] for kind in engine.limits("4-aux-app").values() for one in kind]
    assert engine.label("4-aux-app", PLATFORM, team="blue").status == 200

    # Opting out takes away exactly one of the two, and opting in again brings it back.
    for label, kinds in ((QUOTA, {"quota": False}), (LIMITS, {"limits": False})):
        assert engine.label("3-edge-app", PLATFORM, **{label: "true"}).status == 200
        gets(engine, "3-edge-app", "3-edge", **kinds)
        assert engine.label("3-edge-app", PLATFORM, **{label: None}).status == 200
        gets(engine, "3-edge-app", "3-edge")

    assert engine.namespace("4-aux-short").status == 201
    gets(engine, "4-aux-short", "4-aux")
    engine.remove(["4-aux-short"])
    assert [one["metadata"]["uid"] for kind in engine.limits("4-aux-app").values() for one in kind] == before
    # Somebody deletes or changes what was generated.
    path = "/api/v1/namespaces/4-aux-app"
    assert engine.request("DELETE", f"{path}/resourcequotas/tier-quota").status == 200
    gets(engine, "4-aux-app", "4-aux")
    assert engine.patch(f"{path}/resourcequotas/tier-quota", {"spec": {"hard": {"pods": "999"}}}).status == 200
    gets(engine, "4-aux-app", "4-aux")


def test_pods_get_class_defaults_and_dns(engine: Cluster, tiers: dict[str, str]) -> None:
    table = parse(TABLE)
    containers = [
        {"name": "app", "image": "example.com/app:1", "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}}},
        {"name": "helper", "image": "example.com/helper:1"},
    ]
    for name, namespace in tiers.items():
        tier = table.tier(name)
        answer = engine.pod(namespace, {"containers": containers}, dry=False)
        assert answer.status == 201, answer.body
        spec = answer.body["spec"]
        app, helper = (one["resources"] for one in spec["containers"])
        assert tier.limits
        assert helper["limits"] == {"memory": tier.limits.default["memory"]}
        assert helper["requests"] == dict(tier.limits.default_request)
        if tier.priority:
            assert (spec["priorityClassName"], spec["priority"]) == (tier.priority.name, tier.priority.value)
            assert spec["preemptionPolicy"] == tier.priority.preemption
            assert spec["dnsConfig"]["options"] == [{"name": "ndots", "value": "2"}]
            assert app == {"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}}
        else:
            assert "priorityClassName" not in spec
            assert "dnsConfig" not in spec
    # Templates of controllers stay as their owners wrote them.
    labels = {"app": "web"}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
    }
    deployment = {"metadata": {"name": "web"}, "spec": spec}
    answer = engine.request("POST", "/apis/apps/v1/namespaces/4-aux-app/deployments?dryRun=All", deployment)
    assert (answer.status, "priorityClassName" in str(answer.body)) == (201, False), answer.body


def test_a_tenant_stays_below(engine: Cluster, tiers: dict[str, str]) -> None:
    for namespace in ("4-aux-app", "3-edge-app", "somewhere"):
        answer = engine.pod(namespace, {"priorityClassName": "tier-0-core"}, TENANT)
        assert (answer.status in REFUSED, "not allowed" in answer.message) == (True, True), answer.body
        assert engine.pod(namespace, None, TENANT).status == 201
    for labels in ({"tier": "0-core"}, {QUOTA: "true"}, {LIMITS: "true"}):
        answer = engine.label("4-aux-app", TENANT, **labels)
        assert (answer.status in REFUSED, "only platform groups" in answer.message) == (True, True), answer.body
    hold = {"metadata": {"annotations": {HOLD: "2030-01-01"}}}
    assert engine.patch("/api/v1/namespaces/4-aux-app", hold, TENANT).status in REFUSED
    assert engine.namespace("0-core-mine", TENANT).status in REFUSED
    assert engine.namespace("mine", TENANT, tier="0-core").status in REFUSED
    assert engine.label("4-aux-app", TENANT, team="blue").status == 200
    # The rights that come with the role admin do not reach limits and policies.
    for kind, path in (
        ("ResourceQuota", "/api/v1/namespaces/4-aux-app/resourcequotas"),
        ("LimitRange", "/api/v1/namespaces/4-aux-app/limitranges"),
        ("MutatingPolicy", "/apis/policies.kyverno.io/v1/mutatingpolicies"),
    ):
        version = "v1" if path.startswith("/api/") else "policies.kyverno.io/v1"
        mine: Object = {"apiVersion": version, "kind": kind, "metadata": {"name": "mine"}, "spec": {}}
        assert engine.request("POST", path, mine, TENANT).status == 403, path


def test_an_exception_of_a_tenant_does_not_reach_native_guards(engine: Cluster, tiers: dict[str, str]) -> None:
    exception = {
        "apiVersion": "policies.kyverno.io/v1",
        "kind": "PolicyException",
        "metadata": {"name": "mine"},
        "spec": {"policyRefs": [{"name": "tier-priority-allowed", "kind": "ValidatingPolicy"}]},
    }
    path = "/apis/policies.kyverno.io/v1/namespaces/4-aux-app/policyexceptions"
    highest = {"priorityClassName": "tier-0-core"}
    # Kyverno's chart gives this right to the role admin; where exceptions count everywhere, its own guard gives way.
    assert engine.request("POST", path, exception, TENANT).status == 201
    try:
        wait_for("the exception counts", lambda: engine.pod("4-aux-app", highest, TENANT).status == 201)
        engine.apply(compiled(TABLE, **{**ALL, "guards": "native"}))
        wait_for("native guards", lambda: engine.pod("4-aux-app", highest, TENANT).status == 403)
    finally:
        assert engine.request("DELETE", f"{path}/mine").status == 200
        engine.apply(compiled(TABLE, **ALL))
        wait_for("the guard of Kyverno", lambda: engine.pod("4-aux-app", highest, TENANT).status == 400)


def test_with_kyverno_down_all_goes_on_and_it_comes_back(engine: Cluster, tiers: dict[str, str], back: None) -> None:
    engine.lab.stop(*PROCESSES, kill=True)
    assert engine.namespace("4-aux-cold").status == 201
    engine.ready_for_pods(["4-aux-cold"])
    answer = engine.pod("4-aux-cold", dry=False)
    assert answer.status == 201, answer.body
    # What was missed can be seen: neither limits nor class, though the namespace has a namespace tier.
    assert "priorityClassName" not in answer.body["spec"]
    assert engine.limits("4-aux-cold") == {"limitranges": [], "resourcequotas": []}
    assert engine.label("4-aux-app", PLATFORM, team="red").status == 200
    engine.lab.start(*PROCESSES)
    wait_for("pods are changed", lambda: "dnsConfig" in engine.pod("4-aux-cold").body.get("spec", {}))
    assert engine.pod("4-aux-cold", {"priorityClassName": "tier-0-core"}, TENANT).status in REFUSED
    # Kyverno looks at namespaces that it missed when they change, and at the start.
    gets(engine, "4-aux-cold", "4-aux")


def test_with_kyverno_hanging_pods_wait_for_the_time_limit(engine: Cluster, tiers: dict[str, str]) -> None:
    engine.lab.pause(PROCESSES[0])
    try:
        answer = engine.pod("4-aux-app")
        assert (answer.status, "dnsConfig" in answer.body.get("spec", {})) == (201, False), answer.body
    finally:
        engine.lab.resume(PROCESSES[0])
    wait_for("pods are changed", lambda: "dnsConfig" in engine.pod("4-aux-app").body.get("spec", {}))


def test_generated_limits_go_with_native_pods_and_guards(engine: Cluster, tiers: dict[str, str]) -> None:
    engine.apply(compiled(TABLE, limits="kyverno", pods="native", guards="native"))
    # Only asked, as until then nobody may be there to refuse it.
    higher, path = {"metadata": {"labels": {"tier": "0-core"}}}, "/api/v1/namespaces/4-aux-app?dryRun=All"
    wait_for("native guards", lambda: engine.patch(path, higher, TENANT).status == 403)
    # The guard of the order is the API server's then; Kyverno tries again until the LimitRange is there.
    assert engine.namespace("4-aux-mixed", TENANT).status == 201
    gets(engine, "4-aux-mixed", "4-aux")
    engine.ready_for_pods(["4-aux-mixed"])
    wait_for(
        "native mutation",
        lambda: engine.pod("4-aux-mixed").body.get("spec", {}).get("priorityClassName") == "tier-4-aux",
    )


def test_credentials_are_cloned_where_they_are_allowed(engine: Cluster, tiers: dict[str, str]) -> None:
    copied = {"name": "pull", "way": "kyverno", "source_namespace": "kyverno", "namespaces": ["4-aux-app"]}
    secret = {"type": "Opaque", "metadata": {"name": "pull"}, "stringData": {"token": "first"}}
    assert engine.request("POST", "/api/v1/namespaces/kyverno/secrets", secret).status == 201
    engine.apply(compiled({**TABLE, "distribute": [copied]}, **ALL))
    path = "/api/v1/namespaces/4-aux-app/secrets/pull"
    wait_for("the copy", lambda: engine.request("GET", path).status == 200)
    assert engine.request("GET", "/api/v1/namespaces/3-edge-app/secrets/pull").status == 404
    data = {"stringData": {"token": "second"}}
    assert engine.patch("/api/v1/namespaces/kyverno/secrets/pull", data).status == 200
    wait_for("the new value", lambda: engine.get(path)["data"]["token"] == "c2Vjb25k")


def test_without_the_policies_limits_stay(engine: Cluster, tiers: dict[str, str]) -> None:
    for tier, name in tiers.items():
        gets(engine, name, tier)  # a LimitRange may lag after a change of the namespace tier
    engine.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "left", "namespace": "default"}}])
    assert engine.get("/apis/policies.kyverno.io/v1/generatingpolicies")["items"] == []
    for tier, name in tiers.items():
        assert as_wanted(engine, name, tier)
