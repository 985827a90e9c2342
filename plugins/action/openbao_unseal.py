# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads unseal shares on the controller and passes them to the module openbao_unseal in memory."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ..module_utils._core.errors import HackspaceError, InvalidInput
from ..module_utils._openbao import shares
from ..plugin_utils._secret_files import SecretFilesAction, SecretReader

SOURCES: t.Final = ("share", "file", "age_file", "pgp_file", "command")
ATTEMPTS: t.Final = 3


class ActionModule(SecretFilesAction):
    """Asks for and decrypts nothing that is not needed: looks at the seals first."""

    def work(self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        holders = args.get("holders") or []
        unread = not holders or any(isinstance(h, Mapping) and h.get("share") is None for h in holders)
        if self._task.check_mode:
            for entry in (h for h in holders if isinstance(h, Mapping)):
                for key in ("file", "age_file", "age_identity_file", "pgp_file"):
                    if entry.get(key):
                        reader.path(str(entry[key]), item=f"unseal share of {entry.get('name')}")
            return self.module(args, task_vars)
        if not unread or args.get("reset_only"):
            return self.module(args, task_vars)
        look = self.module({**args, "allow_partial": True}, task_vars, check=True)
        if look.get("failed"):
            return look
        if look.get("active") and not look.get("sealed"):
            return {**look, "changed": False}
        if not look.get("shares_needed") and "joining" not in {n.get("state") for n in look.get("nodes") or []}:
            return self.module({**args, "holders": []}, task_vars)  # nothing to send, but perhaps to wait for
        return self.module(self.fill(reader, args), task_vars)

    def fill(self, reader: SecretReader, args: dict[str, t.Any]) -> dict[str, t.Any]:
        entries = [dict(h) for h in args.get("holders") or []]
        if not entries:
            known = [str(name) for name in args.get("known_holders") or []]
            who = reader.prompt(f"Whose unseal share ({', '.join(known) or 'name'})?", item="holders", private=False)
            if not who:
                raise InvalidInput("no name given.", item="holders", rule="no-holder", fix="type the holder's name.")
            if known and who not in known:
                raise InvalidInput(
                    f"{who} is no known holder.", item="holders", rule="known-holder", fix=f"one of {', '.join(known)}."
                )
            entries = [{"name": who}]
        return {**args, "holders": [self._filled(reader, index, entry) for index, entry in enumerate(entries)]}

    @staticmethod
    def _filled(reader: SecretReader, index: int, entry: dict[str, t.Any]) -> dict[str, t.Any]:
        name = str(entry.get("name") or "")
        item = f"unseal share of {name}" if name else f"holders[{index}]"
        given = [key for key in SOURCES if entry.get(key) is not None]
        if not name or len(given) > 1:
            return entry  # the module says what is wrong with it
        if not given:
            text = _ask(reader, name, item)
        elif given == ["file"]:
            text = reader.file(str(entry["file"]), item=item)
        elif given == ["age_file"] and entry.get("age_identity_file"):
            text = reader.age(str(entry["age_file"]), str(entry["age_identity_file"]), item=item)
        elif given == ["pgp_file"]:
            text = reader.pgp(str(entry["pgp_file"]), item=item)
        elif given == ["command"] and isinstance(entry["command"], (list, tuple)):
            text = reader.command(entry["command"], item=item)
        else:
            return entry
        return {"name": name, "share": text}


def _ask(reader: SecretReader, name: str, item: str) -> str:
    """Ask for a share without echo, again if what was typed cannot be one."""
    question = f"Unseal share of {name} (is not shown):"
    for left in reversed(range(ATTEMPTS)):
        text = reader.prompt(question, item=item)
        try:
            shares.decode(text, item=item)
        except HackspaceError as error:
            if not left:
                raise
            question = f"{error.message} Once more. Unseal share of {name} (is not shown):"
            continue
        return text
    raise AssertionError("unreachable")
