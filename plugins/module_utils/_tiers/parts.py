# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What all rendered objects have in common, and a policy before it is wrapped for its backend."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping

from .._kube.model import MANAGER
from .model import Table

Object = dict[str, t.Any]

PART_OF: t.Final = "namespace-tiers"


@dataclasses.dataclass(frozen=True)
class Policy:
    """A policy that any backend can carry.

    :ivar rule: what it looks at. :ivar selector: ``namespaceSelector`` or nothing.
    :ivar expressions: JSON patches; for a policy that changes.
    :ivar validations: for a policy that checks.
    :ivar param: API version, kind and name of an object that must be in the namespace; native only.
    """

    name: str
    rule: Object
    selector: Object
    conditions: tuple[Mapping[str, str], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    expressions: tuple[str, ...] = ()
    validations: tuple[Object, ...] = ()
    param: tuple[str, str, str] | None = None


def labels(table: Table, tier: str = "", manager: str = MANAGER) -> dict[str, str]:
    """Return the labels of ownership."""
    made = {"app.kubernetes.io/managed-by": manager} if manager else {}
    made["app.kubernetes.io/part-of"] = PART_OF
    if tier:
        made[f"{table.label_domain}/namespace-tier"] = tier
    return made


def metadata(table: Table, name: str, namespace: str = "", tier: str = "") -> Object:
    """Return the metadata of an object of ours."""
    made: Object = {"name": name, "labels": labels(table, tier)}
    if namespace:
        made["namespace"] = namespace
    return made


def rule(resource: str, *operations: str, names: tuple[str, ...] = ()) -> Object:
    """Return a rule about one resource of the core group."""
    made: Object = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": list(operations),
        "resources": [resource],
    }
    if names:
        made["resourceNames"] = list(names)
    return made
