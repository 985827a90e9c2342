# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Users of Ceph: names with generations, exclusive caps, and what becomes of generations that are not current. Pure.

A client has one name and any number of generations: ``client.x`` is generation 0, ``client.x.3`` generation 3, as
Rook writes them too. Each is a Ceph user with a key of its own and the same caps. A key is rotated by making the next
generation, giving it to everybody, and retiring the one before when nobody uses it any more.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from .._core.errors import InvalidInput, check
from . import caps as caps_
from .caps import Grants

PREFIX: t.Final = "client."
#: Users that belong to Ceph, to Proxmox VE or to an orchestrator; never written, whatever is declared.
RESERVED: t.Final = re.compile(
    r"client\.(admin|bootstrap-[a-z-]+|crash(\..*)?|ceph-exporter(\..*)?|fs|iscsi(\..*)?|nfs(\..*)?|rgw(\..*)?|"
    r"rbd-mirror(-peer|\..*)?|cephfs-mirror(\..*)?|kvm|libvirt)"
)
_NAME: t.Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_GENERATION: t.Final = re.compile(r"(?P<base>.+?)\.(?P<number>[1-9][0-9]{0,8})")
KEY_TYPES: t.Final = ("aes", "aes256k")
#: What becomes of generations that are not wanted: kept, deleted when no session uses them, deleted in any case.
RETIRE: t.Final = ("never", "unused", "always")


def entity(name: str, generation: int = 0) -> str:
    """Return the Ceph user of a generation, such as ``client.member-prod-rbd-node.3``."""
    base = name.removeprefix(PREFIX)
    return f"{PREFIX}{base}.{generation}" if generation else f"{PREFIX}{base}"


def user_id(name: str) -> str:
    """Return what ceph-csi calls the user: the entity without ``client.``."""
    return name.removeprefix(PREFIX)


def generation_of(name: str, user: str) -> int | None:
    """Return which generation of *name* a Ceph user is; None when it is none.

    The name is compared as a whole: ``client.vm-prod2.1`` is no generation of ``vm-prod``. A suffix that is not a
    number is part of another name.
    """
    base = entity(name)
    if user == base:
        return 0
    found = _GENERATION.fullmatch(user)
    return int(found.group("number")) if found and found.group("base") == base else None


def generations(name: str, users: Iterable[str]) -> list[int]:
    """Return which generations of *name* are among the users, in order."""
    found = (generation_of(name, user) for user in users)
    return sorted(number for number in found if number is not None)


@dataclasses.dataclass(frozen=True)
class User:
    """A Ceph user as the server has it, without its key.

    :ivar entity: with ``client.``.
    :ivar texts: caps as they are stored.
    :ivar key_type: ``aes`` or ``aes256k``; empty when the server does not tell.
    """

    entity: str
    texts: Mapping[str, str]
    key_type: str = ""

    @property
    def caps(self) -> dict[str, Grants]:
        """Caps as sets of grants."""
        return caps_.present(self.texts)


@dataclasses.dataclass(frozen=True)
class Client:
    """A declared client.

    :ivar name: without ``client.`` and without a generation.
    :ivar caps: what each of its users may do; nothing else.
    :ivar generation: which one is current; None for the highest that exists, or 0.
    :ivar keep: further generations that stay, whatever is retired.
    :ivar retire: one of :data:`RETIRE`.
    :ivar key_type: of keys that are made; empty for the server's default.
    :ivar absent: neither of its users is to exist.
    """

    name: str
    caps: Mapping[str, Grants]
    generation: int | None = None
    keep: tuple[int, ...] = ()
    retire: str = "never"
    key_type: str = ""
    absent: bool = False
    item: str = dataclasses.field(default="", compare=False)

    def current(self, users: Iterable[str]) -> int:
        """Return which generation is current."""
        if self.generation is not None:
            return self.generation
        found = generations(self.name, users)
        return found[-1] if found else 0


def check_name(name: t.Any, item: str) -> str:
    """Return a client's name without ``client.``; it is one that Ceph takes and nobody else needs."""
    check(
        isinstance(name, str) and _NAME.fullmatch(name.removeprefix(PREFIX)),
        f"{name!r} is no name for a client.",
        item=item,
        rule="client-name",
        fix="use letters, digits, dots, hyphens and underscores; client. in front may be left out.",
    )
    base = str(name).removeprefix(PREFIX)
    check(
        not RESERVED.fullmatch(entity(base)),
        f"{entity(base)} belongs to Ceph or to what runs it.",
        item=item,
        rule="client-reserved",
        fix="choose another name.",
    )
    check(
        not _GENERATION.fullmatch(base),
        f"{base!r} ends like a generation.",
        item=item,
        rule="client-generation-name",
        fix="leave the number away, and give it as generation.",
    )
    return base


def parse(declared: Sequence[Mapping[str, t.Any]], where: str = "clients") -> list[Client]:
    """Return the declared clients.

    :raises InvalidInput: for what Ceph or we would not take.
    """
    result: list[Client] = []
    seen: dict[str, str] = {}
    for index, one in enumerate(declared):
        item = f"{where}[{index}]"
        name = check_name(one.get("name"), f"{item}.name")
        item = f"{where}[{name}]"
        check(
            name not in seen,
            f"is declared twice, at {seen.get(name)} and {where}[{index}].",
            item=item,
            rule="client-twice",
            fix="declare each client once, with all of its caps.",
        )
        seen[name] = f"{where}[{index}]"
        result.append(_one(name, one, item))
    return result


def _one(name: str, one: Mapping[str, t.Any], item: str) -> Client:
    absent = one.get("state", "present") == "absent"
    caps = caps_.parse(one.get("caps") or {}, f"{item}.caps")
    check(
        bool(caps) != absent,
        "a client that is absent has no caps." if absent else "has no caps.",
        item=item,
        rule="client-caps",
        fix="leave caps away." if absent else "say what it may do, or state: absent.",
    )
    generation = one.get("generation")
    keep = one.get("keep") or ()
    retire = one.get("retire") or "never"
    check(
        all(isinstance(number, int) and 0 <= number < 10**9 for number in (generation or 0, *keep)),
        "generations are whole numbers from 0.",
        item=item,
        rule="client-generation",
        fix="give for instance 2.",
    )
    check(
        retire == "never" or generation is not None or absent,
        "nothing can be retired when nobody says which generation is current.",
        item=item,
        rule="client-retire-generation",
        fix="give generation.",
    )
    if retire not in RETIRE or (one.get("key_type") or "") not in ("", *KEY_TYPES):
        raise InvalidInput(
            "retire or key_type has an unknown value.",
            item=item,
            rule="client-choice",
            fix=f"retire is one of {', '.join(RETIRE)}, key_type one of {', '.join(KEY_TYPES)}.",
        )
    return Client(name, caps, generation, tuple(keep), retire, one.get("key_type") or "", absent, item)
