# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nudge: after seal and unseal External Secrets reads again at once, on all clusters."""

from __future__ import annotations

import base64
import datetime
import json
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
import yaml

from lab.api import Lab
from tests.integration.ansible_run import ROOT, private, program, run_play

from .conftest import CLUSTERS, EsoSite

PLAYBOOK = ROOT / "playbooks" / "unseal.yml"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    """A cluster without External Secrets."""
    lab = Lab("eso-bare", tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["core-infra"])
        yield lab
    finally:
        lab.down(wipe=True)


def make_tenant(site: EsoSite, cluster: str, namespace: str, **options: t.Any) -> None:
    """Make a namespace with a store and an ExternalSecret, and wait for its Secret."""
    site.make_namespace(cluster, namespace)
    site.write_secret(cluster, namespace, word="first")
    site.stores(cluster, namespace, **options)
    site.want(cluster, namespace)
    site.until(f"{cluster}'s secret", lambda: site.secret(cluster, namespace) == {"word": b64("first")})


def pause(site: EsoSite, cluster: str, namespace: str) -> float:
    """Return the seconds until External Secrets tries again by itself, at least.

    They double with each failure it has told of, but for the one that a nudge has caused: a try that is due already
    stays due, so that one failure more may have been told than counts.
    """
    query = "fieldSelector=involvedObject.kind=ExternalSecret,type=Warning"
    items = site.kube(cluster, "GET", f"/api/v1/namespaces/{namespace}/events?{query}")["items"]
    if not items or site.ready(cluster, namespace) != "False":
        return 0
    failures = sum(int(item.get("count") or 1) for item in items)
    last = max(datetime.datetime.fromisoformat(item["lastTimestamp"]).timestamp() for item in items)
    return float(last + 2 ** (failures - 2) - time.time())


def break_by_sealing(site: EsoSite, *namespaces: str) -> None:
    """Seal, and wait until External Secrets on both clusters tries so seldom that one can unseal in between."""
    site.seal()
    site.sync(select="all", namespaces=list(namespaces), wait=False)
    site.until("trouble", lambda: min(pause(site, c, n) for c in CLUSTERS for n in namespaces) > 25, 180)


def test_after_seal_and_unseal_both_clusters_recover_at_the_nudge(
    site: EsoSite, bare: Lab, tenant: str, tmp_path: Path
) -> None:
    watched = f"{tenant}-watched"  # its store looks often, and is not Ready while OpenBao is sealed
    names = [tenant, watched]
    for cluster in CLUSTERS:
        make_tenant(site, cluster, tenant)
        make_tenant(site, cluster, watched, refresh_seconds=2)
    assert not site.sync(namespaces=names)["changed"]
    break_by_sealing(site, *names)
    for cluster in CLUSTERS:
        site.until("the store", lambda c=cluster: site.ready(c, watched, "openbao", "secretstores") == "False")  # type: ignore[misc]

    marks = {cluster: site.mark(cluster) for cluster in CLUSTERS}
    foreseen = site.sync(check=True)
    for cluster in CLUSTERS:
        assert {verb for verb, _uri in site.asked(cluster, marks[cluster])} == {"list"}
        expected = [
            ("SecretStore", f"{cluster} {watched}/openbao"),
            *(("ExternalSecret", f"{cluster} {n}/db") for n in names),
        ]
        assert set(expected) <= {(c["kind"], c["name"]) for c in foreseen["changes"]}
    assert [c["state"] for c in foreseen["clusters"]] == ["nudged", "nudged"]

    variables = unseal_variables(site, tmp_path)
    variables["platform_clusters"] = [
        *site.clusters(),
        {"name": "bare", "kubeconfig": str(bare.clusters["core-infra"].kubeconfig)},
        {"name": "gone", "kubeconfig": private(tmp_path / "gone.kubeconfig", gone(bare))},
        {"name": "by-hand"},
    ]
    result = run_play(PLAYBOOK, extra_vars=variables).ok()
    waited_for = {pause(site, c, n) for c in CLUSTERS for n in names}
    nudged = result.of("eso_sync")
    states = {c["name"]: c["state"] for c in nudged["clusters"]}
    assert (states["bare"], states["gone"]) == ("not_installed", "unreachable")
    assert {states[c] for c in CLUSTERS} <= {"recovered", "not_ready"}  # other tests leave broken ones behind
    assert {(c["kind"], c["name"]) for c in nudged["changes"]} >= {
        ("ExternalSecret", f"{c} {n}/db") for c in CLUSTERS for n in names
    }
    assert waited_for == {0}, "ready again"
    assert "bare: no External Secrets there" in result.output
    assert all("force-sync" in site.annotations(c, n) for c in CLUSTERS for n in names)

    before = {(c, n): site.annotations(c, n) for c in CLUSTERS for n in names}
    marks = {cluster: site.mark(cluster) for cluster in CLUSTERS}
    again = site.sync(namespaces=names)
    assert not again["changed"]
    assert again["unchanged"] == 4
    assert [c["state"] for c in again["clusters"]] == ["healthy", "healthy"]
    assert {(c, n): site.annotations(c, n) for c in CLUSTERS for n in names} == before
    for cluster in CLUSTERS:
        # Lists of the stores would be needed only if something had to be nudged.
        assert site.asked(cluster, marks[cluster]) == [
            ("list", "/apis/external-secrets.io/v1/externalsecrets?limit=500")
        ]


def unseal_variables(site: EsoSite, folder: Path) -> dict[str, t.Any]:
    """Return the variables of the playbook that unseals the lab's OpenBao with three holders."""
    saved = json.loads((site.lab.state / "secrets" / "openbao-init.json").read_text())
    return {
        "openbao_unseal_nodes": [
            {"name": n.name, "url": n.address, "tls_server_name": n.tls_server_name} for n in site.lab.openbao_nodes
        ],
        "openbao_unseal_ca_cert": str(site.lab.openbao_ca),
        "openbao_unseal_sync_timeout": 15,
        "openbao_unseal_sources": [
            {"name": name, "file": private(folder / f"{name}.share", share)}
            for name, share in zip(("ada", "bo", "cleo"), saved["shares"], strict=False)
        ],
    }


def test_unsealing_never_fails_because_of_external_secrets(site: EsoSite, tmp_path: Path) -> None:
    variables = unseal_variables(site, tmp_path)
    variables["platform_clusters"] = [{"name": "gone", "kubeconfig": str(tmp_path / "none")}]
    broken = run_play(PLAYBOOK, extra_vars=variables).ok()
    assert "OpenBao is unsealed. External Secrets was not told everywhere" in broken.output
    assert broken.changed == []
    off = run_play(PLAYBOOK, extra_vars={**variables, "openbao_unseal_sync": False}).ok()
    assert "eso_sync" not in {task.action.rsplit(".", 1)[-1] for task in off.tasks}


def gone(lab: Lab) -> str:
    """Return a kubeconfig for an address where nobody listens."""
    content = yaml.safe_load(lab.clusters["core-infra"].kubeconfig.read_text())
    content["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    return yaml.safe_dump(content)


def test_all_of_a_tenant_is_read_again_when_its_secret_has_changed(site: EsoSite, tenant: str) -> None:
    make_tenant(site, "member-prod", tenant)
    site.write_secret("member-prod", tenant, word="second")
    assert not site.sync("member-prod", namespaces=[tenant])["changed"]
    result = site.sync("member-prod", namespaces=[tenant], select="all", require_ready=True)
    assert [c["state"] for c in result["clusters"]] == ["recovered"]
    assert site.secret("member-prod", tenant) == {"word": b64("second")}
    assert result["diff"][0]["before"] == {"ready": True}


def test_by_labels(site: EsoSite, tenant: str) -> None:
    site.make_namespace("member-prod", tenant)
    for name, team in (("one", "web"), ("two", "db")):
        site.want("member-prod", tenant, name, store="SecretStore")
        path = f"/apis/external-secrets.io/v1/namespaces/{tenant}/externalsecrets/{name}"
        label = {"metadata": {"labels": {"team": team}}}
        site.kube("member-prod", "PATCH", path, label, "application/merge-patch+json")
    result = site.sync("member-prod", check=True, label_selector="team=web", namespaces=[tenant])
    assert [c["name"] for c in result["changes"]] == [f"member-prod {tenant}/one"]


def test_what_stays_broken_is_named_and_fails_only_when_told(site: EsoSite, tenant: str) -> None:
    site.make_namespace("member-prod", tenant)
    site.stores("member-prod", {"namespace": tenant, "role": "nobody"}, inventory=f"stores-{tenant}")
    site.want("member-prod", tenant)
    site.until("the store", lambda: site.ready("member-prod", tenant, "openbao", "secretstores") == "False")
    args: dict[str, t.Any] = {"clusters": site.clusters("member-prod"), "namespaces": [tenant], "wait_timeout": 2}
    mark = site.mark("member-prod")
    refused = site.call("eso_sync", **{**args, "wait_timeout": 14}, require_ready=True)
    nudges = [uri for verb, uri in site.asked("member-prod", mark) if verb == "patch" and "externalsecrets" in uri]
    assert len(nudges) == 2, "once more after five seconds of waiting"
    assert refused["failed"]
    assert refused["error"]["rule"] == "not-ready"
    (one,) = refused["clusters"][0]["not_ready"]
    assert one["name"] == f"{tenant}/db"
    assert one["cause"].startswith(f"SecretStore {tenant}/openbao is not Ready")
    assert not site.call("eso_sync", **args).get("failed")


def test_a_cluster_without_external_secrets_is_fine(site: EsoSite, bare: Lab) -> None:
    entry = {"name": "bare", "kubeconfig": str(bare.clusters["core-infra"].kubeconfig)}
    result = site.apply("eso_sync", clusters=[entry])
    assert not result["changed"]
    assert result["summary"] == ["bare: no External Secrets there"]
    assert result["clusters"][0]["requests"] == 2


def test_a_cluster_that_cannot_be_asked_fails_after_the_others_are_done(
    site: EsoSite, bare: Lab, tenant: str, tmp_path: Path
) -> None:
    make_tenant(site, "member-prod", tenant)
    clusters = [
        {"name": "gone", "kubeconfig": private(tmp_path / "gone", gone(bare))},
        *site.clusters("member-prod"),
        {"name": "weak", "kubeconfig": private(tmp_path / "weak", weak(site, tenant))},
    ]
    args: dict[str, t.Any] = {"clusters": clusters, "namespaces": [tenant], "select": "all"}
    failed = site.call("eso_sync", **args)
    assert failed["failed"]
    assert failed["error"]["rule"] == "refused"
    assert {c["name"]: c["state"] for c in failed["clusters"]} == {
        "gone": "unreachable",
        "member-prod": "recovered",
        "weak": "unreachable",
    }
    assert "force-sync" in site.annotations("member-prod", tenant)
    assert "HTTP 403" in failed["clusters"][2]["problem"]
    warned = site.call("eso_sync", **args, on_unreachable="warn")
    assert not warned.get("failed")
    said = "\n".join(warned["warnings"])
    assert "gone: not asked: https://127.0.0.1:1: no answer" in said
    assert "weak: not asked" in said


def test_a_nudge_that_is_refused_or_cut_is_no_cluster_that_was_not_asked(
    site: EsoSite, tenant: str, tmp_path: Path
) -> None:
    make_tenant(site, "member-prod", tenant)
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": ["external-secrets.io"], "resources": ["*"], "verbs": ["list"]}]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": tenant}
    subject = {"kind": "ServiceAccount", "name": "eso", "namespace": tenant}
    binding = {"metadata": {"name": tenant}, "roleRef": role, "subjects": [subject]}
    site.kube("member-prod", "POST", f"{rbac}/clusterroles", {"metadata": {"name": tenant}, "rules": rules})
    site.kube("member-prod", "POST", f"{rbac}/clusterrolebindings", binding)
    args: dict[str, t.Any] = {"namespaces": [tenant], "select": "all", "on_unreachable": "warn"}
    reader = {"name": "reader", "kubeconfig": private(tmp_path / "reader", weak(site, tenant))}
    refused = site.call("eso_sync", clusters=[reader], **args)
    assert refused["failed"]
    assert refused["error"]["rule"] == "forbidden"
    assert not refused["changed"]
    (one,) = refused["clusters"]
    assert (one["state"], one["nudged"], one["external_secrets"] > 0) == ("failed", 0, True)
    assert refused["summary"][0].startswith("reader: 0 of 1 ExternalSecret nudged: API server: PATCH")
    assert "force-sync" not in site.annotations("member-prod", tenant)

    with site.lab.proxy("member-prod") as proxy:
        through = [{"name": "member-prod", "kubeconfig": str(proxy.kubeconfig)}]
        proxy.cut("after", None, method="PATCH")  # it is done, and every answer is lost
        lost = site.call("eso_sync", clusters=through, **args)
        assert lost["failed"]
        assert (lost["error"]["rule"], lost["clusters"][0]["state"]) == ("cut", "failed")
        assert lost["changed"]
        assert [c["name"] for c in lost["changes"]] == [f"member-prod {tenant}/db"]
        assert "force-sync" in site.annotations("member-prod", tenant)
        proxy.clear_rules()
        proxy.cut("before", method="GET")  # a list is sent again
        again = site.apply("eso_sync", clusters=through, **args)
        assert [c["state"] for c in again["clusters"]] == ["recovered"]
        proxy.fail(500, None, method="GET", path="externalsecrets", skip=1)  # gone while it waits
        left = site.apply("eso_sync", clusters=through, **args)
        assert (left["changed"], left["clusters"][0]["state"]) == (True, "nudged")
        assert "1 ExternalSecret nudged, and not seen since" in str(left["warnings"])


def weak(site: EsoSite, namespace: str) -> str:
    """Return a kubeconfig of a ServiceAccount that may do nothing."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/eso/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    token = site.kube("member-prod", "POST", path, body)["status"]["token"]
    content = yaml.safe_load(site.lab.clusters["member-prod"].kubeconfig.read_text())
    content["users"][0]["user"] = {"token": token}
    return yaml.safe_dump(content)


def test_in_ansible_with_an_encrypted_kubeconfig(site: EsoSite, tenant: str, tmp_path: Path) -> None:
    make_tenant(site, "member-prod", tenant)
    plain = site.lab.clusters["member-prod"].kubeconfig.read_text()
    encrypted = private(tmp_path / "kubeconfig", plain)
    password = private(tmp_path / "password", "of the vault")
    command = [program("ansible-vault"), "encrypt", "--vault-password-file", password, encrypted]
    subprocess.run(command, check=True, capture_output=True)
    args = {"clusters": [{"name": "member-prod", "kubeconfig": encrypted}], "namespaces": [tenant], "select": "all"}
    play = [{"name": "Nudge", "hackspace.infra.eso_sync": args}]
    options: dict[str, t.Any] = {
        "verbosity": 3,
        "diff": True,
        "folder": tmp_path / "run",
        "args": ["--vault-password-file", password],
    }
    seen = run_play(play, check=True, **options).ok()
    assert seen.changed
    assert "force-sync" not in site.annotations("member-prod", tenant)
    done = run_play(play, **options).ok()
    assert done.of("eso_sync")["clusters"][0]["state"] == "recovered"
    secrets = {s for s in site.lab.secrets() if len(s) >= 16}
    secrets |= {str(value) for value in yaml.safe_load(plain)["users"][0]["user"].values()}
    printed = seen.output + done.output
    assert [s[:8] for s in secrets if s in printed] == []
    written = [file for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert written
    assert [file for file in written for s in secrets if s.encode() in file.read_bytes()] == []
