# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Pods that missed what their namespace tier puts into them, and which of them may be evicted to be made again."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from .._core.errors import Refused, check
from .._core.plan import Change, Plan
from .._kube.ports import Api, ServerError, listed
from .._kube.wait import status
from . import break_glass
from .apply_plan import ADMISSION_CONTROLLER, replaceable_owner
from .impact import impact
from .model import Table
from .pods import policy as pod_policy

Object = Mapping[str, t.Any]

#: Who makes a pod again when it is gone. Pods of others, and bare pods, are never touched. Nor are those of a Job: it
#: takes an eviction for a failure, loses the work, and may give up for good.
OWNERS: t.Final = ("ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController")
VERDICT: t.Final = "missed-injection"
#: The API server answers with 500 then; it is no reason to leave the other pods.
_TOO_MANY: t.Final = "more than one PodDisruptionBudget"


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much one run may do.

    :ivar grace: seconds since a pod was made before it counts; its controller may still be busy.
    :ivar cap: pods in a run. :ivar per_owner: pods of one controller in a run.
    """

    grace: int = 300
    cap: int = 10
    per_owner: int = 1
    namespaces: tuple[str, ...] = ()

    def checked(self) -> Limits:
        """Return self, or raise :class:`InvalidInput`."""
        for name, value, least in (
            ("grace", self.grace, 0),
            ("max_pods", self.cap, 1),
            ("per_owner", self.per_owner, 1),
        ):
            check(
                value >= least,
                f"{value} is below {least}.",
                item=name,
                rule="reconcile-limit",
                fix=f"give {least} or more.",
            )
        return self


@dataclasses.dataclass(frozen=True)
class Pod:
    """One pod that missed something.

    :ivar owner: its controller as ``Kind name``; empty if there is none that makes it again.
    :ivar skipped: why it is left alone; empty if it is evicted.
    """

    namespace: str
    name: str
    uid: str
    owner: str
    missing: tuple[str, ...]
    skipped: str = ""

    def as_dict(self) -> dict[str, t.Any]:
        """Return plain data."""
        return {
            "namespace": self.namespace,
            "name": self.name,
            "owner": self.owner,
            "missing": list(self.missing),
            "skipped": self.skipped,
        }


def _moment(text: t.Any) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None


def choose(table: Table, objects: Sequence[Object], limits: Limits, now: datetime.datetime) -> list[Pod]:
    """Return every pod that missed something, and which of them are to be evicted: the oldest first.

    :param objects: namespaces and pods.
    """
    missed: dict[tuple[str, str], list[str]] = {}
    for row in impact(None, table, objects):
        for one in row["verdicts"]:
            if one["verdict"] == VERDICT:
                missed.setdefault((row["namespace"], one["what"].removeprefix("Pod ")), []).append(one["message"])
    pods = {
        (str(one["metadata"].get("namespace")), str(one["metadata"].get("name"))): one
        for one in objects
        if one.get("kind") == "Pod"
    }
    order = sorted(missed, key=lambda key: (str(pods[key]["metadata"].get("creationTimestamp") or ""), key))
    taken: dict[tuple[str, str], int] = {}
    chosen = 0
    found = []
    for key in order:
        live = pods[key]
        meta = live["metadata"]
        owner = replaceable_owner(live, OWNERS)
        why = _skipped(live, owner, limits, now)
        if not why and taken.get((key[0], owner), 0) >= limits.per_owner:
            why = f"{limits.per_owner} of {owner} in this run already"
        if not why and chosen >= limits.cap:
            why = f"{limits.cap} pods in this run already"
        if not why:
            taken[key[0], owner] = taken.get((key[0], owner), 0) + 1
            chosen += 1
        found.append(Pod(key[0], key[1], str(meta.get("uid") or ""), owner, tuple(missed[key]), why))
    return found


def _skipped(live: Object, owner: str, limits: Limits, now: datetime.datetime) -> str:
    meta = live["metadata"]
    if limits.namespaces and meta.get("namespace") not in limits.namespaces:
        return "its namespace was not asked for"
    if meta.get("deletionTimestamp"):
        return "it is being deleted"
    if not owner:
        job = replaceable_owner(live, ("Job",))
        return f"{job} would take it for a failure" if job else "nothing would make it again"
    made = _moment(meta.get("creationTimestamp"))
    if made is None or (now - made).total_seconds() < limits.grace:
        return f"younger than {limits.grace} s"
    return ""


def check_ready(api: Api, table: Table) -> None:
    """Refuse to evict while pods that are made again would miss the same once more.

    :raises Refused: when no policy for pods is in force, or the glass is broken.
    """
    policy = pod_policy(table)
    if policy is None:
        return
    glass = break_glass.mark(table.label_domain)
    binding = api.get(f"/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings/{policy.name}")
    if binding is not None and glass not in (binding["metadata"].get("annotations") or {}):
        return
    why = f"the glass is broken: MutatingAdmissionPolicyBinding {policy.name}" if binding else ""
    kyverno = api.get(f"/apis/policies.kyverno.io/v1/mutatingpolicies/{policy.name}")
    if kyverno is not None:
        why = _without_kyverno(api, kyverno, policy.name, glass)
        if not why:
            return
    raise Refused(
        f"pods that are made again would miss the same: {why or 'no policy for pods is there'}.",
        item=policy.name,
        rule="pods-not-ready",
        fix="wait for Kyverno, mend the glass, or apply the namespace tiers; then run again.",
    )


def _without_kyverno(api: Api, policy: Object, name: str, glass: str) -> str:
    """Return why Kyverno would put nothing into pods; empty if it would, as far as can be told."""
    found = status(dict(policy), "policies.kyverno.io", "MutatingPolicy")
    if found.state != "ready":
        return f"MutatingPolicy {name}, {found.why}"
    for one in listed(api, "/apis/policies.kyverno.io/v1/policyexceptions", selector=f"{glass}=open"):
        if any(ref.get("kind") == "MutatingPolicy" for ref in (one.get("spec") or {}).get("policyRefs") or ()):
            return f"the glass is broken: PolicyException {one['metadata'].get('name')}"
    # The policy says that it is ready while Kyverno is down, too.
    deployments = listed(api, "/apis/apps/v1/deployments", selector=ADMISSION_CONTROLLER)
    if deployments and not any((one.get("status") or {}).get("availableReplicas") for one in deployments):
        return "no admission controller of Kyverno is available"
    return ""


def make_plan(pods: Iterable[Pod]) -> Plan:
    """Return the evictions."""
    plan = Plan()
    for one in pods:
        if one.skipped:
            plan.unchanged += 1
            continue
        before = {"owner": one.owner, "missing": list(one.missing)}
        plan.add(
            Change(
                "Pod",
                f"{one.namespace}/{one.name}",
                "delete",
                before,
                None,
                f"evicted, so that {one.owner} makes it again: {'; '.join(one.missing)}",
                frozenset(before),
                payload=one,
            )
        )
    return plan


def evict(api: Api, pods: Iterable[Pod]) -> tuple[list[Pod], list[Pod]]:
    """Evict pods; return those that went, and those that a PodDisruptionBudget (or their being gone) kept."""
    gone, kept = [], []
    for one in pods:
        path = f"/api/v1/namespaces/{one.namespace}/pods/{one.name}/eviction"
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": one.name, "namespace": one.namespace},
            "deleteOptions": {"preconditions": {"uid": one.uid}},
        }
        try:
            api.create(path, body)
            gone.append(one)
        except ServerError as error:
            if _TOO_MANY in error.said:
                kept.append(dataclasses.replace(one, skipped="it has more than one PodDisruptionBudget"))
            elif error.status == 429:
                kept.append(dataclasses.replace(one, skipped="a PodDisruptionBudget does not let it go now"))
            elif error.status in (404, 409):
                kept.append(dataclasses.replace(one, skipped="it has changed or gone meanwhile"))
            else:
                raise
    return gone, kept
