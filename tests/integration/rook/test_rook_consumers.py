# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""rook_consumers on a real API server with Rook's definitions: delivery, monitors, StorageClasses, a restart."""

from __future__ import annotations

import base64
import copy
import dataclasses
import itertools
import json
import time
import typing as t

import pytest

from .conftest import CLUSTER, Site

FSID = "2f1c6d2a-8a5f-4f0e-9a35-3c1d6f7b8e90"
_NUMBERS = itertools.count(1)
MONITORS = [
    {"name": "pve1", "v1": "192.0.2.11:6789", "v2": "192.0.2.11:3300"},
    {"name": "pve2", "v1": "192.0.2.12:6789", "v2": "192.0.2.12:3300"},
    {"name": "pve3", "v1": "192.0.2.13:6789", "v2": "192.0.2.13:3300"},
]
ROLES = ("health", "rbd-node", "rbd-provisioner", "cephfs-node", "cephfs-provisioner")
SC = "/apis/storage.k8s.io/v1/storageclasses"


def key(number: int) -> str:
    """A Ceph key as long and as random-looking as real ones."""
    return base64.b64encode(bytes([1, 0, number]) + bytes((number * 37 + i * 11) % 251 for i in range(25))).decode()


@dataclasses.dataclass
class One:
    """A consumer of its own for a test, with an operator's Deployment."""

    site: Site
    name: str
    monitors: list[dict[str, str]] = dataclasses.field(default_factory=lambda: copy.deepcopy(MONITORS))
    consumer: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    keys: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.consumer = {
            "cluster": CLUSTER,
            "name": self.name,
            "namespace": self.name,
            "delivery": "direct",
            "block": [{"storage_class": f"{self.name}-block", "pool": "vm-prod"}],
            "files": [{"storage_class": f"{self.name}-files", "filesystem": "cephfs"}],
        }
        self.mint(0)
        self.site.ask("POST", "/api/v1/namespaces", {"metadata": {"name": self.name}})
        self.site.ask(
            "POST",
            f"/apis/apps/v1/namespaces/{self.name}/deployments",
            {
                "metadata": {"name": "rook-ceph-operator"},
                "spec": {
                    "replicas": 0,
                    "selector": {"matchLabels": {"app": "rook-ceph-operator"}},
                    "template": {
                        "metadata": {"labels": {"app": "rook-ceph-operator"}},
                        "spec": {"containers": [{"name": "rook", "image": "rook.invalid/rook:v1"}]},
                    },
                },
            },
        )

    def mint(self, generation: int) -> None:
        for number, role in enumerate(ROLES):
            suffix = f".{generation}" if generation else ""
            self.keys[f"client.k8s-{self.name}-{role}{suffix}"] = key(generation * 10 + number)

    def call(self, *, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        return self.site.call(
            "rook_consumers",
            check=check,
            **{
                "ceph": {"consumers": [self.consumer]},
                "facts": {"fsid": FSID, "monitors": self.monitors},
                "keys": self.keys,
                "clusters": [{"name": CLUSTER, "kubeconfig": self.site.kubeconfig}],
                **more,
            },
        )

    def run(self, *, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        """Run; it must succeed, and print no Ceph key."""
        result = self.call(check=check, **more)
        assert not result.get("failed"), result
        printed = json.dumps(result)
        assert not [one for one in self.keys.values() if one in printed or _coded(one) in printed]
        return result

    def lines(self, result: t.Mapping[str, t.Any]) -> list[str]:
        return [f"{one['action']} {one['kind']} {one['name']}" for one in result["changes"]]

    def secret(self, name: str) -> dict[str, str]:
        live = self.site.ask("GET", f"/api/v1/namespaces/{self.name}/secrets/{name}")
        return {name: base64.b64decode(value).decode() for name, value in live["data"].items()}

    def monitors_path(self) -> str:
        return f"/api/v1/namespaces/{self.name}/configmaps/rook-ceph-mon-endpoints"

    def told(self) -> str:
        """What the operator reads about monitors."""
        return str(self.site.ask("GET", self.monitors_path())["data"]["data"])

    def restarts(self) -> int:
        """How often the operator's Deployment was rolled out anew."""
        path = f"/apis/apps/v1/namespaces/{self.name}/deployments/rook-ceph-operator"
        return int(self.site.ask("GET", path)["metadata"]["generation"]) - 1

    def as_the_operator_writes(self, text: str) -> None:
        """Write the ConfigMap as Rook's operator does: whole, without anybody's labels."""
        live = self.site.ask("GET", self.monitors_path())
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": live["metadata"]["name"],
                "finalizers": ["ceph.rook.io/disaster-protection"],
            },
            "data": {**live["data"], "data": text, "outOfQuorum": "", "csi-cluster-config-json": "[]"},
        }
        self.site.ask("PUT", self.monitors_path(), body)


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def one(site: Site) -> One:
    return One(site, f"c{next(_NUMBERS)}")


def test_a_consumer_gets_everything_at_once_and_then_nothing_more(one: One) -> None:
    checked = one.run(check=True)
    assert one.site.ask("GET", one.monitors_path()) is None
    done = one.run()
    assert one.lines(done) == one.lines(checked)
    assert done["diff"] == checked["diff"]
    assert one.secret("rook-csi-rbd-node") == {
        "userID": f"k8s-{one.name}-rbd-node",
        "userKey": one.keys[f"client.k8s-{one.name}-rbd-node"],
    }
    assert one.secret("rook-ceph-mon") == {
        "cluster-name": one.name,
        "fsid": FSID,
        "admin-secret": "admin-secret",
        "mon-secret": "mon-secret",
        "ceph-username": f"client.k8s-{one.name}-health",
        "ceph-secret": one.keys[f"client.k8s-{one.name}-health"],
    }
    assert one.told() == "pve1=192.0.2.11:3300,pve2=192.0.2.12:3300,pve3=192.0.2.13:3300"
    assert done["consumers"][0]["delivered"]
    assert done["consumers"][0]["users"]["rbd-node"] == f"client.k8s-{one.name}-rbd-node"
    again = one.run()
    assert not again["changed"], again["changes"]
    assert one.restarts() == 0


def test_a_rotated_key_changes_user_and_key_together_and_the_operator_starts_anew_once(one: One) -> None:
    one.run()
    one.consumer["key"] = {"generation": 1}
    one.mint(1)
    done = one.run()
    assert one.secret("rook-csi-rbd-node")["userID"] == f"k8s-{one.name}-rbd-node.1"
    assert one.secret("rook-csi-rbd-node")["userKey"] == one.keys[f"client.k8s-{one.name}-rbd-node.1"]
    health = one.secret("rook-ceph-mon")
    assert health["ceph-username"] == f"client.k8s-{one.name}-health.1"
    assert health["ceph-secret"] == one.keys[f"client.k8s-{one.name}-health.1"]
    # the StorageClasses name the Secrets, which have the names they had
    assert not [line for line in one.lines(done) if "StorageClass" in line]
    assert one.restarts() == 1
    assert not one.run()["changed"]
    assert one.restarts() == 1
    one.consumer["key"] = {"generation": 0}
    assert one.run()["consumers"][0]["users"]["health"] == f"client.k8s-{one.name}-health"
    assert not one.run()["changed"]
    assert one.restarts() == 2


def test_a_monitor_that_moves_is_told_and_what_the_operator_writes_stays(one: One) -> None:
    one.run()
    one.as_the_operator_writes("pve1=192.0.2.11:3300,pve3=192.0.2.13:3300")
    assert not one.run()["changed"]  # pve2 is out of quorum: the operator's business
    one.monitors[0] |= {"v1": "192.0.2.21:6789", "v2": "192.0.2.21:3300"}
    checked = one.run(check=True)
    assert one.lines(checked)[-2:] == [
        f"update ConfigMap {one.name}/rook-ceph-mon-endpoints",
        f"update Deployment.apps {one.name}/rook-ceph-operator",
    ]
    done = one.run()
    assert done["consumers"][0]["monitors"]["moved"] == {"pve1": {"from": "192.0.2.11:3300", "to": "192.0.2.21:3300"}}
    assert one.told() == "pve1=192.0.2.21:3300,pve3=192.0.2.13:3300"
    live = one.site.ask("GET", one.monitors_path())
    assert live["metadata"]["finalizers"] == ["ceph.rook.io/disaster-protection"]
    assert live["data"]["csi-cluster-config-json"] == "[]"
    assert one.restarts() == 1
    assert not one.run()["changed"]
    assert one.restarts() == 1


def test_who_knows_no_monitor_any_more_is_told_all(one: One) -> None:
    one.run()
    one.as_the_operator_writes("pve9=192.0.2.99:3300")
    done = one.run()
    assert done["consumers"][0]["monitors"]["lost"]
    assert one.told() == "pve1=192.0.2.11:3300,pve2=192.0.2.12:3300,pve3=192.0.2.13:3300"


def test_a_storage_class_is_told_about_and_made_again_only_on_request(one: One) -> None:
    one.run()
    name = f"{one.name}-block"
    uid = one.site.ask("GET", f"{SC}/{name}")["metadata"]["uid"]
    one.consumer["block"][0]["fstype"] = "xfs"
    one.consumer["block"][0]["expansion"] = False
    done = one.run()
    assert done["consumers"][0]["storage_classes"] == [
        {
            "name": name,
            "fields": {"parameters.csi.storage.k8s.io/fstype": {"is": "ext4", "wanted": "xfs"}},
            "recreate": False,
        }
    ]
    live = one.site.ask("GET", f"{SC}/{name}")
    # what can be changed is
    assert (live["metadata"]["uid"], live["allowVolumeExpansion"]) == (uid, False)
    assert not one.run()["changed"]
    checked = one.run(check=True, recreate_storage_classes=[name])
    assert one.site.ask("GET", f"{SC}/{name}")["metadata"]["uid"] == uid
    done = one.run(recreate_storage_classes=[name])
    assert one.lines(checked) == one.lines(done)
    live = one.site.ask("GET", f"{SC}/{name}")
    assert live["metadata"]["uid"] != uid
    assert live["parameters"]["csi.storage.k8s.io/fstype"] == "xfs"
    assert not one.run(recreate_storage_classes=[name])["changed"]


def test_what_the_importer_made_is_foreign_until_adopted(one: One) -> None:
    one.site.ask(
        "POST",
        f"/api/v1/namespaces/{one.name}/secrets",
        {"metadata": {"name": "rook-csi-rbd-node"}, "type": "kubernetes.io/rook", "stringData": {"userID": "x"}},
    )
    refused = one.call()
    assert refused["failed"]
    assert "rook-csi-rbd-node" in refused["msg"]
    assert one.site.ask("GET", one.monitors_path()) is None
    # the operator works with the importer's user: it must notice
    one.site.ask(
        "POST",
        f"/api/v1/namespaces/{one.name}/secrets",
        {
            "metadata": {"name": "rook-ceph-mon"},
            "type": "kubernetes.io/rook",
            "stringData": {"ceph-username": "client.healthchecker", "ceph-secret": "old"},
        },
    )
    one.run(adopt=True, force_conflicts=True)
    assert one.secret("rook-csi-rbd-node")["userID"] == f"k8s-{one.name}-rbd-node"
    assert one.secret("rook-ceph-mon")["ceph-username"] == f"client.k8s-{one.name}-health"
    assert one.restarts() == 1
    assert not one.run()["changed"]
    assert one.restarts() == 1


def test_a_cluster_that_is_down_holds_up_no_other(one: One, tmp_path: t.Any) -> None:
    down = tmp_path / "kubeconfig"
    text = one.site.lab.clusters[CLUSTER].kubeconfig.read_text()
    down.write_text(text.replace(one.site.lab.kube_server(CLUSTER).url, "https://127.0.0.1:9"))
    other = {**copy.deepcopy(one.consumer), "cluster": "member-down", "name": "down"}
    keys = {**one.keys, **{entity.replace(one.name, "down", 1): value for entity, value in one.keys.items()}}
    result = one.call(
        ceph={"consumers": [one.consumer, other]},
        keys=keys,
        clusters=[
            {"name": CLUSTER, "kubeconfig": one.site.kubeconfig},
            {"name": "member-down", "kubeconfig": str(down)},
        ],
    )
    assert result["failed"]
    assert "member-down" in result["msg"]
    by_name = {each["name"]: each for each in result["consumers"]}
    assert by_name[one.name]["delivered"]
    assert by_name["down"]["failed"]


def test_a_consumer_goes_when_it_was_named_and_holds_nothing(one: One) -> None:
    one.run()
    one.consumer["state"] = "absent"
    assert "removal-not-confirmed" in one.call()["msg"]
    volume = {
        "metadata": {"name": f"pvc-{one.name}"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "csi": {
                "driver": f"{one.name}.rbd.csi.ceph.com",
                "volumeHandle": "0001-0009-member",
                "volumeAttributes": {"clusterID": f"{one.name}-vm-prod"},
            },
        },
    }
    one.site.ask("POST", "/api/v1/persistentvolumes", volume)
    refused = one.call(confirm_removal=[one.name])
    assert f"pvc-{one.name}" in refused["msg"]
    assert one.site.ask("GET", f"{SC}/{one.name}-block")
    one.site.ask("DELETE", f"/api/v1/persistentvolumes/pvc-{one.name}")
    one.as_the_operator_writes("pve1=192.0.2.11:3300")  # with its finalizer
    checked = one.run(check=True, confirm_removal=[one.name])
    assert one.site.ask("GET", f"{SC}/{one.name}-block")
    done = one.run(confirm_removal=[one.name])
    assert one.lines(done) == one.lines(checked)
    assert done["consumers"][0]["removed"]
    lines = one.lines(done)
    order = [
        next(i for i, line in enumerate(lines) if kind in line)
        for kind in ("StorageClass", "CephBlockPoolRadosNamespace", "CephCluster", "Secret", "hackspace-inventory")
    ]
    assert order == sorted(order)
    assert one.site.ask("GET", f"{SC}/{one.name}-block") is None
    assert one.site.ask("GET", one.monitors_path()) is None
    assert one.site.ask("GET", f"/api/v1/namespaces/{one.name}/secrets/rook-csi-rbd-node") is None
    again = one.run(confirm_removal=[one.name])
    assert not again["changed"]
    assert again["consumers"][0]["removed"]


def test_ten_consumers_with_three_storage_classes_each_cost_little_when_nothing_changes(site: Site) -> None:
    consumers: list[dict[str, t.Any]] = []
    keys: dict[str, str] = {}
    for _count in range(10):
        made = One(site, f"c{next(_NUMBERS)}")
        made.consumer["block"].append({"storage_class": f"{made.name}-cold", "pool": "meta", "data_pool": "cold"})
        consumers.append(made.consumer)
        keys |= made.keys
    given: dict[str, t.Any] = {
        "ceph": {"consumers": consumers},
        "facts": {"fsid": FSID, "monitors": MONITORS},
        "keys": keys,
        "clusters": [{"name": CLUSTER, "kubeconfig": site.kubeconfig}],
    }
    first = site.call("rook_consumers", **given)
    assert not first.get("failed"), first
    began = time.monotonic()
    again = site.call("rook_consumers", **given)
    seconds = time.monotonic() - began
    assert not again["changed"]
    assert again["requests"] <= 10 * 18
    assert seconds < 3, seconds
