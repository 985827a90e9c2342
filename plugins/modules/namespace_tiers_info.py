#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: what breaks if a table of namespace tiers is applied."""

from __future__ import annotations

DOCUMENTATION = r"""
module: namespace_tiers_info
short_description: What breaks if a table of namespace tiers is applied
version_added: 0.1.0
author:
  - hackspace.infra contributors (@hackspace)
description:
  - Reckons what a table of namespace tiers would do to every namespace of a cluster, before it is applied. Pods,
    workloads, autoscalers, nodes, and all LimitRanges and ResourceQuotas that would then be there are looked at, as
    the API server does.
  - The objects are read from a cluster, by one list for each kind, or from files (O(dump)). Kubernetes Secrets are
    never read.
  - What could not be read is named, and then no namespace is called V(ok).
  - Also says what is wrong with the table itself, as the filter P(hackspace.infra.tier_findings#filter) does with
    live objects and policies.
  - Writes nothing. With O(fail_on), it fails after the report is made, and the report is part of the failure.
notes:
  - Run it on the controller, with C(connection=local) or C(delegate_to=localhost); kubeconfig and dumps are files
    there.
  - The rights that it needs are in C(docs/tiers_impact.md).
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - hackspace.infra._kube
  - hackspace.infra._attributes
  - hackspace.infra._attributes.info
  - hackspace.infra._attributes.actiongroup_kube
options:
  tiers:
    description: The table that is to be applied, as in C(platform_tiers).
    type: dict
    required: true
  old_table:
    description:
      - The table that is in force. With it, it is also said which namespaces lose their namespace tier and which
        pods will change their class; and pods that lack what the old table puts in have missed it.
      - Without an old table, the new one is taken as being in force already where pods are judged.
    type: dict
  old:
    description:
      - V(live) reads the table that the module C(namespace_tiers) applied, from the ConfigMap C(namespace-tiers-table).
      - V(given) takes O(old_table), if there is one.
    type: str
    choices: [given, live]
    default: given
  inventory_namespace:
    description: Where that ConfigMap is, for O(old=live).
    type: str
    default: kube-system
  dump:
    description:
      - Files with live objects instead of a cluster, as C(kubectl get ... -A -o json) writes them. A list, a list
        of lists, lists one after the other, or one object a line; gzip is recognised.
      - They are read one object at a time, so that they may be large.
    type: list
    elements: path
    default: []
  absent_kinds:
    description:
      - Kinds of which the cluster has no objects. Of a dump, nobody can tell whether a kind was left out or there
        is nothing of it.
    type: list
    elements: str
    default: []
    choices:
      - Pod
      - LimitRange
      - ResourceQuota
      - Deployment
      - StatefulSet
      - DaemonSet
      - Job
      - CronJob
      - HorizontalPodAutoscaler
      - Node
  more_nodes:
    description: How many nodes may come soon. DaemonSets are reckoned with so many more.
    type: int
    default: 1
  fail_on:
    description:
      - Verdicts that fail the module, after the report. V(finding-errors) are errors in the table or in policies.
    type: list
    elements: str
    default: []
    choices:
      - rejected
      - class-refused
      - no-default
      - frozen
      - no-surge
      - no-growth
      - not-seen
      - double-owner
      - orphan
      - tier-lost
      - tier-conflict
      - missed-injection
      - will-change-priority
      - on-defaults
      - opt-out
      - hold
      - finding-errors
  details:
    description: Return C(quotas) of every namespace, too. Of many namespaces, that is a lot.
    type: bool
    default: false
  limits:
    description: Where LimitRange and ResourceQuota come from, as with P(hackspace.infra.tier_policies#filter).
    type: str
    choices: [static, kyverno]
    default: kyverno
  pods:
    description: What changes pods when they are created.
    type: str
    choices: [native, kyverno]
    default: kyverno
  guards:
    description: What refuses.
    type: str
    choices: [native, kyverno]
    default: kyverno
  kubernetes_version:
    description: Version of the cluster, as V(1.36.3). What depends on it is not checked without.
    type: str
    default: ""
  kyverno_version:
    description: Version of Kyverno on the cluster, as V(1.19.1). What depends on it is not checked without.
    type: str
    default: ""
  strict:
    description: Whether what older versions of Kyverno do wrong is an error instead of a warning.
    type: bool
    default: false
seealso:
  - plugin: hackspace.infra.tier_findings
    plugin_type: filter
  - plugin: hackspace.infra.tier_policies
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Say what the table would do, and stop before it hurts
  hackspace.infra.namespace_tiers_info:
    kubeconfig: ~/.kube/member-prod
    tiers: "{{ platform_tiers }}"
    old: live
    fail_on: [rejected, frozen, no-surge, not-seen]

- name: The same in CI, from a file
  hackspace.infra.namespace_tiers_info:
    tiers: "{{ platform_tiers }}"
    old_table: "{{ lookup('ansible.builtin.file', 'tiers-before.yml') | from_yaml }}"
    dump: [objects.json.gz]
    absent_kinds: [CronJob]
  register: impact

- name: Show it
  ansible.builtin.debug:
    msg: "{{ impact.table }}"
"""

RETURN = r"""
verdict:
  description: The worst verdict of all namespaces; V(ok) if there is none, V(not-seen) if there was no namespace.
  returned: always, also on failure by O(fail_on)
  type: str
  sample: frozen
complete:
  description: Whether everything could be read that namespaces are judged by.
  returned: always
  type: bool
not_seen:
  description: Kinds that could not be read.
  returned: always
  type: list
  elements: str
  sample: [HorizontalPodAutoscaler]
counts:
  description: How many namespaces have which worst verdict.
  returned: always
  type: dict
  sample: {frozen: 1, ok: 11}
namespaces:
  description: One entry for each namespace, by name.
  returned: always
  type: list
  elements: dict
  contains:
    namespace:
      description: Its name.
      type: str
    tier:
      description: Its namespace tier in the new table; V(untiered), or empty if it is excluded.
      type: str
    source:
      description: Where the namespace tier comes from.
      type: str
    before:
      description: Its namespace tier in the old table.
      type: str
    changes:
      description: What changes about its LimitRange and ResourceQuota.
      type: list
      elements: str
      sample: ["ResourceQuota tier-quota: hard.pods 30 -> 20"]
    pods:
      description: Number of pods.
      type: int
    quotas:
      description:
        - With O(details), for each quota and key what is used now, what is allowed then, and what all workloads
          together come to.
      type: list
      elements: dict
      sample: [{quota: tier-quota, key: pods, used: "3", hard: "20", peak: "5"}]
    not_reckoned:
      description: Keys of quotas about which nothing is known.
      type: list
      elements: str
    verdict:
      description: The worst verdict, or V(ok).
      type: str
    ok:
      description: Whether there is none.
      type: bool
    verdicts:
      description: All verdicts, the worst first.
      type: list
      elements: dict
      sample:
        - verdict: frozen
          what: "tier-quota: pods"
          message: 25 is used, 20 will be allowed by quota tier-quota
findings:
  description: What is wrong with the table and the policies, as from P(hackspace.infra.tier_findings#filter).
  returned: always
  type: list
  elements: dict
compiled:
  description: What the table is compiled into. Number of C(objects), C(failure_policies), C(warnings).
  returned: always
  type: dict
failing:
  description: What O(fail_on) names and is the case.
  returned: always
  type: list
  elements: str
  sample: ["4-aux-wiki: frozen"]
table:
  description: The report for a terminal, line by line. Namespaces that are ok are only counted.
  returned: always
  type: list
  elements: str
markdown:
  description: The report as Markdown.
  returned: always
  type: str
requests:
  description: Number of requests sent to the API server.
  returned: always
  type: int
  sample: 17
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import (
    CONNECTION_SPEC,
    client_of,
    take_login,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput, Refused, check
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, mask_only, run
from ansible_collections.hackspace.infra.plugins.module_utils._kube import dump
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import live, report
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.findings import Target, version
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.impact import KINDS
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import Table, parse
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.policies import GUARDS, LIMITS, PODS, Backends

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "tiers": {"type": "dict", "required": True},
            "old_table": {"type": "dict"},
            "old": {"type": "str", "choices": ["given", "live"], "default": "given"},
            "inventory_namespace": {"type": "str", "default": "kube-system"},
            "dump": {"type": "list", "elements": "path", "default": []},
            "absent_kinds": {
                "type": "list",
                "elements": "str",
                "default": [],
                "choices": [kind for kind in KINDS if kind != "Namespace"],
            },
            "more_nodes": {"type": "int", "default": 1},
            "fail_on": {"type": "list", "elements": "str", "default": [], "choices": list(report.FAIL_ON)},
            "details": {"type": "bool", "default": False},
            "limits": {"type": "str", "choices": list(LIMITS), "default": "kyverno"},
            "pods": {"type": "str", "choices": list(PODS), "default": "kyverno"},
            "guards": {"type": "str", "choices": list(GUARDS), "default": "kyverno"},
            "kubernetes_version": {"type": "str", "default": ""},
            "kyverno_version": {"type": "str", "default": ""},
            "strict": {"type": "bool", "default": False},
        }
    )
)

#: Places of a failing namespace that the error itself names; all are in the report.
_NAMED = 5
#: Shorter words are part of others.
_MASKED_LENGTH = 8


def hide_login(module: AnsibleModule) -> dict[str, t.Any]:
    """Return the connection options; hide what is secret in them, in all that the module prints, and nothing else.

    Of a kubeconfig that is given as data, Ansible would mask every word, wherever it occurs in the report.
    """
    login, hidden = take_login(module.params)
    kubeconfig = login["kubeconfig"]
    todo: list[t.Any] = list(kubeconfig.get("users") or ()) if isinstance(kubeconfig, dict) else []
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            todo += [value for key, value in one.items() if key != "name"]
        elif isinstance(one, list):
            todo += one
        elif isinstance(one, str):
            hidden.add(one)
    mask_only(module, hidden, least=_MASKED_LENGTH)
    return login


def read_dumps(paths: t.Sequence[str]) -> live.Seen:
    """Return what is in the files."""
    seen = live.Seen()
    for index, path in enumerate(paths):
        try:
            with open(path, "rb") as handle:
                live.from_dump(dump.objects(handle, path, live.trimmed), seen)
        except OSError as error:
            raise InvalidInput(
                f"{path} cannot be read ({error.strerror}).",
                item=f"dump[{index}]",
                rule="dump-file",
                fix="give an existing file on the controller.",
            ) from None
    check(
        any(one["kind"] == "Namespace" for one in seen.objects),
        "there is no Namespace in it, and nothing can be said without them.",
        item="dump",
        rule="dump-without-namespaces",
        fix="let kubectl get write namespaces, too; see docs/tiers_impact.md.",
    )
    return seen


def _table(value: t.Any, item: str) -> Table:
    try:
        return parse(value)
    except InvalidInput as error:
        raise InvalidInput(error.message, item=f"{item}: {error.item}", rule=error.rule, fix=error.fix) from None


def main(module: AnsibleModule) -> dict[str, t.Any]:
    """Read, reckon, report."""
    # First of all, and before anything can fail: the arguments are part of every result.
    login = hide_login(module)
    params = module.params
    new = _table(params["tiers"], "tiers")
    old = _table(params["old_table"], "old_table") if params["old_table"] is not None else None
    check(
        params["more_nodes"] >= 0,
        "there cannot come fewer than no nodes.",
        item="more_nodes",
        rule="more-nodes",
        fix="give 0 or more.",
    )
    from_cluster = params["old"] == "live"
    check(
        not (from_cluster and params["dump"]),
        "the table that is applied is in the cluster, not in a dump.",
        item="old",
        rule="old-live-dump",
        fix="give old_table, or leave out dump.",
    )
    check(
        not (from_cluster and old is not None),
        "there are two old tables.",
        item="old",
        rule="two-old-tables",
        fix="give old: live or old_table, not both.",
    )
    target = Target(
        backends=Backends(params["limits"], params["pods"], params["guards"]),
        kubernetes=version(params["kubernetes_version"], "kubernetes_version"),
        kyverno=version(params["kyverno_version"], "kyverno_version"),
        strict=params["strict"],
    )
    requests = 0
    if params["dump"]:
        seen = read_dumps(params["dump"])
    else:
        with client_of(login) as api:
            if from_cluster:
                applied, why = live.applied(api, params["inventory_namespace"])
                if why:
                    module.warn(why)
                else:
                    old = _table(applied, "old (live)")
            seen = live.read(api)
            requests = api.requests
    asked = report.Asked(
        old=old,
        new=new,
        target=target,
        more_nodes=params["more_nodes"],
        absent=tuple(params["absent_kinds"]),
        fail_on=tuple(params["fail_on"]),
        details=params["details"],
    )
    made = report.report(asked, seen)
    for warning in report.warnings(asked, seen, made):
        module.warn(warning)
    result = {"changed": False, **made, "requests": requests}
    if made["failing"]:
        named = made["failing"][:_NAMED]
        more = len(made["failing"]) - len(named)
        raise Refused(
            f"the table does what must not be: {', '.join(named)}{f' and {more} more' if more else ''}.",
            item="fail_on",
            rule="impact",
            fix="see table for what and why; change the table or the namespaces, or take the verdict off fail_on.",
            data=result,
        )
    return result


if __name__ == "__main__":
    run(SPEC, main)
