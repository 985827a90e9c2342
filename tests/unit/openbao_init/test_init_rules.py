# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every broken declaration of tests/invalid/init gives its one error, and nothing is written."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import init_apply, init_model, share_record

from .conftest import run_program

CASES = yaml.safe_load((Path(__file__).parents[2] / "invalid" / "init" / "cases.yml").read_text())


def _fill(value: t.Any, words: dict[str, str]) -> t.Any:
    if isinstance(value, dict):
        return {k: _fill(v, words) for k, v in value.items()}
    if isinstance(value, list):
        return [_fill(v, words) for v in value]
    if isinstance(value, str):
        for word, text in words.items():
            value = text if value == word else value.replace(word + "/", text + "/")
    return value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_a_broken_declaration_has_one_error(
    case: dict[str, t.Any], params: dict[str, t.Any], tmp_path: Path, pgp: Path
) -> None:
    (tmp_path / "garbage").write_bytes(b"\x00garbage that is no key")
    (tmp_path / "open").mkdir(mode=0o755)
    for name, file in (("used", "ada.age"), ("recorded", share_record.RECORD)):
        (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / name / file).write_text(json.dumps({"state": "complete"}))
    words = {f"AGE{i + 1}": params["holders"][i]["age_recipient"] for i in range(3)}
    words |= {"DIR": str(tmp_path), "PGP": str(pgp / "pgp.asc"), "PRIVATE": str(pgp / "private.asc")}
    words |= {"NOENC": str(pgp / "noenc.asc")}
    wrong = {**params, **_fill(case["change"], words)}
    before = sorted(p for p in tmp_path.rglob("*"))
    with pytest.raises(HackspaceError) as caught:
        init_apply.preflight(init_model.parse(wrong, run_program))
    assert caught.value.rule == case["rule"]
    assert caught.value.fix
    assert caught.value.item
    assert sorted(p for p in tmp_path.rglob("*")) == before


def test_the_correct_declaration_is_accepted(params: dict[str, t.Any]) -> None:
    spec = init_model.parse(params, run_program)
    init_apply.preflight(spec)
    assert [h.file_name for h in spec.holders] == ["ada.age", "bob.age", "cyd.age"]
    assert spec.admin is not None
    assert (spec.admin.mount, spec.admin.policy_name) == ("userpass", "platform-admin")


def test_case_names_are_unique() -> None:
    assert len({case["case"] for case in CASES}) == len(CASES)
