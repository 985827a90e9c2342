#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ceph_crush_rules
short_description: Keeps CRUSH rules and device classes of Ceph as wanted
version_added: 0.1.0
description:
  - Makes rules for replicated pools, each with a root, a failure domain and a device class. A rule never changes; one
    that exists and is another one is refused.
  - Keeps OSDs in device classes. OSDs that have none get theirs; changing a class moves data and needs
    O(move_data=true).
  - What isn't in the lists is not touched.
options:
  rules:
    description: The wanted rules.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      root:
        description: Root of the CRUSH tree, or another bucket of it.
        type: str
        default: default
      failure_domain:
        description: Of which no two copies share one, such as V(host) or V(rack).
        type: str
        default: host
      device_class:
        description: Class of the devices that are used, such as V(ssd). Without it, any.
        type: str
      state:
        description: V(absent) deletes it, unless a pool uses it.
        type: str
        choices: [present, absent]
        default: present
  device_classes:
    description: Lists of OSDs by the device class they are to have.
    type: dict
    default: {}
  move_data:
    description: Change the class of OSDs that have another one.
    type: bool
    default: false
seealso:
  - module: hackspace.infra.ceph_pools
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
- name: Keep copies on NVMe devices of different hosts
  hackspace.infra.ceph_crush_rules:
    rules:
      - name: nvme
        device_class: nvme
    device_classes:
      nvme: [0, 3, 6]
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: dict
  sample: [{action: create, kind: CRUSH rule, name: nvme, why: missing}]
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
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import crush
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.apply import apply
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.ports import Command
from ansible_collections.hackspace.infra.plugins.module_utils._clients.ceph import CONNECTION_SPEC, connected
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, plan_result, run

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "rules": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "root": {"type": "str", "default": "default"},
                    "failure_domain": {"type": "str", "default": "host"},
                    "device_class": {"type": "str"},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "device_classes": {"type": "dict", "default": {}},
            "move_data": {"type": "bool", "default": False},
        }
    )
)


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    wanted = crush.parse(params["rules"])
    devices = crush.classes(params["device_classes"])
    with connected(module) as ceph:
        tree, dump = ceph.run([Command("osd crush dump"), Command("osd dump")])
        plan = crush.plan(crush.present(tree.out, dump.out), wanted, devices, move_data=params["move_data"])
        if not module.check_mode:
            apply(ceph, plan)
        return plan_result(module, plan, requests=ceph.requests)


if __name__ == "__main__":
    run(SPEC, main)
