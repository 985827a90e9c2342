# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hundred tenants: what a run costs that changes nothing, and one more tenant."""

from __future__ import annotations

import time

from tests.integration.tenants.conftest import Site

#: Lockdown, namespaces, discovery and the record, and one list for each kind.
NOTHING = 24
#: What one more tenant may cost on top: its objects, one request each, and twice what is dry-run.
MORE = 30
SECONDS = 5.0


def test_a_hundred_tenants_cost_lists_and_one_more_costs_itself(site: Site) -> None:
    def declared(count: int) -> list[dict[str, object]]:
        made = []
        for number in range(count):
            one = site.declaration(f"many{number:03d}", access=[{"group": f"g{number}", "role": "viewer"}])
            del one["source"]  # so that Flux has nothing to do
            made.append(one)
        return made

    hundred = declared(100)
    # as the module allows one in a run only, what other tests have left does not count
    first = site.apply(*hundred)
    assert len([one for one in first["tenants"] if one["result"] == "changed"]) == 100
    mark = site.mark()
    begin = time.monotonic()
    nothing = site.apply(*hundred)
    spent = time.monotonic() - begin
    asked = site.asked(mark)
    assert not nothing["changed"]
    assert site.writes(mark) == []
    assert len(asked) <= NOTHING, asked
    assert nothing["requests"] <= NOTHING
    assert spent < SECONDS

    few = site.apply(*hundred[:3])
    assert few["requests"] == nothing["requests"]

    mark = site.mark()
    more = site.apply(*declared(101))
    assert [one["name"] for one in more["tenants"] if one["result"] == "changed"] == ["many100"]
    assert len(site.asked(mark)) <= len(asked) + MORE
    touched = {uri for _verb, uri in site.writes(mark) if "many100" not in uri and "hackspace-inventory" not in uri}
    assert touched == set()
