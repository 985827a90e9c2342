# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces with a seal of their own, on OpenBao 2.6 or newer."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.modules import openbao_unseal

from lab.api import Lab
from tests.integration.seal.helpers import call, holders, nodes

SEAL = 'seal "shamir" {\n shares = 3\n threshold = 2\n}'


def created(lab: Lab, parent: str, name: str, token: str) -> list[str]:
    """Create a namespace with a seal and return its shares."""
    server = lab.openbao_server(lab.openbao_active() or "openbao-0")
    prefix = f"/v1/{parent}/" if parent else "/v1/"
    answer = server.request("POST", f"{prefix}sys/namespaces/{name}", {"seal": SEAL}, token=token)
    assert answer.status == 200, answer.body
    found = answer.body["data"].get("key_shares") or answer.body["data"].get("keys")
    if isinstance(found, dict):
        found = next(iter(found.values()))
    return [one["key"] if isinstance(one, dict) else one for one in found]


def wanted(path: str, keys: list[str]) -> dict[str, t.Any]:
    return {"path": path, "holders": [{"name": f"h{n}", "share": key} for n, key in enumerate(keys)]}


@pytest.mark.openbao2
def test_each_namespace_with_its_own_holders_after_a_restart(openbao_lab: Lab) -> None:
    token = openbao_lab.init_openbao().root_token
    upper = created(openbao_lab, "", "tenants", token)
    basics = {"nodes": nodes(openbao_lab), "ca_cert": str(openbao_lab.openbao_ca), "namespace_token": token}
    first = call(openbao_unseal, {**basics, "namespaces": [wanted("tenants", upper[:2])]})
    assert first["namespaces"][0]["state"] == "unsealed"
    lower = created(openbao_lab, "tenants", "ada", token)
    both = [wanted("tenants/ada", lower[:2]), wanted("tenants", upper[1:])]
    call(openbao_unseal, {**basics, "namespaces": both})

    openbao_lab.restart("openbao", kill=True)
    args = {**basics, "holders": holders(openbao_lab, "ada", "bo", "cleo"), "namespaces": both}
    result = call(openbao_unseal, args)
    assert [(n["path"], n["state"]) for n in result["namespaces"]] == [
        ("tenants", "unsealed"),
        ("tenants/ada", "unsealed"),
    ]
    assert not call(openbao_unseal, args)["changed"]
    assert not [key for key in [*upper, *lower, token] if key in json.dumps(result)]
