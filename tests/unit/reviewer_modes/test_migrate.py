# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""However a move between types was interrupted, the next run ends it, and tenants keep a mount to log in at."""

from __future__ import annotations

import itertools
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers import access, migrate
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.model import parse_clusters
from hypothesis import given
from hypothesis import strategies as st

PATH = "kubernetes-a"
NOW = 1795248000
TYPES = ("", "kubernetes", "jwt")
Present = dict[str, str]


def entries(types: Present) -> dict[str, dict[str, t.Any]]:
    mark = "Tenants of a by token_request [hackspace.infra: jwt_reviewer]"
    return {
        path: {"type": type_, "accessor": f"auth_{type_}_{path}", "description": mark}
        for path, type_ in types.items()
        if type_
    }


def run(types: Present, wanted: str, stop: int | None = None) -> tuple[list[str], Present]:
    """Do what a run does with the mounts; return the types at the path of the tenants in between, and what is left.

    :param stop: number of requests after which the run is killed.
    """
    found = migrate.way(entries(types), PATH, wanted)
    present = dict(types)
    seen: list[str] = []

    def work() -> t.Iterator[None]:
        for path in found.stale:
            assert present.pop(path)
            yield
        if not present.get(found.target):
            present[found.target] = wanted
            yield
        assert present[found.target] == wanted
        for old, new in found.swap:
            assert not present.get(new)
            present[new] = present.pop(old)
            yield
        for path in found.leftovers:
            present.pop(path)
            yield

    for count, _done in enumerate(work(), 1):
        seen.append(present.get(PATH, ""))
        if count == stop:
            break
    return seen, {path: type_ for path, type_ in present.items() if type_}


STATES = [
    dict(zip((PATH, PATH + ".next", PATH + ".old"), types, strict=True))
    for types in itertools.product(TYPES, TYPES, TYPES)
]


@pytest.mark.parametrize("wanted", ["kubernetes", "jwt"])
@pytest.mark.parametrize("types", STATES, ids=["-".join(x or "none" for x in s.values()) for s in STATES])
def test_one_run_leads_from_any_state_to_the_one_mount(types: Present, wanted: str) -> None:
    _seen, left = run(types, wanted)
    assert left == {PATH: wanted}


@given(
    st.sampled_from(STATES), st.lists(st.tuples(st.sampled_from(["kubernetes", "jwt"]), st.integers(1, 6)), max_size=5)
)
def test_killed_again_and_again_the_tenants_are_without_a_mount_between_two_requests_only(
    types: Present, runs: list[tuple[str, int]]
) -> None:
    present = {path: type_ for path, type_ in types.items() if type_}
    for wanted, stop in runs:
        before = present.get(PATH, "")
        seen, present = run(present, wanted, stop)
        # out of service only right between the two renamings, and back with the next request
        gaps = [index for index, type_ in enumerate(seen) if not type_]
        if before:
            assert len(gaps) <= 1
            assert all(index == len(seen) - 1 or seen[index + 1] == wanted for index in gaps)
    assert run(present, "jwt")[1] == {PATH: "jwt"}


def test_nothing_moves_where_the_type_is_right() -> None:
    found = migrate.way(entries({PATH: "jwt"}), PATH, "jwt")
    assert found == migrate.Way(target=PATH)
    assert not found.moves


def test_the_tenants_mount_stays_until_the_new_one_is_proved() -> None:
    found = migrate.way(entries({PATH: "kubernetes"}), PATH, "jwt")
    assert found == migrate.Way(
        target=PATH + ".next",
        swap=((PATH, PATH + ".old"), (PATH + ".next", PATH)),
        leftovers=(PATH + ".old",),
        before=PATH,
    )


def test_back_again_by_the_mount_that_was_put_aside() -> None:
    found = migrate.way(entries({PATH: "jwt", PATH + ".old": "kubernetes"}), PATH, "kubernetes")
    assert found.target == PATH + ".old"
    assert found.swap == ((PATH, PATH + ".next"), (PATH + ".old", PATH))


def test_mounts_of_others_beside_ours_are_told() -> None:
    mounts = entries({PATH: "kubernetes", PATH + ".old": "kubernetes"})
    mounts[PATH]["description"] = ""
    found = migrate.way(mounts, PATH, "jwt")
    assert migrate.foreign(mounts, found) == []
    mounts[PATH + ".old"]["description"] = "somebody's"
    assert migrate.foreign(mounts, found) == [PATH + ".old"]


@pytest.mark.parametrize("wanted", ["kubernetes", "jwt"])
@pytest.mark.parametrize("types", STATES, ids=["-".join(x or "none" for x in s.values()) for s in STATES])
def test_no_mount_of_others_beside_ours_is_ever_touched(types: Present, wanted: str) -> None:
    """Also not where the tenants have no mount, and theirs looks like the one that was put aside."""
    for suffix in (".next", ".old"):
        mounts = entries(types)
        if PATH + suffix in mounts:
            mounts[PATH + suffix]["description"] = "somebody's"
            assert migrate.foreign(mounts, migrate.way(mounts, PATH, wanted)) == [PATH + suffix]


def test_an_adopted_mount_has_our_mark_before_it_is_put_aside() -> None:
    one = parse_clusters([{"name": "a", "kubeconfig": "k", "mode": "jwt_pubkeys"}])[0]
    mounts = entries({PATH: "kubernetes"})
    mounts[PATH]["description"] = "somebody's"
    found = migrate.way(mounts, PATH, "jwt")
    (marked,) = migrate.first(one, mounts, found)
    assert (marked.action, marked.name) == ("adopt", f"a/{PATH}")
    assert migrate.worked_by(mounts, PATH) == PATH
    # killed when it was put aside: the next run takes it for ours, and knows what it worked by
    aside = {**entries({PATH + ".next": "jwt"}), PATH + ".old": {**mounts[PATH], **(marked.after or {})}}
    assert migrate.foreign(aside, migrate.way(aside, PATH, "jwt")) == []
    assert migrate.worked_by(aside, PATH) == PATH + ".old"


def test_the_old_accessor_is_named_until_its_tokens_have_expired() -> None:
    mounts = entries({PATH: "kubernetes"})
    found = migrate.way(mounts, PATH, "jwt")
    named = migrate.still_named(mounts, found, "", now=NOW, ttl=600)
    assert named == {f"auth_kubernetes_{PATH}": NOW + migrate.MARGIN + 600}
    text = "# managed by x\n" + access.retired_lines(named) + 'path "a" {}\n'
    after = entries({PATH: "jwt"})
    settled = migrate.way(after, PATH, "jwt")
    assert migrate.still_named(after, settled, text, now=NOW + 899, ttl=600) == named
    assert migrate.still_named(after, settled, text, now=NOW + 900, ttl=600) == {}


def test_an_accessor_that_is_used_again_is_not_named_twice() -> None:
    mounts = entries({PATH: "jwt"})
    text = access.retired_lines({f"auth_jwt_{PATH}": NOW + 100})
    assert migrate.still_named(mounts, migrate.way(mounts, PATH, "jwt"), text, now=NOW, ttl=600) == {}


@given(
    st.dictionaries(
        st.from_regex(r"auth_[a-z]+_[0-9a-f]{8}", fullmatch=True), st.integers(NOW + 1, NOW + 10**6), max_size=3
    )
)
def test_retired_accessors_survive_being_written(accessors: dict[str, int]) -> None:
    assert access.retired(f"# x\n{access.retired_lines(accessors)}path", NOW) == accessors


@given(st.text())
def test_any_policy_is_read(text: str) -> None:
    assert isinstance(access.retired(text, NOW), dict)
    assert access.retired(f"{text}\n# accessor a until tomorrow\n# accessor b until 2026-01-01T00:00:00Z\n", NOW) == (
        access.retired(text, NOW)
    )
