# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Ceph users of consumers may do: nothing of what Rook's own script gives too much or forgets."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import caps as grants
from ansible_collections.hackspace.infra.plugins.module_utils._rook import caps, model, provider

ROLES = ("health", "rbd-node", "rbd-provisioner", "cephfs-node", "cephfs-provisioner")


def consumer(**more: t.Any) -> model.Consumer:
    given = {
        "cluster": "prod",
        "block": [{"storage_class": "block", "pool": "vm-prod"}],
        "files": [{"storage_class": "files", "filesystem": "cephfs"}],
        **more,
    }
    return model.parse({"consumers": [given]}).consumers[0]


def texts(one: model.Consumer, role: str) -> dict[str, set[str]]:
    return {daemon: {each.text for each in given} for daemon, given in caps.of(one, role).items()}


def test_rook_is_what_its_script_gives_to_restricted_users() -> None:
    one = consumer()
    assert texts(one, "rbd-node") == {
        "mon": {"profile rbd", "allow command 'osd blocklist'"},
        "osd": {"profile rbd pool=vm-prod namespace=prod"},
    }
    assert texts(one, "rbd-provisioner") == {
        "mon": {"profile rbd", "allow command 'osd blocklist'"},
        "mgr": {"allow rw"},
        "osd": {"profile rbd pool=vm-prod namespace=prod"},
    }
    assert texts(one, "cephfs-node") == {
        "mon": {"allow r", "allow command 'osd blocklist'"},
        "mgr": {"allow rw"},
        "osd": {"allow rw tag cephfs *=cephfs"},
        "mds": {"allow rw"},
    }
    assert texts(one, "cephfs-provisioner")["osd"] == {"allow rw tag cephfs metadata=cephfs"}
    assert texts(one, "cephfs-provisioner")["mds"] == {"allow *"}
    assert texts(one, "health")["mgr"] == {"allow command config"}


def test_strict_is_bounded_everywhere() -> None:
    one = consumer(profile="strict")
    for role in ("rbd-node", "rbd-provisioner"):
        assert texts(one, role) == {
            "mon": {"profile rbd"},
            "mgr": {"profile rbd pool=vm-prod namespace=prod"},
            "osd": {"profile rbd pool=vm-prod namespace=prod"},
        }
    assert texts(one, "health").keys() == {"mon", "mgr"}
    node = texts(one, "cephfs-node")
    assert node["mon"] == {"allow r fsname=cephfs"}
    assert node["osd"] == {
        "allow rw namespace=csi-prod tag cephfs metadata=cephfs",
        "allow rw tag cephfs data=cephfs",
    }


@pytest.mark.parametrize("role", ["cephfs-node", "cephfs-provisioner"])
def test_strict_cephfs_stays_in_its_subvolume_group(role: str) -> None:
    """X6: Rook's script limits neither paths nor commands to the subvolume group."""
    one = consumer(profile="strict", files=[{"storage_class": "f", "filesystem": "cephfs", "subvolume_group": "mine"}])
    given = caps.of(one, role)
    assert {each.where.get("path") for each in given["mds"]} == {"/volumes/mine"}
    assert {each.where["fsname"] for each in given["mds"]} == {"cephfs"}
    for each in given["mgr"]:
        assert "vol_name=cephfs" in each.text
        assert "group_name=mine" in each.text
    clones = [each.text for each in given["mgr"] if "'fs subvolume snapshot clone'" in each.text]
    assert all("target_group_name=mine" in text for text in clones)
    assert bool(clones) == (role == "cephfs-provisioner")


def test_a_data_pool_of_its_own_is_all_that_strict_gives() -> None:
    one = consumer(profile="strict", files=[{"storage_class": "f", "filesystem": "cephfs", "data_pool": "prod-files"}])
    assert "allow rw pool=prod-files" in texts(one, "cephfs-node")["osd"]
    assert not [text for text in texts(one, "cephfs-node")["osd"] if "cephfs data=" in text]


@pytest.mark.parametrize("profile", ["rook", "strict"])
def test_an_erasure_coded_class_has_caps_on_both_pools(profile: str) -> None:
    """X5: Rook's script forgets the metadata pool."""
    one = consumer(profile=profile, block=[{"storage_class": "b", "pool": "meta", "data_pool": "cold"}])
    assert texts(one, "rbd-node")["osd"] == {
        "profile rbd pool=meta namespace=prod",
        "profile rbd pool=cold namespace=prod",
    }


@pytest.mark.parametrize("profile", ["rook", "strict"])
def test_every_zone_has_caps(profile: str) -> None:
    """X13: Rook's script forgets the pools of zones."""
    zones = [{"pool": "zone-a", "value": "a"}, {"pool": "zone-b", "value": "b"}]
    one = consumer(profile=profile, block=[{"storage_class": "b", "topology": {"label": "zone", "pools": zones}}])
    assert texts(one, "rbd-provisioner")["osd"] == {
        "profile rbd pool=zone-a namespace=prod",
        "profile rbd pool=zone-b namespace=prod",
    }


def test_several_classes_are_one_user() -> None:
    """X18: Rook's script knows one pool."""
    block = [{"storage_class": "a", "pool": "ssd"}, {"storage_class": "b", "pool": "hdd"}]
    one = consumer(block=block)
    assert texts(one, "rbd-node")["osd"] == {
        "profile rbd pool=ssd namespace=prod",
        "profile rbd pool=hdd namespace=prod",
    }
    assert len(provider.clients(model.Ceph("", (), "", "k8s-", (), (one,)))) == 5


@pytest.mark.parametrize("profile", ["rook", "strict"])
def test_no_grant_for_block_volumes_is_unbounded(profile: str) -> None:
    """X1: an upgrade run of Rook's script adds a plain 'profile rbd'; ours are the same whenever they are made."""
    one = consumer(profile=profile)
    for role in ("rbd-node", "rbd-provisioner"):
        assert all(each.where.get("pool") and each.where.get("namespace") for each in caps.of(one, role)["osd"])
    # exclusive: what somebody added is taken away, so that a user that was widened is narrowed again (X2)
    widened = grants.present({"osd": "profile rbd pool=vm-prod namespace=prod, profile rbd"})
    difference = grants.diff(widened, {"osd": caps.of(one, "rbd-node")["osd"]})
    assert difference.removed == {"osd": ("profile rbd",)}
    assert not difference.widens


def test_who_has_no_cephfs_has_no_user_of_it() -> None:
    """Rook's script makes users of CephFS whenever there is one (section 2.2), and none without a pool (X11)."""
    assert consumer(files=[]).roles == ("health", "rbd-node", "rbd-provisioner")
    assert consumer(block=[]).roles == ("health", "cephfs-node", "cephfs-provisioner")


def test_consumers_share_no_user() -> None:
    """X8: Rook's script shares the health user, and takes its generation from somebody else."""
    block = [{"storage_class": "b", "pool": "vm"}]
    ceph = model.parse({"consumers": [{"cluster": "one", "block": block}, {"cluster": "two", "block": block}]})
    names = [one["name"] for one in provider.clients(ceph)]
    assert len(names) == len(set(names)) == 6


def test_what_ceph_is_to_have() -> None:
    ceph = model.parse(
        {
            "consumers": [
                {
                    "cluster": "prod",
                    "key": {"generation": 3, "keep": 2},
                    "block": [
                        {"storage_class": "a", "pool": "meta", "data_pool": "cold"},
                        {"storage_class": "b", "pool": "meta"},
                    ],
                    "files": [{"storage_class": "f", "filesystem": "cephfs", "quota": "1Ti"}],
                },
                {"cluster": "gone", "state": "absent", "block": [{"storage_class": "a", "pool": "meta"}]},
            ]
        }
    )
    clients = provider.clients(ceph, retire=["prod"])
    assert {one["generation"] for one in clients} == {3}
    assert {tuple(one["keep"]) for one in clients} == {(2, 1)}
    assert {one["retire"] for one in clients} == {"unused"}
    assert {one["retire"] for one in provider.clients(ceph)} == {"never"}
    # images are in the metadata pool; the data pool needs no RADOS namespace that RBD knows
    assert provider.rados_namespaces(ceph) == [{"pool": "meta", "name": "prod", "data_pools": ["cold"]}]
    assert provider.subvolume_groups(ceph) == [{"filesystem": "cephfs", "name": "prod", "quota": "1Ti"}]


def test_what_a_consumer_had_goes_only_when_it_is_gone_from_its_cluster() -> None:
    gone = {
        "cluster": "gone",
        "state": "absent",
        "block": [{"storage_class": "a", "pool": "meta"}],
        "files": [{"storage_class": "f", "filesystem": "cephfs"}],
    }
    ceph = model.parse({"consumers": [gone, {"cluster": "prod", "block": gone["block"]}]})
    assert not [one for one in provider.clients(ceph) if one.get("state") == "absent"]
    assert provider.rados_namespaces(ceph) == [{"pool": "meta", "name": "prod"}]
    users = [one for one in provider.clients(ceph, removed=["gone", "prod"]) if one.get("state") == "absent"]
    assert [one["name"] for one in users] == [f"k8s-gone-{role}" for role in ROLES]
    assert provider.rados_namespaces(ceph, removed=["gone"])[1] == {"pool": "meta", "name": "gone", "state": "absent"}
    assert provider.subvolume_groups(ceph, removed=["gone"]) == [
        {"filesystem": "cephfs", "name": "gone", "state": "absent"}
    ]
