# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three OpenBao servers on raft, with TLS and a Shamir seal."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import build
from lab.errors import LabError
from lab.files import private_dir, read_json, write_json
from lab.pki import Authority, Pair
from lab.procs import Process
from lab.rest import Server

COMPONENT = "openbao"
NODES = ("openbao-0", "openbao-1", "openbao-2")
SHARES, THRESHOLD = 5, 3
SERVICE_NAME = "openbao.lab.internal"


@dataclass(frozen=True)
class OpenBaoNode:
    """What a test or a playbook has to know about a node."""

    name: str
    address: str
    tls_server_name: str
    log_path: Path


@dataclass(frozen=True)
class InitResult:
    """What initialising gave."""

    shares: tuple[str, ...]
    """As the server gave them: hexadecimal."""
    root_token: str

    @property
    def shares_base64(self) -> tuple[str, ...]:
        """The same shares in the other notation."""
        return tuple(base64.b64encode(bytes.fromhex(share)).decode() for share in self.shares)


class OpenBao:
    """The OpenBao part of a lab."""

    def __init__(self, state: Path) -> None:
        self.folder = state / COMPONENT
        self.logs = state / "logs"
        self.init_file = state / "secrets" / "openbao-init.json"
        self.audit_log = self.folder / "audit.log"
        self.port_names = tuple(f"{node}.{kind}" for node in NODES for kind in ("api", "cluster"))
        self._ports: dict[str, int] = {}
        self._pairs: dict[str, Pair] = {}

    def prepare(self, ports: Mapping[str, int]) -> None:
        """Make certificates. They name hosts and no address, so clients have to say which node they mean."""
        self._ports = dict(ports)
        self.authority = Authority(self.folder / "pki", "lab OpenBao")
        self.other_authority = Authority(self.folder / "other-pki", "not the lab's OpenBao")
        for node in NODES:
            self._pairs[node] = self.authority.issue(
                node, self.server_name(node), dns=(self.server_name(node), SERVICE_NAME, f"{node}.openbao-internal")
            )

    @staticmethod
    def server_name(node: str) -> str:
        """The name in a node's certificate."""
        return f"{node}.lab.internal"

    def pair(self, node: str) -> Pair:
        """A node's certificate."""
        return self._pairs[node]

    def address(self, node: str) -> str:
        """A node's own address."""
        return f"https://127.0.0.1:{self._ports[f'{node}.api']}"

    def server(self, node: str) -> Server:
        """How to reach a node."""
        return Server(self.address(node), self.authority.pair.cert, self.server_name(node))

    def nodes(self) -> list[OpenBaoNode]:
        """What users of the lab see."""
        return [
            OpenBaoNode(node, self.address(node), self.server_name(node), self.logs / f"{node}.log") for node in NODES
        ]

    # -- processes -------------------------------------------------------------------------------------------

    def _config(self, node: str) -> dict[str, Any]:
        cluster = {name: f"127.0.0.1:{self._ports[f'{name}.cluster']}" for name in NODES}
        authority = str(self.authority.pair.cert)
        config: dict[str, Any] = {
            "cluster_name": "lab",
            "disable_mlock": True,
            "ui": False,
            "log_level": "info",
            "api_addr": self.address(node),
            "cluster_addr": f"https://{cluster[node]}",
            "listener": {
                "tcp": {
                    "address": f"127.0.0.1:{self._ports[f'{node}.api']}",
                    "cluster_address": cluster[node],
                    "tls_cert_file": str(self.pair(node).cert),
                    "tls_key_file": str(self.pair(node).key),
                }
            },
            "storage": {
                "raft": {
                    "path": str(self.folder / node / "data"),
                    "node_id": node,
                    "performance_multiplier": "1",
                    # A joined node gets its vote soon after it has been stable, not up to ten seconds later.
                    "autopilot_update_interval": "500ms",
                    "autopilot_reconcile_interval": "1s",
                    "retry_join": [
                        {
                            "leader_api_addr": self.address(other),
                            "leader_tls_servername": self.server_name(other),
                            "leader_ca_cert_file": authority,
                        }
                        for other in NODES
                        if other != node
                    ],
                }
            },
        }
        if os.environ.get("OPENBAO_BIN"):
            # OpenBao allows audit devices by its API only when told so; its predecessor does not know the option.
            config["unsafe_allow_api_audit_creation"] = True
        return config

    def seal_file(self, node: str) -> Path:
        """The second file in a node's configuration folder: its seal stanza. Without it the seal is Shamir's."""
        return self.folder / node / "config" / "seal.json"

    def set_seal(self, node: str, stanza: dict[str, Any] | None) -> None:
        """Write a node's seal stanza, ``{"transit": {...}}``; it counts from its next start."""
        if stanza:
            write_json(self.seal_file(node), {"seal": stanza})
        else:
            self.seal_file(node).unlink(missing_ok=True)

    def _ready(self, node: str) -> Callable[[], str | None]:
        server = self.server(node)

        def ready() -> str | None:
            answer = server.request("GET", "/v1/sys/seal-status")
            return None if answer.status == 200 else f"seal-status says {answer.status}"

        return ready

    def processes(self) -> list[Process]:
        """The rows of the process table."""
        rows = []
        for node in NODES:
            config = self.folder / node / "config"

            def prepare(node: str = node, config: Path = config) -> None:
                private_dir(self.folder / node / "data")
                write_json(config / "server.json", self._config(node))

            rows.append(
                Process(
                    name=node,
                    component=COMPONENT,
                    argv=(str(build.path("vault")), "server", f"-config={config}"),
                    ports={kind: self._ports[f"{node}.{kind}"] for kind in ("api", "cluster")},
                    ready=self._ready(node),
                    log=self.logs / f"{node}.log",
                    needs=("build-vault",),
                    prepare=prepare,
                    data=(self.folder / node / "data", self.seal_file(node), self.audit_log, self.init_file),
                    graceful=True,
                )
            )
        return rows

    # -- life ------------------------------------------------------------------------------------------------

    def saved(self) -> InitResult | None:
        """What an earlier init() of this lab gave."""
        saved = read_json(self.init_file)
        return InitResult(tuple(saved["shares"]), str(saved["root_token"])) if saved else None

    def init(self, timeout: float = 60.0) -> InitResult:
        """Initialise, unseal everything, wait for an active node and switch on the audit log. For tests."""
        saved = self.saved()
        if saved:
            self.unseal(saved.shares, timeout=timeout)
            return saved
        answer = self.server(NODES[0]).request(
            "PUT", "/v1/sys/init", {"secret_shares": SHARES, "secret_threshold": THRESHOLD}, timeout=30.0
        )
        if answer.status != 200:
            raise LabError(
                f"OpenBao cannot be initialised by the lab: {answer.status} {answer.body};"
                " if somebody else did it, 'lab reset' starts anew"
            )
        result = InitResult(tuple(answer.body["keys"]), str(answer.body["root_token"]))
        write_json(self.init_file, {"shares": result.shares, "root_token": result.root_token})
        self.unseal(result.shares, timeout=timeout)
        self._settle(result.root_token, timeout)
        return result

    def _settle(self, token: str, timeout: float) -> None:
        """Switch on the audit log and wait until every node has a vote, so that any of them may fail."""
        server = self.server(self.active() or NODES[0])
        for path, body in (
            ("audit/lab", {"type": "file", "options": {"file_path": str(self.audit_log)}}),
            # How long a new node is watched before it gets its vote.
            ("storage/raft/autopilot/configuration", {"server_stabilization_time": "1s"}),
        ):
            answer = server.request("POST", f"/v1/sys/{path}", body, token=token)
            if answer.status not in (200, 204):
                raise LabError(f"OpenBao refuses {path}: {answer.status} {answer.body}")
        deadline = time.monotonic() + timeout
        while True:
            answer = server.request("GET", "/v1/sys/storage/raft/configuration", token=token)
            servers = answer.body["data"]["config"]["servers"] if answer.status == 200 else []
            if len([entry for entry in servers if entry["voter"]]) == len(NODES):
                return
            if time.monotonic() > deadline:
                raise LabError(f"OpenBao nodes without a vote after {timeout:.0f} s: {servers}")
            time.sleep(0.1)

    def unseal(self, shares: Sequence[str] | None = None, nodes: Sequence[str] = NODES, timeout: float = 60.0) -> None:
        """Send a threshold of shares to nodes until they are unsealed, then wait until one node is active."""
        if shares is None:
            saved = self.saved()
            if saved is None:
                raise LabError("OpenBao was not initialised by the lab, so it has no shares")
            shares = saved.shares
        deadline = time.monotonic() + timeout
        pending = list(nodes)
        problem = ""
        while pending:
            for node in list(pending):
                problem = self._try_unseal(node, shares)
                if not problem:
                    pending.remove(node)
            if pending:
                if time.monotonic() > deadline:
                    raise LabError(f"{pending} still sealed after {timeout:.0f} s: {problem}")
                time.sleep(0.1)
        while True:
            health = {node: self.health(node) for node in nodes}
            if self.active() and all(status in (200, 429, 473) for status in health.values()):
                return
            if time.monotonic() > deadline:
                raise LabError(f"no active OpenBao node after {timeout:.0f} s: {health}")
            time.sleep(0.1)

    def _try_unseal(self, node: str, shares: Sequence[str]) -> str:
        server = self.server(node)
        try:
            status = server.request("GET", "/v1/sys/seal-status").body
            if not status["sealed"]:
                return ""
            if status["progress"]:
                server.request("PUT", "/v1/sys/unseal", {"reset": True})
            for share in shares[:THRESHOLD]:
                answer = server.request("PUT", "/v1/sys/unseal", {"key": share}, timeout=30.0)
                if answer.status != 200:
                    return f"{node} answers {answer.status} {answer.body}"
                if not answer.body["sealed"]:
                    return ""
        except OSError as error:
            return f"{node}: {error}"
        return f"{node} is still sealed"

    def health(self, node: str) -> int:
        """Status of sys/health, 0 when the node does not answer."""
        try:
            return self.server(node).request("GET", "/v1/sys/health").status
        except OSError:
            return 0

    def active(self) -> str | None:
        """The active node."""
        return next((node for node in NODES if self.health(node) == 200), None)
