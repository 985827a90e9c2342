# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's Git server with the real git as its client."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.api import Lab
from lab.errors import LabError
from lab.git import Git, Repository


@pytest.fixture(scope="module")
def git_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab("git-lab", tmp_path_factory.mktemp("lab"), print)
    try:
        lab.up(["git"])
        yield lab
    finally:
        lab.down(wipe=True)


@pytest.fixture
def server(git_lab: Lab) -> Iterator[Git]:
    git_lab.git.clear_requests()
    yield git_lab.git
    git_lab.git.heal()


def client(
    server: Git, folder: Path, *arguments: str, user: str = "", token: str = ""
) -> subprocess.CompletedProcess[str]:
    """The system's git, which knows the server's authority, with a name and password if there are any."""
    helper = f"!f() {{ echo username={user}; echo password={token}; }}; f"
    options = ["-c", "credential.helper=", "-c", f"credential.helper={helper}"] if user else []
    environment = {
        **os.environ,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    environment["GIT_SSL_CAINFO"] = str(server.ca)
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "somebody", f"GIT_{role}_EMAIL": "somebody@example.org"}
    return subprocess.run(
        ["git", *options, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_repositories_are_made_from_files_and_folders(server: Git, tmp_path: Path) -> None:
    empty = server.repository("empty")
    assert (empty.head(), empty.branches(), empty.files(), empty.log()) == ("", [], {}, [])
    repository = server.repository("team/one", {"a/b.yaml": "x: 1\n", 'ü"\\.txt': b"\xc3\xa4"})
    first = repository.head()
    assert repository.files() == {"a/b.yaml": "x: 1\n", 'ü"\\.txt': "ä"} or "a/b.yaml" in repository.files()
    second = repository.commit({"c": "3"}, "More", remove=["a/b.yaml"])
    assert second == repository.head() != first
    assert repository.revision() == f"main@sha1:{second}"
    assert set(repository.files()) == {"c", 'ü"\\.txt'}
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "d").write_text("4")
    repository.commit(tmp_path, "All else goes", replace=True)
    assert repository.files() == {"sub/d": "4"}
    assert repository.log() == ["All else goes", "More", "First"]
    repository.commit({}, "Nothing left", replace=True)
    assert repository.files() == {}
    repository.force("main", first)
    repository.commit({"e": "5"}, branch="other")
    repository.tag("v1", second)
    assert sorted(repository.branches()) == ["main", "other"]
    assert repository.head() == first
    again = server.repository("team/one", {"never": "taken"})
    assert again.head() == first


@pytest.mark.parametrize("name", ["", "Big", "../up", "a//b", "x.git", "x.git/y"])
def test_wrong_names_are_refused(server: Git, name: str) -> None:
    with pytest.raises(LabError, match="no name of a repository"):
        server.repository(name)


@pytest.mark.parametrize("path", ["", "../x", "a//b", ".git/config", "a\nb"])
def test_wrong_paths_are_refused(server: Git, path: str) -> None:
    with pytest.raises(LabError, match="no path in a repository"):
        server.repository("paths").commit({path: ""})


@pytest.fixture
def public(server: Git) -> Repository:
    return server.repository("public", {"file": "1\n"})


def test_public_ones_are_read_by_everybody(server: Git, public: Repository, tmp_path: Path) -> None:
    for number, url in enumerate((public.url, public.http_url)):
        done = client(server, tmp_path, "clone", "--quiet", "--depth=1", url, f"clone-{number}")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / f"clone-{number}" / "file").read_text() == "1\n"
    assert {(request.user, request.status) for request in server.requests(r"public\.git")} == {("", 200)}


def test_only_the_right_token_pushes(server: Git, public: Repository, tmp_path: Path) -> None:
    assert client(server, tmp_path, "clone", "--quiet", public.url, "work").returncode == 0
    work = tmp_path / "work"
    # Large enough to be sent in pieces.
    (work / "large").write_bytes(os.urandom(3_000_000))
    assert client(server, work, "add", ".").returncode == 0
    assert client(server, work, "commit", "--quiet", "--message=Large").returncode == 0
    before = public.head()
    reader, other = server.token("reader"), server.token("other", ["team/one"], write=True)
    for user, token in (("", ""), ("reader", reader), ("other", other), ("reader", "wrong"), ("nobody", "x")):
        assert client(server, work, "push", "--quiet", user=user, token=token).returncode != 0, user
    assert public.head() == before
    writer = server.token("writer", ["public"], write=True)
    done = client(server, work, "push", "--quiet", user="writer", token=writer)
    assert done.returncode == 0, done.stderr
    assert public.log()[0] == "Large"
    assert {writer, reader, other} <= server.secrets()
    server.revoke("writer")
    (work / "file").write_text("2\n")
    assert client(server, work, "commit", "--quiet", "--all", "--message=Late").returncode == 0
    assert client(server, work, "push", "--quiet", user="writer", token=writer).returncode != 0
    assert not any(token in (server.folder / "requests.jsonl").read_text() for token in (writer, reader, other))


def test_private_ones_are_read_with_a_token(server: Git, tmp_path: Path) -> None:
    private = server.repository("private", {"file": "secret\n"}, public=False)
    token = server.token("member", ["private"])
    foreign = server.token("foreign", ["public"])
    for user, value in (("", ""), ("member", "wrong"), ("foreign", foreign)):
        assert client(server, tmp_path, "ls-remote", private.url, user=user, token=value).returncode != 0
    done = client(server, tmp_path, "ls-remote", private.url, "main", user="member", token=token)
    assert done.stdout.split() == [private.head(), "refs/heads/main"]
    assert client(server, tmp_path, "ls-remote", f"{server.url}/missing.git").returncode != 0


def test_it_fails_and_is_slow_when_told(server: Git, public: Repository, tmp_path: Path) -> None:
    other = server.repository("healthy", {"file": "1\n"})
    server.fail(503, repository="public")
    done = client(server, tmp_path, "ls-remote", public.url)
    assert done.returncode != 0
    assert "503" in done.stderr
    assert client(server, tmp_path, "ls-remote", other.url).returncode == 0
    server.slow(1.0)
    begin = time.monotonic()
    assert client(server, tmp_path, "ls-remote", public.url).returncode == 0
    assert time.monotonic() - begin >= 1.0
    server.heal()
    begin = time.monotonic()
    assert client(server, tmp_path, "ls-remote", public.url).returncode == 0
    assert 503 in {request.status for request in server.requests(r"^/public\.git/info/refs")}


def test_others_find_its_address(git_lab: Lab) -> None:
    told = json.loads((git_lab.state / "lab.json").read_text())["git"]
    assert told == {"url": git_lab.git.url, "http_url": git_lab.git.http_url, "ca_file": str(git_lab.git.ca)}


def test_it_comes_back_with_its_repositories_until_reset(git_lab: Lab) -> None:
    head = git_lab.git.repository("lasting", {"file": "1"}).head()
    git_lab.restart("git", kill=True)
    assert git_lab.git.repository("lasting").head() == head
    assert [(line.name, line.state) for line in git_lab.status() if line.component == "git"] == [("git", "ready")]
    git_lab.reset()
    assert git_lab.git.repository("lasting").head() == ""
