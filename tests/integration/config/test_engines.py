# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""openbao_secret_engines against a real server."""

from __future__ import annotations

import typing as t

import pytest

from .conftest import Server

MODULE = "openbao_secret_engines"


def kv(path: str, **more: t.Any) -> dict[str, t.Any]:
    return {"path": path, "type": "kv", "options": {"version": "2"}, **more}


def mount(server: Server, path: str) -> dict[str, t.Any] | None:
    found = (server.data("sys/mounts") or {}).get(f"{path}/")
    return t.cast("dict[str, t.Any] | None", found)


FULL: dict[str, t.Any] = {
    "description": "Everything",
    "config": {
        "default_lease_ttl": "1h",
        "max_lease_ttl": "90m",
        "audit_non_hmac_request_keys": ["b", "a"],
        "audit_non_hmac_response_keys": ["c"],
        "listing_visibility": "unauth",
        "passthrough_request_headers": ["X-One"],
        "allowed_response_headers": ["X-Two"],
    },
    "engine_config": {"max_versions": 7, "cas_required": True, "delete_version_after": "720h"},
    "local": True,
    "seal_wrap": True,
}


def test_every_field_comes_and_goes(server: Server, tag: str) -> None:
    first = server.run(MODULE, engines=[kv(tag, **FULL)])
    assert first["changed"]
    entry = mount(server, tag)
    assert entry
    assert entry["description"] == "Everything [hackspace.infra]"
    assert (entry["config"]["default_lease_ttl"], entry["config"]["max_lease_ttl"]) == (3600, 5400)
    assert server.data(f"{tag}/config") == {"cas_required": True, "delete_version_after": "720h0m0s", "max_versions": 7}
    again = server.run(MODULE, engines=[kv(tag, **FULL)])
    assert (again["changed"], again["unchanged"]) == (False, 1)
    bare = kv(tag, local=True, seal_wrap=True, engine_config={}, description="")
    back = server.run(MODULE, engines=[bare])
    assert [c["kind"] for c in back["changes"]] == ["secret engine", "configuration of the secret engine"]
    entry = mount(server, tag)
    assert entry
    assert entry["description"] == "[hackspace.infra]"
    assert entry["config"]["default_lease_ttl"] == entry["config"]["max_lease_ttl"] == 0
    assert not entry["config"].get("audit_non_hmac_request_keys")
    assert not server.run(MODULE, engines=[bare])["changed"]


def test_other_types(server: Server, tag: str) -> None:
    wanted = [{"path": f"{tag}-{kind}", "type": kind} for kind in ("transit", "pki", "database", "totp", "ssh")]
    wanted.append({"path": f"{tag}/deep/kv", "type": "kv"})
    assert len(server.run(MODULE, engines=wanted)["changes"]) == 6
    assert not server.run(MODULE, engines=wanted)["changed"]


def test_a_change_by_hand_is_repaired(server: Server, tag: str) -> None:
    wanted = [kv(tag, engine_config={"max_versions": 3}, config={"max_lease_ttl": "2h"})]
    server.run(MODULE, engines=wanted)
    server.write(f"{tag}/config", {"max_versions": 1, "cas_required": True})
    server.write(f"sys/mounts/{tag}/tune", {"max_lease_ttl": "9h", "default_lease_ttl": "5m"})
    result = server.run(MODULE, engines=wanted)
    assert [c["why"] for c in result["changes"]] == [
        "default_lease_ttl, max_lease_ttl differs",
        "max_versions, cas_required differs",
    ]
    assert not server.run(MODULE, engines=wanted)["changed"]


def test_foreign(server: Server, tag: str) -> None:
    server.write(f"sys/mounts/{tag}", {"type": "kv", "options": {"version": "2"}, "description": "by hand"})
    same = server.run(MODULE, engines=[kv(tag)])
    assert (same["changed"], same["foreign"]) == (False, [f"secret engine {tag}"])
    wanted = [kv(f"{tag}-new"), kv(tag, engine_config={"max_versions": 2})]
    error = server.fails(MODULE, "foreign", engines=wanted)
    assert error.data["foreign"] == [f"secret engine {tag}"]
    assert mount(server, f"{tag}-new") is None
    server.run(MODULE, engines=wanted, adopt=True)
    entry = mount(server, tag)
    assert entry
    assert entry["description"] == "by hand [hackspace.infra]"
    assert not server.run(MODULE, engines=wanted)["changed"]


def test_what_cannot_be_changed_is_refused(server: Server, tag: str) -> None:
    server.run(MODULE, engines=[kv(tag), {"path": f"{tag}-1", "type": "kv"}])
    server.write(f"{tag}/data/x", {"data": {"a": "b"}})
    for other in ({"path": tag, "type": "transit"}, kv(tag, local=True), kv(tag, seal_wrap=True)):
        server.fails(MODULE, "mount-fixed", engines=[other], adopt=True)
    server.fails(MODULE, "kv-downgrade", engines=[{"path": tag, "type": "kv", "options": {"version": "1"}}])
    server.fails(MODULE, "kv-upgrade", engines=[kv(f"{tag}-1")])
    assert server.data(f"{tag}/data/x")


def test_kv_upgrade(server: Server, tag: str) -> None:
    server.run(MODULE, engines=[{"path": tag, "type": "kv"}])
    server.write(f"{tag}/x", {"a": "b"})
    wanted = [kv(tag, upgrade_kv=True, engine_config={"max_versions": 4})]
    assert server.run(MODULE, engines=wanted)["changed"]
    assert not server.run(MODULE, engines=wanted)["changed"]
    assert (server.data(f"{tag}/data/x") or {})["data"] == {"a": "b"}
    assert (server.data(f"{tag}/config") or {})["max_versions"] == 4


def test_prune_needs_leave_to_lose_data(server: Server, tag: str) -> None:
    server.write(f"sys/mounts/{tag}-foreign", {"type": "kv"})
    server.run(MODULE, engines=[kv(f"{tag}-{n}") for n in range(3)])
    others = [
        {
            "path": p.strip("/"),
            "type": m["type"],
            "options": m["options"] or {},
            "local": m["local"],
            "seal_wrap": m["seal_wrap"],
        }
        for p, m in (server.data("sys/mounts") or {}).items()
        if m["description"].endswith("[hackspace.infra]") and not p.startswith(tag)
    ]
    keep = [kv(f"{tag}-0"), kv(f"{tag}-1"), *[{**o, "config": None} for o in others]]
    for engine in keep:
        entry = mount(server, engine["path"]) or {}
        engine["config"] = {k: v for k, v in entry["config"].items() if k.endswith("_ttl")}
        engine["config"] = {k: f"{v}s" for k, v in engine["config"].items()}
    assert not server.run(MODULE, engines=keep)["changed"]
    error = server.fails(MODULE, "data-loss", engines=keep, prune=True)
    assert error.data["would_delete"] == [f"{tag}-2"]
    assert mount(server, f"{tag}-2")
    server.fails(MODULE, "prune-empty", engines=[], prune=True, allow_data_loss=True)
    result = server.run(MODULE, engines=keep, prune=True, allow_data_loss=True)
    assert [(c["action"], c["name"]) for c in result["changes"]] == [("delete", f"{tag}-2")]
    assert mount(server, f"{tag}-foreign")


def test_check_mode_and_requests(server: Server, tag: str) -> None:
    wanted = [kv(f"{tag}-{n}", engine_config={"max_versions": 5}) for n in range(10)]
    with server.proxy() as proxy:
        assert len(server.run(MODULE, check=True, url=proxy.address, engines=wanted)["changes"]) == 20
        assert [(r.method, r.path) for r in proxy.requests()] == [("GET", "/v1/sys/mounts")]
        server.run(MODULE, engines=wanted)
        proxy.clear_requests()
        result = server.run(MODULE, url=proxy.address, engines=wanted)
        assert not result["changed"]
        assert len(proxy.requests()) == result["requests"] == 11
    assert server.run(MODULE, engines=[kv(f"{tag}-0")])["requests"] == 1


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("path", ["sys/mounts/.*-1$", "-1/config"])
def test_cut_in_the_middle(server: Server, tag: str, where: t.Any, path: str) -> None:
    wanted = [kv(f"{tag}-{n}", engine_config={"max_versions": 5}) for n in range(3)]
    with server.proxy() as proxy:
        proxy.cut(where, method="POST", path=path)
        server.fails(MODULE, "cut", url=proxy.address, engines=wanted)
    assert server.run(MODULE, engines=wanted)["changed"]
    assert not server.run(MODULE, engines=wanted)["changed"]


def test_an_engine_that_is_still_upgrading_is_waited_for(server: Server, tag: str) -> None:
    calls: list[str] = []
    upgrading = '{"errors":["Upgrading from non-versioned to versioned data. This backend will be unavailable"]}'

    class Answer:
        def __init__(self, status: int, body: dict[str, t.Any]) -> None:
            self.status = status
            self.body = body

    from ansible_collections.hackspace.infra.plugins.module_utils._openbao import config_apply

    server.run(MODULE, engines=[kv(tag)])

    def ask(ok: t.Collection[int]) -> t.Any:
        calls.append(tag)
        if len(calls) < 3:
            import json

            return Answer(400, json.loads(upgrading))
        with server.client() as client:
            return client.request("GET", f"{tag}/config", ok=ok)

    assert config_apply.wait_upgrade(ask, tag)["data"]["max_versions"] == 0
    assert len(calls) == 3
