# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""flux_action on Flux's real controllers: a parent that applies a Kustomization of its own namespace from Git."""

from __future__ import annotations

import typing as t

import pytest

from .conftest import Site, Tenant, config, files


def child(tenant: Tenant, **spec: t.Any) -> dict[str, t.Any]:
    """The Kustomization 'child' as the parent's repository has it."""
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "child", "namespace": tenant.name},
        "spec": {
            "interval": "1h",
            "retryInterval": "1h",
            "prune": True,
            "path": "./child",
            "sourceRef": {"kind": "GitRepository", "name": tenant.name},
            "targetNamespace": tenant.name,
            **spec,
        },
    }


@pytest.fixture
def family(site: Site) -> Tenant:
    """A parent and its child, both ready."""
    tenant = site.tenant()
    grow(tenant)
    tenant.source()
    tenant.kustomization()
    tenant.settled()
    site.apply("flux_wait", objects=[tenant.key("Kustomization", "child")], timeout=180)
    return tenant


def grow(tenant: Tenant, value: str = "1", **spec: t.Any) -> str:
    """Push a state of the parent's and the child's folders."""
    content = {**files(child(tenant, **spec)), **files(config("by-child", a=value), folder="child")}
    return tenant.repository.commit(content, replace=True)


def suspended(tenant: Tenant) -> tuple[bool, bool]:
    """Whether parent and child are suspended."""
    return tuple(bool(tenant.live(name=name)["spec"].get("suspend")) for name in ("", "child"))  # type: ignore[return-value]


def act(tenant: Tenant, action: str, name: str = "child", **args: t.Any) -> dict[str, t.Any]:
    return tenant.site.apply("flux_action", action=action, objects=[tenant.key("Kustomization", name)], **args)


def test_a_kick_brings_what_was_pushed_through_the_parent(family: Tenant) -> None:
    site = family.site
    new = grow(family, "2")
    planned = act(family, "kick", check=True)
    wanted = [
        ("GitRepository", family.name),
        ("Kustomization", family.name),
        ("Kustomization", "child"),
    ]
    assert [(one["kind"], one["name"].partition("/")[2]) for one in planned["changes"]] == wanted
    assert family.live("GitRepository")["status"]["artifact"]["revision"] != f"main@sha1:{new}"
    done = act(family, "kick")
    assert [one["kind"] for one in done["changes"]] == [kind for kind, _name in wanted]
    made = site.kube("GET", f"/api/v1/namespaces/{family.name}/configmaps/by-child")
    assert made["data"] == {"a": "2"}
    for kind, name in wanted:
        assert family.live(kind, name)["status"]["lastHandledReconcileAt"] == done["token"]
    objects = [{**family.key("Kustomization", "child"), "revision": new, "token": done["token"]}]
    assert site.apply("flux_wait", objects=objects, timeout=0)["looks"] == 1


def test_a_kick_that_fails_says_why(family: Tenant) -> None:
    grow(family, path="./gone")
    objects = [family.key("Kustomization", "child")]
    failed = family.site.refused("flux_action", action="kick", objects=objects, timeout=180)
    assert failed["error"]["rule"] == "flux-failed"
    assert failed["objects"][0]["hint_rule"] == "path"
    assert failed["objects"][0]["name"] == "child"


def test_suspend_and_resume_by_the_parent(family: Tenant) -> None:
    assert act(family, "suspend", check=True)["changed"]
    assert suspended(family) == (False, False)
    done = act(family, "suspend")
    assert [one["name"] for one in done["changes"]] == [f"{family.name}/{family.name}", f"{family.name}/child"]
    assert suspended(family) == (True, True)
    assert done["diff"][1]["after"] == {"suspend": True}
    again = act(family, "suspend")
    assert (again["changed"], again["unchanged"]) == (False, 2)
    # What is suspended is neither waited for nor kicked.
    for name, args in (("flux_wait", {}), ("flux_action", {"action": "kick"})):
        refused = family.site.refused(name, objects=[family.key("Kustomization", "child")], **args)
        assert refused["error"]["rule"] == "flux-suspended"
    new = grow(family, "3")
    back = act(family, "resume")
    assert [one["name"] for one in back["changes"]] == [f"{family.name}/child", f"{family.name}/{family.name}"]
    assert suspended(family) == (False, False)
    assert not act(family, "resume")["changed"]
    act(family, "kick")
    assert family.live(name="child")["status"]["lastAppliedRevision"] == f"main@sha1:{new}"


def test_what_git_says_comes_back_with_the_parent(family: Tenant) -> None:
    """Without spec.suspend in Git the parent leaves it alone; with it, it does not."""
    alone = act(family, "suspend", scope="object")
    assert not alone.get("warnings")
    act(family, "kick", "")
    assert suspended(family) == (False, True)
    act(family, "resume", scope="object")
    grow(family, suspend=False)
    act(family, "kick")
    warned = act(family, "suspend", scope="object")
    assert "the next attempt of that one resumes it" in str(warned["warnings"])
    act(family, "kick", "")
    assert suspended(family) == (False, False)
    grow(family, suspend=True)
    act(family, "kick", "")
    assert suspended(family) == (False, True)
    refused = family.site.refused("flux_action", action="resume", objects=[family.key("Kustomization", "child")])
    assert refused["error"]["rule"] == "flux-suspended-in-git"


def test_nothing_is_written_when_one_is_missing(family: Tenant) -> None:
    objects = [family.key("Kustomization", "child"), family.key("Kustomization", "nobody")]
    refused = family.site.refused("flux_action", action="suspend", objects=objects)
    assert refused["error"]["rule"] == "flux-absent"
    assert refused["error"]["item"] == "objects[1]"
    assert suspended(family) == (False, False)
