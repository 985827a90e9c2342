# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting: what is asked, what is waited for, who is to blame, on a cluster in memory and a clock of our own."""

from __future__ import annotations

import time
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput, Refused
from ansible_collections.hackspace.infra.plugins.module_utils._flux import status, wait
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import Discovery, Resource
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import Page

PLURALS = {"GitRepository": "gitrepositories", "Kustomization": "kustomizations"}


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 0.0
        self.actions: list[tuple[float, t.Callable[[], None]]] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        for due, action in [one for one in self.actions if one[0] <= self.time]:
            action()
            self.actions.remove((due, action))


class Memory:
    """A cluster of Flux objects; counts the lists."""

    def __init__(self, *objects: dict[str, t.Any]) -> None:
        self.objects = list(objects)
        self.requests = 0
        self.asked: list[str] = []

    def discover(self) -> Discovery:
        groups = {"GitRepository": status.SOURCE_GROUP, "Kustomization": status.KUSTOMIZE_GROUP}
        return Discovery(Resource(groups[kind], "v1", kind, plural, True, True) for kind, plural in PLURALS.items())

    def _of(self, path: str) -> list[dict[str, t.Any]]:
        self.asked.append(path)
        parts = path.split("/")
        space = parts[5] if "namespaces" in parts else ""
        plural = parts[-1]
        return [
            one
            for one in self.objects
            if PLURALS.get(one["kind"]) == plural and space in ("", one["metadata"]["namespace"])
        ]

    def pages(self, path: str, *, selector: str = "", metadata_only: bool = False) -> t.Iterator[Page]:
        wanted = dict(part.split("=") for part in selector.split(",") if part)
        found = [one for one in self._of(path) if wanted.items() <= one["metadata"].get("labels", {}).items()]
        yield Page(found, 0)

    def get(self, path: str) -> None:
        self.asked.append(path)

    def request(self, method: str, path: str, *, query: t.Any = None, **_more: t.Any) -> tuple[int, dict[str, t.Any]]:
        if path.endswith("/events"):
            return 200, {"items": []}
        name = query["fieldSelector"].partition("=")[2]
        return 200, {"items": [one for one in self._of(path) if one["metadata"]["name"] == name]}


def made(
    kind: str, name: str, ready: str = "True", reason: str = "", message: str = "", **spec: t.Any
) -> dict[str, t.Any]:
    condition = {"type": "Ready", "status": ready, "reason": reason, "message": message, "observedGeneration": 1}
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": "a", "generation": 1, "labels": spec.pop("labels", {})},
        "spec": spec,
        "status": {"observedGeneration": 1, "conditions": [condition]},
    }


def go(memory: Memory, *objects: dict[str, str], clock: Clock | None = None, **rules: t.Any) -> wait.Result:
    cluster = wait.Cluster(t.cast(t.Any, memory))
    return wait.wait(cluster, wait.parse(objects), wait.Rules(**rules), clock or Clock())


def one(kind: str, name: str = "", **more: str) -> dict[str, str]:
    return {"kind": kind, "namespace": "a", "name": name, **more}


@pytest.mark.parametrize(
    ("objects", "rule"),
    [
        ([], "no-objects"),
        ([{"kind": "Kustomization", "name": "x"}], "flux-object-namespace"),
        ([one("Kustomization", "X y")], "flux-object-name"),
        ([one("Kustomization", "x", label_selector="a=b")], "flux-object-selector"),
        ([one("Alert", "x", revision="abc")], "flux-object-revision"),
        ([one("Kustomization", "x"), one("Kustomization", "x")], "flux-object-twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(objects: list[dict[str, str]], rule: str) -> None:
    with pytest.raises(InvalidInput) as error:
        wait.parse(objects)
    assert error.value.rule == rule
    assert error.value.fix


def test_one_list_for_each_kind_however_many_objects() -> None:
    memory = Memory(*(made("Kustomization", f"k{n}") for n in range(50)), made("GitRepository", "g"))
    result = go(memory, *(one("Kustomization", f"k{n}") for n in range(50)), one("GitRepository", "g"))
    assert (result.ready, result.looks, len(result.items)) == (True, 1, 51)
    assert len(memory.asked) == 2


def test_a_thousand_objects_take_no_time() -> None:
    names = [f"k{number}" for number in range(1000)]
    memory = Memory(*(made("Kustomization", name) for name in names))
    begin = time.process_time()
    assert len(go(memory, *(one("Kustomization", name) for name in names)).items) == 1000
    assert time.process_time() - begin < 1


def test_it_waits_until_time_is_up() -> None:
    clock = Clock()
    result = go(Memory(), one("Kustomization", "x"), clock=clock, timeout=30)
    assert not result.ready
    assert result.items[0].verdict.why == "does not exist"
    assert clock.time == pytest.approx(30)
    assert 10 <= result.looks <= 25


def test_what_comes_late_is_waited_for() -> None:
    clock, memory = Clock(), Memory()
    clock.actions.append((5, lambda: memory.objects.append(made("Kustomization", "x"))))
    assert go(memory, one("Kustomization", "x"), clock=clock, timeout=30).ready
    assert clock.time < 10


def test_failures_end_the_wait_at_once_after_the_grace_or_after_all_others() -> None:
    broken = made("Kustomization", "x", "False", "BuildFailed", "no")
    assert go(Memory(broken), one("Kustomization", "x")).looks == 1
    clock = Clock()
    go(Memory(broken), one("Kustomization", "x"), clock=clock, grace=10)
    assert 10 <= clock.time < 15
    clock = Clock()
    result = go(
        Memory(broken), one("Kustomization", "x"), one("Kustomization", "y"), clock=clock, fail_fast=False, timeout=20
    )
    assert clock.time == pytest.approx(20)
    assert {item.verdict.state for item in result.items} == {"failed", "waiting"}


SOURCE: dict[str, t.Any] = {"sourceRef": {"kind": "GitRepository", "name": "g"}}
LATE = ("False", "ArtifactFailed", "Source artifact not found, retrying in 30s")


def test_the_source_is_to_blame_or_waited_for() -> None:
    applier = made("Kustomization", "x", *LATE, **SOURCE)
    down = made("GitRepository", "g", "False", "GitOperationFailed", "connection refused")
    [item] = go(Memory(applier, down), one("Kustomization", "x")).items
    assert (item.verdict.state, item.because) == ("failed", "GitRepository a/g: connection refused")
    [item] = go(Memory(applier, made("GitRepository", "g")), one("Kustomization", "x"), timeout=1).items
    assert (item.verdict.state, item.because) == ("waiting", "")
    [item] = go(Memory(applier), one("Kustomization", "x")).items
    assert (item.verdict.state, item.because) == ("failed", "GitRepository a/g does not exist")
    asleep = made("GitRepository", "g", suspend=True)
    [item] = go(Memory(applier, asleep), one("Kustomization", "x")).items
    assert (item.verdict.state, item.because) == ("failed", "GitRepository a/g is suspended")
    wrong_path = made("Kustomization", "x", "False", "ArtifactFailed", "kustomization path not found", **SOURCE)
    [item] = go(Memory(wrong_path, made("GitRepository", "g")), one("Kustomization", "x")).items
    assert (item.verdict.state, item.because) == ("failed", "")


def test_causes_behind_causes_are_found_and_circles_end() -> None:
    third = made("Kustomization", "z", "False", "DependencyNotReady", "dependency", dependsOn=[{"name": "y"}])
    second = made("Kustomization", "y", *LATE, **SOURCE)
    down = made("GitRepository", "g", "False", "GitOperationFailed", "refused")
    [item] = go(Memory(third, second, down), one("Kustomization", "z")).items
    assert item.because == "GitRepository a/g: refused"
    circle = [
        made("Kustomization", name, "False", "DependencyNotReady", "dependency", dependsOn=[{"name": other}])
        for name, other in (("p", "q"), ("q", "p"))
    ]
    [item] = go(Memory(*circle), one("Kustomization", "p"), timeout=2).items
    assert item.verdict.state == "waiting"


def test_suspended_ones_are_refused_and_kinds_that_are_not_served() -> None:
    with pytest.raises(Refused) as refused:
        go(Memory(made("Kustomization", "x", suspend=True)), one("Kustomization", "x"))
    assert refused.value.rule == "flux-suspended"
    with pytest.raises(HackspaceError) as missing:
        go(Memory(), one("HelmRelease", "x"))
    assert (missing.value.rule, missing.value.item) == ("flux-kind-missing", "objects[0]")


def test_selectors_want_at_least_one() -> None:
    memory = Memory(made("Kustomization", "x", labels={"team": "web"}))
    assert go(memory, {"kind": "Kustomization", "label_selector": "team=web"}).ready
    result = go(memory, {"kind": "Kustomization", "label_selector": "team=db"}, timeout=1)
    assert result.items[0].verdict.why == "nothing is there that the selector finds"


def test_inventories_are_read() -> None:
    ids = (
        "a_web_apps_Deployment",
        "_view_rbac.authorization.k8s.io_ClusterRole",
        "a_x__y_rbac.authorization.k8s.io_Role",
        "a_s__Secret",
    )
    live = {"status": {"inventory": {"entries": [{"id": one, "v": "v1"} for one in ids]}}}
    assert [(e.group, e.kind, e.namespace, e.name) for e in wait.inventory(live)] == [
        ("apps", "Deployment", "a", "web"),
        ("rbac.authorization.k8s.io", "ClusterRole", "", "view"),
        ("rbac.authorization.k8s.io", "Role", "a", "x:y"),
        ("", "Secret", "a", "s"),
    ]


def test_the_error_names_the_first_and_counts_the_rest() -> None:
    broken = [made("Kustomization", name, "False", "BuildFailed", "no such path.") for name in "xy"]
    result = go(Memory(*broken), one("Kustomization", "x"), one("Kustomization", "y"))
    error = wait.not_ready(result, {}, wait.Rules(), {"objects": []})
    assert str(error).startswith("objects[0]: Kustomization a/x and 1 more has failed: no such path.")
