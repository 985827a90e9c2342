# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What pods count against a quota: exact numbers, after the defaults of a LimitRange, as the API server reckons."""

from __future__ import annotations

import dataclasses
import math
import typing as t
from collections.abc import Mapping
from fractions import Fraction

from .._kube.normalise import quantity
from .model import Limits

Spec = Mapping[str, t.Any]
Amounts = dict[str, Fraction]


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


def _amounts(values: t.Any) -> Amounts:
    return {str(k): number for k, v in (values or {}).items() if (number := quantity(v)) is not None}


@dataclasses.dataclass(frozen=True)
class Defaults:
    """The defaults of a LimitRange, with what the API server fills in: max for default, default or min for requests."""

    limits: Mapping[str, Fraction] = dataclasses.field(default_factory=dict)
    requests: Mapping[str, Fraction] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, limits: Limits | None) -> Defaults:
        """Return the defaults of one LimitRange; none without."""
        if limits is None:
            return cls()
        default = {**_amounts(limits.max), **_amounts(limits.default)}
        return cls(default, {**_amounts(limits.min), **default, **_amounts(limits.default_request)})


def containers(spec: Spec, defaults: Defaults, strip_cpu: bool = False) -> list[Container]:
    """Return the containers of a pod, init containers first."""
    made = []
    for init, one in (
        *((True, c) for c in spec.get("initContainers") or ()),
        *((False, c) for c in spec.get("containers") or ()),
    ):
        resources = one.get("resources") or {}
        limits, requests = _amounts(resources.get("limits")), _amounts(resources.get("requests"))
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
    return {key: one.get(key, Fraction(0)) + other.get(key, Fraction(0)) for key in {*one, *other}}


def _most(one: Mapping[str, Fraction], other: Mapping[str, Fraction]) -> Amounts:
    return {key: max(one.get(key, Fraction(0)), other.get(key, Fraction(0))) for key in {*one, *other}}


def _effective(these: list[Container], pick: t.Callable[[Container], Mapping[str, Fraction]], spec: Spec) -> Amounts:
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
    return _add(_most(running, step), _amounts(spec.get("overhead")))


def pod(spec: Spec, defaults: Defaults | None = None, strip_cpu: bool = False) -> Amounts:
    """Return what one pod counts, by key of a quota (``requests.memory``, ``limits.cpu``, ``pods``)."""
    these = containers(spec, defaults or Defaults(), strip_cpu)
    made = {"pods": Fraction(1), "count/pods": Fraction(1)}
    made.update({f"requests.{k}": v for k, v in _effective(these, lambda c: c.requests, spec).items()})
    made.update({f"limits.{k}": v for k, v in _effective(these, lambda c: c.limits, spec).items()})
    for short in ("cpu", "memory", "ephemeral-storage"):
        if f"requests.{short}" in made:
            made[short] = made[f"requests.{short}"]
    return made


def add(one: Mapping[str, Fraction], other: Mapping[str, Fraction], times: int = 1) -> Amounts:
    """Return the sum, the second counted several times."""
    return _add(one, {key: value * times for key, value in other.items()})


def counts(one: Mapping[str, t.Any]) -> bool:
    """Say whether a live pod counts against a quota: not after it has ended."""
    return (one.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def surge(replicas: int, wanted: t.Any) -> int:
    """Return how many pods a rollout makes on top; a percentage is rounded up, and nothing said is 25%."""
    text = "25%" if wanted is None else str(wanted)
    if text.endswith("%"):
        return math.ceil(Fraction(replicas * int(text[:-1]), 100))
    return int(text)
