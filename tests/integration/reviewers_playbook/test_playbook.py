# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook reviewers as people type it, on a site; and what pods of tenants can do afterwards."""

from __future__ import annotations

import json
import subprocess
import typing as t
from pathlib import Path

import pytest

from tests.integration.ansible_run import Result, environment, program, run_play
from tests.site import CLUSTER, REVIEWERS, Site
from tools.demonstration import EDITOR
from tools.pod_identity import Api, Problem, log_in, make_pod, owner, token_of_pod

NAMESPACE = "0-core-openbao-auth"
MOUNT, AUDIENCE = f"kubernetes-{CLUSTER}", f"openbao-{CLUSTER}"
KV = f"kv/data/tenants/{CLUSTER}"
ROLE = [{"name": "Run the role", "ansible.builtin.import_role": {"name": "hackspace.infra.jwt_reviewer"}}]


def run(site: Site, options: t.Mapping[str, t.Any] | None = None, **more: t.Any) -> Result:
    return run_play(REVIEWERS, inventory=site.inventory, extra_vars=dict(options or {}), **more)


def cluster_api(site: Site) -> Api:
    about = site.lab.clusters[CLUSTER]
    bearer = about.token_file.read_text(encoding="utf-8").strip()
    return Api(about.api_server, about.ca_file, {"Authorization": f"Bearer {bearer}"})


def openbao_api(site: Site) -> Api:
    node = next(n for n in site.lab.openbao_nodes if n.name == site.lab.openbao_active())
    return Api(node.address, site.lab.openbao_ca, name=node.tls_server_name)


def bound_secrets(site: Site) -> list[str]:
    """Return the names of the Secrets that reviewers' tokens are bound to."""
    listed = cluster_api(site).need("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets")
    return [item["metadata"]["name"] for item in listed["items"]]


def variables(site: Site) -> dict[str, t.Any]:
    found = json.loads(site.inventory.read_text(encoding="utf-8"))["all"]["vars"]
    return t.cast("dict[str, t.Any]", found)


def with_clusters(site: Site, *clusters: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return variables that declare the cluster of the site with other keys, and further clusters."""
    first = next(c for c in variables(site)["platform_clusters"] if c["name"] == CLUSTER)
    return {"platform_clusters": [{**first, **(clusters[0] if clusters else {})}, *clusters[1:]]}


def test_planned_wired_and_left_alone(site: Site) -> None:
    site.clear()
    planned = run(site, check=True, diff=True).ok()
    assert planned.changed == ["Wire every cluster to OpenBao"]
    assert site.api.requests("POST", "/token$") == []
    assert f"auth mount {MOUNT}" in planned.stdout
    with pytest.raises(Problem, match="404"):
        cluster_api(site).need("GET", f"/api/v1/namespaces/{NAMESPACE}")

    wired = run(site, diff=True).ok()
    assert wired.changed == ["Wire every cluster to OpenBao"]
    assert len(bound_secrets(site)) == 1
    (line,) = [text for text in wired.stdout.splitlines() if f"{CLUSTER}: " in text and "until" in text]
    assert MOUNT in line
    assert "token_request" in line

    for check in (True, False):
        assert run(site, check=check, diff=True).ok().changed == []


def pods_of_two_tenants(site: Site) -> None:
    """Log in as pods, read what is theirs, be refused everything else."""
    cluster, openbao = cluster_api(site), openbao_api(site)
    editor = owner(openbao, "platform-admin", site.password(), EDITOR)
    people = {"4-aux-ann": "eso", "4-aux-ben": "eso", "4-aux-cat": "other"}
    tokens = {}
    for namespace, account in people.items():
        editor.need("POST", f"/v1/{KV}/{namespace}/web", {"data": {"owner": namespace}})
        pod = ("web", make_pod(cluster, namespace, account, "web"))
        tokens[namespace] = token_of_pod(cluster, namespace, account, pod, AUDIENCE)
    with pytest.raises(Problem, match="403"):
        log_in(openbao, MOUNT, "tenant", tokens["4-aux-cat"])  # a ServiceAccount that is not bound
    for mine, theirs in (("4-aux-ann", "4-aux-ben"), ("4-aux-ben", "4-aux-ann")):
        tenant, about = log_in(openbao, MOUNT, "tenant", tokens[mine])
        assert about["lease_duration"] == 600
        assert tenant.need("GET", f"/v1/{KV}/{mine}/web")["data"]["data"] == {"owner": mine}
        assert tenant.request("GET", f"/v1/{KV}/{theirs}/web")[0] == 403
        assert tenant.request("POST", f"/v1/{KV}/{mine}/web", {"data": {"owner": "nobody"}})[0] == 403
        assert tenant.request("GET", "/v1/auth/token/lookup-self")[0] == 200


def test_pods_of_two_tenants(site: Site) -> None:
    run(site).ok()
    pods_of_two_tenants(site)


def test_replaced_token(site: Site) -> None:
    run(site).ok()
    before = bound_secrets(site)
    assert run(site, {"jwt_reviewer_renew_below": 1}).ok().changed
    after = bound_secrets(site)
    assert len(after) == 1
    assert after != before
    pods_of_two_tenants(site)


def test_kubeconfig_encrypted_with_vault(site: Site, tmp_path: Path) -> None:
    run(site).ok()
    password, kubeconfig = tmp_path / "password", tmp_path / "kubeconfig"
    for file, text in ((password, "correct horse"), (kubeconfig, Path(str(site.api.kubeconfig)).read_text("utf-8"))):
        file.touch(mode=0o600)
        file.write_text(text, encoding="utf-8")
    vault = [program("ansible-vault"), "encrypt", "--vault-password-file", str(password), str(kubeconfig)]
    subprocess.run(vault, check=True, capture_output=True, env=environment(tmp_path))
    options = with_clusters(site, {"kubeconfig": str(kubeconfig)})
    site.clear()
    assert run(site, options, args=["--vault-password-file", str(password)]).ok().changed == []
    assert site.api.requests()
    refused = run(site, options)
    assert refused.of("jwt_reviewer")["error"]["rule"] == "vault"


def test_only_some_clusters(site: Site) -> None:
    nowhere = {"name": "member-far", "role": "downstream", "kubeconfig": "/nowhere/kubeconfig"}
    options = with_clusters(site, {}, nowhere)
    done = run(site, {**options, "jwt_reviewer_only": CLUSTER}).ok()
    assert [c["name"] for c in done.of("jwt_reviewer")["clusters"]] == [CLUSTER]
    for wrong, words in (
        ({"jwt_reviewer_only": "member-prd"}, "jwt_reviewer_only names member-prd [unknown-cluster]"),
        ({"jwt_reviewer_only": CLUSTER, "jwt_reviewer_prune": True}, "exclude each other [prune]"),
    ):
        site.clear()
        refused = run(site, {**options, **wrong})
        assert refused.rc != 0
        assert words in " ".join(refused.output.split())
        assert site.asked() == []
        assert site.api.requests() == []


def test_clusters_that_are_left_alone(site: Site) -> None:
    site.clear()
    left = run(site, with_clusters(site, {"reviewer": {"enabled": False}})).ok()
    assert left.changed == []
    assert site.asked() == []
    assert site.api.requests() == []


def test_pruning_leaves_them_alone_too(site: Site) -> None:
    run(site).ok()
    own = {key: with_clusters(site)["platform_clusters"][0][key] for key in ("kubeconfig", "context")}
    other = {
        "name": "member-next",
        "role": "downstream",
        **own,
        "reviewer": {"namespace": "0-next", "cluster_role": "next"},
    }
    options = with_clusters(site, {"reviewer": {"enabled": False}}, other)
    pruning = {"jwt_reviewer_prune": True, "jwt_reviewer_prune_max_percent": 100}

    def doomed(**more: t.Any) -> set[str]:
        done = run(site, {**options, **pruning, **more}, check=True).ok().of("jwt_reviewer")
        return {change["name"] for change in done["changes"] if change["action"] == "delete"}

    assert doomed() == set()
    assert {MOUNT, f"tenant-{CLUSTER}"} <= doomed(jwt_reviewer_keep=[])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"openbao_audience": "https://kubernetes.default.svc.cluster.local"}, "audience-is-issuer"),
        ({"reviewer": {"access": {"service_accounts": ["default"]}}}, "default-service-account"),
        ({"reviewer": {"mode": "rotated"}}, "platform_clusters[0].reviewer.mode"),
        ({"api_server": "http://192.0.2.1:6443"}, "plain-http"),
    ],
)
def test_mistakes_in_the_inventory_stop_it(site: Site, keys: dict[str, t.Any], words: str) -> None:
    site.clear()
    refused = run(site, with_clusters(site, keys))
    assert refused.rc != 0
    assert words in refused.output
    assert site.asked() == []
    assert site.api.requests() == []


def test_what_the_role_needs(site: Site) -> None:
    first = next(c for c in variables(site)["platform_clusters"] if c["name"] == CLUSTER)
    without = {key: value for key, value in first.items() if key != "kubeconfig"}
    openbao = {key: value for key, value in variables(site)["platform_openbao"].items() if key != "login"}
    for options, words in (
        ({"platform_clusters": [without]}, f"{CLUSTER} without a kubeconfig [cluster-access]"),
        ({"platform_openbao": openbao}, "jwt_reviewer_openbao_login is empty [login]"),
        ({"jwt_reviewer_openbao_nodes": []}, "there is no OpenBao server in the inventory [address]"),
    ):
        refused = run_play(ROLE, inventory=site.inventory, extra_vars=options)
        assert refused.rc != 0
        assert words in " ".join(refused.output.split())
