# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ExternalSecrets and stores are nudged, and what is said about it."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, Unreachable
from ansible_collections.hackspace.infra.plugins.module_utils._eso import sync_report
from ansible_collections.hackspace.infra.plugins.module_utils._eso.sync_apply import Late, Read
from ansible_collections.hackspace.infra.plugins.module_utils._eso.sync_plan import (
    Item,
    Selection,
    cause,
    causes,
    choose,
    late,
    secret,
    store,
)
from hypothesis import given
from hypothesis import strategies as st

REFUSED = (
    "error processing spec.data[0] (key: tenants/member-prod/b/db), err: Error making API request.\n\n"
    "URL: GET https://127.0.0.1:8200/v1/kv/data/tenants/member-prod/b/db?version=2\nCode: 403. Errors:\n\n"
    "* 1 error occurred:\n\t* permission denied\n\n"
)


def condition(status: str, reason: str = "SecretSynced", message: str = "") -> dict[str, t.Any]:
    return {"conditions": [{"type": "Ready", "status": status, "reason": reason, "message": message}]}


def external_secret(name: str, status: t.Any = None, *, namespace: str = "a", **spec: t.Any) -> Item:
    body = {"secretStoreRef": {"name": "openbao"}, "refreshInterval": "1h", **spec}
    found = secret({"metadata": {"name": name, "namespace": namespace}, "spec": body, "status": status})
    assert found
    return found


def secret_store(name: str, status: str, namespace: str = "a") -> Item:
    found = store({"metadata": {"name": name, "namespace": namespace}, "status": condition(status, "Valid")})
    assert found
    return found


def test_what_is_ready_is_left_alone() -> None:
    items = [
        external_secret("good", condition("True")),
        external_secret("bad", condition("False", "SecretSyncedError", "could not get secret data from provider")),
        external_secret("new"),
    ]
    nudge = choose("member-prod", items, [], Selection())
    assert [item.name for item in nudge.secrets] == ["bad", "new"]
    assert nudge.healthy == 1
    plan = nudge.plan()
    assert [(c["name"], c["why"]) for c in plan.report()] == [
        ("member-prod a/bad", "not Ready: SecretSyncedError"),
        ("member-prod a/new", "not Ready yet"),
    ]
    assert plan.diff()[0]["after"] == {"ready": False, "force-sync": "(now)"}
    assert not choose("member-prod", items[:1], [], Selection()).plan().changed


def test_only_stores_that_are_broken_and_used_are_nudged_and_they_come_first() -> None:
    items = [
        external_secret("through-broken", condition("False")),
        external_secret("through-good", condition("False"), secretStoreRef={"name": "other"}),
        external_secret(
            "through-cluster", condition("False"), secretStoreRef={"kind": "ClusterSecretStore", "name": "all"}
        ),
        external_secret(
            "through-source",
            condition("False"),
            secretStoreRef=None,
            dataFrom=[{"sourceRef": {"storeRef": {"name": "third"}}}, {"extract": {"key": "x"}}],
        ),
    ]
    stores = [
        secret_store("openbao", "False"),
        secret_store("other", "True"),
        secret_store("third", "False"),
        secret_store("all", "False", ""),
        secret_store("all", "False"),  # of the same name in the namespace: nobody reads through it
        secret_store("openbao", "False", "b"),
    ]
    nudge = choose("c", items, stores, Selection())
    assert [(s.kind, s.title) for s in nudge.stores] == [
        ("ClusterSecretStore", "all"),
        ("SecretStore", "a/openbao"),
        ("SecretStore", "a/third"),
    ]
    assert [c["kind"] for c in nudge.plan().report()] == ["ClusterSecretStore"] + ["SecretStore"] * 2 + [
        "ExternalSecret"
    ] * 4
    assert [s.name for s in nudge.behind_stores()] == ["through-broken", "through-cluster", "through-source"]


def test_all_leaves_out_what_is_read_once() -> None:
    synced = {**condition("True"), "syncedResourceVersion": "1-a"}
    items = [
        external_secret("often", synced),
        external_secret("once", synced, refreshPolicy="CreatedOnce"),
        external_secret("never", synced, refreshInterval="0"),
        external_secret("changed", synced, refreshPolicy="OnChange", refreshInterval="0"),
    ]
    assert [s.name for s in choose("c", items, [], Selection("all")).secrets] == ["changed", "often"]


def test_only_the_namespaces_that_are_meant() -> None:
    items = [external_secret("x", namespace=namespace) for namespace in ("a", "b")]
    nudge = choose("c", items, [], Selection(namespaces=frozenset({"b"})))
    assert [s.title for s in nudge.secrets] == ["b/x"]
    assert nudge.healthy == 0


def test_what_is_being_deleted_is_left_out() -> None:
    gone = {"metadata": {"name": "x", "namespace": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert secret(gone) is None
    assert store(gone) is None


def test_one_that_was_ready_has_to_be_worked_on_first() -> None:
    def synced(name: str, version: str, ready: str = "True") -> Item:
        return external_secret(name, {**condition(ready), "syncedResourceVersion": version})

    before = [synced("same", "1-a"), synced("done", "1-a"), synced("broken", "1-a", "False"), synced("gone", "1-a")]
    now = [synced("same", "1-a"), synced("done", "1-b"), synced("broken", "1-a"), synced("other", "1-a", "False")]
    assert [item.name for item in late(before, now)] == ["same"]
    assert [item.name for item in late(before, [synced("done", "1-b", "False")])] == ["done"]


def test_what_openbao_said_is_found_and_nothing_else_is_told() -> None:
    assert cause(REFUSED) == "OpenBao answers 403 to GET /v1/kv/data/tenants/member-prod/b/db"
    assert cause(REFUSED.replace("permission denied", "Vault is sealed").replace("403", "503")) == "OpenBao is sealed"
    assert cause('could not execute template: error calling fromJson: "hunter2"') == ""

    def event(name: str, when: str, message: str) -> dict[str, t.Any]:
        return {"involvedObject": {"namespace": "a", "name": name}, "lastTimestamp": when, "message": message}

    sealed = "Error making API request.\n\nURL: PUT https://x/v1/auth/m/login\nCode: 503. Errors:\n\n* Vault is sealed"
    assert causes(
        [
            event("x", "2026-01-01T00:00:02Z", REFUSED),
            event("x", "2026-01-01T00:00:01Z", sealed),
            event("x", "2026-01-01T00:00:03Z", "something else"),
            event("y", "2026-01-01T00:00:01Z", sealed),
        ]
    ) == {
        ("a", "x"): "OpenBao answers 403 to GET /v1/kv/data/tenants/member-prod/b/db",
        ("a", "y"): "OpenBao is sealed",
    }


@given(st.text())
def test_a_cause_never_holds_more_than_method_path_and_status(text: str) -> None:
    assert cause(f"{text}\nCode: 403") in ("", "OpenBao is sealed") or "URL:" in text


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["True", "False", "Unknown"])), max_size=12))
def test_every_secret_is_either_nudged_or_healthy(states: list[tuple[str, str]]) -> None:
    items = [
        external_secret(f"s{number}", condition(status), namespace=namespace)
        for number, (namespace, status) in enumerate(states)
    ]
    nudge = choose("c", items, [], Selection())
    assert len(nudge.secrets) + nudge.healthy == len(items)
    assert all(not item.ready for item in nudge.secrets)
    assert nudge.plan().changed == bool(nudge.secrets)
    assert late(nudge.secrets, items) == sorted(nudge.secrets, key=items.index)


# -- reports -------------------------------------------------------------------------------------------------------


def read(*items: Item, stores: t.Sequence[Item] = ()) -> Read:
    return Read("v1", choose("member-prod", items, stores, Selection()), items)


BAD = external_secret("db", condition("False", "SecretSyncedError", "could not get secret data from provider"))
STORE = secret_store("openbao", "False")


@pytest.mark.parametrize(
    ("outcome", "state", "line"),
    [
        (sync_report.Outcome("c", Read("", read().nudge)), "not_installed", "c: no External Secrets there"),
        (
            sync_report.Outcome("c", read(external_secret("x", condition("True")))),
            "healthy",
            "c: nothing to nudge, 1 ExternalSecret looked at",
        ),
        (sync_report.Outcome("c", read(BAD)), "nudged", "c: 1 ExternalSecret to nudge"),
        (
            sync_report.Outcome("c", read(BAD, stores=[STORE]), nudged=True),
            "nudged",
            "c: 1 ExternalSecret and 1 store nudged",
        ),
        (
            sync_report.Outcome("c", read(BAD), nudged=True, late=[]),
            "recovered",
            "c: 1 ExternalSecret nudged, all Ready",
        ),
        (
            sync_report.Outcome("c", read(BAD), nudged=True, late=[Late(BAD, "OpenBao is sealed"), Late(BAD, "")]),
            "not_ready",
            "c: 1 ExternalSecret nudged, not Ready: a/db (OpenBao is sealed), and 1 more",
        ),
        (
            sync_report.Outcome("c", read(BAD, stores=[STORE]), nudged=True, late=[Late(BAD, "")], broken=[STORE]),
            "not_ready",
            "c: 1 ExternalSecret and 1 store nudged, not Ready: a/db (SecretStore a/openbao is not Ready)",
        ),
    ],
)
def test_a_line_for_people(outcome: sync_report.Outcome, state: str, line: str) -> None:
    assert outcome.state == state
    assert outcome.line() == line
    assert outcome.as_dict()["state"] == state


def test_a_nudge_that_is_refused_keeps_what_was_found_and_sent() -> None:
    other = external_secret("other", condition("False"))
    found = read(BAD, other, external_secret("good", condition("True")), stores=[STORE])
    refused = HackspaceError("PATCH: HTTP 403 Forbidden.", item="API server", rule="forbidden", status=403)
    none = sync_report.Outcome("c", found, sent=(), problem=refused)
    assert (none.state, none.plan.changed, none.plan.unchanged) == ("failed", False, 1)
    some = sync_report.Outcome("c", found, nudged=True, sent=(STORE, other), problem=refused)
    assert (some.state, some.plan.changed) == ("failed", True)
    assert [c["name"] for c in some.plan.report()] == ["member-prod a/openbao", "member-prod a/other"]
    shown = some.as_dict()
    assert (shown["external_secrets"], shown["nudged"], shown["stores"]) == (3, 1, 1)
    assert some.line() == "c: 1 of 2 ExternalSecrets nudged: API server: PATCH: HTTP 403 Forbidden. [forbidden]"
    assert sync_report.broken_off([some], {}).rule == "forbidden"


def test_a_cluster_that_is_gone_after_the_nudge_was_nudged() -> None:
    gone = Unreachable("no answer.", rule="refused")
    outcome = sync_report.Outcome("c", read(BAD), nudged=True, problem=gone)
    assert (outcome.state, outcome.plan.changed) == ("nudged", True)
    assert outcome.line() == "c: 1 ExternalSecret nudged, and not seen since: no answer. [refused]"


def test_the_error_about_unreachable_clusters_carries_the_others() -> None:
    gone = Unreachable("no answer.", item="https://127.0.0.1:1", rule="refused", fix="start it.")
    outcome = sync_report.Outcome("c", problem=gone, requests=1)
    assert outcome.state == "unreachable"
    error = sync_report.broken_off([outcome], {"clusters": [outcome.as_dict()]})
    assert isinstance(error, HackspaceError)
    assert (error.rule, error.fix) == ("refused", "start it.")
    assert "c: not asked" in str(error)
    assert error.as_fail()["clusters"][0]["problem"]
