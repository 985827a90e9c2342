# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""A seal that unseals by itself, its stanza in the server's configuration, and how far one node is on the way."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import re
import typing as t

from .._core.errors import InvalidInput, check
from .seal_model import ROLES, Node, Problem

Target = t.Literal["shamir", "transit", "static"]
TARGETS: t.Final = ("shamir", "transit", "static")
#: Seals that unseal by themselves and that this collection can lead to.
AUTO: t.Final = ("transit", "static")

#: old: has the stanza of before. pending: has the new one and wants every share once more, with migrate.
#: armed: unsealed with the new one; the change happens as soon as such a node leads. unseal: changed, sealed by shares.
#: backend: changed, waits for its seal's backend. done: changed and unsealed.
Phase = t.Literal["unreachable", "blank", "old", "pending", "armed", "unseal", "backend", "done"]

_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_URL = re.compile(r"https://[^/\s]+")
_LOOPBACK = re.compile(r"http://(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d+)?")


# -- the seal ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Seal:
    """A seal that unseals by itself, without its credential (the token of transit, the key of static)."""

    type: t.Literal["transit", "static"]
    address: str = ""
    mount_path: str = "transit"
    key_name: str = ""
    namespace: str = ""
    tls_server_name: str = ""
    ca_cert: str = ""
    node_ca_cert: str = ""
    key_id: str = ""

    def describe(self) -> str:
        """Return it in a few words, without anything secret."""
        if self.type == "static":
            return f"static, key {self.key_id}"
        return f"transit, key {self.key_name} at {self.address}/v1/{self.mount_path}"


_TRANSIT_ONLY = ("address", "key_name", "namespace", "tls_server_name", "ca_cert", "node_ca_cert")


def parse_seal(raw: t.Mapping[str, t.Any] | None, *, item: str = "seal") -> Seal:
    """Return the checked seal.

    :raises InvalidInput: rules ``seal-missing``, ``seal-type``, ``seal-option``, ``seal-address``, ``seal-key-name``,
        ``seal-key-id``.
    """
    values = {k: v for k, v in dict(raw or {}).items() if v not in (None, "")}
    check(
        values,
        "is not given.",
        item=item,
        rule="seal-missing",
        fix="describe the seal that unseals by itself, {type: transit, address, key_name...}, in both directions.",
    )
    kind = str(values.get("type") or "")
    check(
        kind in AUTO,
        f"{kind!r} is no seal to migrate.",
        item=f"{item}.type",
        rule="seal-type",
        fix="transit or static.",
    )
    wrong = [k for k in values if (k in _TRANSIT_ONLY and kind == "static") or (k == "key_id" and kind == "transit")]
    check(
        not wrong,
        f"does not go with type: {kind}.",
        item=f"{item}.{wrong[0]}" if wrong else item,
        rule="seal-option",
        fix="leave it out.",
    )
    if kind == "static":
        key_id = str(values.get("key_id") or "")
        check(
            _KEY_ID.fullmatch(key_id),
            f"{key_id!r} is no name for a key.",
            item=f"{item}.key_id",
            rule="seal-key-id",
            fix="letters, digits, dots and hyphens, such as 2026-11-1; a new key gets a new one.",
        )
        return Seal("static", key_id=key_id)
    address = str(values.get("address") or "").rstrip("/")
    check(
        _URL.fullmatch(address) or _LOOPBACK.fullmatch(address),
        f"{address!r} is not an address of the form https://host:port.",
        item=f"{item}.address",
        rule="seal-address",
        fix="give the OpenBao server with the transit engine, which is not one of the nodes.",
    )
    check(
        values.get("key_name"),
        "is missing.",
        item=f"{item}.key_name",
        rule="seal-key-name",
        fix="name the transit key.",
    )
    texts = {
        k: str(values.get(k) or "") for k in ("key_name", "namespace", "tls_server_name", "ca_cert", "node_ca_cert")
    }
    mount = str(values.get("mount_path") or "transit").strip("/")
    return Seal("transit", address=address, mount_path=mount, **texts)


def check_apart(seal: Seal, nodes: t.Sequence[Node]) -> None:
    """Check that the seal's server is none of the nodes that it unseals.

    :raises InvalidInput: ``seal-circle``.
    """
    for node in nodes:
        check(
            seal.address.lower() != node.url.lower(),
            f"is the address of {node.name}, which it would have to unseal.",
            item="seal.address",
            rule="seal-circle",
            fix="the transit engine belongs on another OpenBao that needs nothing of this platform to start.",
        )


def check_static_key(text: str, *, item: str) -> None:
    """Check that *text* is a key of 32 bytes, in hexadecimal or base64.

    :raises InvalidInput: ``static-key``.
    """
    text = text.strip()
    raw = b""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raw = bytes.fromhex(text)
    elif re.fullmatch(r"[A-Za-z0-9+/]{43}=", text):
        try:
            raw = base64.b64decode(text, validate=True)
        except binascii.Error:
            raw = b""
    if len(raw) != 32:
        raise InvalidInput(
            "is no key of 32 bytes in hexadecimal or base64.",
            item=item,
            rule="static-key",
            fix="openssl rand -hex 32 > FILE, then ansible-vault encrypt FILE.",
        )


def stanza(seal: Seal | None, *, disabled: bool = False, credential: str = "") -> dict[str, dict[str, str]]:
    """Return the content of ``seal`` in a server's configuration; ``{}`` for Shamir.

    :param disabled: the seal is on its way out: the server still needs it to read what it has sealed.
    :param credential: token or key. Without it the result may be shown.
    """
    if seal is None:
        return {}
    if seal.type == "static":
        values = {"current_key_id": seal.key_id, "current_key": credential}
    else:
        values = {
            "address": seal.address,
            "mount_path": f"{seal.mount_path}/",
            "key_name": seal.key_name,
            "namespace": seal.namespace,
            "tls_ca_cert": seal.node_ca_cert,
            "tls_server_name": seal.tls_server_name,
            "token": credential,
        }
    values["disabled"] = "true" if disabled else ""
    return {seal.type: {k: v for k, v in values.items() if v}}


def render(content: t.Mapping[str, t.Mapping[str, str]], form: str) -> str:
    """Return a configuration file with the stanza *content*, in ``json`` or ``hcl``; empty content, empty file.

    :raises InvalidInput: ``seal-format``.
    """
    check(form in ("json", "hcl"), f"{form!r} is no format.", item="format", rule="seal-format", fix="json or hcl.")
    if form == "json":
        return json.dumps({"seal": content} if content else {}, indent=2) + "\n"
    blocks = []
    for kind, values in content.items():
        width = max((len(k) for k in values), default=0)
        lines = [f"  {k.ljust(width)} = {json.dumps(v, ensure_ascii=False)}" for k, v in values.items()]
        blocks.append("\n".join([f'seal "{kind}" {{', *lines, "}"]))
    return "\n\n".join(blocks) + ("\n" if blocks else "")


# -- the nodes ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Standing:
    """One node at one moment, seen on the way to a seal.

    :ivar role: ``active``, ``standby`` or empty.
    :ivar type: what the server says of its seal; the 1.x line says ``shamir`` of its shares, whatever the seal.
    """

    node: Node
    phase: Phase
    sealed: bool = True
    role: str = ""
    threshold: int = 0
    progress: int = 0
    nonce: str = ""
    version: str = ""
    type: str = ""
    recovery: bool = False
    storage: str = ""
    cluster_id: str = ""
    cluster_name: str = ""
    problem: Problem | None = None

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def serves(self) -> bool:
        """Unsealed, so that it counts for raft's majority."""
        return not self.sealed

    @property
    def wants_shares(self) -> bool:
        return self.phase in ("pending", "unseal")

    def report(self) -> dict[str, t.Any]:
        """Return the public description."""
        return {
            **self.node.address(),
            "phase": self.phase,
            "sealed": self.sealed,
            "role": self.role,
            "t": self.threshold,
            "progress": self.progress,
            "recovery_seal": self.recovery,
            "version": self.version,
            "problem": dataclasses.asdict(self.problem) if self.problem else None,
        }

    def line(self) -> str:
        """Return one line for a person."""
        words = {
            "unreachable": f"unreachable ({self.problem.hop}): {self.problem.message}"
            if self.problem
            else "unreachable",
            "blank": "not initialised, or not joined yet",
            "old": f"has its seal of before{', sealed' if self.sealed else f', {self.role}' if self.role else ''}",
            "pending": f"has its new seal and wants shares, {self.progress} of {self.threshold} counted",
            "armed": "has its new seal and is unsealed; the seal changes when such a node leads",
            "unseal": f"migrated and sealed, {self.progress} of {self.threshold} unseal shares counted",
            "backend": "migrated, waits for its seal's backend",
            "done": f"migrated{f', {self.role}' if self.role else ''}",
        }
        return f"{self.name}: {words[self.phase]}"


def standing(
    node: Node,
    target: Target,
    status: t.Mapping[str, t.Any] | None,
    health: int | None = None,
    problem: Problem | None = None,
) -> Standing:
    """Return how far *node* is on its way to *target*.

    A server tells it by two fields of ``sys/seal-status``: ``recovery_seal`` follows its configuration, ``migration``
    is true from its start with another seal than the one in storage until the active node has changed that.
    """
    if status is None or "sealed" not in status:
        return Standing(node, "unreachable", problem=problem or Problem("http", "the answer is no seal status."))
    sealed, moving = bool(status["sealed"]), bool(status.get("migration"))
    recovery = bool(status.get("recovery_seal"))
    threshold = int(status.get("t") or 0)
    phase: Phase
    if not status.get("initialized", True) or threshold == 0:
        phase = "blank"
    elif recovery != (target != "shamir"):
        phase = "old"
    elif moving:
        phase = "pending" if sealed else "armed"
    elif sealed:
        phase = "backend" if recovery else "unseal"
    else:
        phase = "done"
    return Standing(
        node,
        phase,
        sealed=sealed,
        role="" if sealed else ROLES.get(health or 0, ""),
        threshold=threshold,
        progress=int(status.get("progress") or 0),
        nonce=str(status.get("nonce") or ""),
        version=str(status.get("version") or ""),
        type=str(status.get("type") or ""),
        recovery=recovery,
        storage=str(status.get("storage_type") or ""),
        cluster_id=str(status.get("cluster_id") or ""),
        cluster_name=str(status.get("cluster_name") or ""),
        problem=None,
    )
