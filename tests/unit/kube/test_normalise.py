# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantities, durations, and what counts as the same value."""

from __future__ import annotations

import base64
import json
import typing as t
from fractions import Fraction

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._kube import normalise
from hypothesis import given
from hypothesis import strategies as st

SUFFIXES = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1000m", "1"),
        ("1000m", 1),
        (0.1, "100m"),
        ("1024Mi", "1Gi"),
        ("1e3", "1k"),
        ("1.5Gi", "1536Mi"),
        ("60s", "1m0s"),
        ("1.5h", "1h30m0s"),
        ("90m", "1h30m"),
        ("0", "0s"),
        (80, 80),
    ],
)
def test_the_same_in_another_notation(left: object, right: object) -> None:
    assert normalise.same_scalar(left, right)
    assert normalise.same_scalar(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [("1", "2"), (True, 1), ("true", True), (None, 0), ("", 0), ("1Gi", "1G"), ("1m", "1s"), ("a", "b"), ("0x10", 16)],
)
def test_different_values(left: object, right: object) -> None:
    assert not normalise.same_scalar(left, right)
    assert not normalise.same_scalar(right, left)


@pytest.mark.parametrize("text", ["", " 1", "1 ", "1Kib", "one", "--1", "1ee3", "1mm", "Gi", ".", "1m\n", float("nan")])
def test_no_quantity(text: object) -> None:
    assert normalise.quantity(text) is None


@given(st.integers(-(10**12), 10**12), st.sampled_from(SUFFIXES))
def test_suffixes_scale(number: int, suffix: str) -> None:
    unit = normalise.quantity(f"1{suffix}")
    assert unit is not None
    assert normalise.quantity(f"{number}{suffix}") == number * unit


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=3))
def test_thousandths_are_exact(number: t.Any) -> None:
    assert normalise.quantity(f"{number}") == normalise.quantity(f"{int(number * 1000)}m") == Fraction(number)


@given(st.integers(0, 10**6))
def test_durations_add_up(seconds: int) -> None:
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    assert normalise.duration(f"{hours}h{minutes}m{left}s") == normalise.duration(f"{seconds}s") == seconds * 10**9


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    normalise.quantity(text)
    normalise.duration(text)
    assert normalise.same_scalar(text, text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_everything_covers_itself(value: t.Any) -> None:
    assert normalise.covered(value, json.loads(json.dumps(value)))


@given(st.dictionaries(st.text(max_size=4), st.integers(), min_size=1), st.text(min_size=5, max_size=6))
def test_defaults_of_the_server_do_not_count_and_losses_do(value: dict[str, int], extra: str) -> None:
    assert normalise.covered(value, {**value, extra: 1})
    assert not normalise.covered({**value, extra: 1}, value)


def test_what_only_the_server_writes_is_left_out() -> None:
    source = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "creationTimestamp": None, "uid": "x", "labels": None, "managedFields": []},
        "status": {"replicas": 1},
    }
    body = normalise.wanted_body(source, secret=False, drop_status=True)
    assert body == {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}}
    assert source["metadata"]["uid"] == "x"  # type: ignore[index]
    assert "status" in normalise.wanted_body(source, secret=False, drop_status=False)


def test_string_data_is_folded_into_data() -> None:
    source = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a"},
        "data": {"a": "b2xk", "b": "Yg=="},
        "stringData": {"a": "n\u00e4w"},
    }
    body = normalise.wanted_body(source, secret=True, drop_status=False)
    assert "stringData" not in body
    assert body["data"] == {"a": base64.b64encode("n\u00e4w".encode()).decode(), "b": "Yg=="}


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert normalise.digest({"a": 1, "b": {"c": 2, "d": 3}}) == normalise.digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert normalise.digest({"a": [1, 2]}) != normalise.digest({"a": [2, 1]})
