# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Pools as they are declared. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Mapping, Sequence

from .._core.errors import InvalidInput, check
from .values import need_amount

#: What Proxmox VE takes as the name of a pool, too.
_NAME: t.Final = re.compile(r"[A-Za-z0-9_][^:/\s'\",;=@#]{0,127}")
#: What a pool may be used for; others are taken as well.
RBD: t.Final = "rbd"
CEPHFS: t.Final = "cephfs"
#: What must be said before a pool loses copies or data.
ALLOW: t.Final = ("size-one", "fewer-copies", "pg-growth", "delete")
MODES: t.Final = ("off", "warn", "on")
COMPRESSION_MODES: t.Final = ("none", "passive", "aggressive", "force")
#: Attributes that are passed on as they are, and their defaults when a pool was never given any.
_TUNING: t.Final = (
    "compression_mode",
    "compression_algorithm",
    "compression_required_ratio",
    "compression_min_blob_size",
    "compression_max_blob_size",
)
#: No larger factor is believed of a growth of placement groups.
PG_FACTOR: t.Final = 8


@dataclasses.dataclass(frozen=True)
class Erasure:
    """How a pool is erasure coded; it never changes afterwards.

    :ivar k: chunks with data.
    :ivar m: chunks that may be lost.
    """

    k: int
    m: int
    plugin: str = "jerasure"
    technique: str = ""
    failure_domain: str = "host"
    device_class: str = ""
    root: str = "default"

    def profile(self) -> dict[str, str]:
        """Return the erasure code profile, as Ceph takes it."""
        made = {
            "k": str(self.k),
            "m": str(self.m),
            "plugin": self.plugin,
            "crush-failure-domain": self.failure_domain,
            "crush-root": self.root,
        }
        if self.technique:
            made["technique"] = self.technique
        if self.device_class:
            made["crush-device-class"] = self.device_class
        return made


@dataclasses.dataclass(frozen=True)
class Pool:
    """A declared pool. What is None or empty is left as it is.

    :ivar erasure: how it is erasure coded; None for a replicated pool.
    :ivar metadata_pool: the replicated pool that holds what an erasure coded one can't (RBD's images, CephFS' files).
    :ivar applications: what it is used for; all of it.
    :ivar attributes: further attributes by Ceph's names, such as ``size``, ``pg_num``, ``bulk``, ``nodelete``.
    :ivar quota_bytes: 0 for none; None to leave it.
    :ivar init: make it ready for RBD.
    :ivar allow: of :data:`ALLOW`.
    """

    name: str
    erasure: Erasure | None = None
    metadata_pool: str = ""
    crush_rule: str = ""
    applications: tuple[str, ...] = ()
    attributes: Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    quota_bytes: int | None = None
    quota_objects: int | None = None
    init: bool = False
    allow: frozenset[str] = frozenset()
    absent: bool = False
    item: str = dataclasses.field(default="", compare=False)

    @property
    def for_rbd(self) -> bool:
        """RBD is one of its applications."""
        return RBD in self.applications


def check_name(name: t.Any, item: str) -> str:
    """Return the name of a pool that Ceph, Proxmox VE and caps can all take."""
    check(
        isinstance(name, str) and _NAME.fullmatch(name) and name not in (".", ".."),
        f"{name!r} is no name for a pool.",
        item=item,
        rule="pool-name",
        fix="use letters, digits, dots, hyphens and underscores.",
    )
    return str(name)


def parse(declared: Sequence[Mapping[str, t.Any]], where: str = "pools") -> list[Pool]:
    """Return the declared pools.

    :raises InvalidInput: for what Ceph or we would not take.
    """
    result: list[Pool] = []
    for index, one in enumerate(declared):
        name = check_name(one.get("name"), f"{where}[{index}].name")
        check(
            all(name != other.name for other in result),
            "is declared twice.",
            item=f"{where}[{name}]",
            rule="pool-twice",
            fix="declare each pool once.",
        )
        result.append(_one(name, one, f"{where}[{name}]"))
    return result


def _one(name: str, one: Mapping[str, t.Any], item: str) -> Pool:
    allow = frozenset(one.get("allow") or ())
    if one.get("state", "present") == "absent":
        check(
            "delete" in allow,
            "deleting a pool deletes all data in it.",
            item=item,
            rule="pool-delete",
            fix="say allow: [delete] next to state: absent, if that is meant.",
        )
        return Pool(name, allow=allow, absent=True, item=item)
    erasure = _erasure(one.get("erasure"), item)
    applications = tuple(sorted(set(one.get("applications") or ())))
    metadata_pool = one.get("metadata_pool") or ""
    attributes = _attributes(one, erasure, item)
    check(
        erasure is None or not {RBD, CEPHFS} & set(applications) or metadata_pool,
        "an erasure coded pool needs a replicated pool next to it for RBD and CephFS.",
        item=item,
        rule="pool-metadata-missing",
        fix="name it as metadata_pool, and declare it in the same list.",
    )
    check(
        not metadata_pool or (erasure is not None and metadata_pool != name),
        "metadata_pool is for erasure coded pools, and another pool than itself.",
        item=item,
        rule="pool-metadata",
        fix="leave metadata_pool away, or give erasure.",
    )
    init = bool(one.get("init"))
    check(
        not init or RBD in applications,
        "init prepares a pool for RBD.",
        item=item,
        rule="pool-init",
        fix="say applications: [rbd], or leave init away.",
    )
    quota_bytes = one.get("quota_bytes")
    return Pool(
        name,
        erasure,
        metadata_pool,
        one.get("crush_rule") or "",
        applications,
        attributes,
        None if quota_bytes is None else need_amount(quota_bytes, f"{item}.quota_bytes"),
        one.get("quota_objects"),
        init,
        allow,
        item=item,
    )


def _erasure(given: Mapping[str, t.Any] | None, item: str) -> Erasure | None:
    if not given:
        return None
    k, m = given.get("k") or 0, given.get("m") or 0
    check(
        k >= 2 and m >= 1,
        f"erasure code with k={k}, m={m} survives no loss.",
        item=f"{item}.erasure",
        rule="pool-erasure",
        fix="give at least k: 2 and m: 1; m: 2 survives a loss during repairs.",
    )
    return Erasure(
        k,
        m,
        given.get("plugin") or "jerasure",
        given.get("technique") or "",
        given.get("failure_domain") or "host",
        given.get("device_class") or "",
        given.get("root") or "default",
    )


def _attributes(one: Mapping[str, t.Any], erasure: Erasure | None, item: str) -> dict[str, t.Any]:
    names = (
        "size",
        "min_size",
        "pg_num",
        "pg_num_min",
        "pg_num_max",
        "pg_autoscale_mode",
        "target_size_ratio",
        "bulk",
        "nodelete",
        "nosizechange",
        "nopgchange",
        "noscrub",
        "nodeep-scrub",
        *_TUNING,
    )
    found = {name: one[option] for name in names if one.get(option := name.replace("-", "_")) is not None}
    for name in ("target_size_bytes", "compression_min_blob_size", "compression_max_blob_size"):
        if one.get(name) is not None:
            found[name] = need_amount(one[name], f"{item}.{name}")
    size, min_size = found.get("size"), found.get("min_size")
    check(
        erasure is None or size is None,
        "the size of an erasure coded pool is k + m.",
        item=item,
        rule="pool-erasure-size",
        fix="leave size away.",
    )
    check(
        size is None or 1 <= size <= 10,
        f"{size} copies are out of range.",
        item=f"{item}.size",
        rule="pool-size",
        fix="give 3, or 2 where data can be made again.",
    )
    if size == 1 and "size-one" not in (one.get("allow") or ()):
        raise InvalidInput(
            "with one copy, the first disk that dies takes data with it.",
            item=f"{item}.size",
            rule="pool-size-one",
            fix="give 2 or 3; or say allow: [size-one] if the data is worth nothing.",
        )
    least = erasure.k if erasure else 1
    most = erasure.k + erasure.m if erasure else size if size is not None else 10
    check(
        min_size is None or least <= min_size <= most,
        f"min_size is {min_size}, and must be between {least} and {most}.",
        item=f"{item}.min_size",
        rule="pool-min-size",
        fix="leave it away for Ceph's own choice.",
    )
    low, high, start = found.get("pg_num_min"), found.get("pg_num_max"), found.get("pg_num")
    check(
        all(number is None or number >= 0 for number in (low, high))
        and (start is None or start >= 1)
        and not (low and high and low > high),
        "pg_num is from 1, and pg_num_min not above pg_num_max.",
        item=item,
        rule="pool-pg-range",
        fix="correct pg_num, pg_num_min and pg_num_max.",
    )
    check(
        start is None or found.get("pg_autoscale_mode") != "on",
        "pg_num and pg_autoscale_mode on contradict each other: the autoscaler changes what this sets.",
        item=item,
        rule="pool-pg-autoscale",
        fix="leave pg_num away and give pg_num_min, or turn the autoscaler off or to warn.",
    )
    ratio = found.get("target_size_ratio")
    check(
        ratio is None or 0 <= ratio <= 100,
        f"target_size_ratio {ratio} is out of range.",
        item=f"{item}.target_size_ratio",
        rule="pool-ratio",
        fix="give for instance 0.2; 0 for none.",
    )
    return found
