# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools, rules, namespaces, subvolume groups, settings and facts of a real Ceph."""

from __future__ import annotations

import typing as t

from ansible_collections.hackspace.infra.plugins.module_utils._rook import facts

from .conftest import EPERM, Site


def detail(site: Site, name: str) -> dict[str, t.Any]:
    """A pool as Ceph has it."""
    found: dict[str, t.Any] = next(one for one in site.ceph.command("osd dump")["pools"] if one["pool_name"] == name)
    return found


def test_a_pool_with_everything(site: Site) -> None:
    name = site.name("pool")
    wanted = {
        "name": name,
        "applications": ["rbd"],
        "init": True,
        "size": 2,
        "min_size": 1,
        "pg_num": 8,
        "pg_num_min": 4,
        "pg_num_max": 64,
        "pg_autoscale_mode": "warn",
        "target_size_ratio": 0.2,
        "bulk": True,
        "quota_bytes": "10GiB",
        "quota_objects": 1000,
        "compression_mode": "aggressive",
        "compression_algorithm": "lz4",
        "compression_required_ratio": 0.7,
        "compression_min_blob_size": "8KiB",
        "compression_max_blob_size": "128KiB",
        "crush_rule": "replicated_rule",
        "nodelete": True,
        "nosizechange": True,
        "noscrub": True,
        "nodeep_scrub": True,
    }
    site.settled("ceph_pools", pools=[wanted])
    other = {
        **wanted,
        "size": 3,
        "nosizechange": False,
        "pg_num": 16,
        "quota_objects": 0,
        "bulk": False,
        "target_size_ratio": 0.0,
        "compression_mode": "none",
        "applications": ["rbd", "own"],
        "pg_num_max": 0,
    }
    site.settled("ceph_pools", pools=[other])
    found = detail(site, name)
    assert (found["size"], found["pg_num_target"], sorted(found["application_metadata"])) == (3, 16, ["own", "rbd"])
    # somebody changes it
    site.ceph.command("osd pool set", pool=name, var="min_size", val="2")
    result = site.settled("ceph_pools", pools=[other])
    assert result["changes"][0]["why"] == "min_size differs"


def test_what_would_lose_data(site: Site) -> None:
    name = site.pool(size=3, nodelete=True)
    site.refused("pool-fewer-copies", "ceph_pools", pools=[{"name": name, "size": 2}])
    site.refused("pool-size-one", "ceph_pools", pools=[{"name": name, "size": 1, "allow": ["fewer-copies"]}])
    gone = {"name": name, "state": "absent", "allow": ["delete"]}
    site.refused("pool-nodelete", "ceph_pools", pools=[gone])
    sure = {"name": name, "size": 1, "min_size": 1, "nodelete": False, "allow": ["fewer-copies", "size-one"]}
    site.settled("ceph_pools", pools=[sure])
    site.settled("ceph_pools", pools=[gone])
    assert name not in site.apply("ceph_info")["pools"]


def test_a_pool_of_somebody_else(site: Site) -> None:
    name = site.name("pool")
    site.ceph.command("osd pool create", pool=name, pg_num=8)
    refused = site.refused("not-ours", "ceph_pools", pools=[{"name": name, "applications": ["rbd"]}])
    assert refused["foreign"] == [name]
    site.settled("ceph_pools", pools=[{"name": name, "applications": ["rbd"]}], adopt=True)


def test_erasure_code_with_its_replicated_pool_and_an_issued_key(site: Site) -> None:
    meta, data, name = site.name("meta"), site.name("data"), site.name("client")
    wanted: list[dict[str, t.Any]] = [
        {
            "name": data,
            "erasure": {"k": 2, "m": 1, "failure_domain": "osd"},
            "metadata_pool": meta,
            "applications": ["rbd"],
            "pg_num": 8,
        },
        {"name": meta, "applications": ["rbd"], "pg_num": 8},
    ]
    site.settled("ceph_pools", pools=wanted)
    site.refused(
        "pool-erasure-differs",
        "ceph_pools",
        pools=[{**wanted[0], "erasure": {"k": 2, "m": 1, "failure_domain": "host"}}, wanted[1]],
    )
    info = site.apply("ceph_info")["facts"]["pools"]
    assert (info[data]["erasure"], info[data]["overwrites"]) == (True, True)
    # nobody has made the pools ready for images, which who is confined to the namespace can't do
    site.settled("ceph_rados_namespaces", namespaces=[{"pool": meta, "name": "n", "data_pools": [data]}])
    scope = ", ".join(f"profile rbd pool={pool} namespace=n" for pool in (meta, data))
    wanted_client = {"name": name, "caps": {"mon": "profile rbd", "mgr": scope, "osd": scope}}
    site.apply("ceph_clients", clients=[wanted_client])
    codes = [
        answer.code
        for answer in site.tries(
            f"client.{name}",
            {"rbd": "create", "pool": meta, "namespace": "n", "image": "i", "data_pool": data},
            {"rbd": "write", "pool": meta, "namespace": "n", "image": "i"},
            {"rados": "write", "pool": data, "namespace": "", "object": "rbd_data.x"},
            {"rados": "write", "pool": data, "namespace": "other", "object": "rbd_data.x"},
        )
    ]
    assert codes == [0, 0, EPERM, EPERM]
    gone = [{"name": name, "state": "absent", "allow": ["delete"]} for name in (data, meta)]
    site.settled("ceph_pools", pools=gone)
    assert data not in [rule["rule_name"] for rule in site.ceph.command("osd crush rule dump")]
    assert data not in site.ceph.command("osd erasure-code-profile ls")


def test_rules_and_device_classes(site: Site) -> None:
    rule = site.name("rule")
    wanted = {
        "rules": [{"name": rule, "device_class": "fast", "failure_domain": "osd"}],
        "device_classes": {"fast": [0]},
    }
    site.refused("crush-move-data", "ceph_crush_rules", **wanted)
    site.settled("ceph_crush_rules", **wanted, move_data=True)
    pool = site.pool(crush_rule=rule, size=1, min_size=1, allow=["size-one"])
    gone = {"rules": [{"name": rule, "state": "absent"}]}
    site.refused("crush-in-use", "ceph_crush_rules", **gone)
    site.refused("crush-differs", "ceph_crush_rules", rules=[{"name": rule}])
    site.apply("ceph_pools", pools=[{"name": pool, "crush_rule": "replicated_rule"}])
    site.settled("ceph_crush_rules", **gone)


def test_namespaces(site: Site) -> None:
    pool = site.pool()
    wanted = [{"pool": pool, "name": name} for name in ("a", "b")]
    site.settled("ceph_rados_namespaces", namespaces=wanted)
    created = site.ceph.ask([{"rbd": "create", "pool": pool, "namespace": "b", "image": "i"}])[0]
    assert created.code == 0
    gone = [wanted[0], {**wanted[1], "state": "absent"}]
    site.refused("namespace-in-use", "ceph_rados_namespaces", namespaces=gone)
    assert site.ceph.ask([{"rbd": "remove", "pool": pool, "namespace": "b", "image": "i"}])[0].code == 0
    site.settled("ceph_rados_namespaces", namespaces=gone)


def test_subvolume_groups_and_an_issued_key(site: Site) -> None:
    one, two, name = site.name("group"), site.name("group"), site.name("client")
    pin = {"type": "distributed", "setting": "1"}
    wanted: list[dict[str, t.Any]] = [
        {"filesystem": "cephfs", "name": one, "quota": "1GiB", "pin": pin},
        {"filesystem": "cephfs", "name": two, "data_pool": "cephfs_data"},
    ]
    site.settled("ceph_subvolume_groups", groups=wanted)
    site.settled("ceph_subvolume_groups", groups=[{**wanted[0], "quota": "0"}, {**wanted[1], "quota": "5MiB"}])
    verbs = ("create", "rm", "ls", "info", "getpath")
    scope = f"with vol_name=cephfs group_name={one}"
    caps = {
        "mon": "allow r fsname=cephfs",
        "mgr": [f"allow command 'fs subvolume {verb}' {scope}" for verb in verbs],
        "osd": "allow rw tag cephfs data=cephfs",
        "mds": ["allow r fsname=cephfs path=/volumes", f"allow rws fsname=cephfs path=/volumes/{one}"],
    }
    site.settled("ceph_clients", clients=[{"name": name, "caps": caps}])

    def volume(group: str) -> dict[str, t.Any]:
        arguments = {"vol_name": "cephfs", "sub_name": "v", "group_name": group}
        return {"mgr": {"prefix": "fs subvolume create", **arguments}}

    codes = [
        answer.code
        for answer in site.tries(
            f"client.{name}",
            volume(two),
            volume(one),
            {"fs": "mkdir", "root": "/volumes", "path": f"/{one}/x"},
            {"fs": "mkdir", "root": "/volumes", "path": f"/{two}/x"},
        )
    ]
    assert codes[0] == -13
    assert codes[1:3] == [0, 0]
    assert codes[3] in (-1, -13)
    gone = [{**wanted[0], "quota": None, "state": "absent"}]
    site.refused("subvolume-group-in-use", "ceph_subvolume_groups", groups=gone)
    site.ceph.command("fs subvolume rm", target="mgr", vol_name="cephfs", sub_name="v", group_name=one)
    assert site.ceph.ask([{"fs": "rmdir", "path": f"/volumes/{one}/x"}])[0].code == 0
    site.settled("ceph_subvolume_groups", groups=gone)


def test_settings(site: Site) -> None:
    wanted: dict[str, t.Any] = {
        "settings": [
            {"section": "osd", "mask": "class:ssd", "name": "osd_memory_target", "value": "4GiB"},
            {"section": "mon", "name": "mon_clock_drift_allowed", "value": "0.1"},
            {"section": "client", "name": "rbd_cache", "value": "no"},
            {"section": "mgr", "name": "mgr/prometheus/server_port", "value": "9299"},
            {"section": "osd.1", "name": "osd_max_backfills", "value": "3"},
        ],
        "flags": {"noout": True},
        "mgr_modules": {"iostat": False},
    }
    site.settled("ceph_settings", **wanted)
    same = [{**wanted["settings"][0], "value": "4294967296"}]
    assert not site.apply("ceph_settings", settings=same)["changed"]
    back = [
        {key: value for key, value in one.items() if key != "value"} | {"state": "absent"} for one in wanted["settings"]
    ]
    site.settled("ceph_settings", settings=back, flags={"noout": False})
    assert site.ceph.command("config dump") == []
    site.refused("setting-unknown", "ceph_settings", settings=[{"name": "nonsense", "value": "1"}])
    site.refused("setting-range", "ceph_settings", settings=[{"name": "osd_memory_target", "value": "1MiB"}])
    site.refused("setting-module-unknown", "ceph_settings", mgr_modules={"dashboard": True})


def test_what_there_is(site: Site) -> None:
    info = site.apply("ceph_info", sessions=True)
    assert info["fsid"] == site.ceph.fsid
    assert info["version"].startswith("16.2.")
    assert info["forgery"]["state"] == "vulnerable"
    assert info["sessions_complete"]
    assert {"osd.0", "mgr.x"} <= set(info["sessions"])
    assert [(one["name"], one["v1"], one["v2"]) for one in info["monitors"]] == [
        (one.name, one.v1, one.v2) for one in site.ceph.monitors
    ]
    known = facts.parse(info["facts"])
    assert known.filesystems
    assert "cephfs" in known.filesystems
    keys = site.ceph.secrets()
    assert not [key for key in keys if key in str(info)]


def test_a_monitor_that_moves(site: Site) -> None:
    before = {one["name"]: one["v2"] for one in site.apply("ceph_info")["facts"]["monitors"]}
    site.lab.move_monitor("b")
    after = {one["name"]: one["v2"] for one in site.apply("ceph_info")["facts"]["monitors"]}
    assert after["b"] != before["b"]
    assert {name: after[name] for name in "ac"} == {name: before[name] for name in "ac"}
    assert site.ceph.ask([{"until": {"mon": {"prefix": "sessions"}, "at": "b"}}])[0].code == 0


def test_monitors_that_do_not_answer(site: Site) -> None:
    text = site.ceph.conf.read_text()
    conf = site.tmp / "nobody.conf"
    lines = ["mon host = 127.0.0.1:1" if line.startswith("mon host") else line for line in text.splitlines()]
    conf.write_text("\n".join(lines) + "\n")
    result = site.call("ceph_info", conf=str(conf), timeout=3)
    assert result["error"]["rule"] == "ceph-unreachable", result
    empty = site.tmp / "keyring"
    empty.touch()
    site.refused("ceph-login", "ceph_info", keyring=str(empty), timeout=3)
    site.refused("ceph-login", "ceph_info", user="nobody", timeout=3)
    lines = [f"keyring = {site.tmp}/none" if line.startswith("keyring") else line for line in text.splitlines()]
    conf.write_text("\n".join(lines) + "\n")
    site.refused("ceph-keyring", "ceph_info", conf=str(conf), keyring=None, timeout=3)
    site.refused("ceph-file", "ceph_info", conf=str(site.tmp / "none"))
