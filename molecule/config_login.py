# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts a lab with OpenBao for a scenario of the roles openbao_config or jwt_reviewer, with the administrators' login.

Usage: config_login.py NAME [CLUSTER KV_MOUNT]; variables for the scenario are left in STATE/config/vars.json.
With a cluster, that is started too, and the secret engine made that the cluster's tenants read.
"""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / ".collections")]

from ansible_collections.hackspace.infra.plugins.module_utils._openbao.admin_plan import DEFAULT_POLICY  # noqa: E402

from lab.api import Lab  # noqa: E402


def private(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return str(path)


def main(name: str, cluster: str = "", kv_mount: str = "") -> None:
    lab = Lab(name)
    lab.up(["openbao", cluster] if cluster else ["openbao"])
    token = lab.init_openbao().root_token
    active = next(n for n in lab.openbao_nodes if n.name == lab.openbao_active())
    server = lab.openbao_server(active.name)
    password = secrets.token_urlsafe(24)
    requests: list[tuple[str, dict[str, object]]] = [
        ("sys/auth/userpass", {"type": "userpass", "description": "managed by hackspace.infra"}),
        ("sys/policies/acl/platform-admin", {"policy": DEFAULT_POLICY}),
        ("auth/userpass/users/platform-admin", {"password": password, "token_policies": ["platform-admin"]}),
    ]
    if kv_mount:
        requests.append((f"sys/mounts/{kv_mount}", {"type": "kv", "options": {"version": "2"}}))
    for path, body in requests:
        answer = server.request("POST", f"/v1/{path}", body, token=token, timeout=30)
        if answer.status >= 300:
            raise SystemExit(f"POST {path}: HTTP {answer.status}")
    folder = lab.state / "config"
    folder.mkdir(mode=0o700, exist_ok=True)
    variables: dict[str, object] = {
        "openbao_config_nodes": [
            {"name": n.name, "url": n.address, "tls_server_name": n.tls_server_name} for n in lab.openbao_nodes
        ],
        "openbao_config_ca_cert": str(lab.openbao_ca),
        "openbao_config_login": {
            "auth_method": "userpass",
            "username": "platform-admin",
            "password_file": private(folder / "password", password),
        },
        "scenario_user_password_file": private(folder / "user-password", secrets.token_urlsafe(24)),
        "scenario_client_secret_file": private(folder / "client-secret", secrets.token_urlsafe(32)),
        "scenario_root_token_file": private(folder / "root-token", token),
        "scenario_active": {"url": active.address, "tls_server_name": active.tls_server_name},
        "scenario_folder": str(folder),
    }
    if cluster:
        about = lab.clusters[cluster]
        variables["scenario_cluster"] = {
            "kubeconfig": str(about.kubeconfig),
            "api_server": about.api_server,
            "ca_file": str(about.ca_file),
        }
    private(folder / "vars.json", json.dumps(variables, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
