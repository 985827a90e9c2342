# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What a person should know about a living OpenBao: facts in, findings out, no I/O."""

from __future__ import annotations

import dataclasses
import re
import typing as t
import urllib.parse

from .mount_mark import owner

Severity = t.Literal["info", "warning", "error"]

#: Every finding, and what it says; a test holds facts for each.
FINDINGS: t.Final[t.Mapping[str, str]] = {
    "audit-none": "no audit device: nobody can say later who read what",
    "mount-local-token": "OpenBao may send its own pod token to another cluster's API server",
    "mount-not-configured": "a kubernetes auth mount without configuration: every login fails",
    "not-initialised": "the server is not initialised",
    "policy-missing": "a role, user or group refers to an OpenBao policy that does not exist",
    "policy-unused": "nothing refers to an OpenBao policy",
    "raft-peer-unhealthy": "a raft peer is not healthy",
    "raft-no-tolerance": "the cluster does not survive the loss of one more node",
    "role-any-namespace": "a role accepts a service account from every namespace",
    "role-any-service-account": "a role accepts every service account",
    "role-default-service-account": "a role accepts the service account that every pod has by default",
    "role-long-ttl": "tokens of a machine login live long",
    "role-without-audience": "a role accepts tokens that were made for somebody else",
    "root-token": "a root token exists",
    "sealed": "the server is sealed",
    "token-near-expiry": "a long-lived token ends soon",
    "token-never-expires": "a token never ends",
    "user-long-ttl": "the login of a person lives long",
    "version-audit-by-api": "whoever may create audit devices may run code on the server (CVE-2025-6000)",
    "version-development": "a development build",
    "version-rotate-loses-shares": "rotating the root key loses all unseal shares (openbao#2613)",
    "version-vault": "HashiCorp Vault",
}

DAY: t.Final = 86400
#: What a server uses where neither role nor mount say anything.
SERVER_DEFAULT_TTL: t.Final = 768 * 3600

_ORDER: t.Final = {"error": 0, "warning": 1, "info": 2}
_BUILT_IN_POLICIES: t.Final = frozenset({"root", "default"})
_MACHINES: t.Final = frozenset({"kubernetes", "jwt", "approle", "cert"})
_PEOPLE: t.Final = frozenset({"userpass"})


@dataclasses.dataclass(frozen=True)
class Limits:
    """Where ordinary ends.

    :ivar long_ttl: seconds; tokens of machines should not live longer.
    :ivar expiry_warning: seconds; a token that ends sooner is reported.
    :ivar short_lived: seconds; tokens issued for less renew themselves or are not missed, and are not reported.
    """

    long_ttl: int = DAY
    expiry_warning: int = 7 * DAY
    short_lived: int = DAY


@dataclasses.dataclass(frozen=True)
class InfoFinding:
    """One thing to know. ``id`` is a key of :data:`FINDINGS`."""

    id: str
    severity: Severity
    item: str
    message: str
    fix: str

    def as_dict(self) -> dict[str, str]:
        return dataclasses.asdict(self)


def info_findings(facts: t.Mapping[str, t.Any], limits: Limits | None = None) -> list[InfoFinding]:
    """Return what should be known about the server, the most severe first.

    :param facts: what the module ``openbao_info`` read. A key that is ``None`` or absent was not readable and yields
        no finding; the module says so in ``not_checked``.
    """
    limits = limits or Limits()
    found: list[InfoFinding] = []
    found += _state(facts)
    found += _version(facts)
    found += _mounts(facts)
    found += _roles(facts, limits)
    found += _policies(facts)
    found += _tokens(facts, limits)
    found += _raft(facts)
    found += _audit(facts)
    return sorted(set(found), key=lambda f: (_ORDER[f.severity], f.id, f.item, f.message))


def span(seconds: int) -> str:
    """Return a time span for people: ``90 s``, ``36 h``, ``32 days``."""
    if seconds >= 3 * DAY:
        return f"{seconds // DAY} days"
    if seconds >= 2 * 3600:
        return f"{seconds // 3600} h"
    if seconds >= 120:
        return f"{seconds // 60} min"
    return f"{seconds} s"


# -- the server ----------------------------------------------------------------------------------------------------


def _state(facts: t.Mapping[str, t.Any]) -> list[InfoFinding]:
    seal = facts.get("seal") or {}
    if seal.get("initialized") is False:
        return [
            InfoFinding("not-initialised", "error", "server", "is not initialised.", "initialise it with openbao_init.")
        ]
    if seal.get("sealed"):
        progress = f"{seal.get('progress', 0)} of {seal.get('t', '?')} shares are in"
        return [InfoFinding("sealed", "error", "server", f"is sealed; {progress}.", "run playbooks/unseal.yml.")]
    return []


def parsed_version(text: str) -> tuple[int, int, int] | None:
    """Return the three numbers of a version, ``None`` if it has none."""
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _version(facts: t.Mapping[str, t.Any]) -> list[InfoFinding]:
    text = str(facts.get("version") or "")
    version = parsed_version(text)
    if version is None:
        return []
    if text.endswith("-HEAD"):
        return [
            InfoFinding(
                "version-development",
                "warning",
                "server",
                f"reports version {text}: a development build, of which nobody can say what is fixed in it.",
                "run a release.",
            )
        ]
    if version < (2, 0, 0):
        return [
            InfoFinding(
                "version-vault",
                "info",
                "server",
                f"reports version {text}: HashiCorp Vault, from before the fork or after it, not OpenBao.",
                "nothing here depends on it; move to OpenBao when it suits you.",
            )
        ]
    found = []
    shamir = (facts.get("seal") or {}).get("type") == "shamir"
    if version < (2, 3, 2):
        found.append(
            InfoFinding(
                "version-audit-by-api",
                "error",
                "server",
                f"version {text}: whoever may create audit devices may run code on the server (CVE-2025-6000).",
                "upgrade to 2.3.2 or newer.",
            )
        )
    if (2, 4, 0) <= version < (2, 5, 2) and shamir:
        found.append(
            InfoFinding(
                "version-rotate-loses-shares",
                "error",
                "server",
                f"version {text} with a Shamir seal: POST sys/rotate/root loses all unseal shares (openbao#2613).",
                "upgrade to 2.5.2 or newer, and do not rotate the root key before that.",
            )
        )
    return found


def _raft(facts: t.Mapping[str, t.Any]) -> list[InfoFinding]:
    found = []
    state = facts.get("autopilot")
    if not isinstance(state, dict):
        return []
    servers = state.get("servers") or {}
    for name, server in sorted(servers.items()):
        if server.get("healthy") is False:
            found.append(
                InfoFinding(
                    "raft-peer-unhealthy",
                    "error",
                    f"raft peer {name}",
                    f"is not healthy (status {server.get('status', 'unknown')}, last contact "
                    f"{server.get('last_contact') or 'unknown'}).",
                    "start and unseal this node; if it is gone for good, remove the peer.",
                )
            )
    if len(servers) >= 3 and state.get("failure_tolerance") == 0:
        found.append(
            InfoFinding(
                "raft-no-tolerance",
                "warning",
                "raft",
                f"has {len(servers)} peers and survives the loss of none.",
                "bring the unhealthy peers back before you restart another.",
            )
        )
    return found


def _audit(facts: t.Mapping[str, t.Any]) -> list[InfoFinding]:
    devices = facts.get("audit")
    if devices is None or devices:
        return []
    return [
        InfoFinding(
            "audit-none",
            "warning",
            "audit devices",
            "there is none: nobody can say later who read what.",
            'add a stanza audit "file" to the server\'s configuration file and send it SIGHUP.',
        )
    ]


# -- auth mounts and their roles ------------------------------------------------------------------------------------


def _local_host(host: str) -> bool:
    """Say if *host* is the API server of the cluster in which OpenBao itself runs."""
    name = urllib.parse.urlsplit(host).hostname or ""
    return name in ("kubernetes", "kubernetes.default") or name.startswith("kubernetes.default.svc")


def _mounts(facts: t.Mapping[str, t.Any]) -> list[InfoFinding]:
    found = []
    configs = facts.get("auth_config") or {}
    for path, mount in sorted((facts.get("auth") or {}).items()):
        if mount.get("type") != "kubernetes" or path not in configs:
            continue
        item, config = f"auth mount {path}", configs[path]
        if not config or not config.get("kubernetes_host"):
            found.append(
                InfoFinding(
                    "mount-not-configured",
                    "warning",
                    item,
                    "has no configuration: every login fails.",
                    "configure it, or disable the mount.",
                )
            )
            continue
        host = str(config["kubernetes_host"])
        if config.get("disable_local_ca_jwt") or _local_host(host):
            continue
        certain = config.get("token_reviewer_jwt_set") is False
        found.append(
            InfoFinding(
                "mount-local-token",
                "error" if certain else "warning",
                item,
                f"has disable_local_ca_jwt=false and {host} as its API server: "
                + (
                    "OpenBao sends its own pod token there at each login."
                    if certain
                    else "where no reviewer token is set, OpenBao sends its own pod token there at each login."
                ),
                "write the whole configuration again with disable_local_ca_jwt=true, kubernetes_ca_cert and a "
                "reviewer token.",
            )
        )
    return found


def _texts(value: t.Any) -> list[str]:
    if isinstance(value, str):
        return [v.strip() for v in value.split(",") if v.strip()]
    return [str(v) for v in value] if isinstance(value, list) else []


def _role_identities(kind: str, role: t.Mapping[str, t.Any]) -> tuple[list[str], list[str]] | None:
    """Return the service account names and namespaces that a role accepts, ``None`` if it is about something else."""
    if kind == "kubernetes":
        names = _texts(role.get("bound_service_account_names"))
        spaces = _texts(role.get("bound_service_account_namespaces"))
        return names, spaces
    subject = str(role.get("bound_subject") or "")
    parts = subject.split(":")
    if kind == "jwt" and subject.startswith("system:serviceaccount:") and len(parts) == 4:
        return [parts[3]], [parts[2]]
    return None


def _roles(facts: t.Mapping[str, t.Any], limits: Limits) -> list[InfoFinding]:
    found: list[InfoFinding] = []
    mounts = facts.get("auth") or {}
    for path, roles in sorted((facts.get("auth_roles") or {}).items()):
        mount = mounts.get(path) or {}
        kind = str(mount.get("type") or "")
        for role in roles:
            item = f"auth mount {path} {role['kind']} {role['name']}"
            fields = role.get("fields") or {}
            found += _audience(kind, item, fields)
            found += _identity(kind, item, fields, own_paths=owner(mount.get("description")) == "jwt_reviewer")
            found += _long_ttl(kind, item, fields, mount.get("config") or {}, limits)
    return found


def _audience(kind: str, item: str, role: t.Mapping[str, t.Any]) -> list[InfoFinding]:
    bound = {"kubernetes": "audience", "jwt": "bound_audiences"}.get(kind)
    if bound is None or role.get(bound) or role.get("role_type", "jwt") != "jwt":
        return []
    return [
        InfoFinding(
            "role-without-audience",
            "warning",
            item,
            "has no audience: a token that a pod shows to any other service is good here too.",
            "set an audience of this mount's own, and ask for it where the tokens are made.",
        )
    ]


def _identity(kind: str, item: str, role: t.Mapping[str, t.Any], *, own_paths: bool) -> list[InfoFinding]:
    """*own_paths*: the mount's OpenBao policies open to each namespace its own paths, so that any may log in."""
    bound = _role_identities(kind, role)
    if bound is None:
        return []
    names, spaces = bound
    found = []
    if "*" in names:
        everywhere = "*" in spaces
        found.append(
            InfoFinding(
                "role-any-service-account",
                "error" if everywhere else "warning",
                item,
                "accepts every service account of "
                + ("every namespace: every pod of the cluster." if everywhere else ", ".join(spaces) + "."),
                "name the service accounts, or one of their own such as eso.",
            )
        )
    elif "*" in spaces and not own_paths:
        found.append(
            InfoFinding(
                "role-any-namespace",
                "warning",
                item,
                f"accepts {', '.join(names)} from every namespace: whoever may create a namespace may log in.",
                "name the namespaces, or a prefix of their own such as 3-edge-*.",
            )
        )
    if "default" in names:
        found.append(
            InfoFinding(
                "role-default-service-account",
                "warning",
                item,
                "accepts the service account default, which every pod has that asks for nothing.",
                "give the workload a service account of its own.",
            )
        )
    return found


def _seconds(value: t.Any) -> int:
    return int(value) if isinstance(value, int | float) or (isinstance(value, str) and value.isdigit()) else 0


def _long_ttl(
    kind: str, item: str, role: t.Mapping[str, t.Any], mount: t.Mapping[str, t.Any], limits: Limits
) -> list[InfoFinding]:
    severity: Severity
    if kind in _MACHINES:
        finding, severity, limit = "role-long-ttl", "warning", limits.long_ttl
    elif kind in _PEOPLE:
        finding, severity, limit = "user-long-ttl", "info", limits.long_ttl
    else:
        return []
    fix = f"set token_ttl and token_max_ttl to {span(limit)} or less."
    if _seconds(role.get("token_period")):
        message = f"gives tokens that can be renewed for ever (token_period {span(_seconds(role['token_period']))})."
        return [InfoFinding(finding, severity, item, message, "set token_max_ttl instead of token_period.")]
    for where, value in (
        ("its token_max_ttl", role.get("token_max_ttl")),
        ("its token_explicit_max_ttl", role.get("token_explicit_max_ttl")),
        ("max_lease_ttl of the mount", mount.get("max_lease_ttl")),
    ):
        seconds = _seconds(value)
        if seconds:
            if seconds <= limit:
                return []
            return [InfoFinding(finding, severity, item, f"gives tokens for up to {span(seconds)} ({where}).", fix)]
    message = (
        f"sets no token_max_ttl: its tokens live as long as the server allows, {span(SERVER_DEFAULT_TTL)} by default."
    )
    return [InfoFinding(finding, severity, item, message, fix)]


# -- OpenBao policies ----------------------------------------------------------------------------------------------


def references(facts: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return the OpenBao policies that are referred to, each with one place that does."""
    used: dict[str, str] = {}

    def use(names: t.Iterable[str], place: str) -> None:
        for name in names:
            used.setdefault(name, place)

    for path, roles in sorted((facts.get("auth_roles") or {}).items()):
        for role in roles:
            fields = role.get("fields") or {}
            place = f"auth mount {path} {role['kind']} {role['name']}"
            for key in ("token_policies", "policies", "value"):
                use(_texts(fields.get(key)), place)
    for role in facts.get("token_roles") or []:
        fields = role.get("fields") or {}
        for key in ("allowed_policies", "token_policies"):
            use(_texts(fields.get(key)), f"token role {role['name']}")
    for identity in facts.get("identities") or []:
        use(_texts(identity.get("policies")), f"identity {identity['kind']} {identity['name']}")
    return used


def _policies(facts: t.Mapping[str, t.Any]) -> list[InfoFinding]:
    names = facts.get("policies")
    if names is None:
        return []
    used = references(facts)
    held: set[str] = set()
    for token in facts.get("tokens") or []:
        held.update(_texts(token.get("policies")))
        held.update(_texts(token.get("identity_policies")))
    globs = [re.compile(re.escape(u).replace(r"\*", ".*")) for u in used if "*" in u]
    found = [
        InfoFinding(
            "policy-missing",
            "warning",
            place,
            f"refers to the OpenBao policy {name}, which does not exist: it grants nothing, and whoever creates one "
            "of that name decides what it grants.",
            "create it, or take the name out.",
        )
        for name, place in sorted(used.items())
        if name not in names and name not in _BUILT_IN_POLICIES and "*" not in name
    ]
    partial = bool(facts.get("references_not_checked"))
    for name in names:
        if name in _BUILT_IN_POLICIES or name in used or name in held or any(g.fullmatch(name) for g in globs):
            continue
        found.append(
            InfoFinding(
                "policy-unused",
                "info",
                f"OpenBao policy {name}",
                "no role, user, group, entity or living token refers to it"
                + (", as far as could be read (see not_checked)." if partial else "."),
                "delete it if nobody knows what it is for.",
            )
        )
    return found


# -- tokens --------------------------------------------------------------------------------------------------------


def token_name(token: t.Mapping[str, t.Any]) -> str:
    """Return what a token is called in findings: its display name and the start of its accessor."""
    return f"token {token.get('display_name') or 'without name'} (accessor {str(token.get('accessor') or '')[:8]}...)"


def _tokens(facts: t.Mapping[str, t.Any], limits: Limits) -> list[InfoFinding]:
    found = []
    own = facts.get("own_accessor")
    for token in facts.get("tokens") or []:
        item = token_name(token)
        is_own = own is not None and token.get("accessor") == own
        ttl = _seconds(token.get("ttl"))
        endless = ttl == 0 and not token.get("expire_time")
        if "root" in _texts(token.get("policies")):
            found.append(
                InfoFinding(
                    "root-token",
                    "error",
                    item,
                    "is a root token"
                    + (" that never ends" if endless else f" for another {span(ttl)}")
                    + (", and the login of this very run." if is_own else "."),
                    "give the administrators a login of their own, then revoke it; openbao_generate_root makes one in "
                    "an emergency.",
                )
            )
            continue
        if is_own:
            continue
        issued = _seconds(token.get("period")) or _seconds(token.get("creation_ttl"))
        if endless:
            found.append(
                InfoFinding(
                    "token-never-expires", "warning", item, "never ends.", "replace it by one with a period or a ttl."
                )
            )
        elif issued >= limits.short_lived and ttl < min(limits.expiry_warning, issued / 2):
            found.append(
                InfoFinding(
                    "token-near-expiry",
                    "warning",
                    item,
                    f"was issued for {span(issued)} and ends in {span(ttl)}; what uses it stops then.",
                    "renew it." if token.get("renewable") else "issue a new one where it is used.",
                )
            )
    return found
