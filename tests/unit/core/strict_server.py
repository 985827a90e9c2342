# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that answers exactly the requests it was told to expect, in their order, and misbehaves when told."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import http.server
import ipaddress
import json
import socket
import ssl
import struct
import threading
import typing as t
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclasses.dataclass
class Expected:
    """One request and its answer. ``fault``: cut (no answer), half (a part of one), slow (until the test ends)."""

    method: str
    path: str
    status: int = 200
    body: t.Any = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    fault: str = ""


@dataclasses.dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: t.Any


class StrictServer:
    """Listens on a free port of loopback; ``finish`` fails on anything unexpected or missing."""

    def __init__(self, expected: t.Sequence[Expected], context: ssl.SSLContext | None = None) -> None:
        self._expected = list(expected)
        self.seen: list[Seen] = []
        self.wrong: list[str] = []
        self._over = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                outer.answer(self)

            do_GET = do_POST = do_PUT = do_DELETE = do_LIST = do_PATCH = handle_any

            def log_message(self, format: str, *args: t.Any) -> None:
                """Tests read ``seen``."""

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request: t.Any, client_address: t.Any) -> None:
                """Cut connections are what some tests are about."""

            def finish_request(self, request: t.Any, client_address: t.Any) -> None:
                if context is not None:
                    request.settimeout(10)
                    request = context.wrap_socket(request, server_side=True)
                super().finish_request(request, client_address)

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Record the request, then answer as expected."""
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.seen.append(
            Seen(
                handler.command,
                handler.path,
                {k.lower(): v for k, v in handler.headers.items()},
                json.loads(raw) if raw else None,
            )
        )
        wanted = self._expected.pop(0) if self._expected else None
        if wanted is None or (wanted.method, wanted.path) != (handler.command, handler.path):
            self.wrong.append(f"{handler.command} {handler.path}; expected {wanted}")
            wanted = Expected(handler.command, handler.path, 599)
        if wanted.fault == "slow":
            self._over.wait(20)
        if wanted.fault in ("cut", "slow"):
            _reset(handler.connection)
            return
        raw_body = wanted.body if isinstance(wanted.body, bytes) else json.dumps(wanted.body).encode()
        text = b"" if wanted.body is None else raw_body
        handler.send_response(wanted.status)
        for name, value in wanted.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(text) + (100 if wanted.fault == "half" else 0)))
        handler.end_headers()
        handler.wfile.write(text)
        if wanted.fault == "half":
            handler.wfile.flush()
            _reset(handler.connection)

    def finish(self) -> None:
        """Stop; everything expected came, and nothing else."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        assert self.wrong == []
        assert self._expected == [], "expected and never asked"


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


# -- certificates ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Authority:
    """A CA and a certificate of its own for ``node.example``, as files."""

    ca: Path
    cert: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context


def make_authority(folder: Path, *, addresses: t.Sequence[str] = ()) -> Authority:
    """Make a CA, and a certificate for the name ``node.example`` and *addresses*."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"CA {folder.name}")])

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = (
        builder(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names: list[x509.GeneralName] = [x509.DNSName("node.example")]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    leaf = (
        builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")]), key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    made = Authority(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    made.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    made.cert.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made
