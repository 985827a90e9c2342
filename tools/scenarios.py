# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Molecule scenarios, one after the other, and counts."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Stands before the real one in PATH: Molecule asks for the version before every playbook and reads nothing of the
#: answer, and to find it out takes Ansible as long as to begin a playbook.
PLAYBOOK = """#!/bin/sh
if [ "$*" = --version ]; then echo ansible-playbook; exit 0; fi
exec {program} "$@"
"""


def scenarios(root: Path = ROOT) -> list[str]:
    """Return the names of all scenarios, ``default`` first, as it proves the ground for the others."""
    names = sorted(path.parent.name for path in (root / "molecule").glob("*/molecule.yml"))
    return sorted(names, key=lambda name: name != "default")


def subjects(root: Path = ROOT) -> dict[str, list[str]]:
    """Return what the scenarios are about, roles and ``default``, and the names of the scenarios of each."""
    found: dict[str, list[str]] = {}
    for name in scenarios(root):
        found.setdefault(name.removesuffix("_alternative").removesuffix("_default"), []).append(name)
    return found


def quick_playbook(folder: Path) -> None:
    """Place a program ``ansible-playbook`` in *folder* that knows its version at once."""
    path = folder / "ansible-playbook"
    path.write_text(PLAYBOOK.format(program=shlex.quote(str(Path(sys.executable).parent / "ansible-playbook"))))
    path.chmod(0o700)


def run(name: str, folder: Path) -> bool:
    """Run one scenario with an empty *folder* for what Molecule keeps; tells whether it passed."""
    tools = Path(sys.executable).parent
    programs, kept = folder / "bin", folder / "kept"
    programs.mkdir()
    kept.mkdir()
    quick_playbook(programs)
    environment = {
        **os.environ,
        # With galaxy.yml present Molecule would warn about the place of molecule/ unless it is told where to look.
        "MOLECULE_GLOB": "molecule/*/molecule.yml",
        # Molecule remembers that a scenario was prepared, also when its servers are gone since.
        "MOLECULE_EPHEMERAL_DIRECTORY": str(kept),
        "PATH": os.pathsep.join([str(programs), str(tools), os.environ.get("PATH", os.defpath)]),
    }
    command = [str(tools / "molecule"), "test", "-s", name]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def main(arguments: t.Sequence[str]) -> int:
    """Run the scenarios named, or all; returns 0 if all passed."""
    known = scenarios()
    unknown = sorted(set(arguments) - set(known))
    if unknown or not known:
        print(f"no such scenario: {', '.join(unknown)}; there are {', '.join(known)}")
        return 2
    failed = []
    chosen = list(arguments) or known
    for name in chosen:
        begin = time.monotonic()
        print(f"===== {name}", flush=True)
        with tempfile.TemporaryDirectory(prefix="molecule-") as folder:
            passed = run(name, Path(folder))
        print(f"===== {name}: {'ok' if passed else 'FAILED'} ({time.monotonic() - begin:.0f} s)", flush=True)
        if not passed:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    print(f"scenarios: {len(chosen) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
