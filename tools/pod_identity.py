# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod of a tenant does with OpenBao: get a token from its cluster, log in with it, read. For the demonstration.

Uses nothing of the collection: what it proves is what the servers do. Requests are verified against the given
authorities only.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import typing as t
from pathlib import Path
from urllib.parse import urlsplit


class Problem(Exception):
    """A server answered something else than what the step needs; the text says which and what."""


class _Connection(http.client.HTTPSConnection):
    """A TLS connection to an address, verified for a name that need not be the address."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, name: str) -> None:
        super().__init__(host, port, context=context, timeout=20)
        self._tls, self._name = context, name

    def connect(self) -> None:
        plain = socket.create_connection((self.host, self.port), self.timeout)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self._name)
        except BaseException:
            plain.close()
            raise


class Api:
    """One server.

    :param url: ``https://host:port``.
    :param ca: PEM file with the only authority that is trusted.
    :param headers: sent with each request; a login goes here and is never shown.
    :param name: name in the certificate, the host by default.
    """

    def __init__(self, url: str, ca: str | Path, headers: t.Mapping[str, str] | None = None, name: str = "") -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._context = ssl.create_default_context(cafile=str(ca))
        self._headers = {"Accept": "application/json", **(headers or {})}
        self._name = name or self._host

    def with_headers(self, headers: t.Mapping[str, str]) -> Api:
        """Return the same server with other headers."""
        other = object.__new__(Api)
        other.__dict__.update(self.__dict__)
        other._headers = {"Accept": "application/json", **headers}
        return other

    def request(self, method: str, path: str, body: t.Any = None) -> tuple[int, t.Any]:
        """Return (HTTP status, parsed answer)."""
        connection = _Connection(self._host, self._port, self._context, self._name)
        data = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, data, {**self._headers, "Content-Type": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(raw) if raw else None
        except ValueError:
            return answer.status, None

    def need(self, method: str, path: str, body: t.Any = None, also: t.Container[int] = ()) -> t.Any:
        """Return the answer of a request that has to work.

        :param also: statuses that are fine besides 2xx.
        :raises Problem: anything else; without the answer, which may hold a token.
        """
        status, answer = self.request(method, path, body)
        if status >= 300 and status not in also:
            raise Problem(f"{method} {path}: HTTP {status}")
        return answer


def owner(openbao: Api, username: str, password: str, policy: str) -> Api:
    """Return the server with a login of one minute that has an OpenBao policy; administrators may give it, and cannot
    read or write values themselves."""
    auth = openbao.need("POST", f"/v1/auth/userpass/login/{username}", {"password": password})["auth"]
    administrator = openbao.with_headers({"X-Vault-Token": str(auth["client_token"])})
    wanted = {"policies": [policy], "ttl": "1m", "no_parent": True, "type": "batch"}
    given = administrator.need("POST", "/v1/auth/token/create", wanted)["auth"]
    administrator.need("POST", "/v1/auth/token/revoke-self")
    return openbao.with_headers({"X-Vault-Token": str(given["client_token"])})


def make_pod(cluster: Api, namespace: str, service_account: str, name: str) -> str:
    """Make a namespace with a ServiceAccount and a pod that runs under it, as a tenant's Git repository would.

    :returns: the pod's uid.
    """
    there = (409,)
    meta = {"namespace": namespace}
    cluster.need(
        "POST", "/api/v1/namespaces", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": namespace}}, there
    )
    cluster.need(
        "POST",
        f"/api/v1/namespaces/{namespace}/serviceaccounts",
        {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": service_account, **meta}},
        there,
    )
    pod = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, **meta},
        "spec": {
            "serviceAccountName": service_account,
            "automountServiceAccountToken": False,
            # What the Pod Security level "restricted" wants.
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "web",
                    "image": "registry.example/web:1",
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    cluster.need("POST", f"/api/v1/namespaces/{namespace}/pods", pod, there)
    return str(cluster.need("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")["metadata"]["uid"])


def token_of_pod(cluster: Api, namespace: str, service_account: str, pod: tuple[str, str], audience: str) -> str:
    """Return a token as the kubelet gets it for a projected volume: one audience, bound to the pod, ten minutes.

    :param pod: name and uid.
    """
    body = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "spec": {
            "audiences": [audience],
            "expirationSeconds": 600,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": pod[0], "uid": pod[1]},
        },
    }
    answer = cluster.need("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token", body)
    return str(answer["status"]["token"])


def log_in(openbao: Api, mount: str, role: str, jwt: str) -> tuple[Api, dict[str, t.Any]]:
    """Log in with a token of a cluster.

    :returns: the server with that login, and what OpenBao says about it (``lease_duration`` seconds, ``policies``,
        ``metadata``).
    """
    answer = openbao.need("POST", f"/v1/auth/{mount}/login", {"role": role, "jwt": jwt})["auth"]
    about = {key: answer[key] for key in ("lease_duration", "policies", "metadata", "token_type")}
    return openbao.with_headers({"X-Vault-Token": str(answer["client_token"])}), about
