# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""openbao_generate_root against real servers."""

from __future__ import annotations

import pytest

from .conftest import PASSWORD, Site


@pytest.fixture
def locked_out(living: Site) -> tuple[Site, dict[str, str]]:
    """A site whose administrators' login is gone, and the holders' shares."""
    token = living.admin_token()
    answer = living.ask("DELETE", "auth/userpass/users/platform-admin", token=token)
    assert answer.status_code == 204
    return living, living.decrypted()


def test_nothing_is_done_while_the_login_works(living: Site) -> None:
    ran = living.run("openbao_generate_root", living.root_args([]))
    assert ran.rc == 0, ran.output
    assert ran.result["changed"] is False
    assert ran.result["admin_login"] == "works"


def test_the_emergency_from_its_faults_to_its_end(locked_out: tuple[Site, dict[str, str]]) -> None:
    site, shares = locked_out
    three = [(name, shares[name]) for name in ("ada", "bo", "cleo")]

    few = site.run("openbao_generate_root", site.root_args([*three[:2], three[0]]))
    assert few.result["error"]["rule"] == "too-few-shares"

    wrong = [*three[:2], ("cleo", "5a" * 33)]
    refused = site.run("openbao_generate_root", site.root_args(wrong), "-vvv")
    assert refused.result["error"]["rule"] == "share-refused"
    assert refused.result["error"]["item"] == "holders ada, bo, cleo"
    assert site.ask("GET", "sys/generate-root/attempt").json()["started"] is False

    assert site.ask("PUT", "sys/generate-root/attempt", {}).json()["started"] is True
    other = site.run("openbao_generate_root", site.root_args(three))
    assert other.result["error"]["rule"] == "attempt-under-way"
    assert site.ask("GET", "sys/generate-root/attempt").json()["started"] is True

    with site.lab.proxy("openbao-0") as proxy:
        check = site.run(
            "openbao_generate_root", site.root_args(three, url=proxy.address, on_progress="reset"), "--check"
        )
        assert check.rc == 0, check.output
        assert check.result["changed"] is True
        writes = {(r.method, r.path) for r in proxy.requests() if r.method != "GET"}
    assert writes == {("POST", "/v1/auth/userpass/login/platform-admin")}
    assert site.ask("GET", "sys/generate-root/attempt").json()["progress"] == 0

    done = site.run("openbao_generate_root", site.root_args(three, on_progress="reset"), "-vvv", "--diff")
    assert done.rc == 0, done.output
    assert done.result["holders"] == ["ada", "bo", "cleo"]
    assert done.result["root_token"] == "revoked"
    assert site.root_tokens() == 0
    again = site.run("openbao_generate_root", site.root_args(three))
    assert again.result["changed"] is False
    for ran in (few, refused, other, check, done, again):
        for secret in (*shares.values(), "5a" * 33, PASSWORD, "hvs."):
            assert secret not in ran.output


@pytest.mark.parametrize("name", ["ada", "eve"])
def test_a_root_token_is_handed_over_encrypted(locked_out: tuple[Site, dict[str, str]], name: str) -> None:
    site, shares = locked_out
    recipient = next(h for h in site.holders if h["name"] == name)
    path = site.shares / f"root-token.{name}"
    args = site.root_args(
        [(n, shares[n]) for n in ("bo", "cleo", "dan")],
        admin=None,
        do="hand_over",
        recipient=recipient,
        output_file=str(path),
    )
    ran = site.run("openbao_generate_root", args, "-vvv", "--diff")
    assert ran.rc == 0, ran.output
    assert ran.result["root_token"] == "encrypted"
    token = site.decrypt(name, path.read_bytes())
    assert token not in ran.output
    assert site.ask("GET", "auth/token/lookup-self", token=token).json()["data"]["policies"] == ["root"]
    twice = site.run("openbao_generate_root", args)
    assert twice.result["error"]["rule"] == "file-exists"


def test_a_cut_in_the_middle_leaves_no_attempt_and_no_token(locked_out: tuple[Site, dict[str, str]]) -> None:
    site, shares = locked_out
    three = [(name, shares[name]) for name in ("ada", "bo", "cleo")]
    with site.lab.proxy("openbao-0") as proxy:
        proxy.cut("before", path="generate-root/update", skip=1)
        ran = site.run("openbao_generate_root", site.root_args(three, url=proxy.address))
    assert ran.rc != 0
    assert ran.result["error"]["rule"] == "cut"
    assert site.ask("GET", "sys/generate-root/attempt").json()["started"] is False
    assert site.run("openbao_generate_root", site.root_args(three)).rc == 0
    assert site.root_tokens() == 0
