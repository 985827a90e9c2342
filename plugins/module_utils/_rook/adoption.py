# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Ceph users that Rook's script made: found, told apart, taken over under the names they have. Pure.

Renaming one would cut off every volume that is mounted by it, and Ceph can't anyway. A user is taken over by naming it
at its consumer; from then on it has the caps of the consumer's profile and generations like any other.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Collection, Iterable, Mapping

from .._ceph import clients
from .model import Consumer

_BASES: t.Final[Mapping[str, str]] = {
    "csi-rbd-node": "rbd-node",
    "csi-rbd-provisioner": "rbd-provisioner",
    "csi-cephfs-node": "cephfs-node",
    "csi-cephfs-provisioner": "cephfs-provisioner",
    "healthchecker": "health",
}
_GENERATION: t.Final = re.compile(r"\.(?P<number>[1-9][0-9]*)")


@dataclasses.dataclass(frozen=True)
class Made:
    """A user that looks as if Rook's script had made it.

    :ivar base: its name without ``client.`` and generation.
    :ivar words: what follows the role in its name: cluster, pool or CephFS, RADOS namespace.
    :ivar generations: those that there are.
    :ivar pools: pools and RADOS namespaces that its caps name.
    """

    role: str
    base: str
    words: str
    generations: tuple[int, ...]
    pools: frozenset[tuple[str, str]]

    @property
    def shared(self) -> bool:
        """It is one of those that the script makes for everybody."""
        return not self.words


def found(users: Iterable[clients.User]) -> list[Made]:
    """Return the users that Rook's script may have made, each once with its generations."""
    by_base: dict[str, list[tuple[int, clients.User]]] = {}
    for user in users:
        name = user.entity.removeprefix(clients.PREFIX)
        if name == user.entity:
            continue
        match = _GENERATION.search(name)
        base, number = name, 0
        if match and match.end() == len(name):
            base, number = name[: match.start()], int(match["number"])
        by_base.setdefault(base, []).append((number, user))
    made = []
    for base, some in sorted(by_base.items()):
        role = _role(base)
        if role:
            pools = {place for _number, user in some for place in _places(user)}
            words = base.removeprefix(role[0]).removeprefix("-")
            made.append(Made(role[1], base, words, tuple(sorted(number for number, _user in some)), frozenset(pools)))
    return made


def _role(base: str) -> tuple[str, str] | None:
    """Return the beginning and the role of a name, if it is one of the script's."""
    for start, role in _BASES.items():
        if base == start or base.startswith(f"{start}-"):
            return start, role
    return None


def _places(user: clients.User) -> set[tuple[str, str]]:
    return {
        (grant.where["pool"], grant.where.get("namespace", ""))
        for grant in user.caps.get("osd", frozenset())
        if grant.where.get("pool")
    }


def _is_of(one: Made, name: str, filesystems: Collection[str]) -> bool:
    """Say whether the script made a user for the cluster *name*.

    For CephFS it is the whole name that counts: ``prod`` has nothing of ``prod-eu``. For block volumes a pool may have
    been given another name, so the beginning does; :func:`propose` holds the pools in its caps against the consumer's.
    """
    if one.role.startswith("cephfs"):
        return one.words == name or one.words in {f"{name}-{filesystem}" for filesystem in filesystems}
    return one.words.startswith(f"{name}-")


@dataclasses.dataclass(frozen=True)
class Proposal:
    """Users that a consumer may take over, and what speaks against it.

    :ivar users: what to write at the consumer.
    :ivar generation: the highest of them, to write as ``key.generation``.
    :ivar doubts: in words; the users of whom there are any are not in ``users``.
    """

    consumer: str
    users: Mapping[str, str]
    generation: int
    doubts: tuple[str, ...]

    def as_dict(self) -> dict[str, t.Any]:
        """Return it for a report: the part of the inventory to write."""
        return {
            "consumer": self.consumer,
            "users": dict(self.users),
            "key": {"generation": self.generation},
            "doubts": list(self.doubts),
        }


def propose(consumer: Consumer, users: Collection[clients.User], *, cluster: str = "") -> Proposal:
    """Return the users that Rook's script made for a consumer.

    :param cluster: the name that was given to the script, if it is not the consumer's; the script writes it small.
    """
    name = (cluster or consumer.name).lower()
    wanted = {(pool, block.rados_namespace) for block in consumer.block for pool in block.places}
    taken: dict[str, Made] = {}
    doubts: list[str] = []
    for one in found(users):
        if one.role not in consumer.roles:
            continue
        mine = _is_of(one, name, {files.filesystem for files in consumer.files})
        if one.shared:
            doubts.append(f"{one.base} is the one that the script shares between all consumers: leave it to them.")
        elif mine and one.role.startswith("rbd") and not one.pools & wanted:
            where = ", ".join(sorted("/".join(filter(None, place)) for place in one.pools)) or "no pool"
            doubts.append(f"{one.base} is for {where}, which the consumer does not have.")
        elif mine and one.role in taken:
            doubts.append(f"{one.base}: {taken[one.role].base} does the same; one of them is enough.")
        elif mine:
            taken[one.role] = one
    generation = max((made.generations[-1] for made in taken.values()), default=0)
    uneven = sorted(made.base for made in taken.values() if generation not in made.generations)
    if uneven:
        doubts.append(f"{', '.join(uneven)}: not of generation {generation}; it is made when the consumer is.")
    return Proposal(consumer.name, {role: made.base for role, made in taken.items()}, generation, tuple(doubts))
