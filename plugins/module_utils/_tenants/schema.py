# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The JSON Schema of a tenant's declaration: published as ``docs/tenant.schema.json``, which a test holds equal.

It stands here as data, because modules are sent without other files. What depends on the site or on other files is no
matter of the schema; ``findings`` judges that.
"""

from __future__ import annotations

import types
import typing as t
from collections.abc import Mapping

from .._core.shape import Schema, choice, listed, pattern, record, ref, said

STATES: t.Final = ("active", "suspended", "archived", "removed")
AUTHENTICATION: t.Final = ("required", "app", "public", "none")
GIT_AUTH: t.Final = ("none", "token", "ssh", "githubApp")
NETWORK_MODES: t.Final = ("isolated", "ingress", "internet")
POD_SECURITY: t.Final = ("restricted", "baseline")
ROLES: t.Final = ("viewer", "operator")
SECRET_SOURCES: t.Final = ("openbao", "sealed-secrets")
VERIFY_MODES: t.Final = ("HEAD", "Tag", "TagAndHEAD")

#: What people put a password into; errors do not repeat it.
SECRET: t.Final[Mapping[str, bool]] = types.MappingProxyType({"x-secret": True})

LABEL: t.Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


_DEFS: t.Final[Mapping[str, Schema]] = {
    "tenantName": pattern(
        "[a-z]([-a-z0-9]{0,29}[a-z0-9])?",
        "name",
        "is no name of a tenant: lower-case letters, digits and inner hyphens, a letter first, at most 31.",
        "rename it, for example alice; the file is named after it.",
    ),
    "name": pattern(
        LABEL,
        "name",
        "is no name: lower-case letters, digits and inner hyphens, at most 63.",
        "rename it, for example registry.",
    ),
    "domain": pattern(
        r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?",
        "domain",
        "is no domain in lower case, without wildcard, scheme, port or path.",
        "for example cal.alice.example.org; subdomains: true takes what is below it as well.",
        maxLength=253,
    ),
    "gitUrl": pattern(
        r"(?!.*\.\.)(https://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?/[-A-Za-z0-9_.~/]+"
        r"|ssh://([a-z_][-a-z0-9_]*@)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?/[-A-Za-z0-9_.~/]+)",
        "git-url",
        "is no address of a Git repository by https or ssh, without a login in it.",
        "for example https://git.example.org/alice/k8s; ssh://git@host/path instead of git@host:path.",
        **SECRET,
        maxLength=500,
    ),
    "gitRef": pattern(
        r"[A-Za-z0-9_][-A-Za-z0-9_./+]{0,199}",
        "git-ref",
        "is no name of a branch or tag.",
        "for example main, or v1.2.3.",
    ),
    "semver": pattern(
        r"[0-9xX*v^~<>=][-0-9A-Za-z.*^~<>=|, +]{0,99}",
        "git-ref",
        "is no range of versions.",
        "for example >=1.0.0 <2.0.0.",
    ),
    "commit": pattern(
        r"[0-9a-f]{40}([0-9a-f]{24})?", "git-ref", "is no whole commit id.", "give 40 (or 64) hexadecimal digits."
    ),
    "repoPath": pattern(
        r"\./?|(\./)?[A-Za-z0-9_][-A-Za-z0-9_.]*(/[A-Za-z0-9_][-A-Za-z0-9_.]*)*",
        "repo-path",
        "is no path inside the repository.",
        "for example ./deploy; no '..', and no slash at the start or the end.",
        maxLength=255,
    ),
    "secretPath": pattern(
        r"[A-Za-z0-9_][-A-Za-z0-9_.]*(/[A-Za-z0-9_][-A-Za-z0-9_.]*)*",
        "secret-path",
        "is no path of an OpenBao secret below the namespace's own.",
        "for example git, which is <kv prefix>/<cluster>/<namespace>/git; no '..', and no slash at the ends.",
        maxLength=200,
    ),
    "interval": pattern(r"[1-9][0-9]{0,4}[smh]", "duration", "is no time.", "a number with s, m or h, for example 5m."),
    "date": pattern(
        r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", "date", "is no date.", "write it as 2026-12-31."
    ),
    "quantity": pattern(
        r"[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?",
        "quantity",
        "is no amount.",
        "write it as a text, for example '500m', '2' or '4Gi'.",
    ),
    "resource": {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {
            r"^(requests\.(cpu|memory|storage|ephemeral-storage)|limits\.(cpu|memory|ephemeral-storage)|pods|"
            r"persistentvolumeclaims|services|secrets|configmaps|count/[a-z.]{1,60}|"
            r"[a-z0-9][-a-z0-9.]{0,60}\.storageclass\.storage\.k8s\.io/"
            r"(requests\.storage|persistentvolumeclaims))$": ref("quantity")
        },
        "additionalProperties": False,
    },
    "subject": pattern(
        r"(?!system:)[A-Za-z0-9_][-A-Za-z0-9_.:@/+|]{0,199}",
        "subject",
        "is no name of a person or group, or one of Kubernetes' own.",
        "give the name as the identity provider sends it, for example tenant-alice.",
    ),
    "reason": pattern(
        r"\S[^\x00-\x1f]{8,}\S",
        "reason",
        "is no sentence that says why.",
        "say in at least ten characters, on one line, who authenticates instead, or why nobody needs to.",
        maxLength=500,
    ),
    "sealed": {
        "description": "Values as kubeseal encrypted them for this namespace and name (scope strict).",
        "type": "object",
        "minProperties": 1,
        "maxProperties": 10,
        "patternProperties": {
            r"^[-._A-Za-z0-9]{1,253}$": pattern(
                r"Ag[A-Za-z0-9+/]{40,}={0,2}",
                "sealed-value",
                "is nothing that kubeseal has encrypted.",
                "take the value from encryptedData of kubeseal's output; never the plain value.",
                **SECRET,
                maxLength=20000,
            )
        },
        "additionalProperties": False,
    },
}

#: Where a credential comes from: one of the two keys.
_SOURCE: t.Final[Mapping[str, Schema]] = {
    "path": said("OpenBao path, below the namespace's own.", ref("secretPath")),
    "sealed": ref("sealed"),
}


def _one_source(beside: int) -> Schema:
    """Return what makes exactly one of path and sealed necessary, beside a number of other keys."""
    return {
        "minProperties": beside + 1,
        "maxProperties": beside + 1,
        "x-rule": "one-source",
        "x-fix": "give either path (an OpenBao secret) or sealed (Sealed Secrets).",
    }


_AUTH: t.Final[Schema] = {
    **record({"type": choice(GIT_AUTH), **_SOURCE}, ("type",)),
    "if": {"properties": {"type": {"enum": ["none"]}}},
    "then": {
        "maxProperties": 1,
        "x-rule": "no-source",
        "x-fix": "leave path and sealed out, or say which login it is.",
    },
    "else": _one_source(1),
}

_GIT: t.Final = record(
    {
        "url": said("Where the tenant's manifests are.", ref("gitUrl")),
        "ref": said(
            "What to follow: one of these. The branch main if it is left out.",
            record(
                {"branch": ref("gitRef"), "tag": ref("gitRef"), "semver": ref("semver"), "commit": ref("commit")},
                (),
                minProperties=1,
                maxProperties=1,
                **{"x-rule": "one-ref", "x-fix": "give one of branch, tag, semver and commit."},
            ),
        ),
        "path": said("Folder with the manifests; ./ if it is left out.", ref("repoPath")),
        "interval": said("How often Git is asked; 5m if it is left out.", ref("interval")),
        "auth": said("How to log in to Git; none if it is left out.", _AUTH),
        "verify": said(
            "Accept only commits or tags that are signed by one of the keys in this secret.",
            record({"mode": choice(VERIFY_MODES), **_SOURCE}, ("mode",), **_one_source(1)),
        ),
    },
    ("url",),
)

_NAMESPACE: t.Final = record(
    {
        "name": said("<namespace tier>-<tenant>, or that with -<something>; the first if left out.", ref("name")),
        "tier": said("Namespace tier; the platform's for tenants if it is left out.", ref("name")),
        "path": said("Folder in the Git source for this namespace, instead of the source's.", ref("repoPath")),
        "network": said("Instead of the tenant's.", choice(NETWORK_MODES)),
        "pod_security": said("Instead of the tenant's.", choice(POD_SECURITY)),
        "quota": said("Instead of the namespace tier's ResourceQuota, within the platform's ceiling.", ref("resource")),
    }
)

_ACCESS: t.Final = record(
    {"group": ref("subject"), "user": ref("subject"), "role": choice(ROLES)},
    ("role",),
    minProperties=2,
    maxProperties=2,
    **{"x-rule": "one-subject", "x-fix": "give either group or user, and role."},
)

_DOMAIN: t.Final[Schema] = {
    **record(
        {
            "name": ref("domain"),
            "subdomains": said("Whether what is below it belongs to it.", {"type": "boolean"}),
            "auth": said(
                "Who authenticates: the ingress (required), the application (app), nobody because it is for everybody "
                "(public), or nobody for another reason (none). Anything but required needs a reason.",
                choice(AUTHENTICATION),
            ),
            "reason": ref("reason"),
            "namespace": said("Where it is used; the first namespace if it is left out.", ref("name")),
            "tls": said("Certificate and key, as Secret tls-<name>.", record(_SOURCE, **_one_source(0))),
        },
        ("name",),
    ),
    "if": {"properties": {"auth": {"enum": ["app", "public", "none"]}}, "required": ["auth"]},
    "then": {"required": ["reason"]},
}

_DATA: t.Final = record(
    {
        "name": said("Value of the label data-class of volumes.", ref("name")),
        "storage_class": said("StorageClass that its volumes must name.", ref("name")),
        "retention_days": said(
            "How long volumes are kept after the tenant is removed.", {"type": "integer", "minimum": 0, "maximum": 3650}
        ),
        "description": {"type": "string", "minLength": 1, "maxLength": 500},
    },
    ("name", "storage_class", "retention_days"),
)

_PULL: t.Final = record({"name": ref("name"), **_SOURCE}, ("name",), **_one_source(1))

_MEMBERSHIP: t.Final = record(
    {
        "id": said("Who this is in the membership list.", ref("subject")),
        "paid_until": ref("date"),
        "grace_days": {"type": "integer", "minimum": 0, "maximum": 366},
    }
)

TENANT: t.Final[Mapping[str, t.Any]] = types.MappingProxyType(
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://infra.hackspace.org/schemas/tenant.schema.json",
        "title": "A tenant of a hackspace.infra platform",
        "description": "One file per tenant, named after it: tenants/alice.yaml.",
        **record(
            {
                "version": said("Version of this form.", {"type": "integer", "const": 1}),
                "name": said("The tenant; the file has its name.", ref("tenantName")),
                "owner": said(
                    "Whose it is.",
                    record(
                        {
                            "subject": said("The person, as the identity provider names it.", ref("subject")),
                            "group": said("A group instead of, or beside, a person.", ref("subject")),
                            "contact": said(
                                "How to reach somebody.", {"type": "string", "minLength": 3, "maxLength": 200}
                            ),
                        },
                        ("contact",),
                    ),
                ),
                "state": said("What is wanted; active if it is left out.", choice(STATES)),
                "clusters": said("Where it runs.", listed(ref("name"), minItems=1, uniqueItems=True)),
                "namespaces": said("One, named after the tenant, if it is left out.", listed(_NAMESPACE, minItems=1)),
                "access": said("Who may look at it and operate it.", listed(_ACCESS)),
                "source": said("Git repository that Flux reconciles into the namespaces.", _GIT),
                "domains": said("Hosts of its Ingresses and HTTPRoutes.", listed(_DOMAIN)),
                "network": said("What its pods can reach; internet if it is left out.", choice(NETWORK_MODES)),
                "pod_security": said("Pod Security level; restricted if it is left out.", choice(POD_SECURITY)),
                "secrets": said(
                    "Where its Kubernetes Secrets come from.",
                    record(
                        {
                            "from": said(
                                "OpenBao if it is left out.", listed(choice(SECRET_SOURCES), uniqueItems=True)
                            ),
                            "path": said("Put before every path of this file.", ref("secretPath")),
                        }
                    ),
                ),
                "image_pull": said("Registry logins, as Secrets of these names.", listed(_PULL)),
                "data": said("Kinds of volumes.", listed(_DATA)),
                "membership": said("What membership is looked up by.", _MEMBERSHIP),
            },
            ("version", "name", "owner", "clusters"),
        ),
        "$defs": dict(_DEFS),
    }
)
