# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the keys of two consumers reach on a real Ceph: their own, not the neighbour's, and no keys.

Consumers are declared as in ``platform_ceph``, each with two tiers of block volumes (one erasure coded) and one of
files, in pools and a file system that both use.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import typing as t
from collections.abc import Mapping

import pytest
from ansible_collections.hackspace.infra.plugins.filter.ceph_consumer_resources import ceph_consumer_resources

from lab.ceph import Answer

from .conftest import EACCES, EPERM, Site, wait_for

ROLES = ("rbd-node", "rbd-provisioner", "cephfs-node", "cephfs-provisioner", "health")
FILESYSTEM = "cephfs"
Commands = dict[str, Mapping[str, t.Any]]
BLOCK = {"quorum", "own images", "own image", "own coded image", "own coded data"}
FILES = {"quorum", "own folder", "own file", "own file again", "own records", "own volume's path"}
#: What users of the profile strict reach, by role.
STRICT: dict[str, set[str]] = {
    "rbd-node": BLOCK | {"own task"},
    "rbd-provisioner": BLOCK | {"own task"},
    "cephfs-node": FILES,
    "cephfs-provisioner": FILES | {"own volume"},
    "health": {"quorum"},
}
#: What users reach next to that with the caps of Rook's script: the manager does everything for everybody who may do
#: anything there, and CephFS knows no bounds. RADOS namespaces and keys are safe there as well.
MANAGER = {"own task", "their task", "own volume", "own volume's path", "their volume", "their group", "groups"}
EVERYWHERE = {"their folder", "their new folder", "top", "own records", "their records", "records of all"}
ROOK: dict[str, set[str]] = {
    "rbd-node": BLOCK,
    "rbd-provisioner": BLOCK | MANAGER,
    "cephfs-node": FILES | MANAGER | EVERYWHERE | {"their file"},
    "cephfs-provisioner": {"quorum", "own folder"} | MANAGER | EVERYWHERE,
    "health": {"quorum"},
}
EXPECTED = {"strict": STRICT, "rook": ROOK}


@dataclasses.dataclass
class Pair:
    """Two consumers with the same pools."""

    site: Site
    profile: str
    stem: str

    def __post_init__(self) -> None:
        self.fast, self.coded, self.data = (f"{kind}-{self.stem}" for kind in ("fast", "coded", "data"))
        self.names = (f"one-{self.stem}", f"two-{self.stem}")
        common: dict[str, t.Any] = {"applications": ["rbd"], "init": True, "pg_num": 8}
        erasure = {"erasure": {"k": 2, "m": 1, "failure_domain": "osd"}, "metadata_pool": self.coded}
        pools = [
            {"name": self.fast, **common},
            {"name": self.coded, **common},
            {"name": self.data, **erasure, **common},
        ]
        self.site.apply("ceph_pools", pools=pools)

    def resources(self, generation: int = 0, **more: t.Any) -> dict[str, list[dict[str, t.Any]]]:
        consumers = [
            {
                "cluster": name,
                "profile": self.profile,
                "key": {"generation": generation, "keep": 0},
                "block": [
                    {"storage_class": "fast", "pool": self.fast},
                    {"storage_class": "coded", "pool": self.coded, "data_pool": self.data},
                ],
                "files": [{"storage_class": "files", "filesystem": FILESYSTEM}],
            }
            for name in self.names
        ]
        declared = {"fsid": self.site.ceph.fsid, "monitors": ["127.0.0.1"], "consumers": consumers}
        return ceph_consumer_resources(declared, **more)

    def settle(self, generation: int = 0, **more: t.Any) -> None:
        """Make it so by a call for each concern; users are right then."""
        wanted = self.resources(generation, **more)
        self.site.apply("ceph_rados_namespaces", namespaces=wanted["rados_namespaces"])
        self.site.apply("ceph_subvolume_groups", groups=wanted["subvolume_groups"])
        self.site.apply("ceph_clients", clients=wanted["clients"])
        assert not self.site.apply("ceph_clients", clients=wanted["clients"])["changed"]

    def fill(self) -> None:
        """Give both something that the other one could want."""
        for name in self.names:
            orders: list[dict[str, t.Any]] = [
                {"rbd": "create", "pool": self.fast, "namespace": name, "image": "theirs"},
                {"rbd": "snapshot", "pool": self.fast, "namespace": name, "image": "theirs"},
                {"fs": "mkdir", "path": f"/volumes/{name}/theirs"},
                {"fs": "write", "path": f"/volumes/{name}/theirs/file"},
            ]
            assert [answer.code for answer in self.site.ceph.ask(orders, timeout=60)] == [0, 0, 0, 0]

    @staticmethod
    def entity(name: str, role: str, generation: int = 0) -> str:
        return f"client.k8s-{name}-{role}" + (f".{generation}" if generation else "")

    def reached(self, name: str, role: str, generation: int = 0) -> set[str]:
        """Return what works with the key of a role."""
        other = self.names[1 - self.names.index(name)]
        entity = self.entity(name, role, generation)
        thing = self.site.name(role)
        tried = self._common(entity, name, other, thing)
        if role.startswith("rbd"):
            tried.update(self._block(name, other, thing))
        if role.startswith("cephfs"):
            tried.update(self._files(name, other, thing))
        answers = self.site.tries(entity, *tried.values())
        return {what for what, answer in zip(tried, answers, strict=True) if let_in(what, answer)}

    def _block(self, own: str, other: str, image: str) -> Commands:
        fast: t.Callable[..., dict[str, t.Any]] = functools.partial(dict, pool=self.fast)
        coded = {"pool": self.coded, "namespace": own, "image": image}
        return {
            "own images": fast(rbd="ls", namespace=own),
            "own image": fast(rbd="create", namespace=own, image=image),
            "own coded image": {"rbd": "create", **coded, "data_pool": self.data},
            "own coded data": {"rbd": "write", **coded},
            "their images": fast(rbd="ls", namespace=other),
            "their image": fast(rbd="write", namespace=other, image="theirs"),
            "their new image": fast(rbd="create", namespace=other, image=image),
            "their image's end": fast(rbd="remove", namespace=other, image="theirs"),
            "their snapshot": fast(
                rbd="clone", namespace=own, image="theirs", clone=f"copy-{image}", **{"from": other}
            ),
            "images of the pool": fast(rbd="ls"),
            "image of the pool": fast(rbd="create", image=image),
            "namespaces": fast(rbd="namespaces"),
            "new namespace": fast(rbd="namespace", namespace=f"new-{image}"),
        }

    def _files(self, own: str, other: str, name: str) -> Commands:
        return {
            "own folder": {"fs": "mkdir", "root": f"/volumes/{own}", "path": f"/{name}"},
            "own file": {"fs": "write", "root": f"/volumes/{own}/{name}", "path": "/file"},
            "own file again": {"fs": "read", "root": f"/volumes/{own}/{name}", "path": "/file"},
            "their folder": {"fs": "ls", "root": f"/volumes/{other}", "path": "/"},
            "their file": {"fs": "read", "root": f"/volumes/{other}", "path": "/theirs/file"},
            "their new folder": {"fs": "mkdir", "root": f"/volumes/{other}", "path": f"/{name}"},
            "top": {"fs": "ls", "root": "/", "path": "/"},
        }

    def _common(self, entity: str, own: str, other: str, name: str) -> Commands:
        """Return what has nothing to do with opening images or mounting."""

        def mon(prefix: str, **arguments: t.Any) -> dict[str, t.Any]:
            return {"mon": {"prefix": prefix, **arguments}}

        def mgr(prefix: str, **arguments: t.Any) -> dict[str, t.Any]:
            return {"mgr": {"prefix": prefix, **arguments}}

        def rados(pool: str, namespace: str) -> dict[str, t.Any]:
            return {"rados": "write", "pool": pool, "namespace": namespace, "object": f"of-{name}"}

        volume = {"vol_name": FILESYSTEM, "sub_name": f"volume-{name}"}
        return {
            "all keys": mon("auth ls"),
            "their key": mon("auth get-key", entity=self.entity(other, "rbd-node")),
            "the key of an administrator": mon("auth get", entity="client.admin"),
            "a new key": mon("auth add", entity="client.evil", caps=["mon", "allow *"]),
            "more caps": mon("auth caps", entity=entity, caps=["mon", "allow *"]),
            "stored secrets": mon("config-key dump"),
            "pools": mon("osd pool set", pool=self.fast, var="size", val="2"),
            "who is logged in": {**mon("sessions"), "at": "a"},
            "quorum": mon("quorum_status"),
            "objects of the pool": rados(self.data, ""),
            "their objects": rados(self.data, other),
            "records of all": rados("cephfs_metadata", "csi"),
            "own records": rados("cephfs_metadata", f"csi-{own}"),
            "their records": rados("cephfs_metadata", f"csi-{other}"),
            # there is no such image: who may ask is told so
            "own task": mgr("rbd task add remove", image_spec=f"{self.fast}/{own}/none"),
            "their task": mgr("rbd task add remove", image_spec=f"{self.fast}/{other}/none"),
            "own volume": mgr("fs subvolume create", group_name=own, **volume),
            "own volume's path": mgr("fs subvolume getpath", group_name=own, **volume),
            "their volume": mgr("fs subvolume create", group_name=other, **volume),
            "their group": mgr("fs subvolume ls", vol_name=FILESYSTEM, group_name=other),
            "groups": mgr("fs subvolumegroup ls", vol_name=FILESYSTEM),
        }


def let_in(what: str, answer: Answer) -> bool:
    """Whether Ceph did it, or would have, were the thing there or empty; other errors are faults of the test."""
    assert answer.code in (0, EPERM, EACCES, -errno.ENOENT, -errno.ENOTEMPTY), (what, answer)
    return answer.code not in (EPERM, EACCES)


@pytest.fixture(scope="module", params=["strict", "rook"])
def pair(site: Site, request: pytest.FixtureRequest) -> Pair:
    made = Pair(site, request.param, site.name(request.param))
    made.settle()
    made.fill()
    return made


def test_each_key_of_two_consumers(pair: Pair) -> None:
    found = {(name, role): pair.reached(name, role) for name in pair.names for role in ROLES}
    assert found == {(name, role): EXPECTED[pair.profile][role] for name in pair.names for role in ROLES}


def test_what_keys_reach_survives_upgrades_and_rotation(pair: Pair) -> None:
    site, one, expected = pair.site, pair.names[0], EXPECTED[pair.profile]
    roles = ["rbd-node", *(["cephfs-provisioner"] if pair.profile == "strict" else [])]
    old = [pair.entity(name, role) for name in pair.names for role in ROLES]
    # Rook's script appends to what there is, when it upgrades users without being told of restrictions
    wide = f"profile rbd pool={pair.fast} namespace={one}, profile rbd"
    site.ceph.command("auth caps", entity=pair.entity(one, "rbd-node"), caps=["mon", "profile rbd", "osd", wide])
    assert {"their images", "images of the pool"} <= pair.reached(one, "rbd-node")
    pair.settle()
    assert pair.reached(one, "rbd-node") == expected["rbd-node"]
    pair.settle(1)
    for role in roles:
        for generation in (0, 1):
            assert pair.reached(one, role, generation) == expected[role], (role, generation)
    keys = {entity: site.ceph.key(entity) for entity in old}
    wait_for(lambda: not set(old) & set(site.apply("ceph_info", sessions=True)["sessions"]))
    pair.settle(1, retire=pair.names)
    refused = [site.ceph.ask([{"mon": {"prefix": "osd dump"}}], user=entity, key=keys[entity]) for entity in old[:2]]
    assert [answers[0].code for answers in refused] == [EACCES, EACCES]
    assert not set(old) & set(site.apply("ceph_info")["users"])
    for role in roles:
        assert pair.reached(one, role, 1) == expected[role], role
