# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Looks at one downstream cluster from three sides at once and stops where the ladder ends.

The network, OpenBao and the cluster are asked at the same time, as a side that hangs must not hold up the others; then
come the TokenReview, the login and the read, each only if nothing before it is broken. Nothing is created: tokens live
ten minutes, are held in memory, and that of the login is given back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
import time
import typing as t

from .._core.errors import HackspaceError, check
from .._core.redact import Secret
from . import claims, evidence, jwks
from .doctor_model import (
    Bound,
    Certificate,
    Failure,
    Login,
    Mount,
    Network,
    Read,
    Review,
    Seen,
    Target,
)
from .ladder import first_broken, walk
from .model import Cluster, Settings
from .pubkeys import DISCOVERY_PATH, JWKS_PATH

#: Seconds: the shortest that API servers give.
TOKEN_LIFETIME: t.Final = 600
_METADATA: t.Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_ACCOUNT: t.Final = "kubernetes.io/service-account.name"
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*")
#: Statuses that are findings here and no errors.
_ANY: t.Final = (200, 204, 400, 403, 404, 405, 412, 429, 472, 473, 500, 501, 502, 503, 504)

Part = t.Callable[[], None]


class Api(t.Protocol):
    """The API server by the kubeconfig."""

    def request(
        self,
        method: str,
        path: str,
        *,
        body: object = ...,
        accept: str = ...,
        ok: t.Collection[int] = ...,
        repeat: bool,
    ) -> tuple[int, dict[str, t.Any]]: ...

    def ca_pem(self) -> str: ...


class Way(t.Protocol):
    """The API server as OpenBao reaches it, under the given CA alone."""

    def walk(self, *, other_ca: str = ..., ms: dict[str, int] | None = ...) -> dict[str, t.Any]: ...

    def verifies(self, ca_pem: str) -> bool | None: ...

    def post(self, path: str, body: t.Mapping[str, t.Any], bearer: Secret) -> tuple[int, dict[str, t.Any]]: ...


class Answered(t.Protocol):
    """An answer of OpenBao."""

    @property
    def status(self) -> int: ...

    @property
    def body(self) -> dict[str, t.Any]: ...


class Bao(t.Protocol):
    """A connection to OpenBao."""

    def request(
        self, method: str, path: str, body: t.Mapping[str, t.Any] | None = ..., *, ok: t.Collection[int], token: bool
    ) -> Answered: ...

    def use_token(self, token: Secret) -> None: ...


class Fingerprints(t.Protocol):
    """Fingerprints of a PEM text and of the certificates in it."""

    def __call__(self, pem: str) -> tuple[str, ...]: ...


@dataclasses.dataclass(frozen=True)
class Common:
    """What was read of OpenBao once for all clusters; ``problem`` if it could not be."""

    problem: Failure | None = None
    mounts: t.Mapping[str, Mount] | None = None
    engines: t.Mapping[str, int] | None = None
    ahead: float | None = None


@dataclasses.dataclass(frozen=True)
class Ports:
    """The connections for one cluster.

    :ivar common: returns what holds for all clusters; may wait for another thread that reads it.
    :ivar bao: returns a connection with the doctor's login, once ``common`` has no problem.
    :ivar visitor: returns a connection without a login.
    :ivar rule_of: name of the rule of an error of a client (its hop, or its HTTP status).
    """

    kube: Api
    way: Way
    common: t.Callable[[], Common]
    bao: t.Callable[[], Bao]
    visitor: t.Callable[[], Bao]
    fingerprints: Fingerprints


# -- what one asks for -----------------------------------------------------------------------------------------------

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")

#: Key of a tenant -> what it must look like, the rule, and how to correct it.
_TENANT: t.Final = {
    "namespace": (_LABEL, "namespace-name", "give the name of a namespace as kubectl shows it."),
    "service_account": (_SUBDOMAIN, "service-account-name", "give the name of a ServiceAccount as kubectl shows it."),
    "role": (_PATH, "role-name", "give the name of a role of the auth mount."),
    "secret": (_PATH, "secret-name", "give a path below that of the namespace, without a slash at its ends."),
}


def parse_tenants(
    raw: t.Sequence[t.Mapping[str, t.Any]], clusters: t.Sequence[str]
) -> dict[str, t.Mapping[str, t.Any]]:
    """Return the tenants by the names of their clusters.

    :param clusters: names of the clusters of the call.
    :raises InvalidInput: naming the first thing that is wrong.
    """
    found: dict[str, t.Mapping[str, t.Any]] = {}
    for number, tenant in enumerate(raw):
        item, name = f"tenants[{number}]", str(tenant.get("cluster") or "")
        check(
            name in clusters,
            f"there is no cluster {name!r} in clusters.",
            item=f"{item}.cluster",
            rule="unknown-cluster",
            fix=f"one of {', '.join(clusters)}." if clusters else "name the clusters in clusters.",
        )
        check(
            name not in found,
            f"{name} has a tenant already.",
            item=f"{item}.cluster",
            rule="tenant-twice",
            fix="run once more for the other one.",
        )
        for key, (pattern, rule, fix) in _TENANT.items():
            value = tenant.get(key)
            if value is None and key != "namespace":
                continue
            check(
                isinstance(value, str) and pattern.fullmatch(value),
                f"{value!r} cannot be its {key.replace('_', ' ')}.",
                item=f"{item}.{key}",
                rule=rule,
                fix=fix,
            )
        found[name] = tenant
    return found


def check_seconds(arguments: t.Mapping[str, t.Any]) -> None:
    """Check ``request_timeout`` and ``budget``.

    :raises InvalidInput: rule ``seconds``.
    """
    for name in ("request_timeout", "budget"):
        check(
            0 < float(arguments[name]) <= 600,
            f"{arguments[name]:g} is not a number of seconds above 0 and up to 600.",
            item=name,
            rule="seconds",
            fix="2 for an answer and 4.5 for a cluster suit most networks.",
        )


def target_of(
    cluster: Cluster,
    settings: Settings,
    fingerprints: Fingerprints,
    *,
    login: bool,
    tenant: t.Mapping[str, t.Any] | None = None,
) -> Target:
    """Return what to look at for a cluster that is :func:`.model.completed`.

    :param tenant: ``namespace`` and optionally ``service_account``, ``role``, ``name`` (of a secret); the canary if
        there is none.
    """
    namespace, account, role, name = cluster.namespace, cluster.canary_service_account, "canary", "canary"
    if tenant:
        namespace = str(tenant["namespace"])
        accounts = cluster.access.service_accounts
        role = cluster.access.role
        own = next((one for one in cluster.access.per_tenant if namespace in one.namespaces), None)
        if own is not None:
            accounts, role = own.service_accounts or accounts, own.role
        plain = [one for one in accounts if "*" not in one]
        account = str(tenant.get("service_account") or (plain[0] if plain else "eso"))
        role = str(tenant.get("role") or role)
        name = str(tenant.get("secret") or "doctor")
    return Target(
        name=cluster.name,
        mode=cluster.mode,
        mount=cluster.mount,
        audience=cluster.audience,
        api_server=cluster.api_server,
        ca=fingerprints(cluster.ca_pem),
        namespace=cluster.namespace,
        service_account=cluster.service_account,
        role=role,
        client_namespace=namespace,
        client_account=account,
        tenant=bool(tenant),
        kv_mount=settings.kv_mount,
        path=f"{settings.kv_prefix}/{cluster.name}/{namespace}/{name}",
        login=login,
    )


# -- errors of clients -----------------------------------------------------------------------------------------------


def failure_of(error: HackspaceError) -> Failure:
    """Return an error of a client as a record; its words carry no token."""
    rule = {401: "unauthorized", 403: "forbidden", 404: "missing", 503: "sealed"}.get(error.status or 0, error.rule)
    if error.rule == "login" and error.status != 401:  # the doctor's own login to OpenBao
        rule = "login"
    if rule == "sealed" and "seal" not in f"{error.message} {error.fix}".lower():
        rule = "http-status"
    return Failure(rule or "http-status", clean(error.message).rstrip("."), error.status)


def clean(text: str) -> str:
    """Return a server's words in one line of at most 300 characters, without anything that looks like a token."""
    return _JWT.sub("(hidden)", " ".join(text.split()))[:300]


def _errors(answer: Answered) -> tuple[str, ...]:
    return tuple(clean(str(e)) for e in answer.body.get("errors") or [])


def read_common(bao: Bao, *, now: t.Callable[[], float] = time.time) -> Common:
    """Read what holds for all clusters: clock, auth mounts, KV engines. Never raises."""
    try:
        health = bao.request("GET", "sys/health", ok=_ANY, token=False).body
        server = health.get("server_time_utc")
        ahead = float(server) + 0.5 - now() if isinstance(server, int | float) else None
        if health.get("sealed"):
            return Common(Failure("sealed", "it is sealed"))
        if health.get("initialized") is False:
            return Common(Failure("sealed", "it is not initialised"))
        mounts = bao.request("GET", "sys/auth", ok=(200,), token=True).body
        engines = bao.request("GET", "sys/mounts", ok=(200,), token=True).body
    except HackspaceError as error:
        return Common(failure_of(error))
    return Common(None, _mounts(mounts), _engines(engines), ahead)


def _entries(body: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    source = body.get("data") if isinstance(body.get("data"), dict) else body
    return {str(p).strip("/"): m for p, m in (source or {}).items() if isinstance(m, dict) and "type" in m}


def _mounts(body: t.Mapping[str, t.Any]) -> dict[str, Mount]:
    return {p: Mount(p, str(m["type"]), str(m.get("accessor") or "")) for p, m in _entries(body).items()}


def _engines(body: t.Mapping[str, t.Any]) -> dict[str, int]:
    found = {}
    for path, mount in _entries(body).items():
        version = str((mount.get("options") or {}).get("version") or "1")
        found[path] = 0 if mount["type"] not in ("kv", "generic") else 2 if version == "2" else 1
    return found


# -- the examination -------------------------------------------------------------------------------------------------


class _Tokens:
    """Fresh tokens of this examination, in memory only."""

    client: Secret | None = None
    reviewer: Secret | None = None


class Doctor:
    """Examines one cluster.

    :param budget: seconds for all of it.
    """

    def __init__(
        self, target: Target, cluster: Cluster, settings: Settings, ports: Ports, *, budget: float, renew: bool = True
    ) -> None:
        self._target, self._cluster, self._settings, self._ports = target, cluster, settings, ports
        self._deadline = time.monotonic() + budget
        self._tokens = _Tokens()
        self._seen = Seen(now=time.time())
        self._lock = threading.Lock()

    def examine(self) -> Seen:
        """Return what was seen; never raises because of a server."""
        first: list[Part] = [self._openbao, self._cluster_side]
        if self._target.callback:
            first.append(self._network)
        self._together(first)
        if not self._late() and self._config_ca_is_strange():
            self._guarded(self._config_ca)
        steps: list[Part] = [self._review, self._login_and_read] if self._target.login else []
        for step in steps:
            if self._late() or not self._worth_going_on():
                break
            self._together([step])
        if self._late():
            self._seen.late = True
        return dataclasses.replace(self._seen, ms=dict(self._seen.ms))

    def _late(self) -> bool:
        return time.monotonic() >= self._deadline

    def _worth_going_on(self) -> bool:
        """Nothing is broken for certain; doubts are settled by the login."""
        broken = first_broken(walk(self._target, self._seen))
        return broken is None or broken.doubt

    def _together(self, parts: t.Sequence[Part]) -> None:
        """Run *parts* at once, and wait for them as long as there is time."""
        threads = [threading.Thread(target=self._guarded, args=(part,), daemon=True) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, self._deadline - time.monotonic()))

    @staticmethod
    def _guarded(part: Part) -> None:
        with contextlib.suppress(HackspaceError):  # each part has put its own problem into what was seen
            part()

    @contextlib.contextmanager
    def _timed(self, hop: str) -> t.Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._seen.ms[hop] = self._seen.ms.get(hop, 0) + int((time.monotonic() - started) * 1000)

    # -- the network -------------------------------------------------------------------------------------------------

    def _network(self) -> None:
        went = self._ports.way.walk(other_ca=self._ports.kube.ca_pem(), ms=self._seen.ms)
        shown = went["presented"]
        self._seen.network = Network(
            host=went["host"],
            port=went["port"],
            addresses=tuple(went["addresses"]),
            hop=went["hop"],
            problem=Failure(went["rule"], went["message"]) if went["hop"] else None,
            presented=None
            if shown is None
            else Certificate(shown["subject"], shown["issuer"], tuple(shown["names"]), shown["ends"]),
            kubeconfig_ca_fits=went["other_ca_fits"],
            ahead=went["ahead"],
        )

    # -- OpenBao -----------------------------------------------------------------------------------------------------

    def _openbao(self) -> None:
        seen = self._seen
        with self._timed("openbao"):
            common = self._ports.common()
        seen.openbao, seen.openbao_ahead = common.problem, common.ahead
        seen.mounts, seen.engines = common.mounts, common.engines
        seen.openbao_asked = True
        if common.problem is not None or common.mounts is None:
            return
        kind = "kubernetes" if self._target.callback else "jwt"
        mount = common.mounts.get(self._target.mount)
        if mount is None or mount.kind != kind:
            return
        try:
            self._configured(self._ports.bao())
        except HackspaceError as error:
            seen.openbao = failure_of(error)

    def _configured(self, bao: Bao) -> None:
        seen, target = self._seen, self._target
        base = f"auth/{target.mount}"
        with self._timed("config"):
            config = bao.request("GET", f"{base}/config", ok=(200, 204, 400, 404), token=True)
        inner = config.body.get("data") if config.status == 200 else None
        seen.config = {k: v for k, v in inner.items() if k != "token_reviewer_jwt"} if isinstance(inner, dict) else None
        if seen.config:
            seen.config_ca = self._ports.fingerprints(str(seen.config.get("kubernetes_ca_cert") or ""))
            keys = seen.config.get("jwt_validation_pubkeys") or []
            seen.config_keys = tuple(jwks.pem_fingerprint(str(key)) for key in keys)
        seen.config_asked = True
        with self._timed("role"):
            role = bao.request("GET", f"{base}/role/{target.role}", ok=(200, 404), token=True)
            if role.status == 404:
                listed = bao.request("LIST", f"{base}/role", ok=(200, 404), token=True)
                seen.role_names = tuple(str(k) for k in (listed.body.get("data") or {}).get("keys") or [])
                return
        data = dict(role.body.get("data") or {})
        names = [str(n) for n in [*(data.get("token_policies") or []), *(data.get("policies") or [])]]
        if not data.get("token_no_default_policy"):
            names.append("default")
        texts: dict[str, str | None] = {}
        with self._timed("policy"):
            for name in dict.fromkeys(names):
                found = bao.request("GET", f"sys/policies/acl/{name}", ok=(200, 404), token=True)
                inner = found.body.get("data") or found.body
                texts[name] = str(inner.get("policy") or inner.get("rules") or "") if found.status == 200 else None
        seen.policies = texts
        seen.role = data

    # -- the cluster -------------------------------------------------------------------------------------------------

    def _cluster_side(self) -> None:
        try:
            self._asked()
        except HackspaceError as error:
            if not self._seen.access_asked:
                self._seen.access = failure_of(error)
                self._seen.access_asked = True
            raise

    def _ask(
        self, method: str, path: str, body: object = None, *, ok: t.Collection[int] = (200, 201), accept: str = ""
    ) -> tuple[int, dict[str, t.Any]]:
        return self._ports.kube.request(
            method, path, body=body, ok=ok, accept=accept or "application/json", repeat=False
        )

    def _asked(self) -> None:
        seen, target = self._seen, self._target
        with self._timed("access"):
            status, found = self._ask("GET", DISCOVERY_PATH, ok=(200, 403, 404))
        seen.issuer = str(found.get("issuer") or "") if status == 200 else ""
        if target.has_reviewer:
            with self._timed("token"):
                self._reviewer()
        else:
            seen.access_asked = True
        if target.mode == "jwt_pubkeys":
            with self._timed("config"):
                status, found = self._ask("GET", JWKS_PATH, ok=(200, 403, 404), accept="application/jwk-set+json")
                with contextlib.suppress(HackspaceError):
                    keys = jwks.parse(found) if status == 200 else []
                    seen.jwks = {key.kid: key.fingerprint for key in keys}
        else:
            with self._timed("rbac"):
                self._rights()
        if target.login:
            with self._timed("client"):
                self._mint()

    def _reviewer(self) -> None:
        seen, target = self._seen, self._target
        base = f"/api/v1/namespaces/{target.namespace}"
        status, account = self._ask("GET", f"{base}/serviceaccounts/{target.service_account}", ok=(200, 404))
        seen.access_asked = True
        _status, listed = self._ask("GET", f"{base}/secrets", accept=_METADATA)  # metadata only: never a token
        selector = self._settings.reviewer_label
        bound = []
        for item in listed.get("items") or []:
            metadata = item.get("metadata") or {}
            marked = (metadata.get("labels") or {}).get(selector) == self._cluster.name
            legacy = (metadata.get("annotations") or {}).get(_ACCOUNT) == target.service_account
            if target.mode == "long_lived" and legacy:
                bound.append(Bound(str(metadata.get("name")), long_lived=True))
            elif target.mode == "token_request" and marked:
                bound.append(self._bound(item))
        seen.bound = tuple(bound)
        seen.account_uid = str((account.get("metadata") or {}).get("uid") or "")
        seen.account = status == 200

    def _bound(self, secret: t.Mapping[str, t.Any]) -> Bound:
        found = evidence.bound_secret(secret, self._settings)
        proof = found.evidence
        if proof is None:
            return Bound(found.name, pending=True)
        return Bound(
            found.name,
            expires_at=proof.expires,
            issued_at=proof.issued,
            issuer=proof.issuer,
            ca=proof.ca,
            account_uid=proof.account_uid,
            pending=proof.state != "current",
        )

    def _rights(self) -> None:
        target = self._target
        namespace, _slash, name = target.reviewer.partition("/")
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{namespace}:{name}",
                "groups": [
                    "system:serviceaccounts",
                    f"system:serviceaccounts:{namespace}",
                    "system:authenticated",
                ],
                "resourceAttributes": {
                    "group": "authentication.k8s.io",
                    "resource": "tokenreviews",
                    "verb": "create",
                },
            },
        }
        _status, answer = self._ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        self._seen.rbac = bool((answer.get("status") or {}).get("allowed"))

    def _fresh(self, namespace: str, account: str, audiences: t.Sequence[str]) -> Secret:
        spec: dict[str, t.Any] = {"expirationSeconds": TOKEN_LIFETIME}
        if audiences:
            spec["audiences"] = list(audiences)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        _status, answer = self._ask("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", request)
        return Secret(str((answer.get("status") or {}).get("token") or ""))

    def _mint(self) -> None:
        seen, target, tokens = self._seen, self._target, self._tokens
        try:
            wanted = [target.audience]
            if target.mode == "client_jwt" and seen.issuer:  # the token must be good at the API server, too
                wanted.append(seen.issuer)
            tokens.client = self._fresh(target.client_namespace, target.client_account, wanted)
            seen.client = claims.decode(tokens.client, "token of the client")
        except HackspaceError as error:
            seen.client_problem = failure_of(error)
            return
        if target.mode == "client_jwt":
            tokens.reviewer = tokens.client
        elif target.has_reviewer:
            try:
                tokens.reviewer = self._fresh(target.namespace, target.service_account, [])
            except HackspaceError as error:
                seen.reviewer_problem = failure_of(error)

    # -- together ----------------------------------------------------------------------------------------------------

    def _config_ca_is_strange(self) -> bool:
        seen, network = self._seen, self._seen.network
        return bool(network and not network.hop and seen.config_ca and not set(seen.config_ca) & set(self._target.ca))

    def _config_ca(self) -> None:
        """Try the CA that OpenBao has: another text may hold the same authority, or more of them."""
        with self._timed("config"):
            config = self._seen.config or {}
            self._seen.config_ca_fits = self._ports.way.verifies(str(config.get("kubernetes_ca_cert") or ""))

    def _review(self) -> None:
        seen, target, tokens = self._seen, self._target, self._tokens
        if not target.callback or tokens.client is None or tokens.reviewer is None:
            return
        spec = {"token": tokens.client.reveal(), "audiences": [target.audience]}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        with self._timed("review"):
            try:
                status, answer = self._ports.way.post(
                    "/apis/authentication.k8s.io/v1/tokenreviews", request, tokens.reviewer
                )
            except Exception as error:  # pylint: disable=broad-except
                # whatever a connection can raise; its words could quote the request
                message = str(getattr(error, "message", type(error).__name__))
                seen.review_problem = Failure(str(getattr(error, "rule", "cut")), message)
                return
        said = answer.get("status") or {}
        said = said if isinstance(said, dict) else {}
        seen.review = Review(
            status,
            authenticated=bool(said.get("authenticated")),
            username=str((said.get("user") or {}).get("username") or ""),
            audiences=tuple(str(a) for a in said.get("audiences") or []),
            error=clean(str(said.get("error") or "")),
        )

    def _login_and_read(self) -> None:
        target, token = self._target, self._tokens.client
        if token is None:
            return
        visitor = self._ports.visitor()
        started = time.monotonic()
        try:
            with self._timed("login"):
                answer = visitor.request(
                    "POST",
                    f"auth/{target.mount}/login",
                    {"role": target.role, "jwt": token.reveal()},
                    ok=_ANY,
                    token=False,
                )
        except HackspaceError as error:
            self._seen.login = Login(0, seconds=time.monotonic() - started, problem=failure_of(error))
            return
        auth = answer.body.get("auth") or {}
        self._seen.login = Login(
            answer.status,
            _errors(answer),
            time.monotonic() - started,
            tuple(str(p) for p in auth.get("policies") or []),
            {str(k): str(v) for k, v in (auth.get("metadata") or {}).items()},
        )
        if answer.status != 200 or not auth.get("client_token"):
            return
        visitor.use_token(Secret(str(auth["client_token"])))
        try:
            self._read(visitor)
        finally:
            if str(auth.get("token_type")) != "batch":  # those cannot be given back, and end by themselves
                with contextlib.suppress(HackspaceError):
                    visitor.request("POST", "auth/token/revoke-self", None, ok=_ANY, token=True)

    def _read(self, visitor: Bao) -> None:
        target = self._target
        version = (self._seen.engines or {}).get(target.kv_mount) or 2
        path = f"{target.kv_mount}/data/{target.path}" if version == 2 else f"{target.kv_mount}/{target.path}"
        try:
            with self._timed("read"):
                answer = visitor.request("GET", path, None, ok=_ANY, token=True)
        except HackspaceError as error:
            self._seen.read = Read(path, 0, problem=failure_of(error))
            return
        warnings = tuple(clean(str(w)) for w in answer.body.get("warnings") or [])
        self._seen.read = Read(path, answer.status, _errors(answer), warnings)
