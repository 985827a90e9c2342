# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster for all tests of components; each test has names of its own, and what it made of the cluster goes."""

from __future__ import annotations

import hashlib
import itertools
import time
import typing as t
from pathlib import Path

import pytest
import yaml

from lab.api import Lab
from tests.integration import in_process
from tests.integration.audit import Audited

CLUSTER = "core-infra"
_NUMBERS = itertools.count(1)


class Site(Audited):
    """The lab's cluster, a folder for manifests, and names of this test's own."""

    CLUSTER = CLUSTER

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.number = next(_NUMBERS)
        self.kubeconfig = str(lab.clusters[CLUSTER].kubeconfig)

    def name(self, text: str) -> str:
        return f"{text}-{self.number}"

    def manifest(self, *objects: t.Mapping[str, t.Any], file: str = "") -> dict[str, str]:
        """Write a manifest; return its entry of the option manifests."""
        content = yaml.safe_dump_all(objects)
        path = self.folder / (file or f"{hashlib.sha256(content.encode()).hexdigest()[:12]}.yaml")
        path.write_text(content)
        return {"path": str(path), "sha256": sha256(path)}

    def call(self, components: t.Sequence[t.Mapping[str, t.Any]], *, check: bool = False, **args: t.Any) -> t.Any:
        """Run the module in this process and return what it prints."""
        return self.module("platform_components", check=check, components=list(components), **args)

    def module(self, name: str, *, check: bool = False, **args: t.Any) -> t.Any:
        return in_process.call(name, {"kubeconfig": self.kubeconfig, **args}, check=check)

    def apply(self, components: t.Sequence[t.Mapping[str, t.Any]], **args: t.Any) -> t.Any:
        """It must succeed."""
        result = self.call(components, **args)
        assert not result.get("failed"), result["msg"]
        return result

    def refused(self, components: t.Sequence[t.Mapping[str, t.Any]], **args: t.Any) -> t.Any:
        """It must fail."""
        result = self.call(components, **args)
        assert result.get("failed"), result
        return result

    def ask(self, method: str, path: str, body: t.Any = None, content_type: str = "application/json") -> t.Any:
        """Ask the API server as somebody else who is not in the audit log."""
        answer = self.lab.kube_server(CLUSTER).request(method, path, body, content_type=content_type)
        assert answer.status < 300 or (method in ("GET", "DELETE") and answer.status == 404), answer
        return answer.body if answer.status < 300 else None

    def get(self, path: str) -> t.Any:
        return self.ask("GET", path)

    @staticmethod
    def until(what: t.Callable[[], t.Any], seconds: float = 30) -> t.Any:
        """Return what *what* gives as soon as it is something."""
        end = time.monotonic() + seconds
        while True:
            found = what()
            if found or time.monotonic() > end:
                return found
            time.sleep(0.1)

    # -- objects -------------------------------------------------------------------------------------------------------

    def crd(self, plural: str = "widgets") -> dict[str, t.Any]:
        group = f"t{self.number}.example.org"
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {
                "group": group,
                "names": {"kind": "Widget", "plural": plural},
                "scope": "Namespaced",
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {
                            "openAPIV3Schema": {
                                "type": "object",
                                "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
                            }
                        },
                    }
                ],
            },
        }

    def widget(self, size: t.Any = 3, name: str = "first") -> dict[str, t.Any]:
        return {
            "apiVersion": f"t{self.number}.example.org/v1",
            "kind": "Widget",
            "metadata": {"name": name},
            "spec": {"size": size},
        }

    @staticmethod
    def config_map(name: str = "settings", **data: str) -> dict[str, t.Any]:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"text": "one"}}

    @staticmethod
    def deployment(name: str = "web", **spec: t.Any) -> dict[str, t.Any]:
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "main", "image": "example.org/main:1"}], **spec},
                },
            },
        }


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="package")
def components_lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    lab = Lab("components", tmp_path_factory.mktemp("lab"))
    try:
        lab.up([CLUSTER, "git", "flux"])
        yield lab
    finally:
        lab.down(wipe=True)


@pytest.fixture
def site(components_lab: Lab, tmp_path: Path) -> Site:
    return Site(components_lab, tmp_path)
