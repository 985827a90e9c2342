# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the cluster id that Rook reckons."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError, check
from ..module_utils._rook import names

DOCUMENTATION = r"""
name: rook_cluster_id
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: The cluster id that Rook reckons for a RADOS namespace or a subvolume group
description:
  - Rook up to 1.17 can't be told the cluster id by which ceph-csi knows a RADOS namespace or a subvolume group. It
    makes one of the names, and later versions do so where they are not told. This is that id, without a look at the
    cluster, for StorageClasses and PersistentVolumes that are written by hand.
  - The consumers of C(platform_ceph) have ids that can be read, as soon as their Rook is 1.18 or newer.
positional: _input
options:
  _input:
    description: Name of the RADOS namespace, or of the subvolume group.
    type: str
    required: true
  namespace:
    description: Namespace of the CephCluster.
    type: str
    default: rook-ceph
  pool:
    description: Pool of the RADOS namespace. Either this or O(filesystem).
    type: str
  filesystem:
    description: CephFS of the subvolume group.
    type: str
"""

EXAMPLES = r"""
- name: Show the cluster id of the RADOS namespace prod
  ansible.builtin.debug:
    msg: "{{ 'prod' | hackspace.infra.rook_cluster_id(pool='vm-prod') }}"
"""

RETURN = r"""
_value:
  description: The cluster id, 32 hexadecimal digits.
  type: str
"""


def rook_cluster_id(
    name: t.Any, *, namespace: str = "rook-ceph", pool: str | None = None, filesystem: str | None = None
) -> str:
    """Return the id; see DOCUMENTATION."""
    try:
        check(
            bool(pool) != bool(filesystem),
            "one of the two is needed.",
            item="pool, filesystem",
            rule="one-place",
            fix="give the pool of a RADOS namespace, or the CephFS of a subvolume group.",
        )
    except HackspaceError as error:
        raise AnsibleFilterError(f"rook_cluster_id: {error}") from error
    if pool:
        return names.block_default_id(str(namespace), str(pool), str(name))
    return names.files_default_id(str(namespace), str(filesystem), str(name))


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"rook_cluster_id": rook_cluster_id}
