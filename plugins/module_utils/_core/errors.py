# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Errors that carry data and become one ``fail_json`` in one place (``_core.module``)."""

from __future__ import annotations

import typing as t


class HackspaceError(Exception):
    """An error a person can act on.

    :param message: what is wrong, one sentence, never a secret value.
    :param item: the thing that is wrong, as the user wrote it (``platform_clusters[2].name``, ``node openbao-1``).
    :param rule: the short stable name of the broken rule (``unique-name``, ``threshold-above-shares``).
    :param fix: what to do about it, one sentence.
    :param status: the HTTP status, where a server answered.
    :param data: further public data for ``fail_json`` (lists and dicts of plain values).
    """

    def __init__(
        self,
        message: str,
        *,
        item: str = "",
        rule: str = "",
        fix: str = "",
        status: int | None = None,
        data: t.Mapping[str, t.Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.item = item
        self.rule = rule
        self.fix = fix
        self.status = status
        self.data: dict[str, t.Any] = dict(data or {})

    def __str__(self) -> str:
        text = f"{self.item}: {self.message}" if self.item else self.message
        if self.rule:
            text = f"{text} [{self.rule}]"
        if self.fix:
            text = f"{text} Fix: {self.fix}"
        return text

    def as_fail(self) -> dict[str, t.Any]:
        """Return the arguments of ``fail_json``: ``msg``, ``error`` (item, rule, fix, status) and the data."""
        result: dict[str, t.Any] = dict(self.data)
        result["msg"] = str(self)
        result["error"] = {
            "item": self.item,
            "rule": self.rule,
            "fix": self.fix,
            "status": self.status,
        }
        return result


class InvalidInput(HackspaceError):
    """The declaration is wrong; raised before anything is written."""


class Refused(HackspaceError):
    """The declaration is well formed, but doing it needs an explicit option (adopt, prune, force...)."""


class Unreachable(HackspaceError):
    """No answer from a server: name, TCP, TLS or timeout. ``rule`` says which."""


def check(condition: object, message: str, *, item: str, rule: str, fix: str = "") -> None:
    """Raise :class:`InvalidInput` unless *condition* is true."""
    if not condition:
        raise InvalidInput(message, item=item, rule=rule, fix=fix)
