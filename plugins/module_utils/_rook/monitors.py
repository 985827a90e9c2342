# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Monitors as a consumer knows them: ``a=10.0.0.1:3300,b=[2001:db8::2]:3300`` in a ConfigMap that Rook's operator owns.

The operator takes in new monitors and drops those out of quorum. It never looks at the address of one whose name it
knows, and it can learn nothing when none of its addresses answers. These two are mended here; everything else is left
to it, or the two would undo each other's work.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t
from collections.abc import Collection, Iterable, Mapping

from .._core.errors import InvalidInput

V1_PORT: t.Final = 6789
V2_PORT: t.Final = 3300


@dataclasses.dataclass(frozen=True)
class Monitor:
    """A monitor as Ceph has it.

    :ivar v1: ``address:port`` of the first protocol, empty if it doesn't speak it.
    :ivar v2: ``address:port`` of the second.
    """

    name: str
    v1: str = ""
    v2: str = ""

    def endpoint(self, *, msgr2: bool) -> str:
        """Return the address in the wanted protocol, or the other one if it has no such."""
        return (self.v2 or self.v1) if msgr2 else (self.v1 or self.v2)

    @property
    def endpoints(self) -> frozenset[str]:
        """Return every address at which it answers."""
        return frozenset(one for one in (self.v1, self.v2) if one)


def split(endpoint: str, *, item: str) -> tuple[str, int]:
    """Return address and port.

    :raises InvalidInput: rule ``monitor-address``.
    """
    host, _colon, port = endpoint.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ipaddress.ip_address(bare)
        number = int(port)
    except ValueError:
        address, number = None, 0
    wrapped = host != bare
    if address is None or not 0 < number < 65536 or wrapped != (address.version == 6):
        raise InvalidInput(
            f"{endpoint!r} is no address of a monitor.",
            item=item,
            rule="monitor-address",
            fix="give ADDRESS:PORT, an IPv6 address in brackets. Rook can't use names.",
        )
    return str(address), number


def joined(address: str, port: int) -> str:
    """Return ``address:port``, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def known(monitors: Iterable[Mapping[str, t.Any]], *, item: str) -> tuple[Monitor, ...]:
    """Return monitors from plain data: ``name``, and ``v1`` and ``v2`` as ``address:port``; by name.

    :raises InvalidInput: rules ``monitor-address``, ``monitors-none``.
    """
    found = []
    for index, one in enumerate(monitors):
        here = f"{item}[{index}]"
        made = {key: joined(*split(str(one[key]), item=here)) for key in ("v1", "v2") if one.get(key)}
        if not one.get("name") or not made:
            raise InvalidInput(
                "has no name, or no address.",
                item=here,
                rule="monitor-address",
                fix="give name and v1 or v2, as ceph mon dump has them.",
            )
        found.append(Monitor(str(one["name"]), **made))
    if not found:
        raise InvalidInput(
            "there are no monitors.",
            item=item,
            rule="monitors-none",
            fix="read them from Ceph: ceph mon dump.",
        )
    return tuple(sorted(found, key=lambda one: one.name))


# -- text of the ConfigMap -----------------------------------------------------------------------------------------


def render(endpoints: Mapping[str, str]) -> str:
    """Return the text for addresses by name."""
    return ",".join(f"{name}={endpoints[name]}" for name in sorted(endpoints))


def parse(text: str) -> dict[str, str]:
    """Return addresses by name; what isn't one is left out, as Rook does."""
    parts = [part.strip().split("=") for part in text.split(",")]
    return {part[0]: part[1] for part in parts if len(part) == 2 and part[0]}


def wanted(monitors: Collection[Monitor], *, msgr2: bool) -> dict[str, str]:
    """Return the addresses of all monitors."""
    return {one.name: one.endpoint(msgr2=msgr2) for one in monitors}


# -- drift ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Drift:
    """How what a consumer knows differs from what Ceph has.

    :ivar missing: monitors that the consumer doesn't know.
    :ivar extra: those that it knows and Ceph doesn't have.
    :ivar moved: name -> old and new address.
    :ivar protocol: name -> old and new address: the same machine by the other protocol.
    :ivar lost: not one address that it knows is a monitor's.
    """

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    moved: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    protocol: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    lost: bool = False

    @property
    def any(self) -> bool:
        return bool(self.missing or self.extra or self.moved or self.protocol)

    @property
    def mended(self) -> bool:
        """Say whether it is for us to mend: Rook's operator can't."""
        return self.lost or bool(self.moved)

    def as_dict(self) -> dict[str, t.Any]:
        """Return it for a report."""
        return {
            "missing": list(self.missing),
            "extra": list(self.extra),
            "moved": {name: {"from": old, "to": new} for name, (old, new) in self.moved.items()},
            "protocol": {name: {"from": old, "to": new} for name, (old, new) in self.protocol.items()},
            "lost": self.lost,
        }

    def why(self) -> str:
        """Return it in one clause."""
        if self.lost:
            return "no monitor that it knows exists any more"
        return "moved: " + ", ".join(f"{name} {old} -> {new}" for name, (old, new) in sorted(self.moved.items()))


def drift(text: str, monitors: Collection[Monitor], *, msgr2: bool) -> Drift:
    """Return how the text of a consumer's ConfigMap differs from what Ceph has."""
    has = parse(text)
    by_name = {one.name: one for one in monitors}
    moved: dict[str, tuple[str, str]] = {}
    protocol: dict[str, tuple[str, str]] = {}
    for name, old in sorted(has.items()):
        one = by_name.get(name)
        if one is None or old == one.endpoint(msgr2=msgr2):
            continue
        (protocol if old in one.endpoints else moved)[name] = (old, one.endpoint(msgr2=msgr2))
    every = {endpoint for one in monitors for endpoint in one.endpoints}
    return Drift(
        missing=tuple(sorted(by_name.keys() - has.keys())),
        extra=tuple(sorted(has.keys() - by_name.keys())),
        moved=moved,
        protocol=protocol,
        lost=not every & set(has.values()),
    )


def merged(text: str, monitors: Collection[Monitor], *, msgr2: bool) -> str:
    """Return what the ConfigMap is to say: its own text, unless the operator could not mend it by itself.

    When no address is right, all are written anew. Otherwise only those that moved are; who is missing or gone is the
    operator's to find, and one that is reached by the other protocol stays so.
    """
    found = drift(text, monitors, msgr2=msgr2)
    if not found.mended:
        return text
    if found.lost:
        return render(wanted(monitors, msgr2=msgr2))
    return render(parse(text) | {name: new for name, (_old, new) in found.moved.items()})
