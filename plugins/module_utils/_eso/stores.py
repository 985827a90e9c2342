# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Renders stores of External Secrets as Kubernetes objects, ready for kube_apply."""

from __future__ import annotations

import base64
import typing as t
from collections.abc import Mapping

from .model import TOKEN_SECONDS, Stores, Tenant

#: API version of the custom resources: External Secrets 0.16 and newer.
API_VERSION: t.Final = "external-secrets.io/v1"

Object = dict[str, t.Any]


def render(stores: Stores) -> list[Object]:
    """Return the objects of one cluster: ServiceAccounts, then stores, in the order of the namespaces."""
    objects: list[Object] = []
    if stores.make_service_accounts:
        objects += [_service_account(stores, tenant) for tenant in stores.tenants]
    if stores.scope == "cluster":
        objects.append(_cluster_store(stores))
    else:
        objects += [_store(stores, tenant) for tenant in stores.tenants]
    return objects


def _metadata(stores: Stores, name: str, namespace: str = "") -> Object:
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if stores.labels:
        metadata["labels"] = dict(stores.labels)
    return metadata


def _service_account(stores: Stores, tenant: Tenant) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(stores, tenant.service_account, tenant.namespace),
        # External Secrets asks for tokens by itself; no pod is to find one.
        "automountServiceAccountToken": False,
    }


def _store(stores: Stores, tenant: Tenant) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "SecretStore",
        "metadata": _metadata(stores, stores.store, tenant.namespace),
        "spec": _spec(stores, tenant.role, tenant.service_account),
    }


def _cluster_store(stores: Stores) -> Object:
    spec = _spec(stores, stores.role, stores.service_account)
    conditions: list[Object] = []
    if stores.conditions.labels:
        conditions.append({"namespaceSelector": {"matchLabels": dict(stores.conditions.labels)}})
    if stores.conditions.namespaces:
        conditions.append({"namespaces": list(stores.conditions.namespaces)})
    return {
        "apiVersion": API_VERSION,
        "kind": "ClusterSecretStore",
        "metadata": _metadata(stores, stores.store),
        "spec": {"conditions": conditions, **spec},
    }


def _spec(stores: Stores, role: str, service_account: str) -> Object:
    connection: Object = {
        "server": stores.server,
        "path": stores.kv_mount,
        "version": stores.kv_version,
        "auth": _auth(stores, role, service_account),
    }
    if stores.openbao_namespace:
        connection["namespace"] = stores.openbao_namespace
    if stores.ca_bundle:
        connection["caBundle"] = base64.b64encode(stores.ca_bundle.encode()).decode()
    if stores.ca_provider:
        provider = stores.ca_provider
        connection["caProvider"] = {"type": provider.kind, "name": provider.name, "key": provider.key}
        if provider.namespace:
            connection["caProvider"]["namespace"] = provider.namespace
    spec: Object = {"provider": {stores.provider: connection}}
    if stores.refresh_seconds:
        spec["refreshInterval"] = stores.refresh_seconds
    return spec


def _auth(stores: Stores, role: str, service_account: str) -> Mapping[str, t.Any]:
    # No namespace: in a SecretStore it is the store's own, in a ClusterSecretStore that of each ExternalSecret.
    account: Object = {"name": service_account, "audiences": [stores.audience]}
    if stores.auth == "jwt":
        return {
            "jwt": {
                "path": stores.mount,
                "role": role,
                "kubernetesServiceAccountToken": {
                    "serviceAccountRef": account,
                    # Left out, it becomes ["vault"] and is added to the audiences above.
                    "audiences": [],
                    "expirationSeconds": TOKEN_SECONDS,
                },
            }
        }
    key = "path" if stores.provider == "openbao" else "mountPath"
    return {"kubernetes": {key: stores.mount, "role": role, "serviceAccountRef": account}}
