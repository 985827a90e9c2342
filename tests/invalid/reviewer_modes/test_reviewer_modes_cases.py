# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every broken token and key set gives the one error that is expected of it, and every rule has a case."""

from __future__ import annotations

import base64
import inspect
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers import claims, jwks

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _token(case: t.Mapping[str, t.Any]) -> str:
    if "text" in case:
        return str(case["text"])
    if "repeat" in case:
        return "a" * int(case["repeat"])
    header = str(case.get("header", '{"alg": "RS256"}'))
    first = header if case.get("raw") else _encoded(header.encode())
    payload = _encoded(str(case.get("payload", "{}")).encode())
    return f"{first}.{payload}.{case.get('signature', 'aHVudGVyMg')}"


def _set(case: t.Mapping[str, t.Any]) -> t.Any:
    if "text" in case:
        return case["text"]
    if "rsa" in case:
        wanted = case["rsa"]
        modulus = (1 << (wanted["bits"] - 1)) | (0 if wanted.get("even") else 1)
        jwk = {"kty": "RSA", "use": "sig", "n": _encoded(modulus.to_bytes((wanted["bits"] + 7) // 8, "big"))}
        return {"keys": [{**jwk, "e": wanted.get("e", "AQAB"), "alg": wanted.get("alg", "RS256")}]}
    return case["set"]


@pytest.mark.parametrize("case", CASES, ids=[c["case"] for c in CASES])
def test_the_expected_error(case: dict[str, t.Any]) -> None:
    read: t.Callable[[t.Any], t.Any] = claims.decode if case["of"] == "token" else jwks.parse
    value = _token(case) if case["of"] == "token" else _set(case)
    with pytest.raises(InvalidInput) as caught:
        read(value)
    error = caught.value
    assert error.rule == case["rule"], str(error)
    assert case["item"] == error.item, str(error)
    assert error.fix
    assert "hunter2" not in str(error)
    assert "aHVudGVyMg" not in str(error)


def test_every_rule_has_a_case() -> None:
    rules: set[str] = set()
    for module in (claims, jwks):
        rules |= set(re.findall(r'rule="([a-z0-9-]+)"', inspect.getsource(module)))
    assert rules == {c["rule"] for c in CASES}


def test_cases_have_names_of_their_own() -> None:
    assert len({c["case"] for c in CASES}) == len(CASES)
