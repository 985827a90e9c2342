# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mode jwt_pubkeys: OpenBao checks tokens by the cluster's public keys, also while the signing key changes."""

from __future__ import annotations

import base64
import json
import time
import typing as t

import pytest
import requests
from ansible_collections.hackspace.infra.plugins.filter.jwks_to_pem import jwks_to_pem
from ansible_collections.hackspace.infra.plugins.filter.jwt_claims import jwt_claims
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.integration.reviewers.conftest import DOMAIN, Proxies, ReviewerSite

from .conftest import Tenant

MODE = "jwt_pubkeys"


def published(site: ReviewerSite) -> list[str]:
    """What the API server publishes now, in PEM."""
    cluster = site.lab.clusters["member-prod"]
    answer = requests.get(
        f"{cluster.api_server}/openid/v1/jwks",
        headers={"Authorization": f"Bearer {cluster.token_file.read_text()}"},
        verify=str(cluster.ca_file),
        timeout=10,
    )
    assert answer.status_code == 200
    return [str(pem).strip() for pem in jwks_to_pem(answer.text)]


def trusted(tenant: Tenant) -> list[str]:
    config = tenant.site.data(f"auth/{tenant.mount}/config")
    assert config
    return [str(pem).strip() for pem in config["jwt_validation_pubkeys"]]


def evidence(tenant: Tenant) -> dict[str, str]:
    path = f"/api/v1/namespaces/{tenant.tag}-auth/secrets/openbao-reviewer-{tenant.tag}-keys"
    secret = tenant.site.kube("GET", path)
    assert not secret.get("data")
    return dict(secret["metadata"]["annotations"])


def forged(tenant: Tenant, key: rsa.RSAPrivateKey) -> str:
    """A token of the tenant that somebody signed with a key of their own."""
    header, payload, _signature = tenant.jwt().split(".")
    signed = f"{header}.{payload}".encode()
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return f"{signed.decode()}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_check_mode_writes_nothing_and_the_run_does_what_it_said(tenant: Tenant) -> None:
    site = tenant.site
    planned = site.apply(tenant.entry(MODE), check=True)
    assert planned["changed"]
    assert tenant.mounts == {}
    assert site.kube("GET", f"/api/v1/namespaces/{tenant.tag}-auth") is None
    done = site.apply(tenant.entry(MODE))
    assert done["changes"] == planned["changes"]
    assert done["clusters"][0]["verified"] is True
    assert done["clusters"][0]["reviewer"] is None
    again = site.apply(tenant.entry(MODE))
    assert (again["changed"], again["changes"]) == (False, [])
    assert again["requests"] <= 12


def test_a_tenant_logs_in_without_a_call_to_the_api_server(tenant: Tenant) -> None:
    site = tenant.site
    site.apply(tenant.entry(MODE))
    jwt = tenant.jwt()
    site.lab.pause("member-prod-apiserver")
    try:
        status, auth = tenant.login(jwt)
        assert status == 200, auth
        claims = jwt_claims(jwt)
        assert auth["metadata"] == {
            "role": "tenant",
            "service_account_name": "eso",
            "service_account_namespace": tenant.home,
            "service_account_uid": claims["service_account_uid"],
        }
        assert tenant.read(auth["client_token"]) == 200
        assert tenant.read(auth["client_token"], tenant.other) == 403
    finally:
        site.lab.resume("member-prod-apiserver")
    # nothing that could review tokens is left downstream
    assert site.kube("GET", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{tenant.tag}-reviewer") is None
    assert site.kube("GET", f"/api/v1/namespaces/{tenant.tag}-auth/serviceaccounts/openbao-reviewer") is None


def test_what_is_refused_and_why(tenant: Tenant) -> None:
    site = tenant.site
    access = {"namespaces": [tenant.home, f"{tenant.tag}-c*"]}
    site.apply(tenant.entry(MODE, access=access))
    site.make_account(tenant.home, "other")
    site.make_account(tenant.other)
    site.make_account(f"{tenant.tag}-c1")
    path = f"{tenant.home}/serviceaccounts/eso"
    wrong_audience = site.token(tenant.home, "eso", "openbao-another")
    api_server = site.token(tenant.home, "eso", site.lab.clusters["member-prod"].audience)
    for jwt, reason in (
        (wrong_audience, "aud"),
        (api_server, "aud"),
        (tenant.jwt(account="other"), "/kubernetes.io/serviceaccount/name"),
        (tenant.jwt(namespace=tenant.other), "/kubernetes.io/namespace"),
        (forged(tenant, rsa.generate_private_key(65537, 2048)), "signature"),
    ):
        status, answer = tenant.login(jwt)
        assert (status, reason in str(answer["errors"])) == (400, True), (path, answer)
    assert tenant.login(tenant.jwt(namespace=f"{tenant.tag}-c1"))[0] == 200


def test_a_stricter_role_per_tenant(tenant: Tenant) -> None:
    site = tenant.site
    per_tenant = [{"name": "alice", "namespaces": [tenant.home]}, {"name": "bob", "namespaces": [tenant.other]}]
    site.make_account(tenant.other)
    site.apply(tenant.entry(MODE, access={"per_tenant": per_tenant}))
    status, auth = tenant.login(role="tenant-alice")
    assert status == 200, auth
    assert (tenant.read(auth["client_token"]), tenant.read(auth["client_token"], tenant.other)) == (200, 403)
    assert tenant.login(role="tenant-bob")[0] == 400


def test_a_key_that_somebody_added_is_taken_away(tenant: Tenant) -> None:
    site = tenant.site
    site.apply(tenant.entry(MODE))
    key = rsa.generate_private_key(65537, 2048)
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    config = site.data(f"auth/{tenant.mount}/config")
    assert config
    body = {
        "jwt_validation_pubkeys": [*config["jwt_validation_pubkeys"], pem.decode()],
        "bound_issuer": config["bound_issuer"],
        "jwt_supported_algs": config["jwt_supported_algs"],
    }
    site.bao("POST", f"auth/{tenant.mount}/config", body)
    jwt = forged(tenant, key)
    assert tenant.login(jwt)[0] == 200
    result = site.apply(tenant.entry(MODE))
    assert [change["why"] for change in result["changes"]] == ["jwt_validation_pubkeys differs"]
    assert tenant.login(jwt)[0] == 400
    tenant.works()


@pytest.mark.parametrize("changes", [{"bound_issuer": ""}, {"default_role": "tenant"}, {"jwt_supported_algs": []}])
def test_a_config_changed_by_hand_is_put_right(tenant: Tenant, changes: dict[str, t.Any]) -> None:
    site = tenant.site
    site.apply(tenant.entry(MODE))
    config = site.data(f"auth/{tenant.mount}/config")
    assert config
    kept = {k: config[k] for k in ("jwt_validation_pubkeys", "bound_issuer", "jwt_supported_algs")}
    site.bao("POST", f"auth/{tenant.mount}/config", {**kept, **changes})
    assert site.apply(tenant.entry(MODE), check=True)["changed"]
    site.apply(tenant.entry(MODE))
    assert site.data(f"auth/{tenant.mount}/config") == config
    assert not site.apply(tenant.entry(MODE))["changed"]


def test_an_orderly_rotation_of_the_signing_key(tenant: Tenant) -> None:
    site = tenant.site
    site.apply(tenant.entry(MODE))
    old_key, old_jwt = published(site), tenant.jwt()
    site.lab.rotate_signing_key("member-prod", keep_old=True)
    new_jwt = tenant.jwt()
    assert jwt_claims(new_jwt)["key_id"] != jwt_claims(old_jwt)["key_id"]
    # OpenBao does not know the new key until it is told; the old one goes on
    assert (tenant.login(old_jwt)[0], tenant.login(new_jwt)[0]) == (200, 400)
    result = site.apply(tenant.entry(MODE))
    assert result["clusters"][0]["verified"] is True
    assert set(old_key) < set(trusted(tenant))
    assert (tenant.login(old_jwt)[0], tenant.login(new_jwt)[0]) == (200, 200)
    assert not site.apply(tenant.entry(MODE))["changed"]


def test_a_key_that_vanished_is_trusted_until_its_tokens_have_expired(tenant: Tenant) -> None:
    site = tenant.site
    site.apply(tenant.entry(MODE))
    before, old_jwt = published(site), tenant.jwt()
    site.lab.rotate_signing_key("member-prod", keep_old=False)
    after = published(site)
    assert not set(before) & set(after)
    result = site.apply(tenant.entry(MODE))
    assert set(trusted(tenant)) == {*before, *after}
    # in one process with a controller's plugins, Ansible prints warnings and does not return them
    assert "OpenBao still takes tokens signed with the key" in str(result["warnings"])
    assert (tenant.login(old_jwt)[0], tenant.login()[0]) == (200, 200)
    # nothing to do while it is kept, and nothing is forgotten
    seen = evidence(tenant)
    assert not site.apply(tenant.entry(MODE))["changed"]
    assert evidence(tenant) == seen
    kept = seen[f"{DOMAIN}/vanished-keys"].split()
    assert len(kept) == len(before)
    # a second later a second is over
    time.sleep(1.1)
    result = site.apply(tenant.entry(MODE, key_overlap="1s"))
    assert "jwt_validation_pubkeys differs" in [change["why"] for change in result["changes"]]
    assert set(trusted(tenant)) == set(after)
    assert (tenant.login(old_jwt)[0], tenant.login()[0]) == (400, 200)
    assert evidence(tenant)[f"{DOMAIN}/vanished-keys"] == ""
    assert not site.apply(tenant.entry(MODE, key_overlap="1s"))["changed"]


def test_a_stolen_key_is_dropped_at_once(tenant: Tenant) -> None:
    site = tenant.site
    site.apply(tenant.entry(MODE))
    old_jwt = tenant.jwt()
    site.lab.rotate_signing_key("member-prod", keep_old=False)
    site.apply(tenant.entry(MODE, key_overlap="0"))
    assert set(trusted(tenant)) == set(published(site))
    assert (tenant.login(old_jwt)[0], tenant.login()[0]) == (400, 200)


def test_the_issuer_is_asked_for_when_the_evidence_of_another_mode_has_an_older_one(tenant: Tenant) -> None:
    site = tenant.site
    site.apply(tenant.entry("token_request"))
    site.lab.set_issuer("member-prod", "https://kubernetes.example.org")
    try:
        site.apply(tenant.entry(MODE))
        config = site.data(f"auth/{tenant.mount}/config")
        assert config
        assert config["bound_issuer"] == "https://kubernetes.example.org"
        tenant.works()
    finally:
        site.lab.set_issuer("member-prod")


def test_a_key_set_with_a_private_key_is_refused_before_anything_is_written(tenant: Tenant, proxies: Proxies) -> None:
    site = tenant.site

    def spoil(body: bytes) -> bytes:
        document = json.loads(body)
        document["keys"][0]["d"] = "hunter2"
        return json.dumps(document).encode()

    proxies.kube["member-prod"].change(spoil, path="/openid/v1/jwks")
    address = site.lab.clusters["member-prod"].api_server
    entry = tenant.entry(MODE, kubeconfig=proxies.kubeconfig(), api_server=address)
    result = site.refused("jwk-private", entry)
    assert "hunter2" not in str(result)
    assert tenant.mounts == {}
