# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Storage migration before CustomResourceDefinitions change: which objects are to be written again. Pure.

An API server refuses a definition without a version in which objects may still be stored. So each object is written
once more, which stores it in today's storage version, and then the list of stored versions is cut down to that one.
"""

from __future__ import annotations

import copy
import dataclasses
import typing as t
from collections.abc import Iterable, Mapping

from .._core.errors import Refused
from .._core.plan import Change
from .._kube.normalise import Object

DEFINITIONS: t.Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PUBLIC: t.Final = frozenset({"storedVersions"})


@dataclasses.dataclass(frozen=True)
class Migration:
    """One definition whose objects are to be written again.

    :ivar stored: versions in which objects may be stored. :ivar storage: the one in which they are stored now.
    """

    name: str
    group: str
    plural: str
    stored: tuple[str, ...]
    storage: str

    @property
    def collection(self) -> str:
        """Path of all objects, in all namespaces."""
        return f"/apis/{self.group}/{self.storage}/{self.plural}"

    def path(self, one: Mapping[str, t.Any]) -> str:
        """Path of one object."""
        metadata = one["metadata"]
        where = f"namespaces/{metadata['namespace']}/" if metadata.get("namespace") else ""
        return f"/apis/{self.group}/{self.storage}/{where}{self.plural}/{metadata['name']}"

    def change(self) -> Change:
        """What the plan says about it."""
        return Change(
            kind="stored versions",
            name=self.name,
            action="update",
            before={"storedVersions": list(self.stored)},
            after={"storedVersions": [self.storage]},
            why="every object is written again first",
            public=_PUBLIC,
            payload=self,
        )


def storage_of(definition: Mapping[str, t.Any]) -> str:
    """Return the version in which a definition stores objects."""
    versions = (definition.get("spec") or {}).get("versions") or ()
    return next((str(one.get("name")) for one in versions if one.get("storage")), "")


def migrations(live: Iterable[Mapping[str, t.Any]], wanted: Iterable[Mapping[str, t.Any]]) -> list[Migration]:
    """Return what is to be migrated before the wanted definitions are applied.

    :raises Refused: rule ``flux-storage``, when the wanted definition cannot read what is stored today.
    """
    new = {str(one["metadata"]["name"]): one for one in wanted}
    found = []
    for one in live:
        name = str(one["metadata"]["name"])
        if name not in new:
            continue
        stored = tuple(str(x) for x in (one.get("status") or {}).get("storedVersions") or ())
        storage = storage_of(one)
        served = {str(x.get("name")) for x in new[name]["spec"].get("versions") or ()}
        if storage not in served:
            raise Refused(
                f"objects are stored as {storage}, which the manifests do not have any more.",
                item=f"CustomResourceDefinition {name}",
                rule="flux-storage",
                fix="install the minor version in between first, which stores them anew.",
            )
        if set(stored) - {storage}:
            spec = one["spec"]
            found.append(Migration(name, str(spec["group"]), str(spec["names"]["plural"]), stored, storage))
    return sorted(found, key=lambda one: one.name)


def rewritten(one: Mapping[str, t.Any], migration: Migration) -> Object:
    """Return an object as it is to be written: itself, with field managers that name no version that goes away."""
    body: Object = copy.deepcopy(dict(one))
    gone = {f"{migration.group}/{version}" for version in migration.stored if version != migration.storage}
    for entry in body["metadata"].get("managedFields") or ():
        if entry.get("apiVersion") in gone:
            entry["apiVersion"] = f"{migration.group}/{migration.storage}"
    return body
