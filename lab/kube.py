# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes clusters: etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok's nodes."""

from __future__ import annotations

import base64
import http.client
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import build
from lab.errors import LabError
from lab.files import private_dir, read_json, write, write_json
from lab.pki import Authority, Pair, signing_key
from lab.procs import Process
from lab.rest import Response, Server
from lab.runner import Step

FILES = Path(__file__).parent / "files"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
_PORTS = ("etcd", "etcd-peer", "apiserver", "controller-manager", "scheduler", "kwok")
NODES = 2


@dataclass(frozen=True)
class Cluster:
    """What a test or a playbook has to know about a cluster."""

    name: str
    role: str
    api_server: str
    ca_file: Path
    kubeconfig: Path
    """Administrator, by client certificate."""
    token_kubeconfig: Path
    """The same administrator, by bearer token; works through a proxy."""
    token_file: Path
    audit_log: Path
    issuer: str
    audience: str
    signing_key: Path
    """Public half of the key that signs service account tokens."""
    nodes: tuple[str, ...]


def kubeconfig(
    path: Path,
    *,
    context: str,
    server: str,
    ca: Path,
    client: Pair | None = None,
    token: str = "",
    server_name: str = "",
) -> None:
    """Write a kubeconfig that needs no other file."""

    def embedded(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    cluster: dict[str, Any] = {"server": server, "certificate-authority-data": embedded(ca)}
    if server_name:
        cluster["tls-server-name"] = server_name
    user: dict[str, Any] = {"token": token} if token else {}
    if client:
        user |= {"client-certificate-data": embedded(client.cert), "client-key-data": embedded(client.key)}
    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": context, "cluster": cluster}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": "lab-admin"}}],
        "users": [{"name": "lab-admin", "user": user}],
    }
    content = yaml.safe_dump(value, sort_keys=False)
    if not path.is_file() or path.read_text() != content:
        write(path, content)


class KubeCluster:
    """One cluster of the lab."""

    def __init__(self, name: str, role: str, index: int, state: Path) -> None:
        self.name = name
        self.role = role
        self.folder = state / name
        self.logs = state / "logs"
        self.service_network = f"10.{96 + index}.0"
        self.port_names = tuple(f"{name}.{port}" for port in _PORTS)
        self.nodes = tuple(f"{name}-node-{number}" for number in range(NODES))
        self._ports: dict[str, int] = {}

    # -- files -----------------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        """The name under which the cluster's certificate and issuer go."""
        return f"{self.name}.lab.internal"

    def port(self, name: str) -> int:
        """A port of this cluster."""
        return self._ports[f"{self.name}.{name}"]

    def prepare(self, ports: Mapping[str, int]) -> None:
        """Make certificates, keys, tokens and kubeconfigs."""
        self._ports = dict(ports)
        pki = self.folder / "pki"
        private_dir(pki)
        self.authority = Authority(pki, f"lab {self.name}")
        self.server_pair = self.authority.issue(
            "server",
            self.host,
            dns=(self.host, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"),
            addresses=("127.0.0.1", f"{self.service_network}.1"),
        )
        self.setup_pair = self.authority.issue("setup", "lab:setup", organisations=("system:masters",))
        self.kubelet_client = self.authority.issue("kubelet-client", "kube-apiserver-kubelet-client")
        self.published = [signing_key(pki, name) for name in self._signing_names()]
        admin = self.authority.issue("admin", "lab-admin", organisations=("system:masters",))
        token_file = self.folder / "admin-token"
        if not token_file.is_file():
            write(token_file, secrets.token_urlsafe(32))
        token = token_file.read_text()
        write(self.folder / "tokens.csv", f'{token},lab-admin,lab-admin,"system:masters"\n')
        common: dict[str, Any] = {"context": self.name, "server": self.url, "ca": self.authority.pair.cert}
        kubeconfig(self.folder / "kubeconfig", client=admin, **common)
        kubeconfig(self.folder / "token.kubeconfig", token=token, **common)
        for component, user in (
            ("controller-manager", "system:kube-controller-manager"),
            ("scheduler", "system:kube-scheduler"),
        ):
            pair = self.authority.issue(component, user, organisations=("system:masters",))
            kubeconfig(pki / f"{component}.kubeconfig", client=pair, **common)
        kwok = self.authority.issue("kwok", "lab:kwok", organisations=("system:masters",))
        kubeconfig(pki / "kwok.kubeconfig", client=kwok, **common)

    # -- signing keys of service accounts --------------------------------------------------------------------

    def _signing_names(self) -> list[str]:
        """Names of the keys in the JWKS; the first one signs."""
        return list(read_json(self.folder / "signing.json") or ["service-accounts"])

    @property
    def signing(self) -> Pair:
        """The key that signs service account tokens."""
        return self.published[0]

    def new_signing_key(self, *, keep_old: bool) -> None:
        """Sign with a new key from the next start on; the old ones are published on, or are gone."""
        names = self._signing_names()
        made = len(list((self.folder / "pki").glob("service-accounts*.key")))
        new = f"service-accounts-{made + 1}"
        write_json(self.folder / "signing.json", [new, *(names if keep_old else [])])
        self.published = [signing_key(self.folder / "pki", name) for name in self._signing_names()]

    @property
    def url(self) -> str:
        """Address of the API server."""
        return f"https://127.0.0.1:{self.port('apiserver')}"

    @property
    def issuer(self) -> str:
        """Issuer and default audience of service account tokens, as on Talos: the cluster's endpoint."""
        file = self.folder / "issuer"
        return file.read_text().strip() if file.is_file() else f"https://{self.host}:6443"

    def set_issuer(self, issuer: str) -> None:
        """Issue tokens under another name from the next start on; an empty one means the first name again."""
        file = self.folder / "issuer"
        if issuer:
            write(file, issuer + "\n")
        else:
            file.unlink(missing_ok=True)

    def new_authority(self) -> None:
        """Another authority of the same name, and certificates and kubeconfigs by it. The old one stays as a file."""
        pki = self.folder / "pki"
        self.authority.pair.cert.replace(pki / "ca-before.pem")
        self.authority.pair.key.unlink()
        issued = ("server", "setup", "kubelet-client", "admin", "controller-manager", "scheduler", "kwok")
        for name in issued:
            for suffix in ("pem", "key"):
                (pki / f"{name}.{suffix}").unlink()
        self.prepare(self._ports)

    def info(self) -> Cluster:
        """What users of the lab see."""
        return Cluster(
            name=self.name,
            role=self.role,
            api_server=self.url,
            ca_file=self.authority.pair.cert,
            kubeconfig=self.folder / "kubeconfig",
            token_kubeconfig=self.folder / "token.kubeconfig",
            token_file=self.folder / "admin-token",
            audit_log=self.folder / "audit.log",
            issuer=self.issuer,
            audience=self.issuer,
            signing_key=self.signing.cert,
            nodes=self.nodes,
        )

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Response:
        """Ask the API server as the lab itself; not in the audit log."""
        server = Server(self.url, self.authority.pair.cert, client=self.setup_pair)
        return server.request(method, path, body, content_type=content_type, timeout=15.0)

    # -- processes -------------------------------------------------------------------------------------------

    def _api_ready(self) -> str | None:
        answer = self.request("GET", "/readyz")
        return None if answer.status == 200 else f"readyz says {answer.status}"

    def _server_ready(self, port: str, path: str = "/healthz") -> Callable[[], str | None]:
        server = Server(f"https://127.0.0.1:{self.port(port)}", self.authority.pair.cert, client=self.setup_pair)

        def ready() -> str | None:
            answer = server.request("GET", path)
            return None if answer.status == 200 else f"{path} says {answer.status}"

        return ready

    def _etcd_ready(self) -> str | None:
        # Plain HTTP: on loopback and for etcd only.
        connection = http.client.HTTPConnection("127.0.0.1", self.port("etcd"), timeout=5)
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        return None if answer.status == 200 and "true" in text else f"health says {answer.status} {text}"

    def processes(self) -> list[Process]:
        """The cluster's rows of the process table."""
        pki = self.folder / "pki"
        etcd_url = f"http://127.0.0.1:{self.port('etcd')}"
        peer_url = f"http://127.0.0.1:{self.port('etcd-peer')}"
        cert, key = str(self.server_pair.cert), str(self.server_pair.key)
        authority = str(self.authority.pair.cert)
        audit = self.folder / "audit.log"
        rows: list[Process] = []

        def row(
            name: str,
            flags: tuple[str, ...],
            ports: tuple[str, ...],
            ready: Callable[[], str | None],
            *,
            needs: tuple[str, ...] = (),
            data: tuple[Path, ...] = (),
            program: str,
            graceful: bool = False,
        ) -> None:
            full = f"{self.name}-{name}"
            rows.append(
                Process(
                    name=full,
                    component=self.name,
                    argv=(str(build.path(program)), *flags),
                    ports={port: self.port(port) for port in ports},
                    ready=ready,
                    log=self.logs / f"{full}.log",
                    needs=(f"build-{program}", *needs),
                    data=data,
                    graceful=graceful,
                )
            )

        row(
            "etcd",
            (
                f"--name={self.name}",
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={etcd_url}",
                f"--advertise-client-urls={etcd_url}",
                f"--listen-peer-urls={peer_url}",
                f"--initial-advertise-peer-urls={peer_url}",
                f"--initial-cluster={self.name}={peer_url}",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ),
            ("etcd", "etcd-peer"),
            self._etcd_ready,
            data=(self.folder / "etcd",),
            program="etcd",
            graceful=True,
        )
        row(
            "apiserver",
            (
                f"--etcd-servers={etcd_url}",
                f"--etcd-prefix=/registry/{self.name}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self.port('apiserver')}",
                # Endpoints must not be loopback addresses; nobody in the lab uses the service's address.
                "--advertise-address=192.0.2.1",
                "--endpoint-reconciler-type=none",
                f"--external-hostname={self.host}",
                f"--cert-dir={pki}",
                f"--tls-cert-file={cert}",
                f"--tls-private-key-file={key}",
                f"--client-ca-file={authority}",
                f"--token-auth-file={self.folder / 'tokens.csv'}",
                "--anonymous-auth=false",
                "--authorization-mode=RBAC",
                "--allow-privileged",
                f"--service-account-issuer={self.issuer}",
                f"--api-audiences={self.issuer}",
                *(f"--service-account-key-file={key.cert}" for key in self.published),
                f"--service-account-signing-key-file={self.signing.key}",
                f"--service-cluster-ip-range={self.service_network}.0/16",
                f"--kubelet-certificate-authority={authority}",
                f"--kubelet-client-certificate={self.kubelet_client.cert}",
                f"--kubelet-client-key={self.kubelet_client.key}",
                "--kubelet-preferred-address-types=InternalIP",
                f"--audit-policy-file={FILES / 'audit-policy.yaml'}",
                f"--audit-log-path={audit}",
                "--audit-log-mode=blocking",
                "--shutdown-delay-duration=0s",
            ),
            ("apiserver",),
            self._api_ready,
            needs=(f"{self.name}-etcd",),
            data=(audit,),
            program="kube-apiserver",
        )
        serving = (f"--tls-cert-file={cert}", f"--tls-private-key-file={key}")
        for name, extra in (
            (
                "controller-manager",
                (
                    f"--service-account-private-key-file={self.signing.key}",
                    f"--root-ca-file={authority}",
                    f"--cluster-signing-cert-file={authority}",
                    f"--cluster-signing-key-file={self.authority.pair.key}",
                ),
            ),
            ("scheduler", ()),
        ):
            config = str(pki / f"{name}.kubeconfig")
            row(
                name,
                (
                    f"--kubeconfig={config}",
                    "--leader-elect=false",
                    "--bind-address=127.0.0.1",
                    f"--secure-port={self.port(name)}",
                    *serving,
                    *extra,
                ),
                (name,),
                self._server_ready(name),
                needs=(f"{self.name}-apiserver",),
                program=f"kube-{name}",
            )
        address = f"127.0.0.1:{self.port('kwok')}"
        row(
            "kwok",
            (
                f"--kubeconfig={pki / 'kwok.kubeconfig'}",
                "--manage-all-nodes=true",
                "--node-ip=127.0.0.1",
                f"--node-port={self.port('kwok')}",
                f"--server-address={address}",
                "--node-lease-duration-seconds=40",
                *serving,
                "--enable-crds=ClusterPortForward,PortForward,Stage",
            ),
            ("kwok",),
            self._server_ready("kwok"),
            needs=(f"{self.name}-resources",),
            program="kwok",
        )
        return rows

    # -- content ---------------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """What is put into the cluster by the lab."""
        return [
            Step(f"{self.name}-resources", self._resources, (f"{self.name}-apiserver",)),
            Step(
                f"{self.name}-nodes",
                self._nodes,
                (f"{self.name}-kwok", f"{self.name}-controller-manager", f"{self.name}-scheduler"),
            ),
        ]

    def _until(
        self, what: str, check: Callable[[], bool], cancelled: Callable[[], bool], timeout: float = 90.0
    ) -> None:
        deadline = time.monotonic() + timeout
        while not check():
            if cancelled():
                raise LabError(f"interrupted while waiting for {what}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: {what} not there after {timeout:.0f} s")
            time.sleep(0.1)

    def until_served(self, paths: Sequence[str], cancelled: Callable[[], bool], timeout: float) -> None:
        """Wait until kinds that were just defined can be listed, by the paths of their collections.

        :raises LabError: when one is not after *timeout* seconds, or the wait is cancelled.
        """
        deadline = time.monotonic() + timeout
        while left := [path for path in paths if self.request("GET", f"{path}?limit=1").status != 200]:
            if cancelled():
                raise LabError(f"interrupted while waiting for {left[0]}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: {left[0]} not served after {timeout:.0f} s")
            time.sleep(0.1)

    def apply(self, path: str, content: str | Mapping[str, Any]) -> bool:
        """Server-side apply of one object; True unless its kind is not served yet."""
        body = content if isinstance(content, str) else yaml.safe_dump(dict(content))
        answer = self.request("PATCH", f"{path}?fieldManager=lab&force=true", body, "application/apply-patch+yaml")
        if answer.status == 404:
            return False
        if answer.status not in (200, 201):
            raise LabError(f"{self.name}: {path} refused with {answer.status}: {answer.body}")
        return True

    def _resources(self, cancelled: Callable[[], bool]) -> str:
        for file in sorted((FILES / "kwok" / "crds").glob("*.yaml")):
            text = file.read_text()
            name = yaml.safe_load(text)["metadata"]["name"]
            self.apply(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}", text)
        for kind in ("stages", "portforwards", "clusterportforwards"):
            self._until(
                f"kind {kind}",
                lambda kind=kind: self.request("GET", f"/apis/kwok.x-k8s.io/v1alpha1/{kind}").status == 200,  # type: ignore[misc]
                cancelled,
            )
        for file in sorted((FILES / "kwok" / "stages").glob("*.yaml")):
            text = file.read_text()
            path = f"/apis/kwok.x-k8s.io/v1alpha1/stages/{yaml.safe_load(text)['metadata']['name']}"
            self._until(path, lambda path=path, text=text: self.apply(path, text), cancelled)  # type: ignore[misc]
        return ""

    def _nodes(self, cancelled: Callable[[], bool]) -> str:
        for name in self.nodes:
            capacity = {"cpu": "32", "memory": "256Gi", "pods": "250", "ephemeral-storage": "1Ti"}
            node = {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {
                    "name": name,
                    "annotations": {"kwok.x-k8s.io/node": "fake"},
                    "labels": {
                        "kubernetes.io/hostname": name,
                        "kubernetes.io/arch": "amd64",
                        "kubernetes.io/os": "linux",
                        "type": "kwok",
                    },
                },
                # kwok takes addresses away again when only one of the two is there.
                "status": {
                    "allocatable": capacity,
                    "capacity": capacity,
                    "addresses": [
                        {"type": "InternalIP", "address": "127.0.0.1"},
                        {"type": "Hostname", "address": name},
                    ],
                },
            }
            answer = self.request("POST", "/api/v1/nodes", node)
            if answer.status not in (201, 409):
                raise LabError(f"{self.name}: node {name} refused with {answer.status}: {answer.body}")

        def settled() -> bool:
            answer = self.request("GET", "/api/v1/nodes")
            if answer.status != 200:
                return False
            ready = {
                item["metadata"]["name"]
                for item in answer.body["items"]
                for condition in item.get("status", {}).get("conditions", [])
                if condition["type"] == "Ready" and condition["status"] == "True"
                if not any(taint["effect"] != "PreferNoSchedule" for taint in item["spec"].get("taints", []))
            }
            if not set(self.nodes) <= ready:
                return False
            account = self.request("GET", "/api/v1/namespaces/default/serviceaccounts/default")
            return account.status == 200

        self._until("ready nodes and the default service account", settled, cancelled)
        return f"{len(self.nodes)} nodes ready"
