# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What the reviewer is on the downstream cluster: namespace, ServiceAccounts, ClusterRole and binding."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from .model import INVENTORY, Cluster, Settings

Object = dict[str, t.Any]
#: Ends of the names of annotations that say which public keys a cluster was seen to publish.
EVIDENCE_OF_KEYS: t.Final = ("/published-keys", "/vanished-keys")

_RBAC: t.Final = "rbac.authorization.k8s.io"


def _labels(settings: Settings) -> dict[str, str]:
    return {settings.label: INVENTORY}


def namespace_path(cluster: Cluster) -> str:
    return f"/api/v1/namespaces/{cluster.namespace}"


def accounts_path(cluster: Cluster, name: str = "") -> str:
    return f"{namespace_path(cluster)}/serviceaccounts" + (f"/{name}" if name else "")


def secrets_path(cluster: Cluster, name: str = "") -> str:
    return f"{namespace_path(cluster)}/secrets" + (f"/{name}" if name else "")


def role_path(cluster: Cluster) -> str:
    return f"/apis/{_RBAC}/v1/clusterroles/{cluster.cluster_role}"


def binding_path(cluster: Cluster, name: str = "") -> str:
    return f"/apis/{_RBAC}/v1/clusterrolebindings/{name or cluster.cluster_role}"


def namespace(cluster: Cluster, settings: Settings) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": cluster.namespace, "labels": _labels(settings)},
    }


def account(cluster: Cluster, settings: Settings, name: str) -> Object:
    """Return a ServiceAccount that pods do not get a token of."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": cluster.namespace, "labels": _labels(settings)},
        "automountServiceAccountToken": False,
    }


def rules(cluster: Cluster) -> list[Object]:
    """Return the least with which OpenBao can review tokens: no SubjectAccessReviews, unlike system:auth-delegator."""
    found: list[Object] = [
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    ]
    if cluster.access.namespace_selector:
        found.append({"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]})
    return found


def cluster_role(cluster: Cluster, settings: Settings) -> Object:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": cluster.cluster_role, "labels": _labels(settings)},
        "rules": rules(cluster),
    }


def binding(cluster: Cluster, settings: Settings) -> Object:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": cluster.cluster_role, "labels": _labels(settings)},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": cluster.cluster_role},
        "subjects": [{"kind": "ServiceAccount", "name": cluster.service_account, "namespace": cluster.namespace}],
    }


def ours(there: Mapping[str, t.Any], settings: Settings) -> bool:
    """Say if an object has our mark."""
    labels = (there.get("metadata") or {}).get("labels") or {}
    return bool(labels.get(settings.label) == INVENTORY)


def fields(there: Mapping[str, t.Any] | None) -> Object | None:
    """Return what matters of an object, in one notation: all that is compared and shown."""
    if there is None:
        return None
    found: Object = {}
    for key in ("automountServiceAccountToken", "roleRef"):
        if key in there:
            found[key] = there[key]
    annotations = (there.get("metadata") or {}).get("annotations") or {}
    seen = {key: value for key, value in annotations.items() if key.endswith(EVIDENCE_OF_KEYS)}
    if seen:
        found["annotations"] = seen
    if "rules" in there:
        found["rules"] = sorted(
            ({k: sorted(v) for k, v in rule.items()} for rule in there["rules"] or []), key=lambda r: sorted(r.items())
        )
    if "subjects" in there:
        found["subjects"] = sorted(
            ({k: v for k, v in one.items() if k != "apiGroup"} for one in there["subjects"] or []),
            key=lambda s: sorted(s.items()),
        )
    return found
