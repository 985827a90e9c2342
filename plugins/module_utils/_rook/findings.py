# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is wrong with the consumers: each by itself, all together, and with Ceph as it is. Nothing is written before.

:func:`judge` names everything at once, each breach once. What Ceph says is judged as far as it was looked at.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import typing as t
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping

from .._ceph import clients
from .._core.errors import InvalidInput
from . import versions
from .facts import Facts, Pool
from .model import ITEM, Block, Ceph, Consumer, Files, read
from .schema import AES256K, STRICT

Level = t.Literal["error", "warning"]

#: Every rule that is judged here; the rules of form stand in ``schema``.
RULES: t.Final[Mapping[str, str]] = {
    "ceph-too-old": "Ceph is as new as Rook's operator wants it",
    "cluster-id-differs": "a pool's RADOS namespace has one cluster id",
    "cluster-id-twice": "a cluster id is for one place in Ceph",
    "cluster-unknown": "a consumer's cluster is declared",
    "consumer-empty": "a consumer has a StorageClass",
    "consumer-twice": "no two consumers have one name",
    "cve-2025-30156": "Ceph's own keys can't be forged",
    "data-pool-erasure": "the pool of the data is erasure-coded, and can be written in part",
    "data-pool-of-filesystem": "a CephFS has the pool of its data",
    "default-twice": "a cluster has one default StorageClass",
    "ec-metadata-pool": "images on an erasure-coded pool have a replicated pool for their metadata",
    "filesystem-data-shared": "strict: no two consumers have their data in one pool of a CephFS",
    "filesystem-missing": "a CephFS is there",
    "fsid-differs": "it is the Ceph cluster that was meant",
    "key-type-ceph": "Ceph can make keys of that type",
    "key-type-kernel": "the nodes' kernels can use keys of that type",
    "kms": "a key management is for encrypted volumes",
    "metadata-namespace-rook": "Rook can be told where ceph-csi keeps its records",
    "metadata-namespace-shared": "no two consumers share the records of ceph-csi in one CephFS",
    "monitor-one": "there is more than one monitor",
    "monitor-protocol": "every monitor speaks the wanted protocol",
    "monitor-unreachable": "the monitors answer",
    "monitors-differ": "the inventory names the monitors that there are",
    "namespace-shared": "no two consumers share a RADOS namespace of a pool",
    "namespace-twice": "no two consumers of a cluster share a namespace",
    "pool-is-erasure": "the pool of images is replicated",
    "pool-missing": "a pool is there",
    "pool-of-pve": "no consumer gets a pool of Proxmox VE's own storages",
    "pool-or-topology": "a StorageClass has a pool, or one for each zone",
    "pool-root-shared": "who has the root of a pool is alone in it",
    "pool-twice": "data and metadata are in two pools",
    "storage-class-twice": "no two StorageClasses of a cluster have one name",
    "subvolume-group-shared": "no two consumers share a subvolume group",
    "subvolume-group-differs": "a subvolume group has one quota, data pool and cluster id",
    "topology-zone-twice": "a zone has one pool",
    "user-generation": "a Ceph user's name does not end in a generation",
    "user-reserved": "no consumer has a user of Ceph's or Proxmox VE's own",
    "user-shared": "no two users of consumers have one name",
}


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    """One broken rule.

    :ivar item: place in the inventory.
    :ivar consumer: its consumer, empty for what concerns them all.
    """

    item: str
    rule: str
    message: str
    fix: str = dataclasses.field(compare=False)
    level: Level = dataclasses.field(default="error", compare=False)
    consumer: str = dataclasses.field(default="", compare=False)

    def as_dict(self) -> dict[str, str]:
        """Return it as the filter gives it out."""
        return {
            "item": self.item,
            "rule": self.rule,
            "level": self.level,
            "message": self.message,
            "fix": self.fix,
            "consumer": self.consumer,
        }

    def __str__(self) -> str:
        return f"{self.item}: {self.message} [{self.rule}] Fix: {self.fix}"


def judge(
    value: t.Any, facts: Facts | None = None, *, clusters: Collection[str] | None = None
) -> tuple[Ceph | None, list[Finding]]:
    """Return what could be read, and everything that is wrong, sorted.

    :param value: ``platform_ceph``.
    :param facts: Ceph as it is.
    :param clusters: names in ``platform_clusters``; not looked at if not given.
    """
    try:
        ceph, errors = read(value)
    except InvalidInput as error:
        return None, [Finding(error.item, error.rule, error.message, error.fix)]
    found = [Finding(one.item, one.rule, one.message, one.fix) for one in errors]
    found += _each(ceph, clusters)
    found += _together(ceph)
    if facts is not None:
        found += _with_ceph(ceph, facts)
    return ceph, sorted(set(found))


def refuse(found: Iterable[Finding]) -> None:
    """Raise if there are errors: one error that names them all."""
    errors = [one for one in found if one.level == "error"]
    if not errors:
        return
    first = errors[0]
    if len(errors) == 1:
        raise InvalidInput(first.message, item=first.item, rule=first.rule, fix=first.fix)
    raise InvalidInput(
        " || ".join(str(one) for one in errors[:10]) + (f" || and {len(errors) - 10} more" if len(errors) > 10 else ""),
        item=ITEM,
        rule=first.rule if len({one.rule for one in errors}) == 1 else "several",
        fix="correct these; nothing was written.",
        data={"findings": [one.as_dict() for one in errors]},
    )


def _error(consumer: Consumer, item: str, rule: str, message: str, fix: str) -> Finding:
    return Finding(item, rule, message, fix, consumer=consumer.name)


def _warning(consumer: Consumer | None, item: str, rule: str, message: str, fix: str) -> Finding:
    return Finding(item, rule, message, fix, "warning", consumer.name if consumer else "")


# -- each by itself ------------------------------------------------------------------------------------------------


def _each(ceph: Ceph, clusters: Collection[str] | None) -> Iterator[Finding]:
    for one in ceph.consumers:
        if clusters is not None and one.cluster not in clusters and not one.absent:
            yield _error(
                one,
                f"{one.item}: cluster",
                "cluster-unknown",
                f"{one.cluster} is not in platform_clusters.",
                "declare the cluster, or correct the name.",
            )
        if not one.classes and not one.absent:
            yield _error(
                one,
                one.item,
                "consumer-empty",
                "has neither block nor files.",
                "give it a StorageClass, or take it away with state: absent.",
            )
        for block in one.block:
            yield from _block(one, block)
        for files in one.files:
            if files.metadata_namespace != "csi" and not one.rook.metadata_namespace:
                yield _error(
                    one,
                    files.item,
                    "metadata-namespace-rook",
                    f"Rook {one.rook} can't be told to keep records in {files.metadata_namespace}.",
                    "use Rook 1.20 or newer, or profile: rook and a CephFS of its own for each consumer.",
                )
        yield from _users(one)


def _block(consumer: Consumer, block: Block) -> Iterator[Finding]:
    if bool(block.pool) == (block.topology is not None):
        yield _error(
            consumer,
            block.item,
            "pool-or-topology",
            "has both pool and topology." if block.pool else "has neither pool nor topology.",
            "give one of the two.",
        )
    if block.data_pool and block.data_pool in block.image_pools:
        yield _error(
            consumer,
            block.item,
            "pool-twice",
            f"has {block.data_pool} for data and metadata.",
            "give a replicated pool as pool, the erasure-coded one as data_pool.",
        )
    if block.kms and not block.encrypted:
        yield _error(
            consumer, block.item, "kms", "has kms, but is not encrypted.", "say encrypted: true, or leave kms out."
        )
    if block.topology:
        for value, _one in _twice(block.topology.zones, lambda zone: zone.value):
            yield _error(
                consumer,
                block.item,
                "topology-zone-twice",
                f"has two pools for the zone {value}.",
                "give each zone one pool.",
            )


def _users(consumer: Consumer) -> Iterator[Finding]:
    for role in consumer.roles:
        base = consumer.base(role)
        try:
            clients.check_name(base, f"{consumer.item}: users.{role}")
        except InvalidInput as error:
            rule = "user-generation" if error.rule == "client-generation-name" else "user-reserved"
            yield _error(consumer, error.item, rule, error.message, error.fix)


# -- together ------------------------------------------------------------------------------------------------------

_T = t.TypeVar("_T")
_K = t.TypeVar("_K", bound=Hashable)


def _twice(items: Iterable[_T], key: Callable[[_T], _K]) -> Iterator[tuple[_K, list[_T]]]:
    """Yield what several items share, and the items."""
    groups: dict[_K, list[_T]] = {}
    for one in items:
        groups.setdefault(key(one), []).append(one)
    yield from ((shared, some) for shared, some in groups.items() if len(some) > 1)


def _together(ceph: Ceph) -> Iterator[Finding]:
    consumers = ceph.consumers
    for name, some in _twice(consumers, lambda one: one.name):
        yield _error(
            some[1],
            some[1].item,
            "consumer-twice",
            f"is named {name}, as {some[0].item}.",
            "give each a name; without one it is that of the cluster.",
        )
    for (cluster, namespace), some in _twice(consumers, lambda one: (one.cluster, one.namespace)):
        yield _error(
            some[1],
            some[1].item,
            "namespace-twice",
            f"is in the namespace {namespace} of {cluster}, as {some[0].item}.",
            "give each a namespace; Rook has one CephCluster in each.",
        )
    pairs = [(one, role, one.base(role)) for one in consumers for role in one.roles]
    for base, users in _twice(pairs, lambda pair: pair[2]):
        (first, first_role, _name), (one, role, _other) = users[:2]
        yield _error(
            one,
            f"{one.item}: users.{role}",
            "user-shared",
            f"is {base}, as users.{first_role} of {first.name}.",
            "give every consumer and role a Ceph user of its own.",
        )
    yield from _places(consumers)
    yield from _groups(consumers)
    for cluster in dict.fromkeys(one.cluster for one in consumers):
        yield from _in_cluster([one for one in consumers if one.cluster == cluster])


def _places(consumers: Collection[Consumer]) -> Iterator[Finding]:
    """RADOS namespaces of pools: whose they are."""
    owners: dict[str, dict[str, list[tuple[Consumer, Block]]]] = collections.defaultdict(
        lambda: collections.defaultdict(list)
    )
    for one in consumers:
        for block in one.block:
            for pool in block.places:
                owners[pool][block.rados_namespace].append((one, block))
    for pool, spaces in owners.items():
        everybody = list(dict.fromkeys(one.name for users in spaces.values() for one, _block in users))
        for one, block in spaces.get("", ()):
            others = [name for name in everybody if name != one.name]
            if others:
                yield _error(
                    one,
                    block.item,
                    "pool-root-shared",
                    f"has the root of the pool {pool}, which is all of it, and so what {', '.join(others)} have there.",
                    "give it a RADOS namespace, or a pool of its own.",
                )
        for space, users in spaces.items():
            names = list(dict.fromkeys(one.name for one, _block in users))
            if space and len(names) > 1:
                one, block = _whose(users, names[1])
                yield _error(
                    one,
                    block.item,
                    "namespace-shared",
                    f"has {pool}/{space}, as {names[0]}: each could read and delete the other's volumes.",
                    "give each consumer a RADOS namespace of its own; without one it has its name.",
                )


_E = t.TypeVar("_E", Block, Files)


def _whose(pairs: Iterable[tuple[Consumer, _E]], name: str) -> tuple[Consumer, _E]:
    """Return the first pair of the consumer *name*, which has one."""
    return next(pair for pair in pairs if pair[0].name == name)


def _groups(consumers: Collection[Consumer]) -> Iterator[Finding]:
    """Subvolume groups, ceph-csi's records and data pools of CephFS: whose they are."""
    pairs = [(one, files) for one in consumers for files in one.files]
    for (filesystem, group), some in _twice(pairs, lambda pair: (pair[1].filesystem, pair[1].subvolume_group)):
        owners = list(dict.fromkeys(one.name for one, _files in some))
        if len(owners) > 1:
            one, files = _whose(some, owners[1])
            yield _error(
                one,
                files.item,
                "subvolume-group-shared",
                f"has {filesystem}/{group}, as {owners[0]}.",
                "give each consumer a subvolume group of its own; without one it has its name.",
            )
        elif len({(files.quota, files.data_pool, files.cluster_id) for _one, files in some}) > 1:
            one, files = some[1]
            yield _error(
                one,
                files.item,
                "subvolume-group-differs",
                f"says of {filesystem}/{group} something else than {some[0][1].item}.",
                "give both the same quota, data_pool and cluster_id, or another subvolume group.",
            )
    for (filesystem, space), some in _twice(pairs, lambda pair: (pair[1].filesystem, pair[1].metadata_namespace)):
        owners = list(dict.fromkeys(one.name for one, _files in some))
        if len(owners) > 1:
            one, files = _whose(some, owners[1])
            strict = any(each.profile == STRICT for each, _files in some)
            yield Finding(
                files.item,
                "metadata-namespace-shared",
                f"keeps ceph-csi's records of {filesystem} in {space}, as {owners[0]}: each can change the other's.",
                "give each a metadata_namespace of its own while it has no volumes yet (Rook 1.20), or a CephFS.",
                "error" if strict else "warning",
                one.name,
            )
    for (filesystem, pool), some in _twice(pairs, lambda pair: (pair[1].filesystem, pair[1].data_pool)):
        owners = list(dict.fromkeys(one.name for one, _files in some))
        if len(owners) > 1 and any(each.profile == STRICT for each, _files in some):
            one, files = _whose(some, owners[1])
            yield _warning(
                one,
                files.item,
                "filesystem-data-shared",
                f"has its files' data in {pool or 'the first data pool'} of {filesystem}, as {owners[0]}: no caps keep "
                "one from the other's objects there.",
                "give each a data_pool, or a CephFS, if they don't trust each other.",
            )


def _in_cluster(consumers: Collection[Consumer]) -> Iterator[Finding]:
    classes = [(one, each) for one in consumers for each in one.classes]
    for name, some in _twice(classes, lambda pair: pair[1].storage_class):
        one, each = some[1]
        yield _error(
            one,
            each.item,
            "storage-class-twice",
            f"is named {name}, as {some[0][1].item}.",
            "give each StorageClass of a cluster a name of its own.",
        )
    defaults = [(one, each) for one, each in classes if each.default]
    if len(defaults) > 1:
        one, each = defaults[1]
        yield _error(
            one,
            each.item,
            "default-twice",
            f"is the default, as is {defaults[0][1].storage_class}.",
            "let one StorageClass be the default, or none: claims that name theirs are never surprised.",
        )
    ids: dict[str, tuple[tuple[str, ...], Block | Files]] = {}
    places: dict[tuple[str, ...], tuple[str, Block | Files]] = {}
    for one, each in classes:
        place = _place(each)
        before = ids.setdefault(each.cluster_id, (place, each))
        if before[0] != place and not _both_roots(before[0], place):
            yield _error(
                one,
                each.item,
                "cluster-id-twice",
                f"has the cluster id {each.cluster_id}, which {before[1].item} has for another place.",
                "give it a cluster_id of its own, or none.",
            )
        other = places.setdefault(place, (each.cluster_id, each))
        if other[0] != each.cluster_id:
            yield _error(
                one,
                each.item,
                "cluster-id-differs",
                f"has the cluster id {each.cluster_id}, and {other[1].item} {other[0]} for the same place.",
                "give both the same cluster_id, or none.",
            )


def _place(one: Block | Files) -> tuple[str, ...]:
    if isinstance(one, Files):
        return ("files", one.filesystem, one.subvolume_group)
    return ("block", one.image_pools[0], one.rados_namespace)


def _both_roots(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """The roots of all pools have the CephCluster's own id."""
    return one[0] == other[0] == "block" and not one[2] and not other[2]


# -- with Ceph as it is --------------------------------------------------------------------------------------------


def _with_ceph(ceph: Ceph, facts: Facts) -> Iterator[Finding]:
    if ceph.fsid and facts.fsid and ceph.fsid != facts.fsid:
        yield Finding(
            f"{ITEM}.fsid",
            "fsid-differs",
            f"is {ceph.fsid}, but {ceph.provider_host or 'the provider'} belongs to {facts.fsid}.",
            "correct fsid or provider_host.",
        )
    yield from _monitors(ceph, facts)
    if facts.insecure or (facts.insecure is not None and any(facts.ceph) and not versions.aes256k_ceph(facts.ceph)):
        said = f"Ceph says {', '.join(facts.insecure)}" if facts.insecure else f"Ceph is {facts.version}"
        yield _warning(
            None,
            ITEM,
            "cve-2025-30156",
            f"{said}: who has any Ceph key can forge the tickets of all others, so that caps keep nobody apart.",
            "upgrade to 19.2.6, 20.2.4 or 21.2, then rotate the daemons' keys to aes256k.",
        )
    for one in ceph.consumers:
        if not one.absent:
            yield from _consumer(ceph, one, facts)


def _monitors(ceph: Ceph, facts: Facts) -> Iterator[Finding]:
    for address in facts.unreachable or ():
        yield Finding(
            f"{ITEM}.monitors",
            "monitor-unreachable",
            f"{address} does not answer.",
            "start the monitor, or open 3300 and 6789 on the way to it; nodes of consumers need them too.",
        )
    if facts.monitors is None:
        return
    if len(facts.monitors) == 1:
        yield _warning(
            None,
            f"{ITEM}.monitors",
            "monitor-one",
            "Ceph has one monitor: when it is down, all volumes of all consumers stand still.",
            "make three.",
        )
    there = {endpoint.rpartition(":")[0].strip("[]") for one in facts.monitors for endpoint in one.endpoints}
    named = {one.strip("[]") for one in ceph.monitors}
    if named and named != there:
        yield _warning(
            None,
            f"{ITEM}.monitors",
            "monitors-differ",
            f"the inventory names {', '.join(sorted(named))}, Ceph {', '.join(sorted(there))}.",
            "correct the inventory; consumers get what Ceph says.",
        )
    if any(one.msgr2 for one in ceph.consumers):
        for one in facts.monitors:
            if not one.v2:
                yield Finding(
                    f"{ITEM}.monitors",
                    "monitor-protocol",
                    f"{one.name} has no address of the second protocol.",
                    "ceph mon enable-msgr2, or say msgr2: false at the consumers.",
                )


def _consumer(ceph: Ceph, one: Consumer, facts: Facts) -> Iterator[Finding]:
    if any(facts.ceph) and facts.ceph[:2] < one.rook.oldest_ceph:
        oldest = ".".join(map(str, one.rook.oldest_ceph))
        say = _warning if one.before_ceph_upgrade else _error
        yield say(
            one,
            f"{one.item}: rook",
            "ceph-too-old",
            f"Rook {one.rook} wants Ceph {oldest} or newer; this is {facts.version}.",
            "upgrade Ceph, or use an older Rook; before_ceph_upgrade: true prepares everything until then.",
        )
    if one.key.type == AES256K:
        yield from _keys(one, facts)
    owned = facts.pve_pools | set(ceph.pve_pools)
    for block in one.block:
        for pool in block.places:
            if pool in owned:
                yield _error(
                    one,
                    block.item,
                    "pool-of-pve",
                    f"{pool} belongs to a storage of Proxmox VE.",
                    "make a pool for consumers: virtual machines and their backups are in this one.",
                )
        if facts.pools is not None:
            yield from _block_pools(one, block, facts.pools)
    for files in one.files:
        if files.data_pool in owned:
            yield _error(
                one,
                files.item,
                "pool-of-pve",
                f"{files.data_pool} belongs to a storage of Proxmox VE.",
                "make a pool for consumers: virtual machines and their backups are in this one.",
            )
        if facts.filesystems is not None:
            yield from _filesystem(one, files, facts)


def _keys(one: Consumer, facts: Facts) -> Iterator[Finding]:
    can = AES256K in facts.key_types if facts.key_types is not None else versions.aes256k_ceph(facts.ceph)
    if (facts.key_types is not None or any(facts.ceph)) and not can:
        yield _error(
            one,
            f"{one.item}: key.type",
            "key-type-ceph",
            f"Ceph {facts.version or 'there'} has no keys of the type {AES256K}.",
            "say key: {type: aes} until Ceph is 19.2.6, 20.2.4 or 21.2.",
        )
    old = sorted({kernel for kernel in facts.kernels.get(one.cluster, ()) if not versions.aes256k_kernel(kernel)})
    if old and not one.key.kernel_ready:
        yield _error(
            one,
            f"{one.item}: key.type",
            "key-type-kernel",
            f"nodes of {one.cluster} have Linux {', '.join(old)}, which mounts nothing by a key of this type.",
            "say key: {type: aes}; or kernel_ready: true if this kernel has it from its vendor.",
        )


def _block_pools(one: Consumer, block: Block, pools: Mapping[str, Pool]) -> Iterator[Finding]:
    for pool in block.places:
        if pool not in pools:
            yield _error(
                one,
                block.item,
                "pool-missing",
                f"there is no pool {pool}.",
                f"make it (module ceph_pools), or correct the name; there are {_some(pools)}.",
            )
    for pool in block.image_pools:
        if pool in pools and pools[pool].erasure:
            yield _error(
                one,
                block.item,
                "pool-is-erasure" if block.data_pool else "ec-metadata-pool",
                f"{pool} is erasure-coded, and images can't have their metadata there.",
                f"give a replicated pool as pool{'' if block.data_pool else f', and {pool} as data_pool'}.",
            )
    data = pools.get(block.data_pool)
    if data is not None and not (data.erasure and data.overwrites):
        yield _error(
            one,
            block.item,
            "data-pool-erasure",
            f"{data.name} is {'erasure-coded without overwrites' if data.erasure else 'replicated'}.",
            "set allow_ec_overwrites." if data.erasure else "leave data_pool out, or give an erasure-coded pool.",
        )


def _filesystem(one: Consumer, files: Files, facts: Facts) -> Iterator[Finding]:
    there = (facts.filesystems or {}).get(files.filesystem)
    if there is None:
        yield _error(
            one,
            files.item,
            "filesystem-missing",
            f"there is no CephFS {files.filesystem}.",
            f"make it, or correct the name; there are {_some(facts.filesystems or {})}.",
        )
    elif files.data_pool and files.data_pool not in there.data_pools:
        yield _error(
            one,
            files.item,
            "data-pool-of-filesystem",
            f"{files.data_pool} is no data pool of {files.filesystem}.",
            f"ceph fs add_data_pool {files.filesystem} {files.data_pool}; it has {_some(there.data_pools)}.",
        )


def _some(names: Iterable[str]) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - 8} more" if len(shown) > 8 else ""
    return ", ".join(itertools.islice(shown, 8)) + more if shown else "none"
