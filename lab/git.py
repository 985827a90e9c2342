# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Git server: bare repositories behind 'git http-backend', over HTTP and HTTPS on loopback.

Everything that rules it is in files, so that tests can change it while the server runs in a process of its own: the
repositories, who may read and write them (tokens.json) and what is to go wrong (fault.json). What was asked is logged.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import http.client
import http.server
import json
import os
import re
import secrets
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lab.errors import LabError
from lab.files import private_dir, read_json, write, write_json
from lab.pki import Authority, Pair
from lab.ports import is_free
from lab.procs import Process

COMPONENT = "git"
HOST = "git.lab.internal"
BRANCH = "main"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
_PATH = re.compile(r"/(?P<name>.+?)\.git(?P<rest>/(info/refs|git-upload-pack|git-receive-pack|HEAD|objects/.*))")
_AUTHOR = "lab <lab@git.lab.internal>"
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    # Whoever runs the server owns the repositories or not: it does not matter here.
    "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "gc.auto",
    "GIT_CONFIG_VALUE_1": "0",
    "GIT_CONFIG_KEY_2": "receive.autogc",
    "GIT_CONFIG_VALUE_2": "false",
    "GIT_TERMINAL_PROMPT": "0",
}
# What stays of the environment: where programs are, and the marks by which the lab finds its processes.
_KEPT = ("PATH", "HACKSPACE_LAB_STATE", "HACKSPACE_LAB_PROCESS")

Content = str | bytes


def _environment() -> dict[str, str]:
    return {**{name: os.environ[name] for name in _KEPT if name in os.environ}, **_ENVIRONMENT}


def run_git(folder: Path, *arguments: str, data: bytes | None = None) -> str:
    """Run git in a folder and return what it says.

    :raises LabError: when it fails.
    """
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        input=data if data is not None else b"",
        env=_environment(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise LabError(f"git {arguments[0]} in {folder} failed:\n{done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")


@dataclass(frozen=True)
class Request:
    """One request as the server saw it."""

    time: float
    method: str
    path: str
    user: str
    status: int


class Repository:
    """One bare repository; also an empty one, which has no branch yet."""

    def __init__(self, folder: Path, name: str, urls: tuple[str, str]) -> None:
        self.folder = folder
        self.name = name
        self.http_url, self.url = urls
        """The address over HTTPS; over HTTP, http_url, nobody can say who they are."""

    def head(self, branch: str = BRANCH) -> str:
        """The newest commit of a branch, or an empty string."""
        return run_git(self.folder, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}").strip()

    def revision(self, branch: str = BRANCH) -> str:
        """The newest commit as Flux writes it: main@sha1:...."""
        return f"{branch}@sha1:{self.head(branch)}"

    def branches(self) -> list[str]:
        """The names of all branches."""
        return run_git(self.folder, "for-each-ref", "--format=%(refname:strip=2)", "refs/heads").split()

    def commit(
        self,
        files: Mapping[str, Content] | Path,
        message: str = "Change",
        *,
        branch: str = BRANCH,
        remove: Iterable[str] = (),
        replace: bool = False,
    ) -> str:
        """Commit files (by path, or those of a folder), remove others; with *replace* nothing else stays.

        Returns the commit. Does what a push of somebody would do, without the server.
        """
        contents = _read(files) if isinstance(files, Path) else dict(files)
        before = self.head(branch)
        lines: list[bytes] = [f"commit refs/heads/{branch}\ncommitter {_AUTHOR} {int(time.time())} +0000\n".encode()]
        lines.append(_data(message))
        if before:
            lines.append(f"from refs/heads/{branch}^0\n".encode())
        if replace:
            lines.append(b"deleteall\n")
        lines += [f"D {_quoted(path)}\n".encode() for path in remove]
        for path, content in contents.items():
            lines += [f"M 100644 inline {_quoted(path)}\n".encode(), _data(content)]
        run_git(self.folder, "fast-import", "--quiet", data=b"".join(lines) + b"\n")
        return self.head(branch)

    def force(self, branch: str, commit: str) -> None:
        """Point a branch somewhere else, as a forced push does."""
        run_git(self.folder, "update-ref", f"refs/heads/{branch}", commit)

    def tag(self, name: str, commit: str = BRANCH) -> None:
        """Put a tag on a commit or a branch's newest one."""
        run_git(self.folder, "tag", "--force", name, commit)

    def files(self, branch: str = BRANCH) -> dict[str, str]:
        """The contents of a branch, by path."""
        if not self.head(branch):
            return {}
        names = run_git(self.folder, "ls-tree", "-r", "-z", "--name-only", branch).split("\0")
        return {name: run_git(self.folder, "show", f"{branch}:{name}") for name in names if name}

    def log(self, branch: str = BRANCH) -> list[str]:
        """The subjects of a branch's commits, newest first."""
        return run_git(self.folder, "log", "--format=%s", branch).splitlines() if self.head(branch) else []

    @property
    def public(self) -> bool:
        """Everybody may read it."""
        return (self.folder / "git-daemon-export-ok").exists()


def _data(content: Content) -> bytes:
    raw = content.encode() if isinstance(content, str) else content
    return b"data %d\n%b\n" % (len(raw), raw)


def _quoted(path: str) -> str:
    parts = path.split("/")
    if not path or {"", ".", "..", ".git"} & set(parts) or "\n" in path:
        raise LabError(f"{path!r} is no path in a repository")
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _read(folder: Path) -> dict[str, Content]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


class Git:
    """The server, its repositories, tokens and faults."""

    def __init__(self, state: Path) -> None:
        self.folder = state / COMPONENT
        self.port_names = ("git.http", "git.https")
        self._state = state
        self._ports: dict[str, int] = {}

    def prepare(self, ports: Mapping[str, int]) -> None:
        """Make its certificate, of an authority of its own."""
        self._ports = {name: ports[name] for name in self.port_names}
        self.authority = Authority(self.folder / "pki", "lab git")
        self._pair = self.authority.issue(COMPONENT, HOST, dns=(HOST, "localhost"), addresses=("127.0.0.1",))

    @property
    def ca(self) -> Path:
        """The authority of its certificate."""
        return self.authority.pair.cert

    @property
    def http_url(self) -> str:
        """Its address without TLS: public repositories, read only."""
        return f"http://127.0.0.1:{self._ports['git.http']}"

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://127.0.0.1:{self._ports['git.https']}"

    # -- repositories ------------------------------------------------------------------------------------------

    def repository(
        self, name: str, files: Mapping[str, Content] | Path | None = None, *, public: bool | None = None
    ) -> Repository:
        """A repository; made when there is none, with a first commit when files are given.

        Everybody may read it unless *public* is False; writing takes a token.
        """
        if not _NAME.fullmatch(name) or ".git" in name:
            raise LabError(f"{name!r} is no name of a repository: small letters, digits, dots, hyphens, slashes")
        folder = self.folder / "repositories" / f"{name}.git"
        fresh = not folder.is_dir()
        if fresh:
            private_dir(folder)
            run_git(folder, "init", "--quiet", "--bare", f"--initial-branch={BRANCH}", ".")
        made = Repository(folder, name, (f"{self.http_url}/{name}.git", f"{self.url}/{name}.git"))
        mark = folder / "git-daemon-export-ok"
        if public or (public is None and fresh):
            mark.touch()
        elif public is False:
            mark.unlink(missing_ok=True)
        if files is not None and not made.head():
            made.commit(files, "First")
        return made

    # -- who may -----------------------------------------------------------------------------------------------

    @property
    def _tokens(self) -> Path:
        return self.folder / "tokens.json"

    def token(self, user: str, repositories: Iterable[str] | None = None, *, write: bool = False) -> str:
        """A password for a user who may read (and write) some repositories, or all of them; another one each time."""
        value = f"lab-git-{secrets.token_urlsafe(24)}"
        known = read_json(self._tokens) or {}
        known[user] = {
            "token": value,
            "repositories": None if repositories is None else sorted(repositories),
            "write": write,
        }
        write_json(self._tokens, known)
        return value

    def revoke(self, user: str) -> None:
        """Its token counts no more."""
        write_json(
            self._tokens, {name: value for name, value in (read_json(self._tokens) or {}).items() if name != user}
        )

    def secrets(self) -> set[str]:
        """Every token."""
        return {str(value["token"]) for value in (read_json(self._tokens) or {}).values()}

    # -- what goes wrong ---------------------------------------------------------------------------------------

    @property
    def _fault(self) -> Path:
        return self.folder / "fault.json"

    def fail(self, status: int = 503, *, repository: str | None = None, method: str | None = None) -> None:
        """Answer every request (of one repository, or with one method) with a status, until heal()."""
        write_json(self._fault, {"status": status, "repository": repository, "method": method})

    def slow(self, seconds: float, *, repository: str | None = None) -> None:
        """Answer every request that much later, until heal()."""
        write_json(self._fault, {"seconds": seconds, "repository": repository})

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self._fault.unlink(missing_ok=True)

    # -- what was asked ----------------------------------------------------------------------------------------

    @property
    def _log(self) -> Path:
        return self.folder / "requests.jsonl"

    def requests(self, path: str = "") -> list[Request]:
        """What was asked so far, of paths in which *path* (a regular expression) is found."""
        lines = self._log.read_text().splitlines() if self._log.is_file() else []
        found = [Request(**json.loads(line)) for line in lines]
        return [request for request in found if re.search(path, request.path)]

    def clear_requests(self) -> None:
        """Forget what was asked."""
        write(self._log, "")

    # -- the process -------------------------------------------------------------------------------------------

    def _ready(self) -> str | None:
        for name, port in self._ports.items():
            if is_free(port):
                return f"{name} closed"
        connection = http.client.HTTPConnection("127.0.0.1", self._ports["git.http"], timeout=5)
        try:
            connection.request("GET", "/")
            status = connection.getresponse().status
        finally:
            connection.close()
        return None if status == 200 else f"/ says {status}"

    def processes(self) -> list[Process]:
        """Its row of the process table."""
        root = Path(__file__).parent.parent
        return [
            Process(
                name=COMPONENT,
                component=COMPONENT,
                argv=(
                    sys.executable,
                    "-m",
                    "lab",
                    "git",
                    f"--folder={self.folder}",
                    f"--listen={self._ports['git.http']}",
                    f"--listen-tls={self._ports['git.https']}",
                    f"--cert={self._pair.cert}",
                    f"--key={self._pair.key}",
                ),
                ports=dict(self._ports),
                ready=self._ready,
                log=self._state / "logs" / f"{COMPONENT}.log",
                env={"PYTHONPATH": str(root)},
                data=(self.folder / "repositories", self._tokens, self._fault, self._log),
            )
        ]


class _Handler(http.server.BaseHTTPRequestHandler):
    """CGI for one program, with the rules of the folder."""

    folder: Path
    lock: threading.Lock
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests go to a log of their own."""

    def _note(self, user: str, status: int) -> None:
        line = Request(time.time(), self.command, self.path, user, status)
        with self.lock, (self.folder / "requests.jsonl").open("a") as stream:
            stream.write(json.dumps(asdict(line)) + "\n")

    def _refuse(self, user: str, status: int, text: str, **headers: str) -> None:
        # The rest of what the client sends is not read.
        self.close_connection = True
        self._note(user, status)
        body = f"{text}\n".encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _user(self) -> tuple[str, dict[str, Any] | None]:
        """Who asks: a name, and what it may if its password is right."""
        kind, _space, value = (self.headers.get("Authorization") or "").partition(" ")
        if kind.lower() != "basic":
            return "", None
        try:
            name, _colon, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", None
        known = (read_json(self.folder / "tokens.json") or {}).get(name)
        right = known is not None and hmac.compare_digest(str(known["token"]).encode(), password.encode())
        return name, known if right else None

    def _wrong(self, repository: str) -> int:
        """The status of the fault that is on, after its delay; 0 when the request may go on."""
        fault = read_json(self.folder / "fault.json") or {}
        if fault.get("repository") not in (None, repository) or fault.get("method") not in (None, self.command):
            return 0
        time.sleep(float(fault.get("seconds", 0)))
        return int(fault.get("status", 0))

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/" and self.command == "GET":
            self._refuse("", 200, "git")
            return
        found = _PATH.fullmatch(unquote(parts.path))
        user, may = self._user()
        name = found["name"] if found else ""
        if status := self._wrong(name):
            self._refuse(user, status, "made to fail")
            return
        folder = self.folder / "repositories" / f"{name}.git"
        if not found or not _NAME.fullmatch(name) or not folder.is_dir():
            self._refuse(user, 404, "no such repository")
            return
        writes = found["rest"] == "/git-receive-pack" or "service=git-receive-pack" in parts.query
        public = (folder / "git-daemon-export-ok").exists()
        # A wrong password is wrong even where none is needed.
        asked = "Authorization" in self.headers
        if (asked and may is None) or (not asked and (writes or not public)):
            self._refuse(user, 401, "who are you?", WWW_Authenticate='Basic realm="lab git"')
            return
        if may is not None:
            if may["repositories"] is not None and name not in may["repositories"]:
                if writes or not public:
                    self._refuse(user, 403, "not yours")
                    return
            elif writes and not may["write"]:
                self._refuse(user, 403, "read only")
                return
        self._backend(user, found["rest"], name, parts.query)

    def _backend(self, user: str, rest: str, name: str, query: str) -> None:
        environment = {
            **_environment(),
            "GIT_PROJECT_ROOT": str(self.folder / "repositories"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{name}.git{rest}",
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_ADDR": "127.0.0.1",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "GATEWAY_INTERFACE": "CGI/1.1",
        }
        # The program lets nobody push who has no name.
        if user:
            environment["REMOTE_USER"] = user
        for header, variable in (
            ("Content-Type", "CONTENT_TYPE"),
            ("Content-Encoding", "HTTP_CONTENT_ENCODING"),
            ("Git-Protocol", "GIT_PROTOCOL"),
        ):
            if header in self.headers:
                environment[variable] = self.headers[header]
        body = self._body()
        if self.command == "POST":
            environment["CONTENT_LENGTH"] = str(len(body))
        child = subprocess.Popen(
            ["git", "http-backend"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
        )
        with child:
            out, _err = child.communicate(body)
        head, _blank, content = out.partition(b"\r\n\r\n")
        headers = [line.partition(":") for line in head.decode(errors="replace").split("\r\n") if ":" in line]
        status = next((int(value.split()[0]) for key, _colon, value in headers if key.lower() == "status"), 200)
        if child.returncode and not headers:
            self._refuse(user, 500, "git http-backend failed")
            return
        self._note(user, status)
        self.send_response(status)
        for key, _colon, value in headers:
            if key.lower() not in ("status", "content-length"):
                self.send_header(key, value.strip())
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _body(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(pieces)

    def do_GET(self) -> None:
        """What there is."""
        self._safely()

    def do_POST(self) -> None:
        """Fetching and pushing."""
        self._safely()

    def _safely(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self._serve()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, handler: type[_Handler], context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self._context = context

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Greet in the thread of the connection, so that nobody keeps the others waiting."""
        if self._context is None:
            super().finish_request(request, client_address)
            return
        try:
            request.settimeout(30)
            wrapped = self._context.wrap_socket(request, server_side=True)
        except OSError:
            return
        with contextlib.closing(wrapped):
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is no news; what breaks in here goes to the log of the process."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def serve(folder: Path, port: int, tls_port: int, pair: Pair) -> None:
    """Run the server until the process is ended."""
    handler = type("Handler", (_Handler,), {"folder": folder, "lock": threading.Lock()})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    with _Server(port, handler, None) as plain, _Server(tls_port, handler, context) as verified:
        threading.Thread(target=plain.serve_forever, daemon=True).start()
        verified.serve_forever()
