# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is known of the Ceph cluster and of the consumers' nodes, as plain data, for judging and rendering."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping

from .._core.errors import InvalidInput
from . import monitors as mons
from .monitors import Monitor
from .versions import ceph_version

ITEM: t.Final = "facts"
_KEYS: t.Final = frozenset(
    {
        "fsid",
        "version",
        "monitors",
        "pools",
        "filesystems",
        "pve_pools",
        "users",
        "key_types",
        "insecure",
        "unreachable",
        "kernels",
    }
)


@dataclasses.dataclass(frozen=True)
class Pool:
    """A pool.

    :ivar erasure: its data are erasure-coded.
    :ivar overwrites: objects of an erasure-coded pool can be written in part, which RBD and CephFS need.
    """

    name: str
    erasure: bool = False
    overwrites: bool = False
    applications: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Filesystem:
    """A CephFS."""

    name: str
    metadata_pool: str
    data_pools: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Facts:
    """The Ceph cluster as it is; what is ``None`` was not looked at, and is not judged.

    :ivar users: names of all Ceph users, with ``client.``.
    :ivar insecure: health codes that say that cephx can be forged.
    :ivar unreachable: addresses of monitors that did not answer.
    :ivar kernels: cluster -> versions of its nodes' kernels.
    """

    fsid: str = ""
    version: str = ""
    monitors: tuple[Monitor, ...] | None = None
    pools: Mapping[str, Pool] | None = None
    filesystems: Mapping[str, Filesystem] | None = None
    pve_pools: frozenset[str] = frozenset()
    users: frozenset[str] | None = None
    key_types: frozenset[str] | None = None
    insecure: tuple[str, ...] | None = None
    unreachable: tuple[str, ...] | None = None
    kernels: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def ceph(self) -> tuple[int, int, int]:
        """Return the version as numbers; zeros if it is not known."""
        return ceph_version(self.version)

    def known(self) -> tuple[Monitor, ...]:
        """Return the monitors.

        :raises InvalidInput: rule ``monitors-none``.
        """
        if not self.monitors:
            raise InvalidInput(
                "no monitors are given.",
                item=f"{ITEM}.monitors",
                rule="monitors-none",
                fix="give what Ceph says: ceph mon dump, or the module ceph_info.",
            )
        return self.monitors


def parse(value: t.Any) -> Facts:
    """Return facts from plain data.

    :raises InvalidInput: rules ``type``, ``unknown-key``, ``monitor-address``, ``monitors-none``.
    """
    given = {} if value is None else value
    if not isinstance(given, Mapping):
        raise InvalidInput("is no mapping.", item=ITEM, rule="type", fix="give facts by name.")
    unknown = sorted(set(map(str, given)) - _KEYS)
    if unknown:
        raise InvalidInput(
            f"unknown fact(s) {', '.join(unknown)}.",
            item=ITEM,
            rule="unknown-key",
            fix=f"there are {', '.join(sorted(_KEYS))}.",
        )
    return Facts(
        fsid=str(given.get("fsid") or ""),
        version=str(given.get("version") or ""),
        monitors=mons.known(given["monitors"], item=f"{ITEM}.monitors") if "monitors" in given else None,
        pools={name: _pool(name, one) for name, one in given["pools"].items()} if "pools" in given else None,
        filesystems=(
            {name: _filesystem(name, one) for name, one in given["filesystems"].items()}
            if "filesystems" in given
            else None
        ),
        pve_pools=frozenset(map(str, given.get("pve_pools") or ())),
        users=frozenset(map(str, given["users"])) if "users" in given else None,
        key_types=frozenset(map(str, given["key_types"])) if given.get("key_types") else None,
        insecure=tuple(map(str, given["insecure"])) if "insecure" in given else None,
        unreachable=tuple(map(str, given["unreachable"])) if "unreachable" in given else None,
        kernels={str(name): tuple(map(str, some)) for name, some in (given.get("kernels") or {}).items()},
    )


def _pool(name: str, one: Mapping[str, t.Any]) -> Pool:
    return Pool(
        str(name),
        bool(one.get("erasure")),
        bool(one.get("overwrites")),
        frozenset(map(str, one.get("applications") or ())),
    )


def _filesystem(name: str, one: Mapping[str, t.Any]) -> Filesystem:
    return Filesystem(str(name), str(one.get("metadata_pool") or ""), tuple(map(str, one.get("data_pools") or ())))
