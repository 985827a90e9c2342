# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of a living cluster: saved whole or not at all, by a login with few rights, in constant memory."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import threading
import tracemalloc
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import Connection, Login
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_snapshot import SnapshotClient
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.admin_plan import DEFAULT_POLICY

from lab.api import Lab
from tests.integration.ansible_run import run_module, run_play

from .conftest import HOLDERS, Bao, files

SAVE_ONLY = 'path "sys/storage/raft/snapshot" { capabilities = ["read"] }'
NOTHING = 'path "cubbyhole/x" { capabilities = ["read"] }'
RESTORE_TOO = 'path "sys/storage/raft/snapshot*" { capabilities = ["read", "update"] }'


@pytest.fixture(scope="module")
def bao(openbao_lab: Lab) -> Bao:
    return Bao(openbao_lab, openbao_lab.init_openbao().root_token)


def test_saved_once_and_said_what_it_is(bao: Bao, folder: Path, tmp_path: Path) -> None:
    shares = bao.record_shares(tmp_path / "shares", bao.lab.init_openbao().shares, "f00d" * 4)
    given: dict[str, t.Any] = {"folder": str(folder), "shares_dir": str(shares)}
    look = bao.call(check=True, **given)
    assert look["changed"]
    assert files(folder) == []
    first = bao.call(**given)
    assert first["changed"]
    assert [(c["action"], c["kind"]) for c in first["changes"]] == [("create", "snapshot")]
    name = first["snapshot"]["file"]
    assert files(folder) == [name, f"{name}.json"]
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    sidecar = json.loads((folder / f"{name}.json").read_text())
    assert sidecar == {k: v for k, v in first["snapshot"].items() if k != "path"}
    status = bao.ask("GET", "sys/seal-status")[1]
    assert sidecar["cluster"]["name"] == status["cluster_name"] == "lab"
    assert status["cluster_id"] not in json.dumps(sidecar)
    assert sidecar["server"] == {"version": status["version"], "seal_type": "shamir", "node": bao.active}
    assert sidecar["barrier_key_term"] == 1
    assert sidecar["raft"]["index"] > 0
    assert sidecar["size"] == (folder / name).stat().st_size
    assert (sidecar["shares"]["threshold"], sidecar["shares"]["total"]) == (3, 5)
    assert sidecar["shares"]["generation"] == "f00d" * 4
    assert [h["holder"] for h in sidecar["shares"]["holders"]] == list(HOLDERS)
    assert all(len(h["fingerprint"]) == 12 for h in sidecar["shares"]["holders"])
    second = bao.call(**given)
    assert (second["changed"], second["diff"], second["requests"]) == (False, [], 0)
    assert second["snapshot"] == first["snapshot"]
    third = bao.call(**given, max_age=0)
    assert third["changed"]
    assert third["snapshot"]["file"] != name
    read = bao.call(state="verified", folder=str(folder), nodes=None, token=None, ca_cert=None)
    assert [s["problem"] for s in read["snapshots"]] == ["", ""]


def test_a_record_of_other_shares_is_not_believed(bao: Bao, folder: Path, tmp_path: Path) -> None:
    shares = bao.record_shares(tmp_path / "shares", bao.lab.init_openbao().shares, "beef" * 4, threshold=2)
    result = bao.call(folder=str(folder), shares_dir=str(shares))
    assert result["changed"]
    assert "2 of 5" in result["warnings"][0]
    assert result["snapshot"]["shares"]["generation"] == ""
    record = json.loads((shares / "shares.json").read_text())
    record["cluster"]["cluster_id"] = "another"
    (shares / "shares.json").write_text(json.dumps(record))
    bao.error("shares-record-cluster", folder=str(folder), shares_dir=str(shares), max_age=0)


def test_damaged_or_pruned(bao: Bao, folder: Path) -> None:
    names = [bao.call(folder=str(folder), max_age=0)["snapshot"]["file"] for _time in range(4)]
    stranger = folder / "by-hand.snap"
    stranger.write_bytes((folder / names[0]).read_bytes())
    data = bytearray((folder / names[3]).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / names[3]).write_bytes(data)  # the newest one, of the same size
    keep: dict[str, t.Any] = {"keep_last": 2, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0, "prune": True}
    look = bao.call(check=True, folder=str(folder), **keep)
    # the damaged one does not count as present, and no one that is whole is counted out by it
    assert "damaged" in look["warnings"][0]
    assert look["snapshot"]["path"].endswith(names[2])
    assert look["pruned"] == [names[0]]
    capped = bao.error("prune-cap", folder=str(folder), max_age=0, prune_max_percent=20, **keep)
    assert capped.data["would_delete"] == names[:2]
    assert len(files(folder)) == 9
    done = bao.call(folder=str(folder), **keep)
    assert done["changed"]
    assert done["pruned"] == [names[0]]
    assert set(done["foreign"]) == {stranger.name, names[3]}
    assert stranger.exists()
    assert files(folder) == sorted([stranger.name, *(f"{n}{s}" for n in names[1:] for s in ("", ".json"))])
    again = bao.call(folder=str(folder), **keep)
    assert not again["changed"]
    wrong = bao.error("snapshot-damaged", state="verified", folder=str(folder))
    assert [bool(s["problem"]) for s in wrong.data["snapshots"]] == [True, False, False, True]
    bao.error("no-sidecar", state="verified", file=str(stranger))


def test_rights(bao: Bao, folder: Path) -> None:
    assert bao.call(folder=str(folder), token=bao.token(SAVE_ONLY))["changed"]
    assert bao.call(folder=str(folder), token=bao.token(DEFAULT_POLICY), max_age=0)["changed"]
    file = str(folder / files(folder)[0])
    less = bao.error("http-status", folder=str(folder), token=bao.token(NOTHING), max_age=0)
    assert less.status == 403
    # who may not ask for their own rights learns it only then
    look = bao.call(folder=str(folder), token=bao.token(NOTHING), max_age=0, check=True)
    assert "its own rights" in look["warnings"][0]
    asking = 'path "sys/capabilities-self" { capabilities = ["update"] }\n'
    for check in (True, False):
        less = bao.error("http-status", folder=str(folder), token=bao.token(asking), max_age=0, check=check)
        assert less.status == 403
        restore: dict[str, t.Any] = {"state": "restored", "file": file, "confirm": "lab"}
        less = bao.error("http-status", token=bao.token(asking + SAVE_ONLY), check=check, **restore)
        assert (less.status, less.fix.count('"update"')) == (403, 1)
    for policy in (asking + RESTORE_TOO, DEFAULT_POLICY):
        look = bao.call(token=bao.token(policy), check=True, **restore)
        assert look["changed"]
        assert look["warnings"] == []
    assert len(files(folder)) == 4


def test_which_server_is_asked(bao: Bao, folder: Path) -> None:
    standby = next(n.name for n in bao.lab.openbao_nodes if n.name != bao.active)
    error = bao.error("no-active-node", folder=str(folder), nodes=[bao.node(standby)])
    assert "standby" in error.message
    one = bao.node(standby)
    alone: dict[str, t.Any] = {"folder": str(folder), "nodes": None, "url": one["url"]}
    # the name of the standby is not in the certificate of the active node
    error = bao.error("standby", **alone, tls_server_name=one["tls_server_name"])
    assert "tls-name" in error.message
    server = Connection(one["url"], one["tls_server_name"], str(bao.lab.openbao_ca))
    client = SnapshotClient(server, Login(token=Secret(bao.root)), timeout=5)
    with pytest.raises(HackspaceError, match="address the active node"), client.download():
        raise AssertionError("a redirect was followed")
    client.close()
    result = bao.call(**alone, tls_server_name="openbao.lab.internal")
    assert result["changed"]
    bao.error("no-active-node", folder=str(folder), ca_cert=str(bao.lab.wrong_ca), max_age=0)
    bao.lab.pause(standby)
    try:
        assert bao.call(folder=str(folder), max_age=0, timeout=1)["active"] == bao.active
    finally:
        bao.lab.resume(standby)


def test_nothing_is_left_of_a_download_that_failed(bao: Bao, folder: Path) -> None:
    good = bao.call(folder=str(folder))["snapshot"]["file"]
    there = files(folder)
    with bao.lab.proxy(bao.active) as proxy:
        given: dict[str, t.Any] = {
            "folder": str(folder),
            "nodes": [bao.node(bao.active, url=proxy.address)],
            "max_age": 0,
        }
        path = "/raft/snapshot$"
        proxy.cut("after", path=path)
        bao.error("cut", **given)
        proxy.fail(503, path=path)
        assert bao.error("http-status", **given).status == 503
        broken: dict[str, t.Callable[[bytes], bytes]] = {
            "ends after": lambda body: body[:-4000],
            "no whole": lambda body: body[:3000] + b"\0" * 8 + body[3008:],
            "or broken": lambda body: body + b'{"errors":["1 error occurred"]}',
            "it is empty": lambda body: b"",
        }
        for words, change in broken.items():
            proxy.change(change, path=path)
            assert words in bao.error("snapshot-damaged", **given).message
        proxy.call(lambda _method, _path: proxy.refuse(), "after", path=path)
        bao.error("cut", **given)
    assert files(folder) == there
    assert bao.call(folder=str(folder))["snapshot"]["file"] == good


@contextlib.contextmanager
def small_disk(size: int) -> t.Iterator[None]:
    """No file can become larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_room(bao: Bao, folder: Path) -> None:
    with small_disk(4096):
        bao.error("no-room", folder=str(folder))
    assert files(folder) == []
    assert bao.call(folder=str(folder))["changed"]


def test_large_ones_in_constant_memory(bao: Bao, folder: Path) -> None:
    bao.call(folder=str(folder))  # everything is imported by now
    bao.ask("POST", "sys/mounts/large", {"type": "kv"})

    def write(index: int) -> None:
        bao.ask("POST", f"large/{index}", {"x": os.urandom(475_000).hex()})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(110)))
    peaks: dict[str, int] = {}

    def measured(name: str, **given: t.Any) -> dict[str, t.Any]:
        tracemalloc.start()
        try:
            return bao.call(**given)
        finally:
            peaks[name] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()

    saved = measured("save", folder=str(folder), max_age=0)
    file = saved["snapshot"]["path"]
    measured("verify", state="verified", file=file)
    restored = measured("restore", state="restored", file=file, confirm="lab", safety_snapshot=False)
    assert restored["sealed"] == []
    assert saved["snapshot"]["size"] > 100_000_000
    assert max(peaks.values()) < 5_000_000, peaks
    bao.ask("DELETE", "sys/mounts/large")


def test_two_at_once_and_what_a_killed_run_left(bao: Bao, folder: Path) -> None:
    gate = threading.Event()
    with bao.lab.proxy(bao.active) as proxy:
        proxy.call(lambda _method, _path: t.cast("None", gate.wait(20)), "after", path="/raft/snapshot$")
        slow: dict[str, t.Any] = {
            "folder": str(folder),
            "nodes": [bao.node(bao.active, url=proxy.address)],
            "max_age": 0,
        }
        left = folder / ".openbao-lab-20260101T000000Z.snap.part"
        left.touch(mode=0o600)
        (folder / "openbao-lab-20260101T000000Z.snap.json").write_text("{}")
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(bao.call, **slow)
            try:
                while not proxy.requests(path="/raft/snapshot$"):
                    pass
                other = bao.call(folder=str(folder), max_age=0)
            finally:
                gate.set()
            assert running.result(30)["snapshot"]["file"] != other["snapshot"]["file"]
    assert not left.exists()
    assert len(files(folder)) == 4
    assert bao.call(state="verified", folder=str(folder))["summary"]


def test_by_ansible_nothing_is_shown(bao: Bao, folder: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(bao.root)
    shares = bao.record_shares(tmp_path / "shares", bao.lab.init_openbao().shares, "cafe" * 4)
    given: dict[str, t.Any] = {
        **bao.args(token=None, token_path=str(token)),
        "folder": str(folder),
        "shares_dir": str(shares),
    }
    runs = [run_module("openbao_snapshot", given, verbosity=3, diff=True, check=check).ok() for check in (True, False)]
    file = str(folder / files(folder)[0])
    runs.append(run_module("openbao_snapshot", {"state": "verified", "file": file}, verbosity=3).ok())
    runs.append(
        run_play(
            [
                {
                    "name": "restore",
                    "hackspace.infra.openbao_snapshot": {
                        **bao.args(token=None, token_path=str(token)),
                        "state": "restored",
                        "file": file,
                    },
                }
            ],
            verbosity=3,
            diff=True,
        )
    )
    assert runs[-1].rc != 0
    assert "[confirm]" in runs[-1].output
    texts = [run.output for run in runs]
    texts += [p.read_text(errors="replace") for run in runs for p in run.folder.rglob("*") if p.is_file()]
    texts += [p.read_bytes().decode("latin-1") for p in folder.iterdir()]
    for word in bao.lab.secrets():
        assert not any(word in text for text in texts)
