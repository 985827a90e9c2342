# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The servers that a module asks: a fixed list of nodes, or pods that come and go. Sees clients through protocols."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Mapping, Sequence

from .._core.errors import HackspaceError
from .pod_plan import Owner, Pod, Roster, Selector, owners_of, parse_selector, roster
from .seal_model import Node, Problem, parse_nodes

#: Failures that are the same for every pod, so that they are no state of one of them.
_FATAL: t.Final = frozenset({"port-forward-forbidden", "login"})
#: Failures of the API server that may pass. What is known of the pods stays as it is meanwhile.
_PASSING: t.Final = frozenset({"no-pods", "timeout", "cut", "refused", "http-status"})


class Server(t.Protocol):
    """A connection to one server."""

    @property
    def requests(self) -> int:
        """HTTP requests sent so far."""

    def drop(self) -> None:
        """Let go of the connection; the next request opens another one."""

    def close(self) -> None:
        """Close it."""


S = t.TypeVar("S", bound=Server)
S_co = t.TypeVar("S_co", bound=Server, covariant=True)


class Cluster(t.Protocol[S_co]):
    """A connection to the API server of the pods."""

    def pods(self, label_selector: str) -> list[Mapping[str, t.Any]]:
        """Return the pods with these labels."""

    def statefulset(self, name: str) -> Mapping[str, t.Any] | None:
        """Return a StatefulSet, ``None`` if it does not exist."""

    def server(self, name: str, url: str, tls_server_name: str | None) -> S_co:
        """Return a connection to one pod."""

    def close(self) -> None:
        """Close it."""


class Targets(t.Generic[S]):
    """All servers by name, in their order.

    :ivar clients: for each one that there was ever something to connect to.
    :ivar problems: why there is nothing to connect to.
    :ivar roster: what the API server said last, for pods.
    """

    def __init__(
        self,
        nodes: Sequence[Node] = (),
        clients: Mapping[str, S] | None = None,
        *,
        selector: Selector | None = None,
        cluster: Cluster[S] | None = None,
    ) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.clients: dict[str, S] = dict(clients or {})
        self.problems: dict[str, Problem] = {}
        self.roster: Roster | None = None
        self._selector = selector
        self._cluster = cluster
        self._lives: dict[str, tuple[str, int]] = {}

    @classmethod
    def of(
        cls,
        params: Mapping[str, t.Any],
        cluster: Callable[[Mapping[str, t.Any]], Cluster[S]],
        clients: Callable[[Mapping[str, t.Any]], Mapping[str, S]],
    ) -> Targets[S]:
        """Return the servers that the module options ``pods`` or ``nodes`` describe, checked; nothing is sent yet.

        :param cluster: connects to the API server of ``pods``.
        :param clients: connects to each of ``nodes``, by name.
        """
        if params.get("pods"):
            return cls(selector=parse_selector(params["pods"]), cluster=cluster(params))
        nodes = parse_nodes(params["nodes"])
        return cls(nodes, clients(params))

    def refresh(self) -> set[str]:
        """Look for pods again; return the names of those behind which is another process. Nothing to do for nodes.

        :raises HackspaceError: rules ``no-pods``, ``statefulset-missing``, ``pods-forbidden``, hops to the API server.
            After the first time, an API server that does not answer changes nothing.
        """
        if self._cluster is None or self._selector is None:
            return set()
        try:
            self.roster = self._look(self._cluster, self._selector)
        except HackspaceError as error:
            if self.roster is None or error.rule not in _PASSING:
                raise
            return set()
        self.problems = self.roster.problems()
        self.nodes = {node.name: node for node in self.roster.nodes()}
        new: set[str] = set()
        for pod in self.roster.pods:
            node = self.nodes[pod.name]
            if pod.name not in self.clients:
                self.clients[pod.name] = self._cluster.server(node.name, node.url, node.tls_server_name)
            if self._lives.get(pod.name, pod.incarnation) != pod.incarnation:
                new.add(pod.name)
                self.clients[pod.name].drop()
            self._lives[pod.name] = pod.incarnation
        return new

    @staticmethod
    def _look(cluster: Cluster[S], selector: Selector) -> Roster:
        pods = [Pod.of(raw) for raw in cluster.pods(selector.label_selector)]
        owners: dict[str, Owner | None] = {}
        if selector.expected is None:
            for name in owners_of(pods):
                raw = cluster.statefulset(name)
                owners[name] = Owner.of(raw) if raw else None
        return roster(selector, pods, owners)

    def requests(self) -> dict[str, int]:
        """Return the HTTP requests sent to each server."""
        return {name: self.clients[name].requests if name in self.clients else 0 for name in self.nodes}

    def close(self) -> None:
        """Close all connections."""
        for client in self.clients.values():
            client.close()
        if self._cluster is not None:
            self._cluster.close()


def check_fatal(error: HackspaceError | None) -> None:
    """Raise *error* if it is no matter of one pod."""
    if error is not None and error.rule in _FATAL and error.item == "pods.kubeconfig":
        raise error
