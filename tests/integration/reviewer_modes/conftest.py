# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same lab as for the other tests of jwt_reviewer, and a tenant who logs in and reads."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import threading
import time
import typing as t

import pytest

from lab.api import Lab
from tests.integration.reviewers.conftest import Proxies, ReviewerSite, reviewer_site

_COUNTER = itertools.count(1)


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[ReviewerSite]:
    """One lab for all tests of this folder."""
    lab = Lab("reviewer-modes", tmp_path_factory.mktemp("lab"))
    try:
        yield reviewer_site(lab)
    finally:
        lab.down(wipe=True)


@dataclasses.dataclass
class Tenant:
    """Two namespaces of a cluster *tag*; the tenant owns the first one."""

    site: ReviewerSite
    tag: str

    def __post_init__(self) -> None:
        self.site.make_account(self.home)
        for namespace in (self.home, self.other):
            self.site.write_secret(f"tenants/{self.tag}/{namespace}/db", password=f"of {namespace}")

    @property
    def home(self) -> str:
        return f"{self.tag}-a"

    @property
    def other(self) -> str:
        return f"{self.tag}-b"

    @property
    def mount(self) -> str:
        return f"kubernetes-{self.tag}"

    def entry(self, mode: str, **changes: t.Any) -> dict[str, t.Any]:
        """The cluster in *mode*, as an entry of the module option."""
        if mode == "client_jwt":
            changes.setdefault("access", {"namespaces": [self.home]})
        return self.site.entry(self.tag, mode=mode, **changes)

    def jwt(self, *more: str, account: str = "eso", namespace: str | None = None) -> str:
        """A token of the tenant for OpenBao, and for *more* audiences."""
        namespace = namespace or self.home
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        spec = {"audiences": [f"openbao-{self.tag}", *more], "expirationSeconds": 600}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return str(self.site.kube("POST", path, body)["status"]["token"])

    def login(self, jwt: str | None = None, role: str = "tenant") -> tuple[int, dict[str, t.Any]]:
        """Log in as a pod would; status, and ``auth`` or the errors."""
        return self.site.login(self.mount, role, jwt or self.jwt())

    def token(self, jwt: str | None = None) -> str:
        """Log in; it must work."""
        status, auth = self.login(jwt)
        assert status == 200, auth
        return str(auth["client_token"])

    def read(self, token: str, namespace: str | None = None) -> int:
        """HTTP status of a read with a token of OpenBao."""
        path = f"kv/data/tenants/{self.tag}/{namespace or self.home}/db"
        return self.site.bao("GET", path, token=token, ok=False)[0]

    def works(self, *more: str) -> None:
        """The tenant reads its own OpenBao secret and is refused the other one's."""
        token = self.token(self.jwt(*more))
        assert (self.read(token), self.read(token, self.other)) == (200, 403)

    @property
    def policy(self) -> str:
        data = self.site.data(f"sys/policies/acl/tenant-{self.tag}")
        assert data
        return str(data["policy"])

    @property
    def mounts(self) -> dict[str, str]:
        """Auth mounts whose paths begin with ours, and their types."""
        found = self.site.data("sys/auth") or {}
        return {path.strip("/"): entry["type"] for path, entry in found.items() if path.startswith(self.mount)}

    @contextlib.contextmanager
    def at_work(self) -> t.Iterator[list[tuple[float, bool]]]:
        """Log in and read over and over again meanwhile; moments and whether it worked."""
        seen: list[tuple[float, bool]] = []
        stop = threading.Event()
        jwt = self.jwt()

        def work() -> None:
            while not stop.is_set():
                status, auth = self.login(jwt)
                seen.append((time.monotonic(), status == 200 and self.read(str(auth["client_token"])) == 200))

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield seen
        finally:
            stop.set()
            thread.join()


def longest_gap(seen: t.Sequence[tuple[float, bool]]) -> float:
    """The longest time, in seconds, between two logins that worked."""
    good = [moment for moment, worked in seen if worked]
    return max(later - earlier for earlier, later in itertools.pairwise(good))


@pytest.fixture
def tenant(site: ReviewerSite) -> Tenant:
    """A tenant of a cluster that no other test uses."""
    return Tenant(site, f"m{next(_COUNTER)}")


@pytest.fixture
def proxies(site: ReviewerSite) -> t.Iterator[Proxies]:
    with contextlib.ExitStack() as stack:
        bao = stack.enter_context(site.lab.proxy(site.active))
        kube = {name: stack.enter_context(site.lab.proxy(name)) for name in ("core-infra", "member-prod")}
        yield Proxies(bao, kube)
