# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Auth mounts as people declare them: mount settings, the method's configuration, and who may log in (roles, users)."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .._core.errors import InvalidInput, check
from .._core.redact import Secret, fingerprint
from .fields import Field, Table, parse_fields

_PATH = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")
_ENTRY = re.compile(r"^\w(?:[\w.-]*\w)?$")

#: Mounts with this prefix belong to the module jwt_reviewer.
REVIEWER_PREFIX: t.Final = "kubernetes-"
#: A client secret with fewer characters could be guessed from its fingerprint.
MIN_CLIENT_SECRET: t.Final = 20
MIN_PASSWORD: t.Final = 12

# -- settings of a mount (sys/auth/<path>/tune, sys/mounts/<path>/tune) ---------------------------------------------

_HEADERS: t.Final[Table] = {
    "audit_non_hmac_request_keys": Field("set"),
    "audit_non_hmac_response_keys": Field("set"),
    "listing_visibility": Field("str", choices=("", "hidden", "unauth")),
    "passthrough_request_headers": Field("set"),
    "allowed_response_headers": Field("set"),
}
TUNE: t.Final[Table] = {"default_lease_ttl": Field("duration"), "max_lease_ttl": Field("duration"), **_HEADERS}
AUTH_TUNE: t.Final[Table] = {
    **TUNE,
    "token_type": Field(
        "str",
        default="default-service",
        choices=("default-service", "default-batch", "service", "batch"),
    ),
}
#: Names in a declaration and in requests; in answers they begin with ``user_lockout`` (:func:`lockout_of`).
LOCKOUT: t.Final[Table] = {
    "lockout_threshold": Field("int"),
    "lockout_duration": Field("duration"),
    "lockout_counter_reset_duration": Field("duration"),
    "lockout_disable": Field("bool"),
}
LOCKOUT_TYPES: t.Final = ("userpass", "ldap", "approle")

# -- configuration of methods (auth/<path>/config) -----------------------------------------------------------------

_JWT_CONFIG: t.Final[Table] = {
    "oidc_discovery_url": Field(),
    "oidc_discovery_ca_pem": Field("pem"),
    "oidc_client_id": Field(),
    "oidc_response_mode": Field(choices=("", "query", "form_post")),
    "oidc_response_types": Field("set"),
    "jwks_url": Field(),
    "jwks_ca_pem": Field("pem"),
    "jwt_validation_pubkeys": Field("pems"),
    "jwt_supported_algs": Field("set"),
    "bound_issuer": Field(),
    "default_role": Field(),
    "provider_config": Field("map", public=False),
    "namespace_in_state": Field("bool", default=True),
    "skip_jwks_validation": Field("bool", shown=False),
}
CONFIGS: t.Final[t.Mapping[str, Table]] = {
    "jwt": _JWT_CONFIG,
    "oidc": _JWT_CONFIG,
    "cert": {
        "disable_binding": Field("bool"),
        "enable_identity_alias_metadata": Field("bool"),
        "ocsp_cache_size": Field("int", default=100),
    },
}
#: Keys of provider_config that the server never shows.
HIDDEN_PROVIDER_KEYS: t.Final = frozenset({"gsuite_service_account"})

# -- roles and users -----------------------------------------------------------------------------------------------

TOKEN: t.Final[Table] = {
    "token_policies": Field("set"),
    "token_ttl": Field("duration"),
    "token_max_ttl": Field("duration"),
    "token_explicit_max_ttl": Field("duration"),
    "token_period": Field("duration"),
    "token_bound_cidrs": Field("cidrs"),
    "token_strictly_bind_ip": Field("bool"),
    "token_no_default_policy": Field("bool"),
    "token_num_uses": Field("int"),
    "token_type": Field(default="default", choices=("default", "service", "batch")),
}


def _jwt_role(role_type: str) -> Table:
    return {
        "role_type": Field(default=role_type, choices=("oidc", "jwt")),
        "user_claim": Field(),
        "user_claim_json_pointer": Field("bool"),
        "groups_claim": Field(),
        "bound_audiences": Field("set"),
        "bound_subject": Field(),
        "bound_claims": Field("map"),
        "bound_claims_type": Field(default="string", choices=("string", "glob")),
        "claim_mappings": Field("map"),
        "oidc_scopes": Field("set"),
        "allowed_redirect_uris": Field("set"),
        "max_age": Field("duration"),
        "expiration_leeway": Field("duration"),
        "not_before_leeway": Field("duration"),
        "clock_skew_leeway": Field("duration"),
        "verbose_oidc_logging": Field("bool"),
        **TOKEN,
    }


_NAMES: t.Final = (
    "allowed_names",
    "allowed_common_names",
    "allowed_dns_sans",
    "allowed_email_sans",
    "allowed_uri_sans",
    "allowed_organizational_units",
    "required_extensions",
    "allowed_metadata_extensions",
)


@dataclasses.dataclass(frozen=True)
class Collection:
    """What lives in a mount of one type: its path below the mount, what it is called, its fields."""

    path: str
    kind: str
    table: Table


COLLECTIONS: t.Final[t.Mapping[str, Collection]] = {
    "oidc": Collection("role", "role", _jwt_role("oidc")),
    "jwt": Collection("role", "role", _jwt_role("jwt")),
    "userpass": Collection("users", "user", TOKEN),
    "cert": Collection(
        "certs",
        "certificate role",
        {
            "certificate": Field("pem"),
            "display_name": Field(),
            **{name: Field("set") for name in _NAMES},
            "ocsp_enabled": Field("bool"),
            "ocsp_ca_certificates": Field("pem"),
            "ocsp_servers_override": Field("set"),
            "ocsp_fail_open": Field("bool"),
            "ocsp_query_all_servers": Field("bool"),
            **TOKEN,
        },
    ),
    "approle": Collection(
        "role",
        "role",
        {
            "bind_secret_id": Field("bool", default=True),
            "secret_id_bound_cidrs": Field("cidrs"),
            "secret_id_num_uses": Field("int"),
            "secret_id_ttl": Field("duration"),
            "local_secret_ids": Field("bool", fixed=True),
            **TOKEN,
        },
    ),
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A role or a user of a mount.

    :ivar password: for users; sent when the user is made, and later when *always_password* and it does not work.
    """

    name: str
    fields: t.Mapping[str, t.Any]
    password: Secret | None = None
    always_password: bool = False


@dataclasses.dataclass(frozen=True)
class AuthMount:
    """A wanted auth mount.

    :ivar description: without our mark; ``None`` keeps what is there.
    :ivar tune: fields of :data:`AUTH_TUNE`.
    :ivar lockout: fields of :data:`LOCKOUT`; ``None`` for types that have none.
    :ivar config: the method's configuration; ``None`` is left alone.
    :ivar entries: roles or users; ``None`` is left alone.
    """

    path: str
    type: str
    description: str | None
    tune: t.Mapping[str, t.Any]
    lockout: t.Mapping[str, t.Any] | None = None
    local: bool = False
    seal_wrap: bool = False
    config: t.Mapping[str, t.Any] | None = None
    client_secret: Secret | None = None
    entries: tuple[Entry, ...] | None = None

    @property
    def collection(self) -> Collection:
        return COLLECTIONS[self.type]

    @property
    def evidence(self) -> dict[str, str]:
        """Fingerprints of what the server never shows."""
        return {"oidc_client_secret": fingerprint(self.client_secret.reveal())} if self.client_secret else {}

    def entry_path(self, name: str) -> str:
        return f"auth/{self.path}/{self.collection.path}/{name}"


def mount_path(raw: t.Any, *, item: str, reserved: t.Collection[str]) -> str:
    """Return a checked mount path without slashes at its ends."""
    path = str(raw or "").strip("/")
    check(
        _PATH.match(path),
        f"{path!r} cannot be the path of a mount.",
        item=item,
        rule="mount-path",
        fix="letters, digits, dash, dot, underscore, parts separated by slashes.",
    )
    check(
        path.partition("/")[0] not in reserved,
        f"{path} belongs to the server.",
        item=item,
        rule="mount-reserved",
        fix="take another path, or leave it out of the list.",
    )
    return path


def parse_tune(raw: t.Mapping[str, t.Any], table: Table, *, item: str) -> dict[str, t.Any]:
    """Return the settings of a mount, checked."""
    tune = parse_fields(raw, table, item=item)
    if tune["listing_visibility"] == "hidden":
        tune["listing_visibility"] = ""
    for name in ("default_lease_ttl", "max_lease_ttl"):
        check(
            tune[name] >= 0,
            "is negative.",
            item=f"{item}.{name}",
            rule="duration-negative",
            fix="0 is the server's default.",
        )
    check(
        not tune["max_lease_ttl"] or tune["default_lease_ttl"] <= tune["max_lease_ttl"],
        "is longer than max_lease_ttl.",
        item=f"{item}.default_lease_ttl",
        rule="ttl-order",
        fix="make it shorter, or max_lease_ttl longer.",
    )
    return tune


def lockout_of(answer: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the lockout settings of an answer under the names of requests."""
    raw = answer.get("user_lockout_config") or {}
    renamed = {str(k).removeprefix("user_"): v for k, v in raw.items()}
    return {k: renamed.get(k, LOCKOUT[k].empty) for k in LOCKOUT}


def parse(raw: t.Sequence[t.Mapping[str, t.Any]], *, item: str = "mounts") -> list[AuthMount]:
    """Return the wanted auth mounts. Secrets (``oidc_client_secret``, ``password``) are values by now, not files.

    :raises InvalidInput: naming the first thing that is wrong.
    """
    found: dict[str, AuthMount] = {}
    for number, entry in enumerate(raw):
        where = f"{item}[{number}]"
        path = mount_path(entry.get("path"), item=where, reserved=("token",))
        where = f"{where} ({path})"
        check(path not in found, "is in the list twice.", item=where, rule="unique-path", fix="remove one of the two.")
        for other in found:
            check(
                not path.startswith(f"{other}/") and not other.startswith(f"{path}/"),
                f"lies within the mount {other}, which OpenBao refuses.",
                item=where,
                rule="mount-nested",
                fix="take another path.",
            )
        check(
            not path.startswith(REVIEWER_PREFIX),
            f"paths that begin with {REVIEWER_PREFIX} belong to jwt_reviewer.",
            item=where,
            rule="reviewer-mount",
            fix="declare the cluster in platform_clusters and run playbooks/reviewers.yml, or take another path.",
        )
        found[path] = _mount(entry, path, where)
    return list(found.values())


def _mount(raw: t.Mapping[str, t.Any], path: str, where: str) -> AuthMount:
    type_ = str(raw.get("type") or "")
    check(
        re.fullmatch(r"[a-z][a-z0-9_.-]*", type_) and type_ not in ("token", "ns_token"),
        f"{type_!r} is not the type of an auth method.",
        item=where,
        rule="mount-type",
        fix="userpass, oidc, jwt, cert, approle, ...",
    )
    settings = dict(raw.get("config") or {})
    lockout_raw = settings.pop("user_lockout_config", None)
    lockout: dict[str, t.Any] | None = None
    if type_ in LOCKOUT_TYPES:
        lockout = parse_fields(lockout_raw or {}, LOCKOUT, item=f"{where}.config.user_lockout_config")
    else:
        check(
            not lockout_raw,
            f"mounts of type {type_} have none.",
            item=f"{where}.config.user_lockout_config",
            rule="lockout-type",
            fix=f"only {', '.join(LOCKOUT_TYPES)} have it.",
        )
    secret = Secret(str(raw["oidc_client_secret"])) if raw.get("oidc_client_secret") else None
    description = raw.get("description")
    check(
        description is None or "[hackspace.infra" not in str(description),
        "contains the mark that the module writes by itself.",
        item=f"{where}.description",
        rule="description-mark",
        fix="leave it out.",
    )
    return AuthMount(
        path=path,
        type=type_,
        description=None if description is None else str(description).strip(),
        tune=parse_tune(settings, AUTH_TUNE, item=f"{where}.config"),
        lockout=lockout,
        local=bool(raw.get("local")),
        seal_wrap=bool(raw.get("seal_wrap")),
        config=_config(raw.get("method_config"), type_, secret, where),
        client_secret=secret,
        entries=_entries(raw, type_, where),
    )


def _config(raw: t.Any, type_: str, secret: Secret | None, where: str) -> dict[str, t.Any] | None:
    where_config = f"{where}.method_config"
    if raw is None:
        check(
            secret is None,
            "is given without method_config.",
            item=f"{where}.oidc_client_secret",
            rule="client-secret-alone",
            fix="give method_config with oidc_client_id.",
        )
        return None
    check(
        type_ in CONFIGS,
        f"mounts of type {type_} have no configuration that this module writes.",
        item=where_config,
        rule="config-type",
        fix=f"only {', '.join(CONFIGS)} have one.",
    )
    check(
        "oidc_client_secret" not in raw,
        "does not belong here, where it would be shown.",
        item=f"{where_config}.oidc_client_secret",
        rule="client-secret-place",
        fix="give oidc_client_secret or oidc_client_secret_file beside method_config.",
    )
    config = parse_fields(raw, CONFIGS[type_], item=where_config)
    if type_ == "cert":
        return config
    sources = [name for name in ("oidc_discovery_url", "jwks_url", "jwt_validation_pubkeys") if config[name]]
    check(
        len(sources) == 1,
        f"wants exactly one of oidc_discovery_url, jwks_url and jwt_validation_pubkeys, has {len(sources)}.",
        item=where_config,
        rule="key-source",
        fix="give one of them.",
    )
    for name in ("oidc_discovery_url", "jwks_url"):
        check(
            not config[name] or re.match(r"https://|http://(127\.|localhost|\[::1\])", config[name]),
            "is not an https address.",
            item=f"{where_config}.{name}",
            rule="plain-http",
            fix="who can change the answer can log in as anyone: use https.",
        )
    check(
        "/.well-known" not in config["oidc_discovery_url"],
        "contains /.well-known, which the server adds.",
        item=f"{where_config}.oidc_discovery_url",
        rule="discovery-url",
        fix="give the issuer's address only.",
    )
    check(
        bool(config["oidc_client_id"]) == bool(secret),
        "wants both oidc_client_id and oidc_client_secret, or neither.",
        item=where_config,
        rule="client-id-secret",
        fix="give oidc_client_secret_file beside method_config; the server forgets the one it has at every write.",
    )
    check(
        not config["oidc_client_id"] or config["oidc_discovery_url"],
        "oidc_client_id needs oidc_discovery_url.",
        item=where_config,
        rule="client-id-discovery",
        fix="give oidc_discovery_url.",
    )
    if secret:
        check(
            len(secret.reveal()) >= MIN_CLIENT_SECRET,
            f"has fewer than {MIN_CLIENT_SECRET} characters.",
            item=f"{where}.oidc_client_secret",
            rule="client-secret-short",
            fix="let the identity provider make a long random one.",
        )
    config["default_role"] = config["default_role"].lower()
    return config


def _entries(raw: t.Mapping[str, t.Any], type_: str, where: str) -> tuple[Entry, ...] | None:
    key, other = ("users", "roles") if type_ == "userpass" else ("roles", "users")
    check(
        raw.get(other) is None,
        f"mounts of type {type_} have no {other}.",
        item=f"{where}.{other}",
        rule="entries-type",
        fix=f"give {key}.",
    )
    entries = raw.get(key)
    if entries is None:
        return None
    check(
        type_ in COLLECTIONS,
        f"the module knows no {key} for mounts of type {type_}.",
        item=f"{where}.{key}",
        rule="entries-type",
        fix=f"it knows those of {', '.join(COLLECTIONS)}.",
    )
    found: dict[str, Entry] = {}
    for number, entry in enumerate(entries):
        name = str(entry.get("name") or "")
        item = f"{where}.{key}[{number}]" + (f" ({name})" if name else "")
        check(
            _ENTRY.match(name) and name == name.lower(),
            f"{name!r} cannot be a name here.",
            item=item,
            rule="entry-name",
            fix="small letters, digits, dash, dot, underscore.",
        )
        check(name not in found, "is in the list twice.", item=item, rule="unique-name", fix="remove one of the two.")
        found[name] = _entry(entry, name, type_, item)
    return tuple(found.values())


def _entry(raw: t.Mapping[str, t.Any], name: str, type_: str, item: str) -> Entry:
    own = {"name"} | ({"password", "password_file", "update_password"} if type_ == "userpass" else set())
    given = {k: v for k, v in raw.items() if k not in own and v is not None}
    fields = parse_fields(given, COLLECTIONS[type_].table, item=item)
    fields["token_policies"] = sorted({p.lower() for p in fields["token_policies"]})
    check(
        "root" not in fields["token_policies"],
        "has the OpenBao policy root, which no login may have.",
        item=f"{item}.token_policies",
        rule="token-policy-root",
        fix="give an OpenBao policy that says what is needed.",
    )
    check(
        not fields["token_max_ttl"] or fields["token_ttl"] <= fields["token_max_ttl"],
        "is longer than token_max_ttl.",
        item=f"{item}.token_ttl",
        rule="ttl-order",
        fix="make it shorter, or token_max_ttl longer.",
    )
    check(
        fields["token_type"] not in ("batch",) or not (fields["token_period"] or fields["token_num_uses"]),
        "is batch; such tokens can be neither periodic nor limited in use.",
        item=f"{item}.token_type",
        rule="batch-token",
        fix="leave out token_period and token_num_uses, or take service.",
    )
    if type_ in ("oidc", "jwt"):
        _jwt_rules(fields, item)
    if type_ == "cert":
        check(
            fields["certificate"],
            "is missing.",
            item=f"{item}.certificate",
            rule="certificate",
            fix="give the PEM text of the CA or the certificate.",
        )
    if type_ != "userpass":
        return Entry(name, fields)
    password = raw.get("password")
    if password:
        check(
            len(str(password)) >= MIN_PASSWORD,
            f"has fewer than {MIN_PASSWORD} characters.",
            item=f"{item}.password",
            rule="password-short",
            fix="take a long one from a password manager.",
        )
    always = str(raw.get("update_password") or "on_create") == "always"
    if always and not password:
        raise InvalidInput(
            "update_password: always needs a password.", item=item, rule="password-missing", fix="give password_file."
        )
    return Entry(name, fields, Secret(str(password)) if password else None, always)


def _jwt_rules(fields: t.Mapping[str, t.Any], item: str) -> None:
    check(
        fields["user_claim"],
        "is missing.",
        item=f"{item}.user_claim",
        rule="user-claim",
        fix="name the claim that identifies a person, e.g. sub.",
    )
    if fields["role_type"] == "oidc":
        check(
            fields["allowed_redirect_uris"],
            "is missing.",
            item=f"{item}.allowed_redirect_uris",
            rule="redirect-uris",
            fix="give the addresses of the user interface and the command line, e.g. http://localhost:8250/oidc/callback.",
        )
    else:
        bound = any(fields[n] for n in ("bound_audiences", "bound_subject", "bound_claims", "token_bound_cidrs"))
        check(
            bound,
            "binds nothing: any token of the issuer could log in.",
            item=item,
            rule="role-unbound",
            fix="give bound_audiences.",
        )
    for claim, values in fields["bound_claims"].items():
        check(
            fields["bound_claims_type"] != "glob"
            or all(isinstance(v, str) for v in (values if isinstance(values, list) else [values])),
            "is not a text, which bound_claims_type glob needs.",
            item=f"{item}.bound_claims.{claim}",
            rule="type",
            fix="write it in quotes.",
        )
    targets = list(fields["claim_mappings"].values())
    check(
        len(targets) == len(set(targets)) and "role" not in targets,
        "leads two claims to one name, or one to the reserved name role.",
        item=f"{item}.claim_mappings",
        rule="claim-mappings",
        fix="give each claim a name of its own.",
    )


def by_path(data: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """Return path without slash -> entry from the answer of ``sys/auth`` or ``sys/mounts``."""
    return {str(p).strip("/"): dict(m) for p, m in data.items() if isinstance(m, t.Mapping) and "type" in m}
