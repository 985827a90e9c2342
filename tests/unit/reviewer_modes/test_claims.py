# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A token is read as Kubernetes writes it, and never repeated."""

from __future__ import annotations

import base64
import json
import traceback
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hackspace.infra.plugins.filter.jwt_claims import jwt_claims
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers import claims
from hypothesis import given
from hypothesis import strategies as st

HEADER = {"alg": "RS256", "kid": "key-1"}
#: As kube-apiserver 1.36 issues them for a TokenRequest with boundObjectRef.
BOUND = {
    "aud": ["openbao-member-prod"],
    "exp": 1795248600,
    "iat": 1795248000,
    "iss": "https://192.0.2.10:6443",
    "jti": "1b8b5a4e-8f6a-4e55-9d4c-6f0f3a7f7a10",
    "kubernetes.io": {
        "namespace": "0-core-openbao-auth",
        "secret": {"name": "openbao-reviewer-1", "uid": "aaaa"},
        "serviceaccount": {"name": "openbao-reviewer", "uid": "bbbb"},
    },
    "nbf": 1795248000,
    "sub": "system:serviceaccount:0-core-openbao-auth:openbao-reviewer",
}
#: As the controller manager writes them into a Secret of type kubernetes.io/service-account-token.
LEGACY = {
    "iss": "kubernetes/serviceaccount",
    "kubernetes.io/serviceaccount/namespace": "vault",
    "kubernetes.io/serviceaccount/secret.name": "vault-token",
    "kubernetes.io/serviceaccount/service-account.name": "vault-auth",
    "kubernetes.io/serviceaccount/service-account.uid": "cccc",
    "sub": "system:serviceaccount:vault:vault-auth",
}


def encoded(value: t.Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(payload: t.Any, header: t.Any = None, signature: bytes = b"signature-of-the-token") -> str:
    return f"{encoded(HEADER if header is None else header)}.{encoded(payload)}.{encoded(signature)}"


def outcome(text: str) -> claims.Claims | InvalidInput:
    try:
        return claims.decode(text)
    except InvalidInput as error:
        return error


def test_a_bound_token() -> None:
    found = claims.decode(Secret(token(BOUND) + "\n"))
    assert found == claims.Claims(
        issuer="https://192.0.2.10:6443",
        subject="system:serviceaccount:0-core-openbao-auth:openbao-reviewer",
        audiences=("openbao-member-prod",),
        issued_at=1795248000,
        not_before=1795248000,
        expires_at=1795248600,
        token_id="1b8b5a4e-8f6a-4e55-9d4c-6f0f3a7f7a10",
        namespace="0-core-openbao-auth",
        service_account="openbao-reviewer",
        service_account_uid="bbbb",
        bound=claims.BoundObject("Secret", "openbao-reviewer-1", "aaaa"),
        algorithm="RS256",
        key_id="key-1",
    )
    assert found.lifetime == 600


def test_a_token_of_a_pod_is_bound_to_the_pod_and_not_to_its_node() -> None:
    block = {
        "namespace": "a",
        "node": {"name": "n", "uid": "1"},
        "pod": {"name": "p", "uid": "2"},
        "serviceaccount": {"name": "s", "uid": "3"},
        "warnafter": 1795248000,
    }
    assert claims.decode(token({"kubernetes.io": block})).bound == claims.BoundObject("Pod", "p", "2")


def test_a_token_without_expiry() -> None:
    found = claims.decode(token(LEGACY))
    assert found.legacy
    assert (found.namespace, found.service_account, found.service_account_uid) == ("vault", "vault-auth", "cccc")
    assert found.bound == claims.BoundObject("Secret", "vault-token", "")
    assert found.expires_at is None
    assert not found.expired(10**12)
    assert not found.ageing(10**12, 1 / 3)
    assert found.others == ()


@pytest.mark.parametrize(
    ("now", "expired", "ageing"),
    [
        (1795248000, False, False),
        (1795248400, False, False),
        (1795248401, False, True),
        (1795248599, False, True),
        (1795248600, True, True),
        (1795249000, True, True),
    ],
)
def test_expiry_and_the_last_third(now: int, expired: bool, ageing: bool) -> None:
    found = claims.decode(token(BOUND))
    assert (found.expired(now), found.ageing(now, 1 / 3)) == (expired, ageing)


def test_one_audience_as_a_text_and_times_as_fractions() -> None:
    found = claims.decode(token({"aud": "x", "exp": 10.9}))
    assert (found.audiences, found.expires_at, found.issued_at) == (("x",), 10, None)


def test_values_of_other_claims_are_not_shown() -> None:
    found = claims.decode(token({**BOUND, "email": "alice@example.org"}))
    assert found.others == ("email",)
    assert "alice" not in repr(found)


@given(st.text(max_size=200))
def test_any_text_is_decoded_or_refused_without_being_repeated(text: str) -> None:
    found = outcome(text)
    if isinstance(found, InvalidInput):
        assert found.fix
        assert len(text.strip()) <= 12 or text.strip() not in str(found)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
_NAMES = st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "kubernetes.io", *LEGACY])


@given(st.dictionaries(_NAMES, _JSON, max_size=8), st.dictionaries(st.sampled_from(["alg", "kid"]), _JSON))
def test_any_claims_are_read_or_refused(payload: dict[str, t.Any], header: dict[str, t.Any]) -> None:
    found = outcome(token(payload, {"alg": "RS256", **header}))
    if isinstance(found, InvalidInput):
        assert found.rule in ("jwt-claim-type", "jwt-claim-time", "jwt-unsigned", "jwt-json")
    else:
        assert json.loads(json.dumps(found.as_dict())) == found.as_dict()


@given(st.binary(min_size=1, max_size=100))
def test_base64url_has_one_spelling(raw: bytes) -> None:
    text = encoded(raw)
    assert claims.unbase64url(text) == raw
    for other in (text + "=", text + "\n", "+" + text, text[:-1] + "*"):
        assert claims.unbase64url(other) is None


@given(st.integers(min_value=0, max_value=253402300799))
def test_times_survive_being_written(seconds: int) -> None:
    assert claims.epoch(claims.rfc3339(seconds) or "") == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-21", "2026-11-21T08:00:00"])
def test_what_is_no_time(text: str) -> None:
    assert claims.epoch(text) is None


def test_the_filter() -> None:
    shown = jwt_claims(token(BOUND))
    assert shown["issued_at"] == "2026-11-21T08:00:00Z"
    assert shown["expires_at"] == "2026-11-21T08:10:00Z"
    assert shown["bound"] == {"kind": "Secret", "name": "openbao-reviewer-1", "uid": "aaaa"}
    assert shown["audiences"] == ["openbao-member-prod"]
    assert isinstance(shown["seconds_left"], int)
    assert shown["expired"] is (shown["seconds_left"] <= 0)
    assert jwt_claims(token(LEGACY))["seconds_left"] is None


@pytest.mark.parametrize("value", [token(b"{broken hunter2"), token({"exp": "hunter2"}), "hunter2.hunter2.hunter2"])
def test_the_filter_does_not_repeat_a_token(value: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        jwt_claims(value)
    printed = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in printed.replace("test_claims", "")
    assert value.split(".")[1] not in str(caught.value)
    link: BaseException | None = caught.value
    while link is not None:
        assert "hunter2" not in repr(vars(link))
        link = link.__cause__ or link.__context__


def test_the_filter_wants_a_text() -> None:
    with pytest.raises(AnsibleFilterError, match="not a text"):
        jwt_claims(17)
