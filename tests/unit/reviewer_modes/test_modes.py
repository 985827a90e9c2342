# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each mode wants, and how a mount of somebody else is recognised."""

from __future__ import annotations

import base64
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.fields import body, differing, server_fields
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers import (
    access,
    jwks,
    model,
    modes,
    older_modes,
    pubkeys,
)
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.ports import Downstream
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.state import Found, State
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.steps import KubeApply
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.verify import mint
from cryptography.hazmat.primitives.asymmetric import rsa

CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
NOW = 1795248000
ISSUER = "https://192.0.2.10:6443"


def _b64(value: int) -> str:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


_NUMBERS = rsa.generate_private_key(65537, 2048).public_key().public_numbers()
JWKS = {"keys": [{"use": "sig", "kty": "RSA", "kid": "a", "alg": "RS256", "n": _b64(_NUMBERS.n), "e": "AQAB"}]}


def cluster(mode: str, **changes: t.Any) -> model.Cluster:
    entry = {"name": "a", "kubeconfig": "x", "api_server": ISSUER, "ca_cert": CA, "mode": mode, **changes}
    (found,) = model.parse_clusters([entry])
    return found


def state(wanted: model.Cluster, **changes: t.Any) -> State:
    extra: dict[str, t.Any] = dict.fromkeys(modes.reads(wanted))
    if pubkeys.JWKS_PATH in extra:
        extra[pubkeys.JWKS_PATH] = JWKS
    return State(issuer=ISSUER, extra=extra, **changes)


def wiring(wanted: model.Cluster, present: State | None = None) -> modes.Wiring:
    return modes.wiring(wanted, model.Settings(), present or state(wanted), now=NOW)


@pytest.mark.parametrize("mode", model.MODES)
def test_every_mode_binds_the_same_and_says_all_fields(mode: str) -> None:
    wanted = cluster(mode, access={"namespaces": ["4-aux-a"], "ttl": "5m"})
    found = wiring(wanted)
    assert found.mount_type == modes.mount_type(wanted)
    assert set(found.config) == set(found.config_table)
    for binding in access.bindings(wanted):
        role = found.role(binding)
        assert set(role) == set(found.role_table)
        assert (role["token_ttl"], role["token_max_ttl"]) == (binding.ttl, binding.ttl)
        assert role["token_no_default_policy"] is True
        assert role["token_policies"] == list(binding.policies)
        said = str(body(role, found.role_table))
        assert wanted.audience in said
        assert all(name in said for name in (*binding.names, *binding.namespaces))


@pytest.mark.parametrize("mode", ["long_lived", "client_jwt"])
def test_the_older_modes_warn(mode: str) -> None:
    (warning,) = wiring(cluster(mode, access={"namespaces": ["4-aux-a"]})).warnings
    assert warning.startswith(f"mode {mode}: ")
    assert "token_request" in warning


def test_a_jwt_role_read_back_is_as_it_was_written() -> None:
    """As the server of the lab answers it."""
    wanted = cluster("jwt_pubkeys")
    found = wiring(wanted)
    role = found.role(access.bindings(wanted)[0])
    answer = {**body(role, found.role_table), "role_type": "jwt", "oidc_scopes": None, "max_age": 0}
    have = server_fields(answer, found.role_table)
    assert differing(have, role, found.role_table, item="role") == []
    assert body(role, found.role_table)["role_type"] == "jwt"


def test_without_an_issuer_nothing_is_planned() -> None:
    wanted = cluster("jwt_pubkeys")
    with pytest.raises(InvalidInput) as caught:
        wiring(wanted, State(extra=state(wanted).extra))
    assert caught.value.rule == "issuer-unknown"


def test_the_evidence_of_keys_is_planned_with_them() -> None:
    wanted = cluster("jwt_pubkeys")
    found = wiring(wanted)
    ((path, there, secret),) = found.objects
    assert (there, "data" in secret, "stringData" in secret) == (None, False, False)
    assert path.endswith("/secrets/openbao-reviewer-a-keys")
    (key,) = found.config["jwt_validation_pubkeys"]
    assert jwks.pem_fingerprint(key) in str(secret["metadata"]["annotations"])


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"mode": "jwt_pubkeys", "access": {"namespace_selector": {"a": "b"}}}, "selector-without-review"),
        ({"mode": "client_jwt"}, "client-jwt-names"),
        ({"mode": "client_jwt", "access": {"namespaces": ["4-aux-*"]}}, "client-jwt-names"),
        ({"mode": "client_jwt", "access": {"namespace_selector": {"a": "b"}}}, "client-jwt-names"),
    ],
)
def test_what_a_mode_cannot_do(changes: dict[str, t.Any], rule: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        cluster(**changes)
    assert caught.value.rule == rule
    assert caught.value.fix


def test_without_an_issuer_no_token_is_asked_for_in_mode_client_jwt() -> None:
    wanted = cluster("client_jwt", access={"namespaces": ["4-aux-a"]})
    nobody = t.cast(Downstream, None)  # nothing may be sent
    with pytest.raises(HackspaceError) as caught:
        mint(nobody, wanted, "openbao-canary", wanted.audience)
    assert (caught.value.rule, caught.value.item) == ("issuer-unknown", f"{wanted.item}.issuer")


def test_who_is_bound_in_mode_client_jwt() -> None:
    per_tenant = [{"name": "alice", "namespaces": ["4-aux-a", "4-aux-b"], "service_accounts": ["eso", "ci"]}]
    found = wiring(cluster("client_jwt", access={"per_tenant": per_tenant}))
    binding = found.objects[-1][2]
    assert [(s["namespace"], s["name"]) for s in binding["subjects"]] == [
        ("0-core-openbao-auth", "openbao-canary"),
        ("4-aux-a", "ci"),
        ("4-aux-a", "eso"),
        ("4-aux-b", "ci"),
        ("4-aux-b", "eso"),
    ]


# -- mounts of somebody else ---------------------------------------------------------------------------------------


def bound(*subjects: tuple[str, str], role: str = "system:auth-delegator", name: str = "b") -> dict[str, t.Any]:
    return {
        "metadata": {"name": name, "uid": "1", "resourceVersion": "7"},
        "roleRef": {"kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "namespace": ns, "name": account} for ns, account in subjects],
    }


def never_expiring(namespace: str, account: str) -> dict[str, t.Any]:
    annotations = {"kubernetes.io/service-account.name": account}
    return {"metadata": {"name": f"{account}-token", "namespace": namespace, "uid": "2", "annotations": annotations}}


REVIEWER = bound(("vault", "vault-auth"))
TOKEN = never_expiring("vault", "vault-auth")
TENANT = bound(("4-aux-a", "eso"), name="tenants")


@pytest.mark.parametrize(
    ("type_", "config", "found", "mode"),
    [
        ("kubernetes", {}, Found((REVIEWER,), (TOKEN,)), "long_lived"),
        ("kubernetes", {"token_reviewer_jwt_set": True}, Found((REVIEWER, TENANT), (TOKEN,)), "long_lived"),
        ("kubernetes", {}, Found((TENANT,), ()), "client_jwt"),
        ("kubernetes", {"token_reviewer_jwt_set": False}, Found((REVIEWER, TENANT), (TOKEN,)), "client_jwt"),
        ("kubernetes", {"token_reviewer_jwt_set": False}, Found((REVIEWER,), (TOKEN,)), "own_pod_token"),
        (
            "kubernetes",
            {"token_reviewer_jwt_set": False, "disable_local_ca_jwt": True},
            Found((REVIEWER,), (TOKEN,)),
            "unknown",
        ),
        ("kubernetes", {"token_reviewer_jwt_set": True}, Found((TENANT,), ()), "unknown"),
        ("kubernetes", {}, Found((bound(("vault", "vault-auth"), role="view"),), (TOKEN,)), "unknown"),
        ("kubernetes", {}, Found((REVIEWER,), (never_expiring("other", "vault-auth"),)), "unknown"),
        ("kubernetes", None, Found(), "unknown"),
        ("jwt", {"jwt_validation_pubkeys": ["x"]}, Found((REVIEWER,), (TOKEN,)), "jwt_pubkeys"),
        ("jwt", {"jwks_url": "https://192.0.2.10:6443/openid/v1/jwks"}, Found(), "unknown"),
    ],
)
def test_how_a_mount_works(type_: str, config: dict[str, t.Any] | None, found: Found, mode: str) -> None:
    known = older_modes.recognise(cluster("token_request"), {"type": type_}, config, found)
    assert known.mode == mode
    assert known.why.endswith(".")
    assert bool(known.secrets) == (mode == "long_lived")
    assert bool(known.tenants) == (mode == "client_jwt")


def test_where_openbao_would_send_its_own_token_is_said() -> None:
    config = {"token_reviewer_jwt_set": False, "kubernetes_host": ISSUER}
    known = older_modes.recognise(cluster("token_request"), {"type": "kubernetes"}, config, Found())
    assert ISSUER in known.why


def test_what_goes_and_what_stays_when_a_wiring_of_others_is_migrated() -> None:
    wanted = cluster("token_request", access={"namespaces": ["4-aux-*"]})
    mixed = bound(("4-aux-a", "eso"), ("4-aux-a", "ci"), ("monitoring", "eso"), name="mixed")
    known = older_modes.recognise(wanted, {"type": "kubernetes"}, {}, Found((TENANT, mixed), ()))
    whole, part = older_modes.of_others(wanted, model.Settings(), known)
    # the binding itself is somebody else's
    assert (whole.action, whole.name, whole.after) == ("delete", "a/tenants", {"subjects": []})
    assert all(isinstance(step, KubeApply) for change in (whole, part) for step in change.payload)
    assert part.after == {"subjects": mixed["subjects"][1:]}
    assert part.payload[0].body["metadata"] == {"name": "mixed", "resourceVersion": "7"}
    assert "eso" in str(part.diff())


def test_only_tokens_of_the_declared_reviewer_are_deleted() -> None:
    settings = model.Settings()
    ours = never_expiring("vault", "vault-auth")
    ours["metadata"] |= {"name": "other-mount", "labels": {settings.label: model.INVENTORY}}
    stranger, other = never_expiring("monitoring", "prometheus-adapter"), never_expiring("vault", "metrics-server")
    bindings = bound(("vault", "vault-auth"), ("monitoring", "prometheus-adapter"), ("vault", "metrics-server"))
    found = Found((bindings,), (stranger, TOKEN, other, ours))
    declared = cluster("token_request", namespace="vault", service_account="vault-auth")
    known = older_modes.recognise(declared, {"type": "kubernetes"}, {}, found)
    (change,) = older_modes.of_others(declared, settings, known)
    assert change.name == "a/vault/vault-auth-token"
    rest = ["monitoring/prometheus-adapter-token", "vault/metrics-server-token"]
    assert older_modes.left_alone(declared, settings, known) == rest
    # a server that does not tell: the declared reviewer's token counts more than tenants, those of others less
    both = Found((bindings, TENANT), found.secrets)
    assert older_modes.recognise(declared, {"type": "kubernetes"}, {}, both).mode == "long_lived"
    known = older_modes.recognise(cluster("token_request"), {"type": "kubernetes"}, {}, both)
    assert known.mode == "client_jwt"
    assert [change.name for change in older_modes.of_others(cluster("token_request"), settings, known)] == ["a/tenants"]
    assert older_modes.left_alone(cluster("token_request"), settings, known) == [*rest, "vault/vault-auth-token"]
    # where the reviewer is another one, nothing tells whose token the mount holds, be there one candidate only
    undeclared = cluster("token_request")
    for candidates in (found, Found((REVIEWER,), (TOKEN,))):
        known = older_modes.recognise(undeclared, {"type": "kubernetes"}, {}, candidates)
        assert known.mode == "long_lived"
        assert older_modes.of_others(undeclared, settings, known) == []
        assert "vault/vault-auth-token" in older_modes.left_alone(undeclared, settings, known)


@pytest.mark.parametrize(
    ("mount", "mode", "looks"),
    [
        (None, "", False),
        ({"description": "made by hand"}, "", True),
        ({"description": "Tenants of a by token_request [hackspace.infra: jwt_reviewer]"}, "token_request", False),
        ({"description": "Tenants of a by adoption [hackspace.infra: jwt_reviewer]"}, "adoption", True),
    ],
)
def test_when_it_is_looked(mount: dict[str, t.Any] | None, mode: str, looks: bool) -> None:
    assert older_modes.looks(mount, mode) is looks
