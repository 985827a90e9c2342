# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster with the custom resources of Flux, External Secrets and routes, and on it the objects of some tenants."""

from __future__ import annotations

import json
import time
import typing as t
from urllib.parse import urlsplit

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import model, objects, profile

from lab.api import Lab
from lab.rest import Response, VerifiedConnection

CLUSTER = "core-infra"
PLURALS = {"NetworkPolicy": "networkpolicies", "GitRepository": "gitrepositories", "Ingress": "ingresses"}
PLURALS["ValidatingAdmissionPolicy"] = "validatingadmissionpolicies"
CLUSTER_WIDE = ("Namespace", "ClusterRole", "ClusterRoleBinding")

PLATFORM = {
    "git": {"allow": ["https://git.example.org/"]},
    "domains": {"self_service": ["{tenant}.example.org"], "subdomains": True},
    "storage_classes": ["ceph-block", "ceph-fs"],
    "sealed_secrets": True,
    "ingress": {
        "namespaces": ["1-cluster-ingress"],
        "classes": ["nginx"],
        "authentication": {"nginx.ingress.kubernetes.io/auth-url": "https://login.example.org/check"},
        "gateways": [
            {"namespace": "1-cluster-ingress", "name": "open"},
            {"namespace": "1-cluster-ingress", "name": "closed", "authenticates": True},
        ],
    },
}
ALICE = """
version: 1
name: alice
owner: {contact: alice@example.org, subject: alice}
clusters: [core-infra]
access:
  - {group: tenant-alice, role: operator}
  - {user: carol, role: viewer}
namespaces:
  - {quota: {pods: "30", requests.memory: 2Gi}}
  - {name: 4-aux-alice-test, network: isolated, pod_security: baseline, path: test}
source: {url: https://git.example.org/alice/k8s, path: ./deploy, auth: {type: token, path: git}}
domains:
  - {name: alice.example.org, subdomains: true, tls: {path: tls}}
  - {name: cal.alice.example.org, auth: app, reason: CalDAV clients cannot log in at a web page}
image_pull: [{name: registry, path: registry}]
data: [{name: calendar, storage_class: ceph-block, retention_days: 30}]
"""
BOB = """
version: 1
name: bob
owner: {contact: bob@example.org}
clusters: [core-infra]
source: {url: https://git.example.org/bob/k8s, ref: {tag: v1}, verify: {mode: Tag, path: keys}}
domains: [{name: bob.example.org}]
secrets: {from: [openbao, sealed-secrets]}
image_pull: [{name: registry, sealed: {.dockerconfigjson: AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}}]
"""
CAROL = """
version: 1
name: carol
state: suspended
owner: {contact: carol@example.org}
clusters: [core-infra]
access: [{user: carol, role: operator}]
source: {url: https://git.example.org/carol/k8s}
"""
DAVE = """
version: 1
name: dave
state: archived
owner: {contact: dave@example.org}
clusters: [core-infra]
"""
TEXTS = {"alice": ALICE, "bob": BOB, "carol": CAROL, "dave": DAVE}


DEFINITIONS = (
    ("HTTPRoute", "httproutes", "gateway.networking.k8s.io", "v1"),
    ("GRPCRoute", "grpcroutes", "gateway.networking.k8s.io", "v1"),
    ("SealedSecret", "sealedsecrets", "bitnami.com", "v1alpha1"),
)


def definition(kind: str, plural: str, group: str, number: str) -> dict[str, t.Any]:
    """Return a definition as open as the guards may meet it: only names matter."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    version = {"name": number, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, of a test"},
        },
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }


class Site:
    """The cluster with its tenants."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.profile = profile.parse(PLATFORM)
        stores = {"server": "https://openbao.example.org:8200", "mount": "kubernetes-a", "audience": "openbao-a"}
        self.place = objects.Place(CLUSTER, stores, tier_label="tier")
        self.tenants = {name: model.load(text, f"{name}.yaml") for name, text in TEXTS.items()}
        self.server = lab.kube_server(CLUSTER)
        self._context = self.server.context()

    def ask(
        self,
        method: str,
        path: str,
        body: t.Any = None,
        *,
        user: str = "",
        groups: t.Sequence[str] = (),
        content_type: str = "application/json",
    ) -> Response:
        """Send a request, as somebody else if *user* is given."""
        parts = urlsplit(self.server.url)
        connection = VerifiedConnection(
            parts.hostname or "", parts.port or 443, server_name=None, context=self._context, timeout=30
        )
        try:
            connection.putrequest(method, path)
            data = b"" if body is None else json.dumps(body).encode()
            headers = [("Accept", "application/json"), ("Content-Length", str(len(data)))]
            if data:
                headers.append(("Content-Type", content_type))
            if user:
                headers += [("Impersonate-User", user), *(("Impersonate-Group", group) for group in groups)]
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders(data or None)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        # an API group that is not there yet is answered in words
        return Response(answer.status, json.loads(raw) if raw.startswith(b"{") else raw.decode())

    @staticmethod
    def path(body: t.Mapping[str, t.Any]) -> str:
        """Return the path of an object."""
        version, kind, meta = body["apiVersion"], body["kind"], body["metadata"]
        plural = PLURALS.get(kind, f"{kind.lower()}s")
        place = f"/namespaces/{meta['namespace']}" if meta.get("namespace") else ""
        return f"/{'apis' if '/' in version else 'api'}/{version}{place}/{plural}/{meta['name']}"

    def apply(self, body: t.Mapping[str, t.Any], *, dry: bool = False, user: str = "") -> Response:
        """Apply an object server-side."""
        query = "?fieldManager=test&force=true" + ("&dryRun=All" if dry else "")
        return self.ask("PATCH", self.path(body) + query, body, user=user, content_type="application/apply-patch+yaml")

    def rendered(self) -> list[dict[str, t.Any]]:
        """Return everything of the platform and of all tenants."""
        made = objects.platform_objects(self.profile)
        for one in self.tenants.values():
            made += objects.tenant_objects(one, self.profile, self.place)
        return made


def until(what: t.Callable[[], t.Any], seconds: float = 30) -> t.Any:
    """Return what *what* gives as soon as it is something."""
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found or time.monotonic() > end:
            return found
        time.sleep(0.1)


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    lab = Lab("tenants-objects", tmp_path_factory.mktemp("lab"))
    try:
        lab.up([CLUSTER, "eso", "flux"])
        made = Site(lab)
        for one in DEFINITIONS:
            answer = made.apply(definition(*one))
            assert answer.status in (200, 201), answer
        for _kind, plural, group, number in DEFINITIONS:
            path = f"/apis/{group}/{number}/{plural}"
            assert until(lambda path=path: made.ask("GET", path).status == 200)  # type: ignore[misc]
        for body in made.rendered():
            answer = made.apply(body)
            assert answer.status in (200, 201), (made.path(body), answer.body)
        # the API server goes by a policy a moment after it is there
        probe = yaml.safe_load(
            "{apiVersion: v1, kind: Service, metadata: {name: p, namespace: 4-aux-bob}, "
            "spec: {type: NodePort, ports: [{port: 1}]}}"
        )
        assert until(lambda: made.apply(probe, dry=True).status == 422 or made.apply(probe, dry=True).status == 403)
        yield made
    finally:
        lab.down(wipe=True)
