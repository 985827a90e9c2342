# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The administrators' own login: what it consists of, and what is missing of it. Made with a root token, once."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .._core.errors import Refused, check
from .._core.plan import Change, Plan
from .._core.redact import Secret

#: First line of every OpenBao policy that is ours.
OWNED_LINE: t.Final = "# managed by hackspace.infra"

#: What administrators may do: run OpenBao and give out rights, and not read what tenants keep in it. (Somebody who
#: writes OpenBao policies can give themselves more; that shows in the audit log.)
DEFAULT_POLICY: t.Final = (
    OWNED_LINE
    + """
# auth mounts, their configuration, users and roles
path "sys/auth" { capabilities = ["read"] }
path "sys/auth/*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }
path "auth/*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }
path "identity/*" { capabilities = ["create", "read", "update", "delete", "list"] }
# OpenBao policies
path "sys/policies/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "sys/policy" { capabilities = ["read", "list"] }
path "sys/policy/*" { capabilities = ["create", "read", "update", "delete", "list"] }
# secret engines and namespaces
path "sys/mounts" { capabilities = ["read"] }
path "sys/mounts/*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }
path "sys/remount" { capabilities = ["create", "update", "sudo"] }
path "sys/remount/status/*" { capabilities = ["read"] }
path "sys/namespaces/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "sys/namespaces" { capabilities = ["read", "list"] }
path "sys/config/*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }
path "sys/quotas/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "sys/plugins/*" { capabilities = ["read", "list", "sudo"] }
# KV engines: their configuration and the names in them, not the values
path "+/config" { capabilities = ["create", "read", "update"] }
path "+/metadata/*" { capabilities = ["read", "list", "delete"] }
path "+/metadata" { capabilities = ["list"] }
# transit, PKI and database engines: what they are set up with; no export of keys, no credentials of tenants
path "+/keys/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "+/config/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "+/roles/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "+/static-roles/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "+/rotate-root/*" { capabilities = ["create", "update"] }
path "+/rotate-role/*" { capabilities = ["create", "update"] }
path "+/issuers/*" { capabilities = ["list"] }
path "+/issuer/*" { capabilities = ["read", "create", "update"] }
path "+/root/generate/internal" { capabilities = ["create", "update"] }
path "+/root/sign-intermediate" { capabilities = ["create", "update"] }
path "+/intermediate/generate/internal" { capabilities = ["create", "update"] }
path "+/intermediate/generate/existing" { capabilities = ["create", "update"] }
path "+/intermediate/set-signed" { capabilities = ["create", "update"] }
# cluster: raft members, snapshots, seal, rotation of shares, root token in an emergency
path "sys/storage/raft/*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }
path "sys/ha-status" { capabilities = ["read"] }
path "sys/step-down" { capabilities = ["update", "sudo"] }
path "sys/seal" { capabilities = ["update", "sudo"] }
path "sys/rotate" { capabilities = ["update", "sudo"] }
path "sys/rotate/*" { capabilities = ["create", "read", "update", "delete", "sudo"] }
path "sys/key-status" { capabilities = ["read"] }
path "sys/generate-root-token/*" { capabilities = ["create", "read", "update", "delete", "sudo"] }
# what is going on: leases, tokens, audit devices, capabilities of oneself
path "sys/leases/*" { capabilities = ["create", "read", "update", "list", "sudo"] }
path "sys/audit" { capabilities = ["read", "sudo"] }
path "sys/audit-hash/*" { capabilities = ["create", "update"] }
path "sys/host-info" { capabilities = ["read"] }
path "sys/metrics" { capabilities = ["read"] }
path "sys/internal/*" { capabilities = ["read", "list"] }
path "sys/capabilities-self" { capabilities = ["update"] }
"""
)

#: Tokens of the administrators' login live this long, and are revoked by each module when it ends.
LOGIN_TTL: t.Final = "1h"
LOGIN_MAX_TTL: t.Final = "8h"

_MOUNT = re.compile(r"^[a-z0-9][a-z0-9_.-]*(/[a-z0-9][a-z0-9_.-]*)*$")
_NAME = re.compile(r"^[a-z0-9][a-z0-9._@-]{0,126}$")

#: OpenBao refuses nothing; a name of a person's choosing and 12 characters are the least.
MIN_PASSWORD: t.Final = 12


@dataclasses.dataclass(frozen=True)
class Admin:
    """The administrators' login.

    :ivar certificate: PEM text of the client certificate (method ``cert``).
    :ivar certificate_file: with ``private_key_file``: used for the login that proves that it works.
    """

    method: str
    mount: str
    username: str
    policy_name: str
    policy: str
    password: Secret | None = None
    certificate: str | None = None
    certificate_file: str | None = None
    private_key_file: str | None = None

    @property
    def user_path(self) -> str:
        kind = "users" if self.method == "userpass" else "certs"
        return f"auth/{self.mount}/{kind}/{self.username}"

    def login_fields(self) -> dict[str, t.Any]:
        """Return what a client needs to log in with it."""
        return {
            "method": self.method,
            "mount_point": self.mount,
            "username": self.username,
            "password": self.password,
            "cert_public_key": self.certificate_file,
            "cert_private_key": self.private_key_file,
            "role": self.username if self.method == "cert" else None,
        }


def parse_admin(raw: t.Mapping[str, t.Any], *, item: str) -> Admin:
    """Return the checked login; ``password`` and ``certificate`` are values by now, not files."""
    method = str(raw.get("auth_method") or "userpass")
    check(
        method in ("userpass", "cert"),
        f"{method!r} is not a method for the administrators' login.",
        item=f"{item}.auth_method",
        rule="admin-method",
        fix="userpass or cert.",
    )
    mount = str(raw.get("mount_point") or method).strip("/")
    check(
        _MOUNT.match(mount) and mount != "token",
        f"{mount!r} cannot be the path of this auth mount.",
        item=f"{item}.mount_point",
        rule="admin-mount",
        fix="lower case letters, digits, dash, dot, underscore; not token.",
    )
    username = str(raw.get("username") or "")
    check(
        _NAME.match(username),
        f"{username!r} cannot be the name of a login.",
        item=f"{item}.username",
        rule="admin-username",
        fix="lower case letters, digits, dash, dot, underscore, @.",
    )
    policy_name = str(raw.get("policy_name") or "platform-admin")
    check(
        _NAME.match(policy_name) and policy_name not in ("root", "default"),
        f"{policy_name!r} cannot be the name of this OpenBao policy.",
        item=f"{item}.policy_name",
        rule="admin-policy-name",
        fix="lower case letters, digits, dash, dot; root and default belong to OpenBao.",
    )
    policy = str(raw.get("policy") or DEFAULT_POLICY).strip() + "\n"
    if not policy.startswith(OWNED_LINE):
        policy = f"{OWNED_LINE}\n{policy}"
    password: Secret | None = None
    certificate: str | None = None
    if method == "userpass":
        text = raw.get("password")
        check(
            text,
            "is missing.",
            item=f"{item}.password",
            rule="admin-password",
            fix="give password (no_log) or password_file (mode 0600, or encrypted by ansible-vault).",
        )
        check(
            len(str(text)) >= MIN_PASSWORD,
            f"has fewer than {MIN_PASSWORD} characters.",
            item=f"{item}.password",
            rule="admin-password-short",
            fix="take a long one from a password manager.",
        )
        password = Secret(str(text))
    else:
        certificate = str(raw.get("certificate") or "")
        check(
            "-----BEGIN CERTIFICATE-----" in certificate and "PRIVATE KEY" not in certificate,
            "is not a PEM client certificate alone.",
            item=f"{item}.certificate_file",
            rule="admin-certificate",
            fix="give the certificate in certificate_file and its key in private_key_file.",
        )
        check(
            raw.get("certificate_file") and raw.get("private_key_file"),
            "is missing; the login is proved to work before the root token goes.",
            item=f"{item}.private_key_file",
            rule="admin-certificate-key",
            fix="give the key of the certificate, mode 0600.",
        )
    return Admin(
        method=method,
        mount=mount,
        username=username,
        policy_name=policy_name,
        policy=policy,
        password=password,
        certificate=certificate,
        certificate_file=raw.get("certificate_file"),
        private_key_file=raw.get("private_key_file"),
    )


@dataclasses.dataclass(frozen=True)
class Present:
    """What a server has: auth mounts (path without slash -> type), the text of the policy, the fields of the user."""

    mounts: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    policy: str | None = None
    user: t.Mapping[str, t.Any] | None = None


def plan_admin(admin: Admin, present: Present, *, adopt: bool = False) -> Plan:
    """Return the steps that make the login: auth mount, OpenBao policy, user. Payloads are (method, path, body).

    :raises Refused: what exists under these names is of another kind, or is not ours and *adopt* is not set.
    """
    plan = Plan()
    there = present.mounts.get(admin.mount)
    if there is None:
        plan.add(
            Change(
                "auth mount",
                admin.mount,
                "create",
                after={"type": admin.method},
                public=frozenset({"type"}),
                payload=("POST", f"sys/auth/{admin.mount}", {"type": admin.method, "description": OWNED_LINE[2:]}),
            )
        )
    elif there != admin.method:
        raise Refused(
            f"the auth mount {admin.mount} is of type {there}, not {admin.method}.",
            item="admin.mount_point",
            rule="admin-mount-type",
            fix="give another mount_point.",
        )
    else:
        plan.unchanged += 1
    if present.policy is not None and present.policy.strip() == admin.policy.strip():
        plan.unchanged += 1
    else:
        ours = present.policy is None or present.policy.lstrip().startswith(OWNED_LINE)
        if not ours and not adopt:
            raise Refused(
                f"the OpenBao policy {admin.policy_name} exists, differs and is not marked as ours.",
                item="admin.policy_name",
                rule="adopt",
                fix="give another policy_name, or set adopt: true to replace it.",
            )
        plan.add(
            Change(
                "OpenBao policy",
                admin.policy_name,
                "create" if present.policy is None else ("update" if ours else "adopt"),
                before=None if present.policy is None else {"policy": present.policy},
                after={"policy": admin.policy},
                public=frozenset({"policy"}),
                payload=("PUT", f"sys/policies/acl/{admin.policy_name}", {"policy": admin.policy}),
            )
        )
    body: dict[str, t.Any] = {
        "token_policies": [admin.policy_name],
        "token_ttl": LOGIN_TTL,
        "token_max_ttl": LOGIN_MAX_TTL,
    }
    if admin.password is not None:
        body["password"] = admin.password.reveal()
    if admin.certificate is not None:
        body["certificate"] = admin.certificate
        body["display_name"] = admin.username
    plan.add(
        Change(
            f"{admin.method} login",
            f"{admin.mount}/{admin.username}",
            "create" if present.user is None else "update",
            after={k: v for k, v in body.items() if k != "password"},
            why="" if present.user is None else "its password or certificate is set anew",
            public=frozenset({"token_policies", "token_ttl", "token_max_ttl"}),
            payload=("POST", admin.user_path, body),
        )
    )
    return plan


def mounts_of(body: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return path -> type from the answer of ``sys/auth``."""
    data = body.get("data") if isinstance(body.get("data"), dict) else body
    entries = data.items() if isinstance(data, dict) else ()
    return {str(path).strip("/"): str(e["type"]) for path, e in entries if isinstance(e, dict) and "type" in e}
