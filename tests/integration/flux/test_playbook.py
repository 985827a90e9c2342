# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/flux_action.yml in real Ansible."""

from __future__ import annotations

import typing as t

from tests.integration.ansible_run import ROOT, Result, run_play

from .conftest import Site

PLAYBOOK = ROOT / "playbooks" / "flux_action.yml"


def play(site: Site, *, check: bool = False, **given: t.Any) -> Result:
    known = [{"name": "member-prod", "kubeconfig": site.kubeconfig}]
    given = {"platform_clusters": known, "flux_action_cluster": "member-prod", **given}
    return run_play(PLAYBOOK, extra_vars=given, check=check, diff=True)


def test_it_looks_kicks_and_suspends(site: Site) -> None:
    tenant = site.tenant()
    tenant.source()
    tenant.kustomization()
    tenant.settled()
    where: dict[str, t.Any] = {"flux_action_namespace": tenant.name, "flux_action_name": tenant.name}
    looked = play(site, flux_action_namespace=tenant.name).ok()
    assert looked.of("flux_info")["counts"]["Kustomization"] == {"ready": 1}
    assert "locked down" in looked.output
    shown = play(site, flux_action_do="suspend", check=True, **where).ok()
    assert shown.of("flux_action")["changed"]
    assert not tenant.live()["spec"].get("suspend")
    assert play(site, flux_action_do="kick", **where).ok().changed == ["Act"]
    play(site, flux_action_do="wait", **where).ok()


def test_it_says_what_is_missing(site: Site) -> None:
    assert "Give flux_action_cluster" in play(site, flux_action_do="kick").output
