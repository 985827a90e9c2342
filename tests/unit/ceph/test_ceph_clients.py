# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of Ceph: generations, exclusive caps, what is retired when, what is refused."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import clients, clients_plan, marks
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.apply import DONE, apply
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.ports import Answer, Command
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, Refused
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Change, Plan

from tests.ceph_answers import MONMAP, session

CAPS: t.Final = types.MappingProxyType({"mon": "profile rbd", "osd": "profile rbd pool=p namespace=n"})
OURS = marks.Marks({("client", "x"): {}})


def present(*names: str, marks_: marks.Marks = OURS, texts: t.Mapping[str, str] = CAPS, **more: t.Any) -> t.Any:
    users = {name: clients.User(name, texts, "aes") for name in names}
    return clients_plan.Present(users, marks_, **more)


def plan(there: t.Any, *, adopt: bool = False, **declared: t.Any) -> tuple[Plan, clients_plan.State]:
    made, states = clients_plan.plan(there, clients.parse([{"name": "x", "caps": CAPS, **declared}]), adopt=adopt)
    return made, states[0]


def steps(made: Plan) -> list[tuple[str, t.Any]]:
    return [(step.prefix, step.arguments.get("entity")) for change in made.changes for step in change.payload]


def test_generations_go_by_the_whole_name() -> None:
    users = ["client.vm-prod", "client.vm-prod.2", "client.vm-prod2.7", "client.vm-prod.old", "client.vm-prod.02"]
    assert clients.generations("vm-prod", users) == [0, 2]
    assert clients.generations("vm-prod2", users) == [7]
    assert clients.entity("client.a", 3) == "client.a.3"
    assert clients.user_id("client.a.3") == "a.3"


def test_a_new_client_is_made_and_marked() -> None:
    made, state = plan(present(marks_=marks.Marks({})))
    assert steps(made) == [("auth add", "client.x"), ("config-key set", None)]
    assert made.changes[0].payload[0].arguments["caps"] == ["mon", CAPS["mon"], "osd", CAPS["osd"]]
    assert state.report()["entity"] == "client.x"
    assert state.report()["user_id"] == "x"


def test_nothing_to_do() -> None:
    shuffled = {"osd": "profile rbd namespace=n pool=p", "mon": " allow profile rbd"}
    made, state = plan(present("client.x", "client.x.2", texts=shuffled))
    assert not made.changed
    assert made.unchanged == 2
    assert state.current == 2


def test_caps_are_repaired_in_every_generation_that_stays() -> None:
    made, _state = plan(present("client.x", "client.x.1", texts={"mon": "allow *"}), generation=1)
    assert steps(made) == [("auth caps", "client.x"), ("auth caps", "client.x.1")]
    assert "mon - allow *" in made.changes[0].why


def test_the_next_generation_is_made_next_to_the_others() -> None:
    made, state = plan(present("client.x"), generation=1)
    assert steps(made) == [("auth add", "client.x.1")]
    assert state.generations == [0, 1]


def test_a_generation_that_went_back_stays_back() -> None:
    made, state = plan(present("client.x.1", "client.x.2"), generation=1)
    assert not made.changed
    assert state.current == 1


def test_what_nobody_uses_is_retired() -> None:
    there = present("client.x", "client.x.1", "client.x.2", sessions={"client.x": ["node-1 (192.0.2.50)"]})
    made, state = plan(there, generation=2, retire="unused")
    assert steps(made) == [("auth del", "client.x.1")]
    assert state.report()["in_use"] == {"client.x": ["node-1 (192.0.2.50)"]}
    assert state.report()["generations"] == [0, 2]


def test_what_is_to_be_kept_stays() -> None:
    there = present("client.x", "client.x.1", "client.x.2", sessions={})
    made, state = plan(there, generation=2, retire="unused", keep=[1])
    assert steps(made) == [("auth del", "client.x")]
    assert state.retired == [0]


def test_retired_in_any_case() -> None:
    made, _state = plan(present("client.x", "client.x.1", "client.x.5"), generation=1, retire="always")
    assert steps(made) == [("auth del", "client.x"), ("auth del", "client.x.5")]


def test_nothing_is_retired_for_a_generation_that_nobody_has() -> None:
    with pytest.raises(Refused) as caught:
        plan(present("client.x", sessions={}), generation=1, retire="unused")
    assert caught.value.rule == "client-retire-early"


def test_nothing_is_retired_unless_all_monitors_answer() -> None:
    with pytest.raises(Refused) as caught:
        plan(present("client.x", "client.x.1"), generation=1, retire="unused")
    assert caught.value.rule == "client-sessions"


@pytest.mark.parametrize("generation", [0, 1])
def test_users_of_others_are_refused_until_they_are_adopted(generation: int) -> None:
    there = present("client.x", marks_=marks.Marks({}), texts={"mon": "allow *"})
    with pytest.raises(Refused) as caught:
        plan(there, generation=generation)
    assert (caught.value.rule, caught.value.data["foreign"]) == ("not-ours", ["client.x"])
    made, _state = plan(there, generation=generation, adopt=True)
    assert ("config-key set", None) in steps(made)
    assert ("auth caps", "client.x") in steps(made)


def test_a_user_of_others_that_is_as_wanted_is_left_or_taken_over() -> None:
    there = present("client.x", marks_=marks.Marks({}))
    assert not plan(there)[0].changed
    made, _state = plan(there, adopt=True)
    assert [change.action for change in made.changes] == ["adopt"]


def test_types_of_keys() -> None:
    with pytest.raises(Refused) as caught:
        plan(present("client.x"), key_type="aes256k")
    assert caught.value.rule == "client-key-type"
    with pytest.raises(Refused) as caught:
        plan(present("client.x", key_types=frozenset()), key_type="aes256k", generation=1)
    assert caught.value.rule == "client-key-type-unknown"
    made, _state = plan(present("client.x", key_types=frozenset({"aes", "aes256k"})), key_type="aes256k", generation=1)
    assert made.changes[0].payload[0].arguments["key_type"] == "aes256k"
    made, _state = plan(present(key_types=frozenset()), key_type="aes")
    assert "key_type" not in made.changes[0].payload[0].arguments


def test_absent() -> None:
    wanted = clients.parse([{"name": "x", "state": "absent"}])
    used = present("client.x", "client.x.1", sessions={"client.x.1": ["node-1"]})
    with pytest.raises(Refused) as caught:
        clients_plan.plan(used, wanted, adopt=False)
    assert caught.value.rule == "client-in-use"
    made, _states = clients_plan.plan(present("client.x", "client.x.1", sessions={}), wanted, adopt=False)
    assert steps(made) == [("auth del", "client.x"), ("auth del", "client.x.1"), ("config-key rm", None)]
    made, _states = clients_plan.plan(present(), wanted, adopt=False)
    assert steps(made) == [("config-key rm", None)]
    made, _states = clients_plan.plan(present(marks_=marks.Marks({})), wanted, adopt=False)
    assert not made.changed
    with pytest.raises(Refused) as caught:
        clients_plan.plan(present("client.x", marks_=marks.Marks({}), sessions={}), wanted, adopt=False)
    assert caught.value.rule == "not-ours"


def test_sessions_decide_only_where_something_would_go() -> None:
    users = present("client.x", "client.x.1").users
    keep = clients.parse([{"name": "x", "caps": CAPS, "generation": 1}])
    unused = clients.parse([{"name": "x", "caps": CAPS, "generation": 1, "retire": "unused"}])
    gone = clients.parse([{"name": "x", "state": "absent"}])
    assert not clients_plan.needs_sessions(keep, users)
    assert clients_plan.needs_sessions(unused, users)
    assert clients_plan.needs_sessions(gone, users)
    assert not clients_plan.needs_sessions(gone, {})


def test_reading() -> None:
    key = "AQDJawJrAAAAABAArIS9NH3ZhZXf6uNR5WNP5g=="
    out = {"auth_dump": [{"entity": "client.x", "key": key, "caps": CAPS}]}
    users = clients_plan.users(out)
    assert users["client.x"].key_type == "aes"
    assert key not in repr(users)
    assert clients_plan.key_type("no key") == ""
    assert clients_plan.monitor_names(MONMAP) == ["a", "b", "c"]
    said = [[session("client.x"), session("client.x", "[2001:db8::1]:0", "")], [session("osd.1")], "nonsense"]
    assert clients_plan.sessions(said)["client.x"] == ["[2001:db8::1]", "node-1 (192.0.2.50)"]


def test_which_types_of_keys_can_be_made() -> None:
    old = {"cmd1": {"sig": ["auth", "add", {"name": "entity"}]}}
    choice = {"name": "key_type", "type": "CephChoices", "strings": "aes|aes256k", "req": "false"}
    new = {"cmd0": {"sig": ["auth", "ls"]}, "cmd1": {"sig": ["auth", "add", {"name": "entity"}, choice]}}
    assert clients_plan.makeable(old) == frozenset()
    assert clients_plan.makeable(new) == {"aes", "aes256k"}


def test_users_of_rooks_script() -> None:
    names = ["client.csi-rbd-node", "client.csi-rbd-node.1", "client.csi-rbd-node-prod-vm", "client.other", "osd.1"]
    assert clients_plan.rook_made(names) == {"csi-rbd-node": [0, 1], "csi-rbd-node-prod-vm": [0]}


def test_an_error_says_what_was_done() -> None:
    class Ceph:
        requests = 0

        def run(self, commands: t.Sequence[Command]) -> list[Answer]:
            raise HackspaceError("no", data={DONE: 3})

    changes = [
        Change("Ceph user", name, "create", None, {}, payload=(Command("auth add"), Command("config-key set")))
        for name in ("a", "b", "c")
    ]
    with pytest.raises(HackspaceError) as caught:
        apply(Ceph(), Plan(changes))
    assert caught.value.item == "Ceph user b"
    assert [one["name"] for one in caught.value.data["applied"]] == ["a"]


def test_marks() -> None:
    put = marks.put("subvolume-group", "cephfs/a", {"pin": ["export", "1"]})
    found = marks.parse({put.arguments["key"]: put.arguments["val"], "other": "x", "hackspace.infra/client/y": "?"})
    assert found.has("subvolume-group", "cephfs/a")
    assert found.about("subvolume-group", "cephfs/a") == {"pin": ["export", "1"]}
    assert found.about("client", "y") == {}
    assert not found.has("client", "z")
    assert marks.drop("client", "y").arguments["key"] == "hackspace.infra/client/y"
