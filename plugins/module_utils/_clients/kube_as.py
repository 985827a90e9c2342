# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Asks an API server as somebody else: access reviews and dry runs by impersonation. Writes nothing."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Mapping

from .._core.errors import HackspaceError
from .._kube.ports import ServerError
from .kube import Kube

_REVIEWS: t.Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Who(t.Protocol):
    """An identity."""

    @property
    def user(self) -> str:
        """Its name."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Its groups."""


class What(t.Protocol):
    """A right, in the words of an access review."""

    @property
    def verb(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def resource(self) -> str: ...
    @property
    def subresource(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...


class KubeProber:
    """The connection of somebody who may impersonate."""

    def __init__(self, api: Kube) -> None:
        self._api = api
        self.requests = 0

    def may(self, who: Who, right: What) -> tuple[bool, str]:
        """Return whether the API server allows it, and why."""
        names = ("verb", "group", "resource", "subresource", "namespace", "name")
        attributes = {name: value for name in names if (value := getattr(right, name))}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        api = self._api.acting_as(who.user, who.groups)
        try:
            _status, answer = api.request("POST", _REVIEWS, body=body)
        except ServerError as error:
            raise _cannot(error, who) from None
        finally:
            self.requests += api.requests
        status = answer.get("status") or {}
        return bool(status.get("allowed")), str(status.get("reason") or "")

    def try_apply(self, who: Who, path: str, body: Mapping[str, t.Any]) -> tuple[int, str]:
        """Return the status and sentence with which the server's dry run answers."""
        return self._tried(who, lambda api: api.apply(path, body, dry_run=True, force=True))

    def try_read(self, who: Who, path: str) -> tuple[int, str]:
        """Return the status and sentence with which the server answers a list. Contents are not asked for."""
        return self._tried(who, lambda api: next(api.pages(path, metadata_only=True), None))

    def _tried(self, who: Who, ask: Callable[[Kube], object]) -> tuple[int, str]:
        api = self._api.acting_as(who.user, who.groups)
        try:
            ask(api)
        except ServerError as error:
            if "impersonate" in error.said and f'"{who.user}"' in error.said:
                raise _cannot(error, who) from None
            return error.status or 0, error.said
        finally:
            self.requests += api.requests
        return 200, ""


def _cannot(error: ServerError, who: Who) -> HackspaceError:
    if error.status != 403:
        return error
    return HackspaceError(
        f"the login in use may not act as {who.user}: {error.said}",
        item="API server",
        rule="impersonate",
        fix="give it the verb impersonate on serviceaccounts and groups, or probe with an administrator's login.",
        status=403,
    )
