# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What this package needs of a client, so that it knows neither HTTP nor Kubernetes' Python package."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Iterator, Mapping

from .._core.errors import HackspaceError
from .model import Discovery
from .normalise import Object


@dataclasses.dataclass(frozen=True)
class Cause:
    """One reason in a server's refusal."""

    field: str = ""
    message: str = ""
    reason: str = ""


class ServerError(HackspaceError):
    """The API server answered with an error.

    :ivar said: the server's sentence; it may quote what was sent.
    :ivar reason: its machine-readable reason (``Conflict``, ``Invalid``, ``Forbidden``...).
    """

    def __init__(
        self, message: str, *, said: str = "", reason: str = "", causes: t.Sequence[Cause] = (), **kwargs: t.Any
    ) -> None:
        super().__init__(message, **kwargs)
        self.said = said
        self.reason = reason
        self.causes = tuple(causes)


@dataclasses.dataclass(frozen=True)
class Page:
    """Part of a list. ``remaining`` is the number of items after it, if the server says so."""

    items: list[Object]
    remaining: int


class Api(t.Protocol):
    """A connection to one API server."""

    requests: int

    def discover(self) -> Discovery:
        """Return the kinds the cluster serves."""

    def get(self, path: str) -> Object | None:
        """Return one object, ``None`` if it does not exist."""

    def pages(self, path: str, *, selector: str = "", metadata_only: bool = False) -> Iterator[Page]:
        """Yield a collection page by page; stop early by leaving the loop."""

    def apply(self, path: str, body: Mapping[str, t.Any], *, dry_run: bool = False, force: bool = False) -> Object:
        """Apply an object server-side and return it as it is then, or would be."""

    def create(self, path: str, body: Mapping[str, t.Any]) -> Object:
        """Create an object."""

    def replace(self, path: str, body: Mapping[str, t.Any]) -> Object:
        """Replace an object; its resourceVersion is a precondition."""

    def delete(self, path: str, *, uid: str) -> None:
        """Delete the object with this uid; that it is gone or another one is fine."""


class Minter(t.Protocol):
    """Gets tokens of ServiceAccounts."""

    def mint(self, namespace: str, service_account: str, spec: Mapping[str, t.Any]) -> Mapping[str, t.Any]:
        """Request a token of a ServiceAccount; return the status of the answer."""


class Requests(t.Protocol):
    """A connection to one API server that sends whatever request is wanted."""

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


class View:
    """An API server as it is; who plans for a cluster as it will be says in a subclass what differs."""

    def __init__(self, api: Api) -> None:
        self._api = api

    @property
    def requests(self) -> int:
        return self._api.requests

    @requests.setter
    def requests(self, value: int) -> None:
        self._api.requests = value

    def discover(self) -> Discovery:
        return self._api.discover()

    def get(self, path: str) -> Object | None:
        return self._api.get(path)

    def pages(self, path: str, *, selector: str = "", metadata_only: bool = False) -> Iterator[Page]:
        return self._api.pages(path, selector=selector, metadata_only=metadata_only)

    def apply(self, path: str, body: Mapping[str, t.Any], *, dry_run: bool = False, force: bool = False) -> Object:
        return self._api.apply(path, body, dry_run=dry_run, force=force)

    def create(self, path: str, body: Mapping[str, t.Any]) -> Object:
        return self._api.create(path, body)

    def replace(self, path: str, body: Mapping[str, t.Any]) -> Object:
        return self._api.replace(path, body)

    def delete(self, path: str, *, uid: str) -> None:
        self._api.delete(path, uid=uid)


def listed(api: Api, path: str, *, selector: str = "", metadata_only: bool = False) -> list[Object]:
    """Return a whole collection, where it is small enough to be held."""
    return [dict(one) for page in api.pages(path, selector=selector, metadata_only=metadata_only) for one in page.items]
