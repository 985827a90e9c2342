# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a whole plan does about a cluster that is given as plain objects; nothing is written."""

from __future__ import annotations

import typing as t

from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import Discovery, Resource
from ansible_collections.hackspace.infra.plugins.module_utils._kube.plan import ApplyStep
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import Page
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import apply, apply_plan
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.policies import Backends

ADMISSION = "admissionregistration.k8s.io"
AUTO = {"limits": "auto", "pods": "auto", "guards": "auto"}


def _kinds() -> t.Iterator[Resource]:
    yield Resource("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", namespaced=False)
    for kind in ("LimitRange", "ResourceQuota", "ConfigMap"):
        yield Resource("", "v1", kind, f"{kind.lower()}s", namespaced=True)
    for word in ("Validating", "Mutating"):
        name = f"{word}AdmissionPolicy"
        yield Resource(ADMISSION, "v1", name, f"{name.lower().removesuffix('y')}ies", namespaced=False)
        yield Resource(ADMISSION, "v1", f"{name}Binding", f"{name.lower()}bindings", namespaced=False)


class Cluster:
    """A cluster without Kyverno, by the path of each object."""

    def __init__(self, **objects: dict[str, t.Any]) -> None:
        self.objects: dict[str, dict[str, t.Any]] = {"/version": {"gitVersion": "v1.36.3"}, **objects}
        self.forced: list[str] = []
        self.requests = 0

    def add(self, path: str, **body: t.Any) -> None:
        self.objects[path] = body

    def discover(self) -> Discovery:
        return Discovery(_kinds())

    def get(self, path: str) -> dict[str, t.Any] | None:
        return self.objects.get(path)

    def pages(self, path: str, *, selector: str = "", metadata_only: bool = False) -> t.Iterator[Page]:
        del metadata_only
        key, _is, value = selector.partition("=")
        kind = path.rpartition("/")[2]
        found = [
            one
            for place, one in self.objects.items()
            if place.rpartition("/")[0].endswith(f"/{kind}")
            and (not key or (value in (labels := one["metadata"].get("labels") or {}).get(key, "") and key in labels))
        ]
        yield Page(found, 0)

    def apply(self, path: str, body: dict[str, t.Any], *, dry_run: bool, force: bool = False) -> dict[str, t.Any]:
        assert dry_run
        self.forced += [path] if force else []
        return {**self.objects.get(path, {}), **body}


def test_limits_that_kyverno_generated_are_taken_over_when_it_is_gone() -> None:
    quota = "/api/v1/namespaces/4-aux-wiki/resourcequotas/tier-quota"
    cluster = Cluster()
    for name in ("kube-system", "4-aux-wiki"):
        cluster.add(f"/api/v1/namespaces/{name}", metadata={"name": name, "uid": name, "labels": {}})
    marks = {
        "app.kubernetes.io/managed-by": "kyverno",
        "app.kubernetes.io/part-of": "namespace-tiers",
        apply_plan.POLICY_LABEL: "tier-quota",
    }
    meta = {"name": "tier-quota", "namespace": "4-aux-wiki", "uid": "q", "labels": marks}
    cluster.add(quota, metadata=meta, spec={"hard": {"pods": "20"}})
    request = apply.Request({"base": "default"}, ("namespace-tiers", "kube-system"), AUTO)
    made = apply.prepare(t.cast(t.Any, cluster), request)
    assert made.backends == Backends("static", "native", "native")
    assert cluster.forced == [quota]
    [unmarked] = made.stages.handed
    assert unmarked.name == "4-aux-wiki/tier-quota"
    assert apply_plan.without_kyverno(unmarked.payload.body) is None
    assert any(isinstance(c.payload, ApplyStep) and c.name == unmarked.name for c in made.stages.applied)
