# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The task file for pods on a real API server: one Kubernetes Secret for all, one pod deleted at a time."""

from __future__ import annotations

import base64
import json
import time
import typing as t
from pathlib import Path

import pytest

from lab.api import Lab
from tests.integration.ansible_run import ROOT, run_play

TASKS = ROOT / "roles" / "openbao_seal_migration" / "tasks" / "hooks" / "statefulset.yml"
PODS = "/api/v1/namespaces/openbao/pods"
SECRET = "/api/v1/namespaces/openbao/secrets/openbao-seal"
TOKEN = "s.the-token-of-the-seal"


@pytest.fixture
def lab(tmp_path: Path) -> t.Iterator[Lab]:
    found = Lab("seal-statefulset", tmp_path)
    try:
        found.up(["core-infra"])
        yield found
    finally:
        found.down(wipe=True)


def test_the_secret_is_written_and_one_pod_deleted(lab: Lab, tmp_path: Path) -> None:
    server = lab.kube_server("core-infra")
    body: dict[str, t.Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "openbao"}}
    assert server.request("POST", "/api/v1/namespaces", body).status == 201
    for name in ("openbao-0", "openbao-1", "openbao-2"):
        container = {"name": "openbao", "image": "openbao"}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}
        deadline = time.monotonic() + 30
        # A pod is refused until its namespace has its ServiceAccount.
        while server.request("POST", PODS, body).status != 201:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    token = tmp_path / "seal.token"
    token.touch(mode=0o600)
    token.write_text(f"{TOKEN}\n", encoding="utf-8")
    seal = {"type": "transit", "address": "https://192.0.2.9:8200", "key_name": "unseal", "credential_file": str(token)}
    variables = {
        "stanza": {"transit": {"address": "https://192.0.2.9:8200"}},
        "restart": True,
        "target": "transit",
        "seal": seal,
        "namespace": "openbao",
        "secret_name": "openbao-seal",
        "kubeconfig": str(lab.clusters["core-infra"].kubeconfig),
        "context": "",
    }

    def run(*nodes: str, **changes: t.Any) -> list[str]:
        extra = {f"openbao_seal_migration_{name}": value for name, value in {**variables, **changes}.items()}
        play = [
            {
                "name": "The task file",
                "ansible.builtin.include_tasks": str(TASKS),
                "vars": {"openbao_seal_migration_node": node},
            }
            for node in nodes
        ]
        result = run_play(play, extra_vars=extra, diff=True, verbosity=4).ok()
        assert TOKEN not in result.output
        assert base64.b64encode(TOKEN.encode()).decode().rstrip("=") not in result.output
        return result.changed

    def content() -> dict[str, t.Any]:
        data = server.request("GET", SECRET).body["data"]["seal.json"]
        return dict(json.loads(base64.b64decode(data)))

    # Written for the first node and the same for the second; each one's pod is deleted.
    assert len(run("openbao-0", "openbao-1")) == 3
    assert content()["seal"]["transit"]["token"] == TOKEN
    assert "disabled" not in content()["seal"]["transit"]
    left = [item["metadata"]["name"] for item in server.request("GET", PODS).body["items"]]
    assert left == ["openbao-2"]
    # Taken out again, without a restart.
    assert len(run("openbao-2", stanza={}, restart=False)) == 1
    assert content() == {}
    assert len(server.request("GET", PODS).body["items"]) == 1
