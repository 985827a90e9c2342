# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""A tenant's declaration as a typed record.

:func:`load` reads the text of one file, :func:`parse` a mapping; both raise :class:`InvalidInput` at the first breach
of the schema, whose ``item`` is ``<file>: <path in it>``. What depends on the site or on other files is judged by
``findings.judge``, which is what modules call: it reads all files, and names everything that is wrong.

Defaults that depend on the site (namespace tier, name of the first namespace) are filled in by ``profile.resolve``.
"""

from __future__ import annotations

import dataclasses
import posixpath
import typing as t
from collections.abc import Mapping

from .._core import shape
from .._core.errors import InvalidInput, check
from .._kube import manifests
from .schema import TENANT

ACTIVE: t.Final = "active"
SUSPENDED: t.Final = "suspended"
ARCHIVED: t.Final = "archived"
REMOVED: t.Final = "removed"
#: From the most to the least.
ORDER: t.Final = (ACTIVE, SUSPENDED, ARCHIVED, REMOVED)

REQUIRED: t.Final = "required"
SUFFIXES: t.Final = (".yaml", ".yml")
#: Characters in one file.
SIZE: t.Final = 256 * 1024


@dataclasses.dataclass(frozen=True)
class Credential:
    """Where a credential comes from: a path in OpenBao below the namespace's own, or values sealed by kubeseal."""

    path: str = ""
    sealed: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.path or self.sealed)


@dataclasses.dataclass(frozen=True)
class Source:
    """Git repository with the tenant's manifests.

    :ivar ref: one pair of ``branch``, ``tag``, ``semver`` or ``commit`` and its value.
    :ivar auth: ``none``, ``token``, ``ssh`` or ``githubApp``.
    """

    url: str
    ref: tuple[str, str] = ("branch", "main")
    path: str = "./"
    interval: str = "5m"
    auth: str = "none"
    login: Credential = Credential()
    verify: str = ""
    keys: Credential = Credential()


@dataclasses.dataclass(frozen=True)
class Namespace:
    """One namespace. Empty texts become the tenant's or the site's defaults in ``profile.resolve``."""

    name: str = ""
    tier: str = ""
    path: str = ""
    network: str = ""
    pod_security: str = ""
    quota: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Access:
    """A group or a person, and what they may do. :ivar kind: ``Group`` or ``User``."""

    kind: str
    name: str
    role: str


@dataclasses.dataclass(frozen=True)
class Domain:
    """A host, with what is below it or without."""

    name: str
    subdomains: bool = False
    auth: str = REQUIRED
    reason: str = ""
    namespace: str = ""
    tls: Credential = Credential()


@dataclasses.dataclass(frozen=True)
class DataClass:
    """A kind of volumes."""

    name: str
    storage_class: str
    retention_days: int
    description: str = ""


@dataclasses.dataclass(frozen=True)
class PullSecret:
    """A registry login."""

    name: str
    credential: Credential


@dataclasses.dataclass(frozen=True)
class Membership:
    """What membership is looked up by, and what the declaration itself says of it. ``grace_days`` -1: the site's."""

    id: str = ""
    paid_until: str = ""
    grace_days: int = -1


@dataclasses.dataclass(frozen=True)
class Owner:
    """Whose a tenant is."""

    contact: str
    subject: str = ""
    group: str = ""


@dataclasses.dataclass(frozen=True)
class Tenant:
    """A declaration. ``file`` is the name by which errors call it."""

    file: str
    name: str
    owner: Owner
    clusters: tuple[str, ...]
    state: str = ACTIVE
    namespaces: tuple[Namespace, ...] = (Namespace(),)
    access: tuple[Access, ...] = ()
    source: Source | None = None
    domains: tuple[Domain, ...] = ()
    network: str = "internet"
    pod_security: str = "restricted"
    openbao: bool = True
    sealed_secrets: bool = False
    secrets_path: str = ""
    image_pull: tuple[PullSecret, ...] = ()
    data: tuple[DataClass, ...] = ()
    membership: Membership = Membership()

    def credentials(self) -> t.Iterator[tuple[str, Credential]]:
        """Yield every credential with its place in the file."""
        if self.source is not None:
            yield "source.auth", self.source.login
            yield "source.verify", self.source.keys
        for index, pull in enumerate(self.image_pull):
            yield f"image_pull[{index}]", pull.credential
        for index, domain in enumerate(self.domains):
            yield f"domains[{index}].tls", domain.tls


def is_declaration(path: str) -> bool:
    """Say whether a file of the tenants repository is a declaration: YAML, and neither hidden nor begun with ``_``."""
    name = posixpath.basename(path)
    return name.endswith(SUFFIXES) and not name.startswith((".", "_"))


def stem(path: str) -> str:
    """Return the name of the tenant that a file is about, by its name."""
    return posixpath.splitext(posixpath.basename(path))[0]


def load(text: str, file: str) -> Tenant:
    """Return the tenant that a file declares.

    :raises InvalidInput: for what is not YAML (rule ``yaml``), more than one document, and all of :func:`parse`.
    """
    check(len(text) <= SIZE, "is no small file.", item=file, rule="too-large", fix=f"at most {SIZE} characters.")
    try:
        documents = manifests.load(text.encode(), file)
    except InvalidInput as error:
        raise InvalidInput(error.message, item=file, rule="yaml", fix="correct the file; one tenant a file.") from None
    check(
        len(documents) == 1,
        f"holds {len(documents)} documents.",
        item=file,
        rule="one-document",
        fix="write one file for each tenant.",
    )
    return parse(documents[0].body, file)


def parse(raw: t.Any, file: str) -> Tenant:
    """Return the tenant of a mapping, checked against the schema."""
    shape.validate(raw, TENANT, item=file)
    return _tenant(raw, file)


# -- records -------------------------------------------------------------------------------------------------------


def _credential(raw: Mapping[str, t.Any] | None) -> Credential:
    raw = raw or {}
    return Credential(raw.get("path", ""), dict(raw.get("sealed") or {}))


def _path(value: str) -> str:
    return "./" + value.removeprefix("./").rstrip("/") if value else ""


def _source(raw: Mapping[str, t.Any]) -> Source:
    auth, verify = raw.get("auth") or {"type": "none"}, raw.get("verify") or {}
    return Source(
        url=raw["url"],
        ref=next(iter((raw.get("ref") or {"branch": "main"}).items())),
        path=_path(raw.get("path", "./")),
        interval=raw.get("interval", "5m"),
        auth=auth["type"],
        login=_credential(auth),
        verify=verify.get("mode", ""),
        keys=_credential(verify),
    )


def _namespace(raw: Mapping[str, t.Any]) -> Namespace:
    return Namespace(
        name=raw.get("name", ""),
        tier=raw.get("tier", ""),
        path=_path(raw.get("path", "")),
        network=raw.get("network", ""),
        pod_security=raw.get("pod_security", ""),
        quota=dict(raw.get("quota") or {}),
    )


def _access(raw: Mapping[str, t.Any]) -> Access:
    kind = "Group" if "group" in raw else "User"
    return Access(kind, raw["group" if kind == "Group" else "user"], raw["role"])


def _domain(raw: Mapping[str, t.Any]) -> Domain:
    return Domain(
        name=raw["name"],
        subdomains=raw.get("subdomains", False),
        auth=raw.get("auth", REQUIRED),
        reason=raw.get("reason", ""),
        namespace=raw.get("namespace", ""),
        tls=_credential(raw.get("tls")),
    )


def _tenant(raw: Mapping[str, t.Any], file: str) -> Tenant:
    owner, secrets, member = raw["owner"], raw.get("secrets") or {}, raw.get("membership") or {}
    kinds = secrets.get("from", ["openbao"])
    return Tenant(
        file=file,
        name=raw["name"],
        owner=Owner(owner["contact"], owner.get("subject", ""), owner.get("group", "")),
        clusters=tuple(raw["clusters"]),
        state=raw.get("state", ACTIVE),
        namespaces=tuple(_namespace(one) for one in raw.get("namespaces") or [{}]),
        access=tuple(_access(one) for one in raw.get("access") or ()),
        source=_source(raw["source"]) if "source" in raw else None,
        domains=tuple(_domain(one) for one in raw.get("domains") or ()),
        network=raw.get("network", "internet"),
        pod_security=raw.get("pod_security", "restricted"),
        openbao="openbao" in kinds,
        sealed_secrets="sealed-secrets" in kinds,
        secrets_path=secrets.get("path", ""),
        image_pull=tuple(PullSecret(one["name"], _credential(one)) for one in raw.get("image_pull") or ()),
        data=tuple(
            DataClass(one["name"], one["storage_class"], int(one["retention_days"]), one.get("description", ""))
            for one in raw.get("data") or ()
        ),
        membership=Membership(member.get("id", ""), member.get("paid_until", ""), int(member.get("grace_days", -1))),
    )
