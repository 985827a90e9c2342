# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole platform from manifests of real releases, in order, each when what it needs works; then Flux has it.

Pods are kwok's: they get Ready, and nothing runs in them. What the controllers in them would do is done beside the
cluster: Kyverno's real admission controller starts when its Deployment is there, and stand-ins make the definitions of
Cilium's operator and write the authority that External Secrets' cert-controller writes.
"""

from __future__ import annotations

import base64
import itertools
import threading
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._components import openbao

from lab import build
from lab.api import Lab
from lab.kyverno import MANIFEST
from tests.integration.components.conftest import CLUSTER, Site, sha256
from tests.integration.components.test_flux import follow, reconciled

FILES = Path(__file__).parent / "files"
ORDER = ["cilium", "csi", "rook", "external-secrets", "kyverno", "openbao"]
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
VALIDATING = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
CILIUM = ("ciliumnodes", "ciliumendpoints", "ciliumnetworkpolicies")
ESO_WEBHOOKS = ("secretstore-validate", "externalsecret-validate")
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
ADMISSION = f"{CLUSTER}-kyverno"


def module(name: str, version: str) -> Path:
    """A Go module whose manifests are used as they are."""
    return build.fetched(build.find_go(), build.MODULES / "manifests", name, version)


def files() -> dict[str, list[Path]]:
    """The manifests of each component but OpenBao's."""
    examples = module("github.com/rook/rook", "1.20.6") / "deploy" / "examples"
    snapshots = module("github.com/kubernetes-csi/external-snapshotter/client/v8", "8.2.0") / "config" / "crd"
    return {
        "cilium": [FILES / "cilium.manifest"],
        "csi": [*sorted(snapshots.glob("*storage.k8s.io_*.yaml")), FILES / "csi-hostpath.manifest"],
        "rook": [examples / f"{name}.yaml" for name in ("crds", "common", "csi-operator", "operator")],
        "external-secrets": [
            *sorted((build.path("external-secrets").parent / "crds").glob("*external-secrets.io_*.yaml")),
            FILES / "external-secrets.manifest",
        ],
        "kyverno": [build.path("kyverno-admission-controller").parent / MANIFEST],
    }


def bao() -> list[dict[str, t.Any]]:
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    return openbao.objects(openbao.parse({"image": f"openbao.invalid/openbao:2.4.4@sha256:{digest}"}))


def platform(sources: t.Mapping[str, t.Sequence[Path]]) -> list[dict[str, t.Any]]:
    """The list, with what presets say but for the probe of a webhook that nobody serves."""
    more: dict[str, dict[str, t.Any]] = {
        "cilium": {"version": "1.20.2"},
        "csi": {"namespace": "default"},
        "rook": {"version": "1.20.6"},
        "external-secrets": {"version": "0.19.2", "wait": {"probe": {}}},
        "kyverno": {"version": "1.19.1"},
    }
    listed: list[dict[str, t.Any]] = [
        {
            "name": name,
            "manifests": [{"path": str(path), "sha256": sha256(path)} for path in paths],
            **more[name],
            "wait": {"timeout": 900, **more[name].get("wait", {})},
        }
        for name, paths in sources.items()
    ]
    return [*listed, {"name": "openbao", "objects": bao()}]


class Controllers(threading.Thread):
    """What the pods would do, each part when its Deployment has its pods."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._cilium()
            self._external_secrets()
            self._available("kyverno", "kyverno-admission-controller")
            self._site.lab.up([CLUSTER, "kyverno"])
        except BaseException as error:
            self.failure = error

    def _available(self, namespace: str, name: str) -> None:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"

        def ready() -> bool:
            found = self._site.get(path)
            return bool(found and (found.get("status") or {}).get("availableReplicas"))

        assert self._site.until(ready, 900), path

    def _cilium(self) -> None:
        self._available("kube-system", "cilium-operator")
        for plural in CILIUM:
            body = self._site.crd(plural)
            body["metadata"]["name"] = f"{plural}.cilium.io"
            body["spec"]["group"] = "cilium.io"
            body["spec"]["names"]["kind"] = plural.title()
            self._site.ask("POST", DEFINITIONS, body)

    def _external_secrets(self) -> None:
        self._available("external-secrets", "external-secrets-webhook")
        authority = base64.b64encode(self._site.lab.openbao_ca.read_bytes()).decode()
        for name in ESO_WEBHOOKS:
            hooks = self._site.get(f"{VALIDATING}/{name}")["webhooks"]
            patch = [
                {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": authority}
                for index in range(len(hooks))
            ]
            self._site.ask("PATCH", f"{VALIDATING}/{name}", patch, "application/json-patch+json")


@pytest.fixture(scope="module")
def sources() -> dict[str, list[Path]]:
    return files()


@pytest.fixture(scope="module")
def run(
    components_lab: Lab, sources: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Site, t.Any]:
    """The first run, and what it said."""
    site = Site(components_lab, tmp_path_factory.mktemp("platform"))
    controllers = Controllers(site)
    controllers.start()
    done = site.call(platform(sources))
    controllers.join()
    assert controllers.failure is None, controllers.failure
    assert not done.get("failed"), done["msg"]
    return site, done


def wanted(sources: t.Mapping[str, t.Sequence[Path]]) -> dict[str, list[dict[str, t.Any]]]:
    """The objects of each component."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = {
        name: [one for path in paths for one in yaml.load_all(path.read_text(), loader) if one]
        for name, paths in sources.items()
    }
    return {**found, "openbao": bao()}


def live(
    site: Site, objects: t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]], keys: t.Container[str] | None = None
) -> dict[str, dict[str, t.Any]]:
    """What the list has made, by kind, namespace and name: what has our label, or these."""
    kinds = {(one["apiVersion"], one["kind"]) for listed in objects.values() for one in listed}
    names = {(one["kind"], one["metadata"]["name"]) for listed in objects.values() for one in listed}
    found: dict[str, dict[str, t.Any]] = {}
    for version, kind in sorted(kinds):
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        served = site.get(root)["resources"]
        (plural,) = [one["name"] for one in served if one["kind"] == kind and "/" not in one["name"]]
        for one in site.get(f"{root}/{plural}")["items"]:
            metadata = one["metadata"]
            key = f"{kind} {metadata.get('namespace', '')}/{metadata['name']}"
            labels = metadata.get("labels") or {}
            ours = (kind, metadata["name"]) in names and "infra.hackspace.org/inventory" in labels
            if ours if keys is None else key in keys:
                found[key] = one
    return found


def written(one: t.Mapping[str, t.Any], field: str) -> str:
    """When somebody last wrote objects with this text among their fields."""
    entries = one["metadata"]["managedFields"]
    return max((entry["time"] for entry in entries if field in str(entry.get("fieldsV1"))), default="")


def test_each_component_comes_when_what_it_needs_works(run: tuple[Site, t.Any], sources: dict[str, list[Path]]) -> None:
    site, done = run
    assert [(one["name"], one["state"]) for one in done["components"]] == [(name, "applied") for name in ORDER]
    created: dict[str, list[str]] = {name: [] for name in ORDER}
    ready: dict[str, str] = dict.fromkeys(ORDER, "")
    for one in live(site, wanted(sources)).values():
        name = one["metadata"]["labels"]["infra.hackspace.org/inventory"].removeprefix("platform-")
        if name in created:
            created[name].append(one["metadata"]["creationTimestamp"])
            conditions = (one.get("status") or {}).get("conditions") or ()
            since = [c["lastTransitionTime"] for c in conditions if c["type"] == "Available"]
            ready[name] = max([ready[name], *since])
    # What stand-ins did for the pods of Cilium and External Secrets, and Kyverno itself for its webhooks.
    definitions = [site.get(f"{DEFINITIONS}/{plural}.cilium.io") for plural in CILIUM]
    ready["cilium"] = max(ready["cilium"], *(one["metadata"]["creationTimestamp"] for one in definitions))
    hooks = [site.get(f"{VALIDATING}/{name}") for name in ESO_WEBHOOKS]
    ready["external-secrets"] = max(ready["external-secrets"], *(written(one, "f:caBundle") for one in hooks))
    policies = site.get(f"{VALIDATING}/kyverno-policy-validating-webhook-cfg")
    ready["kyverno"] = max(ready["kyverno"], policies["metadata"]["creationTimestamp"])
    assert all(ready[name] for name in ("cilium", "rook", "external-secrets", "kyverno")), ready
    for before, after in itertools.pairwise(ORDER):
        first = min(created[after])
        assert max(created[before]) <= first, (before, after)
        assert ready[before] <= first, (before, after)
    assert {
        "Deployment.apps kube-system/cilium-operator",
        "webhooks kyverno-policy-validating-webhook-cfg",
    } <= set(done["waited"])


def test_the_second_run_finds_nothing_to_do(run: tuple[Site, t.Any], sources: dict[str, list[Path]]) -> None:
    site, _done = run
    mark = site.mark()
    again = site.apply(platform(sources))
    assert not again["changed"], again["changes"]
    assert site.writes(mark) == []
    assert again["unchanged"] > 300
    # Not one request per object: lists by kind.
    assert again["requests"] <= 100, again["requests"]


def test_kyverno_that_does_not_answer_ends_the_run_and_is_named(
    run: tuple[Site, t.Any], sources: dict[str, list[Path]]
) -> None:
    site, _done = run
    (component,) = [one for one in platform(sources) if one["name"] == "kyverno"]
    site.lab.stop(ADMISSION, kill=True)
    try:
        failed = site.refused([{**component, "wait": {"timeout": 2}}])
    finally:
        site.lab.start(ADMISSION)
    assert failed["error"]["rule"] == "wait-timeout"
    assert failed["component"] == "kyverno"
    assert "component kyverno, probe ValidatingPolicy hackspace-probe" in failed["msg"]
    assert "failed calling webhook" in failed["msg"]
    assert "connection refused" in failed["msg"]
    assert not site.apply([component])["changed"]
    assert site.get("/apis/policies.kyverno.io/v1/validatingpolicies/hackspace-probe") is None


def test_flux_adopts_the_whole_platform(run: tuple[Site, t.Any], sources: dict[str, list[Path]]) -> None:
    """All but the definitions, which take Flux long; test_flux has one."""
    site, _done = run
    objects = {
        name: [one for one in listed if one["kind"] != "CustomResourceDefinition"]
        for name, listed in wanted(sources).items()
    }
    for one in objects["csi"]:
        if one["kind"] in ("ServiceAccount", "Role", "RoleBinding", "StatefulSet"):
            # Some name no namespace, which Flux asks for.
            one["metadata"].setdefault("namespace", "default")
    before = live(site, objects)
    assert len(before) == sum(map(len, objects.values()))
    pods = {one["metadata"]["uid"] for one in site.get("/api/v1/pods")["items"]}
    repository = site.lab.git.repository(
        "platform", {f"{name}.yaml": yaml.dump_all(listed, Dumper=DUMPER) for name, listed in objects.items()}
    )
    follow(site, "platform", repository.http_url)
    reconciled(site, "platform", repository.revision(), seconds=600)
    after = live(site, objects, before)
    assert {key: one["metadata"]["uid"] for key, one in after.items()} == {
        key: one["metadata"]["uid"] for key, one in before.items()
    }
    assert all(one["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] == "platform" for one in after.values())
    assert pods <= {one["metadata"]["uid"] for one in site.get("/api/v1/pods")["items"]}
    mark = site.mark()
    done = site.apply(platform(sources))
    assert not done["changed"], done["changes"]
    assert site.writes(mark) == []
    assert [(one["name"], one["state"]) for one in done["components"]] == [(name, "with Flux") for name in ORDER]
    left = [one for component in done["components"] for one in component["flux"]["left"]]
    assert {one.split(".")[0] for one in left} == {"CustomResourceDefinition"}
