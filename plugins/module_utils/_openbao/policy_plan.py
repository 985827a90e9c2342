# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""OpenBao policies: the wanted list, and what differs."""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing as t

from .._core.errors import InvalidInput, Refused, check
from .._core.plan import Change, Plan
from .._core.prune import check_prune
from .config_apply import Send
from .hcl import OWNER, check_text, marked, normalised, render, split_owner

KIND: t.Final = "OpenBao policy"
#: Made and kept by the server.
BUILT_IN: t.Final = frozenset({"root", "default"})
_NAME = re.compile(r"^[a-z0-9_](?:[a-z0-9_./@+-]*[a-z0-9_@+-])?$")
_PUBLIC: t.Final = frozenset({"policy", "expiration", "cas_required"})


@dataclasses.dataclass(frozen=True)
class Policy:
    """A wanted OpenBao policy.

    :ivar text: normalised, without the mark.
    :ivar expiration: moment after which it no longer counts, in UTC; ``None`` for never.
    """

    name: str
    text: str
    expiration: str | None = None
    cas_required: bool = False

    @property
    def path(self) -> str:
        return f"sys/policies/acl/{self.name}"


@dataclasses.dataclass(frozen=True)
class Present:
    """What a server has: the names of all, and the answers for those that were read."""

    names: frozenset[str] = frozenset()
    answers: t.Mapping[str, t.Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)
    #: OpenBao policies of the login in use; never pruned.
    protected: frozenset[str] = frozenset()


def moment(value: t.Any, *, item: str = "expiration") -> str | None:
    """Return a moment in time in one notation (UTC, whole seconds); ``None`` for nothing and for Go's zero time."""
    text = str(value or "").strip()
    if not text or text.startswith("0001-01-01"):
        return None
    try:
        # Python 3.11 reads at most six digits of a second
        parsed = datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise InvalidInput(
            f"{text!r} is not a moment in time with a time zone.",
            item=item,
            rule="expiration",
            fix="write 2027-01-31T12:00:00Z.",
        )
    return parsed.astimezone(datetime.UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def parse(raw: t.Sequence[t.Mapping[str, t.Any]], *, item: str = "policies") -> list[Policy]:
    """Return the wanted OpenBao policies.

    :raises InvalidInput: naming the first thing that is wrong.
    """
    found: dict[str, Policy] = {}
    for number, entry in enumerate(raw):
        name = str(entry.get("name") or "")
        where = f"{item}[{number}] ({name})" if name else f"{item}[{number}]"
        check(
            name == name.lower(),
            "has capital letters; the server writes names in small letters.",
            item=where,
            rule="policy-name-case",
            fix=f"name it {name.lower()}.",
        )
        check(
            _NAME.match(name) and ".." not in name,
            f"{name!r} cannot be the name of an OpenBao policy.",
            item=where,
            rule="policy-name",
            fix="small letters, digits, dash, underscore, dot, slash.",
        )
        check(
            name != "root",
            "root belongs to the server and cannot be written.",
            item=where,
            rule="policy-built-in",
            fix="take another name.",
        )
        check(name not in found, "is in the list twice.", item=where, rule="unique-name", fix="remove one of the two.")
        hcl, rules = entry.get("hcl"), entry.get("rules")
        check(
            (hcl is None) != (rules is None),
            "wants exactly one of hcl and rules.",
            item=where,
            rule="hcl-or-rules",
            fix="give the text as hcl, or the rules as a list.",
        )
        if rules is not None:
            check(rules, "has no rules.", item=where, rule="hcl-empty", fix="write at least one rule.")
            text = render(rules, item=where)
        else:
            text = str(hcl)
            check_text(text, item=where)
        owner, text = split_owner(text)
        check(
            owner in (None, "", OWNER),
            f"has the mark of {owner}, which keeps it.",
            item=where,
            rule="other-owner",
            fix="leave it to its owner, or remove the comment line.",
        )
        found[name] = Policy(
            name,
            text,
            moment(entry.get("expiration"), item=f"{where}.expiration"),
            bool(entry.get("cas_required")),
        )
    return list(found.values())


def missing_references(names: t.Iterable[str], wanted: t.Sequence[Policy], present: Present) -> list[str]:
    """Return those of *names* that are neither wanted nor on the server."""
    known = {p.name for p in wanted} | present.names | BUILT_IN
    return sorted({n.lower() for n in names if n} - known)


def plan(
    present: Present,
    wanted: t.Sequence[Policy],
    *,
    adopt: bool = False,
    prune: bool = False,
    prune_max_percent: int = 20,
) -> Plan:
    """Return the steps: wanted ones in the order given, then what is pruned.

    :raises Refused: for OpenBao policies that are not ours and would change; nothing has been planned for writing then.
    """
    result = Plan()
    refused: list[str] = []
    for policy in wanted:
        change = _one(policy, present, adopt, result, refused)
        if change is None:
            result.unchanged += 1
        else:
            result.add(change)
    if refused:
        raise Refused(
            f"these exist, differ from what is wanted, and are not marked as ours: {', '.join(sorted(refused))}.",
            item="policies",
            rule="foreign",
            fix="look at the difference (--check --diff, adopt: true), then set adopt: true; or take other names.",
            data={"foreign": sorted(refused)},
        )
    if prune:
        _prune(result, present, wanted, prune_max_percent)
    return result


def _one(policy: Policy, present: Present, adopt: bool, result: Plan, refused: list[str]) -> Change | None:
    answer = present.answers.get(policy.name)
    after: dict[str, t.Any] = {"policy": marked(policy.text)}
    if policy.expiration:
        after["expiration"] = policy.expiration
    if policy.cas_required:
        after["cas_required"] = True
    if answer is None:
        return _change(policy, "create", before=None, after=after)
    text = normalised(str(answer.get("policy") or ""))
    owner, bare = split_owner(text)
    if owner not in (None, "", OWNER):
        raise Refused(
            f"belongs to {owner}, by the mark in its text.",
            item=f"OpenBao policy {policy.name}",
            rule="other-owner",
            fix="take another name; its owner would write it again.",
            data={"foreign": [policy.name]},
        )
    expiration = _server_moment(answer.get("expiration"))
    before: dict[str, t.Any] = {"policy": text}
    if expiration:
        before["expiration"] = expiration
    if answer.get("cas_required"):
        before["cas_required"] = True
    reasons = [
        name
        for name, differs in (
            ("text", bare != policy.text),
            ("expiration", expiration != policy.expiration),
            ("cas_required", bool(answer.get("cas_required")) != policy.cas_required),
        )
        if differs
    ]
    version = answer.get("version") if answer.get("cas_required") else None
    ours = owner is not None
    if not ours:
        result.foreign.append(policy.name)
        if not adopt:
            if reasons:
                refused.append(policy.name)
            return None
        why = f"{', '.join(reasons) or 'the mark'} differs"
        return _change(policy, "adopt", before=before, after=after, why=why, version=version)
    if not reasons:
        return None
    for name in ("expiration", "cas_required"):
        # Vault and older servers drop these silently; every run would write them again
        if name in reasons and name not in answer and name in after:
            raise InvalidInput(
                "this server does not know the field.",
                item=f"OpenBao policy {policy.name}.{name}",
                rule="field-unknown-to-server",
                fix="leave it out, or upgrade the server.",
            )
    why = f"{', '.join(reasons)} differs"
    return _change(policy, "update", before=before, after=after, why=why, version=version)


def _server_moment(value: t.Any) -> str | None:
    try:
        return moment(value)
    except InvalidInput:
        return str(value)


def _change(
    policy: Policy,
    action: t.Literal["create", "update", "adopt"],
    *,
    before: dict[str, t.Any] | None,
    after: dict[str, t.Any],
    why: str = "",
    version: t.Any = None,
) -> Change:
    body = dict(after)
    if version is not None:
        body["cas"] = version
    return Change(KIND, policy.name, action, before, after, why, _PUBLIC, (Send("POST", policy.path, body),))


def _prune(result: Plan, present: Present, wanted: t.Sequence[Policy], percent: int) -> None:
    listed = {p.name for p in wanted}
    owned = {
        name
        for name, answer in present.answers.items()
        if name not in BUILT_IN and split_owner(str(answer.get("policy") or ""))[0] == OWNER
    }
    doomed = sorted(owned - listed - present.protected)
    kept = sorted((owned - listed) & present.protected)
    if kept:
        result.warnings.append(f"not pruned, because the login in use has them: OpenBao policies {', '.join(kept)}.")
    check_prune(item="policies", doomed=doomed, desired=len(wanted), owned=len(owned), max_percent=percent)
    for name in doomed:
        result.add(
            Change(
                KIND,
                name,
                "delete",
                before={"policy": normalised(str(present.answers[name].get("policy")))},
                why="ours, and not in the list",
                public=_PUBLIC,
                payload=(Send("DELETE", f"sys/policies/acl/{name}"),),
            )
        )
