# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""jwt_reviewer killed at every write: tenants keep logging in, the next run finishes, and no token is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t

import pytest

from tests.integration.ansible_run import ROOT

from .conftest import Proxies, ReviewerSite

#: Runs the module with the arguments on standard input, in a process that can be killed.
DRIVER = """
import json, sys
sys.path[:0] = [{root!r}, {collections!r}]
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import run
from ansible_collections.hackspace.infra.plugins.modules import jwt_reviewer
with patch_module_args(json.load(sys.stdin)):
    run(jwt_reviewer.SPEC, jwt_reviewer.main)
"""

#: What the run is killed at: server, when, method, path.
POINTS: dict[str, tuple[str, t.Literal["before", "after"], str, str]] = {
    "secret-made": ("kube", "after", "POST", r"/secrets$"),
    "minted-before-written": ("kube", "after", "POST", r"/openbao-reviewer/token$"),
    "evidence-written": ("kube", "after", "PATCH", r"/secrets/"),
    "before-the-write": ("bao", "before", "POST", r"/config$"),
    "written-before-verified": ("bao", "after", "POST", r"/config$"),
    "after-the-first-login": ("bao", "after", "POST", r"/login$"),
    "verified-before-noted": ("kube", "before", "PATCH", r"/secrets/"),
    "verified-before-revoked": ("kube", "after", "PATCH", r"/secrets/"),
    "revoked": ("kube", "after", "DELETE", r"/secrets/"),
}
#: Which of the matching requests: the evidence is written twice, first as minted and then as current.
SKIP = {"verified-before-noted": 1, "verified-before-revoked": 1}
FIRST = [name for name in POINTS if name != "revoked"] + ["mount-made", "policy-written", "role-written", "role-bound"]
MORE: dict[str, tuple[str, t.Literal["before", "after"], str, str]] = {
    "mount-made": ("bao", "after", "POST", r"/sys/auth/kubernetes-"),
    "policy-written": ("bao", "after", "POST", r"/sys/policies/acl/"),
    "role-written": ("bao", "after", "POST", r"/role/tenant$"),
    "role-bound": ("kube", "after", "PATCH", r"/clusterrolebindings/"),
}


def kill_at(site: ReviewerSite, proxies: Proxies, entry: dict[str, t.Any], point: str, **changes: t.Any) -> None:
    """Run the module and kill it at a point."""
    server, when, method, path = {**POINTS, **MORE}[point]
    proxy = proxies.bao if server == "bao" else proxies.kube["member-prod"]
    args = site.args(entry, **{"openbao": site.openbao(url=proxies.bao.address), **changes})
    script = DRIVER.format(root=str(ROOT), collections=str(ROOT / ".collections"))
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": ""},
    )

    def kill(_method: str, _path: str) -> None:
        process.kill()
        process.wait(timeout=10)

    proxy.call(kill, when, method=method, path=path, skip=SKIP.get(point, 0))
    out, _err = process.communicate(json.dumps({**args, "_ansible_check_mode": False}).encode(), timeout=60)
    assert process.returncode == -9, (point, out)
    proxies.clear()


def entry_through(site: ReviewerSite, proxies: Proxies, tag: str) -> dict[str, t.Any]:
    address = site.lab.clusters["member-prod"].api_server
    return site.entry(tag, kubeconfig=proxies.kubeconfig(), api_server=address)


def login_works(site: ReviewerSite, tag: str) -> bool:
    token = site.token(f"{tag}-auth", "openbao-canary", f"openbao-{tag}")
    return site.login(f"kubernetes-{tag}", "canary", token)[0] == 200


def finished(site: ReviewerSite, entry: dict[str, t.Any], tag: str) -> None:
    """The next run finishes the work, and the one after that has nothing to do."""
    result = site.apply(entry)
    assert result["clusters"][0]["verified"] is True
    evidence = site.evidence(tag)  # exactly one bound Secret, so exactly one token
    assert evidence["state"] == "current"
    assert evidence["fingerprint"] == result["clusters"][0]["reviewer"]["fingerprint"]
    assert login_works(site, tag)
    again = site.apply(entry)
    assert not again["changed"], again["changes"]


@pytest.mark.parametrize("point", FIRST)
def test_first_run_killed(site: ReviewerSite, proxies: Proxies, tag: str, point: str) -> None:
    entry = entry_through(site, proxies, tag)
    kill_at(site, proxies, entry, point)
    finished(site, entry, tag)


@pytest.mark.parametrize("point", list(POINTS))
def test_rotation_killed(site: ReviewerSite, proxies: Proxies, tag: str, point: str) -> None:
    """Tenants log in at every moment: before the next run too."""
    entry = entry_through(site, proxies, tag)
    site.apply(entry)
    kill_at(site, proxies, entry, point, renew_below=1.0)
    assert login_works(site, tag), "an outage until the next run"
    finished(site, entry, tag)


def test_killed_again_and_again(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    """While nobody knows which token OpenBao holds, none is revoked; the run that gets through takes all along."""
    entry = entry_through(site, proxies, tag)
    site.apply(entry)
    for number in range(3):
        kill_at(site, proxies, entry, "written-before-verified", renew_below=1.0)
        assert login_works(site, tag)
        assert len(site.bound(tag)) == number + 2
    finished(site, entry, tag)


def test_cut_connection_at_the_write(site: ReviewerSite, proxies: Proxies, tag: str) -> None:
    """No answer to the write of the configuration: nobody knows if OpenBao has the new token."""
    entry = entry_through(site, proxies, tag)
    site.apply(entry)
    openbao = site.openbao(url=proxies.bao.address)
    for when in ("before", "after"):
        proxies.bao.cut(t.cast("t.Any", when), method="POST", path=r"/config$")
        result = site.refused("clusters-failed", entry, openbao=openbao, renew_below=1.0)
        assert result["failures"][0]["hop"] == "cut"
        assert login_works(site, tag)
    finished(site, entry, tag)
