# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused, taken by others or not understood: nothing piles up, and what was done is told."""

from __future__ import annotations

import base64
import json
import typing as t

from .conftest import Proxies, ReviewerSite

ALL = {"prune": True, "prune_max_percent": 100}


def names(site: ReviewerSite, tag: str) -> list[str]:
    return [s["metadata"]["name"] for s in site.bound(tag)]


def test_refused_configuration_leaves_no_secrets(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    """OpenBao says no to each write: each new token is revoked. An answer 500 says nothing, and its token stays."""
    site.apply(site.entry(tag))
    before = names(site, tag)
    openbao = site.openbao(url=proxies.bao.address)
    for _round in range(3):
        proxies.bao.fail(403, method="POST", path=r"/config$")
        result = site.refused("clusters-failed", site.entry(tag), openbao=openbao, renew_below=1.0)
        assert result["failures"][0]["status"] == 403
        assert result["clusters"][0]["reviewer"]["secret"] == before[0]
        assert names(site, tag) == before
    proxies.bao.fail(500, method="POST", path=r"/config$")
    site.refused("clusters-failed", site.entry(tag), openbao=openbao, renew_below=1.0)
    assert len(names(site, tag)) == 2
    site.apply(site.entry(tag))
    assert len(names(site, tag)) == 1


def test_evidence_that_cannot_be_written_leaves_no_secrets(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    address = site.lab.clusters["member-prod"].api_server
    entry = site.entry(tag, kubeconfig=proxies.kubeconfig(), api_server=address)
    proxies.kube["member-prod"].fail(403, method="PATCH", path="/secrets/")
    site.refused("clusters-failed", entry)
    assert names(site, tag) == []
    site.apply(entry)


def test_secret_without_evidence_goes_before_another_is_made(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    site.apply(site.entry(tag))
    [current] = site.bound(tag)
    labels = current["metadata"]["labels"]
    path = f"/api/v1/namespaces/{tag}-auth/secrets"
    site.kube("POST", path, {"metadata": {"name": f"openbao-reviewer-{tag}-7", "labels": labels}})
    proxies.bao.fail(403, method="POST", path=r"/config$")
    openbao = site.openbao(url=proxies.bao.address)
    site.refused("clusters-failed", site.entry(tag), openbao=openbao, renew_below=1.0)
    assert names(site, tag) == [current["metadata"]["name"]]


def test_names_that_somebody_else_has_are_passed_over(site: ReviewerSite, tag: str) -> None:
    site.apply(site.entry(tag))
    path = f"/api/v1/namespaces/{tag}-auth/secrets"
    strangers = [f"openbao-reviewer-{tag}-{number}" for number in (2, 3)]
    for name in strangers:
        site.kube("POST", path, {"metadata": {"name": name}, "stringData": {"who": "else"}})
    uids = [site.kube("GET", f"{path}/{name}")["metadata"]["uid"] for name in strangers]
    result = site.apply(site.entry(tag), renew_below=1.0)
    assert result["clusters"][0]["reviewer"]["secret"] == f"openbao-reviewer-{tag}-4"
    there = [site.kube("GET", f"{path}/{name}")["metadata"] for name in strangers]
    assert [one["uid"] for one in there] == uids
    assert not any("annotations" in one for one in there)
    assert not site.apply(site.entry(tag))["changed"]
    for number in range(5, 15):
        site.kube("POST", path, {"metadata": {"name": f"openbao-reviewer-{tag}-{number}"}})
    result = site.refused("clusters-failed", site.entry(tag), renew_below=1.0)
    assert result["failures"][0]["hop"] == "names-taken"


def test_another_run_at_the_same_time(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    """A Secret of ours that was not there when this run looked."""
    address = site.lab.clusters["member-prod"].api_server
    entry = site.entry(tag, kubeconfig=proxies.kubeconfig(), api_server=address)
    site.apply(entry)
    labels = site.bound(tag)[0]["metadata"]["labels"]
    name = f"openbao-reviewer-{tag}-2"

    def make(_method: str, _path: str) -> None:
        site.kube("POST", f"/api/v1/namespaces/{tag}-auth/secrets", {"metadata": {"name": name, "labels": labels}})

    proxies.kube["member-prod"].call(make, "before", method="POST", path="/secrets$")
    result = site.refused("clusters-failed", entry, renew_below=1.0)
    assert result["failures"][0]["hop"] == "another-run"
    assert name in names(site, tag)


def test_answer_that_nobody_understands_fails_one_cluster(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    odd = site.entry(f"{tag}-odd", kubeconfig=proxies.kubeconfig())
    good = site.entry(f"{tag}-good", "core-infra")
    site.kube("POST", "/api/v1/namespaces", {"metadata": {"name": f"{tag}-odd-auth"}})
    answer = json.dumps({"items": [{"data": "hvs.not-to-be-shown"}]}).encode()
    proxies.kube["member-prod"].change(lambda _body: answer, method="GET", path="/serviceaccounts$")
    result = site.refused("clusters-failed", odd, good)
    [failure] = result["failures"]
    assert (failure["cluster"], failure["hop"]) == (f"{tag}-odd", "defect")
    assert "KeyError at read.py:" in failure["message"]
    assert "hvs." not in json.dumps(result)
    assert "'metadata'" not in failure["message"]
    assert {c["name"]: c["verified"] for c in result["clusters"]}[f"{tag}-good"] is True
    assert site.mount(f"kubernetes-{tag}-good") is not None


def test_prune_that_fails_tells_what_was_done(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    site.apply(site.entry(f"{tag}-gone"))
    proxies.bao.fail(500, method="DELETE", path=rf"/sys/policies/acl/tenant-{tag}-gone$")
    openbao = site.openbao(url=proxies.bao.address)
    result = site.refused("http-status", site.entry(f"{tag}-new"), openbao=openbao, **ALL)
    assert result["changed"] is True
    done = [(c["kind"], c["name"]) for c in result["changes"]]
    assert ("auth mount", f"{tag}-new/kubernetes-{tag}-new") in done
    assert ("auth mount", f"kubernetes-{tag}-gone") in done
    assert ("OpenBao policy", f"tenant-{tag}-gone") not in done
    assert result["clusters"][0]["verified"] is True


# -- the API server's own audience -------------------------------------------------------------------------------------


def with_audience(audience: str) -> t.Callable[[bytes], bytes]:
    """Return what lets a TokenRequest's answer be that of an API server with --api-audiences=<audience>."""

    def change(body: bytes) -> bytes:
        answer = json.loads(body)
        head, payload, signature = answer["status"]["token"].split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        claims["aud"] = [audience]
        text = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
        answer["status"]["token"] = f"{head}.{text}.{signature}"
        return json.dumps(answer).encode()

    return change


OWN = r"/namespaces/default/serviceaccounts/default/token$"


def test_own_audience_is_found_before_anything_is_written(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    member = proxies.kube["member-prod"]
    address = site.lab.clusters["member-prod"].api_server
    entry = site.entry(tag, kubeconfig=proxies.kubeconfig(), api_server=address, audience=f"{tag}-api")
    member.change(with_audience(f"{tag}-api"), method="POST", path=OWN)
    site.refused("audience-of-api-server", entry, site.entry(f"{tag}-good", "core-infra"))
    assert site.mount(f"kubernetes-{tag}") is None
    assert site.mount(f"kubernetes-{tag}-good") is None
    assert site.kube("GET", f"/api/v1/namespaces/{tag}-auth") is None
    assert {r.method for r in member.requests() if not r.path.endswith("/default/token")} == {"GET"}
    # who may not ask is told later
    for status in (403, 404):
        member.fail(status, method="POST", path=OWN)
        site.apply(entry, verify="never", renew_below=1.0)


def test_own_audience_of_a_wired_cluster(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    """By what was noted with the token, in check mode too; what the API server says now counts more."""
    member = proxies.kube["member-prod"]
    address = site.lab.clusters["member-prod"].api_server
    entry = site.entry(tag, kubeconfig=proxies.kubeconfig(), api_server=address)
    changed = {**entry, "audience": f"{tag}-api"}
    site.apply(entry)
    assert json.loads(site.evidence(tag)["audiences"]) == [site.lab.clusters["member-prod"].issuer]
    [bound] = site.bound(tag)
    path = f"/api/v1/namespaces/{tag}-auth/secrets/{bound['metadata']['name']}"

    def note(value: str | None) -> None:
        annotations = {"infra.hackspace.org/reviewer-audiences": value}
        patch = {"metadata": {"annotations": annotations}}
        site.kube("PATCH", path, patch, content_type="application/merge-patch+json")

    note(json.dumps([f"{tag}-api"]))
    proxies.clear()
    site.refused("audience-of-api-server", changed, check=True)
    assert {r.method for r in member.requests()} == {"GET"}
    member.change(with_audience(f"{tag}-api"), method="POST", path=OWN)
    site.refused("audience-of-api-server", changed)
    # an earlier version noted nothing: that is no reason for a new token, and the API server is asked when need be
    note(None)
    proxies.clear()
    assert not site.apply(entry)["changed"]
    assert not member.requests(path=OWN)
    member.change(with_audience(f"{tag}-api"), method="POST", path=OWN)
    site.refused("audience-of-api-server", changed)
    assert (site.data(f"auth/kubernetes-{tag}/role/tenant") or {})["audience"] == f"openbao-{tag}"
    # it was its own once, and is not any more
    note(json.dumps([f"{tag}-api"]))
    done = site.apply(changed)
    assert done["clusters"][0]["verified"] is True
    assert (site.data(f"auth/kubernetes-{tag}/role/tenant") or {})["audience"] == f"{tag}-api"
