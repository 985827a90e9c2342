# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""jwt_reviewer wires clusters to OpenBao: what it makes, what pods can do then, how many requests it takes."""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.integration.ansible_run import run_module, run_play

from .conftest import Proxies, ReviewerSite

#: Requests to OpenBao and the API servers, for each cluster.
UNCHANGED_BUDGET = 12
ROTATED_BUDGET = 30
PROVED = {
    "login",
    "policies",
    "metadata",
    "read",
    "other-namespace-unreadable",
    "lookup-self",
    "wrong-namespace-refused",
    "wrong-audience-refused",
    "wrong-service-account-refused",
    "wrong-cluster-refused",
}


def own(result: dict[str, t.Any], name: str) -> dict[str, t.Any]:
    """Return the report of one cluster."""
    return t.cast("dict[str, t.Any]", next(c for c in result["clusters"] if c["name"] == name))


def test_two_clusters_and_the_pods_of_their_tenants(site: ReviewerSite, tag: str) -> None:
    one, two = f"{tag}-a", f"{tag}-b"
    entries = [site.entry(one), site.entry(two, "core-infra")]
    first = site.apply(*entries)
    assert first["changed"]
    for name in (one, two):
        report = own(first, name)
        assert set(report["proved"]) == PROVED
        assert report["verified"] is True
        assert report["accessor"] == (site.mount(f"kubernetes-{name}") or {})["accessor"]
    second = site.apply(*entries)
    assert (second["changed"], second["changes"], second["diff"]) == (False, [], [])

    for namespace in (f"{tag}-alice", f"{tag}-bob"):
        site.make_account(namespace)
        site.write_secret(f"tenants/{one}/{namespace}/db", password=f"of {namespace}")
    status, auth = site.login(f"kubernetes-{one}", "tenant", site.token(f"{tag}-alice", "eso", f"openbao-{one}"))
    assert status == 200, auth
    assert auth["token_type"] == "batch"
    assert auth["lease_duration"] == 600
    assert not auth["renewable"]
    token = auth["client_token"]
    status, body = site.bao("GET", f"kv/data/tenants/{one}/{tag}-alice/db", token=token)
    assert body["data"]["data"]["password"] == f"of {tag}-alice"
    assert site.bao("GET", f"kv/data/tenants/{one}/{tag}-bob/db", token=token, ok=False)[0] == 403
    assert site.bao("GET", f"kv/metadata/tenants/{one}/{tag}-alice/db", token=token, ok=False)[0] == 403
    assert site.bao("GET", "auth/token/lookup-self", token=token)[0] == 200

    refused = {
        "audience": (one, "eso", f"openbao-{two}", "member-prod"),
        "cluster": (one, "eso", f"openbao-{one}", "core-infra"),
        "ServiceAccount": (one, "other", f"openbao-{one}", "member-prod"),
    }
    site.make_account(f"{tag}-alice", "eso", where="core-infra")
    site.make_account(f"{tag}-alice", "other")
    for what, (mount, account, audience, where) in refused.items():
        status, answer = site.login(
            f"kubernetes-{mount}", "tenant", site.token(f"{tag}-alice", account, audience, where=where)
        )
        assert status == 403, (what, answer)


def test_what_is_made_downstream_is_the_least(site: ReviewerSite, tag: str) -> None:
    site.apply(site.entry(tag))
    for name in ("openbao-reviewer", "openbao-canary"):
        account = site.kube("GET", f"/api/v1/namespaces/{tag}-auth/serviceaccounts/{name}")
        assert account["automountServiceAccountToken"] is False
    role = site.kube("GET", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{tag}-reviewer")
    assert role["rules"] == [
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    ]
    binding = site.kube("GET", f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{tag}-reviewer")
    assert [s["name"] for s in binding["subjects"]] == ["openbao-reviewer"]
    [secret] = site.bound(tag)
    assert "data" not in secret  # the token is in OpenBao only
    evidence = site.evidence(tag)
    assert evidence["state"] == "current"
    assert len(evidence["fingerprint"]) == 12
    assert evidence["issuer"] == site.lab.clusters["member-prod"].issuer
    assert json.loads(evidence["audiences"]) == [evidence["issuer"]]  # as the lab sets up its API servers
    assert set(evidence) == {
        "audiences",
        "state",
        "issued",
        "expires",
        "fingerprint",
        "ca",
        "api-server",
        "issuer",
        "account-uid",
        "secret-uid",
    }


def test_configuration_is_complete_and_keeps_the_pod_token_at_home(site: ReviewerSite, tag: str) -> None:
    """With disable_local_ca_jwt false, OpenBao in a pod would send its own token to the downstream API server."""
    site.apply(site.entry(tag))
    config = site.data(f"auth/kubernetes-{tag}/config")
    assert config is not None
    cluster = site.lab.clusters["member-prod"]
    assert config["disable_local_ca_jwt"] is True
    assert config["disable_iss_validation"] is True
    assert config["kubernetes_host"] == cluster.api_server
    assert config["kubernetes_ca_cert"].strip() == cluster.ca_file.read_text().strip()
    for role in ("tenant", "canary", "canary-elsewhere"):
        there = site.data(f"auth/kubernetes-{tag}/role/{role}")
        assert there is not None
        assert there["audience"] == f"openbao-{tag}"
        assert there["alias_name_source"] == "serviceaccount_uid"
        assert there["token_no_default_policy"] is True


def test_check_mode_mints_and_writes_nothing(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    entry = site.entry(tag, kubeconfig=proxies.kubeconfig(), api_server=site.lab.clusters["member-prod"].api_server)
    openbao = site.openbao(url=proxies.bao.address)
    mark = site.mark()
    planned = site.apply(entry, check=True, openbao=openbao)
    kinds = [c["kind"] for c in planned["changes"]]
    assert kinds == [
        "Namespace",
        "ServiceAccount",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "auth mount",
        "OpenBao policy",
        "role",
        "role",
        "role",
        "auth mount configuration",
        "reviewer token",
    ]
    assert {method for _server, method, _path in proxies.seen()} == {"GET"}
    assert {verb for verb, _uri in site.asked(mark)} <= {"get", "list"}
    assert site.mount(f"kubernetes-{tag}") is None
    done = site.apply(entry, openbao=openbao)
    assert [c["kind"] for c in done["changes"]] == kinds
    for change in ({}, {"renew_below": 1.0}, {"verify": "always"}):
        proxies.clear()
        site.apply(entry, check=True, openbao=openbao, **change)
        assert {method for _server, method, _path in proxies.seen()} == {"GET"}


def test_budgets_of_ten_clusters(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    entries = []
    for number in range(10):
        where = ("member-prod", "core-infra")[number % 2]
        entries.append(
            site.entry(
                f"{tag}-{number}",
                where,
                kubeconfig=proxies.kubeconfig(where),
                api_server=site.lab.clusters[where].api_server,
            )
        )
    openbao = site.openbao(url=proxies.bao.address)
    site.apply(*entries, openbao=openbao)
    proxies.clear()
    unchanged = site.apply(*entries, openbao=openbao)
    seen = len(proxies.seen())
    assert not unchanged["changed"]
    assert all(c["verified"] for c in unchanged["clusters"])
    assert 0 < seen <= UNCHANGED_BUDGET * len(entries), seen
    assert unchanged["requests"] == seen
    proxies.clear()
    rotated = site.apply(*entries, openbao=openbao, renew_below=1.0)
    seen = len(proxies.seen())
    assert {c["kind"] for c in rotated["changes"]} == {"reviewer token", "bound Secret"}
    assert all(set(c["proved"]) == PROVED for c in rotated["clusters"])
    assert 0 < seen <= ROTATED_BUDGET * len(entries), seen


def test_tenants_cost_no_requests(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    """A hundred namespaces more in the cluster, and the same number of requests."""
    entry = site.entry(tag, kubeconfig=proxies.kubeconfig(), api_server=site.lab.clusters["member-prod"].api_server)
    openbao = site.openbao(url=proxies.bao.address)
    site.apply(entry, openbao=openbao)
    counts = []
    for _round in range(2):
        proxies.clear()
        site.apply(entry, openbao=openbao)
        counts.append(len(proxies.seen()))
        for number in range(20):
            site.make_account(f"{tag}-{_round}-{number}")
    assert counts[0] == counts[1]


def test_stricter_option_has_a_role_for_each_tenant(site: ReviewerSite, tag: str) -> None:
    site.apply(site.entry(tag))
    tenants = [{"name": "alice", "namespaces": [f"{tag}-alice"]}, {"name": "bob", "namespaces": [f"{tag}-bob"]}]
    strict = site.entry(tag, access={"per_tenant": tenants, "token_type": "service", "ttl": "15m"})
    result = site.apply(strict)
    assert f"role kubernetes-{tag}/tenant" in str(result["warnings"]), result
    assert site.data(f"auth/kubernetes-{tag}/role/tenant") is not None
    site.apply(strict, prune=True, prune_max_percent=100)
    assert site.data(f"auth/kubernetes-{tag}/role/tenant") is None
    assert not site.apply(strict)["changed"]
    for name in ("alice", "bob"):
        site.make_account(f"{tag}-{name}")
        site.write_secret(f"tenants/{tag}/{tag}-{name}/db", password=name)
    token = site.token(f"{tag}-alice", "eso", f"openbao-{tag}")
    status, _answer = site.login(f"kubernetes-{tag}", "tenant-bob", token)
    assert status == 403
    status, auth = site.login(f"kubernetes-{tag}", "tenant-alice", token)
    assert (status, auth["lease_duration"], auth["token_type"]) == (200, 900, "service")
    mine = auth["client_token"]
    assert site.bao("GET", f"kv/data/tenants/{tag}/{tag}-alice/db", token=mine)[0] == 200
    assert site.bao("GET", f"kv/data/tenants/{tag}/{tag}-bob/db", token=mine, ok=False)[0] == 403
    assert site.bao("POST", "auth/token/revoke-self", token=mine)[0] == 204
    assert site.bao("GET", "auth/token/lookup-self", token=mine, ok=False)[0] == 403


def test_find_allows_lists_of_the_own_namespace(site: ReviewerSite, tag: str) -> None:
    site.apply(site.entry(tag, access={"find": True, "namespaces": [f"{tag}-al*"]}))
    site.make_account(f"{tag}-alice")
    site.make_account(f"{tag}-bob")
    site.write_secret(f"tenants/{tag}/{tag}-alice/db", password="x")
    status, auth = site.login(f"kubernetes-{tag}", "tenant", site.token(f"{tag}-alice", "eso", f"openbao-{tag}"))
    assert status == 200
    mine = auth["client_token"]
    assert site.bao("LIST", f"kv/metadata/tenants/{tag}/{tag}-alice", token=mine)[1]["data"]["keys"] == ["db"]
    assert site.bao("LIST", f"kv/metadata/tenants/{tag}/{tag}-bob", token=mine, ok=False)[0] == 403
    status, _answer = site.login(f"kubernetes-{tag}", "tenant", site.token(f"{tag}-bob", "eso", f"openbao-{tag}"))
    assert status == 403


@pytest.mark.parametrize("broken", ["kubernetes", "openbao"])
def test_one_cluster_that_fails_does_not_hold_up_the_other(
    site: ReviewerSite, proxies: Proxies, tag: str, broken: str
) -> None:
    good, bad = f"{tag}-good", f"{tag}-bad"
    entries = [
        site.entry(bad, kubeconfig=proxies.kubeconfig(), api_server=site.lab.clusters["member-prod"].api_server),
        site.entry(good, "core-infra"),
    ]
    if broken == "kubernetes":
        proxies.kube["member-prod"].refuse()
    else:
        proxies.bao.fail(500, None, method="POST", path=f"auth/kubernetes-{bad}/config$")
    result = site.refused("clusters-failed", *entries, openbao=site.openbao(url=proxies.bao.address))
    assert [f["cluster"] for f in result["failures"]] == [bad]
    assert result["failures"][0]["hop"] == ("refused" if broken == "kubernetes" else "http-status")
    assert own(result, good)["verified"] is True
    assert own(result, good)["failed"] is False
    assert own(result, bad)["failed"] is True
    assert bad in result["msg"]
    proxies.clear()
    proxies.kube["member-prod"].accept()
    healed = site.apply(*entries, openbao=site.openbao(url=proxies.bao.address))
    assert own(healed, bad)["verified"] is True
    assert not own(healed, good)["changed"]
    assert len(site.bound(bad)) == 1


def test_what_is_not_ours_is_refused_until_told(site: ReviewerSite, tag: str) -> None:
    mount = f"kubernetes-{tag}"
    site.bao("POST", f"sys/auth/{mount}", {"type": "kubernetes", "description": "by hand"})
    accessor = (site.mount(mount) or {})["accessor"]
    site.bao("POST", f"sys/policies/acl/tenant-{tag}", {"policy": 'path "kv/*" { capabilities = ["read"] }'})
    site.make_account(f"{tag}-auth", "openbao-reviewer")
    entries = [site.entry(tag), site.entry(f"{tag}-new", "core-infra")]
    before = site.kube("GET", f"/api/v1/namespaces/{tag}-auth/serviceaccounts/openbao-reviewer")
    result = site.refused("foreign", *entries)
    assert len(result["foreign"]) == 3
    assert site.mount(f"kubernetes-{tag}-new") is None  # nothing is written anywhere
    planned = site.apply(*entries, adopt=True, check=True)
    assert {c["kind"] for c in planned["changes"] if c["action"] == "adopt"} == {
        "auth mount",
        "OpenBao policy",
        "ServiceAccount",
    }
    site.apply(*entries, adopt=True)
    after = site.mount(mount) or {}
    assert after["accessor"] == accessor
    assert f"Tenants of {tag}" in after["description"]
    account = site.kube("GET", f"/api/v1/namespaces/{tag}-auth/serviceaccounts/openbao-reviewer")
    assert account["metadata"]["uid"] == before["metadata"]["uid"]
    assert not site.apply(*entries)["changed"]


def test_openbao_auth_mounts_leaves_our_mounts_alone(site: ReviewerSite, tag: str) -> None:
    """Also those that have another path than kubernetes-<cluster>."""
    site.apply(site.entry(tag, mount=f"{tag}/pods"))
    login = site.openbao()
    result = run_module(
        "openbao_auth_mounts",
        {**login, "mounts": [{"path": f"{tag}-people", "type": "userpass"}], "prune": True, "prune_max_percent": 100},
    ).ok()
    assert not [c for c in result.of("openbao_auth_mounts")["changes"] if c["action"] == "delete"]
    assert site.mount(f"{tag}/pods") is not None
    assert not site.apply(site.entry(tag, mount=f"{tag}/pods"))["changed"]


def test_api_server_audience_is_refused_before_anything_is_written(site: ReviewerSite, tag: str) -> None:
    issuer = site.lab.clusters["member-prod"].issuer
    entries = [site.entry(f"{tag}-good", "core-infra"), site.entry(tag, audience=issuer)]
    result = site.refused("audience-of-api-server", *entries)
    assert tag in result["error"]["item"]
    assert site.mount(f"kubernetes-{tag}") is None
    assert site.mount(f"kubernetes-{tag}-good") is None
    assert site.kube("GET", f"/api/v1/namespaces/{tag}-auth") is None


def test_kubeconfig_without_the_context(site: ReviewerSite, tag: str) -> None:
    result = site.refused("kubeconfig", site.entry(tag, context="nowhere"))
    assert "nowhere" in result["msg"]
    assert tag in result["error"]["item"]


def test_by_ansible_nothing_secret_is_shown(site: ReviewerSite, tag: str, tmp_path: t.Any) -> None:
    """The reviewer's token is nowhere: not in results, diffs, logs, nor on the bound Secret."""
    from ansible.parsing.vault import VaultLib, VaultSecret

    password = b"not in the open"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    content = site.lab.clusters["member-prod"].token_kubeconfig.read_text()
    kubeconfig.write_bytes(VaultLib([("default", VaultSecret(password))]).encrypt(content))
    secret_file = tmp_path / "vault-password"
    secret_file.touch(mode=0o600)
    secret_file.write_bytes(password)
    token_file = tmp_path / "token"
    token_file.touch(mode=0o600)
    token_file.write_text(site.root)
    openbao = {k: v for k, v in site.openbao(token_path=str(token_file)).items() if k != "token"}
    args = {"openbao": openbao, "clusters": [site.entry(tag, kubeconfig=str(kubeconfig))]}
    play = [{"name": "Wire", "hackspace.infra.jwt_reviewer": args}]
    result = run_play(play, diff=True, verbosity=3, args=["--vault-password-file", str(secret_file)]).ok()
    report = result.of("jwt_reviewer")
    assert report["clusters"][0]["verified"] is True
    shown = result.output + json.dumps([task.result for task in result.tasks])
    shown += json.dumps(site.bound(tag))
    assert site.lab.clusters["member-prod"].token_file.read_text() not in shown
    assert site.root not in shown
    assert "eyJ" not in shown  # how every JSON Web Token begins
    for path in result.folder.rglob("*"):
        assert not path.is_file() or b"eyJ" not in path.read_bytes(), path
