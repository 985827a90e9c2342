# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seal and unseal the lab's servers, with the modules' own code in this process."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.modules import openbao_seal_info, openbao_unseal

from lab.api import Lab

HOLDERS = ("ada", "bo", "cleo", "dan", "eve")
WRONG = "ab" * 32 + "07"


def nodes(lab: Lab, **changes: str) -> list[dict[str, t.Any]]:
    """Return the module's option C(nodes); *changes* replace addresses (openbao_1=...)."""
    return [
        {
            "name": n.name,
            "url": changes.get(n.name.replace("-", "_"), n.address),
            "tls_server_name": n.tls_server_name,
        }
        for n in lab.openbao_nodes
    ]


def shares(lab: Lab) -> dict[str, str]:
    """Return the holders' shares."""
    saved = lab._openbao.saved()
    assert saved is not None
    return dict(zip(HOLDERS, saved.shares, strict=True))


def holders(lab: Lab, *names: str, **others: str) -> list[dict[str, str]]:
    """Return the module's option C(holders) with their right shares, and *others* with the ones given."""
    known = shares(lab)
    return [
        {"name": n, "share": others.get(n, known.get(n, ""))} for n in [*names, *(o for o in others if o not in names)]
    ]


def call(module: t.Any, args: dict[str, t.Any], *, check: bool = False) -> dict[str, t.Any]:
    """Run a module's C(main) in this process on real servers; errors come as HackspaceError."""
    with patch_module_args({**args, "_ansible_check_mode": check}):
        made = module.SPEC.create_module()
    return dict(module.main(made))


def unseal(lab: Lab, who: list[dict[str, str]], *, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
    """Run openbao_unseal."""
    args = {"nodes": nodes(lab), "ca_cert": str(lab.openbao_ca), "holders": who, "wait": False, **options}
    return call(openbao_unseal, args, check=check)


def unseal_error(lab: Lab, who: list[dict[str, str]], **options: t.Any) -> HackspaceError:
    """Run openbao_unseal, which must fail."""
    try:
        result = unseal(lab, who, **options)
    except HackspaceError as error:
        return error
    raise AssertionError(f"did not fail: {result['summary']}")


def info(lab: Lab, **options: t.Any) -> dict[str, t.Any]:
    """Run openbao_seal_info."""
    return call(openbao_seal_info, {"nodes": nodes(lab), "ca_cert": str(lab.openbao_ca), **options})


def status(lab: Lab, node: str) -> dict[str, t.Any]:
    """Return sys/seal-status as the server says it."""
    return dict(lab.openbao_server(node).request("GET", "/v1/sys/seal-status").body)


def progress(lab: Lab) -> list[str]:
    """Return per node C(unsealed) or C(n/t)."""
    found = []
    for node in lab.openbao_nodes:
        body = status(lab, node.name)
        found.append(f"{body['progress']}/{body['t']}" if body["sealed"] else "unsealed")
    return found


def seal(lab: Lab) -> None:
    """Make every node sealed with no share counted, the cheapest way."""

    def one(name: str) -> str | None:
        body = status(lab, name)
        if not body["sealed"]:
            return name
        if body["progress"]:
            lab.openbao_server(name).request("PUT", "/v1/sys/unseal", {"reset": True})
        return None

    names = [n.name for n in lab.openbao_nodes]
    with ThreadPoolExecutor() as pool:
        again = [name for name in pool.map(one, names) if name]
    if again:
        lab.restart(*again, kill=True)
