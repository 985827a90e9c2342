# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""To which namespace tier a namespace belongs."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.model import Table, parse
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.resolve import of_object, resolve
from hypothesis import given
from hypothesis import strategies as st


def table(**over: t.Any) -> Table:
    tiers = [{"name": "0-core", "namespaces": ["dns"]}, {"name": "4-aux", "prefixes": ["4-aux-", "4-aux-x-"]}]
    return parse({"base": "default", "tiers": tiers, **over})


@pytest.mark.parametrize(
    ("name", "labels", "tier", "source", "conflicts"),
    [
        ("4-aux-wiki", {}, "4-aux", "prefix", 0),
        ("4-aux", {}, "untiered", "fallback", 0),
        ("wiki", {}, "untiered", "fallback", 0),
        ("wiki", {"tier": "3-edge"}, "3-edge", "label", 0),
        ("4-aux-wiki", {"tier": "4-aux"}, "4-aux", "label", 0),
        ("4-aux-wiki", {"tier": "3-edge"}, "3-edge", "label", 1),
        ("dns", {"tier": "3-edge"}, "0-core", "map", 1),
        ("dns", {}, "0-core", "map", 0),
        ("4-aux-wiki", {"tier": "gold"}, "4-aux", "prefix", 1),
        ("kube-system", {}, "", "excluded", 0),
        ("kube-system", {"tier": "0-core"}, "", "excluded", 1),
        ("rook-ceph", {}, "", "excluded", 0),
    ],
)
def test_sources(name: str, labels: dict[str, str], tier: str, source: str, conflicts: int) -> None:
    one = resolve(table(), name, labels)
    assert (one.tier, one.source, len(one.conflicts)) == (tier, source, conflicts)
    assert one.tiered is (tier not in ("", "untiered"))


def test_the_order_of_sources_decides() -> None:
    one = resolve(table(sources=["prefix", "label"]), "4-aux-wiki", {"tier": "3-edge"})
    assert (one.tier, one.source) == ("4-aux", "prefix")
    assert one.conflicts == ("the prefix says 4-aux and wins, the label says 3-edge",)
    assert resolve(table(sources=["prefix"]), "dns", {"tier": "3-edge"}).tier == "untiered"


def test_the_longest_prefix_wins() -> None:
    nested = table(tiers=[{"name": "3-edge", "prefixes": ["4-aux-edge-"]}])
    assert resolve(nested, "4-aux-edge-web").tier == "3-edge"
    assert resolve(nested, "4-aux-wiki").tier == "4-aux"


def test_a_fallback_tier() -> None:
    one = resolve(table(fallback="4-aux"), "wiki")
    assert (one.tier, one.source, one.tiered) == ("4-aux", "fallback", True)


def test_opt_outs_and_hold() -> None:
    one = of_object(
        table(),
        {
            "metadata": {
                "name": "4-aux-wiki",
                "labels": {
                    "resource-governance/custom-quota": "true",
                    "resource-governance/custom-limitrange": "false",
                },
                "annotations": {"infra.hackspace.org/tier-hold": "2026-12-01"},
            }
        },
    )
    assert (one.custom_quota, one.custom_limits, one.hold) == (True, False, "2026-12-01")
    assert one.as_dict()["custom_quota"] is True


@given(
    st.text("abc-4ux", max_size=20),
    st.sampled_from(["", "0-core", "4-aux", "gold"]),
    st.permutations(["map", "label", "prefix"]),
)
def test_a_namespace_has_exactly_one_answer(name: str, label: str, order: list[str]) -> None:
    one = resolve(table(sources=order), name, {"tier": label} if label else {})
    assert one.tier
    if one.said:
        assert one.source == next(source for source in order if source in one.said)
        assert one.tier == one.said[one.source]
        assert bool(one.conflicts) is (len(set(one.said.values())) > 1 or label == "gold")
    else:
        assert one.source == "fallback"
