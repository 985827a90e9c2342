# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads tokens, keys and client secrets from files, encrypted ones too, and passes them to the module in memory."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ..plugin_utils._secret_files import SecretFilesAction, SecretReader

#: Path to a dict of options -> the secrets in it, each with its file in ``<name>_file``.
_SECRETS: t.Final = (
    (("repository",), ("token", "ssh_key")),
    (("rendered",), ("token", "ssh_key")),
    (("membership", "keycloak"), ("client_secret",)),
)


def _filled(reader: SecretReader, raw: t.Any, names: tuple[str, ...], item: str) -> t.Any:
    """Return *raw* with each secret in place of the file that names it."""
    if not isinstance(raw, Mapping):
        return raw  # the module says what is wrong with it
    made = dict(raw)
    for name in names:
        path = made.get(f"{name}_file")
        if path and not made.get(name):
            del made[f"{name}_file"]
            made[name] = reader.file(str(path), item=f"{item}.{name}_file").rstrip("\n")
    return made


class ActionModule(SecretFilesAction):
    """Files become values, nothing else changes. Check mode reads them too: it reads repositories."""

    def work(self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        return self.module(self.fill(reader, args), task_vars)

    def fill(self, reader: SecretReader, args: dict[str, t.Any]) -> dict[str, t.Any]:
        made = dict(args)
        offered = made.get("platform")
        if isinstance(offered, Mapping):
            # The inventory keeps the login at the source of memberships there, which would be shown with the options.
            made["platform"] = {key: value for key, value in offered.items() if key != "membership"}
        for path, names in _SECRETS:
            outer = made.get(path[0])
            item = ".".join(path)
            if len(path) == 1:
                if outer is not None:
                    made[path[0]] = _filled(reader, outer, names, item)
            elif isinstance(outer, Mapping) and outer.get(path[1]) is not None:
                made[path[0]] = {**outer, path[1]: _filled(reader, outer[path[1]], names, item)}
        return made
