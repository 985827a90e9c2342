# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rules must let through, what they must not say, and that no input makes them fall over."""

from __future__ import annotations

import base64
import pathlib
import typing as t

import jsonschema
import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._components.model import parse as parse_components
from ansible_collections.hackspace.infra.plugins.module_utils._components.openbao import parse as parse_openbao
from ansible_collections.hackspace.infra.plugins.module_utils._graph.inventory_model import (
    RULES,
    FileFact,
    Inventory,
    findings,
    load_schema,
    named_files,
    path_text,
    secret_kind,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = pathlib.Path(__file__).parents[3]

CLUSTER = {
    "name": "core-infra",
    "role": "upstream",
    "api_server": "https://192.0.2.10:6443",
    "ca_file": "/ca.pem",
    "kubeconfig": "/k",
    "context": "admin@core-infra",
    "openbao_mount": "kubernetes-core-infra",
    "openbao_audience": "openbao-core-infra",
}


def rules(variables: dict[str, t.Any], **kwargs: t.Any) -> list[tuple[str, str]]:
    return [(f.path, f.rule) for f in findings(Inventory(variables, kwargs.pop("hosts", {}), **kwargs))]


def test_nothing_defined_is_fine() -> None:
    assert rules({}) == []


def test_schema_is_valid_and_its_rules_are_known() -> None:
    schema = load_schema()
    jsonschema.Draft202012Validator.check_schema(schema)

    def walk(node: t.Any) -> t.Iterator[dict[str, t.Any]]:
        if isinstance(node, dict):
            yield node
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value)

    patterns = [n for n in walk(schema) if isinstance(n.get("pattern"), str)]
    assert patterns
    for node in patterns:
        assert node["x-rule"] in RULES
        assert node["x-message"]
        assert node["x-fix"]


def test_own_variables_of_roles_are_left_alone() -> None:
    assert rules({"platform_checks_fail_on": [], "platform_backup_anything": 1}) == []


def test_complete_cluster_is_fine() -> None:
    assert rules({"platform_clusters": [CLUSTER]}, groups=["cluster_core_infra", "cluster_core-infra", "x"]) == []


def test_http_on_loopback_is_fine() -> None:
    hosts = {"openbao_nodes": {"a": {"openbao_address": "http://127.0.0.1:8200"}}}
    assert rules({}, hosts=hosts) == []
    assert rules({}, hosts={"openbao_nodes": {"a": {"openbao_address": "http://[::1]:8200"}}}) == []


def test_other_host_variables_are_left_alone() -> None:
    hosts = {"openbao_nodes": {"a": {"openbao_address": "https://[2001:db8::1]:8200", "ansible_port": 22, "rack": "b"}}}
    assert rules({}, hosts=hosts) == []


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("age_recipient", "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"),
        ("digest", "0" * 64),
        ("public_key", base64.b64encode(bytes(32)).decode()),
        ("token_path", "/run/token"),
        ("password_file", "~/.pw"),
        ("password", ""),
        ("password", "$ANSIBLE_VAULT;1.1;AES256\n6234"),
        ("name", "s.hort"),
        ("kv_prefix", "tenants"),
    ],
)
def test_harmless_texts(key: str, text: str) -> None:
    assert secret_kind(key, text) is None


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("x", "hvs." + "a" * 24),
        ("x", "s." + "a" * 24),
        ("x", "AGE-SECRET-KEY-1" + "Q" * 58),
        ("x", "-----BEGIN OPENSSH PRIVATE KEY-----"),
        ("x", "-----BEGIN PGP PRIVATE KEY BLOCK-----"),
        ("x", "ab" * 33),
        ("x", base64.b64encode(bytes(33)).decode()),
        ("unseal_share", base64.b64encode(bytes(32)).decode()),
        ("password", "x"),
        ("root_token", "y"),
        ("x", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0x.c2lnbmF0dXJl"),
    ],
)
def test_secret_texts(key: str, text: str) -> None:
    assert secret_kind(key, text)


def test_encrypted_and_computed_texts_are_not_plain() -> None:
    login = {"auth_method": "userpass", "username": "ada", "password": "correct-horse"}
    variables = {"platform_openbao": {"login": login}}
    assert rules(variables, plain=frozenset()) == []
    assert rules(variables, plain=frozenset({"platform_openbao.login.password"})) == [
        ("platform_openbao.login.password", "plaintext-secret")
    ]


def test_encrypted_value_is_not_repeated() -> None:
    variables = {"platform_name": "Top Hush"}
    shown = findings(Inventory(variables, {}))
    veiled = findings(Inventory(variables, {}, encrypted=frozenset({"platform_name"})))
    assert "Top Hush" in shown[0].message
    assert [f.rule for f in veiled] == ["name"]
    assert "Top Hush" not in str(veiled)


def test_did_you_mean() -> None:
    found = findings(Inventory({"platform_clusters": [{**CLUSTER, "openbao_audiance": "x"}]}, {}))
    assert [f.fix for f in found] == ["did you mean openbao_audience?"]


def test_files_named_and_who_may_read_them() -> None:
    variables = {
        "platform_clusters": [CLUSTER],
        "platform_openbao": {
            "ca_cert": "~/ca.pem",
            "config": {"auth_mounts": [{"path": "userpass", "users": [{"name": "a", "password_file": "/made/later"}]}]},
        },
        "platform_secrets": [{"name": "age", "path": "/age.key.age", "holders": ["a", "b"]}],
    }
    assert named_files(Inventory(variables, {})) == [
        ("platform_clusters[0].ca_file", "/ca.pem", True),
        ("platform_clusters[0].kubeconfig", "/k", False),
        ("platform_openbao.ca_cert", "~/ca.pem", True),
        ("platform_secrets[0].path", "/age.key.age", True),
    ]
    everything_open = findings(Inventory(variables, {}), lambda _: FileFact(True, 0o644))
    assert [(f.path, f.rule) for f in everything_open] == [("platform_clusters[0].kubeconfig", "file-mode")]
    assert findings(Inventory(variables, {}), lambda _: FileFact(True, 0o600)) == []


def test_path_text() -> None:
    assert path_text(["a", 1, "b", "c", 0]) == "a[1].b.c[0]"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*CLUSTER, "seal", "holders", "login", "shares"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    variables=st.dictionaries(
        st.sampled_from(
            ["platform_clusters", "platform_openbao", "platform_secrets", "platform_ceph", "platform_name"]
        ),
        JSON,
    ),
    nodes=st.dictionaries(st.text(max_size=5), JSON, max_size=2),
)
def test_no_input_makes_it_fall_over(variables: dict[str, t.Any], nodes: dict[str, t.Any]) -> None:
    found = findings(Inventory(variables, {"openbao_nodes": nodes, "talos_vms": nodes}, ["cluster_x"]))
    assert {f.rule for f in found} <= set(RULES)


def test_minimal_inventory_is_minimal() -> None:
    assert len((ROOT / "inventories" / "minimal" / "hosts.yml").read_text().splitlines()) <= 20


@pytest.mark.parametrize("name", ["minimal", "example"])
def test_shipped_inventories_are_yaml(name: str) -> None:
    files = sorted((ROOT / "inventories" / name).glob("**/*.yml"))
    assert files
    for path in files:
        assert yaml.safe_load(path.read_text())


def test_the_example_is_whole() -> None:
    """What each role wants of it fits together."""
    folder = ROOT / "inventories" / "example"
    texts = [file.read_text().replace("{{ inventory_dir }}", "/site") for file in folder.glob("group_vars/all/*.yml")]
    site = {key: value for text in texts for key, value in yaml.safe_load(text).items()}
    of_role = ("clusters", "openbao")
    components = [{k: v for k, v in one.items() if k not in of_role} for one in site["platform_components"]]
    assert [one.name for one in parse_components(components)] == [one["name"] for one in site["platform_components"]]
    assert sum(len(one.get("manifests", ())) for one in components) == 8
    (bao,) = [one for one in site["platform_components"] if "openbao" in one]
    servers = yaml.safe_load((folder / "hosts.yml").read_text())["all"]["children"]["openbao_nodes"]["hosts"]
    pods = parse_openbao(bao["openbao"]).pods()
    assert list(servers) == pods
    for pod, service in zip(pods, bao["objects"], strict=True):
        address = service["metadata"]["annotations"]["lbipam.cilium.io/ips"]
        assert servers[pod]["openbao_address"] == f"https://{address}:8200"
        assert service["spec"]["selector"] == {"statefulset.kubernetes.io/pod-name": pod}
        assert service["spec"]["publishNotReadyAddresses"] is True
        assert f"DNS:{servers[pod]['openbao_tls_server_name']}" in site["platform_components_certificate_names"]
    assert site["platform_openbao"]["ca_cert"] == f"{site['platform_components_certificates_dir']}/ca.crt"
    host = site["tenant_onboarding_openbao_server"].removeprefix("https://").removesuffix(":8200")
    assert f"DNS:{host}" in site["platform_components_certificate_names"]
    assert site["tenant_onboarding_token_file"]
    assert all(one["flux"]["repository"] for one in site["platform_clusters"])
    assert set(site["flux_bootstrap_manifests"]) == {"path", "sha256"}


REVIEWER: dict[str, t.Any] = {
    "enabled": True,
    "mode": "jwt_pubkeys",
    "namespace": "token-review",
    "service_account": "reviewer",
    "canary_service_account": "canary",
    "cluster_role": "bao:token-review",
    "token_lifetime": "7d",
    "key_overlap": 3600,
    "access": {
        "role": "tenants",
        "service_accounts": ["eso", "app-*"],
        "namespaces": ["3-edge-*", "4-aux-alice"],
        "namespace_selector": {"tenancy": "true"},
        "ttl": "10m",
        "token_type": "service",
        "find": True,
        "per_tenant": [{"name": "alice"}, {"name": "bob", "namespaces": ["4-aux-bob"], "service_accounts": ["web"]}],
    },
}


def test_everything_about_a_reviewer() -> None:
    assert findings(Inventory({"platform_clusters": [{**CLUSTER, "reviewer": REVIEWER}]}, {})) == []


@pytest.mark.parametrize(
    ("key", "value", "good"),
    [
        ("token_lifetime", 599, False),
        ("token_lifetime", 600, True),
        ("token_lifetime", "10m", True),
        ("token_lifetime", "366d", True),
        ("token_lifetime", "367d", False),
        ("ttl", "59s", False),
        ("ttl", "1m", True),
        ("ttl", "1h", True),
        ("ttl", 3601, False),
    ],
)
def test_limits_of_durations(key: str, value: str | int, good: bool) -> None:
    reviewer = {"access": {key: value}} if key == "ttl" else {key: value}
    found = findings(Inventory({"platform_clusters": [{**CLUSTER, "reviewer": reviewer}]}, {}))
    assert [f.rule for f in found] == ([] if good else ["range"])


def test_names_that_two_clusters_get_by_default_do_not_clash() -> None:
    clusters = [{"name": name, "kubeconfig": "/k"} for name in ("one", "two")]
    assert findings(Inventory({"platform_clusters": clusters}, {})) == []
    clusters[0] |= {"openbao_mount": "kubernetes-one", "openbao_audience": "openbao-one"}
    assert findings(Inventory({"platform_clusters": clusters}, {})) == []


def test_a_tenant_without_namespaces_has_that_of_its_name() -> None:
    tenants = [{"name": "alice"}, {"name": "bob", "namespaces": ["bob", "alice"]}]
    cluster = {**CLUSTER, "reviewer": {"access": {"per_tenant": tenants}}}
    found = findings(Inventory({"platform_clusters": [cluster]}, {}))
    assert [(f.rule, f.path) for f in found] == [
        ("unique-namespace", "platform_clusters[0].reviewer.access.per_tenant[1].namespaces[1]")
    ]
