# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of the manifests of a release."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hackspace.infra.plugins.filter.flux_components import flux_components
from ansible_collections.hackspace.infra.plugins.module_utils._flux import components, lockdown, model

VERSION = {"app.kubernetes.io/version": "v2.9.4", "app.kubernetes.io/instance": "flux-system"}
EVENTS = "--events-addr=http://notification-controller.$(RUNTIME_NAMESPACE).svc.cluster.local./"


def labels(component: str = "") -> dict[str, str]:
    return {**VERSION, **({"app.kubernetes.io/component": component} if component else {})}


def deployment(name: str, *args: str) -> dict[str, t.Any]:
    container = {"name": "manager", "image": f"ghcr.io/fluxcd/{name}:v1.9.4", "args": list(args)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "flux-system", "labels": labels(name)},
        "spec": {
            "template": {
                "metadata": {"labels": labels(name)},
                "spec": {"nodeSelector": {"kubernetes.io/os": "linux"}, "containers": [container]},
            }
        },
    }


def release() -> list[dict[str, t.Any]]:
    """The shape of a release; the whole one is applied in the integration tests."""
    role = {
        "kind": "ClusterRole",
        "metadata": {"name": "crd-controller-flux-system"},
        "rules": [{"resources": ["secrets"]}, {"resources": ["serviceaccounts/token"], "verbs": ["create"]}],
    }
    binding = {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "cluster-reconciler-flux-system"},
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "kustomize-controller", "namespace": "flux-system"}],
    }
    return [
        {"kind": "Namespace", "metadata": {"name": "flux-system", "labels": labels()}},
        {"kind": "NetworkPolicy", "metadata": {"name": "allow-egress", "namespace": "flux-system"}},
        role,
        binding,
        *(deployment(name, EVENTS, "--log-level=info") for name in lockdown.FLAGS if name != lockdown.NOTIFICATION),
        deployment(lockdown.NOTIFICATION, "--log-level=info"),
    ]


def rendered(**options: t.Any) -> dict[str, dict[str, t.Any]]:
    made = components.render(components.release(release()), model.Rendering(**options))
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in made}


def args(objects: dict[str, dict[str, t.Any]], name: str) -> list[str]:
    found: list[str] = objects[f"Deployment/{name}"]["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


def test_everything_is_locked_down_whatever_is_chosen() -> None:
    made = rendered(components=tuple(lockdown.FLAGS))
    assert lockdown.judge(made.values(), account="flux") == []
    assert "--feature-gates=ExternalArtifact=true" in args(made, lockdown.KUSTOMIZE)
    made = rendered(workload_identity=True, account="tenant")
    assert lockdown.judge(made.values(), account="tenant") == []
    assert "--feature-gates=ObjectLevelWorkloadIdentity=true" in args(made, lockdown.SOURCE)


def test_defaults_are_those_of_the_command_line() -> None:
    made = rendered()
    assert {name.partition("/")[2] for name in made if name.startswith("Deployment/")} == set(model.DEFAULT_COMPONENTS)
    assert args(made, lockdown.SOURCE) == [EVENTS, "--log-level=info"]
    assert "--override-manager=hackspace.infra" in args(made, lockdown.KUSTOMIZE)
    assert "--override-manager" not in str(args(rendered(managers=()), lockdown.KUSTOMIZE))


def test_the_right_to_make_tokens_comes_with_its_gate_only() -> None:
    assert len(rendered()["ClusterRole/crd-controller-flux-system"]["rules"]) == 1
    assert len(rendered(workload_identity=True)["ClusterRole/crd-controller-flux-system"]["rules"]) == 2


def test_another_namespace() -> None:
    made = rendered(namespace="gitops")
    assert "Namespace/gitops" in made
    assert made["ClusterRoleBinding/cluster-reconciler-gitops"]["subjects"][0]["namespace"] == "gitops"
    assert made["ClusterRoleBinding/cluster-reconciler-gitops"]["roleRef"]["name"] == "cluster-admin"
    one = made["Deployment/source-controller"]
    assert one["metadata"]["namespace"] == "gitops"
    assert one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/instance"] == "gitops"
    assert "flux-system" not in str(made)


def test_pods() -> None:
    toleration = {"key": "control-plane", "operator": "Exists"}
    made = rendered(
        registry="registry.example.org:5000/mirror",
        image_pull_secret="mirror",
        cluster_domain="example.org",
        node_selector={"zone": "a"},
        tolerations=[toleration],
        log_level="debug",
        network_policies=False,
    )
    pod = made["Deployment/source-controller"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example.org:5000/mirror/source-controller:v1.9.4"
    assert pod["imagePullSecrets"] == [{"name": "mirror"}]
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux", "zone": "a"}
    assert pod["tolerations"] == [toleration]
    assert args(made, lockdown.SOURCE) == [EVENTS.replace("cluster.local", "example.org"), "--log-level=debug"]
    assert "NetworkPolicy/allow-egress" not in made


def test_without_notifications_nothing_is_sent_there() -> None:
    made = rendered(components=(lockdown.SOURCE, lockdown.KUSTOMIZE))
    assert args(made, lockdown.SOURCE)[0] == "--events-addr="


def test_what_is_given_is_left_alone() -> None:
    given = release()
    components.render(components.release(given), model.Rendering(namespace="gitops"))
    assert given == release()


def test_the_filter() -> None:
    made = flux_components(release(), components=["source-controller", "kustomize-controller"])
    assert [one["metadata"]["name"] for one in made if one["kind"] == "Deployment"] == [
        "source-controller",
        "kustomize-controller",
    ]
    with pytest.raises(AnsibleFilterError, match="flux-default-account"):
        flux_components(release(), default_service_account="default")
    with pytest.raises(AnsibleFilterError, match="flux-log-level"):
        flux_components(release(), log_level="loud")
    with pytest.raises(AnsibleFilterError, match=r"\[flux-manifests\]"):
        flux_components([])
