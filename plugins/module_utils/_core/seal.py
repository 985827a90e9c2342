# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Secrets in the result of a module on another machine: what Ansible prints of a result (``-vvv``) must not hold them.

The controller makes a secret for one use, which travels like any secret argument; the module seals what it returns with
it. A stream of HMAC-SHA256 hides the value, another HMAC over name and hidden value shows a change. Standard library
only, as nodes have nothing else. Each name may be sealed once with a secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

from .errors import InvalidInput

_BYTES = 32


def one_use() -> str:
    """Return a secret for one use."""
    return base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def seal(secret: str, name: str, value: str) -> str:
    """Return *value*, sealed under *name*."""
    keys = _keys(secret)
    hidden = _stream(keys[0], name, value.encode())
    return base64.b64encode(_tag(keys[1], name, hidden) + hidden).decode()


def unseal(secret: str, name: str, sealed: str) -> str:
    """Return what was sealed under *name*.

    :raises InvalidInput: rule ``seal``, when it was changed, or sealed by another secret or under another name.
    """
    keys = _keys(secret)
    try:
        raw = base64.b64decode(sealed, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    tag, hidden = raw[:_BYTES], raw[_BYTES:]
    if not hmac.compare_digest(tag, _tag(keys[1], name, hidden)):
        raise InvalidInput(
            "what came back from the other machine is not what was sealed there.",
            item=name,
            rule="seal",
            fix="run again; look who is on the way if it happens again.",
        )
    return _stream(keys[0], name, hidden).decode()


def _keys(secret: str) -> tuple[bytes, bytes]:
    try:
        raw = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _BYTES:
        raise InvalidInput(
            "is no secret for sealing.", item="seal", rule="seal-secret", fix="give 32 random bytes in base64."
        )
    return _mac(raw, b"hide"), _mac(raw, b"show")


def _mac(key: bytes, *parts: bytes) -> bytes:
    made = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        made.update(len(part).to_bytes(8, "big") + part)
    return made.digest()


def _tag(key: bytes, name: str, hidden: bytes) -> bytes:
    return _mac(key, name.encode(), hidden)


def _stream(key: bytes, name: str, value: bytes) -> bytes:
    """Return *value* with a stream over it; twice is as it was."""
    blocks = (len(value) + _BYTES - 1) // _BYTES
    stream = b"".join(_mac(key, name.encode(), number.to_bytes(8, "big")) for number in range(blocks))
    return bytes(one ^ other for one, other in zip(value, stream, strict=False))
