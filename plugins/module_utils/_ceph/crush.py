# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""CRUSH rules for replicated pools, and the device classes that they choose from. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Mapping, Sequence

from .._core.errors import InvalidInput, Refused, check
from .._core.plan import Change, Plan
from .ports import Command

KIND: t.Final = "CRUSH rule"
DEVICE_KIND: t.Final = "device class"
_NAME: t.Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_PUBLIC: t.Final = frozenset({"root", "failure_domain", "device_class"})


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule.

    :ivar failure_domain: of which no two copies share one.
    :ivar device_class: empty for any.
    """

    name: str
    root: str = "default"
    failure_domain: str = "host"
    device_class: str = ""
    absent: bool = False
    item: str = dataclasses.field(default="", compare=False)

    def fields(self) -> dict[str, str]:
        """Return what a rule is made of."""
        return {"root": self.root, "failure_domain": self.failure_domain, "device_class": self.device_class}


@dataclasses.dataclass(frozen=True)
class Present:
    """What there is.

    :ivar rules: by name; None for one that is more than a name, a root, a failure domain and a device class.
    :ivar users: rule -> pools that use it.
    :ivar roots: names of roots, and of all other buckets.
    :ivar types: of failure domains.
    :ivar devices: OSD -> its class.
    """

    rules: Mapping[str, Rule | None]
    users: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    roots: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    devices: Mapping[int, str] = dataclasses.field(default_factory=dict)


# -- declared --------------------------------------------------------------------------------------------------------


def parse(declared: Sequence[Mapping[str, t.Any]], where: str = "rules") -> list[Rule]:
    """Return the declared rules."""
    result: list[Rule] = []
    for index, one in enumerate(declared):
        name = one.get("name") or ""
        check(
            _NAME.fullmatch(name),
            f"{name!r} is no name for a rule.",
            item=f"{where}[{index}].name",
            rule="crush-name",
            fix="use letters, digits, dots, hyphens and underscores.",
        )
        check(
            all(name != other.name for other in result),
            "is declared twice.",
            item=f"{where}[{name}]",
            rule="crush-twice",
            fix="declare each rule once.",
        )
        result.append(
            Rule(
                name,
                one.get("root") or "default",
                one.get("failure_domain") or "host",
                one.get("device_class") or "",
                one.get("state", "present") == "absent",
                f"{where}[{name}]",
            )
        )
    return result


def classes(declared: Mapping[str, t.Any], where: str = "device_classes") -> dict[int, str]:
    """Return the class that each OSD is to have.

    :param declared: class -> OSDs, as numbers or as ``osd.N``.
    """
    result: dict[int, str] = {}
    for name, devices in declared.items():
        check(
            _NAME.fullmatch(str(name)) and isinstance(devices, list),
            "give a list of OSDs for each device class.",
            item=f"{where}.{name}",
            rule="crush-class",
            fix="write for instance ssd: [0, 1].",
        )
        for device in devices:
            text = str(device).removeprefix("osd.")
            check(
                text.isdigit(),
                f"{device!r} is no OSD.",
                item=f"{where}.{name}",
                rule="crush-osd",
                fix="give numbers, or osd.N.",
            )
            check(
                result.get(int(text), name) == name,
                f"osd.{text} can't be of two classes, {result.get(int(text))} and {name}.",
                item=f"{where}.{name}",
                rule="crush-class-twice",
                fix="name each OSD once.",
            )
            result[int(text)] = str(name)
    return result


# -- reading ---------------------------------------------------------------------------------------------------------


def present(crush: Mapping[str, t.Any], dump: Mapping[str, t.Any]) -> Present:
    """Return what there is out of the answers to ``osd crush dump`` and ``osd dump``."""
    rules = {one["rule_name"]: _rule(one) for one in crush.get("rules", ())}
    numbers = {one["rule_id"]: one["rule_name"] for one in crush.get("rules", ())}
    users: dict[str, list[str]] = {}
    for pool in dump.get("pools", ()):
        users.setdefault(numbers.get(pool["crush_rule"], ""), []).append(pool["pool_name"])
    return Present(
        rules,
        users,
        frozenset(one["name"] for one in crush.get("buckets", ()) if "~" not in one["name"]),
        frozenset(one["name"] for one in crush.get("types", ())),
        {one["id"]: one.get("class", "") for one in crush.get("devices", ()) if one["id"] >= 0},
    )


def _rule(one: Mapping[str, t.Any]) -> Rule | None:
    steps = [step for step in one.get("steps", ()) if not str(step.get("op", "")).startswith("set_")]
    operations = [step.get("op") for step in steps]
    if len(steps) != 3 or operations[0] != "take" or operations[2] != "emit":
        return None
    if operations[1] not in ("choose_firstn", "chooseleaf_firstn") or steps[1].get("num") != 0:
        return None
    root, _tilde, device_class = str(steps[0].get("item_name", "")).partition("~")
    return Rule(one["rule_name"], root, str(steps[1].get("type", "")), device_class)


# -- planning --------------------------------------------------------------------------------------------------------


def plan(there: Present, wanted: Sequence[Rule], devices: Mapping[int, str], *, move_data: bool) -> Plan:
    """Return what is to be done: device classes before the rules that need them, deletions last.

    :raises Refused: for what would change a rule or move data.
    :raises InvalidInput: for what refers to things that are not there.
    """
    result, gone = Plan(), Plan()
    _devices(there, devices, result, move_data=move_data)
    known = {*there.devices.values(), *devices.values()}
    for rule in wanted:
        now = there.rules.get(rule.name)
        if rule.absent:
            _remove(rule, there, gone)
        elif rule.name not in there.rules:
            _check(rule, there, known)
            result.add(_create(rule))
        elif now is None or now.fields() != rule.fields():
            raise Refused(
                f"a rule of that name exists and is another one ({_words(now)}); rules never change.",
                item=rule.item,
                rule="crush-differs",
                fix="make one with another name, and let pools use that.",
            )
        else:
            result.unchanged += 1
    result.extend(gone)
    return result


def _words(rule: Rule | None) -> str:
    if rule is None:
        return "with steps of its own"
    return ", ".join(f"{name} {value or 'any'}" for name, value in rule.fields().items())


def _devices(there: Present, devices: Mapping[int, str], result: Plan, *, move_data: bool) -> None:
    for number, name in sorted(devices.items()):
        osd = f"osd.{number}"
        if number not in there.devices:
            raise InvalidInput(
                f"there is no {osd}.", item="device_classes", rule="crush-osd-unknown", fix="correct the number."
            )
        now = there.devices[number]
        if now == name:
            result.unchanged += 1
            continue
        if now and not move_data:
            raise Refused(
                f"{osd} is of class {now} and would become {name}; data would move.",
                item="device_classes",
                rule="crush-move-data",
                fix="say move_data: true, if that is meant.",
            )
        steps = (
            *((Command("osd crush rm-device-class", {"ids": [osd]}),) if now else ()),
            Command("osd crush set-device-class", {"class": name, "ids": [osd]}),
        )
        before, after = {"device_class": now}, {"device_class": name}
        result.add(Change(DEVICE_KIND, osd, "update", before, after, "class differs", _PUBLIC, steps))


def _check(rule: Rule, there: Present, classes_: set[str]) -> None:
    for value, known, rule_name, what in (
        (rule.root, there.roots, "crush-root-unknown", "root"),
        (rule.failure_domain, there.types, "crush-domain-unknown", "failure_domain"),
        (rule.device_class, classes_ | {""}, "crush-class-unknown", "device_class"),
    ):
        if value not in known:
            raise InvalidInput(
                f"there is no {value!r}.",
                item=f"{rule.item}.{what}",
                rule=rule_name,
                fix=f"there are {', '.join(sorted(one for one in known if one)) or 'none'}.",
            )


def _create(rule: Rule) -> Change:
    arguments = {"name": rule.name, "root": rule.root, "type": rule.failure_domain}
    if rule.device_class:
        arguments["class"] = rule.device_class
    steps = (Command("osd crush rule create-replicated", arguments),)
    return Change(KIND, rule.name, "create", None, rule.fields(), "missing", _PUBLIC, steps)


def _remove(rule: Rule, there: Present, gone: Plan) -> None:
    if rule.name not in there.rules:
        gone.unchanged += 1
        return
    users = there.users.get(rule.name, ())
    if users:
        raise Refused(
            f"pools use it: {', '.join(sorted(users))}.",
            item=rule.item,
            rule="crush-in-use",
            fix="give them another rule first.",
        )
    now = there.rules[rule.name]
    steps = (Command("osd crush rule rm", {"name": rule.name}),)
    before = now.fields() if now else {}
    gone.add(Change(KIND, rule.name, "delete", before, None, "absent", _PUBLIC, steps))
