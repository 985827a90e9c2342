# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Compiles the table into Kubernetes objects: one table, one backend for each concern.

The parts of a policy are made once (``pods``, ``guards``) and wrapped here as the kind that the backend wants, so that
backends cannot drift apart. The output is the same for the same table: sorted, without times or counters.
"""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Iterable, Mapping

from .._core.errors import check
from .._kube import order
from . import guards, limits, pods, secrets
from .model import Table
from .parts import Object, Policy, metadata
from .resolve import Resolution

LIMITS: t.Final = ("static", "kyverno")
PODS: t.Final = ("native", "kyverno")
GUARDS: t.Final = ("native", "kyverno")
NATIVE: t.Final = "admissionregistration.k8s.io/v1"
KYVERNO: t.Final = "policies.kyverno.io/v1"
#: Seconds that Kyverno's webhooks may take before their failure policy decides.
TIMEOUT: t.Final = 5


@dataclasses.dataclass(frozen=True)
class Backends:
    """What does what."""

    limits: str = "kyverno"
    pods: str = "kyverno"
    guards: str = "kyverno"

    def __post_init__(self) -> None:
        for name, choices in (("limits", LIMITS), ("pods", PODS), ("guards", GUARDS)):
            value = getattr(self, name)
            check(
                value in choices,
                f"{value!r} is no backend of {name}.",
                item=name,
                rule="backend",
                fix=f"one of {', '.join(choices)}.",
            )


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What a table becomes.

    :ivar objects: in the order in which to apply them.
    :ivar failure_policies: what each policy does while it cannot be evaluated, for people.
    :ivar warnings: what is not wrong and should be known.
    """

    objects: tuple[Object, ...]
    failure_policies: tuple[Mapping[str, str], ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, t.Any]:
        """Return plain data."""
        return {
            "objects": [dict(one) for one in self.objects],
            "failure_policies": [dict(one) for one in self.failure_policies],
            "warnings": list(self.warnings),
        }


def render(table: Table, backends: Backends, namespaces: Iterable[Resolution] = ()) -> Compiled:
    """Return the objects for *table*.

    :param namespaces: the known namespaces, for static limits.
    """
    known = sorted(namespaces, key=lambda one: one.namespace)
    objects: list[Object] = [_class(table, p) for p in pods.classes(table)]
    warnings: list[str] = []
    if backends.limits == "static":
        objects += limits.static(table, known)
        warnings.append(
            "limits are static: namespaces that are not in the list get neither LimitRange nor ResourceQuota."
        )
    else:
        objects += limits.generated(table)
        objects += limits.roles(table)
    mutation = pods.policy(table)
    if mutation is not None:
        objects += (_native_mutation if backends.pods == "native" else _kyverno_mutation)(table, mutation)
    for guard in guards.policies(table, backends.limits == "kyverno", backends.guards):
        objects += (_native_guard if backends.guards == "native" else _kyverno_guard)(table, guard)
    objects += secrets.objects(table)
    warnings += secrets.warnings(table)
    ordered = order.rendered(objects)
    return Compiled(tuple(ordered), tuple(_failure_policies(ordered)), tuple(warnings))


def _class(table: Table, priority: t.Any) -> Object:
    made: Object = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": metadata(table, priority.name),
        "value": priority.value,
        "preemptionPolicy": priority.preemption,
    }
    if priority.description:
        made["description"] = priority.description
    return made


# -- wrapping ------------------------------------------------------------------------------------------------------


def _common(policy: Policy) -> Object:
    spec: Object = {"matchConstraints": {**policy.selector, "resourceRules": [policy.rule]}}
    if policy.conditions:
        spec["matchConditions"] = list(policy.conditions)
    if policy.variables:
        spec["variables"] = [{"name": name, "expression": text} for name, text in policy.variables]
    return spec


def _native_mutation(table: Table, policy: Policy) -> list[Object]:
    return [
        {
            "apiVersion": NATIVE,
            "kind": "MutatingAdmissionPolicy",
            "metadata": metadata(table, policy.name),
            "spec": {
                "failurePolicy": table.failure_policy,
                "reinvocationPolicy": "IfNeeded",
                **_common(policy),
                "mutations": [
                    {"patchType": "JSONPatch", "jsonPatch": {"expression": text}} for text in policy.expressions
                ],
            },
        },
        {
            "apiVersion": NATIVE,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": metadata(table, policy.name),
            "spec": {"policyName": policy.name},
        },
    ]


def _kyverno_mutation(table: Table, policy: Policy) -> list[Object]:
    return [
        {
            "apiVersion": KYVERNO,
            "kind": "MutatingPolicy",
            "metadata": metadata(table, policy.name),
            "spec": {
                "failurePolicy": table.failure_policy,
                "reinvocationPolicy": "IfNeeded",
                "webhookConfiguration": {"timeoutSeconds": TIMEOUT},
                "evaluation": {"admission": {"enabled": True}, "mutateExisting": {"enabled": False}},
                "autogen": {"podControllers": {"controllers": []}},
                **_common(policy),
                "mutations": [
                    {"patchType": "JSONPatch", "jsonPatch": {"expression": text}} for text in policy.expressions
                ],
            },
        }
    ]


def _native_guard(table: Table, policy: Policy) -> list[Object]:
    spec: Object = {"failurePolicy": "Fail", **_common(policy), "validations": list(policy.validations)}
    binding: Object = {"policyName": policy.name, "validationActions": ["Deny"]}
    if policy.param:
        spec["paramKind"] = {"apiVersion": policy.param[0], "kind": policy.param[1]}
        binding["paramRef"] = {"name": policy.param[2], "parameterNotFoundAction": "Deny"}
    return [
        {
            "apiVersion": NATIVE,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": metadata(table, policy.name),
            "spec": spec,
        },
        {
            "apiVersion": NATIVE,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata(table, policy.name),
            "spec": binding,
        },
    ]


def _kyverno_guard(table: Table, policy: Policy) -> list[Object]:
    return [
        {
            "apiVersion": KYVERNO,
            "kind": "ValidatingPolicy",
            "metadata": metadata(table, policy.name),
            "spec": {
                "failurePolicy": "Fail" if table.accept_deadlock_risk else "Ignore",
                "validationActions": ["Deny"],
                "webhookConfiguration": {"timeoutSeconds": TIMEOUT},
                "evaluation": {"admission": {"enabled": True}, "background": {"enabled": False}},
                "autogen": {"podControllers": {"controllers": []}},
                **_common(policy),
                "validations": list(policy.validations),
            },
        }
    ]


_WHEN_DOWN: t.Final = {
    ("native", "Ignore"): "runs inside the API server; what fails in evaluation passes unchanged",
    ("native", "Fail"): "runs inside the API server; what fails in evaluation is refused",
    ("kyverno", "Ignore"): "while Kyverno is down, objects pass unchanged and unchecked",
    ("kyverno", "Fail"): "while Kyverno is down, these objects cannot be created",
}


def _failure_policies(objects: Iterable[Object]) -> t.Iterator[dict[str, str]]:
    for one in objects:
        backend = "native" if one["apiVersion"] == NATIVE else "kyverno" if one["apiVersion"] == KYVERNO else ""
        if not backend or one["kind"].endswith("Binding"):
            continue
        # A GeneratingPolicy has none: it works after the fact.
        chosen = str(one["spec"].get("failurePolicy", "Ignore"))
        yield {
            "kind": str(one["kind"]),
            "name": str(one["metadata"]["name"]),
            "backend": backend,
            "failure_policy": chosen,
            "when_down": (
                "while Kyverno is down, namespaces get nothing until it is back"
                if one["kind"] == "GeneratingPolicy"
                else _WHEN_DOWN[backend, chosen]
            ),
        }
