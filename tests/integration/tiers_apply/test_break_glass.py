# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""namespace_tiers_break_glass on a real API server: guards of its own."""

from __future__ import annotations

import typing as t

from tests.integration.tiers_apply.conftest import ADMISSION, Site

BINDING = f"{ADMISSION}/validatingadmissionpolicybindings/tier-priority-allowed"
MUTATION = f"{ADMISSION}/mutatingadmissionpolicybindings/tier-pod-defaults"


def glass(site: Site, state: str, **args: t.Any) -> dict[str, t.Any]:
    return site.call("namespace_tiers_break_glass", state=state, **args)


def what(result: t.Mapping[str, t.Any]) -> list[str]:
    assert not result.get("failed"), result["msg"]
    return [one["what"] for one in result["open"]]


def allowed(site: Site, namespace: str) -> bool:
    """Say whether a pod may take a class above its namespace tier."""
    made = site.pod(namespace, "grabby", priorityClassName="tier-0-core")
    if made.status == 201:
        site.ask("DELETE", f"/api/v1/namespaces/{namespace}/pods/grabby?gracePeriodSeconds=0")
        site.until(lambda: site.get(f"/api/v1/namespaces/{namespace}/pods/grabby") is None)
    return bool(made.status == 201)


def test_opened_shown_left_open_and_closed_as_it_was(site: Site) -> None:
    wiki = site.ready(site.namespace("4-aux-wiki"))
    site.apply()
    assert site.until(lambda: not allowed(site, wiki))
    before = site.get(BINDING)["spec"]
    mark = site.mark()
    planned = glass(site, "open", reason="restore", check=True)
    assert planned["changed"]
    assert site.writes(mark) == []
    opened = glass(site, "open", reason="restore", hours=2)
    assert what(opened) == [
        "ValidatingAdmissionPolicyBinding tier-label-guard",
        "ValidatingAdmissionPolicyBinding tier-priority-allowed",
    ]
    assert opened["open"][0]["reason"] == "restore"
    assert not opened["open"][0]["overdue"]
    assert site.until(lambda: allowed(site, wiki))
    assert not glass(site, "open", reason="once more")["changed"]
    shown = glass(site, "status")
    assert not shown["changed"]
    assert shown["open"] == opened["open"]

    # An application in between says so, and leaves it open, whatever else it does.
    told = site.apply()
    assert not told["changed"]
    assert len(told["break_glass"]) == 2
    assert sum("the glass is broken" in one for one in told["warnings"]) == 2
    assert site.get(BINDING)["spec"]["validationActions"] == ["Audit", "Warn"]

    closed = glass(site, "closed")
    assert closed["changed"]
    assert what(closed) == []
    assert site.get(BINDING)["spec"] == before
    assert not glass(site, "closed")["changed"]
    assert not site.apply()["changed"]
    assert site.until(lambda: not allowed(site, wiki))


def test_only_some_namespaces_and_closed_by_an_application(site: Site) -> None:
    wiki, blog = site.ready(site.namespace("4-aux-wiki")), site.ready(site.namespace("4-aux-blog"))
    site.apply()
    assert site.until(lambda: not allowed(site, blog))
    before = site.get(BINDING)["spec"], site.get(MUTATION)["spec"]
    glass(site, "open", reason="restore", namespaces=[wiki], what=["guards", "pods"])
    assert site.until(lambda: allowed(site, wiki))
    assert not allowed(site, blog)
    assert site.until(lambda: site.untouched(wiki))
    done = site.apply(close_break_glass=True)
    assert done["changed"]
    assert (site.get(BINDING)["spec"], site.get(MUTATION)["spec"]) == before
    assert what(glass(site, "status")) == []
    assert not site.apply()["changed"]


def test_refused_without_reason_or_anything_to_open(site: Site) -> None:
    assert glass(site, "open")["error"]["rule"] == "break-glass-reason"
    assert glass(site, "open", reason="x", hours=200)["error"]["rule"] == "break-glass-hours"
    assert glass(site, "open", reason="x")["error"]["rule"] == "break-glass-nothing"
