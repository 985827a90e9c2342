# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page that tells what a table says."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hackspace.infra.plugins.filter.tier_docs import tier_docs

ROOT = Path(__file__).resolve().parents[3]
LICENCE = "SPDX-FileCopyrightText: 2026 hackspace.infra contributors\nSPDX-License-Identifier: GPL-3.0-or-later"
PAGES = {
    "tiers_default.md": ("default", "The default table of namespace tiers"),
    "tiers_service_levels.md": ("service_levels", "The table of namespace tiers after service levels"),
}


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_of_the_shipped_tables_are_what_the_filter_says(name: str) -> None:
    base, title = PAGES[name]
    assert (ROOT / "docs" / name).read_text() == tier_docs({"base": base}, title=title, comment=LICENCE)


def digest(page: str) -> str:
    [found] = re.findall(r"^<!-- hackspace\.infra\.tier_docs sha256:([0-9a-f]{64}) -->$", page, re.MULTILINE)
    return str(found)


def test_the_digest_changes_with_table_and_backend_and_with_nothing_else() -> None:
    page = tier_docs({"base": "default"})
    assert page == tier_docs({"base": "default"})
    assert digest(page) == digest(tier_docs({"base": "default"}, title="Another"))
    changed = {"base": "default", "tiers": [{"name": "4-aux", "quota": {"hard": {"pods": "21"}}}]}
    assert len({digest(one) for one in (page, tier_docs(changed), tier_docs({"base": "default"}, pods="native"))}) == 3


def test_everything_that_a_table_says_is_there() -> None:
    table: dict[str, t.Any] = {
        "base": "default",
        "tiers": [
            {"name": "0-core", "namespaces": ["dns"]},
            {
                "name": "4-aux",
                "allowed_priority_classes": ["batch-night"],
                "rules": [
                    {"name": "no-host", "expression": "!object.spec.?hostNetwork.orValue(false)", "message": "none"}
                ],
                "quota": {"scopes": ["NotTerminating"]},
            },
        ],
        "fallback": "4-aux",
        "distribute": [
            {"name": "pull", "path": "registry/pull", "namespaces": ["4-aux-wiki"]},
            {"name": "wild", "kind": "tls", "path": "tls/wild", "labels": {"tls": "wild"}},
            {"name": "old", "way": "kyverno", "source_namespace": "kyverno", "namespaces": ["4-aux-wiki"]},
        ],
    }
    page = tier_docs(table)
    for text in (
        "| `0-core` | `0-core-*` | `tier=0-core` | `dns` |",
        "Every other namespace belongs to namespace tier 4-aux.",
        "`tier-4-aux`, `batch-night`",
        "Rule no-host: none (`!object.spec.?hostNetwork.orValue(false)`).",
        "for pods that are `NotTerminating`",
        "| `wild` | TLS | OpenBao, `tls/wild` | `tls=wild` |",
        "a copy of the one in namespace `kyverno`",
    ):
        assert text in page, text
    assert "## No namespace tier" not in page


def test_pods_that_fit_are_counted_by_what_runs_out_first() -> None:
    page = tier_docs({"base": "default"})
    assert "So 32 pods fit with one container that gives nothing; `requests.memory` is the first to run out." in page
    assert "So 20 pods fit with one container that gives nothing; `pods` is the first to run out." in page


def test_waves_and_built_in_classes() -> None:
    page = tier_docs({"base": "service_levels"}, limits="static", pods="native", guards="native")
    assert "Kubernetes' own class `system-cluster-critical`" in page
    assert "| 10 | `tier-sl1-critical` | 990000000 |" in page
    assert "inside the API server" in page
    assert "Kyverno was down" not in page


def test_lines_are_short_besides_tables() -> None:
    for base in ("default", "service_levels"):
        for line in tier_docs({"base": base}).splitlines():
            assert len(line) <= 120 or line.startswith("| "), line


def test_links_lead_to_headings() -> None:
    page = tier_docs({"base": "default"})
    anchors = {line.lstrip("# ").lower().replace(" ", "-") for line in page.splitlines() if line.startswith("#")}
    assert set(re.findall(r"\(#([^)]+)\)", page)) <= anchors


def test_a_wrong_table_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r"tier_docs: .*Fix:"):
        tier_docs({"base": "default", "tiers": [{"name": "4-aux", "priority": {"value": 2_000_000_000}}]})


def test_quality_of_service() -> None:
    assert "Pods are Burstable in all namespace tiers" in tier_docs({"base": "default"})
    same = {"cpu": "1", "memory": "1Gi"}
    table = {
        "tiers": [
            {"name": "a", "prefixes": ["a-"], "limit_range": {"default": same}},
            {"name": "b", "prefixes": ["b-"]},
        ]
    }
    text = tier_docs(table).replace("\n", " ")
    assert (
        "give nothing are BestEffort in namespace tier b, no namespace tier and Guaranteed in namespace tier a" in text
    )
