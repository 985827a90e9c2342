# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Which share goes to which node, and what an answer to it means. No I/O."""

from __future__ import annotations

import dataclasses
import typing as t

from .._core.errors import HackspaceError, InvalidInput, Refused
from .._core.plan import Change, Plan
from .seal_model import NodeState, Overview
from .shares import Share

OnProgress = t.Literal["resume", "reset", "fail"]

Verdict = t.Literal["unsealed", "counted", "duplicate", "pending", "wrong", "reset", "restarted", "lost", "refused"]

#: Track.nonce of a node that took its last share.
DONE: t.Final = "(done)"

_PUBLIC = frozenset({"state", "progress", "holders"})


class UnsealError(HackspaceError):
    """A share was not accepted, or the outcome is not what it should be."""


# -- before anything is sent -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class NodePlan:
    """What would be sent to one node.

    :ivar holders: whose shares, in this order. Spare ones follow when the server has one already.
    """

    node: str
    needed: int
    available: int
    holders: tuple[str, ...]
    reset: bool = False

    @property
    def missing(self) -> int:
        return max(self.needed - self.available, 0)

    def report(self) -> dict[str, t.Any]:
        return {
            "name": self.node,
            "shares_needed": self.needed,
            "shares_available": self.available,
            "missing": self.missing,
            "holders": list(self.holders),
            "reset": self.reset,
        }


@dataclasses.dataclass(frozen=True)
class RoundPlan:
    """What would be sent, node by node in the order of sending."""

    nodes: tuple[NodePlan, ...]

    @property
    def missing(self) -> int:
        return max((n.missing for n in self.nodes), default=0)

    def plan(self, overview: Overview) -> Plan:
        """Return it as a core Plan, for ``changed``, diff and report."""
        by_name = {s.name: s for s in overview.states}
        result = Plan(unchanged=len(overview.named("unsealed")))
        for one in self.nodes:
            state = by_name[one.node]
            start = 0 if one.reset else state.progress
            before = {"state": state.state, "progress": f"{state.progress} of {state.threshold}", "holders": []}
            if one.reset:
                result.add(
                    Change(
                        "OpenBao node",
                        one.node,
                        "reset",
                        before=before,
                        after={**before, "progress": f"0 of {state.threshold}"},
                        why="unseal shares sent by others are dropped",
                        public=_PUBLIC,
                    )
                )
            if not one.holders:
                continue
            reached = start + len(one.holders)
            done = reached >= state.threshold
            after = {
                "state": "unsealed" if done else "sealed",
                "progress": "complete" if done else f"{reached} of {state.threshold}",
                "holders": list(one.holders),
            }
            why = "unseal shares complete" if done else f"{one.missing} more unseal share(s) needed"
            result.add(Change("OpenBao node", one.node, "send", before=before, after=after, why=why, public=_PUBLIC))
        return result


def plan_round(overview: Overview, holders: t.Sequence[str], on_progress: OnProgress, allow_partial: bool) -> RoundPlan:
    """Return what to send, or refuse before anything is sent.

    :param holders: whose distinct shares are at hand.
    :raises Refused: rules ``migration-pending``, ``not-initialised``, ``progress-by-others``, ``shares-missing``.
    """
    pending = overview.named("migration_pending")
    if pending:
        raise Refused(
            f"a seal migration is pending on {', '.join(pending)}.",
            item="nodes",
            rule="migration-pending",
            fix="run playbooks/seal_migration.yml again, it goes on where it stopped; it uses shares differently.",
        )
    answering = [s for s in overview.states if s.state != "unreachable"]
    if answering and all(s.state == "not_initialised" for s in answering):
        raise Refused(
            "OpenBao is not initialised; it has no unseal shares yet.",
            item="nodes",
            rule="not-initialised",
            fix="run the module openbao_init once; if this was a living cluster, its storage is gone: restore it.",
        )
    plans = []
    for state in overview.states:
        if not state.takes_shares:
            continue
        if state.progress and on_progress == "fail":
            raise Refused(
                f"{state.progress} of {state.threshold} unseal shares were already sent by others.",
                item=f"node {state.name}",
                rule="progress-by-others",
                fix="set on_progress to resume to add to them, or to reset to drop them.",
            )
        reset = bool(state.progress) and on_progress == "reset"
        needed = state.threshold if reset else state.needed
        plans.append(NodePlan(state.name, needed, len(holders), tuple(holders[:needed]), reset))
    result = RoundPlan(tuple(plans))
    if result.missing and not allow_partial:
        raise Refused(
            f"{result.missing} more unseal share(s) are needed and allow_partial is false.",
            item="holders",
            rule="shares-missing",
            fix="give enough holders, or set allow_partial to true.",
        )
    return result


def check_holders(names: t.Sequence[str], known: t.Sequence[str]) -> None:
    """Check the labels of holders.

    :raises InvalidInput: rules ``unique-holder``, ``known-holder``.
    """
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InvalidInput(
                f"holder {name} is given twice.",
                item=f"holders[{index}].name",
                rule="unique-holder",
                fix="one entry per share; a holder of two has two names (ada-1, ada-2).",
            )
        if known and name not in known:
            raise InvalidInput(
                f"{name} is no known holder.",
                item=f"holders[{index}].name",
                rule="known-holder",
                fix=f"one of {', '.join(known)}; or correct known_holders.",
            )


# -- answers -----------------------------------------------------------------------------------------------------------


def interpret(before: NodeState, http: int | None, after: NodeState, *, reconnected: bool = False) -> Verdict:
    """Say what became of one share.

    :param before: the node as known before it was sent.
    :param http: HTTP status of the answer, ``None`` when there was none (or a 5xx, which says nothing).
    :param after: the node from the answer, or read again after an error.
    :param reconnected: the connection was closed since the last answer, as by a server that restarts.
    """
    if after.state == "unsealed":
        return "unsealed"
    if after.state == "unreachable":
        return "lost"
    another = before.progress > 0 and after.nonce != before.nonce
    if http is None:
        if another:
            return "restarted"
        return "counted" if after.progress > before.progress else "lost"
    if http == 400:
        return "wrong" if after.progress == 0 else "refused"
    if http != 200:
        return "refused"
    if after.progress == 0:
        return "pending"  # a joining node has taken the last share and answers its challenge in the background
    if another:
        return "restarted" if reconnected else "reset"
    return "counted" if after.progress > before.progress else "duplicate"


@dataclasses.dataclass
class Track:
    """What this run did on one node.

    :ivar round: holders whose shares were counted in the present round.
    :ivar tried: holders whose shares need not be sent again in this round.
    :ivar foreign: shares of the present round that were there before ours.
    :ivar rounds: rounds begun, for the bound on repetition.
    :ivar nonce: the server's name of the present round, :data:`DONE` after its last share.
    :ivar verdicts: what became of each holder's share, for the result.
    :ivar lost: requests in a row without a usable answer.
    :ivar problem: why this node was given up, for the report.
    """

    name: str
    round: list[str] = dataclasses.field(default_factory=list)
    tried: list[str] = dataclasses.field(default_factory=list)
    foreign: int = 0
    rounds: int = 0
    nonce: str = ""
    verdicts: dict[str, str] = dataclasses.field(default_factory=dict)
    reset: bool = False
    lost: int = 0
    problem: str = ""

    @property
    def changed(self) -> bool:
        return self.reset or "counted" in self.verdicts.values()

    def begin(self, state: NodeState, counted: str | None = None) -> None:
        """Begin a round on a node in *state*, in which the share of *counted* is counted already."""
        self.round = [counted] if counted else []
        self.tried = list(self.round)
        self.foreign = max(state.progress - len(self.round), 0)
        self.nonce = state.nonce
        self.rounds += 1
        self.lost = 0

    def wants_round(self, state: NodeState, max_rounds: int) -> bool:
        """A round is to be begun: the first one, or again since the node lost what it had (it restarted)."""
        if not state.takes_shares or self.problem:
            return False
        return self.rounds == 0 or (self.rounds < max_rounds and state.nonce != self.nonce)

    def next_share(self, shares: t.Sequence[Share], state: NodeState) -> Share | None:
        """Return the share to send next, ``None`` when the node needs none or none is left."""
        if state.needed == 0:
            return None
        return next((s for s in shares if s.holder not in self.tried), None)

    def note(self, holder: str, verdict: Verdict, state: NodeState) -> None:
        """Record that *holder*'s share had the good *verdict*, which left the node in *state*."""
        self.lost = 0
        self.tried.append(holder)
        self.nonce = DONE if verdict in ("unsealed", "pending") else state.nonce
        if verdict == "duplicate":
            self.verdicts.setdefault(holder, "already there")
        else:
            self.round.append(holder)
            self.verdicts[holder] = "counted"


def wrong_share(track: Track, holder: str, state: NodeState) -> UnsealError:
    """Return the error for a round that ended in a wrong share; names holders, never values.

    OpenBao checks only the whole set and then drops it, so it cannot say which share was wrong.
    """
    ours = [*track.round, holder]
    foreign = max(state.threshold - len(ours), 0)
    data = {"suspects": list(ours), "foreign_shares": foreign}
    if foreign == 0 and len(ours) == 1:
        who, fix = f"the unseal share of {holder} is wrong", f"ask {holder} for the share of this cluster."
    elif foreign == 0:
        who = f"one of the unseal shares of {_and(ours)} is wrong; OpenBao cannot tell which"
        fix = "run again with another set of holders (leave one of these out each time)."
    else:
        sent = f"the unseal share of {holder}" if len(ours) == 1 else f"the unseal shares of {_and(ours)}"
        who = f"{sent} completed {foreign} sent by others, and one of them is wrong; OpenBao cannot tell which"
        fix = "the other holders must send theirs to this node again; leave one holder out each time."
    return UnsealError(
        f"{who}. All {state.threshold} of the round were dropped on this node; no further share was sent to any node.",
        item=f"node {state.name}",
        rule="wrong-share",
        fix=fix,
        status=400,
        data=data,
    )


def interrupted(track: Track, holder: str, state: NodeState) -> UnsealError:
    """Return the error for a nonce that changed between two of our shares."""
    return UnsealError(
        f"somebody reset or finished the round while the unseal share of {holder} was sent; "
        f"{state.progress} of {state.threshold} are counted now.",
        item=f"node {state.name}",
        rule="nonce-changed",
        fix="agree who unseals, then run again: shares that are there already are not counted twice.",
        data={"holders_sent": list(track.round)},
    )


def no_answer(holder: str, problem: str, *, last: bool) -> str:
    """Say that a node did not answer while a share was sent (a clause for the report; other nodes go on).

    :param last: the share would have completed the round.
    """
    text = f"no usable answer to the unseal share of {holder} ({problem})"
    return f"{text}; a joining node that is given a wrong one hangs like this, restart it if it stays" if last else text


def _and(names: t.Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# -- the end -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How far the run came, for the result and the last lines."""

    overview: Overview
    missing: int
    holders_sent: tuple[str, ...]
    holders_possible: tuple[str, ...]
    next_command: str

    def summary(self) -> list[str]:
        lines = self.overview.summary()
        if self.overview.shares_needed:
            lines.pop()
        if self.missing:
            who = f" from {', '.join(self.holders_possible)}" if self.holders_possible else " from other holders"
            lines.append(f"still needed: {self.missing} unseal share(s){who}")
            lines.append(f"next command: {self.next_command}")
        return lines


def outcome(
    overview: Overview, missing: int, sent: t.Sequence[str], known: t.Sequence[str], next_command: str
) -> Outcome:
    """Return the outcome; ``HOLDER`` in *next_command* becomes the name if only one holder is left."""
    possible = tuple(h for h in known if h not in sent)
    command = next_command.replace("HOLDER", possible[0] if len(possible) == 1 else "HOLDER")
    return Outcome(overview, missing, tuple(sent), possible, command if missing else "")


def check_outcome(overview: Overview, *, enough: bool, waited: bool, require: str) -> list[str]:
    """Return warnings about a run that came to its end, or raise when what is required was not reached.

    :param enough: shares enough for every node that answers were at hand.
    :param waited: the run waited for nodes and a leader.
    :param require: ``active`` or ``all``.
    :raises UnsealError: rules ``no-node``, ``no-leader``, ``not-all``.
    """
    down = [s for s in overview.states if s.state == "unreachable"]
    if len(down) == len(overview.states):
        raise UnsealError(
            "no node answers. " + "; ".join(s.line() for s in down),
            item="nodes",
            rule="no-node",
            fix=down[0].problem.fix if down[0].problem and down[0].problem.fix else "start the servers.",
        )
    warnings = [s.line() for s in down]
    if len({s.cluster_id for s in overview.states if s.cluster_id}) > 1:
        warnings.append("the unsealed nodes belong to different clusters; correct the list of nodes.")
    warnings += [s.line() for s in overview.states if s.state == "auto_unseal"]
    if not waited:
        return warnings
    if enough and overview.active is None:
        raise UnsealError(
            f"no node leads. {overview.blockers() or 'Enough nodes are unsealed, but none is active'}.",
            item="nodes",
            rule="no-leader",
            fix="start or unseal the nodes named; if they are unsealed already, raise wait_timeout or see their logs.",
        )
    if require == "all" and len(overview.named("unsealed")) < len(overview.states):
        rest = "; ".join(s.line() for s in overview.states if s.state != "unsealed")
        if enough:
            raise UnsealError(
                f"not every node is unsealed. {rest}.",
                item="nodes",
                rule="not-all",
                fix="repair the nodes named and run again, or set require to active.",
            )
    return warnings
