# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real source- and kustomize-controller do what flux_bootstrap put into the cluster."""

from __future__ import annotations

import typing as t

import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._flux import components, model

from lab import flux_manifests

from .conftest import CRDS, DEPLOYMENTS, KUSTOMIZATION, Site, until

TOKEN_USER = "member-prod"
FEW = ["source-controller", "kustomize-controller"]
MAP = "/api/v1/namespaces/default/configmaps/from-git"


def config_map(text: str = "first") -> str:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "from-git", "namespace": "default"}}
    return yaml.safe_dump({**body, "data": {"text": text}})


def test_a_cluster_follows_its_repository(site: Site) -> None:
    """By a token over HTTPS with an authority of its own; locked down, so only who names an account has its rights."""
    repository = site.lab.git.repository("clusters", {"clusters/member-prod/map.yaml": config_map()}, public=False)
    token = site.lab.git.token(TOKEN_USER, ["clusters"])
    wanted: dict[str, t.Any] = {
        "components": FEW,
        "sync": {"url": repository.url, "path": "./clusters/member-prod", "interval": "5s"},
        "git_auth": {"method": "basic", "username": TOKEN_USER, "password": "wrong", "ca_file": str(site.lab.git.ca)},
    }
    site.apply(**wanted)
    told = site.lab.follow_flux("member-prod")
    assert "--no-remote-bases=true" in told["kustomize-controller"]
    failed = site.refused(**wanted, wait="sync")
    assert failed["error"]["rule"] == "flux-failed"
    assert "GitRepository flux-system/flux-system" in failed["msg"]
    assert failed["objects"][0]["hint"]
    wanted["git_auth"]["password"] = token
    done = site.apply(**wanted, wait="sync")
    assert [one["kind"] for one in done["changes"]] == ["Secret"]
    assert done["revision"] == repository.revision()
    assert site.ask("GET", MAP)["data"] == {"text": "first"}
    again = site.apply(**wanted, wait="sync")
    assert again["changed"] is False
    assert token not in str(again)
    # A Kustomization of the platform's that names no account has no rights any more.
    other = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "other", "namespace": "flux-system"},
        "spec": {k: v for k, v in site.ask("GET", KUSTOMIZATION)["spec"].items() if k != "serviceAccountName"},
    }
    site.put(other)
    path = KUSTOMIZATION.removesuffix("flux-system") + "other"

    def message() -> str:
        found = (site.ask("GET", path).get("status") or {}).get("conditions") or ()
        return next((one["message"] for one in found if one["type"] == "Ready" and one["status"] == "False"), "")

    assert "flux" in until(message)
    site.ask("PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    site.ask("DELETE", path)


def test_flux_takes_itself_over(site: Site) -> None:
    """Git holds Flux: it adopts everything without making it anew, and fields that go away in Git go away."""
    release = components.release(list(yaml.safe_load_all(flux_manifests.install().read_text())))
    rendering = model.Rendering(components=tuple(FEW))
    objects = components.render(release, rendering)
    repository = site.lab.git.repository("self")
    sync = model.Sync(url=repository.http_url, ref={"branch": "main"}, path="./clusters/member-prod", interval="5s")
    folder = "clusters/member-prod/flux-system"
    resources = ["gotk-components.yaml", "gotk-sync.yaml"]
    files = {
        f"{folder}/gotk-components.yaml": yaml.safe_dump_all(objects),
        f"{folder}/gotk-sync.yaml": yaml.safe_dump_all(sync.objects("flux-system")),
        f"{folder}/kustomization.yaml": yaml.safe_dump({"resources": resources}),
    }
    repository.commit(files)
    wanted: dict[str, t.Any] = {
        "components": FEW,
        "sync": {"url": sync.url, "path": sync.path, "interval": "5s"},
        "git_auth": None,
        "self_managed": True,
    }
    site.apply(**wanted)
    before = site.ask("GET", f"{DEPLOYMENTS}/source-controller")
    # The annotation is one of ours, which Git does not have.
    assert "infra.hackspace.org/applied" in before["metadata"]["annotations"]
    site.lab.follow_flux("member-prod")
    done = site.apply(**wanted, wait="sync")
    assert done["revision"] == repository.revision()
    after = site.ask("GET", f"{DEPLOYMENTS}/source-controller")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"]
    sets = site.ask("GET", "/apis/apps/v1/namespaces/flux-system/replicasets")["items"]
    assert len(sets) == len(FEW), "pods were made anew"
    assert after["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] == "flux-system"
    assert "infra.hackspace.org/applied" not in (after["metadata"].get("annotations") or {})
    assert "hackspace.infra" not in {one["manager"] for one in after["metadata"]["managedFields"]}
    second = site.apply(**wanted, wait="sync")
    assert second["owner"]["kind"] == "git"
    assert second["components_applied"] is False
    third = site.apply(**wanted, wait="sync")
    assert third["changed"] is False
    definition = site.ask("GET", f"{CRDS}/kustomizations.kustomize.toolkit.fluxcd.io")
    assert definition["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] == "flux-system"
