# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""openbao_policies against a real server."""

from __future__ import annotations

import typing as t

import pytest

from .conftest import Server

MODULE = "openbao_policies"
LINE = "# managed by hackspace.infra: openbao_policies\n"


def text_of(name: str, what: str = "read") -> str:
    return f'path "kv/data/{name}/*" {{\n  capabilities = ["{what}"]\n}}\n'


def policy(name: str, what: str = "read") -> dict[str, t.Any]:
    return {"name": name, "hcl": text_of(name, what)}


def there(server: Server, name: str) -> str | None:
    data = server.data(f"sys/policies/acl/{name}")
    return str(data["policy"]) if data else None


def test_create_then_nothing_then_repair(server: Server, tag: str) -> None:
    wanted = [
        policy(f"{tag}-a"),
        {"name": f"{tag}-b", "rules": [{"path": f"{tag}/b", "capabilities": ["read", "list"]}]},
    ]
    first = server.run(MODULE, policies=wanted)
    assert [(c["action"], c["name"]) for c in first["changes"]] == [("create", f"{tag}-a"), ("create", f"{tag}-b")]
    assert there(server, f"{tag}-a") == LINE + text_of(f"{tag}-a")
    assert f"{tag}-b" in first["names"]
    second = server.run(MODULE, policies=wanted)
    assert (second["changed"], second["unchanged"], second["foreign"]) == (False, 2, [])
    server.write(f"sys/policies/acl/{tag}-a", {"policy": LINE + text_of(f"{tag}-a", "delete")})
    third = server.run(MODULE, policies=wanted)
    assert [(c["action"], c["name"], c["why"]) for c in third["changes"]] == [("update", f"{tag}-a", "text differs")]
    assert there(server, f"{tag}-a") == LINE + text_of(f"{tag}-a")


def test_white_space_at_line_ends_is_no_difference(server: Server, tag: str) -> None:
    server.run(MODULE, policies=[policy(tag)])
    server.write(f"sys/policies/acl/{tag}", {"policy": (LINE + text_of(tag)).replace("\n", "  \r\n") + "\n\n"})
    assert not server.run(MODULE, policies=[policy(tag)])["changed"]


def test_templates_reach_the_server_as_they_are(server: Server, tag: str) -> None:
    text = 'path "kv/data/{{identity.entity.aliases.auth_oidc_1.metadata.sub}}/*" {\n  capabilities = ["read"]\n}\n'
    server.run(MODULE, policies=[{"name": tag, "hcl": text}])
    assert there(server, tag) == LINE + text


def test_check_mode_writes_nothing(server: Server, tag: str) -> None:
    with server.proxy() as proxy:
        result = server.run(MODULE, check=True, url=proxy.address, policies=[policy(tag)])
        assert result["changed"]
        assert result["diff"][0]["after"]["policy"] == LINE + text_of(tag)
        assert {r.method for r in proxy.requests()} == {"LIST"}
    assert there(server, tag) is None


def test_foreign_is_refused_before_anything_is_written_then_adopted(server: Server, tag: str) -> None:
    for name in ("x", "y"):
        server.write(f"sys/policies/acl/{tag}-{name}", {"policy": text_of(tag, "delete")})
    wanted = [policy(f"{tag}-new"), policy(f"{tag}-x"), policy(f"{tag}-y")]
    error = server.fails(MODULE, "foreign", policies=wanted)
    assert error.data["foreign"] == [f"{tag}-x", f"{tag}-y"]
    assert there(server, f"{tag}-new") is None
    result = server.run(MODULE, policies=wanted, adopt=True)
    assert [c["action"] for c in result["changes"]] == ["create", "adopt", "adopt"]
    assert not server.run(MODULE, policies=wanted)["changed"]


def test_identical_foreign_is_reported_only(server: Server, tag: str) -> None:
    server.write(f"sys/policies/acl/{tag}", {"policy": text_of(tag)})
    result = server.run(MODULE, policies=[policy(tag)])
    assert (result["changed"], result["foreign"], result["unchanged"]) == (False, [tag], 1)
    assert server.run(MODULE, policies=[policy(tag)], adopt=True)["changes"][0]["why"] == "the mark differs"
    assert server.run(MODULE, policies=[policy(tag)])["foreign"] == []


def test_what_openbao_init_made_is_ours_and_never_pruned(server: Server, tag: str) -> None:
    bare = "# managed by hackspace.infra\n" + text_of(tag)
    server.write(f"sys/policies/acl/{tag}", {"policy": bare})
    server.run(MODULE, policies=[policy(f"{tag}-other")], prune=True, prune_max_percent=100)
    assert there(server, tag) == bare
    assert not server.run(MODULE, policies=[policy(tag)])["changed"]
    assert server.run(MODULE, policies=[policy(tag, "list")])["changes"][0]["action"] == "update"


def test_another_owner_is_refused_even_with_adopt(server: Server, tag: str) -> None:
    server.write(f"sys/policies/acl/{tag}", {"policy": "# managed by hackspace.infra: tenants\n" + text_of(tag)})
    error = server.fails(MODULE, "other-owner", policies=[policy(tag)], adopt=True)
    assert "tenants" in str(error)


def test_default_changes_only_when_adopted(server: Server) -> None:
    before = there(server, "default")
    assert before
    wanted = [{"name": "default", "hcl": before + '\npath "sys/health" {\n  capabilities = ["read"]\n}\n'}]
    server.fails(MODULE, "foreign", policies=wanted)
    try:
        assert server.run(MODULE, policies=wanted, adopt=True)["changed"]
        result = server.run(MODULE, policies=[policy("keeps-default")], prune=True, prune_max_percent=100)
        assert "default" in result["names"]
    finally:
        server.write("sys/policies/acl/default", {"policy": before})
        server.delete("sys/policies/acl/keeps-default")


def test_prune(server: Server, tag: str) -> None:
    wanted = [policy(f"{tag}-{n}") for n in range(5)]
    server.run(MODULE, policies=wanted)
    server.write(f"sys/policies/acl/{tag}-foreign", {"policy": text_of(tag)})
    others = [
        {"name": n, "hcl": str(there(server, n))}
        for n in server.keys("sys/policies/acl")
        if not n.startswith(tag) and str(there(server, n)).startswith(LINE)
    ]
    error = server.fails(MODULE, "prune-empty", policies=[], prune=True)
    assert f"{tag}-0" in error.data["would_delete"]
    server.fails(MODULE, "prune-cap", policies=wanted[:1] + others, prune=True, prune_max_percent=1)
    assert there(server, f"{tag}-4")
    assert not server.run(MODULE, policies=wanted[:4] + others)["changed"]  # no prune unless asked for
    one = server.run(MODULE, policies=wanted[:4] + others, prune=True, prune_max_percent=0)
    assert [(c["action"], c["name"]) for c in one["changes"]] == [("delete", f"{tag}-4")]
    result = server.run(MODULE, policies=wanted[:2] + others, prune=True, prune_max_percent=100)
    assert [c["name"] for c in result["changes"]] == [f"{tag}-2", f"{tag}-3"]
    assert there(server, f"{tag}-foreign")


def test_the_login_in_use_is_not_pruned(server: Server, tag: str) -> None:
    rights = 'path "sys/policies/*" {\n  capabilities = ["create", "read", "update", "delete", "list", "sudo"]\n}\n'
    server.run(MODULE, policies=[{"name": f"{tag}-me", "hcl": rights}, policy(f"{tag}-gone")])
    token = server.write("auth/token/create", {"policies": [f"{tag}-me"]})["auth"]["client_token"]
    mine = Server(server.lab, server.root, {"auth_method": "token", "token": token})
    result = mine.run(MODULE, policies=[policy(f"{tag}-kept")], prune=True, prune_max_percent=100)
    assert there(server, f"{tag}-gone") is None
    assert there(server, f"{tag}-me")
    assert any(f"{tag}-me" in w for w in result["warnings"])


def test_references(server: Server, tag: str) -> None:
    server.write(f"sys/policies/acl/{tag}-there", {"policy": text_of(tag)})
    names = [f"{tag}-there", f"{tag}-listed", "default", f"{tag}-nowhere"]
    with server.proxy() as proxy:
        error = server.fails(
            MODULE, "policy-missing", url=proxy.address, policies=[policy(f"{tag}-listed")], referenced=names
        )
        assert proxy.requests("POST|PUT") == []
    assert error.data["missing"] == [f"{tag}-nowhere"]
    result = server.run(MODULE, policies=[policy(f"{tag}-listed")], referenced=names, referenced_missing="warn")
    assert result["changed"]
    assert f"{tag}-nowhere" in result["warnings"][0]


def test_expiration_is_refused_by_a_server_that_drops_it(server: Server, tag: str) -> None:
    wanted = [{**policy(tag), "expiration": "2099-01-01T00:00:00Z"}]
    with server.client() as client:
        version = str(client.request("GET", "sys/seal-status", token=False).body["version"])
    server.run(MODULE, policies=wanted)
    if version.startswith("1."):  # HashiCorp Vault
        server.fails(MODULE, "field-unknown-to-server", policies=wanted)
    else:
        assert not server.run(MODULE, policies=wanted)["changed"]


@pytest.mark.parametrize("count", [1, 10, 100])
def test_requests_of_a_run_without_changes(server: Server, tag: str, count: int) -> None:
    wanted = [policy(f"{tag}-{n}") for n in range(count)]
    server.run(MODULE, policies=wanted)
    with server.proxy() as proxy:
        result = server.run(MODULE, url=proxy.address, policies=wanted)
        assert not result["changed"]
        assert len(proxy.requests()) == result["requests"] == 1 + count
        assert {r.method for r in proxy.requests()} == {"LIST", "GET"}


@pytest.mark.parametrize("where", ["before", "after"])
def test_cut_in_the_middle_is_repaired_by_the_next_run(server: Server, tag: str, where: t.Any) -> None:
    wanted = [policy(f"{tag}-{n}") for n in range(4)]
    with server.proxy() as proxy:
        proxy.cut(where, method="POST", path=f"{tag}-2")
        error = server.fails(MODULE, "cut", url=proxy.address, policies=wanted)
        assert error.item == f"OpenBao policy {tag}-2"
        assert [c["name"] for c in error.data["applied"]] == [f"{tag}-0", f"{tag}-1"]
        assert len(proxy.requests("POST", f"{tag}-2")) == 1  # a write is never repeated
    result = server.run(MODULE, policies=wanted)
    assert [c["name"] for c in result["changes"]] == ([f"{tag}-2"] if where == "before" else []) + [f"{tag}-3"]
    assert not server.run(MODULE, policies=wanted)["changed"]


def test_a_5xx_on_reading_is_tried_again_and_on_writing_is_not(server: Server, tag: str) -> None:
    with server.proxy() as proxy:
        proxy.fail(503, 1, method="LIST")
        proxy.fail(502, 1, method="POST")
        error = server.fails(MODULE, "http-status", url=proxy.address, policies=[policy(tag)])
        assert error.status == 502
        assert len(proxy.requests("LIST")) == 2
    assert server.run(MODULE, policies=[policy(tag)])["changed"]


def test_the_servers_own_parser_agrees_with_the_check(server: Server, tag: str) -> None:
    """What the check accepts, the server accepts: one text with everything in it."""
    text = """
/* tenants */ path "kv/data/+/x" { capabilities = ["create", "update", "patch"] // why
  allowed_parameters = { "ttl" = ["1h", "2h"]  "*" = [] }
  denied_parameters = { "evil" = [] }
  required_parameters = ["ttl"]
  min_wrapping_ttl = "1m"
  max_wrapping_ttl = 3600
}
path "old/style" { policy = "read" }
path "with \\"quote" { capabilities = ["deny"] }
"""
    server.run(MODULE, policies=[{"name": tag, "hcl": text}])
    assert not server.run(MODULE, policies=[{"name": tag, "hcl": text}])["changed"]
    rules = [
        {
            "path": f"{tag}/{{{{identity.entity.id}}}}/*",
            "capabilities": ["create", "update"],
            "allowed_parameters": {"ttl": ["1h"], "*": []},
            "denied_parameters": {"evil": []},
            "required_parameters": ["ttl"],
            "min_wrapping_ttl": "60",
            "max_wrapping_ttl": "1h",
            "comment": "two\nlines",
        }
    ]
    server.run(MODULE, policies=[{"name": f"{tag}-rules", "rules": rules}])
    assert not server.run(MODULE, policies=[{"name": f"{tag}-rules", "rules": rules}])["changed"]
