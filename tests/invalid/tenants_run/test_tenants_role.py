# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that fails holds up no other cluster, and the run fails all the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from tests.integration.ansible_run import private, run_play

PLAYBOOK = Path(__file__).parents[3] / "playbooks" / "tenants.yml"


def test_every_cluster_has_its_turn(tmp_path: Path) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "a", "user": {"token": "nobody"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "current-context": "a",
    }
    access = private(tmp_path / "kubeconfig", yaml.safe_dump(config))
    folder = tmp_path / "tenants"
    folder.mkdir()
    (folder / "_notes.yaml").write_text("nothing\n", encoding="utf-8")
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "platform_clusters": [{"name": name, "role": "downstream", "kubeconfig": access} for name in ("one", "two")],
        "tenant_onboarding_directory": str(folder),
        "tenant_onboarding_request_timeout": 1,
    }
    inventory = tmp_path / "site.json"
    inventory.write_text(json.dumps({"controller": {"hosts": {"localhost": variables}}}), encoding="utf-8")
    play = tmp_path / "play.yml"
    after = {"hosts": "localhost", "gather_facts": False, "tasks": []}
    after["tasks"] = [
        {
            "block": [{"ansible.builtin.import_role": {"name": "hackspace.infra.tenant_onboarding"}}],
            "always": [{"ansible.builtin.debug": {"var": "tenant_onboarding_result"}}],
        }
    ]
    play.write_text(json.dumps([after]), encoding="utf-8")
    told = run_play(play, inventory=inventory)
    assert told.rc != 0
    [shown] = [one.result["tenant_onboarding_result"] for one in told.tasks if one.action.endswith("debug")]
    assert sorted(shown) == ["one", "two"]
    assert all(one["failed"] and "127.0.0.1" in one["problem"] for one in shown.values())
    done = run_play(PLAYBOOK, inventory=inventory)
    assert done.rc != 0
    assert [one.status for one in done.tasks if one.action.endswith("tenants")] == ["failed", "failed"]
    said = done.tasks[-1].result["msg"]
    assert said.startswith("one: Bring the tenants to what their declarations say: ")
    assert " || two: Bring the tenants to what their declarations say: " in said
