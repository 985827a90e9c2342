# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole new site in the lab, as an operator declares it, with a request log in front of each server."""

from __future__ import annotations

import contextlib
import json
import sys
import typing as t
from pathlib import Path

import pyrage
import yaml

from lab.api import Lab
from lab.proxy import Proxy, Request
from tools.demonstration import HOLDERS, describe_site

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "playbooks" / "site.yml"
UNSEAL = ROOT / "playbooks" / "unseal.yml"
REVIEWERS = ROOT / "playbooks" / "reviewers.yml"
#: The downstream cluster of the site.
CLUSTER = "member-prod"


class Site:
    """A blank lab with an inventory that leads through the proxies.

    :ivar inventory: path for ``ansible-playbook -i``.
    :ivar proxies: of the OpenBao servers by node name; they log every request.
    :ivar api: the one of the downstream cluster, for the administrators' kubeconfig. OpenBao asks the cluster directly.
    """

    def __init__(self, lab: Lab, proxies: dict[str, Proxy], api: Proxy, folder: Path) -> None:
        self.lab = lab
        self.proxies = proxies
        self.api = api
        describe_site(lab.state)
        variables: dict[str, t.Any] = {}
        for name in ("platform.yml", "site.yml"):
            file = lab.state / "inventory" / "group_vars" / "all" / name
            variables |= yaml.safe_load(file.read_text(encoding="utf-8"))
        for cluster in variables["platform_clusters"]:
            if cluster["name"] == CLUSTER:
                cluster["kubeconfig"] = str(api.kubeconfig)
        members = {
            node.name: {
                "openbao_address": proxies[node.name].address,
                "openbao_tls_server_name": node.tls_server_name,
            }
            for node in lab.openbao_nodes
        }
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        self.inventory = folder / "site.json"
        self.inventory.write_text(
            json.dumps(
                {
                    "all": {
                        "vars": variables,
                        "children": {
                            "controller": {"hosts": {"localhost": local}},
                            "openbao_nodes": {"hosts": members},
                        },
                    }
                }
            ),
            encoding="utf-8",
        )

    def seen(self) -> dict[str, int]:
        """Return how many requests each OpenBao server has seen so far."""
        return {name: len(proxy.requests()) for name, proxy in self.proxies.items()}

    def clear(self) -> None:
        """Forget the requests so far."""
        for proxy in (*self.proxies.values(), self.api):
            proxy.clear_requests()

    def asked(self) -> list[Request]:
        """Return the requests to the OpenBao servers since :meth:`clear`."""
        return [request for proxy in self.proxies.values() for request in proxy.requests()]

    def shares(self) -> dict[str, str]:
        """Return the three holders' unseal shares (hex), decrypted as the holders would."""
        found = {}
        for holder in self.lab.holders:
            if holder.name not in HOLDERS:
                continue
            lines = Path(holder.age_identity_file).read_text(encoding="utf-8").splitlines()
            key = next(line for line in lines if line.startswith("AGE-SECRET-KEY-"))
            message = (self.lab.state / "shares" / f"{holder.name}.age").read_bytes()
            found[holder.name] = pyrage.decrypt(message, [pyrage.x25519.Identity.from_str(key)]).decode().strip()
        return found

    def password(self) -> str:
        """Return the administrators' password."""
        return (self.lab.state / "platform-admin.password").read_text(encoding="utf-8")


@contextlib.contextmanager
def new_site(name: str, folder: Path) -> t.Iterator[Site]:
    """Start three servers that nobody has initialised, and a cluster; everything is gone afterwards."""
    lab = Lab(name, folder)
    try:
        lab.up(["openbao", CLUSTER])
        with contextlib.ExitStack() as stack:
            proxies = {node.name: stack.enter_context(lab.proxy(node.name)) for node in lab.openbao_nodes}
            api = stack.enter_context(lab.proxy(CLUSTER))
            yield Site(lab, proxies, api, folder)
    finally:
        lab.down(wipe=True)
