# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan, Change, errors, redaction and pruning: what everything else is built on."""

from __future__ import annotations

import json
import pickle
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import (
    HackspaceError,
    InvalidInput,
    Refused,
    check,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import DESTRUCTIVE, Change, Plan
from ansible_collections.hackspace.infra.plugins.module_utils._core.prune import check_prune
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import (
    HIDDEN,
    HIDDEN_CHANGED,
    Secret,
    fingerprint,
    redact_fields,
)
from hypothesis import given
from hypothesis import strategies as st

Fields = dict[str, t.Any]
FIELDS = st.dictionaries(
    st.text("abc", min_size=1, max_size=2), st.integers() | st.text("secret-xyz", min_size=8), max_size=4
)


# -- errors --------------------------------------------------------------------------------------------------------


def test_error_names_item_rule_and_fix() -> None:
    error = HackspaceError(
        "is wrong.", item="list[2].name", rule="unique-name", fix="rename it.", status=400, data={"a": 1}
    )
    assert str(error) == "list[2].name: is wrong. [unique-name] Fix: rename it."
    assert error.as_fail() == {
        "a": 1,
        "msg": str(error),
        "error": {"item": "list[2].name", "rule": "unique-name", "fix": "rename it.", "status": 400},
    }


def test_error_without_data_is_its_message() -> None:
    assert str(HackspaceError("is wrong.")) == "is wrong."


def test_error_data_cannot_replace_the_message() -> None:
    assert HackspaceError("real", data={"msg": "other", "error": "x"}).as_fail()["msg"] == "real"


@pytest.mark.parametrize("wrong", [0, "", None, [], False])
def test_check_raises_on_anything_false(wrong: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(wrong, "no.", item="x", rule="r", fix="f.")
    assert (caught.value.item, caught.value.rule, caught.value.fix) == ("x", "r", "f.")


def test_check_passes_what_is_true() -> None:
    check([0], "no.", item="x", rule="r")


# -- redaction -----------------------------------------------------------------------------------------------------


def test_secret_is_not_shown_by_any_usual_way() -> None:
    secret = Secret("correct horse")
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>40}",
        repr([secret]),
        repr({"a": secret}),
    ]
    assert all("horse" not in text for text in shown)
    assert secret.reveal() == "correct horse"
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert not hasattr(secret, "__dict__")


def test_secrets_compare_by_value_and_with_secrets_only() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")


def test_fingerprint_is_stable_and_short() -> None:
    assert fingerprint("abc") == fingerprint(b"abc") == "ba7816bf8f01"


@given(FIELDS, FIELDS, st.sets(st.text("abc", min_size=1, max_size=2)))
def test_redaction_shows_public_values_only(before: Fields, after: Fields, public: set[str]) -> None:
    old, new = redact_fields(before, after, public)
    assert set(old) == set(before)
    assert set(new) == set(after)
    for key in set(before) | set(after):
        if key in public:
            assert old.get(key) == before.get(key)
            assert new.get(key) == after.get(key)
            continue
        if key in before:
            assert old[key] == HIDDEN
        if key in after:
            same = key in before and before[key] == after[key]
            assert new[key] == (HIDDEN if same else HIDDEN_CHANGED)


def test_absent_is_an_empty_side_of_the_diff() -> None:
    assert redact_fields(None, {"a": 1}, {"a"}) == ({}, {"a": 1})
    assert redact_fields({"a": 1}, None, ()) == ({"a": HIDDEN}, {})


# -- plan ----------------------------------------------------------------------------------------------------------


def _change(name: str = "one", **more: t.Any) -> Change:
    fields: dict[str, t.Any] = {
        "before": {"ttl": 1, "password": "hunter2hunter2"},
        "after": {"ttl": 2, "password": "correct horse"},
        "why": "ttl differs",
        "public": frozenset({"ttl"}),
        "payload": {"password": "correct horse"},
    }
    return Change("user", name, **{"action": "update", **fields, **more})


def test_nothing_a_change_shows_has_a_hidden_value() -> None:
    plan = Plan([_change()], unchanged=3, foreign=["b", "a"])
    for shown in (json.dumps(plan.result()), repr(plan), str(plan.changes)):
        assert "horse" not in shown
        assert "hunter2" not in shown


def test_result_has_what_every_module_returns() -> None:
    result = Plan([_change()], unchanged=3, foreign=["b", "a"]).result()
    assert result["changed"] is True
    assert result["changes"] == [{"kind": "user", "name": "one", "action": "update", "why": "ttl differs"}]
    assert result["unchanged"] == 3
    assert result["foreign"] == ["a", "b"]
    assert result["diff"] == [
        {
            "before_header": "user one",
            "after_header": "user one (update: ttl differs)",
            "before": {"ttl": 1, "password": HIDDEN},
            "after": {"ttl": 2, "password": HIDDEN_CHANGED},
        }
    ]


def test_empty_plan_changes_nothing() -> None:
    result = Plan(unchanged=2, foreign=["x"], warnings=["w"]).result()
    assert (result["changed"], result["changes"], result["diff"]) == (False, [], [])


def test_order_survives_joining() -> None:
    first, second = Plan([_change("a")], 1, ["f"], ["w"]), Plan([_change("b")], 2, ["g"], ["v"])
    second.add(_change("c", action="delete"))
    first.extend(second)
    assert [change.name for change in first.changes] == ["a", "b", "c"]
    assert (first.unchanged, first.foreign, first.warnings) == (3, ["f", "g"], ["w", "v"])
    assert [change.name for change in first.of("delete")] == ["c"]
    assert {"delete", "reset"} == DESTRUCTIVE


def test_payload_takes_no_part_in_comparison() -> None:
    assert _change(payload={"a": 1}) == _change(payload={"a": 2})


# -- prune ---------------------------------------------------------------------------------------------------------


def _prune(doomed: int, owned: int, *, desired: int = 1, percent: int = 20) -> None:
    check_prune(
        item="things", doomed=[f"t{n}" for n in range(doomed)], desired=desired, owned=owned, max_percent=percent
    )


@pytest.mark.parametrize(("doomed", "owned", "percent"), [(0, 0, 0), (1, 1, 0), (1, 2, 20), (2, 10, 20), (9, 9, 100)])
def test_prune_within_the_cap(doomed: int, owned: int, percent: int) -> None:
    _prune(doomed, owned, percent=percent)


@pytest.mark.parametrize(("doomed", "owned", "percent"), [(2, 9, 20), (2, 2, 99), (2, 1000, 0), (21, 100, 20)])
def test_prune_above_the_cap_is_refused(doomed: int, owned: int, percent: int) -> None:
    with pytest.raises(Refused) as caught:
        _prune(doomed, owned, percent=percent)
    assert caught.value.rule == "prune-cap"
    assert len(caught.value.data["would_delete"]) == doomed


def test_empty_list_never_prunes() -> None:
    with pytest.raises(Refused) as caught:
        _prune(1, 100, desired=0, percent=100)
    assert caught.value.rule == "prune-empty"


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 100))
def test_cap_is_a_share_of_what_is_ours(doomed: int, more: int, percent: int) -> None:
    owned = doomed + more
    allowed = doomed <= 1 or doomed / owned <= percent / 100 + 1e-12
    try:
        _prune(doomed, owned, percent=percent)
    except Refused:
        assert not allowed
    else:
        assert allowed
