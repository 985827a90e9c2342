# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""jwt_reviewer for one and for ten clusters, against the loop of tasks that people write today, on the same servers.

All ten clusters are the one of the lab: ten names, mounts, namespaces and reviewers. The loop makes tokens that never
expire (kubernetes.core cannot ask for others), verifies no certificate of OpenBao and proves nothing, all of which
favours it; jwt_reviewer proves each cluster by its logins whenever it changes something.
"""

from __future__ import annotations

import typing as t

from tests.integration.ansible_run import Result, run_module, run_play
from tests.site import CLUSTER, Site

SIZES = (1, 10)


def openbao(site: Site) -> dict[str, t.Any]:
    """Return how administrators reach OpenBao."""
    node = next(n for n in site.lab.openbao_nodes if n.name == site.lab.openbao_active())
    return {
        "url": node.address,
        "tls_server_name": node.tls_server_name,
        "ca_cert": str(site.lab.openbao_ca),
        "auth_method": "userpass",
        "username": "platform-admin",
        "password_file": str(site.lab.state / "platform-admin.password"),
    }


def ours(site: Site, size: int, **options: t.Any) -> Result:
    """Run the module once for *size* clusters."""
    cluster = site.lab.clusters[CLUSTER]
    clusters = [
        {
            "name": f"ours-{number}",
            "kubeconfig": str(cluster.kubeconfig),
            "namespace": f"ours-{number}",
            "cluster_role": f"ours-{number}",
        }
        for number in range(size)
    ]
    return run_module("jwt_reviewer", {"openbao": openbao(site), "clusters": clusters, **options}).ok()


def theirs(site: Site, size: int) -> Result:
    """Run the loop of tasks for *size* clusters."""
    cluster = site.lab.clusters[CLUSTER]
    server = openbao(site)
    names = [f"theirs-{number}" for number in range(size)]
    ca_pem = cluster.ca_file.read_text(encoding="utf-8")

    def bao(name: str, method: str, path: str, **more: t.Any) -> dict[str, t.Any]:
        asked = {
            "url": f"{server['url']}/v1/{path}",
            "method": method,
            "headers": {"X-Vault-Token": "{{ login.json.auth.client_token }}"},
            "validate_certs": False,
            "body_format": "json",
            "status_code": [200, 204, 400],
            **more,
        }
        return {"name": name, "ansible.builtin.uri": asked, "loop": names, "no_log": True}

    account = {"name": "reviewer", "namespace": "{{ item }}"}
    objects: list[dict[str, t.Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "{{ item }}"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "{{ item }}"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:auth-delegator",
            },
            "subjects": [{"kind": "ServiceAccount", **account}],
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/service-account-token",
            "metadata": {**account, "annotations": {"kubernetes.io/service-account.name": "reviewer"}},
        },
    ]
    kube = {"kubeconfig": str(cluster.kubeconfig)}
    tasks: list[dict[str, t.Any]] = [
        {
            "name": "Make the reviewers",
            "kubernetes.core.k8s": {**kube, "definition": objects, "apply": True},
            "loop": names,
        },
        {
            "name": "Read their tokens",
            "kubernetes.core.k8s_info": {**kube, "kind": "Secret", "namespace": "{{ item }}", "name": "reviewer"},
            "loop": names,
            "register": "tokens",
            "no_log": True,
        },
        {
            "name": "Log in",
            "ansible.builtin.uri": {
                "url": f"{server['url']}/v1/auth/userpass/login/platform-admin",
                "method": "POST",
                "body_format": "json",
                "body": {"password": site.password()},
                "validate_certs": False,
            },
            "register": "login",
            "no_log": True,
        },
        bao("Enable the auth mounts", "POST", "sys/auth/k8s-{{ item }}", body={"type": "kubernetes"}),
        {
            **bao(
                "Configure them",
                "POST",
                "auth/k8s-{{ item.item }}/config",
                body={
                    "kubernetes_host": cluster.api_server,
                    "kubernetes_ca_cert": ca_pem,
                    "token_reviewer_jwt": "{{ item.resources[0].data.token | b64decode }}",
                    "disable_local_ca_jwt": True,
                },
            ),
            "loop": "{{ tokens.results }}",
        },
        {**bao("Look up accessors", "GET", "sys/auth"), "loop": names[:1], "register": "mounts"},
        bao(
            "Write the policies",
            "POST",
            "sys/policies/acl/k8s-{{ item }}",
            body={"policy": 'path "kv/data/{{ item }}/*" { capabilities = ["read"] }'},
        ),
        bao(
            "Write the roles",
            "POST",
            "auth/k8s-{{ item }}/role/tenant",
            body={
                "bound_service_account_names": ["eso"],
                "bound_service_account_namespaces": ["*"],
                "audience": "openbao-{{ item }}",
                "token_policies": ["k8s-{{ item }}"],
                "token_ttl": "10m",
            },
        ),
    ]
    return run_play(tasks, timeout=600).ok()


def compare(site: Site) -> None:
    """Print one line for each figure: seconds of ours, of the loop, and their ratio."""
    for size in SIZES:
        what = f"{size} cluster{'s' if size > 1 else ''}"
        for text, options in (
            ("new", {}),
            ("nothing to do", {}),
            ("every token replaced", {"renew_below": 1.0}),
        ):
            mine = ours(site, size, **options)
            loop = theirs(site, size)
            print(
                f"{mine.secs:8.2f} s  jwt_reviewer, {what}, {text}; the loop takes {loop.secs:.2f} s"
                f" ({loop.secs / mine.secs:.1f} times)",
                flush=True,
            )


def main(site: Site) -> None:
    """Compare on a site that is configured and unsealed."""
    print("Reviewers: jwt_reviewer against a loop of kubernetes.core.k8s and ansible.builtin.uri", flush=True)
    compare(site)
