# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters that change under their users: another CA, another issuer, a clock that seems to be wrong."""

from __future__ import annotations

import base64
import email.utils
import json
import ssl
import time
import urllib.request
from typing import Any

import pytest

from lab.api import Lab
from lab.errors import LabError
from lab.proxy import Rule
from lab.rest import Server

WHERE = "member-prod"
TOKEN = "/api/v1/namespaces/default/serviceaccounts/default/token"


def mint(server: Server) -> dict[str, Any]:
    """Return the claims of a new token of the default ServiceAccount, and the token itself."""
    answer = server.request("POST", TOKEN, {"spec": {"expirationSeconds": 600}})
    assert answer.status == 201, answer
    token = answer.body["status"]["token"]
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return {**claims, "token": token}


def test_another_ca(lab: Lab) -> None:
    kept = mint(lab.kube_server(WHERE))
    other = lab.clusters["core-infra"].ca_file.read_bytes()
    before = lab.rotate_ca(WHERE)
    cluster = lab.clusters[WHERE]
    assert before.read_bytes() != cluster.ca_file.read_bytes()
    with pytest.raises(ssl.SSLCertVerificationError):
        Server(cluster.api_server, before).request("GET", "/version")
    assert Server(cluster.api_server, cluster.ca_file).request("GET", "/version").status == 401
    shown = cluster.kubeconfig.read_text()
    assert base64.b64encode(cluster.ca_file.read_bytes()).decode() in shown
    review = {"spec": {"token": kept["token"]}}
    answer = lab.kube_server(WHERE).request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert answer.body["status"]["authenticated"] is True, "tokens are not touched by it"
    assert {line.state for line in lab.status() if line.component == WHERE} == {"ready"}
    assert lab.clusters["core-infra"].ca_file.read_bytes() == other


def test_another_issuer_and_back(lab: Lab) -> None:
    first = lab.clusters[WHERE].issuer
    kept = mint(lab.kube_server(WHERE))
    assert kept["iss"] == first
    lab.set_issuer(WHERE, "https://renamed.lab.internal:6443")
    try:
        assert lab.clusters[WHERE].issuer == "https://renamed.lab.internal:6443"
        fresh = mint(lab.kube_server(WHERE))
        assert fresh["iss"] == "https://renamed.lab.internal:6443"
        assert fresh["aud"] == ["https://renamed.lab.internal:6443"]
        review = {"spec": {"token": kept["token"]}}
        answer = lab.kube_server(WHERE).request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
        assert not answer.body["status"].get("authenticated"), "tokens of the old issuer are refused"
    finally:
        lab.set_issuer(WHERE)
    assert lab.clusters[WHERE].issuer == first
    assert mint(lab.kube_server(WHERE))["iss"] == first


def test_names_are_checked(lab: Lab) -> None:
    for change in (lab.rotate_ca, lab.set_issuer):
        with pytest.raises(LabError, match="unknown 'nowhere'"):
            change("nowhere")


def test_proxy_changes_bodies_and_dates(lab: Lab) -> None:
    cluster = lab.clusters[WHERE]
    context = ssl.create_default_context(cafile=str(cluster.ca_file))

    def ask(address: str) -> tuple[dict[str, Any], float]:
        bearer = {"Authorization": f"Bearer {cluster.token_file.read_text().strip()}"}
        request = urllib.request.Request(f"{address}/version", headers=bearer)  # noqa: S310 (https, built here)
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:  # noqa: S310
            body: dict[str, Any] = json.load(answer)
            return body, email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()

    with lab.proxy(WHERE) as proxy:
        plain, ahead = ask(proxy.address)
        assert abs(ahead) < 5
        assert plain["major"] != "99"
        proxy.date(600)
        proxy.change(lambda body: json.dumps({**json.loads(body), "major": "99", "more": "x" * 2000}).encode())
        changed, ahead = ask(proxy.address)
        assert changed == {**plain, "major": "99", "more": "x" * 2000}
        assert 590 < ahead < 610
        again, ahead = ask(proxy.address)
        assert again == plain, "bodies are changed once unless told otherwise"
        assert 590 < ahead < 610, "the date until it is cleared"
        proxy.clear_rules()
        assert abs(ask(proxy.address)[1]) < 5
    with pytest.raises(LabError, match="needs a function"):
        Rule("change")
