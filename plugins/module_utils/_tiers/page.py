# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The page that tells operators and tenants what the table says. Markdown, the same for the same table."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

from .._kube.normalise import quantity
from .demand import Defaults
from .guards import allowed_classes
from .model import ADMINISTRATORS, BUILT_IN, UNTIERED, WAVE_STEP, Limits, Priority, Table, Tier
from .policies import Backends, render

MARK: t.Final = "hackspace.infra.tier_docs sha256:"
_WIDTH: t.Final = 118


@dataclasses.dataclass(frozen=True)
class Page:
    """What is rendered besides the table.

    :ivar comment: what stands in a comment at the top, as a licence.
    """

    title: str = "Namespace tiers"
    comment: str = ""


def digest(written: Mapping[str, t.Any], backends: Backends) -> str:
    """Return what changes whenever the table or a backend does."""
    plain = [written, dataclasses.asdict(backends)]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def render_page(table: Table, written: Mapping[str, t.Any], backends: Backends, page: Page) -> str:
    """Return the page.

    :param written: the table as people write it, with its base filled in.
    """
    blocks: list[str] = []
    if page.comment:
        blocks.append(f"<!--\n{page.comment.strip()}\n-->")
    head = [f"# {page.title}", f"<!-- {MARK}{digest(written, backends)} -->"]
    blocks = [*blocks, *head]
    for section in (
        _intro(table),
        _overview(table),
        _belonging(table),
        *(_tier(table, tier) for tier in table.compiled),
        _classes(table),
        _gpu(table),
        _without_requests(table),
        _optouts(table),
        _credentials(table),
        _behind(table, backends),
        _trouble(table, backends),
    ):
        blocks += section
    text = "\n\n".join(blocks) + "\n"
    # A comment with a licence stands at the very top, without a line between it and the title.
    return text.replace("-->\n\n# ", "-->\n# ", 1) if page.comment else text


# -- small parts ---------------------------------------------------------------------------------------------------


def _cell(value: str) -> str:
    return value.replace("\n", " ").replace("|", "\\|") or "-"


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_cell(one) for one in row) + " |" for row in rows]
    return "\n".join(lines)


def _code(values: Iterable[str]) -> str:
    return ", ".join(f"`{one}`" for one in values)


def _wrapped(text: str, indent: str = "") -> str:
    """Break a paragraph between words; code with blanks in it stays whole."""
    lines: list[str] = []
    line = ""
    for word in _words(text):
        joined = f"{line} {word}" if line else word
        if line and len(joined) > _WIDTH:
            lines.append(line)
            line = indent + word
        else:
            line = joined
    return "\n".join([*lines, line])


def _words(text: str) -> list[str]:
    words: list[str] = []
    open_code = False
    for word in text.split(" "):
        if open_code:
            words[-1] += f" {word}"
        else:
            words.append(word)
        if word.count("`") % 2:
            open_code = not open_code
    return words


def _points(points: Iterable[str]) -> str:
    return "\n".join(_wrapped(f"- {one}", "  ") for one in points)


def _name(tier: Tier) -> str:
    return "no namespace tier" if tier.name == UNTIERED else f"namespace tier {tier.name}"


# -- sections ------------------------------------------------------------------------------------------------------


def _intro(table: Table) -> list[str]:
    return [
        _wrapped(
            "This page is made from the table of namespace tiers by `hackspace.infra.tier_docs`; what is changed here "
            "is lost. It says what a namespace gets, for those who run the cluster and for those who work in it."
        )
    ]


def _overview(table: Table) -> list[str]:
    rows = []
    for tier in table.compiled:
        priority, quota = tier.priority, tier.quota
        rows.append(
            (
                "(none)" if tier.name == UNTIERED else f"`{tier.name}`",
                priority.description if priority else "",
                f"`{priority.name}`" if priority else "",
                str(priority.value) if priority else "0",
                ", ".join(f"{v} {k}" for k, v in sorted(tier.limits.default.items())) if tier.limits else "",
                ", ".join(f"{v} {k}" for k, v in sorted(quota.hard.items())) if quota else "no quota",
            )
        )
    head = ("namespace tier", "for", "class of its pods", "value", "limit of a container that gives none", "quota")
    return ["## At a glance", _grid(head, rows)]


_SOURCE: t.Final = {
    "map": "the list in the table (column *listed*)",
    "label": "the label `{label}` of the namespace",
    "prefix": "the beginning of its name; the longest that fits",
}


def _belonging(table: Table) -> list[str]:
    order = [_SOURCE[one].format(label=table.label) for one in table.sources]
    rows = [
        (
            f"`{tier.name}`",
            _code(f"{one}*" for one in tier.prefixes) if "prefix" in table.sources else "",
            f"`{table.label}={tier.label}`" if tier.label and "label" in table.sources else "",
            _code(sorted(tier.namespaces)) if "map" in table.sources else "",
        )
        for tier in table.tiers
    ]
    other = (
        f"Every other namespace belongs to namespace tier {table.fallback_tier}."
        if table.fallback_tier
        else "Every other namespace has none; what it gets is under [no namespace tier](#no-namespace-tier)."
    )
    return [
        "## Which namespace belongs where",
        _wrapped("The first of these that says something decides:"),
        "\n".join(f"{place}. {one}" for place, one in enumerate(order, 1)),
        _grid(("namespace tier", "name begins with", "label", "listed"), rows),
        _wrapped(other),
        _wrapped(f"Never touched are {_code(sorted(table.exclusions))}.")
        if table.exclusions
        else "No namespace is left out.",
    ]


def _below(table: Table, priority: Priority) -> list[str]:
    """Return the classes whose pods make room for pods of this class, the highest first."""
    if priority.preemption == "Never":
        return []
    every = {one.name: one for tier in table.tiers for one in [tier.priority] if one}
    if table.gpu:
        every[table.gpu.priority.name] = table.gpu.priority
    lower = [one for one in every.values() if one.value < priority.value]
    return [one.name for one in sorted(lower, key=lambda one: (-one.value, one.name))]


def _preemption(table: Table, priority: Priority) -> str:
    if priority.preemption == "Never":
        return "When room is short, its pods wait; they displace nobody (`preemptionPolicy: Never`)."
    below = _below(table, priority)
    if not below:
        return "When room is short, its pods displace pods without a class only."
    return f"When room is short, its pods displace those of {_code(below)} and pods without a class."


def _limit_rows(limits: Limits) -> Iterator[Sequence[str]]:
    parts = (limits.default_request, limits.default, limits.min, limits.max, limits.ratio)
    for resource in sorted({key for part in parts for key in part}):
        yield (resource, *(part.get(resource, "") for part in parts))


def _tier(table: Table, tier: Tier) -> list[str]:
    untiered = tier.name == UNTIERED
    found = ["## No namespace tier" if untiered else f"## Namespace tier {tier.name}"]
    if tier.priority and tier.priority.description:
        found.append(_wrapped(f"{tier.priority.description.rstrip('.')}."))
    points = []
    if tier.priority:
        priority = tier.priority
        made = "Kubernetes' own class" if priority.built_in else "class"
        wave = f", wave {priority.wave}" if priority.wave is not None else ""
        points.append(f"Pods get the {made} `{priority.name}` (value {priority.value}{wave}).")
        points.append(_preemption(table, priority))
    else:
        points.append("Pods get no class; they have priority 0 and are the first to go.")
    allowed = [one for one in allowed_classes(table, tier) if one]
    if allowed:
        points.append(f"Pods may name {_code(allowed)}; any other class is refused.")
    else:
        points.append("Pods may name no class.")
    if tier.pods.ndots is not None:
        points.append(f"Pods get the DNS option `ndots: {tier.pods.ndots}`, unless they give their own.")
    if tier.pods.strip_cpu_limits:
        points.append("CPU limits are taken away; CPU requests stay.")
    if tier.gpu and table.gpu:
        points.append(f"Pods that ask for {_code(table.gpu.resources)} get the class `{table.gpu.priority.name}`.")
    if tier.daemonsets:
        points.append("DaemonSets run here: with every node there is one pod more.")
    points += [f"Rule {one.name}: {one.message.rstrip('.')} (`{one.expression}`)." for one in tier.rules]
    points.append(_who_creates(table, tier))
    found.append(_points(points))
    if tier.limits:
        head = ("resource", "request if none is given", "limit if none is given", "least", "most", "limit/request")
        found.append(f"LimitRange `{table.limit_range}`, for each container:")
        found.append(_grid(head, _limit_rows(tier.limits)))
    else:
        found.append("No LimitRange.")
    if tier.quota:
        scopes = f", for pods that are {_code(tier.quota.scopes)}" if tier.quota.scopes else ""
        found.append(f"ResourceQuota `{table.quota}`, for the whole namespace{scopes}:")
        found.append(_grid(("resource", "at most"), sorted(tier.quota.hard.items())))
    else:
        found.append("No ResourceQuota.")
    if tier.limits and tier.quota:
        fits = _fits(tier)
        if fits:
            found.append(_wrapped(fits))
    return found


def _who_creates(table: Table, tier: Tier) -> str:
    if tier.name == UNTIERED:
        return "Everybody who may create namespaces may create one here."
    if tier.name in table.guard.self_service:
        return "Everybody who may create namespaces may create one in this namespace tier."
    return "Only platform groups may create a namespace in this namespace tier."


def _fits(tier: Tier) -> str:
    """Return how many pods fit whose one container gives nothing."""
    if tier.limits is None:
        raise AssertionError("the caller has seen to it")
    if tier.quota is None:
        raise AssertionError("the caller has seen to it")
    counts: list[tuple[int, str]] = []
    for key, amount in tier.quota.hard.items():
        hard = quantity(amount)
        if hard is None:
            continue
        if key in ("pods", "count/pods"):
            counts.append((int(hard), key))
            continue
        kind, _dot, resource = key.partition(".")
        source = {"requests": tier.limits.default_request, "limits": tier.limits.default}.get(kind, {})
        if kind == "requests" and resource not in source:
            # A limit without a request is its request as well.
            source = tier.limits.default
        each = quantity(source.get(resource, ""))
        if each:
            counts.append((int(Fraction(hard) / each), key))
    if not counts:
        return ""
    count, key = min(counts)
    return f"So {count} pods fit with one container that gives nothing; `{key}` is the first to run out."


def _classes(table: Table) -> list[str]:
    """Return the classes in the order in which pods stay."""
    every: dict[str, tuple[Priority, list[str]]] = {}
    for tier in table.tiers:
        if tier.priority:
            every.setdefault(tier.priority.name, (tier.priority, []))[1].append(tier.name)
    if table.gpu:
        every.setdefault(table.gpu.priority.name, (table.gpu.priority, []))[1].append("accelerators")
    for name, value in BUILT_IN.items():
        every.setdefault(name, (Priority(name, value, built_in=True), []))
    rows = []
    for priority, used in sorted(every.values(), key=lambda pair: (-pair[0].value, pair[0].name)):
        who = ", ".join(used) or "Kubernetes itself"
        waits = "waits" if priority.preemption == "Never" else "displaces those below"
        wave = "" if priority.wave is None else str(priority.wave)
        rows.append((f"`{priority.name}`", str(priority.value), wave, who, waits))
    rows.append(("(none)", "0", "", "pods without a class", "displaces those below"))
    found = [
        "## Who stays when room is short",
        _grid(("class", "value", "wave", "of", "when room is short"), rows),
    ]
    waves = [(p.wave, p) for p, _used in every.values() if p.wave is not None]
    if waves:
        found.append(
            _wrapped(
                f"One number says when things start and who stays: wave 0 is 1000000000, each later one {WAVE_STEP} "
                "less. Give the wave of the class to Flux or Argo CD as the order in which to start."
            )
        )
        order = [
            (str(wave), f"`{priority.name}`", str(priority.value))
            for wave, priority in sorted(waves, key=lambda pair: pair[0])
        ]
        found += ["### Waves", _grid(("wave", "class", "value"), order)]
    found.append(
        _wrapped(
            "The value of a class cannot be changed: another value is another class or one made anew, and pods that "
            "run keep the number that they started with."
        )
    )
    return found


def _gpu(table: Table) -> list[str]:
    if not table.gpu:
        return []
    tiers = [tier.name for tier in table.compiled if tier.gpu]
    where = f"in {', '.join(tiers)}" if tiers else "in no namespace tier of this table"
    return [
        "## Accelerators",
        _wrapped(
            f"A pod of which a container or init container asks for {_code(table.gpu.resources)} gets the class "
            f"`{table.gpu.priority.name}` (value {table.gpu.priority.value}) {where}, even if it names the "
            "class of its namespace tier. Elsewhere it gets what other pods get."
        ),
    ]


def _without_requests(table: Table) -> list[str]:
    rows = []
    for tier in table.compiled:
        if not tier.limits:
            rows.append((_name(tier), "nothing", "nothing"))
            continue
        requests = {**tier.limits.default, **tier.limits.default_request}
        rows.append(
            (
                _name(tier),
                ", ".join(f"{k} {v}" for k, v in sorted(requests.items())) or "nothing",
                ", ".join(f"{k} {v}" for k, v in sorted(tier.limits.default.items())) or "nothing",
            )
        )
    example = next((tier for tier in table.tiers if tier.name in table.guard.self_service), table.tiers[-1])
    found = [
        "## A container that gives no requests",
        _wrapped(
            "It gets what its namespace tier gives, whether it needs more or less; with too small a memory limit it is "
            "killed again and again (`OOMKilled`). Give requests and a memory limit of your own."
        ),
        _grid(("in", "requests", "limits"), rows),
        _wrapped(_quality(table)),
        f"A namespace and a pod of {_name(example)}:",
    ]
    return [*found, _example(table, example)]


def _quality(table: Table) -> str:
    """Return which quality of service a pod has that gives nothing."""
    found: dict[str, list[str]] = {"BestEffort": [], "Guaranteed": []}
    for tier in table.compiled:
        made = Defaults.of(tier.limits)
        limits = {key: value for key, value in made.limits.items() if key in ("cpu", "memory")}
        requests = {key: value for key, value in made.requests.items() if key in ("cpu", "memory")}
        if not limits and not requests:
            found["BestEffort"].append(_name(tier))
        elif len(limits) == 2 and limits == requests:
            found["Guaranteed"].append(_name(tier))
    others = [f"{name} in {', '.join(tiers)}" for name, tiers in found.items() if tiers]
    if others:
        return f"Pods that give nothing are {' and '.join(others)}, and otherwise Burstable."
    return "Pods are Burstable in all namespace tiers, unless they give a CPU limit that stays."


def _example(table: Table, tier: Tier) -> str:
    prefix = tier.prefixes[0] if tier.prefixes and "prefix" in table.sources else ""
    name = f"{prefix}wiki" if prefix else (sorted(tier.namespaces) or ["wiki"])[0]
    lines = ["```yaml", "apiVersion: v1", "kind: Namespace", "metadata:", f"  name: {name}"]
    if not prefix and tier.label and name not in tier.namespaces:
        lines += [f"  labels: {{{table.label}: {tier.label}}}"]
    request = {**(tier.limits.default_request if tier.limits else {})} or {"cpu": "50m", "memory": "64Mi"}
    limit = (tier.limits.default.get("memory") if tier.limits else None) or "256Mi"
    shown = ", ".join(f"{key}: {value}" for key, value in sorted(request.items()))
    lines += [
        "---",
        "apiVersion: v1",
        "kind: Pod",
        f"metadata: {{name: wiki, namespace: {name}}}",
        "spec:",
        "  containers:",
        "    - name: wiki",
        "      image: registry.example/wiki:1",
        "      resources:",
        f"        requests: {{{shown}}}",
        f"        limits: {{memory: {limit}}}",
        "```",
    ]
    return "\n".join(lines)


def _optouts(table: Table) -> list[str]:
    rows = [
        (f'label `{table.optout_limits}: "true"`', f"no LimitRange `{table.limit_range}`"),
        (f'label `{table.optout_quota}: "true"`', f"no ResourceQuota `{table.quota}`"),
        (
            f"annotation `{table.hold}`, with a date",
            "nothing is put into pods, and no class is refused; LimitRange and ResourceQuota apply all the same",
        ),
    ]
    groups = sorted(set(table.guard.groups) - {ADMINISTRATORS})
    who = ["the administrators whom Kubernetes itself knows"] if ADMINISTRATORS in table.guard.groups else []
    who += [f"groups {_code(groups)}"] if groups else []
    who += [f"users {_code(sorted(table.guard.users))}"] if table.guard.users else []
    may = ", ".join(who) or "nobody"
    free = (
        f" Everybody who may create namespaces may create one in {', '.join(table.guard.self_service)}, with its label."
        if table.guard.self_service
        else ""
    )
    return [
        "## Opt-outs and hold",
        _grid(("on the namespace", "does"), rows),
        _wrapped(f"These, and the label `{table.label}`, may be set and changed by {may} only.{free}"),
    ]


def _credentials(table: Table) -> list[str]:
    if not table.secrets:
        return []
    rows = []
    for one in table.secrets:
        goes = _code(one.namespaces) if one.namespaces else _code(f"{k}={v}" for k, v in sorted(one.labels.items()))
        comes = (
            f"OpenBao, `{one.path}`"
            if one.way != "kyverno"
            else f"a copy of the one in namespace `{one.source_namespace}`"
        )
        rows.append((f"`{one.name}`", {"registry": "registry credential", "tls": "TLS"}[one.kind], comes, goes))
    return ["## Credentials", _grid(("Kubernetes Secret", "kind", "from", "in namespaces"), rows)]


_WAY: t.Final = {
    "limits": {
        "static": "manifests for the namespaces that the platform knows; a new one waits until it is listed",
        "kyverno": "generated by Kyverno for every namespace, seconds after it appears",
    },
    "pods": {"native": "inside the API server", "kyverno": "by Kyverno"},
    "guards": {"native": "inside the API server", "kyverno": "by Kyverno"},
}
_DOES: t.Final = {
    "limits": "LimitRange and ResourceQuota",
    "pods": "what is put into pods",
    "guards": "what is refused",
}


def _behind(table: Table, backends: Backends) -> list[str]:
    chosen = dataclasses.asdict(backends)
    rows = [(_DOES[one], _WAY[one][chosen[one]]) for one in ("limits", "pods", "guards")]
    policies = render(table, backends).failure_policies
    found = ["## What does it", _grid(("what", "how"), rows)]
    if policies:
        grouped: dict[tuple[str, str], list[str]] = {}
        for one in policies:
            grouped.setdefault((one["kind"], one["when_down"]), []).append(one["name"])
        found.append(
            _grid(
                ("policies", "when they cannot be evaluated"),
                [(f"{kind} {_code(names)}", said) for (kind, said), names in grouped.items()],
            )
        )
    return found


def _trouble(table: Table, backends: Backends) -> list[str]:
    points = [
        "*forbidden: exceeded quota*: the namespace is full. Ask for more, or lower requests; what runs stays.",
        "*this PriorityClass is not allowed*: leave `priorityClassName` out; the right one is put in.",
        "*only platform groups may ...*: somebody of those named above has to do it.",
        f"A pod must start now and a policy is in its way: a platform group holds its namespace, "
        f"`kubectl annotate namespace NAME {table.hold}=DATE`, and takes that away afterwards with "
        f"`kubectl annotate namespace NAME {table.hold}-`.",
    ]
    if "kyverno" in dataclasses.asdict(backends).values():
        points.append(
            "Kyverno was down: pods made meanwhile lack class and options until they are made again, and namespaces "
            "made meanwhile get their limits when it is back. Who runs the cluster finds and renews such pods; those "
            "of a workload may be deleted by hand."
        )
    points.append(
        "For those who run the cluster: pods that lack what they should have, namespaces that are full, and what a "
        "new table would break are in the impact report of `hackspace.infra`."
    )
    return ["## When something is in the way", _points(points)]
