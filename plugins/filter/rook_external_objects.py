# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the Kubernetes objects by which Rook uses an external Ceph cluster."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError
from ..module_utils._rook import facts as facts_
from ..module_utils._rook import findings, objects
from ..module_utils._tiers.model import plain

DOCUMENTATION = r"""
name: rook_external_objects
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: The Kubernetes objects by which Rook uses an external Ceph cluster
description:
  - Renders, for every consumer in C(platform_ceph), what its cluster needs next to Rook's operator. These are the
    namespace and its access rules, the ConfigMap with all monitors, the CephCluster, a custom resource for each RADOS
    namespace and subvolume group, the StorageClasses and the classes of snapshots.
  - No object holds a Ceph key. The Kubernetes Secrets are made by M(hackspace.infra.rook_consumers).
  - The output is the same for the same input. Cluster ids and names of Secrets never change with a key.
  - What is wrong with the consumers is an error, as P(hackspace.infra.ceph_consumer_findings#filter) finds it.
positional: _input
options:
  _input:
    description: C(platform_ceph).
    type: dict
    required: true
  monitors:
    description: The monitors as Ceph has them. All of them are given to consumers.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the monitor.
        type: str
        required: true
      v1:
        description: C(address:port) of the first protocol, an IPv6 address in brackets.
        type: str
      v2:
        description: C(address:port) of the second protocol.
        type: str
  consumer:
    description: Name of one consumer. All of them without it.
    type: str
"""

EXAMPLES = r"""
- name: Show what member-prod gets
  ansible.builtin.debug:
    msg: >-
      {{ platform_ceph | hackspace.infra.rook_external_objects(consumer='member-prod',
      monitors=[{'name': 'pve1', 'v1': '10.20.0.11:6789', 'v2': '10.20.0.11:3300'}]) }}
"""

RETURN = r"""
_value:
  description: Objects by name of the consumer, in the order in which to apply them.
  type: dict
"""


def rook_external_objects(
    ceph: t.Any, *, monitors: t.Any, consumer: str | None = None
) -> dict[str, list[dict[str, t.Any]]]:
    """Return the objects; see DOCUMENTATION."""
    try:
        known = facts_.parse({"monitors": plain(monitors)})
        read, found = findings.judge(plain(ceph))
        findings.refuse(found)
        if read is None:
            return {}
        chosen = [read.named(str(consumer))] if consumer is not None else read.consumers
        return {one.name: objects.render(one, known.known()) for one in chosen if not one.absent}
    except HackspaceError as error:
        raise AnsibleFilterError(f"rook_external_objects: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"rook_external_objects": rook_external_objects}
