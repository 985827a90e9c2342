#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_seal_info
short_description: Seal state of every OpenBao server, and which one is active
version_added: 0.1.0
description:
  - Asks all servers at once, each by its own address, without a login, with at most two requests each.
  - Servers that are pods are reached one by one through port-forwards, with TLS to the pod inside.
  - A server that does not answer is part of the result with the hop that failed; it is no error unless O(fail_on)
    says so.
options:
  fail_on:
    description: States that make the task fail. The states of all nodes are part of the error.
    type: list
    elements: str
    choices: [sealed, not_answering, not_initialised, no_active]
    default: []
seealso:
  - module: hackspace.infra.openbao_unseal
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.info
  - hackspace.infra._openbao_seal.reach
  - hackspace.infra._openbao_seal.tls
author: hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Look at the seals
  hackspace.infra.openbao_seal_info:
    nodes:
      - {name: openbao-0, url: "https://192.0.2.10:8200", tls_server_name: openbao-0.example.org}
      - {name: openbao-1, url: "https://192.0.2.11:8200", tls_server_name: openbao-1.example.org}
    ca_cert: /etc/openbao/ca.pem
  register: seal

- name: Look at the seals of pods
  hackspace.infra.openbao_seal_info:
    pods: {kubeconfig: ~/.kube/core-infra, namespace: openbao}
    ca_cert: /etc/openbao/ca.pem

- name: Show them
  ansible.builtin.debug:
    var: seal.summary
"""

RETURN = r"""
nodes:
  description: One entry per node in the order given.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: Name of the node., type: str, returned: always}
    url: {description: Its address., type: str, returned: always}
    tls_server_name: {description: Name expected in its certificate., type: str, returned: always}
    state:
      description: >-
        V(unsealed), V(sealed), V(not_initialised), V(joining) (blank node of an initialised cluster), V(unreachable),
        V(auto_unseal) (sealed and waiting for its seal backend) or V(migration_pending).
      type: str
      returned: always
    role: {description: V(active) or V(standby) when unsealed., type: str, returned: always}
    t: {description: Unseal shares that are needed in all., type: int, returned: always}
    n: {description: Unseal shares that exist., type: int, returned: always}
    progress: {description: Unseal shares counted so far., type: int, returned: always}
    shares_needed: {description: Unseal shares still needed., type: int, returned: always}
    version: {description: Version of the server., type: str, returned: always}
    seal_type:
      description: V(shamir), or the kind of auto-unseal; V(auto) where the server does not tell it.
      type: str
      returned: always
    storage: {description: Kind of storage., type: str, returned: always}
    cluster_name: {description: Name of the cluster when unsealed., type: str, returned: always}
    cluster_fingerprint: {description: Short hash of the cluster's id when unsealed., type: str, returned: always}
    auto_unseal: {description: The node does not use unseal shares., type: bool, returned: always}
    migration_pending: {description: A seal migration is pending., type: bool, returned: always}
    problem:
      description: Why there is no answer, or null.
      type: dict
      returned: always
      contains:
        hop:
          description: >-
            V(dns), V(refused), V(timeout), V(tls-name), V(tls-ca), V(tls), V(cut) or V(http); for pods also V(absent)
            (not made yet), V(pod) (not running), V(port-closed) and V(port-forward).
          type: str
          returned: when there is no answer
        message: {description: What is wrong., type: str, returned: when there is no answer}
        fix: {description: What to do about it., type: str, returned: when there is no answer}
active:
  description: RV(nodes[].name), RV(nodes[].url) and RV(nodes[].tls_server_name) of the active node, or null.
  returned: always
  type: dict
sealed:
  description: Names of nodes that answer and are sealed.
  returned: always
  type: list
  elements: str
unsealed:
  description: Names of unsealed nodes.
  returned: always
  type: list
  elements: str
not_answering:
  description: Names of nodes without an answer.
  returned: always
  type: list
  elements: str
not_initialised:
  description: Names of nodes without data in a cluster that has none.
  returned: always
  type: list
  elements: str
shares_needed:
  description: Distinct unseal shares that unseal every node that takes them now.
  returned: always
  type: int
storage:
  description: Kind of storage.
  returned: always
  type: str
pods:
  description: What the API server says of the pods, as in M(hackspace.infra.openbao_unseal).
  returned: when O(pods) is given
  type: dict
requests:
  description: HTTP requests sent to each node.
  returned: always
  type: dict
summary:
  description: Lines for a person.
  returned: always
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_seal import (
    clients_of,
    each,
)
from ansible_collections.hackspace.infra.plugins.module_utils._clients.pods import REACH_SPEC, cluster_of
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, run
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.pod_targets import Targets, check_fatal
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import (
    NodeState,
    Overview,
    Problem,
    classify,
)

SPEC = REACH_SPEC.merge(
    ArgumentSpec(
        options={
            "fail_on": {
                "type": "list",
                "elements": "str",
                "choices": ["sealed", "not_answering", "not_initialised", "no_active"],
                "default": [],
            }
        }
    )
)


def main(module: AnsibleModule) -> dict[str, t.Any]:
    targets = Targets.of(module.params, cluster_of, clients_of)
    if not module.params["validate_certs"]:
        module.warn("validate_certs is false: the servers are not verified.")

    def ask(name: str) -> NodeState:
        if name in targets.problems:
            return classify(targets.nodes[name], None, problem=targets.problems[name])
        reading = targets.clients[name].read()
        check_fatal(reading.error)
        problem = Problem.of(reading.error) if reading.error else None
        return classify(targets.nodes[name], reading.status, reading.health, problem)

    try:
        targets.refresh()
        overview = Overview.of(each(list(targets.nodes), ask))
    finally:
        targets.close()
    result = {"changed": False, **overview.result(), "requests": targets.requests()}
    if targets.roster:
        result["pods"] = targets.roster.report()
    wrong = [
        kind for kind in module.params["fail_on"] if (not result["active"] if kind == "no_active" else result[kind])
    ]
    if wrong:
        raise HackspaceError(
            f"{', '.join(wrong)}: " + "; ".join(overview.summary()),
            item="fail_on",
            rule="seal-state",
            fix="run playbooks/unseal.yml for sealed nodes; start those that do not answer.",
            data=result,
        )
    return result


if __name__ == "__main__":
    run(SPEC, main)
