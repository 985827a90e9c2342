# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotation: both generations work until the new one is delivered and the old one unused, wherever a run is cut off."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._rook import model, rotation
from ansible_collections.hackspace.infra.plugins.module_utils._rook.rotation import Sessions

NOBODY = Sessions(frozenset(), complete=True)


def consumer(generation: int, keep: int = 0, name: str = "prod") -> model.Consumer:
    block = [{"storage_class": "b", "pool": "vm"}]
    key = {"generation": generation, "keep": keep}
    return model.parse({"consumers": [{"cluster": name, "block": block, "key": key}]}).consumers[0]


def users(one: model.Consumer, *generations: int) -> list[str]:
    return [one.entity(role, number) for role in one.roles for number in generations]


def at(one: model.Consumer, generation: int) -> dict[str, str]:
    return {role: one.entity(role, generation) for role in one.roles}


def fates(made: rotation.Rotation) -> set[str]:
    return {old.fate for old in made.old}


def test_first_it_is_made() -> None:
    one = consumer(1)
    made = rotation.plan(one, users(one, 0), delivered=at(one, 0), sessions=NOBODY)
    assert made.mint == tuple(one.entity(role) for role in one.roles)
    assert fates(made) == {rotation.WAITING}
    assert rotation.retirable([made]) == []


def test_a_run_cut_off_between_making_and_delivering_goes_on_with_delivering() -> None:
    one = consumer(1)
    made = rotation.plan(one, users(one, 0, 1), delivered=at(one, 0), sessions=NOBODY)
    assert (made.mint, made.deliver) == ((), one.roles)
    assert fates(made) == {rotation.WAITING}


def test_a_half_delivered_one_waits() -> None:
    one = consumer(1)
    half = {**at(one, 1), "rbd-node": one.entity("rbd-node", 0)}
    made = rotation.plan(one, users(one, 0, 1), delivered=half, sessions=NOBODY)
    assert made.deliver == ("rbd-node",)
    assert {old.role: old.fate for old in made.old} == {
        "health": rotation.RETIRE,
        "rbd-node": rotation.WAITING,
        "rbd-provisioner": rotation.RETIRE,
    }
    assert rotation.retirable([made]) == []


@pytest.mark.parametrize(
    ("sessions", "why"),
    [
        (None, "nobody has asked"),
        (Sessions(frozenset({"client.k8s-prod-rbd-node"}), complete=True), "drain the nodes"),
        (Sessions(frozenset(), complete=False), "not every monitor"),
    ],
)
def test_what_may_be_in_use_stays(sessions: Sessions | None, why: str) -> None:
    one = consumer(1)
    made = rotation.plan(one, users(one, 0, 1), delivered=at(one, 1), sessions=sessions)
    node = next(old for old in made.old if old.role == "rbd-node")
    assert node.fate == rotation.WAITING
    assert why in node.why


def test_what_nobody_uses_goes_and_what_is_told_goes() -> None:
    one = consumer(1)
    made = rotation.plan(one, users(one, 0, 1), delivered=at(one, 1), sessions=NOBODY)
    assert fates(made) == {rotation.RETIRE}
    assert rotation.retirable([made]) == ["prod"]
    told = rotation.plan(one, users(one, 0, 1), delivered=at(one, 1), sessions=None, told=True)
    assert fates(told) == {rotation.RETIRE}
    done = rotation.plan(one, users(one, 1), delivered=at(one, 1), sessions=NOBODY)
    assert done.done
    assert not made.done


def test_kept_generations_stay_and_going_back_is_sticky() -> None:
    """X10: after going back, Rook's script takes the highest generation again."""
    one = consumer(1, keep=1)
    made = rotation.plan(one, users(one, 0, 1, 2), delivered=at(one, 1), sessions=NOBODY)
    by_entity = {old.entity: old.fate for old in made.old}
    assert by_entity["client.k8s-prod-rbd-node"] == rotation.KEPT
    assert by_entity["client.k8s-prod-rbd-node.2"] == rotation.RETIRE
    assert made.mint == ()


def test_other_consumers_generations_are_not_ours() -> None:
    """X7: Rook's script goes by the beginning of names, and stops at a suffix that is no number."""
    one, other = consumer(0), consumer(4, name="prod2")
    strange = ["client.k8s-prod-rbd-node.old", "client.k8s-prod-rbd-node2.3", "client.k8s-prod-rbd-node.1.1"]
    made = rotation.plan(one, [*users(one, 0), *users(other, 4), *strange], delivered=at(one, 0), sessions=NOBODY)
    assert made.done
    assert made.old == ()


def test_every_point_at_which_a_run_may_end_leads_on() -> None:
    """Whatever exists and is delivered, doing what is said comes to an end, never without a working key."""
    for minted in ((0,), (0, 1)):
        for delivered in (0, 1):
            if delivered not in minted:
                continue
            one = consumer(1)
            there, has = set(users(one, *minted)), at(one, delivered)
            for _step in range(4):
                made = rotation.plan(one, there, delivered=has, sessions=NOBODY)
                assert set(has.values()) <= there
                if made.mint:
                    there |= set(made.mint)
                elif made.deliver:
                    has = has | {role: one.entity(role) for role in made.deliver}
                else:
                    there -= {old.entity for old in made.old if old.fate == rotation.RETIRE}
            assert rotation.plan(one, there, delivered=has, sessions=NOBODY).done


def test_a_report_has_plain_values() -> None:
    one = consumer(1)
    made = rotation.plan(one, users(one, 0, 1), delivered=at(one, 1), sessions=NOBODY)
    line: dict[str, t.Any] = made.old[0].as_dict()
    assert line == {
        "consumer": "prod",
        "role": "health",
        "entity": "client.k8s-prod-health",
        "fate": "retire",
        "why": "nobody is connected by it",
    }
