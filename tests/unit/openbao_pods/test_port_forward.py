# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The protocol of a port-forward, against a server that says exactly what is written here."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import threading
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._clients.port_forward import (
    Door,
    Forwarder,
    PodDialler,
    frame,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError

SECRET = "s3cr3t-bearer-token"
Talk = t.Callable[[socket.socket, dict[str, str]], None]


def received(connection: socket.socket) -> dict[str, str]:
    """Read a request's head."""
    raw = b""
    while not raw.endswith(b"\r\n\r\n"):
        raw += connection.recv(1)
    first, *rest = raw.decode().split("\r\n")
    return {"": first, **{n.lower(): v.strip() for n, _c, v in (line.partition(":") for line in rest if line)}}


def exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        assert piece, "closed"
        data += piece
    return data


def message(connection: socket.socket) -> tuple[int, bytes]:
    """Read one frame of the client; they are masked."""
    first, second = exactly(connection, 2)
    assert first & 0x80
    assert second & 0x80
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack("!H", exactly(connection, 2))
    elif size == 127:
        (size,) = struct.unpack("!Q", exactly(connection, 8))
    mask = exactly(connection, 4)
    data = exactly(connection, size)
    return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))


def plain(code: int, data: bytes, *, last: bool = True) -> bytes:
    """Return a frame as servers send it."""
    head = bytes([(0x80 if last else 0) | code])
    if len(data) < 126:
        return head + bytes([len(data)]) + data
    return head + bytes([127]) + struct.pack("!Q", len(data)) + data


def upgraded(connection: socket.socket, asked: dict[str, str]) -> None:
    """Answer as an API server does, and say which port the channels are for."""
    text = asked["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(text.encode(), usedforsecurity=False).digest()).decode()
    connection.sendall(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n".encode()
    )
    port = struct.pack("<H", 8200)
    connection.sendall(plain(2, b"\x00" + port) + plain(2, b"\x01" + port))


@pytest.fixture
def serve() -> t.Iterator[t.Callable[[Talk], tuple[Forwarder, PodDialler]]]:
    made: list[Forwarder] = []
    problems: list[BaseException] = []
    threads: list[threading.Thread] = []

    def start(talk: Talk) -> tuple[Forwarder, PodDialler]:
        listener = socket.create_server(("127.0.0.1", 0))

        def run() -> None:
            try:
                connection, _address = listener.accept()
                with connection:
                    talk(connection, received(connection))
            except BaseException as error:
                problems.append(error)
            finally:
                listener.close()

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        port = listener.getsockname()[1]
        headers = (("Authorization", f"Bearer {SECRET}"),)
        door = Door(f"http://127.0.0.1:{port}", "127.0.0.1", port, "/prefix", None, "x", headers, timeout=5)
        made.append(Forwarder(door))
        return made[-1], made[-1].pod("openbao", "openbao-0", 8200)

    yield start
    for forwarder in made:
        forwarder.close()
    for thread in threads:
        thread.join(5)
    assert not problems, problems


def test_bytes_go_both_ways_whatever_the_size(serve: t.Callable[[Talk], tuple[Forwarder, PodDialler]]) -> None:
    sizes = (1, 125, 126, 70_000, 300_000)

    def talk(connection: socket.socket, asked: dict[str, str]) -> None:
        assert asked[""] == "GET /prefix/api/v1/namespaces/openbao/pods/openbao-0/portforward?ports=8200 HTTP/1.1"
        assert asked["authorization"] == f"Bearer {SECRET}"
        assert asked["sec-websocket-protocol"] == "v4.channel.k8s.io"
        upgraded(connection, asked)
        for size in sizes:
            got = b""
            while len(got) < size:
                code, data = message(connection)
                assert (code, data[:1]) == (2, b"\x00")
                got += data[1:]
            connection.sendall(plain(9, b"still there?"))
            connection.sendall(plain(2, b"\x00" + got[: size // 2], last=False) + plain(0, got[size // 2 :]))
            assert message(connection) == (10, b"still there?")

    _forwarder, dialler = serve(talk)
    with dialler.connect(5) as near:
        near.settimeout(5)
        for size in sizes:
            data = bytes(number % 251 for number in range(size))
            near.sendall(data)
            assert exactly(near, size) == data
    assert dialler.trouble() is None


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (
            "error forwarding port 8200 to pod x: failed to dial 10.1.2.3:8200: connect: connection refused",
            "port-closed",
        ),
        ("error forwarding port 8200: container not running (abc)", "pod"),
        ("error forwarding port 8200: pod sandbox is not ready", "pod"),
        ("lost the way", "port-forward"),
    ],
)
def test_what_the_kubelet_says(serve: t.Callable[[Talk], tuple[Forwarder, PodDialler]], words: str, rule: str) -> None:
    def talk(connection: socket.socket, asked: dict[str, str]) -> None:
        upgraded(connection, asked)
        connection.sendall(plain(2, b"\x01" + words.encode()))

    _forwarder, dialler = serve(talk)
    with dialler.connect(5) as near:
        near.settimeout(5)
        assert near.recv(10) == b""
    trouble = dialler.trouble()
    assert trouble is not None
    assert trouble.rule == rule
    assert trouble.fix


def refuse(status: int, body: str) -> Talk:
    def talk(connection: socket.socket, asked: dict[str, str]) -> None:
        del asked
        connection.sendall(f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    return talk


@pytest.mark.parametrize(
    ("status", "body", "rule", "says"),
    [
        (
            403,
            '{"message": "User \\"x\\" cannot create resource \\"pods/portforward\\""}',
            "port-forward-forbidden",
            "create",
        ),
        (
            403,
            '{"message": "User \\"x\\" cannot get resource \\"pods/portforward\\""}',
            "port-forward-forbidden",
            "verb get",
        ),
        (403, "no", "port-forward-forbidden", "create"),
        (401, "{}", "login", "does not accept"),
        (404, '{"message": "pods \\"openbao-0\\" not found"}', "pod", "not running"),
        (400, '{"message": "pod openbao-0 does not have a host assigned"}', "pod", "not running"),
        (500, '{"message": "no preferred addresses found"}', "port-forward", "no preferred addresses"),
        (200, "hello", "port-forward", "HTTP 200"),
    ],
)
def test_answers_that_are_no_port_forward(
    serve: t.Callable[[Talk], tuple[Forwarder, PodDialler]], status: int, body: str, rule: str, says: str
) -> None:
    _forwarder, dialler = serve(refuse(status, body))
    with pytest.raises(HackspaceError) as error:
        dialler.connect(5)
    assert error.value.rule == rule
    assert says in str(error.value)
    assert SECRET not in str(error.value)
    assert SECRET not in repr(_forwarder.door)


def test_another_protocol_is_refused(serve: t.Callable[[Talk], tuple[Forwarder, PodDialler]]) -> None:
    def talk(connection: socket.socket, asked: dict[str, str]) -> None:
        del asked
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n")

    _forwarder, dialler = serve(talk)
    with pytest.raises(HackspaceError) as error:
        dialler.connect(5)
    assert error.value.rule == "port-forward"


def test_nobody_there_and_somebody_who_hangs(serve: t.Callable[[Talk], tuple[Forwarder, PodDialler]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        silent = Forwarder(Door("http://x", "127.0.0.1", port, "", None, "x", (), timeout=0.3))
        with pytest.raises(HackspaceError) as error:
            silent.pod("a", "b", 1).connect(5)
        assert error.value.rule == "timeout"
        silent.close()
    nobody = Forwarder(Door("http://x", "127.0.0.1", port, "", None, "x", (), timeout=5))
    with pytest.raises(HackspaceError) as error:
        nobody.pod("a", "b", 1).connect(5)
    assert error.value.rule == "refused"
    nobody.close()


@pytest.mark.parametrize("answer", ["200 OK", "403 Forbidden"])
def test_through_a_proxy(answer: str) -> None:
    seen: list[dict[str, str]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connection, _address = listener.accept()
            with connection:
                seen.append(received(connection))
                connection.sendall(f"HTTP/1.1 {answer}\r\n\r\n".encode())
                if answer.startswith("200"):
                    asked = received(connection)
                    upgraded(connection, asked)
                    assert message(connection) == (2, b"\x00hello")
                    connection.sendall(plain(2, b"\x00there"))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        place = ("127.0.0.1", listener.getsockname()[1])
        headers = (("Proxy-Authorization", "Basic eA=="),)
        door = Door("http://api", "api.example", 6443, "", None, "x", (), 5, proxy=place, proxy_headers=headers)
        forwarder = Forwarder(door)
        dialler = forwarder.pod("a", "b", 8200)
        if answer.startswith("200"):
            with dialler.connect(5) as near:
                near.sendall(b"hello")
                assert exactly(near, 5) == b"there"
        else:
            with pytest.raises(HackspaceError) as error:
                dialler.connect(5)
            assert error.value.rule == "proxy"
        forwarder.close()
        thread.join(5)
    assert seen[0][""] == "CONNECT api.example:6443 HTTP/1.1"
    assert seen[0]["proxy-authorization"] == "Basic eA=="


def test_frames_are_masked() -> None:
    assert frame(2, b"abc", b"\x01\x02\x03\x04") == b"\x82\x83\x01\x02\x03\x04" + bytes([0x60, 0x60, 0x60])
    assert frame(8, b"", b"\x00" * 4) == b"\x88\x80\x00\x00\x00\x00"
