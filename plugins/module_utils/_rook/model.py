# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Consumers of the external Ceph cluster as typed records, with every default filled in.

:func:`read` takes ``platform_ceph`` and says what is wrong with the form of each consumer; what consumers mean together
and to Ceph is judged by ``findings``.
"""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Iterable, Mapping

from .._ceph import clients
from .._core import shape
from .._core.errors import InvalidInput
from . import names
from .schema import ABSENT, AES, CEPH, CONSUMER, OPENBAO, PRESENT, ROLES, ROOK, STRICT
from .versions import Rook

ITEM: t.Final = "platform_ceph"
DEFAULT_ROOK: t.Final = "1.20"
DEFAULT_NAMESPACE: t.Final = "rook-ceph"
DEFAULT_PREFIX: t.Final = "k8s-"
#: RADOS namespace in which ceph-csi keeps its records unless it is told otherwise.
CSI_NAMESPACE: t.Final = "csi"


@dataclasses.dataclass(frozen=True)
class Zone:
    """A pool for the nodes of one zone."""

    pool: str
    value: str


@dataclasses.dataclass(frozen=True)
class Topology:
    """Which pool the volumes of a zone are in."""

    label: str
    zones: tuple[Zone, ...]


@dataclasses.dataclass(frozen=True)
class Common:
    """What StorageClasses of both sorts have."""

    item: str
    storage_class: str
    cluster_id: str
    reclaim: str
    binding: str
    expansion: bool
    default: bool
    mount_options: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Block(Common):
    """A StorageClass of block volumes.

    :ivar pool: empty with a topology.
    :ivar data_pool: erasure-coded pool of the data, empty if the data are where the metadata are.
    :ivar rados_namespace: empty for the pool's root.
    """

    pool: str
    data_pool: str
    rados_namespace: str
    image_features: tuple[str, ...]
    fstype: str
    encrypted: bool
    kms: str
    topology: Topology | None

    @property
    def places(self) -> tuple[str, ...]:
        """Return every pool in which something of this StorageClass is, those with metadata first."""
        zones = tuple(one.pool for one in self.topology.zones) if self.topology else ()
        return tuple(one for one in (self.pool, *zones, self.data_pool) if one)

    @property
    def image_pools(self) -> tuple[str, ...]:
        """Return the pools that have images, and so their RADOS namespace."""
        return tuple(one.pool for one in self.topology.zones) if self.topology else (self.pool,)


@dataclasses.dataclass(frozen=True)
class Files(Common):
    """A StorageClass of shared file systems."""

    filesystem: str
    subvolume_group: str
    data_pool: str
    metadata_namespace: str
    quota: str
    mounter: str


@dataclasses.dataclass(frozen=True)
class Key:
    """A consumer's Ceph keys."""

    type: str = AES
    generation: int = 0
    keep: int = 1
    kernel_ready: bool = False


@dataclasses.dataclass(frozen=True)
class Consumer:
    """One Kubernetes cluster that uses the Ceph cluster."""

    item: str
    name: str
    cluster: str
    state: str
    rook: Rook
    before_ceph_upgrade: bool
    namespace: str
    operator_namespace: str
    driver_prefix: str
    profile: str
    delivery: str
    msgr2: bool
    users: Mapping[str, str]
    key: Key
    block: tuple[Block, ...]
    files: tuple[Files, ...]
    snapshot_classes: bool
    group_snapshot_classes: bool
    endpoints: tuple[str, ...]
    port: int

    @property
    def absent(self) -> bool:
        return self.state == ABSENT

    @property
    def classes(self) -> tuple[Block | Files, ...]:
        """Return all StorageClasses, in the order of the inventory."""
        return (*self.block, *self.files)

    @property
    def roles(self) -> tuple[str, ...]:
        """Return the roles of which this consumer has a Ceph user: no CephFS, no user of CephFS."""
        wanted = {"health"}
        if self.block:
            wanted |= {"rbd-node", "rbd-provisioner"}
        if self.files:
            wanted |= {"cephfs-node", "cephfs-provisioner"}
        return tuple(one for one in ROLES if one in wanted)

    def base(self, role: str) -> str:
        """Return the name of the Ceph user of a role, without ``client.`` and generation."""
        return self.users[role]

    def entity(self, role: str, generation: int | None = None) -> str:
        """Return the Ceph user of a role, ``client.<name>`` or ``client.<name>.<generation>``."""
        return clients.entity(self.base(role), self.key.generation if generation is None else generation)


@dataclasses.dataclass(frozen=True)
class Ceph:
    """``platform_ceph``, read.

    :ivar consumers: those whose form is right.
    """

    fsid: str
    monitors: tuple[str, ...]
    provider_host: str
    user_prefix: str
    pve_pools: tuple[str, ...]
    consumers: tuple[Consumer, ...]

    def named(self, name: str) -> Consumer:
        """Return a consumer.

        :raises InvalidInput: rule ``consumer-unknown``.
        """
        for one in self.consumers:
            if one.name == name:
                return one
        raise InvalidInput(
            f"there is no consumer {name!r}.",
            item=f"{ITEM}.consumers",
            rule="consumer-unknown",
            fix=f"there are {', '.join(one.name for one in self.consumers) or 'none'}.",
        )


def read(value: t.Any) -> tuple[Ceph, list[InvalidInput]]:
    """Return what could be read, and an error for each consumer whose form is wrong.

    :raises InvalidInput: for what concerns them all.
    """
    if not isinstance(value, Mapping):
        raise InvalidInput(
            "is no mapping.", item=ITEM, rule="type", fix="write it as in the documentation of Ceph consumers."
        )
    given = value.get("consumers") or []
    if not isinstance(given, (list, tuple)):
        raise InvalidInput("is no list.", item=f"{ITEM}.consumers", rule="type", fix="write it as a list.")
    shape.validate({**value, "consumers": []}, CEPH, item=ITEM)
    prefix = str(value.get("user_prefix") or DEFAULT_PREFIX)
    consumers: list[Consumer] = []
    errors: list[InvalidInput] = []
    for index, one in enumerate(given):
        item = f"{ITEM}.consumers[{index}]"
        try:
            shape.validate(one, CONSUMER, item=item)
            consumers.append(_consumer(one, item, prefix))
        except InvalidInput as error:
            errors.append(error)
    ceph = Ceph(
        fsid=str(value.get("fsid") or ""),
        monitors=tuple(map(str, value.get("monitors") or ())),
        provider_host=str(value.get("provider_host") or ""),
        user_prefix=prefix,
        pve_pools=tuple(map(str, value.get("pve_pools") or ())),
        consumers=tuple(consumers),
    )
    return ceph, errors


def parse(value: t.Any) -> Ceph:
    """Return ``platform_ceph``; the first error of form is raised."""
    ceph, errors = read(value)
    if errors:
        raise errors[0]
    return ceph


# -- defaults ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Shared:
    """What StorageClasses take from their consumer."""

    name: str
    namespace: str
    rados_namespace: str
    profile: str
    rook: Rook


def _consumer(given: Mapping[str, t.Any], item: str, prefix: str) -> Consumer:
    cluster = given["cluster"]
    name = given.get("name", cluster)
    if "name" not in given:
        # a cluster's name may be longer than a consumer's
        shape.validate(name, CONSUMER["properties"]["name"], item=f"{item}: cluster")
    namespace = given.get("namespace", DEFAULT_NAMESPACE)
    operator = given.get("operator_namespace", namespace)
    profile = given.get("profile", ROOK)
    rook = Rook.parse(str(given.get("rook", DEFAULT_ROOK)), item=f"{item}: rook")
    monitoring = given.get("monitoring") or {}
    key = given.get("key") or {}
    users = {role: f"{prefix}{name}-{role}" for role in ROLES} | dict(given.get("users") or {})
    shared = _Shared(name, namespace, given.get("rados_namespace", name), profile, rook)
    return Consumer(
        item=item,
        name=name,
        cluster=cluster,
        state=given.get("state", PRESENT),
        rook=rook,
        before_ceph_upgrade=given.get("before_ceph_upgrade", False),
        namespace=namespace,
        operator_namespace=operator,
        driver_prefix=given.get("driver_prefix", operator),
        profile=profile,
        delivery=given.get("delivery", OPENBAO),
        msgr2=given.get("msgr2", True),
        users=users,
        key=Key(**key),
        block=tuple(
            _block(one, f"{item}: block[{index}]", shared) for index, one in enumerate(given.get("block") or ())
        ),
        files=tuple(
            _files(one, f"{item}: files[{index}]", shared) for index, one in enumerate(given.get("files") or ())
        ),
        snapshot_classes=given.get("snapshot_classes", True),
        group_snapshot_classes=given.get("group_snapshot_classes", False),
        endpoints=tuple(monitoring.get("endpoints") or ()),
        port=int(monitoring.get("port", 9283)),
    )


def _common(given: Mapping[str, t.Any], item: str, cluster_id: str, binding: str) -> dict[str, t.Any]:
    return {
        "item": item,
        "storage_class": given["storage_class"],
        "cluster_id": cluster_id,
        "reclaim": given.get("reclaim", "Delete"),
        "binding": given.get("binding", binding),
        "expansion": given.get("expansion", True),
        "default": given.get("default", False),
        "mount_options": tuple(given.get("mount_options") or ()),
    }


def _block(given: Mapping[str, t.Any], item: str, shared: _Shared) -> Block:
    topology = given.get("topology")
    pool = str(given.get("pool") or "")
    inner = str(given.get("rados_namespace", shared.rados_namespace))
    first = pool or (topology["pools"][0]["pool"] if topology else "")
    cluster_id = given.get("cluster_id") or names.block_cluster_id(
        shared.rook, shared.name, shared.namespace, first, inner
    )
    return Block(
        **_common(given, item, cluster_id, "WaitForFirstConsumer" if topology else "Immediate"),
        pool=pool,
        data_pool=str(given.get("data_pool") or ""),
        rados_namespace=inner,
        image_features=tuple(given.get("image_features") or ("layering",)),
        fstype=given.get("fstype", "ext4"),
        encrypted=given.get("encrypted", False),
        kms=str(given.get("kms") or ""),
        topology=Topology(topology["label"], tuple(Zone(**one) for one in topology["pools"])) if topology else None,
    )


def _files(given: Mapping[str, t.Any], item: str, shared: _Shared) -> Files:
    group = given.get("subvolume_group", shared.name)
    own = f"{CSI_NAMESPACE}-{shared.name}" if shared.profile == STRICT else CSI_NAMESPACE
    cluster_id = given.get("cluster_id") or names.files_cluster_id(
        shared.rook, shared.name, shared.namespace, given["filesystem"], group
    )
    return Files(
        **_common(given, item, cluster_id, "Immediate"),
        filesystem=given["filesystem"],
        subvolume_group=group,
        data_pool=str(given.get("data_pool") or ""),
        metadata_namespace=given.get("metadata_namespace", own),
        quota=str(given.get("quota") or ""),
        mounter=given.get("mounter", "kernel"),
    )


def pools_of(consumers: Iterable[Consumer]) -> list[str]:
    """Return the pools of block volumes, each once, in order of appearance."""
    return list(dict.fromkeys(pool for one in consumers for block in one.block for pool in block.places))
