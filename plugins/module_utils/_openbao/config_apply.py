# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What applies a configuration plan: the requests that a Change carries, sent in order."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from .._core.errors import HackspaceError
from .._core.plan import Plan
from .ports import Api

#: Seconds to wait for a key/value engine that was just made or upgraded, and between two tries.
UPGRADE_WAIT: t.Final = 60.0
UPGRADE_PAUSE: t.Final = 0.25


@dataclasses.dataclass(frozen=True)
class Ref:
    """Stands for something that an earlier answer of the same plan says, such as the id of a group made by it."""

    name: str


@dataclasses.dataclass(frozen=True)
class Cause:
    """What a server's words mean, in ours."""

    rule: str
    message: str
    fix: str


@dataclasses.dataclass(frozen=True)
class Send:
    """One request.

    :ivar quiet: it carries a secret: keep the server's words out of errors.
    :ivar upgrading: wait while the engine says that it is upgrading.
    :ivar learn: remember a field of the answer under this name, for :class:`Ref`.
    :ivar learn_field: which field that is.
    :ivar explain: turns the server's words about a refusal into ours, where they could quote a secret.
    """

    method: str
    path: str
    body: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict, repr=False)
    quiet: bool = False
    upgrading: bool = False
    learn: str = ""
    learn_field: str = "id"
    explain: t.Callable[[str], Cause] | None = None


def apply_plan(api: Api, plan: Plan, ids: t.Mapping[str, str] | None = None) -> None:
    """Send the requests of all changes in order. The first error ends it; a later run finishes the work.

    :param ids: ids of groups that exist, by name.
    """
    known = dict(ids or {})
    for change in plan.changes:
        for step in t.cast("tuple[Send, ...]", change.payload or ()):
            try:
                answer = _send(api, step, known)
            except HackspaceError as error:
                error.data.setdefault("applied", plan.report()[: plan.changes.index(change)])
                error.item = f"{change.kind} {change.name}"
                raise
            if step.learn:
                made = (answer.get("data") or {}).get(step.learn_field)
                if made:
                    known[step.learn] = str(made)


def _send(api: Api, step: Send, known: t.Mapping[str, str]) -> dict[str, t.Any]:
    body = {key: _resolve(value, known) for key, value in step.body.items()}
    path = step.path
    if step.method == "DELETE":
        return api.request("DELETE", path, ok=(200, 204, 404)).body
    if step.method == "GET":
        return api.request("GET", path).body
    if step.explain:
        return _explained(api, step, body, step.explain)
    if not step.upgrading:
        return api.request(step.method, path, body, quiet=step.quiet).body
    return wait_upgrade(lambda ok: api.request(step.method, path, body, ok=ok), path)


def _explained(
    api: Api, step: Send, body: t.Mapping[str, t.Any], explain: t.Callable[[str], Cause]
) -> dict[str, t.Any]:
    answer = api.request(step.method, step.path, body, ok=(200, 204, 400, 404, 500), quiet=step.quiet)
    if answer.status < 300:
        return answer.body
    cause = explain("; ".join(str(e) for e in answer.body.get("errors") or []))
    raise HackspaceError(f"HTTP {answer.status}: {cause.message}", rule=cause.rule, fix=cause.fix, status=answer.status)


class _Answer(t.Protocol):
    @property
    def status(self) -> int: ...

    @property
    def body(self) -> dict[str, t.Any]: ...


def wait_upgrade(ask: t.Callable[[t.Collection[int]], _Answer], what: str) -> dict[str, t.Any]:
    """Return the answer of ``ask(ok)``, asking again as long as a key/value engine says that it is upgrading."""
    end = time.monotonic() + UPGRADE_WAIT
    while True:
        answer = ask((200, 204, 400))
        said = "; ".join(str(e) for e in answer.body.get("errors") or [])
        if answer.status != 400:
            return answer.body
        if "pgrading" not in said:
            raise HackspaceError(f"{what}: HTTP 400: {said or 'no reason given'}.", rule="http-status", status=400)
        if time.monotonic() > end:
            raise HackspaceError(
                f"{what}: the engine is still upgrading after {UPGRADE_WAIT:g} s.",
                rule="engine-upgrading",
                fix="look at the server's log; run again when it is done.",
                status=400,
            )
        time.sleep(UPGRADE_PAUSE)


def _resolve(value: t.Any, known: t.Mapping[str, str]) -> t.Any:
    if isinstance(value, Ref):
        if value.name not in known:
            raise HackspaceError(
                f"the server did not say what {value.name} is.", rule="answer-missing", fix="run again."
            )
        return known[value.name]
    if isinstance(value, (list, tuple)):
        return [_resolve(v, known) for v in value]
    return value
