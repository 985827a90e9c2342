# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: to which namespace tier a namespace belongs."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError
from ..module_utils._tiers.model import parse, plain
from ..module_utils._tiers.resolve import of_any

DOCUMENTATION = r"""
name: tier_of
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: To which namespace tier a namespace belongs, and why
description:
  - Asks the sources of the table in their order (explicit map, label, prefix of the name) and returns what the first
    says, together with what speaks against it.
  - The policies that C(tier_policies) renders decide in the same way.
positional: _input, table
options:
  _input:
    description: Name of a namespace, a Namespace object, or a list of them.
    type: raw
    required: true
  table:
    description: The table of namespace tiers, as in C(platform_tiers).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the namespace tier of one namespace
  ansible.builtin.debug:
    msg: "{{ ('4-aux-wiki' | hackspace.infra.tier_of({'base': 'default'})).tier }}"

- name: Show namespaces whose sources disagree
  ansible.builtin.debug:
    msg: "{{ namespaces | hackspace.infra.tier_of(platform_tiers) | selectattr('conflicts') }}"
"""

RETURN = r"""
_value:
  description: One mapping for a namespace, a list of them for a list.
  type: raw
  contains:
    namespace:
      description: Name of the namespace.
      type: str
    tier:
      description: Name of the namespace tier; V(untiered); empty if the namespace is excluded.
      type: str
    tiered:
      description: Whether it has a namespace tier.
      type: bool
    source:
      description: V(map), V(label), V(prefix), V(fallback) or V(excluded).
      type: str
    sources:
      description: What each source says.
      type: dict
    conflicts:
      description: Sentences about sources that disagree.
      type: list
      elements: str
    custom_limit_range:
      description: Whether the namespace opted out of the LimitRange.
      type: bool
    custom_quota:
      description: Whether the namespace opted out of the ResourceQuota.
      type: bool
    hold:
      description: Value of the annotation by which an operator holds the namespace.
      type: str
"""


def tier_of(namespaces: t.Any, table: t.Any) -> t.Any:
    """Return what is known; see DOCUMENTATION."""
    try:
        parsed = parse(plain(table))
    except HackspaceError as error:
        raise AnsibleFilterError(f"tier_of: {error}") from error
    value = plain(namespaces)
    if isinstance(value, list):
        return [of_any(parsed, one).as_dict() for one in value]
    return of_any(parsed, value).as_dict()


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"tier_of": tier_of}
