# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""How many pods a workload has, makes in a rollout, and can grow to: surge, autoscalers, nodes, jobs side by side."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from . import demand

Object = Mapping[str, t.Any]

WORKLOADS: t.Final = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")


def meta(one: Object) -> Mapping[str, t.Any]:
    """Return the metadata of an object."""
    return one.get("metadata") or {}


def name(one: Object) -> str:
    """Return the name of an object."""
    return str(meta(one).get("name", ""))


def template(one: Object) -> Mapping[str, t.Any]:
    """Return the ``spec`` of the pods of a workload."""
    spec = one.get("spec") or {}
    if one.get("kind") == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    return (spec.get("template") or {}).get("spec") or {}


def ended(job: Object) -> bool:
    """Say whether a Job is over."""
    return any(
        one.get("type") in ("Complete", "Failed") and one.get("status") == "True"
        for one in (job.get("status") or {}).get("conditions") or ()
    )


@dataclasses.dataclass(frozen=True)
class Growth:
    """What a workload can come to.

    :ivar wanted: pods that it is to have now. :ivar surge: pods that a rollout makes on top.
    :ivar rolls: whether a rollout replaces its pods. :ivar most: pods that it can come to.
    :ivar why: what it is that lets it come to that.
    """

    wanted: int
    surge: int = 0
    rolls: bool = False
    most: int = 0
    why: str = ""


def growth(one: Object, nodes: Sequence[Object], more_nodes: int, scaler: Object | None) -> Growth:
    """Return what a workload can come to.

    :param nodes: the cluster's nodes; without, DaemonSets are believed about how many they want.
    :param more_nodes: nodes that may come. :param scaler: the autoscaler of this workload.
    """
    spec, status = one.get("spec") or {}, one.get("status") or {}
    kind = one.get("kind")
    if kind in ("Deployment", "StatefulSet"):
        replicas = _int(spec.get("replicas"), 1)
        extra = _deployment_surge(spec, replicas) if kind == "Deployment" else 0
        most, why = replicas, ""
        if scaler is not None and replicas:
            most = max(replicas, _int((scaler.get("spec") or {}).get("maxReplicas"), 0))
            why = f"the autoscaler {name(scaler)} goes up to {most}"
        return Growth(replicas, extra, rolls=replicas > 0, most=most, why=why)
    if kind == "DaemonSet":
        eligible = _eligible(template(one), nodes) if nodes else _int(status.get("desiredNumberScheduled"), 0)
        rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
        extra = demand.surge(eligible, rolling.get("maxSurge", 0))
        why = f"with {more_nodes} more node{'s' if more_nodes != 1 else ''}" if more_nodes else ""
        return Growth(eligible, extra, rolls=eligible > 0, most=eligible + (more_nodes if eligible else 0), why=why)
    if kind == "Job":
        at_once = 0 if ended(one) or spec.get("suspend") else _parallel(spec, _int(status.get("succeeded"), 0))
        return Growth(0, most=at_once, why="at its peak")
    if spec.get("suspend"):
        return Growth(0)
    each = _parallel((spec.get("jobTemplate") or {}).get("spec") or {}, 0)
    if spec.get("concurrencyPolicy", "Allow") == "Allow":
        # Allowed to overlap, one more may start while another runs.
        return Growth(0, most=2 * each, why="with one run that overlaps")
    return Growth(0, most=each, why="when it runs")


def _int(value: t.Any, default: int) -> int:
    return default if value is None else int(value)


def _deployment_surge(spec: Mapping[str, t.Any], replicas: int) -> int:
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0
    return demand.surge(replicas, (strategy.get("rollingUpdate") or {}).get("maxSurge"))


def surge_at(one: Object, replicas: int) -> int:
    """Return how many pods a rollout of a Deployment makes on top when it has that many."""
    return _deployment_surge(one.get("spec") or {}, replicas) if one.get("kind") == "Deployment" else 0


def _parallel(job: Mapping[str, t.Any], succeeded: int) -> int:
    parallelism = _int(job.get("parallelism"), 1)
    completions = job.get("completions")
    return parallelism if completions is None else max(0, min(parallelism, int(completions) - succeeded))


# -- which pods belong to a workload -------------------------------------------------------------------------------


def selects(selector: t.Any, labels: Mapping[str, t.Any]) -> bool:
    """Say whether a label selector fits; an empty one fits nothing here."""
    if not selector:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(one, labels) for one in selector.get("matchExpressions") or ())


def _expression(one: Mapping[str, t.Any], labels: Mapping[str, t.Any]) -> bool:
    key, values = str(one.get("key", "")), [str(value) for value in one.get("values") or ()]
    operator, has = one.get("operator"), labels.get(str(one.get("key", "")))
    if operator == "In":
        return has in values
    if operator == "NotIn":
        return has not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    if operator in ("Gt", "Lt") and values:
        try:
            return int(str(has)) > int(values[0]) if operator == "Gt" else int(str(has)) < int(values[0])
        except ValueError:
            return False
    return False


# -- nodes ---------------------------------------------------------------------------------------------------------


def _eligible(spec: Mapping[str, t.Any], nodes: Iterable[Object]) -> int:
    """Return on how many nodes the pods of a DaemonSet may run, by selector, required affinity and tolerations."""
    selector = (spec.get("nodeSelector") or {}).items()
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    terms = (required or {}).get("nodeSelectorTerms")
    tolerations = spec.get("tolerations") or []

    def tolerated(taint: Mapping[str, t.Any]) -> bool:
        return any(
            (not one.get("key") or one.get("key") == taint.get("key"))
            and (not one.get("effect") or one.get("effect") == taint.get("effect"))
            and (one.get("operator") == "Exists" or one.get("value", "") == taint.get("value", ""))
            for one in tolerations
        )

    def wanted(node: Object) -> bool:
        labels = meta(node).get("labels") or {}
        if any(labels.get(key) != value for key, value in selector):
            return False
        return terms is None or any(_term(term, node, labels) for term in terms)

    return sum(
        wanted(node)
        and all(
            tolerated(taint)
            for taint in (node.get("spec") or {}).get("taints") or ()
            if taint.get("effect") in ("NoSchedule", "NoExecute")
            # DaemonSets tolerate by themselves what the node controller says about a node.
            and not str(taint.get("key", "")).startswith("node.kubernetes.io/")
        )
        for node in nodes
    )


def _term(term: Mapping[str, t.Any], node: Object, labels: Mapping[str, t.Any]) -> bool:
    by_label, by_field = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not by_label and not by_field:
        return False
    fields = {"metadata.name": name(node)}
    return all(_expression(one, labels) for one in by_label) and all(_expression(one, fields) for one in by_field)
