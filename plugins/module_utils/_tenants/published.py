# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Hosts that live objects of tenants publish and that are in no declaration of theirs.

The guards look at what is made and changed. What was there when a domain was taken out of a declaration stays, and goes
on answering for it, until Flux or somebody takes it away; so it is looked for.
"""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from .._kube.normalise import Object
from .._kube.ports import Api, ServerError, listed
from . import desired, guards
from .desired import Known, Wanted
from .profile import TenantProfile


def _of_ingress(spec: Mapping[str, t.Any]) -> Iterator[str]:
    for rule in spec.get("rules") or ():
        yield str(rule.get("host") or "*")
    if spec.get("defaultBackend"):
        yield "*"
    for one in spec.get("tls") or ():
        yield from map(str, one.get("hosts") or ())


def _of_route(spec: Mapping[str, t.Any]) -> Iterator[str]:
    yield from map(str, spec.get("hostnames") or ("*",))


def _of_certificate(spec: Mapping[str, t.Any]) -> Iterator[str]:
    yield from map(str, spec.get("dnsNames") or ())
    if spec.get("commonName"):
        yield str(spec["commonName"])


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of objects with hosts. :ivar path: its collection."""

    name: str
    path: str
    hosts: Callable[[Mapping[str, t.Any]], Iterator[str]]


INGRESSES: t.Final = (Kind("Ingress", "/apis/networking.k8s.io/v1/ingresses", _of_ingress),)
ROUTES: t.Final = (
    Kind("HTTPRoute", "/apis/gateway.networking.k8s.io/v1/httproutes", _of_route),
    Kind("GRPCRoute", "/apis/gateway.networking.k8s.io/v1/grpcroutes", _of_route),
)
CERTIFICATES: t.Final = (Kind("Certificate", "/apis/cert-manager.io/v1/certificates", _of_certificate),)


@dataclasses.dataclass(frozen=True, order=True)
class Stray:
    """A host that an object publishes and may not."""

    tenant: str
    namespace: str
    kind: str
    name: str
    host: str

    def __str__(self) -> str:
        what = "every host" if self.host == "*" else self.host
        return (
            f"{self.kind} {self.namespace}/{self.name} is there for {what}, which is no domain of its declaration (any "
            f"more). Fix: take it out of the tenant's repository; without Flux, kubectl -n {self.namespace} delete "
            f"{self.kind.lower()} {self.name}"
        )

    def as_dict(self) -> dict[str, str]:
        """Return what modules report."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Allowed:
    """Whose a namespace is, and its hosts as the guards read them. :ivar hosts: with a dot, all that is below."""

    tenant: str
    hosts: frozenset[str]

    def covers(self, host: str) -> bool:
        """Say whether a host is in the list."""
        return host in self.hosts or any(one.startswith(".") and host.endswith(one) for one in self.hosts)


def allowed(wanted: Iterable[Wanted], known: Mapping[str, Known], profile: TenantProfile) -> dict[str, Allowed]:
    """Return by namespace what is allowed: by the declaration, or by the cluster where no declaration can be read."""
    found = {
        name: Allowed(tenant, desired.entries(one, profile))
        for tenant, there in known.items()
        for name, one in there.namespaces.items()
    }
    for each in wanted:
        if each.held or each.tenant.name not in known:
            continue
        for space in each.tenant.namespaces:
            found[space.name] = Allowed(each.tenant.name, desired.parted(guards.hosts_text(each.tenant, space)))
    return found


def strays(objects: Iterable[tuple[Kind, Object]], spaces: Mapping[str, Allowed]) -> list[Stray]:
    """Return the hosts that are not allowed, sorted. Objects that are on their way out do not count."""
    found = set()
    for kind, one in objects:
        metadata = one["metadata"]
        space = spaces.get(str(metadata.get("namespace") or ""))
        if space is None or metadata.get("deletionTimestamp"):
            continue
        for host in kind.hosts(one.get("spec") or {}):
            if not space.covers(host.lower()):
                found.add(Stray(space.tenant, metadata["namespace"], kind.name, metadata["name"], host.lower()))
    return sorted(found)


def look(api: Api, spaces: Mapping[str, Allowed], kinds: Collection[Kind]) -> tuple[list[Stray], list[str]]:
    """Return the hosts that are not allowed, and the kinds that the login may not list; one list for each kind."""
    objects: list[tuple[Kind, Object]] = []
    blind = []
    for kind in kinds if spaces else ():
        try:
            objects += [(kind, one) for one in listed(api, kind.path)]
        except ServerError as error:
            if error.status == 403:
                blind.append(kind.name)
            elif error.status != 404:
                raise
    return strays(objects, spaces), blind


def told(lines: Iterable[Mapping[str, t.Any]], found: Iterable[Stray]) -> list[dict[str, t.Any]]:
    """Return what is reported of tenants, with the hosts that are not allowed among the problems."""
    by_tenant: dict[str, list[str]] = {}
    for one in found:
        by_tenant.setdefault(one.tenant, []).append(str(one))
    made = []
    for line in lines:
        problems = [*line["problems"], *by_tenant.get(line["name"], ())]
        made.append({**line, "problems": problems, "ready": not problems})
    return made


def unseen(kinds: Collection[str]) -> list[str]:
    """Return a warning about kinds that the login may not list."""
    return (
        [f"the login may not list {', '.join(kinds)}, so hosts of no declaration are not all found."] if kinds else []
    )
