# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same objects as commits, pushed to a real Git server; and the playbook as a webhook runs it."""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

import yaml

from tests.integration.ansible_run import private, run_play
from tests.integration.tenants.conftest import CALENDAR, CLUSTER, Site

PLAYBOOK = Path(__file__).parents[3] / "playbooks" / "tenants.yml"


def into(site: Site, name: str, **more: t.Any) -> dict[str, t.Any]:
    """Return where to render to, with a login that may write."""
    repository = f"clusters/{name}"
    token = site.lab.git.token(name, [repository], write=True)
    url = site.lab.git.repository(repository, {"README": "ours"}, public=False).url
    return {
        "url": url,
        "directory": "tenants",
        "username": name,
        "token": token,
        "ca_cert": str(site.lab.git.ca),
        **more,
    }


def test_a_commit_only_when_something_changed_and_never_a_deletion(site: Site) -> None:
    one, two = site.name("git"), site.name("git")
    target = into(site, one)
    repository = site.lab.git.repository(f"clusters/{one}")
    wanted = [site.declaration(one), site.declaration(two)]
    before = repository.head()
    mark = site.mark()
    planned = site.apply(*wanted, rendered=target, check=True)
    assert planned["changed"]
    assert repository.head() == before
    done = site.apply(*wanted, rendered=target)
    assert done["commit"] == repository.head() != before
    assert target["token"] not in json.dumps(done)
    assert site.writes(mark) == []
    files = repository.files()
    assert set(files) == {"README", "tenants/platform.yaml", f"tenants/tenant-{one}.yaml", f"tenants/tenant-{two}.yaml"}
    kinds = {body["kind"] for body in yaml.safe_load_all(files[f"tenants/tenant-{one}.yaml"])}
    assert {"Namespace", "GitRepository", "Kustomization", "NetworkPolicy"} <= kinds
    again = site.apply(*wanted, rendered=target)
    assert not again["changed"]
    assert again["commit"] == ""
    assert len(repository.log()) == 2
    # a declaration that is gone, and one that is broken
    site.apply(wanted[0], rendered=target)
    site.call(declarations=[wanted[0], {**wanted[1], "clusters": 3}], rendered=target)
    assert set(repository.files()) == set(files)
    assert len(repository.log()) == 2


def test_a_branch_for_review(site: Site) -> None:
    name = site.name("review")
    target = into(site, name, review_branch="tenants/review")
    repository = site.lab.git.repository(f"clusters/{name}")
    wanted = site.declaration(name)
    main = repository.head()
    site.apply(wanted, rendered=target)
    assert repository.head() == main
    assert repository.head("tenants/review") != main
    waiting = site.apply(wanted, rendered=target)
    assert not waiting["changed"]
    assert any("waits on branch tenants/review" in one for one in waiting["warnings"])
    repository.force("main", repository.head("tenants/review"))  # somebody has merged it
    merged = site.apply(wanted, rendered=target)
    assert not merged["changed"]


def test_the_playbook_as_a_webhook_runs_it(site: Site, tmp_path: Path) -> None:
    name = site.name("hook")
    repository = site.lab.git.repository(f"declared/{name}", public=False)
    token = site.lab.git.token(name, [f"declared/{name}"])
    site.lab.git.repository(f"tenants/{name}", {"deploy/calendar.yaml": CALENDAR})
    repository.commit({f"tenants/{name}.yaml": json.dumps(site.declaration(name))})
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "platform_name": "hackspace-lab",
        "platform_clusters": [
            {"name": "core-infra", "role": "upstream"},
            {"name": CLUSTER, "role": "downstream", "kubeconfig": site.kubeconfig},
        ],
        "platform_tenants": {**site.platform, "repository": repository.url, "directory": "tenants"},
        "tenant_onboarding_username": name,
        "tenant_onboarding_token_file": private(tmp_path / "token", f"{token}\n"),
        "tenant_onboarding_git_ca_cert": str(site.lab.git.ca),
    }
    inventory = tmp_path / "site.json"
    inventory.write_text(json.dumps({"controller": {"hosts": {"localhost": variables}}}), encoding="utf-8")
    planned = run_play(PLAYBOOK, inventory=inventory, check=True, diff=True).ok()
    assert planned.changed
    assert site.get(f"/api/v1/namespaces/4-aux-{name}") is None
    first = run_play(PLAYBOOK, inventory=inventory, diff=True, verbosity=3).ok()
    assert first.of("tenants")["revision"] == repository.head()
    assert token not in first.output + (first.folder / "record.jsonl").read_text(encoding="utf-8")
    assert f"{name} is active, changed" in first.stdout
    second = run_play(PLAYBOOK, inventory=inventory, extra_vars={"tenant_onboarding_probe": True}).ok()
    assert second.changed == []
    assert second.of("tenants_info")["confined"]
