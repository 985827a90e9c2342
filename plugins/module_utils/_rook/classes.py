# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""StorageClasses that are there and differ in what Kubernetes lets nobody change: told, and made again only on request.

Volumes don't mind: a PersistentVolume has taken what it needs from its class. New ones are made as the class says.
"""

from __future__ import annotations

import copy
import dataclasses
import typing as t
from collections.abc import Collection, Iterable, Mapping

Object = dict[str, t.Any]

#: Fields that can't be changed, and what they are when nothing is said.
FIXED: t.Final[Mapping[str, t.Any]] = {
    "provisioner": "",
    "parameters": {},
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "Immediate",
}


@dataclasses.dataclass(frozen=True)
class Difference:
    """A StorageClass that is there and differs.

    :ivar fields: name -> what there is and what is wanted; parameters one by one.
    :ivar recreate: it is to be made again.
    """

    name: str
    uid: str
    fields: Mapping[str, tuple[t.Any, t.Any]]
    recreate: bool

    def as_dict(self) -> dict[str, t.Any]:
        """Return it for a report."""
        return {
            "name": self.name,
            "fields": {name: {"is": old, "wanted": new} for name, (old, new) in self.fields.items()},
            "recreate": self.recreate,
        }

    @property
    def why(self) -> str:
        """Return the fields in one clause."""
        return ", ".join(f"{name} {old!r} -> {new!r}" for name, (old, new) in self.fields.items())


def differences(
    wanted: Iterable[Object], live: Mapping[str, Object], recreate: Collection[str] = ()
) -> list[Difference]:
    """Return the StorageClasses that differ in what can't be changed.

    :param live: those that there are, by name.
    :param recreate: names of those that may be made again.
    :param recreate: names of those that may be made again.
    """
    found = []
    for one in wanted:
        name = one["metadata"]["name"]
        if name not in live:
            continue
        fields = _fields(one, live[name])
        if fields:
            uid = str((live[name].get("metadata") or {}).get("uid") or "")
            found.append(Difference(name, uid, fields, name in recreate))
    return found


def _fields(wanted: Object, live: Object) -> dict[str, tuple[t.Any, t.Any]]:
    found: dict[str, tuple[t.Any, t.Any]] = {}
    for field, default in FIXED.items():
        old, new = live.get(field) or default, wanted.get(field) or default
        if field != "parameters":
            if old != new:
                found[field] = (old, new)
            continue
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                found[f"parameters.{key}"] = (old.get(key), new.get(key))
    return found


def as_they_are(wanted: Iterable[Object], live: Mapping[str, Object], left: Iterable[Difference]) -> list[Object]:
    """Return the wanted StorageClasses, those of *left* with the fixed fields that they have."""
    kept = {one.name for one in left}
    made = []
    for one in wanted:
        name = one["metadata"]["name"]
        if name not in kept:
            made.append(one)
            continue
        same = copy.deepcopy(one)
        for field, default in FIXED.items():
            same[field] = copy.deepcopy(live[name].get(field) or default)
        made.append(same)
    return made
