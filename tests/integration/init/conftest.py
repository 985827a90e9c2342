# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site with three fresh OpenBao servers, and people who keep shares."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pyrage
import pytest
import requests
from requests.adapters import HTTPAdapter

from lab.api import Lab, Proxy

ROOT = Path(__file__).parents[3]
PASSWORD = "correct-horse-battery-staple-417"


@dataclasses.dataclass
class Ran:
    """What one run of a module gave and printed."""

    rc: int
    output: str
    result: dict[str, t.Any]


class _Named(HTTPAdapter):
    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def init_poolmanager(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().init_poolmanager(*args, server_hostname=self._name, assert_hostname=self._name, **kwargs)


class Site:
    """The lab's servers as a user of the collection sees them, and what only a test may do with them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.nodes = [
            {"name": n.name, "url": n.address, "tls_server_name": n.tls_server_name} for n in lab.openbao_nodes
        ]
        self.shares = folder / "shares"
        self.shares.mkdir(mode=0o700)
        self.password_file = folder / "password"
        self.password_file.write_text(PASSWORD + "\n")
        self.password_file.chmod(0o600)
        self.admin: dict[str, t.Any] = {"username": "platform-admin", "password_file": str(self.password_file)}

    @property
    def holders(self) -> list[dict[str, str]]:
        """Four with age, one with PGP."""
        return [
            {"name": h.name, "pgp_public_key_file": str(h.pgp_public_key)}
            if h.pgp_public_key
            else {"name": h.name, "age_recipient": h.age_recipient}
            for h in self.lab.holders
        ]

    def init_args(self, **changes: t.Any) -> dict[str, t.Any]:
        args: dict[str, t.Any] = {
            "nodes": self.nodes,
            "ca_cert": str(self.lab.openbao_ca),
            "shares": 5,
            "threshold": 3,
            "holders": self.holders,
            "output_dir": str(self.shares),
            "admin": self.admin,
        }
        return {k: v for k, v in {**args, **changes}.items() if v is not None}

    def root_args(self, shares: t.Sequence[tuple[str, str]], **changes: t.Any) -> dict[str, t.Any]:
        node = self.nodes[0]
        args: dict[str, t.Any] = {
            "url": node["url"],
            "tls_server_name": node["tls_server_name"],
            "ca_cert": str(self.lab.openbao_ca),
            "auth_method": "none",
            "holders": [{"name": holder, "share": share} for holder, share in shares],
            "admin": self.admin,
        }
        return {k: v for k, v in {**args, **changes}.items() if v is not None}

    def through(self, proxy: Proxy) -> list[dict[str, t.Any]]:
        """Return the nodes, the first one by the proxy."""
        return [{**self.nodes[0], "url": proxy.address}, *self.nodes[1:]]

    def command(self, module: str, args: dict[str, t.Any], *flags: str) -> list[str]:
        """Return the command that runs *module*; its arguments are in a file of mode 0600."""
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "tasks": [{f"hackspace.infra.{module}": args}],
        }
        path = self.folder / "play.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps([play]))
        return [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(path), *flags]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "ansible"),
        }

    def run(self, module: str, args: dict[str, t.Any], *flags: str) -> Ran:
        done = subprocess.run(
            self.command(module, args, *flags),
            env=self.environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        begin = done.stdout.find('{\n    "custom_stats"')
        report = json.loads(done.stdout[begin:]) if begin >= 0 else {}
        plays = report.get("plays") or [{"tasks": []}]
        results = [task["hosts"]["localhost"] for task in plays[0]["tasks"]]
        return Ran(done.returncode, done.stdout + done.stderr, results[0] if results else {})

    def ask(
        self, method: str, path: str, body: t.Any = None, *, node: int = 0, token: str | None = None
    ) -> requests.Response:
        """Ask a server directly."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.lab.openbao_ca)
        session.mount("https://", _Named(str(self.nodes[node]["tls_server_name"])))
        headers = {"X-Vault-Token": token} if token else {}
        with session:
            return session.request(
                method, f"{self.nodes[node]['url']}/v1/{path}", json=body, headers=headers, timeout=20
            )

    def admin_token(self) -> str:
        answer = self.ask("POST", "auth/userpass/login/platform-admin", {"password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["auth"]["client_token"])

    def root_tokens(self) -> int:
        """Count the root tokens that live."""
        token = self.admin_token()
        listed = self.ask("LIST", "auth/token/accessors", token=token).json()["data"]["keys"]
        found = [self.ask("POST", "auth/token/lookup-accessor", {"accessor": a}, token=token).json() for a in listed]
        return sum("root" in one["data"]["policies"] for one in found if "data" in one)

    def decrypt(self, name: str, text: bytes) -> str:
        """Decrypt as the holder *name* would."""
        holder = next(h for h in self.lab.holders if h.name == name)
        if text.startswith(b"-----BEGIN PGP MESSAGE"):
            home = self.folder / "gpg"
            home.mkdir(mode=0o700, exist_ok=True)
            gpg = [
                "gpg",
                "--homedir",
                str(home),
                "--batch",
                "--quiet",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                "",
            ]
            try:
                subprocess.run(
                    [*gpg, "--import", str(holder.pgp_private_key)], check=True, capture_output=True, timeout=60
                )
                done = subprocess.run([*gpg, "--decrypt"], input=text, capture_output=True, check=True, timeout=60)
            finally:
                subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False, timeout=60)
            return done.stdout.decode()
        lines = holder.age_identity_file.read_text().splitlines()
        identity = pyrage.x25519.Identity.from_str(next(x for x in lines if x.startswith("AGE-SECRET-KEY-")))
        return bytes(pyrage.decrypt(text, [identity])).decode()

    def age_source(self, name: str) -> dict[str, str]:
        """Return how a holder gives the share by file."""
        holder = next(h for h in self.lab.holders if h.name == name)
        path = self.shares / f"{name}.age"
        return {"name": name, "age_file": str(path), "age_identity_file": str(holder.age_identity_file)}

    def decrypted(self) -> dict[str, str]:
        """Every holder's share, from its file."""
        files = {p.stem: p for p in self.shares.iterdir() if p.suffix in (".age", ".asc")}
        return {name: self.decrypt(name, path.read_bytes()) for name, path in files.items()}


@pytest.fixture(scope="package")
def init_lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    lab = Lab("init", tmp_path_factory.mktemp("lab"))
    lab.up(["openbao"])
    try:
        yield lab
    finally:
        lab.down(wipe=True)


@pytest.fixture
def site(init_lab: Lab, tmp_path: Path) -> Site:
    """Three servers that nobody has initialised."""
    init_lab.reset()
    return Site(init_lab, tmp_path)


@pytest.fixture
def living(site: Site) -> Site:
    """A site that was initialised by the module; its first node is unsealed."""
    ran = site.run("openbao_init", site.init_args(unseal=False))
    assert ran.rc == 0, ran.output
    return site
