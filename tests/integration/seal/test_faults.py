# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can go wrong while unsealing, on real servers; a second run repairs each."""

from __future__ import annotations

import secrets
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.modules import openbao_seal_info, openbao_unseal

from lab.api import Lab
from tests.integration.seal.helpers import (
    HOLDERS,
    call,
    holders,
    info,
    nodes,
    progress,
    seal,
    shares,
    unseal,
    unseal_error,
)

ALL = ["unsealed", "unsealed", "unsealed"]


@pytest.fixture(autouse=True)
def lab(openbao_lab: Lab) -> Lab:
    """The lab of this file, sealed, with nothing counted."""
    seal(openbao_lab)
    return openbao_lab


def wrong(lab: Lab, holder: str) -> str:
    """Return a share that looks right: other content, the index of *holder*'s."""
    return secrets.token_hex(32) + shares(lab)[holder][-2:]


def repaired(lab: Lab) -> None:
    """A second run with right shares unseals everything that answers."""
    unseal(lab, holders(lab, "ada", "bo", "cleo"))
    assert progress(lab) == ALL


# -- the usual ---------------------------------------------------------------------------------------------------------


def test_three_holders_unseal_everything_within_the_budgets(lab: Lab) -> None:
    result = unseal(lab, holders(lab, "ada", "bo", "cleo"), wait=True)
    assert result["changed"]
    assert result["unsealed"] == ["openbao-0", "openbao-1", "openbao-2"]
    assert result["active"]["name"] in result["unsealed"]
    assert result["sent"]["bo"] == {"openbao-0": "counted", "openbao-1": "counted", "openbao-2": "counted"}
    assert result["missing"] == 0
    assert result["next_command"] == ""
    assert result["seconds"]["look"] + result["seconds"]["send"] < 2

    again = unseal(lab, holders(lab, "ada", "bo", "cleo"), wait=True)
    assert not again["changed"]
    assert max(again["requests"].values()) <= 3
    assert again["sent"] == {h: {} for h in ("ada", "bo", "cleo")}
    assert max(info(lab)["requests"].values()) <= 2


def test_holders_one_by_one_and_more_shares_than_needed(lab: Lab) -> None:
    first = unseal(lab, holders(lab, "eve"), known_holders=list(HOLDERS))
    assert first["changed"]
    assert first["missing"] == 2
    assert first["holders_missing"] == ["ada", "bo", "cleo", "dan"]
    assert first["next_command"].endswith("openbao_unseal_holder=HOLDER")
    assert progress(lab) == ["1/3"] * 3
    assert any("still needed: 2 unseal share(s) from ada, bo, cleo, dan" in line for line in first["summary"])

    twice = unseal(lab, holders(lab, "eve"), known_holders=list(HOLDERS))
    assert not twice["changed"]
    assert twice["sent"]["eve"] == dict.fromkeys(("openbao-0", "openbao-1", "openbao-2"), "already there")

    rest = unseal(lab, holders(lab, "eve", "dan", "cleo", "bo"), known_holders=list(HOLDERS))
    assert progress(lab) == ALL
    assert rest["sent"]["eve"]["openbao-1"] == "already there"
    assert rest["sent"]["cleo"]["openbao-1"] == "counted"
    assert rest["sent"]["bo"]["openbao-1"] == "not needed"


def test_base64_and_upper_case_are_the_same_share(lab: Lab) -> None:
    import base64

    text = shares(lab)["ada"]
    who = [
        {"name": "ada", "share": base64.b64encode(bytes.fromhex(text)).decode()},
        {"name": "ada-copy", "share": f"\n  {text.upper()}\n"},
    ]
    result = unseal(lab, who)
    assert result["same_share"] == {"ada-copy": "ada"}
    assert progress(lab) == ["1/3"] * 3


def test_nodes_left_by_others_at_different_places(lab: Lab) -> None:
    server = lab.openbao_server("openbao-1")
    for name in ("dan", "eve"):
        server.request("PUT", "/v1/sys/unseal", {"key": shares(lab)[name]})
    result = unseal(lab, holders(lab, "ada"))
    assert progress(lab) == ["1/3", "unsealed", "1/3"]
    assert result["missing"] == 2
    repaired(lab)


def test_progress_policies(lab: Lab) -> None:
    unseal(lab, holders(lab, "dan"))
    error = unseal_error(lab, holders(lab, "ada"), on_progress="fail")
    assert error.rule == "progress-by-others"
    assert progress(lab) == ["1/3"] * 3
    dropped = unseal(lab, [], reset_only=True)
    assert dropped["changed"]
    assert progress(lab) == ["0/3"] * 3
    unseal(lab, holders(lab, "dan"))
    unseal(lab, holders(lab, "ada", "bo", "cleo"), on_progress="reset")
    assert progress(lab) == ALL


def test_not_partial_sends_nothing(lab: Lab) -> None:
    error = unseal_error(lab, holders(lab, "ada", "bo"), allow_partial=False)
    assert error.rule == "shares-missing"
    assert progress(lab) == ["0/3"] * 3


def test_check_mode_sends_nothing(lab: Lab) -> None:
    with lab.proxy("openbao-0") as p0, lab.proxy("openbao-1") as p1, lab.proxy("openbao-2") as p2:
        through = nodes(lab, openbao_0=p0.address, openbao_1=p1.address, openbao_2=p2.address)
        who = [{"name": "ada", "file": "/nowhere"}, {"name": "bo"}]
        result = unseal(lab, who, check=True, nodes=through, known_holders=list(HOLDERS), on_progress="reset")
        assert result["changed"]
        assert result["missing"] == 1
        assert result["plan"][2] == {
            "name": "openbao-2",
            "shares_needed": 3,
            "shares_available": 2,
            "missing": 1,
            "holders": ["ada", "bo"],
            "reset": False,
        }
        assert result["summary"][0] == "openbao-0: would send ada, bo, 1 more unseal share(s) missing"
        for proxy in (p0, p1, p2):
            assert proxy.requests("GET")
            assert not proxy.requests("PUT|POST|DELETE|PATCH")
    assert progress(lab) == ["0/3"] * 3


# -- wrong shares ------------------------------------------------------------------------------------------------------


def test_wrong_share_stops_at_the_first_node(lab: Lab) -> None:
    unseal(lab, holders(lab, "dan"))
    bad = wrong(lab, "bo")
    error = unseal_error(lab, holders(lab, "ada", bo=bad))
    assert error.rule == "wrong-share"
    assert error.data["suspects"] == ["ada", "bo"]
    assert error.data["foreign_shares"] == 1
    assert "completed 1 sent by others" in str(error)
    assert bad not in repr(error.as_fail())
    assert bad[:16] not in repr(error.as_fail())
    assert progress(lab) == ["0/3", "1/3", "1/3"]
    repaired(lab)


def test_wrong_share_among_ours_names_the_round(lab: Lab) -> None:
    error = unseal_error(lab, holders(lab, "ada", "cleo", bo=wrong(lab, "bo")))
    assert error.data["suspects"] == ["ada", "cleo", "bo"]
    assert progress(lab) == ["0/3", "0/3", "0/3"]
    repaired(lab)


def test_only_our_share_completes_and_is_wrong(lab: Lab) -> None:
    unseal(lab, holders(lab, "dan", "eve"))
    error = unseal_error(lab, holders(lab, bo=wrong(lab, "bo")))
    assert error.data["suspects"] == ["bo"]
    assert "the unseal share of bo completed 2 sent by others" in str(error)
    assert progress(lab) == ["0/3", "2/3", "2/3"]
    repaired(lab)


def test_share_of_another_cluster_with_the_same_index_is_found_before_sending(lab: Lab) -> None:
    other = secrets.token_hex(32) + shares(lab)["ada"][-2:]
    error = unseal_error(lab, holders(lab, "ada", bo=other))
    assert error.rule == "shares-mixed"
    assert "ada and bo" in str(error)
    assert progress(lab) == ["0/3"] * 3


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "share-empty"),
        ("not a share", "share-format"),
        ("abcd", "share-format"),
        ("ab" * 40, "share-format"),
        ("$ANSIBLE_VAULT;1.1;AES256\n3132", "share-encrypted"),
        ("ab" * 33 + "\n" + "cd" * 33, "share-lines"),
    ],
)
def test_malformed_share_is_named_and_nothing_is_sent(lab: Lab, text: str, rule: str) -> None:
    error = unseal_error(lab, holders(lab, "ada", bo=text))
    assert (error.item, error.rule) == ("unseal share of bo", rule)
    assert progress(lab) == ["0/3"] * 3


# -- servers and networks ----------------------------------------------------------------------------------------------


def test_node_down(lab: Lab) -> None:
    lab.stop("openbao-2", kill=True)
    try:
        seen = info(lab)
        assert seen["nodes"][2]["problem"]["hop"] == "refused"
        result = unseal(lab, holders(lab, "ada", "bo", "cleo"), wait=True)
        assert result["unsealed"] == ["openbao-0", "openbao-1"]
        assert result["not_answering"] == ["openbao-2"]
        assert result["active"]
        error = unseal_error(lab, [], wait=True, require="all")
        assert error.rule == "not-all"
        assert "openbao-2: unreachable (refused)" in str(error)
    finally:
        lab.start("openbao-2")
    repaired(lab)


def test_no_majority_names_what_blocks_and_does_not_wait(lab: Lab) -> None:
    lab.stop("openbao-1", "openbao-2", kill=True)
    try:
        begin = time.monotonic()
        error = unseal_error(lab, holders(lab, "ada", "bo", "cleo"), wait=True, wait_timeout=30)
        assert time.monotonic() - begin < 10
        assert error.rule == "no-leader"
        assert "2 of 3 nodes must be unsealed" in str(error)
        assert "openbao-1 (unreachable, refused), openbao-2 (unreachable, refused)" in str(error)
        assert error.data["changed"]
    finally:
        lab.start("openbao-1", "openbao-2")
    repaired(lab)


def test_no_node_at_all(lab: Lab) -> None:
    gone = [{**n, "url": "https://127.0.0.1:1"} for n in nodes(lab)[:1]]
    error = unseal_error(lab, holders(lab, "ada"), nodes=gone)
    assert error.rule == "no-node"


def test_hung_node_costs_one_timeout(lab: Lab) -> None:
    lab.pause("openbao-1")
    try:
        begin = time.monotonic()
        result = unseal(lab, holders(lab, "ada", "bo", "cleo"), wait=True, timeout=1.5)
        spent = time.monotonic() - begin - result["seconds"]["wait"]
        assert spent < 1.5 * 1.8
        assert result["nodes"][1]["problem"]["hop"] == "timeout"
        assert result["requests"]["openbao-1"] == 1
        assert result["active"]
    finally:
        lab.resume("openbao-1")
    repaired(lab)


def test_tls_name_and_ca(lab: Lab) -> None:
    named = nodes(lab)
    named[1]["tls_server_name"] = "somebody.else"
    result = unseal(lab, holders(lab, "ada", "bo", "cleo"), nodes=named)
    assert result["nodes"][1]["problem"]["hop"] == "tls-name"
    assert progress(lab) == ["unsealed", "0/3", "unsealed"]
    seen = call(openbao_seal_info, {"nodes": nodes(lab), "ca_cert": str(lab.wrong_ca)})
    assert {n["problem"]["hop"] for n in seen["nodes"]} == {"tls-ca"}
    error = unseal_error(lab, holders(lab, "ada", "bo", "cleo"), ca_cert=str(lab.wrong_ca))
    assert error.rule == "no-node"
    assert progress(lab) == ["unsealed", "0/3", "unsealed"]
    repaired(lab)


def test_info_fails_only_on_what_is_named(lab: Lab) -> None:
    assert info(lab, fail_on=["not_answering", "not_initialised"])["sealed"] == [n["name"] for n in nodes(lab)]
    for kind in ("sealed", "no_active"):
        with pytest.raises(HackspaceError) as error:
            info(lab, fail_on=[kind])
        assert error.value.rule == "seal-state"
        assert len(error.value.data["nodes"]) == 3


def test_name_that_does_not_resolve(lab: Lab) -> None:
    lost = nodes(lab)
    lost[0]["url"] = "https://openbao-0.invalid:8200"
    seen = call(openbao_seal_info, {"nodes": lost, "ca_cert": str(lab.openbao_ca)})
    assert seen["nodes"][0]["problem"]["hop"] == "dns"


@pytest.mark.parametrize("skip", [0, 1, 2])
@pytest.mark.parametrize("fault", ["cut-before", "cut-after", "503", "500-twice"])
def test_cut_connections_and_5xx(lab: Lab, fault: str, skip: int) -> None:
    with lab.proxy("openbao-0") as proxy:
        if fault.startswith("cut"):
            when: t.Any = fault.removeprefix("cut-")
            proxy.cut(when, path="unseal", skip=skip)
        else:
            proxy.fail(int(fault[:3]), 2 if fault.endswith("twice") else 1, path="unseal", skip=skip)
        through = nodes(lab, openbao_0=proxy.address)
        result = unseal(lab, holders(lab, "ada", "bo", "cleo"), nodes=through)
    if fault.endswith("twice"):
        assert progress(lab) == [f"{skip}/3", "unsealed", "unsealed"]
        assert result["missing"] == 0
        repaired(lab)
    assert progress(lab) == ALL


def test_cut_answer_to_a_wrong_share_is_found_the_second_time(lab: Lab) -> None:
    with lab.proxy("openbao-0") as proxy:
        proxy.cut("after", path="unseal", skip=2)
        through = nodes(lab, openbao_0=proxy.address)
        error = unseal_error(lab, holders(lab, "ada", "bo", cleo=wrong(lab, "cleo")), nodes=through)
    assert error.rule == "wrong-share"
    assert progress(lab) == ["0/3"] * 3
    repaired(lab)


def test_node_restarts_in_the_middle(lab: Lab) -> None:
    """openbao-1 goes down and comes back after it has counted two shares."""

    def restart(_method: str, _path: str) -> None:
        lab.restart("openbao-1", kill=True)

    with lab.proxy("openbao-1") as proxy:
        proxy.call(restart, "after", path="unseal", skip=1)
        proxy.cut("after", path="unseal", skip=1)
        through = nodes(lab, openbao_1=proxy.address)
        result = unseal(lab, holders(lab, "ada", "bo", "cleo"), nodes=through, wait=True)
    assert progress(lab) == ALL
    assert result["active"]


def test_node_restarts_after_it_was_unsealed(lab: Lab) -> None:
    """openbao-0 is unsealed first; it restarts, without any proxy before it, while openbao-2 gets its last share."""

    def restart(_method: str, _path: str) -> None:
        lab.restart("openbao-0", kill=True)

    with lab.proxy("openbao-2") as proxy:
        proxy.call(restart, "before", path="unseal", skip=2)
        through = nodes(lab, openbao_2=proxy.address)
        result = unseal(lab, holders(lab, "ada", "bo", "cleo"), nodes=through, wait=True, require="all")
    assert progress(lab) == ALL
    assert result["active"]


def test_node_that_keeps_restarting_is_given_up(lab: Lab) -> None:
    def restart(_method: str, _path: str) -> None:
        lab.restart("openbao-0", kill=True)

    with lab.proxy("openbao-0") as proxy:
        proxy.call(restart, "after", count=3, path="unseal", skip=1)
        proxy.cut("after", count=3, path="unseal", skip=1)
        through = nodes(lab, openbao_0=proxy.address)
        result = unseal(lab, holders(lab, "ada", "bo", "cleo"), nodes=through)
        sent = len(proxy.requests(path="unseal"))
    assert sent <= 7
    assert result["sealed"] == ["openbao-0"]
    repaired(lab)


def test_somebody_resets_in_the_middle(lab: Lab) -> None:
    def reset(_method: str, _path: str) -> None:
        lab.openbao_server("openbao-0").request("PUT", "/v1/sys/unseal", {"reset": True})

    with lab.proxy("openbao-0") as proxy:
        proxy.call(reset, "before", path="unseal", skip=1)
        error = unseal_error(lab, holders(lab, "ada", "bo", "cleo"), nodes=nodes(lab, openbao_0=proxy.address))
    assert error.rule == "nonce-changed"
    assert progress(lab) == ["1/3", "0/3", "0/3"]
    repaired(lab)


def test_somebody_else_finishes_in_the_middle(lab: Lab) -> None:
    def finish(_method: str, _path: str) -> None:
        for name in ("dan", "eve"):
            lab.openbao_server("openbao-0").request("PUT", "/v1/sys/unseal", {"key": shares(lab)[name]})

    with lab.proxy("openbao-0") as proxy:
        proxy.call(finish, "before", path="unseal", skip=1)
        unseal(lab, holders(lab, "ada", "bo", "cleo"), nodes=nodes(lab, openbao_0=proxy.address))
    assert progress(lab) == ALL


@pytest.mark.parametrize("who", [("ada", "bo"), ("ada", "bo", "cleo"), HOLDERS])
def test_holders_at_once(lab: Lab, who: tuple[str, ...]) -> None:
    """Runs of several holders, one share each, at the same time on all nodes."""

    def module(name: str) -> t.Any:
        from ansible.module_utils.testing import patch_module_args

        args = {"nodes": nodes(lab), "ca_cert": str(lab.openbao_ca), "holders": holders(lab, name), "wait": False}
        with patch_module_args(args):
            return openbao_unseal.SPEC.create_module()

    made = [module(name) for name in who]
    with ThreadPoolExecutor(len(made)) as pool:
        results = list(pool.map(openbao_unseal.main, made))
    if len(who) < 3:
        assert progress(lab) == ["2/3"] * 3
        assert all(r["missing"] >= 1 for r in results)
        last = unseal(lab, holders(lab, "eve"))
        assert last["missing"] == 0
    assert progress(lab) == ALL


def test_uninitialised_and_twice_the_same_address(lab: Lab) -> None:
    twice = nodes(lab)
    twice[2]["url"] = twice[0]["url"]
    assert unseal_error(lab, holders(lab, "ada"), nodes=twice).rule == "unique-url"
    twice = nodes(lab)
    twice[1]["name"] = twice[0]["name"]
    assert unseal_error(lab, holders(lab, "ada"), nodes=twice).rule == "unique-name"
    plain = nodes(lab)
    plain[0]["url"] = "http://192.0.2.1:8200"
    assert unseal_error(lab, holders(lab, "ada"), nodes=plain).rule == "plain-http"
    assert progress(lab) == ["0/3"] * 3
