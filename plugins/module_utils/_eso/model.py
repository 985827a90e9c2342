# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Stores of External Secrets as people declare them, checked completely before an object is rendered."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t
import urllib.parse
from collections.abc import Mapping, Sequence

from .._core.errors import InvalidInput, check

#: First version of External Secrets with ``provider.openbao``, and the first in which it can log in by Kubernetes.
#: In 2.9 it knows appRole, tokenSecretRef and userPass only; ``auth.jwt`` is in no release.
OPENBAO_SINCE: t.Final = (2, 7, 0)
OPENBAO_KUBERNETES_SINCE: t.Final = (2, 10, 0)

PROVIDERS: t.Final = ("vault", "openbao")
AUTH_METHODS: t.Final = ("kubernetes", "jwt")
SCOPES: t.Final = ("namespace", "cluster")
CA_KINDS: t.Final = ("ConfigMap", "Secret")
#: Limits of the custom resource for ``expirationSeconds`` come from the TokenRequest API: at least 10 minutes.
TOKEN_SECONDS: t.Final = 600

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAMESPACE: t.Final = re.compile(_LABEL)
_NAME: t.Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_KEY: t.Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_PATH: t.Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_ROLE: t.Final = re.compile(r"\w(?:[\w.-]*\w)?")
_VERSION: t.Final = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+].*)?")
_PEM: t.Final = re.compile(r"-----BEGIN CERTIFICATE-----\s+[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", re.DOTALL)
#: Audiences by which a token would be good for the API server itself.
_API_SERVER: t.Final = re.compile(r"https://kubernetes(?:\.default(?:\.svc(?:\.cluster\.local)?)?)?(?::\d+)?/?")


@dataclasses.dataclass(frozen=True)
class CaProvider:
    """Where External Secrets finds the authority's certificate.

    :ivar namespace: empty in a SecretStore, which may only refer to its own namespace.
    """

    kind: str
    name: str
    key: str
    namespace: str = ""


@dataclasses.dataclass(frozen=True)
class Tenant:
    """One namespace with a store, or the ServiceAccount for the ClusterSecretStore."""

    namespace: str
    service_account: str
    role: str


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Which namespaces may use a ClusterSecretStore; one of the two that is met is enough."""

    labels: tuple[tuple[str, str], ...] = ()
    namespaces: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Stores:
    """Everything that is rendered for one cluster.

    :ivar scope: ``namespace`` (a SecretStore for each tenant) or ``cluster`` (one ClusterSecretStore, each login with
        the ServiceAccount of the ExternalSecret's namespace).
    :ivar ca_bundle: PEM text; empty if *ca_provider* is set or the system's store is meant.
    :ivar refresh_seconds: how often a store checks its login; 0 leaves External Secrets' own default (5 minutes).
    """

    tenants: tuple[Tenant, ...]
    server: str
    mount: str
    audience: str
    role: str
    auth: str = "kubernetes"
    provider: str = "vault"
    scope: str = "namespace"
    store: str = "openbao"
    kv_mount: str = "kv"
    kv_version: str = "v2"
    openbao_namespace: str = ""
    service_account: str = "eso"
    make_service_accounts: bool = True
    ca_bundle: str = ""
    ca_provider: CaProvider | None = None
    conditions: Conditions = Conditions()
    labels: tuple[tuple[str, str], ...] = ()
    refresh_seconds: int = 0


#: Options of a declaration and their types; what is missing takes the default of :class:`Stores`.
_OPTIONS: t.Final[Mapping[str, type]] = {
    "server": str,
    "mount": str,
    "audience": str,
    "role": str,
    "auth": str,
    "provider": str,
    "version": str,
    "scope": str,
    "store": str,
    "kv_mount": str,
    "kv_version": str,
    "openbao_namespace": str,
    "service_account": str,
    "make_service_accounts": bool,
    "ca_bundle": str,
    "ca_provider": dict,
    "conditions": dict,
    "labels": dict,
    "refresh_seconds": int,
    "api_audiences": list,
}
_TENANT_KEYS: t.Final = ("namespace", "service_account", "role")


def parse(namespaces: t.Any, options: Mapping[str, t.Any]) -> Stores:
    """Return what is wanted on one cluster.

    :param namespaces: names, or mappings with ``namespace`` and optionally ``service_account`` and ``role``.
    :param options: keys of :data:`_OPTIONS`; ``None`` counts as not given.
    :raises InvalidInput: with item, rule and fix, for whatever External Secrets or OpenBao would refuse later.
    """
    given = _typed(options)
    _chosen(given)
    auth, provider, scope = (
        given.get("auth", "kubernetes"),
        given.get("provider", "vault"),
        given.get("scope", "namespace"),
    )
    _provider_can(provider, auth, given.get("version"))
    defaults = {"service_account": given.get("service_account", "eso"), "role": given.get("role", "tenant")}
    tenants = _tenants(namespaces, defaults, scope)
    check(
        "ca_bundle" not in given or "ca_provider" not in given,
        "both are given.",
        item="ca_bundle, ca_provider",
        rule="one-ca",
        fix="give one of the two.",
    )
    return Stores(
        tenants=tenants,
        server=_server(_needed(given, "server", "the address of OpenBao, as https://openbao.example.org:8200")),
        mount=_match(
            _PATH,
            _needed(given, "mount", "the auth mount of this cluster, as kubernetes-member-prod"),
            "mount",
            "mount",
        ),
        audience=_audience(
            _needed(given, "audience", "the audience of this cluster's roles in OpenBao, as openbao-member-prod"),
            given.get("api_audiences", []),
        ),
        role=defaults["role"],
        auth=auth,
        provider=provider,
        scope=scope,
        store=_match(_NAME, given.get("store", "openbao"), "store", "store-name"),
        kv_mount=_match(_PATH, given.get("kv_mount", "kv"), "kv_mount", "mount"),
        kv_version=given.get("kv_version", "v2"),
        openbao_namespace=given.get("openbao_namespace", "").strip("/"),
        service_account=defaults["service_account"],
        make_service_accounts=given.get("make_service_accounts", True),
        ca_bundle=_bundle(given["ca_bundle"]) if "ca_bundle" in given else "",
        ca_provider=_ca_provider(given["ca_provider"], scope) if "ca_provider" in given else None,
        conditions=_conditions(given.get("conditions"), scope),
        labels=_labels(given.get("labels", {}), "labels"),
        refresh_seconds=_refresh(given.get("refresh_seconds", 0)),
    )


# -- shape ---------------------------------------------------------------------------------------------------------


def _typed(options: Mapping[str, t.Any]) -> dict[str, t.Any]:
    unknown = sorted(set(map(str, options)) - set(_OPTIONS))
    check(
        not unknown,
        f"unknown option(s) {', '.join(unknown)}.",
        item="options",
        rule="unknown-key",
        fix=f"there are {', '.join(_OPTIONS)}.",
    )
    given: dict[str, t.Any] = {}
    for name, kind in _OPTIONS.items():
        value = options.get(name)
        if value is None:
            continue
        right = isinstance(value, bool) if kind is bool else isinstance(value, kind) and not isinstance(value, bool)
        if kind is dict:
            right = isinstance(value, Mapping)
        check(right, f"is no {kind.__name__}.", item=name, rule="type", fix=f"give a {kind.__name__}.")
        given[name] = value
    return given


def _chosen(given: Mapping[str, t.Any]) -> None:
    for name, choices in (
        ("auth", AUTH_METHODS),
        ("provider", PROVIDERS),
        ("scope", SCOPES),
        ("kv_version", ("v1", "v2")),
    ):
        if name in given:
            check(
                given[name] in choices,
                f"{given[name]!r} is no choice.",
                item=name,
                rule="choice",
                fix=f"one of {', '.join(choices)}.",
            )


def _needed(given: Mapping[str, t.Any], name: str, what: str) -> str:
    value = str(given.get(name) or "").strip()
    check(value, "is missing.", item=name, rule="missing-key", fix=f"give {what}.")
    return value


def _match(pattern: re.Pattern[str], value: str, item: str, rule: str) -> str:
    check(
        pattern.fullmatch(value),
        f"{value!r} is not a valid name.",
        item=item,
        rule=rule,
        fix="letters, digits, hyphens and dots as Kubernetes and OpenBao allow them; no slash at the ends.",
    )
    return value


# -- rules ---------------------------------------------------------------------------------------------------------


def _version(text: str) -> tuple[int, ...]:
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(f"{text!r} is no version.", item="version", rule="version", fix="give it as 2.9.0.")
    return tuple(int(part or 0) for part in match.groups())


def _provider_can(provider: str, auth: str, version: str | None) -> None:
    """Refuse what the chosen provider of External Secrets cannot do."""
    known = None if version is None else _version(version)
    if provider != "openbao":
        return
    if auth == "jwt":
        raise InvalidInput(
            "provider openbao of External Secrets cannot log in with auth jwt.",
            item="provider",
            rule="provider-auth",
            fix="use provider vault, which speaks to OpenBao as well.",
        )
    if known is None:
        raise InvalidInput(
            "provider openbao depends on the version of External Secrets, which is not given.",
            item="version",
            rule="provider-version",
            fix="give the version of External Secrets on this cluster, or use provider vault.",
        )
    check(
        known >= OPENBAO_SINCE,
        f"External Secrets {version} has no provider openbao.",
        item="provider",
        rule="provider-version",
        fix=f"update to {_dotted(OPENBAO_SINCE)} or newer, or use provider vault.",
    )
    check(
        known >= OPENBAO_KUBERNETES_SINCE,
        f"provider openbao of External Secrets {version} cannot log in with auth kubernetes.",
        item="provider",
        rule="provider-auth",
        fix=f"update to {_dotted(OPENBAO_KUBERNETES_SINCE)} or newer, or use provider vault.",
    )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _server(url: str) -> str:
    check(
        "@" not in url,
        "has a login in it.",
        item="server",
        rule="url",
        fix="give scheme, host and port only; replace the password, as it may have been written somewhere by now.",
    )
    url = url.rstrip("/")
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        whole = bool(host) and parts.scheme in ("http", "https") and not (parts.path or parts.query or parts.fragment)
        whole = whole and (parts.port is None or parts.port > 0)
    except ValueError:
        whole, host, parts = False, "", urllib.parse.urlsplit("")
    check(
        whole,
        f"{url!r} is not an address of the form https://host:port.",
        item="server",
        rule="url",
        fix="give scheme, host and port only.",
    )
    check(
        parts.scheme == "https" or _loopback(host),
        "plain http is allowed on loopback only.",
        item="server",
        rule="plain-http",
        fix="use https and give the CA.",
    )
    return url


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _audience(audience: str, api_audiences: Sequence[t.Any]) -> str:
    own = {str(one).rstrip("/") for one in api_audiences}
    check(
        not _API_SERVER.fullmatch(audience) and audience.rstrip("/") not in own,
        f"{audience} is an audience of the API server: such a token is good for the cluster itself.",
        item="audience",
        rule="audience-of-the-api-server",
        fix="give an audience that only OpenBao accepts, as openbao-member-prod.",
    )
    check(
        not any(c.isspace() for c in audience),
        f"{audience!r} has blanks in it.",
        item="audience",
        rule="audience",
        fix="one word, as openbao-member-prod.",
    )
    return audience


def _tenants(namespaces: t.Any, defaults: Mapping[str, str], scope: str) -> tuple[Tenant, ...]:
    check(
        isinstance(namespaces, Sequence) and not isinstance(namespaces, (str, bytes)),
        "is no list.",
        item="namespaces",
        rule="type",
        fix="give a list of names.",
    )
    found: list[Tenant] = []
    seen: set[str] = set()
    for index, raw in enumerate(namespaces):
        item = f"namespaces[{index}]"
        tenant = _tenant(raw, item, defaults, scope)
        check(
            tenant.namespace not in seen,
            f"{tenant.namespace} is there twice.",
            item=item,
            rule="duplicate-namespace",
            fix="give each namespace once.",
        )
        seen.add(tenant.namespace)
        found.append(tenant)
    return tuple(found)


def _tenant(raw: t.Any, item: str, defaults: Mapping[str, str], scope: str) -> Tenant:
    if isinstance(raw, str):
        raw = {"namespace": raw}
    check(isinstance(raw, Mapping), "is neither a name nor a mapping.", item=item, rule="type", fix="give a name.")
    unknown = sorted(set(map(str, raw)) - set(_TENANT_KEYS))
    check(
        not unknown,
        f"unknown key(s) {', '.join(unknown)}.",
        item=item,
        rule="unknown-key",
        fix=f"there are {', '.join(_TENANT_KEYS)}.",
    )
    namespace = str(raw.get("namespace") or "")
    _match(_NAMESPACE, namespace, f"{item}.namespace" if namespace else item, "namespace")
    account = str(raw.get("service_account") or defaults["service_account"])
    role = str(raw.get("role") or defaults["role"])
    for key, value in (("service_account", account), ("role", role)):
        check(
            scope == "namespace" or value == defaults[key],
            f"{key} differs from that of the ClusterSecretStore, which has one for all namespaces.",
            item=f"{item}.{key}",
            rule="cluster-scope-one-for-all",
            fix="use scope namespace for this tenant.",
        )
    _match(_NAME, account, f"{item}.service_account", "service-account")
    check(
        account != "default",
        "every pod without a ServiceAccount of its own runs as default.",
        item=f"{item}.service_account",
        rule="service-account-default",
        fix="give a ServiceAccount that only External Secrets uses, as eso.",
    )
    _match(_ROLE, role, f"{item}.role", "role")
    return Tenant(namespace, account, role)


def _bundle(text: str) -> str:
    found = _PEM.findall(text)
    check(
        found,
        "is no PEM certificate.",
        item="ca_bundle",
        rule="ca-bundle",
        fix="give the text of the CA file, for example with lookup('ansible.builtin.file', ...).",
    )
    check(
        "PRIVATE KEY" not in text,
        "has a private key in it.",
        item="ca_bundle",
        rule="ca-bundle-private-key",
        fix="give the certificate only; replace the key, as it may have been written somewhere by now.",
    )
    return "\n".join(found) + "\n"


def _ca_provider(raw: Mapping[str, t.Any], scope: str) -> CaProvider:
    unknown = sorted(set(map(str, raw)) - {"kind", "name", "key", "namespace"})
    check(
        not unknown,
        f"unknown key(s) {', '.join(unknown)}.",
        item="ca_provider",
        rule="unknown-key",
        fix="there are kind, name, key, namespace.",
    )
    kind, namespace = str(raw.get("kind") or "ConfigMap"), str(raw.get("namespace") or "")
    check(
        kind in CA_KINDS,
        f"{kind!r} is no choice.",
        item="ca_provider.kind",
        rule="choice",
        fix=f"one of {', '.join(CA_KINDS)}.",
    )
    _match(_NAME, str(raw.get("name") or ""), "ca_provider.name", "ca-provider")
    key = _match(_KEY, str(raw.get("key") or "ca.crt"), "ca_provider.key", "ca-provider")
    if scope == "namespace":
        check(
            not namespace,
            f"a SecretStore may not refer to the namespace {namespace}.",
            item="ca_provider.namespace",
            rule="cross-namespace",
            fix="leave it out and keep the ConfigMap in the namespace of each tenant, or use ca_bundle.",
        )
    else:
        check(
            namespace,
            "is missing.",
            item="ca_provider.namespace",
            rule="missing-key",
            fix="a ClusterSecretStore needs to know in which namespace it is; or use ca_bundle.",
        )
        _match(_NAMESPACE, namespace, "ca_provider.namespace", "namespace")
    return CaProvider(kind, str(raw["name"]), key, namespace)


def _conditions(raw: Mapping[str, t.Any] | None, scope: str) -> Conditions:
    if scope == "namespace":
        check(
            raw is None,
            "conditions belong to a ClusterSecretStore.",
            item="conditions",
            rule="conditions",
            fix="leave them out, or use scope cluster.",
        )
        return Conditions()
    raw = raw or {}
    unknown = sorted(set(map(str, raw)) - {"labels", "namespaces"})
    check(
        not unknown,
        f"unknown key(s) {', '.join(unknown)}.",
        item="conditions",
        rule="unknown-key",
        fix="there are labels and namespaces.",
    )
    labels, names = raw.get("labels") or {}, raw.get("namespaces") or []
    check(isinstance(labels, Mapping), "is no mapping.", item="conditions.labels", rule="type", fix="give a mapping.")
    check(
        isinstance(names, Sequence) and not isinstance(names, str),
        "is no list.",
        item="conditions.namespaces",
        rule="type",
        fix="give a list of names.",
    )
    for index, name in enumerate(names):
        _match(_NAMESPACE, str(name), f"conditions.namespaces[{index}]", "namespace")
    check(
        labels or names,
        "a ClusterSecretStore without conditions is open to every namespace.",
        item="conditions",
        rule="conditions",
        fix="give labels or names of the namespaces that may use it.",
    )
    return Conditions(_labels(labels, "conditions.labels"), tuple(sorted({str(name) for name in names})))


def _labels(raw: Mapping[str, t.Any], item: str) -> tuple[tuple[str, str], ...]:
    for key, value in raw.items():
        check(
            isinstance(key, str) and isinstance(value, str),
            f"{key} is no text.",
            item=f"{item}.{key}",
            rule="label",
            fix='quote it: "true" is a text, true is not.',
        )
    return tuple(sorted(raw.items()))


def _refresh(seconds: int) -> int:
    check(
        seconds >= 0,
        f"{seconds} is negative.",
        item="refresh_seconds",
        rule="refresh-seconds",
        fix="give seconds, or 0 for the default of External Secrets.",
    )
    return seconds
