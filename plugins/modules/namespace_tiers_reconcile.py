#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: namespace_tiers_reconcile
short_description: Evict pods that missed what their namespace tier puts into them
version_added: 0.1.0
author:
  - hackspace.infra contributors (@hackspace)
description:
  - While Kyverno is down, as after a cold boot, pods come up without the class and the C(ndots) of their namespace
    tier, and neither can be put into a pod later. This module finds such pods and, when told to, evicts some, so that
    their controllers make them again.
  - Only pods of a ReplicaSet, StatefulSet, DaemonSet or ReplicationController are evicted, and only through the
    eviction API, which respects PodDisruptionBudgets. Never bare pods, and never those of a Job, which would take it
    for a failure; they end by themselves.
notes:
  - With O(evict), it refuses while no policy for pods is there, Kyverno has no available admission controller, or
    M(hackspace.infra.namespace_tiers_break_glass) has opened what changes pods. A Kyverno that is down without a
    Deployment that says so is not noticed; O(per_owner) keeps the harm small.
  - Run it again until nothing is left to be evicted. What does not get better, is named again by the next run.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - hackspace.infra._kube
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_kube
options:
  table:
    description: The table of namespace tiers that is applied.
    type: dict
    required: true
  evict:
    description: Evict. Without it, the module changes nothing and shows what it would evict, as in check mode.
    type: bool
    default: false
  grace:
    description: Pods younger than so many seconds are left alone.
    type: int
    default: 300
  max_pods:
    description: Evict at most so many pods in a run.
    type: int
    default: 10
  per_owner:
    description: Evict at most so many pods of one controller in a run.
    type: int
    default: 1
  namespaces:
    description: Only pods of these namespaces. All if empty.
    type: list
    elements: str
    default: []
seealso:
  - module: hackspace.infra.namespace_tiers
"""

EXAMPLES = r"""
- name: Which pods missed what their namespace tier puts into them?
  hackspace.infra.namespace_tiers_reconcile:
    kubeconfig: ~/.kube/member-prod
    table: "{{ platform_tiers }}"

- name: Evict up to 20 of them
  hackspace.infra.namespace_tiers_reconcile:
    kubeconfig: ~/.kube/member-prod
    table: "{{ platform_tiers }}"
    evict: true
    max_pods: 20
"""

RETURN = r"""
changes:
  description: One line per pod that is, or would be, evicted.
  returned: success
  type: list
  elements: dict
unchanged:
  description: Number of pods that missed something and are left alone.
  returned: success
  type: int
foreign:
  description: Always empty.
  returned: success
  type: list
  elements: str
pods:
  description: Every pod that missed something.
  returned: success
  type: list
  elements: dict
  contains:
    namespace:
      description: Its namespace.
      type: str
    name:
      description: Its name.
      type: str
    owner:
      description: The controller that makes it again; empty if there is none.
      type: str
      sample: ReplicaSet wiki-7d9f
    missing:
      description: What it missed.
      type: list
      elements: str
    skipped:
      description: Why it is left alone; empty if it is, or would be, evicted.
      type: str
      sample: younger than 300 s
missing:
  description: The right that the login lacks, with C(verb), C(resource) and C(namespace).
  returned: when a right is missing
  type: dict
requests:
  description: Number of requests sent to the API server.
  returned: success
  type: int
"""

import datetime
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import CONNECTION_SPEC, client_of
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, plan_result, run
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import ServerError, listed
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import reconcile
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.apply import denied
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import parse, plain

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "table": {"type": "dict", "required": True},
            "evict": {"type": "bool", "default": False},
            "grace": {"type": "int", "default": 300},
            "max_pods": {"type": "int", "default": 10},
            "per_owner": {"type": "int", "default": 1},
            "namespaces": {"type": "list", "elements": "str", "default": []},
        }
    )
)


def main(module: AnsibleModule) -> dict[str, t.Any]:
    """Find, and when told to evict."""
    params = module.params
    table = parse(plain(params["table"]))
    limits = reconcile.Limits(
        grace=params["grace"],
        cap=params["max_pods"],
        per_owner=params["per_owner"],
        namespaces=tuple(params["namespaces"]),
    ).checked()
    with client_of(params) as api:
        try:
            if params["evict"]:
                reconcile.check_ready(api, table)
            objects: list[dict[str, t.Any]] = []
            for kind, path in (("Namespace", "/api/v1/namespaces"), ("Pod", "/api/v1/pods")):
                objects += [{**one, "kind": kind} for one in listed(api, path)]
            pods = reconcile.choose(table, objects, limits, datetime.datetime.now(datetime.UTC))
            chosen = [one for one in pods if not one.skipped]
            if params["evict"] and not module.check_mode:
                gone, kept = reconcile.evict(api, chosen)
                by_name = {(one.namespace, one.name): one for one in (*gone, *kept)}
                pods = [by_name.get((one.namespace, one.name), one) for one in pods]
        except ServerError as error:
            raise denied(error) from None
        requests = api.requests
    plan = reconcile.make_plan(pods)
    if plan.changes and not params["evict"]:
        plan.warnings.append(f"{len(plan.changes)} pod(s) would be evicted; set evict: true to do it.")
    result = plan_result(module, plan, pods=[one.as_dict() for one in pods], requests=requests)
    if not params["evict"]:
        result["changed"] = False
    return result


if __name__ == "__main__":
    run(SPEC, main)
