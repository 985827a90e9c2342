# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is known of the token that OpenBao holds and never shows: annotations of the Secret that it is bound to.

Deleting the Secret revokes the token. Nothing here is secret: moments, fingerprints, names.

A Secret without evidence was made by a run that was killed before it could write to OpenBao. One in state ``minted``
may have been written to OpenBao, and nobody has proved it. One in state ``current`` has been written and has passed the
verification that was asked for.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t
from collections.abc import Mapping

from .claims import epoch, rfc3339
from .model import INVENTORY, Cluster, Settings

State = t.Literal["minted", "current"]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a run wrote down about the token that it minted.

    :ivar issued: seconds since 1970; ``expires`` likewise.
    :ivar fingerprint: of the token, first 12 hex digits of its sha256.
    :ivar ca: fingerprint of the CA that was written beside the token; ``api_server`` the address.
    :ivar audiences: of the token, which are the API server's own; empty where an earlier version did not note them.
    :ivar account_uid: uid of the ServiceAccount, ``secret_uid`` that of the Secret.
    """

    state: State
    issued: int
    expires: int
    fingerprint: str
    ca: str
    api_server: str
    issuer: str
    account_uid: str
    secret_uid: str
    audiences: tuple[str, ...] = ()

    @property
    def lifetime(self) -> int:
        return max(0, self.expires - self.issued)

    def seconds_left(self, now: float) -> int:
        return int(self.expires - now)

    def ageing(self, now: float, below: float) -> bool:
        """Less than *below* of its life is left."""
        return self.expires - now < below * self.lifetime or self.expires <= now


_KEYS: t.Final = (
    "state",
    "issued",
    "expires",
    "fingerprint",
    "ca",
    "api-server",
    "issuer",
    "account-uid",
    "secret-uid",
    "audiences",
)


@dataclasses.dataclass(frozen=True)
class BoundSecret:
    """A Secret to which a token of the reviewer is bound.

    :ivar serial: number at the end of its name; the greatest is the newest.
    """

    name: str
    uid: str
    serial: int
    evidence: Evidence | None
    raw: Mapping[str, t.Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def state(self) -> str:
        return self.evidence.state if self.evidence else "made"


def annotation(settings: Settings, key: str) -> str:
    return f"{settings.label_domain}/reviewer-{key}"


def written(evidence: Evidence, settings: Settings) -> dict[str, str]:
    """Return the annotations that :func:`of` reads."""
    values = {
        "state": evidence.state,
        "issued": str(rfc3339(evidence.issued)),
        "expires": str(rfc3339(evidence.expires)),
        "fingerprint": evidence.fingerprint,
        "ca": evidence.ca,
        "api-server": evidence.api_server,
        "issuer": evidence.issuer,
        "account-uid": evidence.account_uid,
        "secret-uid": evidence.secret_uid,
        "audiences": json.dumps(evidence.audiences),
    }
    return {annotation(settings, key): values[key] for key in _KEYS}


def of(secret: Mapping[str, t.Any], settings: Settings) -> Evidence | None:
    """Return the evidence on a Secret; ``None`` where there is none, or where it is not what a run wrote."""
    metadata = secret.get("metadata") or {}
    there = metadata.get("annotations") or {}
    values = {key: str(there.get(annotation(settings, key)) or "") for key in _KEYS}
    if values["state"] not in ("minted", "current") or values["secret-uid"] != str(metadata.get("uid") or ""):
        return None
    issued, expires = epoch(values["issued"]), epoch(values["expires"])
    if issued is None or expires is None:
        return None
    return Evidence(
        state=t.cast("State", values["state"]),
        issued=issued,
        expires=expires,
        fingerprint=values["fingerprint"],
        ca=values["ca"],
        api_server=values["api-server"],
        issuer=values["issuer"],
        account_uid=values["account-uid"],
        secret_uid=values["secret-uid"],
        audiences=_texts(values["audiences"]),
    )


def _texts(written_down: str) -> tuple[str, ...]:
    """Return a list of texts from an annotation; empty if it is none."""
    try:
        found = json.loads(written_down or "[]")
    except ValueError:
        return ()
    return tuple(str(one) for one in found) if isinstance(found, list) else ()


def secret_name(cluster: Cluster, serial: int) -> str:
    return f"{cluster.service_account}-{cluster.name}-{serial}"


def bound_secret(secret: Mapping[str, t.Any], settings: Settings) -> BoundSecret:
    """Return what is known of a Secret in the list of a cluster's bound Secrets."""
    metadata = secret.get("metadata") or {}
    name = str(metadata.get("name") or "")
    number = re.search(r"-(\d{1,9})$", name)
    serial = int(number.group(1)) if number else 0
    return BoundSecret(name, str(metadata.get("uid") or ""), serial, of(secret, settings), secret)


def manifest(cluster: Cluster, settings: Settings, serial: int) -> dict[str, t.Any]:
    """Return the Secret to which the next token is bound; it holds nothing."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": secret_name(cluster, serial),
            "namespace": cluster.namespace,
            "labels": {settings.label: INVENTORY, settings.reviewer_label: cluster.name},
        },
    }


def patch(evidence: Evidence, settings: Settings) -> dict[str, t.Any]:
    """Return the merge patch that writes the evidence."""
    return {"metadata": {"annotations": written(evidence, settings)}}


# -- which of them counts ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Standing:
    """What the bound Secrets of a cluster mean together.

    :ivar current: the one whose token OpenBao holds, as far as is known; ``None`` when that must be done anew.
    :ivar leftovers: those that nobody needs while *current* stands (with ``None``: once a new one stands).
    :ivar why: why there is no current one.
    """

    current: BoundSecret | None
    leftovers: tuple[BoundSecret, ...]
    next_serial: int
    why: str = ""


def standing(secrets: t.Iterable[BoundSecret]) -> Standing:
    """Say which Secret counts.

    A ``minted`` one that is newer than the newest ``current`` one may have been written to OpenBao by a run that was
    killed: then nobody knows which of the two tokens OpenBao holds, and only a new one gives certainty.
    """
    ordered = sorted(secrets, key=lambda s: (s.serial, s.name), reverse=True)
    serial = max((s.serial for s in ordered), default=0) + 1
    for one in ordered:
        if one.state == "made":
            continue  # its token, if there is one, was never written
        if one.state == "current":
            return Standing(one, tuple(s for s in ordered if s is not one), serial)
        return Standing(None, tuple(ordered), serial, "an interrupted run may have written a token that nobody proved")
    return Standing(
        None, tuple(ordered), serial, "there is no token" if not ordered else "an interrupted run left none"
    )
