# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The one run that initialises a site. The order of its steps is what keeps shares and root token safe:

everything that can fail is tried first; room for every file is taken; one request; every share to its holder, in
memory, and to the disk; only then anything else.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import secrets
import signal
import time
import typing as t
from datetime import UTC, datetime

from .._core import private_files
from .._core.encrypt import armor_message, try_out
from .._core.errors import HackspaceError, Refused
from .._core.redact import Secret
from .admin_apply import LoginAs, create_login
from .init_model import Holder, InitSpec, root_token_file
from .init_plan import LOST, NodeState, Shares, parse_answer, record, request_body, words
from .ports import Api
from .seal_model import Node
from .share_record import RECORD

Connect = t.Callable[[Node], Api]

#: Seconds for the answer to ``sys/init``: it must never be missed because storage was slow.
INIT_TIMEOUT: t.Final = 120.0

#: Seconds to leave a joining node alone after it was sent its shares: it unseals in the background.
SETTLE: t.Final = 10.0

_SEALED_OR_NOT = (200, 429, 472, 473, 501, 503)


@dataclasses.dataclass
class Flow:
    """What a run needs from outside, so that tests can replace it.

    :ivar connect: a connection to a node without a login.
    :ivar login_as: a connection to the first node with the administrators' login.
    :ivar hide: makes values unprintable for the rest of the run.
    """

    connect: Connect
    login_as: LoginAs
    hide: t.Callable[..., None] = lambda *_values: None
    sleep: t.Callable[[float], None] = time.sleep
    clock: t.Callable[[], float] = time.monotonic


def read_nodes(nodes: t.Sequence[Node], connect: Connect) -> list[NodeState]:
    """Ask every node for its seal status."""
    states: list[NodeState] = []
    for node in nodes:
        api = connect(node)
        try:
            states.append(NodeState(node, api.request("GET", "sys/seal-status", token=False).body))
        except HackspaceError as error:
            states.append(NodeState(node, None, error))
        finally:
            api.close()
    return states


def read_record(spec: InitSpec) -> dict[str, t.Any] | None:
    """Return the record of an earlier initialisation in the output folder; ``None`` without one we can read."""
    try:
        with open(spec.path(RECORD), encoding="utf-8") as handle:
            data = json.load(handle)
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def missing_files(spec: InitSpec, written: t.Mapping[str, t.Any] | None) -> list[str]:
    """Return the share files that the record names and the folder does not have."""
    names = [str(entry.get("file")) for entry in (written or {}).get("holders") or []]
    return [name for name in names if not os.path.isfile(spec.path(name))]


def preflight(spec: InitSpec) -> None:
    """Try everything that can fail before the request, without writing.

    :raises HackspaceError: what would fail.
    """
    private_files.check_private_folder(spec.output_dir, item="output_dir", files=len(spec.files) + 1)
    for path in spec.files:
        if os.path.lexists(path):
            raise Refused(
                f"{path} exists and is never overwritten.",
                item="output_dir",
                rule="share-file-exists",
                fix="these may be the shares of a living cluster: give another folder, or move them to an archive.",
            )
    old = read_record(spec)
    if os.path.lexists(spec.path(RECORD)) and (old is None or old.get("state") != "prepared"):
        raise Refused(
            f"{spec.path(RECORD)} belongs to another initialisation.",
            item="output_dir",
            rule="record-exists",
            fix="give another folder, or move it to an archive together with its share files.",
        )
    for holder in spec.holders:
        try_out(holder.recipient)


@dataclasses.dataclass
class _Done:
    """What has been achieved; goes into the result, and into every error from the request on."""

    encrypted: dict[str, str] = dataclasses.field(default_factory=dict)
    fingerprints: dict[str, str] = dataclasses.field(default_factory=dict)
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)
    root: str = "unused"

    def data(self, spec: InitSpec) -> dict[str, t.Any]:
        return {
            "changed": True,
            "initialised": True,
            "threshold": spec.threshold,
            "shares": [
                {"holder": h.name, "file": self.files.get(h.name, ""), "fingerprint": self.fingerprints.get(h.name, "")}
                for h in spec.holders
            ],
            "encrypted_shares": dict(self.encrypted),
            "root_token": self.root,
        }


def initialise(spec: InitSpec, flow: Flow, *, recovery_seal: bool) -> dict[str, t.Any]:
    """Initialise the first node and do all that follows from it; return the result (nothing secret in it).

    :raises HackspaceError: what failed; from the request on its data says what has been achieved.
    """
    first = spec.nodes[0]
    api = flow.connect(first)
    generation = secrets.token_hex(8)
    at = datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    done = _Done()

    def keep(state: str, fingerprints: t.Sequence[str] = (), cluster: t.Mapping[str, t.Any] | None = None) -> None:
        document = record(
            spec,
            state,
            at=at,
            generation=generation,
            recovery_seal=recovery_seal,
            fingerprints=fingerprints,
            cluster=cluster,
        )
        private_files.replace(spec.path(RECORD), (json.dumps(document, indent=2) + "\n").encode())

    try:
        _reserve(spec, keep)
        with undisturbed():
            try:
                shares = _request(spec, flow, api, first, recovery_seal=recovery_seal)
            except HackspaceError:
                _release(spec)
                raise
            flow.hide(shares.root_token.reveal(), *(v.reveal() for v in shares.values))
            _hand_out(spec, shares, done)
            if not done.problems:
                with contextlib.suppress(OSError):  # the share files are what counts
                    keep("written", [done.fingerprints[h.name] for h in spec.holders])
        try:
            return _finish(spec, flow, api, shares, done, keep=keep, recovery_seal=recovery_seal)
        except HackspaceError as error:
            if done.problems and error.rule != "shares-not-written":
                error.message = f"{error.message} Besides: {_unwritten(done)}"
            error.data = {**done.data(spec), **error.data}
            raise
        except Exception as error:
            raise HackspaceError(
                f"defect after the initialisation: {type(error).__name__}.",
                item=f"node {first.name}",
                rule="defect",
                fix="the shares are in their files (or in encrypted_shares); finish with openbao_generate_root.",
                data=done.data(spec),
            ) from None
    finally:
        api.close()


def _reserve(spec: InitSpec, keep: t.Callable[[str], None]) -> None:
    try:
        for path in spec.files:
            private_files.reserve(path)
        keep("prepared")
    except OSError as error:
        _release(spec)
        raise Refused(
            f"no room for the share files ({error.strerror}); nothing was initialised.",
            item="output_dir",
            rule="folder-space",
            fix="make room, or give a folder on another file system.",
        ) from None
    except HackspaceError:
        _release(spec)
        raise


def _release(spec: InitSpec) -> None:
    for path in spec.files:
        private_files.release(path)


@contextlib.contextmanager
def undisturbed() -> t.Iterator[None]:
    """Ignore Ctrl-C, hang-up and termination between the request and the files."""
    before: dict[int, t.Any] = {}
    for number in (int(signal.SIGINT), int(signal.SIGTERM), int(signal.SIGHUP)):
        with contextlib.suppress(ValueError):  # not in the main thread: nobody sends us signals
            before[number] = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _request(spec: InitSpec, flow: Flow, api: Api, first: Node, *, recovery_seal: bool) -> Shares:
    """Send ``sys/init``; when it fails, find out whether the cluster is initialised all the same."""
    body = request_body(spec, recovery_seal=recovery_seal)
    try:
        answer = api.request("PUT", "sys/init", body, ok=(200,), token=False, timeout=INIT_TIMEOUT)
    except HackspaceError as error:
        state = _initialised(flow, first)
        if state is False:
            with contextlib.suppress(OSError):
                os.unlink(spec.path(RECORD))
            error.message = f"{error.message} Nothing was initialised."
            error.fix = error.fix or "correct what the server says, then run again."
            raise
        sure = "the cluster was initialised" if state else "whether the cluster was initialised is not known"
        raise HackspaceError(
            f"the answer to the initialisation was lost ({error.message}); {sure}, and its shares are gone.",
            item=f"node {first.name}",
            rule="init-answer-lost",
            fix=LOST if state else f"run again; if it then says that it is initialised: {LOST}",
            status=error.status,
            data={"changed": True},
        ) from None
    return parse_answer(spec, answer.body, recovery_seal=recovery_seal)


def _initialised(flow: Flow, node: Node) -> bool | None:
    """Ask whether *node* is initialised now; ``None`` if it does not answer for ten seconds."""
    api = flow.connect(node)
    try:
        for attempt in range(5):
            if attempt:
                flow.sleep(2.0)
            with contextlib.suppress(HackspaceError):
                return bool(api.request("GET", "sys/init", token=False).body.get("initialized"))
        return None
    finally:
        api.close()


def _hand_out(spec: InitSpec, shares: Shares, done: _Done) -> None:
    """Encrypt every share to its holder and write it; a share that fails does not keep the others from theirs."""
    done.root = "encrypted" if shares.encrypted else "unused"
    marks = shares.fingerprints()
    for index, holder in enumerate(spec.holders):
        done.fingerprints[holder.name] = marks[index]
        done.files[holder.name] = _hand_to(
            spec, holder, shares.values[index], holder.file_name, done, encrypted=shares.encrypted, key=holder.name
        )
    if spec.root_token_holder is not None:
        holder = spec.root_token_holder
        _hand_to(spec, holder, shares.root_token, root_token_file(holder), done, encrypted=True, key="root token")


def _hand_to(
    spec: InitSpec, holder: Holder, value: Secret, name: str, done: _Done, *, encrypted: bool, key: str
) -> str:
    """Return the path of the written file, ``""`` if it could not be written."""
    path = spec.path(name)
    try:
        if encrypted:
            text = armor_message(base64.b64decode(value.reveal()))
        else:
            text = holder.recipient.encrypt(value.reveal().encode("ascii"))
        done.encrypted[key] = text
        private_files.write_new(path, text.encode("ascii"))
    except HackspaceError as error:
        done.problems.append(f"{name}: {error.message}")
        return ""
    except OSError as error:
        done.problems.append(f"{name}: {error.strerror}")
        return ""
    except Exception as error:  # whatever it is, the other holders get theirs; its text could quote the share
        done.problems.append(f"{name}: {type(error).__name__}")
        return ""
    return path


def _finish(
    spec: InitSpec,
    flow: Flow,
    api: Api,
    shares: Shares,
    done: _Done,
    *,
    keep: t.Callable[..., None],
    recovery_seal: bool,
) -> dict[str, t.Any]:
    """Unseal the first node, make the administrators' login, unseal the others; report what could not be written."""
    deadline = flow.clock() + spec.wait_timeout
    first = spec.nodes[0]
    cluster: dict[str, t.Any] = {}
    states: dict[str, str] = {}
    changes: list[dict[str, str]] = []
    if spec.admin is not None:
        if not recovery_seal:
            _send(api, shares.values, spec.threshold, first)
        _wait_active(api, first, deadline, flow)
        cluster = dict(api.request("GET", "sys/seal-status", token=False).body)
        try:
            plan = create_login(api, shares.root_token, spec.admin, flow.login_as, item=f"node {first.name}")
        except HackspaceError as error:
            done.root = str(error.data.get("root_token", "alive"))
            raise
        changes = plan.report()
        done.root = "revoked"
        if not done.problems:
            with contextlib.suppress(OSError):
                keep("complete", [done.fingerprints[h.name] for h in spec.holders], cluster)
    if spec.unseal:
        states = _unseal_rest(spec, flow, () if recovery_seal else shares.values, deadline)
    if done.problems:
        raise HackspaceError(
            _unwritten(done),
            item="output_dir",
            rule="shares-not-written",
            fix="save encrypted_shares of this result to files now (each is readable by its holder only); a holder "
            "who is not in it gets a share by making new ones with playbooks/shares.yml (docs/shares.md).",
        )
    kept = {k: str(cluster.get(k, "")) for k in ("cluster_name", "cluster_id")}
    return {**done.data(spec), "cluster": kept, "login_changes": changes, "states": states}


def _unwritten(done: _Done) -> str:
    return f"{len(done.problems)} file(s) could not be written: {'; '.join(done.problems)}."


def _send(api: Api, values: t.Sequence[Secret], threshold: int, node: Node) -> bool:
    """Send the threshold's worth of shares to one node; return whether it says that it is unsealed."""
    sealed = True
    for value in values[:threshold]:
        body = api.request("PUT", "sys/unseal", {"key": value.reveal()}, ok=(200,), token=False, quiet=True).body
        sealed = bool(body.get("sealed", True))
        if not sealed:
            break
    return not sealed


def _wait_active(api: Api, node: Node, deadline: float, flow: Flow) -> None:
    """Wait until the node is the active one.

    :raises HackspaceError: ``not-active``.
    """
    while True:
        with contextlib.suppress(HackspaceError):
            if api.request("GET", "sys/health", ok=_SEALED_OR_NOT, token=False).status == 200:
                return
        if flow.clock() >= deadline:
            raise HackspaceError(
                "did not become active in time. The shares are with their holders; the administrators' login is not "
                "made, and the root token was dropped unseen (it still exists on the server).",
                item=f"node {node.name}",
                rule="not-active",
                fix="look into its log, unseal with playbooks/unseal.yml, then run openbao_generate_root with "
                "revoke_other_root_tokens: true.",
                data={"root_token": "alive"},
            )
        flow.sleep(0.25)


def _unseal_rest(spec: InitSpec, flow: Flow, values: t.Sequence[Secret], deadline: float) -> dict[str, str]:
    """Unseal every node that becomes unsealable before the deadline; return the state of each, in words."""
    states = {node.name: NodeState(node, None) for node in spec.nodes}
    pending = list(spec.nodes)
    sent: dict[str, float] = {}
    while True:
        for node in list(pending):
            api = flow.connect(node)
            try:
                state = NodeState(node, api.request("GET", "sys/seal-status", token=False).body)
                told = int((state.status or {}).get("t") or 0) > 0
                if state.sealed and told and values and flow.clock() - sent.get(node.name, -SETTLE) >= SETTLE:
                    sent[node.name] = flow.clock()
                    _send(api, values, spec.threshold, node)
                    state = NodeState(node, api.request("GET", "sys/seal-status", token=False).body)
                states[node.name] = state
                if not state.sealed:
                    pending.remove(node)
            except HackspaceError as error:
                states[node.name] = NodeState(node, None, error)
            finally:
                api.close()
        if not pending or flow.clock() >= deadline:
            return words(list(states.values()))
        flow.sleep(0.5)
