# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong options of openbao_snapshot: the one error expected, before any server is asked."""

from __future__ import annotations

import inspect
import json
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._clients import openbao
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import snapshot_model
from ansible_collections.hackspace.infra.plugins.modules import openbao_snapshot

from tests.unit.openbao_snapshot.archives import members, pack, sidecar_of

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text(encoding="utf-8"))
RIGHT = {"nodes": [{"name": "a", "url": "https://127.0.0.1:1"}], "token": "t", "folder": "FOLDER"}

#: Rules that need a server's state; their tests are in tests/unit/openbao_snapshot.
OF_STATE = {"shares-record-cluster"}


def prepare(place: Path) -> dict[str, str]:
    """Write what the cases name."""
    folders = {word: place / word.lower() for word in ("FOLDER", "OPEN", "EMPTY")}
    for word, folder in folders.items():
        folder.mkdir(mode=0o755 if word == "OPEN" else 0o700)
    folders["OPEN"].chmod(0o755)
    data = pack(members())
    files = {
        "SNAP": (data, sidecar_of(data, "SNAP.snap").text()),
        "TEXT": (b"no snapshot" * 100, b""),
        "CUT": (data[:-20], b""),
        "SWAPPED": (data, sidecar_of(data, "OTHER.snap").text()),
        "SCRIBBLED": (data, b"{}"),
        "BARE": (data, b""),
    }
    for word, (content, sidecar) in files.items():
        path = place / f"{word}.snap"
        path.write_bytes(content)
        if sidecar:
            (place / f"{word}.snap.json").write_bytes(sidecar)
    return {**{w: str(f) for w, f in folders.items()}, **{w: str(place / f"{w}.snap") for w in files}}


def filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"\b[A-Z]{3,}\b", lambda match: words[match[0]], text)


def run(args: t.Mapping[str, t.Any], words: dict[str, str]) -> HackspaceError:
    given = {k: v for k, v in {**RIGHT, **args}.items() if v is not None}
    with patch_module_args(json.loads(filled(json.dumps(given), words))):
        module = openbao_snapshot.SPEC.create_module()
    with pytest.raises(HackspaceError) as error:
        openbao_snapshot.main(module)
    return error.value


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_refused(case: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def asked(*_args: object, **_kwargs: object) -> t.NoReturn:
        raise AssertionError("a server was asked")

    words = prepare(tmp_path)
    monkeypatch.setattr(f"{openbao.__name__}.OpenBao.request", asked)
    error = run(case["args"], words)
    assert (error.item, error.rule) == (filled(case["item"], words), case["rule"]), str(error)
    assert error.fix


def test_what_the_cases_start_from_is_right(tmp_path: Path) -> None:
    assert run({}, prepare(tmp_path)).rule == "no-active-node"  # it did ask, and nobody is there
    place = tmp_path / "other"
    place.mkdir()
    words = prepare(place)
    assert run({"state": "restored", "folder": None, "file": "SNAP", "safety_snapshot": False}, words).rule == (
        "no-active-node"
    )


def test_every_rule_has_a_case() -> None:
    source = inspect.getsource(snapshot_model) + inspect.getsource(openbao_snapshot)
    rules = set(re.findall(r'rule="([a-z0-9-]+)"', source)) - {"standby"}
    assert rules - OF_STATE <= {c["rule"] for c in CASES}
