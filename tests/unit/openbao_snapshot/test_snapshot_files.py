# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files: written whole or not at all, never over another one; leftovers; and the wait after a restore."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import io
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core import private_files
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import snapshot_apply as apply
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import snapshot_model as model
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import Node, NodeState, Overview
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.snapshot_archive import Source, read_archive

from .archives import AT, NODE, members, pack, sidecar_of

DATA = pack(members())
NAME = "openbao-lab-one-20261121T040000Z.snap"
SHARES = model.Shares("unseal", 3, 5)


class Active:
    """A server that sends what it is told to, and keeps what it is sent."""

    def __init__(self, data: bytes = DATA, then: t.Callable[[], None] | None = None) -> None:
        self.data, self.then, self.got = data, then, b""

    @contextlib.contextmanager
    def download(self) -> t.Iterator[Source]:
        yield io.BytesIO(self.data)
        if self.then:
            self.then()

    def upload(self, body: t.BinaryIO, *, force: bool) -> None:
        while piece := body.read(1000):
            self.got += piece

    def settled(self, timeout: float) -> int | None:
        return 200

    def key_term(self) -> int | None:
        return None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def save(folder: Path, server: Active) -> apply.Saved:
    return apply.save(server, str(folder), NODE, at=AT, why=model.ASKED, shares=SHARES)


def test_a_part_is_private_and_gone(folder: Path) -> None:
    seen: list[int] = []
    part = Path(private_files.part_of(str(folder / NAME)))
    save(folder, Active(then=lambda: seen.append(part.stat().st_mode & 0o777)))
    assert seen == [0o600]
    assert sorted(p.name for p in folder.iterdir()) == [NAME, f"{NAME}.json"]
    assert apply.verify(str(folder / NAME))[1] is not None


def test_nothing_is_replaced(folder: Path) -> None:
    (folder / NAME).write_bytes(b"mine")
    with pytest.raises(HackspaceError, match="never overwritten"):
        save(folder, Active())
    assert sorted(p.name for p in folder.iterdir()) == [NAME]
    assert (folder / NAME).read_bytes() == b"mine"
    assert model.file_name(model.cluster_of(NODE), apply.free_time(str(folder), model.cluster_of(NODE), AT)) > NAME
    with pytest.raises(HackspaceError):
        save(folder, Active(DATA[:50]))
    assert (folder / NAME).read_bytes() == b"mine"


def test_what_a_killed_run_left(folder: Path) -> None:
    left = folder / f".{NAME}.part"
    left.write_bytes(b"half")
    (folder / f"{NAME}.json").write_bytes(sidecar_of(DATA, NAME).text())
    (folder / f".{NAME}.json.part").write_bytes(b"half of a sidecar")
    other = folder / ".something.part"
    other.write_bytes(b"not ours")
    [lone] = apply.look(str(folder))
    assert (lone.name, lone.size) == (NAME, None)
    with left.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # somebody writes it
        assert apply.sweep(str(folder)) == []
    assert apply.sweep(str(folder)) == [left.name]
    assert [p.name for p in folder.iterdir()] == [other.name]


def test_links_and_strangers_are_left_alone(folder: Path) -> None:
    save(folder, Active())
    os.symlink(folder / NAME, folder / "link.snap")
    (folder / "swapped.snap").write_bytes(DATA)
    (folder / "swapped.snap.json").write_bytes(sidecar_of(DATA, NAME).text())
    (folder / "short.snap").write_bytes(DATA[:9])
    (folder / "short.snap.json").write_bytes(sidecar_of(DATA, "short.snap").text())
    found = {f.name: f for f in apply.look(str(folder))}
    assert set(found) == {NAME, "swapped.snap", "short.snap"}
    assert found[NAME].whole
    assert not found["swapped.snap"].whole
    assert found["swapped.snap"].sidecar is None
    assert "damaged" in found["short.snap"].problem


def test_what_is_sent_is_what_was_read(folder: Path) -> None:
    path = folder / NAME
    path.write_bytes(DATA)
    archive = read_archive(io.BytesIO(DATA), item="x")
    server = Active()
    apply.restore(server, str(path), archive, None, force=False)
    assert server.got == DATA
    path.write_bytes(DATA + b"x")
    with pytest.raises(HackspaceError, match="changed while"):
        apply.restore(server, str(path), archive, None, force=False)
    # another one of the same size: the server never gets its end
    server = Active()
    path.write_bytes(b"x" + DATA[1:])
    with pytest.raises(HackspaceError, match="changed while"):
        apply.restore(server, str(path), archive, None, force=False)
    assert len(server.got) < len(DATA)


def test_another_run_at_the_same_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(folder, Active())
    # pruned between the list and the look
    gone = NAME.replace("04", "05")
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [*listdir(path), gone])
    assert [f.name for f in apply.look(str(folder))] == [NAME]
    monkeypatch.undo()

    # taken for left over in the moment between its being made and being locked
    def taken(*_args: object) -> t.NoReturn:
        raise BlockingIOError(errno.EAGAIN, "busy")

    (folder / NAME).unlink()
    monkeypatch.setattr(fcntl, "flock", taken)
    with pytest.raises(HackspaceError, match="busy"):
        save(folder, Active())


def test_waiting_until_the_nodes_agree() -> None:
    nodes = [Node(f"n{i}", f"https://127.0.0.1:{i}") for i in range(3)]

    def view(*words: str) -> Overview:
        made = []
        for node, word in zip(nodes, words, strict=True):
            state = word if word in ("sealed", "unreachable") else "unsealed"
            role = word if word in ("active", "standby") else ""
            made.append(dataclasses.replace(NODE, node=node, state=t.cast("t.Any", state), role=role))
        return Overview.of(made)

    def wait(*views: Overview) -> tuple[int, float]:
        now = [0.0]
        todo = list(views)

        def look() -> Overview:
            return todo.pop(0) if len(todo) > 1 else todo[0]

        def sleep(seconds: float) -> None:
            now[0] += seconds

        apply.wait_restored(Active(), look, timeout=30, sleep=sleep, clock=lambda: now[0])
        return len(views) - len(todo), now[0]

    good = view("active", "standby", "standby")
    closed = view("sealed", "sealed", "sealed")
    assert wait(good)[1] == apply.BEGIN
    assert wait(closed)[1] == apply.BEGIN
    assert wait(view("active", "sealed", "standby"), view("sealed", "sealed", "standby"), closed)[0] == 2
    assert wait(view("standby", "standby", "standby"), good)[0] == 1
    # a node that went away is waited for, not for ever
    assert wait(view("sealed", "unreachable", "sealed"), closed)[0] == 1
    assert wait(view("sealed", "unreachable", "sealed"))[1] == apply.BEGIN + apply.COMING_BACK
    assert wait(view("unreachable", "unreachable", "unreachable"))[1] >= 30


def test_a_state_is_never_left_half(folder: Path) -> None:
    def fails() -> t.NoReturn:
        raise HackspaceError("the end of the transfer failed", rule="cut")

    # an error after the last byte: the snapshot is whole, and stays
    with pytest.raises(HackspaceError):
        save(folder, Active(then=fails))
    assert apply.verify(str(folder / NAME))[1] is not None
    assert isinstance(apply.look(str(folder))[0].sidecar, model.Sidecar)
    assert NodeState(NODE.node, "unsealed").name == "openbao-0"
