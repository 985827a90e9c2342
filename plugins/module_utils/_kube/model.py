# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is wanted: objects, checked completely before anything is read from or written to a cluster."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .._core.errors import InvalidInput, check
from . import redact
from .normalise import Object, comparable, digest, is_secret, wanted_body

MANAGER: t.Final = "hackspace.infra"
DEFAULT_LABEL_DOMAIN: t.Final = "infra.hackspace.org"
_LABEL_VALUE: t.Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?")
_NAMESPACE: t.Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DOMAIN: t.Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@dataclasses.dataclass(frozen=True)
class Resource:
    """A kind as a cluster serves it, or as a CustomResourceDefinition of the same call promises it.

    :ivar served: ``False`` while only the promise exists.
    :ivar has_status: it has a status subresource, so that a status in a manifest means nothing.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    has_status: bool = False
    served: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_kind(self) -> tuple[str, str]:
        return self.group, self.kind

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return the URL path of a collection (cluster-wide if no namespace is given) or of one object."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        return "/".join(parts)


@dataclasses.dataclass(frozen=True, order=True)
class ObjectId:
    """Which object, whatever its version."""

    group: str
    kind: str
    namespace: str
    name: str

    @property
    def group_kind(self) -> tuple[str, str]:
        return self.group, self.kind

    @property
    def title(self) -> str:
        """The name within its kind, as reports show it."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind} {self.title}"

    @classmethod
    def of(cls, body: Mapping[str, t.Any]) -> ObjectId:
        """Return which object a manifest is; it has ``apiVersion``, ``kind``, and ``metadata`` with a ``name``."""
        meta = body["metadata"]
        group = str(body["apiVersion"]).rpartition("/")[0]
        return cls(group, str(body["kind"]), str(meta.get("namespace") or ""), str(meta["name"]))

    @classmethod
    def parse(cls, text: str) -> ObjectId | None:
        """Return the id that :meth:`__str__` wrote, ``None`` if it is not one."""
        kind, space, title = text.strip().partition(" ")
        if not kind or not space or not title or " " in title:
            return None
        kind, _other, group = kind.partition(".")
        namespace, slash, name = title.rpartition("/")
        if not name or (slash and not namespace) or "/" in namespace:
            return None
        return cls(group, kind, namespace, name)


class Discovery:
    """The kinds a cluster serves, and those that it will serve before they are needed.

    :param promised: kinds that definitions make which are applied before; only :meth:`find` knows them.
    """

    def __init__(self, resources: Iterable[Resource], promised: Iterable[Resource] = ()) -> None:
        self._by_version: dict[tuple[str, str], Resource] = {}
        self._by_kind: dict[tuple[str, str], Resource] = {}
        self._promised = {(one.api_version, one.kind): one for one in promised}
        for one in resources:
            self._by_version.setdefault((one.api_version, one.kind), one)
            self._by_kind.setdefault(one.group_kind, one)

    def promising(self, resources: Iterable[Resource]) -> Discovery:
        """Return the same with more kinds that will be served."""
        return Discovery(self._by_version.values(), (*self._promised.values(), *resources))

    def find(self, api_version: str, kind: str) -> Resource | None:
        return self._by_version.get((api_version, kind)) or self._promised.get((api_version, kind))

    def plural(self, group: str, name: str) -> Resource | None:
        """Return the kind that a group serves under the plural *name*."""
        return next((one for one in self._by_kind.values() if (one.group, one.plural) == (group, name)), None)

    def preferred(self, group: str, kind: str) -> Resource | None:
        return self._by_kind.get((group, kind))

    def versions(self, kind: str) -> list[str]:
        """Return the API versions that serve *kind*, for error messages."""
        return sorted(v for v, k in self._by_version if k == kind)

    @classmethod
    def parse(cls, *documents: Mapping[str, t.Any]) -> Discovery:
        """Return what aggregated discovery documents (``/api`` and ``/apis``) list."""
        return cls(_resources(documents))


def _resources(documents: Iterable[Mapping[str, t.Any]]) -> Iterator[Resource]:
    for document in documents:
        for group in document.get("items") or []:
            for version in group.get("versions") or []:
                for one in version.get("resources") or []:
                    kind = one.get("responseKind") or {}
                    if not kind.get("kind"):
                        continue
                    yield Resource(
                        group=str((group.get("metadata") or {}).get("name") or ""),
                        version=str(version.get("version")),
                        kind=str(kind["kind"]),
                        plural=str(one.get("resource")),
                        namespaced=one.get("scope") == "Namespaced",
                        has_status=any(s.get("subresource") == "status" for s in one.get("subresources") or []),
                    )


@dataclasses.dataclass(frozen=True)
class Inventory:
    """The ownership record and the marks on objects.

    :ivar name: value of the ownership label; unique in a cluster.
    :ivar namespace: where the record (a ConfigMap) lives.
    """

    name: str
    namespace: str
    label_domain: str = DEFAULT_LABEL_DOMAIN

    @property
    def label(self) -> str:
        return f"{self.label_domain}/inventory"

    @property
    def record_label(self) -> str:
        return f"{self.label_domain}/inventory-record"

    @property
    def applied(self) -> str:
        """Annotation with the hash of what was applied last."""
        return f"{self.label_domain}/applied"

    @property
    def prune(self) -> str:
        """Annotation that keeps an object from being pruned (value ``disabled``)."""
        return f"{self.label_domain}/prune"

    @property
    def selector(self) -> str:
        return f"{self.label}={self.name}"

    @property
    def record_id(self) -> ObjectId:
        return ObjectId("", "ConfigMap", self.namespace, f"hackspace-inventory-{self.name}")

    def checked(self) -> Inventory:
        """Return self, or raise :class:`InvalidInput`."""
        check(
            _LABEL_VALUE.fullmatch(self.name),
            f"{self.name!r} is not a usable name.",
            item="inventory.name",
            rule="inventory-name",
            fix="use lower-case letters, digits and dashes, at most 52.",
        )
        check(
            _NAMESPACE.fullmatch(self.namespace),
            f"{self.namespace!r} is not the name of a namespace.",
            item="inventory.namespace",
            rule="inventory-namespace",
            fix="name the namespace in which the record is to live.",
        )
        check(
            _DOMAIN.fullmatch(self.label_domain) and len(self.label_domain) <= 200,
            f"{self.label_domain!r} is not a DNS name.",
            item="label_domain",
            rule="label-domain",
            fix="give a domain such as infra.example.org.",
        )
        return self


@dataclasses.dataclass(frozen=True)
class Source:
    """One object as the user wrote it, and where (``objects[2]``, ``install.yaml document 3``)."""

    body: t.Any
    where: str


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One object to apply.

    :ivar body: what is sent, with the ownership label and the annotation of the hash.
    """

    id: ObjectId
    resource: Resource
    body: Object = dataclasses.field(repr=False, compare=False)
    where: str = ""
    hidden: tuple[redact.Path, ...] = ()


def expand(sources: Iterable[Source]) -> Iterator[Source]:
    """Yield *sources* with lists (``kind: List``, ``kind: ConfigMapList`` with items) taken apart."""
    for source in sources:
        body = source.body
        if (
            isinstance(body, dict)
            and str(body.get("kind") or "").endswith("List")
            and isinstance(body.get("items"), list)
            and "metadata" not in {k for k in body if k == "metadata" and (body[k] or {}).get("name")}
        ):
            kind = str(body["kind"])[: -len("List")]
            for index, item in enumerate(body["items"]):
                one = item
                if kind and isinstance(item, dict):
                    one = {"apiVersion": body.get("apiVersion"), "kind": kind, **item}
                yield from expand([Source(one, f"{source.where}.items[{index}]")])
        else:
            yield source


def promised(sources: Iterable[Source]) -> list[Resource]:
    """Return the kinds that CustomResourceDefinitions among *sources* will make."""
    result = []
    for source in sources:
        body = source.body
        if not isinstance(body, dict) or body.get("kind") != "CustomResourceDefinition":
            continue
        spec = body.get("spec")
        if not isinstance(spec, dict) or not isinstance(spec.get("names"), dict):
            continue
        for version in spec.get("versions") or []:
            if isinstance(version, dict) and version.get("served"):
                result.append(
                    Resource(
                        group=str(spec.get("group") or ""),
                        version=str(version.get("name") or ""),
                        kind=str(spec["names"].get("kind") or ""),
                        plural=str(spec["names"].get("plural") or ""),
                        namespaced=spec.get("scope") == "Namespaced",
                        has_status="status" in (version.get("subresources") or {}),
                        served=False,
                    )
                )
    return result


def parse(
    sources: Sequence[Source],
    discovery: Discovery,
    inventory: Inventory,
    *,
    default_namespace: str | None = None,
    hidden_fields: Sequence[str] = (),
) -> list[Wanted]:
    """Check every object and return what is to be applied, in the order given.

    :raises InvalidInput: for the first object that breaks a rule.
    """
    rules = redact.parse_rules(hidden_fields)
    listed = list(expand(sources))
    promises = {(r.api_version, r.kind): r for r in promised(listed)}
    result: list[Wanted] = []
    seen: dict[ObjectId, str] = {}
    for source in listed:
        one = _one(source, discovery, promises, inventory, default_namespace=default_namespace, rules=rules)
        check(
            one.id not in seen,
            f"{one.id} is declared twice, here and in {seen.get(one.id)}.",
            item=source.where,
            rule="object-duplicate",
            fix="keep one of the two.",
        )
        check(
            one.id != inventory.record_id,
            f"{one.id} is the ownership record itself.",
            item=source.where,
            rule="object-is-record",
            fix="leave it out; the module writes it.",
        )
        seen[one.id] = source.where
        result.append(one)
    return result


def _one(
    source: Source,
    discovery: Discovery,
    promises: Mapping[tuple[str, str], Resource],
    inventory: Inventory,
    *,
    default_namespace: str | None,
    rules: Sequence[redact.Rule],
) -> Wanted:
    where = source.where
    check(
        isinstance(source.body, dict) and source.body,
        "this is not an object (a map with apiVersion, kind and metadata).",
        item=where,
        rule="object-empty",
        fix="remove the empty or stray document.",
    )
    body: Object = source.body
    for field in ("apiVersion", "kind"):
        check(
            isinstance(body.get(field), str) and body[field],
            f"{field} is missing.",
            item=where,
            rule="object-" + ("api-version" if field == "apiVersion" else "kind"),
            fix=f"add {field}.",
        )
    api_version, kind = str(body["apiVersion"]), str(body["kind"])
    metadata = body.get("metadata")
    check(
        isinstance(metadata, dict),
        f"{kind} has no metadata.",
        item=where,
        rule="object-name",
        fix="add metadata with a name.",
    )
    if not isinstance(metadata, dict):
        raise TypeError("checked above")
    check(
        not metadata.get("generateName"),
        f"{kind} uses generateName, so every run would make another one.",
        item=where,
        rule="object-generate-name",
        fix="give metadata.name.",
    )
    name = metadata.get("name")
    check(
        isinstance(name, str) and name and "/" not in name and "%" not in name,
        f"{kind} has no usable metadata.name.",
        item=where,
        rule="object-name",
        fix="give metadata.name as a string.",
    )
    for field in ("labels", "annotations"):
        value = metadata.get(field)
        check(
            value is None or (isinstance(value, dict) and all(isinstance(v, str) for v in value.values())),
            f"{kind} {name}: metadata.{field} must be a map of strings.",
            item=where,
            rule=f"object-{field}",
            fix='quote numbers and booleans ("true", "1").',
        )
    resource = discovery.find(api_version, kind) or promises.get((api_version, kind))
    if resource is None:
        others = discovery.versions(kind)
        raise InvalidInput(
            f"the cluster does not know {api_version} {kind} ({name}).",
            item=where,
            rule="object-unknown-kind",
            fix=(
                f"use {' or '.join(others)}."
                if others
                else "apply its CustomResourceDefinition first or in the same call; check the spelling."
            ),
        )
    namespace = str(metadata.get("namespace") or "")
    if resource.namespaced:
        namespace = namespace or (default_namespace or "")
        check(
            _NAMESPACE.fullmatch(namespace),
            f"{kind} {name} has no usable namespace.",
            item=where,
            rule="object-namespace",
            fix="give metadata.namespace, or default_namespace.",
        )
    else:
        check(
            not namespace,
            f"{kind} {name} belongs to the whole cluster and cannot have the namespace {namespace}.",
            item=where,
            rule="object-cluster-scoped",
            fix="remove metadata.namespace.",
        )
    labels = metadata.get("labels") or {}
    check(
        labels.get(inventory.label, inventory.name) == inventory.name,
        f"{kind} {name} carries the ownership label of the inventory {labels.get(inventory.label)}.",
        item=where,
        rule="object-other-inventory",
        fix=f"remove the label {inventory.label}.",
    )
    if kind == "CustomResourceDefinition":
        spec = body.get("spec")
        names = spec.get("names") if isinstance(spec, dict) else None
        check(
            isinstance(spec, dict) and isinstance(names, dict) and spec.get("group") and names.get("kind"),
            f"{kind} {name} lacks spec.group or spec.names.kind.",
            item=where,
            rule="crd-names",
            fix="give both.",
        )
    secret = is_secret(resource.group, kind)
    if secret:
        for field in ("data", "stringData"):
            value = body.get(field)
            check(
                value is None or (isinstance(value, dict) and all(isinstance(v, str) for v in value.values())),
                f"Kubernetes Secret {name}: {field} must be a map of strings.",
                item=where,
                rule="secret-data",
                fix="quote numbers and booleans; data is base64, stringData is plain text.",
            )
    final = wanted_body(body, secret=secret, drop_status=resource.has_status)
    hidden = redact.paths_for(rules, kind=kind, secret=secret)
    meta = final["metadata"]
    if resource.namespaced:
        meta["namespace"] = namespace
    meta["labels"] = {**(meta.get("labels") or {}), inventory.label: inventory.name}
    annotations = {k: v for k, v in (meta.get("annotations") or {}).items() if k != inventory.applied}
    meta["annotations"] = annotations
    annotations[inventory.applied] = digest(comparable(redact.without(final, hidden)))
    return Wanted(
        id=ObjectId(resource.group, kind, namespace if resource.namespaced else "", str(name)),
        resource=resource,
        body=final,
        where=where,
        hidden=hidden,
    )
