# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster with Rook's and snapshots' definitions, External Secrets and OpenBao; modules run in this process."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import time
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import run

from lab import rook_manifests
from lab.api import Lab

PLUGINS = "ansible_collections.hackspace.infra.plugins.modules."
CLUSTER = "member-prod"


@dataclasses.dataclass
class Site:
    """The lab, and what a test may do with it."""

    lab: Lab
    root: str

    @property
    def openbao(self) -> dict[str, t.Any]:
        """The module option ``openbao``."""
        node = next(one for one in self.lab.openbao_nodes if one.name == self.lab.openbao_active())
        return {
            "url": node.address,
            "tls_server_name": node.tls_server_name,
            "ca_cert": str(self.lab.openbao_ca),
            "auth_method": "token",
            "token": self.root,
        }

    @property
    def store(self) -> dict[str, t.Any]:
        """How External Secrets reaches OpenBao."""
        return {
            "server": self.lab.openbao_nodes[0].address,
            "mount": f"kubernetes-{CLUSTER}",
            "audience": f"openbao-{CLUSTER}",
            "ca_bundle": self.lab.openbao_ca.read_text(),
        }

    def bao(self, method: str, path: str, body: t.Any = None) -> tuple[int, t.Any]:
        """Ask OpenBao as root."""
        answer = self.lab.openbao_server(str(self.lab.openbao_active())).request(
            method, f"/v1/{path}", body, token=self.root
        )
        return answer.status, answer.body

    @property
    def kubeconfig(self) -> str:
        return str(self.lab.clusters[CLUSTER].kubeconfig)

    def call(self, name: str, *, check: bool = False, **args: t.Any) -> dict[str, t.Any]:
        """Run a module in this process and return what it prints."""
        plugin = importlib.import_module(PLUGINS + name)
        given = {**args, "_ansible_check_mode": check, "_ansible_diff": True}
        printed = io.StringIO()
        with patch_module_args(given), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            run(plugin.SPEC, plugin.main)
        result: dict[str, t.Any] = json.loads(printed.getvalue())
        return result

    def apply(self, objects: t.Sequence[t.Any], inventory: str, *, check: bool = False, **more: t.Any) -> t.Any:
        """Apply objects by kube_apply; it must succeed."""
        result = self.call(
            "kube_apply",
            check=check,
            kubeconfig=self.kubeconfig,
            inventory={"name": inventory, "namespace": "kube-system"},
            objects=list(objects),
            **more,
        )
        assert not result.get("failed"), result
        return result

    def define(self, version: str) -> None:
        """Let the cluster have the definitions of a version of Rook, whatever it had before."""
        objects = _documents(rook_manifests.definitions(version))
        wanted = ("CephCluster", "CephBlockPoolRadosNamespace", "CephFilesystemSubVolumeGroup")
        self.apply([one for one in objects if one["spec"]["names"]["kind"] in wanted], "rook-definitions", wait=True)

    def ask(self, method: str, path: str, body: t.Any = None, content_type: str = "application/json") -> t.Any:
        """Ask the API server; ``None`` for what does not exist."""
        answer = self.lab.kube_server(CLUSTER).request(method, path, body, content_type=content_type)
        assert answer.status < 300 or (method in ("GET", "DELETE") and answer.status == 404), answer
        return answer.body if answer.status < 300 else None


def _documents(path: Path) -> list[dict[str, t.Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [one for one in yaml.load_all(path.read_text(encoding="utf-8"), Loader=loader) if one]


def _wire(site: Site) -> None:
    """Give OpenBao a key/value engine, and let namespaces of Rook read their own OpenBao secrets."""
    site.bao("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
    deadline = time.monotonic() + 60
    while site.bao("GET", "kv/config")[0] != 200:
        assert time.monotonic() < deadline, "the key/value engine"
        time.sleep(0.2)
    cluster = {"name": CLUSTER, "kubeconfig": site.kubeconfig, "access": {"namespaces": ["rook-*"]}}
    result = site.call("jwt_reviewer", openbao=site.openbao, clusters=[cluster], verify="never")
    assert not result.get("failed"), result


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    lab = Lab("rook-tests", tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["openbao", CLUSTER, "eso"])
        made = Site(lab, lab.init_openbao().root_token)
        snapshots = [one for path in rook_manifests.snapshots() for one in _documents(path)]
        made.apply(snapshots, "snapshot-definitions", wait=True)
        made.define("1.20")
        _wire(made)
        yield made
    finally:
        lab.down(wipe=True)
