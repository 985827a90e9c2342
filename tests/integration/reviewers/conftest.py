# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two clusters and an unsealed OpenBao with a key/value engine; modules run in this process or by real Ansible."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
import typing as t
from pathlib import Path

import pytest

from lab.api import Lab, Proxy
from tests.integration import audit, in_process

DOMAIN = "infra.hackspace.org"
_COUNTER = itertools.count(1)


@dataclasses.dataclass
class ReviewerSite:
    """The lab, and what only a test may do with it. Tests have clusters, mounts and namespaces of their own."""

    lab: Lab
    root: str

    # -- arguments ---------------------------------------------------------------------------------------------------

    @property
    def active(self) -> str:
        name = self.lab.openbao_active()
        assert name, "no active node"
        return name

    def openbao(self, **changes: t.Any) -> dict[str, t.Any]:
        """The module option ``openbao``."""
        node = next(n for n in self.lab.openbao_nodes if n.name == self.active)
        return {
            "url": node.address,
            "tls_server_name": node.tls_server_name,
            "ca_cert": str(self.lab.openbao_ca),
            "auth_method": "token",
            "token": self.root,
            **changes,
        }

    def entry(self, tag: str, where: str = "member-prod", **changes: t.Any) -> dict[str, t.Any]:
        """An entry of the module option ``clusters``: a cluster *tag* at one of the lab's API servers."""
        return {
            "name": tag,
            "kubeconfig": str(self.lab.clusters[where].kubeconfig),
            "namespace": f"{tag}-auth",
            "cluster_role": f"{tag}-reviewer",
            **changes,
        }

    def args(self, *clusters: t.Mapping[str, t.Any], **changes: t.Any) -> dict[str, t.Any]:
        return {"openbao": self.openbao(), "clusters": list(clusters), **changes}

    # -- runs --------------------------------------------------------------------------------------------------------

    def call(
        self, *clusters: t.Mapping[str, t.Any], module: str = "jwt_reviewer", check: bool = False, **changes: t.Any
    ) -> dict[str, t.Any]:
        """Run a module in this process and return what it prints."""
        return in_process.call(module, self.args(*clusters, **changes), check=check)

    def apply(self, *clusters: t.Mapping[str, t.Any], **changes: t.Any) -> dict[str, t.Any]:
        """Run jwt_reviewer; it must succeed."""
        result = self.call(*clusters, **changes)
        assert not result.get("failed"), f"{result['msg']} {result.get('failures')}"
        return result

    def refused(self, rule: str, *clusters: t.Mapping[str, t.Any], **changes: t.Any) -> dict[str, t.Any]:
        """Run jwt_reviewer; it must fail by *rule*."""
        result = self.call(*clusters, **changes)
        assert result.get("failed"), result
        assert result["error"]["rule"] == rule, result["msg"]
        return result

    # -- OpenBao -----------------------------------------------------------------------------------------------------

    def bao(
        self, method: str, path: str, body: t.Any = None, *, token: str | None = None, ok: bool = True
    ) -> tuple[int, dict[str, t.Any]]:
        """Ask OpenBao as root, or with *token*; ``""`` sends none."""
        server = self.lab.openbao_server(self.active)
        answer = server.request(method, f"/v1/{path}", body, token=self.root if token is None else token or None)
        assert not ok or answer.status < 300, (method, path, answer)
        return answer.status, answer.body or {}

    def data(self, path: str) -> dict[str, t.Any] | None:
        status, body = self.bao("GET", path, ok=False)
        return t.cast("dict[str, t.Any]", body["data"]) if status == 200 else None

    def keys(self, path: str) -> list[str]:
        status, body = self.bao("LIST", path, ok=False)
        return list(body["data"]["keys"]) if status == 200 else []

    def mount(self, path: str) -> dict[str, t.Any] | None:
        return (self.data("sys/auth") or {}).get(f"{path}/")

    def login(self, mount: str, role: str, jwt: str) -> tuple[int, dict[str, t.Any]]:
        """Log in as a pod would; status, and ``auth`` or the errors."""
        status, body = self.bao("POST", f"auth/{mount}/login", {"role": role, "jwt": jwt}, token="", ok=False)
        return status, body.get("auth") or body

    def write_secret(self, path: str, **values: str) -> None:
        self.bao("POST", f"kv/data/{path}", {"data": values})

    # -- Kubernetes --------------------------------------------------------------------------------------------------

    def kube(
        self,
        method: str,
        path: str,
        body: t.Any = None,
        *,
        where: str = "member-prod",
        content_type: str = "application/json",
    ) -> t.Any:
        """Ask an API server as somebody who is not in the audit log; ``None`` for what does not exist."""
        answer = self.lab.kube_server(where).request(method, path, body, content_type=content_type)
        assert answer.status < 300 or (method in ("GET", "DELETE") and answer.status == 404), (method, path, answer)
        return answer.body if answer.status < 300 else None

    def make_account(self, namespace: str, name: str = "eso", *, where: str = "member-prod") -> None:
        """Make a ServiceAccount, and its namespace if need be."""
        if self.kube("GET", f"/api/v1/namespaces/{namespace}", where=where) is None:
            self.kube("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}}, where=where)
        self.kube("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}}, where=where)

    def token(self, namespace: str, name: str, audience: str, *, where: str = "member-prod") -> str:
        """Return a token of a ServiceAccount."""
        spec = {"audiences": [audience], "expirationSeconds": 600}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return str(self.kube("POST", path, body, where=where)["status"]["token"])

    def bound(self, tag: str, *, where: str = "member-prod", namespace: str | None = None) -> list[dict[str, t.Any]]:
        """Return the bound Secrets of a cluster."""
        path = f"/api/v1/namespaces/{namespace or f'{tag}-auth'}/secrets?labelSelector={DOMAIN}/reviewer%3D{tag}"
        return list(self.kube("GET", path, where=where)["items"])

    def evidence(self, tag: str, **where: t.Any) -> dict[str, str]:
        """Return the evidence on the only bound Secret of a cluster, by the last part of each key."""
        secrets = self.bound(tag, **where)
        assert len(secrets) == 1, [s["metadata"]["name"] for s in secrets]
        there = secrets[0]["metadata"]["annotations"]
        prefix = f"{DOMAIN}/reviewer-"
        return {k.removeprefix(prefix): v for k, v in there.items() if k.startswith(prefix)}

    def mark(self, where: str = "member-prod") -> int:
        """Return where the API server's audit log ends now."""
        return audit.mark(self.lab, where)

    def asked(self, mark: int, where: str = "member-prod") -> list[tuple[str, str]]:
        """Return (verb, uri) of the administrator's requests since *mark*."""
        return audit.asked(self.lab, where, mark)

    # -- time --------------------------------------------------------------------------------------------------------

    @staticmethod
    def until(what: str, check: t.Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait for something that takes a moment."""
        deadline = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
            time.sleep(0.2)


def reviewer_site(lab: Lab) -> ReviewerSite:
    """Start everything in *lab* and give OpenBao a key/value engine."""
    lab.up(["openbao", "core-infra", "member-prod"])
    site = ReviewerSite(lab, lab.init_openbao().root_token)
    if "kv/" not in (site.data("sys/mounts") or {}):
        site.bao("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        site.until("the key/value engine", lambda: site.bao("GET", "kv/config", ok=False)[0] == 200)
    return site


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[ReviewerSite]:
    """One lab for all tests of this folder."""
    lab = Lab("reviewers", tmp_path_factory.mktemp("lab"))
    try:
        yield reviewer_site(lab)
    finally:
        lab.down(wipe=True)


@pytest.fixture
def tag() -> str:
    """A word that no other test uses in its names: the name of a cluster of its own."""
    return f"t{next(_COUNTER)}"


@dataclasses.dataclass
class Proxies:
    """Proxies in front of OpenBao's active node and both API servers."""

    bao: Proxy
    kube: dict[str, Proxy]

    def clear(self) -> None:
        for proxy in (self.bao, *self.kube.values()):
            proxy.clear_requests()
            proxy.clear_rules()

    def seen(self) -> list[tuple[str, str, str]]:
        """Return (server, method, path) of all requests so far."""
        return [(p.name, r.method, r.path) for p in (self.bao, *self.kube.values()) for r in p.requests()]

    def kubeconfig(self, where: str = "member-prod") -> str:
        path = self.kube[where].kubeconfig
        assert isinstance(path, Path)
        return str(path)


@pytest.fixture
def proxies(site: ReviewerSite) -> t.Iterator[Proxies]:
    with contextlib.ExitStack() as stack:
        bao = stack.enter_context(site.lab.proxy(site.active))
        kube = {name: stack.enter_context(site.lab.proxy(name)) for name in ("core-infra", "member-prod")}
        yield Proxies(bao, kube)
