# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tenant's pod gets its database password by External Secrets, and the next one when OpenBao has rotated it."""

from __future__ import annotations

import base64
import typing as t

from tests.integration.eso.conftest import CLUSTERS, EsoSite

from .conftest import Engines

MEMBER = CLUSTERS[1]
#: Namespaces of two tenants; the name of one is how the other's begins.
ALICE, BOB = "4-aux-alice", "4-aux-alice-b"


def wire(site: EsoSite, database: str, transit: str) -> None:
    node = next(n for n in site.lab.openbao_nodes if n.name == site.lab.openbao_active())
    args: dict[str, t.Any] = {
        "openbao": {
            "url": node.address,
            "tls_server_name": node.tls_server_name,
            "ca_cert": str(site.lab.openbao_ca),
            "auth_method": "token",
            "token": site.root,
        },
        "clusters": [{**cluster, "access": {"namespaces": ["4-aux-*"]}} for cluster in site.clusters(MEMBER)],
        "tenant_paths": [
            {"path": f"{database}/static-creds/{{cluster}}.{{namespace}}.*"},
            {"path": f"{transit}/encrypt/{{cluster}}.{{namespace}}", "capabilities": ["update"]},
        ],
        "verify": "never",
    }
    site.apply("jwt_reviewer", **args)
    assert not site.apply("jwt_reviewer", **args)["changed"]


def want(site: EsoSite, namespace: str, name: str, role: str) -> None:
    """Ask for user name and password of a static role; what else the answer has changes all the time."""
    site.want(
        MEMBER,
        namespace,
        name,
        refreshInterval="2s",
        secretStoreRef={"kind": "SecretStore", "name": "openbao-database"},
        dataFrom=None,
        data=[
            {"secretKey": key, "remoteRef": {"key": f"static-creds/{role}", "property": key}}
            for key in ("username", "password")
        ],
    )


def login(site: EsoSite, namespace: str, name: str) -> tuple[str, str]:
    found = site.secret(MEMBER, namespace, name)
    user, password = (base64.b64decode(found.get(key, "")).decode() for key in ("username", "password"))
    return user, password


def test_a_rotated_password_reaches_the_pod_and_nobody_elses(engines: Engines, eso_site: EsoSite) -> None:
    site, tag = eso_site, engines.tag
    connection, _root, _password = engines.connection(rotate_root=True)
    users = {namespace: engines.user(namespace)[0] for namespace in (ALICE, BOB)}
    roles = [
        {"name": f"{MEMBER}.{namespace}.app", "db_name": "main", "username": user, "rotation_period": "24h"}
        for namespace, user in users.items()
    ]
    wanted: dict[str, t.Any] = {
        "path": tag,
        "type": "database",
        "database": {"connections": [connection], "static_roles": roles},
    }
    keys = {"path": f"{tag}-transit", "type": "transit", "transit_keys": [{"name": f"{MEMBER}.{ALICE}"}]}
    engines.twice(wanted, keys)
    wire(site, tag, f"{tag}-transit")
    for namespace in (ALICE, BOB):
        site.make_namespace(MEMBER, namespace)
        site.stores(MEMBER, namespace, store="openbao-database", kv_mount=tag, kv_version="v1")
        want(site, namespace, "database", f"{MEMBER}.{namespace}.app")
    want(site, ALICE, "theirs", f"{MEMBER}.{BOB}.app")

    for namespace, user in users.items():
        site.until("the password", lambda namespace=namespace: bool(login(site, namespace, "database")[1]))  # type: ignore[misc]
        assert login(site, namespace, "database")[0] == user
        assert engines.lab.postgres.can_log_in(*login(site, namespace, "database"))
    first = login(site, ALICE, "database")
    neighbours = login(site, BOB, "database")

    # Alice's password may have been seen: rotate it now
    now = engines.sql(
        "SELECT to_char(now() AT TIME ZONE 'UTC' + interval '1 second', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    )
    engines.sql("SELECT pg_sleep(1.2)")
    roles[0]["rotated_after"] = now.strip()
    done = engines.twice(wanted, keys)
    assert [c["name"] for c in done["changes"]] == [f"{tag}/{MEMBER}.{ALICE}.app"]
    assert not engines.lab.postgres.can_log_in(*first)
    site.until("the new password", lambda: login(site, ALICE, "database") != first)
    second = login(site, ALICE, "database")
    assert second[0] == first[0]
    assert engines.lab.postgres.can_log_in(*second)
    # the neighbour's is as it was, and stays refused to Alice
    assert login(site, BOB, "database") == neighbours
    assert engines.lab.postgres.can_log_in(*neighbours)
    site.until("the refusal", lambda: site.ready(MEMBER, ALICE, "theirs") == "False")
    assert site.secret(MEMBER, ALICE, "theirs") == {}

    # the same by the tenant's own login: read its own, 403 for the neighbour's, and its own key only
    token = pod_login(site, ALICE)
    ask = site.lab.openbao_server(str(site.lab.openbao_active())).request
    assert ask("GET", f"/v1/{tag}/static-creds/{MEMBER}.{ALICE}.app", token=token).body["data"]["password"] == second[1]
    for method, path in (
        ("GET", f"{tag}/static-creds/{MEMBER}.{BOB}.app"),
        ("GET", f"{tag}/static-roles/{MEMBER}.{ALICE}.app"),
        ("GET", f"{tag}/config/main"),
        ("PUT", f"{tag}-transit/encrypt/{MEMBER}.{BOB}"),
    ):
        assert ask(method, f"/v1/{path}", {"plaintext": "YQ=="} if method == "PUT" else None, token=token).status == 403
    sealed = ask("PUT", f"/v1/{tag}-transit/encrypt/{MEMBER}.{ALICE}", {"plaintext": "YQ=="}, token=token)
    assert sealed.body["data"]["ciphertext"].startswith("vault:v1:")


def pod_login(site: EsoSite, namespace: str) -> str:
    """Log in to OpenBao as the ServiceAccount eso of a namespace and return the token."""
    request = {"spec": {"audiences": [f"openbao-{MEMBER}"], "expirationSeconds": 600}}
    minted = site.kube(MEMBER, "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/eso/token", request)
    body = {"role": "tenant", "jwt": minted["status"]["token"]}
    return str(site.bao("POST", f"auth/kubernetes-{MEMBER}/login", body)[1]["auth"]["client_token"])
