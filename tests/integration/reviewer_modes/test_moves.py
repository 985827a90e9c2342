# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mount moves between modes and types, tenants keep working, and an interrupted move is finished or taken back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.model import MODES

from tests.integration.ansible_run import ROOT
from tests.integration.reviewers.conftest import Proxies, ReviewerSite
from tests.integration.reviewers.test_interrupted import DRIVER

from .conftest import Tenant, longest_gap

TYPES: dict[str, str] = {mode: "jwt" if mode == "jwt_pubkeys" else "kubernetes" for mode in MODES}
#: The others are among the long tests.
PAIRS = [
    ("token_request", "jwt_pubkeys"),
    ("jwt_pubkeys", "token_request"),
    ("long_lived", "token_request"),
    ("client_jwt", "token_request"),
    ("client_jwt", "jwt_pubkeys"),
]
#: Seconds. The change of places takes some ten milliseconds; a login and a read on a busy machine take longer.
GAP = 3.0


def settled(tenant: Tenant, mode: str, **changes: t.Any) -> None:
    """The mount is of the right type, nothing is left beside it, tenants work, and there is nothing to do."""
    site = tenant.site
    assert tenant.mounts == {tenant.mount: TYPES[mode]}
    tenant.works(*([site.lab.clusters["member-prod"].audience] if mode == "client_jwt" else []))
    again = site.apply(tenant.entry(mode), **changes)
    assert (again["changed"], again["changes"]) == (False, [])


@pytest.mark.parametrize(("old", "new"), PAIRS, ids=["-to-".join(pair) for pair in PAIRS])
def test_from_mode_to_mode(tenant: Tenant, old: str, new: str) -> None:
    from_mode_to_mode(tenant, old, new)


def from_mode_to_mode(tenant: Tenant, old: str, new: str) -> None:
    """Wire a cluster in a mode, then in another one; nothing of the first is left."""
    site = tenant.site
    site.apply(tenant.entry(old))
    settled(tenant, old)
    planned = site.apply(tenant.entry(new), check=True)
    settled(tenant, old)
    done = site.apply(tenant.entry(new))
    assert done["changes"] == planned["changes"]
    assert done["clusters"][0]["verified"] is True
    settled(tenant, new)
    namespace = f"/api/v1/namespaces/{tenant.tag}-auth"
    secrets = {one["metadata"]["name"] for one in site.kube("GET", f"{namespace}/secrets")["items"]}
    own = {
        "token_request": {f"openbao-reviewer-{tenant.tag}-1"},
        "jwt_pubkeys": {f"openbao-reviewer-{tenant.tag}-keys"},
        "long_lived": {f"openbao-reviewer-{tenant.tag}-token"},
        "client_jwt": set(),
    }
    assert secrets == own[new]
    bindings = site.kube("GET", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings")["items"]
    mine = {one["metadata"]["name"] for one in bindings if one["metadata"]["name"].startswith(f"{tenant.tag}-")}
    reviewer = {f"{tenant.tag}-reviewer"}
    wanted = {"client_jwt": {f"{tenant.tag}-reviewer-tenants"}, "jwt_pubkeys": set[str]()}
    assert mine == wanted.get(new, reviewer)


@pytest.mark.parametrize(("old", "new"), [("token_request", "jwt_pubkeys"), ("jwt_pubkeys", "token_request")])
def test_a_tenant_at_work_hardly_notices(tenant: Tenant, old: str, new: str) -> None:
    site = tenant.site
    site.apply(tenant.entry(old))
    before = tenant.token()
    accessor = site.mount(tenant.mount)
    assert accessor
    with tenant.at_work() as seen:
        site.apply(tenant.entry(new))
    assert seen[-1][1]
    assert longest_gap(seen) < GAP, seen
    # what was given out before is good to its end, as the OpenBao policy names the old mount's accessor, too
    assert (tenant.read(before), tenant.read(before, tenant.other)) == (200, 403)
    assert accessor["accessor"] in tenant.policy
    settled(tenant, new)


def test_the_old_accessor_is_forgotten_when_its_tokens_have_expired(tenant: Tenant) -> None:
    site = tenant.site
    site.apply(tenant.entry("token_request"))
    before = tenant.token()
    site.apply(tenant.entry("jwt_pubkeys"))
    text = tenant.policy
    found = re.search(r"^# accessor (\S+) until (\S+)$", text, re.MULTILINE)
    assert found
    past = text.replace(found.group(2), "2026-01-01T00:00:00Z")
    site.bao("POST", f"sys/policies/acl/tenant-{tenant.tag}", {"policy": past})
    result = site.apply(tenant.entry("jwt_pubkeys"))
    assert [change["kind"] for change in result["changes"]] == ["OpenBao policy"]
    assert found.group(1) not in tenant.policy
    assert tenant.read(before) == 403
    settled(tenant, "jwt_pubkeys")


def test_service_tokens_of_the_old_mount_end_and_the_tenant_logs_in_again(tenant: Tenant) -> None:
    site = tenant.site
    access = {"token_type": "service"}
    site.apply(tenant.entry("token_request", access=access))
    before = tenant.token()
    assert tenant.read(before) == 200
    site.apply(tenant.entry("jwt_pubkeys", access=access))
    assert tenant.read(before) == 403
    tenant.works()


def test_a_move_by_an_administrator_who_may_not_read_how_far_it_is(tenant: Tenant) -> None:
    site = tenant.site
    site.apply(tenant.entry("token_request"))
    rules = "".join(
        f'path "{path}" {{ capabilities = ["create", "read", "update", "delete", "list", "sudo"] }}\n'
        for path in ("sys/auth", "sys/auth/*", "auth/*", "sys/policies/acl/*", "sys/remount")
    )
    site.bao("POST", "sys/policies/acl/narrow", {"policy": rules})
    _status, made = site.bao("POST", "auth/token/create", {"policies": ["narrow"], "ttl": "10m"})
    login = site.openbao(token=made["auth"]["client_token"])
    site.apply(tenant.entry("jwt_pubkeys"), openbao=login)
    settled(tenant, "jwt_pubkeys")


#: What a move to the type jwt is killed at: server, when, method, path, and how many matching requests pass before.
POINTS: dict[str, tuple[str, t.Literal["before", "after"], str, str, int]] = {
    "next-made": ("bao", "after", "POST", r"/sys/auth/.*\.next$", 0),
    "policy-written": ("bao", "after", "POST", r"/sys/policies/acl/", 0),
    "role-written": ("bao", "after", "POST", r"\.next/role/tenant$", 0),
    "configured": ("bao", "after", "POST", r"\.next/config$", 0),
    "proved": ("bao", "after", "POST", r"\.next/login$", 3),
    "move-sent": ("bao", "before", "POST", r"/sys/remount$", 0),
    "old-put-aside": ("bao", "after", "POST", r"/sys/remount$", 0),
    "between-the-two": ("bao", "before", "POST", r"/sys/remount$", 1),
    "changed-places": ("bao", "after", "POST", r"/sys/remount$", 1),
    "old-disabled": ("bao", "after", "DELETE", r"/sys/auth/.*\.old$", 0),
    "reviewer-gone": ("kube", "after", "DELETE", r"/serviceaccounts/openbao-reviewer$", 0),
    "mode-written-down": ("bao", "before", "POST", r"/tune$", 0),
}


def kill_at(site: ReviewerSite, proxies: Proxies, entry: dict[str, t.Any], point: str, **options: t.Any) -> None:
    """Run the module through proxies and kill it at a point."""
    server, when, method, path, skip = POINTS[point]
    address = site.lab.clusters["member-prod"].api_server
    entry = {**entry, "kubeconfig": proxies.kubeconfig(), "api_server": address}
    args = site.args(entry, openbao=site.openbao(url=proxies.bao.address), **options)
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

    proxy = proxies.bao if server == "bao" else proxies.kube["member-prod"]
    proxy.call(kill, when, method=method, path=path, skip=skip)
    out, _err = process.communicate(json.dumps({**args, "_ansible_check_mode": False}).encode(), timeout=60)
    assert process.returncode == -9, (point, out)
    proxies.clear()


#: Killed here, tenants are without a mount until the next run: the server had been asked to put the old one aside.
OUT: t.Final = ("move-sent", "old-put-aside")
#: The others are among the long tests.
KILLS = [
    ("configured", True),
    ("proved", False),
    ("old-put-aside", False),
    ("old-put-aside", True),
    ("changed-places", False),
    ("reviewer-gone", True),
]


@pytest.mark.parametrize(("point", "back"), KILLS, ids=[f"{p}-{'back' if b else 'forward'}" for p, b in KILLS])
def test_killed_the_next_run_goes_on_or_goes_back(tenant: Tenant, proxies: Proxies, point: str, back: bool) -> None:
    killed_and_run_again(tenant, proxies, point, back=back)


def killed_and_run_again(tenant: Tenant, proxies: Proxies, point: str, *, back: bool) -> None:
    """Kill a move at a point; the next run finishes it, or with the mode set back leads back."""
    site = tenant.site
    site.apply(tenant.entry("token_request"))
    kill_at(site, proxies, tenant.entry("jwt_pubkeys"), point)
    if point not in OUT:
        tenant.works()
    site.until("the move in the background", lambda: len(tenant.mounts) >= 1)
    mode = "token_request" if back else "jwt_pubkeys"
    site.apply(tenant.entry(mode))
    settled(tenant, mode)


def test_if_the_second_half_fails_the_first_is_taken_back(tenant: Tenant, proxies: Proxies) -> None:
    site = tenant.site
    site.apply(tenant.entry("token_request"))
    proxies.bao.fail(503, method="POST", path=r"/sys/remount$", skip=1)
    result = site.call(tenant.entry("jwt_pubkeys"), openbao=site.openbao(url=proxies.bao.address))
    assert result["failed"], result
    assert tenant.mounts == {tenant.mount: "kubernetes", f"{tenant.mount}.next": "jwt"}
    tenant.works()
    site.apply(tenant.entry("jwt_pubkeys"))
    settled(tenant, "jwt_pubkeys")


def test_a_mount_that_does_not_prove_itself_never_gets_to_the_tenants(tenant: Tenant) -> None:
    site = tenant.site
    site.apply(tenant.entry("token_request"))
    result = site.call(tenant.entry("jwt_pubkeys", issuer="https://192.0.2.99:6443"))
    assert "verify-login" in result["msg"]
    assert tenant.mounts[tenant.mount] == "kubernetes"
    tenant.works()
    site.apply(tenant.entry("token_request"))
    settled(tenant, "token_request")


def test_mounts_of_others_at_the_paths_of_a_move_are_left_alone(tenant: Tenant) -> None:
    site = tenant.site
    site.apply(tenant.entry("token_request"))
    site.bao("POST", f"sys/auth/{tenant.mount}.next", {"type": "userpass", "description": "somebody's"})
    for adopt in (False, True):
        result = site.refused("foreign", tenant.entry("jwt_pubkeys"), adopt=adopt)
        assert result["foreign"] == [f"{tenant.tag}: auth mount {tenant.mount}.next"]
    assert tenant.mounts == {tenant.mount: "kubernetes", f"{tenant.mount}.next": "userpass"}
    tenant.works()


def test_a_mount_of_another_kind_is_not_taken(tenant: Tenant) -> None:
    site = tenant.site
    site.bao("POST", f"sys/auth/{tenant.mount}", {"type": "userpass"})
    site.refused("mount-type", tenant.entry("jwt_pubkeys"), adopt=True)
    assert tenant.mounts == {tenant.mount: "userpass"}
