# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what the Ceph cluster is to have for its consumers."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError
from ..module_utils._rook import findings, provider
from ..module_utils._tiers.model import plain

DOCUMENTATION = r"""
name: ceph_consumer_resources
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: Ceph users, RADOS namespaces and subvolume groups of consumers
description:
  - What the Ceph cluster is to have for the consumers in C(platform_ceph), as the modules C(ceph_clients),
    C(ceph_rados_namespaces) and C(ceph_subvolume_groups) take it.
  - Every consumer and role has a Ceph user of its own, with caps for the StorageClasses of the consumer and no more.
  - What is wrong with the consumers is an error, as P(hackspace.infra.ceph_consumer_findings#filter) finds it.
positional: _input
options:
  _input:
    description: C(platform_ceph).
    type: dict
    required: true
  retire:
    description:
      - Names of consumers to which the present keys were delivered. Their older generations are retired when nobody
        uses them any more; those of others stay.
    type: list
    elements: str
    default: []
  removed:
    description:
      - Names of consumers with C(state=absent) of which nothing is left in their clusters. What they have in Ceph goes.
      - Without its name here, what an absent consumer has in Ceph is left alone.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what member-prod may do
  ansible.builtin.debug:
    msg: "{{ (platform_ceph | hackspace.infra.ceph_consumer_resources).clients }}"
"""

RETURN = r"""
_value:
  description: The three lists.
  type: dict
  contains:
    clients:
      description: Ceph users with their caps, generation, and what becomes of older generations.
      type: list
      elements: dict
    rados_namespaces:
      description: RADOS namespaces by pool.
      type: list
      elements: dict
    subvolume_groups:
      description: Subvolume groups by CephFS.
      type: list
      elements: dict
"""


def ceph_consumer_resources(
    ceph: t.Any, *, retire: t.Any = None, removed: t.Any = None
) -> dict[str, list[dict[str, t.Any]]]:
    """Return the lists; see DOCUMENTATION."""
    try:
        read, found = findings.judge(plain(ceph))
        findings.refuse(found)
        if read is None:
            return {"clients": [], "rados_namespaces": [], "subvolume_groups": []}
        gone = [str(one) for one in removed or ()]
        return {
            "clients": provider.clients(read, retire=[str(one) for one in retire or ()], removed=gone),
            "rados_namespaces": provider.rados_namespaces(read, removed=gone),
            "subvolume_groups": provider.subvolume_groups(read, removed=gone),
        }
    except HackspaceError as error:
        raise AnsibleFilterError(f"ceph_consumer_resources: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"ceph_consumer_resources": ceph_consumer_resources}
