# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Pythons and ansible-core versions that the collection is tested with, and which of them this machine has."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import typing as t
from importlib import metadata
from pathlib import Path

#: Python version -> the ansible-core that requirements.txt gives it. The ends of what is supported.
MATRIX = {"3.11": "the oldest supported ansible-core", "3.13": "the newest supported ansible-core"}


def user_cache() -> Path:
    """Return the folder in the user's cache for what checkouts share."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hackspace-infra"


@dataclasses.dataclass(frozen=True)
class Environment:
    """A virtual environment of one Python."""

    name: str
    python: Path
    base: str = ""
    core: str = ""

    def describe(self) -> str:
        core = f"ansible-core {self.core}" if self.core else MATRIX.get(self.name, "ansible-core")
        return f"Python {self.name} with {core}"

    def prepare(self, root: Path, say: t.Callable[[str], None]) -> None:
        """Install what the gates need; quick when it is there."""
        say(f"  environment for {self.describe()}")
        subprocess.run(
            [str(root / "tools" / "bootstrap"), "requirements-dev.txt"],
            cwd=root,
            env={**os.environ, "PYTHON": self.base, "VENV": str(self.python.parent.parent.relative_to(root))},
            check=True,
        )


def this() -> Environment:
    """Return the environment that runs this."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return Environment(version, Path(sys.executable), core=metadata.version("ansible-core"))


def find(version: str) -> str | None:
    """Return a Python of *version* with a working venv: from PATH, pyenv or uv's folder; ``None`` if there is none."""
    name = f"python{version}"
    places = [shutil.which(name)]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    places += [str(path) for path in sorted(pyenv.glob(f"{version}*/bin/{name}"), reverse=True)]
    for place in places:
        if place and _works(place, version):
            return place
    return None


def _works(python: str, version: str) -> bool:
    code = f"import ensurepip, venv, sys; sys.exit('%d.%d' % sys.version_info[:2] != {version!r})"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def others(root: Path) -> tuple[list[Environment], list[str]]:
    """Return the environments of the matrix besides this one, and a sentence for each that this machine has not."""
    mine = this().name
    found, absent = [], []
    for version, core in MATRIX.items():
        if version == mine:
            continue
        base = find(version)
        if base:
            found.append(Environment(version, root / f".venv-{version}" / "bin" / "python", base))
        else:
            absent.append(f"Python {version} ({core}); CI machines with it run the gates unit and sanity on it too")
    return found, absent
