# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Unseal shares: decoded as the server does, distinct, named by holder and never shown."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
import typing as t

from .._core.errors import InvalidInput
from .._core.redact import Secret

#: Bytes that the server accepts: an AES key of 16 to 32 bytes, and one more for the share's index.
MIN_BYTES, MAX_BYTES = 16, 33

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_ENCRYPTED = (
    ("$ANSIBLE_VAULT;", "an ansible-vault file", "give the vault password (--vault-id) so that it can be decrypted."),
    ("-----BEGIN AGE ENCRYPTED FILE", "an age file", "give it as age_file with age_identity_file."),
    ("age-encryption.org/", "an age file", "give it as age_file with age_identity_file."),
    ("-----BEGIN PGP MESSAGE", "a PGP message", "give it as pgp_file."),
)


@dataclasses.dataclass(frozen=True)
class Share:
    """One holder's share.

    :ivar holder: the holder's name, the only thing ever shown.
    :ivar key: the share in lower-case hex, as it is sent.
    """

    holder: str
    key: Secret

    @property
    def raw(self) -> bytes:
        return bytes.fromhex(self.key.reveal())


def decode(text: str, *, item: str) -> bytes:
    """Return the bytes of a share: hex if it has the length of a share then, else standard base64, as the server does.

    White space round it, empty lines and lines that start with ``#`` are ignored.

    :raises InvalidInput: rule ``share-empty``, ``share-encrypted``, ``share-lines`` or ``share-format``.
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise InvalidInput("the unseal share is empty.", item=item, rule="share-empty", fix="give the share.")
    for mark, what, fix in _ENCRYPTED:
        if lines[0].startswith(mark):
            raise InvalidInput(f"this is {what}, not an unseal share.", item=item, rule="share-encrypted", fix=fix)
    if len(lines) > 1:
        raise InvalidInput(
            f"{len(lines)} lines instead of one unseal share.",
            item=item,
            rule="share-lines",
            fix="give one share per holder entry; a holder of two has two entries (ada-1, ada-2).",
        )
    text = lines[0]
    if _HEX.fullmatch(text) and MIN_BYTES <= len(text) // 2 <= MAX_BYTES:
        return bytes.fromhex(text)
    if _BASE64.fullmatch(text) and len(text) % 4 == 0:
        try:
            raw = base64.b64decode(text, validate=True)
        except binascii.Error:
            raw = b""
        if MIN_BYTES <= len(raw) <= MAX_BYTES:
            return raw
    raise InvalidInput(
        "this has not the form of an unseal share.",
        item=item,
        rule="share-format",
        fix=f"a share is hex or base64 of {MIN_BYTES} to {MAX_BYTES} bytes, without quotes or labels.",
    )


def parse(entries: t.Iterable[tuple[str, str]]) -> tuple[list[Share], dict[str, str]]:
    """Return the distinct shares in the order given, and which holder's share is the same as whose.

    :param entries: pairs of holder and text.
    :raises InvalidInput: one is malformed (named by holder), two cannot belong together (``shares-mixed``).
    """
    shares: list[Share] = []
    same: dict[str, str] = {}
    for holder, text in entries:
        raw = decode(text, item=f"unseal share of {holder}")
        twin = next((s.holder for s in shares if s.raw == raw), None)
        if twin is not None:
            same[holder] = twin
            continue
        for other in shares:
            _check_pair(other, holder, raw)
        shares.append(Share(holder, Secret(raw.hex())))
    return shares, same


def _check_pair(other: Share, holder: str, raw: bytes) -> None:
    """Two shares of one key have the same length and different indices (the last byte)."""
    if len(other.raw) != len(raw):
        why = "they differ in length"
    elif len(raw) in (17, 25, 33) and other.raw[-1] == raw[-1]:
        why = "they have the same index and different content"
    else:
        return
    raise InvalidInput(
        f"the unseal shares of {other.holder} and {holder} cannot belong to the same key: {why}.",
        item="holders",
        rule="shares-mixed",
        fix="one of them is of another cluster, or older than the last change of the shares.",
    )
