# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenBao as pods of the lab's cluster, unsealed through port-forwards by the modules' own code in this process."""

from __future__ import annotations

import typing as t

from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.modules import openbao_seal_info, openbao_unseal

from lab.api import Lab
from tests.integration.seal.helpers import call, holders, seal

NAMES = ["openbao-0", "openbao-1", "openbao-2"]


def pods(lab: Lab, **changes: t.Any) -> dict[str, t.Any]:
    """Return the option C(pods)."""
    return {"kubeconfig": str(lab.clusters["core-infra"].kubeconfig), "namespace": "openbao", **changes}


def unseal(lab: Lab, *who: str, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
    """Run openbao_unseal with the shares of *who*."""
    args = {"pods": pods(lab), "ca_cert": str(lab.openbao_ca), "holders": holders(lab, *who), **options}
    return call(openbao_unseal, args, check=check)


def info(lab: Lab, **options: t.Any) -> dict[str, t.Any]:
    """Run openbao_seal_info."""
    return call(openbao_seal_info, {"pods": pods(lab), "ca_cert": str(lab.openbao_ca), **options})


def error_of(work: t.Callable[[], object]) -> HackspaceError:
    """Return the error that *work* ends with."""
    try:
        result = work()
    except HackspaceError as error:
        return error
    raise AssertionError(f"did not fail: {result}")


def fresh(lab: Lab, policy: str = "OrderedReady") -> None:
    """Servers sealed, StatefulSet made anew."""
    seal(lab)
    lab.openbao_pods.deploy(policy=policy)


def rescheduled(lab: Lab, pod: str) -> None:
    """Delete a pod; the server behind the next one of that name is another process, and sealed."""
    lab.openbao_pods.delete(pod, server=lambda name: lab.stop(name, kill=True))
    lab.start(pod)
