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
  - Servers that are pods are found by their labels and reached one by one through port-forwards. Where a StatefulSet
    makes a pod only when the one before it is Ready, the new pod is found and gets its shares in the same run.
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
  namespaces:
    description:
      - Namespaces with a seal of their own (OpenBao 2.6), each with the unseal shares of its own holders. They are
        unsealed once a server is active, parents before children.
      - It takes a login, O(namespace_token) or O(namespace_token_file).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path of the namespace from the root on, as in V(tenants/ada).
        type: str
        required: true
      holders:
        description: Whose unseal shares to send, as O(holders).
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The holder's name, for messages.
            type: str
            required: true
          share:
            description: The unseal share itself, hex or base64.
            type: str
          file:
            description: File with the unseal share, mode 0600, or encrypted with ansible-vault or sops.
            type: path
          age_file:
            description: File with the unseal share encrypted with age.
            type: path
          age_identity_file:
            description: File with the age identity for O(namespaces[].holders[].age_file).
            type: path
          pgp_file:
            description: File with the unseal share as PGP message.
            type: path
          command:
            description: Program and arguments that print the unseal share.
            type: list
            elements: str
  namespace_token:
    description:
      - OpenBao token that may C(read) C(sys/namespaces/NAME/seal-status) and C(update) C(sys/namespaces/NAME/unseal) in
        the namespace above each of O(namespaces).
    type: str
  namespace_token_file:
    description: File with O(namespace_token), mode 0600, or encrypted with ansible-vault or sops.
    type: path
  server_version:
    description: Version of the servers, for development builds of OpenBao that do not report it.
    type: str
  watch:
    description:
      - Seconds to look on after all servers are unsealed, at most 3600. The first server that comes back sealed in this
        time, as a rescheduled pod does, is unsealed again, and that ends the run.
      - The unseal shares stay in memory as long, and are asked for even when nothing is sealed.
    type: int
    default: 0
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
  - O(namespaces) is tested against the documented answers of OpenBao 2.6 only, unless the tests have such a server.
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._openbao_seal.reach
  - hackspace.infra._openbao_seal.tls
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

- name: Unseal pods, and one that is rescheduled within ten minutes
  hackspace.infra.openbao_unseal:
    pods:
      kubeconfig: ~/.kube/core-infra
      namespace: openbao
    ca_cert: /etc/openbao/ca.pem
    holders:
      - {name: ada, age_file: /media/ada/share.age, age_identity_file: /media/ada/identity.txt}
      - {name: bo, pgp_file: /media/bo/share.asc}
      - {name: cleo}
    watch: 600
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
pods:
  description: What the API server said last of the pods.
  returned: when O(pods) is given
  type: dict
  contains:
    namespace: {description: Their Kubernetes namespace., type: str, returned: always}
    expected: {description: How many there should be., type: int, returned: always}
    found: {description: Names of those that are there., type: list, elements: str, returned: always}
    running: {description: Names of those that run., type: list, elements: str, returned: always}
    ready: {description: Names of those that are Ready., type: list, elements: str, returned: always}
    absent: {description: Names of those that are still to be made., type: list, elements: str, returned: always}
namespaces:
  description: State of each of O(namespaces) after the run, and what became of its holders' unseal shares.
  returned: always
  type: list
  elements: dict
watched:
  description: How many seconds the run looked on, and C(node), the server that was unsealed again.
  returned: always
  type: dict
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
    Reading,
    SealClient,
    clients_of,
    each,
)
from ansible_collections.hackspace.infra.plugins.module_utils._clients.pods import REACH_SPEC, cluster_of
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, hide, run
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import (
    namespace_seal,
    pod_plan,
    seal_plan,
    shares,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.pod_targets import Targets, check_fatal
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import (
    NodeState,
    Overview,
    Problem,
    classify,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.share_options import sources

SPEC = REACH_SPEC.merge(
    ArgumentSpec(
        options={
            "holders": sources(),
            "namespaces": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"path": {"type": "str", "required": True}, "holders": sources()},
            },
            "namespace_token": {"type": "str", "no_log": True},
            "namespace_token_file": {"type": "path", "no_log": False},
            "server_version": {"type": "str"},
            "watch": {"type": "int", "default": 0},
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
        },
        mutually_exclusive=(("namespace_token", "namespace_token_file"),),
    )
)

#: Seconds between two looks while waiting, and how long a joining node may take to become unsealed.
POLL: t.Final = 0.3
JOINING: t.Final = 15.0
#: How long a pod whose server is unsealed may take to become Ready, and seconds between two looks while watching.
READY: t.Final = 20.0
WATCH: t.Final = 1.0


@dataclasses.dataclass(frozen=True)
class Options:
    """What the engine has to know of the module's options."""

    on_progress: seal_plan.OnProgress = "resume"
    max_rounds: int = 2
    wait_timeout: float = 60.0


class Unsealer:
    """Carries out on the servers what seal_plan decides."""

    def __init__(self, targets: Targets[SealClient], keys: t.Sequence[shares.Share], options: Options) -> None:
        self.targets = targets
        self.keys = keys
        self.options = options
        self.states: dict[str, NodeState] = {}
        self.tracks: dict[str, seal_plan.Track] = {}
        self._hung: set[str] = set()
        self._seen: set[str] = set()
        self._patience: dict[str, float] = {}
        self._stop = threading.Event()

    # -- reading -------------------------------------------------------------------------------------------------------

    @property
    def clients(self) -> t.Mapping[str, SealClient]:
        return self.targets.clients

    def look(self) -> Overview:
        """Find the pods again, and ask every node that has not hung yet, all at once."""
        self._hung -= self.targets.refresh()
        nodes, problems = self.targets.nodes, self.targets.problems
        for name in nodes:
            self.tracks.setdefault(name, seal_plan.Track(name))
        for name in problems:
            self.states[name] = classify(nodes[name], None, problem=problems[name])
        names = [name for name in nodes if name not in self._hung and name not in problems]
        for name, reading in zip(names, each(names, lambda n: self.clients[n].read()), strict=True):
            self._take(name, reading)
        overview = self.overview
        self.states = {state.name: state for state in overview.states}
        return overview

    @property
    def overview(self) -> Overview:
        return Overview.of(self.states[name] for name in self.targets.nodes)

    def _take(self, name: str, reading: Reading) -> NodeState:
        check_fatal(reading.error)
        problem = Problem.of(reading.error) if reading.error else None
        state = classify(self.targets.nodes[name], reading.status, reading.health, problem)
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
                return self._until_ready(deadline)
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
        return [*names, *(name for name in self._awaited(names) if name not in names)]

    def _awaited(self, busy: t.Sequence[str]) -> list[str]:
        """Names of pods that come, or come back, and for which there are shares."""
        roster = self.targets.roster
        return pod_plan.awaited(roster, self.overview, busy) if roster and self.keys else []

    @property
    def unready(self) -> list[str]:
        """Names of pods whose server is unsealed and which are not Ready."""
        roster = self.targets.roster
        return [name for name in self.overview.named("unsealed") if roster and name not in roster.ready]

    def _until_ready(self, deadline: float) -> Overview:
        """Give pods that this run unsealed the time to become Ready; before that their Service passes them by."""
        overview, limit = self.overview, min(deadline, time.monotonic() + READY)
        while any(self.tracks[n].rounds for n in self.unready) and time.monotonic() < limit:
            time.sleep(POLL)
            overview = self.look()
        return overview

    def watch(self, seconds: float) -> str:
        """Look on until one server that was restarted is unsealed again, and return its name; empty if none came."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(min(WATCH, max(deadline - time.monotonic(), 0)))
            self._hung.clear()  # a machine that is restarted hangs for a while
            self.look()
            back = next((name for name, state in self.states.items() if state.takes_shares), None)
            if back is not None:
                # another server than the one that this run knew under the name: what was counted is gone
                self.tracks[back] = seal_plan.Track(back, verdicts=self.tracks[back].verdicts)
                self._feed(back)
                self.wait()
                return back
        return ""

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


class Namespaces:
    """Unseals namespaces with a seal of their own on the active node, parents before children."""

    def __init__(
        self,
        wanted: t.Sequence[namespace_seal.Wanted],
        keys: t.Mapping[str, tuple[list[str], list[shares.Share], dict[str, str]]],
        token: Secret | None,
    ) -> None:
        self.wanted = wanted
        self.holders = {path: names for path, (names, _shares, _same) in keys.items()}
        self.keys = {path: found for path, (_names, found, _same) in keys.items()}
        self.rounds = [
            namespace_seal.Round(namespace_seal.Seal(one, "unknown", why="no server is active")) for one in wanted
        ]
        self._token = token
        self._asked = False

    @property
    def changed(self) -> bool:
        return any(one.changed for one in self.rounds)

    @property
    def missing(self) -> int:
        return max((one.seal.needed for one in self.rounds), default=0)

    def _ask(self, client: SealClient, wanted: namespace_seal.Wanted) -> namespace_seal.Seal:
        with client.inside(wanted.parent, self._token) as api:
            answer = api.request("GET", wanted.api("seal-status"), ok=range(200, 600))
        return namespace_seal.classify(wanted, answer.status, answer.body)

    def look(self, client: SealClient, version: str, override: str | None) -> None:
        """Ask the active server for the seals; nothing is sent."""
        namespace_seal.check_version(version, override=override)
        for one in self.rounds:
            one.seal = self._ask(client, one.seal.wanted)
        namespace_seal.check_login([one.seal for one in self.rounds])
        self._asked = True

    def send(self, client: SealClient) -> None:
        """Send each namespace its own holders' shares."""
        for one in self.rounds:
            wanted = one.seal.wanted
            if one.seal.state == "unknown":  # its parent may have been sealed a moment ago
                one.seal = self._ask(client, wanted)
            with client.inside(wanted.parent, self._token) as api:
                while (share := one.next_share(self.keys[wanted.path])) is not None:
                    body = {"key": share.key.reveal()}
                    answer = api.request("PUT", wanted.api("unseal"), body, ok=range(200, 600), quiet=True)
                    one.take(share.holder, answer.status, namespace_seal.classify(wanted, answer.status, answer.body))

    def report(self) -> list[dict[str, t.Any]]:
        return [one.report() for one in self.rounds]

    def summary(self, *, check: bool) -> list[str]:
        if check and self._asked:
            return namespace_seal.plan_lines([one.seal for one in self.rounds], self.holders)
        return [one.seal.line() for one in self.rounds]

    def would_change(self) -> bool:
        return any(one.seal.needed and self.holders.get(one.seal.wanted.path) for one in self.rounds)


def keys_of(
    module: AnsibleModule, raw: t.Sequence[t.Mapping[str, t.Any]], item: str
) -> tuple[list[str], list[shares.Share], dict[str, str]]:
    """Return the names of all holders, their distinct shares, and whose share is the same as whose.

    In check mode holders have no share, only where it would come from; they count as different ones.
    """
    entries = [dict(entry) for entry in raw]
    names = [str(entry["name"]) for entry in entries]
    seal_plan.check_holders(names, module.params["known_holders"] if item == "holders" else ())
    given = [(str(e["name"]), str(e["share"])) for e in entries if e.get("share") is not None]
    hide(module, *(text for _name, text in given), *(text.strip() for _name, text in given))
    found, same = shares.parse(given)
    hide(module, *(share.key.reveal() for share in found))
    blank = [name for name, entry in zip(names, entries, strict=True) if entry.get("share") is None]
    if blank and not module.check_mode:
        raise InvalidInput(
            f"no unseal share came for {', '.join(blank)}.",
            item=item,
            rule="no-share",
            fix="call the module as hackspace.infra.openbao_unseal, so that its action plugin reads the source.",
        )
    return [name for name in names if name not in same], found, same


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    pod_plan.check_watch(params["watch"])
    wanted = namespace_seal.parse_namespaces(params["namespaces"])
    targets = Targets.of(params, cluster_of, clients_of)
    holders, keys, same = keys_of(module, params["holders"], "holders")
    inner = {
        str(entry["path"]).strip("/"): keys_of(module, entry["holders"], f"namespaces[{index}].holders")
        for index, entry in enumerate(params["namespaces"])
    }
    if params["reset_only"]:
        holders, keys, wanted = [], [], []
    if not params["validate_certs"]:
        module.warn("validate_certs is false: unseal shares go to servers that are not verified.")
    for holder, twin in same.items():
        module.warn(f"the unseal share of {holder} is the same as that of {twin}; it counts once.")
    options = Options(params["on_progress"], max(params["max_rounds"], 1), max(params["wait_timeout"], 0))
    engine = Unsealer(targets, keys, options)
    below = Namespaces(wanted, inner, Secret(params["namespace_token"]) if params["namespace_token"] else None)
    try:
        return work(module, engine, holders, same, below)
    finally:
        targets.close()


def work(
    module: AnsibleModule,
    engine: Unsealer,
    holders: t.Sequence[str],
    same: t.Mapping[str, str],
    below: Namespaces,
) -> dict[str, t.Any]:
    params = module.params
    clock = [time.monotonic()]
    before = engine.look()
    clock.append(time.monotonic())
    policy: seal_plan.OnProgress = "reset" if params["reset_only"] else params["on_progress"]
    rounds = seal_plan.plan_round(before, holders, policy, params["allow_partial"] or params["reset_only"])
    planned = rounds.plan(before)
    watched = {"seconds": 0.0, "node": ""}

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
            was = past.get(node["name"])
            node["before"] = {"state": was.state if was else "unreachable", "progress": was.progress if was else 0}
        if module.check_mode:
            changed = planned.changed or below.would_change()
        else:
            changed = any(t.changed for t in engine.tracks.values()) or below.changed
        lines = [*check_lines(rounds), *outcome.summary()] if module.check_mode else outcome.summary()
        if engine.targets.roster:
            seen["pods"] = engine.targets.roster.report()
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
            "requests": engine.targets.requests(),
            "namespaces": below.report(),
            "watched": watched,
            "seconds": {
                "look": round(moments[1] - moments[0], 3),
                "send": round(moments[2] - moments[1], 3),
                "wait": round(moments[3] - moments[2], 3),
            },
            "summary": [*lines, *below.summary(check=module.check_mode)],
        }

    def active() -> NodeState | None:
        return engine.overview.active if below.wanted else None

    if module.check_mode:
        if lead := active():
            below.look(engine.clients[lead.name], lead.version, params["server_version"])
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
        judge(module, engine, waits=waits)
        if lead := active():
            below.look(engine.clients[lead.name], lead.version, params["server_version"])
            below.send(engine.clients[lead.name])
        if params["watch"] and waits and enough and engine.keys:
            clock_watch = time.monotonic()
            watched["node"] = engine.watch(params["watch"])
            watched["seconds"] = round(time.monotonic() - clock_watch, 1)
            after = engine.overview
            if watched["node"]:
                judge(module, engine, waits=True)
    except HackspaceError as error:
        error.data = {**result(engine.look(), engine.sent()), **error.data}
        raise
    return result(after, engine.sent())


def judge(module: AnsibleModule, engine: Unsealer, *, waits: bool) -> None:
    """Warn of what went wrong on single nodes, and raise when what is required was not reached."""
    after, enough = engine.overview, engine.missing == 0
    for line in engine.problems:
        module.warn(line)
    for line in seal_plan.check_outcome(after, enough=enough, waited=waits, require=module.params["require"]):
        module.warn(line)
    if engine.problems and after.active is None and waits:
        raise seal_plan.UnsealError(
            "; ".join(engine.problems),
            item="nodes",
            rule="no-answer",
            fix="repair the nodes named, then run again.",
        )
    for name in engine.unready if waits and enough else ():
        module.warn(f"pod {name} is unsealed and not Ready: its Service does not lead to it; see its events.")


def check_lines(rounds: seal_plan.RoundPlan) -> list[str]:
    """Return the lines of a check-mode run, per sealed node."""
    return [
        f"{n.node}: would send {', '.join(n.holders) if n.holders else 'nothing'}"
        f"{f', {n.missing} more unseal share(s) missing' if n.missing else ', enough'}"
        for n in rounds.nodes
    ]


if __name__ == "__main__":
    run(SPEC, main)
