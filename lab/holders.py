# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""People of the lab who keep unseal shares, with keys of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from lab.errors import LabError
from lab.files import private_dir, write

NAMES = ("ada", "bo", "cleo", "dan", "eve")
PGP_HOLDER = "eve"
_TEMPORARY = ".making-pgp"
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


@dataclass(frozen=True)
class Holder:
    """A holder and the files with the holder's keys."""

    name: str
    age_recipient: str
    age_identity_file: Path
    gnupg_home: Path | None = None
    pgp_public_key: Path | None = None
    """Binary, not armoured."""
    pgp_private_key: Path | None = None
    """Armoured."""


def _checksum(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for index, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            if top >> index & 1:
                check ^= generator
    return check


def bech32(prefix: str, data: bytes) -> str:
    """Bech32 without a length limit, as age writes its keys."""
    bits = int.from_bytes(data, "big") << (-len(data) * 8 % 5)
    count = -(-len(data) * 8 // 5)
    words = [bits >> 5 * (count - 1 - index) & 31 for index in range(count)]
    expanded = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    check = _checksum(expanded + words + [0] * 6) ^ 1
    words += [check >> 5 * (5 - index) & 31 for index in range(6)]
    return f"{prefix}1" + "".join(_ALPHABET[word] for word in words)


def new_age_identity() -> tuple[str, str]:
    """A new age key: identity (secret) and recipient (public)."""
    key = X25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return bech32("age-secret-key-", secret).upper(), bech32("age", public)


def make(folder: Path) -> list[Holder]:
    """The holders, with age keys; made on the first call."""
    holders = []
    for name in NAMES:
        home = private_dir(folder / name)
        identity, recipient = home / "age-identity.txt", home / "age-recipient.txt"
        if not (identity.is_file() and recipient.is_file()):
            secret, public = new_age_identity()
            write(identity, f"# public key: {public}\n{secret}\n")
            write(recipient, f"{public}\n", 0o644)
        private = home / "pgp-private.asc"
        has_pgp = private.is_file()
        holders.append(
            Holder(
                name,
                recipient.read_text().strip(),
                identity,
                home / "gnupg" if has_pgp else None,
                home / "pgp-public.gpg" if has_pgp else None,
                private if has_pgp else None,
            )
        )
    return holders


def make_pgp(folder: Path) -> str:
    """One holder also has a PGP key, when gpg is installed. Returns what was done."""
    home = folder / PGP_HOLDER
    private = home / "pgp-private.asc"
    if private.is_file() or shutil.which("gpg") is None:
        return ""
    # The agent's socket needs a short path, and no agent may stay behind, however this ends.
    clean(folder)
    with tempfile.TemporaryDirectory(prefix="lab-gpg-", ignore_cleanup_errors=True) as temporary:
        write(folder / _TEMPORARY, temporary)
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "GNUPGHOME": temporary, "LANG": "C.UTF-8"}

        def gpg(*arguments: str) -> bytes:
            done = subprocess.run(
                ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", *arguments],
                env=environment,
                capture_output=True,
                check=False,
                timeout=60,
            )
            if done.returncode:
                raise LabError(f"gpg {arguments[0]} failed: {done.stderr.decode(errors='replace')}")
            return done.stdout

        try:
            user = f"{PGP_HOLDER}@lab.internal"
            gpg("--quick-generate-key", f"{PGP_HOLDER} <{user}>", "rsa2048", "encrypt,sign", "never")
            write(home / "pgp-public.gpg", gpg("--export", user), 0o644)
            secret = gpg("--armor", "--export-secret-keys", user)
        finally:
            stop_agent(Path(temporary))
        shutil.rmtree(home / "gnupg", ignore_errors=True)
        shutil.copytree(temporary, home / "gnupg", ignore=shutil.ignore_patterns("S.*", "*.lock", ".#*"))
        (home / "gnupg").chmod(0o700)
        write(private, secret)
    clean(folder)
    return "PGP key made"


def clean(folder: Path) -> None:
    """End what making or using a PGP key has left behind, also when it was killed in the middle."""
    for home in folder.glob("*/gnupg"):
        stop_agent(home)
    record = folder / _TEMPORARY
    if record.is_file():
        temporary = Path(record.read_text())
        stop_agent(temporary)
        shutil.rmtree(temporary, ignore_errors=True)
        record.unlink()


def stop_agent(gnupg_home: Path) -> None:
    """End the agents that gpg leaves behind."""
    if gnupg_home.is_dir() and shutil.which("gpgconf"):
        subprocess.run(
            ["gpgconf", "--homedir", str(gnupg_home), "--kill", "all"], capture_output=True, check=False, timeout=30
        )
