# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what is wrong with the consumers of the external Ceph cluster."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError
from ..module_utils._rook import facts as facts_
from ..module_utils._rook import findings
from ..module_utils._tiers.model import plain

DOCUMENTATION = r"""
name: ceph_consumer_findings
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: What is wrong with the consumers of the external Ceph cluster
description:
  - Checks the form of C(platform_ceph), what its consumers mean together (nobody may reach another's volumes), and,
    with O(facts), whether Ceph has what they name. Everything that is wrong is returned at once.
  - Asks no server.
positional: _input
options:
  _input:
    description: C(platform_ceph).
    type: dict
    required: true
  clusters:
    description: Names in C(platform_clusters). Not looked at without it.
    type: list
    elements: str
  facts:
    description: Ceph as it is. What is not given is not judged.
    type: dict
    default: {}
    suboptions:
      fsid:
        description: Id of the Ceph cluster.
        type: str
      version:
        description: Its oldest daemon's version.
        type: str
      monitors:
        description: Monitors with C(name), C(v1) and C(v2), the two as C(address:port).
        type: list
        elements: dict
      pools:
        description: Pools by name, with C(erasure), C(overwrites) and C(applications).
        type: dict
      filesystems:
        description: Each CephFS by name, with C(metadata_pool) and C(data_pools).
        type: dict
      pve_pools:
        description: Pools of Proxmox VE's own storages.
        type: list
        elements: str
      users:
        description: Names of all Ceph users.
        type: list
        elements: str
      key_types:
        description: Types of keys that Ceph can make.
        type: list
        elements: str
      insecure:
        description: Health codes that say that cephx can be forged. An empty list says that it was looked at.
        type: list
        elements: str
      unreachable:
        description: Addresses of monitors that did not answer.
        type: list
        elements: str
      kernels:
        description: Versions of the nodes' kernels by cluster.
        type: dict
"""

EXAMPLES = r"""
- name: Stop if a consumer is wrong
  ansible.builtin.assert:
    that: findings | selectattr('level', 'equalto', 'error') | length == 0
    fail_msg: "{{ findings | map(attribute='message') | join('; ') }}"
  vars:
    findings: >-
      {{ platform_ceph | hackspace.infra.ceph_consumer_findings(clusters=platform_clusters | map(attribute='name')) }}
"""

RETURN = r"""
_value:
  description: One entry per breach, by place. Empty if all is right.
  type: list
  elements: dict
  contains:
    item:
      description: Place in the inventory.
      type: str
      sample: "platform_ceph.consumers[1]: block[0]"
    rule:
      description: Name of the rule.
      type: str
      sample: namespace-shared
    level:
      description: V(error) or V(warning).
      type: str
    message:
      description: What is wrong.
      type: str
    fix:
      description: What to do about it.
      type: str
    consumer:
      description: Name of the consumer, empty for what concerns them all.
      type: str
"""


def ceph_consumer_findings(ceph: t.Any, *, clusters: t.Any = None, facts: t.Any = None) -> list[dict[str, str]]:
    """Return what is wrong; see DOCUMENTATION."""
    try:
        known = facts_.parse(plain(facts)) if facts else None
        names = None if clusters is None else [str(one) for one in clusters]
        found = findings.judge(plain(ceph), known, clusters=names)[1]
    except HackspaceError as error:
        raise AnsibleFilterError(f"ceph_consumer_findings: {error}") from error
    return [one.as_dict() for one in found]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"ceph_consumer_findings": ceph_consumer_findings}
