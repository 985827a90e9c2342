# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests from the web: a strict server on loopback that redirects, lies, cuts and never ends."""

from __future__ import annotations

import hashlib
import http.server
import threading
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._clients import sources
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError

CONTENT = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n"
PINNED = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_args: t.Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/right")
            self.end_headers()
        elif self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://example.org/right")
            self.end_headers()
        elif self.path == "/round":
            self.send_response(302)
            self.send_header("Location", "/round")
            self.end_headers()
        elif self.path == "/missing":
            self.send_error(404)
        elif self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:10])
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT if self.path == "/right" else CONTENT + b"# more\n")


@pytest.fixture(scope="module")
def address() -> t.Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def read(url: str, **changes: t.Any) -> bytes:
    return sources.read_url(url, **{"sha256": PINNED, "item": "manifests[0].url", "timeout": 5.0, **changes})


def test_a_manifest_and_one_that_has_moved(address: str) -> None:
    assert read(f"{address}/right") == CONTENT
    assert read(f"{address}/moved") == CONTENT
    found = sources.read_manifests([{"url": f"{address}/right", "sha256": PINNED.upper()}], timeout=5)
    assert found[0].body["metadata"]["name"] == "one"


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/other", "manifest-sha256"),
        ("/away", "source-plain-http"),
        ("/round", "source-redirects"),
        ("/missing", "source-status"),
        ("/cut", "cut"),
    ],
)
def test_what_goes_wrong_on_the_way(address: str, path: str, rule: str) -> None:
    with pytest.raises(HackspaceError) as caught:
        read(f"{address}{path}")
    assert caught.value.rule == rule, str(caught.value)


def test_nothing_larger_than_the_cap_is_read(address: str, tmp_path: t.Any) -> None:
    with pytest.raises(HackspaceError, match="source-size"):
        read(f"{address}/right", max_bytes=10)
    path = tmp_path / "large"
    path.write_bytes(CONTENT)
    with pytest.raises(HackspaceError, match="source-size"):
        sources.read_path(str(path), item="manifests[0].path", max_bytes=10)


def test_no_server_is_said(address: str) -> None:
    with pytest.raises(HackspaceError) as caught:
        read("http://127.0.0.1:9/x")
    assert caught.value.rule == "refused"


def test_no_proxy_of_the_environment_is_used(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert read(f"{address}/right") == CONTENT
