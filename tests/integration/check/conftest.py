# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A living site that was set up by hand, badly in places, and knows nothing of the collection."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from lab.api import Lab, Proxy

ROOT = Path(__file__).parents[3]
PASSWORD = "wrong-staple-battery-418"
READER_PASSWORD = "no-rights-at-all-419"
NODES = ("openbao-0", "openbao-1", "openbao-2")

ADMIN = """
path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }
"""


@dataclasses.dataclass
class Ran:
    """What a run of check.yml gave."""

    rc: int
    output: str
    result: dict[str, t.Any]
    seconds: float

    def ids(self, severity: str | None = None) -> set[str]:
        return {f["id"] for f in self.result["findings"] if severity in (None, f["severity"])}

    def items(self, finding: str) -> set[str]:
        return {f["item"] for f in self.result["findings"] if f["id"] == finding}


class Living:
    """The site, and what only a test may do to it."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.root_token = lab.init_openbao().root_token
        self.password_file = self.secret_file("password", PASSWORD)
        self.login = {"auth_method": "userpass", "username": "ada", "password_file": str(self.password_file)}

    def secret_file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text + "\n")
        return path

    def ask(self, method: str, path: str, body: t.Any = None, token: str | None = None) -> dict[str, t.Any]:
        active = self.lab.openbao_active()
        assert active is not None
        answer = self.lab.openbao_server(active).request(method, f"/v1/{path}", body, token=token or self.root_token)
        assert answer.status in (200, 204), (path, answer.status, answer.body)
        return answer.body or {}

    def set_up(self) -> None:
        """Make what operators make by hand."""
        cluster = self.lab.clusters["core-infra"]
        for name, text in {
            "admin": ADMIN,
            "eso-tenant": 'path "kv/data/*" { capabilities = ["read"] }',
            "nobody-uses-this": 'path "kv/data/old/*" { capabilities = ["read"] }',
        }.items():
            self.ask("PUT", f"sys/policies/acl/{name}", {"policy": text})
        self.ask("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        for path, kind in {
            "userpass": "userpass",
            "kubernetes-old": "kubernetes",
            "kubernetes-empty": "kubernetes",
            "jwt-ci": "jwt",
        }.items():
            self.ask("POST", f"sys/auth/{path}", {"type": kind})
        self.ask("POST", "auth/userpass/users/ada", {"password": PASSWORD, "token_policies": ["admin"]})
        self.ask("POST", "auth/userpass/users/nobody", {"password": READER_PASSWORD, "token_max_ttl": "1h"})
        self.ask(
            "POST",
            "auth/kubernetes-old/config",
            {"kubernetes_host": cluster.api_server, "kubernetes_ca_cert": cluster.ca_file.read_text()},
        )
        good = {
            "audience": "openbao-core-infra",
            "token_max_ttl": "10m",
            "token_policies": ["eso-tenant"],
            "bound_service_account_names": ["eso"],
            "bound_service_account_namespaces": ["apps"],
        }
        roles: dict[str, dict[str, t.Any]] = {
            "good": {},
            "no-audience": {"audience": ""},
            "everyone": {"bound_service_account_names": ["*"], "bound_service_account_namespaces": ["*"]},
            "default-account": {"bound_service_account_names": ["default"]},
            "any-namespace": {"bound_service_account_namespaces": ["*"]},
            "long": {"token_max_ttl": "720h"},
            "typo": {"token_policies": ["eso-tenent"]},
        }
        for role, changes in roles.items():
            self.ask("POST", f"auth/kubernetes-old/role/{role}", {**good, **changes})
        self.ask("POST", "auth/jwt-ci/config", {"jwt_validation_pubkeys": [cluster.signing_key.read_text()]})
        self.ask(
            "POST",
            "auth/jwt-ci/role/ci",
            {
                "role_type": "jwt",
                "user_claim": "sub",
                "bound_subject": "system:serviceaccount:ci:default",
                "token_max_ttl": "10m",
            },
        )
        old = self.ask(
            "POST", "auth/token/create-orphan", {"ttl": "240h", "policies": ["eso-tenant"], "display_name": "backup"}
        )["auth"]["client_token"]
        self.ask("POST", "auth/token/renew", {"token": old, "increment": "1h"})

    # -- running ---------------------------------------------------------------------------------------------------

    def inventory(self, addresses: dict[str, str], kubeconfig: Path, ca: Path | None = None) -> Path:
        """Edit a copy of inventories/minimal as a person does: the servers, their CA, the kubeconfig."""
        lines = []
        for line in (ROOT / "inventories" / "minimal" / "hosts.yml").read_text().splitlines():
            if "openbao_address:" in line:
                indent = line[: len(line) - len(line.lstrip())]
                lines += [
                    f'{indent}{n.name}: {{openbao_address: "{addresses[n.name]}", '
                    f"openbao_tls_server_name: {n.tls_server_name}}}"
                    for n in self.lab.openbao_nodes
                ]
            elif "ca_cert:" in line:
                lines.append(line.replace("~/openbao-ca.pem", str(ca or self.lab.openbao_ca)))
            elif "kubeconfig:" in line:
                lines.append(line.replace("~/.kube/config", str(kubeconfig)))
            else:
                lines.append(line)
        path = self.folder / "hosts.yml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def check(self, inventory: Path, variables: dict[str, t.Any] | None = None, *flags: str) -> Ran:
        """Run playbooks/check.yml."""
        extra = self.folder / "extra.json"
        extra.touch(mode=0o600)
        extra.write_text(json.dumps({"ansible_python_interpreter": sys.executable, **(variables or {})}))
        started = time.monotonic()
        done = subprocess.run(
            [
                str(Path(sys.executable).parent / "ansible-playbook"),
                f"--inventory={inventory}",
                f"--extra-vars=@{extra}",
                *flags,
                str(ROOT / "playbooks" / "check.yml"),
            ],
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
                "ANSIBLE_LOCAL_TEMP": str(self.folder / "ansible"),
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        seconds = time.monotonic() - started
        output = done.stdout + done.stderr
        result: dict[str, t.Any] = {}
        for play in json.loads(done.stdout[done.stdout.index("{") :])["plays"]:
            for task in play["tasks"]:
                for host in task["hosts"].values():
                    result = host.get("ansible_facts", {}).get("platform_checks_result", result)
        assert result, output
        return Ran(done.returncode, output, result, seconds)

    def direct(self) -> dict[str, str]:
        return {n.name: n.address for n in self.lab.openbao_nodes}

    @contextlib.contextmanager
    def proxied(self) -> t.Iterator[tuple[dict[str, str], Path, list[Proxy]]]:
        """Put a proxy before everything; gives addresses, the cluster's kubeconfig, and the proxies."""
        with contextlib.ExitStack() as stack:
            proxies = [stack.enter_context(self.lab.proxy(n)) for n in NODES]
            cluster = stack.enter_context(self.lab.proxy("core-infra"))
            assert cluster.kubeconfig is not None
            yield dict(zip(NODES, (p.address for p in proxies), strict=True)), cluster.kubeconfig, [*proxies, cluster]


@pytest.fixture(scope="package")
def living(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Living]:
    folder = tmp_path_factory.mktemp("check")
    lab = Lab("check", folder / "lab")
    try:
        lab.up(["openbao", "core-infra"])
        site = Living(lab, folder)
        site.set_up()
        yield site
    finally:
        lab.down(wipe=True)
