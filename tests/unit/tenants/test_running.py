# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose error is it, what may be pruned, what is rendered, and what a probe's answer means."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping

import pytest
from ansible_collections.hackspace.infra.plugins.action.tenants import ActionModule
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput, Refused
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import Inventory, ObjectId
from ansible_collections.hackspace.infra.plugins.module_utils._kube.plan import Current
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import apply_plan, probe, render
from ansible_collections.hackspace.infra.plugins.module_utils._tenants.apply_plan import SHARED, Bundle
from ansible_collections.hackspace.infra.plugins.module_utils._tenants.ports import Identity, Right

INVENTORY = Inventory("tenants", "kube-system")
OURS = {INVENTORY.label: INVENTORY.name}


def body(kind: str, namespace: str, name: str, api: str = "v1") -> dict[str, t.Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata}


BUNDLES = [
    Bundle(SHARED, (), (body("ClusterRole", "", "tenant-viewer", "rbac.authorization.k8s.io/v1"),)),
    Bundle(
        "alice", ("4-aux-alice",), (body("Namespace", "", "4-aux-alice"), body("ServiceAccount", "4-aux-alice", "flux"))
    ),
    Bundle("bob", ("4-aux-bob",), (body("Namespace", "", "4-aux-bob"),)),
]
BY_ID = apply_plan.owners(BUNDLES)


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (InvalidInput("no", item="ServiceAccount 4-aux-alice/flux (tenant alice)", rule="x"), {"alice"}),
        (Refused("no", item="Namespace 4-aux-bob", rule="terminating"), {"bob"}),
        (InvalidInput("no", item="tenant bob", rule="object-namespace"), {"bob"}),
        (
            Refused(
                "no", item="objects", data={"foreign": ["Namespace 4-aux-alice (Helm)", "Namespace 4-aux-bob (x)"]}
            ),
            {"alice", "bob"},
        ),
        (
            InvalidInput(
                "no",
                item="objects",
                data={"refused": [{"item": "Namespace 4-aux-bob (tenant bob)", "msg": "m", "rule": "r", "fix": "f"}]},
            ),
            {"bob"},
        ),
        # what all share concerns all
        (InvalidInput("no", item="ClusterRole.rbac.authorization.k8s.io tenant-viewer (shared by all tenants)"), set()),
        (
            Refused("no", data={"foreign": ["ClusterRole.rbac.authorization.k8s.io tenant-viewer (x)"]}),
            set(),
        ),
        (HackspaceError("no answer", item="https://127.0.0.1:6443", rule="refused"), set()),
    ],
)
def test_whose_error_it_is(error: HackspaceError, names: set[str]) -> None:
    assert set(apply_plan.blamed(error, BY_ID)) == names


def live(**labels: str) -> dict[str, t.Any]:
    return {"metadata": {"labels": {**OURS, **labels}, "uid": "1"}}


def test_what_may_be_pruned() -> None:
    old = ObjectId("", "ServiceAccount", "4-aux-alice", "old")
    gone = ObjectId("", "ServiceAccount", "4-aux-gone", "flux")
    space = ObjectId("", "Namespace", "", "4-aux-gone")
    claim = ObjectId("", "PersistentVolumeClaim", "4-aux-alice", "data")
    not_ours = ObjectId("", "ConfigMap", "4-aux-alice", "theirs")
    held = ObjectId("", "ConfigMap", "4-aux-alice", "held")
    annotated = {"metadata": {"labels": OURS, "annotations": {INVENTORY.prune: "disabled"}}}
    known: Mapping[ObjectId, t.Any] = {
        old: live(),
        gone: live(),
        space: live(),
        claim: live(),
        not_ours: {"metadata": {}},
        held: annotated,
    }
    current = Current(known, frozenset(known), {})
    left = apply_plan.leftovers(current, INVENTORY, BY_ID, {"4-aux-alice", "4-aux-bob"}, safe=True)
    assert left.doomed == [old]
    assert left.undeclared == {"4-aux-gone": [space, gone]}
    assert len(left.kept) == 2
    assert apply_plan.leftovers(current, INVENTORY, BY_ID, {"4-aux-alice"}, safe=False).doomed == []


def test_rights_go_although_another_tenant_failed() -> None:
    right = ObjectId("rbac.authorization.k8s.io", "RoleBinding", "4-aux-alice", "tenant-operator")
    account = ObjectId("", "ServiceAccount", "4-aux-alice", "old")
    known: Mapping[ObjectId, t.Any] = {right: live(), account: live()}
    left = apply_plan.leftovers(Current(known, frozenset(known), {}), INVENTORY, BY_ID, {"4-aux-alice"}, safe=False)
    assert left.doomed == [right]
    assert left.kept == [f"{account} (another tenant failed)"]


# -- rendering -----------------------------------------------------------------------------------------------------


class Lost(HackspaceError):
    """Somebody pushed."""


class Memory:
    """A checkout in memory. :ivar races: how many pushes are lost."""

    def __init__(self, files: dict[str, str], races: int = 0) -> None:
        self.main = dict(files)
        self.tree: dict[str, str] = {}
        self.races = races
        self.pushed: list[str] = []
        self.messages: list[str] = []

    def fetch(self, *, history: bool = False) -> str:
        self.tree = dict(self.main)
        return "r"

    def branch_exists(self, branch: str) -> bool:
        return False

    def onto(self, branch: str) -> bool:
        return False

    def files(self, directory: str, suffixes: tuple[str, ...] = ()) -> dict[str, str]:
        return dict(self.tree)

    def commit(self, directory: str, files: Mapping[str, str | None], message: str) -> str:
        assert None not in files.values()
        self.tree.update({name: str(text) for name, text in files.items()})
        self.messages.append(message)
        return "new"

    def push(self, branch: str) -> None:
        if self.races:
            self.races -= 1
            self.main["tenant-other.yaml"] = f"# {render.MARK}\n"
            raise Lost("no")
        self.main = dict(self.tree)
        self.pushed.append(branch)


TARGET = render.Target("tenants", "main")


def publish(copy: Memory, **options: t.Any) -> render.Rendered:
    return render.publish(copy, BUNDLES, TARGET, check=options.pop("check", False), lost=Lost, **options)


def test_rendered_once_and_not_again() -> None:
    copy = Memory({})
    assert publish(copy, check=True).counts == {"alice": 1, "bob": 1}
    assert copy.main == {}
    assert publish(copy).revision == "new"
    assert set(copy.main) == {"platform.yaml", "tenant-alice.yaml", "tenant-bob.yaml"}
    assert copy.messages == [copy.messages[0]]
    assert copy.messages[0].startswith("Tenants: platform, alice, bob\n")
    assert not publish(copy).plan.changed
    assert publish(copy).counts == {}
    assert copy.pushed == ["main"]


def test_a_lost_race_is_run_again_and_given_up_at_last() -> None:
    copy = Memory({}, races=2)
    assert publish(copy).attempts == 3
    assert "tenant-other.yaml" in copy.main
    with pytest.raises(Lost):
        publish(Memory({}, races=99))


def test_files_of_others_and_of_tenants_that_are_gone() -> None:
    with pytest.raises(Refused, match="not-ours"):
        publish(Memory({"tenant-bob.yaml": "kind: Namespace\n"}))
    copy = Memory({"tenant-gone.yaml": f"# {render.MARK}\nkind: Namespace\n"})
    publish(copy)
    assert "tenant-gone.yaml" in copy.main


def test_a_secret_is_never_rendered() -> None:
    with pytest.raises(InvalidInput, match="secret-in-git"):
        render.files([Bundle("eve", ("4-aux-eve",), (body("Secret", "4-aux-eve", "login"),))])


# -- probe ---------------------------------------------------------------------------------------------------------


class Cluster:
    """Answers as a confined tenant gets them, but for *favours*."""

    def __init__(self, favours: t.Collection[str] = (), status: int = 403, said: str = "forbidden") -> None:
        self.requests = 0
        self.favours = favours
        self.status, self.said = status, said

    def may(self, who: Identity, right: Right) -> tuple[bool, str]:
        needed = right.verb in ("patch", "delete") and (right.group, right.resource) in probe._NEEDED
        return (needed and right.namespace in who.user) or right.resource in self.favours, "because"

    def try_apply(self, who: Identity, path: str, body: Mapping[str, t.Any]) -> tuple[int, str]:
        own = "statefulsets" in path or "cal.example.org" in str(body)
        return (200, "") if own else (self.status, self.said)

    def try_read(self, who: Identity, path: str) -> tuple[int, str]:
        return (200, "") if "reading" in self.favours else (self.status, self.said)


SUBJECT = probe.Subject(
    tenant="alice",
    namespace="4-aux-alice",
    account="flux",
    neighbour="4-aux-bob",
    flux_namespace="flux-system",
    tier_label="tier",
    foreign_host="other.example.org",
    hosts=("cal.example.org",),
)


def test_a_confined_tenant() -> None:
    outcomes = probe.ask(Cluster(), SUBJECT, probe.matrix(SUBJECT))
    assert probe.summary(outcomes) == {}
    assert len({one.check for one in outcomes}) == len(outcomes)


def test_a_trial_is_wrong_in_one_thing_only() -> None:
    trials = [one for one in probe.matrix(SUBJECT) if one.name.startswith("refers to a source")]
    assert [one.body["spec"]["serviceAccountName"] for one in trials] == [SUBJECT.account] * 2
    spaces = [one.body["spec"]["sourceRef"]["namespace"] for one in trials]
    assert spaces == [SUBJECT.flux_namespace, SUBJECT.neighbour]


def test_a_favour_is_found() -> None:
    found = probe.summary(probe.ask(Cluster(["clusterrolebindings"]), SUBJECT, probe.matrix(SUBJECT)))
    assert found == {
        "alice": ["4-aux-alice: makes clusterrolebindings: allowed, should be refused (because)"],
    }


def test_a_neighbours_secrets_are_asked_for_in_earnest() -> None:
    found = probe.summary(probe.ask(Cluster(["reading"]), SUBJECT, probe.matrix(SUBJECT)))
    assert found["alice"] == [
        "4-aux-alice: reads secrets of a neighbour: allowed, should be refused",
        "4-aux-alice: reads secrets of Flux: allowed, should be refused",
    ]


def test_who_makes_flux_objects_of_their_own_must_be_able_to() -> None:
    known = {one.name for one in probe.matrix(SUBJECT)}
    served = dataclasses.replace(SUBJECT, source="alice", git_url="https://git.example.org/alice/k8s")
    more = [one for one in probe.matrix(served) if one.name not in known]
    assert [(one.name, one.allowed) for one in more] == [
        ("reconciles its own source once more", True),
        ("has a Git source of its own", True),
    ]
    refused = [one for one in probe.matrix(served) if "reconciles" in one.name and not one.allowed]
    assert all(one.body["spec"]["sourceRef"]["name"] == "alice" for one in refused)


@pytest.mark.parametrize(
    ("status", "said", "right"),
    [
        (403, "no", True),
        (422, "ValidatingAdmissionPolicy 'x' denied request", True),
        (400, 'admission webhook "x" denied the request', True),
        (404, "the server could not find the requested resource", True),
        (500, "internal error", False),
        (404, 'namespaces "4-aux-alice" not found', False),
    ],
)
def test_a_failure_is_no_refusal(status: int, said: str, right: bool) -> None:
    wrong = probe.summary(probe.ask(Cluster(status=status, said=said), SUBJECT, probe.matrix(SUBJECT)))
    assert (wrong == {}) is right


# -- secrets -------------------------------------------------------------------------------------------------------


def test_the_login_of_the_inventory_is_not_passed_on_beside_what_is_offered() -> None:
    action = object.__new__(ActionModule)
    offered = {"sealed_secrets": True, "membership": {"keycloak": {"client_secret": "hunter2"}}}
    made = action.fill(t.cast(t.Any, None), {"cluster": "a", "platform": offered})
    assert made == {"cluster": "a", "platform": {"sealed_secrets": True}}
    assert "membership" in offered
