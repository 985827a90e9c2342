# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What Flux of a cluster is, who owns it, whether it is locked down, and what of its objects is not well, and why."""

from __future__ import annotations

import collections
import dataclasses
import typing as t
from collections.abc import Collection, Mapping, Sequence

from .._kube import wait as kstatus
from .._kube.model import Inventory
from .._kube.normalise import Object
from .._kube.ports import listed
from . import lockdown, status, wait
from .bootstrap_apply import running
from .bootstrap_plan import INVENTORY
from .components import PART_OF
from .migrate import DEFINITIONS
from .owner import Owner, owner_of
from .wait import Cluster, Item, Key, Story, Target

_OPERATOR: t.Final = ("fluxcd.controlplane.io", "FluxInstance")


@dataclasses.dataclass(frozen=True)
class Controller:
    """One of Flux's controllers, by its Deployment."""

    name: str
    namespace: str
    version: str
    arguments: tuple[str, ...]
    ready: bool
    why: str

    def as_dict(self) -> dict[str, t.Any]:
        return {**dataclasses.asdict(self), "arguments": list(self.arguments)}


def controllers(objects: Sequence[Mapping[str, t.Any]]) -> list[Controller]:
    """Return Flux's controllers among Deployments."""
    found = []
    for one in objects:
        known = lockdown.container_of(one)
        if known is None or one.get("kind") != "Deployment":
            continue
        name, container = known
        image = str(container.get("image") or "").partition("@")[0]
        tag = image.rpartition("/")[2].partition(":")[2]
        said = kstatus.status(dict(one), "apps", "Deployment")
        if not (one.get("spec") or {}).get("replicas", 1):
            said = kstatus.Status("waiting", "has no replicas")
        metadata = one.get("metadata") or {}
        words = tuple(lockdown.words(container))
        found.append(Controller(name, str(metadata.get("namespace")), tag, words, said.state == "ready", said.why))
    return sorted(found, key=lambda one: (one.namespace, one.name))


@dataclasses.dataclass
class Report:
    """Everything that was found."""

    owner: Owner
    controllers: list[Controller]
    findings: list[lockdown.Finding]
    items: list[Item]
    stories: Mapping[Key, Story]
    behind: list[tuple[Key, str, str]]
    kinds: list[str]

    @property
    def installed(self) -> bool:
        return bool(self.controllers)

    @property
    def locked_down(self) -> bool:
        return self.installed and not self.findings

    @property
    def unwell(self) -> list[Item]:
        """What is not ready, and not on purpose; what has failed by itself comes first."""
        found = [one for one in self.items if one.verdict.state in ("failed", "waiting")]
        return sorted(
            found, key=lambda one: (one.verdict.state != "failed", bool(one.because), one.verdict.since, one.key)
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many objects of each kind are in which state."""
        found: dict[str, collections.Counter[str]] = {}
        for one in self.items:
            found.setdefault(one.key[0], collections.Counter())[one.verdict.state] += 1
        return {kind: dict(sorted(states.items())) for kind, states in sorted(found.items())}

    def as_dict(self) -> dict[str, t.Any]:
        """Return it as the module does."""
        return {
            "installed": self.installed,
            "version": self.owner.version,
            "owner": {"kind": self.owner.kind, "words": self.owner.words},
            "controllers": [one.as_dict() for one in self.controllers],
            "locked_down": self.locked_down,
            "lockdown": [one.as_dict() for one in self.findings] if self.installed else [],
            "kinds": self.kinds,
            "counts": self.counts(),
            "failing": [self._shown(one) for one in self.unwell],
            "suspended": [wait.title(one.key) for one in self.items if one.verdict.state == "suspended"],
            "behind": [{"object": wait.title(key), "revision": have, "source": new} for key, have, new in self.behind],
            "summary": self.summary(),
        }

    def _shown(self, one: Item) -> dict[str, t.Any]:
        found = wait.shown(one, self.stories.get(one.key))
        above = status.owner(one.live or {})
        return {**found, "owner": f"Kustomization {'/'.join(above)}" if above else ""}

    def summary(self) -> list[str]:
        """Return lines for people."""
        if not self.installed:
            return ["Flux is not installed"]
        late = [one for one in self.controllers if not one.ready]
        lines = [
            f"Flux {self.owner.version or 'of unknown version'}, owned by {self.owner.words};"
            f" {len(self.controllers)} controllers, {len(late)} not ready",
            "locked down"
            if self.locked_down
            else f"NOT locked down: {self.findings[0].item} {self.findings[0].message}",
        ]
        lines += [f"{one.name} in {one.namespace}: {one.why}" for one in late]
        for one in self.unwell:
            story = self.stories.get(one.key)
            lines.append(
                f"{one.name} {one.verdict.state} since {one.verdict.since or '?'}: {one.because or one.verdict.why}"
            )
            if story and story.hint:
                lines.append(f"  -> {story.hint.text}")
        asleep = sum(one.verdict.state == "suspended" for one in self.items)
        lines.append(f"{len(self.items)} objects, {len(self.unwell)} not ready, {asleep} suspended")
        return lines


def collect(cluster: Cluster, *, namespace: str, namespaces: Collection[str] = (), account: str = "") -> Report:
    """Read a cluster by lists: one for each kind of Flux, and a few for Flux itself.

    :param namespace: of Flux. :param namespaces: of which objects are reported; all if empty.
    :param account: default ServiceAccount that lockdown is to have; any but ``default`` if empty.
    """
    api = cluster.api
    served = cluster.served()
    found: dict[Key, Object] = {}
    for kind in served:
        for live in cluster.listed(kind):
            found[wait.key_of(live, kind)] = live
    meant = {key: live for key, live in found.items() if not namespaces or key[1] in namespaces}
    items = [
        Item(Target("objects", key[0], key[1], key[2]), key, live, status.verdict(live, key[0]))
        for key, live in sorted(meant.items())
    ]
    wait.blame(items, found.get)
    objects = running(api, namespace)
    definitions = listed(api, DEFINITIONS, selector=f"{PART_OF}=flux", metadata_only=True)
    operator = cluster.discovery.preferred(*_OPERATOR)
    instances = listed(api, operator.path()) if operator else []
    deployments = [one for one in objects if one["kind"] == "Deployment" and lockdown.container_of(one)]
    return Report(
        owner=owner_of(definitions, deployments, instances, Inventory(INVENTORY, namespace)),
        controllers=controllers(deployments),
        findings=lockdown.judge(objects, account=account),
        items=items,
        stories=wait.explain(cluster, [one for one in items if one.verdict.state in ("failed", "waiting")]),
        behind=behind(meant, found),
        kinds=served,
    )


def behind(meant: Mapping[Key, Object], known: Mapping[Key, Object]) -> list[tuple[Key, str, str]]:
    """Return Kustomizations that have not applied what their source has: key, revision, the source's revision."""
    found = []
    for key, live in sorted(meant.items()):
        source = status.source_of(live, key[0])
        if key[0] != "Kustomization" or source is None or source not in known:
            continue
        have, new = status.revision(live, key[0]), status.revision(known[source], source[0])
        if new and have != new:
            found.append((key, have, new))
    return found
