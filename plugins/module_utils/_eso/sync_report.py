# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What happened on each cluster, for results and for people."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping, Sequence

from .._core.errors import HackspaceError
from .._core.plan import Plan
from .sync_apply import Late, Read
from .sync_plan import Item, Nudge


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One cluster.

    :ivar found: ``None`` if it could not be asked.
    :ivar nudged: something was written (never in check mode).
    :ivar sent: what was written, or may have been, if *problem* ended the writing; ``None`` if it was not ended.
    :ivar late: what was not Ready at the end; ``None`` if nobody waited.
    :ivar broken: stores that were not Ready at the end.
    """

    cluster: str
    found: Read | None = None
    nudged: bool = False
    late: Sequence[Late] | None = None
    broken: Sequence[Item] = ()
    problem: HackspaceError | None = None
    requests: int = 0
    sent: Sequence[Item] | None = None

    @property
    def nudge(self) -> Nudge | None:
        """What was touched, or is to be in check mode."""
        if self.found is None or self.sent is None:
            return self.found.nudge if self.found else None
        return self.found.nudge.only(self.sent)

    @property
    def plan(self) -> Plan:
        return self.nudge.plan() if self.nudge else Plan()

    @property
    def state(self) -> str:
        if self.found is None:
            return "unreachable"
        if self.sent is not None:
            return "failed"
        if not self.found.version:
            return "not_installed"
        if not self.plan.changed:
            return "healthy"
        if self.late is None:
            return "nudged"
        return "not_ready" if self.late else "recovered"

    def as_dict(self) -> dict[str, t.Any]:
        nudge = self.nudge
        return {
            "name": self.cluster,
            "state": self.state,
            "external_secrets": len(self.found.secrets) if self.found else 0,
            "nudged": len(nudge.secrets) if nudge else 0,
            "stores": len(nudge.stores) if nudge else 0,
            "not_ready": [self._late(one) for one in self.late or ()],
            "problem": str(self.problem) if self.problem else "",
            "requests": self.requests,
        }

    def _late(self, one: Late) -> dict[str, str]:
        store = next((s for s in self.broken if s.key in one.item.stores), None)
        through = f"{store.kind} {store.title} is not Ready" if store else ""
        said = ": ".join(text for text in (one.item.reason, one.item.message) if text)
        return {
            "name": one.item.title,
            "reason": said or "not Ready yet",
            "cause": " and ".join(text for text in (through, one.cause) if text),
        }

    def line(self) -> str:
        """Return what a person should know in one line."""
        if self.found is None:
            return f"{self.cluster}: not asked: {self.problem}"
        shown = self.as_dict()
        if self.state == "failed":
            wanted = len(self.found.nudge.secrets)
            return f"{self.cluster}: {shown['nudged']} of {_count(wanted)} nudged: {self.problem}"
        nudged = f"{self.cluster}: {_count(shown['nudged'])}"
        if shown["stores"]:
            nudged += f" and {shown['stores']} store{'s' if shown['stores'] > 1 else ''}"
        match self.state:
            case "not_installed":
                return f"{self.cluster}: no External Secrets there"
            case "healthy":
                return f"{self.cluster}: nothing to nudge, {_count(shown['external_secrets'])} looked at"
            case "nudged" if self.problem:
                return f"{nudged} nudged, and not seen since: {self.problem}"
            case "nudged":
                return f"{nudged} {'nudged' if self.nudged else 'to nudge'}"
            case "recovered":
                return f"{nudged} nudged, all Ready"
        first = shown["not_ready"][0]
        more = f", and {len(shown['not_ready']) - 1} more" if len(shown["not_ready"]) > 1 else ""
        return f"{nudged} nudged, not Ready: {first['name']} ({first['cause'] or first['reason']}){more}"


def _count(number: int) -> str:
    return f"{number} ExternalSecret" + ("" if number == 1 else "s")


def broken_off(outcomes: Sequence[Outcome], result: Mapping[str, t.Any]) -> HackspaceError:
    """Return the error about clusters that could not be asked or nudged; the first one gives rule and fix."""
    first = next((outcome.problem for outcome in outcomes if outcome.problem), HackspaceError(""))
    return HackspaceError(
        "; ".join(outcome.line() for outcome in outcomes),
        item="clusters",
        rule=first.rule or "unreachable",
        fix=first.fix or "look at the address and the login in the kubeconfig.",
        status=first.status,
        data=result,
    )
