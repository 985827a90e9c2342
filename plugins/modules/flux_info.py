#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: what is the matter with Flux?"""

from __future__ import annotations

DOCUMENTATION = r"""
module: flux_info
short_description: What Flux of a cluster is, and what of its objects is failing, why and since when
version_added: 0.1.0
author:
  - hackspace.infra contributors (@hackspace)
description:
  - Reports on Flux of one cluster - its controllers with versions and the arguments they run with, who owns them, and
    whether they are locked down.
  - Reports on its objects - what is not ready, why, since when and what to do about it; what is suspended; which
    Kustomizations have not applied what their source has.
  - Reads by lists, one for each kind of Flux. What fails costs a few requests more.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - hackspace.infra._kube
  - hackspace.infra._attributes
  - hackspace.infra._attributes.info
  - hackspace.infra._attributes.actiongroup_kube
options:
  namespaces:
    description: Only objects of these namespaces. All if empty.
    type: list
    elements: str
    default: []
  flux_namespace:
    description: Namespace of Flux.
    type: str
    default: flux-system
  default_service_account:
    description: The ServiceAccount that lockdown is to name. Any but C(default) if it is left out.
    type: str
seealso:
  - module: hackspace.infra.flux_action
  - module: hackspace.infra.flux_wait
"""

EXAMPLES = r"""
- name: What is the matter with Flux?
  hackspace.infra.flux_info:
    kubeconfig: ~/.kube/member-prod
  register: flux

- name: Show it
  ansible.builtin.debug:
    var: flux.summary
"""

RETURN = r"""
installed:
  description: Whether there are controllers of Flux.
  returned: success
  type: bool
version:
  description: Version of Flux, as its definitions and Deployments are labelled; empty if they are not.
  returned: success
  type: str
  sample: 2.9.4
owner:
  description: Who owns the components.
  returned: success
  type: dict
  contains:
    kind:
      description: V(none), V(ours), V(git), V(helm), V(operator) or V(plain).
      type: str
    words:
      description: The same for people.
      type: str
controllers:
  description: Flux's controllers, by their Deployments.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name.
      type: str
      sample: kustomize-controller
    namespace:
      description: Namespace.
      type: str
    version:
      description: Tag of the image.
      type: str
      sample: v1.9.4
    arguments:
      description: What it runs with.
      type: list
      elements: str
    ready:
      description: Whether its Deployment is ready.
      type: bool
    why:
      description: Why it is not; empty if it is.
      type: str
locked_down:
  description: Whether every controller has the lockdown flags that there are for it.
  returned: success
  type: bool
lockdown:
  description: What is not locked down, with C(item), C(controller), C(flag), C(message) and C(fix).
  returned: success
  type: list
  elements: dict
kinds:
  description: The kinds of Flux that the cluster serves.
  returned: success
  type: list
  elements: str
counts:
  description: How many objects of each kind are V(ready), V(waiting), V(failed) and V(suspended).
  returned: success
  type: dict
  sample: {Kustomization: {failed: 1, ready: 12}}
failing:
  description:
    - What is not ready, what has failed by itself first, as M(hackspace.infra.flux_wait) returns it, with the
      Kustomization that applies it as C(owner).
  returned: success
  type: list
  elements: dict
suspended:
  description: What is suspended.
  returned: success
  type: list
  elements: str
  sample: [Kustomization 4-aux-alice/alice]
behind:
  description: Kustomizations that have not applied what their source has.
  returned: success
  type: list
  elements: dict
  contains:
    object:
      description: The Kustomization.
      type: str
    revision:
      description: What it has applied last.
      type: str
    source:
      description: What its source has.
      type: str
summary:
  description: Lines for people.
  returned: success
  type: list
  elements: str
requests:
  description: Number of requests sent to the API server.
  returned: success
  type: int
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import (
    CONNECTION_SPEC,
    client_of,
    take_login,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, run
from ansible_collections.hackspace.infra.plugins.module_utils._flux import info, wait

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "namespaces": {"type": "list", "elements": "str", "default": []},
            "flux_namespace": {"type": "str", "default": "flux-system"},
            "default_service_account": {"type": "str"},
        }
    )
)


def main(module: AnsibleModule) -> dict[str, t.Any]:
    """Read, judge, report."""
    params = module.params
    login, _secrets = take_login(params)
    with client_of(login) as api:
        report = info.collect(
            wait.Cluster(api),
            namespace=params["flux_namespace"],
            namespaces=params["namespaces"],
            account=params["default_service_account"] or "",
        )
        return {"changed": False, **report.as_dict(), "requests": api.requests}


if __name__ == "__main__":
    run(SPEC, main)
