# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Subvolume groups of CephFS: the folders in which consumers have their volumes. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Mapping, Sequence

from .._core.errors import InvalidInput, Refused, check
from .._core.plan import Change, Plan
from . import marks
from .marks import Marks
from .ports import Answer, Command
from .values import need_amount

KIND: t.Final = "subvolume group"
#: What an export pin, a distributed pin and a random pin may be set to.
PINS: t.Final = ("export", "distributed", "random")
#: Made by Ceph for volumes without a group, and never ours.
_RESERVED: t.Final = frozenset({"_nogroup", "_index", "_legacy", "_deleting"})
_NAME: t.Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_PUBLIC: t.Final = frozenset({"quota", "data_pool", "pin"})
_ENOENT: t.Final = -2


@dataclasses.dataclass(frozen=True)
class Group:
    """A declared group.

    :ivar quota: bytes; 0 for none, None to leave it.
    :ivar data_pool: where its files are; empty for the file system's first.
    :ivar pin: kind and setting, such as ``distributed 1``; empty to leave it.
    """

    filesystem: str
    name: str
    quota: int | None = None
    data_pool: str = ""
    pin: tuple[str, str] | None = None
    shrink: bool = False
    absent: bool = False
    item: str = dataclasses.field(default="", compare=False)

    @property
    def full(self) -> str:
        """File system and name."""
        return f"{self.filesystem}/{self.name}"


@dataclasses.dataclass(frozen=True)
class Existing:
    """A group as the server has it."""

    quota: int
    used: int
    data_pool: str


@dataclasses.dataclass(frozen=True)
class Present:
    """What there is.

    :ivar filesystems: file system -> its data pools.
    :ivar groups: by file system and name, those that are declared.
    :ivar subvolumes: ``filesystem/group`` -> volumes in it, for those that are to go.
    """

    filesystems: Mapping[str, Sequence[str]]
    groups: Mapping[str, Existing]
    subvolumes: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    marks: Marks = dataclasses.field(default_factory=lambda: Marks({}))


def parse(declared: Sequence[Mapping[str, t.Any]], where: str = "groups") -> list[Group]:
    """Return the declared groups."""
    result: list[Group] = []
    for index, one in enumerate(declared):
        here = f"{where}[{index}]"
        filesystem, name = one.get("filesystem") or "", one.get("name") or ""
        for what, value in (("filesystem", filesystem), ("name", name)):
            check(
                _NAME.fullmatch(value) and value not in _RESERVED,
                f"{value!r} is no name that CephFS takes for it.",
                item=f"{here}.{what}",
                rule="subvolume-group-name",
                fix="use letters, digits, dots, hyphens and underscores.",
            )
        item = f"{where}[{filesystem}/{name}]"
        quota = one.get("quota")
        made = Group(
            filesystem,
            name,
            None if quota is None else need_amount(quota, f"{item}.quota"),
            one.get("data_pool") or "",
            _pin(one.get("pin"), item),
            bool(one.get("shrink")),
            one.get("state", "present") == "absent",
            item,
        )
        check(
            all(made.full != other.full for other in result),
            "is declared twice.",
            item=item,
            rule="subvolume-group-twice",
            fix="each group belongs to one consumer: declare it once.",
        )
        result.append(made)
    return result


def _pin(given: Mapping[str, t.Any] | None, item: str) -> tuple[str, str] | None:
    if not given:
        return None
    kind, setting = given.get("type") or "", str(given.get("setting", ""))
    right = {
        "export": re.fullmatch(r"-1|[0-9]{1,3}", setting),
        "distributed": setting in ("0", "1"),
        "random": re.fullmatch(r"0(\.[0-9]+)?|1(\.0+)?", setting),
    }
    check(
        right.get(kind),
        f"{kind!r} can't be set to {setting!r}.",
        item=f"{item}.pin",
        rule="subvolume-group-pin",
        fix="export takes a rank or -1, distributed 0 or 1, random a share from 0 to 1.",
    )
    return kind, setting


# -- reading ---------------------------------------------------------------------------------------------------------


def filesystems(out: t.Any) -> dict[str, list[str]]:
    """Return file systems and their data pools out of the answer to ``fs ls``."""
    return {one["name"]: list(one.get("data_pools") or ()) for one in out or ()}


def ask(group: Group) -> Command:
    """Return the command that asks for a group; one that is not there is no failure."""
    arguments = {"vol_name": group.filesystem, "group_name": group.name}
    return Command("fs subvolumegroup info", arguments, "mgr", ok=frozenset({_ENOENT}))


def ask_volumes(group: Group) -> Command:
    """Return the command that asks what is in a group."""
    arguments = {"vol_name": group.filesystem, "group_name": group.name}
    return Command("fs subvolume ls", arguments, "mgr", ok=frozenset({_ENOENT}))


def existing(answer: Answer) -> Existing | None:
    """Return a group out of the answer."""
    if answer.code or not isinstance(answer.out, dict):
        return None
    quota = answer.out.get("bytes_quota")
    return Existing(
        quota if isinstance(quota, int) else 0,
        int(answer.out.get("bytes_used") or 0),
        str(answer.out.get("data_pool") or ""),
    )


def check_filesystems(wanted: Sequence[Group], there: Mapping[str, Sequence[str]]) -> None:
    """Refuse groups in file systems, and data pools, that are not there."""
    for one in wanted:
        if one.filesystem not in there:
            raise InvalidInput(
                f"there is no file system {one.filesystem}.",
                item=one.item,
                rule="subvolume-group-filesystem",
                fix=f"there are {', '.join(sorted(there)) or 'none'}.",
            )
        if one.data_pool and one.data_pool not in there[one.filesystem]:
            raise InvalidInput(
                f"{one.data_pool} is no data pool of {one.filesystem}.",
                item=f"{one.item}.data_pool",
                rule="subvolume-group-pool",
                fix=f"there are {', '.join(there[one.filesystem])}; ceph fs add_data_pool adds one.",
            )


# -- planning --------------------------------------------------------------------------------------------------------


def plan(present: Present, wanted: Sequence[Group], *, adopt: bool) -> Plan:
    """Return what is to be done, deletions last.

    :raises Refused: for what would delete volumes, or take what is somebody else's.
    """
    result, gone = Plan(), Plan()
    for group in wanted:
        there = present.groups.get(group.full)
        if group.absent:
            _remove(group, there, present, gone)
        elif there is None:
            result.add(_create(group))
        else:
            _keep(group, there, present, result, adopt=adopt)
    result.extend(gone)
    if result.foreign and not adopt:
        raise Refused(
            f"these groups exist, differ, and were not made here: {', '.join(sorted(result.foreign))}.",
            item="groups",
            rule="not-ours",
            fix="say adopt: true to take them over; what is in them stays.",
            data={"foreign": sorted(result.foreign)},
        )
    return result


def _about(group: Group) -> dict[str, t.Any]:
    return {"pin": list(group.pin)} if group.pin else {}


def _where(group: Group) -> dict[str, t.Any]:
    return {"vol_name": group.filesystem, "group_name": group.name}


def _pinned(group: Group) -> list[Command]:
    if not group.pin:
        return []
    kind, setting = group.pin
    arguments = {**_where(group), "pin_type": kind, "pin_setting": setting}
    return [Command("fs subvolumegroup pin", arguments, "mgr")]


def _create(group: Group) -> Change:
    arguments = _where(group)
    if group.quota:
        arguments["size"] = group.quota
    if group.data_pool:
        arguments["pool_layout"] = group.data_pool
    steps = (
        Command("fs subvolumegroup create", arguments, "mgr"),
        *_pinned(group),
        marks.put("subvolume-group", group.full, _about(group)),
    )
    after = {"quota": group.quota or 0, "data_pool": group.data_pool, "pin": " ".join(group.pin or ())}
    return Change(KIND, group.full, "create", None, after, "missing", _PUBLIC, steps)


def _keep(group: Group, there: Existing, present: Present, result: Plan, *, adopt: bool) -> None:
    ours = present.marks.has("subvolume-group", group.full)
    about = present.marks.about("subvolume-group", group.full)
    if group.data_pool and there.data_pool and group.data_pool != there.data_pool:
        raise Refused(
            f"its files are in {there.data_pool}; a group's data pool never changes.",
            item=f"{group.item}.data_pool",
            rule="subvolume-group-pool-differs",
            fix="make another group and move the volumes.",
        )
    before: dict[str, t.Any] = {}
    after: dict[str, t.Any] = {}
    steps: list[Command] = []
    if group.quota is not None and group.quota != there.quota:
        _check_quota(group, there)
        before["quota"], after["quota"] = there.quota, group.quota
        arguments = {**_where(group), "new_size": str(group.quota or "inf")}
        steps.append(Command("fs subvolumegroup resize", arguments, "mgr"))
    remembered = " ".join(about.get("pin") or ())
    if group.pin and " ".join(group.pin) != remembered:
        before["pin"], after["pin"] = remembered, " ".join(group.pin)
        steps += _pinned(group)
    if not after and (ours or not adopt):
        result.unchanged += 1
        return
    steps.append(marks.put("subvolume-group", group.full, {**about, **_about(group)}))
    if after and not ours:
        result.foreign.append(group.full)
    why = f"{' and '.join(after)} differ{'s' if len(after) == 1 else ''}" if after else "ours from now on"
    result.add(Change(KIND, group.full, "update" if after else "adopt", before, after, why, _PUBLIC, tuple(steps)))


def _check_quota(group: Group, there: Existing) -> None:
    if group.quota and group.quota < there.used and not group.shrink:
        raise Refused(
            f"{there.used} bytes are in it, more than the quota of {group.quota}; nothing could be written any more.",
            item=f"{group.item}.quota",
            rule="subvolume-group-quota",
            fix="give more, or say shrink: true, if that is meant.",
        )


def _remove(group: Group, there: Existing | None, present: Present, gone: Plan) -> None:
    drop = (marks.drop("subvolume-group", group.full),) if present.marks.has("subvolume-group", group.full) else ()
    if there is None:
        if drop:
            gone.add(Change(KIND, group.full, "delete", {}, None, "only its mark is left", _PUBLIC, drop))
        else:
            gone.unchanged += 1
        return
    volumes = present.subvolumes.get(group.full, ())
    if volumes:
        raise Refused(
            f"{len(volumes)} subvolume(s) are in it: {', '.join(list(volumes)[:5])}.",
            item=group.item,
            rule="subvolume-group-in-use",
            fix="delete what uses them first.",
        )
    steps = (Command("fs subvolumegroup rm", _where(group), "mgr"), *drop)
    before = {"quota": there.quota, "data_pool": there.data_pool}
    gone.add(Change(KIND, group.full, "delete", before, None, "absent", _PUBLIC, steps))
