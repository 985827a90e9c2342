# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Caps as sets of grants: what is the same, what differs, what Ceph takes."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hackspace.infra.plugins.filter.ceph_caps import ceph_caps
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import caps
from hypothesis import given
from hypothesis import strategies as st

WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=12)
ACCESS = st.sampled_from(["r", "rw", "rwx", "rwp", "rws", "*", "class-read"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("allow r, allow rw pool=a", "allow rw pool=a; allow r"),
        ("allow profile rbd", "profile rbd"),
        ("profile rbd pool=a namespace=b", "profile  rbd  namespace=b pool=a"),
        ("allow command 'osd blocklist'", 'allow command "osd blocklist"'),
        ("allow rwx pool p", "allow rwx pool=p"),
        ("allow pool=p rwx", "allow xwr pool=p"),
        ("allow tag cephfs metadata=x rw", "allow rw tag cephfs metadata=x"),
        ("allow all", "allow *"),
        ("allow r, allow r", "allow r"),
        ("allow rw path=/a fsname=f", "allow rw fsname='f' path=\"/a\""),
        ("allow command 'a b' with x=1 y=2", "allow command 'a b' with y=2 x=1"),
        ("allow rw uid=1 gids=1,2, allow r", "allow r, allow rw uid=1 gids=1,2"),
    ],
)
def test_the_same(one: str, other: str) -> None:
    assert caps.grants(one) == caps.grants(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("profile rbd pool=a namespace=b", "profile rbd pool=a"),
        ("allow rw path=/a", "allow rw path=/b"),
        ("allow r", "allow rw"),
        ("allow rw fsname=a path=/x", "allow rw fsname=a path=/x root_squash"),
        ("allow rw tag cephfs data=x", "allow rw tag cephfs metadata=x"),
        ("allow command a", "allow command a with b=c"),
        ("profile rbd", "profile rbd-read-only"),
        ("allow r network 10.0.0.0/8", "allow r"),
    ],
)
def test_not_the_same(one: str, other: str) -> None:
    assert caps.grants(one) != caps.grants(other)


@pytest.mark.parametrize(
    "wrong",
    [
        "allow 'r",
        "permit r",
        "allow nonsense",
        "allow rw pool",
        "allow rw pool=",
        "allow rw tag cephfs",
        "allow rw tag cephfs data",
        "allow command x with",
        "allow rw 'quoted'",
        "r",
    ],
)
def test_not_a_grant(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        caps.grants(wrong)


def test_what_is_not_understood_on_a_server_counts_as_it_is_written() -> None:
    found = caps.present({"osd": "allow  something new", "mon": ""})
    assert caps.texts(found) == {"osd": "allow something new"}


def test_a_difference_names_grants() -> None:
    before = caps.present({"mon": "allow r", "osd": "profile rbd pool=vm-prod namespace=prod, profile rbd"})
    after = caps.parse({"mon": "profile rbd", "osd": ["profile rbd pool=vm-prod namespace=prod"]}, "caps")
    found = caps.diff(before, after)
    assert found.added == {"mon": ("profile rbd",)}
    assert found.removed == {"mon": ("allow r",), "osd": ("profile rbd",)}
    assert found.why() == "mon + profile rbd; mon - allow r; osd - profile rbd"
    assert found.widens
    assert not caps.diff(after, after)


def test_union_and_within() -> None:
    small = caps.parse({"osd": "allow r pool=a"}, "caps")
    large = caps.union(small, caps.parse({"osd": "allow r pool=b", "mon": "allow r"}, "caps"))
    assert caps.within(small, large)
    assert not caps.within(large, small)
    assert caps.lists(large) == {"mon": ["allow r"], "osd": ["allow r pool=a", "allow r pool=b"]}


@given(st.lists(st.tuples(ACCESS, WORDS, WORDS), min_size=1, max_size=6))
def test_what_is_written_reads_as_the_same(parts: list[tuple[str, str, str]]) -> None:
    given_ = caps.grants([f"allow {access} pool={pool} namespace={space}" for access, pool, space in parts])
    text = caps.render(given_)
    assert caps.grants(text) == given_
    assert caps.render(caps.grants(text)) == text
    assert caps.grants(", ".join(reversed(text.split(", ")))) == given_


@given(st.text(max_size=60))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    try:
        found = caps.grants(text)
    except ValueError:
        assert len(caps.lenient(text)) <= 1
    else:
        assert caps.grants(caps.render(found)) == found


def test_the_filter_reads_and_compares() -> None:
    assert ceph_caps({"osd": "profile rbd pool=b, profile rbd pool=a"}) == {
        "osd": ["profile rbd pool=a", "profile rbd pool=b"]
    }
    assert ceph_caps({"mon": "allow r"}, {"mon": ["allow r", "allow command version"]}) == {
        "same": False,
        "added": {"mon": ["allow command version"]},
        "removed": {},
    }
    assert ceph_caps({"mon": "allow profile rbd"}, {"mon": "profile rbd"})["same"]
    for wrong in ("allow r", {"rgw": "allow r"}, {"mon": "allow 'r"}):
        with pytest.raises(AnsibleFilterError, match="ceph_caps: caps"):
            ceph_caps(wrong)
    with pytest.raises(AnsibleFilterError, match="ceph_caps: other"):
        ceph_caps({}, "allow r")
