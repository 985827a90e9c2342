# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans of what lies in engines, without a server."""

from __future__ import annotations

import datetime
import json
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, Refused
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import (
    database_plan,
    engine_entries,
    engine_plan,
    pki_plan,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.config_apply import Ref, Send
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.engine_entries import Seen
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime.datetime(2027, 1, 31, 12, tzinfo=datetime.UTC)
OURS = {"description": "[hackspace.infra]", "config": {"max_lease_ttl": 0}}
PASSWORD = "Kq7-never-shown-1"
URL = "postgresql://{{username}}:{{password}}@db.example.org:5432/postgres"


def plan(raw: list[dict[str, t.Any]], present: engine_plan.Present | None = None, **args: t.Any) -> Plan:
    return engine_plan.plan(present or engine_plan.Present(), engine_plan.parse(raw), now=NOW, **args)


def sends(result: Plan) -> list[tuple[str, str]]:
    return [(step.method, step.path) for change in result.changes for step in change.payload]


def bodies(result: Plan) -> list[t.Mapping[str, t.Any]]:
    return [step.body for change in result.changes for step in t.cast(tuple[Send, ...], change.payload)]


def database(**content: t.Any) -> dict[str, t.Any]:
    return {"path": "db", "type": "database", "database": content}


def connection(**more: t.Any) -> dict[str, t.Any]:
    return {"name": "main", "connection_url": URL, "username": "openbao", "password": PASSWORD, **more}


def test_a_connection_is_of_no_use_before_its_password_is_replaced() -> None:
    role = {"name": "app", "db_name": "main", "username": "app", "rotation_period": "1h"}
    result = plan([database(connections=[connection(rotate_root=True)], static_roles=[role])])
    assert sends(result)[1:] == [
        ("POST", "db/config/main"),
        ("POST", "db/rotate-root/main"),
        ("POST", "db/config/main"),
        ("POST", "db/static-roles/app"),
    ]
    made = bodies(result)
    assert (made[1]["allowed_roles"], made[1]["password"]) == ([database_plan.PENDING], PASSWORD)
    assert made[3] == {"allowed_roles": ["app"]}
    shown = json.dumps([result.diff(), result.report()]) + repr(result)
    assert PASSWORD not in shown
    assert PASSWORD not in repr(result.changes[1].payload)


def test_a_password_that_is_sent_always_is_always_a_change() -> None:
    answer = {
        "plugin_name": database_plan.PLUGIN,
        "allowed_roles": [],
        "connection_details": {"connection_url": URL, "username": "openbao"},
        "root_credentials_rotate_statements": [],
    }
    seen = Seen({"db/config": ["main"]}, {"db/config/main": answer})
    present = engine_plan.Present({"db": {**OURS, "type": "database"}}, {}, seen)
    assert not plan([database(connections=[connection()])], present).changed
    result = plan([database(connections=[connection(update_password="always")])], present)
    assert bodies(result) == [{"password": PASSWORD}]
    assert PASSWORD not in json.dumps(result.diff())
    # of another user, the password goes with it
    assert bodies(plan([database(connections=[connection(username="other")])], present)) == [
        {"username": "other", "password": PASSWORD}
    ]


@given(st.text(min_size=1, max_size=30))
def test_nothing_of_what_a_server_says_is_repeated(said: str) -> None:
    word = f"<{said}>"
    for text in (word, f"cannot parse {word}", f"password authentication failed {word}"):
        cause = database_plan.explain(text)
        assert word not in f"{cause.message} {cause.fix} {cause.rule}"


def test_causes() -> None:
    for said, rule in {
        'FATAL: password authentication failed for user "x" (SQLSTATE 28P01)': "database-login",
        "dial error (dial tcp 127.0.0.1:1: connect: connection refused)": "database-unreachable",
        "tls error (server refused TLS connection)": "database-tls",
        'ERROR: role "x" does not exist (SQLSTATE 42704)': "database-user-missing",
        "something else": "database-error",
    }.items():
        assert database_plan.explain(said).rule == rule


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2027-01-31T12:00:00.898002109Z", NOW),
        ("2027-01-31T13:00:00+01:00", NOW),
        ("2027-01-31T12:00:00Z", NOW),
        ("", None),
        (None, None),
        ("yesterday", None),
    ],
)
def test_moments_of_servers(text: str | None, want: datetime.datetime | None) -> None:
    assert engine_entries.server_moment(text) == want


def test_an_intermediate_is_signed_within_one_plan_after_its_root() -> None:
    engines = [
        {
            "path": "int",
            "type": "pki",
            "pki": {"ca": {"type": "intermediate", "common_name": "i", "ttl": "1h", "signed_by": "root"}},
        },
        {"path": "root", "type": "pki", "pki": {"ca": {"type": "root", "common_name": "r", "ttl": "2h"}}},
    ]
    result = plan(engines)
    assert sends(result) == [
        ("POST", "sys/mounts/int"),
        ("POST", "sys/mounts/root"),
        ("POST", "root/root/generate/internal"),
        ("POST", "int/intermediate/generate/internal"),
        ("POST", "root/root/sign-intermediate"),
        ("POST", "int/intermediate/set-signed"),
    ]
    last = bodies(result)[-1]
    assert isinstance(last["certificate"], Ref)
    assert not any(
        "private" in json.dumps(b, default=str) or "exported" in s[1]
        for b, s in zip(bodies(result), sends(result), strict=True)
    )


def test_issuers_without_a_default_are_not_guessed() -> None:
    present = engine_plan.Present(
        {"root": {**OURS, "type": "pki"}},
        {},
        Seen({"root/issuers": ["one"], "root/keys": ["k"]}, {"root/issuer/default": None}),
    )
    with pytest.raises(Refused) as caught:
        plan(
            [{"path": "root", "type": "pki", "pki": {"ca": {"type": "root", "common_name": "r", "ttl": "2h"}}}], present
        )
    assert caught.value.rule == "issuer-no-default"


def test_only_declared_fields_count() -> None:
    seen = Seen({"t/keys": ["a"]}, {"t/keys/a": {"type": "rsa-4096", "deletion_allowed": True, "latest_version": 3}})
    present = engine_plan.Present({"t": {**OURS, "type": "transit"}}, {}, seen)
    assert not plan([{"path": "t", "type": "transit", "transit_keys": [{"name": "a"}]}], present).changed
    with pytest.raises(HackspaceError) as caught:
        plan([{"path": "t", "type": "transit", "transit_keys": [{"name": "a", "type": "ed25519"}]}], present)
    assert caught.value.rule == "fixed-field"


def test_what_is_read_is_what_is_wanted_and_there() -> None:
    engines = engine_plan.parse(
        [
            {"path": "t", "type": "transit", "transit_keys": [{"name": "a"}, {"name": "new"}]},
            {
                "path": "d",
                "type": "database",
                "database": {"static_roles": [{"name": "r", "db_name": "m", "username": "u", "rotation_period": "1h"}]},
            },
            {"path": "absent", "type": "transit", "transit_keys": []},
        ]
    )
    mounts = {"t": {"type": "transit"}, "d": {"type": "database"}}
    assert engine_plan.lists(engines, mounts) == ["t/keys", "d/config", "d/static-roles", "d/roles"]
    listed = {"t/keys": ["a", "other"], "d/config": ["m", "x"], "d/static-roles": ["r", "s"]}
    assert engine_plan.details(engines, mounts, listed, prune=False) == ["t/keys/a", "d/config/m", "d/static-roles/r"]
    assert "t/keys/other" in engine_plan.details(engines, mounts, listed, prune=True)


def test_the_report_of_an_authority_that_waits() -> None:
    (engine,) = engine_plan.parse(
        [{"path": "p", "type": "pki", "pki": {"ca": {"type": "intermediate", "common_name": "i"}}}]
    )
    assert isinstance(engine.content, pki_plan.Pki)
    assert engine.content.authority
    report = pki_plan.report("p", engine.content.authority, "", "request", NOW)
    assert report == {"path": "p", "common_name": "i", "state": "waiting_for_certificate", "csr": "request"}


def existing(allowed: list[str], user: str = "openbao") -> engine_plan.Present:
    """A database engine of ours with one connection and the roles a and b."""
    answer = {
        "plugin_name": database_plan.PLUGIN,
        "allowed_roles": allowed,
        "connection_details": {"connection_url": URL, "username": user},
        "root_credentials_rotate_statements": [],
    }
    lists = {"db/config": ["main"], "db/static-roles": ["a"], "db/roles": ["b"]}
    return engine_plan.Present(
        {"db": {**OURS, "type": "database"}}, {}, Seen(lists, {"db/config/main": answer, "db/static-roles/a": A})
    )


A = {"db_name": "main", "username": "app", "rotation_period": 3600}


def test_roles_that_nobody_declared_stay_allowed() -> None:
    role = {**A, "name": "a", "rotation_period": "1h"}
    present = existing(["a", "b", "gone"])
    assert not plan([database(connections=[connection()])], present).changed
    assert not plan([database(connections=[connection()], static_roles=[role])], present).changed
    more = plan(
        [database(connections=[connection()], static_roles=[role, {**role, "name": "c", "username": "c"}])], present
    )
    assert bodies(more)[0] == {"allowed_roles": ["a", "b", "c", "gone"]}
    other = plan([database(connections=[connection()], static_roles=[{**role, "name": "c", "username": "c"}])], present)
    assert bodies(other)[0] == {"allowed_roles": ["b", "c", "gone"]}  # a is of a list that is declared
    # of all lists, or of allowed_roles itself, exactly what is declared
    both = plan([database(connections=[connection()], static_roles=[role], roles=[])], present)
    assert bodies(both) == [{"allowed_roles": ["a"]}]
    assert bodies(plan([database(connections=[connection(allowed_roles=["b"])])], present)) == [
        {"allowed_roles": ["b"]}
    ]


def test_another_user_of_a_connection_is_rotated_or_noticed() -> None:
    wanted = [database(connections=[connection(rotate_root=True)])]
    result = plan(wanted, existing(["a", "b"], user="before"))
    assert sends(result) == [
        ("POST", "db/config/main"),
        ("POST", "db/rotate-root/main"),
        ("POST", "db/config/main"),
    ]
    first, _rotate, last = bodies(result)
    assert first["allowed_roles"] == ["a", "b", database_plan.PENDING]  # whoever uses it, goes on
    assert last == {"allowed_roles": ["a", "b"]}
    again = plan(wanted, existing(list(first["allowed_roles"])))
    assert sends(again) == [("POST", "db/rotate-root/main"), ("POST", "db/config/main")]
    assert bodies(again)[1] == {"allowed_roles": ["a", "b"]}
    assert not plan(wanted, existing(["a", "b"])).changed


def test_the_user_of_a_connection_that_is_not_declared() -> None:
    role = {**A, "name": "c", "username": "openbao", "rotation_period": "1h"}
    with pytest.raises(HackspaceError) as caught:
        plan([database(static_roles=[role])], existing(["*"]))
    assert caught.value.rule == "username-of-connection"


def test_of_a_mapping_only_what_is_declared_counts() -> None:
    server = {"credential_config": {"format": "pkcs8", "key_bits": 4096}}
    table = database_plan.DYNAMIC.table
    for declared, differs in (({"key_bits": "4096"}, False), ({}, False), ({"key_bits": 2048}, True), ({"x": 1}, True)):
        fields = {"credential_config": declared}
        assert bool(engine_entries.changed_fields(server, fields, table, item="x")[1]) == differs


def test_moments_are_compared_in_whole_seconds() -> None:
    assert engine_entries.moment("2027-01-31T12:00:00.7Z", item="x") == NOW


def test_an_authority_that_its_signer_would_cut() -> None:
    middle = {"type": "intermediate", "common_name": "i", "ttl": "1000h", "signed_by": "root"}

    def rule(limit: str, ttl: str) -> str:
        engines = [
            {"path": "int", "type": "pki", "config": {"max_lease_ttl": "2000h"}, "pki": {"ca": middle}},
            {
                "path": "root",
                "type": "pki",
                "config": {"max_lease_ttl": limit},
                "pki": {"ca": {"type": "root", "common_name": "r", "ttl": ttl}},
            },
        ]
        try:
            plan(engines)
        except HackspaceError as error:
            return error.rule
        return ""

    assert rule("900h", "900h") == "ca-ttl-above-signer"
    assert rule("2000h", "900h") == "ca-outlives-signer"
    assert rule("2000h", "1000h") == ""
    # one that is there already
    there = {"description": "", "type": "pki", "config": {"max_lease_ttl": 3600}}
    with pytest.raises(HackspaceError) as caught:
        plan([{"path": "int", "type": "pki", "pki": {"ca": middle}}], engine_plan.Present({"root": there}))
    assert caught.value.rule == "ca-ttl-above-signer"
