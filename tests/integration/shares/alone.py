# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a command in a network of its own, which has loopback only, and there nothing but some ports that lead out.

unshare --net python alone.py FOLDER COMMAND...   FOLDER has a socket PORT.sock for each port that leads out
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

_SIOCSIFFLAGS: t.Final = 0x8914
_UP_AND_RUNNING: t.Final = 0x41


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _serve(listener: socket.socket, connect: t.Callable[[], socket.socket]) -> None:
    while True:
        try:
            near = listener.accept()[0]
        except OSError:
            return
        try:
            far = connect()
        except OSError:
            near.close()
            continue
        for pair in ((near, far), (far, near)):
            threading.Thread(target=_pump, args=pair, daemon=True).start()


@contextlib.contextmanager
def leading_out(folder: Path, ports: t.Iterable[int]) -> t.Iterator[None]:
    """Let the sockets in *folder* lead to these ports of this machine's loopback."""
    listeners = []
    try:
        for port in ports:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(folder / f"{port}.sock"))
            listener.listen()
            listeners.append(listener)

            def connect(port: int = port) -> socket.socket:
                return socket.create_connection(("127.0.0.1", port), timeout=60)

            threading.Thread(target=_serve, args=(listener, connect), daemon=True).start()
        yield
    finally:
        for listener in listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def main(folder: str, command: list[str]) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as some:
        fcntl.ioctl(some, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _UP_AND_RUNNING))
    for path in Path(folder).glob("*.sock"):
        listener = socket.create_server(("127.0.0.1", int(path.stem)))

        def connect(path: Path = path) -> socket.socket:
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(path))
            return far

        threading.Thread(target=_serve, args=(listener, connect), daemon=True).start()
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
