#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ceph_clients
short_description: Keeps users of Ceph, their caps and the generations of their keys as wanted
version_added: 0.1.0
description:
  - Takes the whole list, reads all users at once, and writes what differs.
  - >-
    Caps are compared as sets of grants: order, spaces and quotes make no difference. A user has the grants that are
    declared and no others, in all of its generations.
  - >-
    A key is rotated by generations, as Rook names them: C(client.x) is generation 0, C(client.x.1) generation 1. Raise
    O(clients[].generation), deliver the new user and key, and let O(clients[].retire) take the others away.
  - Users that were made otherwise, as by Rook's script, and that differ are shown in RV(foreign) and refused until
    O(adopt=true). They keep their names and keys.
  - No key is read, shown or returned. M(hackspace.infra.ceph_keys) tells keys apart and hands them on sealed.
  - Users that belong to Ceph or Proxmox VE, such as C(client.admin), are never touched. What isn't in the list stays.
options:
  clients:
    description: The wanted clients.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name without a generation. C(client.) in front may be left out.
        type: str
        required: true
      caps:
        description:
          - By kind of daemon (V(mon), V(mgr), V(osd), V(mds)), a text or a list of grants.
          - For instance C(profile rbd pool=POOL namespace=NAMESPACE).
        type: dict
      generation:
        description: Which generation counts. It is made if it is missing. Without it, the highest that there is, or 0.
        type: int
      keep:
        description: Other generations that stay, if they exist, whatever O(clients[].retire) says.
        type: list
        elements: int
        default: []
      retire:
        description:
          - What becomes of generations that neither count nor are to be kept, also of higher ones. V(never) leaves all,
            V(unused) deletes those with which nobody is logged in at any monitor, V(always) deletes all.
          - Clients of kernels (RBD, CephFS) stay logged in as long as something is mapped or mounted. All monitors must
            answer for V(unused).
          - A generation that this very run would make can't replace others.
          - For O(clients[].state=absent), anything but V(always) means V(unused), and refuses if somebody is logged in.
        type: str
        choices: [never, unused, always]
        default: never
      key_type:
        description:
          - Type of keys that are made. Without it the server's choice. What exists has the type it has.
          - Kernels before Linux 7.0 can't use V(aes256k).
        type: str
        choices: [aes, aes256k]
      state:
        description: V(absent) deletes all generations.
        type: str
        choices: [present, absent]
        default: present
  adopt:
    description: Take over users that exist, differ from what is wanted and were not made by this module.
    type: bool
    default: false
attributes:
  check_mode:
    details: Reads only.
seealso:
  - module: hackspace.infra.ceph_info
  - module: hackspace.infra.ceph_keys
  - module: hackspace.infra.ceph_rados_namespaces
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_ceph
  - hackspace.infra._ceph
author: hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Keep the users of a cluster that has a RADOS namespace of its own
  hackspace.infra.ceph_clients:
    clients:
      - name: member-prod-rbd-node
        generation: 1
        caps:
          mon: profile rbd
          mgr: profile rbd pool=vm-prod namespace=member-prod
          osd: profile rbd pool=vm-prod namespace=member-prod

- name: Retire the generations before, once nobody uses them any more
  hackspace.infra.ceph_clients:
    clients:
      - name: member-prod-rbd-node
        generation: 1
        retire: unused
        caps:
          mon: profile rbd
          mgr: profile rbd pool=vm-prod namespace=member-prod
          osd: profile rbd pool=vm-prod namespace=member-prod
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: dict
  sample: [{action: create, kind: Ceph user, name: client.member-prod-rbd-node.1, why: generation 1}]
unchanged:
  description: Number of users that are as wanted.
  returned: success
  type: int
foreign:
  description: Users that exist and were not made by this module.
  returned: success or when refused
  type: list
  elements: str
clients:
  description: For each client its user that counts (C(entity), C(user_id) without C(client.), C(generation)), all
    C(generations), those that were C(retired), and those still C(in_use) with the addresses of who is logged in.
  returned: success
  type: list
  elements: dict
requests:
  description: Number of commands sent.
  returned: success
  type: int
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import clients, clients_plan, marks
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.apply import apply
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.ports import Ceph, Command
from ansible_collections.hackspace.infra.plugins.module_utils._clients.ceph import CONNECTION_SPEC, connected
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, plan_result, run

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "clients": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "caps": {"type": "dict"},
                    "generation": {"type": "int"},
                    "keep": {"type": "list", "elements": "int", "default": []},
                    "retire": {"type": "str", "choices": ["never", "unused", "always"], "default": "never"},
                    "key_type": {"type": "str", "choices": ["aes", "aes256k"], "no_log": False},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "adopt": {"type": "bool", "default": False},
        }
    )
)


def read(ceph: Ceph, wanted: t.Sequence[clients.Client]) -> clients_plan.Present:
    """Return what there is."""
    listed, marked, monitors = ceph.run([Command("auth ls"), marks.read(), Command("mon dump")])
    users = clients_plan.users(listed.out)
    sessions = None
    if clients_plan.needs_sessions(wanted, users):
        names = clients_plan.monitor_names(monitors.out)
        try:
            said = ceph.run([Command("sessions", target="tell", at=name) for name in names])
        except HackspaceError:
            said = []
        if said:
            sessions = clients_plan.sessions(answer.out for answer in said)
    key_types = None
    if any(one.key_type and clients.entity(one.name, one.current(users)) not in users for one in wanted):
        described = ceph.run([Command("get_command_descriptions")])[0]
        key_types = clients_plan.makeable(described.out)
    return clients_plan.Present(users, marks.parse(marked.out), sessions, key_types)


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    wanted = clients.parse(params["clients"])
    with connected(module) as ceph:
        plan, states = clients_plan.plan(read(ceph, wanted), wanted, adopt=params["adopt"])
        if not module.check_mode:
            apply(ceph, plan)
        return plan_result(module, plan, clients=[state.report() for state in states], requests=ceph.requests)


if __name__ == "__main__":
    run(SPEC, main)
