# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kyverno: its admission and background controllers, as processes next to each cluster."""

from __future__ import annotations

import base64
import http.client
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from lab import build
from lab.errors import LabError
from lab.kube import KubeCluster, kubeconfig
from lab.procs import Process
from lab.runner import Step

COMPONENT = "kyverno"
NAMESPACE = "kyverno"
ADMISSION = "kyverno-admission-controller"
BACKGROUND = "kyverno-background-controller"
PROGRAMS = (ADMISSION, BACKGROUND)
"""Programs, and the ServiceAccounts whose rights they have."""
MANIFEST = "install.yaml"
_AUTHORITY = "kyverno-svc.kyverno.svc.kyverno-tls-ca"
_PAIR = "kyverno-svc.kyverno.svc.kyverno-tls-pair"
_PORTS = ("kyverno", "kyverno-metrics", "kyverno-background")
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_PATHS = {
    "Namespace": "/api/v1/namespaces/{name}",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts/{name}",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps/{name}",
    "ClusterRole": _RBAC + "/clusterroles/{name}",
    "ClusterRoleBinding": _RBAC + "/clusterrolebindings/{name}",
    "Role": _RBAC + "/namespaces/{namespace}/roles/{name}",
    "RoleBinding": _RBAC + "/namespaces/{namespace}/rolebindings/{name}",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
}
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
_POLICIES = "kyverno-policy-mutating-webhook-cfg"
_VERSION = re.compile(r"(?m)^(?:  -|   ) name: (v\w+)$")
_SERVED = re.compile(r"(?m)^    served: (true|false)$")
_COMMON = {
    "KYVERNO_NAMESPACE": NAMESPACE,
    "INIT_CONFIG": "kyverno",
    "METRICS_CONFIG": "kyverno-metrics",
}


def documents(manifest: Path) -> Iterator[tuple[str, str, str]]:
    """Kind, name and text of each object of the manifest; its definitions are too large to be parsed here."""
    for text in re.split(r"(?m)^---$", manifest.read_text()):
        kind = re.search(r"(?m)^kind: (\S+)$", text)
        name = re.search(r"(?m)^metadata:\n(?:  .*\n)*?  name: (\S+)$", text)
        if kind and name:
            yield kind[1], name[1], text


class Kyverno:
    """The controllers of one cluster."""

    def __init__(self, cluster: KubeCluster) -> None:
        self._cluster = cluster
        self.name = f"{cluster.name}-{COMPONENT}"
        self.port_names = tuple(f"{cluster.name}.{port}" for port in _PORTS)
        self._ports: dict[str, int] = {}

    def prepare(self, ports: Mapping[str, int]) -> None:
        """Make the kubeconfigs: client certificates that say they are the ServiceAccounts."""
        self._ports = {port: ports[f"{self._cluster.name}.{port}"] for port in _PORTS}
        cluster = self._cluster
        for account in PROGRAMS:
            pair = cluster.authority.issue(
                account,
                f"system:serviceaccount:{NAMESPACE}:{account}",
                organisations=("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"),
            )
            kubeconfig(
                self._kubeconfig(account),
                context=cluster.name,
                server=cluster.url,
                ca=cluster.authority.pair.cert,
                client=pair,
            )

    def _kubeconfig(self, account: str) -> Path:
        return self._cluster.folder / "pki" / f"{account}.kubeconfig"

    # -- ready -------------------------------------------------------------------------------------------------

    def _admission_ready(self) -> str | None:
        """Its webhooks are registered, with the authority that it made, and it serves them."""
        answer = self._cluster.request("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/{_AUTHORITY}")
        if answer.status != 200:
            return f"its authority: {answer.status}"
        authority = base64.b64decode(answer.body["data"]["tls.crt"])
        context = ssl.create_default_context(cadata=authority.decode())
        connection = http.client.HTTPSConnection("127.0.0.1", self._ports["kyverno"], timeout=5, context=context)
        try:
            connection.request("GET", "/health/readiness")
            status = connection.getresponse().status
        finally:
            connection.close()
        if status != 200:
            return f"readiness says {status}"
        answer = self._cluster.request("GET", f"{_WEBHOOKS}/{_POLICIES}")
        if answer.status != 200:
            return f"webhook configuration {_POLICIES}: {answer.status}"
        bundles = {hook["clientConfig"].get("caBundle", "") for hook in answer.body["webhooks"]}
        return None if bundles == {base64.b64encode(authority).decode()} else f"{_POLICIES} has another authority"

    def _background_ready(self) -> str | None:
        # Plain HTTP: its metrics, on loopback only. It serves them before it works, so its lease is asked for as well.
        connection = http.client.HTTPConnection("127.0.0.1", self._ports["kyverno-background"], timeout=5)
        try:
            connection.request("GET", "/metrics")
            status = connection.getresponse().status
        finally:
            connection.close()
        if status != 200:
            return f"metrics say {status}"
        answer = self._cluster.request(
            "GET", f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{BACKGROUND}"
        )
        return None if answer.status == 200 else f"its lease: {answer.status}"

    # -- processes ---------------------------------------------------------------------------------------------

    def processes(self) -> list[Process]:
        """Their rows of the process table."""
        ports = self._ports
        common = (
            "--metricsHost=127.0.0.1",
            "--controllerRuntimeMetricsAddress=0",
            "--omitEvents=PolicyApplied,PolicySkipped",
            "--enablePolicyException=true",
            "--exceptionNamespace=*",
            "--registryCredentialHelpers=",
            "--disableLogColor=true",
            "--autoMemLimitEnabled=false",
            "--v=2",
        )
        return [
            Process(
                name=self.name,
                component=COMPONENT,
                argv=(
                    str(build.path(ADMISSION)),
                    f"--kubeconfig={self._kubeconfig(ADMISSION)}",
                    f"--serverIP=127.0.0.1:{ports['kyverno']}",
                    "--webhookServerHost=127.0.0.1",
                    f"--webhookServerPort={ports['kyverno']}",
                    f"--metricsPort={ports['kyverno-metrics']}",
                    f"--caSecretName={_AUTHORITY}",
                    f"--tlsSecretName={_PAIR}",
                    f"--backgroundServiceAccountName=system:serviceaccount:{NAMESPACE}:{BACKGROUND}",
                    f"--reportsServiceAccountName=system:serviceaccount:{NAMESPACE}:kyverno-reports-controller",
                    *common,
                ),
                ports={"kyverno": ports["kyverno"], "kyverno-metrics": ports["kyverno-metrics"]},
                ready=self._admission_ready,
                log=self._cluster.logs / f"{self.name}.log",
                needs=(f"build-{ADMISSION}", f"{self.name}-resources"),
                env={
                    **_COMMON,
                    "KYVERNO_POD_NAME": f"{ADMISSION}-lab",
                    "KYVERNO_SERVICEACCOUNT_NAME": ADMISSION,
                    "KYVERNO_ROLE_NAME": "kyverno:admission-controller",
                    "KYVERNO_SVC": "kyverno-svc",
                    "KYVERNO_DEPLOYMENT": ADMISSION,
                    "TUF_ROOT": str(self._cluster.folder / "sigstore"),
                },
            ),
            Process(
                name=f"{self.name}-background",
                component=COMPONENT,
                argv=(
                    str(build.path(BACKGROUND)),
                    f"--kubeconfig={self._kubeconfig(BACKGROUND)}",
                    f"--metricsPort={ports['kyverno-background']}",
                    *common,
                ),
                ports={"kyverno-background": ports["kyverno-background"]},
                ready=self._background_ready,
                log=self._cluster.logs / f"{self.name}-background.log",
                needs=(f"build-{BACKGROUND}", f"{self.name}-resources"),
                env={
                    **_COMMON,
                    "KYVERNO_POD_NAME": f"{BACKGROUND}-lab",
                    "KYVERNO_SERVICEACCOUNT_NAME": BACKGROUND,
                    "KYVERNO_DEPLOYMENT": BACKGROUND,
                    # An hour by default.
                    "BACKGROUND_SCAN_INTERVAL": "15s",
                },
            ),
        ]

    # -- content -----------------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """What they need in their cluster."""
        return [
            Step(f"{self.name}-resources", self._resources, (f"build-{ADMISSION}", f"{self._cluster.name}-apiserver")),
        ]

    def _installed(self) -> bool:
        """Somebody else has put the release into the cluster: the lab's own Deployment has no replicas."""
        path = _PATHS["Deployment"].format(namespace=NAMESPACE, name=ADMISSION)
        answer = self._cluster.request("GET", path)
        return answer.status == 200 and bool(answer.body["spec"].get("replicas"))

    def _resources(self, cancelled: Callable[[], bool]) -> str:
        manifest = build.path(ADMISSION).parent / MANIFEST
        if not manifest.is_file():
            raise LabError(f"{manifest} is missing: the manifest of Kyverno's release belongs next to the program")
        if self._installed():
            return "installed already"
        served = []
        for kind, name, text in documents(manifest):
            if kind == "CustomResourceDefinition":
                plural, _dot, group = name.partition(".")
                versions = zip(_VERSION.findall(text), _SERVED.findall(text), strict=True)
                served += [
                    f"/apis/{group}/{version}/{plural}" for version, is_served in versions if is_served == "true"
                ]
                # Not applied: the bookkeeping of owners takes longer than all else for objects of this size.
                answer = self._cluster.request("POST", _DEFINITIONS, text, "application/yaml")
                if answer.status not in (201, 409):
                    raise LabError(f"{self._cluster.name}: {name} refused with {answer.status}: {answer.body}")
            elif kind in _PATHS:
                value: dict[str, Any] = yaml.safe_load(text)
                if kind == "Deployment":
                    # Here for those who look for it; the processes run outside of the cluster.
                    value["spec"]["replicas"] = 0
                self._cluster.apply(_PATHS[kind].format(**value["metadata"]), value)
            if cancelled():
                raise LabError(f"interrupted while installing Kyverno in {self._cluster.name}")
        self._cluster.until_served(served, cancelled, 120)
        return ""
