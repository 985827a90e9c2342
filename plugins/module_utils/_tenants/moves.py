# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Takes tenants from one state to another on a cluster: observes, and carries the steps of ``lifecycle`` out."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import time
import typing as t
from collections.abc import Collection, Mapping, Sequence

from .._core.errors import HackspaceError
from .._core.plan import Action, Change, Plan
from .._kube import engine
from .._kube.model import Discovery, Inventory, ObjectId, Resource
from .._kube.normalise import Object
from .._kube.plan import Options, RecordStep
from .._kube.ports import ServerError, listed
from . import desired, lifecycle
from .apply_plan import Bundle
from .lifecycle import Observed, Step
from .model import ARCHIVED, REMOVED
from .ports import Cluster

if t.TYPE_CHECKING:
    from .apply import Decided, Prepared

#: Up to so many namespaces are listed one by one.
_FEW: t.Final = 3
_ACTIONS: t.Final[Mapping[str, Action]] = {
    "patch": "update",
    "put": "create",
    "delete": "delete",
    "gone": "wait",
    "apply": "update",
    "openbao": "send",
    "record": "create",
}
_PAUSE: t.Final = 0.3
_SHOWN: t.Final = 10
#: What a Namespace says of its content: ``configmaps. has 1 resource instances``, ``things.example.org has 2 ...``.
_REMAINING: t.Final = re.compile(r"([a-z0-9]+)\.([a-z0-9.-]*) has \d+ resource instances")


def changes(steps: Sequence[Step]) -> list[Change]:
    """Return steps as changes, for reports and check mode."""
    return [
        Change(
            kind=one.kind,
            name=f"{one.namespace}/{one.name}" if one.namespace else one.name,
            action=_ACTIONS[one.action],
            after=one.body if isinstance(one.body, Mapping) and one.action == "patch" else None,
            why=one.why,
            public=frozenset({"metadata", "spec"}),
            payload=one,
        )
        for one in steps
        if one.action != "gone"
    ]


def _release(one: Step) -> str:
    """Return the command that takes an object's finalizers away."""
    patch = """'{"metadata":{"finalizers":null}}'"""
    return f"kubectl -n {one.namespace} patch {one.kind.lower()} {one.name} --type=merge -p {patch}"


# -- looking -------------------------------------------------------------------------------------------------------


def ways(api: Cluster, made: Decided, moving: Mapping[str, str], today: datetime.date) -> dict[str, list[Step]]:
    """Return the steps of each tenant that changes its state; nothing is written."""
    if not moving:
        return {}
    # Those that are ours: what is declared and exists besides may be somebody else's.
    namespaces = {space: name for name in moving for space in made.known[name].namespaces}
    discovery = api.discover()
    found: dict[str, list[Object]] = {name: [] for name in moving}
    for api_version, kind in lifecycle.WATCHED:
        resource = discovery.find(api_version, kind)
        if resource is None:
            continue
        for one in _in(api, resource, namespaces):
            found[namespaces[one["metadata"]["namespace"]]].append({**one, "apiVersion": api_version, "kind": kind})
    volumes: dict[str, list[Object]] = {name: [] for name in moving}
    for one in listed(api, "/api/v1/persistentvolumes"):
        owner = namespaces.get(str(((one.get("spec") or {}).get("claimRef") or {}).get("namespace")))
        if owner:
            volumes[owner].append({**one, "apiVersion": "v1", "kind": "PersistentVolume"})
    result = {}
    for name, target in moving.items():
        live = tuple({**one, "apiVersion": "v1", "kind": "Namespace"} for one in made.known[name].namespaces.values())
        observed = Observed(live, tuple(found[name]), tuple(volumes[name]))
        verdict = made.cuts.get(name)
        if verdict is not None:
            result[name] = lifecycle.cut(
                name,
                made.site.profile,
                made.site.place,
                observed,
                suspend=verdict.suspend,
                since=verdict.since,
                today=today,
            )
            continue
        result[name] = lifecycle.plan(
            made.of(name).tenant, made.site.profile, made.site.place, observed, target, today=today
        )
    return result


def _in(api: Cluster, resource: Resource, namespaces: Collection[str]) -> list[Object]:
    if len(namespaces) <= _FEW:
        return [one for space in sorted(namespaces) for one in listed(api, resource.path(space))]
    return [
        dict(one)
        for page in api.pages(resource.path())
        for one in page.items
        if one["metadata"].get("namespace") in namespaces
    ]


# -- doing ---------------------------------------------------------------------------------------------------------


def carry_out(
    api: Cluster,
    made: Decided,
    found: Mapping[str, Sequence[Step]],
    prepared: Prepared,
    options: Options,
    *,
    timeout: float,
) -> dict[str, str]:
    """Carry all steps out; return the tenants that failed, each with why. The next run continues."""
    failed: dict[str, str] = {}
    for name, steps in found.items():
        one = _Mover(api, made, name, prepared.planned.inventory, options=options, timeout=timeout)
        try:
            one.run(steps)
        except HackspaceError as error:
            failed[name] = str(error)
        gone = frozenset(prepared.planned.current.recorded & one.deleted)
        if name in made.known and made.moving[name] == REMOVED and name not in failed:
            spaces = set(made.known[name].namespaces)
            gone |= {
                each
                for each in prepared.planned.current.recorded
                if each.namespace in spaces or (each.group_kind == ("", "Namespace") and each.name in spaces)
            }
        if gone:
            step = RecordStep(frozenset(), gone)
            change = Change(
                kind="inventory record", name=prepared.planned.inventory.name, action="update", payload=step
            )
            planned = dataclasses.replace(prepared.planned, plan=Plan(changes=[change]))
            engine.execute(api, planned, timeout=timeout)
    return failed


class _Mover:
    """Carries out the steps of one tenant."""

    def __init__(
        self,
        api: Cluster,
        made: Decided,
        tenant: str,
        inventory: Inventory,
        *,
        options: Options,
        timeout: float,
    ) -> None:
        self._api = api
        self._made = made
        self._tenant = tenant
        self._inventory = inventory
        self._options = options
        self._deadline = time.monotonic() + timeout
        self._discovery: Discovery = api.discover()
        self.deleted: set[ObjectId] = set()

    def run(self, steps: Sequence[Step]) -> None:
        """Mark the namespaces, do everything in order, and take the marks away."""
        self._mark(self._made.moving[self._tenant])
        for one in steps:
            getattr(self, f"_{one.action}")(one)
        self._mark(None)

    def _mark(self, target: str | None) -> None:
        key = self._made.site.profile.key(desired.MOVING)
        for name in sorted(self._made.known[self._tenant].namespaces):
            self._api.merge(f"/api/v1/namespaces/{name}", {"metadata": {"annotations": {key: target}}})

    def _path(self, step: Step) -> str:
        resource = self._discovery.find(step.api_version, step.kind)
        return resource.path(step.namespace, step.name) if resource else ""

    def _patch(self, step: Step) -> None:
        path = self._path(step)
        if path:
            self._ask(step, lambda: self._api.merge(path, step.body))

    def _put(self, step: Step) -> None:
        """Apply an object as ours, so that later runs know it."""
        path, metadata = self._path(step), step.body["metadata"]
        labels = {**metadata["labels"], self._inventory.label: self._inventory.name}
        self._ask(
            step,
            lambda: self._api.apply(path, {**step.body, "metadata": {**metadata, "labels": labels}}, force=True),
        )

    def _delete(self, step: Step) -> None:
        path = self._path(step)
        live = self._api.get(path) if path else None
        group = step.api_version.rpartition("/")[0]
        self.deleted.add(ObjectId(group, step.kind, step.namespace, step.name))
        if live is not None:
            self._ask(step, lambda: self._api.delete(path, uid=str(live["metadata"].get("uid") or "")))

    def _gone(self, step: Step) -> None:
        path = self._path(step)
        while path:
            live = self._api.get(path)
            if live is None:
                return
            if time.monotonic() >= self._deadline:
                metadata = live.get("metadata") or {}
                held = [
                    *(metadata.get("finalizers") or ()),
                    *(
                        str(one.get("message"))
                        for one in (live.get("status") or {}).get("conditions") or ()
                        if step.kind == "Namespace" and one.get("status") == "True"
                    ),
                ]
                inside = self._held(step.name, held) if step.kind == "Namespace" else []
                by = "; ".join(f"{one.target} by {one.why}" for one in inside[:_SHOWN]) or ", ".join(held)
                raise HackspaceError(
                    f"it is still there, held by {by or 'what is in it'}.",
                    item=step.target,
                    rule="not-gone",
                    fix="look whether the controllers run, then run again; it goes on from here."
                    + (f" If nobody needs to clean up after it: {_release(inside[0])}" if inside else ""),
                )
            time.sleep(_PAUSE)

    def _held(self, namespace: str, said: Sequence[str]) -> list[Step]:
        """Return the objects in a namespace on its way out that finalizers keep, by what its conditions say is left."""
        found = []
        for plural, group in sorted(set(_REMAINING.findall(" ".join(said)))):
            resource = self._discovery.plural(group, plural)
            for one in listed(self._api, resource.path(namespace)) if resource else ():
                metadata = one["metadata"]
                names = ", ".join(metadata.get("finalizers") or ())
                if names:
                    kind = resource.kind if resource else plural
                    found.append(Step("gone", kind=kind, namespace=namespace, name=str(metadata["name"]), why=names))
        return found

    def _apply(self, step: Step) -> None:
        wanted = dataclasses.replace(self._made.of(self._tenant), state=step.name)
        bundles: list[Bundle] = desired.bundles([wanted], self._made.site.profile, self._made.site.place)
        sources = [source for bundle in bundles if bundle.tenant for source in bundle.sources()]
        if not sources:
            return
        # What a patch of ours has set a moment ago is ours.
        options = dataclasses.replace(self._options, prune=False, force_conflicts=True)
        planned = engine.make_plan(self._api, engine.Request(sources, self._inventory, options))
        engine.execute(self._api, planned, timeout=max(1.0, self._deadline - time.monotonic()))

    def _openbao(self, step: Step) -> None:
        """Leave it to the module that keeps the roles; the caller says so."""

    def _record(self, step: Step) -> None:
        name = f"tenant-archive-{self._tenant}"
        path = f"/api/v1/namespaces/{self._inventory.namespace}/configmaps/{name}"
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "namespace": self._inventory.namespace,
                "labels": {self._made.site.profile.key("tenant-archive"): self._tenant},
            },
            "data": {"archive": json.dumps(self._recorded(path, step.body), sort_keys=True, indent=1)},
        }
        self._ask(step, lambda: self._api.apply(path, body, force=True))

    def _recorded(self, path: str, now: t.Any) -> t.Any:
        """Return what to record: a run that continues another one no longer sees all that there was."""
        key = self._made.site.profile.key(desired.MOVING)
        marks = {
            (one["metadata"].get("annotations") or {}).get(key)
            for one in self._made.known[self._tenant].namespaces.values()
        }
        live = self._api.get(path) if marks & {ARCHIVED, REMOVED} else None
        try:
            before = json.loads(str(((live or {}).get("data") or {}).get("archive") or "{}"))
        except ValueError:
            return now
        return lifecycle.joined(before, now) if isinstance(before, dict) else now

    @staticmethod
    def _ask(step: Step, what: t.Callable[[], object]) -> None:
        try:
            what()
        except ServerError as error:
            if error.status == 404:
                return
            raise HackspaceError(
                f"the server refuses: {error.said or error.message}",
                item=step.target,
                rule="forbidden" if error.status == 403 else "http-status",
                fix="the login in use needs this right." if error.status == 403 else "run again; it goes on from here.",
                status=error.status,
            ) from None
