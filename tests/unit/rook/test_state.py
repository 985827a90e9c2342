# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which restart of Rook's operator is due: one for each thing that it must notice, none that is lost or made twice."""

from __future__ import annotations

import typing as t

from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._rook import consumer_plan, delivery, facts, model

MONITORS = facts.parse({"monitors": [{"name": "a", "v2": "10.0.0.1:3300"}]}).known()


class Cluster:
    """Answers by path; who asks for anything else is wrong."""

    def __init__(self, **objects: t.Any) -> None:
        self._objects = objects

    def get(self, path: str) -> t.Any:
        return self._objects.get(path.rpartition("/")[2].replace("-", "_"))


def consumer(generation: int = 0) -> model.Consumer:
    block = [{"storage_class": "b", "pool": "vm"}]
    given = {"cluster": "prod", "delivery": "direct", "block": block, "key": {"generation": generation}}
    return model.parse({"consumers": [given]}).consumers[0]


def settings(one: model.Consumer, key: str = "key") -> consumer_plan.Settings:
    return consumer_plan.Settings("fsid", MONITORS, {one.entity(role): Secret(f"{key}-{role}") for role in one.roles})


def stamp(one: model.Consumer, cluster: Cluster, *, text: str = "", key: str = "key") -> dict[str, str]:
    given = settings(one, key)
    rewrite = consumer_plan.Rewrite("path", text) if text else None
    before = consumer_plan._stated(t.cast(t.Any, cluster), one, given)
    data: dict[str, str] = consumer_plan._state(before, one, given, rewrite)["data"]
    return data


def test_the_first_delivery_needs_none() -> None:
    assert stamp(consumer(), Cluster())["restart"] == ""


def test_a_new_user_a_new_key_and_a_moved_monitor_each_need_one() -> None:
    first = stamp(consumer(), Cluster())
    known = Cluster(hackspace_ceph_consumer={"data": first})
    assert stamp(consumer(), known) == first
    due = {
        stamp(consumer(1), known)["restart"],
        stamp(consumer(), known, key="other")["restart"],
        stamp(consumer(), known, text="a=10.0.0.1:3300")["restart"],
    }
    assert len(due) == 3
    assert "" not in due


def test_what_is_due_stays_due_until_it_was_done() -> None:
    first = stamp(consumer(), Cluster())
    second = stamp(consumer(1), Cluster(hackspace_ceph_consumer={"data": first}))
    again = stamp(consumer(1), Cluster(hackspace_ceph_consumer={"data": second}))
    assert again == second
    back = stamp(consumer(0), Cluster(hackspace_ceph_consumer={"data": second}))
    assert back["restart"] not in ("", second["restart"])


def test_an_operator_that_works_with_the_importers_user_must_notice() -> None:
    """I1, when a consumer is taken over."""
    one = consumer()
    ours = delivery.secrets(one, "fsid", settings(one).keys, domain="example.org")[0]
    assert stamp(one, Cluster(rook_ceph_mon=ours))["restart"] == ""
    theirs = {**ours, "data": {**ours["data"], "ceph-username": "Y2xpZW50LmhlYWx0aGNoZWNrZXI="}}
    assert stamp(one, Cluster(rook_ceph_mon=theirs))["restart"]
