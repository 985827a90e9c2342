# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When an object of Flux is ready: examples, and what holds for all objects."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._flux import status
from hypothesis import given
from hypothesis import strategies as st

REVISION = "main@sha1:0123456789abcdef0123456789abcdef01234567"


def condition(
    kind: str, value: str, reason: str = "", message: str = "", generation: int | None = 2
) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {"type": kind, "status": value, "reason": reason, "message": message}
    return found if generation is None else {**found, "observedGeneration": generation}


def live(*conditions: dict[str, t.Any], generation: int = 2, observed: int = 2, **changes: t.Any) -> dict[str, t.Any]:
    state = {"observedGeneration": observed, "conditions": list(conditions), "lastAppliedRevision": REVISION}
    return {
        "kind": "Kustomization",
        "metadata": {"name": "a", "namespace": "b", "generation": generation},
        "spec": changes.get("spec", {}),
        "status": {**state, **changes.get("status", {})},
    }


READY = condition("Ready", "True", "ReconciliationSucceeded", "Applied revision")
FAILED = condition("Ready", "False", "BuildFailed", "no")
RETRY = condition("Reconciling", "True", "ProgressingWithRetry")
BUSY = condition("Reconciling", "True", "Progressing", "Building manifests")
STALLED = condition("Stalled", "True", "AccessDenied", "denied")


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (live(READY), "ready"),
        (live(READY, observed=1), "waiting"),
        (live(READY, BUSY), "waiting"),
        (live(condition("Ready", "True", generation=1)), "waiting"),
        (live(FAILED, RETRY, observed=1), "failed"),
        (live(FAILED), "failed"),
        (live(FAILED, BUSY), "waiting"),
        (live(condition("Ready", "False", "BuildFailed", generation=1)), "waiting"),
        (live(condition("Ready", "False", "DependencyNotReady")), "waiting"),
        (live(condition("Ready", "False", "HealthCheckCanceled")), "waiting"),
        (live(condition("Ready", "Unknown", "Progressing"), BUSY), "waiting"),
        (live(STALLED, FAILED), "failed"),
        (live(condition("Stalled", "True", generation=1), READY), "ready"),
        (live(READY, spec={"suspend": True}), "suspended"),
        (live(observed=-1), "waiting"),
        (None, "waiting"),
        ({**live(READY), "metadata": {"generation": 2, "deletionTimestamp": "now"}}, "waiting"),
    ],
)
def test_states(one: dict[str, t.Any] | None, state: str) -> None:
    assert status.verdict(one, "Kustomization").state == state


def test_words_come_from_the_condition_that_counts() -> None:
    assert status.verdict(live(FAILED, RETRY), "Kustomization").why == "no"
    assert status.verdict(live(READY, BUSY), "Kustomization").why == "Building manifests"
    assert status.verdict(live(observed=1), "Kustomization").why == "generation 2 is not observed yet"


def test_a_token_makes_news_of_old_conditions() -> None:
    for one in (live(READY), live(FAILED, RETRY), live(STALLED, FAILED)):
        assert status.verdict(one, "Kustomization", token="t1").state == "waiting"
    done = {"lastHandledReconcileAt": "t1"}
    assert status.verdict(live(READY, status=done), "Kustomization", token="t1").state == "ready"
    assert status.verdict(live(FAILED, RETRY, status=done), "Kustomization", token="t1").state == "failed"
    assert status.verdict(live(STALLED, FAILED, status=done), "Kustomization", token="t1").state == "failed"


def test_a_later_request_stands_for_an_earlier_one() -> None:
    first, second = "2026-11-21T21:00:00.000001Z", "2026-11-21T21:00:00.000002Z"
    assert (
        status.verdict(live(READY, status={"lastHandledReconcileAt": second}), "Kustomization", token=first).state
        == "ready"
    )
    assert (
        status.verdict(live(READY, status={"lastHandledReconcileAt": first}), "Kustomization", token=second).state
        == "waiting"
    )
    assert (
        status.verdict(live(READY, status={"lastHandledReconcileAt": "zzz"}), "Kustomization", token=first).state
        == "waiting"
    )


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        (REVISION, REVISION, True),
        (REVISION.partition("@")[2], REVISION, True),
        ("0123456789abcdef0123456789abcdef01234567", REVISION, True),
        ("0123456", REVISION, True),
        ("012345", REVISION, False),
        ("1234567", REVISION, False),
        ("main", REVISION, False),
        ("sha1:0123456", REVISION, False),
        (REVISION, "", False),
        ("v1.2.3", "v1.2.3", True),
        ("sha256:" + "a" * 64, "latest@sha256:" + "a" * 64, True),
    ],
)
def test_revisions(wanted: str, found: str, same: bool) -> None:
    assert status.matches(wanted, found) is same


def test_another_revision_is_waited_for_and_its_failure_is_not_ours() -> None:
    other = "main@sha1:" + "f" * 40
    assert status.verdict(live(READY), "Kustomization", wanted=other).state == "waiting"
    assert status.verdict(live(READY), "Kustomization", wanted=REVISION).state == "ready"
    failed = live(FAILED, RETRY, status={"lastAttemptedRevision": REVISION})
    assert status.verdict(failed, "Kustomization", wanted=other).state == "waiting"
    assert status.verdict(failed, "Kustomization", wanted=REVISION).state == "failed"


def test_kinds_without_status_are_ready_when_they_exist() -> None:
    assert status.verdict({"metadata": {"generation": 1}}, "Alert").state == "ready"
    oci = {"metadata": {"generation": 1}, "spec": {"type": "oci"}}
    assert status.verdict(oci, "HelmRepository").state == "ready"
    assert status.verdict({"metadata": {"generation": 1}, "spec": {}}, "HelmRepository").state == "waiting"


def test_owners_and_sources() -> None:
    labels = {status.OWNER_NAME: "apps", status.OWNER_NAMESPACE: "flux-system"}
    one = {"kind": "Kustomization", "metadata": {"name": "x", "namespace": "y", "labels": labels}}
    assert status.owner(one) == ("flux-system", "apps")
    itself = {"kind": "Kustomization", "metadata": {"name": "apps", "namespace": "flux-system", "labels": labels}}
    assert status.owner(itself) is None
    spec = {
        "sourceRef": {"kind": "GitRepository", "name": "s"},
        "dependsOn": [{"name": "d"}, {"name": "e", "namespace": "z"}],
    }
    assert status.before({**one, "spec": spec}, "Kustomization") == [
        ("GitRepository", "y", "s"),
        ("Kustomization", "y", "d"),
        ("Kustomization", "z", "e"),
    ]
    release = {
        "metadata": {"namespace": "y"},
        "spec": {"chart": {"spec": {"sourceRef": {"kind": "HelmRepository", "name": "h"}}}},
    }
    assert status.source_of(release, "HelmRelease") == ("HelmRepository", "y", "h")
    by_chart = {
        "metadata": {"namespace": "y"},
        "spec": {"chartRef": {"kind": "OCIRepository", "name": "o", "namespace": "q"}},
    }
    assert status.source_of(by_chart, "HelmRelease") == ("OCIRepository", "q", "o")


CONDITIONS = st.lists(
    st.builds(
        condition,
        st.sampled_from(["Ready", "Reconciling", "Stalled", "Healthy"]),
        st.sampled_from(["True", "False", "Unknown"]),
        st.sampled_from(["Progressing", "ProgressingWithRetry", "BuildFailed", "DependencyNotReady", "ArtifactFailed"]),
        st.text(max_size=5),
        st.sampled_from([None, 1, 2, 3]),
    ),
    max_size=5,
    unique_by=lambda one: one["type"],
)
OBJECTS = st.builds(
    lambda conditions, generation, observed, suspend, handled, attempted: live(
        *conditions,
        generation=generation,
        observed=observed,
        spec={"suspend": suspend},
        status={"lastHandledReconcileAt": handled, "lastAttemptedRevision": attempted},
    ),
    CONDITIONS,
    st.integers(1, 3),
    st.integers(-1, 3),
    st.booleans(),
    st.sampled_from(["", "t1", "t2"]),
    st.sampled_from(["", REVISION, "main@sha1:" + "f" * 40]),
)
WANTED = st.sampled_from(["", REVISION, "fffffff"])
TOKENS = st.sampled_from(["", "t1"])


@given(OBJECTS, WANTED, TOKENS)
def test_ready_is_what_the_rule_says(one: dict[str, t.Any], wanted: str, token: str) -> None:
    """The rule of Flux, written down once more and independently."""
    found = {c["type"]: c for c in one["status"]["conditions"]}
    generation = one["metadata"]["generation"]

    def now(kind: str, value: str) -> bool:
        return (
            kind in found
            and found[kind]["status"] == value
            and found[kind].get("observedGeneration") in (None, generation)
        )

    expected = (
        not one["spec"]["suspend"]
        and one["status"]["observedGeneration"] == generation
        and now("Ready", "True")
        and not now("Reconciling", "True")
        and not now("Stalled", "True")
        and (not token or one["status"]["lastHandledReconcileAt"] == token)
        and (not wanted or status.matches(wanted, one["status"]["lastAppliedRevision"]))
    )
    assert (status.verdict(one, "Kustomization", wanted=wanted, token=token).state == "ready") is expected


@given(OBJECTS, WANTED, TOKENS)
def test_every_object_has_one_state_and_says_why(one: dict[str, t.Any], wanted: str, token: str) -> None:
    said = status.verdict(one, "Kustomization", wanted=wanted, token=token)
    assert (said.state == "suspended") is one["spec"]["suspend"]
    assert said.why or said.reason or said.state == "ready"
    if said.state == "failed":
        # Never on old news.
        generation = one["metadata"]["generation"]
        fresh = [c for c in one["status"]["conditions"] if c.get("observedGeneration") in (None, generation)]
        assert any((c["type"], c["status"]) in (("Ready", "False"), ("Stalled", "True")) for c in fresh)
        assert not token or one["status"]["lastHandledReconcileAt"] == token


@given(OBJECTS, WANTED, TOKENS)
def test_a_change_makes_every_state_old(one: dict[str, t.Any], wanted: str, token: str) -> None:
    """After a change of the spec nothing that was written before says anything."""
    for each in one["status"]["conditions"]:
        each["observedGeneration"] = one["metadata"]["generation"]
    one["status"]["observedGeneration"] = one["metadata"]["generation"]
    changed = {**one, "metadata": {**one["metadata"], "generation": one["metadata"]["generation"] + 1}}
    assert status.verdict(changed, "Kustomization", wanted=wanted, token=token).state in ("waiting", "suspended")
