# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""tenants with the narrow identity: enough for what it does, and for nothing else."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.filter.tenant_provisioner import tenant_provisioner
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import client_of
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import ServerError

from lab.kube import kubeconfig
from tests.integration.tenants.conftest import CLUSTER, Site
from tests.integration.tenants.test_rendered import into

RBAC = "rbac.authorization.k8s.io"
SPACE = "/api/v1/namespaces"
APPLY = "application/apply-patch+yaml"
PLURAL = {
    "ServiceAccount": "/api/v1/namespaces/kube-system/serviceaccounts",
    "ClusterRole": f"/apis/{RBAC}/v1/clusterroles",
    "ClusterRoleBinding": f"/apis/{RBAC}/v1/clusterrolebindings",
    "Role": f"/apis/{RBAC}/v1/namespaces/kube-system/roles",
    "RoleBinding": f"/apis/{RBAC}/v1/namespaces/kube-system/rolebindings",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
}


class Narrow:
    """The account, and a kubeconfig of its own."""

    def __init__(self, site: Site, name: str, folder: Path, **options: t.Any) -> None:
        self.site = site
        self.user = f"system:serviceaccount:kube-system:{name}"
        for one in tenant_provisioner(name, platform=site.platform, **options):
            path = f"{PLURAL[one['kind']]}/{one['metadata']['name']}?fieldManager=test&force=true"
            site.ask("PATCH", path, one, content_type=APPLY)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = site.ask("POST", f"{SPACE}/kube-system/serviceaccounts/{name}/token", request)
        self.token = str(answer["status"]["token"])
        self.kubeconfig = folder / f"{name}.kubeconfig"
        cluster = site.lab.clusters[CLUSTER]
        kubeconfig(self.kubeconfig, context=CLUSTER, server=cluster.api_server, ca=cluster.ca_file, token=self.token)

    def refused(self, method: str, path: str, body: t.Any = None, content_type: str = "application/json") -> str:
        """Return with which words the API server refuses it; empty if it does not."""
        where, _mark, query = path.partition("?")
        try:
            with client_of({"kubeconfig": str(self.kubeconfig)}) as api:
                api.request(
                    method, where, body=body, query={"dryRun": "All"} if query else {}, content_type=content_type
                )
        except ServerError as error:
            return error.said if error.status == 403 else ""
        return ""


@pytest.fixture
def narrow(site: Site, tmp_path: Path) -> Narrow:
    site.apply(site.declaration(site.name("first")))  # an administrator's run makes what all tenants share
    made = Narrow(site, "tenants-provisioner", tmp_path)
    # until the API server enforces the policy
    assert site.until(lambda: "namespaces of tenants" in made.refused("POST", f"{SPACE}?dryRun=All", space("other")))
    return made


def space(name: str, **labels: str) -> dict[str, t.Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def binding(namespace: str, role: str, subject: dict[str, str]) -> dict[str, t.Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "mine", "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }


def test_it_brings_tenants_up_and_down_and_up(site: Site, narrow: Narrow) -> None:
    name = site.name("narrow")
    path = str(narrow.kubeconfig)
    declared = site.declaration(name, access=[{"group": name, "role": "operator"}])
    mark = site.mark()
    made = site.apply(declared, kubeconfig=path)
    assert {one["result"] for one in made["tenants"]} == {"changed"}
    assert site.asked(mark, "lab-admin") == []
    assert site.asked(mark, narrow.user)
    assert not site.apply(declared, kubeconfig=path)["changed"]
    less = site.apply({**declared, "access": []}, kubeconfig=path)
    assert [one["kind"] for one in less["changes"] if one["action"] == "delete"] == ["RoleBinding"] * 2
    down = site.apply({**declared, "state": "suspended"}, kubeconfig=path)
    assert [one["state"] for one in down["tenants"]] == ["suspended"]
    up = site.apply(declared, kubeconfig=path)
    assert [one["state"] for one in up["tenants"]] == ["active"]
    fare = site.call("tenants_info", declarations=[declared], kubeconfig=path)
    assert not fare.get("failed"), fare["msg"]
    assert fare["tenants"][0]["drift"] == []


def test_it_can_do_nothing_else(site: Site, narrow: Narrow) -> None:
    tenant = site.name("neighbour")
    site.apply(site.declaration(tenant))
    own = f"4-aux-{tenant}"
    bindings = f"/apis/{RBAC}/v1/namespaces/{{}}/rolebindings?dryRun=All"
    me = {"kind": "ServiceAccount", "name": "tenants-provisioner", "namespace": "kube-system"}
    flux = {"kind": "ServiceAccount", "name": "flux", "namespace": own}
    group = {"kind": "Group", "name": "system:serviceaccounts", "apiGroup": RBAC}
    admin = {**binding("", "cluster-admin", me), "kind": "ClusterRoleBinding", "metadata": {"name": "mine"}}
    marks = {
        "app.kubernetes.io/managed-by": "hackspace.infra",
        "app.kubernetes.io/part-of": "tenants",
        "toolkit.fluxcd.io/tenant": "x",
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mine"}}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}, "data": {}}
    merge = "application/merge-patch+json"
    by_rbac = {
        "secrets of a tenant": narrow.refused("GET", f"{SPACE}/{own}/secrets"),
        "secrets of the platform": narrow.refused("GET", f"{SPACE}/kube-system/secrets"),
        "config of others": narrow.refused("GET", f"{SPACE}/kube-system/configmaps"),
        "cluster-admin": narrow.refused("POST", f"/apis/{RBAC}/v1/clusterrolebindings?dryRun=All", admin),
        "admin in a namespace": narrow.refused("POST", bindings.format(own), binding(own, "admin", flux)),
        "a role": narrow.refused(
            "PATCH", f"{PLURAL['ClusterRole']}/tenant-reconciler?dryRun=All", {"rules": []}, content_type=merge
        ),
        "a guard": narrow.refused("DELETE", f"{PLURAL['ValidatingAdmissionPolicy']}/tenants-provisioner?dryRun=All"),
        "a token": narrow.refused("POST", f"{SPACE}/{own}/serviceaccounts/flux/token", {}),
        "a namespace goes": narrow.refused("DELETE", f"{SPACE}/{own}?dryRun=All"),
    }
    assert [what for what, said in by_rbac.items() if not said or "ValidatingAdmissionPolicy" in said] == [], by_rbac
    by_guard = {
        "our role elsewhere": narrow.refused(
            "POST", bindings.format("kube-system"), binding("kube-system", "tenant-reconciler", me)
        ),
        "our role for itself": narrow.refused("POST", bindings.format(own), binding(own, "tenant-reconciler", me)),
        "our role for a group of the system": narrow.refused(
            "POST", bindings.format(own), binding(own, "tenant-operator", group)
        ),
        "a namespace of nobody": narrow.refused("POST", f"{SPACE}?dryRun=All", space("other")),
        "another one becomes a tenant's": narrow.refused(
            "PATCH", f"{SPACE}/kube-system?dryRun=All", {"metadata": {"labels": marks}}, content_type=merge
        ),
        "a tenant's becomes another one": narrow.refused(
            "PATCH",
            f"{SPACE}/{own}?dryRun=All",
            {"metadata": {"labels": {"app.kubernetes.io/part-of": None}}},
            content_type=merge,
        ),
        "an account elsewhere": narrow.refused("POST", f"{SPACE}/flux-system/serviceaccounts?dryRun=All", account),
        "another record": narrow.refused("POST", f"{SPACE}/kube-system/configmaps?dryRun=All", config),
    }
    assert [what for what, said in by_guard.items() if "tenants-provisioner" not in said] == [], by_guard
    assert not narrow.refused("POST", bindings.format(own), binding(own, "tenant-reconciler", flux))


def test_rendering_only_reads(site: Site, tmp_path: Path) -> None:
    narrow = Narrow(site, "tenants-renderer", tmp_path, rendered=True)
    name = site.name("file")
    mark = site.mark()
    done = site.call(
        declarations=[site.declaration(name)], rendered=into(site, name), kubeconfig=str(narrow.kubeconfig)
    )
    assert not done.get("failed"), done["msg"]
    assert done["commit"]
    assert {verb for verb, _uri in site.asked(mark, narrow.user)} <= {"get", "list"}
    assert narrow.refused("POST", f"{SPACE}?dryRun=All", space("other"))
