# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is wrong with the declarations of tenants, over all files at once.

:func:`judge` takes the texts of all files. A file that breaks the schema is one finding; its tenant is *broken*: known
by the name of the file, neither rendered nor taken for gone. Everything else is judged over what could be read.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import types
import typing as t
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

from .._core.errors import InvalidInput
from .._kube.normalise import quantity
from .._tiers.model import Table
from .._tiers.resolve import resolve as resolve_tier
from .model import ARCHIVED, REMOVED, REQUIRED, Domain, Tenant, is_declaration, load, stem
from .profile import TenantProfile, resolve

Level = t.Literal["error", "warning"]

#: Every rule that is judged here; the rules of the schema stand in :mod:`schema`.
RULES: t.Final[Mapping[str, str]] = {
    "approval-expired": "an approval that is needed is still good",
    "approval-missing": "exceptions (namespace tier, quota, domain, Pod Security, name) have an approval",
    "approval-unused": "approvals are for something",
    "authentication-not-offered": "auth: required needs an ingress that authenticates",
    "capacity": "all quotas together fit",
    "data-class-twice": "no tenant has two data classes of one name",
    "date": "dates are days of the calendar",
    "domain-overlap": "no domain lies inside another tenant's",
    "domain-reserved": "no tenant has a domain of the platform",
    "domain-twice": "no tenant has a domain twice",
    "domain-unreachable": "a domain's namespace lets the ingress in",
    "file-name": "a file is named after its tenant",
    "git-auth": "the login fits the address",
    "git-not-allowed": "Git repositories are where the platform allows them",
    "grace-days": "a declaration names no more days of grace than the platform gives",
    "group-shared": "a group of people belongs to one tenant",
    "name-reserved": "no tenant has a name of the platform",
    "namespace-name": "namespaces are named after their namespace tier and their tenant",
    "namespace-tier": "namespace tiers are among those for tenants",
    "network-mode": "network modes are among those that the platform offers",
    "prefix-collision": "no tenant's name begins with another's and a hyphen",
    "quota-ceiling": "quotas are within the ceiling of their namespace tier, or approved",
    "retention-too-short": "data is kept at least as long as the platform says",
    "sealed-one-place": "sealed values are for one namespace on one cluster",
    "secret-name": "no two Kubernetes Secrets of a tenant have one name",
    "secret-source": "credentials come from where the tenant's secrets come from",
    "sealed-not-offered": "Sealed Secrets is used where it runs",
    "source-shared": "no two namespaces reconcile the same folder of the same repository",
    "storage-class": "StorageClasses are among those for tenants",
    "subdomains-not-offered": "all that is below a domain is given where the platform says so",
    "tier-mismatch": "the table of namespace tiers agrees on a namespace",
    "unique-domain": "no two tenants have the same domain",
    "unique-name": "no two files declare the same tenant",
    "unique-namespace": "no two tenants have the same namespace",
    "unknown-cluster": "clusters are among those that take tenants",
    "unknown-namespace": "a domain is used in a namespace of the tenant",
}


_NOTHING: t.Final[Mapping[str, Collection[str]]] = types.MappingProxyType({})


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    """One broken rule.

    :ivar file: name of the file; ``platform_tenants`` for what the inventory says.
    :ivar path: place in the file.
    :ivar tenant: name of the tenant, by the file where the declaration could not be read.
    :ivar against: name of the tenant that wants the same; empty if nobody else has to do with it.
    :ivar mine: what is wanted here, if somebody may have it already; ``theirs`` what the other one wants.
    """

    file: str
    path: str
    rule: str
    message: str
    fix: str = dataclasses.field(compare=False)
    level: Level = dataclasses.field(default="error", compare=False)
    tenant: str = dataclasses.field(default="", compare=False)
    against: str = dataclasses.field(default="", compare=False)
    mine: str = dataclasses.field(default="", compare=False)
    theirs: str = dataclasses.field(default="", compare=False)

    @property
    def item(self) -> str:
        """Return file and place."""
        return f"{self.file}: {self.path}" if self.path else self.file

    def as_dict(self) -> dict[str, str]:
        """Return the finding as the filter gives it out."""
        return {
            "item": self.item,
            "rule": self.rule,
            "level": self.level,
            "message": self.message,
            "fix": self.fix,
            "file": self.file,
            "path": self.path,
            "tenant": self.tenant,
        }


@dataclasses.dataclass(frozen=True)
class Judged:
    """All files, read and judged.

    :ivar tenants: declarations that could be read, by name, with the site's defaults filled in; of two with one name
        the first.
    :ivar findings: sorted; errors and warnings.
    :ivar broken: names of tenants with an error, or whose file could not be read: leave them as they are.
    """

    tenants: tuple[Tenant, ...]
    findings: tuple[Finding, ...]
    broken: frozenset[str]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.level == "error")

    @property
    def sound(self) -> tuple[Tenant, ...]:
        """Return the tenants without an error."""
        return tuple(one for one in self.tenants if one.name not in self.broken)

    def settled(self, known: Collection[str], has: Mapping[str, Collection[str]] = _NOTHING) -> Judged:
        """Return the same for a cluster that has some of the tenants: what they have, nobody else can take.

        Where two want the same, the error is the newcomer's; where both are there, it is of who does not have it yet.
        It stays with both if both have it, or neither.

        :param has: by tenant, the hosts and repositories that it has on the cluster.
        """

        def first(one: Finding) -> bool:
            if not one.against or one.tenant not in known:
                return False
            if one.against not in known:
                return True
            return one.mine in has.get(one.tenant, ()) and one.theirs not in has.get(one.against, ())

        return _judged(self.tenants, [one for one in self.findings if not first(one)])

    def held(self, hosts: Mapping[str, Collection[str]]) -> Judged:
        """Return the same for a cluster on which tenants have hosts, also those that could not be read.

        Whose file is wrong or gone still has its hosts: nobody takes them in the meantime.

        :param hosts: by tenant, without what is said of them.
        """
        absent = {name: some for name, some in hosts.items() if some and name not in {one.name for one in self.tenants}}
        found = [
            dataclasses.replace(
                _finding(
                    one,
                    f"domains[{index}].name",
                    "unique-domain",
                    f"{domain.name} is on the cluster with tenant {name} ({host}), whose file is wrong or gone.",
                    f"correct the file of {name}, or bring it back without the domain or with state: removed.",
                ),
                against=name,
            )
            for name, some in sorted(absent.items())
            for one in self.tenants
            for index, domain in enumerate(one.domains)
            if domain.name not in hosts.get(one.name, ())
            for host in sorted(some)
            if domain.name == host or domain.name.endswith(f".{host}") or host.endswith(f".{domain.name}")
        ]
        return _judged(self.tenants, [*self.findings, *found]) if found else self


def _judged(tenants: Iterable[Tenant], found: Iterable[Finding]) -> Judged:
    ordered = tuple(sorted(set(found)))
    wrong = [one for one in ordered if one.level == "error" and one.tenant]
    # a file that names another tenant than its own is about both
    broken = frozenset(name for one in wrong for name in (one.tenant, stem(one.file)))
    return Judged(tuple(sorted(tenants, key=lambda one: one.name)), ordered, broken)


def judge(
    files: Mapping[str, str],
    profile: TenantProfile,
    *,
    clusters: Sequence[str] = (),
    table: Table | None = None,
    today: str = "",
    known: Collection[str] = (),
) -> Judged:
    """Return all tenants and everything that is wrong.

    :param files: texts by path; what is no declaration (:func:`model.is_declaration`) is left out.
    :param clusters: clusters that there are; ``profile.clusters`` restricts them. Not checked if both are empty.
    :param table: the table of namespace tiers, to look whether it agrees.
    :param today: ``2026-12-31``; without, approvals do not expire.
    :param known: tenants that the cluster has already; who asks it later calls :meth:`Judged.settled`.
    """
    read: list[Tenant] = []
    found: list[Finding] = []
    for path in sorted(files):
        if not is_declaration(path):
            continue
        try:
            read.append(resolve(load(files[path], path), profile))
        except InvalidInput as error:
            place = error.item.removeprefix(path).removeprefix(": ")
            found.append(Finding(path, place, error.rule, error.message, error.fix, tenant=stem(path)))
    site = _Site(profile, tuple(profile.clusters or clusters), table, today)
    for tenant in read:
        found += _file(tenant)
        for rule in _SINGLE:
            found += rule(tenant, site)
    for together in _TOGETHER:
        found += together(read, site)
    found += _approvals(read, site)
    first: dict[str, Tenant] = {}
    for tenant in read:
        first.setdefault(tenant.name, tenant)
    return _judged(first.values(), found).settled(known)


class _Site:
    """What declarations are held against; remembers which approvals were needed."""

    def __init__(
        self,
        profile: TenantProfile,
        clusters: tuple[str, ...],
        table: Table | None,
        today: str,
    ) -> None:
        self.profile = profile
        self.clusters = clusters
        self.table = table
        self.today = today
        self._approved = {(one.tenant, one.kind, one.value): one for one in profile.approvals}
        self.used: set[tuple[str, str, str]] = set()

    def approval(self, tenant: Tenant, path: str, kind: str, value: str, why: str) -> Iterator[Finding]:
        """Yield a finding unless somebody approved of it."""
        key = (tenant.name, kind, value)
        found = self._approved.get(key)
        line = f"{{tenant: {tenant.name}, kind: {kind}, value: {value!r}, by: ...}}"
        if found is None:
            yield _finding(
                tenant,
                path,
                "approval-missing",
                f"{why}; that needs an approval.",
                f"add {line} to platform_tenants.approvals, or change the declaration.",
            )
            return
        self.used.add(key)
        if found.until and self.today and found.until < self.today:
            yield _finding(
                tenant,
                path,
                "approval-expired",
                f"{why}; the approval was good until {found.until}.",
                "renew it in platform_tenants.approvals, or change the declaration.",
            )


def _finding(tenant: Tenant, path: str, rule: str, message: str, fix: str, *, level: Level = "error") -> Finding:
    return Finding(tenant.file, path, rule, message, fix, level, tenant.name)


# -- one declaration -----------------------------------------------------------------------------------------------


def _file(tenant: Tenant) -> Iterator[Finding]:
    if stem(tenant.file) != tenant.name:
        yield _finding(
            tenant, "name", "file-name", f"{tenant.name!r} is not the name of the file.", f"name it {tenant.name}.yaml."
        )


def _names(tenant: Tenant, site: _Site) -> Iterator[Finding]:
    for reserved in sorted(set(site.profile.reserved_names)):
        if tenant.name == reserved or tenant.name.startswith(f"{reserved}-"):
            yield _finding(
                tenant, "name", "name-reserved", f"{reserved!r} is kept for the platform.", "choose another name."
            )
            return


def _clusters(tenant: Tenant, site: _Site) -> Iterator[Finding]:
    for index, name in enumerate(tenant.clusters):
        if site.clusters and name not in site.clusters:
            yield _finding(
                tenant,
                f"clusters[{index}]",
                "unknown-cluster",
                f"{name!r} is no cluster for tenants.",
                "one of " + ", ".join(sorted(site.clusters)) + ".",
            )


def _namespaces(tenant: Tenant, site: _Site) -> Iterator[Finding]:
    profile = site.profile
    for index, one in enumerate(tenant.namespaces):
        path = f"namespaces[{index}]"
        tier = profile.tier(one.tier)
        if tier is None:
            yield _finding(
                tenant,
                f"{path}.tier",
                "namespace-tier",
                f"{one.tier!r} is no namespace tier for tenants.",
                "one of " + ", ".join(each.name for each in profile.tiers) + ".",
            )
            continue
        if tier.approval:
            yield from site.approval(tenant, f"{path}.tier", "tier", tier.name, f"namespace tier {tier.name}")
        base = f"{one.tier}-{tenant.name}"
        if not (one.name == base or one.name.startswith(f"{base}-")) or len(one.name) > 63:
            yield _finding(
                tenant,
                f"{path}.name",
                "namespace-name",
                f"{one.name!r} is not named after its tenant.",
                f"{base}, or {base}-<something>, at most 63 characters.",
            )
        elif site.table is not None:
            said = resolve_tier(site.table, one.name)
            if said.tier != one.tier:
                yield _finding(
                    tenant,
                    path,
                    "tier-mismatch",
                    f"by the table of namespace tiers, {one.name} belongs to {said.tier or 'none'}, not {one.tier}.",
                    "correct platform_tiers or platform_tenants.namespace_tiers.",
                )
        if one.network not in profile.network_modes:
            yield _finding(
                tenant,
                f"{path}.network" if tenant.network != one.network else "network",
                "network-mode",
                f"{one.network!r} is not offered.",
                "one of " + ", ".join(profile.network_modes) + ".",
            )
        if one.pod_security not in profile.pod_security:
            where = f"{path}.pod_security" if tenant.pod_security != one.pod_security else "pod_security"
            yield from site.approval(tenant, where, "pod_security", one.pod_security, f"level {one.pod_security}")
        yield from _quota(tenant, index, site)


def _ceiling(name: str, site: _Site) -> dict[str, str]:
    """Return the most that a quota may be: what the platform says, else what the namespace tier's own quota is."""
    tier = site.profile.tier(name)
    own = next((one.quota for one in (site.table.tiers if site.table else ()) if one.name == name), None)
    return {**(own.hard if own else {}), **(tier.ceiling if tier else {})}


def _quota(tenant: Tenant, index: int, site: _Site) -> Iterator[Finding]:
    one = tenant.namespaces[index]
    ceiling = _ceiling(one.tier, site)
    over = []
    for name, amount in sorted(one.quota.items()):
        most, wanted = quantity(ceiling.get(name)), quantity(amount)
        if wanted is not None and (most is None or wanted > most):
            over.append(f"{name} {amount} ({'no ceiling' if most is None else 'at most ' + ceiling[name]})")
    if over:
        said = f"quota above the ceiling of {one.tier}: {', '.join(over)}"
        for found in site.approval(tenant, f"namespaces[{index}].quota", "quota", one.name, said):
            rule = "quota-ceiling" if found.rule == "approval-missing" else found.rule
            yield dataclasses.replace(found, rule=rule)


def _git(tenant: Tenant, site: _Site) -> Iterator[Finding]:
    source = tenant.source
    if source is None:
        return
    allowed = site.profile.git_allow
    if not any(source.url.startswith(prefix) for prefix in allowed):
        yield _finding(
            tenant,
            "source.url",
            "git-not-allowed",
            f"{source.url} is not where tenants' repositories may be.",
            "begin it with " + (" or ".join(sorted(allowed)) or "nothing: platform_tenants.git.allow is empty") + ".",
        )
    ssh = source.url.startswith("ssh:")
    if ssh != (source.auth == "ssh"):
        yield _finding(
            tenant,
            "source.auth",
            "git-auth",
            f"type {source.auth} does not fit {source.url.partition(':')[0]}.",
            "auth: {type: ssh, path: ...}." if ssh else "type token, githubApp or none for https.",
        )


def _domains(tenant: Tenant, site: _Site) -> Iterator[Finding]:
    profile = site.profile
    places = {one.name: one for one in tenant.namespaces}
    offered = bool(profile.authentication) or any(one.authenticates for one in profile.gateways)
    seen: set[str] = set()
    for index, one in enumerate(tenant.domains):
        path = f"domains[{index}]"
        if one.name in seen:
            yield _finding(tenant, f"{path}.name", "domain-twice", f"{one.name} is there twice.", "write it once.")
        seen.add(one.name)
        place = places.get(one.namespace)
        if place is None:
            yield _finding(
                tenant,
                f"{path}.namespace",
                "unknown-namespace",
                f"{one.namespace!r} is none of this tenant's.",
                "one of " + ", ".join(places) + ".",
            )
        elif place.network == "isolated":
            yield _finding(
                tenant,
                path,
                "domain-unreachable",
                f"{one.namespace} is isolated, so no ingress reaches it.",
                "give the namespace network: ingress or internet, or take the domain away.",
            )
        if one.auth == REQUIRED and not offered:
            yield _finding(
                tenant,
                f"{path}.auth",
                "authentication-not-offered",
                "no ingress of the platform authenticates.",
                "set platform_tenants.ingress.authentication or a gateway that authenticates, or choose auth: app.",
            )
        yield from _domain_offer(tenant, path, one, site)


def _domain_offer(tenant: Tenant, path: str, one: Domain, site: _Site) -> Iterator[Finding]:
    profile = site.profile
    for reserved in profile.reserved_domains:
        if one.name == reserved or (one.subdomains and reserved.endswith(f".{one.name}")):
            yield _finding(
                tenant, f"{path}.name", "domain-reserved", f"{reserved} is kept for the platform.", "choose another."
            )
            return
    if not any(_covers(offer, one.name, tenant.name) for offer in profile.self_service_domains):
        yield from site.approval(tenant, f"{path}.name", "domain", one.name, f"domain {one.name}")
    elif one.subdomains and not profile.subdomains:
        yield _finding(
            tenant,
            f"{path}.subdomains",
            "subdomains-not-offered",
            f"not all below {one.name} is given to a tenant.",
            "list each host, or set platform_tenants.domains.subdomains.",
        )


def _covers(offer: str, name: str, tenant: str) -> bool:
    """Say whether an offer (``{tenant}.example.org``, ``*.example.org``, ``www.example.org``) has a domain in it."""
    if offer.startswith("*."):
        return name.endswith(offer[1:])
    base = offer.replace("{tenant}", tenant)
    return name == base or ("{tenant}" in offer and name.endswith(f".{base}"))


def _secrets(tenant: Tenant, site: _Site) -> Iterator[Finding]:
    if tenant.sealed_secrets and not site.profile.sealed_secrets:
        yield _finding(
            tenant,
            "secrets.from",
            "sealed-not-offered",
            "Sealed Secrets does not run on the clusters.",
            "use openbao, or set platform_tenants.sealed_secrets once it runs.",
        )
    for path, one in tenant.credentials():
        if one.path and not tenant.openbao:
            yield _finding(
                tenant,
                f"{path}.path",
                "secret-source",
                "this tenant's secrets do not come from OpenBao.",
                "add openbao to secrets.from, or give sealed values.",
            )
        if one.sealed and not tenant.sealed_secrets:
            yield _finding(
                tenant,
                f"{path}.sealed",
                "secret-source",
                "this tenant's secrets do not come from Sealed Secrets.",
                "add sealed-secrets to secrets.from, or give a path.",
            )
        if one.sealed and (len(tenant.clusters) > 1 or len(tenant.namespaces) > 1):
            yield _finding(
                tenant,
                f"{path}.sealed",
                "sealed-one-place",
                "a sealed value can be opened in one namespace of one cluster only.",
                "give a path in OpenBao, or have one namespace and one cluster.",
            )
    used = {"tenant-git": "source.auth", "tenant-git-keys": "source.verify"}
    for index, pull in enumerate(tenant.image_pull):
        if pull.name in used:
            yield _finding(
                tenant,
                f"image_pull[{index}].name",
                "secret-name",
                f"{pull.name} is also {used[pull.name]}.",
                "choose another name.",
            )
        used.setdefault(pull.name, f"image_pull[{index}]")


def _data(tenant: Tenant, site: _Site) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, one in enumerate(tenant.data):
        path = f"data[{index}]"
        if one.name in seen:
            yield _finding(tenant, f"{path}.name", "data-class-twice", f"{one.name} is there twice.", "rename one.")
        seen.add(one.name)
        if one.storage_class not in site.profile.storage_classes:
            yield _finding(
                tenant,
                f"{path}.storage_class",
                "storage-class",
                f"{one.storage_class!r} is not for tenants.",
                "one of " + (", ".join(sorted(site.profile.storage_classes)) or "none: see platform_tenants") + ".",
            )
        if one.retention_days < site.profile.minimum_retention_days:
            yield _finding(
                tenant,
                f"{path}.retention_days",
                "retention-too-short",
                f"{one.retention_days} days are too few.",
                f"at least {site.profile.minimum_retention_days}.",
            )


def _dates(tenant: Tenant, _site: _Site) -> Iterator[Finding]:
    text = tenant.membership.paid_until
    if text:
        try:
            datetime.date.fromisoformat(text)
        except ValueError:
            yield _finding(
                tenant, "membership.paid_until", "date", f"there is no day {text}.", "correct it, as 2026-12-31."
            )


def _grace(tenant: Tenant, site: _Site) -> Iterator[Finding]:
    most = site.profile.max_grace_days
    if tenant.membership.grace_days > most:
        yield _finding(
            tenant,
            "membership.grace_days",
            "grace-days",
            f"{tenant.membership.grace_days} days of grace are more than the platform gives; {most} count.",
            f"at most {most}; platform_tenants.max_grace_days may give more.",
            level="warning",
        )


Single = Callable[[Tenant, _Site], Iterator[Finding]]
_SINGLE: t.Final[tuple[Single, ...]] = (_names, _clusters, _namespaces, _git, _domains, _secrets, _data, _dates, _grace)


# -- all together --------------------------------------------------------------------------------------------------


Place = tuple[Tenant, str]


def _blamed(one: Place, other: Place) -> Iterator[tuple[Place, Place]]:
    """Yield who is wrong, with who has the same: both, if they are two tenants; ``settled`` may let one of them off."""
    yield one, other
    if one[0].name != other[0].name:
        yield other, one


@dataclasses.dataclass(frozen=True)
class _Rule:
    """How something that is there twice is reported. :ivar within: also when one tenant has it twice."""

    name: str
    what: str
    fix: str
    within: bool = True
    level: Level = "error"


def _twice(values: Iterable[tuple[Tenant, str, str]], rule: _Rule) -> Iterator[Finding]:
    first: dict[str, Place] = {}
    for tenant, path, value in values:
        there = first.setdefault(value, (tenant, path))
        if there == (tenant, path) or not (rule.within or there[0].name != tenant.name):
            continue
        for (who, where), (other, place) in _blamed((tenant, path), there):
            said = f"{rule.what.format(value)} is also {other.file}: {place}."
            found = _finding(who, where, rule.name, said, rule.fix, level=rule.level)
            against, thing = other.name if other.name != who.name else "", value.partition(" ")[0]
            yield dataclasses.replace(found, against=against, mine=thing, theirs=thing)


def _unique_names(tenants: Sequence[Tenant], _site: _Site) -> Iterator[Finding]:
    rule = _Rule("unique-name", "tenant {}", "keep one file for each tenant.")
    yield from _twice(((one, "name", one.name) for one in tenants), rule)


def _unique_files(tenants: Sequence[Tenant]) -> list[Tenant]:
    """Return the first of each name, so that a file that is there twice is one finding."""
    return list({one.name: one for one in reversed(tenants)}.values())[::-1]


def _unique_namespaces(tenants: Sequence[Tenant], _site: _Site) -> Iterator[Finding]:
    yield from _twice(
        (
            (one, f"namespaces[{i}].name", place.name)
            for one in _unique_files(tenants)
            for i, place in enumerate(one.namespaces)
        ),
        _Rule("unique-namespace", "namespace {}", "rename one of them."),
    )


def _prefixes(tenants: Sequence[Tenant], site: _Site) -> Iterator[Finding]:
    names = {one.name: one for one in tenants}
    for one in _unique_files(tenants):
        parts = one.name.split("-")
        for length in range(1, len(parts)):
            shorter = names.get("-".join(parts[:length]))
            if shorter is None:
                continue
            why = f"{one.name} begins with the name of tenant {shorter.name}, so their namespaces could be the same"
            for found in site.approval(one, "name", "name", one.name, why):
                rule = "prefix-collision" if found.rule == "approval-missing" else found.rule
                yield dataclasses.replace(found, rule=rule, against=shorter.name)
                yield dataclasses.replace(found, rule=rule, file=shorter.file, tenant=shorter.name, against=one.name)


def _unique_domains(tenants: Sequence[Tenant], _site: _Site) -> Iterator[Finding]:
    places = [(one, f"domains[{i}].name", d.name) for one in _unique_files(tenants) for i, d in enumerate(one.domains)]
    fix = "agree on who has it, and take it out of the other file."
    yield from _twice(places, _Rule("unique-domain", "{}", fix, within=False))
    owner: dict[str, Place] = {}
    for tenant, path, name in places:
        owner.setdefault(name, (tenant, path))
    for tenant, path, name in places:
        parts = name.split(".")
        for start in range(1, len(parts) - 1):
            upper = ".".join(parts[start:])
            above = owner.get(upper)
            if above is None or above[0].name == tenant.name:
                continue
            for (who, where), (other, place) in _blamed((tenant, path), above):
                mine, theirs = (name, upper) if who is tenant else (upper, name)
                said = f"{name} lies inside {upper}, and one of them is {other.file}: {place}."
                fix = "give both to one tenant: who has the upper one can read the lower one's cookies."
                found = _finding(who, where, "domain-overlap", said, fix)
                yield dataclasses.replace(found, against=other.name, mine=mine, theirs=theirs)


def repository(url: str) -> str:
    """Return what two addresses of one Git repository have in common."""
    return re.sub(r"^(https|ssh)://([^@/]*@)?", "", url).removesuffix("/").removesuffix(".git")


def _folders(tenants: Sequence[Tenant], _site: _Site) -> Iterator[Finding]:
    yield from _twice(
        (
            (one, f"namespaces[{i}].path", f"{repository(one.source.url)} {place.path}")
            for one in _unique_files(tenants)
            if one.source is not None and one.state not in (ARCHIVED, REMOVED)
            for i, place in enumerate(one.namespaces)
        ),
        _Rule("source-shared", "{}", "give each namespace a folder of its own."),
    )


def _groups(tenants: Sequence[Tenant], _site: _Site) -> Iterator[Finding]:
    yield from _twice(
        (
            (one, f"access[{i}]", f"group {each.name}")
            for one in _unique_files(tenants)
            for i, each in enumerate(one.access)
            if each.kind == "Group"
        ),
        _Rule("group-shared", "{}", "give each a group of its own.", within=False, level="warning"),
    )


def _capacity(tenants: Sequence[Tenant], site: _Site) -> Iterator[Finding]:
    for name, most in sorted(site.profile.capacity.items()):
        room = quantity(most)
        total = sum(
            (
                (quantity(place.quota[name]) or Fraction(0)) * len(one.clusters)
                for one in _unique_files(tenants)
                for place in one.namespaces
                if name in place.quota and one.state not in (ARCHIVED, REMOVED)
            ),
            Fraction(0),
        )
        if room is not None and total > room:
            yield Finding(
                "platform_tenants",
                f"capacity.{name}",
                "capacity",
                f"all quotas are {float(total):g}, not {most}.",
                "lower quotas, or raise the capacity.",
                "warning",
            )


Together = Callable[[Sequence[Tenant], _Site], Iterator[Finding]]
_TOGETHER: t.Final[tuple[Together, ...]] = (
    _unique_names,
    _unique_namespaces,
    _prefixes,
    _unique_domains,
    _folders,
    _groups,
    _capacity,
)


def _approvals(tenants: Sequence[Tenant], site: _Site) -> Iterator[Finding]:
    known = {one.name for one in tenants}
    for index, one in enumerate(site.profile.approvals):
        if (one.tenant, one.kind, one.value) not in site.used:
            why = "is needed by nothing" if one.tenant in known else "is for a tenant that is not declared"
            yield Finding(
                "platform_tenants",
                f"approvals[{index}]",
                "approval-unused",
                f"{one.kind} {one.value}: {why}.",
                "remove it, or correct tenant and value.",
                "warning",
            )
