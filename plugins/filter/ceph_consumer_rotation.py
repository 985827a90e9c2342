# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: where the rotation of consumers' Ceph keys stands."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError
from ..module_utils._rook import model, rotation
from ..module_utils._tiers.model import plain

DOCUMENTATION = r"""
name: ceph_consumer_rotation
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: Where the rotation of consumers' Ceph keys stands
description:
  - Says for each consumer in C(platform_ceph) which Ceph users of the present generation are to be made, which are to
    be delivered, and what becomes of older ones. These stay until the present one is delivered and nobody is connected
    by them.
  - Asks no server. Names are compared as a whole, so that a consumer has nothing of another whose name begins alike.
positional: _input
options:
  _input:
    description: C(platform_ceph).
    type: dict
    required: true
  users:
    description: Names of all Ceph users that there are, with C(client.).
    type: list
    elements: str
    required: true
  delivered:
    description: By consumer and role, the Ceph user that the consumer has now, as M(hackspace.infra.rook_consumers)
      returns it.
    type: dict
    default: {}
  sessions:
    description: Names of Ceph users that are connected to any monitor. Without it nobody is known to be unused.
    type: list
    elements: str
  complete:
    description: Every monitor has said who is connected to it.
    type: bool
    default: false
  told:
    description: Names of consumers whose older generations go although somebody may still use them.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what waits, and why
  ansible.builtin.debug:
    msg: >-
      {{ (platform_ceph |
      hackspace.infra.ceph_consumer_rotation(users=['client.k8s-member-prod-rbd-node'])).consumers }}
"""

RETURN = r"""
_value:
  description: What is to be done.
  type: dict
  contains:
    consumers:
      description: One entry per consumer, with C(name), C(mint), C(deliver), C(old) and C(done).
      type: list
      elements: dict
    retirable:
      description: Names of consumers of which something may go.
      type: list
      elements: str
"""


def ceph_consumer_rotation(
    ceph: t.Any,
    *,
    users: t.Any,
    delivered: t.Any = None,
    sessions: t.Any = None,
    complete: bool = False,
    told: t.Any = None,
) -> dict[str, t.Any]:
    """Return what is to be done; see DOCUMENTATION."""
    try:
        read = model.parse(plain(ceph))
    except HackspaceError as error:
        raise AnsibleFilterError(f"ceph_consumer_rotation: {error}") from error
    has = plain(delivered or {})
    known = None if sessions is None else rotation.Sessions(frozenset(map(str, sessions)), bool(complete))
    names = frozenset(map(str, users))
    regardless = {str(one) for one in told or ()}
    made = [
        rotation.plan(one, names, delivered=has.get(one.name) or {}, sessions=known, told=one.name in regardless)
        for one in read.consumers
        if not one.absent
    ]
    return {
        "consumers": [
            {
                "name": one.consumer,
                "mint": list(one.mint),
                "deliver": list(one.deliver),
                "old": [old.as_dict() for old in one.old],
                "done": one.done,
            }
            for one in made
        ],
        "retirable": rotation.retirable(made),
    }


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"ceph_consumer_rotation": ceph_consumer_rotation}
