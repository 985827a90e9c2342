# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Carries out a plan for Ceph: the commands that its changes carry, in order, in one go."""

from __future__ import annotations

import typing as t

from .._core.errors import HackspaceError
from .._core.plan import Plan
from .ports import Ceph, Command

#: Key in an error's data: how many commands were carried out before the one that failed.
DONE: t.Final = "done"


def commands(payload: t.Any) -> tuple[Command, ...]:
    """Return the commands of a change."""
    return t.cast("tuple[Command, ...]", payload or ())


def apply(ceph: Ceph, plan: Plan) -> None:
    """Send the commands of all changes. The first error ends it, with what was done; a later run does the rest."""
    try:
        ceph.run([command for change in plan.changes for command in commands(change.payload)])
    except HackspaceError as error:
        left = int(error.data.pop(DONE, 0))
        for index, change in enumerate(plan.changes):
            left -= len(commands(change.payload))
            if left < 0:
                error.data["applied"] = plan.report()[:index]
                error.item = f"{change.kind} {change.name}"
                break
        raise
