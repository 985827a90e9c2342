# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand tenants on a real API server: a run that changes nothing, and one more tenant."""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

from lab.api import Lab
from tests.bench.tenants import CLUSTER, declared, ours

MANY = 1000
#: Seconds, of the processors and by the clock. The clock's is what an idle machine keeps; another may be in the way.
PROCESSOR = 30.0
CLOCK = 120.0
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
            first = ours(lab, Path(name), declared("m", MANY)).of("tenants")
            assert len([one for one in first["tenants"] if one["result"] == "changed"]) == MANY
            before, begin = spent(), time.monotonic()
            second = ours(lab, Path(name), declared("m", MANY)).of("tenants")
            seconds, clock = spent() - before, time.monotonic() - begin
            assert not second["changed"]
            assert second["requests"] <= REQUESTS
            assert (seconds < PROCESSOR, clock < CLOCK) == (True, True), (seconds, clock)
            third = ours(lab, Path(name), declared("m", MANY) + declared("another", 1)).of("tenants")
            assert [one["name"] for one in third["tenants"] if one["result"] == "changed"] == ["another0"]
            assert third["requests"] <= second["requests"] + MORE
    finally:
        lab.down(wipe=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024 < MEGABYTES
