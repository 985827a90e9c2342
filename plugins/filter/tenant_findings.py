# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what is wrong with the declarations of tenants."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError, check
from ..module_utils._tenants.findings import judge
from ..module_utils._tenants.profile import parse
from ..module_utils._tiers.model import parse as parse_table
from ..module_utils._tiers.model import plain

DOCUMENTATION = r"""
name: tenant_findings
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: What is wrong with the declarations of tenants
description:
  - Checks all declarations against the schema C(docs/tenant.schema.json), what the platform offers, and each other, and
    returns everything that is wrong at once. A file that breaks the schema is one finding.
  - Asks no server.
positional: _input
options:
  _input:
    description: Texts of the files by path. What is hidden, begins with C(_) or is no YAML file is left out.
    type: dict
    required: true
  platform:
    description: What the platform offers, as in C(platform_tenants).
    type: dict
    default: {}
  label_domain:
    description: Domain of labels and annotations.
    type: str
    default: infra.hackspace.org
  clusters:
    description: Clusters that there are. C(clusters) of O(platform) goes before it. Not checked if both are empty.
    type: list
    elements: str
    default: []
  tiers:
    description: The table of namespace tiers, as in C(platform_tiers), to look whether it agrees.
    type: dict
    default: {}
  today:
    description: The day, as V(2026-12-31). Without it, approvals do not expire.
    type: str
    default: ""
  known:
    description:
      - Tenants that are there already. Where a newcomer wants what one of them has, the error is the newcomer's alone.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Stop if a declaration is wrong
  ansible.builtin.assert:
    that: findings | selectattr('level', 'equalto', 'error') | length == 0
    fail_msg: "{{ findings | map(attribute='message') | join('; ') }}"
  vars:
    findings: >-
      {{ {'tenants/alice.yaml': lookup('ansible.builtin.file', 'tenants/alice.yaml')} |
      hackspace.infra.tenant_findings(platform=platform_tenants, clusters=['member-prod']) }}
"""

RETURN = r"""
_value:
  description: One entry per breach, by file and place. Empty if all is right.
  type: list
  elements: dict
  contains:
    item:
      description: File and place in it.
      type: str
      sample: "tenants/alice.yaml: domains[0].reason"
    rule:
      description: Name of the rule.
      type: str
      sample: unique-domain
    level:
      description: V(error) or V(warning).
      type: str
    message:
      description: What is wrong.
      type: str
    fix:
      description: What to do about it.
      type: str
    file:
      description: The file, or C(platform_tenants).
      type: str
    path:
      description: The place in it.
      type: str
    tenant:
      description: The tenant, by the name of the file where it could not be read.
      type: str
"""


def tenant_findings(
    files: t.Any,
    *,
    platform: t.Any = None,
    label_domain: str = "infra.hackspace.org",
    clusters: t.Any = None,
    tiers: t.Any = None,
    today: str = "",
    known: t.Any = None,
) -> list[dict[str, str]]:
    """Return what is wrong; see DOCUMENTATION."""
    try:
        check(isinstance(files, t.Mapping), "is no mapping.", item="files", rule="type", fix="give path: text.")
        found = judge(
            plain(files),
            parse(plain(platform or {}), label_domain=str(label_domain)),
            clusters=plain(clusters or []),
            table=parse_table(plain(tiers)) if tiers else None,
            today=str(today),
            known=plain(known or []),
        )
    except HackspaceError as error:
        raise AnsibleFilterError(f"tenant_findings: {error}") from error
    return [one.as_dict() for one in found.findings]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"tenant_findings": tenant_findings}
