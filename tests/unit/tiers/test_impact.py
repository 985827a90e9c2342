# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks if a table is applied."""

from __future__ import annotations

import time
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.impact import VERDICTS, failing, impact
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import Table, parse

Object = dict[str, t.Any]
NAMESPACE = "4-aux-wiki"
INJECTED = {"priorityClassName": "tier-4-aux", "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}}


def table(**over: t.Any) -> Table:
    return parse({"base": "default", **over})


def namespace(name: str = NAMESPACE, **metadata: t.Any) -> Object:
    return {"kind": "Namespace", "metadata": {"name": name, **metadata}}


def box(request: str | None = "64Mi", limit: str | None = "256Mi") -> Object:
    resources: Object = {"requests": {"cpu": "50m"}, "limits": {}}
    if request:
        resources["requests"]["memory"] = request
    if limit:
        resources["limits"]["memory"] = limit
    return {"name": "web", "resources": resources}


def pod(name: str = "a", phase: str = "Running", containers: list[Object] | None = None, **spec: t.Any) -> Object:
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "ownerReferences": [{"kind": "ReplicaSet", "controller": True}],
        },
        "spec": {"containers": containers or [box()], **INJECTED, **spec},
        "status": {"phase": phase},
    }


def workload(kind: str, *containers: Object, status: Object | None = None, **spec: t.Any) -> Object:
    template = {"template": {"spec": {"containers": list(containers) or [box()]}}}
    body = {"jobTemplate": {"spec": {**template, **spec.pop("job", {})}}} if kind == "CronJob" else template
    return {
        "kind": kind,
        "metadata": {"name": "wiki", "namespace": NAMESPACE},
        "spec": {**body, **spec},
        "status": status or {},
    }


def verdicts(
    *objects: Object, new: Table | None = None, old: Table | None = None, space: Object | None = None
) -> list[str]:
    [row] = [r for r in impact(old, new or table(), [space or namespace(), *objects]) if r["namespace"]]
    return [one["verdict"] for one in row["verdicts"]]


def test_all_is_well() -> None:
    assert verdicts(pod(), workload("Deployment", replicas=1, status={"replicas": 1})) == []


def test_frozen_counts_only_pods_that_have_not_ended() -> None:
    small = table(tiers=[{"name": "4-aux", "quota": {"hard": {"pods": "2"}}}])
    assert verdicts(pod("a"), pod("b"), pod("c", "Succeeded"), pod("d", "Failed"), new=small) == []
    assert verdicts(pod("a"), pod("b"), pod("c"), new=small) == ["frozen"]


def test_a_rollout_needs_room() -> None:
    small = table(tiers=[{"name": "4-aux", "quota": {"hard": {"pods": "3"}}}])
    pods = [pod(name) for name in "abc"]
    assert verdicts(*pods, workload("Deployment", replicas=3, status={"replicas": 3}), new=small) == ["no-surge"]
    still = workload("Deployment", replicas=3, status={"replicas": 3}, strategy={"rollingUpdate": {"maxSurge": 0}})
    assert verdicts(*pods, still, new=small) == []
    again = workload("Deployment", replicas=3, status={"replicas": 3}, strategy={"type": "Recreate"})
    assert verdicts(*pods, again, new=small) == []


def test_daemon_sets_grow_with_the_nodes_that_they_may_run_on() -> None:
    small = table(tiers=[{"name": "4-aux", "quota": {"hard": {"pods": "2"}}}])
    nodes: list[Object] = [{"kind": "Node", "metadata": {"name": str(n)}} for n in range(3)]
    daemons = workload("DaemonSet", status={"currentNumberScheduled": 1})
    assert verdicts(pod(), daemons, *nodes, new=small) == ["no-surge"]
    tainted = [{**one, "spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]}} for one in nodes[:2]]
    assert verdicts(pod(), daemons, *tainted, nodes[2], new=small) == []


def test_jobs_at_their_peak() -> None:
    small = table(tiers=[{"name": "4-aux", "quota": {"hard": {"pods": "3"}}}])
    assert verdicts(workload("Job", parallelism=4), new=small) == ["no-growth"]
    done = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert verdicts(workload("Job", parallelism=4, status=done), new=small) == []
    assert verdicts(workload("CronJob", job={"parallelism": 2}), new=small) == ["no-growth"]
    assert verdicts(workload("CronJob", job={"parallelism": 2}, concurrencyPolicy="Forbid"), new=small) == []
    assert verdicts(workload("CronJob", job={"parallelism": 9}, suspend=True), new=small) == []


def test_containers_against_the_new_limit_range() -> None:
    assert verdicts(workload("StatefulSet", box("64Mi", "5Gi"), replicas=0)) == ["rejected"]
    assert verdicts(workload("StatefulSet", box("512Mi", None), replicas=0)) == ["rejected", "on-defaults"]
    assert verdicts(workload("StatefulSet", box("64Mi", None), replicas=0)) == ["on-defaults"]
    ratio = table(tiers=[{"name": "4-aux", "limit_range": {"maxLimitRequestRatio": {"memory": 4}}}])
    assert verdicts(workload("StatefulSet", box("32Mi", "256Mi"), replicas=0), new=ratio) == ["rejected"]


def test_what_the_quota_counts_and_nothing_gives() -> None:
    bare = table(tiers=[{"name": "4-aux", "limit_range": None}])
    assert verdicts(workload("StatefulSet", box("64Mi", None), replicas=0), new=bare) == ["no-default"]


def test_pods_that_missed_the_injection_or_will_change() -> None:
    assert verdicts(pod(priorityClassName="", dnsConfig={})) == ["missed-injection", "missed-injection"]
    assert verdicts(pod(priorityClassName="tier-3-edge"), old=table()) == ["will-change-priority"]
    assert verdicts(pod(priorityClassName="own"), old=table()) == ["class-refused"], "a class of their own stays"
    assert verdicts(pod(priorityClassName=""), space=namespace(annotations={"infra.hackspace.org/tier-hold": "x"})) == [
        "hold"
    ]


def test_limits_that_are_left_over_or_have_two_owners() -> None:
    def limit(kind: str, name: str, **metadata: t.Any) -> Object:
        return {"kind": kind, "metadata": {"name": name, "namespace": NAMESPACE, **metadata}}

    ours = {"app.kubernetes.io/part-of": "namespace-tiers"}
    assert verdicts(limit("ResourceQuota", "tier-quota", labels=ours)) == []
    assert verdicts(limit("ResourceQuota", "by-hand")) == ["orphan"]
    custom = namespace(labels={"resource-governance/custom-quota": "true"})
    assert verdicts(limit("ResourceQuota", "by-hand"), space=custom) == ["opt-out"]
    assert verdicts(limit("ResourceQuota", "tier-quota", labels=ours), space=custom) == ["orphan", "opt-out"]
    managers = [
        {"manager": "kustomize-controller"},
        {"manager": "hackspace.infra"},
        {"manager": "x", "subresource": "status"},
    ]
    assert verdicts(limit("ResourceQuota", "tier-quota", managedFields=managers)) == ["double-owner"]


def test_sources() -> None:
    assert verdicts(space=namespace(labels={"tier": "3-edge"})) == ["tier-conflict"]
    other = table(sources=["label"])
    assert verdicts(old=table(), new=other) == ["tier-lost"]
    [row] = impact(table(), table(), [namespace("kube-system"), pod()])
    assert (row["tier"], row["source"], row["ok"]) == ("", "excluded", True)


def limit(kind: str, name: str, spec: Object, **metadata: t.Any) -> Object:
    return {"kind": kind, "metadata": {"name": name, "namespace": NAMESPACE, **metadata}, "spec": spec}


def judged(*objects: Object, **options: t.Any) -> list[tuple[str, str]]:
    [row] = impact(None, table(), [namespace(), *objects], **options)
    return [(one["verdict"], one["message"]) for one in row["verdicts"]]


@pytest.mark.parametrize(
    ("scope", "counted"),
    [
        ({"scopes": ["NotTerminating"]}, True),
        ({"scopes": ["Terminating"]}, False),
        ({"scopes": ["NotBestEffort"]}, True),
        ({"scopes": ["BestEffort"]}, False),
        ({"scopes": ["CrossNamespacePodAffinity"]}, False),
        ({"scopes": ["PriorityClass"]}, True),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "DoesNotExist"}]}}, False),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["tier-4-aux"]}]
                }
            },
            True,
        ),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "NotIn", "values": ["tier-4-aux"]}]
                }
            },
            False,
        ),
    ],
)
def test_quotas_with_scopes(scope: Object, counted: bool) -> None:
    found = verdicts(pod("a"), pod("b"), limit("ResourceQuota", "scoped", {"hard": {"pods": "1"}, **scope}))
    assert found == (["frozen", "orphan"] if counted else ["orphan"])


def test_scopes_of_pods_that_end_or_look_elsewhere() -> None:
    scoped = limit("ResourceQuota", "scoped", {"hard": {"pods": "1"}, "scopes": ["Terminating"]})
    ends = [pod(name, activeDeadlineSeconds=60) for name in "ab"]
    assert verdicts(*ends, scoped) == ["frozen", "orphan"]
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["x"]}]}}
    scoped = limit("ResourceQuota", "scoped", {"hard": {"pods": "1"}, "scopes": ["CrossNamespacePodAffinity"]})
    assert verdicts(*(pod(name, affinity=affinity) for name in "ab"), scoped) == ["frozen", "orphan"]


def test_a_table_with_a_scoped_quota() -> None:
    small = table(tiers=[{"name": "4-aux", "quota": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}}])
    assert verdicts(pod("a"), pod("b"), new=small) == [], "they are not BestEffort"


def test_autoscalers() -> None:
    small = table(tiers=[{"name": "4-aux", "quota": {"hard": {"pods": "5"}}}])
    scaler: Object = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "wiki", "namespace": NAMESPACE},
        "spec": {"maxReplicas": 6, "scaleTargetRef": {"kind": "Deployment", "name": "wiki"}},
    }
    web = workload("Deployment", replicas=2, status={"replicas": 2})
    assert verdicts(pod("a"), pod("b"), web, scaler, new=small) == ["no-growth"]
    scaler["spec"]["maxReplicas"] = 5
    assert verdicts(pod("a"), pod("b"), web, scaler, new=small) == ["no-growth"], "no rollout at the maximum"
    scaler["spec"]["maxReplicas"] = 4
    assert verdicts(pod("a"), pod("b"), web, scaler, new=small) == []
    off = workload("Deployment", replicas=0)
    assert verdicts(off, scaler, new=small) == [], "an autoscaler leaves a Deployment without replicas alone"


def test_rollouts_to_larger_pods() -> None:
    small = table(tiers=[{"name": "4-aux", "quota": {"hard": {"limits.memory": "600Mi"}}}])
    pods = [pod(name, containers=[box("64Mi", "64Mi")]) for name in "abc"]
    for one in pods:
        one["metadata"]["labels"] = {"app": "wiki"}
    stays: Object = {"selector": {"matchLabels": {"app": "wiki"}}, "strategy": {"rollingUpdate": {"maxSurge": 0}}}
    larger = workload("Deployment", box("64Mi", "256Mi"), replicas=3, **stays)
    assert verdicts(*pods, larger, new=small) == ["no-surge"]
    assert verdicts(*pods, workload("Deployment", box("64Mi", "128Mi"), replicas=3, **stays), new=small) == []
    missing = workload("Deployment", box("64Mi", "256Mi"), replicas=9, **stays)
    assert "are not there and do not fit" in str(
        impact(None, small, [namespace(), *pods, missing])[0]["verdicts"][0]["message"]
    )


def test_whether_a_rollout_stops() -> None:
    small = table(tiers=[{"name": "4-aux", "quota": {"hard": {"pods": "4"}}}])
    pods = [pod(name) for name in "abcd"]
    web = workload("Deployment", replicas=4, status={"replicas": 4})
    [one] = impact(None, small, [namespace(), *pods, web])[0]["verdicts"]
    assert "it goes on only by taking pods down first" in one["message"]
    web["spec"]["strategy"] = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    [one] = impact(None, small, [namespace(), *pods, web])[0]["verdicts"]
    assert "it stops there" in one["message"]


def test_one_more_node() -> None:
    small = table(tiers=[{"name": "4-aux", "quota": {"hard": {"pods": "2"}}}])
    nodes: list[Object] = [{"kind": "Node", "metadata": {"name": str(n)}} for n in range(2)]
    daemons = workload("DaemonSet", status={"currentNumberScheduled": 2})
    given = [namespace(), pod("a"), pod("b"), daemons, *nodes]
    assert [one["verdict"] for one in impact(None, small, given)[0]["verdicts"]] == ["no-growth"]
    assert impact(None, small, given, more_nodes=0)[0]["ok"]
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["0"]}]}]
    where = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    daemons["spec"]["template"]["spec"]["affinity"] = where
    daemons["status"] = {"currentNumberScheduled": 1}
    assert impact(None, small, [namespace(), pod("a"), daemons, *nodes])[0]["ok"], "one node, and one more"


def test_all_limit_ranges_count() -> None:
    web = workload("StatefulSet", box("64Mi", "256Mi"), replicas=0)
    most = limit("LimitRange", "other", {"limits": [{"type": "Container", "max": {"memory": "128Mi"}}]})
    assert verdicts(web, most) == ["rejected", "orphan"]
    whole = limit("LimitRange", "other", {"limits": [{"type": "Pod", "max": {"memory": "300Mi"}}]})
    two = workload("StatefulSet", box("64Mi", "256Mi"), box("64Mi", "256Mi"), replicas=0)
    assert verdicts(web, whole) == ["orphan"]
    assert verdicts(two, whole) == ["rejected", "orphan"]
    no_limit = limit("LimitRange", "other", {"limits": [{"type": "Pod", "max": {"cpu": "1"}}]})
    assert "wants one" in judged(web, no_limit)[0][1]
    least = limit("LimitRange", "other", {"limits": [{"type": "Container", "min": {"memory": "100Mi"}}]})
    assert "below min" in judged(web, least)[0][1]


def test_quotas_of_other_things() -> None:
    beside = limit(
        "ResourceQuota", "other", {"hard": {"services": "2", "count/pods": "1", "requests.example.org/fpga": "0"}}
    )
    [row] = impact(None, table(), [namespace(), pod("a", "Succeeded"), beside])
    assert row["not_reckoned"] == ["services"]
    beside["status"] = {"used": {"services": "3"}}
    asks = pod("b", containers=[{"name": "x", "resources": {"limits": {"memory": "64Mi", "example.org/fpga": "1"}}}])
    [row] = impact(None, table(), [namespace(), pod("a", "Succeeded"), asks, beside])
    frozen = {one["what"]: one["message"] for one in row["verdicts"] if one["verdict"] == "frozen"}
    assert set(frozen) == {"other: services", "other: count/pods", "other: requests.example.org/fpga"}
    assert "only what asks for" in frozen["other: requests.example.org/fpga"]


def test_quotas_in_which_nothing_starts() -> None:
    none = limit("ResourceQuota", "none", {"hard": {"pods": "0"}})
    assert judged(none)[0] == ("frozen", "quota none allows none")
    cpu = limit("ResourceQuota", "cpu", {"hard": {"limits.cpu": "4"}})
    assert "CPU limits are taken away" in judged(cpu)[0][1]


def test_pods_larger_than_a_quota() -> None:
    small = table(tiers=[{"name": "4-aux", "quota": {"hard": {"requests.memory": "100Mi"}}}])
    assert verdicts(workload("StatefulSet", box("200Mi", "256Mi"), replicas=0), new=small) == ["rejected"]


def test_resources_of_the_pod_as_a_whole() -> None:
    small = table(tiers=[{"name": "4-aux", "limit_range": None, "quota": {"hard": {"requests.memory": "100Mi"}}}])
    one = workload("StatefulSet", {"name": "web"}, replicas=0)
    assert verdicts(one, new=small) == ["no-default"] * 3
    limits = {"cpu": "1", "memory": "90Mi"}
    one["spec"]["template"]["spec"]["resources"] = {"requests": limits, "limits": limits}
    assert verdicts(one, new=small) == []
    one["spec"]["template"]["spec"]["resources"] = {"requests": {"memory": "101Mi"}}
    assert verdicts(one, new=small) == ["rejected"]


def test_classes_that_are_not_allowed() -> None:
    high = workload("Deployment", replicas=0)
    high["spec"]["template"]["spec"]["priorityClassName"] = "tier-0-core"
    assert verdicts(high) == ["class-refused"]
    assert verdicts(high, new=table(tiers=[{"name": "4-aux", "allowed_priority_classes": ["tier-0-core"]}])) == []
    held = namespace(annotations={"infra.hackspace.org/tier-hold": "x"})
    assert verdicts(high, space=held) == ["hold"]
    default = {"kind": "PriorityClass", "metadata": {"name": "everybody"}, "globalDefault": True}
    assert verdicts(workload("Deployment", replicas=0), default) == ["class-refused"]


def test_pods_are_judged_by_the_table_that_was_in_force() -> None:
    bare = pod(priorityClassName="", dnsConfig={})
    before = table(tiers=[{"name": "4-aux", "priority": None}], pods={"ndots": None})
    assert verdicts(bare, old=before) == ["will-change-priority"]
    assert verdicts(bare, old=table()) == ["missed-injection", "missed-injection"]
    limited = pod(containers=[{"name": "x", "resources": {"limits": {"cpu": "1", "memory": "64Mi"}}}])
    assert verdicts(limited) == ["missed-injection"]
    mirror = pod(priorityClassName="")
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    assert verdicts(mirror) == []


def test_owners() -> None:
    def quota(**metadata: t.Any) -> list[str]:
        return verdicts(limit("ResourceQuota", "tier-quota", {"hard": {}}, **metadata))

    assert quota(managedFields=[{"manager": "kubectl-edit", "fieldsV1": ["f:spec"]}]) == [], "by hand, once"
    assert quota(managedFields=[{"manager": "helm", "fieldsV1": ["f:spec"]}]) == ["double-owner"]
    assert quota(managedFields=[{"manager": "helm", "fieldsV1": []}]) == [], "only a label"
    assert quota(annotations={"argocd.argoproj.io/tracking-id": "x"}) == ["double-owner"]
    assert quota(labels={"generate.kyverno.io/policy-name": "x"}) == ["double-owner"]
    ours = {"generate.kyverno.io/policy-name": "x", "app.kubernetes.io/part-of": "namespace-tiers"}
    assert quota(labels=ours) == []
    [row] = impact(
        None, table(), [namespace("kube-system"), limit("LimitRange", "x", {}, namespace="kube-system", labels=ours)]
    )
    assert [one["verdict"] for one in row["verdicts"]] == ["orphan"], "in an excluded namespace, too"


def test_what_changes() -> None:
    def changes(*objects: Object) -> list[str]:
        found: list[str] = impact(None, table(), [namespace(), *objects])[0]["changes"]
        return found

    assert changes() == ["LimitRange tier-defaults: new", "ResourceQuota tier-quota: new"]
    tier = table().tier("4-aux")
    assert tier.limits is not None
    assert tier.quota is not None
    there = [
        limit("LimitRange", "tier-defaults", tier.limits.spec()),
        limit("ResourceQuota", "tier-quota", tier.quota.spec()),
    ]
    assert changes(*there) == []
    hard = {**tier.quota.spec()["hard"], "requests.cpu": "2000m", "pods": "30", "services": "1"}
    assert changes(there[0], limit("ResourceQuota", "tier-quota", {"hard": hard})) == [
        "ResourceQuota tier-quota: hard.pods 30 -> 20",
        "ResourceQuota tier-quota: hard.services 1 -> none",
    ]


def test_what_was_not_seen() -> None:
    for name in (NAMESPACE, "kube-system"):
        [row] = impact(None, table(), [namespace(name), pod()], unseen=["Deployment"])
        assert row["verdict"] == "not-seen"


def test_workloads_of_operators_are_looked_at() -> None:
    made = workload("StatefulSet", box("64Mi", "5Gi"), replicas=0)
    made["metadata"]["ownerReferences"] = [
        {"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "controller": True}
    ]
    assert verdicts(made) == ["rejected"]
    made = workload("Job", box("64Mi", "5Gi"))
    made["metadata"]["ownerReferences"] = [{"apiVersion": "batch/v1", "kind": "CronJob", "controller": True}]
    assert verdicts(made) == [], "its CronJob is looked at"


def test_pods_of_what_is_not_listed_are_looked_at_themselves() -> None:
    large = [box("64Mi", "5Gi")]
    rollout = pod(containers=large)
    assert verdicts(rollout) == ["rejected"], "a ReplicaSet of something else than a Deployment"
    other = pod(containers=large)
    other["metadata"]["ownerReferences"] = [
        {"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "controller": True}
    ]
    assert verdicts(other) == ["rejected"]
    other["metadata"]["ownerReferences"][0]["apiVersion"] = "batch/v1"
    assert verdicts(other) == [], "its Job is looked at"
    deployment = workload("Deployment", replicas=1, selector={"matchLabels": {"app": "wiki"}})
    rollout["metadata"]["labels"] = {"app": "wiki"}
    assert verdicts(rollout, deployment) == [], "of an earlier template"


def test_a_class_with_another_value() -> None:
    other = table(tiers=[{"name": "4-aux", "priority": {"value": 300000}}])
    assert verdicts(pod(priority=200000), old=table(), new=table()) == []
    assert verdicts(pod(priority=200000), old=table(), new=other) == ["will-change-priority"]
    assert verdicts(pod(priority=200000), new=other) == ["will-change-priority"]


def test_a_namespace_that_falls_back() -> None:
    fallback = table(sources=["label"], fallback="4-aux")
    assert verdicts(old=table(), new=fallback) == ["tier-lost"]
    assert verdicts(old=fallback, new=fallback) == []


def test_what_fails_a_run() -> None:
    rows = impact(None, table(), [namespace(), pod("a", priorityClassName=""), pod("b", priorityClassName="")])
    assert failing(rows, ["missed-injection", "frozen"]) == [f"{NAMESPACE}: missed-injection"]
    assert failing(rows, []) == []
    with pytest.raises(InvalidInput, match="is no verdict"):
        failing(rows, ["broken"])
    assert {one["verdict"] for row in rows for one in row["verdicts"]} <= set(VERDICTS)


def test_a_thousand_namespaces_and_ten_thousand_pods_in_seconds() -> None:
    objects: list[Object] = []
    for number in range(1000):
        name = f"4-aux-n{number}"
        objects.append(namespace(name))
        for place in range(10):
            one = pod(str(place))
            one["metadata"]["namespace"] = name
            objects.append(one)
    start = time.process_time()
    rows = impact(table(), table(), objects)
    assert len(rows) == 1000
    assert all(row["ok"] and row["pods"] == 10 for row in rows)
    assert time.process_time() - start < 4
