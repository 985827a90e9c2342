# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: one report from everything that was checked."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError
from ..module_utils._graph.check_report import Checked, report

DOCUMENTATION = r"""
name: check_report
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: One report from everything that was checked
description:
  - Joins the results of C(inventory_findings), M(hackspace.infra.openbao_seal_info), M(hackspace.infra.openbao_info),
    M(hackspace.infra.openbao_shares),
    M(hackspace.infra.kube_info), M(hackspace.infra.jwt_reviewer_info), M(hackspace.infra.flux_info),
    M(hackspace.infra.tenants_info) into one list of findings and lines for people.
  - The role C(platform_checks) uses it.
positional: _input
options:
  _input:
    description:
      - A mapping with any of C(inventory) (list of findings), C(seal), C(openbao), C(shares), C(clusters), C(reviewers)
        (results of the modules), C(flux), C(tenants) (results of the modules by cluster) and C(not_checked) (list of
        C(what) and C(why)).
    type: dict
    required: true
  name:
    description: Name of the site.
    type: str
    default: ""
  accept:
    description: Findings that are known and meant. Each has C(id), optionally C(item) with wildcards, and C(reason).
    type: list
    elements: dict
    default: []
  fail_on:
    description: Severities whose findings are named in C(failing).
    type: list
    elements: str
    default: [error]
"""

EXAMPLES = r"""
- name: Show the report
  ansible.builtin.debug:
    msg: "{{ ({'openbao': openbao} | hackspace.infra.check_report).lines }}"
"""

RETURN = r"""
_value:
  description: The report.
  type: dict
  contains:
    findings:
      description: Findings that were not accepted, the most severe first. Each has id, severity, item, message and fix.
      type: list
      elements: dict
    accepted:
      description: Findings that were accepted, with their reason.
      type: list
      elements: dict
    not_checked:
      description: What could not be checked, and why.
      type: list
      elements: dict
    counts:
      description: Number of findings by severity.
      type: dict
    failing:
      description: Ids of the findings whose severity is in O(fail_on).
      type: list
      elements: str
    lines:
      description: The report for people.
      type: list
      elements: str
"""


def check_report(checked: t.Any, name: str = "", accept: t.Any = None, fail_on: t.Any = None) -> dict[str, t.Any]:
    """Return the report; see DOCUMENTATION."""
    if not isinstance(checked, t.Mapping):
        raise AnsibleFilterError("check_report: the input is not a mapping.")
    try:
        return report(
            Checked(
                inventory=checked.get("inventory"),
                seal=checked.get("seal"),
                openbao=checked.get("openbao"),
                shares=checked.get("shares"),
                clusters=checked.get("clusters"),
                reviewers=checked.get("reviewers"),
                flux=checked.get("flux"),
                tenants=checked.get("tenants"),
                not_checked=checked.get("not_checked") or (),
            ),
            name=name,
            accept=accept or [],
            fail_on=["error"] if fail_on is None else fail_on,
        )
    except HackspaceError as error:
        raise AnsibleFilterError(f"check_report: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"check_report": check_report}
