# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Components brought to a cluster one after the other, each when what it needs works.

All of them are planned before the first is applied: with the kinds and namespaces that earlier ones will have made.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import time
import typing as t
from collections.abc import Collection, Iterator, Mapping, Sequence

from .._core.errors import HackspaceError
from .._core.plan import Plan
from .._kube import engine, order, ssa
from .._kube import plan as planning
from .._kube.inventory import flux_holds, flux_owner
from .._kube.model import (
    DEFAULT_LABEL_DOMAIN,
    MANAGER,
    Discovery,
    Inventory,
    ObjectId,
    Resource,
    Source,
    Wanted,
    expand,
    promised,
)
from .._kube.plan import ApplyStep, Options, Planned
from .._kube.ports import Api, ServerError, View
from .._kube.wait import status
from .model import Component, Wait

_WORKLOADS: t.Final = frozenset(
    {
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("apps", "DaemonSet"),
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("batch", "Job"),
    }
)
_ADMISSION: t.Final = "/apis/admissionregistration.k8s.io/v1"
_WEBHOOKS: t.Final = (f"{_ADMISSION}/validatingwebhookconfigurations", f"{_ADMISSION}/mutatingwebhookconfigurations")
_CRDS: t.Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_UNANSWERED: t.Final = ("failed calling webhook", "failed to call webhook", "no endpoints available")
_PAUSE: t.Final = 0.25

#: What became of a component.
State = t.Literal["applied", "as wanted", "with Flux", "handed over"]


@dataclasses.dataclass(frozen=True)
class Request:
    """Everything a call wants of one cluster.

    :ivar objects: by name of the component, what it consists of.
    :ivar tls: by name of the component, Kubernetes Secrets that stay ours when Flux has the component.
    """

    components: Sequence[Component]
    objects: Mapping[str, Sequence[Source]]
    tls: Mapping[str, Sequence[Source]]
    namespace: str
    label_domain: str = DEFAULT_LABEL_DOMAIN
    options: Options = dataclasses.field(default_factory=Options)
    hand_over: bool = False
    hidden_fields: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Handed:
    """A component that Flux keeps.

    :ivar owners: the Kustomizations and HelmReleases.
    :ivar objects: number of its objects that Flux has.
    :ivar held: number of those of which fields are still ours.
    :ivar left: objects of the manifests that Flux does not have.
    """

    owners: tuple[str, ...]
    objects: int
    held: int
    left: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Part:
    """One inventory: a component, its Kubernetes Secrets for TLS, or the namespaces of all."""

    title: str
    planned: Planned
    component: Component | None = None
    handed: Handed | None = None


@dataclasses.dataclass
class Prepared:
    """The plan, and what its reader needs besides."""

    parts: list[Part]
    plan: Plan
    stale: list[str]

    def report(self, *, done: bool) -> list[dict[str, t.Any]]:
        """Return one entry per component, in their order."""
        return [_entry(part.component, part, done=done) for part in self.parts if part.component is not None]


def _entry(component: Component, part: Part, *, done: bool) -> dict[str, t.Any]:
    changes = len(part.planned.plan.changes)
    state: State = "applied" if changes else "as wanted"
    if part.handed is not None:
        state = "handed over" if changes else "with Flux"
    found: dict[str, t.Any] = {
        "name": component.name,
        "version": component.version,
        "state": state if done or not changes else f"to be {state}",
        "changes": changes,
        "unchanged": part.planned.plan.unchanged,
    }
    if part.handed is not None:
        found["flux"] = {
            "owners": list(part.handed.owners),
            "objects": part.handed.objects,
            "held": part.handed.held,
            "left": list(part.handed.left),
        }
    return found


class _View(View):
    """The cluster with one discovery for all components, which knows the kinds that earlier ones will have made."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._discovery = api.discover()

    def promise(self, resources: Sequence[Resource]) -> None:
        if resources:
            self._discovery = self._discovery.promising(resources)

    def discover(self) -> Discovery:
        return self._discovery


@contextlib.contextmanager
def _named(title: str) -> Iterator[None]:
    """Say in an error which component it is about."""
    try:
        yield
    except HackspaceError as error:
        error.item = f"{title}, {error.item}" if error.item else title
        raise


# -- plan ----------------------------------------------------------------------------------------------------------


def prepare(api: Api, request: Request) -> Prepared:
    """Check, read and plan everything; nothing is written.

    :raises InvalidInput: for what is wrong with an object.
    :raises Refused: for what needs an option that was not given.
    """
    return _Planner(api, request).run()


class _Planner:
    def __init__(self, api: Api, request: Request) -> None:
        self._view = _View(api)
        self._request = request
        self._coming: set[str] = set()
        self._changing: set[tuple[str, str]] = set()
        self._parts: list[Part] = []
        self._warnings: list[str] = []

    def run(self) -> Prepared:
        sources = {one.name: _labelled(one, self._request.objects[one.name]) for one in self._request.components}
        self._namespaces(sources)
        for component in self._request.components:
            secrets = self._request.tls.get(component.name) or ()
            title = f"component {component.name}"
            if secrets:
                with _named(f"{title}, certificates"):
                    self._add(f"{title}, certificates", f"{component.inventory}-tls", secrets)
            with _named(title):
                self._add(title, component.inventory, sources[component.name], component)
        plan = Plan(warnings=self._warnings)
        stale: list[str] = []
        for part in self._parts:
            plan.extend(part.planned.plan)
            stale += part.planned.stale
        return Prepared(self._parts, plan, sorted(stale))

    def _asked(self, name: str, sources: Sequence[Source], namespace: str) -> engine.Request:
        request = self._request
        return engine.Request(
            sources=sources,
            inventory=Inventory(name, request.namespace, request.label_domain),
            options=request.options,
            default_namespace=namespace or None,
            hidden_fields=request.hidden_fields,
            coming=frozenset(self._coming),
            changing=frozenset(self._changing),
        )

    def _add(self, title: str, name: str, sources: Sequence[Source], component: Component | None = None) -> None:
        asked = self._asked(name, sources, component.namespace if component else "")
        seen = engine.look(self._view, asked)
        handed = _handed(seen) if component else None
        if component and handed:
            # What nobody else has would lose everything, so a label is not enough here.
            given = frozenset(one for one in _with_flux(seen) if flux_holds(seen.current.live[one]))
            planned = Planned(Plan(), seen.wanted, seen.inventory, seen.current)
            if self._request.hand_over:
                planned = planning.release(seen.wanted, given, seen.current, seen.inventory)
            self._parts.append(Part(title, planned, component, handed))
            self._follow(sources, planned)
            return
        # A namespace may be Flux's while what is in it is still ours.
        flux = _with_flux(seen)
        seen = dataclasses.replace(seen, wanted=[one for one in seen.wanted if one.id not in flux])
        planned = engine.plan_seen(self._view, asked, seen)
        self._parts.append(Part(title, planned, component))
        self._follow(sources, planned)

    def _follow(self, sources: Sequence[Source], planned: Planned) -> None:
        """Remember what later components will find."""
        self._view.promise(promised(list(expand(sources))))
        for one in planned.wanted:
            if order.is_namespace(one.id) and one.id not in planned.current.live:
                self._coming.add(one.id.name)
        for change in planned.plan.changes:
            step = change.payload
            if isinstance(step, ApplyStep) and order.is_crd(step.wanted.id):
                spec = step.wanted.body["spec"]
                self._changing.add((str(spec["group"]), str(spec["names"]["kind"])))

    def _namespaces(self, sources: Mapping[str, Sequence[Source]]) -> None:
        """Plan the namespaces that no manifest brings; those that others made stay theirs."""
        brought = {
            str((one.body.get("metadata") or {}).get("name"))
            for found in sources.values()
            for one in expand(found)
            if isinstance(one.body, dict) and one.body.get("kind") == "Namespace"
        }
        labels: dict[str, dict[str, str]] = {}
        for component in self._request.components:
            for name in (component.namespace, *(secret.namespace for secret in component.tls)):
                if name and name not in brought:
                    labels.setdefault(name, {})
            if component.namespace in labels:
                labels[component.namespace].update(component.labels)
        if not labels:
            return
        wanted = [
            Source(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(of)}}, "namespaces"
            )
            for name, of in labels.items()
        ]
        asked = self._asked("platform-namespaces", wanted, "")
        with _named("namespaces"):
            seen = engine.look(self._view, asked)
            ours = [one for one in seen.wanted if _ours(seen, one)]
            for one in seen.wanted:
                if one not in ours:
                    self._missing_labels(seen.current.live[one.id], labels[one.id.name])
            if ours or seen.current.record is not None:
                seen = dataclasses.replace(seen, wanted=ours)
                # Those of components that are not in this call are nothing to report.
                planned = dataclasses.replace(engine.plan_seen(self._view, asked, seen), stale=[])
                self._parts.append(Part("namespaces", planned))
                self._follow((), planned)

    def _missing_labels(self, live: Mapping[str, t.Any], labels: Mapping[str, str]) -> None:
        metadata = live["metadata"]
        has = metadata.get("labels") or {}
        missing = sorted(f"{key}={value}" for key, value in labels.items() if has.get(key) != value)
        if missing:
            self._warnings.append(
                f"The namespace {metadata['name']} is not ours and is left as it is; pods may be refused without "
                f"{', '.join(missing)}."
            )


def _ours(seen: engine.Seen, one: Wanted) -> bool:
    live = seen.current.live.get(one.id)
    if live is None:
        return True
    labels = (live.get("metadata") or {}).get("labels") or {}
    return labels.get(seen.inventory.label) == seen.inventory.name and not flux_owner(live)


def _labelled(component: Component, sources: Sequence[Source]) -> list[Source]:
    """Return the objects with the labels that the component's namespace needs and its manifest does not set."""
    result = []
    for source in expand(sources):
        body = source.body
        metadata = body.get("metadata") if isinstance(body, dict) else None
        if (
            component.labels
            and isinstance(metadata, dict)
            and body.get("kind") == "Namespace"
            and metadata.get("name") == component.namespace
        ):
            body = copy.deepcopy(body)
            body["metadata"]["labels"] = {**component.labels, **(metadata.get("labels") or {})}
        result.append(Source(body, source.where))
    return result


def _with_flux(seen: engine.Seen) -> frozenset[ObjectId]:
    live = seen.current.live
    return frozenset(one.id for one in seen.wanted if one.id in live and flux_owner(live[one.id]))


def _handed(seen: engine.Seen) -> Handed | None:
    """Return how Flux has this component, ``None`` if it has none of it but namespaces."""
    flux = _with_flux(seen)
    if not any(not order.is_namespace(one) for one in flux):
        return None
    live = seen.current.live
    return Handed(
        owners=tuple(sorted({flux_owner(live[one]) for one in flux})),
        objects=len(flux),
        held=sum(1 for one in flux if ssa.applied_fields(live[one], MANAGER) is not None),
        left=tuple(sorted(str(one.id) for one in seen.wanted if one.id not in flux)),
    )


# -- apply ---------------------------------------------------------------------------------------------------------


def execute(api: Api, prepared: Prepared) -> list[str]:
    """Apply the components in their order, each when those before it work; return what was waited for.

    :raises HackspaceError: naming the component, the object and its condition; what was done stays done.
    """
    waited: list[str] = []
    done: list[str] = []
    for part in prepared.parts:
        component = part.component
        wait = component.wait if component else Wait()
        try:
            with _named(part.title):
                engine.execute(api, part.planned, timeout=wait.timeout)
                if component is not None and part.handed is None:
                    waited += _await(api, component, part.planned)
        except HackspaceError as error:
            error.data["done"] = done
            error.data["component"] = component.name if component else part.title
            raise
        if component is not None:
            done.append(component.name)
    return waited


def _await(api: Api, component: Component, planned: Planned) -> list[str]:
    wait = component.wait
    end = time.monotonic() + wait.timeout
    objects = [one for one in planned.wanted if _counts(one.id, wait.ready)]
    known = None if planned.plan.changed else planned.current.live
    waited = engine.wait_ready(api, planned, objects, timeout=wait.timeout, known=known)
    todo: list[tuple[str, t.Callable[[], str]]] = [
        *((f"CustomResourceDefinition {name}", _crd(api, name)) for name in wait.crds),
        *((f"webhooks {name}", _webhook(api, name)) for name in wait.webhooks),
    ]
    if wait.probe:
        todo.append((f"probe {wait.probe['kind']} {wait.probe['metadata']['name']}", _probe(api, wait.probe)))
    for what, look in todo:
        waited += _until(what, look, end, wait.timeout)
    return waited


def _counts(one: ObjectId, ready: str) -> bool:
    return ready == "all" or order.is_crd(one) or (ready == "workloads" and one.group_kind in _WORKLOADS)


def _until(what: str, look: t.Callable[[], str], end: float, timeout: float) -> list[str]:
    """Wait until *look* finds nothing missing; return *what* if it was not there at first."""
    first = True
    while True:
        why = look()
        if not why:
            return [] if first else [what]
        first = False
        left = end - time.monotonic()
        if left <= 0:
            raise HackspaceError(
                f"not ready after {timeout:g} s: {why}.",
                item=what,
                rule="wait-timeout",
                fix="look at the reason and at the pods of the component, then run again.",
                data={"not_ready": [f"{what}: {why}"]},
            )
        time.sleep(min(_PAUSE * 2, left))


def _crd(api: Api, name: str) -> t.Callable[[], str]:
    def look() -> str:
        found = status(api.get(f"{_CRDS}/{name}"), "apiextensions.k8s.io", "CustomResourceDefinition")
        return "" if found.state == "ready" else found.why

    return look


def _webhook(api: Api, name: str) -> t.Callable[[], str]:
    def look() -> str:
        found = [one for one in (api.get(f"{path}/{name}") for path in _WEBHOOKS) if one is not None]
        if not found:
            return "does not exist"
        services: set[tuple[str, str]] = set()
        for hook in (hook for one in found for hook in one.get("webhooks") or ()):
            client = hook.get("clientConfig") or {}
            service = client.get("service")
            if service and not client.get("caBundle"):
                return f"{hook.get('name')} has no authority (caBundle) yet"
            if service:
                services.add((str(service.get("namespace")), str(service.get("name"))))
        return _endpoints(api, services)

    return look


def _endpoints(api: Api, services: Collection[tuple[str, str]]) -> str:
    for namespace, name in sorted(services):
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        slices = [one for page in api.pages(path, selector=f"kubernetes.io/service-name={name}") for one in page.items]
        ready = any(
            (point.get("conditions") or {}).get("ready") is not False
            for one in slices
            for point in one.get("endpoints") or ()
        )
        if not ready:
            return f"Service {namespace}/{name} has no endpoint that is ready"
    return ""


def _probe(api: Api, body: Mapping[str, t.Any]) -> t.Callable[[], str]:
    """Look whether the webhooks that judge *body* answer; that they refuse it is an answer."""
    metadata = body["metadata"]

    def look() -> str:
        resource = api.discover().find(str(body["apiVersion"]), str(body["kind"]))
        if resource is None:
            return f"the cluster does not know {body['apiVersion']} {body['kind']}"
        namespace = str(metadata.get("namespace") or "")
        try:
            api.apply(resource.path(namespace, str(metadata["name"])), body, dry_run=True, force=True)
        except ServerError as error:
            if error.status == 404 or any(words in error.said for words in _UNANSWERED):
                return error.said
            if error.status in (401, 403) and "admission webhook" not in error.said:
                raise
        return ""

    return look
