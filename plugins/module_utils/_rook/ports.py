# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What this package needs of clients, so that it knows none of them."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from .._kube.normalise import Object
from .._kube.ports import Api


class Cluster(Api, t.Protocol):
    """A connection to one API server that can change parts of objects."""

    def merge(self, path: str, body: Mapping[str, t.Any]) -> Object | None:
        """Change parts of an object by a merge patch; ``None`` if it does not exist."""


class Store(t.Protocol):
    """A connection to OpenBao."""

    requests: int

    def data(self, path: str) -> dict[str, t.Any] | None:
        """Return what is at a path; ``None`` if there is nothing."""

    def write(self, path: str, body: Mapping[str, t.Any] | None = None, *, quiet: bool = ...) -> dict[str, t.Any]:
        """Write to a path; *quiet* leaves what the server says out of errors."""

    def delete(self, path: str) -> None:
        """Delete what is at a path; absent is fine."""
