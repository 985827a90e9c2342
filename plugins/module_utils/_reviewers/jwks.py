# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""JSON Web Key Sets (RFC 7517, 7518, 8037) to public keys in PEM: SubjectPublicKeyInfo of RFC 5280.

Written out by hand, so that no key is pasted into a converter on the Internet and no package is needed. A key set with
private or symmetric material is refused as a whole; what it holds is never repeated, not even the name of a key that
might be one.
"""

from __future__ import annotations

import base64
import dataclasses
import re
import typing as t

from .._core.errors import InvalidInput, check
from .._core.redact import fingerprint
from .claims import json_object, unbase64url

#: Shortest RSA key that is taken, in bits: NIST SP 800-131A, RFC 7518 section 3.3.
RSA_BITS: t.Final = 2048
#: Largest public exponent that Go, and so OpenBao, takes (crypto/rsa: checkPublicKeySize).
RSA_EXPONENT: t.Final = (1 << 31) - 1
#: Members of a JWK that are private (RFC 7518 section 6, RFC 8037).
PRIVATE: t.Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})

_OID_RSA = "2a864886f70d010101"
_OID_EC = "2a8648ce3d0201"
_OID_ED25519 = "2b6570"


@dataclasses.dataclass(frozen=True)
class Curve:
    """A curve y² = x³ - 3x + b over the prime p (FIPS 186-4, appendix D.1.2)."""

    oid: str
    algorithm: str
    size: int
    p: int
    b: int


CURVES: t.Final = {
    "P-256": Curve(
        "2a8648ce3d030107",
        "ES256",
        32,
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    "P-384": Curve(
        "2b81040022",
        "ES384",
        48,
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    ),
    "P-521": Curve(
        "2b81040023",
        "ES512",
        66,
        2**521 - 1,
        int(
            "51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109"
            "e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
            16,
        ),
    ),
}
#: Algorithms that a key of RSA can sign with; the first is what Kubernetes uses.
RSA_ALGORITHMS: t.Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


@dataclasses.dataclass(frozen=True)
class PublicKey:
    """A public key that signatures are checked with.

    :ivar kid: name in the set, may be empty.
    :ivar algorithm: as in the header of a token (``RS256``).
    :ivar pem: SubjectPublicKeyInfo, with one newline at the end.
    """

    kid: str
    algorithm: str
    pem: str

    @property
    def fingerprint(self) -> str:
        """First 12 hex digits of the sha256 of the DER form."""
        return pem_fingerprint(self.pem)


# -- DER (X.690), as much as a public key needs ----------------------------------------------------------------------


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _sequence(*parts: bytes) -> bytes:
    return _tlv(0x30, b"".join(parts))


def _integer(value: int) -> bytes:
    # One bit more than the value needs, as the first bit is the sign.
    return _tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _oid(encoded: str) -> bytes:
    return _tlv(0x06, bytes.fromhex(encoded))


def _public_key(algorithm: bytes, key: bytes) -> str:
    """Return the PEM of a SubjectPublicKeyInfo."""
    text = base64.b64encode(_sequence(algorithm, _tlv(0x03, b"\x00" + key))).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


# -- PEM -------------------------------------------------------------------------------------------------------------

_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s*([A-Za-z0-9+/=\s]+?)\s*-----END PUBLIC KEY-----\s*\Z")


def normal_pem(text: str) -> str:
    """Return the one spelling of a PEM public key that this file writes, so that two can be compared."""
    match = _PEM.match(text.strip())
    if match is None:
        return text.strip() + "\n"
    body = "".join(match.group(1).split())
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


def pem_fingerprint(text: str) -> str:
    """Return the first 12 hex digits of the sha256 of the DER form; of the text, if it is no PEM public key."""
    match = _PEM.match(normal_pem(text))
    return fingerprint(base64.b64decode("".join(match.group(1).split())) if match else text.strip())


# -- keys ------------------------------------------------------------------------------------------------------------


def _bytes(jwk: t.Mapping[str, t.Any], member: str, item: str) -> bytes:
    value = jwk.get(member)
    raw = unbase64url(value) if isinstance(value, str) else None
    if raw is None:
        raise InvalidInput(
            f"{member} is missing or not base64url without padding.",
            item=item,
            rule="jwk-base64",
            fix="fetch the key set again from /openid/v1/jwks of the API server, whole and unchanged.",
        )
    return raw


def _rsa(jwk: t.Mapping[str, t.Any], item: str) -> tuple[str, str]:
    n, e = (int.from_bytes(_bytes(jwk, member, item), "big") for member in ("n", "e"))
    check(
        n.bit_length() >= RSA_BITS,
        f"The RSA key has {n.bit_length()} bits, fewer than {RSA_BITS}.",
        item=item,
        rule="jwk-rsa-size",
        fix=f"give the API server a signing key of at least {RSA_BITS} bits.",
    )
    check(
        n % 2 and e % 2 and 3 <= e <= RSA_EXPONENT,
        "The numbers are those of no RSA key: modulus and exponent are odd, the exponent between 3 and 2^31-1.",
        item=item,
        rule="jwk-rsa-numbers",
        fix="fetch the key set again from /openid/v1/jwks of the API server, whole and unchanged.",
    )
    algorithm = _sequence(_oid(_OID_RSA), _tlv(0x05, b""))
    return RSA_ALGORITHMS[0], _public_key(algorithm, _sequence(_integer(n), _integer(e)))


def _curve(jwk: t.Mapping[str, t.Any], known: t.Collection[str], item: str) -> str:
    name = jwk.get("crv")
    check(
        isinstance(name, str) and name in known,
        f"The curve is not one of {', '.join(known)}.",
        item=item,
        rule="jwk-curve",
        fix="use a signing key that OpenBao can check: RSA, or EC on one of these curves.",
    )
    return t.cast("str", name)


def _ec(jwk: t.Mapping[str, t.Any], item: str) -> tuple[str, str]:
    curve = CURVES[_curve(jwk, CURVES, item)]
    point = [_bytes(jwk, member, item) for member in ("x", "y")]
    x, y = (int.from_bytes(raw, "big") for raw in point)
    check(
        all(len(raw) == curve.size for raw in point)
        and max(x, y) < curve.p
        and (y * y - (x * x * x - 3 * x + curve.b)) % curve.p == 0,
        "The point is not on the curve.",
        item=item,
        rule="jwk-point",
        fix="fetch the key set again from /openid/v1/jwks of the API server, whole and unchanged.",
    )
    algorithm = _sequence(_oid(_OID_EC), _oid(curve.oid))
    return curve.algorithm, _public_key(algorithm, b"\x04" + b"".join(point))


def _okp(jwk: t.Mapping[str, t.Any], item: str) -> tuple[str, str]:
    _curve(jwk, ("Ed25519",), item)
    raw = _bytes(jwk, "x", item)
    check(
        len(raw) == 32,
        f"The key has {len(raw)} bytes instead of 32.",
        item=item,
        rule="jwk-point",
        fix="fetch the key set again from /openid/v1/jwks of the API server, whole and unchanged.",
    )
    return "EdDSA", _public_key(_sequence(_oid(_OID_ED25519)), raw)


_TYPES: t.Final[dict[str, t.Callable[[t.Mapping[str, t.Any], str], tuple[str, str]]]] = {
    "RSA": _rsa,
    "EC": _ec,
    "OKP": _okp,
}


def _signs(jwk: t.Mapping[str, t.Any]) -> bool:
    """Say if a key is there to check signatures with: told by ``use``, or else by ``key_ops``, or not told."""
    if "use" in jwk:
        return bool(jwk["use"] == "sig")
    operations = jwk.get("key_ops")
    return not isinstance(operations, list) or "verify" in operations


def _one(jwk: t.Mapping[str, t.Any], item: str) -> PublicKey:
    kid = jwk.get("kid", "")
    check(
        isinstance(kid, str) and kid.isprintable(),
        "kid is not a text.",
        item=item,
        rule="jwk-kid",
        fix="fetch the key set again from /openid/v1/jwks of the API server, whole and unchanged.",
    )
    kty = jwk.get("kty")
    make = _TYPES.get(kty) if isinstance(kty, str) else None
    if make is None:
        raise InvalidInput(
            f"kty is not one of {', '.join(_TYPES)}.",
            item=item,
            rule="jwk-kty",
            fix="use a signing key that OpenBao can check: RSA, EC or Ed25519.",
        )
    algorithm, pem = make(jwk, item)
    told = jwk.get("alg", algorithm)
    check(
        told == algorithm or (kty == "RSA" and told in RSA_ALGORITHMS),
        f"alg does not fit a key of type {kty}{' on this curve' if kty != 'RSA' else ''}: {algorithm} would.",
        item=item,
        rule="jwk-alg",
        fix="fetch the key set again from /openid/v1/jwks of the API server, whole and unchanged.",
    )
    return PublicKey(kid=kid, algorithm=str(told), pem=pem)


def _safe(jwk: t.Any, item: str) -> None:
    """Refuse what must never be in a key set that is passed around."""
    check(
        isinstance(jwk, dict),
        "The key is not a JSON object.",
        item=item,
        rule="jwk-shape",
        fix="give the whole answer of /openid/v1/jwks.",
    )
    check(
        jwk.get("kty") != "oct",
        "The key is symmetric: whoever can check signatures with it can make them.",
        item=item,
        rule="jwk-symmetric",
        fix="remove it and replace it where it is used: it has been in a file that is meant to be public.",
    )
    check(
        not PRIVATE & set(jwk),
        "The key holds private parts.",
        item=item,
        rule="jwk-private",
        fix="publish public keys only, and replace this key: whoever saw this set can sign with it.",
    )


def parse(document: t.Any, item: str = "jwks") -> list[PublicKey]:
    """Return the keys of a JSON Web Key Set that check signatures, without repetition, sorted by kid, then by PEM.

    :param document: the set as a mapping, or as JSON text.
    :raises InvalidInput: for a set that is none, is empty, or holds a key that cannot or must not be used.
    """
    value = json_object(document) if isinstance(document, str | bytes) else document
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list):
        raise InvalidInput(
            "No JSON Web Key Set: a JSON object with a list named keys.",
            item=item,
            rule="jwks-shape",
            fix="give the whole answer of /openid/v1/jwks.",
        )
    for number, jwk in enumerate(keys):
        _safe(jwk, f"{item}.keys[{number}]")
    found = {_one(jwk, f"{item}.keys[{number}]") for number, jwk in enumerate(keys) if _signs(jwk)}
    check(
        found,
        "The key set has no key that checks signatures.",
        item=item,
        rule="jwks-empty",
        fix="look at /openid/v1/jwks of the API server; without a key nobody could log in.",
    )
    return sorted(found, key=lambda key: (key.kid, key.pem))
