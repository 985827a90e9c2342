# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is refused: classes above one's namespace tier, labels set by tenants, a ResourceQuota without a LimitRange."""

from __future__ import annotations

from . import cel
from .model import UNTIERED, Table, Tier
from .parts import Object, Policy, rule
from .pods import held
from .resolve import OPTED


def allowed_classes(table: Table, tier: Tier) -> list[str]:
    """Return the classes that pods of a namespace tier may have; no class is always allowed."""
    names = [tier.priority.name] if tier.priority else []
    if table.gpu and tier.gpu:
        names.append(table.gpu.priority.name)
    return list(dict.fromkeys(["", *names, *tier.allowed]))


def policies(table: Table, generated: bool, backend: str) -> list[Policy]:
    """Return the guards.

    :param generated: whether Kyverno generates the limits: then nothing else keeps their order.
    """
    made = [_classes(table), _labels(table)]
    if generated and all(tier.limits for tier in table.compiled if tier.quota):
        made.append(_order(table, backend))
    return made


def _classes(table: Table) -> Policy:
    """Validation comes after mutation, so what was put in must be among what is allowed."""
    validations: list[Object] = []
    every = table.compiled
    for tier in every:
        names = allowed_classes(table, tier)
        said = ", ".join(name for name in names if name) or "none"
        who = "a namespace without a namespace tier" if tier.name == UNTIERED else f"namespace tier {tier.name}"
        validations.append(
            {
                "expression": f"variables.held || variables.tier != {cel.text(tier.name)} || "
                f"object.spec.?priorityClassName.orValue('') in {cel.texts(names)}",
                "message": f"this PriorityClass is not allowed in {who}; allowed: {said}",
                "reason": "Forbidden",
            }
        )
        validations += [
            {
                "expression": f"variables.held || variables.tier != {cel.text(tier.name)} || ({one.expression})",
                "message": f"{who}, rule {one.name}: {one.message}",
                "reason": "Forbidden",
            }
            for one in tier.rules
        ]
    return Policy(
        name=f"{table.prefix}priority-allowed",
        rule=rule("pods", "CREATE"),
        selector=cel.selector(table),
        conditions=tuple(cel.not_excluded(table, cel.OF_POD[0])),
        variables=(("tier", cel.tier_of(table, cel.OF_POD)), ("held", held(table))),
        validations=tuple(validations),
    )


def _before(expression: str) -> str:
    return f"request.operation == 'CREATE' ? '' : {expression}"


def _labels(table: Table) -> Policy:
    name, subject = cel.OF_NAMESPACE
    groups, users = cel.texts(sorted(table.guard.groups)), cel.texts(sorted(table.guard.users))
    variables = [
        (
            "platform",
            f"request.userInfo.?groups.orValue([]).exists(g, g in {groups}) || "
            f"request.userInfo.?username.orValue('') in {users}",
        ),
        ("tier", cel.tier_of(table, cel.OF_NAMESPACE)),
        ("label", cel.label(subject, table.label)),
        ("oldLabel", _before(cel.label("oldObject", table.label))),
    ]
    mine = cel.texts(table.guard.self_service)
    validations: list[Object] = [
        _forbid(
            "variables.platform || variables.label == variables.oldLabel || "
            f"(request.operation == 'CREATE' && variables.tier in {mine})",
            f"only platform groups may set or change the label {table.label}",
        ),
        _forbid(
            f"request.operation != 'CREATE' || variables.platform || variables.tier == {cel.text(UNTIERED)} || "
            f"variables.tier in {mine}",
            "only platform groups may create a namespace of this namespace tier",
        ),
    ]
    for key in (table.optout_limits, table.optout_quota):
        old = _before(cel.label("oldObject", key))
        validations.append(
            _forbid(
                f"variables.platform || {cel.label(subject, key)} == ({old})",
                f"only platform groups may set or change the label {key}",
            )
        )
    old = _before(cel.annotation("oldObject", table.hold))
    validations.append(
        _forbid(
            f"variables.platform || {cel.annotation(subject, table.hold)} == ({old})",
            f"only platform groups may set or change the annotation {table.hold}",
        )
    )
    if "label" in table.sources:
        known = cel.texts(tier.label for tier in table.tiers)
        # What was wrong before is not made impossible to change: only a new label is judged.
        changed = "(request.operation == 'CREATE' || variables.label != variables.oldLabel)"
        validations.append(
            _forbid(
                f"!{changed} || variables.label == '' || variables.label in {known}",
                f"the label {table.label} names no namespace tier; there are "
                + ", ".join(tier.label for tier in table.tiers),
            )
        )
        if "prefix" in table.sources:
            variables += [
                ("byPrefix", cel.chain(cel.by_prefix(table, name), "")),
                ("byLabel", cel.chain(cel.by_label(table, subject), "")),
            ]
            mapped = sorted(one for tier in table.tiers for one in tier.namespaces) if "map" in table.sources else []
            exempt = f"{name} in {cel.texts(mapped)} || " if mapped else ""
            validations.append(
                _forbid(
                    f"!{changed} || {exempt}variables.byPrefix == '' || variables.byLabel == '' || "
                    "variables.byPrefix == variables.byLabel",
                    f"the name of the namespace and its label {table.label} name different namespace tiers",
                )
            )
    return Policy(
        name=f"{table.prefix}label-guard",
        rule=rule("namespaces", "CREATE", "UPDATE"),
        selector=cel.selector(table),
        conditions=tuple(cel.not_excluded(table, name)),
        variables=tuple(variables),
        validations=tuple(validations),
    )


def _forbid(expression: str, message: str) -> Object:
    return {"expression": expression, "message": message, "reason": "Forbidden"}


def _order(table: Table, backend: str) -> Policy:
    """Refuse our ResourceQuota until our LimitRange is there; Kyverno tries again until it is.

    The API server looks the LimitRange up itself: without it, the binding lacks its parameter and denies.
    """
    message = f"the LimitRange {table.limit_range} must be there before the ResourceQuota {table.quota}"
    opted = {"key": table.optout_limits, "operator": "NotIn", "values": [OPTED]}
    name, selector = f"{table.prefix}quota-order", cel.selector(table, opted)
    if backend == "native":
        return Policy(
            name=name,
            rule=rule("resourcequotas", "CREATE", names=(table.quota,)),
            selector=selector,
            validations=({"expression": "params != null", "message": message},),
            param=("v1", "LimitRange", table.limit_range),
        )
    return Policy(
        name=name,
        rule=rule("resourcequotas", "CREATE"),
        selector=selector,
        conditions=({"name": "ours", "expression": f"request.name == {cel.text(table.quota)}"},),
        validations=(
            {
                "expression": "dyn(resource.List('v1', 'limitranges', request.namespace).items)"
                f".exists(l, l.metadata.name == {cel.text(table.limit_range)})",
                "message": message,
            },
        ),
    )
