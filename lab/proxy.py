# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TLS proxy in front of one server: counts requests and, when told, makes things go wrong.

The client sees the server's own certificate. One JSON line per request goes to a log: time, method, path, query,
status (0: no answer was given) and the fault, if one was made. Headers and bodies are never written.
Upgraded connections (exec, port-forward) do not pass.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import http.client
import http.server
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from lab.errors import LabError
from lab.files import private_dir
from lab.pki import Pair
from lab.rest import Server, VerifiedConnection

Action = Literal["fail", "cut-before", "cut-after", "delay", "call-before", "call-after", "change", "date"]
ACTIONS: tuple[Action, ...] = (
    "fail",
    "cut-before",
    "cut-after",
    "delay",
    "call-before",
    "call-after",
    "change",
    "date",
)
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "trailer", "upgrade"}
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Request:
    """One request as the proxy saw it."""

    time: float
    method: str
    path: str
    query: str
    status: int
    fault: str = ""


@dataclass
class Rule:
    """What to do with the next requests that match."""

    action: Action
    method: str = ".*"
    """Regular expression for the whole method."""
    path: str = ".*"
    """Regular expression found anywhere in the path."""
    count: int | None = 1
    """For how many requests; None: until cleared."""
    skip: int = 0
    """How many matching requests pass before."""
    status: int = 503
    seconds: float = 0.0
    call: Callable[[str, str], None] | None = None
    change: Callable[[bytes], bytes] | None = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise LabError(f"unknown action {self.action!r}; there are {', '.join(ACTIONS)}")
        if self.action.startswith("call") and self.call is None:
            raise LabError(f"{self.action} needs something to call")
        if self.action == "change" and self.change is None:
            raise LabError("change needs a function")
        re.compile(self.method)
        re.compile(self.path)

    def matches(self, method: str, path: str) -> bool:
        """The rule is about this request."""
        return bool(re.fullmatch(self.method, method) and re.search(self.path, path))


class Proxy:
    """The proxy; a context manager. Its methods may be called while requests are on their way."""

    def __init__(
        self,
        upstream: Server,
        pair: Pair,
        *,
        name: str = "proxy",
        log: Path | None = None,
        port: int = 0,
        kubeconfig: Path | None = None,
    ) -> None:
        self.name = name
        self.upstream = upstream
        self.log = log
        self.kubeconfig = kubeconfig
        self.port = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pair.cert, pair.key)
        self._upstream_context = upstream.context()
        self._guard = threading.Lock()
        self._rules: list[Rule] = []
        self._requests: list[Request] = []
        self._connections: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    # -- life ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"https://127.0.0.1:{self.port}"

    def accept(self) -> None:
        """Accept connections (again), always on the same port."""
        with self._guard:
            if self._listener is not None:
                return
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", self.port))
            except OSError as error:
                listener.close()
                raise LabError(f"{self.name}: port {self.port}: {error}") from error
            listener.listen(64)
            self.port = int(listener.getsockname()[1])
            self._listener = listener
        threading.Thread(target=self._accept_loop, args=(listener,), name=f"{self.name}-accept", daemon=True).start()

    def refuse(self) -> None:
        """Refuse connections, and cut those that are open, as a server that is gone."""
        with self._guard:
            listener, self._listener = self._listener, None
            connections = list(self._connections)
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                connection.shutdown(socket.SHUT_RDWR)

    def _accept_loop(self, listener: socket.socket) -> None:
        while True:
            try:
                plain, address = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain, address), name=f"{self.name}-client", daemon=True).start()

    def _serve(self, plain: socket.socket, address: tuple[str, int]) -> None:
        with self._guard:
            self._connections.add(plain)
        connection: socket.socket = plain
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.settimeout(30)
            secure = self._context.wrap_socket(plain, server_side=True)
            with self._guard:
                self._connections.discard(plain)
                self._connections.add(secure)
            connection = secure
            secure.settimeout(None)
            _Handler(secure, address, self)  # type: ignore[arg-type]
        except (OSError, ValueError):
            pass  # a client that went away or did not like the certificate
        finally:
            with self._guard:
                self._connections.discard(connection)
            with contextlib.suppress(OSError):
                connection.close()

    # -- rules -----------------------------------------------------------------------------------------------

    def add(self, rule: Rule) -> Rule:
        """Add a rule; several may apply to one request."""
        with self._guard:
            self._rules.append(rule)
        return rule

    def clear_rules(self) -> None:
        """Nothing goes wrong any more."""
        with self._guard:
            self._rules.clear()

    def fail(
        self, status: int = 503, count: int | None = 1, *, method: str = ".*", path: str = ".*", skip: int = 0
    ) -> Rule:
        """Answer with an error instead of asking the server."""
        return self.add(Rule("fail", method, path, count, skip, status=status))

    def cut(
        self,
        when: Literal["before", "after"] = "before",
        count: int | None = 1,
        *,
        method: str = ".*",
        path: str = ".*",
        skip: int = 0,
    ) -> Rule:
        """Cut the connection before the server is asked, or after it has answered."""
        return self.add(Rule("cut-before" if when == "before" else "cut-after", method, path, count, skip))

    def delay(
        self, seconds: float, count: int | None = 1, *, method: str = ".*", path: str = ".*", skip: int = 0
    ) -> Rule:
        """Wait before asking the server."""
        return self.add(Rule("delay", method, path, count, skip, seconds=seconds))

    def call(
        self,
        function: Callable[[str, str], None],
        when: Literal["before", "after"] = "before",
        count: int | None = 1,
        *,
        method: str = ".*",
        path: str = ".*",
        skip: int = 0,
    ) -> Rule:
        """Call a function with method and path: before the server is asked, or when it has answered and the client
        does not know yet."""
        return self.add(
            Rule("call-before" if when == "before" else "call-after", method, path, count, skip, call=function)
        )

    def change(
        self,
        function: Callable[[bytes], bytes],
        count: int | None = 1,
        *,
        method: str = ".*",
        path: str = ".*",
        skip: int = 0,
    ) -> Rule:
        """Pass on what a function makes of the body of the server's answer."""
        return self.add(Rule("change", method, path, count, skip, change=function))

    def date(
        self, seconds: float, count: int | None = None, *, method: str = ".*", path: str = ".*", skip: int = 0
    ) -> Rule:
        """Let the server's clock seem to be ahead (or behind, if negative) in the header Date of its answers."""
        return self.add(Rule("date", method, path, count, skip, seconds=seconds))

    def _take(self, method: str, path: str) -> list[Rule]:
        taken = []
        with self._guard:
            for rule in list(self._rules):
                if not rule.matches(method, path):
                    continue
                if rule.skip:
                    rule.skip -= 1
                    continue
                taken.append(rule)
                if rule.count is not None:
                    rule.count -= 1
                    if rule.count <= 0:
                        self._rules.remove(rule)
        return taken

    # -- what was seen ---------------------------------------------------------------------------------------

    def _saw(self, request: Request) -> None:
        with self._guard:
            self._requests.append(request)
            if self.log:
                private_dir(self.log.parent)
                with self.log.open("a") as stream:
                    stream.write(json.dumps(asdict(request)) + "\n")

    def requests(self, method: str = ".*", path: str = ".*") -> list[Request]:
        """The requests seen so far that match."""
        with self._guard:
            return [
                request
                for request in self._requests
                if re.fullmatch(method, request.method) and re.search(path, request.path)
            ]

    def clear_requests(self) -> None:
        """Start counting anew; the log stays."""
        with self._guard:
            self._requests.clear()


class _Handler(http.server.BaseHTTPRequestHandler):
    """One client connection."""

    protocol_version = "HTTP/1.1"
    server: Proxy  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:
        """The log is the proxy's."""

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _handle(self) -> None:
        proxy, begin = self.server, time.time()
        body = self._body()
        parts = urlsplit(self.path)

        def saw(status: int, fault: str = "") -> None:
            proxy._saw(Request(begin, self.command, parts.path, parts.query, status, fault))

        rules = proxy._take(self.command, parts.path)
        faults = {rule.action for rule in rules}
        for rule in rules:
            if rule.action == "delay":
                time.sleep(rule.seconds)
            elif rule.action == "call-before" and rule.call:
                rule.call(self.command, parts.path)
        note = "delay" if "delay" in faults else ""
        if "cut-before" in faults:
            saw(0, "cut-before")
            self._cut()
            return
        failing = next((rule for rule in rules if rule.action == "fail"), None)
        if failing:
            saw(failing.status, "fail")
            self._answer(failing.status, b'{"errors":["made by the lab\'s proxy"]}')
            return
        if self.headers.get("Upgrade"):
            saw(501, "upgrade")
            self._answer(501, b'{"errors":["the lab\'s proxy passes no upgraded connections"]}')
            return
        upstream = urlsplit(proxy.upstream.url)
        connection = VerifiedConnection(
            upstream.hostname or "",
            upstream.port or 443,
            server_name=proxy.upstream.server_name,
            context=proxy._upstream_context,
            timeout=600,
        )
        try:
            try:
                answer = self._ask(connection, body)
            except (OSError, http.client.HTTPException):
                saw(0, "upstream")
                self._cut()
                return
            saw(answer.status, "cut-after" if "cut-after" in faults else note)
            for rule in rules:
                if rule.action == "call-after" and rule.call:
                    rule.call(self.command, parts.path)
            if "cut-after" in faults:
                self._cut()
                return
            changes = [rule.change for rule in rules if rule.action == "change" and rule.change]
            self._pass(answer, changes, sum(rule.seconds for rule in rules if rule.action == "date"))
        finally:
            connection.close()

    def _ask(self, connection: VerifiedConnection, body: bytes) -> http.client.HTTPResponse:
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP | {"content-length", "expect"}:
                connection.putheader(name, value)
        if body or "Content-Length" in self.headers:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        return connection.getresponse()

    def _pass(
        self,
        answer: http.client.HTTPResponse,
        changes: Sequence[Callable[[bytes], bytes]] = (),
        ahead: float = 0.0,
    ) -> None:
        self.send_response_only(answer.status, answer.reason)
        length = answer.getheader("Content-Length")
        body = answer.read() if changes else b""
        for change in changes:
            body = change(body)
        for name, value in answer.getheaders():
            if name.lower() == "date" and ahead:
                moment = email.utils.parsedate_to_datetime(value) + datetime.timedelta(seconds=ahead)
                self.send_header(name, email.utils.format_datetime(moment, usegmt=True))
            elif name.lower() not in _HOP_BY_HOP and not (changes and name.lower() == "content-length"):
                self.send_header(name, value)
        if changes:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        empty = self.command == "HEAD" or answer.status in (204, 304)
        chunked = length is None and not empty
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if empty:
            return
        try:
            while data := answer.read1(65536):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                self.wfile.flush()
        except (OSError, http.client.HTTPException):
            self._cut()
            return
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)


class _Control(http.server.BaseHTTPRequestHandler):
    """Orders from other processes, on loopback: see the lab's README."""

    proxy: Proxy

    def log_message(self, format: str, *args: Any) -> None:
        """Orders are not logged."""

    def _reply(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """What was seen."""
        if self.path == "/requests":
            self._reply([asdict(request) for request in self.proxy.requests()])
        else:
            self._reply({"name": self.proxy.name, "address": self.proxy.address})

    def do_DELETE(self) -> None:
        """Forget rules or requests."""
        if self.path == "/rules":
            self.proxy.clear_rules()
        elif self.path == "/requests":
            self.proxy.clear_requests()
        else:
            self._reply({"error": "unknown path"}, 404)
            return
        self._reply({})

    def do_POST(self) -> None:
        """Rules, refusing and accepting."""
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.path == "/refuse":
                self.proxy.refuse()
            elif self.path == "/accept":
                self.proxy.accept()
            elif self.path == "/rules":
                order = json.loads(raw)
                order.pop("call", None)
                order.pop("change", None)
                self.proxy.add(Rule(**order))
            else:
                self._reply({"error": "unknown path"}, 404)
                return
        except (LabError, ValueError, TypeError, AttributeError, re.error) as error:
            self._reply({"error": str(error)}, 400)
            return
        self._reply({})


def serve(proxy: Proxy, control_port: int) -> None:
    """Run a proxy and its control port until the process is ended."""
    handler = type("Control", (_Control,), {"proxy": proxy})
    with proxy, http.server.ThreadingHTTPServer(("127.0.0.1", control_port), handler) as control:
        control.serve_forever()
