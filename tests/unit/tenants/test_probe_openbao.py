# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tenant's logins at OpenBao prove, and that no token is shown."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Collection, Mapping

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import ServerError
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import probe, probe_openbao

ALICE = probe_openbao.Visitor(
    tenant="alice",
    namespace="4-aux-alice",
    account="eso",
    other="flux",
    neighbour="4-aux-bob",
    mount="kubernetes-member-prod",
    role="tenant",
    audiences=("openbao-member-prod",),
    kv_mount="kv",
    prefix="tenants",
    cluster="member-prod",
)
OWN = "kv/data/tenants/member-prod/4-aux-alice/"


@dataclasses.dataclass
class Reply:
    status: int
    body: dict[str, t.Any] = dataclasses.field(default_factory=dict)


class Bao:
    """Lets in who it is told, and shows them what it is told."""

    def __init__(self, logins: Collection[str] = ("eso",), readable: Collection[str] = (OWN,), refusal: int = 403):
        self.requests = 0
        self.logins, self.readable, self.refusal = logins, readable, refusal
        self.token = ""
        self.revoked: list[str] = []

    def request(self, method: str, path: str, body: Mapping[str, t.Any] | None = None, **_more: t.Any) -> Reply:
        self.requests += 1
        if path.endswith("/login"):
            jwt = (body or {})["jwt"]
            account = jwt.removeprefix("token-of-")
            if account in self.logins:
                return Reply(200, {"auth": {"client_token": f"session-of-{account}"}})
            return Reply(self.refusal, {"errors": [f"no: {jwt}"]})
        if path == "auth/token/revoke-self":
            self.revoked.append(self.token)
            return Reply(204)
        return Reply(404 if any(path.startswith(one) for one in self.readable) else self.refusal)

    def use_token(self, token: Secret) -> None:
        self.token = token.reveal()

    def clone(self) -> Bao:
        return self

    def close(self) -> None:
        self.token = ""


class Kube:
    def __init__(self, without: Collection[str] = ()) -> None:
        self.without = without

    def mint(self, namespace: str, service_account: str, spec: Mapping[str, t.Any]) -> Mapping[str, t.Any]:
        assert spec == {"audiences": ["openbao-member-prod"], "expirationSeconds": 600}
        if service_account in self.without:
            raise ServerError("no.", said="not found", status=404)
        return {"token": f"token-of-{service_account}"}


def wrong(bao: Bao, kube: Kube | None = None, visitor: probe_openbao.Visitor = ALICE) -> list[str]:
    found = probe_openbao.ask(t.cast(t.Any, bao), kube or Kube(), visitor)
    assert "token-of" not in str(found)
    assert "session-of" not in str(found)
    return probe.summary(found).get("alice", [])


def test_a_confined_tenant_reads_its_own_and_leaves_no_token() -> None:
    bao = Bao()
    assert wrong(bao) == []
    assert bao.revoked == ["session-of-eso"]


@pytest.mark.parametrize(
    ("bao", "said"),
    [
        (Bao(readable=("kv/data/",)), "reads OpenBao secrets of a neighbour: allowed, should be refused"),
        (Bao(readable=(OWN, "kv/metadata/tenants/member-prod/")), "lists who has OpenBao secrets: allowed"),
        (Bao(readable=()), "reads its own OpenBao secrets: refused, should be allowed"),
        (Bao(logins=("eso", "flux")), "logs in to OpenBao as Flux: allowed, should be refused"),
        (Bao(logins=()), "logs in at OpenBao: refused, should be allowed"),
        (Bao(refusal=500), "reads OpenBao secrets of a neighbour: unclear, should be refused"),
    ],
)
def test_what_is_wrong_is_said(bao: Bao, said: str) -> None:
    found = wrong(bao)
    assert any(said in one for one in found), found


def test_a_login_that_should_not_be_is_ended() -> None:
    bao = Bao(logins=("eso", "flux"))
    wrong(bao)
    assert bao.revoked == ["session-of-eso", "session-of-flux"]


def test_no_service_account_is_no_proof() -> None:
    assert wrong(Bao(), Kube(["eso"])) == [
        "4-aux-alice: logs in at OpenBao: unclear, should be allowed (no token of ServiceAccount eso: there is no such "
        "ServiceAccount)"
    ]
    assert "as Flux: unclear" in wrong(Bao(), Kube(["flux"]))[0]


def test_a_neighbours_role_is_tried_where_each_has_one() -> None:
    each = dataclasses.replace(ALICE, role="tenant-alice", neighbour_role="tenant-bob")
    assert any("as a neighbour: allowed" in one for one in wrong(Bao(), visitor=each))
