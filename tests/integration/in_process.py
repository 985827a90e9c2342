# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module in this process: what it prints is what Ansible would get, without Ansible's start-up time."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import typing as t
from unittest import mock

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import run

PLUGINS = "ansible_collections.hackspace.infra.plugins.modules."


def call(module: str, args: t.Mapping[str, t.Any], *, check: bool = False) -> dict[str, t.Any]:
    """Return what *module* prints; an argument that is ``None`` is left out.

    In a process that has loaded the controller's part of Ansible, warnings would be shown instead of returned: they
    are collected, as texts.
    """
    plugin = importlib.import_module(PLUGINS + module)
    given = {name: value for name, value in args.items() if value is not None}
    printed = io.StringIO()
    warned: list[str] = []

    def warn(_module: AnsibleModule, warning: str, **_options: object) -> None:
        warned.append(warning)

    with (
        mock.patch.object(AnsibleModule, "warn", warn),
        patch_module_args({**given, "_ansible_check_mode": check, "_ansible_diff": True}),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        run(plugin.SPEC, plugin.main)
    return {**json.loads(printed.getvalue()), "warnings": warned}
