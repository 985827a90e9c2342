# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""managedFields: parsing, comparing, and what was dropped."""

from __future__ import annotations

import copy
import json
import typing as t

from ansible_collections.hackspace.infra.plugins.module_utils._kube import ssa
from hypothesis import given
from hypothesis import strategies as st

STEP = st.one_of(
    st.tuples(st.just("f"), st.text(min_size=1, max_size=5)),
    st.tuples(st.just("k"), st.builds(lambda n: json.dumps({"name": n}), st.text(max_size=3))),
    st.tuples(st.just("v"), st.builds(json.dumps, st.text(max_size=3) | st.integers())),
    st.tuples(st.just("i"), st.builds(str, st.integers(0, 9))),
)
PATHS = st.frozensets(st.lists(STEP, min_size=1, max_size=4).map(tuple), max_size=8)


@given(PATHS)
def test_parsing_gives_back_what_was_rendered(paths: frozenset[ssa.FieldPath]) -> None:
    assert ssa.parse_fields(ssa.render_fields(paths)) == paths


@given(PATHS)
def test_every_path_can_be_shown(paths: frozenset[ssa.FieldPath]) -> None:
    assert all(isinstance(ssa.show(path), str) and ssa.show(path) for path in paths)


WANTED: dict[str, t.Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "n", "labels": {"a/b": "1"}, "finalizers": ["x/y"]},
    "spec": {
        "selector": {"app": "web"},
        "ports": [{"port": 80, "name": "web"}, {"port": 53, "protocol": "UDP"}],
        "limits": [{"cpu": "1000m"}],
        "empty": {},
    },
}
LIVE: dict[str, t.Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {
        "name": "web",
        "namespace": "n",
        "uid": "u",
        "labels": {"a/b": "1", "theirs": "2"},
        "finalizers": ["x/y"],
    },
    "spec": {
        "selector": {"app": "web"},
        "ports": [
            {"port": 80, "name": "web", "protocol": "TCP", "targetPort": 80},
            {"port": 53, "protocol": "UDP", "targetPort": 53},
        ],
        "limits": [{"cpu": "1", "default": "x"}],
        "type": "ClusterIP",
    },
}
OWNED: dict[str, t.Any] = {
    "f:metadata": {"f:labels": {"f:a/b": {}}, "f:finalizers": {'v:"x/y"': {}}},
    "f:spec": {
        "f:selector": {},
        "f:ports": {
            'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}, "f:name": {}},
            'k:{"port":53,"protocol":"UDP"}': {".": {}, "f:port": {}, "f:protocol": {}},
        },
        "f:limits": {},
        "f:empty": {},
    },
}


def test_nothing_differs() -> None:
    assert ssa.differences(WANTED, LIVE, OWNED) == []


def _changed(source: dict[str, t.Any], change: t.Callable[[dict[str, t.Any]], object]) -> dict[str, t.Any]:
    result = copy.deepcopy(source)
    change(result)
    return result


def test_the_order_of_a_list_that_is_merged_by_key_does_not_count() -> None:
    assert ssa.differences(_changed(WANTED, lambda w: w["spec"]["ports"].reverse()), LIVE, OWNED) == []


def test_each_difference_is_seen() -> None:
    cases: list[tuple[t.Callable[[dict[str, t.Any]], object], str]] = [
        (lambda w: w["metadata"]["labels"].update(new="1"), "metadata.labels.new"),
        (lambda w: w["metadata"]["labels"].update({"a/b": "2"}), "metadata.labels.a/b"),
        (lambda w: w["metadata"]["finalizers"].append("z"), "metadata.finalizers[1]"),
        (lambda w: w["spec"]["selector"].update(app="other"), "spec.selector"),
        (lambda w: w["spec"]["ports"][0].update(name="other"), "spec.ports[0].name"),
        (lambda w: w["spec"]["ports"].append({"port": 81}), "spec.ports[2]"),
        (lambda w: w["spec"]["limits"][0].update(cpu="2"), "spec.limits"),
        (lambda w: w["spec"].update(type="NodePort"), "spec.type"),
    ]
    for change, field in cases:
        assert ssa.differences(_changed(WANTED, change), LIVE, OWNED) == [field]


def test_a_field_that_another_manager_took_is_seen_even_if_its_value_is_right() -> None:
    lost = _changed(OWNED, lambda o: o["f:spec"].pop("f:selector"))
    assert ssa.differences(WANTED, LIVE, lost) == ["spec.selector"]


def test_dropped_fields_are_named() -> None:
    assert ssa.dropped(WANTED, OWNED) == []
    fewer = _changed(
        WANTED, lambda w: (w["spec"].pop("selector"), w["spec"]["ports"].pop(1), w["metadata"].pop("labels"))
    )
    assert ssa.dropped(fewer, OWNED) == [
        'metadata.labels."a/b"',
        "spec.ports[port=53,protocol=UDP]",
        "spec.ports[port=53,protocol=UDP].port",
        "spec.ports[port=53,protocol=UDP].protocol",
        "spec.selector",
    ]


def test_only_our_own_apply_counts() -> None:
    def live(**entry: str) -> dict[str, t.Any]:
        fields = {"manager": "m", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:data": {}}, **entry}
        return {"metadata": {"managedFields": [fields]}}

    assert ssa.applied_fields(live(), "m") == {"f:data": {}}
    assert ssa.applied_version(live(), "m") == "v1"
    assert ssa.applied_fields(live(operation="Update"), "m") is None
    assert ssa.applied_fields(live(subresource="status"), "m") is None
    assert ssa.applied_fields(live(manager="x"), "m") is None
    assert ssa.applied_fields({}, "m") is None
