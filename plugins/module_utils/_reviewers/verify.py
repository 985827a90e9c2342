# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Proves by real logins that a mount lets in whom it should, and nobody else.

A canary ServiceAccount logs in with a role of its own, which has the audience and the templated OpenBao policy of the
tenants. Then the same with the wrong audience, the wrong ServiceAccount, the wrong namespace and a token of another
cluster: each must be refused. Tokens live ten minutes downstream and one minute in OpenBao.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t
from collections.abc import Mapping

from .._core.errors import HackspaceError
from .._core.redact import Secret
from .._openbao.ports import Upstream
from .model import BATCH, CANARY_ROLE, ELSEWHERE_ROLE, MIN_LIFETIME, Cluster, Settings
from .ports import Downstream

#: Seconds. Nodes that did not handle a write take over a new CA within 30 s (the plugin looks every 30 s).
PATIENCE_CA: t.Final = 35.0
#: Seconds. New RBAC and ServiceAccounts reach all parts of an API server within moments.
PATIENCE: t.Final = 5.0
#: Seconds. The controller manager makes ServiceAccount default of a new namespace, and the token of a Secret; after a
#: restart of the API server it takes up to half a minute to come back.
PATIENCE_CONTROLLERS: t.Final = 60.0
_PAUSE: t.Final = 0.5

_LADDER: t.Final = "jwt_reviewer_info walks all the way and names the first broken hop."


@dataclasses.dataclass(frozen=True)
class Login:
    """What OpenBao answered to a login."""

    status: int
    said: str
    policies: tuple[str, ...] = ()
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    token: Secret | None = None
    token_type: str = ""


def mint(kube: Downstream, cluster: Cluster, service_account: str, audience: str) -> Secret:
    """Return a token of a ServiceAccount in the reviewer's namespace, for *audience*, that lives ten minutes.

    In mode ``client_jwt`` OpenBao uses it at the API server, which must take it, too.

    :raises HackspaceError: rule ``issuer-unknown``, before anything is sent; and for what the server refuses.
    """
    audiences = [audience]
    if cluster.mode == "client_jwt":
        if not cluster.issuer:
            raise HackspaceError(
                "the API server does not tell its issuer, which a token has to be for in mode client_jwt.",
                item=f"{cluster.item}.issuer",
                rule="issuer-unknown",
                fix="give the issuer of the cluster's tokens: --service-account-issuer of kube-apiserver.",
            )
        audiences.append(cluster.issuer)
    status = kube.mint(cluster.namespace, service_account, {"audiences": audiences, "expirationSeconds": MIN_LIFETIME})
    return Secret(str(status.get("token") or ""))


def login(bao: Upstream, mount: str, role: str, token: Secret) -> Login:
    """Log in as a pod would; return what came of it."""
    answer = bao.request(
        "POST",
        f"auth/{mount}/login",
        {"role": role, "jwt": token.reveal()},
        ok=(200, 400, 403, 404, 500),
        token=False,
        quiet=True,
    )
    auth = answer.body.get("auth") or {}
    if answer.status != 200 or not auth.get("client_token"):
        said = "; ".join(str(e).strip() for e in answer.body.get("errors") or [])
        return Login(answer.status, said[:200])
    return Login(
        200,
        "",
        tuple(sorted(str(p) for p in auth.get("token_policies") or [])),
        {str(k): str(v) for k, v in (auth.get("metadata") or {}).items()},
        Secret(str(auth["client_token"])),
        str(auth.get("token_type") or ""),
    )


def end(session: Upstream, found: Login) -> None:
    """Revoke the token of a login, which *session* uses; batch tokens cannot be, and end by themselves."""
    if found.token_type != BATCH:
        session.request("POST", "auth/token/revoke-self", ok=(200, 204, 400, 403))


def probe(bao: Upstream, kube: Downstream, cluster: Cluster) -> bool:
    """Say if the canary can log in."""
    found = login(
        bao, cluster.mount, CANARY_ROLE, mint(kube, cluster, cluster.canary_service_account, cluster.audience)
    )
    if found.token is None:
        return False
    if found.token_type != BATCH:
        _as(bao, found, lambda session: None)
    return True


def _as(bao: Upstream, found: Login, work: t.Callable[[Upstream], None]) -> None:
    """Do *work* with the token of a login, and end it."""
    session = bao.clone()
    try:
        if found.token is not None:
            session.use_token(found.token)
        try:
            work(session)
        finally:
            end(session, found)
    finally:
        bao.requests += session.requests
        session.close()


class Verifier:
    """Proves one cluster.

    :ivar warnings: what does not hinder a login, and hinders what tenants want by it.

    :param other: another cluster and its connection, whose token must be refused; ``None`` if there is none.
    :param stranger: a ServiceAccount of the reviewer's namespace that the canary's role does not name.
    :param patience: seconds for which the first login is tried again.
    """

    def __init__(
        self,
        bao: Upstream,
        kube: Downstream,
        cluster: Cluster,
        settings: Settings,
        *,
        other: tuple[Cluster, Downstream] | None = None,
        stranger: str,
        patience: float = PATIENCE,
    ) -> None:
        self._bao = bao
        self._kube = kube
        self._cluster = cluster
        self._settings = settings
        self._other = other
        self._stranger = stranger
        self._patience = patience
        self.warnings: list[str] = []

    def _fail(self, rule: str, message: str, fix: str, status: int | None = None) -> HackspaceError:
        return HackspaceError(message, item=self._cluster.item, rule=rule, fix=fix, status=status)

    def verify(self) -> list[str]:
        """Return what has been proved.

        :raises HackspaceError: rule ``verify-<hop>`` for the first thing that is not as it must be.
        """
        cluster = self._cluster
        token = mint(self._kube, cluster, cluster.canary_service_account, cluster.audience)
        proved = self._positive(token)
        proved.append(self._refused(ELSEWHERE_ROLE, token, "namespace"))
        audience = f"{cluster.audience}-other"
        wrong = mint(self._kube, cluster, cluster.canary_service_account, audience)
        proved.append(self._refused(CANARY_ROLE, wrong, "audience"))
        proved.append(self._refused(CANARY_ROLE, self._of_stranger(), "service_account"))
        if self._other is not None:
            foreign = self._foreign(*self._other)
            if foreign is not None:
                proved.append(self._refused(CANARY_ROLE, foreign, "cluster"))
        return proved

    def _positive(self, token: Secret) -> list[str]:
        cluster = self._cluster
        end_of_patience = time.monotonic() + self._patience
        while True:
            found = login(self._bao, cluster.mount, CANARY_ROLE, token)
            if found.token is not None or time.monotonic() >= end_of_patience:
                break
            time.sleep(_PAUSE)
        if found.token is None:
            raise self._fail(
                "verify-login",
                f"the canary's login at auth/{cluster.mount} was refused"
                f" (HTTP {found.status}: {found.said or 'no reason'}).",
                _LADDER,
                found.status,
            )
        proved = ["login"]
        _as(self._bao, found, lambda session: proved.extend(self._reads(session, found)))
        return proved

    def _reads(self, session: Upstream, found: Login) -> list[str]:
        cluster, settings = self._cluster, self._settings
        if found.policies != (cluster.policy,):
            raise self._fail(
                "verify-policies",
                f"the canary's token has the OpenBao policies {', '.join(found.policies) or 'none'},"
                f" not {cluster.policy} alone.",
                "run again; if it stays, somebody else writes the role.",
            )
        namespace = found.metadata.get("service_account_namespace")
        if namespace != cluster.namespace:
            raise self._fail(
                "verify-metadata",
                f"the login says that the canary's namespace is {namespace or 'nothing'}, not {cluster.namespace}.",
                "without it the OpenBao policy allows nothing; look at the configuration of the mount.",
            )
        own = settings.data_path(cluster, cluster.namespace, "canary")
        answer = session.request("GET", own, ok=(200, 403, 404))
        status = answer.status
        if status == 404 and "no handler" in str(answer.body.get("errors")):
            self.warnings.append(
                f"{cluster.name}: there is no engine at {settings.kv_mount}/, so tenants have nothing to read yet."
            )
        if status == 403:
            raise self._fail(
                "verify-read",
                f"the canary may not read {own} (HTTP 403).",
                f"check that {settings.kv_mount}/ is a key/value engine of version 2 and that the OpenBao policy"
                f" {cluster.policy} names the accessor of the mount.",
                status,
            )
        strange = settings.data_path(cluster, cluster.elsewhere, "canary")
        status = session.request("GET", strange, ok=(200, 403, 404)).status
        if status != 403:
            raise self._fail(
                "verify-isolation",
                f"the canary may read {strange}, which is another namespace's (HTTP {status}).",
                "look at the OpenBao policies of its entity and its groups.",
                status,
            )
        status = session.request("GET", "auth/token/lookup-self", ok=(200, 403)).status
        if status != 200:
            raise self._fail(
                "verify-self",
                "the canary may not look itself up (HTTP 403); clients such as the External Secrets Operator do.",
                f"run again; if it stays, somebody else writes the OpenBao policy {cluster.policy}.",
                status,
            )
        return ["policies", "metadata", "read", "other-namespace-unreadable", "lookup-self"]

    def _of_stranger(self) -> Secret:
        """Return a token of the stranger; the ServiceAccount default of a new namespace may take a moment."""
        end_of_patience = time.monotonic() + PATIENCE_CONTROLLERS
        while True:
            try:
                return mint(self._kube, self._cluster, self._stranger, self._cluster.audience)
            except HackspaceError as error:
                if error.status != 404 or time.monotonic() >= end_of_patience:
                    raise
            time.sleep(_PAUSE)

    def _foreign(self, other: Cluster, kube: Downstream) -> Secret | None:
        """Return a token of another cluster with the right audience; ``None`` if that cluster gives none now."""
        try:
            return mint(kube, other, other.canary_service_account, self._cluster.audience)
        except HackspaceError:
            return None

    def _refused(self, role: str, token: Secret, what: str) -> str:
        found = login(self._bao, self._cluster.mount, role, token)
        if found.token is not None:
            _as(self._bao, found, lambda session: None)
            raise self._fail(
                f"verify-negative-{what.replace('_', '-')}",
                f"a login with the wrong {what.replace('_', ' ')} at auth/{self._cluster.mount} worked.",
                "look at the roles and the configuration of the mount; until then anybody may get in.",
            )
        if found.status not in (400, 403):
            raise self._fail(
                "verify-status",
                f"a login with the wrong {what.replace('_', ' ')} ended with HTTP {found.status}, not with a refusal.",
                "see the server's log.",
                found.status,
            )
        return f"wrong-{what.replace('_', '-')}-refused"
