# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ceph_clients on a real Ceph: exclusive caps, generations, retirement by sessions, isolation by issued keys."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import typing as t

from ansible_collections.hackspace.infra.plugins.filter.ceph_consumer_resources import ceph_consumer_resources
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import fingerprint

from tests.integration.ansible_run import run_play

from .conftest import EACCES, EPERM, Site, wait_for


def caps(pool: str, namespace: str) -> dict[str, t.Any]:
    scope = f"profile rbd pool={pool} namespace={namespace}"
    return {"mon": "profile rbd", "mgr": scope, "osd": [scope]}


def client(name: str, pool: str, namespace: str, **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, "caps": caps(pool, namespace), **more}


def namespaces(site: Site, pool: str, *names: str) -> None:
    site.apply("ceph_rados_namespaces", namespaces=[{"pool": pool, "name": name} for name in names])


def isolated(site: Site, entity: str, pool: str, own: str, other: str) -> None:
    """The key works in its own namespace, and nowhere else."""
    image = site.name("image")
    codes = [
        answer.code
        for answer in site.tries(
            entity,
            {"rbd": "create", "pool": pool, "namespace": own, "image": image},
            {"rbd": "ls", "pool": pool, "namespace": own},
            {"rbd": "ls", "pool": pool, "namespace": other},
            {"rbd": "create", "pool": pool, "namespace": other, "image": image},
            {"rbd": "ls", "pool": pool},
            {"rbd": "create", "pool": pool, "image": image},
            {"mon": {"prefix": "auth ls"}},
            {"mon": {"prefix": "config-key dump"}},
        )
    ]
    assert codes == [0, 0, EPERM, EPERM, EPERM, EPERM, EACCES, EACCES]


def test_two_consumers_are_kept_apart_and_stay_so(site: Site) -> None:
    pool, one, two = site.pool(), site.name("client"), site.name("client")
    namespaces(site, pool, "one", "two")
    wanted = [client(one, pool, "one"), client(two, pool, "two")]
    before = site.ceph.written()
    assert site.call("ceph_clients", check=True, clients=wanted)["changed"]
    assert site.ceph.written() == before
    site.settled("ceph_clients", clients=wanted)
    isolated(site, f"client.{one}", pool, "one", "two")
    isolated(site, f"client.{two}", pool, "two", "one")
    # somebody widens what a user may do, as an upgrade run of Rook's script does
    wide = f"profile rbd pool={pool} namespace=one, profile rbd"
    site.ceph.command("auth caps", entity=f"client.{one}", caps=["mon", "profile rbd", "osd", wide])
    result = site.settled("ceph_clients", clients=wanted)
    assert [change["name"] for change in result["changes"]] == [f"client.{one}"]
    assert "osd - profile rbd" in result["changes"][0]["why"]
    site.settled("ceph_clients", clients=[{**wanted[0], "generation": 1}, wanted[1]])
    isolated(site, f"client.{one}.1", pool, "one", "two")
    isolated(site, f"client.{one}", pool, "one", "two")


def test_a_key_is_rotated_with_an_overlap_and_retired_when_nobody_uses_it(site: Site) -> None:
    pool, name = site.pool(), site.name("client")
    namespaces(site, pool, "n")
    site.apply("ceph_clients", clients=[client(name, pool, "n")])
    old = f"client.{name}"
    key = site.ceph.key(old)
    early = [client(name, pool, "n", generation=1, retire="unused")]
    site.refused("client-retire-early", "ceph_clients", clients=early)
    made = site.settled("ceph_clients", clients=[client(name, pool, "n", generation=1)])
    assert made["clients"][0]["entity"] == f"{old}.1"
    assert made["clients"][0]["generations"] == [0, 1]
    assert site.ceph.key(f"{old}.1") != key
    hold = site.tmp / site.name("hold")
    order = {"conf": str(site.ceph.conf), "user": old, "key": key, "timeout": 20, "commands": [{"hold": str(hold)}]}
    with site.ceph.holding(order):
        wait_for(hold.exists)
        used = site.apply("ceph_clients", clients=early)
        assert list(used["clients"][0]["in_use"]) == [old]
        assert not used["changed"]
        site.refused("client-in-use", "ceph_clients", clients=[{"name": name, "state": "absent"}])
        hold.unlink()
    wait_for(lambda: old not in site.apply("ceph_info", sessions=True)["sessions"])
    result = site.settled("ceph_clients", clients=early)
    assert [(change["action"], change["name"]) for change in result["changes"]] == [("delete", old)]
    # back again: what is declared counts, not what is highest
    back = site.settled("ceph_clients", clients=[client(name, pool, "n", generation=0)])
    assert back["clients"][0]["entity"] == old
    site.settled("ceph_clients", clients=[{"name": name, "state": "absent"}])
    assert not [user for user in site.apply("ceph_info")["users"] if user.startswith(old)]


def test_nothing_is_retired_while_a_monitor_is_silent(site: Site) -> None:
    pool, name = site.pool(), site.name("client")
    wanted = client(name, pool, "n", generation=1)
    site.apply("ceph_clients", clients=[{**wanted, "generation": 0}])
    site.apply("ceph_clients", clients=[wanted])
    site.lab.stop("ceph-mon-c")
    try:
        result = site.call("ceph_clients", clients=[{**wanted, "retire": "unused"}], timeout=10)
        assert result["error"]["rule"] == "client-sessions", result
        info = site.apply("ceph_info", sessions=True)
        assert not info["sessions_complete"]
        assert info["facts"]["unreachable"]
    finally:
        site.lab.start("ceph-mon-c")
    wait_for(lambda: not site.apply("ceph_info")["facts"]["unreachable"])


def test_users_of_rooks_script_are_taken_over_with_names_and_keys(site: Site) -> None:
    pool, name = site.pool(), f"csi-rbd-node-{site.name('cluster')}-vm"
    entity = f"client.{name}"
    given = ["mon", "profile rbd, allow command 'osd blocklist'", "osd", f"profile rbd pool={pool}"]
    site.ceph.command("auth get-or-create", entity=entity, caps=given)
    key = site.ceph.key(entity)
    before = site.ceph.written()
    refused = site.refused("not-ours", "ceph_clients", clients=[client(name, pool, "n")])
    assert refused["foreign"] == [entity]
    assert site.ceph.written() == before
    assert name in site.apply("ceph_info")["rook_made"]
    site.settled("ceph_clients", clients=[client(name, pool, "n")], adopt=True)
    assert site.ceph.key(entity) == key


def test_what_the_server_refuses_is_said(site: Site) -> None:
    wrong = {"name": site.name("client"), "caps": {"mds": "allow rwx"}}
    result = site.refused("ceph-invalid", "ceph_clients", clients=[wrong])
    assert result["error"]["item"] == f"Ceph user client.{wrong['name']}"
    assert result["applied"] == []
    aes = {"name": site.name("client"), "caps": {"mon": "allow r"}, "key_type": "aes256k"}
    site.refused("client-key-type-unknown", "ceph_clients", clients=[aes])


def test_by_ansible_with_librados_in_its_own_python(site: Site) -> None:
    """Nothing that is printed, and no argument of a process, has a key in it."""
    pool, name = site.pool(), site.name("client")
    given = {**site.login, "clients": [client(name, pool, "n")]}
    task: dict[str, t.Any] = {
        "name": "Keep",
        "hackspace.infra.ceph_clients": given,
        "vars": {"ansible_python_interpreter": str(site.ceph.bin / "python3")},
    }
    done = run_play([task], diff=True, verbosity=3).ok()
    assert done.changed == ["Keep"]
    assert done.of("ceph_clients")["clients"][0]["user_id"] == name
    keys = [site.ceph.key(f"client.{name}"), *site.ceph.secrets()]
    assert not [key for key in keys if key in done.output]
    assert run_play([task]).ok().changed == []
    known = site.apply("ceph_keys", users=[name, "nobody"])
    assert known["fingerprints"] == {f"client.{name}": fingerprint(keys[0])}
    assert known["missing"] == ["client.nobody"]


def test_ten_consumers_with_three_tiers(site: Site) -> None:
    """Nothing to do: one call and one connection for each concern, in less than three seconds."""
    fast, slow = site.pool(), site.pool()
    block = [{"storage_class": name, "pool": pool} for name, pool in (("fast", fast), ("slow", slow))]
    files = [{"storage_class": "files", "filesystem": "cephfs"}]
    common = {"profile": "strict", "block": block, "files": files}
    consumers = [{"cluster": site.name("many"), **common} for _number in range(10)]
    declared = {"fsid": site.ceph.fsid, "monitors": ["127.0.0.1"], "consumers": consumers}
    wanted = ceph_consumer_resources(declared)
    assert [len(wanted[kind]) for kind in ("rados_namespaces", "subvolume_groups", "clients")] == [20, 10, 50]
    calls: dict[str, dict[str, t.Any]] = {
        "ceph_rados_namespaces": {"namespaces": wanted["rados_namespaces"]},
        "ceph_subvolume_groups": {"groups": wanted["subvolume_groups"]},
        "ceph_clients": {"clients": wanted["clients"]},
    }
    for module, args in calls.items():
        assert site.apply(module, **args)["changed"]
    before = site.ceph.written()
    asked = {}
    for module, args in calls.items():
        begin = time.monotonic()
        result = site.apply(module, **args)
        assert time.monotonic() - begin < 3, module
        assert not result["changed"]
        asked[module] = result["requests"]
    # one command for all users, two for all pools and two for each; groups can't be listed with their quotas
    assert asked["ceph_clients"] <= 3, asked
    assert asked["ceph_rados_namespaces"] == 2 + 2 * len(block), asked
    assert asked["ceph_subvolume_groups"] <= 12, asked
    python = {"ansible_python_interpreter": str(site.ceph.bin / "python3")}
    tasks = [
        {"name": module, f"hackspace.infra.{module}": {**site.login, **args}, "vars": python}
        for module, args in calls.items()
    ]
    known = connections(site)
    assert run_play(tasks).ok().changed == []
    assert len(connections(site) - known) == len(calls)
    assert site.ceph.written() == before


def connections(site: Site) -> set[str]:
    """The connections by which the administrator has asked monitors so far."""
    pattern = re.compile(r"from='client\.\S+ (\S+:0/\d+)' entity='client\.admin'")
    logs = [site.lab.state / "logs" / f"ceph-mon-{one.name}.log" for one in site.ceph.monitors]
    return {found for log in logs for found in pattern.findall(log.read_text(errors="replace"))}


def test_the_program_alone(site: Site) -> None:
    """A Python without librados, and no program ceph either."""
    code = "import rados"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
    task = {"name": "Keep", "hackspace.infra.ceph_info": site.login}
    failed = run_play([task], env={"PATH": "/usr/bin:/bin"})
    assert failed.of("ceph_info")["error"]["rule"] == "ceph-bindings"
