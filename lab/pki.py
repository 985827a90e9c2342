# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates and keys of the lab, made once and kept over resets."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.files import write

_LIFETIME = datetime.timedelta(days=3650)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as files."""

    cert: Path
    key: Path

    def exists(self) -> bool:
        """Both files are there."""
        return self.cert.is_file() and self.key.is_file()


def _key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(name: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
    )


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path, common_name: str) -> None:
        self.pair = Pair(folder / "ca.pem", folder / "ca.key")
        self._folder = folder
        if not self.pair.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
            certificate = (
                _builder(name, name, key.public_key())
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                .sign(key, hashes.SHA256())
            )
            write(self.pair.key, _key_pem(key))
            write(self.pair.cert, certificate.public_bytes(serialization.Encoding.PEM), 0o644)

    def issue(
        self,
        name: str,
        common_name: str,
        *,
        organisations: Sequence[str] = (),
        dns: Sequence[str] = (),
        addresses: Sequence[str] = (),
    ) -> Pair:
        """A certificate for servers (when it has names) and clients; made on the first call."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        if pair.exists():
            return pair
        authority_key = serialization.load_pem_private_key(self.pair.key.read_bytes(), None)
        if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self.pair.key} is not an EC key")
        authority = x509.load_pem_x509_certificate(self.pair.cert.read_bytes())
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organisations]
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
        builder = (
            _builder(x509.Name(subject), authority.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if dns or addresses:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            names: list[x509.GeneralName] = [x509.DNSName(entry) for entry in dns]
            names += [x509.IPAddress(ipaddress.ip_address(entry)) for entry in addresses]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False).sign(
            authority_key, hashes.SHA256()
        )
        write(pair.key, _key_pem(key))
        write(pair.cert, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        return pair


def signing_key(folder: Path, name: str) -> Pair:
    """An RSA key for service account tokens and its public half."""
    pair = Pair(folder / f"{name}.pub", folder / f"{name}.key")
    if not pair.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        write(pair.key, _key_pem(key))
        write(pair.cert, public, 0o644)
    return pair
