# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers with the configuration and the certificates that the role has put into the cluster.

They run outside of it: paths and addresses are those of this machine, everything else is as in the ConfigMap, and the
servers find each other by the names of their pods, which the certificate has to have.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._components import openbao

from lab import build
from lab.api import Lab
from lab.rest import Response, Server
from tests.integration.ansible_run import ROOT, Result, private, run_play
from tests.integration.components.conftest import CLUSTER, Site

PLAYBOOK = ROOT / "playbooks" / "components.yml"
SETTINGS = {
    "image": f"openbao.invalid/openbao:2.4.4@sha256:{hashlib.sha256(b'').hexdigest()}",
    "name": "store",
    "namespace": "store",
}
# A site has the two in ansible-vault.
PASSPHRASES = {
    "platform_components_ca_passphrase": hashlib.sha256(b"of the authority").hexdigest(),
    "platform_components_key_passphrase": hashlib.sha256(b"of the servers").hexdigest(),
}
PODS = ("store-0", "store-1", "store-2")


def play(site: Site, **more: t.Any) -> Result:
    variables = {
        "platform_clusters": [{"name": CLUSTER, "kubeconfig": site.kubeconfig}],
        "platform_components": [{"name": "store", "openbao": SETTINGS}],
        "platform_components_certificates_dir": str(site.folder / "certificates"),
        **PASSPHRASES,
        **more,
    }
    return run_play(PLAYBOOK, extra_vars_file=private(site.folder / "variables.json", json.dumps(variables)))


class Servers:
    """Three servers as their StatefulSet would start them."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.folder = site.folder
        self.tls = site.folder / "tls"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        sockets = [socket.socket() for number in range(2 * len(PODS))]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        numbers = [one.getsockname()[1] for one in sockets]
        for one in sockets:
            one.close()
        self.ports = dict(zip(PODS, numbers[: len(PODS)], strict=True))
        self.cluster_ports = dict(zip(PODS, numbers[len(PODS) :], strict=True))
        self.root = ""

    def deliver(self) -> None:
        """Bring the files of the Kubernetes Secret, as a kubelet does."""
        stored = self.site.get("/api/v1/namespaces/store/secrets/openbao-tls")["data"]
        assert sorted(stored) == ["ca.crt", "tls.crt", "tls.key"]
        self.tls.mkdir(mode=0o700, exist_ok=True)
        for name, content in stored.items():
            private(self.tls / name, base64.b64decode(content).decode())

    def config(self, pod: str) -> str:
        """The configuration of the ConfigMap, with the paths and addresses of this machine."""
        text: str = self.site.get("/api/v1/namespaces/store/configmaps/store-config")["data"]["openbao.hcl"]
        changes = {
            "/openbao/tls/": f"{self.tls}/",
            "/openbao/data": str(self.folder / pod),
            f"[::]:{openbao.PORT}": f"127.0.0.1:{self.ports[pod]}",
            f"[::]:{openbao.CLUSTER_PORT}": f"127.0.0.1:{self.cluster_ports[pod]}",
            **{f"https://{name}.store-internal:{openbao.PORT}": self.url(name) for name in PODS},
        }
        for before, after in changes.items():
            assert before in text, text
            text = text.replace(before, after)
        return text

    def url(self, pod: str) -> str:
        return f"https://127.0.0.1:{self.ports[pod]}"

    def start(self) -> None:
        program = str(build.path("vault"))
        extra = self.folder / "lab.hcl"
        # Locked memory needs a right that the machine may not give; OpenBao has no such setting.
        extra.write_text("" if os.environ.get("OPENBAO_BIN") else "disable_mlock = true\n")
        for pod in PODS:
            (self.folder / pod).mkdir()
            config = self.folder / f"{pod}.hcl"
            config.write_text(self.config(pod))
            cluster = f"https://127.0.0.1:{self.cluster_ports[pod]}"
            own = {"RAFT_NODE_ID": pod, "API_ADDR": self.url(pod), "CLUSTER_ADDR": cluster}
            with (self.folder / f"{pod}.log").open("wb") as log:
                self._processes[pod] = subprocess.Popen(
                    [program, "server", f"-config={config}", f"-config={extra}"],
                    env={
                        "PATH": os.environ["PATH"],
                        "HOME": str(self.folder),
                        **{f"{product}_{name}": value for product in ("BAO", "VAULT") for name, value in own.items()},
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def server(self, pod: str = PODS[0], name: str = "store.store.svc") -> Server:
        return Server(self.url(pod), self.tls / "ca.crt", name)

    def ask(self, method: str, path: str, body: t.Any = None, pod: str = PODS[0]) -> Response:
        answer = self.server(pod).request(method, f"/v1/{path}", body, token=self.root or None, timeout=30)
        assert answer.status < 300, (answer, (self.folder / f"{pod}.log").read_text()[-3000:])
        return answer

    def health(self, pod: str) -> int:
        try:
            return self.server(pod).request("GET", "/v1/sys/health").status
        except ConnectionRefusedError:
            return 0

    def unsealed(self) -> None:
        """Initialise the first; the others find it by themselves."""
        for pod in PODS:
            assert self.site.until(lambda pod=pod: self.health(pod) == 501, 60), pod  # type: ignore[misc]
        made = self.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}).body
        for pod in PODS:

            def done(pod: str = pod) -> bool:
                if self.health(pod) in (200, 429):
                    return True
                share = {"key": made["keys"][0]}
                self.server(pod).request("PUT", "/v1/sys/unseal", share, timeout=30)
                return False

            assert self.site.until(done, 120), (self.folder / f"{pod}.log").read_text()[-3000:]
        self.root = made["root_token"]

    def serial(self, pod: str) -> int:
        """The serial number of the certificate that a server shows."""
        context = ssl.create_default_context(cafile=str(self.tls / "ca.crt"))
        with (
            socket.create_connection(("127.0.0.1", self.ports[pod]), 10) as plain,
            context.wrap_socket(plain, server_hostname="store.store.svc") as secure,
        ):
            shown = secure.getpeercert()
            assert shown
            return int(str(shown["serialNumber"]), 16)

    def signal(self, number: int) -> None:
        for process in self._processes.values():
            process.send_signal(number)

    def knows(self, name: str, authority: Path | None = None) -> bool:
        """Whether a server shows a certificate for this name that the authority has signed."""
        server = Server(self.url(PODS[0]), authority or self.tls / "ca.crt", name)
        try:
            server.request("GET", "/v1/sys/health")
        except ssl.SSLCertVerificationError:
            return False
        return True


@pytest.fixture
def servers(site: Site) -> t.Iterator[Servers]:
    made = Servers(site)
    try:
        yield made
    finally:
        made.stop()


def test_servers_run_with_what_the_role_renders_and_take_its_renewed_certificate(
    servers: Servers, components_lab: Lab
) -> None:
    site = servers.site
    play(site).ok()
    servers.deliver()
    servers.start()
    servers.unsealed()

    # By the names of their pods, verified by the authority that the role has made, they have become one cluster.
    joined = site.until(
        lambda: len(servers.ask("GET", "sys/storage/raft/configuration").body["data"]["config"]["servers"]) == len(PODS)
    )
    assert joined
    servers.ask("POST", "sys/auth/userpass", {"type": "userpass"})
    servers.ask("POST", "auth/userpass/users/ada", {"password": "only-in-this-test"})
    login = "auth/userpass/login/ada"
    assert servers.ask("PUT", login, {"password": "only-in-this-test"}).body["auth"]["client_token"]

    names = openbao.names(openbao.parse(SETTINGS))
    assert "store-2.store-internal.store.svc.cluster.local" in names
    assert [name for name in [*names, "127.0.0.1"] if not servers.knows(name)] == []
    assert not servers.knows("store-3.store-internal")
    assert not servers.knows("store.store.svc", authority=components_lab.openbao_ca)

    before = {pod: servers.serial(pod) for pod in PODS}
    authority = (servers.tls / "ca.crt").read_bytes()
    renewed = play(site, platform_components_renew_days=366, platform_components_certificate_days=730).ok()
    assert [one["kind"] for one in renewed.of("platform_components")["changes"]] == ["Secret"]
    servers.deliver()
    assert (servers.tls / "ca.crt").read_bytes() == authority
    assert {pod: servers.serial(pod) for pod in PODS} == before
    servers.signal(signal.SIGHUP)
    for pod in PODS:
        assert site.until(lambda pod=pod: servers.serial(pod) != before[pod]), pod  # type: ignore[misc]
    assert servers.ask("PUT", login, {"password": "only-in-this-test"}, pod=PODS[0]).body["auth"]["client_token"]
    again = play(site, platform_components_renew_days=366, platform_components_certificate_days=730).ok()
    assert again.changed == []
