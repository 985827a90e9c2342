# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ceph keys on their way: user and key together, nothing of them where it could be read."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._rook import classes, consumer_apply, delivery, model
from ansible_collections.hackspace.infra.plugins.module_utils._rook.consumer_plan import Settings

DOMAIN = "infra.hackspace.org"
FSID = "2f1c6d2a-8a5f-4f0e-9a35-3c1d6f7b8e90"


def consumer(**more: t.Any) -> model.Consumer:
    given = {
        "cluster": "prod",
        "block": [{"storage_class": "b", "pool": "vm"}],
        "files": [{"storage_class": "f", "filesystem": "cephfs"}],
        **more,
    }
    return model.parse({"consumers": [given]}).consumers[0]


def keys(one: model.Consumer) -> dict[str, Secret]:
    return {one.entity(role): Secret(f"AQ-{role}-{one.key.generation}") for role in one.roles}


def plain(secret: t.Mapping[str, t.Any]) -> dict[str, str]:
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}


def by_name(one: model.Consumer) -> dict[str, dict[str, t.Any]]:
    return {secret["metadata"]["name"]: secret for secret in delivery.secrets(one, FSID, keys(one), domain=DOMAIN)}


def test_users_and_keys_go_together() -> None:
    """I1: the importer changes the operator's user, and leaves the key as it was."""
    one = consumer(key={"generation": 2})
    assert plain(by_name(one)["rook-ceph-mon"]) == {
        "cluster-name": "rook-ceph",
        "fsid": FSID,
        "admin-secret": "admin-secret",
        "mon-secret": "mon-secret",
        "ceph-username": "client.k8s-prod-health.2",
        "ceph-secret": "AQ-health-2",
    }
    assert plain(by_name(one)["rook-csi-rbd-node"]) == {"userID": "k8s-prod-rbd-node.2", "userKey": "AQ-rbd-node-2"}


@pytest.mark.parametrize(
    ("version", "name"), [("1.17", "adminID"), ("1.18", "userID"), ("1.20", "userID"), ("next", "userID")]
)
def test_cephfs_secrets_have_the_fields_of_the_version(version: str, name: str) -> None:
    one = consumer(rook=version, profile="rook")
    assert name in plain(by_name(one)["rook-csi-cephfs-provisioner"])
    assert "userID" in plain(by_name(one)["rook-csi-rbd-provisioner"])
    annotations = by_name(one)["rook-csi-rbd-node"]["metadata"]["annotations"]
    assert ("csi.rook.io/RBDNodeSecret" in annotations) == (version == "next")
    # another way of delivery takes it over; pruned in between, nothing could be mounted
    assert annotations[f"{DOMAIN}/prune"] == "disabled"


def test_an_adopted_user_keeps_its_name_and_the_secret_too() -> None:
    """X9: a user with a name of its own gets a generation only in Rook's Secret, not in Ceph."""
    one = consumer(users={"rbd-node": "csi-rbd-node-prod-vm"}, key={"generation": 1})
    assert one.entity("rbd-node") == "client.csi-rbd-node-prod-vm.1"
    assert plain(by_name(one)["rook-csi-rbd-node"])["userID"] == "csi-rbd-node-prod-vm.1"


def test_external_secrets_hold_no_key_and_change_with_it() -> None:
    one = consumer()

    def made(given: dict[str, Secret]) -> list[dict[str, t.Any]]:
        return delivery.external_secrets(one, FSID, given, prefix="tenants", store="openbao", domain=DOMAIN)

    first = made(keys(one))
    assert not [key for key in keys(one).values() if key.reveal() in json.dumps(first)]
    node = next(each for each in first if each["metadata"]["name"] == "rook-csi-rbd-node")
    assert node["spec"]["dataFrom"] == [{"extract": {"key": "tenants/prod/rook-ceph/ceph-rbd-node"}}]
    assert node["spec"]["target"]["creationPolicy"] == "Orphan"
    other = made({entity: Secret("another") for entity in keys(one)})
    assert [each["metadata"]["annotations"] for each in first] != [each["metadata"]["annotations"] for each in other]
    assert [each["spec"] for each in first] == [each["spec"] for each in other]


def test_a_missing_key_is_said_before_anything_is_written() -> None:
    one = consumer()
    given = keys(one)
    del given["client.k8s-prod-health"]
    with pytest.raises(InvalidInput) as caught:
        delivery.check_keys([one], given)
    assert caught.value.rule == "key-missing"
    assert "client.k8s-prod-health" in str(caught.value)


def test_what_is_delivered() -> None:
    one = consumer()
    secret = by_name(one)["rook-csi-rbd-node"]
    assert delivery.delivered(one, "rbd-node", secret, keys(one))
    assert delivery.user_in(secret) == "client.k8s-prod-rbd-node"
    assert delivery.user_in(by_name(one)["rook-ceph-mon"]) == "client.k8s-prod-health"
    for wrong in (
        None,
        {**secret, "type": "Opaque"},
        {**secret, "data": {**secret["data"], "userKey": base64.b64encode(b"old").decode()}},
        {**secret, "data": {"userID": "%%%"}},
    ):
        assert not delivery.delivered(one, "rbd-node", wrong, keys(one))
    assert delivery.user_in({"data": {}}) == ""


class Store:
    """OpenBao's key/value engine, as far as it is asked."""

    def __init__(self) -> None:
        self.requests = 0
        self.held: dict[str, tuple[int, dict[str, str]]] = {}

    def data(self, path: str) -> dict[str, t.Any] | None:
        self.requests += 1
        if path not in self.held:
            return None
        version, values = self.held[path]
        return {"data": dict(values), "metadata": {"version": version}}

    def write(self, path: str, body: t.Mapping[str, t.Any] | None = None, *, quiet: bool = False) -> dict[str, t.Any]:
        assert quiet, "what the server says could quote a key"
        given = dict(body or {})
        version, _values = self.held.get(path, (0, {}))
        assert given["options"]["cas"] == version
        self.held[path] = (version + 1, given["data"])
        return {}

    def delete(self, path: str) -> None:
        self.held.pop(path, None)


def test_openbao_gets_user_and_key_in_one_version_and_only_what_differs() -> None:
    store, one = Store(), consumer()
    settings = Settings(FSID, (), keys(one))
    plan = consumer_apply.plan_store(store, [one], settings, mount="kv")
    assert [change.action for change in plan.changes] == ["create"] * 5
    assert "AQ-" not in json.dumps(plan.result())
    consumer_apply.write_store(store, plan)
    assert store.held["kv/data/tenants/prod/rook-ceph/ceph-rbd-node"] == (
        1,
        {"user": "k8s-prod-rbd-node", "key": "AQ-rbd-node-0"},
    )
    assert not consumer_apply.plan_store(store, [one], settings, mount="kv").changed
    rotated = consumer(key={"generation": 1})
    plan = consumer_apply.plan_store(store, [rotated], Settings(FSID, (), keys(rotated)), mount="kv")
    assert plan.changes[1].why == "user k8s-prod-rbd-node -> k8s-prod-rbd-node.1"
    same = {entity: Secret("AQ-again") for entity in keys(one)}
    plan = consumer_apply.plan_store(store, [one], Settings(FSID, (), same), mount="kv")
    assert {change.why for change in plan.changes} == {"another key"}


def test_openbao_forgets_the_keys_of_who_is_gone() -> None:
    store, one = Store(), consumer(state="absent")
    store.held["kv/metadata/tenants/prod/rook-ceph/ceph-rbd-node"] = (3, {})
    store.held["kv/metadata/tenants/prod/rook-ceph/other"] = (1, {})
    plan = consumer_apply.plan_forgetting(store, [one], prefix="tenants", mount="kv")
    assert [(change.action, change.name) for change in plan.changes] == [
        ("delete", "kv/tenants/prod/rook-ceph/ceph-rbd-node")
    ]
    consumer_apply.forget(store, plan, ["somebody-else"])
    assert len(store.held) == 2
    consumer_apply.forget(store, plan, ["prod"])
    assert list(store.held) == ["kv/metadata/tenants/prod/rook-ceph/other"]
    assert not consumer_apply.plan_forgetting(store, [one], prefix="tenants", mount="kv").changed


def test_storage_classes_differ_only_in_what_cannot_be_changed() -> None:
    """I4: the importer never looks again."""
    wanted = {
        "metadata": {"name": "b"},
        "provisioner": "p",
        "parameters": {"pool": "new", "fstype": "ext4"},
        "allowVolumeExpansion": True,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }
    live = {
        "metadata": {"name": "b", "uid": "u"},
        "provisioner": "p",
        "parameters": {"pool": "old", "fstype": "ext4", "more": "x"},
        "allowVolumeExpansion": False,
    }
    found = classes.differences([wanted], {"b": live})
    assert found[0].fields == {"parameters.more": ("x", None), "parameters.pool": ("old", "new")}
    assert not found[0].recreate
    assert classes.differences([wanted], {"b": live}, {"b"})[0].recreate
    assert classes.differences([wanted], {}) == []
    kept = classes.as_they_are([wanted], {"b": live}, found)[0]
    assert kept["parameters"] == live["parameters"]
    assert kept["allowVolumeExpansion"]
    assert wanted["parameters"] == {"pool": "new", "fstype": "ext4"}
