#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_seal_migration
short_description: Migrate the seal of OpenBao, one server at a time
version_added: 0.1.0
description:
  - From unseal shares (Shamir) to a seal that unseals by itself (transit, static), and back, while the cluster serves.
  - Does what the API has to do. The new configuration of a server and its restart are the site's, between two calls;
    the role C(openbao_seal_migration) puts both together.
  - What is next is read from the servers each time, so that a run that was cut off is carried on by the next one.
  - Files, programs and the terminal are read on the controller by the action plugin of the same name. Nothing that it
    reads touches a disk, an argument list or an environment.
options:
  do:
    description:
      - V(plan) checks everything that can be checked beforehand, and returns every step. It changes nothing.
      - V(prepare) makes O(node) ready to be restarted; if it leads, another node takes over first.
      - V(migrate) waits until O(node) is back with its new configuration, sends the shares that it wants, and waits
        until it has caught up.
      - V(verify) waits until every node has the new seal, and checks it.
    type: str
    choices: [plan, prepare, migrate, verify]
    default: plan
  target:
    description: The seal to go to. From V(transit) to V(static) or back it is two migrations, by way of V(shamir).
    type: str
    choices: [shamir, transit, static]
    required: true
  seal:
    description: The seal that unseals by itself, the one to go to or, for O(target=shamir), the one to leave.
    type: dict
    required: true
    suboptions:
      type:
        description: Its type. V(static) needs OpenBao 2.4 or newer.
        type: str
        choices: [transit, static]
        required: true
      address:
        description:
          - For V(transit), the OpenBao that has the transit engine. It must not be of the same cluster, by whatever
            address, nor need anything of this platform to start.
        type: str
      mount_path:
        description: Path of its transit engine. The default is V(transit).
        type: str
      key_name:
        description: Name of the key there.
        type: str
      namespace:
        description: Namespace of the engine there.
        type: str
      tls_server_name:
        description: Name to expect in that server's certificate, if it is not the host of O(seal.address).
        type: str
      ca_cert:
        description: PEM file on the controller with the CA of that server, for the proof from here.
        type: path
      node_ca_cert:
        description: The same file as a path on the servers, for their configuration. It is not read here.
        type: str
      key_id:
        description: For V(static), the name of the key.
        type: str
      credential:
        description: The token of V(transit) or the key of V(static). For callers that have it in memory.
        type: str
      credential_file:
        description:
          - File with the token, or with the key as 64 hexadecimal digits or base64. Mode 0600, or encrypted with
            ansible-vault or sops.
        type: path
  node:
    description: Name of the node, for O(do=prepare) and O(do=migrate).
    type: str
  holders:
    description:
      - Whose shares to send, for O(do=plan) to count and O(do=migrate) to send. A holder without a source is asked on
        the terminal, without echo, once for each node that wants shares.
      - Unseal shares on the way from Shamir, recovery shares on the way back. They are the same.
      - Nothing is read or asked for nodes that want none, nor in check mode.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The holder's name, for messages. Who holds two shares has two names.
        type: str
        required: true
      share:
        description: The share itself, hex or base64. For callers that have it in memory.
        type: str
      file:
        description: File with the share, mode 0600, or encrypted with ansible-vault or sops.
        type: path
      age_file:
        description: File with the share encrypted with age.
        type: path
      age_identity_file:
        description: File with the age identity, mode 0600, for O(holders[].age_file).
        type: path
      pgp_file:
        description: File with the share as PGP message, decrypted by C(gpg) of the user who runs Ansible.
        type: path
      command:
        description: Program and arguments that print the share. It must not have the share as an argument.
        type: list
        elements: str
  known_holders:
    description: Names of everybody who holds a share. Other names are refused.
    type: list
    elements: str
    default: []
  snapshot:
    description:
      - A snapshot of this cluster, with its sidecar beside it, as M(hackspace.infra.openbao_snapshot) saves it. It is
        read from beginning to end before a migration begins, and not asked for when one is carried on.
    type: path
  snapshot_max_age:
    description: Seconds that it may be old.
    type: int
    default: 3600
  confirm:
    description: The name of the site, typed by a person. Not needed in check mode.
    type: str
  platform_name:
    description: The name of the site.
    type: str
    required: true
  login:
    description:
      - The administrators' login, with the names of the OpenBao modules' connection options.
      - It needs C(sys/step-down), C(sys/storage/raft/configuration), C(sys/storage/raft/autopilot/state) and
        C(sys/config/state/sanitized).
    type: dict
    required: true
    suboptions:
      auth_method:
        description: How to log in.
        type: str
        choices: [token, userpass, cert, approle]
        default: token
      mount_point:
        description: Path of the auth mount, the method's name by default.
        type: str
      token:
        description: The token, for V(token).
        type: str
      token_path:
        description: File with the token, mode 0600; may be encrypted with ansible-vault.
        type: path
      username:
        description: For V(userpass).
        type: str
      password:
        description: For V(userpass).
        type: str
      password_file:
        description: File with the password, mode 0600; may be encrypted with ansible-vault.
        type: path
      role_id:
        description: For V(approle).
        type: str
      secret_id:
        description: For V(approle).
        type: str
      cert_auth_public_key:
        description: PEM file with the client certificate, for V(cert).
        type: path
      cert_auth_private_key:
        description: PEM file with its key.
        type: path
      cert_auth_role:
        description: Certificate role to log in to, for V(cert).
        type: str
  wait_timeout:
    description: Seconds to wait for each change of a node's state.
    type: int
    default: 120
  server_version:
    description: The servers' version, for development builds, which do not tell it.
    type: str
attributes:
  check_mode:
    details: >-
      O(do=plan) runs all its checks and shows every step of the whole migration. O(do=migrate) waits for the node in
      check mode too.
seealso:
  - module: hackspace.infra.openbao_seal_info
  - module: hackspace.infra.openbao_unseal
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._openbao_seal
  - hackspace.infra._openbao_seal.tls
author: hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: What a migration to transit would do
  hackspace.infra.openbao_seal_migration:
    nodes: "{{ openbao_nodes }}"
    ca_cert: /etc/openbao/ca.pem
    target: transit
    seal:
      type: transit
      address: https://192.0.2.90:8200
      key_name: openbao-unseal
      ca_cert: /etc/openbao/transit-ca.pem
      credential_file: /srv/private/transit.token
    snapshot: /srv/backup/openbao-platform-20261121T030000Z.snap
    holders: [{name: ada}, {name: bo}, {name: cleo}]
    login: {auth_method: userpass, username: platform-admin, password_file: /srv/private/platform-admin.password}
    platform_name: example
  check_mode: true
"""

RETURN = r"""
done:
  description: Every node has the new seal.
  returned: success
  type: bool
started:
  description: Some node has its new configuration already, so that a migration is carried on.
  returned: success
  type: bool
order:
  description: Names of the nodes to take, in this order, for O(do=plan).
  returned: success
  type: list
  elements: str
plan:
  description: Every step to the end; C(step) is V(step_down), V(configure), V(migrate), V(unseal) or V(wait).
  returned: success
  type: list
  elements: dict
configure:
  description: The node is to get its new configuration now, for O(do=prepare).
  returned: success
  type: bool
stanza:
  description: Content of C(seal) in a server's new configuration, without token or key. Empty for none.
  returned: success
  type: dict
nodes:
  description: >-
    Per node its name, url, tls_server_name, version, C(role), C(sealed), C(t), C(progress), C(recovery_seal),
    C(problem) and C(phase), which is V(old), V(pending) (wants shares with migrate), V(armed) (unsealed, the seal in
    storage changes when such a node leads), V(unseal), V(backend), V(done), V(blank) or V(unreachable).
  returned: success
  type: list
  elements: dict
active:
  description: Name of the active node, or empty.
  returned: success
  type: str
shares_needed:
  description: Shares that O(node) wants (wanted, after the run), for O(do=migrate).
  returned: success
  type: int
holders_sent:
  description: Holders whose shares were sent to O(node).
  returned: success
  type: list
  elements: str
snapshot:
  description: File, time and cluster of the snapshot that was checked, or empty.
  returned: success
  type: dict
seal_types:
  description: Seals in use as the active node tells them.
  returned: for O(do=plan) and O(do=verify)
  type: list
  elements: str
summary:
  description: Lines for a person.
  returned: success
  type: list
  elements: str
changes:
  description: What was done, or, for O(do=plan), is to be done.
  returned: success
  type: list
  elements: dict
"""

import datetime
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import (
    Connection,
    Login,
    OpenBao,
    login_of,
)
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_seal import (
    SEAL_SPEC,
    SealClient,
    connections_of,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput, check
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, hide, run
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Change, Plan
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import (
    migration_apply,
    migration_model,
    migration_plan,
    seal_plan,
    shares,
    snapshot_model,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import parse_nodes
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.share_options import sources
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.snapshot_archive import read_archive

SPEC = SEAL_SPEC.merge(
    ArgumentSpec(
        options={
            "do": {"type": "str", "choices": ["plan", "prepare", "migrate", "verify"], "default": "plan"},
            "target": {"type": "str", "choices": list(migration_model.TARGETS), "required": True},
            "seal": {
                "type": "dict",
                "required": True,
                "options": {
                    "type": {"type": "str", "choices": list(migration_model.AUTO), "required": True},
                    "address": {"type": "str"},
                    "mount_path": {"type": "str"},
                    "key_name": {"type": "str", "no_log": False},
                    "namespace": {"type": "str"},
                    "tls_server_name": {"type": "str"},
                    "ca_cert": {"type": "path"},
                    "node_ca_cert": {"type": "str"},
                    "key_id": {"type": "str"},
                    "credential": {"type": "str", "no_log": True},
                    "credential_file": {"type": "path"},
                },
                "mutually_exclusive": [["credential", "credential_file"]],
            },
            "node": {"type": "str"},
            "holders": sources(),
            "known_holders": {"type": "list", "elements": "str", "default": []},
            "snapshot": {"type": "path"},
            "snapshot_max_age": {"type": "int", "default": 3600},
            "confirm": {"type": "str"},
            "platform_name": {"type": "str", "required": True},
            "login": {
                "type": "dict",
                "required": True,
                "options": {
                    "auth_method": {
                        "type": "str",
                        "choices": ["token", "userpass", "cert", "approle"],
                        "default": "token",
                    },
                    "mount_point": {"type": "str"},
                    "token": {"type": "str", "no_log": True},
                    "token_path": {"type": "path"},
                    "username": {"type": "str"},
                    "password": {"type": "str", "no_log": True},
                    "password_file": {"type": "path", "no_log": False},
                    "role_id": {"type": "str"},
                    "secret_id": {"type": "str", "no_log": True},
                    "cert_auth_public_key": {"type": "path"},
                    "cert_auth_private_key": {"type": "path"},
                    "cert_auth_role": {"type": "str"},
                },
                "mutually_exclusive": [["token", "token_path"], ["password", "password_file"]],
            },
            "wait_timeout": {"type": "int", "default": 120},
            "server_version": {"type": "str"},
        },
        required_if=(("do", "prepare", ("node",)), ("do", "migrate", ("node",))),
    )
)

_PUBLIC: t.Final = frozenset({"phase", "role", "holders"})


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params: dict[str, t.Any] = dict(module.params)
    _hide(module, params)
    work = Work(module, params)
    if not module.check_mode:
        migration_plan.check_confirm(params["confirm"] or "", params["platform_name"])
    try:
        steps = {"plan": work.plan, "prepare": work.prepare, "migrate": work.migrate, "verify": work.verify}
        return steps[params["do"]]()
    finally:
        work.close()


def _hide(module: AnsibleModule, params: dict[str, t.Any]) -> None:
    login, seal = params["login"], params["seal"]
    texts = [login["token"], login["password"], login["secret_id"], seal["credential"]]
    texts += [entry["share"] for entry in params["holders"]]
    hide(module, *texts, *(text.strip() for text in texts if text))


class Work:
    """The four things that the module does, on checked options."""

    def __init__(self, module: AnsibleModule, params: dict[str, t.Any]) -> None:
        self.module = module
        self.params = params
        self.target: migration_model.Target = params["target"]
        credential = str(params["seal"]["credential"] or "").strip()
        self.seal = migration_model.parse_seal(
            {k: v for k, v in params["seal"].items() if k not in ("credential", "credential_file")}
        )
        self.credential = Secret(credential)
        migration_plan.check_target(self.target, self.seal)
        nodes = parse_nodes(params["nodes"])
        migration_model.check_apart(self.seal, nodes)
        for name in ("wait_timeout", "snapshot_max_age"):
            check(params[name] > 0, "is no span of time.", item=name, rule="positive", fix="give seconds above 0.")
        if params["node"]:
            check(
                any(n.name == params["node"] for n in nodes),
                f"{params['node']!r} is no node of the list.",
                item="node",
                rule="known-node",
                fix=f"one of {', '.join(n.name for n in nodes)}.",
            )
        self.holders, self.keys = _holders(module, params)
        self.login = _login(params["login"])
        connections = connections_of(params)
        if not params["validate_certs"]:
            module.warn("validate_certs is false: shares go to servers that are not verified.")
        self.clients = {name: SealClient(connection) for name, connection in connections.items()}

        def login_at(name: str) -> OpenBao:
            return OpenBao(connections[name], self.login)

        self.site = migration_apply.Site(
            nodes, self.clients, login_at, self.target, wait_timeout=float(params["wait_timeout"])
        )

    def close(self) -> None:
        self.site.close()
        for client in self.clients.values():
            client.close()

    # -- plan ----------------------------------------------------------------------------------------------------------

    def plan(self) -> dict[str, t.Any]:
        view = self.site.look()
        self._check_credential(view)
        migration_plan.check_healthy(view)
        migration_plan.check_version(view, self.seal, self.params["server_version"])
        active = view.active
        types = self.site.seal_types(active.name) if active else []
        migration_plan.check_kind(types, self.target)
        snapshot: dict[str, str] = {}
        if not view.done:
            migration_plan.check_holders_enough(view, self.holders)
            if active:
                self._check_cluster(view, active.name)
            if not view.started:
                snapshot = self._check_snapshot(view)
            if self.seal.type == "transit":
                self._check_transit(view)
        steps = migration_plan.as_plan(view, self.seal)
        result = self._result(view, steps, snapshot=snapshot, seal_types=types)
        # What this task does by itself is nothing; in check mode it stands for the whole migration.
        result["changed"] = steps.changed and self.module.check_mode
        if not self.module.check_mode:
            result["diff"] = []
        return result

    def _check_cluster(self, view: migration_plan.Overview, active: str) -> None:
        members = self.site.members(active)
        healthy = self.site.raft_healthy(active)
        if view.started:
            healthy = None  # a node that a cut run left down is what is to be mended
        migration_plan.check_members(members, healthy, view)
        check(
            len(view.nodes) == 1 or self.site.may_step_down(active),
            "may not make a node give up the lead (sys/step-down).",
            item="login",
            rule="login-rights",
            fix="its OpenBao policy needs update and sudo on sys/step-down.",
        )

    def _check_credential(self, view: migration_plan.Overview) -> None:
        if view.done or (self.module.check_mode and not self.credential and self.params["seal"]["credential_file"]):
            return
        check(
            self.credential,
            "is not given.",
            item="seal.credential_file",
            rule="credential-missing",
            fix="name the file with the token (transit) or the key (static).",
        )
        if self.seal.type == "static":
            migration_model.check_static_key(self.credential.reveal(), item="seal.credential_file")

    def _check_transit(self, view: migration_plan.Overview) -> None:
        seal = self.seal
        connection = Connection(
            seal.address,
            tls_server_name=seal.tls_server_name or None,
            ca_cert=seal.ca_cert or None,
            namespace=seal.namespace or None,
            timeout=self.params["timeout"],
        ).checked("seal.address")
        with OpenBao(connection, Login("token", token=self.credential)) as api:
            notice = migration_plan.check_provider(migration_apply.provider_status(api), view)
            migration_apply.try_transit(api, seal)
        if notice:
            self.module.warn(notice)

    def _check_snapshot(self, view: migration_plan.Overview) -> dict[str, str]:
        path = os.path.abspath(self.params["snapshot"]) if self.params["snapshot"] else ""
        record, problem = _read_snapshot(path)
        migration_plan.check_snapshot(
            path=path,
            problem=problem,
            saved_at=record.saved_at if record else None,
            cluster=record.cluster.fingerprint if record else "",
            view=view,
            now=datetime.datetime.now(tz=datetime.UTC),
            max_age=self.params["snapshot_max_age"],
        )
        if record is None:
            return {}
        return {"file": path, "saved_at": record.saved_at.isoformat(), "cluster": record.cluster.fingerprint}

    # -- one node ------------------------------------------------------------------------------------------------------

    def prepare(self) -> dict[str, t.Any]:
        name = self.params["node"]
        view = self.site.look()
        before = view.by(name)
        done = Plan()
        configure = before.phase in ("old", "unreachable", "blank")
        if configure:
            migration_plan.check_healthy(view)
            migration_plan.check_restart(view, name)
        if configure and before.role == "active" and len(view.nodes) > 1:
            why = "another node leads, so that this one can be restarted"
            done.add(_change(before, "update", "standby", [], why))
            if not self.module.check_mode:
                view = self.site.step_down(name)
        return self._result(view, done, configure=configure)

    def migrate(self) -> dict[str, t.Any]:
        name = self.params["node"]
        before = self.site.came_back(name)
        done = Plan()
        needed = before.threshold if before.wants_shares else 0
        if needed:
            names = self.holders[:needed]
            migration_plan.check_holders_enough(migration_plan.Overview([before], self.target), self.holders)
            why = "each share with migrate" if before.phase == "pending" else "unseal shares"
            done.add(_change(before, "send", "standby", names, why))
        if self.module.check_mode:
            return self._result(self.site.look(), done, shares_needed=needed, holders_sent=[])
        if needed and len(self.keys) < needed:
            raise InvalidInput(
                "no share came for some of the holders.",
                item="holders",
                rule="no-share",
                fix="call the module as hackspace.infra.openbao_seal_migration, so that its action plugin reads them.",
            )
        feed = self.site.feed(name, self.keys)
        view = self.site.caught_up(name)
        return self._result(view, done, shares_needed=0, holders_sent=feed.holders)

    def verify(self) -> dict[str, t.Any]:
        view, good = self.site.until(lambda v: v.done and v.active is not None)
        if not good:
            raise HackspaceError(
                f"the migration is not complete. {'; '.join(view.lines())}.",
                item="nodes",
                rule="not-done",
                fix="run again: it goes on where it stopped.",
            )
        active = view.active
        types = self.site.seal_types(active.name) if active else []
        migration_plan.check_kind(types, self.target)

        def healthy(now: migration_plan.Overview) -> bool:
            return now.active is not None and self.site.raft_healthy(now.active.name) is not False

        view, good = self.site.until(healthy)
        if not good:
            raise HackspaceError(
                f"autopilot says that the cluster is not healthy. {'; '.join(view.lines())}.",
                item="nodes",
                rule="raft-unhealthy",
                fix="see sys/storage/raft/autopilot/state.",
            )
        return self._result(view, Plan(), seal_types=types)

    # -- result --------------------------------------------------------------------------------------------------------

    def _result(self, view: migration_plan.Overview, done: Plan, **extra: t.Any) -> dict[str, t.Any]:
        steps = migration_plan.steps(view)
        kind = "unseal shares" if self.target == "shamir" else "recovery shares"
        if view.done:
            lines = [f"every node has the seal {self.target}; the holders keep {kind}"]
        else:
            lines = [step.line() for step in steps] or view.lines()
        return {
            **done.result(),
            "done": view.done,
            "started": view.started,
            "order": migration_plan.order(view),
            "plan": [{"step": s.kind, "node": s.node, "why": s.why} for s in steps],
            "stanza": migration_model.stanza(self.seal, disabled=self.target == "shamir"),
            "nodes": [n.report() for n in view.nodes],
            "active": view.active.name if view.active else "",
            "snapshot": {},
            "summary": lines,
            **extra,
        }


def _change(
    node: migration_model.Standing, action: t.Literal["update", "send"], role: str, holders: list[str], why: str
) -> Change:
    before = {"phase": node.phase, "role": node.role, "holders": []}
    after = {"phase": "done" if action == "send" else node.phase, "role": role, "holders": holders}
    return Change("OpenBao node", node.name, action, before, after, why, _PUBLIC)


def _holders(module: AnsibleModule, params: dict[str, t.Any]) -> tuple[list[str], list[shares.Share]]:
    """Return the names of holders with distinct shares, and the shares that were read."""
    entries = params["holders"]
    names = [str(entry["name"]) for entry in entries]
    seal_plan.check_holders(names, params["known_holders"])
    found, same = shares.parse((str(e["name"]), str(e["share"])) for e in entries if e["share"])
    hide(module, *(share.key.reveal() for share in found))
    for holder, twin in same.items():
        module.warn(f"the share of {holder} is the same as that of {twin}; it counts once.")
    return [name for name in names if name not in same], found


def _login(raw: t.Mapping[str, t.Any]) -> Login:
    """Return the login.

    :raises InvalidInput: ``login``.
    """
    needs = {
        "token": (("token", "token_path"),),
        "userpass": (("username",), ("password", "password_file")),
        "cert": (("cert_auth_public_key",), ("cert_auth_private_key",)),
        "approle": (("role_id",), ("secret_id",)),
    }
    for names in needs[raw["auth_method"]]:
        check(
            any(raw[name] for name in names),
            f"auth_method {raw['auth_method']} needs {' or '.join(names)}.",
            item=f"login.{names[0]}",
            rule="login",
            fix="give it.",
        )
    return login_of(raw)


def _read_snapshot(path: str) -> tuple[snapshot_model.Sidecar | None, str]:
    """Read a snapshot to its end; return its sidecar, and what is wrong with it (``missing`` if it is not there)."""
    if not path or not os.path.isfile(path):
        return None, "missing"
    beside = path + snapshot_model.SIDECAR
    try:
        with open(beside, "rb") as handle:
            record = snapshot_model.parse_sidecar(handle.read(100_000), item=beside)
        with open(path, "rb") as stream:
            archive = read_archive(stream, item=path)
    except OSError as error:
        return None, f"it or its sidecar cannot be read ({error.strerror})."
    except HackspaceError as error:
        return None, error.message
    wrong = snapshot_model.against(archive, record, os.path.basename(path))
    return record, f"{wrong}." if wrong else ""


if __name__ == "__main__":
    run(SPEC, main)
