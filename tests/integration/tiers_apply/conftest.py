# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster for all tests of the namespace tiers' modules; each test begins with nothing of them in it."""

from __future__ import annotations

import copy
import itertools
import time
import typing as t
import urllib.parse
from pathlib import Path

import pytest

from lab.api import Lab
from tests.integration import in_process
from tests.integration.audit import Audited

CLUSTER = "core-infra"
NATIVE = {"limits": "static", "pods": "native", "guards": "native"}
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_NUMBERS = itertools.count(1)
OURS = urllib.parse.quote("infra.hackspace.org/inventory=namespace-tiers")


class Site(Audited):
    """The lab's cluster."""

    CLUSTER = CLUSTER

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.kubeconfig = str(lab.clusters[CLUSTER].kubeconfig)
        self.made: list[str] = []

    def call(self, module: str, *, check: bool = False, kubeconfig: str = "", **args: t.Any) -> dict[str, t.Any]:
        """Run a module in this process and return what it prints."""
        return in_process.call(module, {"kubeconfig": kubeconfig or self.kubeconfig, **args}, check=check)

    def call_native(self, table: t.Mapping[str, t.Any] | None = None, **args: t.Any) -> dict[str, t.Any]:
        """Apply without Kyverno."""
        return self.call("namespace_tiers", **{"table": dict(table or {"base": "default"}), **NATIVE, **args})

    def apply(self, table: t.Mapping[str, t.Any] | None = None, **args: t.Any) -> dict[str, t.Any]:
        """Apply without Kyverno; it must succeed."""
        result = self.call_native(table, **args)
        assert not result.get("failed"), result["msg"]
        return result

    def refused(self, table: t.Mapping[str, t.Any] | None = None, **args: t.Any) -> dict[str, t.Any]:
        """Apply without Kyverno; it must fail."""
        result = self.call_native(table, **args)
        assert result.get("failed"), result
        return result

    def answer(self, method: str, path: str, body: t.Any = None, content_type: str = "application/json") -> t.Any:
        return self.lab.kube_server(CLUSTER).request(method, path, body, content_type=content_type)

    def ask(self, method: str, path: str, body: t.Any = None, content_type: str = "application/json") -> t.Any:
        """Ask the API server as somebody else who is not in the audit log."""
        answer = self.answer(method, path, body, content_type)
        assert answer.status < 300 or (method in ("GET", "DELETE") and answer.status == 404), answer
        return answer.body if answer.status < 300 else None

    def namespace(self, name: str, **labels: str) -> str:
        """Make a namespace whose name begins so, and return its name."""
        name = f"{name}-{next(_NUMBERS)}"
        self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        self.made.append(name)
        return name

    def ready(self, namespace: str) -> str:
        """Wait until pods can be made in a namespace."""
        assert self.until(lambda: self.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default"))
        return namespace

    def get(self, path: str) -> t.Any:
        return self.ask("GET", path)

    @staticmethod
    def until(what: t.Callable[[], t.Any], seconds: float = 15) -> t.Any:
        """Return what *what* gives as soon as it is something."""
        end = time.monotonic() + seconds
        while True:
            found = what()
            if found or time.monotonic() > end:
                return found
            time.sleep(0.1)

    def items(self, path: str) -> list[dict[str, t.Any]]:
        return list(self.get(path)["items"])

    def limits(self, namespace: str) -> tuple[list[str], list[str]]:
        """Return the names of LimitRanges and of ResourceQuotas."""
        first, second = (
            [one["metadata"]["name"] for one in self.items(f"/api/v1/namespaces/{namespace}/{kind}")]
            for kind in ("limitranges", "resourcequotas")
        )
        return first, second

    def pod(self, namespace: str, name: str, **spec: t.Any) -> t.Any:
        """Create a pod and return the server's answer."""
        container = {
            "name": "main",
            "image": "example.org/main",
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "32Mi"}},
        }
        body = {"metadata": {"name": name}, "spec": {"containers": [copy.deepcopy(container)], **spec}}
        return self.answer("POST", f"/api/v1/namespaces/{namespace}/pods", body)

    def untouched(self, namespace: str) -> bool:
        """Say whether a pod would stay as it is."""
        body = {"metadata": {"name": "probe"}, "spec": {"containers": [{"name": "main", "image": "example.org/main"}]}}
        answer = self.answer("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", body)
        return answer.status == 404 or (answer.status == 201 and not answer.body["spec"].get("priorityClassName"))

    def deployment(self, namespace: str, name: str, replicas: int = 1) -> None:
        container = {"name": "main", "image": "example.org/main"}
        self.ask(
            "POST",
            f"/apis/apps/v1/namespaces/{namespace}/deployments",
            {
                "metadata": {"name": name},
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": {"app": name}},
                    "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
                },
            },
        )

    def labels(self, kind: str, namespace: str) -> list[dict[str, str]]:
        """Return the labels of the LimitRanges or ResourceQuotas of a namespace."""
        return [one["metadata"]["labels"] for one in self.items(f"/api/v1/namespaces/{namespace}/{kind}")]

    def uids(self, namespace: str) -> list[str]:
        """Return the uids of the LimitRanges and ResourceQuotas of a namespace."""
        kinds = ("limitranges", "resourcequotas")
        found = [one for kind in kinds for one in self.items(f"/api/v1/namespaces/{namespace}/{kind}")]
        return [one["metadata"]["uid"] for one in found]

    def clear(self) -> None:
        """Take everything of the namespace tiers, and the namespaces that tests made, away."""
        for kind in ("validatingadmissionpolicybindings", "mutatingadmissionpolicybindings"):
            self.ask("DELETE", f"{ADMISSION}/{kind}?labelSelector={OURS}")
        for kind in ("validatingadmissionpolicies", "mutatingadmissionpolicies"):
            self.ask("DELETE", f"{ADMISSION}/{kind}?labelSelector={OURS}")
        for kind in ("generatingpolicies", "mutatingpolicies", "validatingpolicies"):
            self.ask("DELETE", f"/apis/policies.kyverno.io/v1/{kind}?labelSelector={OURS}")
        for name in ("default", *self.made):
            for kind in ("limitranges", "resourcequotas"):
                self.ask("DELETE", f"/api/v1/namespaces/{name}/{kind}")
        # The API server goes by a policy for a moment after it is gone, and would name a class that is gone as well.
        for name in self.made:
            self.until(lambda name=name: self.untouched(name))  # type: ignore[misc]
        self.ask("DELETE", f"/apis/rbac.authorization.k8s.io/v1/clusterroles?labelSelector={OURS}")
        self.ask("DELETE", f"/apis/scheduling.k8s.io/v1/priorityclasses?labelSelector={OURS}")
        for name in ("hackspace-inventory-namespace-tiers", "namespace-tiers-table"):
            self.ask("DELETE", f"/api/v1/namespaces/kube-system/configmaps/{name}")
        for name in self.made:
            self.ask("DELETE", f"/api/v1/namespaces/{name}")
        self.made.clear()


@pytest.fixture(scope="package")
def tiers_lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    lab = Lab("tiers-apply-tests", tmp_path_factory.mktemp("lab"))
    try:
        lab.up([CLUSTER, "kyverno"])
        yield lab
    finally:
        lab.down(wipe=True)


@pytest.fixture
def site(tiers_lab: Lab, tmp_path: Path) -> t.Iterator[Site]:
    made = Site(tiers_lab)
    try:
        yield made
    finally:
        made.clear()
