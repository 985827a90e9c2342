# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What a cluster with Flux is to have, and whom lockdown takes rights from. Pure."""

from __future__ import annotations

import dataclasses
import types
import typing as t
from collections.abc import Collection, Iterable, Mapping, Sequence

from .._core.errors import Refused
from .._kube.model import DEFAULT_LABEL_DOMAIN, MANAGER, Discovery, Inventory, ObjectId, Source
from .._kube.normalise import Object
from . import components, lockdown
from .model import AGE_KEYS, SYNC, Rendering, Sync, secret

INVENTORY: t.Final = "flux"
_SHOWN: t.Final = 12

#: Kinds that can refer to objects of other namespaces: their controller, and where the references stand.
REFERENCES: t.Final[Mapping[str, tuple[str, tuple[tuple[str, ...], ...]]]] = {
    "Kustomization": (lockdown.KUSTOMIZE, (("sourceRef",),)),
    "HelmRelease": (lockdown.HELM, (("chart", "spec", "sourceRef"), ("chartRef",))),
    "ImagePolicy": (lockdown.REFLECTOR, (("imageRepositoryRef",),)),
    "ImageUpdateAutomation": (lockdown.AUTOMATION, (("sourceRef",),)),
    "Alert": (lockdown.NOTIFICATION, (("eventSources",),)),
    "Receiver": (lockdown.NOTIFICATION, (("resources",),)),
    "ArtifactGenerator": (lockdown.WATCHER, (("sources",),)),
}
#: Kinds that are reconciled with somebody's rights, and by which controller.
ACCOUNTS: t.Final[Mapping[str, str]] = {"Kustomization": lockdown.KUSTOMIZE, "HelmRelease": lockdown.HELM}
#: Their API groups.
GROUPS: t.Final[Mapping[str, str]] = {
    "Kustomization": "kustomize.toolkit.fluxcd.io",
    "HelmRelease": "helm.toolkit.fluxcd.io",
    "ImagePolicy": "image.toolkit.fluxcd.io",
    "ImageUpdateAutomation": "image.toolkit.fluxcd.io",
    "Alert": "notification.toolkit.fluxcd.io",
    "Receiver": "notification.toolkit.fluxcd.io",
    "ArtifactGenerator": "source.extensions.fluxcd.io",
}


def collections(discovery: Discovery) -> dict[str, str]:
    """Return where those kinds are listed, in the version that the cluster serves: older ones have older versions."""
    found = {kind: discovery.preferred(group, kind) for kind, group in GROUPS.items()}
    return {kind: one.path() for kind, one in found.items() if one is not None}


@dataclasses.dataclass(frozen=True)
class Request:
    """Everything a call wants.

    :ivar git: content of the Kubernetes Secret with the Git credentials. :ivar age: that with the age key.
    :ivar self_managed: Git holds the manifests of Flux, and Flux applies itself.
    :ivar accepted: objects that may lose rights by lockdown (``Kustomization apps/web``).
    """

    release: components.Release
    rendering: Rendering
    sync: Sync | None = None
    git: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    age: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    self_managed: bool = False
    adopt: bool = False
    allow_repoint: bool = False
    force_conflicts: bool = False
    prune: bool = False
    prune_max_percent: int = 20
    accepted: frozenset[str] = frozenset()
    label_domain: str = DEFAULT_LABEL_DOMAIN

    @property
    def inventory(self) -> Inventory:
        return Inventory(INVENTORY, self.rendering.namespace, self.label_domain)

    def component_sources(self) -> list[Source]:
        """Return the manifests, locked down."""
        managers = (MANAGER,) if self.self_managed else ()
        rendering = dataclasses.replace(self.rendering, managers=managers)
        return [_source(one, "manifests") for one in components.render(self.release, rendering)]

    def secret_sources(self) -> list[Source]:
        """Return the Kubernetes Secrets."""
        space = self.rendering.namespace
        found = [(SYNC, self.git), (AGE_KEYS, self.age)]
        return [Source(secret(name, space, data), f"Secret {name}") for name, data in found if data]

    def sync_objects(self) -> list[Object]:
        """Return the GitRepository and the Kustomization."""
        return self.sync.objects(self.rendering.namespace) if self.sync else []

    def sync_sources(self) -> list[Source]:
        """The same, to be applied."""
        return [_source(one, "sync") for one in self.sync_objects()]


def _source(one: Object, what: str) -> Source:
    return Source(one, f"{what}: {one['kind']} {(one.get('metadata') or {}).get('name')}")


def check_kept(doomed: Iterable[ObjectId]) -> None:
    """Refuse to prune what the cluster follows: Flux would delete everything that it has applied.

    :param doomed: what would be pruned.
    :raises Refused: rule ``flux-sync-gone``.
    """
    found = sorted(str(one) for one in doomed if one.kind in ("GitRepository", "Kustomization") and one.name == SYNC)
    if found:
        raise Refused(
            f"sync is not given, so prune would delete {' and '.join(found)}; with its Kustomization goes everything "
            "that Flux has applied.",
            item="sync",
            rule="flux-sync-gone",
            fix="give sync, or run without prune. To stop following a repository, suspend its Kustomization.",
            data={"would_delete": found},
        )


# -- who loses rights ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, order=True)
class Loss:
    """An object that works today and will not after lockdown.

    :ivar name: as people write it (``Kustomization apps/web``).
    """

    name: str
    why: str
    fix: str

    def as_dict(self) -> dict[str, str]:
        """Return it as the module reports it."""
        return {"name": self.name, "why": self.why, "fix": self.fix}


def missing_flags(deployments: Iterable[Object]) -> frozenset[tuple[str, str]]:
    """Return which controllers run without which lockdown flag."""
    return frozenset(
        (one.controller, one.flag)
        for one in lockdown.judge(deployments)
        if one.rule in ("lockdown-flag", "lockdown-unreadable", "lockdown-account")
    )


def other_accounts(deployments: Iterable[Object], account: str) -> dict[str, str]:
    """Return the controllers whose default ServiceAccount will be another one, and which it is now.

    Those that have none, or one that nobody can read, are missing the flag instead.
    """
    lacking = {controller for controller, flag in missing_flags(deployments) if flag == lockdown.SERVICE_ACCOUNT}
    found: dict[str, str] = {}
    for one in deployments:
        known = None if lockdown.over(one) else lockdown.container_of(one)
        if known is None or lockdown.SERVICE_ACCOUNT not in lockdown.flags_of(known[0]) or known[0] in lacking:
            continue
        now = lockdown.value_of(lockdown.words(known[1]), lockdown.SERVICE_ACCOUNT)
        if now and now != account:
            found[known[0]] = now
    return found


def foreign_references(one: Mapping[str, t.Any]) -> list[tuple[str, str]]:
    """Return (field, namespace) of references of an object to other namespaces; ``""`` as its namespace if unknown."""
    known = REFERENCES.get(str(one.get("kind")))
    own = str((one.get("metadata") or {}).get("namespace") or "")
    found = []
    for path in known[1] if known else ():
        value: t.Any = one.get("spec") or {}
        for part in path:
            value = value.get(part) if isinstance(value, Mapping) else None
        for reference in value if isinstance(value, list) else [value]:
            space = str(reference.get("namespace") or "") if isinstance(reference, Mapping) else ""
            if space and space != own:
                found.append((f"spec.{'.'.join(path)}", space))
    return found


def losses(
    objects: Iterable[Mapping[str, t.Any]],
    missing: Collection[tuple[str, str]],
    *,
    account: str,
    before: Mapping[str, str] = types.MappingProxyType({}),
    exempt: Collection[str] = (),
) -> list[Loss]:
    """Return the objects that lose rights when the missing flags come.

    :param objects: Flux' objects of all namespaces, with their kinds.
    :param missing: (controller, flag), as :func:`missing_flags` says.
    :param before: controller -> its default ServiceAccount until now, where this run changes it.
    :param exempt: names that this run gives what they need.
    """
    found = []
    for one in objects:
        kind, spec = str(one.get("kind")), one.get("spec") or {}
        metadata = one.get("metadata") or {}
        name = f"{kind} {metadata.get('namespace')}/{metadata.get('name')}"
        controller = ACCOUNTS.get(kind, "")
        now = controller if (controller, lockdown.SERVICE_ACCOUNT) in missing else before.get(controller, "")
        if now and not spec.get("serviceAccountName") and name not in exempt:
            remote = " in the cluster of its kubeconfig" if spec.get("kubeConfig") else ""
            found.append(
                Loss(
                    name,
                    f"names no ServiceAccount, so it will run as {account}{remote} and no longer as {now}",
                    f"set spec.serviceAccountName in Git ({now}, or {controller} for one of the platform's)"
                    if now != controller
                    else f"set spec.serviceAccountName in Git ({controller} for one of the platform's)",
                )
            )
        known = REFERENCES.get(kind)
        if known and (known[0], lockdown.CROSS_NAMESPACE) in missing:
            found += [
                Loss(
                    name,
                    f"refers to the namespace {space} ({field})",
                    f"put a source of its own into {metadata.get('namespace')}",
                )
                for field, space in foreign_references(one)
            ]
    return sorted(found)


def check_losses(found: Sequence[Loss], accepted: Collection[str]) -> list[Loss]:
    """Return the losses that were accepted.

    :raises Refused: rule ``flux-lockdown-losses``, for those that were not.
    """
    left = [one for one in found if one.name not in accepted]
    if left:
        names = sorted({one.name for one in left})
        shown = "; ".join(f"{one.name} {one.why}" for one in left[:_SHOWN]) + ("; ..." if len(left) > _SHOWN else "")
        raise Refused(
            f"lockdown takes rights from {len(names)} object(s) that this cluster has: {shown}.",
            item="cluster",
            rule="flux-lockdown-losses",
            fix="correct them in Git first, or name those that may lose them in lockdown_accept.",
            data={"losses": [one.as_dict() for one in left]},
        )
    return list(found)
