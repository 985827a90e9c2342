# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines with what lies in them at the highest verbosity, searched for passwords and keys."""

from __future__ import annotations

import base64
import dataclasses
import json
import secrets
import subprocess
import typing as t
from pathlib import Path

import pytest

from lab.api import Lab
from tests.integration.ansible_run import Result, private, program, run_play

ROLE: list[dict[str, t.Any]] = [
    {"name": "Configure", "ansible.builtin.include_role": {"name": "hackspace.infra.openbao_config"}}
]


@dataclasses.dataclass
class Site:
    """OpenBao and PostgreSQL, with files as an operator keeps them."""

    lab: Lab
    root: str
    folder: Path

    def private(self, name: str, text: str) -> str:
        return private(self.folder / name, text + "\n")

    def user(self, name: str, *rights: str) -> str:
        password = secrets.token_urlsafe(20)
        code, said = self.lab.postgres.query(f"CREATE ROLE {name} LOGIN {' '.join(rights)} PASSWORD '{password}'")
        assert code == 0, said
        return password

    def run(self, engines: list[dict[str, t.Any]], **options: t.Any) -> Result:
        node = next(n for n in self.lab.openbao_nodes if n.name == self.lab.openbao_active())
        variables = {
            "openbao_config_url": node.address,
            "openbao_config_tls_server_name": node.tls_server_name,
            "openbao_config_ca_cert": str(self.lab.openbao_ca),
            "openbao_config_login": {"auth_method": "token", "token_path": self.private("root", self.root)},
            "openbao_config_kv": False,
            "openbao_config_secret_engines": engines,
        }
        return run_play(ROLE, extra_vars=variables, diff=True, verbosity=4, **options)

    def data(self, path: str) -> dict[str, t.Any]:
        server = self.lab.openbao_server(str(self.lab.openbao_active()))
        return dict(server.request("GET", f"/v1/{path}", token=self.root).body["data"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    lab = Lab("secrets-engines", tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["openbao", "postgres"])
        yield Site(lab, lab.init_openbao().root_token, tmp_path_factory.mktemp("files"))
    finally:
        lab.down(wipe=True)


def places(result: Result, *values: str) -> list[str]:
    """Return where one of *values* is in what a run printed, returned or left behind."""
    texts = {"stdout": result.stdout, "stderr": result.stderr, "tasks": json.dumps([vars(x) for x in result.tasks])}
    for file in result.folder.rglob("*"):
        if file.is_file():
            texts[str(file)] = file.read_text(encoding="utf-8", errors="replace")
    wanted = {v for value in values for v in (value, base64.b64encode(value.encode()).decode().rstrip("="))}
    return [where for where, text in texts.items() if any(value in text for value in wanted)]


def test_passwords_and_keys_are_nowhere(site: Site) -> None:
    first, app = site.user("bao_root", "SUPERUSER"), site.user("app")
    key = site.private("vault-key", "vault password")
    file = site.private("connection", first)
    subprocess.run(
        [program("ansible-vault"), "encrypt", "--vault-password-file", key, file], check=True, capture_output=True
    )
    connection: dict[str, t.Any] = {
        "name": "main",
        # ansible would take it for a template of its own
        "connection_url": {"__ansible_unsafe": site.lab.postgres.connection_url},
        "username": "bao_root",
        "password_file": file,
        "rotate_root": True,
    }
    role = {"name": "app", "db_name": "main", "username": "app", "rotation_period": "24h"}
    root = {"type": "root", "common_name": "secrets root", "ttl": "87600h"}
    engines: list[dict[str, t.Any]] = [
        {"path": "database", "type": "database", "database": {"connections": [connection], "static_roles": [role]}},
        {"path": "transit", "type": "transit", "transit_keys": [{"name": "a"}]},
        {"path": "pki", "type": "pki", "config": {"max_lease_ttl": "87600h"}, "pki": {"ca": root}},
    ]
    vault = ["--vault-password-file", key]
    planned = site.run(engines, check=True, args=vault).ok()
    done = site.run(engines, args=vault).ok()
    again = site.run(engines, args=vault).ok()
    assert [c["kind"] for c in done.of("openbao_secret_engines")["changes"]].count("static role") == 1
    assert not again.changed
    rotated = str(site.data("database/static-creds/app")["password"])
    assert site.lab.postgres.can_log_in("app", rotated)
    assert not site.lab.postgres.can_log_in("bao_root", first)
    for result in (planned, done, again):
        assert places(result, first, app, rotated, site.root) == []
        assert "PRIVATE KEY" not in result.output

    # what is refused by the database, and by the module, with the password where it does not belong
    wrong = "wrong/pass@word?" + secrets.token_hex(8)
    refused = {**connection, "name": "other", "password": wrong}
    del refused["password_file"]
    failed = site.run([{**engines[0], "database": {"connections": [refused]}}])
    assert failed.of("openbao_secret_engines")["error"]["rule"] == "database-login"
    # the variable itself is the test's own, given by -e in a file of this folder
    assert [p for p in places(failed, wrong) if not p.endswith("extra-vars.json")] == []
    quoted = {**connection, "name": "other", "connection_url": f"postgresql://u:{first}@db/x"}
    failed = site.run([{**engines[0], "database": {"connections": [quoted]}}], args=vault)
    answer = failed.of("openbao_secret_engines")
    assert answer["error"]["rule"] == "password-in-url"
    assert first not in answer["msg"]
