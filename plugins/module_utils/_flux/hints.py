# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What to do about what Flux says: a catalogue of messages and reasons, the most specific first. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Hint:
    """One entry.

    :ivar rule: its stable name. :ivar pattern: found anywhere in reason, message or events.
    :ivar kinds: only for these kinds; all if empty. :ivar text: what to do; may name groups of the pattern.
    """

    rule: str
    pattern: re.Pattern[str]
    text: str
    kinds: frozenset[str] = frozenset()


def _hint(rule: str, pattern: str, text: str, *kinds: str) -> Hint:
    return Hint(rule, re.compile(pattern, re.IGNORECASE | re.DOTALL), text, frozenset(kinds))


_APPLIERS: t.Final = ("Kustomization", "HelmRelease")

CATALOGUE: t.Final = (
    # -- accounts and rights
    _hint(
        "platform-account",
        r'User "system:serviceaccount:flux-system:(?!(?:kustomize|helm)-controller")(?P<account>[^"]+)" cannot',
        "the object is in flux-system and runs as {account}, as lockdown gives it to those that name nobody: set"
        " spec.serviceAccountName: kustomize-controller (HelmRelease: helm-controller) if it belongs to the platform.",
        *_APPLIERS,
    ),
    _hint(
        "missing-account",
        r"(?:failed to find account to impersonate|serviceaccounts? \"(?P<account>[^\"]+)\" not found"
        r"|service ?account .{0,80}not found)",
        "the ServiceAccount that the object runs as does not exist in its namespace: create it, or correct"
        " spec.serviceAccountName (or the controllers' --default-service-account).",
        *_APPLIERS,
    ),
    _hint(
        "secret-store",
        r"(?:SecretStore|ExternalSecret).{0,300}"
        r"(?:403|permission denied|not ready|InvalidProviderConfig|SecretSyncedError)"
        r"|unable to create client.{0,200}(?:403|permission denied)",
        "a secret cannot be read from OpenBao: look at the SecretStore and its OpenBao role with jwt_reviewer_info, and"
        " nudge it with eso_sync once it is mended.",
    ),
    _hint(
        "quota",
        r"exceeded quota|failed quota|must specify (?:limits|requests)",
        "the namespace's quota refuses pods: ask for less, raise the tier's quota, or give the containers requests and"
        " limits.",
    ),
    _hint(
        "limit-range",
        r"maximum (?:cpu|memory|ephemeral-storage) usage per|minimum (?:cpu|memory|ephemeral-storage) usage per",
        "the namespace's LimitRange refuses the container's requests or limits: stay within those of the tier.",
    ),
    _hint(
        "pod-security",
        r"violates PodSecurity",
        "the Pod Security level of the namespace refuses the pod: set a securityContext as it demands.",
    ),
    _hint(
        "admission",
        r"admission webhook .{1,200} denied the request|ValidatingAdmissionPolicy .{1,200} denied request",
        "a policy of the cluster refuses the object: the message names it and its rule.",
    ),
    _hint(
        "forbidden",
        r'User "(?P<user>[^"]+)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"',
        "{user} may not {verb} {resource}: leave the object out of the repository, or give the account that right.",
    ),
    # -- confinement by lockdown
    _hint(
        "cross-namespace",
        r"AccessDenied|cross-namespace references (?:have been|are) (?:blocked|not allowed)",
        "lockdown forbids references to other namespaces: keep the source in the object's own namespace.",
    ),
    _hint(
        "remote-base",
        r"accumulating resources from '(?:https?|ssh|git|github\.com)[^']*'|fs-security-constraint|git fetch --depth=1",
        "kustomization.yaml refers to something outside of the repository, which lockdown forbids: copy it into the"
        " repository.",
        "Kustomization",
    ),
    # -- what is in the repository
    _hint(
        "path",
        r"kustomization path not found|no such file or directory|path .{0,200}not found",
        "the path does not exist in this revision: correct spec.path, or push the folder to the branch of the source.",
        "Kustomization",
    ),
    _hint(
        "stored-versions",
        r"status\.storedVersions.{0,80}(?:Invalid value|missing from spec\.versions)|missing from spec\.versions",
        "objects are still stored in a version that the new definition does not have: migrate them before the"
        " definition changes, as flux_bootstrap does.",
    ),
    _hint(
        "unknown-kind",
        r"no matches for kind \"(?P<kind>[^\"]+)\"|ensure CRDs are installed first",
        "the kind is not known to the cluster: its definition has to come first, by dependsOn or by a Kustomization of"
        " its own.",
    ),
    _hint(
        "immutable",
        r"field is immutable|updates to statefulset spec .{0,200}are forbidden|may not change once set",
        "a field that cannot change was changed: delete the object by hand, or annotate it"
        " kustomize.toolkit.fluxcd.io/force: enabled so that Flux replaces it.",
    ),
    _hint(
        "substitution",
        r"variable substitution failed|substitut|variable not set|missing variable",
        "a variable has no value (since Flux 2.9 that is an error): give it one in postBuild, write ${{name:=default}},"
        " or annotate the object kustomize.toolkit.fluxcd.io/substitute: disabled.",
        "Kustomization",
    ),
    _hint(
        "decryption",
        r"decrypt|sops metadata|no identity matched|error getting data key",
        "SOPS cannot decrypt: look at spec.decryption, the age key in its Secret and the recipients in .sops.yaml.",
        "Kustomization",
    ),
    _hint(
        "dependency",
        r"DependencyNotReady|dependency '(?P<dependency>[^']+)'",
        "look at what the object depends on first.",
        *_APPLIERS,
    ),
    _hint(
        "namespace",
        r"namespaces? \"(?P<namespace>[^\"]+)\" not found",
        "the namespace {namespace} does not exist: create it first, or correct targetNamespace.",
    ),
    _hint(
        "source-missing",
        r"\w+\.source\.(?:toolkit|extensions)\.fluxcd\.io \"[^\"]+\" not found|Source '[^']+' not found"
        r"|(?:Repository|Bucket|Chart|Artifact) \S+ does not exist",
        "the source does not exist in that namespace: create it, or correct sourceRef.",
        *_APPLIERS,
    ),
    _hint(
        "invalid-manifest",
        r"kustomize build failed|BuildFailed|yaml: |error converting YAML|is invalid: |MalformedYAML|failed to decode",
        "the manifests cannot be built or are not valid: run 'kustomize build' on the path in the repository.",
        "Kustomization",
    ),
    # -- sources
    _hint(
        "host-key",
        r"knownhosts: key (?:is unknown|mismatch)|unknown host key|host key (?:verification failed|mismatch)"
        r"|no hostkey|known_hosts",
        "the server's host key is not the one in known_hosts of the secret: compare it with what the host publishes,"
        " then correct the secret. If nobody changed the host's key, somebody may be in between.",
    ),
    _hint(
        "github-app",
        r"access_tokens: 40[134]|installation: 40[134]|A JSON web token could not be decoded"
        r"|failed to find (?:organization|user) installation|app installation owner or ID|app ID must be provided"
        r"|could not parse private key: (?:invalid key|key is not|asn1)",
        "the API does not know the GitHub App: look at the App's number, its installation and its private key in the"
        " secret, and at the address of the API (githubAppBaseURL) of a GitHub Enterprise server.",
        "GitRepository",
    ),
    _hint(
        "ssh-passphrase",
        r"identity key is encrypted|x509: decryption password incorrect|bcrypt_pbkdf|this private key is passphrase",
        "the deploy key has a passphrase, and the secret has no password or a wrong one.",
        "GitRepository",
    ),
    _hint(
        "git-login",
        r"authentication required|authorization failed|invalid credentials|unable to authenticate"
        r"|permission denied \(publickey|access denied or repository not exported|HTTP 40[13]|status code: 40[13]"
        r"|unexpected client error.{0,200}40[13]",
        "the server refuses the credentials: look at spec.secretRef, whether the token has expired and the deploy key"
        " is registered.",
        "GitRepository",
        "OCIRepository",
        "HelmRepository",
        "Bucket",
    ),
    _hint(
        "ref",
        r"couldn't find remote ref|reference not found|git reference .{0,80}not found|no match found for semver"
        r"|object not found",
        "the branch, tag or commit of spec.ref does not exist in the repository.",
        "GitRepository",
        "OCIRepository",
    ),
    _hint(
        "repository",
        r"repository not found|unable to clone.{0,300}404|status code: 404",
        "the server does not know the repository, or hides it from this login: look at spec.url and the token.",
        "GitRepository",
        "OCIRepository",
        "HelmRepository",
    ),
    _hint(
        "tls",
        r"x509: |certificate signed by unknown authority|tls: ",
        "the server's certificate is not trusted: put its authority into ca.crt of the secret in spec.secretRef.",
    ),
    _hint(
        "unreachable",
        r"connection refused|no such host|i/o timeout|no route to host|context deadline exceeded|TLS handshake timeout"
        r"|server misbehaving|connection reset|status code: 5\d\d|HTTP 5\d\d|unexpected EOF",
        "the server does not answer: look at spec.url, DNS, the NetworkPolicy of flux-system and the server itself.",
        "GitRepository",
        "OCIRepository",
        "HelmRepository",
        "HelmChart",
        "Bucket",
    ),
    _hint(
        "source-secret",
        r"secrets? \"(?P<secret>[^\"]+)\" not found|failed to get secret",
        "the Secret that spec.secretRef names does not exist in the object's namespace.",
    ),
    # -- health
    _hint(
        "health",
        r"HealthCheckFailed|health check failed|timeout waiting for",
        "what was applied does not get Ready in time: look at the failing objects and their events, or raise"
        " spec.timeout.",
        *_APPLIERS,
    ),
    _hint(
        "prune",
        r"PruneFailed|prune failed",
        "what is no longer in the repository cannot be deleted: look at its finalizers and the account's rights.",
        "Kustomization",
    ),
    _hint("suspended", r"^Suspended\b", "resume it with flux_action action=resume when whoever suspended it agrees."),
)


@dataclasses.dataclass(frozen=True)
class Found:
    """The entry that fits, ready to be shown."""

    rule: str
    text: str

    def __bool__(self) -> bool:
        return bool(self.rule)


NOTHING: t.Final = Found("", "")


def hint(kind: str, reason: str, message: str, more: Iterable[str] = ()) -> Found:
    """Return the first entry that fits.

    What the object says counts before *more*: what its events and those of its parts say. Only health says less.
    """
    said = f"{reason}: {message}"
    events = "\n".join(more)
    first = _match(kind, said)
    if first.rule in ("", "health") and events:
        return _match(kind, events) or first
    return first


def named(rule: str, **groups: str) -> Found:
    """Return the entry with a name."""
    one = next(one for one in CATALOGUE if one.rule == rule)
    known = dict.fromkeys(one.pattern.groupindex, "")
    return Found(one.rule, one.text.format(**{**known, **groups}))


def _match(kind: str, text: str) -> Found:
    for one in CATALOGUE:
        if one.kinds and kind not in one.kinds:
            continue
        found = one.pattern.search(text)
        if found:
            groups = {name: value or "" for name, value in found.groupdict().items()}
            return Found(one.rule, one.text.format(**groups))
    return NOTHING
