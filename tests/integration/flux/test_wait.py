# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""flux_wait on Flux's real controllers."""

from __future__ import annotations

import time
import typing as t

import pytest
import yaml

from .conftest import Site, Tenant, config, files

Spoil = t.Callable[[Tenant], None]


def waited(tenant: Tenant, **args: t.Any) -> dict[str, t.Any]:
    """Wait for both objects; it must fail well before the time is up."""
    begin = time.monotonic()
    objects = [tenant.key("GitRepository"), tenant.key("Kustomization")]
    result = tenant.site.refused("flux_wait", objects=objects, timeout=240, fail_fast=False, **args)
    assert time.monotonic() - begin < 200
    return result


def test_ready_is_of_this_generation_and_revision(site: Site) -> None:
    tenant = site.tenant()
    tenant.source()
    tenant.kustomization()
    first = tenant.settled()
    assert [one["state"] for one in first["objects"]] == ["ready", "ready"]
    assert {one["revision"] for one in first["objects"]} == {tenant.repository.revision()}
    # Nothing looks at the repository for an hour: the old revision is ready, the new one is waited for.
    new = tenant.repository.commit(files(config(a="2")))
    late = site.refused("flux_wait", objects=[{**tenant.key("Kustomization"), "revision": new}], timeout=1)
    assert late["error"]["rule"] == "flux-timeout"
    assert new in late["objects"][0]["message"]
    # Ready=True of the generation before does not count: this one can never be applied.
    before = tenant.live()["metadata"]["generation"]
    tenant.kustomization(path="./nowhere")
    failed = site.refused("flux_wait", objects=[tenant.key("Kustomization")], timeout=180)
    assert failed["error"]["rule"] == "flux-failed"
    assert failed["objects"][0]["hint_rule"] == "path"
    assert tenant.live()["metadata"]["generation"] > before
    # And mended: the failure of the generation before does not count either.
    tenant.kustomization()
    assert site.apply("flux_wait", objects=[tenant.key("Kustomization")], timeout=180)["ready"]


def bad_path(tenant: Tenant) -> None:
    tenant.kustomization(path="./nowhere")


def no_account(tenant: Tenant) -> None:
    tenant.kustomization(serviceAccountName="nobody")


def no_rights(tenant: Tenant) -> None:
    tenant.site.kube("POST", f"/api/v1/namespaces/{tenant.name}/serviceaccounts", {"metadata": {"name": "weak"}})
    tenant.kustomization(serviceAccountName="weak")


def remote_base(tenant: Tenant) -> None:
    other = tenant.site.lab.git.repository("base", files(config("remote"), folder="x"))
    base: dict[str, t.Any] = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    base["resources"] = [f"{other.http_url}//x?ref=main"]
    tenant.repository.commit({"deploy/kustomization.yaml": yaml.safe_dump(base)})
    tenant.kustomization()


def foreign_source(tenant: Tenant) -> None:
    tenant.kustomization(sourceRef={"kind": "GitRepository", "name": "flux-system", "namespace": "flux-system"})


def missing_source(tenant: Tenant) -> None:
    tenant.kustomization(sourceRef={"kind": "GitRepository", "name": "nowhere"})


def broken_yaml(tenant: Tenant) -> None:
    tenant.repository.commit({"deploy/broken.yaml": "kind: [\n"})
    tenant.kustomization()


def unknown_kind(tenant: Tenant) -> None:
    tenant.repository.commit(files({"apiVersion": "example.org/v1", "kind": "Nothing", "metadata": {"name": "x"}}))
    tenant.kustomization()


def no_value(tenant: Tenant) -> None:
    tenant.repository.commit(files(config(a="${NOT_GIVEN}")))
    tenant.kustomization(postBuild={"substitute": {"other": "x"}})


def no_namespace(tenant: Tenant) -> None:
    tenant.kustomization(targetNamespace="nowhere-at-all", serviceAccountName="flux")


def no_key(tenant: Tenant) -> None:
    sops = {"sops": {"age": [{"recipient": "age1x", "enc": "x"}], "mac": "ENC[x]", "version": "3.9.0"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "ENC[x]"}, **sops}
    tenant.repository.commit(files(secret))
    tenant.kustomization(decryption={"provider": "sops"})


@pytest.mark.parametrize(
    ("spoil", "reason", "rule"),
    [
        (bad_path, "ArtifactFailed", "path"),
        (no_account, "ReconciliationFailed", "missing-account"),
        (no_rights, "ReconciliationFailed", "forbidden"),
        (remote_base, "BuildFailed", "remote-base"),
        (foreign_source, "AccessDenied", "cross-namespace"),
        (missing_source, "ArtifactFailed", "source-missing"),
        (broken_yaml, "BuildFailed", "invalid-manifest"),
        (unknown_kind, "ReconciliationFailed", "unknown-kind"),
        (no_value, "BuildFailed", "substitution"),
        (no_key, "BuildFailed", "decryption"),
        (no_namespace, "ReconciliationFailed", "namespace"),
    ],
)
def test_a_kustomization_that_fails_is_explained(site: Site, spoil: Spoil, reason: str, rule: str) -> None:
    tenant = site.tenant()
    spoil(tenant)
    tenant.source()
    result = waited(tenant)
    source, applier = result["objects"]
    assert source["state"] == "ready"
    assert (applier["state"], applier["hint_rule"]) == ("failed", rule), applier
    assert applier["reason"] == reason


def closed_port(tenant: Tenant) -> None:
    tenant.source(url="http://127.0.0.1:9/x.git")


def failing_server(tenant: Tenant) -> None:
    tenant.site.lab.git.fail(503, repository=tenant.name)
    tenant.source()


def no_branch(tenant: Tenant) -> None:
    tenant.source(ref={"branch": "nowhere"})


def no_repository(tenant: Tenant) -> None:
    tenant.source(url=tenant.repository.http_url.replace(tenant.name, "nowhere"))


def unknown_authority(tenant: Tenant) -> None:
    tenant.source(url=tenant.repository.url)


def no_login(tenant: Tenant) -> None:
    site = tenant.site
    site.lab.git.repository(tenant.name, public=False)
    secret = {"metadata": {"name": "git"}, "stringData": {"ca.crt": site.lab.git.ca.read_text()}}
    site.kube("POST", f"/api/v1/namespaces/{tenant.name}/secrets", secret)
    tenant.source(url=tenant.repository.url, secretRef={"name": "git"})


def no_secret(tenant: Tenant) -> None:
    tenant.source(secretRef={"name": "nowhere"})


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (closed_port, "unreachable"),
        (failing_server, "unreachable"),
        (no_branch, "ref"),
        (no_repository, "repository"),
        (unknown_authority, "tls"),
        (no_login, "git-login"),
        (no_secret, "source-secret"),
    ],
)
def test_a_source_that_fails_takes_its_kustomization_with_it(site: Site, spoil: Spoil, rule: str) -> None:
    tenant = site.tenant()
    try:
        spoil(tenant)
        tenant.kustomization()
        result = waited(tenant)
    finally:
        site.lab.git.heal()
    source, applier = result["objects"]
    assert (source["state"], source["hint_rule"]) == ("failed", rule), source
    assert (applier["state"], applier["hint_rule"]) == ("failed", rule), applier
    assert applier["because"].startswith(f"GitRepository {tenant.name}/{tenant.name}: ")


def test_a_dependency_that_fails_is_named_and_a_late_one_is_waited_for(site: Site) -> None:
    tenant = site.tenant()
    tenant.source()
    tenant.kustomization("first", path="./nowhere")
    tenant.kustomization("second", dependsOn=[{"name": "first"}])
    result = site.refused("flux_wait", objects=[tenant.key("Kustomization", "second")], timeout=180)
    assert result["objects"][0]["because"].startswith(
        f"Kustomization {tenant.name}/first: kustomization path not found"
    )
    assert result["objects"][0]["hint_rule"] == "path"
    tenant.kustomization("first")
    # Its own last attempt was refused; it is tried again when the first is ready.
    assert site.apply("flux_wait", objects=[tenant.key("Kustomization", "second")], timeout=180)["ready"]


def test_a_platform_object_that_names_no_account_is_told_which(site: Site) -> None:
    """In flux-system, where the tenants' account does not exist and should not."""
    tenant = Tenant(site, "flux-system", site.lab.git.repository("platform", files(config())))
    try:
        tenant.source()
        tenant.kustomization()
        result = waited(tenant)
        assert result["objects"][1]["hint_rule"] == "platform-account"
        assert "serviceAccountName: kustomize-controller" in result["error"]["fix"]
        tenant.kustomization(serviceAccountName="kustomize-controller")
        assert tenant.settled()["ready"]
    finally:
        for kind in ("Kustomization", "GitRepository"):
            site.kube("DELETE", tenant.path(kind))


def refusals(tenant: Tenant) -> bool:
    """Whether a ReplicaSet could not make its pods."""
    found = tenant.site.kube("GET", f"/api/v1/namespaces/{tenant.name}/events")["items"]
    return any("exceeded quota" in one.get("message", "") for one in found)


def test_health_says_which_part_and_why(site: Site) -> None:
    container = {"name": "a", "image": "example.invalid/a"}
    web = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    }
    tenant = site.tenant(web, config())
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    site.kube("POST", f"/api/v1/namespaces/{tenant.name}/resourcequotas", quota)
    tenant.source()
    tenant.kustomization(wait=True)
    # Flux itself gives up after half a minute at the earliest.
    site.until("the pods are refused", lambda: refusals(tenant))
    result = site.refused("flux_wait", objects=[tenant.key("Kustomization")], timeout=1)
    [one] = result["objects"]
    assert (result["error"]["rule"], one["state"]) == ("flux-timeout", "waiting")
    assert [part["object"] for part in one["failing"]] == [f"Deployment {tenant.name}/web"]
    assert any("exceeded quota" in event for event in one["events"])
    assert one["hint_rule"] == "quota"


def test_many_are_read_by_lists_and_suspended_ones_refused(site: Site) -> None:
    tenants = [site.tenant() for _number in range(3)]
    for tenant in tenants:
        tenant.source()
        tenant.kustomization(labels={"set": tenants[0].name})
    site.apply("flux_wait", objects=[one.key("Kustomization") for one in tenants], timeout=180)
    mark = site.mark()
    objects = [tenant.key(kind) for tenant in tenants for kind in ("GitRepository", "Kustomization")]
    result = site.apply("flux_wait", objects=objects, timeout=180)
    assert (len(result["objects"]), result["looks"]) == (6, 1)
    # Two for what the cluster serves, and one for each kind.
    assert len(site.asked(mark)) == result["requests"] == 4
    selector = [{"kind": "Kustomization", "label_selector": f"set={tenants[0].name}"}]
    assert len(site.apply("flux_wait", objects=selector, timeout=180)["objects"]) == 3
    tenants[1].kustomization(labels={"set": tenants[0].name}, suspend=True)
    refused = site.refused("flux_wait", objects=selector, timeout=180)
    assert refused["error"]["rule"] == "flux-suspended"
    assert refused["suspended"] == [f"Kustomization {tenants[1].name}/{tenants[1].name}"]
    missing = site.refused("flux_wait", objects=[{"kind": "Kustomization", "label_selector": "a=b"}], timeout=0)
    assert (missing["error"]["rule"], missing["objects"][0]["state"]) == ("flux-timeout", "absent")
    unserved = site.refused("flux_wait", objects=[{"kind": "HelmRelease"}], timeout=0)
    assert unserved["error"]["rule"] == "flux-kind-missing"


def test_no_remote_bases_does_not_stop_files_by_http(site: Site) -> None:
    """Known of kustomize-controller 1.9: the flag stops remote folders, and fetches remote files all the same."""
    tenant = site.tenant()
    raw = f"{site.lab.git.http_url}/{tenant.name}.git/HEAD"
    base = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [raw]}
    tenant.repository.commit({"deploy/kustomization.yaml": yaml.safe_dump(base)})
    tenant.source()
    tenant.kustomization()
    site.lab.git.clear_requests()
    waited(tenant)
    assert site.lab.git.requests(f"{tenant.name}.git/HEAD$")
