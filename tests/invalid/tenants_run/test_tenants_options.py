# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module tenants that are wrong: one error each, before any server is asked."""

from __future__ import annotations

import contextlib
import io
import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import run
from ansible_collections.hackspace.infra.plugins.modules import tenants, tenants_info

ALICE = {
    "version": 1,
    "name": "alice",
    "owner": {"contact": "alice@example.org"},
    "clusters": ["member-prod"],
    "membership": {"id": "alice"},
}
GIT = {"url": "https://git.example.org/tenants.git"}
INTO = {"url": "https://git.example.org/clusters.git", "directory": "tenants"}
SSO = {"url": "https://sso.example.org", "realm": "club", "client_id": "tenants", "client_secret": "the-secret-of-sso"}

CASES: list[tuple[dict[str, t.Any], str, str]] = [
    ({"directory": "/nowhere/at/all"}, "directory-missing", "directory"),
    ({"repository": {"url": "git@git.example.org:tenants.git"}}, "git-url", "repository.url"),
    ({"repository": {"url": "https://me:token@git.example.org/a.git"}}, "git-url", "repository.url"),
    ({"repository": {"url": "http://git.example.org/a.git"}}, "plain-http", "repository.url"),
    ({"repository": {**GIT, "branch": "-x"}}, "git-branch", "repository.branch"),
    ({"repository": {"url": "ssh://git@git.example.org/a.git", "ssh_key": "x"}}, "known-hosts", "repository"),
    ({"repository": {**GIT, "token": "a-token", "ssh_key": "a-key"}}, "git-login", "repository"),
    ({"repository": {**GIT, "token_file": "/nowhere"}}, "secret-file", "repository.token_file"),
    ({"rendered": {**INTO, "url": "git@git.example.org:a.git"}}, "git-url", "rendered.url"),
    ({"rendered": INTO, "allow_removal": True}, "removal-rendered", "allow_removal"),
    ({"membership": {"source": "keycloak"}}, "login", "membership.keycloak"),
    (
        {"membership": {"source": "keycloak", "keycloak": {**SSO, "client_secret": None}}},
        "login",
        "membership.keycloak",
    ),
    (
        {"membership": {"source": "keycloak", "keycloak": {**SSO, "url": "http://sso.example.org"}}},
        "plain-http",
        "membership.keycloak.url",
    ),
    (
        {"membership": {"source": "keycloak", "keycloak": {**SSO, "url": "sso.example.org"}}},
        "url",
        "membership.keycloak.url",
    ),
    ({"repository": {"url": "https://me:hunter2hunter2@git.example.org/a.git"}}, "git-url", "repository.url"),
    ({"cluster": "other", "platform": {"clusters": ["member-prod"]}}, "unknown-cluster", "cluster"),
]


@pytest.mark.parametrize(("options", "rule", "item"), CASES)
def test_one_error(options: dict[str, t.Any], rule: str, item: str, tmp_path: Path) -> None:
    given: dict[str, t.Any] = {
        "host": "https://127.0.0.1:1",
        "api_key": "nobody",
        "cluster": "member-prod",
        **({} if {"directory", "repository"} & set(options) else {"declarations": [ALICE]}),
        **options,
        "_ansible_check_mode": False,
    }
    printed = io.StringIO()
    with patch_module_args(given), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        run(tenants.SPEC, tenants.main)
    result = json.loads(printed.getvalue())
    assert result["failed"]
    assert result["error"]["rule"] == rule, result["msg"]
    assert result["error"]["item"] == item
    assert result["error"]["fix"]
    assert "the-secret-of-sso" not in printed.getvalue()
    assert "hunter2" not in printed.getvalue()


@pytest.mark.parametrize(
    ("options", "rule", "item"),
    [
        ({"probe_openbao": {"url": "https://192.0.2.1:8200"}}, "probe-openbao", "probe_openbao"),
        (
            {"probe_openbao": {"url": "https://192.0.2.1:8200"}, "openbao": {"server": "https://192.0.2.1:8200"}},
            "probe-openbao",
            "probe_openbao",
        ),
        (
            {
                "probe": True,
                "probe_openbao": {"url": "http://192.0.2.1:8200"},
                "openbao": {"server": "https://192.0.2.1:8200"},
            },
            "plain-http",
            "probe_openbao.url",
        ),
    ],
)
def test_one_error_of_the_probe(options: dict[str, t.Any], rule: str, item: str) -> None:
    given = {"host": "https://127.0.0.1:1", "api_key": "nobody", "cluster": "member-prod", "declarations": [ALICE]}
    printed = io.StringIO()
    with (
        patch_module_args({**given, **options}),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        run(tenants_info.SPEC, tenants_info.main)
    result = json.loads(printed.getvalue())
    assert (result["error"]["rule"], result["error"]["item"]) == (rule, item)
    assert result["error"]["fix"]
