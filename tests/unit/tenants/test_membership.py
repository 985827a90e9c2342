# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Membership: what suspends, what never does."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._tenants.membership import (
    Answer,
    Claim,
    Member,
    Rules,
    day,
    from_keycloak,
    judge,
)

TODAY = datetime.date(2026, 11, 21)
RULES = Rules(source="keycloak", grace_days=14, suspend=True, max_suspend=2)


def ago(days: int) -> datetime.date:
    return TODAY - datetime.timedelta(days=days)


def one(claim: Claim, answer: Answer | None, rules: Rules = RULES) -> tuple[str, bool, bool]:
    verdict = judge([claim], answer, rules, TODAY)[0][claim.tenant]
    return verdict.standing, verdict.suspend, verdict.admit


@pytest.mark.parametrize(
    ("claim", "source", "expected"),
    [
        (Claim("a"), "keycloak", ("grace", False, False)),
        (Claim("a", exists=True), "keycloak", ("grace", False, True)),
        (Claim("a", exists=True, since=ago(15)), "keycloak", ("lapsed", True, False)),
        (Claim("a", paid_until=ago(-300), exists=True, since=ago(15)), "keycloak", ("lapsed", True, False)),
        (Claim("a", paid_until=ago(-300), exists=True), "declaration", ("member", False, True)),
        (Claim("a", exists=True, since=ago(15)), "declaration", ("lapsed", True, False)),
        (Claim("club", exists=True, since=ago(15)), "keycloak", ("exempt", False, True)),
        (Claim("a", "ada", exists=True), "keycloak", ("member", False, True)),
    ],
)
def test_who_names_no_member_is_none_where_each_has_to(
    claim: Claim, source: str, expected: tuple[str, bool, bool]
) -> None:
    rules = dataclasses.replace(RULES, source=source, required=True, exempt=frozenset({"club"}))
    answer = Answer({"ada": Member()}) if source == "keycloak" else None
    assert one(claim, answer, rules) == expected


@pytest.mark.parametrize(
    ("claim", "answer", "expected"),
    [
        (Claim("a"), Answer({"x": Member()}), ("exempt", False, True)),
        (Claim("a", "ada", exists=True), Answer({"ada": Member()}), ("member", False, True)),
        (Claim("a", "Ada"), Answer({"ada": Member()}), ("member", False, True)),
        (Claim("a", "ada", exists=True), Answer({"ada": Member(paid_until=ago(3))}), ("grace", False, True)),
        (Claim("a", "ada"), Answer({"ada": Member(paid_until=ago(3))}), ("grace", False, False)),
        (Claim("a", "ada", exists=True), Answer({"ada": Member(paid_until=ago(15))}), ("lapsed", True, False)),
        (
            Claim("a", "ada", grace_days=30, exists=True),
            Answer({"ada": Member(paid_until=ago(15))}),
            ("grace", False, True),
        ),
        (Claim("a", "ada", exists=True), Answer({"ada": Member(enabled=False)}), ("grace", False, True)),
        (
            Claim("a", "ada", exists=True, since=ago(20)),
            Answer({"ada": Member(enabled=False)}),
            ("lapsed", True, False),
        ),
        (Claim("a", "ada", exists=True, since=ago(20)), Answer({"bob": Member()}), ("lapsed", True, False)),
        (Claim("a", "ada", exists=True, since=ago(20)), Answer({}), ("unknown", False, False)),
        (Claim("a", "ada", exists=True), Answer(problem="refused"), ("unknown", False, False)),
        (Claim("a", "ada", exists=True, suspended=True), Answer(problem="refused"), ("unknown", True, False)),
        (Claim("a", "ada"), Answer(problem="refused"), ("unknown", False, False)),
        (Claim("a", paid_until=ago(-3)), None, ("member", False, True)),
        (Claim("a", paid_until=TODAY), None, ("member", False, True)),
        (Claim("a", paid_until=ago(99), exists=True), None, ("lapsed", True, False)),
    ],
)
def test_a_tenant(claim: Claim, answer: Answer | None, expected: tuple[str, bool, bool]) -> None:
    assert one(claim, answer) == expected


def test_suspending_is_opt_in_and_what_is_suspended_stays_so() -> None:
    calm = Rules(source="keycloak", suspend=False)
    gone = Answer({"bob": Member()})
    assert one(Claim("a", "ada", exists=True, since=ago(90)), gone, calm) == ("lapsed", False, False)
    assert one(Claim("a", "ada", exists=True, since=ago(90), suspended=True), gone, calm) == ("lapsed", True, False)


def test_more_than_the_cap_suspends_none_of_them_but_keeps_those_that_are() -> None:
    claims = [Claim(name, name, exists=True, since=ago(90), suspended=name == "d") for name in "abcd"]
    verdicts, warnings = judge(claims, Answer({"x": Member()}), RULES, TODAY)
    assert {name: v.suspend for name, v in verdicts.items()} == {"a": False, "b": False, "c": False, "d": True}
    assert "membership-cap" in warnings[0]
    verdicts, warnings = judge(claims[1:], Answer({"x": Member()}), RULES, TODAY)
    assert [v.suspend for v in verdicts.values()] == [True, True, True]
    assert warnings == []


def test_the_day_of_the_first_look_is_recorded_where_the_source_has_none() -> None:
    verdict = judge([Claim("a", "ada", exists=True)], Answer({"b": Member()}), RULES, TODAY)[0]["a"]
    assert verdict.since == TODAY
    verdict = judge([Claim("a", "ada", exists=True, since=ago(5))], Answer({"b": Member()}), RULES, TODAY)[0]["a"]
    assert verdict.since == ago(5)
    verdict = judge([Claim("a", "ada", exists=True, since=ago(5))], Answer({"ada": Member()}), RULES, TODAY)[0]["a"]
    assert verdict.since is None


def test_users_of_keycloak() -> None:
    users: list[dict[str, t.Any]] = [
        {"id": "1", "username": "Ada", "enabled": True, "attributes": {"paid_until": ["2026-12-31"]}},
        {"id": "2", "username": "bob", "enabled": False},
        {"id": "3", "username": "eve", "attributes": {"paid_until": ["soon"]}},
        {"id": "4"},
    ]
    members, warnings = from_keycloak(users, key="username", attribute="paid_until")
    assert members == {
        "ada": Member(paid_until=datetime.date(2026, 12, 31)),
        "bob": Member(enabled=False),
        "eve": Member(),
    }
    assert len(warnings) == 1
    assert "eve" in warnings[0]


def test_days() -> None:
    assert day("2026-01-31T10:00:00Z", "x") == datetime.date(2026, 1, 31)
    assert day(datetime.datetime(2026, 1, 31, 5), "x") == datetime.date(2026, 1, 31)
    with pytest.raises(InvalidInput, match="date"):
        day("31.1.2026", "x")
