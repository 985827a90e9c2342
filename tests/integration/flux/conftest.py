# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster with Flux's real source and kustomize controllers, locked down, a Git server; a namespace per test."""

from __future__ import annotations

import dataclasses
import itertools
import time
import typing as t

import pytest
import yaml

from lab.api import Lab
from lab.git import Repository
from tests.integration import in_process
from tests.integration.audit import Audited

CLUSTER = "member-prod"
GROUPS = {
    "GitRepository": ("source.toolkit.fluxcd.io/v1", "gitrepositories"),
    "Kustomization": ("kustomize.toolkit.fluxcd.io/v1", "kustomizations"),
}
_NUMBERS = itertools.count(1)
_RIGHTS = "/apis/rbac.authorization.k8s.io/v1/namespaces"


def config(name: str = "made", **data: str) -> dict[str, t.Any]:
    """A ConfigMap for a repository."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def files(*objects: t.Mapping[str, t.Any], folder: str = "deploy") -> dict[str, str]:
    """A folder of a repository with these objects."""
    return {f"{folder}/{number}.yaml": yaml.safe_dump(dict(one)) for number, one in enumerate(objects)}


@dataclasses.dataclass
class Tenant:
    """A namespace, its repository and its Flux objects."""

    site: Site
    name: str
    repository: Repository

    def key(self, kind: str, name: str = "") -> dict[str, str]:
        """An object as modules name it."""
        return {"kind": kind, "namespace": self.name, "name": name or self.name}

    def path(self, kind: str, name: str = "") -> str:
        version, plural = GROUPS[kind]
        return f"/apis/{version}/namespaces/{self.name}/{plural}/{name or self.name}"

    def live(self, kind: str = "Kustomization", name: str = "") -> t.Any:
        return self.site.kube("GET", self.path(kind, name))

    def put(self, kind: str, spec: t.Mapping[str, t.Any], name: str = "", **metadata: t.Any) -> None:
        """Apply an object of Flux as a person would."""
        version, _plural = GROUPS[kind]
        body = {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": name or self.name, "namespace": self.name, **metadata},
            "spec": dict(spec),
        }
        path = f"{self.path(kind, name)}?fieldManager=somebody&force=true"
        self.site.kube("PATCH", path, yaml.safe_dump(body), "application/apply-patch+yaml")

    def source(self, name: str = "", **spec: t.Any) -> None:
        given = {"interval": "1h", "timeout": "20s", "url": self.repository.http_url, "ref": {"branch": "main"}, **spec}
        self.put("GitRepository", given, name)

    def kustomization(self, name: str = "", *, labels: t.Mapping[str, str] | None = None, **spec: t.Any) -> None:
        given = {
            "interval": "1h",
            "retryInterval": "1h",
            "timeout": "20s",
            "prune": True,
            "path": "./deploy",
            "sourceRef": {"kind": "GitRepository", "name": self.name},
            "targetNamespace": self.name,
            **spec,
        }
        self.put("Kustomization", {k: v for k, v in given.items() if v is not None}, name, labels=dict(labels or {}))

    def account(self, name: str = "flux") -> None:
        """The ServiceAccount that lockdown wants, with all rights in its namespace."""
        base = f"/api/v1/namespaces/{self.name}/serviceaccounts"
        self.site.kube("POST", base, {"metadata": {"name": name}})
        self.bind(name)

    def bind(self, name: str = "flux") -> None:
        rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
        self.site.kube("POST", f"{_RIGHTS}/{self.name}/roles", {"metadata": {"name": "all"}, "rules": rules})
        binding = {
            "metadata": {"name": "all"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "all"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.name}],
        }
        self.site.kube("POST", f"{_RIGHTS}/{self.name}/rolebindings", binding)

    def settled(self) -> dict[str, t.Any]:
        """Wait by the module until source and Kustomization are ready."""
        return self.site.apply("flux_wait", objects=[self.key("GitRepository"), self.key("Kustomization")], timeout=180)


@dataclasses.dataclass
class Site(Audited):
    """The lab, and modules run in this process."""

    CLUSTER: t.ClassVar[str] = CLUSTER
    lab: Lab

    @property
    def kubeconfig(self) -> str:
        return str(self.lab.clusters[CLUSTER].kubeconfig)

    def call(self, name: str, *, check: bool = False, **args: t.Any) -> dict[str, t.Any]:
        """Run a module in this process and return what it prints."""
        return in_process.call(name, {"kubeconfig": self.kubeconfig, **args}, check=check)

    def apply(self, name: str, **args: t.Any) -> dict[str, t.Any]:
        """Run a module; it must succeed."""
        result = self.call(name, **args)
        assert not result.get("failed"), result
        return result

    def refused(self, name: str, **args: t.Any) -> dict[str, t.Any]:
        """Run a module; it must fail."""
        result = self.call(name, **args)
        assert result.get("failed"), result
        return result

    def kube(self, method: str, path: str, body: t.Any = None, content_type: str = "application/json") -> t.Any:
        """Ask the API server as somebody who is not in the audit log; ``None`` for what does not exist."""
        answer = self.lab.kube_server(CLUSTER).request(method, path, body, content_type=content_type, timeout=15)
        assert answer.status < 300 or (method in ("GET", "DELETE") and answer.status == 404), (method, path, answer)
        return answer.body if answer.status < 300 else None

    def tenant(self, *objects: t.Mapping[str, t.Any], account: bool = True) -> Tenant:
        """A namespace of its own with a repository that holds *objects*."""
        name = f"t{next(_NUMBERS)}"
        self.kube("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        made = Tenant(self, name, self.lab.git.repository(name, files(*(objects or (config(),)))))
        if account:
            made.account()
        return made

    @staticmethod
    def until(what: str, check: t.Callable[[], t.Any], seconds: float = 120.0) -> t.Any:
        deadline = time.monotonic() + seconds
        while not (found := check()):
            assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
            time.sleep(0.2)
        return found


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    """One lab for all tests of this folder."""
    lab = Lab("flux-tests", tmp_path_factory.mktemp("lab"))
    try:
        lab.up([CLUSTER, "git", "flux"])
        yield Site(lab)
    finally:
        lab.down(wipe=True)
