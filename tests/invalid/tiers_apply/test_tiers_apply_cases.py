# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be asked wrongly of the modules that apply, open and reconcile gives the one error that is expected."""

from __future__ import annotations

import datetime
import inspect
import re
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import Discovery, Inventory
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import ServerError
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import apply, apply_plan, break_glass, model, pods
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.reconcile import Limits, check_ready

INVENTORY = Inventory("namespace-tiers", "kube-system")
NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)


def opening(**more: t.Any) -> break_glass.Request:
    given = {"state": "open", "what": ("guards",), "reason": "x", "hours": 1, **more}
    return break_glass.Request(inventory=INVENTORY, **given).checked()


def open_nothing() -> None:
    break_glass.make_plan(break_glass.Live(), opening(), Discovery([]), NOW)


def close_damaged() -> None:
    binding = {
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "x", "annotations": {break_glass.mark(INVENTORY.label_domain): "{}"}},
        "spec": {},
    }
    request = break_glass.Request("closed", (), "", 0, INVENTORY).checked()
    break_glass.make_plan(break_glass.Live(bindings=[binding]), request, Discovery([]), NOW)


def open_elsewhere() -> None:
    note = '{"since": "a", "until": "b", "reason": "c", "prior": {"policyName": "x"}, "namespaces": ["a"]}'
    binding = {
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "x", "annotations": {break_glass.mark(INVENTORY.label_domain): note}},
        "spec": {},
    }
    break_glass.make_plan(break_glass.Live(bindings=[binding]), opening(), Discovery([]), NOW)


def other_number() -> None:
    live = {"metadata": {"name": "tier-4-aux", "labels": {INVENTORY.label: INVENTORY.name}}, "value": 1}
    classes = pods.classes(model.parse({"base": "default"}))
    apply_plan.replaced(classes, [live], INVENTORY, allowed=False, adopt=False)


def without_kyverno() -> None:
    request = apply.Request({}, ("x", "y"), {"limits": "kyverno", "pods": "native", "guards": "native"})
    apply.choose_backends(request, installed=False)


def without_right() -> None:
    said = 'pods is forbidden: User "ada" cannot list resource "pods" in API group "" in the namespace "a"'
    raise apply.denied(ServerError("HTTP 403", said=said, status=403))


def nothing_for_pods() -> None:
    class _Empty:
        def get(self, _path: str) -> None:
            return None

    check_ready(t.cast(t.Any, _Empty()), model.parse({"base": "default"}))


CASES: dict[str, tuple[t.Callable[[], t.Any], str]] = {
    "break-glass-reason": (lambda: opening(reason=" "), "reason"),
    "break-glass-hours": (lambda: opening(hours=169), "hours"),
    "break-glass-what": (lambda: opening(what=()), "what"),
    "break-glass-webhooks": (lambda: opening(what=("webhooks",), namespaces=("a",)), "namespaces"),
    "break-glass-nothing": (open_nothing, "what"),
    "break-glass-note": (close_damaged, "ValidatingAdmissionPolicyBinding x"),
    "break-glass-scope": (open_elsewhere, "ValidatingAdmissionPolicyBinding x"),
    "reconcile-limit": (lambda: Limits(per_owner=0).checked(), "per_owner"),
    "pods-not-ready": (nothing_for_pods, "tier-pod-defaults"),
    "class-immutable": (other_number, "PriorityClass tier-4-aux"),
    "kyverno-missing": (without_kyverno, "limits"),
    "forbidden": (without_right, "API server"),
}


@pytest.mark.parametrize("rule", CASES)
def test_the_expected_error(rule: str) -> None:
    wrong, item = CASES[rule]
    with pytest.raises(HackspaceError) as raised:
        wrong()
    assert raised.value.rule == rule
    assert raised.value.item == item
    assert len(raised.value.fix) > 10


def test_every_rule_about_what_is_asked_has_a_case() -> None:
    text = "".join(inspect.getsource(one) for one in (break_glass, apply, apply_plan))
    rules = set(re.findall(r'rule="([a-z-]+)"', text)) | {"reconcile-limit", "pods-not-ready"}
    # Of servers and of other controllers, proved on real ones; several findings at once; somebody else's objects.
    of_servers = {"http-status", "changed-meanwhile", "kyverno-keeps", "foreign"}
    assert rules - of_servers == set(CASES)
