# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Encryption to a person's age recipient or PGP public key, in memory: nothing in clear touches a disk or an argv."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shutil
import tempfile
import typing as t

from .errors import HackspaceError, InvalidInput

#: What trial encryptions encrypt.
TRIAL = b"hackspace.infra trial"

#: Runs a program: (arguments, standard input) -> (exit code, standard output, standard error). Raises nothing.
Program = t.Callable[[t.Sequence[str], bytes], tuple[int, bytes, bytes]]

_PUBLIC_KEY_PACKET = 6
_SECRET_KEY_PACKETS = (5, 7)


class Recipient(t.Protocol):
    """Somebody to whom bytes can be encrypted."""

    @property
    def suffix(self) -> str:
        """File suffix of the result, without a dot."""

    @property
    def label(self) -> str:
        """What to show of the recipient: public, short."""

    def encrypt(self, data: bytes) -> str:
        """Return *data* encrypted, as ASCII-armored text."""


class AgeRecipient:
    """An age recipient: ``age1...`` (X25519) or the line of an SSH public key (ed25519, rsa)."""

    suffix = "age"

    def __init__(self, text: str, *, item: str) -> None:
        try:
            import pyrage
        except ImportError:
            raise HackspaceError(
                "the Python package pyrage is missing on the controller; it encrypts to age recipients.",
                item=item,
                rule="python-package",
                fix="pip install pyrage in the environment that runs Ansible, or give pgp_public_key_file.",
            ) from None
        text = text.strip()
        if text.upper().startswith("AGE-SECRET-KEY-"):
            raise InvalidInput(
                "this is an age identity (secret), not a recipient.",
                item=item,
                rule="age-secret",
                fix="give the holder's public recipient (age1...); treat the identity as exposed and replace it.",
            )
        try:
            self._recipient: t.Any = (
                pyrage.ssh.Recipient.from_str(text)
                if text.startswith("ssh-")
                else pyrage.x25519.Recipient.from_str(text)
            )
        except Exception:  # pyrage raises one type per kind of recipient; none says more than "invalid"
            raise InvalidInput(
                "not a valid age recipient.",
                item=item,
                rule="age-recipient",
                fix="give age1... as printed by age-keygen -y, or an ssh-ed25519 or ssh-rsa public key.",
            ) from None
        self._item = item
        words = text.split()
        self.label = text if text.startswith("age1") else f"{words[0]} {hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def encrypt(self, data: bytes) -> str:
        import pyrage

        try:
            result: bytes = pyrage.encrypt(data, [self._recipient], armored=True)
        except Exception:
            raise HackspaceError(
                "encryption with age failed.",
                item=self._item,
                rule="encrypt",
                fix="check the recipient with: age -r RECIPIENT.",
            ) from None
        return result.decode("ascii")


class PgpRecipient:
    """A PGP public key from a file, armored or binary.

    :ivar binary: the key as OpenBao's ``pgp_keys`` wants it, before base64.
    :param program: what runs gpg.
    """

    suffix = "asc"

    def __init__(self, path: str, program: Program, *, item: str) -> None:
        try:
            with open(path, "rb") as handle:
                raw = handle.read(1_000_000)
        except OSError as error:
            raise InvalidInput(
                f"{path} cannot be read ({error.strerror}).",
                item=item,
                rule="pgp-file",
                fix="give an existing file: gpg --export NAME > FILE.",
            ) from None
        self._item = item
        self._program = program
        self.binary = dearmor(raw, item=item)
        self.label = f"PGP {fingerprint_of(self.binary, item=item)}"
        if shutil.which("gpg") is None:
            raise HackspaceError(
                "the program gpg is missing on the controller; it checks the key and encrypts to it.",
                item=item,
                rule="gpg-missing",
                fix="install gnupg, or give age_recipient.",
            )

    def encrypt(self, data: bytes) -> str:
        with tempfile.TemporaryDirectory(
            prefix="hackspace-gpg-"
        ) as home:  # the public key only, in a keyring of its own
            key = os.path.join(home, "recipient.pgp")
            with open(key, "wb") as handle:
                handle.write(self.binary)
            command = ["gpg", "--homedir", home, "--no-options", "--batch", "--no-tty", "--quiet", "--no-autostart"]
            command += ["--trust-model", "always", "--armor", "--encrypt", "--recipient-file", key]
            code, output, errors = self._program(command, data)
        if code != 0 or b"BEGIN PGP MESSAGE" not in output:
            said = errors.decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
            raise InvalidInput(
                f"gpg cannot encrypt to this key ({said[-1]}).",
                item=self._item,
                rule="pgp-encrypt",
                fix="give a public key with a valid encryption subkey that is neither expired nor revoked.",
            )
        return output.decode("ascii")


def recipient_of(age: str | None, pgp_file: str | None, program: Program, *, item: str) -> Recipient:
    """Return the recipient given one way or the other; *program* runs gpg where that is needed.

    :raises InvalidInput: none or both given, or not valid.
    """
    if bool(age) == bool(pgp_file):
        raise InvalidInput(
            "needs exactly one of age_recipient and pgp_public_key_file.",
            item=item,
            rule="one-recipient",
            fix="give one of the two.",
        )
    return AgeRecipient(age, item=item) if age else PgpRecipient(str(pgp_file), program, item=item)


def try_out(recipient: Recipient) -> None:
    """Encrypt something harmless, so that a recipient that cannot be used is found before anything is at stake."""
    recipient.encrypt(TRIAL)


def dearmor(raw: bytes, *, item: str) -> bytes:
    """Return the binary form of a PGP public key that may be ASCII-armored."""
    if b"-----BEGIN PGP" not in raw:
        return raw
    text = raw.decode("ascii", errors="replace")
    if "PRIVATE KEY BLOCK" in text:
        raise InvalidInput(
            "this is a PGP private key.",
            item=item,
            rule="pgp-secret",
            fix="give the public key: gpg --export NAME > FILE.",
        )
    lines = [line.strip() for line in text.split("-----BEGIN PGP PUBLIC KEY BLOCK-----", 1)[-1].splitlines()]
    body: list[str] = []
    started = False
    for line in lines[1:]:
        if line.startswith("-----END"):
            break
        if not started:
            started = not line  # headers end at the first empty line
            continue
        if line.startswith("="):  # the check sum
            break
        body.append(line)
    try:
        binary = base64.b64decode("".join(body), validate=True)
    except (binascii.Error, ValueError):
        binary = b""
    if not binary:
        raise InvalidInput(
            "not a PGP public key.", item=item, rule="pgp-key", fix="export it again: gpg --export --armor NAME > FILE."
        )
    return binary


def fingerprint_of(binary: bytes, *, item: str) -> str:
    """Return the fingerprint of the first key packet, as a person reads it out.

    :raises InvalidInput: ``pgp-key`` when there is none, ``pgp-secret`` when it is a secret key.
    """
    tag, start, length = _packet(binary)
    if tag in _SECRET_KEY_PACKETS:
        raise InvalidInput(
            "this is a PGP private key.",
            item=item,
            rule="pgp-secret",
            fix="give the public key: gpg --export NAME > FILE.",
        )
    body = binary[start : start + length]
    if tag != _PUBLIC_KEY_PACKET or len(body) != length or length < 6 or body[0] not in (4, 5, 6):
        raise InvalidInput(
            "not a PGP public key (version 4 or newer).",
            item=item,
            rule="pgp-key",
            fix="export it again: gpg --export NAME > FILE.",
        )
    if body[0] == 4:
        return hashlib.sha1(b"\x99" + length.to_bytes(2, "big") + body, usedforsecurity=False).hexdigest().upper()
    mark = b"\x9a" if body[0] == 5 else b"\x9b"
    return hashlib.sha256(mark + length.to_bytes(4, "big") + body).hexdigest().upper()


def _packet(binary: bytes) -> tuple[int, int, int]:
    """Return tag, start and length of the first packet; tag 0 if it is not one."""
    if len(binary) < 6 or not binary[0] & 0x80:
        return 0, 0, 0
    if binary[0] & 0x40:  # new format
        tag, first = binary[0] & 0x3F, binary[1]
        if first < 192:
            return tag, 2, first
        if first < 224:
            return tag, 3, ((first - 192) << 8) + binary[2] + 192
        if first == 255:
            return tag, 6, int.from_bytes(binary[2:6], "big")
        return 0, 0, 0
    size = (1, 2, 4, 0)[binary[0] & 3]
    if not size:
        return 0, 0, 0
    return (binary[0] >> 2) & 0xF, 1 + size, int.from_bytes(binary[1 : 1 + size], "big")


def armor_message(binary: bytes) -> str:
    """Return a binary PGP message in ASCII armor (RFC 4880, 6.2)."""
    crc = 0xB704CE
    for byte in binary:
        crc ^= byte << 16
        for _other in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    text = base64.b64encode(binary).decode("ascii")
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    check = base64.b64encode((crc & 0xFFFFFF).to_bytes(3, "big")).decode("ascii")
    return "\n".join(["-----BEGIN PGP MESSAGE-----", "", *lines, f"={check}", "-----END PGP MESSAGE-----", ""])
