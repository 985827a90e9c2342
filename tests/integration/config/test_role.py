# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role and the modules as real Ansible runs them: secrets, encrypted files, errors, interruption, budgets."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.admin_plan import DEFAULT_POLICY

from tests.integration.ansible_run import Result, private, program, run_module, run_play, start_play

from .conftest import Provider, Server

ADMIN_PASSWORD = "admin-Qm4nV7xT2bK9wR3y"
USER_PASSWORD = "user-Zc5pL8sN1dF6gH2j"
CLIENT_SECRET = "client-Yt3vB9kM4xW7qR2nD6"
SECRETS = (ADMIN_PASSWORD, USER_PASSWORD, CLIENT_SECRET)
ROLE: list[dict[str, t.Any]] = [
    {"name": "Configure", "ansible.builtin.include_role": {"name": "hackspace.infra.openbao_config"}}
]


@dataclasses.dataclass
class Site:
    """A site with an administrators' login that has the rights openbao_init gives it."""

    server: Server
    tag: str
    folder: Path

    @property
    def login(self) -> dict[str, t.Any]:
        return {
            "auth_method": "userpass",
            "mount_point": f"{self.tag}-adm",
            "username": "admin",
            "password_file": self.private("admin", ADMIN_PASSWORD),
        }

    def private(self, name: str, text: str) -> str:
        return private(self.folder / name, text + "\n")

    def variables(self, provider: Provider, **more: t.Any) -> dict[str, t.Any]:
        tag = self.tag
        return {
            "openbao_config_nodes": [
                {"name": n.name, "url": n.address, "tls_server_name": n.tls_server_name}
                for n in self.server.lab.openbao_nodes
            ],
            "platform_openbao": {
                "ca_cert": str(self.server.lab.openbao_ca),
                "kv_mount": f"{tag}-kv",
                "login": self.login,
                "config": {
                    "policies": [{"name": f"{tag}-member", "rules": [{"path": "x/*", "capabilities": ["read"]}]}],
                    "secret_engines": [{"path": f"{tag}-transit", "type": "transit"}],
                    "auth_mounts": [
                        {
                            "path": f"{tag}-oidc",
                            "type": "oidc",
                            "method_config": {
                                "oidc_discovery_url": provider.issuer,
                                "oidc_discovery_ca_pem": provider.ca_pem,
                                "oidc_client_id": "openbao",
                            },
                            "oidc_client_secret_file": self.private("client", CLIENT_SECRET),
                            "roles": [
                                {
                                    "name": "member",
                                    "user_claim": "sub",
                                    "groups_claim": "groups",
                                    "allowed_redirect_uris": ["http://localhost:8250/oidc/callback"],
                                    "token_policies": [f"{tag}-member"],
                                }
                            ],
                        },
                        {
                            "path": f"{tag}-people",
                            "type": "userpass",
                            "users": [
                                {
                                    "name": "ada",
                                    "password_file": self.private("ada", USER_PASSWORD),
                                    "token_policies": [f"{tag}-member", f"{tag}-kv-reader"],
                                }
                            ],
                        },
                    ],
                    "groups": [
                        {
                            "name": f"{tag}-infra",
                            "policies": [f"{tag}-member"],
                            "alias": {"name": "infra", "mount": f"{tag}-oidc"},
                        }
                    ],
                },
            },
            **more,
        }

    def run(self, provider: Provider, *, options: dict[str, t.Any] | None = None, **more: t.Any) -> Result:
        return run_play(ROLE, extra_vars=self.variables(provider, **more), **(options or {}))


@pytest.fixture
def site(server: Server, tag: str, tmp_path: Path) -> Site:
    server.write(f"sys/auth/{tag}-adm", {"type": "userpass", "description": "managed by hackspace.infra"})
    server.write(f"sys/policies/acl/{tag}-adm", {"policy": DEFAULT_POLICY})
    server.write(f"auth/{tag}-adm/users/admin", {"password": ADMIN_PASSWORD, "token_policies": [f"{tag}-adm"]})
    return Site(server, tag, tmp_path)


def found_in(result: Result, *, but: t.Collection[str] = ()) -> list[str]:
    """Return where secrets of this file show up: in what was printed, returned, or left in Ansible's folders."""
    places = {"output": result.output, "tasks": str(result.tasks)}
    for path in result.folder.rglob("*"):
        if path.is_file() and path.name not in but:
            places[str(path)] = path.read_text(errors="replace")
    return [f"{secret[:6]} in {place}" for place, text in places.items() for secret in SECRETS if secret in text]


def test_the_whole_role(site: Site, provider: Provider) -> None:
    planned = site.run(provider, options={"check": True, "diff": True}).ok()
    assert site.server.data(f"sys/policies/acl/{site.tag}-member") is None
    first = site.run(provider).ok()
    made = first.of("openbao_auth_mounts")["changes"]
    assert [c["name"] for c in planned.of("openbao_auth_mounts")["changes"]] == [c["name"] for c in made]
    assert len(made) == 5
    second = site.run(provider).ok()
    assert second.changed == []
    login = site.server.write(f"auth/{site.tag}-people/login/ada", {"password": USER_PASSWORD})
    assert sorted(login["auth"]["policies"]) == ["default", f"{site.tag}-kv-reader", f"{site.tag}-member"]
    # what a person changed by hand
    site.server.write(f"auth/{site.tag}-oidc/role/member", {"user_claim": "email", "allowed_redirect_uris": ["x"]})
    site.server.write(f"sys/mounts/{site.tag}-kv/tune", {"max_lease_ttl": "5h"})
    third = site.run(provider).ok()
    assert [name.split(" : ")[-1] for name in third.changed] == [
        "Keep secret engines as wanted",
        "Keep auth mounts with their roles and users as wanted",
    ]
    assert site.run(provider).ok().changed == []


def test_no_secret_anywhere(site: Site, provider: Provider) -> None:
    options = {"verbosity": 3, "diff": True}
    for check in (True, False):
        result = site.run(provider, options={**options, "check": check}).ok()
        assert "oidc_client_secret" in result.output
        assert found_in(result) == []
    # values inside variables instead of files, and a failure
    variables = site.variables(provider)
    variables["platform_openbao"]["login"] = {**site.login, "password": ADMIN_PASSWORD}
    del variables["platform_openbao"]["login"]["password_file"]
    mounts = variables["platform_openbao"]["config"]["auth_mounts"]
    mounts[0]["oidc_client_secret"] = CLIENT_SECRET
    del mounts[0]["oidc_client_secret_file"]
    mounts[0]["method_config"]["oidc_discovery_url"] = "https://127.0.0.1:1"
    mounts[1]["users"][0]["password"] = USER_PASSWORD
    del mounts[1]["users"][0]["password_file"]
    result = run_play(ROLE, extra_vars=variables, **options)
    assert result.rc != 0
    assert "error checking oidc discovery URL" in result.output
    assert found_in(result, but=("extra-vars.json",)) == []
    # put where it does not belong
    del mounts[0]["oidc_client_secret"]
    mounts[0]["method_config"]["oidc_client_secret"] = CLIENT_SECRET
    result = run_play(ROLE, extra_vars=variables, **options)
    assert result.of("openbao_auth_mounts")["error"]["rule"] == "client-secret-place"
    assert found_in(result, but=("extra-vars.json",)) == []


def test_files_encrypted_by_ansible_vault(site: Site, provider: Provider) -> None:
    key = site.private("vault-key", "vault password")
    variables = site.variables(provider)
    for name in ("admin", "ada", "client"):
        subprocess.run(
            [program("ansible-vault"), "encrypt", "--vault-password-file", key, str(site.folder / name)],
            check=True,
            capture_output=True,
        )
        assert (site.folder / name).read_text().startswith("$ANSIBLE_VAULT")
    result = run_play(ROLE, extra_vars=variables, verbosity=3, args=["--vault-password-file", key]).ok()
    assert found_in(result) == []
    assert site.server.write(f"auth/{site.tag}-people/login/ada", {"password": USER_PASSWORD})["auth"]


def test_an_openbao_policy_that_is_nowhere_stops_everything(site: Site, provider: Provider) -> None:
    variables = site.variables(provider)
    config = variables["platform_openbao"]["config"]
    config["groups"][0]["policies"] = ["nowhere-1"]
    config["auth_mounts"][1]["users"][0]["token_policies"] = ["nowhere-2"]
    config["auth_mounts"][0]["roles"][0]["token_policies"] = ["default", "Nowhere-3"]
    result = run_play(ROLE, extra_vars=variables)
    answer = result.of("openbao_policies")
    assert (result.rc, answer["error"]["rule"]) == (2, "policy-missing")
    assert answer["missing"] == ["nowhere-1", "nowhere-2", "nowhere-3"]
    assert site.server.data(f"sys/policies/acl/{site.tag}-member") is None


def test_requests_of_a_second_run(site: Site, provider: Provider) -> None:
    site.run(provider).ok()
    node = next(n for n in site.server.lab.openbao_nodes if n.name == site.server.active)
    with site.server.proxy() as proxy:
        address: dict[str, t.Any] = {
            "openbao_config_url": proxy.address,
            "openbao_config_tls_server_name": node.tls_server_name,
        }
        assert site.run(provider, **address).ok().changed == []
        seen = [(r.method, r.path.removeprefix("/v1/")) for r in proxy.requests()]
        logins = [p for m, p in seen if m == "POST"]
        # one login for each of the four modules, ended by itself
        assert sorted(set(logins)) == sorted({f"auth/{site.tag}-adm/login/admin", "auth/token/revoke-self"})
        assert len(logins) == 8
        assert len(seen) - len(logins) == 3 + 1 + 6 + 3
        proxy.clear_requests()
        site.run(provider, options={"check": True}, **address).ok()
        assert {p for m, p in ((r.method, r.path) for r in proxy.requests()) if m not in ("GET", "LIST")} == {
            f"/v1/auth/{site.tag}-adm/login/admin",
            "/v1/auth/token/revoke-self",
        }


@pytest.mark.parametrize("after", ["sys/policies/acl", "sys/mounts/.*transit", "auth/.*oidc/config", "users/ada"])
def test_killed_in_the_middle(site: Site, provider: Provider, after: str) -> None:
    node = next(n for n in site.server.lab.openbao_nodes if n.name == site.server.active)
    with site.server.proxy() as proxy:
        address: dict[str, t.Any] = {
            "openbao_config_url": proxy.address,
            "openbao_config_tls_server_name": node.tls_server_name,
        }
        run = start_play(ROLE, extra_vars=site.variables(provider, **address))
        killed: list[str] = []

        def kill(_method: str, path: str) -> None:
            os.killpg(run.process.pid, signal.SIGKILL)
            killed.append(path)

        proxy.call(kill, "after", method="POST", path=after)
        run.process.communicate(timeout=120)
        assert len(killed) == 1
        assert run.process.returncode == -signal.SIGKILL
    assert site.run(provider).ok().changed
    assert site.run(provider).ok().changed == []


def test_errors_before_anything_is_asked(site: Site, provider: Provider) -> None:
    variables = site.variables(provider)
    variables["platform_openbao"]["login"] = {}
    result = run_play(ROLE, extra_vars=variables)
    assert result.rc != 0
    assert "platform_openbao.login" in result.output
    result = site.run(provider, openbao_config_nodes=[])
    assert result.rc != 0
    assert "openbao_nodes" in result.output


def test_module_errors_are_data(site: Site) -> None:
    site.server.write(f"sys/policies/acl/{site.tag}-x", {"policy": 'path "a" { capabilities = ["read"] }'})
    args = {
        **{k: v for k, v in site.server.connection().items() if k not in ("token", "auth_method")},
        **site.login,
        "policies": [{"name": f"{site.tag}-x", "hcl": 'path "a" { capabilities = ["list"] }'}],
    }
    result = run_module("openbao_policies", args, diff=True)
    answer = result.of("openbao_policies")
    assert answer["foreign"] == [f"{site.tag}-x"]
    assert answer["error"]["rule"] == "foreign"
    adopted = run_module("openbao_policies", {**args, "adopt": True}, diff=True, check=True).ok()
    assert f"OpenBao policy {site.tag}-x (adopt: text differs)" in adopted.stdout
    assert adopted.of("openbao_policies")["changed"]


def test_a_paused_server_is_named(site: Site, provider: Provider) -> None:
    """All three hang: the error names them and comes within the time limit."""
    nodes = [n.name for n in site.server.lab.openbao_nodes]
    site.server.lab.pause(*nodes)
    try:
        started = time.monotonic()
        result = site.run(provider, openbao_config_timeout=1.0)
        assert time.monotonic() - started < 30
    finally:
        site.server.lab.resume(*nodes)
    assert result.rc != 0
    assert result.of("openbao_seal_info")["active"] is None
    deadline = time.monotonic() + 60
    while site.server.lab.openbao_active() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert site.run(provider).ok().changed
