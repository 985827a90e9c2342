# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Is a tenant confined in OpenBao? Real logins with tokens of its own ServiceAccounts, and what OpenBao then answers.

Nothing is written. Tokens live ten minutes in the cluster, and are revoked in OpenBao when the questions are asked;
they are in no result and in no error.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._core.errors import HackspaceError
from .._core.redact import Secret
from .._kube.ports import Minter, ServerError
from .._openbao.ports import Upstream
from .probe import Outcome

#: Seconds; the API server gives no shorter ones.
_LIFETIME: t.Final = 600
_NAME: t.Final = "confinement-probe"
#: Statuses that say no, to a login and to a path.
_NO_LOGIN: t.Final = (400, 403)
_ANY: t.Final = (200, 204, 400, 403, 404, 500)


@dataclasses.dataclass(frozen=True)
class Visitor:
    """One namespace of a tenant, and how it reaches OpenBao.

    :ivar account: the ServiceAccount of External Secrets; ``other`` the one of Flux, which is not to read OpenBao.
    :ivar neighbour: a namespace of somebody else; ``neighbour_role`` a role of theirs alone, if there are such.
    :ivar prefix: path in the KV engine, before ``/<cluster>/<namespace>/``.
    :ivar audiences: of the tokens.
    """

    tenant: str
    namespace: str
    account: str
    other: str
    neighbour: str
    mount: str
    role: str
    audiences: tuple[str, ...]
    kv_mount: str
    prefix: str
    cluster: str
    neighbour_role: str = ""

    def data(self, cluster: str, namespace: str) -> str:
        """Return the path of an OpenBao secret that nobody needs to have."""
        return f"{self.kv_mount}/data/{self.prefix}/{cluster}/{namespace}/{_NAME}"


def ask(bao: Upstream, kube: Minter, visitor: Visitor) -> list[Outcome]:
    """Return what OpenBao answers to a tenant.

    :param bao: a connection without a login.
    :raises HackspaceError: if OpenBao or the API server do not answer at all.
    """
    found: list[Outcome] = []

    def add(check: str, allowed: bool, got: str, why: str) -> None:
        expected = "allowed" if allowed else "refused"
        found.append(Outcome(visitor.tenant, visitor.namespace, check, expected, got, why))

    token, why = _minted(kube, visitor, visitor.account)
    if token is None:
        add("logs in at OpenBao", True, "unclear", why)
        return found
    session = bao.clone()
    try:
        got, why, login = _login(session, visitor, visitor.role, token)
        add("logs in at OpenBao", True, got, why)
        if login is not None:
            session.use_token(login)
            try:
                for check, allowed, method, path in _questions(visitor):
                    add(check, allowed, *_tried(session, method, path))
            finally:
                # a batch token cannot be revoked, and ends by itself
                session.request("POST", "auth/token/revoke-self", ok=_ANY)
        if visitor.neighbour_role:
            add("logs in to OpenBao as a neighbour", False, *_refused(session, visitor, visitor.neighbour_role, token))
        other, why = _minted(kube, visitor, visitor.other)
        if other is None:
            add("logs in to OpenBao as Flux", False, "unclear", why)
        else:
            add("logs in to OpenBao as Flux", False, *_refused(session, visitor, visitor.role, other))
    finally:
        bao.requests += session.requests
        session.close()
    return found


def _questions(visitor: Visitor) -> tuple[tuple[str, bool, str, str], ...]:
    own, folder = visitor.cluster, f"{visitor.kv_mount}/metadata/{visitor.prefix}"
    return (
        ("reads its own OpenBao secrets", True, "GET", visitor.data(own, visitor.namespace)),
        ("reads OpenBao secrets of a neighbour", False, "GET", visitor.data(own, visitor.neighbour)),
        (
            "reads OpenBao secrets of another cluster",
            False,
            "GET",
            visitor.data(f"{own}-{_NAME}", visitor.namespace),
        ),
        ("lists OpenBao secrets of a neighbour", False, "LIST", f"{folder}/{own}/{visitor.neighbour}/"),
        ("lists who has OpenBao secrets", False, "LIST", f"{folder}/{own}/"),
        ("reads OpenBao policies", False, "LIST", "sys/policies/acl"),
    )


def _minted(kube: Minter, visitor: Visitor, account: str) -> tuple[Secret | None, str]:
    """Return a token of a ServiceAccount, or why there is none."""
    spec = {"audiences": list(visitor.audiences), "expirationSeconds": _LIFETIME}
    try:
        status = kube.mint(visitor.namespace, account, spec)
    except ServerError as error:
        if error.status not in (403, 404):
            raise
        said = "there is no such ServiceAccount" if error.status == 404 else "the login in use may not request it"
        return None, f"no token of ServiceAccount {account}: {said}"
    return Secret(str(status.get("token") or "")), ""


def _login(session: Upstream, visitor: Visitor, role: str, token: Secret) -> tuple[str, str, Secret | None]:
    answer = session.request(
        "POST",
        f"auth/{visitor.mount}/login",
        {"role": role, "jwt": token.reveal()},
        ok=_ANY,
        token=False,
        quiet=True,
    )
    got = (answer.body.get("auth") or {}).get("client_token")
    if answer.status == 200 and got:
        return "allowed", "", Secret(str(got))
    said = "; ".join(str(one).strip() for one in answer.body.get("errors") or [])[:200].replace(token.reveal(), "...")
    why = f"HTTP {answer.status} at auth/{visitor.mount} with role {role}" + (f": {said}" if said else "")
    return "refused" if answer.status in _NO_LOGIN else "unclear", why, None


def _refused(session: Upstream, visitor: Visitor, role: str, token: Secret) -> tuple[str, str]:
    """Return what comes of a login that is not to succeed; what it gave is revoked."""
    got, why, login = _login(session, visitor, role, token)
    if login is not None:
        session.use_token(login)
        session.request("POST", "auth/token/revoke-self", ok=_ANY)
    return got, why


def _tried(session: Upstream, method: str, path: str) -> tuple[str, str]:
    """Return what OpenBao says to a path: that there is nothing is said only to who may look."""
    try:
        status = session.request(method, path, ok=_ANY, quiet=True).status
    except HackspaceError as error:
        if error.status is None:
            raise
        return "unclear", f"HTTP {error.status}"
    if status in (200, 404):
        return "allowed", ""
    return ("refused", "HTTP 403") if status == 403 else ("unclear", f"HTTP {status}")
