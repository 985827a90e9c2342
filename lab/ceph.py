# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Ceph cluster from Debian's packages, on loopback: three monitors, a manager, three OSDs, a metadata server.

The programs are those of Debian's packages, unpacked into the user's cache; root is not needed. OSDs keep their data in
a file of their own.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import struct
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.debian import Unpacked, planned
from lab.errors import LabError
from lab.files import private_dir, read_json, write, write_json
from lab.procs import Process
from lab.runner import Step

COMPONENT = "ceph"
MONITORS = ("a", "b", "c")
OSDS = (0, 1, 2)
MANAGER = "x"
METADATA_SERVER = "z"
FILESYSTEM = "cephfs"
#: Pools of the filesystem.
METADATA_POOL, DATA_POOL = "cephfs_metadata", "cephfs_data"
#: Modules that the manager gets, each of which costs its start: those that are always on, and some to turn on.
MODULES = (
    "balancer",
    "crash",
    "devicehealth",
    "iostat",
    "orchestrator",
    "pg_autoscaler",
    "progress",
    "prometheus",
    "rbd_support",
    "status",
    "telemetry",
    "volumes",
)
_PACKAGES = (
    "ceph-common",
    "ceph-mds",
    "ceph-mgr",
    "ceph-mon",
    "ceph-osd",
    "python3-cephfs",
    "python3-rados",
    "python3-rbd",
)
_NEEDED = re.compile(r"ceph(-\S+)?|lib\S+|python3-\S+")
_UNNEEDED = re.compile(r"lib(nvme|parted|popt|inih|urcu|lvm2|devmapper)\S*")
_ASK = Path(__file__).parent / "files" / "ceph" / "ask.py"
_PYTHON = "/usr/bin/python3"
_ADMIN = "client.admin"
_FETCHING = threading.Lock()
_MARKER = "lab-marker-"
#: What a monitor writes when it has carried out a client's command that changes something, and the manager when it
#: begins with one of a file system's.
_WRITING = re.compile(
    r"log_channel\(audit\) log \[INF\] : from='client\.[^']*' entity='client\.[^']*' (cmd=.*: finished)?$"
    r"|Starting _cmd_fs_subvolume(group)?_(?!ls|info|getpath)"
)


def wanted_packages(simulation: str) -> list[str]:
    """Return what to unpack out of apt's simulation: Ceph, its Python, and libraries; nothing that handles disks."""
    return [
        f"{name}={version}"
        for name, version in planned(simulation)
        if _NEEDED.fullmatch(name) and not _UNNEEDED.fullmatch(name)
    ]


_DEBIAN = Unpacked(
    component=COMPONENT,
    packages=_PACKAGES,
    wanted=wanted_packages,
    leading="ceph-mon",
    hint="Ceph of the lab comes from the packages of Debian",
)


def _compiled(tree: Path) -> None:
    """Compile the manager's Python modules, which it would else do at every start of every lab."""
    folders = [str(tree / "usr/share/ceph/mgr"), str(tree / "usr/lib/python3/dist-packages")]
    subprocess.run([_PYTHON, "-m", "compileall", "-q", *folders], check=False, capture_output=True)


def new_key() -> str:
    """Return a key as Ceph keeps it."""
    return base64.b64encode(struct.pack("<HIIH", 1, int(time.time()), 0, 16) + secrets.token_bytes(16)).decode()


@dataclass(frozen=True)
class Monitor:
    """A monitor's addresses."""

    name: str
    v1: str
    v2: str

    @property
    def vector(self) -> str:
        """Both, as Ceph writes them."""
        return f"[v2:{self.v2},v1:{self.v1}]"


@dataclass(frozen=True)
class Answer:
    """What Ceph said: 0 or a negative errno, decoded output, words."""

    code: int
    out: Any
    said: str = ""


class Ceph:
    """One Ceph cluster of a lab."""

    def __init__(self, state: Path, say: Callable[[str], None] = lambda text: None) -> None:
        self._state = state
        self._say = say
        self.folder = state / COMPONENT
        self.conf = self.folder / "ceph.conf"
        self.keyring = self.folder / "ceph.client.admin.keyring"
        self.bin = self.folder / "bin"
        self.port_names = [
            f"{COMPONENT}-{name}.{kind}" for name in MONITORS for kind in ("v1", "v2", "v1-other", "v2-other")
        ]
        self._ports: Mapping[str, int] = {}

    def prepare(self, ports: Mapping[str, int]) -> None:
        """Know its ports."""
        self._ports = ports

    # -- what it is ------------------------------------------------------------------------------------------

    @property
    def _moved(self) -> list[str]:
        return list(read_json(self.folder / "moved.json") or [])

    @property
    def monitors(self) -> list[Monitor]:
        """The monitors and where they are now."""
        moved = self._moved
        return [self._monitor(name, moved=name in moved) for name in MONITORS]

    def _monitor(self, name: str, *, moved: bool) -> Monitor:
        kind = "-other" if moved else ""
        v1, v2 = (self._ports[f"{COMPONENT}-{name}.{version}{kind}"] for version in ("v1", "v2"))
        return Monitor(name, f"127.0.0.1:{v1}", f"127.0.0.1:{v2}")

    @property
    def fsid(self) -> str:
        """The cluster's id."""
        return str((read_json(self.folder / "made.json") or {}).get("fsid", ""))

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to find libraries, bindings and programs."""
        trees = _DEBIAN.trees()
        if not trees:
            raise LabError("Ceph's packages are not there; 'lab up --with ceph' fetches them")
        tree = trees[0]
        libraries = sorted({file.parent for file in tree.glob("**/lib*.so.*") if "site" not in file.parts})
        return {
            "LD_LIBRARY_PATH": ":".join(str(path) for path in libraries),
            "PYTHONPATH": str(tree / "usr/lib/python3/dist-packages"),
            "PATH": f"{tree / 'usr/bin'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        }

    # -- processes -------------------------------------------------------------------------------------------

    def processes(self) -> list[Process]:
        """Its rows of the process table."""
        rows = [
            self._row(
                f"mon-{one.name}",
                ("ceph-mon", "-f", "-i", one.name, "--public-addrv", one.vector),
                needs=("data",),
                ports={"v1": _port(one.v1), "v2": _port(one.v2)},
                ready=functools.partial(self._listens, one),
            )
            for one in self.monitors
        ]
        cluster = ("cluster",)
        rows += [
            self._row(
                f"osd-{number}",
                ("ceph-osd", "-f", "-i", str(number)),
                needs=cluster,
                ready=functools.partial(self._osd_up, number),
            )
            for number in OSDS
        ]
        rows.append(self._row("mgr", ("ceph-mgr", "-f", "-i", MANAGER), needs=("data",), ready=self._manager_up))
        rows.append(self._row("mds", ("ceph-mds", "-f", "-i", METADATA_SERVER), needs=cluster, ready=self._mds_up))
        return rows

    def _row(
        self,
        name: str,
        argv: Sequence[str],
        *,
        needs: Sequence[str],
        ready: Callable[[], str | None],
        ports: Mapping[str, int] | None = None,
    ) -> Process:
        return Process(
            name=f"{COMPONENT}-{name}",
            component=COMPONENT,
            # where the programs are is known when they are there: the script says it
            argv=("/bin/sh", str(self.folder / "run.sh"), *argv),
            ports=ports or {},
            ready=ready,
            log=self._state / "logs" / f"{COMPONENT}-{name}.log",
            needs=tuple(f"{COMPONENT}-{need}" for need in needs),
            data=(self.folder,),
            graceful=name.startswith(("mon", "osd")),
            timeout=180.0,
        )

    def steps(self) -> list[Step]:
        """Its programs and its data, and what must be in the cluster before anything but monitors can start."""
        monitors = tuple(f"{COMPONENT}-mon-{name}" for name in MONITORS)
        return [Step(f"{COMPONENT}-data", self._make), Step(f"{COMPONENT}-cluster", self._fill, monitors)]

    def _listens(self, one: Monitor) -> str | None:
        try:
            with socket.create_connection(("127.0.0.1", _port(one.v2)), timeout=1):
                return None
        except OSError as error:
            return str(error)

    def _osd_up(self, number: int) -> str | None:
        found = self.ask([{"mon": {"prefix": "osd dump"}}], timeout=5)[0]
        if found.code:
            return found.said
        up = [osd["osd"] for osd in found.out["osds"] if osd["up"]]
        if number not in up:
            time.sleep(0.3)
            return f"osd.{number} is not up"
        return None

    def _manager_up(self) -> str | None:
        if not (self.folder / "cluster-made").is_file():
            return "the cluster is being made"
        groups = {"mgr": {"prefix": "fs subvolumegroup ls", "vol_name": FILESYSTEM}}
        answer = self.ask([{"until": groups}], timeout=5)[0]
        return None if answer.code == 0 else answer.said or "no answer"

    def _mds_up(self) -> str | None:
        found = self.ask([{"mon": {"prefix": "mds stat"}}], timeout=5)[0]
        if found.code:
            return found.said
        filesystems = found.out["fsmap"]["filesystems"]
        states = [info["state"] for one in filesystems for info in one["mdsmap"]["info"].values()]
        if "up:active" not in states:
            time.sleep(0.3)
            return f"metadata server: {', '.join(states) or 'none'}"
        return None

    # -- making it -------------------------------------------------------------------------------------------

    def _make(self, cancelled: Callable[[], bool]) -> str:
        with _FETCHING:
            tree = _DEBIAN.get(self._say, cancelled, finish=_compiled)
        private_dir(self.folder)
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.environment.items())
        write(self.folder / "run.sh", f'{exports}export CEPH_CONF={shlex.quote(str(self.conf))}\nexec "$@"\n')
        for name, program in (
            ("ceph", f"{_PYTHON} {tree / 'usr/bin/ceph'}"),
            ("rbd", str(tree / "usr/bin/rbd")),
            ("rados", str(tree / "usr/bin/rados")),
            ("python3", _PYTHON),
        ):
            write(self.bin / name, f'#!/bin/sh\n{exports}exec {program} "$@"\n', 0o700)
        modules = private_dir(self.folder / "modules")
        for source in (tree / "usr/share/ceph/mgr").iterdir():
            if (source.is_file() or source.name in MODULES) and not (modules / source.name).exists():
                (modules / source.name).symlink_to(source)
        made = read_json(self.folder / "made.json")
        if made:
            write(self.conf, self._configuration(tree, made["fsid"]))
            return ""
        fsid = str(uuid.uuid4())
        # Daemons have their sockets, by which they also answer 'tell', below the folder they run in: paths are short.
        write(self.conf, self._configuration(tree, fsid))
        self._keys()
        monmap = self.folder / "monmap"
        adds = [word for one in self.monitors for word in ("--addv", one.name, one.vector)]
        self._run("monmaptool", "--create", "--clobber", "--fsid", fsid, *adds, str(monmap))
        for name in MONITORS:
            shutil.rmtree(self.folder / f"mon.{name}", ignore_errors=True)
            private_dir(self.folder / f"mon.{name}")
            files = ("--monmap", str(monmap), "--keyring", str(self.folder / "initial.keyring"))
            self._run("ceph-mon", "--mkfs", "-i", name, *files)
        write_json(self.folder / "made.json", {"fsid": fsid, "osds": [str(uuid.uuid4()) for _one in OSDS]})
        return "data made"

    def _keys(self) -> None:
        """Keys of all that runs, with what each may do: the monitors take them over when they are made."""
        everything = dict.fromkeys(("mon", "mgr", "osd", "mds"), "allow *")
        caps: dict[str, dict[str, str]] = {
            "mon.": {"mon": "allow *"},
            _ADMIN: everything,
            f"mgr.{MANAGER}": {"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *"},
            f"mds.{METADATA_SERVER}": {
                "mon": "allow profile mds",
                "osd": "allow *",
                "mds": "allow",
                "mgr": "allow profile mds",
            },
            **{
                f"osd.{number}": {"osd": "allow *", "mon": "allow profile osd", "mgr": "allow profile osd"}
                for number in OSDS
            },
        }
        texts = {}
        for name, given in caps.items():
            lines = [
                f"[{name}]",
                f"\tkey = {new_key()}",
                *(f'\tcaps {kind} = "{text}"' for kind, text in given.items()),
            ]
            texts[name] = "\n".join(lines) + "\n"
        write(self.folder / "initial.keyring", "".join(texts.values()))
        write(self.keyring, texts[_ADMIN])
        for name in [*texts][2:]:
            write(self.folder / name / "keyring", texts[name])

    def _configuration(self, tree: Path, fsid: str) -> str:
        libraries = next(tree.glob("usr/lib/*/ceph")).parent
        folder = self.folder
        return f"""# made by the lab
[global]
fsid = {fsid}
mon host = {",".join(one.vector for one in self.monitors)}
mon initial members = {",".join(MONITORS)}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = {self.keyring}
admin socket =
run dir = {folder}
crash dir = {folder}
plugin dir = {libraries}/ceph
erasure code dir = {libraries}/ceph/erasure-code
osd class dir = {libraries}/rados-classes
osd crush chooseleaf type = 0
osd pool default size = 2
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
mon max pg per osd = 2000
log file =
[mon]
admin socket = {COMPONENT}/$name.asok
mon data = {folder}/mon.$id
keyring = {folder}/mon.$id/keyring
log to stderr = true
mon cluster log to file = false
mon allow pool size one = true
mon allow pool delete = true
mon data avail warn = 0
mon data avail crit = 0
mon election timeout = 2
mon client hunt interval = 1
mon client log interval = 0.1
paxos propose interval = 0.05
paxos min wait = 0.01
[mgr]
admin socket = {COMPONENT}/$name.asok
mgr data = {folder}/mgr.$id
keyring = {folder}/mgr.$id/keyring
mgr module path = {folder}/modules
log to stderr = true
[osd]
admin socket = {COMPONENT}/$name.asok
osd data = {folder}/osd.$id
keyring = {folder}/osd.$id/keyring
osd objectstore = bluestore
osd memory target = 939524096
bluestore block size = 1073741824
bluestore block create = true
bluestore fsck on mount = false
osd class load list = *
osd class default list = *
osd mon shutdown timeout = 1
log to stderr = true
[mds]
admin socket = {COMPONENT}/$name.asok
mds data = {folder}/mds.$id
keyring = {folder}/mds.$id/keyring
log to stderr = true
"""

    def _fill(self, cancelled: Callable[[], bool]) -> str:
        """Put OSDs and a filesystem into the cluster's maps."""
        if (self.folder / "cluster-made").is_file():
            return ""
        made = read_json(self.folder / "made.json")
        host = socket.gethostname().split(".")[0] or "lab"
        root = [f"host={host}", "root=default"]
        orders: list[dict[str, Any]] = []
        for number, name in zip(OSDS, made["osds"], strict=True):
            orders.append({"mon": {"prefix": "osd create", "uuid": name, "id": number}})
            orders.append({"mon": {"prefix": "osd crush add", "id": number, "weight": 1.0, "args": root}})
        for pool in (METADATA_POOL, DATA_POOL):
            orders.append({"mon": {"prefix": "osd pool create", "pool": pool, "pg_num": 8}})
        fs = {"prefix": "fs new", "fs_name": FILESYSTEM, "metadata": METADATA_POOL, "data": DATA_POOL}
        orders.append({"mon": fs})
        for order, answer in zip(orders, self.ask(orders, timeout=90), strict=True):
            if answer.code or cancelled():
                raise LabError(f"Ceph: {order['mon']['prefix']}: {answer.code} {answer.said}")
        children = [
            subprocess.Popen(
                ["/bin/sh", str(self.folder / "run.sh"), "ceph-osd", "-i", str(n), "--mkfs", "--osd-uuid", name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=self._state,
            )
            for n, name in zip(OSDS, made["osds"], strict=True)
        ]
        for child in children:
            _out, errors = child.communicate(timeout=90)
            if child.returncode:
                raise LabError(f"ceph-osd --mkfs failed:\n{errors.decode(errors='replace')[-2000:]}")
        (self.folder / "cluster-made").touch()
        return "OSDs and filesystem made"

    def _run(self, *argv: str) -> None:
        done = subprocess.run(
            ["/bin/sh", str(self.folder / "run.sh"), *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            umask=0o077,
            cwd=self._state,
            timeout=90,
        )
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
            raise LabError(f"{argv[0]} failed:\n{tail}")

    # -- for tests -------------------------------------------------------------------------------------------

    def ask(
        self, commands: Sequence[Mapping[str, Any]], *, user: str = _ADMIN, key: str = "", timeout: float = 20
    ) -> list[Answer]:
        """Send commands on one connection (see ``lab/files/ceph/ask.py``), as the administrator or with a key."""
        order = {
            "conf": str(self.conf),
            "user": user,
            "timeout": timeout,
            "commands": [dict(one) for one in commands],
            **({"key": key} if key else {"keyring": str(self.keyring)}),
        }
        with self._started() as child:
            try:
                out, errors = child.communicate(json.dumps(order).encode(), timeout=timeout + 60)
            except subprocess.TimeoutExpired:
                child.kill()
                raise LabError("Ceph does not answer") from None
        if child.returncode:
            raise LabError(f"asking Ceph failed:\n{errors.decode(errors='replace')[-2000:]}")
        return [Answer(one["code"], one["out"], one["said"]) for one in json.loads(out)]

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [_PYTHON, str(_ASK)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **self.environment},
        )

    @contextlib.contextmanager
    def holding(self, order: Mapping[str, Any]) -> Iterator[None]:
        """Run an order next to the caller, such as one that stays logged in (``hold``); ended at the latest here."""
        with self._started() as child:
            try:
                if child.stdin is None:
                    raise LabError("no way to give an order")
                child.stdin.write(json.dumps(dict(order)).encode())
                child.stdin.close()
                yield
            finally:
                child.kill()
                child.wait()

    def command(self, prefix: str, *, target: str = "mon", **arguments: Any) -> Any:
        """Send one command as the administrator and return what comes back.

        :raises LabError: when Ceph refuses it.
        """
        answer = self.ask([{target: {"prefix": prefix, **arguments}}])[0]
        if answer.code:
            raise LabError(f"{prefix}: {answer.code} {answer.said}")
        return answer.out

    def key(self, user: str) -> str:
        """The key of a user."""
        return str(self.command("auth get-key", entity=user)["key"])

    def written(self) -> list[str]:
        """The commands so far by which a client changed something, as the first monitor and the manager noted them.

        The first monitor leads, so that it carries out what others were sent. Of commands with a value that may be
        secret it notes nothing but that there was one.
        """
        marker = f"{_MARKER}{uuid.uuid4()}"
        groups = {"prefix": "fs subvolumegroup ls", "vol_name": marker}
        self.ask([{"mon": {"prefix": "config-key rm", "key": marker}}, {"mgr": groups}])
        logs = [self._state / "logs" / f"{COMPONENT}-{name}.log" for name in (f"mon-{MONITORS[0]}", "mgr")]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            texts = [log.read_text(errors="replace") for log in logs]
            if all(marker in text for text in texts):
                lines = [line for text in texts for line in text.splitlines() if _WRITING.search(line)]
                return [line for line in lines if _MARKER not in line]
            time.sleep(0.1)
        raise LabError(f"{' or '.join(map(str, logs))} does not have the newest command")

    def move(self, name: str) -> Callable[[], None]:
        """Tell the monitors that one gets its other addresses; returns what writes it down once it is stopped."""
        away = name not in self._moved
        target = self._monitor(name, moved=away)
        order = {"mon": {"prefix": "mon set-addrs", "name": name, "addrs": target.vector}}
        known = {"until": {"mon": {"prefix": "mon dump"}}}
        answer = self.ask([order, known])[0]
        if answer.code:
            raise LabError(f"mon set-addrs: {answer.code} {answer.said}")

        def written() -> None:
            moved = [other for other in self._moved if other != name] + ([name] if away else [])
            write_json(self.folder / "moved.json", moved)
            write(self.conf, self._configuration(_DEBIAN.trees()[0], self.fsid))

        return written

    def secrets(self) -> set[str]:
        """Keys in the lab's files."""
        found: set[str] = set()
        for file in (self.folder / "initial.keyring",):
            if file.is_file():
                found |= set(re.findall(r"key = (\S+)", file.read_text()))
        return found


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
