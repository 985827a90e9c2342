# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Which ExternalSecrets and stores of a cluster have to be touched so that External Secrets looks at them now."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Collection, Iterable, Mapping, Sequence

from .._core.errors import check
from .._core.plan import Change, Plan

GROUP: t.Final = "external-secrets.io"
#: Versions of the custom resources, the newest first; v1 came with External Secrets 0.16.
VERSIONS: t.Final = ("v1", "v1beta1")
#: Any change of an ExternalSecret's annotations makes External Secrets read its OpenBao secret again; this is the
#: annotation that its documentation names.
ANNOTATION: t.Final = "force-sync"
SELECTIONS: t.Final = ("not_ready", "all")

_NAMESPACE: t.Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_URL: t.Final = re.compile(r"URL:\s+([A-Z]+)\s+https?://[^/\s]+(/\S*)")
_CODE: t.Final = re.compile(r"Code:\s+(\d{3})")
_SEALED: t.Final = re.compile(r"\b(?:Vault|OpenBao) is sealed\b")

Object = Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which ExternalSecrets are meant.

    :ivar which: ``not_ready`` or ``all``.
    :ivar labels: a label selector, applied by the server.
    :ivar namespaces: only these; empty means all.
    """

    which: str = "not_ready"
    labels: str = ""
    namespaces: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Item:
    """An ExternalSecret or a store, as far as it matters here.

    :ivar kind: ``ExternalSecret``, ``SecretStore`` or ``ClusterSecretStore``.
    :ivar namespace: empty for a ClusterSecretStore.
    :ivar synced: version of the object that External Secrets has worked on last.
    :ivar once: it is read once only, so that a nudge does nothing as long as it is Ready.
    """

    kind: str
    namespace: str
    name: str
    ready: bool
    reason: str = ""
    message: str = ""
    stores: tuple[tuple[str, str, str], ...] = ()
    synced: str = ""
    once: bool = False

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.namespace, self.name

    @property
    def why(self) -> str:
        if self.ready:
            return "Ready, nudged because all were asked for"
        return f"not Ready: {self.reason}" if self.reason else "not Ready yet"


@dataclasses.dataclass(frozen=True)
class Nudge:
    """What is touched on one cluster: the stores first, since External Secrets reads nothing through a store that is
    not Ready."""

    cluster: str
    stores: tuple[Item, ...]
    secrets: tuple[Item, ...]
    healthy: int

    def behind_stores(self) -> tuple[Item, ...]:
        """Return the ExternalSecrets that read through a store that is not Ready."""
        broken = {item.key for item in self.stores}
        return tuple(item for item in self.secrets if broken.intersection(item.stores))

    def only(self, items: Collection[Item]) -> Nudge:
        """Return what is left of it without all but *items*."""
        stores, secrets = ([one for one in all_of_them if one in items] for all_of_them in (self.stores, self.secrets))
        return dataclasses.replace(self, stores=tuple(stores), secrets=tuple(secrets))

    def plan(self) -> Plan:
        """Return the changes: stores, then ExternalSecrets."""
        plan = Plan(unchanged=self.healthy)
        for item in (*self.stores, *self.secrets):
            plan.add(
                Change(
                    item.kind,
                    f"{self.cluster} {item.title}",
                    "update",
                    before={"ready": item.ready},
                    after={"ready": item.ready, ANNOTATION: "(now)"},
                    why=item.why,
                    public=frozenset({"ready", ANNOTATION}),
                )
            )
        return plan


def selection(which: str, labels: str | None, namespaces: Sequence[str] | None) -> Selection:
    """Return what is meant, checked.

    :raises InvalidInput: rules ``namespace``, ``label-selector``.
    """
    for index, name in enumerate(namespaces or ()):
        check(
            _NAMESPACE.fullmatch(name),
            f"{name!r} is no name of a namespace.",
            item=f"namespaces[{index}]",
            rule="namespace",
            fix="small letters, digits and hyphens.",
        )
    text = (labels or "").strip()
    check(
        labels is None or text,
        "is empty.",
        item="label_selector",
        rule="label-selector",
        fix="leave it out, or give a selector as team=web.",
    )
    return Selection(which, text, frozenset(namespaces or ()))


def secret(raw: Object) -> Item | None:
    """Return an ExternalSecret, ``None`` if it is being deleted."""
    metadata, spec, status = raw.get("metadata") or {}, raw.get("spec") or {}, raw.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return None
    namespace = str(metadata.get("namespace") or "")
    synced = str(status.get("syncedResourceVersion") or "")
    ready, reason, message = _ready(status)
    once = spec.get("refreshPolicy") == "CreatedOnce" or (
        spec.get("refreshPolicy") in (None, "Periodic") and str(spec.get("refreshInterval", "")) in ("0", "0s")
    )
    return Item(
        "ExternalSecret",
        namespace,
        str(metadata.get("name")),
        ready=ready,
        reason=reason,
        message=message,
        stores=tuple(sorted(_references(spec, namespace))),
        synced=synced,
        once=once and bool(synced),
    )


def store(raw: Object) -> Item | None:
    """Return a SecretStore or ClusterSecretStore (the one without a namespace); ``None`` if it is being deleted."""
    metadata = raw.get("metadata") or {}
    if metadata.get("deletionTimestamp"):
        return None
    namespace = str(metadata.get("namespace") or "")
    ready, reason, message = _ready(raw.get("status") or {})
    kind = "SecretStore" if namespace else "ClusterSecretStore"
    return Item(kind, namespace, str(metadata.get("name")), ready=ready, reason=reason, message=message)


def _ready(status: Object) -> tuple[bool, str, str]:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "Ready":
            return (
                condition.get("status") == "True",
                str(condition.get("reason") or ""),
                str(condition.get("message") or ""),
            )
    return False, "", ""


def _references(spec: Object, namespace: str) -> set[tuple[str, str, str]]:
    """Return the stores that an ExternalSecret reads through, each as kind, namespace and name."""
    raw = [spec.get("secretStoreRef"), *((entry.get("sourceRef") or {}).get("storeRef") for entry in _sources(spec))]
    found: set[tuple[str, str, str]] = set()
    for reference in raw:
        if not isinstance(reference, Mapping) or not reference.get("name"):
            continue
        kind = str(reference.get("kind") or "SecretStore")
        found.add((kind, "" if kind == "ClusterSecretStore" else namespace, str(reference["name"])))
    return found


def _sources(spec: Object) -> list[Object]:
    return [entry for key in ("data", "dataFrom") for entry in spec.get(key) or [] if isinstance(entry, Mapping)]


def choose(cluster: str, secrets: Iterable[Item], stores: Iterable[Item], wanted: Selection) -> Nudge:
    """Return what has to be touched on a cluster."""
    meant = [s for s in secrets if not wanted.namespaces or s.namespace in wanted.namespaces]
    chosen = [s for s in meant if not s.ready or (wanted.which == "all" and not s.once)]
    used = {reference for item in chosen for reference in item.stores}
    broken = [s for s in stores if not s.ready and s.key in used]
    return Nudge(
        cluster,
        tuple(sorted(broken, key=lambda s: s.key)),
        tuple(sorted(chosen, key=lambda s: s.key)),
        len(meant) - len(chosen),
    )


def late(nudged: Collection[Item], now: Iterable[Item]) -> list[Item]:
    """Return those of *nudged*, as they are *now*, that have not become Ready since; what is gone is left out.

    One that was Ready before has to have been worked on since.
    """
    before = {item.key: item for item in nudged}
    return [
        item
        for item in now
        if item.key in before
        and (
            not item.ready or (before[item.key].ready and bool(item.synced) and item.synced == before[item.key].synced)
        )
    ]


def causes(events: Iterable[Object]) -> dict[tuple[str, str], str]:
    """Return what OpenBao answered last to each ExternalSecret, by namespace and name, out of the cluster's events.

    External Secrets writes the answer into events only; its condition says that something went wrong. Nothing but
    the request's method and path and the status is taken, since texts of templates could quote an OpenBao secret.
    """
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for event in events:
        about = event.get("involvedObject") or {}
        text = cause(str(event.get("message") or ""))
        when = str(event.get("lastTimestamp") or event.get("eventTime") or "")
        key = (str(about.get("namespace") or ""), str(about.get("name") or ""))
        if text and (key not in found or found[key][0] <= when):
            found[key] = (when, text)
    return {key: text for key, (_when, text) in found.items()}


def cause(message: str) -> str:
    """Return what OpenBao answered, out of an error of its Go client; empty if it is none."""
    if _SEALED.search(message):
        return "OpenBao is sealed"
    url, code = _URL.search(message), _CODE.search(message)
    if not url or not code:
        return ""
    return f"OpenBao answers {code.group(1)} to {url.group(1)} {url.group(2).partition('?')[0]}"
