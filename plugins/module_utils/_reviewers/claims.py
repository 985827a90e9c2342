# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What a service account token says about itself, read without verifying anything.

The payload of a JWT is public once it is decoded; the token as a whole is not. No error of this file holds the token or
a part of it, and none is chained to an error of the standard library that does.

The names of the claims are those of Kubernetes: ``kubernetes.io`` with namespace, serviceaccount and the object that
the token is bound to (pkg/serviceaccount/claims.go), and ``kubernetes.io/serviceaccount/...`` in the tokens without
expiry of Secrets of type ``kubernetes.io/service-account-token`` (pkg/serviceaccount/legacy.go).
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import re
import typing as t

from .._core.errors import InvalidInput, check
from .._core.redact import Secret

#: Longest token that is looked at, in characters. Tokens of Kubernetes have about 1,000 to 2,000.
LONGEST: t.Final = 65536
#: Issuer of tokens without expiry (pkg/serviceaccount/legacy.go: LegacyIssuer).
LEGACY_ISSUER: t.Final = "kubernetes/serviceaccount"
#: Last second of the year 9999: the last that RFC 3339 can write.
_LAST: t.Final = 253402300799
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+\Z")
_LEGACY = "kubernetes.io/serviceaccount/"
#: Objects that a token can be bound to besides its ServiceAccount, by the claim's key.
_BOUND: t.Final = {"secret": "Secret", "pod": "Pod", "node": "Node"}
_FIX: t.Final = "give one whole JSON Web Token: three parts with dots between them, nothing else."


@dataclasses.dataclass(frozen=True)
class BoundObject:
    """The object whose deletion revokes the token.

    :ivar kind: ``Secret``, ``Pod`` or ``Node``.
    """

    kind: str
    name: str
    uid: str


@dataclasses.dataclass(frozen=True)
class Claims:
    """The public claims. Times are whole seconds since 1970 (UTC), ``None`` if the token says nothing.

    :ivar algorithm: ``alg`` of the header, as ``RS256``.
    :ivar key_id: ``kid`` of the header, the name of the signing key in the JWKS; may be empty.
    :ivar token_id: ``jti``; kube-apiserver writes it to its audit log, so it is no secret.
    :ivar legacy: a token of a Secret of type ``kubernetes.io/service-account-token``.
    :ivar others: names of claims that are not shown.
    """

    issuer: str = ""
    subject: str = ""
    audiences: tuple[str, ...] = ()
    issued_at: int | None = None
    not_before: int | None = None
    expires_at: int | None = None
    token_id: str = ""
    namespace: str = ""
    service_account: str = ""
    service_account_uid: str = ""
    bound: BoundObject | None = None
    algorithm: str = ""
    key_id: str = ""
    legacy: bool = False
    others: tuple[str, ...] = ()

    @property
    def lifetime(self) -> int | None:
        """Seconds between issue and expiry."""
        if self.expires_at is None or self.issued_at is None:
            return None
        return self.expires_at - self.issued_at

    def seconds_left(self, now: float) -> float | None:
        """Seconds until expiry at *now*, negative afterwards; ``None`` if the token does not expire."""
        return None if self.expires_at is None else self.expires_at - now

    def expired(self, now: float) -> bool:
        """Say if the token has expired at *now*."""
        left = self.seconds_left(now)
        return left is not None and left <= 0

    def ageing(self, now: float, below: float) -> bool:
        """Say if less than the part *below* (0 to 1) of the life is left at *now*."""
        left, lifetime = self.seconds_left(now), self.lifetime
        if left is None:
            return False
        return left <= 0 or (lifetime is not None and left < lifetime * below)

    def as_dict(self) -> dict[str, t.Any]:
        """Return the claims for people and playbooks: times as RFC 3339, ``None`` where there is none."""
        found = dataclasses.asdict(self)
        found["audiences"], found["others"] = list(self.audiences), list(self.others)
        for key in ("issued_at", "not_before", "expires_at"):
            found[key] = rfc3339(found[key])
        return found


def rfc3339(seconds: float | None) -> str | None:
    """Return ``2026-11-21T08:00:00Z`` for seconds since 1970."""
    if seconds is None:
        return None
    moment = datetime.datetime.fromtimestamp(int(seconds), tz=datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(text: str) -> int | None:
    """Return seconds since 1970 for an RFC 3339 time with a zone, ``None`` if it is none."""
    try:
        moment = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return int(moment.timestamp()) if moment.tzinfo else None


def unbase64url(text: str) -> bytes | None:
    """Return the bytes of base64url without padding (RFC 7515), ``None`` if it is anything else."""
    if not _BASE64URL.match(text) or len(text) % 4 == 1:
        return None
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # The unused bits of the last character must be zero, or one value has several spellings.
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == text else None


def _constant(_name: str) -> t.NoReturn:
    raise ValueError


def json_object(raw: bytes | str) -> dict[str, t.Any] | None:
    """Return a JSON object, ``None`` if it is anything else. The parser's error holds the text, so it is dropped."""
    try:
        value = json.loads(raw, parse_constant=_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _part(text: str, what: str, item: str) -> dict[str, t.Any]:
    raw = unbase64url(text)
    check(raw is not None, f"The {what} of the token is not base64url.", item=item, rule="jwt-base64", fix=_FIX)
    value = json_object(raw or b"")
    if value is None:
        raise InvalidInput(f"The {what} of the token is not a JSON object.", item=item, rule="jwt-json", fix=_FIX)
    return value


def _printable(value: t.Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _text(source: t.Mapping[str, t.Any], key: str, item: str) -> str:
    value = source.get(key, "")
    check(
        _printable(value),
        f"The claim {key} is not a text.",
        item=item,
        rule="jwt-claim-type",
        fix="look at the issuer of the token: no Kubernetes API server writes it like this.",
    )
    return t.cast("str", value)


def _time(source: t.Mapping[str, t.Any], key: str, item: str) -> int | None:
    value = source.get(key)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    check(
        number and 0 <= value <= _LAST,
        f"The claim {key} is not a time in seconds since 1970.",
        item=item,
        rule="jwt-claim-time",
        fix="look at the issuer of the token: RFC 7519 wants a number of seconds.",
    )
    return int(value)


def _mapping(source: t.Mapping[str, t.Any], key: str) -> dict[str, t.Any]:
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def _audiences(payload: t.Mapping[str, t.Any], item: str) -> tuple[str, ...]:
    value = payload.get("aud", [])
    listed = [value] if isinstance(value, str) else value
    check(
        isinstance(listed, list) and all(_printable(one) for one in listed),
        "The claim aud is neither a text nor a list of texts.",
        item=item,
        rule="jwt-claim-type",
        fix="look at the issuer of the token: RFC 7519 wants one audience or a list of them.",
    )
    return tuple(listed)


_SHOWN: t.Final = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "kubernetes.io"})


def _identity(payload: t.Mapping[str, t.Any], item: str) -> dict[str, t.Any]:
    """Return namespace, ServiceAccount and bound object, from the claims of either kind of token."""
    bound: BoundObject | None = None
    if "kubernetes.io" in payload:
        block = _mapping(payload, "kubernetes.io")
        account = _mapping(block, "serviceaccount")
        # A token of a pod names its node too; the pod is what it is bound to.
        for key, kind in _BOUND.items():
            if bound is None and isinstance(block.get(key), dict):
                bound = BoundObject(kind, _text(block[key], "name", item), _text(block[key], "uid", item))
        return {
            "namespace": _text(block, "namespace", item),
            "service_account": _text(account, "name", item),
            "service_account_uid": _text(account, "uid", item),
            "bound": bound,
        }
    secret = _text(payload, f"{_LEGACY}secret.name", item)
    return {
        "namespace": _text(payload, f"{_LEGACY}namespace", item),
        "service_account": _text(payload, f"{_LEGACY}service-account.name", item),
        "service_account_uid": _text(payload, f"{_LEGACY}service-account.uid", item),
        "bound": BoundObject("Secret", secret, "") if secret else None,
        "legacy": bool(secret) or _text(payload, "iss", item) == LEGACY_ISSUER,
    }


def decode(token: str | Secret, item: str = "token") -> Claims:
    """Return what *token* says about itself; nothing is verified, neither signature nor time.

    :param item: what to call the token in errors.
    :raises InvalidInput: if it is no signed JWT in compact form. The error never holds the token.
    """
    text = (token.reveal() if isinstance(token, Secret) else token).strip()
    check(text, "The token is empty.", item=item, rule="jwt-empty", fix=_FIX)
    check(
        len(text) <= LONGEST,
        f"The token is longer than {LONGEST} characters.",
        item=item,
        rule="jwt-too-long",
        fix=_FIX,
    )
    parts = text.split(".")
    check(
        len(parts) != 5,
        "The token is encrypted (JWE): its claims cannot be read.",
        item=item,
        rule="jwt-encrypted",
        fix="give a service account token of Kubernetes: those are signed, not encrypted.",
    )
    check(
        len(parts) == 3,
        f"The token has {len(parts)} parts instead of 3.",
        item=item,
        rule="jwt-parts",
        fix=_FIX,
    )
    header = _part(parts[0], "header", item)
    payload = _part(parts[1], "payload", item)
    algorithm = _text(header, "alg", item)
    check(
        parts[2] and algorithm.lower() not in ("", "none"),
        "The token is not signed.",
        item=item,
        rule="jwt-unsigned",
        fix="use a token that an API server has issued; one without a signature proves nothing and nobody accepts it.",
    )
    check(
        unbase64url(parts[2]) is not None,
        "The signature of the token is not base64url.",
        item=item,
        rule="jwt-base64",
        fix=_FIX,
    )
    return Claims(
        issuer=_text(payload, "iss", item),
        subject=_text(payload, "sub", item),
        audiences=_audiences(payload, item),
        issued_at=_time(payload, "iat", item),
        not_before=_time(payload, "nbf", item),
        expires_at=_time(payload, "exp", item),
        token_id=_text(payload, "jti", item),
        algorithm=algorithm,
        key_id=_text(header, "kid", item),
        others=tuple(sorted(k for k in payload if k not in _SHOWN and not k.startswith(_LEGACY) and k.isprintable())),
        **_identity(payload, item),
    )
