# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces and pods, and what the Python resolver says that becomes of them. The same cases in every run.

Nothing here is CEL: what is expected comes from ``resolve`` and from the table alone, so that policies, the Kyverno CLI
and the API server can be held against it.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import typing as t
from collections.abc import Mapping

from ansible_collections.hackspace.infra.plugins.module_utils._tiers import guards, resolve
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import UNTIERED, Table, Tier, parse

Object = dict[str, t.Any]

#: A class that no namespace tier allows; those who run the cases against a server make it.
FOREIGN: t.Final = "somebody-elses"
#: Named by the explicit map of both tables.
MAPPED: t.Final = ("dns", "4-aux-mapped")
TABLES: t.Final[Mapping[str, Object]] = {
    "default": {
        "base": "default",
        "tiers": [
            {"name": "0-core", "namespaces": list(MAPPED)},
            {"name": "3-edge", "prefixes": ["3-edge-", "4-aux-edge-"], "label": "edge"},
            {"name": "4-aux", "allowed_priority_classes": ["tier-3-edge"]},
        ],
    },
    # The name decides first, nothing goes without a namespace tier, and waves make the numbers.
    "waves": {
        "sources": ["prefix", "map", "label"],
        "more_exclusions": ["4-aux-off"],
        "fallback": "late",
        "tiers": [
            {
                "name": "early",
                "prefixes": ["0-core-"],
                "label": "0-core",
                "priority": {"wave": 1},
                "pods": {"ndots": 3, "strip_cpu_limits": False},
                "limit_range": {
                    "default": {"memory": "128Mi"},
                    "defaultRequest": {"memory": "64Mi"},
                    "max": {"memory": "4Gi"},
                },
            },
            {
                "name": "middle",
                "prefixes": ["4-aux-", "2-gpu-"],
                "label": "4-aux",
                "namespaces": list(MAPPED),
                "priority": {"wave": 5},
                "gpu": True,
                "pods": {"strip_cpu_limits": True},
            },
            {"name": "late", "label": "late", "priority": {"wave": 9, "preemption": "Never"}, "pods": {"ndots": 1}},
        ],
        "gpu": {
            "resources": ["nvidia.com/gpu", "amd.com/gpu"],
            "priority": {"class": "accelerated", "value": 1000000000},
        },
        "guard": {"self_service": ["late"]},
    },
}

_BASES: t.Final = ("4-aux-wiki", "4-aux-edge-web", "0-core-db", "2-gpu-llm", "3-edge-a-b", "1-cluster", "wiki")
_FIXED: t.Final = (*MAPPED, "kube-public", "4-aux-off")
_LABELS: t.Final = (None, "4-aux", "0-core", "edge", "gold")
_ANNOTATIONS: t.Final[tuple[Mapping[str, str], ...]] = ({}, {"infra.hackspace.org/tier-hold": "2030-01-01"})


def _limits(cpu: str = "", memory: str = "", **more: str) -> Object:
    found = {**({"cpu": cpu} if cpu else {}), **({"memory": memory} if memory else {}), **more}
    return {"limits": found} if found else {}


def _container(name: str, resources: Object | None = None) -> Object:
    made: Object = {"name": name, "image": "example.com/app:1"}
    if resources is not None:
        made["resources"] = resources
    return made


_GPU: t.Final = {"nvidia.com/gpu": "1"}
#: Pods without their names: what they say about classes, DNS and resources.
SPECS: t.Final[Mapping[str, Object]] = {
    "plain": {"containers": [_container("app")]},
    "cpu-limit": {"containers": [_container("app", _limits("500m", "64Mi"))]},
    "many-containers": {
        "initContainers": [_container("init-0"), _container("init-1", _limits("100m"))],
        "containers": [
            _container("app-0", _limits("100m")),
            _container("app-1", {}),
            _container("app-2", {"requests": {"cpu": "10m"}}),
            _container("app-3", _limits("200m", "64Mi")),
        ],
    },
    "sidecar": {
        "initContainers": [{**_container("sidecar", _limits("250m")), "restartPolicy": "Always"}],
        "containers": [_container("app")],
    },
    "ndots": {
        "dnsConfig": {"options": [{"name": "ndots", "value": "5"}]},
        "containers": [_container("app")],
    },
    "other-option": {"dnsConfig": {"options": [{"name": "edns0"}]}, "containers": [_container("app")]},
    "searches": {"dnsConfig": {"searches": ["example.com"]}, "containers": [_container("app")]},
    "gpu": {"containers": [_container("app", _limits("100m", **_GPU))]},
    "gpu-in-init": {
        "initContainers": [_container("warm", _limits(**_GPU))],
        "containers": [_container("app")],
    },
    "gpu-own-class": {"class": "own", "containers": [_container("app", _limits(**_GPU))]},
    "own-class": {"class": "own", "containers": [_container("app")]},
    "highest-class": {"class": "highest", "containers": [_container("app", _limits("100m"))]},
    "lowest-class": {"class": "lowest", "containers": [_container("app")]},
    "accelerator-class": {"class": "accelerator", "containers": [_container("app")]},
    "edge-class": {"class": "edge", "containers": [_container("app")]},
    "foreign-class": {"class": "foreign", "containers": [_container("app")]},
}


@dataclasses.dataclass(frozen=True)
class Expected:
    """What becomes of a pod.

    :ivar tier: as ``resolve`` says it; empty if the namespace is excluded.
    :ivar denied: the guard refuses the pod as it is after all changes.
    :ivar priority_class: of the pod afterwards; empty if it has none.
    :ivar ndots: value of that option; empty if it has none.
    :ivar cpu_limits: by container, init containers first, what is left of them.
    """

    tier: str
    denied: bool
    priority_class: str
    ndots: str
    cpu_limits: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Case:
    """A namespace, a pod in it, and what becomes of it. The name is good as the name of a test."""

    name: str
    table: str
    namespace: Object
    pod: Object
    expected: Expected


@dataclasses.dataclass(frozen=True)
class NamespaceCase:
    """A namespace that somebody makes or changes.

    :ivar old: as it was before; ``None`` if it is new.
    :ivar platform: who does it is in a platform group.
    :ivar denied: whether the guard refuses it.
    """

    name: str
    table: str
    namespace: Object
    old: Object | None
    platform: bool
    denied: bool


def table(name: str) -> Table:
    """Return one of the tables, parsed."""
    return parse(TABLES[name])


def _namespace(name: str, label: str | None, annotations: Mapping[str, str], **more: str) -> Object:
    labels = {"kubernetes.io/metadata.name": name, **({"tier": label} if label else {}), **more}
    metadata: Object = {"name": name, "labels": labels}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def namespaces() -> list[Object]:
    """Return the namespaces of all pod cases; they fit into one cluster together. ``kube-public`` is there already."""
    made = []
    for base, label in itertools.product(_BASES, _LABELS):
        for notes in _ANNOTATIONS:
            if notes and label not in (None, "4-aux"):
                continue
            suffix = f"-{label or 'none'}{'-held' if notes else ''}"
            made.append(_namespace(base + suffix, label, notes))
    made += [_namespace(name, None, {}) for name in _FIXED]
    return made


def _class_of(table_: Table, tier: Tier | None, word: str) -> str:
    names = table_.class_names
    if word == "own":
        return tier.priority.name if tier and tier.priority else ""
    if word == "edge":
        return next((name for name in names if name.endswith("edge")), names[1])
    if word == "accelerator":
        return table_.gpu.priority.name if table_.gpu else ""
    if word == "highest":
        return next(one.priority.name for one in table_.tiers if one.priority)
    return {"lowest": names[-1], "foreign": FOREIGN}[word]


def pod(table_: Table, namespace: Object, kind: str) -> Object:
    """Return the pod of a kind, as a user sends it."""
    spec = copy.deepcopy(SPECS[kind])
    word = spec.pop("class", "")
    if word:
        found = resolve.of_object(table_, namespace)
        name = _class_of(table_, table_.tier(found.tier) if found.tier else None, word)
        if name:
            spec["priorityClassName"] = name
    name = namespace["metadata"]["name"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{kind}", "namespace": name}, "spec": spec}


def _containers(spec: Object) -> list[Object]:
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def _ndots(spec: Object) -> str:
    options = (spec.get("dnsConfig") or {}).get("options") or []
    return next((str(one.get("value", "")) for one in options if one["name"] == "ndots"), "")


def _cpu_limits(spec: Object) -> tuple[str, ...]:
    return tuple(str(((one.get("resources") or {}).get("limits") or {}).get("cpu", "")) for one in _containers(spec))


def seen(spec: Object) -> tuple[str, str, tuple[str, ...]]:
    """Return class, ndots and CPU limits of a pod's spec, to be held against what is expected."""
    return str(spec.get("priorityClassName", "")), _ndots(spec), _cpu_limits(spec)


def wanted(expected: Expected) -> tuple[str, str, tuple[str, ...]]:
    """Return the same of what is expected."""
    return expected.priority_class, expected.ndots, expected.cpu_limits


def expect(table_: Table, namespace: Object, one: Object) -> Expected:
    """Return what becomes of a pod in a namespace."""
    found = resolve.of_object(table_, namespace)
    name, ndots, cpu = seen(one["spec"])
    if not found.tier or found.hold:
        return Expected(found.tier, False, name, ndots, cpu)
    tier = table_.tier(found.tier)
    resources = [(c.get("resources") or {}) for c in _containers(one["spec"])]
    asked = {key for r in resources for kind in ("limits", "requests") for key in (r.get(kind) or {})}
    if table_.gpu and tier.gpu and asked & set(table_.gpu.resources):
        name = table_.gpu.priority.name
    elif not name and tier.priority:
        name = tier.priority.name
    if not ndots and tier.pods.ndots is not None:
        ndots = str(tier.pods.ndots)
    if tier.pods.strip_cpu_limits:
        cpu = ("",) * len(cpu)
    return Expected(found.tier, name not in guards.allowed_classes(table_, tier), name, ndots, cpu)


def pod_cases(name: str = "default") -> list[Case]:
    """Return the cases of one table: every namespace, with a changing choice of pods, and every pod somewhere."""
    table_ = table(name)
    kinds = list(SPECS)
    cases = []
    for index, namespace in enumerate(namespaces()):
        # 5 and 16 have no common divisor, so the choice goes through all kinds for every sort of namespace.
        for step in range(5):
            kind = kinds[(5 * index + 3 * step) % len(kinds)]
            made = pod(table_, namespace, kind)
            where = namespace["metadata"]["name"]
            cases.append(Case(f"{where}/{kind}", name, namespace, made, expect(table_, namespace, made)))
    return cases


# -- namespaces ----------------------------------------------------------------------------------------------------


def denied(table_: Table, namespace: Object, old: Object | None, platform: bool) -> bool:
    """Say whether the guard refuses a namespace, or the change of one."""
    meta = namespace["metadata"]
    if table_.excluded(meta["name"]):
        return False
    labels, before = meta.get("labels") or {}, ((old or {}).get("metadata") or {}).get("labels") or {}
    label, old_label = labels.get(table_.label, ""), before.get(table_.label, "")
    found = resolve.of_object(table_, namespace)
    mine = table_.guard.self_service
    if not platform:
        if label != old_label and not (old is None and found.tier in mine):
            return True
        if old is None and found.tier != UNTIERED and found.tier not in mine:
            return True
        if any(labels.get(key, "") != before.get(key, "") for key in (table_.optout_limits, table_.optout_quota)):
            return True
        held = resolve.of_object(table_, old).hold if old else ""
        if found.hold != held:
            return True
    if old is None or label != old_label:
        if label and label not in [tier.label for tier in table_.tiers]:
            return True
        by_prefix = resolve.by_prefix(table_, meta["name"])
        by_label = next((tier.name for tier in table_.tiers if label and tier.label == label), "")
        if meta["name"] in [one for tier in table_.tiers for one in tier.namespaces]:
            return False
        return bool(by_prefix and by_label and by_prefix != by_label)
    return False


def namespace_cases(name: str = "default") -> list[NamespaceCase]:
    """Return namespaces that are made, and changes of namespaces, by a platform group and by others."""
    table_ = table(name)
    cases = []
    for base, label, platform in itertools.product((*_BASES, *MAPPED, "kyverno"), _LABELS, (False, True)):
        made = _namespace(f"{base}-new" if base in _BASES else base, label, {})
        who = "platform" if platform else "tenant"
        verdict = denied(table_, made, None, platform)
        where = f"{made['metadata']['name']}/{label or 'none'}"
        cases.append(NamespaceCase(f"{where}/create-by-{who}", name, made, None, platform, verdict))
    for old in namespaces():
        where, meta = old["metadata"]["name"], old["metadata"]
        if where == "kube-public":
            continue
        label, held = meta["labels"].get("tier"), meta.get("annotations") or {}
        changes = {
            "label": _namespace(where, "0-core" if label != "0-core" else "4-aux", held),
            "opt-out": _namespace(where, label, held, **{table_.optout_quota: "true"}),
            "hold": _namespace(where, label, {} if held else {table_.hold: "2030-01-01"}),
            "other": _namespace(where, label, held, team="blue"),
        }
        number = len(cases)
        for step, (what, made) in enumerate(changes.items()):
            platform = (number + step) % 3 == 0
            who = "platform" if platform else "tenant"
            verdict = denied(table_, made, old, platform)
            cases.append(NamespaceCase(f"{where}/{what}-by-{who}", name, made, old, platform, verdict))
    return cases
