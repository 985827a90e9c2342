# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""1000 namespaces and 10,000 pods from a file: read, validated, compiled, judged in a fresh process of the module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from tests.integration.ansible_run import ROOT

Object = dict[str, t.Any]

NAMESPACES = 1000
SECONDS = 5.0
MEGABYTES = 500
ABSENT = ["StatefulSet", "DaemonSet", "Job", "CronJob", "HorizontalPodAutoscaler"]

#: The module as Ansible starts it. CPU time is what it takes on a machine that does nothing else: it has one thread.
PROGRAM = """
import contextlib, io, json, resource, sys
from ansible.module_utils.testing import patch_module_args
args = json.load(sys.stdin)
printed = io.StringIO()
with patch_module_args(args), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
    from ansible_collections.hackspace.infra.plugins.module_utils._core.module import run
    from ansible_collections.hackspace.infra.plugins.modules import namespace_tiers_info as module
    run(module.SPEC, module.main)
used = resource.getrusage(resource.RUSAGE_SELF)
result = json.loads(printed.getvalue())
print(json.dumps({
    "seconds": used.ru_utime + used.ru_stime,
    "megabytes": used.ru_maxrss / 1024,
    "failed": result.get("msg", "") if result.get("failed") else "",
    "counts": result.get("counts"),
    "pods": sum(row["pods"] for row in result.get("namespaces", [])),
    "compiled": result.get("compiled", {}).get("objects"),
    "last": result.get("table", [""])[-1],
}))
"""

BOX: t.Final[Object] = {
    "name": "web",
    "image": "registry.example.org/team/web:1.2.3",
    "imagePullPolicy": "IfNotPresent",
    "env": [{"name": f"VARIABLE_{number}", "value": "x" * 20} for number in range(10)],
    "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10},
    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
    "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "50m", "memory": "@MEMORY@Mi"}},
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    "terminationMessagePath": "/dev/termination-log",
    "volumeMounts": [{"mountPath": "/var/run/secrets", "name": "kube-api-access", "readOnly": True}],
}
SPEC: t.Final[Object] = {
    "containers": [BOX],
    "initContainers": [{**BOX, "name": "begin"}],
    "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
    "priorityClassName": "tier-4-aux",
    "tolerations": [
        {"effect": "NoExecute", "key": f"node.kubernetes.io/{key}", "operator": "Exists", "tolerationSeconds": 300}
        for key in ("not-ready", "unreachable")
    ],
    "volumes": [{"name": "kube-api-access", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
}
OWNER: t.Final = {
    "apiVersion": "apps/v1",
    "controller": True,
    "kind": "ReplicaSet",
    "name": "web-5d8f",
    "uid": "0" * 36,
}
CONDITIONS: t.Final = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def written(kind: str, name: str, **content: t.Any) -> str:
    """Return an object as kubectl writes it, with places for what differs."""
    meta: Object = {"name": name, "creationTimestamp": "2026-11-01T00:00:00Z", "uid": "0" * 36, "resourceVersion": "1"}
    if kind == "Namespace":
        meta["labels"] = {"kubernetes.io/metadata.name": name}
    else:
        meta |= {"namespace": "@NAMESPACE@", **content.pop("metadata", {})}
    version = "apps/v1" if kind == "Deployment" else "v1"
    return json.dumps({"apiVersion": version, "kind": kind, "metadata": meta, **content}, indent=4)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 1000 namespaces with two Deployments of five pods each, LimitRange and quota, and 50 nodes."""
    labels = {"app": "@APP@", "pod-template-hash": "5d8f"}
    status: Object = {
        "phase": "Running",
        "conditions": [
            {"lastProbeTime": None, "lastTransitionTime": "2026-11-01T00:00:00Z", "status": "True", "type": kind}
            for kind in CONDITIONS
        ],
        "containerStatuses": [{"containerID": "c" * 77, "imageID": "i" * 100, "name": "web", "ready": True}],
    }
    ours = {"labels": {"app.kubernetes.io/part-of": "namespace-tiers"}}
    pod = written(
        "Pod", "@APP@-@POD@", metadata={"labels": labels, "ownerReferences": [OWNER]}, spec=SPEC, status=status
    )
    app: Object = {"replicas": 5, "selector": {"matchLabels": {"app": "@APP@"}}, "template": {"spec": SPEC}}
    deployment = written("Deployment", "@APP@", spec=app, status={"replicas": 5})
    item = {"type": "Container", "default": {"memory": "256Mi"}, "defaultRequest": {"cpu": "50m", "memory": "64Mi"}}
    head = [
        written("Namespace", "@NAMESPACE@"),
        written("LimitRange", "tier-defaults", metadata=ours, spec={"limits": [{**item, "max": {"memory": "4Gi"}}]}),
        written("ResourceQuota", "tier-quota", metadata=ours, spec={"hard": {"pods": "30", "requests.cpu": "2"}}),
    ]
    file = tmp_path_factory.mktemp("dump") / "objects.json"
    with file.open("w", encoding="utf-8") as out:
        out.write('{\n"apiVersion": "v1",\n"items": [\n')
        for number in range(NAMESPACES):
            texts = [*head]
            for place in range(2):
                name, memory = f"web{place}", str(60 + number % 7)
                texts.append(deployment.replace("@APP@", name).replace("@MEMORY@", memory))
                mine = pod.replace("@APP@", name).replace("@MEMORY@", memory)
                texts += [mine.replace("@POD@", str(one)) for one in range(5)]
            out.write(",\n".join(texts).replace("@NAMESPACE@", f"4-aux-n{number}") + ",\n")
        nodes = [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": str(one)},
                "status": {"allocatable": {"cpu": "99"}},
            }
            for one in range(50)
        ]
        out.write(",\n".join(json.dumps(one) for one in nodes))
        out.write('\n],\n"kind": "List",\n"metadata": {"resourceVersion": ""}\n}\n')
    return file


def test_the_budget(objects: Path) -> None:
    assert objects.stat().st_size > 60_000_000, "pods of the size that they have"
    table = {"base": "default"}
    args = {"tiers": table, "old_table": table, "dump": [str(objects)], "absent_kinds": ABSENT, "limits": "static"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(args),
        env={**os.environ, "PYTHONPATH": str(ROOT / ".collections")},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    told = json.loads(done.stdout)
    assert not told["failed"]
    assert told["counts"] == {"ok": NAMESPACES}, told["last"]
    assert told["pods"] == 10 * NAMESPACES
    assert told["compiled"] > 2 * NAMESPACES
    assert told["megabytes"] < MEGABYTES
    assert told["seconds"] < SECONDS
