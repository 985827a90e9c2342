# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Names of Kubernetes Secrets, custom resources and cluster ids. All of them stay as they are for good."""

from __future__ import annotations

import hashlib
import re
import typing as t
from collections.abc import Mapping
from types import MappingProxyType

from .versions import Rook

#: Longest cluster id that Rook's definition takes.
CLUSTER_ID_LENGTH: t.Final = 36
#: Longest name of a custom resource that we make.
_OBJECT_LENGTH: t.Final = 63

#: Kubernetes Secret of each role. They never change with a key: PersistentVolumes name them.
SECRETS: t.Final[Mapping[str, str]] = MappingProxyType(
    {
        "health": "rook-ceph-mon",
        "rbd-node": "rook-csi-rbd-node",
        "rbd-provisioner": "rook-csi-rbd-provisioner",
        "cephfs-node": "rook-csi-cephfs-node",
        "cephfs-provisioner": "rook-csi-cephfs-provisioner",
    }
)


# -- cluster ids ---------------------------------------------------------------------------------------------------


def rook_hash(text: str) -> str:
    """Return what Rook makes of a text: the first 16 bytes of its sha256 as hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def block_default_id(namespace: str, pool: str, rados_namespace: str) -> str:
    """Return the cluster id that Rook gives to a RADOS namespace when nobody says which."""
    return rook_hash(f"{namespace}-{pool}-block-{rados_namespace}")


def files_default_id(namespace: str, filesystem: str, group: str) -> str:
    """Return the cluster id that Rook gives to a subvolume group when nobody says which."""
    return rook_hash(f"{namespace}-{filesystem}-file-{group}")


def block_cluster_id(rook: Rook, consumer: str, namespace: str, pool: str, rados_namespace: str) -> str:
    """Return the cluster id of a pool for a consumer: a readable one where Rook can be told, else Rook's own.

    The pool's root has no custom resource; its id is that of the CephCluster, its namespace.
    """
    if not rados_namespace:
        return namespace
    if not rook.explicit_cluster_id:
        return block_default_id(namespace, pool, rados_namespace)
    inner = "" if rados_namespace == consumer else f"-{rados_namespace}"
    return short(f"{consumer}-{pool}{inner}", CLUSTER_ID_LENGTH)


def files_cluster_id(rook: Rook, consumer: str, namespace: str, filesystem: str, group: str) -> str:
    """Return the cluster id of a subvolume group for a consumer."""
    if not rook.explicit_cluster_id:
        return files_default_id(namespace, filesystem, group)
    inner = "" if group == consumer else f"-{group}"
    return short(f"{consumer}-fs-{filesystem}{inner}", CLUSTER_ID_LENGTH)


def short(text: str, length: int = _OBJECT_LENGTH) -> str:
    """Return *text* as a name that Kubernetes takes.

    What had to be changed or cut gets a few digits of its hash, so that no two texts become one name.
    """
    plain = re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9-]", "-", text.lower())).strip("-") or "x"
    if plain == text and len(plain) <= length:
        return plain
    digits = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{plain[: length - 9].rstrip('-')}-{digits}"
