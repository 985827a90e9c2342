# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small filters."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hackspace.infra.plugins.filter.ceph_consumer_adoption import ceph_consumer_adoption
from ansible_collections.hackspace.infra.plugins.filter.ceph_consumer_resources import ceph_consumer_resources
from ansible_collections.hackspace.infra.plugins.filter.ceph_consumer_rotation import ceph_consumer_rotation
from ansible_collections.hackspace.infra.plugins.filter.rook_cluster_id import rook_cluster_id
from ansible_collections.hackspace.infra.plugins.filter.rook_mon_endpoints import rook_mon_endpoints
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import clients

MONITORS = [{"name": "a", "v1": "10.0.0.1:6789", "v2": "10.0.0.1:3300"}]
CEPH: dict[str, list[dict[str, t.Any]]] = {
    "consumers": [{"cluster": "prod", "block": [{"storage_class": "b", "pool": "vm"}]}]
}


def test_cluster_ids() -> None:
    # sha256 of "rook-ceph-vm-prod-block-prod", of which Rook takes the first 16 bytes
    assert rook_cluster_id("prod", pool="vm-prod") == "b9b3ef5748f48aad65656a2e17b24694"
    assert rook_cluster_id("prod", pool="vm-prod", namespace="other") != rook_cluster_id("prod", pool="vm-prod")
    assert rook_cluster_id("prod", filesystem="cephfs") != rook_cluster_id("prod", pool="cephfs")
    for wrong in ({}, {"pool": "a", "filesystem": "b"}):
        with pytest.raises(AnsibleFilterError, match="one-place"):
            rook_cluster_id("prod", **wrong)


def test_monitors() -> None:
    assert rook_mon_endpoints(MONITORS)["data"] == "a=10.0.0.1:3300"
    moved = rook_mon_endpoints(MONITORS, current="a=10.0.0.9:3300,b=10.0.0.1:3300")
    assert (moved["changed"], moved["lost"], moved["extra"]) == (True, False, ["b"])
    assert moved["moved"] == {"a": {"from": "10.0.0.9:3300", "to": "10.0.0.1:3300"}}
    assert not rook_mon_endpoints(MONITORS, current="a=10.0.0.1:6789")["changed"]
    with pytest.raises(AnsibleFilterError, match="monitors-none"):
        rook_mon_endpoints([])


def test_resources_are_what_the_modules_take() -> None:
    made = ceph_consumer_resources(CEPH, retire=["prod"])
    parsed = clients.parse(made["clients"])
    assert {one.retire for one in parsed} == {"unused"}
    assert made["rados_namespaces"] == [{"pool": "vm", "name": "prod"}]
    with pytest.raises(AnsibleFilterError, match="name"):
        ceph_consumer_resources({"consumers": [{"cluster": "BAD"}]})


def test_rotation() -> None:
    roles = ("health", "rbd-node", "rbd-provisioner")
    old = [f"client.k8s-prod-{role}" for role in roles]
    new = {role: f"client.k8s-prod-{role}.1" for role in roles}
    ceph = {"consumers": [{**CEPH["consumers"][0], "key": {"generation": 1, "keep": 0}}]}
    first = ceph_consumer_rotation(ceph, users=old)
    assert first["consumers"][0]["mint"] == list(new.values())
    assert first["retirable"] == []
    users = [*old, *new.values()]
    last = ceph_consumer_rotation(ceph, users=users, delivered={"prod": new}, sessions=[], complete=True)
    assert last["retirable"] == ["prod"]
    busy = ceph_consumer_rotation(ceph, users=users, delivered={"prod": new}, sessions=old, complete=True)
    assert busy["retirable"] == []
    told = ceph_consumer_rotation(ceph, users=users, delivered={"prod": new}, told=["prod"])
    assert told["retirable"] == ["prod"]
    with pytest.raises(AnsibleFilterError, match="unknown-key"):
        ceph_consumer_rotation({"consumer": []}, users=[])


def test_adoption() -> None:
    caps = {"osd": "profile rbd pool=vm namespace=prod"}
    users = {"client.csi-rbd-node-old-vm-prod.3": caps, "client.admin": {"osd": "allow *"}}
    made = ceph_consumer_adoption(CEPH, users=users, names={"prod": "old"})
    assert made == [
        {"consumer": "prod", "users": {"rbd-node": "csi-rbd-node-old-vm-prod"}, "key": {"generation": 3}, "doubts": []}
    ]
    told = {name: {"caps": {"osd": [given["osd"]]}, "key_type": "aes"} for name, given in users.items()}
    assert ceph_consumer_adoption(CEPH, users=told, names={"prod": "old"}) == made
    assert ceph_consumer_adoption(CEPH, users=users)[0]["users"] == {}
    with pytest.raises(AnsibleFilterError, match="type"):
        ceph_consumer_adoption([], users={})
