# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the budgets: the lab's start, site.yml, unseal shares, reviewers, tenants; prints seconds and requests.

Numbers, not a verdict: a shared machine is noisy.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.bench import reviewers, tenants
from tests.integration.ansible_run import run_play
from tests.site import SITE, UNSEAL, new_site

ROUNDS = 3


def main() -> None:
    """Print one line for each figure: what, median of the rounds, and the budget where there is one."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        started = time.monotonic()
        with new_site("bench", Path(folder)) as site:
            up = time.monotonic() - started
            print(f"{up:8.2f} s  three OpenBao servers and a cluster up (whole lab: budget 45 s)", flush=True)
            first = run_play(SITE, inventory=site.inventory).ok()
            print(f"{first.secs:8.2f} s  site.yml on a new site", flush=True)
            seconds, sending, requests = [], [], []
            for _round in range(ROUNDS):
                site.lab.restart("openbao")
                sealed = run_play(UNSEAL, inventory=site.inventory, extra_vars={"openbao_unseal_wait": False}).ok()
                sending.append(sealed.secs)
                run_play(UNSEAL, inventory=site.inventory).ok()
                deadline = time.monotonic() + 60
                while site.lab.openbao_active() is None and time.monotonic() < deadline:
                    time.sleep(0.2)
                before = sum(site.seen().values())
                again = run_play(SITE, inventory=site.inventory).ok()
                seconds.append(again.secs)
                requests.append(sum(site.seen().values()) - before)
            print(f"{sorted(sending)[ROUNDS // 2]:8.2f} s  unseal.yml until all shares are sent, start-up included")
            print(f"{sorted(seconds)[ROUNDS // 2]:8.2f} s  site.yml again, {sorted(requests)[ROUNDS // 2]} requests")
            reviewers.main(site)
    tenants.main()


if __name__ == "__main__":
    main()
