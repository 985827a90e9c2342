# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Rotation of Ceph keys: made, delivered, seen to be delivered, and only then retired. Pure.

The generation stands in the inventory, so that going back is said once and stays so. Between two generations both work.
A run that is cut off anywhere leaves both, and the next one goes on from what it sees.
"""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Collection, Iterable, Mapping, Sequence

from .._ceph import clients
from .model import Consumer

#: What happens to an older generation.
KEPT: t.Final = "kept"
WAITING: t.Final = "waiting"
RETIRE: t.Final = "retire"


@dataclasses.dataclass(frozen=True)
class Sessions:
    """Who is connected, as the monitors say.

    :ivar entities: users with a session on any monitor.
    :ivar complete: every monitor has answered; otherwise nobody knows who is not connected.
    """

    entities: frozenset[str]
    complete: bool


@dataclasses.dataclass(frozen=True)
class Old:
    """A Ceph user of another generation than the present one.

    :ivar fate: one of :data:`KEPT`, :data:`WAITING`, :data:`RETIRE`.
    """

    consumer: str
    role: str
    entity: str
    fate: str
    why: str

    def as_dict(self) -> dict[str, str]:
        """Return it for a report."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Rotation:
    """Where the rotation of one consumer stands.

    :ivar mint: users that are not there yet.
    :ivar deliver: roles whose Secret has not the present user yet.
    :ivar old: all others.
    """

    consumer: str
    mint: tuple[str, ...]
    deliver: tuple[str, ...]
    old: tuple[Old, ...]

    @property
    def done(self) -> bool:
        """Say whether nothing but the present and the kept generations is left."""
        return not self.mint and not self.deliver and all(one.fate == KEPT for one in self.old)


def plan(
    consumer: Consumer,
    users: Collection[str],
    *,
    delivered: Mapping[str, str],
    sessions: Sessions | None,
    told: bool = False,
) -> Rotation:
    """Return what is to be done for a consumer.

    :param users: all Ceph users that there are.
    :param delivered: role -> the user that its Kubernetes Secret has now.
    :param sessions: who is connected; nothing if nobody has asked.
    :param told: older generations go although somebody may still use them.
    """
    mint = tuple(consumer.entity(role) for role in consumer.roles if consumer.entity(role) not in users)
    deliver = tuple(role for role in consumer.roles if delivered.get(role) != consumer.entity(role))
    old = tuple(
        _old(consumer, role, number, deliver, sessions, told=told)
        for role in consumer.roles
        for number in clients.generations(consumer.base(role), users)
        if number != consumer.key.generation
    )
    return Rotation(consumer.name, mint, deliver, old)


def _old(
    consumer: Consumer, role: str, number: int, deliver: Sequence[str], sessions: Sessions | None, *, told: bool
) -> Old:
    entity = consumer.entity(role, number)

    def fate(word: str, why: str) -> Old:
        return Old(consumer.name, role, entity, word, why)

    if consumer.key.generation > number >= consumer.key.generation - consumer.key.keep:
        return fate(KEPT, f"keep: {consumer.key.keep}")
    if role in deliver:
        return fate(WAITING, f"{consumer.entity(role)} is not delivered yet")
    if told:
        return fate(RETIRE, "as told, in use or not")
    if sessions is None:
        return fate(WAITING, "nobody has asked the monitors who is connected")
    if entity in sessions.entities:
        return fate(WAITING, "somebody is connected by it: drain the nodes that mounted with it")
    if not sessions.complete:
        return fate(WAITING, "not every monitor says who is connected")
    return fate(RETIRE, "nobody is connected by it")


def retirable(rotations: Iterable[Rotation]) -> list[str]:
    """Return the consumers of which something may go, and nothing waits to be made or delivered."""
    return [
        one.consumer
        for one in rotations
        if not one.mint and not one.deliver and any(old.fate == RETIRE for old in one.old)
    ]
