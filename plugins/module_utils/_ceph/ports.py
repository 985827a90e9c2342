# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What this package needs of a connection to Ceph, so that it knows neither librados nor programs."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping

Target = t.Literal["mon", "mgr"]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What Ceph said to a command.

    :ivar code: 0, or a negative errno.
    :ivar out: decoded JSON; None if there was none. Plain text stays text.
    :ivar said: what it said next to that; never a key.
    """

    code: int
    out: t.Any = dataclasses.field(default=None, repr=False)
    said: str = ""


class Ceph(t.Protocol):
    """A connection to a Ceph cluster."""

    @property
    def requests(self) -> int:
        """How many commands were sent."""

    def ask(
        self,
        prefix: str,
        arguments: Mapping[str, t.Any] | None = None,
        *,
        target: Target = ...,
        ok: t.Collection[int] = ...,
        data: bytes = ...,
    ) -> Answer:
        """Send one command; raise HackspaceError for a code that is neither 0 nor in *ok*."""

    def namespaces(self, pool: str) -> list[str]:
        """Return the RADOS namespaces that RBD knows in a pool."""

    def create_namespace(self, pool: str, name: str) -> None:
        """Make a RADOS namespace known to RBD."""

    def remove_namespace(self, pool: str, name: str) -> None:
        """Remove an empty RADOS namespace."""

    def images(self, pool: str, namespace: str = "") -> list[str]:
        """Return the RBD images in a namespace of a pool, also those in the trash."""

    def init_pool(self, pool: str) -> None:
        """Prepare a pool for RBD."""
