# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Keys of transit engines. They are made so that they never leave, and are never deleted without leave."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from .._core.errors import check
from .config_apply import Send
from .engine_entries import (
    Context,
    Entry,
    Kind,
    moment,
    not_ahead,
    parse_entries,
    plan_entry,
    plan_prune,
    server_moment,
    wire,
)
from .fields import Field, Table

TYPES: t.Final = (
    "aes128-gcm96",
    "aes256-gcm96",
    "chacha20-poly1305",
    "xchacha20-poly1305",
    "ed25519",
    "ecdsa-p256",
    "ecdsa-p384",
    "ecdsa-p521",
    "rsa-2048",
    "rsa-3072",
    "rsa-4096",
    "hmac",
)
#: Fields that can be given when a key is made.
_AT_FIRST: t.Final = ("type", "derived", "convergent_encryption", "auto_rotate_period")
TABLE: t.Final[Table] = {
    "type": Field("str", default="aes256-gcm96", choices=TYPES, fixed=True),
    "derived": Field("bool", fixed=True),
    "convergent_encryption": Field("bool", fixed=True),
    "auto_rotate_period": Field("duration"),
    "min_decryption_version": Field("int", default=1),
    "min_encryption_version": Field("int"),
    "deletion_allowed": Field("bool"),
}
KEY: t.Final = Kind("transit key", "keys", TABLE)
_SHORTEST: t.Final = 3600


@dataclasses.dataclass(frozen=True)
class Transit:
    """The wanted keys of an engine.

    :ivar rotated_after: key -> moment after which its newest version must have been made.
    """

    keys: tuple[Entry, ...]
    rotated_after: t.Mapping[str, datetime.datetime]

    def lists(self, mount: str) -> list[str]:
        return [KEY.path(mount)]

    def details(self, mount: str, lists: t.Mapping[str, t.Sequence[str]], *, prune: bool) -> list[str]:
        there = lists.get(KEY.path(mount), ())
        wanted = {k.name for k in self.keys}
        return [KEY.path(mount, name) for name in there if prune or name in wanted]


def parse(raw: t.Any, *, item: str) -> Transit:
    """Return the wanted keys.

    :raises InvalidInput: naming the first thing that is wrong.
    """
    for number, one in enumerate(raw):
        check(
            not isinstance(one, t.Mapping) or not (one.get("exportable") or one.get("allow_plaintext_backup")),
            "keys that can be taken out of OpenBao are not made.",
            item=f"{item}[{number}]",
            rule="key-exportable",
            fix="leave exportable and allow_plaintext_backup out.",
        )
    own = ("rotated_after", "exportable", "allow_plaintext_backup")
    keys = parse_entries(raw, KEY, own, item=item)
    after: dict[str, datetime.datetime] = {}
    for key, one in zip(keys, raw, strict=True):
        when = moment(one.get("rotated_after"), item=f"{key.item}.rotated_after")
        if when:
            after[key.name] = when
        _check(key)
    return Transit(tuple(keys), after)


def _check(key: Entry) -> None:
    fields = key.fields
    period = fields.get("auto_rotate_period", 0)
    check(
        period == 0 or period >= _SHORTEST,
        f"is {period} s; OpenBao takes an hour or more, or 0 for never.",
        item=f"{key.item}.auto_rotate_period",
        rule="auto-rotate-period",
        fix="write 720h, or 0.",
    )
    check(
        fields.get("min_decryption_version", 1) >= 1,
        "is below 1.",
        item=f"{key.item}.min_decryption_version",
        rule="key-version",
        fix="versions count from 1.",
    )
    lowest = fields.get("min_encryption_version", 0)
    check(
        lowest == 0 or lowest >= fields.get("min_decryption_version", 1),
        "is below min_decryption_version: what is encrypted could not be decrypted.",
        item=f"{key.item}.min_encryption_version",
        rule="key-version",
        fix="0 always takes the newest version.",
    )
    check(
        not fields.get("convergent_encryption") or fields.get("derived"),
        "needs derived.",
        item=f"{key.item}.convergent_encryption",
        rule="convergent-needs-derived",
        fix="set derived: true, or leave it out.",
    )


def plan(context: Context, wanted: Transit) -> None:
    """Add what the keys of one engine need.

    :raises InvalidInput: rules ``fixed-field``, ``key-version``, ``moment-ahead``.
    """
    for key in wanted.keys:
        path = KEY.path(context.mount, key.name)
        answer = context.seen.answers.get(path)
        after = wanted.rotated_after.get(key.name)
        not_ahead(after, context.now, key.item)
        _check_versions(key, answer)
        more: list[str] = []
        rotate: tuple[Send, ...] = ()
        if answer is not None:
            made = _newest(answer)
            if after and made and made < after:
                more, rotate = (
                    [f"its newest version is of {made:%Y-%m-%dT%H:%M:%SZ}"],
                    (Send("POST", f"{path}/rotate"),),
                )
            for name in ("exportable", "allow_plaintext_backup"):
                if answer.get(name):
                    context.result.warnings.append(
                        f"{KEY.title} {context.mount}/{key.name} is {name}: whoever may export it can take it out of "
                        "OpenBao, and that cannot be undone."
                    )
        plan_entry(
            context,
            KEY,
            key,
            answer,
            create=lambda key=key, path=path: _create(key, path),  # type: ignore[misc]
            update=lambda changed, key=key, path=path, rotate=rotate: (  # type: ignore[misc]
                *rotate,
                *(
                    (Send("POST", f"{path}/config", wire({n: key.fields[n] for n in changed}, TABLE)),)
                    if changed
                    else ()
                ),
            ),
            more=more,
        )
    _prune(context, wanted)


def _create(key: Entry, path: str) -> list[Send]:
    first = {n: v for n, v in key.fields.items() if n in _AT_FIRST}
    then = {n: v for n, v in key.fields.items() if n not in _AT_FIRST and v != TABLE[n].empty}
    sends = [Send("POST", path, {"exportable": False, **wire(first, TABLE)})]
    if then:
        sends.append(Send("POST", f"{path}/config", wire(then, TABLE)))
    return sends


def _check_versions(key: Entry, answer: t.Mapping[str, t.Any] | None) -> None:
    newest = int((answer or {}).get("latest_version") or 1)
    for name in ("min_decryption_version", "min_encryption_version"):
        check(
            key.fields.get(name, 0) <= newest,
            f"is {key.fields.get(name)}, and the newest version of the key is {newest}.",
            item=f"{key.item}.{name}",
            rule="key-version",
            fix="rotate the key first.",
        )


def _newest(answer: t.Mapping[str, t.Any]) -> datetime.datetime | None:
    """Return when the newest version was made: seconds for symmetric keys, an object for the others."""
    entry = (answer.get("keys") or {}).get(str(answer.get("latest_version")))
    if isinstance(entry, t.Mapping):
        return server_moment(entry.get("creation_time"))
    return datetime.datetime.fromtimestamp(entry, datetime.UTC) if isinstance(entry, int) else None


def _prune(context: Context, wanted: Transit) -> None:
    listed = [k.name for k in wanted.keys]
    if not context.prune or not context.ours:
        return
    extra = context.seen.names(KEY.path(context.mount)) - set(listed)
    kept = {
        n for n in extra if not (context.seen.answers.get(KEY.path(context.mount, n)) or {}).get("deletion_allowed")
    }
    if kept:
        context.result.warnings.append(
            f"not pruned, because their deletion_allowed is false: {KEY.title} {', '.join(sorted(kept))} of the secret "
            f"engine {context.mount}."
        )
    plan_prune(context, KEY, listed, kept)
