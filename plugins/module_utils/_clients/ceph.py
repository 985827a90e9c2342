# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The client for Ceph: librados in this Python or, where it has none, in the Python that the program ceph runs in.

``ceph`` is a Python program over librados, so that wherever it works there is a Python that has it. Orders go to it
through standard input and answers come back as JSON: no key and no caps are ever in an argument list or a file.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import json
import os
import typing as t
from collections.abc import Iterator, Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule

from .._ceph import pve
from .._ceph.apply import DONE
from .._ceph.ports import Answer, Command
from .._core.encrypt import Program
from .._core.errors import HackspaceError, InvalidInput, Unreachable
from .._core.module import ArgumentSpec, program
from . import ceph_session

CONNECTION_SPEC = ArgumentSpec(
    options={
        "conf": {"type": "path", "default": "/etc/ceph/ceph.conf"},
        "user": {"type": "str", "default": "client.admin"},
        "keyring": {"type": "path", "no_log": False},
        "timeout": {"type": "int", "default": 30},
    }
)
_WORDS: t.Final = {
    -errno.EACCES: ("ceph-denied", "this user may not do that", "give the user of the connection the caps it needs."),
    -errno.EPERM: ("ceph-refused", "Ceph refuses that", "read what Ceph says."),
    -errno.ENOENT: ("ceph-missing", "there is no such thing", "read what Ceph says."),
    -errno.EINVAL: ("ceph-invalid", "Ceph does not take that", "read what Ceph says."),
    -errno.ETIMEDOUT: ("ceph-timeout", "no answer in time", "see if monitors have a quorum and a manager is active."),
}


class _Session(t.Protocol):
    def run(self, orders: Sequence[Mapping[str, t.Any]]) -> list[dict[str, t.Any]]: ...

    def close(self) -> None: ...


class _Elsewhere:
    """A session in another Python: one process for each list of orders."""

    def __init__(self, python: Sequence[str], login: Mapping[str, t.Any], run: Program) -> None:
        self._argv = [*python, "-c", inspect.getsource(ceph_session)]
        self._login = dict(login)
        self._run = run

    def run(self, orders: Sequence[Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
        given = json.dumps({"login": self._login, "orders": list(orders)})
        code, out, errors = self._run(self._argv, given.encode())
        try:
            answer = json.loads(out)
        except ValueError:
            last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise HackspaceError(
                f"{self._argv[0]} ended with {code}: {last}",
                rule="ceph-bindings",
                fix="install python3-rados and python3-rbd, or set ansible_python_interpreter to one with them.",
            ) from None
        if "unreachable" in answer:
            raise ConnectionError(answer["code"], answer["unreachable"])
        found: list[dict[str, t.Any]] = answer["answers"]
        return found

    def close(self) -> None:
        """Nothing is open between two lists of orders."""


def python_of(script: str) -> list[str] | None:
    """Return the interpreter that a program names in its first line."""
    try:
        with open(script, "rb") as stream:
            first = stream.readline(256)
    except OSError:
        return None
    words = first.decode("utf-8", "replace").removeprefix("#!").split()
    if words and words[0].endswith("/env"):
        words = words[1:]
    return words if first.startswith(b"#!") and words and "python" in words[0].rpartition("/")[2] else None


class Ceph:
    """One connection.

    :param login: see :class:`ceph_session.Session`.
    """

    def __init__(self, session: _Session, login: Mapping[str, t.Any]) -> None:
        self._session = session
        self._who = login["name"]
        self.requests = 0

    def run(self, commands: Sequence[Command]) -> list[Answer]:
        """Send commands in order, and stop at the first that fails."""
        orders = [
            {
                "prefix": one.prefix,
                "arguments": dict(one.arguments),
                "target": one.target,
                "at": one.at,
                "data": one.data,
                "ok": sorted(one.ok),
            }
            for one in commands
        ]
        try:
            found = self._session.run(orders) if orders else []
        except ConnectionError as error:
            raise _unreachable(self._who, error.args[0], str(error.args[-1])) from None
        self.requests += len(found)
        answers = [Answer(one["code"], one["out"], one["said"]) for one in found]
        if answers:
            last, command = answers[-1], commands[len(answers) - 1]
            if last.code and last.code not in command.ok:
                raise failure(command, last, done=len(answers) - 1)
        return answers

    def close(self) -> None:
        """End the connection."""
        self._session.close()


def failure(command: Command, answer: Answer, *, done: int) -> HackspaceError:
    """Return the error of a command that Ceph did not carry out.

    :param done: how many commands before it were carried out.
    """
    rule, words, fix = _WORDS.get(answer.code, ("ceph-error", f"error {-answer.code}", "read what Ceph says."))
    said = " ".join(answer.said.split())[:400]
    return HackspaceError(
        f"{words}: {said}" if said else f"{words}.",
        item=f"ceph {command.prefix}",
        rule=rule,
        fix=fix,
        data={DONE: done},
    )


def _unreachable(who: str, code: int, said: str) -> Unreachable:
    if code in (-errno.EACCES, -errno.EPERM):
        return Unreachable(
            f"Ceph does not let {who} in.",
            item="user",
            rule="ceph-login",
            fix="see if the keyring has its present key.",
        )
    if code == -errno.ENOENT:
        return Unreachable(
            f"there is no key of {who} in the keyring.",
            item="keyring",
            rule="ceph-keyring",
            fix="name the file with keyring.",
        )
    return Unreachable(
        f"no monitor answers: {' '.join(said.split())[:200]}",
        item="conf",
        rule="ceph-unreachable",
        fix="see if mon host in the configuration is right and monitors have a quorum.",
    )


def login_of(params: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return how to log in.

    :raises InvalidInput: when a file is missing (rule ``ceph-file``).
    """
    for option in ("conf", "keyring"):
        if params.get(option) and not os.access(params[option], os.R_OK):
            raise InvalidInput(
                f"{params[option]} can't be read.",
                item=option,
                rule="ceph-file",
                fix="run this on a node of the Ceph cluster, as root, or name the file.",
            )
    name = params["user"]
    return {
        "conf": params["conf"],
        "name": name if "." in name else f"client.{name}",
        "keyring": params.get("keyring"),
        "timeout": params["timeout"],
    }


def pve_storages() -> list[pve.Storage]:
    """Return what Proxmox VE stores in Ceph; nothing on a node without Proxmox VE."""
    try:
        with open(pve.STORAGE_FILE, encoding="utf-8") as stream:
            return pve.parse(stream.read())
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def connected(module: AnsibleModule, login: Mapping[str, t.Any] | None = None) -> Iterator[Ceph]:
    """Yield a connection for a module.

    :param login: somebody else's, for trying a key.
    """
    how = dict(login or login_of(module.params))
    session: _Session
    if ceph_session.has_bindings():
        try:
            session = ceph_session.Session(how)
        except Exception as error:  # pylint: disable=broad-except
            code = getattr(error, "errno", None)
            raise _unreachable(how["name"], -abs(code) if isinstance(code, int) else -5, str(error)) from None
    else:
        script = module.get_bin_path("ceph")
        python = python_of(script) if script else None
        if python is None:
            raise HackspaceError(
                "neither this Python nor a program ceph has librados.",
                rule="ceph-bindings",
                fix="run this on a node of the Ceph cluster; or install python3-rados and python3-rbd.",
            )
        session = _Elsewhere(python, how, program(module))
    client = Ceph(session, how)
    try:
        yield client
    finally:
        client.close()
