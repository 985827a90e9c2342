# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/tiers_impact.yml with the empty answers that a survey gives; no cluster is needed."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from tests.integration.ansible_run import ROOT, Result, run_play

EMPTY: t.Final = dict.fromkeys(
    (
        f"tiers_impact_{name}"
        for name in ("kubeconfig", "dump", "fail_on", "old", "old_table", "absent_kinds", "details", "limits", "json")
    ),
    "",
)


def play(**given: t.Any) -> Result:
    return run_play(
        ROOT / "playbooks" / "tiers_impact.yml", extra_vars={"platform_tiers": {"base": "default"}, **EMPTY, **given}
    )


def test_an_empty_kubeconfig_is_not_that_of_whoever_runs_it(tmp_path: Path) -> None:
    cluster = {"name": "member-prod", "kubeconfig": str(tmp_path / "member-prod")}
    made = play(platform_clusters=[cluster])
    assert made.rc != 0
    assert "the kubeconfig does not exist" in made.stdout


def test_empty_answers_are_none(tmp_path: Path) -> None:
    dump = tmp_path / "objects.json"
    dump.write_text(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "4-aux-wiki"}}))
    made = play(tiers_impact_dump=str(dump)).ok()
    assert made.of("namespace_tiers_info")["verdict"] == "not-seen"
