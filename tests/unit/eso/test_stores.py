# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores of External Secrets, rendered."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hackspace.infra.plugins.filter.eso_stores import FilterModule
from ansible_collections.hackspace.infra.plugins.module_utils._eso.model import parse
from ansible_collections.hackspace.infra.plugins.module_utils._eso.stores import render
from hypothesis import given
from hypothesis import strategies as st

RIGHT = {
    "server": "https://openbao.example.org:8200",
    "mount": "kubernetes-member-prod",
    "audience": "openbao-member-prod",
}
PEM = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ==\n-----END CERTIFICATE-----\n"


def rendered(namespaces: t.Any, **options: t.Any) -> list[dict[str, t.Any]]:
    found: list[dict[str, t.Any]] = FilterModule().filters()["eso_stores"](namespaces, **{**RIGHT, **options})
    return found


def provider(objects: list[dict[str, t.Any]], name: str = "vault") -> dict[str, t.Any]:
    found: dict[str, t.Any] = objects[-1]["spec"]["provider"][name]
    return found


def test_a_namespace_gets_a_service_account_and_a_store() -> None:
    assert rendered(["4-aux-alice"]) == [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "eso", "namespace": "4-aux-alice"},
            "automountServiceAccountToken": False,
        },
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "SecretStore",
            "metadata": {"name": "openbao", "namespace": "4-aux-alice"},
            "spec": {
                "provider": {
                    "vault": {
                        "server": "https://openbao.example.org:8200",
                        "path": "kv",
                        "version": "v2",
                        "auth": {
                            "kubernetes": {
                                "mountPath": "kubernetes-member-prod",
                                "role": "tenant",
                                "serviceAccountRef": {"name": "eso", "audiences": ["openbao-member-prod"]},
                            }
                        },
                    }
                }
            },
        },
    ]


def test_one_store_for_the_cluster_logs_in_as_the_namespace_of_each_external_secret() -> None:
    objects = rendered(["4-aux-alice", "4-aux-bob"], scope="cluster", conditions={"labels": {"tenancy": "true"}})
    assert [o["kind"] for o in objects] == ["ServiceAccount", "ServiceAccount", "ClusterSecretStore"]
    store = objects[-1]
    assert "namespace" not in store["metadata"]
    assert store["spec"]["conditions"] == [{"namespaceSelector": {"matchLabels": {"tenancy": "true"}}}]
    account = provider(objects)["auth"]["kubernetes"]["serviceAccountRef"]
    assert account == {"name": "eso", "audiences": ["openbao-member-prod"]}


def test_conditions_by_name() -> None:
    both = {"labels": {"a": "b"}, "namespaces": ["y", "x", "y"]}
    assert rendered([], scope="cluster", conditions=both)[0]["spec"]["conditions"] == [
        {"namespaceSelector": {"matchLabels": {"a": "b"}}},
        {"namespaces": ["x", "y"]},
    ]


def test_jwt_does_not_add_the_audience_vault() -> None:
    login = provider(rendered(["a"], auth="jwt"))["auth"]["jwt"]
    assert login["path"] == "kubernetes-member-prod"
    assert login["kubernetesServiceAccountToken"] == {
        "serviceAccountRef": {"name": "eso", "audiences": ["openbao-member-prod"]},
        "audiences": [],
        "expirationSeconds": 600,
    }


def test_provider_openbao_names_its_mount_differently() -> None:
    block = provider(rendered(["a"], provider="openbao", version="v2.10.1"), "openbao")
    assert block["auth"] == {
        "kubernetes": {
            "path": "kubernetes-member-prod",
            "role": "tenant",
            "serviceAccountRef": {"name": "eso", "audiences": ["openbao-member-prod"]},
        }
    }
    assert (block["server"], block["path"], block["version"]) == (RIGHT["server"], "kv", "v2")


def test_authorities() -> None:
    text = "Subject: CN=x\n" + PEM + "\n" + PEM
    bundle = base64.b64decode(provider(rendered(["a"], ca_bundle=text))["caBundle"]).decode()
    assert bundle.count("BEGIN CERTIFICATE") == 2
    assert "Subject" not in bundle
    assert provider(rendered(["a"], ca_provider={"name": "openbao-ca"}))["caProvider"] == {
        "type": "ConfigMap",
        "name": "openbao-ca",
        "key": "ca.crt",
    }
    given_to_all = rendered(
        [],
        scope="cluster",
        conditions={"namespaces": ["a"]},
        ca_provider={"kind": "Secret", "name": "ca", "key": "tls.crt", "namespace": "0-core-openbao"},
    )
    assert provider(given_to_all)["caProvider"] == {
        "type": "Secret",
        "name": "ca",
        "key": "tls.crt",
        "namespace": "0-core-openbao",
    }


def test_what_each_namespace_may_change_and_other_options() -> None:
    objects = rendered(
        [{"namespace": "a", "service_account": "reader", "role": "tenant-a"}],
        make_service_accounts=False,
        store="secrets",
        kv_mount="team/kv",
        kv_version="v1",
        openbao_namespace="site/",
        labels={"tier": "4"},
        refresh_seconds=30,
        server="https://openbao.example.org:8200/",
    )
    assert [(o["kind"], o["metadata"]) for o in objects] == [
        ("SecretStore", {"name": "secrets", "namespace": "a", "labels": {"tier": "4"}})
    ]
    block = provider(objects)
    assert block["auth"]["kubernetes"]["role"] == "tenant-a"
    assert block["auth"]["kubernetes"]["serviceAccountRef"]["name"] == "reader"
    assert (block["server"], block["path"], block["version"], block["namespace"]) == (
        "https://openbao.example.org:8200",
        "team/kv",
        "v1",
        "site",
    )
    assert objects[0]["spec"]["refreshInterval"] == 30


def test_loopback_may_be_plain() -> None:
    for server in ("http://127.0.0.1:8200", "http://[::1]:8200", "http://localhost:8200"):
        assert provider(rendered(["a"], server=server))["server"] == server


def test_the_filter_names_item_and_fix() -> None:
    with pytest.raises(AnsibleFilterError, match=r"eso_stores: audience: .* \[missing-key\] Fix: give the audience"):
        rendered(["a"], audience="")


NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


@given(
    st.lists(NAMES, unique=True, max_size=8),
    st.sampled_from(["kubernetes", "jwt"]),
    st.sampled_from(["namespace", "cluster"]),
)
def test_every_login_has_the_audience_and_stays_in_its_namespace(names: list[str], auth: str, scope: str) -> None:
    conditions = {"conditions": {"labels": {"a": "b"}}} if scope == "cluster" else {}
    objects = render(parse(names, {**RIGHT, "auth": auth, "scope": scope, **conditions}))
    assert json.loads(json.dumps(objects)) == objects
    keys = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(set(keys)) == len(keys)
    stores = [o for o in objects if "spec" in o]
    assert len(stores) == (1 if scope == "cluster" else len(names))
    for store in stores:
        login = store["spec"]["provider"]["vault"]["auth"][auth]
        account = login.get("kubernetesServiceAccountToken", login)["serviceAccountRef"]
        assert account == {"name": "eso", "audiences": ["openbao-member-prod"]}
