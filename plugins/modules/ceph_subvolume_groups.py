#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ceph_subvolume_groups
short_description: Keeps subvolume groups of CephFS, with their quotas and pins
version_added: 0.1.0
description:
  - Takes the whole list for any number of file systems, and writes what differs. Each consumer has a group of its own.
  - Groups that are not in the list are not touched. One that is to be absent is refused as long as there are subvolumes
    in it.
  - Ceph does not tell how a group is pinned. The pin that was set is remembered with the mark that the module leaves in
    the monitors' key/value store.
  - Groups that exist, differ, and were not made by this module are shown in RV(foreign) and refused until
    O(adopt=true).
options:
  groups:
    description: The wanted groups.
    type: list
    elements: dict
    required: true
    suboptions:
      filesystem:
        description: File system.
        type: str
        required: true
      name:
        description: Name.
        type: str
        required: true
      quota:
        description: Greatest amount of data in it, such as V(500GiB); V(0) for no limit. Without it, it is left.
        type: str
      data_pool:
        description: Data pool for its files, one of the file system's, chosen once. Without it, the first one.
        type: str
      pin:
        description: Which metadata servers it is served by. Without it, it is left.
        type: dict
        suboptions:
          type:
            description: Kind of pin.
            type: str
            choices: [export, distributed, random]
            required: true
          setting:
            description: V(export) takes a rank, or V(-1) for none, V(distributed) V(0) or V(1), V(random) a share.
            type: str
            required: true
      shrink:
        description: Let O(groups[].quota) be less than what is in the group.
        type: bool
        default: false
      state:
        description: V(absent) deletes it.
        type: str
        choices: [present, absent]
        default: present
  adopt:
    description: Take over groups that exist, differ from what is wanted and were not made by this module.
    type: bool
    default: false
seealso:
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
- name: Keep a subvolume group for a cluster
  hackspace.infra.ceph_subvolume_groups:
    groups:
      - filesystem: cephfs
        name: member-prod
        quota: 2TiB
        pin: {type: distributed, setting: "1"}
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: dict
  sample: [{action: update, kind: subvolume group, name: cephfs/member-prod, why: quota differs}]
unchanged:
  description: Number of things that are as wanted.
  returned: success
  type: int
foreign:
  description: Things that exist, differ and were not made by this module.
  returned: success or when refused
  type: list
  elements: str
requests:
  description: Number of commands sent.
  returned: success
  type: int
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import marks, subvolumes
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.apply import apply
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.ports import Command
from ansible_collections.hackspace.infra.plugins.module_utils._clients.ceph import CONNECTION_SPEC, connected
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, plan_result, run

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "groups": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "filesystem": {"type": "str", "required": True},
                    "name": {"type": "str", "required": True},
                    "quota": {"type": "str"},
                    "data_pool": {"type": "str"},
                    "pin": {
                        "type": "dict",
                        "options": {
                            "type": {"type": "str", "choices": ["export", "distributed", "random"], "required": True},
                            "setting": {"type": "str", "required": True},
                        },
                    },
                    "shrink": {"type": "bool", "default": False},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "adopt": {"type": "bool", "default": False},
        }
    )
)


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    wanted = subvolumes.parse(params["groups"])
    with connected(module) as ceph:
        listed, marked = ceph.run([Command("fs ls"), marks.read()])
        filesystems = subvolumes.filesystems(listed.out)
        subvolumes.check_filesystems(wanted, filesystems)
        answers = ceph.run([subvolumes.ask(one) for one in wanted])
        found = {one.full: subvolumes.existing(answer) for one, answer in zip(wanted, answers, strict=True)}
        groups = {name: group for name, group in found.items() if group is not None}
        doomed = [one for one in wanted if one.absent and one.full in groups]
        volumes = ceph.run([subvolumes.ask_volumes(one) for one in doomed])
        present = subvolumes.Present(
            filesystems,
            groups,
            {
                one.full: [volume["name"] for volume in answer.out or ()]
                for one, answer in zip(doomed, volumes, strict=True)
            },
            marks.parse(marked.out),
        )
        plan = subvolumes.plan(present, wanted, adopt=params["adopt"])
        if not module.check_mode:
            apply(ceph, plan)
        return plan_result(module, plan, requests=ceph.requests)


if __name__ == "__main__":
    run(SPEC, main)
