# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notations of one value are one value."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.fields import (
    Field,
    body,
    canonical,
    differing,
    parse_fields,
    seconds,
    server_fields,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.mount_model import (
    AUTH_TUNE,
    COLLECTIONS,
    CONFIGS,
)
from hypothesis import given
from hypothesis import strategies as st

TABLES = {
    "auth tune": AUTH_TUNE,
    **{f"config {k}": v for k, v in CONFIGS.items()},
    **{f"entry {k}": v.table for k, v in COLLECTIONS.items()},
}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("1h", 3600),
        ("60m", 3600),
        ("3600", 3600),
        (3600, 3600),
        ("1h0m0s", 3600),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("720h0m0s", 2_592_000),
        ("1000ms", 1),
        ("-1", -1),
        ("-1s", -1),
        (" 5M ", 300),
        ("0s", 0),
    ],
)
def test_durations(text: t.Any, want: int) -> None:
    assert seconds(text, item="x") == want


@pytest.mark.parametrize("text", ["", "h1", "1x", "1h30", "0.5s", "1 h", "--1", "1e3s", "٣s", True, None])
def test_no_durations(text: t.Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        seconds(text, item="ttl")
    assert (caught.value.rule, caught.value.item) == ("duration", "ttl")


@given(days=st.integers(0, 400), hours=st.integers(0, 99), minutes=st.integers(0, 99), rest=st.integers(0, 99))
def test_every_notation_of_a_duration_is_the_same(days: int, hours: int, minutes: int, rest: int) -> None:
    total = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    assert seconds(f"{days}d{hours}h{minutes}m{rest}s", item="x") == total
    assert seconds(f"{days * 24 + hours}h{minutes}m{rest}s", item="x") == total
    assert seconds(str(total), item="x") == seconds(f"{total}s", item="x") == seconds(total, item="x") == total
    assert seconds(f"-{total}s", item="x") == -total


@given(values=st.lists(st.sampled_from(["a", "b", "c", "dd"])))
def test_order_and_repetition_of_a_set_do_not_matter(values: list[str]) -> None:
    field = Field("set")
    forward, backward = canonical(values, field, item="x"), canonical(values[::-1] + values, field, item="x")
    assert forward == backward == sorted(set(values))
    assert canonical(",".join(values), field, item="x") == forward


@given(st.ip_addresses().map(str))
def test_a_single_address_has_one_notation(address: str) -> None:
    length = 128 if ":" in address else 32
    field = Field("cidrs")
    assert canonical([address], field, item="x") == canonical([f"{address}/{length}"], field, item="x")


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_defaults_are_canonical_and_equal_to_nothing(table: dict[str, Field]) -> None:
    """What an empty declaration means is what a server that reports nothing has."""
    empty = parse_fields({}, table, item="x")
    assert empty == parse_fields(empty, table, item="x")
    assert differing({}, empty, table, item="x") == []
    assert body(empty, table) == {}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_complete_update_names_every_field_the_server_has(table: dict[str, Field]) -> None:
    empty = parse_fields({}, table, item="x")
    have = server_fields(empty, table)
    assert set(body(empty, table, have=have)) == {n for n, f in table.items() if f.shown and not f.fixed}


def test_an_unknown_field_gets_a_suggestion() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_fields({"token_policy": ["a"]}, COLLECTIONS["userpass"].table, item="users[0] (ada)")
    assert (caught.value.rule, caught.value.fix) == ("unknown-field", "did you mean token_policies?")


def test_a_field_the_server_does_not_know_is_an_error_not_a_loop() -> None:
    table = {"a": Field(), "b": Field("bool")}
    with pytest.raises(InvalidInput) as caught:
        differing({"a": "x"}, {"a": "x", "b": True}, table, item="role r")
    assert (caught.value.rule, caught.value.item) == ("field-unknown-to-server", "role r.b")


def test_nonsense_of_a_server_differs_and_does_not_fail() -> None:
    table = {"ttl": Field("duration"), "type": Field(choices=("a",))}
    have = server_fields({"ttl": "soon", "type": "z"}, table)
    assert differing(have, parse_fields({"type": "a"}, table, item="x"), table, item="x") == ["ttl", "type"]


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        (Field("bool"), "maybe", "type"),
        (Field("int"), "many", "type"),
        (Field("set"), [{}], "type"),
        (Field("map"), [], "type"),
        (Field("str"), [], "type"),
        (Field("str"), True, "type"),
        (Field("cidrs"), ["10.0.0.0/99"], "cidr"),
        (Field("pem"), "MIIB", "pem"),
        (Field("pem"), "-----BEGIN RSA PRIVATE KEY-----\nx", "private-key"),
        (Field("str", choices=("a", "b")), "c", "choice"),
    ],
)
def test_wrong_values(field: Field, value: t.Any, rule: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        canonical(value, field, item="x")
    assert caught.value.rule == rule
