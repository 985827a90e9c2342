# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marks for tests that need a program which the lab does not build; without it they are left out, and listed.

``openbao2``: what only OpenBao 2.x can do. ``eso_openbao``: the provider ``openbao`` of External Secrets 2.10 or newer.
"""

from __future__ import annotations

import os

import pytest

NOT_RUN = pytest.StashKey[list[str]]()
#: Mark -> what such tests need in words, and the variables that name it.
MARKS = {
    "openbao2": ("OpenBao 2.x", ("OPENBAO_BIN",)),
    "eso_openbao": ("OpenBao 2.x and External Secrets 2.10 or newer", ("OPENBAO_BIN", "ESO_BIN")),
}


def _missing(item: pytest.Item) -> str:
    """Return what a test needs and the environment does not name; empty when it can run."""
    for mark, (what, variables) in MARKS.items():
        if item.get_closest_marker(mark) and not all(os.environ.get(name) for name in variables):
            return f"{what}: {', '.join(variables)}"
    return ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the lab's stand-in cannot do."""
    left_out = [(item, why) for item in items if (why := _missing(item))]
    if left_out:
        config.stash[NOT_RUN] = [f"{item.nodeid} (needs {why})" for item, why in left_out]
        items[:] = [item for item in items if not _missing(item)]
        config.hook.pytest_deselected(items=[item for item, _why in left_out])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name every test that was left out."""
    for line in config.stash.get(NOT_RUN, []):
        terminalreporter.write_line(f"not run: {line}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A file with nothing but such tests is no failure."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.stash.get(NOT_RUN, []):
        session.exitstatus = pytest.ExitCode.OK
