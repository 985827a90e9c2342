# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml killed at one request after the other on a new site; the next run has to finish, or say what to do."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.integration.ansible_run import run_play, start_play
from tests.site import CLUSTER, SITE, new_site

#: The server at whose request the run is killed, and how many requests it has answered before.
POINTS = [("openbao-0", n) for n in (1, 2, 14, 18, 22, 26, 30, 34, 42, 50)] + [(CLUSTER, n) for n in (0, 4, 8, 12, 16)]


@pytest.mark.parametrize(("server", "after"), POINTS)
def test_killed_and_run_again(server: str, after: int, tmp_path: Path) -> None:
    with new_site(f"kill-{after}", tmp_path) as site:
        run = start_play(SITE, inventory=site.inventory)

        def kill(_method: str, _path: str) -> None:
            os.killpg(run.process.pid, signal.SIGKILL)

        proxy = site.api if server == CLUSTER else site.proxies[server]
        proxy.call(kill, "after", skip=after)
        assert run.wait().rc == -signal.SIGKILL
        again = run_play(SITE, inventory=site.inventory)
        if again.rc:
            assert "openbao_generate_root" in again.output or "wipe" in again.output
        else:
            assert run_play(SITE, inventory=site.inventory).ok().changed == []
