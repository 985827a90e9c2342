# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database engine on a real PostgreSQL: connections, static and dynamic roles, rotation, and what goes wrong."""

from __future__ import annotations

import typing as t

from ansible_collections.hackspace.infra.plugins.module_utils._openbao.database_plan import PENDING

from .conftest import Engines


def database(tag: str, **content: t.Any) -> dict[str, t.Any]:
    return {"path": tag, "type": "database", "database": content}


def static(name: str, user: str, **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, "db_name": "main", "username": user, "rotation_period": "24h", **more}


def test_a_static_role_whose_password_is_rotated(engines: Engines) -> None:
    tag = engines.tag
    connection, root, root_password = engines.connection(rotate_root=True)
    user, first = engines.user("app")
    role = static("member-prod.4-aux-alice.app", user)
    done = engines.twice(database(tag, connections=[connection], static_roles=[role]))
    assert [c["kind"] for c in done["changes"]] == ["secret engine", "database connection", "static role"]
    # nobody knows the password of the connection any more, and the user's first one is gone
    assert not engines.lab.postgres.can_log_in(root, root_password)
    assert not engines.lab.postgres.can_log_in(user, first)
    name, second = engines.credentials(role["name"])
    assert name == user
    assert engines.lab.postgres.can_log_in(user, second)
    assert (engines.server.data(f"{tag}/config/main") or {})["allowed_roles"] == [role["name"]]

    # the password is rotated once because of a moment, and not again
    now = engines.sql(
        "SELECT to_char(now() AT TIME ZONE 'UTC' + interval '1 second', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    )
    engines.sql("SELECT pg_sleep(1.2)")
    leaked = {**role, "rotated_after": now.strip()}
    again = engines.twice(database(tag, connections=[connection], static_roles=[leaked]))
    assert again["changes"][0]["why"].startswith("last rotated ")
    third = engines.credentials(role["name"])[1]
    assert engines.lab.postgres.can_log_in(user, third)
    assert not engines.lab.postgres.can_log_in(user, second)
    engines.fails("moment-ahead", database(tag, static_roles=[{**role, "rotated_after": "2999-01-01T00:00:00Z"}]))

    # one field of the role, without rotation
    slower = {
        **role,
        "rotation_period": "48h",
        "rotation_statements": "ALTER USER \"{{name}}\" PASSWORD '{{password}}'",
    }
    changed = engines.twice(database(tag, connections=[connection], static_roles=[slower]))
    assert [c["why"] for c in changed["changes"]] == ["rotation_period, rotation_statements differs"]
    assert engines.credentials(role["name"])[1] == third


def test_a_dynamic_role(engines: Engines) -> None:
    tag = engines.tag
    connection, _root, _password = engines.connection()
    role = {
        "name": "reader",
        "db_name": "main",
        "creation_statements": "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'",
        "default_ttl": "1h",
        "max_ttl": "4h",
    }
    engines.twice(database(tag, connections=[connection], roles=[role]))
    made = engines.server.data(f"{tag}/creds/reader") or {}
    assert engines.lab.postgres.can_log_in(made["username"], made["password"])
    engines.twice(database(tag, connections=[connection], roles=[{**role, "max_ttl": "5h"}]))
    # a mapping to which the server adds its defaults; and a connection by itself, with roles that it does not know of
    key = {**role, "name": "key", "credential_type": "rsa_private_key", "credential_config": {"key_bits": 2048}}
    engines.twice(database(tag, connections=[connection], roles=[role, key]))
    assert not engines.run(database(tag, connections=[connection]))["changed"]


def test_an_interrupted_making_is_finished(engines: Engines) -> None:
    """Killed after the connection was made: nobody could use it, and the next run replaces the password."""
    tag = engines.tag
    connection, root, password = engines.connection(rotate_root=True)
    user, _first = engines.user("app")
    wanted = database(tag, connections=[connection], static_roles=[static("app", user)])
    with engines.server.proxy() as proxy:
        proxy.cut("before", path="/rotate-root/")
        error = engines.server.fails("openbao_secret_engines", "cut", engines=[wanted], url=proxy.address)
    assert error.item == f"database connection {tag}/main"
    assert (engines.server.data(f"{tag}/config/main") or {})["allowed_roles"] == [PENDING]
    assert engines.lab.postgres.can_log_in(root, password)
    done = engines.twice(wanted)
    assert "its first password was never replaced" in done["changes"][0]["why"]
    assert not engines.lab.postgres.can_log_in(root, password)
    assert engines.lab.postgres.can_log_in(*engines.credentials("app"))


def test_a_connection_keeps_its_password_when_something_else_changes(engines: Engines) -> None:
    tag = engines.tag
    connection, _root, _password = engines.connection(rotate_root=True, max_open_connections=3)
    user, _first = engines.user("app")
    engines.run(database(tag, connections=[connection], static_roles=[static("app", user)]))
    other, _none = engines.user("other")
    roles = [static("app", user), static("other", other)]
    changed = engines.twice(database(tag, connections=[{**connection, "max_open_connections": 5}], static_roles=roles))
    assert changed["changes"][0]["why"] == "max_open_connections, allowed_roles differs"
    assert engines.lab.postgres.can_log_in(*engines.credentials("other"))

    # another user with another password: replaced as well, also when that is interrupted, and tenants go on reading
    user, password = engines.user("root-second", "SUPERUSER")
    second = {**connection, "username": user, "password_file": engines.private("second", password)}
    with engines.server.proxy() as proxy:
        proxy.cut("before", path="/rotate-root/")
        error = engines.server.fails(
            "openbao_secret_engines", "cut", engines=[database(tag, connections=[second])], url=proxy.address
        )
    assert error.item == f"database connection {tag}/main"
    assert engines.lab.postgres.can_log_in(user, password)
    assert engines.lab.postgres.can_log_in(*engines.credentials("app"))
    engines.twice(database(tag, connections=[second]))
    assert not engines.lab.postgres.can_log_in(user, password)
    assert (engines.server.data(f"{tag}/config/main") or {})["allowed_roles"] == ["app", "other"]
    assert engines.lab.postgres.can_log_in(*engines.credentials("app"))


def test_errors_of_the_database_say_what_is_wrong_and_no_password(engines: Engines) -> None:
    tag = engines.tag
    connection, _root, password = engines.connection()
    url = connection["connection_url"]
    address = engines.lab.postgres.address
    wrong = "not the password " + tag
    for rule, change in {
        "database-login": {"password_file": engines.private("wrong", wrong)},
        "database-unreachable": {"connection_url": url.replace(address, "127.0.0.1:9")},
        "database-missing": {"connection_url": url.replace("/lab?", "/nowhere?")},
        "database-tls": {"connection_url": url.replace("disable", "require")},
        "database-url": {"connection_url": "nonsense {{username}} {{password}}"},
    }.items():
        said = engines.fails(rule, database(tag, connections=[{**connection, **change}]))
        assert password not in said
        assert wrong not in said
        assert f"database connection {tag}/main" in said
    engines.run(database(tag, connections=[{**connection, "allowed_roles": ["*"]}]))
    assert "no user of that name" in engines.fails(
        "database-user-missing", database(tag, static_roles=[static("a", f"{tag}-nobody")])
    )
    weak, weak_password = engines.user("weak")
    user, _first = engines.user("app")
    limited = {**connection, "name": "weak", "username": weak, "password_file": engines.private("weak", weak_password)}
    engines.fails(
        "database-permission",
        database(
            tag, connections=[{**limited, "allowed_roles": ["*"]}], static_roles=[static("b", user, db_name="weak")]
        ),
    )


def test_references_are_checked_before_anything_is_written(engines: Engines) -> None:
    tag = engines.tag
    connection, _root, _password = engines.connection()
    engines.fails("connection-unknown", database(tag, static_roles=[static("a", "x")]))
    engines.fails("role-unknown", database(tag, connections=[{**connection, "allowed_roles": ["a"]}]))
    engines.fails(
        "role-not-allowed",
        database(tag, connections=[{**connection, "allowed_roles": ["b*"]}], static_roles=[static("a", "x")]),
    )
    without = {k: v for k, v in connection.items() if k != "password_file"}
    engines.fails("password-missing", database(tag, connections=[without]))
    assert f"{tag}/" not in (engines.server.data("sys/mounts") or {})
    user, _first = engines.user("app")
    engines.run(database(tag, connections=[connection], static_roles=[static("a", user)]))
    engines.fails("fixed-field", database(tag, static_roles=[static("a", f"{user}-other")]))
    engines.fails("password-missing", database(tag, connections=[{**without, "username": "another"}]))


def test_pruned_with_leave_only(engines: Engines) -> None:
    tag = engines.tag
    connection, _root, _password = engines.connection()
    users = [engines.user(name)[0] for name in ("a", "b")]
    roles = [static("a", users[0]), static("b", users[1])]
    engines.run(database(tag, connections=[connection], static_roles=roles))
    fewer = (database(tag, connections=[connection], static_roles=roles[:1]), *engines.others())
    engines.fails("data-loss", *fewer, prune=True)
    done = engines.run(*fewer, prune=True, allow_data_loss=True)
    assert [(c["action"], c["name"]) for c in done["changes"]] == [("update", f"{tag}/main"), ("delete", f"{tag}/b")]
    assert engines.server.keys(f"{tag}/static-roles") == ["a"]
