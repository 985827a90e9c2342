# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""kube_apply on a real API server."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import threading
import time
import typing as t

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule

from tests.integration.ansible_run import Run

from .conftest import Site, kill_tree

LABEL = "infra.hackspace.org/inventory"
SECRET = "a-value-that-nobody-may-see-8471"


def test_in_ansible(fresh: Site) -> None:
    objects = [fresh.config_map(), fresh.own_namespace]
    first = fresh.run(objects, ansible={"diff": True}).ok()
    assert first.changed
    assert "+    text: first" in first.output or '"text": "first"' in first.output
    mark = fresh.mark()
    second = fresh.run(objects).ok()
    assert second.changed == []
    assert second.of("kube_apply")["unchanged"] == 2
    foreseen = fresh.run([fresh.own_namespace, fresh.config_map(text="second")], ansible={"check": True}).ok()
    assert foreseen.changed
    assert fresh.writes(mark) == []


def test_creates_in_order_and_leaves_alone_what_is_right(fresh: Site) -> None:
    objects = [fresh.config_map("one"), fresh.config_map("two"), fresh.own_namespace]
    made = fresh.apply(objects)
    assert [(c["kind"], c["action"]) for c in made["changes"]] == [
        ("Namespace", "create"),
        ("inventory record", "create"),
        ("ConfigMap", "create"),
        ("ConfigMap", "create"),
    ]
    live = fresh.get("one")
    assert live["data"] == {"text": "first"}
    assert live["metadata"]["labels"][LABEL] == fresh.namespace
    assert {m["manager"] for m in live["metadata"]["managedFields"]} == {"hackspace.infra"}
    record = fresh.get(f"hackspace-inventory-{fresh.namespace}")
    assert record["data"]["objects"].splitlines() == [
        f"ConfigMap {fresh.namespace}/one",
        f"ConfigMap {fresh.namespace}/two",
        f"Namespace {fresh.namespace}",
    ]

    mark = fresh.mark()
    again = fresh.apply(objects)
    assert again["changed"] is False
    assert again["unchanged"] == 3
    assert again["changes"] == []
    assert {verb for verb, _uri in fresh.asked(mark)} == {"get", "list"}
    assert len(fresh.asked(mark)) == again["requests"] == 5  # discovery 2, record, namespaces, config maps


@pytest.mark.parametrize("namespaces", [1, 3])
def test_requests_without_changes_do_not_grow_with_objects(site: Site, namespaces: int) -> None:
    extra = [f"{site.namespace}-{n}" for n in range(1, namespaces)]
    for name in extra:
        site.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    places = [site.namespace, *extra]
    counts = {}
    for number in (1, 10, 100):
        objects: list[dict[str, t.Any]] = []
        for index in range(number):
            for kind in ("ConfigMap", "Secret"):
                one = site.config_map(f"n{index}", text="bGluZQ==")
                one["kind"] = kind
                one["metadata"]["namespace"] = places[index % len(places)]
                objects.append(one)
        site.apply(objects)
        again = site.apply(objects)
        assert again["changed"] is False
        assert again["unchanged"] == 2 * number
        counts[number] = again["requests"]
    assert counts == {1: 5, 10: 5, 100: 5}


def test_one_change_among_many_costs_two_requests_more(site: Site) -> None:
    objects = [site.config_map(f"n{n}") for n in range(50)]
    site.apply(objects)
    quiet = site.apply(objects)["requests"]
    objects[7]["data"]["text"] = "second"
    changed = site.apply(objects)
    assert changed["changes"] == [
        {"kind": "ConfigMap", "name": f"{site.namespace}/n7", "action": "update", "why": changed["changes"][0]["why"]}
    ]
    assert "data.text" in changed["changes"][0]["why"]
    assert changed["unchanged"] == 49
    assert changed["requests"] == quiet + 2  # one dry run, one patch


def test_what_was_changed_by_hand_is_repaired(site: Site) -> None:
    site.apply([site.config_map()])
    site.ask("PATCH", site.path("one"), {"data": {"text": "by hand"}}, "application/merge-patch+json")
    # the other manager owns the field now
    failed = site.refused([site.config_map()])
    assert failed["error"]["rule"] == "field-conflict"
    repaired = site.apply([site.config_map()], force_conflicts=True)
    assert [c["action"] for c in repaired["changes"]] == ["update"]
    assert repaired["diff"][0]["before"]["data"] == {"text": "by hand"}
    assert repaired["diff"][0]["after"]["data"] == {"text": "first"}
    assert site.get("one")["data"] == {"text": "first"}
    assert site.apply([site.config_map()])["changed"] is False


def test_what_was_removed_by_hand_comes_back(site: Site) -> None:
    two = [site.config_map(), site.config_map("two", a="1", b="2")]
    site.apply(two)
    site.ask("DELETE", site.path("one"))
    site.ask("PATCH", site.path("two"), {"data": {"b": None}}, "application/merge-patch+json")
    label = {"metadata": {"labels": {LABEL: None}}}
    site.ask("PATCH", site.path("two"), label, "application/merge-patch+json")
    repaired = site.apply(two)
    assert sorted((c["name"].split("/")[1], c["action"]) for c in repaired["changes"]) == [
        ("one", "create"),
        ("two", "update"),
    ]
    assert site.get("two")["data"] == {"a": "1", "b": "2"}
    assert site.get("two")["metadata"]["labels"] == {LABEL: site.namespace}
    assert site.apply(two)["changed"] is False


def test_a_field_no_longer_wanted_is_removed_and_others_fields_stay(site: Site) -> None:
    site.apply([site.config_map(a="1", b="2")])
    site.ask("PATCH", site.path("one"), {"data": {"other": "3"}}, "application/merge-patch+json")
    changed = site.apply([site.config_map(a="1")])
    assert "data.b" in changed["changes"][0]["why"]
    assert site.get("one")["data"] == {"a": "1", "other": "3"}
    assert site.apply([site.config_map(a="1")])["changed"] is False


def test_a_conflict_names_the_field_and_the_other_manager(site: Site) -> None:
    site.apply([site.config_map()])
    other = site.config_map(text="theirs")
    site.ask("PATCH", site.path("one") + "?fieldManager=somebody&force=true", other, "application/apply-patch+yaml")
    mark = site.mark()
    failed = site.refused([site.config_map()])
    assert failed["error"]["rule"] == "field-conflict"
    assert failed["error"]["item"] == f"ConfigMap {site.namespace}/one (objects[0])"
    assert failed["conflicts"] == [{"field": "data.text", "manager": "somebody"}]
    assert "force_conflicts" in failed["error"]["fix"]
    assert site.writes(mark) == []
    taken = site.apply([site.config_map()], force_conflicts=True)
    assert "takes data.text from somebody" in taken["changes"][0]["why"]
    assert site.get("one")["data"]["text"] == "first"


def test_foreign_objects_are_refused_and_adopted(site: Site) -> None:
    foreign = site.config_map()
    site.ask("POST", site.path(), foreign)
    site.apply([site.config_map("ours")])
    mark = site.mark()
    failed = site.refused([site.config_map(), site.config_map("ours", text="new")])
    assert failed["error"]["rule"] == "foreign"
    assert len(failed["foreign"]) == 1
    assert failed["foreign"][0].startswith(f"ConfigMap {site.namespace}/one (")
    assert site.writes(mark) == []
    assert site.get("ours")["data"] == {"text": "first"}

    adopted = site.apply([site.config_map(), site.config_map("ours")], adopt=True)
    assert [(c["kind"], c["action"]) for c in adopted["changes"]] == [
        ("inventory record", "update"),
        ("ConfigMap", "adopt"),
    ]
    assert adopted["foreign"] == failed["foreign"]
    assert site.get("one")["metadata"]["labels"] == {LABEL: site.namespace}
    assert site.apply([site.config_map(), site.config_map("ours")])["changed"] is False


def test_an_object_of_another_inventory_is_foreign(site: Site) -> None:
    site.apply([site.config_map()])
    other = {"name": "other", "namespace": site.namespace}
    failed = site.refused([site.config_map()], inventory=other)
    assert failed["foreign"] == [f"ConfigMap {site.namespace}/one (inventory {site.namespace})"]
    site.apply([site.config_map()], inventory=other, adopt=True)
    # and the first inventory lets go of it without deleting it
    released = site.apply([site.config_map("two")], prune=True)
    assert "delete" not in {c["action"] for c in released["changes"]}
    assert site.get("one")["metadata"]["labels"] == {LABEL: "other"}
    record = site.get(f"hackspace-inventory-{site.namespace}")
    assert record["data"]["objects"] == f"ConfigMap {site.namespace}/two\n"


def test_prune_is_opt_in_capped_and_never_empties(site: Site) -> None:
    objects = [site.config_map(f"n{n}") for n in range(10)]
    site.apply(objects)
    kept = site.apply(objects[1:])
    assert kept["changed"] is False
    assert kept["stale"] == [f"ConfigMap {site.namespace}/n0 (prune is off)"]

    mark = site.mark()
    capped = site.refused(objects[3:], prune=True)
    assert capped["error"]["rule"] == "prune-cap"
    assert capped["would_delete"] == [f"ConfigMap {site.namespace}/n{n}" for n in range(3)]
    assert site.refused([], prune=True)["error"]["rule"] == "prune-empty"
    assert site.writes(mark) == []

    site.ask(
        "PATCH",
        site.path("n1"),
        {"metadata": {"annotations": {"infra.hackspace.org/prune": "disabled"}}},
        "application/merge-patch+json",
    )
    site.ask("POST", site.path(), site.config_map("theirs"))
    pruned = site.apply(objects[2:], prune=True)
    assert [(c["name"].split("/")[1], c["action"]) for c in pruned["changes"]][-1] == ("n0", "delete")
    assert pruned["stale"] == [f"ConfigMap {site.namespace}/n1 (annotated infra.hackspace.org/prune: disabled)"]
    assert site.get("n0") is None
    assert site.get("n1") is not None
    assert site.get("theirs") is not None
    assert site.apply(objects[2:], prune=True)["changed"] is False
    pruned = site.apply(objects[4:], prune=True, prune_max_percent=50)
    assert [c["action"] for c in pruned["changes"]] == ["update", "delete", "delete"]


def test_protected_kinds_are_pruned_only_when_asked(fresh: Site) -> None:
    spare = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{fresh.namespace}-spare"}}
    fresh.apply([fresh.own_namespace, spare, fresh.config_map()])
    kept = fresh.apply([fresh.own_namespace, fresh.config_map()], prune=True)
    assert kept["changed"] is False
    assert kept["stale"] == [f"Namespace {fresh.namespace}-spare (prune_protected is off)"]
    gone = fresh.apply([fresh.own_namespace, fresh.config_map()], prune=True, prune_protected=True)
    assert gone["changes"][-1]["action"] == "delete"


def crd(group: str) -> dict[str, t.Any]:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "size": {"type": "string", "default": "small"},
                    "parts": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "name": {"type": "string"},
                                "colour": {"type": "string", "default": "red"},
                            },
                        },
                    },
                },
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"toys.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Toy", "plural": "toys"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def test_a_kind_and_its_objects_in_one_call(site: Site) -> None:
    group = f"{site.namespace}.example.org"
    toy = {
        "apiVersion": f"{group}/v1",
        "kind": "Toy",
        "metadata": {"name": "train", "namespace": site.namespace},
        "spec": {"parts": [{"name": "wheel"}]},
    }
    mark = site.mark()
    foreseen = site.apply([toy, crd(group)], check=True)
    assert site.writes(mark) == []
    made = site.apply([toy, crd(group)])
    assert made["changes"] == foreseen["changes"]
    assert [c["kind"] for c in made["changes"]] == ["inventory record", "CustomResourceDefinition", "Toy"]
    live = site.ask("GET", f"/apis/{group}/v1/namespaces/{site.namespace}/toys/train")
    assert live["spec"] == {"size": "small", "parts": [{"name": "wheel", "colour": "red"}]}
    # defaults that the server fills in, even inside lists, are no difference and cost no dry run
    mark = site.mark()
    again = site.apply([toy, crd(group)])
    assert again["changed"] is False
    assert {verb for verb, _uri in site.asked(mark)} == {"get", "list"}


def test_a_kind_and_its_objects_are_upgraded_in_one_call(site: Site) -> None:
    """A dry run against the old schema would refuse the new field; that is no reason to fail."""
    group = f"{site.namespace}.example.org"
    toy: dict[str, t.Any] = {
        "apiVersion": f"{group}/v1",
        "kind": "Toy",
        "metadata": {"name": "train", "namespace": site.namespace},
        "spec": {"size": "big"},
    }
    definition = crd(group)
    site.apply([toy, definition])
    toy["spec"]["wheels"] = 8
    assert site.refused([toy, definition])["error"]["rule"] == "unknown-field"
    version = definition["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["wheels"] = {"type": "integer"}
    changed = site.apply([toy, definition])
    assert [(c["kind"], c["action"]) for c in changed["changes"]] == [
        ("CustomResourceDefinition", "update"),
        ("Toy", "update"),
    ]
    assert site.ask("GET", f"/apis/{group}/v1/namespaces/{site.namespace}/toys/train")["spec"]["wheels"] == 8
    # a version that only the new definition brings
    second = {**copy.deepcopy(version), "name": "v2", "storage": False}
    definition["spec"]["versions"].append(second)
    toy["apiVersion"] = f"{group}/v2"
    changed = site.apply([toy, definition])
    assert [(c["kind"], c["action"]) for c in changed["changes"]] == [
        ("CustomResourceDefinition", "update"),
        ("Toy", "update"),
    ]
    assert site.apply([toy, definition])["changed"] is False


def deployment(site: Site, image: str = "nginx:1") -> dict[str, t.Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": site.namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [
                        {
                            "name": "web",
                            "image": image,
                            "ports": [{"containerPort": 80}],
                            "resources": {"requests": {"cpu": "100m", "memory": "1024Mi"}, "limits": {"cpu": "1000m"}},
                            "env": [{"name": "NS", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}],
                        }
                    ]
                },
            },
        },
    }


def test_waits_for_a_rollout(site: Site) -> None:
    made = site.apply([deployment(site)], wait=True, wait_timeout=60)
    assert made["waited"] == [f"Deployment.apps {site.namespace}/web"]
    path = f"/apis/apps/v1/namespaces/{site.namespace}/deployments/web"
    assert site.ask("GET", path)["status"]["availableReplicas"] == 2
    again = site.apply([deployment(site)], wait=True)
    assert again["changed"] is False
    assert again["waited"] == []
    assert again["requests"] == 4  # what was read for the plan is enough to see that all is ready
    updated = site.apply([deployment(site, "nginx:2")], wait=True, wait_timeout=60)
    assert updated["waited"] == [f"Deployment.apps {site.namespace}/web"]
    assert site.ask("GET", path)["status"]["updatedReplicas"] == 2


def test_waiting_ends_with_the_reason(site: Site) -> None:
    never = deployment(site)
    never["spec"]["template"]["spec"]["nodeSelector"] = {"no": "such-node"}
    failed = site.refused([never], wait=True, wait_timeout=3)
    assert failed["error"]["rule"] == "wait-timeout"
    assert failed["not_ready"] == [f"Deployment.apps {site.namespace}/web: 0 of 2 pods available"]

    never["spec"]["progressDeadlineSeconds"] = 1
    begin = time.monotonic()
    failed = site.refused([never], wait=True, wait_timeout=120)
    assert failed["error"]["rule"] == "stalled"
    assert "ProgressDeadlineExceeded" in failed["not_ready"][0]
    assert time.monotonic() - begin < 60


def test_check_mode_is_exact_and_writes_nothing(fresh: Site) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": fresh.namespace},
        "stringData": {"key": SECRET},
    }
    objects = [fresh.own_namespace, fresh.config_map(), secret]
    mark = fresh.mark()
    foreseen = fresh.apply(objects, check=True)
    assert fresh.writes(mark) == []
    done = fresh.apply(objects)
    assert foreseen["changes"] == done["changes"]
    assert foreseen["diff"] == done["diff"]
    objects[1]["data"]["text"] = "second"
    mark = fresh.mark()
    foreseen = fresh.apply(objects, check=True)
    assert fresh.writes(mark) == []
    assert [verb for verb, _uri in fresh.asked(mark)].count("patch") == 1  # the dry run of what differs
    done = fresh.apply(objects)
    assert foreseen["changes"] == done["changes"]
    assert foreseen["diff"] == done["diff"]
    assert fresh.apply(objects, check=True)["changed"] is False


def test_secret_values_are_in_no_output(site: Site) -> None:
    encoded = base64.b64encode(SECRET.encode()).decode()

    def objects(value: str, name: str = "s") -> list[dict[str, t.Any]]:
        return [
            {
                "apiVersion": "v1",
                "kind": "List",
                "items": [
                    {
                        "apiVersion": "v1",
                        "kind": "Secret",
                        "metadata": {"name": name, "namespace": site.namespace},
                        "stringData": {"key": value},
                    }
                ],
            },
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "raw", "namespace": site.namespace},
                "data": {"key": base64.b64encode(value.encode()).decode()},
            },
            site.config_map("config", password=value),
        ]

    loud: dict[str, t.Any] = {"diff": True, "verbosity": 4}
    hidden = {"hidden_fields": ["ConfigMap:/data/password"]}
    outputs = [
        site.run(objects(SECRET), ansible={**loud, "check": True}, **hidden).ok(),
        site.run(objects(SECRET), ansible=loud, **hidden).ok(),
        site.run(objects(SECRET + "-2"), ansible=loud, **hidden).ok(),
        site.run(objects(SECRET, "Not_A_Name"), ansible=loud, **hidden),
        site.run([*objects(SECRET), {"kind": "Nothing"}], ansible=loud, **hidden),
        site.run(objects(SECRET), ansible=loud, hidden_fields=["wrong"]),
    ]
    assert [o.rc for o in outputs] == [0, 0, 0, 2, 2, 2]
    for one in outputs:
        text = one.output + json.dumps([task.result for task in one.tasks])
        assert SECRET not in text
        assert encoded not in text
        assert encoded[:20] not in text
    changed = outputs[2].of("kube_apply")
    assert sorted(c["why"] for c in changed["changes"]) == [
        "data.key",
        "data.key",
        "data.password",
    ]
    assert "(hidden, changed)" in outputs[2].output
    assert site.get("s", "secrets")["data"]["key"] == base64.b64encode(f"{SECRET}-2".encode()).decode()
    # nothing but the second run's values were written, and they are recognised without being shown
    again = site.apply(objects(SECRET + "-2"), **hidden)
    assert again["changed"] is False


def test_secret_values_are_not_logged_by_the_system(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda _self, msg, log_args=None: logged.append(f"{msg} {log_args}"))
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": site.namespace},
        "stringData": {"key": SECRET},
    }
    kubeconfig = yaml.safe_load(site.kubeconfig.read_text())
    key = kubeconfig["users"][0]["user"]["client-key-data"]
    result = site.apply([secret], kubeconfig=kubeconfig)
    assert logged
    assert "NOT_LOGGING_PARAMETER" in "".join(logged)
    for text in (*logged, json.dumps(result)):
        assert SECRET not in text
        assert key not in text
    # names are not masked along with the values
    assert result["invocation"]["module_args"]["objects"][0]["metadata"]["name"] == "s"
    assert result["invocation"]["module_args"]["objects"][0]["stringData"] == {"key": "(hidden)"}


def test_impersonation(site: Site) -> None:
    failed = site.refused([site.config_map()], impersonate_user="nobody", impersonate_groups=["a", "b"])
    assert failed["error"]["rule"] == "forbidden"
    assert 'User "nobody"' in failed["msg"] or failed["error"]["status"] == 403
    made = site.apply([site.config_map()], impersonate_user="nobody", impersonate_groups=["a", "system:masters"])
    assert made["changed"] is True


@pytest.mark.parametrize("after", [0, 1, 20, 59])
def test_killed_runs_are_finished_by_the_next(fresh: Site, after: int) -> None:
    objects = [fresh.own_namespace, *[fresh.config_map(f"n{n}") for n in range(60)]]
    with fresh.lab.proxy("core-infra") as proxy:
        started: list[Run] = []
        killed = threading.Event()

        def kill(_method: str, _path: str) -> None:
            kill_tree(started[0].process.pid)
            killed.set()

        # 0: the namespace exists, and nothing else; n: that many objects, the record and the namespace do.
        # One more is let through: the namespace's dry run.
        proxy.call(kill, "after", method="PATCH", path=f"/api/v1/namespaces/{fresh.namespace}", skip=after + 1)
        started.append(fresh.start(objects, kubeconfig=str(proxy.kubeconfig)))
        assert killed.wait(60)
        started[0].process.communicate()
    live = fresh.ask("GET", fresh.path())["items"]
    made = [i["metadata"]["name"] for i in live if LABEL in (i["metadata"].get("labels") or {})]
    assert len(made) == after
    record = fresh.get(f"hackspace-inventory-{fresh.namespace}")
    if after:
        lines = record["data"]["objects"].splitlines()
        assert all(f"ConfigMap {fresh.namespace}/{name}" in lines for name in made)
    else:
        assert record is None
    finished = fresh.apply(objects)
    assert finished["unchanged"] == after + 1
    assert fresh.apply(objects)["changed"] is False


def test_two_runs_at_once(fresh: Site) -> None:
    fresh.make_namespace()
    mine = [fresh.config_map(f"a{n}") for n in range(20)]
    yours = [fresh.config_map(f"b{n}") for n in range(20)]
    runs = [fresh.start(mine), fresh.start(yours), fresh.start(mine)]
    results = [run.wait() for run in runs]
    assert [r.rc for r in results] == [0, 0, 0], "\n".join(r.output for r in results)
    record = fresh.get(f"hackspace-inventory-{fresh.namespace}")["data"]["objects"].splitlines()
    assert sorted(record) == sorted(f"ConfigMap {fresh.namespace}/{k}{n}" for k in "ab" for n in range(20))
    assert fresh.apply([*mine, *yours])["changed"] is False


def test_manifests_are_pinned(site: Site) -> None:
    text = "---\n# nothing\n---\n" + yaml.safe_dump_all([site.config_map("one"), site.config_map("two")])
    path = site.folder / "release.yaml"
    path.write_text(text)
    good = hashlib.sha256(text.encode()).hexdigest()
    failed = site.refused([], manifests=[{"path": str(path), "sha256": "0" * 64}])
    assert failed["error"]["rule"] == "manifest-sha256"
    assert site.get("one") is None
    made = site.apply([], manifests=[{"path": str(path), "sha256": good}])
    assert [c["action"] for c in made["changes"]] == ["create"] * 3


def test_the_server_says_what_is_wrong_before_anything_is_written(site: Site) -> None:
    site.apply([site.config_map("fine")])
    wrong_field = deployment(site)
    wrong_field["spec"]["replica"] = 3
    wrong_value = deployment(site)
    wrong_value["spec"]["replicas"] = -1
    nowhere = site.config_map()
    nowhere["metadata"]["namespace"] = "not-there"
    mark = site.mark()
    for broken, rule, word in (
        (wrong_field, "unknown-field", "spec.replica"),
        (wrong_value, "invalid", "spec.replicas"),
        (nowhere, "namespace-missing", "not-there"),
    ):
        failed = site.refused([site.config_map("new"), broken])
        assert failed["error"]["rule"] == rule
        assert word in failed["msg"]
        assert "objects[1]" in failed["error"]["item"]
    several = site.refused([wrong_field, nowhere])
    assert {r["rule"] for r in several["refused"]} == {"unknown-field", "namespace-missing"}
    assert site.writes(mark) == []
    made = deployment(site)
    site.apply([made])
    made["spec"]["selector"]["matchLabels"]["app"] = "other"
    made["spec"]["template"]["metadata"]["labels"]["app"] = "other"
    assert site.refused([made])["error"]["rule"] == "immutable"


def test_what_a_login_may_not_do_is_named(site: Site) -> None:
    """A login that may only work in its own namespace needs no rights on the cluster."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer"}}
    site.ask("POST", site.path(kind="serviceaccounts"), account)
    token = site.ask(
        "POST",
        site.path("deployer/token", "serviceaccounts"),
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
    )["status"]["token"]
    cluster = site.lab.clusters["core-infra"]
    login = {"host": cluster.api_server, "api_key": token, "ca_cert": str(cluster.ca_file), "kubeconfig": None}
    failed = site.refused([site.config_map()], **login)
    assert failed["error"]["rule"] == "forbidden"
    assert token not in json.dumps(failed)
    site.ask(
        "POST",
        f"/apis/rbac.authorization.k8s.io/v1/namespaces/{site.namespace}/rolebindings",
        {
            "metadata": {"name": "deployer"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": site.namespace}],
        },
    )
    made = site.apply([site.config_map()], **login)
    assert made["changed"] is True
    assert site.apply([site.config_map()], **login)["changed"] is False
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "r", "namespace": site.namespace},
        "rules": [],
    }
    failed = site.refused([site.config_map(), role], **login)
    assert failed["error"]["rule"] == "forbidden"
    assert "roles" in failed["msg"]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"context": "no-such-context"}, "kubeconfig"),
        ({"kubeconfig": "/no/such/file"}, "kubeconfig-file"),
        ({"kubeconfig": None, "host": "https://127.0.0.1:1", "api_key": "some-token-of-nobody"}, "refused"),
        ({"tls_server_name": "somebody-else"}, "tls-name"),
        ({"inventory": {"name": "x", "namespace": "not-there"}}, "inventory-namespace"),
    ],
)
def test_connections_that_cannot_work(site: Site, change: dict[str, t.Any], rule: str) -> None:
    failed = site.refused([site.config_map()], **change)
    assert failed["error"]["rule"] == rule, failed["msg"]
    assert failed["error"]["fix"]


def test_cut_connections_and_busy_servers(site: Site) -> None:
    objects = [site.config_map(f"n{n}") for n in range(5)]
    with site.lab.proxy("core-infra") as proxy:
        through = {"kubeconfig": str(proxy.kubeconfig)}
        proxy.fail(503, 2, path="configmaps")
        made = site.apply(objects, **through)
        assert [c["action"] for c in made["changes"]] == ["create"] * 6
        proxy.fail(500, 1, path="configmaps")
        failed = site.refused(objects, **through)
        assert failed["error"]["status"] == 500
        for when in ("before", "after"):
            proxy.cut(when)
            assert site.apply(objects, **through)["changed"] is False
        objects[0]["data"]["text"] = "second"
        proxy.cut("after", method="PATCH", skip=1)  # it was applied, and the answer is lost
        assert [c["action"] for c in site.apply(objects, **through)["changes"]] == ["update"]
        assert site.get("n0")["data"]["text"] == "second"
