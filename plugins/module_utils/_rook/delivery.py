# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Ceph keys on their way to a consumer: what its Kubernetes Secrets hold, what OpenBao holds, and what joins the two.

User and key go together, always: in one Secret, in one version of one OpenBao secret that External Secrets reads at
once. A Secret's name says nothing of the generation, because PersistentVolumes name it for good.
"""

from __future__ import annotations

import base64
import typing as t
from collections.abc import Iterable, Mapping

from .._ceph import clients
from .._core.errors import InvalidInput
from .._core.redact import Secret, fingerprint
from . import names
from .model import Consumer

Object = dict[str, t.Any]

TYPE: t.Final = "kubernetes.io/rook"
EXTERNAL: t.Final = "external-secrets.io/v1"
#: What the operator takes for "there is no such key here".
_NO_ADMIN: t.Final = "admin-secret"
_NO_MON: t.Final = "mon-secret"
_ANNOTATIONS: t.Final[Mapping[str, str]] = {
    "rbd-node": "csi.rook.io/RBDNodeSecret",
    "rbd-provisioner": "csi.rook.io/RBDProvisionerSecret",
    "cephfs-provisioner": "csi.rook.io/CephFSProvisionerSecret",
}


def fields(consumer: Consumer, role: str, fsid: str, *, user: str, key: str) -> dict[str, str]:
    """Return what the Kubernetes Secret of a role holds.

    :param user: the Ceph user without ``client.``, or a template for it.
    :param key: its key, or a template for it.
    """
    if role == "health":
        return {
            "cluster-name": consumer.namespace,
            "fsid": fsid,
            "admin-secret": _NO_ADMIN,
            "mon-secret": _NO_MON,
            "ceph-username": f"{clients.PREFIX}{user}",
            "ceph-secret": key,
        }
    word = "admin" if role.startswith("cephfs") and not consumer.rook.user_id else "user"
    return {f"{word}ID": user, f"{word}Key": key}


def _metadata(consumer: Consumer, role: str) -> Object:
    annotation = _ANNOTATIONS.get(role)
    return {"annotations": {annotation: "true"}} if annotation and consumer.rook.annotations else {}


def label(domain: str) -> str:
    """Return the label of Kubernetes Secrets that External Secrets makes for a consumer; its value is the name."""
    return f"{domain}/ceph-consumer"


def user_of(consumer: Consumer, role: str) -> str:
    """Return the Ceph user that is delivered, without ``client.``."""
    return clients.user_id(consumer.entity(role))


def check_keys(consumers: Iterable[Consumer], keys: Mapping[str, Secret]) -> None:
    """Raise unless there is a key for every user that is to be delivered.

    :raises InvalidInput: rule ``key-missing``.
    """
    missing = [
        (one, one.entity(role))
        for one in consumers
        if not one.absent
        for role in one.roles
        if one.entity(role) not in keys
    ]
    if missing:
        raise InvalidInput(
            f"there is no key of {', '.join(entity for _one, entity in missing)}.",
            item=missing[0][0].item,
            rule="key-missing",
            fix="make the Ceph users first: ceph_clients.",
        )


def not_made_yet(consumers: Iterable[Consumer]) -> dict[str, Secret]:
    """Return something in place of every key, for a plan that is made before the users are."""
    return {one.entity(role): Secret("not made yet") for one in consumers for role in one.roles}


# -- direct --------------------------------------------------------------------------------------------------------


def secrets(consumer: Consumer, fsid: str, keys: Mapping[str, Secret], *, domain: str) -> list[Object]:
    """Return the Kubernetes Secrets of a consumer, with their values.

    They are marked as not to be pruned: when another way of delivery is declared, the Secret stays until it is written
    by that. With a consumer they go by name.
    """
    made = []
    for role in consumer.roles:
        entity = consumer.entity(role)
        values = fields(consumer, role, fsid, user=user_of(consumer, role), key=keys[entity].reveal())
        annotations = {**_metadata(consumer, role).get("annotations", {}), f"{domain}/prune": "disabled"}
        made.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": names.SECRETS[role],
                    "namespace": consumer.namespace,
                    "annotations": annotations,
                },
                "type": TYPE,
                "data": {name: base64.b64encode(value.encode()).decode() for name, value in values.items()},
            }
        )
    return made


# -- through OpenBao -----------------------------------------------------------------------------------------------


def kv_path(consumer: Consumer, role: str, prefix: str) -> str:
    """Return where OpenBao has the key of a role: among what the consumer's own namespace may read."""
    return f"{prefix}/{consumer.cluster}/{consumer.namespace}/ceph-{role}"


def kv_values(consumer: Consumer, role: str, keys: Mapping[str, Secret]) -> dict[str, str]:
    """Return what OpenBao is to hold for a role."""
    return {"user": user_of(consumer, role), "key": keys[consumer.entity(role)].reveal()}


def external_secrets(
    consumer: Consumer, fsid: str, keys: Mapping[str, Secret], *, prefix: str, store: str, domain: str
) -> list[Object]:
    """Return the ExternalSecrets by which a consumer gets its Secrets.

    The fingerprint of user and key is an annotation, so that External Secrets looks again as soon as they change. What
    it has made stays when the ExternalSecret goes: volumes are mounted by it.
    """
    made = []
    for role in consumer.roles:
        values = kv_values(consumer, role, keys)
        templated = fields(consumer, role, fsid, user="{{ .user }}", key="{{ .key }}")
        made.append(
            {
                "apiVersion": EXTERNAL,
                "kind": "ExternalSecret",
                "metadata": {
                    "name": names.SECRETS[role],
                    "namespace": consumer.namespace,
                    "annotations": {
                        f"{domain}/ceph-user": values["user"],
                        f"{domain}/ceph-key": fingerprint(f"{values['user']} {values['key']}"),
                    },
                },
                "spec": {
                    "refreshInterval": "1h",
                    "secretStoreRef": {"kind": "SecretStore", "name": store},
                    "target": {
                        "name": names.SECRETS[role],
                        "creationPolicy": "Orphan",
                        "deletionPolicy": "Retain",
                        "template": {
                            "engineVersion": "v2",
                            "mergePolicy": "Replace",
                            "type": TYPE,
                            "metadata": {"labels": {label(domain): consumer.name}, **_metadata(consumer, role)},
                            "data": templated,
                        },
                    },
                    "dataFrom": [{"extract": {"key": kv_path(consumer, role, prefix)}}],
                },
            }
        )
    return made


# -- evidence ------------------------------------------------------------------------------------------------------


def delivered(consumer: Consumer, role: str, secret: Mapping[str, t.Any] | None, keys: Mapping[str, Secret]) -> bool:
    """Say whether a Kubernetes Secret has the user and the key that were meant."""
    if not secret or str(secret.get("type")) != TYPE:
        return False
    wanted = fields(consumer, role, "", user=user_of(consumer, role), key=keys[consumer.entity(role)].reveal())
    data = secret.get("data") or {}
    return all(_decoded(data.get(name)) == value for name, value in wanted.items() if name != "fsid")


def user_in(secret: Mapping[str, t.Any] | None) -> str:
    """Return the Ceph user that a Kubernetes Secret has now, with ``client.``; empty if it has none."""
    data = (secret or {}).get("data") or {}
    for name in ("ceph-username", "userID", "adminID"):
        if name in data:
            return f"{clients.PREFIX}{_decoded(data[name]).removeprefix(clients.PREFIX)}"
    return ""


def _decoded(text: t.Any) -> str:
    try:
        return base64.b64decode(str(text or ""), validate=True).decode()
    except ValueError:
        return ""
