# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""openbao_identity against a real server; the proof is a login whose token has the group's OpenBao policies."""

from __future__ import annotations

import typing as t

import pytest

from .conftest import Provider, Server

MODULE = "openbao_identity"
MOUNTS = "openbao_auth_mounts"


@pytest.fixture
def jwt(server: Server, provider: Provider, tag: str) -> t.Iterator[str]:
    """An auth mount by which members of the provider's groups log in."""
    role = {"name": "people", "user_claim": "sub", "groups_claim": "groups", "bound_audiences": ["openbao"]}
    config = {"jwt_validation_pubkeys": [provider.public_key]}
    server.run(MOUNTS, mounts=[{"path": tag, "type": "jwt", "method_config": config, "roles": [role]}])
    yield tag
    server.delete(f"sys/auth/{tag}")


def policies(server: Server, provider: Provider, mount: str, *groups: str) -> list[str]:
    """Return the OpenBao policies that a member of these groups of the provider gets."""
    jwt = provider.token(sub="ada", aud="openbao", groups=list(groups))
    auth = server.write(f"auth/{mount}/login", {"role": "people", "jwt": jwt})["auth"]
    return sorted(auth.get("identity_policies") or [])


def test_groups_give_openbao_policies(server: Server, provider: Provider, jwt: str) -> None:
    groups = [
        # in the wrong order on purpose: the outer one has the inner one as a member
        {"name": f"{jwt}-all", "policies": ["everyone"], "member_groups": [f"{jwt}-infra"], "metadata": {"k": "v"}},
        {"name": f"{jwt}-infra", "policies": ["Infra"], "alias": {"name": "infra", "mount": jwt}},
    ]
    first = server.run(MODULE, groups=groups)
    assert [c["name"] for c in first["changes"]] == [f"{jwt}-infra", f"{jwt}-all"]
    assert policies(server, provider, jwt, "infra") == ["everyone", "infra"]
    assert policies(server, provider, jwt, "other") == []
    assert not server.run(MODULE, groups=groups)["changed"]


def test_repair(server: Server, provider: Provider, jwt: str) -> None:
    groups = [{"name": f"{jwt}-g", "policies": ["a"], "alias": {"name": "g", "mount": jwt}}]
    server.run(MODULE, groups=groups)
    policies(server, provider, jwt, "g")
    server.write(f"identity/group/name/{jwt}-g", {"policies": ["root-like"]})
    alias = (server.data(f"identity/group/name/{jwt}-g") or {})["alias"]
    result = server.run(MODULE, groups=groups)
    assert result["changed"]
    assert policies(server, provider, jwt, "g") == ["a"]
    server.delete(f"identity/group-alias/id/{alias['id']}")
    assert server.run(MODULE, groups=groups)["changes"][0]["why"] == "alias differs"
    assert policies(server, provider, jwt, "g") == ["a"]
    assert not server.run(MODULE, groups=groups)["changed"]


def test_a_renamed_group_is_the_same_group(server: Server, jwt: str) -> None:
    server.run(MODULE, groups=[{"name": f"{jwt}-old", "policies": ["a"], "alias": {"name": "g", "mount": jwt}}])
    before = server.data(f"identity/group/name/{jwt}-old")
    assert before
    renamed = [{"name": f"{jwt}-new", "policies": ["a"], "alias": {"name": "g", "mount": jwt}}]
    result = server.run(MODULE, groups=renamed)
    assert result["changes"][0]["why"] == "name differs"
    after = server.data(f"identity/group/name/{jwt}-new")
    assert after
    assert after["id"] == before["id"]
    assert server.data(f"identity/group/name/{jwt}-old") is None
    assert not server.run(MODULE, groups=renamed)["changed"]


def test_entities_as_members(server: Server, tag: str) -> None:
    server.write("identity/entity", {"name": f"{tag}-ada"})
    groups = [{"name": tag, "policies": ["a"], "member_entities": [f"{tag}-ada"]}]
    server.run(MODULE, groups=groups)
    assert not server.run(MODULE, groups=groups)["changed"]
    server.fails(MODULE, "entity-unknown", groups=[{"name": f"{tag}-2", "member_entities": [f"{tag}-nobody"]}])


def test_foreign(server: Server, tag: str) -> None:
    server.write("identity/group", {"name": tag, "policies": ["x"]})
    same = server.run(MODULE, groups=[{"name": tag, "policies": ["x"]}])
    assert (same["changed"], same["foreign"]) == (False, [f"identity group {tag}"])
    wanted = [{"name": f"{tag}-new"}, {"name": tag, "policies": ["y"]}]
    error = server.fails(MODULE, "foreign", groups=wanted)
    assert error.data["foreign"] == [f"identity group {tag}"]
    assert server.data(f"identity/group/name/{tag}-new") is None
    server.run(MODULE, groups=wanted, adopt=True)
    assert (server.data(f"identity/group/name/{tag}") or {})["metadata"] == {"managed_by": "hackspace.infra"}
    assert not server.run(MODULE, groups=wanted)["changed"]


def test_type_is_never_changed(server: Server, jwt: str) -> None:
    server.run(MODULE, groups=[{"name": f"{jwt}-g"}])
    server.fails(MODULE, "fixed-field", groups=[{"name": f"{jwt}-g", "alias": {"name": "g", "mount": jwt}}])


def test_an_auth_mount_that_is_not_there(server: Server, tag: str) -> None:
    groups = [{"name": tag, "alias": {"name": "g", "mount": f"{tag}-none"}}]
    server.fails(MODULE, "mount-unknown", groups=groups)
    assert server.data(f"identity/group/name/{tag}") is None
    planned = server.run(MODULE, check=True, groups=groups)
    assert planned["changed"]
    assert f"{tag}-none" in planned["warnings"][0]


def test_prune_and_requests(server: Server, tag: str) -> None:
    for key in server.keys("identity/group/id"):  # of other tests, which are done with them
        server.delete(f"identity/group/id/{key}")
    server.write("identity/group", {"name": f"{tag}-foreign"})
    groups = [{"name": f"{tag}-{n}", "policies": ["a"]} for n in range(10)]
    server.run(MODULE, groups=groups)
    with server.proxy() as proxy:
        result = server.run(MODULE, url=proxy.address, groups=groups)
        assert not result["changed"]
        assert len(proxy.requests()) == result["requests"] == 11
        planned = server.run(MODULE, check=True, url=proxy.address, groups=groups[:9], prune=True)
        assert [c["action"] for c in planned["changes"]] == ["delete"]
        assert {r.method for r in proxy.requests()} == {"GET", "LIST"}
    server.fails(MODULE, "prune-empty", groups=[], prune=True)
    server.fails(MODULE, "prune-cap", groups=groups[:5], prune=True)
    result = server.run(MODULE, groups=groups[:9], prune=True)
    assert [(c["action"], c["name"]) for c in result["changes"]] == [("delete", f"{tag}-9")]
    assert server.data(f"identity/group/name/{tag}-foreign")


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("path", ["identity/group$", "identity/group-alias$"])
def test_cut_in_the_middle(server: Server, provider: Provider, jwt: str, where: t.Any, path: str) -> None:
    groups = [
        {"name": f"{jwt}-{n}", "policies": [f"p{n}"], "alias": {"name": f"g{n}", "mount": jwt}} for n in range(2)
    ] + [{"name": f"{jwt}-both", "policies": ["both"], "member_groups": [f"{jwt}-0", f"{jwt}-1"]}]
    with server.proxy() as proxy:
        proxy.cut(where, method="POST", path=path)
        server.fails(MODULE, "cut", url=proxy.address, groups=groups)
    server.run(MODULE, groups=groups)
    assert not server.run(MODULE, groups=groups)["changed"]
    assert policies(server, provider, jwt, "g0", "g1") == ["both", "p0", "p1"]
