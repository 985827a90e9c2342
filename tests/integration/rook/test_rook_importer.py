# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rook's own importer of each version, run as it is with a kubectl that writes down what it is told, beside ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._rook import delivery, facts, model, names, objects

from lab import rook_manifests

FSID = "2f1c6d2a-8a5f-4f0e-9a35-3c1d6f7b8e90"
MONITORS = [{"name": "pve1", "v1": "192.0.2.11:6789", "v2": "192.0.2.11:3300"}]
#: Answers as a cluster in which nothing is there yet, and Rook's operator works.
KUBECTL = """#!{python}
import json, sys
words = sys.argv[1:]
entry = {{"words": words, "stdin": "" if "get" in words or sys.stdin.isatty() else sys.stdin.read()}}
with open("{log}", "a") as stream:
    stream.write(json.dumps(entry) + "\\n")
if "get" in words:
    text = " ".join(words)
    if "phase" in text:
        print("Ready")
    elif "clusterID" in text:
        print("prod-vm-prod" if "adosnamespace" in text.lower() else "prod-fs-cephfs")
    else:
        sys.exit(1)
"""


def start(version: str, folder: Path, **more: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run the importer of a version."""
    log, program = folder / "kubectl.log", folder / "kubectl"
    program.write_text(KUBECTL.format(python=sys.executable, log=log))
    program.chmod(0o755)
    given = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "NAMESPACE": "rook-ceph",
        "ROOK_EXTERNAL_FSID": FSID,
        "ROOK_EXTERNAL_USERNAME": "client.k8s-prod-health",
        "ROOK_EXTERNAL_USER_SECRET": "KEY-health",
        "ROOK_EXTERNAL_CEPH_MON_DATA": "pve1=192.0.2.11:3300",
        "CEPHX_KEY_GENERATION": "0",
        # the importer of 1.17 dies on these, see below
        "RADOS_NAMESPACE": "" if version == "1.17" else "prod",
        "SUBVOLUME_GROUP": "" if version == "1.17" else "prod",
        "RBD_POOL_NAME": "vm-prod",
        "CEPHFS_FS_NAME": "cephfs",
        "CEPHFS_POOL_NAME": "cephfs_data",
        "ARGS": "none",
        **{f"CSI_{role}_SECRET": f"KEY-{role}" for role in _ROLES},
        **{f"CSI_{role}_SECRET_NAME": f"csi-{role.lower().replace('_', '-')}" for role in _ROLES},
        **more,
    }
    script = rook_manifests.rook(version) / "import-external-cluster.sh"
    done = subprocess.run(["bash", str(script)], env=given, capture_output=True, text=True, check=False, timeout=120)
    return done, log


def imported(version: str, folder: Path, **more: str) -> tuple[dict[str, dict[str, t.Any]], dict[str, dict[str, str]]]:
    """What the importer makes: objects by kind and name, and the literals of what it makes by words."""
    done, log = start(version, folder, **more)
    assert done.returncode == 0, done.stderr
    made: dict[str, dict[str, t.Any]] = {}
    literals: dict[str, dict[str, str]] = {}
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        words = [word for word in entry["words"] if word]
        for one in yaml.safe_load_all(entry["stdin"]):
            if one:
                made[f"{one['kind']} {one['metadata']['name']}"] = one
        if "create" in words and not entry["stdin"]:
            name = next(word for word in reversed(words) if not word.startswith("--"))
            pairs = [word.removeprefix("--from-literal=").split("=", 1) for word in words if "literal" in word]
            literals[name] = dict(pairs)
    return made, literals


_ROLES = ("RBD_NODE", "RBD_PROVISIONER", "CEPHFS_NODE", "CEPHFS_PROVISIONER")


def ours(version: str, **more: t.Any) -> tuple[dict[str, dict[str, t.Any]], dict[str, dict[str, str]]]:
    given = {
        "cluster": "prod",
        "rook": version,
        "delivery": "direct",
        "block": [{"storage_class": "ceph-rbd-prod", "pool": "vm-prod"}],
        "files": [{"storage_class": "cephfs-prod", "filesystem": "cephfs", "data_pool": "cephfs_data"}],
        **more,
    }
    one = model.parse({"consumers": [given]}).consumers[0]
    monitors = facts.parse({"monitors": MONITORS}).known()
    made = {f"{each['kind']} {each['metadata']['name']}": each for each in objects.render(one, monitors)}
    values = {
        each["metadata"]["name"]: delivery.fields(
            one,
            role,
            FSID,
            user=delivery.user_of(one, role),
            key=f"KEY-{role.upper().replace('-', '_') if role != 'health' else role}",
        )
        for role, each in zip(
            one.roles,
            delivery.secrets(one, FSID, {one.entity(role): Secret("x") for role in one.roles}, domain="example.org"),
            strict=True,
        )
    }
    return made, values


@pytest.mark.parametrize("version", [*rook_manifests.VERSIONS])
def test_storage_classes_are_the_importers(version: str, tmp_path: Path) -> None:
    theirs, _literals = imported(version, tmp_path)
    made, _values = ours(version)
    end = "" if version == "1.17" else "-prod"
    for sort, mine, other in (
        ("rbd", made["StorageClass ceph-rbd-prod"], theirs[f"StorageClass ceph-rbd{end}"]),
        ("cephfs", made["StorageClass cephfs-prod"], theirs[f"StorageClass cephfs{end}"]),
    ):
        left = dict(mine["parameters"])
        for key, value in other["parameters"].items():
            said = left.pop(key)
            # without a RADOS namespace of its own it is the cluster's id
            assert said == value or (key == "clusterID" and not end), key
        # the importer of 1.18 forgets what Rook's own example has
        example = rook_manifests.rook(version) / "csi" / sort / "storageclass.yaml"
        assert all(key in example.read_text() for key in left), left
        assert not left or version == "1.18"
        assert mine["provisioner"] == other["provisioner"]
        assert mine["reclaimPolicy"] == other["reclaimPolicy"]
        assert mine["allowVolumeExpansion"] == other["allowVolumeExpansion"]


@pytest.mark.parametrize("version", [*rook_manifests.VERSIONS])
def test_secrets_hold_what_the_importers_do(version: str, tmp_path: Path) -> None:
    _theirs, literals = imported(version, tmp_path)
    _made, values = ours(version)
    for name, mine in values.items():
        other = literals[name]
        assert mine.keys() == other.keys(), name
        for key in mine:
            if key.lower().endswith("id") and key != "fsid":
                continue  # the user, which is ours
            assert mine[key] == other[key], (name, key)


@pytest.mark.parametrize("version", ["1.18", "1.20"])
def test_custom_resources_are_the_importers_and_more(version: str, tmp_path: Path) -> None:
    theirs, literals = imported(version, tmp_path)
    made, _values = ours(version)
    space = made["CephBlockPoolRadosNamespace vm-prod-prod"]["spec"]
    assert theirs["CephBlockPoolRadosNamespace prod"]["spec"].items() <= space.items()
    group = made["CephFilesystemSubVolumeGroup cephfs-prod"]["spec"]
    assert theirs["CephFilesystemSubVolumeGroup prod"]["spec"].items() <= group.items()
    monitors = made["ConfigMap rook-ceph-mon-endpoints"]["data"]
    assert literals["rook-ceph-mon-endpoints"].keys() == monitors.keys()
    assert literals["rook-ceph-mon-endpoints"]["data"] == monitors["data"]


def test_the_importer_of_1_17_dies_on_a_rados_namespace(tmp_path: Path) -> None:
    """I9: a quote too few. Ours reckons the cluster id and waits for nothing."""
    done, _log = start("1.17", tmp_path, RADOS_NAMESPACE="prod")
    assert done.returncode != 0
    made, _values = ours("1.17")
    ids = {one["parameters"]["clusterID"] for name, one in made.items() if name.startswith("StorageClass ceph-rbd")}
    assert ids == {names.block_default_id("rook-ceph", "vm-prod", "prod")}


@pytest.mark.parametrize("version", [*rook_manifests.VERSIONS])
def test_the_importers_zones_are_no_json_and_ours_are(version: str, tmp_path: Path) -> None:
    """I6, as it is run."""
    theirs, _literals = imported(
        version,
        tmp_path,
        TOPOLOGY_POOLS="zone-a,zone-b",
        TOPOLOGY_FAILURE_DOMAIN_LABEL="zone",
        TOPOLOGY_FAILURE_DOMAIN_VALUES="a,b",
    )
    with pytest.raises(json.JSONDecodeError):
        json.loads(theirs["StorageClass ceph-rbd-topology"]["parameters"]["topologyConstrainedPools"])
    zones = [{"pool": "zone-a", "value": "a"}, {"pool": "zone-b", "value": "b"}]
    made, _values = ours(version, block=[{"storage_class": "zoned", "topology": {"label": "zone", "pools": zones}}])
    assert json.loads(made["StorageClass zoned"]["parameters"]["topologyConstrainedPools"])
