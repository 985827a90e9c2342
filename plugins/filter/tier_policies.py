# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: namespace tiers as Kubernetes objects."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError
from ..module_utils._tiers.findings import Target, findings, refusals, version, warned
from ..module_utils._tiers.model import parse, plain
from ..module_utils._tiers.policies import Backends, render
from ..module_utils._tiers.resolve import of_any

DOCUMENTATION = r"""
name: tier_policies
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: Namespace tiers as Kubernetes objects
description:
  - Compiles the table into PriorityClasses, LimitRanges and ResourceQuotas, policies and the rights that these need, to
    be applied with M(hackspace.infra.kube_apply). The same table always gives the same objects.
  - Pods get the class of their namespace tier (or that for accelerators), C(ndots) and no CPU limits, when they are
    created and where they say nothing themselves.
  - Refused are pods that name a class above their namespace tier, changes of the labels and the annotation that decide
    about limits by others than platform groups, and labels that contradict the name.
  - Registry credentials and TLS certificates are read from OpenBao by External Secrets, or cloned by Kyverno.
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
  namespaces:
    description: Known namespaces, by name or as objects. Used with O(limits=static).
    type: list
    elements: raw
    default: []
"""

EXAMPLES = r"""
- name: Apply the namespace tiers to member-prod
  hackspace.infra.kube_apply:
    kubeconfig: ~/.kube/member-prod
    inventory: {name: namespace-tiers, namespace: kube-system}
    objects: "{{ (platform_tiers | hackspace.infra.tier_policies(kyverno_version='1.19.1')).objects }}"

- name: Show what needs no Kyverno at all
  ansible.builtin.debug:
    msg: >-
      {{ {'base': 'default'} | hackspace.infra.tier_policies(limits='static', pods='native', guards='native',
      namespaces=['4-aux-wiki', '3-edge-web']) }}
"""

RETURN = r"""
_value:
  description: What the table becomes.
  type: dict
  contains:
    objects:
      description: Kubernetes objects in the order in which to apply them.
      type: list
      elements: dict
    failure_policies:
      description: For each policy C(kind), C(name), C(backend), C(failure_policy) and C(when_down).
      type: list
      elements: dict
    warnings:
      description: What is not wrong and should be known.
      type: list
      elements: str
"""


def tier_policies(
    table: t.Any,
    *,
    limits: str = "kyverno",
    pods: str = "kyverno",
    guards: str = "kyverno",
    kubernetes_version: str = "",
    kyverno_version: str = "",
    strict: bool = False,
    namespaces: t.Any = None,
) -> dict[str, t.Any]:
    """Return the objects; see DOCUMENTATION."""
    try:
        parsed = parse(plain(table))
        backends = Backends(limits, pods, guards)
        target = Target(
            backends=backends,
            kubernetes=version(kubernetes_version, "kubernetes_version"),
            kyverno=version(kyverno_version, "kyverno_version"),
            strict=strict,
        )
        found = findings(parsed, target)
        wrong = refusals(found)
        if wrong:
            raise AnsibleFilterError(f"tier_policies: {' '.join(wrong)}")
        known = [of_any(parsed, one) for one in plain(namespaces or [])]
        result = render(parsed, backends, known).as_dict()
    except HackspaceError as error:
        raise AnsibleFilterError(f"tier_policies: {error}") from error
    result["warnings"] += warned(found)
    return result


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"tier_policies": tier_policies}
