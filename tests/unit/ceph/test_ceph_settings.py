# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings by what they mean, flags, manager modules; what is told about a cluster; the client's words."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import info, pools_plan, settings, values
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.clients import User
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.ports import Answer, Command
from ansible_collections.hackspace.infra.plugins.module_utils._clients import ceph, ceph_session
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput, Refused
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Plan
from hypothesis import given
from hypothesis import strategies as st

from tests import ceph_answers as server

OPTIONS = {name: settings.option(server.option(name)) for name in server.HELP}


def plan(
    *wanted: dict[str, t.Any],
    now: dict[tuple[str, str], str] | None = None,
    flags: dict[str, bool] | None = None,
    modules: dict[str, bool] | None = None,
) -> Plan:
    present = settings.Present(now or {}, OPTIONS, frozenset(server.DUMP["flags_set"]), settings.listed(server.MODULES))
    return settings.plan(present, settings.parse(wanted), settings.flags(flags or {}), settings.modules(modules or {}))


@pytest.mark.parametrize(
    ("name", "now", "wanted"),
    [
        ("osd_memory_target", "4294967296", "4GiB"),
        ("osd_memory_target", "4294967296", "4096M"),
        ("mon_clock_drift_allowed", "0.100000", "0.1"),
        ("rbd_cache", "true", "yes"),
        ("rbd_cache", "false", "0"),
        ("mon_mgr_beacon_grace", "90", "1m30s"),
        ("osd_max_backfills", "3", "3"),
        ("osd_pool_default_pg_autoscale_mode", "warn", "warn"),
        ("public_network", "192.0.2.0/24", " 192.0.2.0/24"),
    ],
)
def test_the_same_value(name: str, now: str, wanted: str) -> None:
    assert not plan({"section": "osd", "name": name, "value": wanted}, now={("osd", name): now}).changed
    other = plan({"section": "osd", "name": name, "value": wanted}, now={("osd/class:ssd", name): now})
    assert other.changed


def test_values_are_written_as_ceph_takes_them() -> None:
    made = plan(
        {"section": "osd", "mask": "class:ssd", "name": "osd_memory_target", "value": "4GiB"},
        {"section": "client", "name": "rbd_cache", "value": "no"},
        {"section": "mon", "name": "mon_mgr_beacon_grace", "value": "2 min"},
        now={("client", "rbd_cache"): "true"},
    )
    sent = [change.payload[0].arguments for change in made.changes]
    assert sent == [
        {"who": "osd/class:ssd", "name": "osd_memory_target", "value": "4294967296"},
        {"who": "client", "name": "rbd_cache", "value": "false"},
        {"who": "mon", "name": "mon_mgr_beacon_grace", "value": "120"},
    ]
    assert [change.action for change in made.changes] == ["create", "update", "create"]


def test_what_counts_after_a_restart_is_said() -> None:
    made = plan({"name": "public_network", "value": "192.0.2.0/24"})
    assert "public_network" in made.warnings[0]
    assert not plan({"section": "osd", "name": "osd_max_backfills", "value": "2"}).warnings


def test_what_monitors_cannot_keep() -> None:
    with pytest.raises(Refused) as caught:
        plan({"name": "fsid", "value": "x"})
    assert caught.value.rule == "setting-local"


def test_taking_a_value_away() -> None:
    wanted = {"section": "osd", "name": "osd_max_backfills", "state": "absent"}
    assert not plan(wanted).changed
    made = plan(wanted, now={("osd", "osd_max_backfills"): "3"})
    assert made.changes[0].payload[0] == Command("config rm", {"who": "osd", "name": "osd_max_backfills"})


def test_the_dashboard() -> None:
    made = settings.dashboard({"GRAFANA_API_URL": "https://grafana.example.org"})
    assert (made[0].section, made[0].name) == ("mgr", "mgr/dashboard/GRAFANA_API_URL")
    with pytest.raises(InvalidInput) as caught:
        settings.dashboard({"GRAFANA_API_PASSWORD": "x"})
    assert caught.value.rule == "setting-secret"


def test_flags_and_modules() -> None:
    assert not plan(flags={"noout": True, "noscrub": False}, modules={"iostat": True, "volumes": True}).changed
    made = plan(flags={"noout": False, "noscrub": True}, modules={"prometheus": True, "iostat": False})
    assert [(c.payload[0].prefix, c.name) for c in made.changes] == [
        ("mgr module disable", "iostat"),
        ("mgr module enable", "prometheus"),
        ("osd unset", "noout"),
        ("osd set", "noscrub"),
    ]


def test_configuration_as_ceph_tells() -> None:
    out = [
        {"section": "osd", "name": "a", "value": "1", "mask": ""},
        {"section": "osd", "name": "a", "value": "2", "mask": "class:ssd"},
    ]
    assert settings.dumped(out) == {("osd", "a"): "1", ("osd/class:ssd", "a"): "2"}
    assert settings.option("") is None


@given(st.integers(0, 1 << 50))
def test_amounts(number: int) -> None:
    assert values.amount(number) == values.amount(str(number)) == number
    assert values.amount(f"{number}KiB") == values.amount(f"{number} k") == number * 1024


@pytest.mark.parametrize("wrong", ["", "1.5", "much", "-1", "1X", True, None])
def test_no_amounts(wrong: t.Any) -> None:
    assert values.amount(wrong) is None


@pytest.mark.parametrize(
    ("text", "wanted"), [("90", 90), ("1h", 3600), ("1 day, 2 min", 86520), ("x", None), ("", None)]
)
def test_durations(text: str, wanted: float | None) -> None:
    assert values.seconds(text) == wanted


# -- what is told ----------------------------------------------------------------------------------------------------


def health(*codes: str) -> dict[str, t.Any]:
    checks = {code: {"severity": "HEALTH_ERR", "summary": {"message": "m"}} for code in codes}
    return info.health({"status": "HEALTH_OK", "checks": checks})


def test_versions() -> None:
    text = "ceph version {} (618f440892089921c3e944a991122ddc44e60516) pacific (stable)"
    out = {
        "mon": {text.format("19.2.6"): 3},
        "osd": {text.format("19.2.10"): 2, text.format("19.2.6"): 1},
        "overall": {},
    }
    found = info.versions(out)
    assert found == {"mon": {"19.2.6": 3}, "osd": {"19.2.10": 2, "19.2.6": 1}}
    assert info.oldest(found) == "19.2.6"
    assert info.oldest({}) == ""


@pytest.mark.parametrize(
    ("version", "key", "codes", "state"),
    [
        ("16.2.15", "aes", (), "vulnerable"),
        ("19.2.5", "aes", (), "vulnerable"),
        ("20.2.3", "aes256k", (), "vulnerable"),
        ("19.2.6", "aes", (), "unfinished"),
        ("20.2.4", "aes256k", ("AUTH_INSECURE_SERVICE_TICKETS",), "unfinished"),
        ("20.2.4", "aes256k", ("AUTH_INSECURE_CLIENT_KEY_TYPE",), "fixed"),
        ("22.2.0", "aes256k", (), "fixed"),
        ("", "aes", (), "unknown"),
    ],
)
def test_forgery(version: str, key: str, codes: tuple[str, ...], state: str) -> None:
    users = {"osd.0": User("osd.0", {}, key), "client.x": User("client.x", {}, "aes")}
    found = info.forgery(version, health(*codes), users)
    assert found["state"] == state
    assert found["why"]
    assert set(found["health"]) == set(codes)


def test_monitors_pools_filesystems() -> None:
    found = info.monitors(server.MONMAP, ["a", "c"])
    assert found[0] == {
        "name": "a",
        "v1": "192.0.2.0:6789",
        "v2": "192.0.2.0:3300",
        "in_quorum": True,
        "answers": True,
    }
    assert [one["in_quorum"] for one in found] == [True, True, False]
    pools = info.pools(pools_plan.existing(server.DUMP, server.RULES), [])
    assert pools["ec"]["erasure"]
    assert pools["ec"]["overwrites"]
    assert pools["files"]["applications"] == ["cephfs"]
    assert info.filesystems(server.FILESYSTEMS) == {"cephfs": {"metadata_pool": "meta", "data_pools": ["files"]}}


# -- the client ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "wanted"),
    [
        ("#!/usr/bin/python3\n", ["/usr/bin/python3"]),
        ("#! /usr/bin/python3.11\n", ["/usr/bin/python3.11"]),
        ("#!/usr/bin/env python3\n", ["python3"]),
        ("#!/usr/bin/python3 -s\n", ["/usr/bin/python3", "-s"]),
        ("#!/bin/sh\n", None),
        ("\x7fELF", None),
    ],
)
def test_the_python_of_a_program(tmp_path: Path, first: str, wanted: list[str] | None) -> None:
    (tmp_path / "ceph").write_text(first)
    assert ceph.python_of(str(tmp_path / "ceph")) == wanted
    assert ceph.python_of(str(tmp_path / "none")) is None


def test_a_refusal_says_which_command() -> None:
    error = ceph.failure(Command("osd pool set", {"pool": "x"}), Answer(-2, None, "unrecognized pool 'x'"), done=2)
    assert isinstance(error, HackspaceError)
    assert (error.rule, error.item, error.data) == ("ceph-missing", "ceph osd pool set", {"done": 2})
    assert "unrecognized pool" in error.message


def test_files_that_are_missing(tmp_path: Path) -> None:
    params = {"conf": str(tmp_path / "none"), "keyring": None, "user": "admin", "timeout": 3}
    with pytest.raises(InvalidInput) as caught:
        ceph.login_of(params)
    assert (caught.value.rule, caught.value.item) == ("ceph-file", "conf")
    (tmp_path / "none").touch()
    assert ceph.login_of(params)["name"] == "client.admin"


def test_a_command_never_shows_what_it_reads() -> None:
    assert "secret" not in repr(Command("auth import", data="secret"))
    assert "key" not in repr(Answer(0, {"key": "AQ=="}))


def test_the_session_stands_alone() -> None:
    """It is run by itself in another Python: nothing of ours may be imported."""
    source = Path(str(ceph_session.__file__)).read_text()
    assert "import" in source
    assert "from ." not in source
    assert "ansible" not in source.split('"""', 2)[2]
