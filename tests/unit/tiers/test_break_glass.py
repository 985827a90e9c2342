# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is opened, what is noted, and that closing brings exactly the state before back."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import json
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import Refused
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Plan
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import (
    Discovery,
    Inventory,
    ObjectId,
    Resource,
)
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import Page, ServerError
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import break_glass as glass

NOW = datetime.datetime(2026, 11, 21, 19, 0, tzinfo=datetime.UTC)
INVENTORY = Inventory("namespace-tiers", "kube-system")
ADMISSION = "admissionregistration.k8s.io"
DISCOVERY = Discovery(
    [
        Resource(ADMISSION, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", False),
        Resource(ADMISSION, "v1", "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", False),
        Resource("policies.kyverno.io", "v1", "PolicyException", "policyexceptions", True),
    ]
)


def request(state: str = "open", **more: t.Any) -> glass.Request:
    given = {"what": ("guards",), "reason": "restore", "hours": 2, **more}
    return glass.Request(state=state, inventory=INVENTORY, **given)


def binding(kind: str = "Validating", **spec: t.Any) -> dict[str, t.Any]:
    return {
        "apiVersion": f"{ADMISSION}/v1",
        "kind": f"{kind}AdmissionPolicyBinding",
        "metadata": {
            "name": "tier-x",
            "labels": {INVENTORY.label: INVENTORY.name, "theirs": "stays theirs"},
            "annotations": {INVENTORY.applied: "hash"},
        },
        "spec": {"policyName": "tier-x", **spec},
    }


def webhooks(*policies: str) -> dict[str, t.Any]:
    return {
        "apiVersion": f"{ADMISSION}/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "kyverno", "resourceVersion": "3"},
        "webhooks": [{"name": f"w{n}", "failurePolicy": one} for n, one in enumerate(policies)],
    }


def planned(live: glass.Live, asked: glass.Request) -> list[t.Any]:
    return glass.make_plan(live, asked, DISCOVERY, NOW).changes


@pytest.mark.parametrize("namespaces", [(), ("wiki", "blog")])
@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Validating", {"validationActions": ["Deny"]}),
        (
            "Validating",
            {
                "validationActions": ["Deny"],
                "paramRef": {"name": "p", "parameterNotFoundAction": "Deny"},
                "matchResources": {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
            },
        ),
        ("Mutating", {}),
    ],
)
def test_opened_and_closed_as_it_was(kind: str, spec: dict[str, t.Any], namespaces: tuple[str, ...]) -> None:
    live = binding(kind, **spec)
    before = copy.deepcopy(live)
    [opened] = planned(glass.Live(bindings=[live]), request(what=("guards", "pods"), namespaces=namespaces))
    body = opened.payload.body
    assert live == before
    assert body["spec"] != before["spec"]
    assert body["metadata"]["labels"] == {INVENTORY.label: INVENTORY.name}
    note = json.loads(body["metadata"]["annotations"][glass.mark(INVENTORY.label_domain)])
    assert (note["since"], note["until"]) == ("2026-11-21T19:00:00Z", "2026-11-21T21:00:00Z")
    assert INVENTORY.applied not in body["metadata"]["annotations"]
    again = glass.make_plan(
        glass.Live(bindings=[body]), request(what=("guards", "pods"), namespaces=namespaces), DISCOVERY, NOW
    )
    assert (again.changes, again.unchanged) == ([], 1)
    assert "until 2026-11-21T21:00:00Z (restore): it is open already" in again.warnings[0]
    [closed] = planned(glass.Live(bindings=[body]), request("closed"))
    assert closed.payload.body["spec"] == before["spec"]
    assert closed.payload.body["metadata"]["annotations"] == before["metadata"]["annotations"]
    assert planned(glass.Live(bindings=[live]), request("closed")) == []


def test_a_guard_for_all_only_warns_and_does_not_miss_its_parameter() -> None:
    spec = {"validationActions": ["Deny"], "paramRef": {"name": "p", "parameterNotFoundAction": "Deny"}}
    made = glass.opened_spec("ValidatingAdmissionPolicyBinding", spec, ())
    assert made == {
        "validationActions": ["Audit", "Warn"],
        "paramRef": {"name": "p", "parameterNotFoundAction": "Allow"},
    }


def test_one_exception_for_all_policies_of_kyverno() -> None:
    policies = [{"kind": kind, "metadata": {"name": f"tier-{kind}"}} for kind in ("ValidatingPolicy", "MutatingPolicy")]
    [made] = planned(glass.Live(policies=policies), request(namespaces=("wiki",)))
    spec = made.payload.body["spec"]
    assert spec["policyRefs"] == [{"kind": "ValidatingPolicy", "name": "tier-ValidatingPolicy"}]
    assert spec["expiresAt"] == "2026-11-21T21:00:00Z"
    assert spec["properties"] == {"reason": "restore"}
    assert spec["matchConditions"][0]["expression"] == 'request.namespace in ["wiki"]'
    there = {**made.payload.body, "metadata": {**made.payload.body["metadata"], "uid": "u"}}
    live = glass.Live(policies=policies, exceptions=[there])
    assert planned(live, request(namespaces=("wiki",))) == []
    [gone] = planned(live, request("closed"))
    assert (gone.action, gone.payload.verb, gone.payload.body) == ("delete", "delete", {"uid": "u"})


def exception(**more: t.Any) -> glass.Live:
    policies = [{"kind": kind, "metadata": {"name": f"tier-{kind}"}} for kind in ("ValidatingPolicy", "MutatingPolicy")]
    [made] = planned(glass.Live(policies=policies), request(**more))
    return glass.Live(policies=policies, exceptions=[made.payload.body])


def test_an_exception_that_has_expired_is_no_open_glass() -> None:
    live = exception()
    later = NOW + datetime.timedelta(hours=3)
    [again] = glass.make_plan(live, request(), DISCOVERY, later).changes
    assert again.action == "update"
    assert again.payload.body["spec"]["expiresAt"] == "2026-11-22T00:00:00Z"


def test_an_exception_takes_up_what_else_is_opened() -> None:
    live = exception(namespaces=("wiki", "blog"))
    [more] = planned(live, request(what=("pods",), namespaces=("wiki",)))
    spec = more.payload.body["spec"]
    assert [one["kind"] for one in spec["policyRefs"]] == ["ValidatingPolicy", "MutatingPolicy"]
    assert spec["matchConditions"][0]["expression"] == 'request.namespace in ["blog", "wiki"]'


@pytest.mark.parametrize("namespaces", [(), ("wiki", "other")])
def test_open_for_some_namespaces_is_not_open_for_others(namespaces: tuple[str, ...]) -> None:
    [opened] = planned(glass.Live(bindings=[binding(validationActions=["Deny"])]), request(namespaces=("wiki", "blog")))
    native = glass.Live(bindings=[opened.payload.body])
    for live in (native, exception(namespaces=("wiki", "blog"))):
        assert planned(live, request(namespaces=("wiki",))) == []
        with pytest.raises(Refused, match="blog, wiki only") as refused:
            planned(live, request(namespaces=namespaces))
        assert refused.value.rule == "break-glass-scope"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--enablePolicyException=true", "--exceptionNamespace=kyverno"], ""),
        (["--enablePolicyException=true", "--exceptionNamespace=*"], ""),
        ([], ""),
        (["--enablePolicyException=false"], "--enablePolicyException=false"),
        (["--enablePolicyException=true", "--exceptionNamespace=exceptions"], "--exceptionNamespace=exceptions"),
        (None, ""),
    ],
)
def test_an_exception_that_kyverno_will_not_go_by_is_said(args: list[str] | None, said: str) -> None:
    class _Server:
        def pages(self, _path: str, **_more: t.Any) -> t.Iterator[Page]:
            if args is None:
                raise ServerError("HTTP 403", status=403)
            containers = [{"name": "kyverno", "args": args}]
            yield Page([{"spec": {"template": {"spec": {"containers": containers}}}}], 0)

    live = dataclasses.replace(exception(), exceptions=[])
    plan = glass.make_plan(live, request(), DISCOVERY, NOW)
    warned = glass.unheeded(t.cast(t.Any, _Server()), plan, request())
    assert len(warned) == bool(said)
    assert not said or f"Kyverno runs with {said}:" in warned[0]
    assert glass.unheeded(t.cast(t.Any, None), Plan(), request()) == []


def test_webhooks_that_were_put_back_are_opened_again() -> None:
    live = webhooks("Fail", "Ignore")
    [opened] = planned(glass.Live(webhooks=[live]), request(what=("webhooks",)))
    body = opened.payload.body
    body["webhooks"][0]["failurePolicy"] = "Fail"
    body["webhooks"].append({"name": "new", "failurePolicy": "Fail"})
    [again] = planned(glass.Live(webhooks=[body]), request(what=("webhooks",)))
    assert [one["failurePolicy"] for one in again.payload.body["webhooks"]] == ["Ignore"] * 3
    [closed] = planned(glass.Live(webhooks=[again.payload.body]), request("closed"))
    assert [one["failurePolicy"] for one in closed.payload.body["webhooks"]] == ["Fail", "Ignore", "Fail"]


def test_webhooks_are_opened_before_the_exception_that_they_may_refuse() -> None:
    live = dataclasses.replace(exception(), exceptions=[], webhooks=[webhooks("Fail")])
    changes = planned(live, request(what=("guards", "webhooks")))
    assert [one.kind for one in changes] == ["ValidatingWebhookConfiguration", "PolicyException"]
    asked: list[str] = []

    class _Server:
        def apply(self, path: str, _body: t.Any, *, dry_run: bool) -> None:
            assert dry_run
            asked.append(path)

    glass.dry_run(t.cast(t.Any, _Server()), changes)
    assert asked == []
    glass.dry_run(t.cast(t.Any, _Server()), changes[1:])
    assert len(asked) == 1


def test_webhooks_and_those_that_came_since() -> None:
    live = webhooks("Fail", "Ignore", "Fail")
    [opened] = planned(glass.Live(webhooks=[live]), request(what=("webhooks",)))
    body = opened.payload.body
    assert [one["failurePolicy"] for one in body["webhooks"]] == ["Ignore"] * 3
    assert body["metadata"]["resourceVersion"] == "3"
    body["webhooks"].append({"name": "new", "failurePolicy": "Fail"})
    [closed] = planned(glass.Live(webhooks=[body]), request("closed"))
    assert [one["failurePolicy"] for one in closed.payload.body["webhooks"]] == ["Fail", "Ignore", "Fail", "Fail"]
    assert closed.payload.body["metadata"]["annotations"] == {}
    ignored = glass.Live(webhooks=[webhooks("Ignore")])
    assert planned(ignored, request(what=("webhooks",))) == []


def test_what_is_open_and_overdue() -> None:
    [opened] = planned(glass.Live(bindings=[binding(validationActions=["Deny"])]), request())
    [found] = glass.what_is_open(glass.Live(bindings=[opened.payload.body]), INVENTORY.label_domain)
    assert found.reason == "restore"
    assert not found.as_dict(NOW)["overdue"]
    assert found.as_dict(NOW + datetime.timedelta(hours=3))["overdue"]


def test_an_application_that_closes_has_no_hand_in_exceptions() -> None:
    ours = glass.Opened("binding", ObjectId("", "X", "", "x"), "a", "b", "c")
    theirs = glass.Opened("PolicyException kyverno/x", None, "a", "b", "c")
    assert glass.still_open([ours, theirs], closing=False) == [ours, theirs]
    assert glass.still_open([ours, theirs], closing=True) == [theirs]


def test_a_damaged_note_is_no_reason_to_guess() -> None:
    live = binding(validationActions=["Audit"])
    live["metadata"]["annotations"][glass.mark(INVENTORY.label_domain)] = "{"
    with pytest.raises(Refused) as refused:
        planned(glass.Live(bindings=[live]), request("closed"))
    assert refused.value.rule == "break-glass-note"
    assert glass.what_is_open(glass.Live(bindings=[live]), INVENTORY.label_domain)[0].reason == "?"
