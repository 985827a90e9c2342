# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What all rendered objects have in common."""

from __future__ import annotations

import typing as t

from .._kube.model import MANAGER
from .model import Tenant
from .profile import TENANT_LABEL

Object = dict[str, t.Any]

PART_OF: t.Final = "tenants"
#: Labels by which the guards know what tenants must not change.
OWNED: t.Final = (("app.kubernetes.io/managed-by", MANAGER), ("app.kubernetes.io/part-of", PART_OF))


def platform_metadata(name: str) -> Object:
    """Return the metadata of an object that all tenants of a cluster share."""
    return {"name": name, "labels": dict(OWNED)}


def labels(tenant: Tenant) -> dict[str, str]:
    """Return the labels of a tenant's object."""
    return {**dict(OWNED), TENANT_LABEL: tenant.name}


def metadata(tenant: Tenant, name: str, namespace: str) -> Object:
    """Return the metadata of an object in a tenant's namespace."""
    return {"name": name, "namespace": namespace, "labels": labels(tenant)}
