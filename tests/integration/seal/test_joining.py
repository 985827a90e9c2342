# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new cluster: one node initialised, two blank ones that join it once it is unsealed."""

from __future__ import annotations

import typing as t

from lab.api import Lab
from tests.integration.seal.helpers import info, nodes, unseal, unseal_error


def test_blank_then_joining_then_unsealed(blank_openbao_lab: Lab) -> None:
    lab = blank_openbao_lab
    assert [n["state"] for n in info(lab)["nodes"]] == ["not_initialised"] * 3
    assert unseal_error(lab, [{"name": "ada", "share": "ab" * 33}]).rule == "not-initialised"

    answer = lab.openbao_server("openbao-0").request(
        "PUT", "/v1/sys/init", {"secret_shares": 5, "secret_threshold": 3}, timeout=30.0
    )
    keys: list[str] = answer.body["keys"]
    who: list[dict[str, t.Any]] = [
        {"name": name, "share": key} for name, key in zip(("ada", "bo", "cleo"), keys, strict=False)
    ]
    seen = info(lab)
    assert [n["state"] for n in seen["nodes"]] == ["sealed", "joining", "joining"]

    with lab.proxy("openbao-1") as proxy:
        first = unseal(lab, who[:1], nodes=nodes(lab, openbao_1=proxy.address))
        assert first["missing"] == 2
        assert not proxy.requests("PUT|POST")  # a node that has not joined is sent nothing
    result = unseal(lab, who, wait=True, require="all")
    assert result["unsealed"] == ["openbao-0", "openbao-1", "openbao-2"]
    assert result["active"]["name"] == "openbao-0"
    assert result["sent"]["cleo"] == dict.fromkeys(("openbao-0", "openbao-1", "openbao-2"), "counted")
    assert {n["cluster_fingerprint"] for n in info(lab)["nodes"]} == {result["nodes"][0]["cluster_fingerprint"]}
    assert not unseal(lab, who, wait=True)["changed"]
