# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""A Ceph cluster as others need to know it, without anything secret. Pure."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from . import pve
from .clients import User
from .pools_plan import Existing

_VERSION: t.Final = re.compile(r"ceph version (?P<number>\d+\.\d+\.\d+)")
#: First versions with keys that can't be forged, by release (CVE-2025-30156).
FIXED: t.Final = {19: (19, 2, 6), 20: (20, 2, 4), 21: (21, 2, 0)}
#: Daemons whose keys decide about it.
_DAEMONS: t.Final = ("mon.", "mgr.", "osd.", "mds.")
_INSECURE: t.Final = "AUTH_INSECURE_"
_ERRORS: t.Final = frozenset({"AUTH_INSECURE_SERVICE_KEY_TYPE", "AUTH_INSECURE_SERVICE_TICKETS"})


def versions(out: t.Any) -> dict[str, dict[str, int]]:
    """Return version -> number of daemons, by kind, out of the answer to ``versions``."""
    found: dict[str, dict[str, int]] = {}
    for kind, texts in (out or {}).items():
        if kind == "overall":
            continue
        for text, count in texts.items():
            number = _VERSION.search(text)
            name = number.group("number") if number else text
            found.setdefault(kind, {})[name] = found.get(kind, {}).get(name, 0) + int(count)
    return found


def oldest(found: Mapping[str, Mapping[str, int]]) -> str:
    """Return the oldest version that runs; empty if none is known."""
    numbers = [tuple(map(int, name.split("."))) for some in found.values() for name in some if name[:1].isdigit()]
    return ".".join(map(str, min(numbers))) if numbers else ""


def monitors(out: t.Any, answering: Iterable[str] | None = None) -> list[dict[str, t.Any]]:
    """Return all monitors with their addresses, out of the answer to ``mon dump``.

    :param answering: names of those that answered, if they were asked.
    """
    answer = out or {}
    quorum = set(answer.get("quorum") or ())
    found = []
    for one in answer.get("mons", ()):
        addresses = {address["type"]: address["addr"] for address in one["public_addrs"]["addrvec"]}
        entry = {"name": one["name"], "v1": addresses.get("v1"), "v2": addresses.get("v2")}
        entry["in_quorum"] = one["rank"] in quorum
        if answering is not None:
            entry["answers"] = one["name"] in set(answering)
        found.append(entry)
    return sorted(found, key=lambda entry: str(entry["name"]))


def health(out: t.Any) -> dict[str, t.Any]:
    """Return status and checks out of the answer to ``health detail``."""
    answer = out or {}
    return {
        "status": answer.get("status", ""),
        "checks": {
            name: {"severity": one.get("severity", ""), "message": (one.get("summary") or {}).get("message", "")}
            for name, one in sorted((answer.get("checks") or {}).items())
        },
    }


def insecure(found: Mapping[str, t.Any]) -> list[str]:
    """Return the health codes that say that users of Ceph can be forged."""
    return sorted(name for name in found["checks"] if name.startswith(_INSECURE))


def forgery(version: str, found: Mapping[str, t.Any], users: Mapping[str, User]) -> dict[str, t.Any]:
    """Return what is to be said about CVE-2025-30156, by which the holder of any key can become anybody.

    ``state`` is ``vulnerable`` (Ceph too old), ``unfinished`` (new enough, and daemons still have old keys or hand out
    old tickets), ``fixed``, or ``unknown``.
    """
    numbers = tuple(map(int, version.split("."))) if version else ()
    codes = insecure(found)
    daemons = sorted(
        name for name, user in users.items() if name.startswith(_DAEMONS) and user.key_type not in ("aes256k", "")
    )
    if not numbers:
        state, why = "unknown", "Ceph's version is not known."
    elif numbers[0] <= max(FIXED) and numbers < FIXED.get(numbers[0], FIXED[19]):
        state = "vulnerable"
        why = f"Ceph {version} can't make keys that are safe: 19.2.6, 20.2.4, 21.2 or newer can."
    elif _ERRORS & set(codes) or daemons:
        state, why = "unfinished", "keys of daemons are to be rotated to aes256k."
    else:
        state, why = "fixed", "daemons have keys of type aes256k."
    return {
        "state": state,
        "why": why,
        "daemons_with_old_keys": daemons,
        "health": {name: found["checks"][name]["severity"] for name in codes},
    }


def pools(there: Mapping[str, Existing], storages: Sequence[pve.Storage]) -> dict[str, dict[str, t.Any]]:
    """Return what others need to know of pools."""
    return {
        name: {
            "erasure": bool(one.profile),
            "overwrites": not one.profile or bool(one.attributes["allow_ec_overwrites"]),
            "applications": sorted(one.applications),
            "crush_rule": one.rule,
            "size": one.attributes["size"],
            "min_size": one.attributes["min_size"],
            "pg_num": one.attributes["pg_num"],
            "pve_storage": pve.owner(name, storages),
        }
        for name, one in sorted(there.items())
    }


def filesystems(out: t.Any) -> dict[str, dict[str, t.Any]]:
    """Return file systems and their pools out of the answer to ``fs ls``."""
    return {
        one["name"]: {"metadata_pool": one["metadata_pool"], "data_pools": list(one.get("data_pools") or ())}
        for one in out or ()
    }
