# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is wanted: downstream clusters, how OpenBao trusts each, who may log in. Checked before anything is written."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing as t
import urllib.parse

from .._core.errors import InvalidInput, check
from .._core.redact import fingerprint
from .._kube.model import DEFAULT_LABEL_DOMAIN
from .._openbao.fields import seconds

Mode = t.Literal["token_request", "jwt_pubkeys", "long_lived", "client_jwt"]
MODES: t.Final[tuple[Mode, ...]] = ("token_request", "jwt_pubkeys", "long_lived", "client_jwt")
Verify = t.Literal["on_change", "always", "never"]
VERIFY: t.Final[tuple[Verify, ...]] = ("on_change", "always", "never")

MOUNT_PREFIX: t.Final = "kubernetes-"
AUDIENCE_PREFIX: t.Final = "openbao-"
#: Value of the ownership label on what is made downstream.
INVENTORY: t.Final = "jwt-reviewer"
#: Owner in the comment line of OpenBao policies.
OWNER: t.Final = "jwt_reviewer"
#: Roles of every mount with which a login is proved: one that must work, one that must be refused.
CANARY_ROLE: t.Final = "canary"
ELSEWHERE_ROLE: t.Final = "canary-elsewhere"
#: Prefix of the roles and OpenBao policies of single tenants, and of the OpenBao policy of a cluster.
TENANT_PREFIX: t.Final = "tenant-"

#: Endings of mounts that exist while one mount takes the place of another.
MOVE_SUFFIXES: t.Final = (".next", ".old")

#: Seconds. Below, the API server refuses (TokenRequest); above, a leaked token would be good for too long.
MIN_LIFETIME: t.Final = 600
MAX_LIFETIME: t.Final = 366 * 86400
DEFAULT_LIFETIME: t.Final = 30 * 86400
#: Seconds. Tokens that pods hold are renewed well within an hour.
DEFAULT_OVERLAP: t.Final = 3600
MAX_OVERLAP: t.Final = 31 * 86400
#: Seconds. A token of a tenant outlives its deleted ServiceAccount by this at most.
MIN_TTL: t.Final = 60
MAX_TTL: t.Final = 3600
DEFAULT_TTL: t.Final = 600
#: Type of tokens that are not stored and cannot be revoked.
BATCH: t.Final = "batch"
#: Part of its life below which the reviewer's token is replaced.
RENEW_BELOW: t.Final = 1 / 3

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,200}[a-z0-9])?")
_ROLE = re.compile(r"[a-z0-9]([-a-z0-9_.]{0,60}[a-z0-9])?")
_MOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_GLOB = re.compile(r"[a-z0-9*]([-a-z0-9.*]{0,61}[a-z0-9*])?")
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}|localhost|\[?::1\]?")
#: Names by which an API server knows itself, whatever its address is.
_OWN_AUDIENCES: t.Final = frozenset(
    {
        "api",
        "kubernetes",
        "https://kubernetes",
        "https://kubernetes.default",
        "https://kubernetes.default.svc",
        "https://kubernetes.default.svc.cluster.local",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    }
)


@dataclasses.dataclass(frozen=True)
class Tenant:
    """A tenant with a role and an OpenBao policy of its own: the stricter option.

    :ivar namespaces: its namespaces, by their full names.
    :ivar service_accounts: names of ServiceAccounts that may log in.
    """

    name: str
    namespaces: tuple[str, ...]
    service_accounts: tuple[str, ...]

    @property
    def role(self) -> str:
        return f"{TENANT_PREFIX}{self.name}"


@dataclasses.dataclass(frozen=True)
class Access:
    """Who of a cluster may log in, and for how long.

    :ivar role: name of the role of all tenants of the cluster.
    :ivar namespaces: names or patterns with ``*``; may be empty when there is a selector.
    :ivar namespace_selector: labels of namespaces, OR-ed with *namespaces*.
    :ivar ttl: seconds that a token lives; it cannot be renewed beyond.
    :ivar token_type: ``batch`` (nothing is stored, cannot be revoked) or ``service``.
    :ivar find: also allow to read and list metadata, for ``dataFrom.find``.
    :ivar per_tenant: tenants with a role each; the common role is then left out.
    """

    role: str = "tenant"
    service_accounts: tuple[str, ...] = ("eso",)
    namespaces: tuple[str, ...] = ("*",)
    namespace_selector: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    ttl: int = DEFAULT_TTL
    token_type: str = BATCH
    find: bool = False
    per_tenant: tuple[Tenant, ...] = ()


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A downstream cluster.

    :ivar item: how the user wrote it, for errors.
    :ivar mount: path of its auth mount, without ``auth/``.
    :ivar audience: what a token of a tenant must be for.
    :ivar kubeconfig: path or content; ``context`` its context.
    :ivar api_server: address as OpenBao reaches it; ``""`` until :func:`completed`.
    :ivar ca_pem: PEM text of the only CA that OpenBao trusts for it; ``""`` until :func:`completed`.
    :ivar issuer: issuer of its tokens, ``""`` where it is to be found out.
    :ivar namespace: downstream namespace of reviewer and canary.
    :ivar token_lifetime: seconds asked for the reviewer's token; the server may give less.
    :ivar policy_prefix: how the names of its OpenBao policies begin.
    :ivar key_overlap: seconds that a public key is kept after the API server stopped publishing it (``jwt_pubkeys``).
    """

    name: str
    item: str
    mode: Mode
    mount: str
    audience: str
    kubeconfig: t.Any = dataclasses.field(default=None, repr=False)
    context: str | None = None
    tls_server_name: str | None = None
    api_server: str = ""
    ca_pem: str = ""
    issuer: str = ""
    namespace: str = "0-core-openbao-auth"
    service_account: str = "openbao-reviewer"
    canary_service_account: str = "openbao-canary"
    cluster_role: str = "openbao-reviewer"
    token_lifetime: int = DEFAULT_LIFETIME
    key_overlap: int = DEFAULT_OVERLAP
    policy_prefix: str = TENANT_PREFIX
    access: Access = dataclasses.field(default_factory=Access)

    @property
    def policy(self) -> str:
        """Name of the templated OpenBao policy of all tenants of this cluster."""
        return f"{self.policy_prefix}{self.name}"

    @property
    def elsewhere(self) -> str:
        """A namespace that the canary is not in, and that is not to exist."""
        return f"{self.namespace[:52]}-elsewhere"

    @property
    def ca_fingerprint(self) -> str:
        return fingerprint(self.ca_pem.strip())

    def tenant_policy(self, tenant: Tenant) -> str:
        """Name of the OpenBao policy of one tenant (the stricter option)."""
        return f"{self.policy_prefix}{self.name}.{tenant.name}"


@dataclasses.dataclass(frozen=True)
class TenantPath:
    """A path of another secret engine that tenants may use, each with its own namespace in it.

    :ivar path: with ``{cluster}`` and ``{namespace}`` in it.
    """

    path: str
    capabilities: tuple[str, ...]

    def of(self, cluster: Cluster, namespace: str) -> str:
        """Return the path of a namespace."""
        return self.path.replace("{cluster}", cluster.name).replace("{namespace}", namespace)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What holds for all clusters of a call.

    :ivar renew_below: part of its life, 0 to 1, below which the reviewer's token is replaced.
    :ivar keep: names of clusters that pruning leaves alone, beyond those of the call.
    :ivar tenant_paths: what tenants may use beyond their OpenBao secrets.
    """

    kv_mount: str = "kv"
    kv_prefix: str = "tenants"
    verify: Verify = "on_change"
    renew_below: float = RENEW_BELOW
    adopt: bool = False
    prune: bool = False
    prune_max_percent: int = 20
    keep: tuple[str, ...] = ()
    label_domain: str = DEFAULT_LABEL_DOMAIN
    tenant_paths: tuple[TenantPath, ...] = ()

    @property
    def label(self) -> str:
        """Ownership label of Kubernetes objects."""
        return f"{self.label_domain}/inventory"

    @property
    def reviewer_label(self) -> str:
        """Label of a bound Secret, with the cluster's name as its value."""
        return f"{self.label_domain}/reviewer"

    def selector(self, cluster: Cluster) -> str:
        """Label selector of a cluster's bound Secrets."""
        return f"{self.reviewer_label}={cluster.name}"

    def data_path(self, cluster: Cluster, namespace: str, name: str = "*") -> str:
        """Path of an OpenBao secret of a namespace, as logins read it."""
        return f"{self.kv_mount}/data/{self.kv_prefix}/{cluster.name}/{namespace}/{name}"

    def metadata_path(self, cluster: Cluster, namespace: str, name: str = "*") -> str:
        return f"{self.kv_mount}/metadata/{self.kv_prefix}/{cluster.name}/{namespace}/{name}"


# -- parts -----------------------------------------------------------------------------------------------------------


def _strings(raw: t.Any, default: tuple[str, ...]) -> tuple[str, ...]:
    return default if raw is None else tuple(dict.fromkeys(str(v).strip() for v in raw))


def _word(raw: t.Any, pattern: re.Pattern[str], item: str, rule: str, what: str) -> str:
    text = str(raw)
    check(
        pattern.fullmatch(text),
        f"{text!r} is not {what}.",
        item=item,
        rule=rule,
        fix="use small letters, digits and dashes, beginning and ending with a letter or digit.",
    )
    return text


def _known(raw: t.Mapping[str, t.Any], record: type, item: str) -> None:
    names = [f.name for f in dataclasses.fields(record)]
    for key in raw:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, 1)
            raise InvalidInput(
                f"{key!r} is no option of it.",
                item=item,
                rule="unknown-option",
                fix=f"did you mean {near[0]}?" if near else f"options are {', '.join(sorted(names))}.",
            )


def _bound(values: tuple[str, ...], item: str, what: str) -> tuple[str, ...]:
    check(
        "*" not in values or len(values) == 1,
        "mixes * with other entries; OpenBao takes * alone only.",
        item=item,
        rule="wildcard-mixed",
        fix="write * alone, or leave it out.",
    )
    for value in values:
        check(
            _GLOB.fullmatch(value),
            f"{value!r} is not the name of {what}, nor a pattern with *.",
            item=item,
            rule="binding-name",
            fix="write names as kubectl shows them; * stands for any characters.",
        )
    return values


def _service_accounts(raw: t.Any, default: tuple[str, ...], item: str) -> tuple[str, ...]:
    values = _bound(_strings(raw, default), item, "a ServiceAccount")
    check(values, "is empty.", item=item, rule="service-accounts-missing", fix="name the ServiceAccounts that log in.")
    check(
        "default" not in values and "*" not in values,
        "binds the ServiceAccount default, which every pod has that names none."
        if "default" in values
        else "binds every ServiceAccount, default too, which every pod has that names none.",
        item=item,
        rule="service-account-default",
        fix="make a ServiceAccount for it, such as eso, and name that one.",
    )
    return values


def _ttl(raw: t.Any, item: str) -> int:
    value = DEFAULT_TTL if raw is None else seconds(raw, item=item)
    check(
        MIN_TTL <= value <= MAX_TTL,
        f"is {value} s; a token must live {MIN_TTL} to {MAX_TTL} s.",
        item=item,
        rule="ttl-range",
        fix="10m to 20m suits; a deleted ServiceAccount's token lives on until then.",
    )
    return value


def _tenants(raw: t.Any, service_accounts: tuple[str, ...], item: str) -> tuple[Tenant, ...]:
    found: dict[str, Tenant] = {}
    owner: dict[str, str] = {}
    for number, entry in enumerate(raw or ()):
        where = f"{item}[{number}]"
        _known(entry, Tenant, where)
        name = _word(entry.get("name") or "", _NAME, f"{where}.name", "tenant-name", "the name of a tenant")
        where = f"{where} ({name})"
        check(name not in found, "is there twice.", item=where, rule="unique-tenant", fix="join the two.")
        namespaces = _strings(entry.get("namespaces"), (name,))
        check(namespaces, "has no namespaces.", item=where, rule="namespaces-missing", fix="name at least one.")
        for namespace in namespaces:
            _word(namespace, _LABEL, f"{where}.namespaces", "namespace-name", "the full name of a namespace")
            check(
                namespace not in owner,
                f"has the namespace {namespace}, which tenant {owner.get(namespace)} has.",
                item=where,
                rule="unique-tenant-namespace",
                fix="give it to one of the two.",
            )
            owner[namespace] = name
        accounts = _service_accounts(entry.get("service_accounts"), service_accounts, f"{where}.service_accounts")
        found[name] = Tenant(name, namespaces, accounts)
    return tuple(found.values())


def _access(raw: t.Mapping[str, t.Any], item: str) -> Access:
    _known(raw, Access, item)
    accounts = _service_accounts(raw.get("service_accounts"), ("eso",), f"{item}.service_accounts")
    selector = dict(raw.get("namespace_selector") or {})
    check(
        not {"matchLabels", "matchExpressions"} & set(selector),
        "is a mapping of labels; matchExpressions do not exist there.",
        item=f"{item}.namespace_selector",
        rule="namespace-selector",
        fix='write label: value pairs directly, such as {tenancy: "true"}.',
    )
    for key, value in selector.items():
        check(
            isinstance(key, str) and isinstance(value, str),
            f"{key}: {value!r} is no text.",
            item=f"{item}.namespace_selector",
            rule="label",
            fix='put numbers, true and false between quotes, as in tenancy: "true".',
        )
    namespaces = _bound(
        _strings(raw.get("namespaces"), () if selector else ("*",)), f"{item}.namespaces", "a namespace"
    )
    check(
        namespaces or selector,
        "is empty, and there is no namespace_selector.",
        item=f"{item}.namespaces",
        rule="namespaces-missing",
        fix="name namespaces or patterns, or give a selector.",
    )
    check(
        not selector or "*" not in namespaces,
        "allows every namespace, so that namespace_selector has no effect.",
        item=f"{item}.namespaces",
        rule="selector-without-effect",
        fix="leave out one of the two.",
    )
    role = _word(raw.get("role") or "tenant", _ROLE, f"{item}.role", "role-name", "a name for a role")
    check(
        role not in (CANARY_ROLE, ELSEWHERE_ROLE) and not role.startswith(TENANT_PREFIX),
        f"{role} is among the names that the module uses itself.",
        item=f"{item}.role",
        rule="role-reserved",
        fix=f"take another one; {CANARY_ROLE}, {ELSEWHERE_ROLE} and {TENANT_PREFIX}* are taken.",
    )
    token_type = str(raw.get("token_type") or "batch")
    check(
        token_type in ("batch", "service"),
        f"{token_type!r} is neither batch nor service.",
        item=f"{item}.token_type",
        rule="token-type",
        fix="batch stores nothing; service can be revoked.",
    )
    return Access(
        role=role,
        service_accounts=accounts,
        namespaces=namespaces,
        namespace_selector=selector,
        ttl=_ttl(raw.get("ttl"), f"{item}.ttl"),
        token_type=token_type,
        find=bool(raw.get("find")),
        per_tenant=_tenants(raw.get("per_tenant"), accounts, f"{item}.per_tenant"),
    )


def _mount(raw: t.Any, name: str, item: str) -> str:
    path = f"{MOUNT_PREFIX}{name}" if raw is None else str(raw).strip("/")
    check(
        _MOUNT.fullmatch(path) and not path.startswith("auth/"),
        f"{path!r} cannot be the path of an auth mount.",
        item=item,
        rule="mount-path",
        fix="letters, digits, dash, dot, underscore, parts separated by slashes, without auth/.",
    )
    check(
        not path.endswith(MOVE_SUFFIXES),
        f"{path} has the ending of a mount that is on its way to another mode.",
        item=item,
        rule="mount-suffix",
        fix=f"take a path that does not end in {' or '.join(MOVE_SUFFIXES)}.",
    )
    check(
        path.partition("/")[0] not in ("token", "userpass"),
        f"{path} belongs to the server or to people.",
        item=item,
        rule="mount-reserved",
        fix=f"leave it out; {MOUNT_PREFIX}{name} is the default.",
    )
    return path


def server_address(raw: t.Any, item: str) -> str:
    """Return the address of an API server, checked, without a slash at its end.

    :raises InvalidInput: rules ``url``, ``plain-http``.
    """
    text = str(raw).strip().rstrip("/")
    try:
        parts = urllib.parse.urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and "@" not in text
        host = parts.hostname or ""
        _port = parts.port
    except ValueError:
        good, parts, host = False, urllib.parse.urlsplit(""), ""
    check(
        good and not parts.fragment,
        "is not an address of the form https://host:port.",
        item=item,
        rule="url",
        fix="write the address at which OpenBao reaches the API server.",
    )
    check(
        parts.scheme == "https" or _LOOPBACK.fullmatch(host),
        "is plain http, and the reviewer's token would be readable on its way.",
        item=item,
        rule="plain-http",
        fix="write https; http is for loopback only.",
    )
    return text


def ca_text(raw: t.Any, item: str) -> str:
    """Return PEM certificates, checked and without white space at the ends of lines.

    :raises InvalidInput: rules ``ca-pem``, ``private-key``.
    """
    text = "\n".join(line.strip() for line in str(raw).strip().splitlines())
    check(
        "PRIVATE KEY" not in text,
        "contains a private key.",
        item=item,
        rule="private-key",
        fix="give certificates only.",
    )
    check(
        re.search(r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+\n-----END CERTIFICATE-----", text),
        "has no certificate in PEM notation.",
        item=item,
        rule="ca-pem",
        fix="give the CA of the API server, as in certificate-authority-data of a kubeconfig, decoded.",
    )
    return text


def _audience(raw: t.Any, name: str, item: str) -> str:
    audience = f"{AUDIENCE_PREFIX}{name}" if raw is None else str(raw).strip()
    check(
        audience,
        "is empty: the role would take a token that was made for anybody.",
        item=item,
        rule="audience-missing",
        fix=f"leave it out for {AUDIENCE_PREFIX}{name}, or give the audience of OpenBao.",
    )
    check(
        not re.search(r"[\s*,]", audience),
        f"{audience!r} is not one plain text.",
        item=item,
        rule="audience",
        fix="one audience without spaces, commas and *.",
    )
    return audience


def check_audience(audience: str, own: t.Iterable[str], item: str) -> None:
    """Refuse an audience that the API server itself accepts.

    :param own: its issuer, address and audiences, as far as they are known.
    :raises InvalidInput: rule ``audience-of-api-server``.
    """
    taken = {o.rstrip("/") for o in own if o} | _OWN_AUDIENCES
    check(
        audience.rstrip("/") not in taken,
        f"{audience} is an audience of the API server itself: whoever gets such a token could use it there.",
        item=f"{item}.audience",
        rule="audience-of-api-server",
        fix="take one that only OpenBao is meant by, such as openbao-<cluster>.",
    )


def _lifetime(raw: t.Any, item: str) -> int:
    value = DEFAULT_LIFETIME if raw is None else seconds(raw, item=item)
    check(
        MIN_LIFETIME <= value <= MAX_LIFETIME,
        f"is {value} s; it must be {MIN_LIFETIME} s (API servers give no shorter ones) to 366 days.",
        item=item,
        rule="token-lifetime",
        fix="30d suits a run every few days.",
    )
    return value


def _overlap(raw: t.Any, item: str) -> int:
    value = DEFAULT_OVERLAP if raw is None else seconds(raw, item=item)
    check(
        0 <= value <= MAX_OVERLAP,
        f"is {value} s; it must be 0 s to 31 days.",
        item=item,
        rule="key-overlap",
        fix="1h suits; tokens signed by the old key must have expired by then.",
    )
    return value


def _cluster(raw: t.Mapping[str, t.Any], number: int) -> Cluster:
    item = f"clusters[{number}]"
    name = str(raw.get("name") or "")
    check(
        _NAME.fullmatch(name),
        f"{name!r} is not the name of a cluster.",
        item=f"{item}.name",
        rule="cluster-name",
        fix="small letters, digits and dashes, at most 40.",
    )
    item = f"{item} ({name})"
    mode = str(raw.get("mode") or "token_request")
    check(
        mode in MODES,
        f"{mode!r} is not a mode.",
        item=f"{item}.mode",
        rule="mode",
        fix=f"one of {', '.join(MODES)}.",
    )
    check(
        raw.get("kubeconfig"),
        "has no kubeconfig.",
        item=item,
        rule="kubeconfig-missing",
        fix="give the administrator's kubeconfig of the cluster.",
    )
    namespace = raw.get("namespace") or Cluster.namespace
    account = raw.get("service_account") or Cluster.service_account
    canary = raw.get("canary_service_account") or Cluster.canary_service_account
    for key, value in (("service_account", account), ("canary_service_account", canary)):
        _word(value, _LABEL, f"{item}.{key}", "service-account-name", "the name of a ServiceAccount")
        check(
            value != "default",
            "is the ServiceAccount default, which every pod of the namespace has that names none.",
            item=f"{item}.{key}",
            rule="service-account-default",
            fix="leave it out, or take another name.",
        )
    check(
        account != canary,
        "is the reviewer too.",
        item=f"{item}.canary_service_account",
        rule="canary-is-reviewer",
        fix="take two ServiceAccounts: a login of the reviewer must be refused.",
    )
    access = _access(raw.get("access") or {}, f"{item}.access")
    cluster = Cluster(
        name=name,
        item=item,
        mode=t.cast("Mode", mode),
        mount=_mount(raw.get("mount"), name, f"{item}.mount"),
        audience=_audience(raw.get("audience"), name, f"{item}.audience"),
        kubeconfig=raw.get("kubeconfig"),
        context=raw.get("context"),
        tls_server_name=raw.get("tls_server_name"),
        api_server=server_address(raw["api_server"], f"{item}.api_server") if raw.get("api_server") else "",
        ca_pem=ca_text(raw["ca_cert"], f"{item}.ca_cert") if raw.get("ca_cert") else "",
        issuer=str(raw.get("issuer") or ""),
        namespace=_word(namespace, _LABEL, f"{item}.namespace", "namespace-name", "the name of a namespace"),
        service_account=str(account),
        canary_service_account=str(canary),
        cluster_role=_word(
            raw.get("cluster_role") or Cluster.cluster_role,
            _SUBDOMAIN,
            f"{item}.cluster_role",
            "cluster-role-name",
            "the name of a ClusterRole",
        ),
        token_lifetime=_lifetime(raw.get("token_lifetime"), f"{item}.token_lifetime"),
        key_overlap=_overlap(raw.get("key_overlap"), f"{item}.key_overlap"),
        access=access,
    )
    check_audience(cluster.audience, (cluster.api_server, cluster.issuer), item)
    _check_mode(cluster)
    return cluster


def _check_mode(cluster: Cluster) -> None:
    """Refuse what the mode of a cluster cannot do."""
    item = f"{cluster.item}.access"
    check(
        cluster.mode != "jwt_pubkeys" or not cluster.access.namespace_selector,
        "has a namespace_selector, and in mode jwt_pubkeys OpenBao asks no API server for labels.",
        item=item,
        rule="selector-without-review",
        fix="name the namespaces or patterns of their names, or take mode token_request.",
    )
    if cluster.mode != "client_jwt" or cluster.access.per_tenant:
        return
    patterns = [n for n in (*cluster.access.namespaces, *cluster.access.service_accounts) if "*" in n]
    check(
        not patterns and not cluster.access.namespace_selector,
        "has patterns or a selector; in mode client_jwt every tenant is bound to a ClusterRole by its name.",
        item=item,
        rule="client-jwt-names",
        fix="list the namespaces by their names, or take mode token_request.",
    )


def completed(cluster: Cluster, *, server: str, ca_pem: str) -> Cluster:
    """Return *cluster* with what its kubeconfig says of the API server where the options say nothing.

    :raises InvalidInput: when what comes of it must not be used (``plain-http``, ``ca-missing``, ...).
    """
    address = cluster.api_server or server_address(server, f"{cluster.item}.kubeconfig")
    check(
        cluster.ca_pem or ca_pem.strip(),
        "its kubeconfig has no CA, and OpenBao uses no other one.",
        item=f"{cluster.item}.ca_cert",
        rule="ca-missing",
        fix="give the CA of the API server as ca_cert.",
    )
    ca = cluster.ca_pem or ca_text(ca_pem, f"{cluster.item}.kubeconfig")
    check_audience(cluster.audience, (address, server, cluster.issuer), cluster.item)
    return dataclasses.replace(cluster, api_server=address, ca_pem=ca)


# -- the whole -------------------------------------------------------------------------------------------------------


def _segments(raw: t.Any, item: str, rule: str) -> str:
    text = str(raw).strip("/")
    check(
        _MOUNT.fullmatch(text),
        f"{text!r} cannot be part of a path in OpenBao.",
        item=item,
        rule=rule,
        fix="letters, digits, dash, dot, underscore, parts separated by slashes.",
    )
    return text


def _tenant_paths(raw: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[TenantPath, ...]:
    found: dict[str, TenantPath] = {}
    for number, one in enumerate(raw):
        item = f"tenant_paths[{number}]"
        path = str(one.get("path") or "").strip("/")
        check(
            path.count("{namespace}") == 1 and path.count("{cluster}") == 1,
            f"{path!r} does not name {{cluster}} and {{namespace}} once each: namespaces could use what is others'.",
            item=f"{item}.path",
            rule="tenant-path-namespace",
            fix="as in database/static-creds/{cluster}.{namespace}.*",
        )
        bare = path.replace("{namespace}", "n").replace("{cluster}", "c")
        check(
            re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+\*?|[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/\*", bare)
            and ".." not in bare,
            f"{path!r} is not a path below a secret engine.",
            item=f"{item}.path",
            rule="tenant-path",
            fix="letters, digits, dash, dot, underscore and slashes; * at the end only.",
        )
        check(
            path.partition("/")[0] not in ("sys", "auth", "identity", "cubbyhole")
            and "{" not in path.partition("/")[0],
            f"{path!r} is not in a secret engine.",
            item=f"{item}.path",
            rule="tenant-path",
            fix="begin with the path of the engine.",
        )
        # names of namespaces have dashes and no dots: with "a-*", the namespace a would have what is of a-b
        check(
            re.search(r"\{namespace\}([./_]|$)", path)
            and re.search(r"(^|[./_])\{namespace\}", path)
            and re.search(r"\{cluster\}[./_]", path)
            and re.search(r"[./_]\{cluster\}", path),
            f"{path!r}: a dash or * next to a name lets a namespace use what is of another, whose name goes on there.",
            item=f"{item}.path",
            rule="tenant-path-boundary",
            fix="put a dot, an underscore or a slash before and after {cluster} and {namespace}.",
        )
        capabilities = tuple(dict.fromkeys(str(c) for c in one.get("capabilities") or ["read"]))
        check(
            set(capabilities) <= {"create", "read", "update", "patch", "delete", "list"},
            f"{', '.join(capabilities)} has something else than create, read, update, patch, delete, list.",
            item=f"{item}.capabilities",
            rule="tenant-path-capability",
            fix="read for credentials, update for transit.",
        )
        check(path not in found, "is there twice.", item=item, rule="unique-tenant-path", fix="join the two.")
        found[path] = TenantPath(path, capabilities)
    return tuple(found.values())


def parse(arguments: t.Mapping[str, t.Any]) -> tuple[Settings, list[Cluster]]:
    """Return settings and clusters. Contents are in the place of files by now (``ca_cert`` is PEM text).

    :raises InvalidInput: naming the first thing that is wrong.
    """
    below = RENEW_BELOW if arguments.get("renew_below") is None else float(arguments["renew_below"])
    check(
        0 < below <= 1,
        f"is {below:g}; it is a part of the life of a token.",
        item="renew_below",
        rule="renew-below",
        fix="more than 0 and at most 1; 1 renews at every run.",
    )
    percent = int(arguments.get("prune_max_percent", 20))
    check(
        0 <= percent <= 100,
        f"is {percent}.",
        item="prune_max_percent",
        rule="percent",
        fix="0 to 100.",
    )
    domain = str(arguments.get("label_domain") or DEFAULT_LABEL_DOMAIN)
    check(
        _DOMAIN.fullmatch(domain) and len(domain) <= 200,
        f"{domain!r} is not a DNS name.",
        item="label_domain",
        rule="label-domain",
        fix="give a domain such as infra.example.org.",
    )
    settings = Settings(
        kv_mount=_segments(arguments.get("kv_mount") or "kv", "kv_mount", "kv-mount"),
        kv_prefix=_segments(arguments.get("kv_prefix") or "tenants", "kv_prefix", "kv-prefix"),
        verify=t.cast("Verify", arguments.get("verify") or "on_change"),
        renew_below=below,
        adopt=bool(arguments.get("adopt")),
        prune=bool(arguments.get("prune")),
        prune_max_percent=percent,
        keep=tuple(
            _word(name, _NAME, f"keep[{number}]", "cluster-name", "the name of a cluster")
            for number, name in enumerate(arguments.get("keep") or [])
        ),
        label_domain=domain,
        tenant_paths=_tenant_paths(arguments.get("tenant_paths") or []),
    )
    prefix = str(arguments.get("policy_prefix") or TENANT_PREFIX)
    _word(f"{prefix}x", _ROLE, "policy_prefix", "policy-prefix", "how the name of an OpenBao policy can begin")
    clusters = parse_clusters(arguments.get("clusters") or [])
    return settings, [dataclasses.replace(cluster, policy_prefix=prefix) for cluster in clusters]


def parse_clusters(raw: t.Sequence[t.Mapping[str, t.Any]]) -> list[Cluster]:
    """Return the clusters of a call, checked one by one and against each other."""
    found: dict[str, Cluster] = {}
    for number, entry in enumerate(raw):
        cluster = _cluster(entry, number)
        check(
            cluster.name not in found,
            "is in the list twice.",
            item=f"{cluster.item}.name",
            rule="unique-cluster-name",
            fix="remove one of the two, or give it another name.",
        )
        for other in found.values():
            _apart(cluster, other)
        found[cluster.name] = cluster
    return list(found.values())


def check_together(clusters: t.Sequence[Cluster]) -> None:
    """Refuse clusters that would undo each other's work on one API server. They are :func:`completed`.

    :raises InvalidInput: rules ``cluster-role-shared``, ``reviewer-shared``.
    """
    seen: dict[tuple[str, str, str], Cluster] = {}
    users: dict[tuple[str, str, str], tuple[Cluster, str]] = {}
    for cluster in clusters:
        key = (cluster.api_server, cluster.ca_fingerprint, cluster.cluster_role)
        other = seen.setdefault(key, cluster)
        check(
            (cluster.namespace, cluster.service_account, bool(cluster.access.namespace_selector))
            == (other.namespace, other.service_account, bool(other.access.namespace_selector)),
            f"{cluster.cluster_role} is the ClusterRole of {other.name} too, at the same API server, for another one.",
            item=f"{cluster.item}.cluster_role",
            rule="cluster-role-shared",
            fix="give one of the two another cluster_role, or the same namespace and service_account.",
        )
        reviews = cluster.mode in ("token_request", "long_lived")
        for what, name, keeps in (
            ("service_account", f"{cluster.namespace}/{cluster.service_account}", "reviewer" if reviews else ""),
            ("cluster_role", cluster.cluster_role, "reviewer" if reviews else cluster.mode),
        ):
            other, kept = users.setdefault((cluster.api_server, what, name), (cluster, keeps))
            check(
                keeps == kept,
                f"{name} is that of {other.name} too, at the same API server, and of the modes {other.mode} and"
                f" {cluster.mode} one takes away what the other needs.",
                item=f"{cluster.item}.{what}",
                rule="reviewer-shared",
                fix="give one of the two another namespace and cluster_role, or both the same mode.",
            )


def _apart(cluster: Cluster, other: Cluster) -> None:
    mine, theirs = cluster.mount, other.mount
    check(
        mine != theirs and not mine.startswith(f"{theirs}/") and not theirs.startswith(f"{mine}/"),
        f"{mine} overlaps {theirs}, the auth mount of {other.name}.",
        item=f"{cluster.item}.mount",
        rule="mount-overlap",
        fix="give each cluster a mount of its own, none below another.",
    )
    check(
        cluster.audience != other.audience,
        f"{cluster.audience} is the audience of {other.name} too.",
        item=f"{cluster.item}.audience",
        rule="unique-audience",
        fix="give each cluster its own; a token is then good at one mount only.",
    )
