# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests of real releases: Kyverno's whole one, External Secrets' definitions, flannel's.

Their pods are kwok's: they get Ready, and nothing runs in them. So what these controllers register themselves is not
waited for here.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from lab import build
from lab.kyverno import MANIFEST
from tests.integration.components.conftest import Site, sha256

FILES = Path(__file__).parent / "files"
NOTHING: dict[str, t.Any] = {"webhooks": [], "probe": {}, "timeout": 120}


def pinned(path: Path) -> dict[str, str]:
    return {"path": str(path), "sha256": sha256(path)}


def releases() -> list[dict[str, t.Any]]:
    definitions = sorted((build.path("external-secrets").parent / "crds").glob("*external-secrets.io_*.yaml"))
    kyverno = build.path("kyverno-admission-controller").parent / MANIFEST
    return [
        {
            "name": "external-secrets",
            "version": "0.19.2",
            "manifests": [pinned(p) for p in definitions],
            "wait": NOTHING,
        },
        {"name": "kyverno", "version": "1.19.1", "manifests": [pinned(kyverno)], "wait": NOTHING},
        {"name": "flannel", "version": "0.26.7", "manifests": [pinned(FILES / "kube-flannel.manifest")]},
    ]


def test_real_releases_come_in_order_and_the_second_run_finds_nothing_to_do(site: Site) -> None:
    done = site.apply(releases())
    assert [one["name"] for one in done["components"]] == ["flannel", "kyverno", "external-secrets"]
    deployment = site.get("/apis/apps/v1/namespaces/kyverno/deployments/kyverno-admission-controller")
    assert deployment["status"]["availableReplicas"] == 1
    mark = site.mark()
    again = site.apply(releases())
    assert not again["changed"], again["changes"]
    assert site.writes(mark) == []
    assert again["unchanged"] > 90
    # Not one request per object: lists by kind.
    assert again["requests"] < 40, again["requests"]
