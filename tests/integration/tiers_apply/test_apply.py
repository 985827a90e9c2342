# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""namespace_tiers on a real API server, with static limits and the API server's own policies."""

from __future__ import annotations

import json
import typing as t

from tests.integration.ansible_run import run_module
from tests.integration.tiers_apply.conftest import ADMISSION, NATIVE, Site

TABLE = "/api/v1/namespaces/kube-system/configmaps/namespace-tiers-table"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"


def numbered(value: int, **more: t.Any) -> dict[str, t.Any]:
    """Return the default table with another number for 4-aux."""
    return {"base": "default", "tiers": [{"name": "4-aux", "priority": {"value": value}}], **more}


def test_planned_applied_in_force_and_left_alone(site: Site) -> None:
    wiki, dns = site.ready(site.namespace("4-aux-wiki")), site.namespace("0-core-dns")
    plain = site.namespace("plain", **{"resource-governance/custom-limitrange": "true"})
    mark = site.mark()
    planned = site.apply(check=True)
    assert planned["changed"]
    assert site.writes(mark) == []
    done = site.apply()
    assert done["changes"] == planned["changes"]
    kinds = [one["kind"] for one in done["changes"]]
    assert kinds[0] == "inventory record"
    assert kinds[-1] == "ConfigMap"
    assert kinds.index("PriorityClass") < kinds.index("LimitRange") < kinds.index("ResourceQuota")
    assert kinds.index("ResourceQuota") < kinds.index("MutatingAdmissionPolicy")
    assert done["backends"] == NATIVE
    assert done["namespaces"]["4-aux"] == 1

    for namespace in (wiki, dns):
        assert site.limits(namespace) == (["tier-defaults"], ["tier-quota"])
    assert site.limits(plain) == ([], [])

    def injected() -> t.Any:
        made = site.pod(wiki, "web")
        if made.status == 201 and made.body["spec"].get("priorityClassName") != "tier-4-aux":
            site.ask("DELETE", f"/api/v1/namespaces/{wiki}/pods/web")
            return None
        return made if made.status == 201 else None

    pod = site.until(injected).body["spec"]
    assert (pod["priority"], pod["preemptionPolicy"]) == (200000, "Never")
    assert {"name": "ndots", "value": "2"} in pod["dnsConfig"]["options"]
    assert "cpu" not in pod["containers"][0]["resources"]["limits"]
    refused = site.pod(wiki, "grabby", priorityClassName="tier-0-core")
    assert refused.status in (403, 422)
    assert "not allowed in namespace tier 4-aux" in refused.body["message"]
    assert json.loads(site.get(TABLE)["data"]["table"])["tiers"][4]["name"] == "4-aux"
    assert site.get(TABLE)["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "hackspace.infra"

    mark = site.mark()
    again = run_module(
        "namespace_tiers", {"kubeconfig": site.kubeconfig, "table": {"base": "default"}, **NATIVE}, diff=True
    ).ok()
    assert not again.of("namespace_tiers")["changed"]
    assert len(again.tasks) == 1
    assert site.writes(mark) == []


def test_requests_do_not_grow_with_namespaces(site: Site) -> None:
    site.namespace("4-aux-one")
    site.apply()
    few = site.apply()
    for number in range(12):
        site.namespace(f"3-edge-n{number}")
    assert len([c for c in site.apply()["changes"] if c["kind"] == "ResourceQuota"]) == 12
    mark = site.mark()
    many = site.apply()
    asked = site.asked(mark)
    assert not many["changed"]
    assert many["requests"] == few["requests"] == len(asked)
    assert {verb for verb, _uri in asked} <= {"get", "list"}
    listed = [uri.partition("?")[0] for verb, uri in asked if verb == "list"]
    # Twice: classes for a global default, limits for those that Kyverno has made.
    twice = (CLASSES, "/api/v1/limitranges", "/api/v1/resourcequotas")
    assert sorted(listed) == sorted([*set(listed), *twice])


def test_a_new_number_of_a_class(site: Site) -> None:
    wiki = site.ready(site.namespace("4-aux-wiki"))
    site.apply()
    assert site.until(lambda: site.pod(wiki, "old", priorityClassName="tier-4-aux").status == 201)
    old = site.get(f"/api/v1/namespaces/{wiki}/pods/old")["spec"]["priority"]
    mark = site.mark()
    refused = site.refused(numbered(150000))
    assert refused["error"]["rule"] == "class-immutable"
    assert "value 200000 -> 150000" in refused["msg"]
    assert "keep their number" in refused["msg"]
    assert site.writes(mark) == []
    before = site.get(f"{CLASSES}/tier-4-aux")["metadata"]["uid"]
    done = site.apply(numbered(150000), replace_priority_classes=True)
    assert done["classes_replaced"] == ["tier-4-aux"]
    assert [(c["action"], c["name"]) for c in done["changes"]] == [
        ("delete", "tier-4-aux"),
        ("create", "tier-4-aux"),
        ("update", "kube-system/namespace-tiers-table"),
    ]
    live = site.get(f"{CLASSES}/tier-4-aux")
    assert live["value"] == 150000
    assert live["metadata"]["uid"] != before
    assert site.get(f"/api/v1/namespaces/{wiki}/pods/old")["spec"]["priority"] == old == 200000
    assert not site.apply(numbered(150000))["changed"]


def test_cut_off_between_delete_and_create_of_a_class(site: Site) -> None:
    site.apply()
    with site.lab.proxy("core-infra") as proxy:
        proxy.fail(500, 5, method="PATCH", path="/priorityclasses/tier-4-aux$")
        site.refused(numbered(150000), replace_priority_classes=True, kubeconfig=str(proxy.kubeconfig))
    assert site.get(f"{CLASSES}/tier-4-aux") is None
    done = site.apply(numbered(150000))
    assert [(c["action"], c["name"]) for c in done["changes"]] == [
        ("create", "tier-4-aux"),
        ("update", "kube-system/namespace-tiers-table"),
    ]
    assert site.get(f"{CLASSES}/tier-4-aux")["value"] == 150000
    assert not site.apply(numbered(150000))["changed"]


def test_pruned_when_told_to(site: Site) -> None:
    wiki, _blog, _shop = (site.namespace(name) for name in ("4-aux-wiki", "4-aux-blog", "4-aux-shop"))
    site.apply()
    site.ask(
        "PATCH",
        f"/api/v1/namespaces/{wiki}",
        {"metadata": {"labels": {"resource-governance/custom-quota": "true"}}},
        "application/merge-patch+json",
    )
    kept = site.apply()
    assert kept["stale"] == [f"ResourceQuota {wiki}/tier-quota (prune is off)"]
    assert not kept["changed"]
    with site.lab.proxy("core-infra") as proxy:
        proxy.fail(500, 9, method="DELETE")
        site.refused(prune=True, kubeconfig=str(proxy.kubeconfig))
    assert site.limits(wiki) == (["tier-defaults"], ["tier-quota"])
    done = site.apply(prune=True)
    assert [(c["action"], c["name"]) for c in done["changes"] if c["kind"] == "ResourceQuota"] == [
        ("delete", f"{wiki}/tier-quota")
    ]
    assert site.limits(wiki) == (["tier-defaults"], [])
    assert not site.apply(prune=True)["changed"]
    capped = site.refused({"base": "default", "more_exclusions": ["4-aux-*"]}, prune=True)
    assert capped["error"]["rule"] == "prune-cap"
    assert len(capped["would_delete"]) == 5
    empty = site.refused({"tiers": []}, prune=True)
    assert empty["error"]["rule"] == "missing-key"
    assert "no namespace tier" in empty["msg"]


def test_what_is_wrong_is_said_before_anything_is_written(site: Site) -> None:
    mark = site.mark()
    wrong = site.refused({"base": "default", "tiers": [{"name": "4-aux", "priority": {"value": 900000}}]})
    assert wrong["error"]["rule"] == "priority-order"
    assert wrong["findings"]
    rule = {"name": "x", "expression": "object.spec.nothing.here(", "message": "never"}
    refused = site.refused({"base": "default", "tiers": [{"name": "4-aux", "rules": [rule]}]})
    assert "ValidatingAdmissionPolicy" in refused["error"]["item"]
    assert site.writes(mark) == []
    site.ask(
        "POST",
        CLASSES,
        {"metadata": {"name": "loud"}, "value": 5, "globalDefault": True},
    )
    try:
        assert site.refused()["error"]["rule"] == "global-default"
    finally:
        site.ask("DELETE", f"{CLASSES}/loud")


def test_somebody_elses_objects_stay(site: Site) -> None:
    wiki = site.namespace("4-aux-wiki")
    body = {"metadata": {"name": "tier-quota"}, "spec": {"hard": {"pods": "3"}}}
    site.ask("POST", f"/api/v1/namespaces/{wiki}/resourcequotas", body)
    refused = site.refused()
    assert refused["error"]["rule"] == "foreign"
    assert refused["foreign"][0].startswith(f"ResourceQuota {wiki}/tier-quota (written by")
    assert site.get(f"{ADMISSION}/mutatingadmissionpolicies/tier-pod-defaults") is None
    done = site.apply(adopt=True, force_conflicts=True)
    assert [c["name"] for c in done["changes"] if c["action"] == "adopt"] == [f"{wiki}/tier-quota"]
    assert site.limits(wiki) == (["tier-defaults"], ["tier-quota"])
