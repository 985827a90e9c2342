# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Snapshots on the disk and on their way: saved whole or not at all, read again, deleted, restored.

A snapshot is written to ``.NAME.snap.part``, mode 0600, and checked while it comes in. Only when it is whole and on the
disk, its sidecar is written, and then it gets its name. Who writes holds a lock on the part file, so that the next run
knows which of those it finds are left over from a run that was killed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import os
import stat
import time
import typing as t
from datetime import datetime, timedelta

from .._core import private_files
from .._core.errors import HackspaceError, InvalidInput, check
from . import snapshot_model as model
from .seal_model import NodeState, Overview
from .snapshot_archive import Archive, Source, damaged, read_archive
from .snapshot_plan import Found, other_keys

#: Larger files are no sidecars.
_SIDECAR_BYTES: t.Final = 100_000
#: Seconds for the server to begin with a restore after it has answered.
BEGIN: t.Final = 0.5
#: Seconds that a node which does not answer any more is waited for when the others agree: some crash, and are started
#: again by whatever looks after them.
COMING_BACK: t.Final = 5.0


class Server(t.Protocol):
    """The active node, with a login."""

    def download(self) -> t.ContextManager[Source]:
        """Ask for a snapshot."""

    def upload(self, body: t.BinaryIO, *, force: bool) -> None:
        """Send one."""

    def settled(self, timeout: float) -> int | None:
        """Return the status of ``sys/health`` once the server answers."""

    def key_term(self) -> int | None:
        """Return the term of the barrier key."""


@dataclasses.dataclass(frozen=True)
class Saved:
    """A snapshot that was saved."""

    path: str
    sidecar: model.Sidecar


# -- what is there -------------------------------------------------------------------------------------------------


def look(folder: str) -> list[Found]:
    """Return the snapshots of a folder by their sidecars and sizes; nothing large is read.

    A part file that nobody writes any more is left over; :func:`sweep` takes it away.
    """
    names = set(os.listdir(folder))
    found: list[Found] = []
    for name in sorted(names):
        snapshot = name.removesuffix(model.SIDECAR)
        if snapshot != name and model.is_ours(snapshot) and snapshot not in names:
            lone, _problem = _sidecar(os.path.join(folder, name))
            if lone is not None:
                found.append(Found(snapshot, lone, None, "the snapshot is not there"))
        elif name.endswith(model.SUFFIX) and not name.startswith("."):
            with contextlib.suppress(FileNotFoundError):  # another run has pruned it since it was listed
                info = os.lstat(os.path.join(folder, name))
                if stat.S_ISREG(info.st_mode):
                    found.append(_found(folder, name, info.st_size))
    return found


def _found(folder: str, name: str, size: int) -> Found:
    record, problem = _sidecar(os.path.join(folder, name + model.SIDECAR))
    if record is None:
        return Found(name, None, size, problem)
    if record.file != name:
        return Found(name, None, size, f"its sidecar is of {record.file}")
    if record.size != size:
        return Found(name, record, size, f"damaged: it has {size} bytes, its sidecar tells of {record.size}")
    return Found(name, record, size)


def _sidecar(path: str) -> tuple[model.Sidecar | None, str]:
    try:
        return read_sidecar(path), ""
    except InvalidInput as error:
        return None, "no sidecar" if error.rule == "no-sidecar" else "its sidecar is damaged"


def read_sidecar(path: str) -> model.Sidecar:
    """Return the sidecar in a file.

    :raises InvalidInput: ``no-sidecar``, ``sidecar``.
    """
    try:
        with open(path, "rb") as handle:
            text = handle.read(_SIDECAR_BYTES)
    except OSError as error:
        raise InvalidInput(
            f"cannot be read ({error.strerror}).",
            item=path,
            rule="no-sidecar",
            fix="bring back the sidecar that was saved with the snapshot.",
        ) from None
    return model.parse_sidecar(text, item=path)


def verify(path: str) -> tuple[Archive, model.Sidecar | None]:
    """Read a snapshot to its end and compare it with its sidecar, if it has one.

    :raises HackspaceError: ``snapshot-missing``, ``snapshot-damaged``, ``sidecar``, ``sidecar-differs``.
    """
    try:
        with open(path, "rb") as handle:
            archive = read_archive(handle, item=path)
    except OSError as error:
        raise InvalidInput(
            f"cannot be read ({error.strerror}).",
            item=path,
            rule="snapshot-missing",
            fix="give the path of a snapshot on the controller.",
        ) from None
    try:
        record = read_sidecar(path + model.SIDECAR)
    except InvalidInput as error:
        if error.rule != "no-sidecar":
            raise
        return archive, None
    why = model.against(archive, record, os.path.basename(path))
    if why:
        raise HackspaceError(
            f"{why}.",
            item=path,
            rule="sidecar-differs",
            fix="one of the two was changed or exchanged: take the pair from another copy.",
        )
    return archive, record


# -- saving --------------------------------------------------------------------------------------------------------


def sweep(folder: str) -> list[str]:
    """Delete what runs that were killed have left of snapshots that never were; return the names."""
    gone: list[str] = []
    for name in sorted(os.listdir(folder)):
        snapshot = name.removeprefix(".").removesuffix(".part")
        if name != f".{snapshot}.part" or not model.is_ours(snapshot):
            continue
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while somebody writes it
                os.unlink(path)
                gone.append(name)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(private_files.part_of(os.path.join(folder, snapshot + model.SIDECAR)))
                if not os.path.lexists(os.path.join(folder, snapshot)):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(os.path.join(folder, snapshot + model.SIDECAR))
            finally:
                os.close(handle)
    return gone


def free_time(folder: str, cluster: model.Cluster, at: datetime) -> datetime:
    """Return *at*, or the first second after it whose name is free in *folder*."""
    while any(os.path.lexists(path) for path in _names(os.path.join(folder, model.file_name(cluster, at)))):
        at += timedelta(seconds=1)
    return at


def _names(path: str) -> tuple[str, str]:
    return path, private_files.part_of(path)


def save(
    server: Server,
    folder: str,
    state: NodeState,
    *,
    at: datetime,
    why: str,
    shares: model.Shares,
) -> Saved:
    """Save a snapshot of the active node into *folder*, whole or not at all.

    :raises HackspaceError: what the server said, ``snapshot-damaged``, ``cut``, ``no-room``; nothing is left then.
    """
    name = model.file_name(model.cluster_of(state), at)
    path = os.path.join(folder, name)
    part = private_files.part_of(path)
    key_term = server.key_term()
    with _new_file(part) as handle, server.download() as body:
        # the part file is ours alone by now, so that nobody else can come to this name
        check(
            not os.path.lexists(path),
            f"{path} exists and is never overwritten.",
            item=folder,
            rule="file-exists",
            fix="run again.",
        )
        archive = read_archive(body, item=f"the answer of {state.node.url}", sink=_writer(handle, part))
        record = model.sidecar(name, archive, at=at, why=why, state=state, key_term=key_term, shares=shares)
        try:
            os.fsync(handle)
            private_files.replace(path + model.SIDECAR, record.text())
            os.link(part, path)  # fails where rename would replace
        except OSError as error:
            with contextlib.suppress(OSError):
                if not os.path.lexists(path):
                    os.unlink(path + model.SIDECAR)
            raise _disk(error, path) from None
    private_files.sync_folder(folder)
    return Saved(path, record)


@contextlib.contextmanager
def _new_file(path: str) -> t.Iterator[int]:
    """A new file of mode 0600, locked while it is written, gone afterwards (it has its name by then, or none)."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _disk(error, path) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # another run takes it for left over at this moment
            raise _disk(error, path) from None
        yield handle
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(handle)


def _writer(handle: int, path: str) -> t.Callable[[bytes], None]:
    def write(piece: bytes) -> None:
        view = memoryview(piece)
        try:
            while view:
                view = view[os.write(handle, view) :]
        except OSError as error:
            raise _disk(error, path) from None

    return write


def _disk(error: OSError, path: str) -> HackspaceError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return HackspaceError(
        f"the snapshot cannot be written ({error.strerror}); nothing was kept of it.",
        item=os.path.dirname(path) or ".",
        rule="no-room" if full else "folder-write",
        fix="make room, or give a folder on another file system." if full else "look at the folder and its disk.",
    )


def delete(folder: str, name: str, *, sidecar_only: bool = False) -> None:
    """Delete a snapshot, then its sidecar: what is cut off between them, the next prune takes away."""
    for path in ([] if sidecar_only else [name]) + [name + model.SIDECAR]:
        try:
            os.unlink(os.path.join(folder, path))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise HackspaceError(
                f"cannot be deleted ({error.strerror}).",
                item=os.path.join(folder, path),
                rule="folder-write",
                fix="look at the folder and its disk.",
            ) from None


# -- restoring -----------------------------------------------------------------------------------------------------


class _Checked:
    """A file that is sent; what is sent is the file that was checked, or the server gets only a part of it.

    The last piece is kept back until the checksum of the whole has been compared.
    """

    def __init__(self, handle: t.BinaryIO, archive: Archive, path: str) -> None:
        self._handle, self._left, self._path = handle, archive.size, path
        self._wanted, self._sum = archive.sha256, hashlib.sha256()
        if os.fstat(handle.fileno()).st_size != archive.size:
            raise damaged(path, "it was changed while this ran")

    def __len__(self) -> int:
        return self._left

    def __iter__(self) -> t.Iterator[bytes]:
        while piece := self.read():
            yield piece

    def read(self, size: int = -1) -> bytes:
        piece = self._handle.read(1 << 18 if size < 0 else size)
        if len(piece) > self._left or (not piece and self._left):
            raise damaged(self._path, "it was changed while this ran")
        self._left -= len(piece)
        self._sum.update(piece)
        if piece and not self._left and self._sum.hexdigest() != self._wanted:
            raise damaged(self._path, "it was changed while this ran")
        return piece


def restore(server: Server, path: str, archive: Archive, record: model.Sidecar | None, *, force: bool) -> None:
    """Send a snapshot that was verified.

    :raises HackspaceError: ``other-keys``, what the server said.
    """
    try:
        with open(path, "rb") as handle:
            server.upload(t.cast("t.BinaryIO", _Checked(handle, archive, path)), force=force)
    except HackspaceError as error:
        raise other_keys(error, record, path) from None


def wait_restored(
    server: Server,
    overview: t.Callable[[], Overview],
    *,
    timeout: float,
    sleep: t.Callable[[float], None] = time.sleep,
    clock: t.Callable[[], float] = time.monotonic,
) -> Overview:
    """Wait until the server has done what it took on, and the nodes agree: one is active, or none is unsealed.

    A server answers a restore when it has the snapshot, then works at it for five seconds or more, and answers nothing
    during that time.
    """
    end = clock() + timeout
    sleep(BEGIN)
    server.settled(max(1.0, end - clock()))
    since: float | None = None
    while True:
        seen = overview()
        answering = [s for s in seen.states if s.state != "unreachable"]
        agreed = bool(answering) and (
            all(s.state != "unsealed" for s in answering)
            if seen.active is None
            else all(s.state == "unsealed" for s in answering)
        )
        since = (since or clock()) if agreed else None
        if agreed and (len(answering) == len(seen.states) or clock() >= (since or 0.0) + COMING_BACK):
            return seen
        if clock() >= end:
            return seen
        sleep(0.5)
