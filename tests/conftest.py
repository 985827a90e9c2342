# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mark ``openbao2``: what only OpenBao 2.x can do is tested when ``OPENBAO_BIN`` names it, and listed when not."""

from __future__ import annotations

import os

import pytest

NOT_RUN = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the lab's stand-in cannot do."""
    if os.environ.get("OPENBAO_BIN"):
        return
    left_out = [item for item in items if item.get_closest_marker("openbao2")]
    if left_out:
        config.stash[NOT_RUN] = [item.nodeid for item in left_out]
        items[:] = [item for item in items if not item.get_closest_marker("openbao2")]
        config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name every test that was left out."""
    for nodeid in config.stash.get(NOT_RUN, []):
        terminalreporter.write_line(f"not run: {nodeid} (needs OpenBao 2.x: OPENBAO_BIN)")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A file with nothing but such tests is no failure."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.stash.get(NOT_RUN, []):
        session.exitstatus = pytest.ExitCode.OK
