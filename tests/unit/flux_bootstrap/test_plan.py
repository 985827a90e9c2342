# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns Flux, which versions follow which, who loses rights, what is migrated."""

from __future__ import annotations

import base64
import hashlib
import hmac
import typing as t

import pyrage
import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput, Refused
from ansible_collections.hackspace.infra.plugins.module_utils._flux import (
    bootstrap_plan,
    lockdown,
    migrate,
    model,
    owner,
)
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import (
    Discovery,
    Inventory,
    ObjectId,
    Resource,
)

INVENTORY = Inventory("flux", "flux-system")
BY_GIT = {"kustomize.toolkit.fluxcd.io/name": "flux-system", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}


def definition(labels: dict[str, str] | None = None, **annotations: str) -> dict[str, t.Any]:
    labels = {"app.kubernetes.io/version": "v2.9.3", **(labels or {})}
    return {
        "metadata": {"name": "gitrepositories.source.toolkit.fluxcd.io", "labels": labels, "annotations": annotations}
    }


def test_owners() -> None:
    def kind(labels: dict[str, str] | None = None, instances: t.Sequence[dict[str, t.Any]] = ()) -> tuple[str, bool]:
        found = owner.owner_of([definition(labels)], [], list(instances), INVENTORY)
        assert found.version == "2.9.3"
        return found.kind, found.active

    assert owner.owner_of([], [], [], INVENTORY).kind == "none"
    assert kind() == ("plain", False)
    assert kind({INVENTORY.label: "flux"}) == ("ours", False)
    assert kind({INVENTORY.label: "flux", **BY_GIT}) == ("git", True)
    assert kind({"app.kubernetes.io/managed-by": "Helm"}) == ("helm", False)
    assert kind({"app.kubernetes.io/managed-by": "Helm", "helm.toolkit.fluxcd.io/name": "flux"}) == ("helm", True)
    assert kind({"fluxcd.controlplane.io/name": "flux"}) == ("operator", False)
    instance = {"metadata": {"name": "flux", "namespace": "flux-system"}}
    assert kind(None, [instance]) == ("operator", True)
    asleep = {"metadata": {"name": "flux", "annotations": {"fluxcd.controlplane.io/reconcile": "disabled"}}}
    assert kind(None, [asleep]) == ("operator", False)


@pytest.mark.parametrize(
    ("labels", "self_managed", "adopt", "expected"),
    [
        ({INVENTORY.label: "flux"}, False, False, True),
        ({}, False, False, "flux-owner"),
        ({}, False, True, True),
        (BY_GIT, False, True, "flux-owner-active"),
        (BY_GIT, True, False, False),
        (
            {"app.kubernetes.io/managed-by": "Helm", "helm.toolkit.fluxcd.io/name": "x"},
            False,
            True,
            "flux-owner-active",
        ),
    ],
)
def test_who_may_apply(labels: dict[str, str], self_managed: bool, adopt: bool, expected: t.Any) -> None:
    found = owner.owner_of([definition(labels)], [], [], INVENTORY)
    if isinstance(expected, bool):
        assert owner.check_owner(found, self_managed=self_managed, adopt=adopt) is expected
        return
    with pytest.raises(Refused) as caught:
        owner.check_owner(found, self_managed=self_managed, adopt=adopt)
    assert caught.value.rule == expected


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"app.kubernetes.io/managed-by": "Helm"},
        {"app.kubernetes.io/managed-by": "Helm", "helm.toolkit.fluxcd.io/name": "x"},
        {"fluxcd.controlplane.io/name": "flux"},
    ],
)
def test_a_refusal_names_an_option_that_there_is(labels: dict[str, str]) -> None:
    instances = [{"metadata": {"name": "flux"}}] if "fluxcd.controlplane.io/name" in labels else []
    found = owner.owner_of([definition(labels)], [], instances, INVENTORY)
    with pytest.raises(Refused) as caught:
        owner.check_owner(found, self_managed=False, adopt=False)
    assert "adopt: true" in caught.value.fix
    # Helm leaves its labels behind, so that deleting the HelmRelease is not enough.
    assert ("helm.toolkit.fluxcd.io/name" in caught.value.fix) == ("helm.toolkit.fluxcd.io/name" in labels)


def test_a_takeover_that_was_cut_off_is_not_all_ours() -> None:
    done = definition({INVENTORY.label: "flux"})
    controller = {"metadata": {"name": "kustomize-controller", "namespace": "flux-system"}}
    found = owner.owner_of([done], [controller], [], INVENTORY)
    assert (found.kind, found.whole) == ("ours", False)
    assert owner.owner_of([done], [done], [], INVENTORY).whole


def test_there_is_one_flux() -> None:
    def controller(space: str) -> dict[str, t.Any]:
        return {"metadata": {"name": "kustomize-controller", "namespace": space}}

    owner.check_place([], "flux-system")
    owner.check_place([controller("flux-system")], "flux-system")
    with pytest.raises(Refused) as caught:
        owner.check_place([controller("flux-system"), controller("old")], "flux-system")
    assert caught.value.rule == "flux-elsewhere"
    assert "old" in caught.value.message


def test_what_the_cluster_follows_is_never_pruned() -> None:
    group = "kustomize.toolkit.fluxcd.io"
    bootstrap_plan.check_kept([ObjectId("apps", "Deployment", "flux-system", "helm-controller")])
    bootstrap_plan.check_kept([ObjectId("", "Secret", "flux-system", "flux-system")])
    with pytest.raises(Refused) as caught:
        bootstrap_plan.check_kept([ObjectId(group, "Kustomization", "flux-system", "flux-system")])
    assert caught.value.rule == "flux-sync-gone"


def test_objects_are_looked_for_in_the_version_that_is_served() -> None:
    image = "image.toolkit.fluxcd.io"
    served = Resource(image, "v1beta2", "ImagePolicy", "imagepolicies", namespaced=True)
    assert bootstrap_plan.collections(Discovery([served])) == {
        "ImagePolicy": "/apis/image.toolkit.fluxcd.io/v1beta2/imagepolicies"
    }
    assert set(bootstrap_plan.GROUPS) == set(bootstrap_plan.REFERENCES)


@pytest.mark.parametrize(
    ("there", "wanted", "rule"),
    [
        ("2.9.3", "2.9.4", ""),
        ("2.8.6", "2.9.0", ""),
        ("", "2.9.4", ""),
        ("2.9.4", "2.9.3", "flux-downgrade"),
        ("2.7.5", "2.9.4", "flux-skipped-minor"),
        ("2.9.4", "3.0.0", "flux-skipped-minor"),
    ],
)
def test_versions(there: str, wanted: str, rule: str) -> None:
    found = owner.Owner("ours", "us", there)
    if not rule:
        owner.check_version(found, wanted)
        return
    with pytest.raises(Refused) as caught:
        owner.check_version(found, wanted)
    assert caught.value.rule == rule


def test_repointing_is_seen_in_every_field_that_matters() -> None:
    sync = model.Sync.parse({"url": "https://git.example.org/x", "path": "clusters/one/"})
    live = sync.objects("flux-system")
    same = model.Sync.parse({"url": "https://git.example.org/x", "path": "./clusters/one", "interval": "5m"})
    assert owner.check_repoint(live, same.objects("flux-system"), allowed=False) == []
    for change in (
        {"url": "https://git.example.org/y"},
        {"branch": "other"},
        {"path": "./clusters/two"},
        {"tag": "v1"},
    ):
        other = model.Sync.parse({"url": "https://git.example.org/x", "path": "clusters/one", **change})
        with pytest.raises(Refused) as caught:
            owner.check_repoint(live, other.objects("flux-system"), allowed=False)
        assert caught.value.rule == "flux-repoint"
        assert len(owner.check_repoint(live, other.objects("flux-system"), allowed=True)) == 1
        with pytest.raises(Refused) as caught:
            owner.check_repoint(live, other.objects("flux-system"), allowed=True, by_git=True)
        assert "allow_repoint" not in caught.value.fix


def test_a_source_of_another_namespace_is_another_source() -> None:
    wanted = model.Sync.parse({"url": "https://git.example.org/x", "path": "clusters/one"}).objects("flux-system")
    live = model.Sync.parse({"url": "https://git.example.org/x", "path": "clusters/one"}).objects("flux-system")
    live[1]["spec"]["sourceRef"] |= {"namespace": "flux-system", "apiVersion": "source.toolkit.fluxcd.io/v1"}
    assert owner.check_repoint(live, wanted, allowed=False) == []
    live[1]["spec"]["sourceRef"]["namespace"] = "elsewhere"
    with pytest.raises(Refused) as caught:
        owner.check_repoint(live, wanted, allowed=False)
    assert caught.value.rule == "flux-repoint"


def test_losses_are_only_those_of_flags_that_are_missing() -> None:
    far = {
        "kind": "Kustomization",
        "metadata": {"name": "far", "namespace": "apps"},
        "spec": {"sourceRef": {"name": "x", "namespace": "flux-system"}, "kubeConfig": {"secretRef": {"name": "k"}}},
    }
    everything = {(lockdown.KUSTOMIZE, flag) for flag in lockdown.FLAGS[lockdown.KUSTOMIZE]}
    found = bootstrap_plan.losses([far], everything, account="flux")
    assert [one.name for one in found] == ["Kustomization apps/far"] * 2
    assert any("cluster of its kubeconfig" in one.why for one in found)
    only = {(lockdown.KUSTOMIZE, lockdown.CROSS_NAMESPACE)}
    assert len(bootstrap_plan.losses([far], only, account="flux")) == 1
    assert bootstrap_plan.losses([far], set(), account="flux") == []
    assert bootstrap_plan.check_losses(found, {"Kustomization apps/far"}) == found
    with pytest.raises(Refused) as caught:
        bootstrap_plan.check_losses(found, {"Kustomization apps/near"})
    assert caught.value.rule == "flux-lockdown-losses"


def deployment(controller: str, *words: str) -> dict[str, t.Any]:
    container = {"name": "manager", "image": f"ghcr.io/fluxcd/{controller}:v1", "args": list(words)}
    metadata = {"name": controller, "namespace": "flux-system"}
    return {"kind": "Deployment", "metadata": metadata, "spec": {"template": {"spec": {"containers": [container]}}}}


def test_who_acts_as_the_default_account_loses_it_when_it_is_another_one() -> None:
    locked = ["--no-cross-namespace-refs=true", "--no-remote-bases=true"]
    live = [
        deployment(lockdown.KUSTOMIZE, *locked, "--default-service-account=flux"),
        deployment(lockdown.HELM, "--no-cross-namespace-refs=true"),
        deployment(lockdown.SOURCE),
    ]
    assert bootstrap_plan.other_accounts(live, "flux") == {}
    before = bootstrap_plan.other_accounts(live, "tenant")
    assert before == {lockdown.KUSTOMIZE: "flux"}  # helm-controller has none, which is a missing flag
    metadata = {"name": "mine", "namespace": "apps"}
    source = {"sourceRef": {"name": "x"}}
    mine = {"kind": "Kustomization", "metadata": metadata, "spec": source}
    named = {**mine, "spec": {**source, "serviceAccountName": "flux"}}
    chart = {"kind": "HelmRelease", "metadata": metadata, "spec": {}}
    [lost] = bootstrap_plan.losses([mine, named, chart], (), account="tenant", before=before)
    assert lost.name == "Kustomization apps/mine"
    assert lost.why == "names no ServiceAccount, so it will run as tenant and no longer as flux"
    assert "serviceAccountName in Git (flux" in lost.fix


def crd(storage: str, stored: list[str], *versions: str) -> dict[str, t.Any]:
    return {
        "metadata": {"name": "kustomizations.kustomize.toolkit.fluxcd.io"},
        "spec": {
            "group": "kustomize.toolkit.fluxcd.io",
            "names": {"plural": "kustomizations"},
            "versions": [{"name": name, "storage": name == storage} for name in versions],
        },
        "status": {"storedVersions": stored},
    }


def test_migrations() -> None:
    new = [crd("v1", [], "v1")]
    assert migrate.migrations([crd("v1", ["v1"], "v1", "v1beta2")], new) == []
    (one,) = migrate.migrations([crd("v1", ["v1beta2", "v1"], "v1", "v1beta2")], new)
    assert (one.storage, one.stored) == ("v1", ("v1beta2", "v1"))
    assert one.path({"metadata": {"name": "x", "namespace": "y"}}).endswith("/v1/namespaces/y/kustomizations/x")
    with pytest.raises(Refused) as caught:
        migrate.migrations([crd("v1beta2", ["v1beta2"], "v1beta2")], new)
    assert caught.value.rule == "flux-storage"
    old = {"metadata": {"managedFields": [{"apiVersion": "kustomize.toolkit.fluxcd.io/v1beta2"}, {"apiVersion": "v1"}]}}
    assert [x["apiVersion"] for x in migrate.rewritten(old, one)["metadata"]["managedFields"]] == [
        "kustomize.toolkit.fluxcd.io/v1",
        "v1",
    ]
    assert old["metadata"]["managedFields"][0]["apiVersion"].endswith("v1beta2")


def test_hosts_in_all_their_forms() -> None:
    key = base64.b64encode(b"x" * 40).decode()
    salt = b"s" * 20
    digest = hmac.new(salt, b"[git.example.org]:2222", hashlib.sha1).digest()
    hashed = f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()} ssh-rsa {key}"
    model.check_known_hosts(f"# comment\n{hashed}", "git.example.org", 2222)
    model.check_known_hosts(f"other,git.example.org ssh-rsa {key}", "git.example.org", 22)
    model.check_known_hosts(f"*.example.org ssh-rsa {key}", "git.example.org", 22)
    model.check_known_hosts(f"[git.example.org]:2222 ssh-rsa {key}", "git.example.org", 2222)
    with pytest.raises(InvalidInput):
        model.check_known_hosts(f"*.example.org,!git.example.org ssh-rsa {key}", "git.example.org", 22)


def test_age_keys_that_are_whole() -> None:
    keys = [str(pyrage.x25519.Identity.generate()) for number in range(20)]
    assert model.age_secret("# created\n" + "\n".join(keys)) == {"age.agekey": "".join(f"{key}\n" for key in keys)}
