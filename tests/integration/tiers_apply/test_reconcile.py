# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""namespace_tiers_reconcile on a real API server: pods that came up before the policies are made again."""

from __future__ import annotations

import typing as t

from tests.integration.tiers_apply.conftest import Site

TABLE = {"base": "default"}


def reconcile(site: Site, **args: t.Any) -> dict[str, t.Any]:
    result = site.call("namespace_tiers_reconcile", **{"table": TABLE, "grace": 0, **args})
    assert not result.get("failed"), result["msg"]
    return result


def test_only_pods_that_come_back_and_not_too_many(site: Site) -> None:
    wiki, blog = site.ready(site.namespace("4-aux-wiki")), site.ready(site.namespace("4-aux-blog"))
    pods = f"/api/v1/namespaces/{wiki}/pods"
    site.deployment(wiki, "web", 3)
    site.deployment(blog, "held")
    assert site.pod(wiki, "bare").status == 201
    budget = {
        "metadata": {"name": "held"},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "held"}}},
    }
    site.ask("POST", f"/apis/policy/v1/namespaces/{blog}/poddisruptionbudgets", budget)

    def running(namespace: str, number: int) -> bool:
        found = site.items(f"/api/v1/namespaces/{namespace}/pods")
        return len([one for one in found if one["status"].get("phase") == "Running"]) >= number

    assert site.until(lambda: running(wiki, 4) and running(blog, 1))
    assert site.until(
        lambda: (site.get(f"/apis/policy/v1/namespaces/{blog}/poddisruptionbudgets/held").get("status") or {}).get(
            "observedGeneration"
        )
    )
    site.apply()
    assert site.pod(blog, "new").body["spec"]["priorityClassName"] == "tier-4-aux"

    young = reconcile(site, grace=3600, evict=True)
    assert not young["changed"]
    assert {one["skipped"] for one in young["pods"] if one["owner"]} == {"younger than 3600 s"}
    mark = site.mark()
    shown = reconcile(site)
    assert not shown["changed"]
    assert len(shown["changes"]) == 2
    assert site.writes(mark) == []
    skipped = {one["name"]: one["skipped"] for one in shown["pods"] if one["skipped"]}
    assert skipped["bare"] == "nothing would make it again"
    assert sorted(why for name, why in skipped.items() if name.startswith("web"))[0].startswith("1 of ReplicaSet web")
    assert "new" not in {one["name"] for one in shown["pods"]}
    capped = reconcile(site, max_pods=1, evict=True, check=True)
    assert capped["changed"]
    assert len(capped["changes"]) == 1

    before = {one["metadata"]["name"] for one in site.items(pods)}
    done = reconcile(site, evict=True)
    assert [one["name"].partition("/")[0] for one in done["changes"]] == [wiki]
    kept = [one for one in done["pods"] if one["namespace"] == blog]
    assert kept[0]["skipped"].startswith("a PodDisruptionBudget")

    def renewed() -> t.Any:
        return [
            one
            for one in site.items(pods)
            if one["metadata"]["name"] not in before and one["spec"].get("priorityClassName") == "tier-4-aux"
        ]

    assert len(site.until(renewed)) == 1
    reconcile(site, evict=True, per_owner=5)
    assert site.until(lambda: len(renewed()) == 3)
    assert not reconcile(site, evict=True, namespaces=[wiki])["changed"]
