# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What the flow of this package needs of a client, so that it knows neither HTTP nor Kubernetes' Python package."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping


class Api(t.Protocol):
    """A connection to one API server."""

    requests: int

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = ...,
        body: object = ...,
        content_type: str = ...,
        accept: str = ...,
        ok: t.Collection[int] = ...,
        repeat: bool = ...,
    ) -> tuple[int, dict[str, t.Any]]:
        """Send one request; raise HackspaceError for a status outside *ok* or when there is no answer."""
