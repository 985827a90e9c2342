# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names: as Rook reckons them, as Kubernetes takes them, and never two for one or one for two."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._rook import model, names, schema, versions
from ansible_collections.hackspace.infra.plugins.module_utils._rook.versions import Rook
from hypothesis import given
from hypothesis import strategies as st

#: What names a ClientProfile, and so must be the name of an object of Kubernetes.
OBJECT = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_TEXT = st.text(st.sampled_from("abcABC019-_."), min_size=1, max_size=60)


def test_rooks_own_cluster_id() -> None:
    """The first 16 bytes of the sha256, as Rook 1.17's operator reckons it when it can't be told."""
    # sha256("rook-ceph-vm-prod-block-prod"), of which Rook takes half
    assert names.block_default_id("rook-ceph", "vm-prod", "prod") == names.rook_hash("rook-ceph-vm-prod-block-prod")
    assert names.files_default_id("rook-ceph", "cephfs", "prod") == names.rook_hash("rook-ceph-cephfs-file-prod")
    assert names.rook_hash("") == "e3b0c44298fc1c149afbf4c8996fb924"


def test_the_cluster_id_is_rooks_where_rook_cannot_be_told() -> None:
    assert names.block_cluster_id(Rook(1, 17), "prod", "ns", "vm", "prod") == names.block_default_id("ns", "vm", "prod")
    assert names.block_cluster_id(Rook(1, 18), "prod", "ns", "vm", "prod") == "prod-vm"
    assert names.block_cluster_id(Rook(1, 18), "prod", "ns", "vm", "other") == "prod-vm-other"
    assert names.block_cluster_id(Rook(1, 18), "prod", "ns", "vm", "") == "ns"
    assert names.files_cluster_id(Rook(1, 17), "prod", "ns", "fs", "g") == names.files_default_id("ns", "fs", "g")
    assert names.files_cluster_id(Rook(1, 20), "prod", "ns", "fs", "prod") == "prod-fs-fs"


@given(_TEXT, _TEXT)
def test_cluster_ids_are_names_of_objects_and_differ(one: str, other: str) -> None:
    """Rook's definition takes capitals and underscores, and then names a ClientProfile after them."""
    first, second = (names.short(text, names.CLUSTER_ID_LENGTH) for text in (one, other))
    for made in (first, second):
        assert OBJECT.fullmatch(made)
        assert len(made) <= 36
    assert (first == second) == (one == other)


def test_the_inventory_has_the_same_schema() -> None:
    path = Path(__file__).parents[3] / "plugins/module_utils/_graph/inventory.schema.json"
    inventory = json.loads(path.read_text())
    assert inventory["properties"]["variables"]["properties"]["platform_ceph"] == json.loads(
        json.dumps(dict(schema.CEPH))
    )


def test_versions() -> None:
    assert Rook.parse("v1.20.6", item="x") == Rook(1, 20)
    assert str(Rook.parse("next", item="x")) == "next"
    assert Rook.parse("next", item="x").annotations
    assert not Rook(1, 20).annotations
    assert (Rook(1, 17).user_id, Rook(1, 18).user_id) == (False, True)
    assert (Rook(1, 17).controller_publish, Rook(1, 18).controller_publish) == (False, True)
    assert (Rook(1, 19).metadata_namespace, Rook(1, 20).metadata_namespace) == (False, True)
    assert (Rook(1, 19).oldest_ceph, Rook(1, 20).oldest_ceph) == ((18, 2), (19, 2))
    with pytest.raises(InvalidInput):
        Rook.parse("1.16", item="x")


@pytest.mark.parametrize(
    ("text", "good"),
    [("19.2.5", False), ("19.2.6", True), ("20.2.3", False), ("20.2.4", True), ("21.1.0", False), ("21.2.0", True)],
)
def test_where_keys_cannot_be_forged(text: str, good: bool) -> None:
    assert versions.aes256k_ceph(versions.ceph_version(text)) is good


def test_kernels() -> None:
    assert versions.aes256k_kernel("7.0.3-talos")
    assert not versions.aes256k_kernel("6.18.1-talos")
    assert not versions.aes256k_kernel("")


def test_the_secret_of_a_role_is_the_same_for_every_generation() -> None:
    """A PersistentVolume names it for good; Rook's importer names it after the user (X12)."""
    block = [{"storage_class": "b", "pool": "vm"}]
    for generation in (0, 7):
        one = model.parse({"consumers": [{"cluster": "a", "block": block, "key": {"generation": generation}}]})
        assert one.consumers[0].entity("rbd-node").endswith("rbd-node" if not generation else "rbd-node.7")
    assert names.SECRETS["rbd-node"] == "rook-csi-rbd-node"
