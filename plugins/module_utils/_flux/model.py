# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What people say about Flux in a cluster, checked: components, the Git source, credentials."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import fnmatch
import hashlib
import hmac
import re
import typing as t
import urllib.parse
from collections.abc import Mapping, Sequence

from .._core.errors import check
from .._kube.model import MANAGER
from .._kube.normalise import Object, duration
from . import lockdown

NAMESPACE: t.Final = "flux-system"
#: Name of the GitRepository, the Kustomization and the Secret with the credentials, as the CLI's bootstrap has it.
SYNC: t.Final = "flux-system"
AGE_KEYS: t.Final = "sops-age"
DEFAULT_COMPONENTS: t.Final = (lockdown.SOURCE, lockdown.KUSTOMIZE, lockdown.HELM, lockdown.NOTIFICATION)
#: Without these two nothing is reconciled.
NEEDED: t.Final = (lockdown.SOURCE, lockdown.KUSTOMIZE)

_NAME: t.Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DOMAIN: t.Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_REGISTRY: t.Final = re.compile(r"[a-z0-9][a-z0-9.-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*")
_SCP: t.Final = re.compile(r"(?P<user>[^@/:]+)@(?P<host>[^:/]+):(?P<path>(?!//).+)")
_AGE: t.Final = re.compile(r"(?P<prefix>AGE-SECRET-KEY-(?:PQ-)?)1(?P<data>[A-Z0-9]{40,})")
_BECH32: t.Final = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
_BECH32_GENERATOR: t.Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_PRIVATE: t.Final = re.compile(r"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----")
#: What GitHub hands out, or the same in PKCS 8.
_RSA: t.Final = re.compile(r"-----BEGIN (RSA )?PRIVATE KEY-----(?!\s*Proc-Type:)")
_OPENSSH: t.Final = re.compile(r"-----BEGIN OPENSSH PRIVATE KEY-----(?P<data>[A-Za-z0-9+/=\s]+)-----END")
_OPENSSH_MAGIC: t.Final = b"openssh-key-v1\0"
_COMMIT: t.Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LOOPBACK: t.Final = frozenset({"localhost", "127.0.0.1", "::1"})
_REFS: t.Final = ("branch", "tag", "semver", "name", "commit")


# -- components ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Rendering:
    """How the manifests of a release are to look.

    :ivar account: the ServiceAccount that objects without one run as.
    :ivar managers: field managers whose fields Flux takes over and drops (``--override-manager``).
    """

    namespace: str = NAMESPACE
    components: tuple[str, ...] = DEFAULT_COMPONENTS
    registry: str = ""
    image_pull_secret: str = ""
    cluster_domain: str = "cluster.local"
    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tolerations: Sequence[Mapping[str, t.Any]] = ()
    log_level: str = "info"
    network_policies: bool = True
    account: str = lockdown.DEFAULT_SERVICE_ACCOUNT
    workload_identity: bool = False
    managers: tuple[str, ...] = (MANAGER,)

    def checked(self) -> Rendering:
        """Return self if every value can be used.

        :raises InvalidInput: for the first that cannot.
        """
        for item, value, pattern, what in (
            ("namespace", self.namespace, _NAME, "a name of a namespace"),
            ("default_service_account", self.account, _NAME, "a name of a ServiceAccount"),
            ("cluster_domain", self.cluster_domain, _DOMAIN, "a domain"),
        ):
            check(
                pattern.fullmatch(value),
                f"{value!r} is not {what}.",
                item=item,
                rule="flux-name",
                fix="use lower-case letters, digits and hyphens.",
            )
        check(
            self.account != "default",
            "default is the ServiceAccount of every pod that names none.",
            item="default_service_account",
            rule="flux-default-account",
            fix="use a name that only tenants' namespaces have, such as flux.",
        )
        check(
            not self.image_pull_secret or _NAME.fullmatch(self.image_pull_secret),
            f"{self.image_pull_secret!r} is not a name of a Kubernetes Secret.",
            item="image_pull_secret",
            rule="flux-name",
            fix="give its name; it lies in the namespace of Flux.",
        )
        check(
            not self.registry or _REGISTRY.fullmatch(self.registry),
            f"{self.registry!r} is not a registry.",
            item="registry",
            rule="flux-registry",
            fix="give host and path without a scheme, such as ghcr.io/fluxcd.",
        )
        for name in self.components:
            check(
                name in lockdown.FLAGS,
                f"{name!r} is not a controller of Flux.",
                item="components",
                rule="flux-component",
                fix=f"choose among {', '.join(lockdown.FLAGS)}.",
            )
        for name in NEEDED:
            check(
                name in self.components,
                f"{name} is missing.",
                item="components",
                rule="flux-component-needed",
                fix=f"add {name}: without it nothing is reconciled.",
            )
        for index, toleration in enumerate(self.tolerations):
            check(
                isinstance(toleration, Mapping)
                and (toleration.get("key") or toleration.get("operator") == "Exists")
                and not set(toleration) - {"key", "operator", "value", "effect", "tolerationSeconds"},
                "is not a toleration.",
                item=f"tolerations[{index}]",
                rule="flux-toleration",
                fix="give key, operator, value and effect, as in a pod.",
            )
        check(
            all(isinstance(x, str) for pair in self.node_selector.items() for x in pair),
            "is not a map of texts.",
            item="node_selector",
            rule="flux-node-selector",
            fix='give labels of nodes; quote numbers and booleans ("true").',
        )
        return self


# -- the Git source ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Sync:
    """Which repository this cluster follows.

    :ivar ref: exactly one of branch, tag, semver, name and commit.
    :ivar age: the Kustomization decrypts with the age key.
    """

    url: str
    ref: Mapping[str, str]
    path: str
    interval: str = "1m0s"
    kustomization_interval: str = "10m0s"
    timeout: str = ""
    prune: bool = True
    recurse_submodules: bool = False
    age: bool = False
    github_app: bool = False
    secret: bool = False

    @classmethod
    def parse(cls, raw: Mapping[str, t.Any]) -> Sync:
        """Check what was given.

        :raises InvalidInput: for the first mistake.
        """
        url = str(raw.get("url") or "")
        check_url(url, "sync.url")
        given = {name: str(raw[name]) for name in _REFS if raw.get(name)}
        check(
            len(given) <= 1,
            f"{' and '.join(given)} are given.",
            item="sync",
            rule="git-ref",
            fix="give one of branch, tag, semver, name and commit.",
        )
        commit = given.get("commit", "")
        check(
            not commit or _COMMIT.fullmatch(commit),
            f"{commit!r} is not a commit.",
            item="sync.commit",
            rule="git-commit",
            fix="give the whole hash.",
        )
        path = str(raw.get("path") or "")
        parts = path.removeprefix("./").rstrip("/").split("/")
        check(
            path and not path.startswith("/") and ".." not in parts and "\\" not in path,
            f"{path!r} is no folder in a repository." if path else "is missing.",
            item="sync.path",
            rule="git-path",
            fix="give the cluster's folder, such as ./clusters/member-prod.",
        )
        for name in ("interval", "kustomization_interval", "timeout"):
            value = raw.get(name)
            check(
                not value or (duration(str(value)) or 0) > 0,
                f"{value!r} is not a duration.",
                item=f"sync.{name}",
                rule="flux-duration",
                fix="write 30s, 5m or 1h30m.",
            )
        return cls(
            url=url,
            ref=given or {"branch": "main"},
            path="./" + "/".join(part for part in parts if part not in ("", ".")),
            interval=str(raw.get("interval") or "1m0s"),
            kustomization_interval=str(raw.get("kustomization_interval") or "10m0s"),
            timeout=str(raw.get("timeout") or ""),
            prune=bool(raw.get("prune", True)),
            recurse_submodules=bool(raw.get("recurse_submodules")),
        )

    def with_credentials(self, *, secret: bool, github_app: bool, age: bool) -> Sync:
        """Return the same with a login (of a GitHub App), and with decryption."""
        return dataclasses.replace(self, secret=secret, github_app=github_app, age=age)

    def objects(self, namespace: str) -> list[Object]:
        """Return the GitRepository and the Kustomization."""
        metadata = {"name": SYNC, "namespace": namespace}
        repository: Object = {"interval": self.interval, "url": self.url, "ref": dict(self.ref)}
        if self.secret:
            repository["secretRef"] = {"name": SYNC}
        if self.github_app:
            repository["provider"] = "github"
        if self.recurse_submodules:
            repository["recurseSubmodules"] = True
        if self.timeout:
            repository["timeout"] = self.timeout
        kustomization: Object = {
            "interval": self.kustomization_interval,
            "path": self.path,
            "prune": self.prune,
            "sourceRef": {"kind": "GitRepository", "name": SYNC},
            # Under lockdown it would run as the tenants' ServiceAccount otherwise.
            "serviceAccountName": lockdown.KUSTOMIZE,
        }
        if self.age:
            kustomization["decryption"] = {"provider": "sops", "secretRef": {"name": AGE_KEYS}}
        return [
            {
                "apiVersion": "source.toolkit.fluxcd.io/v1",
                "kind": "GitRepository",
                "metadata": dict(metadata),
                "spec": repository,
            },
            {
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
                "kind": "Kustomization",
                "metadata": dict(metadata),
                "spec": kustomization,
            },
        ]


def _split(url: str) -> tuple[urllib.parse.SplitResult, str | None, int | None]:
    """Return the parts of an address, its host and its port; empty ones if it is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        return parts, parts.hostname, parts.port
    except ValueError:
        return urllib.parse.urlsplit(""), None, None


def check_url(url: str, item: str) -> None:
    """Refuse addresses that source-controller refuses, and those with a password in them.

    :raises InvalidInput: for the first mistake.
    """
    scp = _SCP.fullmatch(url)
    check(
        not scp,
        f"{url!r} has the short form of SSH, which Flux refuses.",
        item=item,
        rule="git-url-scp",
        fix=f"write ssh://{scp['user']}@{scp['host']}/{scp['path'].lstrip('/')}" if scp else "",
    )
    parts, host, port = _split(url)
    check(
        parts.scheme in ("https", "http", "ssh") and host and (port is None or port > 0),
        f"{_without_password(url)!r} is no address of a Git repository." if url else "is missing.",
        item=item,
        rule="git-url",
        fix="give https://host/path or ssh://git@host/path.",
    )
    check(
        parts.password is None and (parts.scheme == "ssh" or parts.username is None),
        "has a login in it.",
        item=item,
        rule="git-url-login",
        fix="give the login as git_auth.",
    )
    check(
        parts.scheme != "http" or host in _LOOPBACK,
        "is plain HTTP.",
        item=item,
        rule="plain-http",
        fix="use https or ssh; plain HTTP works on loopback only.",
    )


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)


# -- credentials ---------------------------------------------------------------------------------------------------


def git_secret(raw: Mapping[str, t.Any], url: str) -> dict[str, str]:
    """Return what the Kubernetes Secret with the credentials has; nothing for a repository that needs none.

    :raises InvalidInput: for the first mistake; no value is part of it.
    """
    method = str(raw.get("method") or "none")
    scheme = urllib.parse.urlsplit(url).scheme
    given = {name: str(value) for name, value in raw.items() if value and name != "method"}
    allowed = _FIELDS[method]
    other = sorted(set(given) - allowed)
    check(
        not other,
        f"{', '.join(other)} mean nothing with method {method}.",
        item="git_auth",
        rule="git-auth-option",
        fix=f"give {', '.join(sorted(allowed)) or 'nothing else'}.",
    )
    check(
        method == "none" or (scheme == "ssh") == (method == "ssh"),
        f"{method} does not go with {scheme}://.",
        item="git_auth.method",
        rule="git-auth-url",
        fix="use ssh with ssh:// and the others with https://.",
    )
    for name in _REQUIRED.get(method, ()):
        check(
            given.get(name),
            "is missing.",
            item=f"git_auth.{name}",
            rule="git-auth-missing",
            fix=f"method {method} needs {' and '.join(_REQUIRED[method])}.",
        )
    check(
        scheme != "ssh" or method == "ssh",
        "ssh:// needs a key and the host's keys.",
        item="git_auth.method",
        rule="git-auth-missing",
        fix="give method ssh with identity_file and known_hosts.",
    )
    return {} if method == "none" else _METHODS[method](given, url)


def _ssh(given: Mapping[str, str], url: str) -> dict[str, str]:
    identity = given["identity"]
    check(
        _PRIVATE.search(identity),
        "is not a private key in PEM form.",
        item="git_auth.identity",
        rule="ssh-identity",
        fix="give the private key that ssh-keygen made; the public one belongs to the Git server.",
    )
    check(
        given.get("password") or not is_encrypted_key(identity),
        "is encrypted with a passphrase.",
        item="git_auth.password",
        rule="ssh-identity-password",
        fix="give the passphrase as password_file; Flux refuses the key otherwise.",
    )
    parts = urllib.parse.urlsplit(url)
    check_known_hosts(given["known_hosts"], parts.hostname or "", parts.port or 22)
    found = {"identity": _ended(identity), "known_hosts": _ended(given["known_hosts"])}
    if given.get("identity_pub"):
        check(
            not _PRIVATE.search(given["identity_pub"]),
            "is a private key.",
            item="git_auth.identity_pub",
            rule="ssh-identity-pub",
            fix="give the public key, or leave it out.",
        )
        found["identity.pub"] = _ended(given["identity_pub"])
    if given.get("password"):
        found["password"] = given["password"]
    return found


def is_encrypted_key(text: str) -> bool:
    """Return whether a private key is encrypted with a passphrase."""
    if "-----BEGIN ENCRYPTED PRIVATE KEY-----" in text or re.search(r"^Proc-Type: 4,ENCRYPTED", text, re.MULTILINE):
        return True
    found = _OPENSSH.search(text)
    if found is None:
        return False
    try:
        raw = base64.b64decode("".join(found["data"].split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    # After the magic comes the name of the cipher, with its length before it.
    size = len(_OPENSSH_MAGIC)
    length = int.from_bytes(raw[size : size + 4], "big")
    return raw.startswith(_OPENSSH_MAGIC) and raw[size + 4 : size + 4 + length] != b"none"


def _basic(given: Mapping[str, str], _url: str) -> dict[str, str]:
    return {
        "username": given.get("username") or "git",
        "password": given["password"],
        **({"ca.crt": _authority(given["ca_cert"])} if given.get("ca_cert") else {}),
    }


def _bearer(given: Mapping[str, str], _url: str) -> dict[str, str]:
    return {
        "bearerToken": given["bearer_token"],
        **({"ca.crt": _authority(given["ca_cert"])} if given.get("ca_cert") else {}),
    }


def _github_app(given: Mapping[str, str], _url: str) -> dict[str, str]:
    for name, what in (("app_id", "the GitHub App"), ("installation_id", "its installation")):
        # Flux reads a text that is no number as none at all.
        check(
            not given.get(name) or re.fullmatch(r"[1-9][0-9]{0,17}", given[name]),
            "is not a number.",
            item=f"git_auth.{name}",
            rule="github-app",
            fix=f"give the number of {what}.",
        )
    check(
        bool(given.get("installation_id")) != bool(given.get("installation_owner")),
        "give either installation_id or installation_owner.",
        item="git_auth",
        rule="github-app",
        fix="give one of the two.",
    )
    check(
        _RSA.search(given["private_key"]),
        "is not a private key of RSA in PEM form without a passphrase.",
        item="git_auth.private_key",
        rule="github-app",
        fix="give the private key that GitHub made for the App.",
    )
    if given.get("base_url"):
        _check_api(given["base_url"])
    found = {"githubAppID": given["app_id"], "githubAppPrivateKey": _ended(given["private_key"])}
    for name, key in (
        ("installation_id", "githubAppInstallationID"),
        ("installation_owner", "githubAppInstallationOwner"),
        ("base_url", "githubAppBaseURL"),
    ):
        if given.get(name):
            found[key] = given[name]
    return {**found, **({"ca.crt": _authority(given["ca_cert"])} if given.get("ca_cert") else {})}


def _check_api(url: str) -> None:
    parts, host, port = _split(url)
    check(
        parts.scheme in ("https", "http")
        and host
        and (port is None or port > 0)
        and "@" not in parts.netloc
        and not (parts.query or parts.fragment),
        "is no address of an API.",
        item="git_auth.base_url",
        rule="github-app-url",
        fix="give https://host/api/v3, the whole address of the API of your GitHub Enterprise server.",
    )
    check(
        parts.scheme == "https" or host in _LOOPBACK,
        "is plain HTTP.",
        item="git_auth.base_url",
        rule="plain-http",
        fix="use https; plain HTTP works on loopback only.",
    )


_FIELDS: t.Final[Mapping[str, frozenset[str]]] = {
    "none": frozenset(),
    "ssh": frozenset({"identity", "identity_pub", "known_hosts", "password"}),
    "basic": frozenset({"username", "password", "ca_cert"}),
    "bearer": frozenset({"bearer_token", "ca_cert"}),
    "github_app": frozenset({"app_id", "installation_id", "installation_owner", "private_key", "base_url", "ca_cert"}),
}
_REQUIRED: t.Final[Mapping[str, tuple[str, ...]]] = {
    "ssh": ("identity", "known_hosts"),
    "basic": ("password",),
    "bearer": ("bearer_token",),
    "github_app": ("app_id", "private_key"),
}
_METHODS: t.Final[Mapping[str, t.Callable[[Mapping[str, str], str], dict[str, str]]]] = {
    "ssh": _ssh,
    "basic": _basic,
    "bearer": _bearer,
    "github_app": _github_app,
}
METHODS: t.Final = tuple(_FIELDS)


def _ended(text: str) -> str:
    return text.rstrip("\n") + "\n"


def _authority(text: str) -> str:
    check(
        "-----BEGIN CERTIFICATE-----" in text and not _PRIVATE.search(text),
        "is not a certificate in PEM form.",
        item="git_auth.ca_cert",
        rule="git-ca",
        fix="give the certificate of the Git server's authority.",
    )
    return _ended(text)


def check_known_hosts(text: str, host: str, port: int) -> None:
    """Refuse a list of host keys that has none of this host: Flux would refuse the connection.

    :raises InvalidInput: rules ``known-hosts``, ``known-hosts-host``.
    """
    wanted = host if port == 22 else f"[{host}]:{port}"
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for words in lines:
        fields = words[1:] if words[0].startswith("@") else words
        check(
            len(fields) >= 3 and _key_material(fields[2]),
            "has a line that is not a host key.",
            item="git_auth.known_hosts",
            rule="known-hosts",
            fix="give lines as in ~/.ssh/known_hosts: host, type, key.",
        )
    usable = [words for words in lines if not words[0].startswith("@")]
    check(
        any(_names(words[0], wanted) for words in usable),
        f"has no key of {wanted}.",
        item="git_auth.known_hosts",
        rule="known-hosts-host",
        fix=f"add the line that the Git server's administrator publishes; it begins with {wanted}.",
    )


def _key_material(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) > 16
    except (binascii.Error, ValueError):
        return False


def _names(field: str, wanted: str) -> bool:
    """Return whether the first field of a line is about this host; hashed names too."""
    if field.startswith("|1|"):
        parts = field.split("|")
        try:
            salt, digest = base64.b64decode(parts[2]), base64.b64decode(parts[3])
        except (IndexError, binascii.Error, ValueError):
            return False
        return hmac.compare_digest(hmac.new(salt, wanted.encode(), hashlib.sha1).digest(), digest)
    patterns = field.split(",")
    if any(one.startswith("!") and fnmatch.fnmatchcase(wanted, _pattern(one[1:])) for one in patterns):
        return False
    return any(fnmatch.fnmatchcase(wanted, _pattern(one)) for one in patterns)


def _pattern(text: str) -> str:
    """Return a pattern of OpenSSH, in which brackets mean themselves."""
    return text.replace("[", "[[]")


def age_secret(text: str) -> dict[str, str]:
    """Return what the Kubernetes Secret with the age key has.

    :raises InvalidInput: rule ``age-key``; no value is part of it.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    check(
        lines and all(_is_age_key(line) for line in lines),
        "has no whole age key, or something besides.",
        item="age_key",
        rule="age-key",
        fix="give the file that age-keygen made.",
    )
    return {"age.agekey": "".join(f"{line}\n" for line in lines)}


def _is_age_key(text: str) -> bool:
    """Return whether this is an age key with the right checksum (Bech32): Flux stops at one with a wrong letter."""
    match = _AGE.fullmatch(text)
    if match is None or not set(match["data"]) <= set(_BECH32):
        return False
    prefix = match["prefix"].lower()
    values = [ord(x) >> 5 for x in prefix] + [0] + [ord(x) & 31 for x in prefix]
    state = 1
    for value in values + [_BECH32.index(x) for x in match["data"]]:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit, number in enumerate(_BECH32_GENERATOR):
            state ^= number if top >> bit & 1 else 0
    return state == 1


def secret(name: str, namespace: str, data: Mapping[str, str]) -> Object:
    """Return a Kubernetes Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "Opaque",
        "stringData": dict(data),
    }
