# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""When is an object of Flux ready? Its generation, its conditions, its revision and its reconcile request say so. Pure.

A condition that is about an older generation is old news, good or bad. That the last attempt has ended shows by the
condition Reconciling, which is gone or says ProgressingWithRetry.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Mapping

from .._kube.normalise import Object

State = t.Literal["ready", "waiting", "failed", "suspended"]

KUSTOMIZE_GROUP: t.Final = "kustomize.toolkit.fluxcd.io"
HELM_GROUP: t.Final = "helm.toolkit.fluxcd.io"
SOURCE_GROUP: t.Final = "source.toolkit.fluxcd.io"
_NOTIFICATION: t.Final = "notification.toolkit.fluxcd.io"
_IMAGE: t.Final = "image.toolkit.fluxcd.io"

#: Annotation by which an attempt is asked for, and the label by which a Kustomization marks what it applies.
REQUESTED_AT: t.Final = "reconcile.fluxcd.io/requestedAt"
OWNER_NAME: t.Final = f"{KUSTOMIZE_GROUP}/name"
OWNER_NAMESPACE: t.Final = f"{KUSTOMIZE_GROUP}/namespace"


@dataclasses.dataclass(frozen=True)
class FluxKind:
    """A kind of Flux.

    :ivar role: ``source`` gets content, ``applier`` brings it into the cluster.
    :ivar suspends: it has ``spec.suspend``.
    :ivar reports: its controller writes a status.
    """

    kind: str
    group: str
    role: t.Literal["source", "applier", "other"] = "other"
    suspends: bool = True
    reports: bool = True


KINDS: t.Final[Mapping[str, FluxKind]] = {
    one.kind: one
    for one in (
        FluxKind("GitRepository", SOURCE_GROUP, "source"),
        FluxKind("OCIRepository", SOURCE_GROUP, "source"),
        FluxKind("Bucket", SOURCE_GROUP, "source"),
        FluxKind("HelmRepository", SOURCE_GROUP, "source"),
        FluxKind("HelmChart", SOURCE_GROUP, "source"),
        FluxKind("ExternalArtifact", SOURCE_GROUP, "source", suspends=False),
        FluxKind("ArtifactGenerator", "source.extensions.fluxcd.io", suspends=False),
        FluxKind("Kustomization", KUSTOMIZE_GROUP, "applier"),
        FluxKind("HelmRelease", HELM_GROUP, "applier"),
        FluxKind("Receiver", _NOTIFICATION),
        FluxKind("Alert", _NOTIFICATION, reports=False),
        FluxKind("Provider", _NOTIFICATION, reports=False),
        FluxKind("ImageRepository", _IMAGE),
        FluxKind("ImagePolicy", _IMAGE),
        FluxKind("ImageUpdateAutomation", _IMAGE),
    )
}

#: Reasons for not being Ready that say: somebody else comes first.
_OTHERS_FIRST: t.Final = frozenset({"DependencyNotReady", "HealthCheckCanceled"})
_RETRY: t.Final = "ProgressingWithRetry"
_HASH: t.Final = re.compile(r"[0-9a-f]{7,64}")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How an object is.

    :ivar why: one clause; the condition's message where there is one.
    :ivar reason: the condition's reason.
    :ivar since: when the condition came to be, as the server wrote it.
    """

    state: State
    why: str = ""
    reason: str = ""
    since: str = ""


_Part = Mapping[str, t.Any]


def conditions(live: _Part) -> dict[str, _Part]:
    """Return the conditions of an object by type."""
    found = (live.get("status") or {}).get("conditions")
    return {str(one.get("type")): one for one in found if isinstance(one, dict)} if isinstance(found, list) else {}


def generation(live: _Part) -> int:
    found = (live.get("metadata") or {}).get("generation")
    return found if isinstance(found, int) else 0


def revision(live: _Part, kind: str) -> str:
    """Return the revision that an object has got (a source) or applied."""
    state = live.get("status") or {}
    match KINDS[kind].role:
        case "source":
            return str((state.get("artifact") or {}).get("revision") or "")
        case "applier" if kind == "Kustomization":
            return str(state.get("lastAppliedRevision") or "")
        case "applier":
            return str(state.get("lastAttemptedRevision") or "")
    return ""


def matches(wanted: str, found: str) -> bool:
    """Say whether a revision is the wanted one.

    Wanted is one as Flux writes it (``main@sha1:...``), a part of it (``sha1:...``), or 7 digits or more of a commit.
    """
    if not found:
        return False
    if wanted == found:
        return True
    _branch, _at, digest = found.rpartition("@")
    _algorithm, colon, value = digest.rpartition(":")
    return digest == wanted or (bool(colon) and _HASH.fullmatch(wanted) is not None and value.startswith(wanted))


def is_static(live: _Part, kind: str) -> bool:
    """Say whether an object has no status, so that it is as ready as it will be: an OCI HelmRepository, an Alert."""
    return not KINDS[kind].reports or (kind == "HelmRepository" and (live.get("spec") or {}).get("type") == "oci")


def suspended(live: _Part) -> bool:
    """Say whether an object is suspended."""
    return (live.get("spec") or {}).get("suspend") is True


def verdict(live: Object | None, kind: str, *, wanted: str = "", token: str = "") -> Verdict:
    """Return how an object is; ``None`` is one that does not exist (yet).

    :param wanted: only this revision counts.
    :param token: only attempts that this reconcile request asked for, or later ones, count.
    """
    if live is None:
        return Verdict("waiting", "does not exist", "NotFound")
    metadata = live.get("metadata") or {}
    if metadata.get("deletionTimestamp"):
        return Verdict("waiting", "is being deleted", "Deleting", str(metadata["deletionTimestamp"]))
    if suspended(live):
        return Verdict("suspended", "is suspended", "Suspended")
    if is_static(live, kind):
        return Verdict("ready")
    return _judged(live, kind, wanted, token)


def _judged(live: Object, kind: str, wanted: str, token: str) -> Verdict:
    known = conditions(live)
    state = live.get("status") or {}
    ready, stalled, busy = (_current(live, known.get(name)) for name in ("Ready", "Stalled", "Reconciling"))
    handled = not token or _handled(state.get("lastHandledReconcileAt"), token)
    if _is(stalled, "True") and handled:
        return _said("failed", stalled)
    if _is(ready, "False"):
        if not handled:
            return _said("waiting", ready, "the reconcile request is not handled yet; so far: ")
        if _ended(busy) and _text(ready, "reason") not in _OTHERS_FIRST and not _foreign(live, kind, wanted):
            return _said("failed", ready)
        return _said("waiting", ready)
    if not handled:
        return Verdict("waiting", "the reconcile request is not handled yet", "NotHandled")
    if state.get("observedGeneration") != generation(live):
        return _progress(busy, ready, f"generation {generation(live)} is not observed yet")
    if _is(busy, "True") or not _is(ready, "True"):
        return _progress(busy, ready, "no attempt has ended yet")
    if wanted and not matches(wanted, revision(live, kind)):
        have = revision(live, kind) or "none"
        return Verdict("waiting", f"has revision {have}, not {wanted}", "Revision", _text(ready, "lastTransitionTime"))
    return Verdict("ready", _text(ready, "message"), _text(ready, "reason"), _text(ready, "lastTransitionTime"))


def _progress(busy: _Part | None, ready: _Part | None, otherwise: str) -> Verdict:
    for one in (busy, ready):
        if one is not None and one.get("status") in ("True", "Unknown") and one.get("type") != "Ready":
            return _said("waiting", one)
    if ready is not None and ready.get("status") == "Unknown":
        return _said("waiting", ready)
    return Verdict("waiting", otherwise, "Progressing")


def _current(live: _Part, condition: _Part | None) -> _Part | None:
    """Return a condition unless it is about another generation than the present one."""
    if condition is None:
        return None
    seen = condition.get("observedGeneration")
    return condition if not isinstance(seen, int) or seen == generation(live) else None


def _ended(busy: _Part | None) -> bool:
    return not _is(busy, "True") or _text(busy, "reason") == _RETRY


def _foreign(live: _Part, kind: str, wanted: str) -> bool:
    """Say whether the attempt that failed was about another revision than the wanted one."""
    attempted = str((live.get("status") or {}).get("lastAttemptedRevision") or "")
    return bool(wanted and attempted) and KINDS[kind].role == "applier" and not matches(wanted, attempted)


def _handled(found: t.Any, token: str) -> bool:
    """Say whether a request was handled, or a later one that took its place."""
    if not isinstance(found, str) or not found:
        return False
    return found == token or (
        len(found) == len(token) and found[:4].isdigit() and token[:4].isdigit() and found > token
    )


def _is(condition: _Part | None, value: str) -> bool:
    return condition is not None and condition.get("status") == value


def _text(condition: _Part | None, key: str) -> str:
    return str((condition or {}).get(key) or "")


def _said(state: State, condition: _Part | None, before: str = "") -> Verdict:
    reason, message = _text(condition, "reason"), _text(condition, "message")
    return Verdict(state, f"{before}{message or reason}", reason, _text(condition, "lastTransitionTime"))


# -- who comes before an object ------------------------------------------------------------------------------------


def owner(live: _Part) -> tuple[str, str] | None:
    """Return namespace and name of the Kustomization that applies an object; none for itself."""
    metadata = live.get("metadata") or {}
    labels = metadata.get("labels") or {}
    name, namespace = labels.get(OWNER_NAME), labels.get(OWNER_NAMESPACE)
    if not name or not namespace:
        return None
    itself = live.get("kind") == "Kustomization" and (metadata.get("namespace"), metadata.get("name")) == (
        namespace,
        name,
    )
    return None if itself else (str(namespace), str(name))


def source_of(live: _Part, kind: str) -> tuple[str, str, str] | None:
    """Return kind, namespace and name of the source of an applier or of a HelmChart."""
    spec = live.get("spec") or {}
    namespace = str((live.get("metadata") or {}).get("namespace") or "")
    if kind == "HelmRelease":
        reference = spec.get("chartRef") or ((spec.get("chart") or {}).get("spec") or {}).get("sourceRef")
    else:
        reference = spec.get("sourceRef")
    if not isinstance(reference, dict) or reference.get("kind") not in KINDS or not reference.get("name"):
        return None
    return str(reference["kind"]), str(reference.get("namespace") or namespace), str(reference["name"])


def before(live: _Part, kind: str) -> list[tuple[str, str, str]]:
    """Return kind, namespace and name of what an object waits for: its source and its dependencies."""
    found = [one for one in (source_of(live, kind),) if one]
    namespace = str((live.get("metadata") or {}).get("namespace") or "")
    if KINDS[kind].role == "applier":
        for one in (live.get("spec") or {}).get("dependsOn") or ():
            if isinstance(one, dict) and one.get("name"):
                found.append((kind, str(one.get("namespace") or namespace), str(one["name"])))
    return found
