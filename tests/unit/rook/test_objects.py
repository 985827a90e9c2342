# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects for Rook, for every version of it; the API server judges them in the integration tests."""

from __future__ import annotations

import json
import time
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hackspace.infra.plugins.filter.ceph_consumer_findings import ceph_consumer_findings
from ansible_collections.hackspace.infra.plugins.filter.rook_external_objects import rook_external_objects
from ansible_collections.hackspace.infra.plugins.module_utils._rook import names

MONITORS = [
    {"name": "pve1", "v1": "10.0.0.1:6789", "v2": "10.0.0.1:3300"},
    {"name": "pve2", "v1": "10.0.0.2:6789", "v2": "10.0.0.2:3300"},
]
VERSIONS = ("1.17", "1.18", "1.19", "1.20", "1.21", "next")


def consumer(**more: t.Any) -> dict[str, t.Any]:
    return {
        "cluster": "prod",
        "block": [{"storage_class": "block", "pool": "vm-prod"}],
        "files": [{"storage_class": "files", "filesystem": "cephfs"}],
        **more,
    }


def render(**more: t.Any) -> list[dict[str, t.Any]]:
    return rook_external_objects({"consumers": [consumer(**more)]}, monitors=MONITORS)["prod"]


def kind(objects: t.Sequence[dict[str, t.Any]], name: str) -> list[dict[str, t.Any]]:
    return [one for one in objects if one["kind"] == name]


def storage_class(name: str = "block", **more: t.Any) -> dict[str, t.Any]:
    return next(one for one in kind(render(**more), "StorageClass") if one["metadata"]["name"] == name)


@pytest.mark.parametrize("version", VERSIONS)
def test_secrets_have_the_names_that_rook_looks_for_and_never_a_generation(version: str) -> None:
    """I7: Rook always names rook-csi-rbd-*; the user is in it, not in the name."""
    text = json.dumps(render(rook=version, key={"generation": 4}))
    assert ".4" not in text
    assert {"rook-csi-rbd-node", "rook-csi-rbd-provisioner"} <= {
        value for key, value in storage_class(rook=version)["parameters"].items() if key.endswith("-secret-name")
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_version_takes(version: str) -> None:
    objects = render(rook=version, profile="rook")
    space = kind(objects, "CephBlockPoolRadosNamespace")[0]
    group = kind(objects, "CephFilesystemSubVolumeGroup")[0]
    old = version == "1.17"
    assert ("clusterID" in space["spec"]) == (not old)
    assert ("clusterID" in group["spec"]) == (not old)
    assert ("csiMetadataRadosNamespace" in group["spec"]) == (version in ("1.20", "1.21", "next"))
    parameters = storage_class(rook=version)["parameters"]
    assert ("csi.storage.k8s.io/controller-publish-secret-name" in parameters) == (not old)
    # no waiting for what the operator reckons (I9): the id is known before
    expected = names.block_default_id("rook-ceph", "vm-prod", "prod") if old else "prod-vm-prod"
    assert parameters["clusterID"] == expected


def test_all_monitors_and_the_second_protocol() -> None:
    objects = render()
    assert kind(objects, "ConfigMap")[0]["data"] == {
        "data": "pve1=10.0.0.1:3300,pve2=10.0.0.2:3300",
        "mapping": "{}",
        "maxMonId": "1",
    }
    assert kind(objects, "CephCluster")[0]["spec"]["network"] == {"connections": {"requireMsgr2": True}}
    first = render(msgr2=False)
    assert kind(first, "ConfigMap")[0]["data"]["data"] == "pve1=10.0.0.1:6789,pve2=10.0.0.2:6789"
    assert "network" not in kind(first, "CephCluster")[0]["spec"]


def test_zones_are_valid_json() -> None:
    """I6: the importer leaves a comma at the end."""
    zones = [{"pool": "zone-a", "value": "a"}, {"pool": "zone-b", "value": "b"}]
    given = {"storage_class": "zoned", "topology": {"label": "topology.kubernetes.io/zone", "pools": zones}}
    made = storage_class("zoned", block=[given])
    assert json.loads(made["parameters"]["topologyConstrainedPools"]) == [
        {"poolName": "zone-a", "domainSegments": [{"domainLabel": "topology.kubernetes.io/zone", "value": "a"}]},
        {"poolName": "zone-b", "domainSegments": [{"domainLabel": "topology.kubernetes.io/zone", "value": "b"}]},
    ]
    assert made["volumeBindingMode"] == "WaitForFirstConsumer"
    assert "pool" not in made["parameters"]
    ids = {one["spec"]["clusterID"] for one in kind(render(block=[given]), "CephBlockPoolRadosNamespace")}
    assert len(ids) == 2
    assert made["parameters"]["clusterID"] in ids


def test_an_erasure_coded_class_names_both_pools_and_its_secret_for_publishing() -> None:
    given = {"storage_class": "cold", "pool": "meta", "data_pool": "cold-data", "fstype": "xfs", "reclaim": "Retain"}
    made = storage_class("cold", block=[given])
    assert (made["parameters"]["pool"], made["parameters"]["dataPool"]) == ("meta", "cold-data")
    assert made["parameters"]["csi.storage.k8s.io/fstype"] == "xfs"
    assert made["reclaimPolicy"] == "Retain"
    # the importer forgets this one for erasure-coded pools
    assert "csi.storage.k8s.io/controller-publish-secret-name" in made["parameters"]


def test_one_default_at_most_and_everybody_says_which() -> None:
    block = [{"storage_class": "a", "pool": "vm", "default": True}, {"storage_class": "b", "pool": "vm"}]
    said = {
        one["metadata"]["name"]: one["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"]
        for one in kind(render(block=block), "StorageClass")
    }
    assert said == {"a": "true", "b": "false", "files": "false"}


def test_a_place_has_one_resource_however_many_classes() -> None:
    block = [{"storage_class": "a", "pool": "vm"}, {"storage_class": "b", "pool": "vm", "encrypted": True}]
    objects = render(block=block, files=[])
    assert len(kind(objects, "CephBlockPoolRadosNamespace")) == 1
    assert len(kind(objects, "VolumeSnapshotClass")) == 1
    assert len(kind(objects, "StorageClass")) == 2
    assert not kind(render(snapshot_classes=False), "VolumeSnapshotClass")


def test_the_root_of_a_pool_has_no_resource_and_the_clusters_own_id() -> None:
    objects = render(rados_namespace="", files=[])
    assert not kind(objects, "CephBlockPoolRadosNamespace")
    assert kind(objects, "StorageClass")[0]["parameters"]["clusterID"] == "rook-ceph"


def test_rights_come_only_where_the_operator_is_elsewhere() -> None:
    assert not kind(render(), "RoleBinding")
    elsewhere = render(namespace="ceph", operator_namespace="rook-ceph")
    subjects = {one["metadata"]["name"]: one["subjects"][0] for one in kind(elsewhere, "RoleBinding")}
    assert subjects["rook-ceph-cluster-mgmt"]["namespace"] == "rook-ceph"
    assert subjects["rook-ceph-cmd-reporter"]["namespace"] == "ceph"
    assert [one["metadata"]["name"] for one in kind(elsewhere, "Namespace")] == ["ceph"]
    drivers = {one["provisioner"] for one in kind(elsewhere, "StorageClass")}
    assert drivers == {"rook-ceph.rbd.csi.ceph.com", "rook-ceph.cephfs.csi.ceph.com"}


def test_a_wrong_consumer_is_an_error_and_no_half_of_the_objects() -> None:
    with pytest.raises(AnsibleFilterError, match="namespace-shared"):
        rook_external_objects(
            {"consumers": [consumer(), consumer(cluster="two", rados_namespace="prod", files=[])]}, monitors=MONITORS
        )
    with pytest.raises(AnsibleFilterError, match="monitors-none"):
        rook_external_objects({"consumers": [consumer()]}, monitors=[])


def test_a_hundred_consumers_are_rendered_in_less_than_a_second() -> None:
    consumers = [
        consumer(
            cluster=f"member-{number}",
            block=[
                {"storage_class": "fast", "pool": "ssd"},
                {"storage_class": "cold", "pool": "meta", "data_pool": "cold"},
            ],
        )
        for number in range(100)
    ]
    began = time.perf_counter()
    made = rook_external_objects({"consumers": consumers}, monitors=MONITORS)
    seconds = time.perf_counter() - began
    assert len(made) == 100
    assert seconds < 1, seconds
    again = rook_external_objects({"consumers": consumers}, monitors=MONITORS)
    assert json.dumps(again) == json.dumps(made)


def test_findings_name_everything_at_once() -> None:
    found = ceph_consumer_findings(
        {"consumers": [consumer(name="BAD"), consumer(cluster="unknown", files=[]), consumer(cluster="two")]},
        clusters=["prod", "two"],
        facts={"pools": {}, "filesystems": {}},
    )
    assert {one["rule"] for one in found} == {
        "name",
        "cluster-unknown",
        "pool-missing",
        "filesystem-missing",
    }
    assert all(one["fix"] and one["item"] for one in found)
