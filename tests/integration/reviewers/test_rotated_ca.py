# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server gets another CA and other certificates, as nobody announced: the next run takes it over."""

from __future__ import annotations

import shutil
import typing as t
from pathlib import Path

import pytest

from lab.api import Lab

from .conftest import ReviewerSite, reviewer_site


@pytest.fixture(scope="module")
def own_site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[ReviewerSite]:
    """A lab of its own, as kubeconfigs of before are worth nothing afterwards."""
    lab = Lab("reviewers-ca", tmp_path_factory.mktemp("lab"))
    try:
        yield reviewer_site(lab)
    finally:
        lab.down(wipe=True)


def test_rotated_ca(own_site: ReviewerSite, tmp_path: Path) -> None:
    site = own_site
    entries = [site.entry("rotated"), site.entry("steady", "core-infra")]
    site.apply(*entries)
    before = site.evidence("rotated")
    old_ca = site.lab.clusters["member-prod"].ca_file.read_text()
    kept = tmp_path / "kubeconfig"
    shutil.copy(site.lab.clusters["member-prod"].kubeconfig, kept)
    site.lab.rotate_ca("member-prod")
    # a run with what is known from before names the hop, and finishes the other cluster
    result = site.refused("clusters-failed", site.entry("rotated", kubeconfig=str(kept)), entries[1])
    assert [(f["cluster"], f["hop"]) for f in result["failures"]] == [("rotated", "tls-ca")]
    assert site.evidence("rotated") == before
    # with the new kubeconfig the new CA is written, with a new token, and proved
    healed = site.apply(*entries)
    [report, steady] = healed["clusters"]
    assert report["verified"] is True
    assert "wrong-cluster-refused" in report["proved"]
    assert not steady["changed"]
    after = site.evidence("rotated")
    assert after["ca"] != before["ca"]
    assert after["fingerprint"] != before["fingerprint"]
    config = site.data("auth/kubernetes-rotated/config") or {}
    assert config["kubernetes_ca_cert"].strip() != old_ca.strip()
    assert not site.apply(*entries)["changed"]
