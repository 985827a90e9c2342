# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A correct declaration, people with keys, and a server in memory."""

from __future__ import annotations

import base64
import dataclasses
import secrets
import subprocess
import typing as t
from pathlib import Path

import pyrage
import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, Unreachable
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import admin_apply, init_apply
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.root_plan import encode_token
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import Node


def run_program(command: t.Sequence[str], data: bytes) -> tuple[int, bytes, bytes]:
    """Run gpg as the modules do."""
    done = subprocess.run(list(command), input=data, capture_output=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="session")
def identities() -> list[pyrage.x25519.Identity]:
    return [pyrage.x25519.Identity.generate() for _other in range(3)]


@pytest.fixture(scope="session")
def pgp(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Path]:
    """A folder with pgp.asc, private.asc and noenc.asc, and the keyring they are of."""
    home = tmp_path_factory.mktemp("g")
    home.chmod(0o700)
    base = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]

    def gpg(*args: str) -> bytes:
        return subprocess.run([*base, *args], check=True, capture_output=True, timeout=60).stdout

    try:
        gpg("--quick-generate-key", "Pat <pat@example.org>", "rsa2048", "encrypt,sign", "never")
        gpg("--quick-generate-key", "Sig <sig@example.org>", "ed25519", "sign", "never")
        (home / "pgp.asc").write_bytes(gpg("--armor", "--export", "pat@example.org"))
        (home / "pgp.gpg").write_bytes(gpg("--export", "pat@example.org"))
        (home / "private.asc").write_bytes(gpg("--armor", "--export-secret-keys", "pat@example.org"))
        (home / "noenc.asc").write_bytes(gpg("--armor", "--export", "sig@example.org"))
        yield home
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False, timeout=60)


@pytest.fixture
def params(tmp_path: Path, identities: list[pyrage.x25519.Identity]) -> dict[str, t.Any]:
    folder = tmp_path / "shares"
    folder.mkdir(mode=0o700)
    return {
        "nodes": [{"name": f"n{i}", "url": f"https://192.0.2.{i}:8200"} for i in range(3)],
        "holders": [
            {"name": name, "age_recipient": str(identities[i].to_public())}
            for i, name in enumerate(("ada", "bob", "cyd"))
        ],
        "shares": 3,
        "threshold": 2,
        "output_dir": str(folder),
        "unseal": True,
        "wait_timeout": 5.0,
        "admin": {"username": "platform-admin", "password": "0123456789abcdef"},
    }


@dataclasses.dataclass(frozen=True)
class Reply:
    status: int
    body: dict[str, t.Any] = dataclasses.field(default_factory=dict)


class Cluster:
    """Three OpenBao servers as far as these modules can tell, and what they were asked."""

    def __init__(self, *, recovery_seal: bool = False, shares: int = 3, threshold: int = 2) -> None:
        self.recovery_seal = recovery_seal
        self.root = "hvs." + secrets.token_hex(12)
        self.shares = [secrets.token_bytes(32) + bytes([i + 1]) for i in range(shares)]
        self.threshold = threshold
        self.initialised = False
        self.joined = 99  # looks at the other nodes until they have joined
        self.unsealed: dict[str, set[bytes]] = {}
        self.policies: dict[str, str] = {}
        self.mounts = {"token/": {"type": "token"}}
        self.users: dict[str, dict[str, t.Any]] = {}
        self.live = {self.root: {"policies": ["root"], "accessor": "a-root"}}
        self.asked: list[tuple[str, str, str, dict[str, t.Any]]] = []
        self.faults: dict[tuple[str, str], t.Callable[[], HackspaceError | None]] = {}
        self.attempt: dict[str, t.Any] | None = None

    def up(self, node: str) -> bool:
        return self.initialised and (self.recovery_seal or len(self.unsealed.get(node, ())) >= self.threshold)

    def connect(self, node: Node) -> Api:
        return Api(self, node.name)

    def login_as(self, admin: t.Any) -> Api:
        api = Api(self, "n0")
        api.admin = admin
        return api

    def flow(self, **changes: t.Any) -> init_apply.Flow:
        now = [0.0]

        def sleep(seconds: float) -> None:
            now[0] += seconds

        return init_apply.Flow(
            **{"connect": self.connect, "login_as": self.login_as, "sleep": sleep, "clock": lambda: now[0], **changes}
        )


class Api:
    """One connection."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        self.cluster, self.node = cluster, node
        self.token: str | None = None
        self.admin: t.Any = None

    def use_token(self, token: Secret) -> None:
        self.token = token.reveal()

    def login(self) -> None:
        user = self.cluster.users.get(self.admin.username) if self.admin else None
        if not user or user["password"] != self.admin.password.reveal():
            raise HackspaceError("refused", rule="login", status=403)
        self.token = "hvs.admin"
        self.cluster.live[self.token] = {"policies": ["default", *user["token_policies"]], "accessor": "a-admin"}

    def close(self) -> None:
        if self.admin:
            self.cluster.live.pop(self.token or "", None)

    def request(
        self,
        method: str,
        path: str,
        body: t.Mapping[str, t.Any] | None = None,
        *,
        ok: t.Collection[int] = (200, 204),
        token: bool = True,
        timeout: float | None = None,
        quiet: bool = False,
    ) -> Reply:
        self.cluster.asked.append((self.node, method, path, dict(body or {})))
        fault = self.cluster.faults.get((method, path))
        problem = fault() if fault else None
        if problem is not None:
            raise problem
        reply = self._answer(method, path, dict(body or {}), token=token)
        if reply.status not in ok:
            raise HackspaceError(f"HTTP {reply.status}", rule="http-status", status=reply.status)
        return reply

    def _answer(self, method: str, path: str, body: dict[str, t.Any], *, token: bool) -> Reply:
        c = self.cluster
        if path == "sys/seal-status":
            told = c.initialised and (self.node == "n0" or c.joined <= 0)
            if self.node != "n0":
                c.joined -= 1
            return Reply(
                200,
                {
                    "type": "awskms" if c.recovery_seal else "shamir",
                    "recovery_seal": c.recovery_seal,
                    "initialized": told,
                    "sealed": not c.up(self.node),
                    "t": c.threshold if told else 0,
                    "n": len(c.shares) if told else 0,
                    "cluster_name": "lab",
                    "cluster_id": "id",
                    "version": "2.6.2",
                },
            )
        if path == "sys/health":
            return Reply(200 if c.up(self.node) else 503)
        if path == "sys/init" and method == "GET":
            return Reply(200, {"initialized": c.initialised})
        if path == "sys/init":
            allowed = {f"{'recovery' if c.recovery_seal else 'secret'}_{x}" for x in ("shares", "threshold")}
            if set(body) != allowed:
                return Reply(400)
            c.initialised = True
            key = "recovery_keys" if c.recovery_seal else "keys"
            return Reply(200, {key: [s.hex() for s in c.shares], "root_token": c.root})
        if path == "sys/unseal":
            c.unsealed.setdefault(self.node, set()).add(bytes.fromhex(body["key"]))
            return Reply(200, {"sealed": not c.up(self.node)})
        if path.startswith("sys/generate-root"):
            return self._root(method, path, body)
        if token and self.token not in c.live:
            return Reply(403)
        return self._authenticated(method, path, body)

    def _root(self, method: str, path: str, body: dict[str, t.Any]) -> Reply:
        c = self.cluster
        if path.endswith("/attempt") and method == "DELETE":
            c.attempt = None
            return Reply(204)
        if path.endswith("/attempt") and method == "PUT":
            c.attempt = {"nonce": "n-1", "otp": "x" * len(c.root), "keys": set()}
            return Reply(200, {"nonce": "n-1", "otp": c.attempt["otp"], "started": True, "required": c.threshold})
        if path.endswith("/attempt"):
            return Reply(200, {"started": c.attempt is not None, "required": c.threshold, "progress": 0})
        assert c.attempt is not None
        c.attempt["keys"].add(bytes.fromhex(body["key"]))
        if len(c.attempt["keys"]) < c.threshold:
            return Reply(200, {"complete": False})
        if not c.attempt["keys"] <= set(c.shares):
            return Reply(400)
        otp, c.attempt = c.attempt["otp"], None
        return Reply(200, {"complete": True, "encoded_token": encode_token(c.root, otp)})

    def _authenticated(self, method: str, path: str, body: dict[str, t.Any]) -> Reply:
        c = self.cluster
        if path == "auth/token/revoke-self":
            c.live.pop(self.token or "", None)
            return Reply(204)
        if path == "auth/token/lookup-self":
            return Reply(200, {"data": c.live[self.token or ""]})
        if path == "sys/auth":
            return Reply(200, {"data": c.mounts})
        if path.startswith("sys/auth/"):
            c.mounts[path.removeprefix("sys/auth/") + "/"] = body
            return Reply(204)
        if path.startswith("sys/policies/acl/"):
            name = path.rsplit("/", 1)[1]
            if method == "GET":
                return Reply(200, {"data": {"policy": c.policies[name]}}) if name in c.policies else Reply(404)
            c.policies[name] = body["policy"]
            return Reply(204)
        if path.startswith("auth/userpass/users/"):
            name = path.rsplit("/", 1)[1]
            if method == "GET":
                return Reply(200, {"data": {}}) if name in c.users else Reply(404)
            c.users[name] = body
            return Reply(204)
        if path == "auth/token/accessors":
            return Reply(200, {"data": {"keys": [v["accessor"] for v in c.live.values()]}})
        if path == "auth/token/lookup-accessor":
            return Reply(200, {"data": next(v for v in c.live.values() if v["accessor"] == body["accessor"])})
        if path == "auth/token/revoke-accessor":
            c.live = {k: v for k, v in c.live.items() if v["accessor"] != body["accessor"]}
            return Reply(204)
        raise AssertionError(f"{method} {path} is not played")


def cut() -> HackspaceError:
    return Unreachable("no answer: the connection was cut.", rule="cut")


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


__all__ = ["Api", "Cluster", "admin_apply", "b64", "cut"]
