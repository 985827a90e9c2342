# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What the doctor is asked about, and what it saw: plain records between the requests and the diagnosis.

A field of :class:`Seen` is ``None`` as long as nobody looked. Times are seconds since 1970 (UTC) by the clock of the
controller unless said otherwise. No record holds a token.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .claims import Claims

#: Modes in which OpenBao asks the cluster's API server about every token.
CALLBACK: t.Final = ("token_request", "long_lived", "client_jwt")
MODES: t.Final = (*CALLBACK, "jwt_pubkeys")


@dataclasses.dataclass(frozen=True)
class Target:
    """One downstream cluster and who is to log in from it.

    :ivar api_server: ``https://host:port`` as OpenBao reaches it.
    :ivar ca: fingerprints of what was given as its CA: of the text, and of each certificate in it.
    :ivar namespace: where the reviewer lives.
    :ivar service_account: the reviewer.
    :ivar client_namespace: namespace of the ServiceAccount whose login is followed.
    :ivar client_account: name of that ServiceAccount.
    :ivar tenant: it was named by the user; otherwise it is the canary.
    :ivar path: what is read, below the KV mount and without ``data/``.
    :ivar login: tokens may be minted and a login be made.
    """

    name: str
    mode: str = "token_request"
    mount: str = ""
    audience: str = ""
    api_server: str = ""
    ca: tuple[str, ...] = ()
    namespace: str = ""
    service_account: str = ""
    role: str = ""
    client_namespace: str = ""
    client_account: str = ""
    tenant: bool = False
    kv_mount: str = "kv"
    path: str = ""
    login: bool = True

    @property
    def callback(self) -> bool:
        """OpenBao asks the API server about every token."""
        return self.mode in CALLBACK

    @property
    def has_reviewer(self) -> bool:
        """A token of a ServiceAccount of ours is stored in OpenBao."""
        return self.mode in ("token_request", "long_lived")

    @property
    def reviewer(self) -> str:
        """Who asks for TokenReviews."""
        if self.mode == "client_jwt":
            return f"{self.client_namespace}/{self.client_account}"
        return f"{self.namespace}/{self.service_account}"

    @property
    def client(self) -> str:
        """Who logs in."""
        return f"{self.client_namespace}/{self.client_account}"


@dataclasses.dataclass(frozen=True)
class Failure:
    """A request without an answer, or with one that is a refusal.

    :ivar rule: dns, refused, unreachable, timeout, tls, tls-ca, tls-name, tls-expired, cut, unauthorized, forbidden,
        missing, sealed, http-status, kubeconfig.
    :ivar message: a clause for people, without a full stop.
    """

    rule: str
    message: str
    status: int | None = None


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What a server showed, or one certificate of a CA file."""

    subject: str = ""
    issuer: str = ""
    names: tuple[str, ...] = ()
    ends: float | None = None


@dataclasses.dataclass(frozen=True)
class Network:
    """The way from the controller to the API server.

    :ivar hop: where it ended: ``name``, ``tcp``, ``tls``, or ``""`` if it went through.
    :ivar presented: the certificate that the server showed, verified or not.
    :ivar kubeconfig_ca_fits: whether the kubeconfig's own CA verifies it; ``None`` if not tried.
    :ivar ahead: seconds by which the API server's clock is ahead of the controller's.
    """

    host: str = ""
    port: int = 0
    addresses: tuple[str, ...] = ()
    hop: str = ""
    problem: Failure | None = None
    presented: Certificate | None = None
    kubeconfig_ca_fits: bool | None = None
    ahead: float | None = None


@dataclasses.dataclass(frozen=True)
class Bound:
    """A Secret to which a reviewer token is bound, by its metadata.

    :ivar ca: fingerprint of the CA that was written beside the token; empty if it says nothing.
    :ivar account_uid: uid of the ServiceAccount that the token is for.
    :ivar pending: the token was minted, and nobody proved that it is in use.
    """

    name: str
    expires_at: float | None = None
    issued_at: float | None = None
    issuer: str = ""
    ca: str = ""
    account_uid: str = ""
    pending: bool = False
    long_lived: bool = False


@dataclasses.dataclass(frozen=True)
class Review:
    """What the API server answered to a TokenReview of the client's token by the reviewer.

    :ivar status: HTTP status.
    """

    status: int
    authenticated: bool = False
    username: str = ""
    audiences: tuple[str, ...] = ()
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Mount:
    """An auth mount."""

    path: str
    kind: str
    accessor: str = ""


@dataclasses.dataclass(frozen=True)
class Login:
    """What OpenBao answered to the login.

    :ivar status: HTTP status, 0 without an answer.
    :ivar errors: the server's words.
    :ivar metadata: what it knows about the ServiceAccount.
    """

    status: int
    errors: tuple[str, ...] = ()
    seconds: float = 0.0
    policies: tuple[str, ...] = ()
    metadata: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    problem: Failure | None = None


@dataclasses.dataclass(frozen=True)
class Read:
    """What OpenBao answered to the read with the client's own login."""

    path: str
    status: int
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problem: Failure | None = None


@dataclasses.dataclass
class Seen:
    """Everything that was seen of one cluster so far.

    :ivar openbao: why OpenBao cannot be asked; ``openbao_asked`` says that somebody tried.
    :ivar access: why the cluster cannot be asked with the kubeconfig.
    :ivar openbao_ahead: seconds by which OpenBao's clock is ahead of the controller's.
    :ivar issuer: what the API server writes into new tokens as their issuer.
    :ivar account: the reviewer exists; ``account_uid`` is its uid.
    :ivar rbac: the reviewer may create TokenReviews.
    :ivar client_problem: why there is no fresh token of the client.
    :ivar jwks: fingerprints of the API server's signing keys by their name (``kid``).
    :ivar config_keys: fingerprints of the public keys in the mount's configuration.
    :ivar mounts: all auth mounts, by path.
    :ivar config_ca: fingerprints of the CA in the mount's configuration, as those of ``Target.ca``.
    :ivar config_ca_fits: it verifies the API server; ``None`` if it is the given one, or nobody tried.
    :ivar policies: texts by name, ``None`` for one that is not there.
    :ivar engines: KV version by mount; 0 for another kind.
    :ivar late: the time for this cluster is up; what was not looked at took too long.
    :ivar ms: milliseconds spent on each hop.
    """

    now: float = 0.0
    openbao_asked: bool = False
    openbao: Failure | None = None
    openbao_ahead: float | None = None
    network: Network | None = None
    access_asked: bool = False
    access: Failure | None = None
    issuer: str | None = None
    account: bool | None = None
    account_uid: str = ""
    bound: tuple[Bound, ...] | None = None
    rbac: bool | None = None
    client: Claims | None = None
    client_problem: Failure | None = None
    reviewer_problem: Failure | None = None
    jwks: t.Mapping[str, str] | None = None
    config_keys: tuple[str, ...] = ()
    review: Review | None = None
    review_problem: Failure | None = None
    mounts: t.Mapping[str, Mount] | None = None
    config_asked: bool = False
    config: t.Mapping[str, t.Any] | None = None
    config_ca: tuple[str, ...] = ()
    config_ca_fits: bool | None = None
    role_names: tuple[str, ...] | None = None
    role: t.Mapping[str, t.Any] | None = None
    policies: t.Mapping[str, str | None] | None = None
    engines: t.Mapping[str, int] | None = None
    login: Login | None = None
    read: Read | None = None
    late: bool = False
    ms: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def api_now(self) -> float:
        """The present by the API server's clock, which decides about expiry."""
        ahead = self.network.ahead if self.network is not None else None
        return self.now + (ahead or 0.0)

    @property
    def current(self) -> Bound | None:
        """The Secret whose token OpenBao should have: the youngest that is not pending."""
        settled = [b for b in self.bound or () if not b.pending] or list(self.bound or ())
        return max(settled, key=lambda b: b.issued_at or 0.0, default=None)
