# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL from Debian's packages, on loopback, passwords by SCRAM; nothing of the system is changed.

The programs are the system's if it has them, otherwise those of Debian's packages, unpacked into the user's cache. As
PostgreSQL does not run as root, root starts it as the user nobody.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.debian import STATUS, Unpacked, planned
from lab.errors import LabError
from lab.files import write
from lab.procs import Process
from lab.runner import Step

COMPONENT = "postgres"
#: Who may make users, and logs in by the password in :attr:`Postgres.password_file`.
ADMIN = "openbao"
DATABASE = "lab"
#: Environment variable that names a folder with the programs (postgres, initdb, psql) instead.
FOLDER_VARIABLE = "POSTGRES_BIN_DIR"
#: The user as whom root starts it.
UNPRIVILEGED = "nobody"
_INSTALLED = Path("/usr/lib/postgresql")
_NEEDED = ("postgres", "initdb", "psql")
_PROGRAMS = threading.Lock()


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs and what they need to run.

    :ivar folder: where they are.
    :ivar libraries: folders for ``LD_LIBRARY_PATH``; empty for the system's own.
    """

    folder: Path
    libraries: tuple[Path, ...] = ()

    def env(self) -> dict[str, str]:
        """The environment they run in."""
        env = {"LANG": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "GMT"}
        if self.libraries:
            env["LD_LIBRARY_PATH"] = ":".join(map(str, self.libraries))
        return env


def as_unprivileged(argv: Sequence[str], uid: int | None = None) -> tuple[str, ...]:
    """Return the command that runs *argv* as somebody who is not root.

    It keeps the right to pass folders that only root may enter, such as the lab's state and root's cache.
    """
    if (os.geteuid() if uid is None else uid) != 0:
        return tuple(argv)
    setpriv = shutil.which("setpriv")
    if not setpriv:
        raise LabError("root needs the program setpriv (package util-linux) to start PostgreSQL as another user")
    user = pwd.getpwnam(UNPRIVILEGED)
    return (
        setpriv,
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
        "--bounding-set=-all,+dac_override",
        *argv,
    )


# -- programs --------------------------------------------------------------------------------------------------------


def installed(root: Path = _INSTALLED) -> Programs | None:
    """The programs named by the environment, or else the newest of the system."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        folder = Path(named).absolute()
        missing = [name for name in _NEEDED if not os.access(folder / name, os.X_OK)]
        if missing:
            raise LabError(f"{FOLDER_VARIABLE}={folder} has no {missing[0]}")
        return Programs(folder)
    return _newest(root)


def _newest(root: Path) -> Programs | None:
    found = [folder for folder in root.glob("*/bin") if all((folder / name).is_file() for name in _NEEDED)]
    return Programs(max(found, key=_version)) if found else None


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", folder.parent.name))


def wanted_packages(simulation: str) -> list[str]:
    """Return what to unpack out of apt's simulation of an installation: the server, its client, and libraries.

    What only configures a system (postgresql-common, ssl-cert, perl modules) is not needed, nor is the compiler of
    the just-in-time option.
    """
    needed = re.compile(r"postgresql(-client)?-\d+|lib(?!llvm)(?!.*perl)\S+")
    return [f"{name}={version}" for name, version in planned(simulation) if needed.fullmatch(name)]


_DEBIAN = Unpacked(
    component=COMPONENT,
    packages=("postgresql",),
    wanted=wanted_packages,
    leading=r"postgresql-\d+",
    hint=f"install PostgreSQL, or name the folder of its programs in {FOLDER_VARIABLE}",
)


def programs(
    say: Callable[[str], None] = lambda text: None,
    cancelled: Callable[[], bool] = lambda: False,
    *,
    system: Path = _INSTALLED,
    status: Path = STATUS,
) -> Programs:
    """Return the programs, unpacked from Debian's packages when the system has none.

    :param system: where Debian installs them.
    :param status: what Debian knows of installed packages, which are not fetched.
    """
    with _PROGRAMS:
        found = installed(system) or _unpacked()
        if found:
            return found
        tree = _DEBIAN.get(say, cancelled, status=status)
        ready = _unpacked()
        if ready is None:
            raise LabError(f"{tree} has no PostgreSQL after unpacking")
        return ready


def _unpacked() -> Programs | None:
    """The programs in the cache, the newest version."""
    for tree in _DEBIAN.trees():
        found = _newest(tree / "usr/lib/postgresql")
        if found:
            return Programs(found.folder, tuple(sorted({file.parent for file in tree.rglob("*.so.*")})))
    return None


# -- the server ------------------------------------------------------------------------------------------------------


class Postgres:
    """One PostgreSQL server of a lab."""

    def __init__(self, state: Path, say: Callable[[str], None] = lambda text: None) -> None:
        self._say = say
        self.folder = state / COMPONENT
        self.log = state / "logs" / f"{COMPONENT}.log"
        self.password_file = state / "secrets" / "postgres-password"
        self.port_name = COMPONENT
        self._port = 0

    def prepare(self, ports: Mapping[str, int]) -> None:
        """Know its port."""
        self._port = ports[self.port_name]

    @property
    def data(self) -> Path:
        """Its data."""
        return self.folder / "data"

    @property
    def _script(self) -> Path:
        return self.folder / "start.sh"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._port}"

    @property
    def connection_url(self) -> str:
        """What OpenBao's database engine takes."""
        return f"postgresql://{{{{username}}}}:{{{{password}}}}@{self.address}/{DATABASE}?sslmode=disable"

    def processes(self) -> list[Process]:
        """Its row of the process table."""
        return [
            Process(
                name=COMPONENT,
                component=COMPONENT,
                # where the programs are is known when they are there: the script says it
                argv=as_unprivileged(("/bin/sh", str(self._script), str(self._port))),
                ports={"sql": self._port},
                ready=self._ready,
                log=self.log,
                needs=(f"{COMPONENT}-data",),
                data=(self.folder, self.password_file),
                graceful=True,
                timeout=60.0,
            )
        ]

    def steps(self) -> list[Step]:
        """Its programs and its data."""
        return [Step(f"{COMPONENT}-data", self._make)]

    def _found(self) -> Programs | None:
        return installed() or _unpacked()

    def _make(self, cancelled: Callable[[], bool]) -> str:
        found = programs(self._say, cancelled)
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in found.env().items())
        command = shlex.join((str(found.folder / "postgres"), "-D", str(self.data)))
        write(self._script, f'{exports}exec {command} -p "$1"\n')
        if (self.data / "lab-ready").is_file():
            return ""
        shutil.rmtree(self.data, ignore_errors=True)
        write(self.password_file, secrets.token_urlsafe(24))
        if os.geteuid() == 0:
            user = pwd.getpwnam(UNPRIVILEGED)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._run(
            found,
            "initdb",
            "-D",
            str(self.data),
            "-U",
            ADMIN,
            f"--pwfile={self.password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        )
        with (self.data / "postgresql.conf").open("a") as stream:
            stream.write(
                "\n# the lab: loopback only, no sockets, no waiting for disks\n"
                "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\npassword_encryption = 'scram-sha-256'\n"
                "fsync = off\nfull_page_writes = off\njit = off\nshared_buffers = 16MB\n"
                "max_connections = 50\nlog_min_error_statement = panic\ntimezone = 'GMT'\nlog_timezone = 'GMT'\n"
            )
        (self.data / "pg_hba.conf").write_text(
            "# the lab: passwords only\nhost all all 127.0.0.1/32 scram-sha-256\n", encoding="ascii"
        )
        # one database next to those that are there from the beginning
        self._run(
            found, "postgres", "--single", "-D", str(self.data), "postgres", stdin=f"CREATE DATABASE {DATABASE}\n"
        )
        (self.data / "lab-ready").touch()
        return "data made"

    def _run(self, found: Programs, program: str, *arguments: str, stdin: str = "") -> None:
        done = subprocess.run(
            as_unprivileged((str(found.folder / program), *arguments)),
            input=stdin,
            text=True,
            capture_output=True,
            env=found.env(),
            cwd=self.folder,
            umask=0o077,
            check=False,
        )
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
            raise LabError(f"{program} failed:\n{tail}")

    def _ready(self) -> str | None:
        code, text = self.query("SELECT 1")
        return None if code == 0 else text.strip().splitlines()[-1] if text.strip() else "no answer"

    # -- for tests -------------------------------------------------------------------------------------------

    @property
    def password(self) -> str:
        """The password that :data:`ADMIN` got when the data was made."""
        return self.password_file.read_text()

    def query(self, sql: str, user: str = ADMIN, password: str | None = None) -> tuple[int, str]:
        """Log in over TCP with a password and run a statement. Returns the exit code of psql and what it said."""
        found = self._found()
        if found is None:
            return 127, "no programs"
        # The password goes through a file of its own: neither into the list of processes nor into the environment.
        file = self.folder / f".login-{secrets.token_hex(6)}"
        value = (self.password if password is None else password).replace("\\", "\\\\").replace(":", "\\:")
        write(file, f"*:*:*:*:{value}\n")
        try:
            done = subprocess.run(
                [
                    str(found.folder / "psql"),
                    f"host=127.0.0.1 port={self._port} user={user} dbname={DATABASE} connect_timeout=5",
                    "-XAtqw",
                    "-v",
                    "ON_ERROR_STOP=1",
                ],
                input=sql,
                text=True,
                capture_output=True,
                env={**found.env(), "PGPASSFILE": str(file)},
                check=False,
            )
        finally:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
        return done.returncode, done.stdout + done.stderr

    def can_log_in(self, user: str, password: str) -> bool:
        """Say if a user gets in with a password."""
        code, text = self.query("SELECT current_user", user, password)
        if code != 0 and "password authentication failed" not in text:
            raise LabError(f"{COMPONENT}: {text.strip()}")
        return code == 0
