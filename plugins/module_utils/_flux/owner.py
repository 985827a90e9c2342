# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Who owns the Flux of a cluster, and whether it may be changed. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from .._core.errors import Refused
from .._kube.model import Inventory
from .._kube.normalise import Object
from .components import VERSION_LABEL
from .model import SYNC

Kind = t.Literal["none", "ours", "git", "helm", "operator", "plain"]

_BY_GIT: t.Final = "kustomize.toolkit.fluxcd.io/name"
_BY_GIT_NAMESPACE: t.Final = "kustomize.toolkit.fluxcd.io/namespace"
_BY_RELEASE: t.Final = "helm.toolkit.fluxcd.io/name"
_OPERATOR: t.Final = "fluxcd.controlplane.io/"
_PAUSED: t.Final = "fluxcd.controlplane.io/reconcile"
_VERSION: t.Final = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


@dataclasses.dataclass(frozen=True)
class Owner:
    """Who installed what is there.

    :ivar words: the same for a reader.
    :ivar version: of what is there, without ``v``; empty if it does not say.
    :ivar active: something puts back at once what others change.
    :ivar whole: all of it is marked as theirs; not so after a takeover that was cut off.
    """

    kind: Kind
    words: str
    version: str = ""
    active: bool = False
    whole: bool = True


def owner_of(
    definitions: Iterable[Object],
    deployments: Iterable[Object],
    instances: Iterable[Object],
    inventory: Inventory,
) -> Owner:
    """Return who owns Flux.

    :param definitions: Flux' CustomResourceDefinitions. :param deployments: its controllers.
    :param instances: FluxInstances.
    """
    found = [*definitions, *deployments]
    if not found:
        return Owner("none", "nobody: Flux is not installed")
    version = next((text for text in map(_version, found) if text), "")
    instances = list(instances)
    labels = [dict((one.get("metadata") or {}).get("labels") or {}) for one in found]
    if instances or any(key.startswith(_OPERATOR) for one in labels for key in one):
        working = [
            one
            for one in instances
            if ((one.get("metadata") or {}).get("annotations") or {}).get(_PAUSED) != "disabled"
        ]
        names = ", ".join(_title(one) for one in instances)
        return Owner("operator", f"the Flux operator ({names or 'no FluxInstance is left'})", version, bool(working))
    by_git = [one for one in labels if one.get(_BY_GIT)]
    if by_git:
        name = f"{by_git[0].get(_BY_GIT_NAMESPACE)}/{by_git[0][_BY_GIT]}"
        return Owner("git", f"Git: Flux applies itself by the Kustomization {name}", version, active=True)
    if any(one.get(_BY_RELEASE) for one in labels):
        return Owner("helm", "a HelmRelease of Flux", version, active=True)
    if any(one.get("app.kubernetes.io/managed-by") == "Helm" for one in labels):
        release = next((text for text in map(_release, found) if text), "")
        return Owner("helm", f"the Helm release {release}" if release else "Helm", version)
    ours = [one for one in labels if one.get(inventory.label) == inventory.name]
    if ours:
        return Owner("ours", f"this role (inventory {inventory.name})", version, whole=len(ours) == len(labels))
    return Owner("plain", "a plain installation (flux install, kubectl or another program)", version)


def _version(one: Mapping[str, t.Any]) -> str:
    labels = (one.get("metadata") or {}).get("labels") or {}
    match = _VERSION.match(str(labels.get(VERSION_LABEL) or ""))
    # Helm's chart labels its objects with the version of Flux as well; controllers' own labels are not one of Flux.
    return match.group(0).removeprefix("v") if match else ""


def _release(one: Mapping[str, t.Any]) -> str:
    annotations = (one.get("metadata") or {}).get("annotations") or {}
    name = annotations.get("meta.helm.sh/release-name")
    return f"{annotations.get('meta.helm.sh/release-namespace')}/{name}" if name else ""


def _title(one: Mapping[str, t.Any]) -> str:
    metadata = one.get("metadata") or {}
    return f"{metadata.get('namespace')}/{metadata.get('name')}"


def check_owner(owner: Owner, *, self_managed: bool, adopt: bool) -> bool:
    """Say whether the components are ours to apply.

    :param self_managed: Flux is to apply its own manifests from Git.
    :raises Refused: rules ``flux-owner``, ``flux-owner-active``.
    """
    if owner.kind in ("none", "ours"):
        return True
    if owner.kind == "git":
        if self_managed:
            return False
        raise Refused(
            f"Flux in this cluster is owned by {owner.words}; what is applied here would be put back.",
            item="cluster",
            rule="flux-owner-active",
            fix="set self_managed: true and change Flux in Git; credentials and lockdown are looked after here.",
        )
    if owner.active:
        raise Refused(
            f"Flux in this cluster is owned by {owner.words}, which is at work and would put everything back.",
            item="cluster",
            rule="flux-owner-active",
            fix=(
                f"annotate the FluxInstance {_PAUSED}=disabled, then run with adopt: true."
                if owner.kind == "operator"
                else f"suspend the HelmRelease, delete it, take {_BY_RELEASE} off the CustomResourceDefinitions "
                "and Deployments of Flux (its label stays there), then run with adopt: true."
            ),
        )
    if not adopt:
        raise Refused(
            f"Flux in this cluster is owned by {owner.words}.",
            item="cluster",
            rule="flux-owner",
            fix="set adopt: true to become its owner, after reading docs/flux.md.",
        )
    return True


def check_place(deployments: Iterable[Object], namespace: str) -> None:
    """Refuse a second Flux: both would reconcile everything, and only one of them locked down.

    :param deployments: controllers of Flux, of all namespaces.
    :raises Refused: rule ``flux-elsewhere``.
    """
    spaces = sorted({str((one.get("metadata") or {}).get("namespace")) for one in deployments} - {namespace})
    if spaces:
        raise Refused(
            f"controllers of Flux run in {', '.join(spaces)} already.",
            item="namespace",
            rule="flux-elsewhere",
            fix=f"set namespace: {spaces[0]}, or remove those controllers first (their Deployments; never the "
            "CustomResourceDefinitions, with which everything would go).",
        )


def check_version(owner: Owner, wanted: str) -> None:
    """Refuse steps that Flux does not support.

    :raises Refused: rules ``flux-downgrade``, ``flux-skipped-minor``.
    """
    there, here = _VERSION.match(owner.version), _VERSION.match(wanted)
    if there is None or here is None:
        return
    old, new = tuple(map(int, there.groups())), tuple(map(int, here.groups()))
    if new < old:
        raise Refused(
            f"the cluster has Flux {owner.version}, and these are the manifests of {wanted}.",
            item="manifests",
            rule="flux-downgrade",
            fix="give the manifests of the version that is there or of a newer one.",
        )
    if new[0] != old[0] or new[1] > old[1] + 1:
        raise Refused(
            f"from Flux {owner.version} to {wanted} leaves out minor versions, and their storage migrations.",
            item="manifests",
            rule="flux-skipped-minor",
            fix=f"go by {old[0]}.{old[1] + 1} first." if new[0] == old[0] else "read the notes of the releases.",
        )


def check_repoint(
    live: Sequence[Object], wanted: Sequence[Object], *, allowed: bool, by_git: bool = False
) -> list[str]:
    """Return what would point somewhere else: with pruning, Flux deletes everything that is not there.

    :param by_git: Git says where Flux points to, so that nothing can be allowed here.
    :raises Refused: rule ``flux-repoint``, unless it is allowed.
    """
    fields = {
        "GitRepository": (("url",), ("ref",), ("sparseCheckout",)),
        "Kustomization": (("path",), ("sourceRef",), ("targetNamespace",)),
    }
    there = {str(one.get("kind")): one for one in live if (one.get("metadata") or {}).get("name") == SYNC}
    found = []
    for one in wanted:
        kind = str(one["kind"])
        if kind not in there or kind not in fields:
            continue
        for path in fields[kind]:
            before, after = _at(there[kind], path), _at(one, path)
            if path == ("sourceRef",) and isinstance(before, dict):
                own = (there[kind].get("metadata") or {}).get("namespace")
                before = {key: x for key, x in before.items() if key != "namespace" or x not in ("", own)}
            if _same(before, after):
                continue
            found.append(f"{kind} {SYNC}: {'.'.join(path)} is {_shown(before)}, wanted {_shown(after)}")
    if found and (by_git or not allowed):
        raise Refused(
            f"{'; '.join(found)}. With pruning, Flux deletes everything that the new place does not have.",
            item="sync",
            rule="flux-repoint",
            fix=(
                "correct sync; another place is written into Git (flux-system/gotk-sync.yaml) first."
                if by_git
                else "correct sync, or set allow_repoint: true when the new place has the same objects."
            ),
            data={"repoint": found},
        )
    return found


def _at(one: Mapping[str, t.Any], path: Sequence[str]) -> t.Any:
    value: t.Any = one.get("spec") or {}
    for part in path:
        value = (value or {}).get(part)
    return value


def _same(before: t.Any, after: t.Any) -> bool:
    if isinstance(before, str) and isinstance(after, str):
        return before.removeprefix("./").rstrip("/") == after.removeprefix("./").rstrip("/")
    if isinstance(before, dict) and isinstance(after, dict):
        return all(before.get(key) == value for key, value in after.items()) and not (
            set(before) - set(after) - {"apiVersion"}
        )
    return (before or None) == (after or None)


def _shown(value: t.Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {one}" for key, one in sorted(value.items())) or "nothing"
    return str(value) if value else "nothing"
