# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys written by hand are read by a real parser as what they were."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hackspace.infra.plugins.filter.jwks_to_pem import jwks_to_pem
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers import jwks
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
#: Order of the group of each curve (FIPS 186-4, appendix D.1.2): private keys are smaller.
SMALLEST_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def b64(value: int | bytes, size: int | None = None) -> str:
    if isinstance(value, int):
        value = value.to_bytes(size or (value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def rsa_jwk(numbers: rsa.RSAPublicNumbers, **members: t.Any) -> dict[str, t.Any]:
    return {"use": "sig", "kty": "RSA", "kid": "r", "alg": "RS256", "n": b64(numbers.n), "e": b64(numbers.e), **members}


def ec_jwk(private: int, name: str, **members: t.Any) -> dict[str, t.Any]:
    numbers = ec.derive_private_key(private, CURVES[name]).public_key().public_numbers()
    size = jwks.CURVES[name].size
    return {
        "use": "sig",
        "kty": "EC",
        "kid": "e",
        "crv": name,
        "alg": jwks.CURVES[name].algorithm,
        "x": b64(numbers.x, size),
        "y": b64(numbers.y, size),
        **members,
    }


def spki(public: t.Any) -> str:
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return t.cast("bytes", pem).decode()


def one(jwk: t.Mapping[str, t.Any]) -> jwks.PublicKey:
    (found,) = jwks.parse({"keys": [jwk]})
    return found


@given(st.integers(min_value=0, max_value=2**2046), st.sampled_from([3, 17, 65537, 2**31 - 1]))
def test_rsa(low: int, e: int) -> None:
    numbers = rsa.RSAPublicNumbers(e, 2**2047 | low << 1 & (2**2047 - 1) | 1)
    assert one(rsa_jwk(numbers)) == jwks.PublicKey("r", "RS256", spki(numbers.public_key()))


def test_rsa_of_3072_and_4096_bits() -> None:
    for bits in (3072, 4096):
        key = rsa.generate_private_key(65537, bits).public_key()
        assert one(rsa_jwk(key.public_numbers())).pem == spki(key)


@pytest.mark.parametrize("name", list(CURVES))
@settings(max_examples=25, deadline=None)
@given(private=st.integers(min_value=1, max_value=SMALLEST_ORDER - 1))
def test_ec(name: str, private: int) -> None:
    found = one(ec_jwk(private, name))
    assert found.pem == spki(ec.derive_private_key(private, CURVES[name]).public_key())
    assert found.algorithm == jwks.CURVES[name].algorithm


@settings(max_examples=25)
@given(st.binary(min_size=32, max_size=32))
def test_ed25519(seed: bytes) -> None:
    public = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key()
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    found = one({"use": "sig", "kty": "OKP", "crv": "Ed25519", "x": b64(raw), "kid": "o", "alg": "EdDSA"})
    assert found == jwks.PublicKey("o", "EdDSA", spki(public))


@settings(max_examples=25)
@given(st.integers(min_value=1, max_value=2**255), st.integers(min_value=1, max_value=2**256 - 1))
def test_a_point_beside_the_curve_is_refused(private: int, flipped: int) -> None:
    jwk = ec_jwk(private, "P-256")
    y = int.from_bytes(base64.urlsafe_b64decode(jwk["y"] + "=="), "big") ^ flipped
    p = jwks.CURVES["P-256"].p
    if y == p - (y ^ flipped):
        return
    with pytest.raises(InvalidInput) as caught:
        one({**jwk, "y": b64(y, 32)})
    assert caught.value.rule == "jwk-point"


@pytest.fixture(scope="module")
def two() -> list[dict[str, t.Any]]:
    keys = [rsa.generate_private_key(65537, 2048).public_key().public_numbers() for count in range(2)]
    return [rsa_jwk(keys[0], kid="b"), rsa_jwk(keys[1], kid="a")]


def test_order_and_repetition(two: list[dict[str, t.Any]]) -> None:
    found = jwks.parse({"keys": [*two, two[0]]})
    assert [key.kid for key in found] == ["a", "b"]
    assert found == jwks.parse(json.dumps({"keys": two[::-1]}))
    assert len({key.fingerprint for key in found}) == 2


def test_keys_for_encryption_are_left_out(two: list[dict[str, t.Any]]) -> None:
    other = {"kty": "something new", "use": "enc"}
    told_by_operations = {key: value for key, value in two[1].items() if key != "use"} | {"key_ops": ["encrypt"]}
    assert [key.kid for key in jwks.parse({"keys": [two[0], other, told_by_operations]})] == ["b"]
    untold = {key: value for key, value in two[1].items() if key not in ("use", "alg")}
    assert one(untold).algorithm == "RS256"
    assert one({**two[1], "alg": "PS384"}).algorithm == "PS384"


def test_a_fingerprint_does_not_depend_on_line_ends(two: list[dict[str, t.Any]]) -> None:
    pem = one(two[0]).pem
    body = "".join(pem.splitlines()[1:-1])
    other = f"  -----BEGIN PUBLIC KEY-----\r\n{body}\r\n-----END PUBLIC KEY-----"
    assert jwks.normal_pem(other) == pem
    assert jwks.pem_fingerprint(other) == jwks.pem_fingerprint(pem) == one(two[0]).fingerprint
    assert jwks.normal_pem("no key") == "no key\n"
    assert jwks.pem_fingerprint("no key") == jwks.pem_fingerprint(" no key\n")


def test_the_filter(two: list[dict[str, t.Any]]) -> None:
    document = {"keys": two}
    pems = jwks_to_pem(document)
    assert pems == jwks_to_pem(json.dumps(document)) == [key.pem for key in jwks.parse(document)]
    assert [shown["kid"] for shown in jwks_to_pem(document, details=True)] == ["a", "b"]
    assert jwks_to_pem(document, details=True)[0] == {
        "kid": "a",
        "algorithm": "RS256",
        "fingerprint": jwks.pem_fingerprint(pems[0]),
        "pem": pems[0],
    }


@pytest.mark.parametrize("value", [17, None, [], "{", {"keys": "none"}, {}])
def test_the_filter_says_what_is_wrong(value: t.Any) -> None:
    with pytest.raises(AnsibleFilterError, match="jwks-shape"):
        jwks_to_pem(value)
