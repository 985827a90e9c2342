# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""PKI engines: one certificate authority each, made once and never again; addresses, revocation, tidying and roles.

Private keys are made in OpenBao and never leave it. An authority that exists is compared and never replaced.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from .._core.errors import Refused, check
from .._core.plan import Change
from .certificates import Certificate, key_of_request, look
from .config_apply import Ref, Send
from .engine_entries import (
    Context,
    Entry,
    Kind,
    given,
    is_name,
    parse_entries,
    plan_entry,
    plan_prune,
    plan_settings,
    wire,
)
from .fields import Field, Table, canonical

CA_TITLE: t.Final = "certificate authority"
REQUEST_TITLE: t.Final = "certificate request"
KEY_TYPES: t.Final = ("rsa", "ec", "ed25519")

_SUBJECT: t.Final[Table] = {
    "organization": Field("list"),
    "ou": Field("list"),
    "country": Field("list"),
    "locality": Field("list"),
    "province": Field("list"),
}
#: What a new authority is made with; of one that exists only the common name is compared.
CA_TABLE: t.Final[Table] = {
    "common_name": Field("str"),
    "issuer_name": Field("str"),
    "ttl": Field("duration"),
    "key_type": Field("str", default="ec", choices=KEY_TYPES),
    "key_bits": Field("int"),
    "max_path_length": Field("int", default=-1),
    "permitted_dns_domains": Field("list"),
    **_SUBJECT,
}
URLS: t.Final[Table] = {
    "issuing_certificates": Field("set"),
    "crl_distribution_points": Field("set"),
    "ocsp_servers": Field("set"),
    "enable_templating": Field("bool"),
}
CRL: t.Final[Table] = {
    "expiry": Field("duration", default=72 * 3600),
    "disable": Field("bool"),
    "ocsp_disable": Field("bool"),
    "ocsp_expiry": Field("duration", default=12 * 3600),
    "auto_rebuild": Field("bool"),
    "auto_rebuild_grace_period": Field("duration", default=12 * 3600),
    "enable_delta": Field("bool"),
    "delta_rebuild_interval": Field("duration", default=15 * 60),
}
TIDY: t.Final[Table] = {
    "enabled": Field("bool"),
    "interval_duration": Field("duration", default=12 * 3600),
    "tidy_cert_store": Field("bool"),
    "tidy_revoked_certs": Field("bool"),
    "tidy_revoked_cert_issuer_associations": Field("bool"),
    "tidy_expired_issuers": Field("bool"),
    "issuer_safety_buffer": Field("duration", default=365 * 86400),
    "safety_buffer": Field("duration", default=72 * 3600),
    "pause_duration": Field("duration"),
}
ROLE: t.Final = Kind(
    "PKI role",
    "roles",
    {
        "issuer_ref": Field("str", default="default"),
        "ttl": Field("duration"),
        "max_ttl": Field("duration"),
        "not_before_duration": Field("duration", default=30),
        "not_after": Field("str"),
        "allowed_domains": Field("set"),
        "allowed_domains_template": Field("bool"),
        "allow_any_name": Field("bool"),
        "allow_bare_domains": Field("bool"),
        "allow_glob_domains": Field("bool"),
        "allow_ip_sans": Field("bool", default=True),
        "allow_localhost": Field("bool", default=True),
        "allow_subdomains": Field("bool"),
        "allow_wildcard_certificates": Field("bool", default=True),
        "allowed_other_sans": Field("set"),
        "allowed_serial_numbers": Field("set"),
        "allowed_uri_sans": Field("set"),
        "allowed_uri_sans_template": Field("bool"),
        "allowed_user_ids": Field("set"),
        "basic_constraints_valid_for_non_ca": Field("bool"),
        "client_flag": Field("bool", default=True),
        "server_flag": Field("bool", default=True),
        "code_signing_flag": Field("bool"),
        "email_protection_flag": Field("bool"),
        "cn_validations": Field("set"),
        "enforce_hostnames": Field("bool", default=True),
        "key_type": Field("str", default="rsa", choices=(*KEY_TYPES, "any")),
        "key_bits": Field("int"),
        "key_usage": Field("set"),
        "ext_key_usage": Field("set"),
        "ext_key_usage_oids": Field("set"),
        "signature_bits": Field("int"),
        "use_pss": Field("bool"),
        "generate_lease": Field("bool"),
        "no_store": Field("bool"),
        "policy_identifiers": Field("list"),
        "require_cn": Field("bool", default=True),
        "use_csr_common_name": Field("bool", default=True),
        "use_csr_sans": Field("bool", default=True),
        "street_address": Field("list"),
        "postal_code": Field("list"),
        **_SUBJECT,
    },
)
#: Fields of an issuer that a write replaces, so that they go with every write.
_ISSUER_KEPT: t.Final = (
    "leaf_not_after_behavior",
    "usage",
    "manual_chain",
    "revocation_signature_algorithm",
    "issuing_certificates",
    "crl_distribution_points",
    "ocsp_servers",
    "enable_aia_url_templating",
)
#: Seconds. The server's own limit of a mount that has none.
SYSTEM_MAX: t.Final = 768 * 3600
DAY: t.Final = 86400
DEFAULT_WARN: t.Final = 30 * DAY


@dataclasses.dataclass(frozen=True)
class Authority:
    """A wanted certificate authority.

    :ivar root: signs itself.
    :ivar signed_by: path of the PKI engine that signs an intermediate; empty if somebody outside does.
    :ivar certificate: what somebody outside has signed, the authority's own first.
    :ivar warn_before: seconds before its end from which on every run says so.
    """

    root: bool
    fields: t.Mapping[str, t.Any]
    signed_by: str
    certificate: str
    warn_before: int
    item: str

    @property
    def name(self) -> str:
        return str(self.fields["common_name"])

    def subject(self) -> dict[str, t.Any]:
        """Return what a request for a certificate says."""
        return {n: v for n, v in self.fields.items() if n in _SUBJECT or n == "common_name"}

    def new_key(self) -> dict[str, t.Any]:
        return {"key_type": self.fields.get("key_type", "ec"), "key_bits": self.fields.get("key_bits", 0)}


@dataclasses.dataclass(frozen=True)
class Signer:
    """An engine that may sign.

    :ivar type: of its mount.
    :ivar limit: seconds; what it signs lives no longer, whatever it is asked for.
    :ivar ttl: seconds that its own authority lives, if that is made by the same plan.
    """

    type: str
    limit: int
    ttl: int = 0


@dataclasses.dataclass(frozen=True)
class Pki:
    """What is wanted in a PKI engine; ``None`` leaves a part alone."""

    authority: Authority | None
    urls: t.Mapping[str, t.Any] | None
    crl: t.Mapping[str, t.Any] | None
    tidy: t.Mapping[str, t.Any] | None
    default_issuer: str
    roles: tuple[Entry, ...] | None

    def lists(self, mount: str) -> list[str]:
        found = [ROLE.path(mount)] if self.roles is not None else []
        if self.authority or self.default_issuer:
            found += [f"{mount}/issuers", f"{mount}/keys"]
        return found

    def details(self, mount: str, lists: t.Mapping[str, t.Sequence[str]], *, prune: bool) -> list[str]:
        del prune
        wanted = {r.name for r in self.roles or ()}
        found = [ROLE.path(mount, name) for name in lists.get(ROLE.path(mount), ()) if name in wanted]
        found += [path for path, fields, _table, _title in self.settings(mount) if fields is not None]
        if lists.get(f"{mount}/issuers"):
            found.append(f"{mount}/issuer/default")
            if self.default_issuer:
                found.append(f"{mount}/issuer/{self.default_issuer}")
        return found

    def settings(self, mount: str) -> list[tuple[str, t.Mapping[str, t.Any] | None, Table, str]]:
        return [
            (f"{mount}/config/urls", self.urls, URLS, "PKI addresses"),
            (f"{mount}/config/crl", self.crl, CRL, "revocation list settings"),
            (f"{mount}/config/auto-tidy", self.tidy, TIDY, "tidy settings"),
        ]


# -- declarations ----------------------------------------------------------------------------------------------------


def parse(raw: t.Mapping[str, t.Any], *, max_lease: int, item: str) -> Pki:
    """Return what is wanted.

    :param max_lease: ``max_lease_ttl`` of the mount in seconds, 0 for the server's.
    :raises InvalidInput: naming the first thing that is wrong.
    """
    roles = None
    if raw.get("roles") is not None:
        roles = tuple(parse_entries(raw["roles"], ROLE, item=f"{item}.roles"))
        for role in roles:
            _check_role(role)
    parts = {
        name: None if raw.get(name) is None else given(raw[name], table, item=f"{item}.{name}")
        for name, table in (("urls", URLS), ("crl", CRL), ("tidy", TIDY))
    }
    tidy = parts["tidy"] or {}
    check(
        not tidy.get("enabled") or any(tidy.get(name) for name in TIDY if name.startswith("tidy_")),
        "is enabled and tidies nothing.",
        item=f"{item}.tidy",
        rule="tidy-nothing",
        fix="set tidy_cert_store, tidy_revoked_certs or another one of them.",
    )
    default_issuer = str(raw.get("default_issuer") or "")
    check(
        not default_issuer or is_name(default_issuer),
        f"{default_issuer!r} is neither the name nor the id of an issuer.",
        item=f"{item}.default_issuer",
        rule="entry-name",
        fix="letters, digits, _, - and dots, beginning and ending with a letter or digit.",
    )
    return Pki(
        authority=None if raw.get("ca") is None else _authority(raw["ca"], max_lease, f"{item}.ca"),
        urls=parts["urls"],
        crl=parts["crl"],
        tidy=parts["tidy"],
        default_issuer=default_issuer,
        roles=roles,
    )


def _check_role(role: Entry) -> None:
    fields = role.fields
    check(
        not fields.get("max_ttl") or fields.get("ttl", 0) <= fields["max_ttl"],
        "is above max_ttl.",
        item=f"{role.item}.ttl",
        rule="ttl-above-max",
        fix="lower ttl, or raise max_ttl.",
    )
    check(
        fields.get("allow_any_name")
        or fields.get("allowed_domains")
        or fields.get("allowed_uri_sans")
        or not (fields.get("allow_bare_domains") or fields.get("allow_subdomains") or fields.get("allow_glob_domains")),
        "allows subdomains or bare domains of no domain.",
        item=role.item,
        rule="domains-missing",
        fix="give allowed_domains.",
    )


def _authority(raw: t.Mapping[str, t.Any], max_lease: int, item: str) -> Authority:
    kind = str(raw.get("type") or "")
    check(
        kind in ("root", "intermediate"),
        f"{kind!r} is neither root nor intermediate.",
        item=f"{item}.type",
        rule="ca-type",
        fix="a root signs itself; an intermediate is signed by another engine or outside.",
    )
    own = ("type", "signed_by", "certificate", "warn_before")
    fields = given({k: v for k, v in raw.items() if k not in own}, CA_TABLE, item=item)
    check(
        fields.get("common_name"),
        "has no common_name.",
        item=item,
        rule="field-missing",
        fix="give the name of the authority.",
    )
    signed_by = str(raw.get("signed_by") or "").strip("/")
    certificate = str(canonical(raw.get("certificate"), Field("pem"), item=f"{item}.certificate"))
    check(
        kind == "intermediate" or not (signed_by or certificate),
        "is a root, which signs itself.",
        item=item,
        rule="root-signs-itself",
        fix="leave signed_by and certificate out, or write type: intermediate.",
    )
    check(
        not (signed_by and certificate),
        "has both signed_by and certificate.",
        item=item,
        rule="one-signer",
        fix="give one of the two.",
    )
    ttl, limit = fields.get("ttl", 0), max_lease or SYSTEM_MAX
    if kind == "root" or signed_by:
        check(
            ttl > 0,
            "has no ttl, and the server's would be the default lease of the mount: 32 days.",
            item=f"{item}.ttl",
            rule="ca-ttl",
            fix="write 87600h for a root, 43800h for an intermediate, and config.max_lease_ttl of the engine as well.",
        )
    check(
        kind != "root" or ttl <= limit,
        f"is {ttl} s; the mount allows {limit} s and would cut it silently.",
        item=f"{item}.ttl",
        rule="ca-ttl-above-mount",
        fix="set config.max_lease_ttl of the engine to this or more.",
    )
    warn = raw.get("warn_before")
    authority = Authority(
        root=kind == "root",
        fields=fields,
        signed_by=signed_by,
        certificate=certificate,
        warn_before=DEFAULT_WARN
        if warn is None
        else int(canonical(warn, Field("duration"), item=f"{item}.warn_before")),
        item=item,
    )
    if certificate:
        _check_certificate(authority, look(certificate, item=f"{item}.certificate"))
    return authority


def _check_certificate(authority: Authority, found: Certificate) -> None:
    item = f"{authority.item}.certificate"
    check(
        found.authority,
        "is not of a certificate authority (basicConstraints CA).",
        item=item,
        rule="certificate-not-ca",
        fix="have it signed with the extension for an authority.",
    )
    check(
        found.common_name == authority.name,
        f"has the common name {found.common_name!r}, not {authority.name!r}.",
        item=item,
        rule="certificate-name",
        fix="give the certificate for the request of this engine, the authority's own first.",
    )


def depth(path: str, signers: t.Mapping[str, str]) -> int:
    """Return how many authorities of the list an authority hangs below.

    :param signers: path of an engine -> path of the one that signs it.
    :raises InvalidInput: rule ``signed-by-cycle``.
    """
    seen = [path]
    while signers.get(seen[-1]):
        following = signers[seen[-1]]
        check(
            following not in seen,
            f"each signs the other: {', '.join([*seen, following])}.",
            item=f"secret engine {path}",
            rule="signed-by-cycle",
            fix="let one of them be a root, or be signed outside.",
        )
        seen.append(following)
    return len(seen) - 1


# -- plan ------------------------------------------------------------------------------------------------------------


def plan(context: Context, wanted: Pki, *, requests: t.Mapping[str, str], signers: t.Mapping[str, Signer]) -> None:
    """Add what one engine needs: addresses first, as they go into certificates.

    :param requests: engine -> certificate request for the key that it holds, where one was asked for.
    :param signers: path -> engine that exists, or is wanted with an authority.
    :raises Refused: rules ``ca-other-name``, ``ca-kind``, ``ca-expired``, ``issuer-unknown``, ...
    """
    settings = wanted.settings(context.mount)
    path, fields, table, title = settings[0]
    if fields is not None:
        plan_settings(context, title, path, fields, table)
    if wanted.default_issuer:
        _default_issuer(context, wanted.default_issuer)
    if wanted.authority is not None:
        _plan_authority(context, wanted, wanted.authority, requests.get(context.mount, ""), signers)
    for path, fields, table, title in settings[1:]:
        if fields is not None:
            plan_settings(context, title, path, fields, table)
    for role in wanted.roles or ():
        path = ROLE.path(context.mount, role.name)
        answer = context.seen.answers.get(path)
        plan_entry(
            context,
            ROLE,
            role,
            answer,
            create=lambda path=path, role=role: (Send("POST", path, wire(role.fields, ROLE.table)),),  # type: ignore[misc]
            # a write replaces the whole role: what is not declared goes with it as it is
            update=lambda _changed, path=path, role=role, answer=answer: (  # type: ignore[misc]
                Send(
                    "POST",
                    path,
                    {**{k: v for k, v in (answer or {}).items() if v is not None}, **wire(role.fields, ROLE.table)},
                ),
            ),
        )
    if wanted.roles is not None:
        plan_prune(context, ROLE, [r.name for r in wanted.roles])


def _default_issuer(context: Context, name: str) -> None:
    mount, item = context.mount, f"secret engine {context.mount}"
    named = context.seen.answers.get(f"{mount}/issuer/{name}")
    if named is None:
        raise Refused(
            f"has no issuer {name}.",
            item=item,
            rule="issuer-unknown",
            fix="give the name or the id of an issuer that is there, or leave default_issuer out.",
        )
    now = context.seen.answers.get(f"{mount}/issuer/default") or {}
    if now.get("issuer_id") == named.get("issuer_id"):
        context.result.unchanged += 1
        return
    if not context.may(f"default issuer of {item}"):
        return
    send = Send("POST", f"{mount}/config/issuers", {"default": str(named.get("issuer_id"))})
    before, after = {"default_issuer": now.get("issuer_id", "")}, {"default_issuer": named.get("issuer_id")}
    shown = frozenset({"default_issuer"})
    context.result.add(Change("default issuer", mount, "update", before, after, "default differs", shown, (send,)))


def _plan_authority(
    context: Context, wanted: Pki, authority: Authority, request: str, signers: t.Mapping[str, Signer]
) -> None:
    mount = context.mount
    if context.seen.names(f"{mount}/issuers"):
        answer = context.seen.answers.get(f"{mount}/issuer/{wanted.default_issuer or 'default'}")
        _existing(context, authority, answer)
        return
    held = bool(context.seen.names(f"{mount}/keys"))
    if authority.root:
        body = {**wire({n: v for n, v in authority.fields.items() if n not in ("key_type", "key_bits")}, CA_TABLE)}
        _add(context, authority, [Send("POST", f"{mount}/root/generate/internal", {**body, **authority.new_key()})])
    elif authority.signed_by:
        _signed_here(context, authority, held=held, signers=signers)
    elif authority.certificate:
        _signed_outside(context, authority, request, held=held)
    elif held:
        context.result.unchanged += 1
    elif context.may(f"{REQUEST_TITLE} {mount}"):
        send = _generate(mount, authority, held=False)
        shown = frozenset(CA_TABLE)
        context.result.add(
            Change(
                REQUEST_TITLE,
                mount,
                "create",
                None,
                dict(authority.fields),
                "a private key in OpenBao; the request is in the result",
                shown,
                (send,),
            )
        )


def _generate(mount: str, authority: Authority, *, held: bool) -> Send:
    """Return the request that makes a key and a certificate request, or the latter again for a key that is there."""
    how = {"key_ref": "default"} if held else authority.new_key()
    path = f"{mount}/intermediate/generate/{'existing' if held else 'internal'}"
    return Send("POST", path, {**authority.subject(), **how}, learn=f"the request of {mount}", learn_field="csr")


def again(mount: str, authority: Authority) -> tuple[str, dict[str, t.Any]]:
    """Return path and body that ask once more for the request of a key that is there; the server keeps none."""
    send = _generate(mount, authority, held=True)
    return send.path, dict(send.body)


def _add(context: Context, authority: Authority, sends: list[Send]) -> None:
    if not context.may(f"{CA_TITLE} {context.mount}"):
        return
    if not authority.root and authority.fields.get("issuer_name"):
        # what an issuer may be used for depends on its certificate, and a write without it asks for everything
        path, usage = f"{context.mount}/issuer/default", f"the usage of the issuer of {context.mount}"
        sends.append(Send("GET", path, learn=usage, learn_field="usage"))
        body = {"issuer_name": authority.fields["issuer_name"], "usage": Ref(usage)}
        sends.append(Send("POST", path, body))
    after = {**authority.fields, **({"signed_by": authority.signed_by} if authority.signed_by else {})}
    shown = frozenset((*CA_TABLE, "signed_by"))
    context.result.add(Change(CA_TITLE, context.mount, "create", None, after, "", shown, tuple(sends)))


def _signed_here(context: Context, authority: Authority, *, held: bool, signers: t.Mapping[str, Signer]) -> None:
    mount, signer = context.mount, authority.signed_by
    by = signers.get(signer)
    check(
        by is not None and by.type == "pki",
        f"{signer} is no PKI engine with an authority, neither on the server nor in this list.",
        item=f"{authority.item}.signed_by",
        rule="signer-unknown",
        fix="give the path of the engine with the root.",
    )
    if by is not None:
        _check_lifetime(context, authority, by)
    csr, certificate = f"the request of {mount}", f"the certificate of {mount}"
    known = {n: v for n, v in authority.fields.items() if n not in ("issuer_name", "key_type", "key_bits")}
    sign = {**wire(known, CA_TABLE), "csr": Ref(csr), "format": "pem_bundle"}
    _add(
        context,
        authority,
        [
            _generate(mount, authority, held=held),
            Send("POST", f"{signer}/root/sign-intermediate", sign, learn=certificate, learn_field="certificate"),
            Send("POST", f"{mount}/intermediate/set-signed", {"certificate": Ref(certificate)}),
        ],
    )


def _check_lifetime(context: Context, authority: Authority, by: Signer) -> None:
    """Refuse a lifetime that the signer would cut, or does not live to see; the server says nothing of either."""
    ttl, signer, item = authority.fields["ttl"], authority.signed_by, f"{authority.item}.ttl"
    check(
        ttl <= by.limit,
        f"is {ttl} s; {signer} signs for {by.limit} s at most and would cut it silently.",
        item=item,
        rule="ca-ttl-above-signer",
        fix=f"set config.max_lease_ttl of {signer} to this or more, or lower ttl.",
    )
    answer = context.seen.answers.get(f"{signer}/issuer/default") or {}
    left = by.ttl
    if answer.get("certificate"):
        left = int((look(str(answer["certificate"]), item=item).not_after - context.now).total_seconds())
    check(
        not left or ttl <= left + DAY,  # one of the same length is asked for again by the run after an interrupted one
        f"is {ttl} s, and the authority of {signer} ends in {left} s: what this one signs is not trusted after that.",
        item=item,
        rule="ca-outlives-signer",
        fix="lower ttl, or make a new authority that lives longer and let it sign.",
    )


def _signed_outside(context: Context, authority: Authority, request: str, *, held: bool) -> None:
    item = f"{authority.item}.certificate"
    check(
        held,
        "is given, and the engine has no key that it could be for.",
        item=item,
        rule="certificate-without-key",
        fix="run once without certificate, and have the request in the result signed.",
    )
    found = look(authority.certificate, item=item)
    check(
        found.not_after > context.now,
        f"has expired at {found.not_after:%Y-%m-%dT%H:%M:%SZ}.",
        item=item,
        rule="certificate-expired",
        fix="have the request signed again.",
    )
    check(
        not request or key_of_request(request, item=item) == found.key,
        "is for another key than the one in this engine.",
        item=item,
        rule="certificate-other-key",
        fix="have the request in the result signed, not an older one.",
    )
    path = f"{context.mount}/intermediate/set-signed"
    _add(context, authority, [Send("POST", path, {"certificate": authority.certificate})])


def _existing(context: Context, authority: Authority, answer: t.Mapping[str, t.Any] | None) -> None:
    """Compare an authority that exists; nothing of it but the name of the issuer is ever changed."""
    mount = context.mount
    item = f"{CA_TITLE} {mount}"
    if answer is None or not answer.get("certificate"):
        raise Refused(
            "the engine has issuers, and none is its default.",
            item=item,
            rule="issuer-no-default",
            fix="name one as default_issuer.",
        )
    found = look(str(answer["certificate"]), item=item)
    if found.common_name != authority.name:
        raise Refused(
            f"is {found.common_name!r}, not {authority.name!r}. An authority is never made anew: everything that "
            "trusts it would have to change.",
            item=item,
            rule="ca-other-name",
            fix="declare what is there, or take another path for the new one.",
        )
    if found.self_signed != authority.root:
        raise Refused(
            f"is {'a root' if found.self_signed else f'an intermediate of {found.issuer!r}'}.",
            item=item,
            rule="ca-kind",
            fix="declare what is there, or take another path for the new one.",
        )
    if authority.certificate and look(authority.certificate, item=item).fingerprint != found.fingerprint:
        raise Refused(
            "has another certificate than the one that is given, and an authority is never replaced.",
            item=item,
            rule="ca-other-certificate",
            fix="give the one that is there, or none; a renewed authority needs another path.",
        )
    if found.not_after <= context.now:
        raise Refused(
            f"has expired at {found.not_after:%Y-%m-%dT%H:%M:%SZ}; no certificate of it is valid any more.",
            item=item,
            rule="ca-expired",
            fix="make a new one at another path, give it to everybody who trusts this one, then move the roles.",
        )
    if found.not_after - context.now < datetime.timedelta(seconds=authority.warn_before):
        context.result.warnings.append(
            f"{item} ({found.common_name}) expires at {found.not_after:%Y-%m-%dT%H:%M:%SZ}, in "
            f"{(found.not_after - context.now).days} days; it is not made anew by itself."
        )
    name = authority.fields.get("issuer_name")
    if not name or answer.get("issuer_name") == name:
        context.result.unchanged += 1
        return
    if not context.may(item):
        return
    body = {n: answer[n] for n in _ISSUER_KEPT if answer.get(n) is not None}
    context.result.add(
        Change(
            CA_TITLE,
            mount,
            "update",
            {"issuer_name": answer.get("issuer_name", "")},
            {"issuer_name": name},
            "issuer_name differs",
            frozenset({"issuer_name"}),
            (Send("POST", f"{mount}/issuer/{answer.get('issuer_id')}", {**body, "issuer_name": name}),),
        )
    )


# -- report ----------------------------------------------------------------------------------------------------------


def report(mount: str, authority: Authority, pem: str, request: str, now: datetime.datetime) -> dict[str, t.Any]:
    """Return what people should know of an authority.

    :param pem: its certificate, empty if there is none.
    :param request: its certificate request, if it waits for somebody outside.
    """
    result: dict[str, t.Any] = {"path": mount, "common_name": authority.name}
    if not pem:
        waiting = not authority.root and not authority.signed_by
        return {**result, "state": "waiting_for_certificate" if waiting else "planned", "csr": request}
    found = look(pem, item=mount)
    left = (found.not_after - now).days
    soon = found.not_after - now < datetime.timedelta(seconds=authority.warn_before)
    return {
        **result,
        "state": "expired" if found.not_after <= now else "expires_soon" if soon else "ok",
        "issuer": found.issuer,
        "not_after": f"{found.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "days_left": left,
        "fingerprint": found.fingerprint,
        "certificate": pem.strip(),
    }
