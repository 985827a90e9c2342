# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: tests of namespace tiers for Kyverno's command line."""

from __future__ import annotations

import typing as t

import yaml
from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError, InvalidInput
from ..module_utils._tiers.cli_tests import suite
from ..module_utils._tiers.findings import Target, findings, refusals
from ..module_utils._tiers.model import parse, plain
from ..module_utils._tiers.policies import Backends

DOCUMENTATION = r"""
name: tier_tests
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: Tests of namespace tiers for Kyverno's command line
description:
  - Renders test files, samples and the policies themselves, for C(kyverno test FOLDER) of Kyverno 1.19. It needs no
    cluster. The same table always gives the same files.
  - Tried are class, C(ndots) and CPU limits of pods, classes that a pod names itself, accelerators, held and excluded
    namespaces, each source of the namespace tier, who may set which label, what is generated, and the order of
    LimitRange and ResourceQuota; each as it must be and as it must not.
  - What is expected comes from a second implementation of the rules that knows nothing of the policies' expressions.
  - The command line prints C(Excluded) for a policy whose selector leaves a sample out, and takes that for any result.
    RV(_value.excluded) says how often this must be; C(kyverno test FOLDER) with another number has found something.
  - A table with errors (see C(tier_findings)) is refused.
positional: _input
options:
  _input:
    description:
      - The table of namespace tiers, as in C(platform_tiers). With C(base), V(default) or V(service_levels), it starts
        from a table that comes with the collection, and what else is given goes over that.
    type: dict
    required: true
  limits:
    description:
      - Where LimitRange and ResourceQuota come from, as for C(tier_policies). There is nothing to test with V(static).
    type: str
    choices: [static, kyverno]
    default: kyverno
  pods:
    description: What changes pods, as for C(tier_policies).
    type: str
    choices: [native, kyverno]
    default: kyverno
  guards:
    description: What refuses, as for C(tier_policies).
    type: str
    choices: [native, kyverno]
    default: kyverno
  pod_spec:
    description:
      - What all sample pods have in their C(spec). Needed if the table has further C(rules) that the samples break
        otherwise; C(containers) and C(initContainers) are the samples' own.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Write the tests
  ansible.builtin.copy:
    content: "{{ item.value }}"
    dest: "{{ playbook_dir }}/tests/tiers/{{ item.key }}"
    mode: "0644"
  loop: "{{ (platform_tiers | hackspace.infra.tier_tests).files | dict2items }}"
  loop_control:
    label: "{{ item.key }}"
"""

RETURN = r"""
_value:
  description: The tests.
  type: dict
  contains:
    files:
      description: Contents by path in the folder.
      type: dict
    results:
      description: How many results the command line prints, if all is well.
      type: int
    excluded:
      description: How many of those are C(Excluded).
      type: int
    not_covered:
      description: What the command line cannot try.
      type: list
      elements: str
"""

_HEADER = "# Made by hackspace.infra.tier_tests from the table of namespace tiers; changes are lost.\n"


class _Dumper(yaml.SafeDumper):
    """Writes every document in full: no anchors."""

    def ignore_aliases(self, data: t.Any) -> bool:
        return True


def _text(documents: t.Sequence[t.Any]) -> str:
    return _HEADER + yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, explicit_start=True, width=4096, allow_unicode=True
    )


def tier_tests(
    table: t.Any,
    *,
    limits: str = "kyverno",
    pods: str = "kyverno",
    guards: str = "kyverno",
    pod_spec: t.Any = None,
) -> dict[str, t.Any]:
    """Return the tests; see DOCUMENTATION."""
    try:
        base = plain(pod_spec or {})
        if not isinstance(base, dict) or {"containers", "initContainers"} & set(base):
            raise InvalidInput(
                "pod_spec is no mapping, or has containers.",
                item="pod_spec",
                rule="pod-spec",
                fix="give what goes into the spec of a pod besides containers and initContainers.",
            )
        parsed = parse(plain(table))
        backends = Backends(limits, pods, guards)
        wrong = refusals(findings(parsed, Target(backends=backends)))
        if wrong:
            raise AnsibleFilterError(f"tier_tests: {' '.join(wrong)}")
        made = suite(parsed, backends, base)
    except HackspaceError as error:
        raise AnsibleFilterError(f"tier_tests: {error}") from error
    return {
        "files": {path: _text(documents) for path, documents in made.files.items()},
        "results": made.results,
        "excluded": made.excluded,
        "not_covered": list(made.not_covered),
    }


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"tier_tests": tier_tests}
