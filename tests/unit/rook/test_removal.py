# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A consumer goes when it was named, and only when nothing that could be its own is left."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import Refused
from ansible_collections.hackspace.infra.plugins.module_utils._rook import model, removal


def consumers() -> tuple[model.Consumer, ...]:
    return model.parse(
        {
            "consumers": [
                {"cluster": "prod", "state": "absent", "block": [{"storage_class": "one", "pool": "vm"}]},
                {
                    "cluster": "prod",
                    "name": "other",
                    "namespace": "rook-two",
                    "operator_namespace": "rook-ceph",
                    "block": [{"storage_class": "two", "pool": "vm"}],
                },
                {"cluster": "far", "block": [{"storage_class": "one", "pool": "vm"}]},
            ]
        }
    ).consumers


def volume(name: str, driver: str, cluster_id: str | None) -> dict[str, t.Any]:
    attributes = {"clusterID": cluster_id} if cluster_id else {}
    return {"metadata": {"name": name}, "spec": {"csi": {"driver": driver, "volumeAttributes": attributes}}}


RBD = "rook-ceph.rbd.csi.ceph.com"


def test_a_volume_counts_unless_it_is_known_to_be_a_neighbours() -> None:
    here = consumers()
    others = removal.Neighbours.of(here[0], here[1:])
    assert others.cluster_ids == {"other-vm"}
    live = [
        volume("mine", RBD, "prod-vm"),
        volume("neighbours", RBD, "other-vm"),
        volume("of-old-times", RBD, "some-hash"),
        volume("without-a-place", RBD, None),
        volume("local", "rancher.io/local-path", None),
        {"metadata": {"name": "nfs"}, "spec": {"nfs": {}}},
    ]
    assert removal.volumes(here[0], live, others) == ["mine", "of-old-times", "without-a-place"]


def test_a_snapshot_counts_unless_its_class_is_a_neighbours() -> None:
    here = consumers()
    others = removal.Neighbours.of(here[0], here[1:])
    live = [
        {"metadata": {"name": name}, "spec": {"driver": driver, "volumeSnapshotClassName": of}}
        for name, driver, of in (("mine", RBD, "one"), ("its", RBD, "two"), ("else", "other.csi", "one"))
    ]
    assert removal.snapshots(here[0], live, others) == ["mine"]


def test_what_is_left_is_named() -> None:
    here = consumers()[0]
    removal.refuse(here, [], [])
    with pytest.raises(Refused) as caught:
        removal.refuse(here, [f"pv-{number:02}" for number in range(12)], ["snap"])
    assert caught.value.rule == "volumes-left"
    assert "12 PersistentVolumes (pv-00" in str(caught.value)
    assert "and 2 more" in str(caught.value)
    assert caught.value.data["snapshots"] == ["snap"]


def test_who_goes_was_named_and_who_was_named_goes() -> None:
    here = consumers()
    removal.check_confirmed(here, ["prod"])
    with pytest.raises(Refused) as caught:
        removal.check_confirmed(here, [])
    assert caught.value.rule == "removal-not-confirmed"
    with pytest.raises(Refused) as caught:
        removal.check_confirmed(here, ["prod", "far"])
    assert caught.value.rule == "removal-not-declared"
    assert "far" in str(caught.value)
