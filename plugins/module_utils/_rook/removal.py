# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Takes a consumer away from its cluster: only when it was named, and only when it holds nothing any more.

First goes what would make new volumes, then Rook's custom resources, which its operator must let go, and only then what
the operator needs for that: Secrets and monitors. A run that is cut off is finished by the next one; the ownership
record goes last.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t
from collections.abc import Collection, Iterable, Mapping, Sequence

from .._core.errors import HackspaceError, Refused
from .._core.plan import Change, Plan
from .._kube import inventory as record
from .._kube.model import Discovery, Inventory, ObjectId
from .._kube.normalise import Object
from .._kube.ports import listed
from . import delivery, objects
from .model import Consumer
from .ports import Cluster

_SHOWN: t.Final = 10
_PAUSE: t.Final = 0.3
#: In this order; what is in none of them comes last.
_STAGES: t.Final[tuple[frozenset[str], ...]] = (
    frozenset({"StorageClass", "VolumeSnapshotClass", "VolumeGroupSnapshotClass"}),
    frozenset({"CephBlockPoolRadosNamespace", "CephFilesystemSubVolumeGroup"}),
    frozenset({"CephCluster"}),
)
#: What other things of other people may be in.
_KEPT: t.Final = frozenset({"Namespace"})


@dataclasses.dataclass(frozen=True)
class Doomed:
    """An object that goes. *uid* is empty for the record itself, which is read anew."""

    path: str
    uid: str
    stage: int
    finalizers: bool = False


@dataclasses.dataclass
class Removal:
    """What is to go.

    :ivar kept: objects that stay, and why.
    """

    consumer: Consumer
    plan: Plan
    kept: list[str] = dataclasses.field(default_factory=list)


# -- evidence ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """What other consumers of the same cluster have; all that is not theirs is taken for this consumer's."""

    cluster_ids: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, consumer: Consumer, everybody: Iterable[Consumer]) -> Neighbours:
        """Return what the others on *consumer*'s cluster have."""
        others = [one for one in everybody if one.cluster == consumer.cluster and one.name != consumer.name]
        return cls(
            frozenset(each.cluster_id for one in others for each in one.classes),
            frozenset(each.storage_class for one in others for each in one.classes),
        )


def _drivers(consumer: Consumer) -> set[str]:
    return {objects.driver(consumer, sort) for sort in ("rbd", "cephfs")}


def volumes(consumer: Consumer, live: Iterable[Object], others: Neighbours) -> list[str]:
    """Return the PersistentVolumes that are, or may be, in what the consumer has in Ceph."""
    found = []
    for one in live:
        csi = (one.get("spec") or {}).get("csi") or {}
        place = (csi.get("volumeAttributes") or {}).get("clusterID")
        if csi.get("driver") in _drivers(consumer) and place not in others.cluster_ids:
            found.append(str(one["metadata"]["name"]))
    return sorted(found)


def snapshots(consumer: Consumer, live: Iterable[Object], others: Neighbours) -> list[str]:
    """Return the contents of VolumeSnapshots that are, or may be, the consumer's."""
    found = []
    for one in live:
        spec = one.get("spec") or {}
        if spec.get("driver") in _drivers(consumer) and spec.get("volumeSnapshotClassName") not in others.classes:
            found.append(str(one["metadata"]["name"]))
    return sorted(found)


def refuse(consumer: Consumer, held: Sequence[str], shots: Sequence[str]) -> None:
    """Raise if there is anything left.

    :raises Refused: rule ``volumes-left``.
    """
    if not held and not shots:
        return
    parts = []
    for word, names in (("PersistentVolume", held), ("VolumeSnapshotContent", shots)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            parts.append(f"{len(names)} {word}s ({', '.join(names[:_SHOWN])}{more})")
    raise Refused(
        f"still has {' and '.join(parts)}.",
        item=f"consumer {consumer.name} ({consumer.cluster})",
        rule="volumes-left",
        fix="delete or move what is in them; a volume that is kept (Retain) is deleted by hand.",
        data={"volumes": list(held), "snapshots": list(shots)},
    )


def check_confirmed(consumers: Iterable[Consumer], confirmed: Collection[str]) -> None:
    """Raise for a consumer that is to go and was not named, or was named and is to stay.

    :raises Refused: rules ``removal-not-confirmed``, ``removal-not-declared``.
    """
    everybody = list(consumers)
    for one in everybody:
        if one.absent and one.name not in confirmed:
            raise Refused(
                f"{one.name} is to be taken away, and was not confirmed.",
                item=one.item,
                rule="removal-not-confirmed",
                fix=f"name it: confirm_removal: [{one.name}].",
            )
    gone = {one.name for one in everybody if one.absent}
    stray = sorted(set(confirmed) - gone)
    if stray:
        raise Refused(
            f"{', '.join(stray)}: not declared as absent.",
            item="confirm_removal",
            rule="removal-not-declared",
            fix="say state: absent at the consumer, and keep it in the inventory until it is gone.",
        )


# -- plan ----------------------------------------------------------------------------------------------------------


def prepare(api: Cluster, consumer: Consumer, domain: str, others: Neighbours) -> Removal:
    """Read and plan; nothing is written.

    :raises Refused: rule ``volumes-left``.
    """
    inventory = Inventory(f"ceph-{consumer.name}", consumer.namespace, domain)
    discovery = api.discover()
    shots: list[Object] = []
    known = discovery.preferred("snapshot.storage.k8s.io", "VolumeSnapshotContent")
    if known is not None:
        shots = listed(api, known.path())
    held = volumes(consumer, listed(api, "/api/v1/persistentvolumes"), others)
    refuse(consumer, held, snapshots(consumer, shots, others))
    stored = api.get(f"/api/v1/namespaces/{consumer.namespace}/configmaps/{inventory.record_id.name}")
    removal = Removal(consumer, Plan())
    changes: list[Change] = []
    for one in sorted(record.parse(inventory, stored)):
        change = _doomed(api, discovery, inventory, one, removal)
        if change is not None:
            changes.append(change)
    changes += _others(api, consumer, domain)
    changes.sort(key=lambda change: t.cast(Doomed, change.payload).stage)
    if stored is not None:
        path = f"/api/v1/namespaces/{consumer.namespace}/configmaps/{inventory.record_id.name}"
        uid = str(stored["metadata"].get("uid") or "")
        changes.append(_delete("ConfigMap", inventory.record_id.title, Doomed(path, uid, len(_STAGES) + 1)))
    removal.plan.changes = changes
    return removal


def _delete(kind: str, name: str, step: Doomed) -> Change:
    return Change(
        kind=kind, name=name, action="delete", before={"name": name}, public=frozenset({"name"}), payload=step
    )


def _stage(kind: str) -> int:
    for number, kinds in enumerate(_STAGES):
        if kind in kinds:
            return number
    return len(_STAGES)


def _doomed(api: Cluster, discovery: Discovery, inventory: Inventory, one: ObjectId, removal: Removal) -> Change | None:
    known = discovery.preferred(*one.group_kind)
    live = None if known is None else api.get(known.path(one.namespace, one.name))
    if known is None or live is None:
        return None
    metadata = live.get("metadata") or {}
    if one.kind in _KEPT or (metadata.get("labels") or {}).get(inventory.label) != inventory.name:
        why = "may hold what others have" if one.kind in _KEPT else "not ours any more"
        removal.kept.append(f"{one} ({why})")
        return None
    kind = f"{one.kind}.{one.group}" if one.group else one.kind
    step = Doomed(known.path(one.namespace, one.name), str(metadata.get("uid") or ""), _stage(one.kind))
    return _delete(kind, one.title, step)


def _others(api: Cluster, consumer: Consumer, domain: str) -> list[Change]:
    """Return what is ours without a mark: the monitors, and Secrets that External Secrets made."""
    made = []
    space = f"/api/v1/namespaces/{consumer.namespace}"
    path = f"{space}/configmaps/{objects.ENDPOINTS}"
    live = api.get(path)
    last = len(_STAGES)
    if live is not None:
        uid = str(live["metadata"].get("uid") or "")
        step = Doomed(path, uid, last, finalizers=bool(live["metadata"].get("finalizers")))
        made.append(_delete("ConfigMap", f"{consumer.namespace}/{objects.ENDPOINTS}", step))
    for one in listed(api, f"{space}/secrets", selector=f"{delivery.label(domain)}={consumer.name}"):
        name = str(one["metadata"]["name"])
        step = Doomed(f"{space}/secrets/{name}", str(one["metadata"].get("uid") or ""), last)
        made.append(_delete("Secret", f"{consumer.namespace}/{name}", step))
    return made


# -- apply ---------------------------------------------------------------------------------------------------------


def execute(api: Cluster, removal: Removal, *, timeout: float) -> None:
    """Carry it out, stage by stage: the next one begins when the one before is gone.

    :raises HackspaceError: rule ``removal-stuck``.
    """
    deadline = time.monotonic() + timeout
    by_stage: dict[int, list[Change]] = {}
    for change in removal.plan.changes:
        by_stage.setdefault(t.cast(Doomed, change.payload).stage, []).append(change)
    for stage in sorted(by_stage):
        steps: Mapping[str, Doomed] = {change.name: change.payload for change in by_stage[stage]}
        for step in steps.values():
            if step.finalizers:
                api.merge(step.path, {"metadata": {"finalizers": None}})
            api.delete(step.path, uid=step.uid)
        _await_gone(api, removal.consumer, steps, deadline)


def _await_gone(api: Cluster, consumer: Consumer, steps: Mapping[str, Doomed], deadline: float) -> None:
    left = dict(steps)
    while True:
        left = {name: step for name, step in left.items() if _same(api.get(step.path), step.uid)}
        if not left:
            return
        if time.monotonic() >= deadline:
            raise HackspaceError(
                f"{', '.join(sorted(left))}: deleted, and still there.",
                item=f"consumer {consumer.name} ({consumer.cluster})",
                rule="removal-stuck",
                fix="Rook's operator must run to let go of them; then run again.",
            )
        time.sleep(_PAUSE)


def _same(live: Object | None, uid: str) -> bool:
    return live is not None and str((live.get("metadata") or {}).get("uid") or "") == uid
