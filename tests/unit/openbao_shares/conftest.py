# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that makes new shares as Vault 1.13 was seen to, and as OpenBao is documented to; strict about requests."""

from __future__ import annotations

import dataclasses
import json
import secrets
import typing as t
from pathlib import Path

import pyrage
import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, Unreachable
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret, fingerprint
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import (
    rotation_apply,
    rotation_model,
    rotation_plan,
    share_record,
    versions,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.shares import Share

NAMES = ("ada", "bo", "cleo", "dan")


@dataclasses.dataclass(frozen=True)
class Reply:
    status: int
    body: dict[str, t.Any]


class Killed(BaseException):
    """The run ends here, as by a power cut."""


def new_shares(count: int) -> list[bytes]:
    return [secrets.token_bytes(32) + bytes([i + 1]) for i in range(count)]


class Server:
    """One cluster's attempt."""

    def __init__(self, version: str = "1.13.2", *, recovery: bool = False, shares: int = 3, threshold: int = 2) -> None:
        self.version, self.recovery = version, recovery
        rotate = versions.parse(version).has_rotate
        self.base = {
            (True, False): "sys/rotate/root",
            (True, True): "sys/rotate/recovery",
            (False, False): "sys/rekey",
            (False, True): "sys/rekey-recovery-key",
        }[(rotate, recovery)]
        self.wrapped = rotate
        self.threshold = threshold
        self.shares = new_shares(shares)
        self.attempt: dict[str, t.Any] | None = None
        self.asked: list[tuple[str, str]] = []
        self.kill: tuple[str, str, int] | None = None
        self.cut: tuple[str, str, int] | None = None

    def status(self) -> dict[str, t.Any]:
        return {
            "initialized": True,
            "sealed": False,
            "t": self.threshold,
            "n": len(self.shares),
            "version": self.version,
            "recovery_seal": self.recovery,
            "cluster_id": "c-1",
            "cluster_name": "lab",
        }

    def restart(self) -> None:
        self.attempt = None

    # -- the transport -------------------------------------------------------------------------------------------------

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
        assert path in (f"{self.base}/{x}" for x in ("init", "update", "verify")), path
        assert token == self.wrapped, "a token goes to sys/rotate and nowhere else"
        what = path.rsplit("/", 1)[-1]
        self.asked.append((method, what))
        status, answer = getattr(self, f"_{what}")(method, dict(body or {}))
        count = self.asked.count((method, what))
        if self.kill == (method, what, count):
            raise Killed
        if self.cut == (method, what, count):
            raise Unreachable("cut", rule="cut")
        if status not in ok:
            raise HackspaceError(f"HTTP {status}", status=status, rule="http-status")
        return Reply(status, {"data": answer} if self.wrapped and status == 200 else answer)

    def use_token(self, _token: Secret) -> None:
        raise AssertionError

    def login(self) -> None: ...

    def close(self) -> None: ...

    # -- endpoints -----------------------------------------------------------------------------------------------------

    def _shown(self) -> dict[str, t.Any]:
        a = self.attempt
        if a is None:
            return {"nonce": "", "started": False, "t": 0, "n": 0, "progress": 0, "required": self.threshold}
        found = {"nonce": a["nonce"], "started": True, "t": a["t"], "n": a["n"], "progress": len(a["given"])}
        found |= {"required": self.threshold, "verification_required": True}
        if a["new"]:
            found["verification_nonce"] = a["verify_nonce"]
        return found

    def _init(self, method: str, body: dict[str, t.Any]) -> tuple[int, dict[str, t.Any]]:
        if method == "DELETE":
            self.attempt = None
            return 204, {}
        if method == "PUT":
            assert set(body) <= {"secret_shares", "secret_threshold", "require_verification", "pgp_keys"}
            assert body["require_verification"] is True
            if self.attempt:
                return 400, {"errors": ["rekey already in progress"]}
            self.attempt = {"nonce": secrets.token_hex(4), "n": body["secret_shares"], "t": body["secret_threshold"]}
            self.attempt |= {"given": [], "new": [], "verified": [], "verify_nonce": ""}
        return 200, self._shown()

    def _update(self, method: str, body: dict[str, t.Any]) -> tuple[int, dict[str, t.Any]]:
        assert method == "PUT"
        assert set(body) == {"key", "nonce"}
        a = self.attempt
        if a is None or body["nonce"] != a["nonce"]:
            return 400, {"errors": ["no barrier rekey in progress"]}
        if a["new"]:
            return 400, {"errors": ["rekey operation already finished"]}
        raw = bytes.fromhex(body["key"])
        if raw in a["given"]:
            return 400, {"errors": ["given key has already been provided during this generation operation"]}
        a["given"].append(raw)
        if len(a["given"]) < self.threshold:
            return 200, self._shown()
        good = all(g in self.shares for g in a["given"])
        a["given"] = []
        if not good:
            return 500, {"errors": ["failed to read root key: invalid key"]}
        a["new"], a["verify_nonce"] = new_shares(a["n"]), secrets.token_hex(4)
        keys = [k.hex() for k in a["new"]]
        return 200, {"complete": True, "keys": keys, "nonce": a["nonce"], "verification_nonce": a["verify_nonce"]}

    def _verify(self, method: str, body: dict[str, t.Any]) -> tuple[int, dict[str, t.Any]]:
        a = self.attempt
        if a is None or not a["new"]:
            return 400, {"errors": ["no rekey configuration found"]}
        shown = {"nonce": a["verify_nonce"], "started": True, "progress": len(a["verified"])}
        if method == "GET":
            return 200, shown
        if body["nonce"] != a["verify_nonce"]:
            return 400, {"errors": ["incorrect nonce supplied"]}
        raw = bytes.fromhex(body["key"])
        if raw in a["verified"]:
            return 400, {"errors": ["given key has already been provided during this verify operation"]}
        a["verified"].append(raw)
        if len(a["verified"]) < a["t"]:
            return 200, {**shown, "progress": len(a["verified"])}
        good = all(v in a["new"] for v in a["verified"])
        a["verified"], a["verify_nonce"] = [], secrets.token_hex(4)
        if not good:
            return 400, {"errors": ["rekey verification failed; incorrect key shares supplied"]}
        self.shares, self.threshold, self.attempt = a["new"], a["t"], None
        return 200, {"nonce": body["nonce"], "complete": True}


class Site:
    """A folder with a record, people with keys, and runs of the module's steps without Ansible."""

    def __init__(self, folder: Path, server: Server, identities: dict[str, pyrage.x25519.Identity]) -> None:
        self.folder, self.server, self.identities = folder, server, identities
        self.warnings: list[str] = []
        folder.mkdir(mode=0o700)
        entries = []
        for name, raw in zip(NAMES, server.shares, strict=False):
            recipient = identities[name].to_public()
            (folder / f"{name}.age").write_bytes(pyrage.encrypt(raw.hex().encode(), [recipient], armored=True))
            entries.append(share_record.Entry(name, f"{name}.age", str(recipient), fingerprint(raw)))
        record = share_record.Record(
            "complete", "0" * 16, "2026-01-01T00:00:00Z", "unseal", server.threshold, tuple(entries)
        )
        share_record.write(str(folder), record)

    def params(self, *names: str, **changes: t.Any) -> dict[str, t.Any]:
        holders = [{"name": n, "age_recipient": str(self.identities[n].to_public())} for n in names]
        params = {
            "holders": holders,
            "shares": len(names),
            "threshold": 2,
            "single_share": False,
            "output_dir": str(self.folder),
            "encrypt_on": "controller",
            "on_progress": "resume",
            "replace_generation": None,
        }
        return {**params, **changes}

    def decide(self, *names: str, **changes: t.Any) -> tuple[rotation_apply.Rotator, rotation_plan.Decision]:
        wanted = rotation_model.parse_wanted(self.params(*names, **changes), lambda *_: (127, b"", b""))
        record = share_record.read(str(self.folder))
        status = self.server.status()
        server = rotation_apply.read_server(self.server, status, versions.of(status))
        decision = rotation_plan.decide(record, wanted, server)
        if decision.phase != "none":
            rotation_apply.preflight(wanted, record, decision)
        return rotation_apply.Rotator(self.server, wanted, server, record), decision

    def run(self, *names: str, given: t.Sequence[Share] = (), **changes: t.Any) -> rotation_apply.Rotator:
        rotator, decision = self.decide(*names, **changes)
        rotator.run(decision, given)
        self.warnings = [*decision.warnings, *rotator.warnings]
        return rotator

    def record(self) -> share_record.Record:
        found = share_record.read(str(self.folder))
        assert found
        return found

    def read(self, name: str, folder: Path | None = None) -> bytes:
        text = ((folder or self.folder) / f"{name}.age").read_bytes()
        return bytes.fromhex(bytes(pyrage.decrypt(text, [self.identities[name]])).decode())

    def shares(self, *names: str, generation: str = "") -> list[Share]:
        folder = self.folder / "generations" / generation if generation else self.folder
        return [Share(n, Secret(self.read(n, folder).hex())) for n in names]

    def opens(self) -> bool:
        """Say whether the files at the top are the shares in force, and all of them."""
        record = self.record()
        assert record.rotation is None
        files = sorted(p.name for p in self.folder.glob("*.age"))
        assert files == sorted(e.file for e in record.holders)
        return {self.read(e.holder) for e in record.holders} == set(self.server.shares)

    def text(self) -> str:
        return json.dumps([p.read_text(errors="replace") for p in self.folder.rglob("*") if p.is_file()])


@pytest.fixture(scope="session")
def identities() -> dict[str, pyrage.x25519.Identity]:
    return {name: pyrage.x25519.Identity.generate() for name in NAMES}


@pytest.fixture(params=["1.13.2", "2.3.2", "2.4.0", "2.6.2"])
def site(request: pytest.FixtureRequest, tmp_path: Path, identities: dict[str, pyrage.x25519.Identity]) -> Site:
    return Site(tmp_path / "shares", Server(request.param), identities)
