# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""From declarations, memberships and what a cluster knows to what each tenant is to have now. Pure."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from .._core.errors import HackspaceError
from .._kube.normalise import Object
from .apply_plan import SHARED, Bundle
from .findings import repository
from .guards import hosts_key
from .membership import Answer, Claim, Rules, Verdict, day, judge
from .model import ACTIVE, ORDER, SUSPENDED, Tenant
from .objects import (
    ENDED,
    GRACE_DAYS,
    MEMBER,
    PAID_UNTIL,
    SUSPENDED_BY,
    Place,
    platform_objects,
    tenant_objects,
)
from .parts import OWNED
from .profile import TENANT_LABEL, TenantProfile, resolve

STATE: t.Final = "tenant-state"
LAPSED_SINCE: t.Final = "lapsed-since"
#: Annotation of namespaces while their tenant goes from one state to another; a run that was cut off leaves it.
MOVING: t.Final = "tenant-moving"
BY_MEMBERSHIP: t.Final = "membership"
BY_DECLARATION: t.Final = "declaration"


@dataclasses.dataclass(frozen=True)
class Known:
    """What a cluster knows of one tenant.

    :ivar namespaces: name -> live Namespace.
    :ivar claim: what its last declaration that was right said of its member.
    :ivar ended: since when it is no member, found while its declaration was wrong.
    """

    namespaces: Mapping[str, Object]
    state: str = ""
    suspended_by: str = ""
    lapsed_since: datetime.date | None = None
    moving: bool = False
    claim: Claim = dataclasses.field(default_factory=lambda: Claim(""))
    ended: datetime.date | None = None


def known_tenants(
    namespaces: Iterable[Object], profile: TenantProfile, declared: Iterable[Tenant] = ()
) -> dict[str, Known]:
    """Return what the live Namespaces of ours say, by tenant. The most reduced of a tenant's states counts.

    The label of the tenant alone makes no Namespace ours: Flux's own program sets the same one.

    :param declared: tenants with their namespaces; others that they once had do not say their states.
    """
    wanted = {one.name: {space.name for space in one.namespaces} for one in declared}
    grouped: dict[str, dict[str, Object]] = {}
    for one in namespaces:
        metadata = one.get("metadata") or {}
        tags = metadata.get("labels") or {}
        tenant = tags.get(TENANT_LABEL)
        if tenant and all(tags.get(key) == value for key, value in OWNED):
            grouped.setdefault(str(tenant), {})[str(metadata["name"])] = one
    found = {}
    for tenant, members in grouped.items():
        states, by, since, moving = [], "", None, False
        claim, ended = Claim(tenant), None
        telling = wanted.get(tenant, set()) & set(members) or set(members)
        for name, one in members.items():
            labels, notes = one["metadata"].get("labels") or {}, one["metadata"].get("annotations") or {}
            moving = moving or bool(notes.get(profile.key(MOVING)))
            if name not in telling:
                continue
            states.append(str(labels.get(profile.key(STATE)) or ACTIVE))
            by = str(notes.get(profile.key(SUSPENDED_BY)) or by)
            # if somebody changed it by hand, the count begins anew
            since = _day(notes, profile.key(LAPSED_SINCE), since)
            ended = _day(notes, profile.key(ENDED), ended)
            claim = Claim(
                tenant,
                member=str(notes.get(profile.key(MEMBER)) or claim.member),
                paid_until=_day(notes, profile.key(PAID_UNTIL), claim.paid_until),
                grace_days=_number(notes.get(profile.key(GRACE_DAYS)), claim.grace_days),
            )
        known = [one for one in states if one in ORDER]
        found[tenant] = Known(
            members, max(known, key=ORDER.index) if known else ACTIVE, by, since, moving, claim, ended
        )
    return found


def _day(notes: Mapping[str, t.Any], key: str, otherwise: datetime.date | None) -> datetime.date | None:
    """Return the day of an annotation; none if it is no day, *otherwise* if it is not there."""
    text = notes.get(key)
    if not text:
        return otherwise
    try:
        return day(text, key)
    except HackspaceError:
        return None


def _number(text: t.Any, otherwise: int | None) -> int | None:
    return int(text) if str(text or "").isdigit() else otherwise


def to_cut(verdict: Verdict, there: Known) -> bool:
    """Say whether something is to be done about a tenant whose declaration is wrong: suspend it, or note since when."""
    if there.state != ACTIVE:
        return verdict.suspend and there.moving
    if verdict.standing == "member":
        return there.ended is not None
    return verdict.suspend or (verdict.since is not None and verdict.since not in (there.lapsed_since, there.ended))


def parted(text: str) -> frozenset[str]:
    """Return the hosts of an annotation as they stand there: with a dot, all that is below."""
    return frozenset(one.partition("=")[0] for one in text.split())


def entries(namespace: Object, profile: TenantProfile) -> frozenset[str]:
    """Return the hosts of a live Namespace as they stand there."""
    return parted(str((namespace["metadata"].get("annotations") or {}).get(hosts_key(profile)) or ""))


def hosts(known: Known, profile: TenantProfile) -> frozenset[str]:
    """Return the hosts of a tenant's live Namespaces."""
    return frozenset(one.removeprefix(".") for space in known.namespaces.values() for one in entries(space, profile))


def holdings(known: Known, profile: TenantProfile) -> frozenset[str]:
    """Return what a tenant has that no other can have as well: its hosts, and the repositories it follows."""
    notes = [one["metadata"].get("annotations") or {} for one in known.namespaces.values()]
    urls = {repository(str(one.get(profile.key("repo")) or "")) for one in notes}
    return hosts(known, profile) | frozenset(urls - {""})


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One tenant as it is to be.

    :ivar state: the declared state, or a more reduced one.
    :ivar by: who reduced it: ``declaration``, ``membership`` or nobody.
    :ivar held: why it is not made at all.
    :ivar waits: why it is not brought to the state that it should have; ``state`` is the one it has.
    """

    tenant: Tenant
    state: str
    by: str
    verdict: Verdict
    held: str = ""
    waits: str = ""

    @property
    def namespaces(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.tenant.namespaces)


def remembered(names: Iterable[str], known: Mapping[str, Known], most: int) -> list[Claim]:
    """Return what is to be judged of tenants whose declarations are wrong: what the cluster knows of them.

    :param most: days of grace that a declaration may name.
    """
    return [
        dataclasses.replace(
            there.claim,
            grace_days=None if there.claim.grace_days is None else min(there.claim.grace_days, most),
            exists=True,
            suspended=there.suspended_by == BY_MEMBERSHIP,
            stopped=there.state != ACTIVE,
            since=there.lapsed_since or there.ended,
        )
        for there in (known[name] for name in sorted(names) if name in known)
    ]


def claims(tenants: Sequence[Tenant], known: Mapping[str, Known], most: int) -> list[Claim]:
    """Return what is to be judged of each tenant. :param most: days of grace that a declaration may name."""
    made = []
    for one in tenants:
        there = known.get(one.name)
        member = one.membership
        made.append(
            Claim(
                tenant=one.name,
                member=member.id,
                paid_until=day(member.paid_until, f"{one.file}: membership.paid_until") if member.paid_until else None,
                grace_days=min(member.grace_days, most) if member.grace_days >= 0 else None,
                exists=there is not None,
                suspended=there is not None and there.suspended_by == BY_MEMBERSHIP,
                stopped=there is None or one.state != ACTIVE or there.state != ACTIVE,
                since=(there.lapsed_since or there.ended) if there else None,
            )
        )
    return made


def wanted(
    tenants: Sequence[Tenant],
    profile: TenantProfile,
    known: Mapping[str, Known],
    *,
    answer: Answer | None,
    rules: Rules,
    today: datetime.date,
    asked: bool = True,
    broken: Iterable[str] = (),
) -> tuple[list[Wanted], list[str], dict[str, Verdict]]:
    """Return what each tenant is to be, warnings, and the verdicts on those whose declarations are wrong.

    :param broken: their names; they count towards the cap like all others.
    :param asked: the source of memberships was asked; otherwise who is suspended by it stays so.
    """
    most = profile.max_grace_days
    besides = remembered(broken, known, most) if asked else []
    verdicts, warnings = judge([*claims(tenants, known, most), *besides], answer, rules, today)
    made = []
    for one in tenants:
        verdict, there = verdicts[one.name], known.get(one.name)
        # Only a day in the declaration can be judged without the source.
        told = bool(one.membership.id) or not one.membership.paid_until
        if not asked and there is not None and there.suspended_by == BY_MEMBERSHIP and told:
            verdict = Verdict(one.name, "unknown", "members are not asked here", suspend=True, since=there.lapsed_since)
        state, by = one.state, "" if one.state == ACTIVE else BY_DECLARATION
        if verdict.suspend and state == ACTIVE:
            state, by = SUSPENDED, BY_MEMBERSHIP
        held = "" if verdict.admit or one.name in known else f"not onboarded: {verdict.why}"
        made.append(Wanted(resolve(one, profile), state, by, verdict, held))
    return made, warnings, {one.tenant: verdicts[one.tenant] for one in besides}


def bundles(found: Iterable[Wanted], profile: TenantProfile, place: Place) -> list[Bundle]:
    """Return the objects of all tenants of one cluster, and first what they share."""
    made = [Bundle(SHARED, (), tuple(platform_objects(profile)))]
    for one in found:
        if one.held:
            continue
        objects = tenant_objects(one.tenant, profile, place, state=one.state)
        if objects:
            notes = _notes(one, profile)
            made.append(Bundle(one.tenant.name, one.namespaces, tuple(_noted(body, notes) for body in objects)))
    return made


def _notes(one: Wanted, profile: TenantProfile) -> dict[str, str]:
    notes = {}
    if one.by:
        notes[profile.key(SUSPENDED_BY)] = one.by
    if one.verdict.since is not None:
        notes[profile.key(LAPSED_SINCE)] = one.verdict.since.isoformat()
    return notes


def _noted(body: Object, notes: Mapping[str, str]) -> Object:
    if not notes or body["kind"] != "Namespace":
        return body
    metadata = body["metadata"]
    return {**body, "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **notes}}}
