# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Whether to initialise, with what, and what the answer and the record mean. No input, no output."""

from __future__ import annotations

import base64
import dataclasses
import typing as t

from .._core.encrypt import PgpRecipient
from .._core.errors import HackspaceError, InvalidInput, Unreachable
from .._core.plan import Change, Plan
from .._core.redact import Secret, fingerprint
from .init_model import InitSpec
from .seal_model import Node, Problem, classify, classify_all
from .share_record import Entry, Record


@dataclasses.dataclass(frozen=True)
class NodeState:
    """What one node said of itself.

    :ivar status: body of ``sys/seal-status``; ``None`` if it did not answer.
    :ivar error: why it did not.
    """

    node: Node
    status: t.Mapping[str, t.Any] | None
    error: HackspaceError | None = None

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def initialised(self) -> bool:
        return bool(self.status and self.status.get("initialized"))

    @property
    def joining(self) -> bool:
        """Not initialised itself, but told the threshold by the leader of a cluster that is."""
        return bool(self.status) and not self.initialised and int((self.status or {}).get("t") or 0) > 0

    @property
    def sealed(self) -> bool:
        return bool((self.status or {}).get("sealed", True))

    @property
    def recovery_seal(self) -> bool:
        return bool((self.status or {}).get("recovery_seal"))


def words(states: t.Sequence[NodeState]) -> dict[str, str]:
    """Return node -> state in the words of the modules that unseal, seen together."""
    seen = [classify(s.node, s.status, problem=None if s.error is None else Problem.of(s.error)) for s in states]
    return {state.name: state.state for state in classify_all(seen)}


def to_initialise(spec: InitSpec, nodes: t.Sequence[NodeState]) -> bool:
    """Say whether the site is to be initialised: no node is, and every node could be asked.

    :raises Unreachable: no node is known to be initialised and one did not answer: it may be.
    :raises InvalidInput: the seal does not go with what is asked for.
    """
    if any(node.initialised or node.joining for node in nodes):
        return False
    for node in nodes:
        if node.status is None:
            why = node.error.message if node.error else "no answer"
            raise Unreachable(
                f"{why} It may belong to a cluster that is initialised already, so that nothing is initialised.",
                item=f"node {node.name}",
                rule="node-unreachable",
                fix=(node.error.fix if node.error else "") or "start the node, or take it off the list for good.",
                data={"nodes": [{"name": name, "state": word} for name, word in words(nodes).items()]},
            )
    kinds = {node.recovery_seal for node in nodes}
    if len(kinds) > 1:
        raise InvalidInput(
            "some nodes unseal by themselves and some by shares.",
            item="nodes",
            rule="mixed-seals",
            fix="give all nodes the same seal stanza.",
        )
    if kinds == {True} and spec.on_server and not all(isinstance(h.recipient, PgpRecipient) for h in spec.holders):
        raise InvalidInput("recovery shares need PGP keys too.", item="holders", rule="server-needs-pgp")
    return True


def request_body(spec: InitSpec, *, recovery_seal: bool) -> dict[str, t.Any]:
    """Return the body of ``sys/init``: ``secret_*`` for shares that unseal, ``recovery_*`` where the seal does that."""
    prefix = "recovery" if recovery_seal else "secret"
    body: dict[str, t.Any] = {f"{prefix}_shares": spec.shares, f"{prefix}_threshold": spec.threshold}
    if spec.on_server:
        body["recovery_pgp_keys" if recovery_seal else "pgp_keys"] = [_key(h.recipient) for h in spec.holders]
        if spec.root_token_holder:
            body["root_token_pgp_key"] = _key(spec.root_token_holder.recipient)
    return body


def _key(recipient: t.Any) -> str:
    if not isinstance(recipient, PgpRecipient):
        raise TypeError("called for PGP recipients only")
    return base64.b64encode(recipient.binary).decode("ascii")


@dataclasses.dataclass(frozen=True)
class Shares:
    """What came back: the shares in the order of the holders (hex; base64 of a PGP message if *encrypted*)."""

    values: tuple[Secret, ...]
    root_token: Secret
    encrypted: bool

    def fingerprints(self) -> list[str]:
        """First 12 hex digits of the sha256 of each share's bytes; empty words where only the holder can know."""
        if self.encrypted:
            return ["" for _other in self.values]
        return [fingerprint(bytes.fromhex(v.reveal())) for v in self.values]


def parse_answer(spec: InitSpec, body: t.Mapping[str, t.Any], *, recovery_seal: bool) -> Shares:
    """Return the shares and the root token of the answer to ``sys/init``.

    :raises HackspaceError: ``init-answer``; the answer is not understood and never quoted.
    """
    names = ("recovery_keys", "recovery_keys_base64") if recovery_seal else ("keys", "keys_base64")
    values = body.get(names[1] if spec.on_server else names[0])
    token = body.get("root_token")
    good = isinstance(values, list) and len(values) == spec.shares and len(set(values)) == spec.shares and bool(token)
    if good and not spec.on_server:
        good = all(_is_hex(v) for v in t.cast("list[t.Any]", values))
    if not good:
        raise HackspaceError(
            f"the answer does not hold {spec.shares} shares and a root token.",
            item="sys/init",
            rule="init-answer",
            fix=LOST,
        )
    shares = tuple(Secret(str(v)) for v in t.cast("list[t.Any]", values))
    return Shares(shares, Secret(str(token)), encrypted=spec.on_server)


def _is_hex(value: object) -> bool:
    try:
        return isinstance(value, str) and len(bytes.fromhex(value)) >= 16
    except ValueError:
        return False


#: The fix when the cluster is initialised and its shares are nowhere.
LOST: t.Final = (
    "the cluster holds nothing yet and nobody can ever unseal it: stop all nodes, empty the storage folder of each, "
    "start them, run again."
)


def record(
    spec: InitSpec,
    state: str,
    *,
    at: str,
    generation: str,
    recovery_seal: bool,
    fingerprints: t.Sequence[str] = (),
    cluster: t.Mapping[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """Return the public record of this initialisation; it holds nothing secret.

    :param at: UTC time of the initialisation, ISO 8601.
    :param generation: a random name of this set of shares, so that files of two sets are never mixed.
    """
    marks = list(fingerprints) or ["" for _other in spec.holders]
    return Record(
        state=state,
        generation=generation,
        made_at=at,
        initialised_at=at,
        kind="recovery" if recovery_seal else "unseal",
        threshold=spec.threshold,
        nodes=tuple({"name": n.name, "url": n.url} for n in spec.nodes),
        cluster={k: str((cluster or {}).get(k, "")) for k in ("cluster_name", "cluster_id")},
        holders=tuple(
            Entry(h.name, h.file_name, h.recipient.label, mark) for h, mark in zip(spec.holders, marks, strict=True)
        ),
    ).document()


def plan_init(spec: InitSpec, *, recovery_seal: bool) -> Plan:
    """Return what an initialisation does, for the report, the diff and check mode."""
    plan = Plan()
    kind = "recovery share" if recovery_seal else "unseal share"
    plan.add(
        Change(
            "OpenBao cluster",
            spec.nodes[0].name,
            "create",
            after={"shares": spec.shares, "threshold": spec.threshold, "encrypted_on": _where(spec)},
            public=frozenset({"shares", "threshold", "encrypted_on"}),
        )
    )
    for holder in spec.holders:
        plan.add(
            Change(
                kind,
                holder.name,
                "create",
                after={"file": spec.path(holder.file_name), "recipient": holder.recipient.label},
                public=frozenset({"file", "recipient"}),
            )
        )
    if spec.admin:
        plan.add(
            Change(
                "administrators' login",
                f"{spec.admin.mount}/{spec.admin.username}",
                "create",
                after={"auth_method": spec.admin.method, "policy": spec.admin.policy_name},
                public=frozenset({"auth_method", "policy"}),
            )
        )
    return plan


def _where(spec: InitSpec) -> str:
    return "server" if spec.on_server else "controller"


def lost_shares(
    written: t.Mapping[str, t.Any] | None, missing: t.Sequence[str], *, item: str
) -> tuple[HackspaceError | None, str]:
    """Return what to say of an initialised cluster, given our record of it and the names of files that are missing.

    The record says ``prepared`` when the run that initialised died before it knew that every share was in its file. An
    error when fewer files than the threshold are there, a warning when only some are missing.
    """
    if not written or written.get("state") != "prepared" or not missing:
        return None, ""
    threshold, shares = int(written.get("threshold") or 0), int(written.get("shares") or 0)
    names = ", ".join(missing)
    if shares - len(missing) < threshold:
        return (
            HackspaceError(
                f"is initialised, and the run that did it ended before the shares were in their files ({names}).",
                item=item,
                rule="shares-lost",
                fix=LOST,
            ),
            "",
        )
    return None, (
        f"the run that initialised ended before {names} was written: make new shares with playbooks/shares.yml "
        "(docs/shares.md)."
    )
