# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is left over in OpenBao: mounts and OpenBao policies of clusters that are gone, aliases of logins that are gone.

Every login of a ServiceAccount makes an entity and an alias that has the ServiceAccount's uid as its name. When the
ServiceAccount is made anew, or the mount, the old ones stay for good. An entity goes with its last alias only if it is
as the login made it; one that somebody named, gave OpenBao policies or put into a group stays. Only what is ours is
touched: mounts and OpenBao policies by their mark, aliases by the accessor of a mount of ours. Where the mount is gone
altogether, nobody can log in by the alias of a ServiceAccount again, and it goes too.
"""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping

from .._core.plan import Change, Plan
from .._core.prune import check_prune
from .._openbao.ports import Upstream
from . import access, migrate
from .model import OWNER, TENANT_PREFIX, Cluster, Settings
from .ports import data, listed
from .state import cluster_of, is_ours
from .steps import Bao

#: How accessors of mounts of ours begin.
_ACCESSORS: t.Final = ("auth_kubernetes_", "auth_jwt_")


@dataclasses.dataclass(frozen=True)
class Leftovers:
    """What OpenBao has beyond single clusters.

    :ivar mounts: path without slashes -> entry of ``sys/auth``.
    :ivar policies: name -> text, of those that may be ours and that no cluster wants.
    :ivar owned_policies: number of OpenBao policies that are ours, wanted ones too.
    :ivar aliases: id -> what the server says of it (``mount_accessor``, ``name``, ``canonical_id``, ``metadata``).
    :ivar own_mount: path of the mount by which this run is logged in.
    :ivar entities: id -> entity, of those that may go; one that is not here stays.
    """

    mounts: Mapping[str, Mapping[str, t.Any]]
    policies: Mapping[str, str] = dataclasses.field(default_factory=dict)
    owned_policies: int = 0
    aliases: Mapping[str, Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)
    own_mount: str = ""
    entities: Mapping[str, Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)


def aliases(bao: Upstream) -> dict[str, Mapping[str, t.Any]]:
    """Return all aliases, without metadata. Read before mounts and ServiceAccounts are: one that is made meanwhile has
    no alias here, and none that logs in meanwhile seems to be gone.
    """
    return dict(listed(bao, "identity/entity-alias/id"))


def read(
    bao: Upstream,
    clusters: t.Sequence[Cluster],
    settings: Settings,
    mounts: Mapping[str, Mapping[str, t.Any]],
    seen: Mapping[str, Mapping[str, t.Any]],
) -> Leftovers:
    """Return what there is: two requests, and one for each OpenBao policy and alias that may be left over.

    :param seen: what :func:`aliases` returned.
    """
    wanted = {name for cluster in clusters for name in access.policies(cluster, settings, ())}
    prefixes = tuple({TENANT_PREFIX, *(cluster.policy_prefix for cluster in clusters)})
    names = [n for n in listed(bao, "sys/policies/acl") if n.startswith(prefixes)]
    policies: dict[str, str] = {}
    for name in names:
        if name in wanted:
            continue
        answer = data(bao, f"sys/policies/acl/{name}")
        if answer is not None and access.owner(str(answer.get("policy") or "")) == OWNER:
            policies[name] = str(answer.get("policy") or "")
    reply = bao.request("GET", "auth/token/lookup-self", ok=(200, 403))
    came_by = str((reply.body.get("data") or {}).get("path") or "").removeprefix("auth/")
    return Leftovers(
        mounts=mounts,
        policies=policies,
        owned_policies=len(policies) + len(wanted & set(names)),
        aliases=_with_metadata(bao, mounts, seen),
        own_mount=max((p for p in mounts if came_by.startswith(f"{p}/")), key=len, default=""),
    )


def read_entities(bao: Upstream, there: Leftovers, planned: Plan) -> Leftovers:
    """Return *there* with the entities whose aliases are to go: one request each."""
    wanted = {str(there.aliases[c.name].get("canonical_id") or "") for c in planned.changes if c.kind == "login alias"}
    found: dict[str, Mapping[str, t.Any]] = {}
    for key in sorted(wanted - {""}):
        answer = bao.request("GET", f"identity/entity/id/{key}", ok=(200, 403, 404))
        entity = answer.body.get("data") if answer.status == 200 else None
        if isinstance(entity, dict):
            found[key] = entity
    return dataclasses.replace(there, entities=found)


def _made_by_login(entity: Mapping[str, t.Any], doomed: t.Collection[str]) -> bool:
    """Say if an entity is as a login made it, and has no alias that stays. Logins name it entity_<8 hex digits>."""
    others = {str(one.get("id")) for one in entity.get("aliases") or [] if isinstance(one, dict)} - set(doomed)
    lists = ("policies", "group_ids", "direct_group_ids", "metadata")
    return str(entity.get("name") or "").startswith("entity_") and not others and not any(entity.get(k) for k in lists)


def _with_metadata(
    bao: Upstream, mounts: Mapping[str, Mapping[str, t.Any]], seen: Mapping[str, Mapping[str, t.Any]]
) -> dict[str, Mapping[str, t.Any]]:
    """Return all aliases; those whose mount is gone with their metadata, which the list has not: one request each."""
    there = {str(mount.get("accessor")) for mount in mounts.values()}
    found: dict[str, Mapping[str, t.Any]] = dict(seen)
    for key, alias in seen.items():
        accessor = str(alias.get("mount_accessor") or "")
        if accessor not in there and accessor.startswith(_ACCESSORS) and "metadata" not in alias:
            found[key] = data(bao, f"identity/entity-alias/id/{key}") or alias
    return found


def plan(
    there: Leftovers,
    clusters: t.Sequence[Cluster],
    settings: Settings,
    live: Mapping[str, t.Collection[str]],
    *,
    named: t.Collection[str] = (),
) -> Plan:
    """Return the deletions; aliases alone where their entities have not been read.

    :param live: name of a cluster -> uids of its ServiceAccounts; clusters that could not be asked are left out, and
        their aliases left alone.
    :param named: accessors of replaced mounts whose tokens are still good; their aliases are left alone.
    :raises Refused: when it looks like an accident (rules ``prune-empty``, ``prune-cap``).
    """
    result = Plan()
    percent = settings.prune_max_percent
    # mounts of a move that was interrupted are its own business
    wanted = {c.mount + suffix for c in clusters for suffix in ("", migrate.NEXT, migrate.OLD)}
    owned = {path for path, mount in there.mounts.items() if is_ours(mount)}
    wanted |= {path for path in owned if cluster_of(there.mounts[path]) in settings.keep}
    doomed = sorted(owned - wanted - {there.own_mount})
    if there.own_mount in owned - wanted:
        result.warnings.append(f"not pruned, because the login in use came by it: auth mount {there.own_mount}.")
    check_prune(item="clusters", doomed=doomed, desired=len(clusters), owned=len(owned), max_percent=percent)
    _aliases(result, there, clusters, live, named=named, doomed_mounts=set(doomed), percent=percent)
    for path in doomed:
        before = {"description": there.mounts[path].get("description")}
        _delete(
            result, "auth mount", path, before, "ours, and of no cluster in the list", Bao("DELETE", f"sys/auth/{path}")
        )
    prefixes = {TENANT_PREFIX, *(cluster.policy_prefix for cluster in clusters)}
    kept = tuple(f"{prefix}{name}." for prefix in prefixes for name in settings.keep)
    gone = sorted(name for name in there.policies if not f"{name}.".startswith(kept))
    check_prune(
        item="clusters (OpenBao policies)",
        doomed=gone,
        desired=len(clusters),
        owned=there.owned_policies,
        max_percent=percent,
    )
    for name in gone:
        before = {"policy": there.policies[name]}
        why = "ours, and of no cluster or tenant in the list"
        _delete(result, "OpenBao policy", name, before, why, Bao("DELETE", f"sys/policies/acl/{name}"))
    return result


def _delete(result: Plan, kind: str, name: str, before: Mapping[str, t.Any], why: str, *steps: Bao) -> None:
    shown = frozenset({"description", "policy", "namespace", "service_account", "mount"})
    result.add(Change(kind, name, "delete", before, None, why, shown, steps))


def _aliases(
    result: Plan,
    there: Leftovers,
    clusters: t.Sequence[Cluster],
    live: Mapping[str, t.Collection[str]],
    *,
    named: t.Collection[str],
    doomed_mounts: set[str],
    percent: int,
) -> None:
    by_accessor = {str(mount.get("accessor")): path for path, mount in there.mounts.items()}
    cluster_of = {c.mount: c for c in clusters}
    owned: set[str] = set()
    doomed: dict[str, str] = {}
    kept_entities: set[str] = set()
    for key, alias in there.aliases.items():
        path = by_accessor.get(str(alias.get("mount_accessor")))
        metadata = alias.get("metadata") or {}
        why = ""
        if alias.get("mount_accessor") in named:
            kept_entities.add(str(alias.get("canonical_id")))
            continue
        if path is None:
            if not _of_a_pod(alias, metadata):
                kept_entities.add(str(alias.get("canonical_id")))
                continue
            owned.add(key)
            why = "its auth mount is gone"
        elif not is_ours(there.mounts[path]):
            kept_entities.add(str(alias.get("canonical_id")))
            continue
        else:
            owned.add(key)
            cluster = cluster_of.get(path)
            if path in doomed_mounts:
                why = "its auth mount goes"
            elif cluster is not None and cluster.name in live and str(alias.get("name")) not in live[cluster.name]:
                why = "its ServiceAccount is gone"
        if why:
            doomed[key] = why
        else:
            kept_entities.add(str(alias.get("canonical_id")))
    check_prune(
        item="aliases of logins",
        doomed=sorted(doomed),
        desired=sum(len(uids) for uids in live.values()),
        owned=len(owned),
        max_percent=percent,
    )
    for key, why in sorted(doomed.items()):
        alias = there.aliases[key]
        metadata = alias.get("metadata") or {}
        before = {
            "mount": by_accessor.get(str(alias.get("mount_accessor")), "gone"),
            "namespace": metadata.get("service_account_namespace", ""),
            "service_account": metadata.get("service_account_name", ""),
        }
        entity = str(alias.get("canonical_id") or "")
        whole = entity not in kept_entities and _made_by_login(there.entities.get(entity, {}), doomed)
        path = f"identity/entity/id/{entity}" if whole else f"identity/entity-alias/id/{key}"
        _delete(result, "login entity" if whole else "login alias", key, before, why, Bao("DELETE", path))


def _of_a_pod(alias: Mapping[str, t.Any], metadata: Mapping[str, t.Any]) -> bool:
    """Say if an alias came from a login of a ServiceAccount. Accessors never come back, so with its mount gone it is
    dead, whoever made the mount.
    """
    accessor = str(alias.get("mount_accessor") or "")
    return accessor.startswith(_ACCESSORS) and bool(metadata.get("service_account_namespace"))
