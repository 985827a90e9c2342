# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""One thin client for Kubernetes: raw REST requests in, plain data out, no decisions.

Connection options and their meaning are those of ``kubernetes.core`` (its functions read them); requests go through
the connection pool of Kubernetes' Python package, which is imported only when a client is made.
"""

from __future__ import annotations

import copy
import json
import os
import ssl
import threading
import time
import typing as t
import urllib.parse
from collections.abc import Iterator, Mapping, MutableMapping, Sequence

from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from .._core.errors import HackspaceError, InvalidInput
from .._core.module import ArgumentSpec
from .._kube.model import MANAGER, Discovery
from .._kube.ports import Cause, Page, ServerError
from .memory_files import MemoryFile, keys_in_memory
from .openbao import Connection, _unreachable
from .port_forward import Door

#: Seconds for connecting and for each answer.
DEFAULT_TIMEOUT: t.Final = 30.0
#: How often a request that is safe to repeat is repeated.
_RETRIES: t.Final = 3
_BUSY: t.Final = frozenset({429, 502, 503, 504})
_PAGE: t.Final = 500

_AGGREGATED: t.Final = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
)
_METADATA: t.Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

#: What stands in a result instead of a secret.
HIDDEN: t.Final = "(hidden)"

#: Options of every one-product Kubernetes module: those of kubernetes.core, plus two.
CONNECTION_SPEC = ArgumentSpec(
    options={
        **{name: dict(spec) for name, spec in AUTH_ARG_SPEC.items()},
        "tls_server_name": {"type": "str"},
        "request_timeout": {"type": "float", "default": DEFAULT_TIMEOUT},
    }
)


class Kube:
    """A connection to one API server.

    :ivar requests: number of HTTP requests sent so far, retries included.
    """

    def __init__(
        self,
        configuration: t.Any,
        headers: Mapping[str, t.Any],
        *,
        timeout: float,
        files: Sequence[MemoryFile] = (),
    ) -> None:
        from kubernetes.client.rest import RESTClientObject

        self._files = tuple(files)  # what the configuration names by path
        self._configuration = configuration
        self._headers = dict(headers)
        self._timeout = timeout
        self._host = str(configuration.host).rstrip("/")
        configuration.retries = False  # repeated here, where we know what is safe to repeat
        self._pool = RESTClientObject(configuration).pool_manager
        self._lock = threading.Lock()
        self.requests = 0

    def __enter__(self) -> Kube:
        return self

    @property
    def host(self) -> str:
        """Address of the API server."""
        return self._host

    def ca_pem(self) -> str:
        """Return the CA that the API server's certificate is checked with, ``""`` for that of the system."""
        path = self._configuration.ssl_ca_cert
        if not path:
            return ""
        with open(path, encoding="utf-8") as handle:
            return handle.read()

    def door(self) -> Door:
        """Return how this API server is reached, for port-forwards."""
        import urllib3

        configuration = self._configuration
        url = urllib3.util.parse_url(self._host)
        tls = None
        if url.scheme == "https":
            tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
            if not configuration.verify_ssl:
                tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
            if configuration.cert_file:
                tls.load_cert_chain(configuration.cert_file, configuration.key_file or None)
        headers = [("User-Agent", MANAGER), *self._authorization().items()]
        for name, value in self._headers.items():
            headers += [(name, str(one)) for one in (value if isinstance(value, list) else [value])]
        host = str(url.host or "").strip("[]")
        proxy = self._pool.proxy if isinstance(self._pool, urllib3.ProxyManager) else None
        return Door(
            url=self._host,
            host=host,
            port=int(url.port or (443 if tls else 80)),
            prefix=str(url.path or "").rstrip("/"),
            tls=tls,
            server_name=str(getattr(configuration, "tls_server_name", None) or host),
            headers=tuple(headers),
            timeout=self._timeout,
            proxy=(str(proxy.host), int(proxy.port or 80)) if proxy else None,
            proxy_headers=tuple((self._pool.proxy_headers or {}).items()) if proxy else (),
        )

    def acting_as(self, user: str, groups: Sequence[str]) -> Kube:
        """Return this connection with another identity (impersonation), which counts its requests by itself."""
        made = copy.copy(self)
        made._headers = {**self._headers, "Impersonate-User": user, "Impersonate-Group": list(groups)}
        made._lock = threading.Lock()
        made.requests = 0
        return made

    def mint(self, namespace: str, service_account: str, spec: Mapping[str, t.Any]) -> Mapping[str, t.Any]:
        """Request a token of a ServiceAccount and return the status of the answer (``token``, ``expirationTimestamp``).

        Never repeated: a repetition could leave a token that nobody knows. What the server says is left out of errors.
        """
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": dict(spec)}
        _status, body = self.request("POST", path, body=request, repeat=False)
        status = body.get("status")
        return status if isinstance(status, dict) else {}

    def __exit__(self, *_exc: object) -> None:
        self._pool.clear()

    # -- requests --------------------------------------------------------------------------------------------------

    def _authorization(self) -> dict[str, str]:
        found = {}
        for one in self._configuration.auth_settings().values():
            if one.get("in") == "header" and one.get("value"):
                found[str(one["key"])] = str(one["value"])
        if not found and self._configuration.username:
            found["authorization"] = str(self._configuration.get_basic_auth_token())
        return found

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        ok: t.Collection[int] = (200, 201, 202),
        repeat: bool = True,
    ) -> tuple[int, dict[str, t.Any]]:
        """Send a request; return status and decoded body.

        :param repeat: the request may be sent again when the connection is cut or the server is busy.
        :raises ServerError: for a status outside *ok*.
        :raises Unreachable: when there is no answer.
        """
        url = self._host + urllib.parse.quote(path)
        if query:
            url += "?" + urllib.parse.urlencode(query)
        payload = None if body is None else json.dumps(body).encode()
        for attempt in range(_RETRIES + 1):
            last = attempt == _RETRIES or not repeat
            status, content, pause = self._once(method, url, payload, content_type, accept, last=last)
            if status == 0 or (status in _BUSY and not last):
                time.sleep(min(pause or 0.2 * 2**attempt, 5.0))
                continue
            break
        data: t.Any = None
        if content:
            try:
                data = json.loads(content)
            except ValueError:
                data = None
        answer = data if isinstance(data, dict) else {}
        if status in ok:
            return status, answer
        raise _refusal(method, path, status, answer, content)

    def _once(
        self, method: str, url: str, payload: bytes | None, content_type: str, accept: str, *, last: bool
    ) -> tuple[int, bytes, float]:
        import urllib3.exceptions

        headers: dict[str, t.Any] = {"Accept": accept, "User-Agent": MANAGER, **self._authorization()}
        if payload is not None:
            headers["Content-Type"] = content_type
        sent = urllib3.HTTPHeaderDict(headers)
        for name, value in self._headers.items():
            for one in value if isinstance(value, list) else [value]:
                sent.add(name, one)
        with self._lock:
            self.requests += 1
        try:
            response = self._pool.request(
                method,
                url,
                body=payload,
                headers=sent,
                timeout=urllib3.Timeout(connect=self._timeout, read=self._timeout),
                redirect=False,
                retries=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            gone = _unreachable(
                error,
                Connection(
                    url=self._host,
                    tls_server_name=getattr(self._configuration, "tls_server_name", None),
                    timeout=self._timeout,
                ),
            )
            if last or gone.rule not in ("cut", "timeout"):
                raise gone from None
            return 0, b"", 0.0
        pause = str(response.headers.get("Retry-After") or "")
        return int(response.status), bytes(response.data or b""), float(pause) if pause.isdigit() else 0.0

    # -- what _kube asks for ---------------------------------------------------------------------------------------

    def discover(self) -> Discovery:
        """Return the kinds the cluster serves: two requests, however many kinds there are."""
        documents = []
        for path in ("/api", "/apis"):
            _status, body = self.request("GET", path, accept=_AGGREGATED)
            if body.get("kind") != "APIGroupDiscoveryList":
                raise HackspaceError(
                    "the API server has no aggregated discovery.",
                    item=self._host,
                    rule="discovery",
                    fix="use Kubernetes 1.27 or newer.",
                )
            documents.append(body)
        return Discovery.parse(*documents)

    def get(self, path: str) -> dict[str, t.Any] | None:
        """Return one object, ``None`` if it does not exist."""
        status, body = self.request("GET", path, ok=(200, 404))
        return body if status == 200 else None

    def pages(self, path: str, *, selector: str = "", metadata_only: bool = False) -> Iterator[Page]:
        """Yield a collection page by page."""
        query = {"limit": str(_PAGE)}
        if selector:
            query["labelSelector"] = selector
        while True:
            _status, body = self.request(
                "GET", path, query=query, accept=_METADATA if metadata_only else "application/json"
            )
            metadata = body.get("metadata") or {}
            more = str(metadata.get("continue") or "")
            yield Page(list(body.get("items") or []), int(metadata.get("remainingItemCount") or 0) if more else 0)
            if not more:
                return
            query["continue"] = more

    def apply(
        self, path: str, body: Mapping[str, t.Any], *, dry_run: bool = False, force: bool = False
    ) -> dict[str, t.Any]:
        """Apply an object server-side with our field manager; repeating it is safe."""
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict", "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        return self.request("PATCH", path, query=query, body=body, content_type="application/apply-patch+yaml")[1]

    def merge(self, path: str, body: Mapping[str, t.Any]) -> dict[str, t.Any] | None:
        """Change parts of an object by a merge patch; repeating it is safe. ``None`` if it does not exist."""
        status, answer = self.request(
            "PATCH",
            path,
            query={"fieldManager": MANAGER},
            body=body,
            content_type="application/merge-patch+json",
            ok=(200, 404),
        )
        return answer if status == 200 else None

    def create(self, path: str, body: Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Create an object."""
        return self.request("POST", path, query={"fieldManager": MANAGER}, body=body, repeat=False)[1]

    def replace(self, path: str, body: Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Replace an object; its resourceVersion is a precondition."""
        return self.request("PUT", path, query={"fieldManager": MANAGER}, body=body, repeat=False)[1]

    def delete(self, path: str, *, uid: str) -> None:
        """Delete the object with this uid; that it is gone or another one is fine."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        self.request("DELETE", path, body=options, ok=(200, 202, 404, 409))


def _refusal(method: str, path: str, status: int, answer: Mapping[str, t.Any], content: bytes) -> ServerError:
    said = str(answer.get("message") or "")
    details = answer.get("details") or {}
    causes = [
        Cause(str(c.get("field") or ""), str(c.get("message") or ""), str(c.get("reason") or ""))
        for c in details.get("causes") or []
        if isinstance(c, dict)
    ]
    plain = f"{method} {path}: HTTP {status}"
    fix = ""
    if status == 401:
        fix = "check the token or the client certificate."
    elif status == 403:
        fix = "the login in use lacks this right."
    elif status >= 500 or status == 429:
        fix = "the API server is busy or not ready; run again."
    # what the server says can quote what was sent, so it goes into said, for those who know what to hide
    return ServerError(
        f"{plain} {answer.get('reason') or ''}".rstrip() + ".",
        said=said or content[:200].decode(errors="replace") or f"HTTP {status}",
        reason=str(answer.get("reason") or ""),
        causes=causes,
        item="API server",
        rule="login" if status == 401 else "forbidden" if status == 403 else "http-status",
        fix=fix,
        status=status,
    )


# -- connections -----------------------------------------------------------------------------------------------------


def take_login(params: MutableMapping[str, t.Any]) -> tuple[dict[str, t.Any], set[str]]:
    """Return the connection options, and what is secret in them; nothing secret is left in *params*.

    The arguments of a module are part of every result, where short values are not masked. The path of a kubeconfig is
    not secret; a kubeconfig given as data is taken out, and what is secret in it is not looked for.
    """
    login = {name: params.get(name) for name in CONNECTION_SPEC.options}
    secrets: set[str] = set()

    def shown(spec: Mapping[str, t.Any], value: t.Any) -> t.Any:
        if isinstance(value, Mapping) and spec.get("options"):
            return {key: shown(spec["options"].get(key, {}), one) for key, one in value.items()}
        if not spec.get("no_log") or not value:
            return value
        secrets.add(str(value))
        return HIDDEN

    for name, spec in CONNECTION_SPEC.options.items():
        if name != "kubeconfig":
            params[name] = shown(spec, params.get(name))
        elif isinstance(params.get(name), Mapping):
            params[name] = HIDDEN
    return login, secrets


def client_of(params: Mapping[str, t.Any], *, item: str = "kubeconfig") -> Kube:
    """Return a client for connection options with the names of ``kubernetes.core``; nothing is sent yet.

    :param item: name of the option in error messages.
    :raises InvalidInput: when the kubeconfig or what it names does not exist.
    """
    _check_files(params, item)
    try:
        import kubernetes
        from ansible_collections.kubernetes.core.plugins.module_utils.k8s import client as core
    except ImportError as error:
        raise HackspaceError(
            "the Python package kubernetes is missing on the controller.",
            rule="python-package",
            fix="pip install -r requirements.txt in the environment that runs Ansible.",
        ) from error
    # Loading a kubeconfig sets the process's default; without this a second cluster would inherit the first's login.
    kubernetes.client.Configuration.set_default(None)
    given = {name: params.get(name) for name in AUTH_ARG_SPEC}
    files: list[MemoryFile] = []
    if isinstance(given["kubeconfig"], Mapping):
        given["kubeconfig"], files = keys_in_memory(given["kubeconfig"])
    try:
        configuration = core._create_configuration(core._create_auth_spec(None, **given))
        headers = {
            {"impersonate_user": "Impersonate-User", "impersonate_groups": "Impersonate-Group"}.get(k, k): v
            for k, v in core._create_headers(None, **given).items()
        }
    except kubernetes.config.ConfigException as error:
        raise InvalidInput(
            f"the connection cannot be made: {str(error).rstrip('.')}.",
            item=f"{item}, context" if params.get("context") else item,
            rule="kubeconfig",
            fix="give an existing kubeconfig and one of its contexts, or host and api_key.",
        ) from None
    finally:
        kubernetes.client.Configuration.set_default(None)
    if params.get("tls_server_name"):
        configuration.tls_server_name = params["tls_server_name"]
    if configuration.ssl_ca_cert and not os.path.isfile(configuration.ssl_ca_cert):
        raise InvalidInput(
            f"CA file {configuration.ssl_ca_cert} does not exist.",
            item="ca_cert",
            rule="ca-file",
            fix="give the path of a PEM file on the controller.",
        )
    return Kube(configuration, headers, timeout=float(params.get("request_timeout") or DEFAULT_TIMEOUT), files=files)


def _check_files(params: Mapping[str, t.Any], item: str) -> None:
    kubeconfig = params.get("kubeconfig")
    files = kubeconfig.split(os.pathsep) if isinstance(kubeconfig, str) and kubeconfig else []
    if files and not any(os.path.isfile(os.path.expanduser(f)) for f in files):
        raise InvalidInput(
            "the kubeconfig does not exist.",
            item=item,
            rule="kubeconfig-file",
            fix="give the path of a file on the controller.",
        )
    for name in ("client_cert", "client_key", "ca_cert"):
        path = params.get(name)
        if path and not os.path.isfile(path):
            raise InvalidInput(
                f"{path} does not exist.", item=name, rule="file", fix="give the path of a PEM file on the controller."
            )
