# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is there: of one cluster on both sides, and of OpenBao as a whole."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Mapping

from .evidence import BoundSecret, Standing, standing
from .model import OWNER

_MARK = re.compile(rf"\s*\[hackspace\.infra: {OWNER}\]\s*$")

#: Key of a Kubernetes auth configuration by which newer servers tell that they hold a reviewer's token.
HOLDS: t.Final = "token_reviewer_jwt_set"
#: In the place of a mode, in the description of a mount of somebody else that is being adopted.
ADOPTING: t.Final = "adoption"
_MODE = re.compile(r"^Tenants of (\S+) by (\w+) \[")


def description(cluster: str, mode: str) -> str:
    """Return the description of a mount of ours. ``openbao_auth_mounts`` takes it for somebody else's."""
    return f"Tenants of {cluster} by {mode} [hackspace.infra: {OWNER}]"


def mode_of(mount: Mapping[str, t.Any] | None) -> str:
    """Return the mode that a mount was left in by us, ``""`` where that is not known."""
    found = _MODE.match(str((mount or {}).get("description") or ""))
    return found.group(2) if found and is_ours(mount or {}) else ""


def cluster_of(mount: Mapping[str, t.Any]) -> str:
    """Return the name of the cluster that a mount of ours is for, ``""`` where that is not known."""
    found = _MODE.match(str(mount.get("description") or ""))
    return found.group(1) if found and is_ours(mount) else ""


def is_ours(mount: Mapping[str, t.Any]) -> bool:
    """Say if a mount, as ``sys/auth`` shows it, has our mark."""
    return bool(_MARK.search(str(mount.get("description") or "")))


@dataclasses.dataclass(frozen=True)
class Found:
    """What could be the way in which a mount of somebody else works: bindings of ClusterRoles, Secrets with tokens."""

    bindings: tuple[Mapping[str, t.Any], ...] = ()
    secrets: tuple[Mapping[str, t.Any], ...] = ()


@dataclasses.dataclass(frozen=True)
class Recognised:
    """How a mount of somebody else works.

    :ivar mode: one of ours, or ``own_pod_token`` or ``unknown``.
    :ivar why: a sentence for people.
    :ivar secrets: Secrets with a token without expiry of a ServiceAccount that may review tokens.
    :ivar tenants: bindings by which tenants may review tokens, and the subjects among them that are tenants.
    """

    mode: str
    why: str
    secrets: tuple[Mapping[str, t.Any], ...] = ()
    tenants: tuple[tuple[Mapping[str, t.Any], tuple[Mapping[str, t.Any], ...]], ...] = ()


@dataclasses.dataclass(frozen=True)
class State:
    """What is there of one cluster.

    :ivar accounts: ServiceAccounts of the reviewer's namespace by name.
    :ivar secrets: Secrets to which tokens are bound.
    :ivar issuer: issuer of the API server, ``""`` where it was not asked.
    :ivar audiences: of a token without audiences in its request; empty where none was requested, or could be.
    :ivar extra: answers to what the mode reads besides, by path.
    :ivar mount: entry of ``sys/auth``; ``config`` and ``roles`` of the mount, ``None`` and empty where there is none.
    :ivar role_names: names of all roles; ``None`` where they were not listed.
    :ivar policies: texts of the OpenBao policies that are wanted and exist.
    :ivar probed: a login of the canary worked or not; ``None`` where none was tried.
    :ivar previous: mode in which the mount of the tenants was left, ``""`` where that is not known.
    :ivar retired: accessor of a mount that was replaced -> second until when the OpenBao policy names it.
    :ivar recognised: how a mount of somebody else works.
    """

    namespace: bool = False
    accounts: Mapping[str, Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)
    cluster_role: Mapping[str, t.Any] | None = None
    binding: Mapping[str, t.Any] | None = None
    secrets: tuple[BoundSecret, ...] = ()
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    extra: Mapping[str, Mapping[str, t.Any] | None] = dataclasses.field(default_factory=dict)
    mount: Mapping[str, t.Any] | None = None
    config: Mapping[str, t.Any] | None = None
    roles: Mapping[str, Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)
    role_names: tuple[str, ...] | None = None
    policies: Mapping[str, str] = dataclasses.field(default_factory=dict)
    probed: bool | None = None
    previous: str = ""
    retired: Mapping[str, int] = dataclasses.field(default_factory=dict)
    recognised: Recognised | None = None

    @property
    def standing(self) -> Standing:
        return standing(self.secrets)

    @property
    def noted_audiences(self) -> tuple[str, ...]:
        """The API server's own audiences, as the reviewer's token said; empty where that was not noted."""
        current = self.standing.current
        return current.evidence.audiences if current and current.evidence else ()

    @property
    def accessor(self) -> str:
        return str((self.mount or {}).get("accessor") or "")

    @property
    def tells_token(self) -> bool:
        """The server tells if it holds a reviewer's token."""
        return self.config is not None and HOLDS in self.config
