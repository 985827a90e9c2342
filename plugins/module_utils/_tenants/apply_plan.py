# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Whose object is it: errors, changes and leftovers by tenant, so that one tenant's trouble stays its own. Pure."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Collection, Iterable, Mapping, Sequence

from .._core.errors import HackspaceError
from .._core.plan import Change
from .._core.prune import check_prune
from .._kube import order, redact
from .._kube.model import Inventory, ObjectId, Resource, Source
from .._kube.normalise import Object
from .._kube.plan import ApplyStep, Current, DeleteStep, RecordStep

#: What all tenants share, in place of a tenant's name.
SHARED: t.Final = ""
_WHERE: t.Final = "tenant "


@dataclasses.dataclass(frozen=True)
class Bundle:
    """The objects of one tenant.

    :ivar tenant: its name; :data:`SHARED` for what all have in common.
    :ivar namespaces: all that it has.
    """

    tenant: str
    namespaces: tuple[str, ...]
    objects: tuple[Object, ...]

    def sources(self) -> list[Source]:
        """Return the objects as :mod:`_kube` takes them."""
        where = f"{_WHERE}{self.tenant}" if self.tenant else "shared by all tenants"
        return [Source(dict(one), where) for one in self.objects]


def owners(bundles: Iterable[Bundle]) -> dict[ObjectId, str]:
    """Return whose each object is."""
    return {ObjectId.of(body): bundle.tenant for bundle in bundles for body in bundle.objects}


def blamed(error: HackspaceError, by_id: Mapping[ObjectId, str]) -> dict[str, str]:
    """Return the tenants that an error is about, each with what is said of it; empty if it is about all of them.

    The engine names objects as ``Kind namespace/name (where)``, alone or in lists.
    """
    names = {str(one): tenant for one, tenant in by_id.items()}
    lines: list[tuple[str, str]] = [(str(one.get("item")), _sentence(one)) for one in error.data.get("refused") or ()]
    lines += [(str(one), f"exists and is not ours: {one}") for one in error.data.get("foreign") or ()]
    if not lines:
        lines = [(error.item, str(error))]
    found: dict[str, str] = {}
    for item, said in lines:
        tenant = names.get(item.partition(" (")[0])
        if tenant is None and item.startswith(_WHERE):
            tenant = item.removeprefix(_WHERE).partition(":")[0]
        if not tenant:
            return {}
        found[tenant] = f"{found[tenant]} | {said}" if tenant in found else said
    return found


def _sentence(one: Mapping[str, t.Any]) -> str:
    text = f"{one.get('item')}: {one.get('msg')} [{one.get('rule')}]"
    return f"{text} Fix: {one['fix']}" if one.get("fix") else text


@dataclasses.dataclass
class Left:
    """What is recorded and not rendered any more.

    :ivar doomed: of tenants that are declared; pruning may take it.
    :ivar undeclared: namespace -> what is in it, for namespaces that no declaration has any more. Nothing touches it.
    """

    doomed: list[ObjectId] = dataclasses.field(default_factory=list)
    undeclared: dict[str, list[ObjectId]] = dataclasses.field(default_factory=dict)
    kept: list[str] = dataclasses.field(default_factory=list)


def leftovers(
    current: Current, inventory: Inventory, wanted: Collection[ObjectId], namespaces: Collection[str], *, safe: bool
) -> Left:
    """Sort what is recorded, still ours, and not wanted.

    :param namespaces: those of tenants whose declarations are whole and that are active.
    :param safe: every tenant has its plan; otherwise nothing may be pruned but rights.
    """
    found = Left()
    for one in sorted(current.recorded - set(wanted)):
        live = current.live.get(one)
        metadata = (live or {}).get("metadata") or {}
        if live is None or (metadata.get("labels") or {}).get(inventory.label) != inventory.name:
            continue
        place = one.name if order.is_namespace(one) else one.namespace
        if place and place not in namespaces:
            found.undeclared.setdefault(place, []).append(one)
        elif (metadata.get("annotations") or {}).get(inventory.prune) == "disabled":
            found.kept.append(f"{one} (annotated {inventory.prune}: disabled)")
        elif one.group_kind in order.PROTECTED or not (safe or is_right(one)):
            found.kept.append(f"{one} ({'never pruned' if safe else 'another tenant failed'})")
        else:
            found.doomed.append(one)
    return found


def is_right(one: ObjectId) -> bool:
    """Say whether this gives somebody rights: who is no longer declared loses them, whatever is said of pruning."""
    return one.group_kind == ("rbac.authorization.k8s.io", "RoleBinding")


def check_cap(doomed: Sequence[ObjectId], current: Current, *, desired: int, max_percent: int) -> None:
    """Refuse to prune what looks like an accident.

    :raises Refused: rules ``prune-cap``, ``prune-empty``.
    """
    check_prune(
        item="tenants",
        doomed=[str(one) for one in doomed],
        desired=desired,
        owned=sum(1 for one in current.recorded if one in current.live),
        max_percent=max_percent,
    )


def deletions(
    doomed: Sequence[ObjectId], current: Current, resources: Mapping[tuple[str, str], Resource]
) -> list[Change]:
    """Return the changes that delete."""
    made = []
    for one in order.deleted(doomed):
        live = current.live[one]
        before, _after = redact.pair(live, None, redact.paths_for((), kind=one.kind, secret=one.kind == "Secret"))
        made.append(
            Change(
                kind=one.kind,
                name=one.title,
                action="delete",
                before=before,
                after=None,
                why="no longer wanted",
                public=frozenset(before or {}),
                payload=DeleteStep(one, resources[one.group_kind], str(live["metadata"].get("uid") or "")),
            )
        )
    return made


@dataclasses.dataclass
class Stages:
    """The changes of a plan, by who is concerned.

    :ivar record: the record grows, before anything is made.
    :ivar tenants: by name, :data:`SHARED` first.
    :ivar last: what is deleted.
    """

    record: RecordStep | None
    record_change: Change | None
    tenants: dict[str, list[Change]]
    last: list[Change]

    @property
    def all(self) -> list[Change]:
        """Every change in the order in which it is made."""
        record = [self.record_change] if self.record_change else []
        return [*record, *(c for part in self.tenants.values() for c in part), *self.last]


def stage(changes: Sequence[Change], by_id: Mapping[ObjectId, str], deletes: Sequence[Change]) -> Stages:
    """Sort the changes of a plan by tenant; the order within each stays."""
    made = Stages(None, None, {SHARED: []}, list(deletes))
    for change in changes:
        step = change.payload
        if isinstance(step, RecordStep):
            made.record, made.record_change = step, change
        elif isinstance(step, ApplyStep):
            made.tenants.setdefault(by_id.get(step.wanted.id, SHARED), []).append(change)
    return made
