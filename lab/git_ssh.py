# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Git server's way in over SSH: deploy keys, and nothing but fetching and pushing."""

from __future__ import annotations

import asyncio
import base64
import shlex
import subprocess
from pathlib import Path

import asyncssh

from lab.git_rules import PUBLIC_MARK, Holder, Rules, environment

USER = "git"
_PROGRAMS = {"git-upload-pack": "upload-pack", "git-receive-pack": "receive-pack"}
_HOLDER = "lab_holder"


class _Login(asyncssh.SSHServer):
    """Lets in who has a key that is registered."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Know the connection, to which the holder of the key is noted."""
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        """Nobody comes in without."""
        return True

    def public_key_auth_supported(self) -> bool:
        """By keys only."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """The key is somebody's; that they have its private half, the library proves."""
        holder = self._rules.by_key(base64.b64encode(key.public_data).decode())
        if username != USER or holder is None or self._connection is None:
            self._rules.note("SSH", "", username, 401, "key")
            return False
        self._connection.set_extra_info(**{_HOLDER: holder})
        return True


class _Session:
    """One command."""

    def __init__(self, rules: Rules, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self._rules = rules
        self._process = process
        self._holder: Holder = process.get_extra_info(_HOLDER)

    def _refuse(self, path: str, status: int, text: str) -> int:
        self._rules.note("SSH", path, self._holder.name, status, "key")
        self._process.stderr.write(f"ERROR: {text}\n".encode())
        return 1

    async def run(self) -> int:
        """Do what was asked for; returns how the program ended."""
        said = self._process.command or ""
        words = shlex.split(said) if said else []
        if len(words) != 2 or words[0] not in _PROGRAMS:
            return self._refuse(said, 403, "only git-upload-pack and git-receive-pack")
        program, path = words
        name = path.strip("/").removesuffix(".git")
        fault = await asyncio.to_thread(self._rules.fault, name, "SSH")
        if fault:
            return self._refuse(f"/{name}.git/{program}", fault, "made to fail")
        folder = self._rules.repository(name)
        writes = program == "git-receive-pack"
        # A key of another repository is not told that this one exists, as hosts of Git do.
        if folder is None or not (self._holder.may(name) or (folder / PUBLIC_MARK).exists()):
            return self._refuse(f"/{name}.git/{program}", 404, "Repository not found.")
        if writes and not (self._holder.write and self._holder.may(name)):
            return self._refuse(f"/{name}.git/{program}", 403, "The key you are authenticating with is read only.")
        code = await self._git(program, folder)
        self._rules.note("SSH", f"/{name}.git/{program}", self._holder.name, 500 if code else 200, "key")
        return code

    async def _git(self, program: str, folder: Path) -> int:
        protocol = self._process.env.get("GIT_PROTOCOL", "")
        child = await asyncio.create_subprocess_exec(
            "git",
            _PROGRAMS[program],
            str(folder),
            env={**environment(), **({"GIT_PROTOCOL": str(protocol)} if protocol else {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        await self._process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
        return await child.wait()


async def _handle(rules: Rules, process: asyncssh.SSHServerProcess[bytes]) -> None:
    code = 1
    try:
        code = await _Session(rules, process).run()
    finally:
        process.exit(code)


async def _serve(rules: Rules, port: int, host_key: Path) -> None:
    server = await asyncssh.create_server(
        lambda: _Login(rules),
        "127.0.0.1",
        port,
        server_host_keys=[str(host_key)],
        process_factory=lambda process: _handle(rules, process),
        encoding=None,
        allow_scp=False,
        agent_forwarding=False,
        x11_forwarding=False,
    )
    await server.wait_closed()


def serve(rules: Rules, port: int, host_key: Path) -> None:
    """Run until the process is ended."""
    asyncio.run(_serve(rules, port, host_key))
