# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module tenants for 1 to 1,000 of them, against the loop of kubernetes.core.k8s that people write today.

Both make the same objects on the same server. The loop gets them ready-made, judges nothing, and has no OpenBao to
write to, all of which favours it. For 1,000 tenants there is no loop: it would take an hour. Flux's controllers are
stopped: what they do with the tenants' repositories is no part of either.

python -m tests.bench.tenants [SIZE...]
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.hackspace.infra.plugins.filter.tenant_objects import tenant_objects

from lab.api import Lab
from tests.integration.ansible_run import Result, run_module, run_play

CLUSTER = "member-prod"
SIZES = (1, 10, 100, 1000)
#: With more tenants than this there is no loop.
LOOPED = 100
PLATFORM = {"git": {"allow": ["https://git.example.org/"]}, "storage_classes": ["fast"]}


def declared(stem: str, size: int) -> list[dict[str, t.Any]]:
    """Return declarations of tenants with one namespace and a repository each."""
    return [
        {
            "version": 1,
            "name": f"{stem}{number}",
            "owner": {"contact": f"{stem}{number}@example.org"},
            "clusters": [CLUSTER],
            "source": {"url": f"https://git.example.org/{stem}{number}", "path": "./deploy"},
        }
        for number in range(size)
    ]


def ours(lab: Lab, folder: Path, declarations: list[dict[str, t.Any]]) -> Result:
    """Run the module once."""
    for one in declarations:
        (folder / f"{one['name']}.yaml").write_text(json.dumps(one), encoding="utf-8")
    args = {
        "kubeconfig": str(lab.clusters[CLUSTER].kubeconfig),
        "cluster": CLUSTER,
        "platform": PLATFORM,
        "directory": str(folder),
    }
    return run_module("tenants", args, timeout=1800).ok()


def theirs(lab: Lab, declarations: list[dict[str, t.Any]]) -> Result:
    """Run the loop, a tenant at a time."""
    kubeconfig = str(lab.clusters[CLUSTER].kubeconfig)
    made = [tenant_objects(one, cluster=CLUSTER, platform=PLATFORM, shared=False) for one in declarations]
    task = {
        "name": "Make the tenants",
        "kubernetes.core.k8s": {"kubeconfig": kubeconfig, "definition": "{{ item }}", "apply": True},
        "loop": made,
        "loop_control": {"label": ""},
    }
    return run_play([task], timeout=3600).ok()


def compare(lab: Lab, size: int) -> None:
    """Print one line for each figure: seconds of ours, of the loop, and their ratio."""
    what = f"{size} tenant{'s' if size > 1 else ''}"
    mine, others = declared(f"ours{size}x", size), declared(f"theirs{size}x", size)
    with tempfile.TemporaryDirectory(prefix="tenants-") as name:
        ours(lab, Path(name), [])  # what all tenants share, which the loop leaves out
        for text, more in (("new", []), ("nothing to do", []), ("one more", declared(f"more{size}x", 1))):
            done = ours(lab, Path(name), mine + more)
            answer = done.of("tenants")
            line = f"{done.secs:8.2f} s  tenants, {what}, {text}, {answer['requests']} requests"
            if size <= LOOPED:
                loop = theirs(lab, others + [{**one, "name": f"{one['name']}y"} for one in more])
                line += f"; the loop takes {loop.secs:.2f} s ({loop.secs / done.secs:.1f} times)"
            print(line, flush=True)


def main(sizes: t.Sequence[int] = SIZES) -> None:
    """Compare on a cluster with a Flux that is locked down."""
    print("Tenants: tenants against a loop of kubernetes.core.k8s, start-up of Ansible included", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for size in sizes:
            # A cluster for each size: what exists already is no part of it.
            lab = Lab(f"bench-tenants-{size}", Path(folder))
            try:
                lab.up([CLUSTER, "flux"])
                lab.stop(f"{CLUSTER}-flux-source", f"{CLUSTER}-flux-kustomize")
                compare(lab, size)
            finally:
                lab.down(wipe=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"{peak:8d} MB  the largest process that Ansible was or ran")


if __name__ == "__main__":
    main([int(one) for one in sys.argv[1:]] or SIZES)
