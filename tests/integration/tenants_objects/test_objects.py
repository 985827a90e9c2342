# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tenant's declaration becomes is accepted by a real API server, and confines who acts as the tenant."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import guards

from .conftest import Site, until

FLUX = "system:serviceaccount:4-aux-alice:flux"
OPERATOR = ("oidc:tenant-alice",)
#: What the level restricted asks of a pod.
RESTRICTED = (
    "securityContext: {runAsNonRoot: true, runAsUser: 1, seccompProfile: {type: RuntimeDefault}}, "
    "containers: [{name: c, image: i, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]"
)
OWNED = "{app.kubernetes.io/managed-by: hackspace.infra, app.kubernetes.io/part-of: tenants}"


def test_all_objects_are_taken_and_a_second_time_nothing_changes(site: Site) -> None:
    bodies = site.rendered()
    assert len(bodies) > 60
    for body in bodies:
        live = site.ask("GET", site.path(body)).body
        answer = site.apply(body)
        assert answer.status == 200, (site.path(body), answer.body)
        # what controllers write in between is not ours
        for one in (live, answer.body):
            one["metadata"] = {key: one["metadata"].get(key) for key in ("labels", "annotations")}
            one.pop("status", None)
        assert live == answer.body, site.path(body)


def test_labels_of_others_on_a_namespace_stay(site: Site) -> None:
    path = "/api/v1/namespaces/4-aux-bob"
    site.ask(
        "PATCH",
        path,
        {"metadata": {"labels": {"example.org/mine": "yes"}}},
        content_type="application/merge-patch+json",
    )
    for body in site.rendered():
        if body["kind"] == "Namespace":
            site.apply(body)
    labels = site.ask("GET", path).body["metadata"]["labels"]
    assert labels["example.org/mine"] == "yes"
    assert labels["tier"] == "4-aux"
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_no_guard_is_misread_by_the_api_server(site: Site) -> None:
    def checked() -> list[t.Any]:
        found = [
            site.ask("GET", f"/apis/{guards.API}/validatingadmissionpolicies/{name}").body for name in guards.NAMES
        ]
        return found if all("typeChecking" in one.get("status", {}) for one in found) else []

    policies = until(checked)
    assert len(policies) == len(guards.NAMES)
    # Kinds of one policy differ in their fields, and what one kind lacks is optional in the expression; nothing else.
    warnings = [w for one in policies for w in one["status"]["typeChecking"].get("expressionWarnings", [])]
    assert all("undefined field" in w["warning"] for w in warnings), warnings


# -- confinement ---------------------------------------------------------------------------------------------------

ALLOWED = {
    "a ConfigMap": "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}",
    "a Kubernetes Secret": "{apiVersion: v1, kind: Secret, metadata: {name: c}, stringData: {a: b}}",
    "a Service": "{apiVersion: v1, kind: Service, metadata: {name: c}, spec: {ports: [{port: 80}]}}",
    "a volume of its data class": """{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec:
      {storageClassName: ceph-block, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}""",
    "a StatefulSet": """{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: c}, spec: {serviceName: c,
      selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c,
      image: i}]}}}}""",
    "a CronJob": """{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: {schedule: "0 0 * * *",
      jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}}""",
    "an Ingress of its domain": """{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: c}, spec:
      {ingressClassName: nginx, tls: [{hosts: [cal.alice.example.org], secretName: t}],
      rules: [{host: cal.alice.example.org}]}}""",
    "an Ingress below its domain that authenticates": """{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata:
      {name: c, annotations: {nginx.ingress.kubernetes.io/auth-url: "https://login.example.org/check"}}, spec:
      {ingressClassName: nginx, rules: [{host: wiki.alice.example.org}, {host: alice.example.org}]}}""",
    "a route of its domain": """{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: c}, spec:
      {hostnames: [cal.alice.example.org], parentRefs: [{namespace: 1-cluster-ingress, name: open}]}}""",
    "a route below its domain where everybody logs in": """{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute,
      metadata: {name: c}, spec: {hostnames: [wiki.alice.example.org],
      parentRefs: [{namespace: 1-cluster-ingress, name: closed}]}}""",
    "an ExternalSecret": """{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: c}, spec:
      {secretStoreRef: {kind: SecretStore, name: openbao}, data: [{secretKey: a, remoteRef: {key: a}}]}}""",
    "a SealedSecret": """{apiVersion: bitnami.com/v1alpha1, kind: SealedSecret, metadata: {name: c}, spec:
      {encryptedData: {a: AgAAAA}, template: {type: Opaque}}}""",
    "a PodDisruptionBudget": """{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: c}, spec:
      {maxUnavailable: 1, selector: {matchLabels: {a: b}}}}""",
}

DENIED = {
    "a Namespace": "{apiVersion: v1, kind: Namespace, metadata: {name: 4-aux-alice-more}}",
    "its own Namespace's labels": """{apiVersion: v1, kind: Namespace, metadata: {name: 4-aux-alice, labels:
      {tier: 0-core}}}""",
    "a ClusterRoleBinding": """{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata:
      {name: c}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin},
      subjects: []}""",
    "a RoleBinding": """{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: c},
      roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tenant-viewer}, subjects: []}""",
    "a ServiceAccount": "{apiVersion: v1, kind: ServiceAccount, metadata: {name: c}}",
    "a ResourceQuota": "{apiVersion: v1, kind: ResourceQuota, metadata: {name: c}, spec: {hard: {pods: '99'}}}",
    "a LimitRange": "{apiVersion: v1, kind: LimitRange, metadata: {name: c}, spec: {limits: []}}",
    "a NetworkPolicy": """{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: c}, spec:
      {podSelector: {}, policyTypes: [Ingress], ingress: [{}]}}""",
    "a SecretStore": """{apiVersion: external-secrets.io/v1, kind: SecretStore, metadata: {name: c}, spec: {provider:
      {vault: {server: "https://example.org", auth: {kubernetes: {mountPath: a, role: b}}}}}}""",
    "a GitRepository": """{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {name: c}, spec:
      {interval: 5m, url: "https://git.example.org/bob/k8s"}}""",
    "a Kustomization": """{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, metadata: {name: c}, spec:
      {interval: 5m, prune: true, serviceAccountName: flux, sourceRef: {kind: GitRepository, name: alice}}}""",
    "a DaemonSet": """{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: c}, spec:
      {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}},
      spec: {containers: [{name: c, image: i}]}}}}""",
    "a ConfigMap of a neighbour": "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: 4-aux-bob}}",
}

GUARDED = {
    "a Service on all nodes": ("{kind: Service, spec: {type: NodePort, ports: [{port: 80}]}}", "ClusterIP"),
    "a Service with an address": ("{kind: Service, spec: {type: LoadBalancer, ports: [{port: 80}]}}", "ClusterIP"),
    "a Service that is somebody else": (
        "{kind: Service, spec: {type: ExternalName, externalName: kubernetes.default.svc}}",
        "ClusterIP",
    ),
    "a Service with a foreign address": (
        "{kind: Service, spec: {externalIPs: [192.0.2.7], ports: [{port: 80}]}}",
        "externalIPs",
    ),
    "a Service with a name in the DNS": (
        """{kind: Service, metadata: {annotations: {external-dns.alpha.kubernetes.io/hostname: bob.example.org}},
        spec: {ports: [{port: 80}]}}""",
        "publish",
    ),
    "a login in a Kubernetes Secret": (
        """{kind: Secret, type: kubernetes.io/service-account-token,
        metadata: {annotations: {kubernetes.io/service-account.name: eso}}}""",
        "tokens of ServiceAccounts",
    ),
    "a volume of another class": (
        """{kind: PersistentVolumeClaim, spec: {storageClassName: ceph-fs, accessModes: [ReadWriteOnce],
        resources: {requests: {storage: 1Gi}}}}""",
        "data classes",
    ),
    "a volume without a class": (
        """{kind: PersistentVolumeClaim, spec: {accessModes: [ReadWriteOnce],
        resources: {requests: {storage: 1Gi}}}}""",
        "data classes",
    ),
    "a volume that is there": (
        """{kind: PersistentVolumeClaim, spec: {storageClassName: ceph-block, volumeName: pv-of-bob,
        accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}""",
        "cannot be taken by name",
    ),
    "what looks like the platform's": (
        f"{{kind: ConfigMap, metadata: {{labels: {OWNED}}}}}",
        "belongs to the platform",
    ),
    "a pod as the reader of OpenBao": (
        f"{{kind: Pod, spec: {{serviceAccountName: eso, automountServiceAccountToken: true, {RESTRICTED}}}}}",
        "no pod runs as",
    ),
    "an Ingress of a neighbour's domain": (
        """{apiVersion: networking.k8s.io/v1, kind: Ingress, spec: {ingressClassName: nginx,
        rules: [{host: bob.example.org}]}}""",
        "bob.example.org",
    ),
    "an Ingress that only ends like its domain": (
        """{apiVersion: networking.k8s.io/v1, kind: Ingress, spec: {ingressClassName: nginx,
        rules: [{host: notalice.example.org}]}}""",
        "notalice.example.org",
    ),
    "an Ingress with a neighbour's certificate": (
        """{apiVersion: networking.k8s.io/v1, kind: Ingress, spec: {ingressClassName: nginx,
        tls: [{hosts: [bob.example.org]}], rules: [{host: cal.alice.example.org}]}}""",
        "tls names hosts",
    ),
    "an Ingress with a wildcard": (
        """{apiVersion: networking.k8s.io/v1, kind: Ingress, spec: {ingressClassName: nginx,
        rules: [{host: "*.alice.example.org"}]}}""",
        "wildcard",
    ),
    "an Ingress for every host": (
        """{apiVersion: networking.k8s.io/v1, kind: Ingress, spec: {ingressClassName: nginx, rules: [{http: {paths:
        [{path: /, pathType: Prefix, backend: {service: {name: c, port: {number: 80}}}}]}}]}}""",
        "hosts that are not",
    ),
    "an Ingress with a default backend": (
        """{apiVersion: networking.k8s.io/v1, kind: Ingress, spec: {ingressClassName: nginx,
        defaultBackend: {service: {name: c, port: {number: 80}}}}}""",
        "default backend",
    ),
    "an Ingress of another class": (
        """{apiVersion: networking.k8s.io/v1, kind: Ingress, spec: {ingressClassName: platform,
        rules: [{host: cal.alice.example.org}]}}""",
        "ingressClassName",
    ),
    "an Ingress with a snippet": (
        """{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {annotations:
        {nginx.ingress.kubernetes.io/configuration-snippet: "return 200;"}}, spec: {ingressClassName: nginx,
        rules: [{host: cal.alice.example.org}]}}""",
        "annotations",
    ),
    "an Ingress with a further name": (
        """{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {annotations:
        {nginx.ingress.kubernetes.io/server-alias: bob.example.org}}, spec: {ingressClassName: nginx,
        rules: [{host: cal.alice.example.org}]}}""",
        "annotations",
    ),
    "an Ingress that nobody logs in to": (
        """{apiVersion: networking.k8s.io/v1, kind: Ingress, spec: {ingressClassName: nginx,
        rules: [{host: alice.example.org}]}}""",
        "auth: required",
    ),
    "an Ingress that lets another decide who logs in": (
        """{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {annotations:
        {nginx.ingress.kubernetes.io/auth-url: "https://example.net"}}, spec: {ingressClassName: nginx,
        rules: [{host: wiki.alice.example.org}]}}""",
        "auth: required",
    ),
    "an Ingress that lets all pass": (
        """{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {annotations:
        {nginx.ingress.kubernetes.io/auth-url: "https://login.example.org/check",
        nginx.ingress.kubernetes.io/satisfy: any}}, spec: {ingressClassName: nginx,
        rules: [{host: wiki.alice.example.org}]}}""",
        "annotations",
    ),
    "a route of a neighbour's domain": (
        """{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, spec: {hostnames: [bob.example.org],
        parentRefs: [{namespace: 1-cluster-ingress, name: open}]}}""",
        "bob.example.org",
    ),
    "a route for every host": (
        """{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, spec:
        {parentRefs: [{namespace: 1-cluster-ingress, name: open}]}}""",
        "hostnames",
    ),
    "a route of another gateway": (
        """{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, spec: {hostnames: [cal.alice.example.org],
        parentRefs: [{namespace: 0-core-ingress, name: inner}]}}""",
        "parents",
    ),
    "a route that nobody logs in to": (
        """{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, spec: {hostnames: [wiki.alice.example.org],
        parentRefs: [{namespace: 1-cluster-ingress, name: open}]}}""",
        "authenticates",
    ),
    "an ExternalSecret of the cluster's store": (
        """{apiVersion: external-secrets.io/v1, kind: ExternalSecret, spec: {secretStoreRef: {kind: ClusterSecretStore,
        name: openbao}, data: [{secretKey: a, remoteRef: {key: a}}]}}""",
        "SecretStores of this namespace",
    ),
    "an ExternalSecret of the cluster's store in one line": (
        """{apiVersion: external-secrets.io/v1, kind: ExternalSecret, spec: {secretStoreRef: {name: openbao},
        data: [{secretKey: a, remoteRef: {key: a}, sourceRef:
        {storeRef: {kind: ClusterSecretStore, name: openbao}}}]}}""",
        "SecretStores of this namespace",
    ),
    "an ExternalSecret of the cluster's store in a find": (
        """{apiVersion: external-secrets.io/v1, kind: ExternalSecret, spec: {secretStoreRef: {name: openbao},
        dataFrom: [{extract: {key: a}, sourceRef: {storeRef: {kind: ClusterSecretStore, name: openbao}}}]}}""",
        "SecretStores of this namespace",
    ),
    "an ExternalSecret of a generator": (
        """{apiVersion: external-secrets.io/v1, kind: ExternalSecret, spec: {dataFrom: [{sourceRef: {generatorRef:
        {apiVersion: generators.external-secrets.io/v1alpha1, kind: ClusterGenerator, name: a}}}]}}""",
        "generators",
    ),
}

#: What not even who may write Flux objects (self-service, or an administrator by mistake) can have there.
FLUX_GUARDED = {
    "as another account": ("{spec: {serviceAccountName: default}}", "serviceAccountName"),
    "as nobody in particular": ("{spec: {serviceAccountName: null}}", "serviceAccountName"),
    "a neighbour's source": (
        "{spec: {sourceRef: {kind: GitRepository, name: bob, namespace: 4-aux-bob}}}",
        "source of another namespace",
    ),
    "into a neighbour's namespace": ("{spec: {targetNamespace: 4-aux-bob}}", "targetNamespace"),
    "into another cluster": ("{spec: {kubeConfig: {secretRef: {name: c}}}}", "other clusters"),
    "after a neighbour": ("{spec: {dependsOn: [{name: bob, namespace: 4-aux-bob}]}}", "dependsOn"),
}


def body_of(text: str) -> dict[str, t.Any]:
    """Return an object with what its case leaves out."""
    body: dict[str, t.Any] = yaml.safe_load(text)
    body.setdefault("apiVersion", "v1")
    meta = body.setdefault("metadata", {})
    meta.setdefault("name", "c")
    if body["kind"] not in ("Namespace", "ClusterRoleBinding"):
        meta.setdefault("namespace", "4-aux-alice")
    return body


@pytest.mark.parametrize("case", sorted(ALLOWED))
def test_a_tenant_may_have(site: Site, case: str) -> None:
    answer = site.apply(body_of(ALLOWED[case]), dry=True, user=FLUX)
    assert answer.status == 201, answer.body


@pytest.mark.parametrize("case", sorted(DENIED))
def test_rights_keep_a_tenant_from(site: Site, case: str) -> None:
    answer = site.apply(body_of(DENIED[case]), dry=True, user=FLUX)
    assert answer.status == 403, answer.body
    assert "ValidatingAdmissionPolicy" not in answer.body["message"]
    assert "cannot patch resource" in answer.body["message"]


@pytest.mark.parametrize("case", sorted(GUARDED))
def test_guards_keep_a_tenant_from(site: Site, case: str) -> None:
    text, said = GUARDED[case]
    answer = site.apply(body_of(text), dry=True, user=FLUX)
    assert answer.status == 403, answer.body
    assert "ValidatingAdmissionPolicy" in answer.body["message"]
    assert said in answer.body["message"]


def test_a_host_is_looked_at_when_it_changes(site: Site) -> None:
    body = body_of(ALLOWED["an Ingress of its domain"])
    assert site.apply(body, user=FLUX).status == 201
    body["spec"]["rules"][0]["host"] = "bob.example.org"
    answer = site.apply(body, user=FLUX)
    assert answer.status == 403
    assert "bob.example.org" in answer.body["message"]
    assert site.ask("DELETE", site.path(body), user=FLUX).status == 200


def test_a_host_is_looked_at_while_its_ingress_is_being_deleted(site: Site) -> None:
    body = body_of(ALLOWED["an Ingress of its domain"])
    body["metadata"] = {**body["metadata"], "name": "lingering", "finalizers": ["example.org/stay"]}
    assert site.apply(body, user=FLUX).status == 201
    assert site.ask("DELETE", site.path(body), user=FLUX).status == 200
    body["spec"]["rules"][0]["host"] = "bob.example.org"
    answer = site.apply(body, dry=True, user=FLUX)
    assert answer.status == 403, answer.body
    assert "bob.example.org" in answer.body["message"]
    freed = site.ask(
        "PATCH",
        site.path(body),
        {"metadata": {"finalizers": None}},
        user=FLUX,
        content_type="application/merge-patch+json",
    )
    assert freed.status == 200, freed.body
    assert until(lambda: site.ask("GET", site.path(body)).status == 404)


def test_a_claim_that_waits_takes_no_volume_by_name_later(site: Site) -> None:
    body = body_of(
        """{kind: PersistentVolumeClaim, metadata: {name: later}, spec: {storageClassName: ceph-block,
        accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}"""
    )
    assert site.apply(body, user=FLUX).status == 201
    body["spec"]["volumeName"] = "pv-of-bob"
    answer = site.apply(body, dry=True, user=FLUX)
    assert answer.status == 403, answer.body
    assert "cannot be taken by name" in answer.body["message"]
    assert site.ask("DELETE", site.path(body), user=FLUX).status == 200


@pytest.mark.parametrize("case", sorted(FLUX_GUARDED))
def test_guards_hold_a_kustomization_to_its_namespace(site: Site, case: str) -> None:
    change, said = FLUX_GUARDED[case]
    path = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/4-aux-alice/kustomizations/alice?dryRun=All"
    answer = site.ask("PATCH", path, yaml.safe_load(change), content_type="application/merge-patch+json")
    assert answer.status == 403, answer.body
    assert said in answer.body["message"]


@pytest.mark.parametrize(
    "url", ["https://git.example.net/alice/k8s", "https://git.example.org/../x", "https://git.example.org/%2e%2e/x"]
)
def test_guards_hold_sources_to_the_list(site: Site, url: str) -> None:
    path = "/apis/source.toolkit.fluxcd.io/v1/namespaces/4-aux-alice/gitrepositories/alice?dryRun=All"
    answer = site.ask("PATCH", path, {"spec": {"url": url}}, content_type="application/merge-patch+json")
    assert answer.status == 403, answer.body
    assert "sources come only from https://git.example.org/" in answer.body["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/4-aux-alice/secrets/tenant-git",
        "/apis/external-secrets.io/v1/namespaces/4-aux-alice/externalsecrets/tenant-git",
    ],
)
def test_a_tenant_cannot_take_away_what_the_platform_made(site: Site, path: str) -> None:
    if "/secrets/" in path:
        # as External Secrets makes it: with the labels of what it is made from
        labels = yaml.safe_load(OWNED)
        made = body_of("{kind: Secret, metadata: {name: tenant-git}}")
        made["metadata"]["labels"] = labels
        assert site.apply(made).status in (200, 201)
    for method, body in (("DELETE", None), ("PATCH", {"metadata": {"labels": {"app.kubernetes.io/part-of": "me"}}})):
        answer = site.ask(method, path, body, user=FLUX, content_type="application/merge-patch+json")
        assert answer.status == 403, answer.body
        assert "belongs to the platform" in answer.body["message"]
    # nor all at once
    assert site.ask("DELETE", path.rpartition("/")[0], user=FLUX).status == 403
    assert site.ask("GET", path).status == 200


@pytest.mark.parametrize("kind", ["secrets", "configmaps", "pods"])
def test_a_tenant_reads_nothing_of_a_neighbour(site: Site, kind: str) -> None:
    assert site.ask("GET", f"/api/v1/namespaces/4-aux-alice/{kind}", user=FLUX).status == 200
    assert site.ask("GET", f"/api/v1/namespaces/4-aux-bob/{kind}", user=FLUX).status == 403
    assert site.ask("GET", f"/api/v1/{kind}", user=FLUX).status == 403


def test_a_tenant_is_nobody_else(site: Site) -> None:
    request = {"spec": {"audiences": ["openbao-a"]}}
    path = "/api/v1/namespaces/4-aux-alice/serviceaccounts/{}/token"
    for account in ("eso", "flux", "default"):
        answer = site.ask("POST", path.format(account), {"kind": "TokenRequest", **request}, user=FLUX)
        assert answer.status == 403, answer.body
    review = {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "spec": {"resourceAttributes": {"verb": "impersonate", "resource": "serviceaccounts", "name": "eso"}},
    }
    answer = site.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review, user=FLUX)
    assert answer.body["status"]["allowed"] is False


@pytest.mark.parametrize(
    ("verb", "group", "resource", "allowed"),
    [
        ("get", "", "pods", True),
        ("get", "", "pods/log", True),
        ("create", "", "pods/exec", True),
        ("delete", "", "pods", True),
        ("patch", "apps", "deployments/scale", True),
        ("get", "kustomize.toolkit.fluxcd.io", "kustomizations", True),
        ("patch", "kustomize.toolkit.fluxcd.io", "kustomizations", False),
        ("get", "", "secrets", False),
        ("create", "", "pods", False),
        ("patch", "apps", "deployments", False),
        ("create", "", "serviceaccounts/token", False),
    ],
)
def test_who_operates_a_tenant(site: Site, verb: str, group: str, resource: str, allowed: bool) -> None:
    name, _slash, sub = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": name, "subresource": sub, "namespace": "4-aux-alice"}
    review = {
        "kind": "SubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "spec": {"user": "oidc:ann", "groups": list(OPERATOR), "resourceAttributes": attributes},
    }
    for namespace, right in (("4-aux-alice", allowed), ("4-aux-bob", False)):
        attributes["namespace"] = namespace
        answer = site.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        assert answer.body["status"]["allowed"] is right, answer.body


def test_a_suspended_tenant_has_no_pods_no_people_and_no_login(site: Site) -> None:
    pod = body_of(
        f"{{kind: Pod, metadata: {{namespace: 4-aux-carol}}, "
        f"spec: {{automountServiceAccountToken: false, {RESTRICTED}}}}}"
    )
    until(lambda: site.ask("GET", "/api/v1/namespaces/4-aux-carol/serviceaccounts/default").status == 200)
    answer = until(lambda: (found := site.apply(pod, dry=True)).status == 403 and found)
    assert "exceeded quota: tenant-stopped" in answer.body["message"]
    names = [
        one["metadata"]["name"]
        for one in site.ask("GET", "/api/v1/namespaces/4-aux-carol/serviceaccounts").body["items"]
    ]
    assert sorted(names) == ["default", "flux"]
    bindings = site.ask("GET", "/apis/rbac.authorization.k8s.io/v1/namespaces/4-aux-carol/rolebindings").body["items"]
    assert [one["metadata"]["name"] for one in bindings] == ["tenant-reconciler"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [("storageClassName: ceph-fs", "data classes"), ("storageClassName: ceph-block, volumeName: pv", "taken by name")],
    ids=["class", "name"],
)
def test_a_controller_takes_no_volume_for_a_tenant_either(site: Site, spec: str, said: str) -> None:
    body = body_of(
        "{apiVersion: apps/v1, kind: StatefulSet, spec: {serviceName: c, selector: "
        f"{{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: b}}}}, spec: {{{RESTRICTED}}}}}, "
        "volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: "
        f"{{storage: 1Gi}}}}, {spec}}}}}]}}}}"
    )
    name = f"greedy-{len(spec)}"
    body["metadata"] = {"name": name, "namespace": "4-aux-alice"}
    assert site.apply(body, user=FLUX).status == 201
    home = "/api/v1/namespaces/4-aux-alice"

    def refused() -> bool:
        events = site.ask("GET", f"{home}/events?fieldSelector=involvedObject.name={name}").body["items"]
        return any(said in one.get("message", "") for one in events)

    seen = site.ask("GET", f"{home}/events?fieldSelector=involvedObject.name={name}").body["items"]
    assert until(refused), seen
    assert site.ask("GET", f"{home}/persistentvolumeclaims/data-{name}-0").status == 404
    assert site.ask("DELETE", site.path(body), user=FLUX).status == 200


@pytest.mark.parametrize(
    ("user", "status"),
    [
        ("system:serviceaccount:kube-system:sealed-secrets-controller", 201),
        ("system:serviceaccount:elsewhere:sealed-secrets-controller", 403),
    ],
)
def test_the_secret_of_a_rendered_sealed_secret_may_be_made(site: Site, user: str, status: int) -> None:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    _system, _kind, space, name = user.split(":")
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"sealed-{space}"},
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": space}],
    }
    assert site.apply(binding).status == 201
    # the controller puts the labels of the template on it, which are the platform's
    body = body_of(f"{{kind: Secret, metadata: {{name: registry-sealed, labels: {OWNED}}}, data: {{a: Yg==}}}}")
    assert until(lambda: site.apply(body, dry=True, user=user).status == status), site.apply(body, dry=True, user=user)
    assert site.ask("DELETE", site.path(binding)).status == 200


def test_the_platforms_controllers_do_their_work(site: Site) -> None:
    path = "/apis/source.toolkit.fluxcd.io/v1/namespaces/4-aux-bob/gitrepositories/bob"
    held = until(lambda: site.ask("GET", path).body["metadata"].get("finalizers"))
    assert held == ["finalizers.fluxcd.io"]


def test_the_calendar_of_the_guide_comes_up(site: Site) -> None:
    text = (Path(__file__).parents[3] / "docs" / "tenant_guide.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    bodies = [one for block in blocks for one in yaml.safe_load_all(block)]
    assert sorted(one["kind"] for one in bodies) == ["ConfigMap", "ExternalSecret", "Ingress", "Service", "StatefulSet"]
    for one in bodies:
        one["metadata"]["namespace"] = "4-aux-alice"
        answer = site.apply(one, user=FLUX)
        assert answer.status == 201, (one["kind"], answer.body)
    home = "/api/v1/namespaces/4-aux-alice"
    pod = until(lambda: (found := site.ask("GET", f"{home}/pods/calendar-0")).status == 200 and found.body)
    assert pod, site.ask("GET", f"{home}/events").body
    claim = site.ask("GET", f"{home}/persistentvolumeclaims/data-calendar-0").body
    assert claim["spec"]["storageClassName"] == "ceph-block"
    for one in bodies:
        assert site.ask("DELETE", site.path(one), user=FLUX).status == 200


def test_a_namespace_goes_with_all_that_the_guards_protect(site: Site) -> None:
    """Nobody puts anything into it any more, and the controllers take everything out."""
    paths = [f"/api/v1/namespaces/{name}" for name in ("4-aux-dave", "4-aux-bob")]
    for path in paths:
        assert site.ask("DELETE", path).status == 200
    assert until(lambda: all(site.ask("GET", path).status == 404 for path in paths), 90)
