#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: wait for Flux."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flux_wait
short_description: Wait until objects of Flux are ready, and say at once why they will not be
version_added: 0.1.0
author:
  - hackspace.infra contributors (@hackspace)
description:
  - Waits for any number of objects of Flux in one call. An object is ready when its controller has seen its present
    generation, the condition C(Ready) is true, nothing is C(Reconciling) or C(Stalled), and, where they are given, the
    revision and the reconcile request are the wanted ones. That it was ready before a change does not count.
  - Fails as soon as one object has failed - C(Stalled), or an attempt for its present generation (and the wanted
    revision and reconcile request) that ended with an error, its own or that of its source or of what it depends on.
  - What has failed is explained - the condition's message, the parts of a Kustomization that are not ready, the last
    warnings, and what to do about it.
  - Reads by lists, one for each kind and selector and look; what is waited for does not add requests.
notes:
  - HelmReleases and kinds other than GitRepository and Kustomization are judged by the same rule, which is proved for
    them by unit tests only.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - hackspace.infra._kube
  - hackspace.infra._attributes
  - hackspace.infra._attributes.info
  - hackspace.infra._attributes.actiongroup_kube
options:
  objects:
    description: What is waited for.
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
      revision:
        description:
          - Only this revision counts, as C(main@sha1:1f3c...), C(sha1:1f3c...) or seven or more digits of the commit.
          - For sources, Kustomizations and HelmReleases.
        type: str
      token:
        description:
          - Only attempts count that this reconcile request asked for, or a later one. It is the value of the annotation
            C(reconcile.fluxcd.io/requestedAt), as RV(hackspace.infra.flux_action#module:token) returns it.
        type: str
  timeout:
    description: Seconds to wait, in all.
    type: int
    default: 300
  fail_fast:
    description: Fail as soon as one object has failed. Otherwise all others are waited for first.
    type: bool
    default: true
  grace:
    description:
      - Seconds for which failed attempts are looked over. For what was mended a moment ago and is not tried again yet;
        asking for an attempt by M(hackspace.infra.flux_action) is better.
    type: int
    default: 0
seealso:
  - module: hackspace.infra.flux_action
  - module: hackspace.infra.flux_info
"""

EXAMPLES = r"""
- name: Wait until the cluster has what was pushed
  hackspace.infra.flux_wait:
    kubeconfig: ~/.kube/member-prod
    objects:
      - {kind: GitRepository, namespace: flux-system, name: flux-system, revision: "{{ commit }}"}
      - {kind: Kustomization, namespace: flux-system, name: flux-system, revision: "{{ commit }}"}
    timeout: 600

- name: Wait for all tenants
  hackspace.infra.flux_wait:
    kubeconfig: ~/.kube/member-prod
    objects:
      - {kind: Kustomization, label_selector: toolkit.fluxcd.io/tenant}
    fail_fast: false
"""

RETURN = r"""
ready:
  description: Whether all objects are ready.
  returned: always
  type: bool
objects:
  description: The objects, in the order of O(objects). What is not ready comes with the reasons.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: Kind.
      type: str
    namespace:
      description: Namespace.
      type: str
    name:
      description: Name; empty for a selector that finds nothing.
      type: str
    state:
      description: V(ready), V(waiting), V(failed), V(suspended) or V(absent).
      type: str
    reason:
      description: Reason of the condition.
      type: str
      sample: BuildFailed
    message:
      description: Message of the condition, or what is waited for.
      type: str
      sample: "kustomization path not found: stat /tmp/kustomization-1/deploy: no such file or directory"
    because:
      description: The source or dependency that is to blame, and what it says; empty if there is none.
      type: str
      sample: "GitRepository flux-system/flux-system: failed to checkout and determine revision"
    since:
      description: When the condition came to be.
      type: str
      sample: "2026-11-21T21:00:00Z"
    revision:
      description: The revision that the object has.
      type: str
      sample: main@sha1:1f3c5d7e9b
    failing:
      description: Parts of a Kustomization that are not ready, ten at most, with C(object) and C(why).
      type: list
      elements: dict
      sample: [{object: Deployment web/web, why: 0 of 2 pods available}]
    events:
      description: The last warnings about the object and its failing parts, ten at most.
      type: list
      elements: str
    hint:
      description: What to do about it; empty if that is not known.
      type: str
    hint_rule:
      description: Name of the hint.
      type: str
      sample: path
waited:
  description: Seconds waited.
  returned: always
  type: float
looks:
  description: How often the cluster was looked at.
  returned: always
  type: int
requests:
  description: Number of requests sent to the API server.
  returned: always
  type: int
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import (
    CONNECTION_SPEC,
    client_of,
    take_login,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import check
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, run
from ansible_collections.hackspace.infra.plugins.module_utils._flux import wait
from ansible_collections.hackspace.infra.plugins.module_utils._flux.ports import RealClock
from ansible_collections.hackspace.infra.plugins.module_utils._flux.status import KINDS

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "objects": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "kind": {"type": "str", "required": True, "choices": list(KINDS)},
                    "namespace": {"type": "str"},
                    "name": {"type": "str"},
                    "label_selector": {"type": "str"},
                    "revision": {"type": "str"},
                    "token": {"type": "str", "no_log": False},
                },
            },
            "timeout": {"type": "int", "default": 300},
            "fail_fast": {"type": "bool", "default": True},
            "grace": {"type": "int", "default": 0},
        }
    )
)


def seconds(params: t.Mapping[str, t.Any], *names: str) -> None:
    """Check that options are no negative times."""
    for name in names:
        check(
            params[name] >= 0,
            f"{params[name]} is negative.",
            item=name,
            rule="flux-seconds",
            fix="give 0 or more seconds.",
        )


def main(module: AnsibleModule) -> dict[str, t.Any]:
    """Wait, and explain what is not ready."""
    params = module.params
    login, _secrets = take_login(params)
    targets = wait.parse(params["objects"])
    seconds(params, "timeout", "grace")
    rules = wait.Rules(float(params["timeout"]), params["fail_fast"], float(params["grace"]))
    with client_of(login) as api:
        cluster = wait.Cluster(api)
        result = wait.wait(cluster, targets, rules, RealClock())
        stories = {} if result.ready else wait.explain(cluster, result.items)
        found = {
            "changed": False,
            "ready": result.ready,
            "objects": [wait.shown(one, stories.get(one.key)) for one in result.items],
            "waited": round(result.seconds, 1),
            "looks": result.looks,
            "requests": api.requests,
        }
    if not result.ready:
        raise wait.not_ready(result, stories, rules, found)
    return found


if __name__ == "__main__":
    run(SPEC, main)
