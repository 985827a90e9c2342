# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand tenants: what it costs to read their declarations and to plan, in seconds of the processor."""

from __future__ import annotations

import datetime
import time
import typing as t
from collections.abc import Iterator, Mapping

from ansible_collections.hackspace.infra.plugins.module_utils._kube import inventory as record
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import MANAGER, Discovery, Inventory, Resource
from ansible_collections.hackspace.infra.plugins.module_utils._kube.plan import Options
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import Page
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import apply as applying
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import site
from ansible_collections.hackspace.infra.plugins.module_utils._tenants.membership import Rules

MANY = 1000
#: On one core that also does other things; measured are 4 and 6.
NEW = 15.0
AS_WANTED = 20.0
TODAY = datetime.date(2026, 11, 22)
SITE = site.of(
    {
        "cluster": "a",
        "platform": {"git": {"allow": ["https://git.example.org/"]}},
        "tiers": {"base": "default"},
        "label_domain": "infra.hackspace.org",
        "openbao": {"server": "https://openbao.example.org:8200", "kv_mount": "kv"},
    }
)
INVENTORY = Inventory("tenants", "kube-system")
KINDS = (
    ("", "v1", "ConfigMap", "configmaps"),
    ("", "v1", "Namespace", ""),
    ("", "v1", "ResourceQuota", "resourcequotas"),
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", ""),
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding", ""),
    ("external-secrets.io", "v1", "ExternalSecret", "externalsecrets"),
    ("external-secrets.io", "v1", "SecretStore", "secretstores"),
    ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", ""),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    ("source.toolkit.fluxcd.io", "v1", "GitRepository", "gitrepositories"),
)
RESOURCES = [
    Resource(g, v, kind, plural or f"{kind.lower()}s", namespaced=bool(plural)) for g, v, kind, plural in KINDS
]


class Memory:
    """An API server in memory: what it was given, by the path of its collection."""

    def __init__(self) -> None:
        self.requests = 0
        self.lists: dict[str, list[dict[str, t.Any]]] = {}
        self.record: dict[str, t.Any] | None = None
        self.missing = ""

    def discover(self) -> Discovery:
        return Discovery(one for one in RESOURCES if one.kind != self.missing)

    def get(self, path: str) -> dict[str, t.Any] | None:
        if path.endswith("/hackspace-inventory-tenants"):
            return self.record
        return {"metadata": {"name": "kube-system"}} if path == "/api/v1/namespaces/kube-system" else None

    def pages(self, path: str, *, selector: str = "", metadata_only: bool = False) -> Iterator[Page]:
        self.requests += 1
        yield Page(self.lists.get(path, []), 0)

    def apply(
        self, path: str, body: Mapping[str, t.Any], *, dry_run: bool = False, force: bool = False
    ) -> dict[str, t.Any]:
        assert dry_run
        self.requests += 1
        return applied(body)

    def hold(self, prepared: applying.Prepared) -> None:
        """Take everything that was planned for what there is."""
        for one in prepared.planned.wanted:
            self.lists.setdefault(one.resource.path(), []).append(applied(one.body))
        self.record = record.render(INVENTORY, [one.id for one in prepared.planned.wanted])


def fields(value: t.Any) -> dict[str, t.Any]:
    return {f"f:{key}": fields(one) for key, one in value.items()} if isinstance(value, Mapping) else {}


def applied(body: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return an object as a server has it after it was applied."""
    owned = fields({key: one for key, one in body.items() if key not in ("apiVersion", "kind")})
    for name in ("f:name", "f:namespace"):
        owned["f:metadata"].pop(name, None)
    entry = {"manager": MANAGER, "operation": "Apply", "apiVersion": body["apiVersion"], "fieldsV1": owned}
    metadata = {**body["metadata"], "uid": "u", "resourceVersion": "1", "managedFields": [entry]}
    return {**body, "metadata": metadata}


def declaration(number: int) -> str:
    return f"""
version: 1
name: t{number:04d}
owner: {{contact: t{number:04d}@example.org}}
clusters: [a]
source: {{url: "https://git.example.org/t{number:04d}", path: ./deploy}}
access:
  - {{group: t{number:04d}, role: operator}}
image_pull:
  - {{name: registry, path: registry}}
"""


def plan(api: Memory, files: Mapping[str, str]) -> tuple[applying.Prepared, float]:
    """Return the plan for all declarations, and the seconds of the processor that it took."""
    begin = time.process_time()
    read = site.read(files, SITE, TODAY)
    assert read.errors == ()
    made = applying.decide(t.cast(t.Any, api), read, SITE, answer=None, rules=Rules(), today=TODAY, allow_removal=False)
    prepared = applying.prepare(t.cast(t.Any, api), made.bundles, INVENTORY, Options())
    return prepared, time.process_time() - begin


def test_new_ones_and_those_that_are_as_wanted() -> None:
    files = {f"t{number:04d}.yaml": declaration(number) for number in range(MANY)}
    api = Memory()
    made, new = plan(api, files)
    assert made.failures == {}
    assert len(made.plan.changes) > 10 * MANY
    # lists, and a dry run for each Namespace and what is shared: nothing else can be tried before there is a Namespace
    assert api.requests < MANY + 60
    api.hold(made)
    api.requests = 0
    same, as_wanted = plan(api, files)
    assert same.failures == {}
    assert not same.plan.changed
    assert api.requests < 20
    assert (new < NEW, as_wanted < AS_WANTED) == (True, True), (new, as_wanted)


def test_a_kind_that_the_cluster_lacks_is_said_of_each_and_planned_twice_only() -> None:
    files = {f"t{number:04d}.yaml": declaration(number) for number in range(100)}
    files["plain.yaml"] = declaration(0).replace("t0000", "plain").partition("image_pull")[0]
    api = Memory()
    api.missing = "ExternalSecret"
    prepared, _seconds = plan(api, files)
    assert len(prepared.failures) == 100
    assert {"plain"} == set(prepared.stages.tenants) - {"", *prepared.failures}
    assert all("ExternalSecret" in said and "[object-unknown-kind]" in said for said in prepared.failures.values())
    assert api.requests < 60
