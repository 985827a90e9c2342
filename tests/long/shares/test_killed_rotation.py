# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rotation killed after each request that changes something, on real servers, with and without a restart of these."""

from __future__ import annotations

import pytest

from tests.integration.shares.conftest import Site, killed

NEW = ("ada", "cleo", "dan")
POINTS = {
    "begun": ("/init$", 0),
    "first-share": ("/update$", 0),
    "last-share": ("/update$", 1),
    "first-new-share": ("/verify$", 0),
    "last-new-share": ("/verify$", 1),
}


@pytest.mark.parametrize("restart", [False, True], ids=["", "restart"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_and_run_again(site: Site, point: str, restart: bool) -> None:
    path, skip = POINTS[point]
    old = site.keys()
    current = [site.source("ada"), site.source("bo")]
    killed(site, site.rotation(*NEW, current_holders=current), "PUT", path, skip=skip)
    if restart:
        site.lab.restart("openbao")
        record = site.record()
        pending = record.get("rotation") or {}
        verified = point == "last-new-share"
        keys = site.keys(site.shares / "generations" / pending["generation"]) if verified else old
        site.unseal_all([keys["ada"], keys["cleo"]])
    for _run in range(4):
        generation = (site.record().get("rotation") or {}).get("generation", "")
        folder = site.shares / "generations" / generation
        have = generation and (folder / "dan.age").exists()
        new = [site.source(n, generation) for n in ("dan", "ada")] if have else []
        ran = site.rotate(*NEW, current_holders=current, new_holders=new)
        assert ran.rc == 0, ran.output
        if ran.result["state"] == "complete":
            break
    assert site.record()["holders"][2]["holder"] == "dan"
    keys = site.keys()
    assert sorted(keys) == sorted(NEW)
    assert not site.attempt()["started"]
    site.lab.restart("openbao")
    site.unseal_all([keys["dan"], keys["cleo"]])


def test_cut_off_while_the_last_new_share_is_verified(site: Site) -> None:
    old = site.keys()
    args = site.rotation(*NEW, current_holders=[site.source("ada"), site.source("bo")])
    killed(site, args, "PUT", "/verify$", skip=1)
    record = site.record()
    assert record["rotation"]["state"] == "verifying"
    assert site.keys() == old
    assert not site.attempt()["started"]
    generation = record["rotation"]["generation"]

    few = site.rotate(*NEW, new_holders=[site.source("dan", generation)])
    assert few.rc, few.output
    assert few.result["error"]["rule"] == "too-few-shares"
    proved = site.rotate(*NEW, new_holders=[site.source("dan", generation), site.source("ada", generation)])
    assert proved.rc == 0, proved.output
    assert proved.result["state"] == "complete"
    assert site.record()["generation"] == generation
    assert not site.attempt()["started"]
    assert sorted(site.keys()) == sorted(NEW)
