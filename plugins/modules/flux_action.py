#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: kick, suspend and resume objects of Flux."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flux_action
short_description: Kick, suspend and resume objects of Flux along with what applies them
version_added: 0.1.0
author:
  - hackspace.infra contributors (@hackspace)
description:
  - V(kick) has objects reconciled now, in the order in which they need each other - the source of the Kustomization
    that applies an object, that Kustomization, the object's own source, the object. Each is waited for before the next.
  - V(suspend) stops reconciling; workloads go on running. The Kustomization that applies the object (labels
    C(kustomize.toolkit.fluxcd.io/name) and C(namespace)) is suspended first, so that it does not undo that. Where Git
    says how that one is suspended, the one above is suspended too.
  - V(resume) is the opposite - first the source if it is suspended, then the object, then the Kustomizations above.
  - Nothing is written unless all objects are there and none of them stands against it. What is suspended already, or is
    not, is left alone.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - hackspace.infra._kube
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_kube
attributes:
  idempotent:
    support: partial
    details: A kick kicks again each time. V(suspend) and V(resume) are idempotent.
options:
  action:
    description: What is to be done.
    type: str
    required: true
    choices: [kick, suspend, resume]
  objects:
    description: The objects.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: The kind.
        type: str
        required: true
        choices:
          - GitRepository
          - OCIRepository
          - Bucket
          - HelmRepository
          - HelmChart
          - ExternalArtifact
          - ArtifactGenerator
          - Kustomization
          - HelmRelease
          - Receiver
          - Alert
          - Provider
          - ImageRepository
          - ImagePolicy
          - ImageUpdateAutomation
      namespace:
        description: The namespace. All namespaces if it is left out, along with O(objects[].name).
        type: str
      name:
        description: The name. All objects of the kind if it is left out; at least one has to be there.
        type: str
      label_selector:
        description: Only objects with these labels, as C(team=web,tier!=test).
        type: str
  scope:
    description: Whether the Kustomizations that apply the objects are part of it (V(owner)), or not (V(object)).
    type: str
    choices: [owner, object]
    default: owner
  force:
    description:
      - With V(kick), have HelmReleases upgraded even if nothing changed (annotation C(reconcile.fluxcd.io/forceAt)).
    type: bool
    default: false
  reset:
    description: With V(kick), have HelmReleases forget their failures (annotation C(reconcile.fluxcd.io/resetAt)).
    type: bool
    default: false
  wait:
    description:
      - Wait for each step of a kick, and until what was resumed is ready. Otherwise a kick does not keep the order.
    type: bool
    default: true
  timeout:
    description: Seconds to wait, in all.
    type: int
    default: 300
notes:
  - HelmReleases and their options are proved by unit tests only.
seealso:
  - module: hackspace.infra.flux_wait
  - module: hackspace.infra.flux_info
"""

EXAMPLES = r"""
- name: Bring into the cluster now what was pushed
  hackspace.infra.flux_action:
    kubeconfig: ~/.kube/member-prod
    action: kick
    objects: [{kind: Kustomization, namespace: flux-system, name: flux-system}]

- name: Hands off the wiki while it is mended by hand
  hackspace.infra.flux_action:
    kubeconfig: ~/.kube/member-prod
    action: suspend
    objects: [{kind: HelmRelease, namespace: 3-edge-wiki, name: wiki}]

- name: Resume everything of a tenant
  hackspace.infra.flux_action:
    kubeconfig: ~/.kube/member-prod
    action: resume
    objects: [{kind: Kustomization, namespace: 4-aux-alice}]
    scope: object
"""

RETURN = r"""
changes:
  description: One line per object that is, or would be, written to, in order.
  returned: success
  type: list
  elements: dict
  sample: [{kind: Kustomization, name: flux-system/apps, action: update, why: applies HelmRelease 3-edge-wiki/wiki}]
unchanged:
  description: Number of objects that are as they should be.
  returned: success
  type: int
foreign:
  description: Always empty.
  returned: success
  type: list
  elements: str
token:
  description: The reconcile request of a kick, for M(hackspace.infra.flux_wait); empty otherwise.
  returned: success
  type: str
  sample: "2026-11-21T21:00:00.000001Z"
objects:
  description: What was waited for last, as M(hackspace.infra.flux_wait) returns it. Also when it fails.
  returned: when something was waited for
  type: list
  elements: dict
requests:
  description: Number of requests sent to the API server.
  returned: success
  type: int
"""

import datetime
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import (
    CONNECTION_SPEC,
    client_of,
    take_login,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, check
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, plan_result, run
from ansible_collections.hackspace.infra.plugins.module_utils._flux import action, wait
from ansible_collections.hackspace.infra.plugins.module_utils._flux.ports import RealClock
from ansible_collections.hackspace.infra.plugins.module_utils._flux.status import KINDS

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "action": {"type": "str", "required": True, "choices": list(action.ACTIONS)},
            "objects": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "kind": {"type": "str", "required": True, "choices": list(KINDS)},
                    "namespace": {"type": "str"},
                    "name": {"type": "str"},
                    "label_selector": {"type": "str"},
                },
            },
            "scope": {"type": "str", "choices": list(action.SCOPES), "default": "owner"},
            "force": {"type": "bool", "default": False},
            "reset": {"type": "bool", "default": False},
            "wait": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 300},
        }
    )
)


def token() -> str:
    """Return a reconcile request: of one length always, so that a later one can be told from an earlier one."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def main(module: AnsibleModule) -> dict[str, t.Any]:
    """Plan, write, wait."""
    params = module.params
    login, _secrets = take_login(params)
    check(
        params["timeout"] >= 0,
        f"{params['timeout']} is negative.",
        item="timeout",
        rule="flux-seconds",
        fix="give 0 or more seconds.",
    )
    request = action.Request(
        action=params["action"],
        targets=wait.parse(params["objects"]),
        scope=params["scope"],
        force=params["force"],
        reset=params["reset"],
        token=token() if params["action"] == "kick" else "",
    )
    rules = wait.Rules(timeout=float(params["timeout"])) if params["wait"] else None
    extra: dict[str, t.Any] = {}
    with client_of(login) as api:
        cluster = wait.Cluster(api)
        made = action.prepare(cluster, request)
        for key, number in action.side_effects(made).items():
            if number:
                made.plan.warnings.append(
                    f"{wait.title(key)} applies {number} other object(s), which do not follow Git until it is resumed."
                )
        if not module.check_mode:
            try:
                done = action.execute(cluster, made, rules=rules, clock=RealClock())
            except HackspaceError as error:
                error.data = {**made.plan.result(), "token": request.token, "requests": api.requests, **error.data}
                raise
            if done.result:
                extra["objects"] = [wait.shown(one, None) for one in done.result.items]
        extra["requests"] = api.requests
    return plan_result(module, made.plan, token=request.token, **extra)


if __name__ == "__main__":
    run(SPEC, main)
