# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Secrets on the controller, on their way to a module: read, decrypted and passed in memory.

Only the controller's Ansible process can decrypt ansible-vault, and nothing decrypted may touch a disk. So modules that
take files with secrets have an action plugin of a few lines::

    class ActionModule(SecretFilesAction):
        secret_files = {"password_file": "password", "token_path": "token"}

It reads the file named by the option on the left and passes its content as the option on the right (``no_log`` in the
module's argument spec). A subclass with sources of another shape overrides ``fill``.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import typing as t

from ansible import constants
from ansible.errors import AnsibleError, AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._core.errors import HackspaceError, InvalidInput, Refused

#: Larger files are not secrets of ours.
MAX_BYTES: t.Final = 1_000_000

#: Seconds for a program that decrypts; a smartcard may want a PIN and a touch.
PROGRAM_TIMEOUT: t.Final = 300

_VAULT = b"$ANSIBLE_VAULT;"
_AGE = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE")


class SecretReader:
    """Reads secrets from where people keep them. Every error names *item* and never carries content.

    :param loader: Ansible's DataLoader, which resolves relative paths and has the vault secrets.
    """

    def __init__(self, loader: t.Any) -> None:
        self._loader = loader

    # -- files ---------------------------------------------------------------------------------------------------------

    def path(self, path: str, *, item: str) -> str:
        """Return the absolute path of a file that exists; nothing is read.

        :raises InvalidInput: rule ``secret-file``.
        """
        full = str(self._loader.path_dwim(os.path.expanduser(path)))
        try:
            mode = os.stat(full).st_mode
        except OSError as error:
            raise _no_file(full, error, item) from None
        if stat.S_ISDIR(mode):
            raise InvalidInput(
                f"{full} is a folder.", item=item, rule="secret-file", fix="give a file on the controller."
            )
        return full

    def file(self, path: str, *, item: str) -> str:
        """Return the text of a file: encrypted with ansible-vault or sops, or plain and readable by its owner only.

        :raises InvalidInput: rules ``secret-file``, ``secret-file-mode``, ``secret-encrypted``, ``vault``.
        """
        full = self.path(path, item=item)
        raw, mode = _read(full, item)
        if raw.startswith(_VAULT):
            return self._vault(full, item)
        if raw.startswith(_AGE):
            raise InvalidInput(
                f"{full} is encrypted with age.",
                item=item,
                rule="secret-encrypted",
                fix="give it where an age file and its identity are taken.",
            )
        if _is_sops(raw):
            return _text(_pipe(["sops", "--decrypt", full], item=item, what="sops", rule="sops"), item)
        if mode & 0o077:
            raise InvalidInput(
                f"{full} has mode {mode:04o}; it must be readable by its owner only.",
                item=item,
                rule="secret-file-mode",
                fix=f"chmod 600 {full}",
            )
        return _text(raw, item)

    def _vault(self, full: str, item: str) -> str:
        try:
            return str(self._loader.get_text_file_contents(full))
        except AnsibleError as error:
            # AnsibleError's words about vault name secrets ids and files, no content.
            raise InvalidInput(
                f"{full} cannot be decrypted: {str(error).splitlines()[0]}",
                item=item,
                rule="vault",
                fix="give the vault password: --vault-id, --vault-password-file or --ask-vault-pass.",
            ) from None

    def age(self, path: str, identity_path: str, *, item: str) -> str:
        """Return the text of a file encrypted with age, by pyrage, else by the program age.

        :raises InvalidInput: rules ``secret-file``, ``secret-file-mode``, ``age``, ``age-identity``, ``age-missing``.
        """
        full = self.path(path, item=item)
        identity = self.path(identity_path, item=item)
        raw, _mode = _read(full, item)
        key = self.file(identity_path, item=f"{item} (age identity)")
        try:
            import pyrage
        except ImportError:
            return self._age_program(full, identity, key, item)
        identities: list[t.Any] = []
        try:
            if "-----BEGIN" in key:
                identities.append(pyrage.ssh.Identity.from_buffer(key.encode()))
            else:
                lines = [line.strip() for line in key.splitlines()]
                identities += [pyrage.x25519.Identity.from_str(x) for x in lines if x and not x.startswith("#")]
        except Exception:  # pyrage has one type per cause, and the text may quote the key
            identities.clear()
        if not identities:
            raise InvalidInput(
                f"{identity} has no usable age identity.",
                item=item,
                rule="age-identity",
                fix="give a file made by age-keygen, or an SSH private key without a passphrase.",
            )
        try:
            return _text(bytes(pyrage.decrypt(raw, identities)), item)
        except HackspaceError:
            raise
        except Exception:
            raise InvalidInput(
                f"{full} cannot be decrypted with {identity}.",
                item=item,
                rule="age",
                fix="check that the file was encrypted to this identity's recipient and is whole.",
            ) from None

    @staticmethod
    def _age_program(full: str, identity: str, key: str, item: str) -> str:
        if shutil.which("age") is None:
            raise InvalidInput(
                "neither the Python package pyrage nor the program age is there.",
                item=item,
                rule="age-missing",
                fix="pip install pyrage in the environment that runs Ansible, or install age.",
            )
        # age takes the key from a pipe, so that an identity file encrypted with ansible-vault works too.
        return _text(_pipe(["age", "--decrypt", "-i", "-", full], item=item, what="age", rule="age", stdin=key), item)

    def pgp(self, path: str, *, item: str) -> str:
        """Return the text of a PGP message, decrypted by gpg with the user's agent or smartcard, through pipes.

        :raises InvalidInput: rules ``secret-file``, ``pgp``, ``pgp-missing``.
        """
        raw, _mode = _read(self.path(path, item=item), item)
        command = ["gpg", "--quiet", "--batch", "--no-tty", "--decrypt"]
        return _text(_pipe(command, item=item, what="gpg", rule="pgp", stdin=raw), item)

    # -- programs and people -------------------------------------------------------------------------------------------

    @staticmethod
    def command(argv: t.Sequence[str], *, item: str) -> str:
        """Return what a program prints.

        :raises InvalidInput: rules ``command``, ``command-missing``.
        """
        if not argv:
            raise InvalidInput("the command is empty.", item=item, rule="command", fix="give program and arguments.")
        return _text(_pipe([str(a) for a in argv], item=item, what=str(argv[0]), rule="command"), item)

    @staticmethod
    def prompt(question: str, *, item: str, private: bool = True) -> str:
        """Return what a person types; without echo if *private*.

        :raises InvalidInput: rule ``no-terminal``.
        """
        try:
            answer = Display().prompt_until(question, private=private)
        except AnsiblePromptNoninteractive:
            raise InvalidInput(
                "there is no terminal to ask on, and no source is given.",
                item=item,
                rule="no-terminal",
                fix="run in a terminal, or give a file, an age or PGP file, or a command.",
            ) from None
        except AnsiblePromptInterrupt:
            raise Refused("interrupted at the prompt.", item=item, rule="interrupted", fix="run again.") from None
        return bytes(answer).decode("utf-8", "replace").strip()


def _no_file(path: str, error: OSError, item: str) -> InvalidInput:
    return InvalidInput(
        f"{path} cannot be read ({error.strerror}).",
        item=item,
        rule="secret-file",
        fix="give an existing file on the controller.",
    )


def _read(path: str, item: str) -> tuple[bytes, int]:
    """Return content and mode of a file or named pipe."""
    try:
        with open(path, "rb") as handle:
            mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
            raw = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise _no_file(path, error, item) from None
    if len(raw) > MAX_BYTES:
        raise InvalidInput(
            f"{path} is larger than {MAX_BYTES} bytes.", item=item, rule="secret-file", fix="give the right file."
        )
    return raw, mode


def _is_sops(raw: bytes) -> bool:
    """A document encrypted by sops has its metadata in a top-level key of that name."""
    if b"ENC[" not in raw or b"sops" not in raw:
        return False
    try:
        data = json.loads(raw)
    except ValueError:
        return raw.startswith(b"sops:") or b"\nsops:" in raw or b"sops_version=" in raw
    return isinstance(data, dict) and "sops" in data


def _text(raw: bytes, item: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(
            "the content is no text.", item=item, rule="secret-text", fix="encrypt the text, not its bytes."
        ) from None


def _pipe(argv: list[str], *, item: str, what: str, rule: str, stdin: str | bytes = b"") -> bytes:
    """Return the standard output of a program; nothing that it prints is part of an error."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        done = subprocess.run(argv, input=data, capture_output=True, check=False, timeout=PROGRAM_TIMEOUT)
    except FileNotFoundError:
        raise InvalidInput(
            f"the program {what} is not installed on the controller.",
            item=item,
            rule=f"{rule}-missing",
            fix=f"install {what}, or give the secret another way.",
        ) from None
    except subprocess.TimeoutExpired:
        raise InvalidInput(
            f"{what} did not end within {PROGRAM_TIMEOUT} s.", item=item, rule=rule, fix="run it by hand first."
        ) from None
    except OSError as error:
        raise InvalidInput(
            f"{what} cannot be run ({error.strerror}).", item=item, rule=rule, fix="give a program that can be run."
        ) from None
    if done.returncode != 0:
        # What a failing program printed could carry part of a secret: it is not shown.
        raise InvalidInput(
            f"{what} failed with status {done.returncode}.",
            item=item,
            rule=rule,
            fix="run it by hand to see why; its output is not shown here, as it could carry a secret.",
        )
    return done.stdout


class SecretFilesAction(ActionBase):  # type: ignore[misc]
    """Action plugin that runs the module of its name with secrets read on the controller.

    :cvar secret_files: option with a path -> option that takes the content.
    """

    TRANSFERS_FILES = False
    secret_files: t.ClassVar[dict[str, str]] = {}

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        try:
            self.check_safe()
            reader = SecretReader(self._loader)
            result.update(self.work(reader, dict(self._task.args), task_vars or {}))
        except HackspaceError as error:
            result.update(failed=True, changed=False, **error.as_fail())
        return result

    def work(self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Fill in the secrets and run the module. For subclasses that must look before they read."""
        if not self._task.check_mode:
            args = self.fill(reader, args)
        return self.module(args, task_vars)

    def fill(self, reader: SecretReader, args: dict[str, t.Any]) -> dict[str, t.Any]:
        """Return the module's arguments with contents in place of paths."""
        for source, target in self.secret_files.items():
            path = args.pop(source, None)
            if path is None:
                continue
            if args.get(target) is not None:
                raise InvalidInput(
                    f"both {source} and {target} are given.", item=source, rule="one-source", fix="give one of the two."
                )
            args[target] = reader.file(str(path), item=source).rstrip("\n")
        return args

    def module(
        self, args: dict[str, t.Any], task_vars: dict[str, t.Any], *, check: bool | None = None
    ) -> dict[str, t.Any]:
        """Run the module through a pipe; in check mode if *check*."""
        before = self._task.check_mode
        if check is not None:
            self._task.check_mode = check
        try:
            result: dict[str, t.Any] = self._execute_module(module_args=args, task_vars=task_vars)
        finally:
            self._task.check_mode = before
        return result

    def check_safe(self) -> None:
        """Refuse settings under which module arguments would be written to a disk.

        :raises Refused: rules ``keep-remote-files``, ``pipelining``. Ansible itself refuses ``async`` for actions.
        """
        if constants.config.get_config_value("DEFAULT_KEEP_REMOTE_FILES"):
            raise Refused(
                "ANSIBLE_KEEP_REMOTE_FILES is set: the module would be written to a file with the secrets in it.",
                item=self._task.action,
                rule="keep-remote-files",
                fix="unset ANSIBLE_KEEP_REMOTE_FILES and keep_remote_files for this run.",
            )
        self._connection.set_option("pipelining", True)
        if not self._is_pipelining_enabled("new"):
            raise Refused(
                f"the connection {self._connection.transport} cannot pass the module through a pipe.",
                item=self._task.action,
                rule="pipelining",
                fix="run the task on the controller with the local connection and without become.",
            )
