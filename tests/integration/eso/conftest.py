# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both clusters with External Secrets, wired to OpenBao by jwt_reviewer; modules run in this process or by Ansible."""

from __future__ import annotations

import dataclasses
import itertools
import time
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.filter.eso_stores import eso_stores

from lab.api import Lab
from tests.integration import audit, in_process

CLUSTERS = ("core-infra", "member-prod")
GROUP = "/apis/external-secrets.io/v1"
_COUNTER = itertools.count(1)


@dataclasses.dataclass
class EsoSite:
    """The lab, and what only a test may do with it. Tests have namespaces with names of their own."""

    lab: Lab
    root: str

    # -- modules -----------------------------------------------------------------------------------------------------

    def call(self, name: str, *, check: bool = False, **args: t.Any) -> dict[str, t.Any]:
        """Run a module in this process and return what it prints."""
        return in_process.call(name, args, check=check)

    def apply(self, name: str, **args: t.Any) -> dict[str, t.Any]:
        """Run a module in this process; it must succeed."""
        result = self.call(name, **args)
        assert not result.get("failed"), result
        return result

    def clusters(self, *names: str) -> list[dict[str, str]]:
        """The module option ``clusters``."""
        known = self.lab.clusters
        return [{"name": name, "kubeconfig": str(known[name].kubeconfig)} for name in names or CLUSTERS]

    def sync(self, *names: str, check: bool = False, **args: t.Any) -> dict[str, t.Any]:
        """Run eso_sync on some clusters, or on both; it must succeed."""
        result = self.call("eso_sync", check=check, clusters=self.clusters(*names), **args)
        assert not result.get("failed"), result
        return result

    # -- OpenBao -----------------------------------------------------------------------------------------------------

    def bao(self, method: str, path: str, body: t.Any = None, *, ok: bool = True) -> tuple[int, t.Any]:
        """Ask OpenBao as root."""
        active = self.lab.openbao_active()
        assert active, "no active node"
        answer = self.lab.openbao_server(active).request(method, f"/v1/{path}", body, token=self.root)
        assert not ok or answer.status < 300, (method, path, answer)
        return answer.status, answer.body

    def write_secret(self, cluster: str, namespace: str, name: str = "db", **values: str) -> None:
        self.bao("POST", f"kv/data/tenants/{cluster}/{namespace}/{name}", {"data": values})

    def seal(self) -> None:
        """Restart all servers: they come back sealed."""
        self.lab.restart("openbao")

    # -- Kubernetes --------------------------------------------------------------------------------------------------

    def kube(self, cluster: str, method: str, path: str, body: t.Any = None, content_type: str = "") -> t.Any:
        """Ask an API server as somebody who is not in the audit log; ``None`` for what does not exist."""
        answer = self.lab.kube_server(cluster).request(
            method, path, body, content_type=content_type or "application/json"
        )
        assert answer.status < 300 or (method in ("GET", "DELETE") and answer.status == 404), (method, path, answer)
        return answer.body if answer.status < 300 else None

    def make_namespace(self, cluster: str, name: str, **labels: str) -> None:
        self.kube(cluster, "POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})

    def stores(self, cluster: str, *namespaces: t.Any, inventory: str = "", **options: t.Any) -> dict[str, t.Any]:
        """Render stores by the filter and apply them by kube_apply."""
        objects = eso_stores(
            list(namespaces),
            **{
                "server": self.lab.openbao_nodes[0].address,
                "mount": f"kubernetes-{cluster}",
                "audience": f"openbao-{cluster}",
                "api_audiences": [self.lab.clusters[cluster].audience],
                "ca_bundle": self.lab.openbao_ca.read_text(),
                **options,
            },
        )
        name = inventory or f"stores-{namespaces[0]}-{options.get('scope', 'namespace')}"
        return self.apply(
            "kube_apply",
            kubeconfig=str(self.lab.clusters[cluster].kubeconfig),
            inventory={"name": name, "namespace": "kube-system"},
            objects=objects,
        )

    def want(
        self,
        cluster: str,
        namespace: str,
        name: str = "db",
        *,
        key: str = "",
        store: str = "SecretStore",
        **spec: t.Any,
    ) -> None:
        """Make an ExternalSecret that reads ``tenants/<cluster>/<namespace>/db``, or *key*."""
        body = {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "refreshInterval": "1h",
                "secretStoreRef": {"kind": store, "name": "openbao"},
                "target": {"name": name},
                "dataFrom": [{"extract": {"key": key or f"tenants/{cluster}/{namespace}/db"}}],
                **spec,
            },
        }
        self.kube(cluster, "POST", f"{GROUP}/namespaces/{namespace}/externalsecrets", body)

    def ready(self, cluster: str, namespace: str, name: str = "db", kind: str = "externalsecrets") -> str:
        """Return the status of the condition Ready: True, False, or an empty text."""
        live = self.kube(cluster, "GET", f"{GROUP}/namespaces/{namespace}/{kind}/{name}") or {}
        conditions = (live.get("status") or {}).get("conditions") or []
        return next((str(c["status"]) for c in conditions if c["type"] == "Ready"), "")

    def annotations(
        self, cluster: str, namespace: str, name: str = "db", kind: str = "externalsecrets"
    ) -> dict[str, str]:
        live = self.kube(cluster, "GET", f"{GROUP}/namespaces/{namespace}/{kind}/{name}")
        return dict(live["metadata"].get("annotations") or {})

    def secret(self, cluster: str, namespace: str, name: str = "db") -> dict[str, str]:
        """Return the data of a Kubernetes Secret, still in base64; empty if there is none."""
        live = self.kube(cluster, "GET", f"/api/v1/namespaces/{namespace}/secrets/{name}") or {}
        return dict(live.get("data") or {})

    def asked(self, cluster: str, mark: int) -> list[tuple[str, str]]:
        """Return (verb, uri) of the administrator's requests since *mark*."""
        return audit.asked(self.lab, cluster, mark)

    def mark(self, cluster: str) -> int:
        return audit.mark(self.lab, cluster)

    @staticmethod
    def until(what: str, check: t.Callable[[], bool], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
            time.sleep(0.2)


def wire(site: EsoSite) -> None:
    """Give OpenBao a key/value engine and wire both clusters to it."""
    if "kv/" not in site.bao("GET", "sys/mounts")[1]["data"]:
        site.bao("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        site.until("the key/value engine", lambda: site.bao("GET", "kv/config", ok=False)[0] == 200)
    node = next(n for n in site.lab.openbao_nodes if n.name == site.lab.openbao_active())
    site.apply(
        "jwt_reviewer",
        openbao={
            "url": node.address,
            "tls_server_name": node.tls_server_name,
            "ca_cert": str(site.lab.openbao_ca),
            "auth_method": "token",
            "token": site.root,
        },
        clusters=[{**cluster, "access": {"namespaces": ["4-aux-*"]}} for cluster in site.clusters()],
        verify="never",
    )


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[EsoSite]:
    """One lab for all tests of this folder."""
    lab = Lab("eso-tests", tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["openbao", *CLUSTERS, "eso"])
        found = EsoSite(lab, lab.init_openbao().root_token)
        wire(found)
        yield found
    finally:
        lab.down(wipe=True)


@pytest.fixture
def tenant() -> str:
    """A namespace that no other test uses."""
    return f"4-aux-t{next(_COUNTER)}"
