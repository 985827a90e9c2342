# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Modes ``long_lived`` and ``client_jwt``: how most guides wire a cluster. Supported, warned about, and migrated from.

Also what a change of modes leaves behind downstream: objects of ours, and, where a mount of somebody else is adopted,
the token Secrets and bindings to ``system:auth-delegator`` by which it worked.
"""

from __future__ import annotations

import base64
import fnmatch
import time
import typing as t
from collections.abc import Mapping

from .._core.errors import HackspaceError
from .._core.plan import Change
from .._core.redact import Secret
from . import downstream
from .model import INVENTORY, Cluster, Settings
from .modes import KUBERNETES_CONFIG, KUBERNETES_ROLE, Wiring, kubernetes_config, kubernetes_role
from .ports import Downstream
from .pubkeys import keys_secret
from .state import ADOPTING, Found, Recognised, State, is_ours
from .steps import KubeApply, KubeDelete, Step

#: Type of a Secret that holds a token without expiry, and the annotation that names its ServiceAccount.
WITHOUT_EXPIRY: t.Final = "kubernetes.io/service-account-token"
ACCOUNT: t.Final = "kubernetes.io/service-account.name"
#: ClusterRole that guides bind the reviewer to.
DELEGATOR: t.Final = "system:auth-delegator"
#: Seconds that the controller manager has for putting the token into the Secret; after a restart of the API server it
#: takes up to half a minute to come back.
PATIENCE: t.Final = 60.0
_PAUSE: t.Final = 0.3
_METADATA: t.Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_SHOWN: t.Final = frozenset({"name", "service_account", "subjects", "roleRef"})

LONG_LIVED: t.Final = (
    "mode long_lived: the reviewer's token never expires, so whoever has copied it once can review tokens for good;"
    " mode token_request does the same with a token that is replaced in time."
)
CLIENT_JWT: t.Final = (
    "mode client_jwt: every tenant's token must be good at the API server too, so that who gets hold of one can use it"
    " there, and every tenant may review tokens; mode token_request needs neither."
)


def token_secret(cluster: Cluster) -> str:
    """Name of the Secret that holds the reviewer's token without expiry."""
    return f"{cluster.service_account}-{cluster.name}-token"


def tenants_binding(cluster: Cluster) -> str:
    """Name of the ClusterRoleBinding that lets tenants review tokens."""
    return f"{cluster.cluster_role}-tenants"


def _secret_path(cluster: Cluster) -> str:
    return downstream.secrets_path(cluster, token_secret(cluster))


def _binding_path(cluster: Cluster) -> str:
    return downstream.binding_path(cluster, tenants_binding(cluster))


#: Mode -> path of the object that this mode alone has downstream.
_OWN: t.Final[Mapping[str, t.Callable[[Cluster], str]]] = {
    "jwt_pubkeys": lambda cluster: downstream.secrets_path(cluster, keys_secret(cluster)),
    "long_lived": _secret_path,
    "client_jwt": _binding_path,
}


def reads(cluster: Cluster, previous: str) -> tuple[str, ...]:
    """Return the paths of the objects that one mode alone has: of the wanted mode, and of the *previous* one."""
    return tuple(_OWN[mode](cluster) for mode in dict.fromkeys((cluster.mode, previous)) if mode in _OWN)


# -- what the modes want -------------------------------------------------------------------------------------------


def _token(cluster: Cluster, kube: Downstream) -> Secret:
    """Return the token of the Secret, as soon as the controller manager has put it there."""
    end = time.monotonic() + PATIENCE
    while True:
        there = kube.get(_secret_path(cluster)) or {}
        encoded = (there.get("data") or {}).get("token")
        if encoded:
            return Secret(base64.b64decode(encoded).decode())
        if time.monotonic() >= end:
            raise HackspaceError(
                f"the Secret {cluster.namespace}/{token_secret(cluster)} has no token after {PATIENCE:.0f} s.",
                item=cluster.item,
                rule="token-missing",
                fix="look whether kube-controller-manager of the cluster runs; it puts the token there.",
            )
        time.sleep(_PAUSE)


def long_lived(cluster: Cluster, settings: Settings, state: State) -> Wiring:
    """Return what the mode ``long_lived`` wants: a token that never expires, from a Secret."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": WITHOUT_EXPIRY,
        "metadata": {
            "name": token_secret(cluster),
            "namespace": cluster.namespace,
            "labels": {settings.label: INVENTORY},
            "annotations": {ACCOUNT: cluster.service_account},
        },
    }
    path = _secret_path(cluster)
    return Wiring(
        mount_type="kubernetes",
        reviewer=False,
        config_table=KUBERNETES_CONFIG,
        config=kubernetes_config(cluster),
        role_table=KUBERNETES_ROLE,
        role=lambda binding: kubernetes_role(cluster, binding),
        fetch_token=lambda kube: _token(cluster, kube),
        objects=((path, state.extra.get(path), secret),),
        warnings=(LONG_LIVED,),
    )


def client_jwt(cluster: Cluster, settings: Settings, state: State) -> Wiring:
    """Return what the mode ``client_jwt`` wants: no token in OpenBao, and tenants that may review their own."""
    names = {(cluster.namespace, cluster.canary_service_account)}
    for tenant in cluster.access.per_tenant:
        names |= {(namespace, name) for namespace in tenant.namespaces for name in tenant.service_accounts}
    if not cluster.access.per_tenant:
        names |= {
            (namespace, name) for namespace in cluster.access.namespaces for name in cluster.access.service_accounts
        }
    binding = downstream.binding(cluster, settings)
    binding["metadata"]["name"] = tenants_binding(cluster)
    binding["subjects"] = [
        {"kind": "ServiceAccount", "name": name, "namespace": namespace} for namespace, name in sorted(names)
    ]
    path = _binding_path(cluster)
    return Wiring(
        mount_type="kubernetes",
        reviewer=False,
        config_table=KUBERNETES_CONFIG,
        config=kubernetes_config(cluster),
        role_table=KUBERNETES_ROLE,
        role=lambda binding: kubernetes_role(cluster, binding),
        objects=(
            (downstream.role_path(cluster), state.cluster_role, downstream.cluster_role(cluster, settings)),
            (path, state.extra.get(path), binding),
        ),
        warnings=(CLIENT_JWT,),
    )


# -- how a mount of somebody else works ----------------------------------------------------------------------------


def looks(mount: Mapping[str, t.Any] | None, mode: str) -> bool:
    """Say if it is to be found out how a mount works: it is somebody else's, or its adoption was interrupted."""
    return mount is not None and (not is_ours(mount) or mode == ADOPTING)


def read(kube: Downstream) -> Found:
    """Return all bindings of ClusterRoles, and all Secrets with tokens, without the tokens: two requests."""
    _status, bindings = kube.request("GET", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings")
    query = {"fieldSelector": f"type={WITHOUT_EXPIRY}"}
    _status, secrets = kube.request("GET", "/api/v1/secrets", query=query, accept=_METADATA)
    return Found(tuple(bindings.get("items") or ()), tuple(secrets.get("items") or ()))


def _is_tenant(cluster: Cluster, subject: Mapping[str, t.Any]) -> bool:
    if subject.get("kind") != "ServiceAccount":
        return False
    namespace, name = str(subject.get("namespace")), str(subject.get("name"))
    for tenant in cluster.access.per_tenant:
        if namespace in tenant.namespaces and name in tenant.service_accounts:
            return True
    patterns = () if cluster.access.per_tenant else cluster.access.namespaces
    return name in cluster.access.service_accounts and any(fnmatch.fnmatchcase(namespace, p) for p in patterns)


def recognise(
    cluster: Cluster, mount: Mapping[str, t.Any], config: Mapping[str, t.Any] | None, found: Found
) -> Recognised:
    """Say how a mount of somebody else works, from its configuration and from what is bound downstream."""
    settings = config or {}
    if mount.get("type") == "jwt":
        if settings.get("jwt_validation_pubkeys"):
            return Recognised("jwt_pubkeys", "it checks tokens with public keys that it holds.")
        return Recognised("unknown", "it fetches public keys by itself, which most API servers refuse.")
    delegated: set[tuple[str, str]] = set()
    tenants = []
    for binding in found.bindings:
        if (binding.get("roleRef") or {}).get("name") != DELEGATOR:
            continue
        subjects = binding.get("subjects") or ()
        mine = tuple(s for s in subjects if _is_tenant(cluster, s))
        if mine:
            tenants.append((binding, mine))
        delegated |= {
            (str(s.get("namespace")), str(s.get("name")))
            for s in subjects
            if s.get("kind") == "ServiceAccount" and s not in mine
        }
    secrets = tuple(
        secret
        for secret in found.secrets
        if (
            str(secret["metadata"].get("namespace")),
            str((secret["metadata"].get("annotations") or {}).get(ACCOUNT)),
        )
        in delegated
    )
    told = settings.get("token_reviewer_jwt_set")
    # where the server does not tell, tokens of others prove less than tenants that may review tokens
    certain = told is True or not tenants or any(_is_reviewers(cluster, secret) for secret in secrets)
    if told is not False and secrets and certain:
        named = ", ".join(sorted(f"{s['metadata'].get('namespace')}/{s['metadata'].get('name')}" for s in secrets))
        return Recognised("long_lived", f"what may review tokens has a token that never expires ({named}).", secrets)
    if told is not True and tenants:
        named = ", ".join(sorted(str(b["metadata"].get("name")) for b, _mine in tenants))
        return Recognised(
            "client_jwt",
            f"tenants may review tokens themselves ({named}).",
            secrets if told is None else (),
            tuple(tenants),
        )
    if told is False and not settings.get("disable_local_ca_jwt"):
        return Recognised(
            "own_pod_token",
            "it has no reviewer's token and disable_local_ca_jwt is false: in a pod, OpenBao sends its own token to"
            f" {settings.get('kubernetes_host') or 'the API server'}.",
        )
    return Recognised("unknown", "nothing tells whose token it holds.")


def _delete(cluster: Cluster, kind: str, there: Mapping[str, t.Any], path: str, why: str, **shown: t.Any) -> Change:
    metadata = there.get("metadata") or {}
    name = "/".join(str(metadata[k]) for k in ("namespace", "name") if metadata.get(k))
    step = KubeDelete(path, str(metadata.get("uid") or ""))
    return Change(kind, f"{cluster.name}/{name}", "delete", {"name": name, **shown}, None, why, _SHOWN, (step,))


def _is_reviewers(cluster: Cluster, secret: Mapping[str, t.Any]) -> bool:
    """Say if a Secret's token is that of the reviewer which is declared, and so certainly this mount's."""
    metadata = secret["metadata"]
    account = (metadata.get("annotations") or {}).get(ACCOUNT)
    return (metadata.get("namespace"), account) == (cluster.namespace, cluster.service_account)


def left_alone(cluster: Cluster, settings: Settings, found: Recognised) -> list[str]:
    """Return the names of the Secrets whose token an adopted mount may have worked by, and somebody else may, too."""
    return sorted(
        f"{secret['metadata'].get('namespace')}/{secret['metadata'].get('name')}"
        for secret in found.secrets
        if not _is_reviewers(cluster, secret) and not downstream.ours(secret, settings)
    )


def of_others(cluster: Cluster, settings: Settings, found: Recognised) -> list[Change]:
    """Return the changes that end the way in which an adopted mount worked; they follow the proof of the new one.

    Nothing tells whose token a mount holds. So only tokens of the declared reviewer go, and of the bindings only the
    tenants' part.
    """
    changes = []
    for secret in found.secrets:
        if not _is_reviewers(cluster, secret) or downstream.ours(secret, settings):
            continue  # ours are another mount's, of mode long_lived
        metadata = secret["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/secrets/{metadata['name']}"
        account = metadata["annotations"][ACCOUNT]
        why = "its token never expires, and OpenBao has another one"
        changes.append(_delete(cluster, "Secret", secret, path, why, service_account=account))
    for binding, mine in found.tenants:
        name = str(binding["metadata"]["name"])
        path = downstream.binding_path(cluster, name)
        subjects = list(binding.get("subjects") or ())
        rest = [s for s in subjects if s not in mine]
        why = "tenants need not review tokens any more"
        metadata = {"name": name}
        if binding["metadata"].get("resourceVersion"):  # a subject that somebody has added meanwhile must stay
            metadata["resourceVersion"] = str(binding["metadata"]["resourceVersion"])
        body = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": binding["roleRef"],
            "subjects": rest,
        }
        step: Step = KubeApply(path, body)
        before, after = {"subjects": subjects}, {"subjects": rest}
        # a deletion of subjects: carried out with the deletions, after the proof
        changes.append(
            Change("ClusterRoleBinding", f"{cluster.name}/{name}", "delete", before, after, why, _SHOWN, (step,))
        )
    return changes


# -- what another mode of ours left --------------------------------------------------------------------------------


def of_ours(cluster: Cluster, settings: Settings, state: State, wiring: Wiring) -> list[Change]:
    """Return the deletions of downstream objects of ours that the mode does not need."""
    changes: list[Change] = []

    def drop(kind: str, there: Mapping[str, t.Any] | None, path: str) -> None:
        if there is not None and downstream.ours(there, settings):
            changes.append(_delete(cluster, kind, there, path, f"mode {cluster.mode} does not need it"))

    own = _OWN.get(state.previous)
    if own and state.previous != cluster.mode:
        path = own(cluster)
        kind = "ClusterRoleBinding" if state.previous == "client_jwt" else "Secret"
        drop(kind, state.extra.get(path), path)
    if wiring.reviewer or wiring.fetch_token:
        return changes
    drop("ClusterRoleBinding", state.binding, downstream.binding_path(cluster))
    if all(path != downstream.role_path(cluster) for path, _there, _wanted in wiring.objects):
        drop("ClusterRole", state.cluster_role, downstream.role_path(cluster))
    name = cluster.service_account
    drop("ServiceAccount", state.accounts.get(name), downstream.accounts_path(cluster, name))
    return changes
