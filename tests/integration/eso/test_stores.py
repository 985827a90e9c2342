# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores that eso_stores renders, used by the real controller of External Secrets against OpenBao."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest

from .conftest import EsoSite


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def login_audiences(site: EsoSite, cluster: str, namespace: str) -> list[object]:
    """Return what TokenRequests for the ServiceAccount eso of a namespace were answered, out of the audit log."""
    found: list[object] = []
    for line in site.lab.clusters[cluster].audit_log.read_text().splitlines():
        event = json.loads(line)
        if event["requestURI"].startswith(f"/api/v1/namespaces/{namespace}/serviceaccounts/eso/token"):
            found.append((event["user"]["username"], event["responseStatus"]["code"]))
    return found


def test_an_external_secret_becomes_a_secret_and_the_neighbours_stays_refused(site: EsoSite, tenant: str) -> None:
    other = f"{tenant}-other"
    for namespace in (tenant, other):
        site.make_namespace("member-prod", namespace)
        site.write_secret("member-prod", namespace, password=f"of {namespace}")
    assert site.stores("member-prod", tenant)["changed"]
    site.want("member-prod", tenant)
    site.want("member-prod", tenant, "theirs", key=f"tenants/member-prod/{other}/db")
    site.until("the secret", lambda: site.secret("member-prod", tenant) == {"password": b64(f"of {tenant}")})
    assert site.ready("member-prod", tenant) == "True"
    site.until("the refusal", lambda: site.ready("member-prod", tenant, "theirs") == "False")
    assert site.secret("member-prod", tenant, "theirs") == {}
    assert ("system:serviceaccount:external-secrets:external-secrets", 201) in login_audiences(
        site, "member-prod", tenant
    )

    result = site.sync("member-prod", namespaces=[tenant], wait_timeout=3)
    assert result["changed"]
    (cluster,) = result["clusters"]
    assert (cluster["state"], cluster["nudged"], cluster["stores"]) == ("not_ready", 1, 0)
    assert [(one["name"], one["cause"]) for one in cluster["not_ready"]] == [
        (f"{tenant}/theirs", f"OpenBao answers 403 to GET /v1/kv/data/tenants/member-prod/{other}/db")
    ]
    assert result["unchanged"] == 1
    assert "force-sync" not in site.annotations("member-prod", tenant)
    assert site.secret("member-prod", tenant, "theirs") == {}


def test_applied_again_nothing_changes_and_a_changed_role_is_seen(site: EsoSite, tenant: str) -> None:
    site.make_namespace("core-infra", tenant)
    assert {change["kind"] for change in site.stores("core-infra", tenant)["changes"]} >= {
        "ServiceAccount",
        "SecretStore",
    }
    site.until("the store", lambda: site.ready("core-infra", tenant, "openbao", "secretstores") == "True")
    assert not site.stores("core-infra", tenant)["changed"]
    changed = site.stores("core-infra", {"namespace": tenant, "role": "other"}, inventory=f"stores-{tenant}-namespace")
    assert [change["kind"] for change in changed["changes"]] == ["SecretStore"]
    site.until("the refusal", lambda: site.ready("core-infra", tenant, "openbao", "secretstores") == "False")


def test_one_store_for_the_cluster_reads_as_the_namespace_that_asks(site: EsoSite, tenant: str) -> None:
    mine, theirs, outside = f"{tenant}-a", f"{tenant}-b", f"{tenant}-c"
    for namespace in (mine, theirs, outside):
        site.make_namespace("member-prod", namespace, **({} if namespace == outside else {"tenancy": tenant}))
        site.write_secret("member-prod", namespace, word=namespace)
    store = f"openbao-{tenant}"
    site.stores(
        "member-prod",
        mine,
        theirs,
        outside,
        scope="cluster",
        store=store,
        conditions={"labels": {"tenancy": tenant}},
    )
    reference: dict[str, t.Any] = {"secretStoreRef": {"kind": "ClusterSecretStore", "name": store}}
    for namespace in (mine, theirs, outside):
        site.want("member-prod", namespace, **reference)
    site.want("member-prod", mine, "theirs", key=f"tenants/member-prod/{theirs}/db", **reference)
    for namespace in (mine, theirs):
        site.until(f"{namespace}'s secret", lambda n=namespace: site.secret("member-prod", n) == {"word": b64(n)})  # type: ignore[misc]
    site.until("the refusal", lambda: site.ready("member-prod", mine, "theirs") == "False")
    site.until("the condition", lambda: site.ready("member-prod", outside) == "False")
    assert site.secret("member-prod", mine, "theirs") == {}
    assert site.secret("member-prod", outside) == {}


#: What External Secrets needs besides the path: a store is Ready only if its token can look at itself.
LOOKUP = """
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
"""


def test_the_login_jwt_asks_for_one_audience_only(site: EsoSite, tenant: str) -> None:
    """Against a mount of the type jwt with the cluster's public key, as the mode jwt_pubkeys configures it."""
    cluster = site.lab.clusters["member-prod"]
    mount = f"jwt-{tenant}"
    site.bao("POST", f"sys/auth/{mount}", {"type": "jwt"})
    keys = [cluster.signing_key.read_text()]
    site.bao("POST", f"auth/{mount}/config", {"jwt_validation_pubkeys": keys, "bound_issuer": cluster.issuer})
    path = f'path "kv/data/{tenant}" {{ capabilities = ["read"] }}'
    site.bao("PUT", f"sys/policies/acl/{mount}", {"policy": LOOKUP + path})
    for name, audience in (("tenant", mount), ("default-audience", "vault")):
        role = {
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": [audience],
            "bound_subject": f"system:serviceaccount:{tenant}:eso",
            "token_policies": [mount],
            "token_no_default_policy": True,
            "token_ttl": "10m",
        }
        site.bao("POST", f"auth/{mount}/role/{name}", role)
    site.bao("POST", f"kv/data/{tenant}", {"data": {"word": "jwt"}})
    site.make_namespace("member-prod", tenant)
    login = {"auth": "jwt", "mount": mount, "audience": mount}
    site.stores("member-prod", tenant, **login)
    assert not site.stores("member-prod", tenant, **login)["changed"]
    other = {"role": "default-audience", "store": "vault", "make_service_accounts": False}
    site.stores("member-prod", tenant, **login, **other, inventory=f"vault-{tenant}")
    site.want("member-prod", tenant, key=tenant)
    site.until("the secret", lambda: site.secret("member-prod", tenant) == {"word": b64("jwt")})
    site.until("the refusal", lambda: site.ready("member-prod", tenant, "vault", "secretstores") == "False")


@pytest.mark.eso_openbao
def test_the_provider_openbao_reads_what_the_provider_vault_reads(site: EsoSite, tenant: str) -> None:
    site.make_namespace("member-prod", tenant)
    site.write_secret("member-prod", tenant, word="by openbao")
    provider = {"provider": "openbao", "version": "2.10.0"}
    site.stores("member-prod", tenant, **provider)
    assert not site.stores("member-prod", tenant, **provider)["changed"]
    site.want("member-prod", tenant)
    site.want("member-prod", tenant, "theirs", key="tenants/member-prod/4-aux-nobody/db")
    site.until("the secret", lambda: site.secret("member-prod", tenant) == {"word": b64("by openbao")})
    site.until("the refusal", lambda: site.ready("member-prod", tenant, "theirs") == "False")
