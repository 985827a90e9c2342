# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""External Secrets: its controller, one process per cluster, with the rights of its ServiceAccount."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from lab import build
from lab.errors import LabError
from lab.kube import FILES, KubeCluster, kubeconfig
from lab.openbao import SERVICE_NAME
from lab.procs import Process
from lab.runner import Step

COMPONENT = "eso"
PROGRAM = "external-secrets"
USER = "system:serviceaccount:external-secrets:external-secrets"
# What the controller watches with the flags below, and in which version: plural, group, version.
KINDS = (
    ("clustersecretstores", "external-secrets.io", "v1"),
    ("externalsecrets", "external-secrets.io", "v1"),
    ("secretstores", "external-secrets.io", "v1"),
    ("generatorstates", "generators.external-secrets.io", "v1alpha1"),
)
_PATHS = {
    "Namespace": "/api/v1/namespaces/{name}",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts/{name}",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}",
}


class ExternalSecrets:
    """The controller of one cluster."""

    def __init__(self, cluster: KubeCluster) -> None:
        self._cluster = cluster
        self.name = f"{cluster.name}-{COMPONENT}"
        self.port_name = f"{cluster.name}.{COMPONENT}"
        self._port = 0

    def prepare(self, ports: Mapping[str, int]) -> None:
        """Make its kubeconfig: a client certificate that says it is the ServiceAccount."""
        self._port = ports[self.port_name]
        cluster = self._cluster
        pair = cluster.authority.issue(COMPONENT, USER, organisations=("system:serviceaccounts",))
        kubeconfig(
            self._kubeconfig, context=cluster.name, server=cluster.url, ca=cluster.authority.pair.cert, client=pair
        )

    @property
    def _kubeconfig(self) -> Path:
        return self._cluster.folder / "pki" / f"{COMPONENT}.kubeconfig"

    def _ready(self) -> str | None:
        # Plain HTTP: its metrics, on loopback only.
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/metrics")
            status = connection.getresponse().status
        finally:
            connection.close()
        return None if status == 200 else f"metrics say {status}"

    def processes(self) -> list[Process]:
        """Its row of the process table."""
        return [
            Process(
                name=self.name,
                component=COMPONENT,
                argv=(
                    str(build.path(PROGRAM)),
                    f"--metrics-addr=127.0.0.1:{self._port}",
                    "--concurrent=4",
                    "--enable-cluster-external-secret-reconciler=false",
                    "--enable-cluster-push-secret-reconciler=false",
                    "--enable-push-secret-reconciler=false",
                    "--zap-time-encoding=rfc3339nano",
                ),
                ports={COMPONENT: self._port},
                ready=self._ready,
                log=self._cluster.logs / f"{self.name}.log",
                needs=(f"build-{PROGRAM}", f"{self.name}-resources"),
                # A store cannot name the host to expect in a certificate; OpenBao's Go client takes it from here.
                env={"KUBECONFIG": str(self._kubeconfig), "VAULT_TLS_SERVER_NAME": SERVICE_NAME},
            )
        ]

    def steps(self) -> list[Step]:
        """What it needs in its cluster."""
        return [
            Step(f"{self.name}-resources", self._resources, (f"build-{PROGRAM}", f"{self._cluster.name}-apiserver")),
        ]

    def _resources(self, cancelled: Callable[[], bool]) -> str:
        for value in yaml.safe_load((FILES / "eso" / "rbac.yaml").read_text()):
            self._cluster.apply(_PATHS[value["kind"]].format(**value["metadata"]), value)
        folder = build.path(PROGRAM).parent / "crds"
        for plural, group, _version in KINDS:
            file = folder / f"{group}_{plural}.yaml"
            if not file.is_file():
                raise LabError(
                    f"{file} is missing: the custom resources belong into a folder 'crds' next to the program"
                )
            path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{group}"
            self._cluster.apply(path, file.read_text())
        served = [f"/apis/{group}/{version}/{plural}" for plural, group, version in KINDS]
        self._cluster.until_served(served, cancelled, 90)
        return ""
