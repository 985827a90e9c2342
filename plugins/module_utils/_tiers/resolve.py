# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""To which namespace tier a namespace belongs, why, and what speaks against it.

The policies say the same in CEL (``cel.tier_of``); tests hold the two against each other.
"""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping

from .model import UNTIERED, Table

OPTED: t.Final = "true"


@dataclasses.dataclass(frozen=True)
class Resolution:
    """What is known about one namespace.

    :ivar tier: name of the namespace tier; ``untiered``; empty if the namespace is excluded.
    :ivar source: ``map``, ``label``, ``prefix``, ``fallback`` or ``excluded``.
    :ivar said: what each source says, by source; sources that say nothing are not there.
    :ivar conflicts: sentences for people; empty if the sources agree.
    :ivar hold: the value of the hold annotation, a date by convention.
    """

    namespace: str
    tier: str
    source: str
    said: Mapping[str, str]
    conflicts: tuple[str, ...] = ()
    custom_limits: bool = False
    custom_quota: bool = False
    hold: str = ""

    @property
    def tiered(self) -> bool:
        """Return whether the namespace has a namespace tier."""
        return self.tier not in ("", UNTIERED)

    def as_dict(self) -> dict[str, t.Any]:
        """Return plain data."""
        return {
            "namespace": self.namespace,
            "tier": self.tier,
            "source": self.source,
            "tiered": self.tiered,
            "sources": dict(self.said),
            "conflicts": list(self.conflicts),
            "custom_limit_range": self.custom_limits,
            "custom_quota": self.custom_quota,
            "hold": self.hold,
        }


def by_prefix(table: Table, namespace: str) -> str:
    """Return the namespace tier with the longest prefix that fits, or nothing."""
    fitting = [
        (len(prefix), tier.name) for tier in table.tiers for prefix in tier.prefixes if namespace.startswith(prefix)
    ]
    return max(fitting)[1] if fitting else ""


def _said(table: Table, namespace: str, labels: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    said: dict[str, str] = {}
    wrong: list[str] = []
    for source in table.sources:
        if source == "map":
            tier = next((one.name for one in table.tiers if namespace in one.namespaces), "")
        elif source == "label":
            value = labels.get(table.label, "")
            tier = next((one.name for one in table.tiers if value and one.label == value), "")
            if value and not tier:
                wrong.append(f"the label {table.label}={value} names no namespace tier")
        else:
            tier = by_prefix(table, namespace)
        if tier:
            said[source] = tier
    return said, wrong


def resolve(
    table: Table,
    namespace: str,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Resolution:
    """Return the namespace tier of a namespace; the first source of the table that says something wins."""
    labels, annotations = labels or {}, annotations or {}
    said, conflicts = _said(table, namespace, labels)
    facts: dict[str, t.Any] = {
        "custom_limits": labels.get(table.optout_limits) == OPTED,
        "custom_quota": labels.get(table.optout_quota) == OPTED,
        "hold": annotations.get(table.hold, ""),
    }
    if table.excluded(namespace):
        conflicts += [f"it is excluded, though the {source} says {tier}" for source, tier in said.items()]
        return Resolution(namespace, "", "excluded", said, tuple(conflicts), **facts)
    if not said:
        tier = table.fallback_tier or UNTIERED
        return Resolution(namespace, tier, "fallback", said, tuple(conflicts), **facts)
    source, tier = next(iter(said.items()))
    conflicts += [
        f"the {source} says {tier} and wins, the {other} says {second}"
        for other, second in said.items()
        if second != tier
    ]
    return Resolution(namespace, tier, source, said, tuple(conflicts), **facts)


def of_object(table: Table, namespace: Mapping[str, t.Any]) -> Resolution:
    """Return the namespace tier of a Namespace object."""
    metadata = namespace.get("metadata") or {}
    return resolve(
        table, str(metadata.get("name", "")), metadata.get("labels") or {}, metadata.get("annotations") or {}
    )


def of_any(table: Table, namespace: t.Any) -> Resolution:
    """Return the namespace tier of a namespace that is given as an object or by its name."""
    return of_object(table, namespace) if isinstance(namespace, Mapping) else resolve(table, str(namespace))
