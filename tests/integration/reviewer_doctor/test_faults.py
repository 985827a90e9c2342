# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each fault on real servers, and the one answer that the doctor gives to it."""

from __future__ import annotations

import contextlib
import json
import time
import typing as t

import pytest

from tests.integration.reviewer_doctor.conftest import (
    WHERE,
    Patient,
    Proxied,
    resigned,
    rfc3339,
    shifted,
)
from tests.integration.reviewers.conftest import ReviewerSite

DAY = 86400


def test_healthy(patient: Patient) -> None:
    one = patient.look()
    assert one["healthy"], one["broken"]
    assert [hop["status"] for hop in one["hops"]] == ["ok"] * 16
    assert one["client"] == f"{patient.namespace}/openbao-canary"
    reviewer = one["reviewer"]
    assert reviewer["secret"].startswith("openbao-reviewer-")
    assert reviewer["expires_at"] == patient.site.evidence(patient.tag)["expires"]
    assert 29 * DAY < reviewer["seconds_left"] <= 30 * DAY


# -- the way to the API server -----------------------------------------------------------------------------------------


def test_api_server_refuses_connections(proxied: Proxied) -> None:
    proxied.proxy.refuse()
    one = proxied.patient.look()
    assert one["broken"]["cause"] == "tcp-refused"
    proxied.proxy.accept()
    assert proxied.patient.cause() == ""


def test_api_server_accepts_and_says_nothing(patient: Patient) -> None:
    patient.lab.pause(f"{WHERE}-apiserver")
    try:
        started = time.monotonic()
        one = patient.look()
        assert time.monotonic() - started < 5
    finally:
        patient.lab.resume(f"{WHERE}-apiserver")
    assert (one["broken"]["hop"], one["broken"]["cause"]) == ("tls", "tls-silent")
    assert patient.cause() == ""


def test_name_that_does_not_resolve(patient: Patient) -> None:
    assert patient.cause(patient.entry(api_server="https://api.nowhere.invalid:6443")) == "name"


def test_address_that_the_certificate_does_not_name(patient: Patient) -> None:
    port = patient.lab.clusters[WHERE].api_server.rsplit(":", 1)[1]
    one = patient.look(patient.entry(api_server=f"https://127.0.0.2:{port}"))
    # the API server listens on 127.0.0.1 alone
    assert one["broken"]["cause"] == "tcp-refused"
    openbao = patient.lab.openbao_nodes[0]
    told = patient.look(patient.entry(api_server=openbao.address, ca_cert=str(patient.lab.openbao_ca)))
    assert told["broken"]["cause"] == "tls-name"
    assert openbao.tls_server_name in told["broken"]["reason"]


def test_port_that_is_not_https(patient: Patient) -> None:
    port = patient.lab.describe()  # etcd speaks plain http in the lab
    assert port
    etcd = json.loads((patient.lab.state / "ports.json").read_text())
    number = next(v for k, v in _flat(etcd) if k == f"{WHERE}.etcd")
    assert patient.cause(patient.entry(api_server=f"https://127.0.0.1:{number}")) in ("tls", "tls-cut")


def _flat(value: t.Any) -> t.Iterator[tuple[str, t.Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner)
        yield key, inner


def test_wrong_ca(patient: Patient) -> None:
    one = patient.look(patient.entry(ca_cert=str(patient.lab.wrong_ca)))
    assert one["broken"]["cause"] == "tls-ca"
    assert "kubeconfig's CA fits" in one["broken"]["reason"]
    assert f"lab {WHERE}" in one["broken"]["reason"], "who signed the certificate that is there"


def test_wrong_ca_in_openbao(patient: Patient) -> None:
    body = {**patient.config(), "kubernetes_ca_cert": patient.lab.wrong_ca.read_text()}
    patient.site.bao("POST", f"auth/{patient.mount}/config", {**body, "token_reviewer_jwt": patient.reviewer_token()})
    # logins may work on as long as OpenBao has an open connection; the doctor doesn't wait for that
    assert patient.cause() == "config-ca"
    patient.wire()
    assert patient.cause() == ""


# -- the cluster -------------------------------------------------------------------------------------------------------


def test_expired_reviewer(patient: Patient) -> None:
    ended = int(time.time()) - 3600
    token = resigned(patient.lab, patient.reviewer_token(), iat=ended - 7200, nbf=ended - 7200, exp=ended)
    patient.site.bao("POST", f"auth/{patient.mount}/config", {**patient.config(), "token_reviewer_jwt": token})
    patient.annotate(issued=rfc3339(ended - 7200), expires=rfc3339(ended))
    assert patient.login_status() == 403
    one = patient.look()
    assert one["broken"]["cause"] == "token-expired"
    assert rfc3339(ended) in one["broken"]["reason"]
    assert -3700 < one["reviewer"]["seconds_left"] < -3590
    patient.wire()
    assert patient.cause() == ""


def test_revoked_reviewer(patient: Patient) -> None:
    (secret,) = patient.site.bound(patient.tag)
    patient.site.kube("DELETE", f"/api/v1/namespaces/{patient.namespace}/secrets/{secret['metadata']['name']}")
    # the API server keeps a verdict for some seconds
    patient.site.until("the token to be refused", lambda: patient.login_status() == 403, 40)
    assert patient.cause() == "token-revoked"
    patient.wire()
    assert patient.cause() == ""


def test_reviewer_deleted_and_made_again(patient: Patient) -> None:
    path = f"/api/v1/namespaces/{patient.namespace}/serviceaccounts"
    patient.site.kube("DELETE", f"{path}/openbao-reviewer")
    assert patient.cause() == "token-account"
    patient.site.kube("POST", path, {"metadata": {"name": "openbao-reviewer"}})
    assert patient.cause() == "token-account-recreated"


def test_rbac_taken_away(patient: Patient) -> None:
    binding = f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{patient.tag}-reviewer"
    assert patient.site.kube("GET", binding) is not None
    patient.site.kube("DELETE", binding)
    patient.site.until("the right to be gone", lambda: patient.login_status() == 403)
    one = patient.look()
    assert (one["broken"]["hop"], one["broken"]["cause"]) == ("rbac", "rbac")
    patient.wire()
    assert patient.cause() == ""


def test_clock_skew(proxied: Proxied) -> None:
    lab = proxied.patient.lab
    proxied.proxy.date(600)
    proxied.proxy.change(shifted(lab, 600), None, method="POST", path="/token$")
    one = proxied.patient.look()
    assert one["broken"]["cause"] == "clock"
    assert "ahead of" in one["broken"]["reason"]
    proxied.proxy.clear_rules()
    assert proxied.patient.cause() == ""


def test_clock_of_one_control_plane_node(proxied: Proxied) -> None:
    """Only the tokens come from a node with another clock; answers come from one that is right."""
    proxied.proxy.change(shifted(proxied.patient.lab, -3 * 3600), None, method="POST", path="/token$")
    one = proxied.patient.look()
    assert one["broken"]["cause"] == "clock"
    assert "behind" in one["broken"]["reason"]


def test_a_clock_that_harms_nothing_is_a_doubt(proxied: Proxied) -> None:
    proxied.proxy.date(-300)
    one = proxied.patient.look()
    assert one["healthy"]
    assert "behind" in one["doubts"][0]


def test_changed_issuer(patient: Patient) -> None:
    patient.lab.set_issuer(WHERE, "https://renamed.lab.internal:6443")
    try:
        assert patient.login_status() == 403
        one = patient.look()
        assert one["broken"]["cause"] == "token-issuer"
        assert "renamed.lab.internal" in one["broken"]["reason"]
        patient.wire()
        assert patient.cause() == ""
    finally:
        patient.lab.set_issuer(WHERE)


def test_tenant_that_does_not_exist(patient: Patient) -> None:
    one = patient.look(tenants=patient.tenant("4-aux-nobody"))
    assert one["broken"]["cause"] == "client-missing"
    assert "4-aux-nobody/eso" in one["broken"]["reason"]


def test_kubeconfig_that_is_not_accepted(patient: Patient, tmp_path: t.Any) -> None:
    text = patient.lab.clusters[WHERE].token_kubeconfig.read_text()
    token = patient.lab.clusters[WHERE].token_file.read_text().strip()
    file = tmp_path / "kubeconfig"
    file.write_text(text.replace(token, "not-this-one"))
    file.chmod(0o600)
    assert patient.cause(patient.entry(kubeconfig=str(file))) == "access-unauthorized"


# -- OpenBao -----------------------------------------------------------------------------------------------------------


def test_wrong_mount_path(patient: Patient) -> None:
    one = patient.look(patient.entry(mount="kubernetes-other"))
    assert one["broken"]["cause"] == "mount-missing"
    assert patient.mount in one["broken"]["reason"], "those that there are"


def test_cluster_that_was_never_wired(patient: Patient) -> None:
    entry = patient.site.entry(f"{patient.tag}-new")
    told = patient.site.call(entry, module="jwt_reviewer_info")
    assert told["clusters"][0]["broken"]["cause"] == "token-never"


def test_mount_of_another_type(patient: Patient) -> None:
    patient.site.bao("POST", f"sys/auth/jwt-{patient.tag}", {"type": "jwt"})
    assert patient.cause(patient.entry(mount=f"jwt-{patient.tag}")) == "mount-type"


def test_config_wiped_by_hand(patient: Patient) -> None:
    host = {"kubernetes_host": patient.config()["kubernetes_host"]}
    status, _body = patient.site.bao("POST", f"auth/{patient.mount}/config", host, ok=False)
    if status == 400:  # outside a pod the server wants a CA too
        body = {**host, "kubernetes_ca_cert": patient.config()["kubernetes_ca_cert"]}
        patient.site.bao("POST", f"auth/{patient.mount}/config", body)
    assert patient.login_status() >= 400
    one = patient.look()
    assert (one["broken"]["hop"], one["broken"]["cause"]) == ("config", "config-wiped")
    patient.wire()
    assert patient.cause() == ""


def test_token_erased_by_hand(patient: Patient) -> None:
    """A write with everything but the token: OpenBao says that it is gone, Vault does not."""
    patient.site.bao("POST", f"auth/{patient.mount}/config", patient.config())
    says = "token_reviewer_jwt_set" in patient.config()
    assert patient.login_status() == 403
    one = patient.look()
    assert one["broken"]["cause"] == ("config-token-missing" if says else "login-forbidden")
    if not says:
        assert "OpenBao's log" in one["broken"]["fix"]


def test_local_token_may_leak(patient: Patient) -> None:
    body = {**patient.config(), "disable_local_ca_jwt": False, "token_reviewer_jwt": patient.reviewer_token()}
    patient.site.bao("POST", f"auth/{patient.mount}/config", body)
    assert patient.login_status() == 200
    says = "token_reviewer_jwt_set" in patient.config()
    assert patient.cause() == ("config-local-token" if says else "config-wiped")


def test_openbao_asks_another_server(patient: Patient) -> None:
    body = {**patient.config(), "kubernetes_host": "https://192.0.2.9:6443"}
    patient.site.bao("POST", f"auth/{patient.mount}/config", {**body, "token_reviewer_jwt": patient.reviewer_token()})
    assert patient.cause() == "config-host"


def test_wrong_audience(patient: Patient) -> None:
    one = patient.look(patient.entry(audience="somebody-else"))
    assert one["broken"]["cause"] == "role-audience"
    role = patient.site.data(f"auth/{patient.mount}/role/canary")
    assert role
    patient.site.bao("POST", f"auth/{patient.mount}/role/canary", {**role, "audience": "vault"})
    assert patient.login_status() == 403
    assert patient.cause() == "role-audience"
    patient.wire()
    assert patient.cause() == ""


def test_wrong_service_account_or_namespace(patient: Patient) -> None:
    access = {"namespaces": ["4-aux-*"]}
    patient.wire(access=access)
    entry = patient.entry(access=access)
    inside, outside = f"4-aux-{patient.tag}", f"3-edge-{patient.tag}"
    for namespace, account in ((inside, "eso"), (inside, "other"), (outside, "eso")):
        patient.site.make_account(namespace, account)
    assert patient.cause(entry, tenants=patient.tenant(inside)) == ""
    assert patient.cause(entry, tenants=patient.tenant(inside, "other")) == "role-service-account"
    assert patient.cause(entry, tenants=patient.tenant(outside)) == "role-namespace"
    assert patient.cause(entry, tenants=patient.tenant(inside, role="tenantt")) == "role-missing"


def test_missing_policy(patient: Patient) -> None:
    patient.site.bao("DELETE", f"sys/policies/acl/tenant-{patient.tag}")
    one = patient.look()
    assert one["broken"]["cause"] == "policy-missing"
    assert f"tenant-{patient.tag}" in one["broken"]["reason"]
    patient.wire()
    assert patient.cause() == ""


def test_wrong_kv_version(patient: Patient) -> None:
    policy = f"sys/policies/acl/tenant-{patient.tag}"
    found = patient.site.data(policy)
    assert found
    text = str(found["policy"])
    patient.site.bao("PUT", policy, {"policy": text.replace("kv/data/", "kv/")})
    one = patient.look()
    assert one["broken"]["cause"] == "policy-kv-version"
    assert "lacks data/" in one["broken"]["reason"]
    patient.site.bao("PUT", policy, {"policy": text.replace("kv/", "kv1/")})
    told = patient.look(kv_mount="kv1")
    assert told["broken"]["cause"] == "policy-kv-version"
    assert "version 1" in told["broken"]["reason"]
    patient.site.bao("PUT", policy, {"policy": text.replace("kv/data/", "kv1/")})
    assert patient.cause(kv_mount="kv1") == "", "a read on version 1 works when the path is right"
    assert patient.cause(kv_mount="kv2") == "policy-no-engine"


def test_mounted_anew_with_another_accessor(patient: Patient) -> None:
    config, role = patient.config(), patient.site.data(f"auth/{patient.mount}/role/canary")
    assert role
    patient.site.bao("DELETE", f"sys/auth/{patient.mount}")
    patient.site.bao("POST", f"sys/auth/{patient.mount}", {"type": "kubernetes"})
    body = {**config, "token_reviewer_jwt": patient.reviewer_token()}
    patient.site.bao("POST", f"auth/{patient.mount}/config", body)
    patient.site.bao("POST", f"auth/{patient.mount}/role/canary", role)
    assert patient.login_status() == 200
    assert patient.cause() == "policy-accessor"


def test_another_policy_denies(patient: Patient) -> None:
    role = patient.site.data(f"auth/{patient.mount}/role/canary")
    assert role
    path = f"kv/data/tenants/{patient.tag}/{patient.namespace}/canary"
    patient.site.bao(
        "PUT", f"sys/policies/acl/no-{patient.tag}", {"policy": f'path "{path}" {{capabilities=["deny"]}}'}
    )
    body = {**role, "token_policies": [*role["token_policies"], f"no-{patient.tag}"]}
    patient.site.bao("POST", f"auth/{patient.mount}/role/canary", body)
    assert patient.cause() == "policy-denied"


def test_policy_that_comes_from_elsewhere_is_a_doubt(patient: Patient) -> None:
    """The role's own OpenBao policies say nothing of the path; a group of the identity does."""
    policy = f"sys/policies/acl/tenant-{patient.tag}"
    found = patient.site.data(policy)
    assert found
    patient.site.login(
        patient.mount, "canary", patient.site.token(patient.namespace, "openbao-canary", f"openbao-{patient.tag}")
    )
    accessor = (patient.site.mount(patient.mount) or {})["accessor"]
    aliases = patient.site.keys("identity/entity-alias/id")
    mine = [a for a in (patient.site.data(f"identity/entity-alias/id/{i}") for i in aliases) if a]
    entity = next(a["canonical_id"] for a in mine if a["mount_accessor"] == accessor)
    patient.site.bao("PUT", f"sys/policies/acl/group-{patient.tag}", {"policy": str(found["policy"])})
    group = {"name": f"group-{patient.tag}", "policies": [f"group-{patient.tag}"], "member_entity_ids": [entity]}
    patient.site.bao("POST", "identity/group", group)
    patient.site.bao("PUT", policy, {"policy": 'path "auth/token/lookup-self" { capabilities = ["read"] }'})
    one = patient.look()
    assert one["healthy"], one["broken"]
    assert "no path" in one["doubts"][0]


# -- what only OpenBao sees --------------------------------------------------------------------------------------------


def test_openbao_cannot_reach_what_the_controller_reaches(proxied: Proxied) -> None:
    """The first TokenReview is the doctor's own; those of OpenBao are cut."""
    proxied.proxy.cut("before", None, method="POST", path="/tokenreviews$", skip=1)
    one = proxied.patient.look()
    assert (one["broken"]["hop"], one["broken"]["cause"]) == ("login", "login-forbidden")
    assert "as seen from the controller" in one["broken"]["reason"]
    assert "OpenBao's log" in one["broken"]["fix"]


def test_openbao_waits_for_the_api_server(proxied: Proxied) -> None:
    proxied.proxy.delay(6, None, method="POST", path="/tokenreviews$", skip=1)
    started = time.monotonic()
    one = proxied.patient.look()
    assert time.monotonic() - started < 5
    assert one["broken"]["cause"] == "login-timeout"
    assert "egress" in one["broken"]["fix"]


def test_everything_slow(proxied: Proxied) -> None:
    proxied.proxy.delay(1.5, None)
    started = time.monotonic()
    one = proxied.patient.look()
    assert time.monotonic() - started < 5.5
    assert one["broken"]["cause"].endswith("-late"), one["broken"]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"url": "https://127.0.0.1:1"}, "openbao-refused"),
        ({"token": "s.nobody"}, "openbao-forbidden"),
        ({"tls_server_name": "elsewhere.example"}, "openbao-tls-name"),
        (
            {"auth_method": "userpass", "token": None, "username": "nobody", "password": "nothing-at-all-1"},
            "openbao-login",
        ),
    ],
)
def test_openbao_itself(patient: Patient, changes: dict[str, t.Any], cause: str) -> None:
    openbao = {k: v for k, v in patient.site.openbao(**changes).items() if v is not None}
    assert patient.cause(openbao=openbao) == cause


def test_openbao_sealed(patient: Patient) -> None:
    node = next(n for n in patient.lab.openbao_nodes if n.name != patient.site.active)
    patient.lab.restart(node.name)
    try:
        openbao = patient.site.openbao(url=node.address, tls_server_name=node.tls_server_name)
        one = patient.look(openbao=openbao)
    finally:
        patient.lab.unseal(node.name)
    assert one["broken"]["cause"] == "openbao-sealed"
    assert "unseal" in one["broken"]["fix"]


# -- without callback --------------------------------------------------------------------------------------------------


def test_public_keys(patient: Patient) -> None:
    tag = f"{patient.tag}p"
    other = Patient(patient.site, tag, {"mode": "jwt_pubkeys"})
    other.wire()
    one = other.look()
    assert one["healthy"], one["broken"]
    assert "tls" not in {hop["hop"] for hop in one["hops"]}
    assert one["reviewer"] is None
    patient.lab.set_issuer(WHERE, "https://renamed.lab.internal:6443")
    try:
        assert other.cause() == "config-issuer"
    finally:
        patient.lab.set_issuer(WHERE)
    other.site.make_account(f"4-aux-{tag}", "other")
    assert other.cause(tenants=other.tenant(f"4-aux-{tag}", "other")) == "role-service-account"
    config = other.config()
    body = {**config, "jwt_validation_pubkeys": [_strange_key()]}
    other.site.bao("POST", f"auth/{other.mount}/config", body)
    assert other.cause() == "config-keys"


def _strange_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("mode", ["long_lived", "client_jwt"])
def test_older_modes(site: ReviewerSite, mode: str) -> None:
    old = Patient(site, f"old-{mode.replace('_', '-')}", {"mode": mode, "access": {"namespaces": ["4-aux-old"]}})
    old.wire()
    one = old.look()
    assert one["healthy"], one["broken"]
    skipped = [hop["hop"] for hop in one["hops"] if hop["status"] == "skipped"]
    assert skipped == ([] if mode == "long_lived" else ["token"])
    bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    mine = [b["metadata"]["name"] for b in site.kube("GET", bindings)["items"] if old.tag in str(b)]
    assert mine
    for name in mine:
        site.kube("DELETE", f"{bindings}/{name}")
    site.until("the right to be gone", lambda: old.cause() == "rbac")


# -- last, as it changes the cluster for good --------------------------------------------------------------------------


def test_z_rotated_ca(patient: Patient) -> None:
    before = patient.lab.rotate_ca(WHERE)
    one = patient.look()
    assert one["broken"]["cause"] == "config-ca-rotated", "kubeconfig is new, OpenBao has the old one"
    told = patient.look(patient.entry(ca_cert=str(before)))
    assert told["broken"]["cause"] == "tls-ca-rotated", "the inventory has the old one too"
    with contextlib.suppress(AssertionError):
        patient.wire()
    patient.site.until("the new CA to be used", lambda: patient.login_status() == 200, 60)
    assert patient.cause() == ""
