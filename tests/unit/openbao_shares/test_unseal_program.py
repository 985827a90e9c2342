# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of a holder's kit: which wheels it takes, and what it hands to the module."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import types
from pathlib import Path

import pytest

PATH = Path(__file__).parents[3] / "roles" / "openbao_shares" / "files" / "unseal.py"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("unseal_program", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "KIT", tmp_path)
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(module.platform, "libc_ver", lambda: ("glibc", "2.36"))
    return module


MINE = f"cp{sys.version_info[0]}{sys.version_info[1]}"


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("requests-2-py3-none-any.whl", True),
        ("idna-2-py2.py3-none-any.whl", True),
        (f"yaml-6-{MINE}-{MINE}-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", True),
        (f"yaml-6-{MINE}-{MINE}-manylinux2014_aarch64.whl", False),
        (f"yaml-6-{MINE}-{MINE}-musllinux_1_2_x86_64.whl", False),
        (f"yaml-6-{MINE}-{MINE}-macosx_11_0_arm64.whl", False),
        ("yaml-6-cp39-cp39-manylinux2014_x86_64.whl", False),
        ("pyrage-1-cp39-abi3-manylinux_2_17_x86_64.whl", True),
        ("pyrage-1-cp399-abi3-manylinux_2_17_x86_64.whl", False),
    ],
)
def test_wheels_are_chosen_by_their_names(program: types.ModuleType, name: str, fits: bool) -> None:
    assert program.fits(name) is fits


def test_a_kit_for_other_machines_says_so(program: types.ModuleType, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "yaml-6-cp39-cp39-manylinux2014_x86_64.whl").touch()
    with pytest.raises(SystemExit) as caught:
        program.unpack(tmp_path / "lib")
    assert "no yaml" in str(caught.value)


def test_no_share_is_in_the_play(program: types.ModuleType) -> None:
    kit = {"nodes": [{"name": "n0", "url": "https://192.0.2.1:8200"}], "ca_cert": "ca.pem", "holders": ["ada"]}
    options = argparse.Namespace(name="ada", age_file="a.age", identity="id", pgp_file=None, status=False)
    task = program.play(options, kit)[0]["tasks"][0]["hackspace.infra.openbao_unseal"]
    assert set(task["holders"][0]) == {"name", "age_file", "age_identity_file"}
    assert task["ca_cert"].endswith("/ca.pem")
    asked = program.play(argparse.Namespace(name="ada", age_file=None, pgp_file=None, status=False), kit)
    assert json.dumps(asked[0]["tasks"][0]["hackspace.infra.openbao_unseal"]["holders"]) == '[{"name": "ada"}]'


def test_files_that_are_not_as_they_were_made(program: types.ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / program.SUMS).write_text("0" * 64 + "  a\n" + "0" * 64 + "  b\n")
    with pytest.raises(SystemExit) as caught:
        program.check_sums()
    assert "a, b" in str(caught.value) or "b, a" in str(caught.value)
