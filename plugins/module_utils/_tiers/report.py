# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The impact report in one piece: what is judged, what could not be seen, and tables for people."""

from __future__ import annotations

import collections
import dataclasses
import textwrap
import typing as t
from collections.abc import Collection, Iterable, Mapping, Sequence

from . import policies
from .findings import Finding, Target, errors, findings
from .impact import OK, VERDICTS, check_verdicts, failing, impact
from .live import Seen
from .model import Table
from .resolve import of_object

#: What else than verdicts may fail a run: errors in the table or in policies.
FINDING_ERRORS: t.Final = "finding-errors"
FAIL_ON: t.Final = (*VERDICTS, FINDING_ERRORS)
#: Of entries of one verdict about one namespace, this many are written out in tables.
_SHOWN: t.Final = 3
_WIDTH: t.Final = 80

Row = Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the report is about.

    :ivar old: the table before, if it is known. :ivar absent: kinds of which there are none, by somebody's word.
    :ivar fail_on: verdicts that are to fail a run. :ivar details: whether the numbers of all quotas are wanted.
    """

    old: Table | None
    new: Table
    target: Target
    more_nodes: int = 1
    absent: tuple[str, ...] = ()
    fail_on: tuple[str, ...] = ()
    details: bool = False


def check_fail_on(chosen: Iterable[str]) -> None:
    """Refuse what is no verdict."""
    check_verdicts(chosen, FAIL_ON)


def report(asked: Asked, seen: Seen) -> dict[str, t.Any]:
    """Return the whole report as plain data."""
    check_fail_on(asked.fail_on)
    unseen = seen.unseen(asked.absent)
    rows = impact(asked.old, asked.new, seen.objects, more_nodes=asked.more_nodes, unseen=unseen)
    known = [of_object(asked.new, one) for one in seen.objects if one["kind"] == "Namespace"]
    target = dataclasses.replace(asked.target, objects=tuple(seen.objects), policies=tuple(seen.policies))
    found = findings(asked.new, target)
    compiled = policies.render(asked.new, target.backends, known)
    worst = _worst(row["verdict"] for row in rows)
    counts = collections.Counter(row["verdict"] for row in rows)
    failed = failing(rows, [one for one in asked.fail_on if one in VERDICTS])
    if FINDING_ERRORS in asked.fail_on:
        failed += [f"table: {one.rule} at {one.field}" for one in errors(found)]
    made: dict[str, t.Any] = {
        "verdict": worst if rows else "not-seen",
        "complete": not unseen,
        "not_seen": unseen,
        "counts": {one: counts[one] for one in (*VERDICTS, OK) if counts[one]},
        "namespaces": rows if asked.details else [{k: v for k, v in row.items() if k != "quotas"} for row in rows],
        "findings": [one.as_dict() for one in found],
        "compiled": {
            "objects": len(compiled.objects),
            "failure_policies": [dict(one) for one in compiled.failure_policies],
            "warnings": list(compiled.warnings),
        },
        "failing": failed,
    }
    # The same is a verdict about the namespace.
    shown = [one for one in found if one.rule != "tier-conflict"]
    made["table"] = table(made, shown)
    made["markdown"] = markdown(made, shown)
    return made


def warnings(asked: Asked, seen: Seen, made: Mapping[str, t.Any]) -> list[str]:
    """Return what the report could not look at, for people."""
    said = []
    absent = [kind for kind in asked.absent if kind in seen.asked]
    if made["not_seen"]:
        whys = [f"{kind} ({seen.refused.get(kind, 'not in the dump')})" for kind in made["not_seen"]]
        said.append(f"not seen, so that no namespace is called ok: {', '.join(whys)}.")
    others = sorted(f"{kind} ({why})" for kind, why in seen.refused.items() if kind not in made["not_seen"])
    if others:
        said.append(f"not looked at: {', '.join(others)}.")
    if absent:
        said.append(f"there are objects of absent_kinds: {', '.join(sorted(absent))}.")
    if seen.without_managers:
        said.append(
            "no LimitRange or ResourceQuota says who wrote its fields (kubectl get --show-managed-fields): "
            "second owners are seen by labels only."
        )
    keys = sorted({key for row in made["namespaces"] for key in row["not_reckoned"]})
    if keys:
        said.append(f"keys of quotas that are not reckoned: {', '.join(keys)}.")
    rules = [tier.name for tier in asked.new.compiled if tier.rules]
    if rules:
        said.append(f"rules in CEL are not judged here: namespace tiers {', '.join(rules)}.")
    return said


def _worst(verdicts: Iterable[str]) -> str:
    order = {one: place for place, one in enumerate((*VERDICTS, OK))}
    return min(verdicts, key=order.__getitem__, default=OK)


# -- for people ----------------------------------------------------------------------------------------------------


def _grouped(row: Row) -> list[tuple[str, str]]:
    """Return verdict and text, the entries of one verdict together."""
    by: dict[str, list[str]] = {}
    for one in row["verdicts"]:
        by.setdefault(one["verdict"], []).append(f"{one['what']}: {one['message']}" if one["what"] else one["message"])
    made = []
    for verdict, texts in by.items():
        shown = texts[:_SHOWN]
        if len(texts) > _SHOWN:
            shown.append(f"and {len(texts) - _SHOWN} more")
        made.append((verdict, "; ".join(shown)))
    return made


def _tier(row: Row) -> str:
    name = row["tier"] or "excluded"
    before = row["before"]
    return f"{before} -> {name}" if before and before != row["tier"] else name


def _summary(made: Mapping[str, t.Any], found: Collection[Finding]) -> str:
    counts = ", ".join(f"{number} {verdict}" for verdict, number in made["counts"].items())
    errors = sum(one.severity == "error" for one in found)
    text = (
        f"verdict: {made['verdict']}. {len(made['namespaces'])} namespaces by their worst verdict: {counts or 'none'}. "
    )
    text += f"Table: {errors} errors, {len(found) - errors} warnings."
    if made["not_seen"]:
        text += f" NOT SEEN: {', '.join(made['not_seen'])}."
    return text


def table(made: Mapping[str, t.Any], found: Sequence[Finding]) -> list[str]:
    """Return the report for a terminal, line by line; namespaces that are ok are only counted."""
    cells = [("NAMESPACE", "NAMESPACE TIER", "VERDICT", "WHAT")]
    for row in made["namespaces"]:
        for place, (verdict, text) in enumerate(_grouped(row)):
            first = (row["namespace"], _tier(row)) if not place else ("", "")
            cells.append((*first, verdict, text))
    for one in found:
        cells.append(("(table)", one.tier or "-", one.severity, f"{one.field}: {one.message}"))
    widths = [max(len(cell[place]) for cell in cells) for place in range(3)]
    lines = []
    for cell in cells:
        head = "  ".join(text.ljust(width) for text, width in zip(cell[:3], widths, strict=True))
        for place, text in enumerate(textwrap.wrap(cell[3], _WIDTH, break_on_hyphens=False) or [""]):
            lines.append(f"{head if not place else ' ' * len(head)}  {text}".rstrip())
    return [
        *(lines if len(cells) > 1 else []),
        *textwrap.wrap(_summary(made, found), _WIDTH + 40, break_on_hyphens=False),
    ]


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def markdown(made: Mapping[str, t.Any], found: Sequence[Finding]) -> str:
    """Return the report as Markdown, for a comment on a change."""
    lines = ["## Impact of the namespace tiers", "", _summary(made, found), ""]
    rows = [
        f"| {_cell(row['namespace'])} | {_cell(_tier(row))} | {verdict} | {_cell(text)} |"
        for row in made["namespaces"]
        for verdict, text in _grouped(row)
    ]
    if rows:
        lines += ["| namespace | namespace tier | verdict | what |", "|---|---|---|---|", *rows, ""]
    changes = [(row["namespace"], row["changes"]) for row in made["namespaces"] if row["changes"]]
    if changes:
        lines += ["| namespace | changes |", "|---|---|"]
        lines += [f"| {_cell(name)} | {_cell('; '.join(texts))} |" for name, texts in changes]
        lines.append("")
    if found:
        lines += ["| the table itself | severity | fix |", "|---|---|---|"]
        lines += [f"| {_cell(one.as_dict()['message'])} | {one.severity} | {_cell(one.fix)} |" for one in found]
        lines.append("")
    return "\n".join(lines)
