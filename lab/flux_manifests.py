# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flux's install.yaml, put together from what Flux publishes as Go modules.

The file of a release can't be had from a module proxy. What it is made of can: the manifests of flux2, and of each
controller the custom resources, Deployment and Service that its release page offers. Here they go together as
``flux install --export`` does it; the patches, suffixes and labels are upstream's own.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lab import build
from lab.errors import LabError
from lab.files import cache_dir, private_dir

Object = dict[str, Any]

NAMESPACE = "flux-system"
_MODULE = "flux-manifests"
_FLUX = "github.com/fluxcd/flux2/v2"
_CONTROLLERS = ("source-controller", "kustomize-controller", "helm-controller", "notification-controller")
_IMAGES = ("image-reflector-controller", "image-automation-controller")
VERSIONS: Mapping[str, tuple[str, ...]] = {
    "2.9.4": (*_CONTROLLERS, *_IMAGES),
    "2.9.3": ("source-controller", "kustomize-controller", "helm-controller"),
    "2.7.5": ("kustomize-controller",),
}
"""Versions of Flux, and the controllers of each that the module proxy serves. source-watcher is never among them."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_CLUSTER_SCOPED = ("Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding")
_RELEASE = re.compile(r"/download/v(?P<version>[0-9.]+)/(?P<name>[a-z-]+)\.deployment\.yaml$")


def install(version: str = "2.9.4") -> Path:
    """The file of a version, made if it is not there yet."""
    if version not in VERSIONS:
        raise LabError(f"no manifests of Flux {version}; there are {', '.join(VERSIONS)}")
    sums = (build.MODULES / _MODULE / "go.sum").read_bytes()
    digest = hashlib.sha256(sums + Path(__file__).read_bytes()).hexdigest()[:12]
    file = cache_dir() / "flux" / f"install-{version}-{digest}.yaml"
    if not file.is_file():
        private_dir(file.parent)
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(_dump(assemble(version)), encoding="utf-8")
        temporary.replace(file)
    return file


def assemble(version: str) -> list[Object]:
    """The objects of a version, in the order of a release."""
    flux = _module(_FLUX, version)
    sources = {name: _controller(flux, name) for name in VERSIONS[version]}
    objects = _read(flux / "manifests" / "install" / "namespace.yaml")
    objects += _policies(flux)
    objects += _roles(flux)
    for name, source in sources.items():
        objects += _component(flux, name, source)
    labels = {
        "app.kubernetes.io/instance": NAMESPACE,
        "app.kubernetes.io/part-of": "flux",
        "app.kubernetes.io/version": f"v{version}",
    }
    for one in objects:
        _label(one, labels)
        if one["kind"] not in _CLUSTER_SCOPED:
            one["metadata"]["namespace"] = NAMESPACE
    return objects


def _dump(objects: Iterable[Object]) -> str:
    head = "---\n# This manifest was put together from Flux's Go modules.\n"
    return head + "---\n".join(yaml.dump(one, Dumper=_DUMPER, sort_keys=False, width=10_000) for one in objects)


# -- modules ---------------------------------------------------------------------------------------------------


def _module(name: str, version: str) -> Path:
    return build.fetched(build.find_go(), build.MODULES / _MODULE, name, version)


def _controller(flux: Path, name: str) -> Path:
    """The module of a controller, in the version that this version of Flux has."""
    for line in (flux / "manifests" / "bases" / name / "kustomization.yaml").read_text().splitlines():
        match = _RELEASE.search(line)
        if match:
            return _module(f"github.com/fluxcd/{name}", match["version"])
    raise LabError(f"{flux} does not say which version of {name} it has")


def _read(file: Path) -> list[Any]:
    with file.open(encoding="utf-8") as stream:
        return [one for one in yaml.load_all(stream, Loader=_LOADER) if one]


def _resources(folder: Path) -> list[Object]:
    listed: list[str] = _read(folder / "kustomization.yaml")[0]["resources"]
    return [one for name in listed for one in _read(folder / name)]


# -- pieces ----------------------------------------------------------------------------------------------------


def _policies(flux: Path) -> list[Object]:
    return _resources(flux / "manifests" / "policies")


def _roles(flux: Path) -> list[Object]:
    objects = _resources(flux / "manifests" / "rbac")
    renamed = {one["metadata"]["name"] for one in objects}
    for one in objects:
        one["metadata"]["name"] += f"-{NAMESPACE}"
        reference = one.get("roleRef")
        if reference and reference["name"] in renamed:
            reference["name"] += f"-{NAMESPACE}"
    return objects


def _component(flux: Path, name: str, source: Path) -> list[Object]:
    base = flux / "manifests" / "bases" / name
    objects = _resources(source / "config" / "crd") + _resources(source / "config" / "manager")
    objects += _read(base / "account.yaml")
    images = {one["name"]: one for one in _read(source / "config" / "manager" / "kustomization.yaml")[0]["images"]}
    for one in objects:
        _label(one, _read(base / "labels.yaml")[0]["labels"])
        if one["kind"] != "Deployment":
            continue
        for patch in _read(base / "patch.yaml")[0]:
            _add(one, patch)
        pod = one["spec"]["template"]["spec"]
        pod["nodeSelector"] = {"kubernetes.io/os": "linux"}
        container = pod["containers"][0]
        image = images[container["image"]]
        container["image"] = f"ghcr.io/{image['newName']}:{image['newTag']}"
        _install_arguments(name, container["args"])
    return objects


def _install_arguments(name: str, arguments: list[str]) -> None:
    """What ``flux install`` puts over the arguments, by their places."""
    rest = ["--watch-all-namespaces=true", "--log-level=info"]
    if name == "notification-controller":
        arguments[0:2] = rest
        return
    arguments[0:3] = ["--events-addr=http://notification-controller.$(RUNTIME_NAMESPACE).svc.cluster.local./", *rest]
    if name == "source-controller":
        arguments[6] = "--storage-adv-addr=source-controller.$(RUNTIME_NAMESPACE).svc.cluster.local."


def _label(one: Object, labels: Mapping[str, str]) -> None:
    places = [one["metadata"]]
    if one["kind"] == "Deployment":
        places.append(one["spec"]["template"]["metadata"])
    for place in places:
        place["labels"] = {**(place.get("labels") or {}), **labels}


def _add(one: Object, patch: Mapping[str, Any]) -> None:
    """A JSON patch that adds, the only kind there is among those of Flux."""
    if patch["op"] != "add":
        raise LabError(f"a patch of Flux's with the operation {patch['op']}")
    *way, last = patch["path"].lstrip("/").split("/")
    place: Any = one
    for part in way:
        place = place[int(part)] if isinstance(place, list) else place[part]
    value = copy.deepcopy(patch["value"])
    if isinstance(place, list):
        place.insert(len(place) if last == "-" else int(last), value)
    else:
        place[last] = value
