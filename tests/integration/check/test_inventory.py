# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract as Ansible reads it: shipped inventories, encrypted values, templates, the lab's own inventory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
ONLY = '{"platform_checks_scope": ["inventory"]}'
HEAD = "all:\n  children:\n    controller:\n      hosts:\n        localhost: {ansible_connection: local}\n"


def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible"),
    }


def check(inventory: Path, tmp_path: Path, *flags: str, extra: str = ONLY) -> tuple[list[tuple[str, str]], str]:
    """Return (item, id) of the findings, and everything printed."""
    done = subprocess.run(
        [
            str(BIN / "ansible-playbook"),
            f"--inventory={inventory}",
            f"--extra-vars={extra}",
            *flags,
            str(ROOT / "playbooks" / "check.yml"),
        ],
        env=environment(tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    result: dict[str, t.Any] | None = None
    for task in json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"]:
        result = task["hosts"]["localhost"].get("ansible_facts", {}).get("platform_checks_result", result)
    assert result is not None, done.stdout + done.stderr
    return [(f["item"], f["id"]) for f in result["findings"]], done.stdout + done.stderr


@pytest.mark.parametrize("name", ["minimal", "example"])
def test_shipped_inventories_are_right(name: str, tmp_path: Path) -> None:
    found, _other = check(ROOT / "inventories" / name, tmp_path)
    assert found == []


def test_shipped_inventories_name_files_that_are_not_there(tmp_path: Path) -> None:
    found, _other = check(
        ROOT / "inventories" / "example", tmp_path, extra='{"platform_checks_scope": ["inventory", "files"]}'
    )
    assert {rule for _other, rule in found} == {"file-missing"}
    assert ("platform_clusters[0].kubeconfig", "file-missing") in found


def test_consumers_of_ceph_are_looked_at_with_each_other(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    consumer = (
        "{cluster: one, name: NAME, namespace: NAME, block: [{storage_class: NAME, pool: k8s, rados_namespace: same}]}"
    )
    inventory.write_text(
        HEAD
        + "  vars:\n    platform_clusters:\n      - {name: one, kubeconfig: ~/.kube/one}\n"
        + "    platform_ceph:\n      provider_host: pve1\n      consumers:\n"
        + "".join(f"        - {consumer.replace('NAME', name)}\n" for name in ("a", "b"))
        + "    platform_openbao: {login: {}}\n"
    )
    found, _printed = check(inventory, tmp_path)
    assert ("platform_ceph.consumers[1]: block[0]", "namespace-shared") in found


def test_ansible_lists_the_example(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(BIN / "ansible-inventory"), "--inventory", str(ROOT / "inventories" / "example"), "--list"],
        env={**environment(tmp_path), "ANSIBLE_STDOUT_CALLBACK": "default"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    listed = json.loads(done.stdout)
    assert len(listed["pve_nodes"]["hosts"]) == 3
    assert len(listed["openbao_nodes"]["hosts"]) == 3
    assert set(listed["talos_vms"]["children"]) == {"cluster_core_infra", "cluster_member_prod"}
    assert done.stderr == ""
    variables = listed["_meta"]["hostvars"]["localhost"]
    for name in ("platform_components", "flux_bootstrap_manifests", "tenant_onboarding_token_file"):
        assert variables[name]


def test_encrypted_values_and_lookups_are_not_plain_text(tmp_path: Path) -> None:
    key = tmp_path / "vault-password"
    key.write_text("only for this test\n")
    key.chmod(0o600)
    hidden = "correct-horse-battery-staple-420"
    plain = "another-horse-battery-staple-421"
    encrypted = subprocess.run(
        [str(BIN / "ansible-vault"), "encrypt_string", f"--vault-password-file={key}", "--stdin-name=secret_id"],
        input=hidden,
        env=environment(tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    lines = "".join(f"        {line}\n" for line in encrypted.splitlines())
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        HEAD
        + "  vars:\n    platform_openbao:\n      login:\n        auth_method: approle\n        role_id: site\n"
        + lines
        + f"        password: {plain}\n"
        + "        token: \"{{ lookup('ansible.builtin.pipe', 'echo from-a-command') }}\"\n"
    )
    found, output = check(inventory, tmp_path, f"--vault-password-file={key}", "-vvv")
    assert found == [("platform_openbao.login.password", "plaintext-secret")]
    assert hidden not in output
    assert plain not in output


def test_file_that_is_encrypted_as_a_whole(tmp_path: Path) -> None:
    key = tmp_path / "vault-password"
    key.write_text("only for this test\n")
    site = tmp_path / "site"
    variables = site / "group_vars" / "all" / "vault.yml"
    variables.parent.mkdir(parents=True)
    (site / "hosts.yml").write_text(HEAD)
    text = "platform_openbao: {login: {auth_method: userpass, username: ada, password: whole-file-staple-422}}\n"
    variables.write_text(text)
    assert check(site, tmp_path)[0] == [("platform_openbao.login.password", "plaintext-secret")]
    subprocess.run(
        [str(BIN / "ansible-vault"), "encrypt", f"--vault-password-file={key}", str(variables)],
        env=environment(tmp_path),
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    )
    found, output = check(site, tmp_path, f"--vault-password-file={key}")
    assert found == []
    assert "whole-file-staple-422" not in output


def test_hosts_are_looked_at(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        HEAD
        + "    openbao_nodes:\n      hosts:\n"
        + '        a: {openbao_address: "http://192.0.2.1:8200", unused: "{{ not_defined_anywhere }}"}\n'
        + '        b: {openbao_addres: "https://192.0.2.2:8200"}\n'
        + '        c: {openbao_address: "https://192.0.2.3:8200", backup_password: plain-battery-423}\n'
        + "    cluster_old:\n      hosts: {vm-1: {}}\n"
    )
    found, output = check(inventory, tmp_path)
    assert sorted(found) == [
        ("cluster_old", "cluster-group"),
        ("openbao_nodes[a].openbao_address", "plain-http"),
        ("openbao_nodes[b].openbao_addres", "unknown-key"),
        ("openbao_nodes[b].openbao_address", "missing-key"),
        ("openbao_nodes[c].backup_password", "plaintext-secret"),
    ]
    assert "plain-battery-423" not in output
