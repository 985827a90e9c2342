# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Applies a table to a cluster: reads by lists, judges, plans with the server's dry run, and carries out in stages.

What guards comes first and is waited for, what it replaces is deleted last; a run that is cut off is finished by the
next one.
"""

from __future__ import annotations

import dataclasses
import re
import time
import typing as t
from collections.abc import Collection, Iterable, Iterator, Mapping

from .._core.errors import HackspaceError, InvalidInput, Refused
from .._core.plan import Change, Plan
from .._kube import engine
from .._kube.model import Discovery, Inventory, ObjectId, Resource, Source, Wanted
from .._kube.normalise import Object
from .._kube.plan import ApplyStep, DeleteStep, Options, Planned, RecordStep
from .._kube.ports import Api, Page, ServerError, View, listed
from . import apply_plan as planning
from . import pods
from .break_glass import Opened, exceptions, open_webhooks, opened, still_open
from .findings import Target, errors, findings, refusals, version, warned
from .model import Table, merged, parse, plain
from .policies import Backends, Compiled, render
from .resolve import of_object

AUTO: t.Final = "auto"
#: Seconds after which API servers go by a policy of theirs that is new.
_NOTICED: t.Final = 2.0
#: Longest time to wait until Kyverno has done what it had begun, in seconds.
_DRAINED: t.Final = 60.0
_SHOWN: t.Final = 10
_CLASSES: t.Final = "/apis/scheduling.k8s.io/v1/priorityclasses"
_DENIED: t.Final = re.compile(r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<what>[^"]*)"(?P<where>.*)')


@dataclasses.dataclass(frozen=True)
class Request:
    """Everything a call wants.

    :ivar backends: by concern; ``auto`` is Kyverno where it is installed.
    """

    table: t.Any
    inventory: tuple[str, str]
    backends: Mapping[str, str]
    kyverno: str = ""
    strict: bool = False
    options: Options = dataclasses.field(default_factory=Options)
    replace_classes: bool = False
    close_break_glass: bool = False


@dataclasses.dataclass
class Prepared:
    """A plan, and what its reader needs besides.

    :ivar taken: limits that Kyverno generated and that are manifests now, with the name of the policy that made each.
    """

    table: Table
    backends: Backends
    planned: Planned
    stages: planning.Stages
    closing: list[Change]
    compiled: Compiled
    plan: Plan
    kubernetes: str
    kyverno: str
    taken: Mapping[ObjectId, str]
    stale: list[str]
    open_: list[Opened]
    staying: list[Opened]
    report: dict[str, t.Any]


class _View(View):
    """The cluster as the plan is to see it.

    Classes that are replaced are not there, and are dry-run under another name. What Kyverno generated for us is taken
    from it by force. What is asked twice is asked once.
    """

    def __init__(self, api: Api, discovery: Discovery, gone: Collection[str], taken: Collection[str]) -> None:
        super().__init__(api)
        self._discovery = discovery
        self._gone = {f"{_CLASSES}/{name}": name for name in gone}
        self._taken = frozenset(taken)

    def discover(self) -> Discovery:
        return self._discovery

    def get(self, path: str) -> Object | None:
        return None if path in self._gone else self._api.get(path)

    def pages(self, path: str, *, selector: str = "", metadata_only: bool = False) -> Iterator[Page]:
        for page in self._api.pages(path, selector=selector, metadata_only=metadata_only):
            if path == _CLASSES and self._gone:
                names = set(self._gone.values())
                yield Page([one for one in page.items if one["metadata"]["name"] not in names], page.remaining)
            else:
                yield page

    def apply(self, path: str, body: Mapping[str, t.Any], *, dry_run: bool = False, force: bool = False) -> Object:
        force = force or path in self._taken
        if not (dry_run and path in self._gone):
            return self._api.apply(path, body, dry_run=dry_run, force=force)
        other = f"{self._gone[path]}-again"
        made = self._api.apply(
            f"{_CLASSES}/{other}", {**body, "metadata": {**body["metadata"], "name": other}}, dry_run=True, force=force
        )
        return {**made, "metadata": {**made["metadata"], "name": self._gone[path]}}


# -- rights --------------------------------------------------------------------------------------------------------


def denied(error: ServerError) -> HackspaceError:
    """Return a refusal for want of a right in our words: the verb, the resource, whose."""
    match = _DENIED.search(error.said) if error.status == 403 else None
    if match is None:
        return error
    where = re.search(r'in the namespace "([^"]*)"', match["where"])
    place = f"in the namespace {where[1]}" if where else "in the whole cluster"
    group = re.search(r'in API group "([^"]+)"', match["where"])
    what = f"{match['what']}.{group[1]}" if group else match["what"]
    return HackspaceError(
        f"the login in use ({match['user']}) may not {match['verb']} {what} {place}.",
        item="API server",
        rule="forbidden",
        fix=f"give it the verb {match['verb']} on {what}; docs/tiers_apply.md has the roles that are enough.",
        status=403,
        data={"missing": {"verb": match["verb"], "resource": what, "namespace": where[1] if where else ""}},
    )


# -- plan ----------------------------------------------------------------------------------------------------------


def prepare(api: Api, request: Request) -> Prepared:
    """Read, judge, compile and plan; nothing is written.

    :raises InvalidInput: for a table that is wrong.
    :raises Refused: for what needs an option that was not given.
    """
    table = parse(plain(request.table))
    inventory = Inventory(*request.inventory, table.label_domain).checked()
    try:
        return _prepare(api, request, table, inventory)
    except ServerError as error:
        raise denied(error) from None


def choose_backends(request: Request, *, installed: bool) -> Backends:
    """Return what does what.

    :raises InvalidInput: when Kyverno is chosen and not there.
    """
    other = {"limits": "static", "pods": "native", "guards": "native"}
    chosen = {
        name: ("kyverno" if installed else other[name]) if value == AUTO else value
        for name, value in request.backends.items()
    }
    backends = Backends(**chosen)
    uses = sorted(name for name, value in chosen.items() if value == "kyverno")
    if uses and not installed:
        raise InvalidInput(
            "the cluster does not serve policies.kyverno.io/v1: Kyverno is not installed, or older than 1.17.",
            item=uses[0],
            rule="kyverno-missing",
            fix="install Kyverno 1.19.1 or newer, or choose limits: static, pods: native and guards: native.",
        )
    return backends


def ask_kyverno(api: Api, given: str, backends: Backends) -> tuple[str, bool]:
    """Return the version of Kyverno, and whether PolicyExceptions of every namespace lift guards."""
    if given and backends.guards != "kyverno":
        return given, False
    try:
        deployments = listed(api, "/apis/apps/v1/deployments", selector=planning.ADMISSION_CONTROLLER)
    except ServerError as error:
        if given and error.status == 403:
            return given, False
        raise
    lifted = backends.guards == "kyverno" and planning.exceptions_everywhere(deployments)
    return given or planning.kyverno_version(deployments), lifted


def _prepare(api: Api, request: Request, table: Table, inventory: Inventory) -> Prepared:
    discovery = api.discover()
    installed = discovery.find("policies.kyverno.io/v1", "MutatingPolicy") is not None
    backends = choose_backends(request, installed=installed)
    kubernetes = str((api.get("/version") or {}).get("gitVersion") or "")
    uses_kyverno = "kyverno" in (backends.limits, backends.pods, backends.guards)
    kyverno, lifted = ask_kyverno(api, request.kyverno, backends) if uses_kyverno else (request.kyverno, False)
    live_classes = listed(api, _CLASSES)

    namespaces: list[Object] = []
    handed: list[tuple[ObjectId, Object]] = []
    taken: dict[ObjectId, Object] = {}
    kept: frozenset[ObjectId] = frozenset()
    alive: dict[str, Object] = {}
    if backends.limits == "static":
        namespaces = listed(api, "/api/v1/namespaces", metadata_only=True)
        # Even without Kyverno: what it generated outlives it.
        generated = _generated(api, discovery)
        alive = _generating(api, discovery) if generated else {}
        kept = planning.stays(generated, alive, inventory, prune=request.options.prune)
        taken = {one: live for one, live in generated.items() if one not in kept}
    else:
        handed = _left_behind(api, table, discovery, inventory)
        namespaces = listed(api, "/api/v1/namespaces", metadata_only=True) if handed else []
    known = [of_object(table, one) for one in namespaces if not one["metadata"].get("deletionTimestamp")]

    objects = [{**one, "kind": "Namespace"} for one in namespaces]
    objects += [{**one, "kind": "PriorityClass"} for one in live_classes]
    warnings = _judge(
        table,
        Target(
            backends=backends,
            kubernetes=version(kubernetes, "the cluster's version"),
            kyverno=version(kyverno, "kyverno_version"),
            objects=tuple(objects),
            strict=request.strict,
        ),
    )
    if uses_kyverno and not kyverno:
        warnings.append("the version of Kyverno is not known (no Deployment says it); set kyverno_version.")
    if lifted:
        warnings.append(
            "PolicyExceptions of all namespaces count (--exceptionNamespace=*): whoever has the role admin in a "
            "namespace can lift the guards there; name a namespace of the platform's, or set guards: native."
        )
    gone = planning.replaced(
        pods.classes(table), live_classes, inventory, allowed=request.replace_classes, adopt=request.options.adopt
    )
    if gone:
        warnings.append(
            f"{', '.join(sorted(gone))}: deleted and made again. Pods that run keep their number until they are made "
            "again; a pod that names the class in the moment between is refused, and its controller tries again."
        )

    compiled = render(table, backends, known)
    sources = [
        Source(dict(one), f"table: {one['kind']} {one['metadata']['name']}")
        for one in compiled.objects
        if ObjectId.of(one) not in kept
    ]
    keep = planning.table_object(table, merged(plain(request.table)), inventory)
    sources.append(Source(keep, "the table itself"))
    view = _View(api, discovery, gone, {_path(discovery, one) for one in taken})
    options = dataclasses.replace(
        request.options,
        adopt=request.options.adopt or bool(taken),
        # What another backend replaces does not count, so the cap is looked at below; an empty list is refused there.
        prune_max_percent=100,
    )
    planned = engine.make_plan(t.cast(Api, view), engine.Request(sources, inventory, options))
    _check_adopted(planned, taken, allowed=request.options.adopt)

    steps = _hand_over(table, inventory, discovery, handed, namespaces)
    given = frozenset(change.payload.id for change in steps)
    doomed = [
        c.payload.id for c in planned.plan.changes if isinstance(c.payload, DeleteStep) and c.payload.id not in given
    ]
    planning.check_doomed(
        doomed,
        table,
        backends,
        owned=sum(1 for one in planned.current.recorded if one in planned.current.live),
        max_percent=request.options.prune_max_percent,
        desired=len(planned.wanted),
    )
    open_ = opened(planned.current.live, table.label_domain)
    webhooks: list[dict[str, str]] = []
    if uses_kyverno:
        open_ += exceptions(api, discovery, table.label_domain)
        found_open, webhooks = open_webhooks(api, table.label_domain)
        open_ += found_open
    staying = still_open(open_, closing=request.close_break_glass)
    left = frozenset(one.id for one in staying if one.id is not None)
    stages, closing = planning.stage(
        planned.plan.changes,
        classes=gone,
        class_resource=discovery.preferred("scheduling.k8s.io", "PriorityClass"),
        handed=[*steps, *unmarked(discovery, taken, {one.id for one in planned.wanted}, alive)],
        left_open=left,
    )
    if given:
        closing = planning.with_removed(closing or [_record_change(inventory)], given)
        if not stages.record:
            stages.record = [dataclasses.replace(one, payload=RecordStep(frozenset(), frozenset())) for one in closing]
    warnings += [f"the glass is broken: {one.said}; it is left open." for one in staying]
    if kept:
        warnings.append(
            f"{len(kept)} limit(s) stay Kyverno's, as its policies are there still; with prune: true the policies go "
            "and the manifests take over."
        )
    warnings += planning.changed_backends(
        [*planned.current.live], table, backends, [name for name, value in request.backends.items() if value == AUTO]
    )
    warnings += _failing(compiled)
    warnings += _expressions(planned)
    warnings += [one for one in compiled.warnings if not one.startswith("limits are static")]
    if backends.limits == "static":
        warnings.append("limits are static: a namespace that appears later gets its limits by the next run.")
    plan = Plan(
        changes=stages.all,
        unchanged=planned.plan.unchanged,
        foreign=[] if taken and not request.options.adopt else planned.plan.foreign,
        warnings=list(dict.fromkeys(warnings)),
    )
    return Prepared(
        table=table,
        backends=backends,
        planned=planned,
        stages=stages,
        closing=closing,
        compiled=compiled,
        plan=plan,
        kubernetes=kubernetes,
        kyverno=kyverno,
        taken={one: _policy(live) for one, live in taken.items()},
        stale=[one for one in planned.stale if one.partition(" (")[0] not in {str(i) for i in given}],
        open_=open_,
        staying=staying,
        report={
            "webhooks": webhooks,
            "namespaces": planning.resolved_names(known) if backends.limits == "static" else {},
            "classes_replaced": sorted(gone),
        },
    )


def _record_change(inventory: Inventory) -> Change:
    return Change(
        kind="inventory record",
        name=inventory.record_id.title,
        action="update",
        why="limits pass to Kyverno",
        payload=RecordStep(frozenset(), frozenset()),
    )


def _path(discovery: Discovery, one: ObjectId) -> str:
    resource = discovery.preferred(*one.group_kind)
    return resource.path(one.namespace, one.name) if resource else ""


def _judge(table: Table, target: Target) -> list[str]:
    """Return the warnings.

    :raises InvalidInput: with all errors, if there are some.
    """
    found = findings(table, target)
    wrong = [one.as_dict() for one in errors(found)]
    if wrong:
        more = f" (and {len(wrong) - _SHOWN} more)" if len(wrong) > _SHOWN else ""
        raise InvalidInput(
            " | ".join(refusals(found)[:_SHOWN]) + more,
            item=wrong[0]["item"],
            rule=wrong[0]["id"] if len(wrong) == 1 else "several",
            fix="correct the table; nothing was written.",
            data={"findings": wrong},
        )
    said = warned(found)
    return said[:_SHOWN] + ([f"and {len(said) - _SHOWN} more warnings; see tier_findings."] if said[_SHOWN:] else [])


def _failing(compiled: Compiled) -> Iterator[str]:
    """Yield one sentence for each way in which policies behave while they cannot be evaluated."""
    ways: dict[tuple[str, str], list[str]] = {}
    for one in compiled.failure_policies:
        if one["backend"] == "kyverno" or one["failure_policy"] == "Fail":
            ways.setdefault((one["failure_policy"], one["when_down"]), []).append(f"{one['kind']} {one['name']}")
    for (policy, what), names in sorted(ways.items()):
        if what.startswith("runs inside"):
            continue
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if names[4:] else "")
        yield f"failure policy {policy}: {what} ({shown})."


def _expressions(planned: Planned) -> Iterator[str]:
    """Yield what the API server found when it checked the types in expressions."""
    for one, live in sorted(planned.current.live.items()):
        checked = (live.get("status") or {}).get("typeChecking") or {}
        for said in checked.get("expressionWarnings") or ():
            yield f"{one.kind} {one.name}, {said.get('fieldRef')}: {said.get('warning')}"


def _generated(api: Api, discovery: Discovery) -> dict[ObjectId, Object]:
    """Return the limits that Kyverno generated for our policies."""
    found = {}
    for kind in ("LimitRange", "ResourceQuota"):
        resource = t.cast(Resource, discovery.preferred("", kind))
        for one in listed(api, resource.path(), selector=planning.POLICY_LABEL):
            if planning.generated_by_us(one):
                place = ObjectId("", kind, one["metadata"]["namespace"], one["metadata"]["name"])
                found[place] = {"apiVersion": "v1", "kind": kind, **one}
    return found


def _policy(generated: Mapping[str, t.Any]) -> str:
    return str(generated["metadata"]["labels"][planning.POLICY_LABEL])


def _generating(api: Api, discovery: Discovery) -> dict[str, Object]:
    """Return Kyverno's generating policies by name."""
    resource = discovery.preferred(planning.KYVERNO_GROUP, "GeneratingPolicy")
    found = listed(api, resource.path()) if resource is not None else []
    return {str(one["metadata"]["name"]): one for one in found}


def unmarked(
    discovery: Discovery, taken: Mapping[ObjectId, Object], wanted: Collection[ObjectId], alive: Collection[str]
) -> list[Change]:
    """Return the changes that take Kyverno's marks off manifests whose policy is gone: a run was cut off there."""
    made = []
    for one, live in sorted(taken.items()):
        body = planning.without_kyverno(live) if one in wanted and _policy(live) not in alive else None
        if body is not None:
            made.append(_relabelled(discovery, one, live, body, "the policy that kept it is gone"))
    return made


def _relabelled(discovery: Discovery, one: ObjectId, live: Object, body: Object, why: str) -> Change:
    """Return the change by which limits get another owner."""
    return Change(
        kind=one.kind,
        name=one.title,
        action="update",
        before={"labels": live["metadata"].get("labels") or {}},
        after={"labels": body["metadata"]["labels"]},
        why=why,
        public=frozenset({"labels"}),
        payload=planning.HandOverStep(one, t.cast(Resource, discovery.preferred("", one.kind)), body),
    )


def _left_behind(api: Api, table: Table, discovery: Discovery, inventory: Inventory) -> list[tuple[ObjectId, Object]]:
    """Return limits that this inventory applied as manifests."""
    found = []
    for kind, name in (("LimitRange", table.limit_range), ("ResourceQuota", table.quota)):
        resource = t.cast(Resource, discovery.preferred("", kind))
        for one in listed(api, resource.path(), selector=inventory.selector):
            meta = one["metadata"]
            if meta["name"] == name:
                found.append((ObjectId("", kind, meta["namespace"], name), {"apiVersion": "v1", "kind": kind, **one}))
    return found


def _hand_over(
    table: Table,
    inventory: Inventory,
    discovery: Discovery,
    handed: list[tuple[ObjectId, Object]],
    namespaces: list[Object],
) -> list[Change]:
    by_name = {str(one["metadata"]["name"]): one for one in namespaces}
    made = []
    for one, live in handed:
        namespace = by_name.get(one.namespace)
        body = planning.to_kyverno(table, one, live, namespace, inventory) if namespace else None
        if body is not None:
            made.append(_relabelled(discovery, one, live, body, "Kyverno keeps it from now on"))
    return made


def _check_adopted(planned: Planned, taken: Mapping[ObjectId, Object], *, allowed: bool) -> None:
    if allowed:
        return
    lines = [line for line in planned.plan.foreign if not any(line.startswith(f"{one} (") for one in taken)]
    if lines:
        raise Refused(
            f"{len(lines)} object(s) exist and are not ours: {'; '.join(lines[:_SHOWN])}.",
            item="objects",
            rule="foreign",
            fix="set adopt: true to take them over, or choose other names (names in the table).",
            data={"foreign": sorted(lines)},
        )


# -- apply ---------------------------------------------------------------------------------------------------------


def execute(api: Api, made: Prepared, *, timeout: float, wait: bool) -> list[str]:
    """Carry out a plan in its stages; return what was waited for."""
    try:
        return _execute(api, made, timeout=timeout, wait=wait)
    except ServerError as error:
        raise denied(error) from None


def _part(made: Prepared, changes: list[Change]) -> Planned:
    return dataclasses.replace(made.planned, plan=Plan(changes=changes))


def _execute(api: Api, made: Prepared, *, timeout: float, wait: bool) -> list[str]:
    stages = made.stages
    if stages.record:
        engine.execute(api, _part(made, stages.record), timeout=timeout)
    for change in stages.handed:
        _replace(api, change.payload)
    deletes = [one.payload for one in stages.last if isinstance(one.payload, DeleteStep)]
    quieten(api, [one for one in deletes if one.id.kind == "GeneratingPolicy"], timeout)
    view = t.cast(Api, _View(api, Discovery([]), (), {_place(c) for c in stages.applied if _is_taken(made, c)}))
    if stages.applied:
        engine.execute(view, _part(made, stages.applied), timeout=timeout)
    waited: list[str] = []
    if wait:
        known = None if stages.all else made.planned.current.live
        pending = awaited(made.planned.wanted, {one.id for one in made.open_})
        waited = engine.wait_ready(api, made.planned, pending, timeout=timeout, known=known)
        if any(
            isinstance(c.payload, ApplyStep) and c.payload.wanted.id.group == "admissionregistration.k8s.io"
            for c in stages.applied
        ):
            time.sleep(_NOTICED)
    last = [*made.closing, *stages.last]
    if last:
        engine.execute(api, _part(made, last), timeout=timeout)
    gone = {one.id.name for one in deletes if one.id.kind == "GeneratingPolicy"}
    loose = {one for one, policy in made.taken.items() if policy in gone}
    settle(api, [one for one in made.planned.wanted if one.id in loose], timeout)
    return waited


def awaited(wanted: Iterable[Wanted], open_: Collection[ObjectId | None]) -> list[Wanted]:
    """Return what is waited for: policies. Credentials that a store does not give are no reason to fail."""
    groups = (planning.KYVERNO_GROUP, "admissionregistration.k8s.io")
    return [one for one in wanted if one.id.group in groups and one.id not in open_]


def _place(change: Change) -> str:
    wanted = change.payload.wanted
    return str(wanted.resource.path(wanted.id.namespace, wanted.id.name))


def _is_taken(made: Prepared, change: Change) -> bool:
    return isinstance(change.payload, ApplyStep) and change.payload.wanted.id in made.taken


def _replace(api: Api, step: planning.HandOverStep) -> None:
    try:
        api.replace(step.resource.path(step.id.namespace, step.id.name), step.body)
    except ServerError as error:
        # Changed or gone since it was read: the next run looks again.
        if error.status not in (404, 409):
            raise


def quieten(api: Api, steps: Iterable[DeleteStep], timeout: float) -> None:
    """Have Kyverno let go of what its policies made, before they are deleted.

    Kyverno keeps in memory what it has made, and puts back whatever is changed there. When a policy goes while Kyverno
    works on a request of that policy, the request puts it back into that memory, and Kyverno reverts and deletes for
    ever. So a policy stops to keep things first, then Kyverno finishes what it had begun, and then the policy goes,
    which clears that memory once more.
    """
    names = set()
    for step in steps:
        path = step.resource.path(step.id.namespace, step.id.name)
        live = api.get(path)
        if live is None:
            continue
        names.add(step.id.name)
        if planning.keeps(live):
            api.apply(path, planning.quiet(live), force=True)
    deadline = time.monotonic() + min(timeout, _DRAINED)
    while names and _busy(api, names) and time.monotonic() < deadline:
        time.sleep(0.5)


def _busy(api: Api, policies: Collection[str]) -> bool:
    """Say whether Kyverno has requests of these policies before it; the second look tells."""
    time.sleep(_NOTICED / 2)
    try:
        waiting = listed(api, "/apis/kyverno.io/v2/updaterequests")
    except ServerError as error:
        # Without the right to look, time has to do.
        if error.status not in (403, 404):
            raise
        time.sleep(_NOTICED)
        return False
    return any((one.get("spec") or {}).get("policy") in policies for one in waiting)


def settle(api: Api, wanted: Iterable[Wanted], timeout: float) -> None:
    """Take Kyverno's marks off the limits that are manifests now, and put back what Kyverno took away."""
    todo = {one.id: one for one in wanted}
    deadline = 0.0
    while todo:
        for one, body in sorted(todo.items(), key=lambda pair: pair[0]):
            if _settled(api, body):
                del todo[one]
        # The first look changes all of them, however many there are.
        deadline = deadline or time.monotonic() + min(timeout, 30.0)
        if todo and time.monotonic() >= deadline:
            raise HackspaceError(
                f"{len(todo)} object(s) still carry Kyverno's marks: {', '.join(map(str, sorted(todo)[:_SHOWN]))}.",
                item="limits",
                rule="kyverno-keeps",
                fix="look whether its policies are gone, then run again.",
            )
        if todo:
            time.sleep(0.3)


def _settled(api: Api, wanted: Wanted) -> bool:
    """Make one of them ours alone; say whether it was so, or its namespace has gone."""
    path = wanted.resource.path(wanted.id.namespace, wanted.id.name)
    live = api.get(path)
    body = planning.without_kyverno(live) if live is not None else None
    try:
        if body is not None:
            api.replace(path, body)
        api.apply(path, wanted.body, force=True)
    except ServerError as error:
        if error.status not in (404, 409):
            raise
        return error.status == 404 and live is None
    return live is not None and body is None
