# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A living site in the lab: three servers with data, five holders, and another OpenBao whose transit engine unseals."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
import threading
import time
import typing as t
from pathlib import Path

from ansible_collections.hackspace.infra.plugins.modules import openbao_snapshot

from lab.api import Lab
from tests.integration.ansible_run import ROOT, Result, Run, private, run_play, start_play
from tests.integration.seal.helpers import call

PLAYBOOK = ROOT / "playbooks" / "seal_migration.yml"
HOLDERS = ("ada", "bo", "cleo", "dan", "eve")
PLATFORM = "lab-migration"
TENANT = "kv/data/tenants/alice"


class MigrationSite:
    """The site, its inventory and its files.

    :param kill: a restart does not ask servers to stop. Faster: one that has just given up the lead takes 8 s to stop.
    """

    def __init__(self, lab: Lab, folder: Path, *, kill: bool = False) -> None:
        self.lab = lab
        self._kill = kill
        self.folder = folder
        self.transit = lab.init_transit()
        self.token = lab.init_openbao().root_token
        self.shares = dict(zip(HOLDERS, lab.init_openbao().shares, strict=True))
        self.files = {name: private(folder / f"{name}.share", share) for name, share in self.shares.items()}
        self.value = secrets.token_hex(16)
        self._ask("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        self._wait_kv()
        self.inventory = folder / "site.json"
        self.inventory.write_text(json.dumps(self._inventory()), encoding="utf-8")
        self.snapshot = self.save_snapshot()

    def _ask(self, method: str, path: str, body: t.Any = None) -> t.Any:
        answer = self.lab.openbao_server(self.active()).request(method, f"/v1/{path}", body, token=self.token)
        assert answer.status in (200, 204), f"{method} {path}: {answer.status} {answer.body}"
        return answer.body

    def _wait_kv(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self._ask("POST", TENANT, {"data": {"colour": self.value}})
                return
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def active(self) -> str:
        """Return the node that leads, waiting for one."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if active := self.lab.openbao_active():
                return active
            time.sleep(0.1)
        raise AssertionError("no active node")

    @property
    def seal(self) -> dict[str, str]:
        """The option that describes the transit seal."""
        return {
            "type": "transit",
            "address": self.transit.address,
            "mount_path": self.transit.mount,
            "key_name": self.transit.key_name,
            "tls_server_name": self.transit.tls_server_name,
            "ca_cert": str(self.transit.ca_file),
            "node_ca_cert": str(self.transit.ca_file),
            "credential_file": private(self.folder / "transit.token", self.transit.token + "\n"),
        }

    @property
    def nodes(self) -> list[dict[str, str]]:
        """The option with the nodes."""
        return [
            {"name": n.name, "url": n.address, "tls_server_name": n.tls_server_name} for n in self.lab.openbao_nodes
        ]

    def _inventory(self) -> dict[str, t.Any]:
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        restart = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "lab", "--name", self.lab.name]
        restart += ["--state-dir", str(self.lab.state.parent), "restart", *(["--kill"] if self._kill else []), "NODE"]
        return {
            "all": {
                "vars": {
                    "platform_name": PLATFORM,
                    "platform_openbao": {
                        "ca_cert": str(self.lab.openbao_ca),
                        "login": {"token_path": private(self.folder / "root.token", self.token)},
                        "holders": [{"name": name} for name in HOLDERS],
                    },
                    "openbao_seal_migration_seal": self.seal,
                    "openbao_seal_migration_file": str(self.lab.seal_file("openbao-0")).replace("openbao-0", "NODE"),
                    "openbao_seal_migration_owner": "",
                    "openbao_seal_migration_group": "",
                    "openbao_seal_migration_become": False,
                    "openbao_seal_migration_restart_command": restart,
                    "openbao_seal_migration_sources": [
                        {"name": name, "file": self.files[name]} for name in ("ada", "bo", "cleo")
                    ],
                },
                "children": {
                    "controller": {"hosts": {"localhost": local}},
                    "openbao_nodes": {
                        "hosts": {
                            n.name: {
                                **local,
                                "openbao_address": n.address,
                                "openbao_tls_server_name": n.tls_server_name,
                            }
                            for n in self.lab.openbao_nodes
                        }
                    },
                },
            }
        }

    # -- runs ----------------------------------------------------------------------------------------------------------

    def save_snapshot(self) -> str:
        """Save a snapshot with the module's own code in this process, and return its path."""
        folder = self.folder / "snapshots"
        folder.mkdir(mode=0o700, exist_ok=True)
        args = {
            "state": "saved",
            "nodes": self.nodes,
            "ca_cert": str(self.lab.openbao_ca),
            "token": self.token,
            "folder": str(folder),
            "max_age": 0,
        }
        return str(call(openbao_snapshot, args)["snapshot"]["path"])

    def variables(self, target: str, **changes: t.Any) -> dict[str, t.Any]:
        """Return the variables of a run that is allowed to do it."""
        found = {"target": target, "confirm": PLATFORM, "snapshot": self.snapshot, **changes}
        return {f"openbao_seal_migration_{name}": value for name, value in found.items()}

    def run(self, target: str, *, check: bool = False, verbosity: int = 0, **changes: t.Any) -> Result:
        """Run the playbook."""
        return run_play(
            PLAYBOOK,
            inventory=self.inventory,
            extra_vars=self.variables(target, **changes),
            check=check,
            diff=True,
            verbosity=verbosity,
            timeout=400,
        )

    def start(self, target: str, **changes: t.Any) -> Run:
        """Start the playbook and do not wait."""
        return start_play(PLAYBOOK, inventory=self.inventory, extra_vars=self.variables(target, **changes))

    # -- looking -------------------------------------------------------------------------------------------------------

    def seal_status(self, node: str) -> dict[str, t.Any]:
        """Return what a node says of its seal."""
        return dict(self.lab.openbao_server(node).request("GET", "/v1/sys/seal-status").body)

    def statuses(self) -> list[dict[str, t.Any]]:
        """Return what all nodes say."""
        return [self.seal_status(node.name) for node in self.lab.openbao_nodes]

    def read(self) -> str:
        """Read the tenant's OpenBao secret at any node that answers."""
        for node in self.lab.openbao_nodes:
            try:
                answer = self.lab.openbao_server(node.name).request("GET", f"/v1/{TENANT}", token=self.token, timeout=3)
            except OSError:
                continue
            if answer.status == 200:
                return str(answer.body["data"]["data"]["colour"])
        return ""

    @contextlib.contextmanager
    def reader(self) -> t.Iterator[Reader]:
        """A tenant who reads all the time, at whichever node answers."""
        reader = Reader(self)
        reader.start()
        try:
            yield reader
        finally:
            reader.stop()


class Reader(threading.Thread):
    """Reads five times a second; counts what failed, and the longest time without an answer."""

    def __init__(self, site: MigrationSite) -> None:
        super().__init__(daemon=True)
        self._site = site
        self._end = threading.Event()
        self.good = self.bad = 0
        self.longest = 0.0

    def run(self) -> None:
        last = time.monotonic()
        while not self._end.is_set():
            right = self._site.read() == self._site.value
            now = time.monotonic()
            if right:
                self.good += 1
                self.longest = max(self.longest, now - last)
                last = now
            else:
                self.bad += 1
            self._end.wait(0.2)

    def stop(self) -> None:
        """Stop it."""
        self._end.set()
        self.join(10)
