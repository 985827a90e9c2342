#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_init
version_added: 0.1.0
short_description: Initialise OpenBao once, with unseal shares encrypted to their holders
description:
  - Initialises the first of O(nodes) if no node is initialised, and never otherwise. Fresh nodes beside an initialised
    one join it by themselves (C(retry_join)).
  - Everything that can fail is tried before the one request is sent. Each unseal share is encrypted to its holder in
    memory and written to O(output_dir) before anything else happens. No share and no root token is ever returned or
    written in clear.
  - The root token is used in the same run to make the administrators' login (auth mount, OpenBao policy, login), which
    is proved to work. Then the root token is revoked, which is proved too.
  - With a seal that unseals by itself the shares are recovery shares; they are kept in the same way.
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._openbao_seal
  - hackspace.infra._openbao_seal.tls
attributes:
  check_mode:
    details: Asks the nodes and checks everything, sends nothing and writes nothing.
  idempotent:
    details: An initialised cluster is left alone, whatever else is asked for.
requirements:
  - pyrage, for holders with O(holders[].age_recipient)
  - gpg, for holders with O(holders[].pgp_public_key_file)
options:
  holders:
    description: The people who keep the unseal shares, one share each, in the order of the shares.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the person; also the name of the share file.
        type: str
        required: true
      age_recipient:
        description:
          - Their age recipient (C(age1...)) or SSH public key.
          - Give exactly one of this and O(holders[].pgp_public_key_file).
        type: str
      pgp_public_key_file:
        description: File on the controller with their PGP public key, armored or binary.
        type: path
  shares:
    description: Number of unseal shares; as many as there are holders.
    type: int
    required: true
  threshold:
    description: Number of shares that unseal a node.
    type: int
    required: true
  single_share:
    description: Allow a threshold of 1 (with one share). One person alone can then unseal, and lose everything.
    type: bool
    default: false
  output_dir:
    description:
      - Folder on the controller for the share files, C(<holder>.age) or C(<holder>.asc), and their public record
        C(shares.json). It must exist, be ours and have mode 0700.
      - Nothing in it is ever overwritten.
    type: path
    required: true
  encrypt_on:
    description:
      - Where the shares are encrypted. On the V(controller) they exist in clear in this process for as long as it
        takes to encrypt them, unseal the first node and make the administrators' login.
      - With V(server) OpenBao encrypts them itself, for PGP holders only. Then nothing can be unsealed in this run, the
        administrators' login is made by hand, and the root token goes, encrypted, to O(root_token_holder).
    type: str
    choices: [controller, server]
    default: controller
  root_token_holder:
    description: Name of the holder who gets the encrypted root token, with O(encrypt_on=server).
    type: str
  admin:
    description: The administrators' login to make. Required with O(encrypt_on=controller).
    type: dict
    suboptions:
      auth_method:
        description: How administrators log in.
        type: str
        choices: [userpass, cert]
        default: userpass
      mount_point:
        description: Path of the auth mount, the method's name by default.
        type: str
      username:
        description: Name of the login (of the certificate role, for V(cert)).
        type: str
        required: true
      password:
        description: For V(userpass), 12 characters or more.
        type: str
      password_file:
        description:
          - File with the password, mode 0600; may be encrypted by ansible-vault.
          - Alternative to O(admin.password).
        type: path
      certificate_file:
        description: For V(cert), PEM file with the client certificate.
        type: path
      private_key_file:
        description: For V(cert), PEM file with its key. Used to prove that the login works, and not sent.
        type: path
      policy_name:
        description: Name of the administrators' OpenBao policy.
        type: str
        default: platform-admin
      policy:
        description:
          - Its text (HCL). By default it allows to run OpenBao and give out rights, and not to read what is kept in it.
          - A first line that marks it as ours is added.
        type: str
  unseal:
    description: Unseal every further node that has joined within O(wait_timeout), with the shares just made.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait for the first node to become active and for the others to join.
    type: float
    default: 60.0
seealso:
  - module: hackspace.infra.openbao_generate_root
author:
  - hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Initialise the site's OpenBao
  hackspace.infra.openbao_init:
    nodes:
      - {name: openbao-0, url: https://192.0.2.10:8200, tls_server_name: openbao-0.example.org}
      - {name: openbao-1, url: https://192.0.2.11:8200, tls_server_name: openbao-1.example.org}
      - {name: openbao-2, url: https://192.0.2.12:8200, tls_server_name: openbao-2.example.org}
    ca_cert: /etc/ssl/site-ca.pem
    shares: 3
    threshold: 2
    holders:
      - {name: ada, age_recipient: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p}
      - {name: bob, pgp_public_key_file: keys/bob.asc}
      - {name: cyd, age_recipient: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPKE+qWkNR5h0cyd cyd@example.org"}
    output_dir: /srv/shares
    admin:
      username: platform-admin
      password_file: /srv/private/platform-admin.password
  delegate_to: localhost
"""

RETURN = r"""
initialised:
  description: Whether the cluster is initialised (now, or before). C(false) in check mode when it would be.
  returned: success
  type: bool
nodes:
  description: Name and state of each node, in the words of M(hackspace.infra.openbao_seal_info).
  returned: success
  type: list
  elements: dict
shares:
  description: Holder, file and fingerprint (first 12 hex digits of the sha256 of the share's bytes) of each share.
  returned: when initialised in this run
  type: list
  elements: dict
encrypted_shares:
  description:
    - The encrypted text of each share by holder. Only the holder can read it; for controllers that do not last.
    - Also in the result of a failure that came after the initialisation.
  returned: when initialised in this run
  type: dict
root_token:
  description: >-
    What became of the root token: C(revoked), C(encrypted) to O(root_token_holder), or C(alive) when it could not be
    revoked. C(unused) if none was made.
  returned: success
  type: str
admin_login:
  description: >-
    C(works), C(refused) or C(unknown) (no unsealed node); C(not asked) if O(admin) is not given. C(refused) on an
    initialised cluster means that the run that initialised it did not get to the end (or that the login was changed):
    finish with M(hackspace.infra.openbao_generate_root).
  returned: success
  type: str
threshold:
  description: Number of shares that unseal.
  returned: when initialised in this run
  type: int
cluster:
  description: Name and id of the cluster.
  returned: when initialised in this run
  type: dict
changes:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: dict
"""

import functools
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import (
    Connection,
    Login,
    OpenBao,
    read_private_file,
)
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_seal import SEAL_SPEC, connections_of
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    ArgumentSpec,
    hide,
    plan_result,
    program,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import init_apply, init_model, init_plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.admin_apply import login_state
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.admin_options import ADMIN_OPTIONS, admin_values
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.admin_plan import Admin
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import Node, parse_nodes
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.share_options import recipients

SPEC = SEAL_SPEC.merge(
    ArgumentSpec(
        options={
            "holders": recipients(required=True),
            "shares": {"type": "int", "required": True},
            "threshold": {"type": "int", "required": True},
            "single_share": {"type": "bool", "default": False},
            "output_dir": {"type": "path", "required": True},
            "encrypt_on": {"type": "str", "choices": ["controller", "server"], "default": "controller"},
            "root_token_holder": {"type": "str", "no_log": False},
            "admin": ADMIN_OPTIONS,
            "unseal": {"type": "bool", "default": True},
            "wait_timeout": {"type": "float", "default": 60.0},
        }
    )
)

#: No root token came up in this run.
UNUSED: t.Final = {"root_token": "unused"}


def main(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    params: dict[str, t.Any] = dict(module.params)
    if params["admin"]:
        params["admin"] = admin_values(params["admin"], read_private_file)
        hide(module, params["admin"].get("password"))
    nodes = parse_nodes(params["nodes"])
    connections = connections_of(params)

    def connect(node: Node) -> OpenBao:
        return OpenBao(connections[node.name])

    states = init_apply.read_nodes(nodes, connect)
    if any(state.initialised or state.joining for state in states):
        return _already(module, params, nodes, states, connections)
    spec = init_model.parse(params, program(module))
    init_apply.preflight(spec)
    init_plan.to_initialise(spec, states)
    recovery_seal = states[0].recovery_seal
    plan = init_plan.plan_init(spec, recovery_seal=recovery_seal)
    found = [{"name": name, "state": word} for name, word in init_plan.words(states).items()]
    if module.check_mode:
        return plan_result(module, plan, initialised=False, nodes=found, admin_login="not asked", **UNUSED)
    first = spec.nodes[0]
    flow = init_apply.Flow(
        connect=connect,
        login_as=functools.partial(_as_admin, connections[first.name]),
        hide=lambda *values: hide(module, *values),
    )
    result = init_apply.initialise(spec, flow, recovery_seal=recovery_seal)
    after = result.pop("states") or init_plan.words(init_apply.read_nodes(spec.nodes, connect))
    left = [name for name, word in after.items() if word != "unsealed"]
    if left and spec.unseal:
        plan.warnings.append(
            f"not unsealed yet: {', '.join(f'{n} ({after[n]})' for n in left)}. Run playbooks/unseal.yml when "
            "they have joined."
        )
    result.pop("login_changes")
    return plan_result(
        module,
        plan,
        **{k: v for k, v in result.items() if k != "changed"},
        nodes=[{"name": name, "state": word} for name, word in after.items()],
        admin_login="works" if spec.admin else "not asked",
    )


def _already(
    module: AnsibleModule,
    params: dict[str, t.Any],
    nodes: t.Sequence[Node],
    states: t.Sequence[init_plan.NodeState],
    connections: dict[str, Connection],
) -> t.Mapping[str, t.Any]:
    """Report on a cluster that is initialised; nothing is sent that changes it."""
    spec = init_model.parse(params, program(module))
    plan = Plan(unchanged=1)
    written = init_apply.read_record(spec)
    lost, warning = init_plan.lost_shares(
        written, init_apply.missing_files(spec, written), item=f"node {spec.nodes[0].name}"
    )
    if lost:
        raise lost
    if warning:
        plan.warnings.append(warning)
    login = "not asked"
    if spec.admin:
        login = "unknown"
        for node, state in zip(nodes, states, strict=True):
            if state.initialised and not state.sealed:
                login = login_state(spec.admin, functools.partial(_as_admin, connections[node.name]))
                break
        if login == "refused":
            plan.warnings.append(
                f"initialised, but the administrators' login {spec.admin.mount}/{spec.admin.username} does not work: "
                "either it was changed, or the run that initialised was stopped before it was made. Finish with "
                "hackspace.infra.openbao_generate_root (docs/init.md)."
            )
    found = [{"name": name, "state": word} for name, word in init_plan.words(states).items()]
    return plan_result(module, plan, initialised=True, nodes=found, admin_login=login, **UNUSED)


def _as_admin(connection: Connection, admin: Admin) -> OpenBao:
    return OpenBao(connection, Login(**admin.login_fields()))


if __name__ == "__main__":
    run(SPEC, main)
