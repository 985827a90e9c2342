# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of an initialisation, and what is left when any step of it fails."""

from __future__ import annotations

import base64
import errno
import json
import typing as t
from pathlib import Path

import pyrage
import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core import private_files
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import init_apply, init_model, init_plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import Node

from .conftest import Cluster, cut, run_program

Params = dict[str, t.Any]


def initialise(params: Params, cluster: Cluster, **flow: t.Any) -> dict[str, t.Any]:
    spec = init_model.parse(params, run_program)
    init_apply.preflight(spec)
    return init_apply.initialise(spec, cluster.flow(**flow), recovery_seal=cluster.recovery_seal)


def decrypted(params: Params, identities: t.Sequence[t.Any]) -> list[bytes]:
    folder = Path(params["output_dir"])
    names = [h["name"] for h in params["holders"]]
    texts = [(folder / f"{name}.age").read_bytes() for name in names]
    return [bytes.fromhex(pyrage.decrypt(x, [i]).decode()) for x, i in zip(texts, identities, strict=True)]


def test_shares_are_on_the_disk_before_anything_else_is_sent(params: Params, identities: list[t.Any]) -> None:
    cluster = Cluster()
    cluster.joined = 4
    seen: list[list[bytes]] = []

    def look() -> None:
        seen.append(decrypted(params, identities))

    cluster.faults[("PUT", "sys/unseal")] = look
    hidden: list[str] = []
    result = initialise(params, cluster, hide=lambda *values: hidden.extend(values))
    assert seen[0] == cluster.shares
    assert set(hidden) == {cluster.root, *(s.hex() for s in cluster.shares)}
    assert cluster.root not in cluster.live
    assert result["root_token"] == "revoked"
    assert result["states"] == {"n0": "unsealed", "n1": "unsealed", "n2": "unsealed"}
    first = [(m, p) for node, m, p, _other in cluster.asked if node == "n0" and m != "GET"]
    assert first[0] == ("PUT", "sys/init")
    paths = [p for _method, p in first]
    assert paths.index("auth/token/revoke-self") > paths.index("sys/auth/userpass")
    text = json.dumps(result)
    for secret in (cluster.root, params["admin"]["password"], *(s.hex() for s in cluster.shares)):
        assert secret not in text
    record = json.loads((Path(params["output_dir"]) / "shares.json").read_text())
    assert record["state"] == "complete"
    assert [h["fingerprint"] for h in record["holders"]] == [s["fingerprint"] for s in result["shares"]]


def test_no_more_than_the_threshold_is_sent_to_a_node(params: Params) -> None:
    cluster = Cluster()
    cluster.joined = 0
    initialise(params, cluster)
    for node in ("n0", "n1", "n2"):
        assert sum(n == node and p == "sys/unseal" for n, _method, p, _body in cluster.asked) == 2


def test_recovery_shares_of_a_seal_that_unseals_by_itself(params: Params, identities: list[t.Any]) -> None:
    cluster = Cluster(recovery_seal=True)
    cluster.joined = 0
    result = initialise(params, cluster)
    assert decrypted(params, identities) == cluster.shares
    assert not [a for a in cluster.asked if a[2] == "sys/unseal"]
    assert result["root_token"] == "revoked"
    assert json.loads((Path(params["output_dir"]) / "shares.json").read_text())["kind"] == "recovery"


def test_a_full_disk_costs_no_share(params: Params, identities: list[t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    cluster.joined = 0
    write = private_files.write_new

    def full(path: str, data: bytes) -> None:
        if path.endswith("bob.age"):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(private_files, "write_new", full)
    with pytest.raises(HackspaceError) as caught:
        initialise(params, cluster)
    error = caught.value
    assert error.rule == "shares-not-written"
    assert "bob.age" in error.message
    assert sorted(p.name for p in Path(params["output_dir"]).iterdir() if not p.name.startswith(".")) == [
        "ada.age",
        "cyd.age",
        "shares.json",
    ]
    lost = pyrage.decrypt(error.data["encrypted_shares"]["bob"].encode(), [identities[1]])
    assert bytes.fromhex(lost.decode()) == cluster.shares[1]
    assert error.data["root_token"] == "revoked"
    assert "platform-admin" in cluster.users


def test_no_room_is_found_before_the_request(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()

    def full(path: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(private_files, "reserve", full)
    with pytest.raises(HackspaceError) as caught:
        initialise(params, cluster)
    assert caught.value.rule == "folder-space"
    assert not cluster.asked
    assert list(Path(params["output_dir"]).iterdir()) == []


def test_one_recipient_that_fails_late_does_not_cost_the_others(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster()
    cluster.joined = 0
    spec = init_model.parse(params, run_program)
    init_apply.preflight(spec)

    def fail(data: bytes) -> str:
        raise RuntimeError(data.decode())

    monkeypatch.setattr(spec.holders[0].recipient, "encrypt", fail)
    with pytest.raises(HackspaceError) as caught:
        init_apply.initialise(spec, cluster.flow(), recovery_seal=False)
    assert sorted(caught.value.data["encrypted_shares"]) == ["bob", "cyd"]
    assert cluster.shares[0].hex() not in json.dumps(caught.value.as_fail())


@pytest.mark.parametrize("initialised", [True, False])
def test_no_answer_to_the_request(params: Params, initialised: bool) -> None:
    cluster = Cluster()

    def fault() -> HackspaceError:
        cluster.initialised = initialised
        return cut()

    cluster.faults[("PUT", "sys/init")] = fault
    with pytest.raises(HackspaceError) as caught:
        initialise(params, cluster)
    left = sorted(p.name for p in Path(params["output_dir"]).iterdir())
    if initialised:
        assert caught.value.rule == "init-answer-lost"
        assert left == ["shares.json"]
        record = init_apply.read_record(init_model.parse(params, run_program))
        lost, _other = init_plan.lost_shares(record, ["ada.age", "bob.age", "cyd.age"], item="node n0")
        assert lost is not None
    else:
        assert "Nothing was initialised" in caught.value.message
        assert left == []
    assert not [a for a in cluster.asked if a[2] == "sys/unseal"]


def test_an_answer_that_is_not_understood_is_never_quoted(params: Params) -> None:
    cluster = Cluster(shares=2)
    with pytest.raises(HackspaceError) as caught:
        initialise(params, cluster)
    assert caught.value.rule == "init-answer"
    assert cluster.root not in json.dumps(caught.value.as_fail())


@pytest.mark.parametrize(
    "step",
    [
        ("GET", "sys/auth"),
        ("POST", "sys/auth/userpass"),
        ("PUT", "sys/policies/acl/platform-admin"),
        ("POST", "auth/userpass/users/platform-admin"),
    ],
)
def test_when_the_login_fails_the_root_token_goes_all_the_same(params: Params, step: tuple[str, str]) -> None:
    cluster = Cluster()
    cluster.faults[step] = cut
    with pytest.raises(HackspaceError) as caught:
        initialise(params, cluster)
    assert cluster.root not in cluster.live
    assert caught.value.data["root_token"] == "revoked"
    assert "openbao_generate_root" in caught.value.fix
    assert len(caught.value.data["encrypted_shares"]) == 3


def test_a_login_that_is_made_and_does_not_work_is_an_error(params: Params) -> None:
    cluster = Cluster()

    def login_as(admin: t.Any) -> t.Any:
        cluster.users["platform-admin"]["token_policies"] = ["default"]
        return cluster.login_as(admin)

    with pytest.raises(HackspaceError) as caught:
        initialise(params, cluster, login_as=login_as)
    assert caught.value.rule == "admin-login"
    assert caught.value.data["root_token"] == "revoked"
    assert cluster.root not in cluster.live


def test_a_root_token_that_cannot_be_revoked_is_said_to_be_alive(params: Params) -> None:
    cluster = Cluster()
    cluster.faults[("POST", "auth/token/revoke-self")] = cut
    with pytest.raises(HackspaceError) as caught:
        initialise(params, cluster)
    assert caught.value.rule == "root-token-alive"
    assert caught.value.data["root_token"] == "alive"


def test_a_node_that_never_becomes_active(params: Params) -> None:
    cluster = Cluster()
    cluster.faults[("GET", "sys/health")] = cut
    with pytest.raises(HackspaceError) as caught:
        initialise(params, cluster)
    assert caught.value.rule == "not-active"
    assert caught.value.data["root_token"] == "alive"
    assert sorted(caught.value.data["encrypted_shares"]) == ["ada", "bob", "cyd"]


def test_nodes_that_do_not_join_are_reported(params: Params) -> None:
    result = initialise(params, Cluster())
    assert result["states"] == {"n0": "unsealed", "n1": "joining", "n2": "joining"}


def _state(index: int, status: dict[str, t.Any] | None) -> init_plan.NodeState:
    error = None if status is not None else HackspaceError("no answer: refused.", rule="refused", fix="start it.")
    return init_plan.NodeState(Node(f"n{index}", f"https://192.0.2.{index}:8200"), status, error)


FRESH = {"initialized": False, "sealed": True, "t": 0, "n": 0, "type": "shamir", "recovery_seal": False}


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([FRESH, FRESH], True),
        ([{**FRESH, "initialized": True}, FRESH], False),
        ([FRESH, {**FRESH, "t": 3}], False),
        ([None, {**FRESH, "initialized": True, "sealed": False}], False),
    ],
)
def test_what_is_initialised_once_is_never_initialised_again(
    params: Params, others: list[dict[str, t.Any] | None], expected: bool
) -> None:
    states = [_state(i, s) for i, s in enumerate([FRESH, *others])]
    assert init_plan.to_initialise(init_model.parse(params, run_program), states) is expected


@pytest.mark.parametrize(
    ("others", "rule"),
    [([FRESH, None], "node-unreachable"), ([FRESH, {**FRESH, "recovery_seal": True}], "mixed-seals")],
)
def test_doubt_is_an_error(params: Params, others: list[dict[str, t.Any] | None], rule: str) -> None:
    with pytest.raises(HackspaceError) as caught:
        init_plan.to_initialise(
            init_model.parse(params, run_program), [_state(i, s) for i, s in enumerate([FRESH, *others])]
        )
    assert caught.value.rule == rule


@pytest.mark.parametrize(
    ("state", "missing", "lost", "warned"),
    [
        ("prepared", ["a", "b"], True, False),
        ("prepared", ["a"], False, True),
        ("prepared", [], False, False),
        ("written", ["a", "b", "c"], False, False),
    ],
)
def test_lost_shares(state: str, missing: list[str], lost: bool, warned: bool) -> None:
    error, warning = init_plan.lost_shares({"state": state, "threshold": 2, "shares": 3}, missing, item="x")
    assert (error is not None, bool(warning)) == (lost, warned)


def test_pgp_keys_are_sent_in_the_order_of_the_holders(params: Params, pgp: Path) -> None:
    params |= {
        "holders": [{"name": "pat", "pgp_public_key_file": str(pgp / "pgp.asc")}],
        "shares": 1,
        "threshold": 1,
        "single_share": True,
        "encrypt_on": "server",
        "root_token_holder": "pat",
        "unseal": False,
        "admin": None,
    }
    key = base64.b64encode((pgp / "pgp.gpg").read_bytes()).decode()
    body = init_plan.request_body(init_model.parse(params, run_program), recovery_seal=False)
    assert body == {"secret_shares": 1, "secret_threshold": 1, "pgp_keys": [key], "root_token_pgp_key": key}
    body = init_plan.request_body(init_model.parse(params, run_program), recovery_seal=True)
    assert body["recovery_pgp_keys"] == [key]
