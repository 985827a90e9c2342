# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings about custody, a holder's proof, adoption, and what a kit is made of."""

from __future__ import annotations

import dataclasses
import json
import secrets
import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret, fingerprint
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import custody, kit, share_record
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.share_record import Entry, Record
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.shares import Share

ROOT = Path(__file__).parents[3]
NOW = "2026-11-01T10:00:00Z"
SERVER = custody.Server(shares=3, threshold=2, cluster_id="c")


def share(name: str, index: int = 1) -> Share:
    return Share(name, Secret((secrets.token_bytes(32) + bytes([index])).hex()))


ADA, BO = share("ada"), share("bo", 2)


def record(**changes: t.Any) -> Record:
    entries = (
        Entry("ada", "ada.age", "age1a", fingerprint(ADA.raw), "2026-10-01T00:00:00Z"),
        Entry("bo", "bo.age", "age1b", fingerprint(BO.raw), "2026-10-01T00:00:00Z"),
        Entry("cleo", "cleo.age", "age1c", "", "2026-10-01T00:00:00Z"),
    )
    return dataclasses.replace(Record("complete", "g1", "2026-01-01T00:00:00Z", "unseal", 2, entries), **changes)


def rules(
    found: Record | None, *known: str, server: custody.Server = SERVER, missing: tuple[str, ...] = ()
) -> dict[str, str]:
    settings = custody.Settings(known or None, NOW)
    return {f.rule: f.severity for f in custody.findings(found, server, settings, missing)}


def test_all_is_well() -> None:
    assert rules(record()) == {}
    assert rules(record(), "ada", "bo", "cleo") == {}


@pytest.mark.parametrize(
    ("found", "known", "expected"),
    [
        (None, (), {"no-record": "warning"}),
        (record(), ("ada", "bo"), {"at-threshold": "critical", "departed": "warning"}),
        (record(), ("ada",), {"below-threshold": "critical", "departed": "warning"}),
        (record(), ("ada", "bo", "cleo", "dan"), {"without-share": "info"}),
        (record(threshold=3), (), {"no-spare": "warning", "record-differs": "critical"}),
        (record(cluster={"cluster_id": "other"}), (), {"other-cluster": "critical"}),
    ],
)
def test_findings(found: Record | None, known: tuple[str, ...], expected: dict[str, str]) -> None:
    assert rules(found, *known) == expected


def test_findings_about_entries() -> None:
    first, second, third = record().holders
    assert rules(record(holders=(dataclasses.replace(first, verified_at=""), second, third))) == {
        "never-verified": "warning"
    }
    old = dataclasses.replace(first, verified_at="2025-01-01T00:00:00Z")
    assert rules(record(holders=(old, second, third))) == {"verified-long-ago": "warning"}
    twin = dataclasses.replace(second, recipient="age1a")
    assert rules(record(holders=(first, twin, third))) == {"two-shares": "warning"}
    assert rules(record(), missing=("bo.age",)) == {"file-missing": "info"}
    under_way = share_record.Rotation("collecting", "g2", NOW, 2, ())
    assert rules(record(rotation=under_way)) == {"rotation-under-way": "warning"}


def test_a_share_is_shown_once_a_day() -> None:
    after, plan = custody.verify(record(), [], [ADA], NOW)
    entry = after.entry("ada")
    assert entry
    assert (entry.verified_at, plan.changed) == (NOW, True)
    _same, again = custody.verify(after, [], [ADA], "2026-11-01T23:00:00Z")
    assert not again.changed
    learnt = share("cleo", 3)
    after, plan = custody.verify(record(), [], [learnt], NOW)
    assert "learnt" in plan.changes[0].why
    assert learnt.key.reveal() not in json.dumps(plan.result())


def test_wrong_shares_are_named_by_what_they_are() -> None:
    old = dataclasses.replace(record(), generation="g0", holders=(Entry("eve", fingerprint=fingerprint(ADA.raw)),))
    cases: dict[str, tuple[Share, list[Record]]] = {
        "that of bo in generation g1": (Share("ada", BO.key), []),
        "no record knows it": (share("ada"), []),
        "that of ada in generation g1": (Share("cleo", ADA.key), []),
    }
    for words, (given, older) in cases.items():
        with pytest.raises(HackspaceError) as caught:
            custody.verify(record(), older, [given], NOW)
        assert words in caught.value.message
        assert given.key.reveal() not in str(caught.value)
    renewed = dataclasses.replace(record(), holders=(Entry("ada", fingerprint="0" * 12),))
    with pytest.raises(HackspaceError) as caught:
        custody.verify(renewed, [old], [ADA], NOW)
    assert "that of eve in generation g0" in caught.value.message
    with pytest.raises(HackspaceError) as caught:
        custody.verify(None, [], [ADA], NOW)
    assert caught.value.rule == "no-record"


def test_adoption_one_holder_at_a_time() -> None:
    def adopt(present: Record | None, names: tuple[str, ...], *given: Share, server: custody.Server = SERVER) -> Record:
        return custody.adopt(present, [], server, names, given, present=NOW, generation="ab12")[0]

    first = adopt(None, ("ada", "bo"), ADA)
    assert (first.state, first.threshold, first.shares, len(first.holders)) == ("adopted", 2, 3, 2)
    assert "record-differs" not in rules(first)
    assert rules(first, server=custody.Server(4, 2))["record-differs"] == "critical"
    alone = adopt(None, ("ada",), ADA)
    (found,) = [f for f in custody.findings(alone, SERVER, custody.Settings(None, NOW), ()) if f.severity == "critical"]
    assert (found.rule, "adopt" in found.fix) == ("below-threshold", True)
    second = adopt(first, ("ada", "bo", "cleo"), BO)
    assert [bool(e.fingerprint) for e in second.holders] == [True, True, False]
    assert not custody.adopt(second, [], SERVER, ("ada",), (BO,), present=NOW, generation="x")[1].changed
    for rule, arguments in (
        ("holders-count", (second, ("dan",))),
        ("holder-name", (second, ("../x",))),
        ("known-holder", (record(), (), share("mallory"))),
    ):
        with pytest.raises(HackspaceError) as caught:
            adopt(*arguments)
        assert caught.value.rule == rule
    with pytest.raises(HackspaceError) as caught:
        adopt(second, (), server=custody.Server(5, 3))
    assert caught.value.rule == "record-differs"
    with pytest.raises(HackspaceError) as caught:
        adopt(None, (), server=custody.Server())
    assert caught.value.rule == "no-server"


@pytest.mark.parametrize("text", ["{", "[]", '{"state": "x"}', '{"holders": [{"holder": "a", "file": "../../x"}]}'])
def test_a_broken_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "shares.json").write_text(text)
    with pytest.raises(HackspaceError) as caught:
        share_record.read(str(tmp_path))
    assert caught.value.rule == "record"


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    rotation = share_record.Rotation("collecting", "g2", NOW, 2, (Entry("ada", "ada.age"),), nonce="n", given=("ada",))
    wanted = record(rotation=rotation, shares=3, cluster={"cluster_name": "c", "cluster_id": "d"})
    share_record.write(str(tmp_path), wanted)
    assert share_record.read(str(tmp_path)) == wanted
    assert (tmp_path / "shares.json").stat().st_mode & 0o777 == 0o600


def test_what_a_kit_is_made_of(tmp_path: Path) -> None:
    files = kit.collection_files(str(ROOT))
    assert f"{kit.COLLECTION}/plugins/action/openbao_unseal.py" in files
    assert not [name for name in files if "openbao_init.py" in name.rsplit("/", 1)[-1]]
    text = kit.sums({**files, kit.SUMS: b"x"}).decode()
    assert len(text.splitlines()) == len(files)
    assert kit.mark(files, ["a==1"], []) != kit.mark(files, ["a==2"], [])
    assert kit.executable(b"import sys\n") == b"#!/usr/bin/env python3\nimport sys\n"
    assert kit.executable(b"#!/opt/python\n") == b"#!/opt/python\n"
    guide = kit.guide("k", [{"name": "n0", "url": "https://192.0.2.1:8200"}], ["ada", "bo"], 2)
    assert len(guide.splitlines()) <= 10
    for rule, call in (
        ("collection", lambda: kit.collection_files(str(tmp_path))),
        ("no-holders", lambda: kit.check_people([], 1)),
        ("threshold-above-shares", lambda: kit.check_people(["a"], 2)),
    ):
        with pytest.raises(HackspaceError) as caught:
            call()
        assert caught.value.rule == rule
