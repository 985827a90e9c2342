# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""From the manifests of a release of Flux to those of a cluster, locked down from the first apply. Pure.

Does what ``flux install --export`` and the kustomize patches of Flux' documentation do, without either program.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from .._core.errors import InvalidInput, check
from .._kube.normalise import Object
from . import lockdown
from .model import NAMESPACE, Rendering

VERSION_LABEL: t.Final = "app.kubernetes.io/version"
COMPONENT_LABEL: t.Final = "app.kubernetes.io/component"
INSTANCE_LABEL: t.Final = "app.kubernetes.io/instance"
PART_OF: t.Final = "app.kubernetes.io/part-of"
_EVENTS: t.Final = "events-addr"
_GATES: t.Final = "feature-gates"
_ARTIFACTS: t.Final = "ExternalArtifact"
_RBAC: t.Final = frozenset({"ClusterRole", "ClusterRoleBinding", "ResourceQuota"})


@dataclasses.dataclass(frozen=True)
class Release:
    """The manifests of a release.

    :ivar version: without ``v``.
    :ivar namespace: that they were made for.
    """

    version: str
    namespace: str
    objects: Sequence[Object] = dataclasses.field(repr=False)

    @property
    def components(self) -> list[str]:
        """Names of the controllers."""
        return [name for name in map(_controller, self.objects) if name]


def _controller(one: Mapping[str, t.Any]) -> str:
    if one.get("kind") != "Deployment":
        return ""
    known = lockdown.container_of(one)
    return known[0] if known else ""


def release(objects: Iterable[t.Any], where: str = "manifests") -> Release:
    """Return what the manifests are.

    :param where: their name, for errors.
    :raises InvalidInput: rules ``flux-manifests``, ``flux-manifests-version``.
    """
    listed = [one for one in objects if isinstance(one, Mapping) and one.get("kind")]
    found = [_controller(one) for one in listed]
    check(
        lockdown.SOURCE in found or lockdown.KUSTOMIZE in found,
        "these are not the manifests of Flux: neither source-controller nor kustomize-controller is among them.",
        item=where,
        rule="flux-manifests",
        fix="give the install.yaml of a release, or what flux install --export printed.",
    )
    versions = {
        str(((one.get("metadata") or {}).get("labels") or {}).get(VERSION_LABEL) or "").removeprefix("v")
        for one in listed
        if _controller(one)
    }
    version = versions.pop() if len(versions) == 1 else ""
    check(
        re.fullmatch(r"\d+\.\d+\.\d+([-+].+)?", version),
        "the manifests do not say, or not with one voice, which version of Flux they are.",
        item=where,
        rule="flux-manifests-version",
        fix=f"give manifests whose Deployments carry the label {VERSION_LABEL}, as those of a release do.",
    )
    spaces = [str(one["metadata"].get("name")) for one in listed if one["kind"] == "Namespace"]
    return Release(version, spaces[0] if spaces else NAMESPACE, [dict(one) for one in listed])


def render(source: Release, wanted: Rendering) -> list[Object]:
    """Return the objects of a cluster.

    :raises InvalidInput: for options that cannot be used, and for components that the release does not have.
    """
    wanted.checked()
    missing = [name for name in wanted.components if name not in source.components]
    check(
        not missing,
        f"Flux {source.version} as given has no {', '.join(missing)}.",
        item="components",
        rule="flux-component-missing",
        fix=f"choose among {', '.join(source.components)}, or give manifests that have it.",
    )
    made = []
    for one in source.objects:
        component = ((one.get("metadata") or {}).get("labels") or {}).get(COMPONENT_LABEL) or _controller(one)
        if component in lockdown.FLAGS and component not in wanted.components:
            continue
        if one["kind"] == "NetworkPolicy" and not wanted.network_policies:
            continue
        body = copy.deepcopy(one)
        _move(body, source.namespace, wanted.namespace)
        if body["kind"] == "ClusterRole" and not wanted.workload_identity:
            body["rules"] = [rule for rule in body.get("rules") or () if not _mints_tokens(rule)]
        name = _controller(body)
        if name:
            _deployment(body, name, wanted)
        made.append(body)
    return made


def _move(one: Object, old: str, new: str) -> None:
    """Put an object into another namespace."""
    if old == new:
        return
    metadata = one["metadata"]
    if one["kind"] == "Namespace" and metadata.get("name") == old:
        metadata["name"] = new
    elif one["kind"] in _RBAC:
        metadata["name"] = _suffixed(str(metadata.get("name")), old, new)
    if metadata.get("namespace") == old:
        metadata["namespace"] = new
    if "roleRef" in one:
        one["roleRef"]["name"] = _suffixed(str(one["roleRef"].get("name")), old, new)
    for subject in one.get("subjects") or ():
        if subject.get("namespace") == old:
            subject["namespace"] = new
    places = [metadata]
    if one["kind"] == "Deployment":
        places.append(one["spec"]["template"].setdefault("metadata", {}))
    for place in places:
        labels = place.get("labels") or {}
        if labels.get(INSTANCE_LABEL) == old:
            labels[INSTANCE_LABEL] = new


def _suffixed(name: str, old: str, new: str) -> str:
    return f"{name.removesuffix(f'-{old}')}-{new}" if name.endswith(f"-{old}") else name


def _mints_tokens(rule: Mapping[str, t.Any]) -> bool:
    """Return whether a rule is only there for workload identity: it lets every controller be any ServiceAccount."""
    return list(rule.get("resources") or ()) == ["serviceaccounts/token"]


def _deployment(one: Object, name: str, wanted: Rendering) -> None:
    pod: Object = one["spec"]["template"]["spec"]
    known = lockdown.container_of(one)
    if known is None:
        raise InvalidInput(f"{name} has no container.", item="manifests", rule="flux-manifests", fix="read the file.")
    container = t.cast(Object, known[1])
    if wanted.registry:
        container["image"] = f"{wanted.registry}/{str(container['image']).rpartition('/')[2]}"
    if wanted.image_pull_secret:
        pod["imagePullSecrets"] = [{"name": wanted.image_pull_secret}]
    if wanted.node_selector:
        pod["nodeSelector"] = {**(pod.get("nodeSelector") or {}), **wanted.node_selector}
    if wanted.tolerations:
        pod["tolerations"] = [dict(one) for one in wanted.tolerations]
    given = [_domain(str(word), wanted.cluster_domain) for word in container.get("args") or ()]
    given = with_flag(given, "log-level", wanted.log_level)
    if lockdown.NOTIFICATION not in wanted.components and lockdown.value_of(given, _EVENTS) is not None:
        given = with_flag(given, _EVENTS, "")
    for word in lockdown.arguments(name, account=wanted.account, workload_identity=wanted.workload_identity):
        flag, _equals, value = word.removeprefix("--").partition("=")
        given = with_flag(given, flag, value)
    gates = lockdown.gates_of(given)
    if name in (lockdown.KUSTOMIZE, lockdown.HELM):
        gates.pop(_ARTIFACTS, None)
        if lockdown.WATCHER in wanted.components:
            gates[_ARTIFACTS] = True
    if wanted.workload_identity and name in lockdown.IDENTITY_FLAGS:
        gates[lockdown.WORKLOAD_IDENTITY] = True
    text = ",".join(f"{gate}={'true' if on else 'false'}" for gate, on in gates.items())
    given = with_flag(given, _GATES, text) if text else without_flag(given, _GATES)
    if name == lockdown.KUSTOMIZE:
        given += [x for x in (f"--override-manager={manager}" for manager in wanted.managers) if x not in given]
    container["args"] = given


def _domain(word: str, domain: str) -> str:
    """Put another cluster domain into addresses of Services."""
    return re.sub(r"\.svc\.cluster\.local(?=\.)", f".svc.{domain}", word)


def without_flag(given: Sequence[str], flag: str) -> list[str]:
    """Return arguments without a flag."""
    return [word for word in given if word != f"--{flag}" and not word.startswith(f"--{flag}=")]


def with_flag(given: Sequence[str], flag: str, value: str) -> list[str]:
    """Return arguments with a flag once, at the place of its first mention or at the end."""
    wanted = f"--{flag}={value}"
    made: list[str] = []
    for word in given:
        if word != f"--{flag}" and not word.startswith(f"--{flag}="):
            made.append(word)
        elif wanted not in made:
            made.append(wanted)
    return made if wanted in made else [*made, wanted]
