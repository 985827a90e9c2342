# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Which pods a ResourceQuota counts, and what it says about them."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping, Sequence
from fractions import Fraction

from . import demand

Spec = Mapping[str, t.Any]
_NONE: t.Final = Fraction(0)
_EVERY: t.Final = frozenset({"pods", "count/pods", *demand.REQUIRED})


@dataclasses.dataclass(frozen=True)
class Made:
    """A pod as it is when it reaches the quotas: class put in, defaults filled in.

    :ivar amounts: what it counts, by key of a quota.
    """

    spec: Spec
    priority_class: str
    containers: Sequence[demand.Container]
    amounts: Mapping[str, Fraction]

    @property
    def best_effort(self) -> bool:
        """Return whether nothing in it asks for CPU or memory."""
        whole = self.spec.get("resources") or {}
        given: list[Mapping[str, Fraction]] = [demand.amounts(whole.get(which)) for which in ("requests", "limits")]
        given += [one for box in self.containers for one in (box.requests, box.limits)]
        return not any(values.get(name) for values in given for name in ("cpu", "memory"))


def make(spec: Spec, priority_class: str, defaults: demand.Defaults, strip_cpu: bool) -> Made:
    """Return the pod that is made of a template."""
    boxes = demand.containers(spec, defaults, strip_cpu)
    return Made(spec, priority_class, boxes, demand.counted(boxes, spec))


@dataclasses.dataclass(frozen=True)
class Scope:
    """One condition on the pods that a quota counts."""

    name: str
    operator: str = "Exists"
    values: tuple[str, ...] = ()

    def matches(self, pod: Made) -> bool:
        """Say whether a pod fulfils it."""
        if self.name in ("Terminating", "NotTerminating"):
            return (pod.spec.get("activeDeadlineSeconds") is not None) == (self.name == "Terminating")
        if self.name in ("BestEffort", "NotBestEffort"):
            return pod.best_effort == (self.name == "BestEffort")
        if self.name == "CrossNamespacePodAffinity":
            return _crosses(pod.spec)
        if self.name == "PriorityClass":
            return {
                "Exists": bool(pod.priority_class),
                "DoesNotExist": not pod.priority_class,
                "In": pod.priority_class in self.values and bool(pod.priority_class),
                "NotIn": not pod.priority_class or pod.priority_class not in self.values,
            }.get(self.operator, False)
        return False

    def __str__(self) -> str:
        return self.name if self.operator == "Exists" else f"{self.name} {self.operator} {', '.join(self.values)}"


def _crosses(spec: Spec) -> bool:
    affinity = spec.get("affinity") or {}
    for name in ("podAffinity", "podAntiAffinity"):
        one = affinity.get(name) or {}
        terms = list(one.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        terms += [
            weighted.get("podAffinityTerm") or {}
            for weighted in one.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        ]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


@dataclasses.dataclass(frozen=True)
class Quota:
    """A ResourceQuota as numbers.

    :ivar shown: the amounts as they are written.
    """

    name: str
    hard: Mapping[str, Fraction]
    shown: Mapping[str, str]
    scopes: tuple[Scope, ...] = ()

    @classmethod
    def of(cls, name: str, spec: Mapping[str, t.Any]) -> Quota:
        """Return the quota that a ``spec`` describes."""
        hard = spec.get("hard") or {}
        scopes = [Scope(str(one)) for one in spec.get("scopes") or ()]
        scopes += [
            Scope(
                str(one.get("scopeName", "")),
                str(one.get("operator", "Exists")),
                tuple(map(str, one.get("values") or ())),
            )
            for one in (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
        ]
        return cls(name, demand.amounts(hard), {str(k): str(v) for k, v in hard.items()}, tuple(scopes))

    def counts(self, pod: Made) -> bool:
        """Say whether the quota counts a pod."""
        return all(scope.matches(pod) for scope in self.scopes)

    def missing(self, pod: Made) -> list[tuple[str, str]]:
        """Return container and key of what the pod would have to say, and does not."""
        if not self.counts(pod) or demand.pod_level(pod.spec):
            return []
        return [
            (box.name, key)
            for box in pod.containers
            for key in sorted(self.hard)
            if (place := demand.REQUIRED.get(key))
            and place[1] not in (box.requests if place[0] == "requests" else box.limits)
        ]

    def judged(self, key: str) -> bool:
        """Say whether the amounts of pods tell how much of a key is used."""
        kind, _dot, name = key.partition(".")
        return (
            key in _EVERY
            or key.startswith(("hugepages-", "requests.hugepages-"))
            or key in ("ephemeral-storage", "requests.ephemeral-storage", "limits.ephemeral-storage")
            or (
                kind == "requests"
                and "/" in name
                and not name.endswith(".storageclass.storage.k8s.io/requests.storage")
            )
        )

    def by_every_pod(self, key: str) -> bool:
        """Say whether every pod that the quota counts has to count towards this key."""
        return key in _EVERY

    @property
    def whose(self) -> str:
        """Return the name, and which pods it is about."""
        about = f" (only pods with {' and '.join(map(str, self.scopes))})" if self.scopes else ""
        return f"quota {self.name}{about}"

    def over(self, used: Mapping[str, Fraction]) -> list[str]:
        """Return the keys of which more is used than allowed."""
        return [key for key in sorted(self.hard) if used.get(key, _NONE) > self.hard[key]]

    def short(self, after: Mapping[str, Fraction], by: Mapping[str, Fraction]) -> list[str]:
        """Return the keys that are exceeded *after* pods of *by* were added; what they don't use is not looked at."""
        return [key for key in sorted(self.hard) if by.get(key) and after.get(key, _NONE) > self.hard[key]]
