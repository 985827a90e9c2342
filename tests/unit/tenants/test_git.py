# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Git client, with the real program on repositories in a folder."""

from __future__ import annotations

import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._clients import git
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret

ASKED: list[tuple[list[str], dict[str, str]]] = []


def program(command: t.Sequence[str], data: bytes) -> tuple[int, bytes, bytes]:
    ASKED.append((list(command), dict(os.environ)))
    done = subprocess.run(list(command), input=data, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


def run(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *words],
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    bare, work = tmp_path / "origin.git", tmp_path / "work"
    bare.mkdir()
    work.mkdir()
    run(bare, "init", "--quiet", "--bare", "--initial-branch=main")
    run(work, "init", "--quiet", "--initial-branch=main")
    (work / "tenants").mkdir()
    (work / "tenants" / "alice.yaml").write_text("name: alice\n")
    (work / "tenants" / "away.yaml").symlink_to("/etc/passwd")
    (work / "README").write_text("hello\n")
    run(work, "add", "--all")
    run(work, "commit", "--quiet", "-m", "first")
    run(work, "push", "--quiet", str(bare), "HEAD:refs/heads/main")
    return bare


def opened(origin: Path, **options: t.Any) -> git.Repository:
    return git.Repository(program, git.Remote(url=str(origin), **options), item="repository")


def test_read_commit_and_push(origin: Path) -> None:
    with opened(origin) as copy:
        first = copy.fetch()
        assert copy.files("tenants")["alice.yaml"] == "name: alice\n"
        assert "root:" not in copy.files("tenants").get("away.yaml", "")
        assert copy.commit("tenants", {"alice.yaml": "name: alice\n"}, "nothing") == ""
        made = copy.commit("tenants", {"bob.yaml": "name: bob\n", "alice.yaml": None}, "bob for alice")
        copy.push("main")
        folder = copy.tree
    assert not os.path.exists(folder)
    assert run(origin, "rev-parse", "main") == made != first
    assert run(origin, "log", "-1", "--format=%an %s") == "hackspace.infra bob for alice"
    assert run(origin, "ls-tree", "--name-only", "main", "tenants/").split() == [
        "tenants/away.yaml",
        "tenants/bob.yaml",
    ]


def test_a_lost_race_is_told_and_nothing_is_forced(origin: Path) -> None:
    with opened(origin) as ours, opened(origin) as theirs:
        ours.fetch()
        theirs.fetch()
        theirs.commit("", {"theirs.yaml": "a: 1\n"}, "theirs")
        theirs.push("main")
        ours.commit("", {"ours.yaml": "a: 1\n"}, "ours")
        with pytest.raises(git.LostRace):
            ours.push("main")
        ours.fetch()
        ours.commit("", {"ours.yaml": "a: 1\n"}, "ours")
        ours.push("main")
    assert run(origin, "log", "--format=%s", "main").splitlines() == ["ours", "theirs", "first"]
    assert not any("--force" in command and "push" in command for command, _environment in ASKED)


def test_a_branch_for_review_grows_and_starts_again_after_it_was_merged(origin: Path) -> None:
    with opened(origin) as copy:
        copy.fetch(history=True)
        assert not copy.branch_exists("review")
        copy.commit("", {"a.yaml": "a: 1\n"}, "one")
        copy.push("review")
    with opened(origin) as copy:
        copy.fetch(history=True)
        assert copy.branch_exists("review")
        assert copy.onto("review")
        copy.commit("", {"a.yaml": "a: 2\n"}, "two")
        copy.push("review")
    run(origin, "update-ref", "refs/heads/main", "refs/heads/review")
    with opened(origin) as copy:
        copy.fetch(history=True)
        assert not copy.onto("review")
        copy.commit("", {"a.yaml": "a: 3\n"}, "three")
        copy.push("review")
    assert run(origin, "log", "--format=%s", "review").splitlines() == ["three", "two", "one", "first"]


def test_a_token_stands_neither_in_arguments_nor_in_the_environment_nor_in_the_error() -> None:
    ASKED.clear()
    secret = "s3cr3t-token-of-the-lab"
    remote = git.Remote(url="http://127.0.0.1:1/tenants.git", token=Secret(secret))
    with git.Repository(program, remote, item="repository") as copy:
        with pytest.raises(HackspaceError) as raised:
            copy.fetch()
        path = next(w for w in ASKED[-1][0] if w.startswith("include.path=")).partition("=")[2]
        assert os.stat(path).st_mode & 0o077 == 0
        assert "Authorization: Basic" in Path(path).read_text()
    assert raised.value.rule == "git-unreachable"
    assert secret not in repr(ASKED) + str(raised.value)
    assert not os.path.exists(path) or "Authorization" not in Path(path).read_text()


def test_what_is_missing_is_said(origin: Path, tmp_path: Path) -> None:
    with opened(origin, branch="nowhere") as copy, pytest.raises(HackspaceError, match="git-branch-missing"):
        copy.fetch()
    with opened(tmp_path / "nothing.git") as copy, pytest.raises(HackspaceError, match="git-failed"):
        copy.fetch()


def test_writing_through_a_link_is_refused(origin: Path, tmp_path: Path) -> None:
    with opened(origin) as copy:
        copy.fetch()
        (tmp_path / "outside").mkdir()
        os.symlink(tmp_path / "outside", os.path.join(copy.tree, "out"))
        with pytest.raises(HackspaceError, match="git-link"):
            copy.commit("out", {"a.yaml": "a: 1\n"}, "no")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    ("remote", "rule"),
    [
        (git.Remote("git@git.example.org:a/b"), "git-url"),
        (git.Remote("https://ada:token@git.example.org/a"), "git-url"),
        (git.Remote("http://git.example.org/a"), "plain-http"),
        (git.Remote("ssh://git@git.example.org/a", ssh_key=Secret("key")), "known-hosts"),
        (git.Remote("https://git.example.org/a", branch="../x"), "git-branch"),
        (
            git.Remote("ssh://git@h/a", ssh_key=Secret("k"), known_hosts="h k", token=Secret("t")),
            "git-login",
        ),
    ],
)
def test_remotes_that_are_refused(remote: git.Remote, rule: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        remote.checked("repository")
    assert raised.value.rule == rule


def test_hidden_folders_hold_no_declarations(tmp_path: Path) -> None:
    for name in ("alice.yaml", ".github/workflows/ci.yaml", "more/bob.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("name: x\n", encoding="utf-8")
    assert set(dict(git.texts_in(str(tmp_path), (".yaml",), "x"))) == {"alice.yaml", "more/bob.yaml"}
