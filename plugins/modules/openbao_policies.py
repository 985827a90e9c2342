#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_policies
short_description: Keeps a list of OpenBao policies as wanted
version_added: 0.1.0
description:
  - Takes the whole list, reads what the server has, and writes what differs. Text is compared without regard to white
    space at the ends of lines.
  - >-
    What it writes begins with the comment line C(# managed by hackspace.infra: openbao_policies). An OpenBao policy
    without that line is not ours; if it differs from what is wanted, the module shows it in RV(foreign) and refuses to
    write anything until O(adopt=true). OpenBao policies marked by another part of the collection are always refused.
  - V(root) is never touched. V(default) is changed only if it is in the list and O(adopt=true), and never deleted.
  - Only the OpenBao policies named in O(policies) are read, each with one request, several at the same time. With
    O(prune=true) all are read.
options:
  policies:
    description: The wanted OpenBao policies.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name, in small letters as the server keeps it.
        type: str
        required: true
      hcl:
        description:
          - The text. It is checked for braces, quotes, keys and capabilities before anything is written.
          - Templates such as C({{ identity.entity.name }}) are OpenBao's, not Ansible's. Mark such text by C(!unsafe).
          - Give exactly one of this and O(policies[].rules).
        type: str
      rules:
        description: The rules, from which the text is written in this order.
        type: list
        elements: dict
        suboptions:
          path:
            description: Path, without C(v1/). May end with C(*), and have C(+) for one part.
            type: str
            required: true
          capabilities:
            description: What is allowed. V(deny) stands alone. V(scan) is known by OpenBao only.
            type: list
            elements: str
            required: true
            choices: [create, read, update, delete, list, patch, scan, sudo, deny]
          allowed_parameters:
            description: Parameter names with lists of allowed values; an empty list allows any value.
            type: dict
          denied_parameters:
            description: Parameter names with lists of denied values; an empty list denies any value.
            type: dict
          required_parameters:
            description: Parameters that a request must have.
            type: list
            elements: str
          min_wrapping_ttl:
            description: Least lifetime of wrapped answers.
            type: str
          max_wrapping_ttl:
            description: Greatest lifetime of wrapped answers.
            type: str
          comment:
            description: Comment above the rule.
            type: str
      expiration:
        description:
          - Moment after which the OpenBao policy no longer counts, such as V(2027-01-31T12:00:00Z). OpenBao 2.6 or
            newer.
          - Without it there is none, also if there was one before.
        type: str
      cas_required:
        description: Have the server refuse writes that do not name the version they replace. OpenBao only.
        type: bool
        default: false
  referenced:
    description:
      - Names of OpenBao policies that something else refers to (roles, users, groups). Those that are neither in
        O(policies) nor on the server are an error before anything is written.
    type: list
    elements: str
    default: []
  referenced_missing:
    description: Whether a missing OpenBao policy of O(referenced) is an error or a warning.
    type: str
    choices: [fail, warn]
    default: fail
attributes:
  check_mode:
    details: Reads only.
seealso:
  - module: hackspace.infra.openbao_auth_mounts
  - module: hackspace.infra.openbao_identity
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.ownership
  - hackspace.infra._attributes.actiongroup_openbao
  - hackspace.infra._openbao
author: hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Keep two OpenBao policies
  hackspace.infra.openbao_policies:
    url: https://192.0.2.10:8200
    tls_server_name: openbao-0.example.org
    ca_cert: /etc/openbao/ca.pem
    auth_method: userpass
    username: platform-admin
    password_file: ~/.config/platform-admin
    policies:
      - name: team-reader
        rules:
          - path: kv/data/team/*
            capabilities: [read]
          - path: kv/metadata/team/*
            capabilities: [read, list]
      - name: own-folder
        hcl: !unsafe |
          path "kv/data/people/{{ identity.entity.name }}/*" {
            capabilities = ["create", "read", "update", "delete"]
          }
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: dict
  sample: [{action: update, kind: OpenBao policy, name: team-reader, why: text differs}]
unchanged:
  description: Number of wanted OpenBao policies that are as wanted.
  returned: success
  type: int
foreign:
  description: Names of wanted OpenBao policies that exist and are not marked as ours.
  returned: success or when refused
  type: list
  elements: str
names:
  description: Names of all OpenBao policies on the server, as they are after this run.
  returned: success
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
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_fetch import fetch, own_login
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    OWNERSHIP,
    ArgumentSpec,
    plan_result,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import policy_plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.config_apply import apply_plan

SPEC = CONNECTION_SPEC.merge(OWNERSHIP).merge(
    ArgumentSpec(
        options={
            "policies": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "hcl": {"type": "str"},
                    "rules": {
                        "type": "list",
                        "elements": "dict",
                        "options": {
                            "path": {"type": "str", "required": True},
                            "capabilities": {
                                "type": "list",
                                "elements": "str",
                                "required": True,
                                "choices": [
                                    "create",
                                    "read",
                                    "update",
                                    "delete",
                                    "list",
                                    "patch",
                                    "scan",
                                    "sudo",
                                    "deny",
                                ],
                            },
                            "allowed_parameters": {"type": "dict"},
                            "denied_parameters": {"type": "dict"},
                            "required_parameters": {"type": "list", "elements": "str"},
                            "min_wrapping_ttl": {"type": "str"},
                            "max_wrapping_ttl": {"type": "str"},
                            "comment": {"type": "str"},
                        },
                    },
                    "expiration": {"type": "str"},
                    "cas_required": {"type": "bool", "default": False},
                },
            },
            "referenced": {"type": "list", "elements": "str", "default": []},
            "referenced_missing": {"type": "str", "choices": ["fail", "warn"], "default": "fail"},
        }
    )
)


def read(client: OpenBao, wanted: t.Sequence[policy_plan.Policy], *, everything: bool) -> policy_plan.Present:
    """Return what the server has of the wanted ones; with *everything*, of all, and of the login in use."""
    names = frozenset(client.keys("sys/policies/acl"))
    listed = [p.name for p in wanted if p.name in names]
    if everything:
        listed += sorted(names - set(listed) - policy_plan.BUILT_IN)
    answers = fetch(client, lambda c, name: c.data(f"sys/policies/acl/{name}"), listed)
    protected: frozenset[str] = frozenset()
    if everything:
        own = own_login(client)
        protected = frozenset(own.get("policies") or []) | frozenset(own.get("identity_policies") or [])
    return policy_plan.Present(names, {k: v for k, v in answers.items() if v is not None}, protected)


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    wanted = policy_plan.parse(params["policies"])
    with client_of(params) as client:
        present = read(client, wanted, everything=params["prune"])
        missing = policy_plan.missing_references(params["referenced"], wanted, present)
        text = (
            f"these OpenBao policies are referred to, and neither on the server nor in the list: {', '.join(missing)}"
        )
        if missing and params["referenced_missing"] == "fail":
            raise InvalidInput(
                f"{text}.",
                item="referenced",
                rule="policy-missing",
                fix="add them to the list of OpenBao policies, or correct the roles, users and groups that name them.",
                data={"missing": missing},
            )
        plan = policy_plan.plan(
            present,
            wanted,
            adopt=params["adopt"],
            prune=params["prune"],
            prune_max_percent=params["prune_max_percent"],
        )
        if missing:
            plan.warnings.append(f"{text}.")
        if not module.check_mode:
            apply_plan(client, plan)
        gone = {c.name for c in plan.of("delete")}
        return plan_result(
            module,
            plan,
            names=sorted((present.names | {p.name for p in wanted}) - gone),
            requests=client.requests,
        )


if __name__ == "__main__":
    run(SPEC, main)
