# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects for each version of Rook, judged by an API server with that version's own definitions."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.filter.rook_external_objects import rook_external_objects

from lab import rook_manifests

from .conftest import CLUSTER, Site

MONITORS = [
    {"name": "pve1", "v1": "192.0.2.11:6789", "v2": "192.0.2.11:3300"},
    {"name": "pve2", "v1": "[2001:db8::12]:6789", "v2": "[2001:db8::12]:3300"},
    {"name": "PVE3.example.org", "v1": "192.0.2.13:6789", "v2": "192.0.2.13:3300"},
]


def everything(version: str, name: str) -> dict[str, t.Any]:
    """A consumer with everything that can be said."""
    return {
        "cluster": CLUSTER,
        "name": name,
        "namespace": name,
        "operator_namespace": "rook-ceph",
        "rook": version,
        "profile": "strict" if version == "1.20" else "rook",
        "monitoring": {"endpoints": ["192.0.2.11", "192.0.2.12"], "port": 9283},
        "group_snapshot_classes": True,
        "block": [
            {"storage_class": f"{name}-block", "pool": "VM_prod.ssd", "default": version == "1.20"},
            {"storage_class": f"{name}-cold", "pool": "meta", "data_pool": "cold-data", "reclaim": "Retain"},
            {
                "storage_class": f"{name}-zones",
                "topology": {
                    "label": "topology.kubernetes.io/zone",
                    "pools": [{"pool": "zone-a", "value": "a"}, {"pool": "zone-b", "value": "b"}],
                },
            },
            {"storage_class": f"{name}-sealed", "pool": "VM_prod.ssd", "encrypted": True, "kms": "openbao"},
        ],
        "files": [
            {"storage_class": f"{name}-files", "filesystem": "cephfs", "quota": "500Gi", "mount_options": ["noatime"]},
        ],
    }


@pytest.mark.parametrize("version", [*rook_manifests.VERSIONS])
def test_every_object_is_taken_by_the_definitions_of_that_version(site: Site, version: str) -> None:
    site.define(version)
    name = f"ceph-{version.replace('.', '-')}"
    objects = rook_external_objects({"consumers": [everything(version, name)]}, monitors=MONITORS)[name]
    kinds = {one["kind"] for one in objects}
    assert {"CephCluster", "CephBlockPoolRadosNamespace", "VolumeSnapshotClass", "VolumeGroupSnapshotClass"} <= kinds
    made = site.apply(objects, name)
    assert len(made["changes"]) == len(objects) + 1  # and the record
    # whatever a definition does not know is refused or dropped: then it would differ for good
    again = site.apply(objects, name)
    assert again["changes"] == []
    site.apply([objects[0]], name, prune=True, prune_max_percent=100)
