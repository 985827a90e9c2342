# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Read, plan, apply and wait against a cluster, through the :class:`~.ports.Api` that the caller brings."""

from __future__ import annotations

import dataclasses
import time
import typing as t
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from .._core.errors import HackspaceError, InvalidInput, Refused
from . import inventory as record
from . import order, redact
from .model import Discovery, Inventory, ObjectId, Resource, Source, Wanted, parse
from .normalise import Object, is_secret
from .plan import (
    ApplyStep,
    Comparison,
    Current,
    DeleteStep,
    Options,
    Planned,
    RecordStep,
    ReleaseStep,
    Trial,
    by_get,
    check_foreign,
    compare,
    dependent,
    finish,
)
from .ports import Api, ServerError
from .wait import Status, status

#: Requests under way at the same time.
WORKERS: t.Final = 6
_ATTEMPTS: t.Final = 8
#: Seconds after which every API server knows a namespace or a schema that was applied.
_LAG: t.Final = 3.0

_T = t.TypeVar("_T")
_R = t.TypeVar("_R")


def _each(function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    """Return the results of *function* for *items*, several at a time, in their order."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(max_workers=min(WORKERS, len(items))) as pool:
        return list(pool.map(function, items))


@dataclasses.dataclass(frozen=True)
class Request:
    """Everything a call wants.

    :ivar coming: namespaces that are not there yet, and are made before this is applied.
    :ivar changing: kinds whose definitions change before this is applied, each as group and kind.
    """

    sources: Sequence[Source]
    inventory: Inventory
    options: Options = dataclasses.field(default_factory=Options)
    default_namespace: str | None = None
    hidden_fields: Sequence[str] = ()
    coming: frozenset[str] = frozenset()
    changing: frozenset[tuple[str, str]] = frozenset()


@dataclasses.dataclass(frozen=True)
class Seen:
    """What is wanted, checked, beside what is there."""

    inventory: Inventory
    wanted: list[Wanted]
    current: Current
    resources: dict[tuple[str, str], Resource]


# -- read ----------------------------------------------------------------------------------------------------------


class _Reader:
    """Reads by lists. Requests grow with kinds (and, without the right to list cluster-wide, with namespaces)."""

    def __init__(self, api: Api, inventory: Inventory) -> None:
        self._api = api
        self._selector = inventory.selector

    def read(
        self, resource: Resource, wanted: Sequence[ObjectId], recorded: Sequence[ObjectId]
    ) -> dict[ObjectId, Object]:
        """Return the live objects of one kind: all that carry our label, plus those wanted that do not."""
        found = self.owned(resource, {one.namespace for one in (*wanted, *recorded)})
        missing = [one for one in wanted if one not in found]
        if missing:
            found |= self._unmarked(resource, missing)
        return found

    def owned(self, resource: Resource, namespaces: Iterable[str]) -> dict[ObjectId, Object]:
        """Return the live objects of one kind that carry our label."""
        found: dict[ObjectId, Object] = {}
        for items in self._collect(resource, sorted(set(namespaces)), selector=self._selector, metadata_only=False):
            found |= items
        return found

    def _collect(
        self, resource: Resource, namespaces: Sequence[str], *, selector: str, metadata_only: bool
    ) -> t.Iterator[dict[ObjectId, Object]]:
        if resource.namespaced and len(namespaces) == 1:
            scopes: Sequence[str] = namespaces
        else:
            try:
                for page in self._api.pages(resource.path(), selector=selector, metadata_only=metadata_only):
                    yield _by_id(resource, page.items)
                return
            except ServerError as error:
                if error.status != 403 or not resource.namespaced:
                    raise _denied(error, f"list {resource.plural}") from None
            scopes = namespaces
        for namespace in scopes:
            try:
                for page in self._api.pages(resource.path(namespace), selector=selector, metadata_only=metadata_only):
                    yield _by_id(resource, page.items)
            except ServerError as error:
                raise _denied(error, f"list {resource.plural} in {namespace}") from None

    def _unmarked(self, resource: Resource, missing: Sequence[ObjectId]) -> dict[ObjectId, Object]:
        """Return those of *missing* that exist without our label."""
        todo = list(missing)
        if not by_get(len(todo)):
            todo = self._named(resource, todo)
        found: dict[ObjectId, Object] = {}
        for one in todo:
            live = self._api.get(resource.path(one.namespace, one.name))
            if live is not None:
                found[one] = live
        return found

    def _named(self, resource: Resource, missing: Sequence[ObjectId]) -> list[ObjectId]:
        """Return those of *missing* that may exist, by a list of names; stops where single requests are cheaper."""
        namespaces = sorted({one.namespace for one in missing})
        scopes = namespaces if resource.namespaced and len(namespaces) == 1 else [""]
        wanted, exist = set(missing), []
        try:
            for scope in scopes:
                for page in self._api.pages(resource.path(scope), metadata_only=True):
                    hits = wanted & set(_by_id(resource, page.items))
                    exist += sorted(hits)
                    wanted -= hits
                    if not wanted or (page.remaining and by_get(len(wanted), page.remaining)):
                        return [*exist, *(sorted(wanted) if page.remaining else [])]
        except ServerError as error:
            if error.status == 403 and resource.namespaced and len(namespaces) > 1:
                return list(missing)
            raise _denied(error, f"list {resource.plural}") from None
        return exist


def _by_id(resource: Resource, items: Iterable[Object]) -> dict[ObjectId, Object]:
    result = {}
    for item in items:
        metadata = item.get("metadata") or {}
        one = ObjectId(
            resource.group,
            resource.kind,
            str(metadata.get("namespace") or "") if resource.namespaced else "",
            str(metadata.get("name")),
        )
        # elements of a list come without these two
        result[one] = {**item, "apiVersion": resource.api_version, "kind": resource.kind}
    return result


def _denied(error: ServerError, verb: str) -> HackspaceError:
    if error.status != 403:
        return error
    return HackspaceError(
        "the cluster refuses to show it (HTTP 403).",
        item=verb,
        rule="forbidden",
        fix=f"the login in use needs the right to {verb}.",
        status=403,
    )


# -- plan ----------------------------------------------------------------------------------------------------------


def make_plan(api: Api, request: Request) -> Planned:
    """Validate, read, compare and dry-run; nothing is written.

    :raises InvalidInput: when what is wanted is wrong, by our rules or by the server's.
    :raises Refused: when it needs an option that was not given.
    """
    return plan_seen(api, request, look(api, request))


def look(api: Api, request: Request) -> Seen:
    """Validate and read.

    :raises InvalidInput: when what is wanted is wrong by our rules.
    """
    inventory = request.inventory.checked()
    discovery = api.discover()
    wanted = parse(
        request.sources,
        discovery,
        inventory,
        default_namespace=request.default_namespace,
        hidden_fields=request.hidden_fields,
    )
    current, resources = _read(api, discovery, inventory, wanted, request.coming)
    return Seen(inventory, wanted, current, resources)


def plan_seen(api: Api, request: Request, seen: Seen) -> Planned:
    """Compare and dry-run; nothing is written.

    :raises InvalidInput: when the server says that what is wanted is wrong.
    :raises Refused: when it needs an option that was not given.
    """
    inventory, wanted, current = seen.inventory, seen.wanted, seen.current
    absent = {one.id.name for one in wanted if order.is_namespace(one.id) and one.id not in current.live}
    absent |= request.coming
    comparisons = [
        compare(
            one,
            current,
            inventory,
            blind=not one.resource.served or (one.id.namespace in absent),
        )
        for one in wanted
    ]
    check_foreign(comparisons, adopt=request.options.adopt)
    todo = [c for c in comparisons if not c.same and not c.blind]
    early = dependent(comparisons, request.changing)
    trials = _dry_run(api, todo, early=early, force=request.options.force_conflicts)
    rules = redact.parse_rules(request.hidden_fields)
    planned = finish(
        comparisons,
        trials,
        current=current,
        inventory=inventory,
        options=request.options,
        resources=seen.resources,
        hidden=lambda one: redact.paths_for(rules, kind=one.kind, secret=is_secret(one.group, one.kind)),
    )
    if current.record is None and planned.plan.changed:
        _check_record_namespace(api, inventory, wanted, request.coming)
    return planned


def _read(
    api: Api, discovery: Discovery, inventory: Inventory, wanted: Sequence[Wanted], coming: frozenset[str]
) -> tuple[Current, dict[tuple[str, str], Resource]]:
    stored = api.get(f"/api/v1/namespaces/{inventory.namespace}/configmaps/{inventory.record_id.name}")
    recorded = record.parse(inventory, stored)
    resources: dict[tuple[str, str], Resource] = {}
    for one in recorded:
        known = discovery.preferred(*one.group_kind)
        if known is not None:
            resources[one.group_kind] = known
    for item in wanted:
        # A version that only the new CustomResourceDefinition brings is read through one that is served today.
        known = item.resource if item.resource.served else discovery.preferred(*item.id.group_kind)
        if known is not None:
            resources[item.id.group_kind] = known
    reader = _Reader(api, inventory)
    live: dict[ObjectId, Object] = {}
    absent: set[str] = set(coming)

    def read(kind: tuple[str, str]) -> dict[ObjectId, Object]:
        return reader.read(
            resources[kind],
            [w.id for w in wanted if w.id.group_kind == kind and w.id.namespace not in absent],
            [r for r in recorded if r.group_kind == kind],
        )

    namespaces = ("", "Namespace")
    if namespaces in resources:
        live |= read(namespaces)
        absent |= {w.id.name for w in wanted if w.id.group_kind == namespaces and w.id not in live}
    kinds = sorted(
        k
        for k in resources
        if k != namespaces
        and (
            any(w.id.group_kind == k and w.id.namespace not in absent for w in wanted)
            or any(r.group_kind == k for r in recorded)
        )
    )
    for part in _each(read, kinds):
        live |= part
    relevant = {w.id for w in wanted} | recorded
    return Current({k: v for k, v in live.items() if k in relevant}, recorded, stored), resources


def _check_record_namespace(api: Api, inventory: Inventory, wanted: Sequence[Wanted], coming: frozenset[str]) -> None:
    if inventory.namespace in coming or any(
        order.is_namespace(one.id) and one.id.name == inventory.namespace for one in wanted
    ):
        return
    if api.get(f"/api/v1/namespaces/{inventory.namespace}") is None:
        raise InvalidInput(
            f"the namespace {inventory.namespace} does not exist.",
            item="inventory.namespace",
            rule="inventory-namespace",
            fix="add the Namespace to the objects, or name one that exists.",
        )


def _dry_run(api: Api, todo: Sequence[Comparison], *, early: frozenset[ObjectId], force: bool) -> dict[ObjectId, Trial]:
    """Return what the server would make of each object.

    :param early: objects that the server may rightly refuse before others of the call are applied; nothing is known of
        them then, and they are applied in their turn.
    """

    def one(comparison: Comparison) -> Trial | HackspaceError | None:
        wanted = comparison.wanted
        path = wanted.resource.path(wanted.id.namespace, wanted.id.name)
        try:
            return Trial(api.apply(path, wanted.body, dry_run=True))
        except ServerError as error:
            if "does not support dry run" in error.said or (wanted.id in early and error.status not in (401, 409)):
                return None
            if not (force and _conflicts(error)):
                return explain(error, wanted)
            taken = tuple(f"{field} from {manager}" for field, manager in _conflicts(error))
        try:
            return Trial(api.apply(path, wanted.body, dry_run=True, force=True), taken)
        except ServerError as error:
            return explain(error, wanted)

    trials: dict[ObjectId, Trial] = {}
    errors: list[HackspaceError] = []
    for comparison, outcome in zip(todo, _each(one, todo), strict=True):
        if isinstance(outcome, HackspaceError):
            errors.append(outcome)
        elif outcome is not None:
            trials[comparison.wanted.id] = outcome
    if len(errors) == 1:
        raise errors[0]
    if errors:
        lines = [str(e) for e in errors]
        raise InvalidInput(
            f"the server's dry run refuses {len(errors)} objects: " + " | ".join(lines[:5]),
            item="objects",
            rule=errors[0].rule if len({e.rule for e in errors}) == 1 else "several",
            fix=errors[0].fix,
            status=errors[0].status,
            data={"refused": [{"item": e.item, "rule": e.rule, "msg": e.message, "fix": e.fix} for e in errors]},
        )
    return trials


# -- errors --------------------------------------------------------------------------------------------------------


def _conflicts(error: ServerError) -> list[tuple[str, str]]:
    """Return (field, manager) of a server-side apply conflict."""
    found = []
    for cause in error.causes:
        if cause.reason == "FieldManagerConflict":
            manager = cause.message.partition('conflict with "')[2].partition('"')[0] or cause.message
            found.append((cause.field.lstrip("."), manager))
    return found


def explain(error: ServerError, wanted: Wanted) -> HackspaceError:
    """Return a server's refusal of one object in our words: which object, which field, what to do."""
    where = f" ({wanted.where})" if wanted.where else ""
    item = f"{wanted.id}{where}"
    hidden = redact.values(wanted.body, wanted.hidden)
    said = redact.scrub(error.said, hidden).rstrip(".")
    conflicts = _conflicts(error)
    if conflicts:
        fields = "; ".join(f"{field} belongs to {manager}" for field, manager in conflicts)
        return Refused(
            f"{fields}.",
            item=item,
            rule="field-conflict",
            fix="leave the fields out, or set force_conflicts: true to take them over.",
            status=409,
            data={"conflicts": [{"field": field, "manager": manager} for field, manager in conflicts]},
        )
    if "admission webhook" in said or "ValidatingAdmissionPolicy" in said:
        return Refused(
            f"admission refuses it: {said}.",
            item=item,
            rule="admission",
            fix="change the object so that the rule is met; if the webhook's server is down, start it.",
            status=error.status,
        )
    if error.status == 403 and "exceeded quota" in said:
        return Refused(f"{said}.", item=item, rule="quota", fix="raise the ResourceQuota, or ask for less.", status=403)
    if error.status == 403 and "because it is being terminated" in said:
        return Refused(
            f"the namespace {wanted.id.namespace} is being deleted.",
            item=item,
            rule="terminating",
            fix="wait until it is gone.",
            status=403,
        )
    if error.status in (401, 403):
        return HackspaceError(
            f"{said}.",
            item=item,
            rule="forbidden" if error.status == 403 else "login",
            fix=(
                f"the login in use needs the verbs get, list, create, patch (and delete to prune) on "
                f"{wanted.resource.plural}, and for roles the rights that they grant."
                if error.status == 403
                else "check the token or the client certificate."
            ),
            status=error.status,
        )
    if error.status == 404 and said.startswith("namespaces "):
        return InvalidInput(
            f"the namespace {wanted.id.namespace} does not exist.",
            item=item,
            rule="namespace-missing",
            fix="add the Namespace to the objects.",
            status=404,
        )
    if error.status == 422:
        parts = [redact.scrub(f"{c.field}: {c.message}" if c.field else c.message, hidden) for c in error.causes]
        immutable = any("immutable" in c.message or "Forbidden: updates to" in c.message for c in error.causes)
        return InvalidInput(
            ("; ".join(parts) or said) + ".",
            item=item,
            rule="immutable" if immutable else "invalid",
            fix=(
                "the field cannot change: use another name, or delete the object by hand first."
                if immutable
                else "correct the field."
            ),
            status=422,
        )
    if error.status == 400 or "failed to create typed patch object" in said:
        said = said.partition("): ")[2] or said if said.startswith("failed to create typed") else said
        unknown = "unknown field" in said or "field not declared in schema" in said
        return InvalidInput(
            f"{said}.",
            item=item,
            rule="unknown-field" if unknown else "invalid",
            fix="check the spelling and the apiVersion." if unknown else "correct the object.",
            status=error.status,
        )
    return HackspaceError(
        f"HTTP {error.status}: {said}.",
        item=item,
        rule=error.rule or "http-status",
        fix=error.fix or "run again; what was done stays done.",
        status=error.status,
    )


# -- apply ---------------------------------------------------------------------------------------------------------


def execute(api: Api, planned: Planned, *, timeout: float) -> None:
    """Carry out a plan. Whenever it is cut off, the next plan finishes the work.

    :param timeout: seconds that a new CustomResourceDefinition may take to be served.
    """
    recording = RecordStep(frozenset(), frozenset())
    established = False
    for change in planned.plan.changes:
        step = change.payload
        if isinstance(step, RecordStep):
            recording = step
            if step.add or planned.current.record is None:
                _write_record(api, planned.inventory, add=step.add, remove=frozenset())
        elif isinstance(step, ApplyStep):
            if not step.wanted.resource.served and not established:
                _await_kinds(api, planned, timeout)
                established = True
            _apply_one(api, step, timeout)
        elif isinstance(step, DeleteStep):
            _delete_one(api, step)
        elif isinstance(step, ReleaseStep):
            _release_one(api, step)
    _close_record(api, planned, recording)


def _close_record(api: Api, planned: Planned, step: RecordStep) -> None:
    """Shrink the record. Whoever runs at the same time, what exists is in it at the end.

    A run that finds objects recorded and not there cannot know that another one is about to make them. So who makes
    objects looks at the record afterwards, and who takes such entries out looks at the objects afterwards.
    """
    if step.add or step.remove:
        _write_record(api, planned.inventory, add=step.add, remove=step.remove)
    reader = _Reader(api, planned.inventory)
    again: set[ObjectId] = set()
    for resource in {one.group_kind: resource for one, resource in step.released}.values():
        mine = {one for one, _resource in step.released if one.group_kind == resource.group_kind}
        again |= reader.owned(resource, {one.namespace for one in mine}).keys() & mine
    if again:
        _write_record(api, planned.inventory, add=frozenset(again), remove=frozenset())


def _apply_one(api: Api, step: ApplyStep, timeout: float) -> None:
    wanted = step.wanted
    path = wanted.resource.path(wanted.id.namespace, wanted.id.name)
    begin = time.monotonic()
    while True:
        try:
            api.apply(path, wanted.body, force=step.force)
            return
        except ServerError as error:
            # a kind or a schema that was applied a moment ago is not served by every API server yet
            patience = 0.0
            if not wanted.resource.served and error.status == 404 and not error.said.startswith("namespaces "):
                patience = timeout
            elif step.early and error.status not in (401, 403, 409):
                patience = min(_LAG, timeout)
            if time.monotonic() - begin >= patience:
                raise explain(error, wanted) from None
        time.sleep(0.2)


def _release_one(api: Api, step: ReleaseStep) -> None:
    """Apply nothing: the API server takes our fields away where nobody else has them."""
    wanted = step.wanted
    body: Object = {
        "apiVersion": wanted.resource.api_version,
        "kind": wanted.resource.kind,
        "metadata": {"name": wanted.id.name},
    }
    if wanted.id.namespace:
        body["metadata"]["namespace"] = wanted.id.namespace
    try:
        api.apply(wanted.resource.path(wanted.id.namespace, wanted.id.name), body)
    except ServerError as error:
        raise explain(error, wanted) from None


def _delete_one(api: Api, step: DeleteStep) -> None:
    try:
        api.delete(step.resource.path(step.id.namespace, step.id.name), uid=step.uid)
    except ServerError as error:
        raise HackspaceError(
            f"it cannot be deleted: {error.said or error.message}.",
            item=str(step.id),
            rule="forbidden" if error.status == 403 else "http-status",
            fix=f"the login in use needs the verb delete on {step.resource.plural}." if error.status == 403 else "",
            status=error.status,
        ) from None


def _write_record(api: Api, inventory: Inventory, *, add: frozenset[ObjectId], remove: frozenset[ObjectId]) -> None:
    """Add to or remove from the record, whatever another run wrote meanwhile."""
    path = f"/api/v1/namespaces/{inventory.namespace}/configmaps"
    one = f"{path}/{inventory.record_id.name}"
    last: ServerError | None = None
    for attempt in range(_ATTEMPTS):
        stored = api.get(one)
        ids = record.parse(inventory, stored)
        final = (ids | add) - remove
        if stored is not None and final == ids:
            return
        try:
            if stored is None:
                api.create(path, record.render(inventory, final))
            else:
                version = str(stored["metadata"].get("resourceVersion") or "")
                api.replace(one, record.render(inventory, final, version))
            return
        except ServerError as error:
            if error.status != 409:
                raise HackspaceError(
                    f"it cannot be written: {error.said or error.message}.",
                    item=str(inventory.record_id),
                    rule="forbidden" if error.status == 403 else "http-status",
                    fix=f"the login in use needs get, create and update on configmaps in {inventory.namespace}.",
                    status=error.status,
                ) from None
            last = error
        time.sleep(0.05 * (attempt + 1))
    raise HackspaceError(
        "other runs keep changing it.",
        item=str(inventory.record_id),
        rule="record-busy",
        fix="run again when they have ended.",
        status=409,
    ) from last


def _await_kinds(api: Api, planned: Planned, timeout: float) -> None:
    crds = [w for w in planned.wanted if order.is_crd(w.id)]
    wait_ready(api, planned, crds, timeout=timeout)


# -- wait ----------------------------------------------------------------------------------------------------------


def wait_ready(
    api: Api,
    planned: Planned,
    wanted: Sequence[Wanted],
    *,
    timeout: float,
    known: Mapping[ObjectId, Object] | None = None,
) -> list[str]:
    """Wait until all of *wanted* are ready; return those that were waited for.

    :param known: their state as read just now, if nothing was written since; spares the first round of requests.
    :raises HackspaceError: as soon as one has failed for good (``stalled``), or after *timeout* (``wait-timeout``).
    """
    reader = _Reader(api, planned.inventory)
    deadline = time.monotonic() + timeout
    pending = list(wanted)
    waited: dict[str, None] = {}
    pause = 0.25
    live = dict(known) if known is not None else None
    while True:
        if live is None:
            kinds = {w.id.group_kind: w.resource for w in pending}
            live = {}
            for part in _each(
                lambda r: reader.owned(r, {w.id.namespace for w in pending if w.id.group_kind == r.group_kind}),  # noqa: B023
                list(kinds.values()),
            ):
                live |= part
        states = [(w, status(live.get(w.id), *w.id.group_kind)) for w in pending]
        failed = [(w, s) for w, s in states if s.state == "failed"]
        if failed:
            raise _not_ready(failed, "stalled", "has failed", "read the message and the object's events.")
        late = [(w, s) for w, s in states if s.state == "waiting"]
        if not late:
            return list(waited)
        waited |= {str(w.id): None for w, _other in late}
        if time.monotonic() >= deadline:
            raise _not_ready(
                late, "wait-timeout", f"not ready after {timeout:g} s", "look at the reason, then run again."
            )
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2.0, pause * 1.5)
        pending = [w for w, _other in late]
        live = None


def _not_ready(found: Sequence[tuple[Wanted, Status]], rule: str, what: str, fix: str) -> HackspaceError:
    lines = [f"{w.id}: {redact.scrub(s.why, redact.values(w.body, w.hidden))}" for w, s in found]
    return HackspaceError(
        f"{len(lines)} object(s) {what}: " + "; ".join(lines[:10]) + ".",
        item=str(found[0][0].id),
        rule=rule,
        fix=fix,
        data={"not_ready": lines},
    )
