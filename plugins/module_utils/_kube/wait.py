# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""When is an object ready? The rules of kstatus, plus: a Job is ready when it has completed."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Callable, Mapping

from .normalise import Object

State = t.Literal["ready", "waiting", "failed"]


@dataclasses.dataclass(frozen=True)
class Status:
    """How far an object is, and one clause about why it is not ready."""

    state: State
    why: str = ""


READY: t.Final = Status("ready")


def _waiting(why: str) -> Status:
    return Status("waiting", why)


def _conditions(live: Mapping[str, t.Any]) -> dict[str, Mapping[str, t.Any]]:
    found = (live.get("status") or {}).get("conditions")
    if not isinstance(found, list):
        return {}
    return {str(c.get("type")): c for c in found if isinstance(c, dict)}


def _text(condition: Mapping[str, t.Any]) -> str:
    reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
    return f"{reason}: {message}" if reason and message else reason or message or str(condition.get("type"))


def _is(condition: Mapping[str, t.Any] | None, value: str) -> bool:
    return condition is not None and condition.get("status") == value


def status(live: Object | None, group: str, kind: str) -> Status:
    """Return how far a live object is; ``None`` is one that does not exist (yet)."""
    if live is None:
        return _waiting("does not exist")
    metadata = live.get("metadata") or {}
    if metadata.get("deletionTimestamp"):
        finalizers = ", ".join(metadata.get("finalizers") or [])
        return _waiting("is being deleted" + (f", finalizers {finalizers}" if finalizers else ""))
    conditions = _conditions(live)
    if _is(conditions.get("Stalled"), "True"):
        return Status("failed", _text(conditions["Stalled"]))
    special = _KINDS.get((group, kind))
    state = live.get("status") or {}
    observed = state.get("observedGeneration")
    if isinstance(observed, int) and observed != metadata.get("generation"):
        return _waiting(f"generation {metadata.get('generation')} is not observed yet")
    if special is not None:
        return special(live.get("spec") or {}, state, conditions)
    return _generic(metadata, conditions)


def _generic(metadata: Mapping[str, t.Any], conditions: Mapping[str, Mapping[str, t.Any]]) -> Status:
    if _is(conditions.get("Reconciling"), "True"):
        return _waiting(_text(conditions["Reconciling"]))
    for name in ("Ready", "Available"):
        one = conditions.get(name)
        if one is None:
            continue
        seen = one.get("observedGeneration")
        if isinstance(seen, int) and isinstance(metadata.get("generation"), int) and seen < metadata["generation"]:
            return _waiting(f"condition {name} is about generation {seen}")
        return READY if one.get("status") == "True" else _waiting(f"{name} is {one.get('status')}: {_text(one)}")
    return READY


_Conditions = Mapping[str, Mapping[str, t.Any]]
_Part = Mapping[str, t.Any]


def _number(part: _Part, key: str, default: int = 0) -> int:
    value = part.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _observed(state: _Part) -> bool:
    return isinstance(state.get("observedGeneration"), int)


def _deployment(spec: _Part, state: _Part, conditions: _Conditions) -> Status:
    progressing = conditions.get("Progressing")
    if progressing is not None and progressing.get("reason") == "ProgressDeadlineExceeded":
        return Status("failed", _text(progressing))
    if not _observed(state):
        return _waiting("not observed yet")
    wanted = _number(spec, "replicas", 1)
    for key, word in (("updatedReplicas", "updated"), ("availableReplicas", "available")):
        if _number(state, key) < wanted:
            return _waiting(f"{_number(state, key)} of {wanted} pods {word}")
    if _number(state, "replicas") > wanted:
        return _waiting(f"{_number(state, 'replicas') - wanted} old pods are still there")
    return READY


def _replica_set(spec: _Part, state: _Part, conditions: _Conditions) -> Status:
    failure = conditions.get("ReplicaFailure")
    if _is(failure, "True"):
        return _waiting(_text(conditions["ReplicaFailure"]))
    if not _observed(state):
        return _waiting("not observed yet")
    wanted = _number(spec, "replicas", 1)
    if _number(state, "availableReplicas") < wanted:
        return _waiting(f"{_number(state, 'availableReplicas')} of {wanted} pods available")
    return READY


def _stateful_set(spec: _Part, state: _Part, _conditions: _Conditions) -> Status:
    if not _observed(state):
        return _waiting("not observed yet")
    wanted = _number(spec, "replicas", 1)
    ready = _number(state, "readyReplicas")
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return READY if ready >= wanted else _waiting(f"{ready} of {wanted} pods ready")
    if ready < wanted:
        return _waiting(f"{ready} of {wanted} pods ready")
    partition = _number(strategy.get("rollingUpdate") or {}, "partition")
    if partition:
        updated = _number(state, "updatedReplicas")
        due = max(0, wanted - partition)
        return READY if updated >= due else _waiting(f"{updated} of {due} pods updated")
    if wanted and state.get("currentRevision") != state.get("updateRevision"):
        return _waiting(f"{_number(state, 'updatedReplicas')} of {wanted} pods updated")
    return READY


def _daemon_set(_spec: _Part, state: _Part, _conditions: _Conditions) -> Status:
    if not _observed(state):
        return _waiting("not observed yet")
    wanted = _number(state, "desiredNumberScheduled")
    if (
        _number(state, "updatedNumberScheduled") < wanted
        and (_spec.get("updateStrategy") or {}).get("type") != "OnDelete"
    ):
        return _waiting(f"{_number(state, 'updatedNumberScheduled')} of {wanted} pods updated")
    if _number(state, "numberAvailable") < wanted:
        return _waiting(f"{_number(state, 'numberAvailable')} of {wanted} pods available")
    return READY


def _job(spec: _Part, _state: _Part, conditions: _Conditions) -> Status:
    if _is(conditions.get("Failed"), "True"):
        return Status("failed", _text(conditions["Failed"]))
    if _is(conditions.get("Complete"), "True"):
        return READY
    return _waiting("suspended" if spec.get("suspend") else "not completed yet")


def _pod(spec: _Part, state: _Part, conditions: _Conditions) -> Status:
    phase = state.get("phase")
    if phase == "Succeeded" or _is(conditions.get("Ready"), "True"):
        return READY
    if phase == "Failed" and spec.get("restartPolicy") == "Never":
        return Status("failed", str(state.get("message") or state.get("reason") or "the pod failed"))
    return _waiting(f"phase {phase or 'unknown'}")


def _phase(wanted: str) -> Callable[[_Part, _Part, _Conditions], Status]:
    def rule(_spec: _Part, state: _Part, _conditions: _Conditions) -> Status:
        phase = state.get("phase")
        return READY if phase == wanted else _waiting(f"phase {phase or 'unknown'}")

    return rule


def _service(spec: _Part, state: _Part, _conditions: _Conditions) -> Status:
    if spec.get("type") == "LoadBalancer" and not (state.get("loadBalancer") or {}).get("ingress"):
        return _waiting("no address from a load balancer yet")
    return READY


def _crd(_spec: _Part, _state: _Part, conditions: _Conditions) -> Status:
    names = conditions.get("NamesAccepted")
    if _is(names, "False"):
        return Status("failed", _text(conditions["NamesAccepted"]))
    return READY if _is(conditions.get("Established"), "True") else _waiting("not established yet")


def _api_service(_spec: _Part, _state: _Part, conditions: _Conditions) -> Status:
    one = conditions.get("Available")
    return READY if _is(one, "True") else _waiting(_text(one) if one else "not available yet")


def _admission_policy(_spec: _Part, state: _Part, _conditions: _Conditions) -> Status:
    return READY if _observed(state) else _waiting("its expressions are not checked yet")


def _kyverno_policy(_spec: _Part, state: _Part, _conditions: _Conditions) -> Status:
    found = state.get("conditionStatus") or {}
    if found.get("ready") is True:
        return READY
    late = [
        str(one.get("message") or one.get("type"))
        for one in found.get("conditions") or ()
        if one.get("status") != "True"
    ]
    return _waiting("; ".join(late) or str(found.get("message") or "") or "Kyverno has not taken it up yet")


def _always(_spec: _Part, _state: _Part, _conditions: _Conditions) -> Status:
    return READY


_KINDS: t.Final[dict[tuple[str, str], Callable[[_Part, _Part, _Conditions], Status]]] = {
    ("", "Namespace"): _phase("Active"),
    ("", "PersistentVolumeClaim"): _phase("Bound"),
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _crd,
    ("apiregistration.k8s.io", "APIService"): _api_service,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("autoscaling", "HorizontalPodAutoscaler"): _always,
    ("batch", "Job"): _job,
    ("policy", "PodDisruptionBudget"): _always,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): _admission_policy,
    ("policies.kyverno.io", "GeneratingPolicy"): _kyverno_policy,
    ("policies.kyverno.io", "MutatingPolicy"): _kyverno_policy,
    ("policies.kyverno.io", "ValidatingPolicy"): _kyverno_policy,
}
