#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_unseal
short_description: Unseal every OpenBao server with the shares of one or several holders
version_added: 0.1.0
description:
  - Sends each holder's unseal share to every sealed server by the server's own address, waits until they are unsealed
    and one of them is active.
  - One holder with one unseal share is enough for a run; the next holder's run adds to it.
  - The first node is done alone. A wrong unseal share stops the run there, so that shares which other holders sent to
    the other nodes are not lost.
  - Files, programs and the terminal are read on the controller by the action plugin of the same name. Nothing that
    it reads touches a disk, an argument list or an environment.
options:
  holders:
    description:
      - Whose unseal shares to send. A holder without a source is asked on the terminal, without echo.
      - Without any entry, the name of the holder is asked as well.
      - Nothing is read or asked while no node is sealed, nor in check mode.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The holder's name, for messages. Who holds two shares has two names.
        type: str
        required: true
      share:
        description: >-
          The unseal share itself, hex or base64. For callers that have it in memory. Do not put it into variables,
          extra variables or the environment.
        type: str
      file:
        description: >-
          File with the unseal share, mode 0600, or encrypted with ansible-vault or sops.
        type: path
      age_file:
        description: File with the unseal share encrypted with age.
        type: path
      age_identity_file:
        description: >-
          File with the age identity (or SSH private key without a passphrase), mode 0600, for O(holders[].age_file).
        type: path
      pgp_file:
        description: >-
          File with the unseal share as PGP message. C(gpg) decrypts it with the agent or smartcard of the user who runs
          Ansible.
        type: path
      command:
        description: Program and arguments that print the unseal share. It must not have the share as an argument.
        type: list
        elements: str
  known_holders:
    description: Names of everybody who holds an unseal share, to say who can still send. Other names are refused.
    type: list
    elements: str
    default: []
  on_progress:
    description:
      - What to do when a sealed node has counted unseal shares already.
      - V(resume) adds to them, V(reset) drops them first, V(fail) sends nothing.
    type: str
    choices: [resume, reset, fail]
    default: resume
  reset_only:
    description: Drop the unseal shares that sealed nodes have counted, and send none.
    type: bool
    default: false
  allow_partial:
    description: >-
      Send what there is when it is not enough to unseal. If V(false), nothing is sent then and the task fails.
    type: bool
    default: true
  wait:
    description: >-
      Wait until the nodes that got all their shares are unsealed, joining nodes have joined and got theirs, and one
      node is active. There is no waiting for what more unseal shares are needed for.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait in all.
    type: int
    default: 60
  require:
    description:
      - What must be reached when there were enough unseal shares and O(wait=true).
      - V(active) wants one active node and warns of nodes that do not answer; V(all) wants every node unsealed as well.
    type: str
    choices: [active, all]
    default: active
  max_rounds:
    description: How often in all a node gets the unseal shares in one run, if it restarts in the middle.
    type: int
    default: 2
  next_command:
    description: The command that the next holder types. V(HOLDER) in it stands for the name.
    type: str
    default: ansible-playbook -i INVENTORY playbooks/unseal.yml -e openbao_unseal_holder=HOLDER
seealso:
  - module: hackspace.infra.openbao_seal_info
notes:
  - OpenBao checks unseal shares only when all that are needed are there, and drops all of them if one is wrong.
  - Namespaces with a seal of their own (OpenBao 2.6) are not unsealed.
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._openbao_seal
author: hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Unseal with the share of one holder, asked on the terminal
  hackspace.infra.openbao_unseal:
    nodes: "{{ openbao_nodes }}"
    ca_cert: /etc/openbao/ca.pem
    holders:
      - name: ada

- name: Unseal with three holders
  hackspace.infra.openbao_unseal:
    nodes:
      - {name: openbao-0, url: "https://192.0.2.10:8200", tls_server_name: openbao-0.example.org}
      - {name: openbao-1, url: "https://192.0.2.11:8200", tls_server_name: openbao-1.example.org}
      - {name: openbao-2, url: "https://192.0.2.12:8200", tls_server_name: openbao-2.example.org}
    ca_cert: /etc/openbao/ca.pem
    holders:
      - {name: ada, age_file: /media/ada/share.age, age_identity_file: /media/ada/identity.txt}
      - {name: bo, pgp_file: /media/bo/share.asc}
      - {name: cleo, command: [pass, show, openbao-share]}
"""

RETURN = r"""
nodes:
  description: >-
    As of M(hackspace.infra.openbao_seal_info), after the run, and C(before) with state and progress before it.
  returned: always
  type: list
  elements: dict
active:
  description: Name, url and tls_server_name of the active node, or null.
  returned: always
  type: dict
sealed:
  description: Names of nodes that answer and are sealed.
  returned: always
  type: list
  elements: str
unsealed:
  description: Names of unsealed nodes.
  returned: always
  type: list
  elements: str
not_answering:
  description: Names of nodes without an answer.
  returned: always
  type: list
  elements: str
not_initialised:
  description: Names of nodes without data in a cluster that has none.
  returned: always
  type: list
  elements: str
storage:
  description: Kind of storage.
  returned: always
  type: str
plan:
  description: Per sealed node before the run what it needs, what is at hand, and whose unseal shares are to be sent.
  returned: always
  type: list
  elements: dict
sent:
  description: >-
    Per holder and node what became of the unseal share, V(counted), V(already there) or V(not needed).
    Empty in check mode.
  returned: always
  type: dict
same_share:
  description: Holders whose unseal share is the same as that of another holder.
  returned: always
  type: dict
missing:
  description: Unseal shares that are still needed after the run (in check mode, after what would be sent).
  returned: always
  type: int
shares_needed:
  description: Unseal shares that are needed now.
  returned: always
  type: int
holders_sent:
  description: Holders whose unseal shares are with a node after this run.
  returned: always
  type: list
  elements: str
holders_missing:
  description: Known holders who did not send in this run, if unseal shares are still needed.
  returned: always
  type: list
  elements: str
next_command:
  description: What the next holder types; empty if nothing is needed.
  returned: always
  type: str
requests:
  description: HTTP requests sent to each node.
  returned: always
  type: dict
seconds:
  description: Seconds spent reading the states, sending, and waiting.
  returned: always
  type: dict
summary:
  description: Lines for a person.
  returned: always
  type: list
  elements: str
changes:
  description: What was (or would be) done, one entry per node.
  returned: always
  type: list
  elements: dict
"""

import dataclasses
import threading
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_seal import (
    SEAL_SPEC,
    Reading,
    SealClient,
    connections_of,
    each,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, hide, run
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import seal_plan, shares
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import (
    Node,
    NodeState,
    Overview,
    Problem,
    classify,
    parse_nodes,
)

SOURCES: t.Final = ("share", "file", "age_file", "pgp_file", "command")

SPEC = SEAL_SPEC.merge(
    ArgumentSpec(
        options={
            "holders": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "share": {"type": "str", "no_log": True},
                    "file": {"type": "path"},
                    "age_file": {"type": "path"},
                    "age_identity_file": {"type": "path"},
                    "pgp_file": {"type": "path"},
                    "command": {"type": "list", "elements": "str"},
                },
                "mutually_exclusive": [list(SOURCES)],
                "required_together": [["age_file", "age_identity_file"]],
            },
            "known_holders": {"type": "list", "elements": "str", "default": []},
            "on_progress": {"type": "str", "choices": ["resume", "reset", "fail"], "default": "resume"},
            "reset_only": {"type": "bool", "default": False},
            "allow_partial": {"type": "bool", "default": True},
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 60},
            "require": {"type": "str", "choices": ["active", "all"], "default": "active"},
            "max_rounds": {"type": "int", "default": 2},
            "next_command": {
                "type": "str",
                "default": "ansible-playbook -i INVENTORY playbooks/unseal.yml -e openbao_unseal_holder=HOLDER",
            },
        }
    )
)

#: Seconds between two looks while waiting, and how long a joining node may take to become unsealed.
POLL: t.Final = 0.3
JOINING: t.Final = 15.0


@dataclasses.dataclass(frozen=True)
class Options:
    """What the engine has to know of the module's options."""

    on_progress: seal_plan.OnProgress = "resume"
    max_rounds: int = 2
    wait_timeout: float = 60.0


class Unsealer:
    """Carries out on the servers what seal_plan decides."""

    def __init__(
        self,
        nodes: t.Sequence[Node],
        clients: t.Mapping[str, SealClient],
        keys: t.Sequence[shares.Share],
        options: Options,
    ) -> None:
        self.clients = clients
        self.keys = keys
        self.options = options
        self.nodes = {node.name: node for node in nodes}
        self.states: dict[str, NodeState] = {}
        self.tracks = {node.name: seal_plan.Track(node.name) for node in nodes}
        self._hung: set[str] = set()
        self._seen: set[str] = set()
        self._patience: dict[str, float] = {}
        self._stop = threading.Event()

    # -- reading -------------------------------------------------------------------------------------------------------

    def look(self) -> Overview:
        """Ask every node that has not hung yet, all at once."""
        names = [name for name in self.nodes if name not in self._hung]
        for name, reading in zip(names, each(names, lambda n: self.clients[n].read()), strict=True):
            self._take(name, reading)
        overview = self.overview
        self.states = {state.name: state for state in overview.states}
        return overview

    @property
    def overview(self) -> Overview:
        return Overview.of(self.states[name] for name in self.nodes)

    def _take(self, name: str, reading: Reading) -> NodeState:
        problem = Problem.of(reading.error) if reading.error else None
        state = classify(self.nodes[name], reading.status, reading.health, problem)
        if state.state != "unreachable":
            self._seen.add(name)
        elif problem and problem.hop == "timeout":
            self._hung.add(name)
        self.states[name] = state
        return state

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(self) -> None:
        """Send to all nodes that want a round: the first one alone, then the others at once."""
        todo = [n for n, s in self.states.items() if self.tracks[n].wants_round(s, self.options.max_rounds)]
        while todo:
            name = todo.pop(0)
            self._feed(name)
            if self.tracks[name].verdicts:
                break
        each(todo, self._feed)

    def _feed(self, name: str) -> None:
        track, state = self.tracks[name], self.states[name]
        if state.progress and track.rounds == 0 and self.options.on_progress == "reset":
            if not self._reset(name):
                return
            state = self.states[name]
        track.begin(state)
        while not self._stop.is_set():
            share = track.next_share(self.keys, state)
            if share is None:
                return
            state = self._one(name, share, state)
            if state.state != "sealed" or track.problem or name in self._patience:
                return

    def _one(self, name: str, share: shares.Share, before: NodeState) -> NodeState:
        """Send one share and return the state after it."""
        track, last = self.tracks[name], before.needed == 1
        sent = self.clients[name].send(share.key)
        http = None if sent.http is not None and sent.http >= 500 else sent.http
        if sent.status is not None:
            state = self._take(name, Reading(sent.status))
        elif sent.error is not None and sent.error.rule == "timeout":
            state = self._take(name, Reading(None, error=sent.error))
        else:
            state = self._take(name, self.clients[name].status())
        verdict = seal_plan.interpret(before, http, state, reconnected=sent.reconnected)
        if verdict in ("unsealed", "counted", "duplicate", "pending"):
            track.note(share.holder, verdict, state)
            if verdict == "pending":
                self._patience[name] = time.monotonic() + JOINING
        elif verdict == "wrong":
            self._stop.set()
            raise seal_plan.wrong_share(track, share.holder, before)
        elif verdict == "reset":
            self._stop.set()
            track.verdicts[share.holder] = "counted"
            raise seal_plan.interrupted(track, share.holder, state)
        elif verdict == "restarted":
            if track.rounds >= self.options.max_rounds:
                track.problem = f"lost its unseal shares {track.rounds} times in this run"
            else:
                track.begin(state, share.holder if http == 200 else None)
        else:
            track.lost += 1
            why = f"HTTP {sent.http}" if sent.http is not None else sent.error.message if sent.error else verdict
            if state.state != "unreachable" and (track.lost > 1 or verdict == "refused"):
                track.problem = seal_plan.no_answer(share.holder, why, last=last)
        return state

    def _reset(self, name: str) -> bool:
        """Drop what a node has counted; say whether it did."""
        sent = self.clients[name].reset()
        state = self._take(name, Reading(sent.status) if sent.status else self.clients[name].status())
        done = state.state != "unreachable" and state.progress == 0
        if done:
            self.tracks[name].reset = True
        else:
            self.tracks[name].problem = "did not drop the unseal shares it has counted"
        return done

    def reset_all(self) -> None:
        """Drop what every sealed node has counted."""
        each([n for n, s in self.states.items() if s.takes_shares and s.progress], self._reset)

    # -- waiting -------------------------------------------------------------------------------------------------------

    def wait(self) -> Overview:
        """Look until nothing more can be expected, and send again where a node joined or restarted."""
        if not any(track.rounds for track in self.tracks.values()) and not self._worth_waiting(self.overview):
            return self.overview  # just looked, nothing was sent
        deadline = time.monotonic() + self.options.wait_timeout
        while True:
            overview = self.look()
            for name, until in list(self._patience.items()):
                if self.states[name].state == "unsealed" or time.monotonic() > until:
                    del self._patience[name]
            due = [n for n in self._in_flight() if n not in self._patience]
            if any(self.tracks[n].wants_round(self.states[n], self.options.max_rounds) for n in due):
                self._send_again(due)
                continue
            if time.monotonic() >= deadline or not self._worth_waiting(overview):
                return overview
            time.sleep(POLL)

    def _send_again(self, names: t.Sequence[str]) -> None:
        each([n for n in names if self.tracks[n].wants_round(self.states[n], self.options.max_rounds)], self._feed)

    def _in_flight(self) -> list[str]:
        """Names of nodes from which more is to be expected without anybody's further share."""
        names = []
        for name, state in self.states.items():
            track = self.tracks[name]
            if (
                name in self._patience
                or (state.state == "joining" and self.keys and self._led)
                or (state.state == "unreachable" and name in self._seen - self._hung)
                or (track.wants_round(state, self.options.max_rounds) and self.keys)
            ):
                names.append(name)
        return names

    @property
    def _led(self) -> bool:
        return self.overview.leader_possible

    def _worth_waiting(self, overview: Overview) -> bool:
        return bool(self._in_flight()) or (overview.active is None and overview.leader_possible)

    # -- result --------------------------------------------------------------------------------------------------------

    @property
    def problems(self) -> list[str]:
        return [f"{name}: {track.problem}" for name, track in self.tracks.items() if track.problem]

    @property
    def missing(self) -> int:
        """Shares still needed, apart from nodes that have had all of theirs or that failed."""
        return max(
            (
                state.needed
                for name, state in self.states.items()
                if not self.tracks[name].problem and self.tracks[name].nonce != seal_plan.DONE
            ),
            default=0,
        )

    def sent(self) -> dict[str, dict[str, str]]:
        """Return per holder and node what became of the share."""
        touched = [name for name, track in self.tracks.items() if track.rounds]
        return {
            key.holder: {name: self.tracks[name].verdicts.get(key.holder, "not needed") for name in touched}
            for key in self.keys
        }


def keys_of(module: AnsibleModule) -> tuple[list[str], list[shares.Share], dict[str, str]]:
    """Return the names of all holders, their distinct shares, and whose share is the same as whose.

    In check mode holders have no share, only where it would come from; they count as different ones.
    """
    entries = [dict(entry) for entry in module.params["holders"]]
    names = [str(entry["name"]) for entry in entries]
    seal_plan.check_holders(names, module.params["known_holders"])
    given = [(str(e["name"]), str(e["share"])) for e in entries if e.get("share") is not None]
    hide(module, *(text for _name, text in given), *(text.strip() for _name, text in given))
    found, same = shares.parse(given)
    hide(module, *(share.key.reveal() for share in found))
    blank = [name for name, entry in zip(names, entries, strict=True) if entry.get("share") is None]
    if blank and not module.check_mode:
        raise InvalidInput(
            f"no unseal share came for {', '.join(blank)}.",
            item="holders",
            rule="no-share",
            fix="call the module as hackspace.infra.openbao_unseal, so that its action plugin reads the source.",
        )
    return [name for name in names if name not in same], found, same


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    nodes = parse_nodes(params["nodes"])
    connections = connections_of(params)
    holders, keys, same = keys_of(module)
    if params["reset_only"]:
        holders, keys = [], []
    if not params["validate_certs"]:
        module.warn("validate_certs is false: unseal shares go to servers that are not verified.")
    for holder, twin in same.items():
        module.warn(f"the unseal share of {holder} is the same as that of {twin}; it counts once.")
    clients = {name: SealClient(connection) for name, connection in connections.items()}
    options = Options(params["on_progress"], max(params["max_rounds"], 1), max(params["wait_timeout"], 0))
    engine = Unsealer(nodes, clients, keys, options)
    try:
        return work(module, engine, holders, same)
    finally:
        for client in clients.values():
            client.close()


def work(
    module: AnsibleModule, engine: Unsealer, holders: t.Sequence[str], same: t.Mapping[str, str]
) -> dict[str, t.Any]:
    params = module.params
    clock = [time.monotonic()]
    before = engine.look()
    clock.append(time.monotonic())
    policy: seal_plan.OnProgress = "reset" if params["reset_only"] else params["on_progress"]
    rounds = seal_plan.plan_round(before, holders, policy, params["allow_partial"] or params["reset_only"])
    planned = rounds.plan(before)

    def result(after: Overview, sent: t.Mapping[str, t.Mapping[str, str]]) -> dict[str, t.Any]:
        done = [h for h, places in sent.items() if any(v != "not needed" for v in places.values())]
        if module.check_mode:
            done = list(holders)
        missing = rounds.missing if module.check_mode else engine.missing
        outcome = seal_plan.outcome(after, missing, done, params["known_holders"], params["next_command"])
        past = {s.name: s for s in before.states}
        moments = [*clock, time.monotonic(), time.monotonic(), time.monotonic()]
        seen = after.result()
        for node in seen["nodes"]:
            was = past[node["name"]]
            node["before"] = {"state": was.state, "progress": was.progress}
        changed = planned.changed if module.check_mode else any(t.changed for t in engine.tracks.values())
        return {
            **planned.result(),
            "changed": changed,
            **seen,
            "plan": [n.report() for n in rounds.nodes],
            "sent": sent,
            "same_share": dict(same),
            "missing": missing,
            "holders_sent": done,
            "holders_missing": list(outcome.holders_possible) if outcome.missing else [],
            "next_command": outcome.next_command,
            "requests": {name: client.requests for name, client in engine.clients.items()},
            "seconds": {
                "look": round(moments[1] - moments[0], 3),
                "send": round(moments[2] - moments[1], 3),
                "wait": round(moments[3] - moments[2], 3),
            },
            "summary": [*check_lines(rounds), *outcome.summary()] if module.check_mode else outcome.summary(),
        }

    if module.check_mode:
        return result(before, {})
    try:
        if params["reset_only"]:
            engine.reset_all()
        else:
            engine.send()
        clock.append(time.monotonic())
        waits = bool(params["wait"]) and not params["reset_only"]
        after = engine.wait() if waits else engine.overview
        clock.append(time.monotonic())
        enough = engine.missing == 0
        for line in engine.problems:
            module.warn(line)
        for line in seal_plan.check_outcome(after, enough=enough, waited=waits, require=params["require"]):
            module.warn(line)
        if engine.problems and after.active is None and waits:
            raise seal_plan.UnsealError(
                "; ".join(engine.problems),
                item="nodes",
                rule="no-answer",
                fix="repair the nodes named, then run again.",
            )
    except HackspaceError as error:
        error.data = {**result(engine.look(), engine.sent()), **error.data}
        raise
    return result(after, engine.sent())


def check_lines(rounds: seal_plan.RoundPlan) -> list[str]:
    """Return the lines of a check-mode run, per sealed node."""
    return [
        f"{n.node}: would send {', '.join(n.holders) if n.holders else 'nothing'}"
        f"{f', {n.missing} more unseal share(s) missing' if n.missing else ', enough'}"
        for n in rounds.nodes
    ]


if __name__ == "__main__":
    run(SPEC, main)
