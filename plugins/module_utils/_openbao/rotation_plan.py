# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What to do next about new shares, from the record, the wishes and the server's attempt. No input, no output.

The server forgets its attempt when it restarts or another node takes over, and only then. Old shares are valid until
the last new one is verified, so that beginning again is always safe, as long as it is known that nothing was finished.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._core.errors import HackspaceError, InvalidInput, Refused
from .._core.plan import Change, Plan
from .rotation_model import Server, Wanted
from .share_record import Record, Rotation

#: ``none``: nothing to do. ``shares``: old shares are needed. ``verify``: new shares are needed. ``prove``: enough new
#: shares are needed at once, to find out what a run that died had finished. ``finish``: only files are left to do.
Phase = t.Literal["none", "shares", "verify", "prove", "finish"]


@dataclasses.dataclass(frozen=True)
class Decision:
    """What a run does.

    :ivar needed: how many shares the phase still needs.
    :ivar cancel: cancel the server's attempt first.
    :ivar drop: throw away new shares that never came into force.
    :ivar begin: begin an attempt.
    :ivar given: holders whose shares the server has counted already.
    :ivar why: for the report.
    """

    phase: Phase
    needed: int = 0
    cancel: bool = False
    drop: bool = False
    begin: bool = False
    given: tuple[str, ...] = ()
    why: str = ""
    warnings: tuple[str, ...] = ()


def decide(record: Record | None, wanted: Wanted, server: Server) -> Decision:
    """Return what to do next.

    :raises Refused: an attempt of others, one that differs from what is wanted, or any with ``on_progress: fail``.
    """
    pending = record.rotation if record else None
    if pending and pending.state == "verified":
        return Decision("finish", why="the new shares are in force; the files are not in their places yet")
    ours = pending is not None and server.started and server.nonce in (pending.nonce, pending.proof_nonce)
    if pending is None or (pending.state == "beginning" and not (server.started and server.progress == 0)):
        return _from_nothing(record, wanted, server, drop=pending is not None)
    if pending.state == "beginning":
        # Killed between the request and its answer: it is ours or nobody has given a share to it, so nobody loses any.
        return _begin(server, "an attempt without any share is begun again", cancel=True, drop=True)
    if pending.state == "verifying" and (not server.started or (ours and server.nonce == pending.proof_nonce)):
        return _unknown_end(record, pending, server)
    if not server.started:
        return _lost(record, pending, wanted, server)
    if not ours:
        return _of_others(server, wanted, drop=True, unknown=pending.state == "verifying", pending=pending)
    return _resume(record, pending, wanted, server)


def _from_nothing(record: Record | None, wanted: Wanted, server: Server, *, drop: bool) -> Decision:
    if server.started:
        return _of_others(server, wanted, drop=drop)
    why = reason(record, wanted)
    if not why:
        return Decision("none", drop=drop, why="as wanted")
    return _begin(server, why, drop=drop)


def reason(record: Record | None, wanted: Wanted) -> str:
    """Say why new shares are needed; ``""`` if the present ones are as wanted."""
    if record is None or record.state == "unknown":
        return "no record says who holds the present shares"
    if wanted.replace_generation and wanted.replace_generation == record.generation:
        return f"generation {record.generation} is to be replaced"
    if wanted.same_as(record.threshold, record.holders):
        return ""
    before, after = {e.holder for e in record.holders}, {h.name for h in wanted.holders}
    parts = []
    if before - after:
        parts.append(f"without {', '.join(sorted(before - after))}")
    if after - before:
        parts.append(f"with {', '.join(sorted(after - before))}")
    if record.threshold != wanted.threshold:
        parts.append(f"threshold {wanted.threshold} instead of {record.threshold}")
    return "; ".join(parts) or "keys of holders differ"


def _begin(
    server: Server, why: str, *, cancel: bool = False, drop: bool = False, warnings: tuple[str, ...] = ()
) -> Decision:
    needed = server.required or (0 if server.recovery_seal else server.threshold)
    return Decision("shares", needed=needed, cancel=cancel, drop=drop, begin=True, why=why, warnings=warnings)


def _of_others(
    server: Server, wanted: Wanted, *, drop: bool, unknown: bool = False, pending: Rotation | None = None
) -> Decision:
    if wanted.on_progress != "reset":
        raise Refused(
            f"an attempt is under way that this record does not know ({server.progress} of {server.required} shares).",
            item=server.ends.init,
            rule="attempt-of-others",
            fix="ask the other administrators; if nobody is at it, set on_progress: reset to cancel it.",
            data={"progress": server.progress, "required": server.required},
        )
    if unknown and pending:
        return Decision(
            "prove", needed=server.required, cancel=True, begin=True, why="which shares are in force is not known"
        )
    return _begin(server, "on_progress: reset", cancel=True, drop=drop)


def _lost(record: Record | None, pending: Rotation, wanted: Wanted, server: Server) -> Decision:
    """The server has forgotten our attempt; the old shares are in force."""
    text = "OpenBao has forgotten the attempt (a restart, another active node, or somebody cancelled it)"
    if pending.state == "handed-out":
        text += (
            f"; the new shares of generation {pending.generation} are worthless unless somebody verified them by other "
            f"means, and are kept in generations/{pending.generation}"
        )
    why = reason(record, wanted)
    if not why:
        return Decision("none", drop=True, why="as wanted", warnings=(f"{text}; nothing is begun again.",))
    again = f"; {', '.join(pending.given)} must give the present shares again" if pending.given else ""
    return _begin(server, why, drop=True, warnings=(f"{text}{again}.",))


def _resume(record: Record | None, pending: Rotation, wanted: Wanted, server: Server) -> Decision:
    """Our attempt is alive."""
    if wanted.on_progress == "reset":
        why = reason(record, wanted)
        if not why:
            return Decision(
                "none", cancel=True, drop=True, why="on_progress: reset, and the present shares are as wanted"
            )
        return _begin(server, "on_progress: reset", cancel=True, drop=True)
    done = server.verified if server.verification_nonce else server.progress
    if wanted.on_progress == "fail":
        raise Refused(
            f"new shares are under way since {pending.begun_at} ({done} shares given).",
            item=server.ends.init,
            rule="attempt-under-way",
            fix="set on_progress: resume to go on with it, or reset to begin again.",
            data={"generation": pending.generation},
        )
    where = "server" if wanted.on_server else "controller"
    if not wanted.same_as(pending.threshold, pending.holders) or where != pending.encrypted_on:
        raise Refused(
            f"new shares are under way since {pending.begun_at} for {names(pending)} with threshold "
            f"{pending.threshold}, encrypted on the {pending.encrypted_on}; that is not what is wanted now.",
            item="holders",
            rule="rotation-differs",
            fix="give the same holders, threshold and encrypt_on to go on, or set on_progress: reset to begin again.",
        )
    if not server.verification_nonce:
        given = pending.given if len(pending.given) <= server.progress else ()
        return Decision(
            "shares", needed=max(server.required - server.progress, 0), given=given, why="goes on with the attempt"
        )
    if pending.state == "collecting":
        text = "an earlier run ended before it had written the new shares: they are dropped, and all begins again"
        return _begin(server, text, cancel=True, drop=True, warnings=(f"{text}. The present shares are valid.",))
    verified = tuple(e.holder for e in pending.holders if e.verified_at)
    return Decision(
        "verify",
        needed=max(pending.threshold - server.verified, 0),
        given=verified if len(verified) <= server.verified else (),
        why="new shares are verified",
    )


def _unknown_end(record: Record | None, pending: Rotation, server: Server) -> Decision:
    """A run died while the last new share was under way: both generations are kept, and one of them is in force."""
    old = record.threshold if record and record.state != "unknown" else 0
    if old and pending.threshold != old and server.required == pending.threshold:
        return Decision("finish", why="the server needs as many shares as the new generation has for threshold")
    count = len(record.holders) if record and record.state != "unknown" else 0
    if count and len(pending.holders) != count and server.shares == len(pending.holders):
        return Decision("finish", why="the server has as many shares as the new generation")
    return Decision(
        "prove",
        needed=server.required or server.threshold,
        cancel=server.started,
        begin=True,
        why="which shares are in force is not known",
    )


def names(pending: Rotation) -> str:
    return ", ".join(e.holder for e in pending.holders)


def too_few(have: int, decision: Decision, *, item: str) -> HackspaceError:
    """Return the error for a proof that needs more shares in this run."""
    return InvalidInput(
        f"{have} new shares given, {decision.needed} are needed at once: a run died while the last new share was being "
        "verified, and only they tell which generation is in force. Nothing was sent.",
        item=item,
        rule="too-few-shares",
        fix=f"give the new shares of {decision.needed} holders in one run, by prompts on one terminal or by files.",
    )


def describe(decision: Decision, wanted: Wanted, server: Server, holders: t.Sequence[str]) -> Plan:
    """Return the steps of a run in which *holders* give shares, for the report, the diff and check mode."""
    plan = Plan(warnings=list(decision.warnings))
    kind = f"{server.kind} shares"
    if decision.cancel:
        plan.add(Change(kind, "attempt", "reset", before={}, why=decision.why))
    if decision.begin and decision.phase == "shares":
        plan.add(
            Change(
                kind,
                "new generation",
                "create",
                after={
                    "holders": [h.name for h in wanted.holders],
                    "threshold": wanted.threshold,
                    "encrypted_on": "server" if wanted.on_server else "controller",
                },
                why=decision.why,
                public=frozenset({"holders", "threshold", "encrypted_on"}),
            )
        )
    which = {"shares": "present", "verify": "new", "prove": "new"}.get(decision.phase, "")
    new = [h for h in holders if h not in decision.given]
    for holder in new[: decision.needed] if which else []:
        plan.add(Change(f"{which} {server.kind} share", holder, "send", after={}))
    last = decision.needed <= len(new) and decision.phase in ("shares", "verify")
    if decision.phase == "finish" or (last and (decision.phase == "verify" or not wanted.on_server)):
        plan.add(Change(kind, "new generation", "update", after={}, why="in force; files and record take their places"))
    if decision.drop and not decision.begin:
        plan.add(Change(kind, "new generation", "delete", before={}, why="never came into force"))
    if not plan.changed:
        plan.unchanged = len(wanted.holders)
    return plan
