# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Options of the modules about tenants as records: a cluster, what the platform offers, all declarations. Pure."""

from __future__ import annotations

import dataclasses
import datetime
import json
import types
import typing as t
from collections.abc import Mapping

from .._core.errors import check
from .._tiers import model as tiers
from . import profile as offers
from .findings import Finding, Judged, judge
from .objects import Place

_NONE: t.Final[Mapping[str, t.Any]] = types.MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Site:
    """One cluster and what it offers. :ivar clusters: all that there are; empty if that is not known."""

    cluster: str
    profile: offers.TenantProfile
    place: Place
    table: tiers.Table
    clusters: tuple[str, ...] = ()

    @property
    def tier_label(self) -> str:
        return self.table.label


def of(params: Mapping[str, t.Any]) -> Site:
    """Return the site of a module's options.

    :raises InvalidInput: for what is wrong with them.
    """
    table = tiers.parse(tiers.plain(params["tiers"]))
    profile = offers.parse(tiers.plain(params["platform"]), label_domain=params["label_domain"])
    cluster = params["cluster"]
    check(
        not profile.clusters or cluster in profile.clusters,
        f"{cluster} takes no tenants.",
        item="cluster",
        rule="unknown-cluster",
        fix=f"give one of platform.clusters: {', '.join(profile.clusters)}.",
    )
    openbao = params.get("openbao") or _NONE
    stores: dict[str, t.Any] = {}
    if openbao:
        stores = {
            "server": openbao["server"],
            "mount": openbao.get("mount") or f"kubernetes-{cluster}",
            "audience": openbao.get("audience") or f"openbao-{cluster}",
            "kv_mount": openbao["kv_mount"],
        }
        if openbao.get("ca_bundle"):
            stores["ca_bundle"] = openbao["ca_bundle"]
    place = Place(
        name=cluster,
        stores=stores,
        kv_prefix=openbao.get("kv_prefix", "tenants"),
        per_tenant=bool(openbao.get("per_tenant")),
        quota_optout=table.optout_quota,
    )
    names = params.get("known_clusters") or ()
    return Site(cluster, profile, place, table, tuple(dict.fromkeys((*names, cluster))) if names else ())


@dataclasses.dataclass(frozen=True)
class Read:
    """All declarations, judged."""

    judged: Judged
    cluster: str
    files: int

    @property
    def member_ids(self) -> frozenset[str]:
        """Return the members of this cluster's tenants."""
        return frozenset(
            one.membership.id for one in self.judged.tenants if one.membership.id and self.cluster in one.clusters
        )

    @property
    def declared(self) -> frozenset[str]:
        """Return the tenants that have a declaration, be it a broken one."""
        return frozenset({one.name for one in self.judged.tenants} | self.judged.broken)

    @property
    def errors(self) -> tuple[Finding, ...]:
        return self.judged.errors


def read(files: Mapping[str, t.Any], site: Site, today: datetime.date) -> Read:
    """Return what the declarations say, and what is wrong with them.

    :param files: texts by their paths, or declarations that are mappings already.
    """
    texts = {}
    for path, one in files.items():
        if isinstance(one, Mapping):
            plain = tiers.plain(one)
            name = f"{plain.get('name') or path}.yaml"
            # a second one of that name is an error, and must be seen
            texts[name if name not in texts else f"{path}/{name}"] = json.dumps(plain)
        else:
            texts[path] = one
    judged = judge(texts, site.profile, clusters=site.clusters, table=site.table, today=today.isoformat())
    return Read(judged, site.cluster, len(texts))
