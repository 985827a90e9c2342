# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sealed comes back as it was, says nothing to others, and shows every change."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core import seal
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from hypothesis import given
from hypothesis import strategies as st


@given(st.text(max_size=200), st.text(max_size=40))
def test_there_and_back(value: str, name: str) -> None:
    secret = seal.one_use()
    sealed = seal.seal(secret, name, value)
    assert seal.unseal(secret, name, sealed) == value
    assert len(value) < 4 or value not in sealed


def test_another_name_another_secret_and_a_change_are_seen() -> None:
    secret = seal.one_use()
    sealed = seal.seal(secret, "client.a", "AQBkey")
    raw = bytearray(base64.b64decode(sealed))
    raw[-1] ^= 1
    for given_secret, name, text in (
        (seal.one_use(), "client.a", sealed),
        (secret, "client.b", sealed),
        (secret, "client.a", base64.b64encode(bytes(raw)).decode()),
        (secret, "client.a", "no base64 at all"),
        (secret, "client.a", ""),
    ):
        with pytest.raises(InvalidInput) as caught:
            seal.unseal(given_secret, name, text)
        assert caught.value.rule == "seal"


def test_two_names_with_one_value_look_different() -> None:
    secret = seal.one_use()
    assert seal.seal(secret, "a", "same") != seal.seal(secret, "b", "same")


@pytest.mark.parametrize("secret", ["", "short", base64.b64encode(b"x" * 16).decode(), "%%%"])
def test_a_secret_that_is_none(secret: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        seal.seal(secret, "a", "b")
    assert caught.value.rule == "seal-secret"
