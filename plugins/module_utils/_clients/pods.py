# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""OpenBao servers that are pods: listed by label, and each reached by TLS inside a port-forward of its own."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from .._core.errors import HackspaceError, InvalidInput
from .._core.module import ArgumentSpec
from .._kube.ports import ServerError
from .openbao import DEFAULT_TIMEOUT, Connection
from .openbao_seal import SEAL_SPEC, SealClient

if t.TYPE_CHECKING:  # who asks servers by their addresses needs nothing of Kubernetes
    from .kube import Kube
    from .port_forward import Forwarder

#: Options of the modules that reach servers by their addresses or as pods; documented in ``_openbao_seal``.
REACH_SPEC = ArgumentSpec(
    options={
        **SEAL_SPEC.options,
        "nodes": {key: value for key, value in SEAL_SPEC.options["nodes"].items() if key != "required"},
        "pods": {
            "type": "dict",
            "options": {
                "kubeconfig": {"type": "path"},
                "kubeconfig_content": {"type": "str", "no_log": True},
                "context": {"type": "str"},
                "namespace": {"type": "str", "required": True},
                # what openbao-helm puts on its server pods
                "label_selector": {"type": "str", "default": "app.kubernetes.io/name=openbao,component=server"},
                "port": {"type": "int", "default": 8200},
                "tls_server_name": {"type": "str", "default": "{pod}.{service}"},
                "expected": {"type": "int"},
            },
            "mutually_exclusive": [["kubeconfig", "kubeconfig_content"]],
            "required_one_of": [["kubeconfig", "kubeconfig_content"]],
        },
    },
    mutually_exclusive=(("nodes", "pods"),),
    required_one_of=(("nodes", "pods"),),
)


class PodCluster:
    """The pods of one namespace, and clients for them."""

    def __init__(self, kube: Kube, params: Mapping[str, t.Any]) -> None:
        self._kube = kube
        self._params = params
        self._forwarder: Forwarder | None = None
        self._namespace = str(params["pods"]["namespace"])

    def pods(self, label_selector: str) -> list[Mapping[str, t.Any]]:
        """Return the pods with these labels.

        :raises HackspaceError: rules ``pods-forbidden``, ``label-selector``, hops to the API server.
        """
        try:
            pages = list(self._kube.pages(f"/api/v1/namespaces/{self._namespace}/pods", selector=label_selector))
        except ServerError as error:
            if error.status == 400:
                raise InvalidInput(
                    f"the API server does not understand {label_selector!r}.",
                    item="pods.label_selector",
                    rule="label-selector",
                    fix="give labels as key=value, joined by commas.",
                    status=400,
                ) from None
            raise self._refused(error, "list", "pods", "") from None
        return [item for page in pages for item in page.items]

    def statefulset(self, name: str) -> Mapping[str, t.Any] | None:
        """Return a StatefulSet, ``None`` if it does not exist.

        :raises HackspaceError: rule ``pods-forbidden``, hops to the API server.
        """
        try:
            return self._kube.get(f"/apis/apps/v1/namespaces/{self._namespace}/statefulsets/{name}")
        except ServerError as error:
            raise self._refused(error, "get", "statefulsets", ", or set pods.expected") from None

    def _refused(self, error: ServerError, verb: str, kind: str, instead: str) -> HackspaceError:
        if error.status != 403:
            return error
        return HackspaceError(
            f"the kubeconfig may not {verb} {kind} in namespace {self._namespace}.",
            item="pods.kubeconfig",
            rule="pods-forbidden",
            fix=f"grant {verb} on {kind} (docs/unseal.md has the Role){instead}.",
            status=403,
        )

    def server(self, name: str, url: str, tls_server_name: str | None) -> SealClient:
        """Return a client for one pod; it connects at its first request."""
        if self._forwarder is None:
            from .port_forward import Forwarder

            self._forwarder = Forwarder(self._kube.door())
        return SealClient(
            Connection(
                url=url,
                tls_server_name=tls_server_name,
                ca_cert=self._params.get("ca_cert"),
                validate_certs=bool(self._params.get("validate_certs", True)),
                timeout=float(self._params.get("timeout") or DEFAULT_TIMEOUT),
                dialler=self._forwarder.pod(self._namespace, name, int(self._params["pods"]["port"])),
            )
        )

    def close(self) -> None:
        """Cut all port-forwards."""
        if self._forwarder:
            self._forwarder.close()
            self._forwarder = None


def cluster_of(params: Mapping[str, t.Any]) -> PodCluster:
    """Return the cluster of module parameters of :data:`REACH_SPEC` with ``pods``; nothing is sent yet."""
    import yaml

    from .kube import client_of

    raw = params["pods"]
    # a CA file that is not there is said before anything is asked
    Connection(url="https://pod:1", ca_cert=params.get("ca_cert")).checked("ca_cert")
    given: t.Any = raw.get("kubeconfig")
    if raw.get("kubeconfig_content"):
        try:
            given = yaml.safe_load(raw["kubeconfig_content"])
        except yaml.YAMLError:
            given = None
        if not isinstance(given, dict):
            raise InvalidInput(
                "is no kubeconfig.",
                item="pods.kubeconfig_content",
                rule="kubeconfig",
                fix="give the whole kubeconfig as the cluster's tools write it.",
            )
    options = {"kubeconfig": given, "context": raw.get("context") or None, "request_timeout": params.get("timeout")}
    return PodCluster(client_of(options, item="pods.kubeconfig"), params)
