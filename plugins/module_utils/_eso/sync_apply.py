# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads a cluster's ExternalSecrets by list requests, touches those chosen, and waits for them."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import time
import typing as t
from collections.abc import Callable, Iterable

from .._core.errors import HackspaceError, Unreachable
from .ports import Api
from .sync_plan import ANNOTATION, GROUP, VERSIONS, Item, Nudge, Selection, causes, choose, late, secret, store

#: Items per page of a list.
PAGE: t.Final = 500
#: Requests sent to one API server at a time.
WORKERS: t.Final = 4
#: Seconds that a store may take, at most: one login. The ExternalSecrets behind it get the rest of the time.
STORE_SECONDS: t.Final = 20.0
#: Seconds until what did not become Ready is touched again; doubled each time. One failure right after OpenBao's
#: unsealing, before a standby knows the active node, would otherwise cost External Secrets' whole pause.
AGAIN: t.Final = 5.0
#: Seconds between two looks, at first and at most.
PAUSE: t.Final = (0.3, 2.0)

_PLURALS: t.Final = {
    "ExternalSecret": "externalsecrets",
    "SecretStore": "secretstores",
    "ClusterSecretStore": "clustersecretstores",
}


@dataclasses.dataclass(frozen=True)
class Read:
    """What a cluster has, and what of it is to be touched. ``version`` is empty if it has no External Secrets."""

    version: str
    nudge: Nudge
    secrets: tuple[Item, ...] = ()


@dataclasses.dataclass(frozen=True)
class Late:
    """An ExternalSecret that is not Ready after the nudge, and what OpenBao answered, if that is known."""

    item: Item
    cause: str


def read(api: Api, cluster: str, wanted: Selection) -> Read:
    """Read a cluster: one list of its ExternalSecrets, and two of its stores if something has to be touched.

    :raises HackspaceError: when the cluster cannot be asked.
    """
    for version in VERSIONS:
        listed = _list(api, version, "ExternalSecret", wanted.labels)
        if listed is None:
            continue
        secrets = tuple(s for s in map(secret, listed) if s)
        first = choose(cluster, secrets, (), wanted)
        if not first.secrets:
            return Read(version, first, secrets)
        return Read(version, choose(cluster, secrets, _stores(api, version), wanted), secrets)
    return Read("", choose(cluster, (), (), wanted))


def touch(api: Api, found: Read, stamp: str, *, timeout: float, sent: list[Item]) -> list[Item]:
    """Touch stores and ExternalSecrets, each of those behind broken stores when its stores are Ready; return the
    stores that stayed broken.

    :param stamp: value of the annotation, another one each time.
    :param timeout: seconds for all of it, of which the stores get half at most; 0 does not wait.
    :param sent: gets what has been touched, and what may have been because no clear answer came.
    :raises HackspaceError: for the first one that is refused or not answered.
    """
    nudge = found.nudge
    kinds = sorted({item.kind for item in nudge.stores})
    _patch(api, found.version, nudge.stores, stamp, sent)
    waiting = list(nudge.behind_stores())
    _patch(api, found.version, [item for item in nudge.secrets if item not in waiting], stamp, sent)
    broken: list[Item] = []

    def look() -> list[Item]:
        """Touch what has waited for a store that is Ready by now; a broken store holds up nobody else."""
        left = late(nudge.stores, [s for kind in kinds for s in _stores(api, found.version, kind)])
        blocked = {item.key for item in left}
        free = [item for item in waiting if blocked.isdisjoint(item.stores)]
        waiting[:] = [item for item in waiting if item not in free]
        _patch(api, found.version, free, stamp, sent)
        return left

    if nudge.stores and timeout > 0:
        broken = _until(look, min(timeout / 2, STORE_SECONDS))
    _patch(api, found.version, waiting, stamp, sent)
    return broken


def settle(
    api: Api, found: Read, wanted: Selection, *, timeout: float, stamp: Callable[[], str], sent: list[Item]
) -> list[Late]:
    """Wait until what was touched is Ready, touching the rest again now and then; return what is not, with its cause.

    :param stamp: returns another value of the annotation each time.
    :param sent: gets what has been touched.
    """
    pause, due = AGAIN, time.monotonic() + AGAIN

    def look() -> list[Item]:
        nonlocal pause, due
        listed = _list(api, found.version, "ExternalSecret", wanted.labels) or []
        left = late(found.nudge.secrets, [s for s in map(secret, listed) if s])
        if left and time.monotonic() >= due:
            pause *= 2
            due = time.monotonic() + pause
            used = {reference for item in left for reference in item.stores}
            stores = [s for s in _stores(api, found.version) if not s.ready and s.key in used]
            _patch(api, found.version, [*stores, *left], stamp(), sent)
        return left

    left = _until(look, timeout)
    if not left:
        return []
    known = causes(_events(api))
    return [Late(item, known.get((item.namespace, item.name), "")) for item in left]


def _until(look: Callable[[], list[Item]], timeout: float) -> list[Item]:
    deadline = time.monotonic() + timeout
    pause, most = PAUSE
    while True:
        left = look()
        remaining = deadline - time.monotonic()
        if not left or remaining <= 0:
            return left
        time.sleep(min(pause, remaining))
        pause = min(pause * 1.5, most)


# -- requests ------------------------------------------------------------------------------------------------------


def _pages(api: Api, path: str, query: dict[str, str], *, missing: bool = False) -> list[dict[str, t.Any]] | None:
    """Return all items of a list; ``None`` if *missing* is allowed and the cluster does not serve the kind."""
    items: list[dict[str, t.Any]] = []
    query = {"limit": str(PAGE), **query}
    while True:
        ok = (200, 404) if missing else (200,)
        # Repeated once if it is cut, and not otherwise: a cluster that does not answer is to cost one timeout.
        try:
            status, body = api.request("GET", path, query=query, ok=ok, repeat=False)
        except Unreachable as error:
            if error.rule != "cut":
                raise
            status, body = api.request("GET", path, query=query, ok=ok, repeat=False)
        if status == 404:
            return None
        items += body.get("items") or []
        more = str((body.get("metadata") or {}).get("continue") or "")
        if not more:
            return items
        query = {**query, "continue": more}


def _list(api: Api, version: str, kind: str, labels: str = "") -> list[dict[str, t.Any]] | None:
    query = {"labelSelector": labels} if labels else {}
    return _pages(api, f"/apis/{GROUP}/{version}/{_PLURALS[kind]}", query, missing=True)


def _stores(api: Api, version: str, *kinds: str) -> list[Item]:
    listed = [raw for kind in kinds or ("SecretStore", "ClusterSecretStore") for raw in _list(api, version, kind) or []]
    return [s for s in map(store, listed) if s]


def _events(api: Api) -> list[dict[str, t.Any]]:
    query = {"fieldSelector": "involvedObject.kind=ExternalSecret,type=Warning"}
    return _pages(api, "/api/v1/events", query) or []


def _patch(api: Api, version: str, items: Iterable[Item], stamp: str, sent: list[Item]) -> None:
    body = {"metadata": {"annotations": {ANNOTATION: stamp}}}

    def one(item: Item) -> None:
        place = f"namespaces/{item.namespace}/" if item.namespace else ""
        try:
            api.request(
                "PATCH",
                f"/apis/{GROUP}/{version}/{place}{_PLURALS[item.kind]}/{item.name}",
                query={"fieldManager": "hackspace.infra"},
                body=body,
                content_type="application/merge-patch+json",
                ok=(200, 404),  # gone meanwhile
            )
        except HackspaceError as error:
            if error.rule in ("cut", "timeout") or (error.status or 0) >= 500:  # it may have been done all the same
                sent.append(item)
            raise
        sent.append(item)

    with concurrent.futures.ThreadPoolExecutor(max_workers=WORKERS) as threads:
        list(threads.map(one, items))
