# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What a tenant's External Secrets may read in OpenBao, as plain data for the modules of OpenBao.

By default nothing is made per tenant: the shared role lets every namespace read its own path, and what cuts a suspended
tenant off is that its ServiceAccount is gone. The stricter option has a role and an OpenBao policy for each tenant:
:func:`per_tenant` is what ``jwt_reviewer`` takes as ``access.per_tenant``; :func:`policy` and :func:`role` are what it
makes of that, for who looks whether it is there.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from .._openbao import hcl
from .model import ACTIVE, Tenant
from .objects import Place
from .profile import TenantProfile, resolve

#: First line of the OpenBao policies; their owner is the module that writes them.
LINE: t.Final = "# managed by hackspace.infra: jwt_reviewer"
PREFIX: t.Final = "tenant-"


def _here(tenant: Tenant, place: Place, states: Mapping[str, str]) -> bool:
    state = states.get(tenant.name, tenant.state)
    return place.name in tenant.clusters and tenant.openbao and state == ACTIVE


def namespaces(tenants: Iterable[Tenant], profile: TenantProfile, place: Place, states: Mapping[str, str]) -> list[str]:
    """Return the namespaces that may log in, sorted: ``access.namespaces`` of a cluster that lists them.

    :param states: state of each tenant where it is not the declared one.
    """
    return sorted(
        one.name for each in tenants if _here(each, place, states) for one in resolve(each, profile).namespaces
    )


def per_tenant(
    tenants: Iterable[Tenant], profile: TenantProfile, place: Place, states: Mapping[str, str]
) -> list[dict[str, t.Any]]:
    """Return ``access.per_tenant`` of a cluster: the tenants that are active there and use OpenBao."""
    return [
        {
            "name": one.name,
            "namespaces": sorted(each.name for each in resolve(one, profile).namespaces),
            "service_accounts": [profile.eso_account],
        }
        for one in sorted(tenants, key=lambda each: each.name)
        if _here(one, place, states)
    ]


def policy(tenant: Tenant, profile: TenantProfile, place: Place, *, find: bool = False) -> tuple[str, str]:
    """Return name and text of a tenant's own OpenBao policy on a cluster.

    :param find: it may also list, for ``dataFrom.find``.
    """
    mount = str(place.stores.get("kv_mount") or "kv")
    rules: list[str] = []
    for one in sorted(each.name for each in resolve(tenant, profile).namespaces):
        tail = f"{place.kv_prefix}/{place.name}/{one}"
        rules.append(_rule(f"{mount}/data/{tail}/*", "read"))
        if find:
            rules += [_rule(f"{mount}/metadata/{tail}/*", "read", "list"), _rule(f"{mount}/metadata/{tail}/", "list")]
    rules += [_rule("auth/token/lookup-self", "read"), _rule("auth/token/revoke-self", "update")]
    return f"{PREFIX}{place.name}.{tenant.name}", hcl.normalised(LINE + "\n" + "\n".join(rules))


def role(tenant: Tenant, profile: TenantProfile, place: Place) -> dict[str, t.Any]:
    """Return a tenant's own role on the auth mount of a cluster, as the mount's API has it."""
    return {
        "mount": str(place.stores.get("mount") or f"kubernetes-{place.name}"),
        "name": f"{PREFIX}{tenant.name}",
        "bound_service_account_names": [profile.eso_account],
        "bound_service_account_namespaces": sorted(one.name for one in resolve(tenant, profile).namespaces),
        "audience": str(place.stores.get("audience") or f"openbao-{place.name}"),
        "token_policies": [policy(tenant, profile, place)[0]],
    }


def _rule(path: str, *capabilities: str) -> str:
    listed = ", ".join(f'"{one}"' for one in capabilities)
    return f'path "{path}" {{\n  capabilities = [{listed}]\n}}\n'
