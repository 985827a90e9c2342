# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads many paths of one server at once, with one login; decides nothing."""

from __future__ import annotations

import concurrent.futures
import queue
import typing as t

from .openbao import OpenBao

#: Connections used at once: enough to hide the network, few enough not to be noticed.
WORKERS: t.Final = 8
#: So many reads are as quick on the connection that is open already.
FEW: t.Final = 4

Result = t.TypeVar("Result")


def fetch(client: OpenBao, work: t.Callable[[OpenBao, str], Result], items: t.Sequence[str]) -> dict[str, Result]:
    """Return item -> ``work(client, item)``, several at the same time where there are many; the first error ends it.

    *work* gets a connection of its own and must only read. Requests are counted on *client*.
    """
    if len(items) <= FEW:
        return {item: work(client, item) for item in items}
    clones = [client.clone() for _other in range(min(WORKERS, len(items)))]
    free: queue.SimpleQueue[OpenBao] = queue.SimpleQueue()
    for clone in clones:
        free.put(clone)

    def one(item: str) -> Result:
        mine = free.get()
        try:
            return work(mine, item)
        finally:
            free.put(mine)

    pool = concurrent.futures.ThreadPoolExecutor(len(clones))
    try:
        return dict(zip(items, pool.map(one, items), strict=True))
    finally:
        pool.shutdown(cancel_futures=True)
        for clone in clones:
            client.requests += clone.requests
            clone.close()


def own_login(client: OpenBao) -> dict[str, t.Any]:
    """Return what the server says about the token in use (``policies``, ``path``, ``meta``), ``{}`` if it won't."""
    answer = client.request("GET", "auth/token/lookup-self", ok=(200, 403))
    data = answer.body.get("data") if answer.status == 200 else None
    return data if isinstance(data, dict) else {}
