#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rook_consumers
short_description: Let Kubernetes clusters use an external Ceph cluster by Rook, all clusters in one call
version_added: 0.1.0
author:
  - hackspace.infra contributors (@hackspace)
description:
  - For each consumer in C(platform_ceph) keeps what Rook needs next to its operator, as the filter
    P(hackspace.infra.rook_external_objects#filter) renders it, and delivers the Ceph keys.
  - With C(delivery=direct) the Kubernetes Secrets are written to the cluster, which is right for the one that hosts
    OpenBao, as its volumes need them. With C(delivery=openbao) keys go into OpenBao, where the cluster's own namespace
    may read them, and External Secrets makes the Kubernetes Secrets. User and key always change together.
  - Monitors that moved to another address are corrected in the ConfigMap that belongs to Rook's operator, which can't
    do so itself. Everything else in it is left to the operator. Where it must notice something, its Deployment is
    restarted, once.
  - StorageClasses that differ in what can't be changed are reported (RV(consumers)), and made again only where
    O(recreate_storage_classes) names them.
  - What is wrong with any consumer is said before anything is written anywhere. A cluster that fails holds up none of
    the others. A run that is cut off is finished by the next one.
requirements:
  - requests
  - kubernetes
  - PyYAML
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._rook
attributes:
  check_mode:
    details: Reads only. Whether External Secrets has delivered is looked at once. Keys of users that are not made yet
      count as changed.
options:
  ceph:
    description: The Ceph cluster and its consumers, as C(platform_ceph) in the inventory.
    type: dict
    required: true
  facts:
    description: Ceph as it is, as the filter P(hackspace.infra.ceph_consumer_findings#filter) takes it, at least
      C(fsid) and C(monitors).
    type: dict
    required: true
  provider:
    description:
      - How Ceph is reached on the host of the task, which is a node of the Ceph cluster. The Ceph keys are taken from
        there, in memory. Everything else happens on the controller.
      - Not used with O(keys).
    type: dict
    suboptions:
      conf:
        description: Configuration of Ceph.
        type: path
        default: /etc/ceph/ceph.conf
      user:
        description: Ceph user that may read the keys of others.
        type: str
        default: client.admin
      keyring:
        description: Its keyring. By default what the configuration says.
        type: path
      timeout:
        description: Seconds to wait for an answer.
        type: int
        default: 30
  keys:
    description: Keys of the consumers' Ceph users, by name with C(client.), where they come from elsewhere. Then the
      task runs on the controller.
    type: dict
  clusters:
    description: The clusters of the consumers. Others may be among them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the cluster.
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
  kv_mount:
    description: KV version 2 engine for the Ceph keys.
    type: str
    default: kv
  kv_prefix:
    description: Path in it, before cluster and namespace.
    type: str
    default: tenants
  store:
    description: Name of the SecretStore in the consumer's namespace.
    type: str
    default: openbao
  stores:
    description:
      - By cluster, options of P(hackspace.infra.eso_stores#filter), at least C(server), C(mount) and C(audience). The
        SecretStore is made by them.
      - A cluster that is not among them has the SecretStore already.
    type: dict
    default: {}
  recreate_storage_classes:
    description: Names of StorageClasses that are deleted and made again if they differ in what can't be changed.
      Volumes are not touched by that.
    type: list
    elements: str
    default: []
  confirm_removal:
    description:
      - Names of consumers with C(state=absent) that may be taken away. Without its name here one that is absent is
        refused.
      - Refused as long as there is a PersistentVolume or the content of a VolumeSnapshot in it. Namespaces stay.
      - The Ceph users, RADOS namespaces and subvolume groups are taken away afterwards, by the modules for them.
    type: list
    elements: str
    default: []
  restart_operator:
    description: Restart Rook's operator where it must notice something.
    type: bool
    default: true
  force_conflicts:
    description: Take over fields that another field manager has set to another value.
    type: bool
    default: false
  adopt:
    description: Take over objects that exist and are not marked as ours, as those of Rook's own script.
    type: bool
    default: false
  prune:
    description: Delete objects of a consumer that are no longer wanted, as a StorageClass that is declared no more.
    type: bool
    default: false
  prune_max_percent:
    description: Refuse to prune more than this share of a consumer's objects, in percent. One may always go.
    type: int
    default: 20
  label_domain:
    description: Domain of labels and annotations.
    type: str
    default: infra.hackspace.org
  wait_timeout:
    description: Seconds to wait for External Secrets to deliver, for each consumer.
    type: int
    default: 60
  request_timeout:
    description: Seconds to wait for a connection and for each answer.
    type: float
    default: 30.0
seealso:
  - module: hackspace.infra.ceph_keys
  - plugin: hackspace.infra.rook_external_objects
    plugin_type: filter
  - plugin: hackspace.infra.ceph_consumer_findings
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Bring all consumers to what the inventory says, with the keys that pve1 has
  delegate_to: pve1
  become: true
  hackspace.infra.rook_consumers:
    ceph: "{{ platform_ceph }}"
    facts: "{{ ceph_facts }}"
    clusters:
      - {name: core-infra, kubeconfig: ~/.kube/core-infra}
      - {name: member-prod, kubeconfig: ~/.kube/member-prod.vault}
    openbao:
      url: https://192.0.2.10:8200
      ca_cert: /etc/openbao/ca.pem
      auth_method: userpass
      username: platform-admin
      password_file: ~/.config/platform-admin
"""

RETURN = r"""
changes:
  description: One line per change, in the order of application.
  returned: success
  type: list
  elements: dict
  sample: [{kind: StorageClass.storage.k8s.io, name: ceph-block, action: create, why: ""}]
unchanged:
  description: Number of wanted things that are as wanted.
  returned: success
  type: int
foreign:
  description: Objects that belonged to somebody else, and to whom.
  returned: success
  type: list
  elements: str
consumers:
  description: One entry per consumer.
  returned: success, and when some consumers failed
  type: list
  elements: dict
  contains:
    name:
      description: Name of the consumer.
      type: str
    cluster:
      description: Its cluster.
      type: str
    changed:
      description: Whether something changed.
      type: bool
    users:
      description: By role, the Ceph user that the Kubernetes Secret has now.
      type: dict
      sample: {rbd-node: client.k8s-member-prod-rbd-node.2}
    waiting:
      description: Roles whose Kubernetes Secret has not the present user and key yet.
      type: list
      elements: str
    delivered:
      description: Whether every Kubernetes Secret has the present user and key.
      type: bool
    monitors:
      description: How the monitors that the consumer knew differed from those that there are - C(missing), C(extra),
        C(moved), C(protocol), C(lost).
      type: dict
    storage_classes:
      description: StorageClasses that differed in what can't be changed.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the StorageClass.
          type: str
        fields:
          description: What it C(is) and what is C(wanted), by field.
          type: dict
        recreate:
          description: Whether it was made again.
          type: bool
    stale:
      description: Objects that are no longer wanted and are kept, and why.
      type: list
      elements: str
    removed:
      description: Whether the consumer is absent, and nothing of it is left in its cluster.
      type: bool
    kept:
      description: What stays of a consumer that was taken away, and why.
      type: list
      elements: str
    failed:
      description: Whether this consumer failed.
      type: bool
    problem:
      description: Why; empty otherwise.
      type: str
findings:
  description: Warnings about the consumers, as the filter C(ceph_consumer_findings) returns them.
  returned: success
  type: list
  elements: dict
requests:
  description: Number of requests sent to OpenBao and to API servers.
  returned: success
  type: int
  sample: 31
"""

import concurrent.futures
import contextlib
import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.cluster_targets import CLUSTERS, targets
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import DEFAULT_TIMEOUT, Kube
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import CONNECTION_SPEC
from ansible_collections.hackspace.infra.plugins.module_utils._clients.reviewer_links import open_cluster, open_openbao
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, check
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    OWNERSHIP,
    ArgumentSpec,
    hide,
    plan_result,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Plan
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import HIDDEN, Secret
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import DEFAULT_LABEL_DOMAIN
from ansible_collections.hackspace.infra.plugins.module_utils._kube.plan import Options
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import listed
from ansible_collections.hackspace.infra.plugins.module_utils._rook import consumer_apply as applying
from ansible_collections.hackspace.infra.plugins.module_utils._rook import consumer_plan as planning
from ansible_collections.hackspace.infra.plugins.module_utils._rook import delivery, findings, removal
from ansible_collections.hackspace.infra.plugins.module_utils._rook import facts as facts_
from ansible_collections.hackspace.infra.plugins.module_utils._rook.consumer_apply import Outcome
from ansible_collections.hackspace.infra.plugins.module_utils._rook.model import Consumer
from ansible_collections.hackspace.infra.plugins.module_utils._rook.schema import AES256K, OPENBAO

#: Clusters that are worked on at the same time; threads mostly wait.
CLUSTERS_AT_ONCE: t.Final = 16

SPEC = OWNERSHIP.merge(
    ArgumentSpec(
        options={
            "ceph": {"type": "dict", "required": True},
            "facts": {"type": "dict", "required": True},
            # read by the action plugin
            "provider": {
                "type": "dict",
                "options": {
                    "conf": {"type": "path", "default": "/etc/ceph/ceph.conf"},
                    "user": {"type": "str", "default": "client.admin"},
                    "keyring": {"type": "path", "no_log": False},
                    "timeout": {"type": "int", "default": 30},
                },
            },
            "keys": {"type": "dict", "no_log": True},
            **CLUSTERS,
            "openbao": {
                "type": "dict",
                "options": CONNECTION_SPEC.options,
                "mutually_exclusive": [list(x) for x in CONNECTION_SPEC.mutually_exclusive],
                "required_together": [list(x) for x in CONNECTION_SPEC.required_together],
                "required_if": [list(x) for x in CONNECTION_SPEC.required_if],
            },
            "kv_mount": {"type": "str", "default": "kv"},
            "kv_prefix": {"type": "str", "default": "tenants"},
            "store": {"type": "str", "default": "openbao"},
            "stores": {"type": "dict", "default": {}},
            "recreate_storage_classes": {"type": "list", "elements": "str", "default": []},
            "restart_operator": {"type": "bool", "default": True},
            "confirm_removal": {"type": "list", "elements": "str", "default": []},
            "force_conflicts": {"type": "bool", "default": False},
            "label_domain": {"type": "str", "default": DEFAULT_LABEL_DOMAIN},
            "wait_timeout": {"type": "int", "default": 60},
            "request_timeout": {"type": "float", "default": DEFAULT_TIMEOUT},
        }
    )
)


def take_keys(module: AnsibleModule) -> dict[str, Secret]:
    """Return the Ceph keys; nothing of them is left in the arguments, which are part of every result."""
    given = module.params["keys"] or {}
    hide(module, *(str(key) for key in given.values()))
    module.params["keys"] = dict.fromkeys(given, HIDDEN)
    return {str(entity): Secret(str(key)) for entity, key in given.items()}


def kernels(api: Kube) -> list[str]:
    """Return the versions of the nodes' kernels."""
    nodes = listed(api, "/api/v1/nodes")
    return sorted({str(((one.get("status") or {}).get("nodeInfo") or {}).get("kernelVersion") or "") for one in nodes})


def main(module: AnsibleModule) -> dict[str, t.Any]:
    """Judge, read, plan, and outside check mode apply, wait and look."""
    params = module.params
    keys = take_keys(module)
    facts = facts_.parse(params["facts"])
    declared = targets(params["clusters"])
    ceph, found = findings.judge(params["ceph"], facts, clusters=[one.name for one in declared])
    findings.refuse(found)
    everybody = ceph.consumers if ceph else ()
    removal.check_confirmed(everybody, params["confirm_removal"])
    consumers = [one for one in everybody if not one.absent]
    check(facts.fsid, "is not given.", item="facts.fsid", rule="fsid-missing", fix="give what ceph fsid says.")
    if module.check_mode:
        keys = {**delivery.not_made_yet(consumers), **keys}
    delivery.check_keys(consumers, keys)
    settings = planning.Settings(
        fsid=facts.fsid,
        monitors=facts.known(),
        keys=keys,
        options=Options(
            adopt=params["adopt"],
            prune=params["prune"],
            prune_max_percent=params["prune_max_percent"],
            force_conflicts=params["force_conflicts"],
        ),
        kv_prefix=params["kv_prefix"],
        store=params["store"],
        stores=params["stores"],
        recreate=frozenset(params["recreate_storage_classes"]),
        restart=params["restart_operator"],
        domain=params["label_domain"],
    )
    planning.check_recreate(consumers, settings.recreate)
    stored = [one for one in consumers if one.delivery == OPENBAO]
    check(
        not stored or params["openbao"],
        f"is not given, and {', '.join(one.name for one in stored)} get their keys through it.",
        item="openbao",
        rule="openbao-missing",
        fix="give OpenBao, or say delivery: direct.",
    )
    with contextlib.ExitStack() as stack:
        clients = {
            one.name: stack.enter_context(open_cluster(one, timeout=params["request_timeout"]))
            for one in declared
            if one.name in {each.cluster for each in everybody}
        }
        facts = _with_kernels(facts, consumers, clients)
        found = findings.judge(params["ceph"], facts, clusters=[one.name for one in declared])[1]
        findings.refuse(found)
        outcomes = _prepare(everybody, clients, settings)
        plan, forgetting = Plan(), Plan()
        leaving = [one for one in everybody if one.absent and one.delivery == OPENBAO]
        bao = None
        if params["openbao"] and (stored or leaving):
            bao = stack.enter_context(open_openbao(params["openbao"]))
            mount = params["kv_mount"]
            plan = applying.plan_store(bao, stored, settings, mount=mount)
            forgetting = applying.plan_forgetting(bao, leaving, prefix=params["kv_prefix"], mount=mount)
            if not module.check_mode:
                applying.write_store(bao, plan)
        _carry_out(outcomes, clients, settings, params["wait_timeout"], check_mode=module.check_mode)
        if bao is not None and not module.check_mode:
            applying.forget(bao, forgetting, [one.consumer.name for one in outcomes if one.removed])
        requests = sum(api.requests for api in clients.values()) + (bao.requests if bao else 0)
    written = {change.name for change in plan.changes}
    reports = []
    for outcome in outcomes:
        one = outcome.consumer
        paths = {f"{params['kv_mount']}/{delivery.kv_path(one, role, settings.kv_prefix)}" for role in one.roles}
        reports.append(outcome.as_dict(len(paths & written) if one.delivery == OPENBAO else 0))
        plan.extend(outcome.plan)
    plan.extend(forgetting)
    warnings = [one for one in found if one.level == "warning"]
    plan.warnings += [str(one) for one in warnings]
    plan.warnings += [
        f"consumer {outcome.consumer.name}: External Secrets has not delivered {', '.join(outcome.late)} yet."
        for outcome in outcomes
        if outcome.late and not module.check_mode and not outcome.problem
    ]
    result = plan_result(
        module, plan, consumers=reports, findings=[one.as_dict() for one in warnings], requests=requests
    )
    applying.complain(outcomes, result)
    return result


def _with_kernels(facts: facts_.Facts, consumers: t.Sequence[Consumer], clients: t.Mapping[str, Kube]) -> facts_.Facts:
    """Return the facts with the kernels of clusters for which they matter."""
    asked = {one.cluster for one in consumers if one.key.type == AES256K and not one.key.kernel_ready}
    known = {name: tuple(kernels(clients[name])) for name in sorted(asked)}
    return dataclasses.replace(facts, kernels={**known, **facts.kernels}) if known else facts


def _prepare(
    consumers: t.Sequence[Consumer], clients: t.Mapping[str, Kube], settings: planning.Settings
) -> list[Outcome]:
    """Plan for all consumers, clusters at the same time; one cluster's consumers one after the other."""
    outcomes = [Outcome(one) for one in consumers]

    def cluster(name: str) -> None:
        for outcome in outcomes:
            if outcome.consumer.cluster == name:
                try:
                    if outcome.consumer.absent:
                        others = removal.Neighbours.of(outcome.consumer, consumers)
                        outcome.removal = removal.prepare(clients[name], outcome.consumer, settings.domain, others)
                    else:
                        outcome.prepared = planning.prepare(clients[name], outcome.consumer, settings)
                except HackspaceError as error:
                    outcome.problem = error

    _at_once(cluster, list(clients))
    return outcomes


def _carry_out(
    outcomes: t.Sequence[Outcome],
    clients: t.Mapping[str, Kube],
    settings: planning.Settings,
    timeout: float,
    *,
    check_mode: bool,
) -> None:
    def cluster(name: str) -> None:
        for outcome in outcomes:
            if outcome.consumer.cluster != name or outcome.problem:
                continue
            try:
                if outcome.removal is not None:
                    if not check_mode:
                        removal.execute(clients[name], outcome.removal, timeout=timeout)
                        outcome.removed = True
                    continue
                if outcome.prepared is not None and not check_mode:
                    applying.execute(clients[name], outcome.prepared, timeout=timeout)
                outcome.users, outcome.late = applying.delivered(
                    clients[name], outcome.consumer, settings, timeout=0.0 if check_mode else timeout
                )
            except HackspaceError as error:
                outcome.problem = error

    _at_once(cluster, list(clients))


def _at_once(work: t.Callable[[str], None], names: t.Sequence[str]) -> None:
    if not names:
        return
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(CLUSTERS_AT_ONCE, len(names))) as pool:
        list(pool.map(work, names))


if __name__ == "__main__":
    run(SPEC, main)
