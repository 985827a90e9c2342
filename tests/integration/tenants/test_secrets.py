# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook of tenants at the highest verbosity: its logins to Git and Keycloak are printed nowhere."""

from __future__ import annotations

import json
import sys
import threading
import typing as t
from pathlib import Path

import pytest

from tests.integration.ansible_run import private, run_play
from tests.integration.tenants.conftest import CLUSTER, Site
from tests.integration.tenants.test_rendered import PLAYBOOK, into
from tests.secrets.test_site import leaks, notations
from tests.unit.tenants.test_keycloak import SECRET, Realms

#: What somebody wrote into a declaration, where a path should be, and into the file of another client's secret.
PASSWORD = "hunter2-of-the-registry"
WRONG = "another-secret-that-keycloak-refuses"


@pytest.fixture
def keycloak() -> t.Iterator[Realms]:
    made = Realms()
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_logins_of_git_and_keycloak(site: Site, keycloak: Realms, tmp_path: Path) -> None:
    name = site.name("quiet")
    repository = site.lab.git.repository(f"declared/{name}", public=False)
    reading = site.lab.git.token(f"{name}-reader", [f"declared/{name}"])
    member = {"membership": {"id": "user1"}}
    wrong = {**site.declaration("loud"), "image_pull": [{"name": "registry", "password": PASSWORD}]}
    repository.commit({f"tenants/{name}.yaml": json.dumps({**site.declaration(name), **member})})
    rendered = into(site, name)
    writing = rendered.pop("token")

    def play(secret: str, **more: t.Any) -> t.Any:
        membership = {
            "source": "keycloak",
            "keycloak": {
                "url": keycloak.url,
                "realm": "club",
                "client_id": "tenants",
                "client_secret_file": private(tmp_path / "keycloak", f"{secret}\n"),
            },
        }
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "platform_clusters": [{"name": CLUSTER, "role": "downstream", "kubeconfig": site.kubeconfig}],
            "platform_tenants": {
                **site.platform,
                "repository": repository.url,
                "directory": "tenants",
                "membership": membership,
            },
            "tenant_onboarding_username": f"{name}-reader",
            "tenant_onboarding_token_file": private(tmp_path / "token", f"{reading}\n"),
            "tenant_onboarding_git_ca_cert": str(site.lab.git.ca),
            "tenant_onboarding_rendered": {
                **rendered,
                "token_file": private(tmp_path / "write", f"{writing}\n"),
            },
            **more,
        }
        inventory = tmp_path / "site.json"
        inventory.write_text(json.dumps({"controller": {"hosts": {"localhost": variables}}}), encoding="utf-8")
        return run_play(PLAYBOOK, inventory=inventory, diff=True, verbosity=4)

    done = play(SECRET).ok()
    assert done.of("tenants")["commit"]
    repository.commit({"tenants/loud.yaml": json.dumps(wrong)})
    refused = play(WRONG)
    assert refused.rc != 0
    assert "loud.yaml" in refused.stdout
    asked = {text for secret in (reading, writing, SECRET, WRONG, PASSWORD) for text in notations(secret)}
    # the inventory, which the test itself has written, has none of them either
    assert [leaks(run, asked) for run in (done, refused)] == [[], []]
