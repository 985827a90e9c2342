# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Connections to pods through the API server's port-forward, as sockets of this process; nothing listens anywhere.

One thread moves the bytes of all connections. What is sent over them should be TLS to the pod itself, so that the API
server and the kubelet see ciphertext only: the client takes the socket and speaks TLS over it.

The protocol is a WebSocket with ``v4.channel.k8s.io``: binary messages whose first byte is the channel, 0 for data and
1 for the reason of a failure; the first message on each channel is the port's number.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import json
import os
import re
import socket
import ssl
import struct
import threading
import typing as t

from .._core.errors import HackspaceError, Unreachable
from .openbao import Connection, _unreachable

PROTOCOL: t.Final = "v4.channel.k8s.io"
_MAGIC: t.Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_CHUNK: t.Final = 64 * 1024
#: Messages and answers larger than this are no port-forward's.
_MOST: t.Final = 16 * 1024 * 1024
_HEAD: t.Final = 64 * 1024


@dataclasses.dataclass(frozen=True)
class Door:
    """How an API server is reached, for protocols that are no plain requests.

    :ivar tls: ``None`` for plain HTTP (a proxy on loopback).
    :ivar headers: who we are; secret.
    :ivar proxy: host and port of an HTTP proxy to go through.
    """

    url: str
    host: str
    port: int
    prefix: str
    tls: ssl.SSLContext | None
    server_name: str
    headers: tuple[tuple[str, str], ...] = dataclasses.field(repr=False)
    timeout: float = 30.0
    proxy: tuple[str, int] | None = None
    proxy_headers: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)


class Forwarder:
    """Port-forwards through one API server. Used by many threads; its own thread is started by the first connection."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def pod(self, namespace: str, name: str, port: int) -> PodDialler:
        """Return what opens connections to one port of one pod."""
        return PodDialler(self, namespace, name, port)

    def close(self) -> None:
        """Cut all connections and end the thread."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop and thread:
            with contextlib.suppress(
                TimeoutError
            ):  # the thread is a daemon: what does not end now ends with the process
                asyncio.run_coroutine_threadsafe(self._end(), loop).result(5)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)
            if not thread.is_alive():
                loop.close()

    async def _end(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="port-forward", daemon=True)
                self._thread.start()
            return self._loop

    def open(self, dialler: PodDialler, timeout: float) -> socket.socket:
        """Return a connected socket; what goes wrong later is noted on *dialler*."""
        door = self.door
        limit = min(timeout, door.timeout)
        try:
            plain = _dial(door, limit)
            plain.setblocking(False)
            work = asyncio.wait_for(self._connect(dialler, plain), limit)
            return asyncio.run_coroutine_threadsafe(work, self._running()).result(limit + 5)
        except HackspaceError:
            raise
        except (TimeoutError, OSError, EOFError, ValueError) as error:
            problem = _unreachable(
                error, Connection(url=door.url, tls_server_name=door.server_name or None, timeout=limit)
            )
            raise Unreachable(
                f"no port-forward: the API server gave {problem.message}",
                item=door.url,
                rule=problem.rule,
                fix=problem.fix,
            ) from None

    async def _connect(self, dialler: PodDialler, plain: socket.socket) -> socket.socket:
        door = self.door
        reader, writer = await asyncio.open_connection(
            sock=plain, ssl=door.tls, server_hostname=door.server_name if door.tls else None, limit=_HEAD
        )
        try:
            await self._upgrade(dialler, reader, writer)
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            near_reader, near_writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            writer.transport.abort()
            raise
        pipe = _Pipe(dialler, reader, writer, near_reader, near_writer)
        task = asyncio.ensure_future(pipe.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return theirs

    async def _upgrade(self, dialler: PodDialler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door, key = self.door, base64.b64encode(os.urandom(16)).decode()
        path = f"{door.prefix}/api/v1/namespaces/{dialler.namespace}/pods/{dialler.name}/portforward"
        host = f"[{door.host}]" if ":" in door.host else door.host
        lines = [f"GET {path}?ports={dialler.port} HTTP/1.1", f"Host: {host}:{door.port}"]
        lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        lines += [f"Sec-WebSocket-Key: {key}", f"Sec-WebSocket-Protocol: {PROTOCOL}"]
        lines += [f"{name}: {value}" for name, value in door.headers]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        await writer.drain()
        status, headers = await _head(reader)
        if status != 101:
            length = headers.get("content-length", "")
            body = b""
            if length.isdigit() and int(length) < _MOST:
                body = await reader.readexactly(int(length))
            raise dialler.refusal(status, body)
        wanted = base64.b64encode(hashlib.sha1(f"{key}{_MAGIC}".encode(), usedforsecurity=False).digest()).decode()
        if headers.get("sec-websocket-accept") != wanted or headers.get("sec-websocket-protocol") != PROTOCOL:
            raise Unreachable(
                f"no port-forward: the API server does not speak {PROTOCOL}.",
                item=door.url,
                rule="port-forward",
                fix="address the API server itself, not a proxy that takes WebSockets apart.",
            )


class PodDialler:
    """Opens connections to one port of one pod, and knows why the last one failed. One thread at a time."""

    def __init__(self, forwarder: Forwarder, namespace: str, name: str, port: int) -> None:
        self._forwarder = forwarder
        self.namespace = namespace
        self.name = name
        self.port = port
        self._trouble: HackspaceError | None = None

    def connect(self, timeout: float) -> socket.socket:
        """Return a connected socket.

        :raises HackspaceError: rules ``port-forward-forbidden``, ``pod``, ``port-forward``, and hops to the API server.
        """
        self._trouble = None
        return self._forwarder.open(self, timeout)

    def trouble(self) -> HackspaceError | None:
        """Return why the last connection ended early, as the kubelet says it."""
        return self._trouble

    def note(self, text: str) -> None:
        """Take the kubelet's words about a connection that failed."""
        if re.search(r"refused", text, re.IGNORECASE):
            self._trouble = Unreachable(
                f"nothing listens on port {self.port} in pod {self.name}.",
                item=f"pod {self.namespace}/{self.name}",
                rule="port-closed",
                fix="wait until the container runs, or correct pods.port.",
            )
        elif re.search(r"not running|not found|sandbox", text, re.IGNORECASE):
            self._trouble = self._gone()
        else:
            self._trouble = Unreachable(
                f"the port-forward to pod {self.name} failed: {' '.join(text.split())[:200]}",
                item=f"pod {self.namespace}/{self.name}",
                rule="port-forward",
                fix="see the kubelet's log on the pod's machine.",
            )

    def _gone(self) -> HackspaceError:
        return Unreachable(
            f"pod {self.name} is not running.",
            item=f"pod {self.namespace}/{self.name}",
            rule="pod",
            fix=f"kubectl -n {self.namespace} describe pod {self.name}",
        )

    def refusal(self, status: int, body: bytes) -> HackspaceError:
        """Return the error for an answer that is no upgrade."""
        try:
            said = str(json.loads(body).get("message") or "")
        except (ValueError, AttributeError):
            said = body[:200].decode(errors="replace")
        if status == 403:
            verb = re.search(r"cannot (\w+) resource", said)
            return HackspaceError(
                f"the kubeconfig may not forward ports to pods in namespace {self.namespace}: it lacks the verb "
                f"{verb.group(1) if verb else 'create'} on pods/portforward.",
                item="pods.kubeconfig",
                rule="port-forward-forbidden",
                fix="grant get and create on pods/portforward (docs/unseal.md has the Role).",
                status=status,
            )
        if status == 401:
            return HackspaceError(
                "the API server does not accept the login of the kubeconfig.",
                item="pods.kubeconfig",
                rule="login",
                fix="check the token or the client certificate.",
                status=status,
            )
        if status == 404 or re.search(r"host assigned|not running", said):
            return self._gone()
        return Unreachable(
            f"no port-forward to pod {self.name}: HTTP {status} {' '.join(said.split())[:200]}".rstrip() + ".",
            item=f"pod {self.namespace}/{self.name}",
            rule="port-forward",
            fix="run again; see the log of the API server or of the kubelet if it stays.",
            status=status,
        )


# -- bytes -------------------------------------------------------------------------------------------------------------


class _Pipe:
    """Moves bytes between a WebSocket and a socket until one of them ends."""

    def __init__(
        self,
        dialler: PodDialler,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        near_reader: asyncio.StreamReader,
        near_writer: asyncio.StreamWriter,
    ) -> None:
        self.dialler = dialler
        self.reader, self.writer = reader, writer
        self.near_reader, self.near_writer = near_reader, near_writer

    async def run(self) -> None:
        both = [asyncio.ensure_future(self._inwards()), asyncio.ensure_future(self._outwards())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            self.near_writer.close()
            with contextlib.suppress(OSError, RuntimeError):
                self.writer.write(frame(_CLOSE, struct.pack("!H", 1000)))
            self.writer.close()

    async def _outwards(self) -> None:
        while data := await self.near_reader.read(_CHUNK):
            self.writer.write(frame(_BINARY, b"\x00" + data))
            await self.writer.drain()

    async def _inwards(self) -> None:
        begun: set[int] = set()
        while True:
            kind, message = await self._message()
            if kind == _CLOSE:
                return
            if not message:
                continue
            channel, data = message[0], message[1:]
            if channel not in begun:
                begun.add(channel)
                data = data[2:]
            if not data:
                continue
            if channel == 0:
                self.near_writer.write(data)
                await self.near_writer.drain()
            elif channel == 1:
                self.dialler.note(data.decode(errors="replace"))
                return

    async def _message(self) -> tuple[int, bytes]:
        """Return the next data message, or the closing."""
        parts: list[bytes] = []
        kind = _BINARY
        while True:
            first, second = await self.reader.readexactly(2)
            code, length = first & 0x0F, second & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            if length > _MOST:
                return _CLOSE, b""
            payload = await self.reader.readexactly(length) if length else b""
            if code == _PING:
                self.writer.write(frame(_PONG, payload))
                continue
            if code == _PONG:
                continue
            if code == _CLOSE:
                return _CLOSE, payload
            if code in (_TEXT, _BINARY):
                kind = code
            parts.append(payload)
            if first & 0x80:
                return kind, b"".join(parts)


def frame(code: int, payload: bytes, mask: bytes | None = None) -> bytes:
    """Return one whole masked frame, as clients send them."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | code, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | code, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | code, 0x80 | 127, size)
    key = mask or os.urandom(4)
    long = (key * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(long, "big")).to_bytes(size, "big") if size else b""
    return head + key + masked


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Return status and headers of an answer."""
    raw = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = raw.split("\r\n")
    match = re.match(r"HTTP/1\.\d (\d{3})", first)
    if not match:
        raise ValueError("no HTTP")
    pairs = (line.partition(":") for line in rest if ":" in line)
    return int(match.group(1)), {name.strip().lower(): value.strip() for name, _colon, value in pairs}


def _dial(door: Door, timeout: float) -> socket.socket:
    """Connect to the API server, or to the proxy and through it."""
    made = socket.create_connection(door.proxy or (door.host, door.port), timeout)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if door.proxy is None:
        return made
    try:
        lines = [f"CONNECT {door.host}:{door.port} HTTP/1.1", f"Host: {door.host}:{door.port}"]
        lines += [f"{name}: {value}" for name, value in door.proxy_headers]
        made.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        answer = b""
        while not answer.endswith(b"\r\n\r\n") and len(answer) < _HEAD:
            byte = made.recv(1)
            if not byte:
                break
            answer += byte
        if not re.match(rb"HTTP/1\.\d 200", answer):
            raise Unreachable(
                f"no port-forward: the proxy {door.proxy[0]}:{door.proxy[1]} refuses to connect to the API server.",
                item=door.url,
                rule="proxy",
                fix="correct proxy-url in the kubeconfig.",
            )
    except BaseException:
        made.close()
        raise
    return made
