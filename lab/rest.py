# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTPS requests to the lab's own servers, always verified."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lab.pki import Pair


class VerifiedConnection(http.client.HTTPSConnection):
    """A TLS connection to an address, verified for a name that need not be the address."""

    def __init__(
        self, host: str, port: int, *, server_name: str | None, context: ssl.SSLContext, timeout: float
    ) -> None:
        super().__init__(host, port, context=context, timeout=timeout)
        self._server_name = server_name or host
        self._tls = context

    def connect(self) -> None:
        """Connect and verify."""
        plain = socket.create_connection((self.host, self.port), self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self._server_name)
        except BaseException:
            plain.close()
            raise


@dataclass(frozen=True)
class Response:
    """What a server answered."""

    status: int
    body: Any


@dataclass(frozen=True)
class Server:
    """Where a server is and how to know it."""

    url: str
    ca: Path
    server_name: str | None = None
    client: Pair | None = None

    def context(self) -> ssl.SSLContext:
        """TLS settings that trust only the server's authority."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if self.client:
            context.load_cert_chain(self.client.cert, self.client.key)
        return context

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        content_type: str = "application/json",
        timeout: float = 5.0,
    ) -> Response:
        """One request. Text and bytes are sent as they are, everything else as JSON."""
        parts = urlsplit(self.url)
        connection = VerifiedConnection(
            parts.hostname or "",
            parts.port or 443,
            server_name=self.server_name,
            context=self.context(),
            timeout=timeout,
        )
        headers = {"Accept": "application/json"}
        if token:
            headers["X-Vault-Token"] = token
        data: bytes | None = None
        if body is not None:
            data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
            headers["Content-Type"] = content_type
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        try:
            return Response(answer.status, json.loads(raw) if raw else None)
        except ValueError:
            return Response(answer.status, raw.decode(errors="replace"))
