# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: Ceph users of Rook's script that consumers may take over."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._ceph.clients import User
from ..module_utils._core.errors import HackspaceError
from ..module_utils._rook import adoption, model
from ..module_utils._tiers.model import plain

DOCUMENTATION = r"""
name: ceph_consumer_adoption
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: Ceph users of Rook's script that consumers may take over
description:
  - Looks among the Ceph users for those that Rook's script C(create-external-cluster-resources.py) made for the
    consumers in C(platform_ceph), and says what to write into the inventory. Users keep their names, as volumes are
    mounted by them.
  - A user that the script shares between all consumers, or that is for a pool which the consumer does not have, is
    doubted and not proposed.
positional: _input
options:
  _input:
    description: C(platform_ceph).
    type: dict
    required: true
  users:
    description:
      - All Ceph users by name with C(client.), each with its caps by kind of daemon, as texts or lists of grants.
      - C(users) of M(hackspace.infra.ceph_info) does. No keys.
    type: dict
    required: true
  names:
    description: By consumer, the name that was given to the script as C(--k8s-cluster-name), if it was another.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show what there is of Rook's script
  ansible.builtin.debug:
    msg: >-
      {{ platform_ceph | hackspace.infra.ceph_consumer_adoption(users={
      'client.csi-rbd-node-prod-vm': {'osd': 'profile rbd pool=vm'}}, names={'member-prod': 'prod'}) }}
"""

RETURN = r"""
_value:
  description: One entry per consumer.
  type: list
  elements: dict
  contains:
    consumer:
      description: Name of the consumer.
      type: str
    users:
      description: To write as C(users) at the consumer.
      type: dict
    key:
      description: To write as C(key) at the consumer.
      type: dict
    doubts:
      description: What is not proposed, and why.
      type: list
      elements: str
"""


def _texts(given: t.Any) -> dict[str, str]:
    """Return caps as texts, also those that stand beside something else."""
    caps = given.get("caps", given) if isinstance(given, dict) else {}
    return {str(kind): ", ".join(text) if isinstance(text, list) else str(text) for kind, text in caps.items()}


def ceph_consumer_adoption(ceph: t.Any, *, users: t.Any, names: t.Any = None) -> list[dict[str, t.Any]]:
    """Return proposals; see DOCUMENTATION."""
    try:
        read = model.parse(plain(ceph))
    except HackspaceError as error:
        raise AnsibleFilterError(f"ceph_consumer_adoption: {error}") from error
    there = [User(str(entity), _texts(caps)) for entity, caps in plain(users).items()]
    given = plain(names or {})
    return [
        adoption.propose(one, there, cluster=str(given.get(one.name) or "")).as_dict()
        for one in read.consumers
        if not one.absent
    ]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"ceph_consumer_adoption": ceph_consumer_adoption}
