# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants, 1 to 1,000 of them, against the loop of tasks that people write today, on the same servers.

Ours is ``jwt_reviewer`` and ``tenants``, one call each; all tenants of a cluster share one role and one policy of
OpenBao, so there is nothing to send to it for a tenant. The loop is ``kubernetes.core.k8s`` with the same objects, and
``community.hashi_vault.vault_write`` with a policy and a role for each tenant, as it knows no other way. It gets the
objects ready-made, finds the auth mount there, judges nothing and verifies no certificate of OpenBao, all of which
favours it. For 1,000 tenants there is no loop: it would take an hour. Flux's controllers are stopped: what they do with
the tenants' repositories is no part of either.

python -m tests.bench.tenants [SIZE...]
"""

from __future__ import annotations

import json
import sys
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.hackspace.infra.plugins.filter.tenant_objects import tenant_objects

from lab.api import Lab
from tests.bench.reviewers import openbao
from tests.integration.ansible_run import Result, run_play
from tests.site import CLUSTER, SITE, Site, new_site

SIZES = (1, 10, 100, 1000)
MOUNT = f"kubernetes-{CLUSTER}"
#: With more tenants than this there is no loop.
LOOPED = 100
PLATFORM = {"git": {"allow": ["https://git.example.org/"]}, "storage_classes": ["fast"]}


def declared(stem: str, size: int) -> list[dict[str, t.Any]]:
    """Return declarations of tenants with one namespace and a repository each."""
    return [
        {
            "version": 1,
            "name": f"{stem}{number}",
            "owner": {"contact": f"{stem}{number}@example.org"},
            "clusters": [CLUSTER],
            "source": {"url": f"https://git.example.org/{stem}{number}", "path": "./deploy"},
        }
        for number in range(size)
    ]


def onboarding(lab: Lab, folder: Path, declarations: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    """Return the task that makes tenants, whose declarations are in *folder* then."""
    for one in declarations:
        (folder / f"{one['name']}.yaml").write_text(json.dumps(one), encoding="utf-8")
    kubeconfig = str(lab.clusters[CLUSTER].kubeconfig)
    wanted = {"kubeconfig": kubeconfig, "cluster": CLUSTER, "platform": PLATFORM, "directory": str(folder)}
    return {"name": "Make the tenants", "hackspace.infra.tenants": wanted}


def ours(site: Site, folder: Path, declarations: list[dict[str, t.Any]]) -> Result:
    """Run the two modules once."""
    kubeconfig = str(site.lab.clusters[CLUSTER].kubeconfig)
    access = {"openbao": openbao(site), "clusters": [{"name": CLUSTER, "kubeconfig": kubeconfig}]}
    login = {"name": "Let tenants log in at OpenBao", "hackspace.infra.jwt_reviewer": access}
    return run_play([login, onboarding(site.lab, folder, declarations)], timeout=1800).ok()


def theirs(site: Site, declarations: list[dict[str, t.Any]]) -> Result:
    """Run the loops, a tenant at a time."""
    kubeconfig = str(site.lab.clusters[CLUSTER].kubeconfig)
    made = [tenant_objects(one, cluster=CLUSTER, platform=PLATFORM, shared=False) for one in declarations]
    connection = {"url": openbao(site)["url"], "validate_certs": False}

    def write(name: str, path: str, data: dict[str, t.Any]) -> dict[str, t.Any]:
        token = {"auth_method": "token", "token": "{{ login.login.auth.client_token }}"}
        return {
            "name": name,
            "community.hashi_vault.vault_write": {**connection, **token, "path": path, "data": data},
            "loop": [one["name"] for one in declarations],
            "no_log": True,
        }

    tasks: list[dict[str, t.Any]] = [
        {
            "name": "Make the tenants",
            "kubernetes.core.k8s": {"kubeconfig": kubeconfig, "definition": "{{ item }}", "apply": True},
            "loop": made,
            "loop_control": {"label": ""},
        },
        {
            "name": "Log in",
            "community.hashi_vault.vault_login": {
                **connection,
                "auth_method": "userpass",
                "username": "platform-admin",
                "password": site.password(),
            },
            "register": "login",
            "no_log": True,
        },
        write(
            "Write the policies",
            "sys/policies/acl/theirs-{{ item }}",
            {"policy": 'path "kv/data/tenants/{{ item }}/*" { capabilities = ["read"] }'},
        ),
        write(
            "Write the roles",
            f"auth/{MOUNT}/role/theirs-{{{{ item }}}}",
            {
                "bound_service_account_names": ["eso"],
                "bound_service_account_namespaces": ["{{ item }}"],
                "audience": f"openbao-{CLUSTER}",
                "token_policies": ["theirs-{{ item }}"],
                "token_ttl": "10m",
            },
        ),
    ]
    return run_play(tasks, timeout=3600).ok()


def compare(site: Site, size: int) -> None:
    """Print one line for each figure: seconds of ours, of the loop, and their ratio."""
    what = f"{size} tenant{'s' if size > 1 else ''}"
    mine, others = declared(f"ours{size}x", size), declared(f"theirs{size}x", size)
    with tempfile.TemporaryDirectory(prefix="tenants-") as name:
        ours(site, Path(name), [])  # what all tenants share, which the loop leaves out
        for text, more in (("new", []), ("nothing to do", []), ("one more", declared(f"more{size}x", 1))):
            done = ours(site, Path(name), mine + more)
            answer = done.of("tenants")
            line = f"{done.secs:8.2f} s  tenants, {what}, {text}, {answer['requests']} requests"
            if size <= LOOPED:
                loop = theirs(site, others + [{**one, "name": f"{one['name']}y"} for one in more])
                line += f"; the loop takes {loop.secs:.2f} s ({loop.secs / done.secs:.1f} times)"
            print(line, flush=True)


def main(sizes: t.Sequence[int] = SIZES) -> None:
    """Compare on a site with a Flux that is locked down."""
    print("Tenants: ours against loops of kubernetes.core.k8s and community.hashi_vault, start-up of Ansible included")
    for size in sizes:
        # A site for each size: what exists already is no part of it.
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as folder,
            new_site(f"bench-tenants-{size}", Path(folder)) as site,
        ):
            run_play(SITE, inventory=site.inventory).ok()
            site.lab.up(["flux"])
            site.lab.stop(f"{CLUSTER}-flux-source", f"{CLUSTER}-flux-kustomize")
            compare(site, size)


if __name__ == "__main__":
    main([int(one) for one in sys.argv[1:]] or SIZES)
