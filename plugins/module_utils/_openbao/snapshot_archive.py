# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is in a raft snapshot, and whether it is whole; read once from beginning to end, in constant memory.

A snapshot is a gzip'd tar of ``meta.json`` (index and term of raft), ``state.bin`` (every entry, encrypted by the
barrier), ``SHA256SUMS`` of those two, and ``SHA256SUMS.sealed``, the same sums encrypted by the seal: by it a server
knows whether a snapshot is of its own keys. OpenBao answers 200 before it begins to write, so that a snapshot that
failed half-way is told only by this.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import tarfile
import typing as t
import zlib

from .._core.errors import HackspaceError

META: t.Final = "meta.json"
STATE: t.Final = "state.bin"
SUMS: t.Final = "SHA256SUMS"
SEALED_SUMS: t.Final = "SHA256SUMS.sealed"
MEMBERS: t.Final = (META, STATE, SUMS, SEALED_SUMS)

#: All members but the state have a few hundred bytes; servers refuse more than this.
_SMALL: t.Final = 8192
_PIECE: t.Final = 1 << 18


class Source(t.Protocol):
    """What an archive is read from."""

    def read(self, size: int, /) -> bytes:
        """Return at most *size* bytes, nothing at the end."""


@dataclasses.dataclass(frozen=True)
class Archive:
    """A whole archive.

    :ivar size: bytes of the archive as it is.
    :ivar sha256: of the archive as it is.
    :ivar index: raft index up to which it goes.
    :ivar term: raft term.
    :ivar servers: ids of the raft members at that time.
    :ivar state_size: bytes of the state in it.
    """

    size: int
    sha256: str
    index: int
    term: int
    servers: tuple[str, ...]
    state_size: int


class _Tee:
    """Passes on what is read, counted, summed, and given to *sink*."""

    def __init__(self, source: Source, sink: t.Callable[[bytes], None] | None) -> None:
        self._source, self._sink = source, sink
        self.sum = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(_PIECE if size is None or size < 0 else size)
        if piece:
            self.sum.update(piece)
            self.size += len(piece)
            if self._sink:
                self._sink(piece)
        return piece


def read_archive(source: Source, *, item: str, sink: t.Callable[[bytes], None] | None = None) -> Archive:
    """Read a snapshot to its end and return what it is.

    :param sink: gets every piece as it is read, to keep it.
    :raises HackspaceError: ``snapshot-damaged``; whatever *source* and *sink* raise.
    """
    tee = _Tee(source, sink)
    try:
        with gzip.GzipFile(fileobj=t.cast("t.BinaryIO", tee), mode="rb") as unpacked:
            found = _members(t.cast("t.IO[bytes]", unpacked), item)
            while unpacked.read(_PIECE):  # to the end: the last bytes are gzip's own checksum
                pass
    except EOFError:
        raise damaged(item, f"it ends after {tee.size} bytes, in the middle") from None
    except (gzip.BadGzipFile, zlib.error, tarfile.TarError, RecursionError, ValueError) as error:
        if not tee.size:
            raise damaged(item, "it is empty") from None
        raise damaged(item, f"it is not packed as one, or broken ({type(error).__name__})") from None
    meta = _meta(found, item)
    return Archive(size=tee.size, sha256=tee.sum.hexdigest(), **meta)


@dataclasses.dataclass
class _Found:
    small: dict[str, bytes] = dataclasses.field(default_factory=dict)
    sums: dict[str, str] = dataclasses.field(default_factory=dict)
    state_size: int = -1


class _Header(tarfile.TarInfo):
    """A header; such as describe the next one are read at once, and are refused where that would be much."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> t.Self:
        header = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]
        if not header.isreg() and header.size > _SMALL:
            raise tarfile.ReadError("large header")
        return header


def _members(unpacked: t.IO[bytes], item: str) -> _Found:
    found = _Found()
    seen: set[str] = set()
    with tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_Header) as tar:
        for member in tar:
            if member.name not in MEMBERS or not member.isreg() or member.name in seen:
                raise damaged(item, f"it has a member that no snapshot has ({member.name[:40]!r})")
            seen.add(member.name)
            body = tar.extractfile(member)
            if body is None or (member.name != STATE and member.size > _SMALL):
                raise damaged(item, f"{member.name} in it is not what it should be")
            total = hashlib.sha256()
            pieces: list[bytes] = []
            size = 0
            while piece := body.read(_PIECE):
                total.update(piece)
                size += len(piece)
                if member.name != STATE:
                    pieces.append(piece)
            if member.name == STATE:
                found.state_size = size
            else:
                found.small[member.name] = b"".join(pieces)
            found.sums[member.name] = total.hexdigest()
    missing = [name for name in MEMBERS if name not in seen]
    if missing:
        raise damaged(item, f"{', '.join(missing)} is missing in it")
    return found


def _meta(found: _Found, item: str) -> dict[str, t.Any]:
    lines = [line.split() for line in found.small[SUMS].decode("ascii", "replace").splitlines() if line.strip()]
    listed = {line[1]: line[0].lower() for line in lines if len(line) == 2}
    for name in (META, STATE):
        if listed.get(name) != found.sums[name]:
            raise damaged(item, f"{name} in it does not have the checksum that {SUMS} tells")
    try:
        meta = json.loads(found.small[META])
        told: dict[str, t.Any] = {
            "index": int(meta["Index"]),
            "term": int(meta["Term"]),
            "servers": tuple(str(s.get("ID", "")) for s in (meta.get("Configuration") or {}).get("Servers") or []),
            "state_size": int(meta["Size"]),
        }
        right = told["state_size"] == found.state_size and told["index"] >= 0 and told["term"] >= 0
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        right, told = False, {}
    if not right:
        raise damaged(item, f"{META} in it does not describe its {STATE}")
    return told


def damaged(item: str, why: str) -> HackspaceError:
    """Return the error for a snapshot that cannot be used."""
    return HackspaceError(
        f"is no whole snapshot: {why}.",
        item=item,
        rule="snapshot-damaged",
        fix="take another snapshot; if it was just saved, run again and see the server's log.",
    )
