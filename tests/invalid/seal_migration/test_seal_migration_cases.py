# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be wrong with the options of openbao_seal_migration: the one error expected, before any server is asked."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.filter.seal_stanza import seal_stanza
from ansible_collections.hackspace.infra.plugins.module_utils._clients import openbao_seal
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.modules import openbao_seal_migration

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text(encoding="utf-8"))
WORDS = {"SHARE": "a1" * 32 + "01", "OTHER": "b2" * 32 + "01"}
RIGHT = {
    "nodes": [{"name": "a", "url": "https://127.0.0.1:1"}],
    "target": "transit",
    "seal": {"type": "transit", "address": "https://192.0.2.9:8200", "key_name": "unseal"},
    "holders": [{"name": "ada", "share": WORDS["SHARE"]}],
    "login": {"token": "a-token"},
    "platform_name": "example",
    "confirm": "example",
}


def failure(args: dict[str, t.Any]) -> HackspaceError:
    with patch_module_args(args):
        module = openbao_seal_migration.SPEC.create_module()
    with pytest.raises(HackspaceError) as error:
        openbao_seal_migration.main(module)
    return error.value


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_refused(case: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_args: object, **_kwargs: object) -> t.NoReturn:
        raise AssertionError("a server was asked")

    monkeypatch.setattr(f"{openbao_seal.__name__}.OpenBao.request", asked)
    text = json.dumps({**RIGHT, **case["args"]})
    for word, value in WORDS.items():
        text = text.replace(f'"{word}"', f'"{value}"')
    error = failure(json.loads(text))
    assert (error.item, error.rule) == (case["item"], case["rule"])
    assert error.fix
    assert not any(value in str(error) for value in WORDS.values())


def test_a_credential_is_wanted_and_a_key_is_32_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openbao_seal.SealClient, "read", lambda _self: openbao_seal.Reading(None))
    assert failure(RIGHT).rule == "credential-missing"
    static = {"type": "static", "key_id": "one", "credential": "much too short"}
    error = failure({**RIGHT, "target": "static", "seal": static})
    assert error.rule == "static-key"
    assert "much too short" not in str(error)


def test_what_the_cases_start_from_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openbao_seal.SealClient, "read", lambda _self: openbao_seal.Reading(None))
    assert failure({**RIGHT, "seal": {**RIGHT["seal"], "credential": "s.x"}}).rule == "no-node"  # type: ignore[dict-item]


def test_filter() -> None:
    seal = {"type": "static", "key_id": "one", "credential_file": "/srv/key"}
    assert json.loads(seal_stanza(seal, credential=b"00\n")) == {
        "seal": {"static": {"current_key_id": "one", "current_key": "00"}}
    }
    assert seal_stanza({}) == "{}\n"
    assert 'disabled       = "true"' in seal_stanza(seal, disabled=True, format="hcl")
    for wrong in ("text", {"type": "shamir"}, {"type": "static"}):
        with pytest.raises(AnsibleFilterError, match=r"seal_stanza: .*Fix:"):
            seal_stanza(wrong)
