#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_secret_engines
short_description: Keeps a list of secret engines as wanted
version_added: 0.1.0
description:
  - Takes the whole list, reads all mounts with one request, and writes what differs. What is left out of
    O(engines[].config)
    is at the server's default.
  - Marks what it makes by C([hackspace.infra]) at the end of the description. A secret engine without it is not ours;
    if it differs
    from what is wanted, the module shows it in RV(foreign) and refuses to write anything until O(adopt=true).
  - Type, O(engines[].local) and O(engines[].seal_wrap) of an engine that exists cannot be changed and are refused.
  - A secret engine is disabled only with O(prune=true) and O(allow_data_loss=true).
    V(sys), V(identity) and V(cubbyhole) are never touched.
options:
  engines:
    description: The wanted secret engines.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path of the mount.
        type: str
        required: true
      type:
        description: Type of the engine, such as V(kv), V(transit), V(pki), V(database).
        type: str
        required: true
      description:
        description: Description without the mark. Left as it is if not given.
        type: str
      options:
        description: Options of the engine; only those given are compared. V(kv) takes V(version), V("1") by default.
        type: dict
      config:
        description: Settings of the mount. What is left out is at its default.
        type: dict
        suboptions:
          default_lease_ttl:
            description: Default lifetime of leases, such as V(1h). The server's default if left out.
            type: str
          max_lease_ttl:
            description: Greatest lifetime of leases. The server's default if left out.
            type: str
          audit_non_hmac_request_keys:
            description: Keys of requests that audit logs show in clear.
            type: list
            elements: str
          audit_non_hmac_response_keys:
            description: Keys of answers that audit logs show in clear.
            type: list
            elements: str
          listing_visibility:
            description: Whether the user interface shows the mount before login. V(hidden) by default.
            type: str
            choices: [hidden, unauth]
          passthrough_request_headers:
            description: Headers of requests that are passed to the engine.
            type: list
            elements: str
          allowed_response_headers:
            description: Headers that the engine may add to answers.
            type: list
            elements: str
      engine_config:
        description: >-
          Configuration of a V(kv) engine of version 2. Left alone if not given; what is left out of it is at its
          default.
        type: dict
        suboptions:
          max_versions:
            description: Number of versions to keep. V(0) is the server's default.
            type: int
          cas_required:
            description: Writes must name the version they replace.
            type: bool
          delete_version_after:
            description: Lifetime of versions, such as V(720h). V(0) is for ever.
            type: str
      local:
        description: Not replicated. Cannot be changed later.
        type: bool
        default: false
      seal_wrap:
        description: Wrap critical values by the seal. Cannot be changed later.
        type: bool
        default: false
      upgrade_kv:
        description:
          - Allow the upgrade of a V(kv) engine from version 1 to 2, which changes the paths of everything in it and
            cannot be undone.
        type: bool
        default: false
  allow_data_loss:
    description: With O(prune=true), disable secret engines that are ours and not in the list, with everything in them.
    type: bool
    default: false
attributes:
  check_mode:
    details: Reads only.
seealso:
  - module: hackspace.infra.openbao_policies
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.ownership
  - hackspace.infra._attributes.actiongroup_openbao
  - hackspace.infra._openbao
author: hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Keep a key/value engine that remembers ten versions, and a transit engine
  hackspace.infra.openbao_secret_engines:
    url: https://192.0.2.10:8200
    ca_cert: /etc/openbao/ca.pem
    auth_method: userpass
    username: platform-admin
    password_file: ~/.config/platform-admin
    engines:
      - path: kv
        type: kv
        description: OpenBao secrets of tenants
        options: {version: "2"}
        engine_config: {max_versions: 10}
      - path: transit
        type: transit
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: dict
unchanged:
  description: Number of wanted secret engines that are as wanted.
  returned: success
  type: int
foreign:
  description: Wanted secret engines that exist and are not marked as ours.
  returned: success or when refused
  type: list
  elements: str
requests:
  description: Number of requests sent, without the one that ends the login.
  returned: success
  type: int
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import (
    CONNECTION_SPEC,
    OpenBao,
    client_of,
)
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_fetch import fetch
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    OWNERSHIP,
    ArgumentSpec,
    plan_result,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import engine_plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.config_apply import apply_plan, wait_upgrade
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.mount_model import by_path

SPEC = CONNECTION_SPEC.merge(OWNERSHIP).merge(
    ArgumentSpec(
        options={
            "engines": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "str", "required": True},
                    "type": {"type": "str", "required": True},
                    "description": {"type": "str"},
                    "options": {"type": "dict"},
                    "config": {
                        "type": "dict",
                        "options": {
                            "default_lease_ttl": {"type": "str"},
                            "max_lease_ttl": {"type": "str"},
                            "audit_non_hmac_request_keys": {"type": "list", "elements": "str", "no_log": False},
                            "audit_non_hmac_response_keys": {"type": "list", "elements": "str", "no_log": False},
                            "listing_visibility": {"type": "str", "choices": ["hidden", "unauth"]},
                            "passthrough_request_headers": {"type": "list", "elements": "str", "no_log": False},
                            "allowed_response_headers": {"type": "list", "elements": "str"},
                        },
                    },
                    "engine_config": {
                        "type": "dict",
                        "options": {
                            "max_versions": {"type": "int"},
                            "cas_required": {"type": "bool"},
                            "delete_version_after": {"type": "str"},
                        },
                    },
                    "local": {"type": "bool", "default": False},
                    "seal_wrap": {"type": "bool", "default": False},
                    "upgrade_kv": {"type": "bool", "default": False},
                },
            },
            "allow_data_loss": {"type": "bool", "default": False},
        }
    )
)


def read(client: OpenBao, wanted: t.Sequence[engine_plan.Engine]) -> engine_plan.Present:
    """Return all mounts, and the configuration of the kv engines whose configuration is wanted."""
    mounts = by_path(client.data("sys/mounts") or {})

    def config(one: OpenBao, path: str) -> dict[str, t.Any] | None:
        body = wait_upgrade(lambda ok: one.request("GET", path, ok=(*ok, 404)), path)
        inner = body.get("data")
        return inner if isinstance(inner, dict) else None

    configured = {
        e.config_path: e.path
        for e in wanted
        if e.config is not None
        and e.path in mounts
        and mounts[e.path].get("type") == "kv"
        and engine_plan.kv_version(mounts[e.path]) == "2"
    }
    answers = fetch(client, config, list(configured))
    return engine_plan.Present(mounts, {configured[k]: v for k, v in answers.items()})


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    wanted = engine_plan.parse(params["engines"])
    with client_of(params) as client:
        plan = engine_plan.plan(
            read(client, wanted),
            wanted,
            adopt=params["adopt"],
            prune=params["prune"],
            prune_max_percent=params["prune_max_percent"],
            allow_data_loss=params["allow_data_loss"],
        )
        if not module.check_mode:
            apply_plan(client, plan)
        return plan_result(module, plan, requests=client.requests)


if __name__ == "__main__":
    run(SPEC, main)
