# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster with the real definitions of Rook and of snapshots; modules run in this process."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
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


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    lab = Lab("rook-tests", tmp_path_factory.mktemp("lab"))
    try:
        lab.up([CLUSTER])
        made = Site(lab)
        snapshots = [one for path in rook_manifests.snapshots() for one in _documents(path)]
        made.apply(snapshots, "snapshot-definitions", wait=True)
        made.define("1.20")
        yield made
    finally:
        lab.down(wipe=True)
