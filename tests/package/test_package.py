# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The artifact that people install: built, installed in an empty folder, and used there by FQCN."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent

#: A module that reports an unreachable server, a filter on wrong input, and a role that refuses: no server is needed,
#: and each of the three answers can come from our code only.
PLAY = """\
- name: One of each
  hosts: localhost
  gather_facts: false
  tasks:
    - name: A module
      hackspace.infra.openbao_seal_info:
        nodes: [{name: nobody, url: "https://127.0.0.1:9"}]
        timeout: 2
      register: module_answer

    - name: Said what only our module says
      ansible.builtin.assert:
        that:
          - module_answer.nodes[0].name == "nobody"
          - module_answer.nodes[0].state == "unreachable"

    - name: A filter
      ansible.builtin.assert:
        that: findings | map(attribute="id") | list | length > 0
      vars:
        findings: "{{ {'platform_name': 'Not A Name!'} | hackspace.infra.inventory_findings }}"

    - name: A role
      block:
        - name: Run it without servers
          ansible.builtin.include_role:
            name: hackspace.infra.openbao_unseal
      rescue:
        - name: It came as far as its own checks
          ansible.builtin.assert:
            that: "'openbao_unseal' in (ansible_failed_result.msg | string)"
"""


def _environment(home: Path, collections: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "PYTHONPATH"))}
    return {
        **kept,
        "PATH": f"{PROGRAMS}{os.pathsep}{kept.get('PATH', os.defpath)}",
        "ANSIBLE_HOME": str(home),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
    }


def _run(arguments: t.Sequence[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [str(PROGRAMS / arguments[0]), *arguments[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built collection, from a copy of the files that git has, as a release is built."""
    folder = tmp_path_factory.mktemp("build")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    source = folder / "source"
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    environment = _environment(folder / "home", folder / "none")
    _run(["ansible-galaxy", "collection", "build", "--output-path", str(folder / "out")], source, environment)
    (built,) = (folder / "out").glob("hackspace-infra-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def installed(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder far from the checkout with the collection installed in it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = _environment(folder / "home", folder / "collections")
    command = ["ansible-galaxy", "collection", "install", str(artifact), "--no-deps", "-p", str(folder / "collections")]
    _run(command, folder, environment)
    return folder


def test_artifact_has_what_people_need_and_nothing_of_the_workshop(artifact: Path) -> None:
    with tarfile.open(artifact) as archive:
        names = set(archive.getnames())
    for wanted in (
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "requirements.txt",
        "meta/runtime.yml",
        "playbooks/site.yml",
    ):
        assert wanted in names
    for unwanted in (".collections", ".venv", ".git", "tests/output", "lab/.state", ".ci", ".cache"):
        assert not [name for name in names if name == unwanted or name.startswith(f"{unwanted}/")]
    assert not [name for name in names if name.endswith((".pyc", ".tar.gz"))]
    assert not [name for name in names if name.startswith("inventories/lab/") and not name.endswith("README.md")]


def test_metadata_agrees_with_the_requirements(artifact: Path) -> None:
    with tarfile.open(artifact) as archive:
        handle = archive.extractfile("MANIFEST.json")
        assert handle is not None
        info = json.load(handle)["collection_info"]
    text = (ROOT / "requirements.yml").read_text(encoding="utf-8")
    for name, versions in info["dependencies"].items():
        assert f'- name: {name}\n    version: "{versions}"' in text
    assert info["license"] == ["GPL-3.0-or-later"]


def test_every_plugin_is_found_where_it_was_installed(installed: Path) -> None:
    environment = _environment(installed / "home", installed / "collections")
    out = _run(["ansible-doc", "--list", "--json", "hackspace.infra"], installed, environment)
    names = {name.rpartition(".")[2] for name in json.loads(out)}
    assert names == {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")} - {"__init__"}


def test_module_filter_and_role_run_by_fqcn(installed: Path) -> None:
    (installed / "play.yml").write_text(PLAY, encoding="utf-8")
    environment = _environment(installed / "home", installed / "collections")
    out = _run(["ansible-playbook", "play.yml"], installed, environment)
    assert "failed=0" in out
    assert str(ROOT) not in out


def test_playbooks_are_found_by_fqcn(installed: Path) -> None:
    environment = _environment(installed / "home", installed / "collections")
    for path in sorted((ROOT / "playbooks").glob("*.yml")):
        _run(["ansible-playbook", f"hackspace.infra.{path.stem}", "--syntax-check"], installed, environment)
