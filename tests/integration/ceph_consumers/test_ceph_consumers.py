# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook ceph_consumers on real servers, over SSH: two consumers at once, and what becomes of them later.

Each test leaves the two consumers delivered and as declared, and finds them so.
"""

from __future__ import annotations

import base64
import json
import threading
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.filter.ceph_consumer_adoption import ceph_consumer_adoption

from tests.integration import audit
from tests.integration.ansible_run import Result, Run
from tests.integration.kube.conftest import kill_tree

from .conftest import CORE, MEMBER, POOL, SECRETS, Login, Site, until

DELIVER = "Deliver keys and objects to all clusters"
#: What Rook's script gives restricted users of a cluster for block volumes, after its upgrade without that flag (X1).
SCRIPT_CAPS = {
    "mon": "profile rbd, allow command 'osd blocklist'",
    "osd": f"profile rbd pool={POOL} namespace=legacy, profile rbd",
}


def lines(result: Result) -> list[str]:
    """What the run says about each consumer in the end."""
    return list(result.of("debug")["msg"])


def rotation(result: Result) -> dict[str, t.Any]:
    """What the role kept of a run."""
    return dict(result.of("set_fact")["ansible_facts"]["rook_ceph_external_result"])


@pytest.fixture(scope="module")
def first(lab_site: Site) -> tuple[Result, Result]:
    """Check mode on a Ceph and clusters in which nobody has done anything, which writes nothing; then for real."""
    site = lab_site
    before = site.lab.ceph.written()
    marks = {cluster: audit.mark(site.lab, cluster) for cluster in (CORE, MEMBER)}
    for proxy in site.proxies.values():
        proxy.clear_requests()
    checked = site.play(check=True).ok()
    assert site.lab.ceph.written() == before
    assert {cluster: audit.writes(site.lab, cluster, mark) for cluster, mark in marks.items()} == {CORE: [], MEMBER: []}
    asked = [request for proxy in site.proxies.values() for request in proxy.requests()]
    assert asked
    assert [request for request in asked if request.method not in ("GET", "LIST")] == []
    return checked, site.play().ok()


@pytest.fixture
def site(lab_site: Site, first: tuple[Result, Result]) -> Site:
    """The site with both consumers delivered."""
    assert first
    return lab_site


def generation(site: Site) -> int:
    return int((site.consumers[0].get("key") or {}).get("generation", 0))


def rotate(site: Site) -> int:
    """Declare the next generation of both, of which the last is not kept."""
    number = generation(site) + 1
    for one in site.consumers:
        one["key"] = {"generation": number, "keep": 0}
    return number


def test_both_get_keys_that_work_for_them_alone_and_then_nothing_changes(
    site: Site, first: tuple[Result, Result]
) -> None:
    checked, done = first
    assert checked.changed == done.changed
    for result in first:
        assert len(result.of("rook_consumers")["consumers"]) == 2
    assert lines(done) == [f"{CORE} on {CORE}: delivered", f"{MEMBER} on {MEMBER}: delivered"]
    for cluster in (CORE, MEMBER):
        assert site.users(cluster) == {role: f"client.k8s-{cluster}-{role}" for role in SECRETS}
    assert site.stored() == [f"ceph-{role}" for role in sorted(SECRETS)]
    zones = [site.storage_class(cluster, "ceph-zones") for cluster in (CORE, MEMBER)]
    assert zones[0] is None
    assert len(json.loads(zones[1]["parameters"]["topologyConstrainedPools"])) == 2
    site.check_apart()
    written = site.lab.ceph.written()
    again = site.play().ok()
    assert again.changed == []
    assert site.lab.ceph.written() == written
    assert (site.restarts(CORE), site.restarts(MEMBER)) == (0, 0)


def test_keys_went_over_ssh_sealed(site: Site) -> None:
    assert site.host.logins > 5
    assert '"sealed": {"client.k8s-core-infra-health": "' in site.host.wire
    keys = [site.lab.ceph.key(user) for user in site.ceph_users()]
    assert len(keys) >= 10
    for key in keys:
        for text in (key, base64.b64encode(key.encode()).decode().rstrip("=")):
            assert text not in site.host.wire


def test_a_run_that_is_killed_after_minting_is_finished_and_who_is_logged_in_stays(site: Site, tmp_path: t.Any) -> None:
    before = generation(site)
    old = {cluster: site.users(cluster) for cluster in (CORE, MEMBER)}
    kept = site.secret(MEMBER, "rbd-node")
    number = rotate(site)
    started: list[Run] = []
    killed = threading.Event()

    def kill(_method: str, _path: str) -> None:
        kill_tree(started[0].process.pid)
        killed.set()

    # keys go to OpenBao before anything goes to a cluster
    for proxy in site.proxies.values():
        proxy.call(kill, method="POST|PUT", path="/v1/kv/data/")
    started.append(site.start())
    assert killed.wait(120)
    started[0].process.wait(30)
    for proxy in site.proxies.values():
        proxy.clear_rules()
    minted = {f"client.k8s-{cluster}-{role}.{number}" for cluster in (CORE, MEMBER) for role in SECRETS}
    assert minted <= set(site.ceph_users())
    assert {cluster: site.users(cluster) for cluster in (CORE, MEMBER)} == old
    site.check_apart()

    hold = tmp_path / "hold"
    order = {
        "conf": str(site.lab.ceph.conf),
        "user": kept.user,
        "key": kept.key,
        "timeout": 20,
        "commands": [{"hold": str(hold)}],
    }
    with site.lab.ceph.holding(order):
        until(hold.exists)
        finished = site.play().ok()
        hold.unlink()
    assert [site.users(cluster) for cluster in (CORE, MEMBER)] == [
        {role: f"client.k8s-{cluster}-{role}.{number}" for role in SECRETS} for cluster in (CORE, MEMBER)
    ]
    site.check_apart()
    assert (site.restarts(CORE), site.restarts(MEMBER)) == (1, 1)
    gone = set(rotation(finished)["retired"])
    assert gone == {user for users in old.values() for user in users.values()} - {kept.user}
    assert lines(finished)[1] == f"{MEMBER} on {MEMBER}: delivered; older users wait: {kept.user}"
    assert set(site.ceph_users()) == minted | {kept.user}
    assert before + 1 == number


def test_who_is_logged_out_is_retired_a_moved_monitor_is_told_and_a_class_is_not_touched(site: Site) -> None:
    """Monitor b keeps its name and gets another address, and the operator has written its ConfigMap meanwhile."""
    waiting = [user for user in site.ceph_users() if not user.endswith(f".{generation(site)}")]
    restarts = {cluster: site.restarts(cluster) for cluster in (CORE, MEMBER)}
    told = {cluster: site.monitors(cluster) for cluster in (CORE, MEMBER)}
    uid = site.storage_class(CORE, "ceph-block")["metadata"]["uid"]
    site.lab.move_monitor("b")
    moved = next(one for one in site.lab.ceph.monitors if one.name == "b")
    site.consumers[0]["block"][0]["fstype"] = "xfs"
    done = site.play().ok()
    for cluster in (CORE, MEMBER):
        endpoints = dict(part.split("=") for part in site.monitors(cluster).split(","))
        before = dict(part.split("=") for part in told[cluster].split(","))
        assert endpoints == {**before, "b": moved.v2}
        assert before["b"] != moved.v2
        assert site.restarts(cluster) == restarts[cluster] + 1
    assert "StorageClasses differ: ceph-block" in lines(done)[0]
    assert "monitors moved: b" in lines(done)[1]
    assert site.storage_class(CORE, "ceph-block")["metadata"]["uid"] == uid
    assert [user for user in site.ceph_users() if not user.endswith(f".{generation(site)}")] == []
    assert rotation(done)["retired"] == waiting

    again = site.play(recreate_storage_classes=["ceph-block"]).ok()
    assert again.changed == [DELIVER]
    found = [(one["action"], one["name"]) for one in again.of("rook_consumers")["changes"]]
    assert found == [("delete", "ceph-block"), ("create", "ceph-block")]
    live = site.storage_class(CORE, "ceph-block")
    assert live["metadata"]["uid"] != uid
    assert live["parameters"]["csi.storage.k8s.io/fstype"] == "xfs"
    site.check_apart()


def test_users_of_rooks_script_are_taken_over_upgraded_and_taken_away(site: Site) -> None:
    """A third consumer: adopted with the keys it has, narrowed, upgraded; gone when it is confirmed and empty."""
    ceph = site.lab.ceph
    ceph.ask([{"rbd": "namespace", "pool": POOL, "namespace": "legacy"}])
    bases = {role: f"csi-{role}-legacy-{POOL}-legacy" for role in ("rbd-node", "rbd-provisioner")}
    caps = [word for kind, text in SCRIPT_CAPS.items() for word in (kind, text)]
    for base in bases.values():
        ceph.command("auth get-or-create", entity=f"client.{base}", caps=caps)
    old = Login(f"client.{bases['rbd-node']}", ceph.key(f"client.{bases['rbd-node']}"))
    wide = [{"rbd": "ls", "pool": POOL, "namespace": MEMBER}]
    assert site.codes(old, wide) == [0]  # the script's upgrade has opened everything to it
    legacy: dict[str, t.Any] = {
        "cluster": CORE,
        "name": "legacy",
        "namespace": "rook-legacy",
        "operator_namespace": "rook-ceph",
        "delivery": "direct",
        "rook": "1.18",
        "before_ceph_upgrade": True,
        "block": [{"storage_class": "legacy-block", "pool": POOL}],
    }
    known = dict.fromkeys((f"client.{base}" for base in bases.values()), SCRIPT_CAPS)
    proposed = ceph_consumer_adoption({"consumers": [legacy]}, users=known)[0]
    assert (proposed["users"], proposed["key"], proposed["doubts"]) == (bases, {"generation": 0}, [])
    legacy["users"] = proposed["users"]
    site.consumers.append(legacy)

    site.play(adopt=True).ok()
    has = site.secret(CORE, "rbd-node", "rook-legacy")
    assert has == old
    site.check_block(has, "legacy", [CORE, MEMBER])

    # somebody lets the script upgrade once more, and Rook is upgraded: what was opened is closed again
    ceph.command("auth caps", entity=old.user, caps=caps)
    legacy["rook"] = "1.20"
    upgraded = site.play().ok()
    assert upgraded.of("rook_consumers")["consumers"][2]["delivered"]
    site.check_block(has, "legacy", [CORE, MEMBER])
    site.check_apart()

    image = {"pool": POOL, "namespace": "legacy", "image": "left"}
    assert site.codes(has, [{"rbd": "create", **image}]) == [0]
    legacy["state"] = "absent"
    full = site.play(confirm_removal=["legacy"])
    assert full.rc != 0
    assert site.storage_class(CORE, "legacy-block") is None
    assert site.codes(has, [{"rbd": "ls", **image}, {"rbd": "remove", **image}]) == [0, 0]
    removed = site.play(confirm_removal=["legacy"]).ok()
    assert lines(removed)[2] == f"legacy on {CORE}: gone"
    assert [user for user in site.ceph_users() if "legacy" in user] == []
    site.consumers.remove(legacy)
    site.check_apart()
