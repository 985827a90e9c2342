# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods are evicted after a cold boot, and which never."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import Refused
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import Page, ServerError
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import model, reconcile

NOW = datetime.datetime(2026, 11, 21, 19, 0, tzinfo=datetime.UTC)
TABLE = model.parse({"base": "default"})
SPACES = [{"kind": "Namespace", "metadata": {"name": name}} for name in ("4-aux-wiki", "4-aux-blog", "kube-system")]


def pod(name: str, owner: str = "ReplicaSet/web", *, minutes: int = 60, **more: t.Any) -> dict[str, t.Any]:
    made = NOW - datetime.timedelta(minutes=minutes)
    kind, _slash, whose = owner.partition("/")
    owners = [{"kind": kind, "name": whose, "controller": True}] if owner else []
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": more.pop("namespace", "4-aux-wiki"),
            "uid": f"uid-{name}",
            "creationTimestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "ownerReferences": owners,
            **more.pop("meta", {}),
        },
        "spec": {"containers": [{"name": "main"}], **more},
        "status": {"phase": "Running"},
    }


def chosen(*pods: dict[str, t.Any], **limits: t.Any) -> dict[str, str]:
    found = reconcile.choose(TABLE, [*SPACES, *pods], reconcile.Limits(**limits).checked(), NOW)
    return {one.name: one.skipped for one in found}


def test_only_what_missed_something_and_comes_back() -> None:
    options = {"options": [{"name": "ndots", "value": "2"}]}
    assert chosen(
        pod("missed"),
        pod("fine", priorityClassName="tier-4-aux", dnsConfig=options),
        pod("bare", ""),
        pod("static", "Node/n1"),
        pod("migration", "Job/once"),
        pod("young", "StatefulSet/db", minutes=1),
        pod("going", "DaemonSet/d", meta={"deletionTimestamp": "2026-11-21T18:00:00Z"}),
        pod("system", namespace="kube-system"),
    ) == {
        "missed": "",
        "bare": "nothing would make it again",
        "static": "nothing would make it again",
        "migration": "Job once would take it for a failure",
        "young": "younger than 300 s",
        "going": "it is being deleted",
    }


def test_not_too_many_of_one_owner_nor_in_all_and_the_oldest_first() -> None:
    pods = [pod(f"a{n}", minutes=60 + n) for n in range(3)]
    pods += [pod(f"b{n}", f"StatefulSet/s{n}", minutes=30, namespace="4-aux-blog") for n in range(3)]
    assert chosen(*pods, cap=3) == {
        "a2": "",
        "a1": "1 of ReplicaSet web in this run already",
        "a0": "1 of ReplicaSet web in this run already",
        "b0": "",
        "b1": "",
        "b2": "3 pods in this run already",
    }
    assert list(chosen(*pods, per_owner=2).values()).count("") == 5
    only = chosen(*pods, namespaces=("4-aux-blog",))
    assert only["a2"] == "its namespace was not asked for"


def test_what_keeps_one_pod_does_not_keep_the_others() -> None:
    class _Server:
        def create(self, path: str, _body: t.Any) -> None:
            said = {
                "twice": (500, "This pod has more than one PodDisruptionBudget, which is not supported."),
                "held": (429, "Cannot evict pod as it would violate the pod's disruption budget."),
                "other": (404, "not found"),
            }
            if (name := path.split("/")[-2]) in said:
                status, text = said[name]
                raise ServerError(f"HTTP {status}", status=status, said=text)

    pods = [reconcile.Pod("wiki", name, "u", "ReplicaSet web", ()) for name in ("twice", "held", "other", "free")]
    gone, kept = reconcile.evict(t.cast(t.Any, _Server()), pods)
    assert [one.name for one in gone] == ["free"]
    assert [one.skipped.partition(" PodDis")[0] for one in kept] == [
        "it has more than one",
        "a",
        "it has changed or gone meanwhile",
    ]


NATIVE = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings/tier-pod-defaults"
KYVERNO = "/apis/policies.kyverno.io/v1/mutatingpolicies/tier-pod-defaults"
EXCEPTIONS = "/apis/policies.kyverno.io/v1/policyexceptions"
DEPLOYMENTS = "/apis/apps/v1/deployments"
READY: dict[str, t.Any] = {"metadata": {}, "status": {"conditionStatus": {"ready": True}}}
BROKEN = {"metadata": {"annotations": {"infra.hackspace.org/break-glass": "{}"}}}


def ready(objects: dict[str, t.Any], lists: dict[str, list[dict[str, t.Any]]] | None = None) -> str:
    class _Server:
        def get(self, path: str) -> t.Any:
            return objects.get(path)

        def pages(self, path: str, **_more: t.Any) -> t.Iterator[Page]:
            yield Page((lists or {}).get(path, []), 0)

    try:
        reconcile.check_ready(t.cast(t.Any, _Server()), TABLE)
    except Refused as refused:
        return f"{refused.rule}: {refused.message}"
    return ""


def test_nothing_is_evicted_while_it_would_miss_the_same_again() -> None:
    def exception(kind: str) -> list[dict[str, t.Any]]:
        return [{"metadata": {"name": "x"}, "spec": {"policyRefs": [{"kind": kind}]}}]

    assert ready({}) == "pods-not-ready: pods that are made again would miss the same: no policy for pods is there."
    assert ready({NATIVE: {"metadata": {}}}) == ""
    assert "the glass is broken: MutatingAdmissionPolicyBinding" in ready({NATIVE: BROKEN})
    assert ready({NATIVE: BROKEN, KYVERNO: READY}) == ""
    assert ready({KYVERNO: READY}, {EXCEPTIONS: exception("ValidatingPolicy")}) == ""
    assert "the glass is broken: PolicyException x" in ready(
        {KYVERNO: READY}, {EXCEPTIONS: exception("MutatingPolicy")}
    )
    assert "has not taken it up" in ready({KYVERNO: {"metadata": {}}})
    assert "no admission controller" in ready({KYVERNO: READY}, {DEPLOYMENTS: [{"status": {}}]})
    assert ready({KYVERNO: READY}, {DEPLOYMENTS: [{"status": {"availableReplicas": 1}}]}) == ""


def test_the_plan_says_what_is_missing() -> None:
    pods = reconcile.choose(TABLE, [*SPACES, pod("missed"), pod("bare", "")], reconcile.Limits(), NOW)
    plan = reconcile.make_plan(pods)
    [change] = plan.changes
    assert (change.action, change.name, plan.unchanged) == ("delete", "4-aux-wiki/missed", 1)
    assert "it has no class, and should have tier-4-aux" in change.why
    assert "ndots" in change.why
