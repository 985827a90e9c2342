#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: namespace_tiers_break_glass
short_description: Let pass what the namespace tiers refuse, for a while, and bring it back
version_added: 0.1.0
author:
  - hackspace.infra contributors (@hackspace)
description:
  - Opens the guards that M(hackspace.infra.namespace_tiers) has applied, shows what is open, and closes it again
    exactly as it was. What was there before is written on the object itself.
  - Policies of the API server are opened at their bindings - they warn and audit instead of refusing. Policies of
    Kyverno get one C(PolicyException) with C(expiresAt). Webhooks of Kyverno get the failure policy C(Ignore).
notes:
  - Nothing closes by itself, but for the exception of Kyverno, which it stops to use when it next compiles the policy
    after C(expiresAt); that can be hours later. Close what you open; RV(open[].overdue) says what is late.
  - Exceptions count only if Kyverno runs with C(--enablePolicyException), and in the namespaces that it allows. There
    is a warning where its Deployment says that this one does not count.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - hackspace.infra._kube
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_kube
options:
  state:
    description:
      - V(status) only reads, and reports what is open.
      - V(open) opens what O(what) names, unless it is open already.
      - V(closed) closes everything that is open.
    type: str
    choices: [status, open, closed]
    default: status
  what:
    description:
      - V(guards) refuse classes above the namespace tier, labels set by tenants and the like.
      - V(pods) put class, C(ndots) and the like into pods.
      - V(webhooks) are those of Kyverno, whatever their policies; for when Kyverno is down and nothing can be created.
    type: list
    elements: str
    choices: [guards, pods, webhooks]
    default: [guards]
  namespaces:
    description: Open it for these namespaces only. All if empty.
    type: list
    elements: str
    default: []
  reason:
    description: Why, in a few words. Needed to open; it is written on what is opened.
    type: str
    default: ""
  hours:
    description: For how long, 1 to 168.
    type: int
    default: 24
  inventory:
    description: Name under which the objects are owned.
    type: str
    default: namespace-tiers
  inventory_namespace:
    description: Namespace of the ownership record.
    type: str
    default: kube-system
  label_domain:
    description: Domain of labels and annotations, as in the table.
    type: str
    default: infra.hackspace.org
  exception_namespace:
    description: Namespace of the C(PolicyException).
    type: str
    default: kyverno
seealso:
  - module: hackspace.infra.namespace_tiers
"""

EXAMPLES = r"""
- name: What is open, and since when?
  hackspace.infra.namespace_tiers_break_glass:
    kubeconfig: ~/.kube/member-prod

- name: Let one namespace do as it likes for two hours
  hackspace.infra.namespace_tiers_break_glass:
    kubeconfig: ~/.kube/member-prod
    state: open
    namespaces: [4-aux-wiki]
    reason: restore of the wiki, incident 42
    hours: 2

- name: Close it
  hackspace.infra.namespace_tiers_break_glass:
    kubeconfig: ~/.kube/member-prod
    state: closed
"""

RETURN = r"""
changes:
  description: One line per change.
  returned: success
  type: list
  elements: dict
unchanged:
  description: Number of objects that are as wanted.
  returned: success
  type: int
foreign:
  description: Always empty.
  returned: success
  type: list
  elements: str
open:
  description: What is open after the run; in check mode, before it.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: The object.
      type: str
      sample: ValidatingAdmissionPolicyBinding tier-priority-allowed
    since:
      description: Since when.
      type: str
      sample: "2026-11-21T19:00:00Z"
    until:
      description: Until when it was meant to be.
      type: str
      sample: "2026-11-21T21:00:00Z"
    reason:
      description: Why.
      type: str
    overdue:
      description: Whether that time has passed.
      type: bool
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
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import DEFAULT_LABEL_DOMAIN, Inventory
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import ServerError
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import break_glass
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.apply import denied

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "state": {"type": "str", "choices": ["status", "open", "closed"], "default": "status"},
            "what": {
                "type": "list",
                "elements": "str",
                "choices": ["guards", "pods", "webhooks"],
                "default": ["guards"],
            },
            "namespaces": {"type": "list", "elements": "str", "default": []},
            "reason": {"type": "str", "default": ""},
            "hours": {"type": "int", "default": 24},
            "inventory": {"type": "str", "default": "namespace-tiers"},
            "inventory_namespace": {"type": "str", "default": "kube-system"},
            "label_domain": {"type": "str", "default": DEFAULT_LABEL_DOMAIN},
            "exception_namespace": {"type": "str", "default": "kyverno"},
        }
    )
)


def main(module: AnsibleModule) -> dict[str, t.Any]:
    """Read, plan, and outside check mode write."""
    params = module.params
    inventory = Inventory(params["inventory"], params["inventory_namespace"], params["label_domain"]).checked()
    request = break_glass.Request(
        state=params["state"],
        what=tuple(params["what"]),
        reason=params["reason"],
        hours=params["hours"],
        inventory=inventory,
        namespaces=tuple(params["namespaces"]),
        exception_namespace=params["exception_namespace"],
    ).checked()
    now = datetime.datetime.now(datetime.UTC)
    with client_of(params) as api:
        try:
            discovery = api.discover()
            live = break_glass.read(api, discovery, request)
            plan = break_glass.make_plan(live, request, discovery, now)
            plan.warnings += break_glass.unheeded(api, plan, request)
            break_glass.dry_run(api, plan.changes)
            if plan.changed and not module.check_mode:
                break_glass.execute(api, plan.changes)
                live = break_glass.read(api, discovery, request)
        except ServerError as error:
            raise denied(error) from None
        requests = api.requests
    found = [one.as_dict(now) for one in break_glass.what_is_open(live, inventory.label_domain)]
    plan.warnings += [
        f"{one['what']} is open since {one['since']} and was to be closed at {one['until']}."
        for one in found
        if one["overdue"]
    ]
    return plan_result(module, plan, open=found, requests=requests)


if __name__ == "__main__":
    run(SPEC, main)
