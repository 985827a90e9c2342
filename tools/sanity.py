# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs ansible-test sanity on a copy of the tree, as it wants to stand in .../ansible_collections/hackspace/infra."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

import ansible_test  # type: ignore[import-untyped, unused-ignore]

from tools.environments import user_cache

ROOT = Path(__file__).resolve().parent.parent
DEPENDENCIES = ("kubernetes.core", "community.hashi_vault")
DOWNLOADS = "ci-files.testing.ansible.com"
#: What ansible-test downloads to get pip into its own environments. Where it cannot, this does the same with what
#: Python carries, and lets pip fetch the version that was asked for.
STAND_IN = '''\
"""Stands in for get-pip.py where that cannot be downloaded."""
import ensurepip
import os
import runpy
import sys

before = dict(os.environ)
ensurepip.bootstrap()  # tells pip to ignore the machine's configuration, which may hold the index and its CA
os.environ.clear()
os.environ.update(before)
arguments = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]
sys.argv = ["pip", "install", *arguments]
runpy.run_module("pip", run_name="__main__")
'''


def cache() -> Path:
    """Return the folder of this checkout and Python in the user's cache."""
    key = hashlib.sha256(f"{ROOT}\n{sys.version_info[:2]}".encode()).hexdigest()[:12]
    return user_cache() / "sanity" / key


def files(root: Path = ROOT) -> list[str]:
    """Return the files of the collection: what git knows or would add, without the link of the checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    ).stdout.decode()
    names = {name for name in listed.split("\0") if name and not name.startswith(".collections/")}
    return sorted(name for name in names if (root / name).is_file() and not (root / name).is_symlink())


def copy(root: Path, target: Path) -> int:
    """Make *target* hold exactly the collection's files; returns how many. Its caches (tests/output) stay."""
    names = files(root)
    wanted = set(names)
    for path in sorted(target.rglob("*"), reverse=True) if target.is_dir() else []:
        name = str(path.relative_to(target))
        if name == "tests/output" or name.startswith("tests/output/") or name in wanted:
            continue
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        else:
            path.unlink()
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name)
    return len(names)


def place_dependencies(target: Path) -> None:
    """Put the collections that ours depends on beside it, from the Python package that carries them."""
    import ansible_collections  # type: ignore[import-not-found, import-untyped, unused-ignore]

    for name in DEPENDENCIES:
        namespace, _dot, short = name.partition(".")
        source = next(
            (p for base in ansible_collections.__path__ if (p := Path(base) / namespace / short).is_dir()), None
        )
        if source is None:
            raise SystemExit(f"sanity: {name} is not installed. Fix: tools/bootstrap requirements-dev.txt")
        beside = target / namespace / short
        if beside.is_symlink():
            beside.unlink()
        if not beside.is_dir() or (beside / "MANIFEST.json").read_bytes() != (source / "MANIFEST.json").read_bytes():
            shutil.rmtree(beside, ignore_errors=True)
            shutil.copytree(source, beside, ignore=shutil.ignore_patterns("__pycache__", "tests"))


def pip_versions() -> set[str]:
    """Return the pip versions that this ansible-test puts into its environments."""
    text = (Path(ansible_test.__path__[0]) / "_internal" / "python_requirements.py").read_text()
    packages = text.partition("def get_venv_packages")[2].partition("\ndef ")[0]
    return set(re.findall(r"pip['\"]?\s*[=:]\s*['\"]([\d.]+)['\"]", packages))


def reachable(host: str = DOWNLOADS, port: int = 443) -> bool:
    """Tell whether ansible-test's downloads can be had."""
    try:
        with socket.create_connection((host, port), timeout=3):
            return True
    except OSError:
        return False


def place_stand_in(folder: Path) -> list[str]:
    """Place the stand-in under the names that ansible-test looks for; returns the new ones."""
    placed = []
    for version in sorted(pip_versions()):
        path = folder / f"get_pip_{version.replace('.', '_')}.py"
        old = path.read_text() if path.exists() else ""
        if not old or ("Stands in for get-pip" in old and old != STAND_IN):
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(STAND_IN)
            placed.append(path.name)
    return placed


def main(arguments: t.Sequence[str]) -> int:
    """Run sanity with further *arguments* for ansible-test; returns its exit code."""
    if any((ROOT / "tests" / "sanity").glob("ignore*.txt")):
        print("sanity: ignore files are not allowed. Fix: mend what they hide and remove them.")
        return 1
    target = cache() / "ansible_collections"
    count = copy(ROOT, target / "hackspace" / "infra")
    place_dependencies(target)
    if not reachable():
        for name in place_stand_in(Path.home() / ".ansible" / "test" / "cache"):
            print(f"sanity: {DOWNLOADS} cannot be reached; {name} stands in")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    tester = Path(sys.executable).parent / "ansible-test"
    command = [str(tester), "sanity", "--venv", "--python", version, "--color", "no", *arguments]
    done = subprocess.run(command, cwd=target / "hackspace" / "infra", stdin=subprocess.DEVNULL, check=False)
    if done.returncode == 0:
        print(f"sanity: {count} files, Python {version}, nothing found, nothing ignored")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
