# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepares the scenarios of openbao_unseal: an initialised lab, sealed by a restart, its shares handed to the holders.

python molecule/unseal_shares.py LAB [--pods]
    writes <state>/unseal/<holder>.share, .age and .asc, and <state>/unseal/vars.json;
    with --pods the servers are pods of a cluster as well
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyrage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lab.api import Lab


def private(path: Path, data: bytes) -> str:
    """Write a file that only its owner can read; return its path."""
    path.touch(mode=0o600)
    path.write_bytes(data)
    return str(path)


def main(name: str, *, pods: bool = False) -> None:
    lab = Lab(name, say=print)
    lab.up(["openbao", *(["core-infra", "openbao-pods"] if pods else [])], init=True)
    keys = lab.init_openbao().shares
    folder = lab.state / "unseal"
    folder.mkdir(mode=0o700, exist_ok=True)
    sources: dict[str, dict[str, object]] = {}
    for holder, key in zip(lab.holders, keys, strict=True):
        recipient = pyrage.x25519.Recipient.from_str(holder.age_recipient)
        plain = private(folder / f"{holder.name}.share", key.encode())
        age = private(folder / f"{holder.name}.age", pyrage.encrypt(key.encode(), [recipient], armored=True))
        sources[f"{holder.name}_file"] = {"name": holder.name, "file": plain}
        sources[f"{holder.name}_command"] = {"name": holder.name, "command": ["cat", plain]}
        sources[f"{holder.name}_age"] = {
            "name": holder.name,
            "age_file": age,
            "age_identity_file": str(holder.age_identity_file),
        }
        if holder.pgp_public_key and shutil.which("gpg"):
            command = ["gpg", "--homedir", str(holder.gnupg_home), "--batch", "--trust-model", "always", "--armor"]
            command += ["--encrypt", "--recipient-file", str(holder.pgp_public_key)]
            done = subprocess.run(command, input=key.encode(), capture_output=True, check=True)
            message = private(folder / f"{holder.name}.asc", done.stdout)
            sources[f"{holder.name}_pgp"] = {"name": holder.name, "pgp_file": message}
            short = Path(f"/tmp/{name}-gnupg")  # noqa: S108 (the agent's socket needs a short path)
            shutil.rmtree(short, ignore_errors=True)
            shutil.copytree(holder.gnupg_home or "", short)
            os.chmod(short, 0o700)
    nodes = [{"name": n.name, "url": n.address, "tls_server_name": n.tls_server_name} for n in lab.openbao_nodes]
    found: dict[str, object] = {
        "scenario_sources": sources,
        "openbao_unseal_nodes": nodes,
        "openbao_unseal_ca_cert": str(lab.openbao_ca),
        "openbao_unseal_holders": [holder.name for holder in lab.holders],
    }
    if pods:
        kubeconfig = str(lab.clusters["core-infra"].kubeconfig)
        found["scenario_pods"] = {"kubeconfig": kubeconfig, "namespace": "openbao"}
    private(folder / "vars.json", json.dumps(found, indent=1).encode())
    lab.restart("openbao", kill=True)
    if pods:
        lab.openbao_pods.deploy(policy="Parallel")


if __name__ == "__main__":
    main(sys.argv[1], pods="--pods" in sys.argv[2:])
