#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: make External Secrets read again now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: eso_sync
short_description: Make External Secrets read OpenBao secrets again now, on all clusters
version_added: 0.1.0
author: hackspace.infra contributors (@hackspace)
description:
  - When OpenBao was sealed, External Secrets tries again later and later, up to seven minutes apart, or only after the
    refresh interval. This module nudges it - it changes the annotation C(force-sync) of the ExternalSecrets that are
    not Ready, and of the stores behind them that are not Ready, as nothing is read through such a store.
  - All clusters are handled at once. On each it sends a list request for the ExternalSecrets, and, only if one has to
    be nudged, one for each kind of store and one patch for each object.
  - What is Ready is not touched. A cluster without External Secrets is fine and left alone.
  - What is not Ready after the nudge is returned with what OpenBao answered, and does not make the module fail unless
    O(require_ready=true).
requirements:
  - kubernetes
  - PyYAML
extends_documentation_fragment:
  - hackspace.infra._attributes
attributes:
  idempotent:
    support: partial
    details: What stays not Ready, for whatever reason, is nudged again by each run. So is what O(select=all) chooses.
options:
  clusters:
    description: The clusters.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the cluster, for messages.
        type: str
        required: true
      kubeconfig:
        description: Path of the kubeconfig, which may be encrypted with ansible-vault or sops.
        type: path
      kubeconfig_content:
        description: Text of the kubeconfig instead.
        type: str
      context:
        description: Context in the kubeconfig, if it is not the current one.
        type: str
      tls_server_name:
        description: Name to expect in the API server's certificate, if it is not the host in the kubeconfig.
        type: str
  select:
    description: Which ExternalSecrets are nudged.
    type: str
    choices: [not_ready, all]
    default: not_ready
  label_selector:
    description: Only ExternalSecrets with these labels, as C(team=web,tier!=test).
    type: str
  namespaces:
    description: Only ExternalSecrets of these namespaces. Empty means all.
    type: list
    elements: str
    default: []
  wait:
    description:
      - Wait until what was nudged is Ready.
      - Without waiting, ExternalSecrets behind a store that was not Ready may have to be nudged once more.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait, in all. An ExternalSecret that is broken for another reason uses it up.
    type: int
    default: 60
  require_ready:
    description: Fail if something is not Ready after the nudge. Only with O(wait=true).
    type: bool
    default: false
  on_unreachable:
    description:
      - What to do about clusters that cannot be asked, once all others are done.
      - A cluster that was read and then refused or did not confirm a nudge always makes the module fail.
    type: str
    choices: [fail, warn]
    default: fail
  request_timeout:
    description: Seconds to wait for a connection and for each answer.
    type: float
    default: 10.0
seealso:
  - module: hackspace.infra.openbao_unseal
"""

EXAMPLES = r"""
- name: After unsealing OpenBao, let all clusters read again
  hackspace.infra.eso_sync:
    clusters:
      - {name: core-infra, kubeconfig: ~/.kube/core-infra}
      - {name: member-prod, kubeconfig: ~/.kube/member-prod.vault}
    on_unreachable: warn

- name: Read everything of one tenant again, because its OpenBao secret has changed
  hackspace.infra.eso_sync:
    clusters: [{name: member-prod, kubeconfig: ~/.kube/member-prod}]
    select: all
    namespaces: [4-aux-alice]
    require_ready: true
"""

RETURN = r"""
changes:
  description: What was nudged, stores first.
  returned: always
  type: list
  elements: dict
  sample:
    - {kind: ExternalSecret, name: "member-prod 4-aux-alice/db", action: update, why: "not Ready: SecretSyncedError"}
unchanged:
  description: Number of ExternalSecrets that were meant and needed no nudge.
  returned: always
  type: int
  sample: 12
clusters:
  description: What was found on each cluster, in the order of O(clusters).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the cluster.
      type: str
      sample: member-prod
    state:
      description: V(healthy) (nothing to nudge), V(nudged), V(recovered) (nudged and all Ready since), V(not_ready)
        (nudged and not all Ready), V(failed) (a nudge was refused or not confirmed), V(not_installed) (no External
        Secrets) or V(unreachable).
      type: str
      sample: recovered
    external_secrets:
      description: Number of ExternalSecrets seen.
      type: int
    nudged:
      description: Number of ExternalSecrets nudged, in check mode of those that would be.
      type: int
    stores:
      description: Number of stores nudged along with them.
      type: int
    not_ready:
      description: Those that are not Ready after waiting.
      type: list
      elements: dict
      contains:
        name:
          description: Namespace and name.
          type: str
          sample: 4-aux-alice/db
        reason:
          description: Reason and message of the condition Ready.
          type: str
        cause:
          description: What OpenBao answered last, or the store that is not Ready; empty if unknown.
          type: str
          sample: OpenBao answers 403 to GET /v1/kv/data/tenants/member-prod/4-aux-bob/db
    problem:
      description: Why the cluster could not be asked, or what was refused or not answered; empty otherwise.
      type: str
    requests:
      description: Number of requests sent to the API server.
      type: int
      sample: 4
summary:
  description: One line for each cluster, for people.
  returned: always
  type: list
  elements: str
  sample: ["member-prod: 2 ExternalSecrets nudged, all Ready"]
"""

import concurrent.futures
import contextlib
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.cluster_targets import (
    CLUSTERS,
    Target,
    targets,
)
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import Kube
from ansible_collections.hackspace.infra.plugins.module_utils._clients.reviewer_links import open_cluster
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, Refused
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, plan_result, run
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Plan
from ansible_collections.hackspace.infra.plugins.module_utils._eso import sync_apply, sync_report
from ansible_collections.hackspace.infra.plugins.module_utils._eso.sync_plan import (
    SELECTIONS,
    Item,
    Selection,
    selection,
)

#: Threads mostly wait; more would only cost memory.
CLUSTERS_AT_ONCE: t.Final = 32

SPEC = ArgumentSpec(
    options={
        **CLUSTERS,
        "select": {"type": "str", "choices": list(SELECTIONS), "default": "not_ready"},
        "label_selector": {"type": "str"},
        "namespaces": {"type": "list", "elements": "str", "default": []},
        "wait": {"type": "bool", "default": True},
        "wait_timeout": {"type": "int", "default": 60},
        "require_ready": {"type": "bool", "default": False},
        "on_unreachable": {"type": "str", "choices": ["fail", "warn"], "default": "fail"},
        "request_timeout": {"type": "float", "default": 10.0},
    }
)


def work(
    api: Kube, target: Target, wanted: Selection, params: t.Mapping[str, t.Any], stamp: str
) -> sync_report.Outcome:
    """Read one cluster, nudge it unless *stamp* is empty, wait if told to."""
    deadline = time.monotonic() + (params["wait_timeout"] if params["wait"] else 0)
    try:
        found = sync_apply.read(api, target.name, wanted)
    except HackspaceError as error:
        return sync_report.Outcome(target.name, problem=error, requests=api.requests)
    if not found.nudge.secrets or not stamp:
        return sync_report.Outcome(target.name, found, requests=api.requests)
    sent: list[Item] = []
    try:
        broken = sync_apply.touch(api, found, stamp, timeout=deadline - time.monotonic(), sent=sent)
    except HackspaceError as error:
        return sync_report.Outcome(
            target.name, found, nudged=bool(sent), sent=tuple(sent), problem=error, requests=api.requests
        )
    late, problem = None, None
    if params["wait"]:
        try:
            left = max(0.0, deadline - time.monotonic())
            late = sync_apply.settle(api, found, wanted, timeout=left, stamp=lambda: str(time.time_ns()), sent=sent)
        except HackspaceError as error:
            problem = error
    return sync_report.Outcome(
        target.name, found, nudged=True, late=late, broken=broken, problem=problem, requests=api.requests
    )


def main(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    """Ask all clusters at once, nudge, report."""
    params = module.params
    wanted = selection(params["select"], params["label_selector"], params["namespaces"])
    stamp = "" if module.check_mode else str(time.time_ns())
    outcomes: dict[str, sync_report.Outcome] = {}
    opened: list[tuple[Target, Kube]] = []
    clusters = targets(params["clusters"])
    with contextlib.ExitStack() as stack:
        for target in clusters:
            try:
                api = stack.enter_context(open_cluster(target, timeout=params["request_timeout"]))
            except HackspaceError as error:
                outcomes[target.name] = sync_report.Outcome(target.name, problem=error)
            else:
                opened.append((target, api))
        threads = stack.enter_context(concurrent.futures.ThreadPoolExecutor(max_workers=CLUSTERS_AT_ONCE))
        for outcome in threads.map(lambda one: work(one[1], one[0], wanted, params, stamp), opened):
            outcomes[outcome.cluster] = outcome
    ordered = [outcomes[target.name] for target in clusters]
    plan = Plan()
    for outcome in ordered:
        plan.extend(outcome.plan)
    result = plan_result(
        module,
        plan,
        clusters=[outcome.as_dict() for outcome in ordered],
        summary=[outcome.line() for outcome in ordered],
    )
    _judge(module, ordered, result)
    return result


def _judge(module: AnsibleModule, outcomes: t.Sequence[sync_report.Outcome], result: dict[str, t.Any]) -> None:
    """Fail, or warn, about what did not work; everything else has been done by now."""
    wrong = [outcome for outcome in outcomes if outcome.problem]
    if module.params["on_unreachable"] == "warn":
        for outcome in wrong:
            if outcome.state != "failed":
                module.warn(outcome.line())
        wrong = [outcome for outcome in wrong if outcome.state == "failed"]
    if wrong:
        raise sync_report.broken_off(wrong, result)
    left = [outcome for outcome in outcomes if outcome.state == "not_ready"]
    if left and module.params["require_ready"]:
        raise Refused(
            "; ".join(outcome.line() for outcome in left),
            item="clusters",
            rule="not-ready",
            fix="read the causes in the result, or ask the doctor: jwt_reviewer_info.",
            data=result,
        )


if __name__ == "__main__":
    run(SPEC, main)
