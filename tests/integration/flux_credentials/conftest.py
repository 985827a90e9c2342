# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster with Flux, whose real controllers run; each test lets it follow a repository of its own."""

from __future__ import annotations

import subprocess
import time
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from lab import build
from lab.api import Lab
from lab.git import Repository
from tests.integration import in_process
from tests.integration.ansible_run import Result
from tests.integration.flux_bootstrap.conftest import REPOSITORY, Site, new_key

CLUSTER = "member-prod"
#: Seconds that a run may wait, and the part of it in which it has to say what is wrong.
PATIENCE, FAST = 300, 120


class Member(Site):
    """The cluster, which follows one repository after the other."""

    def wanted(self, repository: Repository, url: str, auth: t.Mapping[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
        """Return what follows a repository by a login."""
        return {
            "components": ["source-controller", "kustomize-controller"],
            "sync": {"url": url, "path": "./" + repository.name, "interval": "1h", "kustomization_interval": "1h"},
            "git_auth": dict(auth),
            "age_key": None,
            "allow_repoint": True,
            "wait": "sync",
            "wait_timeout": PATIENCE,
            **more,
        }

    def wrong(self, wanted: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Run with what cannot work; return the failure, which has to come fast."""
        begin = time.monotonic()
        failed = self.refused(**wanted)
        assert time.monotonic() - begin < FAST
        assert failed["error"]["rule"] == "flux-failed", failed["msg"]
        return failed

    def follows(self, repository: Repository, wanted: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Run with what works: the cluster has the repository's revision, and a second run changes nothing."""
        done = self.apply(**wanted)
        assert done["revision"] == repository.revision()
        ready = {one["type"]: one for one in self.ask("GET", REPOSITORY)["status"]["conditions"]}["Ready"]
        assert ready["status"] == "True"
        assert ready["reason"] == "Succeeded"
        assert self.apply(**wanted)["changed"] is False
        return done

    def in_ansible(self, wanted: t.Mapping[str, t.Any], **options: t.Any) -> Result:
        """Run in real Ansible, by way of the action plugin, with everything shown that it shows."""
        return self.run(ansible={"verbosity": 3, "diff": True, "timeout": 500, **options}, **wanted)

    def wait(self, kind: str = "GitRepository") -> dict[str, t.Any]:
        """Run flux_wait for what flux_bootstrap has made."""
        args = {
            "kubeconfig": self.kubeconfig,
            "objects": [{"kind": kind, "namespace": "flux-system", "name": "flux-system"}],
            "timeout": PATIENCE,
        }
        return in_process.call("flux_wait", args)

    def config(self, name: str) -> str:
        """Return what a ConfigMap of the repositories says."""
        found = self.ask("GET", f"/api/v1/namespaces/default/configmaps/{name}")
        return str(found["data"]["text"]) if found else ""


def config_map(name: str, text: str = "first") -> str:
    """Return a ConfigMap as it is in a repository."""
    metadata = {"name": name, "namespace": "default"}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": text}})


class Sops:
    """The real program sops."""

    def __init__(self, program: Path) -> None:
        self.program = program

    def encrypt(self, text: str, *recipients: str, kind: str = "yaml", only: str = "") -> str:
        """Encrypt for age recipients; of YAML only the keys that match *only*."""
        argv = [str(self.program), "encrypt", "--age", ",".join(recipients), "--input-type", kind]
        argv += ["--output-type", kind, "--filename-override", f"file.{kind}"]
        argv += ["--encrypted-regex", only] if only else []
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="package")
def sops() -> Sops:
    """The program, built when nobody did so before."""
    for name in build.missing(["sops"]):
        build.Builder([name], print).build(name, lambda: False)
    return Sops(build.path("sops"))


@pytest.fixture(scope="package")
def credentials_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A cluster with Flux, locked down, that follows nothing; the real controllers run."""
    folder = tmp_path_factory.mktemp("site")
    lab = Lab("flux-credentials", folder)
    try:
        lab.up([CLUSTER, "git"])
        site = Member(lab, folder, new_key(folder))
        site.apply(components=["source-controller", "kustomize-controller"], sync=None, git_auth=None, age_key=None)
        lab.follow_flux(CLUSTER)
        yield lab
    finally:
        lab.down(wipe=True)


@pytest.fixture
def member(credentials_lab: Lab, tmp_path: Path) -> Iterator[Member]:
    credentials_lab.git.clear_requests()
    yield Member(credentials_lab, tmp_path, "")
    credentials_lab.git.heal()


@pytest.fixture
def repository(credentials_lab: Lab) -> Callable[[str], Repository]:
    """Makes private repositories with one ConfigMap of the same name."""

    def make(name: str, files: t.Mapping[str, str] | None = None) -> Repository:
        made = {f"{name}/map.yaml": config_map(name), **(files or {})}
        return credentials_lab.git.repository(name, made, public=False)

    return make
