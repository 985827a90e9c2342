# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces with a seal of their own, against a server that answers as OpenBao 2.6 is documented to."""

from __future__ import annotations

import http.server
import json
import threading
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import namespace_seal
from ansible_collections.hackspace.infra.plugins.modules import openbao_unseal

TOKEN = "s.namespace-token-of-the-test"
OTHER = "ee" * 32 + "07"


def share(number: int, place: str = "aa") -> str:
    """Return something of the form of a share; the fake knows which are right by their content."""
    return place * 32 + f"{number:02x}"


class Bao:
    """The seals of one server: the root is unsealed, namespaces have shares and a threshold of their own."""

    def __init__(self, version: str = "2.6.2") -> None:
        self.version = version
        self.shares: dict[str, tuple[int, set[str]]] = {}
        self.progress: dict[str, set[str]] = {}
        self.unsealed: set[str] = set()
        self.seen: list[str] = []
        self.token: str = TOKEN

    def add(self, path: str, place: str, threshold: int = 2) -> None:
        self.shares[path] = (threshold, {share(number, place) for number in range(1, 4)})
        self.progress[path] = set()

    def above(self, path: str) -> list[str]:
        parts = path.split("/")
        return ["/".join(parts[:count]) for count in range(1, len(parts))]

    def status(self, path: str) -> dict[str, t.Any]:
        threshold, all_of_them = self.shares[path]
        return {
            "type": "shamir",
            "initialized": True,
            "sealed": path not in self.unsealed,
            "t": threshold,
            "n": len(all_of_them),
            "progress": len(self.progress[path]),
            "nonce": "a-nonce" if self.progress[path] else "",
        }

    def handle(self, method: str, path: str, headers: t.Mapping[str, str], body: dict[str, t.Any]) -> tuple[int, t.Any]:
        root = {"type": "shamir", "initialized": True, "sealed": False, "t": 3, "n": 5, "progress": 0, "nonce": ""}
        root |= {"version": self.version, "storage_type": "raft", "cluster_name": "x", "cluster_id": "y"}
        if (method, path) == ("GET", "sys/seal-status"):
            return 200, root
        if (method, path) == ("GET", "sys/health"):
            return 200, {**root, "standby": False}
        assert path.startswith("sys/namespaces/"), path
        name, what = path.removeprefix("sys/namespaces/").split("/")
        parent = headers.get("X-Vault-Namespace") or ""
        full = f"{parent}/{name}".strip("/")
        self.seen.append(f"{method} {full} {what}")
        if headers.get("X-Vault-Token") != self.token:
            return 403, {"errors": ["permission denied"]}
        if any(up in self.shares and up not in self.unsealed for up in self.above(full)):
            return 503, {"errors": ["namespace is sealed"]}
        if full not in self.shares:
            return 500, {"errors": [f'namespace "{full}/" doesn\'t exist']}
        if (method, what) == ("GET", "seal-status"):
            return 200, {"data": self.status(full), "request_id": "r"}
        assert (method, what) == ("PUT", "unseal")
        assert set(body) == {"key"}
        return self.unseal(full, body["key"])

    def unseal(self, path: str, key: str) -> tuple[int, t.Any]:
        threshold, right = self.shares[path]
        if path not in self.unsealed:
            self.progress[path].add(key)
            if len(self.progress[path]) >= threshold:
                good = self.progress[path] <= right
                self.progress[path] = set()
                if not good:
                    return 400, {"errors": [f"failed to decrypt keys from storage: {key}"]}
                self.unsealed.add(path)
        return 200, {"data": self.status(path)}


@pytest.fixture
def bao() -> Bao:
    made = Bao()
    made.add("tenants", "aa")
    made.add("tenants/ada", "bb", threshold=3)
    return made


@pytest.fixture
def url(bao: Bao) -> t.Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else {}
            status, answer = bao.handle(self.command, self.path.removeprefix("/v1/"), dict(self.headers), body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = _answer

        def log_message(self, format: str, *args: t.Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def holders(place: str, *numbers: int) -> list[dict[str, str]]:
    return [{"name": f"h{number}", "share": share(number, place)} for number in numbers]


def run(url: str, namespaces: list[dict[str, t.Any]], *, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
    args = {"nodes": [{"name": "a", "url": url}], "namespaces": namespaces, "namespace_token": TOKEN, **options}
    with patch_module_args({**args, "_ansible_check_mode": check}):
        module = openbao_unseal.SPEC.create_module()
    return dict(openbao_unseal.main(module))


def failing(url: str, namespaces: list[dict[str, t.Any]], **options: t.Any) -> HackspaceError:
    with pytest.raises(HackspaceError) as error:
        run(url, namespaces, **options)
    for secret in (TOKEN, share(1, "aa"), share(1, "bb"), OTHER):
        assert secret not in json.dumps(error.value.as_fail())
    return error.value


def both() -> list[dict[str, t.Any]]:
    """The child first, as somebody may write it."""
    return [
        {"path": "tenants/ada/", "holders": holders("bb", 1, 2, 3)},
        {"path": "tenants", "holders": holders("aa", 1, 2, 3)},
    ]


def test_parents_before_children_each_with_its_own_shares(bao: Bao, url: str) -> None:
    before = run(url, both(), check=True)
    assert before["changed"]
    assert bao.progress == {"tenants": set(), "tenants/ada": set()}
    assert "namespace tenants: would send h1, h2, enough" in before["summary"]
    assert not [line for line in bao.seen if line.startswith("PUT")]
    bao.seen.clear()

    result = run(url, both())
    assert result["changed"]
    assert bao.unsealed == {"tenants", "tenants/ada"}
    assert [n["path"] for n in result["namespaces"]] == ["tenants", "tenants/ada"]
    assert result["namespaces"][0]["sent"] == {"h1": "counted", "h2": "counted"}
    assert [line for line in bao.seen if line.startswith("PUT")] == [
        *["PUT tenants unseal"] * 2,
        *["PUT tenants/ada unseal"] * 3,
    ]
    again = run(url, both())
    assert not again["changed"]
    assert {n["state"] for n in again["namespaces"]} == {"unsealed"}


def test_one_holder_at_a_time(bao: Bao, url: str) -> None:
    first = run(url, [{"path": "tenants", "holders": holders("aa", 1)}])
    assert first["changed"]
    assert (first["namespaces"][0]["progress"], first["namespaces"][0]["shares_needed"]) == (1, 1)
    same = run(url, [{"path": "tenants", "holders": holders("aa", 1)}])
    assert not same["changed"]
    assert same["namespaces"][0]["sent"] == {"h1": "already there"}
    child = run(url, [{"path": "tenants/ada", "holders": holders("bb", 1, 2, 3)}])
    assert child["namespaces"][0]["problem"] == "a namespace above it is sealed"
    assert not child["changed"]
    assert run(url, [{"path": "tenants", "holders": holders("aa", 2)}])["namespaces"][0]["state"] == "unsealed"


def test_a_wrong_share_names_holders_and_stops(bao: Bao, url: str) -> None:
    wanted = both()
    wanted[1]["holders"] = [*holders("aa", 1), {"name": "eve", "share": OTHER}]
    error = failing(url, wanted)
    assert (error.item, error.rule) == ("namespace tenants", "namespace-wrong-share")
    assert error.data["suspects"] == ["h1", "eve"]
    assert not [line for line in bao.seen if "ada unseal" in line]


def test_a_login_is_needed(bao: Bao, url: str) -> None:
    bao.token = "another"
    error = failing(url, both())
    assert error.rule == "namespace-login"
    assert "read on sys/namespaces/tenants/seal-status" in error.fix


def test_a_namespace_that_is_not_there(url: str) -> None:
    result = run(url, [{"path": "nobody", "holders": []}])
    assert result["namespaces"][0]["state"] == "unknown"
    assert "does not exist" in result["namespaces"][0]["problem"]


@pytest.mark.parametrize(("version", "rule"), [("2.5.5", "namespace-seal-version"), ("2.0.0-HEAD", "version-unknown")])
def test_before_2_6_nothing_is_asked(bao: Bao, url: str, version: str, rule: str) -> None:
    bao.version = version
    assert failing(url, both()).rule == rule
    assert bao.seen == []
    if rule == "version-unknown":
        assert run(url, both(), server_version="2.6.1")["changed"]


@pytest.mark.parametrize(
    ("raw", "rule", "item"),
    [
        ([{"path": ""}], "namespace-path", "namespaces[0].path"),
        ([{"path": "a//b"}], "namespace-path", "namespaces[0].path"),
        ([{"path": "../x"}], "namespace-path", "namespaces[0].path"),
        ([{"path": "root"}], "namespace-path", "namespaces[0].path"),
        ([{"path": "a"}, {"path": "/a/"}], "unique-namespace", "namespaces[1].path"),
        ([{"path": "a", "holders": [{"name": "x"}, {"name": "x"}]}], "unique-holder", "namespaces[0].holders[1].name"),
    ],
)
def test_wrong_namespaces(raw: list[dict[str, t.Any]], rule: str, item: str) -> None:
    with pytest.raises(HackspaceError) as error:
        namespace_seal.parse_namespaces(raw)
    assert (error.value.rule, error.value.item) == (rule, item)


def test_somebody_who_resets_meanwhile() -> None:
    wanted = namespace_seal.Wanted("a")
    before = namespace_seal.Seal(wanted, "sealed", 3, 5, 1, "one")
    one = namespace_seal.Round(before)
    with pytest.raises(HackspaceError) as error:
        one.take("ada", 200, namespace_seal.Seal(wanted, "sealed", 3, 5, 1, "another"))
    assert error.value.rule == "namespace-nonce"
    with pytest.raises(HackspaceError) as error:
        namespace_seal.Round(before).take("ada", 500, namespace_seal.Seal(wanted, "unknown"))
    assert error.value.rule == "namespace-refused"


def test_a_namespace_without_a_seal() -> None:
    found = namespace_seal.classify(namespace_seal.Wanted("a"), 400, {"errors": ["namespace is not sealable"]})
    assert found.line() == "namespace a: has no seal of its own"
