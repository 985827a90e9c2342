# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes behind the module's back, or with time, is found and put right; one test for each way."""

from __future__ import annotations

import datetime
import typing as t
from pathlib import Path

import pytest

from .conftest import DOMAIN, Proxies, ReviewerSite

_MERGE = "application/merge-patch+json"


def kinds(result: t.Mapping[str, t.Any]) -> set[str]:
    return {c["kind"] for c in result["changes"]}


def why(result: t.Mapping[str, t.Any], kind: str) -> str:
    return next(str(c["why"]) for c in result["changes"] if c["kind"] == kind)


def annotate(site: ReviewerSite, tag: str, **values: str) -> None:
    """Change the evidence on the bound Secret."""
    [secret] = site.bound(tag)
    body = {"metadata": {"annotations": {f"{DOMAIN}/reviewer-{k.replace('_', '-')}": v for k, v in values.items()}}}
    site.kube("PATCH", f"/api/v1/namespaces/{tag}-auth/secrets/{secret['metadata']['name']}", body, content_type=_MERGE)


def moment(seconds: float) -> str:
    when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def login_works(site: ReviewerSite, tag: str) -> bool:
    token = site.token(f"{tag}-auth", "openbao-canary", f"openbao-{tag}")
    return site.login(f"kubernetes-{tag}", "canary", token)[0] == 200


def test_token_is_renewed_below_a_third_of_its_life(site: ReviewerSite, tag: str) -> None:
    entry = site.entry(tag, token_lifetime="9h")
    site.apply(entry)
    first = site.evidence(tag)
    annotate(site, tag, issued=moment(-5.9 * 3600), expires=moment(3.1 * 3600))
    assert not site.apply(entry)["changed"]
    annotate(site, tag, issued=moment(-6.1 * 3600), expires=moment(2.9 * 3600))
    assert why(site.apply(entry, check=True), "reviewer token").endswith("s are left")
    result = site.apply(entry)
    assert kinds(result) == {"reviewer token", "bound Secret"}
    assert "wrong-cluster-refused" not in result["clusters"][0]["proved"]  # it is alone in the list
    second = site.evidence(tag)
    assert second["fingerprint"] != first["fingerprint"]
    assert second["secret-uid"] != first["secret-uid"]
    left = result["clusters"][0]["reviewer"]["seconds_left"]
    assert 9 * 3600 - 60 < left <= 9 * 3600
    assert not site.apply(entry)["changed"]


def test_expired_token(site: ReviewerSite, tag: str) -> None:
    site.apply(site.entry(tag))
    annotate(site, tag, issued=moment(-7200), expires=moment(-3600))
    assert why(site.apply(site.entry(tag)), "reviewer token") == "it has expired"


def test_old_token_is_revoked_after_the_new_one_works(site: ReviewerSite, tag: str, proxies: Proxies) -> None:
    """The old Secret goes last: after the configuration and after the logins."""
    entry = site.entry(tag, kubeconfig=proxies.kubeconfig(), api_server=site.lab.clusters["member-prod"].api_server)
    openbao = site.openbao(url=proxies.bao.address)
    site.apply(entry, openbao=openbao)
    [old] = site.bound(tag)
    path = f"/api/v1/namespaces/{tag}-auth/serviceaccounts/openbao-reviewer/token"
    bound = {"apiVersion": "v1", "kind": "Secret", "name": old["metadata"]["name"], "uid": old["metadata"]["uid"]}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": bound}}
    like_the_old = str(site.kube("POST", path, request)["status"]["token"])
    proxies.clear()
    site.apply(entry, openbao=openbao, renew_below=1.0)
    requests = sorted(
        (r for p in (proxies.bao, proxies.kube["member-prod"]) for r in p.requests()), key=lambda r: r.time
    )
    told = [f"{r.method} {r.path}" for r in requests]
    minted = told.index(f"POST {path}")
    written = told.index(f"POST /v1/auth/kubernetes-{tag}/config")
    logins = [i for i, one in enumerate(told) if one == f"POST /v1/auth/kubernetes-{tag}/login"]
    deleted = told.index(f"DELETE /api/v1/namespaces/{tag}-auth/secrets/{old['metadata']['name']}")
    assert minted < written < min(logins[-4:]) < max(logins) < deleted
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": like_the_old}}

    def revoked() -> bool:
        answer = site.kube("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
        return not answer["status"].get("authenticated")

    site.until("the token bound to the deleted Secret is revoked", revoked)


@pytest.mark.parametrize(
    "field",
    [
        {"kubernetes_host": "https://127.0.0.1:1"},
        {"disable_local_ca_jwt": False},
        {"disable_iss_validation": False},
        {"issuer": "https://elsewhere.example"},
    ],
    ids=lambda f: next(iter(f)),
)
def test_configuration_changed_by_hand(site: ReviewerSite, tag: str, field: dict[str, t.Any]) -> None:
    """Each such write erases the reviewer's token too, so a new one is minted: never is one written without it."""
    site.apply(site.entry(tag))
    config = {
        "kubernetes_host": site.lab.clusters["member-prod"].api_server,
        "kubernetes_ca_cert": site.lab.clusters["member-prod"].ca_file.read_text(),
        "disable_local_ca_jwt": True,
        "disable_iss_validation": True,
    }
    site.bao("POST", f"auth/kubernetes-{tag}/config", {**config, **field})
    result = site.apply(site.entry(tag))
    assert kinds(result) == {"auth mount configuration", "reviewer token", "bound Secret"}
    assert next(iter(field)) in why(result, "auth mount configuration")
    assert result["clusters"][0]["verified"] is True
    assert login_works(site, tag)
    assert not site.apply(site.entry(tag))["changed"]


def test_token_erased_by_a_write_without_it(site: ReviewerSite, tag: str) -> None:
    """What generic modules do: the configuration reads the same afterwards, and no login works any more."""
    site.apply(site.entry(tag))
    config = site.data(f"auth/kubernetes-{tag}/config") or {}
    keep = ("kubernetes_host", "kubernetes_ca_cert", "disable_local_ca_jwt", "disable_iss_validation")
    site.bao("POST", f"auth/kubernetes-{tag}/config", {k: config[k] for k in keep})
    after = site.data(f"auth/kubernetes-{tag}/config") or {}
    assert {k: v for k, v in after.items() if k != "token_reviewer_jwt_set"} == {
        k: v for k, v in config.items() if k != "token_reviewer_jwt_set"
    }
    assert not login_works(site, tag)
    told = "token_reviewer_jwt_set" in after
    planned = site.apply(site.entry(tag), check=True)
    assert planned["changed"] is told
    assert told or "does not tell" in str(planned["warnings"])
    result = site.apply(site.entry(tag))
    assert "reviewer token" in kinds(result)
    assert login_works(site, tag)
    assert not site.apply(site.entry(tag))["changed"]


def test_ca_and_address_changed(site: ReviewerSite, tag: str, tmp_path: Path) -> None:
    """A bundle of two CAs while the API server's is rotated, and another way to the same API server."""
    cluster = site.lab.clusters["member-prod"]
    site.apply(site.entry(tag))
    before = site.evidence(tag)
    both = tmp_path / "both.pem"
    both.write_text(cluster.ca_file.read_text() + site.lab.wrong_ca.read_text())
    rotated = site.entry(tag, ca_cert=str(both))
    result = site.apply(rotated)
    assert {"auth mount configuration", "reviewer token"} <= kinds(result)
    after = site.evidence(tag)
    assert after["ca"] != before["ca"]
    assert after["fingerprint"] != before["fingerprint"]
    moved = site.entry(tag, ca_cert=str(both), api_server=cluster.api_server.replace("127.0.0.1", "localhost"))
    assert "kubernetes_host" in why(site.apply(moved), "auth mount configuration")
    assert site.evidence(tag)["api-server"].startswith("https://localhost:")
    assert not site.apply(moved)["changed"]


def test_wrong_ca_is_named_before_anything_is_written(site: ReviewerSite, tag: str) -> None:
    """A login would not tell: OpenBao goes on with the connection that it has open."""
    site.apply(site.entry(tag))
    before = site.evidence(tag)
    wrong = site.entry(tag, ca_cert=str(site.lab.wrong_ca))
    for check in (True, False):
        result = site.refused("clusters-failed", wrong, check=check)
        assert result["failures"][0]["hop"] == "tls-ca"
        assert "ca_cert" in result["failures"][0]["message"]
    assert site.evidence(tag) == before
    assert login_works(site, tag)
    assert not site.apply(site.entry(tag))["changed"]


def test_old_token_stays_when_the_new_one_is_not_proved(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    site.apply(site.entry(tag))
    [old] = site.bound(tag)
    openbao = site.openbao(url=proxies.bao.address)
    for _round in range(2):
        proxies.bao.fail(403, None, method="POST", path="/login$")
        result = site.refused("clusters-failed", site.entry(tag), openbao=openbao, renew_below=1.0)
        assert result["failures"][0]["hop"] == "verify-login"
        assert f"auth/kubernetes-{tag}" in result["msg"]
        proxies.clear()
        names = [s["metadata"]["name"] for s in site.bound(tag)]
        assert old["metadata"]["name"] in names
        assert len(names) == 2  # and the unproved one of the round before is gone
    healed = site.apply(site.entry(tag))
    assert healed["clusters"][0]["verified"] is True
    assert len(site.bound(tag)) == 1
    assert not site.apply(site.entry(tag))["changed"]


def test_bound_secret_deleted(site: ReviewerSite, tag: str) -> None:
    """That revokes the token."""
    site.apply(site.entry(tag))
    [old] = site.bound(tag)
    site.kube("DELETE", f"/api/v1/namespaces/{tag}-auth/secrets/{old['metadata']['name']}")
    site.until("logins fail", lambda: not login_works(site, tag))
    assert why(site.apply(site.entry(tag)), "reviewer token") == "there is no token"
    assert login_works(site, tag)


def test_bound_secret_made_anew_by_hand(site: ReviewerSite, tag: str) -> None:
    """The same name and annotations, another uid: the token is revoked all the same."""
    site.apply(site.entry(tag))
    [old] = site.bound(tag)
    path = f"/api/v1/namespaces/{tag}-auth/secrets"
    site.kube("DELETE", f"{path}/{old['metadata']['name']}")
    kept = {k: old["metadata"][k] for k in ("name", "labels", "annotations")}
    site.kube("POST", path, {"metadata": kept, "type": "Opaque"})
    assert "reviewer token" in kinds(site.apply(site.entry(tag)))
    assert login_works(site, tag)
    assert len(site.bound(tag)) == 1


def test_service_account_made_anew(site: ReviewerSite, tag: str) -> None:
    site.apply(site.entry(tag))
    site.kube("DELETE", f"/api/v1/namespaces/{tag}-auth/serviceaccounts/openbao-reviewer")
    result = site.apply(site.entry(tag))
    assert {"ServiceAccount", "reviewer token"} <= kinds(result)
    assert "made anew" in why(result, "reviewer token")
    assert login_works(site, tag)


def test_rbac_taken_away(site: ReviewerSite, tag: str) -> None:
    site.apply(site.entry(tag))
    base = "/apis/rbac.authorization.k8s.io/v1"
    site.kube("DELETE", f"{base}/clusterrolebindings/{tag}-reviewer")
    role = site.kube("GET", f"{base}/clusterroles/{tag}-reviewer")
    role["rules"] = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    site.kube("PUT", f"{base}/clusterroles/{tag}-reviewer", role)
    result = site.apply(site.entry(tag))
    assert {"ClusterRole", "ClusterRoleBinding"} <= kinds(result)
    rules = site.kube("GET", f"{base}/clusterroles/{tag}-reviewer")["rules"]
    assert rules == [{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}]
    assert login_works(site, tag)


def test_binding_to_another_role_is_made_anew(site: ReviewerSite, tag: str) -> None:
    """A roleRef cannot be changed."""
    site.apply(site.entry(tag))
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{tag}-reviewer"
    binding = site.kube("GET", path)
    site.kube("DELETE", path)
    kept = {k: binding["metadata"][k] for k in ("name", "labels")}
    other = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    site.kube(
        "POST",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        {**binding, "metadata": kept, "roleRef": other},
    )
    assert "roleRef" in why(site.apply(site.entry(tag)), "ClusterRoleBinding")
    assert site.kube("GET", path)["roleRef"]["name"] == f"{tag}-reviewer"
    assert not site.apply(site.entry(tag))["changed"]


@pytest.mark.parametrize(
    "field",
    [
        {"audience": ""},
        {"bound_service_account_names": ["eso", "default"]},
        {"bound_service_account_namespaces": ["elsewhere"]},
        {"token_policies": ["root-like"]},
        {"token_ttl": "24h", "token_max_ttl": "24h"},
        {"token_no_default_policy": False},
        {"alias_name_source": "serviceaccount_name"},
    ],
    ids=lambda f: next(iter(f)),
)
def test_role_changed_by_hand(site: ReviewerSite, tag: str, field: dict[str, t.Any]) -> None:
    site.apply(site.entry(tag))
    path = f"auth/kubernetes-{tag}/role/tenant"
    before = site.data(path)
    bound = {
        "bound_service_account_names": ["eso"],
        "bound_service_account_namespaces": ["*"],
        "audience": f"openbao-{tag}",
        "token_type": "batch",
    }
    if field == {"audience": ""}:  # it cannot be unset: the role is made anew without one
        site.bao("DELETE", path)
        bound.pop("audience")
    site.bao("POST", path, {**bound, **{k: v for k, v in field.items() if v != ""}})
    assert site.data(path) != before
    result = site.apply(site.entry(tag))
    assert kinds(result) == {"role"}
    assert next(iter(field)) in why(result, "role")
    assert site.data(path) == before
    assert not site.apply(site.entry(tag))["changed"]


def test_policy_changed_by_hand(site: ReviewerSite, tag: str) -> None:
    site.apply(site.entry(tag))
    path = f"sys/policies/acl/tenant-{tag}"
    before = str((site.data(path) or {})["policy"])
    site.bao("POST", path, {"policy": before.replace('"read"', '"read", "update"')})
    result = site.apply(site.entry(tag))
    assert kinds(result) == {"OpenBao policy"}
    assert (site.data(path) or {})["policy"] == before


@pytest.mark.parametrize("remade", [False, True])
def test_mount_deleted_by_hand(site: ReviewerSite, tag: str, remade: bool) -> None:
    """The new mount has another accessor, and the OpenBao policy that names the old one would allow nothing."""
    site.apply(site.entry(tag))
    mount = f"kubernetes-{tag}"
    before = site.mount(mount) or {}
    site.bao("DELETE", f"sys/auth/{mount}")
    if remade:
        site.bao("POST", f"sys/auth/{mount}", {"type": "kubernetes", "description": before["description"]})
    result = site.apply(site.entry(tag))
    accessor = (site.mount(mount) or {})["accessor"]
    assert accessor != before["accessor"]
    assert result["clusters"][0]["accessor"] == accessor
    assert why(result, "OpenBao policy") == "the mount has another accessor"
    assert accessor in (site.data(f"sys/policies/acl/tenant-{tag}") or {})["policy"]
    assert result["clusters"][0]["verified"] is True
    assert not site.apply(site.entry(tag))["changed"]


def test_lifetime_that_the_api_server_grants_counts(site: ReviewerSite, tag: str) -> None:
    """What is written down is what the token says, not what was asked for."""
    site.apply(site.entry(tag, token_lifetime="1h"))
    evidence = site.evidence(tag)
    issued = datetime.datetime.fromisoformat(evidence["issued"])
    expires = datetime.datetime.fromisoformat(evidence["expires"])
    assert 3590 <= (expires - issued).total_seconds() <= 3610


def test_verification_finds_a_role_that_lets_in_anybody(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    """The negative logins are real: a canary role that somebody widens during the run is found out."""
    site.apply(site.entry(tag))
    path = f"auth/kubernetes-{tag}/role/canary-elsewhere"

    def widen(_method: str, _path: str) -> None:
        site.bao(
            "POST",
            path,
            {
                "bound_service_account_names": ["openbao-canary"],
                "bound_service_account_namespaces": ["*"],
                "audience": f"openbao-{tag}",
                "token_type": "batch",
            },
        )

    proxies.bao.call(widen, "after", method="POST", path=f"auth/kubernetes-{tag}/config$")
    result = site.refused(
        "clusters-failed", site.entry(tag), openbao=site.openbao(url=proxies.bao.address), renew_below=1.0
    )
    assert result["failures"][0]["hop"] == "verify-negative-namespace"
    assert len(site.bound(tag)) == 2  # the old token is not revoked
    proxies.clear()
    assert site.apply(site.entry(tag))["clusters"][0]["verified"] is True
    assert len(site.bound(tag)) == 1


def test_verify_always_and_never(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    openbao = site.openbao(url=proxies.bao.address)
    first = site.apply(site.entry(tag), openbao=openbao, verify="never")
    assert first["clusters"][0]["verified"] is None
    assert not proxies.bao.requests("POST", "/login$")
    assert site.evidence(tag)["state"] == "current"
    proxies.clear()
    again = site.apply(site.entry(tag), openbao=openbao, verify="always")
    assert again["clusters"][0]["verified"] is True
    assert "wrong-audience-refused" in again["clusters"][0]["proved"]
    assert not again["changed"]
    assert len(proxies.bao.requests("POST", "/login$")) >= 4


def test_openbao_restored_to_an_older_token(site: ReviewerSite, tag: str) -> None:
    """As after a snapshot: the configuration is complete, a token is set, and it is one that was revoked since."""
    site.apply(site.entry(tag))
    path = f"/api/v1/namespaces/{tag}-auth"
    site.kube("POST", f"{path}/secrets", {"metadata": {"name": "old"}})
    uid = site.kube("GET", f"{path}/secrets/old")["metadata"]["uid"]
    bound = {"apiVersion": "v1", "kind": "Secret", "name": "old", "uid": uid}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": bound}}
    older = site.kube("POST", f"{path}/serviceaccounts/openbao-reviewer/token", request)["status"]["token"]
    config = site.data(f"auth/kubernetes-{tag}/config") or {}
    config.pop("token_reviewer_jwt_set", None)
    site.bao("POST", f"auth/kubernetes-{tag}/config", {**config, "token_reviewer_jwt": older})
    site.kube("DELETE", f"{path}/secrets/old")
    site.until("logins fail", lambda: not login_works(site, tag))
    result = site.apply(site.entry(tag))
    assert why(result, "reviewer token") == "a login of the canary failed"
    assert login_works(site, tag)
    assert not site.apply(site.entry(tag))["changed"]


def test_engine_that_is_not_there_is_said(site: ReviewerSite, tag: str) -> None:
    result = site.apply(site.entry(tag), kv_mount=f"{tag}-kv", policy_prefix=f"{tag}-reads-")
    assert f"no engine at {tag}-kv/" in str(result["warnings"])
    assert result["clusters"][0]["policies"] == [f"{tag}-reads-{tag}"]
    assert f"{tag}-kv/data/tenants/{tag}/" in (site.data(f"sys/policies/acl/{tag}-reads-{tag}") or {})["policy"]
    assert not site.apply(site.entry(tag), kv_mount=f"{tag}-kv", policy_prefix=f"{tag}-reads-")["changed"]
