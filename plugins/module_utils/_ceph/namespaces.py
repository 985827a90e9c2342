# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""RADOS namespaces that RBD knows in its pools. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Mapping, Sequence

from .._core.errors import InvalidInput, Refused, check
from .._core.plan import Change, Plan
from . import pools, pve
from .pools_plan import OVERWRITES, Existing
from .ports import Command

KIND: t.Final = "RADOS namespace"
_POOL: t.Final = "pool"
#: Rook takes small letters only.
_NAME: t.Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


@dataclasses.dataclass(frozen=True)
class Namespace:
    """A declared namespace.

    :ivar data_pools: where images of it keep their data, if not in its pool.
    """

    pool: str
    name: str
    absent: bool = False
    data_pools: tuple[str, ...] = ()
    item: str = dataclasses.field(default="", compare=False)

    @property
    def full(self) -> str:
        """Pool and name, as RBD writes them."""
        return f"{self.pool}/{self.name}"


def parse(declared: Sequence[Mapping[str, t.Any]], where: str = "namespaces") -> list[Namespace]:
    """Return the declared namespaces."""
    result: list[Namespace] = []
    for index, one in enumerate(declared):
        pool = pools.check_name(one.get("pool"), f"{where}[{index}].pool")
        name = one.get("name") or ""
        check(
            _NAME.fullmatch(name),
            f"{name!r} is no name that Rook takes.",
            item=f"{where}[{index}].name",
            rule="namespace-name",
            fix="use small letters, digits, dots, hyphens and underscores, at most 63.",
        )
        data = tuple(pools.check_name(other, f"{where}[{index}].data_pools") for other in one.get("data_pools") or ())
        made = Namespace(pool, name, one.get("state", "present") == "absent", data, f"{where}[{pool}/{name}]")
        check(
            all(made.full != other.full for other in result),
            "is declared twice.",
            item=made.item,
            rule="namespace-twice",
            fix="each namespace belongs to one consumer: declare it once.",
        )
        result.append(made)
    return result


def check_pools(
    wanted: Sequence[Namespace], there: Mapping[str, Existing], storages: Sequence[pve.Storage]
) -> list[str]:
    """Return the pools to look into.

    :raises InvalidInput: for pools that are not there, or not for RBD.
    :raises Refused: for pools of Proxmox VE.
    """
    for one in wanted:
        pool = there.get(one.pool)
        if pool is None:
            if one.absent:
                continue
            raise InvalidInput(
                f"there is no pool {one.pool}.",
                item=one.item,
                rule="namespace-pool",
                fix="make it first: module ceph_pools.",
            )
        if pool.profile or pools.RBD not in pool.applications:
            raise InvalidInput(
                f"pool {one.pool} is {'erasure coded' if pool.profile else 'not for rbd'}.",
                item=one.item,
                rule="namespace-pool-kind",
                fix="images are in a replicated pool with the application rbd; that is where their namespace belongs.",
            )
        pve.check(one.pool, storages, one.item, one.name)
        for name in one.data_pools:
            data = there.get(name)
            check(
                one.absent or (data is not None and (not data.profile or bool(data.attributes[OVERWRITES]))),
                f"pool {name} " + ("is erasure coded without allow_ec_overwrites." if data else "is not there."),
                item=one.item,
                rule="namespace-data-pool",
                fix="make it first: module ceph_pools, with erasure: and applications: [rbd].",
            )
    return sorted({one.pool for one in wanted if one.pool in there})


def in_use(wanted: Sequence[Namespace]) -> list[str]:
    """Return the pools that images of declared namespaces are in, with all or some of theirs."""
    return sorted({name for one in wanted if not one.absent for name in (one.pool, *one.data_pools)})


def plan(
    wanted: Sequence[Namespace],
    there: Mapping[str, Sequence[str]],
    images: Mapping[str, Sequence[str]],
    ready: Mapping[str, bool],
) -> Plan:
    """Return what is to be done.

    Proxmox VE makes pools that nobody made ready for images (``rbd pool init``), and who may do nothing outside of a
    namespace can't make up for that: the first image is refused. So it comes first.

    :param there: pool -> its namespaces.
    :param images: ``pool/namespace`` -> images, for those that are to go.
    :param ready: pool -> whether it is ready for images, for those that :func:`in_use` names.
    :raises Refused: for namespaces with images.
    """
    result, gone = Plan(), Plan()
    for name in in_use(wanted):
        if not ready[name]:
            steps = (Command("init", {"pool": name}, "rbd"),)
            shown = frozenset({"init"})
            made = Change(_POOL, name, "update", {"init": False}, {"init": True}, "not ready for images", shown, steps)
            result.add(made)
    for one in wanted:
        exists = one.name in there.get(one.pool, ())
        arguments = {"pool": one.pool, "namespace": one.name}
        if exists != one.absent:
            result.unchanged += 1
        elif not one.absent:
            steps = (Command("namespace create", arguments, "rbd"),)
            result.add(Change(KIND, one.full, "create", None, {}, "missing", frozenset(), steps))
        else:
            found = images.get(one.full, ())
            if found:
                raise Refused(
                    f"{len(found)} image(s) are in it: {', '.join(list(found)[:5])}.",
                    item=one.item,
                    rule="namespace-in-use",
                    fix="delete what uses them first; images in the trash count.",
                )
            steps = (Command("namespace remove", arguments, "rbd"),)
            gone.add(Change(KIND, one.full, "delete", {}, None, "absent", frozenset(), steps))
    result.extend(gone)
    return result
