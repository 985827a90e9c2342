# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants from their declarations: each reads its own OpenBao secrets through its SecretStore, and nobody else's."""

from __future__ import annotations

import typing as t

import pytest

from .conftest import CLUSTERS, EsoSite
from .test_stores import b64

CLUSTER = "member-prod"


@pytest.fixture(scope="module")
def locked(site: EsoSite) -> EsoSite:
    """The site with a Flux that is locked down; its controllers have nothing to do here."""
    site.lab.up(["openbao", *CLUSTERS, "eso", "flux"])
    for cluster in CLUSTERS:
        site.lab.stop(f"{cluster}-flux-source", f"{cluster}-flux-kustomize")
    return site


def declared(name: str) -> dict[str, t.Any]:
    """Return the declaration of a tenant."""
    return {"version": 1, "name": name, "owner": {"contact": f"{name}@example.org"}, "clusters": [CLUSTER]}


def onboard(site: EsoSite, *names: str, check: bool = False) -> dict[str, t.Any]:
    """Bring the cluster to what the declarations of these tenants say; it must succeed."""
    declarations = [declared(name) for name in names]
    result = site.call(
        "tenants",
        check=check,
        kubeconfig=str(site.lab.clusters[CLUSTER].kubeconfig),
        cluster=CLUSTER,
        declarations=declarations,
        openbao={"server": site.lab.openbao_nodes[0].address, "ca_bundle": site.lab.openbao_ca.read_text()},
    )
    assert not result.get("failed"), result
    return result


def test_tenants_are_confined_in_openbao_by_their_own_logins(locked: EsoSite, tenant: str) -> None:
    site = locked
    stem = tenant.removeprefix("4-aux-")
    names = [f"{stem}eve", f"{stem}mal"]
    onboard(site, *names)
    node = site.lab.openbao_nodes[0]
    given: dict[str, t.Any] = {
        "kubeconfig": str(site.lab.clusters[CLUSTER].kubeconfig),
        "cluster": CLUSTER,
        "declarations": [declared(name) for name in names],
        "openbao": {"server": node.address, "ca_bundle": site.lab.openbao_ca.read_text()},
        "probe": True,
        "probe_openbao": {
            "url": node.address,
            "tls_server_name": node.tls_server_name,
            "ca_cert": str(site.lab.openbao_ca),
        },
    }
    found = site.call("tenants_info", **given)
    assert not found.get("failed"), found["msg"]
    asked = {one["check"]: one["got"] for one in found["confinement"] if one["tenant"] == names[0]}
    assert {check: got for check, got in asked.items() if "OpenBao" in check} == {
        "logs in at OpenBao": "allowed",
        "reads its own OpenBao secrets": "allowed",
        "reads OpenBao secrets of a neighbour": "refused",
        "reads OpenBao secrets of another cluster": "refused",
        "lists OpenBao secrets of a neighbour": "refused",
        "lists who has OpenBao secrets": "refused",
        "reads OpenBao policies": "refused",
        "logs in to OpenBao as Flux": "refused",
    }
    assert "hvs." not in str(found)
    assert "eyJ" not in str(found)
    # somebody widens what all tenants may read
    name = f"openbao-too-much-{stem}"
    site.bao("PUT", f"sys/policies/acl/{name}", {"policy": 'path "kv/data/tenants/*" { capabilities = ["read"] }'})
    role = f"auth/kubernetes-{CLUSTER}/role/tenant"
    before = site.bao("GET", role)[1]["data"]
    site.bao("POST", role, {**before, "token_policies": [*before["token_policies"], name]})
    try:
        refused = site.call("tenants_info", **given)
        assert refused["error"]["rule"] == "not-confined"
        assert "reads OpenBao secrets of a neighbour: allowed, should be refused" in refused["msg"]
    finally:
        site.bao("POST", role, before)
        site.bao("DELETE", f"sys/policies/acl/{name}")


def test_own_secrets_and_nobody_elses_also_after_openbao_was_sealed(locked: EsoSite, tenant: str) -> None:
    site = locked
    stem = tenant.removeprefix("4-aux-")
    ada, bo, late = f"{stem}ada", f"{stem}bo", f"{stem}late"
    mine, theirs, newcomer = (f"4-aux-{name}" for name in (ada, bo, late))
    for namespace in (mine, theirs, newcomer):
        site.write_secret(CLUSTER, namespace, word=f"of {namespace}")
    assert onboard(site, ada, bo)["changed"]
    site.until("the store", lambda: site.ready(CLUSTER, mine, "openbao", "secretstores") == "True")
    site.want(CLUSTER, mine)
    site.want(CLUSTER, mine, "theirs", key=f"tenants/{CLUSTER}/{theirs}/db")
    site.until("the secret", lambda: site.secret(CLUSTER, mine) == {"word": b64(f"of {mine}")})
    site.until("the refusal", lambda: site.ready(CLUSTER, mine, "theirs") == "False")
    assert site.secret(CLUSTER, mine, "theirs") == {}

    # Nothing of a run depends on an OpenBao that answers: tenants stay, and new ones come.
    site.seal()
    assert not onboard(site, ada, bo)["changed"]
    added = onboard(site, ada, bo, late)
    assert {one["name"]: one["result"] for one in added["tenants"]} == {
        ada: "unchanged",
        bo: "unchanged",
        late: "changed",
    }
    assert site.secret(CLUSTER, mine) == {"word": b64(f"of {mine}")}
    site.lab.unseal()
    site.want(CLUSTER, newcomer)
    site.until("an active server", lambda: site.lab.openbao_active() is not None, 60)
    site.sync(CLUSTER, namespaces=[newcomer, mine], select="all")
    site.until("the newcomer's", lambda: site.secret(CLUSTER, newcomer) == {"word": b64(f"of {newcomer}")}, 60)
    assert not onboard(site, ada, bo, late)["changed"]
