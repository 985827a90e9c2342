# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The JSON Schema of ``platform_ceph``. What depends on other consumers or on Ceph itself is judged by ``findings``."""

from __future__ import annotations

import typing as t

from .._core.shape import Schema, choice, listed, pattern, record, said

PRESENT: t.Final = "present"
ABSENT: t.Final = "absent"
ROOK: t.Final = "rook"
STRICT: t.Final = "strict"
DIRECT: t.Final = "direct"
OPENBAO: t.Final = "openbao"
AES: t.Final = "aes"
AES256K: t.Final = "aes256k"
#: Roles of Ceph users, in the order in which everything is reported.
ROLES: t.Final = ("health", "rbd-node", "rbd-provisioner", "cephfs-node", "cephfs-provisioner")

_LABEL: t.Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"

_NAME: t.Final = pattern(
    r"[a-z]([-a-z0-9]{0,28}[a-z0-9])?",
    "name",
    "is no name of a consumer: lower-case letters, digits and inner hyphens, a letter first, at most 30.",
    "rename it, for example member-prod. Dots would cut the names of Kubernetes Secrets.",
)
_NAMESPACE: t.Final = pattern(
    _LABEL,
    "namespace",
    "is no name of a namespace: lower-case letters, digits and inner hyphens, at most 63.",
    "give a name such as rook-ceph.",
)
_OBJECT: t.Final = pattern(
    rf"{_LABEL}(\.{_LABEL})*",
    "object-name",
    "is no name of a Kubernetes object.",
    "give lower-case letters, digits, hyphens and dots, for example ceph-block.",
)
_POOL: t.Final = pattern(
    r"[A-Za-z0-9_.-]{1,100}",
    "pool-name",
    "is no name of a pool that Rook and the caps can take.",
    "use letters, digits, dots, hyphens and underscores; rename the pool: ceph osd pool rename.",
)
_RADOS_NAMESPACE: t.Final = pattern(
    r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?",
    "rados-namespace",
    "is no RADOS namespace that Rook can take: lower-case letters, digits and inner hyphens, at most 63.",
    "rename it, for example member-prod; an empty text is the pool's root, for one consumer alone in its pool.",
)
_GROUP: t.Final = pattern(
    r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?",
    "subvolume-group",
    "is no subvolume group that Rook can take: lower-case letters, digits and inner hyphens, at most 63.",
    "rename it, for example member-prod.",
)
_FILESYSTEM: t.Final = pattern(
    r"[A-Za-z0-9_.-]{1,100}",
    "filesystem-name",
    "is no name of a CephFS.",
    "see ceph fs ls.",
)
_CLUSTER_ID: t.Final = pattern(
    r"[a-z0-9]([-a-z0-9]{0,34}[a-z0-9])?",
    "cluster-id",
    "is no cluster id: lower-case letters, digits and inner hyphens, at most 36.",
    "Rook's definition allows capitals and underscores, but names a ClientProfile after it, which Kubernetes refuses.",
)
_USER: t.Final = pattern(
    r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}",
    "user-name",
    "is no name of a Ceph user.",
    "give the name without 'client.' and without the generation at its end, for example csi-rbd-node-prod.",
)
_VERSION: t.Final = pattern(
    r"v?[0-9]+\.[0-9]+(\.[0-9]+)?|next",
    "rook-version",
    "is no version of Rook.",
    'give it as text, for example "1.20", or next for what is not released yet.',
)
_ADDRESS: t.Final = pattern(
    r"[0-9A-Fa-f:.\[\]]{2,60}",
    "address",
    "is no address.",
    "give the IP address: Rook can't use names (and doesn't say so).",
)
_SIZE: t.Final = pattern(
    r"[1-9][0-9]*([KMGTPE]i)?",
    "size",
    "is no size that Kubernetes and Ceph understand alike.",
    "give a number with a binary unit, for example 500Gi.",
)
_TEXT: t.Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 253}
_FLAG: t.Final[Schema] = {"type": "boolean"}
_COUNT: t.Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 1000}

_RECLAIM: t.Final = choice(("Delete", "Retain"))
_BINDING: t.Final = choice(("Immediate", "WaitForFirstConsumer"))

_BLOCK: t.Final = record(
    {
        "storage_class": said("Name of the StorageClass.", _OBJECT),
        "pool": said("Pool of the images; with data_pool, the replicated pool of their metadata.", _POOL),
        "data_pool": said("Erasure-coded pool of the images' data.", _POOL),
        "rados_namespace": said("RADOS namespace; by default the consumer's.", _RADOS_NAMESPACE),
        "cluster_id": said("Id by which ceph-csi knows pool and RADOS namespace.", _CLUSTER_ID),
        "image_features": said(
            "Features of new images.",
            listed(
                choice(("layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten", "journaling")),
                minItems=1,
                uniqueItems=True,
            ),
        ),
        "fstype": said("File system of volumes.", choice(("ext4", "xfs"))),
        "encrypted": said("Volumes are encrypted by ceph-csi.", _FLAG),
        "kms": said("Name of the key management in ceph-csi's configuration.", _TEXT),
        "topology": said(
            "A pool for each zone instead of pool.",
            record(
                {
                    "label": said("Label of nodes that names their zone.", _TEXT),
                    "pools": listed(record({"pool": _POOL, "value": _TEXT}, ("pool", "value")), minItems=1),
                },
                ("label", "pools"),
            ),
        ),
        "reclaim": said("What happens to the volume when its claim goes.", _RECLAIM),
        "binding": said("When volumes are made.", _BINDING),
        "expansion": said("Volumes may grow.", _FLAG),
        "default": said("This is the cluster's default StorageClass.", _FLAG),
        "mount_options": said("Options of mounts.", listed(_TEXT)),
    },
    ("storage_class",),
)
_FILES: t.Final = record(
    {
        "storage_class": said("Name of the StorageClass.", _OBJECT),
        "filesystem": said("Name of the CephFS.", _FILESYSTEM),
        "subvolume_group": said("Subvolume group; by default named after the consumer.", _GROUP),
        "data_pool": said("Pool of the files' data, if it is not the first of the CephFS.", _POOL),
        "cluster_id": said("Id by which ceph-csi knows CephFS and subvolume group.", _CLUSTER_ID),
        "metadata_namespace": said("RADOS namespace of ceph-csi's own records in the metadata pool.", _RADOS_NAMESPACE),
        "quota": said("Most that the subvolume group may hold.", _SIZE),
        "mounter": said("How volumes are mounted.", choice(("kernel", "fuse"))),
        "reclaim": said("What happens to the volume when its claim goes.", _RECLAIM),
        "binding": said("When volumes are made.", _BINDING),
        "expansion": said("Volumes may grow.", _FLAG),
        "default": said("This is the cluster's default StorageClass.", _FLAG),
        "mount_options": said("Options of mounts.", listed(_TEXT)),
    },
    ("storage_class", "filesystem"),
)
_KEY: t.Final = record(
    {
        "type": said("Type of new Ceph keys.", choice((AES, AES256K))),
        "generation": said("Raise it to rotate, lower it to go back.", _COUNT),
        "keep": said("How many older generations stay, in use or not.", {**_COUNT, "maximum": 9}),
        "kernel_ready": said("Nodes can use keys of this type, whatever their kernel's version says.", _FLAG),
    }
)
CONSUMER: t.Final = record(
    {
        "cluster": said("Name in platform_clusters.", {"type": "string", "minLength": 1, "maxLength": 63}),
        "name": said("Name of the consumer; by default that of its cluster.", _NAME),
        "state": said("absent: taken away, if nothing is left in it.", choice((PRESENT, ABSENT))),
        "rook": said("Version of Rook there.", _VERSION),
        "before_ceph_upgrade": said("Ceph is upgraded later: too old for Rook is a warning only.", _FLAG),
        "namespace": said("Namespace of the CephCluster.", _NAMESPACE),
        "operator_namespace": said("Namespace of Rook's operator.", _NAMESPACE),
        "driver_prefix": said("Beginning of the CSI drivers' names.", _OBJECT),
        "profile": said("Caps: as Rook's own script, or no more than needed.", choice((ROOK, STRICT))),
        "delivery": said("How Ceph keys get there.", choice((DIRECT, OPENBAO))),
        "msgr2": said("Monitors are reached by their second protocol.", _FLAG),
        "rados_namespace": said("RADOS namespace of its StorageClasses; by default its name.", _RADOS_NAMESPACE),
        "users": said("Names of Ceph users that there are already.", record(dict.fromkeys(sorted({*ROLES}), _USER))),
        "key": said("Its Ceph keys.", _KEY),
        "block": said("StorageClasses of block volumes.", listed(_BLOCK)),
        "files": said("StorageClasses of shared file systems.", listed(_FILES)),
        "snapshot_classes": said("Make VolumeSnapshotClasses.", _FLAG),
        "group_snapshot_classes": said("Make VolumeGroupSnapshotClasses.", _FLAG),
        "monitoring": said(
            "Where Prometheus finds Ceph's managers.",
            record(
                {
                    "endpoints": listed(_ADDRESS, minItems=1),
                    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
                },
                ("endpoints",),
            ),
        ),
    },
    ("cluster",),
)
#: Schema of ``platform_ceph``; ``inventory.schema.json`` has the same, which a test looks at.
CEPH: t.Final = record(
    {
        "fsid": said(
            "The cluster's own id.",
            pattern(
                r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
                "fsid",
                "is no fsid.",
                "write what ceph fsid says.",
            ),
        ),
        "monitors": said("Addresses of the monitors.", listed(_ADDRESS)),
        "provider_host": said("Host of the group pve_nodes on which Ceph commands run.", _TEXT),
        "user_prefix": said(
            "Beginning of the names of consumers' Ceph users.",
            pattern(
                r"[a-z]([-a-z0-9]{0,14}-)",
                "user-prefix",
                "is no prefix of names: lower-case letters, digits and hyphens, a hyphen last, at most 16.",
                "give a prefix such as k8s-.",
            ),
        ),
        "pve_pools": said("Pools of Proxmox VE's own storages, which no consumer gets.", listed(_POOL)),
        "consumers": said("Kubernetes clusters that use this Ceph cluster.", listed(CONSUMER, maxItems=1000)),
    },
    description="The Ceph cluster outside Kubernetes, and who uses it.",
)
