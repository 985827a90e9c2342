# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ceph users of Rook's script: found by what it makes, proposed for whom they are, never the ones that all share."""

from __future__ import annotations

from ansible_collections.hackspace.infra.plugins.module_utils._ceph.clients import User
from ansible_collections.hackspace.infra.plugins.module_utils._rook import adoption, caps, model

OSD = {"osd": "profile rbd pool=vm-prod namespace=prod"}
USERS = [
    User("client.admin", {"osd": "allow *"}),
    User("osd.0", {}),
    User("client.csi-rbd-node", {"osd": "profile rbd"}),
    User("client.healthchecker", {"mon": "allow r"}),
    User("client.csi-rbd-node-prod-vm-prod-prod", OSD),
    User("client.csi-rbd-node-prod-vm-prod-prod.2", OSD),
    User("client.csi-rbd-provisioner-prod-vm-prod-prod", OSD),
    User("client.csi-rbd-provisioner-prod-vm-prod-prod.old", OSD),
    User("client.csi-rbd-node-prod2-vm-prod-prod2.9", {"osd": "profile rbd pool=vm-prod namespace=prod2"}),
    User("client.csi-cephfs-node-prod-cephfs", {"osd": "allow rw tag cephfs *=cephfs"}),
]


def consumer(**more: object) -> model.Consumer:
    block = [{"storage_class": "b", "pool": "vm-prod"}]
    return model.parse({"consumers": [{"cluster": "prod", "block": block, **more}]}).consumers[0]


def test_users_are_found_with_their_generations() -> None:
    found = {one.base: one for one in adoption.found(USERS)}
    assert found["csi-rbd-node-prod-vm-prod-prod"].generations == (0, 2)
    assert found["csi-rbd-node"].shared
    assert found["csi-rbd-provisioner-prod-vm-prod-prod.old"].generations == (0,)
    assert "admin" not in found


def test_a_consumer_is_proposed_its_own() -> None:
    made = adoption.propose(consumer(), USERS)
    assert made.users == {
        "rbd-node": "csi-rbd-node-prod-vm-prod-prod",
        "rbd-provisioner": "csi-rbd-provisioner-prod-vm-prod-prod",
    }
    assert made.generation == 2
    assert made.as_dict()["key"] == {"generation": 2}
    said = " ".join(made.doubts)
    assert "healthchecker is the one that the script shares" in said
    assert "csi-rbd-provisioner-prod-vm-prod-prod: not of generation 2" in said
    assert "csi-rbd-provisioner-prod-vm-prod-prod.old" in said


def test_a_user_for_another_place_is_not_proposed() -> None:
    other = consumer(block=[{"storage_class": "b", "pool": "ssd"}])
    made = adoption.propose(other, USERS)
    assert made.users == {}
    assert "is for vm-prod/prod" in " ".join(made.doubts)


def test_the_name_that_was_given_to_the_script_counts() -> None:
    made = adoption.propose(consumer(name="member-prod", rados_namespace="prod"), USERS, cluster="PROD")
    assert set(made.users) == {"rbd-node", "rbd-provisioner"}


def test_what_is_taken_over_gets_the_caps_of_its_profile_and_keeps_its_name() -> None:
    made = adoption.propose(consumer(), USERS)
    one = consumer(users=dict(made.users), key={"generation": made.generation})
    assert one.entity("rbd-node") == "client.csi-rbd-node-prod-vm-prod-prod.2"
    assert {grant.text for grant in caps.of(one, "rbd-node")["osd"]} == {"profile rbd pool=vm-prod namespace=prod"}


def test_a_cluster_whose_name_begins_like_another_has_nothing_of_it() -> None:
    """X7 once more: users of prod-eu are not prod's."""
    users = [
        User("client.csi-cephfs-node-prod-eu-cephfs", {"osd": "allow rw tag cephfs *=cephfs"}),
        User("client.csi-rbd-node-prod-eu-vm-prod-eu", {"osd": "profile rbd pool=vm-prod namespace=eu"}),
    ]
    made = adoption.propose(consumer(files=[{"storage_class": "f", "filesystem": "cephfs"}]), users)
    assert made.users == {}
    found = adoption.propose(consumer(files=[{"storage_class": "f", "filesystem": "cephfs"}]), USERS)
    assert found.users["cephfs-node"] == "csi-cephfs-node-prod-cephfs"
