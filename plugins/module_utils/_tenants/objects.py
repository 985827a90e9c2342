# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""A tenant's declaration as Kubernetes objects: the same for applying, for rendering into Git, and for check mode.

:func:`tenant_objects` returns what one tenant has on one cluster in one state, :func:`platform_objects` what all
tenants of a cluster share (ClusterRoles and guards). Both are pure, sorted, and the same for the same input.

What a state has:

=========  ======================================================================================================
active     everything
suspended  everything but the bindings of people, the ServiceAccount of External Secrets and the way in from the
           ingress; Flux is suspended, and no pod may start. Workloads are scaled down by ``lifecycle``.
archived   the namespace, closed and without pods; its volumes stay
removed    nothing
=========  ======================================================================================================
"""

from __future__ import annotations

import dataclasses
import typing as t
import urllib.parse
from collections.abc import Mapping

from .._eso import model as eso
from .._eso.stores import API_VERSION as ESO
from .._eso.stores import render as render_stores
from .._kube import order
from . import guards, network, roles
from .model import ACTIVE, ARCHIVED, REMOVED, SUSPENDED, Credential, Namespace, Tenant
from .parts import Object, labels, metadata
from .profile import TENANT_LABEL, TenantProfile, resolve

STORE: t.Final = "openbao"
GIT_LOGIN: t.Final = "tenant-git"
GIT_KEYS: t.Final = "tenant-git-keys"
QUOTA: t.Final = "tenant-quota"
STOPPED: t.Final = "tenant-stopped"
SOURCE_API: t.Final = "source.toolkit.fluxcd.io/v1"
KUSTOMIZE_API: t.Final = "kustomize.toolkit.fluxcd.io/v1"
SEALED: t.Final = "bitnami.com/v1alpha1"
#: Annotations of namespaces with what the last declaration that was right said of its member.
MEMBER: t.Final = "member"
PAID_UNTIL: t.Final = "paid-until"
GRACE_DAYS: t.Final = "grace-days"
#: Annotation of namespaces whose tenant was found to be no member while its declaration was wrong: since when.
ENDED: t.Final = "membership-ended"
SUSPENDED_BY: t.Final = "suspended-by"
PRUNE_DISABLED: t.Final = "kustomize.toolkit.fluxcd.io/prune"
_RBAC: t.Final = "rbac.authorization.k8s.io"
#: Properties of an OpenBao secret that become the keys of a Kubernetes Secret, by what it is for.
_REGISTRY: t.Final = {".dockerconfigjson": "dockerconfigjson"}
_TLS: t.Final = {"tls.crt": "tls.crt", "tls.key": "tls.key"}


@dataclasses.dataclass(frozen=True)
class Place:
    """One cluster, as far as rendering goes.

    :ivar name: name of the cluster.
    :ivar stores: options of ``_eso.model.parse`` (server, mount, audience, ca_bundle, kv_mount, ...); empty where
        tenants have no OpenBao.
    :ivar kv_prefix: path in the KV engine, before ``/<cluster>/<namespace>/``.
    :ivar per_tenant: OpenBao has a role of each tenant's own (``tenant-<name>``) instead of the shared one.
    :ivar quota_optout: label of a namespace whose ResourceQuota does not come from its namespace tier
        (``Table.optout_quota``).
    :ivar tier_label: label that says the namespace tier (``Table.label``); empty to leave it out.
    """

    name: str
    stores: Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    kv_prefix: str = "tenants"
    per_tenant: bool = False
    quota_optout: str = "resource-governance/custom-quota"
    tier_label: str = ""


def platform_objects(profile: TenantProfile) -> list[Object]:
    """Return what all tenants of a cluster share, in the order in which to apply it."""
    return order.rendered([*roles.cluster_roles(profile), *guards.policies(profile)])


def tenant_objects(tenant: Tenant, profile: TenantProfile, place: Place, *, state: str | None = None) -> list[Object]:
    """Return what a tenant has on a cluster, in the order in which to apply it.

    :param state: instead of the declared one, where membership or a plan says so.
    :returns: nothing if the tenant is not on this cluster, or removed.
    """
    tenant = resolve(tenant, profile)
    state = state or tenant.state
    if place.name not in tenant.clusters or state == REMOVED:
        return []
    made: list[Object] = []
    for namespace in tenant.namespaces:
        made.append(_namespace(tenant, namespace, profile, place, state))
        made += network.policies(tenant, namespace, profile, state)
        made += _quotas(tenant, namespace, state)
        if state in (ACTIVE, SUSPENDED):
            made += _accounts(tenant, namespace, profile, state)
            made += _stores(tenant, namespace, profile, place, state)
            made += [_secret(tenant, namespace, place, one) for one in _wishes(tenant, namespace, profile)]
            made += _flux(tenant, namespace, profile, state)
    return order.rendered(made)


# -- namespace -----------------------------------------------------------------------------------------------------


def _namespace(tenant: Tenant, namespace: Namespace, profile: TenantProfile, place: Place, state: str) -> Object:
    level = namespace.pod_security
    tags = {
        **labels(tenant),
        profile.key("tenant-state"): state,
        "pod-security.kubernetes.io/enforce": level,
        "pod-security.kubernetes.io/enforce-version": "latest",
        "pod-security.kubernetes.io/audit": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
    }
    if place.tier_label:
        tags[place.tier_label] = namespace.tier
    if namespace.quota:
        tags[place.quota_optout] = "true"
    notes = {
        profile.key("owner"): tenant.owner.subject or tenant.owner.group or tenant.owner.contact,
        profile.key("contact"): tenant.owner.contact,
        guards.hosts_key(profile): guards.hosts_text(tenant, namespace),
        guards.storage_key(profile): " ".join(sorted({one.storage_class for one in tenant.data})),
        # Whatever happens to the repository that this is rendered into, Flux deletes no tenant's namespace.
        PRUNE_DISABLED: "disabled",
    }
    if tenant.source is not None:
        notes[profile.key("repo")] = tenant.source.url
    notes |= _member(tenant, profile)
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace.name, "labels": tags, "annotations": notes},
    }


def _member(tenant: Tenant, profile: TenantProfile) -> dict[str, str]:
    """Return what membership is judged by while the declaration cannot be read."""
    member = tenant.membership
    found = {MEMBER: member.id, PAID_UNTIL: member.paid_until}
    if member.grace_days >= 0:
        found[GRACE_DAYS] = str(member.grace_days)
    return {profile.key(key): value for key, value in found.items() if value}


def stopping(tenant: Tenant, namespace: str) -> Object:
    """Return what keeps pods from starting in a namespace."""
    return _quota(tenant, Namespace(namespace), STOPPED, {"pods": "0"})


def _quotas(tenant: Tenant, namespace: Namespace, state: str) -> list[Object]:
    made = []
    if namespace.quota and state != ARCHIVED:
        made.append(_quota(tenant, namespace, QUOTA, dict(sorted(namespace.quota.items()))))
    if state != ACTIVE:
        made.append(_quota(tenant, namespace, STOPPED, {"pods": "0"}))
    return made


def _quota(tenant: Tenant, namespace: Namespace, name: str, hard: Mapping[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": metadata(tenant, name, namespace.name),
        "spec": {"hard": dict(hard)},
    }


# -- identities ----------------------------------------------------------------------------------------------------


def _accounts(tenant: Tenant, namespace: Namespace, profile: TenantProfile, state: str) -> list[Object]:
    made: list[Object] = [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata(tenant, profile.flux_account, namespace.name),
            "automountServiceAccountToken": False,
        },
        _binding(
            tenant,
            namespace,
            roles.RECONCILER,
            [{"kind": "ServiceAccount", "name": profile.flux_account, "namespace": namespace.name}],
        ),
    ]
    if state == ACTIVE:
        for role, name in (("viewer", roles.VIEWER), ("operator", roles.OPERATOR)):
            # Who operates also looks.
            people = [one for one in tenant.access if role in (one.role, "viewer")]
            if people:
                made.append(_binding(tenant, namespace, name, [_subject(one, profile) for one in people]))
    return made


def _subject(one: t.Any, profile: TenantProfile) -> Object:
    prefix = profile.group_prefix if one.kind == "Group" else profile.user_prefix
    return {"apiGroup": _RBAC, "kind": one.kind, "name": f"{prefix}{one.name}"}


def _binding(tenant: Tenant, namespace: Namespace, role: str, subjects: list[Object]) -> Object:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": metadata(tenant, role, namespace.name),
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": sorted(subjects, key=lambda one: (one["kind"], one["name"])),
    }


# -- secrets -------------------------------------------------------------------------------------------------------


def openbao_path(tenant: Tenant, namespace: str, place: Place, path: str) -> str:
    """Return the path of an OpenBao secret in the KV engine."""
    parts = [place.kv_prefix, place.name, namespace, tenant.secrets_path, path]
    return "/".join(part for part in parts if part)


@dataclasses.dataclass(frozen=True)
class _Wish:
    """A Kubernetes Secret that is wanted.

    :ivar properties: key of the Kubernetes Secret -> property of the OpenBao secret; all of them if it is empty.
    :ivar fixed: public values that the platform adds, as host keys.
    """

    name: str
    credential: Credential
    kind: str = "Opaque"
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fixed: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _wishes(tenant: Tenant, namespace: Namespace, profile: TenantProfile) -> t.Iterator[_Wish]:
    source = tenant.source
    if source is not None and source.login:
        hosts = profile.known_hosts.get(urllib.parse.urlsplit(source.url).hostname or "", "")
        fixed = {"known_hosts": hosts} if source.auth == "ssh" and hosts else {}
        yield _Wish(GIT_LOGIN, source.login, fixed=fixed)
    if source is not None and source.keys:
        yield _Wish(GIT_KEYS, source.keys)
    for pull in tenant.image_pull:
        yield _Wish(pull.name, pull.credential, "kubernetes.io/dockerconfigjson", _REGISTRY)
    for domain in tenant.domains:
        if domain.tls and domain.namespace == namespace.name:
            yield _Wish(f"tls-{domain.name}", domain.tls, "kubernetes.io/tls", _TLS)


def _secret(tenant: Tenant, namespace: Namespace, place: Place, wish: _Wish) -> Object:
    """Return what makes one Kubernetes Secret."""
    meta = metadata(tenant, wish.name, namespace.name)
    template: Object = {"metadata": {"labels": labels(tenant)}, "type": wish.kind}
    if wish.credential.sealed:
        if wish.fixed:
            template["data"] = dict(wish.fixed)
        spec: Object = {"encryptedData": dict(sorted(wish.credential.sealed.items())), "template": template}
        return {"apiVersion": SEALED, "kind": "SealedSecret", "metadata": meta, "spec": spec}
    key = openbao_path(tenant, namespace.name, place, wish.credential.path)
    if wish.fixed:
        template |= {"engineVersion": "v2", "mergePolicy": "Merge", "data": dict(wish.fixed)}
    spec = {
        "refreshInterval": "1h",
        "secretStoreRef": {"kind": "SecretStore", "name": STORE},
        "target": {"name": wish.name, "creationPolicy": "Owner", "template": template},
    }
    if wish.properties:
        spec["data"] = [
            {"secretKey": own, "remoteRef": {"key": key, "property": other}}
            for own, other in sorted(wish.properties.items())
        ]
    else:
        spec["dataFrom"] = [{"extract": {"key": key}}]
    return {"apiVersion": ESO, "kind": "ExternalSecret", "metadata": meta, "spec": spec}


def _stores(tenant: Tenant, namespace: Namespace, profile: TenantProfile, place: Place, state: str) -> list[Object]:
    if not tenant.openbao or not place.stores:
        return []
    options = {**place.stores, "store": STORE, "service_account": profile.eso_account, "labels": labels(tenant)}
    if place.per_tenant:
        options["role"] = f"tenant-{tenant.name}"
    # Without its ServiceAccount nobody logs in to OpenBao for a suspended tenant.
    options["make_service_accounts"] = state == ACTIVE
    return render_stores(eso.parse([namespace.name], options))


# -- Flux ----------------------------------------------------------------------------------------------------------


def _flux(tenant: Tenant, namespace: Namespace, profile: TenantProfile, state: str) -> list[Object]:
    source = tenant.source
    if source is None:
        return []
    git: Object = {
        "interval": source.interval,
        "timeout": "60s",
        "url": source.url,
        "ref": {source.ref[0]: source.ref[1]},
        "suspend": state != ACTIVE,
    }
    if source.login:
        git["secretRef"] = {"name": GIT_LOGIN}
    if source.auth == "githubApp":
        git["provider"] = "github"
    if source.verify:
        git["verify"] = {"mode": source.verify, "secretRef": {"name": GIT_KEYS}}
    return [
        {
            "apiVersion": SOURCE_API,
            "kind": "GitRepository",
            "metadata": metadata(tenant, tenant.name, namespace.name),
            "spec": git,
        },
        {
            "apiVersion": KUSTOMIZE_API,
            "kind": "Kustomization",
            "metadata": metadata(tenant, tenant.name, namespace.name),
            "spec": {
                "serviceAccountName": profile.flux_account,
                "sourceRef": {"kind": "GitRepository", "name": tenant.name},
                "path": namespace.path,
                "targetNamespace": namespace.name,
                "prune": True,
                # Taken away by accident, it leaves what runs; ``lifecycle`` cleans up by its inventory.
                "deletionPolicy": "Orphan",
                "interval": "30m",
                "retryInterval": "2m",
                "timeout": "5m",
                "wait": True,
                "suspend": state != ACTIVE,
                "commonMetadata": {"labels": {TENANT_LABEL: tenant.name}},
            },
        },
    ]
