# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes are found again, and none but the lab's own is touched."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.api import Lab
from lab.errors import LabError
from lab.files import read_json, write_json
from lab.holders import make_pgp
from lab.procs import Process, Supervisor, look, send


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    mine = Supervisor(tmp_path)
    yield mine
    mine.stop_all()


def sleeper(tmp_path: Path, name: str = "sleeper", seconds: str = "60", **options: object) -> Process:
    return Process(name, "test", ("sleep", seconds), {}, lambda: None, tmp_path / "log", **options)  # type: ignore[arg-type]


def test_a_process_is_kept_and_replaced_when_its_command_changes(supervisor: Supervisor, tmp_path: Path) -> None:
    assert supervisor.ensure(sleeper(tmp_path), lambda: False) == "started"
    first = supervisor.find("sleeper")
    assert first
    assert supervisor.ensure(sleeper(tmp_path), lambda: False) == "kept"
    assert Supervisor(tmp_path).find("sleeper") == look(first.pid)
    assert supervisor.ensure(sleeper(tmp_path, seconds="61"), lambda: False) == "replaced"
    assert look(first.pid) is None
    assert supervisor.stop([sleeper(tmp_path)]) == ["sleeper"]
    assert supervisor.find("sleeper") is None
    assert supervisor.stop([sleeper(tmp_path)]) == []


def test_a_process_whose_record_was_never_written_is_found(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.ensure(sleeper(tmp_path), lambda: False)
    (tmp_path / "run" / "sleeper.json").unlink()
    found = Supervisor(tmp_path).find("sleeper")
    assert found
    assert Supervisor(tmp_path).stop_all() == ["sleeper"]
    supervisor.scan()
    assert look(found.pid) is None


def test_another_process_with_a_recorded_pid_is_left_alone(supervisor: Supervisor, tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        alive = look(other.pid)
        assert alive
        write_json(tmp_path / "run" / "sleeper.json", {"pid": other.pid, "started": alive.started - 1, "argv": []})
        assert supervisor.find("sleeper") is None
        assert supervisor.stop([sleeper(tmp_path)]) == []
        assert not send(type(alive)(alive.pid, alive.started - 1, "S"), signal.SIGKILL)
        assert look(other.pid)
        other.kill()


def test_what_does_not_go_is_killed_even_when_paused(supervisor: Supervisor, tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(60)"
    )
    stubborn = Process(
        "stubborn", "test", (sys.executable, "-c", script), {}, lambda: None, tmp_path / "log", graceful=True
    )
    supervisor.ensure(stubborn, lambda: False)
    while not (tmp_path / "log").read_text():
        time.sleep(0.02)
    supervisor.signal("stubborn", signal.SIGSTOP)
    alive = supervisor.find("stubborn")
    assert alive
    assert alive.paused
    supervisor.stop([stubborn], grace=0.2)
    assert look(alive.pid) is None


def test_a_process_that_ends_or_never_serves_is_reported_with_its_last_words(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    dying = Process(
        "dying", "test", ("sh", "-c", "echo no such port; sleep 0.2; exit 3"), {}, lambda: "closed", tmp_path / "log"
    )
    with pytest.raises(LabError, match=r"dying ended while starting \(closed\)(.|\n)*no such port"):
        supervisor.ensure(dying, lambda: False)
    slow = Process("slow", "test", ("sleep", "60"), {}, lambda: "closed", tmp_path / "log", timeout=0.3)
    with pytest.raises(LabError, match="slow not ready after 0 s"):
        supervisor.ensure(slow, lambda: False)
    assert read_json(tmp_path / "run" / "slow.json")
    with pytest.raises(LabError, match="cannot start"):
        supervisor.ensure(Process("none", "test", ("/none",), {}, lambda: None, tmp_path / "log"), lambda: False)


def test_a_pgp_key_that_was_being_made_leaves_no_agent(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="lab-gpg-", ignore_cleanup_errors=True) as temporary:
        mine = Lab("half", tmp_path)
        (mine.state / "holders").mkdir(parents=True)
        (mine.state / "holders" / ".making-pgp").write_text(temporary)
        subprocess.run(["gpg-connect-agent", "--homedir", temporary, "/bye"], check=True, capture_output=True)

        def agents() -> list[str]:
            lines = subprocess.run(
                ["ps", "-eo", "args"], check=True, capture_output=True, text=True
            ).stdout.splitlines()
            return [line for line in lines if "gpg-agent" in line and temporary in line]

        assert agents()
        mine.down()
        deadline = time.monotonic() + 5
        while agents():
            assert time.monotonic() < deadline
        assert not Path(temporary).exists()
        assert make_pgp(mine.state / "holders") == "PGP key made"
        assert not (mine.state / "holders" / ".making-pgp").exists()
