#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ceph_rados_namespaces
short_description: Keeps RADOS namespaces for RBD in pools of Ceph
version_added: 0.1.0
description:
  - Takes the whole list for any number of pools, and makes what is missing. Each consumer has namespaces of its own, to
    which its Ceph users are confined.
  - Pools of images and of their data are made ready for images (C(rbd pool init)), which Proxmox VE doesn't do. Who may
    do nothing outside of the namespace could make no image otherwise.
  - Namespaces that are not in the list are not touched. One that is to be absent is refused as long as there are images
    in it, also in its trash.
  - Pools that belong to a storage of Proxmox VE are refused, unless that storage stays in another namespace of its own.
options:
  namespaces:
    description: The wanted namespaces.
    type: list
    elements: dict
    required: true
    suboptions:
      pool:
        description: Replicated pool with the application C(rbd).
        type: str
        required: true
      name:
        description: Name, in small letters.
        type: str
        required: true
      data_pools:
        description: Pools in which its images keep their data, if not in its own; erasure coded ones as a rule.
        type: list
        elements: str
        default: []
      state:
        description: V(absent) deletes it.
        type: str
        choices: [present, absent]
        default: present
seealso:
  - module: hackspace.infra.ceph_pools
  - module: hackspace.infra.ceph_clients
attributes:
  check_mode:
    details: Reads only.
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_ceph
  - hackspace.infra._ceph
author: hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Keep a namespace for each of two clusters
  hackspace.infra.ceph_rados_namespaces:
    namespaces:
      - {pool: vm-prod, name: core-infra}
      - {pool: vm-prod, name: member-prod}
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: dict
  sample: [{action: create, kind: RADOS namespace, name: vm-prod/member-prod, why: missing}]
unchanged:
  description: Number of things that are as wanted.
  returned: success
  type: int
requests:
  description: Number of commands sent.
  returned: success
  type: int
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import namespaces, pools_plan
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.apply import apply
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.ports import Command
from ansible_collections.hackspace.infra.plugins.module_utils._clients.ceph import (
    CONNECTION_SPEC,
    connected,
    pve_storages,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, plan_result, run

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "namespaces": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "pool": {"type": "str", "required": True},
                    "name": {"type": "str", "required": True},
                    "data_pools": {"type": "list", "elements": "str", "default": []},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
        }
    )
)


def main(module: AnsibleModule) -> dict[str, t.Any]:
    wanted = namespaces.parse(module.params["namespaces"])
    with connected(module) as ceph:
        dump, rules = ceph.run([Command("osd dump"), Command("osd crush rule dump")])
        pools = namespaces.check_pools(wanted, pools_plan.existing(dump.out, rules.out), pve_storages())
        used = namespaces.in_use(wanted)
        answers = ceph.run(
            [
                *(Command("namespaces", {"pool": pool}, "rbd") for pool in pools),
                *(Command("ready", {"pool": pool}, "rbd") for pool in used),
            ]
        )
        there = {pool: answer.out for pool, answer in zip(pools, answers[: len(pools)], strict=True)}
        ready = {pool: answer.out for pool, answer in zip(used, answers[len(pools) :], strict=True)}
        doomed = [one for one in wanted if one.absent and one.name in there.get(one.pool, ())]
        found = ceph.run([Command("images", {"pool": one.pool, "namespace": one.name}, "rbd") for one in doomed])
        images = {one.full: answer.out for one, answer in zip(doomed, found, strict=True)}
        plan = namespaces.plan(wanted, there, images, ready)
        if not module.check_mode:
            apply(ceph, plan)
        return plan_result(module, plan, requests=ceph.requests)


if __name__ == "__main__":
    run(SPEC, main)
