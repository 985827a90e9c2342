# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Which things of a Ceph cluster are ours. Pure.

Ceph's users, pools and subvolume groups have no place for a label. The monitors' key/value store has one: a key for
each thing that was made or taken over here, with what Ceph itself does not tell about it. Nothing in it is secret.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t
from collections.abc import Mapping

from .ports import Command

_PREFIX: t.Final = "hackspace.infra/"

Kind = t.Literal["client", "pool", "subvolume-group"]


@dataclasses.dataclass(frozen=True)
class Marks:
    """What is marked, by kind and name."""

    found: Mapping[tuple[str, str], Mapping[str, t.Any]]

    def has(self, kind: Kind, name: str) -> bool:
        """Say whether a thing is ours."""
        return (kind, name) in self.found

    def about(self, kind: Kind, name: str) -> Mapping[str, t.Any]:
        """Return what is remembered of a thing."""
        return self.found.get((kind, name), {})


def read() -> Command:
    """Return the command that reads all marks."""
    return Command("config-key dump", {"key": _PREFIX})


def parse(out: t.Any) -> Marks:
    """Return the marks out of Ceph's answer."""
    found: dict[tuple[str, str], Mapping[str, t.Any]] = {}
    for key, text in (out if isinstance(out, dict) else {}).items():
        kind, slash, name = str(key).removeprefix(_PREFIX).partition("/")
        if not str(key).startswith(_PREFIX) or not slash:
            continue
        try:
            value = json.loads(text)
        except ValueError:
            value = {}
        found[kind, name] = value if isinstance(value, dict) else {}
    return Marks(found)


def put(kind: Kind, name: str, about: Mapping[str, t.Any] | None = None) -> Command:
    """Return the command that marks a thing."""
    text = json.dumps(dict(about or {}), sort_keys=True, separators=(",", ":"))
    return Command("config-key set", {"key": f"{_PREFIX}{kind}/{name}", "val": text})


def drop(kind: Kind, name: str) -> Command:
    """Return the command that takes a mark away."""
    return Command("config-key rm", {"key": f"{_PREFIX}{kind}/{name}"})
