# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What breaks if a table is applied: the old table and the new one against live objects, from a cluster or a dump.

Nothing here reads a cluster or writes one. Workloads that are owned by others (a ReplicaSet of a Deployment, a Job of a
CronJob) are seen through their owners.
"""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from .._core.errors import InvalidInput
from .._kube.normalise import quantity
from . import demand
from .limits import wanted
from .model import Table, Tier
from .parts import PART_OF
from .resolve import Resolution, of_object

Object = Mapping[str, t.Any]

#: Every verdict, the worst first, and what it means.
VERDICTS: t.Final[Mapping[str, str]] = {
    "rejected": "a container breaks the new LimitRange: the next rollout has no pods",
    "no-default": "a container lacks what the new quota counts, and nothing gives it: the next pod is rejected",
    "frozen": "more is used than the new quota allows: the next pod is rejected, running ones stay",
    "no-surge": "a rollout, a DaemonSet or jobs at their peak do not fit into the new quota",
    "double-owner": "somebody else writes the same LimitRange or ResourceQuota",
    "orphan": "a LimitRange or ResourceQuota is left over, and applies as well",
    "tier-lost": "the namespace had a namespace tier and has none in the new table",
    "tier-conflict": "the sources of the namespace tier disagree",
    "missed-injection": "a pod lacks class or ndots of its namespace tier",
    "will-change-priority": "pods get another class when they are made again",
    "on-defaults": "containers give no memory limit and live on the LimitRange's",
    "opt-out": "an opt-out is in force",
    "hold": "an operator holds the namespace",
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One verdict about a namespace."""

    verdict: str
    what: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """Return plain data."""
        return {"verdict": self.verdict, "what": self.what, "message": self.message}


@dataclasses.dataclass
class _Namespace:
    resolution: Resolution
    before: Resolution | None
    pods: list[Object] = dataclasses.field(default_factory=list)
    workloads: list[Object] = dataclasses.field(default_factory=list)
    limits: list[Object] = dataclasses.field(default_factory=list)


_WORKLOADS: t.Final = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")


def impact(old: Table | None, new: Table, objects: Iterable[Object]) -> list[dict[str, t.Any]]:
    """Return one entry for each namespace, sorted by name: namespace tiers, verdicts, and whether it is ok."""
    spaces: dict[str, _Namespace] = {}
    inside: list[Object] = []
    nodes: list[Object] = []
    for one in objects:
        kind = one.get("kind")
        if kind == "Namespace":
            spaces[_name(one)] = _Namespace(of_object(new, one), of_object(old, one) if old else None)
        elif kind == "Node":
            nodes.append(one)
        elif kind in ("Pod", "LimitRange", "ResourceQuota", *_WORKLOADS):
            inside.append(one)
    for one in inside:
        space = spaces.get(str(_meta(one).get("namespace", "")))
        if space is None:
            continue
        if one["kind"] == "Pod":
            space.pods.append(one)
        elif one["kind"] in _WORKLOADS:
            if not any(owner.get("controller") for owner in _meta(one).get("ownerReferences") or ()):
                space.workloads.append(one)
        else:
            space.limits.append(one)
    return [_row(old, new, spaces[name], nodes) for name in sorted(spaces)]


def failing(rows: Iterable[Mapping[str, t.Any]], fail_on: Iterable[str]) -> list[str]:
    """Return ``namespace: verdict`` for each verdict that is to fail a run, without doubles.

    :raises InvalidInput: when *fail_on* names what is no verdict.
    """
    chosen = list(fail_on)
    unknown = sorted(set(chosen) - set(VERDICTS))
    if unknown:
        raise InvalidInput(
            f"{', '.join(unknown)} is no verdict.",
            item="fail_on",
            rule="choice",
            fix=f"some of {', '.join(VERDICTS)}.",
        )
    return list(
        dict.fromkeys(
            f"{row['namespace']}: {one['verdict']}"
            for row in rows
            for one in row["verdicts"]
            if one["verdict"] in chosen
        )
    )


def _meta(one: Object) -> Mapping[str, t.Any]:
    return one.get("metadata") or {}


def _name(one: Object) -> str:
    return str(_meta(one).get("name", ""))


def _row(old: Table | None, new: Table, space: _Namespace, nodes: list[Object]) -> dict[str, t.Any]:
    resolution = space.resolution
    found: list[Verdict] = [Verdict("tier-conflict", "", text) for text in resolution.conflicts]
    if space.before and space.before.tiered and not resolution.tiered:
        found.append(Verdict("tier-lost", "", f"it was in {space.before.tier}, and is {resolution.tier or 'excluded'}"))
    if resolution.tier:
        tier = new.tier(resolution.tier)
        found += _opted(new, resolution)
        found += _left_over(new, space)
        if tier.limits and not resolution.custom_limits:
            found += _containers(tier, space)
        if tier.quota and not resolution.custom_quota:
            found += _quota(tier, space, nodes)
        if not resolution.hold:
            found += _pods(new, tier, old, space)
    order = list(VERDICTS)
    found.sort(key=lambda one: (order.index(one.verdict), one.what, one.message))
    return {
        "namespace": resolution.namespace,
        "tier": resolution.tier,
        "source": resolution.source,
        "before": space.before.tier if space.before else "",
        "pods": len(space.pods),
        "ok": not found,
        "verdicts": [one.as_dict() for one in dict.fromkeys(found)],
    }


def _opted(new: Table, resolution: Resolution) -> Iterator[Verdict]:
    for set_, label in ((resolution.custom_limits, new.optout_limits), (resolution.custom_quota, new.optout_quota)):
        if set_:
            yield Verdict("opt-out", label, f"the label {label} is set")
    if resolution.hold:
        yield Verdict("hold", new.hold, f"until {resolution.hold}")


# -- what is there already -----------------------------------------------------------------------------------------


def _left_over(new: Table, space: _Namespace) -> Iterator[Verdict]:
    mine = {(kind, name) for kind, name, _spec in wanted(new, space.resolution)}
    for one in space.limits:
        meta, key = _meta(one), (str(one["kind"]), _name(one))
        labels = meta.get("labels") or {}
        what = f"{key[0]} {key[1]}"
        if key in mine:
            owners = sorted(_owners(one))
            if len(owners) > 1:
                yield Verdict("double-owner", what, f"written by {' and '.join(owners)}")
        elif labels.get("app.kubernetes.io/part-of") == PART_OF or labels.get("generate.kyverno.io/policy-name"):
            yield Verdict("orphan", what, "it was made for a namespace tier, and is not wanted any more")
        elif any(kind == key[0] for kind, _name_ in mine):
            yield Verdict("orphan", what, "it applies beside that of the namespace tier; the strictest wins")


def _owners(one: Object) -> set[str]:
    meta = _meta(one)
    labels = meta.get("labels") or {}
    found = set()
    if labels.get("generate.kyverno.io/policy-name"):
        found.add("Kyverno")
    if labels.get("kustomize.toolkit.fluxcd.io/name"):
        found.add("Flux")
    for field in meta.get("managedFields") or ():
        manager = str(field.get("manager", "")).lower()
        # Who writes only the status owns nothing.
        if field.get("subresource"):
            continue
        for part, who in (
            ("kustomize-controller", "Flux"),
            ("helm", "Helm"),
            ("kyverno", "Kyverno"),
            ("background-controller", "Kyverno"),
            ("terraform", "Terraform"),
            ("hackspace.infra", "hackspace.infra"),
            ("kubectl", "kubectl"),
        ):
            if part in manager:
                found.add(who)
    return found


# -- containers against the LimitRange -----------------------------------------------------------------------------


def _template(one: Object) -> Mapping[str, t.Any]:
    spec = one.get("spec") or {}
    if one["kind"] == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    return (spec.get("template") or {}).get("spec") or {}


def _specs(space: _Namespace) -> Iterator[tuple[str, Mapping[str, t.Any]]]:
    for one in space.workloads:
        if not (one["kind"] == "Job" and _ended(one)):
            yield f"{one['kind']} {_name(one)}", _template(one)
    for one in space.pods:
        if demand.counts(one) and not (_meta(one).get("ownerReferences")):
            yield f"Pod {_name(one)}", one.get("spec") or {}


def _ended(job: Object) -> bool:
    return any(
        one.get("type") in ("Complete", "Failed") and one.get("status") == "True"
        for one in (job.get("status") or {}).get("conditions") or ()
    )


def _shown(value: Fraction) -> str:
    for suffix, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if value >= size and (value / size).denominator == 1:
            return f"{value / size}{suffix}"
    return str(value) if value.denominator == 1 else f"{float(value * 1000):g}m"


def _containers(tier: Tier, space: _Namespace) -> Iterator[Verdict]:
    limits = tier.limits
    assert limits is not None
    defaults = demand.Defaults.of(limits)
    for what, spec in _specs(space):
        for one in demand.containers(spec, defaults, tier.pods.strip_cpu_limits):
            where = f"{what}, container {one.name}"
            for name, text in limits.max.items():
                most = quantity(text) or Fraction(0)
                if one.limits.get(name, Fraction(0)) > most or one.requests.get(name, Fraction(0)) > most:
                    asked = max(one.limits.get(name, Fraction(0)), one.requests.get(name, Fraction(0)))
                    yield Verdict("rejected", where, f"{name} {_shown(asked)} is above max {text}")
            for name, text in limits.min.items():
                least = quantity(text) or Fraction(0)
                if name in one.requests and one.requests[name] < least:
                    yield Verdict("rejected", where, f"{name} {_shown(one.requests[name])} is below min {text}")
            for name, text in limits.ratio.items():
                ratio, request = quantity(text), one.requests.get(name)
                if ratio and request and name in one.limits and one.limits[name] / request > ratio:
                    yield Verdict("rejected", where, f"{name} limit is more than {text} times its request")
            for name, amount in one.limits.items():
                # A default limit below a request that the container gives is refused, too.
                if name in one.defaulted and one.requests.get(name, Fraction(0)) > amount:
                    yield Verdict(
                        "rejected", where, f"{name} request {_shown(one.requests[name])} is above the default limit"
                    )
            if "memory" in one.defaulted:
                yield Verdict("on-defaults", where, f"it gets the memory limit {_shown(one.limits['memory'])}")


# -- the namespace against the quota -------------------------------------------------------------------------------


def _quota(tier: Tier, space: _Namespace, nodes: list[Object]) -> Iterator[Verdict]:
    quota = tier.quota
    assert quota is not None
    if quota.scopes:
        return  # counts only some pods; what it counts depends on the scope
    hard = {key: number for key, text in quota.hard.items() if (number := quantity(text)) is not None}
    defaults = demand.Defaults.of(tier.limits if not space.resolution.custom_limits else None)
    used: demand.Amounts = {}
    for one in space.pods:
        if demand.counts(one):
            used = demand.add(used, demand.pod(one.get("spec") or {}))
    over = {key: used[key] for key in sorted(hard) if used.get(key, Fraction(0)) > hard[key]}
    for key, amount in over.items():
        yield Verdict("frozen", key, f"{_shown(amount)} is used, {quota.hard[key]} will be allowed")
    for what, spec in _specs(space):
        for box in demand.containers(spec, defaults, tier.pods.strip_cpu_limits):
            for key in sorted(hard):
                kind, _, name = key.partition(".")
                if key in ("cpu", "memory"):
                    kind, name = "requests", key
                if kind not in ("requests", "limits") or name not in ("cpu", "memory", "ephemeral-storage"):
                    continue
                if name not in (box.limits if kind == "limits" else box.requests):
                    yield Verdict("no-default", f"{what}, container {box.name}", f"it has no {kind}.{name}")
    for workload in space.workloads:
        more = _growth(workload, nodes)
        if more <= 0:
            continue
        each = demand.pod(_template(workload), defaults, tier.pods.strip_cpu_limits)
        after = demand.add(used, each, more)
        short = [key for key in sorted(hard) if key in each and key not in over and after[key] > hard[key]]
        if short:
            yield Verdict(
                "no-surge",
                f"{workload['kind']} {_name(workload)}",
                f"{more} more pods do not fit: "
                + ", ".join(f"{key} {_shown(after[key])} of {quota.hard[key]}" for key in short),
            )


def _growth(one: Object, nodes: list[Object]) -> int:
    """Return how many pods more than now a workload can have: by surge, by nodes, by jobs at the same time."""
    spec, status = one.get("spec") or {}, one.get("status") or {}
    if one["kind"] == "Deployment":
        strategy = spec.get("strategy") or {}
        replicas = int(spec.get("replicas", 1))
        if strategy.get("type") == "Recreate":
            extra = 0
        else:
            extra = demand.surge(replicas, (strategy.get("rollingUpdate") or {}).get("maxSurge"))
        return replicas + extra - int(status.get("replicas", 0)) if replicas else 0
    if one["kind"] == "StatefulSet":
        return int(spec.get("replicas", 1)) - int(status.get("replicas", 0))
    if one["kind"] == "DaemonSet":
        eligible = _eligible(_template(one), nodes) if nodes else int(status.get("desiredNumberScheduled", 0))
        extra = demand.surge(
            eligible, ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("maxSurge", 0)
        )
        return eligible + extra - int(status.get("currentNumberScheduled", 0))
    if one["kind"] == "Job":
        return (
            0 if _ended(one) or spec.get("suspend") else int(spec.get("parallelism", 1)) - int(status.get("active", 0))
        )
    if spec.get("suspend"):
        return 0
    each = int(((spec.get("jobTemplate") or {}).get("spec") or {}).get("parallelism", 1))
    # Allowed to overlap, one more may start while another runs.
    return each * (2 if spec.get("concurrencyPolicy", "Allow") == "Allow" else 1) - each * len(
        status.get("active") or ()
    )


def _eligible(spec: Mapping[str, t.Any], nodes: list[Object]) -> int:
    """Return how many nodes a DaemonSet's selector and tolerations let it run on."""
    selector = (spec.get("nodeSelector") or {}).items()
    tolerations = spec.get("tolerations") or []

    def tolerated(taint: Mapping[str, t.Any]) -> bool:
        return any(
            (not one.get("key") or one.get("key") == taint.get("key"))
            and (not one.get("effect") or one.get("effect") == taint.get("effect"))
            and (one.get("operator") == "Exists" or one.get("value", "") == taint.get("value", ""))
            for one in tolerations
        )

    return sum(
        all((_meta(node).get("labels") or {}).get(key) == value for key, value in selector)
        and all(
            tolerated(taint)
            for taint in (node.get("spec") or {}).get("taints") or ()
            if taint.get("effect") in ("NoSchedule", "NoExecute")
            # DaemonSets tolerate by themselves what the node controller says about a node.
            and not str(taint.get("key", "")).startswith("node.kubernetes.io/")
        )
        for node in nodes
    )


# -- pods ----------------------------------------------------------------------------------------------------------


def _class(table: Table, tier: Tier, spec: Mapping[str, t.Any]) -> str:
    if table.gpu and tier.gpu:
        for one in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            resources = one.get("resources") or {}
            asked = {*(resources.get("limits") or {}), *(resources.get("requests") or {})}
            if asked & set(table.gpu.resources):
                return table.gpu.priority.name
    return tier.priority.name if tier.priority else ""


def _pods(new: Table, tier: Tier, old: Table | None, space: _Namespace) -> Iterator[Verdict]:
    injected = {"", *(old.class_names if old else ())}
    for pod in space.pods:
        if not demand.counts(pod):
            continue
        spec = pod.get("spec") or {}
        has, gets = str(spec.get("priorityClassName", "")), _class(new, tier, spec)
        what = f"Pod {_name(pod)}"
        if gets and not has:
            yield Verdict("missed-injection", what, f"it has no class, and should have {gets}")
        elif gets and has != gets and has in injected:
            yield Verdict("will-change-priority", what, f"from {has} to {gets}, when it is made again")
        options = (spec.get("dnsConfig") or {}).get("options") or ()
        if tier.pods.ndots is not None and not any(one.get("name") == "ndots" for one in options):
            yield Verdict("missed-injection", what, f"it has no ndots, and should have {tier.pods.ndots}")
