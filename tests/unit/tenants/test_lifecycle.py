# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From state to state: in the right order, from wherever a run was cut off, and never many at once."""

from __future__ import annotations

import copy
import datetime
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import Refused
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import lifecycle, model, objects, profile
from ansible_collections.hackspace.infra.plugins.module_utils._tenants.lifecycle import Observed, Step, Transition
from hypothesis import given, settings
from hypothesis import strategies as st

PROFILE = profile.parse({"sealed_secrets": True})
STORES = {"server": "https://openbao.example.org:8200", "mount": "kubernetes-a", "audience": "openbao-a"}
PLACE = objects.Place("a", STORES, per_tenant=True)
TODAY = datetime.date(2026, 11, 22)
ALICE = model.parse(
    {
        "version": 1,
        "name": "alice",
        "owner": {"contact": "a@example.org"},
        "clusters": ["a"],
        "access": [{"group": "g", "role": "operator"}],
        "source": {"url": "https://git.example.org/a/b", "auth": {"type": "token", "path": "git"}},
        "data": [
            {"name": "calendar", "storage_class": "ceph-block", "retention_days": 30},
            {"name": "scratch", "storage_class": "ceph-block", "retention_days": 1},
        ],
    },
    "alice.yaml",
)
NS = "4-aux-alice"
Key = tuple[str, str, str, str]


def body(api: str, kind: str, name: str, spec: t.Any = None, **more: t.Any) -> dict[str, t.Any]:
    made: dict[str, t.Any] = {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": NS}}
    if spec is not None:
        made["spec"] = spec
    return {**made, **more}


def merged(base: t.Any, change: t.Any) -> t.Any:
    """Return *base* after a JSON merge patch."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    made = copy.deepcopy(base) if isinstance(base, dict) else {}
    for key, value in change.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key), value)
    return made


class Cluster:
    """What there is of one tenant, and what steps make of it."""

    def __init__(self, state: str = "active", *, content: bool = True) -> None:
        self.there: dict[Key, dict[str, t.Any]] = {}
        self.role = "present"
        self.records: list[t.Any] = []
        self.log: list[str] = []
        self.apply(state)
        if content:
            self.content()

    def key(self, one: t.Mapping[str, t.Any]) -> Key:
        meta = one["metadata"]
        return str(one["apiVersion"]), str(one["kind"]), str(meta.get("namespace") or ""), str(meta["name"])

    def put(self, *some: dict[str, t.Any]) -> None:
        for one in some:
            self.there[self.key(one)] = one

    def content(self) -> None:
        entries = [
            {"id": f"{NS}_db_apps_StatefulSet", "v": "v1"},
            {"id": f"{NS}_web_apps_Deployment", "v": "v1"},
            {"id": f"{NS}_conf__ConfigMap", "v": "v1"},
            {"id": f"{NS}_data__PersistentVolumeClaim", "v": "v1"},
            {"id": "4-aux-bob_web_apps_Deployment", "v": "v1"},
        ]
        self.there["kustomize.toolkit.fluxcd.io/v1", "Kustomization", NS, "alice"]["status"] = {
            "inventory": {"entries": entries},
            "lastAppliedRevision": "main@sha1:abc",
        }
        owner = {"metadata": {"name": "web-1", "namespace": NS, "ownerReferences": [{"controller": True}]}}
        self.put(
            body("apps/v1", "StatefulSet", "db", {"replicas": 2}),
            body("apps/v1", "Deployment", "web", {}),
            body("v1", "ConfigMap", "conf"),
            body("batch/v1", "CronJob", "night", {"suspend": False}),
            body("batch/v1", "CronJob", "never", {"suspend": True}),
            body("batch/v1", "Job", "done", {}, status={"conditions": [{"type": "Complete", "status": "True"}]}),
            body("v1", "Pod", "bare", {}, status={"phase": "Running"}),
            {**body("v1", "Pod", "web-1", {}), **owner},
            body("networking.k8s.io/v1", "Ingress", "web", {}),
            body("v1", "Service", "web", {}),
        )
        for claim, kind in (("data", "calendar"), ("other", "scratch"), ("bare", "")):
            made = body("v1", "PersistentVolumeClaim", claim, {"storageClassName": "ceph-block"})
            if kind:
                made["metadata"]["labels"] = {PROFILE.key("data-class"): kind}
            volume = {"claimRef": {"namespace": NS, "name": claim}, "persistentVolumeReclaimPolicy": "Delete"}
            self.put(made)
            self.put(
                {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"pv-{claim}"}, "spec": volume}
            )

    def observed(self) -> Observed:
        some = [copy.deepcopy(one) for one in self.there.values()]
        watched = set(lifecycle.WATCHED)
        return Observed(
            tuple(one for one in some if one["kind"] == "Namespace"),
            tuple(one for one in some if (one["apiVersion"], one["kind"]) in watched),
            tuple(one for one in some if one["kind"] == "PersistentVolume"),
        )

    def apply(self, state: str) -> None:
        for one in objects.tenant_objects(ALICE, PROFILE, PLACE, state=state):
            live = self.there.get(self.key(one), {})
            self.there[self.key(one)] = merged(live, one)

    def do(self, step: Step) -> None:
        self.log.append(f"{step.action} {step.target}")
        key = (step.api_version, step.kind, step.namespace, step.name)
        if step.action == "apply":
            self.apply(step.name)
        elif step.action == "patch":
            self.there[key] = merged(self.there[key], step.body)
        elif step.action == "delete":
            if key[1] == "Kustomization" and key in self.there:
                account = ("v1", "ServiceAccount", NS, "flux")
                right = ("rbac.authorization.k8s.io/v1", "RoleBinding", NS, "tenant-reconciler")
                assert {account, right} <= set(self.there), "Flux could not finish"
                assert self.there[key]["spec"]["suspend"] is True, "Flux would prune"
            self.there.pop(key, None)
            if key[1] == "Namespace":
                self.there = {k: one for k, one in self.there.items() if k[2] != key[3]}
        elif step.action == "gone":
            assert key not in self.there
        elif step.action == "openbao":
            self.role = step.body["state"]
        else:
            self.records.append(step.body)

    def plan(self, target: str) -> list[Step]:
        return lifecycle.plan(ALICE, PROFILE, PLACE, self.observed(), target, today=TODAY)

    def go(self, target: str) -> list[Step]:
        steps = self.plan(target)
        for one in steps:
            self.do(one)
        return steps

    def kinds(self) -> set[str]:
        return {key[1] for key in self.there}


def test_suspending_cuts_first_and_scales_then() -> None:
    cluster = Cluster()
    steps = cluster.go("suspended")
    order = [f"{one.action} {one.kind}" for one in steps]
    assert order[0] == "patch Kustomization"
    assert order[1] == "apply objects of"
    assert order.index("delete RoleBinding") < order.index("openbao role") < order.index("patch StatefulSet")
    assert cluster.role == "absent"
    stateful = cluster.there["apps/v1", "StatefulSet", NS, "db"]
    assert stateful["spec"]["replicas"] == 0
    assert stateful["metadata"]["annotations"] == {PROFILE.key("replicas-before"): "2"}
    assert cluster.there["batch/v1", "CronJob", NS, "night"]["spec"]["suspend"] is True
    assert ("v1", "Pod", NS, "bare") not in cluster.there
    assert ("v1", "Pod", NS, "web-1") in cluster.there
    assert ("v1", "ServiceAccount", NS, "eso") not in cluster.there
    assert all(one.reversible for one in steps if one.kind != "Pod")
    assert cluster.plan("suspended") == []


def test_and_back_again() -> None:
    cluster = Cluster()
    before = copy.deepcopy(cluster.there)
    cluster.go("suspended")
    cluster.go("active")
    before.pop(("v1", "Pod", NS, "bare"))
    for key, old in before.items():
        mine = copy.deepcopy(cluster.there[key])
        if key[1] in ("StatefulSet", "Deployment", "CronJob"):
            mine["metadata"].pop("annotations", None)
            mine["spec"].setdefault("replicas", 1)
            old["spec"].setdefault("replicas", 1)
        assert mine == old, key
    assert set(cluster.there) == set(before)
    assert cluster.there["batch/v1", "CronJob", NS, "never"]["spec"]["suspend"] is True
    assert cluster.role == "present"
    assert cluster.plan("active") == []


def test_archiving_keeps_volumes_and_nothing_else() -> None:
    cluster = Cluster()
    cluster.go("suspended")
    steps = cluster.go("archived")
    assert [one.kind for one in steps[:3]] == ["PersistentVolume"] * 3
    left = cluster.kinds()
    assert left == {
        "Namespace",
        "NetworkPolicy",
        "ResourceQuota",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "Pod",
    } | ({"Job"} & left)
    until = {
        key[3]: one["metadata"]["annotations"][PROFILE.key("retention-until")]
        for key, one in cluster.there.items()
        if key[1] == "PersistentVolume"
    }
    assert until == {"pv-data": "2026-12-22", "pv-other": "2026-11-23", "pv-bare": "2026-12-22"}
    for key, one in cluster.there.items():
        if key[1] == "PersistentVolume":
            assert one["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    [record] = cluster.records
    assert record["revisions"] == {f"{NS}/alice": "main@sha1:abc"}
    assert f"v1 ConfigMap {NS}/conf" in record["objects"]
    assert len(record["volumes"]) == 3
    assert record["openbao"] == [f"tenants/a/{NS}/"]
    assert not [line for line in cluster.log if "4-aux-bob" in line]
    assert not [line for line in cluster.log if line.startswith("delete PersistentVolume")]


def test_a_finished_plan_is_empty() -> None:
    for target in ("suspended", "archived", "removed", "active"):
        cluster = Cluster()
        cluster.go(target)
        assert cluster.plan(target) == [], target


def test_removal_takes_the_namespace_last_and_leaves_the_volumes() -> None:
    cluster = Cluster()
    steps = cluster.go("removed")
    assert [f"{one.action} {one.kind}" for one in steps[-2:]] == ["delete Namespace", "gone Namespace"]
    assert cluster.kinds() == {"PersistentVolume"}
    assert cluster.role == "absent"


def test_an_archived_tenant_comes_back() -> None:
    cluster = Cluster()
    cluster.go("archived")
    cluster.go("active")
    assert ("v1", "ServiceAccount", NS, "eso") in cluster.there
    assert ("v1", "ResourceQuota", NS, "tenant-stopped") not in cluster.there
    assert cluster.there["kustomize.toolkit.fluxcd.io/v1", "Kustomization", NS, "alice"]["spec"]["suspend"] is False
    notes = cluster.there["v1", "PersistentVolume", "", "pv-data"]["metadata"].get("annotations", {})
    assert PROFILE.key("retention-until") not in notes
    assert cluster.plan("active") == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(model.ORDER), st.integers(0, 40)), max_size=5), st.sampled_from(model.ORDER))
def test_whatever_was_cut_off_is_finished_by_the_next_plan(cuts: list[tuple[str, int]], last: str) -> None:
    cluster = Cluster()
    for target, count in cuts:
        for one in cluster.plan(target)[:count]:
            cluster.do(one)
    for _each in range(2):
        cluster.go(last)
    assert cluster.plan(last) == []
    state = cluster.observed().state(PROFILE)
    assert state == last
    volumes = [one for key, one in cluster.there.items() if key[1] == "PersistentVolume"]
    assert len(volumes) == 3


def test_state_of_what_is_there() -> None:
    assert Observed().state(PROFILE) == "removed"
    assert Cluster("archived", content=False).observed().state(PROFILE) == "archived"


# -- all tenants ---------------------------------------------------------------------------------------------------


def test_a_missing_declaration_changes_nobody() -> None:
    assert lifecycle.transitions({"a": "active"}, {"a": "active", "b": "active"}) == []
    assert lifecycle.transitions({"a": "suspended", "new": "active"}, {"a": "active"}, {"a": "unpaid"}) == [
        Transition("a", "active", "suspended", "unpaid")
    ]


def test_an_empty_repository_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        lifecycle.gate([], PROFILE, declared=0, known=3)
    assert caught.value.rule == "tenants-empty"
    assert lifecycle.gate([], PROFILE, declared=0, known=0).allowed == ()


@pytest.mark.parametrize(("many", "allowed"), [(3, 3), (4, 0)])
def test_many_suspensions_at_once_are_none(many: int, allowed: int) -> None:
    some = [Transition(f"t{n}", "active", "suspended") for n in range(many)]
    back = Transition("z", "suspended", "active")
    gate = lifecycle.gate([*some, back], PROFILE, declared=9, known=9)
    assert [one.tenant for one in gate.allowed] == [*(one.tenant for one in some[:allowed]), "z"]
    assert len(gate.held) == many - allowed


def test_removing_needs_the_name_and_happens_one_at_a_time() -> None:
    some = [Transition("a", "archived", "removed"), Transition("b", "archived", "removed")]
    gate = lifecycle.gate(some, PROFILE, declared=9, known=9, confirmed=["a"])
    assert [one.tenant for one in gate.allowed] == ["a"]
    assert "confirmation" in gate.held["b"]
    gate = lifecycle.gate(some, PROFILE, declared=9, known=9, confirmed=["a", "b"])
    assert gate.allowed == ()
    assert "at most 1" in gate.held["a"]
