# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what a consumer is to know of the monitors, and how it differs from what there is."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError
from ..module_utils._rook import facts as facts_
from ..module_utils._rook import monitors as mons
from ..module_utils._tiers.model import plain

DOCUMENTATION = r"""
name: rook_mon_endpoints
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: What Rook is to know of Ceph's monitors, and how it differs from what there is
description:
  - The ConfigMap C(rook-ceph-mon-endpoints) belongs to Rook's operator. It takes in new monitors and drops those out of
    quorum, but keeps the address of one whose name it knows, and learns nothing when none of its addresses answers.
  - Says what the ConfigMap is to hold. That is what it holds, unless one of these two is the case. Monitors on
    Proxmox VE are named after their machine, so that they keep their name when they move.
positional: _input
options:
  _input:
    description: The monitors as Ceph has them.
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
  current:
    description: What the ConfigMap holds now. Without it, all monitors are rendered.
    type: str
  msgr2:
    description: Monitors are reached by their second protocol.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Show whether a consumer must be told that a monitor has moved
  ansible.builtin.debug:
    msg: >-
      {{ [{'name': 'pve1', 'v1': '10.20.0.21:6789', 'v2': '10.20.0.21:3300'}] |
      hackspace.infra.rook_mon_endpoints(current='pve1=10.20.0.11:3300') }}
"""

RETURN = r"""
_value:
  description: What the ConfigMap is to hold, and the difference.
  type: dict
  contains:
    data:
      description: Text for the key C(data).
      type: str
      sample: pve1=10.20.0.21:3300
    changed:
      description: Whether it differs from what there is.
      type: bool
    missing:
      description: Monitors that are not known.
      type: list
      elements: str
    extra:
      description: Known ones that Ceph doesn't have.
      type: list
      elements: str
    moved:
      description: By name, C(from) and C(to).
      type: dict
    protocol:
      description: By name, C(from) and C(to) of those that are reached by the other protocol.
      type: dict
    lost:
      description: Whether no known address is a monitor's.
      type: bool
"""


def rook_mon_endpoints(monitors: t.Any, *, current: str | None = None, msgr2: bool = True) -> dict[str, t.Any]:
    """Return text and difference; see DOCUMENTATION."""
    try:
        known = facts_.parse({"monitors": plain(monitors)}).known()
    except HackspaceError as error:
        raise AnsibleFilterError(f"rook_mon_endpoints: {error}") from error
    if current is None:
        return {
            "data": mons.render(mons.wanted(known, msgr2=bool(msgr2))),
            "changed": True,
            **mons.Drift().as_dict(),
        }
    text = mons.merged(str(current), known, msgr2=bool(msgr2))
    return {
        "data": text,
        "changed": text != str(current),
        **mons.drift(str(current), known, msgr2=bool(msgr2)).as_dict(),
    }


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"rook_mon_endpoints": rook_mon_endpoints}
