# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What lies in a secret engine: keys, roles, connections. Only fields that are declared are compared and sent."""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing as t

from .._core.errors import InvalidInput, Refused, check
from .._core.plan import Change, Plan
from .._core.prune import check_prune
from .config_apply import Send
from .fields import Table, differing, parse_fields, public, server_fields
from .mount_mark import Verdict

_NAME: t.Final = re.compile(r"\w(?:[\w.-]*\w)?", re.ASCII)


def is_name(text: str) -> bool:
    """Say if *text* may stand in a path as the name of something."""
    return _NAME.fullmatch(text) is not None and ".." not in text


@dataclasses.dataclass(frozen=True)
class Kind:
    """One sort of thing in an engine.

    :ivar title: for people (``transit key``).
    :ivar folder: path below the mount.
    """

    title: str
    folder: str
    table: Table

    def path(self, mount: str, name: str = "") -> str:
        return f"{mount}/{self.folder}/{name}" if name else f"{mount}/{self.folder}"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A wanted thing: the fields that are declared, in their canonical form.

    :ivar item: how the user wrote it, for errors.
    """

    name: str
    fields: t.Mapping[str, t.Any]
    item: str


@dataclasses.dataclass(frozen=True)
class Seen:
    """What was read of the server.

    :ivar lists: path -> names, of what was listed.
    :ivar answers: path -> answer; ``None`` if there is none.
    """

    lists: t.Mapping[str, t.Sequence[str]] = dataclasses.field(default_factory=dict)
    answers: t.Mapping[str, t.Mapping[str, t.Any] | None] = dataclasses.field(default_factory=dict)

    def names(self, path: str) -> frozenset[str]:
        return frozenset(self.lists.get(path, ()))


@dataclasses.dataclass
class Context:
    """Where entries are planned.

    :ivar mount: path of the engine.
    :ivar ours: the engine is ours, or becomes so by this plan.
    :ivar last: takes the deletions.
    :ivar now: the controller's clock, in UTC.
    """

    mount: str
    ours: bool
    seen: Seen
    result: Plan
    last: Plan
    verdict: Verdict
    now: datetime.datetime
    prune: bool = False
    prune_max_percent: int = 20
    allow_data_loss: bool = False

    def may(self, what: str) -> bool:
        """Say if something of this engine may be changed; remember it if not."""
        if self.ours:
            return True
        self.verdict.foreign.append(what)
        if not self.verdict.adopt:
            self.verdict.refused.append(what)
        return self.verdict.adopt


# -- declarations ----------------------------------------------------------------------------------------------------


def given(raw: t.Mapping[str, t.Any], table: Table, *, item: str) -> dict[str, t.Any]:
    """Return the fields that are declared, in their canonical form; ``None`` counts as not declared.

    :raises InvalidInput: for a field that the table does not have, or a value that does not fit.
    """
    declared = {k: v for k, v in raw.items() if v is not None}
    parsed = parse_fields(declared, table, item=item)
    return {name: parsed[name] for name in parsed if name in declared}


def parse_entries(raw: t.Any, kind: Kind, own: t.Collection[str] = (), *, item: str) -> list[Entry]:
    """Return the wanted entries of a list.

    :param own: options that are no fields of the server's object.
    :raises InvalidInput: naming the first thing that is wrong.
    """
    found: dict[str, Entry] = {}
    for number, one in enumerate(raw):
        where = f"{item}[{number}]"
        check(isinstance(one, t.Mapping), "is no mapping.", item=where, rule="type", fix="write name and fields.")
        name = str(one.get("name") or "")
        check(
            is_name(name),
            f"{name!r} is not a name for a {kind.title}.",
            item=where,
            rule="entry-name",
            fix="letters, digits, _, - and dots, beginning and ending with a letter or digit.",
        )
        where = f"{where} ({name})"
        check(name not in found, "is in the list twice.", item=where, rule="entry-twice", fix="remove one of the two.")
        fields = given({k: v for k, v in one.items() if k != "name" and k not in own}, kind.table, item=where)
        found[name] = Entry(name, fields, where)
    return list(found.values())


def statements(raw: t.Any) -> t.Any:
    """Return SQL statements as a list: one text is one statement, commas and all."""
    return [raw] if isinstance(raw, str) else raw


def needed(entry: Entry, *names: str) -> None:
    """Refuse an entry without one of the fields *names*.

    :raises InvalidInput: rule ``field-missing``.
    """
    for name in names:
        check(
            entry.fields.get(name),
            f"has no {name}.",
            item=entry.item,
            rule="field-missing",
            fix=f"give {', '.join(names)}.",
        )


def moment(raw: t.Any, *, item: str) -> datetime.datetime | None:
    """Return a moment with its zone.

    :raises InvalidInput: rule ``moment``.
    """
    if raw is None:
        return None
    try:
        found = datetime.datetime.fromisoformat(str(raw).strip())
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise InvalidInput(
            f"{str(raw)!r} is no moment with a zone.", item=item, rule="moment", fix='write "2027-01-31T12:00:00Z".'
        )
    return found.replace(microsecond=0)  # servers' moments are compared in whole seconds


def not_ahead(when: datetime.datetime | None, now: datetime.datetime, item: str) -> None:
    """Refuse a moment that is still to come: every run would rotate again.

    :raises InvalidInput: rule ``moment-ahead``.
    """
    check(
        when is None or when <= now + datetime.timedelta(minutes=5),
        f"{when} is still to come, and every run until then would rotate again.",
        item=f"{item}.rotated_after",
        rule="moment-ahead",
        fix="write the present moment.",
    )


def server_moment(raw: t.Any) -> datetime.datetime | None:
    """Return a moment out of an answer, whatever fractions of a second it has; ``None`` if it has none."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)", str(raw or ""))
    if match is None:
        return None
    return datetime.datetime.fromisoformat(match.group(1) + match.group(2).replace("Z", "+00:00"))


def wire(fields: t.Mapping[str, t.Any], table: Table) -> dict[str, t.Any]:
    """Return fields as a request wants them."""
    return {n: f"{v}s" if table[n].kind == "duration" else v for n, v in fields.items()}


# -- plans -----------------------------------------------------------------------------------------------------------


def changed_fields(
    answer: t.Mapping[str, t.Any], fields: t.Mapping[str, t.Any], table: Table, *, item: str
) -> tuple[dict[str, t.Any], list[str]]:
    """Return what the server has of the declared fields, and the names of those that differ."""
    part = {name: table[name] for name in fields}
    have = server_fields(answer, part)
    # of a mapping too only what is declared counts: the server adds its defaults
    want = {n: have[n] if part[n].kind == "map" and _within(v, have.get(n)) else v for n, v in fields.items()}
    return have, differing(have, want, part, item=item)


def _within(want: t.Mapping[str, t.Any], have: t.Any) -> bool:
    return isinstance(have, t.Mapping) and all(k in have and str(have[k]) == str(v) for k, v in want.items())


def plan_entry(
    context: Context,
    kind: Kind,
    entry: Entry,
    answer: t.Mapping[str, t.Any] | None,
    *,
    create: t.Callable[[], t.Sequence[Send]],
    update: t.Callable[[list[str]], t.Sequence[Send]],
    more: t.Sequence[str] = (),
) -> None:
    """Add what one entry needs.

    :param create: the requests that make it.
    :param update: the requests that bring the named fields to what is declared.
    :param more: further reasons to update it, that are no fields.
    """
    name = f"{context.mount}/{entry.name}"
    shown = public(kind.table)
    if answer is None:
        context.result.add(Change(kind.title, name, "create", None, dict(entry.fields), "", shown, tuple(create())))
        return
    have, changed = changed_fields(answer, entry.fields, kind.table, item=f"{kind.title} {name}")
    reasons = [f"{', '.join(changed)} differs"] * bool(changed) + list(more)
    if not reasons:
        context.result.unchanged += 1
        return
    if not context.may(f"{kind.title} {name}"):
        return
    after = {**have, **{n: entry.fields[n] for n in changed}}
    context.result.add(
        Change(kind.title, name, "update", have, after, "; ".join(reasons), shown, tuple(update(changed)))
    )


def plan_settings(context: Context, title: str, path: str, fields: t.Mapping[str, t.Any], table: Table) -> None:
    """Add what a configuration needs that the server always has, and that merges what it is sent."""
    answer = context.seen.answers.get(path)
    have, changed = changed_fields(answer or {}, fields, table, item=f"{title} {context.mount}") if answer else ({}, [])
    if answer is None:  # of an engine that is made by this plan
        changed = [n for n in fields if fields[n] != table[n].empty]
    if not changed:
        context.result.unchanged += 1
        return
    if not context.may(f"{title} {context.mount}"):
        return
    after = {**have, **{n: fields[n] for n in changed}}
    send = Send("POST", path, wire({n: fields[n] for n in changed}, table))
    context.result.add(
        Change(
            title,
            context.mount,
            "update",
            have or None,
            after,
            f"{', '.join(changed)} differs" if answer is not None else "",
            public(table),
            (send,),
        )
    )


def plan_prune(context: Context, kind: Kind, listed: t.Collection[str], kept: t.Collection[str] = ()) -> None:
    """Add deletions of what an engine of ours has beyond the list.

    :param kept: names that must stay whatever the list says.
    :raises Refused: rules ``data-loss``, ``prune-empty``, ``prune-cap``.
    """
    if not context.prune or not context.ours:
        return
    there = context.seen.names(kind.path(context.mount))
    doomed = sorted(there - set(listed) - set(kept))
    check_prune(
        item=f"{kind.title}s of the secret engine {context.mount}",
        doomed=doomed,
        desired=len(listed),
        owned=len(there),
        max_percent=context.prune_max_percent,
    )
    if doomed and not context.allow_data_loss:
        raise Refused(
            f"pruning would delete these {kind.title}s for good: {', '.join(doomed)}.",
            item=f"secret engine {context.mount}",
            rule="data-loss",
            fix="take a snapshot, then set allow_data_loss: true for this run; or put them back into the list.",
            data={"would_delete": doomed},
        )
    for name in doomed:
        context.last.add(
            Change(
                kind.title,
                f"{context.mount}/{name}",
                "delete",
                before={"name": name},
                why="in an engine of ours, and not in the list",
                public=frozenset({"name"}),
                payload=(Send("DELETE", kind.path(context.mount, name)),),
            )
        )
