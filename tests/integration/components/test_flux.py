# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real kustomize-controller takes components over: the same objects, and Git decides about every field."""

from __future__ import annotations

import typing as t

import pytest
import yaml

from lab import flux
from tests.integration.components.conftest import CLUSTER, Site

SOURCES = "/apis/source.toolkit.fluxcd.io/v1/namespaces/flux-system/gitrepositories"
KUSTOMIZATIONS = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations"


def follow(site: Site, name: str, url: str) -> None:
    """Let Flux follow a repository."""
    site.ask(
        "POST",
        SOURCES,
        {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": {"name": name},
            "spec": {"interval": "1s", "url": url, "ref": {"branch": "main"}},
        },
    )
    site.ask(
        "POST",
        KUSTOMIZATIONS,
        {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": {"name": name},
            "spec": {
                "interval": "1h",
                "retryInterval": "1s",
                "prune": True,
                "path": "./",
                "serviceAccountName": "kustomize-controller",
                "sourceRef": {"kind": "GitRepository", "name": name},
            },
        },
    )


def reconciled(site: Site, name: str, revision: str, seconds: float = 60) -> None:
    """Wait until Flux has applied a revision."""

    def done() -> bool:
        status = site.get(f"{KUSTOMIZATIONS}/{name}").get("status") or {}
        return revision in str(status.get("lastAppliedRevision"))

    assert site.until(done, seconds), site.get(f"{KUSTOMIZATIONS}/{name}").get("status")


class Case:
    """One component, and the repository that has the same."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.name = site.name("app")
        self.repository = site.lab.git.repository(self.name, self.content())
        self.uids: dict[str, str] = {}

    def objects(self, *keys: str) -> list[dict[str, t.Any]]:
        """What is wanted; the ConfigMap has these keys."""
        deployment = self.site.deployment()
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        container["env"] = [{"name": key, "value": "x"} for key in keys]
        wanted = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}},
            self.site.crd(),
            self.site.config_map(**dict.fromkeys(keys, "x")),
            deployment,
            self.site.widget(),
        ]
        for one in wanted[2:]:
            one["metadata"]["namespace"] = self.name
        return wanted

    def content(self, *keys: str) -> dict[str, str]:
        return {"app.yaml": yaml.safe_dump_all(self.objects(*(keys or ("one", "two", "three"))))}

    def components(self, *keys: str) -> list[dict[str, t.Any]]:
        manifest = self.site.manifest(*self.objects(*(keys or ("one", "two", "three"))))
        return [{"name": self.name, "namespace": self.name, "manifests": [manifest]}]

    def paths(self) -> dict[str, str]:
        group = f"t{self.site.number}.example.org"
        inside = f"namespaces/{self.name}"
        return {
            "Namespace": f"/api/v1/{inside}",
            "CustomResourceDefinition": f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{group}",
            "ConfigMap": f"/api/v1/{inside}/configmaps/settings",
            "Deployment": f"/apis/apps/v1/{inside}/deployments/web",
            "Widget": f"/apis/{group}/v1/{inside}/widgets/first",
        }

    def live(self) -> dict[str, t.Any]:
        return {kind: self.site.get(path) for kind, path in self.paths().items()}

    def uids_now(self) -> dict[str, str]:
        return {kind: one["metadata"]["uid"] for kind, one in self.live().items()}

    def follow(self) -> None:
        """Let Flux follow the repository."""
        follow(self.site, self.name, self.repository.http_url)

    def reconciled(self) -> None:
        reconciled(self.site, self.name, self.repository.revision())

    def keys(self) -> tuple[list[str], list[str]]:
        """Return the keys of the ConfigMap and the names in the environment of the Deployment."""
        live = self.live()
        container = live["Deployment"]["spec"]["template"]["spec"]["containers"][0]
        return sorted(live["ConfigMap"]["data"]), sorted(one["name"] for one in container.get("env") or ())

    def pods(self) -> list[str]:
        return sorted(one["metadata"]["uid"] for one in self.site.get(f"/api/v1/namespaces/{self.name}/pods")["items"])

    def kick(self) -> None:
        """Let Flux look again now, instead of after its interval."""
        asked = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}}
        self.site.ask("PATCH", f"{KUSTOMIZATIONS}/{self.name}", asked, "application/merge-patch+json")

    def record(self) -> t.Any:
        return self.site.get(f"/api/v1/namespaces/kube-system/configmaps/hackspace-inventory-platform-{self.name}")

    def taken_over(self) -> None:
        """Apply, let Flux take over, and see that nothing was made anew."""
        self.site.apply(self.components())
        before, pods = self.live(), self.pods()
        self.follow()
        self.reconciled()
        after = self.live()
        assert self.pods() == pods
        for kind, one in after.items():
            assert one["metadata"]["uid"] == before[kind]["metadata"]["uid"], kind
            # The generation of a Deployment also counts annotations, of which ours may have gone.
            assert one.get("spec") == before[kind].get("spec"), kind
            assert one["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] == self.name

    def is_left_alone(self, *, held: int) -> None:
        """Neither the same nor another version is written over what Flux has."""
        for components in (self.components(), self.components("one", "four")):
            mark = self.site.mark()
            done = self.site.apply(components)
            assert not done["changed"], done["changes"]
            assert self.site.writes(mark) == []
            (entry,) = done["components"]
            assert entry["state"] == "with Flux"
            assert entry["flux"] == {
                "owners": [f"Flux Kustomization flux-system/{self.name}"],
                "objects": 5,
                "held": held,
                "left": [],
            }


@pytest.fixture
def case(site: Site) -> Case:
    return Case(site)


def test_flux_takes_over_and_fields_go_with_git_once_they_are_handed_over(case: Case) -> None:
    case.taken_over()
    uids = case.uids_now()
    case.is_left_alone(held=5)

    # Until then, both have them: what is taken out of Git stays.
    case.repository.commit(case.content("one", "two"))
    case.reconciled()
    assert case.keys() == (["one", "three", "two"], ["one", "three", "two"])

    planned = case.site.apply(case.components(), hand_over=True, check=True)
    assert planned["components"][0]["state"] == "to be handed over"
    assert case.keys() == (["one", "three", "two"], ["one", "three", "two"])
    done = case.site.apply(case.components(), hand_over=True)
    assert done["components"][0]["state"] == "handed over"
    assert done["changes"] == planned["changes"]
    assert case.record() is None
    assert case.uids_now() == uids
    for one in case.live().values():
        assert not any(key.startswith("infra.hackspace.org/") for key in one["metadata"]["labels"])
        assert all(entry["manager"] != "hackspace.infra" for entry in one["metadata"]["managedFields"])

    # What had been taken out of Git before goes when Flux looks next.
    case.kick()
    assert case.site.until(lambda: case.keys() == (["one", "two"], ["one", "two"])), case.keys()
    case.repository.commit(case.content("one"))
    case.reconciled()
    assert case.keys() == (["one"], ["one"])
    assert case.uids_now() == uids
    case.is_left_alone(held=0)
    assert not case.site.apply(case.components(), hand_over=True)["changed"]


def test_with_override_manager_flux_takes_the_fields_itself(case: Case) -> None:
    arguments = {flux.KUSTOMIZE: ["--override-manager=hackspace.infra"]}
    case.site.lab.set_flux(CLUSTER, arguments=arguments)
    case.taken_over()
    uids = case.uids_now()
    case.is_left_alone(held=0)
    case.repository.commit(case.content("one"))
    case.reconciled()
    assert case.keys() == (["one"], ["one"])
    assert case.uids_now() == uids
    # Only our record is left.
    assert case.record() is not None
    done = case.site.apply(case.components(), hand_over=True)
    assert [(one["kind"], one["action"]) for one in done["changes"]] == [("inventory record", "delete")]
    assert case.record() is None
    assert case.uids_now() == uids
