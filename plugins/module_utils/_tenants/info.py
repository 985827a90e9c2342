# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""How tenants fare: what their objects say, what the next run would change, and whom to ask in a probe."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from collections.abc import Collection, Iterable, Mapping

from .._flux import hints
from .._flux import status as flux
from .._kube.model import Inventory, ObjectId
from .._kube.normalise import Object
from .._kube.plan import Options
from .._kube.ports import Api
from .._kube.wait import status
from . import apply as applying
from .desired import Wanted
from .membership import Rules
from .model import ACTIVE, REQUIRED
from .objects import KUSTOMIZE_API
from .probe import Subject
from .probe_openbao import Visitor
from .site import Read, Site

#: A host that no tenant can have: reserved for documentation, and no name of a declaration.
_NOBODYS: t.Final = "confinement-probe.invalid"
#: A namespace that no tenant can have, where there is but one tenant.
_NOBODY: t.Final = "confinement-probe-nobody"
_FLUX: t.Final = frozenset({"source.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io"})


def _flux_problem(one: ObjectId, live: Object) -> list[str]:
    """Return what Flux says of an object that is not ready, and what to do where that is known."""
    found = flux.verdict(live, one.kind)
    if found.state == "ready":
        return []
    said = f"{one}: {found.state}: {found.why}" + (f" (since {found.since})" if found.since else "")
    hint = hints.hint(one.kind, found.reason, found.why)
    return [f"{said} Hint: {hint.text}" if hint else said]


@dataclasses.dataclass
class Found:
    """Declarations beside the cluster."""

    site: Site
    decided: applying.Decided
    prepared: applying.Prepared

    @property
    def live(self) -> Mapping[ObjectId, Object]:
        return self.prepared.planned.current.live

    @property
    def names(self) -> frozenset[str]:
        """Return the tenants of the cluster, be their declarations right or wrong."""
        return frozenset({one.tenant.name for one in self.decided.wanted} | set(self.decided.broken))

    def report(self) -> list[dict[str, t.Any]]:
        """Return one entry for each tenant."""
        failed = {**self.decided.broken, **self.prepared.failures}
        wanted = {one.tenant.name: one for one in self.decided.wanted}
        objects: dict[str, list[tuple[ObjectId, Object]]] = {}
        for one, owner in sorted(self.prepared.by_id.items()):
            if one in self.live:
                objects.setdefault(owner, []).append((one, self.live[one]))
        return [
            self._one(name, failed.get(name, ""), wanted.get(name), objects.get(name, ()))
            for name in sorted(self.names)
        ]

    def _one(
        self, name: str, failure: str, wanted: Wanted | None, objects: Iterable[tuple[ObjectId, Object]]
    ) -> dict[str, t.Any]:
        known = self.decided.known.get(name)
        problems = [failure] if failure else []
        if wanted is not None and wanted.held:
            problems.append(wanted.held)
        revisions = {}
        for one, live in objects:
            if one.group == KUSTOMIZE_API.partition("/")[0]:
                revisions[one.namespace] = str((live.get("status") or {}).get("lastAppliedRevision") or "")
            if (live.get("spec") or {}).get("suspend"):
                continue
            if one.group in _FLUX:
                problems += _flux_problem(one, live)
                continue
            state = status(live, one.group, one.kind)
            if state.state != "ready":
                problems.append(f"{one}: {state.why}")
        if known is None and not problems:
            problems.append("is not on the cluster yet")
        drift = [
            f"{change.action} {change.kind} {change.name}" + (f": {change.why}" if change.why else "")
            for change in self.prepared.changes_of(name)
        ]
        return {
            "name": name,
            "state": known.state if known else "",
            "suspended_by": known.suspended_by if known else "",
            "namespaces": sorted(known.namespaces) if known else [],
            "ready": not problems,
            "problems": problems,
            "drift": drift,
            "revision": revisions,
        }


def look(api: Api, read: Read, site: Site, inventory: Inventory) -> Found:
    """Return the declarations of a cluster beside what is there; nothing is written."""
    decided = applying.decide(
        api,
        read,
        site,
        answer=None,
        rules=Rules(),
        today=datetime.datetime.now(datetime.UTC).date(),
        allow_removal=True,
        asked=False,
    )
    prepared = applying.prepare(api, decided.bundles, inventory, Options())
    return Found(site, decided, prepared)


def subjects(found: Found, flux_namespace: str, only: Collection[str]) -> list[Subject]:
    """Return whom to ask about: every namespace of the active tenants that are on the cluster."""
    profile = found.site.profile
    active = [one for one in found.decided.wanted if one.state == ACTIVE and one.tenant.name in found.decided.known]
    namespaces = {name: one.tenant.name for one in active for name in one.namespaces}
    made = []
    for one in active:
        if only and one.tenant.name not in only:
            continue
        others = sorted(name for name, owner in namespaces.items() if owner != one.tenant.name)
        foreign = sorted(d.name for other in active if other is not one for d in other.tenant.domains)
        for namespace in one.namespaces:
            domains = [d for d in one.tenant.domains if d.namespace == namespace]
            closed = any(d.auth == REQUIRED for d in domains[:1])
            reachable = domains if not closed or profile.authentication else []
            made.append(
                Subject(
                    tenant=one.tenant.name,
                    namespace=namespace,
                    account=profile.flux_account,
                    neighbour=others[0] if others else "kube-system",
                    flux_namespace=flux_namespace,
                    tier_label=found.site.tier_label,
                    foreign_host=foreign[0] if foreign else _NOBODYS,
                    hosts=tuple(d.name for d in reachable),
                    ingress_class=profile.ingress_classes[0] if profile.ingress_classes else "",
                    annotations=dict(profile.authentication) if closed else {},
                    source=one.tenant.name if profile.self_service_flux and one.tenant.source else "",
                    git_url=one.tenant.source.url if profile.self_service_flux and one.tenant.source else "",
                )
            )
    return made


def visitors(found: Found, only: Collection[str], audiences: Collection[str] = ()) -> list[Visitor]:
    """Return who is to log in at OpenBao: every namespace of the active tenants with a store on the cluster.

    :param audiences: further ones, which tokens need where OpenBao reviews them with themselves.
    """
    profile, place = found.site.profile, found.site.place
    active = [one for one in found.decided.wanted if one.state == ACTIVE and one.tenant.name in found.decided.known]
    namespaces = {name: one.tenant for one in active for name in one.namespaces}
    made = []
    for one in active:
        if not (place.stores and one.tenant.openbao) or (only and one.tenant.name not in only):
            continue
        others = sorted(name for name, owner in namespaces.items() if owner.name != one.tenant.name)
        others = [name for name in others if namespaces[name].openbao] or others
        near = others[0] if others else _NOBODY
        own_role = place.per_tenant and others and namespaces[near].openbao
        made += [
            Visitor(
                tenant=one.tenant.name,
                namespace=namespace,
                account=profile.eso_account,
                other=profile.flux_account,
                neighbour=near,
                mount=str(place.stores["mount"]),
                role=f"tenant-{one.tenant.name}" if place.per_tenant else "tenant",
                audiences=(str(place.stores["audience"]), *audiences),
                kv_mount=str(place.stores["kv_mount"]),
                prefix=place.kv_prefix,
                cluster=place.name,
                neighbour_role=f"tenant-{namespaces[near].name}" if own_role else "",
            )
            for namespace in one.namespaces
        ]
    return made
