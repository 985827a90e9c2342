# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Who keeps which share, and whether that is well: findings, a holder's proof, adoption. No input, no output."""

from __future__ import annotations

import dataclasses
import typing as t

from .._core.errors import InvalidInput, check
from .._core.plan import Change, Plan
from .._core.redact import fingerprint
from .init_model import NAME
from .rotation_model import wrong_fingerprint
from .share_record import Entry, Record, days_since
from .shares import Share

Severity = t.Literal["critical", "warning", "info"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that a person should know or do."""

    severity: Severity
    rule: str
    what: str
    fix: str

    def report(self) -> dict[str, str]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Server:
    """What the server says of its shares; noughts where it was not asked."""

    shares: int = 0
    threshold: int = 0
    kind: str = "unseal"
    cluster_id: str = ""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the report goes by.

    :ivar known: people who are still there; ``None`` if nobody says.
    :ivar present: the time.
    :ivar verify_days: after how many days a holder should show the share again.
    """

    known: tuple[str, ...] | None
    present: str
    verify_days: int = 180


def holders(record: Record, settings: Settings, missing: t.Collection[str]) -> list[dict[str, t.Any]]:
    """Return one line per holder, all public."""
    return [
        {
            "holder": e.holder,
            "file": e.file,
            "file_there": e.file not in missing if e.file else None,
            "recipient": e.recipient,
            "fingerprint": e.fingerprint,
            "verified_at": e.verified_at,
            "verified_days_ago": days_since(e.verified_at, settings.present) if e.verified_at else None,
            "departed": settings.known is not None and e.holder not in settings.known,
        }
        for e in record.holders
    ]


def findings(record: Record | None, server: Server, settings: Settings, missing: t.Collection[str]) -> list[Finding]:
    """Return what is not well with the custody of the shares."""
    if record is None or record.state == "unknown":
        text = "no record says who holds the unseal shares"
        return [Finding("warning", "no-record", text, "make it with playbooks/shares.yml -e openbao_shares_do=adopt.")]
    found = [*_numbers(record, server), *_people(record, settings), *_proofs(record, settings)]
    lost = [e.holder for e in record.holders if e.file and e.file in missing]
    if lost:
        text = f"the share files of {', '.join(lost)} are not in the folder"
        found.append(Finding("info", "file-missing", text, "good if the holders have them; put copies back if not."))
    if record.rotation:
        text = f"new shares are under way since {record.rotation.begun_at} ({record.rotation.state})"
        found.append(Finding("warning", "rotation-under-way", text, "go on with openbao_shares_do=rotate."))
    order = {"critical": 0, "warning": 1, "info": 2}
    return sorted(found, key=lambda f: order[f.severity])


def _numbers(record: Record, server: Server) -> list[Finding]:
    if not server.shares:
        return []
    mine, theirs = (record.threshold, record.shares or len(record.holders)), (server.threshold, server.shares)
    if record.cluster.get("cluster_id") and server.cluster_id and record.cluster["cluster_id"] != server.cluster_id:
        text = "the record is of another cluster than the server asked"
        return [Finding("critical", "other-cluster", text, "give the folder of this cluster's shares.")]
    if mine == theirs:
        return []
    text = f"the record has {mine[0]} of {mine[1]} shares, the server {theirs[0]} of {theirs[1]}"
    return [
        Finding("critical", "record-differs", text, "shares were made anew elsewhere: move the record away, adopt.")
    ]


def _people(record: Record, settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    gone = [e.holder for e in record.holders if settings.known is not None and e.holder not in settings.known]
    left = len(record.holders) - len(gone)
    rotate = "make new shares: playbooks/shares.yml -e openbao_shares_do=rotate."
    if left < record.threshold and not gone:
        text = f"{left} holders are known, {record.threshold} are needed"
        fix = "name the others: playbooks/shares.yml -e openbao_shares_do=adopt."
        found.append(Finding("critical", "below-threshold", text, fix))
    elif left < record.threshold:
        text = f"{left} holders are left, {record.threshold} are needed: nobody can unseal OpenBao or make new shares"
        found.append(Finding("critical", "below-threshold", text, f"get shares back from {', '.join(gone)} now."))
    elif left == record.threshold and len(record.holders) > record.threshold:
        text = f"{left} holders are left and all of them are needed: one more loss, and nothing can be unsealed"
        found.append(Finding("critical", "at-threshold", text, rotate))
    elif left == record.threshold and left > 1:
        text = f"all {left} holders are needed: one loss, and nothing can be unsealed"
        found.append(Finding("warning", "no-spare", text, "make more shares than the threshold."))
    if gone:
        text = f"{', '.join(gone)} left and still hold{'s' if len(gone) == 1 else ''} shares that are in force"
        found.append(Finding("warning", "departed", text, rotate))
    new = [n for n in settings.known or () if not record.entry(n)]
    if new:
        found.append(Finding("info", "without-share", f"{', '.join(new)} hold no share yet", rotate))
    for label, key in (("key", "recipient"), ("share", "fingerprint")):
        seen: dict[str, list[str]] = {}
        for entry in record.holders:
            if getattr(entry, key):
                seen.setdefault(getattr(entry, key), []).append(entry.holder)
        for names in (n for n in seen.values() if len(n) > 1):
            text = f"{' and '.join(names)} have the same {label}: one person holds two shares"
            found.append(Finding("warning", "two-shares", text, "give each share to a person of their own."))
    return found


def _proofs(record: Record, settings: Settings) -> list[Finding]:
    here = [e for e in record.holders if settings.known is None or e.holder in settings.known]
    never = [e.holder for e in here if not e.verified_at]
    old = [
        e.holder
        for e in here
        if e.verified_at and (days_since(e.verified_at, settings.present) or 0) > settings.verify_days
    ]
    fix = "each holder runs playbooks/shares.yml -e openbao_shares_do=verify -e openbao_shares_holder=NAME."
    found = []
    if never:
        text = f"{', '.join(never)} never showed that the share is there"
        found.append(Finding("warning", "never-verified", text, fix))
    if old:
        text = f"{', '.join(old)} showed the share more than {settings.verify_days} days ago"
        found.append(Finding("warning", "verified-long-ago", text, fix))
    return found


# -- a holder's proof --------------------------------------------------------------------------------------------------


def verify(
    record: Record | None, older: t.Sequence[Record], given: t.Sequence[Share], present: str
) -> tuple[Record, Plan]:
    """Return the record with the holders of *given* shares dated, and what changes in it.

    :raises InvalidInput: ``no-record``, ``known-holder``, ``wrong-share``; nothing is dated then.
    """
    if record is None or record.state == "unknown":
        raise InvalidInput(
            "there is no record to compare with.",
            item="shares_dir",
            rule="no-record",
            fix="make it with do: adopt.",
        )
    plan = Plan()
    for share in given:
        entry = record.entry(share.holder)
        if entry is None:
            raise InvalidInput(
                f"{share.holder} holds no share of generation {record.generation}.",
                item=f"unseal share of {share.holder}",
                rule="known-holder",
                fix=f"one of {', '.join(e.holder for e in record.holders)}.",
            )
        mark = fingerprint(share.raw)
        if entry.fingerprint and entry.fingerprint != mark:
            raise wrong_fingerprint(share.holder, mark, [record, *older], wanted=record.generation)
        owner = next((e.holder for e in record.holders if e.fingerprint == mark and e.holder != share.holder), "")
        if owner:
            raise wrong_fingerprint(share.holder, mark, [record, *older], wanted=record.generation)
        if entry.fingerprint and entry.verified_at[:10] == present[:10]:
            plan.unchanged += 1
            continue
        after = dataclasses.replace(entry, fingerprint=mark, verified_at=present)
        plan.add(_change(entry, after, why="" if entry.fingerprint else "fingerprint learnt, nothing to compare with"))
        record = record.with_entry(after)
    return record, plan


def _change(before: Entry | None, after: Entry, why: str = "") -> Change:
    public = frozenset({"fingerprint", "verified_at"})
    fields = {k: getattr(after, k) for k in sorted(public)}
    old = {k: getattr(before, k) for k in sorted(public)} if before else None
    return Change(
        "unseal share", after.holder, "update" if before else "create", before=old, after=fields, why=why, public=public
    )


# -- adoption ----------------------------------------------------------------------------------------------------------


def adopt(
    record: Record | None,
    older: t.Sequence[Record],
    server: Server,
    names: t.Sequence[str],
    given: t.Sequence[Share],
    *,
    present: str,
    generation: str,
) -> tuple[Record, Plan]:
    """Return the record of a cluster that others initialised, with the fingerprints of *given* shares.

    :param names: everybody who holds a share, as far as is known.
    :raises InvalidInput: the people do not go with the server's numbers, or the record is not an adopted one.
    """
    plan = Plan()
    if record and record.state not in ("adopted", "unknown"):
        if given:
            return verify(record, older, given, present)
        plan.unchanged = len(record.holders)
        return record, plan
    if record is None or record.state == "unknown":
        check(
            server.shares,
            "the server must be asked how many shares there are.",
            item="nodes",
            rule="no-server",
            fix="give the nodes.",
        )
        record = Record(
            state="adopted",
            generation=generation,
            made_at="",
            kind=server.kind,
            threshold=server.threshold,
            holders=(),
            shares=server.shares,
            cluster={"cluster_id": server.cluster_id, "cluster_name": ""},
            rotation=record.rotation if record else None,
        )
        plan.add(
            Change(
                "record",
                "shares.json",
                "create",
                after={"generation": generation, "threshold": server.threshold, "shares": server.shares},
                public=frozenset({"generation", "threshold", "shares"}),
            )
        )
    if server.shares:
        check(
            (record.shares, record.threshold) == (server.shares, server.threshold),
            f"the record has {record.threshold} of {record.shares} shares, the server {server.threshold} of "
            f"{server.shares}.",
            item="shares_dir",
            rule="record-differs",
            fix="shares were made anew meanwhile: move the record away and adopt again.",
        )
    for name in dict.fromkeys([*names, *(s.holder for s in given)]):
        check(
            NAME.match(name),
            f"{name!r} cannot be the name of a holder.",
            item="known_holders",
            rule="holder-name",
            fix="use letters, digits, dot, dash and underscore; begin with a letter or digit.",
        )
        if record.entry(name) is None:
            record = dataclasses.replace(record, holders=(*record.holders, Entry(name)))
            plan.add(_change(None, Entry(name), why="fingerprint to be learnt"))
    check(
        len(record.holders) <= record.shares,
        f"{len(record.holders)} holders ({', '.join(e.holder for e in record.holders)}) for {record.shares} shares.",
        item="known_holders",
        rule="holders-count",
        fix="name those who hold a share; take others out of shares.json.",
    )
    if given:
        record, proofs = verify(record, older, given, present)
        plan.extend(proofs)
    if not plan.changed:
        plan.unchanged = len(record.holders)
    return record, plan
