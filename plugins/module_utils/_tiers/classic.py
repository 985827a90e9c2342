# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads classic Kyverno policies (``kyverno.io/v1``) and PriorityClasses, and says which table they amount to.

What cannot be said in a table is listed with the reason and never guessed.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Callable, Iterable, Iterator, Mapping

from .model import BUILT_IN

#: Turns the text of ``patchesJson6902`` into a list; given from outside, as this package reads no YAML.
Load = Callable[[str], t.Any]

_LABEL_KEY: t.Final = re.compile(r"labels\.\"?(?P<key>[A-Za-z0-9./_-]+?)\"?\s*(?:\|\||\}\})")
_EQUALS: t.Final = ("Equals", "Equal", "AnyIn", "In")
#: The label that says a namespace's name.
_OWN_NAME: t.Final = "kubernetes.io/metadata.name"
#: What else a precondition may look at to choose namespaces.
_OF_NAMESPACE: t.Final = ("labels", "request.namespace", "metadata.name")


@dataclasses.dataclass
class _Reading:
    tiers: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    table: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    unread: list[dict[str, str]] = dataclasses.field(default_factory=list)
    labels: set[str] = dataclasses.field(default_factory=set)
    exclusions: set[str] = dataclasses.field(default_factory=set)

    def tier(self, name: str) -> dict[str, t.Any]:
        return self.tiers.setdefault(name, {"name": name})


@dataclasses.dataclass(frozen=True)
class _Place:
    """Which namespaces a rule is about: one namespace tier, or all."""

    name: str
    prefixes: tuple[str, ...] = ()
    label: tuple[str, str] | None = None
    namespaces: tuple[str, ...] = ()


def read(objects: Iterable[Mapping[str, t.Any]], load: Load) -> dict[str, t.Any]:
    """Return ``table`` (as people write it) and ``unread`` (policy, rule, why)."""
    given = list(objects)
    reading = _Reading()
    for policy in given:
        if str(policy.get("apiVersion", "")).startswith("kyverno.io/"):
            name = str((policy.get("metadata") or {}).get("name", ""))
            for rule in (policy.get("spec") or {}).get("rules") or ():
                why = _rule(reading, rule, load)
                if why:
                    reading.unread.append({"policy": name, "rule": str(rule.get("name", "")), "why": why})
    classes = {
        str(one["metadata"]["name"]): one for one in given if one.get("kind") == "PriorityClass" and one.get("metadata")
    }
    _classes(reading, classes)
    return {"table": _table(reading), "unread": reading.unread}


def _table(reading: _Reading) -> dict[str, t.Any]:
    table = dict(reading.table)

    def rank(tier: Mapping[str, t.Any]) -> tuple[int, str]:
        priority = tier.get("priority") or {}
        value = priority.get("value", BUILT_IN.get(str(priority.get("class")), 0))
        return -int(value), str(tier["name"])

    table["tiers"] = sorted(reading.tiers.values(), key=rank)
    if len(reading.labels) == 1:
        [table["label"]] = reading.labels
    elif reading.labels:
        reading.unread.append(
            {"policy": "", "rule": "", "why": f"several labels decide: {', '.join(sorted(reading.labels))}"}
        )
    if reading.exclusions:
        table["more_exclusions"] = sorted(reading.exclusions)
    return table


def _classes(reading: _Reading, classes: Mapping[str, Mapping[str, t.Any]]) -> None:
    for tier in reading.tiers.values():
        name = (tier.get("priority") or {}).get("class")
        if name is None or name in BUILT_IN:
            continue
        one = classes.get(name)
        if one is None:
            del tier["priority"]
            reading.unread.append(
                {
                    "policy": "",
                    "rule": "",
                    "why": f"PriorityClass {name} is not among the objects, its value is not known",
                }
            )
            continue
        tier["priority"]["value"] = one.get("value")
        if one.get("preemptionPolicy") == "Never":
            tier["priority"]["preemption"] = "Never"
        if one.get("description"):
            tier["priority"]["description"] = one["description"]


# -- one rule ------------------------------------------------------------------------------------------------------


def _rule(reading: _Reading, rule: Mapping[str, t.Any], load: Load) -> str:
    """Take one rule into the reading; return why that was not possible, or nothing."""
    places, why = _places(rule)
    if why:
        return why
    if rule.get("generate"):
        return _generate(reading, rule, places)
    if rule.get("mutate"):
        return _mutate(reading, rule, places, load)
    kind = next((key for key in ("validate", "verifyImages") if rule.get(key)), "nothing known")
    return f"{kind}: write it as a rule of the namespace tier, or leave it to a policy of its own"


def _resources(block: t.Any) -> Iterator[Mapping[str, t.Any]]:
    if not isinstance(block, Mapping):
        return
    for one in (block, *(block.get("any") or ()), *(block.get("all") or ())):
        if isinstance(one, Mapping) and isinstance(one.get("resources"), Mapping):
            yield one["resources"]


def _places(rule: Mapping[str, t.Any]) -> tuple[list[_Place], str]:
    found: list[_Place] = []
    for one in _resources(rule.get("match")):
        labels = _selected(one.get("selector")) + _selected(one.get("namespaceSelector"))
        names = _named(one, "In")
        for key, operator in _demands(one):
            if key != _OWN_NAME and operator in ("NotIn", "Exists"):
                return [], f"its selector says {operator} of the label {key}; a table knows which value it has"
        if labels and names:
            return [], "label and name are both demanded; a table knows one or the other"
        found += [_Place(value, label=(key, value)) for key, value in labels]
        found += [_by_name(name) for name in names if name != "*"]
    why = _not_understood(rule.get("preconditions"))
    if why:
        return [], why
    for key, value in _preconditions(rule.get("preconditions")):
        found.append(_Place(value, label=(key, value)))
    others = sorted({key for key, value in _excluded_labels(rule) if value != "true"})
    if found and others:
        return [], f"it excludes by the label {', '.join(others)}, which is no opt-out"
    if any("*" in place.name or "?" in place.name for place in found):
        return [], "the names have wildcards elsewhere than at the end"
    return found, ""


def _demands(resources: Mapping[str, t.Any]) -> Iterator[tuple[str, str]]:
    """Yield key and operator of what selectors demand of labels."""
    for which in ("selector", "namespaceSelector"):
        selector = resources.get(which)
        for one in (selector.get("matchExpressions") or ()) if isinstance(selector, Mapping) else ():
            yield str(one.get("key", "")), str(one.get("operator", ""))


def _named(resources: Mapping[str, t.Any], operator: str) -> list[str]:
    """Return the names of namespaces: those that are given as such, and those of selectors with an operator."""
    names = []
    if operator == "In":
        names = [str(name) for key in ("names", "namespaces", "name") for name in _as_list(resources.get(key))]
    for which in ("selector", "namespaceSelector"):
        selector = resources.get(which)
        if not isinstance(selector, Mapping):
            continue
        for one in selector.get("matchExpressions") or ():
            if one.get("key") == _OWN_NAME and one.get("operator") == operator:
                names += [str(name) for name in one.get("values") or ()]
        if operator == "In" and (selector.get("matchLabels") or {}).get(_OWN_NAME):
            names.append(str(selector["matchLabels"][_OWN_NAME]))
    return names


def _by_name(name: str) -> _Place:
    if name.endswith("*"):
        return _Place(name[:-1].rstrip("-"), prefixes=(name[:-1],))
    return _Place(name, namespaces=(name,))


def _as_list(value: t.Any) -> list[t.Any]:
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def _selected(selector: t.Any) -> list[tuple[str, str]]:
    if not isinstance(selector, Mapping):
        return []
    found = [(str(k), str(v)) for k, v in (selector.get("matchLabels") or {}).items() if k != _OWN_NAME]
    for one in selector.get("matchExpressions") or ():
        if one.get("operator") == "In" and one.get("key") != _OWN_NAME:
            found += [(str(one["key"]), str(value)) for value in one.get("values") or ()]
    return found


def _preconditions(block: t.Any) -> Iterator[tuple[str, str]]:
    if not isinstance(block, Mapping):
        return
    for one in (*(block.get("any") or ()), *(block.get("all") or ())):
        match = _LABEL_KEY.search(str(one.get("key", "")))
        if match and one.get("operator") in _EQUALS:
            for value in _as_list(one.get("value")):
                if value not in ("", None):
                    yield match["key"], str(value)


def _not_understood(block: t.Any) -> str:
    """Return which precondition chooses namespaces in a way that a table cannot say."""
    if not isinstance(block, Mapping):
        return ""
    for one in (*(block.get("any") or ()), *(block.get("all") or ())):
        key = str(one.get("key", ""))
        equals = _LABEL_KEY.search(key) and one.get("operator") in _EQUALS
        if not equals and not _opted(one) and any(part in key for part in _OF_NAMESPACE):
            return f"its precondition {one.get('operator')} on {key} is not understood"
    return ""


def _excluded_labels(rule: Mapping[str, t.Any]) -> list[tuple[str, str]]:
    return [
        pair
        for one in _resources(rule.get("exclude"))
        for which in ("selector", "namespaceSelector")
        for pair in _selected(one.get(which))
    ]


def _opted(condition: Mapping[str, t.Any]) -> str:
    """Return the label of a precondition that is an opt-out."""
    match = _LABEL_KEY.search(str(condition.get("key", "")))
    unequal = condition.get("operator") in ("NotEquals", "NotEqual") and condition.get("value") == "true"
    return match["key"] if match and unequal else ""


def _optouts(rule: Mapping[str, t.Any]) -> list[str]:
    found = [key for key, value in _excluded_labels(rule) if value == "true"]
    block = rule.get("preconditions")
    conditions = block.get("all") if isinstance(block, Mapping) else None
    return [*found, *filter(None, map(_opted, conditions or ()))]


def _excluded(rule: Mapping[str, t.Any]) -> set[str]:
    found = {name for one in _resources(rule.get("exclude")) for name in _named(one, "In")}
    return found | {name for one in _resources(rule.get("match")) for name in _named(one, "NotIn")}


def _entries(reading: _Reading, rule: Mapping[str, t.Any], places: list[_Place]) -> list[dict[str, t.Any]]:
    """Return the namespace tiers a rule is about, with what leads to them; the fallback if it is about all."""
    reading.exclusions |= _excluded(rule)
    if not places:
        return [reading.table.setdefault("fallback", {})]
    entries = []
    for place in places:
        tier = reading.tier(place.name)
        for key, values in (("prefixes", place.prefixes), ("namespaces", place.namespaces)):
            if values:
                tier[key] = sorted({*tier.get(key, ()), *values})
        if place.label:
            reading.labels.add(place.label[0])
        entries.append(tier)
    return entries


def _generate(reading: _Reading, rule: Mapping[str, t.Any], places: list[_Place]) -> str:
    generate = rule["generate"]
    kind, name = str(generate.get("kind")), str(generate.get("name", ""))
    if kind == "Secret" and generate.get("clone"):
        return _clone(reading, generate, places)
    spec = (generate.get("data") or {}).get("spec")
    if kind not in ("LimitRange", "ResourceQuota") or not isinstance(spec, Mapping):
        return f"it generates {kind}, which a table does not have"
    written: dict[str, t.Any]
    if kind == "LimitRange":
        items = [one for one in spec.get("limits") or () if one.get("type") == "Container"]
        if len(items) != 1 or len(spec.get("limits") or ()) != 1:
            return "its LimitRange is about more than containers"
        field, short = "limit_range", "limit_range"
        written = {key: value for key, value in items[0].items() if key != "type"}
    else:
        field, short = "quota", "quota"
        written = {key: spec[key] for key in ("hard", "scopes") if spec.get(key)}
    if "{{" in str(written):
        return "its amounts are computed"
    names = reading.table.setdefault("names", {})
    if names.setdefault(short, name) != name:
        return f"its {kind} has another name than others have: {name}"
    for entry in _entries(reading, rule, places):
        if entry.setdefault(field, written) != written:
            return f"another rule says something else about {field}"
    for key in _optouts(rule):
        reading.table.setdefault("optout_labels", {}).setdefault(short, key)
    return ""


def _clone(reading: _Reading, generate: Mapping[str, t.Any], places: list[_Place]) -> str:
    source = generate["clone"]
    if not places or any(not place.namespaces for place in places):
        return "it clones a Kubernetes Secret into namespaces that no list names: list them in distribute"
    if source.get("name") != generate.get("name"):
        return "it clones a Kubernetes Secret under another name"
    reading.table.setdefault("distribute", []).append(
        {
            "name": str(source["name"]),
            "way": "kyverno",
            "source_namespace": str(source.get("namespace", "")),
            "namespaces": sorted({name for place in places for name in place.namespaces}),
        }
    )
    return ""


def _mutate(reading: _Reading, rule: Mapping[str, t.Any], places: list[_Place], load: Load) -> str:
    mutate = rule["mutate"]
    kinds = {str(kind).rpartition("/")[2] for one in _resources(rule.get("match")) for kind in one.get("kinds") or ()}
    if kinds != {"Pod"}:
        return f"it changes {', '.join(sorted(kinds)) or 'nothing known'}"
    named, ndots = _changes(mutate, load)
    if named is None and ndots is None:
        return "it changes something else than class and ndots"
    if named is not None and ("{{" in named or not places):
        return "the class is computed, or given to all pods"
    if ndots is not None and not ndots.isdigit():
        return "ndots is computed"
    if not places and ndots is not None:
        reading.exclusions |= _excluded(rule)
        reading.table.setdefault("pods", {})["ndots"] = int(ndots)
        return ""
    for entry in _entries(reading, rule, places):
        if named is not None:
            entry["priority"] = {"class": named}
        if ndots is not None:
            entry["pods"] = {"ndots": int(ndots)}
    return ""


def _anchored(value: t.Any, key: str) -> t.Any:
    """Return a field of a patch, whose name may be wrapped as ``+(name)``."""
    if not isinstance(value, Mapping):
        return None
    return next((item for name, item in value.items() if re.sub(r"^[+=X<^]?\((.*)\)$", r"\1", str(name)) == key), None)


def _changes(mutate: Mapping[str, t.Any], load: Load) -> tuple[str | None, str | None]:
    """Return the class and ndots that a patch sets; ``None`` for what it doesn't."""
    spec = _anchored(mutate.get("patchStrategicMerge"), "spec")
    named, dns = _anchored(spec, "priorityClassName"), _anchored(spec, "dnsConfig")
    options = list(_as_list(_anchored(dns, "options")))
    patches = mutate.get("patchesJson6902")
    for one in load(patches) if isinstance(patches, str) else _as_list(patches):
        if not isinstance(one, Mapping) or one.get("op") not in ("add", "replace"):
            continue
        path, value = str(one.get("path")), one.get("value")
        if path == "/spec/priorityClassName":
            named = value
        elif path == "/spec/dnsConfig":
            options += _as_list((value or {}).get("options"))
        elif path.startswith("/spec/dnsConfig/options"):
            options += _as_list(value)
    found = next((one.get("value") for one in options if isinstance(one, Mapping) and one.get("name") == "ndots"), None)
    return None if named is None else str(named), None if found is None else str(found)
