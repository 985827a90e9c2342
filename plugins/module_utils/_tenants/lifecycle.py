# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""From one state of a tenant to another, as ordered steps on plain data. Pure.

``active -> suspended -> archived -> removed`` and back. What can be taken back comes first. The order is what keeps
Flux from leaving things behind or from hanging:

1. Flux is suspended, so that it undoes nothing;
2. the way in, people and the login to OpenBao are cut;
3. workloads are scaled to nothing, their former size kept in annotations;
4. (archived) volumes are set to stay, and what there is is recorded;
5. what Flux made goes, by its inventory: deleting a suspended Kustomization prunes nothing;
6. Flux's own objects go, and are waited for, while their ServiceAccount and its rights are still there;
7. then identities, stores and OpenBao's role;
8. (removed) the namespace. Its volumes are released, kept, and marked with the day until which they are.

A plan made of a cluster that is as wanted is empty, and a plan that was cut off is continued by the next one.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from collections.abc import Collection, Iterable, Iterator, Mapping

from .._core.errors import Refused
from .._kube.model import ObjectId
from .model import ACTIVE, ARCHIVED, ORDER, REMOVED, SUSPENDED, Owner, Tenant
from .network import DENY
from .objects import (
    ENDED,
    KUSTOMIZE_API,
    SOURCE_API,
    STOPPED,
    SUSPENDED_BY,
    Place,
    stopping,
    tenant_objects,
)
from .parts import OWNED, Object
from .profile import TENANT_LABEL, TenantProfile, resolve
from .roles import RECONCILER

Action = t.Literal["patch", "put", "delete", "gone", "apply", "openbao", "record"]

#: Kinds to list in a tenant's namespaces for :class:`Observed`: API version and kind.
WATCHED: t.Final[tuple[tuple[str, str], ...]] = (
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Pod"),
    ("v1", "ResourceQuota"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
    ("bitnami.com/v1alpha1", "SealedSecret"),
    ("external-secrets.io/v1", "ExternalSecret"),
    ("external-secrets.io/v1", "SecretStore"),
    ("helm.toolkit.fluxcd.io/v2", "HelmRelease"),
    (KUSTOMIZE_API, "Kustomization"),
    ("networking.k8s.io/v1", "Ingress"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    (SOURCE_API, "GitRepository"),
)
_SCALED: t.Final = ("Deployment", "ReplicaSet", "StatefulSet")
_WORKLOADS: t.Final = (*_SCALED, "CronJob", "Job", "Ingress", "Service")
_RECONCILED: t.Final = ("HelmRelease", "Kustomization")
#: What an inventory never takes along.
_KEPT: t.Final = ("Namespace", "PersistentVolumeClaim", "PersistentVolume")


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing to do.

    :ivar action: ``patch`` (a JSON merge patch, *body*), ``put`` (apply the object *body*), ``delete`` (404 is fine),
        ``gone`` (wait until it is away), ``apply`` (apply ``tenant_objects`` of the state *name*), ``openbao`` (the
        tenant's own role and OpenBao policy are to be ``{"state": "present"}`` or ``absent``), ``record`` (keep *body*
        where it stays).
    :ivar reversible: taking the tenant back to the state before undoes it.
    """

    action: Action
    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    body: t.Any = None
    why: str = ""
    reversible: bool = True

    @property
    def target(self) -> str:
        """Return what it is about, for people."""
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}".strip()

    def as_dict(self) -> dict[str, t.Any]:
        """Return plain data without the body of records."""
        return {
            "action": self.action,
            "target": self.target,
            "why": self.why,
            "reversible": self.reversible,
            **({"body": self.body} if self.action in ("patch", "openbao") else {}),
        }


@dataclasses.dataclass(frozen=True)
class Observed:
    """What a cluster has of one tenant.

    :ivar namespaces: live Namespaces with the tenant's label.
    :ivar objects: live objects in them, of the kinds of :data:`WATCHED` (those that the cluster knows).
    :ivar volumes: PersistentVolumes that their claims are bound to.
    """

    namespaces: tuple[Object, ...] = ()
    objects: tuple[Object, ...] = ()
    volumes: tuple[Object, ...] = ()

    def state(self, profile: TenantProfile, declared: Collection[str] = ()) -> str:
        """Return the state that the namespaces say; the most reduced one. ``removed`` if there are none.

        :param declared: names of those that count, if any of them is there.
        """
        telling = [one for one in self.namespaces if one["metadata"]["name"] in declared] or self.namespaces
        said = [str((one["metadata"].get("labels") or {}).get(profile.key("tenant-state"), ACTIVE)) for one in telling]
        known = [one for one in said if one in ORDER]
        return max(known, key=ORDER.index) if known else (ACTIVE if said else REMOVED)


# -- one tenant ----------------------------------------------------------------------------------------------------


def plan(
    tenant: Tenant,
    profile: TenantProfile,
    place: Place,
    observed: Observed,
    target: str,
    *,
    today: datetime.date,
) -> list[Step]:
    """Return the steps that take a tenant on one cluster to a state; empty if it is there.

    :param today: from when data is kept.
    """
    made = _Plan(resolve(tenant, profile), profile, place, observed, today)
    steps = made.back() if target == ACTIVE else made.down(target)
    return list(_unique(steps))


def cut(
    name: str,
    profile: TenantProfile,
    place: Place,
    observed: Observed,
    *,
    suspend: bool,
    since: datetime.date | None,
    today: datetime.date,
) -> list[Step]:
    """Return the steps that suspend a tenant whose declaration cannot be read, by what is there; all of it reversible.

    :param suspend: otherwise only the day is noted from which grace counts.
    """
    nobody = Tenant("", name, Owner(""), (place.name,))
    return list(_unique(_Plan(resolve(nobody, profile), profile, place, observed, today).cut(suspend, since)))


def _unique(steps: Iterable[Step]) -> Iterator[Step]:
    seen: set[tuple[str, str, str, str, str]] = set()
    for one in steps:
        key = (one.action, one.api_version, one.kind, one.namespace, one.name)
        if key not in seen:
            seen.add(key)
            yield one


def _name(one: Object) -> tuple[str, str]:
    return str(one["metadata"].get("namespace") or ""), str(one["metadata"]["name"])


def _leaving(one: Object) -> bool:
    return bool(one["metadata"].get("deletionTimestamp"))


def _controlled(one: Object) -> bool:
    return any(owner.get("controller") for owner in one["metadata"].get("ownerReferences") or ())


class _Plan:
    def __init__(
        self, tenant: Tenant, profile: TenantProfile, place: Place, observed: Observed, today: datetime.date
    ) -> None:
        self.tenant = tenant
        self.profile = profile
        self.place = place
        self.observed = observed
        self.today = today
        self.replicas = profile.key("replicas-before")
        self.paused = profile.key("suspended-before")
        self.until = profile.key("retention-until")
        self.here = observed.state(profile, {one.name for one in tenant.namespaces})

    # -- helpers ---------------------------------------------------------------------------------------------------

    def _of(self, *kinds: str) -> list[Object]:
        found = [one for one in self.observed.objects if one["kind"] in kinds and not _leaving(one)]
        return sorted(found, key=lambda one: (str(one["kind"]), *_name(one)))

    @staticmethod
    def _step(action: Action, one: Object, why: str, body: t.Any = None, *, reversible: bool = True) -> Step:
        namespace, name = _name(one)
        return Step(action, str(one["apiVersion"]), str(one["kind"]), namespace, name, body, why, reversible)

    def _apply(self, state: str) -> Step:
        return Step("apply", kind="objects of", name=state, why=f"the tenant is {state}")

    def _rendered(self, state: str) -> list[Object]:
        return tenant_objects(self.tenant, self.profile, self.place, state=state)

    def _not_of(self, state: str, *, but: Collection[str] = ()) -> list[Object]:
        """Return the live objects that we render in some state, and not in this one."""
        keep = {ObjectId.of(one) for one in self._rendered(state)}
        ours = {ObjectId.of(one) for each in (ACTIVE, SUSPENDED, ARCHIVED) for one in self._rendered(each)} - keep
        return [
            one
            for one in self._of(*{ident.kind for ident in ours})
            if ObjectId.of(one) in ours and one["kind"] not in but
        ]

    def _settled(self, state: str) -> bool:
        """Say whether all namespaces carry the label of a state."""
        wanted = {one.name for one in self.tenant.namespaces}
        key = self.profile.key("tenant-state")
        live = {_name(one)[1]: (one["metadata"].get("labels") or {}).get(key) for one in self.observed.namespaces}
        return wanted <= set(live) and all(live[name] == state for name in wanted)

    # -- down ------------------------------------------------------------------------------------------------------

    def down(self, target: str) -> list[Step]:
        """Return the way to a more reduced state, every state before it included."""
        if not self.observed.namespaces:
            return [] if target == REMOVED else [self._apply(target)]
        steps: list[Step] = []
        if ORDER.index(self.here) <= ORDER.index(SUSPENDED) or target == SUSPENDED:
            steps += self._suspend()
        if target == SUSPENDED:
            return steps
        steps += self._archive()
        if target == REMOVED:
            steps += self._remove()
        return steps

    def _suspend(self) -> list[Step]:
        steps: list[Step] = []
        for one in self._of(*_RECONCILED):
            if not (one.get("spec") or {}).get("suspend"):
                steps.append(self._step("patch", one, "Flux must undo nothing", {"spec": {"suspend": True}}))
        cut = [one for one in self._not_of(SUSPENDED) if one["kind"] not in _RECONCILED]
        stopped = [*self._scaled(), *self._bare()]
        if steps or cut or stopped or not self._settled(SUSPENDED):
            steps.append(self._apply(SUSPENDED))
        steps += [self._step("delete", one, "nobody comes in, and nobody logs in to OpenBao") for one in cut]
        if self.place.per_tenant and self.tenant.openbao and self.here == ACTIVE:
            steps.append(self._openbao("absent", "nobody logs in to OpenBao"))
        return [*steps, *stopped]

    def _openbao(self, state: str, why: str) -> Step:
        return Step("openbao", kind="role", name=f"tenant-{self.tenant.name}", body={"state": state}, why=why)

    def _scaled(self) -> list[Step]:
        steps = []
        for one in self._of(*_SCALED):
            size = (one.get("spec") or {}).get("replicas", 1)
            if size and not _controlled(one):
                body = {"metadata": {"annotations": {self.replicas: str(size)}}, "spec": {"replicas": 0}}
                steps.append(self._step("patch", one, f"scaled from {size} to 0", body))
        for one in self._of("CronJob", "Job"):
            done = any(
                c.get("type") in ("Complete", "Failed") and c.get("status") == "True"
                for c in (one.get("status") or {}).get("conditions") or ()
            )
            if not done and not (one.get("spec") or {}).get("suspend"):
                body = {"metadata": {"annotations": {self.paused: "false"}}, "spec": {"suspend": True}}
                steps.append(self._step("patch", one, "no further runs", body))
        return steps

    def _bare(self) -> list[Step]:
        over = ("Succeeded", "Failed")
        return [
            self._step("delete", one, "it belongs to no workload that could be scaled", reversible=False)
            for one in self._of("Pod")
            if not _controlled(one) and (one.get("status") or {}).get("phase") not in over
        ]

    def _archive(self) -> list[Step]:
        steps = self._retained()
        flux = self._of(*_RECONCILED, "GitRepository")
        kustomizations = [one for one in flux if one["kind"] == "Kustomization"]
        gone = [*self._pruned(kustomizations), *self._workloads()]
        if flux or gone:
            steps.append(self._record(kustomizations))
        steps += gone
        steps += [
            self._step("delete", one, "it is suspended, so that it prunes nothing itself", reversible=False)
            for one in [
                *(f for f in flux if f["kind"] in _RECONCILED),
                *(f for f in flux if f["kind"] == "GitRepository"),
            ]
        ]
        # one that is on its way already is waited for as well
        waiting = [one for one in self.observed.objects if one["kind"] in (*_RECONCILED, "GitRepository")]
        steps += [
            self._step("gone", one, "its finalizer needs its ServiceAccount")
            for one in sorted(waiting, key=lambda one: (str(one["kind"]), *_name(one)))
        ]
        late = ("RoleBinding", "ServiceAccount", "SecretStore")
        rest = [one for one in self._not_of(ARCHIVED) if one["kind"] not in (*_RECONCILED, "GitRepository")]
        rest.sort(key=lambda one: (one["kind"] in late, one["kind"] == "SecretStore", str(one["kind"]), *_name(one)))
        steps += [self._step("delete", one, "an archived tenant has no identities and no secrets") for one in rest]
        if self.place.per_tenant and self.tenant.openbao and self.here in (ACTIVE, SUSPENDED):
            steps.append(self._openbao("absent", "nobody logs in to OpenBao"))
        if steps or not (self._settled(ARCHIVED) or self.here == REMOVED):
            steps.append(self._apply(ARCHIVED))
        return steps

    def _retained(self) -> list[Step]:
        """Return what keeps the volumes: before anything else could release them."""
        claims = {_name(one): one for one in self.observed.objects if one["kind"] == "PersistentVolumeClaim"}
        steps = []
        for one in sorted(self.observed.volumes, key=lambda each: str(each["metadata"]["name"])):
            spec, meta = one.get("spec") or {}, one["metadata"]
            bound = spec.get("claimRef") or {}
            claim = claims.get((str(bound.get("namespace") or ""), str(bound.get("name") or "")))
            notes, tags = meta.get("annotations") or {}, meta.get("labels") or {}
            body: Object = {}
            if spec.get("persistentVolumeReclaimPolicy") != "Retain":
                body["spec"] = {"persistentVolumeReclaimPolicy": "Retain"}
            if self.until not in notes:
                body["metadata"] = {"annotations": {self.until: self._retention(claim)}}
            if tags.get(TENANT_LABEL) != self.tenant.name:
                body.setdefault("metadata", {})["labels"] = {TENANT_LABEL: self.tenant.name}
            if body:
                steps.append(self._step("patch", one, "its data stays", body))
        return steps

    def _retention(self, claim: Object | None) -> str:
        tags = (claim["metadata"].get("labels") or {}) if claim else {}
        kind = (claim.get("spec") or {}).get("storageClassName") if claim else None
        named = [one for one in self.tenant.data if one.name == tags.get(self.profile.key("data-class"))]
        same = named or [one for one in self.tenant.data if one.storage_class == kind] or list(self.tenant.data)
        days = max([self.profile.minimum_retention_days, *(one.retention_days for one in same)])
        return (self.today + datetime.timedelta(days=days)).isoformat()

    def _inventory(self, kustomizations: Iterable[Object]) -> list[tuple[str, str, str, str, str]]:
        """Return what Flux made in the tenant's namespaces: API version, kind, namespace and name."""
        own = {_name(one)[1] for one in self.observed.namespaces}
        found = set()
        for one in kustomizations:
            for entry in ((one.get("status") or {}).get("inventory") or {}).get("entries") or ():
                namespace, _line, rest = str(entry.get("id") or "").partition("_")
                parts = rest.rsplit("_", 2)
                if len(parts) == 3 and namespace in own:
                    # a colon in a name is written as two lines
                    name, group, kind = parts[0].replace("__", ":"), parts[1], parts[2]
                    version = str(entry.get("v") or "v1")
                    found.add((f"{group}/{version}" if group else version, kind, namespace, name, group))
        return sorted(found)

    def _pruned(self, kustomizations: Iterable[Object]) -> list[Step]:
        why = "Flux made it"
        return [
            Step("delete", api, kind, namespace, name, None, why, False)
            for api, kind, namespace, name, _group in self._inventory(kustomizations)
            if kind not in _KEPT
        ]

    def _workloads(self) -> list[Step]:
        """Return what still runs or publishes and that Flux does not know of."""
        ours = {ObjectId.of(one) for state in (ACTIVE, SUSPENDED, ARCHIVED) for one in self._rendered(state)}
        return [
            self._step("delete", one, "an archived tenant has volumes only", reversible=False)
            for one in self._of(*_WORKLOADS)
            if not _controlled(one) and ObjectId.of(one) not in ours
        ]

    def _record(self, kustomizations: Iterable[Object]) -> Step:
        volumes = [
            {
                "name": str(one["metadata"]["name"]),
                "claim": "/".join(
                    str(((one.get("spec") or {}).get("claimRef") or {}).get(key) or "") for key in ("namespace", "name")
                ),
                "capacity": str(((one.get("spec") or {}).get("capacity") or {}).get("storage") or ""),
            }
            for one in sorted(self.observed.volumes, key=lambda each: str(each["metadata"]["name"]))
        ]
        body = {
            "tenant": self.tenant.name,
            "cluster": self.place.name,
            "on": self.today.isoformat(),
            "source": self.tenant.source.url if self.tenant.source else "",
            "revisions": {
                "/".join(_name(one)): str((one.get("status") or {}).get("lastAppliedRevision") or "")
                for one in kustomizations
            },
            "objects": [
                f"{api} {kind} {namespace}/{name}" for api, kind, namespace, name, _g in self._inventory(kustomizations)
            ],
            "openbao": [f"{self.place.kv_prefix}/{self.place.name}/{one.name}/" for one in self.tenant.namespaces]
            if self.tenant.openbao
            else [],
            "volumes": volumes,
        }
        return Step("record", kind="archive", name=self.tenant.name, body=body, why="what there was")

    def _remove(self) -> list[Step]:
        steps = []
        for one in sorted(self.observed.namespaces, key=lambda each: _name(each)[1]):
            if not _leaving(one):
                steps.append(self._step("delete", one, "the tenant is removed", reversible=False))
        for one in sorted(self.observed.namespaces, key=lambda each: _name(each)[1]):
            steps.append(self._step("gone", one, "nothing is to be left"))
        return steps

    def cut(self, suspend: bool, since: datetime.date | None) -> list[Step]:
        """Return what :func:`cut` does."""
        if not suspend and since is None:
            return self._noted()
        steps: list[Step] = []
        if suspend:
            for one in self._of(*_RECONCILED, "GitRepository"):
                if not (one.get("spec") or {}).get("suspend"):
                    steps.append(self._step("patch", one, "Flux must undo nothing", {"spec": {"suspend": True}}))
            why = "nobody comes in, and nobody logs in to OpenBao"
            steps += [
                self._step("delete", one, why)
                for one in self._of("NetworkPolicy", "RoleBinding", "ServiceAccount")
                if all((one["metadata"].get("labels") or {}).get(key) == value for key, value in OWNED)
                and _name(one)[1] not in (DENY, RECONCILER, self.profile.flux_account)
            ]
            if self.place.per_tenant and self._of("SecretStore"):
                steps.append(self._openbao("absent", why))
            for _space, name in sorted(map(_name, self.observed.namespaces)):
                body = stopping(self.tenant, name)
                steps.append(Step("put", "v1", "ResourceQuota", name, STOPPED, body, "no pod may start"))
            steps += [*self._scaled(), *self._bare()]
        notes = {self.profile.key(ENDED): (since or self.today).isoformat()}
        change: Object = {"metadata": {"annotations": notes}}
        if suspend:
            notes[self.profile.key(SUSPENDED_BY)] = "membership"
            change["metadata"]["labels"] = {self.profile.key("tenant-state"): SUSPENDED}
        steps += [self._step("patch", one, "its membership has ended", change) for one in self.observed.namespaces]
        return steps

    def _noted(self) -> list[Step]:
        """Return what forgets that a tenant was found to be no member while its declaration was wrong."""
        gone = {"metadata": {"annotations": {self.profile.key(ENDED): None, self.profile.key(SUSPENDED_BY): None}}}
        return [
            self._step("patch", one, "its declaration counts again", gone)
            for one in self.observed.namespaces
            if self.profile.key(ENDED) in (one["metadata"].get("annotations") or {})
        ]

    # -- back ------------------------------------------------------------------------------------------------------

    def back(self) -> list[Step]:
        """Return the way to ``active`` from whatever there is."""
        if not self.observed.namespaces:
            return [self._apply(ACTIVE)]
        stopping = self._not_of(ACTIVE)
        restored = self._restored()
        asleep = [one for one in self._of(*_RECONCILED) if (one.get("spec") or {}).get("suspend")]
        kept = [] if self.here == ACTIVE else self._released()
        noted = self._noted()
        if self._settled(ACTIVE) and not (stopping or restored or kept or noted):
            return []
        steps = [*noted, *(self._step("delete", one, "pods may start again") for one in stopping)]
        if self.place.per_tenant and self.tenant.openbao and self.here != ACTIVE:
            steps.append(self._openbao("present", "External Secrets reads again"))
        steps += [self._apply(ACTIVE), *kept, *restored]
        ours = {ObjectId.of(one) for one in self._rendered(ACTIVE)}
        steps += [
            self._step("patch", one, "Flux reconciles again", {"spec": {"suspend": False}})
            for one in asleep
            if ObjectId.of(one) not in ours
        ]
        return steps

    def _restored(self) -> list[Step]:
        steps = []
        for one in self._of(*_SCALED, "CronJob", "Job"):
            notes = one["metadata"].get("annotations") or {}
            size = str(notes.get(self.replicas) or "")
            if size.isdigit():
                body: Object = {"metadata": {"annotations": {self.replicas: None}}, "spec": {"replicas": int(size)}}
                steps.append(self._step("patch", one, f"scaled back to {size}", body))
            if notes.get(self.paused) == "false":
                body = {"metadata": {"annotations": {self.paused: None}}, "spec": {"suspend": False}}
                steps.append(self._step("patch", one, "runs again", body))
        return steps

    def _released(self) -> list[Step]:
        """Return what forgets the last day of volumes that are used again; they stay Retain."""
        return [
            self._step("patch", one, "in use again", {"metadata": {"annotations": {self.until: None}}})
            for one in sorted(self.observed.volumes, key=lambda each: str(each["metadata"]["name"]))
            if self.until in (one["metadata"].get("annotations") or {})
        ]


def joined(before: Mapping[str, t.Any], now: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the record of a run that continues another one: what either of them saw."""
    old, new = before.get("revisions") or {}, now.get("revisions") or {}
    volumes = {one["name"]: one for one in (*(before.get("volumes") or ()), *now["volumes"])}
    return {
        **now,
        "revisions": {key: new.get(key) or old.get(key, "") for key in sorted({*old, *new})},
        "objects": sorted({*(before.get("objects") or ()), *now["objects"]}),
        "volumes": [volumes[name] for name in sorted(volumes)],
    }


# -- all tenants ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Transition:
    """A tenant that is to change its state."""

    tenant: str
    current: str
    target: str
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Gate:
    """Which transitions may happen in this run. :ivar held: tenant -> why not."""

    allowed: tuple[Transition, ...]
    held: Mapping[str, str]


def transitions(
    wanted: Mapping[str, str], known: Mapping[str, str], why: Mapping[str, str] | None = None
) -> list[Transition]:
    """Return who changes its state, sorted by name.

    A tenant without a declaration is in neither: a file that is gone removes nobody.

    :param wanted: declared or effective state by tenant. :param known: state on the cluster by tenant.
    """
    reasons = why or {}
    return [
        Transition(name, known[name], wanted[name], reasons.get(name, "declared"))
        for name in sorted(wanted)
        if name in known and known[name] != wanted[name]
    ]


def gate(
    changing: Iterable[Transition],
    profile: TenantProfile,
    *,
    declared: int,
    known: int,
    confirmed: Collection[str] = (),
) -> Gate:
    """Hold back what looks like an accident; going back to active is never held.

    More suspensions, or more archivings and removals, than the platform allows in one run: none of them happens.

    :param declared: number of tenants with a declaration that could be read. :param known: number on the cluster.
    :param confirmed: names of tenants whose removal somebody confirmed by typing them.
    :raises Refused: rule ``tenants-empty``, if there is no declaration while there are tenants.
    """
    if not declared and known:
        raise Refused(
            f"there is no declaration, and {known} tenant(s) on the cluster.",
            item="tenants",
            rule="tenants-empty",
            fix="look at the tenants repository; nothing was changed.",
        )
    allowed: list[Transition] = []
    held: dict[str, str] = {}
    fewer = list(changing)
    groups: tuple[tuple[str, int, list[Transition]], ...] = (
        (
            "suspend",
            profile.max_suspensions,
            [one for one in fewer if one.target == SUSPENDED and one.current == ACTIVE],
        ),
        ("remove", profile.max_removals, [one for one in fewer if one.target in (ARCHIVED, REMOVED)]),
    )
    capped = {id(one) for _word, _most, some in groups for one in some}
    allowed += [one for one in fewer if id(one) not in capped]
    for word, most, some in groups:
        for one in some:
            if one.target == REMOVED and one.tenant not in confirmed:
                held[one.tenant] = f"removing {one.tenant} needs its name as a confirmation"
        rest = [one for one in some if one.tenant not in held]
        if len(rest) > most:
            for one in rest:
                held[one.tenant] = f"{len(rest)} tenants to {word} in one run, at most {most}: none is"
        else:
            allowed += rest
    return Gate(tuple(sorted(allowed, key=lambda one: one.tenant)), dict(sorted(held.items())))
