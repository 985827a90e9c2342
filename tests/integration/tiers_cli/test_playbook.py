# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/tiers_docs.yml, and with it text_files: written once, and what drifted shows in check mode."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.filter.tier_docs import tier_docs
from ansible_collections.hackspace.infra.plugins.filter.tier_tests import tier_tests

from tests.integration.ansible_run import ROOT, Result, run_play


@pytest.fixture
def play(tmp_path: Path) -> t.Callable[..., Result]:
    def run(check: bool = False, **more: t.Any) -> Result:
        given = {
            "platform_tiers": {"base": "default"},
            "tiers_docs_page": str(tmp_path / "page.md"),
            "tiers_docs_tests": str(tmp_path / "tests"),
            **more,
        }
        return run_play(ROOT / "playbooks" / "tiers_docs.yml", check=check, extra_vars=given)

    return run


def test_page_and_tests_are_written_once_and_drift_shows(play: t.Callable[..., Result], tmp_path: Path) -> None:
    page, folder = tmp_path / "page.md", tmp_path / "tests"
    first = play().ok()
    assert first.of("text_files")["changed"]
    assert page.read_text() == tier_docs({"base": "default"})
    made = tier_tests({"base": "default"})
    assert {str(one.relative_to(folder)): one.read_text() for one in folder.rglob("*.yaml")} == made["files"]
    assert play(check=True, tiers_docs_strict=True).ok().changed == []

    changed = {"base": "default", "tiers": [{"name": "4-aux", "quota": {"hard": {"pods": "21"}}}]}
    (folder / "old").mkdir()
    (folder / "old/kyverno-test.yaml").write_text("# Made by hackspace.infra.tier_tests\n")
    (folder / "by-hand.yaml").write_text("mine: true\n")
    drifted = play(check=True, tiers_docs_strict=True, platform_tiers=changed)
    assert drifted.rc != 0
    assert "not what the table says" in drifted.stdout
    result = drifted.of("text_files")
    assert [one["action"] for one in result["changes"]] == ["update"] * len(result["changes"])
    assert {one["name"] for one in result["changes"]} == {"limits/generated.yaml", "policies/limits.yaml"}
    assert result["stale"] == ["old/kyverno-test.yaml"]
    assert page.read_text() == tier_docs({"base": "default"}), "check mode writes nothing"

    pruned = play(tiers_docs_prune=True, platform_tiers=changed).ok()
    assert {"kind": "file", "name": "old/kyverno-test.yaml", "action": "delete", "why": "not wanted"} in pruned.of(
        "text_files"
    )["changes"]
    assert not (folder / "old").exists()
    assert (folder / "by-hand.yaml").read_text() == "mine: true\n"
    assert page.read_text() == tier_docs(changed)


def test_a_page_by_hand_is_replaced_only_on_request(play: t.Callable[..., Result], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# By hand\n")
    for check in (True, False):
        refused = play(check=check, tiers_docs_tests="")
        assert refused.rc != 0
        assert "was not made by this" in refused.stdout
    assert page.read_text() == "# By hand\n"
    play(tiers_docs_tests="", tiers_docs_adopt=True).ok()
    assert page.read_text() == tier_docs({"base": "default"})
