#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ceph_info
short_description: Reads a Ceph cluster for those who use it
version_added: 0.1.0
description:
  - Returns versions, health, monitors, pools, file systems and users of a Ceph cluster, without any key.
  - Says whether users can be forged (CVE-2025-30156), by which the holder of any key becomes anybody; then nothing
    keeps consumers apart.
options:
  sessions:
    description:
      - Ask each monitor who is logged in, and return RV(sessions).
      - A monitor that does not answer is named in RV(monitors), and RV(sessions_complete) is false.
    type: bool
    default: false
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.info
  - hackspace.infra._attributes.actiongroup_ceph
  - hackspace.infra._ceph
seealso:
  - module: hackspace.infra.ceph_clients
author: hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Read the Ceph cluster
  hackspace.infra.ceph_info:
    sessions: true
  register: ceph

- name: Refuse to go on while users can be forged
  ansible.builtin.assert:
    that: ceph.forgery.state == 'fixed'
    fail_msg: "{{ ceph.forgery.why }}"
"""

RETURN = r"""
fsid:
  description: The cluster's id.
  returned: success
  type: str
version:
  description: The oldest version that a daemon runs.
  returned: success
  type: str
versions:
  description: Number of daemons by kind and version.
  returned: success
  type: dict
health:
  description: C(status), and C(checks) with C(severity) and C(message).
  returned: success
  type: dict
monitors:
  description: All monitors with C(name), C(v1), C(v2), C(in_quorum), and with O(sessions) C(answers).
  returned: success
  type: list
  elements: dict
pools:
  description: Pools by name, with C(pve_storage) where a storage of Proxmox VE owns one.
  returned: success
  type: dict
filesystems:
  description: File systems by name, with C(metadata_pool) and C(data_pools).
  returned: success
  type: dict
users:
  description: Users by name, with C(caps) as lists of grants and C(key_type).
  returned: success
  type: dict
rook_made:
  description: Names of clients that Rook's script may have made, and their generations.
  returned: success
  type: dict
forgery:
  description: CVE-2025-30156. C(state) is V(vulnerable), V(unfinished), V(fixed) or V(unknown), and C(why) says why.
  returned: success
  type: dict
sessions:
  description: Addresses of who is logged in, by user.
  returned: with O(sessions=true)
  type: dict
sessions_complete:
  description: Whether all monitors answered. Otherwise nothing follows from a user that is missing in RV(sessions).
  returned: with O(sessions=true)
  type: bool
facts:
  description: What the consumers of Ceph are judged by, as O(hackspace.infra.rook_consumers#module:facts) takes it.
  returned: success
  type: dict
requests:
  description: Number of commands sent.
  returned: success
  type: int
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import caps, clients_plan, info, pools_plan
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.ports import Ceph, Command
from ansible_collections.hackspace.infra.plugins.module_utils._clients.ceph import (
    CONNECTION_SPEC,
    connected,
    pve_storages,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, run

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "sessions": {"type": "bool", "default": False},
        }
    )
)
_COMMANDS = (
    Command("mon dump"),
    Command("versions"),
    Command("health", {"detail": "detail"}),
    Command("osd dump"),
    Command("osd crush rule dump"),
    Command("fs ls"),
    Command("auth ls"),
    Command("get_command_descriptions"),
)


def logged_in(ceph: Ceph, monitors: t.Sequence[str]) -> dict[str, t.Any]:
    """Return what each monitor says; one that does not answer is left out."""
    answers = {}
    for name in monitors:
        try:
            answers[name] = ceph.run([Command("sessions", target="tell", at=name)])[0].out
        except HackspaceError:
            continue
    return answers


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    storages = pve_storages()
    with connected(module) as ceph:
        monmap, versions, health, dump, rules, filesystems, listed, described = (one.out for one in ceph.run(_COMMANDS))
        answers = logged_in(ceph, clients_plan.monitor_names(monmap)) if params["sessions"] else None
        requests = ceph.requests
    users = clients_plan.users(listed)
    found = info.versions(versions)
    state = info.health(health)
    monitors = info.monitors(monmap, answers)
    pools = info.pools(pools_plan.existing(dump, rules), storages)
    version = info.oldest(found)
    facts = {
        "fsid": monmap["fsid"],
        "version": version,
        "monitors": [{key: one[key] for key in ("name", "v1", "v2") if one[key]} for one in monitors],
        "pools": {
            name: {key: one[key] for key in ("erasure", "overwrites", "applications")} for name, one in pools.items()
        },
        "filesystems": info.filesystems(filesystems),
        "pve_pools": sorted(name for name, one in pools.items() if one["pve_storage"]),
        "users": sorted(users),
        "insecure": info.insecure(state),
        "unreachable": [one["v2"] or one["v1"] for one in monitors if not one["in_quorum"]],
        "key_types": sorted(clients_plan.makeable(described) or {"aes"}),
    }
    result: dict[str, t.Any] = {
        "changed": False,
        "fsid": monmap["fsid"],
        "version": version,
        "versions": found,
        "health": state,
        "monitors": monitors,
        "pools": pools,
        "filesystems": facts["filesystems"],
        "users": {
            name: {"caps": caps.lists(user.caps), "key_type": user.key_type} for name, user in sorted(users.items())
        },
        "rook_made": clients_plan.rook_made(users),
        "forgery": info.forgery(version, state, users),
        "facts": facts,
        "requests": requests,
    }
    if answers is not None:
        result["sessions"] = clients_plan.sessions(answers.values())
        result["sessions_complete"] = len(answers) == len(monitors)
    return result


if __name__ == "__main__":
    run(SPEC, main)
