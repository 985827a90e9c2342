# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The namespace tiers with the real controllers of Kyverno, and from one backend to the other."""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.integration.tiers_apply.conftest import ADMISSION, CLUSTER, NATIVE, Site

KYVERNO: dict[str, t.Any] = {"limits": "kyverno", "pods": "kyverno", "guards": "kyverno", "kyverno_version": "1.19.1"}
POLICIES = "/apis/policies.kyverno.io/v1"
CEL = ("generatingpolicies", "mutatingpolicies", "validatingpolicies")
BOTH = (["tier-defaults"], ["tier-quota"])


def kyverno(site: Site, **args: t.Any) -> dict[str, t.Any]:
    return site.apply(**{**KYVERNO, **args})


def injected(site: Site, namespace: str) -> bool:
    """Say whether pods get class, ndots and no CPU limit, and a class above the namespace tier is refused."""
    made = site.pod(namespace, "probe")
    if made.status != 201:
        return False
    spec = made.body["spec"]
    site.ask("DELETE", f"/api/v1/namespaces/{namespace}/pods/probe?gracePeriodSeconds=0")
    site.until(lambda: site.get(f"/api/v1/namespaces/{namespace}/pods/probe") is None)
    options = (spec.get("dnsConfig") or {}).get("options") or []
    return (
        spec.get("priorityClassName") == "tier-4-aux"
        and any(one["name"] == "ndots" for one in options)
        and "cpu" not in spec["containers"][0]["resources"]["limits"]
        and site.pod(namespace, "grabby", priorityClassName="tier-0-core").status in (400, 403, 422)
    )


def test_generated_in_force_and_requests_do_not_grow(site: Site) -> None:
    wiki = site.ready(site.namespace("4-aux-wiki"))
    done = site.call("namespace_tiers", table={"base": "default"})
    assert not done.get("failed"), done["msg"]
    assert done["backends"] == {"limits": "kyverno", "pods": "kyverno", "guards": "kyverno"}
    for kind in CEL:
        assert all(one["status"]["conditionStatus"]["ready"] for one in site.items(f"{POLICIES}/{kind}"))
    assert any("while Kyverno is down, objects pass unchanged" in one for one in done["warnings"])
    assert any("the version of Kyverno is not known" in one for one in done["warnings"])
    assert site.until(lambda: site.limits(wiki) == BOTH)
    assert site.until(lambda: injected(site, wiki))
    few = kyverno(site)
    assert not few["changed"]
    assert {one["failure_policy"] for one in few["webhooks"] if "mpol" in one["webhook"]} == {"Ignore"}
    later = [site.namespace(f"3-edge-n{number}") for number in range(8)]
    assert site.until(lambda: all(site.limits(one) == BOTH for one in later))
    mark = site.mark()
    many = kyverno(site)
    asked = site.asked(mark)
    assert not many["changed"]
    assert many["requests"] == few["requests"] == len(asked)
    assert not any(uri.startswith("/api/v1/namespaces?") for _verb, uri in asked)
    assert site.writes(mark) == []


def test_from_static_to_kyverno_and_back(site: Site) -> None:
    wiki = site.ready(site.namespace("4-aux-wiki"))
    dns = site.namespace("0-core-dns")
    site.apply()
    there = kyverno(site, prune=True)
    deleted = [one["kind"] for one in there["changes"] if one["action"] == "delete"]
    assert len(deleted) == 6
    assert set(deleted) <= {
        f"{kind}AdmissionPolicy{end}" for kind in ("Mutating", "Validating") for end in ("", "Binding")
    }
    kinds = [one["kind"] for one in there["changes"]]
    assert max(kinds.index(one) for one in ("GeneratingPolicy", "MutatingPolicy")) < kinds.index(deleted[0])
    assert site.labels("resourcequotas", wiki)[0]["generate.kyverno.io/policy-name"] == "tier-quota"
    assert site.until(lambda: injected(site, wiki))
    # Kyverno keeps what it was handed: what is changed by hand comes back.
    patch = {"spec": {"hard": {"pods": "7"}}}
    quota = f"/api/v1/namespaces/{wiki}/resourcequotas/tier-quota"
    site.ask("PATCH", quota, patch, "application/merge-patch+json")
    assert site.until(lambda: site.get(quota)["spec"]["hard"]["pods"] == "20", 30)
    assert not kyverno(site, prune=True)["changed"]
    assert site.until(lambda: site.limits(wiki) == site.limits(dns) == BOTH, 30)

    # Without pruning, Kyverno goes on keeping the limits; native policies come beside its own.
    kept = site.apply()
    assert len(kept["stale"]) == 9
    assert any("limit(s) stay Kyverno's" in one for one in kept["warnings"])
    assert not site.apply()["changed"]
    before = {one: site.uids(one) for one in (wiki, dns)}
    back = site.apply(prune=True)
    assert {one["kind"] for one in back["changes"] if one["action"] == "delete"} == {
        "GeneratingPolicy",
        "MutatingPolicy",
        "ValidatingPolicy",
        "ClusterRole",
    }
    assert all(site.items(f"{POLICIES}/{kind}") == [] for kind in CEL)
    for one in (wiki, dns):
        for kind in ("limitranges", "resourcequotas"):
            assert not any(key.startswith("generate.") for key in site.labels(kind, one)[0])
    # The same ones all the time, and Kyverno does not come back to them.
    assert {one: site.uids(one) for one in (wiki, dns)} == before
    assert site.until(lambda: injected(site, wiki))
    # More than one pass of Kyverno in the lab (15 s).
    assert not site.until(lambda: {one: site.uids(one) for one in (wiki, dns)} != before, 17)
    assert not site.apply(prune=True)["changed"]
    patch = {"spec": {"hard": {"pods": "7"}}}
    site.ask("PATCH", quota, patch, "application/merge-patch+json")
    assert not site.until(lambda: site.get(quota)["spec"]["hard"]["pods"] != "7", 3)


def test_cut_off_between_the_new_backend_and_the_old_one(site: Site) -> None:
    wiki = site.ready(site.namespace("4-aux-wiki"))
    site.apply()
    with site.lab.proxy(CLUSTER) as proxy:
        proxy.fail(500, 9, method="DELETE")
        broken = site.call(
            "namespace_tiers", table={"base": "default"}, **KYVERNO, prune=True, kubeconfig=str(proxy.kubeconfig)
        )
    assert broken["failed"]
    # Both guard now; nobody is left without.
    assert len(site.items(f"{POLICIES}/validatingpolicies")) == 3
    assert site.get(f"{ADMISSION}/validatingadmissionpolicybindings/tier-priority-allowed")
    assert site.until(lambda: injected(site, wiki))
    kyverno(site, prune=True)
    assert site.get(f"{ADMISSION}/validatingadmissionpolicybindings/tier-priority-allowed") is None
    assert site.until(lambda: site.limits(wiki) == BOTH, 30)
    assert not kyverno(site, prune=True)["changed"]


def test_the_glass_of_kyverno(site: Site) -> None:
    wiki = site.ready(site.namespace("4-aux-wiki"))
    kyverno(site)
    assert site.until(lambda: injected(site, wiki))

    def allowed() -> bool:
        made = site.pod(wiki, "grabby", priorityClassName="tier-0-core")
        if made.status == 201:
            site.ask("DELETE", f"/api/v1/namespaces/{wiki}/pods/grabby?gracePeriodSeconds=0")
            site.until(lambda: site.get(f"/api/v1/namespaces/{wiki}/pods/grabby") is None)
        return bool(made.status == 201)

    assert not allowed()
    opened = site.call("namespace_tiers_break_glass", state="open", reason="restore", hours=2, namespaces=[wiki])
    assert [one["what"] for one in opened["open"]] == ["PolicyException kyverno/namespace-tiers-break-glass"]
    assert opened["open"][0]["reason"] == "restore"
    assert opened["open"][0]["until"] > opened["open"][0]["since"]
    assert site.until(allowed)
    told = kyverno(site)
    assert not told["changed"]
    assert any("the glass is broken: PolicyException" in one for one in told["warnings"])
    closed = site.call("namespace_tiers_break_glass", state="closed")
    assert closed["open"] == []
    assert site.until(lambda: not allowed())


def test_webhooks_pass_while_kyverno_is_down_and_come_back(site: Site) -> None:
    configuration = f"{ADMISSION}/validatingwebhookconfigurations/kyverno-policy-validating-webhook-cfg"
    kyverno(site)
    policy = site.get(f"{POLICIES}/validatingpolicies/tier-label-guard")

    def possible() -> bool:
        """Say whether a policy can be changed, which Kyverno's webhook wants to see."""
        patch = {"spec": {"validationActions": ["Audit"]}}
        path = f"{POLICIES}/validatingpolicies/tier-label-guard?dryRun=All"
        return bool(site.answer("PATCH", path, patch, "application/merge-patch+json").status == 200)

    assert policy
    site.lab.stop("core-infra-kyverno", kill=True)
    try:
        assert not possible()
        before = site.get(configuration)["webhooks"]
        opened = site.call("namespace_tiers_break_glass", state="open", reason="Kyverno is down", what=["webhooks"])
        assert "ValidatingWebhookConfiguration kyverno-policy-validating-webhook-cfg" in {
            one["what"] for one in opened["open"]
        }
        assert any("only while it is down" in one for one in opened["warnings"])
        assert site.until(possible)
        again = site.call("namespace_tiers_break_glass", state="open", reason="again", what=["webhooks"])
        assert not again["changed"]
        closed = site.call("namespace_tiers_break_glass", state="closed")
        assert closed["open"] == []
        live = site.get(configuration)
        assert live["webhooks"] == before
        assert "infra.hackspace.org/break-glass" not in live["metadata"].get("annotations", {})
        assert site.until(lambda: not possible())
    finally:
        site.lab.start("core-infra-kyverno")


def test_a_cluster_without_kyverno(site: Site) -> None:
    def without(body: bytes) -> bytes:
        documents = json.loads(body)
        documents["items"] = [one for one in documents["items"] if "kyverno" not in one["metadata"].get("name", "")]
        return json.dumps(documents).encode()

    with site.lab.proxy(CLUSTER) as proxy:
        proxy.change(without, path="/apis$")
        table = {"base": "default"}
        chosen = site.call("namespace_tiers", check=True, table=table, kubeconfig=str(proxy.kubeconfig))
        assert not chosen.get("failed"), chosen["msg"]
        assert chosen["backends"] == NATIVE
        proxy.change(without, path="/apis$")
        asked = site.call("namespace_tiers", check=True, table=table, **KYVERNO, kubeconfig=str(proxy.kubeconfig))
    assert asked["error"]["rule"] == "kyverno-missing"


@pytest.mark.parametrize("version", ["1.16.4", "1.19.0"])
def test_versions_of_kyverno_that_are_too_old(site: Site, version: str) -> None:
    refused = site.refused(None, **{**KYVERNO, "kyverno_version": version, "strict": True})
    rules = {one["id"] for one in refused["findings"]}
    assert "sync-too-early" in rules
    assert ("kyverno-too-old" in rules) == (version == "1.16.4")
