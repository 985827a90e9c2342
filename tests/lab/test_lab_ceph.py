# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ceph of the lab: what is fetched, that it keeps its data, moves a monitor, and goes away."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

from lab.api import Lab
from lab.ceph import new_key, wanted_packages

SIMULATION = """Reading package lists...
Inst librados2 (16.2.15+ds-0+deb12u2 Debian:12/stable [amd64])
Inst libfuse2 (2.9.9-6+b1 Debian:12/stable [amd64])
Inst libnvme1 (1.3-1+deb12u1 Debian:12/stable [amd64])
Inst lvm2 (2.03.16-2 Debian:12/stable [amd64])
Inst python3-rados (16.2.15+ds-0+deb12u2 Debian:12/stable [amd64])
Inst sudo (1.9.13p3-1+deb12u4 Debian:12/stable [amd64])
Inst ceph-mon (16.2.15+ds-0+deb12u2 Debian:12/stable [amd64])
Inst ceph (16.2.15+ds-0+deb12u2 Debian:12/stable [amd64])
"""


def test_only_what_ceph_needs_is_fetched() -> None:
    assert [package.partition("=")[0] for package in wanted_packages(SIMULATION)] == [
        "librados2",
        "libfuse2",
        "python3-rados",
        "ceph-mon",
        "ceph",
    ]


def test_keys() -> None:
    raw = base64.b64decode(new_key())
    assert struct.unpack("<H", raw[:2]) == (1,)
    assert len(raw) == 28
    assert new_key() != new_key()


def test_it_keeps_its_data_and_a_monitor_moves(tmp_path: Path) -> None:
    lab = Lab("ceph", tmp_path)
    try:
        lab.up(["ceph"])
        assert {line.state for line in lab.status() if line.component == "ceph"} == {"ready"}
        lab.ceph.command("osd pool create", pool="p", pg_num=8)
        stored = {"pool": "p", "object": "o"}
        assert lab.ceph.ask([{"rados": "write", **stored}])[0].code == 0
        lab.ceph.command("auth add", entity="client.x", caps=["mon", "allow r"])
        key = lab.ceph.key("client.x")
        assert any("client.x" in line for line in lab.ceph.written())
        assert lab.ceph.ask([{"mon": {"prefix": "auth ls"}}], user="client.x", key=key)[0].code == -13
        old = {one.name: one.v2 for one in lab.ceph.monitors}
        lab.move_monitor("c")
        new = {one.name: one.v2 for one in lab.ceph.monitors}
        assert [name for name in new if new[name] != old[name]] == ["c"]
        lab.restart("ceph")
        assert lab.ceph.ask([{"rados": "read", **stored}])[0].out == "x"
        assert lab.ceph.secrets() <= lab.secrets()
    finally:
        lab.down(wipe=True)
    assert lab.pids() == []
