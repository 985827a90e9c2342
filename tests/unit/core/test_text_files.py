# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module text_files where the folder is not as one would think."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import run
from ansible_collections.hackspace.infra.plugins.modules import text_files

MARK = "Made by us"
NEW = f"# {MARK}\nnew\n"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    def made(path: Path, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        args = {"path": str(path), "mark": MARK, "files": {"sub/a.yaml": NEW}, "_ansible_check_mode": check, **more}
        with patch_module_args(args), pytest.raises(SystemExit):
            run(text_files.SPEC, text_files.main)
        return t.cast(dict[str, t.Any], json.loads(capsys.readouterr().out))

    return made


def test_what_lies_behind_a_link_is_not_overwritten(call: t.Callable[..., dict[str, t.Any]], tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.yaml").write_text("by hand\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "sub").symlink_to(elsewhere)
    assert call(folder)["error"]["rule"] == "not-ours"
    assert (elsewhere / "a.yaml").read_text() == "by hand\n"
    (elsewhere / "a.yaml").unlink()
    assert call(folder)["changed"]
    assert not call(folder)["changed"], "the second run finds it"


def test_check_mode_says_what_the_run_would(call: t.Callable[..., dict[str, t.Any]], tmp_path: Path) -> None:
    for check in (True, False):
        assert call(tmp_path / "no" / "folder", check=check)["error"]["rule"] == "folder-above"
    assert call(tmp_path / "folder", check=True)["changed"]
    assert not (tmp_path / "folder").exists()
    assert call(tmp_path / "folder")["changed"]
    assert not call(tmp_path / "folder")["changed"]
