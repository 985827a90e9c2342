# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a whole snapshot."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import tracemalloc
import typing as t
import zlib

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.snapshot_archive import Archive, read_archive
from hypothesis import given, settings
from hypothesis import strategies as st

from .archives import members, pack, sums

WHOLE = pack(members(bytes(range(256)) * 40))


def read(data: bytes) -> Archive:
    return read_archive(io.BytesIO(data), item="it")


def damage(data: bytes) -> str:
    with pytest.raises(HackspaceError) as caught:
        read(data)
    assert (caught.value.rule, caught.value.item) == ("snapshot-damaged", "it")
    return caught.value.message


def test_a_whole_one() -> None:
    kept = bytearray()
    archive = read_archive(io.BytesIO(WHOLE), item="it", sink=kept.extend)
    assert bytes(kept) == WHOLE
    assert archive == Archive(
        len(WHOLE), hashlib.sha256(WHOLE).hexdigest(), 44, 3, ("openbao-0", "openbao-1"), 256 * 40
    )


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(WHOLE) - 1))
def test_cut_anywhere(length: int) -> None:
    damage(WHOLE[:length])


@settings(deadline=None, max_examples=60)
@given(st.integers(10, len(WHOLE) - 1), st.integers(1, 255))
def test_changed_anywhere(place: int, by: int) -> None:
    """From the tenth byte on, which is where gzip's header with its unused fields ends."""
    damage(WHOLE[:place] + bytes([WHOLE[place] ^ by]) + WHOLE[place + 1 :])


def test_something_behind_it() -> None:
    damage(WHOLE + b'{"errors":["1 error occurred"]}')


def test_members() -> None:
    right = members()
    for name in right:
        assert f"{name} is missing" in damage(pack({k: v for k, v in right.items() if k != name}))
    assert "no snapshot has" in damage(pack({**right, "../evil": b""}))
    assert "no snapshot has" in damage(pack([*right.items(), ("meta.json", b"{}")]))
    assert "not what it should be" in damage(pack({**right, "SHA256SUMS": b"x" * 9000}))
    assert "state.bin in it does not have the checksum" in damage(pack({**right, "state.bin": b"other"}))
    assert "meta.json in it does not have the checksum" in damage(pack({**right, "meta.json": b"{}"}))
    assert "checksum" in damage(pack({**right, "SHA256SUMS": b""}))


def test_meta_describes_the_state() -> None:
    for meta in (
        b"{}",
        b"[]",
        b"no JSON",
        b'{"Size": 1, "Index": 1, "Term": 1}',
        b'{"Size": "x"}',
        b'{"Size": 5, "Index": Infinity, "Term": 1}',
        b'{"Size": 5, "Index": 1, "Term": 1, "Configuration": {"Servers": ["x"]}}',
    ):
        two = {"meta.json": meta, "state.bin": b"state"}
        assert "does not describe" in damage(pack({**two, "SHA256SUMS": sums(two), "SHA256SUMS.sealed": b"x"}))


def test_headers_of_headers() -> None:
    def with_header(kind: bytes, size: int, times: int = 1) -> bytes:
        file = io.BytesIO()
        for _again in range(times):
            header = tarfile.TarInfo("x")
            header.type, header.size = kind, size
            file.write(header.tobuf() + bytes(size))
        return gzip.compress(file.getvalue() + gzip.decompress(WHOLE), 1)

    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
        large = with_header(kind, 32 << 20)
        tracemalloc.start()
        damage(large)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        tracemalloc.stop()
        damage(with_header(kind, 512, 1500))


class Endless:
    """A large archive that exists nowhere: packed zeros, in pieces, before the end of the stream."""

    def __init__(self, size: int) -> None:
        packer = zlib.compressobj(0, zlib.DEFLATED, 31)
        two = {"meta.json": b"", "state.bin": b""}
        total = hashlib.sha256()
        for _piece in range(size // 65536):
            total.update(bytes(65536))
        small = members(b"")["meta.json"].replace(b'"Size": 0', b'"Size": %d' % size)
        two["meta.json"] = small
        text = f"{hashlib.sha256(small).hexdigest()}  meta.json\n{total.hexdigest()}  state.bin\n".encode()
        self._pieces = self._pack(packer, size, small, text)
        self._rest = b""

    @staticmethod
    def _header(name: str, size: int) -> bytes:
        import tarfile

        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf()

    def _pack(self, packer: t.Any, size: int, meta: bytes, text: bytes) -> t.Iterator[bytes]:
        def padded(data: bytes) -> bytes:
            return data + bytes(-len(data) % 512)

        yield packer.compress(self._header("meta.json", len(meta)) + padded(meta))
        yield packer.compress(self._header("state.bin", size))
        for _piece in range(size // 65536):
            yield packer.compress(bytes(65536))
        yield packer.compress(self._header("SHA256SUMS", len(text)) + padded(text))
        yield packer.compress(self._header("SHA256SUMS.sealed", 5) + padded(b"proof") + bytes(1024))
        yield packer.flush()

    def read(self, size: int) -> bytes:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


def test_a_large_one_in_constant_memory() -> None:
    size = 32 << 20
    source = Endless(size)
    tracemalloc.start()
    try:
        archive = read_archive(source, item="it")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert archive.state_size == size
    assert archive.size > size
    assert peak < 4_000_000, peak
