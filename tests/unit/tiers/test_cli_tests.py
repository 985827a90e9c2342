# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests for Kyverno's command line as they are rendered; tests/integration/tiers_cli runs them."""

from __future__ import annotations

import functools
import itertools
import typing as t

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.hackspace.infra.plugins.filter.tier_tests import tier_tests
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import expect, policies, samples
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import Table, parse
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.resolve import resolve

BACKENDS = list(itertools.product(policies.LIMITS, policies.PODS, policies.GUARDS))
KYVERNO = ("kyverno", "kyverno", "kyverno")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def table(**more: t.Any) -> Table:
    return parse({"base": "default", **more})


@functools.cache
def rendered(base: str, backends: tuple[str, str, str] = KYVERNO) -> dict[str, t.Any]:
    return tier_tests({"base": base}, **dict(zip(("limits", "pods", "guards"), backends, strict=True)))


def documents(made: dict[str, t.Any], path: str) -> list[dict[str, t.Any]]:
    return list(yaml.load_all(made["files"][path], Loader=LOADER))


@pytest.mark.parametrize("backends", [KYVERNO, ("static", "native", "native")], ids="-".join)
def test_the_same_table_gives_the_same_files(backends: tuple[str, str, str]) -> None:
    first = rendered("default", backends)
    rendered.cache_clear()
    assert first == rendered("default", backends)
    assert list(first["files"]) == sorted(first["files"])


@pytest.mark.parametrize("backends", BACKENDS, ids="-".join)
def test_every_file_that_a_test_names_is_there_and_every_resource_is_in_it(backends: tuple[str, str, str]) -> None:
    made = rendered("default", backends)
    files = made["files"]
    seen, results, excluded = set(), 0, 0
    for path in [one for one in files if one.endswith("kyverno-test.yaml")]:
        folder = path.rpartition("/")[0]
        [test] = documents(made, path)
        named = [*test["policies"], *test["resources"], *test.get("clusterResources", [])]
        named += [test[key] for key in ("variables", "userinfo", "context") if key in test]
        named += [
            one[key] for one in test["results"] for key in ("patchedResources", "generatedResource") if key in one
        ]
        real = {one[3:] if one.startswith("../") else f"{folder}/{one}" for one in named}
        assert real <= set(files)
        seen |= {path, *real}
        there = {
            "/".join(filter(None, (one["metadata"].get("namespace"), one["metadata"]["name"])))
            for one in documents(made, f"{folder}/resources.yaml")
        }
        policy_names = {one["metadata"]["name"] for one in documents(made, next(one for one in real if "polic" in one))}
        for one in test["results"]:
            assert set(one["resources"]) <= there
            assert one["policy"] in policy_names
            assert sum(key.startswith("is") for key in one) == 1
            results += len(one["resources"])
            excluded += len(one["resources"]) * (one["result"] == "skip")
    assert seen == set(files), "nothing is written that no test reads"
    assert results == made["results"]
    assert 0 < made["excluded"] <= excluded


@pytest.mark.parametrize("base", ["default", "service_levels"])
def test_each_verdict_is_there_for_each_policy(base: str) -> None:
    made = rendered(base)
    seen: dict[str, set[str]] = {}
    for path in [one for one in made["files"] if one.endswith("kyverno-test.yaml")]:
        for one in documents(made, path)[0]["results"]:
            seen.setdefault(one["policy"], set()).add(one["result"])
    assert {"pass", "skip"} <= seen["tier-pod-defaults"]
    for guard in ("tier-priority-allowed", "tier-label-guard", "tier-quota-order"):
        assert {"pass", "fail", "skip"} <= seen[guard], guard
    generating = {
        one["metadata"]["name"] for one in documents(made, "policies/limits.yaml") if one["kind"] == "GeneratingPolicy"
    }
    assert generating == {name for name, results in seen.items() if results == {"pass"}}


def test_no_yaml_anchors() -> None:
    for text in rendered("default")["files"].values():
        assert "&id" not in text
        assert text.startswith("# Made by hackspace.infra.tier_tests")


def test_what_is_not_covered_is_said() -> None:
    rule = {"name": "no-host", "expression": "true", "message": "no host network"}
    said = " ".join(
        tier_tests(
            {"base": "default", "tiers": [{"name": "4-aux", "rules": [rule]}, {"name": "5-map", "prefixes": []}]},
            limits="static",
            pods="native",
            guards="native",
        )["not_covered"]
    )
    assert "4-aux: no-host" in said
    assert "UPDATE" in said
    assert "manifests" in said


def test_what_samples_have_in_common() -> None:
    made = tier_tests({"base": "default"}, pod_spec={"automountServiceAccountToken": False})
    for one in documents(made, "pods-4-aux/resources.yaml"):
        assert one["spec"]["automountServiceAccountToken"] is False
    wrongs: list[t.Any] = ["text", {"containers": []}]
    for wrong in wrongs:
        with pytest.raises(AnsibleFilterError, match=r"\[pod-spec\]"):
            tier_tests({"base": "default"}, pod_spec=wrong)


def test_a_wrong_table_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r"tier_tests: .*Fix:"):
        tier_tests({"base": "default", "tiers": [{"name": "4-aux", "priority": {"value": 2_000_000_000}}]})
    with pytest.raises(AnsibleFilterError, match="no backend"):
        tier_tests({"base": "default"}, pods="classic")


def test_clones_have_a_source_with_nothing_in_it() -> None:
    copied = {"name": "pull", "way": "kyverno", "source_namespace": "kyverno", "namespaces": ["4-aux-wiki", "wiki"]}
    made = tier_tests({"base": "default", "distribute": [copied]})
    [context] = documents(made, "clones/context.yaml")
    [source] = context["spec"]["resources"]
    assert source["data"] == {".dockerconfigjson": "e30="}
    assert [one["metadata"]["namespace"] for one in documents(made, "clones/generated.yaml")] == ["4-aux-wiki", "wiki"]
    [test] = documents(made, "clones/kyverno-test.yaml")
    assert test["results"][0]["resources"] == ["4-aux-wiki", "wiki"]


# -- the second implementation -------------------------------------------------------------------------------------


def _pod(**spec: t.Any) -> dict[str, t.Any]:
    return samples.pod("p", "4-aux-wiki", None, **spec)


def test_what_is_put_into_a_pod() -> None:
    given = table()
    aux = resolve(given, "4-aux-wiki")
    plain = _pod(priority=0, preemptionPolicy="PreemptLowerPriority")
    made = expect.pod(given, aux, plain)
    assert "priority" not in made["spec"]
    assert made["spec"]["priorityClassName"] == "tier-4-aux"
    assert made["spec"]["dnsConfig"] == {"options": [{"name": "ndots", "value": "2"}]}
    assert "priorityClassName" not in plain["spec"], "what was given stays as it is"
    assert expect.pod(given, resolve(given, "4-aux-wiki", {}, {given.hold: "2026-12-01"}), plain) == plain
    assert expect.pod(given, resolve(given, "kube-system"), plain) == plain
    assert expect.pod(given, resolve(given, "wiki"), plain) == plain
    assert expect.class_allowed(given, aux, made)
    assert not expect.class_allowed(given, aux, _pod(priorityClassName="tier-0-core"))


def test_accelerators_win_where_they_may() -> None:
    given = table()
    asks = {"containers": [{"name": "a", "resources": {"requests": {"nvidia.com/gpu": "1"}}}]}
    named = _pod(**asks, priorityClassName="tier-2-gpu")
    assert expect.pod(given, resolve(given, "2-gpu-a"), named)["spec"]["priorityClassName"] == "gpu-workload"
    assert expect.pod(given, resolve(given, "4-aux-a"), named)["spec"]["priorityClassName"] == "tier-2-gpu"


def test_cpu_limits_beyond_those_that_are_looked_at_stay() -> None:
    given = table()
    many = [{"name": f"c{n}", "resources": {"limits": {"cpu": "1"}}} for n in range(40)]
    made = expect.pod(given, resolve(given, "4-aux-a"), _pod(containers=many))
    assert [("cpu" in one["resources"]["limits"]) for one in made["spec"]["containers"]] == [False] * 32 + [True] * 8


@pytest.mark.parametrize(
    ("new", "old", "platform", "against"),
    [
        (("4-aux-a", {}), None, False, []),
        (("4-aux-a", {"tier": "4-aux"}), None, False, []),
        (("0-core-a", {}), None, False, ["namespace tier"]),
        (("0-core-a", {}), None, True, []),
        (("wiki", {}), None, False, []),
        (("wiki", {"tier": "0-core"}), None, False, ["tier", "namespace tier"]),
        (("wiki", {"tier": "gold"}), None, True, ["unknown label"]),
        (("0-core-a", {"tier": "4-aux"}), None, True, ["prefix and label"]),
        (("wiki", {"tier": "4-aux"}), {}, False, ["tier"]),
        (("wiki", {"resource-governance/custom-quota": "true"}), {}, False, ["resource-governance/custom-quota"]),
        (("kube-public", {"tier": "0-core"}), None, False, []),
    ],
)
def test_who_may_do_what_to_a_namespace(
    new: tuple[str, dict[str, str]], old: dict[str, str] | None, platform: bool, against: list[str]
) -> None:
    before = None if old is None else samples.namespace(new[0], old)
    assert expect.namespace_refused(table(), samples.namespace(*new), before, platform) == against


def test_samples_are_where_they_should_be() -> None:
    given = table(tiers=[{"name": "0-core", "namespaces": ["dns"]}])
    for tier in given.compiled:
        home = samples.home(given, tier)
        assert home is not None
        assert samples.resolution(given, home).tier == tier.name
    said = {samples.name_of(one): samples.resolution(given, one).source for one in samples.sources(given)}
    assert {"map", "label", "prefix", "fallback", "excluded"} == set(said.values())
    only_mapped = parse({"sources": ["map"], "tiers": [{"name": "a", "label": "", "namespaces": ["x"]}]})
    home = samples.home(only_mapped, only_mapped.tiers[0])
    assert home is not None
    assert samples.name_of(home) == "x"
    assert samples.place(only_mapped, only_mapped.tiers[0], "other") is None
