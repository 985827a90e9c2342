# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the check, and the findings about clusters."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._graph.check_report import Checked, report
from ansible_collections.hackspace.infra.plugins.module_utils._kube.cluster_findings import FINDINGS, cluster_findings

NOW = 1_800_000_000.0
GOOD = {
    "name": "home",
    "server": "https://192.0.2.10:6443",
    "problem": None,
    "version": "v1.35.0",
    "ready": True,
    "nodes": 3,
    "nodes_seen": 3,
    "nodes_ready": 3,
    "credential": "client certificate",
    "expires": NOW + 90 * 86400,
    "verified": True,
}
FINDING = {
    "id": "file-mode",
    "severity": "error",
    "item": "platform_clusters[0].kubeconfig",
    "message": "m.",
    "fix": "f",
}


def make(checked: Checked, **kwargs: t.Any) -> dict[str, t.Any]:
    return report(checked, **{"name": "lab", "accept": [], "fail_on": ["error"], **kwargs})


def node(name: str, state: str, **fields: t.Any) -> dict[str, t.Any]:
    return {
        "name": name,
        "state": state,
        "t": 3,
        "progress": 0,
        "version": "2.6.2",
        "role": "",
        "problem": None,
        **fields,
    }


CLUSTERS: dict[str, dict[str, t.Any]] = {
    "cluster-not-ready": {"ready": False},
    "cluster-unreachable": {"problem": {"rule": "refused", "message": "the connection was refused."}},
    "credential-expired": {"expires": NOW - 1},
    "credential-near-expiry": {"expires": NOW + 86400},
    "nodes-not-ready": {"nodes_ready": 2},
    "tls-not-verified": {"verified": False},
}


def test_every_cluster_finding_has_a_case() -> None:
    assert set(CLUSTERS) == set(FINDINGS)


@pytest.mark.parametrize("name", sorted(CLUSTERS))
def test_cluster_finding(name: str) -> None:
    found = cluster_findings([{**GOOD, **CLUSTERS[name]}], now=NOW, warn_days=30)
    assert [f["id"] for f in found] == [name]
    assert found[0]["item"] == "cluster home"
    assert found[0]["fix"]


def test_good_cluster_has_none() -> None:
    assert cluster_findings([GOOD, {**GOOD, "expires": None, "ready": None}], now=NOW, warn_days=30) == []


def test_nothing_checked() -> None:
    result = make(Checked())
    assert result["findings"] == []
    assert result["failing"] == []
    assert result["lines"] == ["lab: 0 errors, 0 warnings, 0 notes; nothing was written"]


def test_nodes_of_every_state() -> None:
    seal = {
        "nodes": [
            node("a", "sealed", progress=1),
            node("b", "unreachable", problem={"hop": "tls-ca", "message": "not trusted.", "fix": "give the CA."}),
            node("c", "not_initialised"),
            node("d", "joining"),
            node("e", "auto_unseal"),
            node("f", "migration_pending"),
            node("g", "unsealed", role="standby"),
        ],
        "active": None,
    }
    result = make(Checked(seal=seal))
    assert [(f["id"], f["severity"]) for f in result["findings"]] == [
        ("no-active-node", "error"),
        ("node-auto-unseal", "error"),
        ("node-migration-pending", "error"),
        ("node-not-initialised", "error"),
        ("node-sealed", "error"),
        ("node-unreachable", "error"),
        ("node-joining", "warning"),
    ]
    messages = {f["id"]: (f["message"], f["fix"]) for f in result["findings"]}
    assert messages["node-sealed"] == ("is sealed; 1 of 3 shares are in.", "run playbooks/unseal.yml.")
    assert messages["node-unreachable"] == ("is unreachable (tls-ca): not trusted.", "give the CA.")
    assert "  g: unsealed, standby, version 2.6.2" in result["lines"]


def test_unseal_shares_and_their_holders() -> None:
    shares = {
        "holders": [
            {"holder": "ada", "verified_at": "2026-01-02T03:04:05Z", "departed": False},
            {"holder": "bo", "verified_at": "", "departed": True},
        ],
        "threshold": 1,
        "findings": [
            {"severity": "critical", "rule": "at-threshold", "what": "one is left", "fix": "make new shares."},
            {"severity": "warning", "rule": "departed", "what": "bo left", "fix": "make new shares."},
        ],
    }
    result = make(Checked(shares=shares))
    assert [(f["id"], f["severity"]) for f in result["findings"]] == [
        ("shares-at-threshold", "error"),
        ("shares-departed", "warning"),
    ]
    assert result["failing"] == ["shares-at-threshold"]
    assert result["lines"][1:4] == [
        "Unseal shares: 1 of 2 are needed",
        "  ada: shown on 2026-01-02",
        "  bo: never shown, departed",
    ]
    broken = make(Checked(shares={"failed": True, "msg": "no record of unseal shares.", "error": {"fix": "mend it."}}))
    assert [(f["id"], f["item"], f["fix"]) for f in broken["findings"]] == [
        ("check-failed", "unseal shares", "mend it.")
    ]


def test_active_node_and_mounts_are_shown() -> None:
    seal = {"nodes": [node("a", "unsealed")], "active": {"name": "a"}}
    mounts = [
        {"path": "token", "type": "token", "ours": False, "roles": None},
        {"path": "kubernetes-home", "type": "kubernetes", "ours": True, "roles": ["eso"]},
    ]
    engines = [{"path": "kv", "type": "kv", "version": "2", "ours": False}]
    openbao = {
        "auth_mounts": mounts,
        "secret_engines": engines,
        "findings": [],
        "not_checked": [{"what": "x", "why": "y"}],
    }
    lines = make(Checked(seal=seal, openbao=openbao))["lines"]
    assert "  a: unsealed, active, version 2.6.2" in lines
    assert "  token (token, built in)" in lines
    assert "  kubernetes-home (kubernetes, ours): eso" in lines
    assert "  kv (kv version 2, not ours)" in lines
    assert lines[-2:] == ["Not checked", "  x: y"]


def test_clusters_are_shown() -> None:
    clusters = [
        {
            "name": "a",
            "reachable": True,
            "version": "v1",
            "nodes": 3,
            "nodes_ready": 3,
            "expires": None,
            "credential": "x",
        },
        {"name": "b", "reachable": False, "expires": "2026-12-01T00:00:00Z", "credential": "client certificate"},
    ]
    lines = make(Checked(clusters={"clusters": clusters, "findings": []}))["lines"]
    assert lines[-2:] == [
        "  a: v1, 3 of 3 nodes ready",
        "  b: not reachable, client certificate ends on 2026-12-01",
    ]


def test_module_that_failed_is_a_finding() -> None:
    openbao = {"failed": False, "msg": "login refused", "error": {"fix": "check the password."}}
    result = make(Checked(openbao=openbao, seal={"failed": True, "msg": "bad"}, clusters={"failed": True, "msg": "c"}))
    assert {(f["item"], f["fix"]) for f in result["findings"]} == {
        ("OpenBao", "check the password."),
        ("OpenBao nodes", "see the output of the task."),
        ("clusters", "see the output of the task."),
    }
    assert result["failing"] == ["check-failed"]


def test_accepted_findings_do_not_fail() -> None:
    accept = [{"id": "file-mode", "item": "platform_clusters[[]*", "reason": "a kiosk"}]
    result = make(Checked(inventory=[FINDING]), accept=accept)
    assert result["findings"] == []
    assert result["failing"] == []
    assert result["accepted"] == [{**FINDING, "reason": "a kiosk"}]
    assert result["lines"][-1].endswith("because a kiosk")
    other = make(Checked(inventory=[FINDING]), accept=[{"id": "file-mode", "item": "platform_openbao*", "reason": "r"}])
    assert other["failing"] == ["file-mode"]


def test_fail_on() -> None:
    assert make(Checked(inventory=[FINDING]), fail_on=[])["failing"] == []
    assert make(Checked(inventory=[{**FINDING, "severity": "info"}]), fail_on=["info"])["failing"] == ["file-mode"]


@pytest.mark.parametrize(
    ("kwargs", "item"),
    [
        ({"fail_on": ["fatal"]}, "platform_checks_fail_on[0]"),
        ({"accept": [{"id": "x"}]}, "platform_checks_accept[0]"),
        ({"accept": [{"id": "x", "reason": "y"}, {"reason": "z"}]}, "platform_checks_accept[1]"),
    ],
)
def test_wrong_options(kwargs: dict[str, t.Any], item: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make(Checked(), **kwargs)
    assert caught.value.item == item


FLUX = {
    "installed": True,
    "lockdown": [],
    "controllers": [{"name": "source-controller", "ready": True, "why": ""}],
    "failing": [],
    "suspended": [],
    "summary": ["Flux v2.6.0, owned by us", "3 objects, 0 not ready, 0 suspended"],
}


def failing(namespace: str, state: str = "failed", because: str = "") -> dict[str, t.Any]:
    return {
        "kind": "Kustomization",
        "namespace": namespace,
        "name": "one",
        "state": state,
        "because": because,
        "message": "no such path",
        "since": "",
        "hint": "",
    }


def test_flux_that_is_well() -> None:
    result = make(Checked(flux={"a": FLUX}))
    assert result["findings"] == []
    assert result["lines"][-2:] == ["Flux", "  a: Flux v2.6.0, owned by us; 3 objects, 0 not ready, 0 suspended"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"installed": False}, ("flux-missing", "error")),
        (
            {"lockdown": [{"item": "kustomize-controller", "message": "lacks a flag.", "fix": "run it."}]},
            ("flux-not-locked-down", "error"),
        ),
        (
            {"controllers": [{"name": "source-controller", "ready": False, "why": "no pods"}]},
            ("flux-controller-not-ready", "error"),
        ),
        ({"failing": [failing("flux-system")]}, ("flux-failing", "error")),
        ({"failing": [failing("flux-system", because="GitRepository x")]}, ("flux-failing", "warning")),
        ({"failing": [failing("4-aux-ann")]}, ("flux-failing", "warning")),
        ({"failing": [failing("flux-system", "waiting")]}, ("flux-waiting", "warning")),
        ({"suspended": ["Kustomization flux-system/apps"]}, ("flux-suspended", "info")),
    ],
)
def test_what_is_wrong_with_flux(change: dict[str, t.Any], found: tuple[str, str]) -> None:
    tenant = {"name": "ann", "namespaces": ["4-aux-ann"], "ready": True, "problems": [], "drift": []}
    tenants = {"tenants": [tenant], "undeclared": {}, "findings": []}
    (one,) = make(Checked(flux={"a": {**FLUX, **change}}, tenants={"a": tenants}))["findings"]
    assert (one["id"], one["severity"]) == found
    assert one["item"].startswith("Flux of a")


def test_how_tenants_fare() -> None:
    well = {"name": "ann", "namespaces": ["4-aux-ann"], "ready": True, "problems": [], "drift": []}
    ill = {**well, "name": "ben", "ready": False, "problems": ["no pods"], "drift": ["update Namespace 4-aux-ben"]}
    wrong = {"rule": "quota", "level": "error", "item": "cy.yaml: quota", "message": "too much.", "fix": "take less."}
    info = {"tenants": [well, ill], "undeclared": {"dan": ["4-aux-dan"]}, "findings": [wrong]}
    result = make(Checked(tenants={"a": info}))
    assert {(one["id"], one["severity"], one["item"]) for one in result["findings"]} == {
        ("tenant-declaration-quota", "error", "cy.yaml: quota"),
        ("tenant-not-ready", "warning", "tenant ben on a"),
        ("tenant-drift", "warning", "tenant ben on a"),
        ("tenant-undeclared", "warning", "tenant dan on a"),
    }
    assert result["failing"] == ["tenant-declaration-quota"]
    assert "  a: 2 declared, 1 ready and as declared" in result["lines"]


def test_flux_and_tenants_that_could_not_be_asked() -> None:
    refused = {"failed": False, "msg": "it is forbidden.", "error": {"fix": "another login."}}
    result = make(Checked(flux={"a": refused}, tenants={"a": refused}))
    assert {(one["id"], one["item"]) for one in result["findings"]} == {
        ("check-failed", "Flux of a"),
        ("check-failed", "tenants of a"),
    }
