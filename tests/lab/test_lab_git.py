# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's Git server with the real git as its client."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shlex
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

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


def by_key(server: Git, folder: Path, key: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The system's git and ssh, with a key of their own and the server's host key."""
    for name, text in (("identity", key), ("known_hosts", server.known_hosts)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    options = ["IdentitiesOnly=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={folder / 'known_hosts'}"]
    command = ["ssh", "-F", "none", "-i", str(folder / "identity"), *(f"-o{option}" for option in options)]
    return client(server, folder, "-c", f"core.sshCommand={shlex.join(command)}", *arguments)


def test_a_key_opens_its_repository(server: Git, tmp_path: Path) -> None:
    private = server.repository("by-key", {"file": "secret\n"}, public=False)
    other = server.repository("by-no-key", {"file": "secret\n"}, public=False)
    reader, writer = (server.deploy_key(name, ["by-key"], write=name == "writer") for name in ("reader", "writer"))
    done = by_key(server, tmp_path, reader, "clone", "--quiet", private.ssh_url, "work")
    assert done.returncode == 0, done.stderr
    work = tmp_path / "work"
    (work / "large").write_bytes(os.urandom(3_000_000))
    assert client(server, work, "add", ".").returncode == 0
    assert client(server, work, "commit", "--quiet", "--message=Large").returncode == 0
    assert "read only" in by_key(server, tmp_path, reader, "-C", str(work), "push", "--quiet").stderr
    done = by_key(server, tmp_path, writer, "-C", str(work), "push", "--quiet")
    assert done.returncode == 0, done.stderr
    assert private.log()[0] == "Large"
    assert "not found" in by_key(server, tmp_path, reader, "ls-remote", other.ssh_url).stderr
    server.fail(503, repository="by-key", method="SSH")
    assert "made to fail" in by_key(server, tmp_path, reader, "ls-remote", private.ssh_url).stderr
    server.heal()
    server.revoke("reader")
    assert "Permission denied" in by_key(server, tmp_path, reader, "ls-remote", private.ssh_url).stderr
    seen = [(one.user, one.status) for one in server.requests() if one.method == "SSH"]
    assert seen == [("reader", 200), ("reader", 403), ("writer", 200), ("reader", 404), ("reader", 503), ("git", 401)]


def test_another_host_key_is_seen(server: Git, tmp_path: Path) -> None:
    public = server.repository("by-host", {"file": "1\n"})
    key = server.deploy_key("host-reader")
    assert by_key(server, tmp_path, key, "ls-remote", public.ssh_url).returncode == 0
    (tmp_path / "other").mkdir()
    other = Git(tmp_path / "other")
    other.prepare(dict.fromkeys(other.port_names, int(server.ssh_url.rpartition(":")[2])))
    assert other.known_hosts.split()[0] == server.known_hosts.split()[0]
    text, wrong = server.known_hosts, other.known_hosts
    assert text != wrong
    (tmp_path / "known_hosts").write_text(wrong)
    command = f"ssh -F none -i {tmp_path / 'identity'} -oStrictHostKeyChecking=yes"
    command += f" -oUserKnownHostsFile={tmp_path / 'known_hosts'}"
    done = client(server, tmp_path, "-c", f"core.sshCommand={command}", "ls-remote", public.ssh_url)
    assert "Host key verification failed" in done.stderr


def test_a_token_can_be_a_bearer_token(server: Git, tmp_path: Path) -> None:
    private = server.repository("by-bearer", {"file": "1\n"}, public=False)
    token = server.token("bearer", ["by-bearer"])
    for value, right in ((token, True), ("wrong", False)):
        header = f"http.extraHeader=Authorization: Bearer {value}"
        assert (client(server, tmp_path, "-c", header, "ls-remote", private.url).returncode == 0) is right
    assert {(one.user, one.login, one.status) for one in server.requests()} == {
        ("bearer", "bearer", 200),
        ("", "bearer", 401),
    }


def signed(key: str, **claims: Any) -> str:
    """What a GitHub App says about itself."""
    parts = [{"alg": "RS256", "typ": "JWT"}, {"iat": int(time.time()) - 30, "exp": int(time.time()) + 90, **claims}]
    text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    private = serialization.load_pem_private_key(key.encode(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    made = private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}.{base64.urlsafe_b64encode(made).decode().rstrip('=')}"


def api(server: Git, method: str, path: str, token: str) -> tuple[int, Any]:
    """Ask as an App does."""
    context = ssl.create_default_context(cafile=str(server.ca))
    url = urlsplit(server.api_url)
    connection = http.client.HTTPSConnection(url.hostname or "", url.port, context=context, timeout=30)
    try:
        connection.request(method, url.path + path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_github_app_gets_tokens(server: Git, tmp_path: Path) -> None:
    private = server.repository("by-app", {"file": "1\n"}, public=False)
    other = server.repository("not-by-app", {"file": "1\n"}, public=False)
    old = server.app(7, 70, "hackspace", ["by-app"])
    key = server.app(7, 70, "hackspace", ["by-app"])
    tokens = "/app/installations/{}/access_tokens"
    now = int(time.time())
    for wrong in (
        signed(old, iss="7"),
        signed(key, iss="8"),
        signed(key, iss="7", exp=now - 1),
        signed(key, iss="7", exp=now + 3600),
        signed(key, iss="7", iat=now + 600),
        signed(key),
        "no.jwt",
        "",
    ):
        assert api(server, "POST", tokens.format(70), wrong)[0] == 401
    right = signed(key, iss="7")
    assert api(server, "POST", tokens.format(71), right)[0] == 404
    assert api(server, "GET", "/orgs/hackspace/installation", right) == (200, {"id": 70, "app_id": 7})
    assert api(server, "GET", "/users/hackspace/installation", right)[0] == 404
    status, body = api(server, "POST", tokens.format(70), right)
    assert status == 201
    token = body["token"]
    assert token in server.secrets()
    user = "x-access-token"
    assert client(server, tmp_path, "ls-remote", private.url, user=user, token=token).returncode == 0
    assert client(server, tmp_path, "ls-remote", other.url, user=user, token=token).returncode != 0
    assert client(server, tmp_path, "ls-remote", private.url, user=user, token="wrong").returncode != 0
    assert token not in (server.folder / "requests.jsonl").read_text()


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
    server = git_lab.git
    assert told == {
        "url": server.url,
        "http_url": server.http_url,
        "ssh_url": server.ssh_url,
        "ca_file": str(server.ca),
        "known_hosts": server.known_hosts,
    }


def test_it_comes_back_with_its_repositories_until_reset(git_lab: Lab) -> None:
    head = git_lab.git.repository("lasting", {"file": "1"}).head()
    git_lab.restart("git", kill=True)
    assert git_lab.git.repository("lasting").head() == head
    assert [(line.name, line.state) for line in git_lab.status() if line.component == "git"] == [("git", "ready")]
    git_lab.reset()
    assert git_lab.git.repository("lasting").head() == ""
