# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The option ``clusters`` of modules that work on several clusters at once, by their kubeconfigs."""

from __future__ import annotations

import dataclasses
import typing as t

from .._core.errors import check
from .._core.module import Options
from .reviewer_links import with_files

CLUSTERS: t.Final[Options] = {
    "clusters": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "mutually_exclusive": [["kubeconfig", "kubeconfig_content"]],
        "required_one_of": [["kubeconfig", "kubeconfig_content"]],
        "options": {
            "name": {"type": "str", "required": True},
            "kubeconfig": {"type": "path"},
            "kubeconfig_content": {"type": "str", "no_log": True},
            "context": {"type": "str"},
            "tls_server_name": {"type": "str"},
        },
    },
}


@dataclasses.dataclass(frozen=True)
class Target:
    """A cluster as it is opened."""

    name: str
    item: str
    kubeconfig: t.Any
    context: str | None
    tls_server_name: str | None


def targets(clusters: t.Sequence[t.Mapping[str, t.Any]]) -> list[Target]:
    """Return the clusters, checked."""
    check(clusters, "is empty.", item="clusters", rule="no-clusters", fix="give at least one cluster.")
    found: list[Target] = []
    for number, raw in enumerate(with_files(clusters)):
        check(
            raw["name"] not in {target.name for target in found},
            f"{raw['name']} is there twice.",
            item=f"clusters[{number}].name",
            rule="unique-cluster-name",
            fix="give each cluster once.",
        )
        found.append(
            Target(
                raw["name"],
                f"clusters[{number}] ({raw['name']})",
                raw["kubeconfig"],
                raw.get("context") or None,
                raw.get("tls_server_name") or None,
            )
        )
    return found
