#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_identity
short_description: Keeps a list of identity groups as wanted
version_added: 0.1.0
description:
  - Identity groups give OpenBao policies to the groups of an identity provider (V(external), with an alias on an auth
    mount) or to people and groups of OpenBao itself (V(internal)).
  - Takes the whole list, reads what the server has, and writes what differs. A group is found by its name, or by its
    alias, so
    that one that gets another name in the list is renamed and keeps its members.
  - Marks what it makes by the metadata C(managed_by=hackspace.infra). A group without it is not ours; if it differs
    from what is
    wanted, the module shows it in RV(foreign) and refuses to write anything until O(adopt=true).
  - Groups that are members of others are made first, whatever the order of the list.
options:
  groups:
    description: The wanted groups.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the group in OpenBao.
        type: str
        required: true
      type:
        description: V(external) with an alias, V(internal) without. Cannot be changed later.
        type: str
        choices: [internal, external]
      policies:
        description: OpenBao policies of its members.
        type: list
        elements: str
      metadata:
        description: Further metadata.
        type: dict
      member_groups:
        description: Names of groups whose members are members of this one. For V(internal) groups.
        type: list
        elements: str
      member_entities:
        description: >-
          Names of entities that are members. An entity is made at a person's first login. For V(internal) groups.
        type: list
        elements: str
      alias:
        description: The group at the identity provider. For V(external) groups.
        type: dict
        suboptions:
          name:
            description: Its name there, as it is in the claim that the role's C(groups_claim) names.
            type: str
            required: true
          mount:
            description: Path of the auth mount.
            type: str
            required: true
attributes:
  check_mode:
    details: Reads only. An auth mount that does not exist is a warning in check mode, and an error otherwise.
seealso:
  - module: hackspace.infra.openbao_auth_mounts
  - module: hackspace.infra.openbao_policies
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.ownership
  - hackspace.infra._attributes.actiongroup_openbao
  - hackspace.infra._openbao
author: hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Give the group infra of the identity provider the administrators' OpenBao policy
  hackspace.infra.openbao_identity:
    url: https://192.0.2.10:8200
    ca_cert: /etc/openbao/ca.pem
    auth_method: userpass
    username: platform-admin
    password_file: ~/.config/platform-admin
    groups:
      - name: infra
        policies: [platform-admin]
        alias: {name: infra, mount: oidc}
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: dict
unchanged:
  description: Number of wanted groups that are as wanted.
  returned: success
  type: int
foreign:
  description: Wanted groups that exist and are not marked as ours.
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
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    OWNERSHIP,
    ArgumentSpec,
    plan_result,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import identity_plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.config_apply import apply_plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.mount_model import by_path

SPEC = CONNECTION_SPEC.merge(OWNERSHIP).merge(
    ArgumentSpec(
        options={
            "groups": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "type": {"type": "str", "choices": ["internal", "external"]},
                    "policies": {"type": "list", "elements": "str"},
                    "metadata": {"type": "dict"},
                    "member_groups": {"type": "list", "elements": "str"},
                    "member_entities": {"type": "list", "elements": "str"},
                    "alias": {
                        "type": "dict",
                        "options": {
                            "name": {"type": "str", "required": True},
                            "mount": {"type": "str", "required": True},
                        },
                    },
                },
            },
        }
    )
)


def read(client: OpenBao, wanted: t.Sequence[identity_plan.Group], *, everything: bool) -> identity_plan.Present:
    """Return all groups by name and alias, and the fields of the wanted ones (with *everything*, of all)."""
    listing = client.request("LIST", "identity/group/id", ok=(200, 404)).body.get("data") or {}
    accessors: dict[str, str] = {}
    if any(g.alias for g in wanted):
        accessors = {path: str(m.get("accessor")) for path, m in by_path(client.data("sys/auth") or {}).items()}
    entities: dict[str, str] = {}
    if any(g.fields["member_entities"] for g in wanted):
        people = client.request("LIST", "identity/entity/id", ok=(200, 404)).body.get("data") or {}
        entities = {str(k): str(v.get("name")) for k, v in (people.get("key_info") or {}).items()}
    present = identity_plan.Present(identity_plan.listed_of(listing), {}, accessors, entities)
    found = [identity_plan.match(g, present) for g in wanted]
    ids = [g.id for g in present.listed] if everything else [g.id for g in found if g is not None]
    answers = fetch(client, lambda c, key: c.data(f"identity/group/id/{key}"), list(dict.fromkeys(ids)))
    return identity_plan.Present(
        present.listed, {k: v for k, v in answers.items() if v is not None}, accessors, entities
    )


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    wanted = identity_plan.parse(params["groups"])
    with client_of(params) as client:
        present = read(client, wanted, everything=params["prune"])
        missing = identity_plan.missing_mounts(wanted, present)
        text = f"there is no auth mount {', '.join(missing)}, which aliases of groups name"
        if missing and not module.check_mode:
            raise InvalidInput(
                f"{text}.", item="groups", rule="mount-unknown", fix="make it first, by openbao_auth_mounts."
            )
        plan = identity_plan.plan(
            present,
            wanted,
            adopt=params["adopt"],
            prune=params["prune"],
            prune_max_percent=params["prune_max_percent"],
        )
        if missing:
            plan.warnings.append(f"{text}.")
        if not module.check_mode:
            apply_plan(client, plan, identity_plan.known_ids(present, wanted))
        return plan_result(module, plan, requests=client.requests)


if __name__ == "__main__":
    run(SPEC, main)
