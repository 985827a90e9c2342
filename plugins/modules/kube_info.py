#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: are the clusters reachable, and for how long."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kube_info
short_description: Whether clusters are reachable, and how long their kubeconfigs last
version_added: 0.1.0
author: hackspace.infra contributors (@hackspace)
description:
  - Sends three reads to the API server of each cluster, to all of them at once, and returns findings.
  - A cluster that does not answer is a finding and does not make the module fail.
  - Reads the end of a client certificate or of a token in the kubeconfig without asking anybody.
requirements:
  - kubernetes
  - cryptography
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.info
options:
  clusters:
    description: The clusters. Entries of C(platform_clusters) can be given as they are; other keys are ignored.
    type: list
    elements: dict
    required: true
  timeout:
    description: Seconds to wait for each answer.
    type: float
    default: 10.0
  expiry_warning_days:
    description: Report credentials that end sooner than this.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Ask all clusters how they are
  hackspace.infra.kube_info:
    clusters: "{{ platform_clusters }}"
  register: kube
"""

RETURN = r"""
clusters:
  description: What each cluster answered, in the order of O(clusters).
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name of the cluster.
      type: str
      sample: member-prod
    server:
      description: Address in the kubeconfig.
      type: str
    reachable:
      description: Whether it answered everything that was asked.
      type: bool
    version:
      description: Version of the API server.
      type: str
      sample: v1.35.0
    ready:
      description: What C(/readyz) says; V(none) if the credential may not ask.
      type: bool
    nodes:
      description: Number of nodes; V(none) if unknown.
      type: int
    nodes_ready:
      description: Number of nodes that are ready, among the first 500.
      type: int
    credential:
      description: Kind of the credential in the kubeconfig.
      type: str
      sample: client certificate
    expires:
      description: When the credential ends, in UTC; V(none) if it does not say.
      type: str
      sample: "2026-12-01T00:00:00Z"
findings:
  description: What a person should know, the most severe first.
  type: list
  elements: dict
  returned: always
  contains:
    id:
      description: Name of the finding.
      type: str
      sample: cluster-unreachable
    severity:
      description: V(error) or V(warning).
      type: str
      sample: error
    item:
      description: What it is about.
      type: str
      sample: cluster member-prod
    message:
      description: What is the case.
      type: str
    fix:
      description: What to do about it.
      type: str
"""

import datetime
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube_probe import probe
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import check
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, run
from ansible_collections.hackspace.infra.plugins.module_utils._kube.cluster_findings import cluster_findings

SPEC = ArgumentSpec(
    options={
        "clusters": {"type": "list", "elements": "dict", "required": True},
        "timeout": {"type": "float", "default": 10.0},
        "expiry_warning_days": {"type": "int", "default": 30},
    }
)


def main(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    """Ask, judge, report."""
    clusters = module.params["clusters"]
    for i, cluster in enumerate(clusters):
        for key in ("name", "kubeconfig"):
            value = cluster.get(key)
            check(
                isinstance(value, str) and value,
                f"{key} is missing.",
                item=f"clusters[{i}]",
                rule="missing-key",
                fix=f"give {key}.",
            )
    facts = probe(clusters, timeout=module.params["timeout"])
    found = cluster_findings(facts, now=time.time(), warn_days=module.params["expiry_warning_days"])
    return {"changed": False, "clusters": [_public(f) for f in facts], "findings": found}


def _public(fact: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    shown = {k: fact[k] for k in ("name", "server", "version", "ready", "nodes", "nodes_ready", "credential")}
    expires = fact["expires"]
    shown["reachable"] = fact["problem"] is None
    shown["expires"] = (
        None
        if expires is None
        else datetime.datetime.fromtimestamp(expires, tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    return shown


if __name__ == "__main__":
    run(SPEC, main)
