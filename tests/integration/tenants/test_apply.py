# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants on a real cluster, reconciled by the real controllers of Flux from a real Git server."""

from __future__ import annotations

import json
import typing as t

from tests.integration.tenants.conftest import CALENDAR, Site

CONFIG = "/api/v1/namespaces/{0}/configmaps/calendar"

#: What a malicious repository may try, and what Flux or the API server says to it.
MALICIOUS: dict[str, tuple[dict[str, str], str]] = {
    "binding": (
        {
            "deploy/bad.yaml": """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: stolen}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: flux, namespace: 4-aux-binding}]
"""
        },
        "forbidden",
    ),
    "remote": (
        {
            "deploy/kustomization.yaml": "resources: ['PUBLIC.git//deploy?ref=main']\n",
        },
        "not in or below",
    ),
    "source": (
        {
            "deploy/bad.yaml": """
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: theirs}
spec:
  interval: 1h
  prune: true
  sourceRef: {kind: GitRepository, name: flux-system, namespace: flux-system}
"""
        },
        "forbidden",
    ),
    "pod": (
        {
            "deploy/bad.yaml": """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: bank}
spec:
  rules:
    - host: www.bank.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: calendar, port: {number: 443}}}}]}
"""
        },
        "tenant-ingresses",
    ),
}


def test_a_calendar_from_its_declaration_to_its_pod(site: Site) -> None:
    name = site.name("cal")
    namespace = f"4-aux-{name}"
    site.lab.git.repository(f"tenants/{name}", {"deploy/calendar.yaml": CALENDAR})
    wanted = site.declaration(name, domains=[{"name": f"cal.{name}.members.example.org"}])
    mark = site.mark()
    planned = site.apply(wanted, check=True)
    assert planned["changed"]
    assert site.writes(mark) == []
    done = site.apply(wanted)
    assert done["changes"] == planned["changes"]
    assert [(one["name"], one["result"]) for one in done["tenants"]] == [(name, "changed")]
    assert site.until(lambda: site.flux(namespace, name).get("status") == "True"), site.flux(namespace, name)
    stateful = site.until(
        lambda: next(
            (
                one
                for one in site.items(f"/apis/apps/v1/namespaces/{namespace}/statefulsets")
                if (one.get("status") or {}).get("readyReplicas") == 1
            ),
            None,
        )
    )
    assert stateful["metadata"]["labels"]["toolkit.fluxcd.io/tenant"] == name

    # labels of others stay, and are not ours to remove
    site.ask(
        "PATCH",
        f"/api/v1/namespaces/{namespace}",
        {"metadata": {"labels": {"example.org/hand": "made"}}},
        content_type="application/merge-patch+json",
    )
    mark = site.mark()
    again = site.apply(wanted)
    assert not again["changed"]
    assert site.writes(mark) == []
    assert site.get(f"/api/v1/namespaces/{namespace}")["metadata"]["labels"]["example.org/hand"] == "made"

    found = site.call("tenants_info", declarations=[wanted], only=[name])
    (state,) = found["tenants"]
    assert state["ready"], state
    assert state["drift"] == []
    assert state["revision"][namespace].startswith("main@sha1:")


def test_a_service_account_that_was_deleted_comes_back_and_nothing_is_lost(site: Site) -> None:
    name = site.name("acct")
    namespace = f"4-aux-{name}"
    repository = site.lab.git.repository(f"tenants/{name}", {"deploy/calendar.yaml": CALENDAR})
    wanted = site.declaration(name)
    site.apply(wanted)
    assert site.until(lambda: site.flux(namespace, name).get("status") == "True")
    site.ask("DELETE", f"/api/v1/namespaces/{namespace}/serviceaccounts/flux")
    repository.commit({"deploy/calendar.yaml": CALENDAR.replace("hello", "again")})
    found = site.call("tenants_info", declarations=[wanted], only=[name])
    assert any("ServiceAccount" in line for line in found["tenants"][0]["drift"])
    assert [one["kind"] for one in site.apply(wanted)["changes"]] == ["ServiceAccount"]
    site.kick(namespace, name)
    assert site.until(lambda: site.get(CONFIG.format(namespace))["data"]["greeting"] == "again")


def test_malicious_repositories_are_refused_by_the_real_controllers(site: Site) -> None:
    victim = site.name("victim")
    names = {stem: site.name(stem) for stem in MALICIOUS}
    other = site.name("elsewhere")
    public = site.lab.git.repository("public", {"deploy/calendar.yaml": CALENDAR})
    for stem, name in names.items():
        files = {
            path: text.replace("4-aux-binding", f"4-aux-{name}").replace("PUBLIC.git", public.http_url)
            for path, text in MALICIOUS[stem][0].items()
        }
        site.lab.git.repository(f"tenants/{name}", files)
    foreign = CALENDAR.replace("metadata: {name: calendar}", f"metadata: {{name: calendar, namespace: 4-aux-{victim}}}")
    site.lab.git.repository(f"tenants/{other}", {"deploy/bad.yaml": foreign})
    site.lab.git.repository(
        f"tenants/{victim}", {"deploy/config.yaml": "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n"}
    )
    site.apply(*(site.declaration(name) for name in (victim, other, *names.values())))
    for stem, name in names.items():
        namespace = f"4-aux-{name}"

        def refused(namespace: str = namespace, name: str = name) -> t.Any:
            found = site.flux(namespace, name)
            return found if found.get("status") == "False" and found.get("reason") != "ArtifactFailed" else None

        said = site.until(refused)
        assert said, site.flux(namespace, name)
        assert MALICIOUS[stem][1] in said["message"].lower(), said
    assert site.get("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/stolen") is None
    # targetNamespace puts what names another namespace into the tenant's own
    assert site.until(lambda: site.get(CONFIG.format(f"4-aux-{other}")))
    assert site.get(CONFIG.format(f"4-aux-{victim}")) is None


def test_every_tenant_is_confined(site: Site) -> None:
    names = [site.name("eve"), site.name("mallory")]
    wanted = [site.declaration(one, domains=[{"name": f"{one}.members.example.org"}]) for one in names]
    site.apply(*wanted)
    found = site.call("tenants_info", declarations=wanted, probe=True)
    assert not found.get("failed"), found["msg"]
    assert found["confined"]
    asked = {(one["check"], one["got"]) for one in found["confinement"] if one["tenant"] == names[0]}
    assert ("applies an Ingress for its own domain", "allowed") in asked
    assert ("takes a foreign domain", "refused") in asked
    assert ("secrets of a neighbour", "refused") in asked
    # somebody gives a tenant more than it should have
    binding = f"/apis/rbac.authorization.k8s.io/v1/namespaces/4-aux-{names[1]}/rolebindings"
    site.ask(
        "POST",
        binding,
        {
            "metadata": {"name": "favour"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "flux", "namespace": f"4-aux-{names[0]}"}],
        },
    )
    found = site.call("tenants_info", declarations=wanted, probe=True)
    assert found["error"]["rule"] == "not-confined"
    assert "secrets of a neighbour: allowed" in found["msg"]


def test_who_makes_flux_objects_of_their_own_is_confined_as_well(site: Site) -> None:
    names = [site.name("self"), site.name("near")]
    wanted = [site.declaration(one, domains=[{"name": f"{one}.members.example.org"}]) for one in names]
    closed = site.platform
    site.platform = {**closed, "self_service_flux": True}
    site.apply(*wanted)
    try:
        found = site.call("tenants_info", declarations=wanted, probe=True, only=[names[0]])
        assert not found.get("failed"), found["msg"]
        asked = {one["check"]: one for one in found["confinement"]}
        for check in ("reconciles its own source once more", "has a Git source of its own"):
            assert asked[check]["got"] == "allowed"
        # here the right is there, so that a guard is what refuses
        for check, said in (
            ("refers to a source of a neighbour", "source of another namespace"),
            ("refers to a source of another namespace", "source of another namespace"),
            ("reconciles as another ServiceAccount", "serviceAccountName"),
            ("reconciles into a neighbour's namespace", "targetNamespace"),
            ("reconciles another cluster", "other clusters"),
            ("takes a Git source from anywhere", "sources come only from"),
        ):
            assert asked[check]["got"] == "refused"
            assert said in asked[check]["why"], asked[check]
        # and what the server said to reading, making and taking, not what is known of its rules
        for check in (
            "reads secrets of a neighbour",
            "binds itself to cluster-admin",
            "makes a namespace of another namespace tier",
            "moves to another namespace tier",
        ):
            assert "cannot" in asked[check]["why"], asked[check]
        assert "hosts that are not" in asked["takes a foreign domain"]["why"]
    finally:
        site.platform = closed
        site.apply(*wanted)


def test_a_cluster_that_is_not_locked_down_is_refused(site: Site) -> None:
    wanted = site.declaration(site.name("early"))
    # a second kustomize-controller, which somebody has forgotten about
    labels = {"app": "kustomize-controller", "app.kubernetes.io/part-of": "flux"}
    container = {
        "name": "manager",
        "image": "ghcr.io/fluxcd/kustomize-controller:v1.9.4",
        "args": ["--no-remote-bases"],
    }
    path = "/apis/apps/v1/namespaces/default/deployments"
    body = {
        "metadata": {"name": "kustomize-controller", "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    site.ask("POST", path, body)
    try:
        mark = site.mark()
        refused = site.call(declarations=[wanted])
        assert refused["error"]["rule"] == "lockdown"
        assert "no-cross-namespace-refs" in refused["msg"]
        assert site.writes(mark) == []
    finally:
        site.ask("DELETE", f"{path}/kustomize-controller")


def test_who_is_no_longer_declared_loses_their_rights_and_the_rest_waits_for_pruning(site: Site) -> None:
    name = site.name("less")
    wanted = site.declaration(name, access=[{"group": f"{name}-people", "role": "operator"}], network="internet")
    site.apply(wanted)
    bindings = f"/apis/rbac.authorization.k8s.io/v1/namespaces/4-aux-{name}/rolebindings"
    policies = f"/apis/networking.k8s.io/v1/namespaces/4-aux-{name}/networkpolicies"
    assert len(site.items(bindings)) == 3
    before = len(site.items(policies))
    fewer = site.declaration(name, network="isolated")
    done = site.apply(fewer)
    assert [one["metadata"]["name"] for one in site.items(bindings)] == ["tenant-reconciler"]
    assert len(site.items(policies)) == before
    assert any("prune is off" in line for line in done["stale"])
    mark = site.mark()
    capped = site.call(declarations=[fewer], prune=True, prune_max_percent=0)
    if before - 1 > 1:
        assert capped["error"]["rule"] == "prune-cap"
        assert site.writes(mark) == []
    site.apply(fewer, prune=True, prune_max_percent=100)
    assert len(site.items(policies)) < before
    assert site.get(f"/api/v1/namespaces/4-aux-{name}")
    assert not site.apply(fewer)["changed"]


def test_one_tenant_that_is_wrong_holds_up_none_of_the_others(site: Site) -> None:
    good, broken, taken = site.name("good"), site.name("broken"), site.name("taken")
    site.ask("POST", "/api/v1/namespaces", {"metadata": {"name": f"4-aux-{taken}"}})
    bad = {**site.declaration(broken), "clusters": "member-prod"}
    result = site.call(declarations=[site.declaration(good), bad, site.declaration(taken)])
    assert result["failed"]
    assert result["error"]["rule"] == "tenants-failed"
    states = {one["name"]: one["result"] for one in result["tenants"]}
    assert states == {good: "changed", broken: "failed", taken: "failed"}
    assert "exists and is not ours" in result["msg"]
    assert site.get(f"/api/v1/namespaces/4-aux-{good}")
    assert site.get(f"/api/v1/namespaces/4-aux-{broken}") is None
    assert "labels" not in site.get(f"/api/v1/namespaces/4-aux-{taken}/serviceaccounts/default")["metadata"]
    adopted = site.apply(site.declaration(good), site.declaration(taken), adopt=True)
    assert {one["name"]: one["result"] for one in adopted["tenants"]} == {good: "unchanged", taken: "changed"}


def test_a_newcomer_who_wants_what_somebody_has_harms_nobody_but_itself(site: Site) -> None:
    first, second = site.name("zoe"), site.name("abe")
    domain = f"{first}.members.example.org"
    wanted = site.declaration(first, domains=[{"name": domain}])
    site.apply(wanted)
    greedy = site.declaration(second, domains=[{"name": domain}])
    changed = {**wanted, "access": [{"group": f"{first}-people", "role": "viewer"}]}
    result = site.call(declarations=[changed, greedy])
    assert {one["name"]: one["result"] for one in result["tenants"]} == {first: "changed", second: "failed"}
    assert site.get(f"/api/v1/namespaces/4-aux-{second}") is None


def test_a_domain_that_was_taken_away_is_not_forgotten_while_it_is_served(site: Site) -> None:
    first, second = site.name("lena"), site.name("max")
    kept, lost = f"{first}.members.example.org", f"old.{first}.members.example.org"
    other = [{"name": f"{second}.members.example.org"}]
    approval = {"tenant": second, "kind": "domain", "value": kept, "by": "ada"}
    site.platform = {**site.platform, "approvals": [approval]}
    wanted = site.declaration(first, domains=[{"name": kept}, {"name": lost}])
    site.apply(wanted, site.declaration(second, domains=other))
    namespace = f"4-aux-{first}"
    annotations = site.platform["ingress"]["authentication"]
    site.ask(
        "POST",
        f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses",
        {
            "metadata": {"name": "old", "annotations": annotations},
            "spec": {"rules": [{"host": kept}, {"host": lost}]},
        },
    )
    assert site.apply(wanted, site.declaration(second, domains=other))["stray_hosts"] == []
    fewer = site.declaration(first, domains=[{"name": kept}])
    stray = {"tenant": first, "namespace": namespace, "kind": "Ingress", "name": "old", "host": lost}
    for _again in range(2):
        done = site.apply(fewer, site.declaration(second, domains=other))
        assert done["stray_hosts"] == [stray]
        assert any(lost in one and f"Ingress {namespace}/old" in one for one in done["warnings"])
    found = site.call("tenants_info", declarations=[fewer, site.declaration(second, domains=other)], only=[first])
    assert found["stray_hosts"] == [stray]
    assert any(lost in one for one in found["tenants"][0]["problems"])
    # two who are there want one domain: it stays with who has it, and the other one is told once
    greedy = site.declaration(second, domains=[*other, {"name": kept}], access=[{"user": "eva", "role": "viewer"}])
    changed = {**fewer, "access": [{"group": f"{first}-people", "role": "viewer"}]}
    result = site.call(declarations=[changed, greedy])
    assert {one["name"]: one["result"] for one in result["tenants"]} == {first: "changed", second: "failed"}
    assert result["msg"].count("[unique-domain]") == 1
    site.ask("DELETE", f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses/old")


def test_a_hand_push_that_empties_the_repository_removes_nobody(site: Site) -> None:
    name = site.name("still")
    repository = site.lab.git.repository(f"declared/{name}", public=False)
    token = site.lab.git.token(name, [f"declared/{name}"])
    repository.commit({f"tenants/{name}.yaml": json.dumps(site.declaration(name)), "README": "hello"})
    login = {"username": name, "token": token, "ca_cert": str(site.lab.git.ca)}
    source = {"url": repository.url, "directory": "tenants", **login}
    done = site.call(repository=source)
    assert not done.get("failed"), done["msg"]
    assert done["revision"] == repository.head()
    assert token not in json.dumps(done)
    repository.commit({"tenants/.keep": ""}, remove=[f"tenants/{name}.yaml"])
    mark = site.mark()
    refused = site.call(repository=source, prune=True, allow_removal=True, confirm_removal=[name])
    assert refused["error"]["rule"] == "no-declarations"
    assert site.writes(mark) == []
    # another declaration comes, this one stays gone
    other = site.name("other")
    repository.commit({f"tenants/{other}.yaml": json.dumps(site.declaration(other))})
    result = site.call(repository=source, prune=True, allow_removal=True)
    assert not result.get("failed"), result["msg"]
    assert f"4-aux-{name}" in result["undeclared"]
    assert site.get(f"/apis/source.toolkit.fluxcd.io/v1/namespaces/4-aux-{name}/gitrepositories/{name}")
    wrong = site.call(repository={**source, "token": "wrong-token-of-nobody"})
    assert wrong["error"]["rule"] == "git-login"
    assert "wrong-token-of-nobody" not in json.dumps(wrong)


def test_tenants_of_other_clusters_are_left_alone(site: Site) -> None:
    wanted = {**site.declaration(site.name("away")), "clusters": ["elsewhere"]}
    result = site.call(declarations=[wanted], check=True)
    assert not result.get("failed"), result["msg"]
    assert result["tenants"] == []
