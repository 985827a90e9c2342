# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what is wrong with an inventory."""

from __future__ import annotations

import dataclasses
import os
import stat
import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._graph.inventory_model import (
    HOST_GROUPS,
    FileFact,
    Inventory,
    all_texts,
    findings,
    host_variable,
)

DOCUMENTATION = r"""
name: inventory_findings
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: What is wrong with the inventory of a site
description:
  - Checks the C(platform_*) variables and the hosts of the inventory against the contract, which is a JSON Schema plus
    rules between fields, and returns everything that is wrong at once.
  - Texts that look like an OpenBao secret, an unseal share or a private key are never repeated, only their place.
  - Texts encrypted by ansible-vault and results of lookups are not taken for plain text.
  - Needs the Python package C(jsonschema) on the controller.
positional: _input
options:
  _input:
    description: The C(platform_*) variables by name. Variables that are not there are fine.
    type: dict
    required: true
  groups:
    description: Hosts by group, as in the variable C(groups).
    type: dict
    default: {}
  hostvars:
    description:
      - Variables by host, as in the variable C(hostvars).
      - Only hosts of the groups C(openbao_nodes), C(pve_nodes) and C(talos_vms) are looked at, and of their variables
        those named C(openbao_*), C(pve_*) and C(talos_*) and those named like an OpenBao secret.
    type: dict
    default: {}
  files:
    description: Look whether the files that are named exist on the controller, and at their modes.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Show what is wrong with these variables
  ansible.builtin.debug:
    msg: "{{ {'platform_clusters': platform_clusters} | hackspace.infra.inventory_findings }}"

- name: Check the nodes, too
  ansible.builtin.debug:
    msg: >-
      {{ {'platform_openbao': platform_openbao, 'platform_clusters': platform_clusters}
      | hackspace.infra.inventory_findings(groups=groups, hostvars=hostvars) }}
"""

RETURN = r"""
_value:
  description: One entry per broken rule, sorted by place. Empty if the inventory is right.
  type: list
  elements: dict
  contains:
    id:
      description: Name of the rule.
      type: str
      sample: unique-cluster-name
    severity:
      description: V(error) or V(warning).
      type: str
      sample: error
    item:
      description: Place in the inventory.
      type: str
      sample: platform_clusters[1].name
    message:
      description: What is wrong.
      type: str
    fix:
      description: What to do about it.
      type: str
"""


def _look(path: str) -> FileFact:
    try:
        mode = stat.S_IMODE(os.stat(os.path.expanduser(path)).st_mode)
    except OSError:
        return FileFact(exists=False)
    return FileFact(exists=os.access(os.path.expanduser(path), os.R_OK), mode=mode)


def _in_encrypted_file(text: str) -> bool:
    """Say if Ansible read *text* from a file that is encrypted as a whole."""
    try:
        from ansible._internal._datatag._tags import Origin
    except ImportError:
        return False
    origin = Origin.get_tag(text)
    if origin is None or not origin.path:
        return False
    try:
        with open(origin.path, "rb") as handle:
            return handle.read(14) == b"$ANSIBLE_VAULT"
    except OSError:
        return False


def _encrypted(text: str) -> bool:
    """Say if *text* is encrypted by ansible-vault where it stands, by itself or with its file."""
    from ansible.parsing.vault import VaultHelper

    return bool(VaultHelper.get_ciphertext(text, with_tags=False)) or _in_encrypted_file(text)


def _written(text: str) -> bool:
    """Say if *text* is written as such in a file, and is not the result of a template or a lookup."""
    from ansible.template import is_trusted_as_template

    return bool(is_trusted_as_template(text))


def _plain_copy(value: t.Any) -> t.Any:
    """Return *value* as ordinary containers whose texts keep what Ansible knows about them."""
    if isinstance(value, t.Mapping):
        return {str(k): _plain_copy(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_copy(v) for v in value]
    return value


def _hosts(groups: t.Mapping[str, t.Any], hostvars: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """Return the variables to look at. Only these are asked for, as asking makes Ansible compute them."""
    return {
        group: {
            str(host): {
                str(name): _plain_copy(hostvars[host][name])
                for name in sorted(hostvars[host])
                if host_variable(str(name))
            }
            for host in groups[group]
        }
        for group in HOST_GROUPS
        if group in groups
    }


def inventory_findings(
    variables: t.Any, groups: t.Any = None, hostvars: t.Any = None, files: bool = True
) -> list[dict[str, str]]:
    """Return what is wrong with the inventory; see DOCUMENTATION."""
    if not isinstance(variables, t.Mapping):
        raise AnsibleFilterError("inventory_findings: the input is not a mapping of variables.")
    inventory = Inventory(
        variables=_plain_copy(variables),
        hosts=_hosts(groups or {}, hostvars or {}),
        groups=[str(g) for g in groups or []],
    )
    texts = [(path, text) for path, _other, text in all_texts(inventory)]
    encrypted = frozenset(path for path, text in texts if _encrypted(text))
    plain = frozenset(path for path, text in texts if _written(text)) - encrypted
    inventory = dataclasses.replace(inventory, plain=plain, encrypted=encrypted)
    try:
        found = findings(inventory, _look if files else None)
    except ImportError as error:
        raise AnsibleFilterError(
            "inventory_findings: the Python package jsonschema is missing: pip install -r requirements.txt"
        ) from error
    return [f.as_dict() for f in found]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"inventory_findings": inventory_findings}
