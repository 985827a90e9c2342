# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""openbao_auth_mounts against a real server, with a real identity provider's discovery, keys and tokens."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import Connection, Login, OpenBao
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret, fingerprint

from .conftest import Provider, Server

MODULE = "openbao_auth_mounts"
PASSWORD = "a long enough password"
CLIENT_SECRET = "Zt8vQ4mN2xB7kL9wR3yH6cJ1"


def mount(server: Server, path: str) -> dict[str, t.Any] | None:
    return t.cast("dict[str, t.Any] | None", (server.data("sys/auth") or {}).get(f"{path}/"))


def login(server: Server, path: str, body: dict[str, t.Any]) -> dict[str, t.Any]:
    with server.client() as client:
        answer = client.request("POST", f"auth/{path}", body, ok=(200, 400, 403), token=False)
    return {"status": answer.status, **(answer.body.get("auth") or answer.body)}


def oidc(path: str, provider: Provider, **more: t.Any) -> dict[str, t.Any]:
    return {
        "path": path,
        "type": "oidc",
        "method_config": {
            "oidc_discovery_url": provider.issuer,
            "oidc_discovery_ca_pem": provider.ca_pem,
            "oidc_client_id": "openbao",
            "default_role": "Member",
        },
        "oidc_client_secret": CLIENT_SECRET,
        "roles": [
            {
                "name": "member",
                "user_claim": "sub",
                "groups_claim": "groups",
                "allowed_redirect_uris": ["http://localhost:8250/oidc/callback"],
                "token_policies": ["Member", "other"],
                "token_ttl": "1h",
                "claim_mappings": {"email": "email"},
                "oidc_scopes": ["groups"],
            }
        ],
        **more,
    }


SETTINGS: dict[str, t.Any] = {
    "default_lease_ttl": "1h",
    "max_lease_ttl": "8h",
    "token_type": "default-batch",
    "listing_visibility": "unauth",
    "audit_non_hmac_request_keys": ["b", "a"],
    "audit_non_hmac_response_keys": ["c"],
    "passthrough_request_headers": ["X-One"],
    "allowed_response_headers": ["X-Two"],
    "user_lockout_config": {
        "lockout_threshold": 3,
        "lockout_duration": "10m",
        "lockout_counter_reset_duration": "5m",
        "lockout_disable": True,
    },
}


def test_every_setting_comes_and_goes(server: Server, tag: str) -> None:
    full = [
        {"path": tag, "type": "userpass", "description": "People", "config": SETTINGS, "local": True, "seal_wrap": True}
    ]
    first = server.run(MODULE, mounts=full)
    entry = mount(server, tag)
    assert entry
    assert first["accessors"] == {tag: entry["accessor"]}
    assert entry["description"] == "People [hackspace.infra]"
    assert entry["config"]["user_lockout_config"]["user_lockout_threshold"] == 3
    assert not server.run(MODULE, mounts=full)["changed"]
    bare = [{"path": tag, "type": "userpass", "local": True, "seal_wrap": True}]
    assert server.run(MODULE, mounts=bare)["changed"]
    after = mount(server, tag)
    assert after
    assert after["accessor"] == entry["accessor"]
    assert after["description"] == "People [hackspace.infra]"
    assert (after["config"]["default_lease_ttl"], after["config"]["token_type"]) == (0, "default-service")
    assert not server.run(MODULE, mounts=bare)["changed"]


def test_type_is_never_changed(server: Server, tag: str) -> None:
    server.run(MODULE, mounts=[{"path": tag, "type": "userpass"}])
    error = server.fails(MODULE, "mount-fixed", mounts=[{"path": tag, "type": "approle"}], adopt=True)
    assert "type" in str(error)


def test_users(server: Server, tag: str, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    wanted = [
        {
            "path": tag,
            "type": "userpass",
            "users": [
                {
                    "name": "ada",
                    "password_file": str(secret),
                    "token_policies": ["b", "A"],
                    "token_ttl": "60m",
                    "token_bound_cidrs": ["127.0.0.1/32", "10.0.0.0/8"],
                    "token_no_default_policy": True,
                }
            ],
        }
    ]
    first = server.run(MODULE, mounts=wanted)
    assert [(c["kind"], c["name"]) for c in first["changes"]] == [("auth mount", tag), ("user", f"{tag}/ada")]
    assert PASSWORD not in str(first)
    assert sorted(login(server, f"{tag}/login/ada", {"password": PASSWORD})["policies"]) == ["a", "b"]
    assert not server.run(MODULE, mounts=wanted)["changed"]
    server.write(f"auth/{tag}/users/ada", {"token_policies": ["root-like"], "token_ttl": "9h"})
    again = server.run(MODULE, mounts=wanted)
    assert again["changes"][0]["why"] == "token_policies, token_ttl differs"
    # the password a person chose since is kept, unless it is to be set always
    server.write(f"auth/{tag}/users/ada/password", {"password": "something she chose"})
    assert not server.run(MODULE, mounts=wanted)["changed"]
    wanted[0]["users"][0]["update_password"] = "always"  # type: ignore[index]
    third = server.run(MODULE, mounts=wanted)
    assert third["changes"][0]["why"] == "password differs"
    assert PASSWORD not in str(third)
    assert login(server, f"{tag}/login/ada", {"password": PASSWORD})["status"] == 200
    assert not server.run(MODULE, mounts=wanted)["changed"]


def test_a_new_user_needs_a_password(server: Server, tag: str) -> None:
    wanted = [{"path": tag, "type": "userpass", "users": [{"name": "ada"}]}]
    server.fails(MODULE, "password-missing", mounts=wanted)
    assert mount(server, tag) is None


def test_oidc(server: Server, provider: Provider, tag: str) -> None:
    wanted = [oidc(tag, provider)]
    first = server.run(MODULE, mounts=wanted)
    assert [c["kind"] for c in first["changes"]] == ["auth mount", "auth mount configuration", "role"]
    assert CLIENT_SECRET not in str(first)
    mark = f"[hackspace.infra oidc_client_secret={fingerprint(CLIENT_SECRET)}]"
    assert (mount(server, tag) or {})["description"] == mark
    assert "/.well-known/openid-configuration" in provider.asked
    assert not server.run(MODULE, mounts=wanted)["changed"]
    started = login(
        server, f"{tag}/oidc/auth_url", {"role": "member", "redirect_uri": "http://localhost:8250/oidc/callback"}
    )
    assert started["data"]["auth_url"].startswith(f"{provider.issuer}/authorize?")


def test_a_new_client_secret_is_noticed_and_written(server: Server, provider: Provider, tag: str) -> None:
    server.run(MODULE, mounts=[oidc(tag, provider, description="SSO")])
    other = CLIENT_SECRET[::-1]
    changed = [oidc(tag, provider, description="SSO", oidc_client_secret=other)]
    with server.proxy() as proxy:
        # interrupted between the configuration and its evidence
        proxy.cut("before", method="POST", path=f"sys/auth/{tag}/tune")
        server.fails(MODULE, "cut", url=proxy.address, mounts=changed)
    result = server.run(MODULE, mounts=changed)
    assert [c["why"] for c in result["changes"]] == ["oidc_client_secret differs"]
    assert result["diff"][0]["after"]["oidc_client_secret"] == "(hidden, changed)"
    assert (mount(server, tag) or {})["description"] == f"SSO [hackspace.infra oidc_client_secret={fingerprint(other)}]"
    assert not server.run(MODULE, mounts=changed)["changed"]


def test_the_configuration_is_always_written_completely(server: Server, provider: Provider, tag: str) -> None:
    wanted = [oidc(tag, provider)]
    server.run(MODULE, mounts=wanted)
    server.write(
        f"auth/{tag}/config",
        {
            "oidc_discovery_url": provider.issuer,
            "oidc_discovery_ca_pem": provider.ca_pem,
            "oidc_client_id": "openbao",
            "oidc_client_secret": "written by hand, and lost",
        },
    )
    result = server.run(MODULE, mounts=wanted)
    assert result["changes"][0]["why"] == "default_role differs"
    assert not server.run(MODULE, mounts=wanted)["changed"]


def test_a_provider_that_does_not_answer(server: Server, provider: Provider, tag: str) -> None:
    wanted = [oidc(tag, provider)]
    wanted[0]["method_config"]["oidc_discovery_url"] = "https://127.0.0.1:1"
    with pytest.raises(HackspaceError) as caught:
        server.run(MODULE, mounts=wanted)
    assert "error checking oidc discovery URL" in str(caught.value)
    assert caught.value.item == f"auth mount configuration {tag}"
    assert CLIENT_SECRET not in str(caught.value)
    assert server.run(MODULE, mounts=[oidc(tag, provider)])["changed"]
    assert not server.run(MODULE, mounts=[oidc(tag, provider)])["changed"]


@pytest.mark.parametrize("source", ["jwks_url", "jwt_validation_pubkeys", "oidc_discovery_url"])
def test_jwt_login(server: Server, provider: Provider, tag: str, source: str) -> None:
    configs: dict[str, dict[str, t.Any]] = {
        "jwks_url": {"jwks_url": f"{provider.issuer}/keys", "jwks_ca_pem": provider.ca_pem},
        "jwt_validation_pubkeys": {"jwt_validation_pubkeys": ["  " + provider.public_key + "\n"]},
        "oidc_discovery_url": {"oidc_discovery_url": provider.issuer, "oidc_discovery_ca_pem": provider.ca_pem},
    }
    config = configs[source]
    wanted = [
        {
            "path": tag,
            "type": "jwt",
            "method_config": {**config, "bound_issuer": provider.issuer, "jwt_supported_algs": ["RS256", "ES256"]},
            "roles": [
                {
                    "name": "runner",
                    "user_claim": "sub",
                    "bound_audiences": ["openbao"],
                    "bound_claims": {"repository": ["infra", "tools"], "protected": True},
                    "bound_claims_type": "string",
                    "claim_mappings": {"repository": "repository"},
                    "token_policies": ["runner"],
                    "token_ttl": "10m",
                    "token_max_ttl": "10m",
                    "token_type": "batch",
                    "clock_skew_leeway": "10s",
                    "not_before_leeway": "-1s",
                }
            ],
        }
    ]
    server.run(MODULE, mounts=wanted)
    assert not server.run(MODULE, mounts=wanted)["changed"]
    good = {"sub": "job", "aud": "openbao", "repository": "infra", "protected": True}
    answer = login(server, f"{tag}/login", {"role": "runner", "jwt": provider.token(**good)})
    assert sorted(answer["policies"]) == ["default", "runner"]
    assert answer["metadata"] == {"repository": "infra", "role": "runner"}
    assert answer["lease_duration"] == 600
    for wrong in ({"aud": "other"}, {"repository": "else"}, {"protected": False}):
        refused = login(server, f"{tag}/login", {"role": "runner", "jwt": provider.token(**{**good, **wrong})})
        assert refused["status"] in (400, 403), refused


def test_certificate_login_configuration(server: Server, provider: Provider, tag: str) -> None:
    wanted = [
        {
            "path": tag,
            "type": "cert",
            "method_config": {"enable_identity_alias_metadata": True},
            "roles": [
                {
                    "name": "ada",
                    "certificate": provider.ca_pem,
                    "display_name": "Ada",
                    "allowed_common_names": ["ada", "ada.example.org"],
                    "token_policies": ["member"],
                }
            ],
        }
    ]
    server.run(MODULE, mounts=wanted)
    assert not server.run(MODULE, mounts=wanted)["changed"]
    server.write(f"auth/{tag}/config", {"disable_binding": True, "enable_identity_alias_metadata": True})
    assert server.run(MODULE, mounts=wanted)["changes"][0]["why"] == "disable_binding differs"


def test_approle(server: Server, tag: str) -> None:
    role = {"name": "ci", "secret_id_ttl": "1h", "secret_id_bound_cidrs": ["10.0.0.0/8"], "token_policies": ["ci"]}
    wanted = [{"path": tag, "type": "approle", "roles": [role]}]
    server.run(MODULE, mounts=wanted)
    assert not server.run(MODULE, mounts=wanted)["changed"]
    role["secret_id_ttl"] = "2h"
    assert server.run(MODULE, mounts=wanted)["changes"][0]["why"] == "secret_id_ttl differs"
    assert not server.run(MODULE, mounts=wanted)["changed"]
    server.fails(MODULE, "fixed-field", mounts=[{**wanted[0], "roles": [{**role, "local_secret_ids": True}]}])


def test_role_fields_left_out_return_to_their_default(server: Server, provider: Provider, tag: str) -> None:
    server.run(MODULE, mounts=[oidc(tag, provider)])
    bare = oidc(tag, provider)
    bare["roles"] = [
        {"name": "member", "user_claim": "sub", "allowed_redirect_uris": ["http://localhost:8250/oidc/callback"]}
    ]
    assert server.run(MODULE, mounts=[bare])["changed"]
    role = server.data(f"auth/{tag}/role/member")
    assert role
    assert not any(role[n] for n in ("token_policies", "token_ttl", "claim_mappings", "oidc_scopes", "groups_claim"))
    assert not server.run(MODULE, mounts=[bare])["changed"]


def test_foreign(server: Server, tag: str) -> None:
    server.write(f"sys/auth/{tag}", {"type": "userpass", "description": "by hand"})
    server.write(f"auth/{tag}/users/bob", {"password": PASSWORD, "token_policies": ["x"]})
    same = server.run(MODULE, mounts=[{"path": tag, "type": "userpass"}])
    assert (same["changed"], same["foreign"]) == (False, [f"auth mount {tag}"])
    new_user = [{"path": tag, "type": "userpass", "users": [{"name": "ada", "password": PASSWORD}]}]
    assert [c["name"] for c in server.run(MODULE, mounts=new_user)["changes"]] == [f"{tag}/ada"]
    wanted = [
        {"path": f"{tag}-new", "type": "userpass"},
        {
            "path": tag,
            "type": "userpass",
            "config": {"max_lease_ttl": "1h"},
            "users": [{"name": "bob", "token_policies": ["y"]}],
        },
    ]
    error = server.fails(MODULE, "foreign", mounts=wanted)
    assert error.data["foreign"] == [f"auth mount {tag}", f"user {tag}/bob"]
    assert mount(server, f"{tag}-new") is None
    server.run(MODULE, mounts=wanted, adopt=True)
    assert (mount(server, tag) or {})["description"] == "by hand [hackspace.infra]"
    assert not server.run(MODULE, mounts=wanted)["changed"]


def test_prune_of_users_and_mounts(server: Server, tag: str) -> None:
    users = [{"name": n, "password": PASSWORD} for n in ("ada", "bob", "eve")]
    mounts = [{"path": f"{tag}-{n}", "type": "userpass", "users": users} for n in range(2)]
    server.run(MODULE, mounts=mounts)
    server.write(f"sys/auth/{tag}-foreign", {"type": "userpass"})
    server.write(f"sys/auth/kubernetes-{tag}", {"type": "kubernetes", "description": "x [hackspace.infra]"})
    others = []
    for path, entry in (server.data("sys/auth") or {}).items():
        if "[hackspace.infra" in entry["description"] and not path.startswith((tag, "kubernetes-")):
            others.append(path.strip("/"))
    for path in others:  # of other tests, which are done with them
        server.delete(f"sys/auth/{path}")
    server.fails(MODULE, "prune-empty", mounts=[{**mounts[0], "users": []}, mounts[1]], prune=True)
    server.fails(MODULE, "prune-cap", mounts=[{**mounts[0], "users": users[:1]}, mounts[1]], prune=True)
    result = server.run(MODULE, mounts=[{**mounts[0], "users": users[:2]}, mounts[1]], prune=True)
    assert [(c["action"], c["name"]) for c in result["changes"]] == [("delete", f"{tag}-0/eve")]
    server.fails(MODULE, "prune-empty", mounts=[], prune=True)
    result = server.run(MODULE, mounts=[{"path": f"{tag}-0", "type": "userpass"}], prune=True)
    assert [(c["action"], c["name"]) for c in result["changes"]] == [("delete", f"{tag}-1")]
    assert mount(server, f"{tag}-foreign")
    assert mount(server, f"kubernetes-{tag}")
    assert server.keys(f"auth/{tag}-0/users") == ["ada", "bob"]


def test_the_login_in_use_is_not_pruned(server: Server, tag: str) -> None:
    rights = 'path "*" {\n  capabilities = ["create", "read", "update", "delete", "list", "sudo"]\n}\n'
    server.write(f"sys/policies/acl/{tag}", {"policy": rights})
    me = {"name": "me", "password": PASSWORD, "token_policies": [tag]}
    server.run(MODULE, mounts=[{"path": tag, "type": "userpass", "users": [me, {**me, "name": "gone"}]}])
    args = {"auth_method": "userpass", "mount_point": tag, "username": "me", "password": PASSWORD}
    mine = Server(server.lab, server.root, args)
    kept = {"path": f"{tag}-kept", "type": "userpass"}
    result = mine.run(MODULE, mounts=[kept], prune=True, prune_max_percent=100)
    assert any(f"auth mount {tag}" in w for w in result["warnings"])
    assert mount(server, tag)
    listed = {"path": tag, "type": "userpass", "users": [{**me, "name": "new"}]}
    result = mine.run(MODULE, mounts=[kept, listed], prune=True, prune_max_percent=100)
    assert sorted(server.keys(f"auth/{tag}/users")) == ["me", "new"]
    assert any("user me" in w for w in result["warnings"])


def test_check_mode_and_requests(server: Server, provider: Provider, tag: str) -> None:
    wanted = [
        oidc(tag, provider),
        {"path": f"{tag}-u", "type": "userpass", "users": [{"name": "ada", "password": PASSWORD}]},
    ]
    with server.proxy() as proxy:
        assert len(server.run(MODULE, check=True, url=proxy.address, mounts=wanted)["changes"]) == 5
        assert [(r.method, r.path) for r in proxy.requests()] == [("GET", "/v1/sys/auth")]
        server.run(MODULE, mounts=wanted)
        proxy.clear_requests()
        result = server.run(MODULE, url=proxy.address, mounts=wanted)
        assert not result["changed"]
        # sys/auth, a configuration, two lists, a role, a user
        assert len(proxy.requests()) == result["requests"] == 6
        assert {r.method for r in proxy.requests()} == {"GET", "LIST"}


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("path", ["sys/auth/[^/]*$", "/config$", "/tune$", "/role/member$", "/users/ada$"])
def test_cut_in_the_middle(server: Server, provider: Provider, tag: str, where: t.Any, path: str) -> None:
    user = {"path": f"{tag}-u", "type": "userpass", "users": [{"name": "ada", "password": PASSWORD}]}
    wanted = [oidc(tag, provider), user]
    with server.proxy() as proxy:
        proxy.cut(where, method="POST", path=path)
        server.fails(MODULE, "cut", url=proxy.address, mounts=wanted)
    server.run(MODULE, mounts=wanted)
    assert not server.run(MODULE, mounts=wanted)["changed"]
    assert (mount(server, tag) or {})["description"].startswith("[hackspace.infra oidc_client_secret=")
    assert login(server, f"{tag}-u/login/ada", {"password": PASSWORD})["status"] == 200


def test_503_in_the_middle(server: Server, tag: str) -> None:
    wanted = [
        {"path": f"{tag}-{n}", "type": "userpass", "users": [{"name": "ada", "password": PASSWORD}]} for n in range(3)
    ]
    with server.proxy() as proxy:
        proxy.fail(503, 1, method="POST", skip=3)
        error = server.fails(MODULE, "http-status", url=proxy.address, mounts=wanted)
        assert len(error.data["applied"]) == 3
    assert len(server.run(MODULE, mounts=wanted)["changes"]) == 3
    assert not server.run(MODULE, mounts=wanted)["changed"]


def test_a_login_without_the_right_is_told_so(server: Server, tag: str) -> None:
    token = server.write("auth/token/create", {"policies": ["default"]})["auth"]["client_token"]
    mine = Server(server.lab, server.root, {"auth_method": "token", "token": token})
    error = mine.fails(MODULE, "http-status", mounts=[{"path": tag, "type": "userpass"}])
    assert error.status == 403
    assert "GET sys/auth" in error.fix
    with OpenBao(
        Connection(**{k: v for k, v in mine.connection().items() if k in ("url", "tls_server_name", "ca_cert")}),
        Login(method="token", token=Secret(token)),
    ) as client:
        assert client.read("auth/token/lookup-self")
