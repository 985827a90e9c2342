# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.

"""One thin client for OpenBao (and HashiCorp Vault 1.13): requests in, plain data out, no decisions.

Raw HTTP on ``requests`` instead of ``hvac``, because hvac knows none of OpenBao's newer endpoints, has no server name
for TLS apart from the address, and takes tokens from the environment and the home folder on its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import socket
import ssl
import stat
import time
import typing as t

from .._core.errors import HackspaceError, InvalidInput, Unreachable
from .._core.module import ArgumentSpec
from .._core.redact import Secret

if t.TYPE_CHECKING:
    import requests

_LOOPBACK = re.compile(r"(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d+)?")

#: Seconds. A request to a healthy server takes milliseconds; a node that hangs should not hold up the others.
DEFAULT_TIMEOUT: t.Final = 10

AUTH_METHODS: t.Final = ("token", "userpass", "cert", "approle", "none")


class OpenBaoError(HackspaceError):
    """The server answered with an error. ``status`` is the HTTP status, ``errors`` the server's sentences."""

    def __init__(self, message: str, *, errors: t.Sequence[str] = (), **kwargs: t.Any) -> None:
        super().__init__(message, **kwargs)
        self.errors = list(errors)


class Dialler(t.Protocol):
    """Opens connections another way than by TCP to the address, as through a port-forward."""

    def connect(self, timeout: float) -> socket.socket:
        """Return a connected socket, over which TLS is spoken to the server itself."""

    def trouble(self) -> HackspaceError | None:
        """Return why the last connection ended early, if that is known."""


@dataclasses.dataclass(frozen=True)
class Connection:
    """Where a server is and how to trust it.

    :ivar url: ``https://host:port``, no path. http only on loopback.
    :ivar tls_server_name: name expected in the certificate, if it is not the host of *url*.
    :ivar ca_cert: path of a PEM file; ``None`` takes the system's store.
    :ivar timeout: seconds for connecting and for each read.
    :ivar retries: how often a read is repeated after a cut connection or 502/503/504 (writes never are).
    :ivar dialler: opens the connections instead of TCP to *url*.
    """

    url: str
    tls_server_name: str | None = None
    ca_cert: str | None = None
    validate_certs: bool = True
    namespace: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    retries: int = 2
    dialler: Dialler | None = None

    def checked(self, item: str = "url") -> Connection:
        """Return self, or raise :class:`InvalidInput` for addresses that must not be used."""
        url = self.url.rstrip("/")
        scheme, sep, rest = url.partition("://")
        if not sep or scheme not in ("http", "https") or not rest or "/" in rest:
            raise InvalidInput(
                f"{self.url!r} is not an address of the form https://host:port.",
                item=item,
                rule="url",
                fix="give scheme, host and port only.",
            )
        if scheme == "http" and not _LOOPBACK.fullmatch(rest):
            raise InvalidInput(
                "plain http is allowed on loopback only.", item=item, rule="plain-http", fix="use https and ca_cert."
            )
        if self.ca_cert is not None and not os.path.isfile(self.ca_cert):
            raise InvalidInput(
                f"CA file {self.ca_cert} does not exist.",
                item=item,
                rule="ca-file",
                fix="give the path of a PEM file on the controller.",
            )
        return dataclasses.replace(self, url=url)


@dataclasses.dataclass(frozen=True)
class Login:
    """How to get a token. Fields that a method does not use stay ``None``."""

    method: str = "token"
    mount_point: str | None = None
    token: Secret | None = None
    username: str | None = None
    password: Secret | None = None
    role_id: str | None = None
    secret_id: Secret | None = None
    cert_public_key: str | None = None
    cert_private_key: str | None = None
    role: str | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """A server's answer: HTTP status, decoded JSON object (``{}`` if empty), response time in seconds."""

    status: int
    body: dict[str, t.Any]
    seconds: float = 0.0


def _adapter(server_name: str | None, dialler: Dialler | None = None) -> requests.adapters.HTTPAdapter:
    import requests.adapters
    import urllib3.connection
    import urllib3.connectionpool

    class _DialledConnection(urllib3.connection.HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            limit = self.timeout if isinstance(self.timeout, (int, float)) else DEFAULT_TIMEOUT
            made = t.cast(Dialler, dialler).connect(limit)
            made.settimeout(limit)
            return made

    class _DialledPool(urllib3.connectionpool.HTTPSConnectionPool):
        ConnectionCls = _DialledConnection

    class _NamedAdapter(requests.adapters.HTTPAdapter):
        """Checks the certificate against a given name instead of the address."""

        def init_poolmanager(self, *args: t.Any, **kwargs: t.Any) -> None:
            if server_name:
                kwargs["server_hostname"] = server_name
                kwargs["assert_hostname"] = server_name
            super().init_poolmanager(*args, **kwargs)
            if dialler:
                self.poolmanager.pool_classes_by_scheme = {"https": _DialledPool}

    return _NamedAdapter(max_retries=0)


class OpenBao:
    """A connection to one server, with at most one login.

    Never follows redirects, takes nothing from the environment (proxies, tokens, CA), never retries a write.

    :ivar requests: number of HTTP requests sent so far, retries included.
    """

    def __init__(self, connection: Connection, login: Login | None = None) -> None:
        try:
            import requests
        except ImportError as error:
            raise HackspaceError(
                "the Python package requests is missing on the controller.",
                rule="python-package",
                fix="pip install -r requirements.txt in the environment that runs Ansible.",
            ) from error
        self.connection = connection.checked()
        self.requests = 0
        self._login = login or Login(method="none")
        self._token: Secret | None = None
        self._minted = False
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = (connection.ca_cert or True) if connection.validate_certs else False
        if self._login.cert_public_key and self._login.cert_private_key:
            self._session.cert = (self._login.cert_public_key, self._login.cert_private_key)
        self._session.mount("https://", _adapter(connection.tls_server_name, connection.dialler))
        if not connection.validate_certs:
            import urllib3

            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    # -- life ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> OpenBao:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Revoke the token if this client minted it, and close the connections."""
        if self._minted and self._token:
            with contextlib.suppress(HackspaceError):  # it expires by itself; the result of the work matters more
                self.request("POST", "auth/token/revoke-self", ok=(200, 204, 400, 403, 404))
        self._token, self._minted = None, False
        self._session.close()

    def drop(self) -> None:
        """Let go of the connections, keep the login: what is behind the address may be another server now."""
        self._session.close()

    def login(self) -> None:
        """Get a token by the login given; nothing to do for ``none`` or when there is one."""
        if self._token is not None or self._login.method == "none":
            return
        how = self._login
        if how.method == "token":
            if not how.token:
                raise InvalidInput("no token given.", item="token", rule="login", fix="set token or token_path.")
            self._token = how.token
            return
        mount = (how.mount_point or how.method).strip("/")
        if how.method == "userpass":
            path, body = (
                f"auth/{mount}/login/{how.username}",
                {"password": how.password.reveal() if how.password else ""},
            )
        elif how.method == "approle":
            path = f"auth/{mount}/login"
            body = {"role_id": how.role_id or "", "secret_id": how.secret_id.reveal() if how.secret_id else ""}
        elif how.method == "cert":
            path, body = f"auth/{mount}/login", ({"name": how.role} if how.role else {})
        else:
            raise InvalidInput(
                f"unknown auth_method {how.method!r}.",
                item="auth_method",
                rule="login",
                fix="one of " + ", ".join(AUTH_METHODS),
            )
        # Vault 1.13 refuses a wrong password with 500
        answer = self.request("POST", path, body, ok=(200, 400, 401, 403, 404, 500), token=False)
        if answer.status == 500 and "invalid username or password" not in str(answer.body.get("errors")):
            raise OpenBaoError(
                f"login by {how.method} at auth/{mount}: HTTP 500: the server has a problem.",
                item=self.connection.url,
                rule="http-status",
                fix="see the server's log.",
                status=500,
            )
        token = (answer.body.get("auth") or {}).get("client_token")
        if answer.status != 200 or not token:
            raise OpenBaoError(
                f"login by {how.method} at auth/{mount} was refused (HTTP {answer.status}).",
                item=self.connection.url,
                rule="login",
                fix="check the user, its password and the mount; an expired or disabled login looks the same.",
                status=answer.status,
            )
        self._token, self._minted = Secret(str(token)), True

    def use_token(self, token: Secret) -> None:
        """Use *token* from now on; it is not revoked on close."""
        self._token, self._minted = token, False

    def clone(self) -> OpenBao:
        """Return another connection with the login of this one, for requests at the same time. Logs in if needed.

        The clone does not revoke the token when it is closed; close it before this one.
        """
        self.login()
        other = OpenBao(self.connection, dataclasses.replace(self._login, method="none"))
        other._token = self._token
        return other

    @property
    def connections(self) -> int:
        """Number of connections opened so far; it grows when the server has closed one, as by a restart."""
        adapter: t.Any = self._session.get_adapter(self.connection.url)
        pools = adapter.poolmanager.pools
        return sum(pools[key].num_connections for key in pools.keys())  # noqa: SIM118 (not iterable itself)

    # -- requests --------------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        body: t.Mapping[str, t.Any] | None = None,
        *,
        ok: t.Collection[int] = (200, 204),
        params: t.Mapping[str, t.Any] | None = None,
        token: bool = True,
        timeout: float | None = None,
        quiet: bool = False,
    ) -> Answer:
        """Send one request to ``/v1/<path>`` and return the answer if its status is in *ok*.

        :param token: send the token, logging in first where needed.
        :param quiet: leave the server's words out of errors (for requests that carry a secret).
        :raises OpenBaoError: any other status.
        :raises Unreachable: no answer; ``rule`` is one of dns, refused, timeout, tls-name, tls-ca, tls, cut.
        """
        import requests

        headers = self._headers(token=token)
        limit = timeout or self.connection.timeout
        tries = 1 + (self.connection.retries if method in ("GET", "LIST") else 0)
        started = time.monotonic()
        for attempt in range(tries):
            last = attempt + 1 == tries
            if attempt:
                time.sleep(0.2 * 2 ** (attempt - 1))
            self.requests += 1
            try:
                response = self._session.request(
                    method,
                    f"{self.connection.url}/v1/{path.lstrip('/')}",
                    json=body,
                    params=params,
                    headers=headers,
                    timeout=limit,
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                dialler = self.connection.dialler
                problem = (dialler.trouble() if dialler else None) or _unreachable(error, self.connection)
                if last or problem.rule not in ("cut", "timeout"):
                    raise problem from None
                continue
            passing = response.status_code in (502, 503, 504) and not _sealed(response)
            if last or response.status_code in ok or not passing:
                break
        return self._answer(response, f"{method} {path}", ok, quiet, time.monotonic() - started)

    def _headers(self, *, token: bool) -> dict[str, str]:
        """Return the headers of a request, logging in first where a token is to be among them."""
        headers = {"X-Vault-Request": "true"}
        if self.connection.namespace:
            headers["X-Vault-Namespace"] = self.connection.namespace
        if token:
            self.login()
            if self._token:
                headers["X-Vault-Token"] = self._token.reveal()
        return headers

    @contextlib.contextmanager
    def streamed(
        self, method: str, path: str, body: t.BinaryIO | None = None, *, timeout: float
    ) -> t.Iterator[requests.Response]:
        """Send one request whose body, or whose answer's, is too large for memory. Never repeated, never redirected.

        :param body: a file, sent as it is read.
        :param timeout: seconds without a byte in either direction.
        :raises OpenBaoError: any status but 200 and 204.
        :raises Unreachable: no answer.
        """
        import requests

        # identity: what the server packed is not to be packed once more on the way
        headers = {**self._headers(token=True), "Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = "application/octet-stream"
            self.drop()  # while a body is sent, the socket's timeout is the one with which it was opened
        self.requests += 1
        try:
            response = self._session.request(
                method,
                f"{self.connection.url}/v1/{path.lstrip('/')}",
                data=body,
                headers=headers,
                timeout=(self.connection.timeout if body is None else timeout, timeout),
                allow_redirects=False,
                stream=True,
            )
        except requests.RequestException as error:
            raise _unreachable(error, self.connection, timeout) from None
        with response:
            if response.status_code not in (200, 204):
                self._answer(response, f"{method} {path}", (), False, 0.0)
            yield response

    def _answer(
        self,
        response: requests.Response,
        what: str,
        ok: t.Collection[int],
        quiet: bool,
        seconds: float,
    ) -> Answer:
        data: t.Any = None
        if response.content:
            try:
                data = response.json()
            except ValueError:
                data = None
        body = data if isinstance(data, dict) else {}
        if response.status_code in ok:
            if response.content and not isinstance(data, dict):  # a proxy's page must not pass for "nothing there"
                raise OpenBaoError(
                    f"{what}: HTTP {response.status_code} with a body that is no JSON object.",
                    item=self.connection.url,
                    rule="not-openbao",
                    fix="check that the address is OpenBao's and that no proxy answers in its place.",
                    status=response.status_code,
                )
            return Answer(response.status_code, body, seconds)
        errors = [] if quiet else [str(e).strip() for e in body.get("errors") or []]
        said = "; ".join(errors) or "no reason given"
        fix = ""
        if response.status_code == 403:
            fix = f"the login in use needs an OpenBao policy that allows {what}."
        elif response.status_code == 503:
            fix = "the server is sealed or has no leader: run playbooks/unseal.yml."
        elif response.is_redirect:
            said = f"redirected to {response.headers.get('Location', '')}"
            fix = "address the active node."
        raise OpenBaoError(
            f"{what}: HTTP {response.status_code}: {said}.",
            item=self.connection.url,
            rule="http-status",
            fix=fix,
            status=response.status_code,
            errors=errors,
        )

    def read(self, path: str, *, missing: t.Collection[int] = (404,), **kwargs: t.Any) -> dict[str, t.Any] | None:
        """GET; ``None`` if it does not exist. Returns the whole body (``data`` and its siblings)."""
        answer = self.request("GET", path, ok=(200, *missing), **kwargs)
        return answer.body if answer.status == 200 else None

    def data(self, path: str, **kwargs: t.Any) -> dict[str, t.Any] | None:
        """GET and return its ``data`` object; ``None`` if it does not exist."""
        body = self.read(path, **kwargs)
        if body is None:
            return None
        inner = body.get("data")
        return inner if isinstance(inner, dict) else {}

    def keys(self, path: str) -> list[str]:
        """LIST; ``[]`` if there is nothing."""
        answer = self.request("LIST", path, ok=(200, 404))
        return [str(k) for k in ((answer.body.get("data") or {}).get("keys") or [])] if answer.status == 200 else []

    def write(self, path: str, body: t.Mapping[str, t.Any] | None = None, **kwargs: t.Any) -> dict[str, t.Any]:
        """POST; returns the body of the answer."""
        return self.request("POST", path, body or {}, **kwargs).body

    def delete(self, path: str, **kwargs: t.Any) -> None:
        """DELETE; absent is fine."""
        self.request("DELETE", path, ok=(200, 204, 404), **kwargs)


def _sealed(response: requests.Response) -> bool:
    return b"sealed" in response.content[:2000]


def _unreachable(error: Exception, connection: Connection, waited: float | None = None) -> Unreachable:
    """Say which hop failed: name, TCP, TLS or the answer. *waited* is the timeout where it is not the connection's."""
    chain: list[BaseException] = []
    todo: list[t.Any] = [error]
    while todo:
        one = todo.pop()
        if isinstance(one, BaseException) and one not in chain:
            chain.append(one)
            todo += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    names = {type(e).__name__ for e in chain}
    certificate = next((e for e in chain if isinstance(e, ssl.SSLCertVerificationError)), None)
    name = connection.tls_server_name or connection.url.split("://", 1)[1]
    mismatch = "CertificateError" in names  # urllib3's own check, where the name is not the one in the address
    if mismatch or (
        certificate is not None and certificate.verify_code in (62, 64)
    ):  # X509_V_ERR_{HOSTNAME,IP_ADDRESS}_MISMATCH
        rule, why, fix = (
            "tls-name",
            f"its certificate is not valid for {name}",
            "set tls_server_name to a name in the certificate.",
        )
    elif certificate is not None:
        rule, why = "tls-ca", f"its certificate is not trusted ({certificate.verify_message})"
        fix = "give the CA that signed it as ca_cert."
    elif any(isinstance(e, ssl.SSLError) for e in chain):
        rule, why, fix = "tls", "the TLS handshake failed", "check that the address is the https listener."
    elif any(isinstance(e, socket.gaierror) for e in chain) or "NameResolutionError" in names:
        rule, why, fix = (
            "dns",
            "its name does not resolve",
            "use the address and tls_server_name, so that no DNS is needed.",
        )
    elif any(isinstance(e, ConnectionRefusedError) for e in chain):
        rule, why, fix = "refused", "the connection was refused", "start the server, or correct the port."
    elif names & {"ConnectTimeout", "ConnectTimeoutError", "ReadTimeout", "ReadTimeoutError", "TimeoutError"}:
        rule, why, fix = (
            "timeout",
            f"no answer within {waited or connection.timeout:g} s",
            "check that the node runs and is not overloaded.",
        )
    else:
        rule, why, fix = "cut", "the connection was cut", "run again; see the server's log if it stays."
    return Unreachable(f"no answer: {why}.", item=connection.url, rule=rule, fix=fix)


# -- options of modules --------------------------------------------------------------------------------------------

#: Options of every one-product OpenBao module; documented in the fragment ``openbao``.
CONNECTION_SPEC = ArgumentSpec(
    options={
        "url": {"type": "str", "required": True},
        "tls_server_name": {"type": "str"},
        "ca_cert": {"type": "path"},
        "validate_certs": {"type": "bool", "default": True},
        "namespace": {"type": "str"},
        "timeout": {"type": "float", "default": float(DEFAULT_TIMEOUT)},
        "retries": {"type": "int", "default": 2},
        "auth_method": {"type": "str", "choices": list(AUTH_METHODS), "default": "token"},
        "mount_point": {"type": "str"},
        "token": {"type": "str", "no_log": True},
        "token_path": {"type": "path"},
        "username": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "password_file": {"type": "path", "no_log": False},
        "role_id": {"type": "str"},
        "secret_id": {"type": "str", "no_log": True},
        "cert_auth_public_key": {"type": "path"},
        "cert_auth_private_key": {"type": "path"},
        "cert_auth_role": {"type": "str"},
    },
    mutually_exclusive=(("token", "token_path"), ("password", "password_file")),
    required_together=(("cert_auth_public_key", "cert_auth_private_key"),),
    required_if=(
        ("auth_method", "token", ("token", "token_path"), True),
        ("auth_method", "userpass", ("username",)),
        ("auth_method", "userpass", ("password", "password_file"), True),
        ("auth_method", "approle", ("role_id", "secret_id")),
        ("auth_method", "cert", ("cert_auth_public_key", "cert_auth_private_key")),
    ),
)


def read_private_file(path: str, *, item: str) -> Secret:
    """Return the content of a file that only its owner may read, stripped of white space at the end.

    :raises InvalidInput: when it is missing (``secret-file``) or open to group or others (``secret-file-mode``).
    """
    try:
        with open(path, encoding="utf-8") as handle:
            mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
            text = handle.read()
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read ({error.strerror}).",
            item=item,
            rule="secret-file",
            fix="give an existing file on the controller.",
        ) from None
    if mode & 0o077:
        raise InvalidInput(
            f"{path} has mode {mode:04o}; it must be readable by its owner only.",
            item=item,
            rule="secret-file-mode",
            fix=f"chmod 600 {path}",
        )
    return Secret(text.rstrip())


def connection_of(params: t.Mapping[str, t.Any]) -> Connection:
    """Return the connection that module parameters of :data:`CONNECTION_SPEC` describe."""
    return Connection(
        url=params["url"],
        tls_server_name=params.get("tls_server_name"),
        ca_cert=params.get("ca_cert"),
        validate_certs=params.get("validate_certs", True),
        namespace=params.get("namespace"),
        timeout=params.get("timeout") or DEFAULT_TIMEOUT,
        retries=params.get("retries", 2),
    ).checked()


def login_of(params: t.Mapping[str, t.Any]) -> Login:
    """Return the login that module parameters of :data:`CONNECTION_SPEC` describe; reads the files they name."""
    token = Secret(params["token"]) if params.get("token") else None
    if params.get("auth_method") == "token" and token is None and params.get("token_path"):
        token = read_private_file(params["token_path"], item="token_path")
    password = Secret(params["password"]) if params.get("password") else None
    if params.get("auth_method") == "userpass" and password is None and params.get("password_file"):
        password = read_private_file(params["password_file"], item="password_file")
    return Login(
        method=params.get("auth_method") or "token",
        mount_point=params.get("mount_point"),
        token=token,
        username=params.get("username"),
        password=password,
        role_id=params.get("role_id"),
        secret_id=Secret(params["secret_id"]) if params.get("secret_id") else None,
        cert_public_key=params.get("cert_auth_public_key"),
        cert_private_key=params.get("cert_auth_private_key"),
        role=params.get("cert_auth_role"),
    )


def client_of(params: t.Mapping[str, t.Any]) -> OpenBao:
    """Return a client for module parameters of :data:`CONNECTION_SPEC`; it logs in at its first request."""
    return OpenBao(connection_of(params), login_of(params))
