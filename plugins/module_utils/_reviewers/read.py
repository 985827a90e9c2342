# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads what there is of one cluster. Nothing is written; nothing is minted unless a probe is asked for."""

from __future__ import annotations

import dataclasses
import typing as t
import urllib.parse
from collections.abc import Mapping

from .._core.errors import HackspaceError
from .._core.redact import Secret
from .._openbao.ports import Upstream
from . import access, downstream
from .claims import decode
from .evidence import BoundSecret, bound_secret
from .model import CANARY_ROLE, MIN_LIFETIME, Cluster, Settings
from .ports import Downstream, data, listed
from .pubkeys import JWKS_PATH
from .state import State

_DISCOVERY: t.Final = "/.well-known/openid-configuration"


def read_downstream(
    kube: Downstream, cluster: Cluster, settings: Settings, extra: t.Sequence[str] = (), *, rbac: bool = True
) -> State:
    """Return what there is at the API server: four requests, five where the issuer is asked for.

    :param extra: further paths that the mode reads.
    :param rbac: also read ClusterRole and binding.
    """
    accounts: dict[str, Mapping[str, t.Any]] = {}
    for page in kube.pages(downstream.accounts_path(cluster)):
        accounts |= {str(one["metadata"]["name"]): one for one in page.items}
    exists = bool(accounts) or kube.get(downstream.namespace_path(cluster)) is not None
    secrets: list[BoundSecret] = []
    if exists:
        for page in kube.pages(downstream.secrets_path(cluster), selector=settings.selector(cluster)):
            secrets += [bound_secret(one, settings) for one in page.items]
    state = State(
        namespace=exists,
        accounts=accounts,
        cluster_role=kube.get(downstream.role_path(cluster)) if rbac else None,
        binding=kube.get(downstream.binding_path(cluster)) if rbac else None,
        secrets=tuple(secrets),
        extra={path: _extra(kube, path) for path in extra},
    )
    current = state.standing.current
    names_it = cluster.mode in ("jwt_pubkeys", "client_jwt")  # evidence may be older than the API server's issuer
    if names_it or current is None or current.evidence is None or not current.evidence.issuer:
        _status, found = kube.request("GET", _DISCOVERY, ok=(200, 403, 404))
        state = dataclasses.replace(state, issuer=str(found.get("issuer") or ""))
    return state


def _extra(kube: Downstream, path: str) -> Mapping[str, t.Any] | None:
    """Return what a mode reads besides, without what a Secret holds."""
    if path == JWKS_PATH:  # served in this notation only
        return kube.request("GET", path, accept="application/jwk-set+json")[1]
    there = kube.get(path)
    return None if there is None else {key: value for key, value in there.items() if key != "data"}


def read_upstream(
    bao: Upstream,
    cluster: Cluster,
    settings: Settings,
    state: State,
    mounts: Mapping[str, Mapping[str, t.Any]],
    *,
    names: bool,
) -> State:
    """Return *state* with what there is in OpenBao: configuration, roles and OpenBao policies.

    :param mounts: path without slashes -> entry of ``sys/auth``.
    :param names: also list the roles.
    """
    mount = mounts.get(cluster.mount)
    config: dict[str, t.Any] | None = None
    roles: dict[str, Mapping[str, t.Any]] = {}
    role_names: tuple[str, ...] | None = None
    if mount is not None and mount.get("type") in ("kubernetes", "jwt"):
        config = data(bao, f"auth/{cluster.mount}/config")
        names = names or bool(cluster.access.per_tenant)  # whoever chooses the stricter option wants the other one gone
        if names:
            role_names = tuple(sorted(listed(bao, f"auth/{cluster.mount}/role")))
        for binding in access.bindings(cluster):
            if role_names is not None and binding.role not in role_names:
                continue
            answer = data(bao, f"auth/{cluster.mount}/role/{binding.role}")
            if answer is not None:
                roles[binding.role] = answer
    policies: dict[str, str] = {}
    for name in access.policies(cluster, settings, ()):
        answer = data(bao, f"sys/policies/acl/{urllib.parse.quote(name)}")
        if answer is not None:
            policies[name] = str(answer.get("policy") or "")
    return dataclasses.replace(state, mount=mount, config=config, roles=roles, role_names=role_names, policies=policies)


def can_probe(state: State, cluster: Cluster) -> bool:
    """Say if everything is there that a login of the canary needs."""
    return (
        state.config is not None
        and CANARY_ROLE in state.roles
        and cluster.canary_service_account in state.accounts
        and cluster.policy in state.policies
    )


def own_audiences(kube: Downstream) -> tuple[str, ...]:
    """Return the audiences that the API server takes for itself: those of a token that asks for none.

    The token is of a ServiceAccount that every namespace has, lives ten minutes, and is for nobody. Empty where the
    login may not request it, or that ServiceAccount is not there.
    """
    try:
        status = kube.mint("default", "default", {"expirationSeconds": MIN_LIFETIME})
    except HackspaceError as error:
        if error.status in (403, 404):
            return ()
        raise
    return decode(Secret(str(status.get("token") or "")), "a token of default/default").audiences


def service_account_uids(kube: Downstream) -> set[str]:
    """Return the uids of all ServiceAccounts of a cluster: one request for each five hundred."""
    found: set[str] = set()
    for page in kube.pages("/api/v1/serviceaccounts", metadata_only=True):
        found |= {str(one["metadata"]["uid"]) for one in page.items}
    return found
