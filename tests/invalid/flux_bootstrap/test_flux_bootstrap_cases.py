# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every broken input of flux_bootstrap gives the one error that is expected of it, and shows no secret."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._flux import components, lockdown, model

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2hunter2\n-----END OPENSSH PRIVATE KEY-----\n"
HOSTS = "git.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtdaXJtN0uVFGWUgKzMSlQr5lZJZl1rSSRJgHEHR5Sk"
SSH = {"method": "ssh", "identity": PEM, "known_hosts": HOSTS}
BASIC = {"method": "basic", "password": "hunter2"}
RSA = "-----BEGIN RSA PRIVATE KEY-----\nhunter2hunter2\n-----END RSA PRIVATE KEY-----\n"
APP = {"method": "github_app", "app_id": "1", "installation_id": "2", "private_key": RSA}
SYNC = {"url": "ssh://git@git.example.org/org/repo", "path": "./clusters/one"}


def deployment(name: str, version: str) -> dict[str, t.Any]:
    pod = {"containers": [{"name": "manager", "image": f"ghcr.io/fluxcd/{name}:v1", "args": []}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "flux-system", "labels": {components.VERSION_LABEL: version}},
        "spec": {"template": {"spec": pod}},
    }


def check(case: dict[str, t.Any]) -> None:
    what, give = case["what"], case["give"]
    if what == "rendering":
        model.Rendering(**give).checked()
    elif what == "release":
        version = give.get("version", "v2.9.4")
        objects = give.get("objects") or [deployment(name, version) for name in (lockdown.SOURCE, lockdown.KUSTOMIZE)]
        found = components.release(objects)
        components.render(found, model.Rendering(components=tuple(give["components"])))
    elif what == "sync":
        model.Sync.parse({**SYNC, **give})
    elif what == "age":
        model.age_secret(give["key"])
    else:
        good: dict[str, t.Any] = {"auth": SSH, "https": BASIC, "app": APP}[what]
        url = case.get("url") or (SYNC["url"] if what == "auth" else "https://git.example.org/org/repo")
        if give.get("method") == "none":
            good = {}
        model.git_secret({**good, **give}, url)


@pytest.mark.parametrize("case", CASES, ids=[one["case"] for one in CASES])
def test_the_expected_error(case: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(case)
    assert caught.value.rule == case["rule"]
    assert caught.value.item
    assert caught.value.fix
    assert "hunter2" not in str(caught.value)


def test_names_are_unique() -> None:
    names = [one["case"] for one in CASES]
    assert len(names) == len(set(names))


def test_the_good_ones_are_good() -> None:
    model.Rendering().checked()
    assert model.Sync.parse(SYNC).path == "./clusters/one"
    assert set(model.git_secret(SSH, SYNC["url"])) == {"identity", "known_hosts"}
    assert model.git_secret(BASIC, "https://git.example.org/x") == {"username": "git", "password": "hunter2"}
    assert set(model.git_secret(APP, "https://github.com/x/y")) == {
        "githubAppID",
        "githubAppInstallationID",
        "githubAppPrivateKey",
    }
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    enterprise = {**APP, "base_url": "https://github.example.org/api/v3", "ca_cert": pem}
    found = model.git_secret(enterprise, "https://github.example.org/x/y")
    assert found["githubAppBaseURL"] == enterprise["base_url"]
    assert found["ca.crt"] == pem
    whole = PEM.replace("hunter2hunter2", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ==")
    assert "password" not in model.git_secret({**SSH, "identity": whole}, SYNC["url"])
    locked = {**SSH, "identity": RSA.replace("hunter2hunter2", "Proc-Type: 4,ENCRYPTED"), "password": "hunter2"}
    assert model.git_secret(locked, SYNC["url"])["password"] == "hunter2"
