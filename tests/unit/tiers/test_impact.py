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
    assert verdicts(workload("Job", parallelism=4), new=small) == ["no-surge"]
    done = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert verdicts(workload("Job", parallelism=4, status=done), new=small) == []
    assert verdicts(workload("CronJob", job={"parallelism": 2}), new=small) == ["no-surge"]
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
    assert verdicts(pod(priorityClassName="own"), old=table()) == [], "a class of their own stays"
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
