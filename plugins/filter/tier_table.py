# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: a table of namespace tiers, complete."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError
from ..module_utils._tiers.model import merged, parse, plain

DOCUMENTATION = r"""
name: tier_table
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: A table of namespace tiers with its base filled in
description:
  - Returns the table as it could be written without C(base), after checking keys and types.
  - C(tier_findings) says what is wrong with the values, C(tier_policies) compiles the table.
positional: _input
options:
  _input:
    description:
      - The table of namespace tiers, as in C(platform_tiers). With C(base), V(default) or V(service_levels), it starts
        from a table that comes with the collection, and what else is given goes over that.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the table that comes with the collection
  ansible.builtin.debug:
    msg: "{{ {'base': 'default'} | hackspace.infra.tier_table }}"

- name: Show it with another quota
  ansible.builtin.debug:
    msg: >-
      {{ {'base': 'default', 'tiers': [{'name': '4-aux', 'quota': {'hard': {'pods': '40'}}}]}
      | hackspace.infra.tier_table }}
"""

RETURN = r"""
_value:
  description: The table.
  type: dict
"""


def tier_table(table: t.Any) -> dict[str, t.Any]:
    """Return the table; see DOCUMENTATION."""
    try:
        value = plain(table)
        parse(value)
        return merged(value)
    except HackspaceError as error:
        raise AnsibleFilterError(f"tier_table: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"tier_table": tier_table}
