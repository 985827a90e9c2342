# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The ownership record: a ConfigMap that lists what an inventory has, one object a line; compressed when it is long."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import zlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .._core.errors import Refused
from .model import MANAGER, Inventory, ObjectId
from .normalise import Object
from .ssa import applied_fields

_KEY = "objects"
_PACKED = "objects.gz"
#: Longer lists are compressed, in bytes. The API server takes ConfigMaps of 1 MiB; lists of objects pack to a tenth.
_READABLE = 256 * 1024
#: No list that is packed becomes longer, in bytes: more objects than this than any cluster has.
_LONGEST = 256 * 1024 * 1024


def render(inventory: Inventory, ids: Iterable[ObjectId], resource_version: str = "") -> Object:
    """Return the record of *ids*."""
    metadata: Object = {
        "name": inventory.record_id.name,
        "namespace": inventory.namespace,
        "labels": {inventory.record_label: inventory.name},
    }
    if resource_version:
        metadata["resourceVersion"] = resource_version
    lines = "".join(f"{one}\n" for one in sorted(ids))
    content = lines.encode()
    kept = {"binaryData": {_PACKED: _pack(content)}} if len(content) > _READABLE else {"data": {_KEY: lines}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **kept}


def _pack(content: bytes) -> str:
    # The same list gives the same text: no time in it.
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _lines(record: Mapping[str, Any], item: str) -> list[str]:
    packed = (record.get("binaryData") or {}).get(_PACKED)
    if not packed:
        return str((record.get("data") or {}).get(_KEY) or "").splitlines()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(base64.b64decode(packed, validate=True))) as stream:
            return stream.read(_LONGEST).decode().splitlines()
    except (binascii.Error, OSError, EOFError, zlib.error, UnicodeDecodeError):
        raise Refused(
            f"binaryData.{_PACKED} cannot be read.",
            item=item,
            rule="record-damaged",
            fix="restore it, or delete the ConfigMap: the labels on the objects rebuild it, except for what is no "
            "longer wanted.",
        ) from None


def parse(inventory: Inventory, record: Mapping[str, Any] | None) -> frozenset[ObjectId]:
    """Return the ids in a record; no record has none.

    :raises Refused: when the ConfigMap is somebody else's, or is damaged.
    """
    if record is None:
        return frozenset()
    item = str(inventory.record_id)
    labels = (record.get("metadata") or {}).get("labels") or {}
    if labels.get(inventory.record_label) != inventory.name:
        raise Refused(
            f"it is not the record of the inventory {inventory.name}: the label {inventory.record_label} is missing.",
            item=item,
            rule="record-foreign",
            fix="choose another inventory name, or restore the label if it was removed by hand.",
        )
    ids = set()
    for number, line in enumerate(_lines(record, item), 1):
        one = ObjectId.parse(line)
        if one is None:
            raise Refused(
                f"line {number} of {_KEY} is not an object id.",
                item=item,
                rule="record-damaged",
                fix="correct the line (Kind.group namespace/name), or delete the ConfigMap: the labels on the "
                "objects rebuild it, except for what is no longer wanted.",
            )
        ids.add(one)
    return frozenset(ids)


def owner(inventory: Inventory, one: ObjectId, live: Mapping[str, Any], recorded: Collection[ObjectId]) -> str:
    """Return who owns a live object: ``""`` for us, or words for a reader."""
    metadata = live.get("metadata") or {}
    labels = metadata.get("labels") or {}
    label = labels.get(inventory.label)
    if label == inventory.name:
        return ""
    if label:
        return f"inventory {label}"
    if one in recorded and applied_fields(live, MANAGER) is not None:
        return ""  # the label was removed by hand
    flux = flux_owner(live)
    if flux:
        return flux
    if labels.get("app.kubernetes.io/managed-by") == "Helm":
        release = (metadata.get("annotations") or {}).get("meta.helm.sh/release-name")
        return f"Helm release {release}" if release else "Helm"
    managers = sorted({str(m.get("manager")) for m in metadata.get("managedFields") or [] if m.get("manager")})
    return "written by " + ", ".join(managers) if managers else "no mark"


def flux_owner(live: Mapping[str, Any]) -> str:
    """Return which object of Flux keeps a live object as it is in Git, ``""`` if none does."""
    labels = (live.get("metadata") or {}).get("labels") or {}
    for kind, group in (("Kustomization", "kustomize"), ("HelmRelease", "helm")):
        mark = f"{group}.toolkit.fluxcd.io"
        if labels.get(f"{mark}/name"):
            return f"Flux {kind} {labels.get(f'{mark}/namespace')}/{labels[f'{mark}/name']}"
    return ""


def flux_holds(live: Mapping[str, Any]) -> bool:
    """Return whether Flux has fields of a live object. A label alone may have come with a manifest."""
    labels = (live.get("metadata") or {}).get("labels") or {}
    managers = {
        str(one.get("manager")).lower()
        for one in (live.get("metadata") or {}).get("managedFields") or []
        if not one.get("subresource")
    }
    if labels.get("kustomize.toolkit.fluxcd.io/name"):
        return "kustomize-controller" in managers
    return bool(labels.get("helm.toolkit.fluxcd.io/name")) and any("helm" in one for one in managers)
