# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the lab that need no server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pyrage
import pytest

from lab import build, runner
from lab.api import Lab, Status
from lab.errors import Cancelled, LabError
from lab.files import locked, write
from lab.holders import bech32, make, new_age_identity
from lab.ports import Ports, busy, is_free
from lab.procs import MARK_LAB, MARK_NAME, Supervisor
from lab.runner import Step


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENBAO_BIN", raising=False)
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.delenv("ESO_BIN", raising=False)


def test_ports_stay_and_are_never_shared(tmp_path: Path) -> None:
    labs = [tmp_path / "a", tmp_path / "b"]
    for folder in labs:
        folder.mkdir()
    first, second = (Ports(folder / "ports.json", folder) for folder in labs)
    names = [f"p{number}" for number in range(40)]
    mine, others = first.ensure(names), second.ensure(names)
    assert len(set(mine.values()) | set(others.values())) == 80
    assert Ports(labs[0] / "ports.json", labs[0]).ensure(names) == mine
    more = first.ensure([*names, "one-more"])
    assert {name: more[name] for name in names} == mine
    assert more["one-more"] not in others.values()


def test_a_port_that_is_used_is_not_chosen_and_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert not is_free(port)
        assert busy([port], 0.1) == [port]
        monkeypatch.setattr("lab.ports.FIRST", port)
        monkeypatch.setattr("lab.ports.LAST", port + 1)
        assert Ports(tmp_path / "ports.json", tmp_path).ensure(["x"]) == {"x": port + 1}
        with pytest.raises(LabError, match="no free port"):
            Ports(tmp_path / "ports.json", tmp_path).ensure(["y"])
    assert busy([port]) == []


def test_age_keys_are_what_age_understands(tmp_path: Path) -> None:
    assert bech32("a", b"") == "a12uel5l"
    identity, recipient = new_age_identity()
    known = pyrage.x25519.Identity.from_str(identity)
    assert str(known.to_public()) == recipient
    sealed = pyrage.encrypt(b"share", [pyrage.x25519.Recipient.from_str(recipient)])
    assert pyrage.decrypt(sealed, [known]) == b"share"
    holders = make(tmp_path / "holders")
    assert [holder.age_recipient for holder in holders] == [
        holder.age_recipient for holder in make(tmp_path / "holders")
    ]
    assert {holder.age_identity_file.stat().st_mode & 0o777 for holder in holders} == {0o600}


def test_files_are_private_from_the_start_and_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "secret"
    write(file, "one")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(TypeError):
        write(file, 5)  # type: ignore[arg-type]
    assert file.read_text() == "one"
    assert [entry.name for entry in file.parent.iterdir()] == ["secret"]


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path / "lock", lambda: order.append("waits")):
            order.append("second")

    with locked(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        while not order:
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert order == ["waits", "first", "second"]


def test_steps_run_together_and_in_order() -> None:
    begun = threading.Barrier(2, timeout=5)
    done: list[str] = []

    def step(name: str, *needs: str, together: bool = False) -> Step:
        def act(cancelled: object) -> str:
            if together:
                begun.wait()
            done.append(name)
            return ""

        return Step(name, act, needs)

    runner.run([step("c", "a", "b"), step("a", together=True), step("b", together=True)], print)
    assert done[-1] == "c"
    assert sorted(done) == ["a", "b", "c"]
    with pytest.raises(LabError, match="nobody provides"):
        runner.run([step("x", "nothing")], print)


def test_the_first_error_stops_what_follows() -> None:
    ran: list[str] = []

    def fails(cancelled: object) -> str:
        raise ValueError("broken")

    def follows(cancelled: object) -> str:
        ran.append("follows")
        return ""

    with pytest.raises(LabError, match=r"first: ValueError: broken"):
        runner.run([Step("first", fails), Step("second", follows, ("first",))], print)
    assert ran == []


def test_an_interrupt_reaches_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    noticed = threading.Event()
    running = threading.Event()

    def waits(cancelled: object) -> str:
        assert callable(cancelled)
        running.set()
        while not cancelled():
            time.sleep(0.01)
        noticed.set()
        return ""

    join = threading.Thread.join

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        if running.is_set() and not noticed.is_set() and timeout == runner.GLANCE:
            raise KeyboardInterrupt
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(Cancelled, match="lab down"):
        runner.run([Step("waits", waits)], print)
    assert noticed.is_set()


def test_a_program_is_built_anew_exactly_when_its_inputs_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "go" / "vault"
    module.mkdir(parents=True)
    for name in ("go.mod", "go.sum"):
        (module / name).write_text((build.MODULES / "vault" / name).read_text())
    before = build.path("vault")
    monkeypatch.setattr(build, "MODULES", tmp_path / "go")
    assert build.path("vault") == before
    assert build.missing(["vault"]) == ["vault"]
    before.parent.mkdir(parents=True)
    before.touch()
    assert build.missing(["vault"]) == []
    (module / "go.sum").write_text("changed")
    assert build.missing(["vault"]) == ["vault"]


def test_programs_can_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tmp_path / "etcd"
    given.touch(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    monkeypatch.setenv("OPENBAO_BIN", str(given))
    assert build.path("etcd") == given
    assert build.path("vault") == given
    assert build.missing(build.PROGRAMS) == [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kwok",
        "external-secrets",
        "kyverno-admission-controller",
        "kyverno-background-controller",
        "kyverno",
        "kustomize-controller",
        "source-controller",
        "sops",
    ]
    monkeypatch.setenv("OPENBAO_BIN", str(tmp_path / "none"))
    with pytest.raises(LabError, match="OPENBAO_BIN"):
        build.path("vault")


def test_a_build_says_what_it_does_and_shows_why_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go-program"
    go.write_text(
        "#!/bin/sh\n"
        'printf "%s|" "$@" "$PWD" "$GOFLAGS" "$CGO_ENABLED"\n'
        "sleep 0.4\n"
        'test -z "$FAIL" || exit 1\n'
        'while [ "$1" != -o ]; do shift; done; echo built > "$2"\n'
    )
    go.chmod(0o755)
    monkeypatch.setattr(build, "find_go", lambda: go)
    monkeypatch.setattr(build, "_TICK", 0.1)
    said: list[str] = []
    monkeypatch.setenv("FAIL", "1")
    with pytest.raises(LabError, match=r"building etcd failed(.|\n)*go\.etcd\.io/etcd/server/v3"):
        build.Builder(["etcd"], said.append).build("etcd", lambda: False)
    assert build.missing(["etcd"]) == ["etcd"]
    monkeypatch.delenv("FAIL")
    said.clear()
    builder = build.Builder(["vault", "etcd"], said.append)
    builder.announce()
    builder.build("vault", lambda: False)
    assert builder.build("etcd", lambda: False) == "built v3.6.5"
    assert said[0].startswith("2 programs to build, once for this user: vault, etcd; about 12 min")
    assert said[1] == "[1/2] vault v1.13.2: building (about 10 min on 2 cores)…"
    assert any("all done in about" in line for line in said)
    assert build.missing(["etcd", "vault"]) == []
    assert build.Builder(["etcd"], said.append).build("etcd", lambda: False) == "built meanwhile"
    log = (build.path("etcd").parent / "build.log").read_text()
    assert "-trimpath|-buildvcs=false|-ldflags" in log
    assert log.endswith("||0|")


def test_without_go_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(LabError, match=r"lab/requirements\.txt"):
        build.find_go()


def test_an_interrupted_build_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go-program"
    go.write_text("#!/bin/sh\nsleep 61 &\nwait\n")
    go.chmod(0o755)
    monkeypatch.setattr(build, "find_go", lambda: go)
    supervisor = Supervisor(tmp_path)
    builder = build.Builder(["etcd"], print, str(tmp_path))
    with pytest.raises(LabError, match="interrupted"):
        builder.build("etcd", lambda: len(supervisor.scan().get("build-etcd", [])) == 2)
    deadline = time.monotonic() + 5
    while supervisor.scan():
        assert time.monotonic() < deadline
    assert build.missing(["etcd"]) == ["etcd"]


def test_a_builder_that_was_killed_is_found_by_down(tmp_path: Path) -> None:
    mine = Lab("half", tmp_path)
    mine.state.mkdir()
    environment = {**os.environ, MARK_LAB: str(mine.state), MARK_NAME: "build-etcd"}
    with subprocess.Popen(["sleep", "60"], env=environment, start_new_session=True) as left:
        assert mine.down() == ["build-etcd"]
        assert left.wait(5) == -signal.SIGKILL


def test_status_answers_while_another_command_works(tmp_path: Path) -> None:
    mine = Lab("busy", tmp_path)
    with mine._locked():
        mine._prepare()
        mine._describe(["openbao"], proxied=False)
        other = Lab("busy", tmp_path)
        lines: list[Status] = []
        thread = threading.Thread(target=lambda: lines.extend(other.status()), daemon=True)
        thread.start()
        thread.join(10)
        assert {line.state for line in lines} == {"stopped"}
