# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster for all tests of kube_apply; every test has a namespace and an inventory of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import signal
import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import Kube, client_of

from lab.api import Lab
from tests.integration import in_process
from tests.integration.ansible_run import Result, Run, run_module, start_play
from tests.integration.audit import Audited

_NUMBERS = itertools.count(1)


@dataclasses.dataclass
class Site(Audited):
    """A namespace in the lab's cluster."""

    CLUSTER: t.ClassVar[str] = "core-infra"
    lab: Lab
    namespace: str
    folder: Path

    @property
    def kubeconfig(self) -> Path:
        return self.lab.clusters["core-infra"].kubeconfig

    def args(self, objects: t.Sequence[t.Mapping[str, t.Any]], **changes: t.Any) -> dict[str, t.Any]:
        return {
            "kubeconfig": str(self.kubeconfig),
            "inventory": {"name": self.namespace, "namespace": self.namespace},
            "objects": list(objects),
            **changes,
        }

    def run(
        self,
        objects: t.Sequence[t.Mapping[str, t.Any]],
        *,
        ansible: t.Mapping[str, t.Any] | None = None,
        **changes: t.Any,
    ) -> Result:
        """Run kube_apply in real Ansible. *ansible*: check, diff, verbosity."""
        return run_module("kube_apply", self.args(objects, **changes), **(ansible or {}))

    def call(
        self, objects: t.Sequence[t.Mapping[str, t.Any]], *, check: bool = False, **changes: t.Any
    ) -> dict[str, t.Any]:
        """Run the module in this process and return what it prints: as Ansible would, without its start-up time."""
        return in_process.call("kube_apply", self.args(objects, **changes), check=check)

    def apply(self, objects: t.Sequence[t.Mapping[str, t.Any]], **changes: t.Any) -> dict[str, t.Any]:
        """Run in this process; it must succeed."""
        result = self.call(objects, **changes)
        assert not result.get("failed"), result
        return result

    def refused(self, objects: t.Sequence[t.Mapping[str, t.Any]], **changes: t.Any) -> dict[str, t.Any]:
        """Run in this process; it must fail."""
        result = self.call(objects, **changes)
        assert result.get("failed"), result
        return result

    def start(self, objects: t.Sequence[t.Mapping[str, t.Any]], **changes: t.Any) -> Run:
        """Start kube_apply in real Ansible."""
        return start_play([{"name": "Apply", "hackspace.infra.kube_apply": self.args(objects, **changes)}])

    def client(self, kubeconfig: Path | None = None) -> Kube:
        return client_of({"kubeconfig": str(kubeconfig or self.kubeconfig)})

    def ask(self, method: str, path: str, body: t.Any = None, content_type: str = "application/json") -> t.Any:
        """Ask the API server as somebody else who is not in the audit log."""
        server = self.lab.kube_server("core-infra")
        answer = server.request(method, path, body, content_type=content_type)
        assert answer.status < 300 or (method == "GET" and answer.status == 404), answer
        return answer.body if answer.status < 300 else None

    def make_namespace(self) -> None:
        self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    def path(self, name: str = "", kind: str = "configmaps") -> str:
        return f"/api/v1/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def get(self, name: str, kind: str = "configmaps") -> t.Any:
        return self.ask("GET", self.path(name, kind))

    def config_map(self, name: str = "one", **data: str) -> dict[str, t.Any]:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace},
            "data": data or {"text": "first"},
        }

    @property
    def own_namespace(self) -> dict[str, t.Any]:
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}


@pytest.fixture(scope="package")
def kube_lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    lab = Lab("kube-tests", tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["core-infra"])
        yield lab
    finally:
        lab.down(wipe=True)


@pytest.fixture
def fresh(kube_lab: Lab, tmp_path: Path) -> Site:
    """A site whose namespace does not exist yet."""
    return Site(kube_lab, f"t{next(_NUMBERS)}", tmp_path)


@pytest.fixture
def site(fresh: Site) -> Site:
    """A site with an empty namespace."""
    fresh.make_namespace()
    return fresh


def kill_tree(pid: int) -> None:
    """Kill a process and all that descends from it, whatever session it is in."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            fields = stat.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    todo, doomed = [pid], []
    while todo:
        one = todo.pop()
        doomed.append(one)
        todo += parents.get(one, [])
    for one in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
