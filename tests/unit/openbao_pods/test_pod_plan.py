# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods there are, which are to come, and what is waited for."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._clients.pods import REACH_SPEC
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import pod_plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.pod_targets import Targets, check_fatal
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import Overview, classify

SELECTOR = pod_plan.parse_selector({"namespace": "openbao"})
SEALED = {"type": "shamir", "initialized": True, "sealed": True, "t": 3, "n": 5, "progress": 0, "nonce": ""}


def pod(name: str, phase: str = "Running", owner: str = "openbao", **changes: t.Any) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {
        "metadata": {
            "name": name,
            "uid": changes.get("uid", f"uid-{name}"),
            "labels": {"openbao-sealed": "false", "openbao-active": "true"},
            "ownerReferences": [{"kind": "StatefulSet", "name": owner}] if owner else [],
        },
        "spec": {"hostname": name, "subdomain": "openbao-internal"},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": "True" if changes.get("ready") else "False", "reason": "X"}],
            "containerStatuses": [{"restartCount": changes.get("restarts", 0), "state": {"running": {}}}],
        },
    }
    if changes.get("leaving"):
        found["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    if changes.get("waiting"):
        found["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": changes["waiting"]}}
    return found


def stateful(name: str = "openbao", replicas: int | None = 3, **spec: t.Any) -> dict[str, t.Any]:
    return {"metadata": {"name": name}, "spec": {**spec, **({} if replicas is None else {"replicas": replicas})}}


def roster(*pods: dict[str, t.Any], selector: pod_plan.Selector = SELECTOR, **owners: t.Any) -> pod_plan.Roster:
    sets = owners or {"openbao": stateful()}
    return pod_plan.roster(
        selector,
        [pod_plan.Pod.of(raw) for raw in pods],
        {name: pod_plan.Owner.of(raw) if raw else None for name, raw in sets.items()},
    )


def test_the_options_have_the_defaults_of_the_plan() -> None:
    options = REACH_SPEC.options["pods"]["options"]
    assert options["label_selector"]["default"] == pod_plan.LABELS == SELECTOR.label_selector
    assert options["tls_server_name"]["default"] == pod_plan.TLS_NAME == SELECTOR.tls_server_name
    assert options["port"]["default"] == pod_plan.PORT == SELECTOR.port


def test_pods_become_nodes_with_names_to_verify() -> None:
    seen = roster(pod("openbao-1"), pod("openbao-0", ready=True))
    assert [n.name for n in seen.nodes()] == ["openbao-0", "openbao-1", "openbao-2"]
    assert seen.nodes()[0].url == "https://openbao-0.openbao-internal.openbao.svc:8200"
    assert seen.nodes()[2].tls_server_name == "openbao-2.openbao-internal"
    assert seen.report() == {
        "namespace": "openbao",
        "expected": 3,
        "found": ["openbao-0", "openbao-1"],
        "running": ["openbao-0", "openbao-1"],
        "ready": ["openbao-0"],
        "absent": ["openbao-2"],
    }
    assert seen.problems()["openbao-2"].hop == "absent"
    assert "once those before it are Ready" in seen.problems()["openbao-2"].message


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{pod}.{service}", "openbao-0.openbao-internal"),
        ("{pod}.{service}.{namespace}.svc.cluster.local", "openbao-0.openbao-internal.openbao.svc.cluster.local"),
        ("openbao.example.org", "openbao.example.org"),
    ],
)
def test_names_in_certificates(pattern: str, expected: str) -> None:
    selector = pod_plan.parse_selector({"namespace": "openbao", "tls_server_name": pattern})
    assert roster(pod("openbao-0"), selector=selector).nodes()[0].tls_server_name == expected


def test_ten_pods_are_in_the_order_of_their_numbers() -> None:
    names = [f"openbao-{number}" for number in (10, 2, 0, 9)]
    seen = roster(*(pod(n) for n in names), openbao=stateful(replicas=4, ordinals={"start": 8}))
    assert [p.name for p in seen.pods] == ["openbao-0", "openbao-2", "openbao-9", "openbao-10"]
    assert seen.absent == ("openbao-8", "openbao-11")


def test_who_is_to_come_may_be_said() -> None:
    selector = pod_plan.parse_selector({"namespace": "openbao", "expected": 3})
    assert pod_plan.roster(selector, [pod_plan.Pod.of(pod("openbao-1"))], {}).absent == ("openbao-0", "openbao-2")
    assert pod_plan.roster(selector, [pod_plan.Pod.of(pod("x", owner=""))], {}).absent == ("pod-0", "pod-1")
    more = [pod_plan.Pod.of(pod(f"openbao-{number}")) for number in range(5)]
    assert pod_plan.roster(selector, more, {}).absent == ()


def test_one_replica_is_the_default_and_parallel_is_told() -> None:
    assert roster(pod("openbao-0"), openbao=stateful(replicas=None)).complete
    seen = roster(pod("openbao-0"), openbao=stateful(podManagementPolicy="Parallel"))
    assert "has not made it" in seen.problems()["openbao-1"].message


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (pod("openbao-0", "Pending", waiting="ContainerCreating"), "is Pending (ContainerCreating)."),
        (pod("openbao-0", "Failed"), "is Failed (X)."),
        (pod("openbao-0", leaving=True), "is being deleted."),
    ],
)
def test_pods_that_do_not_run(raw: dict[str, t.Any], says: str) -> None:
    problem = roster(raw).problems()["openbao-0"]
    assert (problem.hop, problem.message) == ("pod", f"the pod {says}")
    assert problem.fix


@pytest.mark.parametrize(
    ("pods", "owners", "rule", "says"),
    [
        (
            [],
            {"openbao": stateful()},
            "no-pods",
            "app.kubernetes.io/name=openbao,component=server in namespace openbao",
        ),
        ([pod("openbao-0", owner="")], {"openbao": stateful()}, "statefulset-missing", "belong(s) to no StatefulSet"),
        ([pod("openbao-0")], {"openbao": None}, "statefulset-missing", "the StatefulSet openbao, which made openbao-0"),
    ],
)
def test_errors(pods: list[dict[str, t.Any]], owners: dict[str, t.Any], rule: str, says: str) -> None:
    with pytest.raises(HackspaceError) as error:
        roster(*pods, **owners)
    assert error.value.rule == rule
    assert says in error.value.message
    assert error.value.fix


def overview(seen: pod_plan.Roster, **sealed: bool | None) -> Overview:
    states = []
    for node in seen.nodes():
        is_sealed = sealed.get(node.name.replace("-", "_"))
        status = None if is_sealed is None else {**SEALED, "sealed": is_sealed}
        states.append(classify(node, status, 429 if is_sealed is False else None))
    return Overview.of(states)


def test_what_is_waited_for() -> None:
    seen = roster(pod("openbao-0"))
    rest = ["openbao-1", "openbao-2"]
    assert pod_plan.awaited(seen, overview(seen, openbao_0=False), []) == rest
    assert pod_plan.awaited(seen, overview(seen, openbao_0=True), ["openbao-0"]) == rest  # it is about to be unsealed
    assert pod_plan.awaited(seen, overview(seen, openbao_0=True), []) == []  # shares are missing
    whole = roster(*(pod(f"openbao-{number}") for number in range(3)))
    assert pod_plan.awaited(whole, overview(whole, openbao_0=False, openbao_1=False, openbao_2=False), []) == []


class Client:
    """A connection that only counts."""

    def __init__(self, name: str, tls_server_name: str | None) -> None:
        self.name, self.tls_server_name = name, tls_server_name
        self.requests = self.dropped = self.closed = 0

    def drop(self) -> None:
        self.dropped += 1

    def close(self) -> None:
        self.closed += 1


class Cluster:
    """Answers with what the test says."""

    def __init__(self) -> None:
        self.answer: list[t.Mapping[str, t.Any]] = []
        self.error: HackspaceError | None = None
        self.closed = False
        self.asked_sets = 0

    def pods(self, label_selector: str) -> list[t.Mapping[str, t.Any]]:
        assert label_selector == pod_plan.LABELS
        if self.error:
            raise self.error
        return self.answer

    def statefulset(self, name: str) -> t.Mapping[str, t.Any] | None:
        self.asked_sets += 1
        return stateful(name)

    def server(self, name: str, url: str, tls_server_name: str | None) -> Client:
        assert url.startswith(f"https://{name}.")
        return Client(name, tls_server_name)

    def close(self) -> None:
        self.closed = True


def test_pods_that_come_back_are_new_servers() -> None:
    cluster = Cluster()
    cluster.answer = [pod("openbao-0"), pod("openbao-1")]
    targets: Targets[Client] = Targets(selector=SELECTOR, cluster=cluster)
    assert targets.refresh() == set()
    assert list(targets.clients) == ["openbao-0", "openbao-1"]
    assert targets.clients["openbao-1"].tls_server_name == "openbao-1.openbao-internal"
    assert list(targets.problems) == ["openbao-2"]

    cluster.answer = [pod("openbao-0", restarts=1), pod("openbao-1", uid="another"), pod("openbao-2")]
    assert targets.refresh() == {"openbao-0", "openbao-1"}
    assert [c.dropped for c in targets.clients.values()] == [1, 1, 0]
    assert targets.refresh() == set()
    assert targets.problems == {}

    # an API server that is busy changes nothing, a login that is refused does
    cluster.error = HackspaceError("x", rule="timeout")
    assert targets.refresh() == set()
    assert list(targets.nodes) == ["openbao-0", "openbao-1", "openbao-2"]
    cluster.error = HackspaceError("x", rule="pods-forbidden")
    with pytest.raises(HackspaceError):
        targets.refresh()
    assert targets.requests() == {"openbao-0": 0, "openbao-1": 0, "openbao-2": 0}
    targets.close()
    assert cluster.closed
    assert [c.closed for c in targets.clients.values()] == [1, 1, 1]


def test_the_first_look_must_succeed() -> None:
    cluster = Cluster()
    targets: Targets[Client] = Targets(selector=SELECTOR, cluster=cluster)
    with pytest.raises(HackspaceError) as error:
        targets.refresh()
    assert error.value.rule == "no-pods"


def test_what_concerns_all_pods_is_no_state_of_one() -> None:
    check_fatal(None)
    check_fatal(HackspaceError("x", rule="pod", item="pod openbao/openbao-0"))
    with pytest.raises(HackspaceError):
        check_fatal(HackspaceError("x", rule="port-forward-forbidden", item="pods.kubeconfig"))
