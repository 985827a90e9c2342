# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong options of openbao_unseal: the one error expected, before any server is asked."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._clients import openbao_seal
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.modules import openbao_unseal

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text(encoding="utf-8"))
WORDS = {"A": "a1" * 32 + "01", "B": "b2" * 32 + "02", "SAME": "c3" * 32 + "01", "SHORT": "d4" * 16 + "03"}
RIGHT = {
    "nodes": [{"name": "a", "url": "https://127.0.0.1:1"}],
    "holders": [{"name": "ada", "share": WORDS["A"]}],
}


def filled(text: str) -> str:
    for word in ("SAME", "SHORT"):
        text = text.replace(word, WORDS[word])
    return "\n".join(
        line.replace(line.strip('"'), WORDS.get(line.strip('"'), line.strip('"'))) for line in text.split("\n")
    )


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_refused(case: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_args: object, **_kwargs: object) -> t.NoReturn:
        raise AssertionError("a server was asked")

    monkeypatch.setattr(f"{openbao_seal.__name__}.OpenBao.request", asked)
    args: dict[str, t.Any] = json.loads(json.dumps({**RIGHT, **case["args"]}))
    args = {name: value for name, value in args.items() if value is not None}
    for holder in args["holders"]:
        if "share" in holder:
            holder["share"] = filled(holder["share"])
    with patch_module_args(args):
        module = openbao_unseal.SPEC.create_module()
    with pytest.raises(HackspaceError) as error:
        openbao_unseal.main(module)
    assert (error.value.item, error.value.rule) == (case["item"], case["rule"])
    assert error.value.fix
    for value in WORDS.values():
        assert value not in str(error.value)


def test_what_the_cases_start_from_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    with patch_module_args(RIGHT):
        module = openbao_unseal.SPEC.create_module()
    with pytest.raises(HackspaceError) as error:
        openbao_unseal.main(module)
    assert error.value.rule == "no-node"  # it did ask, and nobody is there
