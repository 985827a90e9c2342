# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads unseal shares on the controller and passes them to the module openbao_unseal in memory."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ..module_utils._core.errors import HackspaceError, InvalidInput
from ..module_utils._openbao import shares
from ..module_utils._openbao.share_options import SOURCES
from ..plugin_utils._pod_kubeconfig import with_pods
from ..plugin_utils._secret_files import SecretFilesAction, SecretReader

ATTEMPTS: t.Final = 3


class ActionModule(SecretFilesAction):
    """Asks for and decrypts nothing that is not needed: looks at the seals first."""

    def work(self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        args = self._namespace_login(reader, with_pods(reader, args))
        holders = args.get("holders") or []
        inner = [h for entry in _namespaces(args) for h in _dicts(entry.get("holders"))]
        unread = not holders or any(h.get("share") is None for h in [*_dicts(holders), *inner])
        if self._task.check_mode:
            for entry in [*_dicts(holders), *inner]:
                for key in ("file", "age_file", "age_identity_file", "pgp_file"):
                    if entry.get(key):
                        reader.path(str(entry[key]), item=f"unseal share of {entry.get('name')}")
            return self.module(args, task_vars)
        if not unread or args.get("reset_only"):
            return self.module(args, task_vars)
        look = self.module({**args, "allow_partial": True}, task_vars, check=True)
        if look.get("failed"):
            return look
        return self._go_on(reader, args, task_vars, look)

    def _go_on(
        self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any], look: Mapping[str, t.Any]
    ) -> dict[str, t.Any]:
        """Read what is needed after a look at the seals, and nothing else."""
        coming = _coming(look) or bool(args.get("watch"))
        below = any(one.get("state") in ("sealed", "unknown") for one in look.get("namespaces") or [])
        if look.get("active") and not look.get("sealed") and not coming:
            if not below:
                return {**look, "changed": False}
            return self.module(self._fill_namespaces(reader, {**args, "holders": []}), task_vars)
        joining = "joining" in {n.get("state") for n in look.get("nodes") or []}
        if not look.get("shares_needed") and not joining and not coming:
            # nothing to send, but perhaps to wait for
            return self.module(self._fill_namespaces(reader, {**args, "holders": []}), task_vars)
        return self.module(self.fill(reader, args), task_vars)

    @staticmethod
    def _namespace_login(reader: SecretReader, args: dict[str, t.Any]) -> dict[str, t.Any]:
        """Read the token for namespaces; it is needed to look at their seals."""
        path = args.get("namespace_token_file")
        if not path or args.get("namespace_token"):
            return args  # the module refuses both
        text = reader.file(str(path), item="namespace_token_file").strip()
        return {**{k: v for k, v in args.items() if k != "namespace_token_file"}, "namespace_token": text}

    def _fill_namespaces(self, reader: SecretReader, args: dict[str, t.Any]) -> dict[str, t.Any]:
        if not args.get("namespaces"):
            return args
        filled = []
        for entry in _namespaces(args):
            place = f"namespaces ({entry.get('path')})"
            holders = [
                self._filled(reader, index, dict(h), place) for index, h in enumerate(_dicts(entry.get("holders")))
            ]
            filled.append({**entry, "holders": holders})
        return {**args, "namespaces": filled}

    def fill(self, reader: SecretReader, args: dict[str, t.Any]) -> dict[str, t.Any]:
        args = self._fill_namespaces(reader, args)
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
    def _filled(reader: SecretReader, index: int, entry: dict[str, t.Any], place: str = "") -> dict[str, t.Any]:
        name = str(entry.get("name") or "")
        item = f"unseal share of {name}" if name else f"holders[{index}]"
        if place:
            item = f"{item}, {place}"
        given = [key for key in SOURCES if entry.get(key) is not None]
        if not name or len(given) > 1:
            return entry  # the module says what is wrong with it
        if not given:
            text = _ask(reader, f"{name} for {place}" if place else name, item)
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


def _dicts(raw: t.Any) -> list[Mapping[str, t.Any]]:
    """Return the entries that have the right form; the module says what is wrong with others."""
    return [one for one in raw if isinstance(one, Mapping)] if isinstance(raw, (list, tuple)) else []


def _namespaces(args: Mapping[str, t.Any]) -> list[Mapping[str, t.Any]]:
    return _dicts(args.get("namespaces"))


def _coming(look: Mapping[str, t.Any]) -> bool:
    """Pods are still to be made, or to start; they will be sealed."""
    pods = look.get("pods") or {}
    return bool(pods) and len(pods.get("running") or []) < int(pods.get("expected") or 0)


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
