# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What a node says about its seal, and what that means."""

from __future__ import annotations

import dataclasses
import typing as t

from .._core.errors import HackspaceError, InvalidInput
from .._core.redact import fingerprint

State = t.Literal["unsealed", "sealed", "not_initialised", "joining", "unreachable", "auto_unseal", "migration_pending"]

#: sys/health by status: 473 is a performance standby.
ROLES: t.Final[dict[int, str]] = {200: "active", 429: "standby", 472: "standby", 473: "standby"}


@dataclasses.dataclass(frozen=True)
class Node:
    """One OpenBao server by its own address."""

    name: str
    url: str
    tls_server_name: str | None = None

    def address(self) -> dict[str, t.Any]:
        return {"name": self.name, "url": self.url, "tls_server_name": self.tls_server_name}


def parse_nodes(raw: t.Sequence[t.Mapping[str, t.Any]], *, item: str = "nodes") -> list[Node]:
    """Return the nodes; every one by an address of its own.

    :raises InvalidInput: rules ``no-nodes``, ``unique-name``, ``unique-url``.
    """
    if not raw:
        raise InvalidInput(
            "no OpenBao node is given.", item=item, rule="no-nodes", fix="list every server by its own address."
        )
    nodes: list[Node] = []
    for index, entry in enumerate(raw):
        node = Node(str(entry["name"]), str(entry["url"]).rstrip("/"), entry.get("tls_server_name") or None)
        for other in nodes:
            if other.name == node.name:
                raise InvalidInput(
                    f"two nodes are called {node.name}.",
                    item=f"{item}[{index}].name",
                    rule="unique-name",
                    fix="give each node its own name.",
                )
            if other.url.lower() == node.url.lower():
                raise InvalidInput(
                    f"{other.name} and {node.name} have the same address {node.url}.",
                    item=f"{item}[{index}].url",
                    rule="unique-url",
                    fix="address each server itself, not through a load balancer: shares would be scattered.",
                )
        nodes.append(node)
    return nodes


@dataclasses.dataclass(frozen=True)
class Problem:
    """Why a node gave no usable answer. ``hop`` is dns, refused, timeout, tls-name, tls-ca, tls, cut or http."""

    hop: str
    message: str
    fix: str = ""

    @classmethod
    def of(cls, error: HackspaceError) -> Problem:
        hop = "http" if error.rule == "http-status" else error.rule or "http"
        return cls(hop, error.message, error.fix)


@dataclasses.dataclass(frozen=True)
class NodeState:
    """One node at one moment. ``threshold`` and ``total`` are the server's t and n."""

    node: Node
    state: State
    role: str = ""
    threshold: int = 0
    total: int = 0
    progress: int = 0
    nonce: str = ""
    version: str = ""
    seal_type: str = ""
    storage: str = ""
    cluster_name: str = ""
    cluster_id: str = ""
    auto_unseal: bool = False
    problem: Problem | None = None

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def takes_shares(self) -> bool:
        """Shares do something here. A node that has not joined yet (t is 0) drops them."""
        return self.state == "sealed"

    @property
    def needed(self) -> int:
        """Distinct shares still to be sent."""
        return max(self.threshold - self.progress, 0) if self.takes_shares else 0

    def report(self) -> dict[str, t.Any]:
        """Return the public description."""
        return {
            **self.node.address(),
            "state": self.state,
            "role": self.role,
            "t": self.threshold,
            "n": self.total,
            "progress": self.progress,
            "shares_needed": self.needed,
            "version": self.version,
            "seal_type": self.seal_type,
            "storage": self.storage,
            "cluster_name": self.cluster_name,
            "cluster_fingerprint": fingerprint(self.cluster_id) if self.cluster_id else "",
            "auto_unseal": self.auto_unseal,
            "migration_pending": self.state == "migration_pending",
            "problem": dataclasses.asdict(self.problem) if self.problem else None,
        }

    def short(self) -> str:
        """Return the state in a few words."""
        if self.state == "sealed":
            return f"sealed, {self.progress} of {self.threshold}"
        return f"unreachable, {self.problem.hop}" if self.problem else self.state.replace("_", " ")

    def line(self) -> str:
        """Return one line for a person."""
        words = {
            "unsealed": f"unsealed{f', {self.role}' if self.role else ''}",
            "sealed": f"sealed, {self.progress} of {self.threshold} unseal shares counted",
            "not_initialised": "not initialised",
            "joining": "not joined yet, takes unseal shares once a leader lets it in",
            "auto_unseal": f"sealed, waits for its seal backend ({self.seal_type}); unseal shares do not help",
            "migration_pending": "sealed, a seal migration is pending",
            "unreachable": f"unreachable ({self.problem.hop}): {self.problem.message}" if self.problem else "",
        }
        return f"{self.name}: {words[self.state]}"


def classify(
    node: Node,
    status: t.Mapping[str, t.Any] | None,
    health: int | None = None,
    problem: Problem | None = None,
) -> NodeState:
    """Return the state of one node by itself.

    :param status: the body of ``sys/seal-status`` (or of the answer to an unseal request).
    :param health: the HTTP status of ``sys/health``, if it was asked.
    :param problem: why there is no *status*.
    """
    if status is None or "sealed" not in status:
        return NodeState(node, "unreachable", problem=problem or Problem("http", "the answer is no seal status."))
    auto = bool(status.get("recovery_seal")) or str(status.get("type") or "shamir") != "shamir"
    threshold = int(status.get("t") or 0)
    state: State
    if not status["sealed"]:
        state = "unsealed"
    elif status.get("migration"):
        state = "migration_pending"
    elif not status.get("initialized", True) or threshold == 0:
        state = "not_initialised"
    elif auto:
        state = "auto_unseal"
    else:
        state = "sealed"
    return NodeState(
        node,
        state,
        role=ROLES.get(health or 0, "") if state == "unsealed" else "",
        threshold=threshold,
        total=int(status.get("n") or 0),
        progress=int(status.get("progress") or 0),
        nonce=str(status.get("nonce") or ""),
        version=str(status.get("version") or ""),
        seal_type=_seal_type(status),
        storage=str(status.get("storage_type") or ""),
        cluster_name=str(status.get("cluster_name") or ""),
        cluster_id=str(status.get("cluster_id") or ""),
        auto_unseal=auto,
    )


def _seal_type(status: t.Mapping[str, t.Any]) -> str:
    """Return the seal's type. Servers of the 1.x line tell that of the recovery shares in place of an auto-unseal."""
    kind = str(status.get("type") or "")
    return "auto" if kind == "shamir" and status.get("recovery_seal") else kind


def classify_all(states: t.Iterable[NodeState]) -> list[NodeState]:
    """Return *states* seen together: a blank node of an initialised cluster is joining, not uninitialised."""
    seen = list(states)
    initialised = any(s.state in ("unsealed", "sealed", "auto_unseal", "migration_pending") for s in seen)
    return [
        dataclasses.replace(s, state="joining") if initialised and s.state == "not_initialised" else s for s in seen
    ]


@dataclasses.dataclass(frozen=True)
class Overview:
    """All nodes at one moment."""

    states: tuple[NodeState, ...]

    @classmethod
    def of(cls, states: t.Iterable[NodeState]) -> Overview:
        return cls(tuple(classify_all(states)))

    def named(self, *states: State) -> list[str]:
        """Return the names of the nodes in one of *states*."""
        return [s.name for s in self.states if s.state in states]

    @property
    def active(self) -> NodeState | None:
        return next((s for s in self.states if s.role == "active"), None)

    @property
    def storage(self) -> str:
        return next((s.storage for s in self.states if s.storage), "")

    @property
    def sealed(self) -> list[str]:
        """Names of the nodes that answer and do not serve because of their seal."""
        return self.named("sealed", "joining", "auto_unseal", "migration_pending")

    @property
    def shares_needed(self) -> int:
        """Distinct shares that unseal every node that takes shares now."""
        return max((s.needed for s in self.states), default=0)

    @property
    def quorum(self) -> int:
        """Nodes that must be unsealed before one can lead. Blank ones that have not joined have no vote."""
        members = len(self.states) - len(self.named("joining"))
        return members // 2 + 1 if self.storage == "raft" else 1

    @property
    def leader_possible(self) -> bool:
        return self.active is not None or len(self.named("unsealed")) >= self.quorum

    def blockers(self) -> str:
        """Say why nobody can lead, or return the empty string when enough nodes are unsealed."""
        if self.leader_possible:
            return ""
        waiting = ", ".join(f"{s.name} ({s.short()})" for s in self.states if s.state != "unsealed")
        return (
            f"{self.quorum} of {len(self.states)} nodes must be unsealed before one can lead, "
            f"{len(self.named('unsealed'))} are; waiting for {waiting}"
        )

    def summary(self) -> list[str]:
        """Return lines for a person."""
        lines = [s.line() for s in self.states]
        if self.active:
            lines.append(f"active node: {self.active.name} at {self.active.node.url}")
        else:
            lines.append(f"no active node: {self.blockers() or 'an election is under way'}")
        if self.shares_needed:
            lines.append(f"{self.shares_needed} more unseal share(s) are needed")
        return lines

    def result(self) -> dict[str, t.Any]:
        """Return what openbao_seal_info returns."""
        return {
            "nodes": [s.report() for s in self.states],
            "active": self.active.node.address() if self.active else None,
            "sealed": self.sealed,
            "unsealed": self.named("unsealed"),
            "not_answering": self.named("unreachable"),
            "not_initialised": self.named("not_initialised"),
            "shares_needed": self.shares_needed,
            "storage": self.storage,
            "summary": self.summary(),
        }
