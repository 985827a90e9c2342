#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: what a living OpenBao looks like, and what is wrong with it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_info
short_description: What a living OpenBao looks like, and what is wrong with it
version_added: 0.1.0
author: hackspace.infra contributors (@hackspace)
description:
  - Reads auth mounts and their roles, secret engines, OpenBao policies, identities, tokens, raft peers and audit
    devices of one server, and returns findings that a person can act on.
  - Writes nothing. Apart from logging in and out, the only requests that are not reads by their method are look-ups of
    tokens by their accessor, for which the server offers no other way.
  - What the login may not read is named in RV(not_checked) and does not make the module fail.
  - Address the active node; RV(ignore:active) of M(hackspace.infra.openbao_seal_info) says which one it is.
extends_documentation_fragment:
  - hackspace.infra._openbao
  - hackspace.infra._attributes
  - hackspace.infra._attributes.info
  - hackspace.infra._attributes.actiongroup_openbao
options:
  tokens:
    description:
      - Look up every token by its accessor, to find root tokens, tokens that never end and tokens near their end.
      - Needs C(sudo) on C(auth/token/accessors). Batch tokens are not listed by the server.
    type: bool
    default: true
  limit:
    description:
      - Read at most this many tokens, entities, groups, and roles of one mount. What is left out is named in
        RV(not_checked).
    type: int
    default: 1000
  long_ttl:
    description: Seconds. Roles whose tokens may live longer are reported.
    type: int
    default: 86400
  expiry_warning:
    description: Seconds. Tokens that end sooner, and have passed half of their life, are reported.
    type: int
    default: 604800
  short_lived:
    description: Seconds. Tokens that were issued for less are not reported when they end.
    type: int
    default: 86400
seealso:
  - module: hackspace.infra.openbao_seal_info
"""

EXAMPLES = r"""
- name: Look at a living server
  hackspace.infra.openbao_info:
    url: https://192.0.2.11:8200
    tls_server_name: openbao.example.org
    ca_cert: ~/openbao-ca.pem
    auth_method: userpass
    username: ada
    password_file: ~/.openbao-password
  register: openbao

- name: Show what is wrong
  ansible.builtin.debug:
    msg: "{{ openbao.findings | map(attribute='message') }}"
"""

RETURN = r"""
version:
  description: Version that the server reports.
  type: str
  returned: always
  sample: 2.6.2
findings:
  description: What a person should know, the most severe first.
  type: list
  elements: dict
  returned: always
  contains:
    id:
      description: Name of the finding.
      type: str
      sample: role-without-audience
    severity:
      description: V(error), V(warning) or V(info).
      type: str
      sample: warning
    item:
      description: What it is about.
      type: str
      sample: auth mount kubernetes-member-prod role eso
    message:
      description: What is the case.
      type: str
    fix:
      description: What to do about it.
      type: str
not_checked:
  description: What could not be read, and why.
  type: list
  elements: dict
  returned: always
  contains:
    what:
      description: What was not checked.
      type: str
      sample: tokens
    why:
      description: The reason.
      type: str
      sample: the login may not list auth/token/accessors (HTTP 403)
auth_mounts:
  description: Auth mounts.
  type: list
  elements: dict
  returned: always
  contains:
    path:
      description: Path below C(auth/).
      type: str
      sample: kubernetes-member-prod
    type:
      description: Type.
      type: str
      sample: kubernetes
    accessor:
      description: Accessor.
      type: str
    description:
      description: Description.
      type: str
    ours:
      description: Whether it is marked as managed by this collection.
      type: bool
    roles:
      description: Names of its roles, users or groups; V(none) if they could not be read.
      type: list
      elements: str
secret_engines:
  description: Secret engines.
  type: list
  elements: dict
  returned: always
  contains:
    path:
      description: Path.
      type: str
      sample: kv
    type:
      description: Type.
      type: str
      sample: kv
    version:
      description: Version of a KV engine.
      type: str
      sample: "2"
    description:
      description: Description.
      type: str
    ours:
      description: Whether it is marked as managed by this collection.
      type: bool
policies:
  description: Names of the OpenBao policies.
  type: list
  elements: str
  returned: always
raft_peers:
  description: Raft peers.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name of the peer.
      type: str
      sample: openbao-0
    address:
      description: Cluster address.
      type: str
    leader:
      description: Whether it leads.
      type: bool
    voter:
      description: Whether it has a vote.
      type: bool
    healthy:
      description: Whether autopilot calls it healthy; V(none) if unknown.
      type: bool
audit_devices:
  description: Paths of the audit devices; V(none) if the login may not see them.
  type: list
  elements: str
  returned: always
tokens_seen:
  description: Number of tokens that were looked up.
  type: int
  returned: always
requests:
  description: Number of requests sent.
  type: int
  returned: always
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import CONNECTION_SPEC, client_of
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_reader import read_facts
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import check
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, run
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.info_findings import Limits, info_findings
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.info_report import info_result

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "tokens": {"type": "bool", "default": True, "no_log": False},
            "limit": {"type": "int", "default": 1000},
            "long_ttl": {"type": "int", "default": 86400},
            "expiry_warning": {"type": "int", "default": 604800},
            "short_lived": {"type": "int", "default": 86400},
        }
    )
)


def main(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    """Read, judge, report."""
    params = module.params
    for name in ("limit", "long_ttl", "expiry_warning", "short_lived"):
        check(
            params[name] > 0, f"{params[name]} is not above 0.", item=name, rule="range", fix="give a positive number."
        )
    with client_of(params) as client:
        facts = read_facts(client, tokens=params["tokens"], limit=params["limit"])
    limits = Limits(params["long_ttl"], params["expiry_warning"], params["short_lived"])
    return {"changed": False, **info_result(facts), "findings": [f.as_dict() for f in info_findings(facts, limits)]}


if __name__ == "__main__":
    run(SPEC, main)
