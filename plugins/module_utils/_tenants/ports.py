# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What this package needs of clients, so that it knows neither HTTP nor Git."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping

from .._kube.normalise import Object
from .._kube.ports import Api


@dataclasses.dataclass(frozen=True)
class Identity:
    """As whom something is asked."""

    user: str
    groups: tuple[str, ...]

    @classmethod
    def of_account(cls, namespace: str, name: str) -> Identity:
        """Return the identity of a ServiceAccount, with the groups that the API server gives it."""
        return cls(
            f"system:serviceaccount:{namespace}:{name}",
            ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"),
        )


@dataclasses.dataclass(frozen=True)
class Right:
    """A verb on a resource, as an access review asks for it."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class Cluster(Api, t.Protocol):
    """A connection to one API server that can change parts of objects."""

    def merge(self, path: str, body: Mapping[str, t.Any]) -> Object | None:
        """Change parts of an object by a merge patch; ``None`` if it does not exist."""


class Prober(t.Protocol):
    """Asks an API server as somebody else, and writes nothing."""

    requests: int

    def may(self, who: Identity, right: Right) -> tuple[bool, str]:
        """Return whether the API server allows it, and why."""

    def try_apply(self, who: Identity, path: str, body: Mapping[str, t.Any]) -> tuple[int, str]:
        """Return the status and sentence with which the server's dry run answers; 200 or 201 if it would be made."""

    def try_read(self, who: Identity, path: str) -> tuple[int, str]:
        """Return the status and sentence with which the server answers a list; of objects only names are asked for."""


class Checkout(t.Protocol):
    """A copy of a Git repository."""

    def fetch(self, *, history: bool = False) -> str:
        """Check the branch out and return its revision."""

    def branch_exists(self, branch: str) -> bool:
        """Say whether the repository has a branch."""

    def onto(self, branch: str) -> bool:
        """Check out a branch with commits of ours; ``False`` if all of it is merged already."""

    def files(self, directory: str, suffixes: tuple[str, ...] = ...) -> dict[str, str]:
        """Return the texts below a folder."""

    def commit(self, directory: str, files: Mapping[str, str | None], message: str) -> str:
        """Write files (``None`` deletes) and commit; the revision, or empty if nothing differs."""

    def push(self, branch: str) -> None:
        """Push the last commit, without force."""
