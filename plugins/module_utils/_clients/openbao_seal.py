# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The seal of one OpenBao server, asked and told without a token; and several servers at once."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import typing as t

from .._core.errors import HackspaceError
from .._core.module import ArgumentSpec
from .._core.redact import Secret
from .openbao import DEFAULT_TIMEOUT, Connection, Login, OpenBao

T = t.TypeVar("T")
R = t.TypeVar("R")

#: Every status that sys/health has; none is an error here.
_HEALTH = (200, 429, 472, 473, 501, 503)

#: A port-forward may stay open after the server behind it is gone: one that is used again has to answer within this.
_USED_AGAIN: t.Final = 2.0

#: Options of the modules that ask every server by its own address; documented in the fragment ``openbao_seal``.
SEAL_SPEC = ArgumentSpec(
    options={
        "nodes": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "url": {"type": "str", "required": True},
                "tls_server_name": {"type": "str"},
            },
        },
        "ca_cert": {"type": "path"},
        "validate_certs": {"type": "bool", "default": True},
        "timeout": {"type": "float", "default": float(DEFAULT_TIMEOUT)},
    }
)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a server said. ``status`` is the body of sys/seal-status, ``health`` the HTTP status of sys/health."""

    status: dict[str, t.Any] | None
    health: int | None = None
    error: HackspaceError | None = None


@dataclasses.dataclass(frozen=True)
class Sent:
    """What a server said to an unseal request.

    :ivar http: ``None`` when no answer came.
    :ivar status: the body, where the status is 200.
    :ivar reconnected: a new connection had to be opened, as after a restart of the server.
    """

    http: int | None
    status: dict[str, t.Any] | None
    error: HackspaceError | None = None
    reconnected: bool = False


class SealClient:
    """One server, one connection kept open. To be used by one thread at a time."""

    def __init__(self, connection: Connection) -> None:
        # A read is repeated once here after a cut connection, never after a timeout: a server that hangs costs one.
        self._client = OpenBao(dataclasses.replace(connection, retries=0))

    @property
    def requests(self) -> int:
        return self._client.requests

    def close(self) -> None:
        self._client.close()

    def drop(self) -> None:
        """Let go of the connection; the next request opens another one."""
        self._client.drop()

    def inside(self, namespace: str, token: Secret | None) -> OpenBao:
        """Return a client of the same server for requests in a namespace, with a login."""
        connection = dataclasses.replace(self._client.connection, namespace=namespace or None)
        return OpenBao(connection, Login(method="token", token=token) if token else None)

    def status(self) -> Reading:
        """Ask sys/seal-status."""
        limit = self._client.connection.timeout
        for last in (False, True):
            used = not last and self._client.connection.dialler is not None and self._client.connections > 0
            try:
                soon = min(_USED_AGAIN, limit) if used else None
                answer = self._client.request("GET", "sys/seal-status", token=False, timeout=soon)
                return Reading(answer.body)
            except HackspaceError as error:
                again = error.rule == "cut" or error.status in (502, 503, 504)
                if used and error.rule in ("cut", "timeout"):
                    self._client.drop()
                    continue
                if last or not again:
                    return Reading(None, error=error)
        raise AssertionError("unreachable")

    def health(self) -> int | None:
        """Return the HTTP status of sys/health; ``None`` without an answer."""
        try:
            return self._client.request("GET", "sys/health", ok=_HEALTH, token=False).status
        except HackspaceError:
            return None

    def read(self) -> Reading:
        """Ask sys/seal-status and, when unsealed, sys/health: one or two requests."""
        reading = self.status()
        if reading.status is None or reading.status.get("sealed", True):
            return reading
        return dataclasses.replace(reading, health=self.health())

    def send(self, key: Secret, *, migrate: bool = False) -> Sent:
        """Send one unseal share. Never repeated here; the server's words are left out, as they could quote it.

        :param migrate: it is part of a seal migration.
        """
        return self._post({"key": key.reveal(), **({"migrate": True} if migrate else {})})

    def reset(self) -> Sent:
        """Drop the shares that were collected."""
        return self._post({"reset": True})

    def _post(self, body: dict[str, t.Any]) -> Sent:
        before = self._client.connections
        try:
            answer = self._client.request("POST", "sys/unseal", body, ok=range(200, 600), token=False, quiet=True)
        except HackspaceError as error:
            return Sent(None, None, error)
        body_200 = answer.body if answer.status == 200 else None
        return Sent(answer.status, body_200, reconnected=0 < before < self._client.connections)


def each(items: t.Sequence[T], work: t.Callable[[T], R]) -> list[R]:
    """Return ``work(item)`` for every item, all at once, in the order of *items*."""
    if not items:
        return []
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(len(items), 32)) as pool:
        return list(pool.map(work, items))


def connections_of(params: t.Mapping[str, t.Any]) -> dict[str, Connection]:
    """Return the checked connections that module parameters of :data:`SEAL_SPEC` describe, by name."""
    return {
        str(node["name"]): Connection(
            url=str(node["url"]),
            tls_server_name=node.get("tls_server_name") or None,
            ca_cert=params.get("ca_cert"),
            validate_certs=bool(params.get("validate_certs", True)),
            timeout=float(params.get("timeout") or DEFAULT_TIMEOUT),
        ).checked(f"nodes[{index}].url")
        for index, node in enumerate(params["nodes"])
    }


def clients_of(params: t.Mapping[str, t.Any]) -> dict[str, SealClient]:
    """Return a client for each node that module parameters of :data:`SEAL_SPEC` describe, by name."""
    return {name: SealClient(connection) for name, connection in connections_of(params).items()}
