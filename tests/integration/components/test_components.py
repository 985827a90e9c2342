# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""platform_components on a real cluster: order, waiting, check mode, faults, requests."""

from __future__ import annotations

import threading
import typing as t

import pytest

from tests.integration.ansible_run import Run, start_play
from tests.integration.components.conftest import CLUSTER, Site
from tests.integration.kube.conftest import kill_tree


def two(site: Site, **second: t.Any) -> list[dict[str, t.Any]]:
    """A component with an object of a kind that another one, given after it, brings."""
    return [
        {
            "name": site.name("uses"),
            "namespace": site.name("uses"),
            "needs": [site.name("brings")],
            "manifests": [site.manifest(site.widget(), site.config_map())],
            **second,
        },
        {
            "name": site.name("brings"),
            "namespace": site.name("brings"),
            "namespace_labels": {"pod-security.kubernetes.io/enforce": "privileged"},
            "manifests": [site.manifest(site.crd(), site.deployment())],
        },
    ]


def test_an_empty_cluster_is_planned_from_the_manifests_then_applied_in_order(site: Site) -> None:
    mark = site.mark()
    planned = site.apply(two(site), check=True)
    assert planned["changed"]
    assert site.writes(mark) == []
    assert [one["state"] for one in planned["components"]] == ["to be applied", "to be applied"]
    assert any(one["kind"] == "Widget" and one["action"] == "create" for one in planned["changes"])

    done = site.apply(two(site))
    assert [(one["name"], one["state"]) for one in done["components"]] == [
        (site.name("brings"), "applied"),
        (site.name("uses"), "applied"),
    ]
    assert [(c["kind"], c["name"], c["action"]) for c in done["changes"]] == [
        (c["kind"], c["name"], c["action"]) for c in planned["changes"]
    ]
    deployment = site.get(f"/apis/apps/v1/namespaces/{site.name('brings')}/deployments/web")
    assert deployment["status"]["availableReplicas"] == 1
    namespace = site.get(f"/api/v1/namespaces/{site.name('brings')}")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"

    mark = site.mark()
    again = site.apply(two(site))
    assert not again["changed"]
    assert site.writes(mark) == []
    assert again["unchanged"] == 6
    # Discovery 2; namespaces 2; per component its record and one list per kind.
    assert again["requests"] <= 10, again["requests"]


def test_a_wrong_checksum_writes_nothing(site: Site) -> None:
    components = two(site)
    components[0]["manifests"][0]["sha256"] = "0" * 64
    mark = site.mark()
    failed = site.refused(components)
    assert failed["error"]["rule"] == "manifest-sha256"
    assert site.writes(mark) == []
    assert site.get(f"/api/v1/namespaces/{site.name('brings')}") is None


def test_what_the_server_refuses_in_the_last_component_is_said_before_the_first_is_applied(site: Site) -> None:
    components = two(site)
    components[1]["name"] = site.name("first")
    components[0]["needs"] = [site.name("first")]
    broken = site.config_map()
    broken["spec"] = {"a": 1}
    components.append({"name": site.name("wrong"), "namespace": "default", "manifests": [site.manifest(broken)]})
    mark = site.mark()
    failed = site.refused(components)
    assert failed["error"]["rule"] == "unknown-field"
    assert failed["error"]["item"].startswith(f"component {site.name('wrong')}, ConfigMap default/settings")
    assert site.writes(mark) == []


def test_a_component_that_never_gets_ready_is_named_and_the_next_run_finishes(site: Site) -> None:
    components = two(site)
    stuck = site.deployment(nodeSelector={"nobody": "has-this"})
    components[1]["manifests"] = [site.manifest(site.crd(), stuck)]
    components[1]["wait"] = {"timeout": 2}
    failed = site.refused(components)
    assert failed["error"]["rule"] == "wait-timeout"
    assert failed["component"] == site.name("brings")
    assert failed["done"] == []
    assert f"component {site.name('brings')}, Deployment.apps {site.name('brings')}/web" in failed["msg"]
    assert "0 of 1 pods available" in failed["msg"]
    assert site.get(f"/api/v1/namespaces/{site.name('uses')}/configmaps/settings") is None

    done = site.apply(two(site))
    assert [one["state"] for one in done["components"]] == ["applied", "applied"]
    assert not site.apply(two(site))["changed"]


def test_a_new_version_changes_only_what_differs_and_leftovers_go_when_told(site: Site) -> None:
    def component(*objects: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        return [{"name": site.name("app"), "namespace": site.name("app"), "manifests": [site.manifest(*objects)]}]

    site.apply(component(site.config_map(), site.config_map("old")))
    kept = site.apply(component(site.config_map(text="two")))
    assert [(c["kind"], c["action"]) for c in kept["changes"]] == [("ConfigMap", "update")]
    assert kept["stale"] == [f"ConfigMap {site.name('app')}/old (prune is off)"]
    gone = site.apply(component(site.config_map(text="two")), prune=True)
    assert ("ConfigMap", "delete") in [(c["kind"], c["action"]) for c in gone["changes"]]
    assert site.get(f"/api/v1/namespaces/{site.name('app')}/configmaps/old") is None


def test_a_namespace_that_others_have_made_is_left_as_it_is(site: Site) -> None:
    name = site.name("shared")
    site.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    component = {
        "name": site.name("app"),
        "namespace": name,
        "namespace_labels": {"pod-security.kubernetes.io/enforce": "privileged"},
        "manifests": [site.manifest(site.config_map())],
    }
    done = site.apply([component])
    assert [c["kind"] for c in done["changes"]] == ["inventory record", "ConfigMap"]
    assert f"The namespace {name} is not ours" in done["warnings"][0]
    assert "pod-security.kubernetes.io/enforce" not in site.get(f"/api/v1/namespaces/{name}")["metadata"]["labels"]


def test_webhooks_without_a_server_hold_up_what_comes_next(site: Site) -> None:
    hook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": site.name("guard")},
        "webhooks": [
            {
                "name": "guard.example.org",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": 1,
                "clientConfig": {"service": {"name": "guard", "namespace": site.name("guard")}, "caBundle": ""},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": site.name("guard")}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            }
        ],
    }
    del hook["webhooks"][0]["clientConfig"]["caBundle"]  # type: ignore[index]
    component = {
        "name": site.name("guard"),
        "namespace": site.name("guard"),
        "manifests": [site.manifest(hook)],
        "wait": {"timeout": 1, "webhooks": [site.name("guard")]},
    }
    failed = site.refused([component])
    assert f"component {site.name('guard')}, webhooks {site.name('guard')}" in failed["msg"]
    assert "has no authority (caBundle) yet" in failed["msg"]

    probe = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": site.name("guard")},
        "spec": {"containers": [{"name": "main", "image": "example.org/main"}]},
    }
    component["wait"] = {"timeout": 3, "probe": probe}
    failed = site.refused([component])
    assert "probe Pod probe" in failed["msg"]
    assert "failed calling webhook" in failed["msg"]
    site.ask("DELETE", f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{site.name('guard')}")


@pytest.mark.parametrize(
    ("after", "dry_runs"),
    [("/api/v1/namespaces/brings-{}", 1), ("/customresourcedefinitions/widgets.", 1), ("/configmaps/settings", 0)],
)
def test_a_run_that_is_killed_is_finished_by_the_next(site: Site, after: str, dry_runs: int) -> None:
    components = two(site)
    task = {
        "name": "Apply",
        "hackspace.infra.platform_components": {"kubeconfig": "", "components": components},
    }
    with site.lab.proxy(CLUSTER) as proxy:
        started: list[Run] = []
        killed = threading.Event()

        def kill(_method: str, _path: str) -> None:
            kill_tree(started[0].process.pid)
            killed.set()

        # A namespace, the first component's definition, the second component's ConfigMap has just been made.
        proxy.call(kill, "after", method="PATCH", path=after.format(site.number), skip=dry_runs)
        task["hackspace.infra.platform_components"]["kubeconfig"] = str(proxy.kubeconfig)  # type: ignore[index]
        started.append(start_play([task]))
        assert killed.wait(90)
        started[0].process.communicate()
    finished = site.apply(components)
    assert finished["changed"]
    assert [one["state"] for one in site.apply(components)["components"]] == ["as wanted", "as wanted"]
    assert site.get(f"/api/v1/namespaces/{site.name('uses')}/configmaps/settings")["data"] == {"text": "one"}
