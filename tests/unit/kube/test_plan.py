# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: what is asked of the server, what is changed, in which order."""

from __future__ import annotations

import copy
import typing as t
from collections.abc import Iterator, Mapping

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, Refused
from ansible_collections.hackspace.infra.plugins.module_utils._kube import engine, model, plan
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import Cause, Page, ServerError

INVENTORY = model.Inventory("mine", "n")
RESOURCES = [
    model.Resource("", "v1", "ConfigMap", "configmaps", namespaced=True),
    model.Resource("", "v1", "Namespace", "namespaces", namespaced=False, has_status=True),
    model.Resource("", "v1", "Secret", "secrets", namespaced=True),
]


class Memory:
    """An API server in memory: enough to see which requests are made. What they mean is tested on a real one."""

    def __init__(self) -> None:
        self.store: dict[str, dict[str, t.Any]] = {"/api/v1/namespaces/n": {"metadata": {"name": "n", "uid": "n"}}}
        self.asked: list[str] = []
        self.requests = 0
        self.forbidden: set[str] = set()
        self.page = 500

    def _ask(self, verb: str, path: str) -> None:
        self.requests += 1
        self.asked.append(f"{verb} {path}")
        if path in self.forbidden:
            raise ServerError("no", said="no", status=403)

    def discover(self) -> model.Discovery:
        return model.Discovery(RESOURCES)

    def get(self, path: str) -> dict[str, t.Any] | None:
        self._ask("get", path)
        return copy.deepcopy(self.store.get(path))

    def pages(self, path: str, *, selector: str = "", metadata_only: bool = False) -> Iterator[Page]:
        key, _other, value = selector.partition("=")
        plural = path.rsplit("/", 1)[-1]
        prefix = path.rsplit("/", 1)[0]
        found = [
            {k: v for k, v in body.items() if k not in ("apiVersion", "kind")}
            for place, body in sorted(self.store.items())
            if place.startswith(prefix)
            and place.rsplit("/", 2)[-2] == plural
            and (not selector or (body["metadata"].get("labels") or {}).get(key) == value)
        ]
        for begin in range(0, max(1, len(found)), self.page):
            self._ask("list-names" if metadata_only else "list", path)
            yield Page(found[begin : begin + self.page], max(0, len(found) - begin - self.page))

    def apply(
        self, path: str, body: Mapping[str, t.Any], *, dry_run: bool = False, force: bool = False
    ) -> dict[str, t.Any]:
        self._ask("dry-run" if dry_run else "apply", path)
        if path.endswith("/contested") and not force:
            raise ServerError(
                "c",
                status=409,
                causes=[Cause(".data.text", 'conflict with "kubectl-edit" using v1', "FieldManagerConflict")],
            )
        fields: dict[str, t.Any] = {"f:metadata": {"f:labels": {f"f:{k}": {} for k in body["metadata"]["labels"]}}}
        fields["f:metadata"]["f:annotations"] = {f"f:{k}": {} for k in body["metadata"]["annotations"]}
        for key in body:
            if key not in ("apiVersion", "kind", "metadata"):
                fields[f"f:{key}"] = {f"f:{k}": {} for k in body[key]}
        result = copy.deepcopy(dict(body))
        entry = {"manager": model.MANAGER, "operation": "Apply", "apiVersion": body["apiVersion"], "fieldsV1": fields}
        result["metadata"] |= {"uid": path, "managedFields": [entry]}
        if not dry_run:
            self.store[path] = copy.deepcopy(result)
        return result

    def create(self, path: str, body: Mapping[str, t.Any]) -> dict[str, t.Any]:
        self._ask("create", path)
        place = f"{path}/{body['metadata']['name']}"
        if place in self.store:
            raise ServerError("there", status=409)
        self.store[place] = copy.deepcopy(dict(body))
        return self.store[place]

    def replace(self, path: str, body: Mapping[str, t.Any]) -> dict[str, t.Any]:
        self._ask("replace", path)
        self.store[path] = copy.deepcopy(dict(body))
        return self.store[path]

    def delete(self, path: str, *, uid: str) -> None:
        self._ask("delete", path)
        self.store.pop(path, None)


def _config_map(name: str, namespace: str = "n", **data: str) -> dict[str, t.Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data or {"a": "1"}}


def _make(api: Memory, objects: list[dict[str, t.Any]], **options: t.Any) -> plan.Planned:
    sources = [model.Source(body, f"objects[{i}]") for i, body in enumerate(objects)]
    return engine.make_plan(api, engine.Request(sources, INVENTORY, plan.Options(**options)))


def _run(api: Memory, objects: list[dict[str, t.Any]], **options: t.Any) -> plan.Planned:
    planned = _make(api, objects, **options)
    engine.execute(api, planned, timeout=1)
    api.asked.clear()
    return planned


def _verbs(api: Memory) -> list[str]:
    return sorted(a.split()[0] for a in api.asked)


@pytest.mark.parametrize("number", [1, 2, 3, 40])
def test_a_quiet_run_asks_for_the_record_and_one_list_per_kind(number: int) -> None:
    api = Memory()
    objects = [_config_map(f"c{n}") for n in range(number)]
    _run(api, objects)
    planned = _make(api, objects)
    assert planned.plan.changes == []
    assert planned.plan.unchanged == number
    assert _verbs(api) == ["get", "list"]


def test_several_namespaces_are_one_list_and_without_the_right_to_it_one_each() -> None:
    api = Memory()
    objects = [_config_map("c", namespace) for namespace in ("n", "m", "o")]
    _run(api, objects)
    _make(api, objects)
    assert _verbs(api) == ["get", "list"]
    assert "list /api/v1/configmaps" in api.asked
    api.asked.clear()
    api.forbidden = {"/api/v1/configmaps"}
    assert _make(api, objects).plan.changes == []
    assert _verbs(api) == ["get", "list", "list", "list", "list"]


def test_few_missing_objects_are_asked_for_one_by_one_and_many_by_a_list_of_names() -> None:
    api = Memory()
    _make(api, [_config_map("a"), _config_map("b")])
    assert _verbs(api).count("get") == 4  # record, its namespace, two objects
    assert "list-names" not in _verbs(api)
    api.asked.clear()
    _make(api, [_config_map(name) for name in "abcdefgh"])
    assert _verbs(api).count("get") == 2
    assert _verbs(api).count("list-names") == 1


def test_a_big_collection_is_not_read_for_a_few_names() -> None:
    api = Memory()
    api.page = 5
    for number in range(5000):
        place = f"/api/v1/namespaces/n/configmaps/x{number}"
        api.store[place] = {"metadata": {"name": f"x{number}", "namespace": "n"}}
    _make(api, [_config_map(name) for name in ("a", "b", "c")])
    assert _verbs(api).count("list-names") == 1
    assert _verbs(api).count("get") == 5


@pytest.mark.parametrize(
    ("missing", "remaining", "expected"),
    [
        (1, 0, True),
        (2, 0, True),
        (3, 0, False),
        (3, 500, False),
        (3, 2000, True),
        (100, 2000, False),
        (100, 60000, True),
    ],
)
def test_when_single_requests_are_cheaper(missing: int, remaining: int, expected: bool) -> None:
    assert plan.by_get(missing, remaining) is expected


def test_only_what_seems_to_differ_is_dry_run() -> None:
    api = Memory()
    objects = [_config_map(f"c{n}") for n in range(5)]
    _run(api, objects)
    objects[2]["data"]["a"] = "2"
    planned = _make(api, objects)
    assert [(c.name, c.action, c.why.partition(",")[0]) for c in planned.plan.changes] == [("n/c2", "update", "data.a")]
    assert _verbs(api).count("dry-run") == 1


def test_the_record_is_written_before_the_first_object_and_shrunk_after_the_last() -> None:
    api = Memory()
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "m"}}
    planned = _make(api, [_config_map("a", "m"), _config_map("b"), namespace])
    engine.execute(api, planned, timeout=1)
    writes = [a.split()[0] + " " + a.rsplit("/", 1)[-1] for a in api.asked if a.split()[0] in ("apply", "create")]
    assert writes == ["apply m", "create configmaps", "apply a", "apply b"]
    api.asked.clear()
    planned = _make(api, [_config_map("b"), namespace], prune=True)
    engine.execute(api, planned, timeout=1)
    assert [a.split()[0] for a in api.asked][-3:] == ["delete", "get", "replace"]


class Meanwhile(Memory):
    """Does something once, right before an object is made or right after the record was written."""

    def __init__(self) -> None:
        super().__init__()
        self.act: tuple[str, t.Callable[[], None]] = ("", lambda: None)

    def replace(self, path: str, body: Mapping[str, t.Any]) -> dict[str, t.Any]:
        result = super().replace(path, body)
        self._then("replace")
        return result

    def apply(self, path: str, body: Mapping[str, t.Any], **options: bool) -> dict[str, t.Any]:
        self._then("apply")
        return super().apply(path, body, **options)

    def _then(self, verb: str) -> None:
        if self.act[0] == verb:
            _verb, act = self.act
            self.act = ("", lambda: None)
            act()


@pytest.mark.parametrize("first_ends", ["first", "last"])
def test_what_another_run_makes_at_the_same_time_stays_in_the_record(first_ends: str) -> None:
    """One has recorded b and not made it when the other reads: b is recorded and not there."""
    api = Meanwhile()
    _run(api, [_config_map("a")])
    one = _make(api, [_config_map("a"), _config_map("b")])
    other: list[plan.Planned] = []

    def read() -> None:
        other.append(_make(api, [_config_map("a")]))
        if first_ends == "last":
            api.act = ("apply", lambda: engine.execute(api, other[0], timeout=1))

    api.act = ("replace", read)
    engine.execute(api, one, timeout=1)
    if first_ends == "first":
        engine.execute(api, other[0], timeout=1)
    assert other[0].plan.changes
    record = api.store["/api/v1/namespaces/n/configmaps/hackspace-inventory-mine"]["data"]["objects"]
    assert record.split() == ["ConfigMap", "n/a", "ConfigMap", "n/b"]


def test_all_refusals_are_told_at_once() -> None:
    api = Memory()
    with pytest.raises(HackspaceError) as caught:
        _make(api, [_config_map("contested"), _config_map("contested", "m")])
    assert caught.value.rule == "field-conflict"
    assert len(caught.value.data["refused"]) == 2
    planned = _make(api, [_config_map("contested")], force_conflicts=True)
    assert planned.plan.changes[1].why == "takes data.text from kubectl-edit"


def test_foreign_objects_are_refused_with_their_owner() -> None:
    api = Memory()
    body = _config_map("a")
    body["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    api.store["/api/v1/namespaces/n/configmaps/a"] = body
    with pytest.raises(Refused) as caught:
        _make(api, [_config_map("a")])
    assert caught.value.rule == "foreign"
    assert caught.value.data["foreign"] == ["ConfigMap n/a (written by kubectl)"]
    planned = _make(api, [_config_map("a")], adopt=True)
    assert [c.action for c in planned.plan.changes] == ["create", "adopt"]


def test_prune_is_capped_and_keeps_what_is_protected() -> None:
    api = Memory()
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "m"}}
    objects = [_config_map(f"c{n}") for n in range(10)]
    _run(api, [namespace, *objects])
    with pytest.raises(Refused) as caught:
        _make(api, objects[5:], prune=True)
    assert caught.value.rule == "prune-cap"
    planned = _make(api, objects[1:], prune=True)
    assert [(c.kind, c.action) for c in planned.plan.changes] == [
        ("inventory record", "update"),
        ("ConfigMap", "delete"),
    ]
    assert planned.stale == ["Namespace m (prune_protected is off)"]
    assert _make(api, objects[1:]).plan.changes == []
    with pytest.raises(Refused) as caught:
        _make(api, [], prune=True, prune_max_percent=100)
    assert caught.value.rule == "prune-empty"


def test_what_is_being_deleted_is_not_touched() -> None:
    api = Memory()
    _run(api, [_config_map("a")])
    api.store["/api/v1/namespaces/n/configmaps/a"]["metadata"] |= {"deletionTimestamp": "now", "finalizers": ["x/y"]}
    with pytest.raises(Refused) as caught:
        _make(api, [_config_map("a")])
    assert caught.value.rule == "terminating"
    assert "x/y" in caught.value.message


def test_a_plan_shows_no_secret() -> None:
    api = Memory()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "n"},
        "stringData": {"key": "hunter2-hunter2"},
    }
    _run(api, [secret])
    secret["stringData"] = {"key": "hunter3-hunter3"}
    planned = _make(api, [secret])
    text = repr(planned.plan.result())
    assert "hunter" not in text
    assert "aHVudGVy" not in text
    assert planned.plan.changes[0].why == "data.key"
    assert planned.plan.diff()[0]["after"]["data"] == {"key": "(hidden, changed)"}


def test_a_promised_kind_is_used_before_it_is_served() -> None:
    crd = {
        "kind": "CustomResourceDefinition",
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"kind": "Toy", "plural": "toys"},
            "versions": [
                {"name": "v1", "served": True, "subresources": {"status": {}}},
                {"name": "v0", "served": False},
            ],
        },
    }
    assert model.promised([model.Source(crd, "x")]) == [
        model.Resource("example.org", "v1", "Toy", "toys", namespaced=True, has_status=True, served=False)
    ]


def test_discovery_documents() -> None:
    kind = {"kind": "Deployment", "group": "apps", "version": "v1"}
    entry = {
        "resource": "deployments",
        "responseKind": kind,
        "scope": "Namespaced",
        "subresources": [{"subresource": "scale"}, {"subresource": "status"}],
    }
    document = {"items": [{"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [entry]}]}]}
    found = model.Discovery.parse({"items": []}, document).find("apps/v1", "Deployment")
    assert found == model.Resource("apps", "v1", "Deployment", "deployments", namespaced=True, has_status=True)
    assert found.path("n", "web") == "/apis/apps/v1/namespaces/n/deployments/web"
    assert found.path() == "/apis/apps/v1/deployments"
