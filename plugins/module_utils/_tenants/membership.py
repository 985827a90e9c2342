# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Who is still a member, and what follows from it for the tenants. Never anything that destroys.

Errors are open for tenants that exist and closed for new ones: while the source does not answer, nobody is suspended
and nobody is onboarded. An answer without any member is such an error.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from .._core.errors import InvalidInput

SOURCES: t.Final = ("declaration", "keycloak")

Standing = t.Literal["member", "grace", "lapsed", "unknown", "exempt"]


@dataclasses.dataclass(frozen=True)
class Rules:
    """What the operator allows.

    :ivar grace_days: days after the end of a membership in which nothing happens, where a declaration has none.
    :ivar suspend: lapsed tenants are suspended.
    :ivar max_suspend: how many may be suspended in one run; if there were more, none is.
    :ivar required: a declaration that names no member counts as one whose membership has ended; for all but *exempt*.
    """

    source: str = "declaration"
    grace_days: int = 14
    suspend: bool = False
    max_suspend: int = 2
    required: bool = False
    exempt: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Claim:
    """What a declaration says of its member, and what the cluster knows.

    :ivar member: as the source names members; empty if the declaration has no membership.
    :ivar exists: the tenant is on the cluster already.
    :ivar suspended: it is suspended because of its membership already, which does not count towards the cap.
    :ivar stopped: it is not active anyway (not made, declared so, or brought down already); neither does that.
    :ivar since: since when it is recorded as lapsed, where the source has no date.
    """

    tenant: str
    member: str = ""
    paid_until: datetime.date | None = None
    grace_days: int | None = None
    exists: bool = False
    suspended: bool = False
    stopped: bool = False
    since: datetime.date | None = None


@dataclasses.dataclass(frozen=True)
class Member:
    """A member as the source knows them."""

    enabled: bool = True
    paid_until: datetime.date | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the source said; ``problem`` says why it said nothing that can be used."""

    members: Mapping[str, Member] = dataclasses.field(default_factory=dict)
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What follows for one tenant.

    :ivar suspend: it is to be suspended, or to stay so.
    :ivar admit: it may be made if it does not exist.
    :ivar since: to be recorded as the day from which grace counts.
    """

    tenant: str
    standing: Standing
    why: str
    suspend: bool = False
    admit: bool = True
    since: datetime.date | None = None

    def as_dict(self) -> dict[str, t.Any]:
        """Return what reports show."""
        return {"standing": self.standing, "why": self.why, "suspend": self.suspend}


def day(text: t.Any, item: str) -> datetime.date:
    """Return a day written as ``2026-12-31`` (a time after it is ignored).

    :raises InvalidInput: rule ``date``.
    """
    if isinstance(text, datetime.datetime):
        return text.date()
    if isinstance(text, datetime.date):
        return text
    try:
        return datetime.date.fromisoformat(str(text)[:10])
    except ValueError:
        raise InvalidInput(
            f"{str(text)[:40]!r} is no day.", item=item, rule="date", fix="write it as 2026-12-31."
        ) from None


def from_keycloak(
    users: Iterable[Mapping[str, t.Any]], *, key: str, attribute: str
) -> tuple[dict[str, Member], list[str]]:
    """Return members by their *key*, and a warning for each entry that cannot be read.

    :param users: UserRepresentations of Keycloak's admin API.
    :param key: ``username``, ``email`` or ``id``.
    :param attribute: name of the user attribute with the day until which is paid; empty if there is none.
    """
    found: dict[str, Member] = {}
    warnings = []
    for user in users:
        name = str(user.get(key) or "").lower()
        if not name:
            continue
        until = None
        values = (user.get("attributes") or {}).get(attribute) if attribute else None
        if values:
            first = values[0] if isinstance(values, Sequence) and not isinstance(values, str) else values
            try:
                until = day(first, f"Keycloak user {name}, attribute {attribute}")
            except InvalidInput as error:
                # open: somebody's typing mistake in a date suspends nobody
                warnings.append(str(error))
        found[name] = Member(enabled=user.get("enabled") is not False, paid_until=until)
    return found, warnings


def judge(
    claims: Sequence[Claim], answer: Answer | None, rules: Rules, today: datetime.date
) -> tuple[dict[str, Verdict], list[str]]:
    """Return the verdict on each tenant by name, and warnings.

    :param answer: of the source; ``None`` if only declarations count.
    """
    warnings = []
    problem = ""
    if answer is not None:
        problem = answer.problem or ("" if answer.members else "it knows no member at all")
        if problem and any(one.member for one in claims):
            warnings.append(
                f"membership cannot be told: {problem}. Tenants that exist stay as they are; new ones are not made."
            )
    found = {one.tenant: _verdict(one, answer, problem, rules, today) for one in claims}
    already = {one.tenant for one in claims if one.suspended or one.stopped}
    fresh = sorted(name for name, one in found.items() if one.suspend and name not in already)
    if len(fresh) > rules.max_suspend:
        warnings.append(
            f"{len(fresh)} tenants would be suspended at once, more than {rules.max_suspend}: "
            f"{', '.join(fresh[:10])}. None of them is [membership-cap]. Fix: look at the source of memberships; raise "
            "membership.max_suspend for this run if it is right."
        )
        for name in fresh:
            found[name] = dataclasses.replace(
                found[name], suspend=False, why=f"{found[name].why}; not suspended: too many at once"
            )
    return found, warnings


def _verdict(claim: Claim, answer: Answer | None, problem: str, rules: Rules, today: datetime.date) -> Verdict:
    # A day in a declaration proves something only where declarations are what is gone by.
    named = claim.member or (claim.paid_until is not None and rules.source == "declaration")
    if rules.required and not named and claim.tenant not in rules.exempt:
        return _after(claim, rules, today, claim.since or today, "its declaration names no member, and each has to")
    if not claim.member and claim.paid_until is None:
        return Verdict(claim.tenant, "exempt", "its declaration has no membership")
    until, enabled = claim.paid_until, True
    if answer is not None and claim.member:
        if problem:
            return Verdict(
                claim.tenant,
                "unknown",
                f"membership cannot be told: {problem}",
                suspend=claim.suspended,
                admit=False,
                since=claim.since,
            )
        member = answer.members.get(claim.member.lower())
        if member is None:
            return _after(claim, rules, today, claim.since or today, f"{claim.member} is not among the members")
        until, enabled = member.paid_until or claim.paid_until, member.enabled
    if not enabled:
        return _after(claim, rules, today, claim.since or today, f"{claim.member} is disabled")
    if until is not None and until < today:
        return _after(claim, rules, today, until, f"paid until {until.isoformat()}", recorded=False)
    return Verdict(claim.tenant, "member", f"paid until {until.isoformat()}" if until else "is a member")


def _after(
    claim: Claim, rules: Rules, today: datetime.date, since: datetime.date, why: str, *, recorded: bool = True
) -> Verdict:
    """Return the verdict on a tenant whose membership ended on *since*."""
    grace = rules.grace_days if claim.grace_days is None else claim.grace_days
    last = since + datetime.timedelta(days=grace)
    kept = since if recorded else None
    if today <= last:
        return Verdict(claim.tenant, "grace", f"{why}; grace until {last.isoformat()}", admit=claim.exists, since=kept)
    return Verdict(claim.tenant, "lapsed", why, suspend=rules.suspend or claim.suspended, admit=False, since=kept)
