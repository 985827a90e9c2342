# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Moves an auth mount between the types ``kubernetes`` and ``jwt`` under the path that the tenants use.

The request of a login is the same for both types, so tenants notice nothing if the path stays. A mount of the wanted
type is made at ``<mount>.next``, configured and proved by a login there; then the two change places (``sys/remount``,
some ten milliseconds), and the old one is disabled. The OpenBao policy names both accessors meanwhile, and the old one
until the tokens that the old mount gave have expired: batch tokens outlive their mount, service tokens end with it.

Every state in which a run can be killed is one of :func:`way`, which leads on from there.
"""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping

from .._core.plan import Action, Change
from .access import retired
from .model import Cluster
from .state import ADOPTING, description, is_ours, mode_of
from .steps import Bao, NoteMode, Step, Swap

NEXT: t.Final = ".next"
OLD: t.Final = ".old"
#: Seconds between writing the OpenBao policy and the end of the old mount's last login, at most.
MARGIN: t.Final = 300

_SHOWN: t.Final = frozenset({"type", "description", "path"})
Mounts = Mapping[str, Mapping[str, t.Any]]


# -- which way -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Way:
    """How the mount of a cluster comes to its type.

    :ivar target: path that this run configures and proves; the mount itself where nothing has to move.
    :ivar stale: paths to be disabled first, left by a move in the other direction.
    :ivar swap: what changes its place after the proof, in this order.
    :ivar leftovers: paths to be disabled at the end.
    :ivar before: path whose logins went on until the swap; ``""`` if there is none.
    """

    target: str
    stale: tuple[str, ...] = ()
    swap: tuple[tuple[str, str], ...] = ()
    leftovers: tuple[str, ...] = ()
    before: str = ""

    @property
    def moves(self) -> bool:
        return bool(self.swap)


def way(mounts: Mounts, mount: str, wanted: str) -> Way:
    """Return the way to a mount of type *wanted* at *mount*, from whatever is there.

    :param mounts: path without slashes -> entry of ``sys/auth``.
    """
    types = {suffix: str((mounts.get(mount + suffix) or {}).get("type") or "") for suffix in ("", NEXT, OLD)}
    aside = tuple(mount + suffix for suffix in (NEXT, OLD) if types[suffix])
    if types[""] == wanted or (not types[""] and wanted not in (types[NEXT], types[OLD])):
        return Way(target=mount, leftovers=aside)
    target = OLD if types[OLD] == wanted and types[NEXT] != wanted else NEXT
    spare = OLD if target == NEXT else NEXT
    stale = [mount + target] if types[target] not in ("", wanted) else []
    swap = [(mount + target, mount)]
    if types[""]:
        if types[spare]:
            stale.append(mount + spare)
        swap.insert(0, (mount, mount + spare))
    before = mount if types[""] else mount + spare if types[spare] else ""
    leftovers = (mount + spare,) if before else ()
    return Way(mount + target, tuple(stale), tuple(swap), leftovers, before)


def foreign(mounts: Mounts, way_: Way) -> list[str]:
    """Return the paths besides the mount that this way would touch and that are not ours.

    Never to be adopted: a mount that is adopted gets our mark before it is put aside (:func:`first`).
    """
    paths = {*way_.stale, *way_.leftovers, way_.before, *(old for old, _new in way_.swap)}
    return sorted(path for path in paths if path != home(path) and path in mounts and not is_ours(mounts[path]))


def worked_by(mounts: Mounts, mount: str) -> str:
    """Return the path of the mount of the tenants, where an interrupted adoption has put it, if there was one."""
    aside = mount + OLD
    return aside if mode_of(mounts.get(aside)) == ADOPTING else mount


def still_named(mounts: Mounts, way_: Way, text: str, *, now: float, ttl: int) -> dict[str, int]:
    """Return the accessors that the OpenBao policy has to name besides that of the target.

    :param text: the present OpenBao policy.
    :param ttl: seconds that a token of a tenant lives.
    """
    found = retired(text, now)
    accessor = str((mounts.get(way_.before) or {}).get("accessor") or "")
    if way_.moves and accessor:
        found[accessor] = int(now) + MARGIN + ttl
    found.pop(str((mounts.get(way_.target) or {}).get("accessor") or ""), None)
    return found


# -- what is to be done --------------------------------------------------------------------------------------------


def _mount_change(
    cluster: Cluster, path: str, action: Action, step: Step, *, before: t.Any, after: t.Any, why: str
) -> Change:
    return Change("auth mount", f"{cluster.name}/{path}", action, before, after, why, _SHOWN, (step,))


def _disable(cluster: Cluster, mounts: Mounts, path: str, action: Action, why: str) -> Change:
    before = {"type": (mounts.get(path) or {}).get("type"), "path": path}
    step = Bao("DELETE", f"sys/auth/{path}")
    return _mount_change(cluster, path, action, step, before=before, after=None, why=why)


def first(cluster: Cluster, mounts: Mounts, way_: Way) -> list[Change]:
    """Return what comes before everything else in OpenBao."""
    why = "left by a move in the other direction"
    changes = [_disable(cluster, mounts, path, "reset", why) for path in way_.stale]
    entry = mounts.get(way_.before) or {}
    if way_.moves and entry and not is_ours(entry):
        before = {"description": entry.get("description")}
        after = {"description": description(cluster.name, ADOPTING)}
        step = Bao("POST", f"sys/auth/{way_.before}/tune", after)
        why = "the mark differs"
        changes.append(_mount_change(cluster, way_.before, "adopt", step, before=before, after=after, why=why))
    return changes


def arranged(changes: t.Sequence[Change], before: t.Sequence[Change], after: t.Sequence[Change]) -> list[Change]:
    """Return the changes of a cluster with those of its move, in the order in which they are carried out."""
    notes = [c for c in changes if any(isinstance(step, NoteMode) for step in c.payload or ())]
    deletions = [c for c in changes if c.action == "delete"]
    rest = [c for c in changes if c not in notes and c not in deletions]
    return [*before, *rest, *after, *deletions, *notes]


def last(cluster: Cluster, mounts: Mounts, way_: Way, wanted: str) -> list[Change]:
    """Return what comes after the proof: the change of places, then the end of what is not used any more.

    :param cluster: with the mount that the tenants use.
    """
    changes: list[Change] = []
    if way_.moves:
        old = (mounts.get(way_.before) or {}).get("type")
        why = f"type {old} becomes {wanted}" if way_.before == cluster.mount else "an interrupted move is finished"
        before = {"type": old, "path": cluster.mount} if way_.before == cluster.mount else None
        after = {"type": wanted, "path": cluster.mount}
        step = Swap(way_.swap)
        changes.append(_mount_change(cluster, cluster.mount, "update", step, before=before, after=after, why=why))
    for path in way_.leftovers:
        entry = mounts.get(path) or mounts.get(way_.before) or {}
        shown = {path: entry}
        changes.append(_disable(cluster, shown, path, "delete", "another mount has taken its place"))
    return changes


def noted(cluster: Cluster, mount: Mapping[str, t.Any]) -> Change:
    """Return the change that writes the mode down, when all that an earlier mode left is gone."""
    wanted = {"description": description(cluster.name, cluster.mode)}
    before = {"description": mount.get("description")}
    why = f"mode {mode_of(mount) or 'unknown'} becomes {cluster.mode}"
    path = home(cluster.mount)
    step = NoteMode(f"sys/auth/{path}/tune", wanted)
    return _mount_change(cluster, path, "update", step, before=before, after=wanted, why=why)


def home(path: str) -> str:
    """Return the path that the tenants use, for a path of a move."""
    return path.removesuffix(NEXT).removesuffix(OLD)
