# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""A certificate and its encrypted key become a Kubernetes Secret; the key is decrypted in memory only."""

from __future__ import annotations

import datetime
import typing as t

from .._core.errors import HackspaceError, InvalidInput, check
from .._kube.model import Source
from .model import TlsSecret


def secret(
    wanted: TlsSecret, *, certificate: bytes, key: bytes, authority: bytes, now: datetime.datetime, item: str
) -> Source:
    """Return the object.

    :raises InvalidInput: when the three do not belong together, or the certificate is not valid at *now*.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise HackspaceError(
            "the Python package cryptography is missing on the controller.",
            rule="python-package",
            fix="pip install -r requirements.txt in the environment that runs Ansible.",
        ) from error
    mine = _certificates(x509, certificate, f"{item}.certificate_file")
    trusted = _certificates(x509, authority, f"{item}.ca_file")
    private = _key(serialization, key, wanted.passphrase, f"{item}.key_file")
    public = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    check(
        private.public_key().public_bytes(*public) == mine[0].public_key().public_bytes(*public),
        "the key is not that of the certificate.",
        item=f"{item}.key_file",
        rule="tls-key",
        fix="give the key that the certificate was made for.",
    )
    begin, end = mine[0].not_valid_before_utc, mine[0].not_valid_after_utc
    check(
        begin <= now < end,
        f"the certificate is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}.",
        item=f"{item}.certificate_file",
        rule="tls-time",
        fix="renew it, or correct the clock of the controller.",
    )
    check(
        any(_issued(mine[-1], one) for one in trusted),
        "the certificate is not from this authority.",
        item=f"{item}.ca_file",
        rule="tls-authority",
        fix="give the authority that has issued it.",
    )
    plain = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": wanted.name, "namespace": wanted.namespace},
        "stringData": {
            "tls.crt": certificate.decode(),
            "tls.key": plain.decode(),
            "ca.crt": authority.decode(),
        },
    }
    return Source(body, item)


def _certificates(x509: t.Any, pem: bytes, item: str) -> list[t.Any]:
    try:
        return list(x509.load_pem_x509_certificates(pem))
    except ValueError:
        raise InvalidInput(
            "the file has no certificate in PEM.", item=item, rule="tls-pem", fix="give a PEM file."
        ) from None


def _key(serialization: t.Any, pem: bytes, passphrase: str, item: str) -> t.Any:
    check(
        b"ENCRYPTED" in pem and passphrase,
        "the key is not encrypted, or there is no passphrase.",
        item=item,
        rule="tls-key-plain",
        fix="encrypt the key where it is kept, and give key_passphrase.",
    )
    try:
        return serialization.load_pem_private_key(pem, passphrase.encode())
    except (ValueError, TypeError):
        # their text may quote what was read
        raise InvalidInput(
            "the key cannot be decrypted.",
            item=item,
            rule="tls-passphrase",
            fix="check key_passphrase, and that the file is a private key in PEM.",
        ) from None


def _issued(one: t.Any, authority: t.Any) -> bool:
    try:
        one.verify_directly_issued_by(authority)
    except Exception:  # one type per kind of key
        return False
    return True
