# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs in to a scenario's OpenBao as pods of two tenants would, and prints what was answered, as JSON.

Usage: pod_login.py JSON with
  lab, cluster: names; mount, audience; kv: path of the tenants' OpenBao secrets (kv/data/tenants/member-prod);
  pods: [{namespace, service_account, role}], of which each reads its own namespace's path and that of the next.
Printed for each pod: status of login (with the right and with the wrong audience), own, other.
"""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lab.api import Lab  # noqa: E402
from tools.pod_identity import Api, make_pod, token_of_pod  # noqa: E402


def main(wanted: dict[str, t.Any]) -> list[dict[str, int]]:
    lab = Lab(wanted["lab"])
    node = next(n for n in lab.openbao_nodes if n.name == lab.openbao_active())
    openbao = Api(node.address, lab.openbao_ca, name=node.tls_server_name)
    root = openbao.with_headers({"X-Vault-Token": lab.init_openbao().root_token})
    about = lab.clusters[wanted["cluster"]]
    cluster = Api(about.api_server, about.ca_file, {"Authorization": f"Bearer {about.token_file.read_text().strip()}"})
    pods = wanted["pods"]
    for pod in pods:
        root.need("POST", f"/v1/{wanted['kv']}/{pod['namespace']}/web", {"data": {"owner": pod["namespace"]}})

    found = []
    for pod, neighbour in zip(pods, [*pods[1:], pods[0]], strict=True):
        namespace, account = pod["namespace"], pod["service_account"]
        uid = make_pod(cluster, namespace, account, account)

        def log_in(audience: str, pod: dict[str, str] = pod, uid: str = uid) -> tuple[int, t.Any]:
            jwt = token_of_pod(
                cluster, pod["namespace"], pod["service_account"], (pod["service_account"], uid), audience
            )
            return openbao.request("POST", f"/v1/auth/{wanted['mount']}/login", {"role": pod["role"], "jwt": jwt})

        status, answer = log_in(wanted["audience"])
        result = {"login": status, "wrong_audience": log_in("somebody-else")[0]}
        if status == 200:
            tenant = openbao.with_headers({"X-Vault-Token": answer["auth"]["client_token"]})
            result["ttl"] = answer["auth"]["lease_duration"]
            result["own"] = tenant.request("GET", f"/v1/{wanted['kv']}/{namespace}/web")[0]
            result["other"] = tenant.request("GET", f"/v1/{wanted['kv']}/{neighbour['namespace']}/web")[0]
        found.append(result)
    return found


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
