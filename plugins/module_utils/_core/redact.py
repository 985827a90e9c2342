# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Secrets in memory: a wrapper that does not print, fingerprints, and the words shown instead of a value."""

from __future__ import annotations

import hashlib
import typing as t

HIDDEN = "(hidden)"
HIDDEN_CHANGED = "(hidden, changed)"


def fingerprint(value: str | bytes) -> str:
    """Return the first 12 hex digits (48 bits) of the sha256 of *value*: enough to tell two apart, useless to guess.

    Only for values with at least 128 bits of entropy (shares, keys, tokens), never for passwords.
    """
    raw = value.encode() if isinstance(value, str) else value
    return hashlib.sha256(raw).hexdigest()[:12]


class Secret:
    """A secret value that neither ``repr``, ``str``, ``format`` nor ``json`` will print; ``reveal()`` returns it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> t.NoReturn:
        raise TypeError("a Secret is not to be pickled")


def redact_fields(
    before: t.Mapping[str, t.Any] | None,
    after: t.Mapping[str, t.Any] | None,
    public: t.Collection[str],
) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Return copies of *before* and *after* in which only top-level fields named in *public* show their value.

    Others read ``(hidden)``, and in *after* ``(hidden, changed)`` where the two differ, so that a diff shows the
    fact of the change and nothing else. ``None`` (absent) becomes ``{}``.
    """
    old, new = dict(before or {}), dict(after or {})
    shown_old = {k: (v if k in public else HIDDEN) for k, v in old.items()}
    shown_new = {
        k: (v if k in public else (HIDDEN if k in old and old[k] == v else HIDDEN_CHANGED)) for k, v in new.items()
    }
    return shown_old, shown_new
