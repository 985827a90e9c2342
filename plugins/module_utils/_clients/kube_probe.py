# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Asks Kubernetes API servers how they are: three reads for each, all clusters at once. Decides nothing."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import json
import os
import socket
import ssl
import typing as t

from .._core.errors import HackspaceError

#: Nodes are read in one page of this size; a larger cluster is told by its first page.
PAGE: t.Final = 500


def probe(clusters: t.Sequence[t.Mapping[str, t.Any]], *, timeout: float) -> list[dict[str, t.Any]]:
    """Return what each cluster answered, in order; never raises because of a cluster.

    :param clusters: ``name``, ``kubeconfig`` and optionally ``context``.
    :returns: ``name``, ``server``, ``problem`` (``None`` or a rule and a sentence), ``version``, ``ready``, ``nodes``,
        ``nodes_seen`` (first page), ``nodes_ready`` (of those), ``credential`` (kind), ``expires`` (seconds since 1970
        or ``None``), ``verified``.
    """
    try:
        import kubernetes.client
        import kubernetes.config  # noqa: F401 - imported here, before the threads
    except ImportError as error:
        raise HackspaceError(
            "the Python package kubernetes is missing on the controller.",
            rule="python-package",
            fix="pip install -r requirements.txt in the environment that runs Ansible.",
        ) from error
    if not clusters:
        return []
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(8, len(clusters))) as threads:
        return list(threads.map(lambda cluster: _probe_one(cluster, timeout), clusters))


def _probe_one(cluster: t.Mapping[str, t.Any], timeout: float) -> dict[str, t.Any]:
    import kubernetes.client
    import kubernetes.config
    import urllib3.exceptions

    result: dict[str, t.Any] = {
        "name": cluster["name"],
        "server": "",
        "problem": None,
        "version": "",
        "ready": None,
        "nodes": None,
        "nodes_seen": None,
        "nodes_ready": None,
        "credential": "none",
        "expires": None,
        "verified": True,
    }
    path = os.path.expanduser(str(cluster["kubeconfig"]))
    if not os.path.isfile(path):
        result["problem"] = {"rule": "kubeconfig", "message": f"{path} does not exist."}
        return result
    configuration = kubernetes.client.Configuration()
    try:
        api = kubernetes.config.new_client_from_config(
            config_file=path, context=cluster.get("context") or None, client_configuration=configuration
        )
    except Exception as error:  # pylint: disable=broad-except
        # texts of the loader may quote the file: only its kind of error is told
        result["problem"] = {
            "rule": "kubeconfig",
            "message": f"{path} cannot be used"
            + (f" with context {cluster['context']}" if cluster.get("context") else "")
            + f" ({type(error).__name__}).",
        }
        return result
    result["server"] = str(api.configuration.host)
    result["verified"] = bool(api.configuration.verify_ssl)
    result["credential"], result["expires"] = _credential(api.configuration)
    with contextlib.closing(api):
        try:
            _ask(api, result, timeout)
        except _Refused as error:
            result["problem"] = error.problem
        except (urllib3.exceptions.HTTPError, OSError) as error:
            result["problem"] = _unreachable(error, timeout)
    return result


def _ask(api: t.Any, result: dict[str, t.Any], timeout: float) -> None:
    result["version"] = str(_get(api, "/version", timeout).get("gitVersion") or "")
    status, _other = _request(api, "/readyz", timeout)
    result["ready"] = None if status in (401, 403, 404) else status == 200
    nodes = _get(api, f"/api/v1/nodes?limit={PAGE}", timeout)
    items = nodes.get("items") or []
    result["nodes_seen"] = len(items)
    result["nodes"] = len(items) + int((nodes.get("metadata") or {}).get("remainingItemCount") or 0)
    result["nodes_ready"] = sum(1 for node in items if _node_ready(node))


class _Refused(Exception):
    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.problem = {"rule": rule, "message": message}


def _request(api: t.Any, path: str, timeout: float) -> tuple[int, bytes]:
    """GET through the client's own connections: its ``call_api`` differs between the versions of the library."""
    headers = {"Accept": "application/json"}
    for setting in api.configuration.auth_settings().values():
        if setting.get("in") == "header" and setting.get("value"):
            headers[setting["key"]] = setting["value"]
    answer = api.rest_client.pool_manager.request(
        "GET", api.configuration.host + path, headers=headers, timeout=timeout, retries=False, redirect=False
    )
    return int(answer.status), bytes(answer.data)


def _get(api: t.Any, path: str, timeout: float) -> dict[str, t.Any]:
    status, body = _request(api, path, timeout)
    if status == 401:
        raise _Refused("unauthorized", "the credential of the kubeconfig is not accepted (HTTP 401).")
    if status == 403:
        raise _Refused(
            "forbidden", f"the credential of the kubeconfig may not read {path.partition('?')[0]} (HTTP 403)."
        )
    if status != 200:
        raise _Refused("http-status", f"the API server answers HTTP {status}.")
    try:
        data = json.loads(body)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise _Refused("http-status", "the answer is not one of an API server.")
    return data


def _node_ready(node: t.Mapping[str, t.Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _unreachable(error: BaseException, timeout: float) -> dict[str, str]:
    """Say which hop failed: name, TCP, TLS or the answer."""
    chain: list[BaseException] = []
    todo: list[t.Any] = [error]
    while todo:
        one = todo.pop()
        if isinstance(one, BaseException) and one not in chain:
            chain.append(one)
            todo += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    names = {type(e).__name__ for e in chain}
    certificate = next((e for e in chain if isinstance(e, ssl.SSLCertVerificationError)), None)
    if certificate is not None and certificate.verify_code in (62, 64):
        return {"rule": "tls-name", "message": "its certificate is not valid for the address in the kubeconfig."}
    if certificate is not None:
        return {"rule": "tls-ca", "message": f"its certificate is not trusted ({certificate.verify_message})."}
    if any(isinstance(e, ssl.SSLError) for e in chain):
        return {"rule": "tls", "message": "the TLS handshake failed."}
    if any(isinstance(e, socket.gaierror) for e in chain) or "NameResolutionError" in names:
        return {"rule": "dns", "message": "its name does not resolve."}
    if any(isinstance(e, ConnectionRefusedError) for e in chain):
        return {"rule": "refused", "message": "the connection was refused."}
    if names & {"ConnectTimeoutError", "ReadTimeoutError", "TimeoutError"}:
        return {"rule": "timeout", "message": f"no answer within {timeout:g} s."}
    return {"rule": "cut", "message": f"the connection was cut ({type(error).__name__})."}


def _credential(configuration: t.Any) -> tuple[str, float | None]:
    """Return the kind of the credential and when it ends, without asking anybody."""
    if configuration.cert_file:
        return "client certificate", _certificate_end(str(configuration.cert_file))
    bearer = str(configuration.api_key.get("authorization") or configuration.api_key.get("BearerToken") or "")
    if bearer:
        return "token", _token_end(bearer.rpartition(" ")[2])
    return "none", None


def _certificate_end(path: str) -> float | None:
    import cryptography.x509

    try:
        with open(path, "rb") as handle:
            return cryptography.x509.load_pem_x509_certificate(handle.read()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return None


def _token_end(token: str) -> float | None:
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, TypeError):
        return None
