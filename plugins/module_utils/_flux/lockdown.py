# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Lockdown of Flux: which controller has which flag, and whether running ones have them. Pure.

Without lockdown a tenant who may write a Kustomization is an administrator of the cluster: Flux reconciles with its own
rights. What counts is what a controller runs with, so Deployments and pods are judged, not what was meant.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from .._kube.normalise import Object

#: Name of the ServiceAccount that tenants' Flux objects run as; each tenant's namespace has one.
DEFAULT_SERVICE_ACCOUNT: t.Final = "flux"

CROSS_NAMESPACE: t.Final = "no-cross-namespace-refs"
REMOTE_BASES: t.Final = "no-remote-bases"
SERVICE_ACCOUNT: t.Final = "default-service-account"
DECRYPTION_ACCOUNT: t.Final = "default-decryption-service-account"
KUBECONFIG_ACCOUNT: t.Final = "default-kubeconfig-service-account"
WORKLOAD_IDENTITY: t.Final = "ObjectLevelWorkloadIdentity"

KUSTOMIZE: t.Final = "kustomize-controller"
SOURCE: t.Final = "source-controller"
HELM: t.Final = "helm-controller"
NOTIFICATION: t.Final = "notification-controller"
WATCHER: t.Final = "source-watcher"
REFLECTOR: t.Final = "image-reflector-controller"
AUTOMATION: t.Final = "image-automation-controller"

#: Every controller of Flux and the lockdown flags that it has, for all clusters.
FLAGS: t.Final[Mapping[str, tuple[str, ...]]] = {
    SOURCE: (),
    KUSTOMIZE: (CROSS_NAMESPACE, REMOTE_BASES, SERVICE_ACCOUNT),
    HELM: (CROSS_NAMESPACE, SERVICE_ACCOUNT),
    NOTIFICATION: (CROSS_NAMESPACE,),
    WATCHER: (CROSS_NAMESPACE,),
    REFLECTOR: (CROSS_NAMESPACE,),
    AUTOMATION: (CROSS_NAMESPACE,),
}

#: Flags besides, where the feature gate ObjectLevelWorkloadIdentity is on. Without it a controller that has one of them
#: ends at once.
IDENTITY_FLAGS: t.Final[Mapping[str, tuple[str, ...]]] = {
    SOURCE: (SERVICE_ACCOUNT,),
    KUSTOMIZE: (DECRYPTION_ACCOUNT, KUBECONFIG_ACCOUNT),
    HELM: (KUBECONFIG_ACCOUNT,),
    NOTIFICATION: (SERVICE_ACCOUNT,),
    REFLECTOR: (SERVICE_ACCOUNT,),
    AUTOMATION: (SERVICE_ACCOUNT,),
}

_SWITCHES: t.Final = frozenset({CROSS_NAMESPACE, REMOTE_BASES})
_TRUE: t.Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_VARIABLE: t.Final = re.compile(r"(?<!\$)\$\(")
_GATES: t.Final = "feature-gates"
#: Programs that make arguments of their own.
_SHELLS: t.Final = frozenset({"sh", "bash", "ash", "dash", "busybox", "env"})

#: Every rule, and what it says.
RULES: t.Final[Mapping[str, str]] = {
    "lockdown-flag": "each controller runs with the lockdown flags that it has",
    "lockdown-account": "the default ServiceAccount is one that tenants have, and not the one of every pod",
    "lockdown-unreadable": "the lockdown flags and their values can be read from the object",
    "lockdown-gate": "flags for workload identity come with their feature gate",
    "lockdown-no-controller": "Flux is installed",
}


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    """One thing that is not locked down.

    :ivar item: the object (``Deployment flux-system/helm-controller``).
    :ivar controller: which of Flux's controllers it runs.
    :ivar flag: the flag, without hyphens.
    """

    item: str
    rule: str
    controller: str
    flag: str
    message: str
    fix: str = dataclasses.field(compare=False)

    def as_dict(self) -> dict[str, str]:
        """Return the finding as modules report it."""
        return {
            "id": self.rule,
            "severity": "error",
            "item": self.item,
            "controller": self.controller,
            "flag": self.flag,
            "message": self.message,
            "fix": self.fix,
        }


def flags_of(controller: str, *, workload_identity: bool = False) -> tuple[str, ...]:
    """Return the lockdown flags of a controller; none for one that is not of Flux."""
    found = FLAGS.get(controller, ())
    return (*found, *IDENTITY_FLAGS.get(controller, ())) if workload_identity else found


def arguments(controller: str, *, account: str = DEFAULT_SERVICE_ACCOUNT, workload_identity: bool = False) -> list[str]:
    """Return the arguments that lock a controller down, without feature gates."""
    return [
        f"--{flag}={'true' if flag in _SWITCHES else account}"
        for flag in flags_of(controller, workload_identity=workload_identity)
    ]


# -- what runs -----------------------------------------------------------------------------------------------------


def _base(image: str) -> str:
    """Return the last part of an image's name, without registry, tag and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _pod_spec(one: Mapping[str, t.Any]) -> Mapping[str, t.Any]:
    spec = one.get("spec") or {}
    return ((spec.get("template") or {}).get("spec") or {}) if "template" in spec else spec


def container_of(one: Mapping[str, t.Any]) -> tuple[str, Mapping[str, t.Any]] | None:
    """Return which of Flux's controllers a Deployment or pod runs, and its container; nothing if it runs none.

    Known by the image, else (in a mirror that renames) by the label or the name.
    """
    containers = [c for c in _pod_spec(one).get("containers") or () if isinstance(c, dict)]
    for container in containers:
        name = _base(str(container.get("image") or ""))
        if name in FLAGS:
            return name, container
    metadata = one.get("metadata") or {}
    labels = metadata.get("labels") or {}
    title = str(metadata.get("name") or "")
    # The name may go on: with that of a shard, or of a pod.
    named_so = next((name for name in FLAGS if title == name or title.startswith(f"{name}-")), None)
    for known in (labels.get("app"), labels.get("app.kubernetes.io/component"), named_so):
        if known in FLAGS and containers:
            named = [c for c in containers if c.get("name") == "manager"]
            return str(known), (named or containers)[0]
    return None


def words(container: Mapping[str, t.Any]) -> list[str]:
    """Return the arguments with which a container runs."""
    # Only what comes after the program of a command; the program itself has no hyphens.
    return [str(x) for x in (*(container.get("command") or ()), *(container.get("args") or ()))]


def value_of(arguments_: Sequence[str], flag: str, *, switch: bool = False) -> str | None:
    """Return the value of a flag as the controllers read it: the last one counts; nothing if it is not given.

    :param switch: the flag is true by itself, and takes no argument after it.
    """
    found: str | None = None
    index = 0
    while index < len(arguments_):
        word = arguments_[index]
        index += 1
        if word == "--":
            break
        if word == f"--{flag}":
            if switch:
                found = "true"
            elif index < len(arguments_):
                found = arguments_[index]
                index += 1
        elif word.startswith(f"--{flag}="):
            found = word.partition("=")[2]
    return found


def gates_of(arguments_: Sequence[str]) -> dict[str, bool]:
    """Return the feature gates of a controller; those of several arguments add up."""
    found: dict[str, bool] = {}
    for index, word in enumerate(arguments_):
        if word == "--":
            break
        flag, equals, text = word.partition("=")
        if flag != f"--{_GATES}":
            continue
        if not equals:
            text = arguments_[index + 1] if index + 1 < len(arguments_) else ""
        for part in text.split(","):
            name, _equals, value = part.partition("=")
            if name.strip():
                found[name.strip()] = value.strip() in _TRUE
    return found


def unreadable(container: Mapping[str, t.Any]) -> str:
    """Return why nobody can say which flags a container runs with; empty if they can be read."""
    program = [str(x) for x in container.get("command") or ()][:1]
    if program and program[0].rpartition("/")[2] in _SHELLS:
        return f"is started by {program[0]}, so nobody can say with which arguments."
    for word in words(container):
        flag, _equals, value = word.partition("=")
        if _VARIABLE.search(flag) or (flag == f"--{_GATES}" and _VARIABLE.search(value)):
            return f"takes arguments from the environment ({word}), so nobody can say what they are."
    return ""


def over(one: Mapping[str, t.Any]) -> bool:
    """Return whether a pod has ended: what it ran with does not count any more."""
    return str((one.get("status") or {}).get("phase") or "") in ("Succeeded", "Failed")


# -- judging -------------------------------------------------------------------------------------------------------


def judge_one(one: Mapping[str, t.Any], *, account: str = "") -> list[Finding]:
    """Return what is not locked down of one Deployment or pod; nothing for what runs no controller of Flux.

    :param account: the default ServiceAccount that is expected; any but ``default`` if empty.
    """
    if over(one):
        return []
    containers = [c for c in _pod_spec(one).get("containers") or () if isinstance(c, dict)]
    named = [(_base(str(c.get("image") or "")), c) for c in containers]
    known = container_of(one)
    listed: list[tuple[str, Mapping[str, t.Any]]] = [(name, c) for name, c in named if name in FLAGS]
    listed = listed or ([known] if known else [])
    return [finding for name, c in listed for finding in _judge(one, name, c, account)]


def _judge(one: Mapping[str, t.Any], controller: str, container: Mapping[str, t.Any], account: str) -> list[Finding]:
    given = words(container)
    metadata = one.get("metadata") or {}
    kind = str(one.get("kind") or ("Deployment" if "template" in (one.get("spec") or {}) else "Pod"))
    item = f"{kind} {metadata.get('namespace')}/{metadata.get('name')}"
    gate = gates_of(given).get(WORKLOAD_IDENTITY, False)
    found: list[Finding] = []

    def add(rule: str, flag: str, message: str, fix: str) -> None:
        found.append(Finding(item, rule, controller, flag, message, fix))

    hidden = unreadable(container)
    for flag in flags_of(controller, workload_identity=gate):
        switch = flag in _SWITCHES
        wanted = "true" if switch else account or DEFAULT_SERVICE_ACCOUNT
        fix = f"run {controller} with --{flag}={wanted}: run flux_bootstrap, or add the patch where Git holds Flux."
        value = value_of(given, flag, switch=switch)
        if hidden:
            add("lockdown-unreadable", flag, hidden, fix)
        elif value is not None and _VARIABLE.search(value):
            add(
                "lockdown-unreadable",
                flag,
                f"--{flag} takes its value from the environment ({value}), so nobody can say what it is.",
                fix,
            )
        elif switch and value not in _TRUE:
            add(
                "lockdown-flag",
                flag,
                f"runs without --{flag}." if value is None else f"runs with --{flag}={value}.",
                fix,
            )
        elif not switch and not value:
            add("lockdown-flag", flag, f"runs without --{flag}.", fix)
        elif not switch and (value == "default" or (account and value != account)):
            add(
                "lockdown-account",
                flag,
                f"runs with --{flag}={value}"
                + (", the ServiceAccount of every pod that names none." if value == "default" else f", not {account}."),
                fix,
            )
    if not gate:
        for flag in IDENTITY_FLAGS.get(controller, ()):
            if value_of(given, flag):
                add(
                    "lockdown-gate",
                    flag,
                    f"has --{flag} without the feature gate {WORKLOAD_IDENTITY}: it ends as soon as it starts.",
                    f"take the flag away, or add --feature-gates={WORKLOAD_IDENTITY}=true.",
                )
    return found


def judge(objects: Iterable[Mapping[str, t.Any]], *, account: str = "") -> list[Finding]:
    """Return everything of Flux that is not locked down; an empty list means that the cluster is.

    :param objects: the cluster's Deployments and pods; those that are not of Flux are left alone.
    :param account: the default ServiceAccount that is expected; any but ``default`` if empty.
    """
    known = list(objects)
    found = [finding for one in known for finding in judge_one(one, account=account)]
    if not any((container_of(one) or ("",))[0] == KUSTOMIZE for one in known if not over(one)):
        found.append(
            Finding(
                KUSTOMIZE,
                "lockdown-no-controller",
                KUSTOMIZE,
                "",
                "is not installed, so nothing says that it is locked down.",
                "run flux_bootstrap.",
            )
        )
    return sorted(found)


def running(objects: Iterable[Object]) -> list[str]:
    """Return the names of Flux's controllers among Deployments and pods."""
    return sorted({known[0] for known in (container_of(one) for one in objects if not over(one)) if known})
