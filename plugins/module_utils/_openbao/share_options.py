# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Options for people and their shares that several modules have."""

from __future__ import annotations

import typing as t

#: Where a share can come from; one of these.
SOURCES: t.Final = ("share", "file", "age_file", "pgp_file", "command")

_SOURCE: t.Final[dict[str, t.Any]] = {
    "name": {"type": "str", "required": True},
    "share": {"type": "str", "no_log": True},
    "file": {"type": "path"},
    "age_file": {"type": "path"},
    "age_identity_file": {"type": "path"},
    "pgp_file": {"type": "path"},
    "command": {"type": "list", "elements": "str"},
}


def sources() -> dict[str, t.Any]:
    """Return the option for holders with the place that each one's share comes from; the action plugin reads them."""
    return {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {name: dict(option) for name, option in _SOURCE.items()},
        "mutually_exclusive": [SOURCES],
        "required_together": [("age_file", "age_identity_file")],
    }


def recipient() -> dict[str, t.Any]:
    """Return the option for one person with the key that something is encrypted to."""
    return {
        "type": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "age_recipient": {"type": "str"},
            "pgp_public_key_file": {"type": "path"},
        },
    }


def recipients(**changes: t.Any) -> dict[str, t.Any]:
    """Return the option for holders with the keys that their shares are encrypted to."""
    return {**recipient(), "type": "list", "elements": "dict", **changes}
