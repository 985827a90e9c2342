# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools, CRUSH rules, RADOS namespaces and subvolume groups: what is done, what is refused."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import (
    crush,
    marks,
    namespaces,
    pools,
    pools_plan,
    pve,
    subvolumes,
)
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.ports import Answer
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import Refused
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Plan

from tests import ceph_answers as server

OURS = marks.Marks({("pool", name): {"init": True} for name in ("rbd", "files", "ec")})
STORAGES = pve.parse(
    "dir: local\n\tpath /var/lib/vz\n\n"
    "rbd: vms\n\tcontent images\n\tpool rbd\n\tkrbd 0\n\n"
    "rbd: elsewhere\n\tmonhost 192.0.2.1\n\tpool files\n\n"
    "rbd: apart\n\tpool shared\n\tdata-pool shared-data\n\tnamespace pve\n\n"
    "cephfs: iso\n\tpath /mnt/pve/iso\n\tfs-name cephfs\n"
)


def steps(plan: Plan) -> list[str]:
    found = []
    for change in plan.changes:
        for step in change.payload:
            given = step.arguments
            what = given.get("var") or given.get("field") or given.get("app") or ""
            value = given.get("val", "") if step.prefix != "config-key set" else ""
            found.append(" ".join(part for part in (step.prefix, what, str(value)) if part))
    return found


def pool(
    there: dict[str, t.Any] | None = None,
    marks_: marks.Marks = OURS,
    storages: t.Sequence[pve.Storage] = (),
    adopt: bool = False,
    **wanted: t.Any,
) -> Plan:
    entries = [there] if there else server.DUMP["pools"]
    existing = pools_plan.existing({"pools": entries}, server.RULES)
    rules = frozenset(rule["rule_name"] for rule in server.RULES)
    present = pools_plan.Present(existing, server.PROFILES, rules, marks_, storages)
    return pools_plan.plan(present, pools.parse([{"name": "rbd", **wanted}]), adopt=adopt)


def refused(rule: str) -> t.Any:
    return pytest.raises(Refused, match=rf"\[{rule}\]")


# -- pools -----------------------------------------------------------------------------------------------------------


def test_a_pool_as_wanted() -> None:
    plan = pool(size=3, min_size=2, pg_num=8, applications=["rbd"], init=True, crush_rule="replicated_rule", bulk=False)
    assert not plan.changed
    # what was never set is the same as nothing
    assert not pool(pg_num_max=0, target_size_ratio=0.0, target_size_bytes="0", compression_mode="none").changed


def test_a_new_pool() -> None:
    plan = pool(name="new", applications=["rbd"], init=True, size=3, pg_num=32, quota_bytes="1GiB", nodelete=True)
    assert steps(plan) == [
        "osd pool create",
        "osd pool set size 3",
        "osd pool set nodelete true",
        "osd pool set-quota max_bytes 1073741824",
        "osd pool application enable rbd",
        "init",
        "config-key set",
    ]
    assert plan.changes[0].payload[0].arguments["pg_num"] == 32
    sized = steps(pool(name="new", min_size=3, size=3, nosizechange=True, pg_autoscale_mode="warn"))
    assert sized[1:5] == [
        "osd pool set pg_autoscale_mode warn",
        "osd pool set size 3",
        "osd pool set min_size 3",
        "osd pool set nosizechange true",
    ]


def test_a_new_erasure_coded_pool_comes_after_the_one_it_needs() -> None:
    wanted = pools.parse(
        [
            {"name": "data", "erasure": {"k": 2, "m": 1}, "metadata_pool": "meta", "applications": ["rbd"]},
            {"name": "meta", "applications": ["rbd"], "init": True},
        ]
    )
    plan = pools_plan.plan(pools_plan.Present({}), wanted, adopt=False)
    assert [change.name for change in plan.changes] == ["meta", "data"]
    profile, create = plan.changes[1].payload[:2]
    assert "k=2" in profile.arguments["profile"]
    assert (create.arguments["pool_type"], create.arguments["erasure_code_profile"]) == ("erasure", "data")
    assert "osd pool set allow_ec_overwrites true" in steps(plan)


def test_what_differs_is_set() -> None:
    there = server.pool(
        "rbd", size=2, options={"target_size_ratio": 0.2}, quota_max_objects=5, application_metadata={"rgw": {}}
    )
    plan = pool(
        there, size=3, target_size_ratio=0.5, quota_objects=0, applications=["rbd"], crush_rule="ssd", bulk=True
    )
    assert steps(plan) == [
        "osd pool set crush_rule ssd",
        "osd pool set size 3",
        "osd pool set bulk true",
        "osd pool set target_size_ratio 0.5",
        "osd pool set-quota max_objects 0",
        "osd pool application enable rbd",
        "osd pool application disable rgw",
    ]
    diff = plan.diff()[0]
    assert diff["before"]["size"] == 2
    assert diff["after"]["applications"] == ["rbd"]


def test_copies_and_placement_groups_are_not_lost_just_so() -> None:
    with refused("pool-fewer-copies"):
        pool(size=2)
    assert pool(size=2, allow=["fewer-copies"]).changed
    sure = pool(size=1, allow=["fewer-copies", "size-one"]).changes[0].payload[0].arguments
    assert sure["yes_i_really_mean_it"] is True
    with refused("pool-pg-growth"):
        pool(pg_num=128)
    assert pool(pg_num=128, allow=["pg-growth"]).changed
    fixed = server.pool("rbd", flags_names="hashpspool,nosizechange,nopgchange")
    with refused("pool-fixed"):
        pool(fixed, size=4)
    with refused("pool-fixed"):
        pool(fixed, pg_num=16)
    assert steps(pool(fixed, size=4, nosizechange=False))[:2] == [
        "osd pool set nosizechange false",
        "osd pool set size 4",
    ]


def test_what_a_pool_is_never_changes() -> None:
    with refused("pool-kind"):
        pool(erasure={"k": 2, "m": 1})
    with refused("pool-kind"):
        pool(name="ec")
    with refused("pool-erasure-differs"):
        pool(name="ec", erasure={"k": 3, "m": 1, "failure_domain": "osd"})
    assert not pool(name="ec", erasure={"k": 2, "m": 1, "failure_domain": "osd"}).changed


def test_pools_of_others() -> None:
    nobody = marks.Marks({})
    with refused("not-ours"):
        pool(marks_=nobody, min_size=1)
    assert pool(marks_=nobody, min_size=1, adopt=True).changed
    assert not pool(marks_=nobody, min_size=2).changed
    assert [change.action for change in pool(marks_=nobody, min_size=2, adopt=True).changes] == ["adopt"]
    with refused("pool-of-pve"):
        pool(storages=STORAGES, min_size=1, adopt=True)
    assert not pool(storages=STORAGES, min_size=2).changed


def test_deleting_a_pool() -> None:
    assert steps(pool(state="absent", allow=["delete"])) == ["osd pool delete", "config-key rm"]
    assert steps(pool(name="ec", state="absent", allow=["delete"])) == [
        "osd pool delete",
        "osd crush rule rm",
        "osd erasure-code-profile rm",
        "config-key rm",
    ]
    with refused("pool-nodelete"):
        pool(server.pool("rbd", flags_names="nodelete"), state="absent", allow=["delete"])
    with refused("not-ours"):
        pool(marks_=marks.Marks({}), state="absent", allow=["delete"])
    with refused("pool-of-pve"):
        pool(storages=STORAGES, state="absent", allow=["delete"])
    assert not pool(name="none", state="absent", allow=["delete"]).changed


def test_a_pool_is_made_ready_for_rbd_once() -> None:
    plan = pool(marks_=marks.Marks({("pool", "rbd"): {}}), applications=["rbd"], init=True)
    assert steps(plan) == ["init", "config-key set"]
    assert plan.changes[0].payload[1].arguments["val"] == '{"init":true}'


def test_storages_of_proxmox_ve() -> None:
    assert [one.name for one in STORAGES] == ["vms", "apart", "iso"]
    assert pve.owner("shared", STORAGES) == "apart"
    assert pve.owner("shared-data", STORAGES, "pve") == "apart"
    assert pve.owner("shared", STORAGES, "member-prod") == ""
    assert pve.owner("files", STORAGES) == ""


# -- CRUSH rules -----------------------------------------------------------------------------------------------------


def rules(*wanted: dict[str, t.Any], devices: dict[str, t.Any] | None = None, move_data: bool = False) -> Plan:
    there = crush.present(server.CRUSH, server.DUMP)
    return crush.plan(there, crush.parse(wanted), crush.classes(devices or {}), move_data=move_data)


def test_rules() -> None:
    same = {"name": "ssd", "device_class": "ssd"}
    assert not rules(same, {"name": "replicated_rule", "failure_domain": "osd"}).changed
    plan = rules({"name": "hdd", "device_class": "hdd", "failure_domain": "osd"})
    assert plan.changes[0].payload[0].arguments == {"name": "hdd", "root": "default", "type": "osd", "class": "hdd"}
    with refused("crush-differs"):
        rules({"name": "ssd", "device_class": "hdd"})
    with refused("crush-differs"):
        rules({"name": "ec"})
    with refused("crush-in-use"):
        rules({"name": "ec", "state": "absent"})
    assert steps(rules({"name": "ssd", "state": "absent"})) == ["osd crush rule rm"]
    assert not rules({"name": "none", "state": "absent"}).changed


def test_device_classes() -> None:
    assert not rules(devices={"ssd": [0], "hdd": ["osd.1"]}).changed
    plan = rules({"name": "nvme", "device_class": "nvme"}, devices={"nvme": [2]})
    assert steps(plan) == ["osd crush set-device-class", "osd crush rule create-replicated"]
    with refused("crush-move-data"):
        rules(devices={"ssd": [1]})
    assert steps(rules(devices={"ssd": [1]}, move_data=True)) == [
        "osd crush rm-device-class",
        "osd crush set-device-class",
    ]


# -- RADOS namespaces ------------------------------------------------------------------------------------------------


def test_namespaces() -> None:
    wanted = namespaces.parse(
        [{"pool": "rbd", "name": "a"}, {"pool": "rbd", "name": "b"}, {"pool": "rbd", "name": "c", "state": "absent"}]
    )
    plan = namespaces.plan(wanted, {"rbd": ["a", "c"]}, {"rbd/c": []}, {"rbd": True})
    assert [(change.action, change.name) for change in plan.changes] == [("create", "rbd/b"), ("delete", "rbd/c")]
    assert plan.unchanged == 1
    with refused("namespace-in-use"):
        namespaces.plan(wanted, {"rbd": ["c"]}, {"rbd/c": ["csi-vol-1"]}, {"rbd": True})


def test_pools_are_made_ready_before_their_namespaces_and_later_too() -> None:
    wanted = namespaces.parse([{"pool": "rbd", "name": "a", "data_pools": ["cold"]}])
    assert namespaces.in_use(wanted) == ["cold", "rbd"]
    first = namespaces.plan(wanted, {"rbd": []}, {}, {"rbd": False, "cold": False})
    assert [(change.action, change.name) for change in first.changes] == [
        ("update", "cold"),
        ("update", "rbd"),
        ("create", "rbd/a"),
    ]
    later = namespaces.plan(wanted, {"rbd": ["a"]}, {}, {"rbd": True, "cold": False})
    assert [(change.name, change.diff()["after"]) for change in later.changes] == [("cold", {"init": True})]
    assert not namespaces.plan(wanted, {"rbd": ["a"]}, {}, {"rbd": True, "cold": True}).changed
    gone = namespaces.parse([{"pool": "rbd", "name": "a", "data_pools": ["cold"], "state": "absent"}])
    assert namespaces.in_use(gone) == []


def test_pools_for_namespaces() -> None:
    existing = pools_plan.existing(server.DUMP, server.RULES)
    wanted = namespaces.parse([{"pool": "rbd", "name": "a"}, {"pool": "gone", "name": "a", "state": "absent"}])
    assert namespaces.check_pools(wanted, existing, []) == ["rbd"]
    with refused("pool-of-pve"):
        namespaces.check_pools(wanted, existing, STORAGES)


# -- subvolume groups ------------------------------------------------------------------------------------------------


def groups(*wanted: dict[str, t.Any], volumes: t.Sequence[str] = (), ours: bool = True, adopt: bool = False) -> Plan:
    known = marks.Marks({("subvolume-group", "cephfs/a"): {"pin": ["distributed", "1"]}} if ours else {})
    there = {"cephfs/a": subvolumes.Existing(1 << 30, 1 << 20, "files")}
    present = subvolumes.Present({"cephfs": ["files"]}, there, {"cephfs/a": volumes}, known)
    declared = [{"filesystem": "cephfs", "name": "a", **one} for one in wanted]
    return subvolumes.plan(present, subvolumes.parse(declared), adopt=adopt)


def test_groups() -> None:
    assert not groups({"quota": "1GiB", "pin": {"type": "distributed", "setting": "1"}, "data_pool": "files"}).changed
    assert not groups({}).changed
    plan = groups({"quota": "0", "pin": {"type": "export", "setting": "0"}})
    assert steps(plan) == ["fs subvolumegroup resize", "fs subvolumegroup pin", "config-key set"]
    assert plan.changes[0].payload[0].arguments["new_size"] == "inf"
    plan = groups({"name": "b", "quota": "10MiB", "data_pool": "files"})
    assert plan.changes[0].payload[0].arguments == {
        "vol_name": "cephfs",
        "group_name": "b",
        "size": 10485760,
        "pool_layout": "files",
    }


def test_groups_that_are_refused() -> None:
    with refused("subvolume-group-quota"):
        groups({"quota": "1KiB"})
    assert groups({"quota": "1KiB", "shrink": True}).changed
    with refused("subvolume-group-in-use"):
        groups({"state": "absent"}, volumes=["csi-vol-1"])
    assert steps(groups({"state": "absent"})) == ["fs subvolumegroup rm", "config-key rm"]
    with refused("not-ours"):
        groups({"quota": "2GiB"}, ours=False)
    assert groups({"quota": "2GiB"}, ours=False, adopt=True).changed
    assert [change.action for change in groups({}, ours=False, adopt=True).changes] == ["adopt"]
    pinned = subvolumes.Present({}, {"cephfs/a": subvolumes.Existing(0, 0, "other")})
    with refused("subvolume-group-pool-differs"):
        subvolumes.plan(
            pinned, subvolumes.parse([{"filesystem": "cephfs", "name": "a", "data_pool": "files"}]), adopt=True
        )


def test_groups_as_ceph_tells() -> None:
    told = {"bytes_quota": "infinite", "bytes_used": 5, "data_pool": "files"}
    assert subvolumes.existing(Answer(0, told)) == subvolumes.Existing(0, 5, "files")
    assert subvolumes.existing(Answer(-2)) is None
