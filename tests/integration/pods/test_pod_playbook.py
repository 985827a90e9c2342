# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks with an inventory that says which pods OpenBao is, at the highest verbosity."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from lab.api import Lab
from tests.integration.ansible_run import ROOT, Result, environment, private, program, run_play
from tests.integration.pods.helpers import NAMES, fresh
from tests.integration.seal.helpers import HOLDERS, shares
from tests.integration.seal.test_playbook import Watch, leaks, values


@pytest.fixture
def inventory(pods_lab: Lab, tmp_path: Path) -> Path:
    """An inventory without a group openbao_nodes, and a kubeconfig encrypted with ansible-vault."""
    config = private(tmp_path / "kubeconfig", pods_lab.clusters["core-infra"].kubeconfig.read_text(encoding="utf-8"))
    private(tmp_path / "password", "correct horse")
    subprocess.run(
        [program("ansible-vault"), "encrypt", "--vault-password-file", str(tmp_path / "password"), config],
        check=True,
        capture_output=True,
        env=environment(tmp_path),
    )
    openbao = {
        "ca_cert": str(pods_lab.openbao_ca),
        "holders": [{"name": name} for name in HOLDERS],
        "pods": {"kubeconfig": config, "namespace": "openbao"},
    }
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    file = tmp_path / "inventory.json"
    content = {
        "vars": {"platform_name": "pods", "platform_openbao": openbao},
        "children": {"controller": {"hosts": {"localhost": local}}},
    }
    file.write_text(json.dumps({"all": content}), encoding="utf-8")
    return file


def play(name: str, inventory: Path, *, folder: Path, **options: t.Any) -> Result:
    args = ["--vault-password-file", str(inventory.parent / "password")]
    return run_play(
        ROOT / "playbooks" / name, inventory=inventory, args=args, verbosity=4, diff=True, folder=folder, **options
    )


def seals(result: Result) -> dict[str, t.Any]:
    """Return what the checks saw of the seals."""
    found = [task for task in result.tasks if task.action.endswith("openbao_seal_info") and task.status != "skipped"]
    return found[0].result


def test_unseal_and_check_with_pods_and_no_secret_anywhere(pods_lab: Lab, inventory: Path, tmp_path: Path) -> None:
    fresh(pods_lab)
    secrets = values(pods_lab)
    known = shares(pods_lab)
    sources = [{"name": n, "file": private(tmp_path / f"{n}.share", known[n])} for n in HOLDERS[:3]]
    meant = {str(tmp_path / f"{name}.share") for name in HOLDERS}
    wanted = {"openbao_unseal_sources": sources}
    sealed = play("check.yml", inventory, folder=tmp_path / "sealed")
    assert sealed.rc != 0
    assert seals(sealed)["pods"]["absent"] == NAMES[1:]

    watch = Watch(secrets)
    watch.start()
    done = play("unseal.yml", inventory, folder=tmp_path / "done", extra_vars=wanted).ok()
    watch.end()
    assert done.of("openbao_unseal")["unsealed"] == NAMES
    assert pods_lab.openbao_pods.endpoints() == NAMES

    for result in (sealed, done):
        said = result.output.encode(errors="replace")
        assert [s for s in secrets if s in said] == []
    assert leaks(tmp_path, secrets, meant) == []
    assert watch.looks > 10
    assert watch.found == set()
    cluster = pods_lab.clusters["core-infra"]
    logs = list((pods_lab.state / "logs").glob("*.log"))
    assert {"core-infra-apiserver.log", "core-infra-kwok.log"} <= {log.name for log in logs}
    for log in (cluster.audit_log, *logs):
        content = log.read_bytes()
        assert [s for s in secrets if s in content] == [], log


def test_nothing_is_read_while_nothing_is_sealed(pods_lab: Lab, inventory: Path, tmp_path: Path) -> None:
    """After the test above; a holder without a terminal would be an error."""
    quiet = play("unseal.yml", inventory, folder=tmp_path / "quiet", extra_vars={"openbao_unseal_holder": "ada"}).ok()
    assert quiet.changed == []
    assert quiet.of("openbao_unseal")["pods"]["ready"] == NAMES
    asked = {"openbao_unseal_holder": "ada", "openbao_unseal_watch": 5}
    watched = play("unseal.yml", inventory, folder=tmp_path / "watched", extra_vars=asked)
    assert watched.of("openbao_unseal")["error"]["rule"] == "no-terminal"
