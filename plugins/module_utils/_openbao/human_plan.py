# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Who may log in by an auth mount: roles (OIDC, JWT, certificates, AppRole) and users (userpass)."""

from __future__ import annotations

import dataclasses
import typing as t

from .._core.errors import InvalidInput
from .._core.plan import Change, Plan
from .._core.prune import check_prune
from .._core.redact import HIDDEN, HIDDEN_CHANGED
from .config_apply import Send
from .fields import body, differing, public, server_fields
from .mount_mark import Verdict
from .mount_model import AuthMount, Entry


@dataclasses.dataclass(frozen=True)
class Logins:
    """The roles or users of a mount.

    :ivar names: all that there are.
    :ivar answers: answers for those that were read: the wanted ones.
    """

    names: frozenset[str] = frozenset()
    answers: t.Mapping[str, t.Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)


def plan_entries(
    result: Plan,
    last: Plan,
    mount: AuthMount,
    logins: Logins,
    *,
    ours: bool,
    verdict: Verdict,
    prune: bool,
    prune_max_percent: int,
    own_names: frozenset[str],
    stale: frozenset[str],
) -> None:
    """Add the steps for one mount to *result*, deletions to *last*."""
    if mount.entries is None:
        return
    kind = mount.collection.kind
    for entry in mount.entries:
        change = _one(mount, entry, logins, ours=ours, verdict=verdict, stale=entry.name in stale)
        if change is None:
            result.unchanged += 1
        else:
            result.add(change)
    if not prune or not ours:
        return
    listed = {e.name for e in mount.entries}
    extra = logins.names - listed
    doomed = sorted(extra - own_names)
    kept = sorted(extra & own_names)
    if kept:
        last.warnings.append(
            f"not pruned, because it is the login in use: {kind} {', '.join(kept)} of the auth mount {mount.path}."
        )
    check_prune(
        item=f"{kind}s of the auth mount {mount.path}",
        doomed=doomed,
        desired=len(listed),
        owned=len(logins.names),
        max_percent=prune_max_percent,
    )
    for name in doomed:
        last.add(
            Change(
                kind,
                f"{mount.path}/{name}",
                "delete",
                before={"name": name},
                why="of a mount that is ours, and not in the list",
                public=frozenset({"name"}),
                payload=(Send("DELETE", mount.entry_path(name)),),
            )
        )


def _one(mount: AuthMount, entry: Entry, logins: Logins, *, ours: bool, verdict: Verdict, stale: bool) -> Change | None:
    collection = mount.collection
    table = collection.table
    name = f"{mount.path}/{entry.name}"
    answer = logins.answers.get(entry.name)
    shown = public(table)
    if answer is None:
        request = body(entry.fields, table)
        after = dict(entry.fields)
        if collection.kind == "user":
            if entry.password is None:
                raise InvalidInput(
                    "does not exist yet and has no password.",
                    item=f"user {name}",
                    rule="password-missing",
                    fix="give password_file (mode 0600); it is used once.",
                )
            request["password"] = entry.password.reveal()
            after["password"] = HIDDEN_CHANGED
        if collection.path == "role" and "role_type" in table:
            request["role_type"] = entry.fields["role_type"]
        send = Send("POST", mount.entry_path(entry.name), request, quiet="password" in request)
        return Change(collection.kind, name, "create", None, after, "", shown, (send,))
    have = server_fields(answer, table)
    if "token_policies" in have:
        have["token_policies"] = sorted({p.lower() for p in have["token_policies"]})
    changed = differing(have, entry.fields, table, item=f"{collection.kind} {name}")
    if stale:
        changed.append("password")
    if not changed:
        return None
    if not ours:
        verdict.foreign.append(f"{collection.kind} {name}")
        if not verdict.adopt:
            verdict.refused.append(f"{collection.kind} {name}")
            return None
    request = body(entry.fields, table, have=have)
    before = dict(have)
    after = {n: v for n, v in entry.fields.items() if n in have or v != table[n].empty}
    if stale and entry.password is not None:
        request["password"] = entry.password.reveal()
        before["password"], after["password"] = HIDDEN, HIDDEN_CHANGED
    send = Send("POST", mount.entry_path(entry.name), request, quiet="password" in request)
    return Change(collection.kind, name, "update", before, after, f"{', '.join(changed)} differs", shown, (send,))
