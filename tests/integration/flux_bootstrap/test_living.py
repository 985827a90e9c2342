# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""flux_bootstrap on clusters that have Flux: who owns it, who loses rights, upgrades and storage migrations."""

from __future__ import annotations

import typing as t

from ansible_collections.hackspace.infra.plugins.module_utils._flux import lockdown

from .conftest import CRDS, DEPLOYMENTS, KUSTOMIZATION, OTHER_AGE_KEY, SPACE, Site, until

KUSTOMIZATIONS = "kustomizations.kustomize.toolkit.fluxcd.io"
_GROUP = "/apis/kustomize.toolkit.fluxcd.io"


def kustomization(name: str, namespace: str = "flux-system", version: str = "v1", **spec: t.Any) -> dict[str, t.Any]:
    return {
        "apiVersion": f"kustomize.toolkit.fluxcd.io/{version}",
        "kind": "Kustomization",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "interval": "10m",
            "path": "./apps",
            "prune": True,
            "sourceRef": {"kind": "GitRepository", "name": "flux-system"},
            **spec,
        },
    }


def test_taken_from_the_command_line_and_upgraded(site: Site) -> None:
    """A Flux 2.9.3 of the command line: refused, then who would lose rights, then taken over and upgraded."""
    site.install("2.9.3")
    assert site.refused()["error"]["rule"] == "flux-owner"
    site.put(
        kustomization("flux-system", path="./clusters/member-prod"),
        kustomization("good", serviceAccountName="kustomize-controller"),
        kustomization("bad"),
        kustomization("far", "default", sourceRef={"kind": "GitRepository", "name": "x", "namespace": "flux-system"}),
    )
    refused = site.refused(adopt=True)
    assert refused["error"]["rule"] == "flux-lockdown-losses"
    assert sorted({one["name"] for one in refused["losses"]}) == [
        "Kustomization default/far",
        "Kustomization flux-system/bad",
    ]
    assert "--no-remote-bases=true" not in str(site.ask("GET", f"{DEPLOYMENTS}/kustomize-controller"))
    accepted = ["Kustomization default/far", "Kustomization flux-system/bad"]
    foreseen = site.call(adopt=True, lockdown_accept=accepted, check=True)
    assert {one["flag"] for one in foreseen["lockdown"]} == {
        "no-cross-namespace-refs",
        "no-remote-bases",
        "default-service-account",
    }
    done = site.apply(adopt=True, lockdown_accept=accepted)
    assert done["owner"] == {
        "kind": "plain",
        "words": "a plain installation (flux install, kubectl or another program)",
        "version": "2.9.3",
    }
    assert len(done["losses"]) == 3
    assert site.ask("GET", KUSTOMIZATION)["spec"]["serviceAccountName"] == "kustomize-controller"
    live = site.ask("GET", f"{CRDS}/{KUSTOMIZATIONS}")
    assert live["metadata"]["labels"]["app.kubernetes.io/version"] == "v2.9.4"
    assert site.apply()["changed"] is False
    assert site.refused(manifests=site.manifests("2.9.3"))["error"]["rule"] == "flux-downgrade"


def test_owners(site: Site) -> None:
    """Helm's is taken over when told; the operator's only when it is asleep; Git's never."""
    helm = {"app.kubernetes.io/managed-by": "Helm"}
    site.install("2.9.3", labels=helm)
    refused = site.refused()
    assert refused["error"]["rule"] == "flux-owner"
    assert "Helm" in refused["msg"]
    foreseen = site.call(adopt=True, check=True)
    assert foreseen["owner"]["kind"] == "helm"
    assert not foreseen.get("failed")

    site.install(
        "2.9.3", labels={"fluxcd.controlplane.io/name": "flux", "app.kubernetes.io/managed-by": "flux-operator"}
    )
    refused = site.refused()
    assert refused["error"]["rule"] == "flux-owner"
    assert "operator" in refused["msg"]
    site.ask(
        "PATCH",
        f"{CRDS}/fluxinstances.fluxcd.controlplane.io?fieldManager=test&force=true",
        _instances(),
        "application/apply-patch+yaml",
    )
    instance = {
        "apiVersion": "fluxcd.controlplane.io/v1",
        "kind": "FluxInstance",
        "metadata": {"name": "flux", "namespace": "flux-system"},
    }
    path = "/apis/fluxcd.controlplane.io/v1/namespaces/flux-system/fluxinstances/flux?fieldManager=test&force=true"
    until(lambda: site.established("fluxinstances.fluxcd.controlplane.io"))
    until(
        lambda: (
            site.lab.kube_server("member-prod").request("GET", "/apis/fluxcd.controlplane.io/v1/fluxinstances").status
            == 200
        )
    )
    site.ask("PATCH", path, instance, "application/apply-patch+yaml")
    assert site.refused(adopt=True)["error"]["rule"] == "flux-owner-active"
    instance["metadata"]["annotations"] = {"fluxcd.controlplane.io/reconcile": "disabled"}  # type: ignore[index]
    site.ask("PATCH", path, instance, "application/apply-patch+yaml")
    assert site.call(adopt=True, check=True)["owner"]["kind"] == "operator"
    site.ask("DELETE", f"{CRDS}/fluxinstances.fluxcd.controlplane.io")


def _instances() -> dict[str, t.Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "fluxinstances.fluxcd.controlplane.io"},
        "spec": {
            "group": "fluxcd.controlplane.io",
            "names": {"kind": "FluxInstance", "plural": "fluxinstances"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def test_git_keeps_what_is_its_own(site: Site) -> None:
    """Flux that applies itself: only the credentials are written, and lockdown is proved, not made."""
    site.apply(self_managed=True, wait="none")
    assert "--override-manager=hackspace.infra" in str(site.ask("GET", f"{DEPLOYMENTS}/kustomize-controller"))
    by_git = {"kustomize.toolkit.fluxcd.io/name": "flux-system", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
    site.install("2.9.4", labels=by_git)
    refused = site.refused(wait="none")
    assert refused["error"]["rule"] == "flux-owner-active"
    assert site.refused(wait="none", adopt=True)["error"]["rule"] == "flux-owner-active"
    # What Git has is not locked down; the key is written all the same, before that is said.
    refused = site.refused(self_managed=True, wait="none", age_key=OTHER_AGE_KEY)
    assert refused["error"]["rule"] == "flux-not-locked-down"
    assert {one["item"] for one in refused["lockdown"]} >= {
        "Deployment flux-system/kustomize-controller",
        "Deployment flux-system/helm-controller",
    }
    for name in ("kustomize-controller", "helm-controller"):
        live = site.ask("GET", f"{DEPLOYMENTS}/{name}")
        live["spec"]["template"]["spec"]["containers"][0]["args"] += lockdown.arguments(name)
        del live["metadata"]["resourceVersion"]
        site.ask("PUT", f"{DEPLOYMENTS}/{name}", live)
    done = site.apply(self_managed=True, wait="none")
    assert done["components_applied"] is False
    assert [one["name"] for one in done["changes"]] == ["flux-system/sops-age"]
    assert site.apply(self_managed=True, wait="none")["changed"] is False
    moved = {"url": "ssh://git@git.example.org/other", "path": "clusters/member-prod"}
    assert site.refused(self_managed=True, sync=moved, allow_repoint=True)["error"]["rule"] == "flux-repoint"


def test_objects_stored_in_an_older_version_are_written_again(site: Site) -> None:
    """A definition with a version that goes away, and an object that is stored in it.

    The definition is that of Flux 2.7, under the version 2.8: what a cluster has that came from 2.7.
    """
    site.install("2.7.5", label="2.8.9")
    live = site.ask("GET", f"{CRDS}/{KUSTOMIZATIONS}")
    for version in live["spec"]["versions"]:
        version["storage"] = version["name"] == "v1beta2"
    site.ask("PUT", f"{CRDS}/{KUSTOMIZATIONS}", live)

    def stored() -> list[str]:
        found: list[str] = site.ask("GET", f"{CRDS}/{KUSTOMIZATIONS}")["status"]["storedVersions"]
        return found

    until(lambda: "v1beta2" in stored())
    old = kustomization("old", version="v1beta2", serviceAccountName="kustomize-controller")
    site.ask("POST", f"{_GROUP}/v1beta2/namespaces/flux-system/kustomizations?fieldManager=kustomize-controller", old)
    live = site.ask("GET", f"{CRDS}/{KUSTOMIZATIONS}")
    for version in live["spec"]["versions"]:
        version["storage"] = version["name"] == "v1"
    site.ask("PUT", f"{CRDS}/{KUSTOMIZATIONS}", live)
    assert sorted(stored()) == ["v1", "v1beta2"]
    before = site.ask("GET", f"{_GROUP}/v1/namespaces/flux-system/kustomizations/old")
    assert before["metadata"]["managedFields"][0]["apiVersion"] == "kustomize.toolkit.fluxcd.io/v1beta2"

    foreseen = site.call(adopt=True, check=True)
    assert foreseen["changes"][0] == {
        "kind": "stored versions",
        "name": KUSTOMIZATIONS,
        "action": "update",
        "why": "every object is written again first",
    }
    assert sorted(stored()) == ["v1", "v1beta2"]
    done = site.apply(adopt=True, wait="none")
    assert done["migrated"] == {KUSTOMIZATIONS: 1}
    assert stored() == ["v1"]
    definition = site.ask("GET", f"{CRDS}/{KUSTOMIZATIONS}")
    assert [one["name"] for one in definition["spec"]["versions"]] == ["v1"]
    after = site.ask("GET", f"{_GROUP}/v1/namespaces/flux-system/kustomizations/old")
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert {one["apiVersion"] for one in after["metadata"]["managedFields"]} == {"kustomize.toolkit.fluxcd.io/v1"}
    assert site.apply(wait="none")["changed"] is False


def test_minor_versions_are_not_left_out(site: Site) -> None:
    site.install("2.7.5")
    assert site.refused(adopt=True)["error"]["rule"] == "flux-skipped-minor"
    assert site.ask("GET", f"{SPACE}/secrets/flux-system") is None
