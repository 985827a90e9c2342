# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods count against a quota."""

from __future__ import annotations

import typing as t
from fractions import Fraction

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import demand
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import Limits

MI = 2**20


def box(memory: str = "", limit: str = "", **more: t.Any) -> dict[str, t.Any]:
    resources = {}
    if memory:
        resources["requests"] = {"memory": memory}
    if limit:
        resources["limits"] = {"memory": limit}
    return {"name": "c", "resources": resources, **more}


def memory(spec: dict[str, t.Any]) -> Fraction:
    return demand.pod(spec)["requests.memory"]


def test_containers_are_added() -> None:
    assert memory({"containers": [box("100Mi"), box("50Mi")]}) == 150 * MI


def test_the_largest_step_of_the_beginning_counts() -> None:
    assert memory({"containers": [box("100Mi")], "initContainers": [box("70Mi"), box("300Mi")]}) == 300 * MI
    assert memory({"containers": [box("100Mi")], "initContainers": [box("70Mi")]}) == 100 * MI


def test_sidecars_run_along_with_what_comes_after_them() -> None:
    sidecar = box("50Mi", restartPolicy="Always")
    assert memory({"containers": [box("100Mi")], "initContainers": [sidecar]}) == 150 * MI
    assert memory({"containers": [box("100Mi")], "initContainers": [sidecar, box("200Mi")]}) == 250 * MI
    assert memory({"containers": [box("100Mi")], "initContainers": [box("200Mi"), sidecar]}) == 200 * MI


def test_overhead_is_added() -> None:
    assert memory({"containers": [box("100Mi")], "overhead": {"memory": "20Mi"}}) == 120 * MI


def test_defaults_of_a_limit_range() -> None:
    limits = Limits(
        default={"memory": "256Mi"},
        default_request={"memory": "64Mi", "cpu": "50m"},
        max={"memory": "4Gi", "ephemeral-storage": "1Gi"},
        min={},
        ratio={},
    )
    defaults = demand.Defaults.of(limits)
    silent = demand.pod({"containers": [box()]}, defaults)
    assert silent["requests.memory"] == 64 * MI
    assert silent["limits.memory"] == 256 * MI
    assert silent["requests.cpu"] == Fraction(1, 20)
    assert silent["limits.ephemeral-storage"] == 1024 * MI, "max without default is the default"
    assert silent["memory"] == silent["requests.memory"]
    limited = demand.pod({"containers": [box(limit="1Gi")]}, defaults)
    assert limited["requests.memory"] == 1024 * MI, "a limit without a request is the request"
    [one] = demand.containers({"containers": [box("1Gi")]}, defaults)
    assert one.defaulted == {"memory", "ephemeral-storage"}


def test_cpu_limits_that_are_taken_away_leave_their_request() -> None:
    spec = {"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]}
    counted = demand.pod(spec, strip_cpu=True)
    assert counted["requests.cpu"] == 2
    assert "limits.cpu" not in counted


@pytest.mark.parametrize(
    ("replicas", "wanted", "more"), [(3, "25%", 1), (3, None, 1), (4, "25%", 1), (5, "25%", 2), (3, 0, 0), (3, 2, 2)]
)
def test_surge(replicas: int, wanted: t.Any, more: int) -> None:
    assert demand.surge(replicas, wanted) == more


def test_pods_that_have_ended_do_not_count() -> None:
    assert [demand.counts({"status": {"phase": phase}}) for phase in ("Running", "Pending", "Succeeded", "Failed")] == [
        True,
        True,
        False,
        False,
    ]
    assert demand.add({"pods": Fraction(1)}, {"pods": Fraction(2)}, 3) == {"pods": 7}
