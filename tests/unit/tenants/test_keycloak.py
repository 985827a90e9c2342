# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reader of Keycloak's admin API against a server that answers as the vendor documents it."""

from __future__ import annotations

import http.server
import json
import threading
import typing as t
import urllib.parse

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._clients.keycloak import Keycloak, Realm
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret

SECRET = "a-secret-of-the-client"


class Realms(http.server.ThreadingHTTPServer):
    """Users and groups of one realm.

    :ivar cap: most users on a page, whatever is asked for.
    :ivar uses: requests for which a token is good.
    :ivar broken: what the lists answer instead.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.users = [{"id": f"id-{n}", "username": f"user{n}", "enabled": True} for n in range(230)]
        self.cap = 1000
        self.uses = 1000
        self.tokens: dict[str, int] = {}
        self.broken: t.Any = None
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Realms

    def log_message(self, *_args: t.Any) -> None:
        """Say nothing."""

    def answer(self, status: int, body: t.Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if self.path != "/realms/club/protocol/openid-connect/token":
            return self.answer(404, {"error": "Realm does not exist"})
        if form.get("grant_type") != ["client_credentials"] or form.get("client_secret") != [SECRET]:
            return self.answer(401, {"error": "unauthorized_client", "error_description": str(form)})
        token = f"token-{len(self.server.tokens)}"
        self.server.tokens[token] = self.server.uses
        return self.answer(200, {"access_token": token, "expires_in": 60, "token_type": "Bearer"})

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        token = str(self.headers["Authorization"]).removeprefix("Bearer ")
        self.server.seen.append(self.path)
        if self.server.tokens.get(token, 0) <= 0:
            return self.answer(401, {"error": "HTTP 401 Unauthorized"})
        self.server.tokens[token] -= 1
        if self.server.broken is not None:
            return self.answer(200, self.server.broken)
        first, size = int(query.get("first", 0)), min(int(query.get("max", 100)), self.server.cap)
        page = self.server.users[first : first + size]
        if url.path == "/admin/realms/club/users":
            return self.answer(200, page)
        if url.path == "/admin/realms/club/group-by-path/people/members":
            return self.answer(200, {"id": "g1", "name": "members", "path": "/people/members"})
        if url.path == "/admin/realms/club/groups/g1/members":
            return self.answer(200, page[:1] if first == 0 else [])
        return self.answer(404, {"error": "Group path does not exist"})


@pytest.fixture
def server() -> t.Iterator[Realms]:
    made = Realms()
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def users(server: Realms, group: str = "", secret: str = SECRET, realm: str = "club") -> list[dict[str, t.Any]]:
    with Keycloak(Realm(server.url, realm, "tenants", Secret(secret))) as source:
        return source.users(group)


@pytest.mark.parametrize("cap", [1000, 100, 37])
def test_all_pages_whatever_their_size(server: Realms, cap: int) -> None:
    server.cap = cap
    assert [one["username"] for one in users(server)] == [f"user{n}" for n in range(230)]
    assert all("briefRepresentation=false" in path for path in server.seen)


def test_a_token_that_ends_in_the_middle_is_renewed(server: Realms) -> None:
    server.uses = 2
    assert len(users(server)) == 230
    assert len(server.tokens) > 1


def test_a_group(server: Realms) -> None:
    assert [one["username"] for one in users(server, "/people/members")] == ["user0"]
    with pytest.raises(HackspaceError, match="check realm and group"):
        users(server, "/people/nobody")


def test_an_endless_list_is_no_list(server: Realms) -> None:
    server.broken = [{"id": "same", "username": "same"}]
    with pytest.raises(HackspaceError, match="keycloak-answer"):
        users(server)


@pytest.mark.parametrize("broken", [{"users": []}, [1], [{"username": "without-id"}], "text"])
def test_answers_that_are_not_documented(server: Realms, broken: t.Any) -> None:
    server.broken = broken
    with pytest.raises(HackspaceError, match="keycloak-answer"):
        users(server)


def test_a_wrong_secret_is_not_repeated_in_the_error(server: Realms) -> None:
    with pytest.raises(HackspaceError) as raised:
        users(server, secret="wrong-secret-of-somebody")
    assert raised.value.status == 401
    assert "wrong-secret-of-somebody" not in str(raised.value)
    with pytest.raises(HackspaceError) as raised:
        users(server, realm="other")
    assert raised.value.status == 404


def test_nobody_there() -> None:
    with (
        pytest.raises(HackspaceError) as raised,
        Keycloak(Realm("http://127.0.0.1:1", "club", "x", Secret("y"))) as one,
    ):
        one.users()
    assert raised.value.rule == "refused"


@pytest.mark.parametrize(
    ("url", "rule"),
    [("sso.example.org", "url"), ("http://sso.example.org", "plain-http"), ("https://ada@sso.example.org", "url")],
)
def test_addresses(url: str, rule: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        Realm(url, "club", "x", Secret("y")).checked()
    assert raised.value.rule == rule
