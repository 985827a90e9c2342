# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor says, in the report of the check."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hackspace.infra.plugins.module_utils._graph.check_report import Checked, report
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.doctor_report import findings, result

from tests.unit.reviewer_doctor.test_ladder import TARGET, fine


def told(**changes: t.Any) -> dict[str, t.Any]:
    seen = dataclasses.replace(fine(), **changes)
    return {"clusters": [result(TARGET, seen, seconds=0.1)], "findings": findings(TARGET, seen)}


def made(reviewers: t.Mapping[str, t.Any] | None, **more: t.Any) -> dict[str, t.Any]:
    return report(Checked(reviewers=reviewers), **{"name": "lab", "accept": [], "fail_on": ["error"], **more})


def test_a_healthy_reviewer_is_one_line() -> None:
    found = made(told())
    assert found["findings"] == []
    line = "  member-prod (token_request): 4-aux-alice/eso can log in, its token ends on 2027-02-04"
    assert found["lines"][1:] == ["Reviewers", line]


def test_a_broken_hop_makes_the_check_fail() -> None:
    found = made(told(rbac=False))
    assert found["failing"] == ["reviewer-rbac"]
    assert "broken at rbac" in "\n".join(found["lines"])
    assert "[reviewer-rbac]" in "\n".join(found["lines"])


def test_it_can_be_accepted() -> None:
    accept = [{"id": "reviewer-rbac", "item": "reviewer of member-*", "reason": "is being built"}]
    found = made(told(rbac=False), accept=accept)
    assert found["failing"] == []
    assert [f["id"] for f in found["accepted"]] == ["reviewer-rbac"]


def test_without_a_login_nothing_is_claimed() -> None:
    seen = dataclasses.replace(fine(), client=None, review=None, login=None, read=None)
    target = dataclasses.replace(TARGET, login=False)
    found = made({"clusters": [result(target, seen, seconds=0.1)], "findings": []})
    assert "nothing wrong, no login made" in found["lines"][2]


def test_a_doctor_that_could_not_work_is_a_finding() -> None:
    found = made({"failed": True, "msg": "clusters[0]: no such context.", "error": {"fix": "name one."}})
    assert [(f["id"], f["item"], f["fix"]) for f in found["findings"]] == [("check-failed", "reviewers", "name one.")]


def test_sites_without_reviewers_have_no_such_part() -> None:
    assert "Reviewers" not in made(None)["lines"]
    assert "Reviewers" not in made({"clusters": [], "findings": []})["lines"]
