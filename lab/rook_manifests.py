# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rook's own definitions of custom resources, and those of snapshots, from what is published as Go modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from lab import build
from lab.errors import LabError
from lab.rest import Server

_MODULE = "rook-manifests"
_ROOK = "github.com/rook/rook"
VERSIONS: Mapping[str, str] = {"1.17": "1.17.9", "1.18": "1.18.8", "1.20": "1.20.6"}
"""Versions of Rook whose modules can be had with their checksums; 1.19 is not among them."""
#: What an external Ceph needs of Rook's custom resources.
KINDS = ("CephCluster", "CephBlockPoolRadosNamespace", "CephFilesystemSubVolumeGroup")
_SNAPSHOTS = ("github.com/kubernetes-csi/external-snapshotter/client/v8", "8.2.0")


def rook(version: str = "1.20") -> Path:
    """The folder ``deploy/examples`` of a version."""
    if version not in VERSIONS:
        raise LabError(f"no manifests of Rook {version}; there are {', '.join(VERSIONS)}")
    return _fetched(_ROOK, VERSIONS[version]) / "deploy" / "examples"


def definitions(version: str = "1.20") -> Path:
    """The file with the custom resources of a version."""
    return rook(version) / "crds.yaml"


def snapshots() -> list[Path]:
    """The files with the custom resources of snapshots and of snapshots of groups."""
    return sorted((_fetched(*_SNAPSHOTS) / "config" / "crd").glob("*snapshot.storage.k8s.io_*.yaml"))


def define(server: Server, version: str = "1.20") -> None:
    """Give a cluster the definitions of snapshots, and those of Rook that an external Ceph needs."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in (definitions(version), *snapshots()):
        for one in yaml.load_all(path.read_text(encoding="utf-8"), Loader=loader):
            if not one or (one["spec"]["group"] == "ceph.rook.io" and one["spec"]["names"]["kind"] not in KINDS):
                continue
            name = one["metadata"]["name"]
            answer = server.request(
                "PATCH",
                f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}?fieldManager=lab",
                one,
                content_type="application/apply-patch+yaml",
            )
            if answer.status >= 300:
                raise LabError(f"{name}: HTTP {answer.status}")


def _fetched(name: str, version: str) -> Path:
    return build.fetched(build.find_go(), build.MODULES / _MODULE, name, version)
