#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: namespace_tiers
short_description: Apply a table of namespace tiers to a cluster
version_added: 0.1.0
author:
  - hackspace.infra contributors (@hackspace)
description:
  - Brings a cluster to what one table of namespace tiers says - PriorityClasses, LimitRanges and ResourceQuotas, what
    is put into pods, what is refused, credentials - in one call.
  - Judges the table against the cluster, compiles it for the backends, asks the server about everything that seems to
    differ (dry run), and writes nothing if anything is wrong.
  - Applies in order, waits until the policies are ready, and only then deletes what they replace, so that a change of
    backends leaves no moment in which nothing guards. A run that is cut off is finished by the next one.
  - Keeps the table that was applied in the ConfigMap C(namespace-tiers-table), key C(table), in the namespace of the
    inventory.
notes:
  - Run it on the controller, with C(connection=local) or C(delegate_to=localhost).
  - With policies as backend of the limits, the number of requests does not depend on the number of namespaces.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - hackspace.infra._kube
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_kube
  - hackspace.infra._attributes.ownership
options:
  table:
    description:
      - The table of namespace tiers, as in C(platform_tiers). With C(base), V(default) or V(service_levels), it starts
        from a table that comes with the collection, and what else is given goes over that.
    type: dict
    required: true
  limits:
    description:
      - Where LimitRange and ResourceQuota come from. V(kyverno) generates them for every namespace that appears,
        V(static) applies manifests for the namespaces there are now.
      - V(auto) is V(kyverno) where Kyverno is installed.
    type: str
    choices: [auto, static, kyverno]
    default: auto
  pods:
    description:
      - What changes pods when they are created. V(native) runs inside the API server and needs Kubernetes 1.36.
      - V(auto) is V(kyverno) where Kyverno is installed.
    type: str
    choices: [auto, native, kyverno]
    default: auto
  guards:
    description:
      - What refuses. V(native) runs inside the API server, needs Kubernetes 1.30, and works while Kyverno is down.
      - V(auto) is V(kyverno) where Kyverno is installed.
    type: str
    choices: [auto, native, kyverno]
    default: auto
  kyverno_version:
    description: Version of Kyverno, as V(1.19.1). By default that of the admission controller's image.
    type: str
    default: ""
  strict:
    description: Whether what older versions of Kyverno do wrong is an error instead of a warning.
    type: bool
    default: false
  inventory:
    description: Name under which the objects are owned.
    type: str
    default: namespace-tiers
  inventory_namespace:
    description: Namespace of the ownership record and of the table that is kept. It must exist.
    type: str
    default: kube-system
  replace_priority_classes:
    description:
      - Delete and make again a PriorityClass whose value or preemption changes, as Kubernetes changes neither.
      - Pods that run keep their number until they are made again.
    type: bool
    default: false
  close_break_glass:
    description:
      - Also bring back what M(hackspace.infra.namespace_tiers_break_glass) has opened in policies of the API server.
        Without it, that stays open, with a warning.
      - PolicyExceptions and webhooks of Kyverno stay open all the same, with a warning.
    type: bool
    default: false
  force_conflicts:
    description:
      - Take over fields that another field manager has set to another value.
      - Without it the module fails and names the fields and their managers.
    type: bool
    default: false
  wait:
    description: Wait until the policies are ready. What they replace is deleted only afterwards.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait, in all.
    type: int
    default: 120
seealso:
  - module: hackspace.infra.kube_apply
  - module: hackspace.infra.namespace_tiers_break_glass
  - module: hackspace.infra.namespace_tiers_reconcile
"""

EXAMPLES = r"""
- name: See what would change
  hackspace.infra.namespace_tiers:
    kubeconfig: ~/.kube/member-prod
    table: {base: default}
  check_mode: true
  diff: true

- name: Apply the namespace tiers without Kyverno
  hackspace.infra.namespace_tiers:
    kubeconfig: ~/.kube/member-prod
    table: "{{ platform_tiers }}"
    limits: static
    pods: native
    guards: native
    prune: true

- name: Give a class another number
  hackspace.infra.namespace_tiers:
    kubeconfig: ~/.kube/member-prod
    table: "{{ platform_tiers }}"
    replace_priority_classes: true
"""

RETURN = r"""
changes:
  description: One line per change, in the order of application.
  returned: success
  type: list
  elements: dict
  sample: [{kind: LimitRange, name: 4-aux-wiki/tier-defaults, action: create, why: ""}]
unchanged:
  description: Number of wanted objects that are as wanted.
  returned: success
  type: int
  sample: 31
foreign:
  description: Objects that belonged to somebody else, and to whom.
  returned: always when there are some
  type: list
  elements: str
stale:
  description: Objects that are no longer wanted and are kept, and why.
  returned: success
  type: list
  elements: str
  sample: ["MutatingPolicy.policies.kyverno.io tier-pod-defaults (prune is off)"]
backends:
  description: What does what - C(limits), C(pods) and C(guards).
  returned: success
  type: dict
  sample: {limits: static, pods: native, guards: native}
versions:
  description: Versions of C(kubernetes) and C(kyverno); empty if it is not known.
  returned: success
  type: dict
failure_policies:
  description: For each policy C(kind), C(name), C(backend), C(failure_policy) and C(when_down).
  returned: success
  type: list
  elements: dict
webhooks:
  description: Kyverno's webhooks, with C(configuration), C(webhook) and C(failure_policy).
  returned: success, if a backend is Kyverno
  type: list
  elements: dict
namespaces:
  description: Number of namespaces in each namespace tier.
  returned: success, with static limits
  type: dict
  sample: {4-aux: 12, excluded: 7, untiered: 1}
classes_replaced:
  description: PriorityClasses that were deleted and made again.
  returned: success
  type: list
  elements: str
break_glass:
  description:
    - Where the glass is broken after the run, or in check mode before it, with C(what), C(since), C(until), C(reason)
      and C(overdue).
  returned: success
  type: list
  elements: dict
waited:
  description: Policies that were not ready at first.
  returned: when O(wait) is set, outside check mode
  type: list
  elements: str
findings:
  description: Everything that is wrong with the table, as the filter C(tier_findings) returns it.
  returned: when the table is wrong
  type: list
  elements: dict
classes:
  description: Classes that would have to be replaced, and what differs.
  returned: when that is not allowed
  type: list
  elements: str
missing:
  description: The right that the login lacks, with C(verb), C(resource) and C(namespace).
  returned: when a right is missing
  type: dict
would_delete:
  description: What pruning would delete.
  returned: when pruning is refused
  type: list
  elements: str
not_ready:
  description: Every object that is not ready, and why.
  returned: when waiting failed
  type: list
  elements: str
refused:
  description: Every object that the server's dry run refused, if there are several.
  returned: on several refusals
  type: list
  elements: dict
requests:
  description: Number of requests sent to the API server.
  returned: success
  type: int
  sample: 17
"""

import dataclasses
import datetime
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import CONNECTION_SPEC, client_of
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    OWNERSHIP,
    ArgumentSpec,
    plan_result,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._kube.plan import Options
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import apply as applying

SPEC = CONNECTION_SPEC.merge(OWNERSHIP).merge(
    ArgumentSpec(
        options={
            "table": {"type": "dict", "required": True},
            "limits": {"type": "str", "choices": ["auto", "static", "kyverno"], "default": "auto"},
            "pods": {"type": "str", "choices": ["auto", "native", "kyverno"], "default": "auto"},
            "guards": {"type": "str", "choices": ["auto", "native", "kyverno"], "default": "auto"},
            "kyverno_version": {"type": "str", "default": ""},
            "strict": {"type": "bool", "default": False},
            "inventory": {"type": "str", "default": "namespace-tiers"},
            "inventory_namespace": {"type": "str", "default": "kube-system"},
            "replace_priority_classes": {"type": "bool", "default": False},
            "close_break_glass": {"type": "bool", "default": False},
            "force_conflicts": {"type": "bool", "default": False},
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 120},
        }
    )
)


def main(module: AnsibleModule) -> dict[str, t.Any]:
    """Plan, and outside check mode apply."""
    params = module.params
    request = applying.Request(
        table=params["table"],
        inventory=(params["inventory"], params["inventory_namespace"]),
        backends={name: params[name] for name in ("limits", "pods", "guards")},
        kyverno=params["kyverno_version"],
        strict=params["strict"],
        options=Options(
            adopt=params["adopt"],
            prune=params["prune"],
            prune_max_percent=params["prune_max_percent"],
            force_conflicts=params["force_conflicts"],
        ),
        replace_classes=params["replace_priority_classes"],
        close_break_glass=params["close_break_glass"],
    )
    extra: dict[str, t.Any] = {}
    with client_of(params) as api:
        made = applying.prepare(api, request)
        if not module.check_mode:
            waited = applying.execute(api, made, timeout=float(params["wait_timeout"]), wait=params["wait"])
            if params["wait"]:
                extra["waited"] = waited
        extra["requests"] = api.requests
    now = datetime.datetime.now(datetime.UTC)
    return plan_result(
        module,
        made.plan,
        stale=made.stale,
        backends=dataclasses.asdict(made.backends),
        versions={"kubernetes": made.kubernetes, "kyverno": made.kyverno},
        failure_policies=[dict(one) for one in made.compiled.failure_policies],
        break_glass=[one.as_dict(now) for one in (made.open_ if module.check_mode else made.staying)],
        **made.report,
        **extra,
    )


if __name__ == "__main__":
    run(SPEC, main)
