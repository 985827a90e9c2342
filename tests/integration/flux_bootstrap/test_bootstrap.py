# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""flux_bootstrap on a real API server; controllers are pods that get ready and do nothing."""

from __future__ import annotations

import base64
from pathlib import Path

from ansible_collections.hackspace.infra.plugins.module_utils._flux import lockdown

from .conftest import AGE_KEY, DEPLOYMENTS, KUSTOMIZATION, REPOSITORY, SPACE, Site


def args_of(site: Site, name: str) -> list[str]:
    found: list[str] = site.ask("GET", f"{DEPLOYMENTS}/{name}")["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


def test_in_ansible(site: Site) -> None:
    """From nothing: check mode is honest, one run does it all, the second nothing; no secret is shown."""
    foreseen = site.run(ansible={"check": True, "diff": True}).ok()
    assert site.ask("GET", SPACE) is None
    first = site.run(ansible={"diff": True, "verbosity": 3}).ok()
    planned, done = foreseen.of("flux_bootstrap"), first.of("flux_bootstrap")
    named = [(one["kind"], one["name"], one["action"]) for one in done["changes"]]
    assert [(one["kind"], one["name"], one["action"]) for one in planned["changes"]] == named
    assert done["owner"]["kind"] == "none"
    assert named[0] == ("Namespace", "flux-system", "create")
    assert named.index(
        ("CustomResourceDefinition", "kustomizations.kustomize.toolkit.fluxcd.io", "create")
    ) < named.index(("Deployment", "flux-system/kustomize-controller", "create"))
    assert {one["action"] for one in done["changes"]} == {"create"}
    second = site.run(ansible={"diff": True}).ok()
    assert second.changed == []
    assert second.of("flux_bootstrap")["owner"]["kind"] == "ours"

    live = site.ask("GET", f"{SPACE}/secrets/flux-system")["data"]
    identity = base64.b64decode(live["identity"]).decode()
    assert identity == Path(site.key).read_text()
    assert sorted(live) == ["identity", "known_hosts"]
    assert (
        base64.b64decode(site.ask("GET", f"{SPACE}/secrets/sops-age")["data"]["age.agekey"]).decode() == AGE_KEY + "\n"
    )
    for shown in (foreseen.output, first.output, second.output):
        assert AGE_KEY not in shown
        assert identity.splitlines()[1] not in shown
        assert live["identity"] not in shown

    for name in ("source-controller", "kustomize-controller", "helm-controller"):
        assert set(lockdown.arguments(name)) <= set(args_of(site, name))
    assert "--events-addr=" in args_of(site, "source-controller")
    assert site.ask("GET", f"{DEPLOYMENTS}/notification-controller") is None
    sync = site.ask("GET", KUSTOMIZATION)["spec"]
    assert sync["serviceAccountName"] == "kustomize-controller"
    assert sync["decryption"]["secretRef"]["name"] == "sops-age"
    assert site.ask("GET", REPOSITORY)["spec"]["ref"] == {"branch": "main"}


def test_credentials_change_and_nothing_else(site: Site) -> None:
    site.apply(wait="none")
    assert site.call(check=True)["changed"] is False
    token = {"method": "basic", "username": "flux", "password": "a-token-nobody-may-see"}
    sync = {"url": "https://git.example.org/hackspace/clusters", "path": "./clusters/member-prod"}
    refused = site.refused(sync=sync, git_auth=token, wait="none")
    assert refused["error"]["rule"] == "flux-repoint"
    assert refused["repoint"] == [
        "GitRepository flux-system: url is ssh://git@git.example.org/hackspace/clusters, wanted "
        "https://git.example.org/hackspace/clusters"
    ]
    moved = site.apply(sync=sync, git_auth=token, allow_repoint=True, wait="none")
    assert sorted(one["kind"] for one in moved["changes"]) == ["GitRepository", "Secret"]
    assert "a-token-nobody-may-see" not in str(moved)
    assert sorted(site.ask("GET", f"{SPACE}/secrets/flux-system")["data"]) == ["password", "username"]
    other = site.refused(sync={**sync, "path": "clusters/other"}, git_auth=token, wait="none")
    assert other["error"]["rule"] == "flux-repoint"


def test_lockdown_that_was_taken_away_comes_back(site: Site) -> None:
    site.apply(wait="none")
    live = site.ask("GET", f"{DEPLOYMENTS}/kustomize-controller")
    container = live["spec"]["template"]["spec"]["containers"][0]
    container["args"] = [word for word in container["args"] if "cross-namespace" not in word]
    # Whatever version: the cluster's own controllers are writing its status now.
    del live["metadata"]["resourceVersion"]
    site.ask("PUT", f"{DEPLOYMENTS}/kustomize-controller?fieldManager=kubectl-edit", live)
    # Who has relied on it being open is named, and does not keep it open.
    spec = {"interval": "10m", "path": "./", "prune": True, "serviceAccountName": "flux"}
    source = {"kind": "GitRepository", "name": "flux-system", "namespace": "flux-system"}
    metadata = {"name": "far", "namespace": "default"}
    version = "kustomize.toolkit.fluxcd.io/v1"
    far = {"apiVersion": version, "kind": "Kustomization", "metadata": metadata, "spec": {**spec, "sourceRef": source}}
    site.put(far)
    seen = site.call(check=True, force_conflicts=True)
    assert {one["flag"] for one in seen["lockdown"]} == {"no-cross-namespace-refs"}
    assert [one["name"] for one in seen["losses"]] == ["Kustomization default/far"]
    assert site.refused()["error"]["rule"] == "field-conflict"
    again = site.apply(force_conflicts=True)
    assert [one["name"] for one in again["changes"]] == ["flux-system/kustomize-controller"]
    assert "--no-cross-namespace-refs=true" in args_of(site, "kustomize-controller")
    site.ask("DELETE", "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/default/kustomizations/far")


def test_another_default_account_names_who_loses_the_former_one(site: Site) -> None:
    site.apply(wait="none")
    source = {"kind": "GitRepository", "name": "none"}
    spec = {"interval": "10m", "path": "./", "prune": True, "suspend": True, "sourceRef": source}
    metadata = {"name": "mine", "namespace": "default"}
    version = "kustomize.toolkit.fluxcd.io/v1"
    site.put({"apiVersion": version, "kind": "Kustomization", "metadata": metadata, "spec": spec})
    refused = site.refused(default_service_account="tenant", wait="none")
    assert refused["error"]["rule"] == "flux-lockdown-losses"
    assert [one["name"] for one in refused["losses"]] == ["Kustomization default/mine"]
    assert "no longer as flux" in refused["msg"]
    accepted = site.call(
        check=True, default_service_account="tenant", lockdown_accept=["Kustomization default/mine"], wait="none"
    )
    assert [one["name"] for one in accepted["losses"]] == ["Kustomization default/mine"]
    site.ask("DELETE", "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/default/kustomizations/mine")


def test_a_component_that_is_left_out_is_pruned_when_told(site: Site) -> None:
    site.apply(wait="none")
    fewer = ["source-controller", "kustomize-controller"]
    kept = site.apply(components=fewer, wait="none")
    assert any(one.startswith("Deployment.apps flux-system/helm-controller") for one in kept["stale"])
    gone = site.apply(components=fewer, prune=True, wait="none")
    assert {(one["kind"], one["action"]) for one in gone["changes"]} == {
        ("Deployment", "delete"),
        ("ServiceAccount", "delete"),
        ("inventory record", "update"),
    }
    assert [one for one in gone["stale"] if "helmreleases" in one]
