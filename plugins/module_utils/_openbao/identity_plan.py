# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Identity groups: who of the identity provider gets which OpenBao policies.

A group is found by its name, or by its alias (a group of the identity provider belongs to one group only), so that
renaming one in the list renames it on the server and keeps its members.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .._core.errors import InvalidInput, check
from .._core.plan import Change, Plan
from .._core.prune import check_prune
from .config_apply import Ref, Send
from .fields import Field, Table, differing, parse_fields, server_fields
from .mount_mark import Verdict

KIND: t.Final = "identity group"
MARK: t.Final[t.Mapping[str, str]] = {"managed_by": "hackspace.infra"}
_NAME = re.compile(r"^[^\s/][^/\n]{0,126}$")

TABLE: t.Final[Table] = {
    "type": Field(default="internal", choices=("internal", "external"), fixed=True),
    "policies": Field("set"),
    "metadata": Field("map"),
    "member_groups": Field("set"),
    "member_entities": Field("set"),
}
_PUBLIC: t.Final = frozenset({*TABLE, "name", "alias"})


@dataclasses.dataclass(frozen=True)
class Group:
    """A wanted group.

    :ivar fields: fields of :data:`TABLE`; metadata without our mark.
    :ivar alias: (auth mount, name at the identity provider) of an external group.
    """

    name: str
    fields: t.Mapping[str, t.Any]
    alias: tuple[str, str] | None = None

    @property
    def external(self) -> bool:
        return bool(self.fields["type"] == "external")


@dataclasses.dataclass(frozen=True)
class Listed:
    """What listing tells about a group that exists; ``alias`` is (id, accessor of the mount, name)."""

    id: str
    name: str
    alias: tuple[str, str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Present:
    """What a server has.

    :ivar listed: all groups.
    :ivar answers: answers by id for those that were read.
    :ivar accessors: path of auth mount -> accessor.
    :ivar entities: id -> name, where members that are entities are wanted.
    """

    listed: tuple[Listed, ...] = ()
    answers: t.Mapping[str, t.Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)
    accessors: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    entities: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def ids(self) -> dict[str, str]:
        return {g.name: g.id for g in self.listed}


def listed_of(data: t.Mapping[str, t.Any]) -> tuple[Listed, ...]:
    """Return the groups in the answer of ``LIST identity/group/id``."""
    found = []
    for key, info in (data.get("key_info") or {}).items():
        alias = info.get("alias") or {}
        found.append(
            Listed(
                str(key),
                str(info.get("name") or ""),
                (str(alias["id"]), str(alias.get("mount_accessor") or ""), str(alias.get("name") or ""))
                if alias.get("id")
                else None,
            )
        )
    return tuple(found)


def parse(raw: t.Sequence[t.Mapping[str, t.Any]], *, item: str = "groups") -> list[Group]:
    """Return the wanted groups, members before the groups they belong to.

    :raises InvalidInput: naming the first thing that is wrong.
    """
    found: dict[str, Group] = {}
    aliases: dict[tuple[str, str], str] = {}
    for number, entry in enumerate(raw):
        name = str(entry.get("name") or "")
        where = f"{item}[{number}]" + (f" ({name})" if name else "")
        check(
            _NAME.match(name),
            f"{name!r} cannot be the name of a group.",
            item=where,
            rule="group-name",
            fix="no slashes, no spaces at the start.",
        )
        check(
            name.lower() not in {n.lower() for n in found},
            "is in the list twice; the server does not tell capital letters apart.",
            item=where,
            rule="unique-name",
            fix="remove one of the two.",
        )
        group = _group(entry, name, where)
        if group.alias:
            check(
                group.alias not in aliases,
                f"has the alias of {aliases.get(group.alias)}.",
                item=f"{where}.alias",
                rule="unique-alias",
                fix="a group of the identity provider leads to one group; give that one more OpenBao policies.",
            )
            aliases[group.alias] = name
        found[name] = group
    return _ordered(found, item)


def _group(raw: t.Mapping[str, t.Any], name: str, where: str) -> Group:
    alias_raw = raw.get("alias")
    given = {k: v for k, v in raw.items() if k not in ("name", "alias") and v is not None}
    if alias_raw and "type" not in given:
        given["type"] = "external"
    fields = parse_fields(given, TABLE, item=where)
    fields["policies"] = sorted({p.lower() for p in fields["policies"]})
    fields["metadata"] = {k: str(v) for k, v in fields["metadata"].items()}
    check(
        "root" not in fields["policies"],
        "has the OpenBao policy root, which no login may have.",
        item=f"{where}.policies",
        rule="token-policy-root",
        fix="give an OpenBao policy that says what is needed.",
    )
    check(
        "managed_by" not in fields["metadata"],
        "has the key managed_by, which the module writes by itself.",
        item=f"{where}.metadata",
        rule="metadata-mark",
        fix="leave it out.",
    )
    alias: tuple[str, str] | None = None
    if fields["type"] == "external":
        check(
            not fields["member_entities"] and not fields["member_groups"],
            "is external and has members; they come from the identity provider at login.",
            item=where,
            rule="external-members",
            fix="make an internal group that has this one as a member.",
        )
        check(
            alias_raw,
            "is external and has no alias.",
            item=where,
            rule="external-alias",
            fix="give alias: {name: ..., mount: oidc}.",
        )
        alias_raw = alias_raw or {}
        mount, alias_name = str(alias_raw.get("mount") or "").strip("/"), str(alias_raw.get("name") or "")
        check(
            mount and alias_name,
            "wants a name and a mount.",
            item=f"{where}.alias",
            rule="external-alias",
            fix="give alias: {name: ..., mount: oidc}.",
        )
        alias = (mount, alias_name)
    else:
        check(
            not alias_raw,
            "is internal and has an alias.",
            item=where,
            rule="internal-alias",
            fix="give type: external.",
        )
    return Group(name, fields, alias)


def _ordered(found: t.Mapping[str, Group], item: str) -> list[Group]:
    done: dict[str, Group] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in done or name not in found:
            return
        if name in trail:
            raise InvalidInput(
                f"{' -> '.join((*trail[trail.index(name) :], name))}: groups are members of each other.",
                item=item,
                rule="group-cycle",
                fix="remove one of these memberships.",
            )
        for member in found[name].fields["member_groups"]:
            visit(member, (*trail, name))
        done[name] = found[name]

    for name in found:
        visit(name, ())
    return list(done.values())


def match(group: Group, present: Present) -> Listed | None:
    """Return the group on the server that is *group*: by its name, else by its alias."""
    for listed in present.listed:
        if listed.name.lower() == group.name.lower():
            return listed
    if group.alias and group.alias[0] in present.accessors:
        accessor = present.accessors[group.alias[0]]
        for listed in present.listed:
            if listed.alias and listed.alias[1:] == (accessor, group.alias[1]):
                return listed
    return None


def missing_mounts(wanted: t.Sequence[Group], present: Present) -> list[str]:
    """Return the auth mounts that aliases name and the server does not have."""
    return sorted({g.alias[0] for g in wanted if g.alias} - set(present.accessors))


def plan(
    present: Present,
    wanted: t.Sequence[Group],
    *,
    adopt: bool = False,
    prune: bool = False,
    prune_max_percent: int = 20,
) -> Plan:
    """Return the steps: groups with members before those they belong to, each followed by its alias.

    :raises InvalidInput: for members that neither exist nor are wanted.
    :raises Refused: for groups that are not ours and would change.
    """
    result = Plan()
    verdict = Verdict(adopt)
    kept: set[str] = set()
    names = {g.name for g in wanted}
    for group in wanted:
        for member in group.fields["member_groups"]:
            check(
                member in names or member in present.ids,
                f"its member {member} neither exists nor is in the list.",
                item=f"{KIND} {group.name}",
                rule="group-member",
                fix="put it into the list.",
            )
        listed = match(group, present)
        if listed is not None:
            check(
                listed.id not in kept,
                "is the same group on the server as another one in the list.",
                item=f"{KIND} {group.name}",
                rule="group-twice",
                fix="remove one of the two, or rename in two steps.",
            )
            kept.add(listed.id)
        answer = present.answers.get(listed.id) if listed else None
        if listed is None or answer is None:
            _create(result, group, present)
        else:
            _existing(result, group, listed, answer=answer, present=present, verdict=verdict)
    verdict.finish(result, "groups")
    if prune:
        _prune(result, present, wanted, kept, prune_max_percent)
    return result


def _entity_ids(group: Group, present: Present) -> list[str]:
    by_name = {name: key for key, name in present.entities.items()}
    for name in group.fields["member_entities"]:
        check(
            name in by_name,
            f"there is no entity {name}; it is made at the person's first login.",
            item=f"{KIND} {group.name}",
            rule="entity-unknown",
            fix="let the person log in once, or use an external group.",
        )
    return [by_name[name] for name in group.fields["member_entities"]]


def _request(group: Group, present: Present) -> dict[str, t.Any]:
    request: dict[str, t.Any] = {
        "name": group.name,
        "policies": group.fields["policies"],
        "metadata": {**group.fields["metadata"], **MARK},
    }
    if not group.external:
        request["member_group_ids"] = [Ref(n) for n in group.fields["member_groups"]]
        request["member_entity_ids"] = _entity_ids(group, present)
    return request


def _after(group: Group) -> dict[str, t.Any]:
    after = {"name": group.name, **group.fields, "metadata": {**group.fields["metadata"], **MARK}}
    if group.alias:
        after["alias"] = f"{group.alias[0]}: {group.alias[1]}"
    return after


def _alias_send(group: Group, present: Present, alias_id: str | None) -> Send:
    if group.alias is None:
        raise AssertionError("called for groups with an alias only")
    # an unknown mount has been refused before, except in check mode, where nothing is sent
    request = {
        "name": group.alias[1],
        "mount_accessor": present.accessors.get(group.alias[0], ""),
        "canonical_id": Ref(group.name),
    }
    return Send("POST", f"identity/group-alias/id/{alias_id}" if alias_id else "identity/group-alias", request)


def _create(result: Plan, group: Group, present: Present) -> None:
    sends = [
        Send("POST", "identity/group", {**_request(group, present), "type": group.fields["type"]}, learn=group.name)
    ]
    if group.alias:
        sends.append(_alias_send(group, present, None))
    result.add(Change(KIND, group.name, "create", None, _after(group), "", _PUBLIC, tuple(sends)))


def _existing(
    result: Plan,
    group: Group,
    listed: Listed,
    *,
    answer: t.Mapping[str, t.Any],
    present: Present,
    verdict: Verdict,
) -> None:
    item = f"{KIND} {listed.name}"
    group_names = {g.id: g.name for g in present.listed}
    have = server_fields(
        {
            **{k: answer.get(k) for k in ("type", "policies", "metadata")},
            "member_groups": [group_names.get(str(i), str(i)) for i in answer.get("member_group_ids") or []],
            "member_entities": []
            if group.external
            else [present.entities.get(str(i), str(i)) for i in answer.get("member_entity_ids") or []],
        },
        TABLE,
    )
    metadata = dict(have["metadata"])
    ours = all(metadata.pop(k, None) == v for k, v in MARK.items())
    changed = differing({**have, "metadata": metadata}, group.fields, TABLE, item=item)
    before: dict[str, t.Any] = {"name": listed.name, **have}
    if listed.name != group.name:
        changed.append("name")
    alias = answer.get("alias") or {}
    accessors = {a: p for p, a in present.accessors.items()}
    alias_wrong = False
    if alias.get("id"):
        mount = accessors.get(str(alias.get("mount_accessor")), str(alias.get("mount_accessor")))
        before["alias"] = f"{mount}: {alias.get('name')}"
    if group.alias:
        alias_wrong = before.get("alias") != f"{group.alias[0]}: {group.alias[1]}"
        if alias_wrong:
            changed.append("alias")
    if not ours:
        verdict.foreign.append(item)
        if not verdict.adopt:
            if changed:
                verdict.refused.append(item)
            else:
                result.unchanged += 1
            return
    if not changed and ours:
        result.unchanged += 1
        return
    sends: list[Send] = []
    if not ours or set(changed) - {"alias"}:
        sends.append(Send("POST", f"identity/group/id/{listed.id}", _request(group, present)))
    if alias_wrong:
        sends.append(_alias_send(group, present, str(alias["id"]) if alias.get("id") else None))
    result.add(
        Change(
            KIND,
            group.name,
            "update" if ours else "adopt",
            before,
            _after(group),
            f"{', '.join(changed) or 'the mark'} differs",
            _PUBLIC,
            tuple(sends),
        )
    )


def known_ids(present: Present, wanted: t.Sequence[Group]) -> dict[str, str]:
    """Return the ids of groups that exist, under the names they have and are to have."""
    ids = present.ids
    for group in wanted:
        listed = match(group, present)
        if listed is not None:
            ids[group.name] = listed.id
    return ids


def _prune(result: Plan, present: Present, wanted: t.Sequence[Group], kept: t.Collection[str], percent: int) -> None:
    owned = {
        key: answer
        for key, answer in present.answers.items()
        if all((answer.get("metadata") or {}).get(k) == v for k, v in MARK.items())
    }
    doomed = {str(a.get("name")): key for key, a in owned.items() if key not in kept}
    check_prune(item="groups", doomed=sorted(doomed), desired=len(wanted), owned=len(owned), max_percent=percent)
    for name in sorted(doomed):
        answer = owned[doomed[name]]
        result.add(
            Change(
                KIND,
                name,
                "delete",
                before={"name": name, "type": answer.get("type"), "policies": answer.get("policies") or []},
                why="ours, and not in the list",
                public=_PUBLIC,
                payload=(Send("DELETE", f"identity/group/id/{doomed[name]}"),),
            )
        )
