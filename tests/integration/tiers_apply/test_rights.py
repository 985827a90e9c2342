# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles in the documentation are enough, and who has less is told which right is missing."""

from __future__ import annotations

import re
import time
import typing as t
from pathlib import Path

import yaml

from lab import kube
from tests.integration.tiers_apply.conftest import CLUSTER, Site

PAGE = Path(__file__).parents[3] / "docs" / "tiers_apply.md"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ACCOUNT = {"kind": "ServiceAccount", "name": "tiers", "namespace": "kube-system"}


def documented() -> dict[tuple[str, str], dict[str, t.Any]]:
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    parsed = [yaml.safe_load(one) for one in blocks]
    return {(one["kind"], one["metadata"]["name"]): one for one in parsed}


def put(site: Site, role: dict[str, t.Any]) -> None:
    """Apply a role, and bind it to the account."""
    space = role["metadata"].get("namespace", "")
    place = f"{RBAC}/namespaces/{space}" if space else RBAC
    name, kind = role["metadata"]["name"], role["kind"]
    binding = {
        "apiVersion": role["apiVersion"],
        "kind": f"{kind}Binding",
        "metadata": {"name": name, **({"namespace": space} if space else {})},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [ACCOUNT],
    }
    for body in (role, binding):
        path = f"{place}/{body['kind'].lower()}s/{name}?fieldManager=test&force=true"
        site.ask("PATCH", path, body, "application/apply-patch+yaml")


def login(site: Site, path: Path) -> str:
    accounts = "/api/v1/namespaces/kube-system/serviceaccounts"
    site.answer("POST", accounts, {"metadata": {"name": ACCOUNT["name"]}})
    token = site.ask("POST", f"{accounts}/{ACCOUNT['name']}/token", {"spec": {"expirationSeconds": 3600}})
    about = site.lab.clusters[CLUSTER]
    kube.kubeconfig(path, context=CLUSTER, server=about.api_server, ca=about.ca_file, token=token["status"]["token"])
    return str(path)


def test_the_documented_rights_are_enough_and_less_is_named(site: Site, tmp_path: Path) -> None:
    roles = documented()
    assert len(roles) == 5
    wiki = site.ready(site.namespace("4-aux-wiki"))
    account = login(site, tmp_path / "account.kubeconfig")

    nothing = site.refused(kubeconfig=account)
    assert nothing["error"]["rule"] == "forbidden"
    assert nothing["missing"] == {"verb": "list", "resource": "priorityclasses.scheduling.k8s.io", "namespace": ""}
    assert "verb list on priorityclasses" in nothing["error"]["fix"]

    apply = roles["ClusterRole", "namespace-tiers-apply"]
    less = [
        {**rule, "verbs": [v for v in rule["verbs"] if v != "patch"]} if "resourcequotas" in rule["resources"] else rule
        for rule in apply["rules"]
    ]
    put(site, {**apply, "rules": less})
    mark = site.mark()
    unread = site.until(lambda: (r := site.refused(kubeconfig=account))["missing"]["verb"] == "get" and r)
    assert unread["missing"] == {"verb": "get", "resource": "configmaps", "namespace": "kube-system"}
    put(site, roles["Role", "namespace-tiers-apply"])

    def unpatched() -> t.Any:
        refused = site.refused(kubeconfig=account)
        return refused if "cannot patch" in refused["msg"] else None

    assert 'cannot patch resource "limitranges"' in site.until(unpatched)["msg"]
    assert site.writes(mark) == []

    put(site, apply)
    said: list[str] = []

    def applied() -> bool:
        result = site.call_native(kubeconfig=account)
        said.append(str(result.get("msg")))
        return not result.get("failed")

    assert site.until(applied), said[-1]
    assert not site.apply(kubeconfig=account)["changed"]
    site.apply({"base": "default", "more_exclusions": [wiki]}, prune=True, prune_max_percent=100, kubeconfig=account)
    assert site.limits(wiki) == ([], [])
    renumbered = {"base": "default", "tiers": [{"name": "4-aux", "priority": {"value": 100000}}]}
    site.apply(renumbered, replace_priority_classes=True, kubeconfig=account)

    def granted(module: str, args: dict[str, t.Any]) -> dict[str, t.Any]:
        """Call until the API server has noticed the new rights."""
        end = time.monotonic() + 15
        while True:
            result = site.call(module, kubeconfig=account, **args)
            if not result.get("failed") or time.monotonic() > end:
                assert not result.get("failed"), result["msg"]
                return result

    for module, role, args in (
        ("namespace_tiers_break_glass", "break-glass", {"state": "open", "reason": "test", "what": ["guards", "pods"]}),
        ("namespace_tiers_break_glass", "break-glass", {"state": "closed"}),
        ("namespace_tiers_reconcile", "reconcile", {"table": {"base": "default"}, "evict": True, "grace": 0}),
    ):
        put(site, roles["ClusterRole", f"namespace-tiers-{role}"])
        result = granted(module, args)
        assert result["changed"] == (role == "break-glass"), result
