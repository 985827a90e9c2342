# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Files of mode 0600 in a folder of mode 0700, written so that a full disk or a kill loses nothing."""

from __future__ import annotations

import contextlib
import os
import stat

from .errors import InvalidInput, Refused

#: Bytes reserved per file. An encrypted unseal share has 300 (age) to 1,500 (PGP, RSA 4096, armored) bytes.
RESERVE = 8192


def check_private_folder(path: str, *, item: str, files: int = 1) -> None:
    """Check, without writing, that *path* is a folder of ours, open to nobody else, with room for *files* files.

    :raises InvalidInput: rules ``folder-missing``, ``folder-mode``, ``folder-owner``, ``folder-writable``,
        ``folder-space``.
    """
    try:
        info = os.stat(path)
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be used ({error.strerror}).",
            item=item,
            rule="folder-missing",
            fix=f"create it: mkdir -m 700 {path}",
        ) from None
    if not stat.S_ISDIR(info.st_mode):
        raise InvalidInput(f"{path} is not a folder.", item=item, rule="folder-missing", fix="give a folder.")
    if info.st_uid != os.geteuid():
        raise InvalidInput(
            f"{path} belongs to another user (uid {info.st_uid}).",
            item=item,
            rule="folder-owner",
            fix="give a folder of the user that runs Ansible.",
        )
    if stat.S_IMODE(info.st_mode) & 0o077:
        raise InvalidInput(
            f"{path} has mode {stat.S_IMODE(info.st_mode):04o}; others can enter it.",
            item=item,
            rule="folder-mode",
            fix=f"chmod 700 {path}",
        )
    if not os.access(path, os.W_OK | os.X_OK):
        raise InvalidInput(f"{path} is not writable.", item=item, rule="folder-writable", fix=f"chmod 700 {path}")
    room = os.statvfs(path)
    if room.f_bavail * room.f_frsize < files * RESERVE:
        raise InvalidInput(
            f"{path} has less than {files * RESERVE} bytes free.",
            item=item,
            rule="folder-space",
            fix="make room, or give a folder on another file system.",
        )


def sync_folder(path: str) -> None:
    """Make names created in *path* survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def part_of(path: str) -> str:
    """Return the name under which the file *path* is written until it is whole."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.part")


def reserve(path: str) -> None:
    """Take the room for the file *path* in advance: a part file of mode 0600, filled and on the disk.

    :raises Refused: ``file-exists`` when *path* exists (it is never overwritten).
    :raises OSError: no room, no permission.
    """
    if os.path.lexists(path):
        raise Refused(
            f"{path} exists and is never overwritten.",
            item=path,
            rule="file-exists",
            fix="move it away if it belongs to a cluster that is gone, or give another folder.",
        )
    part = part_of(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.write(handle, b"\0" * RESERVE)
        os.fsync(handle)
    finally:
        os.close(handle)


def release(path: str) -> None:
    """Give back what :func:`reserve` took."""
    with contextlib.suppress(OSError):
        os.unlink(part_of(path))


def write_new(path: str, data: bytes) -> None:
    """Write *data* to the new file *path*, whole or not at all, on the disk when this returns.

    Uses the room taken by :func:`reserve` where there is some.

    :raises OSError: it could not be written; ``FileExistsError`` when it is there.
    """
    part = part_of(path)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        done = 0
        while done < len(data):
            done += os.write(handle, data[done:])
        os.ftruncate(handle, len(data))
        os.fsync(handle)
    finally:
        os.close(handle)
    os.link(part, path)
    os.unlink(part)
    sync_folder(os.path.dirname(path) or ".")


def replace(path: str, data: bytes) -> None:
    """Write *data* to *path*, mode 0600, replacing what is there, whole or not at all.

    :raises OSError: it could not be written; what was there is left.
    """
    part = part_of(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(part, path)
    sync_folder(os.path.dirname(path) or ".")
