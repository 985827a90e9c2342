# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What the platform offers its tenants: ``platform_tenants`` in the inventory.

:func:`parse` checks it and raises at the first breach. :func:`resolve` fills what a declaration leaves to the site.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import types
import typing as t
from collections.abc import Mapping

from .._core import shape
from .._core.errors import InvalidInput, check
from .._core.shape import Schema, choice, pattern, record, said
from .._kube.model import DEFAULT_LABEL_DOMAIN
from .._tiers.model import DEFAULT_GROUPS
from .model import Namespace, Tenant
from .schema import LABEL, NETWORK_MODES, POD_SECURITY

#: Names that no tenant may have, nor begin with, followed by a hyphen.
RESERVED: t.Final = (
    "admin",
    "cluster",
    "core",
    "default",
    "flux",
    "flux-system",
    "infra",
    "kube",
    "kyverno",
    "openbao",
    "platform",
    "rook",
    "root",
    "system",
    "tenants",
    "vault",
)
#: What is not the internet: private, shared, link-local and loopback networks, and what goes to many.
PRIVATE: t.Final = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "224.0.0.0/4",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
    "ff00::/8",
)
#: Who may change what the platform owns in tenants' namespaces.
GROUPS: t.Final = (
    *DEFAULT_GROUPS,
    "system:nodes",
    "system:serviceaccounts:kube-system",
    "system:serviceaccounts:flux-system",
    "system:serviceaccounts:external-secrets",
    "system:serviceaccounts:kyverno",
)
USERS: t.Final = ("system:apiserver", "system:kube-controller-manager", "system:kube-scheduler")
#: Annotations of Ingresses and routes that open nothing.
ANNOTATIONS: t.Final = (
    "nginx.ingress.kubernetes.io/backend-protocol",
    "nginx.ingress.kubernetes.io/force-ssl-redirect",
    "nginx.ingress.kubernetes.io/proxy-body-size",
    "nginx.ingress.kubernetes.io/proxy-read-timeout",
    "nginx.ingress.kubernetes.io/proxy-send-timeout",
    "nginx.ingress.kubernetes.io/ssl-redirect",
)
APPROVALS: t.Final = ("domain", "name", "pod_security", "quota", "tier")


def _listed(items: Schema, **more: t.Any) -> Schema:
    return {"type": "array", "items": items, **more}


_NAME: t.Final = pattern(
    LABEL, "name", "is not a name of lower-case letters, digits and inner dashes, at most 63 long.", "rename it."
)
_TEXT: t.Final[Schema] = {"type": "string", "minLength": 1}
_TEXTS: t.Final = _listed(_TEXT)
_HOST: t.Final = r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
_DOMAIN: t.Final = pattern(_HOST, "domain", "is not a domain.", "give a domain that the site owns.")
_OFFER: t.Final = pattern(
    rf"((\*|\{{tenant\}})\.)?{_HOST}",
    "domain",
    "is not a domain.",
    "for example {tenant}.members.example.org, *.example.org or www.example.org.",
)
_GIT_PREFIX: t.Final = pattern(
    r"(https|ssh)://([a-z_][-a-z0-9_]*@)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?/([-A-Za-z0-9_.~/]*/)?",
    "url",
    "is not the beginning of addresses of Git repositories: https:// or ssh://, a host, a path, a slash at the end.",
    "for example https://git.example.org/ or ssh://git@git.example.org/tenants/.",
)
_DATE: t.Final = pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "value", "is no date.", "write it as 2026-12-31.")
_AMOUNTS: t.Final[Schema] = {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}}
_LABELS: t.Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}
_COUNT: t.Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 10000}
_DAYS: t.Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 3650}

#: Schema of ``platform_tenants``; ``inventory.schema.json`` has the same, which a test looks at.
PROFILE: t.Final[Mapping[str, t.Any]] = types.MappingProxyType(
    {
        "description": "Where tenants are declared, and what the platform offers them.",
        **record(
            {
                "repository": said("Git repository with the declarations.", {"type": "string"}),
                "branch": said("Its branch.", {"type": "string"}),
                "directory": said("Folder with one file per tenant.", {"type": "string"}),
                "membership": said("Where it is looked up who is a member.", {"type": "object"}),
                "clusters": said("Clusters that take tenants; all downstream ones by default.", _listed(_NAME)),
                "namespace_tiers": said(
                    "Namespace tiers that tenants may have.",
                    _listed(
                        record(
                            {
                                "name": _NAME,
                                "approval": said("Each tenant needs an approval.", {"type": "boolean"}),
                                "ceiling": said("Most that a quota may be without an approval.", _AMOUNTS),
                            },
                            ("name",),
                        ),
                        minItems=1,
                    ),
                ),
                "reserved_names": said("Names that no tenant may have, besides the built-in ones.", _listed(_NAME)),
                "git": record(
                    {
                        "allow": said("How addresses of tenants' repositories may begin.", _listed(_GIT_PREFIX)),
                        "known_hosts": said(
                            "Host keys by host, for repositories by ssh; lines as in known_hosts.",
                            {"type": "object", "additionalProperties": _TEXT},
                        ),
                    }
                ),
                "domains": record(
                    {
                        "self_service": said(
                            "Domains that need no approval; {tenant} is the tenant's name.", _listed(_OFFER)
                        ),
                        "reserved": said("Domains that no tenant may have.", _listed(_DOMAIN)),
                        "subdomains": said("Whether a tenant may have all below a domain.", {"type": "boolean"}),
                    }
                ),
                "storage_classes": said("StorageClasses that tenants may use.", _listed(_NAME)),
                "minimum_retention_days": said("No data class is kept shorter.", _DAYS),
                "network_modes": _listed(choice(NETWORK_MODES), minItems=1),
                "pod_security": said("Levels that need no approval.", _listed(choice(POD_SECURITY), minItems=1)),
                "ingress": record(
                    {
                        "namespaces": said("Where ingress controllers run.", _listed(_NAME)),
                        "classes": said("IngressClasses that tenants may use.", _listed(_NAME)),
                        "authentication": said(
                            "Annotations that an Ingress carries for domains with auth: required.",
                            {"type": "object", "additionalProperties": {"type": "string"}},
                        ),
                        "annotations": said("Further annotations that Ingresses and routes may carry.", _TEXTS),
                        "gateways": said(
                            "Gateways that routes of tenants may have as a parent.",
                            _listed(
                                record(
                                    {
                                        "namespace": _NAME,
                                        "name": _NAME,
                                        "authenticates": said("Everybody logs in there.", {"type": "boolean"}),
                                    },
                                    ("namespace", "name"),
                                )
                            ),
                        ),
                    }
                ),
                "dns": record({"namespace": _NAME, "labels": _LABELS}),
                "private_ranges": said(
                    "Networks of the site and the clusters, besides private ones, that tenants do not reach.", _TEXTS
                ),
                "users": record(
                    {
                        "user_prefix": said("What the API server puts before users.", {"type": "string"}),
                        "group_prefix": said("What the API server puts before groups.", {"type": "string"}),
                    }
                ),
                "service_accounts": record({"flux": _NAME, "eso": _NAME}),
                "platform": said(
                    "Who may change what the platform owns in tenants' namespaces, besides the built-in ones.",
                    record({"groups": _TEXTS, "users": _TEXTS}),
                ),
                "sealed_secrets": said("Sealed Secrets runs on the clusters.", {"type": "boolean"}),
                "self_service_flux": said("Tenants may make Flux objects of their own.", {"type": "boolean"}),
                "capacity": said("What all quotas together may come to.", _AMOUNTS),
                "grace_days": said("How long a membership that has lapsed is good.", _DAYS),
                "max_grace_days": said("Most days of grace that a declaration may name; grace_days by default.", _DAYS),
                "max_suspensions": said("Most tenants suspended in one run.", _COUNT),
                "max_removals": said("Most tenants archived or removed in one run.", _COUNT),
                "approvals": said(
                    "Exceptions that somebody decided.",
                    {
                        "type": "array",
                        "items": record(
                            {
                                "tenant": _NAME,
                                "kind": choice(APPROVALS),
                                "value": said("Namespace tier, domain, level, namespace with a quota, or name.", _TEXT),
                                "by": said("Who decided.", _TEXT),
                                "until": said("Last day on which it holds.", _DATE),
                            },
                            ("tenant", "kind", "value", "by"),
                        ),
                    },
                ),
            }
        ),
    }
)


@dataclasses.dataclass(frozen=True)
class OfferedTier:
    """A namespace tier that tenants may have."""

    name: str
    approval: bool = False
    ceiling: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Gateway:
    """A Gateway that tenants' routes may use."""

    namespace: str
    name: str
    authenticates: bool = False


@dataclasses.dataclass(frozen=True)
class Approval:
    """An exception that somebody decided. :ivar until: the last day, or empty."""

    tenant: str
    kind: str
    value: str
    by: str
    until: str = ""


@dataclasses.dataclass(frozen=True)
class TenantProfile:
    """What the platform offers. Every field has a default, so that a site begins with little."""

    label_domain: str = DEFAULT_LABEL_DOMAIN
    clusters: tuple[str, ...] = ()
    tiers: tuple[OfferedTier, ...] = (OfferedTier("4-aux"),)
    reserved_names: tuple[str, ...] = RESERVED
    git_allow: tuple[str, ...] = ()
    known_hosts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    self_service_domains: tuple[str, ...] = ()
    reserved_domains: tuple[str, ...] = ()
    subdomains: bool = False
    storage_classes: tuple[str, ...] = ()
    minimum_retention_days: int = 0
    network_modes: tuple[str, ...] = NETWORK_MODES
    pod_security: tuple[str, ...] = ("restricted",)
    ingress_namespaces: tuple[str, ...] = ("1-cluster-ingress",)
    ingress_classes: tuple[str, ...] = ()
    authentication: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ingress_annotations: tuple[str, ...] = ANNOTATIONS
    gateways: tuple[Gateway, ...] = ()
    dns_namespace: str = "kube-system"
    dns_labels: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"k8s-app": "kube-dns"})
    private_ranges: tuple[str, ...] = PRIVATE
    user_prefix: str = "oidc:"
    group_prefix: str = "oidc:"
    flux_account: str = "flux"
    eso_account: str = "eso"
    platform_groups: tuple[str, ...] = GROUPS
    platform_users: tuple[str, ...] = USERS
    sealed_secrets: bool = False
    self_service_flux: bool = False
    capacity: Mapping[str, str] = dataclasses.field(default_factory=dict)
    grace_days: int = 14
    max_grace_days: int = 14
    max_suspensions: int = 3
    max_removals: int = 1
    approvals: tuple[Approval, ...] = ()

    def tier(self, name: str) -> OfferedTier | None:
        """Return an offered namespace tier, ``None`` if it is none."""
        return next((one for one in self.tiers if one.name == name), None)

    @property
    def default_tier(self) -> str:
        """Return the namespace tier of tenants that name none: the first that needs no approval."""
        return next((one.name for one in self.tiers if not one.approval), self.tiers[0].name)

    def key(self, name: str) -> str:
        """Return the key of a label or annotation of ours."""
        return f"{self.label_domain}/{name}"


#: Label of everything that belongs to a tenant; its value is the tenant's name.
TENANT_LABEL: t.Final = "toolkit.fluxcd.io/tenant"


def parse(raw: t.Any, *, label_domain: str = DEFAULT_LABEL_DOMAIN, item: str = "platform_tenants") -> TenantProfile:
    """Return what the platform offers.

    :param raw: ``platform_tenants`` of the inventory; nothing given means all defaults.
    :raises InvalidInput: for the first breach of the schema, networks that are none, and contradictions.
    """
    raw = raw or {}
    shape.validate(raw, PROFILE, item=item)
    base = TenantProfile()
    git, domains, ingress = raw.get("git") or {}, raw.get("domains") or {}, raw.get("ingress") or {}
    dns, users, accounts = raw.get("dns") or {}, raw.get("users") or {}, raw.get("service_accounts") or {}
    platform = raw.get("platform") or {}
    made = TenantProfile(
        label_domain=label_domain,
        clusters=tuple(raw.get("clusters") or ()),
        tiers=tuple(
            OfferedTier(one["name"], one.get("approval", False), dict(one.get("ceiling") or {}))
            for one in raw.get("namespace_tiers") or ()
        )
        or base.tiers,
        reserved_names=(*RESERVED, *raw.get("reserved_names", ())),
        git_allow=tuple(git.get("allow") or ()),
        known_hosts=dict(git.get("known_hosts") or {}),
        self_service_domains=tuple(domains.get("self_service") or ()),
        reserved_domains=tuple(domains.get("reserved") or ()),
        subdomains=domains.get("subdomains", base.subdomains),
        storage_classes=tuple(raw.get("storage_classes") or ()),
        minimum_retention_days=raw.get("minimum_retention_days", base.minimum_retention_days),
        network_modes=tuple(raw.get("network_modes") or base.network_modes),
        pod_security=tuple(raw.get("pod_security") or base.pod_security),
        ingress_namespaces=tuple(ingress.get("namespaces") or base.ingress_namespaces),
        ingress_classes=tuple(ingress.get("classes") or ()),
        authentication=dict(ingress.get("authentication") or {}),
        ingress_annotations=(*ANNOTATIONS, *ingress.get("annotations", ())),
        gateways=tuple(
            Gateway(one["namespace"], one["name"], one.get("authenticates", False))
            for one in ingress.get("gateways") or ()
        ),
        dns_namespace=dns.get("namespace", base.dns_namespace),
        dns_labels=dict(dns.get("labels") or base.dns_labels),
        private_ranges=tuple(dict.fromkeys((*PRIVATE, *_networks(raw.get("private_ranges") or (), item)))),
        user_prefix=users.get("user_prefix", base.user_prefix),
        group_prefix=users.get("group_prefix", base.group_prefix),
        flux_account=accounts.get("flux", base.flux_account),
        eso_account=accounts.get("eso", base.eso_account),
        platform_groups=(*GROUPS, *platform.get("groups", ())),
        platform_users=(*USERS, *platform.get("users", ())),
        sealed_secrets=raw.get("sealed_secrets", False),
        self_service_flux=raw.get("self_service_flux", False),
        capacity=dict(raw.get("capacity") or {}),
        grace_days=raw.get("grace_days", base.grace_days),
        max_grace_days=raw.get("max_grace_days", raw.get("grace_days", base.grace_days)),
        max_suspensions=raw.get("max_suspensions", base.max_suspensions),
        max_removals=raw.get("max_removals", base.max_removals),
        approvals=tuple(
            Approval(one["tenant"], one["kind"], one["value"], one["by"], one.get("until", ""))
            for one in raw.get("approvals") or ()
        ),
    )
    check(
        made.flux_account != made.eso_account and "default" not in (made.flux_account, made.eso_account),
        "Flux and External Secrets must not be the same ServiceAccount, nor default.",
        item=shape.place(item, "service_accounts"),
        rule="service-accounts-apart",
        fix="give two names, for example flux and eso.",
    )
    return made


def _networks(given: t.Iterable[str], item: str) -> list[str]:
    found = []
    for index, text in enumerate(given):
        try:
            found.append(str(ipaddress.ip_network(text)))
        except ValueError:
            raise InvalidInput(
                f"{text!r} is no network.",
                item=shape.place(item, f"private_ranges[{index}]"),
                rule="network",
                fix="give it as 10.32.0.0/16, without host bits.",
            ) from None
    return found


def resolve(tenant: Tenant, profile: TenantProfile) -> Tenant:
    """Return *tenant* with every namespace complete, and each domain with its namespace."""
    made: list[Namespace] = []
    for one in tenant.namespaces:
        tier = one.tier or profile.default_tier
        made.append(
            dataclasses.replace(
                one,
                tier=tier,
                name=one.name or f"{tier}-{tenant.name}",
                path=one.path or (tenant.source.path if tenant.source else ""),
                network=one.network or tenant.network,
                pod_security=one.pod_security or tenant.pod_security,
            )
        )
    domains = tuple(
        one if one.namespace else dataclasses.replace(one, namespace=made[0].name) for one in tenant.domains
    )
    return dataclasses.replace(tenant, namespaces=tuple(made), domains=domains)
