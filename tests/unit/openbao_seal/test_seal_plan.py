# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Classification, plans and verdicts."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput, Refused
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import seal_plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import (
    Node,
    NodeState,
    Overview,
    Problem,
    classify,
    parse_nodes,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.shares import Share
from hypothesis import given
from hypothesis import strategies as st

SEALED = {"type": "shamir", "initialized": True, "sealed": True, "t": 3, "n": 5, "progress": 0, "nonce": ""}
SEALED |= {"storage_type": "raft", "version": "2.6.2", "migration": False, "recovery_seal": False}


def node(name: str = "a") -> Node:
    return Node(name, f"https://{name}:8200")


def state(name: str = "a", health: int | None = None, **changes: t.Any) -> NodeState:
    return classify(node(name), {**SEALED, **changes}, health)


def down(name: str = "z", hop: str = "refused") -> NodeState:
    return classify(node(name), None, problem=Problem(hop, "no answer."))


def keys(*holders: str) -> list[Share]:
    return [Share(h, Secret(f"{i:02x}" * 33)) for i, h in enumerate(holders, 1)]


@pytest.mark.parametrize(
    ("changes", "health", "expected", "role"),
    [
        ({}, None, "sealed", ""),
        ({"sealed": False}, 200, "unsealed", "active"),
        ({"sealed": False}, 429, "unsealed", "standby"),
        ({"sealed": False}, 473, "unsealed", "standby"),
        ({"sealed": False}, None, "unsealed", ""),
        ({"sealed": False, "type": "awskms", "recovery_seal": True}, 200, "unsealed", "active"),
        ({"initialized": False, "t": 0, "n": 0}, None, "not_initialised", ""),
        ({"t": 0, "n": 0}, None, "not_initialised", ""),
        ({"recovery_seal": True, "type": "transit"}, None, "auto_unseal", ""),
        ({"type": "static"}, None, "auto_unseal", ""),
        ({"migration": True}, None, "migration_pending", ""),
        ({"migration": True, "recovery_seal": True}, None, "migration_pending", ""),
    ],
)
def test_classify(changes: dict[str, t.Any], health: int | None, expected: str, role: str) -> None:
    found = state("a", health, **changes)
    assert (found.state, found.role) == (expected, role)
    assert found.takes_shares == (expected == "sealed")
    assert (found.needed > 0) == (expected == "sealed")


def test_answers_that_are_no_seal_status_are_unreachable() -> None:
    assert classify(node(), {"errors": ["x"]}).state == "unreachable"
    found = down(hop="tls-ca")
    assert found.report()["problem"]["hop"] == "tls-ca"
    assert found.line() == "z: unreachable (tls-ca): no answer."


def test_a_blank_node_is_joining_only_in_an_initialised_cluster() -> None:
    blank = {"initialized": False, "t": 0, "n": 0}
    assert [s.state for s in Overview.of([state("a", **blank), state("b", **blank)]).states] == ["not_initialised"] * 2
    mixed = Overview.of([state("a"), state("b", **blank), down()])
    assert [s.state for s in mixed.states] == ["sealed", "joining", "unreachable"]
    assert mixed.sealed == ["a", "b"]
    assert mixed.quorum == 2


@pytest.mark.parametrize(
    ("unsealed", "sealed", "gone", "storage", "possible"),
    [
        (2, 1, 0, "raft", True),
        (1, 2, 0, "raft", False),
        (2, 0, 1, "raft", True),
        (1, 0, 2, "raft", False),
        (1, 2, 0, "consul", True),
    ],
)
def test_majority(unsealed: int, sealed: int, gone: int, storage: str, possible: bool) -> None:
    states = [state(f"u{i}", 429, sealed=False, storage_type=storage) for i in range(unsealed)]
    states += [state(f"s{i}", storage_type=storage) for i in range(sealed)] + [down(f"d{i}") for i in range(gone)]
    overview = Overview.of(states)
    assert overview.leader_possible is possible
    assert bool(overview.blockers()) is not possible
    for one in states:
        assert possible or one.state == "unsealed" or one.name in overview.blockers()


@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=5),
    st.lists(st.sampled_from(["ada", "bo", "cleo", "dan", "eve"]), unique=True, max_size=5),
    st.sampled_from(["resume", "reset"]),
)
def test_plan_never_sends_more_than_needed(
    nodes: list[tuple[int, bool]], holders: list[str], policy: seal_plan.OnProgress
) -> None:
    states = [
        state(f"n{i}", 429, sealed=s, progress=p if s else 0, nonce="x" if p else "") for i, (p, s) in enumerate(nodes)
    ]
    overview = Overview.of(states)
    rounds = seal_plan.plan_round(overview, holders, policy, True)
    assert [n.node for n in rounds.nodes] == [s.name for s in states if s.state == "sealed"]
    for one in rounds.nodes:
        before = next(s for s in states if s.name == one.node)
        counted = 0 if one.reset else before.progress
        assert counted + len(one.holders) <= 3
        assert one.missing == max(3 - counted - len(holders), 0)
        assert one.reset == (policy == "reset" and before.progress > 0)
    plan = rounds.plan(overview)
    assert plan.changed == any(n.reset or n.holders for n in rounds.nodes)
    assert len(plan.diff()) == len(plan.changes)


@pytest.mark.parametrize(
    ("states", "policy", "partial", "rule"),
    [
        ([state(migration=True)], "resume", True, "migration-pending"),
        ([state(initialized=False, t=0), down()], "resume", True, "not-initialised"),
        ([state(progress=1, nonce="x")], "fail", True, "progress-by-others"),
        ([state()], "resume", False, "shares-missing"),
    ],
)
def test_refused_before_anything_is_sent(
    states: list[NodeState], policy: seal_plan.OnProgress, partial: bool, rule: str
) -> None:
    with pytest.raises(Refused) as error:
        seal_plan.plan_round(Overview.of(states), ["ada"], policy, partial)
    assert error.value.rule == rule


@pytest.mark.parametrize(
    ("before", "http", "after", "again", "verdict"),
    [
        (state(), 200, state(progress=1, nonce="x"), False, "counted"),
        (state(), 200, state(progress=2, nonce="x"), False, "counted"),
        (state(progress=1, nonce="x"), 200, state(progress=2, nonce="x"), False, "counted"),
        (state(progress=1, nonce="x"), 200, state(progress=1, nonce="x"), False, "duplicate"),
        (state(progress=1, nonce="x"), 200, state(progress=1, nonce="y"), False, "reset"),
        (state(progress=1, nonce="x"), 200, state(progress=1, nonce="y"), True, "restarted"),
        (state(progress=2, nonce="x"), 200, state(sealed=False), False, "unsealed"),
        (state(progress=2, nonce="x"), 200, state(), False, "pending"),
        (state(progress=2, nonce="x"), 400, state(), False, "wrong"),
        (state(progress=1, nonce="x"), 400, state(progress=1, nonce="x"), False, "refused"),
        (state(progress=1, nonce="x"), 307, state(progress=1, nonce="x"), False, "refused"),
        (state(progress=1, nonce="x"), None, state(progress=2, nonce="x"), False, "counted"),
        (state(progress=1, nonce="x"), None, state(progress=1, nonce="x"), False, "lost"),
        (state(progress=1, nonce="x"), None, state(), False, "restarted"),
        (state(), None, state(), False, "lost"),
        (state(), None, down(), False, "lost"),
        (state(progress=2, nonce="x"), None, state(sealed=False), False, "unsealed"),
        (state(progress=2, nonce="x"), 400, state(sealed=False), False, "unsealed"),
    ],
)
def test_interpret(before: NodeState, http: int | None, after: NodeState, again: bool, verdict: str) -> None:
    assert seal_plan.interpret(before, http, after, reconnected=again) == verdict


def test_track_sends_each_share_once_and_again_after_a_restart() -> None:
    track, have = seal_plan.Track("a"), keys("ada", "bo", "cleo")
    now = state()
    assert track.wants_round(now, 2)
    track.begin(now)
    for count, share in enumerate(have, 1):
        assert track.next_share(have, now) is share
        now = state(progress=count, nonce="x") if count < 3 else state(sealed=False)
        track.note(share.holder, "counted" if count < 3 else "unsealed", now)
    assert track.next_share(have, now) is None
    assert not track.wants_round(now, 2)
    restarted = state()
    assert track.wants_round(restarted, 2)
    track.begin(restarted)
    assert track.next_share(have, restarted) is have[0]
    track.note("ada", "counted", state(progress=1, nonce="y"))
    assert not track.wants_round(state(), 2)


def test_wrong_share_is_named_as_far_as_can_be_known() -> None:
    alone = seal_plan.wrong_share(seal_plan.Track("a"), "ada", state(t=1, n=1))
    assert "the unseal share of ada is wrong" in str(alone)
    track = seal_plan.Track("a", round=["ada", "bo"])
    assert "of ada, bo and cleo is wrong" in str(seal_plan.wrong_share(track, "cleo", state(progress=2)))
    last = seal_plan.wrong_share(seal_plan.Track("a"), "cleo", state(progress=2))
    assert "the unseal share of cleo completed 2 sent by others" in str(last)
    assert last.data == {"suspects": ["cleo"], "foreign_shares": 2}


def test_outcome_names_the_last_holder_in_the_command() -> None:
    overview = Overview.of([state(progress=2, nonce="x")])
    one = seal_plan.outcome(overview, 1, ["ada", "bo"], ["ada", "bo", "cleo"], "unseal HOLDER")
    assert one.next_command == "unseal cleo"
    assert one.summary()[-2:] == ["still needed: 1 unseal share(s) from cleo", "next command: unseal cleo"]
    done = seal_plan.outcome(Overview.of([state(sealed=False)]), 0, ["ada"], ["ada", "bo"], "unseal HOLDER")
    assert done.next_command == ""


def test_end_of_a_run() -> None:
    led = Overview.of([state("a", 200, sealed=False), state("b", 429, sealed=False), down("c", "timeout")])
    warnings = seal_plan.check_outcome(led, enough=True, waited=True, require="active")
    assert warnings == ["c: unreachable (timeout): no answer."]
    with pytest.raises(seal_plan.UnsealError) as error:
        seal_plan.check_outcome(led, enough=True, waited=True, require="all")
    assert error.value.rule == "not-all"
    split = Overview.of([state("a", 429, sealed=False), down("b"), down("c")])
    with pytest.raises(seal_plan.UnsealError, match=r"b \(unreachable, refused\), c"):
        seal_plan.check_outcome(split, enough=True, waited=True, require="active")
    assert len(seal_plan.check_outcome(split, enough=False, waited=True, require="active")) == 2
    other = Overview.of([state("a", 200, sealed=False, cluster_id="1"), state("b", 429, sealed=False, cluster_id="2")])
    assert "different clusters" in seal_plan.check_outcome(other, enough=True, waited=True, require="active")[0]


@pytest.mark.parametrize(
    ("names", "known", "rule"), [(["ada", "ada"], [], "unique-holder"), (["mallory"], ["ada", "bo"], "known-holder")]
)
def test_holders(names: list[str], known: list[str], rule: str) -> None:
    with pytest.raises(InvalidInput) as error:
        seal_plan.check_holders(names, known)
    assert error.value.rule == rule
    seal_plan.check_holders(["ada"], known and ["ada"])


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        ([], "no-nodes"),
        ([{"name": "a", "url": "https://a:1"}, {"name": "a", "url": "https://b:1"}], "unique-name"),
        ([{"name": "a", "url": "https://a:1"}, {"name": "b", "url": "https://A:1/"}], "unique-url"),
    ],
)
def test_nodes(raw: list[dict[str, t.Any]], rule: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_nodes(raw)
    assert error.value.rule == rule
