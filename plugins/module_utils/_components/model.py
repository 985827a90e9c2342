# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The wanted components of one cluster, checked, in the order in which they are applied."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from .._core.errors import InvalidInput, check
from .recipes import RECIPES, Recipe

#: Which objects of a component are waited for.
READY: t.Final = ("all", "workloads", "none")
DEFAULT_TIMEOUT: t.Final = 300
_NAME: t.Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_NAMESPACE: t.Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SECRET: t.Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_CRD: t.Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+")
_HOLE: t.Final = re.compile(r"\{([^{}]*)\}")
#: Names of inventories that are not a component's.
RESERVED: t.Final = frozenset({"namespaces"})
_TLS_END: t.Final = "-tls"
_NOTHING: t.Final[Mapping[str, t.Any]] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Wait:
    """When the next may come.

    :ivar probe: an object that is dry-run until the webhooks that concern it have answered.
    """

    ready: str = "workloads"
    timeout: float = DEFAULT_TIMEOUT
    crds: tuple[str, ...] = ()
    webhooks: tuple[str, ...] = ()
    probe: Mapping[str, t.Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class TlsSecret:
    """A Kubernetes Secret of the type ``kubernetes.io/tls`` that is made from files."""

    name: str
    namespace: str
    certificate_file: str
    key_file: str
    ca_file: str
    passphrase: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class Component:
    """One component.

    :ivar item: the option that it comes from, for messages.
    :ivar needs: names of those in the same list that come before.
    :ivar manifests: entries of the option ``manifests``, with the version filled in.
    """

    name: str
    item: str
    version: str = ""
    namespace: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ()
    wait: Wait = dataclasses.field(default_factory=Wait)
    manifests: tuple[Mapping[str, t.Any], ...] = ()
    objects: tuple[Mapping[str, t.Any], ...] = ()
    tls: tuple[TlsSecret, ...] = ()

    @property
    def inventory(self) -> str:
        """Name of its ownership record."""
        return f"platform-{self.name}"

    @property
    def title(self) -> str:
        """Name and version, for reports."""
        return f"{self.name} {self.version}".rstrip()


def parse(raw: Sequence[Mapping[str, t.Any]], item: str = "components") -> list[Component]:
    """Return the components, those first that others need; else in the order given.

    :raises InvalidInput: for the first that breaks a rule.
    """
    names = [str(one.get("name") or "") for one in raw]
    found: dict[str, Component] = {}
    for index, one in enumerate(raw):
        where = f"{item}[{index}]"
        component = _component(one, where, names)
        check(
            component.name not in found,
            f"the component {component.name} is given twice.",
            item=f"{where}.name",
            rule="component-duplicate",
            fix="keep one; several manifests of one component go into its list manifests.",
        )
        found[component.name] = component
    return _ordered(found, {one.name: _hard(one, raw, names) for one in found.values()})


def _hard(component: Component, raw: Sequence[Mapping[str, t.Any]], names: Sequence[str]) -> frozenset[str]:
    return frozenset(str(name) for name in raw[names.index(component.name)].get("needs") or ())


def _component(one: Mapping[str, t.Any], where: str, names: Sequence[str]) -> Component:
    name = str(one.get("name") or "")
    check(
        _NAME.fullmatch(name) and name not in RESERVED and not name.endswith(_TLS_END),
        f"{name!r} is not a usable name.",
        item=f"{where}.name",
        rule="component-name",
        fix="use lower-case letters, digits and dashes, at most 40, and neither 'namespaces' nor '-tls' at the end.",
    )
    preset = str(one.get("preset") or "")
    check(
        not preset or preset in RECIPES,
        f"there is no preset {preset}.",
        item=f"{where}.preset",
        rule="component-preset",
        fix=f"choose one of {', '.join(RECIPES)}, or leave it out and set namespace, needs and wait.",
    )
    recipe = RECIPES.get(preset or name)
    namespace = str(one.get("namespace") or (recipe.namespace if recipe else ""))
    check(
        not namespace or _NAMESPACE.fullmatch(namespace),
        f"{namespace!r} is not the name of a namespace.",
        item=f"{where}.namespace",
        rule="component-namespace",
        fix="use lower-case letters, digits and dashes.",
    )
    given = one.get("needs")
    for index, need in enumerate(given or ()):
        check(
            need in names,
            f"{name} needs {need}, which is not among the components of this cluster.",
            item=f"{where}.needs[{index}]",
            rule="component-needs",
            fix=f"add it, or choose among {', '.join(sorted(set(names) - {name})) or 'none'}.",
        )
    needs = tuple(str(n) for n in given) if given is not None else ()
    if recipe and given is None:
        needs = tuple(need for need in recipe.needs if need in names and need != name)
    objects = tuple(one.get("objects") or ())
    version = str(one.get("version") or "")
    manifests = tuple(
        _manifest(entry, version, f"{where}.manifests[{index}]")
        for index, entry in enumerate(one.get("manifests") or ())
    )
    check(
        manifests or objects,
        f"{name} has neither manifests nor objects.",
        item=where,
        rule="component-empty",
        fix="give manifests with path or url, and sha256.",
    )
    labels = one.get("namespace_labels")
    if labels is None:
        labels = recipe.labels if recipe else _NOTHING
    check(
        not labels or namespace,
        "there are labels for a namespace, but none is named.",
        item=f"{where}.namespace_labels",
        rule="component-namespace-labels",
        fix="set namespace.",
    )
    tls = tuple(
        _tls(entry, namespace, f"{where}.tls_secrets[{i}]") for i, entry in enumerate(one.get("tls_secrets") or ())
    )
    return Component(
        name=name,
        item=where,
        version=version,
        namespace=namespace,
        labels={str(k): str(v) for k, v in labels.items()},
        needs=needs,
        wait=_wait(one.get("wait") or {}, recipe, f"{where}.wait"),
        manifests=manifests,
        objects=objects,
        tls=tls,
    )


def _manifest(entry: Mapping[str, t.Any], version: str, where: str) -> Mapping[str, t.Any]:
    check(
        bool(entry.get("path")) != bool(entry.get("url")),
        "a manifest has either a path or an address.",
        item=where,
        rule="manifest-source",
        fix="give one of path and url.",
    )
    check(
        entry.get("sha256"),
        "the manifest is not pinned.",
        item=f"{where}.sha256",
        rule="manifest-unpinned",
        fix="read the file, then pin it: sha256sum FILE.",
    )
    result = dict(entry)
    for key in ("path", "url"):
        if entry.get(key):
            result[key] = _filled(str(entry[key]), version, f"{where}.{key}")
    return result


def _filled(text: str, version: str, where: str) -> str:
    """Return *text* with the version in place of ``{version}``."""
    holes = set(_HOLE.findall(text))
    check(
        holes <= {"version"},
        f"{{{next(iter(sorted(holes - {'version'})), '')}}} stands for nothing.",
        item=where,
        rule="manifest-placeholder",
        fix="only {version} is filled in.",
    )
    check(
        not holes or version,
        "{version} is to be filled in, and the component has none.",
        item=where,
        rule="manifest-version",
        fix="set version.",
    )
    return text.replace("{version}", version)


def _wait(raw: Mapping[str, t.Any], recipe: Recipe | None, where: str) -> Wait:
    known = recipe or Recipe()
    ready = raw.get("ready") or known.ready
    check(
        ready in READY,
        f"{ready!r} is not known.",
        item=f"{where}.ready",
        rule="wait-ready",
        fix=f"choose one of {', '.join(READY)}.",
    )
    timeout = DEFAULT_TIMEOUT if raw.get("timeout") is None else raw["timeout"]
    check(
        isinstance(timeout, int) and not isinstance(timeout, bool) and 1 <= timeout <= 7200,
        f"{timeout!r} is no number of seconds from 1 to 7200.",
        item=f"{where}.timeout",
        rule="wait-timeout-range",
        fix="give seconds as a whole number.",
    )
    crds = known.crds if raw.get("crds") is None else tuple(str(c) for c in raw["crds"])
    for index, crd in enumerate(crds):
        check(
            _CRD.fullmatch(crd),
            f"{crd!r} is not the name of a CustomResourceDefinition.",
            item=f"{where}.crds[{index}]",
            rule="wait-crd",
            fix="write PLURAL.GROUP, as kubectl get crds shows it.",
        )
    webhooks = known.webhooks if raw.get("webhooks") is None else tuple(str(w) for w in raw["webhooks"])
    probe = known.probe if raw.get("probe") is None else raw["probe"]
    metadata = probe.get("metadata") if isinstance(probe, Mapping) else None
    check(
        not probe
        or (isinstance(metadata, Mapping) and metadata.get("name") and probe.get("apiVersion") and probe.get("kind")),
        "the probe is no object with apiVersion, kind and metadata.name.",
        item=f"{where}.probe",
        rule="wait-probe",
        fix="give an object that the webhooks are to judge; it is only dry-run.",
    )
    # A plain dict: those of presets are read-only, and JSON does not know them.
    return Wait(ready=ready, timeout=float(timeout), crds=crds, webhooks=webhooks, probe=dict(probe))


def _tls(raw: Mapping[str, t.Any], namespace: str, where: str) -> TlsSecret:
    name = str(raw.get("name") or "")
    space = str(raw.get("namespace") or namespace)
    check(
        _SECRET.fullmatch(name) and space,
        "the Kubernetes Secret has no usable name or no namespace.",
        item=where,
        rule="tls-secret-name",
        fix="give name, and namespace here or for the component.",
    )
    return TlsSecret(
        name=name,
        namespace=space,
        certificate_file=str(raw.get("certificate_file") or ""),
        key_file=str(raw.get("key_file") or ""),
        ca_file=str(raw.get("ca_file") or ""),
        passphrase=str(raw.get("key_passphrase") or ""),
    )


def _ordered(found: Mapping[str, Component], hard: Mapping[str, frozenset[str]]) -> list[Component]:
    """Return those first that others need; else in the order given. Only what the user wrote can be a circle."""
    result: dict[str, Component] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in result:
            return
        if name in path:
            circle = (*path[path.index(name) :], name)
            raise InvalidInput(
                f"the components need each other: {' -> '.join(circle)}.",
                item=f"{found[name].item}.needs",
                rule="component-circle",
                fix="take one of these needs out.",
            )
        for need in found[name].needs:
            written = need in hard[name]
            if not written and _leads(found, need, name):
                continue  # the user wants it the other way round than the preset
            visit(need, (*path, name))
        result[name] = found[name]

    for name in found:
        visit(name, ())
    return list(result.values())


def _leads(found: Mapping[str, Component], start: str, goal: str) -> bool:
    """Return whether *start* needs *goal*, itself or through others."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            todo += found[name].needs
    return False
