# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is to be done so that the users of Ceph are as declared. Pure."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from .._core.errors import Refused
from .._core.plan import Change, Plan
from . import caps, marks
from .clients import Client, User, entity, generation_of, generations, user_id
from .marks import Marks
from .ports import Command

KIND: t.Final = "Ceph user"
_PUBLIC: t.Final = frozenset({"caps", "key_type"})
_TYPES: t.Final = {1: "aes", 2: "aes256k"}


@dataclasses.dataclass(frozen=True)
class Present:
    """What there is.

    :ivar users: by entity, all of them.
    :ivar sessions: entity -> addresses of who is logged in; None if nobody looked.
    :ivar key_types: of which keys can be made; None if nobody looked.
    """

    users: Mapping[str, User]
    marks: Marks = dataclasses.field(default_factory=lambda: Marks({}))
    sessions: Mapping[str, Sequence[str]] | None = None
    key_types: frozenset[str] | None = None


@dataclasses.dataclass
class State:
    """What becomes of a client, for the report.

    :ivar current: generation that counts.
    :ivar generations: all that exist afterwards.
    :ivar retired: generations that go.
    :ivar in_use: generations that would go, and who still uses them.
    """

    name: str
    current: int
    generations: list[int] = dataclasses.field(default_factory=list)
    retired: list[int] = dataclasses.field(default_factory=list)
    in_use: dict[int, list[str]] = dataclasses.field(default_factory=dict)

    def report(self) -> dict[str, t.Any]:
        """Return plain data."""
        return {
            "name": self.name,
            "entity": entity(self.name, self.current),
            "user_id": user_id(entity(self.name, self.current)),
            "generation": self.current,
            "generations": sorted(self.generations),
            "retired": sorted(self.retired),
            "in_use": {entity(self.name, number): list(who) for number, who in sorted(self.in_use.items())},
        }


# -- reading ---------------------------------------------------------------------------------------------------------


def key_type(key: str) -> str:
    """Return the type of a key, which its first two bytes say."""
    try:
        raw = base64.b64decode(key, validate=True)
    except (ValueError, binascii.Error):
        return ""
    return _TYPES.get(int.from_bytes(raw[:2], "little"), "") if len(raw) > 2 else ""


def users(out: t.Any) -> dict[str, User]:
    """Return the users out of the answer to ``auth ls``; their keys are dropped."""
    return {
        one["entity"]: User(one["entity"], dict(one.get("caps") or {}), key_type(str(one.get("key", ""))))
        for one in (out or {}).get("auth_dump", ())
    }


def monitor_names(out: t.Any) -> list[str]:
    """Return the names of all monitors out of the answer to ``mon dump``."""
    return [one["name"] for one in (out or {}).get("mons", ())]


def sessions(answers: Iterable[t.Any]) -> dict[str, list[str]]:
    """Return who is logged in out of what each monitor says to ``sessions``."""
    found: dict[str, set[str]] = {}
    for answer in answers:
        for one in answer if isinstance(answer, list) else ():
            who = one.get("entity_name") or ""
            if who and one.get("open", True):
                found.setdefault(who, set()).add(_address(one))
    return {who: sorted(addresses) for who, addresses in found.items()}


def _address(session: Mapping[str, t.Any]) -> str:
    address = (session.get("socket_addr") or {}).get("addr") or ""
    host = str(address).rpartition(":")[0]
    remote = session.get("remote_host") or ""
    return f"{remote} ({host})" if remote and remote != host else host


def makeable(out: t.Any) -> frozenset[str]:
    """Return the types of keys that can be chosen, out of the answer to ``get_command_descriptions``."""
    for one in (out if isinstance(out, dict) else {}).values():
        signature = one.get("sig") or []
        if [part for part in signature if isinstance(part, str)] == ["auth", "add"]:
            for part in signature:
                if isinstance(part, dict) and part.get("name") == "key_type":
                    return frozenset(str(part.get("strings", "")).split("|"))
    return frozenset()


def needs_sessions(wanted: Sequence[Client], present: Mapping[str, User]) -> bool:
    """Say whether somebody's sessions decide about anything."""
    return any(_doubted(client, present) for client in wanted)


def _doubted(client: Client, present: Mapping[str, User]) -> bool:
    there = generations(client.name, present)
    if client.absent:
        return bool(there) and client.retire != "always"
    wanted = {client.current(present), *client.keep}
    return client.retire == "unused" and bool(set(there) - wanted)


# -- planning --------------------------------------------------------------------------------------------------------


def plan(present: Present, wanted: Sequence[Client], *, adopt: bool) -> tuple[Plan, list[State]]:
    """Return what is to be done, in the order: make, correct, take over, delete.

    :raises Refused: for what would take over somebody's users, or take away what is in use.
    """
    made, corrected, gone = Plan(), Plan(), Plan()
    states = []
    for client in wanted:
        if client.absent:
            states.append(_remove(client, present, gone, adopt=adopt))
        else:
            states.append(_keep(client, present, made, corrected, gone, adopt=adopt))
    result = Plan()
    for part in (made, corrected, gone):
        result.extend(part)
    if result.foreign and not adopt:
        raise Refused(
            f"these users exist and were not made here: {', '.join(sorted(set(result.foreign)))}.",
            item="clients",
            rule="not-ours",
            fix="say adopt: true to take them over; their caps become those that are declared, their keys stay.",
            data={"foreign": sorted(set(result.foreign))},
        )
    return result, states


def _keep(client: Client, present: Present, made: Plan, corrected: Plan, gone: Plan, *, adopt: bool) -> State:
    there = generations(client.name, present.users)
    current = client.current(present.users)
    ours = present.marks.has("client", client.name)
    state = State(client.name, current, sorted({current, *there}))
    leaving = _leaving(client, present, there, current, state)
    if there and not ours:
        differs = current not in there or leaving or any(_differs(client, present, number) for number in there)
        if differs:
            made.foreign += [entity(client.name, number) for number in there]
        elif adopt:
            about = (marks.put("client", client.name),)
            name = entity(client.name, current)
            corrected.add(Change(KIND, name, "adopt", {}, {}, "ours from now on", _PUBLIC, about))
    if current not in there:
        made.add(_create(client, present, current, mark=not ours))
    for number in there:
        if number in leaving:
            gone.add(_delete(client, present, number, "no longer wanted"))
        elif _differs(client, present, number):
            corrected.add(_correct(client, present, number, mark=not ours))
        else:
            made.unchanged += 1
    _check_type(client, present, current)
    state.retired = leaving
    state.generations = [number for number in state.generations if number not in leaving]
    return state


def _leaving(client: Client, present: Present, there: list[int], current: int, state: State) -> list[int]:
    others = [number for number in there if number != current and number not in client.keep]
    if client.retire == "never" or not others:
        return []
    if current not in there:
        raise Refused(
            f"generation {current} is not there yet, so that nobody can use it instead of the others.",
            item=client.item,
            rule="client-retire-early",
            fix="make it with retire: never, deliver it, and retire the others then.",
        )
    if client.retire == "always":
        return others
    found = _in_use(client, present, others)
    state.in_use = found
    return [number for number in others if number not in found]


def _in_use(client: Client, present: Present, numbers: Iterable[int]) -> dict[int, list[str]]:
    if present.sessions is None:
        raise Refused(
            "nobody knows who is logged in, as not all monitors answered.",
            item=client.item,
            rule="client-sessions",
            fix="see that all monitors are up, or say retire: always.",
        )
    found = {number: list(present.sessions.get(entity(client.name, number), ())) for number in numbers}
    return {number: who for number, who in found.items() if who}


def _remove(client: Client, present: Present, gone: Plan, *, adopt: bool) -> State:
    there = generations(client.name, present.users)
    state = State(client.name, there[-1] if there else 0, [], there)
    if there and client.retire != "always":
        used = _in_use(client, present, there)
        if used:
            who = "; ".join(f"{entity(client.name, number)}: {', '.join(who)}" for number, who in used.items())
            raise Refused(
                f"somebody is still logged in ({who}).",
                item=client.item,
                rule="client-in-use",
                fix="take away what uses it first, or say retire: always.",
            )
    ours = present.marks.has("client", client.name)
    if there and not ours:
        gone.foreign += [entity(client.name, number) for number in there]
    for number in there:
        gone.add(_delete(client, present, number, "absent"))
    if ours:
        drop = marks.drop("client", client.name)
        if there:
            last = gone.changes.pop()
            gone.add(dataclasses.replace(last, payload=(*last.payload, drop)))
        else:
            gone.add(Change(KIND, entity(client.name), "delete", {}, None, "only its mark is left", _PUBLIC, (drop,)))
    if not there and not ours:
        gone.unchanged += 1
    return state


def _differs(client: Client, present: Present, number: int) -> caps.CapsDiff:
    return caps.diff(present.users[entity(client.name, number)].caps, client.caps)


def _fields(user: User | None) -> dict[str, t.Any] | None:
    return None if user is None else {"caps": caps.lists(user.caps), "key_type": user.key_type}


def _words(client: Client) -> list[str]:
    """Caps as the servers take them in an argument: daemon and text in turns."""
    return [word for pair in caps.texts(client.caps).items() for word in pair]


def _create(client: Client, present: Present, number: int, *, mark: bool) -> Change:
    name = entity(client.name, number)
    arguments: dict[str, t.Any] = {"entity": name, "caps": _words(client)}
    if client.key_type and present.key_types:
        arguments["key_type"] = client.key_type
    steps = (Command("auth add", arguments), *((marks.put("client", client.name),) if mark else ()))
    after = {"caps": caps.lists(client.caps), "key_type": client.key_type}
    return Change(KIND, name, "create", None, after, f"generation {number}", _PUBLIC, steps)


def _correct(client: Client, present: Present, number: int, *, mark: bool) -> Change:
    user = present.users[entity(client.name, number)]
    step = Command("auth caps", {"entity": user.entity, "caps": _words(client)})
    steps = (step, *((marks.put("client", client.name),) if mark else ()))
    after = {"caps": caps.lists(client.caps), "key_type": user.key_type}
    why = _differs(client, present, number).why()
    return Change(KIND, user.entity, "update", _fields(user), after, why, _PUBLIC, steps)


def _delete(client: Client, present: Present, number: int, why: str) -> Change:
    name = entity(client.name, number)
    steps = (Command("auth del", {"entity": name}),)
    return Change(KIND, name, "delete", _fields(present.users[name]), None, why, _PUBLIC, steps)


def _check_type(client: Client, present: Present, number: int) -> None:
    user = present.users.get(entity(client.name, number))
    if not client.key_type:
        return
    if user is not None and user.key_type and user.key_type != client.key_type:
        raise Refused(
            f"its key is of type {user.key_type}, which never changes.",
            item=client.item,
            rule="client-key-type",
            fix=f"raise generation: the next key can be of type {client.key_type}.",
        )
    known = present.key_types if present.key_types else frozenset({"aes"})
    if user is None and client.key_type not in known:
        raise Refused(
            f"this Ceph can't make keys of type {client.key_type}.",
            item=client.item,
            rule="client-key-type-unknown",
            fix="leave key_type away, or upgrade Ceph: 19.2.6, 20.2.4, 21.2 or newer.",
        )


def rook_made(users_: Iterable[str]) -> dict[str, list[int]]:
    """Return the names of clients that Rook's script may have made, and their generations."""
    bases = ("csi-rbd-node", "csi-rbd-provisioner", "csi-cephfs-node", "csi-cephfs-provisioner", "healthchecker")
    found: dict[str, list[int]] = {}
    names = sorted(users_)
    for user in names:
        name = user_id(user)
        if not name.startswith(bases):
            continue
        base, dot, number = name.rpartition(".")
        if dot and number.isdigit() and generation_of(base, user) is not None:
            name = base
        found[name] = generations(name, names)
    return found
