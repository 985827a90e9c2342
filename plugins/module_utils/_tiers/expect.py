# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What the policies must do to a pod and say about a namespace, in Python and written apart from their CEL.

Tests hold this against the Kyverno CLI and against API servers; generated tests take their expectations from here.
"""

from __future__ import annotations

import copy
import typing as t
from collections.abc import Mapping

from . import cel
from .guards import allowed_classes
from .model import UNTIERED, Table, Tier
from .resolve import OPTED, Resolution, by_prefix, of_object

Object = dict[str, t.Any]


def asks_for_gpu(table: Table, spec: Mapping[str, t.Any]) -> bool:
    """Say whether a container or init container asks for an accelerator of the table."""
    if not table.gpu:
        return False
    for one in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        resources = one.get("resources") or {}
        if {*(resources.get("limits") or {}), *(resources.get("requests") or {})} & set(table.gpu.resources):
            return True
    return False


def _classes(table: Table, tier: Tier, spec: Object) -> None:
    if not any(one.priority for one in table.compiled):
        return
    override = tier.gpu and table.gpu is not None and asks_for_gpu(table, spec)
    chosen = tier.priority.name if tier.priority else ""
    if override and table.gpu:
        chosen = table.gpu.priority.name
    present = spec.get("priorityClassName") or ""
    if chosen and present != chosen and (override or not present):
        spec.pop("priority", None)
        spec.pop("preemptionPolicy", None)
        spec["priorityClassName"] = chosen


def _ndots(tier: Tier, spec: Object) -> None:
    if tier.pods.ndots is None:
        return
    config = spec.setdefault("dnsConfig", {})
    options = config.setdefault("options", [])
    if not any(one.get("name") == "ndots" for one in options):
        options.append({"name": "ndots", "value": str(tier.pods.ndots)})


def _strip(tier: Tier, spec: Object) -> None:
    if not tier.pods.strip_cpu_limits:
        return
    for key in ("containers", "initContainers"):
        for one in (spec.get(key) or [])[: cel.CONTAINERS]:
            ((one.get("resources") or {}).get("limits") or {}).pop("cpu", None)


def pod(table: Table, namespace: Resolution, given: Mapping[str, t.Any]) -> Object:
    """Return the pod as it is after creation in that namespace; *given* stays as it is."""
    made: Object = copy.deepcopy(dict(given))
    if not namespace.tier or namespace.hold:
        return made
    tier = table.tier(namespace.tier)
    spec = made.setdefault("spec", {})
    _classes(table, tier, spec)
    _ndots(tier, spec)
    _strip(tier, spec)
    return made


def class_allowed(table: Table, namespace: Resolution, given: Mapping[str, t.Any]) -> bool:
    """Say whether a pod, after what was put in, may have its class there."""
    if not namespace.tier or namespace.hold:
        return True
    has = (given.get("spec") or {}).get("priorityClassName") or ""
    return has in allowed_classes(table, table.tier(namespace.tier))


def is_platform(table: Table, username: str, groups: t.Iterable[str]) -> bool:
    """Say whether somebody may set what decides about limits."""
    return username in table.guard.users or bool(set(groups) & set(table.guard.groups))


def namespace_refused(
    table: Table, new: Mapping[str, t.Any], old: Mapping[str, t.Any] | None, platform: bool
) -> list[str]:
    """Return what the guard has against a namespace: names of labels and rules; empty if it may be.

    :param old: the namespace before, or nothing if it is created.
    """

    def value(one: Mapping[str, t.Any] | None, kind: str, key: str) -> str:
        return str((((one or {}).get("metadata") or {}).get(kind) or {}).get(key, ""))

    resolution = of_object(table, new)
    if not resolution.tier:
        return []
    against: list[str] = []
    label, before = value(new, "labels", table.label), value(old, "labels", table.label)
    free = resolution.tier in table.guard.self_service
    creates = old is None
    if not platform:
        if label != before and not (creates and free):
            against.append(table.label)
        if creates and not free and resolution.tier != UNTIERED:
            against.append("namespace tier")
        against += [
            key
            for kind, key in (
                ("labels", table.optout_limits),
                ("labels", table.optout_quota),
                ("annotations", table.hold),
            )
            if value(new, kind, key) != value(old, kind, key)
        ]
    if "label" in table.sources and (creates or label != before) and label:
        named = next((tier.name for tier in table.tiers if tier.label == label), "")
        if not named:
            against.append("unknown label")
        prefix = by_prefix(table, resolution.namespace) if "prefix" in table.sources else ""
        mapped = "map" in table.sources and any(resolution.namespace in tier.namespaces for tier in table.tiers)
        if prefix and named and prefix != named and not mapped:
            against.append("prefix and label")
    return against


def opted_out(namespace: Mapping[str, t.Any], key: str) -> bool:
    """Say whether a namespace carries an opt-out."""
    return ((namespace.get("metadata") or {}).get("labels") or {}).get(key) == OPTED
