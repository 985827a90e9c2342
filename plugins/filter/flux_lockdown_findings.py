# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what is in a Git tree that a locked-down Flux refuses."""

from __future__ import annotations

import os
import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError, InvalidInput
from ..module_utils._flux import tree
from ..module_utils._flux.model import NAMESPACE

DOCUMENTATION = r"""
name: flux_lockdown_findings
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: What is in a Git tree that a locked-down Flux refuses
description:
  - Reads the manifests of a repository before lockdown is switched on, or in its CI, and returns what would stop to
    work - Kustomizations and HelmReleases of the platform without a ServiceAccount, references to sources of other
    namespaces, bases that lie elsewhere, versions that Flux has removed, variables without a value or default, and a
    Flux that is in Git and not locked down there.
  - kustomize is not run. Of its patches, only the flags of Flux' own controllers are seen.
positional: _input
options:
  _input:
    description:
      - Folder of a checkout. Files C(*.yaml), C(*.yml) and C(Kustomization) are read, those of Git itself are not.
      - Or a list of files, each with C(path) and C(content).
    type: raw
    required: true
  namespace:
    description: Namespace of Flux. Its objects are the platform's.
    type: str
    default: flux-system
"""

EXAMPLES = r"""
- name: Stop before lockdown breaks something
  ansible.builtin.assert:
    that: findings | selectattr('severity', 'equalto', 'error') | length == 0
    fail_msg: "{{ findings | to_nice_yaml }}"
  vars:
    findings: "{{ '/srv/checkouts/clusters' | hackspace.infra.flux_lockdown_findings }}"
"""

RETURN = r"""
_value:
  description: One entry per breach, errors first. Empty if nothing is wrong.
  type: list
  elements: dict
  contains:
    id:
      description:
        - Name of the rule, V(platform-account), V(cross-namespace), V(remote-base), V(removed-api),
          V(substitute-default), V(git-components) or V(unreadable).
      type: str
      sample: cross-namespace
    severity:
      description: V(error), or V(warning) where it depends on what cannot be seen.
      type: str
    file:
      description: Path in the tree.
      type: str
    object:
      description: Kind, namespace and name; empty for a whole file.
      type: str
    item:
      description: Both.
      type: str
    message:
      description: What is wrong.
      type: str
    fix:
      description: What to do about it.
      type: str
"""

#: Larger files are no manifests.
_MAX_BYTES: t.Final = 8_000_000
_NAMES: t.Final = (".yaml", ".yml")


def _folder(top: str) -> t.Iterator[tree.File]:
    if not os.path.isdir(top):
        raise InvalidInput(
            f"{top} is not a folder.", item="_input", rule="tree", fix="give a checkout on the controller, or files."
        )
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted(names):
            if not name.endswith(_NAMES) and name != "Kustomization":
                continue
            full = os.path.join(folder, name)
            path = os.path.relpath(full, top).replace(os.sep, "/")
            try:
                with open(full, "rb") as handle:
                    content = handle.read(_MAX_BYTES + 1)
            except OSError as error:
                yield tree.File(path, (), problem=f"cannot be read ({error.strerror})")
                continue
            if len(content) > _MAX_BYTES:
                yield tree.File(path, (), problem=f"is larger than {_MAX_BYTES} bytes")
            else:
                yield tree.read(path, content)


def _given(entries: t.Iterable[t.Any]) -> t.Iterator[tree.File]:
    for number, entry in enumerate(entries):
        if not isinstance(entry, t.Mapping) or not entry.get("path") or not isinstance(entry.get("content"), str):
            raise InvalidInput(
                "is no file.", item=f"_input[{number}]", rule="tree", fix="give path and content of each file."
            )
        yield tree.read(str(entry["path"]), str(entry["content"]).encode())


def flux_lockdown_findings(source: t.Any, *, namespace: str = NAMESPACE) -> list[dict[str, str]]:
    """Return what is wrong; see DOCUMENTATION."""
    try:
        files = _folder(os.path.expanduser(str(source))) if isinstance(source, str) else _given(source)
        return [one.as_dict() for one in tree.judge(files, namespace=str(namespace))]
    except HackspaceError as error:
        raise AnsibleFilterError(f"flux_lockdown_findings: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"flux_lockdown_findings": flux_lockdown_findings}
