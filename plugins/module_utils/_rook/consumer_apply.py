# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Brings all consumers' clusters to what is wanted: Ceph keys to OpenBao first, then each cluster by itself."""

from __future__ import annotations

import dataclasses
import time
import typing as t
from collections.abc import Collection, Iterable, Mapping, Sequence

from .._core.errors import HackspaceError
from .._core.plan import Change, Plan
from .._core.redact import Secret
from .._kube import engine
from .._kube.ports import ServerError, listed
from . import delivery, names
from .consumer_plan import Prepared, Recreate, Restart, Rewrite, Settings
from .model import Consumer
from .ports import Cluster, Store
from .removal import Removal
from .schema import DIRECT

#: Seconds between two looks at Secrets that are being delivered, at first and at most.
_PAUSE: t.Final = (0.2, 2.0)


# -- OpenBao -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Put:
    """Write an OpenBao secret, if it is still of the version that was read."""

    path: str
    values: Mapping[str, str] = dataclasses.field(repr=False)
    version: int


def plan_store(store: Store, consumers: Iterable[Consumer], settings: Settings, *, mount: str) -> Plan:
    """Return what is to be written to OpenBao; user and key go into one version of one secret."""
    made = Plan()
    for one in consumers:
        for role in one.roles:
            path = delivery.kv_path(one, role, settings.kv_prefix)
            answer = store.data(f"{mount}/data/{path}") or {}
            values = delivery.kv_values(one, role, settings.keys)
            before = answer.get("data") or {}
            if before == values:
                made.unchanged += 1
                continue
            version = int((answer.get("metadata") or {}).get("version") or 0)
            made.add(
                Change(
                    kind="OpenBao secret",
                    name=f"{mount}/{path}",
                    action="update" if before else "create",
                    before=dict(before) or None,
                    after=values,
                    why=_why(before, values),
                    public=frozenset({"user"}),
                    payload=_Put(f"{mount}/data/{path}", values, version),
                )
            )
    return made


def _why(before: Mapping[str, t.Any], values: Mapping[str, str]) -> str:
    if not before:
        return ""
    if before.get("user") != values["user"]:
        return f"user {before.get('user')} -> {values['user']}"
    return "another key" if set(before) == set(values) else "other fields"


def write_store(store: Store, plan: Plan) -> None:
    """Write to OpenBao what was planned."""
    for change in plan.changes:
        step: _Put = change.payload
        store.write(step.path, {"options": {"cas": step.version}, "data": dict(step.values)}, quiet=True)


@dataclasses.dataclass(frozen=True)
class _Forget:
    """Delete an OpenBao secret with all its versions."""

    path: str
    consumer: str


def plan_forgetting(store: Store, consumers: Iterable[Consumer], *, prefix: str, mount: str) -> Plan:
    """Return what OpenBao holds of consumers that go."""
    made = Plan()
    for one in consumers:
        for role in one.roles:
            path = delivery.kv_path(one, role, prefix)
            if store.data(f"{mount}/metadata/{path}") is not None:
                made.add(
                    Change(
                        kind="OpenBao secret",
                        name=f"{mount}/{path}",
                        action="delete",
                        before={"name": path},
                        public=frozenset({"name"}),
                        payload=_Forget(f"{mount}/metadata/{path}", one.name),
                    )
                )
    return made


def forget(store: Store, plan: Plan, gone: Collection[str]) -> None:
    """Delete from OpenBao what was planned, of those who are gone from their clusters."""
    for change in plan.changes:
        step: _Forget = change.payload
        if step.consumer in gone:
            store.delete(step.path)


# -- a cluster -----------------------------------------------------------------------------------------------------


def execute(api: Cluster, made: Prepared, *, timeout: float) -> None:
    """Carry a consumer's plan out. Whenever it is cut off, the next plan goes on from what is there.

    :raises HackspaceError: naming the consumer.
    """
    try:
        for change in made.first:
            step: Recreate = change.payload
            api.delete(step.path, uid=step.uid)
            _await_gone(api, step.path, timeout)
        engine.execute(api, made.planned, timeout=timeout)
        for change in made.last:
            if isinstance(change.payload, Rewrite):
                _rewrite(api, change.payload)
            elif isinstance(change.payload, Restart):
                _restart(api, change.payload)
    except HackspaceError as error:
        item = f"consumer {made.consumer.name} ({made.consumer.cluster})"
        error.item = f"{item}: {error.item}" if error.item else item
        raise


def _await_gone(api: Cluster, path: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while api.get(path) is not None:
        if time.monotonic() >= deadline:
            raise HackspaceError(
                "it is deleted, and still there.",
                item=path.rpartition("/")[2],
                rule="wait-timeout",
                fix="look at its finalizers, then run again.",
            )
        time.sleep(_PAUSE[0])


def _rewrite(api: Cluster, step: Rewrite) -> None:
    if step.body is not None:
        api.create(step.path, step.body)
        return
    try:
        api.merge(step.path, {"metadata": {"resourceVersion": step.version}, "data": {"data": step.text}})
    except ServerError as error:
        if error.status != 409:
            raise
        raise HackspaceError(
            "Rook's operator has just written it.",
            item=step.path.rpartition("/")[2],
            rule="monitors-busy",
            fix="run again: what the operator wrote is looked at first.",
            status=409,
        ) from None


def _restart(api: Cluster, step: Restart) -> None:
    api.merge(step.path, {"spec": {"template": {"metadata": {"annotations": {step.annotation: step.stamp}}}}})


# -- delivered? ----------------------------------------------------------------------------------------------------


def delivered(
    api: Cluster, consumer: Consumer, settings: Settings, *, timeout: float
) -> tuple[dict[str, str], list[str]]:
    """Return the user that each Kubernetes Secret has, and the roles that wait for theirs.

    :param timeout: seconds for External Secrets; what was applied directly is there.
    """
    if consumer.delivery == DIRECT:
        return {role: consumer.entity(role) for role in consumer.roles}, []
    deadline = time.monotonic() + timeout
    pause = _PAUSE[0]
    selector = f"{delivery.label(settings.domain)}={consumer.name}"
    while True:
        found = {
            str(one["metadata"]["name"]): one
            for one in listed(api, f"/api/v1/namespaces/{consumer.namespace}/secrets", selector=selector)
        }
        users, late = _compare(consumer, found, settings.keys)
        if not late or time.monotonic() >= deadline:
            return users, late
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(_PAUSE[1], pause * 1.5)


def _compare(
    consumer: Consumer, found: Mapping[str, Mapping[str, t.Any]], keys: Mapping[str, Secret]
) -> tuple[dict[str, str], list[str]]:
    by_role = {role: found.get(names.SECRETS[role]) for role in consumer.roles}
    users = {role: user for role, one in by_role.items() if (user := delivery.user_in(one))}
    return users, [role for role, one in by_role.items() if not delivery.delivered(consumer, role, one, keys)]


# -- report --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Outcome:
    """What became of one consumer."""

    consumer: Consumer
    prepared: Prepared | None = None
    users: Mapping[str, str] = dataclasses.field(default_factory=dict)
    late: Sequence[str] = ()
    problem: HackspaceError | None = None
    removal: Removal | None = None
    removed: bool = False

    @property
    def plan(self) -> Plan:
        """Return what was planned in the cluster."""
        if self.removal is not None:
            return self.removal.plan
        return self.prepared.plan if self.prepared is not None else Plan()

    def as_dict(self, stored: int = 0) -> dict[str, t.Any]:
        """Return it for a report.

        :param stored: changes in OpenBao.
        """
        made = self.prepared
        return {
            "name": self.consumer.name,
            "cluster": self.consumer.cluster,
            "changed": bool(stored or self.plan.changed),
            "users": dict(self.users),
            "waiting": list(self.late),
            "delivered": not self.problem and not self.late and bool(self.users),
            "monitors": made.drift.as_dict() if made else {},
            "storage_classes": [one.as_dict() for one in made.differences] if made else [],
            "stale": list(made.planned.stale) if made else [],
            "removed": self.removed or (self.removal is not None and not self.removal.plan.changed),
            "kept": list(self.removal.kept) if self.removal else [],
            "failed": self.problem is not None,
            "problem": str(self.problem) if self.problem else "",
        }


def complain(outcomes: Sequence[Outcome], result: Mapping[str, t.Any]) -> None:
    """Fail, when everything else is done, if something went wrong with a consumer."""
    wrong = [one for one in outcomes if one.problem]
    if not wrong:
        return
    problems = [one.problem for one in wrong if one.problem]
    raise HackspaceError(
        " || ".join(str(one) for one in problems),
        item=wrong[0].consumer.item if len(wrong) == 1 else f"{len(wrong)} consumers",
        rule=problems[0].rule if len({one.rule for one in problems}) == 1 else "several",
        fix="correct these; all others are done.",
        data=result,
    )
