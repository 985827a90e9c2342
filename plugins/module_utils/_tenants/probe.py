# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Is a tenant confined? What its own identity may and may not do, asked of the real API server.

The matrix is pure. A right is asked for by an access review, what depends on the content of an object by a dry run;
both as the ServiceAccount with which Flux reconciles the tenant's repository. Nothing is written.
"""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .._kube.normalise import Object
from .ports import Identity, Prober, Right

_NAME: t.Final = "confinement-probe"


@dataclasses.dataclass(frozen=True)
class Subject:
    """One namespace of a tenant, and what is needed to ask about it.

    :ivar account: the ServiceAccount with which Flux acts there.
    :ivar neighbour: a namespace of somebody else.
    :ivar tier_label: key of the label that puts a namespace into a namespace tier.
    :ivar hosts: hosts that it may take; ``foreign_host`` one that it may not.
    :ivar annotations: what an Ingress for these hosts must carry.
    :ivar source: its own GitRepository, where tenants may make Flux objects of their own; ``git_url`` its address.
    """

    tenant: str
    namespace: str
    account: str
    neighbour: str
    flux_namespace: str
    tier_label: str
    foreign_host: str
    hosts: tuple[str, ...] = ()
    ingress_class: str = ""
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict)
    source: str = ""
    git_url: str = ""

    @property
    def identity(self) -> Identity:
        return Identity.of_account(self.namespace, self.account)


@dataclasses.dataclass(frozen=True)
class Check:
    """One question.

    :ivar allowed: the answer that is right.
    :ivar right: to be reviewed; or ``path`` and ``body`` to be tried; without a body it is read.
    """

    name: str
    allowed: bool
    right: Right | None = None
    path: str = ""
    body: Object = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One answer."""

    tenant: str
    namespace: str
    check: str
    expected: str
    got: str
    why: str

    @property
    def ok(self) -> bool:
        return self.expected == self.got

    def as_dict(self) -> dict[str, t.Any]:
        """Return what modules report."""
        return {**dataclasses.asdict(self), "ok": self.ok}


#: What a tenant's repository is for: (group, resource).
_NEEDED: t.Final = (
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("batch", "cronjobs"),
    ("", "services"),
    ("", "configmaps"),
    ("", "secrets"),
    ("", "persistentvolumeclaims"),
    ("networking.k8s.io", "ingresses"),
)
#: Cluster-scoped kinds: who makes them is not confined.
_CLUSTER: t.Final = (
    ("", "namespaces"),
    ("", "persistentvolumes"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
)
#: What the platform owns in a tenant's namespace.
_FLOOR: t.Final = (
    ("", "resourcequotas"),
    ("", "limitranges"),
    ("networking.k8s.io", "networkpolicies"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("external-secrets.io", "secretstores"),
    ("external-secrets.io", "clustersecretstores"),
)


def matrix(subject: Subject) -> list[Check]:
    """Return the questions about one namespace."""
    return [*_needs(subject), *_refusals(subject), *_trials(subject)]


def _needs(subject: Subject) -> Iterator[Check]:
    for group, resource in _NEEDED:
        for verb in ("patch", "delete"):
            yield Check(f"may {verb} {resource}", True, Right(verb, group, resource, subject.namespace))


def _refusals(subject: Subject) -> Iterator[Check]:
    own, other = subject.namespace, subject.neighbour
    yield Check("secrets of a neighbour", False, Right("get", "", "secrets", other))
    yield Check("reads secrets of a neighbour", False, path=f"/api/v1/namespaces/{other}/secrets")
    yield Check("reads secrets of Flux", False, path=f"/api/v1/namespaces/{subject.flux_namespace}/secrets")
    yield Check("secrets of Flux", False, Right("get", "", "secrets", subject.flux_namespace))
    yield Check("secrets of the whole cluster", False, Right("list", "", "secrets"))
    yield Check("workloads of a neighbour", False, Right("patch", "apps", "deployments", other))
    for group, resource in _CLUSTER:
        yield Check(f"makes {resource}", False, Right("create", group, resource))
    for group, resource in _FLOOR:
        yield Check(f"changes {resource}", False, Right("patch", group, resource, own))
    yield Check("changes its namespace", False, Right("patch", "", "namespaces", own, own))
    yield Check("acts as another ServiceAccount", False, Right("impersonate", "", "serviceaccounts", own))
    yield Check(
        "takes tokens of ServiceAccounts", False, Right("create", "", "serviceaccounts", own, subresource="token")
    )
    yield Check("reaches kubelets", False, Right("get", "", "nodes", subresource="proxy"))


def _trials(subject: Subject) -> Iterator[Check]:
    own = subject.namespace
    yield Check(
        "applies a StatefulSet", True, path=f"/apis/apps/v1/namespaces/{own}/statefulsets/{_NAME}", body=_set(own)
    )
    for host in subject.hosts[:1]:
        yield _ingress(subject, "applies an Ingress for its own domain", host, allowed=True)
    yield _ingress(subject, "takes a foreign domain", subject.foreign_host, allowed=False)
    yield from _flux_trials(subject)
    yield _service(subject, "takes a port of all nodes", {"type": "NodePort"})
    yield _service(subject, "takes an address", {"type": "LoadBalancer"})
    yield _service(subject, "takes a foreign address", {"externalIPs": ["192.0.2.7"]})
    yield Check(
        "moves to another namespace tier",
        False,
        path=f"/api/v1/namespaces/{own}",
        body={
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": own, "labels": {subject.tier_label: "0-core"}},
        },
    )
    yield Check(
        "makes a namespace of another namespace tier",
        False,
        path=f"/api/v1/namespaces/0-core-{_NAME}",
        body={
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": f"0-core-{_NAME}", "labels": {subject.tier_label: "0-core"}},
        },
    )
    yield Check(
        "binds itself to cluster-admin",
        False,
        path=f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{_NAME}",
        body={
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": _NAME},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": subject.account, "namespace": own}],
        },
    )


def _flux_trials(subject: Subject) -> Iterator[Check]:
    """Yield what a Kustomization of the tenant's own may not be. All else in it is right, so one thing is refused."""
    own, other = subject.namespace, subject.neighbour
    mine = {"kind": "GitRepository", "name": subject.source or _NAME}

    def kustomization(name: str, allowed: bool, **change: t.Any) -> Check:
        spec: Object = {
            "interval": "1h",
            "prune": True,
            "suspend": True,
            "serviceAccountName": subject.account,
            "sourceRef": mine,
            **change,
        }
        return Check(
            name,
            allowed,
            path=f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{own}/kustomizations/{_NAME}",
            body={
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
                "kind": "Kustomization",
                "metadata": {"name": _NAME, "namespace": own},
                "spec": spec,
            },
        )

    theirs = {"kind": "GitRepository", "name": "flux-system", "namespace": subject.flux_namespace}
    yield kustomization("refers to a source of another namespace", False, sourceRef=theirs)
    near = {"kind": "GitRepository", "name": _NAME, "namespace": other}
    yield kustomization("refers to a source of a neighbour", False, sourceRef=near)
    yield kustomization("reconciles as another ServiceAccount", False, serviceAccountName="kustomize-controller")
    yield kustomization("reconciles as nobody in particular", False, serviceAccountName="")
    yield kustomization("reconciles into a neighbour's namespace", False, targetNamespace=other)
    yield kustomization("reconciles another cluster", False, kubeConfig={"secretRef": {"name": _NAME}})
    yield _repository(subject, "takes a Git source from anywhere", "https://confinement-probe.invalid/x", allowed=False)
    if subject.source:
        yield kustomization("reconciles its own source once more", True)
    if subject.git_url:
        yield _repository(subject, "has a Git source of its own", subject.git_url, allowed=True)


def _repository(subject: Subject, name: str, url: str, *, allowed: bool) -> Check:
    own = subject.namespace
    return Check(
        name,
        allowed,
        path=f"/apis/source.toolkit.fluxcd.io/v1/namespaces/{own}/gitrepositories/{_NAME}",
        body={
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": {"name": _NAME, "namespace": own},
            "spec": {"interval": "1h", "suspend": True, "url": url},
        },
    )


def _service(subject: Subject, name: str, spec: Mapping[str, t.Any]) -> Check:
    own = subject.namespace
    return Check(
        name,
        False,
        path=f"/api/v1/namespaces/{own}/services/{_NAME}",
        body={
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": _NAME, "namespace": own},
            "spec": {"ports": [{"port": 80, "protocol": "TCP"}], **spec},
        },
    )


def _set(namespace: str) -> Object:
    container = {
        "name": "main",
        "image": "registry.k8s.io/pause:3.10",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    labels = {"app.kubernetes.io/name": _NAME}
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": _NAME, "namespace": namespace},
        "spec": {
            "replicas": 0,
            "serviceName": _NAME,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"securityContext": security, "containers": [container]},
            },
        },
    }


def _ingress(subject: Subject, name: str, host: str, *, allowed: bool) -> Check:
    backend = {"service": {"name": _NAME, "port": {"number": 80}}}
    spec: Object = {
        "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
    }
    if subject.ingress_class:
        spec["ingressClassName"] = subject.ingress_class
    return Check(
        name,
        allowed,
        path=f"/apis/networking.k8s.io/v1/namespaces/{subject.namespace}/ingresses/{_NAME}",
        body={
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "name": _NAME,
                "namespace": subject.namespace,
                "annotations": dict(subject.annotations),
            },
            "spec": spec,
        },
    )


def ask(prober: Prober, subject: Subject, checks: Sequence[Check]) -> list[Outcome]:
    """Return the answers to *checks*."""
    found = []
    for check in checks:
        if check.right is not None:
            allowed, why = prober.may(subject.identity, check.right)
            got = "allowed" if allowed else "refused"
        elif not check.body:
            got, why = _judged(*prober.try_read(subject.identity, check.path))
        else:
            got, why = _judged(*prober.try_apply(subject.identity, check.path, check.body))
        found.append(
            Outcome(
                subject.tenant,
                subject.namespace,
                check.name,
                "allowed" if check.allowed else "refused",
                got,
                why,
            )
        )
    return found


def _judged(status: int, said: str) -> tuple[str, str]:
    """Return what a dry run's answer means. A failure for another reason than a refusal proves nothing: ``unclear``."""
    if status in (200, 201):
        return "allowed", ""
    if status == 403 or "denied" in said or "ValidatingAdmissionPolicy" in said:
        return "refused", said
    if status == 404 and "could not find the requested resource" in said:
        return "refused", "the kind is not served"
    return "unclear", f"HTTP {status}: {said}"


def summary(outcomes: Iterable[Outcome]) -> dict[str, list[str]]:
    """Return, for each tenant with wrong answers, one sentence each."""
    found: dict[str, list[str]] = {}
    for one in outcomes:
        if not one.ok:
            found.setdefault(one.tenant, []).append(
                f"{one.namespace}: {one.check}: {one.got}, should be {one.expected}"
                + (f" ({one.why})" if one.why else "")
            )
    return found
