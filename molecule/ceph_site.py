# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts a lab for a scenario of rook_ceph_external: Ceph with a pool, a cluster with Rook's definitions.

python molecule/ceph_site.py up LAB [openbao]    writes <state>/ceph-vars.json, and the secrets that it names
python molecule/ceph_site.py try LAB NAMESPACE   says what the keys in a consumer's Kubernetes Secrets can and can't do
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from lab import rook_manifests  # noqa: E402
from lab.api import Lab  # noqa: E402
from lab.files import write  # noqa: E402

CLUSTER = "member-prod"
POOL = "k8s"


def up(name: str, more: list[str]) -> None:
    lab = Lab(name, say=print)
    lab.up(["ceph", CLUSTER, *more, *(["eso"] if more else [])])
    rook_manifests.define(lab.kube_server(CLUSTER))
    ceph = lab.ceph
    ceph.command("osd pool create", pool=POOL, pg_num=8)
    ceph.command("osd pool application enable", pool=POOL, app="rbd")
    ceph.command("osd pool create", pool="vm-disks", pg_num=8)
    values: dict[str, Any] = {
        "site_kubeconfig": str(lab.clusters[CLUSTER].kubeconfig),
        "site_conf": str(ceph.conf),
        "site_keyring": str(ceph.keyring),
        "site_python": str(ceph.bin / "python3"),
    }
    if more:
        write(lab.state / "openbao-token", lab.init_openbao().root_token)
        server = lab.openbao_server(str(lab.openbao_active()))
        token = (lab.state / "openbao-token").read_text()
        server.request("POST", "/v1/sys/mounts/kv", {"type": "kv", "options": {"version": "2"}}, token=token)
        values |= {
            "site_openbao_nodes": [
                {"name": one.name, "url": one.address, "tls_server_name": one.tls_server_name}
                for one in lab.openbao_nodes
            ],
            "site_openbao_server": lab.openbao_nodes[0].address,
            "site_openbao_ca": str(lab.openbao_ca),
            "site_openbao_token": str(lab.state / "openbao-token"),
        }
    write(lab.state / "ceph-vars.json", json.dumps(values))


def tries(name: str, namespace: str) -> None:
    """Print Ceph's codes for what the provisioner's key is for, and for what it isn't."""
    lab = Lab(name)
    path = f"/api/v1/namespaces/{namespace}/secrets/rook-csi-rbd-provisioner"
    data = lab.kube_server(CLUSTER).request("GET", path).body["data"]
    user, key = (base64.b64decode(data[field]).decode() for field in ("userID", "userKey"))
    own = user.removeprefix("k8s-").partition("-rbd-")[0]
    orders: dict[str, dict[str, Any]] = {
        "own": {"rbd": "ls", "pool": POOL, "namespace": own},
        "neighbour": {"rbd": "ls", "pool": POOL, "namespace": "neighbour"},
        "root": {"rbd": "ls", "pool": POOL},
        "users": {"mon": {"prefix": "auth ls"}},
    }
    answers = lab.ceph.ask([*orders.values()], user=f"client.{user}", key=key, timeout=30)
    print(json.dumps({"user": user, **dict(zip(orders, (one.code for one in answers), strict=True))}))


if __name__ == "__main__":
    if sys.argv[1] == "up":
        up(sys.argv[2], sys.argv[3:])
    else:
        tries(sys.argv[2], sys.argv[3])
