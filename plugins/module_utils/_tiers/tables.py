# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The tables that come with the collection: by importance (``default``), by service level (``service_levels``)."""

from __future__ import annotations

import copy
import typing as t

#: Namespaces that no namespace tier ever touches: the control plane, and what the policies themselves depend on.
EXCLUSIONS: t.Final[tuple[str, ...]] = (
    "kube-*",
    "kyverno",
    "kyverno-*",
    "flux-system",
    "openbao",
    "openbao-*",
    "cilium",
    "cilium-*",
    "calico-*",
    "tigera-operator",
    "rook-ceph",
    "rook-ceph-*",
    "external-secrets",
)

_NO_GPU: t.Final = {"requests.nvidia.com/gpu": "0"}


def _tier(
    name: str,
    value: int,
    description: str,
    *,
    memory: str,
    request: tuple[str, str],
    largest: str,
    quota: tuple[str, str, str, str],
    **more: t.Any,
) -> dict[str, t.Any]:
    """Return one line of the default table: memory limit, requests (CPU, memory), largest container, quota."""
    cpu, requests_memory, limits_memory, pods = quota
    hard = {"requests.cpu": cpu, "requests.memory": requests_memory, "limits.memory": limits_memory, "pods": pods}
    return {
        "name": name,
        "prefixes": [f"{name}-"],
        "priority": {"value": value, "description": description},
        "limit_range": {
            "default": {"memory": memory},
            "defaultRequest": {"cpu": request[0], "memory": request[1]},
            "max": {"memory": largest},
        },
        "quota": {"hard": hard if more.get("gpu") else {**hard, **_NO_GPU}},
        **more,
    }


def _default() -> dict[str, t.Any]:
    tiers = [
        _tier(
            "0-core",
            1_000_000,
            "What the platform cannot live without",
            memory="256Mi",
            request=("100m", "256Mi"),
            largest="8Gi",
            quota=("8", "8Gi", "64Gi", "100"),
            daemonsets=True,
        ),
        _tier(
            "1-cluster",
            800_000,
            "Services of the whole cluster",
            memory="256Mi",
            request=("100m", "256Mi"),
            largest="8Gi",
            quota=("4", "4Gi", "32Gi", "30"),
            daemonsets=True,
        ),
        _tier(
            "2-gpu",
            600_000,
            "Work that needs an accelerator",
            memory="1Gi",
            request=("200m", "1Gi"),
            largest="16Gi",
            quota=("8", "12Gi", "32Gi", "40"),
            gpu=True,
        ),
        _tier(
            "3-edge",
            400_000,
            "Services that people see from outside",
            memory="256Mi",
            request=("50m", "128Mi"),
            largest="8Gi",
            quota=("4", "4Gi", "32Gi", "30"),
        ),
        _tier(
            "4-aux",
            200_000,
            "Everything else; waits, and never pushes others out",
            memory="256Mi",
            request=("50m", "64Mi"),
            largest="4Gi",
            quota=("2", "3Gi", "16Gi", "20"),
        ),
    ]
    tiers[-1]["priority"]["preemption"] = "Never"
    return {
        "tiers": tiers,
        "fallback": {
            "limit_range": {
                "default": {"memory": "192Mi"},
                "defaultRequest": {"cpu": "50m", "memory": "128Mi"},
                "max": {"memory": "4Gi"},
            },
        },
        "gpu": {"resources": ["nvidia.com/gpu"], "priority": {"class": "gpu-workload", "value": 1_200_000}},
        "pods": {"ndots": 2, "strip_cpu_limits": True},
        "guard": {"self_service": ["4-aux"]},
    }


def _service_levels() -> dict[str, t.Any]:
    def level(name: str, wave: int, description: str, **amounts: t.Any) -> dict[str, t.Any]:
        line = _tier(name, 0, description, memory=amounts["request"][1], **amounts)
        line["priority"] = {"wave": wave, "description": description}
        return line

    tiers: list[dict[str, t.Any]] = [
        {
            **level(
                "sl0-platform",
                0,
                "Platform add-ons, by the built-in class",
                request=("100m", "256Mi"),
                largest="8Gi",
                quota=("8", "8Gi", "64Gi", "100"),
            ),
            "priority": {"class": "system-cluster-critical"},
            "daemonsets": True,
        },
        level(
            "sl1-critical",
            10,
            "Down means an incident at night",
            request=("100m", "256Mi"),
            largest="8Gi",
            quota=("8", "8Gi", "32Gi", "60"),
        ),
        level(
            "sl2-standard",
            20,
            "Down means an incident by day",
            request=("50m", "256Mi"),
            largest="8Gi",
            quota=("4", "4Gi", "32Gi", "40"),
        ),
        level(
            "sl3-internal",
            30,
            "Down means a ticket",
            request=("50m", "128Mi"),
            largest="4Gi",
            quota=("4", "4Gi", "16Gi", "30"),
        ),
        level(
            "sl4-besteffort",
            40,
            "Nobody waits for it",
            request=("50m", "64Mi"),
            largest="4Gi",
            quota=("2", "3Gi", "16Gi", "20"),
        ),
    ]
    tiers[-1]["priority"]["preemption"] = "Never"
    return {
        "tiers": tiers,
        "fallback": copy.deepcopy(_default()["fallback"]),
        "pods": {"ndots": 2, "strip_cpu_limits": True},
        "guard": {"self_service": ["sl4-besteffort"]},
    }


NAMES: t.Final = ("default", "service_levels")


def shipped(name: str) -> dict[str, t.Any]:
    """Return a fresh copy of a shipped table, as a person would write it."""
    return _default() if name == "default" else _service_levels()
