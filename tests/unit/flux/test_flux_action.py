# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written, in which order, by a kick, a suspension and a resumption."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, Refused
from ansible_collections.hackspace.infra.plugins.module_utils._flux import action, status, wait
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import MANAGER, Discovery, Resource
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import Page

KINDS = {
    "GitRepository": (status.SOURCE_GROUP, "gitrepositories"),
    "HelmRepository": (status.SOURCE_GROUP, "helmrepositories"),
    "Kustomization": (status.KUSTOMIZE_GROUP, "kustomizations"),
    "HelmRelease": (status.HELM_GROUP, "helmreleases"),
}


def by_git(controller: str = "kustomize-controller") -> list[dict[str, t.Any]]:
    return [{"manager": controller, "operation": "Apply", "fieldsV1": {"f:spec": {"f:suspend": {}, "f:path": {}}}}]


def made(kind: str, name: str, *, owner: str = "", git: bool = False, **spec: t.Any) -> dict[str, t.Any]:
    labels = {status.OWNER_NAME: owner, status.OWNER_NAMESPACE: "a"} if owner else {}
    metadata = {"name": name, "namespace": "a", "generation": 1, "labels": labels}
    return {"kind": kind, "metadata": {**metadata, "managedFields": by_git() if git else []}, "spec": spec}


def applier(name: str, source: str = "g", **more: t.Any) -> dict[str, t.Any]:
    return made("Kustomization", name, sourceRef={"kind": "GitRepository", "name": source}, **more)


class Memory:
    """A cluster of Flux objects that notes what is written."""

    def __init__(self, *objects: dict[str, t.Any]) -> None:
        self.objects = list(objects)
        self.requests = 0
        self.written: list[tuple[str, t.Any]] = []
        self.managers: set[str] = set()

    def discover(self) -> Discovery:
        return Discovery(Resource(group, "v1", kind, plural, True, True) for kind, (group, plural) in KINDS.items())

    def _of(self, path: str) -> list[dict[str, t.Any]]:
        return [one for one in self.objects if KINDS[one["kind"]][1] == path.rsplit("/", maxsplit=1)[-1]]

    def pages(self, path: str, *, selector: str = "", metadata_only: bool = False) -> t.Iterator[Page]:
        yield Page(self._of(path), 0)

    def request(self, method: str, path: str, *, body: t.Any = None, query: t.Any = None, **_more: t.Any) -> t.Any:
        if method == "PATCH":
            self.managers.add(query["fieldManager"])
            self.written.append((path.rsplit("/", 1)[-1], body))
            return 200, {}
        name = query["fieldSelector"].partition("=")[2]
        return 200, {"items": [one for one in self._of(path) if one["metadata"]["name"] == name]}


def prepare(do: str, kind: str, name: str, *objects: dict[str, t.Any], **more: t.Any) -> action.Prepared:
    cluster = wait.Cluster(t.cast(t.Any, Memory(*objects)))
    targets = wait.parse([{"kind": kind, "namespace": "a", "name": name}])
    return action.prepare(cluster, action.Request(t.cast(t.Any, do), targets, token="now", **more))


def order(found: action.Prepared) -> list[list[str]]:
    return [[step.key[2] for step in stage] for stage in found.stages if stage]


TREE = (made("GitRepository", "g"), applier("root"), applier("apps", owner="root"), applier("web", "h", owner="apps"))


def test_a_kick_goes_from_the_owners_source_to_the_object() -> None:
    found = prepare("kick", "Kustomization", "web", *TREE, made("GitRepository", "h"))
    assert order(found) == [["g"], ["apps"], ["h"], ["web"]]
    assert [change.why for change in found.plan.changes] == [
        "is the source of Kustomization a/apps",
        "applies Kustomization a/web",
        "is the source of Kustomization a/web",
        "kick",
    ]
    alone = prepare("kick", "Kustomization", "web", *TREE, made("GitRepository", "h"), scope="object")
    assert order(alone) == [["h"], ["web"]]


def test_a_shared_source_is_kicked_once() -> None:
    assert order(prepare("kick", "Kustomization", "apps", *TREE)) == [["g"], ["root"], ["apps"]]


def test_the_root_that_applies_itself_has_no_owner() -> None:
    itself = applier("flux", owner="flux")
    assert order(prepare("kick", "Kustomization", "flux", itself, made("GitRepository", "g"))) == [["g"], ["flux"]]


def test_what_is_suspended_is_not_kicked() -> None:
    with pytest.raises(Refused) as refused:
        prepare("kick", "Kustomization", "web", made("Kustomization", "web", suspend=True))
    assert refused.value.rule == "flux-suspended"
    above = [made("Kustomization", "apps", suspend=True), made("Kustomization", "web", owner="apps")]
    found = prepare("kick", "Kustomization", "web", *above)
    assert order(found) == [["web"]]
    assert "is suspended and is left alone" in found.plan.warnings[0]


def test_releases_are_forced_and_reset_but_not_their_sources() -> None:
    release = made("HelmRelease", "r", chart={"spec": {"sourceRef": {"kind": "HelmRepository", "name": "oci"}}})
    static = made("HelmRepository", "oci", type="oci")
    found = prepare("kick", "HelmRelease", "r", release, static, force=True, reset=True)
    assert order(found) == [["r"]]
    assert found.plan.changes[0].after == {
        "reconcile.fluxcd.io/requestedAt": "now",
        "reconcile.fluxcd.io/forceAt": "now",
        "reconcile.fluxcd.io/resetAt": "now",
    }


def test_suspension_goes_up_as_far_as_git_says() -> None:
    assert order(prepare("suspend", "Kustomization", "web", *TREE)) == [["apps"], ["web"]]
    held = (applier("root"), applier("apps", owner="root", git=True), applier("web", owner="apps"))
    assert order(prepare("suspend", "Kustomization", "web", *held)) == [["root", "apps"], ["web"]]
    assert order(prepare("resume", "Kustomization", "web", *_asleep(held))) == []
    already = [*TREE[:2], made("Kustomization", "apps", suspend=True), TREE[3]]
    found = prepare("suspend", "Kustomization", "web", *already)
    assert (order(found), found.plan.unchanged) == ([["web"]], 1)


def _asleep(objects: t.Iterable[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    return [{**one, "spec": {**one["spec"], "suspend": False}} for one in objects]


def test_resumption_goes_the_other_way() -> None:
    objects = [{**one, "spec": {**one["spec"], "suspend": True}} for one in TREE]
    objects.append(made("GitRepository", "h", suspend=True))
    found = prepare("resume", "Kustomization", "web", *objects)
    assert order(found) == [["h"], ["web"], ["apps"]]
    with pytest.raises(Refused) as refused:
        prepare("resume", "Kustomization", "web", made("Kustomization", "web", owner="apps", git=True, suspend=True))
    assert refused.value.rule == "flux-suspended-in-git"


def test_what_is_written() -> None:
    memory = Memory(*TREE)
    cluster = wait.Cluster(t.cast(t.Any, memory))
    targets = wait.parse([{"kind": "Kustomization", "namespace": "a", "name": "web"}])
    clock = t.cast(t.Any, type("Still", (), {"now": lambda self: 0.0, "sleep": lambda self, seconds: None})())
    for do, value in (("suspend", True), ("resume", None)):
        made_ = action.prepare(cluster, action.Request(t.cast(t.Any, do), targets))
        action.execute(cluster, made_, rules=None, clock=clock)
        for one in memory.objects:
            one["spec"]["suspend"] = do == "suspend"
        assert {str(body) for _name, body in memory.written} == {str({"spec": {"suspend": value}})}
        memory.written.clear()
    # A Flux that applies itself takes the fields of all managers that begin with ours (--override-manager).
    assert not any(one.startswith(MANAGER) for one in memory.managers)


def test_what_does_not_exist_is_named_before_anything_is_written() -> None:
    with pytest.raises(HackspaceError) as absent:
        prepare("suspend", "Kustomization", "nobody", *TREE)
    assert (absent.value.rule, absent.value.item) == ("flux-absent", "objects[0]")


def test_others_of_an_owner_are_counted() -> None:
    owner = applier("apps")
    ids = ("a_web_kustomize.toolkit.fluxcd.io_Kustomization", "a_x__ConfigMap", "a_y__ConfigMap")
    owner["status"] = {"inventory": {"entries": [{"id": one, "v": "v1"} for one in ids]}}
    found = prepare("suspend", "Kustomization", "web", owner, applier("web", owner="apps"))
    assert action.side_effects(found) == {("Kustomization", "a", "apps"): 2}
