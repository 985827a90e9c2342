# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Git server: bare repositories behind 'git http-backend', over HTTP, HTTPS and SSH on loopback.

Everything that rules it is in files, so that tests can change it while the server runs in a process of its own: the
repositories, who may read and write them (tokens.json, keys.json, apps.json) and what is to go wrong (fault.json). What
was asked is logged.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import http.server
import json
import re
import secrets
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from lab import git_app
from lab.errors import LabError
from lab.files import private_dir, read_json, write, write_json
from lab.git_rules import NAME, PUBLIC_MARK, Holder, Request, Rules, environment
from lab.pki import Authority, Pair
from lab.ports import is_free
from lab.procs import Process

COMPONENT = "git"
HOST = "git.lab.internal"
BRANCH = "main"
_PATH = re.compile(r"/(?P<name>.+?)\.git(?P<rest>/(info/refs|git-upload-pack|git-receive-pack|HEAD|objects/.*))")
_AUTHOR = "lab <lab@git.lab.internal>"
Content = str | bytes


def run_git(folder: Path, *arguments: str, data: bytes | None = None) -> str:
    """Run git in a folder and return what it says.

    :raises LabError: when it fails.
    """
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        input=data if data is not None else b"",
        env=environment(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise LabError(f"git {arguments[0]} in {folder} failed:\n{done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")


class Repository:
    """One bare repository; also an empty one, which has no branch yet."""

    def __init__(self, folder: Path, name: str, urls: Sequence[str]) -> None:
        self.folder = folder
        self.name = name
        self.http_url, self.url, self.ssh_url = urls
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
        return (self.folder / PUBLIC_MARK).exists()


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
        self.port_names = ("git.http", "git.https", "git.ssh")
        self._state = state
        self._ports: dict[str, int] = {}

    def prepare(self, ports: Mapping[str, int]) -> None:
        """Make its certificate, of an authority of its own."""
        self._ports = {name: ports[name] for name in self.port_names}
        self.authority = Authority(self.folder / "pki", "lab git")
        self._pair = self.authority.issue(COMPONENT, HOST, dns=(HOST, "localhost"), addresses=("127.0.0.1",))
        if not self._host_key.is_file():
            write(self._host_key, _openssh(ed25519.Ed25519PrivateKey.generate()))

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

    @property
    def ssh_url(self) -> str:
        """Its address over SSH, for deploy keys."""
        return f"ssh://git@127.0.0.1:{self._ports['git.ssh']}"

    @property
    def _host_key(self) -> Path:
        return self.folder / "pki" / "ssh_host_ed25519"

    @property
    def known_hosts(self) -> str:
        """The line of known_hosts for its address over SSH."""
        key = serialization.load_ssh_private_key(self._host_key.read_bytes(), None)
        return f"[127.0.0.1]:{self._ports['git.ssh']} {_public(key.public_key())}\n"

    @property
    def api_url(self) -> str:
        """Where GitHub Apps ask for tokens."""
        return f"{self.url}{git_app.PREFIX}"

    # -- repositories ------------------------------------------------------------------------------------------

    def repository(
        self, name: str, files: Mapping[str, Content] | Path | None = None, *, public: bool | None = None
    ) -> Repository:
        """A repository; made when there is none, with a first commit when files are given.

        Everybody may read it unless *public* is False; writing takes a token.
        """
        if not NAME.fullmatch(name) or ".git" in name:
            raise LabError(f"{name!r} is no name of a repository: small letters, digits, dots, hyphens, slashes")
        folder = self.folder / "repositories" / f"{name}.git"
        fresh = not folder.is_dir()
        if fresh:
            private_dir(folder)
            run_git(folder, "init", "--quiet", "--bare", f"--initial-branch={BRANCH}", ".")
        made = Repository(folder, name, [f"{url}/{name}.git" for url in (self.http_url, self.url, self.ssh_url)])
        mark = folder / PUBLIC_MARK
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
        """Its token and its key count no more."""
        for file in (self._tokens, self._keys):
            write_json(file, {name: value for name, value in (read_json(file) or {}).items() if name != user})

    @property
    def _keys(self) -> Path:
        return self.folder / "keys.json"

    def deploy_key(
        self, name: str, repositories: Iterable[str] | None = None, *, write: bool = False, passphrase: str = ""
    ) -> str:
        """A private key for SSH that opens some repositories, or all of them; another one each time.

        It is one of Ed25519; with a passphrase one of RSA, as encrypting the other kind takes a package more.
        """
        key = rsa.generate_private_key(65537, 3072) if passphrase else ed25519.Ed25519PrivateKey.generate()
        known = read_json(self._keys) or {}
        known[name] = {
            "key": _public(key.public_key()),
            "repositories": None if repositories is None else sorted(repositories),
            "write": write,
        }
        write_json(self._keys, known)
        return _openssh(key, passphrase)

    @property
    def _apps(self) -> Path:
        return self.folder / "apps.json"

    def app(
        self,
        number: int,
        installation: int,
        owner: str,
        repositories: Iterable[str] | None = None,
        *,
        organisation: bool = True,
    ) -> str:
        """Register a GitHub App with one installation; returns its private key, another one each time."""
        key = rsa.generate_private_key(65537, 2048)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        entry = {
            "owner": owner,
            "kind": "orgs" if organisation else "users",
            "repositories": None if repositories is None else sorted(repositories),
        }
        known = read_json(self._apps) or {}
        known[str(number)] = {"public_key": public.decode(), "installations": {str(installation): entry}}
        write_json(self._apps, known)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL)
        return key.private_bytes(*form, serialization.NoEncryption()).decode()

    @property
    def _app_tokens(self) -> Path:
        return self.folder / "app_tokens.json"

    def secrets(self) -> set[str]:
        """Every token."""
        found = {str(value["token"]) for value in (read_json(self._tokens) or {}).values()}
        return found | set(read_json(self._app_tokens) or {})

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
                    f"--listen-ssh={self._ports['git.ssh']}",
                    f"--host-key={self._host_key}",
                ),
                ports=dict(self._ports),
                ready=self._ready,
                log=self._state / "logs" / f"{COMPONENT}.log",
                env={"PYTHONPATH": str(root)},
                data=(
                    self.folder / "repositories",
                    self._tokens,
                    self._keys,
                    self._apps,
                    self._app_tokens,
                    self._fault,
                    self._log,
                ),
            )
        ]


class _Handler(http.server.BaseHTTPRequestHandler):
    """CGI for one program, with the rules of the folder."""

    rules: Rules
    login: str
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests go to a log of their own."""

    def _note(self, user: str, status: int) -> None:
        self.rules.note(self.command, self.path, user, status, self.login)

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

    def _user(self) -> tuple[str, Holder | None]:
        """Who asks: a name, and who that is if the password is right."""
        kind, _space, value = (self.headers.get("Authorization") or "").partition(" ")
        self.login = kind.lower()
        if self.login == "bearer":
            holder = self.rules.by_bearer(value)
            return holder.name if holder else "", holder
        if self.login != "basic":
            return "", None
        try:
            name, _colon, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", None
        return name, self.rules.by_password(name, password)

    def _app(self, path: str) -> None:
        """What an App asks for."""
        kind, _space, token = (self.headers.get("Authorization") or "").partition(" ")
        self.login = "app"
        self._body()
        status, body, user = git_app.answer(self.rules, self.command, path, token if kind.lower() == "bearer" else "")
        self._note(user, status)
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self.login = ""
        if isinstance(self.connection, ssl.SSLSocket) and parts.path.startswith(f"{git_app.PREFIX}/"):
            self._app(unquote(parts.path))
            return
        if parts.path == "/" and self.command == "GET":
            self._refuse("", 200, "git")
            return
        found = _PATH.fullmatch(unquote(parts.path))
        user, may = self._user()
        name = found["name"] if found else ""
        if status := self.rules.fault(name, self.command):
            self._refuse(user, status, "made to fail")
            return
        folder = self.rules.repository(name)
        if not found or folder is None:
            self._refuse(user, 404, "no such repository")
            return
        writes = found["rest"] == "/git-receive-pack" or "service=git-receive-pack" in parts.query
        public = (folder / PUBLIC_MARK).exists()
        # A wrong password is wrong even where none is needed.
        asked = "Authorization" in self.headers
        if (asked and may is None) or (not asked and (writes or not public)):
            self._refuse(user, 401, "who are you?", WWW_Authenticate='Basic realm="lab git"')
            return
        if may is not None:
            if not may.may(name):
                if writes or not public:
                    self._refuse(user, 403, "not yours")
                    return
            elif writes and not may.write:
                self._refuse(user, 403, "read only")
                return
        self._backend(user, found["rest"], name, parts.query)

    def _backend(self, user: str, rest: str, name: str, query: str) -> None:
        variables = {
            **environment(),
            "GIT_PROJECT_ROOT": str(self.rules.folder / "repositories"),
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
            variables["REMOTE_USER"] = user
        for header, variable in (
            ("Content-Type", "CONTENT_TYPE"),
            ("Content-Encoding", "HTTP_CONTENT_ENCODING"),
            ("Git-Protocol", "GIT_PROTOCOL"),
        ):
            if header in self.headers:
                variables[variable] = self.headers[header]
        body = self._body()
        if self.command == "POST":
            variables["CONTENT_LENGTH"] = str(len(body))
        child = subprocess.Popen(
            ["git", "http-backend"],
            env=variables,
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


def _openssh(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey, passphrase: str = "") -> str:
    """A private key as ssh-keygen writes it."""
    if passphrase:
        form, encryption = serialization.PrivateFormat.TraditionalOpenSSL, passphrase.encode()
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(encryption))
    else:
        form = serialization.PrivateFormat.OpenSSH
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return pem.decode()


def _public(key: Any) -> str:
    """A public key as in authorized_keys."""
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return str(key.public_bytes(*form).decode())


def serve(folder: Path, ports: tuple[int, int, int], pair: Pair, host_key: Path) -> None:
    """Run the server until the process is ended, on the ports for HTTP, HTTPS and SSH."""
    # Needs a package that who only talks to the server can do without.
    from lab import git_ssh

    rules = Rules(folder)
    handler = type("Handler", (_Handler,), {"rules": rules})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    with _Server(ports[0], handler, None) as plain, _Server(ports[1], handler, context) as verified:
        threading.Thread(target=plain.serve_forever, daemon=True).start()
        threading.Thread(target=verified.serve_forever, daemon=True).start()
        git_ssh.serve(rules, ports[2], host_key)
