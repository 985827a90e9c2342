# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When an object is ready."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._kube.wait import status


def _condition(kind: str, value: str, **more: t.Any) -> dict[str, t.Any]:
    return {"type": kind, "status": value, **more}


def _ready(value: str, **more: t.Any) -> dict[str, t.Any]:
    return {"conditions": [_condition("Ready", value, **more)]}


ROLLED = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2}
TOY = "example.org"

CASES: list[tuple[str, str, dict[str, t.Any], dict[str, t.Any], str]] = [
    ("apps", "Deployment", {"replicas": 2}, ROLLED, "ready"),
    ("apps", "Deployment", {"replicas": 2}, {**ROLLED, "observedGeneration": 1}, "waiting"),
    ("apps", "Deployment", {"replicas": 2}, {**ROLLED, "updatedReplicas": 1}, "waiting"),
    ("apps", "Deployment", {"replicas": 2}, {**ROLLED, "replicas": 3}, "waiting"),
    ("apps", "Deployment", {"replicas": 0}, {"observedGeneration": 2}, "ready"),
    ("apps", "Deployment", {}, {}, "waiting"),
    (
        "apps",
        "Deployment",
        {"replicas": 2},
        {**ROLLED, "conditions": [_condition("Progressing", "False", reason="ProgressDeadlineExceeded")]},
        "failed",
    ),
    ("apps", "StatefulSet", {"replicas": 2}, {**ROLLED, "currentRevision": "a", "updateRevision": "a"}, "ready"),
    ("apps", "StatefulSet", {"replicas": 2}, {**ROLLED, "currentRevision": "a", "updateRevision": "b"}, "waiting"),
    ("apps", "StatefulSet", {"replicas": 3}, {**ROLLED, "currentRevision": "a", "updateRevision": "a"}, "waiting"),
    (
        "apps",
        "StatefulSet",
        {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}},
        {**ROLLED, "updatedReplicas": 1, "currentRevision": "a", "updateRevision": "b"},
        "ready",
    ),
    (
        "apps",
        "StatefulSet",
        {"replicas": 2, "updateStrategy": {"type": "OnDelete"}},
        {**ROLLED, "updatedReplicas": 0},
        "ready",
    ),
    (
        "apps",
        "DaemonSet",
        {},
        {"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2},
        "ready",
    ),
    (
        "apps",
        "DaemonSet",
        {},
        {"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1},
        "waiting",
    ),
    ("apps", "DaemonSet", {}, {}, "waiting"),
    ("batch", "Job", {}, {}, "waiting"),
    ("batch", "Job", {}, {"conditions": [_condition("Complete", "True")]}, "ready"),
    ("batch", "Job", {}, {"conditions": [_condition("Failed", "True", reason="BackoffLimitExceeded")]}, "failed"),
    ("", "Namespace", {}, {"phase": "Active"}, "ready"),
    ("", "Namespace", {}, {"phase": "Terminating"}, "waiting"),
    ("", "PersistentVolumeClaim", {}, {"phase": "Pending"}, "waiting"),
    ("", "PersistentVolumeClaim", {}, {"phase": "Bound"}, "ready"),
    ("", "Pod", {}, {"phase": "Running", "conditions": [_condition("Ready", "True")]}, "ready"),
    ("", "Pod", {}, {"phase": "Running", "conditions": [_condition("Ready", "False")]}, "waiting"),
    ("", "Pod", {"restartPolicy": "Never"}, {"phase": "Failed"}, "failed"),
    ("", "Service", {"type": "ClusterIP"}, {}, "ready"),
    ("", "Service", {"type": "LoadBalancer"}, {"loadBalancer": {}}, "waiting"),
    ("", "Service", {"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}, "ready"),
    (
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        {},
        {"conditions": [_condition("Established", "True")]},
        "ready",
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition", {}, {}, "waiting"),
    (
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        {},
        {"conditions": [_condition("NamesAccepted", "False", message="taken")]},
        "failed",
    ),
    ("apiregistration.k8s.io", "APIService", {}, {"conditions": [_condition("Available", "False")]}, "waiting"),
    ("", "ConfigMap", {}, {}, "ready"),
    (TOY, "Toy", {}, _ready("True"), "ready"),
    (TOY, "Toy", {}, _ready("False"), "waiting"),
    (TOY, "Toy", {}, _ready("Unknown"), "waiting"),
    (TOY, "Toy", {}, _ready("True", observedGeneration=1), "waiting"),
    (TOY, "Toy", {}, {**_ready("True"), "observedGeneration": 1}, "waiting"),
    (TOY, "Toy", {}, {"conditions": [_condition("Ready", "True"), _condition("Reconciling", "True")]}, "waiting"),
    (
        TOY,
        "Toy",
        {},
        {"conditions": [_condition("Ready", "False"), _condition("Stalled", "True", reason="X")]},
        "failed",
    ),
    (TOY, "Toy", {}, {}, "ready"),
]


@pytest.mark.parametrize(("group", "kind", "spec", "state", "expected"), CASES)
def test_states(group: str, kind: str, spec: dict[str, t.Any], state: dict[str, t.Any], expected: str) -> None:
    live = {"metadata": {"generation": 2}, "spec": spec, "status": state}
    found = status(live, group, kind)
    assert found.state == expected
    assert bool(found.why) == (expected != "ready")


def test_absent_and_leaving_objects_are_waited_for() -> None:
    assert status(None, "", "ConfigMap").state == "waiting"
    leaving = {"metadata": {"deletionTimestamp": "now", "finalizers": ["a/b"]}}
    assert status(leaving, "", "ConfigMap").why == "is being deleted, finalizers a/b"


def test_policies_that_say_how_far_they_are() -> None:
    admission, cel = "admissionregistration.k8s.io", "policies.kyverno.io"
    new = {"metadata": {"generation": 2}}
    assert status(new, admission, "ValidatingAdmissionPolicy").state == "waiting"
    seen = {**new, "status": {"observedGeneration": 2}}
    assert status(seen, admission, "ValidatingAdmissionPolicy").state == "ready"
    assert (
        status({**new, "status": {"observedGeneration": 1}}, admission, "ValidatingAdmissionPolicy").state == "waiting"
    )
    for kind in ("GeneratingPolicy", "MutatingPolicy", "ValidatingPolicy"):
        assert status(new, cel, kind).why == "Kyverno has not taken it up yet"
        late = {"status": {"conditionStatus": {"ready": False, "conditions": [{"status": "False", "message": "no"}]}}}
        assert status({**new, **late}, cel, kind).why == "no"
        assert status({**new, "status": {"conditionStatus": {"ready": True}}}, cel, kind).state == "ready"
