# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenBao as pods of a cluster: a StatefulSet whose pods are the lab's servers.

The StatefulSet and its Services are handled by the real controllers. kwok is the kubelet: its port-forward leads to the
lab's server of the pod's name, and a pod is Ready only while that server is unsealed, as with the probe ``bao status``.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.files import write
from lab.kube import KubeCluster
from lab.openbao import NODES, OpenBao
from lab.pki import Pair
from lab.procs import Process
from lab.rest import Server

COMPONENT = "openbao-pods"
CLUSTER = "core-infra"
NAMESPACE = "openbao"
NAME = "openbao"
INTERNAL = "openbao-internal"
PORT = 8200
LABELS = {"app.kubernetes.io/name": "openbao", "component": "server"}
UNSEALED = "hackspace.lab/unsealed"
TICK = 0.25
ROOT = Path(__file__).parent.parent


class OpenBaoPods:
    """The pods of one cluster."""

    def __init__(self, cluster: KubeCluster, openbao: OpenBao) -> None:
        self._cluster = cluster
        self._openbao = openbao

    # -- the one who looks whether servers are sealed --------------------------------------------------------

    @property
    def _alive(self) -> Path:
        return self._cluster.folder / "pods-watched"

    def processes(self) -> list[Process]:
        """Its row of the process table."""
        setup = self._cluster.setup_pair
        return [
            Process(
                name=COMPONENT,
                component=COMPONENT,
                argv=(
                    sys.executable,
                    "-m",
                    "lab.pods",
                    f"--url={self._cluster.url}",
                    f"--ca={self._cluster.authority.pair.cert}",
                    f"--cert={setup.cert}",
                    f"--key={setup.key}",
                    f"--openbao-ca={self._openbao.authority.pair.cert}",
                    f"--alive={self._alive}",
                    *(f"--node={n}={self._openbao.address(n)}={self._openbao.server_name(n)}" for n in NODES),
                ),
                ports={},
                ready=lambda: None if self._alive.is_file() else "has not looked yet",
                log=self._cluster.logs / f"{COMPONENT}.log",
                needs=(f"{self._cluster.name}-nodes", *NODES),
                env={"PYTHONPATH": str(ROOT)},
                prepare=lambda: self._alive.unlink(missing_ok=True),
                data=(self._alive,),
            )
        ]

    # -- content ---------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, body: Any = None, *, ok: tuple[int, ...] = (200, 201, 202)) -> Any:
        answer = self._cluster.request(method, path, body)
        if answer.status not in ok:
            raise LabError(f"{self._cluster.name}: {method} {path}: {answer.status} {answer.body}")
        return answer.body

    def deploy(self, *, policy: str = "OrderedReady", replicas: int = 3, timeout: float = 60.0) -> None:
        """Make namespace, Services, port-forwards and the StatefulSet anew, and wait for its first pod to run."""
        self.remove(timeout=timeout)
        apply = self._cluster.apply
        apply(
            f"/api/v1/namespaces/{NAMESPACE}",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        )
        for name, spec in (
            (NAME, {}),
            (INTERNAL, {"clusterIP": "None", "publishNotReadyAddresses": True}),
        ):
            service = {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"selector": LABELS, "ports": [{"name": "https", "port": PORT}], **spec},
            }
            apply(f"/api/v1/namespaces/{NAMESPACE}/services/{name}", service)
        for node in NODES:
            self.lead(node, int(self._openbao.address(node).rpartition(":")[2]))
        labels = {**LABELS, "hackspace.lab/held": "true"}
        # As a server that was killed leaves them: nobody should believe these.
        stale = {"openbao-sealed": "false", "openbao-active": "true"}
        template = {
            "metadata": {"labels": {**labels, **stale}},
            "spec": {
                "containers": [
                    {"name": "openbao", "image": "openbao.invalid/openbao", "ports": [{"containerPort": PORT}]}
                ]
            },
        }
        wanted = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {
                "serviceName": INTERNAL,
                "replicas": replicas,
                "podManagementPolicy": policy,
                "updateStrategy": {"type": "OnDelete"},
                "selector": {"matchLabels": LABELS},
                "template": template,
            },
        }
        self._wait("the default ServiceAccount", self._account, timeout)
        apply(f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/{NAME}", wanted)
        first = 1 if policy == "OrderedReady" else replicas
        self._wait("running pods", lambda: len(self.running()) >= min(first, replicas), timeout)

    def _account(self) -> bool:
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"
        return self._cluster.request("GET", path).status == 200

    def lead(self, pod: str, port: int) -> None:
        """Lead the port-forward of a pod to a port on loopback."""
        forward = {"ports": [PORT], "target": {"address": "127.0.0.1", "port": port}}
        self._cluster.apply(
            f"/apis/kwok.x-k8s.io/v1alpha1/namespaces/{NAMESPACE}/portforwards/{pod}",
            {
                "apiVersion": "kwok.x-k8s.io/v1alpha1",
                "kind": "PortForward",
                "metadata": {"name": pod, "namespace": NAMESPACE},
                "spec": {"forwards": [forward]},
            },
        )

    def remove(self, timeout: float = 60.0) -> None:
        """Remove the StatefulSet and its pods; what else there is stays."""
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/{NAME}?propagationPolicy=Background"
        self._ask("DELETE", path, ok=(200, 202, 404))
        self._wait("the end of all pods", lambda: not self.pods(), timeout)

    def pods(self) -> list[Mapping[str, Any]]:
        """All pods in the namespace, by name."""
        body = self._ask("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")
        return sorted(body["items"], key=lambda pod: str(pod["metadata"]["name"]))

    def running(self) -> list[str]:
        """Names of pods that run."""
        return [p["metadata"]["name"] for p in self.pods() if p.get("status", {}).get("phase") == "Running"]

    def ready(self) -> list[str]:
        """Names of pods that are Ready."""
        return [pod["metadata"]["name"] for pod in self.pods() if _is_ready(pod)]

    def endpoints(self) -> list[str]:
        """Names of pods that get the Service's traffic."""
        selector = f"kubernetes.io/service-name%3D{NAME}"
        path = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices?labelSelector={selector}"
        return sorted(
            endpoint["targetRef"]["name"]
            for piece in self._ask("GET", path)["items"]
            for endpoint in piece.get("endpoints") or []
            if endpoint.get("conditions", {}).get("ready")
        )

    def delete(self, pod: str, *, server: Callable[[str], None], timeout: float = 60.0) -> str:
        """Delete a pod as ``kubectl delete pod`` does and return the uid it had.

        :param server: stops the server behind it; called before the pod is gone.
        """
        uid = str(self._ask("GET", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}")["metadata"]["uid"])
        server(pod)
        self._ask("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}", ok=(200, 202, 404))
        self._wait("the end of the pod", lambda: uid not in [p["metadata"]["uid"] for p in self.pods()], timeout)
        return uid

    def _wait(self, what: str, check: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not check():
            if time.monotonic() > deadline:
                raise LabError(f"{self._cluster.name}: {what} not there after {timeout:.0f} s")
            time.sleep(0.05)


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


# -- the process -------------------------------------------------------------------------------------------------------


def _unsealed(server: Server) -> bool:
    try:
        answer = server.request("GET", "/v1/sys/seal-status", timeout=2.0)
    except OSError:
        return False
    return answer.status == 200 and not answer.body.get("sealed", True)


def _look(cluster: Server, servers: Mapping[str, Server]) -> None:
    answer = cluster.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")
    for pod in answer.body.get("items") or [] if answer.status == 200 else []:
        metadata = pod["metadata"]
        if metadata["name"] not in servers or metadata.get("deletionTimestamp"):
            continue
        now = "true" if _unsealed(servers[metadata["name"]]) else "false"
        if (metadata.get("annotations") or {}).get(UNSEALED, "false") == now:
            continue
        # the uid is a precondition: a pod of the same name that was made meanwhile is another one
        change = {"metadata": {"uid": metadata["uid"], "annotations": {UNSEALED: now}}}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{metadata['name']}"
        cluster.request("PATCH", path, change, content_type="application/merge-patch+json")


def main() -> None:
    """Tell kwok by an annotation which servers are unsealed, until stopped."""
    parser = argparse.ArgumentParser()
    for name in ("url", "ca", "cert", "key", "openbao-ca", "alive"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--node", action="append", required=True)
    options = parser.parse_args()
    cluster = Server(options.url, Path(options.ca), client=Pair(Path(options.cert), Path(options.key)))
    servers = {}
    for node in options.node:
        name, url, server_name = str(node).split("=", 2)
        servers[name] = Server(url, Path(options.openbao_ca), server_name)
    while True:
        with contextlib.suppress(OSError):  # the API server may be restarted any time
            _look(cluster, servers)
            if not Path(options.alive).is_file():
                write(Path(options.alive), "")
        time.sleep(TICK)


if __name__ == "__main__":
    main()
