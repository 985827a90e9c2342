# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Classic policies become a table, and what does not is said."""

from __future__ import annotations

import typing as t

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.hackspace.infra.plugins.filter.tier_findings import tier_findings
from ansible_collections.hackspace.infra.plugins.filter.tier_import import tier_import

CLASSIC = """
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: tier-3-edge}, value: 400000}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: tier-4-aux}
value: 200000
preemptionPolicy: Never
---
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: pods}
spec:
  rules:
    - name: priority-4-aux
      match: {any: [{resources: {kinds: [Pod], operations: [CREATE], namespaces: ["4-aux-*"]}}]}
      mutate:
        patchesJson6902: |-
          - {op: remove, path: /spec/priority}
          - {op: add, path: /spec/priorityClassName, value: tier-4-aux}
    - name: priority-3-edge
      match: {any: [{resources: {kinds: [Pod], namespaceSelector: {matchLabels: {tier: 3-edge}}}}]}
      mutate: {patchStrategicMerge: {spec: {+(priorityClassName): tier-3-edge}}}
    - name: ndots
      match: {any: [{resources: {kinds: [Pod]}}]}
      exclude: {any: [{resources: {namespaces: [monitoring]}}]}
      mutate: {patchStrategicMerge: {spec: {dnsConfig: {options: [{name: ndots, value: "2"}]}}}}
    - name: computed
      match: {any: [{resources: {kinds: [Pod], namespaces: ["4-aux-*"]}}]}
      mutate: {patchStrategicMerge: {spec: {priorityClassName: "tier-{{ x }}"}}}
    - name: no-latest
      match: {any: [{resources: {kinds: [Pod]}}]}
      validate: {message: no, pattern: {}}
---
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: limits}
spec:
  rules:
    - name: limits-4-aux
      match: {any: [{resources: {kinds: [Namespace], names: ["4-aux-*"]}}]}
      exclude: {any: [{resources: {selector: {matchLabels: {custom-limits: "true"}}}}]}
      generate:
        kind: LimitRange
        name: tier-defaults
        synchronize: true
        data:
          spec:
            limits: [{type: Container, default: {memory: 256Mi}, defaultRequest: {cpu: 50m, memory: 64Mi}}]
    - name: quota-3-edge
      match: {any: [{resources: {kinds: [Namespace]}}]}
      preconditions:
        all: [{key: "{{ request.object.metadata.labels.tier || '' }}", operator: Equals, value: 3-edge}]
      generate:
        kind: ResourceQuota
        name: tier-quota
        data: {spec: {hard: {pods: "20"}}}
    - name: limits-others
      match: {any: [{resources: {kinds: [Namespace]}}]}
      generate:
        kind: LimitRange
        name: tier-defaults
        data: {spec: {limits: [{type: Container, default: {memory: 192Mi}}]}}
    - name: everywhere
      match: {any: [{resources: {kinds: [Namespace]}}]}
      generate: {kind: Secret, name: pull, clone: {namespace: kyverno, name: pull}}
    - name: listed
      match: {any: [{resources: {kinds: [Namespace], names: [4-aux-wiki]}}]}
      generate: {kind: Secret, name: pull, clone: {namespace: kyverno, name: pull}}
    - name: network
      match: {any: [{resources: {kinds: [Namespace]}}]}
      generate: {kind: NetworkPolicy, name: default-deny, data: {spec: {}}}
"""


@pytest.fixture(scope="module")
def read() -> dict[str, t.Any]:
    return tier_import(list(yaml.safe_load_all(CLASSIC)))


def test_the_table(read: dict[str, t.Any]) -> None:
    limits = {"default": {"memory": "256Mi"}, "defaultRequest": {"cpu": "50m", "memory": "64Mi"}}
    assert read["table"] == {
        "tiers": [
            {
                "name": "3-edge",
                "priority": {"class": "tier-3-edge", "value": 400000},
                "quota": {"hard": {"pods": "20"}},
            },
            {
                "name": "4-aux",
                "prefixes": ["4-aux-"],
                "priority": {"class": "tier-4-aux", "value": 200000, "preemption": "Never"},
                "limit_range": limits,
            },
        ],
        "fallback": {"limit_range": {"default": {"memory": "192Mi"}}},
        "pods": {"ndots": 2},
        "label": "tier",
        "names": {"limit_range": "tier-defaults", "quota": "tier-quota"},
        "optout_labels": {"limit_range": "custom-limits"},
        "more_exclusions": ["monitoring"],
        "distribute": [{"name": "pull", "way": "kyverno", "source_namespace": "kyverno", "namespaces": ["4-aux-wiki"]}],
    }


def test_the_table_can_be_compiled(read: dict[str, t.Any]) -> None:
    assert [one for one in tier_findings(read["table"]) if one["severity"] == "error"] == []


def test_what_is_not_read_is_said(read: dict[str, t.Any]) -> None:
    assert [(one["policy"], one["rule"]) for one in read["unread"]] == [
        ("pods", "computed"),
        ("pods", "no-latest"),
        ("limits", "everywhere"),
        ("limits", "network"),
    ]
    assert all(one["why"] for one in read["unread"])


def test_a_class_whose_value_is_not_known_is_left_out() -> None:
    objects = [one for one in yaml.safe_load_all(CLASSIC) if one["kind"] != "PriorityClass"]
    result = tier_import(objects)
    assert not any("priority" in tier for tier in result["table"]["tiers"])
    assert sum("its value is not known" in one["why"] for one in result["unread"]) == 2


@pytest.mark.parametrize("wrong", ["text", [1], [{"apiVersion": "kyverno.io/v1", "spec": {"rules": [1]}}]])
def test_what_is_no_policy(wrong: t.Any) -> None:
    with pytest.raises(AnsibleFilterError, match="tier_import"):
        tier_import(wrong)


def _imported(match: str, more: str = "") -> dict[str, t.Any]:
    text = f"""
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{name: limits}}
spec:
  rules:
    - name: quota
      match: {{any: [{{resources: {{kinds: [Namespace], {match}}}}}]}}
      {more}
      generate: {{kind: ResourceQuota, name: tier-quota, data: {{spec: {{hard: {{pods: "20"}}}}}}}}
"""
    return tier_import(list(yaml.safe_load_all(text)))


def _selector(operator: str, key: str = "kubernetes.io/metadata.name", values: str = "[metallb-system]") -> str:
    given = "" if operator == "Exists" else f", values: {values}"
    return f"selector: {{matchExpressions: [{{key: {key}, operator: {operator}{given}}}]}}"


def test_names_in_selectors() -> None:
    assert _imported(_selector("NotIn"))["table"]["more_exclusions"] == ["metallb-system"]
    [tier] = _imported(_selector("In", values="[wiki]"))["table"]["tiers"]
    assert tier["namespaces"] == ["wiki"]
    [tier] = _imported("selector: {matchLabels: {kubernetes.io/metadata.name: wiki}}")["table"]["tiers"]
    assert tier["namespaces"] == ["wiki"]
    excluded = _imported('names: ["4-aux-*"]', f"exclude: {{any: [{{resources: {{{_selector('In')}}}}}]}}")
    assert excluded["table"]["more_exclusions"] == ["metallb-system"]


def test_an_opt_out_as_a_precondition() -> None:
    key = '"{{ request.object.metadata.labels.\\"gov/own\\" || \'\' }}"'
    more = f'preconditions: {{all: [{{key: {key}, operator: NotEquals, value: "true"}}]}}'
    table = _imported('names: ["4-aux-*"]', more)["table"]
    assert table["optout_labels"] == {"quota": "gov/own"}
    assert [tier["name"] for tier in table["tiers"]] == ["4-aux"]


@pytest.mark.parametrize(
    ("match", "more"),
    [
        (_selector("Exists", "tier"), ""),
        (_selector("NotIn", "tier", "[3-edge]"), ""),
        ('names: ["4-aux-*"]', "exclude: {any: [{resources: {selector: {matchLabels: {team: a}}}}]}"),
        (
            'names: ["*"]',
            "preconditions: {all: [{key: \"{{ request.object.metadata.labels.tier || '' }}\", "
            "operator: NotEquals, value: x}]}",
        ),
        ('names: ["*"]', 'preconditions: {all: [{key: "{{ request.namespace }}", operator: Equals, value: x}]}'),
    ],
)
def test_choices_that_a_table_cannot_say_are_not_guessed(match: str, more: str) -> None:
    made = _imported(match, more)
    assert made["table"] == {"tiers": []}
    [unread] = made["unread"]
    assert unread["rule"] == "quota"
    assert unread["why"]
