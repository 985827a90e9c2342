# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run costs and leaves behind, many clusters at once, real Ansible with encrypted files, and check.yml."""

from __future__ import annotations

import json
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
import yaml

from tests.integration.ansible_run import environment, program, run_play
from tests.integration.reviewer_doctor.conftest import WHERE, Patient

ROOT = Path(__file__).parents[3]


def state(patient: Patient) -> dict[str, t.Any]:
    """Everything that the doctor could have changed."""
    site = patient.site
    paths = [f"/api/v1/namespaces/{patient.namespace}/{kind}" for kind in ("secrets", "serviceaccounts", "configmaps")]
    paths += [f"/apis/rbac.authorization.k8s.io/v1/{kind}" for kind in ("clusterroles", "clusterrolebindings")]
    found: dict[str, t.Any] = {path: site.kube("GET", path)["items"] for path in paths}
    found["auth"] = {k: v for k, v in (site.data("sys/auth") or {}).items() if isinstance(v, dict)}
    found["policies"] = site.keys("sys/policies/acl")
    found["config"] = patient.config()
    found["roles"] = {r: site.data(f"auth/{patient.mount}/role/{r}") for r in site.keys(f"auth/{patient.mount}/role")}
    return found


def test_nothing_is_left_behind(patient: Patient) -> None:
    patient.look()  # the identity alias of the canary is there afterwards
    maps = f"/api/v1/namespaces/{patient.namespace}/configmaps"
    patient.site.until("the cluster's own objects of a new namespace", lambda: patient.site.kube("GET", maps)["items"])
    before, aliases = state(patient), patient.site.keys("identity/entity-alias/id")
    tokens = patient.site.keys("auth/token/accessors")
    mark = patient.site.mark(WHERE)
    assert patient.cause() == ""
    assert state(patient) == before
    assert patient.site.keys("identity/entity-alias/id") == aliases
    assert patient.site.keys("auth/token/accessors") == tokens
    namespace = f"/api/v1/namespaces/{patient.namespace}"
    reviewer = f"system:serviceaccount:{patient.namespace}:openbao-reviewer"
    review = (reviewer, "create", "/apis/authentication.k8s.io/v1/tokenreviews")
    assert patient.asked(mark) == sorted(
        [
            ("nobody", "get", "/version"),
            ("lab-admin", "create", f"{namespace}/serviceaccounts/openbao-canary/token"),
            ("lab-admin", "create", f"{namespace}/serviceaccounts/openbao-reviewer/token"),
            ("lab-admin", "create", "/apis/authorization.k8s.io/v1/subjectaccessreviews"),
            ("lab-admin", "get", "/.well-known/openid-configuration"),
            ("lab-admin", "get", f"{namespace}/serviceaccounts/openbao-reviewer"),
            ("lab-admin", "list", f"{namespace}/secrets"),
            review,  # the doctor's
            review,  # OpenBao's
        ]
    )


def test_service_tokens_are_given_back(patient: Patient) -> None:
    access = {"token_type": "service"}
    patient.wire(access=access)
    namespace = f"4-aux-{patient.tag}"
    patient.site.make_account(namespace)
    tokens = patient.site.keys("auth/token/accessors")
    assert patient.cause(patient.entry(access=access), tenants=patient.tenant(namespace)) == ""
    assert patient.site.keys("auth/token/accessors") == tokens


def test_without_login_no_token_is_requested(patient: Patient) -> None:
    mark = patient.site.mark(WHERE)
    with patient.lab.proxy(patient.site.active) as proxy:
        openbao = patient.site.openbao(url=proxy.address)
        one = patient.look(login=False, openbao=openbao)
        assert {r.method for r in proxy.requests()} <= {"GET", "LIST"}
    assert one["healthy"]
    assert [h["hop"] for h in one["hops"] if h["status"] == "skipped"] == ["client", "review", "login", "read"]
    assert [uri for _who, verb, uri in patient.asked(mark) if verb not in ("get", "list")] == [
        "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    ]


def test_the_login_of_the_docs_is_enough(patient: Patient) -> None:
    text = (ROOT / "docs" / "doctor.md").read_text().split("```hcl\n")[1].split("```")[0]
    name = f"doctor-{patient.tag}"
    patient.site.bao("PUT", f"sys/policies/acl/{name}", {"policy": text})
    made = patient.site.bao("POST", "auth/token/create", {"policies": [name], "ttl": "10m"})[1]
    assert patient.cause(openbao=patient.site.openbao(token=made["auth"]["client_token"])) == ""


def test_what_a_tenant_reads_is_not_looked_at(patient: Patient) -> None:
    namespace = f"4-aux-{patient.tag}"
    patient.site.make_account(namespace)
    patient.site.write_secret(f"tenants/{patient.tag}/{namespace}/db", password="hunter-of-the-snark-431")
    told = patient.look(tenants=patient.tenant(namespace, secret="db"))
    assert told["healthy"]
    assert "hunter-of-the-snark" not in json.dumps(told)
    assert told["hops"][-1]["detail"] == f"kv/data/tenants/{patient.tag}/{namespace}/db"


def test_many_clusters_at_once(patient: Patient) -> None:
    """Healthy ones, and others whose servers refuse, are silent, or are nowhere: each has its time, and no more."""
    site, audience = patient.site, f"openbao-{patient.tag}"
    entries = [patient.entry()]
    addresses = ["https://127.0.0.1:1", "https://192.0.2.1:6443", "https://api.nowhere.invalid:6443"]
    for number in range(9):
        changes = {"mount": f"m{number}", "audience": f"{audience}-{number}"}
        entries.append(
            site.entry(f"{patient.tag}-{number}", api_server=addresses[number % 3], namespace=patient.namespace)
            | changes
        )
    started = time.monotonic()
    told = site.call(*entries, module="jwt_reviewer_info")
    took = time.monotonic() - started
    assert [c["name"] for c in told["clusters"]] == [e["name"] for e in entries]
    assert told["clusters"][0]["healthy"]
    hops = {c["broken"]["hop"] for c in told["clusters"][1:]}
    assert hops == {"name", "tcp"}
    assert max(c["seconds"] for c in told["clusters"]) < 5
    assert took < 6
    assert len(told["findings"]) == 9


def test_all_of_them_silent(patient: Patient) -> None:
    site = patient.site
    entries = [
        site.entry(f"{patient.tag}-{n}", namespace=patient.namespace, mount=f"s{n}", audience=f"{patient.tag}-s{n}")
        for n in range(10)
    ]
    patient.lab.pause(f"{WHERE}-apiserver")
    try:
        started = time.monotonic()
        told = site.call(*entries, module="jwt_reviewer_info")
        took = time.monotonic() - started
    finally:
        patient.lab.resume(f"{WHERE}-apiserver")
    assert {c["broken"]["cause"] for c in told["clusters"]} == {"tls-silent"}
    assert max(c["seconds"] for c in told["clusters"]) < 5
    assert took < 6


# -- real Ansible ------------------------------------------------------------------------------------------------------


def test_encrypted_kubeconfig_and_token(patient: Patient, tmp_path: Path) -> None:
    key = tmp_path / "vault-password"
    key.write_text("only for this test\n")
    files = {"kubeconfig": patient.lab.clusters[WHERE].kubeconfig.read_text(), "token": patient.site.root + "\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        subprocess.run(
            [program("ansible-vault"), "encrypt", f"--vault-password-file={key}", str(tmp_path / name)],
            env=environment(tmp_path),
            capture_output=True,
            timeout=60,
            check=True,
        )
    openbao = {k: v for k, v in patient.site.openbao().items() if k != "token"}
    task = {
        "name": "Look",
        "hackspace.infra.jwt_reviewer_info": {
            "openbao": {**openbao, "token_path": str(tmp_path / "token")},
            "clusters": [patient.entry(kubeconfig=str(tmp_path / "kubeconfig"))],
        },
    }
    ran = run_play([task], verbosity=3, diff=True, check=True, args=[f"--vault-password-file={key}"]).ok()
    assert ran.of("jwt_reviewer_info")["clusters"][0]["healthy"]
    assert ran.changed == []
    for secret in (patient.site.root, *patient.lab.secrets()):
        assert secret not in ran.output
    assert "eyJ" not in ran.output


def checked(patient: Patient, tmp_path: Path, **variables: t.Any) -> tuple[int, dict[str, t.Any], str]:
    """Run playbooks/check.yml on the lab's inventory as an operator has it."""
    clusters = [
        {
            "name": patient.tag,
            "role": "downstream",
            "kubeconfig": str(patient.lab.clusters[WHERE].kubeconfig),
            "openbao_mount": patient.mount,
            "reviewer": {"namespace": patient.namespace},
        }
    ]
    password = tmp_path / "token"
    password.touch(mode=0o600)
    password.write_text(patient.site.root + "\n")
    openbao = {"ca_cert": str(patient.lab.openbao_ca), "login": {"auth_method": "token", "token_path": str(password)}}
    given = {
        "platform_clusters": clusters,
        "platform_openbao": openbao,
        "platform_checks_openbao_tokens": False,
        "platform_checks_accept": [{"id": "root-token", "reason": "the lab's own"}],
        **variables,
    }
    ran = run_play(
        ROOT / "playbooks" / "check.yml", inventory=patient.lab.state / "inventory", extra_vars=given, timeout=120
    )
    facts = [task.result.get("ansible_facts", {}) for task in ran.tasks]
    results = [f["platform_checks_result"] for f in facts if "platform_checks_result" in f]
    assert results, ran.output
    return ran.rc, results[-1], ran.output


def test_check_playbook(patient: Patient, tmp_path: Path) -> None:
    _rc, result, _output = checked(patient, tmp_path)
    mine = [f for f in result["findings"] if f["id"].startswith("reviewer-")]
    assert mine == []
    (line,) = [one for one in result["lines"] if one.startswith(f"  {patient.tag} (token_request)")]
    assert "openbao-canary can log in" in line
    assert "its token ends on" in line
    patient.site.bao("DELETE", f"sys/policies/acl/tenant-{patient.tag}")
    rc, result, output = checked(patient, tmp_path)
    assert rc != 0
    assert "reviewer-policy" in result["failing"]
    assert "playbooks/reviewers.yml" in output
    for secret in (patient.site.root, *patient.lab.secrets()):
        assert secret not in output


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"platform_checks_openbao_login": {}}, "no login is given in platform_openbao.login"),
        ({"platform_checks_openbao_nodes": []}, "no node is active"),
    ],
)
def test_check_playbook_says_what_it_left_out(
    patient: Patient, tmp_path: Path, variables: dict[str, t.Any], why: str
) -> None:
    _rc, result, _output = checked(patient, tmp_path, **variables)
    left = {n["what"]: n["why"] for n in result["not_checked"]}
    assert left[f"reviewer of {patient.tag}"] == why


def test_check_playbook_with_the_reviewers_alone(patient: Patient, tmp_path: Path) -> None:
    """Found by the mount that it has by default; nothing else is asked for."""
    own = {"name": patient.tag, "role": "downstream", "kubeconfig": str(patient.lab.clusters[WHERE].kubeconfig)}
    entry = {"name": patient.tag, "kubeconfig": own["kubeconfig"], "namespace": patient.namespace}
    rc, result, output = checked(
        patient,
        tmp_path,
        platform_checks_scope=["reviewers"],
        platform_checks_reviewers=[entry],
        platform_checks_reviewers_login=False,
    )
    assert rc == 0, output
    assert result["findings"] == []
    assert any("nothing wrong, no login made" in line for line in result["lines"])
    _rc, result, _output = checked(patient, tmp_path, platform_clusters=[own])
    assert [line for line in result["lines"] if line.startswith(f"  {patient.tag} (")] != []
    documented = yaml.safe_load((ROOT / "roles/platform_checks/meta/argument_specs.yml").read_text())
    assert "reviewers" in documented["argument_specs"]["main"]["options"]["platform_checks_scope"]["choices"]
