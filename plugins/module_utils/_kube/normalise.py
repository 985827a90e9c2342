# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Values that Kubernetes writes in more than one way, and objects brought into the form in which they are applied."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import typing as t
from fractions import Fraction

Json = t.Any
Object = dict[str, t.Any]

_SUFFIXES: t.Final[dict[str, Fraction]] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
}
_QUANTITY: t.Final = re.compile(
    r"(?P<number>[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40}))(?:[eE](?P<exponent>[+-]?\d{1,2})|(?P<suffix>[KMGTPE]i|[numkMGTPE]?))"
)
_DURATION_UNITS: t.Final[dict[str, int]] = {
    "ns": 1,
    "us": 10**3,
    "\u00b5s": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION_PART: t.Final = re.compile(r"(\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(ns|us|\u00b5s|ms|s|m|h)")


def quantity(value: object) -> Fraction | None:
    """Return the number a Kubernetes quantity stands for (``"1000m"`` is 1), ``None`` if it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Fraction(value)
    if isinstance(value, float):
        return Fraction(str(value)) if math.isfinite(value) else None
    if not isinstance(value, str):
        return None
    match = _QUANTITY.fullmatch(value)
    if match is None:
        return None
    number = Fraction(match["number"].rstrip(".") if match["number"].endswith(".") else match["number"])
    if match["exponent"]:
        return number * Fraction(10) ** int(match["exponent"])
    return number * _SUFFIXES[match["suffix"] or ""]


def duration(value: object) -> Fraction | None:
    """Return the nanoseconds of a Go duration (``"1m0s"`` is ``"60s"``), ``None`` if it is none."""
    if not isinstance(value, str):
        return None
    text = value[1:] if value[:1] in "+-" else value
    sign = -1 if value.startswith("-") else 1
    if text == "0":
        return Fraction(0)
    total, position = Fraction(0), 0
    while position < len(text):
        match = _DURATION_PART.match(text, position)
        if match is None:
            return None
        total += Fraction(match[1].rstrip(".")) * _DURATION_UNITS[match[2]]
        position = match.end()
    return sign * total if text else None


def same_scalar(one: Json, other: Json) -> bool:
    """Return whether two scalars mean the same: equal, or the same quantity, or the same duration."""
    if type(one) is type(other) and one == other:
        return True
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return False
    first, second = quantity(one), quantity(other)
    if first is not None and second is not None:
        return first == second
    first, second = duration(one), duration(other)
    return first is not None and first == second


def is_empty(value: Json) -> bool:
    """Return whether *value* is null or an empty map or list, which Kubernetes drops or adds as it likes."""
    return value is None or value in ({}, [])


def covered(wanted: Json, live: Json) -> bool:
    """Return whether everything in *wanted* is in *live*; maps in *live* may have more keys (the server's defaults).

    Lists must have the same length and order here; lists that are merged by key are matched by :mod:`ssa`.
    """
    if is_empty(wanted):
        return is_empty(live) or isinstance(live, type(wanted))
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(covered(v, live.get(k)) for k, v in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(covered(a, b) for a, b in zip(wanted, live, strict=True))
        )
    return same_scalar(wanted, live)


_SERVER_METADATA: t.Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)


def is_secret(group: str, kind: str) -> bool:
    """Return whether objects of this kind are Kubernetes Secrets."""
    return kind == "Secret" and not group


def duplicate(value: Json) -> Json:
    """Return a copy of what is made of maps, lists and scalars; several times as fast as :func:`copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: duplicate(one) for key, one in value.items()}
    if isinstance(value, list):
        return [duplicate(one) for one in value]
    return value


def wanted_body(source: Object, *, secret: bool, drop_status: bool) -> Object:
    """Return a copy of *source* as it is to be applied.

    What the server alone writes is left out; a Kubernetes Secret's stringData is folded into data, because the server
    never shows it again.
    """
    body: Object = duplicate(source)
    for key in _SERVER_METADATA:
        body["metadata"].pop(key, None)
    for key in ("labels", "annotations"):
        if body["metadata"].get(key, {}) is None:
            del body["metadata"][key]
    if drop_status:
        body.pop("status", None)
    if secret:
        plain = body.pop("stringData", None)
        data = dict(body.get("data") or {})
        for key, value in (plain or {}).items():
            data[key] = base64.b64encode(str(value).encode()).decode()
        if data or "data" in body:
            body["data"] = data
    return body


def comparable(body: Object) -> Object:
    """Return *body* without what changes by itself: two objects with equal results are the same to a user."""
    result = {k: v for k, v in body.items() if k not in ("metadata", "status")}
    result["metadata"] = {k: v for k, v in (body.get("metadata") or {}).items() if k not in _SERVER_METADATA}
    return result


def digest(body: Object) -> str:
    """Return a short hash of an object; the order of keys does not matter."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
