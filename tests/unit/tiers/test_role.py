# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be read off the role and its playbooks without a cluster."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).parents[3]
TASKS = ROOT / "roles" / "namespace_tiers" / "tasks"


def load(path: Path) -> t.Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def imported(name: str) -> set[str]:
    """Return the files of tasks that an entry point comes through."""
    found = {name}
    for task in load(TASKS / name):
        inner = task.get("ansible.builtin.import_tasks") or task.get("ansible.builtin.include_tasks")
        found |= imported(inner) if inner else set()
    return found


@pytest.mark.parametrize("name", ["tiers_break_glass", "tiers_reconcile"])
def test_the_entry_point_is_named_so_that_its_options_are_checked(name: str) -> None:
    specs = load(TASKS.parent / "meta" / "argument_specs.yml")["argument_specs"]
    for play in load(ROOT / "playbooks" / f"{name}.yml"):
        for task in play["tasks"]:
            assert task["ansible.builtin.import_role"]["tasks_from"] in specs


def test_a_table_that_is_wrong_keeps_nobody_from_breaking_the_glass() -> None:
    assert "table.yml" in imported("main.yml") & imported("reconcile.yml")
    assert "table.yml" not in imported("break_glass.yml")
    assert "tier_findings" not in "".join((TASKS / one).read_text("utf-8") for one in imported("break_glass.yml"))


@pytest.mark.parametrize(("check", "word"), [(True, "to be evicted"), (False, "evicted")])
def test_check_mode_claims_no_eviction(check: bool, word: str) -> None:
    *_rest, shown = load(TASKS / "reconcile_cluster.yml")
    pod = {"namespace": "4-aux-wiki", "name": "web", "missing": ["no class"], "skipped": ""}
    variables = {
        "__namespace_tiers_cluster": {"name": "member-prod"},
        "__namespace_tiers_found": {"changed": True, "pods": [pod]},
        "ansible_check_mode": check,
    }
    template = shown["vars"]["__namespace_tiers_lines"]
    assert word == str(_rendered(template, variables)[0]).rpartition(" - ")[2]


def _rendered(template: str, variables: dict[str, t.Any]) -> t.Any:
    return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(template))
