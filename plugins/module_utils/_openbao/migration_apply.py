# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What the API has to do for one node of a seal migration: give up the lead, take the shares, catch up."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from .._core.errors import HackspaceError
from .._core.redact import Secret
from . import seal_plan
from .migration_model import Seal, Standing, Target, standing
from .migration_plan import Overview
from .ports import Api
from .seal_model import Node, NodeState, Problem
from .shares import Share

#: Seconds between two looks.
POLL: t.Final = 0.3


class Reading(t.Protocol):
    """What a node said of its seal."""

    @property
    def status(self) -> dict[str, t.Any] | None:
        """Body of ``sys/seal-status``."""

    @property
    def health(self) -> int | None:
        """HTTP status of ``sys/health``."""

    @property
    def error(self) -> HackspaceError | None:
        """Why there is no status."""


class Sent(t.Protocol):
    """What a node said to a share."""

    @property
    def http(self) -> int | None:
        """HTTP status, ``None`` without an answer."""

    @property
    def status(self) -> dict[str, t.Any] | None:
        """Body of the answer, where the status is 200."""


class Link(t.Protocol):
    """One node, asked and told without a token."""

    def read(self) -> Reading:
        """Ask for the seal and the role."""

    def send(self, key: Secret, *, migrate: bool = ...) -> Sent:
        """Send one share."""

    def reset(self) -> Sent:
        """Drop what was counted."""


class Site:
    """All nodes of a cluster.

    :param links: by name of the node.
    :param login: gives a connection to a node with the administrators' login.
    """

    def __init__(
        self,
        nodes: t.Sequence[Node],
        links: t.Mapping[str, Link],
        login: t.Callable[[str], Api],
        target: Target,
        *,
        wait_timeout: float,
    ) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.links = links
        self.target: Target = target
        self._login = login
        self._timeout = wait_timeout
        self._admins: dict[str, Api] = {}

    # -- reading -------------------------------------------------------------------------------------------------------

    def one(self, name: str) -> Standing:
        reading = self.links[name].read()
        problem = Problem.of(reading.error) if reading.error else None
        return standing(self.nodes[name], self.target, reading.status, reading.health, problem)

    def look(self) -> Overview:
        return Overview([self.one(name) for name in self.nodes], self.target)

    def until(self, good: t.Callable[[Overview], bool]) -> tuple[Overview, bool]:
        """Look until *good*, or the time is over."""
        deadline = time.monotonic() + self._timeout
        while True:
            view = self.look()
            if good(view):
                return view, True
            if time.monotonic() >= deadline:
                return view, False
            time.sleep(POLL)

    def admin(self, name: str) -> Api:
        """Return a connection to a node with the login, one for the whole run."""
        if name not in self._admins:
            self._admins[name] = self._login(name)
        return self._admins[name]

    def close(self) -> None:
        """Give the logins back."""
        for api in self._admins.values():
            api.close()
        self._admins.clear()

    # -- steps ---------------------------------------------------------------------------------------------------------

    def step_down(self, name: str) -> Overview:
        """Let another node lead, and wait until it does, with the new seal in storage if it is one that has it.

        :raises HackspaceError: ``step-down``.
        """
        self.admin(name).request("PUT", "sys/step-down")
        view, good = self.until(lambda v: v.active is not None and v.active.name != name and v.active.phase != "armed")
        if not good:
            raise HackspaceError(
                f"gave up the lead, and after {self._timeout:.0f} s no other node leads. {'; '.join(view.lines())}.",
                item=f"node {name}",
                rule="step-down",
                fix="see the servers' logs; run again.",
            )
        return view

    def came_back(self, name: str) -> Standing:
        """Wait until a restarted node answers with its new configuration.

        :raises HackspaceError: ``stanza-not-taken``, ``backend``, ``node-unhealthy``.
        """
        good = ("pending", "armed", "unseal", "done")
        view, reached = self.until(lambda v: v.by(name).phase in good)
        node = view.by(name)
        if reached:
            return node
        if node.phase == "old":
            raise HackspaceError(
                "answers with the seal of before: it was not restarted, or does not read its new configuration.",
                item=f"node {name}",
                rule="stanza-not-taken",
                fix="start the server with the folder of the seal file (-config=FOLDER); see that it was restarted.",
            )
        if node.phase == "backend":
            raise HackspaceError(
                "has its new seal and does not unseal: it cannot use its seal's backend.",
                item=f"node {name}",
                rule="backend",
                fix="see the server's log; check address, CA and token from that host.",
            )
        raise HackspaceError(
            f"did not come back within {self._timeout:.0f} s. {node.line()}.",
            item=f"node {name}",
            rule="node-unhealthy",
            fix="see the server's log; a server that cannot reach its seal's backend does not start.",
        )

    def feed(self, name: str, keys: t.Sequence[Share]) -> Feed:
        """Send what the node wants; what others sent before is dropped first, as it may be without migrate.

        :raises UnsealError: ``wrong-share``, ``nonce-changed``, ``no-answer``.
        """
        node = self.one(name)
        result = Feed(name)
        if not node.wants_shares:
            return result
        if node.progress:
            self.links[name].reset()
            node = self.one(name)
        track = seal_plan.Track(name)
        track.begin(_state(node))
        for share in keys[: node.threshold]:
            sent = self.links[name].send(share.key, migrate=node.phase == "pending")
            after = standing(self.nodes[name], self.target, sent.status) if sent.status else self.one(name)
            verdict = _verdict(node, sent.http, after)
            if verdict == "wrong":
                raise seal_plan.wrong_share(track, share.holder, _state(node))
            if verdict == "reset":
                raise seal_plan.interrupted(track, share.holder, _state(after))
            if verdict == "lost":
                why = f"HTTP {sent.http}" if sent.http else "no answer"
                raise seal_plan.UnsealError(
                    seal_plan.no_answer(share.holder, why, last=False) + ".",
                    item=f"node {name}",
                    rule="no-answer",
                    fix="see the server's log, then run again: it goes on where it stopped.",
                )
            track.round.append(share.holder)
            result.holders.append(share.holder)
            node = after
            if node.serves:
                break
        return result

    def caught_up(self, name: str) -> Overview:
        """Wait until the node is unsealed and follows (or leads), and raft says that all is well.

        :raises HackspaceError: ``not-caught-up``.
        """
        others = len(self.nodes) > 1

        def good(view: Overview) -> bool:
            node = view.by(name)
            if not node.serves or node.phase not in ("armed", "done"):
                return False
            if view.active is None:
                # Without a majority nobody can lead yet: the next node of this run brings it.
                return sum(n.serves for n in view.nodes) <= len(view.nodes) // 2
            return bool(node.role) and (not others or self.raft_healthy(view.active.name) is not False)

        view, reached = self.until(good)
        if not reached:
            raise HackspaceError(
                f"has not caught up after {self._timeout:.0f} s. {'; '.join(view.lines())}.",
                item=f"node {name}",
                rule="not-caught-up",
                fix="see the servers' logs, then run again: it goes on where it stopped.",
            )
        return view

    # -- with the login ------------------------------------------------------------------------------------------------

    def raft_healthy(self, active: str) -> bool | None:
        """Ask autopilot; ``None`` where it does not say."""
        try:
            answer = self.admin(active).request("GET", "sys/storage/raft/autopilot/state", ok=(200, 404))
        except HackspaceError as error:
            if error.status is None or error.status >= 500:
                return False  # the lead is changing: ask again
            raise
        healthy = (answer.body.get("data") or {}).get("healthy") if answer.status == 200 else None
        return healthy if isinstance(healthy, bool) else None

    def members(self, active: str) -> list[dict[str, t.Any]]:
        """Return raft's members."""
        body = self.admin(active).request("GET", "sys/storage/raft/configuration").body
        found = ((body.get("data") or {}).get("config") or {}).get("servers") or []
        return [dict(entry) for entry in found]

    def seal_types(self, active: str) -> list[str]:
        """Return the enabled seals that the active node is configured with; empty where it does not say."""
        answer = self.admin(active).request("GET", "sys/config/state/sanitized", ok=(200, 403, 404))
        if answer.status != 200:
            return []
        seals = (answer.body.get("data") or {}).get("seals") or []
        return [str(s.get("type")) for s in seals if isinstance(s, dict) and not s.get("disabled")]

    def may_step_down(self, active: str) -> bool:
        """Say if the login may make a node give up the lead."""
        path = "sys/step-down"
        answer = self.admin(active).request("POST", "sys/capabilities-self", {"paths": [path]}, ok=(200, 403, 404))
        if answer.status != 200:
            return False
        found = (answer.body.get("data") or answer.body).get(path) or []
        return "root" in found or {"update", "sudo"} <= set(found)


@dataclasses.dataclass
class Feed:
    """Whose shares a node took."""

    node: str
    holders: list[str] = dataclasses.field(default_factory=list)


def _verdict(before: Standing, http: int | None, after: Standing) -> str:
    if after.serves:
        return "counted"
    if http == 200 and after.phase == before.phase:
        if before.progress and after.nonce != before.nonce and after.progress:
            return "reset"
        return "counted" if after.progress > before.progress or after.progress == 0 else "lost"
    if http == 400 and after.progress == 0:
        return "wrong"
    return "lost"


def _state(node: Standing) -> NodeState:
    """Return the node as the words about shares know it."""
    return NodeState(
        node.node,
        "sealed",
        threshold=node.threshold,
        progress=node.progress,
        nonce=node.nonce,
        version=node.version,
    )


def provider_status(api: Api) -> dict[str, t.Any] | None:
    """Return the seal status of the server with the transit engine; ``None`` where it does not tell."""
    try:
        answer = api.request("GET", "sys/seal-status", ok=(200, 400, 403, 404, 503), token=False)
    except HackspaceError:
        return None  # whether it can be reached at all is the next question
    return answer.body if answer.status == 200 else None


def try_transit(api: Api, seal: Seal) -> None:
    """Prove that the token may use the key: encrypt and decrypt one value, as a starting server does.

    :raises HackspaceError: ``transit-unreachable``, ``transit-token``, ``transit-key``.
    """
    where = f"transit key {seal.key_name} at {seal.address}"
    plain = "c2VhbCBtaWdyYXRpb24="
    base = seal.mount_path
    try:
        made = api.request(
            "POST", f"{base}/encrypt/{seal.key_name}", {"plaintext": plain}, ok=(200, 400, 403, 404, 503), quiet=True
        )
        _transit_status(made.status, where, "encrypt")
        cipher = (made.body.get("data") or {}).get("ciphertext")
        back = api.request(
            "POST", f"{base}/decrypt/{seal.key_name}", {"ciphertext": cipher}, ok=(200, 400, 403, 404, 503), quiet=True
        )
        _transit_status(back.status, where, "decrypt")
    except HackspaceError as error:
        if error.status is not None:
            raise
        raise HackspaceError(
            f"cannot be reached: {error.message}",
            item=where,
            rule="transit-unreachable",
            fix=error.fix or "start it, correct the address.",
        ) from None
    if (back.body.get("data") or {}).get("plaintext") != plain:
        raise HackspaceError(
            "does not give back what it encrypted.", item=where, rule="transit-key", fix="see its type and versions."
        )


def _transit_status(status: int, where: str, verb: str) -> None:
    if status == 200:
        return
    if status == 403:
        raise HackspaceError(
            f"refuses to {verb} with this token.",
            item=where,
            rule="transit-token",
            fix="give a periodic orphan token whose OpenBao policy allows update on encrypt and decrypt of the key.",
            status=status,
        )
    if status == 503:
        raise HackspaceError(
            "is sealed itself.", item=where, rule="transit-unreachable", fix="unseal that OpenBao first.", status=status
        )
    raise HackspaceError(
        f"cannot {verb} (HTTP {status}): there is no such key or engine.",
        item=where,
        rule="transit-key",
        fix="make the key there; with this policy servers do not make it themselves.",
        status=status,
    )
