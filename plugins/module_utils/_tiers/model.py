# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The table of namespace tiers as people write it, and as typed records.

:func:`parse` is strict about the shape (keys, types) and raises at the first breach. What the values mean together is
judged by ``findings``, which names everything at once.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import typing as t
from collections.abc import Mapping, Sequence

from .._core.errors import InvalidInput, check
from .._kube.model import DEFAULT_LABEL_DOMAIN
from . import tables

SOURCES: t.Final = ("map", "label", "prefix")
PREEMPTION: t.Final = ("PreemptLowerPriority", "Never")
FAILURE_POLICIES: t.Final = ("Ignore", "Fail")
#: The name under which namespaces without a namespace tier go.
UNTIERED: t.Final = "untiered"
#: Highest value a class of one's own may have.
HIGHEST: t.Final = 1_000_000_000
#: What one wave costs: wave 0 has the highest value, every later one this much less.
WAVE_STEP: t.Final = 1_000_000
BUILT_IN: t.Final[Mapping[str, int]] = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}
SECRET_TYPES: t.Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "registry": ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": "dockerconfigjson"}),
    "tls": ("kubernetes.io/tls", {"tls.crt": "tls.crt", "tls.key": "tls.key"}),
}
SECRET_WAYS: t.Final = ("external_secrets", "kyverno")

_DOMAIN: t.Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")

Quantities = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Priority:
    """A PriorityClass.

    :ivar built_in: one of Kubernetes' own classes, which is used and not made.
    :ivar wave: the wave from which the value was reckoned, if it was.
    """

    name: str
    value: int
    preemption: str = "PreemptLowerPriority"
    description: str = ""
    built_in: bool = False
    wave: int | None = None


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the LimitRange says about containers, by resource."""

    default: Quantities
    default_request: Quantities
    max: Quantities
    min: Quantities
    ratio: Quantities

    def spec(self) -> dict[str, t.Any]:
        """Return the ``spec`` of the LimitRange; fields without a value are left out."""
        item: dict[str, t.Any] = {"type": "Container"}
        for key, value in (
            ("default", self.default),
            ("defaultRequest", self.default_request),
            ("max", self.max),
            ("min", self.min),
            ("maxLimitRequestRatio", self.ratio),
        ):
            if value:
                item[key] = dict(sorted(value.items()))
        return {"limits": [item]}


@dataclasses.dataclass(frozen=True)
class Quota:
    """What the ResourceQuota allows."""

    hard: Quantities
    scopes: tuple[str, ...] = ()

    def spec(self) -> dict[str, t.Any]:
        """Return the ``spec`` of the ResourceQuota."""
        spec: dict[str, t.Any] = {"hard": dict(sorted(self.hard.items()))}
        if self.scopes:
            spec["scopes"] = list(self.scopes)
        return spec


@dataclasses.dataclass(frozen=True)
class PodDefaults:
    """What is put into pods when they are created."""

    ndots: int | None = None
    strip_cpu_limits: bool = False


@dataclasses.dataclass(frozen=True)
class Rule:
    """A further demand on the pods of a namespace tier, in CEL."""

    name: str
    expression: str
    message: str


@dataclasses.dataclass(frozen=True)
class Tier:
    """One namespace tier, or the fallback (:data:`UNTIERED`).

    :ivar surge: headroom that the quota keeps above the largest container, by resource.
    :ivar allowed: classes that pods may name besides the namespace tier's own.
    :ivar daemonsets: DaemonSets run in namespaces of this namespace tier, so pods grow with the nodes.
    """

    name: str
    prefixes: tuple[str, ...] = ()
    label: str = ""
    namespaces: tuple[str, ...] = ()
    priority: Priority | None = None
    limits: Limits | None = None
    quota: Quota | None = None
    surge: Quantities = dataclasses.field(default_factory=dict)
    allowed: tuple[str, ...] = ()
    gpu: bool = False
    daemonsets: bool = False
    pods: PodDefaults = PodDefaults()
    rules: tuple[Rule, ...] = ()


@dataclasses.dataclass(frozen=True)
class Gpu:
    """Pods that ask for one of these resources get this class instead of their namespace tier's."""

    resources: tuple[str, ...]
    priority: Priority


@dataclasses.dataclass(frozen=True)
class Guard:
    """Who may set what decides about limits.

    :ivar groups: platform groups. :ivar users: further users, as the ServiceAccounts of Flux.
    :ivar self_service: namespace tiers in which everybody who may create namespaces may create one.
    """

    groups: tuple[str, ...]
    users: tuple[str, ...]
    self_service: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class SecretCopy:
    """A registry credential or TLS certificate that namespaces get as a Kubernetes Secret.

    :ivar way: ``external_secrets`` (read from OpenBao) or ``kyverno`` (cloned from *source_namespace*, same name).
    :ivar namespaces: the allowed list. :ivar labels: instead of it, the labels of namespaces that opted in.
    :ivar properties: key of the Kubernetes Secret -> property of the OpenBao secret.
    """

    name: str
    kind: str
    type: str
    way: str
    namespaces: tuple[str, ...]
    labels: Mapping[str, str]
    path: str = ""
    store: str = "openbao"
    store_kind: str = "SecretStore"
    refresh: str = "1h"
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)
    source_namespace: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """Everything that is compiled.

    :ivar fallback: what untiered namespaces get; its name is :data:`UNTIERED`.
    :ivar fallback_tier: name of the namespace tier they belong to instead, or empty.
    :ivar exclusions: names of namespaces; with ``*`` at the end, beginnings of names.
    """

    tiers: tuple[Tier, ...]
    fallback: Tier
    fallback_tier: str
    sources: tuple[str, ...]
    label: str
    optout_limits: str
    optout_quota: str
    hold: str
    exclusions: tuple[str, ...]
    gpu: Gpu | None
    guard: Guard
    secrets: tuple[SecretCopy, ...]
    failure_policy: str
    accept_deadlock_risk: bool
    prefix: str
    limit_range: str
    quota: str
    label_domain: str

    def tier(self, name: str) -> Tier:
        """Return the namespace tier of that name; the fallback for :data:`UNTIERED`."""
        if name == UNTIERED:
            return self.fallback
        return next(tier for tier in self.tiers if tier.name == name)

    @property
    def compiled(self) -> tuple[Tier, ...]:
        """Return all that limits are made for: the namespace tiers in their order, then the fallback if it is one."""
        return self.tiers if self.fallback_tier else (*self.tiers, self.fallback)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of all classes of the table, the highest first."""
        classes = [tier.priority for tier in self.tiers if tier.priority]
        if self.gpu:
            classes.append(self.gpu.priority)
        return tuple(dict.fromkeys(p.name for p in sorted(classes, key=lambda p: (-p.value, p.name))))

    def excluded(self, namespace: str) -> bool:
        """Say whether no namespace tier may touch this namespace."""
        return any(matches(pattern, namespace) for pattern in self.exclusions)


def plain(value: t.Any) -> t.Any:
    """Return *value* as ordinary containers and texts."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def matches(pattern: str, namespace: str) -> bool:
    """Say whether a name, or a beginning with ``*``, fits."""
    return namespace.startswith(pattern[:-1]) if pattern.endswith("*") else namespace == pattern


# -- reading what people write -------------------------------------------------------------------------------------


_TABLE_KEYS: t.Final = (
    "base",
    "tiers",
    "fallback",
    "sources",
    "label",
    "optout_labels",
    "hold_annotation",
    "exclusions",
    "more_exclusions",
    "gpu",
    "pods",
    "guard",
    "distribute",
    "failure_policy",
    "accept_deadlock_risk",
    "names",
    "label_domain",
)
_TIER_KEYS: t.Final = (
    "name",
    "prefixes",
    "label",
    "namespaces",
    "priority",
    "limit_range",
    "quota",
    "surge_headroom",
    "allowed_priority_classes",
    "gpu",
    "daemonsets",
    "pods",
    "rules",
)
_FALLBACK_KEYS: t.Final = ("limit_range", "quota", "surge_headroom", "allowed_priority_classes", "pods", "rules")
_LIMIT_KEYS: t.Final = ("default", "defaultRequest", "max", "min", "maxLimitRequestRatio")
_PRIORITY_KEYS: t.Final = ("class", "value", "wave", "preemption", "description")
_COPY_KEYS: t.Final = (
    "name",
    "kind",
    "way",
    "namespaces",
    "labels",
    "path",
    "store",
    "store_kind",
    "refresh",
    "properties",
    "source_namespace",
)

#: Not written in one piece: a word of its own elsewhere.
ADMINISTRATORS: t.Final = "system:mas" + "ters"
DEFAULT_GROUPS: t.Final = (ADMINISTRATORS, "platform-admins")
DEFAULT_USERS: t.Final = (
    "system:serviceaccount:flux-system:kustomize-controller",
    "system:serviceaccount:flux-system:helm-controller",
)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _mapping(value: t.Any, item: str, keys: Sequence[str] | None = None) -> Mapping[str, t.Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{_shown(value)} is no mapping.", item=item, rule="type", fix="write keys and values.")
    if keys is not None:
        unknown = sorted(set(map(str, value)) - set(keys))
        check(
            not unknown,
            f"unknown key(s) {', '.join(unknown)}.",
            item=item,
            rule="unknown-key",
            fix=f"there are {', '.join(keys)}.",
        )
    return value


def _list(value: t.Any, item: str) -> list[t.Any]:
    if value is None:
        return []
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
        raise InvalidInput(f"{_shown(value)} is no list.", item=item, rule="type", fix="write a list.")
    return list(value)


def _text(value: t.Any, item: str, default: str = "") -> str:
    if value is None:
        return default
    if not isinstance(value, str):
        raise InvalidInput(f"{_shown(value)} is no text.", item=item, rule="type", fix="put it in quotes.")
    return str(value)


def _texts(value: t.Any, item: str) -> tuple[str, ...]:
    return tuple(_text(one, f"{item}[{index}]") for index, one in enumerate(_list(value, item)))


def _bool(value: t.Any, item: str, default: bool) -> bool:
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidInput(f"{_shown(value)} is neither true nor false.", item=item, rule="type", fix="true or false.")
    return value


def _int(value: t.Any, item: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(f"{_shown(value)} is no whole number.", item=item, rule="type", fix="write it in digits.")
    return value


def _choice(value: t.Any, item: str, choices: Sequence[str], default: str) -> str:
    text = _text(value, item, default)
    check(text in choices, f"{text!r} is no choice.", item=item, rule="choice", fix=f"one of {', '.join(choices)}.")
    return text


def _quantities(value: t.Any, item: str) -> dict[str, str]:
    result = {}
    for name, amount in _mapping(value, item).items():
        if isinstance(amount, bool) or not isinstance(amount, (str, int, float)):
            raise InvalidInput(
                f"{_shown(amount)} is no quantity.",
                item=f"{item}.{name}",
                rule="type",
                fix="write it as 256Mi or 100m.",
            )
        result[str(name)] = str(amount)
    return dict(sorted(result.items()))


def _copied(name: str, value: t.Any, item: str) -> dict[str, str]:
    return {str(k): _text(v, f"{item}.{name}.{k}") for k, v in sorted(_mapping(value, f"{item}.{name}").items())}


def _priority(value: t.Any, item: str, default_class: str) -> Priority | None:
    if value is None:
        return None
    given = _mapping(value, item, _PRIORITY_KEYS)
    name = _text(given.get("class"), f"{item}.class", default_class)
    number, wave = _int(given.get("value"), f"{item}.value"), _int(given.get("wave"), f"{item}.wave")
    description = _text(given.get("description"), f"{item}.description")
    preemption = _choice(given.get("preemption"), f"{item}.preemption", PREEMPTION, PREEMPTION[0])
    if name in BUILT_IN:
        check(
            number is None and wave is None and "preemption" not in given,
            f"{name} is Kubernetes' own class; nothing about it can be chosen.",
            item=item,
            rule="built-in-class",
            fix="give class alone, or a class and a value of your own.",
        )
        return Priority(name, BUILT_IN[name], description=description, built_in=True)
    check(
        (number is None) != (wave is None),
        "needs either value or wave.",
        item=item,
        rule="value-or-wave",
        fix="give value (at most 1000000000), or wave (0 is the highest), or one of Kubernetes' own classes as class.",
    )
    if wave is not None:
        check(
            0 <= wave < HIGHEST // WAVE_STEP,
            f"wave {wave} has no value.",
            item=f"{item}.wave",
            rule="wave",
            fix=f"0 to {HIGHEST // WAVE_STEP - 1}; what must come before is one of Kubernetes' own classes.",
        )
        number = HIGHEST - wave * WAVE_STEP
    return Priority(name, number or 0, preemption, description, wave=wave)


def _limits(value: t.Any, item: str) -> Limits | None:
    if value is None:
        return None
    given = _mapping(value, item, _LIMIT_KEYS)
    default, request, largest, smallest, ratio = (_quantities(given.get(key), f"{item}.{key}") for key in _LIMIT_KEYS)
    return Limits(default, request, largest, smallest, ratio)


def _quota(value: t.Any, item: str) -> Quota | None:
    if value is None:
        return None
    given = _mapping(value, item, ("hard", "scopes"))
    return Quota(_quantities(given.get("hard"), f"{item}.hard"), _texts(given.get("scopes"), f"{item}.scopes"))


def _pods(value: t.Any, item: str, inherited: PodDefaults) -> PodDefaults:
    given = _mapping(value, item, ("ndots", "strip_cpu_limits"))
    return PodDefaults(
        _int(given["ndots"], f"{item}.ndots") if "ndots" in given else inherited.ndots,
        _bool(given.get("strip_cpu_limits"), f"{item}.strip_cpu_limits", inherited.strip_cpu_limits),
    )


def _rules(value: t.Any, item: str) -> tuple[Rule, ...]:
    rules = []
    for index, one in enumerate(_list(value, item)):
        where = f"{item}[{index}]"
        given = _mapping(one, where, ("name", "expression", "message"))
        texts = {key: _text(given.get(key), f"{where}.{key}").strip() for key in ("name", "expression", "message")}
        missing = [key for key, text in texts.items() if not text]
        check(
            not missing,
            f"{', '.join(missing)} is missing.",
            item=where,
            rule="missing-key",
            fix="a rule has name, expression (CEL, true for pods that may be) and message.",
        )
        rules.append(Rule(**texts))
    return tuple(rules)


def _tier(value: t.Any, item: str, pods: PodDefaults, prefix: str) -> Tier:
    given = _mapping(value, item, _TIER_KEYS)
    name = _text(given.get("name"), f"{item}.name").strip()
    check(name, "has no name.", item=item, rule="missing-key", fix="give name, as 0-core.")
    where = f"tiers[{name}]"
    return Tier(
        name=name,
        prefixes=_texts(given.get("prefixes"), f"{where}.prefixes"),
        label=_text(given.get("label"), f"{where}.label", name),
        namespaces=_texts(given.get("namespaces"), f"{where}.namespaces"),
        priority=_priority(given.get("priority"), f"{where}.priority", f"{prefix}{name}"),
        **_shared(given, where, pods),
        gpu=_bool(given.get("gpu"), f"{where}.gpu", False),
        daemonsets=_bool(given.get("daemonsets"), f"{where}.daemonsets", False),
    )


def _shared(given: Mapping[str, t.Any], where: str, pods: PodDefaults) -> dict[str, t.Any]:
    """Return the fields that a namespace tier and the fallback have in common."""
    return {
        "limits": _limits(given.get("limit_range"), f"{where}.limit_range"),
        "quota": _quota(given.get("quota"), f"{where}.quota"),
        "surge": _quantities(given.get("surge_headroom"), f"{where}.surge_headroom"),
        "allowed": _texts(given.get("allowed_priority_classes"), f"{where}.allowed_priority_classes"),
        "pods": _pods(given.get("pods"), f"{where}.pods", pods),
        "rules": _rules(given.get("rules"), f"{where}.rules"),
    }


def _gpu(value: t.Any) -> Gpu | None:
    if value is None:
        return None
    given = _mapping(value, "gpu", ("resources", "priority"))
    priority = _priority(given.get("priority"), "gpu.priority", "gpu-workload")
    resources = _texts(given.get("resources"), "gpu.resources") or ("nvidia.com/gpu",)
    if priority is None:
        raise InvalidInput("has no class.", item="gpu.priority", rule="missing-key", fix="give class and value.")
    return Gpu(resources, priority)


def _guard(value: t.Any) -> Guard:
    given = _mapping(value, "guard", ("groups", "users", "self_service"))
    return Guard(
        _texts(given.get("groups"), "guard.groups") if "groups" in given else DEFAULT_GROUPS,
        _texts(given.get("users"), "guard.users") if "users" in given else DEFAULT_USERS,
        _texts(given.get("self_service"), "guard.self_service"),
    )


def _distribute(value: t.Any) -> tuple[SecretCopy, ...]:
    copies = []
    for index, one in enumerate(_list(value, "distribute")):
        where = f"distribute[{index}]"
        given = _mapping(one, where, _COPY_KEYS)
        name = _text(given.get("name"), f"{where}.name").strip()
        check(name, "has no name.", item=where, rule="missing-key", fix="give the name of the Kubernetes Secret.")
        where = f"distribute[{name}]"
        kind = _choice(given.get("kind"), f"{where}.kind", tuple(SECRET_TYPES), "registry")
        way = _choice(given.get("way"), f"{where}.way", SECRET_WAYS, SECRET_WAYS[0])
        wanted, refused = ("path", "source_namespace")
        if way == "kyverno":
            wanted, refused = refused, wanted
        check(
            given.get(wanted) and not given.get(refused),
            f"way {way} needs {wanted} and no {refused}.",
            item=where,
            rule="copy-source",
            fix="path is that of the OpenBao secret (external_secrets); source_namespace is where the "
            "Kubernetes Secret of the same name is that is cloned (kyverno).",
        )
        kubernetes_type, properties = SECRET_TYPES[kind]
        copies.append(
            SecretCopy(
                name=name,
                kind=kind,
                type=kubernetes_type,
                way=way,
                namespaces=tuple(sorted(set(_texts(given.get("namespaces"), f"{where}.namespaces")))),
                labels=_copied("labels", given.get("labels"), where),
                path=_text(given.get("path"), f"{where}.path"),
                store=_text(given.get("store"), f"{where}.store", "openbao"),
                store_kind=_choice(
                    given.get("store_kind"), f"{where}.store_kind", ("SecretStore", "ClusterSecretStore"), "SecretStore"
                ),
                refresh=_text(given.get("refresh"), f"{where}.refresh", "1h"),
                properties=_copied("properties", given.get("properties"), where) or dict(properties),
                source_namespace=_text(given.get("source_namespace"), f"{where}.source_namespace"),
            )
        )
    return tuple(copies)


def merged(value: t.Any) -> dict[str, t.Any]:
    """Return a table with its ``base`` filled in, still as people write it.

    Namespace tiers are merged by name, mappings by key, everything else is replaced; ``null`` takes away. A namespace
    tier that the base doesn't have is added at the end.
    """
    given = _mapping(value, "namespace_tiers", _TABLE_KEYS)
    if given.get("base") is None:
        return {key: copy.deepcopy(item) for key, item in given.items() if key != "base"}
    base = tables.shipped(_choice(given["base"], "base", tables.NAMES, ""))
    result = base
    for key, item in given.items():
        if key == "base":
            continue
        if key == "tiers":
            result["tiers"] = _merged_tiers(base["tiers"], item)
        else:
            result[key] = _over(base.get(key), item)
    return result


def _merged_tiers(base: list[dict[str, t.Any]], given: t.Any) -> list[t.Any]:
    result: list[t.Any] = list(base)
    places = {tier["name"]: place for place, tier in enumerate(base)}
    for index, one in enumerate(_list(given, "tiers")):
        tier = _mapping(one, f"tiers[{index}]", _TIER_KEYS)
        place = places.get(str(tier.get("name")))
        if place is None:
            result.append(copy.deepcopy(dict(tier)))
        else:
            result[place] = _over(result[place], tier)
    return result


def _over(base: t.Any, given: t.Any) -> t.Any:
    if not isinstance(base, Mapping) or not isinstance(given, Mapping):
        return copy.deepcopy(given)
    result = dict(base)
    for key, item in given.items():
        if item is None:
            result.pop(key, None)
        else:
            result[key] = _over(base.get(key), item)
    return result


def parse(value: t.Any) -> Table:
    """Return the table that *value* describes.

    :raises InvalidInput: with item, rule and fix, if keys or types are wrong.
    """
    given = merged(value)
    names = _mapping(given.get("names"), "names", ("prefix", "limit_range", "quota"))
    prefix = _text(names.get("prefix"), "names.prefix", "tier-")
    pods = _pods(given.get("pods"), "pods", PodDefaults())
    tiers = tuple(
        _tier(one, f"tiers[{index}]", pods, prefix) for index, one in enumerate(_list(given.get("tiers"), "tiers"))
    )
    check(
        tiers, "there is no namespace tier.", item="tiers", rule="missing-key", fix="list one, or give base: default."
    )
    twice = sorted({one.name for one in tiers if [two.name for two in tiers].count(one.name) > 1})
    check(not twice, f"{', '.join(twice)} is there twice.", item="tiers", rule="unique-tier", fix="keep one of them.")
    fallback, fallback_tier = Tier(UNTIERED), ""
    if isinstance(given.get("fallback"), str):
        fallback_tier = str(given["fallback"])
        check(
            any(tier.name == fallback_tier for tier in tiers),
            f"there is no namespace tier {fallback_tier!r}.",
            item="fallback",
            rule="unknown-tier",
            fix=f"one of {', '.join(tier.name for tier in tiers)}, or a mapping with limit_range.",
        )
    else:
        written = _mapping(given.get("fallback"), "fallback", _FALLBACK_KEYS)
        # Defaults for pods are for namespace tiers; untiered namespaces get what is said here.
        fallback = Tier(UNTIERED, **_shared(written, "fallback", PodDefaults()))
    sources = _texts(given.get("sources"), "sources") if "sources" in given else SOURCES
    check(
        sources and len(set(sources)) == len(sources) and set(sources) <= set(SOURCES),
        f"{', '.join(sources) or 'nothing'} is no order of sources.",
        item="sources",
        rule="sources",
        fix=f"some of {', '.join(SOURCES)}, the one that wins first, each once.",
    )
    optouts = _mapping(given.get("optout_labels"), "optout_labels", ("limit_range", "quota"))
    domain = _text(given.get("label_domain"), "label_domain", DEFAULT_LABEL_DOMAIN)
    check(
        _DOMAIN.fullmatch(domain) and len(domain) <= 200,
        f"{domain!r} is not a DNS name.",
        item="label_domain",
        rule="label-domain",
        fix="give one in lower case, as infra.example.org.",
    )
    exclusions = _texts(given.get("exclusions"), "exclusions") if "exclusions" in given else tables.EXCLUSIONS
    guard = _guard(given.get("guard"))
    unknown = sorted(set(guard.self_service) - {tier.name for tier in tiers})
    check(
        not unknown,
        f"there is no namespace tier {', '.join(unknown)}.",
        item="guard.self_service",
        rule="unknown-tier",
        fix=f"some of {', '.join(tier.name for tier in tiers)}.",
    )
    return Table(
        tiers=tiers,
        fallback=fallback,
        fallback_tier=fallback_tier,
        sources=sources,
        label=_text(given.get("label"), "label", "tier"),
        optout_limits=_text(
            optouts.get("limit_range"), "optout_labels.limit_range", "resource-governance/custom-limitrange"
        ),
        optout_quota=_text(optouts.get("quota"), "optout_labels.quota", "resource-governance/custom-quota"),
        hold=_text(given.get("hold_annotation"), "hold_annotation", f"{domain}/tier-hold"),
        exclusions=tuple(dict.fromkeys((*exclusions, *_texts(given.get("more_exclusions"), "more_exclusions")))),
        gpu=_gpu(given.get("gpu")),
        guard=guard,
        secrets=_distribute(given.get("distribute")),
        failure_policy=_choice(given.get("failure_policy"), "failure_policy", FAILURE_POLICIES, "Ignore"),
        accept_deadlock_risk=_bool(given.get("accept_deadlock_risk"), "accept_deadlock_risk", False),
        prefix=prefix,
        limit_range=_text(names.get("limit_range"), "names.limit_range", "tier-defaults"),
        quota=_text(names.get("quota"), "names.quota", "tier-quota"),
        label_domain=domain,
    )
