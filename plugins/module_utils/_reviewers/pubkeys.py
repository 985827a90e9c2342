# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Mode ``jwt_pubkeys``: OpenBao checks tokens with the cluster's public keys and never calls its API server.

A write of the config replaces all of it, so it is always written whole. Which keys OpenBao trusts is decided here:

- every key that the API server publishes;
- a key that it published when we last looked and no longer does, until the tokens signed with it have expired;
- nothing else: a key in the config that the cluster is not known to have published would let its owner log in as any
  tenant, so it goes at once.

What the cluster published and when a key was missed first is kept as annotations of the evidence Secret downstream.
"""

from __future__ import annotations

import base64
import dataclasses
import typing as t

from .._core.errors import check
from .._openbao.fields import Field, Table, parse_fields
from .._openbao.mount_model import COLLECTIONS, CONFIGS
from . import downstream
from .access import Binding
from .claims import epoch, rfc3339
from .jwks import PublicKey, normal_pem, parse, pem_fingerprint
from .model import INVENTORY, Cluster, Settings
from .modes import Wiring, token_fields
from .state import State

#: Type of the auth mount in OpenBao.
TYPE: t.Final = "jwt"
#: Where an API server publishes its keys and its issuer (KEP-1393). Both need a login on most clusters.
JWKS_PATH: t.Final = "/openid/v1/jwks"
DISCOVERY_PATH: t.Final = "/.well-known/openid-configuration"
#: Fields of auth/<mount>/config and auth/<mount>/role/<name>. Writing the config resets what is left out.
CONFIG: t.Final[Table] = {
    name: CONFIGS["jwt"][name]
    for name in (
        "jwt_validation_pubkeys",
        "jwt_supported_algs",
        "bound_issuer",
        "default_role",
        "jwks_url",
        "oidc_discovery_url",
    )
}
ROLE: t.Final[Table] = {**COLLECTIONS["jwt"].table, "role_type": Field(default="oidc")}  # what is left out is oidc

#: Claims of a service account token, as JSON pointers (RFC 6901); a dot needs no escape.
NAMESPACE_CLAIM: t.Final = "/kubernetes.io/namespace"
ACCOUNT_CLAIM: t.Final = "/kubernetes.io/serviceaccount/name"
UID_CLAIM: t.Final = "/kubernetes.io/serviceaccount/uid"
#: The same names as the metadata of type ``kubernetes``, so that one text of an OpenBao policy fits both.
METADATA: t.Final = {
    NAMESPACE_CLAIM: "service_account_namespace",
    ACCOUNT_CLAIM: "service_account_name",
    UID_CLAIM: "service_account_uid",
}


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What the cluster was seen to publish.

    :ivar published: fingerprints of the keys that were there at the last run.
    :ivar vanished: fingerprint -> seconds since 1970 when a key was missed first.
    """

    published: frozenset[str] = frozenset()
    vanished: t.Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Keys:
    """The keys that OpenBao is to trust.

    :ivar pems: published ones by kid, then those that vanished, by fingerprint.
    :ivar kept: fingerprint -> seconds since 1970 until when a vanished key stays.
    :ivar dropped: fingerprint -> why a key of the present config goes.
    """

    pems: tuple[str, ...]
    algorithms: tuple[str, ...]
    evidence: Evidence
    kept: t.Mapping[str, int]
    dropped: t.Mapping[str, str]


# -- evidence --------------------------------------------------------------------------------------------------------


def read_evidence(annotations: t.Mapping[str, str], domain: str) -> Evidence:
    """Return what the annotations of the evidence Secret say; what cannot be read counts as nothing.

    Losing it costs the overlap of one rotation; believing a forged one gains nothing, as a key stays only if OpenBao
    has it already.
    """
    published = annotations.get(f"{domain}/published-keys", "")
    vanished: dict[str, int] = {}
    for entry in annotations.get(f"{domain}/vanished-keys", "").split():
        name, found, moment = entry.partition("=")
        seconds = epoch(moment)
        if found and seconds is not None:
            vanished[name] = seconds
    return Evidence(frozenset(published.split()), vanished)


def as_annotations(seen: Evidence, domain: str) -> dict[str, str]:
    """Return the annotations that hold *seen*."""
    return {
        f"{domain}/published-keys": " ".join(sorted(seen.published)),
        f"{domain}/vanished-keys": " ".join(f"{name}={rfc3339(when)}" for name, when in sorted(seen.vanished.items())),
    }


# -- which keys ------------------------------------------------------------------------------------------------------

_OIDS: t.Final = {
    "RS256": bytes.fromhex("06092a864886f70d010101"),
    "ES256": bytes.fromhex("06082a8648ce3d030107"),
    "ES384": bytes.fromhex("06052b81040022"),
    "ES512": bytes.fromhex("06052b81040023"),
    "EdDSA": bytes.fromhex("06032b6570"),
}


def _algorithm(pem: str) -> str:
    """Return the algorithm that Kubernetes signs with for a key of this kind; RSA for what is not known."""
    try:
        der = base64.b64decode("".join(pem.strip().splitlines()[1:-1]))
    except ValueError:
        der = b""
    # The algorithm stands in the first 32 bytes of a SubjectPublicKeyInfo.
    return next((name for name, oid in _OIDS.items() if oid in der[:32]), "RS256")


def choose(
    published: t.Sequence[PublicKey],
    configured: t.Sequence[str],
    seen: Evidence,
    *,
    now: float,
    overlap: int,
) -> Keys:
    """Return the keys to trust.

    :param published: what the API server publishes now, from :func:`.jwks.parse`, not empty.
    :param configured: PEM texts in the present config of the mount.
    :param seen: what earlier runs wrote down.
    :param now: seconds since 1970.
    :param overlap: seconds that a key stays after it was missed first; 0 drops it at once (a stolen key).
    """
    current = {key.fingerprint: key for key in published}
    old = {pem_fingerprint(pem): normal_pem(pem) for pem in configured}
    vanished: dict[str, int] = {}
    kept: dict[str, int] = {}
    dropped: dict[str, str] = {}
    for name in sorted(set(old) - set(current)):
        since = seen.vanished.get(name, int(now) if name in seen.published else None)
        if since is None:
            dropped[name] = "the cluster is not known to have published it"
        elif min(since, now) + overlap <= now:
            dropped[name] = "tokens signed with it have expired"
        else:
            # A time in the future would keep a key for ever.
            vanished[name] = min(since, int(now))
            kept[name] = vanished[name] + overlap
    algorithms = {key.algorithm for key in published} | {_algorithm(old[name]) for name in kept}
    return Keys(
        pems=(*(key.pem for key in published), *(old[name] for name in sorted(kept))),
        algorithms=tuple(sorted(algorithms)),
        evidence=Evidence(frozenset(current), vanished),
        kept=kept,
        dropped=dropped,
    )


# -- what the mode wants ---------------------------------------------------------------------------------------------


def keys_secret(cluster: Cluster) -> str:
    """Name of the downstream Secret that holds the evidence; it has no data."""
    return f"{cluster.service_account}-{cluster.name}-keys"


def issuer(cluster: Cluster, state: State) -> str:
    """Return the issuer that tokens must name.

    :raises InvalidInput: without one, a token of any cluster with the same key would be taken.
    """
    text = cluster.issuer or state.issuer
    check(
        text and text.isprintable(),
        f"The API server does not tell its issuer ({DISCOVERY_PATH}).",
        item=f"{cluster.item}.issuer",
        rule="issuer-unknown",
        fix="give the issuer of the cluster's tokens: --service-account-issuer of kube-apiserver.",
    )
    return text


def keys_object(cluster: Cluster, settings: Settings, seen: Evidence) -> dict[str, t.Any]:
    """Return the Secret that holds the evidence."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": keys_secret(cluster),
            "namespace": cluster.namespace,
            "labels": {settings.label: INVENTORY},
            "annotations": as_annotations(seen, settings.label_domain),
        },
    }


def role(cluster: Cluster, binding: Binding) -> dict[str, t.Any]:
    """Return the fields of a role with the meaning that it has on a mount of type ``kubernetes``.

    The same bindings (patterns with ``*`` mean the same), the same alias name and metadata. A selector of namespaces
    has no counterpart, as OpenBao does not ask the cluster.
    """
    return {
        **{name: field.empty for name, field in ROLE.items()},
        "role_type": "jwt",
        "bound_audiences": [cluster.audience],
        "bound_claims_type": "glob",
        "bound_claims": {NAMESPACE_CLAIM: sorted(binding.namespaces), ACCOUNT_CLAIM: sorted(binding.names)},
        "user_claim": UID_CLAIM,
        "user_claim_json_pointer": True,
        "claim_mappings": dict(METADATA),
        **token_fields(binding),
    }


def wiring(cluster: Cluster, settings: Settings, state: State, *, now: float) -> Wiring:
    """Return what the mode wants.

    :param now: seconds since 1970.
    :raises InvalidInput: without an issuer or without a key that can be used.
    """
    item = f"{cluster.item}, {JWKS_PATH}"
    secret_path = downstream.secrets_path(cluster, keys_secret(cluster))
    there = state.extra.get(secret_path)
    found = ((there or {}).get("metadata") or {}).get("annotations") or {}
    keys = choose(
        parse(state.extra.get(JWKS_PATH), item),
        (state.config or {}).get("jwt_validation_pubkeys") or (),
        read_evidence(found, settings.label_domain),
        now=now,
        overlap=cluster.key_overlap,
    )
    config = {
        "jwt_validation_pubkeys": list(keys.pems),
        "bound_issuer": issuer(cluster, state),
        "jwt_supported_algs": list(keys.algorithms),
    }
    return Wiring(
        mount_type=TYPE,
        reviewer=False,
        config_table=CONFIG,
        config=parse_fields(config, CONFIG, item=cluster.item),
        role_table=ROLE,
        role=lambda binding: role(cluster, binding),
        objects=((secret_path, there, keys_object(cluster, settings, keys.evidence)),),
        warnings=tuple(
            f"OpenBao still takes tokens signed with the key {name}, which the API server does not publish any more,"
            f" until {rfc3339(until)}."
            for name, until in sorted(keys.kept.items())
        ),
    )
