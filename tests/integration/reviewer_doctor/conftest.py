# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One downstream cluster and an unsealed OpenBao; each test wires a mount of its own and then breaks it."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import itertools
import json
import typing as t

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from lab.api import Lab, Proxy
from tests.integration import audit
from tests.integration.reviewers.conftest import DOMAIN, ReviewerSite

WHERE = "member-prod"
_COUNTER = itertools.count(1)


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, t.Any]:
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


@dataclasses.dataclass
class Patient:
    """A wired cluster, and the ways to break it."""

    site: ReviewerSite
    tag: str
    changes: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def lab(self) -> Lab:
        return self.site.lab

    @property
    def mount(self) -> str:
        return f"kubernetes-{self.tag}"

    @property
    def namespace(self) -> str:
        return f"{self.tag}-auth"

    def entry(self, **changes: t.Any) -> dict[str, t.Any]:
        return self.site.entry(self.tag, **{**self.changes, **changes})

    def wire(self, **changes: t.Any) -> None:
        """Set it up, or repair it."""
        self.site.apply(self.entry(**changes))

    def look(self, entry: t.Mapping[str, t.Any] | None = None, **arguments: t.Any) -> dict[str, t.Any]:
        """Run the doctor and return what it says of the cluster."""
        told = self.site.call(entry or self.entry(), module="jwt_reviewer_info", **arguments)
        assert not told.get("failed"), told
        assert told["changed"] is False
        (one,) = told["clusters"]
        assert isinstance(one, dict)
        assert one["seconds"] < 5
        text = json.dumps(told)
        assert "eyJ" not in text, "a token, or a part of one"
        for secret in (self.site.root, *self.lab.secrets()):
            assert secret not in text
        statuses = [hop["status"] for hop in one["hops"]]
        if one["healthy"]:
            assert set(statuses) <= {"ok", "skipped"}
            assert told["findings"] == [] or told["findings"][0]["severity"] == "warning"
        else:
            first = statuses.index("broken")
            assert one["hops"][first]["hop"] == one["broken"]["hop"]
            assert "broken" not in statuses[first + 1 :]
            assert set(statuses[first + 1 :]) <= {"not reached"}
            assert told["findings"][0]["id"] == f"reviewer-{one['broken']['hop']}"
        return one

    def cause(self, entry: t.Mapping[str, t.Any] | None = None, **arguments: t.Any) -> str:
        """Run the doctor; the name of what is wrong, empty if nothing is."""
        one = self.look(entry, **arguments)
        return str(one["broken"]["cause"]) if one["broken"] else ""

    def tenant(self, namespace: str, account: str = "eso", **more: t.Any) -> list[dict[str, t.Any]]:
        return [{"cluster": self.tag, "namespace": namespace, "service_account": account, **more}]

    def config(self) -> dict[str, t.Any]:
        """The mount's configuration as it can be read."""
        found = self.site.data(f"auth/{self.mount}/config")
        assert found
        return found

    def annotate(self, **values: str) -> None:
        """Change the evidence on the bound Secret."""
        (secret,) = self.site.bound(self.tag)
        path = f"/api/v1/namespaces/{self.namespace}/secrets/{secret['metadata']['name']}"
        names = {f"{DOMAIN}/reviewer-{key}": value for key, value in values.items()}
        body = {"metadata": {"annotations": names}}
        self.site.kube("PATCH", path, body, content_type="application/merge-patch+json")

    def asked(self, mark: int) -> list[tuple[str, str, str]]:
        """Return (who, verb, path) of everything that the API server was asked since *mark*, but by the lab."""
        return sorted(
            (str(e["user"].get("username") or "nobody"), e["verb"], str(e["requestURI"]).partition("?")[0])
            for e in audit.events(self.lab, WHERE, mark)
            if e["user"].get("username") == "lab-admin" or not str(e["user"].get("username")).startswith("system:kube")
        )

    def reviewer_token(self) -> str:
        """A valid token of the reviewer."""
        return self.site.token(self.namespace, "openbao-reviewer", self.lab.clusters[WHERE].audience)

    def login_status(self, role: str = "canary", account: str = "openbao-canary") -> int:
        """Log in as the canary, without the doctor."""
        jwt = self.site.token(self.namespace, account, f"openbao-{self.tag}")
        return self.site.login(self.mount, role, jwt)[0]


def resigned(lab: Lab, token: str, **claims: t.Any) -> str:
    """Return *token* with other claims, signed by the cluster's own key, as an API server with another clock would."""
    header, payload, _signature = token.split(".")
    file = lab.state / WHERE / "pki" / "service-accounts.key"
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    text = f"{header}.{encoded(json.dumps({**decoded(payload), **claims}).encode())}"
    return f"{text}.{encoded(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def shifted(lab: Lab, seconds: int) -> t.Callable[[bytes], bytes]:
    """Return what changes the answer to a TokenRequest as if the API server's clock were ahead."""

    def change(body: bytes) -> bytes:
        answer = json.loads(body)
        token = answer["status"]["token"]
        claims = decoded(token.split(".")[1])
        moved = {key: claims[key] + seconds for key in ("iat", "nbf", "exp")}
        answer["status"]["token"] = resigned(lab, token, **moved)
        return json.dumps(answer).encode()

    return change


def rfc3339(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[ReviewerSite]:
    """One lab for all tests of this folder."""
    lab = Lab("doctor-tests", tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["openbao", WHERE])
        made = ReviewerSite(lab, lab.init_openbao().root_token)
        for path, version in (("kv", "2"), ("kv1", "1")):
            made.bao("POST", f"sys/mounts/{path}", {"type": "kv", "options": {"version": version}})
        made.until("the key/value engine", lambda: made.bao("GET", "kv/config", ok=False)[0] == 200)
        yield made
    finally:
        lab.down(wipe=True)


@pytest.fixture
def patient(site: ReviewerSite) -> Patient:
    """A cluster that was wired a moment ago and is healthy."""
    made = Patient(site, f"d{next(_COUNTER)}")
    made.wire()
    return made


@dataclasses.dataclass
class Proxied:
    """A patient whose API server is reached through a proxy, by OpenBao and by the doctor."""

    patient: Patient
    proxy: Proxy


@pytest.fixture
def proxied(site: ReviewerSite) -> t.Iterator[Proxied]:
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(site.lab.proxy(WHERE))
        changes = {"kubeconfig": str(proxy.kubeconfig)}
        made = Patient(site, f"d{next(_COUNTER)}", changes)
        made.wire()
        yield Proxied(made, proxy)
