# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/check.yml on a living site: what it says, how fast, and that it writes nothing."""

from __future__ import annotations

import json
import re
import time
import typing as t
from pathlib import Path

import pytest

from .conftest import PASSWORD, READER_PASSWORD, Living

#: The only requests of the check that are not reads by their method.
ALLOWED_POSTS = (
    r"^/v1/auth/[^/]+/login(/[^/]+)?$",
    r"^/v1/auth/token/revoke-self$",
    r"^/v1/auth/token/lookup-accessor$",
)


def audit(path: Path) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_minimal_inventory_without_a_login(living: Living) -> None:
    ran = living.check(living.inventory(living.direct(), living.lab.clusters["core-infra"].kubeconfig))
    assert ran.rc == 0, ran.output
    assert ran.result["counts"] == {"error": 0, "warning": 0, "info": 0}
    assert [n["why"] for n in ran.result["not_checked"]] == ["no login is given in platform_openbao.login"]
    assert sum(": unsealed" in line for line in ran.result["lines"]) == 3
    assert ran.seconds < 120


def test_every_finding_of_the_living_site(living: Living) -> None:
    inventory = living.inventory(living.direct(), living.lab.clusters["core-infra"].kubeconfig)
    ran = living.check(inventory, {"platform_checks_openbao_login": living.login})
    assert ran.rc != 0, "a root token and a role for every pod are errors"
    assert ran.result["failing"] == ["role-any-service-account", "root-token"]
    role = "auth mount kubernetes-old role {}".format
    assert ran.items("role-without-audience") == {role("no-audience"), "auth mount jwt-ci role ci"}
    assert ran.items("role-any-service-account") == {role("everyone")}
    assert ran.items("role-any-namespace") == {role("any-namespace")}
    assert ran.items("role-default-service-account") == {role("default-account"), "auth mount jwt-ci role ci"}
    assert ran.items("role-long-ttl") == {role("long")}
    assert ran.items("policy-missing") == {role("typo")}
    assert ran.items("policy-unused") == {"OpenBao policy nobody-uses-this"}
    assert ran.items("mount-local-token") == {"auth mount kubernetes-old"}
    assert ran.items("mount-not-configured") == {"auth mount kubernetes-empty"}
    assert ran.items("user-long-ttl") == {"auth mount userpass user ada"}
    assert {i.split(" (")[0] for i in ran.items("token-near-expiry")} == {"token token-backup"}
    assert {i.split(" (")[0] for i in ran.items("root-token")} == {"token root"}
    assert ran.result["not_checked"] == []
    assert (
        "  kubernetes-old (kubernetes, not ours): any-namespace, default-account, everyone, good, long, "
        in "\n".join(ran.result["lines"])
    )
    assert ran.seconds < 120


def test_it_writes_nothing(living: Living) -> None:
    cluster_log = living.lab.clusters["core-infra"].audit_log
    before_kube, before_openbao = len(audit(cluster_log)), len(audit(living.lab.openbao_audit_log))
    mounts = living.ask("GET", "sys/auth")["data"]
    with living.proxied() as (addresses, kubeconfig, proxies):
        ran = living.check(
            living.inventory(addresses, kubeconfig), {"platform_checks_openbao_login": living.login}, "-vvv"
        )
        requests = [r for p in proxies for r in p.requests()]
    assert {"root-token", "role-without-audience"} <= ran.ids()
    assert len(requests) > 20
    others = [(r.method, r.path) for r in requests if r.method not in ("GET", "LIST")]
    assert [o for o in others if not any(re.match(p, o[1]) for p in ALLOWED_POSTS)] == []
    assert {method for method, _other in others} == {"POST"}
    assert len([path for _other, path in others if path.endswith("/revoke-self")]) == 1, "the login is given back"
    kube = [e for e in audit(cluster_log)[before_kube:] if e["user"]["username"].startswith("system:") is False]
    assert {e["verb"] for e in kube} <= {"get", "list"}
    assert any(e["requestURI"].startswith("/version") for e in kube)
    operations = {
        (e["request"]["operation"], e["request"]["path"])
        for e in audit(living.lab.openbao_audit_log)[before_openbao:]
        if e["type"] == "request"
    }
    written = {path for operation, path in operations if operation not in ("read", "list")}
    assert written == {"auth/userpass/login/ada", "auth/token/lookup-accessor", "auth/token/revoke-self"}
    assert living.ask("GET", "sys/auth")["data"] == mounts
    for secret in (PASSWORD, living.root_token, *living.lab.secrets()):
        assert secret not in ran.output


def test_login_without_rights_says_what_it_could_not_see(living: Living) -> None:
    login = {
        "auth_method": "userpass",
        "username": "nobody",
        "password_file": str(living.secret_file("reader", READER_PASSWORD)),
    }
    inventory = living.inventory(living.direct(), living.lab.clusters["core-infra"].kubeconfig)
    ran = living.check(inventory, {"platform_checks_openbao_login": login})
    assert ran.rc == 0, ran.output
    missing = {n["what"]: n["why"] for n in ran.result["not_checked"]}
    assert {"auth mounts", "secret engines", "OpenBao policies", "tokens", "audit devices", "raft peers"} <= set(
        missing
    )
    assert set(missing.values()) == {"the login may not read it (HTTP 403)"}


def test_the_openbao_policy_of_the_docs_sees_everything(living: Living) -> None:
    text = (Path(__file__).parents[3] / "docs" / "check.md").read_text()
    policy = text.split("```hcl\n")[1].split("```")[0]
    assert policy.count("path ") > 10
    assert not set(re.findall(r'"(\w+)"\]?', policy.replace("path ", ""))) & {"create", "delete", "patch"}
    living.ask("PUT", "sys/policies/acl/checker", {"policy": policy})
    user = {"password": READER_PASSWORD, "token_policies": ["checker"], "token_max_ttl": "1h"}
    living.ask("POST", "auth/userpass/users/checker", user)
    login = {
        "auth_method": "userpass",
        "username": "checker",
        "password_file": str(living.secret_file("checker", READER_PASSWORD)),
    }
    inventory = living.inventory(living.direct(), living.lab.clusters["core-infra"].kubeconfig)
    ran = living.check(inventory, {"platform_checks_openbao_login": login})
    assert ran.result["not_checked"] == []
    assert ran.items("policy-unused") == {"OpenBao policy nobody-uses-this"}
    assert {i.split(" (")[0] for i in ran.items("token-near-expiry")} == {"token token-backup"}


def test_the_labs_own_inventory_keeps_the_contract(living: Living) -> None:
    ran = living.check(living.lab.state / "inventory", {"platform_checks_scope": ["inventory", "files"]})
    assert ran.rc == 0, ran.output
    assert ran.result["findings"] == []


def test_refused_login_is_a_finding_and_the_rest_is_reported(living: Living) -> None:
    login = {**living.login, "password_file": str(living.secret_file("bad", "not-this-one"))}
    inventory = living.inventory(living.direct(), living.lab.clusters["core-infra"].kubeconfig)
    ran = living.check(inventory, {"platform_checks_openbao_login": login})
    assert ran.ids() == {"check-failed"}
    assert "refused" in ran.result["findings"][0]["message"]
    assert any("nodes ready" in line for line in ran.result["lines"])


def test_wrong_ca_names_the_hop(living: Living) -> None:
    inventory = living.inventory(living.direct(), living.lab.clusters["core-infra"].kubeconfig, living.lab.wrong_ca)
    ran = living.check(inventory, {"platform_checks_openbao_login": living.login})
    assert ran.ids() == {"node-unreachable"}
    assert len(ran.result["findings"]) == 3
    assert all("(tls-ca)" in f["message"] for f in ran.result["findings"])
    assert [n["why"] for n in ran.result["not_checked"]] == ["no node is active"]


def test_inventory_mistakes_and_cluster_problems_are_in_the_same_report(living: Living, tmp_path: Path) -> None:
    copy = tmp_path / "kubeconfig"
    copy.write_text(living.lab.clusters["core-infra"].kubeconfig.read_text().replace("127.0.0.1", "127.0.0.2"))
    copy.chmod(0o644)
    ran = living.check(
        living.inventory(living.direct(), copy),
        {"platform_openbao": {"ca_cert": str(living.lab.openbao_ca), "holder": []}, "platform_clusterz": []},
    )
    assert ran.rc != 0
    assert ran.ids("error") == {"cluster-unreachable", "file-mode", "unknown-key", "unknown-variable"}
    fixes = {f["item"]: f["fix"] for f in ran.result["findings"]}
    assert fixes["platform_openbao.holder"] == "did you mean holders?"
    assert fixes["platform_clusterz"] == "did you mean platform_clusters?"


def test_accepted_findings_do_not_fail(living: Living) -> None:
    accept = [
        {"id": "root-token", "reason": "the lab's own"},
        {"id": "role-any-service-account", "item": "*role everyone", "reason": "test"},
    ]
    inventory = living.inventory(living.direct(), living.lab.clusters["core-infra"].kubeconfig)
    ran = living.check(inventory, {"platform_checks_openbao_login": living.login, "platform_checks_accept": accept})
    assert ran.rc == 0, ran.output
    assert ran.ids("error") == set()
    assert {f["reason"] for f in ran.result["accepted"]} == {"the lab's own", "test"}


def test_limit_is_said(living: Living) -> None:
    inventory = living.inventory(living.direct(), living.lab.clusters["core-infra"].kubeconfig)
    ran = living.check(inventory, {"platform_checks_openbao_login": living.login, "platform_checks_openbao_limit": 2})
    left = [n["what"] for n in ran.result["not_checked"]]
    assert "5 of 7 roles of auth mount kubernetes-old" in left


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"platform_checks_scope": ["reviewers"]}, "without openbao in platform_checks_scope nobody looked"),
        (
            {"platform_checks_scope": ["openbao", "reviewers"]},
            "OpenBao shows no auth mount kubernetes-lost; if it should",
        ),
        ({"platform_checks_openbao_login": {}}, "no login is given in platform_openbao.login to see"),
        ({"platform_checks_openbao_nodes": []}, "no node is active to show"),
    ],
)
def test_a_downstream_cluster_whose_mount_is_lost_is_named(
    living: Living, variables: dict[str, t.Any], why: str
) -> None:
    kubeconfig = str(living.lab.clusters["core-infra"].kubeconfig)
    lost = {"name": "lost", "role": "downstream", "kubeconfig": kubeconfig}
    left_alone = {**lost, "name": "left-alone", "reviewer": {"enabled": False}}
    given = {
        "platform_clusters": [lost, left_alone],
        "platform_checks_openbao_login": living.login,
        "platform_checks_openbao_tokens": False,
        "platform_checks_fail_on": [],
        **variables,
    }
    ran = living.check(living.inventory(living.direct(), Path(kubeconfig)), given)
    assert ran.rc == 0, ran.output
    (one,) = [n for n in ran.result["not_checked"] if n["what"].startswith("reviewer of ")]
    assert one["what"] == "reviewer of lost"
    assert one["why"].startswith(why)
    assert not {finding for finding in ran.ids() if finding.startswith("reviewer-")}


def test_no_audit_device(living: Living) -> None:
    inventory = living.inventory(living.direct(), living.lab.clusters["core-infra"].kubeconfig)
    living.ask("DELETE", "sys/audit/lab")
    try:
        ran = living.check(inventory, {"platform_checks_openbao_login": living.login})
    finally:
        options = {"file_path": str(living.lab.openbao_audit_log)}
        living.ask("POST", "sys/audit/lab", {"type": "file", "options": options})
    assert ran.items("audit-none") == {"audit devices"}


@pytest.mark.parametrize("fault", ["sealed", "down"])
def test_one_node_sealed_or_down(living: Living, fault: str) -> None:
    active = living.lab.openbao_active()
    victim = next(n for n in ("openbao-2", "openbao-1") if n != active)
    inventory = living.inventory(living.direct(), living.lab.clusters["core-infra"].kubeconfig)
    if fault == "sealed":
        living.lab.restart(victim)
    else:
        living.lab.stop(victim)
    try:
        deadline = time.monotonic() + 60
        while True:
            servers = living.ask("GET", "sys/storage/raft/autopilot/state")["data"]["servers"]
            if servers[victim]["healthy"] is False or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        ran = living.check(inventory, {"platform_checks_openbao_login": living.login})
    finally:
        living.lab.start(victim)
        living.lab.unseal()
    assert ran.items("node-sealed" if fault == "sealed" else "node-unreachable") == {f"OpenBao node {victim}"}
    assert ran.items("raft-peer-unhealthy") == {f"raft peer {victim}"}
    assert ran.items("raft-no-tolerance") == {"raft"}
    assert {"root-token"} <= ran.ids(), "the other nodes are still asked"
