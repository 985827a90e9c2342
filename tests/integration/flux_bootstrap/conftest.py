# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster for all tests of flux_bootstrap; each test begins with a cluster without Flux."""

from __future__ import annotations

import dataclasses
import hashlib
import time
import typing as t
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from lab import flux_manifests
from lab.api import Lab
from tests.integration import in_process
from tests.integration.ansible_run import Result, private, run_module

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SPACE = "/api/v1/namespaces/flux-system"
DEPLOYMENTS = "/apis/apps/v1/namespaces/flux-system/deployments"
REPOSITORY = "/apis/source.toolkit.fluxcd.io/v1/namespaces/flux-system/gitrepositories/flux-system"
KUSTOMIZATION = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/flux-system"
AGE_KEY, OTHER_AGE_KEY = (str(pyrage.x25519.Identity.generate()) for number in range(2))
HOST_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIGtdaXJtN0uVFGWUgKzMSlQr5lZJZl1rSSRJgHEHR5Sk"
_PATHS = {
    "Namespace": "/api/v1/namespaces/{name}",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts/{name}",
    "Service": "/api/v1/namespaces/{namespace}/services/{name}",
    "ResourceQuota": "/api/v1/namespaces/{namespace}/resourcequotas/{name}",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/{name}",
    "CustomResourceDefinition": CRDS + "/{name}",
    "Kustomization": "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{namespace}/kustomizations/{name}",
    "GitRepository": "/apis/source.toolkit.fluxcd.io/v1/namespaces/{namespace}/gitrepositories/{name}",
    "HelmRelease": "/apis/helm.toolkit.fluxcd.io/v2/namespaces/{namespace}/helmreleases/{name}",
}


#: Controllers that most tests do without, as their definitions take the API server longer than all else.
NOT_INSTALLED = ("notification-controller", "image-reflector-controller", "image-automation-controller")


def component_of(one: t.Mapping[str, t.Any]) -> str:
    """Return which controller an object of a release belongs to."""
    return str((one["metadata"].get("labels") or {}).get("app.kubernetes.io/component") or "")


def until(what: Callable[[], t.Any], timeout: float = 60, *, every: float = 0.1) -> t.Any:
    """Wait until something is true; return it."""
    deadline = time.monotonic() + timeout
    while True:
        found = what()
        if found or time.monotonic() > deadline:
            assert found, "did not come true"
            return found
        time.sleep(every)


@dataclasses.dataclass
class Site:
    """The lab's cluster, and files for the module."""

    lab: Lab
    folder: Path
    key: str

    @property
    def kubeconfig(self) -> str:
        return str(self.lab.clusters["member-prod"].kubeconfig)

    def ask(self, method: str, path: str, body: t.Any = None, content_type: str = "application/json") -> t.Any:
        answer = self.lab.kube_server("member-prod").request(method, path, body, content_type=content_type)
        if answer.status == 404 and method in ("GET", "DELETE"):
            return None
        assert answer.status < 300, answer
        return answer.body

    def put(self, *objects: t.Mapping[str, t.Any], manager: str = "flux") -> None:
        """Apply objects as another program would."""
        for one in objects:
            path = _PATHS[one["kind"]].format(**one["metadata"])
            self.ask("PATCH", f"{path}?fieldManager={manager}&force=true", one, "application/apply-patch+yaml")

    # -- arguments -------------------------------------------------------------------------------------------------

    def manifests(self, version: str = "2.9.4", *, label: str = "") -> dict[str, str]:
        """Return the option, with the checksum; *label* is another version that the file says it is."""
        file = flux_manifests.install(version)
        if label:
            text = file.read_text().replace(
                f"app.kubernetes.io/version: v{version}", f"app.kubernetes.io/version: v{label}"
            )
            file = self.folder / f"install-{version}-as-{label}.yaml"
            file.write_text(text)
        return {"path": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}

    def ssh(self) -> dict[str, str]:
        return {
            "method": "ssh",
            "identity_file": self.key,
            "known_hosts": f"git.example.org ssh-ed25519 {HOST_KEY}\n",
        }

    def args(self, **changes: t.Any) -> dict[str, t.Any]:
        args = {
            "kubeconfig": self.kubeconfig,
            "manifests": self.manifests(),
            "components": ["source-controller", "kustomize-controller", "helm-controller"],
            "sync": {"url": "ssh://git@git.example.org/hackspace/clusters", "path": "clusters/member-prod"},
            "git_auth": self.ssh(),
            "age_key": AGE_KEY,
            "wait": "components",
            "wait_timeout": 90,
            **changes,
        }
        return {name: value for name, value in args.items() if value is not None}

    def run(self, *, ansible: t.Mapping[str, t.Any] | None = None, **changes: t.Any) -> Result:
        """Run in real Ansible, by way of the action plugin."""
        return run_module("flux_bootstrap", self.args(**changes), **(ansible or {}))

    def call(self, *, check: bool = False, **changes: t.Any) -> dict[str, t.Any]:
        """Run the module in this process and return what it prints."""
        return in_process.call("flux_bootstrap", self.args(**changes), check=check)

    def apply(self, **changes: t.Any) -> dict[str, t.Any]:
        result = self.call(**changes)
        assert not result.get("failed"), result
        return result

    def refused(self, **changes: t.Any) -> dict[str, t.Any]:
        result = self.call(**changes)
        assert result.get("failed"), result
        return result

    def install(self, version: str = "2.9.4", *, label: str = "", labels: t.Mapping[str, str] | None = None) -> None:
        """Install Flux as its command line would: without lockdown."""
        text = Path(self.manifests(version, label=label)["path"]).read_text()
        objects = [one for one in yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if one]
        objects = [one for one in objects if component_of(one) not in NOT_INSTALLED]
        for one in objects:
            one["metadata"]["labels"] = {**(one["metadata"].get("labels") or {}), **(labels or {})}
        order = {"Namespace": 0, "CustomResourceDefinition": 1}
        self.put(*sorted(objects, key=lambda one: order.get(one["kind"], 2)))
        names = [one["metadata"]["name"] for one in objects if one["kind"] == "CustomResourceDefinition"]
        until(lambda: all(self.established(name) for name in names))

    def established(self, name: str) -> bool:
        status = (self.ask("GET", f"{CRDS}/{name}") or {}).get("status") or {}
        return any(c["type"] == "Established" and c["status"] == "True" for c in status.get("conditions") or ())

    def clear(self) -> None:
        """Take Flux out of the cluster."""
        if any(line.component == "flux" and line.state != "stopped" for line in self.lab.status()):
            self.lab.stop("flux", kill=True)
        for path in (KUSTOMIZATION, REPOSITORY):
            if self.ask("GET", path):
                # Nobody is left who would take the finalizers away.
                self.ask("PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
        for one in self.ask("GET", CRDS)["items"]:
            if "fluxcd" in one["metadata"]["name"]:
                self.ask("DELETE", f"{CRDS}/{one['metadata']['name']}")
        for kind in ("clusterroles", "clusterrolebindings"):
            path = f"/apis/rbac.authorization.k8s.io/v1/{kind}"
            for one in self.ask("GET", path)["items"]:
                if one["metadata"]["name"].endswith("-flux-system"):
                    self.ask("DELETE", f"{path}/{one['metadata']['name']}")
        self.ask("DELETE", SPACE)
        until(lambda: self.ask("GET", SPACE) is None, 240)
        until(self.undefined, 90, every=1)

    def undefined(self) -> bool:
        """Say whether Flux's definitions are gone, and remind the API server of those that are not.

        The API server finalizes a definition within milliseconds of its deletion. Is the storage of its objects being
        made just then, it says "could not list instances: storage is (re)initializing", and may forget to try again
        before its next resync, five minutes later. A change of anything else in the definition makes it look again.
        """
        left = [x["metadata"] for x in self.ask("GET", CRDS)["items"] if "fluxcd" in x["metadata"]["name"]]
        for one in left:
            reminder = {"metadata": {"uid": one["uid"], "annotations": {"reminded": str(time.time())}}}
            answer = self.lab.kube_server("member-prod").request(
                "PATCH", f"{CRDS}/{one['name']}", reminder, content_type="application/merge-patch+json"
            )
            # Gone by now, or changed by somebody else, which does as well.
            assert answer.status in (200, 404, 409), answer
        return not left


def new_key(folder: Path) -> str:
    """Make a private key of SSH in a file that only its owner can read."""
    folder.mkdir(exist_ok=True)
    key = ed25519.Ed25519PrivateKey.generate()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    return private(folder / "identity", key.private_bytes(*form).decode())


@pytest.fixture(scope="package")
def flux_lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    lab = Lab("flux-bootstrap", tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["member-prod", "git"])
        yield lab
    finally:
        lab.down(wipe=True)


@pytest.fixture(scope="package")
def deploy_key(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A private key of SSH."""
    return new_key(tmp_path_factory.mktemp("key"))


@pytest.fixture
def site(flux_lab: Lab, deploy_key: str, tmp_path: Path) -> t.Iterator[Site]:
    one = Site(flux_lab, tmp_path, deploy_key)
    yield one
    one.clear()
