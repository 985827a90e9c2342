# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the real sops has encrypted in Git, the real kustomize-controller decrypts with the key of flux_bootstrap."""

from __future__ import annotations

import base64
import typing as t
from collections.abc import Callable
from pathlib import Path

import pyrage
import yaml

from lab.git import Repository
from tests.integration.ansible_run import private

from .conftest import Member, Sops

SECRET = "/api/v1/namespaces/default/secrets/from-sops"


def secret(value: str) -> str:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "from-sops", "namespace": "default"}}
    return yaml.safe_dump({**body, "stringData": {"password": value}})


def password(member: Member) -> str:
    found = member.ask("GET", SECRET)
    return base64.b64decode(found["data"]["password"]).decode() if found else ""


def test_secrets_in_git(member: Member, repository: Callable[..., Repository], sops: Sops, tmp_path: Path) -> None:
    """The key comes from a file that sops has encrypted for a person; a wrong one is named; keys are rotated."""
    git = member.lab.git
    old, new, somebody = (pyrage.x25519.Identity.generate() for _number in range(3))
    only = "^(data|stringData)$"
    encrypted = sops.encrypt(secret("first"), str(old.to_public()), only=only)
    assert "first" not in encrypted
    mine = repository("by-sops", {"by-sops/secret.yaml": encrypted})
    auth = {
        "method": "basic",
        "username": "sops",
        "password": git.token("sops", [mine.name]),
        "ca_file": str(git.ca),
    }
    wanted: dict[str, t.Any] = member.wanted(mine, mine.url, auth)

    failed = member.wrong({**wanted, "age_key": str(somebody)})
    found = next(one for one in failed["objects"] if one["kind"] == "Kustomization")
    assert "age key" in found["hint"], found
    assert password(member) == ""
    assert member.wait("Kustomization")["failed"]

    # An administrator keeps the cluster's key encrypted for himself.
    kept = tmp_path / "age-member-prod.sops"
    kept.write_text(sops.encrypt(f"# of member-prod\n{old}\n", str(somebody.to_public()), kind="binary"))
    assert str(old) not in kept.read_text()
    env = {"SOPS_AGE_KEY_FILE": private(tmp_path / "keys.txt", f"{somebody}\n")}
    env["PATH"] = f"{sops.program.parent}:{tmp_path.parent}:/usr/local/bin:/usr/bin:/bin"
    shown = member.in_ansible({**wanted, "age_key_file": str(kept)}, env=env).ok()
    assert password(member) == "first"
    assert shown.of("flux_bootstrap")["revision"] == mine.revision()
    for one in (str(old), str(somebody), "first"):
        assert one not in shown.output

    # Two keys while Git is encrypted again, one by one; then the new one only.
    both = {**wanted, "age_key": f"{old}\n{new}\n"}
    member.follows(mine, both)
    mine.commit({"by-sops/secret.yaml": sops.encrypt(secret("second"), str(new.to_public()), only=only)})
    member.apply(**both)
    again = {**wanted, "age_key": str(new)}
    done = member.follows(mine, again)
    assert [(one["kind"], one["name"]) for one in done["changes"]] == [("Secret", "flux-system/sops-age")]
