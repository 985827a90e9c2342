# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The central configuration of a Ceph cluster, its flags, and the modules of its manager. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Mapping, Sequence

from .._core.errors import InvalidInput, Refused, check
from .._core.plan import Change, Plan
from . import values
from .ports import Command

SETTING: t.Final = "setting"
FLAG: t.Final = "flag"
MODULE: t.Final = "manager module"
#: Flags that people set for a while; others belong to Ceph.
FLAGS: t.Final = (
    "noautoscale",
    "nobackfill",
    "nodeep-scrub",
    "nodown",
    "noin",
    "noout",
    "norebalance",
    "norecover",
    "noscrub",
    "nosnaptrim",
    "noup",
    "pause",
)
_SECTION: t.Final = re.compile(r"(global|mon|mgr|osd|mds|client)(\.[A-Za-z0-9_.-]+)?")
_MASK: t.Final = re.compile(r"[a-z]+:[A-Za-z0-9_.-]+")
_NAME: t.Final = re.compile(r"[A-Za-z0-9_./-]+")
_SECRETIVE: t.Final = re.compile(r"password|secret|token|private|_key$", re.IGNORECASE)
#: Option types of Ceph -> what reads a value of that type.
_READERS: t.Final[Mapping[str, t.Callable[[t.Any], t.Any]]] = {
    "int": values.decimal,
    "uint": values.decimal,
    "size": values.amount,
    "bool": values.switch,
    "float": values.number,
    "secs": values.seconds,
}
_PUBLIC: t.Final = frozenset({"value", "set", "enabled"})


@dataclasses.dataclass(frozen=True)
class Setting:
    """A declared option.

    :ivar section: ``global``, ``osd``, ``osd.3``, ``client.x``...
    :ivar mask: ``class:ssd``, ``host:NAME``, ``rack:NAME``...; empty for none.
    """

    section: str
    name: str
    value: t.Any = None
    mask: str = ""
    absent: bool = False
    item: str = dataclasses.field(default="", compare=False)

    @property
    def who(self) -> str:
        """Section and mask, as Ceph writes them."""
        return f"{self.section}/{self.mask}" if self.mask else self.section

    @property
    def full(self) -> str:
        """Where and what."""
        return f"{self.who} {self.name}"


@dataclasses.dataclass(frozen=True)
class Option:
    """What Ceph knows about an option."""

    name: str
    type: str
    choices: tuple[str, ...] = ()
    least: str = ""
    most: str = ""
    runtime: bool = True
    central: bool = True


@dataclasses.dataclass(frozen=True)
class Module:
    """A module of the manager."""

    enabled: bool
    always: bool = False
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Present:
    """What there is.

    :ivar values: by section and mask, and name.
    :ivar options: by name; None for one that Ceph does not know.
    """

    values: Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Option | None] = dataclasses.field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    modules: Mapping[str, Module] = dataclasses.field(default_factory=dict)


# -- declared --------------------------------------------------------------------------------------------------------


def parse(declared: Sequence[Mapping[str, t.Any]], where: str = "settings") -> list[Setting]:
    """Return the declared options."""
    result: list[Setting] = []
    for index, one in enumerate(declared):
        here = f"{where}[{index}]"
        section, mask, name = one.get("section") or "global", one.get("mask") or "", str(one.get("name") or "")
        name = name.strip().replace(" ", "_")
        check(
            _SECTION.fullmatch(section),
            f"{section!r} is no section.",
            item=f"{here}.section",
            rule="setting-section",
            fix="use global, mon, mgr, osd, mds or client, or one of them such as osd.3.",
        )
        check(
            not mask or _MASK.fullmatch(mask),
            f"{mask!r} is no mask.",
            item=f"{here}.mask",
            rule="setting-mask",
            fix="write class:NAME, host:NAME, or another kind of CRUSH bucket and its name.",
        )
        check(
            _NAME.fullmatch(name),
            f"{name!r} is no name of an option.",
            item=f"{here}.name",
            rule="setting-name",
            fix="write it as ceph config ls does.",
        )
        absent = one.get("state", "present") == "absent"
        made = Setting(section, name, one.get("value"), mask, absent, f"{where}[{section} {name}]")
        check(
            absent != (made.value is not None),
            "an option that is absent has no value." if absent else "has no value.",
            item=made.item,
            rule="setting-value-missing",
            fix="leave value away." if absent else "give value, or state: absent.",
        )
        check(
            absent or not _SECRETIVE.search(name),
            "looks like a secret, which Ceph would show to everybody who may read the configuration.",
            item=made.item,
            rule="setting-secret",
            fix="set it by hand, by the command that Ceph has for it.",
        )
        check(
            all(made.full != other.full for other in result),
            "is declared twice.",
            item=made.item,
            rule="setting-twice",
            fix="declare each option once for each section and mask.",
        )
        result.append(made)
    return result


def dashboard(declared: Mapping[str, t.Any], where: str = "dashboard") -> list[Setting]:
    """Return the declared settings of the dashboard as what they are: options of a module of the manager."""
    entries = [
        {"section": "mgr", "name": f"mgr/dashboard/{name}", "value": value, "state": "present"}
        for name, value in sorted(declared.items())
    ]
    return parse(entries, where)


def flags(declared: Mapping[str, t.Any], where: str = "flags") -> dict[str, bool]:
    """Return the declared flags."""
    for name, value in declared.items():
        check(
            name in FLAGS and isinstance(value, bool),
            f"{name} is no flag that can be {value!r}.",
            item=f"{where}.{name}",
            rule="setting-flag",
            fix=f"say true or false for one of {', '.join(FLAGS)}.",
        )
    return dict(declared)


def modules(declared: Mapping[str, t.Any], where: str = "mgr_modules") -> dict[str, bool]:
    """Return the declared modules of the manager."""
    for name, value in declared.items():
        check(
            isinstance(value, bool),
            f"{value!r} is neither true nor false.",
            item=f"{where}.{name}",
            rule="setting-module-value",
            fix="say true to have it enabled.",
        )
    return dict(declared)


# -- reading ---------------------------------------------------------------------------------------------------------


def ask(name: str) -> Command:
    """Return the command that asks what an option is; one that is not known is no failure."""
    return Command("config help", {"key": name}, ok=frozenset({-2, -22}))


def option(out: t.Any) -> Option | None:
    """Return an option out of the answer to ``config help``."""
    if not isinstance(out, dict) or not out.get("name"):
        return None
    return Option(
        out["name"],
        str(out.get("type", "str")),
        tuple(map(str, out.get("enum_values") or out.get("enum_allowed") or ())),
        str(out.get("min", "")),
        str(out.get("max", "")),
        bool(out.get("can_update_at_runtime", True)),
        "no_mon_update" not in (out.get("flags") or ()),
    )


def dumped(out: t.Any) -> dict[tuple[str, str], str]:
    """Return values out of the answer to ``config dump``, by section with mask, and name."""
    found: dict[tuple[str, str], str] = {}
    for one in out or ():
        who = f"{one['section']}/{one['mask']}" if one.get("mask") else one["section"]
        found[who, one["name"]] = str(one["value"])
    return found


def listed(out: t.Any) -> dict[str, Module]:
    """Return modules out of the answer to ``mgr module ls``."""
    answer = out or {}
    found = {name: Module(True) for name in answer.get("enabled_modules", ())}
    for one in answer.get("disabled_modules", ()):
        problem = "" if one.get("can_run", True) else str(one.get("error_string") or "it can't run")
        found[one["name"]] = Module(False, problem=problem)
    found.update({name: Module(True, always=True) for name in answer.get("always_on_modules", ())})
    return found


# -- values ----------------------------------------------------------------------------------------------------------


def same(kind: Option, one: t.Any, other: t.Any) -> bool:
    """Say whether two values of an option mean the same."""
    reader = _READERS.get(kind.type)
    if reader is None:
        return _plain(one) == _plain(other)
    first, second = reader(one), reader(other)
    if first is None or second is None:
        return _plain(one) == _plain(other)
    if isinstance(first, float) or isinstance(second, float):
        return bool(abs(first - second) <= 1e-6 * max(1.0, abs(first), abs(second)))
    return bool(first == second)


def _plain(value: t.Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def text(kind: Option, value: t.Any, item: str) -> str:
    """Return a value as Ceph takes it.

    :raises InvalidInput: when it is none of the option's type, choices or range.
    """
    reader = _READERS.get(kind.type)
    if reader is None:
        written = _plain(value)
        check(
            not kind.choices or written in kind.choices,
            f"{written!r} is none of its values.",
            item=item,
            rule="setting-choice",
            fix=f"there are {', '.join(choice for choice in kind.choices if choice)}.",
        )
        return written
    meant = reader(value)
    if meant is None or (kind.type == "uint" and meant < 0):
        raise InvalidInput(
            f"{value!r} is no value of type {kind.type}.",
            item=item,
            rule="setting-type",
            fix="write for instance 4GiB for sizes, 300 for numbers and seconds, true or false for switches.",
        )
    if isinstance(meant, bool):
        return str(meant).lower()
    least, most = (reader(limit) if limit else None for limit in (kind.least, kind.most))
    check(
        (least is None or meant >= least) and (most is None or meant <= most),
        f"{value!r} is out of range.",
        item=item,
        rule="setting-range",
        fix=f"it is from {kind.least or 'anything'} to {kind.most or 'anything'}.",
    )
    return str(int(meant)) if float(meant) == int(meant) else str(meant)


# -- planning --------------------------------------------------------------------------------------------------------


def plan(present: Present, wanted: Sequence[Setting], flags_: Mapping[str, bool], modules_: Mapping[str, bool]) -> Plan:
    """Return what is to be done: modules first, as they bring options with them.

    :raises InvalidInput: for what Ceph would not take.
    """
    result = Plan()
    _modules(present, modules_, result)
    later: list[str] = []
    for one in wanted:
        kind = present.options.get(one.name)
        if kind is None and not one.absent:
            raise InvalidInput(
                f"Ceph has no option {one.name}.",
                item=one.item,
                rule="setting-unknown",
                fix="see ceph config ls; options of a manager module exist once the manager has it.",
            )
        _setting(present, one, kind, result)
        if kind is not None and not kind.runtime and result.changes and result.changes[-1].name == one.full:
            later.append(one.full)
    if later:
        result.warnings.append(f"these count once the daemons they are for are started again: {', '.join(later)}.")
    for name, value in sorted(flags_.items()):
        now = name in present.flags
        if now == value:
            result.unchanged += 1
            continue
        steps = (Command("osd set" if value else "osd unset", {"key": name}),)
        before, after = {"set": now}, {"set": value}
        result.add(Change(FLAG, name, "update", before, after, "set" if value else "taken away", _PUBLIC, steps))
    return result


def _setting(present: Present, one: Setting, kind: Option | None, result: Plan) -> None:
    now = present.values.get((one.who, one.name))
    where = {"who": one.who, "name": one.name}
    if one.absent:
        if now is None:
            result.unchanged += 1
            return
        steps = (Command("config rm", where),)
        result.add(Change(SETTING, one.full, "delete", {"value": now}, None, "absent", _PUBLIC, steps))
        return
    if kind is None:
        return
    if not kind.central:
        raise Refused(
            "the monitors can't keep this option.",
            item=one.item,
            rule="setting-local",
            fix="it belongs into ceph.conf.",
        )
    written = text(kind, one.value, one.item)
    if now is not None and same(kind, now, written):
        result.unchanged += 1
        return
    steps = (Command("config set", {**where, "value": written}),)
    before = None if now is None else {"value": now}
    action: t.Literal["create", "update"] = "create" if now is None else "update"
    result.add(Change(SETTING, one.full, action, before, {"value": written}, "value differs", _PUBLIC, steps))


def _modules(present: Present, wanted: Mapping[str, bool], result: Plan) -> None:
    for name, value in sorted(wanted.items()):
        item = f"mgr_modules.{name}"
        there = present.modules.get(name)
        if there is None:
            raise InvalidInput(
                f"the manager has no module {name}.",
                item=item,
                rule="setting-module-unknown",
                fix="install its package on all nodes with a manager (ceph-mgr-dashboard and the like).",
            )
        check(
            value or not there.always,
            f"the module {name} is always on.",
            item=item,
            rule="setting-module-always",
            fix="leave it away.",
        )
        if there.enabled == value:
            result.unchanged += 1
            continue
        check(
            not value or not there.problem,
            f"the module {name} can't run: {there.problem[:200]}",
            item=item,
            rule="setting-module-problem",
            fix="install what it needs on all nodes with a manager.",
        )
        steps = (Command("mgr module enable" if value else "mgr module disable", {"module": name}),)
        before, after = {"enabled": there.enabled}, {"enabled": value}
        result.add(Change(MODULE, name, "update", before, after, "enable" if value else "disable", _PUBLIC, steps))
