# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs every Molecule scenario, one after the other, and counts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def scenarios(root: Path = ROOT) -> list[str]:
    """Return the names of all scenarios, ``default`` first, as it proves the ground for the others."""
    names = sorted(path.parent.name for path in (root / "molecule").glob("*/molecule.yml"))
    return sorted(names, key=lambda name: name != "default")


def main(arguments: t.Sequence[str]) -> int:
    """Run the scenarios named, or all; returns 0 if all passed."""
    known = scenarios()
    unknown = sorted(set(arguments) - set(known))
    if unknown or not known:
        print(f"no such scenario: {', '.join(unknown)}; there are {', '.join(known)}")
        return 2
    # With galaxy.yml present Molecule would warn about the place of molecule/ unless it is told where to look.
    tools = Path(sys.executable).parent
    path = f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, "MOLECULE_GLOB": "molecule/*/molecule.yml", "PATH": path}
    program = str(tools / "molecule")
    failed = []
    chosen = list(arguments) or known
    for name in chosen:
        begin = time.monotonic()
        print(f"===== {name}", flush=True)
        # Molecule remembers that a scenario was prepared, also when its servers are gone since.
        subprocess.run([program, "reset", "-s", name], cwd=ROOT, env=environment, check=False, capture_output=True)
        done = subprocess.run([program, "test", "-s", name], cwd=ROOT, env=environment, check=False)
        word = "ok" if done.returncode == 0 else "FAILED"
        print(f"===== {name}: {word} ({time.monotonic() - begin:.0f} s)", flush=True)
        if done.returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    print(f"scenarios: {len(chosen) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
