# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs real Ansible on modules, roles and playbooks, and gives back what every task returned."""

from __future__ import annotations

import atexit
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CALLBACKS = Path(__file__).resolve().parent / "callbacks"


def private(path: Path, text: str) -> str:
    """Write a file that only its owner can read; return its path."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return str(path)


@dataclasses.dataclass(frozen=True)
class Task:
    """What one task returned on one host. ``status`` is ok, changed, failed, ignored, unreachable or skipped."""

    name: str
    action: str
    host: str
    status: str
    result: dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished run."""

    rc: int
    stdout: str
    stderr: str
    tasks: list[Task]
    secs: float
    folder: Path

    def of(self, action: str) -> dict[str, t.Any]:
        """Return the result of the last task with *action* (a module's name, short or full)."""
        found = [task for task in self.tasks if task.action.rsplit(".", 1)[-1] == action.rsplit(".", 1)[-1]]
        assert found, f"no task with action {action}; rc {self.rc}\n{self.stdout}\n{self.stderr}"
        return found[-1].result

    @property
    def changed(self) -> list[str]:
        """Names of the tasks that changed something."""
        return [task.name for task in self.tasks if task.status == "changed"]

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    def ok(self) -> Result:
        """Return self if the run succeeded."""
        assert self.rc == 0, f"rc {self.rc}\n{self.output}"
        return self


@dataclasses.dataclass
class Run:
    """A run under way; ``process`` is the ansible-playbook process, in a session of its own."""

    process: subprocess.Popen[str]
    folder: Path
    started: float

    def wait(self, timeout: float = 180) -> Result:
        stdout, stderr = self.process.communicate(timeout=timeout)
        record = self.folder / "record.jsonl"
        lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
        tasks = []
        for line in lines:
            entry = json.loads(line)
            tasks.append(Task(entry["task"], entry["action"], entry["host"], entry["status"], entry["result"]))
        secs = time.monotonic() - self.started
        return Result(self.process.returncode, stdout, stderr, tasks, secs, self.folder)


def program(name: str = "ansible-playbook") -> str:
    """Return the program of the environment that runs the tests."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or name


def environment(folder: Path, extra: t.Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which everything that Ansible writes lands in *folder*."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "VAULT_", "BAO_"))}
    return {
        **kept,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": f"{ROOT / '.collections'}:{Path(sys.prefix) / 'share'}",
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local-tmp"),
        "ANSIBLE_REMOTE_TEMP": str(folder / "remote-tmp"),
        "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": "record",
        "ANSIBLE_NOCOLOR": "1",
        "RECORD_FILE": str(folder / "record.jsonl"),
        "TMPDIR": str(folder / "tmp"),
        **(extra or {}),
    }


def start_play(
    play: t.Sequence[t.Mapping[str, t.Any]] | str | Path,
    *,
    inventory: Path | str | None = None,
    extra_vars: t.Mapping[str, t.Any] | None = None,
    extra_vars_file: Path | str | None = None,
    check: bool = False,
    diff: bool = False,
    verbosity: int = 0,
    env: t.Mapping[str, str] | None = None,
    args: t.Sequence[str] = (),
    folder: Path | None = None,
) -> Run:
    """Start ansible-playbook.

    :param play: a list of tasks (run on localhost without facts), or the path of a playbook.
    :param extra_vars: written to a file of mode 0600, never to the command line.
    :param folder: where everything is written; a new temporary folder by default, removed at the end of the tests.
    """
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="ansible-run-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("", "home", "local-tmp", "remote-tmp", "tmp"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "record.jsonl").unlink(missing_ok=True)
    if isinstance(play, (str, Path)):
        playbook = str(play)
    else:
        playbook = str(folder / "play.yml")
        text = [{"name": "Test", "hosts": "localhost", "gather_facts": False, "tasks": list(play)}]
        Path(playbook).write_text(json.dumps(text), encoding="utf-8")
    argv = [program(), playbook]
    if inventory is None:
        hosts = folder / "inventory.json"
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        hosts.write_text(json.dumps({"all": {"hosts": {"localhost": local}}}), encoding="utf-8")
        inventory = hosts
    argv += ["-i", str(inventory)]
    if extra_vars is not None:
        file = folder / "extra-vars.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(dict(extra_vars)), encoding="utf-8")
        argv += ["-e", f"@{file}"]
    if extra_vars_file is not None:
        argv += ["-e", f"@{extra_vars_file}"]
    argv += ["--check"] * check + ["--diff"] * diff + ["-" + "v" * verbosity] * bool(verbosity) + list(args)
    process = subprocess.Popen(
        argv,
        cwd=ROOT,
        env=environment(folder, env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    return Run(process, folder, time.monotonic())


def run_play(play: t.Sequence[t.Mapping[str, t.Any]] | str | Path, *, timeout: float = 180, **options: t.Any) -> Result:
    """Run ansible-playbook and wait for it; options as for :func:`start_play`."""
    return start_play(play, **options).wait(timeout)


def run_module(name: str, args: t.Mapping[str, t.Any], **options: t.Any) -> Result:
    """Run one task with the module *name* (without the collection's name)."""
    return run_play([{"name": name, f"hackspace.infra.{name}": dict(args)}], **options)
