# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Opens the connections of modules that join OpenBao and clusters, from ``openbao: {}`` and ``clusters: []``."""

from __future__ import annotations

import os
import typing as t
from collections.abc import Mapping

from .._core.errors import HackspaceError, InvalidInput
from .._core.module import ArgumentSpec
from . import tls_way
from .kube import DEFAULT_TIMEOUT, Kube, client_of
from .openbao import CONNECTION_SPEC, OpenBao
from .openbao import client_of as openbao_of

#: Options of modules that join OpenBao and clusters; documented in the fragment ``_reviewers``.
JOINED_SPEC = ArgumentSpec(
    options={
        "openbao": {
            "type": "dict",
            "required": True,
            "options": CONNECTION_SPEC.options,
            "mutually_exclusive": [list(x) for x in CONNECTION_SPEC.mutually_exclusive],
            "required_together": [list(x) for x in CONNECTION_SPEC.required_together],
            "required_if": [list(x) for x in CONNECTION_SPEC.required_if],
        },
        "clusters": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "mutually_exclusive": [["kubeconfig", "kubeconfig_content"]],
            "required_one_of": [["kubeconfig", "kubeconfig_content"]],
            "options": {
                "name": {"type": "str", "required": True},
                "kubeconfig": {"type": "path"},
                "kubeconfig_content": {"type": "str", "no_log": True},
                "context": {"type": "str"},
                "tls_server_name": {"type": "str"},
                "mode": {
                    "type": "str",
                    "choices": ["token_request", "jwt_pubkeys", "long_lived", "client_jwt"],
                    "default": "token_request",
                },
                "mount": {"type": "str"},
                "audience": {"type": "str"},
                "api_server": {"type": "str"},
                "ca_cert": {"type": "path"},
                "issuer": {"type": "str"},
                "namespace": {"type": "str", "default": "0-core-openbao-auth"},
                "service_account": {"type": "str", "default": "openbao-reviewer"},
                "canary_service_account": {"type": "str", "default": "openbao-canary"},
                "cluster_role": {"type": "str", "default": "openbao-reviewer"},
                "token_lifetime": {"type": "str", "default": "30d", "no_log": False},
                "key_overlap": {"type": "str", "default": "1h", "no_log": False},
                "access": {
                    "type": "dict",
                    "options": {
                        "role": {"type": "str", "default": "tenant"},
                        "service_accounts": {"type": "list", "elements": "str", "default": ["eso"]},
                        "namespaces": {"type": "list", "elements": "str"},
                        "namespace_selector": {"type": "dict"},
                        "ttl": {"type": "str", "default": "10m"},
                        "token_type": {
                            "type": "str",
                            "choices": ["batch", "service"],
                            "default": "batch",
                            "no_log": False,
                        },
                        "find": {"type": "bool", "default": False},
                        "per_tenant": {
                            "type": "list",
                            "elements": "dict",
                            "options": {
                                "name": {"type": "str", "required": True},
                                "namespaces": {"type": "list", "elements": "str"},
                                "service_accounts": {"type": "list", "elements": "str"},
                            },
                        },
                    },
                },
            },
        },
        "kv_mount": {"type": "str", "default": "kv"},
        "kv_prefix": {"type": "str", "default": "tenants"},
        "policy_prefix": {"type": "str", "default": "tenant-"},
        "label_domain": {"type": "str", "default": "infra.hackspace.org"},
        "request_timeout": {"type": "float", "default": DEFAULT_TIMEOUT},
    }
)


class Linked(t.Protocol):
    """What is needed of a cluster to reach its API server."""

    @property
    def item(self) -> str: ...

    @property
    def kubeconfig(self) -> t.Any: ...

    @property
    def context(self) -> str | None: ...

    @property
    def tls_server_name(self) -> str | None: ...


def with_files(clusters: t.Sequence[Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return the clusters of the arguments with what files hold in their place: ``ca_cert`` is text afterwards,
    ``kubeconfig`` the content where ``kubeconfig_content`` was given.

    :raises InvalidInput: rules ``ca-file``, ``kubeconfig``.
    """
    return [_with_files(dict(raw), f"clusters[{number}] ({raw.get('name')})") for number, raw in enumerate(clusters)]


def _with_files(raw: dict[str, t.Any], item: str) -> dict[str, t.Any]:
    content = raw.pop("kubeconfig_content", None)
    if content:
        raw["kubeconfig"] = _content(str(content), f"{item}.kubeconfig_content")
    path = raw.get("ca_cert")
    if path:
        try:
            with open(os.path.expanduser(str(path)), encoding="utf-8") as handle:
                raw["ca_cert"] = handle.read(1_000_000)
        except (OSError, UnicodeDecodeError):
            raise InvalidInput(
                f"{path} is not a text file that can be read.",
                item=f"{item}.ca_cert",
                rule="ca-file",
                fix="give the path of a PEM file on the controller.",
            ) from None
    return raw


def _content(text: str, item: str) -> dict[str, t.Any]:
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, dict):
        raise InvalidInput(
            "is not the text of a kubeconfig.", item=item, rule="kubeconfig", fix="give the whole file, decrypted."
        )
    return value


def open_openbao(params: Mapping[str, t.Any]) -> OpenBao:
    """Return a client for the option ``openbao``; it logs in at its first request."""
    try:
        return openbao_of(params)
    except HackspaceError as error:
        error.item = f"openbao.{error.item}" if error.item else "openbao"
        raise


def trust_problem(address: str, ca_pem: str, *, timeout: float = 10.0) -> tuple[str, str] | None:
    """Return rule and sentence when TLS to *address* under *ca_pem* alone fails.

    ``None`` when it works, and where it cannot be told: plain http, or no way to the address from here.
    """
    if not address.startswith("https://"):
        return None
    host, port = tls_way.address(address)
    try:
        plain = tls_way.connect(tls_way.resolve(host, port, timeout=timeout), port, timeout=timeout)
        tls_way.secure(plain, host, ca_pem).close()
    except tls_way.Stopped as stop:
        return (stop.rule, stop.message) if stop.rule in ("tls-ca", "tls-name", "tls-expired") else None
    return None


def open_cluster(cluster: Linked, *, timeout: float = DEFAULT_TIMEOUT) -> Kube:
    """Return a client for a cluster; nothing is sent yet. Not to be called by several threads at once.

    :raises InvalidInput: rules ``kubeconfig``, ``kubeconfig-file``, ... naming the cluster.
    """
    try:
        return client_of(
            {
                "kubeconfig": cluster.kubeconfig,
                "context": cluster.context,
                "tls_server_name": cluster.tls_server_name,
                "request_timeout": timeout,
            }
        )
    except HackspaceError as error:
        error.item = f"{cluster.item}.{error.item}" if error.item else cluster.item
        raise
