# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Generating a root token from holders' shares: which endpoints a version has, whose attempt it is, decoding."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import typing as t

from .._core.errors import HackspaceError, InvalidInput, Refused
from .._core.redact import Secret
from .shares import Share
from .versions import Version

OPEN: t.Final = "sys/generate-root"
AUTHENTICATED: t.Final = "sys/generate-root-token"


@dataclasses.dataclass(frozen=True)
class Endpoints:
    """Where root tokens are generated.

    :ivar base: ``sys/generate-root`` or ``sys/generate-root-token``.
    :ivar needs_login: a login with rights on these paths is needed besides the shares.
    :ivar may_be_off: the server turns these off by default (a listener setting).
    """

    base: str
    needs_login: bool
    may_be_off: bool

    @property
    def attempt(self) -> str:
        return f"{self.base}/attempt"

    @property
    def update(self) -> str:
        return f"{self.base}/update"


def endpoints(version: Version, *, has_login: bool) -> Endpoints:
    """Return the endpoints to use on *version*.

    HashiCorp Vault 1.x and OpenBao up to 2.5.2 have open ones. OpenBao 2.5.3 turns them off by default and has no
    others. From 2.6.0 there are authenticated ones; without a login the open ones may have been turned on.
    """
    if version.open_generate_root:
        return Endpoints(OPEN, needs_login=False, may_be_off=False)
    if version.has_generate_root_token and has_login:
        return Endpoints(AUTHENTICATED, needs_login=True, may_be_off=False)
    return Endpoints(OPEN, needs_login=False, may_be_off=True)


def endpoints_off(version: Version) -> HackspaceError:
    """Return the error for open endpoints that the server has turned off."""
    turn_on = (
        "set disable_unauthed_generate_root_endpoints = false in the listener of one node, restart it, unseal it, run "
        "this again, take the line out and restart it once more."
    )
    if version.has_generate_root_token:
        fix = (
            "give a login (auth_method, username...) whose OpenBao policy allows create, read, update, delete and sudo "
            f"on sys/generate-root-token/*. If nobody can log in any more: {turn_on}"
        )
    else:
        fix = turn_on
    return HackspaceError(
        f"{version.title} does not generate root tokens without a login.",
        item="sys/generate-root",
        rule="generate-root-off",
        fix=fix,
    )


def inner(body: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the fields: the authenticated endpoints wrap them in ``data``, the open ones do not."""
    data = body.get("data")
    return dict(data) if isinstance(data, dict) else dict(body)


def choose(shares: t.Sequence[Share], required: int, same: t.Mapping[str, str] | None = None) -> list[Share]:
    """Return the first *required* of distinct *shares*.

    :param same: holders whose share equals another holder's.
    :raises InvalidInput: ``too-few-shares``. All are needed in one run: what the shares unlock is encoded with a
        one-time pad that only this run knows.
    """
    check_enough([share.holder for share in shares], required, same)
    return list(shares[:required])


def check_enough(holders: t.Sequence[str], required: int, same: t.Mapping[str, str] | None = None) -> None:
    """Raise ``too-few-shares`` unless there are *required* distinct shares."""
    if len(holders) >= required:
        return
    twice = "; ".join(f"that of {a} is the same as that of {b}" for a, b in (same or {}).items())
    raise InvalidInput(
        f"{len(holders)} distinct unseal shares given, {required} are needed" + (f" ({twice})." if twice else "."),
        item="holders",
        rule="too-few-shares",
        fix=f"all holders needed take part in one run: add {required - len(holders)} more, by prompts on one "
        "terminal or by their files.",
        data={"holders": list(holders), "required": required},
    )


def allowed_to_start(status: t.Mapping[str, t.Any], on_progress: str) -> bool:
    """Say whether an attempt that others began has to be cancelled first.

    :raises Refused: there is one, and *on_progress* does not say to reset it.
    """
    if not status.get("started"):
        return False
    if on_progress != "reset":
        raise Refused(
            f"an attempt is under way ({status.get('progress', 0)} of {status.get('required', '?')} shares); it cannot "
            "be continued by another run.",
            item="sys/generate-root",
            rule="attempt-under-way",
            fix="ask the other holders; if nobody is at it, set on_progress: reset to cancel it.",
            data={"progress": status.get("progress"), "required": status.get("required")},
        )
    return True


def decode_token(encoded: str, otp: str) -> Secret:
    """Return the token: base64 without or with padding, XOR with the one-time pad.

    :raises HackspaceError: ``otp``, lengths differ or the result is not a token; quotes nothing.
    """
    problem = HackspaceError(
        "the encoded root token cannot be decoded.",
        item="sys/generate-root",
        rule="otp",
        fix="run again; report it with the server's version if it stays.",
    )
    try:
        raw = base64.b64decode(
            encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4),
            altchars=b"-_" if ("-" in encoded or "_" in encoded) else None,
            validate=True,
        )
    except (binascii.Error, ValueError):
        raise problem from None
    pad = otp.encode()
    if len(raw) != len(pad) or not raw:
        raise problem
    token = bytes(a ^ b for a, b in zip(raw, pad, strict=True))
    if not all(0x21 <= c <= 0x7E for c in token):
        raise problem
    return Secret(token.decode("ascii"))


def encode_token(token: str, otp: str) -> str:
    """Return what a server would send; the inverse of :func:`decode_token`."""
    pairs = zip(token.encode(), otp.encode(), strict=True)
    return base64.b64encode(bytes(a ^ b for a, b in pairs)).decode("ascii").rstrip("=")
