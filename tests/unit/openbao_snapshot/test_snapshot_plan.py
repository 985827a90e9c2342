# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept, deleted and restored; sidecars."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput, Refused
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import snapshot_model as model
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import snapshot_plan as plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import Node, NodeState, Overview
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.share_record import Entry, Record, Rotation
from hypothesis import given
from hypothesis import strategies as st

from .archives import AT, NODE, members, pack, sidecar_of

CLUSTER = model.cluster_of(NODE)
SIDECAR = sidecar_of(pack(members()), "x.snap")
SETTINGS: dict[str, t.Any] = {
    "state": "saved",
    "folder": "/f",
    "max_age": 3600,
    "keep_last": 2,
    "keep_daily": 0,
    "keep_weekly": 0,
    "keep_monthly": 0,
    "prune": True,
    "prune_max_percent": 100,
    "force": False,
    "safety_snapshot": True,
    "wait_timeout": 60,
    "transfer_timeout": 60.0,
}


def settings(**changes: t.Any) -> model.Settings:
    return model.parse_settings({**SETTINGS, **changes})


def snapshot(days: float, **changes: t.Any) -> plan.Found:
    """A snapshot that is so many days old."""
    at = (AT - timedelta(days=days)).replace(microsecond=0)
    record = dataclasses.replace(SIDECAR, file=model.file_name(CLUSTER, at), saved_at=at, **changes)
    return plan.Found(record.file, record, record.size)


def save(found: list[plan.Found], *, present: str = "", **changes: t.Any) -> plan.SavePlan:
    return plan.plan_save(settings(**changes), CLUSTER, found, now=AT, new="new.snap", present=present)


def test_sidecar_and_back() -> None:
    assert model.parse_sidecar(SIDECAR.text(), item="x") == SIDECAR
    document = json.loads(SIDECAR.text())
    assert NODE.cluster_id not in SIDECAR.text().decode()
    for broken in (b"", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000):
        with pytest.raises(InvalidInput, match="no sidecar"):
            model.parse_sidecar(broken, item="x")
    for key in document:
        if key not in ("kind", "format"):
            less = {k: v for k, v in document.items() if k != key}
            with pytest.raises(InvalidInput):
                model.parse_sidecar(json.dumps(less).encode(), item="x")
    changes: list[dict[str, t.Any]] = [
        {"format": 2},
        {"kind": "x"},
        {"saved_at": "2026-11-21T04:00:00"},
        {"shares": []},
        {"size": float("inf")},
    ]
    for change in changes:
        with pytest.raises(InvalidInput):
            model.parse_sidecar(json.dumps({**document, **change}).encode(), item="x")


def test_names() -> None:
    name = model.file_name(CLUSTER, AT)
    assert name == "openbao-lab-one-20261121T040000Z.snap"
    assert model.is_ours(name)
    assert model.is_ours(model.file_name(model.Cluster("../Ä", ""), AT))
    for other in ("openbao-lab.snap", f"../{name}", f"{name}.json", f".{name}.part"):
        assert not model.is_ours(other)


def test_shares() -> None:
    entries = (Entry("ada", fingerprint="0a"), Entry("bo"))
    record = Record("complete", "f00d", "", "unseal", 3, entries, shares=5, cluster={"cluster_id": NODE.cluster_id})
    shares, warning = model.shares_of(NODE, record)
    assert (shares.generation, shares.holders, warning) == ("f00d", (("ada", "0a"), ("bo", "")), "")
    assert shares.words() == "3 of 5 unseal shares of its time, generation f00d, held by ada, bo"
    under_way = dataclasses.replace(record, rotation=Rotation("verifying", "beef", "", 3, ()))
    assert "a rotation to beef was under way" in model.shares_of(NODE, under_way)[0].words()
    for other in ({"threshold": 2}, {"shares": 4}, {"kind": "recovery"}):
        shares, warning = model.shares_of(NODE, dataclasses.replace(record, **other))
        assert warning
        assert (shares.generation, shares.threshold, shares.total) == ("", 3, 5)
    with pytest.raises(InvalidInput, match="another cluster"):
        model.shares_of(NODE, dataclasses.replace(record, cluster={"cluster_id": "other"}))
    auto = dataclasses.replace(NODE, auto_unseal=True, seal_type="transit")
    assert "recovery shares do not unseal" in model.shares_of(auto, None)[0].words()


def test_a_fresh_one_is_enough() -> None:
    found = [snapshot(0.01), snapshot(0.02), snapshot(2), snapshot(-1)]
    fresh = plan.fresh(found, CLUSTER, SIDECAR.shares, now=AT, max_age=3600)
    assert [f.name for f in fresh] == [found[0].name, found[1].name]
    assert plan.fresh(found, CLUSTER, SIDECAR.shares, now=AT, max_age=0) == []
    assert plan.fresh(found, model.Cluster("other", "x"), SIDECAR.shares, now=AT, max_age=3600) == []
    # nothing from before a restore counts
    again = [snapshot(0.005, why=model.SAFETY), *found[:2]]
    assert plan.fresh(again, CLUSTER, SIDECAR.shares, now=AT, max_age=3600) == []
    # nor anything that other shares open, as far as is known
    others: list[dict[str, t.Any]] = [{"generation": "beef"}, {"threshold": 2}, {"total": 6}, {"kind": "recovery"}]
    for other in others:
        assert plan.fresh(found, CLUSTER, dataclasses.replace(SIDECAR.shares, **other), now=AT, max_age=3600) == []
    unknown = dataclasses.replace(SIDECAR.shares, generation="", holders=())
    assert len(plan.fresh(found, CLUSTER, unknown, now=AT, max_age=3600)) == 2
    wanted = save([found[0]], present=found[0].name)
    assert not wanted.plan.changed
    assert wanted.plan.unchanged == 1


def test_several_of_one_second_are_dated_ahead() -> None:
    second = 1 / 86400
    ahead = [snapshot(-3 * second), snapshot(-2 * second)]
    now = plan.clock(ahead, CLUSTER, AT)
    assert now == ahead[0].sidecar.saved_at  # type: ignore[union-attr]
    assert len(plan.fresh(ahead, CLUSTER, SIDECAR.shares, now=now, max_age=3600)) == 2
    assert plan.clock([snapshot(2 * second)], CLUSTER, AT) == AT
    assert plan.clock([], CLUSTER, AT) == AT
    # a clock that was wrong is not followed
    assert plan.clock([snapshot(-61 * second)], CLUSTER, AT) == AT


def test_only_ours_are_deleted() -> None:
    found = [
        snapshot(3),
        snapshot(2),
        snapshot(1),
        snapshot(9, cluster=model.Cluster("lab", "another")),
        plan.Found("by-hand.snap", None, 5, "no sidecar"),
        dataclasses.replace(snapshot(8), size=1, problem="damaged: short"),
        plan.Found(snapshot(7).name, snapshot(7).sidecar, None, "the snapshot is not there"),
    ]
    wanted = save(found)
    assert wanted.prune == (found[0].name, found[1].name)
    assert wanted.leftovers == (found[6].name,)
    assert wanted.keep == {"new.snap": "last", found[2].name: "last"}
    assert set(wanted.plan.foreign) == {found[3].name, "by-hand.snap", found[5].name}
    assert wanted.plan.warnings == [f"{found[5].name}: damaged: short."]
    assert [c.action for c in wanted.plan.changes] == ["create", "delete", "delete", "delete"]
    with pytest.raises(Refused) as caught:
        wanted.check_cap(settings(prune_max_percent=40))
    assert caught.value.rule == "prune-cap"
    wanted.check_cap(settings())
    assert save(found, prune=False).prune == ()


def test_days_weeks_months() -> None:
    times = {
        f"s{hour}": datetime(2026, 11, 21, 12, tzinfo=UTC) - timedelta(hours=hour) for hour in range(0, 24 * 120, 8)
    }
    keep = plan.kept(times, model.Keep(last=2, daily=3, weekly=2, monthly=3))
    # Saturday noon: the last two; each of the newest three days (today by `last`); each week; each month
    assert keep == {
        "s0": "last",
        "s8": "last",
        "s16": "daily",  # the newest of yesterday
        "s40": "daily",
        "s136": "weekly",  # Sunday evening of the week before
        "s496": "monthly",  # the last of October
        "s1240": "monthly",  # the last of September
    }


TIMES = st.dictionaries(
    st.text("ab", min_size=1, max_size=6), st.datetimes(datetime(2020, 1, 1), datetime(2027, 1, 1)), min_size=1
)


@given(TIMES, st.tuples(*[st.integers(0, 5)] * 4))
def test_the_newest_is_always_kept(times: dict[str, datetime], counts: tuple[int, int, int, int]) -> None:
    keep = plan.kept(times, model.Keep(*counts))
    assert max(times, key=lambda name: (times[name], name)) in keep
    assert len(keep) <= max(counts[0], 1) + sum(counts[1:])
    # keeping what is kept deletes nothing more
    assert set(plan.kept({name: times[name] for name in keep}, model.Keep(*counts))) == set(keep)


def test_the_server() -> None:
    assert plan.check_server(Overview.of([NODE])) is NODE
    sealed = dataclasses.replace(NODE, state="sealed", role="")
    for states in ([sealed], [dataclasses.replace(NODE, role="standby")], [NodeState(NODE.node, "unreachable")]):
        with pytest.raises(HackspaceError) as caught:
            plan.check_server(Overview.of(states))
        assert caught.value.rule == "no-active-node"
    with pytest.raises(HackspaceError) as caught:
        plan.check_server(Overview.of([dataclasses.replace(NODE, storage="file")]))
    assert caught.value.rule == "not-raft"


def test_rights() -> None:
    assert plan.check_rights("p", ["read"], ("read",), item="x") == []
    assert plan.check_rights("p", ["root"], ("update",), item="x") == []
    assert "its own rights" in plan.check_rights("p", None, ("read",), item="x")[0]
    with pytest.raises(HackspaceError) as caught:
        plan.check_rights("p", ["read"], ("update",), item="x")
    assert 'path "p" { capabilities = ["update"] }' in caught.value.fix


def restore(record: model.Sidecar | None, *, check_mode: bool = False, **changes: t.Any) -> None:
    given = {"state": "restored", "folder": None, "file": "x.snap", "prune": False, **changes}
    plan.check_restore(settings(**given), record, CLUSTER, check_mode=check_mode)


def test_who_may_restore_what() -> None:
    other = dataclasses.replace(SIDECAR, cluster=model.Cluster("Lab One", "other"))
    restore(SIDECAR, confirm="Lab One")
    restore(SIDECAR, confirm="site", platform_name="site")
    restore(SIDECAR, check_mode=True)
    restore(None, confirm="Lab One", force=True)
    restore(other, confirm="Lab One", force=True)
    wrong: list[tuple[str, model.Sidecar | None, dict[str, t.Any]]] = [
        ("confirm", SIDECAR, {}),
        ("confirm", SIDECAR, {"confirm": "lab one"}),
        ("confirm", SIDECAR, {"confirm": "Lab One", "platform_name": "site"}),
        ("confirm", SIDECAR, {"confirm": "other", "check_mode": True}),
        ("confirm", other, {"force": True}),
        ("other-cluster", other, {"confirm": "Lab One"}),
        ("no-sidecar", None, {"confirm": "Lab One"}),
    ]
    for rule, record, changes in wrong:
        with pytest.raises(Refused) as caught:
            restore(record, **changes)
        assert caught.value.rule == rule
    nameless = model.Cluster("", CLUSTER.fingerprint)
    with pytest.raises(InvalidInput, match="no cluster name"):
        plan.check_restore(
            settings(state="restored", folder=None, file="x", prune=False), SIDECAR, nameless, check_mode=False
        )


def test_a_restore_is_shown() -> None:
    given = settings(state="restored", folder=None, file="x", prune=False, force=True)
    other = dataclasses.replace(SIDECAR, cluster=model.Cluster("old", "other"))
    wanted = plan.plan_restore(given, other, CLUSTER, name="x.snap", safety="y.snap", index=44)
    assert [c.action for c in wanted.changes] == ["create", "reset"]
    assert wanted.diff()[1]["after"]["from"] == "x.snap"
    assert "generation f00d" in wanted.warnings[0]
    assert "no sidecar" in plan.plan_restore(given, None, CLUSTER, name="x", safety="", index=1).warnings[0]


def test_other_keys_in_our_words() -> None:
    said = HackspaceError("HTTP 400", status=400)
    said.errors = ["could not verify hash file, possibly the snapshot is using a different set of keys"]  # type: ignore[attr-defined]
    found = plan.other_keys(said, SIDECAR, "x.snap")
    assert (found.rule, found.status) == ("other-keys", 400)
    assert "generation f00d" in found.fix
    for kept in (HackspaceError("HTTP 400", status=400), HackspaceError("cut", rule="cut")):
        assert plan.other_keys(kept, SIDECAR, "x.snap") is kept


def test_what_to_do_afterwards() -> None:
    def said(*states: NodeState) -> str:
        return "\n".join(plan.after_restore(Overview.of(states), SIDECAR, sent_to="openbao-0", next_command="go"))

    assert "from the next restart on, 3 of 5" in said(NODE)
    sealed = dataclasses.replace(NODE, state="sealed", role="")
    gone = NodeState(Node("openbao-1", "https://127.0.0.1:2"), "unreachable")
    text = said(sealed, gone)
    assert "next: go" in text
    assert "start openbao-1 again" in text
    moved = dataclasses.replace(NODE, node=Node("openbao-2", "https://127.0.0.1:3"))
    assert "changed from openbao-0 to openbao-2" in said(moved)
    assert "no active node yet" in said(dataclasses.replace(NODE, role="standby"))
    assert all("playbooks/reviewers.yml" in said(state) for state in (NODE, sealed))


def test_ages() -> None:
    ages = {timedelta(seconds=5): "5 s old", timedelta(minutes=3): "3 minutes old", timedelta(days=40): "40 days old"}
    assert {age: plan.age(AT - age, AT) for age in ages} == ages
    assert "clocks" in plan.age(AT + timedelta(1), AT)
