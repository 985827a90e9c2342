# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""openbao_snapshot in this process on real servers, and what only a test may do with them."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import fingerprint
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import share_record
from ansible_collections.hackspace.infra.plugins.modules import openbao_snapshot

from lab.api import Lab

HOLDERS = ("ada", "bo", "cleo", "dan", "eve")
_COUNTER = itertools.count(1)


@dataclasses.dataclass
class Bao:
    """The OpenBao of a lab."""

    lab: Lab
    root: str

    @property
    def active(self) -> str:
        name = self.lab.openbao_active()
        assert name, "no active node"
        return name

    def node(self, name: str, **changes: str) -> dict[str, t.Any]:
        """One entry of the option C(nodes)."""
        found = next(n for n in self.lab.openbao_nodes if n.name == name)
        return {"name": name, "url": found.address, "tls_server_name": found.tls_server_name, **changes}

    def args(self, **changes: t.Any) -> dict[str, t.Any]:
        """Arguments of the module; ``None`` leaves one out."""
        base = {
            "nodes": [self.node(n.name) for n in self.lab.openbao_nodes],
            "ca_cert": str(self.lab.openbao_ca),
            "token": self.root,
        }
        return {name: value for name, value in {**base, **changes}.items() if value is not None}

    def call(self, *, check: bool = False, **changes: t.Any) -> dict[str, t.Any]:
        """Run the module in this process; errors come as HackspaceError."""
        with patch_module_args({**self.args(**changes), "_ansible_check_mode": check, "_ansible_diff": True}):
            module = openbao_snapshot.SPEC.create_module()
        warned: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AnsibleModule, "warn", lambda _module, text, **_options: warned.append(text))
            result = dict(openbao_snapshot.main(module))
        return {**result, "warnings": warned}

    def error(self, rule: str, **changes: t.Any) -> HackspaceError:
        """Run the module, which must fail by *rule*."""
        with pytest.raises(HackspaceError) as caught:
            self.call(**changes)
        assert caught.value.rule == rule, str(caught.value)
        assert caught.value.fix
        return caught.value

    def ask(
        self, method: str, path: str, body: t.Any = None, *, token: str | None = None, ok: bool = True
    ) -> tuple[int, dict[str, t.Any]]:
        """Ask the active node as root, or with *token*."""
        answer = self.lab.openbao_server(self.active).request(
            method, f"/v1/{path}", body, token=self.root if token is None else token
        )
        assert not ok or answer.status < 300, (method, path, answer)
        return answer.status, answer.body or {}

    def token(self, policy: str) -> str:
        """Return a token with an OpenBao policy of this text, and nothing else."""
        name = f"test-{next(_COUNTER)}"
        self.ask("PUT", f"sys/policies/acl/{name}", {"policy": policy})
        body = {"policies": [name], "no_default_policy": True, "ttl": "10m"}
        return str(self.ask("POST", "auth/token/create", body)[1]["auth"]["client_token"])

    def record_shares(self, folder: Path, shares: t.Sequence[str], generation: str, threshold: int = 3) -> Path:
        """Write a record of unseal shares, as openbao_init does."""
        status = self.ask("GET", "sys/seal-status")[1]
        folder.mkdir(mode=0o700, exist_ok=True)
        share_record.write(
            str(folder),
            share_record.Record(
                state="complete",
                generation=generation,
                made_at=share_record.now(),
                kind="unseal",
                threshold=threshold,
                cluster={"cluster_name": status["cluster_name"], "cluster_id": status["cluster_id"]},
                holders=tuple(
                    share_record.Entry(name, f"{name}.age", fingerprint=fingerprint(bytes.fromhex(share)))
                    for name, share in zip(HOLDERS, shares, strict=True)
                ),
            ),
        )
        return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for snapshots."""
    path = tmp_path / "snapshots"
    path.mkdir(mode=0o700)
    return path


def files(folder: Path) -> list[str]:
    """Return the names of all files."""
    return sorted(path.name for path in folder.iterdir())
