# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster with the real controllers of Flux and a Git server for all tests; each test has tenants of its own."""

from __future__ import annotations

import itertools
import time
import typing as t
from pathlib import Path

import pytest

from lab.api import Lab
from tests.integration import in_process
from tests.integration.audit import Audited
from tools import demonstration

CLUSTER = "member-prod"
_NUMBERS = itertools.count(1)
_DEPLOYMENT = "/apis/apps/v1/namespaces/flux-system/deployments/source-controller"

#: What a tenant has in its repository: the demonstration's calendar, and something that changes.
CALENDAR = f"""{demonstration.CALENDAR}---
apiVersion: v1
kind: ConfigMap
metadata: {{name: calendar}}
data: {{greeting: hello}}
"""


class Site(Audited):
    """The lab's cluster, its Git server, and the tenants of one test."""

    CLUSTER = CLUSTER

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.kubeconfig = str(lab.clusters[CLUSTER].kubeconfig)
        self.platform: dict[str, t.Any] = {
            "git": {"allow": [f"{lab.git.url}/"]},
            "domains": {"self_service": ["{tenant}.members.example.org"]},
            "storage_classes": ["fast"],
            "ingress": {"authentication": {"nginx.ingress.kubernetes.io/auth-url": "https://sso.example.org/auth"}},
        }

    # -- tenants ---------------------------------------------------------------------------------------------------

    def name(self, stem: str) -> str:
        """Return a name that no other test has."""
        return f"{stem}{next(_NUMBERS)}"

    def declaration(self, name: str, **more: t.Any) -> dict[str, t.Any]:
        """Return a declaration whose repository exists."""
        return {
            "version": 1,
            "name": name,
            "owner": {"contact": f"{name}@example.org"},
            "clusters": [CLUSTER],
            "source": {"url": self.lab.git.repository(f"tenants/{name}").url, "path": "./deploy"},
            **more,
        }

    def call(self, module: str = "tenants", *, check: bool = False, **args: t.Any) -> dict[str, t.Any]:
        """Run a module in this process and return what it prints."""
        given = {"kubeconfig": self.kubeconfig, "cluster": CLUSTER, "platform": self.platform, **args}
        return in_process.call(module, given, check=check)

    def apply(self, *declarations: t.Mapping[str, t.Any], **args: t.Any) -> dict[str, t.Any]:
        """Bring the cluster to what declarations say; it must succeed."""
        result = self.call(declarations=list(declarations), **args)
        assert not result.get("failed"), result["msg"]
        return result

    # -- the cluster -----------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: t.Any = None, content_type: str = "application/json") -> t.Any:
        """Ask the API server as its administrator; nothing if it is not there."""
        answer = self.lab.kube_server(CLUSTER).request(method, path, body, content_type=content_type)
        assert answer.status < 300 or (method in ("GET", "DELETE") and answer.status == 404), answer
        return answer.body if answer.status < 300 else None

    def get(self, path: str) -> t.Any:
        return self.ask("GET", path)

    def items(self, path: str) -> list[dict[str, t.Any]]:
        return list(self.get(path)["items"])

    @staticmethod
    def until(what: t.Callable[[], t.Any], seconds: float = 60) -> t.Any:
        """Return what *what* gives as soon as it is something."""
        end = time.monotonic() + seconds
        while True:
            found = what()
            if found or time.monotonic() > end:
                return found
            time.sleep(0.2)

    def kick(self, namespace: str, name: str) -> None:
        """Let Flux look at a tenant's repository now."""
        body = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": str(time.time_ns())}}}
        for group, kind in (("source", "gitrepositories"), ("kustomize", "kustomizations")):
            path = f"/apis/{group}.toolkit.fluxcd.io/v1/namespaces/{namespace}/{kind}/{name}"
            self.ask("PATCH", path, body, content_type="application/merge-patch+json")

    def flux(self, namespace: str, name: str) -> dict[str, t.Any]:
        """Return the condition Ready of a tenant's Kustomization."""
        found = self.get(f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{namespace}/kustomizations/{name}")
        conditions = ((found or {}).get("status") or {}).get("conditions") or []
        return next((one for one in conditions if one["type"] == "Ready"), {})


def trust_git(lab: Lab) -> None:
    """Let the source controller trust the authority of the lab's Git server, as a site does with its own."""
    server = lab.kube_server(CLUSTER)
    found = server.request("GET", _DEPLOYMENT).body
    container = found["spec"]["template"]["spec"]["containers"][0]
    container.setdefault("env", []).append({"name": "SSL_CERT_FILE", "value": str(lab.git.ca)})
    # Whatever version: the cluster's own controllers may be writing its status now.
    del found["metadata"]["resourceVersion"]
    assert server.request("PUT", _DEPLOYMENT, found).status == 200
    lab.follow_flux(CLUSTER)


@pytest.fixture(scope="package")
def tenants_lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    lab = Lab("tenants-tests", tmp_path_factory.mktemp("lab"))
    try:
        lab.up([CLUSTER, "flux", "git"])
        trust_git(lab)
        yield lab
    finally:
        lab.down(wipe=True)


@pytest.fixture
def site(tenants_lab: Lab, tmp_path: Path) -> Site:
    return Site(tenants_lab)
