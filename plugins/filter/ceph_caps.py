# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: caps of Ceph users as sets of grants."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ..module_utils._ceph import caps as grants
from ..module_utils._core.errors import HackspaceError, check

DOCUMENTATION = r"""
name: ceph_caps
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: Caps of Ceph users as sets of grants, or the difference of two
description:
  - Reads caps as M(hackspace.infra.ceph_clients) takes them and as M(hackspace.infra.ceph_info) returns them, and
    returns them in one form, in which the order, spaces and quotes of the text make no difference.
  - With O(other), returns what is to be added and taken away so that they become those.
positional: _input, other
options:
  _input:
    description: By kind of daemon (C(mon), C(mgr), C(osd), C(mds)), a text or a list of grants.
    type: dict
    required: true
  other:
    description: Caps to compare with.
    type: dict
"""

EXAMPLES = r"""
- name: Show what a user may do, grant by grant
  ansible.builtin.debug:
    msg: "{{ {'osd': 'profile rbd pool=b, profile rbd pool=a'} | hackspace.infra.ceph_caps }}"

- name: Refuse to go on if a user may do more than is declared
  ansible.builtin.assert:
    that: (declared | hackspace.infra.ceph_caps(ceph.users['client.x'].caps)).added == {}
"""

RETURN = r"""
_value:
  description:
    - By kind of daemon, a sorted list of grants.
    - With O(other) C(same), and C(added) and C(removed) by kind of daemon.
  type: dict
"""


def ceph_caps(value: t.Any, other: t.Any = None) -> dict[str, t.Any]:
    """Return the caps, or the difference; see DOCUMENTATION."""
    try:
        found = [_parsed(one, name) for one, name in ((value, "caps"), (other, "other")) if one is not None]
    except HackspaceError as error:
        raise AnsibleFilterError(f"ceph_caps: {error}") from error
    if other is None:
        return dict(grants.lists(found[0]))
    difference = grants.diff(found[0], found[1])
    return {
        "same": not difference,
        "added": {daemon: list(texts) for daemon, texts in difference.added.items()},
        "removed": {daemon: list(texts) for daemon, texts in difference.removed.items()},
    }


def _parsed(value: t.Any, name: str) -> dict[str, grants.Grants]:
    check(
        isinstance(value, Mapping),
        "caps are given by kind of daemon.",
        item=name,
        rule="caps-mapping",
        fix="write for instance {'mon': 'profile rbd'}.",
    )
    return grants.parse(value, name)


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"ceph_caps": ceph_caps}
