# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""In which order kinds are applied, and (reversed) deleted."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Iterable, Mapping

from .model import ObjectId

_RBAC: t.Final = "rbac.authorization.k8s.io"
_ADMISSION: t.Final = "admissionregistration.k8s.io"
_CRD: t.Final = ("apiextensions.k8s.io", "CustomResourceDefinition")

_STEPS: t.Final[tuple[tuple[tuple[str, str], ...], ...]] = (
    (("", "Namespace"),),
    (_CRD,),
    (
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "StorageClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("snapshot.storage.k8s.io", "VolumeSnapshotClass"),
        ("node.k8s.io", "RuntimeClass"),
        ("networking.k8s.io", "IngressClass"),
    ),
    (("networking.k8s.io", "NetworkPolicy"),),
    (("", "LimitRange"),),
    (("", "ResourceQuota"),),
    (("", "ServiceAccount"),),
    ((_RBAC, "ClusterRole"), (_RBAC, "Role")),
    ((_RBAC, "ClusterRoleBinding"), (_RBAC, "RoleBinding")),
    (("", "ConfigMap"), ("", "Secret")),
    (("", "PersistentVolume"),),
    (("", "PersistentVolumeClaim"),),
    (("", "Service"),),
    (("policy", "PodDisruptionBudget"),),
    (
        ("apps", "DaemonSet"),
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("", "Pod"),
        ("", "ReplicationController"),
    ),
    (("batch", "Job"), ("batch", "CronJob")),
    (("autoscaling", "HorizontalPodAutoscaler"),),
    (("networking.k8s.io", "Ingress"),),
)
_LAST: t.Final[tuple[tuple[tuple[str, str], ...], ...]] = (
    (("apiregistration.k8s.io", "APIService"),),
    (
        (_ADMISSION, "ValidatingAdmissionPolicy"),
        (_ADMISSION, "MutatingAdmissionPolicy"),
    ),
    (
        (_ADMISSION, "ValidatingAdmissionPolicyBinding"),
        (_ADMISSION, "MutatingAdmissionPolicyBinding"),
    ),
    (
        (_ADMISSION, "ValidatingWebhookConfiguration"),
        (_ADMISSION, "MutatingWebhookConfiguration"),
    ),
)
#: Where a kind that is in no table goes: custom resources, after what runs their controllers.
_OTHERS: t.Final = len(_STEPS)
_RANKS: t.Final[dict[tuple[str, str], int]] = {
    **{kind: rank for rank, step in enumerate(_STEPS) for kind in step},
    **{kind: _OTHERS + 1 + rank for rank, step in enumerate(_LAST) for kind in step},
}

#: Kinds whose deletion takes other people's data or objects along; pruned only when asked for by name of the option.
PROTECTED: t.Final[frozenset[tuple[str, str]]] = frozenset(
    {("", "Namespace"), _CRD, ("", "PersistentVolumeClaim"), ("", "PersistentVolume")}
)

_T = t.TypeVar("_T")
_M = t.TypeVar("_M", bound=Mapping[str, t.Any])


def rank(group: str, kind: str) -> int:
    """Return the place of a kind: lower is applied earlier and deleted later."""
    return _RANKS.get((group, kind), _OTHERS)


def is_crd(one: ObjectId) -> bool:
    """Return whether *one* is a CustomResourceDefinition."""
    return one.group_kind == _CRD


def is_namespace(one: ObjectId) -> bool:
    """Return whether *one* is a Namespace."""
    return one.group_kind == ("", "Namespace")


def applied(items: Iterable[_T], key: Callable[[_T], ObjectId]) -> list[_T]:
    """Return *items* in the order in which to apply them; within a kind the order given stays."""
    return sorted(items, key=lambda item: rank(*key(item).group_kind))


def rendered(bodies: Iterable[_M]) -> list[_M]:
    """Return manifests in the order in which to write them down: as they are applied, then by kind and name."""

    def key(body: _M) -> tuple[int, str, str, str]:
        one = ObjectId.of(body)
        return rank(*one.group_kind), one.kind, one.namespace, one.name

    return sorted(bodies, key=key)


def deleted(items: Iterable[ObjectId]) -> list[ObjectId]:
    """Return *items* in the order in which to delete them."""
    return sorted(items, key=lambda one: (-rank(one.group, one.kind), one))
