# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports: free when chosen, recorded, the same after a restart, never shared between labs."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from lab.errors import LabError
from lab.files import cache_dir, locked, read_json, write_json

# Below the range from which the system gives ports to outgoing connections.
FIRST, LAST = 20000, 31999


def is_free(port: int) -> bool:
    """Nobody listens on the port of the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def busy(ports: Iterable[int], patience: float = 2.0) -> list[int]:
    """The ports on which somebody listens, and still does after a moment."""
    deadline = time.monotonic() + patience
    left = list(ports)
    while left := [port for port in left if not is_free(port)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


class Ports:
    """The ports of one lab, by name. Every lab of the user is in one register."""

    def __init__(self, file: Path, owner: Path) -> None:
        self._file = file
        self._owner = str(owner)

    def load(self) -> dict[str, int]:
        """The ports recorded so far."""
        recorded = read_json(self._file) or {}
        return {str(name): int(port) for name, port in recorded.items()}

    def ensure(self, names: Iterable[str]) -> dict[str, int]:
        """Every name has a port afterwards; known ones keep theirs."""
        wanted = list(names)
        ports = self.load()
        if all(name in ports for name in wanted):
            return ports
        register = cache_dir() / "ports.json"
        with locked(cache_dir() / "ports.lock"):
            taken = {
                int(port): owner
                for port, owner in (read_json(register) or {}).items()
                if owner == self._owner or (Path(owner) / "ports.json").is_file()
            }
            # What this lab no longer knows of is given back.
            taken = {port: owner for port, owner in taken.items() if owner != self._owner or port in ports.values()}
            taken.update(dict.fromkeys(ports.values(), self._owner))
            start = random.randrange(FIRST, LAST)  # noqa: S311 - spreads labs, protects nothing
            candidates = (FIRST + (start - FIRST + step) % (LAST - FIRST + 1) for step in range(LAST - FIRST + 1))
            for name in wanted:
                if name in ports:
                    continue
                port = next((port for port in candidates if port not in taken and is_free(port)), None)
                if port is None:
                    raise LabError(f"no free port left between {FIRST} and {LAST}")
                ports[name] = port
                taken[port] = self._owner
            write_json(self._file, ports)
            write_json(register, {str(port): owner for port, owner in sorted(taken.items())})
        return ports

    def drop(self, names: Iterable[str]) -> None:
        """Forget ports, so that the next ensure() chooses others."""
        gone = set(names)
        write_json(self._file, {name: port for name, port in self.load().items() if name not in gone})
