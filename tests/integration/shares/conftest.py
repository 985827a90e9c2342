# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site whose shares are made anew: three servers, initialised by the module, and people who come and go."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
import typing as t
from pathlib import Path

import pytest

from lab.api import Lab
from tests.integration.init.conftest import PASSWORD, ROOT, Ran
from tests.integration.init.conftest import Site as InitSite
from tests.integration.kube.conftest import kill_tree


@dataclasses.dataclass(frozen=True)
class Key:
    """A PGP key of a person, in a keyring of its own."""

    home: Path
    public: Path

    def decrypt(self, text: bytes) -> str:
        gpg = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--pinentry-mode", "loopback"]
        done = subprocess.run(
            [*gpg, "--passphrase", "", "--decrypt"], input=text, capture_output=True, check=True, timeout=60
        )
        return done.stdout.decode()


class Site(InitSite):
    """The lab's servers with shares of a threshold of two of three."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        super().__init__(lab, folder)
        self.pgp_shares: dict[str, str] = {}

    def wanted(self, *names: str) -> list[dict[str, str]]:
        """Return holders with their age recipients."""
        known = {h.name: h for h in self.lab.holders}
        return [{"name": n, "age_recipient": known[n].age_recipient} for n in names]

    def source(self, name: str, generation: str = "") -> dict[str, str]:
        """Return how a holder gives the share by file; of a generation by its folder."""
        holder = next(h for h in self.lab.holders if h.name == name)
        folder = self.shares / "generations" / generation if generation else self.shares
        return {
            "name": name,
            "age_file": str(folder / f"{name}.age"),
            "age_identity_file": str(holder.age_identity_file),
        }

    def node(self, index: int = 0, url: str = "") -> dict[str, t.Any]:
        found = self.nodes[index]
        return {
            "url": url or found["url"],
            "tls_server_name": found["tls_server_name"],
            "ca_cert": str(self.lab.openbao_ca),
            "auth_method": "userpass",
            "username": "platform-admin",
            "password_file": str(self.password_file),
        }

    def rotation(self, *names: str, index: int = 0, url: str = "", **changes: t.Any) -> dict[str, t.Any]:
        """Return the arguments for shares of *names*, two of which unseal."""
        args: dict[str, t.Any] = {
            **self.node(index, url),
            "holders": self.wanted(*names),
            "shares": len(names),
            "threshold": 2,
            "output_dir": str(self.shares),
        }
        return {**args, **changes}

    def rotate(self, *names: str, flags: t.Sequence[str] = (), **changes: t.Any) -> Ran:
        return self.run("openbao_share_rotation", self.rotation(*names, **changes), *flags)

    def record(self) -> dict[str, t.Any]:
        data: dict[str, t.Any] = json.loads((self.shares / "shares.json").read_text())
        return data

    def keys(self, folder: Path | None = None) -> dict[str, str]:
        """Every holder's share, from the files in a folder."""
        found = (folder or self.shares).iterdir()
        return {p.stem: self.decrypt(p.stem, p.read_bytes()) for p in found if p.suffix == ".age"}

    def opens(self, shares: t.Sequence[str], node: int = 0) -> bool:
        """Say whether *shares* unseal a sealed node; a refused round leaves it sealed."""
        answer = None
        for share in shares:
            answer = self.ask("PUT", "sys/unseal", {"key": share}, node=node)
        assert answer is not None
        return answer.status_code == 200 and not answer.json()["sealed"]

    def by_hand(self, method: str, body: t.Any = None) -> dict[str, t.Any]:
        """Ask for the server's attempt, begin or cancel one, as an administrator without the collection would."""
        path, token = "sys/rekey/init", None
        if os.environ.get("OPENBAO_BIN"):
            path = "sys/rotate/root/init"
            password = {"password": self.password_file.read_text().strip()}
            login = self.ask("PUT", "auth/userpass/login/platform-admin", password)
            token = login.json()["auth"]["client_token"]
        answer = self.ask(method, path, body, token=token)
        found: dict[str, t.Any] = answer.json() if answer.content else {}
        return found.get("data") or found

    def attempt(self) -> dict[str, t.Any]:
        return self.by_hand("GET")

    def unseal_all(self, shares: t.Sequence[str]) -> None:
        for node in range(3):
            assert self.opens(shares, node)
        for _second in range(120):
            if any(self.ask("GET", "sys/health", node=n).status_code == 200 for n in range(3)):
                return
            time.sleep(0.25)
        raise AssertionError("no node became active")

    def back(self) -> None:
        """Give the shares back to ada, bo and cleo, whatever a test has left behind."""
        self.by_hand("DELETE")
        if self.record().get("rotation"):
            record = {k: v for k, v in self.record().items() if k != "rotation"}
            (self.shares / "shares.json").write_text(json.dumps(record))
        holders = self.record()["holders"]
        if [h["holder"] for h in holders] == ["ada", "bo", "cleo"] and all(h["fingerprint"] for h in holders):
            return
        shares = self.given()
        sources = [{"name": h["holder"], "share": shares[h["holder"]]} for h in holders if h["holder"] in shares]
        ran = self.rotate("ada", "bo", "cleo", current_holders=sources[:2])
        assert ran.rc == 0, ran.output
        assert ran.result["state"] == "complete"

    def given(self) -> dict[str, str]:
        """The shares in force that this test can read."""
        return {**self.keys(), **self.pgp_shares}


def killed(site: Site, args: dict[str, t.Any], method: str, path: str, *, skip: int = 0) -> None:
    """Run until the server has answered a request, then end the module as a power cut would."""
    with site.lab.proxy("openbao-0") as proxy:
        seen = [0]

        def kill(_method: str, _path: str) -> None:
            seen[0] += 1
            if seen[0] == skip + 1:
                kill_tree(process.pid)

        proxy.call(kill, "after", method=method, path=path, count=None)
        command = site.command("openbao_share_rotation", {**args, "url": proxy.address})
        process = subprocess.Popen(
            command,
            env=site.environment(),
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        process.communicate(timeout=120)
        assert seen[0], "the request was never sent"


@pytest.fixture(scope="package")
def shares_lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    lab = Lab("shares", tmp_path_factory.mktemp("lab"))
    lab.up(["openbao"])
    try:
        yield lab
    finally:
        lab.down(wipe=True)


def begin(lab: Lab, folder: Path) -> Site:
    """Return a site initialised for ada, bo and cleo, all of its nodes unsealed."""
    site = Site(lab, folder)
    args = site.init_args(shares=3, threshold=2, holders=site.wanted("ada", "bo", "cleo"))
    ran = site.run("openbao_init", args)
    assert ran.rc == 0, ran.output
    return site


@pytest.fixture(scope="package")
def living_site(shares_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return begin(shares_lab, tmp_path_factory.mktemp("site"))


@pytest.fixture
def site(living_site: Site) -> Site:
    """The site with shares of ada, bo and cleo in force."""
    living_site.back()
    return living_site


@pytest.fixture(scope="package")
def pgp_keys(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[dict[str, Key]]:
    """Keys of three people for whom the server encrypts."""
    found: dict[str, Key] = {}
    try:
        for name in ("pia", "quin", "rolf"):
            home = tmp_path_factory.mktemp(name)
            home.chmod(0o700)
            gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback"]
            made = [*gpg, "--passphrase", "", "--quick-generate-key", f"{name}@example.org", "rsa2048", "encrypt,sign"]
            subprocess.run([*made, "never"], check=True, capture_output=True, timeout=120)
            public = home / "public.asc"
            public.write_bytes(
                subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True, timeout=60).stdout
            )
            found[name] = Key(home, public)
        yield found
    finally:
        for key in found.values():
            subprocess.run(["gpgconf", "--homedir", str(key.home), "--kill", "gpg-agent"], check=False, timeout=60)


__all__ = ["PASSWORD", "ROOT", "Key", "Ran", "Site", "begin", "killed"]
