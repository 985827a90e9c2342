# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wirings as guides make them are recognised, told and migrated; the older modes work when they are asked for."""

from __future__ import annotations

import base64
import typing as t

import pytest

from tests.integration.reviewers.conftest import Proxies, ReviewerSite

from .conftest import Tenant
from .test_moves import kill_at

RBAC = "/apis/rbac.authorization.k8s.io/v1"
#: The reviewer of a guide.
GUIDE = "vault-auth"


def delegate(site: ReviewerSite, name: str, *subjects: tuple[str, str]) -> None:
    """Bind ServiceAccounts (namespace, name) to system:auth-delegator, as guides do."""
    body = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "namespace": ns, "name": account} for ns, account in subjects],
    }
    site.kube("POST", f"{RBAC}/clusterrolebindings", body)


def subjects(site: ReviewerSite, name: str) -> list[tuple[str, str]] | None:
    binding = site.kube("GET", f"{RBAC}/clusterrolebindings/{name}")
    return None if binding is None else [(s["namespace"], s["name"]) for s in binding.get("subjects") or ()]


def foreign_mount(tenant: Tenant, token: str | None) -> None:
    """A mount as somebody has made it by hand, with a role of the same name."""
    site, cluster = tenant.site, tenant.site.lab.clusters["member-prod"]
    site.bao("POST", f"sys/auth/{tenant.mount}", {"type": "kubernetes", "description": "made by hand"})
    config: dict[str, t.Any] = {
        "kubernetes_host": cluster.api_server,
        "kubernetes_ca_cert": cluster.ca_file.read_text(),
        "disable_local_ca_jwt": True,
        "disable_iss_validation": True,
    }
    site.bao("POST", f"auth/{tenant.mount}/config", config | ({"token_reviewer_jwt": token} if token else {}))
    role = {"bound_service_account_names": ["eso"], "bound_service_account_namespaces": ["*"]}
    site.bao("POST", f"auth/{tenant.mount}/role/tenant", {**role, "audience": f"openbao-{tenant.tag}"})


def never_expiring(site: ReviewerSite, namespace: str, account: str) -> str:
    """Make a Secret with a token that never expires; return the token."""
    name = f"{account}-token"
    body = {
        "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": account}},
        "type": "kubernetes.io/service-account-token",
    }
    site.kube("POST", f"/api/v1/namespaces/{namespace}/secrets", body)
    path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
    site.until("the token", lambda: bool((site.kube("GET", path).get("data") or {}).get("token")))
    return base64.b64decode(site.kube("GET", path)["data"]["token"]).decode()


@pytest.mark.parametrize(
    ("mode", "declared"),
    [("token_request", True), ("jwt_pubkeys", True), ("token_request", False)],
    ids=["token_request", "jwt_pubkeys", "reviewer-of-another-name"],
)
def test_a_wiring_with_a_token_that_never_expires(tenant: Tenant, mode: str, declared: bool) -> None:
    site, namespace = tenant.site, f"{tenant.tag}-guide"
    site.make_account(namespace, GUIDE)
    site.make_account(f"{tenant.tag}-other", "metrics-server")
    delegate(site, f"{tenant.tag}-guide", (namespace, GUIDE), (f"{tenant.tag}-other", "metrics-server"))
    token = never_expiring(site, namespace, GUIDE)
    strange = never_expiring(site, f"{tenant.tag}-other", "metrics-server")
    foreign_mount(tenant, token)
    assert tenant.login()[0] == 200
    before = site.data("sys/auth")
    entry = tenant.entry(mode, **({"namespace": namespace, "service_account": GUIDE} if declared else {}))
    refused = site.refused("foreign", entry)
    assert "mode long_lived" in refused["msg"]
    assert site.data("sys/auth") == before
    planned = site.apply(entry, adopt=True, check=True)
    assert site.data("sys/auth") == before
    done = site.apply(entry, adopt=True)
    assert done["changes"] == planned["changes"]
    assert not any(one in str((refused, planned, done)) for one in (token, strange))
    tenant.works()
    # the declared reviewer's token is revoked; tokens that others may work by are told, and left alone
    there = site.kube("GET", f"/api/v1/namespaces/{namespace}/secrets/{GUIDE}-token")
    assert (there is None) == declared
    assert site.kube("GET", f"/api/v1/namespaces/{tenant.tag}-other/secrets/metrics-server-token") is not None
    (told,) = [w for w in done["warnings"] if "perhaps this mount's" in w]
    assert f"{tenant.tag}-other/metrics-server-token" in told
    assert (f"{namespace}/{GUIDE}-token" in told) != declared
    assert (namespace, GUIDE) in (subjects(site, f"{tenant.tag}-guide") or ())
    assert list(tenant.mounts) == [tenant.mount]
    assert not site.apply(entry)["changed"]


def test_an_adoption_killed_between_the_two_renamings_is_finished(tenant: Tenant, proxies: Proxies) -> None:
    site, namespace = tenant.site, f"{tenant.tag}-guide"
    site.make_account(namespace, GUIDE)
    delegate(site, f"{tenant.tag}-guide", (namespace, GUIDE))
    foreign_mount(tenant, never_expiring(site, namespace, GUIDE))
    entry = tenant.entry("jwt_pubkeys", namespace=namespace, service_account=GUIDE)
    kill_at(site, proxies, entry, "old-put-aside", adopt=True)
    site.until("the move in the background", lambda: f"{tenant.mount}.old" in tenant.mounts)
    site.refused("foreign", entry)
    site.apply(entry, adopt=True)
    tenant.works()
    assert tenant.mounts == {tenant.mount: "jwt"}
    assert site.kube("GET", f"/api/v1/namespaces/{namespace}/secrets/{GUIDE}-token") is None
    assert not site.apply(entry)["changed"]


@pytest.mark.parametrize("mode", ["token_request", "jwt_pubkeys"])
def test_a_wiring_in_which_tenants_review_their_own_tokens(tenant: Tenant, mode: str) -> None:
    site, name = tenant.site, f"{tenant.tag}-tenants"
    delegate(site, name, (tenant.home, "eso"))
    delegate(site, f"{name}-mixed", (tenant.home, "eso"), ("monitoring", "prometheus"))
    foreign_mount(tenant, None)
    audience = site.lab.clusters["member-prod"].audience
    assert tenant.login(tenant.jwt(audience))[0] == 200
    refused = site.refused("foreign", tenant.entry(mode))
    assert "mode client_jwt" in refused["msg"]
    site.apply(tenant.entry(mode), adopt=True)
    tenant.works()
    assert subjects(site, name) == []
    assert subjects(site, f"{name}-mixed") == [("monitoring", "prometheus")]
    assert not site.apply(tenant.entry(mode))["changed"]


def test_without_a_proof_nothing_of_the_old_wiring_is_taken_away(tenant: Tenant) -> None:
    site, namespace = tenant.site, f"{tenant.tag}-guide"
    site.make_account(namespace, GUIDE)
    delegate(site, f"{tenant.tag}-guide", (namespace, GUIDE))
    foreign_mount(tenant, never_expiring(site, namespace, GUIDE))
    entry = tenant.entry("jwt_pubkeys", namespace=namespace, service_account=GUIDE)
    result = site.call({**entry, "issuer": "https://192.0.2.99:6443"}, adopt=True)
    assert "verify-login" in result["msg"]
    assert site.kube("GET", f"/api/v1/namespaces/{namespace}/secrets/{GUIDE}-token") is not None
    assert tenant.login()[0] == 200
    # the next run still knows what it was about
    site.refused("foreign", entry)
    site.apply(entry, adopt=True)
    assert site.kube("GET", f"/api/v1/namespaces/{namespace}/secrets/{GUIDE}-token") is None
    tenant.works()
    assert not site.apply(entry)["changed"]


def test_the_mode_long_lived_warns_and_repairs_itself(tenant: Tenant) -> None:
    site = tenant.site
    done = site.apply(tenant.entry("long_lived"))
    assert "never expires" in str(done["warnings"])
    tenant.works()
    path = f"/api/v1/namespaces/{tenant.tag}-auth/secrets/openbao-reviewer-{tenant.tag}-token"
    token = base64.b64decode(site.kube("GET", path)["data"]["token"]).decode()
    assert token not in str(done)
    assert not site.apply(tenant.entry("long_lived"))["changed"]
    site.kube("DELETE", path)
    # an API server remembers for ten seconds that a token was good
    site.until("the refusal", lambda: tenant.login()[0] == 403)
    site.apply(tenant.entry("long_lived"))
    tenant.works()
    assert not site.apply(tenant.entry("long_lived"))["changed"]


def test_the_mode_client_jwt_warns_and_wants_both_audiences(tenant: Tenant) -> None:
    site, audience = tenant.site, tenant.site.lab.clusters["member-prod"].audience
    done = site.apply(tenant.entry("client_jwt"))
    assert "good at the API server too" in str(done["warnings"])
    assert done["clusters"][0]["verified"] is True
    tenant.works(audience)
    assert tenant.login(tenant.jwt())[0] == 403
    assert tenant.login(site.token(tenant.home, "eso", audience))[0] == 403
    wanted = [(f"{tenant.tag}-auth", "openbao-canary"), (tenant.home, "eso")]
    assert sorted(subjects(site, f"{tenant.tag}-reviewer-tenants") or ()) == sorted(wanted)
    assert not site.apply(tenant.entry("client_jwt"))["changed"]
    # the API server takes no review from a tenant that is not bound any more
    access = {"namespaces": [tenant.other]}
    site.apply(tenant.entry("client_jwt", access=access))
    assert (tenant.home, "eso") not in (subjects(site, f"{tenant.tag}-reviewer-tenants") or ())


def test_what_the_modes_cannot_do_is_said_before_anything_is_written(tenant: Tenant) -> None:
    site = tenant.site
    site.refused("client-jwt-names", tenant.entry("client_jwt", access={"namespaces": ["4-aux-*"]}))
    site.refused(
        "selector-without-review", tenant.entry("jwt_pubkeys", access={"namespace_selector": {"tenancy": "true"}})
    )
    assert tenant.mounts == {}
