# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The ClusterRoles that tenants are bound to in their namespaces. Nothing is aggregated."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from .parts import Object, platform_metadata
from .profile import TenantProfile

RECONCILER: t.Final = "tenant-reconciler"
VIEWER: t.Final = "tenant-viewer"
OPERATOR: t.Final = "tenant-operator"

_ALL: t.Final = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
_READ: t.Final = ("get", "list", "watch")
_GATEWAY: t.Final = "gateway.networking.k8s.io"
_ESO: t.Final = "external-secrets.io"

#: What a tenant's Git repository may hold. DaemonSets are left out: they cannot be scaled to nothing, and fill nodes.
_CONTENT: t.Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("", ("configmaps", "persistentvolumeclaims", "pods", "secrets", "services")),
    ("apps", ("deployments", "deployments/scale", "replicasets", "statefulsets", "statefulsets/scale")),
    ("autoscaling", ("horizontalpodautoscalers",)),
    ("batch", ("cronjobs", "jobs")),
    (_ESO, ("externalsecrets",)),
    (_GATEWAY, ("grpcroutes", "httproutes")),
    ("networking.k8s.io", ("ingresses",)),
    ("policy", ("poddisruptionbudgets",)),
)
_SEALED: t.Final = ("bitnami.com", ("sealedsecrets",))
_FLUX: t.Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("helm.toolkit.fluxcd.io", ("helmreleases",)),
    ("kustomize.toolkit.fluxcd.io", ("kustomizations",)),
    ("source.toolkit.fluxcd.io", ("gitrepositories", "helmcharts", "helmrepositories", "ocirepositories")),
)
#: What tells a tenant how it fares.
_TOLD: t.Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("", ("endpoints", "events", "limitranges", "pods/log", "pods/status", "resourcequotas", "serviceaccounts")),
    ("discovery.k8s.io", ("endpointslices",)),
    ("events.k8s.io", ("events",)),
    (_ESO, ("secretstores",)),
    ("metrics.k8s.io", ("pods",)),
    ("networking.k8s.io", ("networkpolicies",)),
    *_FLUX,
)


def _rule(group: str, resources: Sequence[str], verbs: Sequence[str]) -> Object:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def _role(name: str, rules: list[Object]) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": platform_metadata(name),
        "rules": rules,
    }


def cluster_roles(profile: TenantProfile) -> list[Object]:
    """Return the ClusterRoles of all tenants of a cluster."""
    content = [*_CONTENT, *((_SEALED,) if profile.sealed_secrets else ())]
    kept = [*content, *(_FLUX if profile.self_service_flux else ())]
    told = [one for one in _TOLD if one not in kept]
    seen = [(group, tuple(r for r in names if r != "secrets")) for group, names in content]
    return [
        _role(
            OPERATOR,
            [
                _rule("", ("pods",), ("delete",)),
                _rule("", ("pods/exec", "pods/portforward"), ("create", "get")),
                _rule("apps", ("deployments/scale", "statefulsets/scale"), ("get", "patch", "update")),
                _rule("batch", ("jobs",), ("create", "delete")),
            ],
        ),
        _role(
            RECONCILER,
            [*(_rule(group, names, _ALL) for group, names in kept), *(_rule(g, n, _READ) for g, n in told)],
        ),
        _role(VIEWER, [_rule(group, names, _READ) for group, names in (*seen, *_TOLD)]),
    ]
