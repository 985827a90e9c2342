# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Monitors: told in full, mended where Rook's operator can't, left to it everywhere else."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._rook import monitors
from hypothesis import given
from hypothesis import strategies as st

THREE = monitors.known(
    [
        {"name": "pve1", "v1": "10.0.0.1:6789", "v2": "10.0.0.1:3300"},
        {"name": "PVE2.example.org", "v1": "[2001:DB8::2]:6789", "v2": "[2001:db8:0::2]:3300"},
        {"name": "pve3", "v1": "10.0.0.3:6789", "v2": "10.0.0.3:3300"},
    ],
    item="facts.monitors",
)
ALL = "PVE2.example.org=[2001:db8::2]:3300,pve1=10.0.0.1:3300,pve3=10.0.0.3:3300"


def test_all_monitors_are_told_in_both_families() -> None:
    """X15: Rook's script tells the leader only."""
    assert monitors.render(monitors.wanted(THREE, msgr2=True)) == ALL
    assert "pve1=10.0.0.1:6789" in monitors.render(monitors.wanted(THREE, msgr2=False))


@pytest.mark.parametrize(
    "endpoint", ["pve1:6789", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:70000", "2001:db8::1:6789", "[10.0.0.1]:6789", ""]
)
def test_what_is_no_address(endpoint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        monitors.split(endpoint, item="x")
    assert caught.value.rule == "monitor-address"


def test_a_monitor_that_keeps_its_name_and_moves_is_mended() -> None:
    """I3: the operator keeps the address of a monitor whose name it knows."""
    before = ALL.replace("10.0.0.1:3300", "10.9.9.1:3300")
    drift = monitors.drift(before, THREE, msgr2=True)
    assert drift.moved == {"pve1": ("10.9.9.1:3300", "10.0.0.1:3300")}
    assert drift.mended
    assert monitors.merged(before, THREE, msgr2=True) == ALL


def test_what_the_operator_finds_by_itself_is_left_to_it() -> None:
    for text in ("pve1=10.0.0.1:3300", f"{ALL},old=10.0.0.9:3300", ALL.replace("10.0.0.1:3300", "10.0.0.1:6789")):
        drift = monitors.drift(text, THREE, msgr2=True)
        assert drift.any
        assert not drift.mended
        assert monitors.merged(text, THREE, msgr2=True) == text
    assert monitors.drift("pve1=10.0.0.1:6789", THREE, msgr2=True).protocol


@pytest.mark.parametrize("text", ["", "old=10.9.9.9:6789", "pve1=10.9.9.9:3300", "garbage"])
def test_who_knows_no_monitor_is_told_all(text: str) -> None:
    assert monitors.drift(text, THREE, msgr2=True).lost
    assert monitors.merged(text, THREE, msgr2=True) == ALL


_NAMES = st.sampled_from(["pve1", "PVE2.example.org", "pve3", "old", "new"])
_ENDPOINTS = st.sampled_from(
    ["10.0.0.1:6789", "10.0.0.1:3300", "[2001:db8::2]:3300", "10.0.0.3:3300", "10.9.9.9:3300", "10.9.9.8:6789"]
)


@given(st.dictionaries(_NAMES, _ENDPOINTS), st.booleans())
def test_mending_is_done_at_once_and_never_undone(known: dict[str, str], msgr2: bool) -> None:
    text = monitors.render(known)
    once = monitors.merged(text, THREE, msgr2=msgr2)
    assert monitors.merged(once, THREE, msgr2=msgr2) == once
    assert not monitors.drift(once, THREE, msgr2=msgr2).mended
    # nothing that the operator wrote is lost, unless all of it was wrong
    if not monitors.drift(text, THREE, msgr2=msgr2).lost:
        assert monitors.parse(once).keys() == known.keys()


def test_a_report_has_plain_values() -> None:
    drift = monitors.drift("pve1=10.9.9.1:3300,old=10.0.0.3:3300", THREE, msgr2=True)
    report: dict[str, t.Any] = drift.as_dict()
    assert report["moved"] == {"pve1": {"from": "10.9.9.1:3300", "to": "10.0.0.1:3300"}}
    assert (report["extra"], report["missing"], report["lost"]) == (["old"], ["PVE2.example.org", "pve3"], False)
    assert drift.why() == "moved: pve1 10.9.9.1:3300 -> 10.0.0.1:3300"
