# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Brings a cluster to what the declarations say: all tenants in one reading and one plan, each applied by itself."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from .._core.errors import HackspaceError, InvalidInput, Refused
from .._core.plan import Change, Plan
from .._flux import bootstrap_apply, lockdown
from .._kube import engine
from .._kube.model import Discovery, Inventory, ObjectId, parse
from .._kube.plan import Options, Planned, RecordStep
from .._kube.ports import Api, listed
from . import apply_plan as planning
from . import desired, lifecycle, moves
from .apply_plan import SHARED, Bundle, Left, Stages
from .desired import Known, Wanted
from .membership import Answer, Rules, Verdict
from .model import ACTIVE, ARCHIVED, REMOVED, SUSPENDED
from .parts import OWNED
from .ports import Cluster
from .profile import TENANT_LABEL
from .site import Read, Site

#: Tenants that are worked on at the same time.
WORKERS: t.Final = 6
_SHOWN: t.Final = 10


@dataclasses.dataclass
class Prepared:
    """A plan for all tenants.

    :ivar failures: tenant -> why it has no plan; nothing of it is touched.
    """

    planned: Planned
    stages: Stages
    left: Left
    by_id: Mapping[ObjectId, str]
    failures: dict[str, str]
    plan: Plan

    def changes_of(self, tenant: str) -> list[Change]:
        """Return the changes of one tenant."""
        return self.stages.tenants.get(tenant, [])


# -- lockdown ------------------------------------------------------------------------------------------------------


def check_lockdown(api: Api, namespace: str, account: str) -> None:
    """Refuse a cluster on which Flux is not locked down: there a tenant who writes a Kustomization has all rights.

    :param namespace: where Flux runs.
    :param account: the ServiceAccount as which Flux acts in a tenant's namespace.
    :raises Refused: rule ``lockdown``.
    """
    objects = bootstrap_apply.running(api, namespace)
    found = lockdown.judge(objects, account=account)
    if found:
        lines = [f"{one.item}: {one.message}" for one in found]
        raise Refused(
            f"Flux is not locked down: {' '.join(lines[:_SHOWN])}",
            item=f"namespace {namespace}",
            rule="lockdown",
            fix=found[0].fix,
            data={"findings": [one.as_dict() for one in found]},
        )


# -- plan ----------------------------------------------------------------------------------------------------------


def prepare(
    api: Api,
    bundles: Sequence[Bundle],
    inventory: Inventory,
    options: Options,
    *,
    safe: bool = True,
    untouched: Collection[str] = (),
) -> Prepared:
    """Read and plan; nothing is written.

    A tenant whose objects the server refuses, or that are somebody else's, gets no plan and an entry in ``failures``;
    the others are planned without it. What all tenants share must be right.

    :param safe: every declaration could be read.
    :param untouched: namespaces in which nothing may be pruned.
    :raises HackspaceError: for what concerns all tenants.
    """
    by_id = planning.owners(bundles)
    once = _Once(api)
    failures: dict[str, str] = {}
    todo = list(bundles)
    while True:
        request = engine.Request(
            sources=[source for bundle in todo for source in bundle.sources()],
            inventory=inventory,
            # Pruning is decided here: the engine does not know which tenants were left out.
            options=dataclasses.replace(options, prune=False),
        )
        try:
            planned = engine.make_plan(once, request)
            break
        except HackspaceError as error:
            found = {name: said for name, said in planning.blamed(error, by_id).items() if name not in failures}
            if not found:
                raise
            # What our own rules refuse is said of the first object alone; nobody plans once for each of many tenants.
            failures |= {**_unreadable(once.discover(), todo, inventory), **found}
            todo = [bundle for bundle in todo if bundle.tenant not in failures]
    namespaces = {name for bundle in todo for name in bundle.namespaces} - set(untouched)
    elsewhere = {name for bundle in bundles if bundle.tenant in failures for name in bundle.namespaces}
    left = planning.leftovers(planned.current, planned.inventory, by_id, namespaces, safe=safe and not failures)
    for name in [*elsewhere, *untouched]:
        left.undeclared.pop(name, None)
    doomed = [one for one in left.doomed if options.prune or planning.is_right(one)]
    left.kept += [f"{one} (prune is off)" for one in left.doomed if one not in doomed]
    if options.prune:
        capped = [one for one in doomed if not planning.is_right(one)]
        planning.check_cap(capped, planned.current, desired=len(by_id), max_percent=options.prune_max_percent)
    kinds = {w.resource.group_kind: w.resource for w in planned.wanted}
    for one in doomed:
        known = once.discover().preferred(*one.group_kind)
        if known is not None:
            kinds[one.group_kind] = known
    deletes = planning.deletions([one for one in doomed if one.group_kind in kinds], planned.current, kinds)
    stages = planning.stage(planned.plan.changes, by_id, deletes)
    plan = Plan(changes=stages.all, unchanged=planned.plan.unchanged, foreign=planned.plan.foreign)
    return Prepared(planned, stages, left, by_id, failures, plan)


def _unreadable(discovery: Discovery, bundles: Sequence[Bundle], inventory: Inventory) -> dict[str, str]:
    """Return the tenants whose objects cannot be applied to this cluster at all, each with why."""
    found: dict[str, str] = {}
    for bundle in bundles:
        if bundle.tenant != SHARED:
            try:
                parse(bundle.sources(), discovery, inventory)
            except HackspaceError as error:
                found[bundle.tenant] = str(error)
    return found


class _Once:
    """A client that asks for the served kinds once, however often it is planned."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._discovery: Discovery | None = None

    @property
    def requests(self) -> int:
        return self._api.requests

    @requests.setter
    def requests(self, value: int) -> None:
        self._api.requests = value

    def discover(self) -> Discovery:
        if self._discovery is None:
            self._discovery = self._api.discover()
        return self._discovery

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._api, name)


# -- apply ---------------------------------------------------------------------------------------------------------


def execute(api: Api, made: Prepared, *, timeout: float, skip: Collection[str] = ()) -> dict[str, str]:
    """Carry the plan out; return the tenants that failed, each with why. A run that is cut off is finished by the next.

    :param skip: tenants that go another way.
    :raises HackspaceError: for what all tenants share.
    """
    stages = made.stages
    record = stages.record
    if record is not None and stages.record_change is not None:
        only_add = dataclasses.replace(stages.record_change, payload=RecordStep(record.add, frozenset()))
        engine.execute(api, _part(made, [only_add]), timeout=timeout)
    if stages.tenants[SHARED]:
        engine.execute(api, _part(made, stages.tenants[SHARED]), timeout=timeout)

    def one(tenant: str) -> str:
        try:
            engine.execute(api, _part(made, stages.tenants[tenant]), timeout=timeout)
        except HackspaceError as error:
            return str(error)
        return ""

    names = [name for name in stages.tenants if name != SHARED and name not in skip and stages.tenants[name]]
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        failed = {name: said for name, said in zip(names, pool.map(one, names), strict=True) if said}
    if stages.last:
        engine.execute(api, _part(made, stages.last), timeout=timeout)
    gone = frozenset(change.payload.id for change in stages.last)
    closing = RecordStep(
        frozenset(), (record.remove if record else frozenset()) | gone, record.released if record else ()
    )
    if closing.remove:
        change = Change(kind="inventory record", name=made.planned.inventory.name, action="update", payload=closing)
        engine.execute(api, _part(made, [change]), timeout=timeout)
    return failed


def _part(made: Prepared, changes: list[Change]) -> Planned:
    return dataclasses.replace(made.planned, plan=Plan(changes=changes))


# -- the whole run -------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Decided:
    """What each tenant of a cluster is to be.

    :ivar broken: tenant -> what is wrong with its declaration; it is left as it is.
    :ivar moving: tenants that go from one state to another in this run, and to which.
    :ivar cuts: of those, the ones whose declarations are wrong and whose membership has ended.
    """

    read: Read
    site: Site
    wanted: list[Wanted]
    bundles: list[Bundle]
    known: Mapping[str, Known]
    broken: dict[str, str]
    warnings: list[str]
    undeclared: dict[str, list[str]]
    moving: dict[str, str] = dataclasses.field(default_factory=dict)
    cuts: dict[str, Verdict] = dataclasses.field(default_factory=dict)

    def of(self, tenant: str) -> Wanted:
        """Return what a tenant is to be."""
        return next(one for one in self.wanted if one.tenant.name == tenant)

    @property
    def kept_files(self) -> list[str]:
        """Return the tenants whose rendered files stay as they are: everything that was not rendered now."""
        rendered = {one.tenant for one in self.bundles}
        return sorted((set(self.known) | set(self.broken) | self.read.declared) - rendered)

    def report(self, changes: Mapping[str, int], failures: Mapping[str, str] | None = None) -> list[dict[str, t.Any]]:
        """Return one line for each tenant of the cluster."""
        failed = dict(failures or {})
        lines = []
        for one in self.wanted:
            name = one.tenant.name
            count = changes.get(name, 0)
            result = (
                "failed" if name in failed else "held" if one.held or one.waits else "changed" if count else "unchanged"
            )
            lines.append(
                {
                    "name": name,
                    "state": one.state,
                    "by": one.by,
                    "namespaces": list(one.namespaces),
                    "result": result,
                    "problem": failed.get(name) or one.held or one.waits,
                    "membership": one.verdict.as_dict(),
                    "changes": count,
                }
            )
        for name, wrong in self.broken.items():
            known, verdict = self.known.get(name), self.cuts.get(name)
            cut = verdict is not None and verdict.suspend
            said = wrong
            if verdict is not None:
                said = f"{said} | and its membership: {verdict.why}" + (", so it is suspended" if cut else "")
            if name in failed:
                said = f"{said} | {failed[name]}"
            lines.append(
                {
                    "name": name,
                    "state": SUSPENDED if cut else known.state if known else "",
                    "by": desired.BY_MEMBERSHIP if cut else known.suspended_by if known else "",
                    "namespaces": sorted(known.namespaces) if known else [],
                    "result": "failed",
                    "problem": said,
                    "membership": verdict.as_dict() if verdict else {},
                    "changes": changes.get(name, 0),
                }
            )
        return sorted(lines, key=lambda line: line["name"])


def decide(
    api: Api,
    read: Read,
    site: Site,
    *,
    answer: Answer | None,
    rules: Rules,
    today: datetime.date,
    allow_removal: bool,
    confirmed: Collection[str] = (),
    asked: bool = True,
) -> Decided:
    """Return what each tenant is to be; nothing is written.

    :param asked: the source of memberships was asked, if there is one.
    :raises Refused: rule ``no-declarations``.
    """
    live = listed(api, "/api/v1/namespaces", selector=TENANT_LABEL)
    known = desired.known_tenants(live, site.profile, read.judged.tenants)
    # What a tenant of the cluster has, a newcomer cannot take, nor hold up by wanting it.
    hosts = {name: desired.hosts(one, site.profile) for name, one in known.items()}
    has = {name: desired.holdings(one, site.profile) for name, one in known.items()}
    read = dataclasses.replace(read, judged=read.judged.settled(known, has).held(hosts))
    if not read.declared and known:
        raise Refused(
            f"there are no declarations at all, and {len(known)} tenants on the cluster.",
            item="declarations",
            rule="no-declarations",
            fix="look at the repository and its folder. A tenant is removed by its declaration, not by taking it away.",
        )
    broken: dict[str, str] = {}
    misspelt = {one.tenant for one in read.errors if one.rule == "unknown-cluster"}
    elsewhere = {one.name for one in read.judged.tenants if site.cluster not in one.clusters} - misspelt
    for finding in read.errors:
        if finding.tenant and finding.tenant not in elsewhere:
            said = f"{finding.item}: {finding.message} [{finding.rule}] Fix: {finding.fix}"
            broken[finding.tenant] = f"{broken[finding.tenant]} | {said}" if finding.tenant in broken else said
    here = [one for one in read.judged.sound if site.cluster in one.clusters]
    found, warnings, besides = desired.wanted(
        here, site.profile, known, answer=answer, rules=rules, today=today, asked=asked, broken=broken
    )
    cuts = {name: one for name, one in besides.items() if desired.to_cut(one, known[name])}
    postponed = []
    for index, one in enumerate(found):
        if one.state in (ARCHIVED, REMOVED) and not allow_removal:
            there = known.get(one.tenant.name)
            held = "" if there else f"its declaration says {one.state}"
            # What is archived stays so: only going further is not allowed.
            state = ARCHIVED if there is not None and there.state == ARCHIVED else SUSPENDED
            if state != one.state:
                postponed.append(one.tenant.name)
            found[index] = dataclasses.replace(one, state=state, held=held)
    most = max(site.profile.max_suspensions, rules.max_suspend)
    moving = _moves(found, known, site, confirmed, cuts, declared=len(read.declared), max_suspensions=most)
    waiting = [name for name in postponed if name in known]
    if waiting:
        warnings.append(f"not archived or removed any further without allow_removal: {', '.join(waiting)}.")
    stays = {one.name for one in read.judged.tenants if site.cluster in one.clusters} | (read.judged.broken - elsewhere)
    gone = {name: sorted(one.namespaces) for name, one in known.items() if name not in stays}
    for said, names in (
        ("no declaration", sorted(gone.keys() - read.declared)),
        ("declared for other clusters only", sorted(gone.keys() & read.declared)),
    ):
        if names:
            warnings.append(
                f"{said}, and left as they are: {', '.join(names[:_SHOWN])}"
                + (f" and {len(names) - _SHOWN} more." if len(names) > _SHOWN else ".")
            )
    return Decided(
        read, site, found, desired.bundles(found, site.profile, site.place), known, broken, warnings, gone, moving, cuts
    )


def _moves(
    found: list[Wanted],
    known: Mapping[str, Known],
    site: Site,
    confirmed: Collection[str],
    cuts: dict[str, Verdict],
    *,
    declared: int,
    max_suspensions: int,
) -> dict[str, str]:
    """Return who changes its state; those for whom it is not allowed now keep theirs, in *found*."""
    changing = lifecycle.transitions(
        {
            **{name: SUSPENDED for name, one in cuts.items() if one.suspend},
            **{one.tenant.name: one.state for one in found if not one.held},
        },
        {name: one.state for name, one in known.items()},
    )
    caps = dataclasses.replace(site.profile, max_suspensions=max_suspensions)
    gate = lifecycle.gate(changing, caps, declared=declared, known=len(known), confirmed=confirmed)
    moving = {one.tenant: one.target for one in gate.allowed}
    for name in list(cuts):
        if name in gate.held:
            del cuts[name]
        else:
            moving.setdefault(name, SUSPENDED if cuts[name].suspend else known[name].state)
    for index, one in enumerate(found):
        there = known.get(one.tenant.name)
        if one.tenant.name in gate.held and there is not None:
            found[index] = dataclasses.replace(
                one, state=there.state, by=there.suspended_by, waits=gate.held[one.tenant.name]
            )
        elif there is not None and not one.held and (there.moving or (there.ended and one.state == ACTIVE)):
            moving.setdefault(one.tenant.name, one.state)
    return moving


def bring(
    api: Cluster,
    made: Decided,
    inventory: Inventory,
    options: Options,
    *,
    check_mode: bool,
    timeout: float,
    today: datetime.date,
) -> dict[str, t.Any]:
    """Plan, and outside check mode apply; return the module's result."""
    untouched = {name for one in made.broken for name in (made.known[one].namespaces if one in made.known else ())}
    for one in made.wanted:
        if one.held or one.waits or one.state != ACTIVE or one.tenant.name in made.moving:
            there = made.known.get(one.tenant.name)
            untouched |= {*one.namespaces, *(there.namespaces if there else ())}
    steady = [one for one in made.bundles if one.tenant not in made.moving]
    prepared = prepare(api, steady, inventory, options, untouched=untouched)
    failures = dict(prepared.failures)
    ways = moves.ways(api, made, made.moving, today)
    for name in ways:
        prepared.stages.tenants[name] = moves.changes(ways[name])
    prepared.plan.changes = prepared.stages.all
    if not check_mode:
        failures |= execute(api, prepared, timeout=timeout, skip=ways)
        failures |= moves.carry_out(api, made, ways, prepared, options, timeout=timeout)
    counts = {name: len(changes) for name, changes in prepared.stages.tenants.items() if name != SHARED}
    result = {
        **prepared.plan.result(),
        "stale": prepared.left.kept,
        "tenants": made.report(counts, failures),
        "undeclared": {name: [str(one) for one in objects] for name, objects in prepared.left.undeclared.items()},
    }
    other = [
        f"{name}: {step.name} {step.body}" for name, steps in ways.items() for step in steps if step.action == "openbao"
    ]
    if other:
        result["warnings"] = [f"to be done by jwt_reviewer (playbook reviewers): {'; '.join(other)}."]
    return result


def foreign(api: Api, made: Decided) -> dict[str, str]:
    """Return the tenants that want a namespace of somebody else, each with why; they lose their objects in *made*.

    For rendering: Flux takes what it finds without asking, where applying asks whose it is.
    """
    found: dict[str, str] = {}
    for bundle in made.bundles:
        known = made.known[bundle.tenant].namespaces if bundle.tenant in made.known else {}
        for name in bundle.namespaces:
            live = None if name in known else api.get(f"/api/v1/namespaces/{name}")
            tags = ((live or {}).get("metadata") or {}).get("labels") or {}
            if live is not None and any(tags.get(key) != value for key, value in OWNED):
                found[bundle.tenant] = (
                    f"Namespace {name}: exists and is not ours. [foreign] Fix: choose another name, or set adopt."
                )
    made.bundles = [one for one in made.bundles if one.tenant not in found]
    return found


def complain(made: Decided, result: Mapping[str, t.Any]) -> None:
    """Fail, when everything else is done, if something was wrong with a tenant.

    :raises HackspaceError: naming every tenant that failed.
    """
    failed = [line for line in result["tenants"] if line["result"] == "failed"]
    general = [one for one in made.read.errors if not one.tenant]
    if not failed and not general:
        return
    lines = [f"{line['name']}: {line['problem']}" for line in failed]
    lines += [f"{one.item}: {one.message} [{one.rule}] Fix: {one.fix}" for one in general]
    shown = " || ".join(lines[:_SHOWN]) + (f" || and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else "")
    kind = InvalidInput if made.read.errors else HackspaceError
    raise kind(
        shown,
        item=f"{len(failed)} tenants" if len(failed) != 1 else f"tenant {failed[0]['name']}",
        rule="tenants-failed",
        fix="correct these; all others are done.",
        data={**result, "findings": [one.as_dict() for one in made.read.judged.findings]},
    )
