# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The objects by which Rook uses an external Ceph cluster, for each version of Rook.

Nothing here holds a Ceph key; Kubernetes Secrets are made by ``delivery``. The ConfigMap with the monitors is rendered
as it is at first; afterwards it is Rook's, and ``monitors`` says when it is touched.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Collection, Iterable

from . import monitors as mons
from . import names
from .model import Block, Common, Consumer, Files
from .monitors import Monitor

Object = dict[str, t.Any]

ENDPOINTS: t.Final = "rook-ceph-mon-endpoints"
CLUSTER: t.Final = "rook-ceph"
STORAGE: t.Final = "storage.k8s.io/v1"
_CEPH: t.Final = "ceph.rook.io/v1"
_RBAC: t.Final = "rbac.authorization.k8s.io/v1"
_CSI: t.Final = "csi.storage.k8s.io"
_REPORTER: t.Final = "rook-ceph-cmd-reporter"


def render(consumer: Consumer, monitors: Collection[Monitor]) -> list[Object]:
    """Return all objects of a consumer but those with Ceph keys, in the order in which they are applied."""
    return [
        *namespace(consumer),
        *access(consumer),
        endpoints(consumer, monitors),
        cluster(consumer),
        *resources(consumer),
        *storage_classes(consumer),
        *snapshot_classes(consumer),
    ]


def _object(api: str, kind: str, name: str, space: str = "", **rest: t.Any) -> Object:
    metadata: Object = {"name": name}
    if space:
        metadata["namespace"] = space
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


# -- namespace and rights ------------------------------------------------------------------------------------------


def namespace(consumer: Consumer) -> list[Object]:
    """Return the namespace of the CephCluster, where it is not the operator's, which came with the operator."""
    if consumer.namespace == consumer.operator_namespace:
        return []
    return [_object("v1", "Namespace", consumer.namespace)]


def access(consumer: Consumer) -> list[Object]:
    """Return what Rook's operator needs in a namespace that is not its own, as ``common-external.yaml`` has it."""
    space = consumer.namespace
    if space == consumer.operator_namespace:
        return []
    return [
        _object("v1", "ServiceAccount", _REPORTER, space),
        _object("v1", "ServiceAccount", "rook-ceph-default", space),
        _object(
            _RBAC,
            "Role",
            _REPORTER,
            space,
            rules=[
                {
                    "apiGroups": [""],
                    "resources": ["pods", "configmaps"],
                    "verbs": ["get", "list", "watch", "create", "update", "delete"],
                }
            ],
        ),
        _binding(space, _REPORTER, "Role", _REPORTER, space),
        _binding(space, "rook-ceph-cluster-mgmt", "ClusterRole", "rook-ceph-system", consumer.operator_namespace),
    ]


def _binding(space: str, name: str, kind: str, account: str, account_space: str) -> Object:
    return _object(
        _RBAC,
        "RoleBinding",
        name,
        space,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        subjects=[{"kind": "ServiceAccount", "name": account, "namespace": account_space}],
    )


# -- Rook's own ----------------------------------------------------------------------------------------------------


def endpoints(consumer: Consumer, monitors: Collection[Monitor], text: str = "") -> Object:
    """Return the ConfigMap with the monitors: all of them, or what *text* says."""
    return _object(
        "v1",
        "ConfigMap",
        ENDPOINTS,
        consumer.namespace,
        data={
            "data": text or mons.render(mons.wanted(monitors, msgr2=consumer.msgr2)),
            "mapping": "{}",
            "maxMonId": str(max(len(monitors) - 1, 0)),
        },
    )


def cluster(consumer: Consumer) -> Object:
    """Return the CephCluster."""
    spec: Object = {
        "external": {"enable": True},
        "crashCollector": {"disable": True},
        "healthCheck": {"daemonHealth": {"mon": {"disabled": False, "interval": "45s"}}},
    }
    if consumer.msgr2:
        spec["network"] = {"connections": {"requireMsgr2": True}}
    if consumer.endpoints:
        spec["monitoring"] = {
            "enabled": True,
            "externalMgrEndpoints": [{"ip": one} for one in consumer.endpoints],
            "externalMgrPrometheusPort": consumer.port,
        }
    return _object(_CEPH, "CephCluster", CLUSTER, consumer.namespace, spec=spec)


def resources(consumer: Consumer) -> list[Object]:
    """Return a custom resource for each RADOS namespace and each subvolume group, by which ceph-csi knows them."""
    made: dict[tuple[str, str, str], Object] = {}
    for block in consumer.block:
        for pool in block.image_pools:
            place = ("block", pool, block.rados_namespace)
            if block.rados_namespace and place not in made:
                made[place] = _rados_namespace(consumer, block, pool)
    for files in consumer.files:
        made.setdefault(("files", files.filesystem, files.subvolume_group), _subvolume_group(consumer, files))
    return list(made.values())


def _rados_namespace(consumer: Consumer, block: Block, pool: str) -> Object:
    spec: Object = {"blockPoolName": pool, "name": block.rados_namespace}
    if consumer.rook.explicit_cluster_id:
        first = pool == block.image_pools[0]
        spec["clusterID"] = (
            block.cluster_id
            if first
            else names.block_cluster_id(consumer.rook, consumer.name, consumer.namespace, pool, block.rados_namespace)
        )
    return _object(
        _CEPH,
        "CephBlockPoolRadosNamespace",
        names.short(f"{pool}-{block.rados_namespace}"),
        consumer.namespace,
        spec=spec,
    )


def _subvolume_group(consumer: Consumer, files: Files) -> Object:
    spec: Object = {"filesystemName": files.filesystem, "name": files.subvolume_group}
    if consumer.rook.explicit_cluster_id:
        spec["clusterID"] = files.cluster_id
    if consumer.rook.metadata_namespace:
        spec["csiMetadataRadosNamespace"] = files.metadata_namespace
    if files.data_pool:
        spec["dataPoolName"] = files.data_pool
    if files.quota:
        spec["quota"] = files.quota
    return _object(
        _CEPH,
        "CephFilesystemSubVolumeGroup",
        names.short(f"{files.filesystem}-{files.subvolume_group}"),
        consumer.namespace,
        spec=spec,
    )


# -- StorageClasses ------------------------------------------------------------------------------------------------


def storage_classes(consumer: Consumer) -> list[Object]:
    """Return the StorageClasses."""
    return [
        *(_storage_class(consumer, one, "rbd", _block_parameters(consumer, one)) for one in consumer.block),
        *(_storage_class(consumer, one, "cephfs", _files_parameters(consumer, one)) for one in consumer.files),
    ]


def driver(consumer: Consumer, sort: str) -> str:
    """Return the name of a CSI driver."""
    return f"{consumer.driver_prefix}.{sort}.csi.ceph.com"


def _storage_class(consumer: Consumer, one: Common, sort: str, parameters: dict[str, str]) -> Object:
    made = _object(
        STORAGE,
        "StorageClass",
        one.storage_class,
        provisioner=driver(consumer, sort),
        parameters=parameters,
        reclaimPolicy=one.reclaim,
        allowVolumeExpansion=one.expansion,
        volumeBindingMode=one.binding,
    )
    # Always there: taken away, it would leave two defaults behind when the default moves.
    made["metadata"]["annotations"] = {
        "storageclass.kubernetes.io/is-default-class": "true" if one.default else "false"
    }
    if one.mount_options:
        made["mountOptions"] = list(one.mount_options)
    return made


def _secrets(consumer: Consumer, sort: str) -> dict[str, str]:
    controller, node = names.SECRETS[f"{sort}-provisioner"], names.SECRETS[f"{sort}-node"]
    uses = {"provisioner": controller, "controller-expand": controller}
    if consumer.rook.controller_publish:
        uses["controller-publish"] = controller
    uses["node-stage"] = node
    made: dict[str, str] = {}
    for use, secret in uses.items():
        made[f"{_CSI}/{use}-secret-name"] = secret
        made[f"{_CSI}/{use}-secret-namespace"] = consumer.namespace
    return made


def _block_parameters(consumer: Consumer, block: Block) -> dict[str, str]:
    made = {"clusterID": block.cluster_id}
    if block.topology:
        made["topologyConstrainedPools"] = json.dumps(
            [
                {
                    "poolName": zone.pool,
                    **({"dataPool": block.data_pool} if block.data_pool else {}),
                    "domainSegments": [{"domainLabel": block.topology.label, "value": zone.value}],
                }
                for zone in block.topology.zones
            ],
            separators=(",", ":"),
        )
    else:
        made["pool"] = block.pool
        if block.data_pool:
            made["dataPool"] = block.data_pool
    made |= {"imageFormat": "2", "imageFeatures": ",".join(block.image_features)}
    if block.encrypted:
        made["encrypted"] = "true"
        if block.kms:
            made["encryptionKMSID"] = block.kms
    return made | _secrets(consumer, "rbd") | {f"{_CSI}/fstype": block.fstype}


def _files_parameters(consumer: Consumer, files: Files) -> dict[str, str]:
    made = {"clusterID": files.cluster_id, "fsName": files.filesystem}
    if files.data_pool:
        made["pool"] = files.data_pool
    if files.mounter == "fuse":
        made["mounter"] = "fuse"
    return made | _secrets(consumer, "cephfs")


# -- snapshots -----------------------------------------------------------------------------------------------------


def snapshot_classes(consumer: Consumer) -> list[Object]:
    """Return a class of snapshots for each cluster id, named after its StorageClass."""
    made: list[Object] = []
    if consumer.snapshot_classes:
        made += [_snapshots(consumer, one) for one in _by_cluster_id(consumer.classes)]
    if consumer.group_snapshot_classes:
        made += [_group_snapshots(consumer, one) for one in _by_cluster_id(consumer.classes)]
    return made


def _by_cluster_id(classes: Iterable[Block | Files]) -> list[Block | Files]:
    found: dict[str, Block | Files] = {}
    for one in classes:
        found.setdefault(one.cluster_id, one)
    return list(found.values())


def _snapshots(consumer: Consumer, one: Block | Files) -> Object:
    return _class(consumer, one, "snapshot.storage.k8s.io/v1", "VolumeSnapshotClass", {"clusterID": one.cluster_id})


def _group_snapshots(consumer: Consumer, one: Block | Files) -> Object:
    where = {"fsName": one.filesystem} if isinstance(one, Files) else {"pool": one.places[0]}
    return _class(
        consumer,
        one,
        "groupsnapshot.storage.k8s.io/v1beta1",
        "VolumeGroupSnapshotClass",
        {"clusterID": one.cluster_id, **where},
    )


def _class(consumer: Consumer, one: Block | Files, api: str, kind: str, parameters: dict[str, str]) -> Object:
    sort = "cephfs" if isinstance(one, Files) else "rbd"
    use = "snapshotter" if kind == "VolumeSnapshotClass" else "group-snapshotter"
    return _object(
        api,
        kind,
        one.storage_class,
        driver=driver(consumer, sort),
        deletionPolicy="Delete",
        parameters={
            **parameters,
            f"{_CSI}/{use}-secret-name": names.SECRETS[f"{sort}-provisioner"],
            f"{_CSI}/{use}-secret-namespace": consumer.namespace,
        },
    )
