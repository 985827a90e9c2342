# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Registry credentials and TLS certificates for namespaces: read from OpenBao, or on request cloned by Kyverno.

Only where they are allowed: a list of namespaces, or (not for clones) labels of namespaces that opted in.
"""

from __future__ import annotations

import typing as t

from . import cel
from .limits import generating_policy
from .model import SecretCopy, Table
from .parts import Object, metadata

_ESO: t.Final = "external-secrets.io/v1"


def objects(table: Table) -> list[Object]:
    """Return what hands the declared credentials out."""
    made: list[Object] = []
    for one in table.secrets:
        if one.way == "kyverno":
            made += [_clone(table, one), *_clone_roles(table, one)]
        elif one.labels:
            made.append(_cluster_external(table, one))
        else:
            made += [_external(table, one, namespace) for namespace in one.namespaces]
    return made


def warnings(table: Table) -> list[str]:
    """Return what should be known about the ways chosen."""
    return [
        f"distribute[{one.name}]: cloning lets Kyverno's background controller read and make Kubernetes "
        "Secrets in all namespaces; external_secrets does not need that."
        for one in table.secrets
        if one.way == "kyverno"
    ]


def _spec(one: SecretCopy) -> Object:
    return {
        "refreshInterval": one.refresh,
        "secretStoreRef": {"kind": one.store_kind, "name": one.store},
        "target": {"name": one.name, "creationPolicy": "Owner", "template": {"type": one.type}},
        "data": [
            {"secretKey": key, "remoteRef": {"key": one.path, "property": name}}
            for key, name in sorted(one.properties.items())
        ],
    }


def _external(table: Table, one: SecretCopy, namespace: str) -> Object:
    return {
        "apiVersion": _ESO,
        "kind": "ExternalSecret",
        "metadata": metadata(table, one.name, namespace),
        "spec": _spec(one),
    }


def _cluster_external(table: Table, one: SecretCopy) -> Object:
    return {
        "apiVersion": _ESO,
        "kind": "ClusterExternalSecret",
        "metadata": metadata(table, f"{table.prefix}{one.name}"),
        "spec": {
            "externalSecretName": one.name,
            "namespaceSelectors": [{"matchLabels": dict(one.labels)}],
            "refreshTime": one.refresh,
            "externalSecretSpec": _spec(one),
        },
    }


def _clone(table: Table, one: SecretCopy) -> Object:
    source = ", ".join(cel.text(part) for part in ("v1", "secrets", one.source_namespace, one.name))
    return generating_policy(
        table,
        f"copy-{one.name}",
        [{"name": "allowed", "expression": f"{cel.OF_NAMESPACE[0]} in {cel.texts(one.namespaces)}"}],
        {"source": f"resource.Get({source})"},
        f"generator.Apply({cel.OF_NAMESPACE[0]}, [variables.source])",
    )


def _clone_roles(table: Table, one: SecretCopy) -> list[Object]:
    """Return the rights of one clone; it has the name of its source."""
    meta = metadata(table, f"kyverno:tiers:copy:{one.name}")
    meta["labels"]["rbac.kyverno.io/aggregate-to-background-controller"] = "true"
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": meta,
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["secrets"],
                    "resourceNames": [one.name],
                    "verbs": ["get", "update", "patch", "delete"],
                },
                # Neither can be confined to a name.
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch", "create"]},
            ],
        }
    ]
