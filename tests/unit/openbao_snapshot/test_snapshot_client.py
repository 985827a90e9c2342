# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that is slow, over a real socket: what the timeouts of a transfer mean."""

from __future__ import annotations

import io
import socket
import threading
import time
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import Connection, Login
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_snapshot import SnapshotClient
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import Unreachable
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret

#: More than the buffers of two sockets hold, so that the sender has to wait.
BODY = bytes(24 << 20)


class _Slow:
    """Reads the body of a snapshot after a second only, and never answers ``sys/health``."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.got = 0
        self.asked = 0
        self._end = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._end.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                made, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(made,), daemon=True).start()

    def _serve(self, made: socket.socket) -> None:
        with made, made.makefile("rb") as stream:
            while line := stream.readline():
                size = 0
                while (header := stream.readline()).strip():
                    if header.lower().startswith(b"content-length:"):
                        size = int(header.split(b":")[1])
                if b"sys/health" in line:
                    self.asked += 1
                    self._end.wait(30)
                    return
                if b"snapshot-force" in line:
                    stream.read(size)
                    return
                if size:
                    time.sleep(1)
                    self.got += len(stream.read(size))
                made.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


class _File(io.BytesIO):
    def __len__(self) -> int:
        return len(self.getbuffer())


@pytest.fixture
def slow() -> t.Iterator[_Slow]:
    server = _Slow()
    yield server
    server.close()


def test_a_server_that_takes_a_while_before_it_reads(slow: _Slow) -> None:
    login = Login(method="token", token=Secret("t"))
    client = SnapshotClient(Connection(slow.url, timeout=0.3), login, timeout=20)
    client.key_term()  # the connection that is open has the other timeout
    client.upload(_File(BODY), force=False)
    assert slow.got == len(BODY)
    client.close()


def test_a_lost_answer_to_a_restore_says_that_the_server_may_be_restoring(slow: _Slow) -> None:
    client = SnapshotClient(Connection(slow.url), Login(method="token", token=Secret("t")), timeout=20)
    with pytest.raises(Unreachable, match="may be restoring all the same") as caught:
        client.upload(_File(b"snapshot"), force=True)
    assert caught.value.rule == "cut"
    assert "openbao_seal_info" in caught.value.fix
    client.close()


def test_the_wait_for_a_restore_is_not_repeated(slow: _Slow) -> None:
    client = SnapshotClient(Connection(slow.url), Login(method="none"), timeout=20)
    begin = time.monotonic()
    assert client.settled(0.3) is None
    assert time.monotonic() - begin < 0.9
    assert (slow.asked, client.requests) == (1, 1)
    client.close()
