# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in one piece, what is needed of live objects, and what could not be seen."""

from __future__ import annotations

import gzip
import io
import json
import typing as t
from collections.abc import Iterator

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._kube import dump
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import Page, ServerError
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import live, report
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.findings import Target
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.impact import KINDS
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import parse

Object = dict[str, t.Any]

SPACE: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "4-aux-wiki", "labels": {"a": "b"}}}
POD: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a", "namespace": "4-aux-wiki", "annotations": {"token": "hidden"}},
    "spec": {"containers": [{"name": "web", "env": [{"name": "PASSWORD", "value": "hidden"}]}], "volumes": []},
    "status": {"phase": "Running", "podIP": "192.0.2.1"},
}
SECRET: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"password": "aGlkZGVu"}}


def read(text: str | bytes) -> list[Object]:
    content = text.encode() if isinstance(text, str) else text
    return list(dump.objects(io.BytesIO(content), "objects.json", live.trimmed))


def names(found: list[Object]) -> list[str]:
    return [f"{one['kind']} {one['metadata']['name']}" for one in found if "metadata" in one]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [SPACE, POD, SECRET]}),
        json.dumps({"apiVersion": "v1", "items": [SPACE, SECRET, POD], "kind": "List", "metadata": {}}, indent=4),
        json.dumps(
            [{"kind": "List", "items": [SPACE]}, {"kind": "List", "items": [POD]}, {"items": [], "kind": "List"}]
        ),
        json.dumps({"kind": "List", "items": [{"kind": "List", "items": [SPACE]}, POD]}),
        "\n".join(json.dumps(one) for one in (SPACE, POD, SECRET)) + "\n",
        json.dumps(SPACE) + json.dumps({"kind": "List", "items": [POD]}),
        "\ufeff" + json.dumps([SPACE, POD]),
        gzip.compress(json.dumps([SPACE, POD]).encode()),
    ],
)
def test_the_forms_of_a_dump(text: str | bytes) -> None:
    found = read(text)
    assert names(found) == ["Namespace 4-aux-wiki", "Pod a"]
    assert "hidden" not in json.dumps(found), "only what is needed is kept"


@pytest.mark.parametrize("after", [False, True])
def test_lists_as_the_api_server_writes_them(after: bool) -> None:
    bare = {key: value for key, value in POD.items() if key not in ("kind", "apiVersion")}
    body: Object = {"items": [bare]}
    body = {**body, "kind": "PodList", "apiVersion": "v1"} if after else {"kind": "PodList", "apiVersion": "v1", **body}
    found = read(json.dumps(body))
    assert names(found) == ["Pod a"]
    seen = live.Seen()
    live.from_dump(read('{"kind": "CronJobList", "apiVersion": "batch/v1", "items": []}'), seen)
    assert seen.asked == {"CronJob"}, "nothing of it is an answer, too"


def test_an_object_that_is_in_two_files_counts_once() -> None:
    both = live.Seen()
    for text in (json.dumps([SPACE, POD]), json.dumps([POD, SPACE]) + json.dumps({"kind": "PodList", "items": []})):
        live.from_dump(read(text), both)
    assert names(both.objects) == ["Namespace 4-aux-wiki", "Pod a"]


def test_objects_larger_than_what_is_read_at_once() -> None:
    large = {**POD, "spec": {"containers": [{"name": "x" * 100, "args": ["y" * 1000] * 5000}]}}
    found = read(json.dumps({"kind": "List", "items": [large, SPACE, large]}))
    assert names(found) == ["Pod a", "Namespace 4-aux-wiki", "Pod a"]


def test_kinds_of_other_groups_are_not_taken_for_ours() -> None:
    assert live.trimmed({"apiVersion": "example.org/v1", "kind": "Job", "metadata": {"name": "a"}}) is None
    assert live.trimmed(SECRET) is None


class Cluster:
    """Answers lists from a table of paths: objects, or a status."""

    def __init__(self, answers: dict[str, t.Any]) -> None:
        self.answers, self.requests = answers, 0

    def pages(self, path: str, *, selector: str = "", metadata_only: bool = False) -> Iterator[Page]:
        answer = self.answers.get(path, [])
        if isinstance(answer, int):
            raise ServerError("no", status=answer)
        for one in answer:
            yield Page([one], 0)

    def get(self, path: str) -> Object | None:
        answer = self.answers.get(path)
        if isinstance(answer, int):
            raise ServerError("no", status=answer)
        found: Object | None = answer
        return found


def cluster(**answers: t.Any) -> t.Any:
    return Cluster({{**live.PATHS, **live.POLICIES}.get(kind, kind): answer for kind, answer in answers.items()})


def test_what_may_not_be_read_is_not_seen() -> None:
    seen = live.read(cluster(Namespace=[SPACE], Pod=[POD], CronJob=403, HorizontalPodAutoscaler=404, ClusterPolicy=403))
    assert seen.unseen() == ["CronJob"]
    assert seen.unseen(["CronJob"]) == []
    made = report.report(report.Asked(None, parse({"base": "default"}), Target()), seen)
    assert made["complete"] is False
    assert [row["verdict"] for row in made["namespaces"]] == ["not-seen"]
    warnings = " ".join(report.warnings(report.Asked(None, parse({"base": "default"}), Target()), seen, made))
    assert "CronJob (not allowed)" in warnings
    assert "ClusterPolicy (not allowed), HorizontalPodAutoscaler (not installed)" in warnings


def test_what_ends_the_reading() -> None:
    with pytest.raises(HackspaceError, match="namespaces may not be listed"):
        live.read(cluster(Namespace=403))
    with pytest.raises(HackspaceError, match="forgot it"):
        live.read(cluster(Namespace=[SPACE], Pod=410))
    with pytest.raises(ServerError):
        live.read(cluster(Namespace=[SPACE], Pod=500))


def test_the_table_that_is_applied() -> None:
    path = "/api/v1/namespaces/kube-system/configmaps/namespace-tiers-table"
    assert live.applied(cluster(**{path: {"data": {"table": '{"base": "default"}'}}}), "kube-system") == (
        {"base": "default"},
        "",
    )
    table, why = live.applied(cluster(), "kube-system")
    assert table is None
    assert "no table was applied" in why
    broken: list[Object] = [{"data": {"table": "["}}, {"data": {}}, {}]
    for wrong in broken:
        with pytest.raises(HackspaceError, match="holds no table"):
            live.applied(cluster(**{path: wrong}), "kube-system")
    with pytest.raises(HackspaceError, match="may not be read"):
        live.applied(cluster(**{path: 403}), "kube-system")


def seen(*objects: Object) -> live.Seen:
    found = live.Seen(asked=set(KINDS))
    for one in objects:
        kept = live.trimmed(one)
        assert kept is not None
        found.add(kept)
    return found


def test_a_report_for_people() -> None:
    new = parse(
        {
            "base": "default",
            "tiers": [{"name": "4-aux", "rules": [{"name": "r", "expression": "true", "message": "m"}]}],
        }
    )
    quota = {"hard": {"pods": "1", "services": "3"}}
    other = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "a|b", "namespace": "4-aux-wiki"},
        "spec": quota,
    }
    pods = [{**POD, "metadata": {**POD["metadata"], "name": f"p{n}"}} for n in range(6)]
    asked = report.Asked(None, new, Target(), fail_on=("frozen", "finding-errors"))
    made = report.report(asked, seen(SPACE, other, *pods))
    assert made["verdict"] == "frozen"
    assert made["failing"] == ["4-aux-wiki: frozen"]
    text = " ".join(" ".join(made["table"]).split())
    assert "and 9 more" in text
    assert max(map(len, made["table"])) < 160
    assert "a\\|b" in made["markdown"]
    assert "LimitRange tier-defaults: new" in made["markdown"]
    warnings = " ".join(report.warnings(asked, seen(SPACE, other, *pods), made))
    assert "services" in warnings
    assert "namespace tiers 4-aux" in warnings
    assert "--show-managed-fields" in warnings
    assert report.report(report.Asked(None, new, Target()), seen())["verdict"] == "not-seen"


def test_errors_in_the_table_fail_when_asked() -> None:
    wrong = parse({"base": "default", "exclusions": []})
    made = report.report(report.Asked(None, wrong, Target(), fail_on=("finding-errors",)), seen(SPACE))
    assert any(one.startswith("table: exclusions") for one in made["failing"])
    assert report.report(report.Asked(None, wrong, Target()), seen(SPACE))["failing"] == []
