# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table becomes objects, the same for every run, and the same decisions for every backend."""

from __future__ import annotations

import itertools
import json
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import cel, findings, limits
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import Table, parse
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.policies import (
    GUARDS,
    LIMITS,
    PODS,
    Backends,
    Compiled,
    render,
)
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.resolve import resolve

NAMES = ("4-aux-wiki", "2-gpu-train", "wiki", "kube-system", "rook-ceph")
ALL = [Backends(*one) for one in itertools.product(LIMITS, PODS, GUARDS)]


def table(base: str = "default", **over: t.Any) -> Table:
    return parse({"base": base, **over})


def compiled(backends: Backends | None = None, given: Table | None = None) -> Compiled:
    given = given or table()
    return render(given, backends or Backends(), [resolve(given, name) for name in NAMES])


def of_kind(result: Compiled, kind: str) -> dict[str, dict[str, t.Any]]:
    return {one["metadata"]["name"]: one for one in result.objects if one["kind"] == kind}


@pytest.mark.parametrize("base", ["default", "service_levels"])
@pytest.mark.parametrize("backends", ALL, ids=str)
def test_the_same_table_gives_the_same_objects(backends: Backends, base: str) -> None:
    first, again = (json.dumps(compiled(backends, table(base)).as_dict()) for _again in range(2))
    assert first == again


@pytest.mark.parametrize("base", ["default", "service_levels"])
@pytest.mark.parametrize("backends", ALL, ids=str)
def test_what_is_rendered_breaks_none_of_the_rules(backends: Backends, base: str) -> None:
    given = table(base)
    target = findings.Target(backends, (1, 36, 3), (1, 19, 1), policies=compiled(backends, given).objects, strict=True)
    assert findings.findings(given, target) == []


@pytest.mark.parametrize("backends", ALL, ids=str)
def test_everything_carries_our_mark_and_a_name_of_its_own(backends: Backends) -> None:
    result = compiled(backends)
    for one in result.objects:
        assert one["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "hackspace.infra"
        assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "namespace-tiers"
    ids = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in result.objects]
    assert len(ids) == len(set(ids))
    kinds = [one["kind"] for one in result.objects]
    assert kinds == sorted(kinds, key=kinds.index), "each kind stands together"
    assert kinds[0] == "PriorityClass"


def test_classes() -> None:
    classes = of_kind(compiled(), "PriorityClass")
    assert {name: one["value"] for name, one in classes.items()} == {
        "gpu-workload": 1_200_000,
        "tier-0-core": 1_000_000,
        "tier-1-cluster": 800_000,
        "tier-2-gpu": 600_000,
        "tier-3-edge": 400_000,
        "tier-4-aux": 200_000,
    }
    assert {name for name, one in classes.items() if one["preemptionPolicy"] == "Never"} == {"tier-4-aux"}
    # The server leaves a false one out, so that it would look changed in every run.
    assert not any("globalDefault" in one for one in classes.values())


def test_service_levels_follow_the_waves_and_make_no_built_in_class() -> None:
    classes = of_kind(compiled(given=table("service_levels")), "PriorityClass")
    assert "system-cluster-critical" not in classes
    values = [classes[f"tier-{name}"]["value"] for name in ("sl1-critical", "sl2-standard", "sl3-internal")]
    assert values == [990_000_000, 980_000_000, 970_000_000]


def test_static_limits_for_known_namespaces_the_limit_range_first() -> None:
    result = compiled(Backends("static", "native", "native"))
    assert [
        (one["kind"], one["metadata"]["namespace"])
        for one in result.objects
        if one["kind"] in ("LimitRange", "ResourceQuota")
    ] == [
        ("LimitRange", "2-gpu-train"),
        ("LimitRange", "4-aux-wiki"),
        ("LimitRange", "wiki"),
        ("ResourceQuota", "2-gpu-train"),
        ("ResourceQuota", "4-aux-wiki"),
    ]
    quota = next(
        one for one in result.objects if one["kind"] == "ResourceQuota" and one["metadata"]["namespace"] == "4-aux-wiki"
    )
    assert quota["spec"] == {
        "hard": {
            "limits.memory": "16Gi",
            "pods": "20",
            "requests.cpu": "2",
            "requests.memory": "3Gi",
            "requests.nvidia.com/gpu": "0",
        }
    }
    assert not any("kyverno" in one["apiVersion"] for one in result.objects)
    assert "not in the list" in result.warnings[0]


def test_opt_outs_take_away_exactly_their_own() -> None:
    given = table()
    for label, left in (
        ("custom-quota", ["LimitRange"]),
        ("custom-limitrange", ["ResourceQuota"]),
    ):
        one = resolve(given, "4-aux-wiki", {f"resource-governance/{label}": "true"})
        assert [kind for kind, _name, _spec in limits.wanted(given, one)] == left
    untiered = resolve(given, "wiki", {"resource-governance/custom-limitrange": "true"})
    assert limits.wanted(given, untiered) == [], "the fallback honours it, too"


def test_generated_limits() -> None:
    made = of_kind(compiled(), "GeneratingPolicy")
    assert set(made) == {"tier-limits", "tier-quota"}, "one for each kind, for all namespace tiers"
    spec = made["tier-quota"]["spec"]
    assert spec["matchConstraints"]["resourceRules"][0]["operations"] == ["CREATE", "UPDATE"]
    assert all(spec["evaluation"][key]["enabled"] for key in ("synchronize", "orphanDownstreamOnPolicyDelete"))
    conditions = {one["name"]: one["expression"] for one in spec["matchConditions"]}
    assert "custom-quota" in conditions["no-opt-out"]
    assert conditions["tier"].endswith("in ['0-core', '1-cluster', '2-gpu', '3-edge', '4-aux']")
    limits_of = {one["name"]: one["expression"] for one in made["tier-limits"]["spec"]["matchConditions"]}
    assert "custom-limitrange" in limits_of["no-opt-out"]
    assert limits_of["tier"].endswith("'4-aux', 'untiered']")
    [generate] = spec["generate"]
    assert "'requests.memory': dyn('3Gi')" in generate["expression"]
    assert "}[string(variables.tier)])" in generate["expression"]
    assert "'namespace': dyn(string(variables.ns))" in generate["expression"]


def test_rights_come_with_what_needs_them() -> None:
    roles = of_kind(compiled(), "ClusterRole")
    assert set(roles) == {f"kyverno:tiers:{c}-controller" for c in ("admission", "background", "reports")}
    background = roles["kyverno:tiers:background-controller"]
    assert background["metadata"]["labels"]["rbac.kyverno.io/aggregate-to-background-controller"] == "true"
    assert "delete" in background["rules"][0]["verbs"]
    assert "secrets" not in json.dumps(roles)
    assert not of_kind(compiled(Backends("static", "native", "native")), "ClusterRole")


def test_the_policy_for_pods_is_one_and_says_the_same_in_both_backends() -> None:
    [kyverno] = of_kind(compiled(), "MutatingPolicy").values()
    [native] = of_kind(compiled(Backends("static", "native", "native")), "MutatingAdmissionPolicy").values()
    for key in ("variables", "mutations", "matchConditions", "matchConstraints", "failurePolicy"):
        assert kyverno["spec"][key] == native["spec"][key]
    assert kyverno["spec"]["autogen"] == {"podControllers": {"controllers": []}}
    assert kyverno["spec"]["failurePolicy"] == "Ignore"
    assert [one["resources"] for one in kyverno["spec"]["matchConstraints"]["resourceRules"]] == [["pods"]]
    priority, ndots, strip = (one["jsonPatch"]["expression"] for one in kyverno["spec"]["mutations"])
    assert "/spec/preemptionPolicy" in priority
    assert "/spec/dnsConfig/options/-" in ndots
    assert "/resources/limits/cpu" in strip
    assert "initContainers" in strip


def test_match_conditions_use_nothing_that_is_not_there_yet() -> None:
    for backends in ALL:
        for one in compiled(backends).objects:
            for condition in (one.get("spec") or {}).get("matchConditions", []):
                assert "namespaceObject" not in condition["expression"]
                assert "variables." not in condition["expression"]


def test_nothing_matches_an_excluded_namespace() -> None:
    for backends in ALL:
        for one in compiled(backends).objects:
            constraints = (one.get("spec") or {}).get("matchConstraints")
            if constraints is None or one["metadata"]["name"].startswith("tier-copy"):
                continue
            [excluded, *_more] = constraints["namespaceSelector"]["matchExpressions"]
            assert {"kyverno", "flux-system", "rook-ceph", "openbao"} <= set(excluded["values"])
            if one["metadata"]["name"] != "tier-quota-order":
                assert "kube-" in one["spec"]["matchConditions"][0]["expression"]


def test_what_the_table_does_not_say_is_not_put_into_pods() -> None:
    silent = parse({"tiers": [{"name": "a", "prefixes": ["a-"], "label": "a"}]})
    assert not of_kind(compiled(given=silent), "MutatingPolicy")
    only = parse({"tiers": [{"name": "a", "prefixes": ["a-"], "pods": {"ndots": 2}}]})
    [policy] = of_kind(compiled(given=only), "MutatingPolicy").values()
    assert len(policy["spec"]["mutations"]) == 1


def test_the_guard_of_classes_knows_what_is_put_in() -> None:
    policy = of_kind(compiled(), "ValidatingPolicy")["tier-priority-allowed"]
    texts = [one["expression"] for one in policy["spec"]["validations"]]
    assert any("'2-gpu'" in text and "['', 'tier-2-gpu', 'gpu-workload']" in text for text in texts)
    assert any("'4-aux'" in text and text.endswith("['', 'tier-4-aux']") for text in texts)
    assert any("'untiered'" in text and text.endswith("['']") for text in texts)


def test_further_rules_of_a_tier() -> None:
    rule = {"name": "no-host", "expression": "!object.spec.?hostNetwork.orValue(false)", "message": "no host network"}
    given = table(tiers=[{"name": "4-aux", "rules": [rule]}])
    policy = of_kind(compiled(given=given), "ValidatingPolicy")["tier-priority-allowed"]
    [one] = [v for v in policy["spec"]["validations"] if "no-host" in v["message"]]
    assert one["expression"] == f"variables.held || variables.tier != '4-aux' || ({rule['expression']})"


def test_guards_fail_closed_only_inside_the_api_server() -> None:
    native = compiled(Backends("static", "native", "native"))
    assert {one["spec"]["failurePolicy"] for one in of_kind(native, "ValidatingAdmissionPolicy").values()} == {"Fail"}
    assert {one["spec"]["failurePolicy"] for one in of_kind(compiled(), "ValidatingPolicy").values()} == {"Ignore"}
    brave = compiled(given=table(accept_deadlock_risk=True, failure_policy="Fail"))
    assert {one["spec"]["failurePolicy"] for one in of_kind(brave, "ValidatingPolicy").values()} == {"Fail"}
    said = {one["name"]: one["when_down"] for one in brave.failure_policies}
    assert "cannot be created" in said["tier-pod-defaults"]
    assert "nothing until it is back" in said["tier-quota"]


def test_every_native_policy_is_bound() -> None:
    native = compiled(Backends("kyverno", "native", "native"))
    for kind in ("Mutating", "Validating"):
        policies, bindings = (of_kind(native, f"{kind}AdmissionPolicy{end}") for end in ("", "Binding"))
        assert set(policies) == {one["spec"]["policyName"] for one in bindings.values()}
    order = of_kind(native, "ValidatingAdmissionPolicy")["tier-quota-order"]["spec"]
    assert order["paramKind"] == {"apiVersion": "v1", "kind": "LimitRange"}
    assert order["matchConstraints"]["resourceRules"][0]["resourceNames"] == ["tier-quota"]
    binding = of_kind(native, "ValidatingAdmissionPolicyBinding")["tier-quota-order"]["spec"]
    assert binding["paramRef"] == {"name": "tier-defaults", "parameterNotFoundAction": "Deny"}


def test_the_order_is_not_demanded_where_no_limit_range_comes() -> None:
    given = table(tiers=[{"name": "4-aux", "limit_range": None, "quota": {"hard": {"pods": "9"}}}])
    assert "tier-quota-order" not in of_kind(compiled(given=given), "ValidatingPolicy")


def test_credentials() -> None:
    given = table(
        distribute=[
            {"name": "pull", "path": "registry/pull", "namespaces": ["4-aux-wiki", "3-edge-web"]},
            {"name": "wild", "kind": "tls", "path": "tls/wild", "labels": {"tls": "wild"}, "refresh": "12h"},
            {"name": "copied", "way": "kyverno", "source_namespace": "kyverno", "namespaces": ["4-aux-wiki"]},
        ]
    )
    result = compiled(given=given)
    external = [one for one in result.objects if one["kind"] == "ExternalSecret"]
    assert [one["metadata"]["namespace"] for one in external] == ["3-edge-web", "4-aux-wiki"]
    spec = external[0]["spec"]
    assert spec["secretStoreRef"] == {"kind": "SecretStore", "name": "openbao"}
    assert spec["target"]["template"]["type"] == "kubernetes.io/dockerconfigjson"
    [cluster] = of_kind(result, "ClusterExternalSecret").values()
    assert cluster["spec"]["namespaceSelectors"] == [{"matchLabels": {"tls": "wild"}}]
    assert [one["secretKey"] for one in cluster["spec"]["externalSecretSpec"]["data"]] == ["tls.crt", "tls.key"]
    clone = of_kind(result, "GeneratingPolicy")["tier-copy-copied"]["spec"]
    assert clone["matchConditions"][0]["expression"] == "object.metadata.name in ['4-aux-wiki']"
    assert clone["variables"][0]["expression"] == "resource.Get('v1', 'secrets', 'kyverno', 'copied')"
    assert of_kind(result, "ClusterRole")["kyverno:tiers:copy:copied"]["rules"][0]["resourceNames"] == ["copied"]
    assert any("distribute[copied]" in one and "read and make" in one for one in result.warnings)


def test_texts_are_quoted() -> None:
    assert cel.text("a'b\\c\nd") == r"'a\'b\\c\nd'"
    assert cel.literal({"a": [1, True, "x"]}) == "{'a': dyn([1, true, 'x'])}"


def test_an_unknown_backend() -> None:
    with pytest.raises(InvalidInput, match="no backend of limits") as caught:
        Backends("native")
    assert caught.value.rule == "backend"
