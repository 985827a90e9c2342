# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what is wrong with a table of namespace tiers."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError
from ..module_utils._tiers.findings import Target, judge, version
from ..module_utils._tiers.model import plain
from ..module_utils._tiers.policies import Backends

DOCUMENTATION = r"""
name: tier_findings
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: What is wrong with a table of namespace tiers
description:
  - Checks a table against rules each of which is a failure that somebody had, and returns everything that is wrong at
    once. Wrong keys and types are one finding, and then the only one.
  - With live objects, it also looks at nodes, namespaces, classes, and at who else owns the limits; with policies, it
    also says what is wrong with those, classic ones too.
positional: _input
options:
  _input:
    description:
      - The table of namespace tiers, as in C(platform_tiers). With C(base), V(default) or V(service_levels), it starts
        from a table that comes with the collection, and what else is given goes over that.
    type: dict
    required: true
  limits:
    description:
      - Where LimitRange and ResourceQuota come from. V(kyverno) generates them for every namespace that appears,
        V(static) renders manifests for known namespaces and needs nothing on the cluster.
    type: str
    choices: [static, kyverno]
    default: kyverno
  pods:
    description:
      - What changes pods when they are created. V(native) runs inside the API server and needs Kubernetes 1.36.
    type: str
    choices: [native, kyverno]
    default: kyverno
  guards:
    description:
      - What refuses. V(native) runs inside the API server, needs Kubernetes 1.30, and works while Kyverno is down.
    type: str
    choices: [native, kyverno]
    default: kyverno
  kubernetes_version:
    description: Version of the cluster, as V(1.36.3). What depends on it is not checked without.
    type: str
    default: ""
  kyverno_version:
    description: Version of Kyverno on the cluster, as V(1.19.1). What depends on it is not checked without.
    type: str
    default: ""
  strict:
    description: Whether what older versions of Kyverno do wrong is an error instead of a warning.
    type: bool
    default: false
  objects:
    description: Live objects. Looked at are Node, Namespace, PriorityClass, LimitRange and ResourceQuota.
    type: list
    elements: dict
    default: []
  policies:
    description: Kyverno policies and admission policies to look at.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Stop if the table is wrong
  ansible.builtin.assert:
    that: findings | selectattr('severity', 'equalto', 'error') | length == 0
    fail_msg: "{{ findings | map(attribute='message') | join('; ') }}"
  vars:
    findings: "{{ platform_tiers | hackspace.infra.tier_findings(kyverno_version='1.19.1') }}"
"""

RETURN = r"""
_value:
  description: One entry per breach, errors first. Empty if the table is right.
  type: list
  elements: dict
  contains:
    id:
      description: Name of the rule.
      type: str
      sample: quota-without-default
    severity:
      description: V(error) or V(warning).
      type: str
    item:
      description: Place in the table.
      type: str
      sample: tiers[4-aux].quota.hard.limits.memory
    tier:
      description: Name of the namespace tier; empty for what concerns the whole table.
      type: str
    field:
      description: Field in the namespace tier or the table.
      type: str
    message:
      description: What is wrong, with namespace tier and field.
      type: str
    fix:
      description: What to do about it.
      type: str
"""


def tier_findings(
    table: t.Any,
    *,
    limits: str = "kyverno",
    pods: str = "kyverno",
    guards: str = "kyverno",
    kubernetes_version: str = "",
    kyverno_version: str = "",
    strict: bool = False,
    objects: t.Any = None,
    policies: t.Any = None,
) -> list[dict[str, str]]:
    """Return what is wrong; see DOCUMENTATION."""
    try:
        target = Target(
            backends=Backends(limits, pods, guards),
            kubernetes=version(kubernetes_version, "kubernetes_version"),
            kyverno=version(kyverno_version, "kyverno_version"),
            objects=tuple(plain(objects or [])),
            policies=tuple(plain(policies or [])),
            strict=strict,
        )
        return [one.as_dict() for one in judge(plain(table), target)]
    except HackspaceError as error:
        raise AnsibleFilterError(f"tier_findings: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"tier_findings": tier_findings}
