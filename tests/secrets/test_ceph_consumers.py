# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ceph keys at the highest verbosity: minted, not delivered, rotated, delivered both ways; none of them is printed."""

from __future__ import annotations

import typing as t

import pytest

from tests.integration.ansible_run import Result
from tests.integration.ceph_consumers.conftest import CORE, MEMBER, Site, new_site
from tests.secrets.test_site import leaks, notations


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    with new_site("ceph-secrets", tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("site")) as found:
        yield found


def keys(site: Site) -> set[str]:
    """The keys of all Ceph users, the administrator's too."""
    return {str(one["key"]) for one in site.lab.ceph.command("auth ls")["auth_dump"]}


def test_ceph_keys(site: Site) -> None:
    runs: dict[str, Result] = {}
    for proxy in site.proxies.values():
        proxy.fail(500, None, method="POST|PUT", path="/v1/kv/data/")
    runs["failed"] = site.play(verbosity=4)
    assert runs["failed"].rc != 0
    minted = keys(site)
    for proxy in site.proxies.values():
        proxy.clear_rules()
    for one in site.consumers:
        one["key"] = {"generation": 1, "keep": 0}
    runs["rotated"] = site.play(verbosity=4).ok()
    delivered = {site.secret(one, "rbd-node").key for one in (CORE, MEMBER)}
    found = minted | keys(site)
    assert delivered <= found - minted
    assert len(found) > 2 * 10
    searched = {text for secret in {*found, site.root} for text in notations(secret)}
    assert {name: leaks(run, searched) for name, run in runs.items()} == {name: [] for name in runs}
    # the proof that something was said that could have had them
    assert '"sealed": {"client.' in runs["rotated"].stdout
