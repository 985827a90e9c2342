# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is to be done so that pools are as declared. Pure."""

from __future__ import annotations

import dataclasses
import errno
import typing as t
from collections.abc import Mapping, Sequence

from .._core.errors import InvalidInput, Refused
from .._core.plan import Change, Plan
from . import marks, pve
from .marks import Marks
from .pools import PG_FACTOR, Pool
from .ports import Command

KIND: t.Final = "pool"
_REPLICATED: t.Final = 1
#: Attributes that Ceph keeps as flags of a pool.
_FLAGS: t.Final = frozenset({"bulk", "nodelete", "nosizechange", "nopgchange", "noscrub", "nodeep-scrub"})
#: Attributes that Ceph keeps among a pool's options, where 0 or "none" is the same as not there.
_OPTIONS: t.Final = frozenset(
    {
        "pg_num_min",
        "pg_num_max",
        "target_size_ratio",
        "target_size_bytes",
        "compression_mode",
        "compression_algorithm",
        "compression_required_ratio",
        "compression_min_blob_size",
        "compression_max_blob_size",
    }
)
OVERWRITES: t.Final = "allow_ec_overwrites"
#: The order in which attributes are set, so that none is refused because of another.
_ORDER: t.Final = ("nosizechange", "nopgchange", "nodelete", "pg_autoscale_mode", "size", "min_size")


@dataclasses.dataclass(frozen=True)
class Existing:
    """A pool as the server has it.

    :ivar profile: erasure code profile; empty for a replicated pool.
    """

    name: str
    profile: str
    rule: str
    applications: frozenset[str]
    attributes: Mapping[str, t.Any]
    quota_bytes: int
    quota_objects: int


@dataclasses.dataclass(frozen=True)
class Present:
    """What there is.

    :ivar rules: names of CRUSH rules.
    """

    pools: Mapping[str, Existing]
    profiles: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    rules: frozenset[str] = frozenset()
    marks: Marks = dataclasses.field(default_factory=lambda: Marks({}))
    storages: Sequence[pve.Storage] = ()


# -- reading ---------------------------------------------------------------------------------------------------------


def existing(dump: Mapping[str, t.Any], rules: Sequence[Mapping[str, t.Any]]) -> dict[str, Existing]:
    """Return the pools out of the answers to ``osd dump`` and ``osd crush rule dump``."""
    names = {rule["rule_id"]: rule["rule_name"] for rule in rules}
    return {one["pool_name"]: _existing(one, names) for one in dump.get("pools", ())}


def _existing(one: Mapping[str, t.Any], rules: Mapping[int, str]) -> Existing:
    flags = frozenset(str(one.get("flags_names", "")).split(","))
    options = one.get("options") or {}
    attributes: dict[str, t.Any] = {flag: flag in flags for flag in _FLAGS}
    attributes.update({name: options.get(name) for name in _OPTIONS})
    attributes.update(
        size=one["size"],
        min_size=one["min_size"],
        pg_num=one.get("pg_num_target", one["pg_num"]),
        pg_autoscale_mode=one.get("pg_autoscale_mode", ""),
    )
    attributes[OVERWRITES] = "ec_overwrites" in flags
    return Existing(
        one["pool_name"],
        "" if one["type"] == _REPLICATED else str(one.get("erasure_code_profile") or "?"),
        rules.get(one["crush_rule"], ""),
        frozenset(one.get("application_metadata") or {}),
        attributes,
        int(one.get("quota_max_bytes", 0)),
        int(one.get("quota_max_objects", 0)),
    )


# -- planning --------------------------------------------------------------------------------------------------------


def plan(present: Present, wanted: Sequence[Pool], *, adopt: bool) -> Plan:
    """Return what is to be done: pools are made before what needs them, and deleted last.

    :raises Refused: for what would lose copies or data, or take what is somebody else's.
    :raises InvalidInput: for what refers to things that are not there.
    """
    result, gone = Plan(), Plan()
    kinds = {name: bool(pool.profile) for name, pool in present.pools.items()}
    kinds.update({pool.name: pool.erasure is not None for pool in wanted if not pool.absent})
    for pool in sorted(wanted, key=lambda one: one.erasure is not None):
        there = present.pools.get(pool.name)
        if pool.absent:
            _remove(pool, there, present, gone, adopt=adopt)
            continue
        _check_references(pool, present, kinds)
        if there is None:
            result.add(_create(pool))
            continue
        _keep(pool, there, present, result, adopt=adopt)
    result.extend(gone)
    if result.foreign and not adopt:
        raise Refused(
            f"these pools exist, differ, and were not made here: {', '.join(sorted(result.foreign))}.",
            item="pools",
            rule="not-ours",
            fix="say adopt: true to take them over.",
            data={"foreign": sorted(result.foreign)},
        )
    return result


def _check_references(pool: Pool, present: Present, kinds: Mapping[str, bool]) -> None:
    if pool.metadata_pool and kinds.get(pool.metadata_pool, True):
        raise InvalidInput(
            f"{pool.metadata_pool} is no replicated pool." if pool.metadata_pool in kinds else "no such pool.",
            item=f"{pool.item}.metadata_pool",
            rule="pool-metadata-unknown",
            fix="declare a replicated pool of that name in the same list.",
        )
    if pool.crush_rule and pool.crush_rule not in present.rules:
        raise InvalidInput(
            f"there is no CRUSH rule {pool.crush_rule}.",
            item=f"{pool.item}.crush_rule",
            rule="pool-rule-unknown",
            fix="make it first: module ceph_crush_rules.",
        )


def _keep(pool: Pool, there: Existing, present: Present, result: Plan, *, adopt: bool) -> None:
    ours = present.marks.has("pool", pool.name)
    _check_kind(pool, there, present)
    before, after, steps = _differences(pool, there)
    about: dict[str, t.Any] = dict(present.marks.about("pool", pool.name))
    if pool.init and not about.get("init"):
        about["init"] = True
        before, after = {**before, "init": False}, {**after, "init": True}
        steps = [*steps, Command("init", {"pool": pool.name}, "rbd")]
    new = not ours or about != dict(present.marks.about("pool", pool.name))
    remember = [marks.put("pool", pool.name, about)] if new else []
    if not after:
        if ours or not adopt:
            result.unchanged += 1
        else:
            mark = (marks.put("pool", pool.name),)
            result.add(Change(KIND, pool.name, "adopt", {}, {}, "ours from now on", frozenset(), mark))
        return
    pve.check(pool.name, present.storages, pool.item)
    _check_losses(pool, there, after)
    if not ours:
        result.foreign.append(pool.name)
    why = f"{', '.join(sorted(after))} differ{'s' if len(after) == 1 else ''}"
    public = frozenset({*before, *after})
    result.add(Change(KIND, pool.name, "update", before, after, why, public, (*steps, *remember)))


def _differences(pool: Pool, there: Existing) -> tuple[dict[str, t.Any], dict[str, t.Any], list[Command]]:
    before: dict[str, t.Any] = {}
    after: dict[str, t.Any] = {}
    steps: list[Command] = []
    wanted = dict(pool.attributes)
    if pool.crush_rule and pool.crush_rule != there.rule:
        before["crush_rule"], after["crush_rule"] = there.rule, pool.crush_rule
        steps.append(_set(pool.name, "crush_rule", pool.crush_rule))
    if pool.metadata_pool:
        wanted[OVERWRITES] = True
    for name in sorted(wanted, key=_position):
        value, now = wanted[name], there.attributes.get(name)
        if not _same(name, value, now):
            before[name], after[name] = now, value
            steps.append(_set(pool.name, name, value))
    for name, field, value, now in (
        ("quota_bytes", "max_bytes", pool.quota_bytes, there.quota_bytes),
        ("quota_objects", "max_objects", pool.quota_objects, there.quota_objects),
    ):
        if value is not None and value != now:
            before[name], after[name] = now, value
            steps.append(Command("osd pool set-quota", {"pool": pool.name, "field": field, "val": str(value)}))
    if pool.applications and set(pool.applications) != there.applications:
        before["applications"], after["applications"] = sorted(there.applications), sorted(pool.applications)
        steps += _applications(pool, there.applications)
    return before, after, steps


def _position(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


def _same(name: str, value: t.Any, now: t.Any) -> bool:
    if name in _OPTIONS and now is None:
        return value in (0, 0.0, "none", "")
    if isinstance(value, float) or isinstance(now, float):
        return abs(float(value) - float(now or 0)) < 1e-6
    return bool(value == now)


def _applications(pool: Pool, now: frozenset[str]) -> list[Command]:
    sure = {"yes_i_really_mean_it": True}
    steps = [
        Command("osd pool application enable", {"pool": pool.name, "app": app, **sure})
        for app in pool.applications
        if app not in now
    ]
    return steps + [
        Command("osd pool application disable", {"pool": pool.name, "app": app, **sure})
        for app in sorted(now - set(pool.applications))
    ]


def _set(pool: str, name: str, value: t.Any) -> Command:
    arguments: dict[str, t.Any] = {"pool": pool, "var": name, "val": _text(value)}
    if name == "size" and value == 1:
        arguments["yes_i_really_mean_it"] = True
    return Command("osd pool set", arguments)


def _text(value: t.Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_kind(pool: Pool, there: Existing, present: Present) -> None:
    if (pool.erasure is not None) != bool(there.profile):
        raise Refused(
            f"it is {'erasure coded' if there.profile else 'replicated'}, which never changes.",
            item=pool.item,
            rule="pool-kind",
            fix="make another pool and move the data.",
        )
    if pool.erasure is None:
        return
    known = present.profiles.get(there.profile, {})
    wanted = pool.erasure.profile()
    different = [key for key, value in wanted.items() if known.get(key, "") != value]
    if known and different:
        raise Refused(
            f"its erasure code has another {', '.join(different)}, which never changes.",
            item=f"{pool.item}.erasure",
            rule="pool-erasure-differs",
            fix="make another pool and move the data.",
        )


def _check_losses(pool: Pool, there: Existing, after: Mapping[str, t.Any]) -> None:
    if "size" in after and after["size"] < there.attributes["size"] and "fewer-copies" not in pool.allow:
        raise Refused(
            f"{there.attributes['size']} copies would become {after['size']}.",
            item=f"{pool.item}.size",
            rule="pool-fewer-copies",
            fix="say allow: [fewer-copies], if that is meant.",
        )
    grown = after.get("pg_num", 0)
    if grown > PG_FACTOR * there.attributes["pg_num"] and "pg-growth" not in pool.allow:
        raise Refused(
            f"{there.attributes['pg_num']} placement groups would become {grown}, more than {PG_FACTOR} times as many.",
            item=f"{pool.item}.pg_num",
            rule="pool-pg-growth",
            fix="grow in steps, or say allow: [pg-growth].",
        )
    fixed = [name for flag, name in (("nosizechange", "size"), ("nopgchange", "pg_num")) if there.attributes[flag]]
    for name in fixed:
        flag = "nosizechange" if name == "size" else "nopgchange"
        if name in after and after.get(flag) is not False:
            raise Refused(
                f"{name} would change, and the pool has the flag {flag}.",
                item=f"{pool.item}.{name}",
                rule="pool-fixed",
                fix=f"say {flag}: false as well, if that is meant.",
            )


def _create(pool: Pool) -> Change:
    arguments: dict[str, t.Any] = {"pool": pool.name}
    steps: list[Command] = []
    if pool.attributes.get("pg_num"):
        arguments["pg_num"] = pool.attributes["pg_num"]
    if pool.erasure is not None:
        profile = [f"{key}={value}" for key, value in pool.erasure.profile().items()]
        steps.append(Command("osd erasure-code-profile set", {"name": pool.name, "profile": profile}))
        arguments.update(pool_type="erasure", erasure_code_profile=pool.name)
    else:
        arguments["pool_type"] = "replicated"
    if pool.crush_rule:
        arguments["rule"] = pool.crush_rule
    steps.append(Command("osd pool create", arguments))
    rest = {name: value for name, value in pool.attributes.items() if name != "pg_num"}
    if pool.metadata_pool:
        rest[OVERWRITES] = True
    after: dict[str, t.Any] = {"type": arguments["pool_type"], **pool.attributes}
    # What guards a pool is set last, as it would guard it from the rest.
    first = [name for name in sorted(rest, key=_position) if name not in _FLAGS]
    steps += [_set(pool.name, name, rest[name]) for name in (*first, *sorted(set(rest) - set(first)))]
    quotas = (("max_bytes", pool.quota_bytes), ("max_objects", pool.quota_objects))
    steps += [
        Command("osd pool set-quota", {"pool": pool.name, "field": field, "val": str(value)})
        for field, value in quotas
        if value
    ]
    steps += _applications(pool, frozenset())
    if pool.init:
        steps.append(Command("init", {"pool": pool.name}, "rbd"))
    steps.append(marks.put("pool", pool.name, {"init": True} if pool.init else {}))
    if pool.applications:
        after["applications"] = list(pool.applications)
    return Change(KIND, pool.name, "create", None, after, "missing", frozenset(after), tuple(steps))


def _remove(pool: Pool, there: Existing | None, present: Present, gone: Plan, *, adopt: bool) -> None:
    ours = present.marks.has("pool", pool.name)
    if there is None:
        if not ours:
            gone.unchanged += 1
            return
        drop = (marks.drop("pool", pool.name),)
        gone.add(Change(KIND, pool.name, "delete", {}, None, "only its mark is left", frozenset(), drop))
        return
    pve.check(pool.name, present.storages, pool.item)
    if there.attributes["nodelete"]:
        raise Refused(
            "the pool has the flag nodelete.",
            item=pool.item,
            rule="pool-nodelete",
            fix="say nodelete: false in a run before, if that is meant.",
        )
    if not ours:
        gone.foreign.append(pool.name)
    sure = {"pool": pool.name, "pool2": pool.name, "yes_i_really_really_mean_it": True}
    steps = [Command("osd pool delete", sure)]
    if ours:
        if there.profile == pool.name:
            # Ceph makes a rule of the same name; either may be in use elsewhere by now.
            left = frozenset({-errno.ENOENT, -errno.EBUSY})
            steps.append(Command("osd crush rule rm", {"name": pool.name}, ok=left))
            steps.append(Command("osd erasure-code-profile rm", {"name": pool.name}, ok=left))
        steps.append(marks.drop("pool", pool.name))
    before = {"applications": sorted(there.applications)}
    gone.add(Change(KIND, pool.name, "delete", before, None, "absent", frozenset(before), tuple(steps)))
