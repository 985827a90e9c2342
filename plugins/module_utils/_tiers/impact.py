# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What breaks if a table is applied: the old table and the new one against live objects, from a cluster or a dump.

Nothing here reads a cluster or writes one. Workloads that are owned by others (a ReplicaSet of a Deployment, a Job of a
CronJob) are seen through their owners. All LimitRanges and ResourceQuotas count that a namespace would have afterwards:
those of the table, and what others have made there, as the API server heeds all of them.
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

from .._core.errors import InvalidInput
from . import demand, growth
from .growth import WORKLOADS, meta, name, template
from .guards import allowed_classes
from .limits import wanted
from .model import Table, Tier
from .parts import PART_OF
from .pods import classes
from .quotas import Made, Quota, make
from .resolve import Resolution, of_object

Object = Mapping[str, t.Any]

#: Every verdict, the worst first, and what it means.
VERDICTS: t.Final[Mapping[str, str]] = {
    "rejected": "a pod breaks a LimitRange or is larger than a quota: the next rollout has no pods",
    "class-refused": "a pod names a class that its namespace tier does not allow: the next one is refused",
    "no-default": "a container lacks what a quota counts, and nothing gives it: the next pod is rejected",
    "frozen": "more is used than a quota allows: the next pod is rejected, running ones stay",
    "no-surge": "a rollout does not fit into a quota",
    "no-growth": "an autoscaler, a DaemonSet on more nodes, or jobs at their peak do not fit into a quota",
    "not-seen": "something could not be read that is needed to judge the namespace",
    "double-owner": "somebody else writes the same LimitRange or ResourceQuota",
    "orphan": "a LimitRange or ResourceQuota is left over or stands beside, and applies as well",
    "tier-lost": "the namespace had a namespace tier, and no source of the new table names one",
    "tier-conflict": "the sources of the namespace tier disagree",
    "missed-injection": "a pod lacks class or ndots of its namespace tier, or has a CPU limit that is taken away there",
    "will-change-priority": "pods get another class, or one of another value, when they are made again",
    "on-defaults": "containers give no memory limit and live on a LimitRange's",
    "opt-out": "an opt-out is in force",
    "hold": "an operator holds the namespace",
}
OK: t.Final = "ok"
#: Kinds that say what a namespace's pods are and do.
KINDS: t.Final = ("Namespace", "Pod", "LimitRange", "ResourceQuota", *WORKLOADS, "HorizontalPodAutoscaler", "Node")
_ORDER: t.Final = {one: place for place, one in enumerate(VERDICTS)}
_NONE: t.Final = Fraction(0)
_NOTHING: t.Final = demand.Defaults()
_T = t.TypeVar("_T")


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
    scalers: dict[tuple[str, str], Object] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Site:
    """What is the same for all namespaces."""

    old: Table | None
    new: Table
    nodes: Sequence[Object]
    more_nodes: int
    default_class: str
    unseen: Collection[str]
    #: What was reckoned before: many pods and many namespaces are alike.
    known: dict[t.Any, t.Any] = dataclasses.field(default_factory=dict)

    def once(self, key: t.Any, make_it: t.Callable[[], _T]) -> _T:
        """Return what is known for *key*, or make it."""
        if key not in self.known:
            self.known[key] = make_it()
        found: _T = self.known[key]
        return found

    def as_it_is(self, spec: Mapping[str, t.Any]) -> Made:
        """Return a live pod: what was to be put in and filled in was, when it was made."""
        has = str(spec.get("priorityClassName") or "")
        return self.once(("live", repr(spec)), lambda: make(spec, has, _NOTHING, strip_cpu=False))

    def items(self, owner: str, spec: Mapping[str, t.Any]) -> list[demand.Item]:
        """Return the entries of a LimitRange."""
        return self.once(("items", owner, repr(spec)), lambda: demand.Item.of(owner, spec))

    def quota(self, owner: str, spec: Mapping[str, t.Any]) -> Quota:
        """Return a quota."""
        return self.once(("quota", owner, repr(spec)), lambda: Quota.of(owner, spec))


@dataclasses.dataclass(frozen=True)
class _Template:
    """Something of which pods are made.

    :ivar pods: those that it has, as far as its selector tells.
    """

    what: str
    spec: Mapping[str, t.Any]
    made: Made
    workload: Object | None = None
    pods: tuple[Object, ...] = ()


def impact(
    old: Table | None,
    new: Table,
    objects: Iterable[Object],
    *,
    more_nodes: int = 1,
    unseen: Collection[str] = (),
) -> list[dict[str, t.Any]]:
    """Return one entry for each namespace, sorted by name: namespace tiers, changes, verdicts, and whether it is ok.

    :param more_nodes: how many nodes may come, for DaemonSets. :param unseen: kinds that could not be read.
    """
    spaces: dict[str, _Namespace] = {}
    inside: list[Object] = []
    nodes: list[Object] = []
    default_class = ""
    for one in objects:
        kind = one.get("kind")
        if kind == "Namespace":
            spaces[name(one)] = _Namespace(of_object(new, one), of_object(old, one) if old else None)
        elif kind == "Node":
            nodes.append(one)
        elif kind == "PriorityClass":
            default_class = name(one) if one.get("globalDefault") else default_class
        elif kind in KINDS:
            inside.append(one)
    for one in inside:
        space = spaces.get(str(meta(one).get("namespace", "")))
        if space is not None:
            _sort_in(space, one)
    site = _Site(old, new, nodes, more_nodes, default_class, unseen)
    return [_row(site, spaces[key]) for key in sorted(spaces)]


def _sort_in(space: _Namespace, one: Object) -> None:
    kind = one["kind"]
    if kind == "Pod":
        space.pods.append(one)
    elif kind in WORKLOADS:
        if not any(_controlled_by(owner, WORKLOADS) for owner in meta(one).get("ownerReferences") or ()):
            space.workloads.append(one)
    elif kind == "HorizontalPodAutoscaler":
        target = (one.get("spec") or {}).get("scaleTargetRef") or {}
        space.scalers[str(target.get("kind", "")), str(target.get("name", ""))] = one
    else:
        space.limits.append(one)


def _controlled_by(owner: Object, kinds: Collection[str]) -> bool:
    """Say whether an owner is a workload that is looked at itself; an operator's own kind is not."""
    group = str(owner.get("apiVersion") or "apps/").partition("/")[0]
    return bool(owner.get("controller")) and owner.get("kind") in kinds and group in ("apps", "batch")


def check_verdicts(chosen: Iterable[str], known: Collection[str]) -> None:
    """Refuse what is no verdict.

    :raises InvalidInput: when *chosen* names what is not in *known*.
    """
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise InvalidInput(
            f"{', '.join(unknown)} is no verdict.",
            item="fail_on",
            rule="choice",
            fix=f"some of {', '.join(known)}.",
        )


def failing(rows: Iterable[Mapping[str, t.Any]], fail_on: Iterable[str]) -> list[str]:
    """Return ``namespace: verdict`` for each verdict that is to fail a run, without doubles.

    :raises InvalidInput: when *fail_on* names what is no verdict.
    """
    chosen = list(fail_on)
    check_verdicts(chosen, VERDICTS)
    return list(
        dict.fromkeys(
            f"{row['namespace']}: {one['verdict']}"
            for row in rows
            for one in row["verdicts"]
            if one["verdict"] in chosen
        )
    )


def _row(site: _Site, space: _Namespace) -> dict[str, t.Any]:
    new, resolution = site.new, space.resolution
    found: list[Verdict] = [Verdict("tier-conflict", "", text) for text in resolution.conflicts]
    quotas: list[dict[str, str]] = []
    unjudged: list[str] = []
    if space.before and space.before.tiered and not resolution.tiered:
        found.append(Verdict("tier-lost", "", f"it was in {space.before.tier}, and is {resolution.tier or 'excluded'}"))
    elif space.before and space.before.said and resolution.source == "fallback":
        found.append(Verdict("tier-lost", "", f"it was in {space.before.tier}, and falls back to {resolution.tier}"))
    found += _left_over(new, space)
    found += _unseen(site)
    if resolution.tier:
        tier = new.tier(resolution.tier)
        found += _opted(new, resolution)
        ground = _Ground(site, space, tier)
        found += ground.containers()
        found += ground.quotas_and_pods(quotas, unjudged)
        if not resolution.hold:
            found += _pods(site, tier, space)
    found = sorted(dict.fromkeys(found), key=lambda one: (_ORDER[one.verdict], one.what, one.message))
    return {
        "namespace": resolution.namespace,
        "tier": resolution.tier,
        "source": resolution.source,
        "before": space.before.tier if space.before else "",
        "changes": _changes(new, space),
        "pods": len(space.pods),
        "quotas": quotas,
        "not_reckoned": unjudged,
        "verdict": found[0].verdict if found else OK,
        "ok": not found,
        "verdicts": [one.as_dict() for one in found],
    }


def _opted(new: Table, resolution: Resolution) -> Iterator[Verdict]:
    for set_, label in ((resolution.custom_limits, new.optout_limits), (resolution.custom_quota, new.optout_quota)):
        if set_:
            yield Verdict("opt-out", label, f"the label {label} is set")
    if resolution.hold:
        yield Verdict("hold", new.hold, f"until {resolution.hold}")


def _unseen(site: _Site) -> Iterator[Verdict]:
    if site.unseen:
        yield Verdict("not-seen", "", f"not read: {', '.join(sorted(site.unseen))}")


# -- what is there already -----------------------------------------------------------------------------------------


def _left_over(new: Table, space: _Namespace) -> Iterator[Verdict]:
    mine = {(kind, name_) for kind, name_, _spec in wanted(new, space.resolution)}
    for one in space.limits:
        key = (str(one["kind"]), name(one))
        labels = meta(one).get("labels") or {}
        what = f"{key[0]} {key[1]}"
        ours = labels.get("app.kubernetes.io/part-of") == PART_OF
        if key in mine:
            owners = _owners(one)
            # By hand alone is no second owner: it is taken over once. What runs again and again is.
            others = owners - {"hackspace.infra"} - ({"Kyverno"} if ours else set())
            if others - {"kubectl"} or len(owners) > 1:
                yield Verdict("double-owner", what, f"written by {' and '.join(sorted(owners))}, and by the table")
        elif ours or (labels.get("generate.kyverno.io/policy-name") and space.resolution.tier):
            yield Verdict("orphan", what, "it was made for a namespace tier, and is not wanted any more")
        elif any(kind == key[0] for kind, _name in mine):
            yield Verdict("orphan", what, "it applies beside that of the namespace tier; the strictest wins")


_MANAGERS: t.Final = (
    ("kustomize-controller", "Flux"),
    ("helm", "Helm"),
    ("argocd", "Argo CD"),
    ("kyverno", "Kyverno"),
    ("background-controller", "Kyverno"),
    ("terraform", "Terraform"),
    ("hackspace.infra", "hackspace.infra"),
    ("kubectl", "kubectl"),
)


def _owners(one: Object) -> set[str]:
    labels, annotations = meta(one).get("labels") or {}, meta(one).get("annotations") or {}
    found = set()
    for place, key, who in (
        (labels, "generate.kyverno.io/policy-name", "Kyverno"),
        (labels, "kustomize.toolkit.fluxcd.io/name", "Flux"),
        (labels, "helm.toolkit.fluxcd.io/name", "Flux"),
        (annotations, "meta.helm.sh/release-name", "Helm"),
        (labels, "argocd.argoproj.io/instance", "Argo CD"),
        (annotations, "argocd.argoproj.io/tracking-id", "Argo CD"),
    ):
        if place.get(key):
            found.add(who)
    for field in meta(one).get("managedFields") or ():
        # Who writes only the status, or a label, owns nothing.
        if field.get("subresource") or ("fieldsV1" in field and "f:spec" not in field["fieldsV1"]):
            continue
        manager = str(field.get("manager", "")).lower()
        found |= {who for part, who in _MANAGERS if part in manager}
    return found


def _flat(spec: Mapping[str, t.Any]) -> dict[str, str]:
    """Return the amounts of a LimitRange or ResourceQuota by place."""
    flat = {f"hard.{key}": str(value) for key, value in (spec.get("hard") or {}).items()}
    if spec.get("scopes"):
        flat["scopes"] = ", ".join(spec["scopes"])
    for item in spec.get("limits") or ():
        for field, amounts in item.items():
            if isinstance(amounts, Mapping):
                kind = "" if item.get("type") == "Container" else f"{item.get('type')}."
                flat.update({f"{kind}{field}.{key}": str(value) for key, value in amounts.items()})
    return flat


def _changes(new: Table, space: _Namespace) -> list[str]:
    """Return what applying the table changes about the namespace's limits."""
    there = {(str(one["kind"]), name(one)): one for one in space.limits}
    changes = []
    for kind, name_, spec in wanted(new, space.resolution):
        one = there.get((kind, name_))
        if one is None:
            changes.append(f"{kind} {name_}: new")
            continue
        is_, will = _flat(one.get("spec") or {}), _flat(spec)
        if kind == "LimitRange":
            # What the API server has filled in is no difference.
            for key, value in will.copy().items():
                field, _dot, resource = key.partition(".")
                for later in {"max": ("default", "defaultRequest"), "default": ("defaultRequest",)}.get(field, ()):
                    will.setdefault(f"{later}.{resource}", will.get(f"default.{resource}", value))
            for key, value in will.copy().items():
                if key.startswith("min."):
                    will.setdefault(f"defaultRequest.{key.removeprefix('min.')}", value)
        changes += [
            f"{kind} {name_}: {key} {is_.get(key, 'none')} -> {will.get(key, 'none')}"
            for key in sorted({*is_, *will})
            if is_.get(key) != will.get(key) and not _same(is_.get(key), will.get(key))
        ]
    return changes


def _same(one: str | None, other: str | None) -> bool:
    first, second = demand.amount(one), demand.amount(other)
    return first is not None and first == second


# -- pods that are to come, against LimitRanges and quotas -----------------------------------------------------------


def _shown(value: Fraction) -> str:
    for suffix, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if value >= size and (value / size).denominator == 1:
            return f"{value / size}{suffix}"
    return str(value) if value.denominator == 1 else f"{float(value * 1000):g}m"


class _Ground:
    """One namespace as it would be with the table applied."""

    def __init__(self, site: _Site, space: _Namespace, tier: Tier) -> None:
        self.site, self.space, self.tier = site, space, tier
        table, its = site.new, wanted(site.new, space.resolution)
        replaced = {(kind, name_) for kind, name_, _spec in its}
        stays = [one for one in space.limits if (str(one["kind"]), name(one)) not in replaced]
        limits = [(name_, spec) for kind, name_, spec in its if kind == "LimitRange"]
        limits += [(name(one), one.get("spec") or {}) for one in stays if one["kind"] == "LimitRange"]
        self.items = [item for owner, spec in limits for item in site.items(owner, spec)]
        self.quotas = [site.quota(name_, spec) for kind, name_, spec in its if kind == "ResourceQuota"]
        self.quotas += [site.quota(name(one), one.get("spec") or {}) for one in stays if one["kind"] == "ResourceQuota"]
        self.defaults = site.once(
            ("defaults", *(id(item) for item in self.items)), lambda: demand.Defaults.merged(self.items)
        )
        self.held = bool(space.resolution.hold)
        self.strip = tier.pods.strip_cpu_limits and not self.held
        self.allowed = allowed_classes(table, tier)
        self.live = [(pod, site.as_it_is(pod.get("spec") or {})) for pod in space.pods if demand.counts(pod)]

    def class_of(self, spec: Mapping[str, t.Any]) -> str:
        """Return the class of a pod after what is put in."""
        has = str(spec.get("priorityClassName") or self.site.default_class)
        return has if self.held else _injected(self.site.new, self.tier, spec, has)

    @functools.cached_property
    def templates(self) -> list[_Template]:
        """Return everything of which pods are made: workloads, and pods that have none."""
        found = []
        for one in self.space.workloads:
            if not (one["kind"] == "Job" and growth.ended(one)):
                found.append(self._template(f"{one['kind']} {name(one)}", template(one), one))
        selectors = [
            (one.get("spec") or {}).get("selector")
            for one in self.space.workloads
            if one["kind"] in ("Deployment", "StatefulSet", "DaemonSet")
        ]
        for pod, _made in self.live:
            labels = meta(pod).get("labels") or {}
            if any(growth.selects(one, labels) for one in selectors):
                continue
            # Of a Job, the labels of its pods tell nothing. What others control is looked at as it is.
            if any(_controlled_by(owner, ("Job",)) for owner in meta(pod).get("ownerReferences") or ()):
                continue
            if "kubernetes.io/config.mirror" not in (meta(pod).get("annotations") or {}):
                found.append(self._template(f"Pod {name(pod)}", self._as_made(pod), None))
        return found

    def _as_made(self, pod: Object) -> Mapping[str, t.Any]:
        """Return the ``spec`` of a pod as whoever controls it makes it: without the class that a table put in."""
        spec = pod.get("spec") or {}
        injected = self.site.old.class_names if self.site.old else ()
        controlled = any(owner.get("controller") for owner in meta(pod).get("ownerReferences") or ())
        if controlled and spec.get("priorityClassName") in injected:
            return {key: value for key, value in spec.items() if key != "priorityClassName"}
        return spec

    def _template(self, what: str, spec: Mapping[str, t.Any], workload: Object | None) -> _Template:
        given = self.class_of(spec)
        made = self.site.once(
            ("made", repr(spec), given, id(self.defaults), self.strip),
            lambda: make(spec, given, self.defaults, self.strip),
        )
        mine: tuple[Object, ...] = ()
        if workload is not None and workload["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
            selector = (workload.get("spec") or {}).get("selector")
            mine = tuple(pod for pod, _made in self.live if growth.selects(selector, meta(pod).get("labels") or {}))
        return _Template(what, spec, made, workload, mine)

    # -- LimitRanges -----------------------------------------------------------------------------------------------

    def containers(self) -> Iterator[Verdict]:
        """Judge what pods are made of by the LimitRanges, and by the classes that are allowed."""
        for one in self.templates:
            given = str(one.made.priority_class)
            if not self.held and given not in self.allowed:
                allowed = ", ".join(filter(None, self.allowed)) or "none"
                yield Verdict("class-refused", one.what, f"{given} is not allowed; allowed: {allowed}")
            for box in one.made.containers:
                where = f"{one.what}, container {box.name}"
                for item in self.items:
                    if item.type == "Container":
                        yield from _within(item, where, box.requests, box.limits)
                for name_, amount in box.limits.items():
                    # A default limit below a request that the container gives is refused, too.
                    if name_ in box.defaulted and box.requests.get(name_, _NONE) > amount:
                        request = _shown(box.requests[name_])
                        yield Verdict("rejected", where, f"{name_} request {request} is above the default limit")
                if "memory" in box.defaulted and "memory" in box.limits:
                    yield Verdict("on-defaults", where, f"it gets the memory limit {_shown(box.limits['memory'])}")
            if any(item.type == "Pod" for item in self.items):
                requests, limits = demand.sums(one.made.containers, one.spec)
                for item in self.items:
                    if item.type == "Pod":
                        yield from _within(item, f"{one.what}, the whole pod", requests, limits)

    # -- quotas ----------------------------------------------------------------------------------------------------

    def quotas_and_pods(self, shown: list[dict[str, str]], unjudged: list[str]) -> Iterator[Verdict]:
        """Judge what is there and what is to come by the quotas."""
        for quota in self.quotas:
            counted = [made for _pod, made in self.live if quota.counts(made)]
            used = demand.total(self._of(quota, made) for made in counted)
            if "count/pods" in quota.hard:
                # Pods that have ended count as objects, and for nothing else.
                over = [one for one in self.space.pods if not demand.counts(one)]
                ended = sum(quota.counts(self.site.as_it_is(one.get("spec") or {})) for one in over)
                used["count/pods"] = used.get("count/pods", _NONE) + ended
            told = self._told(quota)
            for key in sorted(quota.hard):
                if not quota.judged(key):
                    if key in told:
                        used[key] = told[key]
                    elif key not in unjudged:
                        unjudged.append(key)
            yield from self._frozen(quota, used)
            yield from self._missing(quota)
            peak = dict(used)
            for one in self.templates:
                if quota.counts(one.made):
                    yield from self._fits(quota, used, one, peak)
            shown += [
                {
                    "quota": quota.name,
                    "key": key,
                    "used": _shown(used.get(key, _NONE)),
                    "hard": quota.shown[key],
                    "peak": _shown(peak.get(key, _NONE)),
                }
                for key in sorted(quota.hard)
                if key not in unjudged
            ]

    def _of(self, quota: Quota, made: Made) -> demand.Amounts:
        """Return what a pod counts of what the quota looks at."""
        return self.site.once(
            ("of", id(quota), id(made)), lambda: {k: v for k, v in made.amounts.items() if k in quota.hard}
        )

    def _told(self, quota: Quota) -> demand.Amounts:
        """Return what live quotas without scopes say is used, for what pods do not tell."""
        told: demand.Amounts = {}
        if not quota.scopes:
            for one in self.space.limits:
                spec = one.get("spec") or {}
                if one["kind"] == "ResourceQuota" and not spec.get("scopes") and not spec.get("scopeSelector"):
                    told.update(demand.amounts((one.get("status") or {}).get("used")))
        return told

    def _frozen(self, quota: Quota, used: Mapping[str, Fraction]) -> Iterator[Verdict]:
        for key in sorted(quota.hard):
            what, amount = f"{quota.name}: {key}", used.get(key, _NONE)
            if amount > quota.hard[key]:
                whom = "" if quota.by_every_pod(key) else f"; only what asks for {key} is rejected"
                yield Verdict(
                    "frozen",
                    what,
                    f"{_shown(amount)} is used, {quota.shown[key]} will be allowed by {quota.whose}{whom}",
                )
            elif not quota.hard[key] and quota.by_every_pod(key) and not quota.scopes:
                yield Verdict("frozen", what, f"{quota.whose} allows none")
        if not quota.scopes and "limits.cpu" in quota.hard and self.strip and "cpu" not in self.defaults.limits:
            yield Verdict(
                "frozen", f"{quota.name}: limits.cpu", "CPU limits are taken away, and pods without one are rejected"
            )

    def _missing(self, quota: Quota) -> Iterator[Verdict]:
        for one in self.templates:
            for box, key in quota.missing(one.made):
                kind, name_ = demand.REQUIRED[key]
                yield Verdict("no-default", f"{one.what}, container {box}", f"it has no {kind}.{name_} ({quota.whose})")

    def _fits(
        self, quota: Quota, used: Mapping[str, Fraction], one: _Template, peak: demand.Amounts
    ) -> Iterator[Verdict]:
        each, workload, over = self._of(quota, one.made), one.workload, quota.over(used)
        alone = [key for key in quota.short(each, each) if key not in over]
        if alone:
            said = ", ".join(f"{key} {_shown(each[key])} of {quota.shown[key]}" for key in alone)
            yield Verdict("rejected", one.what, f"one pod is more than {quota.whose} allows: {said}")
            return
        if workload is None:
            return
        its = growth.growth(
            workload,
            self.site.nodes,
            self.site.more_nodes,
            self.space.scalers.get((str(workload["kind"]), name(workload))),
        )
        live = [self.site.as_it_is(pod.get("spec") or {}) for pod in one.pods]
        mine = [self._of(quota, made) for made in live if quota.counts(made)]
        now = self._now(workload, mine)
        most = max(its.wanted, its.most)
        at_most = growth.surge_at(workload, most) if its.rolls else its.surge
        for key, value in demand.add({}, each, max(0, most + at_most - now)).items():
            peak[key] = peak.get(key, _NONE) + value

        def short(more: int, gone: Mapping[str, Fraction] | None = None) -> str:
            after = demand.add(used, each, more)
            after = demand.add(after, gone, -1) if gone else after
            keys = [key for key in quota.short(after, each) if key not in over] if more > 0 else []
            return ", ".join(f"{key} {_shown(after[key])} of {quota.shown[key]}" for key in keys)

        missing = max(0, its.wanted - now)
        said = short(missing)
        if said:
            yield Verdict(
                "no-surge",
                one.what,
                f"{missing} of {its.wanted} pods are not there and do not fit into {quota.whose}: {said}",
            )
            return
        if its.rolls:
            text = self._rollout(workload, its, mine, missing, short)
            if text:
                yield Verdict("no-surge", one.what, f"{text.partition('|')[0]} {quota.whose}: {text.partition('|')[2]}")
        more = most - now
        if most > its.wanted:
            said = short(more)
            if said:
                yield Verdict(
                    "no-growth", one.what, f"{its.why}: {more} more {_do(more)} not fit into {quota.whose}: {said}"
                )
            elif its.rolls and workload["kind"] == "Deployment" and short(more + at_most):
                yield Verdict(
                    "no-growth",
                    one.what,
                    f"{its.why}: no rollout then fits into {quota.whose}: {short(more + at_most)}",
                )

    @staticmethod
    def _now(workload: Object, mine: Sequence[demand.Amounts]) -> int:
        status = workload.get("status") or {}
        if workload["kind"] == "Job":
            return int(status.get("active") or 0)
        if workload["kind"] == "CronJob":
            job = ((workload.get("spec") or {}).get("jobTemplate") or {}).get("spec") or {}
            return len(status.get("active") or ()) * int(job.get("parallelism", 1))
        told = status.get("currentNumberScheduled" if workload["kind"] == "DaemonSet" else "replicas")
        return len(mine) or int(told or 0)

    @staticmethod
    def _rollout(
        workload: Object, its: growth.Growth, mine: Sequence[demand.Amounts], missing: int, short: t.Callable[..., str]
    ) -> str:
        if its.surge:
            said = short(missing + its.surge)
            if said:
                stuck = "it stops there"
                if workload["kind"] == "Deployment" and _unavailable(workload, its.wanted):
                    stuck = "it goes on only by taking pods down first"
                return f"a rollout makes {its.surge} more, {stuck}; that does not fit into|{said}"
        if not mine:
            return ""
        gone = demand.total(mine)
        # At the end all pods are new, and as many old ones as a rollout makes on top are still there.
        left = Fraction(max(0, len(mine) - its.surge), len(mine))
        said = short(its.wanted, {key: value * left for key, value in gone.items()})
        return f"after a rollout the {its.wanted} pods are larger than now and do not fit into|{said}" if said else ""


def _do(number: int) -> str:
    return "pod does" if number == 1 else "pods do"


def _unavailable(workload: Object, replicas: int) -> int:
    rolling = ((workload.get("spec") or {}).get("strategy") or {}).get("rollingUpdate") or {}
    value = rolling.get("maxUnavailable")
    return demand.share("25%" if value is None else value, replicas, up=False)


def _within(
    item: demand.Item, where: str, requests: Mapping[str, Fraction], limits: Mapping[str, Fraction]
) -> Iterator[Verdict]:
    """Judge one container, or the sums of a pod, as the API server does."""
    by = f"of LimitRange {item.owner}"
    for key, most in item.max.items():
        asked = max(limits.get(key, _NONE), requests.get(key, _NONE))
        if asked > most:
            yield Verdict("rejected", where, f"{key} {_shown(asked)} is above max {_shown(most)} {by}")
        elif key not in limits:
            yield Verdict("rejected", where, f"it has no {key} limit, and max {_shown(most)} {by} wants one")
    for key, least in item.min.items():
        if key not in requests:
            yield Verdict("rejected", where, f"it has no {key} request, and min {_shown(least)} {by} wants one")
        elif requests[key] < least or limits.get(key, least) < least:
            asked = min(requests[key], limits.get(key, requests[key]))
            yield Verdict("rejected", where, f"{key} {_shown(asked)} is below min {_shown(least)} {by}")
    for key, ratio in item.ratio.items():
        request, limit = requests.get(key), limits.get(key)
        if not request or not limit:
            yield Verdict("rejected", where, f"it lacks request or limit of {key}, and the ratio {by} wants both")
        elif limit / request > ratio:
            yield Verdict("rejected", where, f"{key} limit is more than {_shown(ratio)} times its request ({by})")


# -- pods that are there -------------------------------------------------------------------------------------------


def _injected(table: Table, tier: Tier, spec: Mapping[str, t.Any], has: str) -> str:
    """Return the class of a pod that has *has*, after what the table puts in."""
    if table.gpu and tier.gpu:
        for one in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            resources = one.get("resources") or {}
            asked = {*(resources.get("limits") or {}), *(resources.get("requests") or {})}
            if asked & set(table.gpu.resources):
                return table.gpu.priority.name
    return has or (tier.priority.name if tier.priority else "")


def _values(table: Table) -> dict[str, int]:
    """Return the value of each class that the table makes, by name."""
    return {one.name: one.value for one in classes(table)}


def _pods(site: _Site, tier: Tier, space: _Namespace) -> Iterator[Verdict]:
    """Yield which pods lack what the table in force puts in (the old one, if it is known), and what will change."""
    new, old = site.new, site.old
    was = tier
    if old and space.before:
        was = old.tier(space.before.tier) if space.before.tier else Tier("")
    held = bool(space.before and space.before.hold)
    injected = set(old.class_names if old else ())
    values = _values(new)
    for pod in space.pods:
        if not demand.counts(pod) or "kubernetes.io/config.mirror" in (meta(pod).get("annotations") or {}):
            continue
        spec, what = pod.get("spec") or {}, f"Pod {name(pod)}"
        has = str(spec.get("priorityClassName") or "")
        due, gets = _injected(old or new, was, spec, ""), _injected(new, tier, spec, "")
        if not has and due and gets and not held:
            yield Verdict("missed-injection", what, f"it has no class, and should have {due}")
        elif gets and has != gets and (not has or has in injected):
            yield Verdict("will-change-priority", what, f"from {has or 'none'} to {gets}, when it is made again")
        elif spec.get("priority") is not None and spec["priority"] != values.get(has, spec["priority"]):
            number = f"{spec['priority']} to {values[has]}"
            yield Verdict("will-change-priority", what, f"class {has}: from {number}, when it is made again")
        if held:
            continue
        options = (spec.get("dnsConfig") or {}).get("options") or ()
        if None not in (was.pods.ndots, tier.pods.ndots) and not any(one.get("name") == "ndots" for one in options):
            yield Verdict("missed-injection", what, f"it has no ndots, and should have {was.pods.ndots}")
        if was.pods.strip_cpu_limits and tier.pods.strip_cpu_limits:
            boxes = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
            if any("cpu" in ((box.get("resources") or {}).get("limits") or {}) for box in boxes):
                yield Verdict("missed-injection", what, "it has a CPU limit, which is taken away in its namespace tier")
