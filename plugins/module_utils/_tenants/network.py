# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""NetworkPolicies of a tenant's namespace: everything is denied, then what the mode allows is let through.

``isolated``: DNS and the namespace itself. ``ingress``: also in from the ingress controllers. ``internet``: also out to
what is neither private nor of the site.
"""

from __future__ import annotations

import functools
import ipaddress
import typing as t

from .model import ACTIVE, Namespace, Tenant
from .parts import Object, metadata
from .profile import TenantProfile

DENY: t.Final = "tenant-default-deny"
DNS: t.Final = "tenant-allow-dns"
SAME: t.Final = "tenant-allow-same-namespace"
INGRESS: t.Final = "tenant-allow-ingress"
INTERNET: t.Final = "tenant-allow-internet"
_NAME: t.Final = "kubernetes.io/metadata.name"


def policies(tenant: Tenant, namespace: Namespace, profile: TenantProfile, state: str) -> list[Object]:
    """Return the NetworkPolicies in a state. What is not active has no way in, and no way out but to itself."""
    made = [_policy(tenant, namespace, DENY, {"policyTypes": ["Egress", "Ingress"]})]
    if state != ACTIVE:
        return made
    dns = {
        "namespaceSelector": {"matchLabels": {_NAME: profile.dns_namespace}},
        "podSelector": {"matchLabels": dict(profile.dns_labels)},
    }
    ports = [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
    own: Object = {"podSelector": {}}
    made.append(_policy(tenant, namespace, DNS, {"policyTypes": ["Egress"], "egress": [{"to": [dns], "ports": ports}]}))
    made.append(
        _policy(
            tenant,
            namespace,
            SAME,
            {"policyTypes": ["Egress", "Ingress"], "egress": [{"to": [own]}], "ingress": [{"from": [own]}]},
        )
    )
    if namespace.network in ("ingress", "internet") and profile.ingress_namespaces:
        peers = [{"namespaceSelector": {"matchLabels": {_NAME: one}}} for one in sorted(profile.ingress_namespaces)]
        made.append(_policy(tenant, namespace, INGRESS, {"policyTypes": ["Ingress"], "ingress": [{"from": peers}]}))
    if namespace.network == "internet":
        made.append(
            _policy(
                tenant,
                namespace,
                INTERNET,
                {"policyTypes": ["Egress"], "egress": [{"to": [_outside(profile, 4), _outside(profile, 6)]}]},
            )
        )
    return made


def _outside(profile: TenantProfile, version: int) -> Object:
    excepted = list(_excepted(tuple(profile.private_ranges), version))
    return {"ipBlock": {"cidr": "0.0.0.0/0" if version == 4 else "::/0", "except": excepted}}


@functools.lru_cache(maxsize=16)
def _excepted(ranges: tuple[str, ...], version: int) -> tuple[str, ...]:
    networks = [ipaddress.ip_network(one) for one in ranges]
    return tuple(sorted(str(one) for one in networks if one.version == version))


def _policy(tenant: Tenant, namespace: Namespace, name: str, spec: Object) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(tenant, name, namespace.name),
        "spec": {"podSelector": {}, **spec},
    }
