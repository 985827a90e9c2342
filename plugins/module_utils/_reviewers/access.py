# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Who may log in by a cluster's auth mount and what they may read: roles and OpenBao policies.

All tenants of a cluster share one role and one OpenBao policy. The policy's paths contain the namespace of the login,
which OpenBao takes from the alias that the login made at this mount (named by the mount's accessor), so that each
namespace reads its own OpenBao secrets. The stricter option has one of each per tenant.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from .._openbao import hcl
from .claims import epoch, rfc3339
from .model import CANARY_ROLE, ELSEWHERE_ROLE, MIN_TTL, OWNER, TENANT_PREFIX, Cluster, Settings

#: First line of OpenBao policies of this module.
LINE = f"# managed by hackspace.infra: {OWNER}"
#: Stands for the accessor of a mount that does not exist yet, in plans.
NEW_ACCESSOR = "(accessor of the new mount)"
_ACCESSOR = re.compile(r"identity\.entity\.aliases\.([A-Za-z0-9_.-]+)\.metadata")
_RETIRED = re.compile(r"^# accessor (\S+) until (\S+)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Binding:
    """A role, in terms that every mode understands.

    :ivar names: ServiceAccounts; ``namespaces`` names or patterns; ``selector`` labels of further namespaces.
    :ivar ttl: seconds.
    """

    role: str
    names: tuple[str, ...]
    namespaces: tuple[str, ...]
    selector: dict[str, str]
    policies: tuple[str, ...]
    ttl: int
    token_type: str


def bindings(cluster: Cluster) -> list[Binding]:
    """Return the roles that a cluster's mount has."""
    access = cluster.access
    found: list[Binding] = []
    if not access.per_tenant:
        found.append(
            Binding(
                access.role,
                access.service_accounts,
                access.namespaces,
                dict(access.namespace_selector),
                (cluster.policy,),
                access.ttl,
                access.token_type,
            )
        )
    for tenant in access.per_tenant:
        found.append(
            Binding(
                tenant.role,
                tenant.service_accounts,
                tenant.namespaces,
                {},
                (cluster.tenant_policy(tenant),),
                access.ttl,
                access.token_type,
            )
        )
    canary = (cluster.canary_service_account,)
    found.append(Binding(CANARY_ROLE, canary, (cluster.namespace,), {}, (cluster.policy,), MIN_TTL, "batch"))
    found.append(Binding(ELSEWHERE_ROLE, canary, (cluster.elsewhere,), {}, (), MIN_TTL, "batch"))
    return found


def is_ours(cluster: Cluster, role: str) -> bool:
    """Say if a role of our mount has a name that only this module gives."""
    return role in (CANARY_ROLE, ELSEWHERE_ROLE, cluster.access.role, "tenant") or role.startswith(TENANT_PREFIX)


# -- OpenBao policies ------------------------------------------------------------------------------------------------


def _rule(path: str, *capabilities: str) -> str:
    listed = ", ".join(f'"{c}"' for c in capabilities)
    return f'path "{path}" {{\n  capabilities = [{listed}]\n}}\n'


_SELF = _rule("auth/token/lookup-self", "read") + "\n" + _rule("auth/token/revoke-self", "update")


def _rules(cluster: Cluster, settings: Settings, namespaces: list[str]) -> str:
    parts = []
    for namespace in namespaces:
        parts.append(_rule(settings.data_path(cluster, namespace), "read"))
        if cluster.access.find:
            parts.append(_rule(settings.metadata_path(cluster, namespace), "read", "list"))
            parts.append(_rule(settings.metadata_path(cluster, namespace, ""), "list"))
        parts += [_rule(extra.of(cluster, namespace), *extra.capabilities) for extra in settings.tenant_paths]
    # tokens come without the OpenBao policy default, and clients look themselves up and end themselves
    return "\n".join([*parts, _SELF])


def policies(
    cluster: Cluster, settings: Settings, accessors: tuple[str, ...], retired: Mapping[str, int] | None = None
) -> dict[str, str]:
    """Return the OpenBao policies of a cluster by name: the templated one, and those of single tenants.

    :param accessors: of the cluster's mount.
    :param retired: accessor of a mount that was replaced -> second until when its tokens are good.
    """
    named = (*accessors, *sorted(retired or {}))
    namespaces = [f"{{{{identity.entity.aliases.{a}.metadata.service_account_namespace}}}}" for a in named]
    found = {cluster.policy: _text(cluster, settings, namespaces, retired_lines(retired or {}))}
    for tenant in cluster.access.per_tenant:
        found[cluster.tenant_policy(tenant)] = _text(cluster, settings, list(tenant.namespaces))
    return found


def _text(cluster: Cluster, settings: Settings, namespaces: list[str], note: str = "") -> str:
    return hcl.normalised(f"{LINE}\n{note}{_rules(cluster, settings, namespaces)}")


def retired(text: str, now: float) -> dict[str, int]:
    """Return the accessors that an OpenBao policy names for tokens of a replaced mount, and until when."""
    found: dict[str, int] = {}
    for accessor, moment in _RETIRED.findall(text):
        until = epoch(moment)
        if until is not None and until > now:
            found[accessor] = until
    return found


def retired_lines(accessors: Mapping[str, int]) -> str:
    """Return the comment lines that :func:`retired` reads."""
    return "".join(f"# accessor {name} until {rfc3339(until)}\n" for name, until in sorted(accessors.items()))


def owner(text: str) -> str | None:
    """Return who marked an OpenBao policy, ``None`` if nobody did."""
    return hcl.split_owner(text)[0]


def accessors_in(text: str) -> set[str]:
    """Return the accessors that a templated OpenBao policy names."""
    return set(_ACCESSOR.findall(text))
