# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What the doctor returns: the ladder of each cluster as data, and the same as findings for a report."""

from __future__ import annotations

import typing as t

from .claims import rfc3339
from .doctor_model import Seen, Target
from .ladder import HOPS, first_broken, walk
from .model import RENEW_BELOW

#: Findings besides one for each hop, and what they say.
FINDINGS: t.Final[t.Mapping[str, str]] = {
    **{f"reviewer-{hop}": f"the first broken hop is: {says}" for hop, says in HOPS.items()},
    "reviewer-doubt": "something looks wrong on the way, although a login works",
    "reviewer-near-expiry": "the reviewer's token ends soon and was not renewed",
}


def result(target: Target, seen: Seen, *, seconds: float) -> dict[str, t.Any]:
    """Return one cluster's part of the module's result.

    :param seconds: how long the examination took.
    """
    walked = walk(target, seen)
    broken = first_broken(walked)
    return {
        "name": target.name,
        "mode": target.mode,
        "mount": target.mount,
        "api_server": target.api_server,
        "client": target.client,
        "healthy": broken is None,
        "broken": None
        if broken is None
        else {"hop": broken.hop, "cause": broken.cause, "reason": broken.detail, "fix": broken.fix},
        "doubts": [hop.detail for hop in walked if hop.doubt and hop.status == "ok"],
        "hops": [hop.report() for hop in walked],
        "reviewer": _reviewer(target, seen),
        "seconds": round(seconds, 2),
    }


def _reviewer(target: Target, seen: Seen) -> dict[str, t.Any] | None:
    if not target.has_reviewer:
        return None
    current = seen.current
    ends = current.expires_at if current else None
    left = None if ends is None else int(ends - seen.api_now)
    return {
        "service_account": target.reviewer,
        "secret": current.name if current else None,
        "expires_at": rfc3339(ends),
        "seconds_left": left,
    }


def findings(target: Target, seen: Seen, *, renew_below: float = RENEW_BELOW) -> list[dict[str, str]]:
    """Return what a person should know of one cluster, the most severe first.

    :param renew_below: part of its life below which the token should have been renewed.
    """
    walked = walk(target, seen)
    broken = first_broken(walked)
    item = f"reviewer of {target.name}"
    found: list[dict[str, str]] = []

    def add(finding: str, severity: str, message: str, fix: str) -> None:
        found.append({"id": finding, "severity": severity, "item": item, "message": message, "fix": fix})

    if broken is not None:
        add(f"reviewer-{broken.hop}", "error", broken.detail, broken.fix)
    for hop in walked:
        if hop.doubt and hop.status == "ok":
            add("reviewer-doubt", "warning", f"{hop.hop}: {hop.detail}", "look at it before it stops working.")
    current = seen.current
    if current is not None and current.expires_at is not None and current.issued_at is not None:
        left, life = current.expires_at - seen.api_now, current.expires_at - current.issued_at
        if 0 < left < life * renew_below:
            add(
                "reviewer-near-expiry",
                "warning",
                f"its token ends at {rfc3339(current.expires_at)} and should have been renewed by now.",
                "run playbooks/reviewers.yml, and run it on a schedule.",
            )
    return found
