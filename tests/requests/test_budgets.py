# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the servers saw, against the budgets."""

from __future__ import annotations

import typing as t

import pytest

from tests.integration.ansible_run import run_play
from tests.site import SITE, UNSEAL, Site, new_site

#: Requests to each OpenBao server for unsealing when nothing is sealed.
UNSEAL_BUDGET = 3
#: Requests of a whole site.yml that changes nothing, over all three servers: 2 per node for the look at the seals by
#: each of initialisation, unsealing and configuration, the login's proof, and one login, read and revocation for each
#: kind of thing that is configured.
SITE_BUDGET = 45


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    with new_site("requests", tmp_path_factory.mktemp("requests")) as found:
        run_play(SITE, inventory=found.inventory).ok()
        yield found


def test_unseal_in_steady_state(site: Site) -> None:
    before = site.seen()
    result = run_play(UNSEAL, inventory=site.inventory).ok()
    spent = {name: count - before[name] for name, count in site.seen().items()}
    assert result.changed == []
    assert all(1 <= count <= UNSEAL_BUDGET for count in spent.values()), spent


def test_site_that_is_as_it_should_be(site: Site) -> None:
    before = sum(site.seen().values())
    result = run_play(SITE, inventory=site.inventory).ok()
    assert result.changed == []
    assert 0 < sum(site.seen().values()) - before <= SITE_BUDGET


def test_check_mode_of_a_sealed_site_writes_nothing(site: Site) -> None:
    site.lab.restart("openbao")
    before = {name: len(proxy.requests()) for name, proxy in site.proxies.items()}
    planned = run_play(UNSEAL, inventory=site.inventory, check=True).ok()
    assert planned.changed
    for name, proxy in site.proxies.items():
        new = proxy.requests()[before[name] :]
        assert new
        assert {request.method for request in new} == {"GET"}
    run_play(UNSEAL, inventory=site.inventory).ok()
