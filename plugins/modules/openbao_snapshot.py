#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_snapshot
short_description: Save, verify and restore raft snapshots of OpenBao
version_added: 0.1.0
description:
  - Saves a snapshot of the active node to a file of mode 0600, checks it while it comes in, and gives it its name only
    when it is whole. A public sidecar beside it tells of which cluster it is and whose unseal shares open it.
  - Restores one after having compared it with its sidecar and its cluster with the server's, after somebody typed the
    name of the site, and after having saved the present state.
  - Snapshots pass through in constant memory in both directions.
  - A snapshot is encrypted by OpenBao's barrier; it is opened by the unseal shares of its time and by nothing else.
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_openbao
  - hackspace.infra._openbao
attributes:
  check_mode:
    details: >-
      Asks the servers, reads and checks files, and looks whether the login has the rights that would be needed. Writes
      and sends nothing.
  idempotent:
    support: partial
    details: With O(state=saved), a snapshot younger than O(max_age) counts as present. O(state=restored) is an action.
options:
  state:
    description:
      - V(saved) saves a snapshot into O(folder), and deletes what is not to be kept if O(prune).
      - V(verified) reads O(file), or every snapshot of O(folder), from beginning to end, without a server.
      - V(restored) replaces all data of the cluster by O(file).
    type: str
    choices: [saved, verified, restored]
    default: saved
  url:
    description:
      - Address of one server, C(https://host:port) without a path, unless O(nodes) is given. When it is a standby, the
        active node that it names is used if its certificate is valid too (for O(tls_server_name), where given).
    type: str
    required: false
  nodes:
    description:
      - Every OpenBao server by an address of its own. The active one is used; O(url) and O(tls_server_name) are not.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name for messages.
        type: str
        required: true
      url:
        description: C(https://address:port) without a path.
        type: str
        required: true
      tls_server_name:
        description: Name to expect in the server's certificate, if it is not the host of O(nodes[].url).
        type: str
  folder:
    description:
      - Folder of this cluster's snapshots, of mode 0700 and of the user who runs Ansible.
      - With O(state=restored), where the present state is saved to; the folder of O(file) by default.
    type: path
  file:
    description: A snapshot, for O(state=verified) and O(state=restored). Its sidecar lies beside it (O(file).json).
    type: path
  max_age:
    description:
      - Seconds. A snapshot of this cluster in O(folder) that is younger, of the unseal shares in force, and whole when
        it is read, is good enough.
      - V(0) saves one in any case.
    type: int
    default: 3600
  shares_dir:
    description:
      - Folder with C(shares.json), the record of the unseal shares that M(hackspace.infra.openbao_init) wrote.
      - Generation, holders and fingerprints of the shares in force go into the sidecar.
    type: path
  keep_last:
    description: How many of the newest snapshots are kept. The newest one is always kept.
    type: int
    default: 3
  keep_daily:
    description: For how many days that have snapshots the newest one is kept. Days, weeks and months are those of UTC.
    type: int
    default: 14
  keep_weekly:
    description: For how many weeks that have snapshots the newest one is kept.
    type: int
    default: 8
  keep_monthly:
    description: For how many months that have snapshots the newest one is kept.
    type: int
    default: 12
  prune:
    description:
      - Delete the snapshots that are not kept. Only files with a sidecar of ours, of this cluster, in O(folder).
      - The newest O(keep_last) are read to their end before anything is deleted; one that is damaged does not count.
    type: bool
    default: false
  prune_max_percent:
    description: Refuse to delete more than this share of the cluster's snapshots, in percent. One may always go.
    type: int
    default: 50
  force:
    description:
      - Restore a snapshot whose keys are not the server's present ones, as into a fresh cluster or from before a
        rotation of the unseal shares. The unseal shares of the snapshot's time, and no others, open the cluster then.
      - Nodes that cannot read the data with the keys in their memory seal themselves, as those of a fresh cluster.
        Nodes of the same cluster go on, and need the older shares when they are restarted.
      - Also restores a snapshot of another cluster, or one without a sidecar.
    type: bool
    default: false
  confirm:
    description: O(platform_name), typed by a person, for O(state=restored). Check mode does without it.
    type: str
  platform_name:
    description: The name that is to be typed. The name that the server's cluster has by default.
    type: str
  safety_snapshot:
    description: Save the present state before it is replaced.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait for the end of a restore.
    type: int
    default: 120
  transfer_timeout:
    description: Seconds without a byte before a transfer is given up, including the server's work before its answer.
    type: float
    default: 120.0
  next_command:
    description: What a person is told to run when nodes are sealed after a restore.
    type: str
    default: ansible-playbook -i INVENTORY playbooks/unseal.yml
seealso:
  - module: hackspace.infra.openbao_init
  - module: hackspace.infra.openbao_unseal
author:
  - hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Save a snapshot every night, and keep some of the older ones
  hackspace.infra.openbao_snapshot:
    nodes:
      - {name: openbao-0, url: "https://192.0.2.10:8200", tls_server_name: openbao-0.example.org}
      - {name: openbao-1, url: "https://192.0.2.11:8200", tls_server_name: openbao-1.example.org}
      - {name: openbao-2, url: "https://192.0.2.12:8200", tls_server_name: openbao-2.example.org}
    ca_cert: /etc/openbao/ca.pem
    auth_method: userpass
    username: snapshots
    password_file: /srv/private/snapshots.password
    folder: /srv/snapshots
    shares_dir: /srv/shares
    prune: true

- name: Read all of them again
  hackspace.infra.openbao_snapshot:
    state: verified
    folder: /srv/snapshots

- name: Go back to the state of this morning
  hackspace.infra.openbao_snapshot:
    state: restored
    file: /srv/snapshots/openbao-vault-20261121T040000Z.snap
    confirm: hackspace
    platform_name: hackspace
    url: https://192.0.2.10:8200
    tls_server_name: openbao.example.org
    ca_cert: /etc/openbao/ca.pem
    auth_method: userpass
    username: platform-admin
    password_file: /srv/private/platform-admin.password
"""

RETURN = r"""
snapshot:
  description: >-
    The sidecar of the snapshot that was saved, was good enough, or was restored, and RV(ignore:path). In check mode
    with O(state=saved), RV(ignore:path) only when it would be saved. Empty but for the path where there is no sidecar.
  returned: with O(state=saved) and O(state=restored)
  type: dict
  sample:
    path: /srv/snapshots/openbao-vault-20261121T040000Z.snap
    file: openbao-vault-20261121T040000Z.snap
    saved_at: "2026-11-21T04:00:00Z"
    cluster: {name: vault, fingerprint: 53a0c9d1e8b7}
    server: {version: 2.6.2, seal_type: shamir, node: openbao-0}
    raft: {index: 4711, term: 9}
    shares:
      kind: unseal
      threshold: 3
      total: 5
      generation: 2f6d0a9be14c7d35
      rotating_to: ""
      holders: [{holder: ada, fingerprint: 0a1b2c3d4e5f}]
snapshots:
  description: The sidecar of each file that was read, RV(ignore:path) and RV(ignore:problem) (empty when whole).
  returned: with O(state=verified)
  type: list
  elements: dict
kept:
  description: File name of every snapshot that is to be kept, and why (V(last), V(daily), V(weekly), V(monthly)).
  returned: with O(state=saved)
  type: dict
pruned:
  description: Names of the snapshots that were deleted, or would be.
  returned: with O(state=saved)
  type: list
  elements: str
foreign:
  description: Snapshots in O(folder) that don't count, without a sidecar of ours, of another cluster or damaged.
  returned: with O(state=saved)
  type: list
  elements: str
safety_snapshot:
  description: Path of the snapshot of the state that was replaced, empty without one.
  returned: with O(state=restored)
  type: str
nodes:
  description: Seal state of every node afterwards, as M(hackspace.infra.openbao_seal_info) tells it.
  returned: with O(state=restored)
  type: list
  elements: dict
sealed:
  description: Names of the nodes that are sealed afterwards.
  returned: with O(state=restored)
  type: list
  elements: str
changes:
  description: What was done, or would be in check mode.
  returned: with O(state=saved) and O(state=restored)
  type: list
  elements: dict
active:
  description: Name of the node that was asked.
  returned: with O(state=saved) and O(state=restored)
  type: str
summary:
  description: Lines for a person.
  returned: always
  type: list
  elements: str
"""

import dataclasses
import os
import typing as t
from datetime import UTC, datetime

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import (
    CONNECTION_SPEC,
    connection_of,
    login_of,
)
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_seal import (
    SealClient,
    connections_of,
    each,
)
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_snapshot import (
    FORCED,
    SNAPSHOT,
    SnapshotClient,
    at,
    leader_address,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core import private_files
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput, check
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, plan_result, run
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import (
    share_record,
    snapshot_apply,
    snapshot_model,
    snapshot_plan,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import (
    Node,
    NodeState,
    Overview,
    Problem,
    classify,
    parse_nodes,
)

SPEC = dataclasses.replace(
    CONNECTION_SPEC,
    options={name: option for name, option in CONNECTION_SPEC.options.items() if name != "url"},
    # state: verified needs no login; the client says so where one is missing
    required_if=tuple(rule for rule in CONNECTION_SPEC.required_if if rule[:2] != ("auth_method", "token")),
).merge(
    ArgumentSpec(
        options={
            "state": {"type": "str", "choices": ["saved", "verified", "restored"], "default": "saved"},
            "url": {"type": "str"},
            "nodes": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "url": {"type": "str", "required": True},
                    "tls_server_name": {"type": "str"},
                },
            },
            "folder": {"type": "path"},
            "file": {"type": "path"},
            "max_age": {"type": "int", "default": 3600},
            "shares_dir": {"type": "path"},
            "keep_last": {"type": "int", "default": 3},
            "keep_daily": {"type": "int", "default": 14},
            "keep_weekly": {"type": "int", "default": 8},
            "keep_monthly": {"type": "int", "default": 12},
            "prune": {"type": "bool", "default": False},
            "prune_max_percent": {"type": "int", "default": 50},
            "force": {"type": "bool", "default": False},
            "confirm": {"type": "str"},
            "platform_name": {"type": "str"},
            "safety_snapshot": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 120},
            "transfer_timeout": {"type": "float", "default": 120.0},
            "next_command": {"type": "str", "default": "ansible-playbook -i INVENTORY playbooks/unseal.yml"},
        },
        required_if=(
            ("state", "saved", ("url", "nodes"), True),
            ("state", "restored", ("url", "nodes"), True),
        ),
    )
)


def main(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    params: dict[str, t.Any] = dict(module.params)
    settings = snapshot_model.parse_settings(params)
    if settings.state == "verified":
        return _verified(settings)
    if not params["validate_certs"]:
        module.warn("validate_certs is false: the servers are not verified.")
    servers = Servers(params)
    record = share_record.read(settings.shares_dir) if settings.shares_dir else None
    check(
        record is not None or not settings.shares_dir,
        f"{settings.shares_dir} has no {share_record.RECORD}.",
        item="shares_dir",
        rule="shares-record",
        fix="give the folder that openbao_init wrote, or leave it out.",
    )
    if settings.state == "saved":
        return _saved(module, settings, servers, record)
    return _restored(module, settings, servers, record)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


# -- the servers -------------------------------------------------------------------------------------------------


class Servers:
    """The nodes by their own addresses, and how to trust them."""

    def __init__(self, params: dict[str, t.Any]) -> None:
        self._params = params
        if params["nodes"] or not params["url"]:
            self.nodes = parse_nodes(params["nodes"] or [])
        else:
            self.nodes = [Node(str(params["url"]), str(params["url"]).rstrip("/"), params["tls_server_name"] or None)]
        self._connections = connections_of({**params, "nodes": [node.address() for node in self.nodes]})
        self._login = login_of(params)
        if params["auth_method"] == "token" and not self._login.token:
            raise InvalidInput("no token given.", item="token", rule="login", fix="set token or token_path.")

    def overview(self) -> Overview:
        """Ask every node, all at once."""

        def ask(node: Node) -> NodeState:
            client = SealClient(self._connections[node.name])
            reading = client.read()
            client.close()
            problem = Problem.of(reading.error) if reading.error else None
            return classify(node, reading.status, reading.health, problem)

        return Overview.of(each(self.nodes, ask))

    def active(self) -> NodeState:
        """Return the active node.

        :raises HackspaceError: ``no-active-node``, ``not-raft``, ``standby``.
        """
        seen = self.overview()
        if seen.active is None and not self._params["nodes"] and seen.states[0].role == "standby":
            self._follow()
            seen = self.overview()
        return snapshot_plan.check_server(seen)

    def _follow(self) -> None:
        """Take the active node that a standby names for the node, where it can be trusted as that one was."""
        first = self.nodes[0]
        known = self._connections[first.name]
        address = leader_address(known)
        name = first.tls_server_name
        found: NodeState | None = None
        try:
            self._connections[first.name] = at(known, address, name)
            self.nodes = [dataclasses.replace(first, name=address, url=address.rstrip("/"), tls_server_name=name)]
            self._connections[address] = self._connections[first.name]
            found = self.overview().states[0]
        except HackspaceError:
            pass
        if found is None or found.role != "active":
            why = found.line().rstrip(".") if found else f"{address or 'no address'} can't be used"
            raise HackspaceError(
                f"is a standby; the active node that it names could not be used: {why}.",
                item=first.url,
                rule="standby",
                fix="list every server by its own address in nodes, or give a tls_server_name that all of them have.",
            )

    def client(self, active: NodeState) -> SnapshotClient:
        """Return a connection with a login."""
        mine = self._connections[active.name]
        base = connection_of({**self._params, "url": active.node.url})
        return SnapshotClient(
            dataclasses.replace(base, tls_server_name=mine.tls_server_name),
            self._login,
            timeout=float(self._params["transfer_timeout"]),
        )


# -- saved -------------------------------------------------------------------------------------------------------


def _saved(
    module: AnsibleModule,
    settings: snapshot_model.Settings,
    servers: Servers,
    record: share_record.Record | None,
) -> t.Mapping[str, t.Any]:
    private_files.check_private_folder(settings.folder, item="folder")
    state = servers.active()
    cluster = snapshot_model.cluster_of(state)
    shares, warning = snapshot_model.shares_of(state, record)
    found = snapshot_apply.look(settings.folder)
    now = snapshot_apply.free_time(settings.folder, cluster, snapshot_plan.clock(found, cluster, _now()))
    present, found = _present(settings, cluster, found, shares, now)
    wanted, found = _plan_save(settings, cluster, found, now=now, present=present)
    if warning:
        wanted.plan.warnings.append(warning)
    there = {f.name: f.sidecar for f in found}
    client = servers.client(state)
    try:
        if not present and module.check_mode:
            wanted.plan.warnings += _rights(client, SNAPSHOT, "read")
        if module.check_mode:
            record_now = there.get(present)
        else:
            record_now = _do_save(settings, client, state, wanted, there=there, now=now, shares=shares)
    finally:
        client.close()
    name = present or snapshot_model.file_name(cluster, now)
    return plan_result(
        module,
        wanted.plan,
        snapshot={"path": os.path.join(settings.folder, name), **(record_now.document() if record_now else {})},
        kept=wanted.keep,
        pruned=list(wanted.prune),
        active=state.name,
        requests=client.requests,
        summary=_save_summary(wanted, name, record_now, shares, now, check_mode=module.check_mode),
    )


def _read(settings: snapshot_model.Settings, one: snapshot_plan.Found) -> snapshot_plan.Found:
    """Return *one* as it is after having been read to its end."""
    try:
        snapshot_apply.verify(os.path.join(settings.folder, one.name))
    except HackspaceError as error:
        return dataclasses.replace(one, problem=f"damaged: {error.message.rstrip('.')}")
    return one


def _present(
    settings: snapshot_model.Settings,
    cluster: snapshot_model.Cluster,
    found: list[snapshot_plan.Found],
    shares: snapshot_model.Shares,
    now: datetime,
) -> tuple[str, list[snapshot_plan.Found]]:
    """Return the name of a snapshot that is young and whole, and the list with what was found out about others."""
    for candidate in snapshot_plan.fresh(found, cluster, shares, now=now, max_age=settings.max_age):
        read = _read(settings, candidate)
        if read.whole:
            return candidate.name, found
        found = [read if f.name == read.name else f for f in found]
    return "", found


def _plan_save(
    settings: snapshot_model.Settings,
    cluster: snapshot_model.Cluster,
    found: list[snapshot_plan.Found],
    *,
    now: datetime,
    present: str,
) -> tuple[snapshot_plan.SavePlan, list[snapshot_plan.Found]]:
    """Return the plan. Before anything is deleted, the newest ones that are kept instead are read to their end."""
    new = snapshot_model.file_name(cluster, now)
    read = {new, present}
    while True:
        wanted = snapshot_plan.plan_save(settings, cluster, found, now=now, new=new, present=present)
        unread = [f for f in found if wanted.prune and wanted.keep.get(f.name) == "last" and f.name not in read]
        if not unread:
            wanted.check_cap(settings)
            return wanted, found
        again = {one.name: _read(settings, one) for one in unread}
        read |= set(again)
        found = [again.get(f.name, f) for f in found]


def _rights(client: SnapshotClient, path: str, needed: str) -> list[str]:
    """Return a warning when it cannot be told whether the login may do it; raise when it may not."""
    return snapshot_plan.check_rights(path, client.capabilities(path), (needed,), item=client.url)


def _do_save(
    settings: snapshot_model.Settings,
    client: SnapshotClient,
    state: NodeState,
    wanted: snapshot_plan.SavePlan,
    *,
    there: t.Mapping[str, snapshot_model.Sidecar | None],
    now: datetime,
    shares: snapshot_model.Shares,
) -> snapshot_model.Sidecar | None:
    snapshot_apply.sweep(settings.folder)
    if wanted.present:
        record = there.get(wanted.present)
    else:
        record = snapshot_apply.save(
            client, settings.folder, state, at=now, why=snapshot_model.ASKED, shares=shares
        ).sidecar
    for name in wanted.prune:
        snapshot_apply.delete(settings.folder, name)
    for name in wanted.leftovers:
        snapshot_apply.delete(settings.folder, name, sidecar_only=True)
    return record


def _save_summary(
    wanted: snapshot_plan.SavePlan,
    name: str,
    record: snapshot_model.Sidecar | None,
    shares: snapshot_model.Shares,
    now: datetime,
    *,
    check_mode: bool,
) -> list[str]:
    if wanted.present and record:
        lines = [f"{name} is {snapshot_plan.age(record.saved_at, now)} and whole: none saved"]
    elif record:
        lines = [f"saved {name}: {record.size} bytes, raft index {record.index}, of {record.cluster}"]
    else:
        lines = [f"would save {name}"]
    opens = record.shares if record else shares
    lines.append(f"opened by {opens.words()}")
    if not opens.generation and opens.kind == "unseal":
        lines.append("whose they are is not recorded: give shares_dir")
    if wanted.prune:
        lines.append(f"{'would delete' if check_mode else 'deleted'} {', '.join(wanted.prune)}")
    if wanted.plan.foreign:
        lines.append(f"not counted: {', '.join(wanted.plan.foreign)}")
    return lines


# -- verified ----------------------------------------------------------------------------------------------------


def _verified(settings: snapshot_model.Settings) -> t.Mapping[str, t.Any]:
    if settings.file:
        paths = [settings.file]
    else:
        private_files.check_private_folder(settings.folder, item="folder")
        paths = [os.path.join(settings.folder, found.name) for found in snapshot_apply.look(settings.folder)]
        check(
            paths,
            f"{settings.folder} has no snapshot.",
            item="folder",
            rule="snapshot-missing",
            fix="give the folder that state: saved writes to.",
        )
    results: list[dict[str, t.Any]] = []
    wrong: list[HackspaceError] = []
    for path in paths:
        entry: dict[str, t.Any] = {"path": path, "problem": ""}
        try:
            archive, record = snapshot_apply.verify(path)
            entry |= record.document() if record else {"size": archive.size, "sha256": archive.sha256}
            if record is None:
                entry["problem"] = "no sidecar"
        except HackspaceError as error:
            entry["problem"] = error.message
            wrong.append(error)
        results.append(entry)
    if settings.file and not wrong and results[0]["problem"]:
        wrong.append(_no_sidecar(settings.file))
    lines = [f"{os.path.basename(e['path'])}: {e['problem'] or 'whole, as its sidecar tells'}" for e in results]
    if wrong:
        first = wrong[0]
        raise HackspaceError(
            first.message if len(wrong) == 1 else f"{first.message} And {len(wrong) - 1} more of {len(paths)} are bad.",
            item=first.item,
            rule=first.rule,
            fix=first.fix,
            data={"snapshots": results, "summary": lines},
        )
    return {"changed": False, "snapshots": results, "summary": lines}


def _no_sidecar(path: str) -> HackspaceError:
    return HackspaceError(
        "is whole and has no sidecar: nobody can say of which cluster and for which unseal shares it is.",
        item=path,
        rule="no-sidecar",
        fix=f"bring back {path}{snapshot_model.SIDECAR}, which was saved with it.",
    )


# -- restored ----------------------------------------------------------------------------------------------------


def _restored(
    module: AnsibleModule,
    settings: snapshot_model.Settings,
    servers: Servers,
    shares_now: share_record.Record | None,
) -> t.Mapping[str, t.Any]:
    archive, record = snapshot_apply.verify(settings.file)
    folder = settings.folder or os.path.dirname(os.path.abspath(settings.file))
    if settings.safety_snapshot:
        private_files.check_private_folder(folder, item="folder")
    state = servers.active()
    cluster = snapshot_model.cluster_of(state)
    snapshot_plan.check_restore(settings, record, cluster, check_mode=module.check_mode)
    shares, warning = snapshot_model.shares_of(state, shares_now)
    now = snapshot_apply.free_time(folder, cluster, _now())
    safety = snapshot_model.file_name(cluster, now) if settings.safety_snapshot else ""
    plan = snapshot_plan.plan_restore(
        settings, record, cluster, name=os.path.basename(settings.file), safety=safety, index=archive.index
    )
    if warning and safety:
        plan.warnings.append(warning)
    result: dict[str, t.Any] = {
        "snapshot": {"path": settings.file, **(record.document() if record else {})},
        "safety_snapshot": os.path.join(folder, safety) if safety else "",
        "active": state.name,
    }
    client = servers.client(state)
    try:
        path = FORCED if settings.force else SNAPSHOT
        unknown = _rights(client, path, "update") + (_rights(client, SNAPSHOT, "read") if safety else [])
        if module.check_mode:
            plan.warnings += unknown[:1]
            seen = servers.overview()
            lines = [f"would replace all data of {cluster} by {os.path.basename(settings.file)}"]
            if record:
                lines.append(f"it is {snapshot_plan.age(record.saved_at, _now())}; {record.shares.words()} open it")
            return plan_result(module, plan, **result, **_seals(seen), requests=client.requests, summary=lines)
        if safety:
            snapshot_apply.sweep(folder)
            snapshot_apply.save(client, folder, state, at=now, why=snapshot_model.SAFETY, shares=shares)
        try:
            snapshot_apply.restore(client, settings.file, archive, record, force=settings.force)
        except HackspaceError as error:
            error.data |= {"safety_snapshot": result["safety_snapshot"], "changed": bool(safety)}
            raise
        seen = snapshot_apply.wait_restored(client, servers.overview, timeout=settings.wait_timeout)
    finally:
        client.close()
    lines = [f"restored {os.path.basename(settings.file)}, raft index {archive.index}"]
    if safety:
        lines.append(f"the state before it is {safety}, opened by {shares.words()}")
    lines += snapshot_plan.after_restore(
        seen, record, sent_to=state.name, next_command=str(module.params["next_command"])
    )
    return plan_result(module, plan, **result, **_seals(seen), requests=client.requests, summary=lines)


def _seals(seen: Overview) -> dict[str, t.Any]:
    return {"nodes": [s.report() for s in seen.states], "sealed": seen.sealed}


if __name__ == "__main__":
    run(SPEC, main)
