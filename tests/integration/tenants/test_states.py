# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants from one state to another, on real servers: what stops, what stays, what is left."""

from __future__ import annotations

import json
import typing as t

from tests.integration.tenants.conftest import CALENDAR, Site

CRONJOB = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: main, image: example.org/backup}]}
"""
CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {storageClassName: fast, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
DATA = [{"name": "calendars", "storage_class": "fast", "retention_days": 30}]


def volume(site: Site, namespace: str) -> str:
    name = f"pv-{namespace}"
    site.ask(
        "POST",
        "/api/v1/persistentvolumes",
        {
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "fast",
                "persistentVolumeReclaimPolicy": "Delete",
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": namespace,
                    "name": "data",
                },
                "hostPath": {"path": "/nowhere"},
            },
        },
    )
    return f"/api/v1/persistentvolumes/{name}"


def started(site: Site, name: str, **more: t.Any) -> dict[str, t.Any]:
    """Onboard a tenant with a calendar and wait until it runs."""
    namespace = f"4-aux-{name}"
    files = {"deploy/calendar.yaml": CALENDAR, "deploy/cron.yaml": CRONJOB, **more.pop("files", {})}
    site.lab.git.repository(f"tenants/{name}", files)
    wanted = site.declaration(name, **more)
    site.apply(wanted)
    assert site.until(lambda: site.flux(namespace, name).get("status") == "True"), site.flux(namespace, name)
    return wanted


def pods(site: Site, namespace: str) -> list[t.Any]:
    return site.items(f"/api/v1/namespaces/{namespace}/pods")


def test_suspended_for_real_and_back(site: Site) -> None:
    name = site.name("sleepy")
    namespace = f"4-aux-{name}"
    wanted = started(site, name, access=[{"group": f"{name}-people", "role": "operator"}])
    scale = f"/apis/apps/v1/namespaces/{namespace}/statefulsets/calendar"
    cron = f"/apis/batch/v1/namespaces/{namespace}/cronjobs/nightly"
    assert site.until(lambda: len(pods(site, namespace)) == 1)
    mark = site.mark()
    planned = site.apply({**wanted, "state": "suspended"}, check=True)
    assert planned["changed"]
    assert site.writes(mark) == []
    done = site.apply({**wanted, "state": "suspended"})
    assert done["tenants"][0]["state"] == "suspended"
    assert done["tenants"][0]["by"] == "declaration"
    assert site.until(lambda: pods(site, namespace) == [])
    assert site.get(cron)["spec"]["suspend"] is True
    bindings = [
        b["metadata"]["name"]
        for b in site.items(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings")
    ]
    assert bindings == ["tenant-reconciler"]
    site.kick(namespace, name)
    assert site.apply({**wanted, "state": "suspended"})["changed"] is False
    assert site.get(scale)["spec"]["replicas"] == 0
    (state,) = site.call("tenants_info", declarations=[{**wanted, "state": "suspended"}], only=[name])["tenants"]
    assert (state["state"], state["suspended_by"]) == ("suspended", "declaration")

    site.apply(wanted)
    assert site.get(scale)["spec"]["replicas"] == 1
    assert not site.get(cron)["spec"].get("suspend")
    assert site.until(lambda: len(pods(site, namespace)) == 1)
    assert site.apply(wanted)["changed"] is False


def test_what_a_finalizer_holds_up_is_named_and_stays(site: Site) -> None:
    name = site.name("sticky")
    namespace = f"4-aux-{name}"
    wanted = site.declaration(name)
    del wanted["source"]
    site.apply(wanted)
    held = f"/api/v1/namespaces/{namespace}/configmaps/held"
    metadata = {"name": "held", "finalizers": ["example.org/stay"]}
    site.ask("POST", held.rpartition("/")[0], {"metadata": metadata})
    gone = {**wanted, "state": "removed"}
    leave: dict[str, t.Any] = {"allow_removal": True, "confirm_removal": [name]}
    refused = site.call(declarations=[gone], **leave, wait_timeout=15)
    assert refused["failed"]
    assert f"ConfigMap {namespace}/held by example.org/stay" in refused["msg"], refused["msg"]
    assert f"kubectl -n {namespace} patch configmap held --type=merge" in refused["msg"]
    assert site.get(held)["metadata"]["finalizers"] == ["example.org/stay"]
    site.ask("PATCH", held, {"metadata": {"finalizers": None}}, content_type="application/merge-patch+json")
    done = site.call(declarations=[gone], **leave)
    assert not done.get("failed"), done["msg"]
    assert site.until(lambda: site.get(f"/api/v1/namespaces/{namespace}") is None)


def test_a_wrong_file_keeps_nobody_active_whose_membership_has_ended(site: Site) -> None:
    name = site.name("owing")
    namespace = f"4-aux-{name}"
    wanted = started(site, name, membership={"paid_until": "2999-12-31"})
    scale = f"/apis/apps/v1/namespaces/{namespace}/statefulsets/calendar"
    space = f"/api/v1/namespaces/{namespace}"
    key = "infra.hackspace.org"
    assert site.get(space)["metadata"]["annotations"][f"{key}/paid-until"] == "2999-12-31"
    wrong = {**wanted, "namespaces": "none of your business"}
    kept = site.call(declarations=[wrong], membership={"suspend": True})
    assert [(one["state"], one["result"]) for one in kept["tenants"]] == [("active", "failed")]
    # time goes by
    long_ago = {"metadata": {"annotations": {f"{key}/paid-until": "2020-01-01"}}}
    site.ask("PATCH", space, long_ago, content_type="application/merge-patch+json")
    mark = site.mark()
    planned = site.call(declarations=[wrong], membership={"suspend": True}, check=True)
    assert site.writes(mark) == []
    done = site.call(declarations=[wrong], membership={"suspend": True})
    assert [(one["state"], one["by"], one["result"]) for one in done["tenants"]] == [
        ("suspended", "membership", "failed")
    ]
    assert "so it is suspended" in done["msg"]
    assert planned["tenants"] == done["tenants"]
    assert site.get(scale)["spec"]["replicas"] == 0
    assert site.until(lambda: pods(site, namespace) == [])
    mark = site.mark()
    site.call(declarations=[wrong], membership={"suspend": True})
    assert site.writes(mark) == []
    # paid, and the file is right
    site.apply(wanted, membership={"suspend": True})
    assert site.get(scale)["spec"]["replicas"] == 1
    notes = site.get(space)["metadata"]["annotations"]
    assert f"{key}/suspended-by" not in notes
    assert f"{key}/membership-ended" not in notes
    again = site.apply(wanted, membership={"suspend": True})
    assert not again["changed"], again["changes"]


def test_a_suspension_that_was_cut_off_is_continued(site: Site) -> None:
    name = site.name("cut")
    namespace = f"4-aux-{name}"
    wanted = {**started(site, name), "state": "suspended"}
    # as after a run that was killed when the namespace said so already and the workloads still ran
    key = "infra.hackspace.org"
    site.ask(
        "PATCH",
        f"/api/v1/namespaces/{namespace}",
        {
            "metadata": {
                "labels": {f"{key}/tenant-state": "suspended"},
                "annotations": {f"{key}/tenant-moving": "suspended"},
            }
        },
        content_type="application/merge-patch+json",
    )
    assert pods(site, namespace) or site.until(lambda: pods(site, namespace))
    site.apply(wanted, force_conflicts=True)
    assert site.until(lambda: pods(site, namespace) == [])
    assert site.apply(wanted)["changed"] is False


def test_lapsed_memberships_suspend_when_allowed_and_never_many_at_once(site: Site) -> None:
    names = [site.name("member") for _number in range(3)]
    paid = {"id": "somebody", "paid_until": "2020-01-31", "grace_days": 0}
    active = [site.declaration(one) for one in names]
    site.apply(*active)
    lapsed = [{**one, "membership": paid} for one in active]
    site.apply(*lapsed)  # what was declared of the member is kept on the namespaces
    told = site.apply(*lapsed)
    assert not told["changed"]
    assert {one["membership"]["standing"] for one in told["tenants"]} == {"lapsed"}
    capped = site.apply(*lapsed, membership={"suspend": True, "max_suspend": 2})
    assert not capped["changed"]
    assert any("membership-cap" in one for one in capped["warnings"])
    done = site.apply(lapsed[0], *active[1:], membership={"suspend": True, "max_suspend": 2})
    assert [(one["state"], one["by"]) for one in done["tenants"]] == [
        ("suspended", "membership"),
        ("active", ""),
        ("active", ""),
    ]
    # whoever pays is let in again without anybody's click
    back = site.apply(*active, membership={"suspend": True})
    assert {one["state"] for one in back["tenants"]} == {"active"}
    new = site.call(declarations=[{**site.declaration(site.name("new")), "membership": paid}])
    assert new["tenants"][0]["result"] == "held"


def test_offboarding_leaves_nothing_running_and_nothing_orphaned_and_the_volume_stays(site: Site) -> None:
    name = site.name("leaver")
    namespace = f"4-aux-{name}"
    path = volume(site, namespace)
    wanted = started(site, name, files={"deploy/claim.yaml": CLAIM}, data=DATA)
    assert site.until(lambda: (site.get(path).get("status") or {}).get("phase") == "Bound"), site.get(path)
    gone = {**wanted, "state": "removed"}
    first = site.apply(gone)
    assert first["tenants"][0]["state"] == "suspended"  # nobody has allowed more
    held = site.apply(gone, allow_removal=True)
    assert held["tenants"][0]["result"] == "held"
    assert site.get(f"/api/v1/namespaces/{namespace}")
    done = site.apply(gone, allow_removal=True, confirm_removal=[name])
    assert done["changed"]
    assert site.get(f"/api/v1/namespaces/{namespace}") is None
    kept = site.get(path)
    assert kept["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert "infra.hackspace.org/retention-until" in kept["metadata"]["annotations"]
    assert kept["metadata"]["labels"]["toolkit.fluxcd.io/tenant"] == name
    assert site.until(lambda: site.get(path)["status"]["phase"] == "Released")
    record = site.get("/api/v1/namespaces/kube-system/configmaps/hackspace-inventory-tenants")
    assert namespace not in json.dumps(record["data"])
    archive = site.get(f"/api/v1/namespaces/kube-system/configmaps/tenant-archive-{name}")
    assert "StatefulSet" in archive["data"]["archive"]
    again = site.apply(gone, allow_removal=True, confirm_removal=[name])
    assert not again["changed"]
