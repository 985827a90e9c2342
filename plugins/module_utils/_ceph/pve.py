# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What Proxmox VE itself stores in the Ceph cluster, read from its storage.cfg. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Sequence

from .._core.errors import Refused

#: Where Proxmox VE keeps it; elsewhere there is no such file.
STORAGE_FILE: t.Final = "/etc/pve/storage.cfg"
_HEAD: t.Final = re.compile(r"(?P<kind>[a-z]+):\s*(?P<name>\S+)\s*")
_LINE: t.Final = re.compile(r"\s+(?P<key>[a-z-]+)(?:\s+(?P<value>.*\S))?\s*")


@dataclasses.dataclass(frozen=True)
class Storage:
    """A storage of Proxmox VE on Ceph.

    :ivar pools: pools that it uses; empty for CephFS.
    :ivar namespace: the RADOS namespace in which it stays; empty for the pool's root.
    :ivar filesystem: of CephFS.
    """

    name: str
    pools: tuple[str, ...] = ()
    namespace: str = ""
    filesystem: str = ""


def parse(text: str) -> list[Storage]:
    """Return the storages on Ceph; those with monitors of their own are on another cluster and left out."""
    found: list[Storage] = []
    kind, name = "", ""
    options: dict[str, str] = {}
    for line in [*text.splitlines(), "end: end"]:
        if line.lstrip().startswith("#") or not line.strip():
            continue
        head, option = _HEAD.fullmatch(line), _LINE.fullmatch(line)
        if option:
            options[option.group("key")] = option.group("value") or ""
        elif head:
            found += _storage(kind, name, options)
            kind, name, options = head.group("kind"), head.group("name"), {}
    return found


def _storage(kind: str, name: str, options: dict[str, str]) -> list[Storage]:
    if options.get("monhost") or kind not in ("rbd", "cephfs"):
        return []
    if kind == "cephfs":
        return [Storage(name, filesystem=options.get("fs-name", "cephfs"))]
    pools = [options.get("pool", "rbd"), options.get("data-pool", "")]
    return [Storage(name, tuple(pool for pool in pools if pool), options.get("namespace", ""))]


def owner(pool: str, storages: Sequence[Storage], namespace: str = "") -> str:
    """Return the storage that uses a pool, or a namespace of it; empty for none.

    A storage that stays in a RADOS namespace of its own leaves the other namespaces to others.
    """
    for one in storages:
        if pool in one.pools and not (namespace and one.namespace and namespace != one.namespace):
            return one.name
    return ""


def check(pool: str, storages: Sequence[Storage], item: str, namespace: str = "") -> None:
    """Refuse to touch what belongs to Proxmox VE (rule ``pool-of-pve``)."""
    name = owner(pool, storages, namespace)
    if name:
        raise Refused(
            f"pool {pool} belongs to the storage {name} of Proxmox VE.",
            item=item,
            rule="pool-of-pve",
            fix="use another pool; one for each purpose.",
        )
