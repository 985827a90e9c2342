# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots as a server makes them (members and their order were looked at in a real one), right or wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import typing as t
from datetime import UTC, datetime

from ansible_collections.hackspace.infra.plugins.module_utils._openbao import snapshot_model as model
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import Node, NodeState
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.snapshot_archive import read_archive

NODE = NodeState(
    Node("openbao-0", "https://127.0.0.1:1"),
    "unsealed",
    role="active",
    threshold=3,
    total=5,
    version="2.6.2",
    seal_type="shamir",
    storage="raft",
    cluster_name="Lab One",
    cluster_id="11111111-2222-3333-4444-555555555555",
)
AT = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


def sums(members: t.Mapping[str, bytes]) -> bytes:
    """Return the text of SHA256SUMS."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in members.items()).encode()


def members(state: bytes = b"state" * 1000, **meta: t.Any) -> dict[str, bytes]:
    """Return the members of a snapshot, in order."""
    described = {"Version": 1, "ID": "bolt-snapshot", "Index": 44, "Term": 3, "Size": len(state), **meta}
    described["Configuration"] = {"Servers": [{"ID": "openbao-0"}, {"ID": "openbao-1"}]}
    two = {"meta.json": json.dumps(described).encode() + b"\n", "state.bin": state}
    return {**two, "SHA256SUMS": sums(two), "SHA256SUMS.sealed": b"\x0a\xb4" * 90}


def pack(parts: t.Mapping[str, bytes] | t.Sequence[tuple[str, bytes]]) -> bytes:
    """Return the archive of *parts*."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in parts.items() if isinstance(parts, t.Mapping) else parts:
            header = tarfile.TarInfo(name)
            header.size, header.mode = len(data), 0o600
            tar.addfile(header, io.BytesIO(data))
    return file.getvalue()


def sidecar_of(data: bytes, name: str, *, at: datetime = AT, why: str = model.ASKED) -> model.Sidecar:
    """Return the sidecar of an archive."""
    shares = model.Shares("unseal", 3, 5, "f00d", (("ada", "0a1b2c3d4e5f"),))
    archive = read_archive(io.BytesIO(data), item=name)
    return model.sidecar(name, archive, at=at, why=why, state=NODE, key_term=1, shares=shares)
