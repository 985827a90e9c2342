# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kyverno in the lab: its manifest is kept next to its program, and it runs only when asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import build, kyverno
from lab.api import Lab
from lab.errors import LabError

PROGRAM = "kyverno-admission-controller"
GO = """#!/bin/sh
if [ "$1 $2" = "mod download" ]; then cat "{answer}"; exit 0; fi
while [ "$1" != -o ]; do shift; done; echo built > "$2"
"""
MANIFEST = """---
apiVersion: v1
kind: Namespace
metadata:
  name: kyverno
---
apiVersion: v1
kind: ConfigMap
metadata:
  labels:
    name: misleading
  name: settings
  namespace: kyverno
data:
  text: |
    kind: Secret
"""


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> build.Builder:
    """A builder whose Go 'downloads' a module with one file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KYVERNO_BIN_DIR", raising=False)
    (tmp_path / "module" / "config").mkdir(parents=True)
    (tmp_path / "module" / "config" / "install-latest-testing.yaml").write_text(MANIFEST)
    answer, go = tmp_path / "answer.json", tmp_path / "go"
    go.write_text(GO.format(answer=answer))
    go.chmod(0o755)
    monkeypatch.setattr(build, "find_go", lambda: go)
    return build.Builder([PROGRAM], lambda text: None)


def test_the_manifest_is_kept(builder: build.Builder, tmp_path: Path) -> None:
    program = build.PROGRAMS[PROGRAM]
    lines = (build.MODULES / "kyverno" / "go.sum").read_text().splitlines()
    [digest] = [line.split()[2] for line in lines if line.startswith(f"{program.source} v{program.version} h1:")]
    (tmp_path / "answer.json").write_text(json.dumps({"Dir": str(tmp_path / "module"), "Sum": digest}))
    assert builder.build(PROGRAM, lambda: False) == "built v1.19.1"
    kept = build.path(PROGRAM).parent / kyverno.MANIFEST
    found = [(kind, name) for kind, name, _text in kyverno.documents(kept)]
    assert found == [("Namespace", "kyverno"), ("ConfigMap", "settings")]


def test_sources_with_another_hash_are_not_kept(builder: build.Builder, tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text(json.dumps({"Dir": str(tmp_path / "module"), "Sum": "h1:another"}))
    with pytest.raises(LabError, match=r"is not what .*go\.sum says"):
        builder.build(PROGRAM, lambda: False)
    assert build.missing([PROGRAM]) == [PROGRAM]


def test_programs_of_a_folder_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (PROGRAM, "kyverno"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("KYVERNO_BIN_DIR", str(tmp_path))
    assert build.path(PROGRAM) == tmp_path / PROGRAM
    assert build.path("kyverno") == tmp_path / "kyverno"
    assert build.missing([PROGRAM, "kyverno"]) == []


@pytest.fixture(scope="module")
def kyverno_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab("kyverno-lab", tmp_path_factory.mktemp("lab"), print)
    try:
        yield lab
    finally:
        lab.down(wipe=True)


def states(lab: Lab) -> dict[str, str]:
    return {line.name: line.state for line in lab.status() if line.component == "kyverno"}


def test_it_needs_a_cluster(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="kyverno wants a cluster"):
        Lab("kyverno-alone", tmp_path).up(["kyverno"])


def test_it_runs_when_asked_for_and_comes_back(kyverno_lab: Lab) -> None:
    kyverno_lab.up(["core-infra"])
    assert states(kyverno_lab) == {}
    kyverno_lab.up(["kyverno"])
    both = {"core-infra-kyverno": "ready", "core-infra-kyverno-background": "ready"}
    assert states(kyverno_lab) == both
    server = kyverno_lab.kube_server("core-infra")
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/kyverno-policy-validating-webhook-cfg"
    assert server.request("GET", path).status == 200
    kyverno_lab.stop("core-infra-kyverno", kill=True)
    assert states(kyverno_lab)["core-infra-kyverno"] == "stopped"
    kyverno_lab.start("core-infra-kyverno")
    kyverno_lab.pause("core-infra-kyverno")
    assert states(kyverno_lab)["core-infra-kyverno"] == "paused"
    kyverno_lab.resume("core-infra-kyverno")
    assert states(kyverno_lab) == both
    assert "core-infra-kyverno" in kyverno_lab.down()
    assert kyverno_lab.pids() == []


def test_a_manifest_that_is_not_there_is_named(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in kyverno.PROGRAMS:
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("KYVERNO_BIN_DIR", str(tmp_path))
    lab = Lab("kyverno-given", tmp_path_factory.mktemp("lab"))
    try:
        with pytest.raises(LabError, match=r"install\.yaml is missing: .* next to the program"):
            lab.up(["core-infra", "kyverno"])
    finally:
        lab.down(wipe=True)
