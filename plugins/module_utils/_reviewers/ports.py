# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What the flows of this package need of clients, so that they know neither HTTP nor a product's client."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator, Mapping

from .._kube.ports import Minter, Page, Requests
from .._openbao.ports import Upstream


class Downstream(Minter, Requests, t.Protocol):
    """A connection to one API server; may be used by several threads."""

    def get(self, path: str) -> dict[str, t.Any] | None:
        """Return one object, ``None`` if it does not exist."""

    def pages(self, path: str, *, selector: str = "", metadata_only: bool = False) -> Iterator[Page]:
        """Yield a collection page by page."""

    def apply(
        self, path: str, body: Mapping[str, t.Any], *, dry_run: bool = False, force: bool = False
    ) -> dict[str, t.Any]:
        """Apply an object server-side and return it as it is then."""

    def create(self, path: str, body: Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Create an object."""

    def delete(self, path: str, *, uid: str) -> None:
        """Delete the object with this uid; that it is gone or another one is fine."""


def data(api: Upstream, path: str) -> dict[str, t.Any] | None:
    """GET; return the answer's ``data``, ``None`` if there is nothing."""
    reply = api.request("GET", path, ok=(200, 204, 404))
    if reply.status != 200:
        return None
    inner = reply.body.get("data")
    return inner if isinstance(inner, dict) else {}


def listed(api: Upstream, path: str) -> dict[str, t.Any]:
    """LIST; return the names with what the server says of each (``key_info``), ``{}`` if there is nothing."""
    reply = api.request("LIST", path, ok=(200, 404))
    inner = (reply.body.get("data") or {}) if reply.status == 200 else {}
    info = inner.get("key_info") or {}
    return {str(name): info.get(name) or {} for name in inner.get("keys") or []}
