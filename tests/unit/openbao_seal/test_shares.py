# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoding and telling apart of unseal shares."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import shares
from hypothesis import given
from hypothesis import strategies as st

KEYS = st.binary(min_size=shares.MIN_BYTES, max_size=shares.MAX_BYTES)
SPACE = st.sampled_from(["", " ", "\n", "\t \r\n", "# a comment\n"])


def notations(raw: bytes) -> list[str]:
    return [raw.hex(), raw.hex().upper(), base64.b64encode(raw).decode()]


@given(KEYS, SPACE, st.integers(0, 2))
def test_every_notation_decodes_to_the_same_bytes(raw: bytes, space: str, which: int) -> None:
    assert shares.decode(space + notations(raw)[which] + "\n", item="x") == raw


@given(KEYS, st.permutations([0, 1, 2]))
def test_copies_of_one_share_count_once(raw: bytes, order: list[int]) -> None:
    found, same = shares.parse([(f"holder-{i}", notations(raw)[i]) for i in order])
    assert [s.holder for s in found] == [f"holder-{order[0]}"]
    assert same == {f"holder-{i}": f"holder-{order[0]}" for i in order[1:]}
    assert found[0].key.reveal() == raw.hex()


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=6, unique=True))
def test_different_shares_stay(bodies: list[bytes]) -> None:
    raws = [body + bytes([index + 1]) for index, body in enumerate(bodies)]
    found, same = shares.parse([(str(i), raw.hex()) for i, raw in enumerate(raws)])
    assert [s.raw for s in found] == raws
    assert same == {}


@given(st.text(max_size=200))
def test_any_text_decodes_or_is_refused_without_being_shown(text: str) -> None:
    said = ""
    try:
        raw = shares.decode(text, item="unseal share of ada")
    except InvalidInput as error:
        said = str(error)
        raw = b"." * shares.MIN_BYTES
    assert shares.MIN_BYTES <= len(raw) <= shares.MAX_BYTES
    assert not said or said.startswith("unseal share of ada: ")
    assert len(text.strip()) < 8 or text.strip() not in said


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.integers(1, 255))
def test_same_index_and_other_content_cannot_belong_together(one: bytes, two: bytes, index: int) -> None:
    if one == two:
        return
    with pytest.raises(InvalidInput) as error:
        shares.parse([("ada", (one + bytes([index])).hex()), ("bo", (two + bytes([index])).hex())])
    assert error.value.rule == "shares-mixed"
    assert one.hex() not in str(error.value)


def test_different_lengths_cannot_belong_together() -> None:
    with pytest.raises(InvalidInput, match="differ in length"):
        shares.parse([("ada", "ab" * 33), ("bo", "cd" * 17)])


def test_a_share_is_not_printed() -> None:
    found, _other = shares.parse([("ada", "ab" * 33)])
    assert "abab" not in repr(found)
    assert "abab" not in str(found)
