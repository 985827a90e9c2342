# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the servers saw, against the budgets."""

from __future__ import annotations

import dataclasses
import re
import typing as t

import pytest

from lab.proxy import Request
from tests.integration.ansible_run import Result, run_play
from tests.site import REVIEWERS, SITE, UNSEAL, Site, new_site

#: Requests to each OpenBao server for unsealing when nothing is sealed.
UNSEAL_BUDGET = 3
#: Requests of a whole site.yml that changes nothing, over all three servers: 2 per node for the look at the seals by
#: each of initialisation, unsealing and configuration, the login's proof, and one login, read and revocation for each
#: kind of thing that is configured, and the same once more for the reviewers of one cluster.
SITE_BUDGET = 62
#: Requests for a cluster, to it and to OpenBao together, when nothing is to be done, and when its reviewer's token is
#: replaced and proved. What a run needs for any number of clusters comes on top: see COMMON.
UNCHANGED_BUDGET = 12
ROTATED_BUDGET = 30
#: The look at the seals, one login, and its end.
COMMON = re.compile(
    r"^/v1/(sys/(health|seal-status|leader)|auth/userpass/login/platform-admin|auth/token/revoke-self)$"
)
READS = {"GET", "LIST"}
CANARY = "openbao-canary"


@dataclasses.dataclass
class Planned:
    """What check mode said and asked before there was any reviewer."""

    result: Result
    openbao: list[Request]
    api: list[Request]


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[tuple[Site, Planned]]:
    with new_site("requests", tmp_path_factory.mktemp("requests")) as found:
        run_play(SITE, inventory=found.inventory, args=["--skip-tags", "reviewers"]).ok()
        found.clear()
        planned = run_play(REVIEWERS, inventory=found.inventory, check=True, diff=True).ok()
        kept = Planned(planned, found.asked(), found.api.requests())
        run_play(SITE, inventory=found.inventory).ok()
        yield found, kept


@pytest.fixture
def site(new: tuple[Site, Planned]) -> Site:
    return new[0]


def for_the_cluster(site: Site) -> list[str]:
    """Return the requests since the last look that a run makes for the one cluster."""
    found = [f"openbao {r.method} {r.path}" for r in site.asked() if not COMMON.match(r.path)]
    return found + [f"api {r.method} {r.path}" for r in site.api.requests()]


def test_check_mode_of_a_new_cluster_writes_nothing(new: tuple[Site, Planned]) -> None:
    planned = new[1]
    assert planned.result.changed
    assert planned.api
    assert {r.method for r in planned.openbao if not COMMON.match(r.path)} <= READS
    writes = [r for r in planned.api if r.method not in READS]
    assert [r.path for r in writes if "dryRun=All" not in r.query] == []
    assert not any(r.path.endswith("/token") for r in planned.api)


def test_reviewers_that_are_as_they_should_be(site: Site) -> None:
    site.clear()
    result = run_play(REVIEWERS, inventory=site.inventory).ok()
    assert result.changed == []
    seen = for_the_cluster(site)
    assert 0 < len(seen) <= UNCHANGED_BUDGET, seen
    # a server that doesn't tell if it still holds the reviewer's token is asked by a login of the canary
    written = [line for line in seen if line.split()[1] not in READS]
    assert [line for line in written if not line.endswith((f"/{CANARY}/token", "/login"))] == []


def test_a_reviewer_that_is_replaced(site: Site) -> None:
    site.clear()
    result = run_play(REVIEWERS, inventory=site.inventory, extra_vars={"jwt_reviewer_renew_below": 1}).ok()
    assert result.changed
    seen = for_the_cluster(site)
    assert any(line.startswith("api POST") and line.endswith("/token") for line in seen)
    assert 0 < len(seen) <= ROTATED_BUDGET, seen


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
