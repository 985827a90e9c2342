# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What a certificate or a certificate request says, as far as a certificate authority is concerned."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from .._core.errors import HackspaceError, InvalidInput
from .._core.redact import fingerprint


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A certificate of an authority.

    :ivar key: its public key, to compare.
    """

    common_name: str
    issuer: str
    self_signed: bool
    authority: bool
    not_after: datetime.datetime
    key: bytes
    fingerprint: str


def look(pem: str, *, item: str) -> Certificate:
    """Return what the first certificate in *pem* says.

    :raises InvalidInput: rule ``certificate``.
    """
    x509 = _library(item)
    try:
        found = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise InvalidInput(
            "is no certificate in PEM notation.",
            item=item,
            rule="certificate",
            fix="give the text that begins with -----BEGIN CERTIFICATE-----, the new certificate first.",
        ) from None
    try:
        authority = bool(found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        authority = False
    return Certificate(
        _name(found.subject),
        _name(found.issuer),
        found.subject == found.issuer,
        authority,
        found.not_valid_after_utc,
        _key(found),
        fingerprint(_der(found)),
    )


def key_of_request(pem: str, *, item: str) -> bytes:
    """Return the public key of a certificate request, to compare.

    :raises InvalidInput: rule ``certificate``.
    """
    x509 = _library(item)
    try:
        return _key(x509.load_pem_x509_csr(pem.encode()))
    except ValueError:
        raise InvalidInput("is no certificate request.", item=item, rule="certificate", fix="run again.") from None


def _library(item: str) -> t.Any:
    try:
        from cryptography import x509
    except ImportError:
        raise HackspaceError(
            "the Python package cryptography is missing on the controller; it reads certificates.",
            item=item,
            rule="python-package",
            fix="pip install cryptography in the environment that runs Ansible.",
        ) from None
    return x509


def _name(name: t.Any) -> str:
    from cryptography.x509.oid import NameOID

    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _key(thing: t.Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    key: bytes = thing.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return key


def _der(certificate: t.Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    der: bytes = certificate.public_bytes(serialization.Encoding.DER)
    return der
