# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""From what is wanted and what is there to a Plan; no input or output."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Collection, Mapping, Sequence

from .._core.errors import Refused
from .._core.plan import Action, Change, Plan
from .._core.prune import check_prune
from . import inventory as record
from . import order, redact, ssa
from .model import MANAGER, Inventory, ObjectId, Resource, Wanted
from .normalise import Object, comparable

#: Up to so many objects of a kind that are not found by label are looked up one by one.
FEW: t.Final = 2
_EARLY: t.Final = "what it needs comes in the same call"
#: Items in a page of a list.
PAGE: t.Final = 500
_CONFIG_MAP: t.Final = Resource("", "v1", "ConfigMap", "configmaps", namespaced=True)


@dataclasses.dataclass(frozen=True)
class Options:
    """What the user allows."""

    adopt: bool = False
    prune: bool = False
    prune_max_percent: int = 20
    prune_protected: bool = False
    force_conflicts: bool = False


@dataclasses.dataclass(frozen=True)
class Current:
    """What is there.

    :ivar live: by id, what was wanted or recorded and exists.
    :ivar recorded: ids in the ownership record.
    :ivar record: the record itself.
    """

    live: Mapping[ObjectId, Object]
    recorded: frozenset[ObjectId] = frozenset()
    record: Object | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One wanted object beside the live one.

    :ivar owner: who else owns it, ``""`` if it is ours or does not exist.
    :ivar fields: what seems to differ; empty means: as wanted, nothing to ask the server about.
    :ivar blind: no dry run is possible, as the namespace or the kind comes in the same call.
    """

    wanted: Wanted
    live: Object | None
    owner: str = ""
    fields: tuple[str, ...] = ()
    blind: bool = False

    @property
    def same(self) -> bool:
        return self.live is not None and not self.owner and not self.fields


@dataclasses.dataclass(frozen=True)
class Trial:
    """What the server's dry run of one object gave.

    :ivar result: the object as it would be.
    :ivar taken: fields taken over from others by force (``spec.replicas from kubectl-edit``).
    """

    result: Object
    taken: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ApplyStep:
    """Apply this object.

    :ivar early: it was not dry-run, as it needs what was applied just before and what servers may notice late.
    """

    wanted: Wanted
    force: bool
    early: bool = False


@dataclasses.dataclass(frozen=True)
class DeleteStep:
    """Delete this object."""

    id: ObjectId
    resource: Resource
    uid: str


@dataclasses.dataclass(frozen=True)
class RecordStep:
    """Bring the record up to date: ``add`` before the first object is made, ``remove`` when the last one is gone.

    :ivar released: those of ``remove`` that were not there, or not ours, when the plan was made, each with its kind.
        Another run may have recorded them a moment ago and make them now.
    """

    add: frozenset[ObjectId]
    remove: frozenset[ObjectId]
    released: tuple[tuple[ObjectId, Resource], ...] = ()


@dataclasses.dataclass(frozen=True)
class ReleaseStep:
    """Give up our fields of this object: what nobody else has goes, all else stays with those who have it."""

    wanted: Wanted


@dataclasses.dataclass
class Planned:
    """The plan and what its reader needs besides.

    :ivar stale: objects of the inventory that are no longer wanted and are kept.
    """

    plan: Plan
    wanted: list[Wanted]
    inventory: Inventory
    current: Current
    stale: list[str] = dataclasses.field(default_factory=list)


def by_get(missing: int, remaining: int = 0) -> bool:
    """Return whether to ask for *missing* objects one by one rather than to read (the rest of) their collection.

    :param remaining: items of the collection that are not read yet, as far as known.
    """
    return missing <= FEW or missing < -(-remaining // PAGE)


def compare(wanted: Wanted, current: Current, inventory: Inventory, *, blind: bool = False) -> Comparison:
    """Compare one object with what is live, without asking the server.

    :raises Refused: when the live object is being deleted.
    """
    live = current.live.get(wanted.id)
    if live is None:
        return Comparison(wanted, None, blind=blind)
    metadata = live.get("metadata") or {}
    if metadata.get("deletionTimestamp"):
        finalizers = ", ".join(metadata.get("finalizers") or [])
        raise Refused(
            f"it is being deleted since {metadata['deletionTimestamp']}"
            + (f" and held by its finalizers ({finalizers})." if finalizers else "."),
            item=str(wanted.id),
            rule="terminating",
            fix="wait until it is gone, or clear what holds it.",
        )
    owner = record.owner(inventory, wanted.id, live, current.recorded)
    owned = ssa.applied_fields(live, MANAGER)
    if owned is None:
        return Comparison(wanted, live, owner, ("not applied by us yet",), blind)
    fields = ssa.differences(wanted.body, live, owned)
    if (metadata.get("annotations") or {}).get(inventory.applied) != wanted.body["metadata"]["annotations"][
        inventory.applied
    ]:
        fields += [f"{name} (removed)" for name in ssa.dropped(wanted.body, owned)]
        fields = fields or ["values inside lists"]
    if not redact.hidden_equal(wanted.body, live, wanted.hidden):
        fields.append("hidden values")
    if ssa.applied_version(live, MANAGER) != wanted.resource.api_version:
        fields.append("apiVersion")
    return Comparison(wanted, live, owner, tuple(dict.fromkeys(fields)), blind)


def dependent(
    comparisons: Sequence[Comparison], changing_kinds: Collection[tuple[str, str]] = ()
) -> frozenset[ObjectId]:
    """Return the objects that the server can judge only after others of the same call have been applied.

    :param changing_kinds: group and kind of custom resources whose definitions change before these are applied.

    Custom resources whose CustomResourceDefinition changes, bindings whose roles change, and pods (which need their
    service account and priority class).
    """
    changing = [c for c in comparisons if not c.same]
    kinds = {
        (str(c.wanted.body["spec"]["group"]), str(c.wanted.body["spec"]["names"]["kind"]))
        for c in changing
        if order.is_crd(c.wanted.id)
    } | set(changing_kinds)
    roles = any(c.wanted.id.kind in ("Role", "ClusterRole") for c in changing)
    return frozenset(
        c.wanted.id
        for c in changing
        if c.wanted.id.group_kind in kinds
        or (roles and c.wanted.id.kind in ("RoleBinding", "ClusterRoleBinding"))
        or c.wanted.id.group_kind == ("", "Pod")
    )


def check_foreign(comparisons: Sequence[Comparison], *, adopt: bool) -> list[str]:
    """Return what is not ours, one line each.

    :raises Refused: when there is something and *adopt* does not allow to take it.
    """
    lines = [f"{c.wanted.id} ({c.owner})" for c in comparisons if c.owner]
    if lines and not adopt:
        shown = "; ".join(lines[:10]) + ("; ..." if len(lines) > 10 else "")
        raise Refused(
            f"{len(lines)} object(s) exist and are not ours: {shown}.",
            item="objects",
            rule="foreign",
            fix="set adopt: true to take them over, or leave them out.",
            data={"foreign": sorted(lines)},
        )
    return lines


def changed_fields(before: t.Any, after: t.Any, path: str = "") -> list[str]:
    """Return the paths at which two objects differ; names only, never values."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for key in sorted({*before, *after}, key=str):
            if before.get(key) != after.get(key):
                found += changed_fields(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        found = []
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            if one != other:
                found += changed_fields(one, other, f"{path}[{index}]")
        return found
    return [path]


def _why(fields: Sequence[str]) -> str:
    shown = ", ".join(fields[:4])
    return f"{shown} and {len(fields) - 4} more" if len(fields) > 4 else shown


def _ownership(body: Mapping[str, t.Any]) -> tuple[str, t.Any]:
    return ssa.applied_version(body, MANAGER), ssa.applied_fields(body, MANAGER)


def change_of(comparison: Comparison, trial: Trial | None, *, force: bool) -> Change | None:
    """Return the change of one object, ``None`` if the server's dry run shows that nothing would change."""
    wanted, live = comparison.wanted, comparison.live
    after: Object = trial.result if trial else wanted.body
    action: Action = "create" if live is None else "adopt" if comparison.owner else "update"
    why = ""
    if live is not None:
        if trial is not None:
            fields = changed_fields(comparable(live), comparable(after))
            if not fields and _ownership(live) == _ownership(after):
                return None
            why = _why(fields) if fields else "its fields become ours again"
        else:
            why = f"{_why(comparison.fields)}; not dry-run: {_EARLY}"
        if comparison.owner:
            why = f"was: {comparison.owner}"
    elif trial is None:
        why = f"not dry-run: {_EARLY}"
    if trial and trial.taken:
        why = f"{why}; takes {', '.join(trial.taken)}" if why else f"takes {', '.join(trial.taken)}"
    before_shown, after_shown = redact.pair(live, after, wanted.hidden)
    return Change(
        kind=wanted.id.kind,
        name=wanted.id.title,
        action=action,
        before=before_shown,
        after=after_shown,
        why=why,
        public=frozenset({*(before_shown or {}), *(after_shown or {})}),
        payload=ApplyStep(wanted, force=force, early=trial is None),
    )


@dataclasses.dataclass(frozen=True)
class _Leftovers:
    doomed: list[ObjectId]
    kept: dict[ObjectId, str]
    released: list[ObjectId]


def _leftovers(wanted: Collection[ObjectId], current: Current, inventory: Inventory, options: Options) -> _Leftovers:
    """Sort what is recorded and not wanted: to be deleted, kept (and why), or not ours (any more)."""
    doomed, kept, released = [], {}, []
    for one in sorted(current.recorded - set(wanted)):
        live = current.live.get(one)
        labels = ((live or {}).get("metadata") or {}).get("labels") or {}
        annotations = ((live or {}).get("metadata") or {}).get("annotations") or {}
        if live is None or labels.get(inventory.label) != inventory.name:
            released.append(one)
        elif annotations.get(inventory.prune) == "disabled":
            kept[one] = f"annotated {inventory.prune}: disabled"
        elif not options.prune:
            kept[one] = "prune is off"
        elif one.group_kind in order.PROTECTED and not options.prune_protected:
            kept[one] = "prune_protected is off"
        else:
            doomed.append(one)
    return _Leftovers(doomed, kept, released)


def finish(
    comparisons: Sequence[Comparison],
    trials: Mapping[ObjectId, Trial],
    *,
    current: Current,
    inventory: Inventory,
    options: Options,
    resources: Mapping[tuple[str, str], Resource],
    hidden: t.Callable[[ObjectId], tuple[redact.Path, ...]],
) -> Planned:
    """Put the plan together: namespaces, record, objects in order, deletions in reverse order.

    :param resources: of every kind in the record that the cluster still serves.
    :param hidden: the paths to hide in an object of this id.
    :raises Refused: when pruning looks like an accident.
    """
    plan = Plan(foreign=[f"{c.wanted.id} ({c.owner})" for c in comparisons if c.owner])
    first, rest = [], []
    for one in order.applied(comparisons, lambda c: c.wanted.id):
        change = None if one.same else change_of(one, trials.get(one.wanted.id), force=options.force_conflicts)
        if change is None:
            plan.unchanged += 1
        elif order.is_namespace(one.wanted.id):
            first.append(change)
        else:
            rest.append(change)

    ids = frozenset(c.wanted.id for c in comparisons)
    left = _leftovers(ids, current, inventory, options)
    check_prune(
        item=f"inventory {inventory.name}",
        doomed=[str(one) for one in left.doomed],
        desired=len(ids),
        owned=sum(1 for one in current.recorded if one in current.live),
        max_percent=options.prune_max_percent,
    )
    doomed = order.deleted(left.doomed)
    add = ids - current.recorded
    remove = frozenset(doomed) | frozenset(left.released)
    final = (current.recorded | ids) - remove
    if final != current.recorded or (current.record is None and ids):
        served = [(one, resources[one.group_kind]) for one in left.released if one.group_kind in resources]
        step = RecordStep(add, remove, tuple(served))
        plan.changes = [*first, _record_change(current, inventory, step, final), *rest]
    else:
        plan.changes = [*first, *rest]
    for gone in doomed:
        live = current.live[gone]
        before, _other = redact.pair(live, None, hidden(gone))
        plan.add(
            Change(
                kind=gone.kind,
                name=gone.title,
                action="delete",
                before=before,
                after=None,
                why="no longer wanted",
                public=frozenset(before or {}),
                payload=DeleteStep(gone, resources[gone.group_kind], str(live["metadata"].get("uid") or "")),
            )
        )
    return Planned(
        plan=plan,
        wanted=[c.wanted for c in comparisons],
        inventory=inventory,
        current=current,
        stale=[f"{one} ({why})" for one, why in sorted(left.kept.items())],
    )


def _record_change(
    current: Current,
    inventory: Inventory,
    step: RecordStep,
    final: frozenset[ObjectId],
) -> Change:
    parts = [f"{len(step.add)} more"] if step.add else []
    parts += [f"{len(step.remove)} fewer"] if step.remove else []
    before = None if current.record is None else {"objects": sorted(map(str, current.recorded))}
    return Change(
        kind="inventory record",
        name=inventory.record_id.title,
        action="create" if current.record is None else "update",
        before=before,
        after={"objects": sorted(map(str, final))},
        why=", ".join(parts),
        public=frozenset({"objects"}),
        payload=step,
    )


def release(wanted: Sequence[Wanted], given: Collection[ObjectId], current: Current, inventory: Inventory) -> Planned:
    """Return the plan that hands objects over to whoever else has applied them.

    :param wanted: the objects of the inventory.
    :param given: which of them others have.
    """
    plan = Plan()
    for one in wanted:
        live = current.live.get(one.id)
        owned = None if live is None or one.id not in given else ssa.applied_fields(live, MANAGER)
        if live is None or owned is None:
            continue
        alone = ssa.only_ours(live, MANAGER)
        plan.add(
            Change(
                kind=one.id.kind,
                name=one.id.title,
                action="update",
                before={"fields only we have": alone},
                after={"fields only we have": []},
                why="handed over" + (f"; goes: {_why(alone)}" if alone else ""),
                public=frozenset({"fields only we have"}),
                payload=ReleaseStep(one),
            )
        )
    gone = current.recorded & frozenset(given)
    # What is recorded and was taken out of Git before is nobody's; the record forgets it.
    gone |= {one for one in current.recorded if one not in current.live}
    left = current.recorded - gone
    if current.record is not None and not left:
        plan.add(
            Change(
                kind="inventory record",
                name=inventory.record_id.title,
                action="delete",
                before={"objects": sorted(map(str, current.recorded))},
                after=None,
                why="handed over",
                public=frozenset({"objects"}),
                payload=DeleteStep(inventory.record_id, _CONFIG_MAP, str(current.record["metadata"].get("uid") or "")),
            )
        )
    elif gone:
        plan.add(_record_change(current, inventory, RecordStep(frozenset(), gone), left))
    return Planned(plan=plan, wanted=list(wanted), inventory=inventory, current=current)
