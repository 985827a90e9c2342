# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an application does beyond applying: classes made again, limits handed over, stages, what may be pruned."""

from __future__ import annotations

import json
import time
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import Refused
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Change
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import (
    Discovery,
    Inventory,
    ObjectId,
    Resource,
    Wanted,
)
from ansible_collections.hackspace.infra.plugins.module_utils._kube.plan import ApplyStep, DeleteStep, RecordStep
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import Page, ServerError
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import apply, apply_plan, model, pods
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.policies import Backends, render

TABLE = model.parse({"base": "default"})
INVENTORY = Inventory("namespace-tiers", "kube-system")
OURS = {INVENTORY.label: INVENTORY.name}
CLASS = Resource("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", namespaced=False)
QUOTA = Resource("", "v1", "ResourceQuota", "resourcequotas", namespaced=True)


def live_class(name: str, value: int, labels: dict[str, str] | None = None, **more: t.Any) -> dict[str, t.Any]:
    return {
        "metadata": {"name": name, "uid": "u1", "labels": OURS if labels is None else labels},
        "value": value,
        **more,
    }


def replaced(*live: dict[str, t.Any], allowed: bool = True, adopt: bool = False) -> list[str]:
    return sorted(apply_plan.replaced(pods.classes(TABLE), live, INVENTORY, allowed=allowed, adopt=adopt))


def test_classes_that_have_to_be_made_again() -> None:
    assert replaced(live_class("tier-4-aux", 200000, preemptionPolicy="Never")) == []
    assert replaced(live_class("other", 1)) == []
    assert replaced(live_class("tier-4-aux", 150000, preemptionPolicy="Never")) == ["tier-4-aux"]
    assert replaced(live_class("tier-4-aux", 200000)) == ["tier-4-aux"]
    with pytest.raises(Refused, match="preemption PreemptLowerPriority -> Never") as refused:
        replaced(live_class("tier-4-aux", 200000), allowed=False)
    assert refused.value.rule == "class-immutable"
    with pytest.raises(Refused) as foreign:
        replaced(live_class("tier-4-aux", 1, labels={}))
    assert foreign.value.rule == "foreign"
    assert replaced(live_class("tier-4-aux", 1, labels={}), adopt=True) == ["tier-4-aux"]


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("reg.kyverno.io/kyverno/kyverno:v1.19.1", "1.19.1"),
        ("localhost:5000/kyverno:1.19.1-rc.1@sha256:00", "1.19.1"),
        ("reg.kyverno.io/kyverno/kyverno:latest", ""),
        ("reg.kyverno.io/kyverno/kyverno@sha256:00", ""),
    ],
)
def test_the_version_of_kyverno_is_the_tag_of_its_image(image: str, version: str) -> None:
    containers = [{"name": "sidecar", "image": "x:v9.9.9"}, {"name": "kyverno", "image": image}]
    assert apply_plan.kyverno_version([{"spec": {"template": {"spec": {"containers": containers}}}}]) == version


@pytest.mark.parametrize(
    ("args", "everywhere"),
    [
        (["--enablePolicyException=true", "--exceptionNamespace=*"], True),
        (["--enablePolicyException=true", "--exceptionNamespace=kyverno"], False),
        (["--enablePolicyException=false", "--exceptionNamespace=*"], False),
        ([], False),
    ],
)
def test_exceptions_of_all_namespaces_are_seen(args: list[str], everywhere: bool) -> None:
    containers: list[dict[str, t.Any]] = [{"name": "sidecar"}, {"name": "kyverno", "args": args}]
    deployment = {"spec": {"template": {"spec": {"containers": containers}}}}
    assert apply_plan.exceptions_everywhere([deployment]) is everywhere


class _Server:
    """Lists Deployments, or refuses to."""

    def __init__(self, *deployments: dict[str, t.Any], allowed: bool = True) -> None:
        self.deployments, self.allowed = list(deployments), allowed

    def pages(self, _path: str, **_more: t.Any) -> t.Iterator[Page]:
        if not self.allowed:
            raise ServerError("HTTP 403", status=403)
        yield Page(self.deployments, 0)


def test_a_version_that_is_given_does_not_hide_exceptions_of_all_namespaces() -> None:
    args = ["--enablePolicyException=true", "--exceptionNamespace=*"]
    containers = [{"name": "kyverno", "image": "kyverno:v1.19.1", "args": args}]
    server = t.cast(t.Any, _Server({"spec": {"template": {"spec": {"containers": containers}}}}))
    assert apply.ask_kyverno(server, "1.19.2", Backends()) == ("1.19.2", True)
    assert apply.ask_kyverno(server, "", Backends()) == ("1.19.1", True)
    assert apply.ask_kyverno(server, "", Backends(guards="native")) == ("1.19.1", False)
    blind = t.cast(t.Any, _Server(allowed=False))
    assert apply.ask_kyverno(blind, "1.19.2", Backends()) == ("1.19.2", False)
    with pytest.raises(ServerError):
        apply.ask_kyverno(blind, "", Backends())


def test_the_table_that_is_kept_has_its_base_filled_in() -> None:
    kept = apply_plan.table_object(TABLE, model.merged({"base": "default"}), INVENTORY)
    assert kept["metadata"]["name"] == "namespace-tiers-table"
    assert kept["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "hackspace.infra"
    assert model.parse(json.loads(kept["data"]["table"])) == TABLE


def quota(namespace: str, **labels: str) -> dict[str, t.Any]:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {
            "name": "tier-quota",
            "namespace": namespace,
            "uid": "q",
            "resourceVersion": "7",
            "managedFields": [{}],
            "labels": {**OURS, **labels},
            "annotations": {INVENTORY.applied: "hash", "kept": "yes"},
        },
        "spec": {"hard": {"pods": "20"}},
        "status": {"used": {}},
    }


def space(name: str, **labels: str) -> dict[str, t.Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "labels": labels}}


def test_handed_to_kyverno_with_the_marks_by_which_it_knows_its_own() -> None:
    one = ObjectId("", "ResourceQuota", "4-aux-wiki", "tier-quota")
    body = apply_plan.to_kyverno(TABLE, one, quota("4-aux-wiki"), space("4-aux-wiki"), INVENTORY)
    assert body is not None
    meta = body["metadata"]
    assert INVENTORY.label not in meta["labels"]
    assert meta["annotations"] == {"kept": "yes"}
    assert meta["resourceVersion"] == "7"
    assert body["spec"] == {"hard": {"pods": "20"}}
    # Kyverno compares these three.
    assert meta["labels"]["app.kubernetes.io/managed-by"] == "kyverno"
    assert meta["labels"]["generate.kyverno.io/trigger-uid"] == "uid-4-aux-wiki"
    name = meta["labels"]["generate.kyverno.io/policy-name"]
    made = render(TABLE, Backends()).objects
    assert name in {one["metadata"]["name"] for one in made if one["kind"] == "GeneratingPolicy"}
    assert apply_plan.generated_by_us(body)
    back = apply_plan.without_kyverno(body)
    assert back is not None
    assert not any(key.startswith("generate.kyverno.io/") for key in back["metadata"]["labels"])
    assert apply_plan.without_kyverno(back) is None


class _Limits:
    """A server with limits, and the policies of Kyverno that it still has."""

    def __init__(self, *live: dict[str, t.Any], policies: t.Sequence[str] = ()) -> None:
        place = "/api/v1/namespaces/{}/resourcequotas/tier-quota"
        self.live = {place.format(one["metadata"]["namespace"]): one for one in live}
        self.live |= {f"/apis/policies.kyverno.io/v1/generatingpolicies/{name}": {} for name in policies}

    def get(self, path: str) -> dict[str, t.Any] | None:
        return self.live.get(path)

    def replace(self, path: str, body: dict[str, t.Any]) -> None:
        self.live[path] = body

    def apply(self, path: str, _body: t.Any, *, force: bool) -> None:
        assert force
        if path not in self.live:
            raise ServerError("HTTP 404", status=404)


def test_policies_are_waited_for_and_credentials_are_not() -> None:
    policy = Resource("policies.kyverno.io", "v1", "MutatingPolicy", "mutatingpolicies", namespaced=False)
    secret = Resource("external-secrets.io", "v1", "ExternalSecret", "externalsecrets", namespaced=True)
    wanted = [
        Wanted(ObjectId(one.group, one.kind, space, name), one, {})
        for one, space, name in ((policy, "", "a"), (policy, "", "b"), (secret, "wiki", "c"), (QUOTA, "wiki", "d"))
    ]
    assert apply.awaited(wanted, {wanted[1].id}) == wanted[:1]


MARKED = {"app.kubernetes.io/part-of": "namespace-tiers", apply_plan.POLICY_LABEL: "tier-quota"}


@pytest.mark.parametrize(("policies", "changes"), [((), ["4-aux-wiki/tier-quota"]), (("tier-quota",), [])])
def test_marks_whose_policy_is_gone_are_taken_off_by_the_next_run(
    policies: tuple[str, ...], changes: list[str]
) -> None:
    live = quota("4-aux-wiki", **MARKED)
    one, other = (ObjectId("", "ResourceQuota", name, "tier-quota") for name in ("4-aux-wiki", "opted-out"))
    made = apply.unmarked(Discovery([QUOTA]), {one: live, other: live}, {one}, policies)
    assert [change.name for change in made] == changes
    assert not any(apply_plan.without_kyverno(change.payload.body) for change in made)


def test_marks_are_taken_off_even_if_that_takes_long_and_a_namespace_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    server = _Limits(quota("4-aux-wiki", **MARKED))
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    ids = [ObjectId("", "ResourceQuota", name, "tier-quota") for name in ("4-aux-wiki", "4-aux-gone")]
    apply.settle(t.cast(t.Any, server), [Wanted(one, QUOTA, {}) for one in ids], 120.0)
    assert apply_plan.without_kyverno(next(iter(server.live.values()))) is None


def generating(name: str = "tier-quota", owner: str = INVENTORY.name, *, synchronize: bool = True) -> t.Any:
    return {
        "apiVersion": "policies.kyverno.io/v1",
        "kind": "GeneratingPolicy",
        "metadata": {"name": name, "uid": "u", "managedFields": [{}], "labels": {INVENTORY.label: owner}},
        "spec": {
            "evaluation": {
                "admission": {"enabled": True},
                "synchronize": {"enabled": synchronize},
                "generateExisting": {"enabled": True},
            },
            "generate": [{"expression": "generator.Apply(variables.ns, [])"}],
        },
        "status": {"conditionStatus": {"ready": True}},
    }


def test_limits_stay_where_their_policy_stays() -> None:
    one, other = (ObjectId("", "ResourceQuota", name, "tier-quota") for name in ("4-aux-wiki", "3-edge-web"))
    live = {one: quota("4-aux-wiki", **MARKED), other: quota("3-edge-web", **{**MARKED, apply_plan.POLICY_LABEL: "x"})}
    alive = {"tier-quota": generating()}
    assert apply_plan.stays(live, alive, INVENTORY, prune=False) == {one}
    assert apply_plan.stays(live, alive, INVENTORY, prune=True) == frozenset()
    assert apply_plan.stays(live, {"tier-quota": generating(owner="else")}, INVENTORY, prune=True) == {one}
    assert apply_plan.stays(live, {}, INVENTORY, prune=False) == frozenset()


def test_a_quiet_policy_keeps_nothing_and_is_otherwise_the_same() -> None:
    policy = generating()
    quiet = apply_plan.quiet(policy)
    assert apply_plan.keeps(policy)
    assert not apply_plan.keeps(quiet)
    assert quiet["spec"]["evaluation"]["generateExisting"] == {"enabled": False}
    assert quiet["spec"]["evaluation"]["admission"] == {"enabled": True}
    assert quiet["spec"]["generate"] == policy["spec"]["generate"]
    assert quiet["metadata"] == {"name": "tier-quota", "labels": {INVENTORY.label: INVENTORY.name}}
    assert "status" not in quiet


class _Quietening:
    """Policies, and what Kyverno has before it, look by look."""

    def __init__(self, policies: t.Any, looks: t.Any) -> None:
        self.policies, self.looks = policies, list(looks)
        self.done: list[str] = []

    def get(self, path: str) -> t.Any:
        return self.policies.get(path)

    def apply(self, path: str, body: t.Any, *, force: bool) -> None:
        assert force
        self.done.append(f"apply {path}")
        self.policies[path] = body

    def pages(self, path: str, **_kwargs: t.Any) -> t.Any:
        self.done.append(f"list {path}")
        found = self.looks.pop(0)
        if isinstance(found, Exception):
            raise found
        yield Page([{"spec": {"policy": one}} for one in found], 0)


def test_kyverno_finishes_what_it_began_before_its_policies_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    resource = Resource("policies.kyverno.io", "v1", "GeneratingPolicy", "generatingpolicies", namespaced=False)
    path = resource.path("", "tier-quota")
    steps = [
        DeleteStep(ObjectId("policies.kyverno.io", "GeneratingPolicy", "", name), resource, "u")
        for name in ("tier-quota", "gone-already")
    ]
    look = "list /apis/kyverno.io/v2/updaterequests"
    server = _Quietening({path: generating()}, [["tier-quota"], ["another"]])
    apply.quieten(t.cast(t.Any, server), steps, 60.0)
    assert server.done == [f"apply {path}", look, look]
    # A run that was cut off there goes on where it was.
    again = _Quietening({path: generating(synchronize=False)}, [ServerError("no", status=403)])
    apply.quieten(t.cast(t.Any, again), steps, 60.0)
    assert again.done == [look]
    none = _Quietening({}, [])
    apply.quieten(t.cast(t.Any, none), steps, 60.0)
    assert none.done == []


@pytest.mark.parametrize(
    ("backends", "recorded", "said"),
    [
        (Backends(), [("", "LimitRange", "4-aux-x", "tier-defaults")], ["limits"]),
        (
            Backends("static", "native", "native"),
            [("policies.kyverno.io", "MutatingPolicy", "", "tier-pods")],
            ["pods"],
        ),
        (Backends("static", "native", "native"), [("", "LimitRange", "4-aux-x", "tier-defaults")], []),
    ],
)
def test_a_backend_that_changes_by_itself_is_told(backends: Backends, recorded: t.Any, said: list[str]) -> None:
    found = [ObjectId(*one) for one in recorded]
    told = apply_plan.changed_backends(found, TABLE, backends, ["limits", "pods", "guards"])
    assert [one.partition(":")[0] for one in told] == said
    assert apply_plan.changed_backends(found, TABLE, backends, []) == []


def test_what_the_table_does_not_want_is_not_handed_over() -> None:
    one = ObjectId("", "ResourceQuota", "x", "tier-quota")
    assert apply_plan.to_kyverno(TABLE, one, quota("x"), space("x"), INVENTORY) is None
    opted = space("4-aux-x", **{"resource-governance/custom-quota": "true"})
    assert apply_plan.to_kyverno(TABLE, one, quota("4-aux-x"), opted, INVENTORY) is None


@pytest.mark.parametrize("backends", [Backends(), Backends("static", "native", "native")])
def test_all_that_another_backend_made_is_superseded_and_nothing_else(backends: Backends) -> None:
    other = Backends("static", "native", "native") if backends.pods == "kyverno" else Backends()

    def ids(chosen: Backends) -> set[ObjectId]:
        found = set()
        for one in render(TABLE, chosen).objects:
            group = str(one["apiVersion"]).rpartition("/")[0]
            found.add(ObjectId(group, one["kind"], "", one["metadata"]["name"]))
        return found

    gone = ids(other) - ids(backends)
    assert gone
    assert all(apply_plan.superseded(one, TABLE, backends) for one in gone)
    assert not any(apply_plan.superseded(one, TABLE, backends) for one in ids(backends))


def test_pruning_is_capped_but_for_what_is_superseded() -> None:
    backends = Backends("static", "native", "native")
    old = [ObjectId("policies.kyverno.io", "ValidatingPolicy", "", f"p{n}") for n in range(9)]
    apply_plan.check_doomed(old, TABLE, backends, owned=10, max_percent=20, desired=10)
    lost = [ObjectId("", "ResourceQuota", f"n{n}", "tier-quota") for n in range(3)]
    with pytest.raises(Refused) as refused:
        apply_plan.check_doomed([*old, *lost], TABLE, backends, owned=10, max_percent=20, desired=10)
    assert refused.value.rule == "prune-cap"
    assert len(refused.value.data["would_delete"]) == 3


def change(kind: str, name: str, payload: t.Any, action: t.Any = "update") -> Change:
    return Change(kind, name, action, payload=payload)


def applied(resource: Resource, name: str, namespace: str = "") -> Change:
    one = ObjectId(resource.group, resource.kind, namespace, name)
    return change(resource.kind, one.title, ApplyStep(Wanted(one, resource, {}), force=False))


def test_stages_in_an_order_that_may_be_cut_off() -> None:
    maps = Resource("", "v1", "ConfigMap", "configmaps", namespaced=True)
    old = ObjectId("", "ResourceQuota", "gone", "tier-quota")
    handed = ObjectId("", "ResourceQuota", "wiki", "tier-quota")
    record = change("inventory record", "r", RecordStep(frozenset({handed}), frozenset({old})))
    changes = [
        record,
        applied(CLASS, "tier-4-aux"),
        applied(QUOTA, "tier-quota", "blog"),
        applied(maps, apply_plan.TABLE_NAME, "kube-system"),
        applied(QUOTA, "tier-quota", "open"),
        change("ResourceQuota", "gone/tier-quota", DeleteStep(old, QUOTA, "u"), "delete"),
        change("ResourceQuota", "wiki/tier-quota", DeleteStep(handed, QUOTA, "u"), "delete"),
    ]
    given = [change("ResourceQuota", "wiki/tier-quota", apply_plan.HandOverStep(handed, QUOTA, {}))]
    stages, closing = apply_plan.stage(
        changes,
        classes={"tier-4-aux": live_class("tier-4-aux", 1)},
        class_resource=CLASS,
        handed=given,
        left_open={ObjectId("", "ResourceQuota", "open", "tier-quota")},
    )
    assert [(c.action, c.name) for c in stages.all] == [
        ("update", "r"),
        ("update", "wiki/tier-quota"),
        ("delete", "tier-4-aux"),
        ("update", "tier-4-aux"),
        ("update", "blog/tier-quota"),
        ("update", "kube-system/namespace-tiers-table"),
        ("delete", "gone/tier-quota"),
    ]
    # The record grows first, and shrinks only at the end.
    assert stages.record[0].payload == RecordStep(frozenset({handed}), frozenset())
    assert closing[0].payload.remove == {old}
    assert apply_plan.with_removed(closing, {handed})[0].payload.remove == {old, handed}
