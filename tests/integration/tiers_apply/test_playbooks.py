# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks of the namespace tiers as people type them, on a site."""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

from tests.integration.ansible_run import Result, run_play
from tests.integration.tiers_apply.conftest import Site

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"


def play(site: Site, folder: Path, name: str, options: t.Mapping[str, t.Any], *, check: bool = False) -> Result:
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "platform_name": "hackspace-lab",
        "platform_clusters": [
            {"name": "core-infra", "role": "upstream", "kubeconfig": site.kubeconfig, "namespace_tiers": True},
            {"name": "member-prod", "role": "downstream"},
        ],
    }
    inventory = folder / "site.json"
    inventory.write_text(json.dumps({"controller": {"hosts": {"localhost": variables}}}), encoding="utf-8")
    return run_play(PLAYBOOKS / f"{name}.yml", inventory=inventory, extra_vars=dict(options), check=check)


def test_opened_with_the_name_typed_and_looked_at(site: Site, tmp_path: Path) -> None:
    site.namespace("4-aux-wiki")
    site.apply()
    opening = {"namespace_tiers_break_glass_state": "open", "namespace_tiers_break_glass_reason": "restore"}
    mark = site.mark()
    refused = play(site, tmp_path, "tiers_break_glass", opening)
    assert refused.rc != 0
    assert "[confirm]" in refused.output
    assert site.writes(mark) == []
    opened = play(site, tmp_path, "tiers_break_glass", {**opening, "namespace_tiers_confirm": "hackspace-lab"}).ok()
    assert "is open since" in opened.stdout
    wrong = play(site, tmp_path, "tiers", {"namespace_tiers_table": {"base": "default", "fallback": "5-none"}})
    assert "[unknown-tier]" in wrong.output
    assert "Fix:" in wrong.output
