# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two clusters for all tests of namespace tiers: core-infra without Kyverno, member-prod with it."""

from __future__ import annotations

import dataclasses
import http.client
import json
import ssl
import time
import types
import typing as t
from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest
from ansible_collections.hackspace.infra.plugins.filter.tier_policies import tier_policies

from lab.api import Lab
from tests.integration import in_process

Object = dict[str, t.Any]
PLAIN, ENGINE = "core-infra", "member-prod"
PROBE = "tests-probe"
#: What the API server says for its own policies, and for Kyverno's.
REFUSED: t.Final = (403, 400)
KUBERNETES, KYVERNO = "1.36.3", "1.19.1"
#: Who does what: an administrator, a platform group, and a tenant who may make and change namespaces.
ADMIN: t.Final[Mapping[str, str]] = types.MappingProxyType({})
PLATFORM: t.Final = {"Impersonate-User": "pat", "Impersonate-Group": "platform-admins"}
TENANT: t.Final = {"Impersonate-User": "tess", "Impersonate-Group": "tenants"}
_KINDS: t.Final[Mapping[str, str]] = {
    "mutatingpolicies": "policies.kyverno.io/v1",
    "validatingpolicies": "policies.kyverno.io/v1",
    "generatingpolicies": "policies.kyverno.io/v1",
    "mutatingadmissionpolicies": "admissionregistration.k8s.io/v1",
    "validatingadmissionpolicies": "admissionregistration.k8s.io/v1",
}
#: What tenants may do besides the built-in role admin in their namespaces: make and change namespaces.
_ROLES: t.Final[Sequence[Object]] = (
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "tests-namespaces"},
        "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["*"]}],
    },
    *(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"tests-{group}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tests-namespaces"},
            "subjects": [{"kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io"}],
        }
        for group in ("platform-admins", "tenants")
    ),
)


def wait_for(what: str, check: Callable[[], t.Any], timeout: float = 60.0) -> t.Any:
    """Return what *check* returns, once it is true."""
    deadline = time.monotonic() + timeout
    while not (found := check()):
        assert time.monotonic() < deadline, f"{what}: not after {timeout:.0f} s"
        time.sleep(0.1)
    return found


@dataclasses.dataclass
class Answer:
    """What the API server said."""

    status: int
    body: Object

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


class Cluster:
    """One of the clusters: requests as anybody, and the collection's own way of applying."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab, self.name = lab, name
        self._connection: http.client.HTTPSConnection | None = None

    def request(
        self, method: str, path: str, body: t.Any = None, who: Mapping[str, str] = ADMIN, **headers: str
    ) -> Answer:
        """Send one request, over a connection that is kept."""
        server = self.lab.kube_server(self.name)
        data = None if body is None else json.dumps(body)
        given = {"Accept": "application/json", "Content-Type": "application/json", **headers, **who}
        for attempt in (1, 2):
            if self._connection is None:
                host, _colon, port = server.url.removeprefix("https://").partition(":")
                context: ssl.SSLContext = server.context()
                self._connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=60)
            try:
                self._connection.request(method, path, data, given)
                answer = self._connection.getresponse()
                return Answer(answer.status, json.loads(answer.read() or b"{}"))
            except (OSError, http.client.HTTPException):
                self._connection.close()
                self._connection = None
                if attempt == 2:
                    raise
        raise AssertionError

    def get(self, path: str) -> Object:
        answer = self.request("GET", path)
        assert answer.status == 200, (path, answer.body)
        return answer.body

    def patch(self, path: str, body: Object, who: Mapping[str, str] = ADMIN) -> Answer:
        return self.request("PATCH", path, body, who, **{"Content-Type": "application/merge-patch+json"})

    # -- namespaces and pods -----------------------------------------------------------------------------------------

    def namespace(self, name: str, who: Mapping[str, str] = ADMIN, **labels: str) -> Answer:
        """Make a namespace."""
        return self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}}, who)

    def hand_over(self, *names: str) -> None:
        """Give the tenants the built-in role admin in namespaces."""
        for name in names:
            binding = {
                "metadata": {"name": "tenants"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
                "subjects": [{"kind": "Group", "name": "tenants", "apiGroup": "rbac.authorization.k8s.io"}],
            }
            path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{name}/rolebindings"
            assert self.request("POST", path, binding).status == 201

    def label(self, name: str, who: Mapping[str, str] = ADMIN, **labels: str | None) -> Answer:
        """Change labels of a namespace; ``None`` takes one away."""
        return self.patch(f"/api/v1/namespaces/{name}", {"metadata": {"labels": labels}}, who)

    def pod(
        self, namespace: str, spec: Object | None = None, who: Mapping[str, str] = ADMIN, *, dry: bool = True
    ) -> Answer:
        """Make a pod, or only ask what would become of it."""
        given = {"containers": [{"name": "app", "image": "example.com/app:1"}], **(spec or {})}
        body = {"metadata": {"generateName": "pod-"}, "spec": given}
        return self.request("POST", f"/api/v1/namespaces/{namespace}/pods{'?dryRun=All' if dry else ''}", body, who)

    def ready_for_pods(self, names: Iterable[str]) -> None:
        """Wait for the ServiceAccounts without which no pod is accepted."""
        wanted = set(names)

        def there() -> bool:
            items = self.get("/api/v1/serviceaccounts?fieldSelector=metadata.name%3Ddefault")["items"]
            return wanted <= {one["metadata"]["namespace"] for one in items}

        wait_for("default ServiceAccounts", there)

    def limits(self, namespace: str) -> dict[str, list[Object]]:
        """LimitRanges and ResourceQuotas of a namespace."""
        return {
            kind: self.get(f"/api/v1/namespaces/{namespace}/{kind}")["items"]
            for kind in ("limitranges", "resourcequotas")
        }

    def remove(self, names: Iterable[str]) -> None:
        """Delete namespaces and wait until they are gone."""
        gone = set(names)
        for name in gone:
            self.request("DELETE", f"/api/v1/namespaces/{name}")
        wait_for(
            "namespaces gone",
            lambda: not gone & {one["metadata"]["name"] for one in self.get("/api/v1/namespaces")["items"]},
        )

    # -- tables ------------------------------------------------------------------------------------------------------

    def call(self, objects: Sequence[Object], *, check: bool = False, **changes: t.Any) -> Object:
        """Run kube_apply in this process and return what it prints."""
        args = {
            "kubeconfig": str(self.lab.clusters[self.name].kubeconfig),
            "inventory": {"name": "namespace-tiers", "namespace": "kube-system"},
            "objects": list(objects),
            **changes,
        }
        return in_process.call("kube_apply", args, check=check)

    def apply(self, objects: Sequence[Object], **changes: t.Any) -> Object:
        """Run kube_apply in this process, pruning what an earlier table had; it must succeed."""
        result = self.call(objects, **{"prune": True, "prune_max_percent": 100, **changes})
        assert not result.get("failed"), result
        return result

    def settled(self) -> None:
        """Wait until what was applied is in force: by a probe of each sort of policy that is there."""
        if self.name == ENGINE:
            wait_for("policies ready", lambda: not self._not_ready(), 90)
        # The API server and Kyverno read policies by watches of their own, so only asking tells.
        policies = {
            kind: [one["metadata"]["name"] for one in self.get(f"/apis/{group}/{kind}")["items"]]
            for kind, group in _KINDS.items()
            if self.name == ENGINE or group.startswith("admissionregistration")
        }

        def changed() -> bool:
            return bool(self.pod(PROBE).body.get("spec", {}).get("priorityClassName"))

        def guarded() -> bool:
            # Kyverno says 400 where the API server says 403. Not too often: Kyverno notes down every try.
            time.sleep(0.5)
            body = {"metadata": {"labels": {"tier": "0-core"}}}
            return self.patch(f"/api/v1/namespaces/{PROBE}?dryRun=All", body, TENANT).status in REFUSED

        if any("pod-defaults" in name for kind in policies if "mutating" in kind for name in policies[kind]):
            wait_for("pods are changed", changed)
        if any("label-guard" in name for kind in policies if "validating" in kind for name in policies[kind]):
            wait_for("labels are guarded", guarded)

    def _not_ready(self) -> list[str]:
        return [
            one["metadata"]["name"]
            for kind, group in _KINDS.items()
            if group.startswith("policies")
            for one in self.get(f"/apis/{group}/{kind}")["items"]
            if not ((one.get("status") or {}).get("conditionStatus") or {}).get("ready")
        ]

    def clear(self) -> None:
        """Take away what an earlier table brought, and all namespaces that tests made."""
        # An empty list is refused.
        self.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "left", "namespace": "default"}}])
        kept = ("default", "kube-", "kyverno")
        items = self.get("/api/v1/namespaces")["items"]
        self.remove(one["metadata"]["name"] for one in items if not one["metadata"]["name"].startswith(kept))


def compiled(table: Object, namespaces: Sequence[Object] = (), **backends: t.Any) -> list[Object]:
    """Return the objects of a table, as users get them from the filter."""
    options: dict[str, t.Any] = {**backends, "kubernetes_version": KUBERNETES, "kyverno_version": KYVERNO}
    return list(tier_policies(table, namespaces=list(namespaces), **options)["objects"])


@pytest.fixture(scope="package")
def tier_lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    """Both clusters. Kyverno is for those that are there when it is asked for, so the other one comes later."""
    lab = Lab("tiers", tmp_path_factory.mktemp("lab"))
    try:
        lab.up([ENGINE, "kyverno"])
        lab.up([PLAIN])
        yield lab
    finally:
        lab.down(wipe=True)


def _cluster(lab: Lab, name: str) -> Cluster:
    """An empty cluster; what a module leaves is removed by the next one that needs it, or goes with the lab."""
    cluster = Cluster(lab, name)
    cluster.clear()
    for one in _ROLES:
        kind = str(one["kind"]).lower() + "s"
        assert cluster.request("POST", f"/apis/rbac.authorization.k8s.io/v1/{kind}", one).status in (201, 409)
    assert cluster.namespace(PROBE, tier="4-aux").status == 201
    cluster.ready_for_pods([PROBE])
    return cluster


@pytest.fixture(scope="module")
def plain(tier_lab: Lab) -> Cluster:
    """The cluster without Kyverno."""
    return _cluster(tier_lab, PLAIN)


@pytest.fixture(scope="module")
def engine(tier_lab: Lab) -> Cluster:
    """The cluster with Kyverno."""
    return _cluster(tier_lab, ENGINE)
