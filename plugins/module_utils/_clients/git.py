# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""A Git program on a repository over https or SSH: read a branch, commit files, push. It never forces anything.

Credentials stand neither in arguments nor in the environment nor in the address: Git and SSH read them from files in
memory (where there are none, from files of mode 0600 in a private folder that is removed afterwards).
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import re
import shutil
import tempfile
import typing as t
from collections.abc import Iterator, Mapping

from .._core.encrypt import Program
from .._core.errors import HackspaceError, InvalidInput
from .._core.redact import Secret

#: What Git gets of an environment: nothing of the user's settings, no prompt.
_ENVIRONMENT: t.Final = (
    "GIT_CONFIG_GLOBAL=/dev/null",
    "GIT_CONFIG_NOSYSTEM=1",
    "GIT_TERMINAL_PROMPT=0",
    "GIT_ASKPASS=",
    "SSH_ASKPASS=",
    "LC_ALL=C",
)
_PROXIES: t.Final = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})
AUTHOR: t.Final = ("hackspace.infra", "hackspace.infra@localhost")
_LOOPBACK: t.Final = re.compile(r"http://(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d+)?(/.*)?")
_BRANCH: t.Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_MEMORY: t.Final = hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")
#: Files larger than this are no declarations and nothing that we render.
_LARGEST: t.Final = 1_000_000


class LostRace(HackspaceError):
    """Somebody pushed in between; read again and try once more."""


@dataclasses.dataclass(frozen=True)
class Remote:
    """A repository and how to get at it.

    :ivar url: ``https://``, ``ssh://``, or the absolute path of a repository on the controller.
    :ivar username: beside the token; most servers take any name.
    :ivar known_hosts: lines of the server's host keys; SSH trusts nothing else.
    """

    url: str
    branch: str = "main"
    username: str = "git"
    token: Secret | None = None
    ssh_key: Secret | None = None
    known_hosts: str = ""
    ca_cert: str | None = None
    timeout: int = 60

    def checked(self, item: str) -> Remote:
        """Return self if it may be used.

        :raises InvalidInput: rules ``git-url``, ``plain-http``, ``git-branch``, ``known-hosts``, ``git-login``.
        """
        url = self.url
        scheme, sep, rest = url.partition("://")
        if not (sep and scheme in ("http", "https", "ssh") and rest) and not os.path.isabs(url):
            raise InvalidInput(
                "is neither https://, ssh:// nor an absolute path.",
                item=f"{item}.url",
                rule="git-url",
                fix="write git@host:path as ssh://git@host/path.",
            )
        if scheme in ("http", "https") and sep and "@" in rest.split("/", 1)[0]:
            raise InvalidInput(
                "has a user or a token in it.",
                item=f"{item}.url",
                rule="git-url",
                fix="take it out; give username and token_file.",
            )
        if scheme == "http" and sep and not _LOOPBACK.fullmatch(url):
            raise InvalidInput(
                "plain http is allowed on loopback only.", item=f"{item}.url", rule="plain-http", fix="use https."
            )
        if not good_branch(self.branch):
            raise InvalidInput(
                f"{self.branch!r} is no name of a branch.", item=f"{item}.branch", rule="git-branch", fix="give main."
            )
        if scheme == "ssh" and sep and not (self.ssh_key and self.known_hosts.strip()):
            raise InvalidInput(
                "SSH needs a key and the server's host keys.",
                item=item,
                rule="known-hosts",
                fix="give ssh_key_file and known_hosts (compare the lines of ssh-keyscan with the server's own).",
            )
        if self.token and self.ssh_key:
            raise InvalidInput(
                "has a token and an SSH key.", item=item, rule="git-login", fix="give the one that fits the address."
            )
        return self


def good_branch(name: str) -> bool:
    """Say whether Git takes this name for a branch."""
    return bool(_BRANCH.fullmatch(name)) and not (
        ".." in name or "//" in name or "/." in name or name.endswith(("/", ".", ".lock"))
    )


class _Private:
    """A text that a program run by us can read by a path, and nobody else."""

    def __init__(self, text: str, folder: str, name: str) -> None:
        self._fd = -1
        data = text.encode()
        if _MEMORY:
            self._fd = os.memfd_create("hackspace")
            os.fchmod(self._fd, 0o600)
            os.write(self._fd, data)
            self.path = f"/proc/{os.getpid()}/fd/{self._fd}"
        else:
            self.path = os.path.join(folder, name)
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Repository:
    """A shallow copy of one repository in a private folder of its own; use it as a context.

    :param program: runs a program.
    """

    def __init__(self, program: Program, remote: Remote, *, item: str) -> None:
        self._program = program
        self._item = item
        self._remote = remote.checked(item)
        self._folder = tempfile.mkdtemp(prefix="hackspace-git-")
        self.tree = os.path.join(self._folder, "tree")
        self._private: list[_Private] = []
        self._options = self._login()

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_exc: object) -> None:
        for one in self._private:
            one.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _login(self) -> list[str]:
        remote = self._remote
        # hooks and signing belong to people, and a rendered tree has no line ends to convert
        options = ["-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false", "-c", "core.autocrlf=false"]
        options += ["-c", "core.symlinks=false", "-c", "protocol.ext.allow=never", "-c", "credential.helper="]
        options += ["-c", f"http.lowSpeedTime={remote.timeout}", "-c", "http.lowSpeedLimit=1"]
        options += ["-c", "http.followRedirects=false"]
        if remote.ca_cert:
            options += ["-c", f"http.sslCAInfo={remote.ca_cert}"]
        if remote.token:
            pair = base64.b64encode(f"{remote.username}:{remote.token.reveal()}".encode()).decode()
            scheme, _sep, rest = remote.url.partition("://")
            server = f"{scheme}://{rest.split('/', 1)[0]}"
            private = self._keep(f'[http "{server}/"]\n\textraHeader = "Authorization: Basic {pair}"\n', "login")
            options += ["-c", f"include.path={private}"]
        if remote.ssh_key:
            key = self._keep(remote.ssh_key.reveal().rstrip("\n") + "\n", "key")
            hosts = self._keep(remote.known_hosts.rstrip("\n") + "\n", "known_hosts")
            words = ["ssh", "-F", "/dev/null", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
            words += ["-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={hosts}"]
            words += ["-o", "GlobalKnownHostsFile=/dev/null", "-o", f"ConnectTimeout={remote.timeout}"]
            options += ["-c", f"core.sshCommand={' '.join(words)}"]
        return options

    def _keep(self, text: str, name: str) -> str:
        self._private.append(_Private(text, self._folder, name))
        return self._private[-1].path

    # -- reading ---------------------------------------------------------------------------------------------------

    def fetch(self, *, history: bool = False) -> str:
        """Check the branch out and return its revision.

        :param history: with all commits, to compare branches; otherwise only the last one.
        :raises HackspaceError: rules ``git-unreachable``, ``git-branch-missing``.
        """
        if not os.path.isdir(self.tree):
            os.mkdir(self.tree, 0o700)
            self._git("init", "--quiet", what="make a copy")
        depth = [] if history else ["--depth=1"]
        self._fetch(self._remote.branch, depth)
        self._git("checkout", "--quiet", "--force", "--detach", "FETCH_HEAD", what="check the branch out")
        return self._git("rev-parse", "HEAD", what="read the revision").strip()

    def _fetch(self, branch: str, depth: list[str]) -> None:
        code, said = self._try(
            "fetch", "--quiet", "--no-tags", "--force", *depth, self._remote.url, f"refs/heads/{branch}"
        )
        if code == 0:
            return
        if "couldn't find remote ref" in said:
            raise HackspaceError(
                f"it has no branch {branch}.",
                item=self._item,
                rule="git-branch-missing",
                fix="make the branch with a first commit, or correct the name.",
            )
        raise self._failed("read", said)

    def branch_exists(self, branch: str) -> bool:
        """Say whether the repository has a branch."""
        out = self._git("ls-remote", "--heads", self._remote.url, f"refs/heads/{branch}", what="list branches")
        return bool(out.strip())

    def onto(self, branch: str) -> bool:
        """Check out *branch*, on which an earlier run put commits; ``False`` if all of it is merged already."""
        self._fetch(branch, [])
        code, _said = self._try("merge-base", "--is-ancestor", "FETCH_HEAD", "HEAD")
        if code == 0:
            return False
        self._git("checkout", "--quiet", "--force", "--detach", "FETCH_HEAD", what="check the branch out")
        return True

    def files(self, directory: str, suffixes: tuple[str, ...] = (".yaml", ".yml", ".json")) -> dict[str, str]:
        """Return the texts below a folder by their paths in it. Links are not followed."""
        return dict(texts_in(os.path.join(self.tree, directory), suffixes, self._item))

    # -- writing ---------------------------------------------------------------------------------------------------

    def commit(self, directory: str, files: Mapping[str, str | None], message: str) -> str:
        """Write *files* (``None`` deletes), commit, and return the revision; empty if nothing differs."""
        base = os.path.join(self.tree, directory)
        for name, text in files.items():
            path = os.path.join(base, name)
            _within(self.tree, path, self._item)
            if text is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8", newline="\n") as handle:
                handle.write(text)
        self._git("add", "--all", "--force", "--", ".", what="stage files")
        code, said = self._try("diff", "--cached", "--quiet")
        if code == 0:
            return ""
        if code != 1:
            raise self._failed("compare", said)
        name, mail = AUTHOR
        self._git(
            "-c", f"user.name={name}", "-c", f"user.email={mail}", "commit", "--quiet", "-m", message, what="commit"
        )
        return self._git("rev-parse", "HEAD", what="read the revision").strip()

    def push(self, branch: str) -> None:
        """Push the last commit, without force.

        :raises LostRace: when the branch has commits that we have not read.
        """
        code, said = self._try("push", "--quiet", self._remote.url, f"HEAD:refs/heads/{branch}")
        if code == 0:
            return
        if any(word in said for word in ("non-fast-forward", "fetch first", "cannot lock ref", "stale info")):
            raise LostRace(
                f"somebody pushed to {branch} in between.", item=self._item, rule="git-race", fix="run again."
            )
        raise self._failed("push", said)

    # -- the program -------------------------------------------------------------------------------------------------

    def _run(self, words: t.Sequence[str]) -> tuple[int, bytes, bytes]:
        # What the environment says of Git (an authority, a proxy, another repository) does not count.
        foreign = [name for name in os.environ if name.startswith("GIT_") or name.lower() in _PROXIES]
        cleared = [word for name in sorted(foreign) for word in ("-u", name)]
        command = ["env", *cleared, *_ENVIRONMENT, "git", "-C", self.tree, *self._options, *words]
        return self._program(command, b"")

    def _try(self, *words: str) -> tuple[int, str]:
        code, out, errors = self._run(words)
        if code == 127:
            raise HackspaceError(
                "the program git is missing on the controller.", item=self._item, rule="git-missing", fix="install git."
            )
        return code, (errors or out).decode(errors="replace")

    def _git(self, *words: str, what: str) -> str:
        code, out, errors = self._run(words)
        if code != 0:
            raise self._failed(what, errors.decode(errors="replace"))
        return out.decode(errors="replace")

    def _failed(self, what: str, said: str) -> HackspaceError:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        told = next(
            (line for line in lines if line.startswith(("fatal:", "remote:", "error:"))), lines[0] if lines else ""
        )
        for secret in (self._remote.token, self._remote.ssh_key):
            if secret and secret.reveal() in told:
                told = "(hidden)"
        rule, fix = "git-failed", "run git by hand with the same login."
        if "Host key verification failed" in said:
            told, rule = "the server's host key is not among known_hosts", "git-host-key"
            fix = "compare the server's key with its administrator's; then correct known_hosts."
        elif any(
            word in said
            for word in ("Authentication failed", "could not read Username", "Permission denied", "401", "403")
        ):
            rule, fix = "git-login", "check the token or the key, and its right to this repository."
        elif "Could not resolve" in said or "Failed to connect" in said or "Connection" in said:
            rule, fix = "git-unreachable", "check the address and the network."
        return HackspaceError(f"git cannot {what}: {told[:300]}.", item=self._item, rule=rule, fix=fix)


def _within(root: str, path: str, item: str) -> None:
    """Refuse to write through a link that leads out of the copy."""
    real = os.path.realpath(os.path.dirname(path))
    if os.path.commonpath([os.path.realpath(root), real]) != os.path.realpath(root) or os.path.islink(path):
        raise HackspaceError(
            f"{os.path.relpath(path, root)} is or lies behind a symbolic link.",
            item=item,
            rule="git-link",
            fix="remove the link from the repository.",
        )


def texts_in(base: str, suffixes: tuple[str, ...], item: str) -> Iterator[tuple[str, str]]:
    """Yield the texts below a folder by their paths in it. Links are not followed; hidden folders are left out.

    :raises InvalidInput: rules ``file-size``, ``file-text``.
    """
    for folder, folders, names in os.walk(base):
        folders[:] = sorted(
            one for one in folders if not one.startswith(".") and not os.path.islink(os.path.join(folder, one))
        )
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not name.endswith(suffixes) or os.path.islink(path):
                continue
            relative = os.path.relpath(path, base)
            if os.path.getsize(path) > _LARGEST:
                raise InvalidInput(
                    f"{relative} has more than {_LARGEST} bytes.", item=item, rule="file-size", fix="make it smaller."
                )
            try:
                with open(path, encoding="utf-8") as handle:
                    yield relative, handle.read()
            except UnicodeDecodeError:
                raise InvalidInput(
                    f"{relative} is no text in UTF-8.", item=item, rule="file-text", fix="write it in UTF-8."
                ) from None
