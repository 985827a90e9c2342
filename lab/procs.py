# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of the lab: started in a session of their own, found again, stopped for certain.

A process is known by its record (pid and start time) and by two marks in its environment, so that one that
was started a moment before its starter was killed is found as well.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import LabError
from lab.files import private_dir, read_json, write_json

MARK_LAB = "HACKSPACE_LAB_STATE"
MARK_NAME = "HACKSPACE_LAB_PROCESS"


def _nothing() -> None:
    """Nothing to prepare."""


@dataclass(frozen=True)
class Process:
    """One row of the process table."""

    name: str
    component: str
    argv: tuple[str, ...]
    ports: Mapping[str, int]
    ready: Callable[[], str | None]
    """None when the process serves, otherwise what is missing."""
    log: Path
    needs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = _nothing
    data: tuple[Path, ...] = ()
    """Files and folders that reset removes."""
    graceful: bool = False
    """Holds data and is asked to stop before it is killed."""
    timeout: float = 120.0


@dataclass(frozen=True)
class Alive:
    """A process that exists, safe from pid reuse by its start time."""

    pid: int
    started: int
    state: str

    @property
    def paused(self) -> bool:
        """Stopped by a signal."""
        return self.state in "Tt"


def look(pid: int) -> Alive | None:
    """The process with this pid; None when there is none or it only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    # The first thread may have ended while others still hold files and ports.
    if fields[0] in "ZX" and int(fields[17]) <= 1:
        return None
    return Alive(pid, int(fields[19]), fields[0])


def send(process: Alive, signum: signal.Signals) -> bool:
    """Signal exactly this process, never another one that got its pid."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        now = look(process.pid)
        if now is None or now.started != process.started:
            return False
        signal.pidfd_send_signal(descriptor, signum)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def tail(log: Path, lines: int = 12) -> str:
    """The end of a log."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 16384))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


class Supervisor:
    """Starts, finds and stops the processes of one lab."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._run = state / "run"
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._guard = threading.Lock()

    # -- finding ---------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        with self._guard:
            for pid in [pid for pid, child in self._children.items() if child.poll() is not None]:
                del self._children[pid]

    def scan(self) -> dict[str, list[Alive]]:
        """Every process that carries this lab's mark, by name."""
        self._reap()
        found: dict[str, list[Alive]] = {}
        mark = f"{MARK_LAB}={self._state}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if mark not in environment:
                continue
            names = [item.partition(b"=")[2].decode() for item in environment if item.startswith(MARK_NAME.encode())]
            alive = look(int(entry.name))
            if alive and names:
                found.setdefault(names[0], []).append(alive)
        return found

    def find(self, name: str) -> Alive | None:
        """The running process of this name, by its record or else by its mark."""
        self._reap()
        record = read_json(self._run / f"{name}.json")
        if record:
            alive = look(int(record["pid"]))
            if alive and alive.started == int(record["started"]):
                return alive
        found = self.scan().get(name, [])
        return found[0] if found else None

    # -- starting --------------------------------------------------------------------------------------------

    def spawn(self, name: str, argv: Sequence[str], log: Path, env: Mapping[str, str]) -> Alive:
        """Start a program in its own session, with an environment of its own and everything it says in a log."""
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self._state),
            "LANG": "C.UTF-8",
            **env,
            MARK_LAB: str(self._state),
            MARK_NAME: name,
        }
        private_dir(log.parent)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                cwd=self._state,
                env=environment,
                start_new_session=True,
                umask=0o077,
            )
        except OSError as error:
            raise LabError(f"{name}: cannot start {argv[0]}: {error}") from error
        finally:
            os.close(descriptor)
        with self._guard:
            self._children[child.pid] = child
        alive = look(child.pid)
        if alive is None:
            code = child.wait()
            raise LabError(f"{name}: ended at once with {code}\n{tail(log)}")
        write_json(self._run / f"{name}.json", {"pid": alive.pid, "started": alive.started, "argv": list(argv)})
        return alive

    def ensure(self, process: Process, cancelled: Callable[[], bool]) -> str:
        """The process runs and serves afterwards. Says what was done: kept, started or replaced."""
        alive = self.find(process.name)
        done = "kept"
        if alive:
            record = read_json(self._run / f"{process.name}.json") or {}
            if record.get("argv") != list(process.argv):
                self.stop([process])
                alive, done = None, "replaced"
            elif alive.paused:
                send(alive, signal.SIGCONT)
        if alive is None:
            process.prepare()
            done = "started" if done == "kept" else done
            alive = self.spawn(process.name, process.argv, process.log, process.env)
        self.wait_ready(process, alive, cancelled)
        return done

    def wait_ready(self, process: Process, alive: Alive, cancelled: Callable[[], bool]) -> None:
        """Wait until the process serves; say why not when it doesn't."""
        deadline = time.monotonic() + process.timeout
        pause, missing = 0.02, "not asked yet"
        while True:
            try:
                answer = process.ready()
            except (OSError, ValueError) as error:
                answer = f"{type(error).__name__}: {error}"
            if answer is None:
                return
            missing = answer
            self._reap()
            now = look(alive.pid)
            if now is None or now.started != alive.started:
                raise LabError(
                    f"{process.name} ended while starting ({missing}); {process.log} ends with:\n{tail(process.log)}"
                )
            if cancelled():
                raise LabError(f"interrupted while waiting for {process.name}")
            if time.monotonic() > deadline:
                raise LabError(
                    f"{process.name} not ready after {process.timeout:.0f} s ({missing}); {process.log} ends with:\n"
                    f"{tail(process.log)}"
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    # -- stopping --------------------------------------------------------------------------------------------

    def stop(self, processes: Iterable[Process], *, kill: bool = False, grace: float = 10.0) -> list[str]:
        """Stop processes together; what does not go in time is killed. Returns the names that were running."""
        waiting: list[tuple[str, Alive]] = []
        for process in processes:
            alive = self.find(process.name)
            if alive is None:
                self._forget(process.name)
                continue
            waiting.append((process.name, alive))
            if kill or not process.graceful:
                send(alive, signal.SIGKILL)
            else:
                send(alive, signal.SIGTERM)
                send(alive, signal.SIGCONT)
        self._wait_gone([alive for _other, alive in waiting], grace)
        for name, _other in waiting:
            self._forget(name)
        return [name for name, _other in waiting]

    def stop_all(self) -> list[str]:
        """Kill whatever still carries the lab's mark."""
        found = self.scan()
        everything = [alive for group in found.values() for alive in group]
        for alive in everything:
            send(alive, signal.SIGKILL)
        self._wait_gone(everything, 5.0)
        for name in found:
            self._forget(name)
        return sorted(found)

    def signal(self, name: str, signum: signal.Signals) -> None:
        """Send a signal to a running process."""
        alive = self.find(name)
        if alive is None or not send(alive, signum):
            raise LabError(f"{name} is not running")
        # The system takes a moment to stop every thread.
        while signum == signal.SIGSTOP and (now := look(alive.pid)) and not now.paused:
            time.sleep(0.01)

    def _wait_gone(self, processes: Sequence[Alive], grace: float) -> None:
        left = list(processes)
        deadline = time.monotonic() + grace
        killed = False
        while True:
            self._reap()
            still = []
            for process in left:
                now = look(process.pid)
                if now and now.started == process.started:
                    still.append(process)
            left = still
            if not left:
                return
            if time.monotonic() > deadline:
                if killed:
                    raise LabError(f"processes {[process.pid for process in left]} do not end, not even when killed")
                for process in left:
                    send(process, signal.SIGKILL)
                killed, deadline = True, time.monotonic() + 10
            time.sleep(0.02)

    def _forget(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self._run / f"{name}.json").unlink()
