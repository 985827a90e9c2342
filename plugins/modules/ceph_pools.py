#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ceph_pools
short_description: Keeps pools of Ceph as wanted
version_added: 0.1.0
description:
  - Takes the whole list, reads all pools at once, and writes what differs. What is not given is left as it is, and
    pools that are not in the list are not touched.
  - Nothing that loses copies or data is done unless it is said for that pool, in O(pools[].allow).
  - Whether a pool is replicated or erasure coded, and how, never changes. What can't be had is refused before anything
    is written.
  - Pools that belong to a storage of Proxmox VE are refused. Other pools that exist, differ, and were not made by this
    module are shown in RV(foreign) and refused until O(adopt=true).
options:
  pools:
    description: The wanted pools.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      erasure:
        description: Makes it an erasure coded pool. Without it, it is a replicated one.
        type: dict
        suboptions:
          k:
            description: Number of chunks with data.
            type: int
            required: true
          m:
            description: Number of chunks that may be lost.
            type: int
            required: true
          plugin:
            description: Erasure code plugin.
            type: str
            default: jerasure
          technique:
            description: Technique of the plugin.
            type: str
          failure_domain:
            description: Of which no two chunks share one.
            type: str
            default: host
          device_class:
            description: Class of the devices that are used. Without it, any.
            type: str
          root:
            description: Root of the CRUSH tree.
            type: str
            default: default
      metadata_pool:
        description:
          - The replicated pool that holds what an erasure coded one can't. Needed for erasure coded pools with the
            applications V(rbd) or V(cephfs).
          - Objects of the erasure coded pool can be overwritten then, which needs OSDs on BlueStore.
        type: str
      applications:
        description: What it is used for (V(rbd), V(cephfs), V(rgw) or others); all of it. Others are taken away.
        type: list
        elements: str
        default: []
      init:
        description: Make it ready for RBD, once. Erasure coded pools need it as well where users are kept to RADOS
          namespaces, as these may not write down that the pool was found to be fit for images' data.
        type: bool
        default: false
      crush_rule:
        description: Name of its CRUSH rule.
        type: str
      size:
        description: Number of copies.
        type: int
      min_size:
        description: Least number of copies with which it can be written.
        type: int
      pg_num:
        description: Number of placement groups.
        type: int
      pg_num_min:
        description: Least number for the autoscaler; V(0) for none.
        type: int
      pg_num_max:
        description: Greatest number for the autoscaler; V(0) for none.
        type: int
      pg_autoscale_mode:
        description: Whether Ceph changes the number of placement groups by itself.
        type: str
        choices: ['off', warn, 'on']
      target_size_ratio:
        description: Share of the cluster that it is expected to fill; V(0) for none.
        type: float
      target_size_bytes:
        description: Amount that it is expected to hold, such as V(2TiB); V(0) for none.
        type: str
      bulk:
        description: It will be large, so that it begins with many placement groups.
        type: bool
      quota_bytes:
        description: Greatest amount of data, such as V(500GiB); V(0) for no limit.
        type: str
      quota_objects:
        description: Greatest number of objects; V(0) for no limit.
        type: int
      compression_mode:
        description: When data is compressed.
        type: str
        choices: [none, passive, aggressive, force]
      compression_algorithm:
        description: How data is compressed.
        type: str
        choices: [lz4, snappy, zlib, zstd]
      compression_required_ratio:
        description: What isn't compressed to this share is stored as it is.
        type: float
      compression_min_blob_size:
        description: Smaller pieces are not compressed. Such as V(128KiB).
        type: str
      compression_max_blob_size:
        description: Larger pieces are divided before they are compressed.
        type: str
      nodelete:
        description: Refuse to delete the pool.
        type: bool
      nosizechange:
        description: Refuse to change its number of copies.
        type: bool
      nopgchange:
        description: Refuse to change its number of placement groups.
        type: bool
      noscrub:
        description: Do not scrub it.
        type: bool
      nodeep_scrub:
        description: Do not scrub it deeply.
        type: bool
      allow:
        description:
          - V(size-one) lets O(pools[].size) be 1, V(fewer-copies) lets it shrink, V(pg-growth) lets
            O(pools[].pg_num) grow to more than eight times, V(delete) lets the pool be deleted with all of its data.
        type: list
        elements: str
        choices: [size-one, fewer-copies, pg-growth, delete]
        default: []
      state:
        description: V(absent) deletes it. Needs V(delete) in O(pools[].allow).
        type: str
        choices: [present, absent]
        default: present
  adopt:
    description: Take over pools that exist, differ from what is wanted and were not made by this module.
    type: bool
    default: false
seealso:
  - module: hackspace.infra.ceph_crush_rules
  - module: hackspace.infra.ceph_rados_namespaces
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
- name: Keep a pool for images, and one with erasure code for their data
  hackspace.infra.ceph_pools:
    pools:
      - name: vm-prod
        applications: [rbd]
        init: true
        size: 3
        min_size: 2
        crush_rule: nvme
        nodelete: true
      - name: vm-prod-data
        erasure: {k: 4, m: 2, device_class: hdd}
        metadata_pool: vm-prod
        applications: [rbd]
        init: true
        quota_bytes: 20TiB
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: dict
  sample: [{action: update, kind: pool, name: vm-prod, why: min_size differs}]
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
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import marks, pools, pools_plan
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.apply import apply
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.ports import Command
from ansible_collections.hackspace.infra.plugins.module_utils._clients.ceph import (
    CONNECTION_SPEC,
    connected,
    pve_storages,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, plan_result, run

_FLAGS = ("bulk", "nodelete", "nosizechange", "nopgchange", "noscrub", "nodeep_scrub")
_NUMBERS = ("size", "min_size", "pg_num", "pg_num_min", "pg_num_max", "quota_objects")
_AMOUNTS = ("target_size_bytes", "quota_bytes", "compression_min_blob_size", "compression_max_blob_size")

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "pools": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "erasure": {
                        "type": "dict",
                        "options": {
                            "k": {"type": "int", "required": True},
                            "m": {"type": "int", "required": True},
                            "plugin": {"type": "str", "default": "jerasure"},
                            "technique": {"type": "str"},
                            "failure_domain": {"type": "str", "default": "host"},
                            "device_class": {"type": "str"},
                            "root": {"type": "str", "default": "default"},
                        },
                    },
                    "metadata_pool": {"type": "str"},
                    "applications": {"type": "list", "elements": "str", "default": []},
                    "init": {"type": "bool", "default": False},
                    "crush_rule": {"type": "str"},
                    "pg_autoscale_mode": {"type": "str", "choices": ["off", "warn", "on"]},
                    "target_size_ratio": {"type": "float"},
                    "compression_mode": {"type": "str", "choices": ["none", "passive", "aggressive", "force"]},
                    "compression_algorithm": {"type": "str", "choices": ["lz4", "snappy", "zlib", "zstd"]},
                    "compression_required_ratio": {"type": "float"},
                    **{name: {"type": "int"} for name in _NUMBERS},
                    **{name: {"type": "str"} for name in _AMOUNTS},
                    **{name: {"type": "bool"} for name in _FLAGS},
                    "allow": {
                        "type": "list",
                        "elements": "str",
                        "choices": ["size-one", "fewer-copies", "pg-growth", "delete"],
                        "default": [],
                    },
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "adopt": {"type": "bool", "default": False},
        }
    )
)


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    wanted = pools.parse(params["pools"])
    with connected(module) as ceph:
        dump, rules, marked = ceph.run([Command("osd dump"), Command("osd crush rule dump"), marks.read()])
        present = pools_plan.Present(
            pools_plan.existing(dump.out, rules.out),
            dump.out.get("erasure_code_profiles") or {},
            frozenset(rule["rule_name"] for rule in rules.out),
            marks.parse(marked.out),
            pve_storages(),
        )
        plan = pools_plan.plan(present, wanted, adopt=params["adopt"])
        if not module.check_mode:
            apply(ceph, plan)
        return plan_result(module, plan, requests=ceph.requests)


if __name__ == "__main__":
    run(SPEC, main)
