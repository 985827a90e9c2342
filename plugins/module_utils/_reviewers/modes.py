# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What a mode wants of a mount: its type, its configuration, the fields of its roles. One record for all modes."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from collections.abc import Mapping

from .._core.redact import Secret
from .._openbao.fields import Field, Table
from .._openbao.mount_model import TOKEN
from .access import Binding
from .model import Cluster, Settings
from .ports import Downstream
from .state import State

#: Fields of auth/<mount>/config of type kubernetes that the server shows.
KUBERNETES_CONFIG: t.Final[Table] = {
    "kubernetes_host": Field(),
    "kubernetes_ca_cert": Field("pem"),
    "pem_keys": Field("pems"),
    "issuer": Field(),
    "disable_iss_validation": Field("bool", default=True),
    "disable_local_ca_jwt": Field("bool"),
}
#: Fields of auth/<mount>/role/<name> of type kubernetes. A write resets the selector when it is left out.
KUBERNETES_ROLE: t.Final[Table] = {
    "bound_service_account_names": Field("set"),
    "bound_service_account_namespaces": Field("set"),
    "bound_service_account_namespace_selector": Field(),
    "audience": Field(),
    "alias_name_source": Field(default="serviceaccount_uid"),
    **TOKEN,
}


@dataclasses.dataclass(frozen=True)
class Wiring:
    """What a mode wants.

    :ivar mount_type: ``kubernetes`` or ``jwt``.
    :ivar reviewer: OpenBao holds an expiring token of the downstream reviewer; it is kept, renewed and written with
        the configuration.
    :ivar config: every field of *config_table* that is to be; the reviewer's token is not among them.
    :ivar role: returns the fields of a role; every field of *role_table*.
    :ivar fetch_token: where OpenBao holds a token that is not an expiring one: gets it from the cluster when the
        configuration is written.
    :ivar objects: further downstream objects of the mode: path, what is there, what is wanted.
    """

    mount_type: str
    reviewer: bool
    config_table: Table
    config: Mapping[str, t.Any]
    role_table: Table
    role: t.Callable[[Binding], dict[str, t.Any]]
    fetch_token: t.Callable[[Downstream], Secret] | None = None
    objects: tuple[tuple[str, Mapping[str, t.Any] | None, dict[str, t.Any]], ...] = ()
    warnings: tuple[str, ...] = ()


def token_fields(binding: Binding) -> dict[str, t.Any]:
    """Return the ``token_*`` fields of a role, which all types of mounts share; all others are at their default."""
    return {
        **{name: field.empty for name, field in TOKEN.items()},
        "token_policies": sorted(binding.policies),
        "token_ttl": binding.ttl,
        "token_max_ttl": binding.ttl,
        "token_no_default_policy": True,
        "token_type": binding.token_type,
    }


def selector_text(selector: Mapping[str, str]) -> str:
    """Return a label selector as OpenBao wants it: JSON, and nothing for none."""
    return json.dumps({"matchLabels": dict(sorted(selector.items()))}) if selector else ""


def kubernetes_role(cluster: Cluster, binding: Binding) -> dict[str, t.Any]:
    """Return the fields of a role of a mount of type kubernetes."""
    return {
        "bound_service_account_names": sorted(binding.names),
        "bound_service_account_namespaces": sorted(binding.namespaces),
        "bound_service_account_namespace_selector": selector_text(binding.selector),
        "audience": cluster.audience,
        "alias_name_source": "serviceaccount_uid",
        **token_fields(binding),
    }


def kubernetes_config(cluster: Cluster) -> dict[str, t.Any]:
    """Return the configuration of a mount of type kubernetes, complete but for the reviewer's token.

    Without ``disable_local_ca_jwt`` OpenBao in a pod would send its own token to the downstream API server.
    """
    return {
        "kubernetes_host": cluster.api_server,
        "kubernetes_ca_cert": cluster.ca_pem,
        "pem_keys": [],
        "issuer": "",
        "disable_iss_validation": True,
        "disable_local_ca_jwt": True,
    }


def token_request(cluster: Cluster) -> Wiring:
    """Return what the default mode wants."""
    return Wiring(
        mount_type="kubernetes",
        reviewer=True,
        config_table=KUBERNETES_CONFIG,
        config=kubernetes_config(cluster),
        role_table=KUBERNETES_ROLE,
        role=lambda binding: kubernetes_role(cluster, binding),
    )


def mount_type(cluster: Cluster) -> str:
    """Return the type of the auth mount that the mode of a cluster wants."""
    return "jwt" if cluster.mode == "jwt_pubkeys" else "kubernetes"


def reads(cluster: Cluster, previous: str = "") -> tuple[str, ...]:
    """Return the paths that are read from the API server besides.

    :param previous: mode in which an earlier run left the mount.
    """
    from . import older_modes, pubkeys

    keys = (pubkeys.JWKS_PATH,) if cluster.mode == "jwt_pubkeys" else ()
    return (*keys, *older_modes.reads(cluster, previous))


def wiring(cluster: Cluster, settings: Settings, state: State, *, now: float) -> Wiring:
    """Return what the mode of a cluster wants, at *now* (seconds since 1970)."""
    from . import older_modes, pubkeys

    if cluster.mode == "jwt_pubkeys":
        return pubkeys.wiring(cluster, settings, state, now=now)
    if cluster.mode == "long_lived":
        return older_modes.long_lived(cluster, settings, state)
    if cluster.mode == "client_jwt":
        return older_modes.client_jwt(cluster, settings, state)
    return token_request(cluster)
