# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/check.yml on a cluster with Flux and tenants: what it says of them, and when it fails."""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

from tests.integration.ansible_run import ROOT, run_play
from tests.integration.tenants.conftest import CLUSTER, Site


def test_what_it_says_of_flux_and_tenants(site: Site, tmp_path: Path) -> None:
    def check() -> tuple[int, dict[str, t.Any]]:
        ran = run_play(ROOT / "playbooks" / "check.yml", inventory=inventory, extra_vars=variables)
        shown = ran.of("set_fact")["ansible_facts"]
        return ran.rc, shown["platform_checks_result"]

    inventory = tmp_path / "site.json"
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory.write_text(json.dumps({"controller": {"hosts": {"localhost": host}}}), encoding="utf-8")
    folder = tmp_path / "tenants"
    folder.mkdir()
    variables = {
        "platform_checks_scope": ["flux", "tenants"],
        "platform_clusters": [
            {"name": CLUSTER, "role": "downstream", "kubeconfig": site.kubeconfig, "flux": {"path": "./x"}}
        ],
        "platform_tenants": site.platform,
        "tenant_onboarding_directory": str(folder),
        "platform_checks_accept": [
            {"id": "flux-controller-not-ready", "reason": "the lab runs them outside of the cluster"}
        ],
    }
    name = site.name("checked")
    declared = site.declaration(name)
    del declared["source"]
    site.apply(declared)
    (folder / f"{name}.yaml").write_text(json.dumps(declared))
    mark = site.mark()
    rc, found = check()
    assert rc == 0, found["lines"]
    assert f"  {CLUSTER}: 1 declared, 1 ready and as declared" in found["lines"]
    about = [one["id"] for one in found["findings"] if f"tenant {name} " in one["item"]]
    assert about == []
    assert {"flux-missing", "flux-not-locked-down", "check-failed"}.isdisjoint(one["id"] for one in found["findings"])
    assert site.asked(mark)
    assert site.writes(mark) == []

    site.ask("DELETE", f"/api/v1/namespaces/4-aux-{name}/serviceaccounts/flux")
    (folder / "broken.yaml").write_text(json.dumps({**declared, "name": "broken", "clusters": 3}))
    rc, found = check()
    assert rc != 0
    assert found["failing"] == ["tenant-declaration-type"]
    about = [one["id"] for one in found["findings"] if f"tenant {name} " in one["item"]]
    assert about == ["tenant-drift"]
