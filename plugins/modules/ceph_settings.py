#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ceph_settings
short_description: Keeps the central configuration of Ceph, its flags and manager modules as wanted
version_added: 0.1.0
description:
  - Takes all of it in one call, asks Ceph what type each option has, and writes what differs. Values are compared by
    what they mean, so that V(4GiB) and V(4294967296) are the same.
  - What isn't declared is not touched.
  - The configuration is no place for what is secret, as it is shown to everybody who may read it. Options that look
    like it are refused.
options:
  settings:
    description: The wanted options.
    type: list
    elements: dict
    default: []
    suboptions:
      section:
        description: V(global), V(mon), V(mgr), V(osd), V(mds) or V(client), or one of them such as V(osd.3).
        type: str
        default: global
      mask:
        description: For whom in the section it counts, such as V(class:ssd) or V(host:pve-1). Without it, for all.
        type: str
      name:
        description: Name as in C(ceph config ls); V(mgr/MODULE/OPTION) for modules of the manager.
        type: str
        required: true
      value:
        description: Value, with a unit where the option has one.
        type: str
      state:
        description: V(absent) takes it away, so that the default counts.
        type: str
        choices: [present, absent]
        default: present
  dashboard:
    description: Settings of the dashboard by the names it has for them, such as C(GRAFANA_API_URL).
    type: dict
    default: {}
  flags:
    description: Flags of the cluster, such as C(noout), and whether they are set.
    type: dict
    default: {}
  mgr_modules:
    description: Modules of the manager and whether they are enabled, such as C(prometheus).
    type: dict
    default: {}
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
- name: Keep the central configuration
  hackspace.infra.ceph_settings:
    settings:
      - {section: osd, mask: "class:ssd", name: osd_memory_target, value: 6GiB}
      - {section: mon, name: mon_allow_pool_delete, value: "false"}
    mgr_modules:
      prometheus: true
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: dict
  sample: [{action: update, kind: setting, name: osd osd_memory_target, why: value differs}]
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
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import settings
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.apply import apply
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.ports import Command
from ansible_collections.hackspace.infra.plugins.module_utils._clients.ceph import CONNECTION_SPEC, connected
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, plan_result, run

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "settings": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "section": {"type": "str", "default": "global"},
                    "mask": {"type": "str"},
                    "name": {"type": "str", "required": True},
                    "value": {"type": "str"},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "dashboard": {"type": "dict", "default": {}},
            "flags": {"type": "dict", "default": {}},
            "mgr_modules": {"type": "dict", "default": {}},
        }
    )
)


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    wanted = settings.parse(params["settings"]) + settings.dashboard(params["dashboard"])
    flags = settings.flags(params["flags"])
    modules = settings.modules(params["mgr_modules"])
    with connected(module) as ceph:
        names = sorted({one.name for one in wanted})
        first = [Command("config dump"), Command("osd dump"), Command("mgr module ls")]
        answers = ceph.run([*first, *(settings.ask(name) for name in names)])
        dump, osds, listed = answers[:3]
        present = settings.Present(
            settings.dumped(dump.out),
            {name: settings.option(answer.out) for name, answer in zip(names, answers[3:], strict=True)},
            frozenset(osds.out.get("flags_set") or str(osds.out.get("flags", "")).split(",")),
            settings.listed(listed.out),
        )
        plan = settings.plan(present, wanted, flags, modules)
        if not module.check_mode:
            apply(ceph, plan)
        return plan_result(module, plan, requests=ceph.requests)


if __name__ == "__main__":
    run(SPEC, main)
