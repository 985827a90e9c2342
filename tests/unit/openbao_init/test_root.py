# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints by version, the one-time pad, whose attempt it is, and the ceremony."""

from __future__ import annotations

import base64
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import root_apply, root_plan, shares, versions
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Api, Cluster, Reply, cut

PRINTABLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
OPEN, AUTHENTICATED = root_plan.OPEN, root_plan.AUTHENTICATED


@pytest.mark.parametrize(
    ("version", "has_login", "base", "needs_login", "may_be_off"),
    [
        ("1.13.2", True, OPEN, False, False),
        ("1.20.4+ent", False, OPEN, False, False),
        ("2.0.0", False, OPEN, False, False),
        ("2.4.4", True, OPEN, False, False),
        ("2.5.2", True, OPEN, False, False),
        ("2.5.3", True, OPEN, False, True),
        ("2.5.5", False, OPEN, False, True),
        ("2.6.0", True, AUTHENTICATED, True, False),
        ("v2.6.2", True, AUTHENTICATED, True, False),
        ("2.6.2", False, OPEN, False, True),
        ("2.10.0", True, AUTHENTICATED, True, False),
    ],
)
def test_endpoints_by_version(version: str, has_login: bool, base: str, needs_login: bool, may_be_off: bool) -> None:
    found = root_plan.endpoints(versions.parse(version), has_login=has_login)
    assert found == root_plan.Endpoints(base, needs_login, may_be_off)
    assert found.attempt == f"{base}/attempt"
    assert found.update == f"{base}/update"


def test_a_development_build_needs_to_be_told() -> None:
    with pytest.raises(HackspaceError) as caught:
        versions.parse("2.0.0-HEAD")
    assert caught.value.rule == "version-unknown"
    assert versions.parse("2.0.0-HEAD", override="2.6.2") == versions.Version(2, 6, 2)
    with pytest.raises(HackspaceError):
        versions.parse("new")


@given(
    st.text(PRINTABLE, min_size=1, max_size=64).flatmap(
        lambda x: st.tuples(st.just(x), st.text(PRINTABLE, min_size=len(x), max_size=len(x)))
    )
)
def test_what_the_pad_hides_is_found_again(pair: tuple[str, str]) -> None:
    token, pad = pair
    encoded = root_plan.encode_token(token, pad)
    assert root_plan.decode_token(encoded, pad).reveal() == token
    padded = encoded + "=" * (-len(encoded) % 4)
    assert root_plan.decode_token(padded, pad).reveal() == token
    url_safe = base64.urlsafe_b64encode(base64.b64decode(padded)).decode()
    assert root_plan.decode_token(url_safe, pad).reveal() == token


def _decoded(encoded: str, pad: str) -> str | HackspaceError:
    try:
        return root_plan.decode_token(encoded, pad).reveal()
    except HackspaceError as error:
        return error


@given(st.text(max_size=40), st.text(max_size=40))
def test_anything_else_is_one_error_that_quotes_nothing(encoded: str, pad: str) -> None:
    found = _decoded(encoded, pad)
    if isinstance(found, HackspaceError):
        assert str(found) == str(_decoded("", ""))
    else:
        assert root_plan.encode_token(found, pad) == encoded.rstrip("=").replace("-", "+").replace("_", "/")


def _shares(cluster: Cluster, *indices: int) -> list[shares.Share]:
    found, _other = shares.parse([(f"h{i}", cluster.shares[i].hex()) for i in indices])
    return found


def _ready(cluster: Cluster) -> tuple[Api, root_plan.Endpoints, dict[str, t.Any]]:
    api = Api(cluster, "n0")
    return api, *root_apply.find_endpoints(api, versions.Version(1, 13, 2), has_login=False)


def test_the_ceremony_takes_the_threshold_and_no_more() -> None:
    cluster = Cluster()
    token, holders = root_apply.generate(*_ready(cluster), _shares(cluster, 0, 1, 2))
    assert token.reveal() == cluster.root
    assert holders == ["h0", "h1"]
    assert cluster.root not in repr(token)


def test_too_few_shares_begin_no_attempt() -> None:
    cluster = Cluster()
    with pytest.raises(HackspaceError) as caught:
        root_apply.generate(*_ready(cluster), _shares(cluster, 0))
    assert caught.value.rule == "too-few-shares"
    assert [m for _node, m, _path, _body in cluster.asked] == ["GET"]


def test_a_wrong_share_cancels_the_attempt() -> None:
    cluster = Cluster()
    other = Cluster()
    mixed = [*_shares(cluster, 0), *_shares(other, 1)]
    with pytest.raises(HackspaceError) as caught:
        root_apply.generate(*_ready(cluster), mixed)
    assert caught.value.rule == "share-refused"
    assert caught.value.item == "holders h0, h1"
    assert cluster.attempt is None
    assert other.shares[1].hex() not in str(caught.value)


def test_a_cut_cancels_the_attempt() -> None:
    cluster = Cluster()
    cluster.faults[("PUT", f"{OPEN}/update")] = cut
    with pytest.raises(HackspaceError) as caught:
        root_apply.generate(*_ready(cluster), _shares(cluster, 0, 1))
    assert caught.value.rule == "cut"
    assert cluster.attempt is None


@pytest.mark.parametrize("on_progress", ["fail", "reset"])
def test_an_attempt_of_others(on_progress: str) -> None:
    cluster = Cluster()
    cluster.attempt = {"nonce": "theirs", "keys": set(), "otp": "y"}
    ready = _ready(cluster)
    if on_progress == "reset":
        token, _other = root_apply.generate(*ready, _shares(cluster, 0, 1), on_progress="reset")
        assert token.reveal() == cluster.root
    else:
        with pytest.raises(HackspaceError) as caught:
            root_apply.generate(*ready, _shares(cluster, 0, 1))
        assert caught.value.rule == "attempt-under-way"
        assert cluster.attempt == {"nonce": "theirs", "keys": set(), "otp": "y"}


class _Off(Api):
    """OpenBao 2.5.3 and newer: the open endpoints answer 405; a login may do nothing."""

    def __init__(self, *, works: bool) -> None:
        super().__init__(Cluster(), "n0")
        self.works = works

    def login(self) -> None:
        if not self.works:
            raise HackspaceError("login was refused", rule="login", status=403)

    def _answer(self, method: str, path: str, body: dict[str, t.Any], *, token: bool) -> Reply:
        return Reply(403 if token else 405)


@pytest.mark.parametrize(
    ("version", "has_login", "works", "rule"),
    [
        ((2, 5, 3), True, True, "generate-root-off"),
        ((2, 6, 2), False, False, "generate-root-off"),
        ((2, 6, 2), True, False, "generate-root-off"),
        ((2, 6, 2), True, True, "generate-root-rights"),
    ],
)
def test_servers_that_do_not_generate(version: tuple[int, int, int], has_login: bool, works: bool, rule: str) -> None:
    with pytest.raises(HackspaceError) as caught:
        root_apply.find_endpoints(_Off(works=works), versions.Version(*version), has_login=has_login)
    assert caught.value.rule == rule
    assert caught.value.fix


def test_answers_of_the_authenticated_endpoints_are_wrapped() -> None:
    assert root_plan.inner({"data": {"nonce": "x"}, "request_id": "1"}) == {"nonce": "x"}
    assert root_plan.inner({"nonce": "x"}) == {"nonce": "x"}


class _Newer(Api):
    """OpenBao 2.6: answers of the authenticated endpoints are in ``data``; without a token they are refused."""

    def login(self) -> None:
        self.token = "hvs.login"

    def _answer(self, method: str, path: str, body: dict[str, t.Any], *, token: bool) -> Reply:
        if not path.startswith(f"{AUTHENTICATED}/"):
            return Reply(405)
        if not token or self.token != "hvs.login":
            return Reply(403)
        reply = self._root(method, path, body)
        return Reply(reply.status, {"data": reply.body} if reply.body else {})


def test_the_ceremony_with_a_login() -> None:
    cluster = Cluster()
    api = _Newer(cluster, "n0")
    ends, status = root_apply.find_endpoints(api, versions.Version(2, 6, 2), has_login=True)
    token, holders = root_apply.generate(api, ends, status, _shares(cluster, 2, 0))
    assert token.reveal() == cluster.root
    assert holders == ["h2", "h0"]
    assert {p for _node, _method, p, _body in cluster.asked} == {ends.attempt, ends.update}
