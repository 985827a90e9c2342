# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs from Debian's packages, fetched once and unpacked into the cache; nothing of the system is changed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.files import cache_dir, locked, private_dir

#: What Debian knows of installed packages, which are not fetched.
STATUS = Path("/var/lib/dpkg/status")


class Apt:
    """apt with lists and a cache of its own: works without root, and leaves the system's alone.

    :ivar hint: what to do where there is no apt.
    """

    def __init__(self, folder: Path, status: Path, cancelled: Callable[[], bool], hint: str) -> None:
        self._cancelled = cancelled
        self._hint = hint
        state, cache = folder / "state", folder / "cache"
        for path in (state / "lists" / "partial", cache / "archives" / "partial"):
            path.mkdir(parents=True, exist_ok=True)
        self._options = [
            f"-oDir::State={state}",
            f"-oDir::Cache={cache}",
            f"-oDir::State::status={status}",
            "-oAPT::Sandbox::User=root",
            "-oAcquire::Retries=3",
            "-oAcquire::Languages=none",
        ]

    def run(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run apt-get and return what it printed."""
        argv = ["apt-get", "-q", *self._options, *arguments]
        env = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        try:
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd, env=env
            )
        except OSError as error:
            raise LabError(f"apt-get cannot be started: {error}; {self._hint}") from error
        while True:
            try:
                output, _none = child.communicate(timeout=0.3)
                break
            except subprocess.TimeoutExpired:
                if self._cancelled():
                    child.kill()
                    child.communicate()
                    raise LabError("interrupted while packages are fetched") from None
        text = output.decode(errors="replace")
        if child.returncode:
            tail = "\n".join(text.strip().splitlines()[-6:])
            raise LabError(f"{' '.join(('apt-get', *arguments))} failed:\n{tail}")
        return text


def planned(simulation: str) -> list[tuple[str, str]]:
    """Return the packages and versions of apt's simulation of an installation."""
    return re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", simulation, re.MULTILINE)


@dataclass(frozen=True)
class Unpacked:
    """What is wanted of Debian.

    :ivar component: whose programs they are; also the name of the folder in the cache.
    :ivar packages: what apt is asked to install.
    :ivar wanted: out of apt's simulation, what is unpacked, as ``name=version``.
    :ivar leading: the package by whose version the tree is named; a pattern.
    :ivar hint: what to do where there is no apt.
    """

    component: str
    packages: Sequence[str]
    wanted: Callable[[str], list[str]]
    leading: str
    hint: str

    @property
    def base(self) -> Path:
        """The folder in the cache."""
        return private_dir(cache_dir() / self.component)

    def trees(self) -> list[Path]:
        """Return the trees that are there, the newest first."""
        done = self.base.glob("*/complete")
        return [path.parent / "root" for path in sorted(done, key=lambda p: p.stat().st_mtime, reverse=True)]

    def get(
        self,
        say: Callable[[str], None],
        cancelled: Callable[[], bool],
        *,
        status: Path = STATUS,
        finish: Callable[[Path], None] = lambda tree: None,
    ) -> Path:
        """Return a tree, fetched and unpacked if there is none.

        :param finish: what is done to a new tree before it counts as complete.
        """
        trees = self.trees()
        if trees:
            return trees[0]
        with locked(self.base / "lock", lambda: say(f"{self.component}: another run fetches the packages"), cancelled):
            trees = self.trees()
            return trees[0] if trees else self._fetch(say, cancelled, status, finish)

    def _fetch(
        self, say: Callable[[str], None], cancelled: Callable[[], bool], status: Path, finish: Callable[[Path], None]
    ) -> Path:
        begin = time.monotonic()
        work = self.base / "work"
        shutil.rmtree(work, ignore_errors=True)
        archives = private_dir(work / "debs")
        apt = Apt(self.base / "apt", status, cancelled, self.hint)
        say(f"{self.component}: reading Debian's lists of packages (once)")
        apt.run("update")
        packages = self.wanted(apt.run("install", "--simulate", "--no-install-recommends", *self.packages))
        leading = next((p for p in packages if re.match(f"{self.leading}=", p)), None)
        if leading is None:
            raise LabError(f"Debian's lists have no package {self.leading}; {self.hint}")
        say(f"{self.component}: fetching {len(packages)} packages ({leading})")
        apt.run("download", *packages, cwd=archives)
        tree = private_dir(work / "root")
        files = sorted(archives.glob("*.deb"))
        for number, file in enumerate(files, 1):
            if cancelled():
                raise LabError("interrupted while packages are unpacked")
            subprocess.run(["dpkg-deb", "-x", str(file), str(tree)], check=True, capture_output=True)
            if number == len(files) or number % 20 == 0:
                say(f"{self.component}: unpacked {number} of {len(files)}")
        shutil.rmtree(archives)
        finish(tree)
        final = self.base / re.sub(r"[^A-Za-z0-9.+~-]", "_", leading)
        shutil.rmtree(final, ignore_errors=True)
        work.rename(final)
        (final / "complete").touch()
        say(f"{self.component}: packages ready ({time.monotonic() - begin:.0f} s)")
        return final / "root"
