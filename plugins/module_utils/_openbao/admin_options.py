# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The option ``admin`` of the modules that make the administrators' login."""

from __future__ import annotations

import typing as t

from .._core.errors import InvalidInput
from .._core.redact import Secret

ADMIN_OPTIONS: dict[str, t.Any] = {
    "type": "dict",
    "options": {
        "auth_method": {"type": "str", "choices": ["userpass", "cert"], "default": "userpass"},
        "mount_point": {"type": "str"},
        "username": {"type": "str", "required": True},
        "password": {"type": "str", "no_log": True},
        "password_file": {"type": "path"},
        "certificate_file": {"type": "path"},
        "private_key_file": {"type": "path"},
        "policy_name": {"type": "str", "default": "platform-admin"},
        "policy": {"type": "str"},
    },
    "mutually_exclusive": [("password", "password_file")],
    "required_if": [
        ("auth_method", "userpass", ("password", "password_file"), True),
        ("auth_method", "cert", ("certificate_file", "private_key_file")),
    ],
}


class ReadPrivate(t.Protocol):
    """Reads a file that only its owner may read."""

    def __call__(self, path: str, *, item: str) -> Secret:
        """Return its content."""


def admin_values(raw: t.Mapping[str, t.Any], read_private: ReadPrivate) -> dict[str, t.Any]:
    """Return *raw* with the contents of the files it names as ``password`` and ``certificate``."""
    values = dict(raw)
    if values.get("password_file") and not values.get("password"):
        values["password"] = read_private(values["password_file"], item="admin.password_file").reveal()
    if values.get("certificate_file"):
        try:
            with open(values["certificate_file"], encoding="utf-8") as handle:
                values["certificate"] = handle.read()
        except (OSError, UnicodeDecodeError):
            raise InvalidInput(
                f"{values['certificate_file']} cannot be read as text.",
                item="admin.certificate_file",
                rule="admin-certificate",
                fix="give an existing PEM file on the controller.",
            ) from None
    if values.get("private_key_file"):
        read_private(values["private_key_file"], item="admin.private_key_file")
    return values
