# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generated tests pass on the real Kyverno command line, and fail when a policy is broken."""

from __future__ import annotations

import copy
import dataclasses
import typing as t
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.filter.tier_tests import tier_tests
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import limits, samples
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import parse
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.policies import Backends, render

from tests.integration.tiers_cli.agreement import agree
from tests.integration.tiers_cli.conftest import Kyverno, failures, write

Object = dict[str, t.Any]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: All that a table can say, besides what the shipped one does.
TABLE: Object = {
    "base": "default",
    "tiers": [
        {"name": "0-core", "namespaces": ["dns"]},
        {"name": "3-edge", "prefixes": ["3-edge-", "4-aux-edge-"], "label": "edge"},
        {"name": "4-aux", "allowed_priority_classes": ["batch-night"]},
    ],
    "distribute": [
        {"name": "pull", "way": "kyverno", "source_namespace": "kyverno", "namespaces": ["4-aux-wiki", "wiki"]}
    ],
}


@pytest.mark.parametrize(
    ("table", "backends"),
    [
        (TABLE, {"limits": "kyverno", "pods": "kyverno", "guards": "kyverno"}),
        (TABLE, {"limits": "static", "pods": "native", "guards": "native"}),
    ],
    ids=["kyverno", "native"],
)
def test_every_generated_test_passes(kyverno: Kyverno, tmp_path: Path, table: Object, backends: dict[str, str]) -> None:
    made = tier_tests(table, **backends)
    outcomes = kyverno.test_each(write(tmp_path, made["files"]))
    assert failures(outcomes) == []
    assert sum(len(one.rows) for one in outcomes) == made["results"]
    assert sum(len(one.excluded) for one in outcomes) == made["excluded"]


# -- broken policies -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A way to break a policy. :ivar folder: the tests that must see it."""

    name: str
    file: str
    policy: str
    folder: str
    change: Callable[[Object], object]


def variable(name: str, expression: str) -> Callable[[Object], object]:
    def change(spec: Object) -> None:
        [one] = [one for one in spec["variables"] if one["name"] == name]
        one["expression"] = expression

    return change


def always(number: int) -> Callable[[Object], object]:
    def change(spec: Object) -> None:
        spec["validations"][number]["expression"] = "true"

    return change


def replaced(old: str, new: str, *path: str | int) -> Callable[[Object], object]:
    def change(spec: Object) -> None:
        place: t.Any = spec
        for key in path[:-1]:
            place = place[key]
        assert old in place[path[-1]]
        place[path[-1]] = place[path[-1]].replace(old, new)

    return change


def within(name: str, old: str, new: str) -> Callable[[Object], object]:
    def change(spec: Object) -> None:
        [one] = [one for one in spec["variables"] if one["name"] == name]
        assert old in one["expression"]
        one["expression"] = one["expression"].replace(old, new)

    return change


def also(expression: str) -> Callable[[Object], object]:
    def change(spec: Object) -> None:
        spec["matchConditions"].append({"name": "also", "expression": expression})

    return change


def mutants() -> list[Mutant]:
    pods, guard, labels = "tier-pod-defaults", "tier-priority-allowed", "tier-label-guard"
    aux, spaces, generate = "pods-4-aux", "pods-by-namespace", ("generate", 0, "expression")
    return [
        Mutant("no-class", "pods", pods, aux, lambda spec: spec["mutations"].pop(0)),
        Mutant("no-ndots", "pods", pods, aux, lambda spec: spec["mutations"].pop(1)),
        Mutant("cpu-limits-stay", "pods", pods, aux, lambda spec: spec["mutations"].pop(2)),
        Mutant("no-gpu", "pods", pods, "pods-2-gpu", variable("gpu", "false")),
        Mutant("gpu-everywhere", "pods", pods, aux, within("gpu", "variables.tier in ['2-gpu']", "true")),
        Mutant("class-swapped", "pods", pods, aux, within("priorityClass", "'tier-4-aux'", "'tier-3-edge'")),
        Mutant("named-class-overwritten", "pods", pods, aux, variable("setPriority", "!variables.held")),
        Mutant("no-hold", "pods", pods, spaces, variable("held", "false")),
        Mutant("one-tier-for-all", "pods", pods, spaces, variable("tier", "'4-aux'")),
        Mutant("exclusions-forgotten", "pods", pods, spaces, lambda spec: spec.pop("matchConditions")),
        Mutant(
            "selector-forgotten", "pods", pods, spaces, lambda spec: spec["matchConstraints"].pop("namespaceSelector")
        ),
        Mutant("any-class", "pods", guard, aux, always(4)),
        Mutant("any-class-untiered", "pods", guard, "pods-untiered", always(5)),
        Mutant("guard-ignores-hold", "pods", guard, spaces, variable("held", "false")),
        *(Mutant(f"label-rule-{n}", "labels", labels, "labels-tenant", always(n)) for n in (1, 2, 3, 4)),
        *(Mutant(f"label-rule-{n}", "labels", labels, "labels-platform-group", always(n)) for n in (5, 6)),
        Mutant("nobody-is-platform", "labels", labels, "labels-platform-user", variable("platform", "false")),
        Mutant("limits-swapped", "limits", "tier-limits", "limits", replaced("64Mi", "65Mi", *generate)),
        Mutant("quota-swapped", "limits", "tier-quota", "limits", replaced("'20'", "'21'", *generate)),
        Mutant("no-fallback", "limits", "tier-limits", "limits", also("object.metadata.name != 'sample-untiered'")),
        Mutant("any-order", "order", "tier-quota-order", "quota-order", always(0)),
        Mutant("clone-elsewhere", "clones", "tier-copy-pull", "clones", also("object.metadata.name == 'wiki'")),
    ]


#: Of the many namespaces, those that a broken policy is tried on.
FEW = (
    "0-core-conflict",
    "0-core-source",
    "4-aux-held",
    "4-aux-own-limits",
    "4-aux-own-quota",
    "4-aux-source",
    "kube-sample",
    "kyverno",
    "sample-unknown-label",
    "sample-untiered",
)


def few(files: Mapping[str, str], folder: str) -> dict[str, str | list[Object]]:
    """Return the files of a test, of many namespaces a few."""
    part: dict[str, str | list[Object]] = {k: text for k, text in files.items() if k.startswith(f"{folder}/")}
    if not folder.startswith(("pods-by", "labels", "limits")):
        return part
    found = yaml.load_all(files[f"{folder}/resources.yaml"], Loader=LOADER)
    part[f"{folder}/resources.yaml"] = [
        one for one in found if one["metadata"].get("namespace", one["metadata"]["name"]) in FEW
    ]
    [test] = yaml.load_all(files[f"{folder}/kyverno-test.yaml"], Loader=LOADER)
    for one in test["results"]:
        one["resources"] = [name for name in one["resources"] if name.split("/")[0] in FEW]
    test["results"] = [one for one in test["results"] if one["resources"]]
    part[f"{folder}/kyverno-test.yaml"] = [test]
    return part


def test_broken_policies_are_found(kyverno: Kyverno, tmp_path: Path) -> None:
    """Every fourth; tests/long tries all."""
    assert unseen(kyverno, tmp_path, mutants()[::4]) == []


def unseen(kyverno: Kyverno, folder: Path, made: list[Mutant]) -> list[str]:
    """Return the mutants that no test sees."""
    files = tier_tests(TABLE)["files"]
    folders = []
    for mutant in made:
        documents = list(yaml.load_all(files[f"policies/{mutant.file}.yaml"], Loader=LOADER))
        [policy] = [one for one in documents if one["metadata"]["name"] == mutant.policy]
        whole = copy.deepcopy(policy)
        mutant.change(policy["spec"])
        assert policy != whole, mutant.name
        part = few(files, mutant.folder)
        [found] = write(folder / mutant.name, {**part, f"policies/{mutant.file}.yaml": documents})
        folders.append(found)
    return [
        f"{mutant.name}: {outcome.output[-800:]}"
        for mutant, outcome in zip(made, kyverno.test_each(folders), strict=True)
        if not outcome.failed
    ]


# -- what the tests cannot say -------------------------------------------------------------------------------------


def test_namespaces_get_exactly_their_limits(kyverno: Kyverno, tmp_path: Path) -> None:
    """A policy that generates nothing has no result in ``kyverno test``; ``kyverno apply`` shows what was generated."""
    table = parse(TABLE)
    spaces = [*samples.sources(table), *samples.held(table), *samples.opted_out(table)]
    policies = [one for one in render(table, Backends()).objects if one["kind"] == "GeneratingPolicy"]
    wanted = [one for one in policies if one["metadata"]["name"] in ("tier-limits", "tier-quota")]
    write(tmp_path, {"policies.yaml": wanted, "namespaces.yaml": spaces})
    done = kyverno.run(
        "apply", str(tmp_path / "policies.yaml"), "--resource", str(tmp_path / "namespaces.yaml"), "--remove-color"
    )
    generated = {
        (one["metadata"]["namespace"], one["kind"], one["metadata"]["name"])
        for text in done.stdout.split("\n---")
        for one in [_document(text)]
        if one.get("kind") in ("LimitRange", "ResourceQuota")
    }
    assert generated == {
        (samples.name_of(space), kind, name)
        for space in spaces
        for kind, name, _spec in limits.wanted(table, samples.resolution(table, space))
    }, done.stdout[-1000:] + done.stderr[-1000:]


def _document(text: str) -> Object:
    """Return the object in a part of the output; it begins after a line for people."""
    start = text.find("apiVersion:")
    if start < 0:
        return {}
    found = yaml.safe_load(text[start:])
    return found if isinstance(found, dict) else {}


# -- the corpus ----------------------------------------------------------------------------------------------------


def test_the_command_line_and_the_resolver_agree_on_the_corpus(kyverno: Kyverno, tmp_path: Path) -> None:
    agree(kyverno, tmp_path, "default", Backends("static", "kyverno", "kyverno"), namespaces=False)
