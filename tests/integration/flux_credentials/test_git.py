# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every login that flux_bootstrap can write lets the real source-controller fetch; a wrong one is named at once."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from pathlib import Path

from lab.git import Repository
from tests.integration.ansible_run import private
from tests.integration.flux_bootstrap.conftest import HOST_KEY, new_key

from .conftest import Member, config_map

Make = Callable[[str], Repository]


def rules(failed: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return the hint of each object of a failure."""
    return {one["kind"]: str(one["hint"]) for one in failed["objects"]}


def test_a_deploy_key(member: Member, repository: Make, tmp_path: Path) -> None:
    git = member.lab.git
    mine = repository("by-key")
    key = git.deploy_key("member-prod", [mine.name])
    hosts = tmp_path / "known_hosts"
    hosts.write_text(git.known_hosts)
    auth = {
        "method": "ssh",
        "identity_file": private(tmp_path / "identity", key),
        "known_hosts_file": str(hosts),
    }
    wanted = member.wanted(mine, mine.ssh_url, auth)
    shown = str(member.follows(mine, wanted))
    assert member.config("by-key") == "first"
    assert {(one.user, one.login, one.status) for one in git.requests(r"by-key\.git")} == {("member-prod", "key", 200)}
    assert key.splitlines()[1] not in shown

    # Another host key: somebody is in between, or the server has a new one.
    hosts.write_text(git.known_hosts.replace(git.known_hosts.split()[2], HOST_KEY))
    failed = member.wrong(wanted)
    assert "knownhosts: key mismatch" in failed["msg"]
    assert "known_hosts" in rules(failed)["GitRepository"]
    waited = member.wait()
    assert waited["failed"]
    assert "knownhosts: key mismatch" in waited["msg"]
    hosts.write_text(git.known_hosts)
    done = member.apply(**wanted)
    assert [(one["kind"], one["action"]) for one in done["changes"]] == [("Secret", "update")]

    # A key that nobody has registered, and one that opens something else.
    failed = member.wrong({**wanted, "git_auth": {**auth, "identity_file": new_key(tmp_path / "unknown")}})
    assert "unable to authenticate" in failed["msg"]
    assert "deploy key" in rules(failed)["GitRepository"]
    assert 401 in {one.status for one in git.requests() if one.method == "SSH"}
    other = private(tmp_path / "other", git.deploy_key("member-other", ["something-else"]))
    failed = member.wrong({**wanted, "git_auth": {**auth, "identity_file": other}})
    assert "does not know the repository" in rules(failed)["GitRepository"]
    mine.commit({"by-key/map.yaml": config_map("by-key", "second")})
    new = git.deploy_key("member-prod", [mine.name])
    auth["identity_file"] = private(tmp_path / "new", new)
    done = member.apply(**{**wanted, "git_auth": auth})
    assert done["revision"] == mine.revision()
    assert member.config("by-key") == "second"


def test_a_deploy_key_with_a_passphrase(member: Member, repository: Make) -> None:
    git = member.lab.git
    mine = repository("by-passphrase")
    key = git.deploy_key("locked", [mine.name], passphrase="open sesame")
    auth = {"method": "ssh", "identity": key, "known_hosts": git.known_hosts}
    refused = member.refused(**member.wanted(mine, mine.ssh_url, auth))
    assert refused["error"]["rule"] == "ssh-identity-password"
    failed = member.wrong(member.wanted(mine, mine.ssh_url, {**auth, "password": "open barley"}))
    assert rules(failed)["GitRepository"]
    member.follows(mine, member.wanted(mine, mine.ssh_url, {**auth, "password": "open sesame"}))


def test_a_bearer_token(member: Member, repository: Make, tmp_path: Path) -> None:
    git = member.lab.git
    mine = repository("by-bearer")
    token = git.token("bearer", [mine.name])
    auth = {"method": "bearer", "bearer_token": "not-this-one", "ca_file": str(git.ca)}
    failed = member.wrong(member.wanted(mine, mine.url, auth))
    assert "token" in rules(failed)["GitRepository"]
    assert "not-this-one" not in str(failed)
    file = private(tmp_path / "token", token + "\n")
    wanted = member.wanted(mine, mine.url, {"method": "bearer", "bearer_token_file": file, "ca_file": str(git.ca)})
    assert token not in str(member.follows(mine, wanted))
    assert member.config("by-bearer") == "first"
    assert {(one.login, one.user) for one in git.requests(r"by-bearer\.git") if one.status == 200} == {
        ("bearer", "bearer")
    }


def test_a_github_app(member: Member, repository: Make, tmp_path: Path) -> None:
    git = member.lab.git
    mine, other = repository("by-app"), repository("not-the-app")
    wrong = git.app(71, 7100, "hackspace", [mine.name])
    key = git.app(71, 7100, "hackspace", [mine.name])
    auth: dict[str, t.Any] = {
        "method": "github_app",
        "app_id": "71",
        "installation_id": "7100",
        "private_key": wrong,
        "base_url": git.api_url,
        "ca_file": str(git.ca),
    }
    failed = member.wrong(member.wanted(mine, mine.url, auth))
    assert "GitHub App" in rules(failed)["GitRepository"]
    auth = {name: value for name, value in auth.items() if name != "private_key"}
    auth["private_key_file"] = private(tmp_path / "app.pem", key)
    failed = member.wrong(member.wanted(mine, mine.url, {**auth, "installation_id": "7101"}))
    assert "installation" in rules(failed)["GitRepository"]
    wanted = member.wanted(mine, mine.url, auth)
    shown = str(member.follows(mine, wanted))
    assert key.splitlines()[1] not in shown
    assert member.config("by-app") == "first"
    assert {(one.login, one.user) for one in git.requests("/api/v3/") if one.status < 300} == {("app", "app 71")}
    assert {one.user for one in git.requests(r"by-app\.git") if one.status == 200} == {"x-access-token"}

    # By the owner of the installation; and no further than the installation goes.
    owned = {name: value for name, value in auth.items() if name != "installation_id"}
    owned["installation_owner"] = "hackspace"
    member.follows(mine, member.wanted(mine, mine.url, owned))
    assert git.requests("/api/v3/orgs/hackspace/installation")
    failed = member.wrong(member.wanted(other, other.url, owned))
    assert rules(failed)["GitRepository"]
