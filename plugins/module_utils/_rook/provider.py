# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What the Ceph cluster is to have for its consumers, as the modules ceph_clients, ceph_rados_namespaces and
ceph_subvolume_groups take it.
"""

from __future__ import annotations

import typing as t
from collections.abc import Collection, Iterable

from .._ceph import caps as grants
from . import caps
from .model import Ceph, Consumer

Entry = dict[str, t.Any]


def clients(ceph: Ceph, *, retire: Collection[str] = (), removed: Collection[str] = ()) -> list[Entry]:
    """Return the Ceph users of all consumers.

    :param retire: consumers to which the present generation was delivered; only theirs are retired, when nobody uses
        them any more.
    :param removed: consumers that are gone from their clusters; their users go.
    """
    made = [_client(one, role, one.name in retire) for one in ceph.consumers if not one.absent for role in one.roles]
    return made + [{"name": one.base(role), "state": "absent"} for one in _gone(ceph, removed) for role in one.roles]


def _gone(ceph: Ceph, removed: Collection[str]) -> list[Consumer]:
    return [one for one in ceph.consumers if one.absent and one.name in removed]


def _client(consumer: Consumer, role: str, retire: bool) -> Entry:
    key = consumer.key
    return {
        "name": consumer.base(role),
        "caps": grants.lists(caps.of(consumer, role)),
        "generation": key.generation,
        "keep": [number for number in range(key.generation - 1, key.generation - 1 - key.keep, -1) if number >= 0],
        "retire": "unused" if retire else "never",
        "key_type": key.type,
    }


def rados_namespaces(ceph: Ceph, *, removed: Collection[str] = ()) -> list[Entry]:
    """Return the RADOS namespaces of all consumers: where images are, so not on pools for data only."""
    wanted = _namespaces(one for one in ceph.consumers if not one.absent)
    doomed = [place for place in _namespaces(_gone(ceph, removed)) if place not in wanted]
    return [
        *(
            {"pool": pool, "name": name, **({"data_pools": data} if data else {})}
            for (pool, name), data in wanted.items()
        ),
        *({"pool": pool, "name": name, "state": "absent"} for pool, name in doomed),
    ]


def _namespaces(consumers: Iterable[Consumer]) -> dict[tuple[str, str], list[str]]:
    """Return the pools in which images of each place have their data, if elsewhere."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in consumers:
        for block in one.block:
            for pool in block.image_pools if block.rados_namespace else ():
                data = found.setdefault((pool, block.rados_namespace), [])
                if block.data_pool and block.data_pool not in data:
                    data.append(block.data_pool)
    return found


def subvolume_groups(ceph: Ceph, *, removed: Collection[str] = ()) -> list[Entry]:
    """Return the subvolume groups of all consumers."""
    found: dict[tuple[str, str], Entry] = {}
    for one in ceph.consumers:
        for files in one.files:
            entry: Entry = {"filesystem": files.filesystem, "name": files.subvolume_group}
            if files.quota:
                entry["quota"] = files.quota
            if files.data_pool:
                entry["data_pool"] = files.data_pool
            if not one.absent:
                found.setdefault((files.filesystem, files.subvolume_group), entry)
    for one in _gone(ceph, removed):
        for files in one.files:
            place = (files.filesystem, files.subvolume_group)
            found.setdefault(place, {"filesystem": place[0], "name": place[1], "state": "absent"})
    return list(found.values())
