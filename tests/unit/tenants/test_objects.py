# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a declaration becomes: the same for the same input, and nothing that a tenant must not have."""

from __future__ import annotations

import copy
import json
import time
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.filter.tenant_findings import tenant_findings
from ansible_collections.hackspace.infra.plugins.filter.tenant_objects import tenant_objects as objects_filter
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import Source
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers import access as reviewer_access
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers import model as reviewer_model
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import (
    access,
    findings,
    guards,
    model,
    objects,
    profile,
    roles,
)
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import parse as parse_table

from .test_shape import SEALED, WHOLE

STORES = {"server": "https://openbao.example.org:8200", "mount": "kubernetes-a", "audience": "openbao-a"}
PLACE = objects.Place("member-prod", STORES)
PROFILE = profile.parse({"git": {"allow": ["https://git.example.org/"]}, "sealed_secrets": True})


def tenant(**change: t.Any) -> model.Tenant:
    return model.parse({**copy.deepcopy(WHOLE), **change}, "alice.yaml")


def small(name: str = "bob", **change: t.Any) -> model.Tenant:
    raw = {"version": 1, "name": name, "owner": {"contact": "b@example.org"}, "clusters": ["member-prod"], **change}
    return model.parse(raw, f"{name}.yaml")


def named(some: t.Iterable[dict[str, t.Any]]) -> set[str]:
    return {f"{one['kind']} {one['metadata'].get('namespace', '')}/{one['metadata']['name']}" for one in some}


def one(some: t.Iterable[dict[str, t.Any]], kind: str, name: str) -> dict[str, t.Any]:
    [found] = [each for each in some if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def test_the_same_input_gives_the_same_text() -> None:
    first = json.dumps(objects.tenant_objects(tenant(), PROFILE, PLACE))
    raw = {key: WHOLE[key] for key in sorted(WHOLE, reverse=True)}
    assert json.dumps(objects.tenant_objects(model.parse(raw, "alice.yaml"), PROFILE, PLACE)) == first
    assert json.dumps(objects.platform_objects(PROFILE)) == json.dumps(objects.platform_objects(PROFILE))


def test_the_least_declaration_has_what_confines_it() -> None:
    made = objects.tenant_objects(small(), PROFILE, PLACE)
    assert named(made) == {
        "Namespace /4-aux-bob",
        "NetworkPolicy 4-aux-bob/tenant-default-deny",
        "NetworkPolicy 4-aux-bob/tenant-allow-dns",
        "NetworkPolicy 4-aux-bob/tenant-allow-same-namespace",
        "NetworkPolicy 4-aux-bob/tenant-allow-ingress",
        "NetworkPolicy 4-aux-bob/tenant-allow-internet",
        "ServiceAccount 4-aux-bob/eso",
        "ServiceAccount 4-aux-bob/flux",
        "RoleBinding 4-aux-bob/tenant-reconciler",
        "SecretStore 4-aux-bob/openbao",
    }
    assert made[0]["kind"] == "Namespace"
    labels = made[0]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert labels["toolkit.fluxcd.io/tenant"] == "bob"
    assert all(each.get("automountServiceAccountToken") is False for each in made if each["kind"] == "ServiceAccount")


def test_nothing_is_owned_twice() -> None:
    made = objects.tenant_objects(small(), PROFILE, PLACE)
    assert not [each for each in made if each["kind"] in ("ResourceQuota", "LimitRange")]
    made = objects.tenant_objects(small(namespaces=[{"quota": {"pods": "5"}}]), PROFILE, PLACE)
    assert one(made, "ResourceQuota", "tenant-quota")["spec"] == {"hard": {"pods": "5"}}
    # then the namespace tier's own is left out
    assert one(made, "Namespace", "4-aux-bob")["metadata"]["labels"]["resource-governance/custom-quota"] == "true"


def test_no_object_is_there_twice_and_all_are_marked() -> None:
    made = [*objects.platform_objects(PROFILE), *objects.tenant_objects(tenant(), PROFILE, PLACE)]
    assert len(named(made)) == len(made)
    for each in made:
        assert each["metadata"]["labels"]["app.kubernetes.io/part-of"] == "tenants", each
        assert Source(each, "test").body is each


def test_flux_acts_as_the_tenant_in_its_namespace_only() -> None:
    made = objects.tenant_objects(tenant(), PROFILE, PLACE)
    for name in ("4-aux-alice", "4-aux-alice-test"):
        [found] = [each for each in made if each["kind"] == "Kustomization" and each["metadata"]["namespace"] == name]
        spec = found["spec"]
        assert spec["serviceAccountName"] == "flux"
        assert spec["targetNamespace"] == name
        assert spec["sourceRef"] == {"kind": "GitRepository", "name": "alice"}
        assert spec["prune"] is True
        assert spec["deletionPolicy"] == "Orphan"
        assert {"interval", "retryInterval", "timeout"} <= set(spec)
    git = next(each for each in made if each["kind"] == "GitRepository")
    assert git["spec"]["secretRef"] == {"name": "tenant-git"}
    assert git["spec"]["verify"] == {"mode": "HEAD", "secretRef": {"name": "tenant-git-keys"}}


def test_secrets_come_from_where_the_declaration_says() -> None:
    made = objects.tenant_objects(tenant(), PROFILE, PLACE)
    external = {each["metadata"]["name"] for each in made if each["kind"] == "ExternalSecret"}
    assert external == {"tenant-git", "tenant-git-keys", "tls-cal.alice.example.org"}
    git = next(each for each in made if each["kind"] == "ExternalSecret" and each["metadata"]["name"] == "tenant-git")
    assert git["spec"]["dataFrom"] == [{"extract": {"key": "tenants/member-prod/4-aux-alice/web/git"}}]
    sealed = next(each for each in made if each["kind"] == "SealedSecret")
    assert sealed["spec"]["encryptedData"] == {".dockerconfigjson": SEALED}
    assert sealed["spec"]["template"]["type"] == "kubernetes.io/dockerconfigjson"
    assert not [each for each in made if each["kind"] == "Secret"]


def test_host_keys_are_the_platforms() -> None:
    hosts = profile.parse({"git": {"known_hosts": {"git.example.org": "git.example.org ssh-ed25519 AAAA"}}})
    bob = small(source={"url": "ssh://git@git.example.org/b/c", "auth": {"type": "ssh", "path": "git"}})
    template = one(objects.tenant_objects(bob, hosts, PLACE), "ExternalSecret", "tenant-git")["spec"]["target"][
        "template"
    ]
    assert template["data"] == {"known_hosts": "git.example.org ssh-ed25519 AAAA"}
    assert template["mergePolicy"] == "Merge"


def test_people_have_the_prefix_that_the_api_server_puts_before_them() -> None:
    made = objects.tenant_objects(tenant(), PROFILE, PLACE)
    bindings = [
        each for each in made if each["kind"] == "RoleBinding" and each["metadata"]["namespace"] == "4-aux-alice"
    ]
    found = {each["roleRef"]["name"]: [one["name"] for one in each["subjects"]] for each in bindings}
    assert found == {
        "tenant-operator": ["oidc:tenant-alice"],
        "tenant-reconciler": ["flux"],
        "tenant-viewer": ["oidc:tenant-alice", "oidc:carol"],
    }


def test_states_take_away_step_by_step() -> None:
    every = {state: named(objects.tenant_objects(tenant(), PROFILE, PLACE, state=state)) for state in model.ORDER}
    gone = every["active"] - every["suspended"]
    assert {each.split("/")[1] for each in gone} == {
        "eso",
        "tenant-viewer",
        "tenant-operator",
        "tenant-allow-dns",
        "tenant-allow-same-namespace",
        "tenant-allow-ingress",
        "tenant-allow-internet",
    }
    assert {each.split("/")[1] for each in every["suspended"] - every["active"]} == {"tenant-stopped"}
    kept = {each.split()[0] for each in every["archived"]}
    assert kept == {"Namespace", "NetworkPolicy", "ResourceQuota"}
    assert every["removed"] == set()


def test_a_tenant_of_another_cluster_has_nothing_here() -> None:
    assert objects.tenant_objects(tenant(), PROFILE, objects.Place("member-dev", STORES)) == []


# -- rights --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("self_service", [False, True])
def test_the_reconciler_has_no_way_up(self_service: bool) -> None:
    made = roles.cluster_roles(profile.parse({"self_service_flux": self_service, "sealed_secrets": True}))
    assert all("aggregationRule" not in each and len(each["metadata"]["labels"]) == 2 for each in made)
    writes = {"create", "update", "patch", "delete", "deletecollection"}
    for each in made:
        for rule in each["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"impersonate", "bind", "escalate"} & set(rule["verbs"])
            if writes & set(rule["verbs"]):
                assert not {
                    "serviceaccounts",
                    "serviceaccounts/token",
                    "roles",
                    "rolebindings",
                    "resourcequotas",
                    "limitranges",
                    "networkpolicies",
                    "namespaces",
                    "secretstores",
                    "daemonsets",
                    "endpoints",
                    "endpointslices",
                } & set(rule["resources"])
    reconciler = one(made, "ClusterRole", roles.RECONCILER)
    flux = [r for r in reconciler["rules"] if "kustomizations" in r["resources"] and "create" in r["verbs"]]
    assert bool(flux) is self_service
    viewer = one(made, "ClusterRole", roles.VIEWER)
    assert not [r for r in viewer["rules"] if "secrets" in r["resources"] or writes & set(r["verbs"])]


def test_every_guard_is_bound_and_denies() -> None:
    made = guards.policies(PROFILE)
    policies = {each["metadata"]["name"] for each in made if each["kind"] == "ValidatingAdmissionPolicy"}
    bound = {
        each["spec"]["policyName"]: each["spec"]["validationActions"]
        for each in made
        if each["kind"] == "ValidatingAdmissionPolicyBinding"
    }
    assert policies == set(bound) == set(guards.NAMES)
    assert all(actions == ["Deny"] for actions in bound.values())
    assert all(each["spec"]["failurePolicy"] == "Fail" for each in made if each["kind"] == "ValidatingAdmissionPolicy")


def test_guards_look_at_what_changes_while_it_is_being_deleted() -> None:
    for each in guards.policies(PROFILE):
        for condition in each["spec"].get("matchConditions", ()):
            if "deletionTimestamp" in condition["expression"] and each["metadata"]["name"] != guards.SECRETS:
                assert "object.?spec != oldObject.?spec" in condition["expression"], each["metadata"]["name"]
                assert "annotations != oldObject" in condition["expression"]


def test_a_claim_gets_no_volume_by_name_later_either() -> None:
    policy = one(guards.policies(PROFILE), "ValidatingAdmissionPolicy", guards.VOLUMES)
    assert policy["spec"]["matchConstraints"]["resourceRules"][0]["operations"] == ["CREATE", "UPDATE"]
    [rule] = [each for each in policy["spec"]["validations"] if "taken by name" in each["message"]]
    assert "object.spec.?volumeName.orValue('') == oldObject.spec.?volumeName.orValue('')" in rule["expression"]
    assert "system:kube-controller-manager" in rule["expression"]


# -- OpenBao -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("find", [False, True])
def test_openbao_access_is_what_the_reviewer_makes_of_it(find: bool) -> None:
    stores = {**STORES, "kv_mount": "kv", "mount": "kubernetes-member-prod", "audience": "openbao-member-prod"}
    place = objects.Place("member-prod", stores, per_tenant=True)
    listed = access.per_tenant([tenant()], PROFILE, place, {})
    raw = {
        "name": "member-prod",
        "api_server": "https://10.0.0.1:6443",
        "kubeconfig": "/k",
        "access": {"per_tenant": listed, "find": find},
    }
    [cluster] = reviewer_model.parse_clusters([raw])
    settings = reviewer_model.Settings()
    policies = reviewer_access.policies(cluster, settings, ())
    name, text = access.policy(tenant(), PROFILE, place, find=find)
    assert policies[name] == text
    [binding] = [each for each in reviewer_access.bindings(cluster) if each.role == "tenant-alice"]
    role = access.role(tenant(), PROFILE, place)
    assert (binding.role, list(binding.names), list(binding.namespaces), list(binding.policies)) == (
        role["name"],
        role["bound_service_account_names"],
        role["bound_service_account_namespaces"],
        role["token_policies"],
    )
    store = one(objects.tenant_objects(small(), PROFILE, place), "SecretStore", "openbao")
    assert store["spec"]["provider"]["vault"]["auth"]["kubernetes"]["role"] == "tenant-bob"


def test_who_is_suspended_may_not_log_in() -> None:
    assert access.namespaces([tenant(), small()], PROFILE, PLACE, {}) == [
        "4-aux-alice",
        "4-aux-alice-test",
        "4-aux-bob",
    ]
    assert access.namespaces([tenant(), small()], PROFILE, PLACE, {"alice": "suspended"}) == ["4-aux-bob"]
    assert access.per_tenant([small(secrets={"from": []})], PROFILE, PLACE, {}) == []


# -- filters and cost ----------------------------------------------------------------------------------------------


def test_the_filters() -> None:
    made = objects_filter([copy.deepcopy(WHOLE)], cluster="member-prod", stores=STORES, shared=False)
    assert named(made) == named(objects.tenant_objects(tenant(), profile.parse({}), PLACE))
    found = tenant_findings({"tenants/alice.yaml": json.dumps(WHOLE)}, platform={"storage_classes": ["ceph-block"]})
    assert {each["rule"] for each in found} >= {"git-not-allowed", "approval-missing"}
    assert found[0]["item"].startswith("tenants/alice.yaml: ")


def test_a_newcomer_takes_nothing_from_who_is_there() -> None:
    files = {
        f"{name}.yaml": json.dumps(
            {
                "version": 1,
                "name": name,
                "owner": {"contact": "a@example.org"},
                "clusters": ["a"],
                "domains": [{"name": "x.example.org", "auth": "app", "reason": "a reason for it"}],
            }
        )
        for name in ("aaron", "bob")
    }
    offered = profile.parse({"domains": {"self_service": ["*.example.org"]}})
    assert findings.judge(files, offered, known=["bob"]).broken == {"aaron"}
    both = findings.judge(files, offered)
    assert both.broken == {"aaron", "bob"}
    assert both.settled(["bob"]).broken == {"aaron"}
    assert both.settled(["aaron", "bob"]).broken == {"aaron", "bob"}
    longer = {"al.yaml": files["bob.yaml"].replace("bob", "al"), "al-x.yaml": files["bob.yaml"].replace("bob", "al-x")}
    longer = {name: text.replace("x.example.org", f"{name[:-5]}.example.org") for name, text in longer.items()}
    for there, broken in (([], {"al", "al-x"}), (["al"], {"al-x"}), (["al-x"], {"al"})):
        assert findings.judge(longer, offered, known=there).broken == broken


def test_a_quota_is_bounded_by_its_namespace_tier() -> None:
    table = parse_table({"tiers": [{"name": "4-aux", "prefixes": ["4-aux-"], "quota": {"hard": {"pods": "20"}}}]})

    def rules(pods: str, platform: dict[str, t.Any]) -> list[str]:
        raw = {"version": 1, "name": "bob", "owner": {"contact": "b@example.org"}, "clusters": ["a"]}
        text = json.dumps({**raw, "namespaces": [{"quota": {"pods": pods}}]})
        return [one.rule for one in findings.judge({"bob.yaml": text}, profile.parse(platform), table=table).findings]

    assert rules("20", {}) == []
    assert rules("21", {}) == ["quota-ceiling"]
    assert rules("40", {"namespace_tiers": [{"name": "4-aux", "ceiling": {"pods": "40"}}]}) == []
    approved = {"approvals": [{"tenant": "bob", "kind": "quota", "value": "4-aux-bob", "by": "ada"}]}
    assert rules("99", approved) == []


def test_a_thousand_tenants() -> None:
    files = {
        f"t{number}.yaml": json.dumps({**WHOLE, "image_pull": [], "membership": {}}).replace("alice", f"t{number}")
        for number in range(1000)
    }
    offer = profile.parse({"git": {"allow": ["https://git.example.org/"]}, "storage_classes": ["ceph-block"]})
    begin = time.process_time()
    judged = findings.judge(files, offer, clusters=["member-prod"])
    made = sum(len(objects.tenant_objects(each, offer, PLACE)) for each in judged.tenants)
    assert time.process_time() - begin < 10
    assert len(judged.tenants) == 1000
    assert made > 25_000
