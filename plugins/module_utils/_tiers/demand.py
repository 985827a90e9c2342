# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What pods count against a quota: exact numbers, after the defaults of LimitRanges, as the API server reckons."""

from __future__ import annotations

import dataclasses
import functools
import math
import typing as t
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from .._kube.normalise import quantity
from .model import Limits

Spec = Mapping[str, t.Any]
Amounts = dict[str, Fraction]

#: Only these may be given for a pod as a whole.
_POD_LEVEL: t.Final = ("cpu", "memory", "hugepages-")
_COMPUTE: t.Final = ("cpu", "memory", "ephemeral-storage")
_NONE: t.Final = Fraction(0)
#: Keys of a quota without which a container is refused; what else a quota counts may be left out.
REQUIRED: t.Final[Mapping[str, tuple[str, str]]] = {
    "cpu": ("requests", "cpu"),
    "memory": ("requests", "memory"),
    "requests.cpu": ("requests", "cpu"),
    "requests.memory": ("requests", "memory"),
    "limits.cpu": ("limits", "cpu"),
    "limits.memory": ("limits", "memory"),
}


@functools.lru_cache(maxsize=8192)
def _read(text: str) -> Fraction | None:
    return quantity(text)


def amount(value: object) -> Fraction | None:
    """Return the number that a quantity stands for."""
    return _read(value) if isinstance(value, str) else quantity(value)


def amounts(values: t.Any) -> Amounts:
    """Return the numbers of a mapping with quantities; what is none is left out."""
    return {str(k): number for k, v in (values or {}).items() if (number := amount(v)) is not None}


@dataclasses.dataclass(frozen=True)
class Container:
    """One container after defaulting.

    :ivar defaulted: resources whose limit the container does not give itself.
    """

    name: str
    requests: Mapping[str, Fraction]
    limits: Mapping[str, Fraction]
    restartable: bool = False
    init: bool = False
    defaulted: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Item:
    """One entry of a LimitRange, with what the API server fills in.

    :ivar owner: name of the LimitRange. :ivar type: ``Container``, ``Pod`` or another.
    """

    owner: str
    type: str
    default: Mapping[str, Fraction]
    default_request: Mapping[str, Fraction]
    max: Mapping[str, Fraction]
    min: Mapping[str, Fraction]
    ratio: Mapping[str, Fraction]

    @classmethod
    def of(cls, owner: str, spec: Mapping[str, t.Any]) -> list[Item]:
        """Return the entries of the ``spec`` of a LimitRange."""
        made = []
        for one in spec.get("limits") or ():
            kind = str(one.get("type", ""))
            most, least = amounts(one.get("max")), amounts(one.get("min"))
            default, request = amounts(one.get("default")), amounts(one.get("defaultRequest"))
            if kind == "Container":
                # max for default; default, or else min, for requests
                default = {**most, **default}
                request = {**least, **default, **request}
            made.append(cls(owner, kind, default, request, most, least, amounts(one.get("maxLimitRequestRatio"))))
        return made


@dataclasses.dataclass(frozen=True)
class Defaults:
    """What containers get that say nothing, from all LimitRanges of a namespace."""

    limits: Mapping[str, Fraction] = dataclasses.field(default_factory=dict)
    requests: Mapping[str, Fraction] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, limits: Limits | None) -> Defaults:
        """Return the defaults of a namespace tier; none without a LimitRange."""
        return cls() if limits is None else cls.merged(Item.of("", limits.spec()))

    @classmethod
    def merged(cls, items: Iterable[Item]) -> Defaults:
        """Return the defaults of several entries; the first that says something wins."""
        limits: Amounts = {}
        requests: Amounts = {}
        for one in items:
            if one.type == "Container":
                limits = {**one.default, **limits}
                requests = {**one.default_request, **requests}
        return cls(limits, requests)


def containers(spec: Spec, defaults: Defaults, strip_cpu: bool = False) -> list[Container]:
    """Return the containers of a pod, init containers first."""
    made = []
    for init, one in (
        *((True, c) for c in spec.get("initContainers") or ()),
        *((False, c) for c in spec.get("containers") or ()),
    ):
        resources = one.get("resources") or {}
        limits, requests = amounts(resources.get("limits")), amounts(resources.get("requests"))
        requests = {**limits, **requests}  # a limit without a request is the request, too
        if strip_cpu:
            limits.pop("cpu", None)
        made.append(
            Container(
                name=str(one.get("name", "")),
                requests={**defaults.requests, **requests},
                limits={**defaults.limits, **limits},
                restartable=init and one.get("restartPolicy") == "Always",
                init=init,
                defaulted=frozenset(set(defaults.limits) - set(limits)),
            )
        )
    return made


def _add(one: Mapping[str, Fraction], other: Mapping[str, Fraction]) -> Amounts:
    made = dict(one)
    for key, value in other.items():
        made[key] = made[key] + value if key in made else value
    return made


def _most(one: Mapping[str, Fraction], other: Mapping[str, Fraction]) -> Amounts:
    made = dict(one)
    for key, value in other.items():
        if key not in made or value > made[key]:
            made[key] = value
    return made


def _effective(these: Sequence[Container], pick: t.Callable[[Container], Mapping[str, Fraction]]) -> Amounts:
    sidecars: Amounts = {}
    step: Amounts = {}
    for one in (c for c in these if c.init):
        if one.restartable:
            sidecars = _add(sidecars, pick(one))
            step = _most(step, sidecars)
        else:
            step = _most(step, _add(sidecars, pick(one)))
    running = dict(sidecars)
    for one in (c for c in these if not c.init):
        running = _add(running, pick(one))
    return _most(running, step)


def _pod_level(spec: Spec, which: str) -> Amounts:
    given = amounts((spec.get("resources") or {}).get(which))
    return {key: value for key, value in given.items() if key.startswith(_POD_LEVEL)}


def pod_level(spec: Spec) -> bool:
    """Say whether a pod gives resources for itself as a whole: then its containers need none."""
    return bool(_pod_level(spec, "requests") or _pod_level(spec, "limits"))


def sums(these: Sequence[Container], spec: Spec) -> tuple[Amounts, Amounts]:
    """Return requests and limits of a pod without its overhead, by resource; what LimitRanges of type Pod look at."""
    limits = {**_effective(these, lambda c: c.limits), **_pod_level(spec, "limits")}
    # A limit of the pod is its request only if no container requests anything.
    inside = _effective(these, lambda c: c.requests)
    return {**_pod_level(spec, "limits"), **inside, **_pod_level(spec, "requests")}, limits


def counted(these: Sequence[Container], spec: Spec) -> Amounts:
    """Return what a pod with these containers counts, by key of a quota."""
    requests, limits = sums(these, spec)
    overhead = amounts(spec.get("overhead"))
    requests = _add(requests, overhead)
    # Overhead is added to limits that there are, and makes none.
    limits = {key: value + overhead.get(key, _NONE) if value else value for key, value in limits.items()}
    made = {"pods": Fraction(1), "count/pods": Fraction(1)}
    for key, value in requests.items():
        made[f"requests.{key}"] = value
        if key in _COMPUTE or key.startswith("hugepages-"):
            made[key] = value
    made.update({f"limits.{key}": value for key, value in limits.items()})
    return made


def pod(spec: Spec, defaults: Defaults | None = None, strip_cpu: bool = False) -> Amounts:
    """Return what one pod counts, by key of a quota (``requests.memory``, ``limits.cpu``, ``pods``)."""
    return counted(containers(spec, defaults or Defaults(), strip_cpu), spec)


def add(one: Mapping[str, Fraction], other: Mapping[str, Fraction], times: int = 1) -> Amounts:
    """Return the sum, the second counted several times."""
    return _add(one, other if times == 1 else {key: value * times for key, value in other.items()})


def total(these: Iterable[Mapping[str, Fraction]]) -> Amounts:
    """Return the sum of many; what is there often is multiplied."""
    often: dict[int, tuple[Mapping[str, Fraction], int]] = {}
    for one in these:
        often[id(one)] = (one, often.get(id(one), (one, 0))[1] + 1)
    made: Amounts = {}
    for one, times in often.values():
        made = add(made, one, times)
    return made


def counts(one: Mapping[str, t.Any]) -> bool:
    """Say whether a live pod counts against a quota: not after it has ended."""
    return (one.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def share(value: t.Any, whole: int, *, up: bool) -> int:
    """Return a number of pods that is given as such or as a percentage of *whole*."""
    text = str(value)
    if not text.endswith("%"):
        return int(text)
    part = Fraction(whole * int(text[:-1]), 100)
    return math.ceil(part) if up else math.floor(part)


def surge(replicas: int, wanted: t.Any) -> int:
    """Return how many pods a rollout makes on top; a percentage is rounded up, and nothing said is 25%."""
    return share("25%" if wanted is None else wanted, replicas, up=True)
