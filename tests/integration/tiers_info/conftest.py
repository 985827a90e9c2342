# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster with namespaces in all kinds of trouble, before the limits of a table are applied to it."""

from __future__ import annotations

import dataclasses
import time
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import parse
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.policies import Backends, render
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.resolve import of_object

from lab.api import Lab
from lab.kube import kubeconfig as write_kubeconfig
from tests.integration import audit, in_process
from tests.integration.ansible_run import ROOT

Object = dict[str, t.Any]

DOCS = ROOT / "docs" / "tiers_impact.md"
BACKENDS = {"limits": "static", "pods": "native", "guards": "native", "kubernetes_version": "1.36.3"}
#: A small quota, so that few pods are enough.
TABLE: t.Final[Object] = {
    "base": "default",
    "tiers": [
        {
            "name": "4-aux",
            "limit_range": {"default": {"memory": "256Mi"}, "max": {"memory": "512Mi"}},
            "quota": {
                "hard": {"pods": "4", "requests.cpu": "2", "requests.memory": "1Gi", "limits.memory": "700Mi"},
            },
        }
    ],
}
ADMIN = "system:serviceaccount:default:"
COLLECTIONS = {
    "Namespace": "/api/v1/namespaces",
    "PriorityClass": "/apis/scheduling.k8s.io/v1/priorityclasses",
    "MutatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Node": "/api/v1/nodes",
    "Pod": "/api/v1/{}/pods",
    "LimitRange": "/api/v1/{}/limitranges",
    "ResourceQuota": "/api/v1/{}/resourcequotas",
    "ServiceAccount": "/api/v1/{}/serviceaccounts",
    "ConfigMap": "/api/v1/{}/configmaps",
    "Role": "/apis/rbac.authorization.k8s.io/v1/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/{}/rolebindings",
    "Deployment": "/apis/apps/v1/{}/deployments",
    "DaemonSet": "/apis/apps/v1/{}/daemonsets",
    "StatefulSet": "/apis/apps/v1/{}/statefulsets",
    "Job": "/apis/batch/v1/{}/jobs",
    "CronJob": "/apis/batch/v1/{}/cronjobs",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/{}/horizontalpodautoscalers",
}


def documented(kind: str) -> Object:
    """Return the object of that kind that the documentation shows."""
    blocks = DOCS.read_text(encoding="utf-8").split("```yaml\n")[1:]
    objects = [
        one
        for block in blocks
        for one in yaml.safe_load_all(block.partition("```")[0])
        if isinstance(one, dict) and one.get("kind") == kind
    ]
    [one] = objects
    return t.cast(Object, one)


@dataclasses.dataclass
class Site:
    """The cluster, and the module run with the rights of the documentation."""

    lab: Lab
    folder: Path

    def ask(self, method: str, path: str, body: t.Any = None, content_type: str = "application/json") -> t.Any:
        """Ask the API server as an administrator who is not in the audit log."""
        answer = self.lab.kube_server("core-infra").request(method, path, body, content_type=content_type)
        assert answer.status < 300, answer
        return answer.body

    def make(self, one: Object) -> tuple[int, str]:
        """Create an object; return status and what the API server said."""
        namespace = f"namespaces/{one['metadata'].get('namespace', 'default')}"
        path = COLLECTIONS[one["kind"]].format(namespace)
        answer = self.lab.kube_server("core-infra").request("POST", path, one)
        return answer.status, str((answer.body or {}).get("message", ""))

    def made(self, *objects: Object) -> None:
        for one in objects:
            status, said = self.make(one)
            assert status == 201, (one["kind"], one["metadata"], said)

    def every(self, kind: str) -> list[Object]:
        path = COLLECTIONS[kind].replace("/{}", "")
        items = self.ask("GET", path)["items"]
        version = path.removeprefix("/apis/").removeprefix("/api/").rpartition("/")[0]
        return [{"apiVersion": version, "kind": kind, **one} for one in items]

    def get(self, kind: str, namespace: str, name: str) -> Object:
        return t.cast(Object, self.ask("GET", f"{COLLECTIONS[kind].format(f'namespaces/{namespace}')}/{name}"))

    def patch(self, kind: str, namespace: str, name: str, body: Object) -> None:
        path = f"{COLLECTIONS[kind].format(f'namespaces/{namespace}')}/{name}"
        self.ask("PATCH", path, body, "application/merge-patch+json")

    def until(self, what: str, done: t.Callable[[], object], timeout: float = 30) -> None:
        """Wait until the controllers have done something."""
        end = time.monotonic() + timeout
        while not done():
            assert time.monotonic() < end, f"not within {timeout:g} s: {what}"
            time.sleep(0.2)

    def login(self, name: str, rules: Object, *more: Object) -> Path:
        """Return a kubeconfig with the rights of a ClusterRole, and of Roles in kube-system."""
        subject = [{"kind": "ServiceAccount", "name": name, "namespace": "default"}]
        group = "rbac.authorization.k8s.io"
        self.made(
            {"kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}},
            {**rules, "metadata": {"name": name}},
            {
                "kind": "ClusterRoleBinding",
                "metadata": {"name": name},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
                "subjects": subject,
            },
        )
        for role in more:
            self.made(
                role,
                {
                    "kind": "RoleBinding",
                    "metadata": role["metadata"],
                    "roleRef": {"apiGroup": group, "kind": "Role", "name": role["metadata"]["name"]},
                    "subjects": subject,
                },
            )
        path = f"/api/v1/namespaces/default/serviceaccounts/{name}/token"
        token = self.ask("POST", path, {"kind": "TokenRequest", "spec": {}})["status"]["token"]
        cluster = self.lab.clusters["core-infra"]
        file = self.folder / f"{name}.kubeconfig"
        write_kubeconfig(file, context="lab", server=cluster.api_server, ca=cluster.ca_file, token=token)
        return file

    def call(self, kubeconfig: Path | Object | None = None, **options: t.Any) -> Object:
        """Run the module in this process and return what it prints: as Ansible would, without its start-up time."""
        args = {"tiers": TABLE, **BACKENDS, **options}
        if kubeconfig:
            args["kubeconfig"] = kubeconfig if isinstance(kubeconfig, dict) else str(kubeconfig)
        return in_process.call("namespace_tiers_info", args)

    def asked(self, user: str, mark: int) -> list[tuple[str, str]]:
        """Return (verb, uri) of the requests of a ServiceAccount since *mark*."""
        return audit.asked(self.lab, "core-infra", mark, f"{ADMIN}{user}")

    def mark(self) -> int:
        return audit.mark(self.lab, "core-infra")

    def compiled(self, *kinds: str) -> list[Object]:
        """Return what the table is compiled into for the namespaces that there are."""
        table = parse(TABLE)
        known = [of_object(table, one) for one in self.every("Namespace")]
        objects = render(table, Backends("static", "native", "native"), known).objects
        return [dict(one) for one in objects if one["kind"] in kinds]


def namespace(name: str, **metadata: t.Any) -> Object:
    return {"kind": "Namespace", "metadata": {"name": name, **metadata}}


def box(memory: str | None = "64Mi", limit: str | None = "64Mi", **more: t.Any) -> Object:
    resources: Object = {}
    if memory:
        resources["requests"] = {"memory": memory, "cpu": "10m"}
    if limit:
        resources["limits"] = {"memory": limit}
    return {"name": "web", "image": "registry.example.org/web:1", "resources": resources, **more}


def pod(space: str, name: str, *boxes: Object, **spec: t.Any) -> Object:
    body = {"containers": list(boxes) or [box()], **spec}
    return {"kind": "Pod", "metadata": {"name": name, "namespace": space}, "spec": body}


def workload(kind: str, space: str, name: str, *boxes: Object, template: Object | None = None, **spec: t.Any) -> Object:
    labels = {"app": name}
    body: Object = {"containers": list(boxes) or [box()], **(template or {})}
    inner: Object = {"metadata": {"labels": labels}, "spec": body}
    if kind == "CronJob":
        body["restartPolicy"] = "Never"
        job = {"spec": {"template": inner, **spec.pop("job", {})}}
        spec = {"schedule": "0 0 1 1 *", "jobTemplate": job, **spec}
    elif kind == "Job":
        # On no node: pods of Jobs that kwok starts are over at once.
        body.update(restartPolicy="Never", nodeSelector={"jobs": "wait"})
        spec = {"template": inner, **spec}
    else:
        spec = {"selector": {"matchLabels": labels}, "template": inner, **spec}
    return {"kind": kind, "metadata": {"name": name, "namespace": space}, "spec": spec}


def limits(kind: str, space: str, name: str, spec: Object, **metadata: t.Any) -> Object:
    return {"kind": kind, "metadata": {"name": name, "namespace": space, **metadata}, "spec": spec}


OURS = {"app.kubernetes.io/part-of": "namespace-tiers"}


def trouble() -> list[Object]:
    """Return the namespaces and what is in them."""
    one_by_one = {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}
    custom = {"resource-governance/custom-quota": "true"}
    opted = [pod("4-aux-opted", f"p{n}") for n in range(6)]
    frozen = [pod("4-aux-frozen", f"p{n}") for n in range(5)]
    first = limits("ResourceQuota", "4-aux-left", "earlier", {"hard": {"pods": "2"}}, labels=OURS)
    short = {"hard": {"pods": "1"}, "scopes": ["Terminating"]}
    core = {"scopeName": "PriorityClass", "operator": "In", "values": ["tier-0-core"]}
    guard = {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [core]}}
    names = ["frozen", "surge", "fine", "over", "left", "scoped", "daemon", "grows", "cron", "silent", "class"]
    names += ["larger", "begins"]
    return [
        *(namespace(f"4-aux-{name}") for name in names),
        namespace("4-aux-opted", labels=custom),
        namespace("3-edge-web"),
        *frozen,
        *opted,
        workload("Deployment", "4-aux-surge", "web", replicas=4, **one_by_one),
        workload("Deployment", "4-aux-fine", "web", replicas=2, **one_by_one),
        workload("Deployment", "3-edge-web", "web", replicas=2, **one_by_one),
        workload("Deployment", "4-aux-over", "web", box("64Mi", "2Gi"), replicas=1, **one_by_one),
        first,
        workload("Deployment", "4-aux-left", "web", replicas=2, **one_by_one),
        limits("ResourceQuota", "4-aux-scoped", "short", short),
        limits("ResourceQuota", "4-aux-scoped", "guard", guard),
        workload("Job", "4-aux-scoped", "short", template={"activeDeadlineSeconds": 3600}, parallelism=2),
        workload("DaemonSet", "4-aux-daemon", "one", updateStrategy={"type": "OnDelete"}),
        workload("DaemonSet", "4-aux-daemon", "two", updateStrategy={"type": "OnDelete"}),
        workload("Deployment", "4-aux-grows", "web", replicas=2, **one_by_one),
        {
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "namespace": "4-aux-grows"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 2,
                "maxReplicas": 6,
            },
        },
        workload("CronJob", "4-aux-cron", "nightly", job={"parallelism": 3}),
        workload("Deployment", "4-aux-silent", "web", box(None, None), replicas=1, **one_by_one),
        workload(
            "Deployment", "4-aux-class", "web", template={"priorityClassName": "tier-0-core"}, replicas=1, **one_by_one
        ),
        workload("Deployment", "4-aux-larger", "web", box(None, None), replicas=3, **one_by_one),
        workload(
            "Deployment",
            "4-aux-begins",
            "web",
            box("64Mi", "64Mi"),
            template={"initContainers": [box("64Mi", "300Mi") | {"name": "begin"}]},
            replicas=2,
            **one_by_one,
        ),
    ]


#: Pods that there will be before the limits come, by namespace; those of the class that is refused never appear.
PODS: t.Final = {
    "4-aux-frozen": 5,
    "4-aux-opted": 6,
    "4-aux-surge": 4,
    "4-aux-fine": 2,
    "3-edge-web": 2,
    "4-aux-over": 1,
    "4-aux-left": 2,
    "4-aux-scoped": 1,
    "4-aux-daemon": 4,
    "4-aux-grows": 2,
    "4-aux-silent": 1,
    "4-aux-larger": 3,
    "4-aux-begins": 2,
    "4-aux-missed": 1,
}


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    folder = tmp_path_factory.mktemp("lab")
    lab = Lab("tiers-info", folder)
    try:
        lab.up(["core-infra"])
        found = Site(lab, folder)
        prepare(found)
        yield found
    finally:
        lab.down(wipe=True)


def prepare(site: Site) -> None:
    """The table's classes and policies are in force, its limits not yet."""
    # What the guards would refuse, or change, is older than they are.
    site.made(namespace("4-aux-missed"), namespace("4-aux-label", labels={"tier": "3-edge"}))
    site.until(
        "the ServiceAccount of the first namespace",
        lambda: site.make(pod("4-aux-missed", "early"))[0] in {201, 409},
    )
    site.made(*site.compiled("PriorityClass"))
    site.made(*site.compiled("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"))
    site.made(*site.compiled("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"))
    probe = "/api/v1/namespaces/4-aux-missed/pods?dryRun=All"
    site.until(
        "the policy about pods",
        lambda: site.ask("POST", probe, pod("4-aux-missed", "probe"))["spec"].get("priorityClassName") == "tier-4-aux",
    )
    objects = trouble()
    site.made(*(one for one in objects if one["kind"] == "Namespace"))
    site.until(
        "the ServiceAccounts of the namespaces",
        lambda: set(PODS) <= {one["metadata"]["namespace"] for one in site.every("ServiceAccount")},
    )
    site.made(*(one for one in objects if one["kind"] != "Namespace"))

    found: dict[str, int] = {}

    def there() -> bool:
        found.clear()
        for one in site.every("Pod"):
            if one.get("status", {}).get("phase") == "Running" or one["metadata"]["namespace"] == "4-aux-scoped":
                found[one["metadata"]["namespace"]] = found.get(one["metadata"]["namespace"], 0) + 1
        return found == PODS

    try:
        site.until("all pods", there, 40)
    except AssertionError:
        assert found == PODS  # says what is missing
        raise
