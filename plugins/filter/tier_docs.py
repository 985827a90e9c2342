# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the page that tells what a table of namespace tiers says."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError
from ..module_utils._tiers.findings import Target, findings, refusals
from ..module_utils._tiers.model import merged, parse, plain
from ..module_utils._tiers.page import Page, render_page
from ..module_utils._tiers.policies import Backends

DOCUMENTATION = r"""
name: tier_docs
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: The page that tells what a table of namespace tiers says
description:
  - Renders a page in Markdown for those who run a cluster and those who work in it. For each namespace tier it says
    whom it is for, class and value, whose pods it displaces, LimitRange, ResourceQuota, what is put into pods, and who
    may create a namespace in it; then opt-outs, who may set them, what becomes of a container without requests, and
    examples.
  - The same table always gives the same page. A comment in it holds a digest of table and backends, so that a page that
    was made from another table can be told.
  - A table with errors (see C(tier_findings)) is refused.
positional: _input
options:
  _input:
    description:
      - The table of namespace tiers, as in C(platform_tiers). With C(base), V(default) or V(service_levels), it starts
        from a table that comes with the collection, and what else is given goes over that.
    type: dict
    required: true
  limits:
    description: Where LimitRange and ResourceQuota come from, as for C(tier_policies).
    type: str
    choices: [static, kyverno]
    default: kyverno
  pods:
    description: What changes pods, as for C(tier_policies).
    type: str
    choices: [native, kyverno]
    default: kyverno
  guards:
    description: What refuses, as for C(tier_policies).
    type: str
    choices: [native, kyverno]
    default: kyverno
  title:
    description: Title of the page.
    type: str
    default: Namespace tiers
  comment:
    description: What stands in a comment at the top of the page, as a licence.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Write the page
  ansible.builtin.copy:
    content: "{{ platform_tiers | hackspace.infra.tier_docs(title='Namespace tiers of member-prod') }}"
    dest: "{{ playbook_dir }}/docs/namespace_tiers.md"
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The page.
  type: str
"""


def tier_docs(
    table: t.Any,
    *,
    limits: str = "kyverno",
    pods: str = "kyverno",
    guards: str = "kyverno",
    title: str = "Namespace tiers",
    comment: str = "",
) -> str:
    """Return the page; see DOCUMENTATION."""
    try:
        written = merged(plain(table))
        parsed = parse(written)
        backends = Backends(limits, pods, guards)
        wrong = refusals(findings(parsed, Target(backends=backends)))
        if wrong:
            raise AnsibleFilterError(f"tier_docs: {' '.join(wrong)}")
        return render_page(parsed, written, backends, Page(str(title), str(comment)))
    except HackspaceError as error:
        raise AnsibleFilterError(f"tier_docs: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"tier_docs": tier_docs}
