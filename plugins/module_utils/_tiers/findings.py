# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is wrong with a table of namespace tiers, with policies, and with a cluster that is to get them."""

from __future__ import annotations

import dataclasses
import itertools
import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

from .._core.errors import InvalidInput
from .._kube.normalise import quantity
from . import resolve as resolving
from .limits import wanted
from .model import BUILT_IN, HIGHEST, UNTIERED, Limits, Priority, Table, Tier, parse
from .parts import PART_OF
from .policies import Backends

Severity = t.Literal["error", "warning"]

#: Every rule; a test holds one broken input for each.
RULES: t.Final[Mapping[str, str]] = {
    "prefix-form": "prefixes are beginnings of namespace names and end with a hyphen",
    "prefix-shared": "no two namespace tiers have the same prefix",
    "prefix-nested": "a prefix inside another wins, and should be meant",
    "namespace-form": "names in the map are names of namespaces",
    "namespace-shared": "no namespace is in the map of two namespace tiers",
    "tier-name": "names of namespace tiers can be label values and parts of class names",
    "label-shared": "no two namespace tiers have the same label value",
    "class-name": "names of classes are DNS names and not reserved",
    "class-shared": "no two namespace tiers have the same class",
    "priority-order": "values fall strictly from the first namespace tier to the last",
    "priority-too-high": "values of own classes are at most 1000000000",
    "unreachable-tier": "each namespace tier can be reached by a source",
    "too-many-conditions": "a policy has fewer than 64 match conditions",
    "quantity": "amounts are quantities",
    "limits-order": "min <= defaultRequest <= default <= max",
    "ratio": "maxLimitRequestRatio is 1 or more, and what is filled in is within it",
    "max-without-default": "a LimitRange with max has a default, or max becomes it",
    "quota-without-default": "what the quota counts, the LimitRange gives to pods that say nothing",
    "cpu-limit-quota": "no quota counts CPU limits that are taken away",
    "cpu-limit-default": "no LimitRange gives back the CPU limits that are taken away",
    "quota-too-small": "the quota holds the largest container and the headroom",
    "quota-without-room": "the quota holds one container with default requests",
    "quota-pods-nodes": "the quota has a pod for each node where DaemonSets run",
    "overcommit": "the quotas' requests together fit on the nodes",
    "global-default": "no class is the global default",
    "exclusions": "what the policies depend on is excluded",
    "exclusion-form": "exclusions are names of namespaces, or beginnings of names",
    "excluded-mapped": "no excluded namespace is in the map of a namespace tier",
    "gpu-unused": "a class for accelerators belongs to a namespace tier with gpu",
    "gpu-missing": "a namespace tier with gpu has a class for accelerators",
    "ndots": "ndots is 0 to 15",
    "pods-fail": "a broken Kyverno does not stop all pods",
    "policy-not-create-only": "pods are changed when they are created and never later",
    "policy-autogen": "policies do not change the templates of controllers",
    "classic-too-late": "classic policies are not for Kyverno 1.20 and newer",
    "sync-too-early": "synchronised generation needs Kyverno 1.19.1",
    "sync-without-update": "synchronised generation also looks at updates",
    "kyverno-too-old": "the policies' types are in Kyverno 1.17 and newer",
    "native-too-old": "the API server knows the policies' types",
    "tier-conflict": "the sources of a namespace agree",
    "two-owners": "what is made here is made by nobody else",
    "copy-without-allow-list": "credentials go only where they are allowed",
    "copy-excluded": "credentials do not go to excluded namespaces",
}

#: What must not be touched, by an example of each: control plane, Kyverno, Flux, CNI, CSI, OpenBao.
MUST_EXCLUDE: t.Final[Mapping[str, tuple[str, ...]]] = {
    "the control plane": ("kube-system",),
    "Kyverno": ("kyverno",),
    "Flux": ("flux-system",),
    "the CNI": ("cilium", "calico-system", "kube-flannel", "kube-system"),
    "the CSI": ("rook-ceph",),
    "OpenBao": ("openbao",),
}
#: The API allows no more match conditions in one policy.
CONDITIONS: t.Final = 64
SYNC_SINCE: t.Final = (1, 19, 1)
CEL_SINCE: t.Final = (1, 17, 0)
CLASSIC_UNTIL: t.Final = (1, 20, 0)
PODS_NATIVE_SINCE: t.Final = (1, 36, 0)
GUARDS_NATIVE_SINCE: t.Final = (1, 30, 0)

_LABEL: t.Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_PREFIX: t.Final = re.compile(r"[a-z0-9][-a-z0-9]{0,58}-")
_EXCLUSION: t.Final = re.compile(_LABEL.pattern + r"|[a-z0-9][-a-z0-9]{0,62}\*")
_SUBDOMAIN: t.Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_VERSION: t.Final = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+].*)?")
_RESOURCES: t.Final = ("cpu", "memory", "ephemeral-storage")


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    """One broken rule.

    :ivar tier: name of the namespace tier; empty for what concerns the whole table.
    :ivar field: the place in the namespace tier, or in the table.
    """

    tier: str
    field: str
    rule: str
    message: str
    fix: str = dataclasses.field(compare=False)
    severity: Severity = dataclasses.field(default="error", compare=False)

    def as_dict(self) -> dict[str, str]:
        """Return the finding as the filter gives it out."""
        return {
            "id": self.rule,
            "severity": self.severity,
            "item": f"tiers[{self.tier}].{self.field}" if self.tier else self.field,
            "tier": self.tier,
            "field": self.field,
            "message": f"namespace tier {self.tier}, {self.field}: {self.message}"
            if self.tier
            else f"{self.field}: {self.message}",
            "fix": self.fix,
        }


@dataclasses.dataclass(frozen=True)
class Target:
    """Where the table goes. Versions are unknown if they are empty.

    :ivar nodes: allocatable of each node, by resource; empty if not known.
    :ivar objects: live objects, of which namespaces, classes, limits and quotas are looked at.
    :ivar policies: policies that exist or are to be applied, classic ones too.
    :ivar strict: what would break an older Kyverno is an error instead of a warning.
    """

    backends: Backends = dataclasses.field(default_factory=Backends)
    kubernetes: tuple[int, ...] = ()
    kyverno: tuple[int, ...] = ()
    objects: tuple[Mapping[str, t.Any], ...] = ()
    policies: tuple[Mapping[str, t.Any], ...] = ()
    strict: bool = False


def version(value: t.Any, item: str) -> tuple[int, ...]:
    """Return a version as numbers; nothing if it is not given."""
    if value in (None, ""):
        return ()
    match = _VERSION.fullmatch(str(value).strip())
    if match is None:
        raise InvalidInput(f"{value!r} is no version.", item=item, rule="version", fix="give it as 1.36.3.")
    return tuple(int(part or 0) for part in match.groups())


def judge(value: t.Any, target: Target) -> list[Finding]:
    """Return what is wrong with a table as people write it; wrong keys and types are one finding, and the only one."""
    try:
        table = parse(value)
    except InvalidInput as error:
        tier, _dot, field = error.item.removeprefix("tiers[").partition("].") if "]." in error.item else ("", "", "")
        named = tier if error.item.startswith("tiers[") else ""
        return [Finding(named, field if named else error.item, error.rule, error.message, error.fix)]
    return findings(table, target)


def findings(table: Table, target: Target | None = None) -> list[Finding]:
    """Return everything that is wrong, by namespace tier and place."""
    target = target or Target()
    found: list[Finding] = []
    found += _names(table)
    found += _priorities(table)
    for tier in table.compiled:
        found += _amounts(table, tier)
    found += _whole(table)
    found += _backends(table, target)
    found += _secrets(table)
    found += _cluster(table, target)
    for policy in target.policies:
        ours = _metadata(policy).get("name") == f"{table.prefix}pod-defaults" and table.accept_deadlock_risk
        found += (one for one in lint(policy, target) if not (ours and one.rule == "pods-fail"))
    order = {tier.name: place for place, tier in enumerate(table.compiled)}
    return sorted(dict.fromkeys(found), key=lambda f: (f.severity, order.get(f.tier, -1), f.field, f.rule, f.message))


# -- names and sources ---------------------------------------------------------------------------------------------


def _names(table: Table) -> Iterator[Finding]:
    prefixes: dict[str, str] = {}
    labels: dict[str, str] = {}
    mapped: dict[str, str] = {}
    for tier in table.tiers:
        name = tier.name
        if not _LABEL.fullmatch(name) or name.startswith("system-") or name == UNTIERED:
            yield Finding(
                name,
                "name",
                "tier-name",
                "it cannot be a label value and part of a class name.",
                "lower case letters, digits and hyphens, at most 63, not beginning with system-, and not untiered.",
            )
        if not _LABEL.fullmatch(tier.label):
            yield Finding(
                name,
                "label",
                "tier-name",
                f"{tier.label!r} cannot be a label value here.",
                "lower case letters, digits and hyphens, at most 63.",
            )
        for prefix in tier.prefixes:
            if not _PREFIX.fullmatch(prefix):
                yield Finding(
                    name,
                    "prefixes",
                    "prefix-form",
                    f"{prefix!r} is no beginning of a namespace name that ends with a hyphen.",
                    f"write it as {name}-.",
                )
            if prefixes.setdefault(prefix, name) != name:
                yield Finding(
                    name,
                    "prefixes",
                    "prefix-shared",
                    f"{prefix!r} also belongs to {prefixes[prefix]}.",
                    "give each prefix to one namespace tier.",
                )
        if labels.setdefault(tier.label, name) != name:
            yield Finding(
                name,
                "label",
                "label-shared",
                f"{tier.label!r} also belongs to {labels[tier.label]}.",
                "give each namespace tier a label value of its own.",
            )
        for namespace in tier.namespaces:
            if not _LABEL.fullmatch(namespace):
                yield Finding(
                    name,
                    "namespaces",
                    "namespace-form",
                    f"{namespace!r} is no name of a namespace.",
                    "the map takes full names; use prefixes for beginnings.",
                )
            if mapped.setdefault(namespace, name) != name:
                yield Finding(
                    name,
                    "namespaces",
                    "namespace-shared",
                    f"{namespace} is also mapped to {mapped[namespace]}.",
                    "keep it in one namespace tier.",
                )
            if table.excluded(namespace):
                yield Finding(
                    name,
                    "namespaces",
                    "excluded-mapped",
                    f"{namespace} is excluded and would get a quota.",
                    "take it off the map, or narrow exclusions.",
                )
        given = {"map": tier.namespaces, "label": tier.label, "prefix": tier.prefixes}
        if not any(given[source] for source in table.sources):
            yield Finding(
                name,
                "prefixes",
                "unreachable-tier",
                f"no source ({', '.join(table.sources)}) leads to it.",
                "give prefixes or namespaces, or add label to sources.",
                "warning",
            )
    for prefix, name in prefixes.items():
        for other, owner in prefixes.items():
            if owner != name and other != prefix and other.startswith(prefix):
                yield Finding(
                    owner,
                    "prefixes",
                    "prefix-nested",
                    f"{other!r} lies inside {prefix!r} of {name}; the longer one wins.",
                    "nothing, if that is meant; otherwise choose prefixes that have no common beginning.",
                    "warning",
                )


def _class_findings(owner: str, field: str, one: Priority) -> Iterator[Finding]:
    if one.built_in:
        return
    if not _SUBDOMAIN.fullmatch(one.name) or len(one.name) > 253 or one.name.startswith("system-"):
        yield Finding(
            owner,
            f"{field}.class",
            "class-name",
            f"{one.name!r} cannot be the name of a class of one's own.",
            "a DNS name in lower case that does not begin with system-; of Kubernetes' own there are "
            + ", ".join(sorted(BUILT_IN))
            + ".",
        )
    if one.value > HIGHEST:
        yield Finding(
            owner,
            f"{field}.value",
            "priority-too-high",
            f"{one.value} is above {HIGHEST}.",
            f"at most {HIGHEST}; above are only Kubernetes' own classes.",
        )


def _priorities(table: Table) -> Iterator[Finding]:
    owners: dict[str, str] = {}
    above: tuple[str, int] | None = None
    for tier in table.tiers:
        one = tier.priority
        if one is None:
            continue
        yield from _class_findings(tier.name, "priority", one)
        if owners.setdefault(one.name, tier.name) != tier.name:
            yield Finding(
                tier.name,
                "priority.class",
                "class-shared",
                f"{one.name} also belongs to {owners[one.name]}.",
                "give each namespace tier a class of its own.",
            )
        if above is not None and one.value >= above[1]:
            yield Finding(
                tier.name,
                "priority.value",
                "priority-order",
                f"{one.value} is not below the {above[1]} of {above[0]}, which stands before it.",
                "sort the namespace tiers by importance, or change the value.",
            )
        above = (tier.name, one.value)
    if table.gpu:
        yield from _class_findings("", "gpu.priority", table.gpu.priority)
        if table.gpu.priority.name in owners:
            yield Finding(
                "",
                "gpu.priority.class",
                "class-shared",
                f"{table.gpu.priority.name} also belongs to {owners[table.gpu.priority.name]}.",
                "give it a class of its own.",
            )
        same = next((x.name for x in table.tiers if x.priority and x.priority.value == table.gpu.priority.value), "")
        if same:
            yield Finding(
                "",
                "gpu.priority.value",
                "priority-order",
                f"{table.gpu.priority.value} is also that of {same}.",
                "choose another value.",
            )


# -- amounts -------------------------------------------------------------------------------------------------------


def _amounts(table: Table, tier: Tier) -> Iterator[Finding]:
    wrong = list(_quantities(tier))
    yield from wrong
    if wrong:
        return  # nothing can be compared
    if tier.limits:
        yield from _limit_range(tier)
    if tier.quota:
        yield from _quota(tier)
    if tier.pods.strip_cpu_limits and tier.limits:
        # Without a default, max is the default.
        for field, amounts in (("default", tier.limits.default), ("max", tier.limits.max)):
            if "cpu" in amounts:
                yield Finding(
                    tier.name,
                    f"limit_range.{field}.cpu",
                    "cpu-limit-default",
                    "CPU limits are taken away (strip_cpu_limits), and this gives them back.",
                    f"remove {field}.cpu, or set pods.strip_cpu_limits to false.",
                )
    if tier.pods.ndots is not None and not 0 <= tier.pods.ndots <= 15:
        yield Finding(
            tier.name, "pods.ndots", "ndots", f"{tier.pods.ndots} is more than resolvers take.", "0 to 15, usually 2."
        )
    if tier.gpu and table.gpu is None:
        yield Finding(
            tier.name,
            "gpu",
            "gpu-missing",
            "the table has no class for accelerators.",
            "give gpu.priority, or take gpu away here.",
        )


def _fields(tier: Tier) -> Iterator[tuple[str, Mapping[str, str]]]:
    if tier.limits:
        yield "limit_range.default", tier.limits.default
        yield "limit_range.defaultRequest", tier.limits.default_request
        yield "limit_range.max", tier.limits.max
        yield "limit_range.min", tier.limits.min
        yield "limit_range.maxLimitRequestRatio", tier.limits.ratio
    if tier.quota:
        yield "quota.hard", tier.quota.hard
    yield "surge_headroom", tier.surge


def _quantities(tier: Tier) -> Iterator[Finding]:
    for field, amounts in _fields(tier):
        for name, text in amounts.items():
            amount = quantity(text)
            if amount is None or amount < 0:
                yield Finding(
                    tier.name,
                    f"{field}.{name}",
                    "quantity",
                    f"{text!r} is no quantity.",
                    "write it as 256Mi, 8Gi, 100m or 2.",
                )


def _number(amounts: Mapping[str, str], name: str) -> Fraction | None:
    return quantity(amounts[name]) if name in amounts else None


def _limit_range(tier: Tier) -> Iterator[Finding]:
    if tier.limits is None:
        return
    limits = tier.limits
    order = (
        ("min", limits.min),
        ("defaultRequest", limits.default_request),
        ("default", limits.default),
        ("max", limits.max),
    )
    for name in sorted({name for _field, amounts in order for name in amounts}):
        there = [(field, amounts[name], _number(amounts, name)) for field, amounts in order if name in amounts]
        for (lower, low, small), (upper, high, large) in itertools.pairwise(there):
            if small is not None and large is not None and small > large:
                yield Finding(
                    tier.name,
                    f"limit_range.{lower}.{name}",
                    "limits-order",
                    f"{low} is more than limit_range.{upper}.{name}, {high}.",
                    "keep min <= defaultRequest <= default <= max.",
                )
        if name in limits.max and name not in limits.default:
            yield Finding(
                tier.name,
                f"limit_range.max.{name}",
                "max-without-default",
                f"containers without a limit get {limits.max[name]}.",
                f"give limit_range.default.{name}.",
                "warning",
            )
    for name in limits.ratio:
        why, fix = _ratio(limits, name)
        if why:
            yield Finding(tier.name, f"limit_range.maxLimitRequestRatio.{name}", "ratio", why, fix)


def _ratio(limits: Limits, name: str) -> tuple[str, str]:
    """Return what is wrong with the ratio of a resource, with what the API server fills in, and the fix."""
    text, ratio = limits.ratio[name], quantity(limits.ratio[name]) or Fraction(0)
    largest, smallest = _number(limits.max, name), _number(limits.min, name)
    if ratio < 1:
        return f"{text} is less than 1, which the API server refuses.", "give 1 or more."
    if largest is not None and smallest and ratio > largest / smallest:
        return (
            f"{text} is more than max {limits.max[name]} by min {limits.min[name]}, which the API server refuses.",
            "lower the ratio.",
        )
    default = {**limits.max, **limits.default}
    requests = {**limits.min, **default, **limits.default_request}
    limit, request = _number(default, name), _number(requests, name)
    if not limit or not request:
        lacking = "defaultRequest" if limit else "default"
        return (
            f"there is no {lacking}.{name}: a pod that says nothing is rejected.",
            f"give limit_range.{lacking}.{name}, or remove the ratio.",
        )
    if limit / request > ratio:
        return (
            f"default {default[name]} is more than {text} times defaultRequest {requests[name]}: "
            "a pod that says nothing is rejected.",
            "raise the ratio or defaultRequest, or lower default.",
        )
    return "", ""


def _quota(tier: Tier) -> Iterator[Finding]:
    if tier.quota is None:
        return
    hard, limits = tier.quota.hard, tier.limits
    for key in sorted(hard):
        kind, _dot, name = key.partition(".")
        if key in ("cpu", "memory"):
            kind, name = "requests", key  # older spelling of the same
        if kind not in ("requests", "limits") or name not in _RESOURCES:
            continue
        if key == "limits.cpu" and (tier.pods.strip_cpu_limits or not (limits and "cpu" in limits.default)):
            why = "are taken away" if tier.pods.strip_cpu_limits else "have no default"
            yield Finding(
                tier.name,
                "quota.hard.limits.cpu",
                "cpu-limit-quota",
                f"CPU limits {why}, so that no pod could start, though the error names limits.cpu as missing.",
                "remove limits.cpu from the quota.",
            )
            continue
        given: Mapping[str, str] = {}
        if limits:
            # Max without default is the default; without a request, the limit is the request, or else min.
            default = {**limits.max, **limits.default}
            given = default if kind == "limits" else {**limits.min, **default, **limits.default_request}
        # Ephemeral storage is counted where it is given, and need not be.
        if name not in given and name != "ephemeral-storage":
            field = "default" if kind == "limits" else "defaultRequest"
            yield Finding(
                tier.name,
                f"quota.hard.{key}",
                "quota-without-default",
                f"the LimitRange gives no {field}.{name}: pods that say nothing are rejected.",
                f"give limit_range.{field}.{name}, or remove {key} from the quota.",
            )
        yield from _room(tier, key, kind, name, given)
    pods, more = _number(hard, "pods"), _number(tier.surge, "pods")
    if pods is not None and more is not None and 1 + more > pods:
        yield Finding(
            tier.name,
            "quota.hard.pods",
            "quota-too-small",
            f"{hard['pods']} is less than one pod and the headroom of {tier.surge['pods']}.",
            "raise the quota, or lower surge_headroom.",
        )
    if limits:
        yield from _largest(tier)


def _room(tier: Tier, key: str, kind: str, name: str, given: Mapping[str, str]) -> Iterator[Finding]:
    if tier.quota is None:
        return
    total, one = _number(tier.quota.hard, key), _number(given, name)
    headroom = _number(tier.surge, name) or Fraction(0)
    if total is None or one is None:
        return
    if one > total:
        what = "request" if kind == "requests" else "limit"
        yield Finding(
            tier.name,
            f"quota.hard.{key}",
            "quota-without-room",
            f"{tier.quota.hard[key]} is less than the default {what} of one container, {given[name]}.",
            "raise the quota or lower the default.",
        )
    elif kind == "requests" and f"limits.{name}" not in tier.quota.hard and one + headroom > total:
        # Where limits are counted, the headroom is theirs.
        yield Finding(
            tier.name,
            f"quota.hard.{key}",
            "quota-too-small",
            f"{tier.quota.hard[key]} is less than the default request of one container, {given[name]}, "
            f"and the headroom of {tier.surge[name]}.",
            "raise the quota, or lower surge_headroom.",
        )


def _largest(tier: Tier) -> Iterator[Finding]:
    """The quota holds the largest container and what a rollout needs on top."""
    if tier.quota is None or tier.limits is None:
        return
    for name in _RESOURCES:
        largest = _number(tier.limits.max, name)
        if largest is None:
            continue
        headroom = _number(tier.surge, name) or Fraction(0)
        key = f"limits.{name}"
        total = _number(tier.quota.hard, key)
        if total is None or largest + headroom <= total:
            continue
        extra = f" and the headroom of {tier.surge[name]}" if headroom else ""
        yield Finding(
            tier.name,
            f"quota.hard.{key}",
            "quota-too-small",
            f"{tier.quota.hard[key]} is less than the largest container, {tier.limits.max[name]}{extra}.",
            f"raise the quota, or lower limit_range.max.{name}.",
        )


# -- the whole table -----------------------------------------------------------------------------------------------


def _whole(table: Table) -> Iterator[Finding]:
    for pattern in table.exclusions:
        if not _EXCLUSION.fullmatch(pattern):
            yield Finding(
                "",
                "exclusions",
                "exclusion-form",
                f"{pattern!r} is neither the name of a namespace nor a beginning of names: it excludes other "
                "namespaces than meant, or none.",
                "full names, or a beginning with * at the end, as metallb-*.",
            )
    for what, examples in MUST_EXCLUDE.items():
        if not any(table.excluded(example) for example in examples):
            yield Finding(
                "",
                "exclusions",
                "exclusions",
                f"{what} is not excluded ({' or '.join(examples)}).",
                f"add {examples[0]} to exclusions or more_exclusions.",
            )
    if table.gpu and not any(tier.gpu for tier in table.tiers):
        yield Finding(
            "",
            "gpu",
            "gpu-unused",
            f"no namespace tier has gpu, so nobody gets {table.gpu.priority.name}.",
            "set gpu on a namespace tier, or take gpu away.",
            "warning",
        )


def _secrets(table: Table) -> Iterator[Finding]:
    for one in table.secrets:
        where = f"distribute[{one.name}]"
        allowed = bool(one.namespaces) or bool(one.labels and one.way == "external_secrets")
        listed = not any("*" in name or not _LABEL.fullmatch(name) for name in one.namespaces)
        if not allowed or not listed or (one.namespaces and one.labels):
            yield Finding(
                "",
                f"{where}.namespaces",
                "copy-without-allow-list",
                "it does not say which namespaces may have it.",
                "list full names of namespaces"
                + (", or labels of namespaces that opted in, not both." if one.way == "external_secrets" else "."),
            )
        for name in one.namespaces:
            if table.excluded(name):
                yield Finding(
                    "",
                    f"{where}.namespaces",
                    "copy-excluded",
                    f"{name} is excluded.",
                    "take it off the list: what excluded namespaces need, their own installation brings.",
                )


def _shown(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _backends(table: Table, target: Target) -> Iterator[Finding]:
    backends = target.backends
    uses = sorted({"limits", "pods", "guards"} & {k for k, v in dataclasses.asdict(backends).items() if v == "kyverno"})
    if uses and target.kyverno and target.kyverno < CEL_SINCE:
        yield Finding(
            "",
            uses[0],
            "kyverno-too-old",
            f"Kyverno {_shown(target.kyverno)} has no policies.kyverno.io/v1.",
            f"update Kyverno to {_shown(CEL_SINCE)} or newer, or use native and static.",
        )
    if backends.limits == "kyverno" and target.kyverno and target.kyverno < SYNC_SINCE:
        yield Finding(
            "",
            "limits",
            "sync-too-early",
            f"Kyverno {_shown(target.kyverno)} deletes and recreates what it synchronises.",
            f"update Kyverno to {_shown(SYNC_SINCE)} or newer, or use limits: static.",
            "error" if target.strict else "warning",
        )
    for field, since, kind in (
        ("pods", PODS_NATIVE_SINCE, "MutatingAdmissionPolicy"),
        ("guards", GUARDS_NATIVE_SINCE, "ValidatingAdmissionPolicy"),
    ):
        if getattr(backends, field) == "native" and target.kubernetes and target.kubernetes < since:
            yield Finding(
                "",
                field,
                "native-too-old",
                f"Kubernetes {_shown(target.kubernetes)} has no {kind} of version v1.",
                f"use {field}: kyverno, or update Kubernetes to {_shown(since)} or newer.",
            )
    if backends.pods == "kyverno" and table.failure_policy == "Fail" and not table.accept_deadlock_risk:
        yield Finding(
            "",
            "failure_policy",
            "pods-fail",
            "with Fail, no pod starts while Kyverno is down, which may include Kyverno's own.",
            "use Ignore, or pods: native, or say accept_deadlock_risk: true.",
        )
    # Match conditions of a policy: exclusions by beginning are one, the namespace tier and the opt-out two more.
    for tier in table.compiled:
        if len(tier.rules) >= CONDITIONS:
            yield Finding(
                tier.name,
                "rules",
                "too-many-conditions",
                f"{len(tier.rules)} rules are more than one policy should carry.",
                f"keep them below {CONDITIONS}; join rules with && in one expression.",
            )


# -- a cluster -----------------------------------------------------------------------------------------------------


def _metadata(one: Mapping[str, t.Any]) -> Mapping[str, t.Any]:
    value = one.get("metadata")
    return value if isinstance(value, Mapping) else {}


def _cluster(table: Table, target: Target) -> Iterator[Finding]:
    nodes = [one for one in target.objects if one.get("kind") == "Node"]
    namespaces = [one for one in target.objects if one.get("kind") == "Namespace"]
    resolved = {str(_metadata(one).get("name")): resolving.of_object(table, one) for one in namespaces}
    if nodes:
        yield from _daemonsets(table, len(nodes))
    if nodes and namespaces:
        yield from _overcommit(table, nodes, [one.tier for one in resolved.values() if not one.custom_quota])
    for name, its in sorted(resolved.items()):
        for conflict in its.conflicts:
            yield Finding(
                its.tier if its.tiered else "",
                f"namespace {name}",
                "tier-conflict",
                f"{conflict}.",
                "change the label or the map, so that all sources say the same.",
                "warning",
            )
    for one in target.objects:
        if one.get("kind") == "PriorityClass" and one.get("globalDefault"):
            yield Finding(
                "",
                f"PriorityClass {_metadata(one).get('name')}",
                "global-default",
                "it is the global default: every pod has a class before a policy sees it, and none is ever injected.",
                "set globalDefault to false there.",
            )
        if one.get("kind") in ("LimitRange", "ResourceQuota"):
            yield from _owners(table, target, one, resolved)


def _daemonsets(table: Table, nodes: int) -> Iterator[Finding]:
    for tier in table.tiers:
        pods = _number(tier.quota.hard, "pods") if tier.quota else None
        if tier.daemonsets and tier.quota and pods is not None and pods < nodes:
            yield Finding(
                tier.name,
                "quota.hard.pods",
                "quota-pods-nodes",
                f"{tier.quota.hard['pods']} is less than the {nodes} nodes on which a DaemonSet has pods.",
                "raise it above the number of nodes that there may be.",
                "warning",
            )


def _overcommit(table: Table, nodes: Sequence[Mapping[str, t.Any]], tiers: Sequence[str]) -> Iterator[Finding]:
    for name in ("cpu", "memory"):
        there = Fraction(0)
        for node in nodes:
            status = node.get("status") if isinstance(node.get("status"), Mapping) else {}
            there += quantity((t.cast(Mapping[str, t.Any], status).get("allocatable") or {}).get(name)) or 0
        promised = Fraction(0)
        for tier in tiers:
            quota = table.tier(tier).quota if tier else None
            promised += (_number(quota.hard, f"requests.{name}") if quota else None) or 0
        if there and promised > there:
            yield Finding(
                "",
                f"quota.hard.requests.{name}",
                "overcommit",
                f"the quotas of all namespaces promise {float(promised / there):.1f} times what the nodes have.",
                "nothing, if the namespaces never use it at the same time; otherwise lower the quotas.",
                "warning",
            )


def _owners(
    table: Table, target: Target, one: Mapping[str, t.Any], resolved: Mapping[str, resolving.Resolution]
) -> Iterator[Finding]:
    meta = _metadata(one)
    ours = table.limit_range if one["kind"] == "LimitRange" else table.quota
    if meta.get("name") != ours:
        return
    labels = meta.get("labels") or {}
    owner = ""
    for key, who in (
        ("kustomize.toolkit.fluxcd.io/name", "Flux Kustomization"),
        ("helm.toolkit.fluxcd.io/name", "Flux HelmRelease"),
        ("argocd.argoproj.io/instance", "Argo CD application"),
    ):
        if labels.get(key):
            owner = f"{who} {labels[key]}"
    policy = labels.get("generate.kyverno.io/policy-name")
    if policy and (target.backends.limits == "static" or labels.get("app.kubernetes.io/part-of") != PART_OF):
        owner = f"Kyverno policy {policy}"
    if not owner:
        return
    namespace = str(meta.get("namespace", ""))
    tier = resolved[namespace].tier if namespace in resolved else ""
    if namespace in resolved and one["kind"] not in {kind for kind, *_rest in wanted(table, resolved[namespace])}:
        return  # excluded, or opted out: nothing is made here
    yield Finding(
        tier,
        f"{one['kind']} {namespace}/{ours}",
        "two-owners",
        f"it also belongs to {owner}.",
        "take it out there, or choose other names by names.limit_range and names.quota.",
    )


# -- policies that others wrote ------------------------------------------------------------------------------------


def lint(policy: Mapping[str, t.Any], target: Target) -> Iterator[Finding]:
    """Yield what is wrong with one policy, ours or somebody's, classic or not."""
    kind, group = str(policy.get("kind")), str(policy.get("apiVersion", "")).partition("/")[0]
    where = f"{kind} {_metadata(policy).get('name')}"
    spec = policy.get("spec")
    if not isinstance(spec, Mapping):
        return
    if group == "kyverno.io" and kind in ("ClusterPolicy", "Policy"):
        yield from _lint_classic(where, policy, spec, target)
        return
    if len(spec.get("matchConditions") or ()) >= CONDITIONS:
        yield Finding(
            "",
            where,
            "too-many-conditions",
            f"{len(spec['matchConditions'])} match conditions are too many.",
            f"keep them below {CONDITIONS}: join them in one expression.",
        )
    rules = ((spec.get("matchConstraints") or {}).get("resourceRules")) or []
    operations = {str(op) for one in rules for op in one.get("operations") or ()}
    pods = any({"pods", "*", "*/*"} & {str(name) for name in one.get("resources") or ()} for one in rules)
    if kind in ("MutatingPolicy", "NamespacedMutatingPolicy", "MutatingAdmissionPolicy") and pods:
        yield from _lint_pods(where, kind, spec, operations)
    if kind in ("GeneratingPolicy", "NamespacedGeneratingPolicy"):
        sync = ((spec.get("evaluation") or {}).get("synchronize") or {}).get("enabled")
        if sync and operations and not operations & {"UPDATE", "*"}:
            yield _without_update(where)
        if sync and target.kyverno and target.kyverno < SYNC_SINCE:
            yield Finding(
                "",
                where,
                "sync-too-early",
                f"Kyverno {_shown(target.kyverno)} deletes and recreates what it synchronises.",
                f"update Kyverno to {_shown(SYNC_SINCE)} or newer, or switch synchronize off.",
                "error" if target.strict else "warning",
            )


def _without_update(where: str) -> Finding:
    return Finding(
        "",
        where,
        "sync-without-update",
        "it synchronises and looks at CREATE only: the next change of a namespace takes away what was generated.",
        "add UPDATE to operations.",
    )


def _lint_pods(where: str, kind: str, spec: Mapping[str, t.Any], operations: set[str]) -> Iterator[Finding]:
    if operations != {"CREATE"}:
        yield Finding(
            "",
            where,
            "policy-not-create-only",
            f"it changes pods on {', '.join(sorted(operations)) or 'everything'}: later than CREATE that is refused, "
            "and pods get stuck in Terminating.",
            "operations: [CREATE].",
        )
    if kind == "MutatingAdmissionPolicy":
        return
    controllers = ((spec.get("autogen") or {}).get("podControllers") or {}).get("controllers")
    if controllers is None or controllers:
        yield Finding(
            "",
            where,
            "policy-autogen",
            "it also changes the templates of Deployments and the like: drift for whoever owns them.",
            "autogen: {podControllers: {controllers: []}}.",
        )
    if spec.get("failurePolicy", "Fail") == "Fail":
        yield Finding(
            "",
            where,
            "pods-fail",
            "with Fail, no pod starts while Kyverno is down.",
            "failurePolicy: Ignore.",
        )


def _lint_classic(
    where: str, policy: Mapping[str, t.Any], spec: Mapping[str, t.Any], target: Target
) -> Iterator[Finding]:
    if target.kyverno and target.kyverno >= CLASSIC_UNTIL:
        yield Finding(
            "",
            where,
            "classic-too-late",
            f"Kyverno {_shown(target.kyverno)} refuses kyverno.io/v1 policies.",
            "move it with tier_import, and delete it before the update.",
        )
    changing = [one for one in spec.get("rules") or () if isinstance(one, Mapping) and one.get("mutate")]
    autogen = (_metadata(policy).get("annotations") or {}).get("pod-policies.kyverno.io/autogen-controllers")
    if changing and autogen != "none" and any("Pod" in _kinds(one) for one in changing):
        yield Finding(
            "",
            where,
            "policy-autogen",
            "it also changes the templates of Deployments and the like: drift for whoever owns them.",
            "annotation pod-policies.kyverno.io/autogen-controllers: none.",
        )
    for rule in changing:
        operations = _classic_operations(rule)
        if "Pod" in _kinds(rule) and operations != {"CREATE"}:
            yield Finding(
                "",
                f"{where}, rule {rule.get('name')}",
                "policy-not-create-only",
                "it changes pods later than CREATE, which they cannot be, and they get stuck in Terminating.",
                "operations: [CREATE].",
            )
    for rule in spec.get("rules") or ():
        generate = rule.get("generate") if isinstance(rule, Mapping) else None
        if isinstance(generate, Mapping) and generate.get("synchronize") and _classic_operations(rule) == {"CREATE"}:
            yield _without_update(f"{where}, rule {rule.get('name')}")


def _matches(rule: Mapping[str, t.Any]) -> Iterator[Mapping[str, t.Any]]:
    match = rule.get("match") or {}
    for group in [match, *(match.get("any") or ()), *(match.get("all") or ())]:
        if isinstance(group, Mapping) and isinstance(group.get("resources"), Mapping):
            yield group["resources"]


def _kinds(rule: Mapping[str, t.Any]) -> set[str]:
    return {str(kind).rpartition("/")[2] for one in _matches(rule) for kind in one.get("kinds") or ()}


def _classic_operations(rule: Mapping[str, t.Any]) -> set[str]:
    found = [set(map(str, one.get("operations") or ("CREATE", "UPDATE"))) for one in _matches(rule)]
    return set().union(*found) if found else set()


def errors(found: Iterable[Finding]) -> list[Finding]:
    """Return the findings that forbid compiling."""
    return [one for one in found if one.severity == "error"]


def warned(found: Iterable[Finding]) -> list[str]:
    """Return what the other findings say."""
    return [one.as_dict()["message"] for one in found if one.severity == "warning"]


def refusals(found: Iterable[Finding]) -> list[str]:
    """Return a sentence for each finding that forbids compiling, with its rule and what to do."""
    wrong = [one.as_dict() for one in errors(found)]
    return [f"{one['message']} [{one['id']}] Fix: {one['fix']}" for one in wrong]
