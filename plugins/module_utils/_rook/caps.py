# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What the Ceph users of a consumer may do.

``rook`` is what Rook's own script gives when it restricts users, with what it forgets: every pool of every
StorageClass, the metadata pool of an erasure-coded one, the pools of all zones, and users of its own for each consumer.
``strict`` takes away what reaches beyond the consumer: the pool's other RADOS namespaces by way of the manager,
blocklisting by a command without bounds, other consumers' directories, records and volumes.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from .._ceph import caps as grants
from .._ceph.caps import Grants
from .model import Consumer, Files
from .schema import STRICT

Caps = Mapping[str, Grants]

_BLOCKLIST: t.Final = "allow command 'osd blocklist'"
#: What ceph-csi asks of the manager about volumes of CephFS: on nodes, and where volumes are made.
_NODE: t.Final = ("fs subvolume info", "fs subvolume getpath", "fs subvolume snapshot info", "fs clone status")
_CLONE: t.Final = "fs subvolume snapshot clone"
_PROVISIONER: t.Final = (
    *_NODE,
    "fs subvolumegroup create",
    "fs subvolume create",
    "fs subvolume ls",
    "fs subvolume resize",
    "fs subvolume rm",
    "fs subvolume metadata get",
    "fs subvolume metadata ls",
    "fs subvolume metadata set",
    "fs subvolume metadata rm",
    "fs subvolume snapshot create",
    "fs subvolume snapshot ls",
    "fs subvolume snapshot metadata set",
    "fs subvolume snapshot metadata rm",
    "fs subvolume snapshot rm",
    _CLONE,
    "fs clone cancel",
)
_HEALTH: t.Final = "allow r, allow command quorum_status, allow command version"


def of(consumer: Consumer, role: str) -> Caps:
    """Return the caps of the Ceph user of a role."""
    made = (
        _health(consumer)
        if role == "health"
        else _rbd(consumer, role)
        if role.startswith("rbd")
        else _files(consumer, role)
    )
    return grants.parse({daemon: [*texts] for daemon, texts in made.items() if texts}, f"{consumer.item}: {role}")


def _health(consumer: Consumer) -> dict[str, list[str]]:
    made = {"mon": [_HEALTH], "mgr": ["allow command config"]}
    if consumer.profile != STRICT:
        # Rook's script also gives what the object gateway and CephFS need; nothing of ours asks for it.
        made["osd"] = [f"profile rbd-read-only {place}" for place in _places(consumer)]
    return made


def _places(consumer: Consumer) -> list[str]:
    """Return ``pool=P namespace=N`` for whatever the consumer has of block volumes, each once."""
    found: dict[str, None] = {}
    for block in consumer.block:
        for pool in block.places:
            namespace = f" namespace={block.rados_namespace}" if block.rados_namespace else ""
            found[f"pool={pool}{namespace}"] = None
    return list(found)


def _rbd(consumer: Consumer, role: str) -> dict[str, list[str]]:
    places = [f"profile rbd {place}" for place in _places(consumer)]
    if consumer.profile == STRICT:
        return {"mon": ["profile rbd"], "mgr": places, "osd": places}
    made = {"mon": ["profile rbd", _BLOCKLIST], "osd": places}
    if role == "rbd-provisioner":
        made["mgr"] = ["allow rw"]
    return made


def _each(files: Iterable[Files], text: t.Callable[[Files], str]) -> list[str]:
    return list(dict.fromkeys(text(one) for one in files))


def _commands(files: Iterable[Files], commands: Iterable[str]) -> list[str]:
    """Return a grant for each command on each subvolume group.

    A grant for the whole module volumes would not do: Ceph looks at no arguments there.
    """
    return list(
        dict.fromkeys(
            f"allow command '{command}' with vol_name={one.filesystem} group_name={one.subvolume_group}"
            + (f" target_group_name={one.subvolume_group}" if command == _CLONE else "")
            for one in files
            for command in commands
        )
    )


def _files(consumer: Consumer, role: str) -> dict[str, list[str]]:
    node = role == "cephfs-node"
    if consumer.profile != STRICT:
        key = "*" if node else "metadata"
        return {
            "mon": ["allow r", _BLOCKLIST],
            "mgr": ["allow rw"],
            "osd": _each(consumer.files, lambda one: f"allow rw tag cephfs {key}={one.filesystem}"),
            "mds": ["allow rw" if node else "allow *"],
        }
    return {
        "mon": _each(consumer.files, lambda one: f"allow r fsname={one.filesystem}"),
        "mgr": _commands(consumer.files, _NODE if node else _PROVISIONER),
        "osd": [
            *_each(
                consumer.files,
                lambda one: f"allow rw namespace={one.metadata_namespace} tag cephfs metadata={one.filesystem}",
            ),
            *_each(
                consumer.files,
                lambda one: (
                    f"allow rw pool={one.data_pool}" if one.data_pool else f"allow rw tag cephfs data={one.filesystem}"
                ),
            ),
        ],
        # no more than that: with "allow r path=/volumes", as ceph-csi has it, everybody reads everybody's files
        "mds": _each(
            consumer.files,
            lambda one: f"allow rws fsname={one.filesystem} path=/volumes/{one.subvolume_group}",
        ),
    }
