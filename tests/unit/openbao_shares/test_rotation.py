# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""New shares, on every kind of server, cut off at every request: at least one generation can always be used."""

from __future__ import annotations

import contextlib
import itertools
import typing as t
from pathlib import Path

import pyrage
import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import rotation_model, versions
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.shares import Share

from .conftest import Killed, Server, Site

NEW = ("ada", "cleo", "dan")


def fails(site: Site, *names: str, **changes: t.Any) -> HackspaceError:
    with pytest.raises(HackspaceError) as caught:
        site.run(*names, **changes)
    return caught.value


def test_in_one_run_and_then_nothing(site: Site) -> None:
    old = {n: site.read(n) for n in ("ada", "bo", "cleo")}
    rotator = site.run(*NEW, given=site.shares("ada", "bo"))
    assert rotator.missing == 0
    assert site.opens()
    record = site.record()
    archive = site.folder / "generations" / record.previous
    assert {n: site.read(n, archive) for n in old} == old
    assert not [s for s in (*old.values(), *site.server.shares) if s.hex() in site.text()]
    asked = len(site.server.asked)
    again, decision = site.decide(*NEW)
    assert (decision.phase, decision.begin, again.missing) == ("none", False, 0)
    assert site.server.asked[asked:] == [("GET", "init")]


def test_by_two_holders_on_two_days(site: Site) -> None:
    first = site.run(*NEW, given=site.shares("ada"))
    assert first.missing == 1
    rotation = site.record().rotation
    assert rotation
    assert (rotation.state, rotation.given) == ("collecting", ("ada",))
    assert site.run(*NEW, given=site.shares("ada")).missing == 1
    second = site.run(*NEW, given=site.shares("cleo"))
    assert second.missing == 0
    assert site.opens()


POINTS = [("PUT", "init", 1), *(("PUT", what, count) for what in ("update", "verify") for count in (1, 2))]


@pytest.mark.parametrize(("point", "restart"), list(itertools.product(POINTS, (False, True))))
@pytest.mark.parametrize("how", ["kill", "cut"])
def test_cut_off_anywhere_it_is_finished_by_running_again(
    site: Site, point: tuple[str, str, int], restart: bool, how: str
) -> None:
    given = site.shares("ada", "bo")
    setattr(site.server, how, point)
    with contextlib.suppress(Killed, HackspaceError):  # some cut answers are made up for by a look
        site.run(*NEW, given=given)
    site.server.kill = site.server.cut = None
    if restart:
        site.server.restart()
    for _attempt in range(4):
        rotation = site.record().rotation
        _rotator, decision = site.decide(*NEW)
        shares = given if decision.needed else []
        if decision.phase in ("verify", "prove"):
            assert rotation
            shares = site.shares("dan", "cleo", generation=rotation.generation)
        site.run(*NEW, given=shares)
        if site.record().rotation is None and site.decide(*NEW)[1].phase == "none":
            break
    assert site.opens()
    assert site.server.attempt is None


def test_the_last_answer_lost_and_the_old_shares_in_force(site: Site) -> None:
    site.server.kill = ("PUT", "verify", 2)
    with pytest.raises(Killed):
        site.run(*NEW, given=site.shares("ada", "bo"))
    site.server.kill = None
    rotation = site.record().rotation
    assert rotation
    assert rotation.state == "verifying"
    site.server.shares = [site.read(n) for n in ("ada", "bo", "cleo")]  # as if it had not come to the server
    rotator = site.run(*NEW, given=site.shares("dan", "ada", generation=rotation.generation))
    assert "never came into force" in rotator.warnings[0]
    assert site.opens()
    assert site.server.attempt is None


def test_wrong_shares_are_told_by_the_record_before_they_are_sent(site: Site) -> None:
    other = Share("cleo", Secret(site.read("bo").hex()))
    error = fails(site, *NEW, given=[other])
    assert (error.rule, error.data["belongs_to"]) == ("wrong-share", "that of bo in generation 0000000000000000")
    assert site.server.attempt is None
    assert ("PUT", "update") not in site.server.asked


def test_a_wrong_share_without_a_record_costs_the_round(tmp_path: Path, identities: t.Any) -> None:
    site = Site(tmp_path / "x", Server(), identities)
    (site.folder / "shares.json").unlink()
    for file in site.folder.glob("*.age"):
        file.rename(tmp_path / file.name)
    good = [Share(n, Secret(s.hex())) for n, s in zip(("ada", "bo"), site.server.shares, strict=False)]
    wrong = Share("bo", Secret("11" * 32 + "02"))
    error = fails(site, *NEW, given=[good[0], wrong])
    assert (error.rule, error.data["suspects"]) == ("wrong-share", ["ada", "bo"])
    assert site.server.attempt
    site.run(*NEW, given=good)
    assert site.opens()


def test_attempts_that_are_not_ours(site: Site) -> None:
    site.server._init("PUT", {"secret_shares": 5, "secret_threshold": 3, "require_verification": True})
    site.server._update("PUT", {"key": site.read("ada").hex(), "nonce": site.server.attempt["nonce"]})  # type: ignore[index]
    for policy in ("resume", "fail"):
        assert fails(site, *NEW, on_progress=policy).rule == "attempt-of-others"
    site.run(*NEW, on_progress="reset", given=site.shares("ada", "bo"))
    assert site.opens()


def test_our_attempt_goes_on_only_as_it_began(site: Site) -> None:
    site.run(*NEW, given=site.shares("ada"))
    assert fails(site, "ada", "bo", "dan").rule == "rotation-differs"
    assert fails(site, *NEW, on_progress="fail").rule == "attempt-under-way"
    site.run("ada", "bo", "cleo", on_progress="reset")  # given up
    assert site.server.attempt is None
    assert site.opens()
    site.run(*NEW, given=site.shares("ada"))
    site.server.restart()
    site.run(*NEW, given=site.shares("bo"))
    assert "ada must give the present shares again" in site.warnings[0]
    site.run(*NEW, given=site.shares("ada"))
    assert site.opens()


def test_the_same_people_by_the_name_of_the_generation(site: Site) -> None:
    people = ("ada", "bo", "cleo")
    before = site.record().generation
    assert site.decide(*people)[1].phase == "none"
    site.run(*people, replace_generation=before, given=site.shares("ada", "bo"))
    assert site.opens()
    assert site.record().generation != before
    assert site.decide(*people, replace_generation=before)[1].phase == "none"


def test_a_full_disk_leaves_the_present_shares(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ansible_collections.hackspace.infra.plugins.module_utils._core.private_files.write_new", full)
        error = fails(site, *NEW, given=site.shares("ada", "bo"))
    assert error.rule == "shares-not-written"
    assert site.server.attempt is None
    assert site.opens()


@pytest.mark.parametrize(
    ("version", "recovery", "base", "login"),
    [
        ("1.13.2", False, "sys/rekey", False),
        ("1.13.2", True, "sys/rekey-recovery-key", False),
        ("2.3.9", False, "sys/rekey", False),
        ("2.4.0", False, "sys/rotate/root", True),
        ("2.5.1", True, "sys/rotate/recovery", True),
        ("2.6.2", False, "sys/rotate/root", True),
    ],
)
def test_endpoints_by_version(version: str, recovery: bool, base: str, login: bool) -> None:
    found = rotation_model.endpoints(versions.parse(version), recovery_seal=recovery)
    assert found == rotation_model.Endpoints(base, login)


def test_recovery_shares(tmp_path: Path, identities: dict[str, pyrage.x25519.Identity]) -> None:
    for version in ("1.13.2", "2.6.2"):
        site = Site(tmp_path / version, Server(version, recovery=True), identities)
        site.run(*NEW, given=site.shares("ada", "bo"))
        assert site.opens()
        assert site.record().kind == "recovery"


def test_the_path_that_loses_all_shares_is_never_requested(site: Site) -> None:
    rotator, _decision = site.decide(*NEW)
    for path in ("sys/rotate/root", "sys/rekey", "sys/rotate"):
        with pytest.raises(TypeError):
            rotator._request("POST", path)


@pytest.mark.parametrize(
    ("version", "shamir", "refused"),
    [
        ("2.3.2", True, False),
        ("2.4.0", True, True),
        ("2.5.1", True, True),
        ("2.5.1", False, False),
        ("2.5.2", True, False),
    ],
)
def test_guard_for_the_bare_path(version: str, shamir: bool, refused: bool) -> None:
    if not refused:
        versions.check_bare_rotate(versions.parse(version), shamir=shamir)
        return
    with pytest.raises(HackspaceError) as caught:
        versions.check_bare_rotate(versions.parse(version), shamir=shamir)
    assert caught.value.rule == "bare-rotate"
