# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Takes Ceph keys from the host of the task, and runs the module on the controller with them, all in memory.

The task belongs to a node of the Ceph cluster; clusters and OpenBao are reached from the controller, where kubeconfigs
and logins are. Keys come back sealed (module ceph_keys), as Ansible prints results of other machines with ``-vvv``.
"""

from __future__ import annotations

import os
import sys
import typing as t

from ..module_utils._core import seal
from ..module_utils._rook import model
from ..module_utils._tiers.model import plain
from ..plugin_utils._secret_files import SecretReader
from .jwt_reviewer import ActionModule as JoinedAction

#: Options of this action that are for the node of the Ceph cluster.
_CONNECTION: t.Final = ("conf", "user", "keyring", "timeout")


class ActionModule(JoinedAction):
    """Keys and files become values, in check mode too."""

    def work(self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        node = args.pop("provider", None) or {}
        if args.get("keys") is None:
            secret = seal.one_use()
            result = self._sealed(
                args.get("ceph"), {name: node[name] for name in _CONNECTION if name in node}, secret, task_vars
            )
            if result.get("failed"):
                return result
            sealed: dict[str, str] = result["sealed"]
            args["keys"] = {entity: seal.unseal(secret, entity, text) for entity, text in sealed.items()}
            task_vars = self._here(task_vars)
        return self.module(self.fill(reader, args), task_vars)

    def _sealed(
        self, ceph: t.Any, node: dict[str, t.Any], secret: str, task_vars: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        """Return what the module ceph_keys says on the host of the task."""
        consumers = model.read(plain(ceph))[0].consumers
        users = [one.entity(role) for one in consumers if not one.absent for role in one.roles]
        if not users:
            return {"sealed": {}}
        result: dict[str, t.Any] = self._execute_module(
            module_name="hackspace.infra.ceph_keys",
            module_args={**node, "users": users, "seal": secret},
            task_vars=task_vars,
        )
        return result

    def _here(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Go on on the controller, as the user who runs Ansible."""
        self._connection = self._shared_loader_obj.connection_loader.get(
            "ansible.builtin.local",
            self._play_context,
            new_stdin=None,
            task_uuid=self._task._uuid,
            ansible_playbook_pid=str(os.getppid()),
        )
        self._connection.set_options(var_options={})
        self.check_safe()
        own: dict[str, t.Any] = {"ansible_python_interpreter": sys.executable}
        node = self._task.delegate_to
        if node:
            # for a task that is delegated, Ansible looks here for the interpreter
            delegated = task_vars["ansible_delegated_vars"]
            own["ansible_delegated_vars"] = {**delegated, node: {**delegated[node], **own}}
        return {**task_vars, **own}
