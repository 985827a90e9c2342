# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What waiting for, acting on and reporting on Flux need of a client and of time."""

from __future__ import annotations

import time
import typing as t

from .._kube.ports import Api as KubeApi
from .._kube.ports import Requests


class Api(KubeApi, Requests, t.Protocol):
    """A connection to one API server."""


class Clock(t.Protocol):
    """Time, so that tests need not wait."""

    def now(self) -> float:
        """Return seconds that only go up."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


class RealClock:
    """The machine's."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
