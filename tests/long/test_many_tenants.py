# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand tenants on a real API server: a run that changes nothing, and one more tenant."""

from __future__ import annotations

import resource
import tempfile
import time
import typing as t
from pathlib import Path

from lab.api import Lab
from tests.bench.tenants import declared, onboarding
from tests.integration.ansible_run import run_play
from tests.site import CLUSTER

MANY = 1000
#: Seconds, of the processors and by the clock; the budget is 30 of the latter (18 were measured on two cores that had
#: other work as well), and a machine may be busier.
PROCESSOR = 30.0
CLOCK = 60.0
MEGABYTES = 500
#: As for a hundred, and two more pages of each of the kinds.
REQUESTS = 60
#: What one more tenant may cost on top.
MORE = 30


def spent() -> float:
    """Return the seconds of the processors that finished children of this process have had."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_thousand_tenants(tmp_path: Path) -> None:
    lab = Lab("many-tenants", tmp_path)
    try:
        lab.up([CLUSTER, "flux"])
        lab.stop(f"{CLUSTER}-flux-source", f"{CLUSTER}-flux-kustomize")
        with tempfile.TemporaryDirectory() as name:

            def run(declarations: list[dict[str, t.Any]]) -> dict[str, t.Any]:
                task = onboarding(lab, Path(name), declarations)
                return run_play([task], timeout=1800).ok().of("tenants")

            first = run(declared("m", MANY))
            assert len([one for one in first["tenants"] if one["result"] == "changed"]) == MANY
            before, begin = spent(), time.monotonic()
            second = run(declared("m", MANY))
            seconds, clock = spent() - before, time.monotonic() - begin
            print(f"{seconds:.1f} s of the processors, {clock:.1f} s by the clock", flush=True)
            assert not second["changed"]
            assert second["requests"] <= REQUESTS
            assert (seconds < PROCESSOR, clock < CLOCK) == (True, True), (seconds, clock)
            # Before the servers end, which are children as well.
            assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024 < MEGABYTES
            third = run(declared("m", MANY) + declared("another", 1))
            assert [one["name"] for one in third["tenants"] if one["result"] == "changed"] == ["another0"]
            assert third["requests"] <= second["requests"] + MORE
    finally:
        lab.down(wipe=True)
