#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ceph_keys
short_description: See which keys Ceph users have, and hand them on sealed
version_added: 0.1.0
author:
  - hackspace.infra contributors (@hackspace)
description:
  - Returns the fingerprints of the keys of Ceph users, by which a key can be compared with one elsewhere. No key is
    ever returned as it is.
  - M(hackspace.infra.rook_consumers) runs it on a node of the Ceph cluster with a secret for one use, and gets the keys
    sealed by it. What Ansible prints of results with C(-vvv) so has none either.
  - Changes nothing.
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_ceph
  - hackspace.infra._ceph
options:
  users:
    description: Names of Ceph users, with or without C(client.).
    type: list
    elements: str
    required: true
  seal:
    description: Secret for one use, 32 random bytes in base64. Without it only fingerprints are returned.
    type: str
seealso:
  - module: hackspace.infra.rook_consumers
"""

EXAMPLES = r"""
- name: Compare the key of a user with what a cluster has
  hackspace.infra.ceph_keys:
    users: [k8s-member-prod-rbd-node]
  register: keys
"""

RETURN = r"""
fingerprints:
  description: By user with C(client.), the first 12 hexadecimal digits of the key's sha256.
  returned: success
  type: dict
  sample: {client.k8s-member-prod-rbd-node: 3b1f6b1f0d5b}
sealed:
  description: By user, the key sealed by O(seal). Empty without it.
  returned: success
  type: dict
missing:
  description: Users that there are not.
  returned: success
  type: list
  elements: str
requests:
  description: Number of commands sent to Ceph.
  returned: success
  type: int
"""

import errno
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import clients
from ansible_collections.hackspace.infra.plugins.module_utils._ceph.ports import Ceph, Command
from ansible_collections.hackspace.infra.plugins.module_utils._clients.ceph import CONNECTION_SPEC, connected
from ansible_collections.hackspace.infra.plugins.module_utils._core import seal
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, hide, run
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret, fingerprint

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "users": {"type": "list", "elements": "str", "required": True},
            "seal": {"type": "str", "no_log": True},
        }
    )
)


def read(ceph: Ceph, users: t.Sequence[str]) -> dict[str, Secret]:
    """Return the keys of those that there are, by user, in one go."""
    answers = ceph.run([Command("auth get-key", {"entity": entity}, ok=frozenset({-errno.ENOENT})) for entity in users])
    found: dict[str, Secret] = {}
    for entity, answer in zip(users, answers, strict=True):
        if answer.code:
            continue
        key = answer.out.get("key") if isinstance(answer.out, dict) else answer.out
        if not isinstance(key, str) or not key.strip():
            raise HackspaceError(
                "Ceph has said its key in a form that is not known.",
                item=entity,
                rule="ceph-answer",
                fix="report it with the version of Ceph.",
            )
        found[entity] = Secret(key.strip())
    return found


def main(module: AnsibleModule) -> dict[str, t.Any]:
    """Read, and return fingerprints and what is sealed."""
    params = module.params
    users = list(dict.fromkeys(clients.entity(one) for one in params["users"]))
    with connected(module) as ceph:
        keys = read(ceph, users)
        requests = ceph.requests
    hide(module, *(key.reveal() for key in keys.values()))
    secret = params["seal"]
    return {
        "changed": False,
        "fingerprints": {entity: fingerprint(key.reveal()) for entity, key in keys.items()},
        "sealed": {entity: seal.seal(secret, entity, key.reveal()) for entity, key in keys.items()} if secret else {},
        "missing": [entity for entity in users if entity not in keys],
        "requests": requests,
    }


if __name__ == "__main__":
    run(SPEC, main)
