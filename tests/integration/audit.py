# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API servers of a lab were asked, by their audit logs. The lab's own questions are not in them."""

from __future__ import annotations

import json
import typing as t
import urllib.parse

from lab.api import Lab

ADMIN = "lab-admin"


def mark(lab: Lab, cluster: str) -> int:
    """Return where the audit log ends now."""
    return lab.clusters[cluster].audit_log.stat().st_size


def events(lab: Lab, cluster: str, since: int) -> list[dict[str, t.Any]]:
    """Return what was logged since a mark."""
    with lab.clusters[cluster].audit_log.open("rb") as handle:
        handle.seek(since)
        complete, _newline, _beginning = handle.read().rpartition(b"\n")
    return [json.loads(line) for line in complete.splitlines()]


def asked(lab: Lab, cluster: str, since: int, user: str = ADMIN) -> list[tuple[str, str]]:
    """Return (verb, uri) of the requests of *user*, the administrator if none is named."""
    found = [event for event in events(lab, cluster, since) if event["user"].get("username") == user]
    return [(event["verb"], event["requestURI"]) for event in found]


def writes(lab: Lab, cluster: str, since: int, user: str = ADMIN) -> list[tuple[str, str]]:
    """Return the requests of *user* that were neither reads nor dry runs nor questions about rights."""

    def leaves_no_trace(verb: str, uri: str) -> bool:
        url = urllib.parse.urlsplit(uri)
        dry = urllib.parse.parse_qs(url.query).get("dryRun") == ["All"]
        return verb in ("get", "list", "watch") or dry or url.path.endswith("accessreviews")

    return [one for one in asked(lab, cluster, since, user) if not leaves_no_trace(*one)]


class Audited:
    """A site with one cluster whose audit log tells."""

    CLUSTER: t.ClassVar[str]
    lab: Lab

    def mark(self) -> int:
        return mark(self.lab, self.CLUSTER)

    def asked(self, since: int, user: str = ADMIN) -> list[tuple[str, str]]:
        return asked(self.lab, self.CLUSTER, since, user)

    def writes(self, since: int) -> list[tuple[str, str]]:
        return writes(self.lab, self.CLUSTER, since)
