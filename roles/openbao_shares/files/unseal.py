# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unseals OpenBao with one holder's share, from this folder alone: Python 3.11 or newer, no network but OpenBao's.

./unseal NAME                                      asks for the share, without echo
./unseal NAME --age-file FILE --identity FILE      decrypts it with age
./unseal NAME --pgp-file FILE                      decrypts it with gpg
./unseal --status                                  only says what is sealed
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

KIT = Path(__file__).resolve().parent
SUMS = "SHA256SUMS"


def check_sums() -> None:
    """End unless every file is as it was made, and none was added."""
    wanted = {}
    for line in (KIT / SUMS).read_text(encoding="utf-8").splitlines():
        digest, _space, name = line.partition("  ")
        wanted[name] = digest
    found = {p.relative_to(KIT).as_posix() for p in KIT.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    wrong = sorted(set(wanted) ^ (found - {SUMS}))
    wrong += [n for n in sorted(set(wanted) & found) if hashlib.sha256((KIT / n).read_bytes()).hexdigest() != wanted[n]]
    if wrong:
        sys.exit(f"This kit was changed or is damaged: {', '.join(wrong[:5])}. Do not use it; ask for a new one.")


def fits(name: str) -> bool:
    """Say whether a wheel is for this Python on this machine, by its name."""
    pythons, abis, places = name[: -len(".whl")].split("-")[-3:]
    major, minor = sys.version_info[:2]
    mine = f"cp{major}{minor}"
    if not any(p in ("py3", mine) or (abis == "abi3" and _minor(p) <= minor) for p in pythons.split(".")):
        return False
    if not any(a in ("none", "abi3", mine) for a in abis.split(".")):
        return False
    machine = platform.machine().lower()
    musl = platform.libc_ver()[0] != "glibc"
    for place in places.split("."):
        if place == "any":
            return True
        if sys.platform == "linux" and place.endswith(machine):
            if place.startswith("musllinux") == musl and place.startswith(("manylinux", "linux", "musllinux")):
                return True
        if sys.platform == "darwin" and place.startswith("macosx") and place.endswith((machine, "universal2")):
            return True
    return False


def _minor(tag: str) -> int:
    found = re.fullmatch(r"cp3(\d+)", tag)
    return int(found[1]) if found else 999


def unpack(folder: Path) -> None:
    """Put the wheels for this machine where Python finds them."""
    wheels = sorted(p for p in (KIT / "wheels").iterdir() if p.suffix == ".whl")
    chosen: dict[str, Path] = {}
    for wheel in wheels:
        if fits(wheel.name):
            chosen.setdefault(wheel.name.split("-")[0], wheel)
    missing = sorted({w.name.split("-")[0] for w in wheels} - set(chosen) - {"pyrage"})
    if missing:
        where = f"Python {platform.python_version()} on {sys.platform} {platform.machine()}"
        sys.exit(
            f"This kit has no {', '.join(missing)} for {where}. Use another Python, or ask for a kit for this one."
        )
    for wheel in chosen.values():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)


def play(options: argparse.Namespace, kit: dict[str, object]) -> list[dict[str, object]]:
    """Return the play; the share is read by the module's own plugin, in memory."""
    common: dict[str, object] = {"nodes": kit["nodes"], "timeout": 10}
    if kit["ca_cert"]:
        common["ca_cert"] = str(KIT / str(kit["ca_cert"]))
    if options.status:
        task: dict[str, object] = {"hackspace.infra.openbao_seal_info": common}
    else:
        source: dict[str, object] = {"name": options.name}
        if options.age_file:
            source |= {
                "age_file": os.path.abspath(options.age_file),
                "age_identity_file": os.path.abspath(options.identity),
            }
        if options.pgp_file:
            source["pgp_file"] = os.path.abspath(options.pgp_file)
        more = {"holders": [source], "known_holders": kit["holders"], "next_command": "./unseal HOLDER"}
        task = {"hackspace.infra.openbao_unseal": {**common, **more}}
    task |= {"name": "OpenBao", "register": "found"}
    show = {"name": "What is sealed", "ansible.builtin.debug": {"msg": "{{ found.summary }}"}}
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    return [{"name": "Unseal", "hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": [task, show]}]


def main() -> int:
    if f"{sys.version_info[1]:03}" < "011":
        sys.exit("This needs Python 3.11 or newer: python3.11 unseal ...")
    check_sums()
    kit = json.loads((KIT / "kit.json").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help=f"your name: {', '.join(kit['holders'])}")
    parser.add_argument("--age-file", metavar="FILE")
    parser.add_argument("--identity", metavar="FILE")
    parser.add_argument("--pgp-file", metavar="FILE")
    parser.add_argument("--status", action="store_true")
    options = parser.parse_args()
    if not options.status and options.name not in kit["holders"]:
        parser.error(f"give your name: {', '.join(kit['holders'])}")
    if bool(options.age_file) != bool(options.identity):
        parser.error("--age-file and --identity go together")
    with tempfile.TemporaryDirectory(prefix="unseal-") as place:
        folder = Path(place)
        unpack(folder / "lib")
        (folder / "play.json").write_text(json.dumps(play(options, kit)), encoding="utf-8")
        (folder / "ansible.cfg").write_text("[defaults]\n", encoding="utf-8")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "PYTHON", "VAULT_", "BAO_"))}
        environment = {
            "PATH": os.defpath,
            **kept,
            "LC_ALL": "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8",
            "PYTHONPATH": str(folder / "lib"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ANSIBLE_COLLECTIONS_PATH": str(KIT / "collection"),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
            "ANSIBLE_REMOTE_TEMP": str(folder / "tmp"),
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_NOCOWS": "1",
            "ANSIBLE_PIPELINING": "true",
        }
        command = [sys.executable, "-c", "import sys; from ansible.cli.playbook import main; sys.exit(main())"]
        command += ["-i", "localhost,", str(folder / "play.json")]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
