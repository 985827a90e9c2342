# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flux: its source and kustomize controllers, as processes next to each cluster.

They do what the Deployments in the cluster say: arguments, environment and ServiceAccount are read from there, so that
controllers which somebody else's playbook has put into the cluster run as they would in it. Only what needs a pod is
replaced: addresses, the folder of artifacts and leader election.
"""

from __future__ import annotations

import http.client
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lab import build
from lab.errors import LabError
from lab.files import private_dir, write
from lab.kube import FILES, KubeCluster, kubeconfig
from lab.procs import Process
from lab.runner import Step

COMPONENT = "flux"
NAMESPACE = "flux-system"
SOURCE = "source-controller"
KUSTOMIZE = "kustomize-controller"
PROGRAMS = (SOURCE, KUSTOMIZE)
TENANT_ACCOUNT = "flux"
_ACCOUNT = f"--default-service-account={TENANT_ACCOUNT}"
LOCKDOWN = {KUSTOMIZE: ("--no-cross-namespace-refs=true", "--no-remote-bases=true", _ACCOUNT)}
"""What keeps tenants apart, for the controllers that run here."""
# So that tests do not wait; a real installation has its own.
_QUICK = ("--requeue-dependency=2s", "--interval-jitter-percentage=0")
_PORTS = ("flux-source", "flux-source-health", "flux-kustomize-health")
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_PATHS = {
    "Namespace": "/api/v1/namespaces/{name}",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts/{name}",
    "Service": "/api/v1/namespaces/{namespace}/services/{name}",
    "ClusterRole": _RBAC + "/clusterroles/{name}",
    "ClusterRoleBinding": _RBAC + "/clusterrolebindings/{name}",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
}
# As a release of Flux labels what it installs.
_LABELS = {
    "app.kubernetes.io/instance": NAMESPACE,
    "app.kubernetes.io/part-of": "flux",
    "app.kubernetes.io/version": "v2.9.4",
}
_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """References like $(NAME) as Kubernetes expands them: unknown ones stay as they are."""
    return _REFERENCE.sub(lambda match: environment.get(match[1], match[0]), text)


class Flux:
    """The controllers of one cluster."""

    def __init__(self, cluster: KubeCluster) -> None:
        self._cluster = cluster
        self.name = f"{cluster.name}-{COMPONENT}"
        self.port_names = tuple(f"{cluster.name}.{port}" for port in _PORTS)
        self.folder = cluster.folder / COMPONENT
        self._ports: dict[str, int] = {}

    def prepare(self, ports: Mapping[str, int]) -> None:
        """Know the ports."""
        self._ports = {port: ports[f"{self._cluster.name}.{port}"] for port in _PORTS}

    def process_name(self, controller: str) -> str:
        """The name of a controller's process: member-prod-flux-source, member-prod-flux-kustomize."""
        return f"{self.name}-{controller.removesuffix('-controller')}"

    def _script(self, controller: str) -> Path:
        return self.folder / f"{controller}.sh"

    @property
    def followed(self) -> bool:
        """There is something that the controllers follow."""
        return all(self._script(controller).is_file() for controller in PROGRAMS)

    # -- ready -------------------------------------------------------------------------------------------------

    def _asked(self, port: str, path: str) -> str | None:
        # Plain HTTP: on loopback only.
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[port], timeout=5)
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
        finally:
            connection.close()
        return None if status == 200 else f"{path} says {status}"

    def _source_ready(self) -> str | None:
        return self._asked("flux-source-health", "/readyz") or self._asked("flux-source", "/")

    def _kustomize_ready(self) -> str | None:
        return self._asked("flux-kustomize-health", "/readyz")

    # -- processes ---------------------------------------------------------------------------------------------

    def processes(self) -> list[Process]:
        """Their rows of the process table; the scripts are written from the Deployments before they start."""
        rows = []
        for controller, ports, ready, data in (
            (SOURCE, ("flux-source", "flux-source-health"), self._source_ready, (self.folder / "artifacts",)),
            (KUSTOMIZE, ("flux-kustomize-health",), self._kustomize_ready, ()),
        ):
            name = self.process_name(controller)
            rows.append(
                Process(
                    name=name,
                    component=COMPONENT,
                    argv=("/bin/sh", str(self._script(controller))),
                    ports={port: self._ports[port] for port in ports},
                    ready=ready,
                    log=self._cluster.logs / f"{name}.log",
                    needs=(f"build-{controller}", f"{self.name}-resources"),
                    data=(self._script(controller), *data),
                )
            )
        return rows

    def follow(self, namespace: str = NAMESPACE, trust: Path | None = None) -> dict[str, tuple[str, ...]]:
        """Write how the controllers start, from their Deployments. Returns the Deployments' arguments, expanded.

        They trust the authority in the file *trust* instead of those of the system.

        :raises LabError: when a Deployment, its replicas or its ServiceAccount are not there.
        """
        told: dict[str, tuple[str, ...]] = {}
        scripts: dict[str, str] = {}
        for controller in PROGRAMS:
            path = _PATHS["Deployment"].format(namespace=namespace, name=controller)
            answer = self._cluster.request("GET", path)
            if answer.status != 200:
                raise LabError(
                    f"{self._cluster.name}: no Deployment {controller} in {namespace} ({answer.status}): Flux has to be"
                    " installed in the cluster first"
                )
            if not answer.body["spec"].get("replicas", 1):
                raise LabError(f"{self._cluster.name}: the Deployment {controller} in {namespace} has no replicas")
            told[controller], scripts[controller] = self._start(controller, namespace, answer.body, trust)
        for controller, script in scripts.items():
            write(self._script(controller), script)
        return told

    def _start(
        self, controller: str, namespace: str, deployment: Mapping[str, Any], trust: Path | None
    ) -> tuple[tuple[str, ...], str]:
        """The arguments of a Deployment and the script that starts its program with them."""
        pod = deployment["spec"]["template"]["spec"]
        account = pod.get("serviceAccountName") or "default"
        path = _PATHS["ServiceAccount"].format(namespace=namespace, name=account)
        if self._cluster.request("GET", path).status != 200:
            raise LabError(
                f"{self._cluster.name}: {controller} has no pod: there is no ServiceAccount {account} in {namespace}"
            )
        containers = pod["containers"]
        container = next((one for one in containers if one["name"] == "manager"), containers[0])
        environment = {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}
        environment["RUNTIME_NAMESPACE"] = namespace
        arguments = tuple(expanded(text, environment) for text in container.get("args", []))
        if "TUF_ROOT" in environment:
            environment["TUF_ROOT"] = str(self.folder / "sigstore")
        environment["KUBECONFIG"] = str(self._kubeconfig(namespace, account))
        if trust:
            environment.setdefault("SSL_CERT_FILE", str(trust))
        lines = [
            "#!/bin/sh",
            f"# The Deployment {controller} in {namespace}. The last of two equal flags counts.",
        ]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
        command = [str(build.path(controller)), *arguments, *self._replaced(controller)]
        lines.append(" \\\n  ".join(["exec", *(shlex.quote(part) for part in command)]))
        return arguments, "\n".join(lines) + "\n"

    def _replaced(self, controller: str) -> list[str]:
        """What only a pod can have."""
        health = self._ports["flux-source-health" if controller == SOURCE else "flux-kustomize-health"]
        flags = [
            "--events-addr=",
            "--metrics-addr=0",
            f"--health-addr=127.0.0.1:{health}",
            "--enable-leader-election=false",
        ]
        if controller == SOURCE:
            address = f"127.0.0.1:{self._ports['flux-source']}"
            private_dir(self.folder / "artifacts")
            flags += [
                f"--storage-path={self.folder / 'artifacts'}",
                f"--storage-addr={address}",
                f"--storage-adv-addr={address}",
            ]
        return flags

    def _kubeconfig(self, namespace: str, account: str) -> Path:
        """A client certificate that says it is the ServiceAccount."""
        cluster = self._cluster
        pair = cluster.authority.issue(
            f"flux-{namespace}-{account}",
            f"system:serviceaccount:{namespace}:{account}",
            organisations=("system:serviceaccounts", f"system:serviceaccounts:{namespace}"),
        )
        path = cluster.folder / "pki" / f"flux-{namespace}-{account}.kubeconfig"
        kubeconfig(path, context=cluster.name, server=cluster.url, ca=cluster.authority.pair.cert, client=pair)
        return path

    # -- content -----------------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """What they need in their cluster."""
        needs = (*(f"build-{program}" for program in PROGRAMS), f"{self._cluster.name}-apiserver")
        return [Step(f"{self.name}-resources", self._resources, needs)]

    def _resources(self, cancelled: Callable[[], bool]) -> str:
        path = _PATHS["Deployment"].format(namespace=NAMESPACE, name=KUSTOMIZE)
        if self._cluster.request("GET", path).status == 200:
            self.follow()
            return "as its Deployments say"
        self.install(cancelled)
        self.follow()
        return ""

    def install(self, cancelled: Callable[[], bool]) -> None:
        """Put definitions, accounts, rights and Deployments into the cluster, locked down."""
        for value in yaml.safe_load((FILES / "flux" / "rbac.yaml").read_text()):
            self._cluster.apply(_PATHS[value["kind"]].format(**value["metadata"]), value)
        self._cluster.until_served(self.define(), cancelled, 120)
        self.deploy(lockdown=True)

    def define(self) -> list[str]:
        """Put the definitions into the cluster. Returns the paths of what will be served."""
        served = []
        for controller, group in ((SOURCE, "source.toolkit.fluxcd.io"), (KUSTOMIZE, "kustomize.toolkit.fluxcd.io")):
            folder = build.path(controller).parent / "crds"
            files = sorted(folder.glob(f"{group}_*.yaml"))
            if not files:
                raise LabError(
                    f"{folder}/{group}_*.yaml are missing: the custom resources belong into a folder 'crds' next to the"
                    " program"
                )
            for file in files:
                value = yaml.safe_load(file.read_text())
                value["metadata"]["labels"] = _LABELS
                self._cluster.apply(f"{_DEFINITIONS}/{value['metadata']['name']}", value)
                served += [
                    f"/apis/{group}/{version['name']}/{value['spec']['names']['plural']}"
                    for version in value["spec"]["versions"]
                    if version["served"]
                ]
        return served

    def deploy(self, *, lockdown: bool, arguments: Mapping[str, Sequence[str]] | None = None) -> None:
        """Put the Deployments of the controllers' modules into the cluster, with more arguments.

        :raises LabError: when the modules' manifests are not next to the programs.
        """
        for controller in PROGRAMS:
            folder = build.path(controller).parent / f"{controller}-manager"
            for file in sorted(folder.glob("*.yaml")):
                value = yaml.safe_load(file.read_text())
                if value["kind"] not in _PATHS:
                    continue
                value["metadata"]["namespace"] = NAMESPACE
                value["metadata"].setdefault("labels", {}).update(_LABELS)
                if value["kind"] == "Deployment":
                    pod = value["spec"]["template"]["spec"]
                    pod["serviceAccountName"] = controller
                    version = build.PROGRAMS[controller].version
                    pod["containers"][0]["image"] = f"ghcr.io/fluxcd/{controller}:v{version}"
                    pod["containers"][0]["args"] += [
                        *(LOCKDOWN.get(controller, ()) if lockdown else ()),
                        *_QUICK,
                        *(arguments or {}).get(controller, ()),
                    ]
                self._cluster.apply(_PATHS[value["kind"]].format(**value["metadata"]), value)
