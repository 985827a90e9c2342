# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster for all tests of components; each test has names of its own, and what it made of the cluster goes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import time
import typing as t
import urllib.parse
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import run
from ansible_collections.hackspace.infra.plugins.modules import kube_apply, platform_components

from lab.api import Lab

CLUSTER = "core-infra"
MODULES: dict[str, t.Any] = {"kube_apply": kube_apply, "platform_components": platform_components}
_NUMBERS = itertools.count(1)


class Site:
    """The lab's cluster, a folder for manifests, and names of this test's own."""

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
        given = {
            "kubeconfig": self.kubeconfig,
            **args,
            "_ansible_check_mode": check,
            "_ansible_diff": True,
        }
        printed = io.StringIO()
        with patch_module_args(given), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            run(MODULES[name].SPEC, MODULES[name].main)
        return json.loads(printed.getvalue())

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

    def mark(self) -> int:
        """Return where the audit log ends now."""
        return self.lab.clusters[CLUSTER].audit_log.stat().st_size

    def writes(self, mark: int) -> list[tuple[str, str]]:
        """Return the requests of users since *mark* that were neither reads nor dry runs."""
        with self.lab.clusters[CLUSTER].audit_log.open("rb") as handle:
            handle.seek(mark)
            events = [json.loads(line) for line in handle.read().splitlines()]
        return [
            (e["verb"], e["requestURI"])
            for e in events
            if e["user"]["username"] == "lab-admin"
            and e["verb"] not in ("get", "list", "watch")
            and urllib.parse.parse_qs(urllib.parse.urlsplit(e["requestURI"]).query).get("dryRun") != ["All"]
        ]

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
