# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Database engines: connections, static roles (a database user whose password OpenBao rotates), dynamic roles.

The password of a connection is write-only. With ``rotate_root`` OpenBao replaces it at once by one that nobody knows.
A connection that is made so allows only the role :data:`PENDING` until that is done, so that an interrupted run is seen
by the next one, and nobody uses the connection in between.
"""

from __future__ import annotations

import dataclasses
import datetime
import fnmatch
import re
import typing as t

from .._core.errors import InvalidInput, check
from .._core.plan import Change
from .._core.redact import HIDDEN_CHANGED, Secret
from .config_apply import Cause, Send
from .engine_entries import (
    Context,
    Entry,
    Kind,
    changed_fields,
    moment,
    needed,
    not_ahead,
    parse_entries,
    plan_entry,
    plan_prune,
    server_moment,
    statements,
    wire,
)
from .fields import Field, Table, public

PLUGIN: t.Final = "postgresql-database-plugin"
#: The only role of a connection whose first password is still known to somebody.
PENDING: t.Final = "hackspace-infra-root-not-rotated-yet"
#: Seconds. The server looks for passwords to rotate that often.
MIN_ROTATION: t.Final = 5

_CREDENTIALS: t.Final[Table] = {
    "credential_type": Field("str", default="password", choices=("password", "rsa_private_key")),
    "credential_config": Field("map"),
}
CONNECTION_TABLE: t.Final[Table] = {
    "plugin_name": Field("str", default=PLUGIN),
    "connection_url": Field("str"),
    "username": Field("str"),
    "allowed_roles": Field("set"),
    "verify_connection": Field("bool", default=True, shown=False),
    "root_rotation_statements": Field("list"),
    "password_policy": Field("str"),
    "username_template": Field("str"),
    "max_open_connections": Field("int"),
    "max_idle_connections": Field("int"),
    "max_connection_lifetime": Field("duration"),
}
CONNECTION: t.Final = Kind("database connection", "config", CONNECTION_TABLE)
STATIC: t.Final = Kind(
    "static role",
    "static-roles",
    {
        "db_name": Field("str", fixed=True),
        "username": Field("str", fixed=True),
        "rotation_period": Field("duration"),
        "rotation_statements": Field("list"),
        **_CREDENTIALS,
    },
)
DYNAMIC: t.Final = Kind(
    "dynamic role",
    "roles",
    {
        "db_name": Field("str"),
        "creation_statements": Field("list"),
        "revocation_statements": Field("list"),
        "rollback_statements": Field("list"),
        "renew_statements": Field("list"),
        "default_ttl": Field("duration"),
        "max_ttl": Field("duration"),
        **_CREDENTIALS,
    },
)
_STATEMENTS: t.Final = tuple(
    name for table in (CONNECTION_TABLE, STATIC.table, DYNAMIC.table) for name in table if name.endswith("_statements")
)
#: Options of a connection that are no fields of it.
_OWN: t.Final = ("password", "password_file", "rotate_root", "update_password")
#: Also without a scheme, as MySQL's: ``user:password@tcp(host:3306)/db``.
_USERINFO = re.compile(r"(?:^|://)([^/@\s]*)@")
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_DSN_PASSWORD = re.compile(r"(?:^|\s|[?&;])password\s*=\s*([^\s&;]+)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Connection:
    """A wanted connection.

    :ivar rotate_root: OpenBao replaces the password once the connection is made.
    :ivar always: send the password in every run.
    :ivar keeps_allowed: ``allowed_roles`` is not given, and not every list of roles is: others stay allowed.
    """

    entry: Entry
    password: Secret | None
    rotate_root: bool
    always: bool
    keeps_allowed: bool = False


@dataclasses.dataclass(frozen=True)
class Database:
    """What is wanted in a database engine; ``None`` leaves a list alone.

    :ivar rotated_after: static role -> moment after which its password must have been rotated.
    """

    connections: tuple[Connection, ...] | None
    static_roles: tuple[Entry, ...] | None
    roles: tuple[Entry, ...] | None
    rotated_after: t.Mapping[str, datetime.datetime]
    item: str

    @property
    def all_roles(self) -> tuple[Entry, ...]:
        return (*(self.static_roles or ()), *(self.roles or ()))

    def _parts(self) -> list[tuple[Kind, frozenset[str] | None]]:
        names: list[tuple[Kind, t.Iterable[str] | None]] = [
            (CONNECTION, None if self.connections is None else (c.entry.name for c in self.connections)),
            (STATIC, None if self.static_roles is None else (r.name for r in self.static_roles)),
            (DYNAMIC, None if self.roles is None else (r.name for r in self.roles)),
        ]
        return [(kind, None if found is None else frozenset(found)) for kind, found in names]

    def lists(self, mount: str) -> list[str]:
        return [kind.path(mount) for kind, _names in self._parts()]

    def details(self, mount: str, lists: t.Mapping[str, t.Sequence[str]], *, prune: bool) -> list[str]:
        del prune
        used = {r.fields.get("db_name") for r in self.all_roles}
        found = []
        for kind, names in self._parts():
            wanted = (names or frozenset()) | (used if kind is CONNECTION else set())
            found += [kind.path(mount, name) for name in lists.get(kind.path(mount), ()) if name in wanted]
        return found


# -- declarations ----------------------------------------------------------------------------------------------------


def parse(raw: t.Mapping[str, t.Any], *, item: str) -> Database:
    """Return what is wanted.

    :raises InvalidInput: naming the first thing that is wrong.
    """
    static = None if raw.get("static_roles") is None else _roles(raw["static_roles"], STATIC, f"{item}.static_roles")
    dynamic = None if raw.get("roles") is None else _roles(raw["roles"], DYNAMIC, f"{item}.roles")
    after: dict[str, datetime.datetime] = {}
    for role, one in zip(static or (), raw.get("static_roles") or (), strict=True):
        when = moment(one.get("rotated_after"), item=f"{role.item}.rotated_after")
        if when:
            after[role.name] = when
    roles = (*(static or ()), *(dynamic or ()))
    connections = None
    if raw.get("connections") is not None:
        partial = static is None or dynamic is None
        connections = _connections(raw["connections"], roles, f"{item}.connections", partial=partial)
    found = Database(connections, static, dynamic, after, item)
    _check_static(found)
    return found


def _roles(raw: t.Any, kind: Kind, item: str) -> tuple[Entry, ...]:
    listed = [
        {k: statements(v) if k in _STATEMENTS else v for k, v in one.items()} if isinstance(one, t.Mapping) else one
        for one in raw
    ]
    return tuple(parse_entries(listed, kind, ("rotated_after",) if kind is STATIC else (), item=item))


def _connections(raw: t.Any, roles: t.Sequence[Entry], item: str, *, partial: bool) -> tuple[Connection, ...]:
    listed = [{k: statements(v) if k in _STATEMENTS else v for k, v in one.items()} for one in raw]
    found = []
    for entry, one in zip(parse_entries(listed, CONNECTION, _OWN, item=item), raw, strict=True):
        needed(entry, "connection_url")
        _check_url(entry)
        fields = dict(entry.fields)
        keeps = partial and "allowed_roles" not in fields
        if "allowed_roles" not in fields:
            fields["allowed_roles"] = sorted({r.name for r in roles if r.fields.get("db_name") == entry.name})
        check(
            PENDING not in fields["allowed_roles"],
            f"has {PENDING}, which stands for a connection that is not finished.",
            item=f"{entry.item}.allowed_roles",
            rule="role-reserved",
            fix="take it out.",
        )
        always = str(one.get("update_password") or "on_create") == "always"
        rotate = bool(one.get("rotate_root"))
        check(
            not (rotate and always),
            "asks for the same password in every run, and for one that nobody knows.",
            item=entry.item,
            rule="rotate-or-update",
            fix="leave update_password or rotate_root out.",
        )
        password = Secret(str(one["password"])) if one.get("password") else None
        check(
            password is not None or not always,
            "has no password.",
            item=f"{entry.item}.update_password",
            rule="password-missing",
            fix="give password_file, or leave update_password out.",
        )
        found.append(Connection(dataclasses.replace(entry, fields=fields), password, rotate, always, keeps))
    return tuple(found)


def _check_url(entry: Entry) -> None:
    """Refuse a password in the address, which the server shows to whoever may read the connection."""
    url = _PLACEHOLDER.sub(r"{{\1}}", str(entry.fields["connection_url"]))
    info = [part.partition(":")[2] for part in _USERINFO.findall(url)] + _DSN_PASSWORD.findall(url)
    check(
        all(word.strip("'\"") in ("", "{{password}}") for word in info),
        "has a password in it, which OpenBao shows to everybody who may read the connection.",
        item=f"{entry.item}.connection_url",
        rule="password-in-url",
        fix="write {{username}}:{{password}} there (tagged !unsafe), and give username and password_file.",
    )
    check(
        "{{password}}" not in url or entry.fields.get("username"),
        "has no username.",
        item=entry.item,
        rule="field-missing",
        fix="give username.",
    )


def _check_static(wanted: Database) -> None:
    owner: dict[tuple[str, str], str] = {}
    roots = {c.entry.name: c.entry.fields.get("username") for c in wanted.connections or ()}
    for role in wanted.static_roles or ():
        needed(role, "db_name", "username", "rotation_period")
        database, user = role.fields["db_name"], role.fields["username"]
        check(
            role.fields["rotation_period"] >= MIN_ROTATION,
            f"is {role.fields['rotation_period']} s; OpenBao rotates every {MIN_ROTATION} s at most.",
            item=f"{role.item}.rotation_period",
            rule="rotation-period",
            fix="a day or a week suits: 24h.",
        )
        check(
            (database, user) not in owner,
            f"has the database user {user}, which static role {owner.get((database, user))} has: each would rotate the "
            "other's password away.",
            item=role.item,
            rule="username-twice",
            fix="give every static role a database user of its own.",
        )
        check(
            roots.get(database) != user,
            f"has the database user {user}, by which OpenBao itself logs in: the connection would break.",
            item=role.item,
            rule="username-of-connection",
            fix="give the connection a database user of its own.",
        )
        owner[database, user] = role.name
    statics = {r.name for r in wanted.static_roles or ()}
    for role in wanted.roles or ():
        needed(role, "db_name", "creation_statements")
        check(
            role.name not in statics,
            "is a static role as well, and connections allow both by one name.",
            item=role.item,
            rule="role-name-twice",
            fix="give one of them another name.",
        )


# -- plan ------------------------------------------------------------------------------------------------------------


def plan(context: Context, wanted: Database) -> None:
    """Add what one engine needs: connections first, as roles need them.

    :raises InvalidInput: rules ``connection-unknown``, ``role-not-allowed``, ``role-unknown``, ...
    """
    if wanted.connections is not None:
        wanted = dataclasses.replace(
            wanted, connections=tuple(_with_present(context, wanted, c) for c in wanted.connections)
        )
    _check_references(context, wanted)
    for connection in wanted.connections or ():
        _connection(context, connection)
    for role in wanted.static_roles or ():
        _static(context, role, wanted.rotated_after.get(role.name))
    for role in wanted.roles or ():
        path = DYNAMIC.path(context.mount, role.name)
        send = (Send("POST", path, wire(role.fields, DYNAMIC.table), explain=explain),)
        plan_entry(
            context,
            DYNAMIC,
            role,
            context.seen.answers.get(path),
            create=lambda send=send: send,  # type: ignore[misc]
            update=lambda _changed, send=send: send,  # type: ignore[misc]
        )
    if wanted.roles is not None:
        plan_prune(context, DYNAMIC, [r.name for r in wanted.roles])
    if wanted.static_roles is not None:
        plan_prune(context, STATIC, [r.name for r in wanted.static_roles])
    if wanted.connections is not None:
        plan_prune(context, CONNECTION, [c.entry.name for c in wanted.connections])


def _with_present(context: Context, wanted: Database, one: Connection) -> Connection:
    """Return *one* with the allowed roles that the server has, but those of the lists that are declared."""
    answer = context.seen.answers.get(CONNECTION.path(context.mount, one.entry.name))
    if answer is None or not one.keeps_allowed:
        return one
    others = set(answer.get("allowed_roles") or []) - {PENDING}
    for kind, declared in ((STATIC, wanted.static_roles), (DYNAMIC, wanted.roles)):
        if declared is not None:
            others -= context.seen.names(kind.path(context.mount))
    fields = {**one.entry.fields, "allowed_roles": sorted(others.union(one.entry.fields["allowed_roles"]))}
    return dataclasses.replace(one, entry=dataclasses.replace(one.entry, fields=fields))


def _check_references(context: Context, wanted: Database) -> None:
    declared = {c.entry.name: c.entry.fields["allowed_roles"] for c in wanted.connections or ()}
    there = context.seen.names(CONNECTION.path(context.mount))
    for role in wanted.all_roles:
        name = role.fields["db_name"]
        allowed = declared.get(name)
        if allowed is None:
            check(
                name in there,
                f"names the connection {name}, which is neither declared nor there.",
                item=f"{role.item}.db_name",
                rule="connection-unknown",
                fix="declare it in connections, or correct the name.",
            )
            answer = context.seen.answers.get(CONNECTION.path(context.mount, name)) or {}
            allowed = answer.get("allowed_roles") or []
            check(
                role not in (wanted.static_roles or ()) or role.fields["username"] != flat(answer).get("username"),
                f"has the database user {role.fields.get('username')}, by which OpenBao itself logs in: the connection "
                "would break.",
                item=role.item,
                rule="username-of-connection",
                fix="give the connection a database user of its own.",
            )
        check(
            any(fnmatch.fnmatchcase(role.name, str(pattern).strip()) for pattern in allowed),
            f"is not among the allowed_roles of the connection {name}.",
            item=role.item,
            rule="role-not-allowed",
            fix="add it there, or leave allowed_roles out: then the declared roles are allowed.",
        )
    known = {r.name for r in wanted.all_roles}
    known |= context.seen.names(STATIC.path(context.mount)) | context.seen.names(DYNAMIC.path(context.mount))
    for connection in wanted.connections or ():
        listed = () if connection.keeps_allowed else connection.entry.fields["allowed_roles"]
        unknown = [r for r in listed if "*" not in r and r not in known]
        check(
            not unknown,
            f"allows {', '.join(unknown)}, a role that is neither declared nor there.",
            item=f"{connection.entry.item}.allowed_roles",
            rule="role-unknown",
            fix="correct the name, or declare the role.",
        )


def flat(answer: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return a connection as it is declared: the server nests some fields and names one differently."""
    found = {**answer, **(answer.get("connection_details") or {})}
    found["root_rotation_statements"] = answer.get("root_credentials_rotate_statements") or []
    for name in ("password_policy", "username_template"):
        found.setdefault(name, "")
    for name in ("max_open_connections", "max_idle_connections", "max_connection_lifetime"):
        found.setdefault(name, 0)
    return found


def _connection(context: Context, wanted: Connection) -> None:
    entry = wanted.entry
    path = CONNECTION.path(context.mount, entry.name)
    raw = context.seen.answers.get(path)
    what = f"{CONNECTION.title} {context.mount}/{entry.name}"
    if raw is None:
        _make(context, wanted, path)
        return
    have, changed = changed_fields(flat(raw), entry.fields, CONNECTION_TABLE, item=what)
    pending = PENDING in (raw.get("allowed_roles") or [])
    if "username" in changed and wanted.password is None:
        raise InvalidInput(
            "is to log in as another user, and has no password.",
            item=entry.item,
            rule="password-missing",
            fix="give password_file.",
        )
    reasons = [f"{', '.join(changed)} differs"] * bool(changed)
    with_password = wanted.password is not None and (wanted.always or "username" in changed)
    if wanted.always:
        reasons.append("update_password is always")
    if pending and wanted.rotate_root:
        reasons.append("its first password was never replaced")
    if not reasons:
        context.result.unchanged += 1
        return
    if not context.may(what):
        return
    sends: list[Send] = []
    rotate = wanted.rotate_root and (pending or "username" in changed)
    first = [n for n in changed if not (rotate and n == "allowed_roles")]
    if first or with_password:
        request = wire({n: entry.fields[n] for n in first}, CONNECTION_TABLE)
        if rotate and not pending:  # roles that are in use stay so; PENDING tells the next run if this one ends here
            request["allowed_roles"] = [*(raw.get("allowed_roles") or []), PENDING]
        sends.append(_send(path, entry, request, wanted.password if with_password else None))
    if rotate:
        sends.append(Send("POST", f"{context.mount}/rotate-root/{entry.name}", explain=explain))
        sends.append(_send(path, entry, {"allowed_roles": entry.fields["allowed_roles"]}, None))
    after = {**have, **{n: entry.fields[n] for n in changed}}
    if with_password:
        after["password"] = HIDDEN_CHANGED
    shown = public(CONNECTION_TABLE)
    context.result.add(
        Change(
            CONNECTION.title,
            f"{context.mount}/{entry.name}",
            "update",
            have,
            after,
            "; ".join(reasons),
            shown,
            tuple(sends),
        )
    )


def _make(context: Context, wanted: Connection, path: str) -> None:
    entry = wanted.entry
    if wanted.password is None:
        raise InvalidInput(
            "does not exist yet and has no password.",
            item=entry.item,
            rule="password-missing",
            fix="give password_file (mode 0600, or encrypted by ansible-vault); with rotate_root it is used once.",
        )
    fields = {"plugin_name": PLUGIN, **entry.fields}
    final = fields["allowed_roles"]
    if wanted.rotate_root:
        fields = {**fields, "allowed_roles": [PENDING]}
    sends = [_send(path, entry, wire(fields, CONNECTION_TABLE), wanted.password)]
    if wanted.rotate_root:
        sends += [
            Send("POST", f"{context.mount}/rotate-root/{entry.name}", explain=explain),
            _send(path, entry, {"allowed_roles": final}, None),
        ]
    after = {**fields, "allowed_roles": final, "password": HIDDEN_CHANGED}
    why = "OpenBao replaces its password at once" if wanted.rotate_root else ""
    shown = public(CONNECTION_TABLE)
    context.result.add(
        Change(CONNECTION.title, f"{context.mount}/{entry.name}", "create", None, after, why, shown, tuple(sends))
    )


def _send(path: str, entry: Entry, request: t.Mapping[str, t.Any], password: Secret | None) -> Send:
    body = dict(request)
    if entry.fields.get("verify_connection") is False:
        body["verify_connection"] = False
    if password is not None:
        body["password"] = password.reveal()
    return Send("POST", path, body, quiet=True, explain=explain)


def _static(context: Context, role: Entry, after: datetime.datetime | None) -> None:
    path = STATIC.path(context.mount, role.name)
    answer = context.seen.answers.get(path)
    not_ahead(after, context.now, role.item)
    more: list[str] = []
    if after and answer is not None:
        last = server_moment(answer.get("last_vault_rotation"))
        if last is None or last < after.replace(microsecond=0):
            more.append(f"last rotated {last:%Y-%m-%dT%H:%M:%SZ}" if last else "never rotated")
    write = Send("POST", path, wire(role.fields, STATIC.table), explain=explain)
    rotate = Send("POST", f"{context.mount}/rotate-role/{role.name}", explain=explain)
    plan_entry(
        context,
        STATIC,
        role,
        answer,
        create=lambda: (write,),
        update=lambda changed: (*((write,) if changed else ()), *((rotate,) if more else ())),
        more=more,
    )


# -- what servers say ------------------------------------------------------------------------------------------------

#: Part of what the server says -> rule, sentence, fix. Nothing of the server's words is repeated: they can quote the
#: address, and the address can have a password in it.
_CAUSES: t.Final[tuple[tuple[str, Cause], ...]] = (
    (
        r"password authentication failed|28P01|28000|no pg_hba\.conf entry",
        Cause("database-login", "the database refuses the login.", "check username, password and pg_hba.conf."),
    ),
    (
        r"connection refused|no such host|no route to host|i/o timeout|context deadline exceeded|is unreachable",
        Cause("database-unreachable", "OpenBao does not reach the database.", "check host, port, DNS and firewalls."),
    ),
    (
        r"tls error|x509|certificate|SSL is not enabled|server refused TLS",
        Cause("database-tls", "OpenBao and the database do not agree on TLS.", "check sslmode and the CA."),
    ),
    (
        r"3D000|database .* does not exist",
        Cause("database-missing", "the server has no database of that name.", "correct connection_url."),
    ),
    (
        r"42704|role .* does not exist",
        Cause("database-user-missing", "the database has no user of that name.", "make the database user first."),
    ),
    (
        r"42501|permission denied|must be superuser|must have",
        Cause(
            "database-permission",
            "the connection's user may not do that in the database.",
            "grant it CREATEROLE and, since PostgreSQL 16, ADMIN OPTION on the users that it rotates.",
        ),
    ),
    (
        r"42601|syntax error",
        Cause("database-statement", "the database does not understand a statement.", "correct the statements."),
    ),
    (
        r"cannot parse|invalid dsn|invalid connection|missing \{\{|unable to parse",
        Cause(
            "database-url", "connection_url is not understood.", "postgresql://{{username}}:{{password}}@host:5432/db"
        ),
    ),
    (
        r"not an allowed role",
        Cause("role-not-allowed", "the connection does not allow this role.", "add it to its allowed_roles."),
    ),
)


def explain(said: str) -> Cause:
    """Return what the server's words mean, without repeating any of them."""
    for pattern, cause in _CAUSES:
        if re.search(pattern, said, re.IGNORECASE):
            return cause
    return Cause("database-error", "OpenBao refuses it or the database fails.", "see OpenBao's log.")
