# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that Ansible reaches over SSH: this one, behind a server in Python that keeps what is sent, decrypted."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import threading
import typing as t
from pathlib import Path

import asyncssh


class SshHost:
    """Runs the commands it is sent by a shell, in the environment of this process.

    :ivar sent: everything that went through, both ways, in pieces.
    :ivar logins: how many connections there were.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._port = 0
        self.sent: list[bytes] = []
        self.logins = 0

    @property
    def wire(self) -> str:
        """Everything that went through."""
        return b"".join(self.sent).decode(errors="replace")

    def variables(self, python: str) -> dict[str, t.Any]:
        """Variables of the host for an inventory."""
        known = self._folder / "known"
        return {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": self._port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self._folder / "id"),
            "ansible_ssh_common_args": f"-F /dev/null -o IdentitiesOnly=yes -o UserKnownHostsFile={known}",
            "ansible_ssh_args": "-o ControlMaster=no",
            "ansible_python_interpreter": python,
        }

    @contextlib.contextmanager
    def serving(self) -> t.Iterator[SshHost]:
        """Answer until the block ends."""
        self._thread.start()
        try:
            acceptor = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)
            yield self
            self._loop.call_soon_threadsafe(acceptor.close)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(30)

    async def _listen(self) -> asyncssh.SSHAcceptor:
        own = asyncssh.generate_private_key("ssh-ed25519")
        acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[own],
            authorized_client_keys=asyncssh.import_authorized_keys(self._key.export_public_key().decode()),
            process_factory=self._run,
            encoding=None,
            allow_scp=False,
        )
        self._port = acceptor.get_port()
        identity = self._folder / "id"
        identity.touch(mode=0o600)
        identity.write_bytes(self._key.export_private_key())
        known = f"[127.0.0.1]:{self._port} {own.export_public_key().decode()}"
        (self._folder / "known").write_text(known, encoding="utf-8")
        return acceptor

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self.logins += 1
        self.sent.append((process.command or "").encode())
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", process.command or "", stdin=pipe, stdout=pipe, stderr=pipe
        )
        if child.stdin is None or child.stdout is None or child.stderr is None:
            raise RuntimeError("a process without pipes")
        feeding = asyncio.create_task(self._feed(process, child.stdin))
        await asyncio.gather(self._answer(child.stdout, process.stdout), self._answer(child.stderr, process.stderr))
        code = await child.wait()
        feeding.cancel()
        process.exit(code)

    async def _feed(self, process: asyncssh.SSHServerProcess[bytes], to: asyncio.StreamWriter) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while data := await process.stdin.read(65536):
                self.sent.append(data)
                to.write(data)
                await to.drain()
        to.close()

    async def _answer(self, source: asyncio.StreamReader, to: asyncssh.SSHWriter[bytes]) -> None:
        while data := await source.read(65536):
            self.sent.append(data)
            to.write(data)
            await to.drain()
