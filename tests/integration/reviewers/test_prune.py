# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pruning: only what is ours, only when told, never much at once."""

from __future__ import annotations

import typing as t

from .conftest import ReviewerSite

ALL = {"prune": True, "prune_max_percent": 100}


def deleted(result: t.Mapping[str, t.Any]) -> list[tuple[str, str]]:
    return [(c["kind"], c["name"]) for c in result["changes"] if c["action"] == "delete"]


def of(result: t.Mapping[str, t.Any], tag: str) -> list[tuple[str, str]]:
    """Return what was deleted and has *tag* in its name."""
    return [(kind, name) for kind, name in deleted(result) if tag in name]


def aliases(site: ReviewerSite, accessor: str) -> list[dict[str, t.Any]]:
    status, body = site.bao("LIST", "identity/entity-alias/id", ok=False)
    infos = body["data"]["key_info"] if status == 200 else {}
    mine = [key for key, one in infos.items() if one["mount_accessor"] == accessor]
    return [site.data(f"identity/entity-alias/id/{key}") or {} for key in mine]


def login(site: ReviewerSite, tag: str, namespace: str) -> None:
    status, answer = site.login(f"kubernetes-{tag}", "tenant", site.token(namespace, "eso", f"openbao-{tag}"))
    assert status == 200, answer


def test_cluster_that_left_the_list(site: ReviewerSite, tag: str) -> None:
    """Its mount and OpenBao policy stay until told, and what others made stays for good."""
    kept, gone = f"{tag}-kept", f"{tag}-gone"
    site.apply(site.entry(kept), site.entry(gone, "core-infra"))
    site.bao("POST", f"sys/auth/kubernetes-{tag}-other", {"type": "kubernetes", "description": "somebody else's"})
    site.bao("POST", f"sys/policies/acl/tenant-{tag}-other", {"policy": 'path "kv/x" { capabilities = ["read"] }'})
    site.apply(site.entry(kept))
    assert site.mount(f"kubernetes-{gone}") is not None
    planned = site.apply(site.entry(kept), check=True, **ALL)
    assert of(planned, tag) == [("auth mount", f"kubernetes-{gone}"), ("OpenBao policy", f"tenant-{gone}")]
    assert site.mount(f"kubernetes-{gone}") is not None
    done = site.apply(site.entry(kept), **ALL)
    assert of(done, tag) == of(planned, tag)
    assert site.mount(f"kubernetes-{gone}") is None
    assert site.data(f"sys/policies/acl/tenant-{gone}") is None
    assert site.mount(f"kubernetes-{tag}-other") is not None
    assert site.data(f"sys/policies/acl/tenant-{tag}-other") is not None
    assert not of(site.apply(site.entry(kept), **ALL), tag)


def test_empty_list_and_cap(site: ReviewerSite, tag: str) -> None:
    names = [f"{tag}-{number}" for number in range(3)]
    site.apply(*(site.entry(name) for name in names))
    result = site.refused("prune-empty", **ALL)
    assert {f"kubernetes-{name}" for name in names} <= set(result["would_delete"])
    result = site.refused("prune-cap", site.entry(names[0]), prune=True, prune_max_percent=0)
    assert f"kubernetes-{names[1]}" in result["would_delete"]
    for name in names:
        assert site.mount(f"kubernetes-{name}") is not None
    site.apply(site.entry(names[0]), **ALL)
    assert [site.mount(f"kubernetes-{name}") is not None for name in names] == [True, False, False]


def test_aliases_of_service_accounts_made_anew(site: ReviewerSite, tag: str) -> None:
    site.apply(site.entry(tag))
    accessor = str((site.mount(f"kubernetes-{tag}") or {})["accessor"])
    for number in range(3):
        site.make_account(f"{tag}-{number}")
        login(site, tag, f"{tag}-{number}")
    site.kube("DELETE", f"/api/v1/namespaces/{tag}-0/serviceaccounts/eso")
    site.make_account(f"{tag}-0")
    login(site, tag, f"{tag}-0")
    before = aliases(site, accessor)
    assert len(before) == 5  # the canary, three that live, one that is gone
    planned = site.apply(site.entry(tag), check=True, **ALL)
    assert "its ServiceAccount is gone" in [c["why"] for c in planned["changes"]]
    assert len(aliases(site, accessor)) == 5
    site.apply(site.entry(tag), **ALL)
    after = aliases(site, accessor)
    assert len(after) == 4
    uid = site.kube("GET", f"/api/v1/namespaces/{tag}-0/serviceaccounts/eso")["metadata"]["uid"]
    assert [a["name"] for a in after if a["metadata"]["service_account_namespace"] == f"{tag}-0"] == [uid]
    entities = set(site.keys("identity/entity/id"))
    gone = {a["canonical_id"] for a in before} - {a["canonical_id"] for a in after}
    assert len(gone) == 1
    assert not gone & entities  # the entity went with its last alias
    assert not of(site.apply(site.entry(tag), **ALL), tag)


def test_aliases_of_a_mount_that_is_gone(site: ReviewerSite, tag: str) -> None:
    site.apply(site.entry(tag))
    accessor = str((site.mount(f"kubernetes-{tag}") or {})["accessor"])
    site.make_account(f"{tag}-alice")
    login(site, tag, f"{tag}-alice")
    site.bao("DELETE", f"sys/auth/kubernetes-{tag}")
    site.apply(site.entry(tag), **ALL)
    assert aliases(site, accessor) == []
    fresh = str((site.mount(f"kubernetes-{tag}") or {})["accessor"])
    login(site, tag, f"{tag}-alice")
    assert len(aliases(site, fresh)) == 2


def test_entity_that_somebody_else_uses_stays(site: ReviewerSite, tag: str) -> None:
    """An entity with an alias at another mount loses ours only."""
    site.bao("POST", f"sys/auth/{tag}-people", {"type": "userpass"})
    people = str((site.mount(f"{tag}-people") or {})["accessor"])
    site.apply(site.entry(tag))
    accessor = str((site.mount(f"kubernetes-{tag}") or {})["accessor"])
    site.make_account(f"{tag}-alice")
    login(site, tag, f"{tag}-alice")
    [mine] = [a for a in aliases(site, accessor) if a["metadata"]["service_account_namespace"] == f"{tag}-alice"]
    site.bao(
        "POST",
        "identity/entity-alias",
        {"name": "ada", "canonical_id": mine["canonical_id"], "mount_accessor": people},
    )
    site.kube("DELETE", f"/api/v1/namespaces/{tag}-alice/serviceaccounts/eso")
    site.apply(site.entry(tag), **ALL)
    assert mine["canonical_id"] in site.keys("identity/entity/id")
    assert len(aliases(site, people)) == 1
    assert mine["name"] not in [a["name"] for a in aliases(site, accessor)]


def test_entity_that_people_made_stays(site: ReviewerSite, tag: str) -> None:
    """One has a name and an OpenBao policy, one is in a group; the third is as its login made it, and goes."""
    site.apply(site.entry(tag))
    accessor = str((site.mount(f"kubernetes-{tag}") or {})["accessor"])
    for who in ("named", "member", "plain"):
        site.make_account(f"{tag}-{who}")
        login(site, tag, f"{tag}-{who}")
    entities = {
        a["metadata"]["service_account_namespace"].removeprefix(f"{tag}-"): a["canonical_id"]
        for a in aliases(site, accessor)
    }
    site.bao("POST", f"identity/entity/id/{entities['named']}", {"name": f"{tag}-robot", "policies": ["deploy"]})
    site.bao("POST", "identity/group", {"name": f"{tag}-group", "member_entity_ids": [entities["member"]]})
    for who in ("named", "member", "plain"):
        site.kube("DELETE", f"/api/v1/namespaces/{tag}-{who}/serviceaccounts/eso")
    planned = site.apply(site.entry(tag), check=True, **ALL)
    done = site.apply(site.entry(tag), **ALL)
    assert deleted(done) == deleted(planned)
    left = set(site.keys("identity/entity/id"))
    assert {who: entities[who] in left for who in ("named", "member", "plain")} == {
        "named": True,
        "member": True,
        "plain": False,
    }
    assert (site.data(f"identity/entity/id/{entities['named']}") or {})["policies"] == ["deploy"]
    assert len(aliases(site, accessor)) == 1  # the canary's


def test_role_that_somebody_added_is_shown_and_stays(site: ReviewerSite, tag: str) -> None:
    site.apply(site.entry(tag))
    bound = {"bound_service_account_names": ["ci"], "bound_service_account_namespaces": ["ci"], "audience": "x"}
    for name in ("by-hand", "tenant-of-old"):
        site.bao("POST", f"auth/kubernetes-{tag}/role/{name}", bound)
    result = site.apply(site.entry(tag), **ALL)
    assert f"{tag}: role kubernetes-{tag}/by-hand" in result["foreign"]
    assert set(site.keys(f"auth/kubernetes-{tag}/role")) == {"by-hand", "canary", "canary-elsewhere", "tenant"}
