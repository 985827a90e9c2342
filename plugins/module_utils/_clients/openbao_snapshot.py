# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Raft snapshots of one OpenBao server, in and out as streams; decides nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from .._core.errors import HackspaceError, Unreachable
from .openbao import Connection, Login, OpenBao, _unreachable

if t.TYPE_CHECKING:
    import requests

SNAPSHOT: t.Final = "sys/storage/raft/snapshot"
FORCED: t.Final = "sys/storage/raft/snapshot-force"

_HEALTH = (200, 429, 472, 473, 501, 503)


class Body:
    """The body of an answer, read piece by piece as it was sent."""

    def __init__(self, response: requests.Response, connection: Connection, timeout: float) -> None:
        self._response, self._connection, self._timeout = response, connection, timeout

    def read(self, size: int) -> bytes:
        """Return at most *size* bytes, nothing at the end.

        :raises Unreachable: ``cut`` or ``timeout``.
        """
        import urllib3

        try:
            return bytes(self._response.raw.read(size, decode_content=False))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _unreachable(error, self._connection, self._timeout) from None


class SnapshotClient:
    """One server with a login.

    :param timeout: seconds without a byte before a transfer is given up.
    """

    def __init__(self, connection: Connection, login: Login, *, timeout: float) -> None:
        self._api = OpenBao(connection, login)
        self._timeout = timeout

    @property
    def url(self) -> str:
        return self._api.connection.url

    @property
    def requests(self) -> int:
        return self._api.requests

    def close(self) -> None:
        self._api.close()

    def status(self) -> dict[str, t.Any]:
        """Return ``sys/seal-status``."""
        return self._api.request("GET", "sys/seal-status", token=False).body

    def key_term(self) -> int | None:
        """Return the term of the barrier key; ``None`` where the login may not read it."""
        answer = self._api.request("GET", "sys/key-status", ok=(200, 403, 404))
        term = (answer.body.get("data") or {}).get("term") if answer.status == 200 else None
        return int(term) if isinstance(term, int) else None

    def capabilities(self, path: str) -> list[str] | None:
        """Return what the login may do with *path*; ``None`` where the server won't say."""
        answer = self._api.request("POST", "sys/capabilities-self", {"paths": [path]}, ok=(200, 403, 404))
        found = (answer.body.get("data") or answer.body).get(path) if answer.status == 200 else None
        return [str(word) for word in found] if isinstance(found, list) else None

    @contextlib.contextmanager
    def download(self) -> t.Iterator[Body]:
        """Ask for a snapshot."""
        with self._api.streamed("GET", SNAPSHOT, timeout=self._timeout) as response:
            yield Body(response, self._api.connection, self._timeout)

    def upload(self, body: t.BinaryIO, *, force: bool) -> None:
        """Send a snapshot; the server has taken it, and has not restored it yet, when this returns.

        :raises Unreachable: ``cut`` or ``timeout``: no answer came, and the server may restore all the same.
        """
        try:
            with self._api.streamed("POST", FORCED if force else SNAPSHOT, body, timeout=self._timeout):
                pass
        except Unreachable as error:
            if error.rule in ("cut", "timeout"):
                error.message = f"{error.message.rstrip('.')}; the server may be restoring all the same."
                error.fix = "ask openbao_seal_info before you try again; the snapshot and the shares are untouched."
            raise

    def settled(self, timeout: float) -> int | None:
        """Return the HTTP status of ``sys/health``, which a server that restores answers when it has done so."""
        # not asked again after a timeout: that would wait several times as long
        api = OpenBao(dataclasses.replace(self._api.connection, retries=0))
        try:
            return api.request("GET", "sys/health", ok=_HEALTH, token=False, timeout=timeout).status
        except HackspaceError:
            return None
        finally:
            self._api.requests += api.requests
            api.close()


def leader_address(connection: Connection) -> str:
    """Return what a standby says of the address of the active node; empty when it knows none."""
    api = OpenBao(connection)
    try:
        return str(api.request("GET", "sys/leader", token=False).body.get("leader_address") or "")
    finally:
        api.close()


def at(connection: Connection, url: str, tls_server_name: str | None) -> Connection:
    """Return *connection* to another server of the cluster, trusted by the same authority.

    :raises InvalidInput: for an address that must not be used.
    """
    return dataclasses.replace(connection, url=url, tls_server_name=tls_server_name).checked()
