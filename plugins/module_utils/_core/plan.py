# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Plan and Change: what differs between the present and the wanted state, in the order in which to apply it.

A Plan is pure data. It yields ``changed``, Ansible's ``diff``, the check-mode result and the report per item, all of
them redacted: a field is public only if the Change says so.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .redact import redact_fields

Action = t.Literal["create", "update", "delete", "adopt", "send", "reset", "wait"]

#: Actions that lose something; counted against prune caps and never planned without an option that asks for them.
DESTRUCTIVE: t.Final = frozenset({"delete", "reset"})


@dataclasses.dataclass(frozen=True)
class Change:
    """One step.

    :ivar kind: what sort of thing (``auth mount``, ``OpenBao policy``, ``ConfigMap``).
    :ivar name: which one (``kubernetes-member-prod``, ``flux-system/sources``).
    :ivar action: one of :data:`Action`.
    :ivar before: present state, ``None`` if absent. Top-level keys are fields.
    :ivar after: wanted state, ``None`` if it is to be absent.
    :ivar why: one clause for the report (``max_ttl differs``).
    :ivar public: names of the fields of before and after whose values may be shown.
    :ivar payload: what apply sends; never shown.
    """

    kind: str
    name: str
    action: Action
    before: t.Mapping[str, t.Any] | None = None
    after: t.Mapping[str, t.Any] | None = None
    why: str = ""
    public: frozenset[str] = frozenset()
    payload: t.Any = dataclasses.field(default=None, repr=False, compare=False)

    def diff(self) -> dict[str, t.Any]:
        """Return Ansible's diff entry of this step, redacted."""
        before, after = redact_fields(self.before, self.after, self.public)
        header = f"{self.kind} {self.name}"
        return {
            "before_header": header,
            "after_header": f"{header} ({self.action}{': ' + self.why if self.why else ''})",
            "before": before,
            "after": after,
        }

    def report(self) -> dict[str, str]:
        """Return the line of the report: kind, name, action, why."""
        return {"kind": self.kind, "name": self.name, "action": self.action, "why": self.why}

    def __repr__(self) -> str:
        return f"Change({self.action} {self.kind} {self.name})"


@dataclasses.dataclass
class Plan:
    """An ordered list of changes plus what the reader should know about what is left alone.

    :ivar changes: in the order in which they are applied.
    :ivar unchanged: number of wanted items that are as wanted.
    :ivar foreign: names of items that exist, are not ours, and would be changed if adoption were allowed.
    :ivar warnings: sentences for ``module.warn``.
    """

    changes: list[Change] = dataclasses.field(default_factory=list)
    unchanged: int = 0
    foreign: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.changes)

    def add(self, change: Change) -> None:
        self.changes.append(change)

    def extend(self, other: Plan) -> None:
        """Append *other* after this plan."""
        self.changes.extend(other.changes)
        self.unchanged += other.unchanged
        self.foreign.extend(other.foreign)
        self.warnings.extend(other.warnings)

    def of(self, *actions: Action) -> list[Change]:
        """Return the changes with one of *actions*."""
        return [c for c in self.changes if c.action in actions]

    def diff(self) -> list[dict[str, t.Any]]:
        """Return Ansible's ``diff``: one entry per change, redacted."""
        return [c.diff() for c in self.changes]

    def report(self) -> list[dict[str, str]]:
        """Return one line per change."""
        return [c.report() for c in self.changes]

    def result(self) -> dict[str, t.Any]:
        """Return what every module returns: changed, changes, unchanged, foreign, diff."""
        return {
            "changed": self.changed,
            "changes": self.report(),
            "unchanged": self.unchanged,
            "foreign": sorted(self.foreign),
            "diff": self.diff(),
        }
