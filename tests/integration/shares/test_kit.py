# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A holder with nothing but the kit and plain Python unseals; no package index can be reached from there."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import typing as t
import urllib.parse
import warnings
from pathlib import Path

import pytest

from . import alone
from .conftest import ROOT, Key, Site

#: Ways to a network of our own; the second needs root.
NAMESPACES = (["unshare", "--net", "--user", "--map-root-user"], ["unshare", "--net"])


class Holder:
    """Somebody who got the archive and has a Python without any packages, the own files, and nothing else.

    What is typed is what the guide says, in a network that has OpenBao's servers and nothing else.
    """

    def __init__(self, home: Path, python: Path, archive: Path, network: list[str]) -> None:
        self.home = home
        self.environment = {"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": str(home), "TERM": "dumb"}
        self.network = network
        shutil.copy(archive, home)
        with tarfile.open(archive) as packed:
            guide = packed.extractfile("unseal-openbao/README.txt")
            assert guide
            self.guide = guide.read().decode()
        self.kit = home / "unseal-openbao"
        unpacked = self.run(self.step("Unpack"), at=home)
        assert unpacked.returncode == 0, unpacked.stderr

    def step(self, name: str, **words: str) -> str:
        """Return the command that the guide gives after a name, with the holder's words."""
        found = re.search(rf"^(?:\d\.|  ) *{name}: +(.*?)(?: {{2,}}|$)", self.guide, re.MULTILINE)
        assert found, self.guide
        command = found[1]
        for word, value in words.items():
            assert word in command, command
            command = command.replace(word, value)
        return command

    def argv(self, command: str) -> list[str]:
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return [*self.network, "env", "-i", *variables, "sh", "-c", command]

    def run(self, command: str, at: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(command), cwd=at or self.kit, capture_output=True, text=True, check=False, timeout=120
        )

    def types(self, command: str, question: str, answer: str) -> tuple[int, str]:
        """Run the command on a terminal and type the answer once the question is there."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.kit)
            argv = self.argv(command)
            os.execvp(argv[0], argv)  # noqa: S606 (no shell is wanted)
        seen, typed, deadline = "", False, time.monotonic() + 120
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    data = os.read(terminal, 65536)
                except OSError:
                    break
                if not data:
                    break
                seen += data.decode(errors="replace")
            if not typed and question in seen:
                typed = True
                time.sleep(0.3)  # Ansible drops what was typed before it asks
                os.write(terminal, answer.encode() + b"\r")
        else:
            os.kill(pid, signal.SIGKILL)
        state = os.waitpid(pid, 0)[1]
        os.close(terminal)
        assert typed, seen
        return os.waitstatus_to_exitcode(state), seen


@pytest.fixture(scope="module")
def made(living_site: Site) -> tuple[dict[str, t.Any], Path]:
    place = living_site.folder / "kit"
    place.mkdir()
    args = {
        "path": str(place / "unseal-openbao"),
        "nodes": living_site.nodes,
        "ca_cert": str(living_site.lab.openbao_ca),
        "holders": ["ada", "bo", "cleo"],
        "threshold": 2,
        "collection_dir": str(ROOT),
        "program": str(ROOT / "roles" / "openbao_shares" / "files" / "unseal.py"),
    }
    ran = living_site.run("openbao_holder_kit", args)
    assert ran.rc == 0, ran.output
    assert ran.result["changed"]
    again = living_site.run("openbao_holder_kit", args, "--check")
    assert again.rc == 0, again.output
    assert not again.result["changed"]
    assert again.result["sha256"] == ran.result["sha256"]
    return args, Path(ran.result["archive"])


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has its own library and not one package."""
    place = tmp_path_factory.mktemp("python")
    subprocess.run([os.path.realpath(sys.executable), "-m", "venv", "--without-pip", str(place)], check=True)
    found = place / "bin" / "python3"
    for package in ("ansible", "yaml", "requests", "pip"):
        assert subprocess.run([found, "-c", f"import {package}"], check=False, capture_output=True).returncode
    return found


@pytest.fixture
def network(site: Site) -> t.Iterator[list[str]]:
    """What goes before a command so that it reaches OpenBao's servers and nothing else."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        ports = [urllib.parse.urlsplit(str(n["url"])).port or 0 for n in site.nodes]
        stack.enter_context(alone.leading_out(folder, ports))
        elsewhere = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        probe = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)"
        for namespace in NAMESPACES:
            command = [*namespace, sys.executable, str(Path(alone.__file__)), str(folder)]
            reached = [
                subprocess.run([*command, sys.executable, "-c", probe, str(port)], capture_output=True, check=False)
                for port in (ports[0], elsewhere.getsockname()[1])
            ]
            if reached[0].returncode == 0:
                assert reached[1].returncode, "the network is not closed"
                yield command
                return
        warnings.warn("no rights to a network of its own: the kit was tried in that of this machine", stacklevel=1)
        yield []


@pytest.fixture
def holder(made: tuple[dict[str, t.Any], Path], tmp_path: Path, python: Path, network: list[str]) -> Holder:
    return Holder(tmp_path, python, made[1], network)


def test_holders_unseal_by_the_words_of_the_guide(site: Site, holder: Holder, pgp_keys: dict[str, Key]) -> None:
    shares = site.keys()
    files = [p for p in holder.kit.rglob("*") if p.is_file()]
    assert not [p for p in files if any(s.encode() in p.read_bytes() for s in shares.values())]
    assert len(holder.guide.splitlines()) <= 10
    keys = {h.name: h for h in site.lab.holders}
    shutil.copy(site.shares / "ada.age", holder.home)
    shutil.copy(keys["ada"].age_identity_file, holder.home / "my-identity")
    pia = pgp_keys["pia"]
    gpg = ["gpg", "--homedir", str(pia.home), "--batch", "--armor", "--trust-model", "always", "-r", "pia@example.org"]
    done = subprocess.run([*gpg, "--encrypt"], input=shares["bo"].encode(), capture_output=True, check=True, timeout=60)
    (holder.home / "bo.asc").write_bytes(done.stdout)

    site.lab.restart("openbao")
    status = holder.run(holder.step("Look"))
    assert status.returncode == 0, status.stdout + status.stderr
    assert "sealed" in status.stdout
    said = [status.stdout + status.stderr]
    asked = holder.types(holder.step("Unseal", YOURNAME="cleo"), "Unseal share of cleo", shares["cleo"])
    said.append(asked[1])
    assert asked[0] == 0, asked[1]
    assert "still needed: 1 unseal share(s) from ada, bo" in re.sub(r"\s+", " ", asked[1])
    command = holder.step("with an age file", YOURNAME="ada", IDENTITYFILE="my-identity")
    ran = holder.run(command)
    said.append(ran.stdout + ran.stderr)
    assert ran.returncode == 0, said
    assert "still needed" not in ran.stdout
    assert {site.ask("GET", "sys/seal-status", node=n).json()["sealed"] for n in range(3)} == {False}

    site.lab.restart("openbao-2")
    holder.environment["GNUPGHOME"] = str(pia.home)
    ran = holder.run(holder.step("with a PGP file", YOURNAME="bo"))
    said.append(ran.stdout + ran.stderr)
    assert ran.returncode == 0, said
    assert site.ask("GET", "sys/seal-status", node=2).json()["progress"] == 1
    assert site.opens([shares["ada"]], node=2)
    assert not [s for s in shares.values() for text in said if s in text]
    # nothing was left behind
    assert sorted(p for p in holder.kit.rglob("*") if p.is_file()) == sorted(files)


def test_a_changed_kit_is_not_used(holder: Holder, made: tuple[dict[str, t.Any], Path], site: Site) -> None:
    look = holder.step("Look")
    wheel = next((holder.kit / "wheels").glob("requests-*.whl"))
    whole = wheel.read_bytes()
    wheel.write_bytes(whole + b"x")
    ran = holder.run(look)
    assert ran.returncode != 0
    assert wheel.name in ran.stderr
    wheel.write_bytes(whole)
    added = holder.kit / "collection" / "more.py"
    added.write_text("")
    assert "more.py" in holder.run(look).stderr
    added.unlink()
    assert "your name" in holder.run(holder.step("Unseal", YOURNAME="mallory")).stderr

    # on the controller a damaged kit is made anew
    args, _archive = made
    target = Path(args["path"]) / "ca.pem"
    target.write_text("")
    planned = site.run("openbao_holder_kit", args, "--check")
    assert planned.result["changed"]
