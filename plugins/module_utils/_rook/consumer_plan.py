# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Plans one consumer's cluster: objects, Ceph keys, monitors that moved, StorageClasses that differ, one restart.

The ConfigMap with the monitors belongs to Rook's operator, which writes it whole and so wipes out any mark of ours: it
is never among the owned objects. What the operator must notice it notices by a restart; which restart is due stands in
a ConfigMap of ours until the operator's Deployment has it, so that a run that is cut off loses none and makes none
twice.
"""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Collection, Iterator, Mapping

from .._core.errors import HackspaceError, check
from .._core.plan import Change, Plan
from .._core.redact import Secret, fingerprint
from .._eso import model as eso_model
from .._eso import stores as eso_stores
from .._kube import engine
from .._kube.model import DEFAULT_LABEL_DOMAIN, Inventory, Source
from .._kube.normalise import Object
from .._kube.plan import Options, Planned
from .._kube.ports import Page, View, listed
from . import classes, delivery, names, objects
from . import monitors as mons
from .classes import Difference
from .model import Consumer
from .monitors import Drift, Monitor
from .ports import Cluster
from .schema import DIRECT

STATE: t.Final = "hackspace-ceph-consumer"
OPERATOR: t.Final = "rook-ceph-operator"
_CLASSES: t.Final = "/apis/storage.k8s.io/v1/storageclasses"
_IS_DEFAULT: t.Final = "storageclass.kubernetes.io/is-default-class"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What holds for all consumers.

    :ivar stores: cluster -> options of the SecretStore; a cluster without has one already.
    :ivar recreate: names of StorageClasses that may be made again.
    """

    fsid: str
    monitors: tuple[Monitor, ...]
    keys: Mapping[str, Secret] = dataclasses.field(repr=False)
    options: Options = dataclasses.field(default_factory=Options)
    kv_prefix: str = "tenants"
    store: str = "openbao"
    stores: Mapping[str, Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)
    recreate: frozenset[str] = frozenset()
    restart: bool = True
    domain: str = DEFAULT_LABEL_DOMAIN


@dataclasses.dataclass(frozen=True)
class Rewrite:
    """Write the ConfigMap with the monitors: make it, or change its text."""

    path: str
    text: str
    body: Object | None = None
    version: str = ""


@dataclasses.dataclass(frozen=True)
class Restart:
    """Let the operator start anew, once for each stamp."""

    path: str
    annotation: str
    stamp: str


@dataclasses.dataclass(frozen=True)
class Recreate:
    """Delete a StorageClass that is made again at once."""

    path: str
    uid: str


@dataclasses.dataclass
class Prepared:
    """What is to be done for one consumer.

    :ivar first: changes before the objects, :ivar last: after them.
    """

    consumer: Consumer
    planned: Planned
    first: list[Change]
    last: list[Change]
    drift: Drift
    differences: list[Difference]
    warnings: list[str]

    @property
    def plan(self) -> Plan:
        """Return all of it as one plan."""
        return Plan(
            changes=[*self.first, *self.planned.plan.changes, *self.last],
            unchanged=self.planned.plan.unchanged,
            foreign=list(self.planned.plan.foreign),
            warnings=[*self.planned.plan.warnings, *self.warnings],
        )


class _Without(View):
    """A cluster as it will be when some StorageClasses are deleted."""

    def __init__(self, api: Cluster, gone: Collection[str]) -> None:
        super().__init__(api)
        self._gone = frozenset(gone)

    def _is_gone(self, path: str) -> bool:
        return path.startswith(f"{_CLASSES}/") and path.rpartition("/")[2] in self._gone

    def get(self, path: str) -> Object | None:
        return None if self._is_gone(path) else super().get(path)

    def pages(self, path: str, *, selector: str = "", metadata_only: bool = False) -> Iterator[Page]:
        for page in super().pages(path, selector=selector, metadata_only=metadata_only):
            left = [one for one in page.items if path != _CLASSES or one["metadata"]["name"] not in self._gone]
            yield Page(left, page.remaining)

    def apply(self, path: str, body: Mapping[str, t.Any], *, dry_run: bool = False, force: bool = False) -> Object:
        if dry_run and self._is_gone(path):
            return dict(body)
        return super().apply(path, body, dry_run=dry_run, force=force)


def check_recreate(consumers: Collection[Consumer], names: Collection[str]) -> None:
    """Refuse to make StorageClasses again that nobody declares.

    :raises InvalidInput: rule ``storage-class-unknown``.
    """
    unknown = sorted(set(names) - {each.storage_class for one in consumers for each in one.classes})
    check(
        not unknown,
        f"{', '.join(unknown)}: no consumer has such a StorageClass.",
        item="recreate_storage_classes",
        rule="storage-class-unknown",
        fix="name StorageClasses that the inventory declares.",
    )


def prepare(api: Cluster, consumer: Consumer, settings: Settings) -> Prepared:
    """Read and plan; nothing is written.

    :raises HackspaceError: when the cluster can't be asked, or what is wanted there is refused.
    """
    item = f"consumer {consumer.name} ({consumer.cluster})"
    try:
        return _prepare(api, consumer, settings)
    except HackspaceError as error:
        error.item = f"{item}: {error.item}" if error.item else item
        raise


def _prepare(api: Cluster, consumer: Consumer, settings: Settings) -> Prepared:
    space = f"/api/v1/namespaces/{consumer.namespace}/configmaps"
    live_classes = {str(one["metadata"]["name"]): one for one in listed(api, _CLASSES)}
    wanted_classes = objects.storage_classes(consumer)
    differences = classes.differences(wanted_classes, live_classes, settings.recreate)
    again = [one for one in differences if one.recreate]
    left = [one for one in differences if not one.recreate]
    rewrite, drift = _monitors(api.get(f"{space}/{objects.ENDPOINTS}"), consumer, settings)
    state = _state(_stated(api, consumer, settings), consumer, settings, rewrite)
    everything = [
        *objects.namespace(consumer),
        *objects.access(consumer),
        *_keys(consumer, settings),
        state,
        objects.cluster(consumer),
        *objects.resources(consumer),
        *classes.as_they_are(wanted_classes, live_classes, left),
        *objects.snapshot_classes(consumer),
    ]
    request = engine.Request(
        sources=[Source(one, consumer.item) for one in everything],
        inventory=Inventory(f"ceph-{consumer.name}", consumer.namespace, settings.domain),
        options=settings.options,
    )
    planned = engine.make_plan(_Without(api, [one.name for one in again]), request)
    warnings = _warnings(consumer, left, live_classes)
    first = [_recreation(one) for one in again]
    last = [] if rewrite is None else [_rewriting(consumer, rewrite, drift)]
    restart, missing = _restart(api, consumer, settings, str(state["data"]["restart"]))
    if missing:
        warnings.append(missing)
    if restart is not None:
        last.append(restart)
    return Prepared(consumer, planned, first, last, drift, differences, warnings)


def _keys(consumer: Consumer, settings: Settings) -> list[Object]:
    if consumer.delivery == DIRECT:
        return delivery.secrets(consumer, settings.fsid, settings.keys, domain=settings.domain)
    made: list[Object] = []
    if consumer.cluster in settings.stores:
        options = {"store": settings.store, **settings.stores[consumer.cluster]}
        made += eso_stores.render(eso_model.parse([consumer.namespace], options))
    return made + delivery.external_secrets(
        consumer,
        settings.fsid,
        settings.keys,
        prefix=settings.kv_prefix,
        store=settings.store,
        domain=settings.domain,
    )


# -- monitors ------------------------------------------------------------------------------------------------------


def _monitors(live: Object | None, consumer: Consumer, settings: Settings) -> tuple[Rewrite | None, Drift]:
    path = f"/api/v1/namespaces/{consumer.namespace}/configmaps"
    if live is None:
        body = objects.endpoints(consumer, settings.monitors)
        return Rewrite(path, body["data"]["data"], body), Drift()
    text = str((live.get("data") or {}).get("data") or "")
    drift = mons.drift(text, settings.monitors, msgr2=consumer.msgr2)
    wanted = mons.merged(text, settings.monitors, msgr2=consumer.msgr2)
    if wanted == text:
        return None, drift
    version = str(live["metadata"].get("resourceVersion") or "")
    return Rewrite(f"{path}/{objects.ENDPOINTS}", wanted, None, version), drift


def _rewriting(consumer: Consumer, step: Rewrite, drift: Drift) -> Change:
    return Change(
        kind="ConfigMap",
        name=f"{consumer.namespace}/{objects.ENDPOINTS}",
        action="create" if step.body else "update",
        after={"data": step.text},
        why="" if step.body else drift.why(),
        public=frozenset({"data"}),
        payload=step,
    )


# -- one restart ---------------------------------------------------------------------------------------------------


def _stated(api: Cluster, consumer: Consumer, settings: Settings) -> Mapping[str, str] | None:
    """Return what our ConfigMap says, ``None`` if there is none and the operator has nothing to unlearn.

    Who was made by Rook's importer has no such ConfigMap, but an operator that works with another user.
    """
    space = f"/api/v1/namespaces/{consumer.namespace}"
    live = api.get(f"{space}/configmaps/{STATE}")
    if live is not None:
        return {str(name): str(value) for name, value in (live.get("data") or {}).items()}
    secret = api.get(f"{space}/secrets/{names.SECRETS['health']}")
    if secret is None:
        return None
    same = delivery.delivered(consumer, "health", secret, settings.keys)
    return {"health": _health(consumer, settings) if same else "", "restart": ""}


def _health(consumer: Consumer, settings: Settings) -> str:
    """Return user and fingerprint of the key with which the operator works."""
    entity = consumer.entity("health")
    return f"{entity} {fingerprint(settings.keys[entity].reveal())}"


def _state(before: Mapping[str, str] | None, consumer: Consumer, settings: Settings, rewrite: Rewrite | None) -> Object:
    """Return our ConfigMap: which health user the operator works with, and which restart is due to it."""
    health = _health(consumer, settings)
    known = before or {}
    stamp = known.get("restart", "")
    moved = rewrite is not None and rewrite.body is None
    if before is not None and (moved or known.get("health") != health):
        stamp = fingerprint(f"{stamp} {health} {rewrite.text if rewrite else ''}")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": STATE, "namespace": consumer.namespace},
        "data": {"consumer": consumer.name, "health": health, "restart": stamp},
    }


def _restart(api: Cluster, consumer: Consumer, settings: Settings, stamp: str) -> tuple[Change | None, str]:
    if not stamp or not settings.restart:
        return None, ""
    path = f"/apis/apps/v1/namespaces/{consumer.operator_namespace}/deployments/{OPERATOR}"
    live = api.get(path)
    if live is None:
        return None, (
            f"consumer {consumer.name}: there is no Deployment {consumer.operator_namespace}/{OPERATOR}; restart "
            "Rook's operator, which reads monitors and its own key when it starts."
        )
    annotation = f"{settings.domain}/ceph-{consumer.name}"
    template = ((live.get("spec") or {}).get("template") or {}).get("metadata") or {}
    if (template.get("annotations") or {}).get(annotation) == stamp:
        return None, ""
    return Change(
        kind="Deployment.apps",
        name=f"{consumer.operator_namespace}/{OPERATOR}",
        action="update",
        after={"restart": stamp},
        why="restart, for it to read monitors and its key",
        public=frozenset({"restart"}),
        payload=Restart(path, annotation, stamp),
    ), ""


# -- StorageClasses ------------------------------------------------------------------------------------------------


def _recreation(one: Difference) -> Change:
    return Change(
        kind="StorageClass.storage.k8s.io",
        name=one.name,
        action="delete",
        before={"differs": one.why},
        why="made again at once",
        public=frozenset({"differs"}),
        payload=Recreate(f"{_CLASSES}/{one.name}", one.uid),
    )


def _warnings(consumer: Consumer, left: list[Difference], live: Mapping[str, Object]) -> list[str]:
    said = [
        f"StorageClass {one.name} of {consumer.cluster} differs in what Kubernetes lets nobody change ({one.why}); "
        "recreate_storage_classes makes it again, which no volume minds."
        for one in left
    ]
    ours = {one.storage_class for one in consumer.classes}
    if any(one.default for one in consumer.classes):
        others = [
            name
            for name, one in live.items()
            if name not in ours and ((one.get("metadata") or {}).get("annotations") or {}).get(_IS_DEFAULT) == "true"
        ]
        if others:
            said.append(
                f"{consumer.cluster} has another default StorageClass: {', '.join(sorted(others))}. A claim that names "
                "none gets the younger one."
            )
    return said
