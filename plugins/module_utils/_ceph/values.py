# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Numbers, amounts of bytes, durations and switches as people write them, and as Ceph means them. Pure."""

from __future__ import annotations

import re
import typing as t

from .._core.errors import InvalidInput

_AMOUNT: t.Final = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[A-Za-z]*)")
_BINARY: t.Final = {letter: 1024**power for power, letter in enumerate("kmgtpe", 1)}
_DURATION: t.Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)")
_SECONDS: t.Final = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "wk", "week", "weeks"), 604800),
    **dict.fromkeys(("mo", "month", "months"), 2592000),
    **dict.fromkeys(("y", "yr", "year", "years"), 31536000),
}
_TRUE: t.Final = frozenset({"true", "yes", "on", "1"})
_FALSE: t.Final = frozenset({"false", "no", "off", "0"})


def amount(value: t.Any) -> int | None:
    """Return a number of bytes: ``1024``, ``100Gi``, ``100GiB``, ``100G`` (all with 1024); None if it is none.

    Ceph itself counts ``G`` and ``Gi`` the same for amounts of bytes, which is why there is no other reading here.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value >= 0 else None
    found = _AMOUNT.fullmatch(str(value).strip())
    if not found:
        return None
    unit = found.group("unit").lower().removesuffix("b").removesuffix("i")
    if unit and unit not in _BINARY:
        return None
    number = float(found.group("number")) * _BINARY.get(unit, 1)
    return int(number) if number == int(number) else None


def decimal(value: t.Any) -> int | None:
    """Return a plain count, where ``k`` is a thousand: what Ceph does to options that are no amounts of bytes."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    found = re.fullmatch(r"(-?[0-9]+)\s*([KMGTPE]?)", str(value).strip(), re.IGNORECASE)
    if not found:
        return None
    unit = found.group(2).lower()
    return int(found.group(1)) * (1000 ** ("kmgtpe".index(unit) + 1) if unit else 1)


def seconds(value: t.Any) -> float | None:
    """Return a duration in seconds: ``90``, ``1m30s``, ``1 day``; None if it is none."""
    text = str(value).strip().lower()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    if not text or _DURATION.sub("", text).strip(" ,"):
        return None
    parts = _DURATION.findall(text)
    if any(unit not in _SECONDS for _number, unit in parts):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def switch(value: t.Any) -> bool | None:
    """Return a truth value as Ceph reads it; None if it is none."""
    text = str(value).strip().lower()
    return True if text in _TRUE else False if text in _FALSE else None


def number(value: t.Any) -> float | None:
    """Return a number; None if it is none."""
    try:
        return None if isinstance(value, bool) else float(str(value).strip())
    except ValueError:
        return None


def need_amount(value: t.Any, item: str) -> int:
    """Return a number of bytes.

    :raises InvalidInput: rule ``amount``.
    """
    found = amount(value)
    if found is None:
        raise InvalidInput(
            f"{value!r} is no amount of bytes.",
            item=item,
            rule="amount",
            fix="write for instance 500GiB, or 0 for none.",
        )
    return found
