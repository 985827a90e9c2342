# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the table of namespace tiers that classic Kyverno policies amount to."""

from __future__ import annotations

import typing as t

import yaml
from ansible.errors import AnsibleFilterError

from ..module_utils._tiers.classic import read
from ..module_utils._tiers.model import plain

DOCUMENTATION = r"""
name: tier_import
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: The table of namespace tiers that classic Kyverno policies amount to
description:
  - Reads C(kyverno.io/v1) policies, which Kyverno 1.20 no longer accepts, with the PriorityClasses they name, and
    returns a table for C(tier_policies).
  - Understood are generated LimitRanges and ResourceQuotas, injected PriorityClasses and C(ndots), cloned Kubernetes
    Secrets, opt-out labels and exclusions. Every other rule is listed with the reason.
  - Check the table with C(tier_findings) before it is used.
positional: _input
options:
  _input:
    description: ClusterPolicies, Policies and PriorityClasses. Other objects are passed by.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the table that the old policies amount to
  ansible.builtin.debug:
    msg: "{{ lookup('ansible.builtin.file', 'old.yml') | from_yaml_all | list | hackspace.infra.tier_import }}"
"""

RETURN = r"""
_value:
  description: What was read.
  type: dict
  contains:
    table:
      description: The table, as in C(platform_tiers).
      type: dict
    unread:
      description: Rules that a table cannot say, with C(policy), C(rule) and C(why).
      type: list
      elements: dict
"""


def tier_import(objects: t.Any) -> dict[str, t.Any]:
    """Return the table; see DOCUMENTATION."""
    value = plain(objects)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value if one is not None):
        raise AnsibleFilterError("tier_import: the input is no list of objects.")
    try:
        return read([one for one in value if one], yaml.safe_load)
    except (yaml.YAMLError, AttributeError, TypeError, KeyError) as error:
        raise AnsibleFilterError(f"tier_import: an object does not have the form of its kind: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"tier_import": tier_import}
