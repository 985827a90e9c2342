# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One small OpenBao server of another site, whose transit engine unseals the lab's servers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import build
from lab.errors import LabError
from lab.files import private_dir, read_json, write_json
from lab.pki import Authority, Pair
from lab.procs import Process
from lab.rest import Server

COMPONENT = "transit"
NODE = "transit-0"
KEY = "openbao-unseal"
#: What servers that unseal themselves need, and nothing else.
POLICY = f"""path "transit/encrypt/{KEY}" {{ capabilities = ["update"] }}
path "transit/decrypt/{KEY}" {{ capabilities = ["update"] }}
"""


@dataclass(frozen=True)
class TransitSeal:
    """What a seal stanza names."""

    address: str
    tls_server_name: str
    ca_file: Path
    mount: str
    key_name: str
    token: str


class Transit:
    """The provider of a lab: one server, one share, a key and a token that may use it."""

    def __init__(self, state: Path) -> None:
        self.folder = state / COMPONENT
        self._logs = state / "logs"
        self._saved = state / "secrets" / "transit.json"
        self.port_names = tuple(f"{NODE}.{kind}" for kind in ("api", "cluster"))
        self._ports: dict[str, int] = {}

    def prepare(self, ports: Mapping[str, int]) -> None:
        """Make its certificate, of an authority of its own."""
        self._ports = dict(ports)
        self.authority = Authority(self.folder / "pki", "lab transit")
        self._pair: Pair = self.authority.issue(NODE, self.server_name, dns=(self.server_name,))

    @property
    def server_name(self) -> str:
        """The name in its certificate."""
        return f"{NODE}.lab.internal"

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"https://127.0.0.1:{self._ports[f'{NODE}.api']}"

    def server(self) -> Server:
        """How to reach it."""
        return Server(self.address, self.authority.pair.cert, self.server_name)

    def _config(self) -> dict[str, Any]:
        api, cluster = (f"127.0.0.1:{self._ports[name]}" for name in self.port_names)
        return {
            "cluster_name": "transit",
            "disable_mlock": True,
            "ui": False,
            "log_level": "info",
            "api_addr": self.address,
            "cluster_addr": f"https://{cluster}",
            "listener": {
                "tcp": {
                    "address": api,
                    "cluster_address": cluster,
                    "tls_cert_file": str(self._pair.cert),
                    "tls_key_file": str(self._pair.key),
                }
            },
            "storage": {
                "raft": {"path": str(self.folder / "data"), "node_id": NODE, "performance_multiplier": "1"},
            },
        }

    def processes(self) -> list[Process]:
        """Its row of the process table."""
        config = self.folder / "config.json"

        def prepare() -> None:
            private_dir(self.folder / "data")
            write_json(config, self._config())

        def ready() -> str | None:
            answer = self.server().request("GET", "/v1/sys/seal-status")
            return None if answer.status == 200 else f"seal-status says {answer.status}"

        return [
            Process(
                name=NODE,
                component=COMPONENT,
                argv=(str(build.path("vault")), "server", f"-config={config}"),
                ports={kind: self._ports[f"{NODE}.{kind}"] for kind in ("api", "cluster")},
                ready=ready,
                log=self._logs / f"{NODE}.log",
                needs=("build-vault",),
                prepare=prepare,
                data=(self.folder / "data", self._saved),
                graceful=True,
            )
        ]

    def saved(self) -> dict[str, str]:
        """Its share, its root token and the token of the seal."""
        return dict(read_json(self._saved) or {})

    def init(self, timeout: float = 60.0) -> TransitSeal:
        """Initialise, unseal, make the key and the token, as an administrator of that site would."""
        known = self.saved()
        if not known:
            answer = self._ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            known = {"share": str(answer["keys"][0]), "root_token": str(answer["root_token"])}
            write_json(self._saved, known)
        self._ask("PUT", "sys/unseal", {"key": known["share"]})
        deadline = time.monotonic() + timeout
        while self.server().request("GET", "/v1/sys/health").status != 200:
            if time.monotonic() > deadline:
                raise LabError(f"{NODE} is not active after {timeout:.0f} s")
            time.sleep(0.1)
        if "token" not in known:
            root = known["root_token"]
            self._ask("POST", "sys/mounts/transit", {"type": "transit"}, root)
            self._ask("POST", f"transit/keys/{KEY}", {}, root)
            self._ask("PUT", f"sys/policies/acl/{KEY}", {"policy": POLICY}, root)
            body = {"policies": [KEY], "no_default_policy": False, "period": "24h", "display_name": "lab-seal"}
            known["token"] = str(self._ask("POST", "auth/token/create-orphan", body, root)["auth"]["client_token"])
            write_json(self._saved, known)
        return TransitSeal(self.address, self.server_name, self.authority.pair.cert, "transit", KEY, known["token"])

    def _ask(self, method: str, path: str, body: Any, token: str | None = None) -> dict[str, Any]:
        answer = self.server().request(method, f"/v1/{path}", body, token=token, timeout=30.0)
        if answer.status not in (200, 204):
            raise LabError(f"{NODE} refuses {path}: {answer.status} {answer.body}")
        return dict(answer.body or {})
