# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""External Secrets in the lab: built from a module with two files replaced, started only when asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import build
from lab.api import Lab
from lab.errors import LabError

GO = """#!/bin/sh
if [ "$1 $2" = "mod download" ]; then cat "{answer}"; exit 0; fi
printf '%s|' "$@"
for argument; do case "$argument" in -modfile=*) cat "${{argument#-modfile=}}" >&2; echo; esac; done
find "{target}/.source" -type f
cat "{target}/.source/module/pkg/provider/register/register.go"
while [ "$1" != -o ]; do shift; done; echo built > "$2"
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], build.Builder]:
    """A Go program that 'downloads' a small module with the given hash, and a builder that uses it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ESO_BIN", raising=False)
    module = tmp_path / "module"
    for name in (
        "go.mod",
        "main.go",
        "main_test.go",
        "docs/page.md",
        "pkg/provider/register/register.go",
        "config/crds/bases/one.yaml",
    ):
        (module / name).parent.mkdir(parents=True, exist_ok=True)
        (module / name).write_text(f"original {name}\n")

    def make(digest: str) -> build.Builder:
        answer, go = tmp_path / "answer.json", tmp_path / "go"
        answer.write_text(json.dumps({"Dir": str(module), "Sum": digest}))
        go.write_text(GO.format(answer=answer, target=build.path("external-secrets").parent))
        go.chmod(0o755)
        monkeypatch.setattr(build, "find_go", lambda: go)
        return build.Builder(["external-secrets"], lambda text: None)

    return make


def right_sum() -> str:
    program = build.PROGRAMS["external-secrets"]
    for line in (build.MODULES / "eso" / "go.sum").read_text().splitlines():
        if line.startswith(f"{program.edited} v{program.version} h1:"):
            return line.split()[2]
    raise AssertionError("the module itself is not in go.sum")


def test_our_files_take_the_place_of_the_modules(fake: Callable[[str], build.Builder]) -> None:
    assert fake(right_sum()).build("external-secrets", lambda: False) == "built v0.19.2"
    folder = build.path("external-secrets").parent
    log = (folder / "build.log").read_text()
    assert "pkg/provider/vault" in log
    assert "original pkg" not in log
    assert "/module/main.go" in log
    assert "main_test.go" not in log
    assert "page.md" not in log
    assert f"replace github.com/external-secrets/external-secrets => {folder / '.source' / 'module'}" in log
    assert not (folder / ".source").exists()
    assert (folder / "crds" / "one.yaml").read_text() == "original config/crds/bases/one.yaml\n"


def test_a_module_with_another_hash_is_not_built(fake: Callable[[str], build.Builder]) -> None:
    with pytest.raises(LabError, match=r"is not what .*go\.sum says"):
        fake("h1:another").build("external-secrets", lambda: False)
    assert build.missing(["external-secrets"]) == ["external-secrets"]


def test_an_edit_makes_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = build.path("external-secrets"), build.path("etcd")
    edits = tmp_path / "modules"
    for name in ("eso", "etcd"):
        for file in (build.MODULES / name).rglob("*"):
            if file.is_file():
                target = edits / file.relative_to(build.MODULES)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
    monkeypatch.setattr(build, "MODULES", edits)
    assert (build.path("external-secrets"), build.path("etcd")) == before
    with (edits / "eso" / "edits" / "pkg" / "provider" / "register" / "register.go").open("a") as stream:
        stream.write("// another\n")
    assert build.path("external-secrets") != before[0]


@pytest.fixture(scope="module")
def eso_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab("eso-lab", tmp_path_factory.mktemp("lab"), print)
    try:
        yield lab
    finally:
        lab.down(wipe=True)


def states(lab: Lab) -> dict[str, str]:
    return {line.name: line.state for line in lab.status() if line.name.endswith("-eso")}


def test_it_needs_a_cluster_and_is_known_by_name(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="eso wants a cluster"):
        Lab("eso-alone", tmp_path).up(["eso"])
    with pytest.raises(LabError, match=", eso, "):
        Lab("eso-alone", tmp_path).up(["external-secrets"])


def test_it_runs_when_asked_for_and_comes_back_after_a_reset(eso_lab: Lab) -> None:
    eso_lab.up(["core-infra"])
    assert states(eso_lab) == {}
    eso_lab.up(["eso"])
    assert states(eso_lab) == {"core-infra-eso": "ready"}
    assert eso_lab.components == ("core-infra", "eso")
    server = eso_lab.kube_server("core-infra")
    namespaces = "/api/v1/namespaces"
    server.request("POST", namespaces, {"metadata": {"name": "before"}})
    store = {
        "metadata": {"name": "nowhere", "namespace": "default"},
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "spec": {"provider": {"vault": {"server": "https://127.0.0.1:1", "auth": {"tokenSecretRef": {"name": "x"}}}}},
    }
    path = "/apis/external-secrets.io/v1/namespaces/default/secretstores"
    assert server.request("POST", path, store).status == 201
    deadline = time.monotonic() + 20
    while not (server.request("GET", f"{path}/nowhere").body.get("status") or {}).get("conditions"):
        assert time.monotonic() < deadline, "the controller does not look at stores"
        time.sleep(0.2)
    eso_lab.reset()
    assert states(eso_lab) == {"core-infra-eso": "ready"}
    assert eso_lab.kube_server("core-infra").request("GET", f"{namespaces}/before").status == 404
    eso_lab.restart("eso")
    assert states(eso_lab) == {"core-infra-eso": "ready"}
    assert "core-infra-eso" in eso_lab.down()
    assert eso_lab.pids() == []


def test_custom_resources_that_are_not_there_are_named(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "external-secrets"
    program.touch(0o755)
    monkeypatch.setenv("ESO_BIN", str(program))
    lab = Lab("eso-given", tmp_path_factory.mktemp("lab"))
    try:
        with pytest.raises(LabError, match=r"clustersecretstores\.yaml is missing: .* next to the program"):
            lab.up(["core-infra", "eso"])
    finally:
        lab.down(wipe=True)
