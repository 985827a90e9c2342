# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The ladder: hops between a ServiceAccount and its secret, in their order, each judged from what was seen.

The first broken hop is named with a reason and a fix, one sentence each; what comes after it is not reached. A hop that
looks wrong but does not have to be (a doubt) is broken only if the login and the read at the end do not work.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import typing as t

from .claims import rfc3339
from .doctor_model import Certificate, Seen, Target
from .doctor_policy import Wanted, may_read

Status = t.Literal["ok", "broken", "skipped", "not reached"]

#: Seconds between the clocks of OpenBao and the API server from which tokens are refused: both allow one minute
#: (Kubernetes: go-jose's DefaultLeeway; OpenBao: clock_skew_leeway of auth/jwt).
SKEW: t.Final = 60.0

#: Every hop in its order, and what it says when it holds.
HOPS: t.Final[t.Mapping[str, str]] = {
    "openbao": "OpenBao answers, is unsealed, and lets the doctor in",
    "name": "the name of the API server resolves",
    "tcp": "the API server accepts connections",
    "tls": "its certificate is valid for its address under the given CA alone",
    "access": "the kubeconfig works, so that the doctor can look at the cluster",
    "clock": "the clocks of OpenBao and of the API server agree",
    "token": "the reviewer, its Secret and its token are there and have not ended",
    "rbac": "the reviewer may create TokenReviews",
    "client": "the ServiceAccount that logs in exists, and gets a token for OpenBao",
    "review": "the API server recognises that token when the reviewer asks",
    "mount": "the auth mount exists and has the right type",
    "config": "its configuration is complete and fits the cluster",
    "role": "the role is bound to this ServiceAccount, namespace and audience",
    "policy": "an OpenBao policy of the role allows the path",
    "login": "a login works",
    "read": "the secret's path can be read with it",
}

_NO_CALLBACK: t.Final = frozenset({"name", "tcp", "tls", "token", "rbac", "review"})


def hops(mode: str) -> list[str]:
    """Return the hops that a mode has: without callback there is no way back to the API server."""
    if mode == "jwt_pubkeys":
        return [hop for hop in HOPS if hop not in _NO_CALLBACK]
    return list(HOPS)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is known about a hop.

    :ivar doubt: broken, unless the login and the read work.
    """

    status: Status
    detail: str = ""
    cause: str = ""
    fix: str = ""
    doubt: bool = False


@dataclasses.dataclass(frozen=True)
class Hop:
    """A line of the report."""

    hop: str
    status: Status
    detail: str
    ms: int
    cause: str = ""
    fix: str = ""
    doubt: bool = False

    def report(self) -> dict[str, t.Any]:
        """Return it as data."""
        return {"hop": self.hop, "status": self.status, "detail": self.detail, "ms": self.ms}


def _ok(detail: str = "") -> Verdict:
    return Verdict("ok", detail)


def _broken(cause: str, detail: str, fix: str, *, doubt: bool = False) -> Verdict:
    return Verdict("broken", detail, cause, fix, doubt)


_PENDING: t.Final = Verdict("not reached")
#: What repairs most of it.
_WRITE: t.Final = "run playbooks/reviewers.yml"


def walk(target: Target, seen: Seen) -> list[Hop]:
    """Return all hops of the target's mode, judged by what was seen so far."""
    result: list[Hop] = []
    over = False
    doubts = _works(seen)
    for hop in hops(target.mode):
        verdict = Verdict("not reached") if over else _JUDGES[hop](target, seen)
        if verdict.status == "not reached" and not over and seen.late:
            verdict = _broken(
                f"{hop}-late",
                "the servers answer, but so slowly that the time for this cluster is up.",
                "look at the load of the API server and of OpenBao, or allow more time with budget.",
            )
        if verdict.doubt and doubts:
            verdict = Verdict(
                "ok", f"{verdict.detail} A login and a read work all the same.", verdict.cause, doubt=True
            )
        result.append(
            Hop(hop, verdict.status, verdict.detail, seen.ms.get(hop, 0), verdict.cause, verdict.fix, verdict.doubt)
        )
        over = over or verdict.status in ("broken", "not reached")
    return result


def first_broken(walked: t.Sequence[Hop]) -> Hop | None:
    """Return the broken hop, if there is one."""
    return next((hop for hop in walked if hop.status == "broken"), None)


def _works(seen: Seen) -> bool:
    return seen.read is not None and seen.read.problem is None and _read_cause(seen) == ""


# -- on the way to the API server ------------------------------------------------------------------------------------


def _openbao(target: Target, seen: Seen) -> Verdict:
    if not seen.openbao_asked:
        return _PENDING
    if seen.openbao is None:
        return _ok()
    fixes = {
        "dns": "use the address of the active node and tls_server_name.",
        "forbidden": "give the doctor's login an OpenBao policy as in docs/doctor.md.",
        "login": "correct the login, or get a new one.",
        "refused": "start OpenBao, or correct its address.",
        "sealed": "run playbooks/unseal.yml.",
        "timeout": "check that OpenBao runs and that a firewall lets the controller through.",
        "tls-ca": "give the CA of OpenBao's listeners as openbao.ca_cert.",
        "tls-name": "set openbao.tls_server_name to a name in its certificate.",
    }
    rule = seen.openbao.rule
    return _broken(f"openbao-{rule}", f"OpenBao: {seen.openbao.message}.", fixes.get(rule, "see OpenBao's log."))


def _name(target: Target, seen: Seen) -> Verdict:
    net = seen.network
    if net is None:
        return _PENDING
    if net.hop != "name":
        return _ok(", ".join(net.addresses))
    return _broken(
        "name",
        f"the name {net.host} does not resolve on the controller.",
        "repair DNS, or use an address that the API server's certificate names as api_server.",
    )


def _tcp(target: Target, seen: Seen) -> Verdict:
    net = seen.network
    if net is None:
        return _PENDING
    if net.hop != "tcp" or net.problem is None:
        return _ok(f"port {net.port}")
    where = f"{net.host}:{net.port}"
    if net.problem.rule == "refused":
        return _broken(
            "tcp-refused",
            f"{where} refuses connections.",
            "start the API server, or correct api_server.",
        )
    if net.problem.rule == "timeout":
        return _broken(
            "tcp-timeout",
            f"{where} does not answer at all.",
            "check the machine, its route and the firewalls between; api_server must be reachable from OpenBao too.",
        )
    return _broken(
        "tcp-unreachable",
        f"{where} cannot be reached ({net.problem.message}).",
        "check the route to it, or correct api_server.",
    )


def _shown(certificate: Certificate | None) -> str:
    if certificate is None:
        return "what it shows cannot be read"
    names = ", ".join(certificate.names) or "no name"
    return f"it shows one by {certificate.issuer or 'an unnamed issuer'} for {names}"


def _tls(target: Target, seen: Seen) -> Verdict:
    net = seen.network
    if net is None:
        return _PENDING
    if net.hop != "tls" or net.problem is None:
        ends = net.presented.ends if net.presented else None
        return _ok(f"certificate ends {rfc3339(ends)}" if ends else "")
    where = f"{net.host}:{net.port}"
    rule = net.problem.rule
    if rule == "timeout":
        return _broken(
            "tls-silent",
            f"{where} accepts connections and then says nothing.",
            "look at the API server's own log, or at what forwards this port: it hangs or waits for another protocol.",
        )
    if rule == "tls-name":
        return _broken(
            "tls-name",
            f"the certificate is not valid for {net.host}; {_shown(net.presented)}.",
            "set api_server to an address that the certificate names, or add this one to it.",
        )
    if rule == "tls-expired":
        return _broken(
            "tls-expired",
            f"the certificate of {where} is not valid now; {_shown(net.presented)}.",
            "renew the API server's certificate, or set the clock of whoever is wrong.",
        )
    if rule == "tls-ca":
        was_good = bool(set(target.ca) & set(seen.config_ca)) or _evidence_names(target.ca, seen)
        if was_good:
            return _broken(
                "tls-ca-rotated",
                f"the given CA is the one that OpenBao was set up with, and did not sign the present certificate of "
                f"{where}: the cluster's CA was rotated; {_shown(net.presented)}.",
                f"put the cluster's new CA into ca_cert (or ca_file) and its kubeconfig, then {_WRITE}.",
            )
        extra = " The kubeconfig's CA fits." if net.kubeconfig_ca_fits else ""
        return _broken(
            "tls-ca",
            f"the given CA did not sign the certificate of {where}; {_shown(net.presented)}.{extra}",
            "give the CA of this very cluster as ca_cert (or ca_file): the ConfigMap kube-root-ca.crt has it.",
        )
    if rule == "cut":
        return _broken(
            "tls-cut",
            f"{where} cuts the connection during the TLS handshake.",
            "check that api_server is the API server's own port, and the log of what stands before it.",
        )
    return _broken(
        "tls",
        f"the TLS handshake with {where} fails ({net.problem.message}).",
        "check that api_server is the API server's https port.",
    )


def _evidence_names(ca: t.Sequence[str], seen: Seen) -> bool:
    return any(bound.ca in ca for bound in seen.bound or () if bound.ca)


# -- in the cluster --------------------------------------------------------------------------------------------------


def _access(target: Target, seen: Seen) -> Verdict:
    if not seen.access_asked:
        return _PENDING
    if seen.access is None:
        return _ok()
    rule = seen.access.rule
    fixes = {
        "unauthorized": "get a new kubeconfig for this cluster.",
        "forbidden": "use a kubeconfig with the rights listed in docs/doctor.md.",
        "tls-ca": "take the kubeconfig's certificate-authority-data from this very cluster, after a rotation anew.",
        "tls-name": "correct the server of the kubeconfig.",
        "kubeconfig": "correct kubeconfig and context of this cluster.",
        "timeout": "check that the API server answers at the kubeconfig's address, and how loaded it is.",
    }
    fix = fixes.get(rule, "start the API server, or correct the server of the kubeconfig.")
    return _broken(f"access-{rule}", f"the kubeconfig: {seen.access.message}.", fix)


def skew(target: Target, seen: Seen) -> float | None:
    """Return by how many seconds the API server's clock is ahead of OpenBao's, ``None`` if nobody knows."""
    if seen.openbao_ahead is None:
        return None
    if seen.client is not None and seen.client.issued_at is not None:
        return seen.client.issued_at - seen.now - seen.openbao_ahead
    if seen.network is not None and seen.network.ahead is not None:
        return seen.network.ahead - seen.openbao_ahead
    return None


def _clock(target: Target, seen: Seen) -> Verdict:
    by_answer = None
    if seen.network is not None and seen.network.ahead is not None and seen.openbao_ahead is not None:
        by_answer = seen.network.ahead - seen.openbao_ahead
    known = [s for s in (by_answer, skew(target, seen)) if s is not None]
    if not known:
        return _ok("not compared") if seen.access_asked else _PENDING
    worst = max(known, key=abs)
    if abs(worst) <= SKEW:
        return _ok(f"{abs(worst):.0f} s apart")
    side = "ahead of" if worst > 0 else "behind"
    return _broken(
        "clock",
        f"the API server's clock is {abs(worst):.0f} s {side} OpenBao's, so tokens seem not yet valid or ended.",
        "set the clocks of both by NTP; every control plane node counts.",
        doubt=True,
    )


def _token(target: Target, seen: Seen) -> Verdict:
    if target.mode == "client_jwt":
        return Verdict("skipped", "the mode client_jwt stores no reviewer token")
    if seen.account is None:
        return _PENDING
    if seen.current is None and seen.mounts is not None and target.mount not in seen.mounts:
        return _broken(
            "token-never",
            f"this cluster was never wired: there is neither a reviewer's token nor an auth mount {target.mount}.",
            f"{_WRITE}, or correct name, mount and namespace of the reviewer.",
        )
    if not seen.account:
        return _broken(
            "token-account",
            f"the reviewer, ServiceAccount {target.reviewer}, does not exist.",
            f"{_WRITE}, which makes it.",
        )
    current = seen.current
    if current is None:
        what = "its Secret of type service-account-token" if target.mode == "long_lived" else "no Secret of it"
        return _broken(
            "token-revoked",
            f"the reviewer's token is revoked: {what} is "
            + ("missing" if target.mode == "long_lived" else f"left in namespace {target.namespace}")
            + ".",
            f"{_WRITE}, which mints and stores a new one.",
        )
    if target.mode == "long_lived" or current.long_lived:
        return _ok(f"Secret {current.name}, without an end")
    if current.expires_at is None:
        return _ok(f"Secret {current.name} says nothing about its end")
    if current.expires_at <= seen.api_now:
        return _broken(
            "token-expired",
            f"the reviewer's token ended at {rfc3339(current.expires_at)} (Secret {current.name}).",
            f"{_WRITE}, and run it on a schedule: it renews the token in time.",
        )
    if current.issuer and seen.issuer and current.issuer != seen.issuer:
        return _broken(
            "token-issuer",
            f"the API server now issues tokens as {seen.issuer} and refuses the reviewer's, which says "
            f"{current.issuer}.",
            f"{_WRITE}, which mints a token of the new issuer.",
        )
    if current.account_uid and seen.account_uid and current.account_uid != seen.account_uid:
        return _broken(
            "token-account-recreated",
            f"the reviewer {target.reviewer} was deleted and made again, so its token is no longer valid.",
            f"{_WRITE}, which mints a token of the new one.",
        )
    return _ok(f"Secret {current.name}, ends {rfc3339(current.expires_at)}")


def _rbac(target: Target, seen: Seen) -> Verdict:
    if seen.rbac is None:
        return _PENDING
    if seen.rbac:
        return _ok()
    if target.mode == "client_jwt":
        fix = f"bind {target.reviewer} to system:auth-delegator, or move to the mode token_request."
    else:
        fix = f"{_WRITE}, which binds the ClusterRole again, and see who removed it."
    return _broken("rbac", f"ServiceAccount {target.reviewer} may not create TokenReviews.", fix)


def _client(target: Target, seen: Seen) -> Verdict:
    if not target.login:
        return Verdict("skipped", "no token was minted (login: false)")
    if seen.client is not None:
        return _ok(f"{target.client}, audience {', '.join(seen.client.audiences)}")
    problem = seen.client_problem
    if problem is None:
        return _PENDING
    if problem.rule == "missing":
        fix = "correct namespace and service_account, or create it." if target.tenant else f"{_WRITE}, which makes it."
        return _broken("client-missing", f"ServiceAccount {target.client} does not exist.", fix)
    if problem.rule == "forbidden":
        return _broken(
            "client-forbidden",
            "the kubeconfig may not create tokens for ServiceAccounts.",
            "allow create on serviceaccounts/token, or use login: false.",
        )
    return _broken("client", f"no token for {target.client}: {problem.message}.", "see the API server's log.")


def _review(target: Target, seen: Seen) -> Verdict:
    if not target.login:
        return Verdict("skipped", "no token was minted (login: false)")
    review = seen.review
    if review is None:
        problem = seen.review_problem or seen.reviewer_problem
        if problem is None:
            return _PENDING
        return _broken("review", f"the TokenReview got no answer: {problem.message}.", "see the API server's log.")
    if review.status == 401:
        if target.mode == "client_jwt":
            return _broken(
                "review-client-audience",
                "the API server refuses the client's own token as a login (HTTP 401).",
                "move to the mode token_request, which keeps the audience apart from the API server's.",
            )
        return _broken(
            "review-unauthorized",
            "the API server refuses a reviewer token that it has just issued (HTTP 401).",
            "compare issuer, signing keys and clocks of all control plane nodes: one refuses what another issues.",
        )
    if review.status == 403:
        return _broken(
            "review-forbidden",
            f"ServiceAccount {target.reviewer} is forbidden to create TokenReviews (HTTP 403).",
            f"{_WRITE}, which binds the ClusterRole again.",
        )
    if review.status not in (200, 201):
        return _broken("review-status", f"the TokenReview ends with HTTP {review.status}.", "see the API server's log.")
    if not review.authenticated:
        why = review.error or "no reason given"
        return _broken(
            "review-refused",
            f"the API server does not recognise a token that it has just issued: {why}.",
            "compare issuer, signing keys and clocks of all control plane nodes.",
        )
    if review.audiences and target.audience not in review.audiences:
        return _broken(
            "review-audience",
            f"the API server ignores audiences: asked for {target.audience}, it says {', '.join(review.audiences)}.",
            "look for an authentication webhook that knows no audiences.",
        )
    return _ok(review.username)


# -- in OpenBao ------------------------------------------------------------------------------------------------------


def _mount(target: Target, seen: Seen) -> Verdict:
    if seen.mounts is None:
        return _PENDING
    kind = "kubernetes" if target.callback else "jwt"
    mount = seen.mounts.get(target.mount)
    if mount is None:
        others = sorted(m.path for m in seen.mounts.values() if m.kind == kind)
        there = f"; of type {kind} there are {', '.join(others)}" if others else f"; there is none of type {kind}"
        return _broken(
            "mount-missing",
            f"OpenBao has no auth mount {target.mount}{there}.",
            f"correct the mount of this cluster, or {_WRITE}, which makes it.",
        )
    if mount.kind != kind:
        return _broken(
            "mount-type",
            f"auth mount {target.mount} is of type {mount.kind}, and the mode {target.mode} needs {kind}.",
            f"correct the mode of this cluster, or {_WRITE}, which moves it.",
        )
    return _ok(f"type {mount.kind}, accessor {mount.accessor}")


def _same_address(one: str, other: str) -> bool:
    return one.rstrip("/").lower().removesuffix(":443") == other.rstrip("/").lower().removesuffix(":443")


def _flag(config: t.Mapping[str, t.Any], key: str) -> bool:
    return config.get(key) is True


def _config(target: Target, seen: Seen) -> Verdict:
    if not seen.config_asked:
        return _PENDING
    config = seen.config
    if not config:
        return _broken(
            "config-missing", f"auth mount {target.mount} has no configuration.", f"{_WRITE}, which writes it."
        )
    return _config_callback(target, seen, config) if target.callback else _config_keys(target, seen, config)


def _config_callback(target: Target, seen: Seen, config: t.Mapping[str, t.Any]) -> Verdict:
    host = str(config.get("kubernetes_host") or "")
    no_ca = not str(config.get("kubernetes_ca_cert") or "").strip()
    stored = config.get("token_reviewer_jwt_set")  # OpenBao says it, HashiCorp Vault does not
    if not _flag(config, "disable_local_ca_jwt") and not (stored and not no_ca):
        # no login is tried: it could make OpenBao send its own token
        return _broken(
            "config-wiped",
            f"the configuration of {target.mount} was overwritten by hand, and a write erases what it leaves out: the "
            "reviewer token and disable_local_ca_jwt are gone, and OpenBao may send its own pod token to this cluster.",
            f"{_WRITE}, and never write auth/{target.mount}/config in part.",
        )
    if not _same_address(host, target.api_server):
        return _broken(
            "config-host",
            f"OpenBao asks {host or 'nobody'} instead of {target.api_server}.",
            f"correct api_server, or {_WRITE}.",
        )
    if not _flag(config, "disable_local_ca_jwt"):
        return _broken(
            "config-local-token",
            f"disable_local_ca_jwt is off on {target.mount}: OpenBao may send its own pod token to this cluster.",
            _WRITE + ".",
        )
    if target.has_reviewer and stored is False:
        return _broken(
            "config-token-missing",
            f"no reviewer token is stored at {target.mount}: a write without it has erased it.",
            f"{_WRITE}, and never write auth/{target.mount}/config in part.",
        )
    foreign = bool(seen.config_ca and target.ca) and not set(seen.config_ca) & set(target.ca)
    if seen.config_ca_fits is False or no_ca or (foreign and seen.config_ca_fits is None):
        if _evidence_names(seen.config_ca, seen):
            return _broken(
                "config-ca-rotated",
                "the cluster's CA was rotated: OpenBao still has the one of the last set-up.",
                f"{_WRITE}, which writes the new CA.",
            )
        return _broken("config-ca", "OpenBao has a CA that did not sign the API server's certificate.", f"{_WRITE}.")
    if config.get("disable_iss_validation") is False:
        wanted = str(config.get("issuer") or "kubernetes/serviceaccount")
        if seen.issuer and wanted != seen.issuer:
            return _broken(
                "config-issuer",
                f"{target.mount} checks the issuer and wants {wanted}, but tokens of this cluster say {seen.issuer}.",
                f"{_WRITE}, which sets disable_iss_validation: the API server checks the issuer itself.",
            )
    return _ok("token stored" if config.get("token_reviewer_jwt_set") else "")


def _config_keys(target: Target, seen: Seen, config: t.Mapping[str, t.Any]) -> Verdict:
    if not config.get("jwt_validation_pubkeys"):
        return _broken(
            "config-wiped", f"auth mount {target.mount} has no public keys to check tokens with.", f"{_WRITE}."
        )
    if seen.jwks is not None and seen.jwks:
        held = set(seen.config_keys)
        signing = seen.jwks.get(seen.client.key_id) if seen.client else None
        if not held & set(seen.jwks.values()) or (signing is not None and signing not in held):
            return _broken(
                "config-keys",
                f"the API server signs with a key that OpenBao does not have ({len(held)} known): they were rotated.",
                f"{_WRITE}, which reads them anew and keeps the old ones while they are served.",
            )
    bound = str(config.get("bound_issuer") or "")
    if bound and seen.issuer and bound != seen.issuer:
        return _broken(
            "config-issuer",
            f"OpenBao wants tokens of the issuer {bound}, but this cluster issues them as {seen.issuer}.",
            f"{_WRITE}, which writes the new issuer.",
        )
    missing = len(set((seen.jwks or {}).values()) - set(seen.config_keys))
    return _ok(f"{len(seen.config_keys)} keys" + (f"; {missing} more will be needed: {_WRITE}" if missing else ""))


def _matches(value: str, allowed: t.Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(value, pattern) for pattern in allowed)


def _texts(value: t.Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    return [str(v) for v in value or []]


def _role(target: Target, seen: Seen) -> Verdict:
    if seen.role is None and seen.role_names is None:
        return _PENDING
    if not seen.role:
        there = f"; there are {', '.join(seen.role_names[:10])}" if seen.role_names else "; there is none"
        return _broken(
            "role-missing",
            f"auth mount {target.mount} has no role {target.role}{there}.",
            f"correct the role, or {_WRITE}, which makes it.",
        )
    return _role_callback(target, seen.role) if target.callback else _role_claims(target, seen.role)


def _bound(target: Target, accounts: t.Sequence[str], namespaces: t.Sequence[str] | None) -> Verdict | None:
    if not _matches(target.client_account, accounts):
        return _broken(
            "role-service-account",
            f"role {target.role} accepts the ServiceAccounts {', '.join(accounts) or 'none'}, "
            f"not {target.client_account}.",
            f"use one of them, or add this one to access.service_accounts and {_WRITE}.",
        )
    if namespaces is not None and not _matches(target.client_namespace, namespaces):
        return _broken(
            "role-namespace",
            f"role {target.role} accepts the namespaces {', '.join(namespaces) or 'none'}, "
            f"not {target.client_namespace}.",
            f"use one of them, or add this one to access.namespaces and {_WRITE}.",
        )
    return None


def _audience(target: Target, audiences: t.Sequence[str]) -> Verdict | None:
    if not audiences:
        return _broken(
            "role-no-audience",
            f"role {target.role} has no audience: it accepts tokens that were made for somebody else.",
            f"{_WRITE}, which sets the audience {target.audience}.",
        )
    if target.audience not in audiences:
        return _broken(
            "role-audience",
            f"role {target.role} wants the audience {', '.join(audiences)}, and clients of this cluster ask for "
            f"{target.audience}.",
            f"make both the same: correct the audience, or {_WRITE}.",
        )
    return None


def _role_callback(target: Target, role: t.Mapping[str, t.Any]) -> Verdict:
    if target.mode != "client_jwt":  # there the token must be one for the API server
        wrong = _audience(target, _texts(role.get("audience")))
        if wrong:
            return wrong
    # with a selector the namespace's labels decide, and the login will tell
    selector = bool(role.get("bound_service_account_namespace_selector"))
    namespaces = _texts(role.get("bound_service_account_namespaces"))
    wrong = _bound(target, _texts(role.get("bound_service_account_names")), None if selector else namespaces)
    return wrong or _ok("namespaces by selector" if selector else "")


def _role_claims(target: Target, role: t.Mapping[str, t.Any]) -> Verdict:
    wrong = _audience(target, _texts(role.get("bound_audiences")))
    if wrong:
        return wrong
    claims = role.get("bound_claims") or {}
    subject = str(role.get("bound_subject") or "")
    wanted_subject = f"system:serviceaccount:{target.client_namespace}:{target.client_account}"
    if subject:
        if subject != wanted_subject:
            return _broken(
                "role-service-account",
                f"role {target.role} accepts {subject} only, not {wanted_subject}.",
                f"use that one, or {_WRITE}.",
            )
    else:
        accounts = _texts(claims.get("/kubernetes.io/serviceaccount/name"))
        namespaces = _texts(claims.get("/kubernetes.io/namespace"))
        subjects = _texts(claims.get("sub"))
        if subjects and not _matches(wanted_subject, subjects):
            return _broken(
                "role-service-account",
                f"role {target.role} accepts {', '.join(subjects)}, not {wanted_subject}.",
                f"use one of them, or {_WRITE}.",
            )
        wrong = _bound(target, accounts or ["*"], namespaces or ["*"])
        if wrong:
            return wrong
    mappings = role.get("claim_mappings") or {}
    if "service_account_namespace" not in mappings.values():
        return _broken(
            "role-claims",
            f"role {target.role} does not map the claim /kubernetes.io/namespace to service_account_namespace, so "
            "templated policies give nothing.",
            f"{_WRITE}, which writes the mapping.",
            doubt=True,
        )
    return _ok()


def _policy(target: Target, seen: Seen) -> Verdict:
    if seen.policies is None or seen.engines is None or seen.mounts is None:
        return _PENDING
    version = seen.engines.get(target.kv_mount)
    if not version:
        there = sorted(m for m, v in seen.engines.items() if v)
        what = f"the KV mounts are {', '.join(there)}" if there else "there is no KV mount"
        return _broken(
            "policy-no-engine",
            f"OpenBao has no KV engine at {target.kv_mount}; {what}.",
            "correct kv_mount, or mount it with the role openbao_config.",
        )
    texts = {name: text for name, text in seen.policies.items() if text is not None}
    mount = seen.mounts.get(target.mount)
    wanted = Wanted(
        mount=target.kv_mount,
        version=version,
        path=target.path,
        accessor=mount.accessor if mount else "",
        metadata={
            "service_account_namespace": target.client_namespace,
            "service_account_name": target.client_account,
            **(dict(seen.login.metadata) if seen.login else {}),
        },
    )
    answer = may_read(texts, wanted)
    full = wanted.full()
    if not answer.cause:
        return _ok(f"{answer.policy} allows {full}")
    missing = sorted(name for name, text in seen.policies.items() if text is None)
    if missing:
        return _broken(
            "policy-missing",
            f"role {target.role} refers to the OpenBao policy {', '.join(missing)}, which does not exist.",
            f"{_WRITE}, which writes it.",
            doubt=True,
        )
    by = f"OpenBao policy {answer.policy}"
    if answer.cause == "policy-denied":
        return _broken(answer.cause, f"{by} denies {full} by its path {answer.path}.", "remove the deny.", doubt=True)
    if answer.cause == "policy-accessor":
        return _broken(
            answer.cause,
            f"{by} is written for another accessor than {wanted.accessor} of {target.mount}, which was mounted anew.",
            f"{_WRITE}, which renders it again.",
            doubt=True,
        )
    if answer.cause == "policy-kv-version":
        lacks = "lacks data/" if version == 2 else "has data/"
        return _broken(
            answer.cause,
            f"{target.kv_mount} is KV version {version}, and the path {answer.path} of {by} {lacks}.",
            f"{_WRITE}, which writes the path for version {version}, or mount the version that was meant.",
            doubt=True,
        )
    names = ", ".join(sorted(seen.policies)) or "none"
    return _broken(
        answer.cause,
        f"no path in the role's OpenBao policies ({names}) allows reading {full}.",
        f"correct kv_mount, kv_prefix or the namespace, or {_WRITE}.",
        doubt=True,
    )


# -- for real --------------------------------------------------------------------------------------------------------

_BARE = frozenset({"permission denied", ""})


def _login(target: Target, seen: Seen) -> Verdict:
    if not target.login:
        return Verdict("skipped", "not asked for (login: false)")
    login = seen.login
    if login is None:
        return _PENDING
    log = "OpenBao's log of this moment (level debug, 'login unauthorized')"
    if login.problem is not None:
        if login.problem.rule == "timeout":
            return _broken(
                "login-timeout",
                f"OpenBao does not answer the login within {login.seconds:.0f} s: it probably waits for "
                f"{target.api_server}, which answers the controller.",
                "let OpenBao's pods out to that address (egress NetworkPolicy, firewall, DNS), and read OpenBao's log.",
            )
        return _broken("login", f"the login got no answer: {login.problem.message}.", "see OpenBao's log.")
    said = "; ".join(login.errors)
    low = said.lower()
    if login.status == 200:
        if not login.metadata.get("service_account_namespace"):
            return _broken(
                "login-metadata",
                "the login works, and OpenBao knows no service_account_namespace of it, so templated policies give "
                "nothing.",
                f"{_WRITE}, which sets up the role.",
                doubt=True,
            )
        return _ok("OpenBao policies " + ", ".join(login.policies))
    if login.status == 403 and low.strip() in _BARE:
        return _broken(
            "login-forbidden",
            "everything is fine as seen from the controller, but OpenBao refuses the login without a reason "
            f"(HTTP 403): it cannot reach {target.api_server} from where it runs, or the reviewer token that it holds "
            "is another one.",
            f"{_WRITE}, which stores a new token and proves it; if it stays, {log} has the reason, and egress or DNS "
            "of OpenBao's pods is the usual one.",
        )
    for cause, words, what in (
        ("login-audience", ("audience", "(aud)"), "the audience of the token"),
        ("login-service-account", ("service account name not authorized",), "this ServiceAccount"),
        ("login-namespace", ("namespace not authorized",), "this namespace"),
        ("login-role", ("role name", "role could not be found"), "the role"),
        (
            "login-clock",
            ("issued at", "not before", "valid yet", "expired", "(nbf)", "(iat)", "(exp)"),
            "the times",
        ),
        ("login-issuer", ("issuer",), "the issuer of the token"),
        ("login-signature", ("signature", "no known key"), "the signature of the token"),
    ):
        if any(word in low for word in words):
            return _broken(cause, f"OpenBao refuses {what}: {said}.", f"{_WRITE}; the role or keys changed meanwhile.")
    return _broken(
        "login", f"OpenBao refuses the login with HTTP {login.status}: {said or 'no reason given'}.", f"see {log}."
    )


def _read_cause(seen: Seen) -> str:
    read = seen.read
    if read is None:
        return "read"
    if read.status == 403:
        return "read-forbidden"
    if any("versioned" in w.lower() for w in read.warnings):
        return "read-kv-version"
    # 404 without a warning: nothing is stored there, and the login may see that
    return "" if read.status in (200, 404) else "read"


def _read(target: Target, seen: Seen) -> Verdict:
    if not target.login:
        return Verdict("skipped", "not asked for (login: false)")
    read = seen.read
    if read is None:
        return _PENDING
    if read.problem is not None:
        return _broken("read", f"the read got no answer: {read.problem.message}.", "see OpenBao's log.")
    cause = _read_cause(seen)
    if not cause:
        return _ok(f"{read.path}" + ("" if read.status == 200 else " (nothing is stored there)"))
    if cause == "read-forbidden":
        return _broken(
            cause,
            f"the login works, and {read.path} is refused (HTTP 403).",
            f"{_WRITE}, which renders the OpenBao policy, and look for another one that denies it.",
        )
    if cause == "read-kv-version":
        return _broken(cause, f"{read.path} is not a path of this KV version.", "correct the version of the KV mount.")
    said = "; ".join(read.errors) or "no reason given"
    return _broken(cause, f"reading {read.path} ends with HTTP {read.status}: {said}.", "see OpenBao's log.")


_JUDGES: t.Final[t.Mapping[str, t.Callable[[Target, Seen], Verdict]]] = {
    "openbao": _openbao,
    "name": _name,
    "tcp": _tcp,
    "tls": _tls,
    "access": _access,
    "clock": _clock,
    "token": _token,
    "rbac": _rbac,
    "client": _client,
    "review": _review,
    "mount": _mount,
    "config": _config,
    "role": _role,
    "policy": _policy,
    "login": _login,
    "read": _read,
}
