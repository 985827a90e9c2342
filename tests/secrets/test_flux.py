# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flux' credentials at the highest verbosity: nothing printed or written has a key, a token or a password in it."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from lab.api import Lab
from tests.integration.ansible_run import ROOT, Result, private, run_play
from tests.integration.flux_bootstrap.conftest import AGE_KEY, HOST_KEY, OTHER_AGE_KEY, Site, new_key
from tests.secrets.test_site import leaks, notations

PASSWORD = "hunter2-for-the-deploy-key"
TOKEN = "a-token-that-nobody-may-see-5527"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    lab = Lab("flux-secrets", tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["member-prod"])
        yield Site(lab, folder, new_key(folder))
    finally:
        lab.down(wipe=True)


def play(site: Site, *, check: bool = False, **variables: t.Any) -> Result:
    values: dict[str, t.Any] = {
        "kubeconfig": site.kubeconfig,
        "manifests": site.manifests(),
        "components": ["source-controller", "kustomize-controller"],
        "wait": "none",
        **variables,
    }
    extra = {f"flux_bootstrap_{name}": value for name, value in values.items()}
    return run_play(ROOT / "playbooks" / "flux_bootstrap.yml", extra_vars=extra, check=check, diff=True, verbosity=4)


def test_keys_tokens_and_refusals(site: Site, tmp_path: Path) -> None:
    hosts = tmp_path / "known_hosts"
    hosts.write_text(f"git.example.org ssh-ed25519 {HOST_KEY}\n")
    ssh = {
        "method": "ssh",
        "identity_file": site.key,
        "password_file": private(tmp_path / "password", PASSWORD),
        "known_hosts_file": str(hosts),
    }
    basic = {"method": "basic", "password_file": private(tmp_path / "token", TOKEN)}
    first = {"url": "ssh://git@git.example.org/x/clusters", "path": "./clusters/one"}
    second = {"url": "https://git.example.org/x/clusters", "path": "./clusters/one"}
    age = private(tmp_path / "age", AGE_KEY)
    other = private(tmp_path / "other-age", OTHER_AGE_KEY)
    damaged = private(tmp_path / "damaged", AGE_KEY[:-4] + "QQQQ")
    runs = [
        play(site, sync=first, git_auth=ssh, age_key_file=age, check=True),
        play(site, sync=first, git_auth=ssh, age_key_file=age),
        play(site, sync=first, git_auth=ssh, age_key_file=other),
        play(site, sync=first, git_auth=ssh, age_key_file=damaged),
        play(site, sync=second, git_auth=basic, age_key_file=other),
        play(site, sync=second, git_auth=basic, age_key_file=other, allow_repoint=True),
    ]
    assert [run.rc == 0 for run in runs] == [True, True, True, False, False, True]
    identity = Path(site.key).read_text()
    lines = [line for line in identity.splitlines() if not line.startswith("---")]
    secrets = {identity, *lines, PASSWORD, TOKEN, AGE_KEY, OTHER_AGE_KEY, AGE_KEY[:-4]}
    searched = {text for secret in secrets for text in notations(secret)}
    assert [leaks(run, searched) for run in runs] == [[]] * len(runs)
