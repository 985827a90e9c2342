# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Argument specs that merge, and the one place where a module starts, reports and fails."""

from __future__ import annotations

import dataclasses
import re
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .encrypt import Program
from .errors import HackspaceError
from .plan import Plan

Options = dict[str, dict[str, t.Any]]

#: A login in an address: ``scheme://name:secret@host`` or, for tokens, ``https://secret@host``. Templates are none.
_LOGIN: t.Final = re.compile(r"\b[a-z][a-z0-9+.-]*://([^\s/?#@:]*:)?([^\s/?#@]+)@", re.IGNORECASE)
#: A name without a password is hidden from this length on: shorter ones are names, as ``git``, and parts of words.
_TOKEN_LENGTH: t.Final = 12


@dataclasses.dataclass(frozen=True)
class ArgumentSpec:
    """Options and the rules between them; ``merge`` joins two (shared connection options and the module's own)."""

    options: Options
    mutually_exclusive: tuple[tuple[str, ...], ...] = ()
    required_together: tuple[tuple[str, ...], ...] = ()
    required_one_of: tuple[tuple[str, ...], ...] = ()
    required_if: tuple[tuple[t.Any, ...], ...] = ()

    def merge(self, other: ArgumentSpec) -> ArgumentSpec:
        """Return the union of both.

        :raises ValueError: when both define the same option (a programming error).
        """
        twice = set(self.options) & set(other.options)
        if twice:
            raise ValueError(f"options defined twice: {sorted(twice)}")
        return ArgumentSpec(
            options={**self.options, **other.options},
            mutually_exclusive=self.mutually_exclusive + other.mutually_exclusive,
            required_together=self.required_together + other.required_together,
            required_one_of=self.required_one_of + other.required_one_of,
            required_if=self.required_if + other.required_if,
        )

    def create_module(self, *, supports_check_mode: bool = True) -> AnsibleModule:
        """Return the AnsibleModule; exits by itself on arguments that do not fit."""
        return AnsibleModule(
            argument_spec=self.options,
            mutually_exclusive=[list(x) for x in self.mutually_exclusive],
            required_together=[list(x) for x in self.required_together],
            required_one_of=[list(x) for x in self.required_one_of],
            required_if=[list(x) for x in self.required_if],
            supports_check_mode=supports_check_mode,
        )


#: Options of every module that owns a list of things on a server.
OWNERSHIP = ArgumentSpec(
    options={
        "adopt": {"type": "bool", "default": False},
        "prune": {"type": "bool", "default": False},
        "prune_max_percent": {"type": "int", "default": 20},
    }
)


def program(module: AnsibleModule) -> Program:
    """Return what runs programs for *module*; a program that cannot be started has the exit code 127."""

    def run_program(command: t.Sequence[str], data: bytes) -> tuple[int, bytes, bytes]:
        try:
            code, output, errors = module.run_command(
                list(command), data=data, binary_data=True, encoding=None, handle_exceptions=False
            )
        except OSError as error:
            return 127, b"", (error.strerror or "cannot be started").encode()
        return code, output, errors

    return run_program


def hide(module: AnsibleModule, *values: str | None) -> None:
    """Make Ansible mask *values* in everything this module returns (for secrets inside structured arguments)."""
    module.no_log_values.update(v for v in values if v)


def logins(value: t.Any) -> set[str]:
    """Return the logins that stand in addresses anywhere in *value*, and their passwords.

    Modules refuse most of such addresses, but Ansible repeats the options in what a module returns.
    """
    if isinstance(value, str):
        found = set()
        for name, secret in _LOGIN.findall(value):
            if secret.startswith("{{") or not (name or len(secret) >= _TOKEN_LENGTH):
                continue
            found |= {secret, f"{name}{secret}"}
        return found
    if isinstance(value, t.Mapping):
        return {one for part in value.values() for one in logins(part)}
    if isinstance(value, list):
        return {one for part in value for one in logins(part)}
    return set()


def mask_only(module: AnsibleModule, values: t.Iterable[str], *, least: int) -> None:
    """Let Ansible mask nothing but *values*, and of those no shorter ones than *least* characters.

    Shorter ones are part of other words; who calls this has hidden them where they are known to stand.
    """
    module.no_log_values.clear()
    module.no_log_values.update(value for value in values if len(value) >= least)


def run(spec: ArgumentSpec, main: t.Callable[[AnsibleModule], t.Mapping[str, t.Any]]) -> t.NoReturn:
    """Create the module, call *main* with it, exit with its result; turn every error into one ``fail_json``.

    A :class:`HackspaceError` becomes its message and data. Anything else is a defect of ours: its type and the
    places it came through are reported, its text is not, as it could carry a secret.
    """
    module = spec.create_module()
    hide(module, *logins(module.params))
    try:
        result = dict(main(module))
    except HackspaceError as error:
        module.fail_json(**error.as_fail())
    except Exception as error:  # pylint: disable=broad-except
        places = [
            f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)
        ]
        module.fail_json(
            msg=f"defect in the module: {type(error).__name__} at {places[-1] if places else 'unknown place'}",
            error={"item": "", "rule": "defect", "fix": "report it with the list of places.", "status": None},
            places=places,
        )
    module.exit_json(**result)
    raise AssertionError("exit_json returned")


def plan_result(module: AnsibleModule, plan: Plan, **extra: t.Any) -> dict[str, t.Any]:
    """Return the result of a module with a plan: its fields plus *extra*; warns what the plan warns about."""
    for warning in plan.warnings:
        module.warn(warning)
    return {**plan.result(), **extra}
