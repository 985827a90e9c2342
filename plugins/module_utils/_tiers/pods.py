# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What pods get when they are created: class, ndots, no CPU limits. One policy, as the order of several is open."""

from __future__ import annotations

from . import cel
from .model import Priority, Table
from .parts import Policy, rule


def classes(table: Table) -> list[Priority]:
    """Return the PriorityClasses to make, by name."""
    found = {tier.priority.name: tier.priority for tier in table.tiers if tier.priority}
    if table.gpu:
        found[table.gpu.priority.name] = table.gpu.priority
    return [found[name] for name in sorted(found) if not found[name].built_in]


def _asks_for(resources: tuple[str, ...]) -> str:
    """Return a condition: a container asks for one of the extended *resources*."""

    def of(containers: str) -> str:
        tests = [
            f"(has(c.resources.{kind}) && {cel.texts(resources)}.exists(r, r in c.resources.{kind}))"
            for kind in ("limits", "requests")
        ]
        return f"{containers}.exists(c, has(c.resources) && ({' || '.join(tests)}))"

    first = of("object.spec.containers")
    return f"{first} || (has(object.spec.initContainers) && {of('object.spec.initContainers')})"


def held(table: Table) -> str:
    """Return a condition: an operator holds the namespace, so that nothing is put into its pods or refused."""
    return f"{cel.annotation(cel.OF_POD[1], table.hold)} != ''"


def policy(table: Table) -> Policy | None:
    """Return the policy; ``None`` if the table puts nothing into pods."""
    every = table.compiled
    own = {tier.name: tier.priority.name for tier in every if tier.priority}
    ndots = {tier.name: str(tier.pods.ndots) for tier in every if tier.pods.ndots is not None}
    stripped = [tier.name for tier in every if tier.pods.strip_cpu_limits]
    with_gpu = [tier.name for tier in every if tier.gpu] if table.gpu else []
    if not (own or ndots or stripped):
        return None
    variables = [("tier", cel.tier_of(table, cel.OF_POD)), ("held", held(table))]
    if own:
        override = "false"
        if table.gpu and with_gpu:
            variables.append(("gpu", f"variables.tier in {cel.texts(with_gpu)} && ({_asks_for(table.gpu.resources)})"))
            override = "variables.gpu"
            chosen = f"variables.gpu ? {cel.text(table.gpu.priority.name)} : {cel.lookup(own, 'variables.tier')}"
        else:
            chosen = cel.lookup(own, "variables.tier")
        present = "object.spec.?priorityClassName.orValue('')"
        wins = f"{present} == ''" if override == "false" else f"({override} || {present} == '')"
        variables += [
            ("priorityClass", chosen),
            (
                "setPriority",
                f"!variables.held && variables.priorityClass != '' && {present} != variables.priorityClass && {wins}",
            ),
        ]
    if ndots:
        variables.append(("ndots", f"variables.held ? '' : {cel.lookup(ndots, 'variables.tier')}"))
    if stripped:
        variables.append(("strip", f"!variables.held && variables.tier in {cel.texts(stripped)}"))

    expressions = []
    if own:
        expressions.append(_PRIORITY)
    if ndots:
        expressions.append(_NDOTS)
    if stripped:
        expressions.append(_strip())
    return Policy(
        name=f"{table.prefix}pod-defaults",
        # CREATE only: class, priority and dnsConfig of a pod cannot be changed later.
        rule=rule("pods", "CREATE"),
        selector=cel.selector(table),
        conditions=tuple(cel.not_excluded(table, cel.OF_POD[0])),
        variables=tuple(variables),
        expressions=tuple(expressions),
    )


#: The API server fills in the number before; with it, a class given later is refused.
_PRIORITY = (
    "!variables.setPriority ? [] : "
    "(has(object.spec.priority) ? [JSONPatch{op: 'remove', path: '/spec/priority'}] : []) + "
    "(has(object.spec.preemptionPolicy) ? [JSONPatch{op: 'remove', path: '/spec/preemptionPolicy'}] : []) + "
    "[JSONPatch{op: 'add', path: '/spec/priorityClassName', value: variables.priorityClass}]"
)


#: Plain maps: a list of typed objects (Object.spec.dnsConfig.options{...}) makes the API server 1.36 panic.
#: Kyverno does not know the types of variables, hence the conversion.
_OPTION = "{'name': 'ndots', 'value': string(variables.ndots)}"
_NDOTS = (
    "variables.ndots == '' ? [] : "
    "!has(object.spec.dnsConfig) ? "
    f"[JSONPatch{{op: 'add', path: '/spec/dnsConfig', value: {{'options': [{_OPTION}]}}}}] : "
    "!has(object.spec.dnsConfig.options) ? "
    f"[JSONPatch{{op: 'add', path: '/spec/dnsConfig/options', value: [{_OPTION}]}}] : "
    "object.spec.dnsConfig.options.exists(o, o.name == 'ndots') ? [] : "
    f"[JSONPatch{{op: 'add', path: '/spec/dnsConfig/options/-', value: {_OPTION}}}]"
)


def _strip() -> str:
    places = "[" + ", ".join(map(str, range(cel.CONTAINERS))) + "]"

    def of(name: str) -> str:
        one = f"object.spec.{name}[i]"
        return (
            f"{places}.filter(i, i < size(object.spec.{name}) && has({one}.resources) && has({one}.resources.limits) "
            f"&& 'cpu' in {one}.resources.limits)"
            f".map(i, JSONPatch{{op: 'remove', path: '/spec/{name}/' + string(i) + '/resources/limits/cpu'}})"
        )

    return (
        f"!variables.strip ? [] : {of('containers')} + (has(object.spec.initContainers) ? {of('initContainers')} : [])"
    )
