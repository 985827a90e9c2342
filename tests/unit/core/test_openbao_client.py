# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The OpenBao client against a strict server on loopback: what it sends, repeats and refuses, how it names failures."""

from __future__ import annotations

import contextlib
import os
import socket
import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._clients import openbao
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import (
    CONNECTION_SPEC,
    Connection,
    Login,
    OpenBao,
    OpenBaoError,
    client_of,
    connection_of,
    login_of,
    read_private_file,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput, Unreachable
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret

from tests.unit.core.strict_server import Authority, Expected, StrictServer, make_authority

TOKEN = "s.very-secret-token"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("pki") / "ours")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries are counted elsewhere; here they only take time."""
    monkeypatch.setattr(f"{openbao.__name__}.time.sleep", lambda seconds: None)


@contextlib.contextmanager
def served(*expected: Expected, authority: Authority | None = None) -> t.Iterator[StrictServer]:
    server = StrictServer(expected, authority.server_context() if authority else None)
    try:
        yield server
    except BaseException:
        with contextlib.suppress(AssertionError):
            server.finish()
        raise
    server.finish()


def _client(url: str, login: Login | None = None, **more: t.Any) -> OpenBao:
    return OpenBao(Connection(url, **{"timeout": 5, **more}), login)


def _token() -> Login:
    return Login(method="token", token=Secret(TOKEN))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# -- what it sends ---------------------------------------------------------------------------------------------------


def test_read_sends_the_token_and_returns_the_data() -> None:
    with served(Expected("GET", "/v1/sys/mounts", body={"data": {"a": 1}})) as server:
        client = _client(server.url, _token(), namespace="team")
        assert client.data("sys/mounts") == {"a": 1}
        assert client.requests == 1
    headers = server.seen[0].headers
    assert headers["x-vault-token"] == TOKEN
    assert headers["x-vault-namespace"] == "team"
    assert headers["x-vault-request"] == "true"


def test_no_login_sends_no_token() -> None:
    with served(Expected("GET", "/v1/sys/seal-status", body={"sealed": True})) as server:
        assert _client(server.url).read("sys/seal-status") == {"sealed": True}
    assert "x-vault-token" not in server.seen[0].headers
    assert "authorization" not in server.seen[0].headers


def test_absent_is_none_and_empty() -> None:
    with served(
        Expected("GET", "/v1/a", 404, {"errors": []}),
        Expected("LIST", "/v1/b", 404, {"errors": []}),
        Expected("DELETE", "/v1/c", 404, {"errors": []}),
        Expected("LIST", "/v1/d", body={"data": {"keys": ["x", "y/"]}}),
    ) as server:
        client = _client(server.url)
        assert client.data("a") is None
        assert client.keys("b") == []
        client.delete("c")
        assert client.keys("d") == ["x", "y/"]
        assert client.requests == 4


def test_write_sends_json() -> None:
    with served(Expected("POST", "/v1/auth/x", 204)) as server:
        assert _client(server.url).write("auth/x", {"a": [1]}) == {}
    assert server.seen[0].body == {"a": [1]}


@pytest.mark.parametrize(
    ("login", "path", "body"),
    [
        (
            Login(method="userpass", username="ada", password=Secret("pw")),
            "/v1/auth/userpass/login/ada",
            {"password": "pw"},
        ),
        (
            Login(method="userpass", mount_point="/people/", username="ada", password=Secret("pw")),
            "/v1/auth/people/login/ada",
            {"password": "pw"},
        ),
        (
            Login(method="approle", role_id="r", secret_id=Secret("s")),
            "/v1/auth/approle/login",
            {"role_id": "r", "secret_id": "s"},
        ),
        (Login(method="cert", role="admin"), "/v1/auth/cert/login", {"name": "admin"}),
    ],
)
def test_login_is_made_once_and_revoked(login: Login, path: str, body: dict[str, str]) -> None:
    with (
        served(
            Expected("POST", path, body={"auth": {"client_token": TOKEN}}),
            Expected("GET", "/v1/a", body={}),
            Expected("GET", "/v1/b", body={}),
            Expected("POST", "/v1/auth/token/revoke-self", 204),
        ) as server,
        _client(server.url, login) as client,
    ):
        client.read("a")
        client.read("b")
    assert server.seen[0].body == body
    assert "x-vault-token" not in server.seen[0].headers
    assert [seen.headers.get("x-vault-token") for seen in server.seen[1:]] == [TOKEN] * 3


def test_given_token_is_not_revoked() -> None:
    with served(Expected("GET", "/v1/a", body={})) as server, _client(server.url, _token()) as client:
        client.read("a")


def test_refused_login_names_the_mount_and_no_password() -> None:
    login = Login(method="userpass", username="ada", password=Secret("hunter2hunter2"))
    with served(Expected("POST", "/v1/auth/userpass/login/ada", 400, {"errors": ["bad hunter2hunter2"]})) as server:
        with pytest.raises(OpenBaoError) as caught:
            _client(server.url, login).read("a")
        assert (caught.value.rule, caught.value.status) == ("login", 400)
        assert "hunter2" not in str(caught.value)


def test_clone_shares_the_login_and_leaves_it_alone() -> None:
    login = Login(method="userpass", username="ada", password=Secret("pw"))
    with (
        served(
            Expected("POST", "/v1/auth/userpass/login/ada", body={"auth": {"client_token": TOKEN}}),
            Expected("GET", "/v1/a", body={}),
            Expected("POST", "/v1/auth/token/revoke-self", 204),
        ) as server,
        _client(server.url, login) as client,
        client.clone() as other,
    ):
        other.read("a")
    assert server.seen[1].headers["x-vault-token"] == TOKEN


# -- the environment -------------------------------------------------------------------------------------------------


def test_environment_and_home_folder_are_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: Authority
) -> None:
    nowhere = f"http://127.0.0.1:{_free_port()}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, nowhere)
    for name in ("VAULT_TOKEN", "BAO_TOKEN", "VAULT_NAMESPACE", "BAO_NAMESPACE"):
        monkeypatch.setenv(name, "from-the-environment")
    for name in ("VAULT_ADDR", "BAO_ADDR"):
        monkeypatch.setenv(name, nowhere)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".vault-token").write_text("from-the-home-folder")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password from-netrc\n")
    os.chmod(tmp_path / ".netrc", 0o600)
    with served(Expected("GET", "/v1/a", body={})) as server:
        assert _client(server.url).read("a") == {}
    assert not {"x-vault-token", "x-vault-namespace", "authorization"} & set(server.seen[0].headers)
    # Nor does the environment name a CA: this one would make the server trusted.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "VAULT_CACERT", "BAO_CACERT"):
        monkeypatch.setenv(name, str(authority.ca))
    with served(authority=authority) as server, pytest.raises(Unreachable) as caught:
        _client(server.url, tls_server_name="node.example").read("a")
    assert caught.value.rule == "tls-ca"


def test_redirects_are_not_followed() -> None:
    with (
        served() as other,
        served(Expected("GET", "/v1/a", 307, headers={"Location": f"{other.url}/v1/a"})) as server,
        pytest.raises(OpenBaoError) as caught,
    ):
        _client(server.url, _token()).read("a")
    assert caught.value.status == 307
    assert "redirected to" in str(caught.value)
    assert "active node" in caught.value.fix
    assert other.seen == []


# -- answers that are errors -----------------------------------------------------------------------------------------


def test_error_carries_status_and_the_servers_words() -> None:
    with served(Expected("POST", "/v1/a", 400, {"errors": ["no such thing", "really"]})) as server:
        with pytest.raises(OpenBaoError) as caught:
            _client(server.url).write("a", {})
        error = caught.value
    assert (error.status, error.rule, error.errors) == (400, "http-status", ["no such thing", "really"])
    assert error.item == server.url


def test_quiet_errors_leave_the_servers_words_out() -> None:
    with served(Expected("PUT", "/v1/sys/unseal", 400, {"errors": ["share abc is bad"]})) as server:
        with pytest.raises(OpenBaoError) as caught:
            _client(server.url).request("PUT", "sys/unseal", {"key": "abc"}, quiet=True)
        assert "abc" not in str(caught.value.as_fail())
        assert caught.value.errors == []


def test_forbidden_says_what_the_policy_must_allow() -> None:
    with served(Expected("POST", "/v1/sys/auth/x", 403, {"errors": ["permission denied"]})) as server:
        with pytest.raises(OpenBaoError) as caught:
            _client(server.url, _token()).write("sys/auth/x", {})
        assert "OpenBao policy that allows POST sys/auth/x" in caught.value.fix
        assert TOKEN not in str(caught.value.as_fail())


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"\xff\xfe", b'"x"'])
def test_answer_of_something_else_is_not_taken_for_an_empty_one(status: int, body: bytes) -> None:
    with served(Expected("GET", "/v1/a", status, body)) as server:
        with pytest.raises(OpenBaoError) as caught:
            _client(server.url).read("a")
        assert (caught.value.rule, caught.value.status) == ("not-openbao", status)


def test_empty_answer_is_empty() -> None:
    with served(Expected("GET", "/v1/a", 200)) as server:
        assert _client(server.url).read("a") == {}


# -- repeating -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "LIST"])
def test_reads_are_repeated_after_a_passing_error(method: str, status: int) -> None:
    failing = Expected(method, "/v1/a", status, {"errors": ["wait"]})
    with served(failing, failing, Expected(method, "/v1/a", body={"ok": True})) as server:
        client = _client(server.url)
        assert client.request(method, "a").body == {"ok": True}
        assert client.requests == 3


def test_reads_are_repeated_after_a_cut_connection() -> None:
    cut = Expected("GET", "/v1/a", fault="cut")
    with served(cut, cut, Expected("GET", "/v1/a", body={})) as server:
        assert _client(server.url).read("a") == {}


def test_reads_give_up_after_their_retries() -> None:
    with served(*[Expected("GET", "/v1/a", 503, {"errors": ["wait"]})] * 3) as server:
        client = _client(server.url)
        with pytest.raises(OpenBaoError) as caught:
            client.read("a")
        assert (caught.value.status, client.requests) == (503, 3)


@pytest.mark.parametrize("retries", [0, 1, 4])
def test_number_of_retries_is_an_option(retries: int) -> None:
    with served(*[Expected("GET", "/v1/a", fault="cut")] * (retries + 1)) as server, pytest.raises(Unreachable):
        _client(server.url, retries=retries).read("a")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("fault", ["cut", "half", ""])
def test_writes_are_never_repeated(method: str, fault: str) -> None:
    with served(Expected(method, "/v1/a", 200 if fault else 503, {"errors": ["wait"]}, fault=fault)) as server:
        client = _client(server.url)
        with pytest.raises((Unreachable, OpenBaoError)):
            client.request(method, "a", {})
        assert client.requests == 1


def test_sealed_is_an_answer_and_not_repeated() -> None:
    with served(Expected("GET", "/v1/a", 503, {"errors": ["Vault is sealed"]})) as server:
        client = _client(server.url)
        with pytest.raises(OpenBaoError) as caught:
            client.read("a")
        assert client.requests == 1
        assert "unseal" in caught.value.fix


@pytest.mark.parametrize("status", [500, 501, 429, 400])
def test_other_errors_are_not_repeated(status: int) -> None:
    with served(Expected("GET", "/v1/a", status, {"errors": ["no"]})) as server, pytest.raises(OpenBaoError):
        _client(server.url).read("a")


# -- no answer -------------------------------------------------------------------------------------------------------


def _rule_of(url: str, **more: t.Any) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        _client(url, _token(), **more).read("a")
    assert caught.value.item == url
    assert caught.value.fix
    assert TOKEN not in str(caught.value.as_fail())
    return caught.value


def test_name_that_does_not_resolve() -> None:
    assert _rule_of("https://no-such-host.invalid:8200").rule == "dns"


def test_refused_connection_is_not_repeated() -> None:
    client = _client(f"http://127.0.0.1:{_free_port()}")
    with pytest.raises(Unreachable) as caught:
        client.read("a")
    assert (caught.value.rule, client.requests) == ("refused", 1)


def test_server_that_hangs() -> None:
    with served(Expected("GET", "/v1/a", fault="slow")) as server:
        error = _rule_of(server.url, timeout=0.3, retries=0)
        assert error.rule == "timeout"
        assert "0.3 s" in str(error)


def test_cut_connection() -> None:
    with served(*[Expected("GET", "/v1/a", fault="cut")] * 3) as server:
        assert _rule_of(server.url).rule == "cut"


def test_answer_cut_in_the_middle() -> None:
    with served(*[Expected("GET", "/v1/a", body={"a": 1}, fault="half")] * 3) as server:
        assert _rule_of(server.url).rule == "cut"


def test_certificate_for_another_name(authority: Authority) -> None:
    with served(authority=authority) as server:
        error = _rule_of(server.url, ca_cert=str(authority.ca), tls_server_name="other.example")
        assert error.rule == "tls-name"
        assert "other.example" in str(error)


def test_certificate_that_does_not_name_the_address(authority: Authority) -> None:
    with served(authority=authority) as server:
        error = _rule_of(server.url, ca_cert=str(authority.ca))
        assert error.rule == "tls-name"
        assert "tls_server_name" in error.fix


def test_certificate_of_another_authority(authority: Authority, tmp_path: Path) -> None:
    other = make_authority(tmp_path / "other")
    with served(authority=authority) as server:
        error = _rule_of(server.url, ca_cert=str(other.ca), tls_server_name="node.example")
        assert error.rule == "tls-ca"
        assert "ca_cert" in error.fix


def test_plain_listener_behind_https() -> None:
    with served() as server:
        assert _rule_of(server.url.replace("http:", "https:"), validate_certs=False).rule in ("tls", "cut")


def test_verified_by_name(authority: Authority) -> None:
    with served(Expected("GET", "/v1/a", body={"ok": 1}), authority=authority) as server:
        client = _client(server.url, ca_cert=str(authority.ca), tls_server_name="node.example")
        assert client.read("a") == {"ok": 1}


def test_verified_by_address(tmp_path: Path) -> None:
    made = make_authority(tmp_path / "with-address", addresses=["127.0.0.1"])
    with served(Expected("GET", "/v1/a", body={"ok": 1}), authority=made) as server:
        assert _client(server.url, ca_cert=str(made.ca)).read("a") == {"ok": 1}


def test_unverified_only_when_told(authority: Authority) -> None:
    with served(Expected("GET", "/v1/a", body={"ok": 1}), authority=authority) as server:
        assert _client(server.url, validate_certs=False).read("a") == {"ok": 1}


# -- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "host:8200", "ftp://host", "https://", "https://host/v1", "https://host:1/x/"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Connection(url).checked()
    assert caught.value.rule == "url"


@pytest.mark.parametrize(
    "url",
    ["http://192.0.2.1:8200", "http://example.org", "http://localhost.example", "http://127.example", "http://[::2]:1"],
)
def test_plain_http_beyond_loopback(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Connection(url).checked()
    assert caught.value.rule == "plain-http"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8200/", "http://localhost:8200", "http://[::1]:8200", "https://h:1"])
def test_addresses_that_may_be_used(url: str) -> None:
    assert Connection(url).checked().url == url.rstrip("/")


def test_ca_file_that_is_not_there() -> None:
    with pytest.raises(InvalidInput) as caught:
        Connection("https://h", ca_cert="/nonexistent/ca.pem").checked()
    assert caught.value.rule == "ca-file"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_private_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    path.write_text("hunter2hunter2\n")
    path.chmod(mode)
    with pytest.raises(InvalidInput) as caught:
        read_private_file(str(path), item="token_path")
    assert caught.value.rule == "secret-file-mode"
    assert "hunter2" not in str(caught.value.as_fail())
    assert f"chmod 600 {path}" in caught.value.fix


def test_private_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(" a b \n\n")
    path.chmod(0o600)
    assert read_private_file(str(path), item="x").reveal() == " a b"
    with pytest.raises(InvalidInput) as caught:
        read_private_file(str(tmp_path / "none"), item="x")
    assert caught.value.rule == "secret-file"


def _params(**given: t.Any) -> dict[str, t.Any]:
    defaults = {name: option.get("default") for name, option in CONNECTION_SPEC.options.items()}
    return {**defaults, "url": "https://h:1", **given}


def test_parameters_become_a_connection(authority: Authority) -> None:
    made = connection_of(_params(tls_server_name="n", ca_cert=str(authority.ca), namespace="x", timeout=3.5, retries=0))
    assert made == Connection("https://h:1", "n", str(authority.ca), True, "x", 3.5, 0)


def test_parameters_become_a_login(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("from-file\n")
    path.chmod(0o600)
    assert login_of(_params(token_path=str(path))).token == Secret("from-file")
    user = login_of(_params(auth_method="userpass", username="ada", password_file=str(path)))
    assert (user.method, user.username, user.password, user.token) == ("userpass", "ada", Secret("from-file"), None)
    role = login_of(_params(auth_method="approle", role_id="r", secret_id="s", mount_point="m"))
    assert (role.role_id, role.secret_id, role.mount_point) == ("r", Secret("s"), "m")
    assert login_of(_params(auth_method="none")).method == "none"


def test_secret_options_are_marked() -> None:
    secret = {"token", "password", "secret_id"}
    marked = {name for name, option in CONNECTION_SPEC.options.items() if option.get("no_log")}
    assert marked == secret


def test_client_of_parameters_asks_nothing_by_itself() -> None:
    with served() as server:
        client = client_of(_params(url=server.url, token=TOKEN))
        assert client.requests == 0
        client.close()
