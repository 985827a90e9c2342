# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What the flows of this package need of a client, so that they know neither HTTP nor a product's client."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from .._core.redact import Secret


class Reply(t.Protocol):
    """An answer: HTTP status and decoded body."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def body(self) -> dict[str, t.Any]:
        """Decoded JSON object."""


class Api(t.Protocol):
    """A connection to one server."""

    def request(
        self,
        method: str,
        path: str,
        body: t.Mapping[str, t.Any] | None = None,
        *,
        ok: t.Collection[int] = ...,
        token: bool = ...,
        timeout: float | None = ...,
        quiet: bool = ...,
    ) -> Reply:
        """Send one request; raise HackspaceError for a status outside *ok*."""

    def use_token(self, token: Secret) -> None:
        """Use this token from now on."""

    def login(self) -> None:
        """Log in, where the connection has a login."""

    def close(self) -> None:
        """Revoke a token that this connection minted, and close."""


class Upstream(t.Protocol):
    """A connection to OpenBao of which there can be more."""

    requests: int

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, t.Any] | None = None,
        *,
        ok: t.Collection[int] = ...,
        token: bool = ...,
        quiet: bool = ...,
    ) -> Reply:
        """Send one request; raise HackspaceError for a status outside *ok*."""

    def use_token(self, token: Secret) -> None:
        """Use this token from now on."""

    def clone(self) -> Upstream:
        """Return another connection with the same login, if any, for use by another thread or with another token."""

    def close(self) -> None:
        """End the connection."""
