# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook: report, verify, adopt, rotate."""

from __future__ import annotations

import json
import sys
import typing as t

from tests.integration.ansible_run import Result, run_play

from .conftest import ROOT, Site


def play(site: Site, do: str, **variables: t.Any) -> Result:
    values: dict[str, t.Any] = {
        "do": do,
        "dir": str(site.shares),
        "nodes": site.nodes,
        "ca_cert": str(site.lab.openbao_ca),
        "holders": site.wanted("ada", "bo", "cleo"),
        "threshold": 2,
        "login": {k: site.node()[k] for k in ("auth_method", "username", "password_file")},
        **variables,
    }
    extra = {f"openbao_shares_{name}": value for name, value in values.items()}
    return run_play(ROOT / "playbooks" / "shares.yml", extra_vars=extra, diff=True, verbosity=3)


def rules(result: Result) -> set[str]:
    return {f["rule"] for f in result.of("openbao_shares")["findings"]}


def test_report_verify_and_a_share_of_somebody_else(site: Site) -> None:
    first = play(site, "report", holders=site.wanted("ada", "cleo"), fail_on=["critical"])
    assert first.rc != 0
    assert "found at-threshold" in first.output
    assert {"never-verified", "at-threshold", "departed"} <= rules(first)
    assert first.changed == []

    shown = play(site, "verify", sources=[site.source("ada"), site.source("bo")]).ok()
    assert shown.of("openbao_shares")["changed"]
    assert {h["holder"]: bool(h["verified_at"]) for h in site.record()["holders"]} == {
        "ada": True,
        "bo": True,
        "cleo": False,
    }
    wrong = play(site, "verify", sources=[{**site.source("bo"), "name": "cleo"}])
    assert wrong.rc != 0
    assert "that of bo" in wrong.output
    for result in (first, shown, wrong):
        assert not [s for s in site.keys().values() if s in result.output]


def checked(site: Site, *people: str) -> dict[str, t.Any]:
    """Return what playbooks/check.yml says when only *people* are left."""
    values = {
        "platform_checks_scope": ["openbao"],
        "platform_checks_openbao_nodes": site.nodes,
        "platform_checks_openbao_ca_cert": str(site.lab.openbao_ca),
        "platform_checks_shares_dir": str(site.shares),
        "platform_checks_shares_holders": list(people),
    }
    machine = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = site.folder / "controller.json"
    inventory.write_text(json.dumps({"controller": {"hosts": {"localhost": machine}}}))
    ran = run_play(ROOT / "playbooks" / "check.yml", inventory=inventory, extra_vars=values)
    facts: list[dict[str, t.Any]] = [task.result.get("ansible_facts") or {} for task in ran.tasks]
    report = next((f["platform_checks_result"] for f in facts if "platform_checks_result" in f), None)
    assert report, ran.output
    return {**report, "rc": ran.rc}


def test_the_check_says_when_the_holders_left_are_at_the_threshold(site: Site) -> None:
    before = site.record()
    left = checked(site, "ada", "bo")
    assert left["rc"]
    assert left["failing"] == ["shares-at-threshold"]
    assert {f["id"] for f in left["findings"]} >= {"shares-at-threshold", "shares-departed"}
    assert any("cleo: " in line and "departed" in line for line in left["lines"])
    there = checked(site, "ada", "bo", "cleo")
    assert there["rc"] == 0
    assert there["failing"] == []
    assert site.record() == before


def test_an_openbao_of_long_ago_is_adopted_and_gets_new_shares(site: Site) -> None:
    files = {name: site.source(name) for name in ("ada", "bo", "cleo")}
    kept = site.shares
    site.shares = site.folder / "adopted"
    try:
        site.shares.mkdir(mode=0o700)
        planned = run_play(
            [
                {
                    "hackspace.infra.openbao_shares": {
                        "do": "adopt",
                        "shares_dir": str(site.shares),
                        "nodes": site.nodes,
                        "ca_cert": str(site.lab.openbao_ca),
                        "known_holders": ["ada"],
                    }
                }
            ],
            check=True,
        ).ok()
        assert planned.of("openbao_shares")["changed"]
        assert not list(site.shares.iterdir())
        one = play(site, "adopt", sources=[files["ada"]]).ok()
        assert one.of("openbao_shares")["threshold"] == 2
        assert [bool(h["fingerprint"]) for h in site.record()["holders"]] == [True, False, False]
        two = play(site, "adopt", sources=[files["bo"]]).ok()
        assert "record-differs" not in rules(two)
        wanted = {"holders": site.wanted("ada", "bo", "dan")}
        made = play(site, "rotate", **wanted, sources=[files["ada"], files["bo"]]).ok()
        assert made.of("openbao_share_rotation")["state"] == "complete"
        second = play(site, "rotate", **wanted).ok()
        assert second.changed == []
    finally:
        for path in kept.glob("*.age"):
            path.unlink()
        for path in site.shares.glob("*.age"):
            (kept / path.name).write_bytes(path.read_bytes())
            (kept / path.name).chmod(0o600)
        (kept / "shares.json").write_bytes((site.shares / "shares.json").read_bytes())
        site.shares = kept
