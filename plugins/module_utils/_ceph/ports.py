# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What this package needs of a connection to Ceph, so that it knows neither librados nor programs."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping, Sequence

#: Who is asked: the monitors, the manager, one monitor (``tell``), or RBD's library.
Target = t.Literal["mon", "mgr", "tell", "rbd"]


@dataclasses.dataclass(frozen=True)
class Command:
    """One command.

    :ivar prefix: as the servers know it (``auth get-or-create``); for RBD ``namespaces``, ``namespace create``,
        ``namespace remove``, ``images``, ``init``.
    :ivar arguments: by the names that the servers know.
    :ivar at: the monitor that is told.
    :ivar data: what the command reads; may hold a key.
    :ivar ok: codes next to 0 that are no failure.
    """

    prefix: str
    arguments: Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    target: Target = "mon"
    at: str = ""
    data: str = dataclasses.field(default="", repr=False)
    ok: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class Answer:
    """What Ceph said to a command.

    :ivar code: 0, or a negative errno that the command allows.
    :ivar out: decoded JSON; text that is none stays text.
    :ivar said: what it said next to that.
    """

    code: int
    out: t.Any = dataclasses.field(default=None, repr=False)
    said: str = ""


class Ceph(t.Protocol):
    """A connection to a Ceph cluster."""

    @property
    def requests(self) -> int:
        """How many commands were sent."""

    def run(self, commands: Sequence[Command]) -> list[Answer]:
        """Send commands in order, and stop at the first that fails.

        :raises HackspaceError: for a code that is neither 0 nor one that the command allows.
        """
