# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ceph keys through OpenBao and the real External Secrets, with the rights that jwt_reviewer gives."""

from __future__ import annotations

import itertools
import typing as t

import pytest

from .conftest import CLUSTER, Site
from .test_rook_consumers import One

_NUMBERS = itertools.count(1)


class Through(One):
    """A consumer that gets its keys through OpenBao."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.consumer |= {"delivery": "openbao"}

    def call(self, *, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        return super().call(check=check, **{"openbao": self.site.openbao, "stores": {CLUSTER: self.site.store}, **more})

    def held(self, role: str) -> dict[str, t.Any]:
        """What OpenBao holds for a role."""
        body = self.site.bao("GET", f"kv/data/tenants/{CLUSTER}/{self.name}/ceph-{role}")[1]
        return dict(body["data"])


@pytest.fixture
def through(site: Site) -> Through:
    return Through(site, f"rook-d{next(_NUMBERS)}")


def test_keys_come_through_openbao_and_are_rotated_within_the_run(through: Through) -> None:
    checked = through.run(check=True)
    assert not checked["consumers"][0]["delivered"]
    assert through.site.bao("GET", f"kv/metadata/tenants/{CLUSTER}/{through.name}/ceph-health")[0] == 404
    done = through.run()
    assert through.lines(done) == through.lines(checked)
    assert done["consumers"][0]["delivered"], done
    assert through.secret("rook-csi-rbd-node") == {
        "userID": f"k8s-{through.name}-rbd-node",
        "userKey": through.keys[f"client.k8s-{through.name}-rbd-node"],
    }
    assert through.secret("rook-ceph-mon")["ceph-username"] == f"client.k8s-{through.name}-health"
    path = f"/api/v1/namespaces/{through.name}/secrets/rook-csi-rbd-node"
    assert through.site.ask("GET", path)["type"] == "kubernetes.io/rook"
    again = through.run()
    assert not again["changed"], again["changes"]
    assert again["consumers"][0]["delivered"]
    assert again["requests"] < 60
    through.consumer["key"] = {"generation": 2}
    through.mint(2)
    rotated = through.run()
    assert rotated["consumers"][0]["users"]["rbd-node"] == f"client.k8s-{through.name}-rbd-node.2"
    assert through.secret("rook-csi-rbd-node")["userKey"] == through.keys[f"client.k8s-{through.name}-rbd-node.2"]
    assert through.held("rbd-node")["metadata"]["version"] == 2
    assert through.restarts() == 1
    assert not through.run()["changed"]


def test_a_secret_stays_when_its_external_secret_goes(through: Through) -> None:
    through.run()
    base = f"/apis/external-secrets.io/v1/namespaces/{through.name}/externalsecrets/rook-csi-rbd-node"
    through.site.ask("DELETE", base)
    live = through.site.ask("GET", f"/api/v1/namespaces/{through.name}/secrets/rook-csi-rbd-node")
    assert not live["metadata"].get("ownerReferences")
    assert through.run()["consumers"][0]["delivered"]


def test_who_may_not_read_is_told_to_wait(through: Through) -> None:
    through.consumer |= {"namespace": "other-d"}
    through.site.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "other-d"}})
    result = through.run(wait_timeout=2)
    mine = result["consumers"][0]
    assert not mine["delivered"]
    assert mine["waiting"] == ["health", "rbd-node", "rbd-provisioner", "cephfs-node", "cephfs-provisioner"]


def test_openbao_forgets_who_is_gone_and_nobody_else(through: Through) -> None:
    through.run()
    path = f"tenants/{CLUSTER}/{through.name}"
    through.site.bao("POST", f"kv/data/{path}/own", {"data": {"kept": "yes"}})
    through.consumer["state"] = "absent"
    done = through.run(confirm_removal=[through.name])
    assert done["consumers"][0]["removed"]
    assert f"delete OpenBao secret kv/{path}/ceph-rbd-node" in through.lines(done)
    assert through.site.bao("GET", f"kv/metadata/{path}/ceph-rbd-node")[0] == 404
    assert through.site.bao("GET", f"kv/data/{path}/own")[0] == 200
    # made by External Secrets, without a mark of ours
    assert through.site.ask("GET", f"/api/v1/namespaces/{through.name}/secrets/rook-csi-rbd-node") is None
    assert not through.run(confirm_removal=[through.name])["changed"]
