# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts for each finding, and facts that must not yield one."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.info_findings import (
    DAY,
    FINDINGS,
    Limits,
    info_findings,
    parsed_version,
    references,
    span,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.info_report import info_result

Facts = dict[str, t.Any]
REMOTE = "https://192.0.2.10:6443"


def mount(kind: str, roles: list[Facts] | None = None, config: Facts | None = None, max_ttl: int = 0) -> Facts:
    return {
        "auth": {"m": {"type": kind, "accessor": "a", "description": "", "config": {"max_lease_ttl": max_ttl}}},
        "auth_roles": {"m": [{"kind": "role", "name": "r", "fields": r} for r in roles or []]},
        "auth_config": {} if config is None else {"m": config},
    }


def kube(**fields: t.Any) -> Facts:
    good = {
        "bound_service_account_names": ["eso"],
        "bound_service_account_namespaces": ["3-edge-*"],
        "audience": "openbao-member-prod",
        "token_max_ttl": 600,
        "token_policies": [],
    }
    return mount("kubernetes", [{**good, **fields}])


def token(**fields: t.Any) -> Facts:
    good = {
        "accessor": "abcdefghijkl",
        "display_name": "t",
        "policies": ["default"],
        "creation_ttl": 30 * DAY,
        "ttl": 20 * DAY,
        "expire_time": "2026-12-01T00:00:00Z",
        "renewable": True,
    }
    return {"tokens": [{**good, **fields}]}


AUTOPILOT = {"servers": {n: {"healthy": True, "status": "voter"} for n in ("a", "b", "c")}, "failure_tolerance": 1}

CASES: dict[str, tuple[str, Facts]] = {
    "audit-none": ("warning", {"audit": []}),
    "mount-local-token": (
        "error",
        mount(
            "kubernetes",
            config={"kubernetes_host": REMOTE, "disable_local_ca_jwt": False, "token_reviewer_jwt_set": False},
        ),
    ),
    "mount-not-configured": ("warning", mount("kubernetes", config={})),
    "not-initialised": ("error", {"seal": {"initialized": False, "sealed": True}}),
    "policy-missing": ("warning", {**kube(token_policies=["gone"]), "policies": ["root"]}),
    "policy-unused": ("info", {"policies": ["root", "default", "old"]}),
    "raft-peer-unhealthy": ("error", {"autopilot": {"servers": {"a": {"healthy": False, "status": "voter"}}}}),
    "raft-no-tolerance": ("warning", {"autopilot": {**AUTOPILOT, "failure_tolerance": 0}}),
    "role-any-namespace": ("warning", kube(bound_service_account_namespaces=["*"])),
    "role-any-service-account": ("warning", kube(bound_service_account_names=["*"])),
    "role-default-service-account": ("warning", kube(bound_service_account_names=["default", "eso"])),
    "role-long-ttl": ("warning", kube(token_max_ttl=2 * DAY)),
    "role-without-audience": ("warning", kube(audience="")),
    "root-token": ("error", token(policies=["root"], ttl=0, expire_time=None)),
    "sealed": ("error", {"seal": {"initialized": True, "sealed": True, "progress": 1, "t": 3}}),
    "token-near-expiry": ("warning", token(ttl=DAY)),
    "token-never-expires": ("warning", token(ttl=0, expire_time=None)),
    "user-long-ttl": ("info", mount("userpass", [{"token_policies": []}])),
    "version-audit-by-api": ("error", {"version": "2.3.1"}),
    "version-development": ("warning", {"version": "2.0.0-HEAD"}),
    "version-rotate-loses-shares": ("error", {"version": "2.5.1", "seal": {"type": "shamir", "initialized": True}}),
    "version-vault": ("info", {"version": "1.13.2"}),
}


def test_every_finding_has_a_case() -> None:
    assert set(CASES) == set(FINDINGS)


@pytest.mark.parametrize("name", sorted(CASES))
def test_finding(name: str) -> None:
    severity, facts = CASES[name]
    found = info_findings(facts)
    assert [(f.id, f.severity) for f in found] == [(name, severity)]
    assert found[0].item
    assert found[0].message
    assert found[0].fix


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"audit": None},
        {"audit": ["file"]},
        kube(),
        kube(bound_service_account_namespaces=["default"]),
        {"version": "2.6.2", "seal": {"type": "shamir", "initialized": True, "sealed": False}},
        {"version": "2.5.1", "seal": {"type": "static", "initialized": True}},
        {"version": "unknown"},
        mount("kubernetes", config={"kubernetes_host": REMOTE, "disable_local_ca_jwt": True}),
        mount("kubernetes", config={"kubernetes_host": "https://kubernetes.default.svc:443"}),
        mount("approle", [{"token_max_ttl": 600}]),
        mount("oidc", [{"role_type": "oidc", "token_policies": []}]),
        mount("approle", [{"token_policies": []}], max_ttl=3600),
        token(),
        token(creation_ttl=600, ttl=10),
        token(period=32 * DAY, ttl=31 * DAY),
        {"autopilot": AUTOPILOT},
        {"autopilot": None},
        {"policies": ["root", "default"]},
    ],
)
def test_nothing_to_say(facts: Facts) -> None:
    assert info_findings(facts) == []


def test_reviewer_that_may_be_set_is_a_warning() -> None:
    found = info_findings(mount("kubernetes", config={"kubernetes_host": REMOTE, "disable_local_ca_jwt": False}))
    assert [(f.id, f.severity) for f in found] == [("mount-local-token", "warning")]


def test_every_pod_of_a_cluster_is_an_error() -> None:
    found = info_findings(kube(bound_service_account_names=["*"], bound_service_account_namespaces=["*"]))
    assert [(f.id, f.severity) for f in found] == [("role-any-service-account", "error")]


def test_jwt_roles_are_read_too() -> None:
    role = {"role_type": "jwt", "bound_subject": "system:serviceaccount:apps:default", "token_period": 3600}
    assert {f.id for f in info_findings(mount("jwt", [role]))} == {
        "role-without-audience",
        "role-default-service-account",
        "role-long-ttl",
    }


def test_limits_are_respected() -> None:
    limits = Limits(long_ttl=60, expiry_warning=10, short_lived=DAY)
    assert [f.id for f in info_findings(kube(), limits)] == ["role-long-ttl"]
    assert info_findings(token(ttl=DAY), limits) == []


def test_own_token_is_reported_only_as_root() -> None:
    own = {**token(ttl=60), "own_accessor": "abcdefghijkl"}
    assert info_findings(own) == []
    root = {**token(policies=["root"], ttl=60), "own_accessor": "abcdefghijkl"}
    assert "the login of this very run" in info_findings(root)[0].message


def test_policies_are_used_by_whatever_refers_to_them() -> None:
    facts: Facts = {
        **kube(token_policies=["by-role"]),
        "policies": ["by-role", "by-token-role", "by-group", "by-token", "by-glob-1", "nobody"],
        "token_roles": [{"name": "tr", "fields": {"allowed_policies": ["by-token-role"], "allowed_policies_glob": []}}],
        "identities": [{"kind": "group", "name": "g", "policies": ["by-group", "by-glob-*"]}],
        "tokens": [{"policies": ["by-token"], "ttl": 20 * DAY, "expire_time": "x", "creation_ttl": 30 * DAY}],
    }
    assert [f.item for f in info_findings(facts)] == ["OpenBao policy nobody"]
    assert references(facts)["by-group"] == "identity group g"


def test_unused_says_when_not_everything_could_be_read() -> None:
    facts: Facts = {"policies": ["old"], "references_not_checked": True}
    assert "as far as could be read" in info_findings(facts)[0].message


def test_most_severe_first_and_no_accessor_in_full() -> None:
    facts: Facts = {"audit": [], "version": "1.13.2", **token(policies=["root"])}
    found = info_findings(facts)
    assert [f.severity for f in found] == ["error", "warning", "info"]
    assert "abcdefghijkl" not in str(found)


def test_sealed_or_empty_facts_make_a_result() -> None:
    result = info_result({"seal": {"sealed": True}, "version": "2.6.2", "not_checked": [{"what": "x", "why": "y"}]})
    assert result["auth_mounts"] == []
    assert result["not_checked"] == [{"what": "x", "why": "y"}]
    assert result["audit_devices"] is None


def test_result_of_mounts_and_peers() -> None:
    facts: Facts = {
        **kube(),
        "secret_engines": {
            "kv": {"type": "kv", "options": {"version": "2"}, "description": "managed by hackspace.infra"}
        },
        "raft": [{"node_id": "a", "address": "x:1", "leader": True, "voter": True}],
        "autopilot": AUTOPILOT,
    }
    result = info_result(facts)
    assert result["auth_mounts"][0]["roles"] == ["r"]
    assert result["secret_engines"] == [
        {"path": "kv", "type": "kv", "version": "2", "description": "managed by hackspace.infra", "ours": True}
    ]
    assert result["raft_peers"] == [{"name": "a", "address": "x:1", "leader": True, "voter": True, "healthy": True}]


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (600, "10 min"), (2 * DAY, "48 h"), (768 * 3600, "32 days")])
def test_span(seconds: int, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(("text", "version"), [("2.6.2", (2, 6, 2)), ("v1.13.2+x", (1, 13, 2)), ("HEAD", None)])
def test_version(text: str, version: tuple[int, int, int] | None) -> None:
    assert parsed_version(text) == version


def test_a_mount_of_the_reviewers_lets_every_namespace_in_to_its_own_paths() -> None:
    facts = kube(bound_service_account_namespaces=["*"])
    facts["auth"]["m"]["description"] = "Tenants of c by token_request [hackspace.infra: jwt_reviewer]"
    assert info_findings(facts) == []
    assert [m["ours"] for m in info_result(facts)["auth_mounts"]] == [True]
    facts["auth"]["m"]["description"] = "Tenants of c"
    assert [f.id for f in info_findings(facts)] == ["role-any-namespace"]
    assert [m["ours"] for m in info_result(facts)["auth_mounts"]] == [False]
