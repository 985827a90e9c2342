# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the impact report says comes true. One story: the report, the limits, and what the API server then refuses."""

from __future__ import annotations

import gzip
import json
import typing as t
import urllib.parse
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._kube.normalise import quantity
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.live import PATHS

from tests.integration.ansible_run import ROOT, run_play
from tests.integration.tiers_info.conftest import BACKENDS, TABLE, Object, Site, documented, namespace, pod, workload

EXPECTED: t.Final[dict[str, list[str]]] = {
    "3-edge-web": [],
    "4-aux-begins": ["no-surge"],
    "4-aux-class": ["class-refused"],
    "4-aux-cron": ["no-growth"],
    "4-aux-daemon": ["no-growth", "no-growth"],
    "4-aux-fine": [],
    "4-aux-frozen": ["frozen"],
    "4-aux-grows": ["no-growth"],
    "4-aux-label": ["tier-conflict"],
    "4-aux-larger": ["no-surge", "on-defaults"],
    "4-aux-left": ["no-surge", "orphan"],
    "4-aux-missed": ["missed-injection", "missed-injection"],
    "4-aux-opted": ["opt-out"],
    "4-aux-over": ["rejected", "frozen"],
    "4-aux-scoped": ["no-growth", "orphan", "orphan"],
    "4-aux-silent": ["on-defaults"],
    "4-aux-surge": ["no-surge"],
}


@pytest.fixture(scope="module")
def login(site: Site) -> Path:
    return site.login("impact", documented("ClusterRole"), documented("Role"))


@pytest.fixture(scope="module")
def first(site: Site, login: Path) -> Object:
    """What the report says before the limits are there, and what it asked."""
    mark = site.mark()
    made = site.call(login, details=True)
    made["asked"] = site.asked("impact", mark)
    return made


def by_name(made: Object) -> dict[str, list[str]]:
    return {
        row["namespace"]: [one["verdict"] for one in row["verdicts"]]
        for row in made["namespaces"]
        if row["tier"] and row["namespace"] != "default"
    }


def said(made: Object) -> str:
    return json.dumps(made["warnings"])


def test_every_namespace_is_judged(first: Object) -> None:
    assert not first.get("failed"), first
    assert by_name(first) == EXPECTED, "\n".join(first["table"])
    assert first["changed"] is False
    assert first["complete"] is True
    assert first["verdict"] == "rejected"
    assert first["counts"]["ok"] == 6, "with default and Kubernetes' own"
    assert first["compiled"]["objects"] > 30
    assert [one["id"] for one in first["findings"]] == ["tier-conflict"], first["findings"]


def test_one_list_for_each_kind_and_nothing_else(first: Object) -> None:
    asked = first["asked"]
    assert len(asked) == first["requests"]
    paths = [urllib.parse.urlsplit(uri).path for _verb, uri in asked]
    assert {verb for verb, _uri in asked} == {"list"}
    assert len(paths) == len(set(paths)) == 17
    assert all("limit=" in uri for _verb, uri in asked)
    assert not any("secret" in path for path in paths)
    assert "not looked at: ClusterPolicy (not installed), GeneratingPolicy (not installed)" in said(first)


def test_partial_rights_call_nothing_ok(site: Site) -> None:
    role = documented("ClusterRole")
    role["rules"] = [rule for rule in role["rules"] if "apps" not in rule["apiGroups"]]
    made = site.call(site.login("half", role))
    assert made["not_seen"] == ["DaemonSet", "Deployment", "StatefulSet"]
    assert made["complete"] is False
    assert "ok" not in {row["verdict"] for row in made["namespaces"]}
    assert "Deployment (not allowed)" in said(made)
    assert "NOT SEEN: DaemonSet, Deployment, StatefulSet." in " ".join(made["table"])
    failed = site.call(site.folder / "half.kubeconfig", fail_on=["not-seen"])
    assert failed["failed"]
    assert failed["error"]["rule"] == "impact"
    role["rules"] = [rule for rule in role["rules"] if "pods" not in rule["resources"]]
    blind = site.call(site.login("blind", role))
    assert blind["failed"]
    assert "namespaces may not be listed" in blind["msg"]
    refused = site.call(site.folder / "half.kubeconfig", old="live")
    assert "may not be read" in refused["msg"]


def test_the_same_from_a_file(site: Site, first: Object, tmp_path: Path) -> None:
    objects = [one for kind in PATHS for one in site.every(kind)]
    file = tmp_path / "objects.json.gz"
    file.write_bytes(gzip.compress(json.dumps({"apiVersion": "v1", "items": objects, "kind": "List"}).encode()))
    made = site.call(dump=[str(file)])
    absent = ["LimitRange", "StatefulSet"]
    assert made["not_seen"] == absent, "there is none, and a file does not tell"
    made = site.call(dump=[str(file)], absent_kinds=absent, details=True)
    assert made["namespaces"] == first["namespaces"]
    assert made["requests"] == 0


def test_a_kubeconfig_given_as_data(site: Site, login: Path) -> None:
    given = yaml.safe_load(login.read_text())
    made = site.call(given)
    assert by_name(made) == EXPECTED
    assert given["users"][0]["user"]["token"] not in json.dumps(made)
    assert made["invocation"]["module_args"]["kubeconfig"] == "(hidden)"
    given["users"][0]["user"]["token"] = "wrong-" + given["users"][0]["user"]["token"]
    refused = site.call(given)
    assert refused["error"]["rule"] == "login"
    assert given["users"][0]["user"]["token"] not in json.dumps(refused)


def test_the_table_that_is_applied(site: Site, login: Path) -> None:
    nothing = site.call(login, old="live")
    assert "no table was applied" in said(nothing)
    applied = {**TABLE, "tiers": [{**TABLE["tiers"][0], "namespaces": ["default"]}]}
    record = {"name": "namespace-tiers-table", "namespace": "kube-system"}
    site.made({"kind": "ConfigMap", "metadata": record, "data": {"table": json.dumps(applied)}})
    made = site.call(login, old="live")
    [default] = [row for row in made["namespaces"] if row["namespace"] == "default"]
    assert (default["before"], default["tier"]) == ("4-aux", "untiered")
    assert [one["verdict"] for one in default["verdicts"]] == ["tier-lost"]
    assert by_name(made)["4-aux-missed"] == EXPECTED["4-aux-missed"]


def test_the_playbook_prints_and_fails(site: Site, login: Path, tmp_path: Path) -> None:
    given = {
        "platform_tiers": TABLE,
        "platform_clusters": [{"name": "lab", "kubeconfig": str(login)}],
        **{f"tiers_impact_{key}": value for key, value in BACKENDS.items()},
        "tiers_impact_json": str(tmp_path / "impact.json"),
        "tiers_impact_markdown": str(tmp_path / "impact.md"),
        "tiers_impact_fail_on": "hold, frozen",
    }
    result = run_play(ROOT / "playbooks" / "tiers_impact.yml", extra_vars=given, check=True)
    assert result.rc != 0
    assert "4-aux-frozen" in result.stdout
    assert "the table does what must not be: 4-aux-frozen: frozen, 4-aux-over: frozen." in result.stdout
    assert json.loads((tmp_path / "impact.json").read_text())["failing"] == [
        "4-aux-frozen: frozen",
        "4-aux-over: frozen",
    ]
    assert "| 4-aux-frozen | 4-aux | frozen |" in (tmp_path / "impact.md").read_text()


def failure(site: Site, space: str, name: str = "web") -> str:
    """Return why the pods of a Deployment cannot be made, if so."""
    conditions = site.get("Deployment", space, name).get("status", {}).get("conditions") or []
    return next((one["message"] for one in conditions if one["type"] == "ReplicaFailure"), "")


def rolled_out(site: Site, space: str, name: str = "web") -> bool:
    one = site.get("Deployment", space, name)
    status, replicas = one.get("status", {}), one["spec"]["replicas"]
    counts = {status.get(key) for key in ("updatedReplicas", "availableReplicas", "replicas")}
    return bool(status.get("observedGeneration") == one["metadata"]["generation"] and counts == {replicas})


def test_what_the_report_says_comes_true(site: Site, login: Path, first: Object) -> None:
    limits = site.compiled("LimitRange", "ResourceQuota")
    site.made(*limits)
    ours = [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in limits if one["kind"] == "ResourceQuota"]

    def counted() -> bool:
        live = {(q["metadata"]["namespace"], q["metadata"]["name"]): q for q in site.every("ResourceQuota")}
        return all(live[key].get("status", {}).get("used") for key in ours)

    site.until("the quotas", counted)
    # The numbers are those of the API server.
    used = {
        (row["namespace"], one["quota"], one["key"]): one["used"]
        for row in first["namespaces"]
        for one in row["quotas"]
    }
    told = {
        (one["metadata"]["namespace"], one["metadata"]["name"], key): value
        for one in site.every("ResourceQuota")
        for key, value in one["status"]["used"].items()
    }
    assert {key: quantity(value) for key, value in used.items()} == {key: quantity(told[key]) for key in used}
    assert len(used) > 40
    # Nothing changes for the report now that the limits are there, but that nothing is new.
    second = site.call(login)
    assert by_name(second) == EXPECTED
    assert not any(row["changes"] for row in second["namespaces"] if row["tier"] != "untiered")

    rolled = ["surge", "fine", "over", "left", "silent", "larger", "begins"]
    again = {"spec": {"template": {"metadata": {"annotations": {"again": "1"}}}}}
    for name in rolled:
        site.patch("Deployment", f"4-aux-{name}", "web", again)
    site.patch("Deployment", "3-edge-web", "web", again)
    site.patch("Deployment", "4-aux-grows", "web", {"spec": {"replicas": 6}})
    nodes = site.every("Node")
    extra = {**nodes[0], "metadata": {**nodes[0]["metadata"], "name": "core-infra-node-extra"}}
    extra["metadata"] = {k: extra["metadata"].get(k, {}) for k in ("name", "labels", "annotations")}
    extra["metadata"]["labels"]["kubernetes.io/hostname"] = "core-infra-node-extra"
    site.made({"kind": "Node", "metadata": extra["metadata"], "spec": {"taints": []}})
    for number in range(2):
        site.made(workload("Job", "4-aux-cron", f"run-{number}", parallelism=3))

    # refused
    status, said = site.make(pod("4-aux-frozen", "more"))
    assert (status, "exceeded quota: tier-quota" in said) == (403, True), said
    site.until("the rollout that cannot surge", lambda: "exceeded quota: tier-quota" in failure(site, "4-aux-surge"))
    site.until("the container above max", lambda: "maximum memory usage" in failure(site, "4-aux-over"))
    site.until("the quota that is left over", lambda: "exceeded quota: earlier" in failure(site, "4-aux-left"))
    site.until("the class", lambda: "PriorityClass is not allowed" in failure(site, "4-aux-class"))
    site.until("the autoscaler's pods", lambda: "exceeded quota: tier-quota" in failure(site, "4-aux-grows"))
    site.until("the init containers", lambda: "exceeded quota: tier-quota" in failure(site, "4-aux-begins"))
    site.until("the larger pods", lambda: "exceeded quota: tier-quota" in failure(site, "4-aux-larger"))

    def pods(space: str) -> int:
        return sum(one["metadata"]["namespace"] == space for one in site.every("Pod"))

    def short_of(space: str, name: str) -> bool:
        status = site.get("DaemonSet", space, name)["status"]
        return bool(status["desiredNumberScheduled"] > status["currentNumberScheduled"])

    site.until("the new node", lambda: short_of("4-aux-daemon", "one") and short_of("4-aux-daemon", "two"), timeout=20)
    assert pods("4-aux-daemon") == 4
    site.until("the jobs", lambda: pods("4-aux-cron") == 4)
    assert pods("4-aux-scoped") == 1
    # admitted
    assert site.make(pod("4-aux-opted", "more"))[0] == 201
    for space in ("4-aux-fine", "3-edge-web", "4-aux-silent"):
        site.until(f"the rollout of {space}", lambda space=space: rolled_out(site, space))  # type: ignore[misc]
    early = site.get("Pod", "4-aux-missed", "early")["spec"]
    assert "priorityClassName" not in early
    site.made(pod("4-aux-missed", "late"))
    assert site.get("Pod", "4-aux-missed", "late")["spec"]["priorityClassName"] == "tier-4-aux"
    assert not rolled_out(site, "4-aux-surge")
    assert not rolled_out(site, "4-aux-larger")


def test_a_hold_is_told(site: Site, login: Path) -> None:
    site.made(namespace("4-aux-held", annotations={"infra.hackspace.org/tier-hold": "2026-12-24"}))
    assert by_name(site.call(login))["4-aux-held"] == ["hold"]
