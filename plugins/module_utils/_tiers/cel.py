# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Expressions in CEL that say what ``resolve`` says, for all backends alike.

Neither ``namespaceObject`` nor ``variables`` may stand in match conditions: the API server gives the first to variables
and validations only, and Kyverno copies match conditions into its webhook configurations.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from .model import UNTIERED, Table
from .resolve import OPTED

#: How the name, the labels and the annotations of a namespace are reached: from a pod's request, and from itself.
OF_POD: t.Final = ("request.namespace", "namespaceObject")
OF_NAMESPACE: t.Final = ("object.metadata.name", "object")
#: Containers up to this number are looked at one by one where their place in the list matters.
CONTAINERS: t.Final = 32


def text(value: str) -> str:
    """Return a literal text."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def texts(values: Iterable[str]) -> str:
    """Return a literal list of texts."""
    return "[" + ", ".join(text(value) for value in values) + "]"


def lookup(values: Mapping[str, str], key: str) -> str:
    """Return an expression for the value that belongs to *key*; an empty text if there is none."""
    if not values:
        return "''"
    pairs = ", ".join(f"{text(name)}: {text(value)}" for name, value in values.items())
    return f"{{{pairs}}}[?{key}].orValue('')"


def label(subject: str, key: str) -> str:
    """Return an expression for a label of *subject*; an empty text if it is not there."""
    return f"{subject}.metadata.?labels[?{text(key)}].orValue('')"


def annotation(subject: str, key: str) -> str:
    """Return an expression for an annotation of *subject*; an empty text if it is not there."""
    return f"{subject}.metadata.?annotations[?{text(key)}].orValue('')"


def by_map(table: Table, name: str) -> list[tuple[str, str]]:
    """Return (condition, namespace tier) pairs of the explicit map."""
    return [(f"{name} in {texts(sorted(tier.namespaces))}", tier.name) for tier in table.tiers if tier.namespaces]


def by_label(table: Table, subject: str) -> list[tuple[str, str]]:
    """Return (condition, namespace tier) pairs of the label."""
    value = label(subject, table.label)
    return [(f"{value} == {text(tier.label)}", tier.name) for tier in table.tiers if tier.label]


def by_prefix(table: Table, name: str) -> list[tuple[str, str]]:
    """Return (condition, namespace tier) pairs of the prefixes, the longest first."""
    pairs = [(prefix, tier.name) for tier in table.tiers for prefix in tier.prefixes]
    return [
        (f"{name}.startsWith({text(prefix)})", tier)
        for prefix, tier in sorted(pairs, key=lambda pair: (-len(pair[0]), pair[0]))
    ]


def chain(pairs: Iterable[tuple[str, str]], otherwise: str) -> str:
    """Return an expression for what belongs to the first condition that holds."""
    return " : ".join([*(f"{condition} ? {text(value)}" for condition, value in pairs), text(otherwise)])


def tier_of(table: Table, place: tuple[str, str]) -> str:
    """Return an expression for the name of the namespace tier; excluded namespaces must not come this far."""
    name, subject = place
    pairs: list[tuple[str, str]] = []
    for source in table.sources:
        if source == "map":
            pairs += by_map(table, name)
        elif source == "label":
            pairs += by_label(table, subject)
        else:
            pairs += by_prefix(table, name)
    return chain(pairs, table.fallback_tier or UNTIERED)


def not_opted_out(subject: str, key: str) -> str:
    """Return a condition: the opt-out label is not set."""
    return f"{label(subject, key)} != {text(OPTED)}"


def not_excluded(table: Table, name: str) -> list[dict[str, str]]:
    """Return match conditions for exclusions that a selector cannot express: beginnings of names."""
    beginnings = sorted(one[:-1] for one in table.exclusions if one.endswith("*"))
    if not beginnings:
        return []
    return [{"name": "not-excluded", "expression": f"!{texts(beginnings)}.exists(p, {name}.startsWith(p))"}]


def selector(table: Table, *more: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return a namespace selector that leaves out the exclusions with a full name."""
    names = sorted(one for one in table.exclusions if not one.endswith("*"))
    expressions: list[Mapping[str, t.Any]] = []
    if names:
        expressions.append({"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": names})
    expressions += more
    return {"namespaceSelector": {"matchExpressions": [dict(one) for one in expressions]}} if expressions else {}


def literal(value: t.Any) -> str:
    """Return plain data as CEL; each value of a mapping is made dynamic, as Kyverno before 1.19 needs it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{text(str(k))}: dyn({literal(v)})" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(v) for v in value) + "]"
    if isinstance(value, Expression):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else text(str(value))


class Expression(str):
    """A text that is CEL already."""

    __slots__ = ()
