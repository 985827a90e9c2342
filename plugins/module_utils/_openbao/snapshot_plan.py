# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Which snapshots to save, keep and delete, and whether one may be restored. No input, no output, no clock."""

from __future__ import annotations

import dataclasses
import typing as t
from datetime import datetime

from .._core.errors import HackspaceError, InvalidInput, Refused
from .._core.plan import Change, Plan
from .._core.prune import check_prune
from .seal_model import NodeState, Overview
from .snapshot_model import ASKED, SIDECAR, Cluster, Keep, Settings, Shares, Sidecar

PUBLIC: t.Final = frozenset({"file", "saved_at", "size", "sha256", "shares", "cluster", "raft", "why", "from", "to"})

AHEAD: t.Final = 60
"""Seconds that the newest snapshot may be ahead of the clock; more than anybody saves within one second."""


@dataclasses.dataclass(frozen=True)
class Found:
    """A file of a folder of snapshots.

    :ivar sidecar: ``None`` where it has none of ours.
    :ivar size: bytes; ``None`` if only the sidecar is there.
    :ivar problem: why it does not count (``no sidecar``, ``damaged: ...``).
    """

    name: str
    sidecar: Sidecar | None
    size: int | None
    problem: str = ""

    @property
    def whole(self) -> bool:
        return self.sidecar is not None and self.size == self.sidecar.size and not self.problem


def ours(found: t.Sequence[Found], cluster: Cluster) -> list[Found]:
    """Return the whole snapshots of *cluster*, newest first."""
    mine = [(f.sidecar.saved_at, f) for f in found if f.whole and f.sidecar and _same(f.sidecar.cluster, cluster)]
    return [f for _at, f in sorted(mine, key=lambda pair: (pair[0], pair[1].name), reverse=True)]


def _same(one: Cluster, other: Cluster) -> bool:
    return bool(one.fingerprint) and one.fingerprint == other.fingerprint


def fresh(found: t.Sequence[Found], cluster: Cluster, shares: Shares, *, now: datetime, max_age: int) -> list[Found]:
    """Return the snapshots that are young enough to count as present, newest first.

    One of the future is not, and none from before a restore, as the data is another since, or from before the unseal
    shares were rotated or the seal was moved, as others open it.

    :param shares: those in force.
    """
    result: list[Found] = []
    for one in ours(found, cluster):
        if one.sidecar is None or one.sidecar.why != ASKED or not _opened_by(one.sidecar.shares, shares):
            break
        if 0 <= (now - one.sidecar.saved_at).total_seconds() < max_age:
            result.append(one)
    return result


def _opened_by(one: Shares, other: Shares) -> bool:
    """Say if both are the same shares, as far as is known."""
    if (one.kind, one.threshold, one.total) != (other.kind, other.threshold, other.total):
        return False
    return not one.generation or not other.generation or one.generation == other.generation


def kept(times: t.Mapping[str, datetime], keep: Keep) -> dict[str, str]:
    """Return name -> why for the snapshots to keep: the newest of all, and the newest of each day, week and month."""
    newest_first = sorted(times, key=lambda name: (times[name], name), reverse=True)
    found: dict[str, str] = {}
    for name in newest_first[: max(keep.last, 1)]:  # the newest one always
        found.setdefault(name, "last")
    periods: tuple[tuple[str, int, t.Callable[[datetime], t.Any]], ...] = (
        ("daily", keep.daily, lambda at: at.date()),
        ("weekly", keep.weekly, lambda at: at.isocalendar()[:2]),
        ("monthly", keep.monthly, lambda at: (at.year, at.month)),
    )
    for word, count, period in periods:
        seen: list[t.Any] = []
        for name in newest_first:
            mark = period(times[name])
            if mark not in seen:
                if len(seen) == count:
                    break
                seen.append(mark)
                found.setdefault(name, word)
    return found


@dataclasses.dataclass(frozen=True)
class SavePlan:
    """What a run of ``state: saved`` does.

    :ivar present: name of the snapshot that is good enough; empty when one is to be saved.
    :ivar prune: names to delete, oldest first.
    :ivar keep: name -> why.
    """

    plan: Plan
    present: str
    prune: tuple[str, ...]
    keep: dict[str, str]
    leftovers: tuple[str, ...]
    owned: int

    def check_cap(self, settings: Settings) -> None:
        """Refuse to delete what looks like too much.

        :raises Refused: ``prune-cap``.
        """
        check_prune(
            item="folder",
            doomed=self.prune,
            desired=len(self.keep),
            owned=self.owned,
            max_percent=settings.prune_max_percent,
        )


def plan_save(
    settings: Settings,
    cluster: Cluster,
    found: t.Sequence[Found],
    *,
    now: datetime,
    new: str,
    present: str,
) -> SavePlan:
    """Return what to save and what to delete.

    :param new: name that a new snapshot gets.
    :param present: name of a snapshot just read and found whole that is young enough; empty for none.
    """
    plan = Plan()
    mine = ours(found, cluster)
    times = {f.name: f.sidecar.saved_at for f in mine if f.sidecar}
    if present:
        plan.unchanged = 1
    else:
        times[new] = now
        plan.add(
            Change(
                "snapshot",
                new,
                "create",
                after={"file": new, "cluster": str(cluster)},
                why=f"none of the last {settings.max_age} s" if settings.max_age else "asked",
                public=PUBLIC,
            )
        )
    keep = kept(times, settings.keep)
    keep.setdefault(present or new, "last")
    doomed: list[str] = []
    leftovers: list[str] = []
    if settings.prune:
        doomed = sorted((name for name in times if name not in keep), key=lambda name: times[name])
        leftovers = [
            f.name for f in found if f.size is None and f.sidecar is not None and _same(f.sidecar.cluster, cluster)
        ]
    sidecars = {f.name: f.sidecar for f in mine}
    for name in doomed:
        record = sidecars[name]
        plan.add(
            Change(
                "snapshot",
                name,
                "delete",
                before={"file": name, "saved_at": record.document()["saved_at"] if record else "", "why": "superseded"},
                why="not among those to keep",
                public=PUBLIC,
            )
        )
    for name in leftovers:
        plan.add(Change("sidecar", name + SIDECAR, "delete", why="its snapshot is not there"))
    plan.foreign.extend(sorted(f.name for f in found if f.name not in times and f.name not in leftovers))
    plan.warnings.extend(f"{f.name}: {f.problem}." for f in found if f.problem.startswith("damaged"))
    return SavePlan(plan, present, tuple(doomed), keep, tuple(leftovers), len(times))


def clock(found: t.Sequence[Found], cluster: Cluster, now: datetime) -> datetime:
    """Return *now*, or the time of the newest snapshot where that is a little later.

    A snapshot whose name was taken is dated to the next second that is free, so that several in one second come to be
    dated ahead of the clock. :data:`AHEAD` seconds are taken for that, more for a clock that is wrong.
    """
    for one in ours(found, cluster)[:1]:
        if one.sidecar and 0 < (one.sidecar.saved_at - now).total_seconds() <= AHEAD:
            return one.sidecar.saved_at
    return now


def age(saved: datetime, now: datetime) -> str:
    """Say how old something is."""
    seconds = int((now - saved).total_seconds())
    if seconds < 0:
        return "from the future: look at the clocks"
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{seconds // size} {word}s old"
    return f"{seconds} s old"


# -- the server ----------------------------------------------------------------------------------------------------


def check_server(overview: Overview) -> NodeState:
    """Return the active node, which is one that can take and restore snapshots.

    :raises HackspaceError: ``no-active-node``, ``not-raft``.
    """
    active = overview.active
    if active is None:
        raise HackspaceError(
            f"no active node: {'; '.join(s.line() for s in overview.states)}.",
            item="nodes",
            rule="no-active-node",
            fix="run playbooks/unseal.yml for sealed nodes, start those that do not answer, or wait for the election.",
            data={"nodes": [s.report() for s in overview.states]},
        )
    if active.storage and active.storage != "raft":
        raise HackspaceError(
            f"stores its data in {active.storage}; there are snapshots of raft storage only.",
            item=active.node.url,
            rule="not-raft",
            fix=f"save the {active.storage} storage by its own means.",
        )
    return active


def check_rights(path: str, found: t.Sequence[str] | None, needed: t.Collection[str], *, item: str) -> list[str]:
    """Refuse early what the server would refuse later; return a warning where that can't be told.

    :param found: capabilities of the login on *path*; ``None`` where the server did not say.
    :raises HackspaceError: ``http-status`` 403, as the server's own answer would be.
    """
    if found is None:
        return [
            f"the login may not ask for its own rights, so that it shows only when it is done if it may use {path}."
        ]
    if "root" in found or set(needed) & set(found):
        return []
    raise HackspaceError(
        f"the login in use may not {' or '.join(sorted(needed))} {path}.",
        item=item,
        rule="http-status",
        fix=f'it needs an OpenBao policy with: path "{path}" {{ capabilities = {_quoted(needed)} }}',
        status=403,
    )


def _quoted(words: t.Collection[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in sorted(words)) + "]"


# -- restoring -----------------------------------------------------------------------------------------------------


def check_restore(settings: Settings, record: Sidecar | None, cluster: Cluster, *, check_mode: bool) -> None:
    """Say whether the snapshot may replace the data of *cluster*.

    :param record: the sidecar; ``None`` where there is none.
    :raises Refused: rules ``no-sidecar``, ``other-cluster``, ``confirm``.
    """
    if record is None and not settings.force:
        raise Refused(
            "has no sidecar, so that nobody can say of which cluster and for which unseal shares it is.",
            item=settings.file,
            rule="no-sidecar",
            fix=f"bring back {settings.file}{SIDECAR}, or set force: true if you know both.",
        )
    if record is not None and not _same(record.cluster, cluster) and not settings.force:
        raise Refused(
            f"is of the cluster {record.cluster}, the server is {cluster}.",
            item=settings.file,
            rule="other-cluster",
            fix=f"give this cluster's snapshot; force: true restores it, and then {record.shares.words()} open it.",
        )
    name = settings.platform_name or cluster.name
    if not name:
        raise InvalidInput(
            "the server has no cluster name that could be typed.",
            item="platform_name",
            rule="confirm-name",
            fix="give platform_name.",
        )
    if settings.confirm != name and (settings.confirm or not check_mode):
        raise Refused(
            f"all data of {name} would be replaced, and {settings.confirm!r} was typed to confirm it."
            if settings.confirm
            else f"all data of {name} would be replaced, and nobody confirmed it.",
            item="confirm",
            rule="confirm",
            fix=f"look twice, then type its name: confirm: {name}.",
        )


def plan_restore(
    settings: Settings, record: Sidecar | None, cluster: Cluster, *, name: str, safety: str, index: int
) -> Plan:
    """Return what a restore does.

    :param name: of the snapshot.
    :param safety: name of the snapshot of the present state; empty without one.
    :param index: raft index of the snapshot.
    """
    plan = Plan()
    if safety:
        plan.add(
            Change(
                "snapshot",
                safety,
                "create",
                after={"file": safety, "cluster": str(cluster)},
                why="the present state, before it is replaced",
                public=PUBLIC,
            )
        )
    after: dict[str, t.Any] = {"from": name, "raft": {"index": index}}
    if record:
        after |= {
            "saved_at": record.document()["saved_at"],
            "cluster": str(record.cluster),
            "shares": record.shares.words(),
        }
    plan.add(
        Change(
            "OpenBao data",
            cluster.name or "cluster",
            "reset",
            before={"cluster": str(cluster)},
            after=after,
            why="restored by force" if settings.force else "restored",
            public=PUBLIC,
        )
    )
    if record is None:
        plan.warnings.append("the snapshot has no sidecar: its cluster and its unseal shares are not known.")
    elif settings.force and not _same(record.cluster, cluster):
        plan.warnings.append(f"the snapshot is of another cluster, {record.cluster}: {record.shares.words()} open it.")
    return plan


def other_keys(error: HackspaceError, record: Sidecar | None, file: str) -> HackspaceError:
    """Say it in our words when the server refuses a snapshot because its keys are not the present ones."""
    said = " ".join(getattr(error, "errors", []))
    if error.status != 400 or "hash file" not in said:
        return error
    opens = record.shares.words() if record else "the unseal shares of its time"
    return Refused(
        "was saved under other keys than the server's present ones: another cluster's, or this one's before its "
        "unseal shares were rotated.",
        item=file,
        rule="other-keys",
        fix=f"set force: true; afterwards {opens} open it, and no others.",
        status=400,
    )


def after_restore(overview: Overview, record: Sidecar | None, *, sent_to: str, next_command: str) -> list[str]:
    """Return what to do now, for a person."""
    lines = [s.line() for s in overview.states]
    opens = record.shares.words() if record else "the unseal shares of the snapshot's time"
    gone = overview.named("unreachable")
    if gone:
        lines.append(f"start {', '.join(gone)} again: it will be sealed")
    if overview.sealed:
        lines.append(f"sealed under the snapshot's keys: {opens} open it")
        lines.append(f"next: {next_command}")
    else:
        lines.append(f"from the next restart on, {opens} open it")
    if not overview.sealed and overview.active is None:
        lines.append("no active node yet: look again with openbao_seal_info")
    elif overview.active is not None and overview.active.name != sent_to:
        lines.append(
            f"the active node changed from {sent_to} to {overview.active.name} during the restore: look whether the "
            "data is that of the snapshot"
        )
    lines.append(
        "tokens, leases and reviewers' tokens are those of the snapshot's time: run playbooks/reviewers.yml"
        + (" after that" if overview.sealed else "")
    )
    return lines
